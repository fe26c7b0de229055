//! Users without connection types may use every listener.

use super::Rule;
use crate::audit::system::{Account, ListenerKind, System, User};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "connection-types",
    proves: "users come through the listeners that are meant for them",
    why: "leaf nodes have subjects of MQTT that allow lists do not cover, and MQTT has sessions that whoever names them takes over: between tenants in one account both pass messages. A user without connection types, or with an empty list, may use every listener",
    mend: "`allowed_connection_types: [STANDARD]`, or the type that the user is meant for",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    let mqtt = system.server.listeners.iter().find(|l| l.kind == ListenerKind::Mqtt && l.listens);
    let leaf = system.server.listeners.iter().find(|l| l.kind == ListenerKind::Leaf && l.listens);
    for (account, user) in system.users().filter(|(account, _)| !system.is_system(account)) {
        if user.connection_types.as_ref().is_some_and(|(types, _)| !types.is_empty()) {
            continue;
        }
        let leaf = leaf.filter(|_| system.may_be_leaf(account, user));
        let how = match (leaf.is_some(), mqtt.is_some()) {
            (true, true) => "as a leaf node, or by MQTT",
            (true, false) => "as a leaf node",
            (false, true) => "by MQTT",
            (false, false) => continue,
        };
        let span = user.connection_types.as_ref().map_or(user.span, |(_, span)| *span);
        let message = format!("`{}/{}` may connect {how}", account.name, user.name);
        let finding = match tenants.share(account) && (mqtt.is_some() || crosses(user)) {
            true => RULE.error(span, message),
            false => RULE.warning(span, message),
        };
        let opened = mqtt.or(leaf).map(|listener| listener.span);
        out.push(opened.into_iter().fold(finding, |finding, span| finding.related(span, "a listener that is open")));
    }
}

/// Whether a leaf node of this user exchanges messages with others in its account on subjects of MQTT.
pub fn crosses(user: &User) -> bool {
    !user.permissions.deny_mqtt()
}

/// Whether any user of an account may attach a server by which messages pass the lists.
pub fn opens(system: &System, account: &Account) -> bool {
    account.users.iter().any(|user| system.may_be_leaf(account, user) && crosses(user))
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::audit_text;
    use crate::diag::Severity;

    #[test]
    fn another_listener_is_an_error_where_it_passes_messages_between_tenants() {
        let lists = "permissions: { publish: a.>, subscribe: a.> }";
        let closed =
            "permissions: { publish: { allow: a.>, deny: \"$MQTT.>\" }, subscribe: { allow: a.>, deny: \"$MQTT.>\" } }";
        let (leaf, websocket) =
            ("leafnodes { listen: \"127.0.0.1:7422\" }", "websocket { listen: \"127.0.0.1:80\", no_tls: true }");
        let none = "limits { max_leafnodes: 0 }";
        for (listener, lists, limits, expected) in [
            (leaf, lists, "", Some(Severity::Warning)),
            (leaf, lists, none, None),
            (websocket, lists, "", None),
            ("", lists, "", None),
            (leaf, closed, "", Some(Severity::Warning)),
        ] {
            let text = format!("{listener}\naccounts {{ A {{ users: [{{ user: a, {lists} }}]\n{limits} }} }}");
            let audit = audit_text(&text).expect("accepted");
            let found = audit.findings.iter().find(|f| f.rule == "connection-types").map(|f| f.severity);
            assert_eq!(found, expected, "{text}");
        }
    }
}
