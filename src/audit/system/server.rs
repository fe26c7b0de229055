//! The server outside of accounts: its listeners, and the servers that it dials.

use super::{AuthMethod, Limit};
use crate::diag::Span;
use crate::subject::Subject;

/// Options of the server outside of accounts.
#[derive(Debug, Default)]
pub struct Server {
    /// JetStream. `None`: disabled.
    pub jetstream: Option<ServerJetStream>,
    /// Whether it or its cluster has a name, by which a leaf node connection of its own is known.
    pub is_named: bool,
    /// Addresses of the monitoring and profiling endpoints: `host:port`.
    pub monitoring: Vec<(String, Span)>,
    /// Listeners besides the client listener: leaf nodes, MQTT, WebSocket, routes, gateways.
    pub listeners: Vec<Listener>,
    /// Whether acknowledgements name the account of their consumer (`js_ack_fc_v2`).
    pub acknowledgements_name_accounts: bool,
    /// Whether publishers are not stalled for slow subscribers.
    pub no_fast_producer_stall: bool,
    /// The certificate authority of clients. `None`: none is named.
    pub client_ca: Option<Authority>,
    /// Whether connections of some proxies are trusted.
    pub trusts_proxies: bool,
    /// Whether the certificate of a client identifies its user (`verify_and_map`).
    pub maps_certificates: bool,
    /// Maximum number of open atomic batches of one stream, and of all accounts together.
    pub batches: (i64, i64),
    /// Whether the server limits the subscriptions of every connection.
    pub limits_subscriptions: bool,
    /// Maximum number of connections of all accounts together.
    pub max_connections: Limit,
    /// Options by which others on the network, or in the log, learn or change messages.
    pub hazards: Vec<(Hazard, Span)>,
    /// Whether there is no system account, which answers requests of every account.
    pub no_system_account: bool,
    /// Start of the main file, used as the location of findings about missing options.
    pub start: Option<Span>,
}

/// An option that weakens what no permission decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hazard {
    /// A listener beyond this machine without TLS.
    ClearText {
        /// Its kind, as in a sentence.
        listener: &'static str,
        /// Its address, as `host:port`.
        address: String,
    },
    /// `allow_non_tls`.
    AllowNonTls,
    /// `insecure` in a `tls` block.
    Insecure,
    /// `proxy_protocol`.
    ProxyProtocol,
    /// A WebSocket login by cookie without a check of the origin.
    CookiesFromAnywhere,
    /// `trace` or `trace_verbose`.
    LoggedPayloads,
}

/// JetStream options of the server.
#[derive(Debug, Clone)]
pub struct ServerJetStream {
    /// Location of the option.
    pub span: Span,
    /// Memory for all accounts. Bytes. `None`: the server chooses.
    pub memory: Option<i64>,
    /// Disk for all accounts. Bytes. `None`: the server chooses.
    pub storage: Option<i64>,
    /// Its domain, by which requests may name it. `None`: none.
    pub domain: Option<(String, Span)>,
}

/// A listener besides the client listener.
#[derive(Debug)]
pub struct Listener {
    /// Its kind.
    pub kind: ListenerKind,
    /// Location of its block.
    pub span: Span,
    /// Whether it has logins of its own.
    pub has_logins: bool,
    /// Whether a certificate decides who a client is (`verify_and_map`). Then no password counts for routes and
    /// gateways.
    pub maps_certificates: bool,
    /// Whether it accepts connections; a `leafnodes` block may only dial.
    pub listens: bool,
    /// Whether it listens on every network interface.
    pub everywhere: bool,
    /// Certificates that it requires. `None`: no certificate is checked.
    pub certificates: Option<Certificates>,
    /// `host:port` at which this machine reaches it. `None`: no fixed port is configured.
    pub address: Option<String>,
    /// The user that clients of this listener log in as without credentials.
    pub no_auth_user: Option<(String, Span)>,
    /// Logins of this listener.
    pub logins: Vec<ListenerLogin>,
    /// The servers that it dials as a leaf node.
    pub remotes: Vec<Remote>,
}

/// A listener's login that a user of an account has as well.
#[derive(Debug)]
pub struct SameLogin {
    /// The user.
    pub user: String,
    /// The listener.
    pub listener: ListenerKind,
    /// The account into which a leaf node comes by it.
    pub account: String,
    /// Location.
    pub span: Span,
}

/// A login that only one listener knows.
#[derive(Debug)]
pub struct ListenerLogin {
    /// Its user name.
    pub name: String,
    /// How it authenticates.
    pub auth: AuthMethod,
    /// The account that it names. `None`: none.
    pub account: Option<String>,
    /// Whether it is one of `users`, and not the only login of the listener.
    pub is_one_of_users: bool,
    /// Location.
    pub span: Span,
}

