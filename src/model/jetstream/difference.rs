//! What differs between a declared configuration and a server's, and what a server is
//! asked for.

use serde::Serialize;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::keys::stream::METADATA;
use super::keys::{self, Key};
use super::{Config, Consumer};

/// The label under which a stream or consumer says what it was made from: if it
/// does not fit what the server has, somebody changed it by hand.
pub const MARK: &str = "tenantry";

/// Compares and requests streams, or consumers. What a server has beyond the known
/// keys is kept.
pub struct Comparison {
    keys: &'static [Key],
}

/// Of streams.
pub const STREAM: Comparison = Comparison { keys: keys::stream::ALL };
/// Of consumers.
pub const CONSUMER: Comparison = Comparison { keys: keys::consumer::ALL };

/// The body of a request that makes or updates a consumer.
pub fn consumer_request(stream: &str, consumer: &Consumer, action: &str, raw: Option<&Json>) -> Json {
    json!({ "stream_name": stream, "config": CONSUMER.request(&consumer.config, raw), "action": action })
}

/// One value that differs.
#[derive(Debug, Clone, Serialize)]
pub struct Field {
    /// The key, which JSON names as the server does.
    #[serde(rename = "name", serialize_with = "key_name")]
    pub key: Key,
    /// What the server has.
    pub from: Json,
    /// What is declared.
    pub to: Json,
}

fn key_name<S: serde::Serializer>(key: &Key, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key.name)
}

/// What differs, and what is to be known about it.
#[derive(Debug)]
pub struct Difference {
    /// What differs.
    pub fields: Vec<Field>,
    /// Why the server does not change it where it is.
    pub reason: Option<String>,
    /// Whether somebody changed it by hand.
    pub drift: bool,
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
        config.set(METADATA, Json::Object(kept));
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

impl Comparison {
    fn compared_keys(&self) -> impl Iterator<Item = Key> {
        self.keys.iter().copied().filter(|key| key.is_compared())
    }

    /// What of a configuration is compared, without the server's own labels and ours.
    fn compared_part(&self, config: &Config) -> Config {
        let mut compared = Config::default();
        for key in self.compared_keys() {
            compared.set(key, config.get(key.name).clone());
        }
        keep_labels(&mut compared, |label| label != MARK && is_not_the_servers(label));
        compared
    }

    /// What a server has otherwise than it is declared.
    pub fn difference(&self, declared: &Config, raw: &Json) -> Option<Difference> {
        let (declared, actual) = (self.compared_part(declared), self.compared_part(&Config::of_server(raw)));
        let differs = self.compared_keys().filter(|key| declared.get(key.name) != actual.get(key.name));
        let field = |key: Key| Field { key, from: actual.get(key.name).clone(), to: declared.get(key.name).clone() };
        let fields: Vec<Field> = differs.map(field).collect();
        // Pull or push makes every other difference moot; report only that.
        let is_delivery = |f: &&Field| f.key.name == keys::consumer::DELIVER_SUBJECT.name;
        let turns = fields.iter().filter(is_delivery).any(|f| f.from.is_null() || f.to.is_null());
        let telling = fields.iter().filter(|f| !turns || is_delivery(f));
        let reasons = telling.filter_map(|f| f.key.refusal(&f.from, &f.to)).collect::<Vec<_>>();
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
        for key in self.compared_keys() {
            config.set(key, Json::Null);
        }
        config.extend(declared);
        let mut labels = declared.get("metadata").as_object().cloned().unwrap_or_default();
        labels.insert(MARK.to_owned(), digest(&self.compared_part(declared)).into());
        config.set(METADATA, Json::Object(labels));
        config.to_json()
    }

    /// What the server made otherwise than it was asked for.
    pub fn not_as_asked(&self, declared: &Config, raw: &Json) -> Vec<Field> {
        self.difference(declared, raw).map(|d| d.fields).unwrap_or_default()
    }
}
