//! Reads the options of the server outside of accounts: listeners, JetStream and
//! limits.

use std::path::Path;

use sha2::Digest as _;

use super::super::system::{
    Authority, Certificates, Hazard, Listener, ListenerKind, ListenerLogin, Remote, Server, ServerJetStream,
};
use super::checks;
use super::option_names::{
    CLUSTER, GATEWAY, JETSTREAM_BATCH, JETSTREAM_LIMITS, LEAFNODES, MQTT, OCSP_CACHE, REMOTE, SERVER_JETSTREAM, TLS,
    TPM, WEBSOCKET,
};
use super::options::{Collector, OptionNames, Options};
use super::start::nodes;
use super::users::auth_method;
use crate::conf::value::{Entry, Map, Node, Value};
use crate::diag::Span;
use crate::subject::Subject;

/// Reads the options of the server and its listeners.
pub(super) fn server(options: &Options<'_>, start: Span, collector: &mut Collector) -> Server {
    let mut server = Server { start: Some(start), ..Server::default() };
    server.is_named = is_named(options);
    server.jetstream = options.get("jetstream").and_then(|node| server_jetstream(node, collector));
    server.batches = batches(options);
    server.limits_subscriptions =
        matches!(options.get("max_subscriptions").map(|n| &n.value), Some(Value::Integer(n)) if *n > 0);
    server.acknowledgements_name_accounts = options
        .get("feature_flags")
        .is_some_and(|node| matches!(&node.value, Value::Map(flags) if is_on(flags, "js_ack_fc_v2")));
    server.no_fast_producer_stall = collector.bool(options.get("no_fast_producer_stall")).unwrap_or(false);
    for key in ["http", "https", "http_port", "https_port"] {
        let Some(node) = options.get(key) else { continue };
        match &node.value {
            // On port 0 it does not listen.
            Value::Text(text) if text == "0" || text.ends_with(":0") => {}
            Value::Integer(0) => {}
            Value::Text(text) => server.monitoring.push((text.clone(), node.span)),
            Value::Integer(port) => server.monitoring.push((format!("{}:{port}", host(options)), node.span)),
            _ => collector.refuse(node.span, format!("expected an address, found {}", node.value.kind()), ""),
        }
    }
    for (key, kind, known) in [
        ("leafnodes", ListenerKind::Leaf, LEAFNODES),
        ("mqtt", ListenerKind::Mqtt, MQTT),
        ("websocket", ListenerKind::WebSocket, WEBSOCKET),
        ("cluster", ListenerKind::Cluster, CLUSTER),
        ("gateway", ListenerKind::Gateway, GATEWAY),
    ] {
        if let Some(entry) = options.entry(key) {
            server.listeners.extend(listener(entry, kind, known, &mut server.hazards, collector));
        }
    }
    for key in ["debug", "trace", "logtime", "logtime_utc", "syslog", "no_header_support"] {
        let _ = collector.bool(options.get(key));
    }
    for key in ["port", "max_payload", "max_control_line", "max_pending", "max_subscriptions", "ping_max"] {
        let _ = collector.integer(options.get(key));
    }
    let _ = collector.text(options.get("server_name"));
    hazards(options, &mut server.hazards);
    if let Some(Value::Map(map)) = options.get("ocsp_cache").map(|node| &node.value) {
        collector.options(map, OCSP_CACHE, "ocsp_cache");
    }
    if let Some(Value::Map(map)) = options.get("resolver_tls").map(|node| &node.value) {
        let inside = collector.options(map, TLS, "resolver_tls");
        checks::tls(&inside, false, collector);
    }
    limits_fit(options, collector);
    tls(options, false, collector);
    if let Some(entry) = options.entry("store_dir")
        && let Some(Value::Map(jetstream)) = options.get("jetstream").map(|node| &node.value)
        && last(jetstream, &["store_dir", "storedir", "store"]).is_some()
    {
        collector.refuse(entry.key_span, "`store_dir` is given here and under `jetstream`", "keep one of them");
    }
    if let Some(Value::Map(map)) = options.get("tls").map(|node| &node.value) {
        server.client_ca = last(map, &["ca_file"]).and_then(authority);
        server.maps_certificates = is_on(map, "verify_and_map");
    }
    server.trusts_proxies = options.get("proxies").is_some_and(|node| {
        matches!(&node.value, Value::Map(map) if matches!(last(map, &["trusted"]).map(|n| &n.value), Some(Value::Array(keys)) if !keys.is_empty()))
    });
    server.no_system_account = options.get("no_system_account").is_some_and(|node| node.value == Value::Bool(true));
    let connections = options.get("max_connections");
    server.max_connections = collector.integer(connections).zip(connections.map(|node| node.span));
    if let Some(node) = options.get("prof_port")
        && let Value::Integer(port) = node.value
        && port != 0
    {
        server.monitoring.push((format!("{}:{port}", host(options)), node.span));
    }
    server
}

