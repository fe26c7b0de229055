//! The contexts of the templates: one type per template. Every field is always present,
//! because a template that names a missing one fails.

use serde::Serialize;

use super::credentials::{ClientSecret, IssuedCredential};
use crate::model::jetstream::Stream;
use crate::model::names::AccountName;
use crate::model::units::{Listen, Size};
use crate::model::{Credential, Model, Root, Server, ShareKind, StreamCopy, Tenant, User};
use crate::subject::Subject;

/// A size in bytes, and as text such as `1MiB`.
#[derive(Debug, Serialize)]
pub struct SizeContext {
    bytes: u64,
    human: String,
}

impl From<Size> for SizeContext {
    fn from(size: Size) -> Self {
        Self { bytes: size.bytes(), human: size.to_string() }
    }
}

/// Addresses and paths of a server: everything that differs between a container and a
/// local server.
#[derive(Debug, Clone)]
pub struct ServerPaths {
    /// Address of the client listener.
    pub listen: String,
    /// Address of the monitoring listener. `None` if it is off.
    pub http: Option<String>,
    /// Folder of the JetStream data.
    pub store_dir: String,
    /// Path of the accounts file, relative to the file that includes it.
    pub accounts: String,
    /// Comment in the rendered file: who can reach `listen`.
    pub client_remark: &'static str,
    /// Comment in the rendered file: who can reach `http`.
    pub http_remark: &'static str,
    /// Whether acknowledgements name their account, also where the registry does not need it: a server that runs with the
    /// feature flag keeps it until it restarts.
    pub names_acknowledgements: bool,
}

impl ServerPaths {
    /// Of a server in the container. It listens on every interface of the container's own
    /// network; compose publishes its ports at the addresses in the registry.
    pub fn container(server: &Server) -> Self {
        Self {
            listen: "0.0.0.0:4222".into(),
            // Without `monitor` the listener serves the container's health check only.
            http: Some(if server.monitor.is_some() { "0.0.0.0:8222" } else { "127.0.0.1:8222" }.into()),
            store_dir: "/data".into(),
            accounts: "accounts.conf".into(),
            client_remark: "Inside the container; docker-compose.yml says where it is published.",
            http_remark: "it is published where docker-compose.yml says.",
            names_acknowledgements: false,
        }
    }

    /// Of a throwaway server: a loopback port that the server picks, and every file in the
    /// server's working directory.
    pub fn throwaway() -> Self {
        Self {
            listen: "127.0.0.1:-1".into(),
            http: None,
            store_dir: "data".into(),
            accounts: "accounts.conf".into(),
            client_remark: "The server picks the port.",
            http_remark: "",
            names_acknowledgements: false,
        }
    }

    /// Of a server on this machine.
    pub fn local(client: Listen, monitor: Option<Listen>, store_dir: String, accounts: String) -> Self {
        Self {
            listen: client.to_string(),
            http: monitor.map(|m| m.to_string()),
            store_dir,
            accounts,
            client_remark: "On this machine.",
            http_remark: "keep it on loopback.",
            names_acknowledgements: false,
        }
    }
}

/// `nats/nats-server.conf.hbs`.
#[derive(Debug, Serialize)]
pub struct ServerConf {
    name: String,
    listen: String,
    http: Option<String>,
    client_remark: &'static str,
    http_remark: &'static str,
    max_payload: SizeContext,
    max_connections: u32,
    max_pending: SizeContext,
    write_deadline: String,
    debug: bool,
    trace: bool,
    log_utc: bool,
    jetstream: Option<ServerJetStream>,
    accounts: String,
}

#[derive(Debug, Serialize)]
struct ServerJetStream {
    store_dir: String,
    memory: SizeContext,
    storage: SizeContext,
    batches_per_stream: u64,
    /// Whether acknowledgements name their account.
    names_acknowledgements: bool,
    batches_total: u64,
}

/// Atomic batches in flight on one stream. The server's total limit covers all accounts
/// together, so it must allow this number for every stream that tenants may have.
const BATCHES_PER_STREAM: u64 = 10;

impl ServerConf {
    /// The main configuration of a server with these addresses and paths.
    pub fn new(model: &Model, placement: &ServerPaths) -> Self {
        let server = &model.server;
        let streams: u64 = model.tenants.iter().filter_map(|t| t.jetstream).map(|j| u64::from(j.streams)).sum();
        Self {
            name: server.name.to_string(),
            listen: placement.listen.clone(),
            http: placement.http.clone(),
            client_remark: placement.client_remark,
            http_remark: placement.http_remark,
            max_payload: server.max_payload.into(),
            max_connections: server.max_connections,
            max_pending: server.max_pending.into(),
            write_deadline: go_duration(server.write_deadline.0),
            debug: server.debug,
            trace: server.trace,
            log_utc: server.log_utc,
            jetstream: server.jetstream.map(|j| ServerJetStream {
                store_dir: placement.store_dir.clone(),
                memory: j.memory.into(),
                storage: j.storage.into(),
                batches_per_stream: BATCHES_PER_STREAM,
                names_acknowledgements: model.names_acknowledgements() || placement.names_acknowledgements,
                batches_total: (streams * BATCHES_PER_STREAM).clamp(1000, u64::from(u32::MAX >> 1)),
            }),
            accounts: placement.accounts.clone(),
        }
    }
}

