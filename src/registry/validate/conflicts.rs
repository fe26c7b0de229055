//! Conflicting keys of streams and consumers, which nats-server would refuse: one table
//! for streams, one for consumers. Each row is one mistake.

use super::super::decode::Key;
use super::super::raw::{AckPolicy, Consumer, DeliverPolicy, Discard, Retention, Stream, TransformDest};
use super::RegistryContext;
use crate::diag::{Diagnostic, Span, Spanned};
use crate::model::units::Duration;
use crate::registry::defaults;
use crate::subject::Subject;

/// A combination of keys that conflict.
struct Conflict<Places> {
    /// Code of the diagnostic, in kebab case. Stable.
    code: &'static str,
    message: &'static str,
    hint: &'static str,
    /// Returns the spans of the keys at fault. Empty if the keys do not conflict.
    places: Places,
}

/// A consumer with the stream and the limit that it is validated against.
struct DeclaredConsumer<'r> {
    stream: &'r Stream,
    consumer: &'r Consumer,
    /// The tenant's limit on unacknowledged messages per consumer.
    max_ack_pending: u32,
}

/// The code of every row.
pub fn codes() -> impl Iterator<Item = &'static str> {
    STREAM.iter().map(|c| c.code).chain(CONSUMER.iter().map(|c| c.code))
}

type StreamPlaces = fn(&Stream) -> Vec<Span>;
type ConsumerPlaces = for<'r> fn(&DeclaredConsumer<'r>) -> Vec<Span>;

