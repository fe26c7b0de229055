//! Values that nats-server refuses although each has the right type.

use std::collections::HashSet;

use super::is_public;
use super::option_names::{
    AUTHORIZATION, CERTIFICATE, CLIENT_AUTHORIZATION, COMPRESSION, LATENCY, LEAF_AUTHORIZATION, LISTENER_USER,
    MSG_TRACE, OCSP_PEER, PROXY,
};
use super::options::{Collector, Options, go_duration};
use super::start::nodes;
use crate::audit::reach::term::Function;
use crate::audit::system::{Latency, ListenerKind};
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
    if let Some(node) = options.get("nkey").filter(|_| kind == ListenerKind::Leaf)
        && collector.text(Some(node)).is_some_and(|key| !is_public(key, 'U'))
    {
        collector.refuse(
            node.span,
            "this is no user's public nkey",
            "it begins with U, has 56 characters, and the last ones are a checksum of the others",
        );
    }
    let Some(users) = options.get("users").filter(|_| kind == ListenerKind::Leaf) else { return };
    if let Some(entry) = options.entry("user").filter(|_| !nodes(users).is_empty()) {
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
pub fn tls(options: &Options<'_>, is_of_servers: bool, collector: &mut Collector) {
    tls_lists(options, collector);
    if let Some(Value::Map(map)) = options.get("ocsp_peer").map(|node| &node.value) {
        collector.options(map, OCSP_PEER, "ocsp_peer");
    }
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

/// Cipher suites that the server knows, the secure ones first.
const CIPHER_SUITES: [&[&str]; 2] = [
    &[
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    ],
    &[
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
        "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
        "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
        "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
        "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
        "TLS_RSA_WITH_AES_128_CBC_SHA",
        "TLS_RSA_WITH_AES_128_CBC_SHA256",
        "TLS_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_RSA_WITH_AES_256_CBC_SHA",
        "TLS_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_RSA_WITH_RC4_128_SHA",
    ],
];

/// Curves that the server knows.
const CURVES: &[&str] =
    &["CurveP256", "CurveP384", "CurveP521", "SecP256r1MLKEM768", "SecP384r1MLKEM1024", "X25519", "X25519MLKEM768"];

/// Checks the lists of a `tls` block.
fn tls_lists(options: &Options<'_>, collector: &mut Collector) {
    let [secure, insecure] = CIPHER_SUITES;
    let allows_insecure =
        options.get("allow_insecure_cipher_suites").is_some_and(|node| node.value == Value::Bool(true));
    for node in entries(options, "cipher_suites", collector) {
        let Some(name) = collector.text(Some(node)) else { continue };
        match (secure.contains(&name), insecure.contains(&name)) {
            (false, false) => collector.refuse(node.span, format!("there is no cipher suite `{name}`"), ""),
            (_, true) if !allows_insecure => {
                let hint = "`allow_insecure_cipher_suites: true`, or another suite";
                collector.refuse(node.span, format!("`{name}` is insecure"), hint);
            }
            _ => {}
        }
    }
    for node in entries(options, "curve_preferences", collector) {
        let Some(name) = collector.text(Some(node)).filter(|name| !CURVES.contains(name)) else { continue };
        collector.refuse(node.span, format!("there is no curve `{name}`"), "such as X25519");
    }
    for node in options.get("pinned_certs").map(|node| collector.list(node)).unwrap_or_default() {
        let is_digest = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if !collector.text(Some(node)).is_some_and(|text| is_digest(&text.to_lowercase())) {
            collector.refuse(node.span, "a pinned certificate is a SHA-256 of its public key", "64 hex digits");
        }
    }
    for node in options.get("certs").map(|node| collector.list(node)).unwrap_or_default() {
        let Value::Map(map) = &node.value else { continue };
        let certificate = collector.options(map, CERTIFICATE, "a certificate");
        if certificate.get("cert_file").is_none() || certificate.get("key_file").is_none() {
            collector.refuse(node.span, "a certificate needs `cert_file` and `key_file`", "");
        }
    }
    if let (Some(entry), Some(_)) = (options.entry("certs"), options.get("cert_file")) {
        collector.refuse(entry.key_span, "`certs` and `cert_file` do not go together", "keep one of them");
    }
}

/// The entries of a list that may be left out, and not be empty.
fn entries<'m>(options: &Options<'m>, key: &str, collector: &mut Collector) -> &'m [Node] {
    let Some(node) = options.get(key) else { return &[] };
    let entries = collector.list(node);
    if entries.is_empty() {
        collector.refuse(node.span, format!("`{key}` is empty"), "remove it");
    }
    entries
}

