//! Streams, consumers, key-value buckets and object stores as written, with the server's
//! key names and readable units.

use super::super::decode::{Int, Key, Labels, List, Scalar, keys, words};
use super::Count;
use crate::diag::Spanned;
use crate::model::Storage;
use crate::model::names::{AccountName, BucketName, ConsumerName, StreamName};
use crate::model::units::{Duration, Size, Timestamp};
use crate::registry::codes;
use crate::subject::Subject;

/// Number of replicas in a cluster.
type Replicas = Int<1, 5>;

keys! {
    /// A stream.
    Stream, "a stream" {
        /// The stream's name.
        name: Spanned<StreamName>,
        /// Its purpose.
        description: Key<Spanned<String>>,
        /// What it captures, inside the tenant's subjects, or among those that others share with it.
        subjects: Key<List<Spanned<Subject>>>,
        /// limits, interest or workqueue. Default limits.
        retention: Key<Spanned<Retention>>,
        /// file or memory. Default file.
        storage: Key<Spanned<Storage>>,
        /// Copies in a cluster. Default 1.
        replicas: Key<Spanned<Replicas>>,
        /// Oldest message kept. Default no limit.
        max_age: Key<Spanned<Duration>>,
        /// Bytes kept; they are reserved. Default no limit but the tenant's.
        max_bytes: Key<Spanned<Size>>,
        /// Messages kept. Default no limit.
        max_msgs: Key<Spanned<Count>>,
        /// Messages kept for each subject. Default no limit.
        max_msgs_per_subject: Key<Spanned<Count>>,
        /// Largest message. Default the tenant's payload.
        max_msg_size: Key<Spanned<Size>>,
        /// Consumers, clients' own included. Default no limit but the tenant's.
        max_consumers: Key<Spanned<Count>>,
        /// What goes when it is full: old or new. Default old.
        discard: Key<Spanned<Discard>>,
        /// With discard = "new": refuse what is above max_msgs_per_subject too. Default false.
        discard_new_per_subject: Key<Spanned<bool>>,
        /// How long message ids are remembered. Default 2m, or max_age if that is shorter.
        duplicate_window: Key<Spanned<Duration>>,
        /// Publishers get no acknowledgement. Default false.
        no_ack: Key<Spanned<bool>>,
        /// none or s2. Default none.
        compression: Key<Spanned<Compression>>,
        /// Where in a cluster it is kept.
        placement: Key<Placement>,
        /// Publishers may replace what came before on a subject. Default false.
        allow_rollup_hdrs: Key<Spanned<bool>>,
        /// Single messages can be read fast, from any copy. Default false.
        allow_direct: Key<Spanned<bool>>,
        /// No message can be deleted by request; cannot be taken back. Default false.
        deny_delete: Key<Spanned<bool>>,
        /// The stream cannot be purged by request; cannot be taken back. Default false.
        deny_purge: Key<Spanned<bool>>,
        /// Messages may carry a time to live; cannot be taken back. Default false. Server 2.11.
        allow_msg_ttl: Key<Spanned<bool>>,
        /// How long a marker stays where a subject's last message expired; implies allow_msg_ttl and allow_rollup_hdrs. Server 2.11.
        subject_delete_marker_ttl: Key<Spanned<Duration>>,
        /// Batches may be published all or nothing. Default false. Server 2.12.
        allow_atomic: Key<Spanned<bool>>,
        /// Batches may be published fast. Default false. Server 2.14.
        allow_batched: Key<Spanned<bool>>,
        /// Messages count; cannot be changed. Default false. Server 2.12.
        allow_msg_counter: Key<Spanned<bool>>,
        /// Messages may be scheduled; cannot be taken back; implies allow_rollup_hdrs. Default false. Server 2.12.
        allow_msg_schedules: Key<Spanned<bool>>,
        /// Rewrites subjects as messages come in.
        subject_transform: Key<SubjectTransform>,
        /// Publishes again what was stored.
        republish: Key<Republish>,
        /// Makes it a copy of another stream. Then it has no subjects.
        mirror: Key<Source>,
        /// Streams whose messages it takes in too.
        source: List<Source>,
        /// Bounds for consumers; declared ones that say nothing get them as their own values.
        consumer_limits: Key<ConsumerLimits>,
        /// Labels, as server and clients show them.
        metadata: Key<Labels>,
        /// Durable consumers.
        consumer: List<Consumer>,
    }

    /// Where in a cluster a stream is kept.
    Placement, "[tenant.stream.placement]" {
        /// Name of the cluster.
        cluster: Key<Spanned<String>>,
        /// Tags that its servers have.
        tags: List<Spanned<String>>,
    }

    /// Rewrites subjects.
    SubjectTransform, "a subject transform" {
        /// Which subjects. Default all.
        src: Key<Spanned<Subject>>,
        /// What becomes of them; `{{wildcard(1)}}` stands for the first wildcard's token.
        dest: Spanned<TransformDest>,
    }

    /// Publishes again what was stored, to plain subscribers.
    Republish, "[tenant.stream.republish]" {
        /// Which subjects. Default all.
        src: Key<Spanned<Subject>>,
        /// To which, inside the tenant's subjects.
        dest: Spanned<TransformDest>,
        /// Without the message's body. Default false.
        headers_only: Key<Spanned<bool>>,
    }

    /// A stream that messages are taken from.
    Source, "a source" {
        /// That stream's name.
        name: Spanned<StreamName>,
        /// The tenant that shares it with this one: a [[share]] with `jetstream`. Default the same tenant.
        from: Key<Spanned<AccountName>>,
        /// Which of its subjects. Default all.
        filter: Key<Spanned<Subject>>,
        /// From this message on.
        opt_start_seq: Key<Spanned<Count>>,
        /// From this moment on: "2026-01-31T00:00:00Z".
        opt_start_time: Key<Spanned<Timestamp>>,
        /// Takes these subjects and rewrites them; instead of `filter`.
        subject_transforms: List<SubjectTransform>,
    }

    /// Bounds for consumers; declared ones that say nothing get them as their own values.
    ConsumerLimits, "[tenant.stream.consumer_limits]" {
        /// Longest inactive_threshold: who is unused for so long is deleted, declared consumers too.
        inactive_threshold: Key<Spanned<Duration>>,
        /// Most unacknowledged messages.
        max_ack_pending: Key<Spanned<Int<1, 1_000_000>>>,
    }

    /// A durable consumer: pull, or push if it has a deliver_subject.
    Consumer, "a consumer" {
        /// The consumer's name.
        name: Spanned<ConsumerName>,
        /// Its purpose.
        description: Key<Spanned<String>>,
        /// Which of the stream's subjects it takes. Default all.
        filter: Key<Spanned<Subject>>,
        /// The same, where there are several.
        filters: List<Spanned<Subject>>,
        /// Where it begins: all, last, new, last_per_subject, by_start_sequence or by_start_time. Default all.
        deliver_policy: Key<Spanned<DeliverPolicy>>,
        /// With by_start_sequence: the first message.
        opt_start_seq: Key<Spanned<Count>>,
        /// With by_start_time: "2026-01-31T00:00:00Z".
        opt_start_time: Key<Spanned<Timestamp>>,
        /// explicit, all or none. Default explicit.
        ack_policy: Key<Spanned<AckPolicy>>,
        /// How long until a delivery counts as lost. Default 30s, or the first of backoff.
        ack_wait: Key<Spanned<Duration>>,
        /// Deliveries of one message at most. Default no limit.
        max_deliver: Key<Spanned<Count>>,
        /// How long until the second, third, … delivery, instead of ack_wait.
        backoff: List<Spanned<Duration>>,
        /// Unacknowledged messages at a time. Default 1000, or what the tenant may have.
        max_ack_pending: Key<Spanned<Int<1, 1_000_000>>>,
        /// instant, or original: as slowly as they came. Default instant.
        replay_policy: Key<Spanned<ReplayPolicy>>,
        /// Deletes the consumer when nobody used it for so long. Default never.
        inactive_threshold: Key<Spanned<Duration>>,
        /// Share of acknowledgements that are measured, in percent: "100". Default none.
        sample_freq: Key<Spanned<Percent>>,
        /// Without the messages' bodies. Default false.
        headers_only: Key<Spanned<bool>>,
        /// Copies of its state. Default as the stream.
        replicas: Key<Spanned<Replicas>>,
        /// Keeps its state in memory. Default false.
        mem_storage: Key<Spanned<bool>>,
        /// Pull: requests that may wait. Default 512.
        max_waiting: Key<Spanned<Int<1, 1_000_000>>>,
        /// Pull: messages of one request at most. Default no limit.
        max_batch: Key<Spanned<Count>>,
        /// Pull: how long a request may wait. Default no limit.
        max_expires: Key<Spanned<Duration>>,
        /// Pull: bytes of one request at most. Default no limit.
        max_bytes: Key<Spanned<Size>>,
        /// Pull: groups of clients between which priority_policy decides. Server 2.11.
        priority_groups: List<Spanned<GroupName>>,
        /// Pull: overflow, pinned_client or prioritized. Server 2.11 (prioritized 2.12).
        priority_policy: Key<Spanned<PriorityPolicy>>,
        /// Pull: after how much silence another client is pinned. Default 2m.
        priority_timeout: Key<Spanned<Duration>>,
        /// Push: where messages are delivered, inside the tenant's subjects.
        deliver_subject: Key<Spanned<Subject>>,
        /// Push: the queue group that they are shared in.
        deliver_group: Key<Spanned<GroupName>>,
        /// Push: waits for slow clients; needs idle_heartbeat. Default false.
        flow_control: Key<Spanned<bool>>,
        /// Push: a sign of life after so much silence.
        idle_heartbeat: Key<Spanned<Duration>>,
        /// Push: bits per second at most. Default no limit.
        rate_limit_bps: Key<Spanned<Count>>,
        /// Labels, as server and clients show them.
        metadata: Key<Labels>,
    }

    /// A key-value bucket.
    Bucket, "a bucket" {
        /// The bucket's name.
        name: Spanned<BucketName>,
        /// Its purpose.
        description: Key<Spanned<String>>,
        /// Values kept for each key. Default 1.
        history: Key<Spanned<Int<1, 64>>>,
        /// Oldest value kept. Default no limit.
        max_age: Key<Spanned<Duration>>,
        /// Bytes kept; they are reserved. Default no limit but the tenant's.
        max_bytes: Key<Spanned<Size>>,
        /// Largest value. Default the tenant's payload.
        max_value_size: Key<Spanned<Size>>,
        /// Keys may carry a time to live, and a marker stays for so long where one expired. Server 2.11.
        limit_marker_ttl: Key<Spanned<Duration>>,
        /// file or memory. Default file.
        storage: Key<Spanned<Storage>>,
        /// Copies in a cluster. Default 1.
        replicas: Key<Spanned<Replicas>>,
        /// none or s2. Default none.
        compression: Key<Spanned<Compression>>,
        /// Where in a cluster it is kept.
        placement: Key<Placement>,
        /// Labels, as server and clients show them.
        metadata: Key<Labels>,
    }

    /// An object store.
    ObjectStore, "an object store" {
        /// The object store's name.
        name: Spanned<BucketName>,
        /// Its purpose.
        description: Key<Spanned<String>>,
        /// Oldest object kept. Default no limit.
        max_age: Key<Spanned<Duration>>,
        /// Bytes kept; they are reserved. Default no limit but the tenant's.
        max_bytes: Key<Spanned<Size>>,
        /// file or memory. Default file.
        storage: Key<Spanned<Storage>>,
        /// Copies in a cluster. Default 1.
        replicas: Key<Spanned<Replicas>>,
        /// none or s2. Default none.
        compression: Key<Spanned<Compression>>,
        /// Where in a cluster it is kept.
        placement: Key<Placement>,
        /// Labels, as server and clients show them.
        metadata: Key<Labels>,
    }
}

