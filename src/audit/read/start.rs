//! What nats-server checks of whole blocks when it starts, whatever `-t` says: options that need each
//! other, or do not go together.

use nkeys::KeyPair;

use super::is_public;
use super::option_names::{KNOWN_GATEWAY, PROXIES, TRUSTED_PROXY};
use super::options::{Collector, Options, go_duration};
use super::server::{Address, host, last, listens, text};
use crate::audit::system::System;
use crate::conf::value::{Entry, Map, Node, Value};
use crate::diag::{Diagnostic, Span};
use crate::subject::Subject;

/// Refuses every configuration with which the server does not start.
pub fn starts(options: &Options<'_>, system: &System, collector: &mut Collector) {
    let blocks = Blocks { options, system, collector };
    blocks.check();
}

struct Blocks<'o, 'm, 'c> {
    options: &'o Options<'m>,
    system: &'o System,
    collector: &'c mut Collector,
}

impl<'m> Blocks<'_, 'm, '_> {
    fn check(mut self) {
        self.anonymous_users();
        self.logins_of_listeners();
        self.websocket();
        self.mqtt();
        self.clusters();
        self.gateways();
        self.leaf_nodes();
        self.operators();
        self.resolver();
        self.callout();
        self.default_domains();
        self.ocsp();
        self.jetstream();
        self.monitoring();
        self.ports();
        self.addresses();
        self.proxies();
        self.lame_duck();
    }

    fn refuse(&mut self, entry: &Entry, message: impl Into<String>, hint: &str) {
        self.collector.refuse(entry.key_span, message, hint);
    }

    /// A block and its map.
    fn block(&self, name: &str) -> Option<(&'m Entry, &'m Map)> {
        let entry = self.options.entry(name)?;
        if let Value::Map(map) = &entry.node.value { Some((entry, map)) } else { None }
    }

    fn has_operator(&self) -> bool {
        self.options.get("operator").is_some()
    }

    fn has_users(&self) -> bool {
        self.system.users().next().is_some() && self.system.operator.is_none()
    }

    /// `no_auth_user` of each listener names a user of the configuration.
    fn anonymous_users(&mut self) {
        let of_listeners = self.system.server.listeners.iter().filter(|l| l.listens);
        let of_listeners = of_listeners.filter_map(|listener| listener.no_auth_user.as_ref());
        for (name, span) in self.system.no_auth_user.iter().chain(of_listeners) {
            let is_known = self.system.users().any(|(_, user)| user.name == *name);
            if self.has_operator() {
                self.collector.refuse(*span, "`no_auth_user` and an operator do not go together", "use a sentinel");
            } else if !name.is_empty() && !is_known {
                let message = format!("there is no user `{name}` for clients without credentials");
                self.collector.refuse(*span, message, "name a user of an account, by its name or nkey");
            }
        }
    }

    /// WebSocket and MQTT have no login of their own where there are users.
    fn logins_of_listeners(&mut self) {
        for name in ["websocket", "mqtt"] {
            let Some((_, map)) = self.block(name).filter(|(_, map)| listens(map)) else { continue };
            let Some(Value::Map(login)) = last(map, &["authorization", "authentication"]).map(|node| &node.value)
            else {
                continue;
            };
            for key in [&["user", "username"][..], &["token"]] {
                if let Some(entry) = entry(login, key).filter(|_| self.has_users()) {
                    let message = format!("a login of `{name}` does not go together with users");
                    self.refuse(entry, message, "give it to a user of an account");
                }
            }
        }
    }

