//! Users without connection types may use every listener.

use super::Rule;
use crate::audit::system::{ListenerKind, System, User};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "connection-types",
    proves: "users connect through the listeners that are meant for them",
    why: "An MQTT session can be taken over by any user of the account who uses its name, and allow lists do not cover some subjects of leaf nodes. A user without connection types, or with an empty list, may use every listener",
    mend: "`allowed_connection_types: [STANDARD]`, or the type that the user is meant for",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    let (mqtt, leaf) = (system.server.listener(ListenerKind::Mqtt), system.server.listener(ListenerKind::Leaf));
    if let Some(mqtt) = mqtt {
        for account in system.tenants().filter(|account| tenants.share(account)) {
            let mut by_mqtt = account.users.iter().filter(|user| user.may_use(ListenerKind::Mqtt));
            let Some(first) = by_mqtt.next() else { continue };
            let is_apart = |user: &&User| tenants.of(account, user) != tenants.of(account, first);
            if let Some(other) = by_mqtt.find(is_apart) {
                let message = format!(
                    "`{0}/{1}` and `{0}/{2}` of another tenant can take over each other's MQTT sessions, by the client id",
                    account.name,
                    other.display_name(),
                    first.display_name()
                );
                let finding = RULE.error(other.span, message).related(first.span, "the other one");
                out.push(finding.related(mqtt.span, "the listener").hint("give each tenant its own account"));
            }
        }
    }
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
        let finding = RULE.warning(span, message);
        let opened = mqtt.or(leaf).map(|listener| listener.span);
        out.push(opened.into_iter().fold(finding, |finding, span| finding.related(span, "a listener that is open")));
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::rules;

    #[test]
    fn only_listeners_that_take_a_user_count() {
        let user = "user: a, permissions: { publish: a.>, subscribe: a.> }";
        let (leaf, websocket) =
            ("leafnodes { listen: \"127.0.0.1:7422\" }", "websocket { listen: \"127.0.0.1:80\", no_tls: true }");
        let none = "limits { max_leafnodes: 0 }";
        for (listener, limits, is_found) in
            [(leaf, "", true), (leaf, none, false), (websocket, "", false), ("", "", false)]
        {
            let text = format!("{listener}\naccounts {{ A {{ users: [{{ {user} }}]\n{limits} }} }}");
            assert_eq!(rules(&text).contains(&"connection-types"), is_found, "{text}");
        }
    }
}
