//! What the registry means: valid by construction, defaults filled in, names
//! resolved. Nothing here is a string that still needs checking, and nothing
//! here knows how it was written or how it will be rendered.

pub(crate) mod jetstream;
pub mod names;
pub mod permissions;
pub(crate) mod roles;
pub mod units;

use serde::Serialize;

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
    /// Where every secret comes from.
    pub root: Root,
    /// bcrypt cost for derived and for supplied passwords.
    pub bcrypt: BcryptCost,
    /// The system account.
    pub system: SystemAccount,
    /// The tenants, in the order they were written.
    pub tenants: Vec<Tenant>,
    /// Names that were given up.
    pub retired: Vec<Retired>,
}

/// A name that was given up: its credentials must not work any more.
#[derive(Debug, Clone)]
pub struct Retired {
    /// The tenant that was removed, or whose user was.
    pub tenant: AccountName,
    /// The user that was removed; nothing for the whole tenant.
    pub user: Option<UserName>,
    /// The last generation of its secret.
    pub generation: u32,
}

/// The server.
#[derive(Debug, Clone, Hash)]
pub struct Server {
    /// Its name.
    pub name: ServerName,
    /// The container image.
    pub image: String,
    /// Where clients reach it.
    pub client: Listen,
    /// Where monitoring is reached, if anywhere.
    pub monitor: Option<Listen>,
    /// The URL that handouts tell clients to use.
    pub url: String,
    /// Largest message.
    pub max_payload: Size,
    /// Connections of all accounts.
    pub max_connections: u32,
    /// Bytes kept for one slow connection.
    pub max_pending: Size,
    /// How long a write may take.
    pub write_deadline: units::Duration,
    /// Whether debug lines are logged.
    pub debug: bool,
    /// Whether protocol lines are logged.
    pub trace: bool,
    /// Whether time stamps are UTC.
    pub log_utc: bool,
    /// JetStream, if it is on.
    pub jetstream: Option<ServerJetStream>,
}

/// What all tenants' JetStream limits must fit into.
#[derive(Debug, Clone, Copy, Hash)]
pub struct ServerJetStream {
    /// Memory.
    pub memory: Size,
    /// Disk.
    pub storage: Size,
}

/// Where the root key is found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Root {
    /// The published key: for loopback only.
    Development,
    /// In a file, relative to the registry.
    File(std::path::PathBuf),
    /// In an environment variable.
    Env(String),
}

/// bcrypt costs. A derived password has 160 random bits and gains nothing from
/// a slow hash; one that a person chose does.
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
    /// Its name.
    pub account: AccountName,
    /// Its users; they can do anything.
    pub users: Vec<User>,
}

/// A tenant: exactly one account.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// The account's name.
    pub name: AccountName,
    /// Where it was declared.
    pub span: Span,
    /// Its subject space; never empty.
    pub subjects: Vec<Subject>,
    /// Limits of the account.
    pub limits: Limits,
    /// JetStream limits, if the tenant has JetStream.
    pub jetstream: Option<JetStream>,
    /// Its users; never empty.
    pub users: Vec<User>,
    /// Streams, those behind buckets and object stores included, in the order in
    /// which they can be made.
    pub streams: Vec<Stream>,
    /// Key-value buckets.
    pub buckets: Vec<BucketName>,
    /// Object stores.
    pub object_stores: Vec<BucketName>,
    /// What it offers, each to somebody.
    pub exports: Vec<Export>,
    /// What it gets.
    pub imports: Vec<Import>,
    /// Streams of its own that others may copy.
    pub stream_exports: Vec<StreamCopy>,
    /// Streams of others that it may copy.
    pub stream_imports: Vec<StreamCopy>,
}

/// Limits of an account; all finite.
#[derive(Debug, Clone, Copy, Hash)]
pub struct Limits {
    /// Connections at a time.
    pub connections: u32,
    /// Subscriptions per connection.
    pub subscriptions: u32,
    /// Largest message.
    pub payload: Size,
}

/// JetStream limits of an account; all finite, none zero where zero means "no limit".
#[derive(Debug, Clone, Copy, Hash)]
pub struct JetStream {
    /// Memory.
    pub memory: Size,
    /// Disk.
    pub storage: Size,
    /// Streams, buckets and object stores together.
    pub streams: u32,
    /// Consumers of each stream.
    pub consumers: u32,
    /// Unacknowledged messages of one consumer.
    pub max_ack_pending: u32,
}

/// A user.
#[derive(Debug, Clone)]
pub struct User {
    /// Its name, unique in its account.
    pub name: UserName,
    /// Where it was declared.
    pub span: Span,
    /// The role its permissions come from.
    pub role: RoleName,
    /// How it proves who it is.
    pub credential: Credential,
    /// Where its replies arrive.
    pub inbox: Inbox,
    /// What it may do.
    pub permissions: Permissions,
}

