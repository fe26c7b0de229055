//! Lowers streams, consumers, buckets and object stores to the server's configuration.
//! Non-zero defaults are written out, so that the result can be compared with what a
//! server reports.

use serde_json::{Value as Json, json};

use super::super::decode::{Int, Key, Labels};
use super::super::{defaults, raw};
use super::value;
use crate::diag::{Span, Spanned};
use crate::model::jetstream::keys::{consumer as consumer_keys, stream as stream_keys};
use crate::model::jetstream::{Config, Consumer, Stream, StreamKind};
use crate::model::names::{BucketName, StreamName};
use crate::model::units::{Duration, Size};
use crate::model::{JetStream, Storage, StreamCopy};
use crate::subject::Subject;

/// Idle heartbeat of a consumer that feeds a copy, as the server requires it.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// The server's number for "no limit".
const NO_LIMIT: i64 = -1;

/// The keys that streams, buckets and object stores share.
struct Common<'r> {
    description: &'r Key<Spanned<String>>,
    storage: &'r Key<Spanned<Storage>>,
    replicas: &'r Key<Spanned<Int<1, 5>>>,
    max_age: &'r Key<Spanned<Duration>>,
    max_bytes: &'r Key<Spanned<Size>>,
    compression: &'r Key<Spanned<raw::Compression>>,
    placement: &'r Key<raw::Placement>,
    metadata: &'r Key<Labels>,
}

/// Borrows the common keys, which have the same names in all three.
macro_rules! common {
    ($raw:expr) => {
        Common {
            description: &$raw.description,
            storage: &$raw.storage,
            replicas: &$raw.replicas,
            max_age: &$raw.max_age,
            max_bytes: &$raw.max_bytes,
            compression: &$raw.compression,
            placement: &$raw.placement,
            metadata: &$raw.metadata,
        }
    };
}

pub(super) fn stream(raw: &raw::Stream, jetstream: Option<JetStream>, copies: &[StreamCopy]) -> Stream {
    let subjects: Vec<_> = raw.subjects().iter().map(|s| s.value.clone()).collect();
    let has_origin = raw.mirror.get().is_some() || !raw.source.is_empty();
    let mut c = common!(raw).config(raw.name.value.as_str());
    c.set(stream_keys::SUBJECTS, subjects.iter().map(ToString::to_string).collect::<Vec<_>>());
    c.set(stream_keys::RETENTION, value(&raw.retention).unwrap_or(raw::Retention::Limits).as_str());
    c.set(stream_keys::MAX_CONSUMERS, count(&raw.max_consumers));
    c.set(stream_keys::MAX_MSGS, count(&raw.max_msgs));
    c.set(stream_keys::MAX_MSGS_PER_SUBJECT, count(&raw.max_msgs_per_subject));
    c.set(stream_keys::MAX_MSG_SIZE, bytes(&raw.max_msg_size));
    c.set(stream_keys::DISCARD, value(&raw.discard).unwrap_or(raw::Discard::Old).as_str());
    c.set(stream_keys::DISCARD_NEW_PER_SUBJECT, is_on(&raw.discard_new_per_subject));
    c.set(stream_keys::DUPLICATE_WINDOW, duplicate_window(&raw.duplicate_window, &raw.max_age, has_origin));
    c.set(stream_keys::NO_ACK, is_on(&raw.no_ack));
    let marker = nanos(&raw.subject_delete_marker_ttl);
    // The server would enable it by itself.
    let rolls_up = is_on(&raw.allow_rollup_hdrs) || marker > 0 || is_on(&raw.allow_msg_schedules);
    c.set(stream_keys::ALLOW_ROLLUP_HDRS, rolls_up);
    c.set(stream_keys::ALLOW_DIRECT, is_on(&raw.allow_direct));
    c.set(stream_keys::DENY_DELETE, is_on(&raw.deny_delete));
    c.set(stream_keys::DENY_PURGE, is_on(&raw.deny_purge));
    c.set(stream_keys::ALLOW_MSG_TTL, is_on(&raw.allow_msg_ttl) || marker > 0);
    c.set(stream_keys::SUBJECT_DELETE_MARKER_TTL, marker);
    c.set(stream_keys::ALLOW_ATOMIC, is_on(&raw.allow_atomic));
    c.set(stream_keys::ALLOW_BATCHED, is_on(&raw.allow_batched));
    c.set(stream_keys::ALLOW_MSG_COUNTER, is_on(&raw.allow_msg_counter));
    c.set(stream_keys::ALLOW_MSG_SCHEDULES, is_on(&raw.allow_msg_schedules));
    c.set(stream_keys::SUBJECT_TRANSFORM, raw.subject_transform.get().map_or(Json::Null, transform));
    c.set(
        stream_keys::REPUBLISH,
        raw.republish.get().map_or(
            Json::Null,
            |r| json!({ "src": subject(&r.src, ">"), "dest": r.dest.value.text, "headers_only": is_on(&r.headers_only) }),
        ),
    );
    c.set(stream_keys::MIRROR, raw.mirror.get().map_or(Json::Null, |s| source(s, copies)));
    c.set(stream_keys::SOURCES, raw.source.iter().map(|s| source(s, copies)).collect::<Vec<_>>());
    c.set(
        stream_keys::CONSUMER_LIMITS,
        raw.consumer_limits.get().map_or(Json::Null, |l| {
            json!({
                "inactive_threshold": nanos(&l.inactive_threshold),
                "max_ack_pending": value(&l.max_ack_pending).map_or(0, |m| m.0),
            })
        }),
    );
    let transforms = raw.subject_transform.get().into_iter().chain(raw.origins().flat_map(|o| &o.subject_transforms));
    let republished = raw.republish.get().into_iter().map(|r| r.dest.value.covers.clone());
    let pushed = raw.consumer.iter().filter_map(|c| c.deliver_subject.get()).map(|s| s.value.clone());
    Stream {
        name: raw.name.value.clone(),
        span: raw.name.span,
        kind: StreamKind::Stream,
        subjects,
        config: c,
        consumers: raw.consumer.iter().map(|c| consumer(c, raw, jetstream)).collect(),
        copies: raw.origins().filter_map(|s| copy_of(s, copies)).cloned().collect(),
        rewritten: transforms.map(|t| t.dest.value.covers.clone()).collect(),
        delivered: republished.chain(pushed).collect(),
        origins: raw.origins().filter(|s| s.from.is_absent()).map(|s| s.name.value.clone()).collect(),
    }
}

