//! Converts a parsed configuration to a [`System`] and collects everything that
//! nats-server would reject.

mod checks;
mod option_names;
pub mod options;
mod server;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use nkeys::KeyPair;

use super::reach::term::{Rename, Unknowns};
use super::system::{
    Account, AuthMethod, Callout, Export, Import, JetStream, Limit, Limits, Mapping, Permissions, Responses, Side,
    SubjectPattern, System, User,
};
use crate::conf::value::{Entry, Map, Node, Value};
use crate::diag::{Diagnostic, Span};
use crate::model::ShareKind;
use crate::subject::Subject;
use option_names::{
    ACCOUNT, ACCOUNT_JETSTREAM, AUTHORIZATION, CALLOUT, DESTINATION, EXPORT, IMPORT, LIMITS, PERMISSIONS, RESPONSES,
    SIDE, SOURCE, TOP, USER,
};
use options::{Collector, Options, go_duration};

/// Reads a whole configuration. `start`: location of findings about missing options.
pub fn system(map: &Map, start: Span, collector: &mut Collector) -> System {
    let options = collector.options(map, TOP, "the server");
    let mut system = System { server: server::server(&options, start, collector), ..System::default() };
    let mut reader = SystemReader { collector, logins: HashMap::new() };
    system.has_authorization = options.get("authorization").is_some();
    if let Some(accounts) = options.get("accounts") {
        reader.accounts(accounts, &mut system);
    }
    if let Some(node) = options.get("authorization") {
        reader.authorization(node, &mut system);
    }
    let named = |reader: &mut SystemReader<'_>, key: &str| {
        let node = options.get(key)?;
        reader.collector.text(Some(node)).map(|text| (text.to_owned(), node.span))
    };
    system.system_account = named(&mut reader, "system_account");
    reader.global_account(&options, &mut system);
    system.no_auth_user = named(&mut reader, "no_auth_user");
    system.is_operator = options.get("operator").or_else(|| options.get("trusted")).map(|node| node.span);
    let operators = options.get("operator").map(|node| match &node.value {
        Value::Array(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(node),
    });
    for node in operators.unwrap_or_default() {
        let missing = reader.collector.text(Some(node)).filter(|t| !t.starts_with("ey") && !Path::new(t).exists());
        if let Some(file) = missing.map(str::to_owned) {
            reader.collector.refuse(
                node.span,
                format!("there is no file `{file}`"),
                "paths start where nats-server does",
            );
        }
    }
    system.by_name = system.accounts.iter().enumerate().map(|(i, a)| (a.name.clone(), i)).collect();
    for (i, account) in system.accounts.iter().enumerate() {
        for import in account.imports.iter().filter(|i| i.kind == ShareKind::Stream) {
            let importers = system.importers.entry(import.from.0.clone()).or_default();
            if importers.last() != Some(&i) {
                importers.push(i);
            }
        }
    }
    reader.shares_are_authorized(&system);
    reader.leaf_accounts_are_there(&system);
    system
}

struct SystemReader<'r> {
    collector: &'r mut Collector,
    /// Locations of user names and nkeys, which must be unique across all accounts.
    logins: HashMap<String, Span>,
}

