//! The static proof: reads any nats-server configuration, not only a rendered
//! one, and checks whether a tenant can see, forge, block or starve another.
//! Decides as nats-server does.

pub mod connecting;
pub mod crossing;
mod inference;
pub mod reach;
mod read;
pub mod rules;
pub mod system;
pub mod tenants;

use std::path::Path;

use rayon::prelude::*;

use crate::conf::value::{Map, Value};
use crate::conf::{self, ConfFiles, Environment};
use crate::diag::{Diagnostic, Severity, Sources, Span};
use crate::error::Error;
use crate::verdict::Verdict;
use system::System;
use tenants::Tenants;

pub use rules::RULES;

/// The result of auditing a configuration.
#[derive(Debug)]
pub struct Audit {
    /// Texts of the configuration files, secrets hidden, for showing findings.
    pub sources: Sources,
    /// The configuration.
    pub system: System,
    /// Assignment of accounts and users to tenants.
    pub tenants: Tenants,
    /// Findings, errors first.
    pub findings: Vec<Diagnostic>,
    /// Digest of the configuration, equal to what nats-server prints for the same file.
    pub digest: String,
}

impl Audit {
    /// Leaky if there is an error. Inconclusive if isolation depends on what is not in the
    /// configuration, or on whose its users are: nothing is proved then.
    pub fn verdict(&self) -> Verdict {
        if self.findings.iter().any(|finding| finding.severity == Severity::Error) {
            Verdict::Leaky
        } else if self.findings.iter().any(rules::is_undecided) {
            Verdict::Inconclusive
        } else {
            Verdict::Isolated
        }
    }
}

/// Redacts secrets in `sources`, so that no later diagnostic can print one.
fn hide_secrets(map: &Map, sources: &mut Sources) {
    const SECRET: [&str; 7] = ["pass", "token", "seed", "secret", "creds", "prev_", "encryption"];
    for entry in &map.entries {
        let key = entry.key.to_lowercase();
        match &entry.node.value {
            Value::Map(map) => hide_secrets(map, sources),
            Value::Array(nodes) => {
                let maps = nodes.iter().filter_map(|n| if let Value::Map(map) = &n.value { Some(map) } else { None });
                maps.for_each(|map| hide_secrets(map, sources));
            }
            // A number such as `account_token_position` tells nobody anything.
            Value::Integer(_) if key.ends_with("_position") => {}
            _ if SECRET.iter().any(|word| key.contains(word)) || matches!(key.as_str(), "key" | "ek") => {
                sources.hide(entry.node.span);
            }
            _ => {}
        }
    }
}

/// Residual risks that no configuration can remove, listed in reports.
pub const RESIDUAL: &[&str] = &[
    "nats-server does not limit rates: accounts share throughput, bandwidth and CPU",
    "all accounts share one queue of JetStream API requests; a flood of requests drops those of every account",
    "the exporter of a stream chooses where an answer to its messages goes, within the answering user's permissions",
    "the exporter of a stream chooses the subject on which an importer's stream acknowledges a captured message",
    "a new account with the name of a removed one can read its streams",
    "what JetStream delivers over a share has the subject under which it was stored: who may make consumers, or has a leaf node, chooses the subject that the other side sees, so a subject is no proof of who sent a message (requests name the account in `Nats-Request-Info`)",
    "the exporter of a stream sees in a trace of its own message which of an importer's subscriptions hear it, and under which local subject",
    "who is behind a leaf node can replace the permission lists of its user, and take all of the server's memory by the weight of a queue subscription (nats-server 2.15.1)",
    "each guess of a bcrypt password costs the server one comparison, before the client is authenticated",
];

/// Reads a configuration and checks every rule; each account is a tenant. Fails
/// on a configuration that nats-server rejects.
pub fn audit(path: &Path, environment: Environment<'_>) -> Result<Audit, Error> {
    audit_of(path, environment, |_| Ok(Tenants::default()))
}

/// [`audit`] with an assignment of accounts and users to tenants.
pub fn audit_of(
    path: &Path,
    environment: Environment<'_>,
    tenants: impl FnOnce(&System) -> Result<Tenants, Error>,
) -> Result<Audit, Error> {
    let mut sources = Sources::default();
    let document = conf::read(path, environment, &mut sources)?;
    let mut collector = read::options::Collector::default();
    if document.map.entries.is_empty() {
        return Err(Error::usage(format!("{} says nothing", path.display()), "nats-server does not start with it"));
    }
    let system = read::system(&document.map, Span { file: 0, start: 0, end: 0 }, &mut collector);
    hide_secrets(&document.map, &mut sources);
    if !collector.refused.is_empty() {
        collector.refused.sort_by_key(|d| d.span);
        return Err(Error::Conf { sources, diagnostics: collector.refused });
    }
    let tenants = tenants(&system)?.resolved(&system);
    let check = |rule: &rules::Rule| {
        let mut found = Vec::new();
        rule.check(&system, &tenants, &mut found);
        found
    };
    let mut findings: Vec<Diagnostic> = RULES.par_iter().flat_map_iter(check).collect();
    findings.extend(document.remarks);
    findings.extend(collector.findings);
    findings.sort_by_key(|d| (d.severity, d.span));
    let digest = conf::digest(&document.map);
    Ok(Audit { sources, system, tenants, findings, digest })
}