fn consumer(raw: &raw::Consumer, stream: &raw::Stream, jetstream: Option<JetStream>) -> Consumer {
    let mut c = Config::default();
    let ack = value(&raw.ack_policy).unwrap_or(raw::AckPolicy::Explicit);
    let is_push = raw.deliver_subject.get().is_some();
    let filters: Vec<String> = raw.filters().map(|f| f.value.to_string()).collect();
    c.set(consumer_keys::NAME, raw.name.value.as_str());
    c.set(consumer_keys::DURABLE_NAME, raw.name.value.as_str());
    c.set(consumer_keys::DESCRIPTION, value(&raw.description).unwrap_or_default());
    match filters.as_slice() {
        [one] => c.set(consumer_keys::FILTER_SUBJECT, one.as_str()),
        many => c.set(consumer_keys::FILTER_SUBJECTS, many.to_vec()),
    }
    c.set(consumer_keys::DELIVER_POLICY, value(&raw.deliver_policy).unwrap_or(raw::DeliverPolicy::All).as_str());
    c.set(consumer_keys::OPT_START_SEQ, value(&raw.opt_start_seq).map_or(0, |s| s.0));
    c.set(consumer_keys::OPT_START_TIME, value(&raw.opt_start_time).map_or(Json::Null, |t| t.as_str().into()));
    c.set(consumer_keys::ACK_POLICY, ack.as_str());
    let backoff: Vec<i64> = raw.backoff.iter().map(|b| nanoseconds(b.value)).collect();
    let limits = stream.consumer_limits.get().and_then(|l| value(&l.max_ack_pending)).map(|m| m.0);
    if ack == raw::AckPolicy::None {
        c.set(consumer_keys::MAX_ACK_PENDING, limits.unwrap_or(0));
    } else {
        let wait = backoff.first().copied();
        c.set(
            consumer_keys::ACK_WAIT,
            wait.unwrap_or_else(|| nanoseconds(value(&raw.ack_wait).unwrap_or(defaults::ACK_WAIT))),
        );
        let most =
            jetstream.map_or(defaults::CONSUMER_ACK_PENDING, |j| j.max_ack_pending).min(limits.unwrap_or(u32::MAX));
        c.set(
            consumer_keys::MAX_ACK_PENDING,
            value(&raw.max_ack_pending).map_or(defaults::CONSUMER_ACK_PENDING.min(most), |m| m.0),
        );
    }
    c.set(consumer_keys::BACKOFF, backoff);
    c.set(consumer_keys::MAX_DELIVER, count(&raw.max_deliver));
    c.set(consumer_keys::REPLAY_POLICY, value(&raw.replay_policy).unwrap_or(raw::ReplayPolicy::Instant).as_str());
    // The server applies the stream's limit to a consumer without a threshold.
    let bound = stream.consumer_limits.get().map_or(0, |l| nanos(&l.inactive_threshold));
    c.set(consumer_keys::INACTIVE_THRESHOLD, value(&raw.inactive_threshold).map_or(bound, nanoseconds));
    c.set(consumer_keys::SAMPLE_FREQ, value(&raw.sample_freq).map_or_else(String::new, |p| p.0));
    c.set(consumer_keys::HEADERS_ONLY, is_on(&raw.headers_only));
    c.set(consumer_keys::NUM_REPLICAS, value(&raw.replicas).map_or(0, |r| r.0));
    c.set(consumer_keys::MEM_STORAGE, is_on(&raw.mem_storage));
    if is_push {
        c.set(consumer_keys::DELIVER_SUBJECT, subject(&raw.deliver_subject, ""));
        c.set(consumer_keys::DELIVER_GROUP, value(&raw.deliver_group).map_or_else(String::new, |g| g.0));
        c.set(consumer_keys::FLOW_CONTROL, is_on(&raw.flow_control));
        c.set(consumer_keys::IDLE_HEARTBEAT, nanos(&raw.idle_heartbeat));
        c.set(consumer_keys::RATE_LIMIT_BPS, value(&raw.rate_limit_bps).map_or(0, |r| r.0));
    } else {
        c.set(consumer_keys::MAX_WAITING, value(&raw.max_waiting).map_or(defaults::MAX_WAITING, |m| m.0));
        c.set(consumer_keys::MAX_BATCH, value(&raw.max_batch).map_or(0, |m| m.0));
        c.set(consumer_keys::MAX_EXPIRES, nanos(&raw.max_expires));
        c.set(consumer_keys::MAX_BYTES, value(&raw.max_bytes).map_or(0, Size::bytes));
        c.set(
            consumer_keys::PRIORITY_GROUPS,
            raw.priority_groups.iter().map(|g| g.value.0.as_str()).collect::<Vec<_>>(),
        );
        let policy = value(&raw.priority_policy);
        c.set(consumer_keys::PRIORITY_POLICY, policy.map_or("", raw::PriorityPolicy::as_str));
        let pins = policy == Some(raw::PriorityPolicy::PinnedClient);
        let timeout = value(&raw.priority_timeout).or(pins.then_some(defaults::DUPLICATE_WINDOW));
        c.set(consumer_keys::PRIORITY_TIMEOUT, timeout.map_or(0, nanoseconds));
    }
    c.set(consumer_keys::METADATA, labels(&raw.metadata));
    Consumer { name: raw.name.value.clone(), span: raw.name.span, config: c }
}

