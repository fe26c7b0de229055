//! The registry after validation: defaults filled in, names resolved, roles
//! expanded into permissions. Every value is valid by construction. The model
//! is independent of the TOML syntax and of the rendered files.

pub(crate) mod jetstream;
pub mod names;
pub mod permissions;
pub(crate) mod roles;
pub mod units;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::diag::Span;
use crate::subject::Subject;
use jetstream::{Stream, StreamKind};
use names::{AccountName, BucketName, ConsumerName, RoleName, ServerName, StreamName, UserName};
use permissions::Permissions;
use units::{Listen, Size};

/// One NATS system.
#[derive(Debug, Clone)]
pub struct Model {
    /// The server.
    pub server: Server,
    /// Source of the root key, from which every secret is derived.
    pub root: Root,
    /// bcrypt costs of derived and of supplied passwords.
    pub bcrypt: BcryptCost,
    /// The system account.
    pub system: SystemAccount,
    /// The tenants, in registry order.
    pub tenants: Vec<Tenant>,
    /// Retired names. Credentials derive from names, so reusing one would revive the old credentials.
    pub retired: Vec<Retired>,
    /// The command that copies the rendered configuration to servers elsewhere. `None`: `deploy` is not used.
    pub push: Option<String>,
}

/// A retired name: its credentials must no longer be accepted.
#[derive(Debug, Clone)]
pub struct Retired {
    /// The removed tenant, or the tenant of the removed user.
    pub tenant: AccountName,
    /// The removed user. `None` if the whole tenant was removed.
    pub user: Option<UserName>,
    /// The last generation of the user's secret.
    pub generation: u32,
}

/// The server.
#[derive(Debug, Clone, Hash)]
pub struct Server {
    /// The server's name.
    pub name: ServerName,
    /// The container image.
    pub image: String,
    /// Address of the client listener.
    pub client: Listen,
    /// Address of the HTTP monitoring endpoints. `None` disables them.
    pub monitor: Option<Listen>,
    /// The URL that handouts give to clients.
    pub url: String,
    /// The URLs for clients in other places, each with the name of the place.
    pub urls: Vec<(String, String)>,
    /// Maximum message size, in bytes.
    pub max_payload: Size,
    /// Maximum number of connections, all accounts together.
    pub max_connections: u32,
    /// Bytes buffered for one slow connection before the server closes it.
    pub max_pending: Size,
    /// Maximum time of one write to a client.
    pub write_deadline: units::Duration,
    /// Whether debug lines are logged.
    pub debug: bool,
    /// Whether protocol lines are logged.
    pub trace: bool,
    /// Whether log time stamps are in UTC.
    pub log_utc: bool,
    /// The server's JetStream limits. `None` disables JetStream.
    pub jetstream: Option<ServerJetStream>,
}

/// The server's JetStream limits. The sums of the tenants' limits must not exceed them.
#[derive(Debug, Clone, Copy, Hash)]
pub struct ServerJetStream {
    /// Memory for memory-backed streams, in bytes.
    pub memory: Size,
    /// Disk space for file-backed streams, in bytes.
    pub storage: Size,
}

/// Source of the root key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Root {
    /// The published development key, accepted on loopback only.
    Development,
    /// A file; a relative path starts at the registry's folder.
    File(std::path::PathBuf),
    /// An environment variable.
    Env(String),
}

/// bcrypt costs. A derived password has 160 random bits and gains nothing from
/// a slow hash; a password that a person chose does.
#[derive(Debug, Clone, Copy, Hash)]
pub struct BcryptCost {
    /// For derived passwords.
    pub derived: u32,
    /// For passwords from the environment.
    pub supplied: u32,
}

/// The system account.
#[derive(Debug, Clone)]
pub struct SystemAccount {
    /// The account's name.
    pub account: AccountName,
    /// The account's users. Their permissions are unrestricted.
    pub users: Vec<User>,
}

