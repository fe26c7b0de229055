//! `tenantry audit`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::annotations::Review;
use super::{Context, count};
use crate::audit::system::{System, User};
use crate::audit::tenants::Tenants;
use crate::audit::{self, Audit};
use crate::diag::{Finding, Severity};
use crate::error::{Error, Exit};
use crate::verdict::Verdict;

/// Prove from its configuration that no tenant of a nats-server can reach another.
///
/// Any nats-server.conf, whoever wrote it. Each account is taken for a tenant, unless its users
/// look like several tenants': then the verdict is inconclusive until you say who is who. If no
/// other account has users, and one of those may do everything, it reaches the others: then it is leaky.
/// What nats-server itself would refuse is an error here too, but for files of certificates, which are not opened.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 nothing that leaks; 1 findings; 2 nats-server would refuse it; 3 not everything is decided in the file"
)]
pub struct Args {
    /// The configuration; what it includes is read too.
    #[arg(value_name = "FILE", required_unless_present = "rules")]
    file: Option<PathBuf>,
    /// Who is one tenant, where it is not each account: a TOML file with, for each,
    /// [[tenant]] name, accounts = ["ACCOUNT"], users = ["ACCOUNT/USER"].
    #[arg(long, value_name = "FILE", conflicts_with = "rules")]
    tenants: Option<PathBuf>,
    /// Print a file for --tenants that says who seems to be who, to correct it.
    #[arg(long, conflicts_with_all = ["rules", "tenants"])]
    suggest_tenants: bool,
    /// Print every rule, in Markdown: what must hold, why, and how to fix a finding.
    #[arg(long, conflicts_with = "file")]
    rules: bool,
}

/// The JSON document.
#[derive(Serialize)]
struct AuditDocument {
    verdict: &'static str,
    findings: Vec<Finding>,
    undecided: Vec<UndecidedAccount>,
    accounts: usize,
    users: usize,
    shares: Vec<Share>,
    residual: &'static [&'static str],
    config_digest: String,
}

/// An account whose users look like several tenants', while nobody said whose they are.
#[derive(Serialize)]
struct UndecidedAccount {
    account: String,
    users: Vec<String>,
    why: String,
}

/// A declared import of one account from another.
#[derive(Serialize)]
struct Share {
    kind: &'static str,
    from: String,
    to: String,
    subject: String,
}

/// Maximum number of findings printed. The JSON document holds all.
const SHOWN: usize = 50;
/// Maximum number of shares printed without --verbose.
const SHARES: usize = 10;

pub fn run(context: &Context, args: &Args) -> Result<Exit, Error> {
    let Some(file) = args.file.as_ref().filter(|_| !args.rules) else {
        match context.ui.is_json() {
            true => context.ui.json(&rules_document()),
            false => context.ui.raw(&rules()),
        }
        return Ok(Exit::Ok);
    };
    let audit = audited(file, args.tenants.as_deref()).inspect_err(|_| {
        if file.extension().is_some_and(|e| e == "toml") {
            context.ui.note(&format!("is {0} a registry? then: tenantry check -f {0}", file.display()));
        }
    })?;
    let Audit { sources, system, tenants, findings, digest } = &audit;
    if args.suggest_tenants && context.ui.is_json() {
        return Err(Error::usage("--suggest-tenants prints TOML", "leave --format out"));
    }
    if args.suggest_tenants {
        context.ui.raw(&suggestion(system));
        return Ok(Exit::Ok);
    }
    context.ui.diagnostics(sources, &findings[..findings.len().min(SHOWN)]);
    if findings.len() > SHOWN {
        context.ui.note(&format!("… and {} more: --format json has all", findings.len() - SHOWN));
    }
    let shares = shares(system);
    let users = system.accounts.iter().map(|a| a.users.len()).sum();
    let errors = findings.iter().filter(|f| f.severity == Severity::Error).count();
    let warnings = findings.len() - errors;
    let extent = format!(
        "{}, {}, {}, {}",
        count(tenants.count(system), "tenant"),
        count(system.accounts.len(), "account"),
        count(users, "user"),
        count(shares.len(), "declared share"),
    );
    let what = format!("{}: {extent}", file.display());
    let warned = if warnings == 0 { String::new() } else { format!(", {}", count(warnings, "warning")) };
    match audit.verdict() {
        Verdict::Isolated => context.ui.done(&format!("{what}; no tenant reaches another beyond that{warned}")),
        Verdict::Leaky => context.ui.found(&format!("leaky: {what}; {}{warned}", count(errors, "error"))),
        Verdict::Inconclusive => {
            context.ui.unknown(&format!("inconclusive: {what}; not everything is decided in this file{warned}"));
        }
    }
    if args.tenants.is_none() && system.tenants().any(|account| account.users.len() > 1) {
        context.ui.note("the users of an account are taken for one tenant's: --tenants FILE names those that are not");
    }
    let shown = if context.ui.is_verbose() { shares.len() } else { SHARES };
    for share in shares.iter().take(shown) {
        context.ui.note(&format!("shared: {} {} of {} with {}", share.kind, share.subject, share.from, share.to));
    }
    if shares.len() > shown {
        context.ui.note(&format!("… and {} more: -v shows all", shares.len() - shown));
    }
    for risk in audit::RESIDUAL {
        context.ui.detail(&format!("no configuration closes: {risk}"));
    }
    let findings: Vec<Finding> = findings.iter().map(|f| sources.finding(f)).collect();
    context.ui.review(Review {
        subject: &file.display().to_string(),
        verdict: audit.verdict().as_str(),
        extent: &extent,
        is_failure: false,
        findings: &findings,
        untried: &[],
    });
    context.ui.json(&AuditDocument {
        verdict: audit.verdict().as_str(),
        findings,
        undecided: undecided(system, tenants),
        accounts: system.accounts.len(),
        users,
        shares,
        residual: audit::RESIDUAL,
        config_digest: digest.clone(),
    });
    Ok(audit.verdict().exit())
}

