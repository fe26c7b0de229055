//! Message traces that cross accounts.

use super::Rule;
use crate::audit::system::System;
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "traced-share",
    proves: "message traces end at the account's boundary",
    why: "With `allow_trace`, a trace names the other account's clients and subscriptions",
    mend: "remove `allow_trace`",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in &system.accounts {
        let places = account.exports.iter().map(|e| e.allow_trace).chain(account.imports.iter().map(|i| i.allow_trace));
        for span in places.flatten() {
            out.push(RULE.warning(span, format!("a trace from outside shows clients of `{}`", account.name)));
        }
    }
}
