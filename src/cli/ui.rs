//! Output: results go to standard output, everything else to standard error. With
//! `--format json` standard output is one JSON document.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, TableStyle};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::annotations::{self, Review};
use super::{Color, Format};
use crate::diag::{Diagnostic, Sources};
use crate::error::Error;

/// Output settings, from the global options.
#[derive(Debug, Clone, Copy)]
pub struct Ui {
    format: Format,
    color: ColorChoice,
    quiet: bool,
    verbose: bool,
}

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const HELP: Style = AnsiColor::Cyan.on_default().bold();
const DIM: Style = Style::new().dimmed();

/// The first failure to write to standard output, of which a process has one. A closed pipe
/// is none: `tenantry plan | head -1` has seen what it wanted.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Keeps the failure of a write to standard output, for [`lost`].
pub fn keep_lost(written: io::Result<()>) {
    if let Err(e) = written
        && e.kind() != io::ErrorKind::BrokenPipe
    {
        let _ = LOST.set(e);
    }
}

/// Why standard output did not take everything that was printed, if it did not.
pub fn lost() -> Option<&'static io::Error> {
    LOST.get()
}

impl Ui {
    /// Builds the settings from the global options.
    pub fn new(format: Format, color: Color, quiet: bool, verbose: bool) -> Self {
        let color = match color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        Self { format, color, quiet, verbose }
    }

    /// Whether `--verbose` is set.
    pub fn is_verbose(self) -> bool {
        self.verbose
    }

    /// Whether `--format json` is set.
    pub fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Whether `--format` asks for nothing else.
    pub fn is_human(self) -> bool {
        self.format == Format::Human
    }

    /// Whether standard output is one document of some format.
    fn is_document(self) -> bool {
        matches!(self.format, Format::Json | Format::Markdown | Format::Sarif)
    }

