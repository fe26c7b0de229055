//! The configuration keys of streams and consumers, each once: its name on the
//! server, its unit, and whether the server changes it in place. These tables drive
//! setting, comparing, printing and the refusal of changes.

use serde_json::Value as Json;

use crate::model::units::Size;

/// A configuration key.
#[derive(Debug, Clone, Copy)]
pub struct ConfigKey {
    /// The key's name on the server.
    pub name: &'static str,
    unit: Unit,
    update: Update,
}

/// The unit of a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// A word, a subject, a number or a boolean.
    Plain,
    Bytes,
    Nanoseconds,
    /// The stream that messages are sourced from.
    Origin,
}

/// How the server handles a changed value.
#[derive(Debug, Clone, Copy)]
enum Update {
    /// The key identifies the stream or consumer and is not compared.
    Never,
    /// The server changes it in place.
    InPlace,
    /// The server changes it in place and drops messages beyond a lower limit.
    Limit,
    /// The server refuses any change. The text names the property in messages.
    Fixed(&'static str),
    /// The server refuses to change it from `true` to `false`.
    OneWay,
    /// The function returns why the server refuses, from the old and the new value.
    Depends(fn(&Json, &Json) -> Option<&'static str>),
}

macro_rules! keys {
    ($table:ident, $doc:literal: $( $key:ident = $name:literal, $unit:ident, $update:expr; )*) => {
        $( #[doc = concat!("`", $name, "`")] pub const $key: ConfigKey = {
            #[allow(unused_imports)]
            use Update::{Depends, Fixed, InPlace, Limit, Never, OneWay};
            ConfigKey { name: $name, unit: Unit::$unit, update: $update }
        }; )*
        #[doc = $doc]
        pub const $table: &[ConfigKey] = &[$($key),*];
    };
}

/// Keys of streams.
pub mod stream {
    use super::{ConfigKey, Json, Unit, Update};

    keys! { ALL, "Every key of a stream.":
        NAME = "name", Plain, Never;
        DESCRIPTION = "description", Plain, InPlace;
        SUBJECTS = "subjects", Plain, InPlace;
        RETENTION = "retention", Plain, Depends(retention);
        MAX_CONSUMERS = "max_consumers", Plain, InPlace;
        MAX_MSGS = "max_msgs", Plain, Limit;
        MAX_BYTES = "max_bytes", Bytes, Limit;
        MAX_AGE = "max_age", Nanoseconds, Limit;
        MAX_MSGS_PER_SUBJECT = "max_msgs_per_subject", Plain, Limit;
        MAX_MSG_SIZE = "max_msg_size", Bytes, InPlace;
        DISCARD = "discard", Plain, InPlace;
        STORAGE = "storage", Plain, Fixed("where a stream is stored");
        NUM_REPLICAS = "num_replicas", Plain, InPlace;
        NO_ACK = "no_ack", Plain, InPlace;
        DUPLICATE_WINDOW = "duplicate_window", Nanoseconds, InPlace;
        PLACEMENT = "placement", Plain, InPlace;
        MIRROR = "mirror", Origin, Depends(mirror);
        SOURCES = "sources", Origin, InPlace;
        COMPRESSION = "compression", Plain, InPlace;
        SUBJECT_TRANSFORM = "subject_transform", Plain, InPlace;
        REPUBLISH = "republish", Plain, InPlace;
        ALLOW_DIRECT = "allow_direct", Plain, InPlace;
        DISCARD_NEW_PER_SUBJECT = "discard_new_per_subject", Plain, InPlace;
        SEALED = "sealed", Plain, OneWay;
        DENY_DELETE = "deny_delete", Plain, OneWay;
        DENY_PURGE = "deny_purge", Plain, OneWay;
        ALLOW_ROLLUP_HDRS = "allow_rollup_hdrs", Plain, InPlace;
        CONSUMER_LIMITS = "consumer_limits", Plain, InPlace;
        ALLOW_MSG_TTL = "allow_msg_ttl", Plain, OneWay;
        SUBJECT_DELETE_MARKER_TTL = "subject_delete_marker_ttl", Nanoseconds, InPlace;
        ALLOW_MSG_COUNTER = "allow_msg_counter", Plain, Fixed("allow_msg_counter");
        ALLOW_ATOMIC = "allow_atomic", Plain, InPlace;
        ALLOW_BATCHED = "allow_batched", Plain, InPlace;
        ALLOW_MSG_SCHEDULES = "allow_msg_schedules", Plain, OneWay;
        METADATA = "metadata", Plain, InPlace;
    }

