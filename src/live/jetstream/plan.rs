//! Plans the changes from a tenant's account on the server to its declaration.

use std::collections::HashSet;

use serde_json::Value as Json;

use super::actual::{Actual, ActualConsumer, ActualStream, origins, subjects_of};
use super::change::{Action, Change, Differs, Kind, NotInPlace};
use super::handover;
use super::losses;
use super::refusals;
use super::targets::Targets;
use crate::model::Tenant;
use crate::model::jetstream::difference::{CONSUMER, Difference, MARK, STREAM};
use crate::model::jetstream::{Consumer, Stream};

/// Of a stream that a replacement has closed and not opened again.
const INTERRUPTED: &str =
    "closed by a `--replace` that was interrupted: nobody can publish to it, or it copies nothing, until `apply` runs";

/// Of a stream that a replacement has made without its limits.
const AWAITS_COPIES: &str = "once its copies have all of it";

/// Every difference, in the order in which it can be carried out: deletions, which free
/// subjects and names, come before the changes that need them.
pub fn changes(tenant: &Tenant, actual: &Actual, targets: &Targets) -> Vec<Change> {
    let mut changes = unknown_streams(tenant, actual, targets);
    let mut declared: Vec<Vec<Change>> =
        tenant.streams.iter().map(|stream| stream_changes(tenant, stream, actual, targets)).collect();
    replace_copies_first(tenant, actual, &mut declared);
    changes.extend(declared.into_iter().flatten());
    refusals::note(tenant, actual, targets, &mut changes);
    withhold_filters(&mut changes);
    changes
}

/// Puts the replacement of a copy before that of what it copies, where both are replaced or are to be: it copies again what
/// its origin has, and that is empty once it is replaced itself.
fn replace_copies_first(tenant: &Tenant, actual: &Actual, declared: &mut [Vec<Change>]) {
    let is_remade = |changes: &[Change]| {
        let stream = changes.first().filter(|change| change.consumer.is_none());
        stream.is_some_and(|change| matches!(change.action, Action::Replace(_) | Action::Refused { .. }))
    };
    let mut order: Vec<usize> = (0..declared.len()).filter(|i| is_remade(&declared[*i])).collect();
    let places = order.clone();
    // Each copy with what it copies.
    let mut copies: HashSet<(usize, usize)> = HashSet::new();
    for copy in &places {
        let Some(found) = actual.streams.get(tenant.streams[*copy].name.as_str()) else { continue };
        let own = |origin: &&Json| origin["external"].is_null();
        let names: Vec<&str> = origins(&found.raw).filter(own).filter_map(|origin| origin["name"].as_str()).collect();
        let is_origin = |i: &&usize| i != &copy && names.contains(&tenant.streams[**i].name.as_str());
        copies.extend(places.iter().filter(is_origin).map(|origin| (*copy, *origin)));
    }
    if copies.is_empty() {
        return;
    }
    for last in (0..order.len()).rev() {
        // The last of those that are left is one that copies come before: it copies none of them, unless they go in a circle.
        let is_last = |i: &usize| !order[..=last].iter().any(|other| copies.contains(&(*i, *other)));
        let found = (0..=last).rev().find(|place| is_last(&order[*place])).unwrap_or(last);
        order[found..=last].rotate_left(1);
    }
    let mut moved: Vec<Vec<Change>> = order.iter().map(|i| std::mem::take(&mut declared[*i])).collect();
    for (place, changes) in places.into_iter().zip(&mut moved) {
        declared[place] = std::mem::take(changes);
    }
}

/// The changes of a declared stream and of its consumers.
fn stream_changes(tenant: &Tenant, stream: &Stream, actual: &Actual, targets: &Targets) -> Vec<Change> {
    let mut changes = Vec::new();
    let found = actual.streams.get(stream.name.as_str());
    let change = stream_change(tenant, stream, actual, targets);
    // A stream that is created or replaced has no consumers afterwards; if it is
    // blocked, so are its consumers.
    let action = change.as_ref().map(|c| &c.action);
    let is_made = found.is_none() || matches!(action, Some(Action::Replace(_)));
    let taken = match action {
        Some(Action::SubjectsTaken { by }) => Some(by.clone()),
        _ => None,
    };
    changes.extend(change);
    let in_stream = found.filter(|_| !is_made);
    let of_consumers = stream.consumers.iter().filter_map(|consumer| {
        let found = in_stream.and_then(|f| Some((f, f.consumers.get(consumer.name.as_str())?)));
        consumer_change(tenant, stream, consumer, found, taken.as_deref(), targets)
    });
    let mut of_consumers: Vec<Change> = of_consumers.collect();
    of_consumers.extend(in_stream.into_iter().flat_map(|found| paused(stream, found)));
    // New consumers come first, and updates that give up nothing next: they may get what another one gives up, and some
    // streams keep messages for consumers only.
    of_consumers.sort_by_key(|change| match &change.action {
        Action::Create => 0,
        Action::Update(differs) if !losses::gives_up(&differs.fields) => 1,
        _ => 2,
    });
    changes.extend(of_consumers);
    for (name, found) in in_stream.map(|f| undeclared_consumers(stream, f)).into_iter().flatten() {
        let is_named = targets.is_deleted(tenant, stream.name.as_str(), Some(name));
        changes.push(Change {
            kind: Kind::Consumer,
            stream: stream.name.to_string(),
            consumer: Some(name.clone()),
            action: action_for_unknown(is_named, &found.raw, found.acknowledged),
            note: in_stream.filter(|_| is_named).and_then(|stream| losses::without_consumer(stream, found)),
        });
    }
    changes
}

