//! The registry as written: one declaration per table. Each value is well-formed by
//! itself; `validate` checks that they are consistent, `lower` turns them into the model.

mod jetstream;

pub use jetstream::*;

use super::decode::{Int, Key, List, Named, Scalar, keys, words};
use crate::diag::{Span, Spanned};
use crate::model::names::{AccountName, RoleName, ServerName, StreamName, UserName};
use crate::model::units::{Duration, Listen, Size};
use crate::model::{Inbox, Root, StreamCopy};
use crate::registry::codes;
use crate::subject::Subject;

/// A count that the server stores in 32 bits. 0 is not accepted: depending on the key it
/// would mean "none" or "no limit".
pub type Count = Int<1, 2_147_483_647>;

keys! {
    /// The registry: every tenant of one NATS system.
    Registry, "the registry" {
        /// Version of this format. Always 1.
        version: Spanned<Int<1, 1>>,
        /// Further files, by pattern, relative to this one. They hold `[[tenant]]` only.
        include: List<Spanned<String>>,
        /// The server.
        server: Key<Server>,
        /// How the rendered configuration gets to servers elsewhere.
        deploy: Key<Deploy>,
        /// How clients prove who they are.
        auth: Key<Auth>,
        /// Where every secret comes from.
        keys: Key<Keys>,
        /// The system account.
        system: Key<SystemAccount>,
        /// Permission templates beside the built-in ones.
        role: Named<Role>,
        /// The tenants, each one account.
        tenant: List<Tenant>,
        /// What one tenant offers to others.
        share: List<Share>,
        /// Names that are not to be used again: the credentials that derive from them would be valid again.
        retired: List<Retired>,
    }

    /// An included file: tenants and nothing else. What passes between
    /// tenants is for the main file, because both sides have to want it.
    Included, "an included file" {
        /// Tenants, each one account.
        tenant: List<Tenant>,
    }

    /// How the rendered configuration gets to servers elsewhere.
    Deploy, "[deploy]" {
        /// The command that copies it, for a shell in the registry's folder. $BUNDLE is the folder that has nats/.
        push: Spanned<String>,
    }

    /// The server.
    Server, "[server]" {
        /// The server's name.
        name: Key<Spanned<ServerName>>,
        /// The container image that compose runs.
        image: Key<Spanned<Image>>,
        /// Address on which clients reach the server. Default 127.0.0.1:4222.
        client: Key<Spanned<Listen>>,
        /// Address of the HTTP monitoring endpoints, which ask for no password. Left out: none.
        monitor: Key<Spanned<Listen>>,
        /// The URL that handouts tell clients to use, where it is not simply `client`.
        url: Key<Spanned<ClientUrl>>,
        /// The URLs by which clients in other places reach the server, by a name for the place: `{ docker = "nats://nats:4222" }`. For `creds --url docker`.
        urls: Named<Spanned<ClientUrl>>,
        /// Largest message. Default 1MiB.
        max_payload: Key<Spanned<Size>>,
        /// Connections of all accounts together. Default 1024.
        max_connections: Key<Spanned<Count>>,
        /// Bytes kept for one slow connection before it is cut. Default 64MiB.
        max_pending: Key<Spanned<Size>>,
        /// How long a write to a client may take. Default 10s.
        write_deadline: Key<Spanned<Duration>>,
        /// What the server logs.
        log: Key<Log>,
        /// JetStream for the whole server. Left out: no JetStream.
        jetstream: Key<ServerJetStream>,
    }

    /// What the server logs. Logs go to standard output.
    Log, "[server.log]" {
        /// info, debug or trace. Trace logs message contents. Default info.
        level: Key<Spanned<LogLevel>>,
        /// Time stamps in UTC. Default true.
        utc: Key<Spanned<bool>>,
    }

    /// JetStream for the whole server. The tenants' sums must fit.
    ServerJetStream, "[server.jetstream]" {
        /// Memory for streams with memory storage. Default 0B.
        memory: Key<Spanned<Size>>,
        /// Disk for streams with file storage.
        storage: Spanned<Size>,
    }

    /// How clients prove who they are.
    Auth, "[auth]" {
        /// static: accounts in nats-server.conf. operator: JWTs. Default static.
        mode: Key<Spanned<AuthMode>>,
        /// bcrypt cost of password hashes. Default 8 for derived passwords, 11 for supplied ones.
        bcrypt_cost: Key<Spanned<Int<4, 15>>>,
    }

    /// Where every secret comes from.
    Keys, "[keys]" {
        /// development (published, loopback only), file:PATH or env:NAME.
        root: Spanned<Root>,
    }

    /// The system account: operators of the server, never a tenant.
    SystemAccount, "[system]" {
        /// The account's name. Default SYS.
        account: Key<Spanned<AccountName>>,
        /// Its users. They can do anything.
        user: List<SystemUser>,
    }

    /// A user of the system account.
    SystemUser, "a system user" {
        /// The user's name.
        name: Spanned<UserName>,
        /// nkey or password. Default nkey.
        auth: Key<Spanned<AuthKind>>,
        /// Raise it to replace the user's secret. Default 1.
        generation: Key<Spanned<Count>>,
        /// Environment variable that holds a password chosen elsewhere.
        password_env: Key<Spanned<EnvName>>,
        /// The public half of an nkey whose seed the user keeps.
        public_key: Key<Spanned<PublicKey>>,
    }

    /// A permission template.
    Role, "a role" {
        /// Subjects its users may publish to. Placeholders: {subject}, {tenant}, {user}, {inbox}.
        publish: List<Spanned<RolePattern>>,
        /// Subjects its users may subscribe to.
        subscribe: List<Spanned<RolePattern>>,
        /// Whether its users may answer requests. Default false.
        allow_responses: Key<Spanned<bool>>,
    }

    /// A tenant: exactly one account.
    Tenant, "a tenant" {
        /// The account's name.
        name: Spanned<AccountName>,
        /// The tenant's purpose, for its handout.
        description: Key<Spanned<String>>,
        /// The team or person that owns it.
        owner: Key<Spanned<String>>,
        /// Where its developers ask for help: an address, a channel.
        contact: Key<Spanned<String>>,
        /// The tenant's subject space. Default "<name>.>".
        subjects: Key<List<Spanned<Subject>>>,
        /// Whether its users may not log in: their clients are disconnected, its streams stay. Default false.
        suspended: Key<Spanned<bool>>,
        /// Limits of the account.
        limits: Key<Limits>,
        /// JetStream for the account. Left out: none.
        jetstream: Key<JetStream>,
        /// The account's users. At least one.
        user: List<User>,
        /// Streams.
        stream: List<Stream>,
        /// Key-value buckets.
        bucket: List<Bucket>,
        /// Object stores.
        object_store: List<ObjectStore>,
    }

    /// Limits of an account.
    Limits, "[tenant.limits]" {
        /// Connections at a time. Default 100.
        connections: Key<Spanned<Count>>,
        /// Subscriptions per connection. Default 1000.
        subscriptions: Key<Spanned<Int<1, 1_000_000>>>,
        /// Largest message. Default: the server's.
        payload: Key<Spanned<Size>>,
    }

    /// JetStream limits of an account. Always finite.
    JetStream, "[tenant.jetstream]" {
        /// Memory. Default 0B: no streams in memory.
        memory: Key<Spanned<Size>>,
        /// Disk. Default 0B: no streams on disk.
        storage: Key<Spanned<Size>>,
        /// Streams, buckets and object stores together. Default 10.
        streams: Key<Spanned<Int<1, 10_000>>>,
        /// Consumers of each stream (that is what the server counts). Default 20.
        consumers: Key<Spanned<Int<1, 100_000>>>,
        /// Unacknowledged messages a consumer may have. Default 10000.
        max_ack_pending: Key<Spanned<Int<1, 1_000_000>>>,
    }

    /// A user of a tenant.
    User, "a user" {
        /// The user's name, unique in its tenant.
        name: Spanned<UserName>,
        /// Its purpose.
        description: Key<Spanned<String>>,
        /// The team or person that owns it.
        owner: Key<Spanned<String>>,
        /// Where to reach the owner.
        contact: Key<Spanned<String>>,
        /// A built-in role (admin, app, publisher, subscriber, monitor, provisioner) or one of yours. Default app.
        role: Key<Spanned<RoleName>>,
        /// nkey, password, or creds (operator mode). Default nkey.
        auth: Key<Spanned<AuthKind>>,
        /// Raise it to replace the user's secret. Default 1.
        generation: Key<Spanned<Count>>,
        /// Environment variable that holds a password chosen elsewhere.
        password_env: Key<Spanned<EnvName>>,
        /// The public half of an nkey whose seed the user keeps.
        public_key: Key<Spanned<PublicKey>>,
        /// private: replies arrive under _INBOX_<user>. default: under _INBOX, where every such user of the account can read them. Default private.
        inbox: Key<Spanned<Inbox>>,
    }

    /// A name that was given up. Credentials derive from names, and an account's
    /// streams stay on the server's disk, so it is not simply used again.
    Retired, "a retired name" {
        /// The tenant that was removed, or whose user was.
        tenant: Spanned<AccountName>,
        /// The user that was removed. Left out: the whole tenant.
        user: Key<Spanned<UserName>>,
        /// The last generation of the user's secret. Default 1.
        generation: Key<Spanned<Count>>,
    }

    /// One declared export with its imports.
    Share, "a share" {
        /// The tenant that offers it.
        from: Spanned<AccountName>,
        /// The tenants that get it. Nobody else does.
        to: Key<List<Spanned<AccountName>>>,
        /// Subjects whose messages flow from `from` to `to`.
        stream: Key<Spanned<Subject>>,
        /// Subjects on which `from` answers requests of `to`.
        service: Key<Spanned<Subject>>,
        /// A stream of `from` that `to` may copy, by a source or mirror with `from`. Needs nats-server 2.14.
        jetstream: Key<Spanned<StreamName>>,
        /// Which of that stream's subjects. Default all.
        filter: Key<Spanned<Subject>>,
    }
}