const STREAM: &[Conflict<StreamPlaces>] = &[
    Conflict {
        code: "mirror-with-subjects",
        message: "a mirror is a copy: it has no subjects and no sources of its own",
        hint: "remove `subjects` and `source`, or make it a [[tenant.stream.source]]",
        places: |s| {
            let mirror = s.mirror.get().map(|m| m.span);
            only_if(!s.subjects().is_empty() || !s.source.is_empty(), mirror)
        },
    },
    Conflict {
        code: "discard-per-subject-alone",
        message: "discard_new_per_subject needs discard = \"new\" and max_msgs_per_subject",
        hint: "add them, or remove it",
        places: |s| {
            let is_new = s.discard.get().map_or(!s.discard.is_absent(), |d| d.value == Discard::New);
            only_if(!is_new || s.max_msgs_per_subject.is_absent(), turned_on(&s.discard_new_per_subject))
        },
    },
    Conflict {
        code: "roll-up-without-purge",
        message: "a roll-up purges (schedules and delete markers roll up too), and deny_purge forbids it",
        hint: "remove one of them: the server would drop deny_purge",
        places: |s| {
            let schedules =
                turned_on(&s.allow_msg_schedules).is_some() || place(&s.subject_delete_marker_ttl).is_some();
            only_if(schedules || turned_on(&s.allow_rollup_hdrs).is_some(), turned_on(&s.deny_purge))
        },
    },
    Conflict {
        code: "duplicate-window-beyond-age",
        message: "message ids would be remembered for longer than messages are kept",
        hint: "lower duplicate_window to max_age or less",
        places: |s| {
            let (window, age) = (s.duplicate_window.get(), s.max_age.get());
            only_if(window.zip(age).is_some_and(|(w, a)| w.value > a.value), window.map(|w| w.span))
        },
    },
    Conflict {
        code: "filter-and-transforms",
        message: "a source has either `filter` or `subject_transforms`",
        hint: "write the filter as `src` of a transform",
        places: |s| {
            let transformed = s.origins().filter(|o| !o.subject_transforms.is_empty());
            transformed.filter_map(|o| place(&o.filter)).collect()
        },
    },
    Conflict {
        code: "replicas-without-cluster",
        message: "copies need a cluster, and this registry has one server",
        hint: "remove `replicas`",
        places: |s| place_where(&s.replicas, |r| r.0 > 1).into_iter().collect(),
    },
    Conflict {
        code: "duration-too-short",
        message: "nats-server counts no shorter times than 100ms here",
        hint: "raise it to \"100ms\" or more",
        places: |s| [&s.max_age, &s.duplicate_window].into_iter().filter_map(|key| shorter(key, 100)).collect(),
    },
    Conflict {
        code: "marker-too-short",
        message: "a marker stays for a second at least",
        hint: "raise it to \"1s\" or more",
        places: |s| shorter(&s.subject_delete_marker_ttl, 1000).into_iter().collect(),
    },
    Conflict {
        code: "counter-conflict",
        message: "a stream that counts has limits retention, drops old messages, and has no times to live, schedules or mirror",
        hint: "remove discard, retention, allow_msg_ttl, subject_delete_marker_ttl, allow_msg_schedules and mirror, or allow_msg_counter",
        places: |s| {
            let is_other = place_where(&s.discard, |discard| *discard == Discard::New).is_some()
                || place_where(&s.retention, |retention| *retention != Retention::Limits).is_some()
                || turned_on(&s.allow_msg_ttl).is_some()
                || place(&s.subject_delete_marker_ttl).is_some()
                || turned_on(&s.allow_msg_schedules).is_some()
                || !s.mirror.is_absent();
            only_if(is_other, turned_on(&s.allow_msg_counter))
        },
    },
    Conflict {
        code: "schedules-conflict",
        message: "a stream with schedules takes messages from clients only, and drops old ones",
        hint: "remove source, mirror and discard = \"new\", or allow_msg_schedules",
        places: |s| {
            let is_new = place_where(&s.discard, |discard| *discard == Discard::New).is_some();
            let is_fed = !s.source.is_empty() || !s.mirror.is_absent();
            only_if(is_new || is_fed, turned_on(&s.allow_msg_schedules))
        },
    },
    Conflict {
        code: "mirror-conflict",
        message: "a mirror takes no messages from clients",
        hint: "remove allow_atomic, allow_batched and subject_delete_marker_ttl",
        places: |s| {
            let keys = [turned_on(&s.allow_atomic), turned_on(&s.allow_batched), place(&s.subject_delete_marker_ttl)];
            only_if(!s.mirror.is_absent(), keys.into_iter().flatten())
        },
    },
    Conflict {
        code: "republish-cycle",
        message: "the stream would capture what it publishes again",
        hint: "publish to a subject that it does not capture",
        places: |s| {
            let dest = s.republish.get().map(|republish| &republish.dest);
            let is_captured = |dest: &TransformDest| {
                let literal = dest.literal();
                s.subjects().iter().any(|subject| literal.as_ref().is_some_and(|dest| dest.overlaps(&subject.value)))
            };
            dest.filter(|dest| is_captured(&dest.value)).map(|dest| dest.span).into_iter().collect()
        },
    },
    Conflict {
        code: "no-such-wildcard",
        message: "the source has fewer wildcards than that",
        hint: "`{{wildcard(1)}}` is the first `*` of `src`",
        places: |s| {
            let own = s.subject_transform.get().map(|t| (&t.src, &t.dest)).into_iter();
            let transforms = s.origins().flat_map(|o| &o.subject_transforms).map(|t| (&t.src, &t.dest));
            let all = own.chain(transforms).chain(s.republish.get().map(|r| (&r.src, &r.dest)));
            let wildcards = |src: &Key<Spanned<Subject>>| {
                src.get().map_or(0, |src| src.value.tokens().filter(|token| *token == "*").count())
            };
            let wrong = all.filter(|(src, dest)| !is_unreadable(src) && dest.value.last_wildcard() > wildcards(src));
            wrong.map(|(_, dest)| dest.span).collect()
        },
    },
    Conflict {
        code: "description-too-long",
        message: TOO_LONG,
        hint: "shorten it",
        places: |s| place_where(&s.description, |text| text.len() > DESCRIPTION).into_iter().collect(),
    },
];

/// Longest description. Bytes.
const DESCRIPTION: usize = 4096;
const TOO_LONG: &str = "a description has 4096 bytes at most";

