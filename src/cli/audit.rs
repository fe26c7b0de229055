//! `tenantry audit`.

use std::path::PathBuf;

use serde::Serialize;

use super::{Context, count};
use crate::diag::{Finding, Severity};
use crate::error::{Error, Exit};
use crate::proof::world::{Kind, World};
use crate::proof::{self, Audit};

/// Prove from its configuration that no tenant of a nats-server can reach another.
///
/// Any nats-server.conf, whoever wrote it: each account is taken for a tenant.
/// What nats-server itself would refuse is an error here too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 nothing that leaks; 1 findings; 2 nats-server would refuse it")]
pub struct Args {
    /// The configuration; what it includes is read too.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// What other programs read.
#[derive(Serialize)]
struct Report {
    verdict: &'static str,
    findings: Vec<Finding>,
    accounts: usize,
    users: usize,
    shares: Vec<Share>,
    residual: &'static [&'static str],
    config_digest: String,
}

/// What passes between accounts because the configuration says so.
#[derive(Serialize)]
struct Share {
    kind: &'static str,
    from: String,
    to: String,
    subject: String,
}

/// So many findings are shown; all are in the JSON.
const SHOWN: usize = 50;

pub fn run(context: &Context, args: &Args) -> Result<Exit, Error> {
    let audit = proof::audit(&args.file, &|name| std::env::var(name).ok())?;
    let Audit { sources, world, findings, digest } = &audit;
    context.ui.diagnostics(sources, &findings[..findings.len().min(SHOWN)]);
    if findings.len() > SHOWN {
        context.ui.note(&format!("… and {} more: --format json has all", findings.len() - SHOWN));
    }
    let shares = shares(world);
    let users = world.accounts.iter().map(|a| a.users.len()).sum();
    let errors = findings.iter().filter(|f| f.severity == Severity::Error).count();
    let warnings = findings.len() - errors;
    let what = format!(
        "{}: {}, {}, {}",
        args.file.display(),
        count(world.accounts.len(), "account"),
        count(users, "user"),
        count(shares.len(), "declared share"),
    );
    let warned = if warnings == 0 { String::new() } else { format!(", {}", count(warnings, "warning")) };
    if audit.is_isolated() {
        context.ui.done(&format!("{what}; no account reaches another beyond that{warned}"));
    } else {
        context.ui.found(&format!("{what}; {}{warned}", count(errors, "leak")));
    }
    for share in shares.iter().take(SHOWN) {
        context.ui.detail(&format!("shared: {} {} of {} with {}", share.kind, share.subject, share.from, share.to));
    }
    for risk in proof::RESIDUAL {
        context.ui.detail(&format!("no configuration closes: {risk}"));
    }
    context.ui.json(&Report {
        verdict: verdict(audit.is_isolated()),
        findings: findings.iter().map(|f| sources.finding(f)).collect(),
        accounts: world.accounts.len(),
        users,
        shares,
        residual: proof::RESIDUAL,
        config_digest: digest.clone(),
    });
    Ok(if audit.is_isolated() { Exit::Ok } else { Exit::Found })
}

/// In one word.
pub fn verdict(is_isolated: bool) -> &'static str {
    if is_isolated { "isolated" } else { "leaky" }
}

fn shares(world: &World) -> Vec<Share> {
    let mut shares = Vec::new();
    for account in &world.accounts {
        for import in &account.imports {
            shares.push(Share {
                kind: if import.kind == Kind::Stream { "stream" } else { "service" },
                from: import.from.0.clone(),
                to: account.name.clone(),
                subject: import.subject.to_string(),
            });
        }
    }
    shares
}
