//! What a change does to messages: those that the server drops, or copies once more.

use serde_json::Value as Json;

use super::plan::ActualStream;
use crate::model::jetstream::difference::Field;
use crate::model::jetstream::keys;

/// What the server does to a stream's messages when these of its keys change. `None`: nothing.
pub fn of_stream(fields: &[Field], found: &ActualStream) -> Option<String> {
    let losses = [
        over_limits(fields, found),
        is_full(fields, found),
        without_interest(fields, found),
        copied_again(fields),
        for_good(fields),
    ];
    let losses: Vec<String> = losses.into_iter().flatten().collect();
    (!losses.is_empty()).then(|| losses.join("; "))
}

/// The messages that lower limits drop. A stream that discards new messages keeps the old ones
/// when its number of messages or bytes is lowered.
fn over_limits(fields: &[Field], found: &ActualStream) -> Option<String> {
    let limit = |value: &Json| value.as_i64().filter(|n| *n > 0);
    let discard = fields.iter().find(|f| f.key.name == keys::stream::DISCARD.name).map(|f| &f.to);
    let keeps_old = *discard.unwrap_or(&found.raw["discard"]) == "new";
    let drops = |f: &&Field| {
        let is_total = [keys::stream::MAX_MSGS.name, keys::stream::MAX_BYTES.name].contains(&f.key.name);
        f.key.is_limit() && !(is_total && keeps_old)
    };
    let lower = |f: &&Field| limit(&f.to).is_some_and(|to| limit(&f.from).is_none_or(|from| to < from));
    let lowered: Vec<&Field> = fields.iter().filter(drops).filter(lower).collect();
    let messages = found.messages;
    match lowered.as_slice() {
        [] => None,
        _ if messages == 0 => None,
        [one] if one.key.name == keys::stream::MAX_MSGS.name => {
            let kept = limit(&one.to).and_then(|n| u64::try_from(n).ok()).unwrap_or(messages);
            (kept < messages).then(|| format!("the oldest {} of {messages} messages are dropped", messages - kept))
        }
        _ => Some(format!("of its {messages} messages, those beyond the new limit are dropped")),
    }
}

/// The messages that a stream which discards new ones takes no more, because it is beyond its limit.
fn is_full(fields: &[Field], found: &ActualStream) -> Option<String> {
    let is_changed = |name: &str| fields.iter().any(|f| f.key.name == name);
    let value = |name: &str| fields.iter().find(|f| f.key.name == name).map_or(&found.raw[name], |f| &f.to);
    let limit = |name: &str| value(name).as_u64().filter(|limit| *limit > 0);
    let (messages, bytes) = (keys::stream::MAX_MSGS.name, keys::stream::MAX_BYTES.name);
    let is_touched = [keys::stream::DISCARD.name, messages, bytes].into_iter().any(is_changed);
    let is_new = *value(keys::stream::DISCARD.name) == "new";
    let is_over = limit(messages).is_some_and(|limit| found.messages >= limit)
        || limit(bytes).is_some_and(|limit| found.bytes >= limit);
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
    match (begins, found.messages, found.consumers.len()) {
        (false, ..) | (_, 0, _) => None,
        (true, messages, 0) => Some(format!("its {messages} messages are dropped: no consumer waits for them")),
        (true, messages, _) => {
            Some(format!("of its {messages} messages, those that all its consumers have acknowledged are dropped"))
        }
    }
}

/// The sources that the server reads again from their first message: it tells a source by its
/// name, filter and transforms, and takes one that differs in them for a new one.
fn copied_again(fields: &[Field]) -> Option<String> {
    let changed = fields.iter().find(|f| f.key.name == keys::stream::SOURCES.name)?;
    let list = |value: &Json| value.as_array().cloned().unwrap_or_default();
    let name = |source: &Json| (source["name"].clone(), source["external"].clone());
    let same = |a: &Json, b: &Json| ["filter_subject", "subject_transforms"].iter().all(|key| a[*key] == b[*key]);
    let (from, to) = (list(&changed.from), list(&changed.to));
    let is_again = |source: &&Json| {
        let was_source = from.iter().any(|old| name(old) == name(source));
        was_source && !from.iter().any(|old| name(old) == name(source) && same(old, source))
    };
    let again: Vec<String> =
        to.iter().filter(is_again).filter_map(|s| Some(format!("`{}`", s["name"].as_str()?))).collect();
    (!again.is_empty()).then(|| {
        format!("{} is copied again from its first message: what it has of it already is there twice", again.join(", "))
    })
}

