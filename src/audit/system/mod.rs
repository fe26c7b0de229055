//! The server's configuration after reading: accounts, users, permissions, exports,
//! imports and listeners, with every option that affects isolation.

mod server;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::diag::Span;
use crate::model::ShareKind;
use crate::subject::Subject;

pub use server::{
    Authority, Certificates, Hazard, Listener, ListenerKind, ListenerLogin, Remote, SameLogin, Server, ServerJetStream,
};

/// A server and its accounts.
#[derive(Debug, Default)]
pub struct System {
    /// The accounts in file order; `$G` is last, and only present if it has users.
    pub accounts: Vec<Account>,
    /// Index in `accounts` by account name.
    pub by_name: std::collections::HashMap<String, usize>,
    /// Indices in `accounts` of the importers of streams, by the name of the exporter.
    pub importers: std::collections::HashMap<String, Vec<usize>>,
    /// Name of the system account. `None`: `$SYS`.
    pub system_account: Option<(String, Span)>,
    /// The user that clients without credentials log in as. `None`: no such option.
    pub no_auth_user: Option<(String, Span)>,
    /// The account of the user as whom clients without credentials log in, by a JWT of the configuration.
    pub sentinel: Option<(String, Span)>,
    /// Whether an `authorization` block exists. It disables anonymous clients.
    pub has_authorization: bool,
    /// Location of a user name or token that all clients share. `None`: none.
    pub shared_login: Option<Span>,
    /// Logins of listeners that users of accounts have as well.
    pub same_logins: Vec<SameLogin>,
    /// The operator, who signs accounts in JWTs. `None`: accounts are in the file.
    pub operator: Option<Operator>,
    /// The auth callout. `None`: none.
    pub callout: Option<Callout>,
    /// Streams of one account that another one copies.
    pub copies: Vec<Copied>,
    /// Options of the server outside of accounts.
    pub server: Server,
}

/// What one account's streams copy from another one's.
#[derive(Debug, Clone)]
pub struct Copied {
    /// The account where a stream captures the messages.
    pub from: String,
    /// The subjects that it captures there and that are copied. `None`: the file does not say.
    pub captured: Option<Subject>,
    /// The account of the copy.
    pub to: String,
    /// The stream that holds the copy. `None`: the file does not say.
    pub stream: Option<String>,
    /// The subjects under which that stores it, if they are others.
    pub stored: Option<Subject>,
    /// The subjects on which the copy is delivered or published there.
    pub delivered: Vec<Subject>,
    /// Location of the import that carries it.
    pub span: Span,
}

/// The operator of a server whose accounts are JWTs.
#[derive(Debug)]
pub struct Operator {
    /// Location of the option.
    pub span: Span,
    /// Why accounts are not all known, with the place that says so. `None`: they are.
    pub elsewhere: Option<(String, Span)>,
    /// Whether the file has accounts of its own, with which the server does not start.
    pub beside: bool,
}

/// An auth callout: a service that authenticates clients instead of the server.
#[derive(Debug)]
pub struct Callout {
    /// The account in which the service receives authentication requests.
    pub account: String,
    /// Whether the requests are encrypted.
    pub encrypted: bool,
    /// Location.
    pub span: Span,
}

/// An account.
#[derive(Debug)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Location of its name.
    pub span: Span,
    /// Its users.
    pub users: Vec<User>,
    /// Its exports.
    pub exports: Vec<Export>,
    /// Its imports.
    pub imports: Vec<Import>,
    /// Its JetStream limits. `None`: JetStream is disabled.
    pub jetstream: Option<JetStream>,
    /// Its limits.
    pub limits: Limits,
    /// Its subject mappings.
    pub mappings: Vec<Mapping>,
    /// Where traces of its messages are published: what was published, with its headers. `None`: nowhere.
    pub trace: Option<(Subject, Span)>,
    /// The public keys that sign users into it. Empty: it is no account of a JWT.
    pub signers: Vec<String>,
    /// Why users that its scoped signing keys sign look like several tenants'. `None`: they do not.
    pub scopes: Option<String>,
}