/// How a user proves who it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A key pair derived from the root key.
    Nkey {
        /// Raised to replace it.
        generation: u32,
    },
    /// A password derived from the root key.
    Password {
        /// Raised to replace it.
        generation: u32,
    },
    /// A password chosen elsewhere.
    PasswordFromEnv {
        /// The variable that holds it.
        variable: String,
        /// Raised to replace the salt.
        generation: u32,
    },
    /// A key pair whose seed the user keeps.
    PublicKey(String),
}

impl Credential {
    /// What the kind is called in listings.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nkey { .. } => "nkey",
            Self::Password { .. } => "password",
            Self::PasswordFromEnv { .. } => "password (from the environment)",
            Self::PublicKey(_) => "public key",
        }
    }
}

/// Where a user's replies arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Inbox {
    /// Under `_INBOX_<user>`, which no other user can read. Clients must be told the prefix.
    Private,
    /// Under `_INBOX`, which is every client's default and shared in the account.
    Default,
}

impl User {
    /// Whether streams are made with its credential. It is the operator's, and is
    /// not handed to developers.
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

/// Where a stream keeps its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Storage {
    /// On disk.
    File,
    /// In memory.
    Memory,
}

/// Which way a share works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ShareKind {
    /// Messages flow to the importer.
    Stream,
    /// The importer asks, the exporter answers.
    Service,
}

impl ShareKind {
    /// The key in the registry and in nats-server.conf alike.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Service => "service",
        }
    }
}

/// What a tenant offers, and to whom; never to everybody.
#[derive(Debug, Clone, Hash)]
pub struct Export {
    /// Which way it works.
    pub kind: ShareKind,
    /// The subjects.
    pub subject: Subject,
    /// The importers; never empty.
    pub to: Vec<AccountName>,
}

/// What a tenant gets from another.
#[derive(Debug, Clone, Hash)]
pub struct Import {
    /// Which way it works.
    pub kind: ShareKind,
    /// The exporter.
    pub from: AccountName,
    /// The subjects.
    pub subject: Subject,
}

/// A stream of one tenant that another may copy. Both servers' ends are fixed by
/// the exporter: a durable consumer of its own delivers the stream to one subject, and
/// all that the importer's stream can ask is to begin again behind what it has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StreamCopy {
    /// Whose stream it is.
    pub from: AccountName,
    /// Who may copy it.
    pub to: AccountName,
    /// The stream.
    pub stream: StreamName,
    /// Which of its subjects.
    pub filter: Option<Subject>,
}

impl StreamCopy {
    /// The exporter's consumer, which feeds one stream of the importer.
    pub fn consumer(&self) -> ConsumerName {
        ConsumerName::of_copy(format!("{}_to_{}", self.from, self.to))
    }

    /// Where the importer finds the exporter's JetStream API, as far as it may use it.
    pub fn api(&self) -> String {
        format!("JS.{}.API", self.from)
    }

    /// Where messages pass. No user may publish or subscribe there.
    pub fn deliver(&self) -> String {
        format!("JS.{}.{}.to.{}", self.from, self.stream, self.to)
    }

    /// Everything that passes between the two: way, the exporter's subject, and the
    /// importer's name for it.
    pub fn ways(&self) -> [(ShareKind, String, String); 3] {
        let (stream, consumer) = (&self.stream, self.consumer());
        let reset = format!("CONSUMER.RESET.{stream}.{consumer}");
        let flow = format!("$JS.FC.{stream}.{consumer}.>");
        [
            (ShareKind::Service, format!("$JS.API.{reset}"), format!("{}.{reset}", self.api())),
            (ShareKind::Service, flow.clone(), flow),
            (ShareKind::Stream, self.deliver(), self.deliver()),
        ]
    }
}

impl Model {
    /// Whether there is anything to make on a running server.
    pub fn has_streams(&self) -> bool {
        self.tenants.iter().any(|tenant| !tenant.streams.is_empty())
    }
}

impl Tenant {
    /// Subjects that arrive from other tenants, or to which requests to other
    /// tenants are sent.
    pub fn imported(&self, kind: ShareKind) -> impl Iterator<Item = &Subject> {
        self.imports.iter().filter(move |i| i.kind == kind).map(|i| &i.subject)
    }

    /// The user that makes its streams; it has one if it has JetStream.
    pub fn provisioner(&self) -> Option<&User> {
        self.users.iter().find(|user| user.is_provisioner())
    }

    /// The other ends of the streams that are copied between it and others.
    pub fn copying(&self) -> impl Iterator<Item = &AccountName> {
        self.stream_exports.iter().map(|copy| &copy.to).chain(self.stream_imports.iter().map(|copy| &copy.from))
    }

    /// The users whose credentials are handed out.
    pub fn developers(&self) -> impl Iterator<Item = &User> {
        self.users.iter().filter(|user| !user.is_provisioner())
    }

    /// Streams that are no bucket's and no object store's.
    pub fn plain_streams(&self) -> impl Iterator<Item = &Stream> {
        self.streams.iter().filter(|s| s.kind == StreamKind::Stream)
    }
}
