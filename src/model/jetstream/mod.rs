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
    pub fn set(&mut self, key: keys::Key, value: impl Into<Json>) {
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