/// Audits a file, with the assignment of its accounts and users to tenants if there is one.
pub fn audited(file: &Path, tenants: Option<&Path>) -> Result<Audit, Error> {
    let tenants = tenants.map(Tenants::read).transpose()?.unwrap_or_default();
    audit::audit_of(file, &|name| std::env::var(name).ok(), |system| {
        tenants.refuse_unknown(system)?;
        Ok(tenants)
    })
}

fn undecided(system: &System, tenants: &Tenants) -> Vec<UndecidedAccount> {
    let undecided = audit::rules::undecided(system, tenants).into_iter();
    undecided
        .map(|suspicion| UndecidedAccount {
            account: suspicion.account.name.clone(),
            users: suspicion.account.users.iter().map(|user| user.name.clone()).collect(),
            why: suspicion.why,
        })
        .collect()
}

/// A file for `--tenants` with what the configuration suggests.
fn suggestion(system: &System) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let mut text =
        "# Who is one tenant, as it seems. Correct it, then: tenantry audit --tenants THIS FILE\n".to_owned();
    let undecided = audit::rules::undecided(system, &Tenants::default());
    for account in system.tenants() {
        let Some(suspicion) = undecided.iter().find(|s| s.account.name == account.name) else {
            text += &format!("\n[[tenant]]\nname = {0}\naccounts = [{0}]\n", quoted(&account.name));
            continue;
        };
        text += &format!("\n# {}: {}.\n", account.name, suspicion.why);
        if account.scopes.is_some() {
            text += &format!(
                "# Its users are not in the file. If all of them are one tenant's:\n# [[tenant]]\n# name = {0}\n# accounts = [{0}]\n",
                quoted(&account.name)
            );
            continue;
        }
        let full = |user: &User| quoted(&format!("{}/{}", account.name, user.name));
        let mut grouped: Vec<&str> = Vec::new();
        for group in &suspicion.groups {
            let users: Vec<String> = group.users.iter().map(|user| full(user)).collect();
            grouped.extend(group.users.iter().map(|user| user.name.as_str()));
            let name = quoted(&format!("{}-{}", account.name, group.name));
            text += &format!("[[tenant]]\nname = {name}\nusers = [{}]\n", users.join(", "));
        }
        let others: Vec<String> =
            account.users.iter().filter(|user| !grouped.contains(&user.name.as_str())).map(full).collect();
        if !others.is_empty() {
            let name = quoted(&account.name);
            text += &format!(
                "# Of any of them, or of their own:\n[[tenant]]\nname = {name}\nusers = [{}]\n",
                others.join(", ")
            );
        }
    }
    text
}

/// Every rule, as data.
fn rules_document() -> serde_json::Value {
    use serde_json::{Value, json};
    let rules: Vec<Value> = audit::RULES
        .iter()
        .map(|rule| json!({ "rule": rule.id, "proves": rule.proves, "why": rule.why, "fix": rule.mend }))
        .collect();
    let reading = audit::rules::READING.iter().map(|(id, what)| json!({ "rule": id, "means": what }));
    json!({ "rules": rules, "reading": reading.collect::<Vec<_>>(), "residual": audit::RESIDUAL })
}

/// The text of docs/rules.md: every rule.
fn rules() -> String {
    let mut text = "# Rules of the static proof\n\n\
        Generated by `tenantry audit --rules`. Each rule names what must hold, why it matters, and how to fix a finding.\n\
        The files of `tests/fixtures/audit` violate each of them.\n"
        .to_owned();
    for rule in audit::RULES {
        text +=
            &format!("\n## {}\n\n{}. {}.\n\nFix: {}.\n", rule.id, sentence(rule.proves), sentence(rule.why), rule.mend);
    }
    text += "\n## While a configuration is read\n\n";
    for (id, what) in audit::rules::READING {
        text += &format!("* **{id}**: {what}.\n");
    }
    text += "\n## What no configuration can close\n\n";
    for risk in audit::RESIDUAL {
        text += &format!("* {}.\n", sentence(risk));
    }
    text
}

/// Capitalises the first letter, except in the program name nats-server.
fn sentence(text: &str) -> String {
    if text.starts_with("nats-server") {
        return text.to_owned();
    }
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn shares(system: &System) -> Vec<Share> {
    let mut shares = Vec::new();
    for account in &system.accounts {
        for import in &account.imports {
            shares.push(Share {
                kind: import.kind.as_str(),
                from: import.from.0.clone(),
                to: account.name.clone(),
                subject: import.subject.to_string(),
            });
        }
    }
    shares
}