/// Texts for people about a tenant or a user. None reaches the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct About {
    /// Its purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The team or person that owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Where to ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
}

/// A tenant: exactly one account.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// The account's name.
    pub name: AccountName,
    /// Texts for people about it.
    pub about: About,
    /// Location of the declaration in the registry.
    pub span: Span,
    /// The tenant's subject space. Never empty.
    pub subjects: Vec<Subject>,
    /// Limits of the account.
    pub limits: Limits,
    /// JetStream limits of the account. `None` if the tenant has no JetStream.
    pub jetstream: Option<JetStream>,
    /// The account's users. Empty only if it is suspended.
    pub users: Vec<User>,
    /// The users of a suspended tenant, who may not log in. Empty if it is not suspended. Its provisioner stays a user.
    pub suspended: Vec<User>,
    /// Streams, including those behind buckets and object stores. Each follows
    /// the streams it sources from, which is the order of creation.
    pub streams: Vec<Stream>,
    /// Key-value buckets.
    pub buckets: Vec<BucketName>,
    /// Object stores.
    pub object_stores: Vec<BucketName>,
    /// Subjects that the tenant exports, each to named tenants.
    pub exports: Vec<Export>,
    /// Subjects that the tenant imports.
    pub imports: Vec<Import>,
    /// The tenant's JetStream streams that other tenants may copy.
    pub stream_exports: Vec<StreamCopy>,
    /// Other tenants' JetStream streams that the tenant may copy.
    pub stream_imports: Vec<StreamCopy>,
}

/// Limits of an account. All are finite.
#[derive(Debug, Clone, Copy, Hash)]
pub struct Limits {
    /// Maximum number of concurrent connections.
    pub connections: u32,
    /// Maximum number of subscriptions per connection.
    pub subscriptions: u32,
    /// Maximum message size, in bytes.
    pub payload: Size,
}

/// JetStream limits of an account. All are finite; none is zero where zero means "no limit".
#[derive(Debug, Clone, Copy, Hash)]
pub struct JetStream {
    /// Memory for memory-backed streams, in bytes.
    pub memory: Size,
    /// Disk space for file-backed streams, in bytes.
    pub storage: Size,
    /// Maximum number of streams, buckets and object stores together.
    pub streams: u32,
    /// Maximum number of consumers per stream.
    pub consumers: u32,
    /// Maximum number of unacknowledged messages per consumer.
    pub max_ack_pending: u32,
}

/// A user.
#[derive(Debug, Clone)]
pub struct User {
    /// The user's name, unique in its account.
    pub name: UserName,
    /// Texts for people about it.
    pub about: About,
    /// Location of the declaration in the registry.
    pub span: Span,
    /// The role that the permissions come from.
    pub role: RoleName,
    /// The credential with which the user authenticates.
    pub credential: Credential,
    /// The inbox on which replies arrive.
    pub inbox: Inbox,
    /// The user's publish and subscribe permissions.
    pub permissions: Permissions,
}

/// The credential with which a user authenticates.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A key pair derived from the root key.
    Nkey {
        /// Raising it replaces the secret.
        generation: u32,
    },
    /// A password derived from the root key.
    Password {
        /// Raising it replaces the secret.
        generation: u32,
    },
    /// A password from an environment variable.
    PasswordFromEnv {
        /// The variable's name.
        variable: String,
        /// Raising it replaces the salt of the password's hash.
        generation: u32,
    },
    /// The public half of a key pair whose seed the user keeps.
    PublicKey(String),
}

impl Credential {
    /// The credential that a derived one has replaced. `None`: it is the first, or not derived.
    pub fn former(&self) -> Option<Self> {
        match self {
            Self::Nkey { generation: now @ 2.. } => Some(Self::Nkey { generation: now - 1 }),
            Self::Password { generation: now @ 2.. } => Some(Self::Password { generation: now - 1 }),
            _ => None,
        }
    }