const CONSUMER: &[Conflict<ConsumerPlaces>] = &[
    Conflict {
        code: "push-key-on-pull-consumer",
        message: "this is for push consumers",
        hint: "add `deliver_subject`, or remove it",
        places: |c| {
            let c = c.consumer;
            let keys =
                [place(&c.deliver_group), place(&c.flow_control), place(&c.idle_heartbeat), place(&c.rate_limit_bps)];
            only_if(!is_push(c), keys.into_iter().flatten())
        },
    },
    Conflict {
        code: "pull-key-on-push-consumer",
        message: "this is for pull consumers",
        hint: "remove it, or `deliver_subject`",
        places: |c| {
            let c = c.consumer;
            let keys = [
                place(&c.max_waiting),
                place(&c.max_batch),
                place(&c.max_expires),
                place(&c.max_bytes),
                c.priority_groups.first().map(|g| g.span),
                place(&c.priority_policy),
                place(&c.priority_timeout),
            ];
            only_if(is_push(c), keys.into_iter().flatten())
        },
    },
    Conflict {
        code: "flow-control-without-heartbeat",
        message: "flow control needs a sign of life",
        hint: "add `idle_heartbeat = \"5s\"`",
        places: |c| only_if(c.consumer.idle_heartbeat.is_absent(), turned_on(&c.consumer.flow_control)),
    },
    Conflict {
        code: "priority-groups-without-policy",
        message: "groups need a policy",
        hint: "add `priority_policy = \"overflow\"`, \"pinned_client\" or \"prioritized\"",
        places: |c| {
            let first = c.consumer.priority_groups.first().map(|g| g.span);
            only_if(c.consumer.priority_policy.is_absent(), first)
        },
    },
    Conflict {
        code: "priority-policy-without-groups",
        message: "a policy needs groups",
        hint: "add `priority_groups = [\"workers\"]`",
        places: |c| only_if(c.consumer.priority_groups.says_nothing(), place(&c.consumer.priority_policy)),
    },
    Conflict {
        code: "filter-and-filters",
        message: "a consumer has either `filter` or `filters`",
        hint: "put all into `filters`",
        places: |c| only_if(!c.consumer.filters.is_empty(), place(&c.consumer.filter)),
    },
    Conflict {
        code: "backoff-beyond-deliveries",
        message: "backoff has more steps than there are deliveries",
        hint: "raise max_deliver, or shorten backoff",
        places: |c| {
            let c = c.consumer;
            let steps = u32::try_from(c.backoff.len()).unwrap_or(u32::MAX);
            let is_short = c.max_deliver.get().is_some_and(|m| m.value.0 < steps);
            only_if(is_short, c.backoff.first().map(|b| b.span))
        },
    },
    Conflict {
        code: "ack-wait-with-backoff",
        message: "backoff takes the place of ack_wait",
        hint: "remove ack_wait: the first of backoff is it",
        places: |c| only_if(!c.consumer.backoff.is_empty(), place(&c.consumer.ack_wait)),
    },
    Conflict {
        code: "work-queue-ack-policy",
        message: "a work queue's messages are acknowledged one by one",
        hint: "remove ack_policy: explicit is the default",
        places: |c| {
            let other = place_where(&c.consumer.ack_policy, |ack| *ack != AckPolicy::Explicit);
            only_if(is_work_queue(c.stream), other)
        },
    },
    Conflict {
        code: "pending-without-acknowledgement",
        message: "nothing is acknowledged, so nothing can be pending or late",
        hint: "remove max_ack_pending, ack_wait and backoff; or use ack_policy = \"explicit\"",
        places: |c| {
            let c = c.consumer;
            let none = place_where(&c.ack_policy, |ack| *ack == AckPolicy::None);
            let waits = c.max_ack_pending.get().is_some() || c.ack_wait.get().is_some() || !c.backoff.is_empty();
            only_if(waits, none)
        },
    },
    Conflict {
        code: "pending-beyond-tenant",
        message: "the tenant's consumers may have fewer messages pending",
        hint: "lower it, or raise `max_ack_pending` under [tenant.jetstream]",
        places: |c| place_where(&c.consumer.max_ack_pending, |p| p.0 > c.max_ack_pending).into_iter().collect(),
    },
    Conflict {
        code: "work-queue-start",
        message: "a work queue is delivered from its first message on",
        hint: "remove deliver_policy",
        places: |c| {
            let other = place_where(&c.consumer.deliver_policy, |policy| *policy != DeliverPolicy::All);
            only_if(is_work_queue(c.stream), other)
        },
    },
    Conflict {
        code: "start-sequence-missing",
        message: "it begins with a message that is not named",
        hint: "add `opt_start_seq = 1`",
        places: |c| starts(c, DeliverPolicy::ByStartSequence, c.consumer.opt_start_seq.is_absent()),
    },
    Conflict {
        code: "start-time-missing",
        message: "it begins at a moment that is not named",
        hint: "add `opt_start_time = \"2026-01-31T00:00:00Z\"`",
        places: |c| starts(c, DeliverPolicy::ByStartTime, c.consumer.opt_start_time.is_absent()),
    },
    Conflict {
        code: "last-per-subject-without-filter",
        message: "the last of each subject of which subjects?",
        hint: "add `filter`",
        places: |c| {
            let takes_everything = c.consumer.filter.is_absent() && c.consumer.filters.says_nothing();
            starts(c, DeliverPolicy::LastPerSubject, takes_everything)
        },
    },
    Conflict {
        code: "start-sequence-unused",
        message: "opt_start_seq is for deliver_policy = \"by_start_sequence\"",
        hint: "add that, or remove it",
        places: |c| {
            let used = policy_is(c.consumer, DeliverPolicy::ByStartSequence);
            only_if(!used && !is_unreadable(&c.consumer.deliver_policy), place(&c.consumer.opt_start_seq))
        },
    },
    Conflict {
        code: "start-time-unused",
        message: "opt_start_time is for deliver_policy = \"by_start_time\"",
        hint: "add that, or remove it",
        places: |c| {
            let used = policy_is(c.consumer, DeliverPolicy::ByStartTime);
            only_if(!used && !is_unreadable(&c.consumer.deliver_policy), place(&c.consumer.opt_start_time))
        },
    },
    Conflict {
        code: "beyond-consumer-limits",
        message: "the stream's consumer_limits allow less",
        hint: "lower it, or raise it under consumer_limits",
        places: |c| {
            let Some(limits) = c.stream.consumer_limits.get() else { return Vec::new() };
            let pending = limits
                .max_ack_pending
                .get()
                .and_then(|most| place_where(&c.consumer.max_ack_pending, |pending| pending.0 > most.value.0));
            let inactive = limits
                .inactive_threshold
                .get()
                .and_then(|most| place_where(&c.consumer.inactive_threshold, |threshold| *threshold > most.value));
            pending.into_iter().chain(inactive).collect()
        },
    },
    Conflict {
        code: "heartbeat-too-short",
        message: "nats-server counts no shorter times than 100ms here",
        hint: "raise it to \"100ms\" or more",
        places: |c| shorter(&c.consumer.idle_heartbeat, 100).into_iter().collect(),
    },
    Conflict {
        code: "deliver-to-wildcard",
        message: "messages are delivered on one subject",
        hint: "name a subject without wildcards",
        places: |c| place_where(&c.consumer.deliver_subject, Subject::has_wildcard).into_iter().collect(),
    },
    Conflict {
        code: "overlapping-filters",
        message: "an earlier filter takes some of the same messages",
        hint: "let no two of them overlap",
        places: |c| {
            let filters: Vec<&Spanned<Subject>> = c.consumer.filters.iter().collect();
            let overlaps = |(i, filter): &(usize, &&Spanned<Subject>)| {
                filters[..*i].iter().any(|earlier| earlier.value.overlaps(&filter.value))
            };
            filters.iter().enumerate().filter(overlaps).map(|(_, filter)| filter.span).collect()
        },
    },
    Conflict {
        code: "consumer-description-too-long",
        message: TOO_LONG,
        hint: "shorten it",
        places: |c| place_where(&c.consumer.description, |text| text.len() > DESCRIPTION).into_iter().collect(),
    },
];

