//! Who there is and who may do what, as nats-server decides it. Everything that
//! a configuration can say about reaching another is in here.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::diag::Span;
use crate::model::ShareKind;
use crate::subject::Subject;

/// A server with its accounts.
#[derive(Debug, Default)]
pub struct System {
    /// The accounts in which somebody is, as they were written.
    pub accounts: Vec<Account>,
    /// Place in `accounts` by name.
    pub by_name: std::collections::HashMap<String, usize>,
    /// Places of the accounts that import streams, by whom they import them from.
    pub importers: std::collections::HashMap<String, Vec<usize>>,
    /// The account that operates the server, as it is named.
    pub system_account: Option<(String, Span)>,
    /// The user that somebody without credentials is.
    pub no_auth_user: Option<(String, Span)>,
    /// Whether the `authorization` block is there: then nobody is anonymous by default.
    pub has_authorization: bool,
    /// One name and password, or a token, for everybody.
    pub shared_login: Option<Span>,
    /// Accounts are in JWTs, which are not in this file.
    pub is_operator: Option<Span>,
    /// An auth callout, if there is one.
    pub callout: Option<Callout>,
    /// The rest of the server.
    pub server: Server,
}

/// What the server itself is told.
#[derive(Debug, Default)]
pub struct Server {
    /// JetStream, if it is on.
    pub jetstream: Option<ServerJetStream>,
    /// Where monitoring listens.
    pub monitoring: Vec<(String, Span)>,
    /// Other ways in: leaf nodes, MQTT, WebSocket, routes, gateways.
    pub listeners: Vec<Listener>,
    /// Whether a slow subscriber of another account cannot slow a publisher down.
    pub no_fast_producer_stall: bool,
    /// Those who sign certificates of clients.
    pub client_cas: Vec<Authority>,
    /// Whether a client's certificate says who it is.
    pub maps_certificates: bool,
    /// Open atomic batches of one stream, and of all accounts together.
    pub batches: (i64, i64),
    /// Whether the subscriptions of every connection are limited.
    pub limits_subscriptions: bool,
    /// Connections of all accounts, and where that is said.
    pub max_connections: Limit,
    /// Where the file begins, for findings about what is not there.
    pub start: Option<Span>,
}

/// JetStream for the server.
#[derive(Debug, Clone, Copy)]
pub struct ServerJetStream {
    /// Where it is turned on.
    pub span: Span,
    /// Memory for all accounts; nothing if the server chooses.
    pub memory: Option<i64>,
    /// Disk for all accounts.
    pub storage: Option<i64>,
}

/// Another way in.
#[derive(Debug)]
pub struct Listener {
    /// Which one.
    pub kind: ListenerKind,
    /// Where it is opened.
    pub span: Span,
    /// Whether it has credentials of its own.
    pub has_authorization: bool,
    /// Whether it listens, and not only dials.
    pub listens: bool,
    /// Whether it listens on every address of the machine.
    pub everywhere: bool,
    /// Certificates that let somebody in: whose, if that is said. Nothing if none does.
    pub certificates: Option<Certificates>,
    /// Where, from this machine; nothing if the server chooses.
    pub address: Option<String>,
    /// The user that somebody without credentials is here.
    pub no_auth_user: Option<(String, Span)>,
    /// Logins of its own, each with the account that they lead to, if they say so.
    pub logins: Vec<(AuthMethod, Option<String>, Span)>,
    /// The servers that it dials.
    pub remotes: Vec<Remote>,
}

/// A file of those who sign certificates. Under two names it is still the same.
#[derive(Debug, Clone)]
pub struct Authority {
    /// As it is written.
    pub file: String,
    /// What is in it, or its path where it cannot be read here.
    pub identity: String,
}

/// Which certificates let somebody in.
#[derive(Debug)]
pub struct Certificates {
    /// Those who sign them; nothing for anybody that the system trusts.
    pub ca: Option<Authority>,
    /// Whether they are named one by one.
    pub named: bool,
}

/// A server that a leaf node dials, for an account.
#[derive(Debug)]
pub struct Remote {
    /// Whose messages pass.
    pub account: String,
    /// Hosts and ports.
    pub addresses: Vec<String>,
    /// Where it stands.
    pub span: Span,
}