/// A limit with its location. `None`: not configured.
pub type Limit = Option<(i64, Span)>;

/// An account's limits.
#[derive(Debug, Default)]
pub struct Limits {
    /// Maximum number of connections.
    pub connections: Limit,
    /// Maximum number of subscriptions per connection.
    pub subscriptions: Limit,
    /// Maximum size of a message. Bytes.
    pub payload: Limit,
    /// Maximum number of leaf node connections.
    pub leafnodes: Limit,
}

/// An account's JetStream limits.
#[derive(Debug)]
pub struct JetStream {
    /// Location of the option.
    pub span: Span,
    /// Memory storage. Bytes.
    pub memory: Limit,
    /// File storage. Bytes.
    pub storage: Limit,
    /// Maximum number of streams.
    pub streams: Limit,
    /// Maximum number of consumers of each stream.
    pub consumers: Limit,
}

/// A user.
#[derive(Debug, Clone)]
pub struct User {
    /// Its user name or public nkey.
    pub name: String,
    /// A readable name, for users with an nkey. `None`: unknown.
    pub label: Option<String>,
    /// Location of its name.
    pub span: Span,
    /// How it authenticates.
    pub auth: AuthMethod,
    /// Its permissions; by default unlimited within its account.
    pub permissions: Permissions,
    /// Its allowed connection types. `None` and an empty list both mean all.
    pub connection_types: Option<(Vec<String>, Span)>,
    /// Whether it may connect by trusted proxies only.
    pub needs_proxy: bool,
    /// Whether it is a login of the leaf node listener, by which a server brings clients of its own into the account.
    pub is_leaf_login: bool,
    /// Whether the server takes it as a leaf node: its account may have some, and there is a listener that admits it. Its lists
    /// mean nothing then: by a second CONNECT with `import` and `export` a leaf node replaces them, until the server reloads
    /// (nats-server 2.15.1).
    pub is_leaf: bool,
}

/// How a user authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// A signature by an nkey.
    Nkey,
    /// A password stored as a bcrypt hash.
    Hashed(Span),
    /// A password stored in plain text.
    Plain(Span),
    /// A malformed bcrypt hash; no password matches it.
    BrokenHash(Span),
    /// No password: the empty password logs in.
    NoPassword,
}

/// Permissions of a user.
#[derive(Debug, Clone, Default)]
pub struct Permissions {
    /// Location. `None`: not configured.
    pub span: Option<Span>,
    /// Publish permissions.
    pub publish: Side,
    /// Subscribe permissions.
    pub subscribe: Side,
    /// Permission to publish replies. `None`: not granted.
    pub responses: Option<Responses>,
}

/// Publish or subscribe permissions.
#[derive(Debug, Clone, Default)]
pub struct Side {
    /// Location. `None`: not configured.
    pub span: Option<Span>,
    /// Allowed subjects. `None`: all. An empty list allows none.
    pub allow: Option<Vec<SubjectPattern>>,
    /// Denied subjects; deny overrides allow.
    pub deny: Vec<SubjectPattern>,
    /// Location of an empty list or block, which looks like "deny all" but allows all.
    pub looks_closed: Option<Span>,
}

/// An entry of a permission list: a subject, for subscriptions with an optional queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectPattern {
    /// The subject pattern.
    pub subject: Subject,
    /// SubjectPattern of queue names. `None`: any subscription, with or without a queue.
    pub queue: Option<Subject>,
}

/// Permission to publish to the reply subjects of received messages.
#[derive(Debug, Clone, Copy)]
pub struct Responses {
    /// Location.
    pub span: Span,
    /// Maximum number of replies to each message. Negative: unlimited.
    pub max: i64,
    /// How long replies are allowed. `None`: unlimited.
    pub expires: Option<Duration>,
}