impl SystemReader<'_> {
    fn accounts(&mut self, node: &Node, system: &mut System) {
        match &node.value {
            Value::Array(names) => {
                for name in names {
                    let Some(text) = self.collector.text(Some(name)) else { continue };
                    if text == "$G" {
                        self.collector.refuse(
                            name.span,
                            "the account name `$G` is reserved",
                            "it is where users without an account are",
                        );
                    } else if system.accounts.iter().any(|account| account.name == text) {
                        self.collector.refuse(name.span, format!("account `{text}` is there already"), "name it once");
                    } else {
                        system.accounts.push(empty_account(text, name.span));
                    }
                }
            }
            Value::Map(map) => {
                for entry in self.last_ones(map) {
                    if let Some(account) = self.account(entry) {
                        system.accounts.push(account);
                    }
                }
            }
            // The server ignores values of other types.
            _ => {}
        }
    }

    /// The last entry of each account. If an account is defined twice, the server
    /// silently drops the first definition with its users.
    fn last_ones<'m>(&mut self, map: &'m Map) -> Vec<&'m Entry> {
        let mut last: HashMap<&str, usize> = HashMap::new();
        for (i, entry) in map.entries.iter().enumerate() {
            if let Some(before) = last.insert(&entry.key, i) {
                self.collector.findings.push(
                    Diagnostic::error(
                        "overridden-account",
                        entry.key_span,
                        format!("account `{}` is written twice", entry.key),
                    )
                    .label("this one counts")
                    .related(map.entries[before].key_span, "this one, its users and limits are gone")
                    .hint("put both into one block"),
                );
            }
        }
        // Entries that define variables are not accounts.
        map.entries.iter().enumerate().filter(|(i, e)| last[e.key.as_str()] == *i && !e.used).map(|(_, e)| e).collect()
    }

    fn account(&mut self, entry: &Entry) -> Option<Account> {
        if entry.key == "$G" {
            self.collector.refuse(
                entry.key_span,
                "the account name `$G` is reserved",
                "it is where users without an account are",
            );
            return None;
        }
        let map = self.collector.map(&entry.node)?;
        let options = self.collector.options(map, ACCOUNT, "an account");
        let mut account = empty_account(&entry.key, entry.key_span);
        if let Some(node) = options.get("nkey")
            && self.collector.text(Some(node)).is_some_and(|key| !is_public(key, 'A'))
        {
            self.collector.refuse(node.span, "this is no account's public nkey", "it begins with A");
        }
        let defaults = options.get("default_permissions").map(|node| self.permissions(node));
        if let Some(node) = options.get("users") {
            account.users = self.users(node, defaults.as_ref());
        }
        for node in options.get("exports").map(|n| self.collector.list(n)).unwrap_or_default() {
            let Some(export) = self.export(node) else { continue };
            // The server merges exports of one subject: the importers of all, with the token
            // position of the last.
            match account.exports.iter_mut().find(|e| e.kind == export.kind && e.subject == export.subject) {
                Some(known) => {
                    known.token_position = export.token_position;
                    known.latency = known.latency.take().or(export.latency);
                    known.allow_trace = known.allow_trace.or(export.allow_trace);
                    known.to = match (known.to.take(), export.to) {
                        (Some(some), Some(more)) => Some(some.into_iter().chain(more).collect()),
                        (one, other) => one.or(other),
                    };
                }
                None => account.exports.push(export),
            }
        }
        for node in options.get("imports").map(|n| self.collector.list(n)).unwrap_or_default() {
            let Some(import) = self.import(node) else { continue };
            let is_same = |i: &Import| {
                let same = |a: &Import, b: &Import| match a.kind {
                    ShareKind::Service => a.to == b.to,
                    ShareKind::Stream => a.subject == b.subject,
                };
                i.kind == import.kind && i.from.0 == import.from.0 && same(i, &import)
            };
            if account.imports.iter().any(is_same) {
                let message = format!("`{}` is imported twice from `{}`", import.to, import.from.0);
                self.collector.refuse(import.span, message, "under two subjects, with `to`");
            }
            account.imports.push(import);
        }
        if let Some(node) = options.get("msg_trace") {
            checks::message_trace(node, self.collector);
        }
        account.jetstream = options.get("jetstream").and_then(|node| self.jetstream(node));
        if let Some(node) = options.get("limits") {
            account.limits = self.limits(node);
        }
        if let Some(node) = options.get("mappings") {
            account.mappings = self.mappings(node);
        }
        Some(account)
    }

    fn limits(&mut self, node: &Node) -> Limits {
        let Some(map) = self.collector.map(node) else { return Limits::default() };
        let options = self.collector.options(map, LIMITS, "limits");
        Limits {
            connections: self.limit(&options, "max_connections"),
            subscriptions: self.limit(&options, "max_subscriptions"),
            payload: self.limit(&options, "max_payload"),
            leafnodes: self.limit(&options, "max_leafnodes"),
        }
    }

    fn limit(&mut self, options: &Options<'_>, key: &str) -> Limit {
        let node = options.get(key)?;
        self.collector.integer(Some(node)).map(|number| (number, node.span))
    }

    fn jetstream(&mut self, node: &Node) -> Option<JetStream> {
        let unlimited = JetStream { span: node.span, memory: None, storage: None, streams: None, consumers: None };
        match &node.value {
            Value::Bool(is_on) => is_on.then_some(unlimited),
            Value::Text(text) => match text.to_lowercase().as_str() {
                "enabled" | "enable" => Some(unlimited),
                "disabled" | "disable" => None,
                _ => {
                    self.collector.refuse(node.span, format!("expected `enabled` or `disabled`, found `{text}`"), "");
                    None
                }
            },
            Value::Map(map) => {
                let options = self.collector.options(map, ACCOUNT_JETSTREAM, "an account's jetstream");
                if let Some(node) = options.get("max_bytes_required") {
                    // A boolean, despite its name.
                    let _ = self.collector.bool(Some(node));
                }
                Some(JetStream {
                    memory: self.limit(&options, "max_memory"),
                    storage: self.limit(&options, "max_store"),
                    streams: self.limit(&options, "max_streams"),
                    consumers: self.limit(&options, "max_consumers"),
                    ..unlimited
                })
            }
            _ => {
                self.collector.refuse(
                    node.span,
                    format!("expected a map, true or `enabled`, found {}", node.value.kind()),
                    "",
                );
                None
            }
        }
    }

    // ----------------------------------------------------------------- users

    fn users(&mut self, node: &Node, defaults: Option<&Permissions>) -> Vec<User> {
        let mut users = Vec::new();
        for node in self.collector.list(node) {
            users.extend(self.user(node, defaults));
        }
        users
    }

    fn user(&mut self, node: &Node, defaults: Option<&Permissions>) -> Option<User> {
        let map = self.collector.map(node)?;
        let options = self.collector.options(map, USER, "a user");
        let (nkey, name) = (self.collector.text(options.get("nkey")), self.collector.text(options.get("user")));
        let password = self.collector.text(options.get("password"));
        let (login, auth) = match (nkey.filter(|n| !n.is_empty()), name.filter(|n| !n.is_empty())) {
            (None, None) => {
                self.collector.refuse(node.span, "a user without `user` and without `nkey`", "give it one of them");
                return None;
            }
            (Some(key), name) => {
                if !is_public(key, 'U') {
                    self.collector.refuse(
                        node.span,
                        "this is no user's public nkey",
                        "it begins with U and has 56 characters",
                    );
                }
                if name.is_some() || password.is_some_and(|p| !p.is_empty()) {
                    self.collector.refuse(node.span, "an nkey user has no name and no password", "keep one of them");
                }
                (key, AuthMethod::Nkey)
            }
            (None, Some(name)) => (name, auth_method(password, options.get("password"))),
        };
        let span = options.entry("nkey").or_else(|| options.entry("user")).map_or(node.span, |e| e.node.span);
        if let Some(first) = self.logins.insert(login.to_owned(), span) {
            self.collector.refused.push(
                Diagnostic::error("refused-by-server", span, format!("`{login}` is a user already"))
                    .related(first, "here")
                    .hint("names and nkeys are unique on the whole server, whatever the account"),
            );
        }
        let permissions = match options.get("permissions") {
            Some(node) => self.permissions(node),
            None => defaults.cloned().unwrap_or_default(),
        };
        let connection_types = options.get("allowed_connection_types").map(|node| match &node.value {
            Value::Text(text) => (vec![text.clone()], node.span),
            _ => (self.texts(node), node.span),
        });
        for kind in connection_types.iter().flat_map(|(kinds, _)| kinds) {
            const KINDS: [&str; 7] =
                ["STANDARD", "WEBSOCKET", "LEAFNODE", "LEAFNODE_WS", "MQTT", "MQTT_WS", "IN_PROCESS"];
            if !KINDS.contains(&kind.to_uppercase().as_str()) {
                self.collector.refuse(
                    node.span,
                    format!("there is no connection type `{kind}`"),
                    "STANDARD, WEBSOCKET, LEAFNODE, MQTT ...",
                );
            }
        }
        let _ = self.collector.bool(options.get("proxy_required"));
        Some(User { name: login.to_owned(), label: None, span, auth, permissions, connection_types })
    }

    fn texts(&mut self, node: &Node) -> Vec<String> {
        let mut texts = Vec::new();
        for node in self.collector.list(node) {
            texts.extend(self.collector.text(Some(node)).map(str::to_owned));
        }
        texts
    }

    fn permissions(&mut self, node: &Node) -> Permissions {
        let mut permissions = Permissions { span: Some(node.span), ..Permissions::default() };
        let Some(map) = self.collector.map(node) else { return permissions };
        let options = self.collector.options(map, PERMISSIONS, "permissions");
        permissions.publish = options.get("publish").map(|n| self.side(n, false)).unwrap_or_default();
        permissions.subscribe = options.get("subscribe").map(|n| self.side(n, true)).unwrap_or_default();
        permissions.responses = options.get("allow_responses").and_then(|n| self.responses(n));
        if permissions.responses.is_some() && permissions.publish.allow.is_none() {
            // With `allow_responses` and no allow list, the server allows nothing but replies.
            permissions.publish.allow = Some(Vec::new());
            permissions.publish.looks_closed = None;
        }
        permissions
    }

    fn side(&mut self, node: &Node, queues: bool) -> Side {
        let mut side = Side { span: Some(node.span), ..Side::default() };
        let Value::Map(map) = &node.value else {
            let allow = self.patterns(node, queues);
            side.looks_closed = allow.is_empty().then_some(node.span);
            side.allow = (!allow.is_empty()).then_some(allow);
            return side;
        };
        let options = self.collector.options(map, SIDE, "a permission");
        if let Some(node) = options.get("allow") {
            let allow = self.patterns(node, queues);
            side.looks_closed = allow.is_empty().then_some(node.span);
            side.allow = (!allow.is_empty()).then_some(allow);
        } else if map.entries.is_empty() {
            side.looks_closed = Some(node.span);
        }
        side.deny = options.get("deny").map(|n| self.patterns(n, queues)).unwrap_or_default();
        side
    }

    fn patterns(&mut self, node: &Node, queues: bool) -> Vec<SubjectPattern> {
        let nodes = match &node.value {
            Value::Text(_) => std::slice::from_ref(node),
            _ => self.collector.list(node),
        };
        let mut patterns = Vec::new();
        for node in nodes {
            let Some(text) = self.collector.text(Some(node)) else { continue };
            match pattern(text, queues) {
                Some(pattern) => patterns.push(pattern),
                None => self.collector.refuse(
                    node.span,
                    format!("`{text}` is not a valid subject"),
                    "tokens between dots, * for one, > for the rest",
                ),
            }
        }
        patterns
    }

    fn responses(&mut self, node: &Node) -> Option<Responses> {
        // The server's defaults: one reply within two minutes.
        let mut responses = Responses { span: node.span, max: 1, expires: Some(Duration::from_secs(120)) };
        match &node.value {
            Value::Bool(is_on) => is_on.then_some(responses),
            Value::Map(map) => {
                let options = self.collector.options(map, RESPONSES, "allow_responses");
                responses.max = self.collector.integer(options.get("max")).filter(|n| *n != 0).unwrap_or(1);
                if let Some(text) = self.collector.text(options.get("expires")) {
                    match go_duration(text) {
                        Some(Some(length)) if length.is_zero() => {}
                        Some(length) => responses.expires = length,
                        None => {
                            self.collector.refuse(node.span, format!("`{text}` is not a duration"), "\"30s\", \"2m\"");
                        }
                    }
                }
                Some(responses)
            }
            _ => {
                self.collector.refuse(node.span, format!("expected true or a map, found {}", node.value.kind()), "");
                None
            }
        }
    }

    // ---------------------------------------------------------------- shares

    fn subject(&mut self, node: &Node) -> Option<Subject> {
        let text = self.collector.text(Some(node))?;
        let subject = Subject::as_the_server_reads(text);
        if subject.is_none() {
            self.collector.refuse(
                node.span,
                format!("`{text}` is not a valid subject"),
                "tokens between dots, * for one, > for the rest",
            );
        }
        subject
    }

    fn one_kind<'m>(&mut self, node: &Node, options: &Options<'m>) -> Option<(ShareKind, &'m Node)> {
        match (options.get("stream"), options.get("service")) {
            (Some(stream), None) => Some((ShareKind::Stream, stream)),
            (None, Some(service)) => Some((ShareKind::Service, service)),
            (Some(_), Some(_)) => {
                self.collector.refuse(node.span, "a stream and a service in one entry", "write two");
                None
            }
            // The server ignores such an entry.
            (None, None) => None,
        }
    }

    fn export(&mut self, node: &Node) -> Option<Export> {
        let map = self.collector.map(node)?;
        let options = self.collector.options(map, EXPORT, "an export");
        let (kind, subject) = self.one_kind(node, &options)?;
        if kind == ShareKind::Stream {
            for key in ["response_type", "threshold", "latency", "allow_trace"] {
                if let Some(entry) = options.entry(key) {
                    self.collector.refuse(entry.key_span, format!("`{key}` is for services"), "remove it");
                }
            }
        }
        if let Some(node) = options.get("response_type")
            && let Some(text) = self.collector.text(Some(node))
            && !["single", "singleton", "stream", "chunk", "chunked"].contains(&text.to_lowercase().as_str())
        {
            self.collector.refuse(
                node.span,
                format!("there is no response type `{text}`"),
                "singleton, stream or chunked",
            );
        }
        let responses = self.collector.text(options.get("response_type")).unwrap_or_default().to_lowercase();
        if let Some(entry) =
            options.entry("latency").filter(|_| ["stream", "chunk", "chunked"].contains(&responses.as_str()))
        {
            self.collector.refuse(entry.key_span, "latency is measured of services with one answer", "remove it");
        }
        let to = options.get("accounts").map(|node| {
            let mut names = Vec::new();
            for node in self.collector.list(node) {
                names.extend(self.collector.text(Some(node)).map(|text| (text.to_owned(), node.span)));
            }
            names
        });
        let allow_trace = self.collector.bool(options.get("allow_trace"));
        let span = subject.span;
        let subject = self.subject(subject)?;
        let token_position = self.collector.integer(options.get("account_token_position")).unwrap_or(0);
        if let Some(node) = options.get("account_token_position")
            && token_position != 0
            && token_at(&subject, token_position) != Some("*")
        {
            self.collector.refuse(
                node.span,
                format!("`{subject}` has no `*` at position {token_position}"),
                "the position counts tokens from 1",
            );
        }
        Some(Export {
            kind,
            subject,
            span,
            to,
            token_position,
            allow_trace: options.get("allow_trace").filter(|_| allow_trace == Some(true)).map(|n| n.span),
            latency: options.get("latency").map(|node| checks::latency(node, self.collector)),
        })
    }

    fn import(&mut self, node: &Node) -> Option<Import> {
        let map = self.collector.map(node)?;
        let options = self.collector.options(map, IMPORT, "an import");
        let (kind, source) = self.one_kind(node, &options)?;
        let source_map = self.collector.map(source)?;
        let from = self.collector.options(source_map, SOURCE, "the source of an import");
        let (Some(account), Some(subject)) = (from.get("account"), from.get("subject")) else {
            self.collector.refuse(
                source.span,
                "an import needs an account and a subject",
                "{ account: A, subject: \"a.b\" }",
            );
            return None;
        };
        let (name, subject) = (self.collector.text(Some(account))?.to_owned(), self.subject(subject)?);
        let (prefix, to) = (self.collector.text(options.get("prefix")), self.collector.text(options.get("to")));
        let to = match (kind, prefix, to) {
            (ShareKind::Stream, Some(prefix), _) => format!("{}.{subject}", prefix.trim_end_matches('.')),
            (_, _, Some(to)) => to.to_owned(),
            _ => subject.to_string(),
        };
        let place = options.get("to").or_else(|| options.get("prefix")).map_or(source.span, |node| node.span);
        if Subject::as_the_server_reads(&to).is_none() {
            self.collector.refuse(
                place,
                format!("`{to}` is not a valid subject"),
                "tokens between dots, * for one, > for the rest",
            );
        }
        if let Some(entry) = options.entry("allow_trace").filter(|_| kind == ShareKind::Service) {
            self.collector.refuse(entry.key_span, "`allow_trace` of an import is for streams", "remove it");
        }
        if let Err(why) = checks::import_renames(&subject, &to) {
            self.collector.refuse(place, format!("`{subject}` cannot be imported as `{to}`: {why}"), "");
        }
        let renamed = Rename::new(&subject, &to, &mut Unknowns::default());
        let local = renamed.map_or_else(|| subject.clone(), |rename| rename.to.pattern());
        let share = self.collector.bool(options.get("share"));
        let allow_trace = self.collector.bool(options.get("allow_trace"));
        Some(Import {
            kind,
            from: (name, account.span),
            subject,
            span: source.span,
            local,
            to,
            share: options.get("share").filter(|_| share == Some(true)).map(|n| n.span),
            allow_trace: options.get("allow_trace").filter(|_| allow_trace == Some(true)).map(|n| n.span),
        })
    }

    /// Checks exports and imports against each other, as `nats-server -t` does. Skipped if the
    /// configuration is rejected already: the errors would only follow from earlier ones.
    fn shares_are_authorized(&mut self, system: &System) {
        if !self.collector.refused.is_empty() {
            return;
        }
        for account in &system.accounts {
            for (name, span) in account.exports.iter().flat_map(|e| e.to.iter().flatten()) {
                if system.account(name).is_none() {
                    self.collector.refuse(*span, format!("there is no account `{name}` to export to"), "");
                }
            }
            for import in &account.imports {
                let (name, span) = &import.from;
                let Some(exporter) = system.account(name) else {
                    self.collector.refuse(*span, format!("there is no account `{name}` to import from"), "");
                    continue;
                };
                let exact = exporter.exports.iter().rfind(|e| e.kind == import.kind && e.subject == import.subject);
                let authorized = match exact {
                    Some(export) => export.authorizes(&account.name, &import.subject),
                    None => exporter.exports.iter().any(|e| {
                        e.kind == import.kind
                            && e.subject.contains(&import.subject)
                            && e.authorizes(&account.name, &import.subject)
                    }),
                };
                if !authorized {
                    let message = format!("`{name}` exports no `{}` to `{}`", import.subject, account.name);
                    self.collector.refuse(
                        import.span,
                        message,
                        "add it to that account's exports, with this account under `accounts`",
                    );
                }
            }
        }
    }

    /// Checks the accounts that leaf node logins and remotes name.
    fn leaf_accounts_are_there(&mut self, system: &System) {
        if !self.collector.refused.is_empty() || system.is_operator.is_some() {
            return;
        }
        let logins = system.server.listeners.iter().flat_map(|listener| &listener.logins);
        let named = logins.filter_map(|(_, account, span)| Some((account.as_deref()?, *span)));
        let remotes = system.server.remotes().map(|remote| (remote.account.as_str(), remote.span));
        for (name, span) in named.chain(remotes).filter(|(name, _)| *name != "$G") {
            if system.account(name).is_none() {
                self.collector.refuse(span, format!("there is no account `{name}` for this leaf node"), "");
            }
        }
    }

    // -------------------------------------------------------------- mappings

    fn mappings(&mut self, node: &Node) -> Vec<Mapping> {
        let mut mappings = Vec::new();
        let Some(map) = self.collector.map(node) else { return mappings };
        for entry in &map.entries {
            let Some(from) = Subject::as_the_server_reads(&entry.key) else {
                self.collector.refuse(entry.key_span, format!("`{}` is not a valid subject", entry.key), "");
                continue;
            };
            let (to, keeps) = self.destinations(&entry.node);
            let to: Vec<String> = to.iter().map(|to| checks::without_blanks(to)).collect();
            for to in &to {
                if let Err(why) = checks::mapping_renames(&from, to) {
                    let message = format!("`{from}` cannot be mapped to `{to}`: {why}");
                    self.collector.refuse(entry.node.span, message, "");
                }
            }
            mappings.push(Mapping { from, to, keeps, span: entry.key_span });
        }
        mappings
    }

    /// Destinations of a mapping, and whether messages may keep their subject.
    fn destinations(&mut self, node: &Node) -> (Vec<String>, bool) {
        let nodes = match &node.value {
            Value::Text(text) => return (vec![text.clone()], false),
            Value::Array(nodes) => nodes.as_slice(),
            _ => std::slice::from_ref(node),
        };
        // The weights of the destinations of each cluster, and of those of no cluster.
        let (mut to, mut totals) = (Vec::new(), HashMap::from([(String::new(), 0.0)]));
        for node in nodes {
            let Some(map) = self.collector.map(node) else { continue };
            let options = self.collector.options(map, DESTINATION, "a mapping");
            to.extend(self.collector.text(options.get("destination")).map(str::to_owned));
            let cluster = self.collector.text(options.get("cluster")).unwrap_or_default().to_owned();
            match options.get("weight") {
                None => self.collector.refuse(node.span, "a mapping's destination has no weight", "`weight: 100%`"),
                weighed if !(0.0..=100.0).contains(&weight(weighed)) => {
                    self.collector.refuse(node.span, "a weight is from 0 to 100", "`weight: 50%`");
                }
                weighed => *totals.entry(cluster).or_default() += weight(weighed),
            }
        }
        if to.iter().collect::<HashSet<_>>().len() < to.len() {
            self.collector.refuse(node.span, "a destination of a mapping is given twice", "one weight for each");
        }
        if totals.values().any(|total| *total > 100.0) {
            self.collector.refuse(node.span, "the weights of a mapping add up to more than 100", "");
        }
        (to, totals.values().any(|total| *total < 100.0))
    }

    // --------------------------------------------------------- authorization

    /// Reads the `authorization` block, whose users belong to `$G`.
    fn authorization(&mut self, node: &Node, system: &mut System) {
        let Some(map) = self.collector.map(node) else { return };
        let options = self.collector.options(map, AUTHORIZATION, "authorization");
        let defaults = options.get("default_permissions").map(|node| self.permissions(node));
        let users = options.get("users").map(|node| self.users(node, defaults.as_ref())).unwrap_or_default();
        if let Some(node) = options.get("auth_callout")
            && let Some(map) = self.collector.map(node)
        {
            let inside = self.collector.options(map, CALLOUT, "auth_callout");
            self.callout_is_complete(node, &inside);
            system.callout = Some(Callout {
                account: self.collector.text(inside.get("account")).unwrap_or("$G").to_owned(),
                encrypted: inside.get("xkey").is_some(),
                span: node.span,
            });
        }
        if let (Some(entry), Some(_)) = (options.entry("token"), options.get("user")) {
            self.collector.refuse(entry.key_span, "a token and a user do not go together", "keep one of them");
        }
        let login = options.entry("token").or_else(|| options.entry("user")).map(|entry| entry.key_span);
        if let Some(span) = login {
            system.shared_login = Some(span);
            if system.accounts.iter().any(|a| !a.users.is_empty()) {
                self.collector.refuse(
                    span,
                    "one login for everybody does not go with accounts",
                    "give it to a user of an account",
                );
            }
            if !users.is_empty() {
                self.collector.refuse(span, "one login for everybody does not go with `users`", "make it one of them");
            }
        }
        if !users.is_empty() {
            system.accounts.push(Account { users, ..empty_account("$G", node.span) });
        }
    }

    /// Checks what an auth callout needs.
    fn callout_is_complete(&mut self, node: &Node, callout: &Options<'_>) {
        let keys = [("issuer", 'A', "the public key of an account"), ("xkey", 'X', "a public curve key")];
        for (key, kind, what) in keys {
            let given = callout.get(key).and_then(|node| Some((node, self.collector.text(Some(node))?.to_owned())));
            match given {
                Some((node, text)) if !is_public(&text, kind) => {
                    self.collector.refuse(
                        node.span,
                        format!("`{key}` is not {what}"),
                        &format!("it begins with {kind}"),
                    );
                }
                None if key == "issuer" && callout.get(key).is_none() => {
                    self.collector.refuse(
                        node.span,
                        "an auth callout needs an `issuer`",
                        "the public key of an account",
                    );
                }
                _ => {}
            }
        }
        let has_users =
            callout.get("auth_users").is_some_and(|node| matches!(&node.value, Value::Array(a) if !a.is_empty()));
        if !has_users {
            self.collector.refuse(
                callout.get("auth_users").map_or(node.span, |node| node.span),
                "an auth callout needs `auth_users`",
                "the users that log in without it: the service itself",
            );
        }
    }

    /// Adds the mappings of `$G`, and its JetStream: it has all of the server's if there is no
    /// other account besides the system account.
    fn global_account(&mut self, options: &Options<'_>, system: &mut System) {
        let mappings = options.get("mappings").map(|node| self.mappings(node)).unwrap_or_default();
        let is_alone = system.accounts.iter().all(|account| account.name == "$G" || system.is_system(account));
        let Some(global) = system.accounts.iter_mut().find(|account| account.name == "$G") else { return };
        global.mappings = mappings;
        let unlimited = |span| JetStream { span, memory: None, storage: None, streams: None, consumers: None };
        global.jetstream = system.server.jetstream.filter(|_| is_alone).map(|jetstream| unlimited(jetstream.span));
    }
}