/// Somebody else decides who connecting users are.
#[derive(Debug)]
pub struct Callout {
    /// The account in which it is asked.
    pub account: String,
    /// Whether the questions are encrypted.
    pub encrypted: bool,
    /// Where it stands.
    pub span: Span,
}

/// The kinds of listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerKind {
    /// Leaf nodes.
    Leaf,
    /// MQTT clients.
    Mqtt,
    /// WebSocket clients.
    WebSocket,
    /// Servers of the cluster.
    Cluster,
    /// Other clusters.
    Gateway,
}

/// An account.
#[derive(Debug)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Where its name stands.
    pub span: Span,
    /// Its users.
    pub users: Vec<User>,
    /// What it offers.
    pub exports: Vec<Export>,
    /// What it gets.
    pub imports: Vec<Import>,
    /// Its JetStream limits; nothing if it has no JetStream.
    pub jetstream: Option<JetStream>,
    /// Its limits.
    pub limits: Limits,
    /// Subjects that are rewritten as they are published.
    pub mappings: Vec<Mapping>,
}

/// A number and where it stands; nothing where it was left out.
pub type Limit = Option<(i64, Span)>;

/// An account's limits.
#[derive(Debug, Default)]
pub struct Limits {
    /// Connections at a time.
    pub connections: Limit,
    /// Subscriptions per connection.
    pub subscriptions: Limit,
    /// Bytes of a message.
    pub payload: Limit,
    /// Leaf node connections.
    pub leafnodes: Limit,
}

/// An account's JetStream limits.
#[derive(Debug)]
pub struct JetStream {
    /// Where it is turned on.
    pub span: Span,
    /// Bytes of memory.
    pub memory: Limit,
    /// Bytes on disk.
    pub storage: Limit,
    /// Streams.
    pub streams: Limit,
    /// Consumers of each stream.
    pub consumers: Limit,
}

/// A user.
#[derive(Debug)]
pub struct User {
    /// Its name, or its public key.
    pub name: String,
    /// What people call it, where that is known.
    pub label: Option<String>,
    /// Where it stands.
    pub span: Span,
    /// How it proves who it is.
    pub auth: AuthMethod,
    /// What it may do; everything in its account if nothing says otherwise.
    pub permissions: Permissions,
    /// The kinds of connections it may make; all if nothing says otherwise.
    pub connection_types: Option<(Vec<String>, Span)>,
}

/// How a user proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// A signature.
    Nkey,
    /// A password that the file holds hashed.
    Hashed(Span),
    /// A password that the file holds as it is.
    Plain(Span),
    /// Something that looks like a hash and is none: nobody gets in.
    BrokenHash(Span),
    /// None at all.
    NoPassword,
}

/// What a user may do.
#[derive(Debug, Clone, Default)]
pub struct Permissions {
    /// Where they are written; nothing if they are not.
    pub span: Option<Span>,
    /// Publishing.
    pub publish: Side,
    /// Subscribing.
    pub subscribe: Side,
    /// Answering.
    pub responses: Option<Responses>,
}

/// Publishing or subscribing.
#[derive(Debug, Clone, Default)]
pub struct Side {
    /// Where it is written; nothing if it is not.
    pub span: Option<Span>,
    /// What is allowed; everything if nothing says otherwise.
    pub allow: Option<Vec<Pattern>>,
    /// What is not, whatever is allowed.
    pub deny: Vec<Pattern>,
    /// Where a form stands that looks like "nothing" and means "everything".
    pub looks_closed: Option<Span>,
}

/// A subject of a permission, for subscriptions perhaps with a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The subject.
    pub subject: Subject,
    /// The queues; nothing for any subscription.
    pub queue: Option<Subject>,
}

/// Leave to publish to reply subjects.
#[derive(Debug, Clone, Copy)]
pub struct Responses {
    /// Where it is given.
    pub span: Span,
    /// Messages for each request; negative for no end.
    pub max: i64,
    /// For how long; nothing for no end.
    pub expires: Option<Duration>,
}

/// What an account offers.
#[derive(Debug)]
pub struct Export {
    /// Messages or requests.
    pub kind: ShareKind,
    /// On which subjects.
    pub subject: Subject,
    /// Where it stands.
    pub span: Span,
    /// To whom; nothing, or nobody, means to everybody.
    pub to: Option<Vec<(String, Span)>>,
    /// Which token of the subject has to be the importer's name.
    pub token_position: i64,
    /// Where tracing across is allowed.
    pub allow_trace: Option<Span>,
    /// Where it is said that answers are measured.
    pub latency: Option<Span>,
}