/// An export of an account.
#[derive(Debug)]
pub struct Export {
    /// Stream or service.
    pub kind: ShareKind,
    /// The exported subjects.
    pub subject: Subject,
    /// Location.
    pub span: Span,
    /// Importing accounts. `None` and an empty list both mean public.
    pub to: Option<Vec<(String, Span)>>,
    /// 1-based position of the token that must be the importer's name. 0: no such token.
    pub token_position: i64,
    /// Location of `allow_trace: true`. `None`: traces stop at this export.
    pub allow_trace: Option<Span>,
    /// Where the latency of requests is published. `None`: it is not measured.
    pub latency: Option<Latency>,
}

/// The measuring of a service's latency: a report names the requester and the responder.
#[derive(Debug, Clone)]
pub struct Latency {
    /// Location.
    pub span: Span,
    /// The subject of the reports, in the exporter's account.
    pub subject: Option<Subject>,
    /// Whether every request is measured, and not a part of them or those whose headers ask for it.
    pub of_every_request: bool,
}

/// An import of an account.
#[derive(Debug)]
pub struct Import {
    /// Stream or service.
    pub kind: ShareKind,
    /// The exporting account.
    pub from: (String, Span),
    /// The subjects in the exporting account.
    pub subject: Subject,
    /// Location.
    pub span: Span,
    /// The subjects in the importing account.
    pub local: Subject,
    /// The same as written, where wildcards may be numbered: `$1`, `{{wildcard(1)}}`.
    pub to: String,
    /// Location of `share: true`, which reveals the requester. `None`: not revealed.
    pub share: Option<Span>,
    /// Location of `allow_trace: true`. `None`: traces stop at this import.
    pub allow_trace: Option<Span>,
}

impl Import {
    /// Whether subscribers hear the exporter's subjects of the local name as well: one stream is imported
    /// under a name with wildcards.
    pub fn opens_its_local_name(&self) -> bool {
        self.kind == ShareKind::Stream && !self.subject.has_wildcard() && self.local.has_wildcard()
    }
}

/// A subject mapping.
#[derive(Debug)]
pub struct Mapping {
    /// The published subject pattern.
    pub from: Subject,
    /// Destinations, as written.
    pub to: Vec<String>,
    /// Whether messages may keep their subject because the weights add up to less than 100%.
    pub keeps: bool,
    /// Whether the server makes it for its JetStream domain, and nobody wrote it.
    pub of_domain: bool,
    /// Location.
    pub span: Span,
}

impl System {
    /// Labels the users of each account: `names` returns the labels of an account's users in
    /// file order.
    pub fn name_users(&mut self, names: impl Fn(&str) -> Vec<String>) {
        for account in &mut self.accounts {
            for (user, name) in account.users.iter_mut().zip(names(&account.name)) {
                user.label = Some(name);
            }
        }
    }

    /// The account with this name.
    pub fn account(&self, name: &str) -> Option<&Account> {
        self.by_name.get(name).map(|i| &self.accounts[*i])
    }

    /// Whether a user can connect as a leaf node. A listener with logins of its own rejects the users of accounts.
    pub fn may_be_leaf(&self, account: &Account, user: &User) -> bool {
        let leaf = self.server.listener(ListenerKind::Leaf);
        account.takes_leaf_nodes()
            && user.may_use(ListenerKind::Leaf)
            && (user.is_leaf_login || leaf.is_some_and(|leaf| self.server.admits_clients(leaf)))
    }

    /// Where a leaf node of an account comes in, or goes out. `None`: it has none.
    pub fn leaf_of(&self, account: &Account) -> Option<Span> {
        self.leaf_where(account, |_| true)
    }

    /// Where a leaf node of an account comes in, or goes out, that may receive some of the subjects. `None`: none does.
    pub fn leaf_that_hears(&self, account: &Account, subject: &Subject) -> Option<Span> {
        self.leaf_where(account, |kept_back| !kept_back.iter().any(|kept| kept.contains(subject)))
    }

