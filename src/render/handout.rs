//! A tenant's page for its developers: what is theirs, and how to use it. It names no other tenant, no secret, and no command of
//! the operator's.

use std::time::Duration;

use serde::Serialize;

use super::context::literal;
use super::engine::Engine;
use super::{FileKind, user_path};
use crate::error::Error;
use crate::model::jetstream::{Config, Consumer, Stream, StreamKind};
use crate::model::permissions::Grant;
use crate::model::units::{self, Size};
use crate::model::{About, Credential, Model, Root, ShareKind, Tenant, User};

/// Where in the handout the credentials of a user are.
pub fn credential_path(user: &User, kind: FileKind) -> String {
    // As in the bundle, without the account's folder.
    let path = user_path("", user, kind);
    path.replacen("credentials//", "credentials/", 1)
}

/// `handout/tenant.md.hbs`.
#[derive(Serialize)]
struct Page<'m> {
    tenant: &'m str,
    about: Written<'m>,
    url: &'m str,
    development: bool,
    subjects: Vec<&'m str>,
    connections: u32,
    subscriptions: u32,
    payload: String,
    jetstream: Option<JetStream>,
    users: Vec<UserRow<'m>>,
    /// Whether any user has a description.
    described: bool,
    streams: Vec<StreamRow<'m>>,
    consumers: Vec<ConsumerRow<'m>>,
    stores: Vec<StoreRow<'m>>,
    shares: Vec<ShareRow>,
    example: Example<'m>,
    /// Whether the example's user may publish.
    publishes: bool,
    js: Option<JetStreamExample>,
    names_acknowledgements: bool,
}

#[derive(Serialize)]
struct Written<'m> {
    description: &'m str,
    owner: &'m str,
    contact: &'m str,
}

impl<'m> From<&'m About> for Written<'m> {
    fn from(about: &'m About) -> Self {
        let text = |text: &'m Option<String>| text.as_deref().unwrap_or_default();
        Self { description: text(&about.description), owner: text(&about.owner), contact: text(&about.contact) }
    }
}

#[derive(Serialize)]
struct JetStream {
    storage: String,
    memory: String,
    streams: u32,
    consumers: u32,
}

#[derive(Serialize)]
struct UserRow<'m> {
    name: &'m str,
    role: &'m str,
    may: &'static str,
    inbox_prefix: String,
    credential: String,
    r#for: &'m str,
}

#[derive(Serialize)]
struct StreamRow<'m> {
    name: &'m str,
    subjects: Vec<&'m str>,
    retention: &'static str,
    keeps: String,
    description: &'m str,
}

#[derive(Serialize)]
struct ConsumerRow<'m> {
    name: &'m str,
    stream: &'m str,
    takes: Vec<&'m str>,
    kind: String,
    ack_wait: String,
    deliveries: String,
    batch: String,
    description: &'m str,
}

#[derive(Serialize)]
struct StoreRow<'m> {
    name: &'m str,
    kind: &'static str,
    keeps: String,
    description: &'m str,
}

#[derive(Serialize)]
struct ShareRow {
    kind: &'static str,
    subject: String,
    direction: &'static str,
}

#[derive(Serialize)]
struct Example<'m> {
    user: &'m str,
    subject: String,
    password: bool,
    env_file: String,
    nkey_file: String,
    inbox_prefix: String,
}

#[derive(Serialize)]
struct JetStreamExample {
    stream: String,
    subject: String,
    durable: String,
}

