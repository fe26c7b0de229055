//! What is printed, and where: results to standard output, everything else to
//! standard error. With `--format json` standard output is one JSON document.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, TableStyle};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{Color, Format};
use crate::diag::{Diagnostic, Sources};
use crate::error::Error;

/// How to talk to whoever called.
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

/// What somebody else wrote, as it may stand on a terminal: nothing in it moves the
/// cursor, begins a line or turns the writing around.
pub fn plain(text: &str) -> String {
    let is_bad = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}'..='\u{2029}')
    };
    text.chars().map(|c| if is_bad(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

impl Ui {
    /// From the global options.
    pub fn new(format: Format, color: Color, quiet: bool, verbose: bool) -> Self {
        let color = match color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        Self { format, color, quiet, verbose }
    }

    /// True if everything is to be shown.
    pub fn is_verbose(self) -> bool {
        self.verbose
    }

    /// True if standard output is for a program.
    pub fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// The result, for people. A closed pipe is not an error.
    pub fn result(self, text: &str) {
        if !self.is_json() {
            let _ = writeln!(AutoStream::new(std::io::stdout(), self.color), "{}", text.trim_end_matches('\n'));
        }
    }

    /// The result as it is, for people and files alike.
    pub fn raw(self, text: &str) {
        let _ = std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush());
    }

    /// The result, for programs.
    pub fn json(self, value: &impl Serialize) {
        if self.is_json() {
            self.raw(&(serde_json::to_string_pretty(value).unwrap_or_default() + "\n"));
        }
    }

    fn err(self, text: &str) {
        let _ = writeln!(AutoStream::new(std::io::stderr(), self.color), "{text}");
    }

    /// A remark on the way.
    pub fn note(self, text: &str) {
        if !self.quiet {
            self.err(&format!("{DIM}{text}{DIM:#}"));
        }
    }

    /// A remark for those who want to know more.
    pub fn detail(self, text: &str) {
        if self.verbose {
            self.note(text);
        }
    }

    /// Good news.
    pub fn done(self, text: &str) {
        self.result(&format!("{GOOD}✔{GOOD:#} {text}"));
    }

    /// Bad news that is a result and not an error.
    pub fn found(self, text: &str) {
        self.result(&format!("{BAD}✘{BAD:#} {text}"));
    }

    /// What could not be found out.
    pub fn unknown(self, text: &str) {
        self.result(&format!("{HELP}?{HELP:#} {text}"));
    }

    /// What to run next.
    pub fn next(self, text: &str) {
        if !self.quiet {
            self.err(&format!("{HELP}next:{HELP:#} {text}"));
        }
    }

    /// Diagnostics, each with its place.
    pub fn diagnostics(self, sources: &Sources, diagnostics: &[Diagnostic]) {
        let styled = match self.color {
            ColorChoice::Auto => AutoStream::choice(&std::io::stderr()) != ColorChoice::Never,
            other => other != ColorChoice::Never,
        };
        for diagnostic in diagnostics {
            self.err(&format!("{}\n", sources.render(diagnostic, styled)));
        }
    }

    /// Warnings, unless they are not wanted.
    pub fn warnings(self, sources: &Sources, diagnostics: &[Diagnostic]) {
        if !self.quiet {
            self.diagnostics(sources, diagnostics);
        }
    }

    /// An error, with its remedy.
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

    /// A table of results.
    pub fn table(self, header: &[&str], rows: Vec<Vec<String>>) {
        let mut table = Table::new();
        table.load_style(TableStyle::new()).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(header.to_vec());
        table.add_rows(rows);
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        self.result(&lines.join("\n"));
    }

    /// A progress bar on a terminal, nothing elsewhere. It appears only when
    /// the work takes long enough to wonder.
    pub fn progress(self, steps: usize, what: &'static str) -> ProgressBar {
        if self.quiet || self.is_json() || !std::io::stderr().is_terminal() || steps < 200 {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(steps as u64).with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {eta}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }
}