    /// Where a leaf node of an account comes in, or goes out, and the subjects that a remote keeps back are as given.
    /// A user's own lists do not count.
    fn leaf_where(&self, account: &Account, is_so: impl Fn(&[Subject]) -> bool) -> Option<Span> {
        let leaves = self
            .server
            .leaves_of(&account.name)
            .filter(|(_, kept_back)| account.takes_leaf_nodes() && is_so(kept_back));
        let users = account.users.iter().filter(|user| self.may_be_leaf(account, user)).map(|user| user.span);
        leaves.map(|(span, _)| span).chain(users).next()
    }

    /// Whether `account` is the system account.
    pub fn is_system(&self, account: &Account) -> bool {
        self.system_account.as_ref().map_or(account.name == "$SYS", |(name, _)| *name == account.name)
    }

    /// All users, each with its account.
    pub fn users(&self) -> impl Iterator<Item = (&Account, &User)> {
        self.accounts.iter().flat_map(Account::members)
    }

    /// The users who log in as clients: all but the logins of the leaf node listener.
    pub fn clients(&self) -> impl Iterator<Item = (&Account, &User)> {
        self.users().filter(|(_, user)| !user.is_leaf_login)
    }

    /// The imports that belong to an export, each with its account.
    pub fn imports_of<'s>(
        &'s self,
        account: &'s Account,
        export: &'s Export,
    ) -> impl Iterator<Item = (&'s Account, &'s Import)> {
        let belongs = |import: &&Import| {
            import.kind == export.kind && import.from.0 == account.name && export.subject.contains(&import.subject)
        };
        self.accounts.iter().flat_map(move |other| other.imports.iter().filter(belongs).map(move |i| (other, i)))
    }

    /// All accounts except the system account.
    pub fn tenants(&self) -> impl Iterator<Item = &Account> {
        self.accounts.iter().filter(|a| !self.is_system(a))
    }
}

impl Account {
    /// An account of this name, with nothing in it and without limits.
    pub fn empty(name: &str, span: Span) -> Self {
        Self {
            name: name.to_owned(),
            span,
            users: Vec::new(),
            exports: Vec::new(),
            imports: Vec::new(),
            jetstream: None,
            limits: Limits::default(),
            mappings: Vec::new(),
            trace: None,
            signers: Vec::new(),
            scopes: None,
        }
    }

    /// Its users, each with the account.
    pub fn members(&self) -> impl Iterator<Item = (&Self, &User)> {
        self.users.iter().map(move |user| (self, user))
    }

    /// Its mappings that are written in its configuration.
    pub fn written_mappings(&self) -> impl Iterator<Item = &Mapping> {
        self.mappings.iter().filter(|mapping| !mapping.of_domain)
    }

    /// Its imports of services.
    pub fn services(&self) -> impl Iterator<Item = &Import> {
        self.imports.iter().filter(|import| import.kind == ShareKind::Service)
    }

    /// Its export to which an import of a service belongs: the one of the same subject, or the only one that
    /// contains it. `None`: the server takes any of several.
    pub fn service_of(&self, import: &Import) -> Option<&Export> {
        let offered = self.exports.iter().filter(|export| export.kind == ShareKind::Service);
        let same = offered.clone().find(|export| export.subject == import.subject);
        let mut wider = offered.filter(|export| export.subject.contains(&import.subject));
        same.or_else(|| wider.next().filter(|_| wider.next().is_none()))
    }

    /// Whether its limits allow a connection of a leaf node.
    pub fn takes_leaf_nodes(&self) -> bool {
        self.limits.leafnodes.is_none_or(|(most, _)| most != 0)
    }
}

impl User {
    /// A login of the leaf node listener: a server, which has no lists.
    pub fn behind_leaf(name: String, span: Span) -> Self {
        let connection_types = Some((vec!["LEAFNODE".to_owned()], span));
        Self { connection_types, is_leaf_login: true, ..Self::anybody(name, span) }
    }