/// The token at a position that counts from 1.
fn token_at(subject: &Subject, position: i64) -> Option<&str> {
    subject.tokens().nth(usize::try_from(position).ok()?.checked_sub(1)?)
}

fn weight(node: Option<&Node>) -> f64 {
    match node.map(|n| &n.value) {
        Some(Value::Integer(number)) => f64::from(i32::try_from(*number).unwrap_or(i32::MAX)),
        Some(Value::Text(text)) => text.trim_end_matches('%').trim().parse().unwrap_or(0.0),
        _ => 0.0,
    }
}

fn empty_account(name: &str, span: Span) -> Account {
    Account {
        name: name.to_owned(),
        span,
        users: Vec::new(),
        exports: Vec::new(),
        imports: Vec::new(),
        jetstream: None,
        limits: Limits::default(),
        mappings: Vec::new(),
    }
}

fn is_public(key: &str, kind: char) -> bool {
    key.starts_with(kind) && KeyPair::from_public_key(key).is_ok()
}

/// How the server checks a password as it is written in the file.
fn auth_method(password: Option<&str>, node: Option<&Node>) -> AuthMethod {
    let (Some(password), Some(node)) = (password.filter(|p| !p.is_empty()), node) else {
        return AuthMethod::NoPassword;
    };
    let is_hash = ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|prefix| password.starts_with(prefix));
    match is_hash {
        true if password.len() == 60 => AuthMethod::Hashed(node.span),
        true => AuthMethod::BrokenHash(node.span),
        false => AuthMethod::Plain(node.span),
    }
}

