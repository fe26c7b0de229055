//! What a change does to messages: those that the server drops, or copies once more.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::actual::{Actual, ActualConsumer, ActualStream, origins};
use crate::diag::first_few;
use crate::model::Tenant;
use crate::model::jetstream::Stream;
use crate::model::jetstream::difference::{Field, STREAM};
use crate::model::jetstream::keys;
use crate::model::jetstream::keys::stream::{ALLOW_MSG_TTL, DISCARD, MAX_BYTES};
use crate::subject::Subject;

/// What the server does to a stream's messages when these of its keys change. `None`: nothing.
pub fn of_stream(fields: &[Field], found: &ActualStream) -> Option<String> {
    joined([
        over_limits(fields, found),
        is_full(fields, found),
        without_interest(fields, found),
        copied_again(fields),
        for_good(fields),
    ])
}

/// Several notes in one. `None`: there is none.
pub fn joined(notes: impl IntoIterator<Item = Option<String>>) -> Option<String> {
    let notes: Vec<String> = notes.into_iter().flatten().collect();
    (!notes.is_empty()).then(|| notes.join("; "))
}

/// The value of a limit. `None`: it limits nothing.
pub fn limit(value: &Json) -> Option<u64> {
    value.as_u64().filter(|limit| *limit > 0)
}

/// Whether a change sets a limit, or lowers it.
fn is_lower(field: &Field) -> bool {
    limit(&field.to).is_some_and(|to| limit(&field.from).is_none_or(|from| to < from))
}

/// What a key of a stream is after a change.
fn after<'j>(fields: &'j [Field], found: &'j ActualStream, name: &str) -> &'j Json {
    fields.iter().find(|f| f.key.name == name).map_or(&found.raw[name], |f| &f.to)
}

/// What becomes of the messages of streams that a stream copies, if it no longer does: those of interest streams wait for
/// the copy as for a consumer. `after`: its configuration then. `None`: it is gone.
pub fn of_origins(before: &Json, after: Option<&Json>, actual: &Actual) -> Option<String> {
    let kept: Vec<&Json> = after.into_iter().flat_map(origins).collect();
    let is_kept =
        |source: &Json| kept.iter().any(|new| ["name", "filter_subject"].iter().all(|key| new[*key] == source[*key]));
    let lost = origins(before).filter(|source| source["external"].is_null() && !is_kept(source));
    let notes = lost.filter_map(|source| {
        let name = source["name"].as_str()?;
        let origin = actual.streams.get(name).filter(|origin| origin.raw["retention"] == "interest")?;
        (origin.messages > 0).then(|| {
            format!("of the {} messages of `{name}`, those that nobody else waits for are dropped", origin.messages)
        })
    });
    let notes: BTreeSet<String> = notes.collect();
    joined(notes.into_iter().map(Some))
}

/// What copies of a stream have of the one that comes in its place. `None`: there are none.
pub fn of_copies(tenant: &Tenant, stream: &Stream, actual: &Actual) -> Option<String> {
    let name = stream.name.as_str();
    let own = actual.copies_of(name).map(|(copy, _)| format!("`{copy}`"));
    let of_others = tenant.copies_of(name).map(|copy| format!("that of `{}`", copy.to));
    let all: Vec<String> = own.chain(of_others).collect();
    let new = STREAM.request(&stream.config, None);
    let begins_again = origins(&new).next().is_some();
    // Those of sources get new numbers.
    let gets_twice = !new["mirror"].is_object();
    let again = copied_again_from(&new, actual);
    match (all.is_empty(), begins_again) {
        (true, false) => None,
        (true, true) => Some(again),
        (false, true) if gets_twice => Some(format!("{again}, and its copies ({}) get that twice", first_few(&all))),
        (false, _) => {
            let dropped = drops_meanwhile(stream, actual).unwrap_or_default();
            let all = first_few(&all);
            Some(format!(
                "its copies ({all}) keep what they have, and go on with the new one within half a minute{dropped}"
            ))
        }
    }
}

/// Says that a new stream copies its origins again, and how many messages those in the account hold now.
fn copied_again_from(new: &Json, actual: &Actual) -> String {
    let own = origins(new).filter(|origin| origin["external"].is_null()).filter_map(|origin| origin["name"].as_str());
    let holds = own.filter_map(|name| Some(format!("`{name}` holds {}", messages(actual.streams.get(name)?.messages))));
    let holds: BTreeSet<String> = holds.collect();
    let holds = if holds.is_empty() { String::new() } else { format!(" ({})", Vec::from_iter(holds).join(", ")) };
    format!("it copies again what its origin still has{holds}")
}