words! {
    /// When a stream lets go of a message.
    Retention, "a retention policy" {
        /// When a limit is reached.
        Limits = "limits",
        /// When every interested consumer has acknowledged it.
        Interest = "interest",
        /// When one consumer has acknowledged it.
        WorkQueue = "workqueue",
    }

    /// What a full stream does.
    Discard, "a discard policy" {
        /// Drops the oldest.
        Old = "old",
        /// Refuses the newest.
        New = "new",
    }

    /// How messages are kept on disk.
    Compression, "a compression" {
        /// As they are.
        None = "none",
        /// Compressed.
        S2 = "s2",
    }

    /// Where a consumer begins.
    DeliverPolicy, "a deliver policy" {
        /// With the first message.
        All = "all",
        /// With the last one.
        Last = "last",
        /// With the next one.
        New = "new",
        /// With the last of each subject.
        LastPerSubject = "last_per_subject",
        /// With `opt_start_seq`.
        ByStartSequence = "by_start_sequence",
        /// With `opt_start_time`.
        ByStartTime = "by_start_time",
    }

    /// What has to be acknowledged.
    AckPolicy, "an ack policy" {
        /// Each message.
        Explicit = "explicit",
        /// The last of many.
        All = "all",
        /// Nothing.
        None = "none",
    }

    /// How fast stored messages are delivered.
    ReplayPolicy, "a replay policy" {
        /// At once.
        Instant = "instant",
        /// As slowly as they came.
        Original = "original",
    }

    /// Which client of a priority group is served.
    PriorityPolicy, "a priority policy" {
        /// Others only when enough is pending.
        Overflow = "overflow",
        /// One, as long as it asks.
        PinnedClient = "pinned_client",
        /// The one with the lowest number.
        Prioritized = "prioritized",
    }
}

