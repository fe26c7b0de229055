//! `tenantry check`.

use std::path::PathBuf;

use serde::Serialize;

use super::annotations::Review;
use super::{Context, count};
use crate::audit::Audit;
use crate::audit::system::Account;
use crate::diag::{Diagnostic, Finding, Severity};
use crate::error::{Error, Exit};
use crate::project::Project;
use crate::registry::Valid;
use crate::registry::codes;
use crate::verdict::Verdict;

/// Validate the registry, render it in memory, and prove the result isolated.
///
/// The proof is that of `audit`, over the configuration as `up` runs it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Use the templates of this folder.
    #[arg(long, value_name = "DIR")]
    templates: Option<PathBuf>,
}

/// The JSON document.
#[derive(Serialize)]
struct CheckDocument {
    verdict: &'static str,
    findings: Vec<Finding>,
}

pub fn run(context: &Context, args: &Args) -> Result<Exit, Error> {
    let valid = context.load()?;
    context.ui.warnings(&valid.sources, &valid.warnings);
    let project = Project::open(valid, args.templates.as_deref())?;
    let valid = &project.valid;
    let bar = context.ui.progress(valid.model.tenants.len(), "rendering");
    let bundle = project.render(|| bar.step())?;
    bar.finish();
    project.save_hashes();
    let audit = project.audit(&bundle)?;
    // The registry's warning about the sum of connections covers the audit's finding.
    let is_said = valid.warnings.iter().any(|w| w.rule == codes::CONNECTIONS_OVERSUBSCRIBED);
    let findings = audit.findings.iter().filter(|f| !(is_said && f.rule == "unlimited-connections"));
    let found: Vec<Diagnostic> = findings.map(|finding| at_its_tenant(finding, &audit, valid)).collect();
    let users: usize = valid.model.tenants.iter().map(|t| t.users.len()).sum();
    let warnings = match valid.warnings.len() {
        0 => String::new(),
        n => format!(", {}", count(n, "warning")),
    };
    let extent = format!(
        "{}, {}, {} files would be rendered{warnings}",
        count(valid.model.tenants.len(), "tenant"),
        count(users, "user"),
        bundle.files.len() + 1,
    );
    context.ui.done(&format!("{}: {extent}", valid.path.display()));
    let leaks = found.iter().filter(|f| f.severity == Severity::Error).count();
    context.ui.diagnostics(&valid.sources, &found);
    match audit.verdict() {
        Verdict::Isolated => context
            .ui
            .done("isolated: by the rendered configuration no tenant reaches another beyond the declared shares"),
        Verdict::Leaky => {
            context.ui.found(&format!("the rendered configuration is not isolated: {}", count(leaks, "error")));
        }
        Verdict::Inconclusive => {
            context.ui.unknown("inconclusive: not everything is decided in the rendered configuration");
        }
    }
    let findings: Vec<Finding> = found.iter().chain(&valid.warnings).map(|w| valid.sources.finding(w)).collect();
    context.ui.review(Review {
        subject: &valid.path.display().to_string(),
        verdict: audit.verdict().as_str(),
        extent: &extent,
        is_failure: false,
        findings: &findings,
        untried: &[],
    });
    context.ui.json(&CheckDocument { verdict: audit.verdict().as_str(), findings });
    Ok(audit.verdict().exit())
}

fn at_its_tenant(finding: &Diagnostic, audit: &Audit, valid: &Valid) -> Diagnostic {
    let place = finding.span.filter(|span| !audit.system.accounts.is_empty() && span.start > 0);
    let before = |a: &&Account| place.is_some_and(|p| a.span.file == p.file && a.span.start <= p.start);
    let account = audit.system.accounts.iter().filter(before).max_by_key(|a| a.span.start);
    let tenant = account.and_then(|a| valid.model.tenants.iter().find(|t| t.name.as_str() == a.name));
    let line = place.map_or(1, |span| audit.sources.position(span).0);
    let message = format!("{} (line {line} of what is rendered)", finding.message);
    let mut found = Diagnostic { label: String::new(), related: Vec::new(), message, ..finding.clone() };
    found.span = tenant.map(|t| t.span);
    if finding.rule == "clear-text" {
        // What is rendered has no TLS, and no key of the registry turns it on.
        found.hint = Some(
            "listen on 127.0.0.1 (`client` of [server]) and have a proxy add TLS; or add `tls` by a template of your own: \
             `tenantry templates eject`"
                .to_owned(),
        );
    }
    found
}
