//! Permissions that limit only publishing or only subscribing.

use super::Rule;
use crate::audit::system::System;
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "one-sided-permissions",
    proves: "a user whose publishing is limited is limited in subscribing too, and the other way round",
    why: "If only one of `publish` and `subscribe` is given, the other is unlimited inside the account",
    mend: "give both; `deny: \">\"` grants nothing",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    for (account, user) in system.users() {
        let permissions = &user.permissions;
        let Some(span) = permissions.span else { continue };
        let missing = match (permissions.publish.span, permissions.subscribe.span) {
            (Some(_), None) => "subscribe to",
            (None, Some(_)) if permissions.responses.is_none() => "publish",
            _ => continue,
        };
        let message = format!("`{}/{}` may {missing} anything: that side is not given", account.name, user.name);
        out.push(RULE.warning(span, message).related(user.span, "this user"));
    }
}
