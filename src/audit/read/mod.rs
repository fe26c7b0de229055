//! Converts a parsed configuration to a [`System`] and collects everything that
//! nats-server would reject.

mod checks;
mod claims;
mod operator;
mod option_names;
pub mod options;
mod rejected;
mod server;
mod shares;
mod signed;
mod start;
mod users;

use std::collections::{HashMap, HashSet};

use nkeys::KeyPair;

use super::system::{
    Account, Callout, Copied, Import, JetStream, Limit, Limits, ListenerKind, Mapping, Permissions, Side, System, User,
};
use crate::conf::value::{Entry, Map, Node, Value};
use crate::diag::{Diagnostic, Span};
use crate::model::ShareKind;
use crate::subject::Subject;
use option_names::{ACCOUNT, ACCOUNT_JETSTREAM, AUTHORIZATION, CALLOUT, DESTINATION, LIMITS, TOP};
use options::{Collector, Options};

/// Reads a whole configuration. `start`: location of findings about missing options.
pub fn system(map: &Map, start: Span, collector: &mut Collector) -> System {
    let options = collector.options(map, TOP, "the server");
    let mut system = System { server: server::server(&options, start, collector), ..System::default() };
    // A gateway gives the cluster its name, and a server that dials others as a leaf node is called after itself.
    let is_clustered = ["cluster", "gateway", "leafnodes"].into_iter().any(|block| options.get(block).is_some());
    let has_mappings = options.get("mappings").is_some();
    let mut reader =
        SystemReader { collector, logins: HashMap::new(), passwords: HashMap::new(), is_clustered, has_mappings };
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
    system.system_account = named(&mut reader, "system_account").filter(|(name, _)| !name.is_empty());
    reader.global_account(&options, &mut system);
    system.no_auth_user = named(&mut reader, "no_auth_user");
    if let Some(Value::Map(cluster)) = options.get("cluster").map(|node| &node.value)
        && let Some(node) = server::last(cluster, &["permissions"])
    {
        reader.permissions(node);
    }
    if options.get("operator").is_none() {
        system.same_logins = reader.same_logins(&options);
    }
    reader.operator(&options, &mut system);
    map_domain(&mut system);
    add_leaf_logins(&mut system);
    let has_leaf = system.server.listener(ListenerKind::Leaf).is_some();
    for account in &mut system.accounts {
        // Without a connection nobody is in it.
        let is_suspended = account.limits.connections.is_some_and(|(most, _)| most == 0);
        if is_suspended && !(has_leaf && account.takes_leaf_nodes()) {
            let nothing = || Side { allow: Some(Vec::new()), ..Side::default() };
            for user in &mut account.users {
                user.permissions = Permissions { publish: nothing(), subscribe: nothing(), ..Permissions::default() };
            }
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
    system.copies = copies(&system);
    reader.shares_are_authorized(&system);
    reader.leaf_accounts_are_there(&system);
    start::starts(&options, &system, collector);
    for place in 0..system.accounts.len() {
        let account = &system.accounts[place];
        let are_leaves: Vec<bool> = account.users.iter().map(|user| system.may_be_leaf(account, user)).collect();
        let users = system.accounts[place].users.iter_mut();
        users.zip(are_leaves).for_each(|(user, is_leaf)| user.is_leaf = is_leaf);
    }
    let refuses = |account: &Account| !account.takes_leaf_nodes();
    let refusing: Vec<String> = system.accounts.iter().filter(|a| refuses(a)).map(|a| a.name.clone()).collect();
    for listener in &mut system.server.listeners {
        listener.remotes.retain(|remote| !refusing.contains(&remote.account));
    }
    system
}

/// Adds the logins of the leaf node listener as users of the accounts that they lead into, if those take leaf nodes.
fn add_leaf_logins(system: &mut System) {
    let leaf = system.server.listener(ListenerKind::Leaf).into_iter();
    let logins: Vec<_> = leaf
        .flat_map(|leaf| &leaf.logins)
        .map(|login| (login.account().to_owned(), login.name.clone(), login.span))
        .collect();
    for (account, name, span) in logins {
        if let Some(account) = system.accounts.iter_mut().find(|a| a.name == account && a.takes_leaf_nodes()) {
            account.users.push(User::behind_leaf(name, span));
        }
    }
}

/// The copies of streams, by the subjects that tenantry gives them: `JS.FROM.STREAM.to.TO`. Streams are not in the file.
fn copies(system: &System) -> Vec<Copied> {
    let of_import = |to: &Account, import: &Import| {
        let line = import.subject.as_str().strip_prefix("JS.")?.strip_prefix(import.from.0.as_str())?;
        let (_, end) = line.strip_prefix('.')?.split_once(".to.")?;
        let is_copy = import.kind == ShareKind::Stream && end == to.name;
        is_copy.then(|| Copied {
            from: import.from.0.clone(),
            captured: None,
            to: to.name.clone(),
            stream: None,
            stored: None,
            delivered: Vec::new(),
            span: import.span,
        })
    };
    system.accounts.iter().flat_map(|to| to.imports.iter().filter_map(move |import| of_import(to, import))).collect()
}

/// Adds the mappings by which the server takes requests to JetStream that name its domain, in each account unless an
/// import takes the place of JetStream there.
fn map_domain(system: &mut System) {
    /// The end of a request after the domain, and the subject that the server maps it to.
    const REQUESTS: [(&str, &str); 9] = [
        ("INFO", "$JS.API.INFO"),
        ("STREAM.>", "$JS.API.STREAM.>"),
        ("CONSUMER.>", "$JS.API.CONSUMER.>"),
        ("DIRECT.>", "$JS.API.DIRECT.>"),
        ("META.>", "$JS.API.META.>"),
        ("SERVER.>", "$JS.API.SERVER.>"),
        ("ACCOUNT.>", "$JS.API.ACCOUNT.>"),
        ("$KV.>", "$KV.>"),
        ("$OBJ.>", "$OBJ.>"),
    ];
    let Some((domain, span)) = system.server.jetstream.as_ref().and_then(|jetstream| jetstream.domain.clone()) else {
        return;
    };
    let info = Subject::as_the_server_reads("$JS.API.INFO");
    for account in &mut system.accounts {
        let is_shadow = |import: &Import| info.as_ref().is_some_and(|info| import.local.contains(info));
        if account.jetstream.is_none() && account.services().any(is_shadow) {
            continue;
        }
        for (request, to) in REQUESTS {
            let from = Subject::as_the_server_reads(&format!("$JS.{domain}.API.{request}"));
            let Some(from) = from.filter(|from| account.mappings.iter().all(|mapping| mapping.from != *from)) else {
                continue;
            };
            account.mappings.push(Mapping { from, to: vec![to.to_owned()], keeps: false, of_domain: true, span });
        }
    }
}

struct SystemReader<'r> {
    collector: &'r mut Collector,
    /// Locations of user names and nkeys, which must be unique across all accounts.
    logins: HashMap<String, Span>,
    /// Passwords, or hashes of them, by user name.
    passwords: HashMap<String, String>,
    /// Whether the server may be part of a cluster, by whose name mappings choose.
    is_clustered: bool,
    /// Whether there are mappings outside of accounts.
    has_mappings: bool,
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
                        system.accounts.push(Account::empty(text, name.span));
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
        let mut account = Account::empty(&entry.key, entry.key_span);
        if let Some(node) = options.get("nkey")
            && self.collector.text(Some(node)).is_some_and(|key| !is_public(key, 'A'))
        {
            self.collector.refuse(node.span, "this is no account's public nkey", "it begins with A");
        }
        let defaults = options.get("default_permissions").map(|node| self.permissions(node));
        if let Some(node) = options.get("users") {
            account.users = self.users(node, defaults.as_ref());
        }
        self.shares(&options, &mut account);
        if let Some(node) = options.get("msg_trace") {
            account.trace = checks::message_trace(node, self.collector).map(|subject| (subject, node.span));
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
            let mut to: Vec<String> = to.iter().map(|to| checks::without_blanks(to)).collect();
            if to.iter().any(String::is_empty) {
                let message = format!("`{from}` is mapped to nothing: the first message on it ends the server");
                self.collector.findings.push(Diagnostic::error("server-crash", entry.key_span, message));
                to.retain(|to| !to.is_empty());
            }
            for to in &to {
                if let Err(why) = checks::mapping_renames(&from, to) {
                    let message = format!("`{from}` cannot be mapped to `{to}`: {why}");
                    self.collector.refuse(entry.node.span, message, "");
                }
            }
            mappings.push(Mapping { from, to, keeps, of_domain: false, span: entry.key_span });
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
        let (mut given, mut to) = (Vec::new(), Vec::new());
        let mut totals = HashMap::from([(String::new(), 0)]);
        for node in nodes {
            let Some(map) = self.collector.map(node) else { continue };
            let options = self.collector.options(map, DESTINATION, "a mapping");
            let destination = self.collector.text(options.get("destination")).map(str::to_owned);
            let cluster = self.collector.text(options.get("cluster")).unwrap_or_default().to_owned();
            given.extend(destination.clone());
            // Those of no weight, and of a cluster where there is none, are never chosen.
            let weighed = options.get("weight").and_then(weight);
            let is_chosen = weighed.is_some_and(|weight| weight > 0) && (cluster.is_empty() || self.is_clustered);
            to.extend(destination.filter(|_| is_chosen));
            match (options.get("weight"), weighed) {
                (None, _) => {
                    self.collector.refuse(node.span, "a mapping's destination has no weight", "`weight: 100%`");
                }
                (Some(node), None) => {
                    self.collector.refuse(node.span, "a weight is a number from 0 to 100", "`weight: 50%`");
                }
                (_, Some(weight)) => *totals.entry(cluster).or_default() += weight,
            }
        }
        if given.iter().collect::<HashSet<_>>().len() < given.len() {
            self.collector.refuse(node.span, "a destination of a mapping is given twice", "one weight for each");
        }
        if totals.values().any(|total| *total > 100) {
            self.collector.refuse(node.span, "the weights of a mapping add up to more than 100", "");
        }
        (to, totals.values().any(|total| *total < 100))
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
            if options.get("users").is_some() {
                self.collector.refuse(span, "one login for everybody does not go with `users`", "make it one of them");
            }
        }
        if !users.is_empty() {
            system.accounts.push(Account { users, ..Account::empty("$G", node.span) });
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
        global.jetstream =
            system.server.jetstream.as_ref().filter(|_| is_alone).map(|jetstream| unlimited(jetstream.span));
    }
}

/// A weight in percent. `None`: the server takes none.
fn weight(node: &Node) -> Option<i64> {
    let percent = match &node.value {
        Value::Integer(number) => *number,
        Value::Text(text) => text.strip_suffix('%').unwrap_or(text).parse().ok()?,
        _ => return None,
    };
    (0..=100).contains(&percent).then_some(percent)
}

fn is_public(key: &str, kind: char) -> bool {
    key.starts_with(kind) && KeyPair::from_public_key(key).is_ok()
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::{audit_text, refused, rules, system};

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
            (
                "accounts { A { exports: [{ stream: a }] }, B { imports: [{ stream: { account: A, subject: a..b } }] } }",
                1,
                91,
                "`a..b` is not a valid subject",
            ),
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
    fn a_mapping_keeps_its_subject_while_its_weights_are_below_100() {
        for (form, to, keeps) in [
            ("b", &["b"][..], false),
            ("{ destination: b, weight: 100% }", &["b"], false),
            ("{ dest: b, weight: \"100%\" }", &["b"], false),
            ("[{ destination: b, weight: 40% }]", &["b"], true),
            ("[{ destination: b, weight: 40% }, { destination: c, weight: 60% }]", &["b", "c"], false),
            ("[{ destination: b, weight: 100, cluster: x }]", &[], true),
            ("[{ destination: b, weight: 0 }, { destination: c, weight: 100 }]", &["c"], false),
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

    /// Measured on nats-server 2.15.1: without a `cluster` block a gateway names the cluster, or what dials as a leaf node is called
    /// after the server.
    #[test]
    fn destinations_of_a_cluster_count_wherever_there_may_be_one() {
        for (server, counts) in [
            ("", false),
            ("cluster { name: c, port: 6222 }", true),
            ("gateway { name: c, port: 7222 }", true),
            ("leafnodes { remotes: [{ url: \"nats://10.0.0.1\", account: A }] }", true),
        ] {
            let mapping = "mappings { a: [{ destination: b, weight: 100, cluster: c }] }";
            let system = system(&format!("server_name: c\n{server}\naccounts {{ A {{ {mapping} }} }}"));
            assert_eq!(!system.accounts[0].mappings[0].to.is_empty(), counts, "{server}");
        }
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