/// The consumer that feeds another tenant's copy of a stream. The server requires flow
/// control, an idle heartbeat of one second, no `ack_wait` and unlimited deliveries.
pub(super) fn feeding_consumer(copy: &StreamCopy, span: Span, jetstream: Option<JetStream>) -> Consumer {
    let mut c = Config::default();
    c.set(consumer_keys::NAME, copy.consumer().as_str());
    c.set(consumer_keys::DURABLE_NAME, copy.consumer().as_str());
    c.set(consumer_keys::DESCRIPTION, format!("copied by {}", copy.to));
    c.set(consumer_keys::FILTER_SUBJECT, copy.filter.as_ref().map_or("", Subject::as_str));
    c.set(consumer_keys::DELIVER_POLICY, "all");
    c.set(consumer_keys::DELIVER_SUBJECT, copy.deliver());
    c.set(consumer_keys::ACK_POLICY, "flow_control");
    c.set(
        consumer_keys::MAX_ACK_PENDING,
        jetstream.map_or(defaults::CONSUMER_ACK_PENDING, |j| j.max_ack_pending).min(defaults::CONSUMER_ACK_PENDING),
    );
    c.set(consumer_keys::MAX_DELIVER, NO_LIMIT);
    c.set(consumer_keys::FLOW_CONTROL, true);
    c.set(consumer_keys::IDLE_HEARTBEAT, nanoseconds(HEARTBEAT));
    c.set(consumer_keys::REPLAY_POLICY, "instant");
    Consumer { name: copy.consumer(), span, config: c }
}

