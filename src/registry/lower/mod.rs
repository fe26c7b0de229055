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
    BcryptCost, Credential, Export, Import, Inbox, JetStream, Limits, Model, Retired, Root, Server, ServerJetStream,
    ShareKind, StreamCopy, SystemAccount, Tenant, User, inbox_prefix,
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

/// A user of the system account, with unrestricted permissions.
fn operator(user: UserName, span: crate::diag::Span, credential: Credential) -> User {
    User {
        name: user,
        span,
        role: name(RoleName::parse, "operator"),
        credential,
        inbox: Inbox::Default,
        permissions: Permissions { publish: Grant::Everything, subscribe: Grant::Everything, responses: None },
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
    tenant.users = users;
    let payload = limits.and_then(|l| l.payload.get()).map_or(raw.name.span, |p| p.span);
    requests::fit_the_payload(&tenant, payload, diagnostics);
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
        (None, None) => Permissions { publish: Grant::Nothing, subscribe: Grant::Nothing, responses: None },
    };
    User {
        name: raw.name.value.clone(),
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
