//! `tenantry verify`.

mod mutants;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use super::annotations::Review;
use super::{Context, count};
use crate::diag::{Finding, Severity, first_few};
use crate::error::{Error, Exit};
use crate::live::locate;
use crate::verdict::Verdict;
use crate::verify::report::origin::Origin;
use crate::verify::report::{Cause, Check, EXHAUSTIVE, Outcome, Report, SETTING, html, junit};
use crate::verify::test_bed::{self, MANAGER, TestBed};
use crate::verify::{self, Endpoint, KnownConfiguration, PROBES, TlsFiles};

/// Attack a live server as every tenant, and prove the tenants isolated.
///
/// Without --server it boots a throwaway nats-server from what the registry renders
/// and ends it afterwards. Every user logs in with its own credentials; every ordered
/// pair of tenants is tried. What could not be run makes the result
/// inconclusive; what is left out on purpose is named as not tried.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 isolated; 1 leaky; 2 the registry is invalid; 3 inconclusive: something could not be run"
)]
pub struct Args {
    /// Attack this server instead, nats://HOST:PORT or tls://HOST:PORT. Only streams and subjects of the run's own are
    /// made, inside each tenant, and removed afterwards. JetStream publishes advisories
    /// of what it is asked.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// The authorities that the server's certificate is checked against. Default: those of
    /// this machine.
    #[arg(long, value_name = "FILE", requires = "server")]
    ca: Option<PathBuf>,
    /// A certificate for servers that ask for one.
    #[arg(long, value_name = "FILE", requires_all = ["server", "key"])]
    cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The configuration file that a server of the system runs, if it is not what is
    /// rendered: the static proof looks at it, and the server has to confirm its digest.
    #[arg(long, value_name = "FILE", requires = "server")]
    conf: Vec<PathBuf>,
    /// Do without this user, whose secret is not known here. The report names it.
    #[arg(long, value_name = "TENANT/USER", requires = "server")]
    accept_unknown: Vec<String>,
    /// Also try what fills limits and slows a server down.
    #[arg(long)]
    exhaustive: bool,
    /// Break the rendered configuration on purpose, one leak at a time, and require
    /// that the static proof, the live proof or both catch each.
    #[arg(long, conflicts_with_all = ["server", "html", "junit"])]
    mutants: bool,
    /// Print every probe and every mutant, in Markdown.
    #[arg(long, exclusive = true)]
    probes: bool,
    /// Write the matrix with all evidence as one HTML page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write JUnit XML, for CI.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// The nats-server to boot.
    #[arg(long, value_name = "FILE", conflicts_with = "server")]
    nats_server: Option<PathBuf>,
    /// Use the templates of this folder.
    #[arg(long, value_name = "DIR")]
    templates: Option<PathBuf>,
}