/// The stream behind a key-value bucket, as client libraries create it.
pub(super) fn bucket(raw: &raw::Bucket) -> Stream {
    let name = format!("KV_{}", raw.name.value);
    let mut c = common!(raw).config(&name);
    c.set(stream_keys::SUBJECTS, vec![format!("$KV.{}.>", raw.name.value)]);
    c.set(stream_keys::MAX_MSGS_PER_SUBJECT, value(&raw.history).map_or(1, |h| h.0));
    c.set(stream_keys::MAX_MSG_SIZE, bytes(&raw.max_value_size));
    c.set(stream_keys::DISCARD, "new");
    c.set(stream_keys::DENY_DELETE, true);
    c.set(stream_keys::ALLOW_DIRECT, true);
    c.set(stream_keys::DUPLICATE_WINDOW, duplicate_window(&Key::Absent, &raw.max_age, false));
    c.set(stream_keys::ALLOW_MSG_TTL, nanos(&raw.limit_marker_ttl) > 0);
    c.set(stream_keys::SUBJECT_DELETE_MARKER_TTL, nanos(&raw.limit_marker_ttl));
    stored(name, &raw.name, StreamKind::Bucket, c)
}

/// The stream behind an object store, as client libraries create it.
pub(super) fn object_store(raw: &raw::ObjectStore) -> Stream {
    let name = format!("OBJ_{}", raw.name.value);
    let mut c = common!(raw).config(&name);
    c.set(stream_keys::SUBJECTS, vec![format!("$O.{}.C.>", raw.name.value), format!("$O.{}.M.>", raw.name.value)]);
    c.set(stream_keys::MAX_MSGS_PER_SUBJECT, NO_LIMIT);
    c.set(stream_keys::MAX_MSG_SIZE, NO_LIMIT);
    c.set(stream_keys::DISCARD, "new");
    c.set(stream_keys::ALLOW_DIRECT, true);
    c.set(stream_keys::DUPLICATE_WINDOW, duplicate_window(&Key::Absent, &raw.max_age, false));
    stored(name, &raw.name, StreamKind::ObjectStore, c)
}

/// Completes the stream behind a bucket or an object store.
fn stored(name: String, written: &Spanned<BucketName>, kind: StreamKind, mut c: Config) -> Stream {
    c.set(stream_keys::RETENTION, "limits");
    c.set(stream_keys::MAX_CONSUMERS, NO_LIMIT);
    c.set(stream_keys::MAX_MSGS, NO_LIMIT);
    c.set(stream_keys::ALLOW_ROLLUP_HDRS, true);
    let subjects = c.get("subjects").as_array().into_iter().flatten().filter_map(Json::as_str);
    let subjects = subjects.filter_map(Subject::as_the_server_reads).collect();
    Stream {
        name: StreamName::behind(name),
        span: written.span,
        kind,
        subjects,
        config: c,
        consumers: Vec::new(),
        origins: Vec::new(),
        copies: Vec::new(),
        rewritten: Vec::new(),
        delivered: Vec::new(),
    }
}

impl Common<'_> {
    fn config(&self, name: &str) -> Config {
        let mut c = Config::default();
        c.set(stream_keys::NAME, name);
        c.set(stream_keys::DESCRIPTION, value(self.description).unwrap_or_default());
        c.set(stream_keys::STORAGE, if value(self.storage) == Some(Storage::Memory) { "memory" } else { "file" });
        c.set(stream_keys::NUM_REPLICAS, value(self.replicas).map_or(1, |r| r.0));
        c.set(stream_keys::MAX_AGE, nanos(self.max_age));
        c.set(stream_keys::MAX_BYTES, bytes(self.max_bytes));
        c.set(stream_keys::COMPRESSION, value(self.compression).unwrap_or(raw::Compression::None).as_str());
        c.set(
            stream_keys::PLACEMENT,
            self.placement.get().map_or(Json::Null, |p| {
                let tags: Vec<&str> = p.tags.iter().map(|t| t.value.as_str()).collect();
                json!({ "cluster": value(&p.cluster).unwrap_or_default(), "tags": tags })
            }),
        );
        c.set(stream_keys::METADATA, labels(self.metadata));
        c
    }
}

