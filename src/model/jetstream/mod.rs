//! Streams and consumers as the server keeps them. A key-value bucket and an
//! object store are a stream with a fixed configuration.

pub mod difference;
pub mod keys;

use serde_json::{Map, Value as Json};

use super::StreamCopy;
use super::names::{ConsumerName, StreamName};
use crate::diag::Span;
use crate::subject::Subject;

/// What a stream is to those who use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamKind {
    /// A stream.
    Stream,
    /// Behind a key-value bucket.
    Bucket,
    /// Behind an object store.
    ObjectStore,
}

/// A stream.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Its name on the server.
    pub name: StreamName,
    /// Where it was declared.
    pub span: Span,
    /// What it is.
    pub kind: StreamKind,
    /// What it captures.
    pub subjects: Vec<Subject>,
    /// Its configuration.
    pub config: Config,
    /// Its durable consumers.
    pub consumers: Vec<Consumer>,
    /// The streams of the same tenant that its messages come from.
    pub origins: Vec<StreamName>,
    /// What it copies from other tenants.
    pub copies: Vec<StreamCopy>,
    /// Subjects under which it keeps what came to it under others, as wide as they
    /// can be.
    pub rewritten: Vec<Subject>,
}

/// A durable consumer.
#[derive(Debug, Clone)]
pub struct Consumer {
    /// Its name.
    pub name: ConsumerName,
    /// Where it was declared.
    pub span: Span,
    /// Its configuration.
    pub config: Config,
}

/// The configuration of a stream or consumer in the server's own words. What is
/// zero, empty or off is not in it, as the server leaves it out too: two
/// configurations mean the same exactly if they are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Config(Map<String, Json>);

impl Config {
    /// Sets a value; zero, empty and off are the same as not set.
    pub fn set(&mut self, key: keys::Key, value: impl Into<Json>) {
        self.insert(key.name, value.into());
    }

    /// Takes over every value of another configuration.
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

    /// From what a server says.
    pub fn of_server(json: &Json) -> Self {
        let mut config = Self::default();
        for (key, value) in json.as_object().into_iter().flatten() {
            config.insert(key, value.clone());
        }
        config
    }

    /// One value; null if it is not set.
    pub fn get(&self, key: &str) -> &Json {
        self.0.get(key).unwrap_or(&Json::Null)
    }

    /// Every value that is set.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// As a request carries it.
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

/// The same without members that say nothing.
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
