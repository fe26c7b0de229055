//! What differs between a tenant's entry in the registry and its account.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use serde_json::Value as Json;

use super::api::{Api, Failure};
use crate::model::Tenant;
use crate::model::jetstream::compared::{CONSUMER, Difference, Field, MARK, STREAM};
use crate::model::jetstream::{Stream, StreamKind};
use crate::subject::Subject;

/// What the server has of an account.
#[derive(Debug, Default)]
pub struct Actual {
    /// Streams by name.
    pub streams: BTreeMap<String, ActualStream>,
}

/// A stream on the server.
#[derive(Debug)]
pub struct ActualStream {
    /// Its configuration as the server wrote it.
    pub raw: Json,
    /// How many messages it holds.
    pub messages: u64,
    /// Durable consumers by name, as the server wrote their configuration.
    pub consumers: BTreeMap<String, ActualConsumer>,
}

/// A consumer on the server.
#[derive(Debug)]
pub struct ActualConsumer {
    /// Its configuration as the server wrote it.
    pub raw: Json,
    /// Messages that it has dealt with.
    pub acknowledged: u64,
}

/// Reads an account.
pub async fn read(api: &Api) -> Result<Actual, Failure> {
    let mut actual = Actual::default();
    for mut stream in api.list("STREAM.LIST", "streams").await? {
        let raw = stream["config"].take();
        let Some(name) = raw["name"].as_str().map(str::to_owned) else { continue };
        // Those that the server keeps for itself.
        if name.starts_with("$MQTT_") {
            continue;
        }
        let mut consumers = BTreeMap::new();
        if stream["state"]["consumer_count"].as_u64() != Some(0) {
            for mut consumer in api.list(&format!("CONSUMER.LIST.{name}"), "consumers").await? {
                let raw = consumer["config"].take();
                // Others come and go with the clients.
                let Some(name) = raw["durable_name"].as_str().map(str::to_owned) else { continue };
                let acknowledged = consumer["ack_floor"]["consumer_seq"].as_u64().unwrap_or_default();
                consumers.insert(name, ActualConsumer { raw, acknowledged });
            }
        }
        let messages = stream["state"]["messages"].as_u64().unwrap_or_default();
        actual.streams.insert(name, ActualStream { raw, messages, consumers });
    }
    Ok(actual)
}

/// What is to be done about a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Make it.
    Create,
    /// Change it where it is.
    Update,
    /// It cannot be changed where it is; it is left alone.
    Blocked,
    /// Delete it and make it again, as was asked for by name.
    Replace,
    /// Delete it, as was asked for by name.
    Delete,
    /// It was made from the registry and is not in it any more; it is left alone.
    Undeclared,
    /// Somebody else made it; it is left alone.
    Foreign,
}

impl Action {
    /// Whether `apply` does something about it.
    pub fn is_done(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Replace | Self::Delete)
    }

    /// Whether the server is not as the registry says because of it.
    pub fn is_open(self) -> bool {
        self.is_done() || self == Self::Blocked
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// What is to be done.
    pub action: Action,
    /// What it is about.
    pub kind: Kind,
    /// The stream.
    pub stream: String,
    /// The consumer, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
    /// Whether somebody changed it by hand.
    pub drift: bool,
    /// What differs.
    pub fields: Vec<Field>,
    /// Why it cannot be changed where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What goes with it: messages beyond a lower limit, consumers of others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The stream on the server that has its subjects and is not in the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<String>,
    /// The messages that a stream holds, or that a consumer has dealt with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
}

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A stream.
    Stream,
    /// A consumer.
    Consumer,
    /// A key-value bucket.
    Bucket,
    /// An object store.
    ObjectStore,
}

/// Streams and consumers that were named on the command line: `TENANT/STREAM`,
/// `TENANT/STREAM/CONSUMER`.
#[derive(Debug, Clone, Default)]
pub struct Named {
    /// May be deleted and made again.
    pub replace: HashSet<String>,
    /// May be deleted.
    pub delete: HashSet<String>,
}