    /// The kind of credential, as listings show it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nkey { .. } => "nkey",
            Self::Password { .. } => "password",
            Self::PasswordFromEnv { .. } => "password (from the environment)",
            Self::PublicKey(_) => "public key",
        }
    }
}

/// The inbox on which a user's replies arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Inbox {
    /// `_INBOX_<user>`, which no other user can read. Clients must be configured with the prefix.
    Private,
    /// `_INBOX`, every client library's default, shared by the users of the account.
    Default,
}

impl User {
    /// Whether the user creates the tenant's streams. Its credential belongs to the
    /// operator and is not handed to developers.
    pub fn is_provisioner(&self) -> bool {
        self.role.as_str() == roles::PROVISIONER
    }

    /// The inbox prefix that this user's clients must use.
    pub fn inbox_prefix(&self) -> String {
        inbox_prefix(self.inbox, &self.name)
    }
}

/// The inbox prefix of a user of this name.
pub fn inbox_prefix(inbox: Inbox, user: &UserName) -> String {
    match inbox {
        Inbox::Private => format!("_INBOX_{user}"),
        Inbox::Default => "_INBOX".to_owned(),
    }
}

/// The storage backend of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Storage {
    /// On disk.
    File,
    /// In memory.
    Memory,
}

/// The direction of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShareKind {
    /// Messages flow from the exporter to the importer.
    Stream,
    /// The importer sends requests, the exporter replies.
    Service,
}

impl ShareKind {
    /// The key, which is the same in the registry and in nats-server.conf.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Service => "service",
        }
    }
}

/// Subjects that a tenant exports to named tenants. An export is never public.
#[derive(Debug, Clone, Hash)]
pub struct Export {
    /// Stream or service.
    pub kind: ShareKind,
    /// The exported subjects.
    pub subject: Subject,
    /// The importing tenants. Never empty.
    pub to: Vec<AccountName>,
}

/// Subjects that a tenant imports from another.
#[derive(Debug, Clone, Hash)]
pub struct Import {
    /// Stream or service.
    pub kind: ShareKind,
    /// The exporting tenant.
    pub from: AccountName,
    /// The imported subjects.
    pub subject: Subject,
}

/// A JetStream stream of one tenant that another may copy. The exporter controls
/// both ends: one of its durable consumers delivers the stream to one subject, and the
/// importer's stream may only ask that consumer to resume after the last message it has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StreamCopy {
    /// The exporting tenant, which owns the stream.
    pub from: AccountName,
    /// The importing tenant.
    pub to: AccountName,
    /// The exporter's stream.
    pub stream: StreamName,
    /// The subjects of the stream that are copied. `None` means all.
    pub filter: Option<Subject>,
}

impl StreamCopy {
    /// Name of the exporter's durable consumer, which feeds one stream of the importer.
    pub fn consumer(&self) -> ConsumerName {
        ConsumerName::of_copy(format!("{}_to_{}", self.from, self.to))
    }

    /// Prefix under which the importer reaches the permitted part of the exporter's JetStream API.
    pub fn api(&self) -> String {
        format!("JS.{}.API", self.from)
    }

    /// Delivery subject of the copied messages. No user may publish or subscribe to it.
    pub fn deliver(&self) -> String {
        format!("JS.{}.{}.to.{}", self.from, self.stream, self.to)
    }

    /// The exports and imports that the copy needs: direction, the exporter's subject, and
    /// the importer's local subject.
    pub fn ways(&self) -> [(ShareKind, String, String); 4] {
        let (stream, consumer) = (&self.stream, self.consumer());
        let reset = format!("CONSUMER.RESET.{stream}.{consumer}");
        // The second form is that of a server with the feature flag `js_ack_fc_v2`.
        let [flow, named] =
            ["", &self.from.acknowledged_as()].map(|account| format!("$JS.FC.{account}{stream}.{consumer}.>"));
        [
            (ShareKind::Service, format!("$JS.API.{reset}"), format!("{}.{reset}", self.api())),
            (ShareKind::Service, flow.clone(), flow),
            (ShareKind::Service, named.clone(), named),
            (ShareKind::Stream, self.deliver(), self.deliver()),
        ]
    }
}

