//! What nats-server refuses although each option has a value of the right type.

use std::collections::HashSet;

use super::option_names::{
    AUTHORIZATION, CLIENT_AUTHORIZATION, COMPRESSION, LEAF_AUTHORIZATION, LISTENER_USER, MSG_TRACE, PROXY,
};
use super::options::{Collector, Options, go_duration};
use crate::audit::system::ListenerKind;
use crate::conf::value::{Node, Value};
use crate::subject::Subject;

/// The oldest version that a leaf node listener may demand.
const OLDEST_LEAF: (u64, u64, u64) = (2, 8, 0);

/// Checks the `authorization` block of a listener.
pub fn listener_authorization(kind: ListenerKind, node: &Node, collector: &mut Collector) {
    let Value::Map(map) = &node.value else { return };
    let names = match kind {
        ListenerKind::Leaf => LEAF_AUTHORIZATION,
        ListenerKind::WebSocket | ListenerKind::Mqtt => CLIENT_AUTHORIZATION,
        ListenerKind::Cluster | ListenerKind::Gateway => AUTHORIZATION,
    };
    let options = collector.options(map, names, "this authorization");
    if matches!(kind, ListenerKind::Cluster | ListenerKind::Gateway) {
        for entry in ["token", "users"].iter().filter_map(|key| options.entry(key)) {
            collector.refuse(entry.key_span, format!("servers have no `{}`", entry.key), "one user and its password");
        }
    }
    let Some(users) = options.get("users").filter(|_| kind == ListenerKind::Leaf) else { return };
    if let Some(entry) = options.entry("user") {
        collector.refuse(entry.key_span, "one user and a list of users do not go together", "make it one of them");
    }
    let mut seen = HashSet::new();
    for node in collector.list(users) {
        let Some(map) = collector.map(node) else { continue };
        let user = collector.options(map, LISTENER_USER, "a user of a leaf node listener");
        if let Some(name) = collector.text(user.get("user"))
            && !seen.insert(name)
        {
            collector.refuse(node.span, format!("`{name}` is a user of this listener already"), "give each a name");
        }
    }
}

/// Checks a `tls` block. `is_of_servers`: of routes or gateways.
pub fn tls(is_of_servers: bool, options: &Options<'_>, collector: &mut Collector) {
    let pair = [("cert_file", "key_file"), ("key_file", "cert_file")];
    for (given, missing) in pair {
        if let (Some(entry), None) = (options.entry(given), options.get(missing)) {
            collector.refuse(entry.key_span, format!("`{given}` without `{missing}`"), "give both");
        }
    }
    if let Some(entry) = options.entry("verify_cert_and_check_known_urls")
        && entry.node.value == Value::Bool(true)
        && !is_of_servers
    {
        collector.refuse(entry.key_span, "only routes and gateways have known URLs", "use `verify`");
    }
}

/// Checks `compression`, of a listener or a remote.
pub fn compression(options: &Options<'_>, collector: &mut Collector) {
    let Some(Value::Map(map)) = options.get("compression").map(|node| &node.value) else { return };
    let inside = collector.options(map, COMPRESSION, "compression");
    let Some(node) = inside.get("rtt_thresholds") else { return };
    for node in collector.list(node) {
        let is_duration = collector.text(Some(node)).is_some_and(|text| go_duration(text).is_some());
        if !is_duration {
            collector.refuse(node.span, "expected a duration such as \"10ms\"", "");
        }
    }
}

/// Checks the proxy of a leaf node remote.
pub fn proxy(options: &Options<'_>, collector: &mut Collector) {
    let Some(Value::Map(map)) = options.get("proxy").map(|node| &node.value) else { return };
    let inside = collector.options(map, PROXY, "proxy");
    if let Some(node) = inside.get("url")
        && let Some(url) = collector.text(Some(node))
        && !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme))
    {
        collector.refuse(node.span, "a proxy's URL begins with http:// or https://", "");
    }
}

/// Checks the minimum version of leaf nodes.
pub fn minimum_version(options: &Options<'_>, collector: &mut Collector) {
    let Some(node) = options.get("min_version") else { return };
    let Some(text) = collector.text(Some(node)) else { return };
    let numbers: Vec<u64> = text.trim_start_matches('v').split('.').filter_map(|part| part.parse().ok()).collect();
    let is_right = matches!(numbers.as_slice(), [major, minor, patch] if (*major, *minor, *patch) >= OLDEST_LEAF);
    if !is_right {
        collector.refuse(node.span, format!("`{text}` is no version from 2.8.0 on"), "such as \"2.10.0\"");
    }
}