/// A duration in the syntax of nats-server: whole seconds, otherwise milliseconds.
fn go_duration(duration: std::time::Duration) -> String {
    if duration.subsec_nanos() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_millis())
    }
}

/// `nats/accounts.conf.hbs`.
#[derive(Debug, Serialize)]
pub struct AccountsConf<'m> {
    /// Name of the system account.
    pub system_account: &'m str,
    /// Text of every account block, written by `accounts`.
    pub accounts: String,
}

/// `docker-compose.yml.hbs`.
#[derive(Debug, Serialize)]
pub struct Compose {
    project: String,
    image: String,
    client: String,
    monitor: Option<String>,
    jetstream: bool,
    streams: bool,
    version: &'static str,
    variables: Vec<String>,
}

impl Compose {
    /// The server's container, and the one that creates its streams.
    pub fn new(model: &Model) -> Self {
        let server = &model.server;
        let root = if let Root::Env(name) = &model.root { Some(name) } else { None };
        let password = |tenant: &Tenant| match &tenant.provisioner()?.credential {
            Credential::PasswordFromEnv { variable, .. } => Some(variable.clone()),
            _ => None,
        };
        Self {
            project: format!("tenantry-{}", server.name.as_str().to_ascii_lowercase()),
            image: server.image.clone(),
            client: server.client.to_string(),
            monitor: server.monitor.map(|m| m.to_string()),
            jetstream: server.jetstream.is_some(),
            streams: model.has_streams(),
            version: env!("CARGO_PKG_VERSION"),
            variables: root.cloned().into_iter().chain(model.tenants.iter().filter_map(password)).collect(),
        }
    }
}

/// `jetstream/apply.sh.hbs`.
#[derive(Debug, Serialize)]
pub struct Script {
    url: String,
}

impl Script {
    /// The context of the script's fixed part.
    pub fn new(model: &Model) -> Self {
        Self { url: model.server.url.clone() }
    }
}

/// `credentials/user.env.hbs` and `credentials/user.context.json.hbs`.
#[derive(Serialize)]
pub struct UserContext<'m> {
    account: &'m str,
    user: &'m str,
    role: &'m str,
    url: &'m str,
    login_name: &'m str,
    password: &'m str,
    password_variable: &'m str,
    seed: &'m str,
    public_key: &'m str,
    nkey_file: String,
    inbox_prefix: String,
}

impl<'m> UserContext<'m> {
    /// The connection settings of one user. `nkey_file` is the path of its seed file.
    pub fn new(account: &'m str, user: &'m User, handed: &'m ClientSecret, url: &'m str, nkey_file: &str) -> Self {
        let name = user.name.as_str();
        let mut context = Self {
            account,
            user: name,
            role: user.role.as_str(),
            url,
            login_name: "",
            password: "",
            password_variable: "",
            seed: "",
            public_key: "",
            nkey_file: String::new(),
            inbox_prefix: user.inbox_prefix(),
        };
        match handed {
            ClientSecret::Seed(seed) => {
                context.seed = seed.expose();
                nkey_file.clone_into(&mut context.nkey_file);
            }
            ClientSecret::Password(password) => {
                context.login_name = name;
                context.password = password.expose();
            }
            ClientSecret::FromEnv(variable) => {
                context.login_name = name;
                context.password_variable = variable;
            }
            ClientSecret::Own(public) => context.public_key = public,
        }
        context
    }
}

/// `RUNNING-NATS.tenant.md.hbs`.
#[derive(Debug, Serialize)]
pub struct TenantHandout {
    name: String,
    subjects: Vec<String>,
    connections: u32,
    subscriptions: Option<u32>,
    payload: String,
    jetstream: Option<TenantJetStream>,
    exports: Vec<ExportHandout>,
    imports: Vec<ImportHandout>,
    copied: Vec<CopyHandout>,
    copies: Vec<CopyHandout>,
    streams: Vec<StreamHandout>,
    buckets: Vec<String>,
    object_stores: Vec<String>,
    users: Vec<UserHandout>,
}

