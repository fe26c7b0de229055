//! One login shared by all clients.

use super::Rule;
use crate::audit::system::System;
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "one-login",
    proves: "users are told apart",
    why: "with one name and password, or one token, for the whole server nobody can be told from anybody else",
    mend: "accounts with users of their own",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    // With an operator it logs nobody in.
    if let Some(span) = system.shared_login.filter(|_| system.operator.is_none()) {
        out.push(RULE.warning(span, "everybody logs in as the same user, with every right").confidential());
    }
}
