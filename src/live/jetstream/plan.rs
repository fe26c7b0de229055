//! What differs between a tenant's entry in the registry and its account.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::api::{Api, Failure};
use super::change::{Action, Change, Differs, Kind, NotInPlace};
use super::targets::Targets;
use crate::model::Tenant;
use crate::model::jetstream::difference::{CONSUMER, Difference, Field, MARK, STREAM};
use crate::model::jetstream::{Consumer, Stream, keys};
use crate::subject::Subject;

/// What the server has of an account.
#[derive(Debug, Default)]
pub struct Actual {
    /// Streams by name.
    pub streams: BTreeMap<String, ActualStream>,
}

/// A stream on the server.
#[derive(Debug)]
pub struct ActualStream {
    /// Its configuration as the server wrote it.
    pub raw: Json,
    /// How many messages it holds.
    pub messages: u64,
    /// Durable consumers by name, as the server wrote their configuration.
    pub consumers: BTreeMap<String, ActualConsumer>,
}

/// A consumer on the server.
#[derive(Debug)]
pub struct ActualConsumer {
    /// Its configuration as the server wrote it.
    pub raw: Json,
    /// Messages that it has dealt with.
    pub acknowledged: u64,
}

/// Reads an account.
pub async fn read(api: &Api) -> Result<Actual, Failure> {
    let mut actual = Actual::default();
    for mut stream in api.list("STREAM.LIST", "streams").await? {
        let raw = stream["config"].take();
        let Some(name) = raw["name"].as_str().map(str::to_owned) else { continue };
        // Those that the server keeps for itself.
        if name.starts_with("$MQTT_") {
            continue;
        }
        let mut consumers = BTreeMap::new();
        if stream["state"]["consumer_count"].as_u64() != Some(0) {
            for mut consumer in api.list(&format!("CONSUMER.LIST.{name}"), "consumers").await? {
                let raw = consumer["config"].take();
                // Others come and go with the clients.
                let Some(name) = raw["durable_name"].as_str().map(str::to_owned) else { continue };
                let acknowledged = consumer["ack_floor"]["consumer_seq"].as_u64().unwrap_or_default();
                consumers.insert(name, ActualConsumer { raw, acknowledged });
            }
        }
        let messages = stream["state"]["messages"].as_u64().unwrap_or_default();
        actual.streams.insert(name, ActualStream { raw, messages, consumers });
    }
    Ok(actual)
}

/// Everything that differs, in the order in which it can be done: what frees
/// subjects and names first, then what takes them.
pub fn changes(tenant: &Tenant, actual: &Actual, targets: &Targets) -> Vec<Change> {
    let mut changes = unknown_streams(tenant, actual, targets);
    for stream in &tenant.streams {
        let found = actual.streams.get(stream.name.as_str());
        let change = stream_change(tenant, stream, actual, targets);
        // Its consumers are made with it, or as little as it is.
        let action = change.as_ref().map(|c| &c.action);
        let is_made = found.is_none() || matches!(action, Some(Action::Replace(_)));
        let taken = match action {
            Some(Action::SubjectsTaken { by }) => Some(by.clone()),
            _ => None,
        };
        changes.extend(change);
        let found = found.filter(|_| !is_made);
        changes.extend(stream.consumers.iter().filter_map(|consumer| {
            let found = found.and_then(|f| f.consumers.get(consumer.name.as_str()));
            consumer_change(tenant, stream, consumer, found, taken.as_deref(), targets)
        }));
        for (name, found) in found.map(|f| undeclared(stream, f)).into_iter().flatten() {
            let is_named = targets.is_deleted(tenant, stream.name.as_str(), Some(name));
            changes.push(Change {
                kind: Kind::Consumer,
                stream: stream.name.to_string(),
                consumer: Some(name.clone()),
                action: unknown(is_named, &found.raw, found.acknowledged),
            });
        }
    }
    changes
}

/// Streams that are on the server and not in the registry, those to be deleted first.
fn unknown_streams(tenant: &Tenant, actual: &Actual, targets: &Targets) -> Vec<Change> {
    let is_declared = |name: &str| tenant.streams.iter().any(|s| s.name.as_str() == name);
    let unknown = actual.streams.iter().filter(|(name, _)| !is_declared(name)).map(|(name, stream)| Change {
        kind: Kind::of_stream_name(name),
        stream: name.clone(),
        consumer: None,
        action: self::unknown(targets.is_deleted(tenant, name, None), &stream.raw, stream.messages),
    });
    let mut changes: Vec<Change> = unknown.collect();
    changes.sort_by_key(|c| !matches!(c.action, Action::Delete { .. }));
    changes
}

/// What to do about something that is not in the registry.
fn unknown(is_named: bool, raw: &Json, messages: u64) -> Action {
    match (is_named, raw["metadata"][MARK].is_null()) {
        (true, _) => Action::Delete { messages },
        (false, false) => Action::Undeclared { messages },
        (false, true) => Action::Unmanaged { messages },
    }
}