/// Reads a block that may listen.
fn listener(
    entry: &Entry,
    kind: ListenerKind,
    known: OptionNames,
    hazards: &mut Vec<(Hazard, Span)>,
    collector: &mut Collector,
) -> Option<Listener> {
    let map = collector.map(&entry.node)?;
    let inside = collector.options(map, known, &entry.key);
    let is_of_servers = matches!(kind, ListenerKind::Cluster | ListenerKind::Gateway);
    tls(&inside, is_of_servers, collector);
    checks::compression(&inside, collector);
    if let Some(node) = inside.get("authorization") {
        checks::listener_authorization(kind, node, collector);
    }
    if kind == ListenerKind::Leaf {
        checks::minimum_version(&inside, collector);
    }
    let is_clear = inside.get("no_tls").is_some_and(|node| node.value == Value::Bool(true));
    if kind == ListenerKind::WebSocket && !is_clear && inside.get("tls").is_none() && listens(map) {
        collector.refuse(entry.key_span, "WebSocket needs `tls`, or `no_tls: true`", "");
    }
    let remotes = remotes(&inside, collector);
    let no_auth_user = inside.get("no_auth_user");
    let no_auth_user = collector.text(no_auth_user).map(str::to_owned).zip(no_auth_user.map(|node| node.span));
    let address = Address::read(map);
    hazards_of_listener(entry, kind, &inside, &address, hazards);
    Some(Listener {
        kind,
        span: entry.key_span,
        has_logins: inside.get("authorization").is_some_and(names_somebody),
        maps_certificates: last(map, &["tls"])
            .is_some_and(|node| matches!(&node.value, Value::Map(tls) if is_on(tls, "verify_and_map"))),
        listens: listens(map),
        address: address.address(),
        everywhere: address.is_everywhere(),
        certificates: certificates(map, is_of_servers),
        no_auth_user,
        logins: inside.get("authorization").map(listener_logins).unwrap_or_default(),
        remotes,
    })
}

/// The servers that a `leafnodes` block dials.
fn remotes(leafnodes: &Options<'_>, collector: &mut Collector) -> Vec<Remote> {
    let mut remotes: Vec<Remote> = Vec::new();
    for node in leafnodes.get("remotes").map(|node| collector.list(node)).unwrap_or_default() {
        let Some(remote) = remote(node, collector) else { continue };
        let is_same = |other: &Remote| other.account == remote.account && other.urls == remote.urls;
        if !remote.urls.is_empty() && remotes.iter().any(is_same) {
            collector.refuse(node.span, "two remotes with the same URLs and account", "remove one of them");
        }
        remotes.push(remote);
    }
    remotes
}

/// Whether the server knows connections of its own: by the name of its cluster, or by its own if it is in
/// none. A cluster without a name gets one of chance, by which it knows nothing.
fn is_named(options: &Options<'_>) -> bool {
    let name = |block: &str| match options.get(block).map(|node| &node.value) {
        Some(Value::Map(map)) if listens(map) => Some(last(map, &["name"]).and_then(text).unwrap_or_default()),
        _ => None,
    };
    let of_cluster = match (name("cluster"), name("gateway")) {
        (Some(""), Some(gateway)) => Some(gateway),
        (cluster, _) => cluster,
    };
    !of_cluster.or_else(|| options.get("server_name").and_then(text)).unwrap_or_default().is_empty()
}

/// Whether a block names where it listens. Port 0 is none.
pub(super) fn listens(map: &Map) -> bool {
    let is_none = |node: &Node| match &node.value {
        Value::Text(listen) => listen == "0" || listen.ends_with(":0"),
        value => *value == Value::Integer(0),
    };
    last(map, &["port", "listen"]).is_some_and(|node| !is_none(node))
}

