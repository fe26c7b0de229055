//! Lowers a registry without errors to the model: fills in defaults, resolves names,
//! expands roles into permissions.

mod jetstream;
mod requests;

use std::collections::HashMap;

use rayon::prelude::*;

use super::decode::Key;
use super::defaults;
use super::raw;
use crate::diag::{Diagnostic, Span, Spanned};
use crate::model::jetstream::Stream;
use crate::model::names::{AccountName, RoleName, ServerName, UserName};
use crate::model::permissions::{Grant, Permissions};
use crate::model::roles::{BuiltIn, Declared, Holder, PROVISIONER};
use crate::model::{
    About, BcryptCost, Credential, Export, Import, Inbox, JetStream, Limits, Model, Retired, Root, Server,
    ServerJetStream, ShareKind, StreamCopy, SystemAccount, Tenant, User, inbox_prefix,
};
use crate::registry::codes;

/// Lowers a validated registry to the model. Reports the errors that are visible only in
/// expanded roles.
pub(super) fn lower(registry: &raw::Registry, diagnostics: &mut Vec<Diagnostic>) -> Model {
    let cost = registry.auth.get().and_then(|a| value(&a.bcrypt_cost)).map(|c| c.0);
    let server = server(registry);
    let roles = declared_roles(registry);
    let shares = shares(registry);
    let (tenants, found): (Vec<Tenant>, Vec<Vec<Diagnostic>>) = registry
        .tenant
        .par_iter()
        .map(|raw| {
            let mut found = Vec::new();
            (tenant(raw, &server, &shares, &roles, &mut found), found)
        })
        .unzip();
    for diagnostic in found.into_iter().flatten() {
        // Reports an error in a role once, not once per user.
        if !diagnostics.iter().any(|d| d.span == diagnostic.span && d.rule == diagnostic.rule) {
            diagnostics.push(diagnostic);
        }
    }
    requests::fit_the_payload(registry, &tenants, diagnostics);
    Model {
        root: registry.keys.get().map_or(Root::Development, |k| k.root.value.clone()),
        bcrypt: BcryptCost {
            derived: cost.unwrap_or(defaults::COST_DERIVED),
            supplied: cost.unwrap_or(defaults::COST_SUPPLIED),
        },
        system: system(registry),
        server,
        tenants,
        retired: registry.retired.iter().map(retired).collect(),
        push: registry.deploy.get().map(|deploy| deploy.push.value.clone()),
    }
}

fn retired(raw: &raw::Retired) -> Retired {
    Retired {
        tenant: raw.tenant.value.clone(),
        user: value(&raw.user),
        generation: value(&raw.generation).map_or(1, |g| g.0),
    }
}

fn value<T: Clone>(key: &Key<Spanned<T>>) -> Option<T> {
    key.get().map(|spanned| spanned.value.clone())
}

fn name<T>(parse: impl Fn(&str) -> Result<T, crate::model::names::NameError>, text: &str) -> T {
    match parse(text) {
        Ok(name) => name,
        Err(e) => unreachable!("the default name {text} is valid: {e}"),
    }
}

fn server(registry: &raw::Registry) -> Server {
    let server = registry.server.get();
    let client = server.and_then(|s| value(&s.client)).unwrap_or(defaults::CLIENT);
    let log = server.and_then(|s| s.log.get());
    let level = log.and_then(|l| value(&l.level)).unwrap_or(raw::LogLevel::Info);
    let url = server.and_then(|s| value(&s.url)).map(|u| u.0);
    Server {
        name: server.and_then(|s| value(&s.name)).unwrap_or_else(|| name(ServerName::parse, defaults::SERVER)),
        image: server.and_then(|s| value(&s.image)).map_or_else(|| defaults::IMAGE.to_owned(), |i| i.0),
        client,
        monitor: server.and_then(|s| value(&s.monitor)),
        urls: server.map(urls).unwrap_or_default(),
        url: url.unwrap_or_else(|| format!("nats://{}", client.dial())),
        max_payload: server.and_then(|s| value(&s.max_payload)).unwrap_or(defaults::MAX_PAYLOAD),
        max_connections: server.and_then(|s| value(&s.max_connections)).map_or(defaults::MAX_CONNECTIONS, |c| c.0),
        max_pending: server.and_then(|s| value(&s.max_pending)).unwrap_or(defaults::MAX_PENDING),
        write_deadline: server.and_then(|s| value(&s.write_deadline)).unwrap_or(defaults::WRITE_DEADLINE),
        debug: level != raw::LogLevel::Info,
        trace: level == raw::LogLevel::Trace,
        log_utc: log.and_then(|l| value(&l.utc)).unwrap_or(true),
        jetstream: server
            .and_then(|s| s.jetstream.get())
            .map(|j| ServerJetStream { memory: value(&j.memory).unwrap_or_default(), storage: j.storage.value }),
    }
}

