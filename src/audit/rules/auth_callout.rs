//! Users in the account of an auth callout can read every login.

use super::Rule;
use crate::audit::system::System;
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "auth-callout",
    proves: "no tenant receives the credentials of others",
    why: "A subscriber in the callout's account receives every login, with the password in clear text unless it is encrypted, and can decide which account a client gets",
    mend: "give the callout an account of its own with its `auth_users` and no others, and an `xkey`",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    let Some(callout) = &system.callout else { return };
    let Some(account) = system.account(&callout.account) else { return };
    if !callout.encrypted && !system.is_system(account) && account.users.len() + account.exports.len() > 1 {
        let message = format!("whoever is in `{}` hears every login, passwords included", callout.account);
        out.push(RULE.error(callout.span, message).related(account.span, "the account"));
    } else if !callout.encrypted {
        let finding = RULE.warning(callout.span, "the logins that are asked for are not encrypted");
        out.push(finding.hint("give the callout an `xkey`"));
    }
}