words! {
    /// Where accounts live.
    AuthMode, "a mode" {
        /// In nats-server.conf.
        Static = "static",
        /// In JWTs.
        Operator = "operator",
    }

    /// How a user proves who it is.
    AuthKind, "a kind of credential" {
        /// An Ed25519 key; the server never sees the secret.
        Nkey = "nkey",
        /// A password; the server holds its bcrypt hash.
        Password = "password",
        /// A JWT with its key; operator mode.
        Creds = "creds",
    }

    /// What the server logs.
    LogLevel, "a log level" {
        /// Connections, errors, JetStream events.
        Info = "info",
        /// More about each connection.
        Debug = "debug",
        /// Every protocol line, message contents included.
        Trace = "trace",
    }
}

impl Tenant {
    /// The tenant's readable subjects with their locations, the default filled in.
    pub fn subjects(&self) -> Vec<(Subject, Span)> {
        match &self.subjects {
            Key::Given(subjects) => subjects.iter().map(|s| (s.value.clone(), s.span)).collect(),
            Key::Invalid => Vec::new(),
            // Every account name is a valid subject token.
            Key::Absent => {
                Subject::parse(&format!("{}.>", self.name.value)).map(|s| (s, self.name.span)).into_iter().collect()
            }
        }
    }

    /// Whether the subject is certainly outside the tenant's subjects. It is not certain
    /// where one of them is unreadable.
    pub fn is_foreign(&self, subject: &Subject) -> bool {
        let owns = |own: &Subject| own.contains(subject);
        match &self.subjects {
            Key::Given(own) => own.is_whole() && !own.is_empty() && !own.iter().any(|own| owns(&own.value)),
            Key::Invalid => false,
            Key::Absent => !self.subjects().iter().any(|(own, _)| owns(own)),
        }
    }
}