/// How a stream or consumer is named on the command line.
pub fn address(tenant: &str, stream: &str, consumer: Option<&str>) -> String {
    consumer.map_or_else(|| format!("{tenant}/{stream}"), |consumer| format!("{tenant}/{stream}/{consumer}"))
}

/// Everything that differs, in the order in which it can be done: what frees
/// subjects and names first, then what takes them.
pub fn changes(tenant: &Tenant, actual: &Actual, named: &Named) -> Vec<Change> {
    let mut changes = Vec::new();
    let address = |stream: &str, consumer: Option<&str>| address(tenant.name.as_str(), stream, consumer);
    for (name, stream) in &actual.streams {
        if tenant.streams.iter().any(|s| s.name.as_str() == name) {
            continue;
        }
        let ours = !stream.raw["metadata"][MARK].is_null();
        changes.push(Change {
            action: left_alone(named.delete.contains(&address(name, None)), ours),
            kind: kind_of(name),
            messages: Some(stream.messages),
            ..Change::about(name, None)
        });
    }
    changes.sort_by_key(|c: &Change| c.action != Action::Delete);
    for stream in &tenant.streams {
        let found = actual.streams.get(stream.name.as_str());
        let is_named = |consumer: Option<&str>| named.replace.contains(&address(stream.name.as_str(), consumer));
        let in_the_way = || in_the_way(tenant, stream, actual, &address, named);
        let change = of_stream(stream, found, is_named(None), in_the_way);
        // Its consumers are made with it, or as little as it is.
        let is_new = found.is_none() || change.as_ref().is_some_and(|c| c.action == Action::Replace);
        let blocked_by = change.as_ref().and_then(|c| c.blocked_by.clone()).filter(|_| found.is_none());
        changes.extend(change);
        for consumer in &stream.consumers {
            let name = consumer.name.as_str();
            let about = || Change { kind: Kind::Consumer, ..Change::about(stream.name.as_str(), Some(name)) };
            match found.filter(|_| !is_new).and_then(|f| f.consumers.get(name)) {
                None => changes.push(Change {
                    action: if blocked_by.is_some() { Action::Blocked } else { Action::Create },
                    blocked_by: blocked_by.clone(),
                    ..about()
                }),
                Some(found) => {
                    let difference = CONSUMER.difference(&consumer.config, &found.raw);
                    let change = difference.map(|d| d.into_change(is_named(Some(name)), about()));
                    changes.extend(change.map(|c| Change { messages: Some(found.acknowledged), ..c }));
                }
            }
        }
        for (name, found) in found.filter(|_| !is_new).map(|f| undeclared(stream, f)).into_iter().flatten() {
            let ours = !found.raw["metadata"][MARK].is_null();
            changes.push(Change {
                action: left_alone(named.delete.contains(&address(stream.name.as_str(), Some(name))), ours),
                kind: Kind::Consumer,
                messages: Some(found.acknowledged),
                ..Change::about(stream.name.as_str(), Some(name))
            });
        }
    }
    changes
}

/// Consumers that are on the server and not in the registry.
fn undeclared<'a>(
    stream: &'a Stream,
    found: &'a ActualStream,
) -> impl Iterator<Item = (&'a String, &'a ActualConsumer)> {
    found.consumers.iter().filter(|(name, _)| !stream.consumers.iter().any(|c| c.name.as_str() == *name))
}

/// What differs of a stream itself.
fn of_stream(
    stream: &Stream,
    found: Option<&ActualStream>,
    is_named: bool,
    in_the_way: impl Fn() -> Option<String>,
) -> Option<Change> {
    let about = Change { kind: Kind::of(stream.kind), ..Change::about(stream.name.as_str(), None) };
    let Some(found) = found else {
        let blocked_by = in_the_way();
        let action = if blocked_by.is_some() { Action::Blocked } else { Action::Create };
        return Some(Change { action, blocked_by, ..about });
    };
    let difference = STREAM.difference(&stream.config, &found.raw)?;
    let mut change = difference.into_change(is_named, Change { messages: Some(found.messages), ..about });
    match change.action {
        Action::Update => change.note = dropped(&change.fields, found.messages),
        _ => {
            let others: Vec<String> = undeclared(stream, found).map(|(name, _)| format!("`{name}`")).collect();
            let note = || format!("{} of others on it would go too: {}", plural(&others), others.join(", "));
            change.note = (!others.is_empty()).then(note);
            // Deleted first, it could not be made again.
            change.blocked_by = in_the_way();
            if change.blocked_by.is_some() {
                change.action = Action::Blocked;
            }
        }
    }
    Some(change)
}

