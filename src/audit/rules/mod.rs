//! The rules of the static proof, one per file. Each states what it proves, why
//! that matters and how to fix a finding; docs/rules.md is generated from these texts.

mod account_name;
mod anonymous_user;
mod answered_import;
mod auth_callout;
mod clear_text;
mod connection_types;
mod decided_elsewhere;
mod fails_at_start;
mod import_cycle;
mod leaf_bridge;
mod leaf_listener;
mod logged_payloads;
mod mapped_export;
mod monitor_exposed;
mod no_authentication;
mod one_login;
mod one_sided_permissions;
mod open_cluster;
mod open_permissions;
mod overheard_answers;
mod oversubscribed;
mod passed_on;
mod producer_stall;
mod public_export;
mod queue_stealing;
mod reserved_export;
mod reserved_import;
mod server_crash;
mod shared_account;
mod shared_advisories;
mod shared_identity;
mod shared_stream;
mod system_tenant;
mod traced_share;
mod truncated_limit;
mod trusted_peer;
mod undecided_tenants;
mod unlimited_connections;
mod unlimited_jetstream;
mod weak_login;
mod widened_subscription;
mod wider_import;
mod wildcard_service;

pub use decided_elsewhere::misread_by_the_server;
pub use passed_on::{OverLeaf, over_leaf_nodes};
pub use undecided_tenants::undecided;

use super::crossing::{Share, Taken};
use super::reach;
use super::system::{Account, Import, Mapping, System, User};
use super::tenants::Tenants;
use crate::diag::{Diagnostic, Span};
use crate::subject::Subject;

/// A rule of the static proof.
pub struct Rule {
    /// Stable kebab-case identifier.
    pub id: &'static str,
    /// The property that holds if there is no finding.
    pub proves: &'static str,
    /// Why that matters.
    pub why: &'static str,
    /// How to fix a finding.
    pub mend: &'static str,
    check: fn(&System, &Tenants, &mut Vec<Diagnostic>),
}

/// All rules.
pub const RULES: &[Rule] = &[
    no_authentication::RULE,
    anonymous_user::RULE,
    open_permissions::RULE,
    one_sided_permissions::RULE,
    widened_subscription::RULE,
    shared_account::RULE,
    undecided_tenants::RULE,
    public_export::RULE,
    wider_import::RULE,
    server_crash::RULE,
    wildcard_service::RULE,
    reserved_export::RULE,
    reserved_import::RULE,
    shared_advisories::RULE,
    shared_identity::RULE,
    shared_stream::RULE,
    traced_share::RULE,
    queue_stealing::RULE,
    answered_import::RULE,
    unlimited_jetstream::RULE,
    oversubscribed::RULE,
    fails_at_start::RULE,
    truncated_limit::RULE,
    connection_types::RULE,
    leaf_listener::RULE,
    leaf_bridge::RULE,
    auth_callout::RULE,
    system_tenant::RULE,
    decided_elsewhere::RULE,
    open_cluster::RULE,
    account_name::RULE,
    weak_login::RULE,
    monitor_exposed::RULE,
    producer_stall::RULE,
    mapped_export::RULE,
    passed_on::RULE,
    import_cycle::RULE,
    unlimited_connections::RULE,
    one_login::RULE,
    clear_text::RULE,
    trusted_peer::RULE,
    logged_payloads::RULE,
    overheard_answers::RULE,
];

/// Whether a finding says that something cannot be decided, which makes the verdict inconclusive.
pub fn is_undecided(finding: &Diagnostic) -> bool {
    [decided_elsewhere::RULE.id, undecided_tenants::RULE.id].contains(&finding.rule)
}

/// Findings made while reading a configuration: identifier and description.
pub const READING: &[(&str, &str)] = &[
    ("misread-value", "the server silently reads another value than the one that is written"),
    ("new-syntax", "a value without quotes that nats-server before 2.15.1 refuses, with the whole file"),
    (
        "overridden-account",
        "two accounts have the same name: the server keeps the last one, and the users of the first are gone",
    ),
    ("overridden-key", "a key is given twice: the server keeps the last value"),
    ("ambiguous-key", "a key is given twice under two names: which value the server uses changes from start to start"),
];