/// Numbers that have to fit each other.
fn limits_fit(options: &Options<'_>, collector: &mut Collector) {
    /// The server's defaults of `max_pending` and `max_payload`. Bytes.
    const MAX_PENDING: i64 = 64 << 20;
    const MAX_PAYLOAD: i64 = 1 << 20;
    let number = |key: &str| match options.get(key).map(|node| &node.value) {
        Some(Value::Integer(number)) => Some(*number),
        _ => None,
    };
    let pending = number("max_pending").filter(|n| *n > 0).unwrap_or(MAX_PENDING);
    let payload = number("max_payload").filter(|n| *n != 0).unwrap_or(MAX_PAYLOAD);
    if let Some(node) = options.get("max_payload").or(options.get("max_pending")).filter(|_| payload > pending) {
        let message = format!("`max_payload`, {payload} bytes, is larger than `max_pending`, {pending} bytes");
        collector.refuse(node.span, message, "");
    }
    if let (Some(..-1), Some(node)) = (number("port"), options.get("port")) {
        collector.refuse(node.span, "a port is -1, which is any, or from 0 to 65535", "");
    }
    if let Some(Value::Map(jetstream)) = options.get("jetstream").map(|node| &node.value)
        && let Some(node) = last(jetstream, &["domain"])
        && text(node).is_some_and(|domain| domain.contains(['.', '*', '>', ' ']))
    {
        collector.refuse(node.span, "a domain is one token, without dots and wildcards", "");
    }
}

/// Checks the names and types of JetStream's limits.
fn jetstream_limits(jetstream: &Options<'_>, collector: &mut Collector) {
    if let Some(Value::Map(tpm)) = jetstream.get("tpm").map(|node| &node.value) {
        collector.options(tpm, TPM, "tpm");
    }
    let Some(Value::Map(limits)) = jetstream.get("limits").map(|node| &node.value) else { return };
    let limits = collector.options(limits, JETSTREAM_LIMITS, "the limits of JetStream");
    if let Some(Value::Map(batch)) = limits.get("batch").map(|node| &node.value) {
        collector.options(batch, JETSTREAM_BATCH, "the limits of batches");
    }
}

/// The hazards of the client listener and of the log.
fn hazards(options: &Options<'_>, found: &mut Vec<(Hazard, Span)>) {
    let is_on = |key: &str| options.get(key).filter(|node| node.value == Value::Bool(true)).map(|node| node.span);
    for (key, hazard) in [
        ("allow_non_tls", Hazard::AllowNonTls),
        ("proxy_protocol", Hazard::ProxyProtocol),
        ("trace", Hazard::LoggedPayloads),
        ("trace_verbose", Hazard::LoggedPayloads),
    ] {
        found.extend(is_on(key).map(|span| (hazard, span)));
    }
    let place = ["listen", "port", "host"].iter().find_map(|key| options.entry(key)).map(|entry| entry.node.span);
    if let (Some(span), None) = (place, options.get("tls"))
        && !is_loopback(host(options))
    {
        let port =
            options.get("port").or_else(|| options.get("listen")).map_or("4222".to_owned(), |node| match &node.value {
                Value::Integer(port) => port.to_string(),
                Value::Text(listen) => listen.rsplit_once(':').map_or(listen.as_str(), |(_, port)| port).to_owned(),
                _ => String::new(),
            });
        let address = format!("{}:{port}", host(options));
        found.push((Hazard::ClearText { listener: "client listener", address }, span));
    }
}

/// The hazards of another listener.
fn hazards_of_listener(
    entry: &Entry,
    kind: ListenerKind,
    options: &Options<'_>,
    listener: &Address<'_>,
    found: &mut Vec<(Hazard, Span)>,
) {
    if let Some(Value::Map(map)) = options.get("tls").map(|node| &node.value)
        && is_on(map, "insecure")
    {
        found.push((Hazard::Insecure, entry.key_span));
    }
    let name = match kind {
        ListenerKind::Leaf => "leaf node listener",
        ListenerKind::Mqtt => "MQTT listener",
        ListenerKind::WebSocket => "WebSocket listener",
        ListenerKind::Cluster => "cluster listener",
        ListenerKind::Gateway => "gateway listener",
    };
    if let (Some(port), None) = (listener.port, options.get("tls"))
        && !is_loopback(listener.host)
    {
        let host = if listener.host.is_empty() { "0.0.0.0" } else { listener.host };
        found.push((Hazard::ClearText { listener: name, address: format!("{host}:{port}") }, entry.key_span));
    }
    let by_cookie = ["jwt_cookie", "user_cookie", "pass_cookie", "token_cookie"];
    let is_checked = options.get("same_origin").is_some_and(|node| node.value == Value::Bool(true))
        || options.get("allowed_origins").is_some();
    if kind == ListenerKind::WebSocket && !is_checked && by_cookie.iter().any(|key| options.get(key).is_some()) {
        found.push((Hazard::CookiesFromAnywhere, entry.key_span));
    }
}