/// A number of messages.
fn messages(number: u64) -> String {
    if number == 1 { "1 message".to_owned() } else { format!("{number} messages") }
}

/// What a new stream may drop before the copies of its account find it: other limits come later.
fn drops_meanwhile(stream: &Stream, actual: &Actual) -> Option<&'static str> {
    let drops = stream.config.get(MAX_BYTES.name).as_i64().is_some_and(|most| most > 0);
    let refuses = stream.config.get(DISCARD.name) == "new";
    let expires = stream.config.get(ALLOW_MSG_TTL.name) == true;
    (actual.is_copied(stream.name.as_str()) && (drops && !refuses || expires))
        .then_some("; until then they miss what goes beyond `max_bytes`, and messages whose TTL ends")
}

/// What is done twice when a stream begins to copy others of its account: what they hold for their own consumers, those of the
/// new one get, too. `None`: nothing.
pub fn done_twice(new: &Json, actual: &Actual) -> Option<String> {
    let worked_off = origins(new).filter(|origin| origin["external"].is_null()).filter_map(|origin| {
        let name = origin["name"].as_str()?;
        let found = actual.streams.get(name)?;
        let is_work = found.raw["retention"] == "workqueue" || found.raw["retention"] == "interest";
        (is_work && !found.consumers.is_empty()).then(|| format!("`{name}`"))
    });
    let names: BTreeSet<String> = worked_off.collect();
    (!names.is_empty()).then(|| {
        format!("stop the clients of {} first: what consumers there get, consumers here get as well", first_few(&names))
    })
}

/// Why a consumer cannot lose its filter in place: nats-server 2.15.1 then neither tells it of new messages nor, in an interest
/// stream, stores any for it, until it restarts. One that feeds a copy can.
pub fn goes_deaf(fields: &[Field], found: &ActualConsumer) -> Option<String> {
    let to = filters(fields, |f| &f.to)?;
    let is_lost = to == [Subject::everything()] && !names_everything(fields);
    (is_lost && !feeds_a_copy(found)).then(|| {
        "a consumer that loses its filter hears of no new messages (write a filter that covers all, such as the stream's subjects)"
            .to_owned()
    })
}

/// Whether a filter says that it covers everything, and is not only left out.
fn names_everything(fields: &[Field]) -> bool {
    let says = |value: &Json| match value {
        Json::Array(list) => list.iter().any(|one| one == ">"),
        other => other == ">",
    };
    fields.iter().any(|field| says(&field.to))
}

/// Whether the server drops messages of a stream when these of its keys change.
pub fn drops(fields: &[Field], found: &ActualStream) -> bool {
    over_limits(fields, found).or_else(|| without_interest(fields, found)).is_some()
}

/// The messages that limits drop. A stream that discards new messages keeps the old ones beyond its number of messages or
/// bytes, until it discards them instead.
fn over_limits(fields: &[Field], found: &ActualStream) -> Option<String> {
    let totals = [keys::stream::MAX_MSGS.name, keys::stream::MAX_BYTES.name];
    let is_touched = fields.iter().any(|f| totals.contains(&f.key.name) || f.key.name == keys::stream::DISCARD.name);
    let drops_old = is_touched && *after(fields, found, keys::stream::DISCARD.name) != "new";
    let beyond = |name: &str, held: u64| limit(after(fields, found, name)).filter(|limit| drops_old && held > *limit);
    let [messages, bytes] =
        [(totals[0], found.messages), (totals[1], found.bytes)].map(|(name, held)| beyond(name, held));
    let mut others = fields.iter().filter(|f| f.key.is_limit() && !totals.contains(&f.key.name));
    let held = found.messages;
    match (messages, bytes.is_some() || others.any(is_lower)) {
        _ if held == 0 => None,
        (Some(limit), false) => Some(format!("the oldest {} of {held} messages are dropped", held - limit)),
        (None, false) => None,
        _ => Some(format!("of its {held} messages, those beyond the limit are dropped")),
    }
}

/// The messages that a stream which discards new ones takes no more, because it is beyond its limit.
fn is_full(fields: &[Field], found: &ActualStream) -> Option<String> {
    let is_changed = |name: &str| fields.iter().any(|f| f.key.name == name);
    let (messages, bytes) = (keys::stream::MAX_MSGS.name, keys::stream::MAX_BYTES.name);
    let is_touched = [keys::stream::DISCARD.name, messages, bytes].into_iter().any(is_changed);
    let is_new = *after(fields, found, keys::stream::DISCARD.name) == "new";
    let reached = |name: &str, held: u64| limit(after(fields, found, name)).is_some_and(|limit| held >= limit);
    let is_over = reached(messages, found.messages) || reached(bytes, found.bytes);
    (is_touched && is_new && is_over).then(|| {
        format!("it has {} messages already, and refuses new ones until it has fewer than its limit", found.messages)
    })
}