fn urls(server: &raw::Server) -> Vec<(String, String)> {
    server.urls.0.iter().map(|(place, url)| (place.value.clone(), url.value.0.clone())).collect()
}

fn system(registry: &raw::Registry) -> SystemAccount {
    let system = registry.system.get();
    let users = match system {
        Some(system) => system.user.iter().map(system_user).collect(),
        None => vec![operator(
            name(UserName::parse, defaults::SYSTEM_USER),
            registry.span,
            Credential::Nkey { generation: 1 },
        )],
    };
    SystemAccount {
        account: system
            .and_then(|s| value(&s.account))
            .unwrap_or_else(|| name(AccountName::parse, defaults::SYSTEM_ACCOUNT)),
        users,
    }
}

fn system_user(user: &raw::SystemUser) -> User {
    let credential = credential(&user.auth, &user.generation, &user.password_env, &user.public_key);
    operator(user.name.value.clone(), user.name.span, credential)
}

fn about(description: &Key<Spanned<String>>, owner: &Key<Spanned<String>>, contact: &Key<Spanned<String>>) -> About {
    About { description: value(description), owner: value(owner), contact: value(contact) }
}

/// A user of the system account, with unrestricted permissions.
fn operator(user: UserName, span: crate::diag::Span, credential: Credential) -> User {
    User {
        name: user,
        about: About::default(),
        span,
        role: name(RoleName::parse, "operator"),
        credential,
        inbox: Inbox::Default,
        permissions: Permissions { publish: Grant::Everything, subscribe: Grant::Everything },
    }
}

fn credential(
    auth: &Key<Spanned<raw::AuthKind>>,
    generation: &Key<Spanned<raw::Count>>,
    password_env: &Key<Spanned<raw::EnvName>>,
    public_key: &Key<Spanned<raw::PublicKey>>,
) -> Credential {
    let generation = value(generation).map_or(1, |g| g.0);
    match (value(public_key), value(password_env), value(auth)) {
        (Some(key), _, _) => Credential::PublicKey(key.0),
        (None, Some(variable), _) => Credential::PasswordFromEnv { variable: variable.0, generation },
        (None, None, Some(raw::AuthKind::Password)) => Credential::Password { generation },
        (None, None, _) => Credential::Nkey { generation },
    }
}

/// Exports and imports by account name. The span is the location of the share's `jetstream`.
#[derive(Default)]
struct Shares<'r> {
    exports: HashMap<&'r str, Vec<Export>>,
    imports: HashMap<&'r str, Vec<Import>>,
    stream_exports: HashMap<&'r str, Vec<(StreamCopy, Span)>>,
    stream_imports: HashMap<&'r str, Vec<StreamCopy>>,
}

/// Splits each share into one export and one import per importing tenant.
fn shares(registry: &raw::Registry) -> Shares<'_> {
    let Shares { mut exports, mut imports, mut stream_exports, mut stream_imports } = Shares::default();
    for share in &registry.share {
        if let Some(stream) = share.jetstream.get() {
            for (copy, to) in share.copies().zip(share.to()) {
                stream_imports.entry(to.value.as_str()).or_default().push(copy.clone());
                stream_exports.entry(share.from.value.as_str()).or_default().push((copy, stream.span));
            }
            continue;
        }
        let (kind, subject) = match (value(&share.stream), value(&share.service)) {
            (Some(stream), _) => (ShareKind::Stream, stream),
            (None, Some(service)) => (ShareKind::Service, service),
            (None, None) => continue,
        };
        let to: Vec<AccountName> = share.to().iter().map(|t| t.value.clone()).collect();
        for importer in share.to() {
            imports.entry(importer.value.as_str()).or_default().push(Import {
                kind,
                from: share.from.value.clone(),
                subject: subject.clone(),
            });
        }
        let offered = exports.entry(share.from.value.as_str()).or_default();
        // Merges shares of one subject into one export: the server keeps only the last it reads.
        match offered.iter_mut().find(|e| e.kind == kind && e.subject == subject) {
            Some(export) => export.to.extend(to),
            None => offered.push(Export { kind, subject, to }),
        }
    }
    Shares { exports, imports, stream_exports, stream_imports }
}