/// Ensures that the keys of a stream do not conflict.
pub fn stream_keys_agree(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    for stream in cx.registry.tenant.iter().flat_map(|t| &t.stream) {
        report(STREAM, |places| places(stream), out);
    }
}

/// Ensures that the keys of a consumer conflict neither with each other nor with its stream's.
pub fn consumer_keys_agree(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    for tenant in &cx.registry.tenant {
        let limit = tenant.jetstream.get().and_then(|j| j.max_ack_pending.get());
        let max_ack_pending = limit.map_or(defaults::MAX_ACK_PENDING, |m| m.value.0);
        for stream in &tenant.stream {
            for consumer in &stream.consumer {
                let declared = DeclaredConsumer { stream, consumer, max_ack_pending };
                report(CONSUMER, |places| places(&declared), out);
            }
        }
    }
}

fn report<P>(conflicts: &[Conflict<P>], find: impl Fn(&P) -> Vec<Span>, out: &mut Vec<Diagnostic>) {
    for Conflict { code, message, hint, places } in conflicts {
        out.extend(find(places).into_iter().map(|span| Diagnostic::error(code, span, *message).hint(*hint)));
    }
}

fn only_if(is_conflict: bool, places: impl IntoIterator<Item = Span>) -> Vec<Span> {
    if is_conflict { places.into_iter().collect() } else { Vec::new() }
}