/// The keys that cannot be changed back.
fn for_good(fields: &[Field]) -> Option<String> {
    let is_final = |f: &&Field| f.key.is_one_way() && f.to == true;
    let names: Vec<&str> = fields.iter().filter(is_final).map(|f| f.key.name).collect();
    (!names.is_empty()).then(|| format!("{} cannot be taken back", names.join(", ")))
}

/// The messages that a stream drops when it begins to keep only what a consumer waits for.
fn without_interest(fields: &[Field], found: &ActualStream) -> Option<String> {
    let begins = fields.iter().any(|f| f.key.name == keys::stream::RETENTION.name && f.to == "interest");
    match (begins, found.messages, found.consumer_count) {
        (false, ..) | (_, 0, _) => None,
        (true, messages, 0) => Some(format!("its {messages} messages are dropped: no consumer waits for them")),
        (true, messages, _) => {
            Some(format!("of its {messages} messages, those that all its consumers have acknowledged are dropped"))
        }
    }
}

/// The sources that the server reads again, and those that it reads for the first time: it tells a source by its
/// name, filter and transforms, and takes one that differs in them for a new one.
fn copied_again(fields: &[Field]) -> Option<String> {
    let changed = fields.iter().find(|f| f.key.name == keys::stream::SOURCES.name)?;
    let list = |value: &Json| value.as_array().cloned().unwrap_or_default();
    let name = |source: &Json| (source["name"].clone(), source["external"].clone());
    let same = |a: &Json, b: &Json| ["filter_subject", "subject_transforms"].iter().all(|key| a[*key] == b[*key]);
    let (from, to) = (list(&changed.from), list(&changed.to));
    let is_again = |source: &&Json| {
        let was_source = from.iter().any(|old| name(old) == name(source));
        // Beside one that stays it is another one.
        let one_is_gone = from
            .iter()
            .any(|old| name(old) == name(source) && !to.iter().any(|new| name(new) == name(old) && same(new, old)));
        was_source && one_is_gone && !from.iter().any(|old| name(old) == name(source) && same(old, source))
    };
    let names = |sources: Vec<&Json>| -> Vec<String> {
        sources.into_iter().filter_map(|s| Some(format!("`{}`", s["name"].as_str()?))).collect()
    };
    let again = names(to.iter().filter(is_again).collect());
    let again = (!again.is_empty()).then(|| {
        format!(
            "{} is copied anew, and what it has of it already may be there twice (by a share, or in a form that it had before, \
             perhaps only the latest messages)",
            again.join(", ")
        )
    });
    // Which may hold the same messages: a stream that was renamed.
    let is_in = |sources: &[Json], source: &Json| sources.iter().any(|other| name(other) == name(source));
    let new = names(to.iter().filter(|source| !is_in(&from, source)).collect());
    let gone = names(from.iter().filter(|source| !is_in(&to, source)).collect());
    let twice = (!new.is_empty() && !gone.is_empty())
        .then(|| format!("all that {} holds is copied, also what came by {} already", new.join(", "), gone.join(", ")));
    joined([again, twice])
}

/// What becomes of the stream's messages if a consumer goes. `None`: nothing.
pub fn without_consumer(stream: &ActualStream, found: &ActualConsumer) -> Option<String> {
    match stream.raw["retention"].as_str() {
        Some("interest") if stream.messages > 0 => Some(format!(
            "of the stream's {} messages, those that no other consumer waits for are dropped",
            stream.messages
        )),
        Some("workqueue") if found.waiting > 0 => {
            Some(format!("{}, and are for nobody until another consumer gets them", waiting(found)))
        }
        _ => None,
    }
}

fn waiting(found: &ActualConsumer) -> String {
    match found.waiting {
        1 => "1 message waits for it".to_owned(),
        many => format!("{many} messages wait for it"),
    }
}