pub fn run(context: &Context, args: &Args) -> Result<Exit, Error> {
    if args.probes {
        context.ui.raw(&probes());
        return Ok(Exit::Ok);
    }
    let files = TlsFiles { ca: args.ca.clone(), cert: args.cert.clone(), key: args.key.clone() };
    let endpoint = args.server.as_deref().map(|url| Endpoint::parse(url, &files)).transpose()?;
    let project = context.open_noting(args.templates.as_deref())?;
    verify::raise_open_files();
    for file in [&args.html, &args.junit].into_iter().flatten() {
        // Opens the file now, so that an unwritable path fails before the run. An earlier
        // report stays until this one is written.
        fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(file)
            .map_err(|e| Error::io("write", file, e))?;
    }
    let model = project.model();
    if model.tenants.len() < 2 {
        context.ui.note("one tenant: there is nobody to be isolated from");
    }
    let locate = || locate::locate(args.nats_server.as_deref(), |text| context.ui.note(text));
    if args.mutants {
        let (model, _) = test_bed::with_managers(&test_bed::first_tenants(model));
        return mutants::run(context, &TestBed::new(locate()?, &project, &model)?);
    }
    let users: usize = model.tenants.iter().map(|t| t.users.len()).sum();
    let bar = context.ui.progress(users, "attacking");
    let advance = |done: usize, of: usize, what: &'static str| {
        bar.set(done, of, what);
    };
    let mut warned = Vec::new();
    let report = match endpoint {
        Some(endpoint) => {
            let mut known = KnownConfiguration::rendered(&project, &context.state(), &context.registry)?;
            for file in &args.conf {
                known.push(KnownConfiguration::of_file(file)?);
            }
            let is_named = |conf: &&KnownConfiguration| !conf.is_rendered && !conf.warnings.is_empty();
            warned = known.iter().filter(is_named).cloned().collect();
            verify::attack_server(&project, endpoint, known, &args.accept_unknown, args.exhaustive, &advance)?
        }
        None => {
            let (model, helped) = test_bed::with_managers(model);
            if !helped.is_empty() {
                let names: Vec<String> = helped.iter().map(ToString::to_string).collect();
                context.ui.note(&format!(
                    "to attack JetStream, the throwaway server has a user {MANAGER} with the role admin in {}",
                    first_few(&names)
                ));
            }
            TestBed::new(locate()?, &project, &model)?.attack_itself(args.exhaustive, &advance)?
        }
    };
    bar.finish();
    let report = Report { origin: Origin::of(&project), ..report };
    let mut report = report;
    for conf in warned.iter().filter(|conf| report.server.config_digest.as_ref() == Some(&conf.digest)) {
        report.server.warnings = conf.warnings.iter().copied().collect();
        context.ui.result(&static_warnings(&conf.name, &report.server.warnings));
    }
    // Read again: a share that was added meanwhile, and is in force, is no leak.
    let is_same = || crate::registry::load(&context.registry).is_ok_and(|now| now.sources == project.valid.sources);
    if !report.server.throwaway && !is_same() {
        report.doubt();
    }
    show(context, &report);
    for (file, text) in [(&args.html, html::page as fn(&Report) -> String), (&args.junit, junit::xml)] {
        if let Some(file) = file {
            fs::write(file, text(&report)).map_err(|e| Error::io("write", file, e))?;
            context.ui.note(&format!("written: {}", file.display()));
        }
    }
    context.ui.review(Review {
        subject: &report.server.url,
        verdict: report.verdict.as_str(),
        extent: &extent(&report),
        is_failure: false,
        findings: &findings(&report),
        untried: &untried(&report),
    });
    context.ui.json(&Document { causes: report.causes(), report: &report });
    Ok(report.verdict.exit())
}

/// The JSON document.
#[derive(Serialize)]
struct Document<'r> {
    #[serde(flatten)]
    report: &'r Report,
    causes: Vec<Cause<'r>>,
}

/// The leaks and the checks that were not run, as findings: a leak is an error.
fn findings(report: &Report) -> Vec<Finding> {
    let causes = report.causes();
    let failed = causes.iter().map(|cause| {
        let severity = if cause.outcome == Outcome::Leak { Severity::Error } else { Severity::Warning };
        let place = cause.places.first().and_then(|place| place.rsplit_once(':'));
        Finding {
            rule: cause.probe,
            severity,
            message: cause_text(cause),
            file: place.map(|(file, _)| file.to_owned()),
            line: place.and_then(|(_, line)| line.parse().ok()),
            column: None,
            hint: Some(cause.mend.to_owned()),
        }
    });
    let left_out = report.checks.iter().filter(|c| c.outcome == Outcome::NotTried && c.probe == SETTING);
    let left_out = left_out.map(|check| {
        let message = format!("{} → {}: {}", check.from, check.to, check.evidence);
        let severity = Severity::Warning;
        Finding { rule: check.probe, severity, message, file: None, line: None, column: None, hint: None }
    });
    let server = &report.server;
    let warnings = (!server.warnings.is_empty()).then(|| Finding {
        rule: SETTING,
        severity: Severity::Warning,
        message: static_warnings("the file", &server.warnings),
        file: None,
        line: None,
        column: None,
        hint: None,
    });
    failed.chain(left_out).chain(warnings).collect()
}

/// What the static proof of a file that the server runs warns by.
fn static_warnings(name: &str, rules: &[&str]) -> String {
    format!(
        "the static proof of {name}, which the server runs, warns by {}: `tenantry audit` says of what",
        rules.join(", ")
    )
}

/// Whom a cause is about, how often it was met, and the evidence of the first time.
fn cause_text(cause: &Cause<'_>) -> String {
    let times = if cause.checks > 1 { format!(" ({})", count(cause.checks, "check")) } else { String::new() };
    format!("{} → {}{times}: {}", first_few(&cause.from), first_few(&cause.to), shortened(cause.evidence))
}

/// The text of docs/probes.md: every probe and every mutant.
fn probes() -> String {
    let mut text = "# Probes of the live proof\n\n\
        Generated by `tenantry verify --probes`. [proving.md](proving.md) explains how they work.\n\n\
        | probe | what must hold |\n|---|---|\n"
        .to_owned();
    for probe in PROBES {
        text += &format!("| {} | {} |\n", probe.id, probe.proves);
    }
    text += &format!(
        "\n`{SETTING}` in a report is not a probe: it lists what could not be set up, such as a user who cannot log in.\n"
    );
    text += "\n## Mutants\n\nThe misconfigurations that `tenantry verify --mutants` applies, one at a time. Each must be caught.\n\n\
        | class | mutant | what is broken | what must catch it |\n|---|---|---|---|\n";
    for mutant in crate::mutants::all() {
        let catchers = mutant.catchers.join(", ");
        text += &format!("| {} | {} | {} | {catchers} |\n", mutant.class, mutant.id, mutant.what);
    }
    text
}