/// What becomes of the stream's messages if a consumer goes, or waits for other ones. `None`: nothing.
pub fn of_consumer(found: &ActualStream) -> Option<String> {
    let is_interest = found.raw["retention"] == "interest" && found.messages > 0;
    is_interest.then(|| {
        format!("of the stream's {} messages, those that no other consumer waits for are dropped", found.messages)
    })
}

/// Whether a change of these keys of a consumer has it wait for other messages.
pub fn waits_for_others(fields: &[Field]) -> bool {
    let filters = [keys::consumer::FILTER_SUBJECT.name, keys::consumer::FILTER_SUBJECTS.name];
    fields.iter().any(|f| filters.contains(&f.key.name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::live::jetstream::plan::ActualConsumer;

    /// Keys with the values that the server has and that are declared.
    type Fields<'f> = Vec<(&'f str, Json, Json)>;

    fn noted(fields: &Fields<'_>, found: &ActualStream) -> Option<String> {
        let key = |name: &str| *keys::stream::ALL.iter().find(|k| k.name == name).expect("a key");
        let field =
            |(name, from, to): &(&str, Json, Json)| Field { key: key(name), from: from.clone(), to: to.clone() };
        of_stream(&fields.iter().map(field).collect::<Vec<_>>(), found)
    }

    fn stream(discard: &str, messages: u64, consumers: usize) -> ActualStream {
        let consumer = |n| (format!("c{n}"), ActualConsumer { raw: json!({}), acknowledged: 0 });
        let raw = json!({ "discard": discard, "retention": "limits" });
        ActualStream { raw, messages, bytes: 100 * messages, consumers: (0..consumers).map(consumer).collect() }
    }

    #[test]
    fn lower_limits_note_the_messages_that_they_drop() {
        let oldest = Some("the oldest 3 of 10 messages are dropped");
        let beyond = Some("of its 10 messages, those beyond the new limit are dropped");
        let cases: [(Fields<'_>, u64, Option<&str>); 17] = [
            (vec![("max_msgs", json!(100), json!(7))], 10, oldest),
            (vec![("max_msgs", json!(-1), json!(7))], 10, oldest),
            (vec![("max_msgs", Json::Null, json!(7))], 10, oldest),
            (vec![("max_msgs", json!(100), json!(10))], 10, None),
            (vec![("max_msgs", json!(100), json!(9))], 10, Some("the oldest 1 of 10 messages are dropped")),
            (vec![("max_msgs", json!(100), json!(-1))], 10, None),
            (vec![("max_msgs", json!(5), json!(7))], 10, None),
            (vec![("max_msgs", json!(100), json!(7))], 0, None),
            (vec![("max_bytes", json!(2048), json!(1024))], 10, beyond),
            (vec![("max_bytes", json!(1024), json!(2048))], 10, None),
            (vec![("max_age", Json::Null, json!(1_000_000_000))], 10, beyond),
            (vec![("max_age", json!(1_000_000_000), Json::Null)], 10, None),
            (vec![("max_msgs_per_subject", json!(5), json!(1))], 10, beyond),
            (vec![("max_msg_size", json!(2048), json!(1024))], 10, None),
            (vec![("max_msgs", json!(100), json!(7)), ("max_bytes", json!(2048), json!(1024))], 10, beyond),
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
        let beyond = Some("of its 10 messages, those beyond the new limit are dropped");
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
        assert!(of_consumer(&interest(10)).is_some() && of_consumer(&interest(0)).is_none());
        assert_eq!(of_consumer(&stream("old", 10, 1)), None);
    }

    #[test]
    fn a_source_with_another_filter_is_copied_again() {
        let source = |name: &str, filter: &str| json!({ "name": name, "filter_subject": filter });
        let note = |from: Json, to: Json| noted(&vec![("sources", from, to)], &stream("old", 10, 0));
        let again = "`Q` is copied again from its first message: what it has of it already is there twice";
        assert_eq!(note(json!([source("Q", "a")]), json!([source("Q", "b")])).as_deref(), Some(again));
        assert_eq!(note(json!([{ "name": "Q" }]), json!([source("Q", "b")])).as_deref(), Some(again));
        assert_eq!(note(json!([source("Q", "a")]), json!([source("Q", "a"), source("R", "b")])), None);
        assert_eq!(note(json!([source("Q", "a")]), json!([source("R", "b")])), None);
    }
}
