//! Comparison of a declared configuration with a server's, and the configuration to
//! request from the server.

use serde::Serialize;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::keys::stream::METADATA;
use super::keys::{self, ConfigKey};
use super::{Config, Consumer};

/// Metadata label that holds the digest of the configuration a stream or consumer was
/// created from. If the digest does not match the server's configuration, it was changed manually.
pub const MARK: &str = "tenantry";

/// Compares configurations and builds requests, by one table of keys. A server's keys
/// that are not in the table are kept.
pub struct Comparison {
    keys: &'static [ConfigKey],
}

/// Comparison of streams.
pub const STREAM: Comparison = Comparison { keys: keys::stream::ALL };
/// Comparison of consumers.
pub const CONSUMER: Comparison = Comparison { keys: keys::consumer::ALL };

/// The body of a request that makes or updates a consumer.
pub fn consumer_request(stream: &str, consumer: &Consumer, action: &str, raw: Option<&Json>) -> Json {
    json!({ "stream_name": stream, "config": CONSUMER.request(&consumer.config, raw), "action": action })
}

/// One value that differs.
#[derive(Debug, Clone, Serialize)]
pub struct Field {
    /// The key, serialised under its name on the server.
    #[serde(rename = "name", serialize_with = "key_name")]
    pub key: ConfigKey,
    /// The server's value.
    pub from: Json,
    /// The declared value.
    pub to: Json,
}

fn key_name<S: serde::Serializer>(key: &ConfigKey, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key.name)
}

/// The fields that differ, and whether the server can change them in place.
#[derive(Debug)]
pub struct Difference {
    /// The fields that differ. Never empty.
    pub fields: Vec<Field>,
    /// Why the server refuses to change it in place. `None` if it does not refuse.
    pub reason: Option<String>,
    /// Whether it was created or changed by other means than tenantry.
    pub drift: bool,
}

/// The first eight bytes of the configuration's SHA-256, in hexadecimal.
fn digest(config: &Config) -> String {
    let mut hasher = Sha256::new();
    for (key, value) in config.entries() {
        hasher.update(format!("{key}={value}\n"));
    }
    data_encoding::HEXLOWER.encode(&hasher.finalize()[..8])
}