/// Whether only this machine reaches a host.
fn is_loopback(host: &str) -> bool {
    host.starts_with("127.") || matches!(host, "localhost" | "::1" | "[::1]")
}

/// Reads a leaf node remote. `None`: disabled.
fn remote(node: &Node, collector: &mut Collector) -> Option<Remote> {
    let options = collector.map(node).map(|map| collector.options(map, REMOTE, "a remote"))?;
    tls(&options, false, collector);
    checks::compression(&options, collector);
    checks::proxy(&options, collector);
    let urls = options.get("url").map(|node| match &node.value {
        Value::Text(text) => vec![text.clone()],
        Value::Array(nodes) => nodes.iter().filter_map(|n| collector.text(Some(n)).map(str::to_owned)).collect(),
        _ => Vec::new(),
    });
    let address = |url: String| {
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest).trim_end_matches('/').to_lowercase();
        let rest = rest.replace("localhost", "127.0.0.1");
        if rest.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) { rest } else { rest + ":7422" }
    };
    let account = collector.text(options.get("account")).unwrap_or("$G").to_owned();
    let is_off = collector.bool(options.get("disabled")).unwrap_or(false);
    let urls = urls.unwrap_or_default();
    let addresses = urls.iter().cloned().map(address).collect();
    let userinfo = |url: &String| {
        let (user, _) = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest).rsplit_once('@')?;
        Some(user.split_once(':').map_or(user, |(user, _)| user).to_owned())
    };
    let user = urls.iter().find_map(userinfo);
    let denies_all = |key: &str| {
        let denied: Vec<&str> =
            options.get(key).map(nodes).unwrap_or_default().iter().filter_map(|n| text(n)).collect();
        denied.contains(&">") || denied.contains(&"*") && denied.contains(&"*.>")
    };
    let (sends, receives) = (!denies_all("deny_exports"), !denies_all("deny_imports"));
    let denied = options.get("deny_exports").map(nodes).unwrap_or_default().iter().filter_map(text);
    let kept_back = denied.filter_map(Subject::as_the_server_reads).collect();
    (!is_off).then_some(Remote { account, urls, addresses, user, sends, receives, kept_back, span: node.span })
}

/// The logins in the `authorization` block of a listener.
fn listener_logins(node: &Node) -> Vec<ListenerLogin> {
    let Value::Map(map) = &node.value else { return Vec::new() };
    let login = |map: &Map, is_one_of_users| {
        let user = last(map, &["user", "username"])?;
        let password = last(map, &["password", "pass"]);
        Some(ListenerLogin {
            name: text(user)?.to_owned(),
            auth: auth_method(password.and_then(text), password),
            account: last(map, &["account"]).and_then(text).map(str::to_owned),
            is_one_of_users,
            span: user.span,
        })
    };
    let users = last(map, &["users"]).map(|node| &node.value);
    let Some(Value::Array(users)) = users else { return login(map, false).into_iter().collect() };
    users.iter().filter_map(|user| if let Value::Map(map) = &user.value { login(map, true) } else { None }).collect()
}

/// Checks a `tls` block.
fn tls(options: &Options<'_>, is_of_servers: bool, collector: &mut Collector) {
    if let Some(Value::Map(map)) = options.get("tls").map(|node| &node.value) {
        let inside = collector.options(map, TLS, "tls");
        checks::tls(&inside, is_of_servers, collector);
    }
}

/// The certificates that a listener requires. `always`: routes and gateways
/// require one whenever they use TLS. `None`: none is required.
fn certificates(map: &Map, always: bool) -> Option<Certificates> {
    let Some(Value::Map(tls)) = last(map, &["tls"]).map(|node| &node.value) else { return None };
    let name_servers = is_on(tls, "verify_cert_and_check_known_urls");
    let are_pinned = last(tls, &["pinned_certs"]).is_some();
    let is_checked = always || name_servers || are_pinned || is_on(tls, "verify") || is_on(tls, "verify_and_map");
    is_checked.then(|| Certificates { ca: last(tls, &["ca_file"]).and_then(authority), are_pinned, name_servers })
}