/// Consumers that are on the server and not in the registry.
fn undeclared<'a>(
    stream: &'a Stream,
    found: &'a ActualStream,
) -> impl Iterator<Item = (&'a String, &'a ActualConsumer)> {
    found.consumers.iter().filter(|(name, _)| !stream.consumers.iter().any(|c| c.name.as_str() == *name))
}

/// What differs of a stream itself.
fn stream_change(tenant: &Tenant, stream: &Stream, actual: &Actual, targets: &Targets) -> Option<Change> {
    let name = stream.name.as_str();
    let subjects_taken = || subjects_taken(tenant, stream, actual, targets);
    let action = match actual.streams.get(name) {
        None => match subjects_taken() {
            Some(by) => Action::SubjectsTaken { by },
            None => Action::Create,
        },
        Some(found) => {
            let Difference { fields, reason, drift } = STREAM.difference(&stream.config, &found.raw)?;
            let differs = Differs { fields, drift, messages: found.messages };
            match reason {
                None => {
                    let dropped = dropped(&differs.fields, found.messages);
                    Action::Update { differs, dropped }
                }
                Some(reason) => {
                    let not_in_place = NotInPlace { differs, reason, goes_too: goes_too(stream, found) };
                    // Deleted first, it could not be made again.
                    match subjects_taken() {
                        None if targets.is_replaced(tenant, name, None) => Action::Replace(not_in_place),
                        blocked_by => Action::Refused { not_in_place, blocked_by },
                    }
                }
            }
        }
    };
    Some(Change { kind: stream.kind.into(), stream: name.to_owned(), consumer: None, action })
}

/// What differs of a consumer. `taken` is the unmanaged stream for which its stream
/// cannot be made.
fn consumer_change(
    tenant: &Tenant,
    stream: &Stream,
    consumer: &Consumer,
    found: Option<&ActualConsumer>,
    taken: Option<&str>,
    targets: &Targets,
) -> Option<Change> {
    let (stream, name) = (stream.name.as_str(), consumer.name.as_str());
    let action = match (found, taken) {
        (None, Some(by)) => Action::SubjectsTaken { by: by.to_owned() },
        (None, None) => Action::Create,
        (Some(found), _) => {
            let Difference { fields, reason, drift } = CONSUMER.difference(&consumer.config, &found.raw)?;
            let differs = Differs { fields, drift, messages: found.acknowledged };
            match reason {
                None => Action::Update { differs, dropped: None },
                Some(reason) => {
                    let not_in_place = NotInPlace { differs, reason, goes_too: None };
                    if targets.is_replaced(tenant, stream, Some(name)) {
                        Action::Replace(not_in_place)
                    } else {
                        Action::Refused { not_in_place, blocked_by: None }
                    }
                }
            }
        }
    };
    Some(Change { kind: Kind::Consumer, stream: stream.to_owned(), consumer: Some(name.to_owned()), action })
}

/// The consumers of others that would go with a stream.
fn goes_too(stream: &Stream, found: &ActualStream) -> Option<String> {
    let others: Vec<String> = undeclared(stream, found).map(|(name, _)| format!("`{name}`")).collect();
    let what = if others.len() == 1 { "a consumer" } else { "consumers" };
    (!others.is_empty()).then(|| format!("{what} of others on it would go too: {}", others.join(", ")))
}

/// A stream on the server that has one of a declared stream's subjects, is not in the
/// registry, and is not about to be deleted.
fn subjects_taken(tenant: &Tenant, stream: &Stream, actual: &Actual, targets: &Targets) -> Option<String> {
    let stays = |name: &String| {
        !tenant.streams.iter().any(|s| s.name.as_str() == name) && !targets.is_deleted(tenant, name, None)
    };
    let has_its_subjects = |found: &ActualStream| {
        let subjects = found.raw["subjects"].as_array().into_iter().flatten().filter_map(Json::as_str);
        let mut subjects = subjects.filter_map(Subject::as_the_server_reads);
        subjects.any(|s| stream.subjects.iter().any(|own| own.overlaps(&s)))
    };
    let mut others = actual.streams.iter().filter(|(name, found)| stays(name) && has_its_subjects(found));
    others.next().map(|(name, _)| name.clone())
}

/// Whether lower limits drop what is there.
fn dropped(fields: &[Field], messages: u64) -> Option<String> {
    let limit = |value: &Json| value.as_i64().filter(|n| *n > 0);
    let lower =
        |f: &&Field| f.key.is_limit() && limit(&f.to).is_some_and(|to| limit(&f.from).is_none_or(|from| to < from));
    let lowered: Vec<&Field> = fields.iter().filter(lower).collect();
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