/// Parses an entry of a permission list: a subject and, if `queues`, an optional queue after a
/// blank. `None`: invalid.
fn pattern(text: &str, queues: bool) -> Option<SubjectPattern> {
    if let Some(subject) = Subject::as_the_server_reads(text) {
        return Some(SubjectPattern { subject, queue: None });
    }
    let mut words = text.split_whitespace();
    let (subject, queue, rest) = (words.next()?, words.next()?, words.next());
    if !queues || rest.is_some() {
        return None;
    }
    let subject = Subject::as_the_server_reads(subject)?;
    Some(SubjectPattern { subject, queue: Some(Subject::as_the_server_reads(queue)?) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::{audit_text, refused, rules, system};

    /// The only user of an account, with these entries besides its name.
    fn user(entries: &str) -> User {
        let text = format!("accounts {{ A {{ users: [{{ user: u, {entries} }}] }} }}");
        system(&text).accounts.remove(0).users.remove(0)
    }

    fn allowed(side: &Side) -> Option<Vec<String>> {
        side.allow.as_ref().map(|list| list.iter().map(|p| p.subject.to_string()).collect())
    }

    fn list(subjects: &[&str]) -> Option<Vec<String>> {
        Some(subjects.iter().map(|s| (*s).to_owned()).collect())
    }

    #[test]
    fn every_form_of_a_permission_gives_the_same_allow_list() {
        for (form, expected) in [
            ("publish: a.b", list(&["a.b"])),
            ("publish: [a.b]", list(&["a.b"])),
            ("pub: { allow: a.b }", list(&["a.b"])),
            ("PUBLISH: { allow: [a.b, c] }", list(&["a.b", "c"])),
            ("publish: { deny: a.b }", None),
            ("subscribe: a.b", None),
            ("publish: []", None),
            ("publish: {}", None),
            ("publish: { allow: [] }", None),
        ] {
            let user = user(&format!("permissions {{ {form} }}"));
            assert_eq!(allowed(&user.permissions.publish), expected, "{form}");
        }
    }

    #[test]
    fn an_empty_list_or_block_is_marked_as_looking_closed() {
        for (form, looks_closed) in [
            ("publish: []", true),
            ("publish: {}", true),
            ("publish: { allow: [] }", true),
            ("publish: { deny: a }", false),
            ("publish: [a]", false),
            ("subscribe: []", false),
        ] {
            let user = user(&format!("permissions {{ {form} }}"));
            assert_eq!(user.permissions.publish.looks_closed.is_some(), looks_closed, "{form}");
        }
    }

    #[test]
    fn leave_to_answer_alone_allows_no_other_subject() {
        let publish = |form: &str| allowed(&user(&format!("permissions {{ {form} }}")).permissions.publish);
        assert_eq!(publish("allow_responses: true"), list(&[]));
        assert_eq!(publish("allow_responses: true, publish: a"), list(&["a"]));
        assert_eq!(publish("allow_responses: true, publish: { deny: a }"), list(&[]));
        assert_eq!(publish("publish: [], allow_responses: true"), list(&[]));
        assert_eq!(publish("publish: { deny: a }"), None);
        assert_eq!(publish("allow_responses: false"), None);
    }

    #[test]
    fn responses_have_the_servers_defaults_and_negative_ones_are_unlimited() {
        for (form, expected) in [
            ("true", Some((1, Some(120)))),
            ("false", None),
            ("{}", Some((1, Some(120)))),
            ("{ max: 5 }", Some((5, Some(120)))),
            ("{ max: 0, expires: \"0s\" }", Some((1, Some(120)))),
            ("{ max_msgs: -1, ttl: \"-1s\" }", Some((-1, None))),
            ("{ expires: \"2m\" }", Some((1, Some(120)))),
            ("{ expires: \"1m\" }", Some((1, Some(60)))),
        ] {
            let responses = user(&format!("permissions {{ allow_responses: {form} }}")).permissions.responses;
            assert_eq!(responses.map(|r| (r.max, r.expires.map(|d| d.as_secs()))), expected, "{form}");
        }
    }

    #[test]
    fn only_a_subscription_may_name_a_queue() {
        for (text, queues, expected) in [
            ("a.b", true, Some(("a.b", None))),
            ("a.b workers", true, Some(("a.b", Some("workers")))),
            ("a.b  w.>", true, Some(("a.b", Some("w.>")))),
            ("a.b workers", false, None),
            ("a.b workers more", true, None),
            ("a..b workers", true, None),
            ("a.b w..x", true, None),
            (" ", true, None),
        ] {
            let read = pattern(text, queues);
            let parts = read.as_ref().map(|p| (p.subject.as_str(), p.queue.as_ref().map(Subject::as_str)));
            assert_eq!(parts, expected, "{text:?}");
        }
        let conf =
            |side: &str| format!("accounts {{ A {{ users: [{{ user: u, permissions {{ {side}: \"a w\" }} }}] }} }}");
        assert!(refused(&conf("subscribe")).is_empty());
        assert_eq!(refused(&conf("publish"))[0].2, "`a w` is not a valid subject");
    }

    #[test]
    fn default_permissions_apply_to_users_without_permissions_of_their_own() {
        let text = "accounts { A { default_permissions { publish: d }
            users: [{ user: one }, { user: two, permissions { publish: own } }, { user: three, permissions {} }] } }";
        let lists: Vec<_> = system(text).accounts[0].users.iter().map(|u| allowed(&u.permissions.publish)).collect();
        assert_eq!(lists, [list(&["d"]), list(&["own"]), None]);
    }

    #[test]
    fn a_password_is_hashed_plain_broken_or_missing() {
        let hash = format!("$2a$11${}", "x".repeat(53));
        let method = |entries: &str| user(entries).auth;
        assert!(matches!(method(&format!("password: \"{hash}\"")), AuthMethod::Hashed(_)));
        assert!(matches!(method(&format!("pass: \"{}\"", hash.replace("2a", "2y"))), AuthMethod::Hashed(_)));
        assert!(matches!(method(&format!("password: \"{}\"", &hash[..59])), AuthMethod::BrokenHash(_)));
        assert!(matches!(method(&format!("password: \"{}\"", hash.replace("2a", "2z"))), AuthMethod::Plain(_)));
        assert!(matches!(method("password: hunter2"), AuthMethod::Plain(_)));
        assert_eq!(method("password: \"\""), AuthMethod::NoPassword);
        assert_eq!(method("proxy_required: false"), AuthMethod::NoPassword);
    }

    #[test]
    fn limits_are_numbers_with_units_and_jetstream_is_none_unless_it_is_enabled() {
        let account = |entries: &str| system(&format!("accounts {{ A {{ {entries} }} }}")).accounts.remove(0);
        let limits = account("limits { max_connections: 1k, MAX_SUBS: -1, max_payload: 1MB }").limits;
        let numbers =
            [limits.connections, limits.subscriptions, limits.payload, limits.leafnodes].map(|l| l.map(|(n, _)| n));
        assert_eq!(numbers, [Some(1000), Some(-1), Some(1 << 20), None]);
        for (form, expected) in [
            ("", None),
            ("jetstream: false", None),
            ("jetstream: disabled", None),
            ("jetstream: true", Some((None, None))),
            ("jetstream: enabled", Some((None, None))),
            ("jetstream {}", Some((None, None))),
            ("jetstream { max_store: 2Gi, max_streams: 3 }", Some((Some(2 << 30), Some(3)))),
            ("jetstream { max_file: 5, streams: 6 }", Some((Some(5), Some(6)))),
        ] {
            let jetstream = account(form).jetstream;
            let read = jetstream.map(|j| (j.storage.map(|(n, _)| n), j.streams.map(|(n, _)| n)));
            assert_eq!(read, expected, "{form}");
        }
    }

    #[test]
    fn of_two_equal_keys_the_last_counts_and_two_aliases_are_ambiguous() {
        let limit = |text: &str| {
            let text = format!("accounts {{ A {{ limits {{ {text} }} }} }}");
            let found: Vec<_> = rules(&text).into_iter().filter(|r| r.ends_with("-key")).collect();
            (system(&text).accounts[0].limits.connections.map(|(n, _)| n), found)
        };
        assert_eq!(limit("max_conn: 1"), (Some(1), vec![]));
        assert_eq!(limit("max_conn: 1, max_conn: 2"), (Some(2), vec!["overridden-key"]));
        assert_eq!(limit("max_conn: 1, max_connections: 2").1, ["ambiguous-key"]);
        assert_eq!(limit("max_conn: 1, MAX_CONN: 2").1, ["ambiguous-key"]);
    }

    #[test]
    fn of_two_accounts_with_one_name_the_last_is_read_and_reported() {
        let text = "accounts { A { users: [{ user: gone }] }, B {}, A { users: [{ user: kept }] } }";
        let audit = audit_text(text).expect("accepted");
        let names: Vec<_> = audit.system.accounts.iter().map(|a| (a.name.as_str(), a.users.len())).collect();
        assert_eq!(names, [("B", 0), ("A", 1)]);
        assert_eq!(audit.system.accounts[1].users[0].name, "kept");
        assert!(rules(text).contains(&"overridden-account"));
        assert!(!rules(&text.replace("A { users: [{ user: gone }] }", "C {}")).contains(&"overridden-account"));
    }

    #[test]
    fn the_server_refuses_these_at_their_place() {
        for (text, line, column, message) in [
            ("prot: 4222", 1, 1, "the server has no option `prot`"),
            ("port: \"4222\"", 1, 7, "expected a number without quotes, found text"),
            ("debug: 1", 1, 8, "expected true or false, found a number"),
            ("accounts {\n  A: 1\n}", 2, 6, "expected a map, found a number"),
            ("accounts {\n  $G {}\n}", 2, 3, "the account name `$G` is reserved"),
            ("accounts { A { users: [\n  {}\n] } }", 2, 3, "a user without `user` and without `nkey`"),
            ("accounts { A { users: [\n {nkey: UX}\n] } }", 2, 2, "this is no user's public nkey"),
            ("accounts { A { users: [{user: u}] }\n B { users: [{user: u}] } }", 2, 21, "`u` is a user already"),
            (
                "accounts { A { users: [\n {user: u, allowed_connection_types: [TELNET]}] } }",
                2,
                2,
                "there is no connection type `TELNET`",
            ),
            ("accounts { A { exports: [{ stream: a..b }] } }", 1, 36, "`a..b` is not a valid subject"),
            (
                "accounts { A { exports: [\n { stream: a, service: b }\n] } }",
                2,
                2,
                "a stream and a service in one entry",
            ),
            (
                "accounts { A { exports: [{ stream: a\n response_type: single }] } }",
                2,
                2,
                "`response_type` is for services",
            ),
            (
                "accounts { A { imports: [{ stream: { account: B } }] } }",
                1,
                36,
                "an import needs an account and a subject",
            ),
            (
                "accounts { A { exports: [{ stream: a, accounts: [B] }] } }",
                1,
                50,
                "there is no account `B` to export to",
            ),
            (
                "accounts { A { imports: [{ stream: { account: B, subject: a } }] } }",
                1,
                47,
                "there is no account `B` to import from",
            ),
            ("accounts { A { mappings { a..b: c } } }", 1, 27, "`a..b` is not a valid subject"),
            (
                "authorization { token: x }\naccounts { A { users: [{ user: u }] } }",
                1,
                17,
                "one login for everybody does not go with accounts",
            ),
        ] {
            let found = refused(text);
            assert_eq!(found, [(line, column, message.to_owned())], "{text}");
        }
        for accepted in [
            "port: 4222",
            "PORT: 4222",
            "x: 4222\nport: $x",
            "accounts { A { exports: [{ stream: a, accounts: [B] }] }, B {} }",
            "accounts { A { exports: [{}] } }",
            "authorization { token: x }\naccounts { A {} }",
        ] {
            assert_eq!(refused(accepted), [], "{accepted}");
        }
    }

    #[test]
    fn an_import_needs_an_export_of_its_kind_to_its_account() {
        let text = |export: &str, import: &str| {
            format!("accounts {{ A {{ exports: [{{ {export} }}] }}, B {{ imports: [{{ {import} }}] }}, C {{}} }}")
        };
        let import = "stream: { account: A, subject: a.b }";
        for (export, authorized) in [
            ("stream: a.b", true),
            ("stream: a.>", true),
            ("stream: a.*, accounts: [B]", true),
            ("stream: a.*, accounts: [C]", false),
            ("stream: a.c", false),
            ("service: a.b", false),
            ("stream: \"*.b\", account_token_position: 1", false),
        ] {
            let found = refused(&text(export, import));
            let expected = if authorized { vec![] } else { vec!["`A` exports no `a.b` to `B`"] };
            assert_eq!(found.iter().map(|(_, _, m)| m.as_str()).collect::<Vec<_>>(), expected, "{export}");
        }
        let by_token = text("stream: \"*.b\", account_token_position: 1", "stream: { account: A, subject: B.b }");
        assert_eq!(refused(&by_token), []);
    }

    #[test]
    fn an_import_arrives_under_its_prefix_or_its_other_name() {
        let local = |kind: &str, rest: &str| {
            let text = format!(
                "accounts {{ A {{ exports: [{{ {kind}: a.> }}] }},
                 B {{ imports: [{{ {kind}: {{ account: A, subject: a.b }}, {rest} }}] }} }}"
            );
            system(&text).accounts[1].imports[0].local.to_string()
        };
        assert_eq!(local("stream", "share: false"), "a.b");
        assert_eq!(local("stream", "prefix: p"), "p.a.b");
        assert_eq!(local("stream", "prefix: p."), "p.a.b");
        assert_eq!(local("stream", "to: x.y"), "x.y");
        assert_eq!(local("stream", "prefix: p, to: x"), "p.a.b");
        let numbered = "accounts { A { exports: [{ service: x.> }] },
             B { imports: [{ service: { account: A, subject: x.*.y.* }, to: my.$2.do.$1 }] } }";
        assert_eq!(system(numbered).accounts[1].imports[0].local.as_str(), "my.*.do.*");
        assert_eq!(local("service", "to: x.y"), "x.y");
    }

    #[test]
    fn exports_of_one_subject_merge_their_importers() {
        let text = "accounts { B {}, C {}, A { exports: [
            { stream: a, accounts: [B] }, { stream: a, accounts: [C] }, { service: a, accounts: [C] }] } }";
        let system = system(text);
        let exports: Vec<(ShareKind, Vec<&str>)> = system.accounts[2]
            .exports
            .iter()
            .map(|e| (e.kind, e.to.iter().flatten().map(|(name, _)| name.as_str()).collect()))
            .collect();
        assert_eq!(exports, [(ShareKind::Stream, vec!["B", "C"]), (ShareKind::Service, vec!["C"])]);
    }

    #[test]
    fn a_mapping_keeps_its_subject_while_its_weights_are_below_100() {
        for (form, to, keeps) in [
            ("b", &["b"][..], false),
            ("{ destination: b, weight: 100% }", &["b"], false),
            ("{ dest: b, weight: \"100%\" }", &["b"], false),
            ("[{ destination: b, weight: 40% }]", &["b"], true),
            ("[{ destination: b, weight: 40% }, { destination: c, weight: 60% }]", &["b", "c"], false),
            ("[{ destination: b, weight: 100, cluster: x }]", &["b"], true),
        ] {
            let system = system(&format!("accounts {{ A {{ mappings {{ a: {form} }} }} }}"));
            let mapping = &system.accounts[0].mappings[0];
            assert_eq!(
                (mapping.to.as_slice(), mapping.keeps),
                (&*to.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>(), keeps),
                "{form}"
            );
        }
        let over =
            "accounts { A { mappings { a: [{ destination: b, weight: 60 }, { destination: c, weight: 41 }] } } }";
        assert_eq!(refused(over)[0].2, "the weights of a mapping add up to more than 100");
        assert_eq!(refused(&over.replace("41", "40")), []);
    }

    #[test]
    fn the_global_account_has_the_top_mappings_and_jetstream_if_it_is_alone() {
        let global = |text: &str| {
            let text = format!("{text}\nauthorization {{ users: [{{ user: u }}] }}\nmappings {{ a: b }}");
            let account = system(&text).accounts.into_iter().find(|a| a.name == "$G").expect("$G");
            (account.mappings.len(), account.jetstream.is_some())
        };
        assert_eq!(global(""), (1, false));
        assert_eq!(global("jetstream {}"), (1, true));
        assert_eq!(global("jetstream {}\nsystem_account: S\naccounts { S {} }"), (1, true));
        assert_eq!(global("jetstream {}\naccounts { A {} }"), (1, false));
    }

    #[test]
    fn users_of_the_authorization_block_are_in_the_global_account() {
        let names = |text: &str| -> Vec<(String, usize)> {
            system(text).accounts.iter().map(|a| (a.name.clone(), a.users.len())).collect()
        };
        assert_eq!(
            names("authorization { users: [{ user: u }] }\naccounts { A {} }"),
            [("A".into(), 0), ("$G".into(), 1)]
        );
        assert_eq!(names("authorization {}\naccounts { A {} }"), [("A".into(), 0)]);
        assert_eq!(names("accounts: [A, B]"), [("A".into(), 0), ("B".into(), 0)]);
    }
}
