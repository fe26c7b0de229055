//! What of a stream's or consumer's configuration is compared with a server's, and
//! what a server is asked for.

use serde::Serialize;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::Config;

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

    /// What a server has otherwise than it is declared.
    pub fn difference(&self, declared: &Config, raw: &Json) -> Option<Difference> {
        let (declared, actual) = (self.of(declared), self.of(&Config::of_server(raw)));
        let differs = self.keys.iter().filter(|key| declared.get(key) != actual.get(key));
        let field = |key: &&str| Field {
            name: (*key).to_owned(),
            from: actual.get(key).clone(),
            to: declared.get(key).clone(),
        };
        let fields: Vec<Field> = differs.map(field).collect();
        // Whether it is pulled or pushed decides over the rest.
        let turns = fields.iter().any(|f| f.name == "deliver_subject" && (f.from.is_null() || f.to.is_null()));
        let telling = fields.iter().filter(|f| !turns || f.name == "deliver_subject");
        let reasons = telling.filter_map(|f| (self.why_not)(&f.name, &f.from, &f.to)).collect::<Vec<_>>();
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
