//! The command line: one file per command, each with its `Args` and one
//! function. The only module that uses clap and the only one that prints.

mod annotations;
mod audit;
mod check;
mod completions;
mod creds;
mod deploy;
mod explain;
mod forecast;
mod handout;
mod init;
mod man;
mod provision;
mod render;
mod schema;
mod server;
mod templates;
mod tenant;
mod ui;
mod user;
mod verify;
mod with_parent;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

use crate::diag::Finding;
use crate::error::{Error, Exit};
use crate::model::{Model, Root};
use crate::project::Project;
use crate::registry::{self, Valid};
use crate::state;
use annotations::Review;
use ui::Ui;

/// Declare NATS tenants once; get the server configuration, credentials and
/// compose files that keep them apart, and run them.
#[derive(Debug, Parser)]
#[command(name = "tenantry", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    /// The registry of tenants.
    #[arg(short = 'f', long, global = true, value_name = "FILE", help_heading = GLOBAL, default_value = "tenants.toml")]
    registry: PathBuf,
    /// How results are printed.
    #[arg(long, global = true, value_enum, default_value = "human", help_heading = GLOBAL)]
    format: Format,
    /// When to use colour.
    #[arg(long, global = true, value_enum, default_value = "auto", help_heading = GLOBAL)]
    color: Color,
    /// Print results and errors only.
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    quiet: bool,
    /// Say more about what is done.
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

const GLOBAL: &str = "Global options";

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 findings, out of date or refused; 2 the input is wrong; 3 no server; 4 a file or the result could not be written";

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Human,
    /// One JSON document on standard output.
    Json,
    /// For people, with GitHub's annotations and step summary: check, audit, verify.
    Github,
    /// A Markdown table on standard output: check, audit, verify.
    Markdown,
    /// A SARIF log on standard output: check, audit, verify.
    Sarif,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Args),
    Check(check::Args),
    Audit(audit::Args),
    Explain(explain::Args),
    Verify(verify::Args),
    Render(render::Args),
    Creds(creds::Args),
    Handout(handout::Args),
    Plan(provision::PlanArgs),
    Apply(provision::ApplyArgs),
    Up(server::UpArgs),
    Down(server::DownArgs),
    Status(server::StatusArgs),
    Deploy(deploy::Args),
    Tenant(tenant::Args),
    User(user::Args),
    Templates(templates::Args),
    Schema(schema::Args),
    Completions(completions::Args),
    Man(man::Args),
    #[command(name = crate::live::throwaway::WITH_PARENT, hide = true)]
    WithParent(with_parent::Args),
}

/// Runs one command line. Returns the process's exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(e) if e.use_stderr() && asks_for_json(&arguments) => return refuse_in_json(&e),
        Err(e) => {
            ui::keep_lost(e.print());
            let ui = Ui::new(Format::Human, Color::Auto, false, false);
            return if e.use_stderr() { Exit::Invalid } else { unless_lost(ui, Exit::Ok) };
        }
    };
    let ui = Ui::new(cli.format, cli.color, cli.quiet, cli.verbose);
    let has_findings = matches!(cli.command, Command::Check(_) | Command::Audit(_) | Command::Verify(_));
    if !has_findings && matches!(cli.format, Format::Github | Format::Markdown | Format::Sarif) {
        let ui = Ui::new(Format::Human, cli.color, cli.quiet, cli.verbose);
        let error = Error::usage("this command has no findings to print so", "--format json");
        ui.error(&error);
        return error.exit();
    }
    let context = Context { registry: cli.registry, ui };
    let result = match cli.command {
        Command::Init(args) => init::run(&context, &args),
        Command::Check(args) => check::run(&context, &args),
        Command::Audit(args) => audit::run(&context, &args),
        Command::Explain(args) => explain::run(&context, &args),
        Command::Verify(args) => verify::run(&context, &args),
        Command::Render(args) => render::run(&context, &args),
        Command::Creds(args) => creds::run(&context, &args),
        Command::Handout(args) => handout::run(&context, &args),
        Command::Plan(args) => provision::plan(&context, &args),
        Command::Apply(args) => provision::apply(&context, &args),
        Command::Up(args) => server::up(&context, &args),
        Command::Down(args) => server::down(&context, &args),
        Command::Status(args) => server::status(&context, &args),
        Command::Deploy(args) => deploy::run(&context, &args),
        Command::Tenant(args) => tenant::run(&context, &args),
        Command::User(args) => user::run(&context, &args),
        Command::Templates(args) => templates::run(&context, &args),
        Command::Schema(args) => schema::run(&context, &args),
        Command::Completions(args) => completions::run(&context, &args),
        Command::Man(args) => man::run(&context, &args),
        Command::WithParent(args) => with_parent::run(&args),
    };
    match result {
        Ok(exit) => unless_lost(ui, exit),
        Err(error) => {
            ui.error(&error);
            let document = ErrorDocument::from_error(&error);
            ui.review(Review {
                subject: &document.error,
                verdict: document.verdict,
                extent: document.hint.as_deref().unwrap_or_default(),
                is_failure: true,
                findings: &document.findings,
                untried: &[],
            });
            ui.json(&document);
            error.exit()
        }
    }
}