/// Withholds what consumers would give up where their stream stays as it is: its subjects and their filters change together.
fn withhold_filters(changes: &mut [Change]) {
    let is_stuck = |change: &&Change| {
        change.consumer.is_none() && change.action.is_open() && (!change.action.is_done() || change.is_refused())
    };
    let stuck: Vec<String> = changes.iter().filter(is_stuck).map(|change| change.stream.clone()).collect();
    for change in changes.iter_mut().filter(|change| change.consumer.is_some() && stuck.contains(&change.stream)) {
        if let Action::Update(differs) = &change.action
            && losses::gives_up(&differs.fields)
        {
            change.action = Action::Waits(differs.clone());
            change.note = None;
        }
    }
}

/// Streams that are on the server and not in the registry, deletions first.
fn unknown_streams(tenant: &Tenant, actual: &Actual, targets: &Targets) -> Vec<Change> {
    let is_declared = |name: &str| tenant.streams.iter().any(|s| s.name.as_str() == name);
    let unknown = actual.streams.iter().filter(|(name, _)| !is_declared(name)).map(|(name, stream)| Change {
        kind: Kind::of_stream_name(name),
        stream: name.clone(),
        consumer: None,
        action: action_for_unknown(targets.is_deleted(tenant, name, None), &stream.raw, stream.messages),
        note: losses::of_origins(&stream.raw, None, actual).filter(|_| targets.is_deleted(tenant, name, None)),
    });
    let mut changes: Vec<Change> = unknown.collect();
    changes.sort_by_key(|c| !matches!(c.action, Action::Delete { .. }));
    changes
}

/// The action for a stream or consumer that is not in the registry. The metadata mark
/// tells whether it was created from the registry.
fn action_for_unknown(is_named: bool, raw: &Json, messages: u64) -> Action {
    match (is_named, raw["metadata"][MARK].is_null()) {
        (true, _) => Action::Delete { messages },
        (false, false) => Action::Undeclared { messages },
        (false, true) => Action::Unmanaged { messages },
    }
}

/// The declared consumers that somebody has paused.
fn paused(stream: &Stream, found: &ActualStream) -> Vec<Change> {
    let declared = stream.consumers.iter().filter_map(|consumer| {
        let name = consumer.name.as_str();
        let until = found.consumers.get(name)?.paused_until.clone()?;
        let (kind, stream, consumer) = (Kind::Consumer, stream.name.to_string(), Some(name.to_owned()));
        Some(Change { kind, stream, consumer, action: Action::Paused { until }, note: None })
    });
    declared.collect()
}

/// Consumers that are on the server and not in the registry.
fn undeclared_consumers<'a>(
    stream: &'a Stream,
    found: &'a ActualStream,
) -> impl Iterator<Item = (&'a String, &'a ActualConsumer)> {
    found.consumers.iter().filter(|(name, _)| !stream.consumers.iter().any(|c| c.name.as_str() == *name))
}

/// The change of a stream itself, without its consumers. `None` if nothing differs.
fn stream_change(tenant: &Tenant, stream: &Stream, actual: &Actual, targets: &Targets) -> Option<Change> {
    let name = stream.name.as_str();
    let subjects_taken = || subjects_taken(tenant, stream, actual, targets);
    let mut note = None;
    let action = match actual.streams.get(name) {
        None => match subjects_taken() {
            Some(by) => Action::SubjectsTaken { by },
            None => {
                note = losses::done_twice(&STREAM.request(&stream.config, None), actual);
                Action::Create
            }
        },
        Some(found) => {
            let Difference { fields, reason, drift } = STREAM.difference(&stream.config, &found.raw)?;
            let is_closed = handover::is_closed(name, &found.raw);
            let differs = Differs { fields, drift: drift && !is_closed, messages: found.messages };
            let interrupted = is_closed.then(|| INTERRUPTED.to_owned());
            match reason {
                None => {
                    let new = STREAM.request(&stream.config, Some(&found.raw));
                    let awaits = handover::awaits_copies(actual, stream, &found.raw).then(|| AWAITS_COPIES.to_owned());
                    note = losses::joined([
                        interrupted,
                        awaits,
                        losses::of_stream(&differs.fields, found),
                        losses::of_origins(&found.raw, Some(&new), actual),
                    ]);
                    let drops = differs.drift && losses::drops(&differs.fields, found);
                    match drops && !targets.is_replaced(tenant, name, None) {
                        true => Action::Withheld(differs),
                        false => Action::Update(differs),
                    }
                }
                Some(reason) => {
                    note = losses::joined([
                        interrupted,
                        goes_too(stream, found),
                        losses::of_origins(&found.raw, None, actual),
                        losses::of_copies(tenant, stream, actual),
                    ]);
                    let not_in_place = NotInPlace { differs, reason };
                    // If an unmanaged stream has its subjects, it could not be created again.
                    match subjects_taken() {
                        None if targets.is_replaced(tenant, name, None) => Action::Replace(not_in_place),
                        blocked_by => Action::Refused { not_in_place, blocked_by },
                    }
                }
            }
        }
    };
    Some(Change { kind: stream.kind.into(), stream: name.to_owned(), consumer: None, action, note })
}