    fn retention(from: &Json, to: &Json) -> Option<&'static str> {
        (*from == "workqueue" || *to == "workqueue").then_some("retention from or to workqueue cannot be changed")
    }

    fn mirror(_: &Json, to: &Json) -> Option<&'static str> {
        (!to.is_null()).then_some("what a stream mirrors cannot be changed")
    }
}

/// Keys of consumers.
pub mod consumer {
    use super::{ConfigKey, Json, Unit, Update};

    keys! { ALL, "Every key of a consumer.":
        NAME = "name", Plain, Never;
        DURABLE_NAME = "durable_name", Plain, Never;
        DESCRIPTION = "description", Plain, InPlace;
        DELIVER_POLICY = "deliver_policy", Plain, Fixed("deliver_policy");
        OPT_START_SEQ = "opt_start_seq", Plain, Fixed("opt_start_seq");
        OPT_START_TIME = "opt_start_time", Plain, Fixed("opt_start_time");
        ACK_POLICY = "ack_policy", Plain, Fixed("ack_policy");
        ACK_WAIT = "ack_wait", Nanoseconds, InPlace;
        MAX_DELIVER = "max_deliver", Plain, InPlace;
        BACKOFF = "backoff", Nanoseconds, InPlace;
        FILTER_SUBJECT = "filter_subject", Plain, InPlace;
        FILTER_SUBJECTS = "filter_subjects", Plain, InPlace;
        REPLAY_POLICY = "replay_policy", Plain, Fixed("replay_policy");
        RATE_LIMIT_BPS = "rate_limit_bps", Plain, InPlace;
        SAMPLE_FREQ = "sample_freq", Plain, InPlace;
        MAX_WAITING = "max_waiting", Plain, Fixed("max_waiting");
        MAX_ACK_PENDING = "max_ack_pending", Plain, InPlace;
        FLOW_CONTROL = "flow_control", Plain, Fixed("flow_control");
        HEADERS_ONLY = "headers_only", Plain, InPlace;
        MAX_BATCH = "max_batch", Plain, InPlace;
        MAX_EXPIRES = "max_expires", Nanoseconds, InPlace;
        MAX_BYTES = "max_bytes", Bytes, InPlace;
        DELIVER_SUBJECT = "deliver_subject", Plain, Depends(deliver_subject);
        DELIVER_GROUP = "deliver_group", Plain, InPlace;
        IDLE_HEARTBEAT = "idle_heartbeat", Nanoseconds, Fixed("idle_heartbeat");
        INACTIVE_THRESHOLD = "inactive_threshold", Nanoseconds, InPlace;
        NUM_REPLICAS = "num_replicas", Plain, InPlace;
        MEM_STORAGE = "mem_storage", Plain, Fixed("mem_storage");
        METADATA = "metadata", Plain, InPlace;
        PRIORITY_GROUPS = "priority_groups", Plain, InPlace;
        PRIORITY_POLICY = "priority_policy", Plain, InPlace;
        PRIORITY_TIMEOUT = "priority_timeout", Nanoseconds, InPlace;
    }

    fn deliver_subject(from: &Json, to: &Json) -> Option<&'static str> {
        match (from.is_null(), to.is_null()) {
            (true, false) => Some("a pull consumer cannot become a push consumer"),
            (false, true) => Some("a push consumer cannot become a pull consumer"),
            _ => None,
        }
    }
}

impl ConfigKey {
    /// Whether the server's value is compared with the declared value.
    pub fn is_compared(self) -> bool {
        !matches!(self.update, Update::Never)
    }

    /// Whether lowering the value drops messages.
    pub fn is_limit(self) -> bool {
        matches!(self.update, Update::Limit)
    }

    /// Whether it stays `true` once it is.
    pub fn is_one_way(self) -> bool {
        matches!(self.update, Update::OneWay)
    }

    /// Why the server refuses to change it in place. `None` if it does not refuse.
    pub fn refusal(self, from: &Json, to: &Json) -> Option<String> {
        match self.update {
            Update::Never | Update::InPlace | Update::Limit => None,
            Update::Fixed(what) => Some(format!("{what} cannot be changed")),
            Update::OneWay if *from == Json::Bool(true) => Some(format!("{} cannot be taken back", self.name)),
            Update::OneWay => None,
            Update::Depends(refusal) => refusal(from, to).map(str::to_owned),
        }
    }