#[derive(Debug, Serialize)]
struct TenantJetStream {
    storage: String,
    memory: String,
    streams: u32,
    consumers: u32,
}

#[derive(Debug, Serialize)]
struct ExportHandout {
    kind: &'static str,
    subject: String,
    to: String,
}

#[derive(Debug, Serialize)]
struct ImportHandout {
    kind: &'static str,
    is_stream: bool,
    subject: String,
    from: String,
}

#[derive(Debug, Serialize)]
struct CopyHandout {
    stream: String,
    other: String,
}

impl CopyHandout {
    fn new(copy: &StreamCopy, other: &AccountName) -> Self {
        Self { stream: copy.stream.to_string(), other: other.to_string() }
    }
}

#[derive(Debug, Serialize)]
struct StreamHandout {
    name: String,
    subjects: String,
    consumers: String,
}

impl StreamHandout {
    fn new(stream: &Stream) -> Self {
        let list = |names: Vec<String>| names.join(", ");
        // Consumers that feed copies of other tenants are not for this tenant's users.
        let own = stream.consumers.iter().filter(|c| c.config.get("ack_policy") != "flow_control");
        Self {
            name: stream.name.to_string(),
            subjects: list(stream.subjects.iter().map(|s| format!("`{s}`")).collect()),
            consumers: list(own.map(|c| format!("`{}`", c.name)).collect()),
        }
    }
}

#[derive(Debug, Serialize)]
struct UserHandout {
    name: String,
    role: String,
    credential: String,
    inbox_prefix: String,
    files: Vec<FileHandout>,
}

#[derive(Debug, Serialize)]
struct FileHandout {
    name: &'static str,
    path: String,
}

impl TenantHandout {
    /// A tenant's section of the handout. `published`: the root key is the published
    /// development key, so that passwords may be shown.
    pub fn new(tenant: &Tenant, access: &[IssuedCredential], published: bool) -> Self {
        Self {
            name: tenant.name.to_string(),
            subjects: tenant.subjects.iter().map(ToString::to_string).collect(),
            connections: tenant.limits.connections,
            subscriptions: Some(tenant.limits.subscriptions),
            payload: tenant.limits.payload.to_string(),
            jetstream: tenant.jetstream.map(|j| TenantJetStream {
                storage: j.storage.to_string(),
                memory: j.memory.to_string(),
                streams: j.streams,
                consumers: j.consumers,
            }),
            exports: tenant
                .exports
                .iter()
                .map(|e| ExportHandout {
                    kind: e.kind.as_str(),
                    subject: e.subject.to_string(),
                    to: e.to.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                })
                .collect(),
            copied: tenant.stream_exports.iter().map(|c| CopyHandout::new(c, &c.to)).collect(),
            copies: tenant.stream_imports.iter().map(|c| CopyHandout::new(c, &c.from)).collect(),
            streams: tenant.plain_streams().map(StreamHandout::new).collect(),
            buckets: tenant.buckets.iter().map(ToString::to_string).collect(),
            object_stores: tenant.object_stores.iter().map(ToString::to_string).collect(),
            imports: tenant
                .imports
                .iter()
                .map(|i| ImportHandout {
                    kind: i.kind.as_str(),
                    is_stream: i.kind == ShareKind::Stream,
                    subject: i.subject.to_string(),
                    from: i.from.to_string(),
                })
                .collect(),
            users: user_rows(tenant.name.as_str(), &tenant.users, access, published),
        }
    }
}

fn user_rows(account: &str, users: &[User], access: &[IssuedCredential], published: bool) -> Vec<UserHandout> {
    let row = |(user, access): (&User, &IssuedCredential)| UserHandout {
        name: user.name.to_string(),
        role: user.role.to_string(),
        credential: match (&access.secret, published) {
            // Passwords derived from the published key are not secret.
            (ClientSecret::Password(password), true) => format!("password {}", password.expose()),
            _ => user.credential.kind().to_owned(),
        },
        inbox_prefix: user.inbox_prefix(),
        files: super::user_files(&access.secret)
            .into_iter()
            .map(|kind| FileHandout { name: kind.label(), path: super::user_path(account, user, kind) })
            .collect(),
    };
    users.iter().zip(access).filter(|(user, _)| !user.is_provisioner()).map(row).collect()
}

/// `RUNNING-NATS.md.hbs`.
#[derive(Debug, Serialize)]
pub struct Handout {
    development: bool,
    url: String,
    monitor: Option<String>,
    system_account: String,
    tenants: String,
    example: Example,
    /// Whether any stream is declared.
    stream: bool,
    /// Whether the server has the feature flag by which acknowledgements name their account.
    names_acknowledgements: bool,
}

