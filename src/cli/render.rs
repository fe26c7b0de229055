//! `tenantry render`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Context, count};
use crate::diag::first_few;
use crate::error::{Error, Exit};
use crate::project::Project;
use crate::render::bundle::{File, MANIFEST, Manifest};
use crate::render::compare::{DifferenceKind, FileDifference, compare};
use crate::render::incremental::Consent;
use crate::render::ledger::{LEDGER, NameLedger};
use crate::render::write::{Target, WriteSummary};

/// Write the server configuration, compose file, credentials and handout.
///
/// An invalid registry writes nothing. A server that starts after a kill finds the
/// old configuration or the new one; have it read the files when `render` has
/// ended. Files in the folder that tenantry did not make are left alone.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to write. Default: infra/ beside the registry.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write nothing; compare with what is written and show the difference.
    #[arg(long)]
    check: bool,
    /// Use the templates of this folder; `built-in` returns to tenantry's.
    #[arg(long, value_name = "DIR")]
    templates: Option<PathBuf>,
    /// Replace the credentials of every user, because the root key is another one.
    #[arg(long, conflicts_with = "check")]
    new_root_key: bool,
}

#[derive(Serialize)]
struct CheckReport {
    verdict: &'static str,
    out: PathBuf,
    differences: Vec<FileDifference>,
}

#[derive(Serialize)]
struct WriteReport<'r> {
    out: &'r Path,
    #[serde(flatten)]
    outcome: WriteSummary,
}

pub fn run(context: &Context, args: &Args) -> Result<Exit, Error> {
    let out = context.out(args.out.as_deref())?;
    // Reads an existing folder while the registry is read. A missing folder is created
    // only after the registry is known to be valid.
    let look = || (!args.check && out.is_dir()).then(|| Target::open(&out));
    let (valid, target) = rayon::join(|| context.load_noting(), look);
    let project = Project::open(valid?, args.templates.as_deref())?;
    if args.check {
        return check(context, args, &project, &out);
    }
    let target = target.unwrap_or_else(|| Target::open(&out))?;
    let consent = Consent {
        another_registry: args.out.is_some(),
        new_root_key: args.new_root_key,
        other_templates: args.templates.is_some(),
    };
    let outcome = write(context, &project, &target, consent, |_| Ok(()))?;
    let WriteSummary { written, unchanged, removed, .. } = outcome;
    let changed = written + removed > 0;
    context.ui.done(&if changed {
        format!("{}: {written} written, {unchanged} unchanged, {removed} removed", out.display())
    } else {
        format!("{}: nothing to do, {unchanged} files are up to date", out.display())
    });
    note_edited(context, &outcome);
    context.ui.json(&WriteReport { out: &out, outcome });
    context.next(&match &args.out {
        Some(out) => format!("tenantry up --out {}", out.display()),
        None => super::command_of_change(project.model()).to_owned(),
    });
    // The process exits here: freeing ten thousand tenants takes as long as reading them.
    std::mem::forget((project, target));
    Ok(Exit::Ok)
}

/// Notes which files had been changed manually and were rendered again.
pub fn note_edited(context: &Context, outcome: &WriteSummary) {
    let edited = &outcome.edited;
    if edited.is_empty() {
        return;
    }
    let names = first_few(edited);
    context.ui.note(&format!(
        "changed by hand and rendered again: {names}; what must stay goes into the registry or --templates"
    ));
}

/// Renders and writes, with a progress bar. `allow`: may refuse the accounts before anything is replaced.
pub fn write(
    context: &Context,
    project: &Project,
    target: &Target,
    consent: Consent,
    allow: impl FnOnce(&str) -> Result<(), Error>,
) -> Result<WriteSummary, Error> {
    let bar = context.ui.progress(project.model().tenants.len(), "rendering");
    let outcome = project.write(target, consent, || bar.step(), allow)?;
    bar.finish();
    Ok(outcome)
}

fn check(context: &Context, args: &Args, project: &Project, out: &Path) -> Result<Exit, Error> {
    let known = NameLedger::known(out, project.state(), &project.model().root);
    known.refuse_lost_names(project.ledger(), &project.model().retired)?;
    let bar = context.ui.progress(project.model().tenants.len(), "rendering");
    let mut bundle = project.render(|| bar.step())?;
    let ledger = project.ledger().carrying(&known).to_text();
    bundle.files.insert(LEDGER.to_owned(), File::public(ledger));
    bar.finish();
    let differences = compare(out, &bundle)?;
    let verdict = if differences.is_empty() { "up-to-date" } else { "out-of-date" };
    if differences.is_empty() {
        context.ui.done(&format!("{} is what would be rendered", out.display()));
    } else {
        for difference in &differences {
            show(context, difference);
        }
        let differ = if differences.len() == 1 { "differs" } else { "differ" };
        let files = count(differences.len(), "file");
        context.ui.found(&format!("{} is out of date: {files} {differ}", out.display()));
        context.next(&mending(args, out));
    }
    let exit = if differences.is_empty() { Exit::Ok } else { Exit::Found };
    context.ui.json(&CheckReport { verdict, out: out.to_owned(), differences });
    Ok(exit)
}

fn show(context: &Context, difference: &FileDifference) {
    let path = &difference.path;
    match (&difference.diff, difference.state) {
        (Some(diff), _) => context.ui.result(diff),
        (None, DifferenceKind::Missing) => context.ui.result(&format!("missing: {path}")),
        (None, DifferenceKind::Changed) => {
            context.ui.result(&format!("differs: {path} (not shown: it is a secret or a list of digests)"));
        }
        (None, DifferenceKind::Stale) => context.ui.result(&format!("no longer rendered: {path}")),
    }
}

/// The command that brings the folder up to date.
fn mending(args: &Args, out: &Path) -> String {
    let manifest = std::fs::read_to_string(out.join(MANIFEST)).ok();
    // Without a manifest nobody knows which files are ours, and nothing is written over them.
    let is_empty = std::fs::read_dir(out).map_or(true, |mut files| files.next().is_none());
    let is_lost = !is_empty && manifest.and_then(|text| Manifest::from_text(&text)).is_none();
    let away = if is_lost { format!("mv {0} {0}.old && ", out.display()) } else { String::new() };
    let mut command = format!("{away}tenantry render");
    for (flag, value) in [("--out", &args.out), ("--templates", &args.templates)] {
        if let Some(value) = value {
            command += &format!(" {flag} {}", value.display());
        }
    }
    command
}