/// The copy that a source refers to. `None` if the source is a stream of the same tenant or
/// is not shared with this one.
fn copy_of<'c>(raw: &raw::Source, copies: &'c [StreamCopy]) -> Option<&'c StreamCopy> {
    let from = value(&raw.from)?;
    copies.iter().find(|c| c.from == from && c.stream == raw.name.value)
}

fn source(raw: &raw::Source, copies: &[StreamCopy]) -> Json {
    let copy = copy_of(raw, copies);
    json!({
        "name": raw.name.value.as_str(),
        "external": copy.map(|c| json!({ "api": c.api() })),
        "consumer": copy.map(|c| json!({ "name": c.consumer().as_str(), "deliver_subject": c.deliver() })),
        "filter_subject": subject(&raw.filter, ""),
        "opt_start_seq": value(&raw.opt_start_seq).map_or(0, |s| s.0),
        "opt_start_time": value(&raw.opt_start_time).map_or(Json::Null, |t| t.as_str().into()),
        "subject_transforms": raw.subject_transforms.iter().map(transform).collect::<Vec<_>>(),
    })
}

fn transform(raw: &raw::SubjectTransform) -> Json {
    json!({ "src": subject(&raw.src, ">"), "dest": raw.dest.value.text })
}

fn subject(key: &Key<Spanned<Subject>>, default: &str) -> String {
    key.get().map_or_else(|| default.to_owned(), |s| s.value.to_string())
}

fn is_on(key: &Key<Spanned<bool>>) -> bool {
    value(key).unwrap_or(false)
}

fn count(key: &Key<Spanned<raw::Count>>) -> i64 {
    value(key).map_or(NO_LIMIT, |c| c.0.into())
}

fn bytes(key: &Key<Spanned<Size>>) -> i64 {
    value(key).map_or(NO_LIMIT, |s| i64::try_from(s.bytes()).unwrap_or(i64::MAX))
}

fn nanos(key: &Key<Spanned<Duration>>) -> i64 {
    value(key).map_or(0, nanoseconds)
}

fn nanoseconds(length: Duration) -> i64 {
    i64::try_from(length.0.as_nanos()).unwrap_or(i64::MAX)
}

/// Duplicate window in nanoseconds. The default does not exceed `max_age`; a stream with a
/// mirror or sources has none unless the registry sets one.
fn duplicate_window(window: &Key<Spanned<Duration>>, max_age: &Key<Spanned<Duration>>, has_origin: bool) -> i64 {
    match (value(window), value(max_age)) {
        (Some(window), _) => nanoseconds(window),
        (None, _) if has_origin => 0,
        (None, max_age) => {
            nanoseconds(max_age.map_or(defaults::DUPLICATE_WINDOW, |age| age.min(defaults::DUPLICATE_WINDOW)))
        }
    }
}