type Roles<'r> = HashMap<&'r str, (&'r raw::Role, Declared)>;

fn declared_roles(registry: &raw::Registry) -> Roles<'_> {
    let patterns = |list: &[Spanned<raw::RolePattern>]| list.iter().map(|p| p.value.0.clone()).collect();
    registry
        .role
        .0
        .iter()
        .map(|(name, role)| {
            let declared = Declared {
                publish: patterns(&role.publish),
                subscribe: patterns(&role.subscribe),
                responses: value(&role.allow_responses).unwrap_or(false),
            };
            (name.value.as_str(), (role, declared))
        })
        .collect()
}

fn tenant(
    raw: &raw::Tenant,
    server: &Server,
    shares: &Shares<'_>,
    roles: &Roles<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Tenant {
    let limits = raw.limits.get();
    let own_name = raw.name.value.as_str();
    let stream_exports = shares.stream_exports.get(own_name).map(Vec::as_slice).unwrap_or_default();
    let mut tenant = Tenant {
        name: raw.name.value.clone(),
        about: about(&raw.description, &raw.owner, &raw.contact),
        span: raw.name.span,
        subjects: raw.subjects().into_iter().map(|(subject, _)| subject).collect(),
        limits: Limits {
            connections: limits.and_then(|l| value(&l.connections)).map_or(defaults::CONNECTIONS, |c| c.0),
            subscriptions: limits.and_then(|l| value(&l.subscriptions)).map_or(defaults::SUBSCRIPTIONS, |s| s.0),
            payload: limits.and_then(|l| value(&l.payload)).unwrap_or(server.max_payload),
        },
        jetstream: raw.jetstream.get().map(|j| JetStream {
            memory: value(&j.memory).unwrap_or_default(),
            storage: value(&j.storage).unwrap_or_default(),
            streams: value(&j.streams).map_or(defaults::STREAMS, |s| s.0),
            consumers: value(&j.consumers).map_or(defaults::CONSUMERS, |c| c.0),
            max_ack_pending: value(&j.max_ack_pending).map_or(defaults::MAX_ACK_PENDING, |m| m.0),
        }),
        users: Vec::new(),
        suspended: Vec::new(),
        streams: Vec::new(),
        buckets: raw.bucket.iter().map(|b| b.name.value.clone()).collect(),
        object_stores: raw.object_store.iter().map(|o| o.name.value.clone()).collect(),
        exports: shares.exports.get(own_name).cloned().unwrap_or_default(),
        imports: shares.imports.get(own_name).cloned().unwrap_or_default(),
        stream_exports: stream_exports.iter().map(|(copy, _)| copy.clone()).collect(),
        stream_imports: shares.stream_imports.get(own_name).cloned().unwrap_or_default(),
    };
    tenant.streams = streams(raw, tenant.jetstream, &tenant.stream_imports);
    for (copy, span) in stream_exports {
        let stream = tenant.streams.iter_mut().find(|s| s.name == copy.stream);
        if let Some(stream) = stream {
            stream.consumers.push(jetstream::feeding_consumer(copy, *span, tenant.jetstream));
        }
    }
    let inbox = |u: &raw::User| inbox_prefix(value(&u.inbox).unwrap_or(Inbox::Private), &u.name.value);
    let inboxes: Vec<String> = raw.user.iter().map(inbox).collect();
    let mut users: Vec<User> = raw.user.iter().map(|u| user(u, &tenant, &inboxes, roles, diagnostics)).collect();
    if tenant.jetstream.is_some() && !users.iter().any(User::is_provisioner) {
        users.push(provisioner(&tenant));
    }
    let is_suspended = value(&raw.suspended).unwrap_or_default();
    (tenant.suspended, tenant.users) = users.into_iter().partition(|user| is_suspended && !user.is_provisioner());
    tenant
}

/// The implied provisioner, for a tenant with JetStream whose registry entry declares none.
fn provisioner(tenant: &Tenant) -> User {
    let user = name(UserName::parse, PROVISIONER);
    let holder = Holder { tenant, user: &user, inbox: Inbox::Private, inboxes: &[] };
    User {
        permissions: BuiltIn::Provisioner.permissions(holder),
        role: name(RoleName::parse, PROVISIONER),
        span: tenant.span,
        credential: Credential::Nkey { generation: 1 },
        inbox: Inbox::Private,
        about: About::default(),
        name: user,
    }
}

/// Orders streams so that each follows the streams it sources from; the server rejects a
/// source that does not exist yet.
fn streams(raw: &raw::Tenant, limits: Option<JetStream>, copies: &[StreamCopy]) -> Vec<Stream> {
    let streams = raw.stream.iter().map(|s| jetstream::stream(s, limits, copies));
    let stored = raw.bucket.iter().map(jetstream::bucket).chain(raw.object_store.iter().map(jetstream::object_store));
    let (mut made, mut open): (Vec<Stream>, Vec<Stream>) = streams.chain(stored).partition(|s| s.origins.is_empty());
    while !open.is_empty() {
        let is_ready = |s: &Stream| s.origins.iter().all(|o| made.iter().any(|m| m.name == *o));
        let (ready, waiting): (Vec<Stream>, Vec<Stream>) = open.into_iter().partition(is_ready);
        if ready.is_empty() {
            // A cycle, which validation reports.
            made.extend(waiting);
            break;
        }
        made.extend(ready);
        open = waiting;
    }
    made
}

fn user(
    raw: &raw::User,
    tenant: &Tenant,
    inboxes: &[String],
    roles: &Roles<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> User {
    let role = value(&raw.role).unwrap_or_else(|| name(RoleName::parse, defaults::ROLE));
    let inbox = value(&raw.inbox).unwrap_or(Inbox::Private);
    let holder = Holder { tenant, user: &raw.name.value, inbox, inboxes };
    let permissions = match (BuiltIn::named(role.as_str()), roles.get(role.as_str())) {
        (Some(built_in), _) => built_in.permissions(holder),
        (None, Some((written, declared))) => {
            report_foreign_patterns(raw, written, holder, diagnostics);
            declared.permissions(holder)
        }
        // Validation has reported the unknown role; denying everything is the safe choice.
        (None, None) => Permissions { publish: Grant::Nothing, subscribe: Grant::Nothing },
    };
    User {
        name: raw.name.value.clone(),
        about: about(&raw.description, &raw.owner, &raw.contact),
        span: raw.name.span,
        role,
        credential: credential(&raw.auth, &raw.generation, &raw.password_env, &raw.public_key),
        inbox,
        permissions,
    }
}

/// Reports patterns of a declared role that expand to subjects outside the tenant's subjects
/// and imports. Permissions are the second layer of isolation, besides the account.
fn report_foreign_patterns(raw: &raw::User, role: &raw::Role, holder: Holder<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let inside = |subject: &crate::subject::Subject| {
        subject.first_token().starts_with('$')
            || subject.as_str() == format!("{}.>", crate::model::inbox_prefix(holder.inbox, holder.user))
            || holder.tenant.subjects.iter().any(|own| own.contains(subject))
            || holder.tenant.imports.iter().any(|import| import.subject.contains(subject))
    };
    for pattern in role.publish.iter().chain(&role.subscribe) {
        let Some(subject) = pattern.value.0.expand(holder).into_iter().find(|s| !inside(s)) else { continue };
        diagnostics.push(
            Diagnostic::error(
                codes::FOREIGN_SUBJECT,
                pattern.span,
                format!(
                    "for `{}/{}` this is `{subject}`, outside the tenant's subjects",
                    holder.tenant.name, raw.name.value
                ),
            )
            .related(raw.name.span, "has this role")
            .hint("write {subject}, begin with {tenant}, or declare a [[share]]"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::units::{Duration, Size};
    use crate::registry::testing::{codes_of, codes_with, load_text, model_of, model_with, tenant, user};
    use crate::subject::Subject;

    const MINIMAL: &str = "version = 1\n[[tenant]]\nname = \"T\"\n[[tenant.user]]\nname = \"app\"\n";

    #[test]
    fn the_defaults_of_server_and_system_account_are_filled_in() {
        let model = model_of(MINIMAL);
        let server = &model.server;
        assert_eq!((server.name.as_str(), server.image.as_str()), ("nats", defaults::IMAGE));
        assert_eq!((server.client.to_string().as_str(), server.monitor), ("127.0.0.1:4222", None));
        assert_eq!(server.url, "nats://127.0.0.1:4222");
        assert_eq!((server.max_payload, server.max_pending), (Size(1 << 20), Size(64 << 20)));
        assert_eq!((server.max_connections, server.write_deadline), (1024, Duration::from_secs(10)));
        assert_eq!((server.debug, server.trace, server.log_utc), (false, false, true));
        assert!(server.jetstream.is_none());
        assert_eq!(model.root, Root::Development);
        assert_eq!((model.bcrypt.derived, model.bcrypt.supplied), (8, 11));
        assert_eq!(model.system.account.as_str(), "SYS");
        let users: Vec<_> = model.system.users.iter().map(|u| (u.name.as_str(), u.credential.clone())).collect();
        assert_eq!(users, [("sys_admin", Credential::Nkey { generation: 1 })]);
        assert_eq!(model.system.users[0].permissions.publish, Grant::Everything);
    }

    #[test]
    fn the_defaults_of_a_tenant_and_its_user_are_filled_in() {
        let model = model_of(MINIMAL);
        let tenant = tenant(&model, "T");
        assert_eq!(tenant.subjects.iter().map(Subject::as_str).collect::<Vec<_>>(), ["T.>"]);
        let Limits { connections, subscriptions, payload } = tenant.limits;
        assert_eq!((connections, subscriptions, payload), (100, 1000, Size(1 << 20)));
        assert!(tenant.jetstream.is_none() && tenant.provisioner().is_none());
        let app = user(tenant, "app");
        assert_eq!((app.role.as_str(), app.inbox), ("app", Inbox::Private));
        assert_eq!(app.credential, Credential::Nkey { generation: 1 });
    }

    #[test]
    fn what_the_registry_sets_is_kept() {
        let text = "version = 1\n[server]\nname = \"n\"\nclient = \"127.0.0.2:1\"\nmax_payload = \"2MiB\"\nmax_connections = 7\n\
            write_deadline = \"3s\"\n[server.log]\nlevel = \"debug\"\nutc = false\n[server.jetstream]\nstorage = \"1GiB\"\n\
            [auth]\nbcrypt_cost = 5\n[[tenant]]\nname = \"T\"\nsubjects = [\"a.>\", \"b\"]\n[tenant.limits]\nconnections = 6\n\
            [tenant.jetstream]\nstorage = \"1MiB\"\nstreams = 3\n[[tenant.user]]\nname = \"u\"\ninbox = \"default\"\n";
        let model = model_of(text);
        let server = &model.server;
        assert_eq!((server.name.as_str(), server.url.as_str()), ("n", "nats://127.0.0.2:1"));
        assert_eq!((server.max_payload, server.max_connections), (Size(2 << 20), 7));
        assert_eq!((server.debug, server.trace, server.log_utc), (true, false, false));
        assert_eq!(server.jetstream.map(|j| (j.memory, j.storage)), Some((Size(0), Size(1 << 30))));
        assert_eq!((model.bcrypt.derived, model.bcrypt.supplied), (5, 5));
        let tenant = tenant(&model, "T");
        assert_eq!(tenant.subjects.iter().map(Subject::as_str).collect::<Vec<_>>(), ["a.>", "b"]);
        // The payload that is not set follows the server's.
        assert_eq!((tenant.limits.connections, tenant.limits.payload), (6, Size(2 << 20)));
        let jetstream = tenant.jetstream.expect("JetStream");
        assert_eq!((jetstream.memory, jetstream.storage, jetstream.streams), (Size(0), Size(1 << 20), 3));
        assert_eq!((jetstream.consumers, jetstream.max_ack_pending), (20, 10_000));
        assert_eq!(user(tenant, "u").inbox_prefix(), "_INBOX");
    }

    #[test]
    fn a_listener_on_every_address_is_dialled_on_loopback() {
        let keys = "[keys]\nroot = \"env:KEY\"\n";
        let model =
            model_of(&MINIMAL.replace("[[tenant]]", &format!("{keys}[server]\nclient = \"0.0.0.0:4223\"\n[[tenant]]")));
        assert_eq!(model.server.url, "nats://127.0.0.1:4223");
    }

    #[test]
    fn each_way_to_declare_a_credential_is_lowered() {
        let key = "UCFHWLYDLMVQXOYBXYR6JUEUA4QQ27FXLXHWWTUU6XRMJFAPDLUCMB7P";
        let cases = [
            (String::new(), Credential::Nkey { generation: 1 }),
            ("auth = \"nkey\"\ngeneration = 4".to_owned(), Credential::Nkey { generation: 4 }),
            ("auth = \"password\"\ngeneration = 2".to_owned(), Credential::Password { generation: 2 }),
            (
                "auth = \"password\"\npassword_env = \"P\"".to_owned(),
                Credential::PasswordFromEnv { variable: "P".to_owned(), generation: 1 },
            ),
            (format!("public_key = \"{key}\""), Credential::PublicKey(key.to_owned())),
        ];
        for (keys, credential) in cases {
            let model = model_of(&format!("{MINIMAL}{keys}\n"));
            assert_eq!(user(tenant(&model, "T"), "app").credential, credential, "{keys}");
        }
    }

    #[test]
    fn two_shares_of_one_subject_are_one_export_and_an_import_each() {
        let third = "[[tenant]]\nname = \"THIRD\"\n[[tenant.user]]\nname = \"u\"\n";
        let share =
            |to: &str, subject: &str| format!("[[share]]\nfrom = \"T\"\nto = [\"{to}\"]\nstream = \"{subject}\"\n");
        let same = model_with(&format!("{third}{}{}", share("OTHER", "T.x"), share("THIRD", "T.x")));
        let exports = &tenant(&same, "T").exports;
        assert_eq!(exports.len(), 1);
        assert_eq!(exports[0].to.iter().map(AccountName::as_str).collect::<Vec<_>>(), ["OTHER", "THIRD"]);
        for importer in ["OTHER", "THIRD"] {
            let imports = &tenant(&same, importer).imports;
            assert_eq!(
                imports.iter().map(|i| (i.from.as_str(), i.subject.as_str())).collect::<Vec<_>>(),
                [("T", "T.x")]
            );
        }
        let different = model_with(&format!("{third}{}{}", share("OTHER", "T.x"), share("THIRD", "T.y")));
        assert_eq!(tenant(&different, "T").exports.len(), 2, "the control");
    }

    #[test]
    fn a_stream_and_a_service_of_one_subject_are_two_exports() {
        let model = model_with(
            "[[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\nstream = \"T.x\"\n[[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\nservice = \"T.x\"\n",
        );
        let kinds: Vec<_> = tenant(&model, "T").exports.iter().map(|e| e.kind).collect();
        assert_eq!(kinds, [ShareKind::Stream, ShareKind::Service]);
    }

    #[test]
    fn each_stream_follows_the_streams_it_sources_from() {
        let stream = |name: &str, sources: &[&str]| {
            let subjects = if sources.is_empty() { format!("subjects = [\"T.{name}\"]\n") } else { String::new() };
            let sources: String =
                sources.iter().map(|s| format!("[[tenant.stream.source]]\nname = \"{s}\"\n")).collect();
            format!("[[tenant.stream]]\nname = \"{name}\"\n{subjects}{sources}")
        };
        let order = |text: String| -> Vec<String> {
            tenant(&model_with(&text), "T").streams.iter().map(|s| s.name.to_string()).collect()
        };
        let chain = [stream("c", &["b"]), stream("b", &["a"]), stream("a", &[])].concat();
        assert_eq!(order(chain), ["a", "b", "c"]);
        let diamond = [stream("d", &["b", "c"]), stream("c", &["a"]), stream("a", &[]), stream("b", &["a"])].concat();
        assert_eq!(order(diamond), ["a", "c", "b", "d"]);
        // The control: without sources the order is the registry's.
        assert_eq!(order([stream("c", &[]), stream("b", &[]), stream("a", &[])].concat()), ["c", "b", "a"]);
    }

    #[test]
    fn a_mirror_follows_its_stream_and_a_cycle_is_refused() {
        let mirror = "[[tenant.stream]]\nname = \"M\"\nmirror = { name = \"S\" }\n";
        let origin = "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.s\"]\n";
        let model = model_with(&format!("{mirror}{origin}"));
        assert_eq!(tenant(&model, "T").streams.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["S", "M"]);
        let back = "[[tenant.stream]]\nname = \"S\"\nmirror = { name = \"M\" }\n";
        assert!(codes_with(&format!("{mirror}{back}")).iter().all(|code| *code == codes::ORIGIN_CYCLE));
    }

    #[test]
    fn a_tenant_with_jetstream_has_a_provisioner_declared_or_implied() {
        let implied = model_with("");
        let provisioner = tenant(&implied, "T").provisioner().expect("a provisioner");
        assert_eq!((provisioner.name.as_str(), provisioner.role.as_str()), (PROVISIONER, PROVISIONER));
        assert_eq!(provisioner.inbox_prefix(), "_INBOX_provisioner");
        assert!(tenant(&implied, "T").developers().all(|u| u.name.as_str() == "app"));
        let declared = model_with("[[tenant.user]]\nname = \"ops\"\nrole = \"provisioner\"\ngeneration = 3\n");
        let users: Vec<_> = tenant(&declared, "T").users.iter().map(|u| u.name.as_str()).collect();
        assert_eq!(users, ["app", "ops"]);
        let without = model_of(MINIMAL);
        assert!(tenant(&without, "T").provisioner().is_none());
    }

    #[test]
    fn a_shared_stream_gets_a_consumer_and_both_tenants_know_the_copy() {
        let share = "[[share]]\nfrom = \"OTHER\"\nto = [\"T\"]\njetstream = \"THEIRS\"\nfilter = \"OTHER.s.a\"\n";
        let copy =
            "[[tenant.stream]]\nname = \"COPY\"\n[[tenant.stream.source]]\nname = \"THEIRS\"\nfrom = \"OTHER\"\n";
        let model = model_with(&format!("{copy}{share}"));
        let (exporter, importer) = (tenant(&model, "OTHER"), tenant(&model, "T"));
        assert_eq!(exporter.stream_exports, importer.stream_imports);
        let [feeding] = exporter.streams[0].consumers.as_slice() else { panic!("{:?}", exporter.streams) };
        assert_eq!(feeding.name.as_str(), "OTHER_to_T");
        assert_eq!(feeding.config.get("filter_subject"), "OTHER.s.a");
        assert_eq!(feeding.config.get("deliver_subject"), "JS.OTHER.THEIRS.to.T");
        assert_eq!(feeding.config.get("idle_heartbeat"), 1_000_000_000);
        let source = &importer.streams[0].config.get("sources")[0];
        assert_eq!(source["external"]["api"], "JS.OTHER.API");
        assert_eq!(source["consumer"]["name"], "OTHER_to_T");
        assert_eq!(importer.streams[0].copies, importer.stream_imports);
        assert!(importer.streams[0].origins.is_empty());
    }

    #[test]
    fn retired_names_are_kept_with_the_last_generation() {
        let entries = "retired = [{ tenant = \"OLD\" }, { tenant = \"T\", user = \"u\", generation = 3 }]\n";
        let model = model_of(&MINIMAL.replace("[[tenant]]", &format!("{entries}[[tenant]]")));
        let retired =
            model.retired.iter().map(|r| (r.tenant.as_str(), r.user.as_ref().map(UserName::as_str), r.generation));
        assert_eq!(retired.collect::<Vec<_>>(), [("OLD", None, 1), ("T", Some("u"), 3)]);
    }

    #[test]
    fn a_declared_role_must_stay_inside_the_subjects_of_each_of_its_tenants() {
        let role = |publish: &str| format!("{MINIMAL}role = \"r\"\n[role.r]\npublish = [\"{publish}\"]\n");
        for inside in ["{subject}", "{tenant}.{user}.x", "T.x", "$JS.API.INFO", "{inbox}"] {
            assert_eq!(codes_of(&role(inside)), [""; 0], "{inside}");
        }
        for outside in ["X.y", "{user}.x", "TT.>"] {
            assert_eq!(codes_of(&role(outside)), [codes::FOREIGN_SUBJECT], "{outside}");
        }
    }

    #[test]
    fn a_mistake_in_a_role_is_reported_once_for_all_of_its_users() {
        let users = "role = \"r\"\n[[tenant.user]]\nname = \"v\"\nrole = \"r\"\n";
        let loaded = load_text(&format!("{MINIMAL}{users}[role.r]\npublish = [\"X.y\"]\nsubscribe = [\"Y.z\"]\n"));
        assert_eq!(loaded.diagnostics.len(), 2, "once for each pattern: {:?}", loaded.diagnostics);
        assert!(loaded.model.is_none());
    }
}