fn authority(node: &Node) -> Option<Authority> {
    let file = text(node)?;
    let identity = match std::fs::read(file) {
        Ok(bytes) => data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(bytes)),
        Err(_) => Path::new(file).components().collect::<std::path::PathBuf>().display().to_string(),
    };
    Some(Authority { file: file.to_owned(), identity })
}

/// Whether an `authorization` block has any login.
fn names_somebody(node: &Node) -> bool {
    let Value::Map(map) = &node.value else { return false };
    map.entries.iter().any(|e| match (e.key.to_lowercase().as_str(), &e.node.value) {
        ("user" | "username" | "token" | "nkey", Value::Text(text)) => !text.is_empty(),
        ("users", Value::Array(users)) => !users.is_empty(),
        ("user" | "username" | "token", Value::Integer(_)) => true,
        _ => false,
    })
}

/// The address on which a block listens.
pub(super) struct Address<'m> {
    /// As written; may be empty.
    pub host: &'m str,
    /// `None`: none is written.
    pub port: Option<i64>,
}

impl<'m> Address<'m> {
    pub(super) fn read(map: &'m Map) -> Self {
        let listen = last(map, &["listen"]).map(|node| &node.value);
        let host = || last(map, &["host"]).or_else(|| last(map, &["net"])).and_then(text).unwrap_or_default();
        match (listen, last(map, &["port"]).map(|node| &node.value)) {
            (Some(Value::Text(listen)), _) => Self::of(listen),
            (Some(Value::Integer(port)), _) | (None, Some(Value::Integer(port))) => {
                Self { host: host(), port: Some(*port) }
            }
            _ => Self { host: host(), port: None },
        }
    }

    /// `host:port`, or a port.
    pub(super) fn of(text: &'m str) -> Self {
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        Self { host, port: port.parse().ok() }
    }

    pub(super) fn is_everywhere(&self) -> bool {
        matches!(self.host, "" | "0.0.0.0" | "::" | "[::]")
    }

    /// `host:port` at which this machine reaches it. `None`: no port, or 0.
    fn address(&self) -> Option<String> {
        let host = if self.is_everywhere() { "127.0.0.1" } else { self.host };
        self.port.filter(|port| *port > 0).map(|port| format!("{host}:{port}"))
    }
}

/// The host of the client listener, which monitoring and profiling have too.
pub(super) fn host<'m>(options: &Options<'m>) -> &'m str {
    let text = |key| match options.get(key).map(|node| &node.value) {
        Some(Value::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    text("host").or_else(|| text("listen").and_then(|l| l.rsplit_once(':')).map(|(host, _)| host)).unwrap_or("0.0.0.0")
}

fn server_jetstream(node: &Node, collector: &mut Collector) -> Option<ServerJetStream> {
    let enabled = ServerJetStream { span: node.span, memory: None, storage: None, domain: None };
    match &node.value {
        Value::Bool(is_on) => is_on.then_some(enabled),
        Value::Text(text) => match text.to_lowercase().as_str() {
            "enabled" | "enable" => Some(enabled),
            "disabled" | "disable" => None,
            _ => {
                collector.refuse(node.span, format!("expected `enabled` or `disabled`, found `{text}`"), "");
                None
            }
        },
        Value::Map(map) => {
            let options = collector.options(map, SERVER_JETSTREAM, "jetstream");
            jetstream_limits(&options, collector);
            let mut size = |key: &str| {
                let node = options.get(key)?;
                match &node.value {
                    Value::Integer(bytes) => Some(*bytes),
                    Value::Text(text) => {
                        let bytes = storage_size(text);
                        if bytes.is_none() && !text.is_empty() {
                            let hint = "a number with K, M, G or T in quotes, or a size without quotes: 1GB";
                            collector.refuse(node.span, format!("`{text}` is not a size"), hint);
                        }
                        bytes
                    }
                    other => {
                        collector.refuse(node.span, format!("expected a size, found {}", other.kind()), "such as 1GB");
                        None
                    }
                }
            };
            let (memory, storage) = (size("max_memory_store"), size("max_file_store"));
            let domain = options.get("domain").and_then(|node| Some((text(node)?.to_owned(), node.span)));
            let domain = domain.filter(|(domain, _)| !domain.is_empty());
            let is_on = collector.bool(options.get("enabled")).unwrap_or(true);
            is_on.then_some(ServerJetStream { span: node.span, memory, storage, domain })
        }
        _ => {
            collector.refuse(node.span, format!("expected a map or true, found {}", node.value.kind()), "");
            None
        }
    }
}

/// Maximum number of open atomic batches of one stream and of all accounts together, with the
/// server's defaults.
fn batches(options: &Options<'_>) -> (i64, i64) {
    let inside =
        |node: &'_ Node, name: &str| if let Value::Map(map) = &node.value { last(map, &[name]).cloned() } else { None };
    let batch =
        options.get("jetstream").and_then(|node| inside(node, "limits")).and_then(|node| inside(&node, "batch"));
    let limit = |name: &str| match batch.as_ref().and_then(|node| inside(node, name)).map(|node| node.value) {
        Some(Value::Integer(n)) => Some(n),
        _ => None,
    };
    (limit("max_inflight_per_stream").unwrap_or(50), limit("max_inflight_total").unwrap_or(1000))
}

/// Parses a quoted storage size: an integer with K, M, G or T, in powers of 1024. Bytes. `None`:
/// invalid.
fn storage_size(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let shift = "KMGT".find(unit)? * 10 + 10;
    number.parse::<i64>().ok()?.checked_mul(1 << shift)
}

/// The last value with one of these keys, ignoring letter case.
pub(super) fn last<'m>(map: &'m Map, names: &[&str]) -> Option<&'m Node> {
    let is_it = |e: &&Entry| names.iter().any(|name| e.key.eq_ignore_ascii_case(name));
    map.entries.iter().rfind(is_it).map(|e| &e.node)
}