fn place<T>(key: &Key<Spanned<T>>) -> Option<Span> {
    key.get().map(|value| value.span)
}

/// The span of a key whose value is readable and meets the condition.
fn place_where<T>(key: &Key<Spanned<T>>, condition: impl FnOnce(&T) -> bool) -> Option<Span> {
    key.get().filter(|given| condition(&given.value)).map(|given| given.span)
}

/// The span of a time that is shorter than so many milliseconds.
fn shorter(key: &Key<Spanned<Duration>>, milliseconds: u128) -> Option<Span> {
    place_where(key, |time| time.0.as_millis() < milliseconds)
}

fn turned_on(key: &Key<Spanned<bool>>) -> Option<Span> {
    place_where(key, |on| *on)
}

/// Whether a key is written and unreadable: what it would say is not known.
fn is_unreadable<T>(key: &Key<T>) -> bool {
    matches!(key, Key::Invalid)
}

fn is_push(consumer: &Consumer) -> bool {
    !consumer.deliver_subject.is_absent()
}

pub(super) fn is_work_queue(stream: &Stream) -> bool {
    stream.retention.get().is_some_and(|r| r.value == Retention::WorkQueue)
}

fn policy_is(consumer: &Consumer, wanted: DeliverPolicy) -> bool {
    consumer.deliver_policy.get().is_some_and(|p| p.value == wanted)
}

