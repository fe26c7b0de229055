//! The streams and consumers that an account has on the server.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::api::{Api, Failure};
use super::replacement;
use crate::subject::Subject;

/// The streams and consumers of an account on the server.
#[derive(Debug, Default)]
pub struct Actual {
    /// Streams by name.
    pub streams: BTreeMap<String, ActualStream>,
    /// Names of streams that a replacement which was killed has left.
    pub trials: Vec<String>,
}

impl Actual {
    /// The streams of the account that copy one of it, by name.
    pub fn copies_of(&self, name: &str) -> impl Iterator<Item = (&String, &ActualStream)> {
        let is_it = move |origin: &Json| origin["name"] == name && origin["external"].is_null();
        self.streams.iter().filter(move |(_, found)| origins(&found.raw).any(is_it))
    }

    /// Whether streams of the account copy one of it.
    pub fn is_copied(&self, name: &str) -> bool {
        self.copies_of(name).next().is_some()
    }
}

/// A stream on the server.
#[derive(Debug, Default)]
pub struct ActualStream {
    /// Its configuration in the server's JSON.
    pub raw: Json,
    /// Number of messages that it holds.
    pub messages: u64,
    /// Their size. Bytes.
    pub bytes: u64,
    /// The sequence number of the first one.
    pub first: u64,
    /// The sequence number of the last one that it took.
    pub last: u64,
    /// Number of consumers, with clients' own and those by which servers copy it.
    pub consumer_count: u64,
    /// Durable consumers by name.
    pub consumers: BTreeMap<String, ActualConsumer>,
    /// Consumers of clients, which end with them, by name, in the server's JSON.
    pub clients: BTreeMap<String, Json>,
}

/// A consumer on the server.
#[derive(Debug, Default)]
pub struct ActualConsumer {
    /// Its configuration in the server's JSON.
    pub raw: Json,
    /// Number of messages that it has delivered and that clients have acknowledged.
    pub acknowledged: u64,
    /// The sequence number in the stream of the last message that it has delivered.
    pub position: u64,
    /// Number of messages that it has not delivered yet, or that are not acknowledged.
    pub waiting: u64,
    /// Whether somebody is subscribed to what it pushes.
    pub is_bound: bool,
    /// Until when it is paused. `None`: it is not.
    pub paused_until: Option<String>,
}

/// Reads the streams and durable consumers of an account.
pub async fn read(api: &Api) -> Result<Actual, Failure> {
    let mut actual = Actual::default();
    for mut stream in api.list("STREAM.LIST", "streams").await? {
        let raw = stream["config"].take();
        let Some(name) = raw["name"].as_str().map(str::to_owned) else { continue };
        // Internal streams of the server's MQTT gateway.
        if name.starts_with("$MQTT_") {
            continue;
        }
        if name.starts_with(replacement::TRIAL) {
            actual.trials.push(name);
            continue;
        }
        let number = |value: &Json| value.as_u64().unwrap_or_default();
        let state = stream["state"].take();
        let (mut consumers, mut clients) = (BTreeMap::new(), BTreeMap::new());
        if state["consumer_count"].as_u64() != Some(0) {
            for mut consumer in api.list(&format!("CONSUMER.LIST.{name}"), "consumers").await? {
                let raw = consumer["config"].take();
                let Some(name) = raw["durable_name"].as_str().map(str::to_owned) else {
                    clients.insert(consumer["name"].as_str().unwrap_or_default().to_owned(), raw);
                    continue;
                };
                // By which a server reads for a stream that has this one as its source.
                if raw["sourcing"] == true && name.starts_with("JS_") {
                    continue;
                }
                let actual = ActualConsumer {
                    acknowledged: number(&consumer["ack_floor"]["consumer_seq"]),
                    position: number(&consumer["delivered"]["stream_seq"]),
                    waiting: number(&consumer["num_pending"]) + number(&consumer["num_ack_pending"]),
                    is_bound: consumer["push_bound"] == true,
                    paused_until: raw["pause_until"].as_str().filter(|_| consumer["paused"] == true).map(str::to_owned),
                    raw,
                };
                consumers.insert(name, actual);
            }
        }
        let found = ActualStream {
            messages: number(&state["messages"]),
            bytes: number(&state["bytes"]),
            first: number(&state["first_seq"]),
            last: number(&state["last_seq"]),
            consumer_count: number(&state["consumer_count"]),
            raw,
            consumers,
            clients,
        };
        actual.streams.insert(name, found);
    }
    Ok(actual)
}

/// The subjects of a stream, by its configuration on the server.
pub fn subjects_of(config: &Json) -> impl Iterator<Item = Subject> {
    let subjects = config["subjects"].as_array().into_iter().flatten().filter_map(Json::as_str);
    subjects.filter_map(Subject::as_the_server_reads)
}

/// The streams that a stream copies, by its configuration on the server or by what that says of their state.
pub fn origins(config: &Json) -> impl Iterator<Item = &Json> {
    let mirror = Some(&config["mirror"]).filter(|mirror| mirror.is_object());
    config["sources"].as_array().into_iter().flatten().chain(mirror)
}