/// Checks `compression`, of a listener or a remote.
pub fn compression(options: &Options<'_>, collector: &mut Collector) {
    const MODES: [&str; 18] = [
        "",
        "on",
        "enabled",
        "true",
        "off",
        "disabled",
        "false",
        "not supported",
        "not_supported",
        "accept",
        "auto",
        "s2_auto",
        "fast",
        "s2_fast",
        "better",
        "s2_better",
        "best",
        "s2_best",
    ];
    let Some(node) = options.get("compression") else { return };
    if let Value::Text(text) = &node.value
        && !MODES.contains(&text.to_lowercase().as_str())
    {
        collector.refuse(
            node.span,
            format!("there is no compression `{text}`"),
            "off, accept, s2_auto, s2_fast, s2_better or s2_best",
        );
    }
    let Value::Map(map) = &node.value else { return };
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
    let numbers: Option<Vec<u64>> = text.trim_start_matches('v').split('.').map(|part| part.parse().ok()).collect();
    let is_right = matches!(numbers.as_deref(), Some([major, minor, patch]) if (*major, *minor, *patch) >= OLDEST_LEAF);
    if !is_right {
        collector.refuse(node.span, format!("`{text}` is no version from 2.8.0 on"), "such as \"2.10.0\"");
    }
}

/// Reads where traces of an account's messages are published.
pub fn message_trace(node: &Node, collector: &mut Collector) -> Option<Subject> {
    let Value::Map(map) = &node.value else {
        return super::server::text(node).and_then(|text| publishable(node, text, collector));
    };
    let inside = collector.options(map, MSG_TRACE, "message trace");
    if let Some(node) = inside.get("sampling")
        && !percentage(node).is_some_and(|percent| (1..=100).contains(&percent))
    {
        collector.refuse(node.span, "expected a percentage from 1 to 100", "");
    }
    let node = inside.get("dest")?;
    let text = collector.text(Some(node))?;
    publishable(node, text, collector)
}

/// A number of percent: `50`, `"50"` or `"50%"`.
fn percentage(node: &Node) -> Option<i64> {
    match &node.value {
        Value::Integer(number) => Some(*number),
        Value::Text(text) => text.trim_end_matches('%').parse().ok(),
        _ => None,
    }
}

/// A subject without wildcards. `None`: it is refused.
fn publishable(node: &Node, text: &str, collector: &mut Collector) -> Option<Subject> {
    let subject = Subject::as_the_server_reads(text).filter(|subject| !subject.has_wildcard());
    if subject.is_none() {
        collector.refuse(node.span, format!("`{text}` is not a subject to publish to"), "no wildcards");
    }
    subject
}

/// Reads where a service's latency is published.
pub fn latency(node: &Node, collector: &mut Collector) -> Latency {
    let (mut subject, mut place, mut of_every_request) = (None, node, true);
    match &node.value {
        Value::Text(text) => subject = Some(text.as_str()),
        Value::Map(map) => {
            let inside = collector.options(map, LATENCY, "latency");
            if let Some(node) = inside.get("subject") {
                (subject, place) = (collector.text(Some(node)), node);
            } else {
                collector.refuse(node.span, "latency needs a `subject`", "where the reports are published");
            }
            if let Some(node) = inside.get("sampling") {
                let by_headers = matches!(&node.value, Value::Text(text) if text.eq_ignore_ascii_case("headers"));
                of_every_request = percentage(node) == Some(100);
                if !by_headers && !percentage(node).is_some_and(|percent| (1..=100).contains(&percent)) {
                    collector.refuse(node.span, "expected a percentage from 1 to 100, or headers", "");
                }
            }
        }
        _ => {}
    }
    let subject = subject.and_then(|text| publishable(place, text, collector));
    Latency { span: node.span, subject, of_every_request }
}

