//! Empty permissions, which the server reads as unlimited.

use super::Rule;
use crate::audit::system::System;
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "open-permissions",
    proves: "permissions that look closed are closed",
    why: "nats-server reads an empty list or an empty block as \"everything\"",
    mend: "write `deny: \">\"` to grant nothing",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    for (account, user) in system.users() {
        let permissions = &user.permissions;
        let Some(span) = permissions.span else { continue };
        let sides = [("publish", &permissions.publish), ("subscribe to", &permissions.subscribe)];
        for (side, place) in sides.iter().filter_map(|(name, side)| side.looks_closed.map(|place| (name, place))) {
            let message = format!("`{}/{}` may {side} anything: an empty list means no limit", account.name, user.name);
            out.push(RULE.error(place, message).related(user.span, "this user"));
        }
        if sides.iter().all(|(_, side)| side.span.is_none()) && permissions.responses.is_none() {
            let message =
                format!("`{}/{}` may do everything: empty permissions mean no limit", account.name, user.name);
            out.push(RULE.error(span, message).related(user.span, "this user"));
        }
    }
}