/// [`audit`] of texts that are not in files, without environment variables. `tenants`: `None`
/// makes each account a tenant, and none of them several.
pub fn audit_files(files: &ConfFiles, tenants: Option<&Tenants>) -> Result<Audit, Error> {
    let folder =
        tempfile::TempDir::with_prefix("tenantry-audit-").map_err(|e| Error::io("create", Path::new("a folder"), e))?;
    let conf = files.write(folder.path())?;
    // The folder is gone before anybody can look: places are those in the bundle.
    let mut found = audit_of(&conf, &|_| None, |_| Ok(tenants.cloned().unwrap_or_else(Tenants::each_account)));
    if let Ok(Audit { sources, .. }) | Err(Error::Conf { sources, .. }) = &mut found {
        sources.strip(folder.path());
    }
    found
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Audits a configuration; each account is a tenant.
    pub(crate) fn audit_text(main: &str) -> Result<Audit, Error> {
        let files = ConfFiles { main: main.to_owned(), accounts: String::new() };
        audit_files(&files, Some(&Tenants::default()))
    }

    /// The system that a configuration describes.
    pub(crate) fn system(main: &str) -> System {
        audit_text(main).unwrap_or_else(|e| panic!("{main}\n{e}: {e:?}")).system
    }

    /// Line, column and message of everything that the server refuses.
    pub(crate) fn refused(main: &str) -> Vec<(usize, usize, String)> {
        match audit_text(main) {
            Ok(_) => Vec::new(),
            Err(Error::Conf { sources, diagnostics }) => {
                let findings = diagnostics.iter().map(|d| sources.finding(d));
                findings.map(|f| (f.line.unwrap_or(0), f.column.unwrap_or(0), f.message)).collect()
            }
            Err(other) => panic!("{main}\n{other}"),
        }
    }

    /// All findings.
    pub(crate) fn findings(main: &str) -> Vec<Diagnostic> {
        audit_text(main).unwrap_or_else(|e| panic!("{main}\n{e}: {e:?}")).findings
    }

    /// All findings where a file for `--tenants` says this.
    pub(crate) fn findings_of_tenants(main: &str, tenants: &str) -> Vec<Diagnostic> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), tenants).expect("written");
        let tenants = Tenants::read(file.path()).unwrap_or_else(|e| panic!("{tenants}: {e}"));
        let files = ConfFiles { main: main.to_owned(), accounts: String::new() };
        audit_files(&files, Some(&tenants)).unwrap_or_else(|e| panic!("{main}\n{e}: {e:?}")).findings
    }

    /// Rule identifiers of all findings, each once, sorted.
    pub(crate) fn rules(main: &str) -> Vec<&'static str> {
        let found: std::collections::BTreeSet<&str> = findings(main).iter().map(|d| d.rule).collect();
        found.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::audit_text;
    use super::*;

    const ISOLATED: &str = r#"
        accounts {
          A { users: [{ user: a, password: "$2a$11$1234567890123456789012345678901234567890123456789012a",
                        permissions { publish: [a.>], subscribe: [a.>] } }]
              limits { max_connections: 10, max_subscriptions: 10 } }
        }
        authorization {}
    "#;

    fn verdict(main: &str) -> Verdict {
        audit_text(main).expect("an accepted configuration").verdict()
    }

    #[test]
    fn an_error_makes_the_verdict_leaky_and_a_decision_elsewhere_inconclusive() {
        assert_eq!(verdict(ISOLATED), Verdict::Isolated);
        let with_warning = ISOLATED.replace("max_connections: 10,", "");
        assert_eq!(verdict(&with_warning), Verdict::Isolated, "warnings do not change it");
        let callout = ISOLATED.replace("authorization {}", "authorization { auth_callout { account: A, auth_users: [a], xkey: XAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB7QO7,
             issuer: ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA } }");
        assert_eq!(verdict(&callout), Verdict::Inconclusive);
        let import = "B { imports: [{ stream: { account: A, subject: a.x } }] }\n        }\n        authorization {";
        let leaky = callout
            .replace("limits {", "exports: [{ stream: a.x }]\n limits {")
            .replace("}\n        authorization {", import);
        assert_eq!(verdict(&leaky), Verdict::Leaky);
    }

    #[test]
    fn findings_are_sorted_errors_first_and_then_by_place() {
        let audit = audit_text(
            "accounts {\n A { users: [{ user: a, password: p }], exports: [{ stream: x }, { stream: y }] }\n B { imports: [{ stream: { account: A, subject: x } }, { stream: { account: A, subject: y } }] }\n}\nhttp: 8222",
        );
        let findings = audit.expect("accepted").findings;
        let order: Vec<_> = findings.iter().map(|d| (d.severity, d.span)).collect();
        assert!(order.is_sorted(), "{order:?}");
        let errors = order.iter().filter(|(severity, _)| *severity == Severity::Error).count();
        assert!((2..order.len()).contains(&errors), "both kinds are there: {order:?}");
    }

    #[test]
    fn secrets_are_hidden_from_the_sources_and_other_values_are_not() {
        let text = "accounts { A { users: [{ user: alice, password: hunter2 }] } }\n\
                    cluster { name: c, authorization { user: r, pass: hunter3 } }\n\
                    jetstream { key: hunter4, store_dir: \"/tmp\" }\n";
        let audit = audit_text(text).expect("accepted");
        let shown = audit.sources.text(0);
        assert_eq!(shown.len(), text.len());
        assert!(!shown.contains("hunter"), "{shown}");
        assert!(shown.contains("alice") && shown.contains("/tmp"), "{shown}");
    }

    #[test]
    fn a_configuration_without_entries_is_no_configuration() {
        assert!(matches!(audit_text("# nothing\n"), Err(Error::Usage { .. })));
        assert!(audit_text("port: 4222\n").is_ok());
    }
}