    fn websocket(&mut self) {
        let Some((_, map)) = self.block("websocket").filter(|(_, map)| listens(map)) else { return };
        let origins = ["allowed_origins", "allowed_origin", "allow_origins", "allow_origin", "origins", "origin"];
        for node in last(map, &origins).map(nodes).unwrap_or_default() {
            let is_url = text(node).is_some_and(|url| {
                let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
                rest.is_some_and(|rest| !rest.split('/').next().unwrap_or_default().is_empty() && !rest.contains(' '))
            });
            if !is_url {
                self.collector.refuse(node.span, "an allowed origin is a URL", "such as \"https://example.com\"");
            }
        }
        let has_trust = self.has_operator() || self.options.get("trusted").is_some();
        let cookie = entry(map, &["jwt_cookie"]).filter(|entry| text(&entry.node) != Some(""));
        if let Some(entry) = cookie.filter(|_| !has_trust) {
            self.refuse(entry, "a JWT in a cookie needs an operator", "use `user_cookie` and `pass_cookie`");
        }
        let Some(Value::Map(headers)) = last(map, &["headers"]).map(|node| &node.value) else { return };
        for header in &headers.entries {
            let name = header.key.to_lowercase();
            if ["host", "content-length", "connection", "upgrade", "nats-no-masking"].contains(&name.as_str())
                || name.starts_with("sec-websocket-")
            {
                self.refuse(header, format!("the header `{}` is the server's", header.key), "remove it");
            }
        }
    }

    fn mqtt(&mut self) {
        let Some((block, map)) = self.block("mqtt").filter(|(_, map)| listens(map)) else { return };
        let is_clustered = self.block("cluster").is_some() || self.block("gateway").is_some();
        if is_clustered && self.options.get("server_name").is_none() {
            self.warn(block, "MQTT in a cluster does not start without a `server_name`".to_owned());
        }
        for key in [&["ack_wait", "ackwait"][..], &["js_api_timeout", "api_timeout"]] {
            if let Some(entry) = entry(map, key).filter(|entry| is_negative(&entry.node)) {
                self.refuse(entry, format!("`{}` is negative", entry.key), "such as \"30s\"");
            }
        }
    }

    fn clusters(&mut self) {
        let Some((_, map)) = self.block("cluster") else { return };
        let pinned = last(map, &["accounts"]).map(nodes).unwrap_or_default();
        if let Some(entry) = entry(map, &["pool_size"])
            && !pinned.is_empty()
            && integer(&entry.node).is_some_and(|size| size < 0)
        {
            self.refuse(entry, "`pool_size: -1` and `accounts` do not go together", "keep one of them");
        }
        for (i, node) in pinned.iter().enumerate() {
            if let Some(name) = text(node)
                && pinned[..i].iter().any(|other| text(other) == Some(name))
            {
                self.collector.refuse(node.span, format!("account `{name}` is there already"), "name it once");
            }
        }
    }

    /// A gateway has a name, which is the cluster's, and a port; those that it dials have a name and a URL.
    fn gateways(&mut self) {
        let name = |map| last(map, &["name"]).and_then(text);
        let cluster = self.block("cluster").and_then(|(_, map)| name(map));
        let Some((block, map)) = self.block("gateway") else { return };
        match (name(map), cluster) {
            (None, _) if listens(map) => self.refuse(block, "a gateway needs a `name`", "the cluster's name"),
            (Some(name), _) if name.contains(' ') => {
                self.refuse(block, format!("`{name}` has a blank"), "a name is one word");
            }
            (Some(name), _) if !listens(map) => {
                self.refuse(block, format!("the gateway `{name}` needs a port"), "`port: 7222`");
            }
            (Some(name), Some(cluster)) if name != cluster => {
                let message = format!("the gateway is called `{name}` and the cluster `{cluster}`");
                self.refuse(block, message, "give both one name");
            }
            _ => {}
        }
        for node in last(map, &["gateways"]).map(nodes).unwrap_or_default() {
            let Value::Map(other) = &node.value else { continue };
            self.collector.options(other, KNOWN_GATEWAY, "a gateway");
            if name(other).is_none() || last(other, &["url", "urls"]).is_none() {
                self.collector.refuse(node.span, "a gateway in the list needs a `name` and a `url`", "");
            }
        }
        if let Some((leaf, map)) = self.block("leafnodes")
            && listens(map)
            && self.options.get("system_account").is_none()
        {
            self.refuse(leaf, "leaf nodes beside gateways need a `system_account`", "name one");
        }
    }