/// Removes every metadata label that `is_kept` does not accept.
fn keep_labels(config: &mut Config, is_kept: fn(&str) -> bool) {
    if let Json::Object(labels) = config.get("metadata") {
        let kept = labels.iter().filter(|(key, _)| is_kept(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
        config.set(METADATA, Json::Object(kept));
    }
}

/// Excludes labels that the server adds by itself, which depend on the request.
fn is_not_the_servers(label: &str) -> bool {
    !label.starts_with("_nats.")
}

/// Whether two configurations from the server are equal, apart from the server's own labels.
pub fn is_same(one: &Json, other: &Json) -> bool {
    let plain = |raw: &Json| {
        let mut config = Config::of_server(raw);
        keep_labels(&mut config, is_not_the_servers);
        config
    };
    plain(one) == plain(other)
}

impl Comparison {
    fn compared_keys(&self) -> impl Iterator<Item = ConfigKey> {
        self.keys.iter().copied().filter(|key| key.is_compared())
    }

    /// The compared keys of a configuration, without the server's own labels and the mark.
    fn compared_part(&self, config: &Config) -> Config {
        let mut compared = Config::default();
        for key in self.compared_keys() {
            compared.set(key, config.get(key.name).clone());
        }
        keep_labels(&mut compared, |label| label != MARK && is_not_the_servers(label));
        compared
    }

    /// The difference between the declared configuration and the server's. `None` if they agree.
    pub fn difference(&self, declared: &Config, raw: &Json) -> Option<Difference> {
        let (declared, actual) = (self.compared_part(declared), self.compared_part(&Config::of_server(raw)));
        let differs = self.compared_keys().filter(|key| declared.get(key.name) != actual.get(key.name));
        let field =
            |key: ConfigKey| Field { key, from: actual.get(key.name).clone(), to: declared.get(key.name).clone() };
        let fields: Vec<Field> = differs.map(field).collect();
        // Pull or push makes every other difference moot; report only that.
        let is_delivery = |f: &&Field| f.key.name == keys::consumer::DELIVER_SUBJECT.name;
        let turns = fields.iter().filter(is_delivery).any(|f| f.from.is_null() || f.to.is_null());
        let telling = fields.iter().filter(|f| !turns || is_delivery(f));
        let reasons = telling.filter_map(|f| f.key.refusal(&f.from, &f.to)).collect::<Vec<_>>();
        let mark = raw["metadata"][MARK].as_str();
        (!fields.is_empty()).then(|| Difference {
            reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
            // Created by other means, or changed since tenantry created it.
            drift: mark != Some(digest(&actual).as_str()),
            fields,
        })
    }

    /// The configuration to request, to create it or (with `raw`, the server's current
    /// configuration) to update it: the declared values, the mark, and the server's values
    /// of keys that are not compared.
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

    /// Fields in which the server's result differs from the declared configuration.
    pub fn not_as_asked(&self, declared: &Config, raw: &Json) -> Vec<Field> {
        self.difference(declared, raw).map(|d| d.fields).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn declared() -> Config {
        Config::of_server(&json!({
            "name": "S", "subjects": ["a.>"], "storage": "file", "max_msgs": -1, "max_age": 60_000_000_000_i64,
            "metadata": { "team": "x" },
        }))
    }

    /// What a server reports after it was asked for `request`: defaults and labels of its own.
    fn reported(request: &Json) -> Json {
        let mut raw = request.clone();
        raw["no_ack"] = json!(false);
        raw["description"] = json!("");
        raw["metadata"]["_nats.ver"] = json!("2.15.1");
        raw["metadata"]["_nats.req.level"] = json!("0");
        raw
    }

    fn difference(declared: &Config, raw: &Json) -> Option<(Vec<&'static str>, bool)> {
        let found = STREAM.difference(declared, raw)?;
        Some((found.fields.iter().map(|f| f.key.name).collect(), found.drift))
    }

    #[test]
    fn what_was_requested_is_the_same_after_a_round_trip() {
        let raw = reported(&STREAM.request(&declared(), None));
        assert_eq!(difference(&declared(), &raw), None);
        let mut changed = raw;
        changed["max_age"] = json!(1);
        assert!(difference(&declared(), &changed).is_some(), "the control");
    }

    #[test]
    fn a_request_is_the_declaration_with_the_mark() {
        let request = STREAM.request(&declared(), None);
        let mark = request["metadata"][MARK].as_str().expect("a mark");
        assert!(mark.len() == 16 && mark.chars().all(|c| c.is_ascii_hexdigit()), "{mark}");
        let mut unmarked = request.clone();
        unmarked["metadata"].as_object_mut().expect("labels").remove(MARK);
        assert_eq!(unmarked, declared().to_json());
    }

    #[test]
    fn a_change_of_the_registry_is_no_drift_and_a_manual_change_is() {
        let raw = reported(&STREAM.request(&declared(), None));
        let mut registry = declared();
        registry.set(keys::stream::MAX_MSGS, 5);
        assert_eq!(difference(&registry, &raw), Some((vec!["max_msgs"], false)));
        let mut manual = raw.clone();
        manual["max_msgs"] = json!(5);
        assert_eq!(difference(&declared(), &manual), Some((vec!["max_msgs"], true)));
        let mut unmarked = raw;
        unmarked["metadata"].as_object_mut().expect("labels").remove(MARK);
        assert_eq!(difference(&registry, &unmarked), Some((vec!["max_msgs"], true)));
        assert_eq!(difference(&declared(), &unmarked), None, "a missing mark alone is no difference");
    }

    #[test]
    fn a_changed_label_is_a_difference_but_not_the_servers_own() {
        let mut raw = reported(&STREAM.request(&declared(), None));
        raw["metadata"]["_nats.ver"] = json!("9.9.9");
        raw["metadata"]["_nats.new"] = json!("x");
        assert_eq!(difference(&declared(), &raw), None);
        raw["metadata"]["team"] = json!("y");
        assert_eq!(difference(&declared(), &raw), Some((vec!["metadata"], true)));
    }

    #[test]
    fn keys_that_are_not_known_are_kept_in_a_request_and_known_ones_are_not() {
        let raw = json!({ "name": "S", "first_seq": 7, "max_bytes": 1024, "no_ack": true });
        let request = STREAM.request(&declared(), Some(&raw));
        assert_eq!(request["first_seq"], 7);
        assert_eq!((&request["max_bytes"], &request["no_ack"]), (&Json::Null, &Json::Null));
        assert_eq!(request["max_msgs"], -1);
        assert_eq!(STREAM.request(&declared(), None)["first_seq"], Json::Null, "the control");
    }

    #[test]
    fn an_unknown_key_of_the_server_is_no_difference() {
        let mut raw = reported(&STREAM.request(&declared(), None));
        raw["invented_later"] = json!(true);
        raw["name"] = json!("ANOTHER");
        assert_eq!(difference(&declared(), &raw), None);
    }

    #[test]
    fn the_reason_of_a_refusal_is_given_for_each_key_that_cannot_change() {
        let raw = |changes: &[(&str, Json)]| {
            let mut raw = reported(&STREAM.request(&declared(), None));
            changes.iter().for_each(|(key, value)| raw[key] = value.clone());
            raw
        };
        let reason = |raw: &Json| STREAM.difference(&declared(), raw).and_then(|d| d.reason);
        assert_eq!(reason(&raw(&[("max_age", json!(1))])), None);
        assert_eq!(
            reason(&raw(&[("storage", json!("memory"))])).as_deref(),
            Some("where a stream is stored cannot be changed")
        );
        let both = raw(&[("storage", json!("memory")), ("sealed", json!(true))]);
        assert_eq!(
            reason(&both).as_deref(),
            Some("where a stream is stored cannot be changed; sealed cannot be taken back")
        );
    }

    #[test]
    fn turning_a_pull_consumer_into_a_push_consumer_is_the_only_reason_given() {
        let push = Config::of_server(&json!({ "name": "c", "ack_policy": "explicit", "deliver_subject": "d" }));
        let raw = json!({ "name": "c", "ack_policy": "none", "max_waiting": 512 });
        let found = CONSUMER.difference(&push, &raw).expect("a difference");
        assert_eq!(found.reason.as_deref(), Some("a pull consumer cannot become a push consumer"));
        let same = json!({ "name": "c", "ack_policy": "none", "deliver_subject": "d" });
        let found = CONSUMER.difference(&push, &same).expect("a difference");
        assert_eq!(found.reason.as_deref(), Some("ack_policy cannot be changed"));
    }

    #[test]
    fn two_reports_of_a_server_are_the_same_apart_from_its_own_labels() {
        let report =
            |version: &str, team: &str| json!({ "name": "S", "metadata": { "_nats.ver": version, "team": team } });
        assert!(is_same(&report("1", "x"), &report("2", "x")));
        assert!(!is_same(&report("1", "x"), &report("1", "y")));
        assert!(is_same(&json!({ "name": "S", "max_age": 0 }), &json!({ "name": "S" })));
    }
}