/// The span of `deliver_policy` if it is `policy` and the key that the policy needs is missing.
fn starts(declared: &DeclaredConsumer<'_>, policy: DeliverPolicy, lacks: bool) -> Vec<Span> {
    only_if(lacks, place_where(&declared.consumer.deliver_policy, |p| *p == policy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::load;

    /// The codes reported for a registry with this stream and, below it, this consumer.
    fn found(stream: &str, consumer: &str) -> Vec<&'static str> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tenants.toml");
        let head = "version = 1\n[server.jetstream]\nstorage = \"1GiB\"\nmemory = \"1MiB\"\n[keys]\nroot = \"development\"\n\
            [[tenant]]\nname = \"T\"\n[tenant.jetstream]\nstorage = \"512MiB\"\nmax_ack_pending = 500\n\
            [[tenant.user]]\nname = \"u\"\n[[tenant.stream]]\nname = \"O\"\nsubjects = [\"T.o.>\"]\n[[tenant.stream]]\nname = \"S\"\n";
        let consumer = match consumer {
            "" => String::new(),
            keys => format!("[[tenant.stream.consumer]]\nname = \"c\"\n{keys}\n"),
        };
        let long = format!("\"{}\"", "x".repeat(DESCRIPTION + 1));
        std::fs::write(&path, format!("{head}{stream}\n{consumer}").replace("LONG", &long)).expect("write");
        let loaded = load(&path).expect("readable");
        loaded.diagnostics.iter().map(|d| d.rule).collect()
    }

    const SUBJECTS: &str = "subjects = [\"T.s.>\"]";
    const WORK: &str = "subjects = [\"T.s.>\"]\nretention = \"workqueue\"";

    /// Each code, with keys that conflict and the same keys corrected.
    const STREAMS: &[(&str, &str, &str)] = &[
        ("mirror-with-subjects", "subjects = [\"T.s.>\"]\nmirror = { name = \"O\" }", "mirror = { name = \"O\" }"),
        (
            "discard-per-subject-alone",
            "subjects = [\"T.s.>\"]\ndiscard_new_per_subject = true\ndiscard = \"new\"",
            "subjects = [\"T.s.>\"]\ndiscard_new_per_subject = true\ndiscard = \"new\"\nmax_msgs_per_subject = 5",
        ),
        (
            "roll-up-without-purge",
            "subjects = [\"T.s.>\"]\ndeny_purge = true\nallow_rollup_hdrs = true",
            "subjects = [\"T.s.>\"]\ndeny_purge = true\nallow_rollup_hdrs = false",
        ),
        (
            "roll-up-without-purge",
            "subjects = [\"T.s.>\"]\ndeny_purge = true\nallow_msg_schedules = true",
            "subjects = [\"T.s.>\"]\nallow_msg_schedules = true",
        ),
        (
            "roll-up-without-purge",
            "subjects = [\"T.s.>\"]\ndeny_purge = true\nsubject_delete_marker_ttl = \"1m\"",
            "subjects = [\"T.s.>\"]\nsubject_delete_marker_ttl = \"1m\"",
        ),
        (
            "duplicate-window-beyond-age",
            "subjects = [\"T.s.>\"]\nmax_age = \"1m\"\nduplicate_window = \"61s\"",
            "subjects = [\"T.s.>\"]\nmax_age = \"1m\"\nduplicate_window = \"60s\"",
        ),
        (
            "filter-and-transforms",
            "[[tenant.stream.source]]\nname = \"O\"\nfilter = \"T.o.x\"\nsubject_transforms = [{ src = \"T.o.x\", dest = \"T.p.x\" }]",
            "[[tenant.stream.source]]\nname = \"O\"\nsubject_transforms = [{ src = \"T.o.x\", dest = \"T.p.x\" }]",
        ),
        ("replicas-without-cluster", "subjects = [\"T.s.>\"]\nreplicas = 3", "subjects = [\"T.s.>\"]\nreplicas = 1"),
        (
            "duration-too-short",
            "subjects = [\"T.s.>\"]\nmax_age = \"50ms\"",
            "subjects = [\"T.s.>\"]\nmax_age = \"100ms\"",
        ),
        (
            "duration-too-short",
            "subjects = [\"T.s.>\"]\nduplicate_window = \"99ms\"",
            "subjects = [\"T.s.>\"]\nduplicate_window = \"100ms\"",
        ),
        (
            "marker-too-short",
            "subjects = [\"T.s.>\"]\nsubject_delete_marker_ttl = \"999ms\"",
            "subjects = [\"T.s.>\"]\nsubject_delete_marker_ttl = \"1s\"",
        ),
        (
            "counter-conflict",
            "subjects = [\"T.s.>\"]\nallow_msg_counter = true\ndiscard = \"new\"",
            "subjects = [\"T.s.>\"]\nallow_msg_counter = true\ndiscard = \"old\"",
        ),
        (
            "counter-conflict",
            "subjects = [\"T.s.>\"]\nallow_msg_counter = true\nretention = \"workqueue\"",
            "subjects = [\"T.s.>\"]\nretention = \"workqueue\"",
        ),
        (
            "schedules-conflict",
            "subjects = [\"T.s.>\"]\nallow_msg_schedules = true\ndiscard = \"new\"",
            "subjects = [\"T.s.>\"]\nallow_msg_schedules = true",
        ),
        (
            "schedules-conflict",
            "allow_msg_schedules = true\n[[tenant.stream.source]]\nname = \"O\"",
            "[[tenant.stream.source]]\nname = \"O\"",
        ),
        ("mirror-conflict", "mirror = { name = \"O\" }\nallow_atomic = true", "mirror = { name = \"O\" }"),
        (
            "republish-cycle",
            "subjects = [\"T.s.>\"]\nrepublish = { dest = \"T.s.copy.>\" }",
            "subjects = [\"T.s.>\"]\nrepublish = { dest = \"T.copy.>\" }",
        ),
        (
            "no-such-wildcard",
            "subjects = [\"T.s.>\"]\nsubject_transform = { src = \"T.s.*\", dest = \"T.s.x.{{wildcard(2)}}\" }",
            "subjects = [\"T.s.>\"]\nsubject_transform = { src = \"T.s.*\", dest = \"T.s.x.{{wildcard(1)}}\" }",
        ),
        (
            "description-too-long",
            "subjects = [\"T.s.>\"]\ndescription = LONG",
            "subjects = [\"T.s.>\"]\ndescription = \"\"",
        ),
    ];

    const CONSUMERS: &[(&str, &str, &str, &str)] = &[
        (
            "push-key-on-pull-consumer",
            SUBJECTS,
            "deliver_group = \"g\"",
            "deliver_group = \"g\"\ndeliver_subject = \"T.d\"",
        ),
        ("pull-key-on-push-consumer", SUBJECTS, "max_batch = 5\ndeliver_subject = \"T.d\"", "max_batch = 5"),
        (
            "flow-control-without-heartbeat",
            SUBJECTS,
            "deliver_subject = \"T.d\"\nflow_control = true",
            "deliver_subject = \"T.d\"\nflow_control = true\nidle_heartbeat = \"5s\"",
        ),
        (
            "priority-groups-without-policy",
            SUBJECTS,
            "priority_groups = [\"w\"]",
            "priority_groups = [\"w\"]\npriority_policy = \"overflow\"",
        ),
        (
            "priority-policy-without-groups",
            SUBJECTS,
            "priority_policy = \"overflow\"",
            "priority_groups = [\"w\"]\npriority_policy = \"overflow\"",
        ),
        (
            "filter-and-filters",
            SUBJECTS,
            "filter = \"T.s.a\"\nfilters = [\"T.s.b\"]",
            "filters = [\"T.s.a\", \"T.s.b\"]",
        ),
        (
            "backoff-beyond-deliveries",
            SUBJECTS,
            "max_deliver = 1\nbackoff = [\"1s\", \"2s\"]",
            "max_deliver = 2\nbackoff = [\"1s\", \"2s\"]",
        ),
        ("ack-wait-with-backoff", SUBJECTS, "ack_wait = \"5s\"\nbackoff = [\"1s\"]", "ack_wait = \"5s\""),
        ("work-queue-ack-policy", WORK, "ack_policy = \"all\"", "ack_policy = \"explicit\""),
        (
            "pending-without-acknowledgement",
            SUBJECTS,
            "ack_policy = \"none\"\nack_wait = \"5s\"",
            "ack_policy = \"none\"",
        ),
        ("pending-beyond-tenant", SUBJECTS, "max_ack_pending = 501", "max_ack_pending = 500"),
        ("work-queue-start", WORK, "deliver_policy = \"new\"", "deliver_policy = \"all\""),
        (
            "start-sequence-missing",
            SUBJECTS,
            "deliver_policy = \"by_start_sequence\"",
            "deliver_policy = \"by_start_sequence\"\nopt_start_seq = 5",
        ),
        (
            "start-time-missing",
            SUBJECTS,
            "deliver_policy = \"by_start_time\"",
            "deliver_policy = \"by_start_time\"\nopt_start_time = \"2026-01-31T00:00:00Z\"",
        ),
        (
            "last-per-subject-without-filter",
            SUBJECTS,
            "deliver_policy = \"last_per_subject\"",
            "deliver_policy = \"last_per_subject\"\nfilter = \"T.s.a\"",
        ),
        (
            "start-sequence-unused",
            SUBJECTS,
            "opt_start_seq = 5",
            "deliver_policy = \"by_start_sequence\"\nopt_start_seq = 5",
        ),
        (
            "start-time-unused",
            SUBJECTS,
            "opt_start_time = \"2026-01-31T00:00:00Z\"",
            "deliver_policy = \"by_start_time\"\nopt_start_time = \"2026-01-31T00:00:00Z\"",
        ),
        (
            "beyond-consumer-limits",
            "subjects = [\"T.s.>\"]\nconsumer_limits = { max_ack_pending = 50 }",
            "max_ack_pending = 51",
            "max_ack_pending = 50",
        ),
        (
            "beyond-consumer-limits",
            "subjects = [\"T.s.>\"]\nconsumer_limits = { inactive_threshold = \"1h\" }",
            "inactive_threshold = \"61m\"",
            "inactive_threshold = \"60m\"",
        ),
        (
            "heartbeat-too-short",
            SUBJECTS,
            "deliver_subject = \"T.d\"\nidle_heartbeat = \"99ms\"",
            "deliver_subject = \"T.d\"\nidle_heartbeat = \"100ms\"",
        ),
        ("deliver-to-wildcard", SUBJECTS, "deliver_subject = \"T.d.*\"", "deliver_subject = \"T.d.x\""),
        ("overlapping-filters", SUBJECTS, "filters = [\"T.s.a\", \"T.s.*\"]", "filters = [\"T.s.a\", \"T.s.b\"]"),
        ("consumer-description-too-long", SUBJECTS, "description = LONG", "description = \"\""),
    ];

    #[test]
    fn each_conflict_is_found_alone_and_gone_when_put_right() {
        for (code, wrong, right) in STREAMS {
            assert_eq!(found(wrong, ""), [*code], "{wrong}");
            assert!(found(right, "").is_empty(), "{right}: {:?}", found(right, ""));
        }
        for (code, stream, wrong, right) in CONSUMERS {
            assert_eq!(found(stream, wrong), [*code], "{wrong}");
            assert!(found(stream, right).is_empty(), "{right}: {:?}", found(stream, right));
        }
    }

    #[test]
    fn each_row_has_a_case() {
        let mut cases: Vec<&str> = STREAMS.iter().map(|c| c.0).chain(CONSUMERS.iter().map(|c| c.0)).collect();
        // A row may have several, one after another.
        cases.dedup();
        assert!(codes().eq(cases));
    }
}