/// Checks the message trace of an account.
pub fn message_trace(node: &Node, collector: &mut Collector) {
    let destination = |node: &Node, text: &str, collector: &mut Collector| {
        let is_literal = Subject::as_the_server_reads(text).is_some_and(|subject| !subject.has_wildcard());
        if !is_literal {
            collector.refuse(node.span, format!("`{text}` is not a subject to publish to"), "no wildcards");
        }
    };
    match &node.value {
        Value::Text(text) => destination(node, text, collector),
        Value::Map(map) => {
            let inside = collector.options(map, MSG_TRACE, "message trace");
            if let Some(node) = inside.get("dest")
                && let Some(text) = collector.text(Some(node))
            {
                destination(node, text, collector);
            }
            if let Some(node) = inside.get("sampling") {
                let percent = match &node.value {
                    Value::Integer(number) => Some(*number),
                    Value::Text(text) => text.trim_end_matches('%').parse().ok(),
                    _ => None,
                };
                if !percent.is_some_and(|percent| (1..=100).contains(&percent)) {
                    collector.refuse(node.span, "expected a percentage from 1 to 100", "");
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::refused;

    #[test]
    fn each_of_these_is_refused_and_its_correction_is_not() {
        for (wrong, right) in [
            ("cluster { authorization { users: [] } }", "cluster { authorization { user: u, password: p } }"),
            (
                "gateway { name: g, authorization { token: t } }",
                "gateway { name: g, authorization { user: u, password: p } }",
            ),
            (
                "leafnodes { authorization { users: [{ user: u, password: p }, { user: u, password: p }] } }",
                "leafnodes { authorization { users: [{ user: u, password: p }, { user: v, password: p }] } }",
            ),
            ("websocket { authorization { other: x } }", "websocket { authorization { token: x } }"),
            ("tls { cert_file: a }", "tls { cert_file: a, key_file: b }"),
            ("tls { verify_cert_and_check_known_urls: true }", "tls { verify: true }"),
            (
                "cluster { compression { mode: s2_auto, rtt_thresholds: [abc] } }",
                "cluster { compression { mode: s2_auto, rtt_thresholds: [10ms] } }",
            ),
            ("cluster { compression { mode: 123 } }", "cluster { compression { mode: fast } }"),
            ("leafnodes { min_version: 2.7.9 }", "leafnodes { min_version: 2.8.0 }"),
            (
                "leafnodes { remotes: [{ url: \"nats://a:1\", proxy { url: \"ftp://p\" } }] }",
                "leafnodes { remotes: [{ url: \"nats://a:1\", proxy { url: \"http://p\" } }] }",
            ),
            (
                "leafnodes { remotes: [{ url: \"nats://a:1\" }, { url: \"nats://a:1\" }] }",
                "leafnodes { remotes: [{ url: \"nats://a:1\" }, { url: \"nats://b:1\" }] }",
            ),
            ("accounts { A { msg_trace: \"a.*\" } }", "accounts { A { msg_trace: a.b } }"),
            (
                "accounts { A { msg_trace: { dest: a, sampling: 101 } } }",
                "accounts { A { msg_trace: { dest: a, sampling: \"100%\" } } }",
            ),
            ("accounts: [A, A]", "accounts: [A, B]"),
            ("accounts: [A, \"$G\"]", "accounts: [A, G]"),
            ("authorization { user: u, password: p, token: t }", "authorization { user: u, password: p }"),
            ("store_dir: a\njetstream { store_dir: b }", "jetstream { store_dir: b }"),
            (
                "accounts { A { exports: [{ service: a }, { service: b }] }, \
                 B { imports: [{ service: { account: A, subject: a }, to: x }, { service: { account: A, subject: b }, to: x }] } }",
                "accounts { A { exports: [{ service: a }, { service: b }] }, \
                 B { imports: [{ service: { account: A, subject: a }, to: x }, { service: { account: A, subject: b }, to: y }] } }",
            ),
            ("lame_duck_duration: 5s", "lame_duck_duration: 30s"),
            ("jetstream { sync_interval: never }", "jetstream { sync_interval: always }"),
        ] {
            assert_eq!(refused(wrong).len(), 1, "{wrong}: {:?}", refused(wrong));
            assert_eq!(refused(right), [], "{right}");
        }
    }
}