impl Scalar for Storage {
    const RULE: &'static str = codes::UNKNOWN_WORD;
    const WHAT: &'static str = "a storage type";
    const HINT: &'static str = "one of `file` `memory`";
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "file" => Ok(Self::File),
            "memory" => Ok(Self::Memory),
            _ => Err("unknown word".into()),
        }
    }
    fn schema() -> serde_json::Value {
        serde_json::json!({ "enum": ["file", "memory"] })
    }
}

impl Scalar for Timestamp {
    const RULE: &'static str = codes::INVALID_TIME;
    const WHAT: &'static str = "a moment";
    const HINT: &'static str = "write it in UTC, in quotes: \"2026-01-31T00:00:00Z\"";
    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

/// A percentage of acknowledgements to sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Percent(pub String);

impl Scalar for Percent {
    const RULE: &'static str = codes::OUT_OF_RANGE;
    const WHAT: &'static str = "a percentage";
    const HINT: &'static str = "write \"1\" to \"100\"";
    fn parse(text: &str) -> Result<Self, String> {
        match text.trim_end_matches('%').parse::<u8>() {
            Ok(percent @ 1..=100) => Ok(Self(percent.to_string())),
            _ => Err("it is not a number from 1 to 100".into()),
        }
    }
}

/// The name of a queue or priority group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupName(pub String);

impl Scalar for GroupName {
    const RULE: &'static str = codes::INVALID_NAME;
    const WHAT: &'static str = "a group";
    const HINT: &'static str = "1 to 16 of A-Z a-z 0-9 - _ / =";
    fn parse(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/' | '=');
        match text.len() {
            1..=16 if text.chars().all(plain) => Ok(Self(text.to_owned())),
            1..=16 => Err("a character that groups cannot have".into()),
            _ => Err("too long or empty".into()),
        }
    }
}

/// Destination of a subject transform. Some of its tokens are placeholders for tokens of the
/// source subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransformDest {
    /// The text as written.
    pub text: String,
    /// Every subject that it can produce: the text with a wildcard for each placeholder.
    pub covers: Subject,
}