pub(super) fn text(node: &Node) -> Option<&str> {
    if let Value::Text(text) = &node.value { Some(text) } else { None }
}

fn is_on(map: &Map, key: &str) -> bool {
    last(map, &[key]).is_some_and(|node| node.value == Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::{refused, system};

    #[test]
    fn a_quoted_storage_size_is_an_integer_with_a_unit_of_1024() {
        for (text, bytes) in [
            ("1K", Some(1 << 10)),
            ("1M", Some(1 << 20)),
            ("1G", Some(1 << 30)),
            ("3T", Some(3 << 40)),
            ("-1K", Some(-1024)),
            ("1k", None),
            ("1", None),
            ("1GB", None),
            ("1.5G", None),
            ("G", None),
            ("", None),
            ("1é", None),
            ("9223372036854775807K", None),
        ] {
            assert_eq!(storage_size(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn jetstream_is_enabled_by_a_word_a_boolean_or_a_block() {
        let jetstream = |text: &str| system(&format!("port: 4222\n{text}")).server.jetstream;
        for (text, is_on) in [
            ("", false),
            ("jetstream: true", true),
            ("jetstream: false", false),
            ("jetstream: Enabled", true),
            ("jetstream: disabled", false),
            ("jetstream {}", true),
            ("jetstream { enabled: false }", false),
        ] {
            assert_eq!(jetstream(text).is_some(), is_on, "{text}");
        }
        let limits = |text: &str| jetstream(text).map(|j| (j.memory, j.storage));
        assert_eq!(limits("jetstream: true"), Some((None, None)));
        let sizes = "jetstream { max_memory_store: 1kb, max_file_store: \"2K\" }";
        assert_eq!(limits(sizes), Some((Some(1024), Some(2048))));
    }

    #[test]
    fn a_word_that_enables_nothing_and_a_size_that_is_none_are_refused_at_their_place() {
        assert_eq!(refused("jetstream: maybe"), [(1, 12, "expected `enabled` or `disabled`, found `maybe`".into())]);
        assert_eq!(refused("jetstream {\n  max_file_store: \"2KB\"\n}"), [(2, 19, "`2KB` is not a size".into())]);
    }

    #[test]
    fn batches_have_the_servers_defaults_unless_they_are_configured() {
        let batches = |inside: &str| system(&format!("jetstream {{ {inside} }}")).server.batches;
        assert_eq!(batches(""), (50, 1000));
        assert_eq!(batches("limits { batch { max_inflight_per_stream: 5 } }"), (5, 1000));
        assert_eq!(batches("limits { batch { max_inflight_per_stream: 5, max_inflight_total: 7 } }"), (5, 7));
    }

    #[test]
    fn a_listener_has_the_address_at_which_this_machine_reaches_it() {
        for (block, address, everywhere, listens) in [
            ("port: 7422", Some("127.0.0.1:7422"), true, true),
            ("listen: \"0.0.0.0:7422\"", Some("127.0.0.1:7422"), true, true),
            ("listen: \"10.0.0.1:7422\"", Some("10.0.0.1:7422"), false, true),
            ("listen: 7422, host: 10.0.0.1", Some("10.0.0.1:7422"), false, true),
            ("host: \"::\", port: 7422", Some("127.0.0.1:7422"), true, true),
            ("port: -1", None, true, true),
            ("remotes: []", None, true, false),
        ] {
            let system = system(&format!("leafnodes {{ {block} }}"));
            let listener = &system.server.listeners[0];
            assert_eq!(
                (listener.address.as_deref(), listener.everywhere, listener.listens),
                (address, everywhere, listens),
                "{block}"
            );
        }
    }

    #[test]
    fn a_listener_has_logins_if_its_block_names_one() {
        for (block, has_logins, logins) in [
            ("", false, 0),
            ("authorization {}", false, 0),
            ("authorization { users: [] }", false, 0),
            ("authorization { timeout: 1 }", false, 0),
            ("authorization { user: \"\" }", false, 1),
            ("authorization { user: u, password: p }", true, 1),
            ("authorization { users: [{ user: u, password: p, account: A }, { user: v }] }", true, 2),
            ("tls { cert_file: c, key_file: k, verify: true }", false, 0),
        ] {
            let system = system(&format!("accounts {{ A {{}} }}\nleafnodes {{ port: 7422, {block} }}"));
            let listener = &system.server.listeners[0];
            assert_eq!((listener.has_logins, listener.logins.len()), (has_logins, logins), "{block}");
        }
    }

    #[test]
    fn a_listener_asks_for_certificates_if_it_verifies_them_and_routes_always_do() {
        let asks = |block: &str| system(block).server.listeners[0].certificates.is_some();
        let leaf =
            |verify: &str| asks(&format!("leafnodes {{ port: 7422, tls {{ cert_file: c, key_file: k{verify} }} }}"));
        assert!(!leaf("") && leaf(", verify: true") && leaf(", verify_and_map: true"));
        assert!(asks("cluster { port: 6222, tls { cert_file: c, key_file: k } }"));
    }

    #[test]
    fn a_remote_has_lowercase_addresses_without_credentials_and_with_a_port() {
        let remotes = |remote: &str| -> Vec<(String, Vec<String>)> {
            let system = system(&format!("accounts {{ A {{}} }}\nleafnodes {{ remotes: [{{ {remote} }}] }}"));
            system.server.remotes().map(|r| (r.account.clone(), r.addresses.clone())).collect()
        };
        for (url, address) in [
            ("nats://Host:7500", "host:7500"),
            ("nats://host", "host:7422"),
            ("host/", "host:7422"),
            ("nats://user:p@ss@host:7500/", "host:7500"),
            ("tls://localhost", "127.0.0.1:7422"),
        ] {
            assert_eq!(remotes(&format!("url: \"{url}\"")), [("$G".into(), vec![address.into()])], "{url}");
        }
        let two = remotes("account: A, urls: [\"nats://a\", \"nats://b:1\"]");
        assert_eq!(two, [("A".into(), vec!["a:7422".into(), "b:1".into()])]);
        assert!(remotes("url: \"nats://host\", disabled: true").is_empty());
    }

    #[test]
    fn every_monitoring_and_profiling_endpoint_has_its_address() {
        let monitoring = |text: &str| -> Vec<String> {
            system(text).server.monitoring.into_iter().map(|(address, _)| address).collect()
        };
        assert_eq!(monitoring("http: 8222"), ["0.0.0.0:8222"]);
        assert_eq!(monitoring("http: \"127.0.0.1:8222\""), ["127.0.0.1:8222"]);
        assert_eq!(
            monitoring("host: 10.0.0.1\nmonitor_port: 8222\nprof_port: 65432"),
            ["10.0.0.1:8222", "10.0.0.1:65432"]
        );
        assert!(monitoring("port: 4222").is_empty() && monitoring("http_port: 0\nprof_port: 0").is_empty());
    }
}