/// Whether a command line that cannot be parsed asks for JSON.
fn asks_for_json(arguments: &[OsString]) -> bool {
    let is_pair = |pair: &[OsString]| pair[0] == "--format" && pair[1] == "json";
    arguments.iter().any(|argument| argument == "--format=json") || arguments.windows(2).any(is_pair)
}

/// Prints what is wrong with a command line as JSON.
fn refuse_in_json(error: &clap::Error) -> Exit {
    let text = error.render().to_string();
    let (message, usage) = text.split_once("\n\nUsage: ").unwrap_or((&text, ""));
    let message = message.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
    let usage = usage.lines().next().map(|line| format!("usage: {line}")).unwrap_or_default();
    let error = Error::usage(message, usage);
    let ui = Ui::new(Format::Json, Color::Auto, false, false);
    ui.error(&error);
    ui.json(&ErrorDocument::from_error(&error));
    unless_lost(ui, error.exit())
}

/// The exit code of a command that printed its result: `NotWritten` if standard output did not
/// take it, because nobody has the result then.
fn unless_lost(ui: Ui, exit: Exit) -> Exit {
    let Some(e) = ui::lost() else { return exit };
    let source = std::io::Error::new(e.kind(), e.to_string());
    ui.error(&Error::io("write", Path::new("standard output"), source));
    Exit::NotWritten
}

/// The JSON document that `--format json` prints if a command fails.
#[derive(serde::Serialize)]
struct ErrorDocument {
    verdict: &'static str,
    error: String,
    hint: Option<String>,
    findings: Vec<Finding>,
}

impl ErrorDocument {
    fn from_error(error: &Error) -> Self {
        let findings = match error.diagnostics() {
            Some((sources, diagnostics)) => diagnostics.iter().map(|d| sources.finding(d)).collect(),
            None => Vec::new(),
        };
        let verdict = match error.exit() {
            Exit::Unavailable => "inconclusive",
            _ => "invalid",
        };
        Self { verdict, error: error.to_string(), hint: error.hint(), findings }
    }
}

/// Input of every command: the registry's path and the output.
struct Context {
    registry: PathBuf,
    ui: Ui,
}

impl Context {
    /// Loads a valid registry. Notes that it has warnings or uses the development root key.
    fn load_noting(&self) -> Result<Valid, Error> {
        let valid = self.load()?;
        match valid.warnings.len() {
            0 => {}
            n => self.ui.note(&format!("{}: {} shows them", count(n, "warning"), self.command("tenantry check"))),
        }
        if valid.model.root == Root::Development {
            self.ui.note("development root key: it is published, and so is every credential derived from it");
        }
        Ok(valid)
    }

    /// Loads a valid registry.
    fn load(&self) -> Result<Valid, Error> {
        registry::load(&self.registry)?.into_valid().inspect_err(|_| {
            if self.registry.extension().is_some_and(|e| e == "conf") {
                self.ui.note(&format!(
                    "is {0} a nats-server configuration? then: tenantry audit {0}",
                    self.registry.display()
                ));
            }
        })
    }

    /// Opens a registry for rendering, with the notes of `load_noting`.
    fn open_noting(&self, templates: Option<&Path>) -> Result<Project, Error> {
        Project::open(self.load_noting()?, templates)
    }

    /// Suggests what to run next.
    fn next(&self, commands: &str) {
        self.ui.next(&self.command(commands));
    }

    /// Commands with the `-f` option that this registry needs.
    fn command(&self, commands: &str) -> String {
        if self.registry == Path::new("tenants.toml") {
            return commands.to_owned();
        }
        commands.replace("tenantry ", &format!("tenantry -f {} ", self.registry.display()))
    }

    /// The bundle's folder: the named one, or `infra` beside the registry for `None`.
    fn out(&self, named: Option<&Path>) -> Result<PathBuf, Error> {
        let Some(out) = named else { return Ok(self.registry.parent().unwrap_or(Path::new("")).join("infra")) };
        Ok(out.to_owned())
    }

    /// The folder `.tenantry`, for local state that is not committed.
    fn state(&self) -> PathBuf {
        state::folder_beside(registry::folder_of(&self.registry))
    }
}

/// Splits `TENANT/USER`. The user is `None` for `TENANT` alone.
fn split_user(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((account, user)) => (account, Some(user)),
        None => (text, None),
    }
}

/// The error that an account has no such user, with the nearest name as a suggestion.
fn no_such_user(account: &str, user: &str, known: &[&str]) -> Error {
    let error = Error::unknown_name("user", user, known);
    Error::usage(format!("`{account}` has no user `{user}`"), error.hint().unwrap_or_default())
}

/// The command by which a changed registry comes to its server.
fn command_of_change(model: &Model) -> &'static str {
    if model.push.is_some() { "tenantry deploy" } else { "tenantry up" }
}

/// Formats a number with its noun: `1 tenant`, `2 tenants`.
fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// The clap definition, for completions and manual pages.
fn definition() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}