/// Maximum number of tenants with a column each; beyond it the table shows counts.
const COLUMNS: usize = 6;
/// Maximum number of causes that are printed. The reports hold all.
const SHOWN: usize = 12;

fn show(context: &Context, report: &Report) {
    let Report { verdict, server, .. } = report;
    let cells = report.matrix();
    let is_set = report.checks.iter().any(|c| c.probe == SETTING).then_some(SETTING);
    let rows: Vec<Vec<String>> = PROBES
        .iter()
        .map(|probe| probe.id)
        .chain(is_set)
        .map(|id| {
            let outcome_of = |tenant: &String| cells.get(&(id, tenant.as_str())).copied();
            let mut row = vec![id.to_owned()];
            if report.names.len() <= COLUMNS {
                row.extend(report.names.iter().map(|t| mark(outcome_of(t)).to_owned()));
            } else {
                let number =
                    |wanted: Option<Outcome>| match report.names.iter().filter(|t| outcome_of(t) == wanted).count() {
                        0 => "·".to_owned(),
                        n => n.to_string(),
                    };
                let outcomes = [Outcome::Pass, Outcome::Leak, Outcome::NotRun, Outcome::NotTried];
                row.extend(outcomes.map(Some).into_iter().chain([None]).map(number));
            }
            row
        })
        .collect();
    let header: Vec<&str> = if report.names.len() <= COLUMNS {
        std::iter::once("PROBE").chain(report.names.iter().map(String::as_str)).collect()
    } else {
        vec!["PROBE", "HELD", "LEAKED", "NOT RUN", "NOT TRIED", "DOES NOT APPLY"]
    };
    context.ui.table(&header, rows);
    if report.names.len() <= COLUMNS && context.ui.is_human() {
        context.ui.note("✔ held  ✘ leaked  ? could not be tried  ○ not tried, see the report  · does not apply");
    }
    show_pairs(context, report);
    show_causes(context, report);
    let worst = |wanted: Outcome| report.checks.iter().filter(move |c| c.outcome == wanted);
    let what = extent(report);
    let gaps = worst(Outcome::NotRun).count();
    show_untried(context, report);
    let runs_rendered = server.runs_rendered == Some(true);
    if runs_rendered {
        context
            .ui
            .note("the server confirms the digest of what is rendered, which the static proof knows (flags on its command line are not in it)");
    }
    let is_another =
        |c: &Check| c.outcome.is_failure() && ["declarations", "entry", "limits", SETTING].contains(&c.probe);
    if !server.throwaway && !runs_rendered && report.checks.iter().any(is_another) {
        context.next("tenantry up (or deploy), if the server does not run this registry yet; then verify again");
    }
    match verdict {
        Verdict::Isolated => {
            let is_shown = worst(Outcome::NotTried).next().is_some() && !context.ui.is_quiet();
            let more = if is_shown { ", see above" } else { "" };
            context.ui.done(&format!("isolated: {what}{more}"));
        }
        Verdict::Leaky => {
            let unknown = if gaps > 0 { format!("; {} not run", count(gaps, "check")) } else { String::new() };
            context.ui.found(&format!("leaky: {} in {what}{unknown}", count(worst(Outcome::Leak).count(), "leak")));
        }
        Verdict::Inconclusive => {
            context.ui.unknown(&format!("inconclusive: {} not run in {what}", count(gaps, "check")));
        }
    }
}

/// What was attacked, with what, in numbers.
fn extent(report: &Report) -> String {
    let Report { server, tenants, pairs, duration_ms, .. } = report;
    let untried = match report.checks.iter().filter(|c| c.outcome == Outcome::NotTried).count() {
        0 => String::new(),
        n => format!("; {} not tried", count(n, "check")),
    };
    format!(
        "{}, {}, {} probes against nats-server {}{} in {:.1} s{untried}",
        count(*tenants, "tenant"),
        count(*pairs, "ordered pair"),
        PROBES.len(),
        server.version,
        if server.throwaway { String::new() } else { format!(" at {}", server.url) },
        std::time::Duration::from_millis(*duration_ms).as_secs_f64(),
    )
}

