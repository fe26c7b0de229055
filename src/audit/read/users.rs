//! Users, their logins and their permissions.

use std::time::Duration;

use super::option_names::{PERMISSIONS, RESPONSES, SIDE, USER};
use super::options::{Options, go_duration};
use super::server::{last, text};
use super::start::nodes;
use super::{SystemReader, is_public};
use crate::audit::system::{AuthMethod, ListenerKind, Permissions, Responses, SameLogin, Side, SubjectPattern, User};
use crate::conf::value::{Node, Value};
use crate::diag::Diagnostic;
use crate::subject::Subject;

impl SystemReader<'_> {
    /// The logins of listeners for servers that a user of an account has as well, with the same secret.
    pub(super) fn same_logins(&self, options: &Options<'_>) -> Vec<SameLogin> {
        let mut found = Vec::new();
        for (block, listener) in
            [("leafnodes", ListenerKind::Leaf), ("cluster", ListenerKind::Cluster), ("gateway", ListenerKind::Gateway)]
        {
            let Some(Value::Map(map)) = options.get(block).map(|node| &node.value) else { continue };
            let Some(Value::Map(login)) = last(map, &["authorization", "authentication"]).map(|node| &node.value)
            else {
                continue;
            };
            let listed = last(login, &["users"]).map(nodes).unwrap_or_default();
            let listed =
                listed.iter().filter_map(|node| if let Value::Map(map) = &node.value { Some(map) } else { None });
            for map in std::iter::once(login).chain(listed) {
                let given = |keys: &[&str]| last(map, keys).and_then(text).filter(|text| !text.is_empty());
                let key = given(&["nkey"]).filter(|key| self.logins.contains_key(*key));
                let password = given(&["password", "pass"]).unwrap_or_default();
                let of_user = |name: &&str| {
                    let known = self.logins.contains_key(*name);
                    known && is_same_password(password, self.passwords.get(*name).map_or("", String::as_str))
                };
                let Some(user) = key.or_else(|| given(&["user", "username"]).filter(of_user)) else { continue };
                let Some(node) = last(map, &["nkey", "user", "username"]) else { continue };
                let account = given(&["account"]).unwrap_or("$G").to_owned();
                found.push(SameLogin { user: user.to_owned(), listener, account, span: node.span });
            }
        }
        found
    }

    pub(super) fn users(&mut self, node: &Node, defaults: Option<&Permissions>) -> Vec<User> {
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
                        "it begins with U, has 56 characters, and the last ones are a checksum of the others",
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
        if let Some(password) = password {
            self.passwords.insert(login.to_owned(), password.to_owned());
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
        let needs_proxy = self.collector.bool(options.get("proxy_required")).unwrap_or_default();
        Some(User {
            name: login.to_owned(),
            label: None,
            span,
            auth,
            permissions,
            connection_types,
            needs_proxy,
            is_leaf_login: false,
            is_leaf: false,
        })
    }

    fn texts(&mut self, node: &Node) -> Vec<String> {
        let mut texts = Vec::new();
        for node in self.collector.list(node) {
            texts.extend(self.collector.text(Some(node)).map(str::to_owned));
        }
        texts
    }

    pub(super) fn permissions(&mut self, node: &Node) -> Permissions {
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
}

/// How the server checks a password as it is written in the file.
/// Whether one secret fits both: as they are, or as the hash of one of them.
fn is_same_password(one: &str, other: &str) -> bool {
    one == other || bcrypt::verify(one, other).unwrap_or(false) || bcrypt::verify(other, one).unwrap_or(false)
}

pub(super) fn auth_method(password: Option<&str>, node: Option<&Node>) -> AuthMethod {
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
    use crate::audit::testing::{refused, system};

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
}
