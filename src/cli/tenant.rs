//! `tenantry tenant`.

use std::path::PathBuf;

use serde::Serialize;

use super::{Context, command_of_change};
use crate::diag::first_few;
use crate::error::{Error, Exit};
use crate::model::jetstream::StreamKind;
use crate::model::names::BucketName;
use crate::model::permissions::{Grant, Permissions};
use crate::model::{About, Model, ShareKind, Tenant};
use crate::registry::edit::{Editor, NewTenant, NewUser};

/// Add, remove and show tenants.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Add a tenant with its first user.
    Add(AddArgs),
    /// Remove a tenant. Its streams stay on the server's disk.
    Remove {
        /// The tenant.
        #[arg(value_name = "TENANT")]
        name: String,
        /// Also remove what it shares and what is shared with it.
        #[arg(long)]
        with_shares: bool,
    },
    /// Keep a tenant's users out. Its streams and credentials stay.
    Suspend {
        /// The tenant.
        #[arg(value_name = "TENANT")]
        name: String,
    },
    /// Let the users of a suspended tenant in again, with the credentials that they had.
    Resume {
        /// The tenant.
        #[arg(value_name = "TENANT")]
        name: String,
    },
    /// List the tenants.
    List,
    /// Show one tenant: limits, users and what each may do.
    Show {
        /// The tenant.
        #[arg(value_name = "TENANT")]
        name: String,
    },
}

#[derive(Debug, clap::Args)]
struct AddArgs {
    /// The tenant's name, which is its account's.
    #[arg(value_name = "TENANT")]
    name: String,
    /// A subject of the tenant; may be repeated. Default "<TENANT>.>".
    #[arg(long = "subject", value_name = "SUBJECT")]
    subjects: Vec<String>,
    /// JetStream disk space, such as 512MiB. Default: no JetStream.
    #[arg(long, value_name = "SIZE")]
    storage: Option<String>,
    /// JetStream memory, such as 64MiB.
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// The first user's name.
    #[arg(long, value_name = "NAME", default_value = "app")]
    user: String,
    /// The first user's role.
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// The first user's kind of credential: nkey or password.
    #[arg(long, value_name = "KIND")]
    auth: Option<String>,
    /// Write it into this file, which the registry must include.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

pub fn run(context: &Context, args: &Args) -> Result<Exit, Error> {
    match &args.command {
        Command::Add(args) => add(context, args),
        Command::Remove { name, with_shares } => remove(context, name, *with_shares),
        Command::Suspend { name } => suspend(context, name, true),
        Command::Resume { name } => suspend(context, name, false),
        Command::List => list(context),
        Command::Show { name } => show(context, name),
    }
}

fn add(context: &Context, args: &AddArgs) -> Result<Exit, Error> {
    let (mut editor, valid) = Editor::open(&context.registry)?;
    if valid.model.tenants.iter().any(|t| t.name.as_str() == args.name) {
        return Err(Error::already_there(
            format!("tenant `{}`", args.name),
            format!("`tenantry tenant show {}` shows it", args.name),
        ));
    }
    let new = NewTenant {
        name: args.name.clone(),
        subjects: args.subjects.clone(),
        storage: args.storage.clone(),
        memory: args.memory.clone(),
        user: NewUser { name: args.user.clone(), role: args.role.clone(), auth: args.auth.clone(), public_key: None },
    };
    editor.add_tenant(&new, args.file.as_deref())?;
    let saved = editor.save()?;
    context.ui.done(&format!("tenant `{}` added with user `{}`", args.name, args.user));
    if let Some(tenant) = saved.model.tenants.iter().find(|t| t.name.as_str() == args.name) {
        context.ui.json(&TenantDocument::from_tenant(tenant));
    }
    let up = command_of_change(&valid.model);
    context.next(&format!("{up}, then tenantry creds {}/{}", args.name, args.user));
    Ok(Exit::Ok)
}

fn remove(context: &Context, name: &str, with_shares: bool) -> Result<Exit, Error> {
    let (mut editor, valid) = Editor::open(&context.registry)?;
    let tenant = find(&valid.model, name)?;
    let had_streams = tenant.jetstream.is_some();
    editor.remove_tenant(name, with_shares)?;
    editor.save()?;
    context.ui.done(&format!("tenant `{name}` removed from the registry"));
    context.ui.json(&serde_json::json!({ "removed": name }));
    let streams = if had_streams { " and its streams on the server's disk" } else { "" };
    context.ui.note(&format!(
        "the name stays under [[retired]], so that no later tenant `{name}` gets its credentials{streams}"
    ));
    context.next(command_of_change(&valid.model));
    Ok(Exit::Ok)
}

/// Suspends a tenant, or ends that.
fn suspend(context: &Context, name: &str, is_suspended: bool) -> Result<Exit, Error> {
    let (mut editor, valid) = Editor::open(&context.registry)?;
    let tenant = find(&valid.model, name)?;
    let done = if is_suspended { "suspended" } else { "resumed" };
    if tenant.is_suspended() == is_suspended {
        let state = if is_suspended { "is suspended already" } else { "is not suspended" };
        return Err(Error::usage(
            format!("tenant `{name}` {state}"),
            format!("`tenantry tenant show {name}` shows it"),
        ));
    }
    editor.suspend_tenant(name, is_suspended)?;
    editor.save()?;
    context.ui.done(&format!("tenant `{name}` {done} in the registry"));
    context.ui.json(&serde_json::json!({ done: name }));
    for export in tenant.exports.iter().filter(|_| is_suspended) {
        let silent = match export.kind {
            ShareKind::Service => "is answered by nobody then",
            ShareKind::Stream => "has no new messages then",
        };
        context.ui.note(&format!(
            "{} `{}`, which it shares with {}, {silent}",
            export.kind.as_str(),
            export.subject,
            first_few(export.to.iter().map(ToString::to_string))
        ));
    }
    let up = command_of_change(&valid.model);
    let server = valid.model.push.as_ref().map(|_| format!(" --server {}", valid.model.server.url));
    let server = server.unwrap_or_default();
    context.next(&format!("tenantry plan{server}, which says who is disconnected; then {up}"));
    Ok(Exit::Ok)
}

fn find<'m>(model: &'m Model, name: &str) -> Result<&'m Tenant, Error> {
    let known: Vec<&str> = model.tenants.iter().map(|t| t.name.as_str()).collect();
    model.tenants.iter().find(|t| t.name.as_str() == name).ok_or_else(|| Error::unknown_name("tenant", name, &known))
}