/// A certificate authority. Two paths to the same certificates have one `identity`.
#[derive(Debug, Clone)]
pub struct Authority {
    /// Path as written.
    pub file: String,
    /// SHA-256 of the file, or its normalised path if it is not readable here.
    pub identity: String,
}

/// The client certificates that a listener accepts.
#[derive(Debug)]
pub struct Certificates {
    /// The authority that must have signed them. `None`: any that the operating system trusts.
    pub ca: Option<Authority>,
    /// Whether they are listed one by one.
    pub are_pinned: bool,
    /// Whether they must name a server that this one knows (`verify_cert_and_check_known_urls`). Then no password counts.
    pub name_servers: bool,
}

/// A server that a leaf node connection of an account dials.
#[derive(Debug)]
pub struct Remote {
    /// The account whose messages pass through it.
    pub account: String,
    /// Its URLs as written.
    pub urls: Vec<String>,
    /// Addresses: lowercase `host:port`.
    pub addresses: Vec<String>,
    /// The user as which it logs in. `None`: none is in a URL.
    pub user: Option<String>,
    /// Whether messages of the account may go out over it.
    pub sends: bool,
    /// Subjects of messages that do not.
    pub kept_back: Vec<Subject>,
    /// Whether messages may come in over it.
    pub receives: bool,
    /// Location.
    pub span: Span,
}

/// Kinds of listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerKind {
    /// Leaf nodes.
    Leaf,
    /// MQTT clients.
    Mqtt,
    /// WebSocket clients.
    WebSocket,
    /// Routes between servers of the cluster.
    Cluster,
    /// Connections from other clusters.
    Gateway,
}

impl ListenerLogin {
    /// The account into which it leads.
    pub fn account(&self) -> &str {
        self.account.as_deref().unwrap_or("$G")
    }
}

impl Server {
    /// The listener of a kind. `None`: it accepts no such connections.
    pub fn listener(&self, kind: ListenerKind) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.kind == kind && listener.listens)
    }

    /// Whether a name is its JetStream domain's.
    pub fn is_own_domain(&self, name: &str) -> bool {
        let domain = self.jetstream.as_ref().and_then(|jetstream| jetstream.domain.as_ref());
        domain.is_some_and(|(domain, _)| domain == name)
    }

    /// Whether there are other servers with the same accounts: in its cluster, or behind a gateway.
    pub fn is_one_of_several(&self) -> bool {
        [ListenerKind::Cluster, ListenerKind::Gateway].into_iter().any(|kind| self.listener(kind).is_some())
    }

    /// A server that this one dials as a leaf node of an account: anybody may be there. `None`: it dials none.
    pub fn remote_of(&self, account: &str) -> Option<&Remote> {
        self.remotes().find(|remote| remote.account == account)
    }

    /// The servers that this one dials as a leaf node.
    pub fn remotes(&self) -> impl Iterator<Item = &Remote> {
        self.listeners.iter().flat_map(|listener| &listener.remotes)
    }

    /// Whether clients of the server can have what a listener asks for: it has no logins of its own, and requires no
    /// certificate of an authority that signs none of theirs.
    pub fn admits_clients(&self, listener: &Listener) -> bool {
        let is_theirs = |certificates: &Certificates| {
            !certificates.are_pinned && certificates.ca.as_ref().is_none_or(|ca| self.signs_clients(ca))
        };
        !listener.has_logins && listener.certificates.as_ref().is_none_or(is_theirs)
    }

    /// Whether an authority signs certificates of clients.
    pub fn signs_clients(&self, authority: &Authority) -> bool {
        let of_clients =
            self.listeners.iter().filter(|l| matches!(l.kind, ListenerKind::Mqtt | ListenerKind::WebSocket));
        let authorities = of_clients.filter_map(|l| l.certificates.as_ref()?.ca.as_ref()).chain(&self.client_ca);
        authorities.into_iter().any(|other| other.identity == authority.identity)
    }

    /// The logins of leaf nodes in an account, and the servers dialled for it, with the subjects of what they do not get.
    pub fn leaves_of(&self, account: &str) -> impl Iterator<Item = (Span, &[Subject])> {
        let logins = self.listener(ListenerKind::Leaf).into_iter().flat_map(|leaf| &leaf.logins);
        let logins = logins.filter(move |login| login.account() == account).map(|login| (login.span, [].as_slice()));
        let remotes = self.remotes().filter(move |remote| remote.account == account);
        logins.chain(remotes.map(|remote| (remote.span, remote.kept_back.as_slice())))
    }
}
