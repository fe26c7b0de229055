//! Plans the changes from a tenant's account on the server to its declaration.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::api::{Api, Failure};
use super::change::{Action, Change, Differs, Kind, NotInPlace};
use super::targets::Targets;
use crate::model::Tenant;
use crate::model::jetstream::difference::{CONSUMER, Difference, Field, MARK, STREAM};
use crate::model::jetstream::{Consumer, Stream, keys};
use crate::subject::Subject;

/// The streams and consumers of an account on the server.
#[derive(Debug, Default)]
pub struct Actual {
    /// Streams by name.
    pub streams: BTreeMap<String, ActualStream>,
}

/// A stream on the server.
#[derive(Debug)]
pub struct ActualStream {
    /// Its configuration in the server's JSON.
    pub raw: Json,
    /// Number of messages that it holds.
    pub messages: u64,
    /// Durable consumers by name.
    pub consumers: BTreeMap<String, ActualConsumer>,
}

/// A consumer on the server.
#[derive(Debug)]
pub struct ActualConsumer {
    /// Its configuration in the server's JSON.
    pub raw: Json,
    /// Number of messages that it has delivered and that clients have acknowledged.
    pub acknowledged: u64,
}

/// Reads the streams and durable consumers of an account.
pub async fn read(api: &Api) -> Result<Actual, Failure> {
    let mut actual = Actual::default();
    for mut stream in api.list("STREAM.LIST", "streams").await? {
        let raw = stream["config"].take();
        let Some(name) = raw["name"].as_str().map(str::to_owned) else { continue };
        // Internal streams of the server's MQTT gateway.
        if name.starts_with("$MQTT_") {
            continue;
        }
        let mut consumers = BTreeMap::new();
        if stream["state"]["consumer_count"].as_u64() != Some(0) {
            for mut consumer in api.list(&format!("CONSUMER.LIST.{name}"), "consumers").await? {
                let raw = consumer["config"].take();
                // Ephemeral consumers belong to clients.
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

/// Every difference, in the order in which it can be carried out: deletions, which free
/// subjects and names, come before the changes that need them.
pub fn changes(tenant: &Tenant, actual: &Actual, targets: &Targets) -> Vec<Change> {
    let mut changes = unknown_streams(tenant, actual, targets);
    for stream in &tenant.streams {
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
        let found = found.filter(|_| !is_made);
        changes.extend(stream.consumers.iter().filter_map(|consumer| {
            let found = found.and_then(|f| f.consumers.get(consumer.name.as_str()));
            consumer_change(tenant, stream, consumer, found, taken.as_deref(), targets)
        }));
        for (name, found) in found.map(|f| undeclared_consumers(stream, f)).into_iter().flatten() {
            let is_named = targets.is_deleted(tenant, stream.name.as_str(), Some(name));
            changes.push(Change {
                kind: Kind::Consumer,
                stream: stream.name.to_string(),
                consumer: Some(name.clone()),
                action: action_for_unknown(is_named, &found.raw, found.acknowledged),
            });
        }
    }
    changes
}

/// Streams that are on the server and not in the registry, deletions first.
fn unknown_streams(tenant: &Tenant, actual: &Actual, targets: &Targets) -> Vec<Change> {
    let is_declared = |name: &str| tenant.streams.iter().any(|s| s.name.as_str() == name);
    let unknown = actual.streams.iter().filter(|(name, _)| !is_declared(name)).map(|(name, stream)| Change {
        kind: Kind::of_stream_name(name),
        stream: name.clone(),
        consumer: None,
        action: action_for_unknown(targets.is_deleted(tenant, name, None), &stream.raw, stream.messages),
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
                    // If an unmanaged stream has its subjects, it could not be created again.
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

/// The change of a consumer. `None` if nothing differs. `taken` is the unmanaged stream
/// whose subjects block the creation of the consumer's stream.
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

/// Describes the undeclared consumers that would be deleted with a stream.
fn goes_too(stream: &Stream, found: &ActualStream) -> Option<String> {
    let others: Vec<String> = undeclared_consumers(stream, found).map(|(name, _)| format!("`{name}`")).collect();
    let what = if others.len() == 1 { "a consumer" } else { "consumers" };
    (!others.is_empty()).then(|| format!("{what} of others on it would go too: {}", others.join(", ")))
}

/// An undeclared stream on the server whose subjects overlap those of a declared stream,
/// unless `--delete` names it.
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

/// Describes the messages that lower limits drop. `None` if they drop none.
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