#[derive(Serialize)]
struct TenantDocument<'m> {
    name: &'m str,
    #[serde(flatten)]
    about: &'m About,
    suspended: bool,
    subjects: Vec<&'m str>,
    limits: serde_json::Value,
    jetstream: Option<serde_json::Value>,
    streams: Vec<&'m str>,
    buckets: Vec<&'m str>,
    object_stores: Vec<&'m str>,
    exports: Vec<serde_json::Value>,
    imports: Vec<serde_json::Value>,
    copied: Vec<serde_json::Value>,
    copies: Vec<serde_json::Value>,
    users: Vec<UserDocument<'m>>,
}

#[derive(Serialize)]
struct UserDocument<'m> {
    name: &'m str,
    role: &'m str,
    credential: &'m str,
    inbox_prefix: String,
    publish: Vec<String>,
    subscribe: Vec<String>,
    no_queue_on: Vec<String>,
}

impl<'m> TenantDocument<'m> {
    fn from_tenant(tenant: &'m Tenant) -> Self {
        use serde_json::json;
        let Tenant {
            name,
            about,
            span: _,
            subjects,
            limits,
            jetstream,
            users,
            suspended,
            streams,
            buckets,
            object_stores,
            exports,
            imports,
            stream_exports,
            stream_imports,
        } = tenant;
        Self {
            name: name.as_str(),
            about,
            suspended: !suspended.is_empty(),
            subjects: subjects.iter().map(crate::subject::Subject::as_str).collect(),
            limits: json!({
                "connections": limits.connections,
                "subscriptions": limits.subscriptions,
                "payload": limits.payload.bytes(),
            }),
            jetstream: jetstream.map(|j| {
                json!({
                    "memory": j.memory.bytes(),
                    "storage": j.storage.bytes(),
                    "streams": j.streams,
                    "consumers": j.consumers,
                    "max_ack_pending": j.max_ack_pending,
                })
            }),
            streams: streams.iter().filter(|s| s.kind == StreamKind::Stream).map(|s| s.name.as_str()).collect(),
            buckets: buckets.iter().map(BucketName::as_str).collect(),
            object_stores: object_stores.iter().map(BucketName::as_str).collect(),
            exports: exports.iter().map(|e| json!({ "kind": e.kind, "subject": e.subject, "to": e.to })).collect(),
            imports: imports.iter().map(|i| json!({ "kind": i.kind, "subject": i.subject, "from": i.from })).collect(),
            copied: stream_exports.iter().map(|c| json!({ "stream": c.stream.as_str(), "to": c.to })).collect(),
            copies: stream_imports.iter().map(|c| json!({ "stream": c.stream.as_str(), "from": c.from })).collect(),
            users: users
                .iter()
                .chain(suspended)
                .map(|u| UserDocument {
                    name: u.name.as_str(),
                    role: u.role.as_str(),
                    credential: u.credential.kind(),
                    inbox_prefix: u.inbox_prefix(),
                    publish: granted(&u.permissions.publish),
                    subscribe: granted(&u.permissions.subscribe),
                    no_queue_on: no_queues(&u.permissions),
                })
                .collect(),
        }
    }
}