/// Renders a tenant's page. `users`: those whose credentials go with it. `url`: by which they reach the server.
pub fn page(model: &Model, engine: &Engine, tenant: &Tenant, users: &[&User], url: &str) -> Result<String, Error> {
    let is_usable = |user: &&&User| !matches!(user.credential, Credential::PublicKey(_));
    let publishes = |user: &&&User| publishes(tenant, user);
    let chosen =
        users.iter().filter(is_usable).find(publishes).or_else(|| users.iter().find(publishes)).or(users.first());
    let Some(user) = chosen else { unreachable!("a handout is for at least one user") };
    let subject = tenant.subjects.first().map(literal).unwrap_or_default();
    let rows: Vec<UserRow<'_>> = users.iter().map(|user| user_row(user)).collect();
    let page = Page {
        tenant: tenant.name.as_str(),
        about: (&tenant.about).into(),
        url,
        development: model.root == Root::Development,
        subjects: tenant.subjects.iter().map(crate::subject::Subject::as_str).collect(),
        connections: tenant.limits.connections,
        subscriptions: tenant.limits.subscriptions,
        payload: tenant.limits.payload.to_string(),
        jetstream: tenant.jetstream.map(|j| JetStream {
            storage: j.storage.to_string(),
            memory: j.memory.to_string(),
            streams: j.streams,
            consumers: j.consumers,
        }),
        described: rows.iter().any(|row| !row.r#for.is_empty()),
        users: rows,
        streams: tenant.plain_streams().map(stream_row).collect(),
        consumers: tenant
            .plain_streams()
            .flat_map(|stream| own_consumers(stream).map(move |c| consumer_row(stream, c)))
            .collect(),
        stores: tenant.streams.iter().filter_map(store_row).collect(),
        shares: share_rows(tenant),
        example: Example {
            user: user.name.as_str(),
            subject,
            password: matches!(user.credential, Credential::Password { .. } | Credential::PasswordFromEnv { .. }),
            env_file: credential_path(user, FileKind::Env),
            nkey_file: credential_path(user, FileKind::Seed),
            inbox_prefix: user.inbox_prefix(),
        },
        publishes: self::publishes(tenant, user),
        js: jetstream_example(tenant, user),
        names_acknowledgements: model.names_acknowledgements(),
    };
    engine.render("handout/tenant.md.hbs", &page)
}

/// Whether a user may publish to the tenant's subjects.
fn publishes(tenant: &Tenant, user: &User) -> bool {
    let Some(own) = tenant.subjects.first() else { return false };
    match &user.permissions.publish {
        Grant::Everything => true,
        Grant::Nothing => false,
        Grant::Only(list) => list.subjects().iter().any(|granted| granted.contains(own)),
    }
}

fn user_row(user: &User) -> UserRow<'_> {
    let may = match user.role.as_str() {
        "admin" => "everything in the account: its subjects, streams, buckets and object stores, and making new ones",
        "app" => "publish and subscribe to its subjects; use the streams, buckets and object stores below",
        "publisher" => "publish to its subjects and into its streams; read nothing",
        "subscriber" => "subscribe to its subjects; read the streams, buckets and object stores below; publish nothing",
        "monitor" => "read counters and configuration; no messages",
        _ => "what its role lists",
    };
    UserRow {
        name: user.name.as_str(),
        role: user.role.as_str(),
        may,
        inbox_prefix: user.inbox_prefix(),
        credential: match &user.credential {
            Credential::PublicKey(_) => "nkey, whose seed you hold".to_owned(),
            Credential::PasswordFromEnv { .. } => "password, which you were told".to_owned(),
            other => other.kind().to_owned(),
        },
        r#for: user.about.description.as_deref().unwrap_or_default(),
    }
}

/// The consumers of a stream but those that feed copies of other tenants.
fn own_consumers(stream: &Stream) -> impl Iterator<Item = &Consumer> {
    stream.consumers.iter().filter(|consumer| consumer.config.get("ack_policy") != "flow_control")
}

fn description(config: &Config) -> &str {
    config.get("description").as_str().unwrap_or_default()
}

/// A number of nanoseconds as the registry writes it. `None`: no limit.
fn period(config: &Config, key: &str) -> Option<String> {
    let nanos = config.get(key).as_u64().filter(|nanos| *nanos > 0)?;
    Some(units::Duration(Duration::from_nanos(nanos)).to_string())
}