/// The change of a consumer, `found` in a stream. `None` if nothing differs. `taken` is the unmanaged stream
/// whose subjects block the creation of the consumer's stream.
fn consumer_change(
    tenant: &Tenant,
    stream: &Stream,
    consumer: &Consumer,
    found: Option<(&ActualStream, &ActualConsumer)>,
    taken: Option<&str>,
    targets: &Targets,
) -> Option<Change> {
    let (stream, name) = (stream.name.as_str(), consumer.name.as_str());
    let mut note = None;
    let action = match (found, taken) {
        (None, Some(by)) => Action::SubjectsTaken { by: by.to_owned() },
        (None, None) => Action::Create,
        (Some((in_stream, found)), _) => {
            let Difference { fields, reason, drift } = CONSUMER.difference(&consumer.config, &found.raw)?;
            let reason = reason.or_else(|| losses::goes_deaf(&fields, found));
            note = match reason {
                Some(_) => losses::without_consumer(in_stream, found),
                None => losses::of_consumer(&fields, in_stream, found),
            };
            let is_named = targets.is_replaced(tenant, stream, Some(name));
            let differs = Differs { fields, drift, messages: found.acknowledged };
            match reason {
                None if drift && note.is_some() && !is_named => Action::Withheld(differs),
                None => Action::Update(differs),
                Some(reason) => {
                    let not_in_place = NotInPlace { differs, reason };
                    if is_named {
                        Action::Replace(not_in_place)
                    } else {
                        Action::Refused { not_in_place, blocked_by: None }
                    }
                }
            }
        }
    };
    Some(Change { kind: Kind::Consumer, stream: stream.to_owned(), consumer: Some(name.to_owned()), action, note })
}

/// Describes the undeclared consumers that would be deleted with a stream.
fn goes_too(stream: &Stream, found: &ActualStream) -> Option<String> {
    let others: Vec<String> = undeclared_consumers(stream, found).map(|(name, _)| format!("`{name}`")).collect();
    let what = if others.len() == 1 { "a consumer" } else { "consumers" };
    (!others.is_empty()).then(|| format!("{what} of others on it would go too: {}", others.join(", ")))
}