#[derive(Debug, Serialize)]
struct Example {
    account: String,
    user: String,
    subject: String,
    password: bool,
    env_file: String,
    nkey_file: String,
}

impl Handout {
    /// The handout, with the tenants' sections as rendered text. Its example is the first
    /// user that may publish and whose secret tenantry knows, otherwise the first user.
    pub fn new(model: &Model, tenants: String) -> Self {
        use crate::model::permissions::Grant;
        let users = || model.tenants.iter().flat_map(|t| t.developers().map(move |u| (t, u)));
        let publishes =
            |user: &User| matches!(user.permissions.publish, Grant::Only(_)) && user.role.as_str() != "monitor";
        let example = users()
            .find(|(_, u)| publishes(u) && !matches!(u.credential, Credential::PublicKey(_)))
            .or_else(|| users().next())
            .or_else(|| model.tenants.iter().find_map(|t| Some((t, t.suspended.first()?))))
            .map(|(tenant, user)| Example {
                account: tenant.name.to_string(),
                user: user.name.to_string(),
                subject: tenant.subjects.first().map(literal).unwrap_or_default(),
                password: matches!(user.credential, Credential::Password { .. } | Credential::PasswordFromEnv { .. }),
                env_file: super::user_path(tenant.name.as_str(), user, super::FileKind::Env),
                nkey_file: super::user_path(tenant.name.as_str(), user, super::FileKind::Seed),
            });
        Self {
            development: model.root == Root::Development,
            url: model.server.url.clone(),
            monitor: model.server.monitor.map(|m| m.dial().to_string()),
            system_account: model.system.account.to_string(),
            tenants,
            example: match example {
                Some(example) => example,
                None => unreachable!("every tenant has a user, or a suspended one"),
            },
            stream: model.has_streams(),
            names_acknowledgements: model.names_acknowledgements(),
        }
    }
}

/// A literal subject that matches the subject: wildcards become `hello`.
pub(super) fn literal(subject: &Subject) -> String {
    subject
        .as_str()
        .split('.')
        .map(|token| if matches!(token, "*" | ">") { "hello" } else { token })
        .collect::<Vec<_>>()
        .join(".")
}

/// The handout's section of the system account, in the form of a tenant's section.
pub fn system_rows(model: &Model, access: &[IssuedCredential], published: bool) -> TenantHandout {
    let system = &model.system;
    TenantHandout {
        name: format!("{} (the system account)", system.account),
        subjects: vec!["$SYS.>".into()],
        connections: model.server.max_connections,
        subscriptions: None,
        payload: model.server.max_payload.to_string(),
        jetstream: None,
        exports: Vec::new(),
        imports: Vec::new(),
        copied: Vec::new(),
        copies: Vec::new(),
        streams: Vec::new(),
        buckets: Vec::new(),
        object_stores: Vec::new(),
        users: user_rows(system.account.as_str(), &system.users, access, published),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn durations_have_the_largest_unit_that_is_exact() {
        for (millis, shown) in [(10_000, "10s"), (1_000, "1s"), (1_500, "1500ms"), (999, "999ms")] {
            assert_eq!(go_duration(Duration::from_millis(millis)), shown);
        }
    }

    #[test]
    fn a_literal_subject_matches_its_pattern_and_has_no_wildcard() {
        for (pattern, shown) in
            [("A.>", "A.hello"), ("A.*.b", "A.hello.b"), ("A.b", "A.b"), (">", "hello"), ("*.*.>", "hello.hello.hello")]
        {
            let pattern = Subject::parse(pattern).expect("a subject");
            let made = Subject::parse(&literal(&pattern)).expect("a subject");
            assert_eq!(made.as_str(), shown);
            assert!(pattern.overlaps(&made));
        }
    }

    #[test]
    fn the_container_listens_on_every_interface_and_a_local_server_where_the_registry_says() {
        let mut server =
            crate::project::tests::model("[[tenant]]\nname = \"A\"\n[[tenant.user]]\nname = \"app\"\n").server;
        let monitor = Listen { port: 8222, ..server.client };
        assert_eq!(ServerPaths::container(&server).listen, "0.0.0.0:4222");
        // Without monitoring, the listener is for the health check inside the container.
        assert_eq!(ServerPaths::container(&server).http.as_deref(), Some("127.0.0.1:8222"));
        server.monitor = Some(monitor);
        assert_eq!(ServerPaths::container(&server).http.as_deref(), Some("0.0.0.0:8222"));
        let local = |monitor| ServerPaths::local(server.client, monitor, "data".into(), "accounts.conf".into());
        assert_eq!(local(Some(monitor)).http.as_deref(), Some("127.0.0.1:8222"));
        assert_eq!((local(None).listen.as_str(), local(None).http), ("127.0.0.1:4222", None));
    }
}