    /// Formats a value as the registry writes it.
    pub fn show(self, value: &Json) -> String {
        match (self.unit, value) {
            (_, Json::Null) => "none".to_owned(),
            (_, Json::Number(number)) if number.as_i64() == Some(-1) => "no limit".to_owned(),
            (_, Json::Array(list)) => list.iter().map(|v| self.show(v)).collect::<Vec<_>>().join(", "),
            (Unit::Nanoseconds, _) => duration(value.as_i64().unwrap_or_default()),
            (Unit::Bytes, _) => value.as_u64().map_or_else(|| value.to_string(), |n| Size(n).to_string()),
            (Unit::Origin, Json::Object(_)) => origin(value),
            (_, Json::String(text)) => text.clone(),
            (_, other) => other.to_string(),
        }
    }
}

/// Formats a source: stream name, exporting tenant if it is another tenant's, filter.
fn origin(source: &Json) -> String {
    let text = |value: &Json| value.as_str().map(str::to_owned);
    let api = text(&source["external"]["api"]);
    let whose = api.map(|api| format!(" of {}", api.trim_start_matches("JS.").trim_end_matches(".API")));
    let filter = text(&source["filter_subject"]).map(|filter| format!(" ({filter})"));
    let rewritten = source["subject_transforms"].is_array().then(|| ", rewritten".to_owned());
    [text(&source["name"]), whose, filter, rewritten].into_iter().flatten().collect()
}

/// Formats nanoseconds in the largest unit that divides them, as the registry writes durations.
fn duration(nanoseconds: i64) -> String {
    const UNITS: [(i64, &str); 4] =
        [(86_400_000_000_000, "d"), (3_600_000_000_000, "h"), (60_000_000_000, "m"), (1_000_000_000, "s")];
    match UNITS.iter().find(|(unit, _)| nanoseconds % unit == 0) {
        Some((unit, name)) => format!("{}{name}", nanoseconds / unit),
        None => format!("{}ms", nanoseconds / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_name_stands_twice() {
        for table in [stream::ALL, consumer::ALL] {
            let names: std::collections::BTreeSet<&str> = table.iter().map(|k| k.name).collect();
            assert_eq!(names.len(), table.len());
        }
    }

    #[test]
    fn a_value_reads_as_the_registry_writes_it() {
        let cases = [
            (stream::MAX_AGE, json!(86_400_000_000_000_i64), "1d"),
            (stream::MAX_AGE, json!(90_000_000_000_i64), "90s"),
            (stream::MAX_AGE, json!(1_500_000_000), "1500ms"),
            (stream::MAX_BYTES, json!(536_870_912), "512MiB"),
            (stream::MAX_BYTES, json!(-1), "no limit"),
            (stream::MAX_MSGS, json!(536_870_912), "536870912"),
            (stream::SUBJECTS, json!(["a.>", "b"]), "a.>, b"),
            (stream::RETENTION, Json::Null, "none"),
            (stream::MIRROR, json!({ "name": "S", "filter_subject": "a.b" }), "S (a.b)"),
            (
                stream::SOURCES,
                json!([{ "name": "S", "external": { "api": "JS.A.API" } }, { "name": "R", "subject_transforms": [] }]),
                "S of A, R, rewritten",
            ),
            (consumer::BACKOFF, json!([1_000_000_000, 60_000_000_000_i64]), "1s, 1m"),
            (consumer::MAX_BYTES, json!(1024), "1KiB"),
        ];
        for (key, value, shown) in cases {
            assert_eq!(key.show(&value), shown, "{} {value}", key.name);
        }
    }

    #[test]
    fn the_server_refuses_what_the_table_says_and_nothing_else() {
        let refused = |key: ConfigKey, from: Json, to: Json| key.refusal(&from, &to).is_some();
        assert!(refused(stream::STORAGE, json!("file"), json!("memory")));
        assert!(refused(stream::RETENTION, json!("limits"), json!("workqueue")));
        assert!(!refused(stream::RETENTION, json!("limits"), json!("interest")));
        assert!(refused(stream::DENY_DELETE, json!(true), Json::Null));
        assert!(!refused(stream::DENY_DELETE, Json::Null, json!(true)));
        assert!(refused(stream::MIRROR, Json::Null, json!({ "name": "S" })));
        assert!(!refused(stream::MIRROR, json!({ "name": "S" }), Json::Null));
        assert!(!refused(stream::MAX_AGE, json!(1), json!(2)));
        assert!(refused(consumer::ACK_POLICY, json!("none"), json!("explicit")));
        assert!(refused(consumer::DELIVER_SUBJECT, Json::Null, json!("d")));
        assert!(!refused(consumer::DELIVER_SUBJECT, json!("d"), json!("e")));
    }
}
