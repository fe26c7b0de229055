//! A user that may come through any door.

use super::{Rule, users};
use crate::audit::system::{DoorKind, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "connection-types",
    proves: "users come through the doors that are meant for them",
    why: "leaf nodes and MQTT have subjects of their own that allow lists do not cover; a user without connection types, or with an empty list, may use every door",
    mend: "`allowed_connection_types: [STANDARD]`",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    let doors: Vec<_> = system.server.doors.iter().filter(|d| d.listens && kinds(d.kind).is_some()).collect();
    let Some(door) = doors.first() else { return };
    // A leaf door with users of its own lets no others in.
    if doors.iter().all(|d| d.kind == DoorKind::Leaf && d.has_authorization) {
        return;
    }
    for (account, user) in users(system).filter(|(account, _)| !system.is_system(account)) {
        if user.connection_types.as_ref().is_none_or(|(types, _)| types.is_empty()) {
            let span = user.connection_types.as_ref().map_or(user.span, |(_, span)| *span);
            let limited = user.permissions.span.is_some();
            let message = format!("`{}/{}` may connect as a leaf node, by MQTT or WebSocket", account.name, user.name);
            let diagnostic = if limited { RULE.error(span, message) } else { RULE.warning(span, message) };
            out.push(diagnostic.related(door.span, "a door that is open"));
        }
    }
}

fn kinds(kind: DoorKind) -> Option<DoorKind> {
    matches!(kind, DoorKind::Leaf | DoorKind::Mqtt | DoorKind::WebSocket).then_some(kind)
}