    fn leaf_nodes(&mut self) {
        let Some((_, map)) = self.block("leafnodes") else { return };
        if let Some(Value::Map(login)) = last(map, &["authorization"]).map(|node| &node.value) {
            self.leaf_node_login(login);
        }
        for remote in last(map, &["remotes"]).map(nodes).unwrap_or_default() {
            let Value::Map(remote_map) = &remote.value else { continue };
            let account = last(remote_map, &["account", "local"]).and_then(text);
            if self.has_operator() && !account.is_some_and(|key| is_public(key, 'A')) {
                let message = "with an operator, a remote's `account` is a public account key";
                self.collector.refuse(remote.span, message, "it begins with A");
            }
            for key in [&["deny_imports", "deny_import"][..], &["deny_exports", "deny_export"]] {
                for node in last(remote_map, key).map(nodes).unwrap_or_default() {
                    if text(node).is_some_and(|subject| Subject::as_the_server_reads(subject).is_none()) {
                        self.collector.refuse(
                            node.span,
                            "that is no subject",
                            "tokens between dots, * for one, > for the rest",
                        );
                    }
                }
            }
            if let Some(seed) = last(remote_map, &["nkey", "seed"])
                && !text(seed).is_some_and(is_user_seed)
            {
                self.collector.refuse(seed.span, "this is no seed of an nkey", "it begins with SU");
            }
            let urls = last(remote_map, &["url", "urls"]).map(nodes).unwrap_or_default();
            let is_websocket = |node: &Node| text(node).is_some_and(|url| url.starts_with("ws"));
            if let Some(other) = urls.iter().find(|node| is_websocket(node) != is_websocket(&urls[0])) {
                let message = "a remote's URLs are all of WebSocket, or none is";
                self.collector.refuse(other.span, message, "write two remotes");
            }
            self.proxy(remote_map, urls);
        }
    }

    /// The proxy of a remote.
    fn proxy(&mut self, remote: &Map, urls: &[Node]) {
        let Some(Value::Map(proxy)) = last(remote, &["proxy"]).map(|node| &node.value) else { return };
        let Some(url) = last(proxy, &["url"]) else { return };
        let host = text(url).and_then(|url| url.split_once("://")).map_or("", |(_, host)| host);
        if host.is_empty() {
            self.collector.refuse(url.span, "the proxy's URL names no host", "such as \"http://proxy:8080\"");
        }
        let given = |keys: &[&str]| last(proxy, keys).and_then(text).is_some_and(|text| !text.is_empty());
        if given(&["username", "user"]) != given(&["password", "pass"]) {
            self.collector.refuse(url.span, "a proxy's login is a user and a password", "give both");
        }
        let is_secure = urls.iter().any(|node| text(node).is_some_and(|url| url.starts_with("wss://")));
        if is_secure && last(remote, &["tls"]).is_none() {
            self.collector.refuse(url.span, "a proxy to wss:// needs `tls` in the remote", "");
        }
    }

    fn leaf_node_login(&mut self, login: &'m Map) {
        let account = last(login, &["account"]);
        if self.has_operator() {
            if let Some(users) = entry(login, &["users"]) {
                self.refuse(users, "leaf node users and an operator do not go together", "leaf nodes log in by JWT");
            }
            if let Some(node) = account.filter(|node| !text(node).is_some_and(|key| is_public(key, 'A'))) {
                let message = "with an operator, `account` of leaf nodes is a public account key";
                self.collector.refuse(node.span, message, "it begins with A");
            }
        } else if last(login, &["user", "username"]).is_none()
            && let Some(node) = account
            && let Some(name) = text(node).filter(|name| *name != "$G")
            && self.system.account(name).is_none()
        {
            self.collector.refuse(node.span, format!("there is no account `{name}` for leaf nodes"), "");
        }
    }

