//! Users without connection types may use every listener.

use super::Rule;
use crate::audit::system::{ListenerKind, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "connection-types",
    proves: "users come through the listeners that are meant for them",
    why: "leaf nodes and MQTT have subjects of their own that allow lists do not cover; a user without connection types, or with an empty list, may use every listener",
    mend: "`allowed_connection_types: [STANDARD]`",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    let listeners: Vec<_> = system.server.listeners.iter().filter(|d| d.listens && kinds(d.kind).is_some()).collect();
    let Some(listener) = listeners.first() else { return };
    // A leaf listener with logins of its own rejects the users of accounts.
    if listeners.iter().all(|d| d.kind == ListenerKind::Leaf && d.has_authorization) {
        return;
    }
    for (account, user) in system.users().filter(|(account, _)| !system.is_system(account)) {
        if user.connection_types.as_ref().is_none_or(|(types, _)| types.is_empty()) {
            let span = user.connection_types.as_ref().map_or(user.span, |(_, span)| *span);
            let limited = user.permissions.span.is_some();
            let message = format!("`{}/{}` may connect as a leaf node, by MQTT or WebSocket", account.name, user.name);
            let diagnostic = if limited { RULE.error(span, message) } else { RULE.warning(span, message) };
            out.push(diagnostic.related(listener.span, "a listener that is open"));
        }
    }
}

fn kinds(kind: ListenerKind) -> Option<ListenerKind> {
    matches!(kind, ListenerKind::Leaf | ListenerKind::Mqtt | ListenerKind::WebSocket).then_some(kind)
}