    /// Whether it can join queues as a client: MQTT has none, and leaf nodes are another matter.
    pub fn joins_queues(&self) -> bool {
        let is_other = |kind: &String| ["MQTT", "LEAFNODE"].iter().any(|other| kind.to_uppercase().starts_with(other));
        let joins = |(kinds, _): &(Vec<String>, Span)| kinds.is_empty() || !kinds.iter().all(is_other);
        self.connection_types.as_ref().is_none_or(joins)
    }

    /// Whether it can choose the reply subject of a message: MQTT has none (3.1.1, all that the server speaks).
    pub fn chooses_replies(&self) -> bool {
        let is_mqtt = |kind: &String| kind.to_uppercase().starts_with("MQTT");
        self.connection_types.as_ref().is_none_or(|(kinds, _)| kinds.is_empty() || !kinds.iter().all(is_mqtt))
    }

    /// A user without restrictions.
    pub fn anybody(name: String, span: Span) -> Self {
        Self {
            name,
            label: None,
            span,
            auth: AuthMethod::Nkey,
            permissions: Permissions::default(),
            connection_types: None,
            needs_proxy: false,
            is_leaf_login: false,
            is_leaf: false,
        }
    }

    /// The same user, if it might publish and subscribe to anything.
    pub fn unrestricted(&self) -> Self {
        Self { permissions: Permissions::default(), ..self.clone() }
    }

    /// The location of one of its two lists, or of what stands in its place.
    pub fn place_of(&self, side: &Side) -> Span {
        side.span.or(self.permissions.span).unwrap_or(self.span)
    }

    /// Whether its connection types have this one.
    pub fn allows(&self, connection_type: &str) -> bool {
        let has = |(types, _): &(Vec<String>, Span)| {
            types.is_empty() || types.iter().any(|t| t.eq_ignore_ascii_case(connection_type))
        };
        self.connection_types.as_ref().is_none_or(has)
    }

    /// Whether its connection types allow this kind of listener. Routes and gateways: never.
    pub fn may_use(&self, listener: ListenerKind) -> bool {
        let kind = match listener {
            ListenerKind::Leaf => "LEAFNODE",
            ListenerKind::Mqtt => "MQTT",
            ListenerKind::WebSocket => "WEBSOCKET",
            ListenerKind::Cluster | ListenerKind::Gateway => return false,
        };
        let named = |(kinds, _): &(Vec<String>, Span)| {
            kinds.is_empty() || kinds.iter().any(|k| k.to_uppercase().starts_with(kind))
        };
        self.connection_types.as_ref().is_none_or(named)
    }

    /// The label if known, otherwise the name.
    pub fn display_name(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.name)
    }
}

impl Side {
    /// Whether some subject that `subject` matches is allowed.
    pub fn touches(&self, subject: &Subject) -> bool {
        let allowed = match &self.allow {
            None => true,
            Some(allow) => allow.iter().any(|p| p.subject.overlaps(subject)),
        };
        allowed && !self.deny.iter().any(|p| p.queue.is_none() && p.subject.contains(subject))
    }

    /// Whether there is no allow list and `>` is not denied.
    pub fn is_open(&self) -> bool {
        self.allow.is_none() && !self.deny.iter().any(|p| p.queue.is_none() && p.subject.as_str() == ">")
    }
}

impl Export {
    /// Whether every account may import it.
    pub fn is_public(&self) -> bool {
        self.to.as_ref().is_none_or(Vec::is_empty) && self.token_position == 0
    }

    /// Whether its list names an account, or everybody may import it.
    pub fn is_offered_to(&self, account: &str) -> bool {
        self.is_public() || self.to.iter().flatten().any(|(name, _)| name == account)
    }