fn granted(grant: &Grant) -> Vec<String> {
    match grant {
        Grant::Nothing => Vec::new(),
        Grant::Everything => vec![">".into()],
        Grant::Only(allowed) => allowed.subjects().iter().map(ToString::to_string).collect(),
    }
}

fn no_queues(permissions: &Permissions) -> Vec<String> {
    match &permissions.subscribe {
        Grant::Only(allowed) => allowed.no_queue_on().iter().map(ToString::to_string).collect(),
        Grant::Nothing | Grant::Everything => Vec::new(),
    }
}

fn list(context: &Context) -> Result<Exit, Error> {
    let valid = context.load()?;
    let tenants = &valid.model.tenants;
    let row = |t: &Tenant| {
        vec![
            if t.is_suspended() { format!("{} (suspended)", t.name) } else { t.name.to_string() },
            t.subjects.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            t.declared_users().count().to_string(),
            t.streams.len().to_string(),
            t.jetstream.map_or_else(|| "-".to_owned(), |j| j.storage.to_string()),
            t.jetstream.map_or_else(|| "-".to_owned(), |j| j.memory.to_string()),
        ]
    };
    context
        .ui
        .table(&["TENANT", "SUBJECTS", "USERS", "STREAMS", "STORAGE", "MEMORY"], tenants.iter().map(row).collect());
    context.ui.json(&tenants.iter().map(TenantDocument::from_tenant).collect::<Vec<_>>());
    Ok(Exit::Ok)
}

fn show(context: &Context, name: &str) -> Result<Exit, Error> {
    let valid = context.load()?;
    let tenant = find(&valid.model, name)?;
    context.ui.json(&TenantDocument::from_tenant(tenant));
    if context.ui.is_json() {
        return Ok(Exit::Ok);
    }
    let suspended = if tenant.is_suspended() { ", suspended: its users may not log in" } else { "" };
    let mut lines = vec![format!("{}{suspended}", tenant.name)];
    let subjects: Vec<_> = tenant.subjects.iter().map(ToString::to_string).collect();
    lines.push(format!("  subjects       {}", subjects.join(" ")));
    let limits = tenant.limits;
    lines.push(format!("  connections    {}, each with {} subscriptions", limits.connections, limits.subscriptions));
    lines.push(format!("  payload        {}", limits.payload));
    lines.push(match tenant.jetstream {
        Some(j) => format!(
            "  jetstream      {} disk, {} memory, {} streams with {} consumers each",
            j.storage, j.memory, j.streams, j.consumers
        ),
        None => "  jetstream      off".into(),
    });
    for export in &tenant.exports {
        let to: Vec<_> = export.to.iter().map(ToString::to_string).collect();
        lines.push(format!("  offers         {} {} to {}", export.kind.as_str(), export.subject, to.join(" ")));
    }
    for import in &tenant.imports {
        lines.push(format!("  gets           {} {} from {}", import.kind.as_str(), import.subject, import.from));
    }
    for copy in &tenant.stream_exports {
        lines.push(format!("  offers         a copy of stream {} to {}", copy.stream, copy.to));
    }
    for copy in &tenant.stream_imports {
        lines.push(format!("  gets           a copy of stream {} from {}", copy.stream, copy.from));
    }
    for user in tenant.declared_users() {
        lines.push(format!("\n  {} ({}, {})", user.name, user.role, user.credential.kind()));
        lines.push(format!("    inbox prefix {}", user.inbox_prefix()));
        describe(&mut lines, "publish", &user.permissions.publish);
        describe(&mut lines, "subscribe", &user.permissions.subscribe);
        lines.extend(no_queues(&user.permissions).iter().map(|s| format!("    no queue on  {s}")));
    }
    context.ui.result(&lines.join("\n"));
    Ok(Exit::Ok)
}

fn describe(lines: &mut Vec<String>, side: &str, grant: &Grant) {
    let subjects = granted(grant);
    if subjects.is_empty() {
        lines.push(format!("    {side:<12} nothing"));
    }
    for (i, subject) in subjects.iter().enumerate() {
        lines.push(format!("    {:<12} {subject}", if i == 0 { side } else { "" }));
    }
}