    fn operators(&mut self) {
        if !self.has_operator() {
            if let Some(entry) = self.options.entry("default_sentinel").filter(|entry| text(&entry.node) != Some("")) {
                self.refuse(entry, "a sentinel needs an operator", "use `no_auth_user`");
            }
            return;
        }
        if let Some(entry) = self.options.entry("trusted") {
            self.refuse(entry, "`trusted` and `operator` do not go together", "keep one of them");
        }
        if let Some((_, map)) = self.block("authorization")
            && let Some(entry) = entry(map, &["auth_callout", "auth_hook"])
        {
            self.refuse(entry, "an auth callout and an operator do not go together", "accounts' JWTs have one");
        }
        if let Some(entry) = self.options.entry("mappings") {
            self.refuse(entry, "with an operator, mappings are in the accounts' JWTs", "remove them");
        }
        let pinned = self.options.get("resolver_pinned_accounts").map(nodes).unwrap_or_default();
        for node in pinned.iter().filter(|node| !text(node).is_some_and(|key| is_public(key, 'A'))) {
            self.collector.refuse(node.span, "a pinned account is a public account key", "it begins with A");
        }
    }

    fn jetstream(&mut self) {
        let listening = |name: &str| self.block(name).filter(|(_, map)| listens(map));
        let cluster = listening("cluster");
        let (Some((block, map)), Some(_)) = (cluster.or(listening("gateway")), &self.system.server.jetstream) else {
            return;
        };
        let gateway_has_name = self.block("gateway").is_some_and(|(_, gateway)| last(gateway, &["name"]).is_some());
        let has_routes = last(map, &["routes"]).map(nodes).is_some_and(|routes| !routes.is_empty());
        for (is_given, what) in [
            (self.options.get("server_name").is_some(), "a `server_name`"),
            (last(map, &["name"]).is_some() || gateway_has_name, "the cluster's `name`"),
            (has_routes || self.system.server.remotes().next().is_some(), "`routes` to its other servers"),
        ] {
            if !is_given {
                self.warn(block, format!("JetStream in a cluster, or with a gateway, does not start without {what}"));
            }
        }
    }

    /// A finding about what may be given on the server's command line as well.
    fn warn(&mut self, entry: &Entry, message: String) {
        let finding = Diagnostic::warning("fails-at-start", entry.key_span, message);
        self.collector.findings.push(finding.hint("give it here, unless it is on the server's command line"));
    }

    fn monitoring(&mut self) {
        // Port 0 is none.
        let entry = |key: &str| self.options.entry(key).filter(|entry| entry.node.value != Value::Integer(0));
        let either = |one: &str, other: &str| entry(one).or_else(|| entry(other));
        if let (Some(entry), Some(_)) = (either("https_port", "https"), either("http_port", "http")) {
            self.refuse(entry, "monitoring is served by HTTP or by HTTPS, not both", "remove one of them");
        }
        if let (Some(entry), None) = (either("https_port", "https"), self.options.get("tls")) {
            self.refuse(entry, "monitoring by HTTPS needs `tls`", "the server's certificate");
        }
    }

    /// Each listener has a port of its own.
    fn ports(&mut self) {
        const PORTS: std::ops::RangeInclusive<i64> = -1..=65535;
        let mut taken: Vec<(&str, String, i64)> = Vec::new();
        for (what, node, address) in self.listeners() {
            let Some(port) = address.port else { continue };
            if !PORTS.contains(&port) {
                self.collector.refuse(node.span, format!("there is no port {port}"), "a port is at most 65535");
                continue;
            }
            let host =
                if address.is_everywhere() { String::new() } else { address.host.replace("localhost", "127.0.0.1") };
            let meets = |other: &str| other.is_empty() || host.is_empty() || other == host;
            match taken.iter().find(|(_, other, at)| port > 0 && *at == port && meets(other)) {
                // `http` and `http_port` are one listener.
                Some((first, ..)) if *first == what => {}
                Some((first, ..)) => {
                    let message = format!("{first} and {what} both listen on port {port}");
                    self.collector.refuse(node.span, message, "give each a port of its own");
                }
                None => taken.push((what, host, port)),
            }
        }
    }