/// What a stream keeps, as a list of its limits.
fn keeps(config: &Config) -> String {
    let number = |key: &str| config.get(key).as_u64().filter(|number| *number > 0);
    let limits = [
        period(config, "max_age"),
        number("max_bytes").map(|bytes| Size(bytes).to_string()),
        number("max_msgs").map(|most| format!("{most} messages")),
        number("max_msgs_per_subject").map(|most| format!("{most} of each subject")),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    if limits.is_empty() { "as much as fits".to_owned() } else { format!("at most {}", limits.join(", ")) }
}

fn stream_row(stream: &Stream) -> StreamRow<'_> {
    StreamRow {
        name: stream.name.as_str(),
        subjects: stream.subjects.iter().map(crate::subject::Subject::as_str).collect(),
        retention: match stream.config.get("retention").as_str() {
            Some("workqueue") => "work queue: gone when one consumer has acknowledged it",
            Some("interest") => "interest: gone when every consumer has acknowledged it",
            _ => "limits",
        },
        keeps: keeps(&stream.config),
        description: description(&stream.config),
    }
}

fn consumer_row<'m>(stream: &'m Stream, consumer: &'m Consumer) -> ConsumerRow<'m> {
    let config = &consumer.config;
    let several = config.get("filter_subjects").as_array().map(|list| list.iter().filter_map(|s| s.as_str()).collect());
    let filters: Vec<&str> = several.unwrap_or_else(|| config.get("filter_subject").as_str().into_iter().collect());
    let number = |key: &str| config.get(key).as_u64().filter(|number| *number > 0);
    ConsumerRow {
        name: consumer.name.as_str(),
        stream: stream.name.as_str(),
        takes: filters,
        kind: match config.get("deliver_subject").as_str() {
            Some(subject) => format!("push, to {subject}"),
            None => "pull".to_owned(),
        },
        ack_wait: match config.get("ack_policy").as_str() {
            Some("none") => "no need".to_owned(),
            _ => period(config, "ack_wait").unwrap_or_else(|| "30s".to_owned()),
        },
        deliveries: number("max_deliver")
            .map_or_else(|| "until acknowledged".to_owned(), |most| format!("at most {most}")),
        batch: number("max_batch").map_or_else(|| "no limit".to_owned(), |most| most.to_string()),
        description: description(config),
    }
}

fn store_row(stream: &Stream) -> Option<StoreRow<'_>> {
    let (kind, prefix) = match stream.kind {
        StreamKind::Stream => return None,
        StreamKind::Bucket => ("key-value bucket", "KV_"),
        StreamKind::ObjectStore => ("object store", "OBJ_"),
    };
    Some(StoreRow {
        name: stream.name.as_str().trim_start_matches(prefix),
        kind,
        keeps: keeps(&stream.config).replace("of each subject", "values of each key"),
        description: description(&stream.config),
    })
}

fn share_rows(tenant: &Tenant) -> Vec<ShareRow> {
    let row = |kind: &'static str, subject: String, direction| ShareRow { kind, subject, direction };
    let received = tenant.imports.iter().map(|import| match import.kind {
        ShareKind::Stream => row("messages", import.subject.to_string(), "you receive them; never answer them"),
        ShareKind::Service => row("service", import.subject.to_string(), "you send requests"),
    });
    let offered = tenant.exports.iter().map(|export| match export.kind {
        ShareKind::Stream => row("messages", export.subject.to_string(), "others receive what you publish there"),
        ShareKind::Service => row("service", export.subject.to_string(), "others send requests, and you answer them"),
    });
    let copied = tenant.stream_exports.iter().map(|copy| row("stream", copy.stream.to_string(), "others copy it"));
    let copying =
        tenant.stream_imports.iter().map(|copy| row("stream", copy.stream.to_string(), "your own stream copies it"));
    received.chain(offered).chain(copied).chain(copying).collect()
}

