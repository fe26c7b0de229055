//! What differs between a tenant's entry in the registry and its account.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use serde_json::Value as Json;

use super::api::{Api, Failure};
use crate::model::Tenant;
use crate::model::jetstream::StreamKind;
use crate::model::jetstream::compared::{CONSUMER, Difference, Field, MARK, STREAM};

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
        // Those that the server keeps for itself, for MQTT for example.
        if name.starts_with('$') {
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
        let name = stream.name.as_str();
        let kind = Kind::of(stream.kind);
        let found = actual.streams.get(name);
        let is_named = named.replace.contains(&address(name, None));
        let replaced = match found {
            None => {
                changes.push(Change { action: Action::Create, kind, ..Change::about(name, None) });
                true
            }
            Some(found) => {
                let difference = STREAM.difference(&stream.config, &found.raw);
                let change = difference.map(|d| d.into_change(is_named, Change::about(name, None)));
                let change = change.map(|c| Change { kind, messages: Some(found.messages), ..c });
                let replaced = change.as_ref().is_some_and(|c| c.action == Action::Replace);
                changes.extend(change);
                replaced
            }
        };
        for consumer in &stream.consumers {
            let name = consumer.name.as_str();
            let about = || Change { kind: Kind::Consumer, ..Change::about(stream.name.as_str(), Some(name)) };
            let is_named = named.replace.contains(&address(stream.name.as_str(), Some(name)));
            match found.filter(|_| !replaced).and_then(|f| f.consumers.get(name)) {
                None => changes.push(Change { action: Action::Create, ..about() }),
                Some(found) => {
                    let difference = CONSUMER.difference(&consumer.config, &found.raw);
                    let change = difference.map(|d| d.into_change(is_named, about()));
                    changes.extend(change.map(|c| Change { messages: Some(found.acknowledged), ..c }));
                }
            }
        }
        for (name, found) in found.filter(|_| !replaced).map(|f| &f.consumers).into_iter().flatten() {
            if !stream.consumers.iter().any(|c| c.name.as_str() == name) {
                let ours = !found.raw["metadata"][MARK].is_null();
                changes.push(Change {
                    action: left_alone(named.delete.contains(&address(stream.name.as_str(), Some(name))), ours),
                    kind: Kind::Consumer,
                    messages: Some(found.acknowledged),
                    ..Change::about(stream.name.as_str(), Some(name))
                });
            }
        }
    }
    changes
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
