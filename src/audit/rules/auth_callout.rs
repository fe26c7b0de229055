//! Users in the account of an auth callout can read every login.

use super::Rule;
use crate::audit::system::System;
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "auth-callout",
    proves: "no tenant is asked for the credentials of others",
    why: "whoever subscribes in the callout's account hears every login, with its password, unless it is encrypted; and decides who everybody is",
    mend: "give the callout an account of its own, with its `auth_users` alone, and an `xkey`",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    let Some(callout) = &system.callout else { return };
    let Some(account) = system.account(&callout.account) else { return };
    if !callout.encrypted && !system.is_system(account) && account.users.len() + account.exports.len() > 1 {
        let message = format!("whoever is in `{}` hears every login, passwords included", callout.account);
        out.push(RULE.error(callout.span, message).related(account.span, "the account"));
    } else if !callout.encrypted {
        out.push(RULE.warning(callout.span, "the logins that are asked for are not encrypted"));
    }
}