impl Model {
    /// Whether acknowledgements have to name their account (`js_ack_fc_v2`): a tenant with JetStream asks a service of
    /// another one with JetStream. By a consumer it could have the answers acknowledge the other one's messages.
    pub fn names_acknowledgements(&self) -> bool {
        let with_jetstream = || self.tenants.iter().filter(|tenant| tenant.jetstream.is_some());
        let names: HashSet<&AccountName> = with_jetstream().map(|tenant| &tenant.name).collect();
        let exports = with_jetstream().flat_map(|tenant| &tenant.exports);
        let mut services = exports.filter(|export| export.kind == ShareKind::Service);
        services.any(|export| export.to.iter().any(|to| names.contains(to)))
    }

    /// Whether any tenant declares a stream, a bucket or an object store.
    pub fn has_streams(&self) -> bool {
        self.tenants.iter().any(|tenant| !tenant.streams.is_empty())
    }

    /// The environment variables that hold secrets.
    pub fn secret_variables(&self) -> impl Iterator<Item = &str> {
        let root = if let Root::Env(variable) = &self.root { Some(variable.as_str()) } else { None };
        let users = self.tenants.iter().flat_map(Tenant::declared_users);
        let users = users.chain(&self.system.users);
        let passwords = users.filter_map(|user| match &user.credential {
            Credential::PasswordFromEnv { variable, .. } => Some(variable.as_str()),
            _ => None,
        });
        root.into_iter().chain(passwords)
    }
}

impl Tenant {
    /// Whether its users may not log in.
    pub fn is_suspended(&self) -> bool {
        !self.suspended.is_empty()
    }

    /// All users that the registry declares, those of a suspended tenant too, and the provisioner.
    pub fn declared_users(&self) -> impl Iterator<Item = &User> {
        self.users.iter().chain(&self.suspended)
    }

    /// Imported subjects: those on which messages of other tenants arrive (`Stream`), or
    /// to which requests to other tenants are sent (`Service`).
    pub fn imported(&self, kind: ShareKind) -> impl Iterator<Item = &Subject> {
        self.imports.iter().filter(move |i| i.kind == kind).map(|i| &i.subject)
    }

    /// The account's limit of connections: those that the tenant was promised, and one for its provisioner.
    pub fn max_connections(&self) -> u32 {
        self.limits.connections.saturating_add(u32::from(self.provisioner().is_some()))
    }

    /// The account's limit of subscriptions of a connection: those that the tenant was promised, and one, because a reload
    /// disconnects clients that are at the limit (nats-server 2.15.1).
    pub fn max_subscriptions(&self) -> u32 {
        self.limits.subscriptions.saturating_add(1)
    }

    /// The user that creates the tenant's streams. `None` if the tenant has no JetStream.
    pub fn provisioner(&self) -> Option<&User> {
        self.users.iter().find(|user| user.is_provisioner())
    }

    /// The copies that other tenants have of one of its streams.
    pub fn copies_of(&self, stream: &str) -> impl Iterator<Item = &StreamCopy> {
        self.stream_exports.iter().filter(move |copy| copy.stream.as_str() == stream)
    }

    /// The tenants that copy its streams, then the tenants whose streams it copies.
    pub fn copying(&self) -> impl Iterator<Item = &AccountName> {
        self.stream_exports.iter().map(|copy| &copy.to).chain(self.stream_imports.iter().map(|copy| &copy.from))
    }

    /// The users whose credentials are handed to developers: all but the provisioner.
    pub fn developers(&self) -> impl Iterator<Item = &User> {
        self.users.iter().filter(|user| !user.is_provisioner())
    }

    /// Streams that back neither a bucket nor an object store.
    pub fn plain_streams(&self) -> impl Iterator<Item = &Stream> {
        self.streams.iter().filter(|s| s.kind == StreamKind::Stream)
    }
}