/// A declared stream that the user may publish into and read.
fn jetstream_example(tenant: &Tenant, user: &User) -> Option<JetStreamExample> {
    if !matches!(user.role.as_str(), "app" | "admin") {
        return None;
    }
    let takes_new = |stream: &&Stream| {
        !stream.subjects.is_empty()
            && !matches!(stream.config.get("retention").as_str(), Some("workqueue" | "interest"))
    };
    let stream = tenant.plain_streams().find(takes_new)?;
    let (stream, subject) = (stream.name.to_string(), literal(stream.subjects.first()?));
    Some(JetStreamExample { stream, subject, durable: format!("example-{}", user.name) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::tests::model;

    const REGISTRY: &str = "[[tenant]]\nname = \"ACME\"\ndescription = \"Orders of the shop\"\nowner = \"Team Orders\"\ncontact = \"#orders\"\n\
        [tenant.jetstream]\nstorage = \"1GiB\"\n[[tenant.user]]\nname = \"app\"\ndescription = \"the shop\"\n[[tenant.user]]\nname = \"audit\"\nrole = \"monitor\"\n\
        [[tenant.stream]]\nname = \"ORDERS\"\nsubjects = [\"ACME.orders.>\"]\nmax_age = \"30d\"\nmax_bytes = \"64MiB\"\ndescription = \"every order\"\n\
        [[tenant.stream.consumer]]\nname = \"billing\"\nfilter = \"ACME.orders.paid\"\nmax_deliver = 3\nack_wait = \"5s\"\nmax_batch = 50\n\
        [[tenant.bucket]]\nname = \"flags\"\nhistory = 5\n[[tenant.object_store]]\nname = \"files\"\n\
        [[tenant]]\nname = \"RIVAL\"\n[[tenant.user]]\nname = \"spy\"\n\
        [[share]]\nfrom = \"ACME\"\nto = [\"RIVAL\"]\nservice = \"ACME.quote\"\n[[share]]\nfrom = \"RIVAL\"\nto = [\"ACME\"]\nstream = \"RIVAL.news\"\n";

    fn page_of(name: &str, user: Option<&str>) -> String {
        let model = model(REGISTRY);
        let tenant = model.tenants.iter().find(|tenant| tenant.name.as_str() == name).expect("a tenant");
        let users: Vec<&User> =
            tenant.developers().filter(|u| user.is_none_or(|user| u.name.as_str() == user)).collect();
        let engine = Engine::new(None).expect("templates");
        page(&model, &engine, tenant, &users, "nats://h:4222").expect("a page")
    }

    #[test]
    fn a_page_has_what_is_the_tenants_and_of_others_nothing() {
        let page = page_of("ACME", None);
        for words in [
            "Orders of the shop",
            "Owner: Team Orders. Help: #orders.",
            "| `app` | app |",
            "| the shop |",
            "| `ORDERS` | `ACME.orders.>` | limits | at most 30days, 64MiB | every order |",
            "| `billing` | `ORDERS` | `ACME.orders.paid` | pull | 5s | at most 3 | 50 |",
            "| `flags` | key-value bucket | at most 5 values of each key |",
            "| `files` | object store | as much as fits |",
            "| service | `ACME.quote` | others send requests, and you answer them |",
            "| messages | `RIVAL.news` | you receive them; never answer them |",
            "set -a; . ./credentials/app.env; set +a",
            "js.publish(\"ACME.orders.hello\"",
        ] {
            assert!(page.contains(words), "{words}: {page}");
        }
        // Of the other tenant it has the subject that it receives, and no more.
        assert_eq!(page.matches("RIVAL").count(), 1, "{page}");
        assert!(
            !page.contains("spy")
                && !page.contains("provisioner")
                && !page.contains("SYS")
                && !page.contains("tenantry")
        );
    }

    #[test]
    fn a_page_of_one_user_shows_that_one() {
        let page = page_of("ACME", Some("audit"));
        assert!(page.contains("| `audit` | monitor |") && !page.contains("| `app` |"), "{page}");
        assert!(!page.contains("### Python"), "it may publish nothing");
    }
}
