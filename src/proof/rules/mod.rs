//! What is checked, one rule a file. Each says what it proves, why that
//! matters and how to mend it; docs/rules.md is made from that.

mod account_name;
mod anonymous_user;
mod answered_import;
mod connection_types;
mod fails_at_start;
mod import_cycle;
mod leaf_door;
mod mapped_export;
mod monitor_exposed;
mod no_authentication;
mod one_login;
mod one_sided_permissions;
mod open_cluster;
mod open_permissions;
mod oversubscribed;
mod passed_on;
mod producer_stall;
mod public_export;
mod queue_stealing;
mod reserved_export;
mod shared_account;
mod shared_identity;
mod traced_share;
mod truncated_limit;
mod unlimited_connections;
mod unlimited_jetstream;
mod weak_login;
mod wildcard_service;

use super::world::{Account, User, World};
use crate::diag::{Diagnostic, Span};

/// One thing that is checked.
pub struct Rule {
    /// Stable kebab-case identifier.
    pub id: &'static str,
    /// What holds if it finds nothing.
    pub proves: &'static str,
    /// Why that matters.
    pub why: &'static str,
    /// What to do about a finding.
    pub mend: &'static str,
    check: fn(&World, &mut Vec<Diagnostic>),
}

/// Every rule.
pub const RULES: &[Rule] = &[
    no_authentication::RULE,
    anonymous_user::RULE,
    open_permissions::RULE,
    one_sided_permissions::RULE,
    shared_account::RULE,
    public_export::RULE,
    wildcard_service::RULE,
    reserved_export::RULE,
    shared_identity::RULE,
    traced_share::RULE,
    queue_stealing::RULE,
    answered_import::RULE,
    unlimited_jetstream::RULE,
    oversubscribed::RULE,
    fails_at_start::RULE,
    truncated_limit::RULE,
    connection_types::RULE,
    leaf_door::RULE,
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
];

/// What is found while a configuration is read.
pub const READING: &[(&str, &str)] = &[
    ("misread-value", "the server reads something else than what is written, and says nothing"),
    ("overridden-account", "of two accounts with one name the last counts, and the first one's users are gone"),
    ("overridden-key", "of two keys with one name the last counts"),
    ("ambiguous-key", "a key is given twice under different names: which one counts changes from start to start"),
];

impl Rule {
    /// Looks for what the rule is about.
    pub fn check(&self, world: &World, out: &mut Vec<Diagnostic>) {
        (self.check)(world, out);
    }

    fn error(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(self.id, span, message).hint(self.mend)
    }

    fn warning(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(self.id, span, message).hint(self.mend)
    }
}

/// Every user with its account.
fn users(world: &World) -> impl Iterator<Item = (&Account, &User)> {
    world.accounts.iter().flat_map(|account| account.users.iter().map(move |user| (account, user)))
}