/// The subjects that a consumer waits for, by one side of a change of its filters. `None`: they do not change.
fn filters(fields: &[Field], side: impl Fn(&Field) -> &Json) -> Option<Vec<Subject>> {
    let names = [keys::consumer::FILTER_SUBJECT.name, keys::consumer::FILTER_SUBJECTS.name];
    let changed: Vec<&Field> = fields.iter().filter(|f| names.contains(&f.key.name)).collect();
    let listed = |value: &Json| match value {
        Json::Array(list) => list.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
        other => other.as_str().map(str::to_owned).into_iter().collect::<Vec<_>>(),
    };
    let subjects = changed.iter().flat_map(|field| listed(side(field))).filter(|text| !text.is_empty());
    let subjects: Vec<Subject> = subjects.filter_map(|text| Subject::as_the_server_reads(&text)).collect();
    (!changed.is_empty()).then(|| if subjects.is_empty() { vec![Subject::everything()] } else { subjects })
}

/// Whether one list of subjects has some that no entry of the other covers.
fn has_more(one: &[Subject], other: &[Subject]) -> bool {
    one.iter().any(|subject| !other.iter().any(|wide| wide.contains(subject)))
}

/// Whether a consumer no longer waits for some subjects after a change.
pub fn gives_up(fields: &[Field]) -> bool {
    filters(fields, |f| &f.from).zip(filters(fields, |f| &f.to)).is_some_and(|(from, to)| has_more(&from, &to))
}

/// What becomes of messages when these keys of a consumer change in place. `None`: nothing.
pub fn of_consumer(fields: &[Field], stream: &ActualStream, found: &ActualConsumer) -> Option<String> {
    joined([
        given_up(fields, stream, found),
        passed_by(fields, stream, found),
        delivered_too_often(fields, found),
        expires(fields),
        outside_of_groups(fields),
    ])
}

/// The messages that wait for a consumer, and that its filter no longer names.
fn given_up(fields: &[Field], stream: &ActualStream, found: &ActualConsumer) -> Option<String> {
    if !gives_up(fields) || found.waiting == 0 {
        return None;
    }
    let waiting = waiting(found);
    Some(match stream.raw["retention"].as_str() {
        Some("limits") => {
            format!("{waiting}: of those not delivered yet, those that its filter no longer names do not come to it")
        }
        Some("interest") => format!(
            "{waiting}: those that its filter no longer names are dropped, or stay and come to nobody, unless another \
             consumer waits for them"
        ),
        _ => format!(
            "{waiting}: of those not delivered yet, those that its filter no longer names are for nobody until another \
             consumer gets them; of those delivered, that one gets them too"
        ),
    })
}

/// The messages that a consumer's filter newly names, and that lie before what it has delivered.
fn passed_by(fields: &[Field], stream: &ActualStream, found: &ActualConsumer) -> Option<String> {
    let (to, from) = filters(fields, |f| &f.to).zip(filters(fields, |f| &f.from))?;
    if !has_more(&to, &from) || stream.messages == 0 {
        return None;
    }
    if feeds_a_copy(found) {
        return Some("of what its filter names now, the copy gets only what is sent from now on".to_owned());
    }
    (found.position >= stream.first).then(|| {
        format!(
            "it has got as far as message {}: of what its filter names now, it gets nothing before that; a consumer of \
             another name begins with the first message",
            found.position
        )
    })
}

fn feeds_a_copy(found: &ActualConsumer) -> bool {
    found.raw["ack_policy"] == "flow_control"
}

/// The messages that a consumer has delivered as often as a lower `max_deliver` allows.
fn delivered_too_often(fields: &[Field], found: &ActualConsumer) -> Option<String> {
    let lower = fields.iter().find(|f| f.key.name == keys::consumer::MAX_DELIVER.name && is_lower(f))?;
    (found.waiting > 0).then(|| format!("what it has delivered {} times or more does not come again", lower.to))
}

/// What waits for a consumer that the server is to delete after some time without a client.
fn expires(fields: &[Field]) -> Option<String> {
    let sooner = fields.iter().find(|f| f.key.name == keys::consumer::INACTIVE_THRESHOLD.name && is_lower(f))?;
    Some(format!(
        "once nobody has used it for {}, the server deletes it, and what waits for it is for nobody or dropped",
        sooner.key.show(&sooner.to)
    ))
}