    /// Prints a result in the format for reviews that was asked for, if any.
    pub fn review(self, review: Review<'_>) {
        match self.format {
            Format::Human | Format::Json => {}
            Format::Github => {
                self.raw(&annotations::github(review));
                if let Some(file) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|file| !file.is_empty()) {
                    let summary = annotations::markdown(review);
                    let open = std::fs::OpenOptions::new().append(true).create(true).open(file);
                    keep_lost(open.and_then(|mut file| file.write_all(summary.as_bytes())));
                }
            }
            Format::Markdown => self.raw(&annotations::markdown(review)),
            Format::Sarif => {
                let log = annotations::sarif(review);
                self.raw(&(serde_json::to_string_pretty(&log).unwrap_or_default() + "\n"));
            }
        }
    }

    /// Prints a line of the result, unless standard output is one document.
    pub fn result(self, text: &str) {
        if !self.is_document() {
            let text = text.trim_end_matches('\n');
            keep_lost(writeln!(AutoStream::new(io::stdout(), self.color), "{text}"));
        }
    }

    /// Prints text to standard output unchanged, whatever the format.
    pub fn raw(self, text: &str) {
        keep_lost(io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()));
    }

    /// Prints the result as JSON, if the format is JSON.
    pub fn json(self, value: &impl Serialize) {
        if self.is_json() {
            self.raw(&(serde_json::to_string_pretty(value).unwrap_or_default() + "\n"));
        }
    }

    fn err(self, text: &str) {
        let _ = writeln!(AutoStream::new(io::stderr(), self.color), "{text}");
    }

    /// Whether `--quiet` is set.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Prints a remark to standard error, unless `--quiet` is set.
    pub fn note(self, text: &str) {
        if !self.quiet {
            self.err(&format!("{DIM}{text}{DIM:#}"));
        }
    }

    /// Prints a remark if `--verbose` is set.
    pub fn detail(self, text: &str) {
        if self.verbose {
            self.note(text);
        }
    }

    /// Prints a success.
    pub fn done(self, text: &str) {
        self.result(&format!("{GOOD}✔{GOOD:#} {text}"));
    }

    /// Prints a negative result, which is not an error of the command.
    pub fn found(self, text: &str) {
        self.result(&format!("{BAD}✘{BAD:#} {text}"));
    }

    /// Prints an inconclusive result.
    pub fn unknown(self, text: &str) {
        self.result(&format!("{HELP}?{HELP:#} {text}"));
    }

    /// Suggests what to run next, unless `--quiet` is set.
    pub fn next(self, text: &str) {
        if !self.quiet {
            self.err(&format!("{HELP}next:{HELP:#} {text}"));
        }
    }

    /// Prints diagnostics, each with its source line.
    pub fn diagnostics(self, sources: &Sources, diagnostics: &[Diagnostic]) {
        let styled = match self.color {
            ColorChoice::Auto => AutoStream::choice(&io::stderr()) != ColorChoice::Never,
            other => other != ColorChoice::Never,
        };
        for diagnostic in diagnostics {
            self.err(&format!("{}\n", sources.render(diagnostic, styled)));
        }
    }

    /// Prints warnings, unless `--quiet` is set.
    pub fn warnings(self, sources: &Sources, diagnostics: &[Diagnostic]) {
        if !self.quiet {
            self.diagnostics(sources, diagnostics);
        }
    }

    /// Prints an error with its diagnostics and hint.
    pub fn error(self, error: &Error) {
        const SHOWN: usize = 30;
        if let Some((sources, diagnostics)) = error.diagnostics() {
            self.diagnostics(sources, &diagnostics[..diagnostics.len().min(SHOWN)]);
            if diagnostics.len() > SHOWN {
                self.note(&format!("… and {} more: --format json has all", diagnostics.len() - SHOWN));
            }
        }
        self.err(&format!("{BAD}error:{BAD:#} {error}"));
        if let Some(hint) = error.hint() {
            self.err(&format!("{HELP}help:{HELP:#} {hint}"));
        }
    }

    /// Prints a table as the result. On a terminal its columns are wrapped to the width of it.
    pub fn table(self, header: &[&str], rows: Vec<Vec<String>>) {
        let mut table = Table::new();
        let arrangement = match io::stdout().is_terminal() {
            true => ContentArrangement::Dynamic,
            false => ContentArrangement::Disabled,
        };
        table.load_style(TableStyle::new()).set_content_arrangement(arrangement);
        table.set_header(header.to_vec());
        table.add_rows(rows);
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        self.result(&lines.join("\n"));
    }

    /// The progress of `steps` steps. On a terminal a bar, elsewhere a line each ten seconds. Nothing on a
    /// terminal if there are too few steps for the work to take noticeable time.
    pub fn progress(self, steps: usize, what: &'static str) -> Progress {
        const FEW: usize = 200;
        let bar = match (self.quiet || self.is_document(), io::stderr().is_terminal()) {
            (false, true) if steps >= FEW => ProgressBar::new(steps as u64).with_message(what),
            (false, false) => {
                return Progress { bar: ProgressBar::hidden(), lines: Some(Lines::new(self, steps, what)) };
            }
            _ => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {eta}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress { bar, lines: None }
    }
}

/// The progress of a long command.
pub struct Progress {
    bar: ProgressBar,
    lines: Option<Lines>,
}

/// Progress where there is no terminal.
struct Lines {
    ui: Ui,
    state: Mutex<Line>,
}

struct Line {
    last: Instant,
    done: usize,
    of: usize,
    what: &'static str,
}

impl Lines {
    /// Time between two lines.
    const EVERY: Duration = Duration::from_secs(10);

    fn new(ui: Ui, of: usize, what: &'static str) -> Self {
        Self { ui, state: Mutex::new(Line { last: Instant::now(), done: 0, of, what }) }
    }

    fn change(&self, change: impl FnOnce(&mut Line)) {
        let Ok(mut line) = self.state.lock() else { return };
        change(&mut line);
        if line.last.elapsed() >= Self::EVERY {
            line.last = Instant::now();
            self.ui.note(&format!("{} {}/{}", line.what, line.done, line.of));
        }
    }
}

impl Progress {
    /// One more step is done.
    pub fn step(&self) {
        self.bar.inc(1);
        if let Some(lines) = &self.lines {
            lines.change(|line| line.done += 1);
        }
    }

    /// Sets how many steps are done, of how many, and what the next one is.
    pub fn set(&self, done: usize, of: usize, what: &'static str) {
        self.bar.set_length(of as u64);
        self.bar.set_position(done as u64);
        self.bar.set_message(what);
        if let Some(lines) = &self.lines {
            lines.change(|line| (line.done, line.of, line.what) = (done, of, what));
        }
    }

    /// Sets the number of steps.
    pub fn set_length(&self, of: usize) {
        self.bar.set_length(of as u64);
        if let Some(lines) = &self.lines {
            lines.change(|line| line.of = of);
        }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