/// What an account gets.
#[derive(Debug)]
pub struct Import {
    /// Messages or requests.
    pub kind: ShareKind,
    /// From which account.
    pub from: (String, Span),
    /// On which of its subjects.
    pub subject: Subject,
    /// Where it stands.
    pub span: Span,
    /// Under which subject here.
    pub local: Subject,
    /// Where the requester's identity is given away.
    pub share: Option<Span>,
    /// Where tracing across is allowed.
    pub allow_trace: Option<Span>,
}

/// Subjects that are rewritten.
#[derive(Debug)]
pub struct Mapping {
    /// What is published to.
    pub from: Subject,
    /// Where it goes.
    pub to: Vec<String>,
    /// Whether some of it may keep its subject: weights of less than 100.
    pub keeps: bool,
    /// Where it stands.
    pub span: Span,
}

impl Server {
    /// Servers that leaf nodes of this one dial.
    pub fn remotes(&self) -> impl Iterator<Item = &Remote> {
        self.listeners.iter().flat_map(|listener| &listener.remotes)
    }
}

impl System {
    /// Gives each account's users the names that people know them by, in their order.
    pub fn name_users(&mut self, names: impl Fn(&str) -> Vec<String>) {
        for account in &mut self.accounts {
            for (user, name) in account.users.iter_mut().zip(names(&account.name)) {
                user.label = Some(name);
            }
        }
    }

    /// An account by name.
    pub fn account(&self, name: &str) -> Option<&Account> {
        self.by_name.get(name).map(|i| &self.accounts[*i])
    }

    /// Whether an account operates the server.
    pub fn is_system(&self, account: &Account) -> bool {
        self.system_account.as_ref().map_or(account.name == "$SYS", |(name, _)| *name == account.name)
    }

    /// Accounts that belong to tenants.
    pub fn tenants(&self) -> impl Iterator<Item = &Account> {
        self.accounts.iter().filter(|a| !self.is_system(a))
    }
}

impl User {
    /// Whether its connection types let it in through a listener.
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

    /// What people call it.
    pub fn display_name(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.name)
    }
}

impl Side {
    /// Whether somebody may use some subject that this one matches.
    pub fn touches(&self, subject: &Subject) -> bool {
        let allowed = match &self.allow {
            None => true,
            Some(allow) => allow.iter().any(|p| p.subject.overlaps(subject)),
        };
        allowed && !self.deny.iter().any(|p| p.queue.is_none() && p.subject.contains(subject))
    }

    /// Whether everything is allowed but for what is denied.
    pub fn is_open(&self) -> bool {
        self.allow.is_none() && !self.deny.iter().any(|p| p.queue.is_none() && p.subject.as_str() == ">")
    }

    /// Whether a queue subscription on a subject is allowed.
    pub fn joins_queue_on(&self, subject: &Subject) -> bool {
        let everything = Subject::as_the_server_reads(">");
        let denied =
            self.deny.iter().any(|p| p.subject.contains(subject) && (p.queue.is_none() || p.queue == everything));
        let allowed = self.allow.as_ref().is_none_or(|allow| allow.iter().any(|p| p.subject.overlaps(subject)));
        allowed && !denied
    }
}

impl Export {
    /// Whether everybody may import it.
    pub fn is_public(&self) -> bool {
        self.to.as_ref().is_none_or(Vec::is_empty) && self.token_position == 0
    }

    /// Whether it is offered to the same accounts in the same way as another.
    pub fn is_same_offer(&self, other: &Self) -> bool {
        let names = |e: &Self| e.to.iter().flatten().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>();
        self.token_position == other.token_position
            && self.is_public() == other.is_public()
            && names(self) == names(other)
    }

    /// Whether an account may import a part of it, as the server decides.
    pub fn authorizes(&self, account: &str, subject: &Subject) -> bool {
        if self.is_public() {
            return true;
        }
        if self.token_position > 0 {
            // Asked for by its own name, no token is looked at.
            let position = usize::try_from(self.token_position).unwrap_or(usize::MAX);
            return *subject != self.subject && subject.tokens().nth(position - 1) == Some(account);
        }
        self.to.iter().flatten().any(|(name, _)| name == account)
    }
}