    /// Whether both exports have the same importers.
    pub fn is_same_offer(&self, other: &Self) -> bool {
        let names = |e: &Self| e.to.iter().flatten().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>();
        self.token_position == other.token_position
            && self.is_public() == other.is_public()
            && names(self) == names(other)
    }

    /// Whether `account` may import `subject`, which this export contains.
    pub fn authorizes(&self, account: &str, subject: &Subject) -> bool {
        if self.token_position > 0 {
            // For an import of exactly the exported subject the server never looks at the token,
            // and so authorises no account.
            let position = usize::try_from(self.token_position).unwrap_or(usize::MAX);
            return *subject != self.subject && subject.tokens().nth(position - 1) == Some(account);
        }
        self.is_offered_to(account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span { file: 0, start: 0, end: 0 };

    fn subject(text: &str) -> Subject {
        Subject::as_the_server_reads(text).expect(text)
    }

    /// Patterns from `subject` or `subject queue`.
    fn patterns(texts: &[&str]) -> Vec<SubjectPattern> {
        let pattern = |text: &&str| match text.split_once(' ') {
            Some((of, queue)) => SubjectPattern { subject: subject(of), queue: Some(subject(queue)) },
            None => SubjectPattern { subject: subject(text), queue: None },
        };
        texts.iter().map(pattern).collect()
    }

    fn side(allow: Option<&[&str]>, deny: &[&str]) -> Side {
        Side { allow: allow.map(patterns), deny: patterns(deny), ..Side::default() }
    }

    fn export(subject_text: &str, to: Option<&[&str]>, token_position: i64) -> Export {
        Export {
            kind: ShareKind::Service,
            subject: subject(subject_text),
            span: SPAN,
            to: to.map(|names| names.iter().map(|name| ((*name).to_owned(), SPAN)).collect()),
            token_position,
            allow_trace: None,
            latency: None,
        }
    }

    fn user(connection_types: Option<&[&str]>) -> User {
        let types = connection_types.map(|types| (types.iter().map(|t| (*t).to_owned()).collect(), SPAN));
        User { connection_types: types, ..User::anybody("u".into(), SPAN) }
    }

    #[test]
    fn a_side_touches_what_it_allows_and_does_not_deny_entirely() {
        for (allow, deny, asked, touches) in [
            (None, &[][..], "a.b", true),
            (None, &["a.b"], "a.b", false),
            (None, &["a.>"], "a.b", false),
            (None, &["a.b"], "a.>", true),
            (None, &["a.b"], "a.c", true),
            (None, &["a.b queue"], "a.b", true),
            (Some(&["a.*"][..]), &[], "a.b", true),
            (Some(&["a.*"]), &[], "a.>", true),
            (Some(&["a.*"]), &[], "a.b.c", false),
            (Some(&["a.*"]), &["a.>"], "a.b", false),
            (Some(&["x", "a.b"]), &[], "a.b", true),
            (Some(&[]), &[], "a.b", false),
        ] {
            assert_eq!(side(allow, deny).touches(&subject(asked)), touches, "{allow:?} {deny:?} {asked}");
        }
    }

    #[test]
    fn a_side_is_open_without_an_allow_list_unless_everything_is_denied() {
        for (allow, deny, is_open) in [
            (None, &[][..], true),
            (None, &["a.>"], true),
            (None, &["> queue"], true),
            (None, &[">"], false),
            (Some(&[">"][..]), &[], false),
            (Some(&[]), &[], false),
        ] {
            assert_eq!(side(allow, deny).is_open(), is_open, "{allow:?} {deny:?}");
        }
    }

    #[test]
    fn only_a_deny_of_every_queue_keeps_a_side_out_of_queues() {
        for (allow, deny, joins) in [
            (None, &[][..], true),
            (None, &["a.b >"], false),
            (None, &["a.> >"], false),
            (None, &["a.b"], false),
            (None, &["a.b workers"], true),
            (None, &["a.b *"], true),
            (None, &["a.c >"], true),
            (Some(&["a.b"][..]), &[], true),
            (Some(&["a.b"]), &["a.b >"], false),
            (Some(&["c"]), &[], false),
        ] {
            let queues = side(allow, deny).queues_on(&subject("a.b"), &Subject::everything());
            assert_eq!(!queues.is_empty(), joins, "{allow:?} {deny:?}");
        }
    }

    #[test]
    fn an_export_authorizes_its_importers_or_the_account_in_its_token() {
        for (export, account, asked, authorized) in [
            (export("a.>", None, 0), "B", "a.b", true),
            (export("a.>", Some(&[]), 0), "B", "a.b", true),
            (export("a.>", Some(&["B"]), 0), "B", "a.b", true),
            (export("a.>", Some(&["B"]), 0), "C", "a.b", false),
            (export("a.*.>", None, 2), "B", "a.B.x", true),
            (export("a.*.>", None, 2), "B", "a.C.x", false),
            (export("a.*.>", None, 2), "B", "a.*.>", false),
            (export("a.*.>", None, 9), "B", "a.B.x", false),
            (export("a.B", None, 2), "B", "a.B", false),
            (export("a.*.>", Some(&["C"]), 2), "B", "a.B.x", true),
        ] {
            assert_eq!(export.authorizes(account, &subject(asked)), authorized, "{export:?} {account} {asked}");
        }
    }

    #[test]
    fn an_export_is_public_without_importers_and_without_a_token_position() {
        for (export, is_public) in [
            (export("a", None, 0), true),
            (export("a", Some(&[]), 0), true),
            (export("a", Some(&["B"]), 0), false),
            (export("a.*", None, 2), false),
        ] {
            assert_eq!(export.is_public(), is_public, "{export:?}");
        }
    }

    #[test]
    fn two_exports_are_the_same_offer_if_their_importers_are_the_same() {
        let one = export("a", Some(&["B", "C"]), 0);
        for (other, same) in [
            (export("b", Some(&["C", "B"]), 0), true),
            (export("a", Some(&["B"]), 0), false),
            (export("a", Some(&["B", "C", "D"]), 0), false),
            (export("a", None, 0), false),
            (export("a", Some(&["B", "C"]), 1), false),
        ] {
            assert_eq!(one.is_same_offer(&other), same, "{other:?}");
            assert_eq!(other.is_same_offer(&one), same, "{other:?}");
        }
        assert!(export("a", None, 0).is_same_offer(&export("b", Some(&[]), 0)), "both are public");
    }

    #[test]
    fn connection_types_limit_the_listeners_that_a_user_may_use() {
        use ListenerKind::{Cluster, Gateway, Leaf, Mqtt, WebSocket};
        for (types, allowed) in [
            (None, &[Leaf, Mqtt, WebSocket][..]),
            (Some(&[][..]), &[Leaf, Mqtt, WebSocket]),
            (Some(&["STANDARD"]), &[]),
            (Some(&["standard", "mqtt"]), &[Mqtt]),
            (Some(&["LEAFNODE_WS"]), &[Leaf]),
            (Some(&["WEBSOCKET", "MQTT_WS"]), &[Mqtt, WebSocket]),
        ] {
            for kind in [Leaf, Mqtt, WebSocket, Cluster, Gateway] {
                assert_eq!(user(types).may_use(kind), allowed.contains(&kind), "{types:?} {kind:?}");
            }
        }
    }

    #[test]
    fn the_system_account_is_the_named_one_or_else_sys() {
        let account = |name: &str| Account::empty(name, SPAN);
        let mut system = System { accounts: vec![account("$SYS"), account("OPS"), account("A")], ..System::default() };
        let tenants = |system: &System| system.tenants().map(|a| a.name.clone()).collect::<Vec<_>>();
        assert_eq!(tenants(&system), ["OPS", "A"]);
        system.system_account = Some(("OPS".into(), SPAN));
        assert_eq!(tenants(&system), ["$SYS", "A"]);
    }
}