    /// Where the server listens, and what for.
    fn listeners(&self) -> Vec<(&'static str, &'m Node, Address<'m>)> {
        let mut all = Vec::new();
        let top = |key: &str| self.options.get(key);
        let host = host(self.options);
        let written = |node: &'m Node| match &node.value {
            Value::Text(text) => Some(Address::of(text)),
            Value::Integer(port) => Some(Address { host, port: Some(*port) }),
            _ => None,
        };
        let clients = top("listen").or_else(|| top("port"));
        let monitoring = ["http", "http_port", "https", "https_port"].map(|key| ("monitoring", top(key)));
        for (what, node) in [("clients", clients), ("profiling", top("prof_port"))].into_iter().chain(monitoring) {
            all.extend(node.and_then(|node| Some((what, node, written(node)?))));
        }
        let blocks = [
            ("cluster", "routes"),
            ("gateway", "gateways"),
            ("leafnodes", "leaf nodes"),
            ("websocket", "WebSocket"),
            ("mqtt", "MQTT"),
        ];
        for (block, what) in blocks {
            let Some((entry, map)) = self.block(block).filter(|(_, map)| listens(map)) else { continue };
            all.push((what, last(map, &["listen", "port"]).unwrap_or(&entry.node), Address::read(map)));
        }
        all
    }

    /// Addresses that are told to others, and URLs of other servers.
    fn addresses(&mut self) {
        let told =
            [("cluster", &["cluster_advertise", "advertise"][..]), ("leafnodes", &["leafnode_advertise", "advertise"])];
        let told = told.iter().filter_map(|(block, keys)| self.block(block).and_then(|(_, map)| entry(map, keys)));
        for entry in self.options.entry("client_advertise").into_iter().chain(told.collect::<Vec<_>>()) {
            let port = text(&entry.node).and_then(|address| address.rsplit_once(':')).map(|(_, port)| port);
            let host = text(&entry.node).map_or(0, |address| address.matches(':').count());
            let is_plain = !text(&entry.node).is_some_and(|address| address.starts_with('['));
            if port.is_some_and(|port| port.parse::<i64>().is_err()) || is_plain && host > 1 {
                self.collector.refuse(entry.node.span, "expected \"host:port\"", "");
            }
        }
        let mut urls: Vec<&Node> = Vec::new();
        if let Some((_, map)) = self.block("cluster") {
            urls.extend(last(map, &["routes"]).map(nodes).unwrap_or_default());
        }
        for (block, list) in [("leafnodes", "remotes"), ("gateway", "gateways")] {
            let Some((_, map)) = self.block(block) else { continue };
            for node in last(map, &[list]).map(nodes).unwrap_or_default() {
                if let Value::Map(other) = &node.value {
                    urls.extend(last(other, &["url", "urls"]).map(nodes).unwrap_or_default());
                }
            }
        }
        for node in urls {
            if text(node).is_some_and(|url| !is_url(url)) {
                self.collector.refuse(node.span, "expected a URL", "such as \"nats://host:7422\"");
            }
        }
    }

    fn resolver(&mut self) {
        let Some(node) = self.options.get("resolver") else { return };
        let is_fetched = match &node.value {
            Value::Text(text) => text.to_uppercase().contains("URL"),
            Value::Map(map) => {
                last(map, &["type"]).and_then(text).is_some_and(|kind| kind.eq_ignore_ascii_case("full"))
            }
            _ => false,
        };
        if is_fetched && !self.has_operator() && self.options.get("trusted").is_none() {
            return self.collector.refuse(node.span, "a resolver of this type needs an `operator`", "remove it");
        }
        let map = match &node.value {
            Value::Map(map) => map,
            Value::Text(text) if !["MEM", "URL"].iter().any(|kind| text.to_uppercase().contains(kind)) => {
                return self.collector.refuse(node.span, format!("there is no resolver `{text}`"), "MEMORY");
            }
            _ => return,
        };
        // The server reads the names here with their case.
        let option = |name: &str| map.entries.iter().rfind(|entry| entry.key == name).map(|entry| &entry.node);
        let kind = option("type").and_then(text).unwrap_or_default().to_uppercase();
        let refused: &[&str] = match kind.as_str() {
            "FULL" => &["ttl"],
            "CACHE" => &["interval", "allow_delete", "hard_delete"],
            "MEM" | "MEMORY" => &[],
            _ => {
                let message = "a resolver has a `type`: full, cache or memory";
                return self.collector.refuse(option("type").unwrap_or(node).span, message, "");
            }
        };
        let is_set = |node: &&Node| node.value != Value::Bool(false);
        for (name, node) in refused.iter().filter_map(|name| Some((name, option(name).filter(is_set)?))) {
            let message = format!("a resolver of this type has no `{name}`");
            self.collector.refuse(node.span, message, "remove it");
        }
        for node in ["ttl", "interval", "timeout"].iter().filter_map(|name| option(name)) {
            if text(node).is_none_or(|text| go_duration(text).is_none()) {
                self.collector.refuse(node.span, "expected a duration", "such as \"2m\"");
            }
        }
        if !refused.is_empty() && option("dir").and_then(text).is_none_or(str::is_empty) {
            self.collector.refuse(node.span, "this resolver needs a folder", "`dir: \"./jwt\"`");
        }
        if let Some(node) = option("hard_delete")
            && kind == "FULL"
            && option("allow_delete").is_none_or(|node| node.value != Value::Bool(true))
        {
            self.collector.refuse(node.span, "`hard_delete` needs `allow_delete`", "");
        }
    }

    /// An auth callout puts users into accounts that exist.
    fn callout(&mut self) {
        let Some((_, map)) = self.block("authorization") else { return };
        let Some(Value::Map(callout)) = last(map, &["auth_callout", "auth_hook"]).map(|node| &node.value) else {
            return;
        };
        let allowed = last(callout, &["allowed_accounts", "accounts"]).map(nodes).unwrap_or_default();
        self.accounts_exist(allowed.iter().filter_map(|node| Some((text(node)?, node.span))).collect());
    }

    /// The JetStream of these accounts is another server's.
    fn default_domains(&mut self) {
        let Some((_, map)) = self.block("default_js_domain") else { return };
        if self.has_operator() {
            for entry in map.entries.iter().filter(|entry| !is_public(&entry.key, 'A')) {
                self.refuse(entry, "with an operator, accounts are named by their public keys", "it begins with A");
            }
            return;
        }
        self.accounts_exist(map.entries.iter().map(|entry| (entry.key.as_str(), entry.key_span)).collect());
        for entry in &map.entries {
            if self.system.account(&entry.key).is_some_and(|account| account.jetstream.is_some()) {
                let message = format!("`{}` has JetStream of this server", entry.key);
                self.refuse(entry, message, "remove it here, or the account's `jetstream`");
            }
        }
    }

    fn accounts_exist(&mut self, names: Vec<(&str, Span)>) {
        for (name, span) in names {
            if self.system.account(name).is_none() && !matches!(name, "*" | "$G" | "$SYS") {
                self.collector.refuse(span, format!("there is no account `{name}`"), "");
            }
        }
    }

    fn ocsp(&mut self) {
        let Some((_, map)) = self.block("ocsp") else { return };
        for entry in &map.entries {
            let value = text(&entry.node).map(str::to_lowercase);
            match (entry.key.as_str(), value.as_deref()) {
                ("mode", Some("always" | "must" | "never" | "auto")) | ("url", Some(_)) => {}
                ("mode", _) => self.refuse(entry, "there is no such mode", "always, must, never or auto"),
                // With `urls` the server's own reader ends in a panic.
                _ => self.refuse(entry, format!("`{}` is no option of OCSP", entry.key), "mode or url"),
            }
        }
    }

    fn proxies(&mut self) {
        let Some((_, map)) = self.block("proxies") else { return };
        let proxies = self.collector.options(map, PROXIES, "proxies");
        for node in proxies.get("trusted").map(nodes).unwrap_or_default() {
            let Value::Map(proxy) = &node.value else { continue };
            if let Some(key) = self.collector.options(proxy, TRUSTED_PROXY, "a proxy").get("key")
                && text(key).is_none_or(|key| KeyPair::from_public_key(key).is_err())
            {
                self.collector.refuse(key.span, "this is no public nkey", "");
            }
        }
    }

    fn lame_duck(&mut self) {
        if let Some(entry) = self.options.entry("lame_duck_grace_period").filter(|entry| is_negative(&entry.node)) {
            return self.refuse(entry, "`lame_duck_grace_period` is negative", "such as \"10s\"");
        }
        /// The server's defaults. Seconds.
        const DURATION: f64 = 120.0;
        const GRACE: f64 = 10.0;
        let seconds = |key: &str, default| {
            let written = self.options.get(key).and_then(text).and_then(go_duration);
            // A negative grace period is taken without its sign.
            written.map_or(default, |length| length.map_or(0.0, |length| length.as_secs_f64()))
        };
        if let Some(entry) = self.options.entry("lame_duck_grace_period")
            && seconds("lame_duck_grace_period", GRACE) >= seconds("lame_duck_duration", DURATION)
        {
            self.refuse(entry, "the grace period is not shorter than `lame_duck_duration`", "");
        }
    }
}