impl Scalar for Inbox {
    const RULE: &'static str = codes::UNKNOWN_WORD;
    const WHAT: &'static str = "a kind of inbox";
    const HINT: &'static str = "one of `private` `default`";
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "private" => Ok(Self::Private),
            "default" => Ok(Self::Default),
            _ => Err("unknown word".into()),
        }
    }
    fn schema() -> serde_json::Value {
        serde_json::json!({ "enum": ["private", "default"] })
    }
}

impl Scalar for Root {
    const RULE: &'static str = codes::INVALID_ROOT;
    const WHAT: &'static str = "a root key source";
    const HINT: &'static str =
        "write \"development\", \"file:.tenantry/root.key\" or \"env:TENANTRY_ROOT_KEY\"; never the key itself";
    fn parse(text: &str) -> Result<Self, String> {
        if text == "development" {
            return Ok(Self::Development);
        }
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("env", name)) => EnvName::parse(name).map(|name| Self::Env(name.0)),
            _ => Err("where is the key to be found?".into()),
        }
    }
    fn may_be_secret(_text: &str) -> bool {
        true
    }
}

/// The name of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvName(pub String);

impl Scalar for EnvName {
    const RULE: &'static str = codes::INVALID_VARIABLE;
    const WHAT: &'static str = "a variable name";
    const HINT: &'static str = "name an environment variable, such as \"ORDERS_PASSWORD\", without the $";
    fn parse(text: &str) -> Result<Self, String> {
        let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if starts && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            Ok(Self(text.to_owned()))
        } else {
            Err("letters, digits and _ only".into())
        }
    }
}