/// The wildcards that a destination's functions name. Errors: why one is none that the server knows.
fn named_wildcards(to: &str) -> Result<Vec<usize>, &'static str> {
    let mut named = Vec::new();
    for token in to.split('.') {
        match Function::of(token)? {
            Function::None => {}
            Function::Wildcard(wildcard) | Function::OneToken(wildcard) | Function::Split(wildcard) => {
                named.push(wildcard);
            }
            Function::Number(wildcards) => named.extend(wildcards),
        }
    }
    Ok(named)
}

fn wildcards(subject: &Subject) -> usize {
    subject.tokens().filter(|token| *token == "*").count()
}

fn has_rest(subject: &str) -> bool {
    subject == ">" || subject.ends_with(".>")
}

/// A destination without the blanks that the server allows in functions: `{{ partition(3, 1) }}`.
pub fn without_blanks(to: &str) -> String {
    let is_function = |token: &str| token.starts_with("{{") && token.ends_with("}}");
    let token = |token: &str| if is_function(token) { token.replace(' ', "") } else { token.to_owned() };
    to.split('.').map(token).collect::<Vec<_>>().join(".")
}

/// Whether the server accepts a mapping. Errors: why not.
pub fn mapping_renames(from: &Subject, to: &str) -> Result<(), &'static str> {
    if Subject::as_the_server_reads(to).is_none() {
        return Err("that is no subject");
    }
    if to.split('.').any(|token| token == "*") {
        return Err("wildcards are named by number: $1");
    }
    if has_rest(from.as_str()) != has_rest(to) {
        return Err("both end in `>`, or neither does");
    }
    let named = named_wildcards(to)?;
    let is_known = match from.has_wildcard() {
        true => named.iter().all(|number| *number <= wildcards(from)),
        // A partition of a literal may name any wildcard.
        false => to.split('.').all(|token| matches!(Function::of(token), Ok(Function::None | Function::Number(_)))),
    };
    if !is_known {
        return Err("it has no wildcard of that number");
    }
    Ok(())
}