/// The last entry with one of these keys, ignoring letter case.
fn entry<'m>(map: &'m Map, names: &[&str]) -> Option<&'m Entry> {
    map.entries.iter().rfind(|entry| names.iter().any(|name| entry.key.eq_ignore_ascii_case(name)))
}

/// The nodes of a list, or the one that is no list.
pub fn nodes(node: &Node) -> &[Node] {
    match &node.value {
        Value::Array(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(node),
    }
}

/// Whether it is a user's seed. Like the server, it does not mind the bits that the last character has too many.
fn is_user_seed(seed: &str) -> bool {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    const UNUSED: usize = 0b11;
    let Some((last, digit)) = seed.char_indices().next_back() else { return false };
    let canonical = DIGITS.find(digit).and_then(|i| DIGITS.get(i & !UNUSED..=i & !UNUSED));
    let canonical = canonical.map_or_else(|| seed.to_owned(), |digit| format!("{}{digit}", &seed[..last]));
    seed.starts_with("SU") && KeyPair::from_seed(&canonical).is_ok()
}

/// Whether Go parses a URL of a server: with a scheme, and a port that is a number.
fn is_url(url: &str) -> bool {
    // A percent sign begins two hex digits.
    let escapes = url.split('%').skip(1);
    if !escapes.into_iter().all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|b| b.is_ascii_hexdigit())) {
        return false;
    }
    let Some((_, rest)) = url.split_once("://") else {
        // `host:port` has the host as its scheme, unless it begins with a number.
        return !url.contains(':') || !url.starts_with(|c: char| c.is_ascii_digit() || c == '[');
    };
    let rest = rest.split('/').next().unwrap_or_default();
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let port = host.rsplit_once(']').map_or(host, |(_, port)| port).rsplit_once(':').map_or("", |(_, port)| port);
    !url.contains(' ') && port.bytes().all(|b| b.is_ascii_digit())
}

fn integer(node: &Node) -> Option<i64> {
    if let Value::Integer(number) = node.value { Some(number) } else { None }
}

fn is_negative(node: &Node) -> bool {
    match &node.value {
        Value::Integer(number) => *number < 0,
        Value::Text(text) => go_duration(text) == Some(None),
        _ => false,
    }
}
