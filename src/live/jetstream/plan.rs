//! What differs between a tenant's entry in the registry and its account.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::api::{Api, Failure};
use crate::model::Tenant;
use crate::model::jetstream::{Config, StreamKind};

/// The label under which a stream or consumer says what it was made from: if it
/// does not fit what the server has, somebody changed it by hand.
pub const MARK: &str = "tenantry";

/// What is compared of streams, or of consumers. What a server knows beyond it is
/// kept.
pub struct Compared {
    keys: &'static [&'static str],
    why_not: fn(&str, &Json, &Json) -> Option<String>,
}

/// Of streams.
pub const STREAM: Compared = Compared {
    keys: &[
        "description",
        "subjects",
        "retention",
        "max_consumers",
        "max_msgs",
        "max_bytes",
        "max_age",
        "max_msgs_per_subject",
        "max_msg_size",
        "discard",
        "storage",
        "num_replicas",
        "no_ack",
        "duplicate_window",
        "placement",
        "mirror",
        "sources",
        "compression",
        "subject_transform",
        "republish",
        "allow_direct",
        "discard_new_per_subject",
        "sealed",
        "deny_delete",
        "deny_purge",
        "allow_rollup_hdrs",
        "consumer_limits",
        "allow_msg_ttl",
        "subject_delete_marker_ttl",
        "allow_msg_counter",
        "allow_atomic",
        "allow_batched",
        "allow_msg_schedules",
        "metadata",
    ],
    why_not: why_not_stream,
};

/// Of consumers.
pub const CONSUMER: Compared = Compared {
    keys: &[
        "description",
        "deliver_policy",
        "opt_start_seq",
        "opt_start_time",
        "ack_policy",
        "ack_wait",
        "max_deliver",
        "backoff",
        "filter_subject",
        "filter_subjects",
        "replay_policy",
        "rate_limit_bps",
        "sample_freq",
        "max_waiting",
        "max_ack_pending",
        "flow_control",
        "headers_only",
        "max_batch",
        "max_expires",
        "max_bytes",
        "deliver_subject",
        "deliver_group",
        "idle_heartbeat",
        "inactive_threshold",
        "num_replicas",
        "mem_storage",
        "metadata",
        "priority_groups",
        "priority_policy",
        "priority_timeout",
    ],
    why_not: why_not_consumer,
};

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

/// One value that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Field {
    /// The server's name for it.
    pub name: String,
    /// What the server has.
    pub from: Json,
    /// What is declared.
    pub to: Json,
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

struct Difference {
    fields: Vec<Field>,
    reason: Option<String>,
    drift: bool,
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

/// What a configuration is marked with.
fn digest(config: &Config) -> String {
    let mut hasher = Sha256::new();
    for (key, value) in config.entries() {
        hasher.update(format!("{key}={value}\n"));
    }
    data_encoding::HEXLOWER.encode(&hasher.finalize()[..8])
}

/// Keeps the labels that `is_kept` names.
fn keep_labels(config: &mut Config, is_kept: fn(&str) -> bool) {
    if let Json::Object(labels) = config.get("metadata") {
        let kept = labels.iter().filter(|(key, _)| is_kept(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
        config.set("metadata", Json::Object(kept));
    }
}

/// The server's own labels change with what is asked.
fn is_not_the_servers(label: &str) -> bool {
    !label.starts_with("_nats.")
}

/// Whether the server said the same twice.
pub fn is_same(one: &Json, other: &Json) -> bool {
    let plain = |raw: &Json| {
        let mut config = Config::of_server(raw);
        keep_labels(&mut config, is_not_the_servers);
        config
    };
    plain(one) == plain(other)
}

impl Compared {
    /// What of a configuration is compared, without the server's own labels and ours.
    fn of(&self, config: &Config) -> Config {
        let mut compared = Config::default();
        for key in self.keys {
            compared.set(key, config.get(key).clone());
        }
        keep_labels(&mut compared, |label| label != MARK && is_not_the_servers(label));
        compared
    }

    fn difference(&self, declared: &Config, raw: &Json) -> Option<Difference> {
        let (declared, actual) = (self.of(declared), self.of(&Config::of_server(raw)));
        let differs = self.keys.iter().filter(|key| declared.get(key) != actual.get(key));
        let field = |key: &&str| Field {
            name: (*key).to_owned(),
            from: actual.get(key).clone(),
            to: declared.get(key).clone(),
        };
        let fields: Vec<Field> = differs.map(field).collect();
        let reasons = fields.iter().filter_map(|f| (self.why_not)(&f.name, &f.from, &f.to)).collect::<Vec<_>>();
        let mark = raw["metadata"][MARK].as_str();
        (!fields.is_empty()).then(|| Difference {
            reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
            // Made by somebody else, or changed since it was made from the registry.
            drift: mark != Some(digest(&actual).as_str()),
            fields,
        })
    }

    /// The configuration that makes it, or changes the one that is there: what is
    /// declared, over what the server has beyond it, and the mark.
    pub fn request(&self, declared: &Config, raw: Option<&Json>) -> Json {
        let mut config = raw.map(Config::of_server).unwrap_or_default();
        for key in self.keys {
            config.set(key, Json::Null);
        }
        for (key, value) in declared.entries() {
            config.set(key, value.clone());
        }
        let mut labels = declared.get("metadata").as_object().cloned().unwrap_or_default();
        labels.insert(MARK.to_owned(), digest(&self.of(declared)).into());
        config.set("metadata", Json::Object(labels));
        config.to_json()
    }

    /// What the server made otherwise than it was asked for.
    pub fn not_as_asked(&self, declared: &Config, raw: &Json) -> Vec<Field> {
        self.difference(declared, raw).map(|d| d.fields).unwrap_or_default()
    }
}

/// Why the server does not change this of a stream that is there.
fn why_not_stream(key: &str, from: &Json, to: &Json) -> Option<String> {
    let is_kept = |what: &str| Some(format!("{what} cannot be changed"));
    let cannot_be_taken_back = *from == Json::Bool(true);
    match key {
        "storage" => is_kept("where a stream is stored"),
        "retention" if *from == "workqueue" || *to == "workqueue" => is_kept("retention from or to workqueue"),
        "mirror" if !to.is_null() => is_kept("what a stream mirrors"),
        "allow_msg_counter" => is_kept("allow_msg_counter"),
        "sealed" | "deny_delete" | "deny_purge" | "allow_msg_ttl" | "allow_msg_schedules" if cannot_be_taken_back => {
            Some(format!("{key} cannot be taken back"))
        }
        _ => None,
    }
}

/// Why the server does not change this of a consumer that is there.
fn why_not_consumer(key: &str, from: &Json, to: &Json) -> Option<String> {
    match key {
        "deliver_subject" if from.is_null() => Some("a pull consumer cannot become a push consumer".to_owned()),
        "deliver_subject" if to.is_null() => Some("a push consumer cannot become a pull consumer".to_owned()),
        "deliver_policy" | "opt_start_seq" | "opt_start_time" | "ack_policy" | "replay_policy" | "idle_heartbeat"
        | "flow_control" | "max_waiting" | "mem_storage" => Some(format!("{key} cannot be changed")),
        _ => None,
    }
}
