//! Imports and measured services with which a client ends the server.

use std::cell::LazyCell;

use super::Rule;
use crate::audit::crossing::{asks_the_server, delivers_anywhere, uses_mqtt};
use crate::audit::reach::{self, traced};
use crate::audit::system::{Account, Import, ListenerKind, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::model::ShareKind;
use crate::subject::Subject;

pub const RULE: Rule = Rule {
    id: "server-crash",
    proves: "no message and no subscription of a tenant can crash the server",
    why: "A leaf node can make nats-server 2.15.1 run out of memory, by the weight of a queue subscription (a warning). The server crashes in three more situations: a subscription to one subject of a local name with more wildcards than the imported stream has; a message on a subject that is mapped to an empty subject; and a request that comes from no client to an imported service whose latency is measured, which a user of an importer can cause by the reply subject of a request to the server, MQTT, a consumer or, where not every request is measured, a trace of its own message",
    mend: "use each wildcard of the stream exactly once in the local name; map to a subject; remove `latency` and measure it outside the server",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    // A leaf node says how often it is to be counted in a queue, and the server makes a list as long: 8 GB by one message.
    let mut leaves = system.tenants().filter_map(|account| Some((account, system.leaf_of(account)?)));
    let is_with_others = |account: &Account| {
        tenants.are_mixed(account) || system.tenants().any(|other| tenants.are_apart(&account.name, &other.name))
    };
    if let Some((account, span)) = leaves.find(|(account, _)| is_with_others(account)) {
        let message = format!(
            "whoever is behind the leaf node of `{}` can take all of the server's memory, by the weight of a queue subscription",
            account.name
        );
        out.push(
            RULE.warning(span, message)
                .hint("only leaf nodes that are yours; or `max_leafnodes: 0` in the account's limits"),
        );
    }
    let stars = |subject: &Subject| subject.tokens().filter(|token| *token == "*").count();
    for account in &system.accounts {
        let streams = account.imports.iter().filter(|import| import.kind == ShareKind::Stream);
        for import in streams.filter(|i| i.subject.has_wildcard() && stars(&i.local) > stars(&i.subject)) {
            let message = format!(
                "whoever subscribes to a subject of `{}` in `{}` ends the server: `{}` has fewer wildcards",
                import.local, account.name, import.subject
            );
            out.push(RULE.error(import.span, message).hint("use each wildcard of the stream once: `to: \"in.$1\"`"));
        }
    }
    // Those who import a service, and those whose requests others pass on to it: the import by which each asks, and the last one.
    let asked = LazyCell::new(|| {
        let importers = || system.accounts.iter();
        let direct = importers().flat_map(|by| by.services().map(move |import| (by, import, import)));
        let passed_on = importers().flat_map(|by| {
            let requests = reach::passed_on(system, by).0.into_iter();
            requests.map(move |request| (by, request.first, request.last.1))
        });
        direct.chain(passed_on).collect::<Vec<_>>()
    });
    for account in &system.accounts {
        for (export, latency) in account.exports.iter().filter_map(|e| Some((e, e.latency.as_ref()?))) {
            let comes = |last: &Import| last.from.0 == account.name && export.subject.contains(&last.subject);
            let mut others = asked.iter().filter(|(by, _, last)| by.name != account.name && comes(last));
            let by_user = others.find_map(|(importer, import, _)| {
                let user = importer.users.iter().find(|user| {
                    // A trace is no client's request, either.
                    let traces =
                        || !latency.of_every_request && !traced(importer, user, Some(&import.local)).is_empty();
                    asks_the_server(system, importer, user)
                        || delivers_anywhere(importer, user)
                        || uses_mqtt(system, importer) && user.may_use(ListenerKind::Mqtt)
                        || traces()
                })?;
                Some((importer, user, import))
            });
            if let Some((importer, user, import)) = by_user {
                let message = format!(
                    "`{}/{}` can end the server by `{}` of `{}`, whose latency is measured",
                    importer.name,
                    user.display_name(),
                    export.subject,
                    account.name
                );
                out.push(
                    RULE.error(latency.span, message).related(import.span, "imported here").hint("remove `latency`"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::rules;

    #[test]
    fn what_ends_the_server_is_found() {
        for (subject, to, ends) in [
            ("ev.*", "to: \"in.$1.$1\"", true),
            ("ev.*", "prefix: \"p.$1\"", true),
            ("ev.*.>", "prefix: \"p.$1\"", true),
            ("ev.*", "to: \"in.$1\"", false),
            ("ev.*.*", "to: \"in.$2.$1\"", false),
            ("ev.>", "prefix: p", false),
            ("ev", "prefix: \"p.$1\"", false),
        ] {
            let text = format!(
                "accounts {{ A {{ exports: [{{ stream: \"{subject}\", accounts: [B] }}] }}
                 B {{ imports: [{{ stream: {{ account: A, subject: \"{subject}\" }}, {to} }}] }} }}"
            );
            assert_eq!(rules(&text).contains(&"server-crash"), ends, "{text}");
        }
        let measured = |latency: &str, importer: &str| {
            format!("accounts {{ A {{ exports: [{{ service: s.x, accounts: [B]{latency} }}] }}{importer} }}")
        };
        let import = "imports: [{ service: { account: A, subject: s.x } }]";
        let importer = &format!(", B {{ users: [{{ user: b }}], {import} }}");
        assert!(rules(&measured(", latency: { sampling: 50, subject: l }", importer)).contains(&"server-crash"));
        assert!(!rules(&measured("", importer)).contains(&"server-crash"), "the control");
        // A user that may not ask the server, and has no traces there, does not end it.
        let may = |publish: &str| {
            format!(
                ", B {{ users: [{{ user: b, permissions {{ publish: \"{publish}\", subscribe: i }} }}], {import} }}"
            )
        };
        for (publish, sampling, ends) in [
            ("s.x", "100", false),
            ("s.x", "25", true),
            ("s.x", "headers", true),
            ("b.>", "25", false),
            ("$SYS.REQ.USER.INFO", "100", true),
            (">", "100", true),
        ] {
            let text = measured(&format!(", latency: {{ sampling: {sampling}, subject: l }}"), &may(publish));
            assert_eq!(rules(&text).contains(&"server-crash"), ends, "{publish} {sampling}");
        }
        assert!(!rules(&measured(", latency: l", ", B {}")).contains(&"server-crash"), "nobody imports it");
        // Measured on nats-server 2.15.1: whose requests others pass on ends it as well.
        let chain = |publish: &str, users: &str| {
            let middle = format!(
                ", B {{ {users} imports: [{{ service: {{ account: A, subject: s.x }}, to: b.q }}], exports: [{{ service: b.q, accounts: [C] }}] }}"
            );
            let last = format!(
                ", C {{ users: [{{ user: c, permissions {{ publish: \"{publish}\", subscribe: i }} }}], imports: [{{ service: {{ account: B, subject: b.q }} }}] }}"
            );
            measured(", latency: { sampling: 100, subject: l }", &(middle + &last))
        };
        for users in ["", "users: [{ user: b, permissions { publish: b.x, subscribe: i } }],"] {
            assert!(rules(&chain(">", users)).contains(&"server-crash"), "{users}");
            assert!(!rules(&chain("b.q", users)).contains(&"server-crash"), "{users}");
        }
        let mapped = |to: &str| format!("accounts {{ A {{ mappings {{ \"m\": \"{to}\" }} }} }}");
        assert!(rules(&mapped("")).contains(&"server-crash"));
        assert!(!rules(&mapped("x")).contains(&"server-crash"), "the control");
    }
}