fn labels(key: &Key<Labels>) -> Json {
    let labels = key.get().map(|l| l.0.as_slice()).unwrap_or_default();
    Json::Object(labels.iter().map(|(key, value)| (key.clone(), Json::from(value.as_str()))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::testing::{model_with, tenant};

    const MINUTE: i64 = 60_000_000_000;

    /// The first stream of `T`, lowered from text inside it.
    fn lowered(text: &str) -> Stream {
        tenant(&model_with(text), "T").streams[0].clone()
    }

    fn stream_with(keys: &str) -> Stream {
        lowered(&format!("[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.s.>\"]\n{keys}\n"))
    }

    fn consumer_with(keys: &str) -> Config {
        let stream = stream_with(&format!("[[tenant.stream.consumer]]\nname = \"c\"\n{keys}"));
        stream.consumers[0].config.clone()
    }

    #[test]
    fn a_stream_without_keys_has_the_servers_defaults_written_out() {
        let stream = stream_with("");
        let expected = json!({
            "name": "S", "subjects": ["T.s.>"], "retention": "limits", "storage": "file", "discard": "old",
            "num_replicas": 1, "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_msgs_per_subject": -1,
            "max_msg_size": -1, "duplicate_window": 2 * MINUTE, "compression": "none",
        });
        assert_eq!(stream.config.to_json(), expected);
        assert_eq!(stream.kind, StreamKind::Stream);
    }

    #[test]
    fn what_a_stream_sets_is_written_in_the_servers_units() {
        let config = stream_with(
            "retention = \"workqueue\"\nmax_bytes = \"1KiB\"\nmax_msgs = 5\ndiscard = \"new\"\ncompression = \"s2\"\n\
             max_age = \"1h\"\ndescription = \"d\"\nmetadata = { team = \"x\" }",
        )
        .config;
        let expected = [
            ("retention", json!("workqueue")),
            ("max_bytes", json!(1024)),
            ("max_msgs", json!(5)),
            ("discard", json!("new")),
            ("compression", json!("s2")),
            ("max_age", json!(60 * MINUTE)),
            ("description", json!("d")),
            ("metadata", json!({ "team": "x" })),
        ];
        for (key, value) in expected {
            assert_eq!(config.get(key), &value, "{key}");
        }
    }

    #[test]
    fn a_duplicate_window_never_exceeds_max_age() {
        let window = |keys: &str| stream_with(keys).config.get("duplicate_window").as_i64();
        let cases = [
            ("", 2 * MINUTE),
            ("max_age = \"1m\"", MINUTE),
            ("max_age = \"2m\"", 2 * MINUTE),
            ("max_age = \"1h\"", 2 * MINUTE),
            ("max_age = \"1h\"\nduplicate_window = \"30m\"", 30 * MINUTE),
        ];
        for (keys, nanoseconds) in cases {
            assert_eq!(window(keys), Some(nanoseconds), "{keys}");
        }
        let bucket = lowered("[[tenant.bucket]]\nname = \"b\"\nmax_age = \"30s\"\n");
        assert_eq!(bucket.config.get("duplicate_window"), MINUTE / 2);
    }

    #[test]
    fn a_stream_with_sources_has_a_duplicate_window_only_if_it_sets_one() {
        let sourced = |keys: &str| {
            let origin = "[[tenant.stream]]\nname = \"O\"\nsubjects = [\"T.o\"]\n";
            let stream = format!("[[tenant.stream]]\nname = \"S\"\n{keys}[[tenant.stream.source]]\nname = \"O\"\n");
            tenant(&model_with(&format!("{origin}{stream}")), "T").streams[1].config.get("duplicate_window").clone()
        };
        assert_eq!(sourced(""), Json::Null);
        assert_eq!(sourced("duplicate_window = \"1m\"\n"), json!(MINUTE));
    }

    #[test]
    fn keys_that_imply_others_set_them_as_the_server_does() {
        let flags = |keys: &str| {
            let config = stream_with(keys).config;
            ["allow_rollup_hdrs", "allow_msg_ttl"].map(|key| *config.get(key) == true)
        };
        assert_eq!(flags(""), [false, false]);
        assert_eq!(flags("allow_msg_ttl = true"), [false, true]);
        assert_eq!(flags("allow_msg_schedules = true"), [true, false]);
        assert_eq!(flags("subject_delete_marker_ttl = \"1m\""), [true, true]);
    }

    #[test]
    fn a_bucket_is_the_stream_that_client_libraries_create() {
        let stream =
            lowered("[[tenant.bucket]]\nname = \"cfg\"\nhistory = 5\nmax_bytes = \"1MiB\"\nstorage = \"file\"\n");
        let expected = json!({
            "name": "KV_cfg", "subjects": ["$KV.cfg.>"], "retention": "limits", "storage": "file", "discard": "new",
            "num_replicas": 1, "max_consumers": -1, "max_msgs": -1, "max_bytes": 1 << 20, "max_msgs_per_subject": 5,
            "max_msg_size": -1, "duplicate_window": 2 * MINUTE, "compression": "none",
            "deny_delete": true, "allow_direct": true, "allow_rollup_hdrs": true,
        });
        assert_eq!(stream.config.to_json(), expected);
        assert_eq!(stream.kind, StreamKind::Bucket);
        assert_eq!(lowered("[[tenant.bucket]]\nname = \"b\"\n").config.get("max_msgs_per_subject"), 1);
    }

    #[test]
    fn an_object_store_is_the_stream_that_client_libraries_create() {
        let stream = lowered("[[tenant.object_store]]\nname = \"files\"\n");
        let expected = json!({
            "name": "OBJ_files", "subjects": ["$O.files.C.>", "$O.files.M.>"], "retention": "limits",
            "storage": "file", "discard": "new", "num_replicas": 1, "max_consumers": -1, "max_msgs": -1,
            "max_bytes": -1, "max_msgs_per_subject": -1, "max_msg_size": -1, "duplicate_window": 2 * MINUTE,
            "compression": "none", "allow_direct": true, "allow_rollup_hdrs": true,
        });
        assert_eq!(stream.config.to_json(), expected);
        assert_eq!(stream.kind, StreamKind::ObjectStore);
        assert_eq!(stream.subjects.iter().map(Subject::as_str).collect::<Vec<_>>(), ["$O.files.C.>", "$O.files.M.>"]);
    }

    #[test]
    fn a_pull_consumer_without_keys_has_the_servers_defaults_written_out() {
        let expected = json!({
            "name": "c", "durable_name": "c", "deliver_policy": "all", "ack_policy": "explicit",
            "ack_wait": MINUTE / 2, "max_ack_pending": 1000, "max_deliver": -1, "replay_policy": "instant",
            "max_waiting": 512,
        });
        assert_eq!(consumer_with("").to_json(), expected);
    }

    #[test]
    fn a_push_consumer_has_no_key_of_pull_consumers() {
        let config = consumer_with(
            "deliver_subject = \"T.d\"\ndeliver_group = \"g\"\nidle_heartbeat = \"5s\"\nflow_control = true",
        );
        assert_eq!(config.get("deliver_subject"), "T.d");
        assert_eq!(config.get("idle_heartbeat"), MINUTE / 12);
        assert_eq!((config.get("max_waiting"), config.get("flow_control")), (&Json::Null, &json!(true)));
        assert_eq!(consumer_with("").get("max_waiting"), 512, "the control");
    }

    #[test]
    fn the_pending_messages_of_a_consumer_stay_within_every_limit() {
        let pending = |tenant: u32, stream: &str, consumer: &str| {
            let text = format!(
                "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.s\"]\n{stream}[[tenant.stream.consumer]]\nname = \"c\"\n{consumer}"
            );
            let text = format!("{}{text}", crate::registry::testing::TWO_TENANTS)
                .replace("storage = \"512MiB\"", &format!("storage = \"512MiB\"\nmax_ack_pending = {tenant}"));
            let model = crate::registry::testing::model_of(&text);
            crate::registry::testing::tenant(&model, "T").streams[0].consumers[0].config.get("max_ack_pending").as_u64()
        };
        let limits = "consumer_limits = { max_ack_pending = 50 }\n";
        assert_eq!(pending(5000, "", ""), Some(1000));
        assert_eq!(pending(500, "", ""), Some(500));
        assert_eq!(pending(500, limits, ""), Some(50));
        assert_eq!(pending(5000, "", "max_ack_pending = 3000\n"), Some(3000));
    }

    #[test]
    fn backoff_takes_the_place_of_ack_wait() {
        let config = consumer_with("backoff = [\"1m\", \"2m\"]\nmax_deliver = 3");
        assert_eq!((config.get("ack_wait"), config.get("backoff")), (&json!(MINUTE), &json!([MINUTE, 2 * MINUTE])));
        assert_eq!(consumer_with("ack_wait = \"2m\"").get("ack_wait"), 2 * MINUTE, "the control");
        assert_eq!(consumer_with("ack_policy = \"none\"").get("ack_wait"), &Json::Null);
    }

    #[test]
    fn one_filter_is_a_filter_subject_and_several_are_filter_subjects() {
        let filters = |keys: &str| {
            let config = consumer_with(keys);
            (config.get("filter_subject").clone(), config.get("filter_subjects").clone())
        };
        assert_eq!(filters(""), (Json::Null, Json::Null));
        assert_eq!(filters("filter = \"T.s.a\""), (json!("T.s.a"), Json::Null));
        assert_eq!(filters("filters = [\"T.s.a\"]"), (json!("T.s.a"), Json::Null));
        assert_eq!(filters("filters = [\"T.s.a\", \"T.s.b\"]"), (Json::Null, json!(["T.s.a", "T.s.b"])));
    }
}
