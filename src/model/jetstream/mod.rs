//! Streams and consumers as the server stores them. A key-value bucket and an
//! object store are each a stream with a fixed configuration.

pub mod difference;
pub mod keys;

use serde_json::{Map, Value as Json};

use super::StreamCopy;
use super::names::{ConsumerName, StreamName};
use crate::diag::Span;
use crate::subject::Subject;

/// The purpose of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamKind {
    /// A stream that clients use as such.
    Stream,
    /// The stream behind a key-value bucket.
    Bucket,
    /// The stream behind an object store.
    ObjectStore,
}

/// A stream.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The stream's name on the server.
    pub name: StreamName,
    /// Location of the declaration in the registry.
    pub span: Span,
    /// The stream's purpose.
    pub kind: StreamKind,
    /// Subjects that the stream captures.
    pub subjects: Vec<Subject>,
    /// The stream's configuration.
    pub config: Config,
    /// The stream's durable consumers.
    pub consumers: Vec<Consumer>,
    /// Streams of the same tenant that it sources from or mirrors.
    pub origins: Vec<StreamName>,
    /// Streams of other tenants that it copies.
    pub copies: Vec<StreamCopy>,
    /// Destinations of its subject transforms, with a wildcard for each placeholder:
    /// subjects under which it may store a message that arrived under another.
    pub rewritten: Vec<Subject>,
    /// Subjects on which consumers deliver its messages, or on which it publishes them again, with a
    /// wildcard for each placeholder.
    pub delivered: Vec<Subject>,
}

/// A durable consumer.
#[derive(Debug, Clone)]
pub struct Consumer {
    /// The consumer's name.
    pub name: ConsumerName,
    /// Location of the declaration in the registry.
    pub span: Span,
    /// The consumer's configuration.
    pub config: Config,
}

/// The configuration of a stream or consumer, with the server's key names. Zero, empty
/// and `false` values are omitted, as the server omits them too: two configurations
/// are equivalent exactly if they are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Config(Map<String, Json>);

impl Config {
    /// Sets a value. Zero, empty and `false` remove the key.
    pub fn set(&mut self, key: keys::ConfigKey, value: impl Into<Json>) {
        self.insert(key.name, value.into());
    }

    /// Overwrites with every value that is set in another configuration.
    pub fn extend(&mut self, other: &Self) {
        other.entries().for_each(|(key, value)| self.insert(key, value.clone()));
    }

    fn insert(&mut self, key: &str, value: Json) {
        let value = without_nothing(value);
        if is_nothing(&value) {
            self.0.remove(key);
        } else {
            self.0.insert(key.to_owned(), value);
        }
    }

    /// Builds the configuration from a server's JSON.
    pub fn of_server(json: &Json) -> Self {
        let mut config = Self::default();
        for (key, value) in json.as_object().into_iter().flatten() {
            config.insert(key, value.clone());
        }
        config
    }

    /// The value of a key; null if it is not set.
    pub fn get(&self, key: &str) -> &Json {
        self.0.get(key).unwrap_or(&Json::Null)
    }

    /// Every key that is set, with its value.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The configuration as JSON, for a request to the server.
    pub fn to_json(&self) -> Json {
        Json::Object(self.0.clone())
    }
}

fn is_nothing(value: &Json) -> bool {
    match value {
        Json::Null | Json::Bool(false) => true,
        Json::Bool(true) => false,
        Json::Number(number) => number.as_f64() == Some(0.0),
        Json::String(text) => text.is_empty(),
        Json::Array(list) => list.is_empty(),
        Json::Object(map) => map.is_empty(),
    }
}

/// The value without zero, empty and `false` members, at every depth.
fn without_nothing(value: Json) -> Json {
    match value {
        Json::Object(map) => {
            let members = map.into_iter().map(|(key, value)| (key, without_nothing(value)));
            Json::Object(members.filter(|(_, value)| !is_nothing(value)).collect())
        }
        Json::Array(list) => Json::Array(list.into_iter().map(without_nothing).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::keys::stream::{ALLOW_DIRECT, DESCRIPTION, MAX_AGE, MAX_MSGS, METADATA, NAME, SUBJECTS};
    use super::*;

    #[test]
    fn zero_empty_and_off_are_not_set() {
        let mut config = Config::default();
        for (key, value) in [
            (MAX_AGE, json!(0)),
            (MAX_MSGS, json!(0.0)),
            (DESCRIPTION, json!("")),
            (ALLOW_DIRECT, json!(false)),
            (SUBJECTS, json!([])),
            (METADATA, json!({})),
            (NAME, Json::Null),
        ] {
            config.set(key, value);
            assert_eq!(config.get(key.name), &Json::Null, "{}", key.name);
        }
        assert_eq!(config, Config::default());
        config.set(MAX_MSGS, -1);
        assert_eq!(config.get("max_msgs"), -1, "no limit is a value");
    }

    #[test]
    fn setting_a_key_to_nothing_removes_it() {
        let mut config = Config::default();
        config.set(MAX_AGE, 5);
        assert_eq!(config.entries().count(), 1);
        config.set(MAX_AGE, 0);
        assert_eq!(config, Config::default());
    }

    #[test]
    fn members_of_objects_that_are_zero_empty_or_off_are_removed_at_every_depth() {
        let raw =
            json!({ "sources": [{ "name": "S", "filter_subject": "", "external": { "api": "" } }], "sealed": false });
        assert_eq!(Config::of_server(&raw).to_json(), json!({ "sources": [{ "name": "S" }] }));
    }

    #[test]
    fn the_items_of_a_list_keep_their_number() {
        let raw = json!({ "backoff": [0, 1], "sources": [{}, { "name": "S" }] });
        assert_eq!(Config::of_server(&raw).to_json(), json!({ "backoff": [0, 1], "sources": [{}, { "name": "S" }] }));
    }

    #[test]
    fn equivalent_configurations_are_equal() {
        let explicit = json!({ "name": "S", "max_age": 0, "no_ack": false, "placement": { "cluster": "" } });
        assert_eq!(Config::of_server(&explicit), Config::of_server(&json!({ "name": "S" })));
        assert_ne!(Config::of_server(&explicit), Config::of_server(&json!({ "name": "S", "no_ack": true })));
        assert_eq!(Config::of_server(&Json::Null), Config::default());
    }

    #[test]
    fn extending_overwrites_what_the_other_sets_and_keeps_the_rest() {
        let mut config = Config::of_server(&json!({ "name": "S", "max_age": 1, "unknown": 7 }));
        config.extend(&Config::of_server(&json!({ "max_age": 2, "description": "d" })));
        assert_eq!(config.to_json(), json!({ "name": "S", "max_age": 2, "unknown": 7, "description": "d" }));
    }
}