/// What was not tried, and why, each reason once.
fn untried(report: &Report) -> Vec<String> {
    let mut reasons: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut exhaustive = 0;
    for check in report.checks.iter().filter(|check| check.outcome == Outcome::NotTried) {
        if check.evidence.starts_with(EXHAUSTIVE) {
            exhaustive += 1;
        } else {
            reasons.entry(&check.evidence).or_default().insert(&check.from);
        }
    }
    let mut lines: Vec<String> =
        reasons.iter().map(|(why, tenants)| format!("{}: {}", first_few(tenants), shortened(why))).collect();
    if exhaustive > 0 {
        lines.push(format!("{}, because --exhaustive is not given", count(exhaustive, "check")));
    }
    lines
}

/// Prints what was not tried.
fn show_untried(context: &Context, report: &Report) {
    let lines = untried(report);
    for line in lines.iter().take(SHOWN) {
        context.ui.note(&format!("not tried: {line}"));
    }
    if lines.len() > SHOWN {
        context.ui.note(&format!(
            "… and {}: --html FILE or --format json has all",
            count(lines.len() - SHOWN, "more reason")
        ));
    }
}

/// Prints who reaches whom, a row for each sender.
fn show_pairs(context: &Context, report: &Report) {
    if !(3..=COLUMNS).contains(&report.names.len()) {
        return;
    }
    let row = |from: &String| {
        let cell = |to: &String| match from == to {
            true => String::new(),
            false => {
                let declared = if report.is_declared(from, to) { " ⇢" } else { "" };
                format!("{}{declared}", mark(report.between(from, to)))
            }
        };
        std::iter::once(from.clone()).chain(report.names.iter().map(cell)).collect()
    };
    let header: Vec<&str> = std::iter::once("FROM \\ TO").chain(report.names.iter().map(String::as_str)).collect();
    context.ui.result("");
    context.ui.table(&header, report.names.iter().map(row).collect());
    context.ui.note("⇢ something is declared to pass this way");
    if report.leaks_beside_pairs() {
        context.ui.note("a leak of no one pair is in no cell here: see the leaks above");
    }
}

/// Prints what did not hold, once for each cause.
fn show_causes(context: &Context, report: &Report) {
    let causes = report.causes();
    let (follow, causes): (Vec<&Cause<'_>>, Vec<&Cause<'_>>) =
        causes.iter().partition(|cause| cause.follows.is_some() && !context.ui.is_verbose());
    let (leaks, gaps): (Vec<&Cause<'_>>, Vec<&Cause<'_>>) =
        causes.iter().take(SHOWN).partition(|cause| cause.outcome == Outcome::Leak);
    for cause in leaks {
        context.ui.found(&headline(cause));
        show_places(context, cause);
        context.ui.result(&format!("  remedy: {}", cause.mend));
    }
    if let Some(first) = follow.first() {
        let probes: BTreeSet<&str> = follow.iter().map(|cause| cause.probe).collect();
        let tenants: BTreeSet<&str> = follow.iter().flat_map(|c| c.from.union(&c.to)).copied().collect();
        context.ui.found(&format!(
            "leak: {} found leaks of {}, which may follow from what {} found (-v shows them): {}",
            if probes.len() == 1 { "another probe".to_owned() } else { format!("{} more probes", probes.len()) },
            first_few(tenants),
            first.follows.unwrap_or_default(),
            Vec::from_iter(probes).join(", "),
        ));
    }
    for cause in gaps {
        context.ui.unknown(&headline(cause));
        show_places(context, cause);
    }
    if causes.len() > SHOWN {
        context.ui.note(&format!(
            "… and {}: --html FILE or --format json has all",
            count(causes.len() - SHOWN, "more cause")
        ));
    }
}

fn headline(cause: &Cause<'_>) -> String {
    format!("{}: {}: {}", cause.outcome.as_str(), cause.probe, cause_text(cause))
}

fn show_places(context: &Context, cause: &Cause<'_>) {
    if !cause.places.is_empty() {
        context.ui.result(&format!("  in the registry: {}", first_few(&cause.places)));
    }
}

/// Truncates evidence, which may quote a long server reply.
fn shortened(evidence: &str) -> String {
    const LONG: usize = 240;
    match evidence.char_indices().nth(LONG) {
        Some((at, _)) => format!("{}… (--html FILE or --format json has all)", &evidence[..at]),
        None => evidence.to_owned(),
    }
}

fn mark(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        Some(Outcome::Pass) => "✔",
        Some(Outcome::Leak) => "✘",
        Some(Outcome::NotRun) => "?",
        Some(Outcome::NotTried) => "○",
        None => "·",
    }
}