/// Clients that name no group of a consumer that begins to have groups.
fn outside_of_groups(fields: &[Field]) -> Option<String> {
    let count = |value: &Json| value.as_array().map_or(0, Vec::len);
    let begins =
        |f: &Field| f.key.name == keys::consumer::PRIORITY_GROUPS.name && count(&f.from) == 0 && count(&f.to) > 0;
    let words = || "clients that name none of its groups get nothing any more".to_owned();
    fields.iter().any(begins).then(words)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    /// Keys with the values that the server has and that are declared.
    type Fields<'f> = Vec<(&'f str, Json, Json)>;

    fn noted(fields: &Fields<'_>, found: &ActualStream) -> Option<String> {
        let key = |name: &str| *keys::stream::ALL.iter().find(|k| k.name == name).expect("a key");
        let field =
            |(name, from, to): &(&str, Json, Json)| Field { key: key(name), from: from.clone(), to: to.clone() };
        of_stream(&fields.iter().map(field).collect::<Vec<_>>(), found)
    }

    fn stream(discard: &str, messages: u64, consumers: usize) -> ActualStream {
        let consumer = |n| (format!("c{n}"), ActualConsumer::default());
        let raw = json!({ "discard": discard, "retention": "limits" });
        let consumers: BTreeMap<String, ActualConsumer> = (0..consumers).map(consumer).collect();
        let consumer_count = u64::try_from(consumers.len()).expect("a few");
        ActualStream {
            raw,
            messages,
            bytes: 100 * messages,
            first: 1,
            consumer_count,
            consumers,
            ..ActualStream::default()
        }
    }

    #[test]
    fn lower_limits_note_the_messages_that_they_drop() {
        let oldest = Some("the oldest 3 of 10 messages are dropped");
        let beyond = Some("of its 10 messages, those beyond the limit are dropped");
        let cases: [(Fields<'_>, u64, Option<&str>); 18] = [
            (vec![("max_msgs", json!(100), json!(7))], 10, oldest),
            (vec![("max_msgs", json!(-1), json!(7))], 10, oldest),
            (vec![("max_msgs", Json::Null, json!(7))], 10, oldest),
            (vec![("max_msgs", json!(100), json!(10))], 10, None),
            (vec![("max_msgs", json!(100), json!(9))], 10, Some("the oldest 1 of 10 messages are dropped")),
            (vec![("max_msgs", json!(100), json!(-1))], 10, None),
            (vec![("max_msgs", json!(5), json!(12))], 10, None),
            (vec![("max_msgs", json!(100), json!(7))], 0, None),
            (vec![("max_bytes", json!(2048), json!(1024))], 10, None),
            (vec![("max_bytes", json!(2048), json!(512))], 10, beyond),
            (vec![("max_bytes", json!(1024), json!(2048))], 10, None),
            (vec![("max_age", Json::Null, json!(1_000_000_000))], 10, beyond),
            (vec![("max_age", json!(1_000_000_000), Json::Null)], 10, None),
            (vec![("max_msgs_per_subject", json!(5), json!(1))], 10, beyond),
            (vec![("max_msg_size", json!(2048), json!(1024))], 10, None),
            (vec![("max_msgs", json!(100), json!(7)), ("max_bytes", json!(2048), json!(512))], 10, beyond),
            (vec![("max_msgs", json!(100), json!(7)), ("max_bytes", json!(1024), json!(2048))], 10, oldest),
            (vec![], 10, None),
        ];
        for (fields, messages, note) in cases {
            let shown = format!("{fields:?} of {messages}");
            assert_eq!(noted(&fields, &stream("old", messages, 0)).as_deref(), note, "{shown}");
        }
    }

    #[test]
    fn a_stream_that_discards_new_messages_keeps_the_old_ones() {
        let old = Some("the oldest 3 of 10 messages are dropped");
        let beyond = Some("of its 10 messages, those beyond the limit are dropped");
        let full = Some("it has 10 messages already, and refuses new ones until it has fewer than its limit");
        for (fields, discard, note) in [
            (vec![("max_msgs", json!(100), json!(7))], "new", full),
            (vec![("max_msgs", json!(100), json!(11))], "new", None),
            (vec![("max_bytes", json!(2000), json!(7))], "new", full),
            (vec![("max_bytes", json!(2000), json!(1001))], "new", None),
            (vec![("deny_delete", json!(false), json!(true))], "old", Some("deny_delete cannot be taken back")),
            (vec![("allow_direct", json!(false), json!(true))], "old", None),
            (vec![("max_age", Json::Null, json!(7))], "new", beyond),
            (vec![("max_msgs_per_subject", json!(5), json!(1))], "new", beyond),
            (vec![("max_msgs", json!(100), json!(7)), ("discard", json!("new"), json!("old"))], "new", old),
            (vec![("max_msgs", json!(100), json!(7)), ("discard", json!("old"), json!("new"))], "old", full),
        ] {
            assert_eq!(noted(&fields, &stream(discard, 10, 0)).as_deref(), note, "{fields:?} {discard}");
        }
    }

    /// Measured on nats-server 2.15.1: 20 messages in a stream that discards new ones beyond 4; then it discards old ones.
    #[test]
    fn a_stream_that_begins_to_discard_old_messages_drops_those_beyond_its_limit() {
        let beginning = |limit: &str, value: u64, more: Fields<'_>| {
            let found = stream("new", 20, 0);
            let raw = json!({ "discard": "new", "retention": "limits", limit: value });
            noted(&[vec![("discard", json!("new"), json!("old"))], more].concat(), &ActualStream { raw, ..found })
        };
        assert_eq!(beginning("max_msgs", 4, vec![]).as_deref(), Some("the oldest 16 of 20 messages are dropped"));
        let raised = |to: u64| beginning("max_msgs", 4, vec![("max_msgs", json!(4), json!(to))]);
        assert_eq!(raised(8).as_deref(), Some("the oldest 12 of 20 messages are dropped"));
        assert_eq!(raised(30), None);
        let beyond = Some("of its 20 messages, those beyond the limit are dropped");
        assert_eq!(
            (beginning("max_bytes", 200, vec![]).as_deref(), beginning("max_bytes", 2000, vec![])),
            (beyond, None)
        );
    }

    /// Measured on nats-server 2.15.1: a consumer goes on where it is, whatever its filter becomes.
    #[test]
    fn a_consumer_gets_nothing_that_it_is_past() {
        let changed = |retention: &str, from: Json, to: Json, position: u64, waiting: u64| {
            let keys = [("filter_subject", &from, &to)].into_iter();
            let key = |name: &str| *keys::consumer::ALL.iter().find(|k| k.name == name).expect("a key");
            let fields: Vec<Field> =
                keys.map(|(name, from, to)| Field { key: key(name), from: from.clone(), to: to.clone() }).collect();
            let stream = ActualStream { raw: json!({ "retention": retention }), ..stream("old", 10, 1) };
            let found = ActualConsumer { position, waiting, ..ActualConsumer::default() };
            of_consumer(&fields, &stream, &found).unwrap_or_default()
        };
        let (one, two, all) = (json!("w.one"), json!("w.two"), Json::Null);
        let past = "it has got as far as message 5: of what its filter names now, it gets nothing before that";
        assert!(changed("workqueue", one.clone(), json!("w.>"), 5, 0).starts_with(past));
        assert_eq!(changed("workqueue", one.clone(), json!("w.>"), 0, 3), "", "it has not begun");
        assert_eq!(changed("limits", all.clone(), one.clone(), 5, 0), "", "nothing waits for it");
        let waits = |retention: &str| changed(retention, all.clone(), one.clone(), 5, 3);
        assert!(waits("limits").ends_with("those that its filter no longer names do not come to it"));
        assert!(waits("workqueue").contains("are for nobody until another consumer gets them"));
        assert!(
            waits("interest").starts_with("3 messages wait for it: those that its filter no longer names are dropped")
        );
        let moved = changed("workqueue", one, two, 5, 1);
        assert!(moved.contains("1 message waits for it") && moved.contains(past), "{moved}");
    }

    /// Measured on nats-server 2.15.1: 0 of 7 messages published afterwards are stored in an interest stream; in others they are
    /// stored, and neither a push consumer nor an open request gets any.
    #[test]
    fn no_consumer_loses_its_filter_in_place() {
        let reason = |ack_policy: &str, to: Json| {
            let key = *keys::consumer::ALL.iter().find(|k| k.name == "filter_subject").expect("a key");
            let found = ActualConsumer { raw: json!({ "ack_policy": ack_policy }), ..ActualConsumer::default() };
            goes_deaf(&[Field { key, from: json!("T.s.x"), to }], &found)
        };
        assert!(reason("explicit", Json::Null).is_some_and(|reason| reason.contains("hears of no new messages")));
        assert_eq!((reason("explicit", json!("T.s.>")), reason("explicit", json!(">"))), (None, None));
        assert_eq!(reason("flow_control", Json::Null), None, "it feeds a copy");
    }

    /// Measured on nats-server 2.15.1, while a work queue was renamed: 718 of 2,370 jobs were done twice.
    #[test]
    fn what_a_copy_of_a_work_queue_does_twice_is_told() {
        let actual = |retention: &str, consumer: &str| {
            let consumers =
                [(consumer.to_owned(), ActualConsumer::default())].into_iter().filter(|(name, _)| !name.is_empty());
            let found = ActualStream {
                raw: json!({ "retention": retention }),
                consumers: consumers.collect(),
                ..ActualStream::default()
            };
            Actual { streams: [("OLD".to_owned(), found)].into(), ..Actual::default() }
        };
        let new = json!({ "sources": [{ "name": "OLD" }] });
        let told = "stop the clients of `OLD` first: what consumers there get, consumers here get as well";
        assert_eq!(done_twice(&new, &actual("workqueue", "w")).as_deref(), Some(told));
        assert_eq!(done_twice(&new, &actual("interest", "w")).as_deref(), Some(told));
        assert_eq!(done_twice(&new, &actual("limits", "w")), None);
        assert_eq!(done_twice(&new, &actual("workqueue", "")), None);
    }

    /// Measured on nats-server 2.15.1: a mirror copies nothing of a stream that begins with lower numbers than it has.
    #[test]
    fn the_copies_of_a_replaced_stream_are_named() {
        let model = crate::project::tests::model(
            "[[share]]\nfrom = \"A\"\nto = [\"B\"]\njetstream = \"E\"\n[[tenant]]\nname = \"A\"\n[tenant.jetstream]\nstorage = \"1MiB\"\n\
             [[tenant.user]]\nname = \"a\"\n[[tenant.stream]]\nname = \"E\"\nsubjects = [\"A.e\"]\n[[tenant.stream]]\nname = \"F\"\nsubjects = [\"A.f\"]\n\
             [[tenant]]\nname = \"B\"\n[tenant.jetstream]\nstorage = \"1MiB\"\n[[tenant.user]]\nname = \"b\"\n\
             [[tenant.stream]]\nname = \"C\"\n[tenant.stream.mirror]\nname = \"E\"\nfrom = \"A\"\n\
             [[tenant.stream]]\nname = \"D\"\n[[tenant.stream.source]]\nname = \"G\"\n[[tenant.stream]]\nname = \"G\"\nsubjects = [\"B.g\"]\n",
        );
        let [a, b] = [0, 1].map(|i| &model.tenants[i]);
        let copied = |origin: &str| {
            let copy = ActualStream { raw: json!({ "sources": [{ "name": origin }] }), ..ActualStream::default() };
            Actual { streams: [("M".to_owned(), copy)].into(), ..Actual::default() }
        };
        let told = |tenant: &Tenant, name: &str, copied: Actual| {
            let stream = tenant.streams.iter().find(|stream| stream.name.as_str() == name).expect("a stream");
            of_copies(tenant, stream, &copied)
        };
        let both = "its copies (`M`, that of `B`) keep what they have, and go on with the new one within half a minute";
        assert_eq!(told(a, "E", copied("E")).as_deref(), Some(both));
        assert_eq!(told(a, "F", copied("E")), None);
        let again = "it copies again what its origin still has";
        assert_eq!(told(b, "D", Actual::default()).as_deref(), Some(again));
        assert_eq!(told(b, "D", copied("D")), Some(format!("{again}, and its copies (`M`) get that twice")));
        let mirror = "its copies (`M`) keep what they have, and go on with the new one within half a minute";
        assert_eq!(told(b, "C", copied("C")).as_deref(), Some(mirror), "it has the numbers of its origin");
        assert_eq!(told(b, "C", Actual::default()).as_deref(), Some(again));
    }

    /// Measured on nats-server 2.15.1: an interest stream keeps for the server's own consumer what a copy has yet to take.
    #[test]
    fn an_interest_stream_that_is_no_longer_copied_drops_what_waits_for_the_copy() {
        let origin = |retention: &str| {
            let raw = json!({ "retention": retention });
            let streams = [("E".to_owned(), ActualStream { raw, ..stream("old", 10, 0) })].into();
            Actual { streams, ..Actual::default() }
        };
        let copy = json!({ "sources": [{ "name": "E" }] });
        let lost = Some("of the 10 messages of `E`, those that nobody else waits for are dropped");
        assert_eq!(of_origins(&copy, None, &origin("interest")).as_deref(), lost);
        assert_eq!(of_origins(&copy, Some(&json!({})), &origin("interest")).as_deref(), lost);
        assert_eq!(of_origins(&copy, Some(&copy), &origin("interest")), None);
        let mirror = json!({ "mirror": { "name": "E" } });
        assert_eq!(of_origins(&mirror, Some(&json!({})), &origin("interest")).as_deref(), lost, "it is promoted");
        assert_eq!(of_origins(&mirror, Some(&mirror), &origin("interest")), None);
        assert_eq!(of_origins(&copy, None, &origin("limits")), None);
    }

    #[test]
    fn a_consumer_that_is_to_expire_is_told() {
        let told = |from: Json, to: u64| {
            let key = *keys::consumer::ALL.iter().find(|k| k.name == "inactive_threshold").expect("a key");
            of_consumer(&[Field { key, from, to: json!(to) }], &stream("old", 10, 1), &ActualConsumer::default())
        };
        let hour = 3_600_000_000_000_u64;
        assert!(told(Json::Null, hour).is_some_and(|note| note.contains("the server deletes it")));
        assert!(told(json!(2 * hour), hour).is_some());
        assert_eq!((told(json!(hour), 2 * hour), told(json!(hour), 0)), (None, None));
    }

    #[test]
    fn groups_shut_out_who_names_none() {
        let changed = |from: Json, to: Json| {
            let key = *keys::consumer::ALL.iter().find(|k| k.name == "priority_groups").expect("a key");
            of_consumer(&[Field { key, from, to }], &stream("old", 10, 1), &ActualConsumer::default())
        };
        assert!(changed(Json::Null, json!(["w"])).is_some_and(|note| note.contains("name none of its groups")));
        assert_eq!(changed(json!(["w"]), json!(["w", "v"])), None);
    }

    #[test]
    fn fewer_deliveries_give_messages_up() {
        let changed = |from: i64, to: i64, waiting: u64| {
            let key = *keys::consumer::ALL.iter().find(|k| k.name == "max_deliver").expect("a key");
            let field = Field { key, from: json!(from), to: json!(to) };
            let found = ActualConsumer { waiting, ..ActualConsumer::default() };
            of_consumer(&[field], &stream("old", 10, 1), &found)
        };
        let given_up = Some("what it has delivered 2 times or more does not come again");
        assert_eq!((changed(5, 2, 1).as_deref(), changed(-1, 2, 1).as_deref()), (given_up, given_up));
        assert_eq!((changed(2, 5, 1), changed(5, 2, 0), changed(5, -1, 1)), (None, None, None));
    }

    #[test]
    fn interest_retention_drops_what_no_consumer_waits_for() {
        let begins = vec![("retention", json!("limits"), json!("interest"))];
        for (messages, consumers, note) in [
            (10, 0, Some("its 10 messages are dropped: no consumer waits for them")),
            (10, 1, Some("of its 10 messages, those that all its consumers have acknowledged are dropped")),
            (0, 0, None),
        ] {
            assert_eq!(noted(&begins, &stream("old", messages, consumers)).as_deref(), note);
        }
        let ends = vec![("retention", json!("interest"), json!("limits"))];
        assert_eq!(noted(&ends, &stream("old", 10, 0)), None);
        let interest =
            |messages| ActualStream { raw: json!({ "retention": "interest" }), ..stream("old", messages, 1) };
        let gone = |stream: &ActualStream, waiting| {
            without_consumer(stream, &ActualConsumer { waiting, ..ActualConsumer::default() })
        };
        assert!(gone(&interest(10), 0).is_some() && gone(&interest(0), 0).is_none());
        assert_eq!(gone(&stream("old", 10, 1), 3), None);
        let queue = ActualStream { raw: json!({ "retention": "workqueue" }), ..stream("old", 10, 1) };
        let for_nobody = "3 messages wait for it, and are for nobody until another consumer gets them";
        assert_eq!((gone(&queue, 3).as_deref(), gone(&queue, 0)), (Some(for_nobody), None));
    }

    #[test]
    fn a_source_with_another_filter_is_copied_again() {
        let source = |name: &str, filter: &str| json!({ "name": name, "filter_subject": filter });
        let note = |from: Json, to: Json| noted(&vec![("sources", from, to)], &stream("old", 10, 0));
        let again = "`Q` is copied anew, and what it has of it already may be there twice (by a share, or in a form that it had before, \
             perhaps only the latest messages)";
        assert_eq!(note(json!([source("Q", "a")]), json!([source("Q", "b")])).as_deref(), Some(again));
        assert_eq!(note(json!([{ "name": "Q" }]), json!([source("Q", "b")])).as_deref(), Some(again));
        assert_eq!(note(json!([source("Q", "a")]), json!([source("Q", "a"), source("R", "b")])), None);
        assert_eq!(note(json!([source("Q", "a")]), json!([source("Q", "a"), source("Q", "b")])), None, "beside it");
        let other = "all that `R` holds is copied, also what came by `Q` already";
        assert_eq!(note(json!([source("Q", "a")]), json!([source("R", "b")])).as_deref(), Some(other));
    }
}