impl Rule {
    /// Appends the findings of the rule to `out`.
    pub fn check(&self, system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
        (self.check)(system, tenants, out);
    }

    fn error(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(self.id, span, message).hint(self.mend)
    }

    fn warning(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(self.id, span, message).hint(self.mend)
    }
}

/// A user with its account and tenant, as in a sentence.
fn whose(tenants: &Tenants, account: &Account, user: &User) -> String {
    format!("`{}/{}` of `{}`", account.name, user.display_name(), tenants.of(account, user))
}

/// Whether what an account imports passes between users of different tenants. Where an account has users of several, their
/// lists say who takes part.
fn is_between_tenants(system: &System, tenants: &Tenants, importer: &Account, import: &Import) -> bool {
    let Some(exporter) = system.account(&import.from.0) else { return true };
    let are_apart = tenants.are_apart(&exporter.name, &importer.name);
    let is_mixed = tenants.are_mixed(exporter) || tenants.are_mixed(importer);
    if !are_apart || !is_mixed || system.operator.is_some() || system.callout.is_some() {
        return are_apart;
    }
    let share = Share { import, exporter, importer, on_to: None };
    let (from, to) = share.ends();
    let behind = User::behind_leaf(String::new(), import.span);
    let parties = share.parties(system, &behind);
    let is_between =
        |taken: &Taken<'_>| taken.has(&behind) || tenants.of(from, taken.sender) != tenants.of(to, taken.receiver);
    parties.taken.iter().any(is_between)
}

/// The remedy in the file, or as an option of `nsc edit account` if accounts are JWTs.
fn remedy(system: &System, account: &Account, in_file: &str, option: &str) -> String {
    match system.operator {
        Some(_) => format!("`nsc edit account -n {} {option}`", account.name),
        None => in_file.to_owned(),
    }
}

/// Mappings of subjects reserved by the server, inboxes included, with their results.
fn mapped_reserved<'s>(system: &'s System, account: &'s Account) -> impl Iterator<Item = (&'s Mapping, Vec<Subject>)> {
    let touches = |mapping: &&Mapping| reserved_export::touches_reserved(system, account, &mapping.from);
    let reserved = account.written_mappings().filter(touches);
    reserved.map(|mapping| (mapping, reach::results(mapping)))
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::rules;

    #[test]
    fn each_of_these_rules_finds_a_mistake_and_not_its_fix() {
        for (rule, mistake, fixed) in [
            ("public-export", "exports: [{ stream: a }]", "exports: [{ stream: a, accounts: [B] }]"),
            ("public-export", "exports: [{ stream: a, accounts: [] }]", "exports: [{ stream: a, accounts: [B] }]"),
            (
                "reserved-export",
                "exports: [{ service: \"$JS.API.>\", accounts: [B] }]",
                "exports: [{ service: js.api.>, accounts: [B] }]",
            ),
            (
                "traced-share",
                "exports: [{ service: a, accounts: [B], allow_trace: true }]",
                "exports: [{ service: a, accounts: [B], allow_trace: false }]",
            ),
            ("truncated-limit", "limits { max_connections: 2147483648 }", "limits { max_connections: 2147483647 }"),
            ("truncated-limit", "limits { max_payload: -2147483649 }", "limits { max_payload: -2147483648 }"),
            (
                "weak-login",
                "users: [{ user: u, password: p }]",
                "users: [{ user: u, password: \"$2a$11$12345678901234567890123456789012345678901234567890123\" }]",
            ),
            (
                "open-permissions",
                "users: [{ user: u, permissions { publish: [] } }]",
                "users: [{ user: u, permissions { publish: { deny: \">\" } } }]",
            ),
            ("open-permissions", "users: [{ user: u, permissions {} }]", "users: [{ user: u }]"),
            (
                "one-sided-permissions",
                "users: [{ user: u, permissions { publish: a } }]",
                "users: [{ user: u, permissions { publish: a, subscribe: a } }]",
            ),
        ] {
            let found = |entries: &str| rules(&format!("accounts {{ A {{ {entries} }}, B {{}} }}")).contains(&rule);
            assert!(found(mistake), "{rule} misses {mistake}");
            assert!(!found(fixed), "{rule} finds {fixed}");
        }
    }
}