fn plural(consumers: &[String]) -> &'static str {
    if consumers.len() == 1 { "a consumer" } else { "consumers" }
}

/// A stream on the server that has one of a declared stream's subjects, is not in the
/// registry, and is not about to be deleted.
fn in_the_way(
    tenant: &Tenant,
    stream: &Stream,
    actual: &Actual,
    address: &impl Fn(&str, Option<&str>) -> String,
    named: &Named,
) -> Option<String> {
    let stays = |name: &String| {
        !tenant.streams.iter().any(|s| s.name.as_str() == name) && !named.delete.contains(&address(name, None))
    };
    let has_its_subjects = |found: &ActualStream| {
        let subjects = found.raw["subjects"].as_array().into_iter().flatten().filter_map(Json::as_str);
        let mut subjects = subjects.filter_map(Subject::as_the_server_reads);
        subjects.any(|s| stream.subjects.iter().any(|own| own.overlaps(&s)))
    };
    let mut others = actual.streams.iter().filter(|(name, found)| stays(name) && has_its_subjects(found));
    others.next().map(|(name, _)| name.clone())
}

/// Whether lower limits drop what is there.
fn dropped(fields: &[Field], messages: u64) -> Option<String> {
    const LIMITS: [&str; 4] = ["max_msgs", "max_bytes", "max_age", "max_msgs_per_subject"];
    let limit = |value: &Json| value.as_i64().filter(|n| *n > 0);
    let lower = |f: &&Field| {
        LIMITS.contains(&f.name.as_str()) && limit(&f.to).is_some_and(|to| limit(&f.from).is_none_or(|from| to < from))
    };
    let lowered: Vec<&Field> = fields.iter().filter(lower).collect();
    match lowered.as_slice() {
        [] => None,
        _ if messages == 0 => None,
        [one] if one.name == "max_msgs" => {
            let kept = limit(&one.to).and_then(|n| u64::try_from(n).ok()).unwrap_or(messages);
            (kept < messages).then(|| format!("the oldest {} of {messages} messages are dropped", messages - kept))
        }
        _ => Some(format!("of its {messages} messages, those beyond the new limit are dropped")),
    }
}

fn left_alone(is_named: bool, ours: bool) -> Action {
    match (is_named, ours) {
        (true, _) => Action::Delete,
        (false, true) => Action::Undeclared,
        (false, false) => Action::Foreign,
    }
}

fn kind_of(stream: &str) -> Kind {
    match stream {
        _ if stream.starts_with("KV_") => Kind::Bucket,
        _ if stream.starts_with("OBJ_") => Kind::ObjectStore,
        _ => Kind::Stream,
    }
}

impl Kind {
    fn of(kind: StreamKind) -> Self {
        match kind {
            StreamKind::Stream => Self::Stream,
            StreamKind::Bucket => Self::Bucket,
            StreamKind::ObjectStore => Self::ObjectStore,
        }
    }
}

impl Change {
    fn about(stream: &str, consumer: Option<&str>) -> Self {
        Self {
            action: Action::Foreign,
            kind: Kind::Stream,
            stream: stream.to_owned(),
            consumer: consumer.map(str::to_owned),
            drift: false,
            fields: Vec::new(),
            reason: None,
            note: None,
            blocked_by: None,
            messages: None,
        }
    }
}

impl Difference {
    fn into_change(self, is_named: bool, about: Change) -> Change {
        let action = match (&self.reason, is_named) {
            (None, _) => Action::Update,
            (Some(_), true) => Action::Replace,
            (Some(_), false) => Action::Blocked,
        };
        Change { action, drift: self.drift, fields: self.fields, reason: self.reason, ..about }
    }
}