impl Scalar for TransformDest {
    const RULE: &'static str = codes::INVALID_SUBJECT;
    const WHAT: &'static str = "a destination";
    const HINT: &'static str =
        "tokens separated by single dots; `{{wildcard(1)}}` for the source's first wildcard, `>` for the rest";
    fn parse(text: &str) -> Result<Self, String> {
        let widen = |token: &str| if token.starts_with("{{") && token.ends_with("}}") { "*" } else { token }.to_owned();
        let covers = text.split('.').map(widen).collect::<Vec<_>>().join(".");
        Ok(Self { text: text.to_owned(), covers: Subject::parse(&covers).map_err(|e| e.to_string())? })
    }
}

impl TransformDest {
    /// The text as the server compares it with subjects: a placeholder is a token like others. `None`: it cannot be compared.
    pub fn literal(&self) -> Option<Subject> {
        let plain = |token: &str| if token.starts_with("{{") { "_" } else { token }.to_owned();
        Subject::parse(&self.text.split('.').map(plain).collect::<Vec<_>>().join(".")).ok()
    }

    /// The highest number of `{{wildcard(N)}}` in it. 0: there is none.
    pub fn last_wildcard(&self) -> usize {
        let number = |token: &str| {
            let inside = token.strip_prefix("{{")?.strip_suffix("}}")?.trim();
            inside.strip_prefix("wildcard(")?.strip_suffix(')')?.trim().parse().ok()
        };
        self.text.split('.').filter_map(number).max().unwrap_or(0)
    }
}

impl Stream {
    /// The streams it mirrors or sources from.
    pub fn origins(&self) -> impl Iterator<Item = &Source> {
        self.mirror.get().into_iter().chain(&self.source)
    }

    /// Whether it copies a stream of another tenant.
    pub fn is_copy(&self) -> bool {
        self.origins().any(|origin| !origin.from.is_absent())
    }

    /// Subjects that the stream captures. Empty if `subjects` is absent or unreadable.
    pub fn subjects(&self) -> &[Spanned<Subject>] {
        self.subjects.get().map_or(&[], |subjects| subjects)
    }
}

impl Consumer {
    /// The subjects of the stream that it consumes. Empty means all.
    pub fn filters(&self) -> impl Iterator<Item = &Spanned<Subject>> {
        self.filter.get().into_iter().chain(&self.filters)
    }
}