/// The public half of a user's nkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(pub String);

impl Scalar for PublicKey {
    const RULE: &'static str = codes::INVALID_PUBLIC_KEY;
    const WHAT: &'static str = "a public user nkey";
    const HINT: &'static str = "paste what `nk -inkey user.nk -pubout` prints: 56 characters beginning with U";
    fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('S') {
            return Err("it looks like a seed, which is the secret half".into());
        }
        if !text.starts_with('U') {
            return Err("a user's public key begins with U".into());
        }
        match nkeys::KeyPair::from_public_key(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err("its checksum does not match: a character is missing or wrong".into()),
        }
    }
    /// A seed may be pasted here by mistake.
    fn may_be_secret(text: &str) -> bool {
        !text.starts_with('U')
    }
}

/// A container image reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image(pub String);

impl Scalar for Image {
    const RULE: &'static str = codes::INVALID_IMAGE;
    const WHAT: &'static str = "an image";
    const HINT: &'static str = "write a name with a version: \"nats:2.15.1-alpine\"";
    fn parse(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | ':' | '@' | '-');
        if text.is_empty() || !text.chars().all(plain) || text.starts_with(['-', '.', '/', ':']) {
            return Err("not the name of a container image".into());
        }
        let name = text.rsplit('/').next().unwrap_or(text);
        match name.split_once([':', '@']) {
            None | Some((_, "" | "latest")) => Err("it is not pinned to a version".into()),
            Some(_) => Ok(Self(text.to_owned())),
        }
    }
}

/// The URL that handouts give to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientUrl(pub String);

impl Scalar for ClientUrl {
    const RULE: &'static str = codes::INVALID_URL;
    const WHAT: &'static str = "a server URL";
    const HINT: &'static str = "write \"nats://nats.example.com:4222\" (or tls://), without user or password";
    fn parse(text: &str) -> Result<Self, String> {
        let rest = text
            .strip_prefix("nats://")
            .or_else(|| text.strip_prefix("tls://"))
            .ok_or("it begins neither with nats:// nor with tls://")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        if rest.contains('@') {
            return Err("it holds a user or a password".into());
        }
        if rest.is_empty() || !rest.chars().all(plain) {
            return Err("not a host and port".into());
        }
        Ok(Self(text.to_owned()))
    }
    fn may_be_secret(text: &str) -> bool {
        text.contains('@')
    }
}

/// A subject of a declared role, possibly with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolePattern(pub crate::model::roles::Pattern);

impl Scalar for RolePattern {
    const RULE: &'static str = codes::INVALID_ROLE_PATTERN;
    const WHAT: &'static str = "a role's subject";
    const HINT: &'static str = "\"{subject}\" for each of the tenant's subjects, \"{inbox}\" for replies, or a subject with {tenant} and {user} in it";
    fn parse(text: &str) -> Result<Self, String> {
        crate::model::roles::Pattern::parse(text).map(Self)
    }
}

impl Share {
    /// The importing tenants.
    pub fn to(&self) -> &[Spanned<AccountName>] {
        self.to.get().map_or(&[], |to| to)
    }

    /// The stream copies that the share permits, one per importing tenant. Empty without `jetstream`.
    pub fn copies(&self) -> impl Iterator<Item = StreamCopy> {
        let copy = |stream: &Spanned<StreamName>, to: &Spanned<AccountName>| StreamCopy {
            from: self.from.value.clone(),
            to: to.value.clone(),
            stream: stream.value.clone(),
            filter: self.filter.get().map(|filter| filter.value.clone()),
        };
        self.jetstream.get().into_iter().flat_map(move |stream| self.to().iter().map(move |to| copy(stream, to)))
    }
}
