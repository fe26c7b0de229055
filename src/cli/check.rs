//! `tenantry check`.

use std::path::PathBuf;

use serde::Serialize;

use super::{Context, Secrets, count, engine};
use crate::diag::Finding;
use crate::error::{Error, Exit};
use crate::render::{self, Inputs};

/// Validate the registry and render it in memory.
#[derive(Debug, clap::Args)]
#[command(after_help = "The static proof over the rendered configuration is not part of this version yet.")]
pub struct Args {
    /// Use the templates of this folder.
    #[arg(long, value_name = "DIR")]
    templates: Option<PathBuf>,
}

/// What other programs read.
#[derive(Serialize)]
struct Report {
    verdict: &'static str,
    findings: Vec<Finding>,
}

pub fn run(context: &Context, args: &Args) -> Result<Exit, Error> {
    let valid = context.load()?;
    context.ui.warnings(&valid.sources, &valid.warnings);
    let engine = engine(args.templates.as_deref())?;
    let secrets = Secrets::load(context, &valid)?;
    let inputs = Inputs { model: &valid.model, keyring: secrets.keyring(&valid), engine: &engine };
    let bar = context.ui.progress(valid.model.tenants.len(), "rendering");
    let bundle = render::render(&inputs, || bar.inc(1)).map_err(|e| e.in_files(&valid.sources))?;
    bar.finish_and_clear();
    secrets.remember_hashes();
    let users: usize = valid.model.tenants.iter().map(|t| t.users.len()).sum();
    let warnings = match valid.warnings.len() {
        0 => String::new(),
        n => format!(", {}", count(n, "warning")),
    };
    context.ui.done(&format!(
        "{}: {}, {}, {} files would be rendered{warnings}",
        valid.path.display(),
        count(valid.model.tenants.len(), "tenant"),
        count(users, "user"),
        bundle.files.len() + 1,
    ));
    let findings = valid.warnings.iter().map(|w| valid.sources.finding(w)).collect();
    context.ui.json(&Report { verdict: "valid", findings });
    Ok(Exit::Ok)
}