/// An undeclared stream on the server whose subjects overlap those of a declared stream, or that is fed by the
/// same share: two streams would each get a part of the messages. `None` if `--delete` names it.
pub(super) fn subjects_taken(tenant: &Tenant, stream: &Stream, actual: &Actual, targets: &Targets) -> Option<String> {
    let stays = |name: &String| {
        !tenant.streams.iter().any(|s| s.name.as_str() == name) && !targets.is_deleted(tenant, name, None)
    };
    let has_its_subjects =
        |found: &ActualStream| subjects_of(&found.raw).any(|s| stream.subjects.iter().any(|own| own.overlaps(&s)));
    let has_its_share = |found: &ActualStream| {
        let mut fed_by = origins(&found.raw).filter_map(|source| source["consumer"]["deliver_subject"].as_str());
        fed_by.any(|subject| stream.copies.iter().any(|copy| copy.deliver() == subject))
    };
    let is_taken = |found: &ActualStream| has_its_subjects(found) || has_its_share(found);
    let mut others = actual.streams.iter().filter(|(name, found)| stays(name) && is_taken(found));
    others.next().map(|(name, _)| name.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Model;

    #[test]
    fn a_stream_beyond_the_limit_is_noted() {
        let declared = |streams: u32| {
            let text = format!(
                "[[tenant]]\nname = \"A\"\n[tenant.jetstream]\nstorage = \"1MiB\"\nstreams = {streams}\n[[tenant.user]]\nname = \"app\"\n\
                 [[tenant.stream]]\nname = \"NEW\"\nsubjects = [\"A.s\"]\n"
            );
            crate::project::tests::model(&text).tenants.remove(0)
        };
        let old = ActualStream { raw: json!({ "subjects": ["A.old"] }), ..ActualStream::default() };
        let actual = Actual { streams: [("OLD".to_owned(), old)].into(), ..Actual::default() };
        let note = |streams: u32| {
            let changes = changes(&declared(streams), &actual, &Targets::default());
            changes.into_iter().find(|change| change.stream == "NEW").and_then(|change| change.note)
        };
        assert_eq!(note(2), None);
        assert!(note(1).is_some_and(|note| note.contains("would have 2 streams")));
    }

    use crate::project::tests::model;

    const TENANT: &str = "[[tenant]]\nname = \"T\"\n[tenant.jetstream]\nstorage = \"512MiB\"\nmemory = \"64MiB\"\n\
        [[tenant.user]]\nname = \"app\"\n";
    const ORDERS: &str = "[[tenant.stream]]\nname = \"ORDERS\"\nsubjects = [\"T.orders.>\"]\nmax_msgs = 100\n";
    const BILLING: &str = "[[tenant.stream.consumer]]\nname = \"billing\"\n";

    fn registry(streams: &[&str]) -> Model {
        model(&format!("{TENANT}{}", streams.concat()))
    }

    /// The account after the streams of a registry were applied: 7 messages in each
    /// stream, 3 acknowledged by each consumer.
    fn applied(model: &Model) -> Actual {
        let stream = |stream: &Stream| {
            let consumers = stream.consumers.iter().map(|consumer| {
                let raw = CONSUMER.request(&consumer.config, None);
                (consumer.name.to_string(), ActualConsumer { raw, acknowledged: 3, ..ActualConsumer::default() })
            });
            let raw = STREAM.request(&stream.config, None);
            let consumer_count = stream.consumers.len() as u64;
            let consumers = consumers.collect();
            let found = ActualStream {
                raw,
                messages: 7,
                bytes: 70,
                first: 1,
                consumer_count,
                consumers,
                ..ActualStream::default()
            };
            (stream.name.to_string(), found)
        };
        Actual { streams: model.tenants[0].streams.iter().map(stream).collect(), ..Actual::default() }
    }

    fn unmanaged(subject: &str) -> ActualStream {
        ActualStream {
            raw: json!({ "name": "OTHER", "subjects": [subject] }),
            messages: 2,
            bytes: 20,
            ..ActualStream::default()
        }
    }

    fn planned(model: &Model, actual: &Actual, replace: &[&str], delete: &[&str]) -> Vec<Change> {
        let list = |names: &[&str]| names.iter().map(|name| format!("T/{name}")).collect::<Vec<_>>();
        let targets = Targets::parse(model, &list(replace), &list(delete)).expect("valid targets");
        changes(&model.tenants[0], actual, &targets)
    }

    fn lines(model: &Model, actual: &Actual, replace: &[&str], delete: &[&str]) -> Vec<String> {
        planned(model, actual, replace, delete).iter().map(ToString::to_string).collect()
    }

    /// The origin is empty once it is replaced itself: a copy that is replaced after it loses what it has.
    #[test]
    fn a_copy_is_replaced_before_what_it_copies() {
        let streams = |more: &str| {
            registry(&[
                ORDERS,
                more,
                "[[tenant.stream]]\nname = \"OTHER\"\nsubjects = [\"T.other\"]\n",
                more,
                "[[tenant.stream]]\nname = \"COPY\"\n",
                more,
                "[[tenant.stream.source]]\nname = \"ORDERS\"\n[[tenant.stream]]\nname = \"MIRROR\"\n",
                more,
                "mirror = { name = \"COPY\" }\n",
            ])
        };
        let (old, new) = (streams(""), streams("storage = \"memory\"\n"));
        let order = |replace: &[&str]| -> Vec<String> {
            planned(&new, &applied(&old), replace, &[]).into_iter().map(|change| change.stream).collect()
        };
        let copies_first = ["MIRROR", "COPY", "ORDERS", "OTHER"];
        for named in [&["ORDERS", "OTHER", "COPY", "MIRROR"][..], &["ORDERS", "COPY"], &[]] {
            let order = order(named);
            let place = |name: &str| order.iter().position(|other| other == name);
            let copies: Vec<_> = copies_first[..3].iter().map(|name| place(name)).collect();
            assert!(copies.is_sorted(), "{named:?}: {order:?}");
        }
        let plan = planned(&new, &applied(&old), &["COPY"], &[]);
        let note = plan.iter().find(|change| change.stream == "COPY").and_then(|change| change.note.as_deref());
        assert!(note.is_some_and(|n| n.contains("what its origin still has (`ORDERS` holds 7 messages)")), "{note:?}");
        assert_eq!(order(&[]).len(), 4, "none is left out");
    }

    /// Measured on nats-server 2.15.1: 10065 for each, whatever the order.
    #[test]
    fn streams_that_exchange_subjects_are_noted() {
        let streams = |declared: [(&str, &str); 3], storage: &str| {
            let stream = |(name, subject): (&str, &str)| {
                format!("[[tenant.stream]]\nname = \"{name}\"\nsubjects = [\"T.{subject}\"]\nstorage = \"{storage}\"\n")
            };
            registry(&[&declared.map(stream).concat()])
        };
        let actual = applied(&streams([("X", "x"), ("Y", "y"), ("Z", "z")], "file"));
        let noted = |declared: [(&str, &str); 3], replace: &[&str]| {
            let changes =
                planned(&streams(declared, if replace.is_empty() { "file" } else { "memory" }), &actual, replace, &[]);
            let noted = changes.into_iter().filter(|c| c.note.as_ref().is_some_and(|note| note.contains("in turn")));
            noted.map(|change| change.stream).collect::<Vec<_>>()
        };
        assert_eq!(noted([("X", "y"), ("Y", "x"), ("Z", "z")], &[]), ["X", "Y"]);
        assert_eq!(noted([("X", "y"), ("Y", "z"), ("Z", "x")], &[]), ["X", "Y", "Z"]);
        assert_eq!(noted([("X", "y"), ("Y", "z"), ("Z", "free")], &[]), [""; 0], "one after the other");
        let replace = &["X", "Y", "Z"];
        assert_eq!(
            noted([("X", "y"), ("Y", "x"), ("Z", "z")], replace),
            ["X", "Y"],
            "each is deleted when the new one can be made"
        );
        assert_eq!(noted([("X", "y"), ("Y", "z"), ("Z", "free")], replace), [""; 0]);
    }

    /// Measured on nats-server 2.15.1: 10099 and 10100.
    #[test]
    fn consumers_of_a_work_queue_that_get_the_same_work_are_noted() {
        let queue = |consumers: &[(&str, &str)]| {
            let consumer = |(name, filter): &(&str, &str)| {
                let filter = if filter.is_empty() { String::new() } else { format!("filter = \"T.q.{filter}\"\n") };
                format!("[[tenant.stream.consumer]]\nname = \"{name}\"\n{filter}")
            };
            let consumers: String = consumers.iter().map(consumer).collect();
            let stream = "[[tenant.stream]]\nname = \"Q\"\nsubjects = [\"T.q.*\"]\nretention = \"workqueue\"\n";
            registry(&[&format!("{stream}{consumers}")])
        };
        let actual = applied(&queue(&[("a", "x"), ("b", "y")]));
        let noted = |declared: &[(&str, &str)], delete: &[&str]| {
            let changes = planned(&queue(declared), &actual, &[], delete);
            let noted = changes.into_iter().filter(Change::is_refused);
            noted.filter_map(|change| change.consumer).collect::<Vec<_>>()
        };
        assert_eq!(noted(&[("new", "x"), ("b", "y")], &[]), ["new"], "the one of before is there");
        assert_eq!(noted(&[("new", "x"), ("b", "y")], &["Q/a"]), [""; 0]);
        assert_eq!(noted(&[("a", "y"), ("b", "x")], &[]), ["a", "b"], "they exchange");
        assert_eq!(noted(&[("a", "y"), ("b", "z")], &[]), [""; 0], "one after the other");
        let lost = planned(&queue(&[("a", "")]), &actual, &[], &[]).remove(0);
        assert!(matches!(lost.action, Action::Refused { .. }), "one that loses its filter");
    }

    #[test]
    fn a_paused_consumer_is_shown_and_left_paused() {
        let model = registry(&[ORDERS, BILLING]);
        let mut actual = applied(&model);
        let billing = actual.streams.get_mut("ORDERS").and_then(|s| s.consumers.get_mut("billing")).expect("applied");
        billing.paused_until = Some("2030-01-01T00:00:00Z".into());
        let shown = "? consumer ORDERS/billing: paused until 2030-01-01T00:00:00Z, left so";
        assert_eq!(lines(&model, &actual, &[], &[]), [shown]);
        let changed = registry(&[ORDERS, BILLING, "max_deliver = 5\n"]);
        assert_eq!(lines(&changed, &actual, &[], &[]), ["~ consumer ORDERS/billing", shown]);
    }

    /// Measured on nats-server 2.15.1: an interest stream on old subjects, whose consumer waits for new ones, stores nothing.
    #[test]
    fn filters_wait_for_the_stream_that_they_belong_to() {
        let declared = |subject: &str| {
            let stream =
                format!("[[tenant.stream]]\nname = \"J\"\nsubjects = [\"T.{subject}.>\"]\nretention = \"interest\"\n");
            let consumer = format!("[[tenant.stream.consumer]]\nname = \"w\"\nfilter = \"T.{subject}.>\"\n");
            registry(&[&format!("{stream}{consumer}")])
        };
        let mut actual = applied(&declared("old"));
        assert_eq!(lines(&declared("new"), &actual, &[], &[]), ["~ stream J", "~ consumer J/w"], "the control");
        actual.streams.insert("LEGACY".into(), unmanaged("T.new.>"));
        let plan = planned(&declared("new"), &actual, &[], &[]);
        let consumer = plan.iter().find(|change| change.consumer.is_some()).expect("a consumer");
        assert!(matches!(consumer.action, Action::Waits(_)), "{consumer}");
        assert_eq!(consumer.to_string(), "! consumer J/w");
        assert_eq!(consumer.note, None);
    }

    /// Measured on nats-server 2.15.1: 10069.
    #[test]
    fn limits_for_consumers_that_one_of_others_is_above_are_noted() {
        let limited = |most: u32| registry(&[ORDERS, &format!("consumer_limits = {{ max_ack_pending = {most} }}\n")]);
        let mut actual = applied(&limited(100));
        let note = |actual: &Actual, delete: &[&str]| {
            let changes = planned(&limited(50), actual, &[], delete);
            changes.into_iter().find(|c| c.consumer.is_none() && c.is_refused()).and_then(|change| change.note)
        };
        assert_eq!(note(&actual, &[]), None);
        let raw = json!({ "durable_name": "mine", "max_ack_pending": 51 });
        let orders = actual.streams.get_mut("ORDERS").expect("applied");
        orders.consumers.insert("mine".into(), ActualConsumer { raw: raw.clone(), ..ActualConsumer::default() });
        assert!(note(&actual, &[]).is_some_and(|note| note.contains("--delete T/ORDERS/mine")));
        assert_eq!(note(&actual, &["ORDERS/mine"]), None);
        let orders = actual.streams.get_mut("ORDERS").expect("applied");
        orders.consumers.clear();
        orders.clients.insert("xyz".into(), raw);
        assert!(note(&actual, &[]).is_some_and(|note| note.contains("`xyz`") && note.contains("a client's own")));
    }

    #[test]
    fn what_somebody_else_raised_is_lowered_only_by_name() {
        let model = registry(&[&ORDERS.replace("100", "5")]);
        let mut actual = applied(&model);
        actual.streams.get_mut("ORDERS").expect("applied").raw["max_msgs"] = json!(1000);
        assert_eq!(lines(&model, &actual, &[], &[]), ["! stream ORDERS, changed by hand, holds 7 messages"]);
        assert_eq!(lines(&model, &actual, &["ORDERS"], &[]), ["~ stream ORDERS, changed by hand"]);
        actual.streams.get_mut("ORDERS").expect("applied").messages = 5;
        assert_eq!(lines(&model, &actual, &[], &[]), ["~ stream ORDERS, changed by hand"], "nothing is dropped");
        // And so of a consumer, where messages would not come any more.
        let model = registry(&[ORDERS, BILLING]);
        let mut actual = applied(&model);
        let billing = actual.streams.get_mut("ORDERS").and_then(|s| s.consumers.get_mut("billing")).expect("applied");
        (billing.raw["max_ack_pending"], billing.waiting) = (json!(7), 3);
        assert_eq!(lines(&model, &actual, &[], &[]), ["~ consumer ORDERS/billing, changed by hand"]);
        let billing = actual.streams.get_mut("ORDERS").and_then(|s| s.consumers.get_mut("billing")).expect("applied");
        billing.raw["max_deliver"] = json!(9);
        let model = registry(&[ORDERS, &format!("{BILLING}max_deliver = 5\n")]);
        assert_eq!(
            lines(&model, &actual, &[], &[]),
            ["! consumer ORDERS/billing, changed by hand, has dealt with 3 messages"]
        );
        assert_eq!(lines(&model, &actual, &["ORDERS/billing"], &[]), ["~ consumer ORDERS/billing, changed by hand"]);
        let model = registry(&[&ORDERS.replace("100", "5")]);
        let lowered = planned(&model, &applied(&registry(&[ORDERS])), &[], &[]);
        assert!(matches!(lowered[0].action, Action::Update(_)), "by the registry itself");
    }

    /// Measured on nats-server 2.15.1: an interest stream drops what nobody waits for at once.
    #[test]
    fn who_takes_over_is_there_before_another_one_gives_up() {
        let stream = |consumers: &[(&str, &str)]| {
            let consumer = |(name, filter): &(&str, &str)| {
                format!("[[tenant.stream.consumer]]\nname = \"{name}\"\nfilter = \"T.q.{filter}\"\n")
            };
            let consumers: String = consumers.iter().map(consumer).collect();
            let stream = "[[tenant.stream]]\nname = \"Q\"\nsubjects = [\"T.q.*\"]\nretention = \"interest\"\n";
            registry(&[&format!("{stream}{consumers}")])
        };
        let actual = applied(&stream(&[("a", "*"), ("c", "x")]));
        let planned = planned(&stream(&[("a", "x"), ("b", "y"), ("c", "*")]), &actual, &[], &[]);
        let order: Vec<_> = planned.iter().filter_map(|change| change.consumer.as_deref()).collect();
        assert_eq!(order, ["b", "c", "a"]);
    }

    #[test]
    fn an_account_as_declared_needs_no_change() {
        let model = registry(&[ORDERS, BILLING, "[[tenant.bucket]]\nname = \"b\"\n"]);
        assert_eq!(lines(&model, &applied(&model), &[], &[]), [""; 0]);
        // The server adds values of its own, which are not declared.
        let mut actual = applied(&model);
        let orders = actual.streams.get_mut("ORDERS").expect("applied");
        orders.raw["metadata"]["_nats.req.level"] = json!("0");
        orders.raw["first_seq"] = json!(1);
        assert_eq!(lines(&model, &actual, &[], &[]), [""; 0]);
    }

    #[test]
    fn missing_streams_are_created_each_followed_by_its_consumers() {
        let model = registry(&[ORDERS, BILLING, "[[tenant.bucket]]\nname = \"b\"\n"]);
        let created = ["+ stream ORDERS", "+ consumer ORDERS/billing", "+ bucket b"];
        assert_eq!(lines(&model, &Actual::default(), &[], &[]), created);
        let mut actual = applied(&model);
        actual.streams.get_mut("ORDERS").expect("applied").consumers.clear();
        assert_eq!(lines(&model, &actual, &[], &[]), created[1..2]);
    }

    #[test]
    fn an_older_declaration_is_updated_in_place_and_is_no_drift() {
        let (old, new) = (registry(&[ORDERS, BILLING]), registry(&[&ORDERS.replace("100", "200"), BILLING]));
        let plan = planned(&new, &applied(&old), &[], &[]);
        assert_eq!(plan.iter().map(ToString::to_string).collect::<Vec<_>>(), ["~ stream ORDERS"]);
        let fields: Vec<_> = plan[0].action.fields().iter().map(|f| (f.key.name, &f.from, &f.to)).collect();
        assert_eq!(fields, [("max_msgs", &json!(100), &json!(200))]);
        assert_eq!(plan[0].note.as_deref(), None);
    }

    #[test]
    fn a_change_without_the_mark_of_the_registry_is_drift() {
        let model = registry(&[ORDERS, BILLING]);
        let mut actual = applied(&model);
        let orders = actual.streams.get_mut("ORDERS").expect("applied");
        orders.raw["max_msgs"] = json!(50);
        orders.consumers.get_mut("billing").expect("applied").raw["max_deliver"] = json!(5);
        let drift = ["~ stream ORDERS, changed by hand", "~ consumer ORDERS/billing, changed by hand"];
        assert_eq!(lines(&model, &actual, &[], &[]), drift);
        // What was never made from the registry has no mark at all.
        let orders = actual.streams.get_mut("ORDERS").expect("applied");
        orders.raw["metadata"] = Json::Null;
        assert_eq!(lines(&model, &actual, &[], &[]), drift);
    }

    #[test]
    fn what_cannot_be_updated_is_refused_and_replaced_only_if_named() {
        let (old, new) = (registry(&[ORDERS, BILLING]), registry(&[ORDERS, "storage = \"memory\"\n", BILLING]));
        let refused = planned(&new, &applied(&old), &[], &[]);
        assert_eq!(refused.iter().map(ToString::to_string).collect::<Vec<_>>(), ["! stream ORDERS, holds 7 messages"]);
        assert_eq!(refused[0].action.reason(), Some("where a stream is stored cannot be changed"));
        // Its consumers are deleted with the stream, and created again.
        let replaced = ["± stream ORDERS, holds 7 messages", "+ consumer ORDERS/billing"];
        assert_eq!(lines(&new, &applied(&old), &["ORDERS"], &[]), replaced);
        // The name of its consumer is not the name of the stream.
        assert_eq!(lines(&new, &applied(&old), &["ORDERS/billing"], &[]), ["! stream ORDERS, holds 7 messages"]);
    }

    #[test]
    fn a_consumer_is_replaced_only_if_it_is_named() {
        let (old, new) = (registry(&[ORDERS, BILLING]), registry(&[ORDERS, BILLING, "ack_policy = \"all\"\n"]));
        let blocked = "! consumer ORDERS/billing, has dealt with 3 messages";
        assert_eq!(lines(&new, &applied(&old), &[], &[]), [blocked]);
        assert_eq!(lines(&new, &applied(&old), &["ORDERS"], &[]), [blocked]);
        let replaced = "± consumer ORDERS/billing, has dealt with 3 messages";
        assert_eq!(lines(&new, &applied(&old), &["ORDERS/billing"], &[]), [replaced]);
    }

    #[test]
    fn streams_that_are_not_declared_are_left_alone_unless_they_are_named() {
        let (old, new) = (registry(&[ORDERS]), registry(&[]));
        let mut actual = applied(&old);
        actual.streams.insert("KV_other".into(), unmanaged("$KV.other.>"));
        let left_alone = [
            "? bucket other, holds 2 messages: not in the registry, left alone",
            "? stream ORDERS, holds 7 messages: no longer in the registry, left alone",
        ];
        assert_eq!(lines(&new, &actual, &[], &[]), left_alone);
        assert_eq!(
            lines(&new, &actual, &[], &["ORDERS"]),
            ["- stream ORDERS, holds 7 messages", left_alone[0]],
            "deletions come first"
        );
        assert_eq!(lines(&new, &actual, &[], &["KV_other"]), ["- bucket other, holds 2 messages", left_alone[1]]);
        // On the command line a bucket has the name of its stream.
        assert_eq!(lines(&new, &actual, &[], &["other"]), left_alone);
    }

    #[test]
    fn consumers_that_are_not_declared_are_left_alone_unless_they_are_named() {
        let (old, new) = (registry(&[ORDERS, BILLING]), registry(&[ORDERS]));
        let mut actual = applied(&old);
        let by_hand =
            ActualConsumer { raw: json!({ "durable_name": "mine" }), acknowledged: 1, ..ActualConsumer::default() };
        actual.streams.get_mut("ORDERS").expect("applied").consumers.insert("mine".into(), by_hand);
        let left_alone = [
            "? consumer ORDERS/billing: no longer in the registry, left alone",
            "? consumer ORDERS/mine: not in the registry, left alone",
        ];
        assert_eq!(lines(&new, &actual, &[], &[]), left_alone);
        let deleted = "- consumer ORDERS/billing, has dealt with 3 messages";
        assert_eq!(lines(&new, &actual, &[], &["ORDERS/billing"]), [deleted, left_alone[1]]);
    }

    #[test]
    fn a_replacement_notes_the_consumers_of_others_that_go_with_the_stream() {
        let (old, new) = (registry(&[ORDERS, BILLING]), registry(&[ORDERS, "storage = \"memory\"\n"]));
        let plan = planned(&new, &applied(&old), &["ORDERS"], &[]);
        assert_eq!(plan.len(), 1, "a replaced stream has no consumers that could be left alone");
        assert_eq!(plan[0].note.as_deref(), Some("a consumer of others on it would go too: `billing`"));
        let both = registry(&[ORDERS, "storage = \"memory\"\n", BILLING]);
        assert_eq!(planned(&both, &applied(&old), &["ORDERS"], &[])[0].note.as_deref(), None);
    }

    #[test]
    fn an_unmanaged_stream_with_the_same_subjects_blocks_until_it_is_deleted() {
        let model = registry(&[ORDERS, BILLING]);
        let actual =
            |subject| Actual { streams: [("OTHER".to_owned(), unmanaged(subject))].into(), ..Actual::default() };
        let other = "? stream OTHER, holds 2 messages: not in the registry, left alone";
        for subject in ["T.orders.>", "T.orders.new", "T.*.new", ">"] {
            let plan = planned(&model, &actual(subject), &[], &[]);
            let shown: Vec<String> = plan.iter().map(ToString::to_string).collect();
            assert_eq!(shown, [other, "! stream ORDERS", "! consumer ORDERS/billing"], "{subject}");
            assert_eq!([plan[1].action.blocked_by(), plan[2].action.blocked_by()], [Some("OTHER"); 2]);
        }
        let created = ["+ stream ORDERS", "+ consumer ORDERS/billing"];
        for subject in ["T.orders", "T.other.>"] {
            assert_eq!(lines(&model, &actual(subject), &[], &[])[1..], created, "{subject}");
        }
        let deleted = lines(&model, &actual("T.orders.>"), &[], &["OTHER"]);
        assert_eq!(deleted, ["- stream OTHER, holds 2 messages", created[0], created[1]]);
    }

    #[test]
    fn a_stream_that_could_not_be_created_again_is_not_replaced() {
        let (old, new) = (registry(&[ORDERS]), registry(&[ORDERS, "storage = \"memory\"\n"]));
        let mut actual = applied(&old);
        actual.streams.get_mut("ORDERS").expect("applied").raw["subjects"] = json!(["T.moved.>"]);
        actual.streams.insert("OTHER".into(), unmanaged("T.orders.>"));
        let blocked = planned(&new, &actual, &["ORDERS"], &[]).remove(1);
        assert_eq!((blocked.action.word(), blocked.action.blocked_by()), ("blocked", Some("OTHER")));
        let plan = planned(&new, &actual, &["ORDERS"], &["OTHER"]);
        assert_eq!(plan.iter().map(|c| c.action.word()).collect::<Vec<_>>(), ["delete", "replace"]);
    }

    #[test]
    fn deletions_come_first_then_what_is_left_alone_then_the_streams_as_declared() {
        let second = ORDERS.replace("ORDERS", "AUDIT").replace("orders", "audit");
        let model = registry(&[ORDERS, BILLING, &second]);
        let mut actual = Actual::default();
        for name in ["AA", "MM", "ZZ"] {
            actual.streams.insert(name.into(), unmanaged("x"));
        }
        assert_eq!(
            lines(&model, &actual, &[], &["ZZ", "MM"]),
            [
                "- stream MM, holds 2 messages",
                "- stream ZZ, holds 2 messages",
                "? stream AA, holds 2 messages: not in the registry, left alone",
                "+ stream ORDERS",
                "+ consumer ORDERS/billing",
                "+ stream AUDIT",
            ]
        );
    }
}