/// Whether the server accepts an import under another subject. Errors: why not.
pub fn import_renames(subject: &Subject, to: &str) -> Result<(), &'static str> {
    if !subject.has_wildcard() || subject.as_str() == to || Subject::as_the_server_reads(to).is_none() {
        return Ok(());
    }
    if has_rest(subject.as_str()) != has_rest(to) {
        return Err("both end in `>`, or neither does");
    }
    let most = wildcards(subject);
    let is_computed = |token: &str| {
        matches!(Function::of(token), Ok(Function::OneToken(_) | Function::Number(_) | Function::Split(_)))
    };
    if to.split('.').any(is_computed) {
        return Err("an import takes no function but wildcard");
    }
    let named = named_wildcards(to)?;
    let in_order = to.split('.').filter(|token| *token == "*").count();
    if named.iter().any(|number| *number > most) || in_order > most {
        return Err("it has no wildcard of that number");
    }
    if named.len() + in_order < most {
        return Err("every wildcard has to be used");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::refused;

    /// Configurations that are refused, each with its correction.
    const PAIRS: &[(&str, &str)] = &[
        ("cluster { authorization { users: [] } }", "cluster { authorization { user: u, password: p } }"),
        ("authorization { user: u, password: p, users: [] }", "authorization { user: u, password: p }"),
        (
            "leafnodes { port: 7422, authorization { user: u, password: p, users: [{ user: v, password: p }] } }",
            "leafnodes { port: 7422, authorization { user: u, password: p, users: [] } }",
        ),
        (
            "gateway { name: g, port: 7222, authorization { token: t } }",
            "gateway { name: g, port: 7222, authorization { user: u, password: p } }",
        ),
        (
            "leafnodes { authorization { users: [{ user: u, password: p }, { user: u, password: p }] } }",
            "leafnodes { authorization { users: [{ user: u, password: p }, { user: v, password: p }] } }",
        ),
        ("websocket { authorization { other: x } }", "websocket { authorization { token: x } }"),
        ("tls { ocsp_peer { unknown: true } }", "tls { ocsp_peer { unknown_is_good: true } }"),
        ("mqtt { port: 1883, ack_wait: 9999999h }", "mqtt { port: 1883, ack_wait: 9h }"),
        ("tls { cert_file: a }", "tls { cert_file: a, key_file: b }"),
        ("tls { verify_cert_and_check_known_urls: true }", "tls { verify: true }"),
        (
            "cluster { compression { mode: s2_auto, rtt_thresholds: [abc] } }",
            "cluster { compression { mode: s2_auto, rtt_thresholds: [10ms] } }",
        ),
        ("cluster { compression { mode: 123 } }", "cluster { compression { mode: fast } }"),
        ("leafnodes { min_version: 2.7.9 }", "leafnodes { min_version: 2.8.0 }"),
        ("leafnodes { min_version: \"127.0.0.1:7422\" }", "leafnodes { min_version: v2.10.0 }"),
        ("cluster { port: 6222, permissions { imports: a.> } }", "cluster { port: 6222, permissions { import: a.> } }"),
        (
            "cluster { port: 6222, permissions { import: { allow: a..b } } }",
            "cluster { port: 6222, permissions { import: { allow: a.b } } }",
        ),
        ("cluster { port: 6222, routes: [true] }", "cluster { port: 6222, routes: [\"nats://127.0.0.1:6223\"] }"),
        (
            "gateway { name: g, port: 7222, gateways: [{ name: h, urls: \"nats://127.0.0.1:1\" }] }",
            "gateway { name: g, port: 7222, gateways: [{ name: h, url: \"nats://127.0.0.1:1\" }] }",
        ),
        (
            "proxies { trusted: [UCARKS2E3KVB7YORL2DG34XLT7PUCOL2SVM7YXV6ETHLW6Z46UUJ2VZ3] }",
            "proxies { trusted: [{ key: UCARKS2E3KVB7YORL2DG34XLT7PUCOL2SVM7YXV6ETHLW6Z46UUJ2VZ3 }] }",
        ),
        ("proxies { a: 1 }", "proxies { trusted: [] }"),
        ("tls { certs: [{ cert_file: a }] }", "tls { certs: [{ cert_file: a, key_file: b }] }"),
        ("ocsp_cache { a: 1 }", "ocsp_cache { type: none }"),
        ("resolver_tls { a: 1 }", "resolver_tls { insecure: true }"),
        ("jetstream { tpm { a: 1 } }", "jetstream { max_file: 1 }"),
        ("resolver_pinned_accounts: [{ a: 1 }]", "max_payload: 1MB"),
        (
            "accounts { A {} }\nleafnodes { authorization { account: Z } }",
            "accounts { A {} }\nleafnodes { authorization { account: A } }",
        ),
        (
            "accounts { A {} }\nleafnodes { remotes: [{ url: \"100%\", account: A }] }",
            "accounts { A {} }\nleafnodes { remotes: [{ url: \"nats://a:1\", account: A }] }",
        ),
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
        ("accounts { A { mappings { a.*: b.$2 } } }", "accounts { A { mappings { a.*: b.$1 } } }"),
        (
            "accounts { A { mappings { a: \"b.{{wildcard(0)}}\" } } }",
            "accounts { A { mappings { a: \"b.{{partition(3,1)}}\" } } }",
        ),
        (
            "accounts { A { mappings { a.*: \"b.{{wildcard(x)}}\" } } }",
            "accounts { A { mappings { a.*: \"b.{{wildcard(-1)}}\" } } }",
        ),
        ("accounts { A { mappings { a.>: b } } }", "accounts { A { mappings { a.>: b.> } } }"),
        (
            "accounts { A { exports: [{ service: s, response_type: stream, latency: l }] } }",
            "accounts { A { exports: [{ service: s, response_type: single, latency: l }] } }",
        ),
        ("cluster { compression: foo }", "cluster { compression: s2_fast }"),
        (
            "accounts { A { mappings { a: [{ destination: b, weight: 30 }, { destination: b, weight: 70 }] } } }",
            "accounts { A { mappings { a: [{ destination: b, weight: 30 }, { destination: c, weight: 70 }] } } }",
        ),
        (
            "accounts { A { mappings { a: [{ destination: b, weight: -1 }] } } }",
            "accounts { A { mappings { a: [{ destination: b, weight: 0 }] } } }",
        ),
        (
            "accounts { A { mappings { a.*: \"b.{{nope(1)}}\" } } }",
            "accounts { A { mappings { a.*: \"b.{{ Wildcard(1) }}\" } } }",
        ),
        (
            "accounts { A { mappings { a.*: \"b.{{split(1)}}\" } } }",
            "accounts { A { mappings { a.*: \"b.{{split(1,-)}}\" } } }",
        ),
        (
            "accounts { A { mappings { a.*: \"b.{{partition(a,1)}}\" } } }",
            "accounts { A { mappings { a.*: \"b.{{partition(3,1)}}\" } } }",
        ),
        (
            "accounts { A { mappings { a.*: \"b.{{left(1)}}\" } } }",
            "accounts { A { mappings { a.*: \"b.{{left(1,2)}}\" } } }",
        ),
        (
            "accounts { A { mappings { a.*: \"b.{{partition(3,2)}}\" } } }",
            "accounts { A { mappings { a.*: \"b.{{partition(3,1)}}\" } } }",
        ),
        (
            "accounts { A { exports: [{ stream: x.*.* }] }, B { imports: [{ stream: { account: A, subject: x.*.* }, to: y.$1 }] } }",
            "accounts { A { exports: [{ stream: x.*.* }] }, B { imports: [{ stream: { account: A, subject: x.*.* }, to: y.$2.$1 }] } }",
        ),
        (
            "accounts { A { exports: [{ service: a, latency: { sampling: 200, subject: l } }] } }",
            "accounts { A { exports: [{ service: a, latency: { sampling: headers, subject: l } }] } }",
        ),
        (
            "accounts { A { exports: [{ service: a, latency: { sampling: 0, subject: l } }] } }",
            "accounts { A { exports: [{ service: a, latency: { sampling: 1, subject: l } }] } }",
        ),
        (
            "accounts { A { exports: [{ service: a, latency: \"l.*\" }] } }",
            "accounts { A { exports: [{ service: a, latency: l }] } }",
        ),
        (
            "accounts { A {} }\nleafnodes { remotes: [{ url: \"nats://a:1\", account: Z }] }",
            "accounts { A {} }\nleafnodes { remotes: [{ url: \"nats://a:1\", account: A }] }",
        ),
        ("max_payload: 100MB", "max_payload: 60MB"),
        ("max_pending: 100", "max_pending: 2MB"),
        ("jetstream { limits { nope: 1 } }", "jetstream { limits { batch { max_msgs: 1 } } }"),
        (
            "leafnodes { port: 7422, authorization { nkey: UABC } }",
            "leafnodes { port: 7422, authorization { nkey: UCFHWLYDLMVQXOYBXYR6JUEUA4QQ27FXLXHWWTUU6XRMJFAPDLUCMB7P } }",
        ),
        (
            "accounts { A {} }\nleafnodes { port: 7422, authorization { users: [{ nkey: UABC, account: A }] } }",
            "accounts { A {} }\nleafnodes { port: 7422, authorization { users: [{ user: u, password: p, account: A }] } }",
        ),
        ("resolver: URL(\"http://127.0.0.1:1/\")", "resolver: MEMORY"),
        ("resolver { type: full, dir: \"/tmp/nowhere\" }", "resolver { type: memory }"),
        (
            "authorization { users: [{ user: g, password: g }] }\naccounts { A { exports: [{ stream: x, accounts: [\"$G\"] }] } }",
            "authorization { users: [{ user: g, password: g }] }\naccounts { A { exports: [{ stream: x, accounts: [A] }] } }",
        ),
        ("port: -5", "port: -1"),
        ("jetstream { domain: a.b }", "jetstream { domain: ab }"),
        ("websocket { port: 80 }", "websocket { port: 80, no_tls: true }"),
        ("lame_duck_duration: 5s", "lame_duck_duration: 30s"),
        ("jetstream { sync_interval: never }", "jetstream { sync_interval: always }"),
    ];

    #[test]
    fn each_of_these_is_refused_and_its_correction_is_not() {
        for (wrong, right) in PAIRS {
            assert_eq!(refused(wrong).len(), 1, "{wrong}: {:?}", refused(wrong));
            assert_eq!(refused(right), [], "{right}");
        }
    }
}
