//! The changes of a plan that the server will refuse, because of what is there and not declared, or because each waits for
//! another one. They are noted: the plan knows them before the server says so.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::actual::{Actual, ActualStream, subjects_of};
use super::change::{Action, Change, REFUSED};
use super::consumer_limits;
use super::plan::subjects_taken;
use super::targets::Targets;
use crate::live::stats::human_size;
use crate::model::Tenant;
use crate::model::jetstream::difference::{CONSUMER, STREAM};
use crate::model::jetstream::keys::consumer::DELIVER_SUBJECT;
use crate::model::jetstream::keys::stream::CONSUMER_LIMITS;
use crate::subject::Subject;

/// Notes on the changes of a tenant's plan which of them the server will refuse.
pub fn note(tenant: &Tenant, actual: &Actual, targets: &Targets, changes: &mut [Change]) {
    note_too_many(tenant, actual, changes);
    note_too_many_consumers(tenant, actual, changes);
    note_above_limits(tenant, actual, targets, changes);
    note_subscribed(actual, changes);
    note_same_work(tenant, actual, targets, changes);
    note_exchanged(tenant, actual, changes);
    note_no_room(tenant, actual, targets, changes);
    note_taken(tenant, actual, targets, changes);
}

/// Notes on streams to be created that the account may not have them: streams that are not declared count as well.
fn note_too_many(tenant: &Tenant, actual: &Actual, changes: &mut [Change]) {
    let Some(most) = tenant.jetstream.map(|jetstream| jetstream.streams as usize) else { return };
    let of_streams = |is: fn(&Action) -> bool| changes.iter().filter(|c| c.consumer.is_none() && is(&c.action)).count();
    let created = of_streams(|action| matches!(action, Action::Create));
    let deleted = of_streams(|action| matches!(action, Action::Delete { .. }));
    let would_be = (actual.streams.len() + created).saturating_sub(deleted);
    if would_be <= most {
        return;
    }
    let is_created = |change: &&mut Change| change.consumer.is_none() && matches!(change.action, Action::Create);
    for change in changes.iter_mut().filter(is_created) {
        change.note = Some(format!(
            "{REFUSED}the tenant would have {would_be} streams, those that are not declared included, and may have {most}"
        ));
    }
}

/// Notes on consumers to be created that their stream may not have them: consumers that are not declared count as well.
fn note_too_many_consumers(tenant: &Tenant, actual: &Actual, changes: &mut [Change]) {
    let Some(limits) = tenant.jetstream else { return };
    for stream in &tenant.streams {
        let Some(found) = actual.streams.get(stream.name.as_str()) else { continue };
        if is_replaced(stream.name.as_str(), changes) {
            continue;
        }
        let own = STREAM.request(&stream.config, None)["max_consumers"].as_u64().filter(|most| *most > 0);
        let most = own.map_or(u64::from(limits.consumers), |own| own.min(limits.consumers.into()));
        let is_of = |change: &Change| change.stream == stream.name.as_str() && change.consumer.is_some();
        let count = |is: fn(&Action) -> bool| changes.iter().filter(|c| is_of(c) && is(&c.action)).count() as u64;
        let (created, deleted) =
            (count(|a| matches!(a, Action::Create)), count(|a| matches!(a, Action::Delete { .. })));
        let would_be = (found.consumer_count + created).saturating_sub(deleted);
        if would_be <= most {
            continue;
        }
        for change in changes.iter_mut().filter(|c| is_of(c) && matches!(c.action, Action::Create)) {
            change.note = Some(format!(
                "{REFUSED}the stream would have {would_be} consumers, with those that are not declared and clients' own, and may have {most}"
            ));
        }
    }
}

/// Notes on streams whose limits for consumers are to be below what one of them has that stays as it is.
fn note_above_limits(tenant: &Tenant, actual: &Actual, targets: &Targets, changes: &mut [Change]) {
    for stream in &tenant.streams {
        let name = stream.name.as_str();
        let Some(found) = actual.streams.get(name) else { continue };
        let is_altered = |c: &Change| c.stream == name && c.consumer.is_none() && matches!(c.action, Action::Update(_));
        let Some(at) = changes.iter().position(is_altered) else { continue };
        let limits = stream.config.get(CONSUMER_LIMITS.name);
        let is_changed = |consumer: &str| {
            let of = changes.iter().find(|c| c.stream == name && c.consumer.as_deref() == Some(consumer));
            of.is_some_and(makes) || targets.is_deleted(tenant, name, Some(consumer))
        };
        let durable = found.consumers.iter().filter(|(name, _)| !is_changed(name)).map(|(name, at)| (name, &at.raw));
        let mut all = durable.chain(&found.clients);
        let above = all.find_map(|(consumer, raw)| Some((consumer, consumer_limits::exceeded(limits, raw)?)));
        let Some((consumer, key)) = above else { continue };
        let remedy = match found.consumers.contains_key(consumer) {
            true => format!("lower it there first, or delete it: --delete {}/{name}/{consumer}", tenant.name),
            false => "it is a client's own, and goes when that ends".to_owned(),
        };
        changes[at].note = Some(format!("{REFUSED}{key} of consumer `{consumer}` is above consumer_limits: {remedy}"));
    }
}

/// Notes on push consumers that are to deliver elsewhere while somebody is subscribed.
fn note_subscribed(actual: &Actual, changes: &mut [Change]) {
    for change in changes.iter_mut().filter(|change| matches!(change.action, Action::Update(_))) {
        let found = actual.streams.get(&change.stream);
        let found = change.consumer.as_ref().and_then(|consumer| found?.consumers.get(consumer));
        let is_moved = change.action.fields().iter().any(|field| field.key.name == DELIVER_SUBJECT.name);
        if found.is_some_and(|found| found.is_bound) && is_moved {
            change.note = Some(format!(
                "{REFUSED}somebody is subscribed to what it delivers: end that client first, or make a consumer of another name"
            ));
        }
    }
}

/// A change that makes or alters a stream or consumer, with the subjects that it is to have alone.
struct Wish<'n> {
    /// Index of the change.
    change: usize,
    /// Name of the stream or consumer.
    name: &'n str,
    subjects: Vec<Subject>,
}

/// Whether a change makes or alters something.
fn makes(change: &Change) -> bool {
    matches!(change.action, Action::Create | Action::Update(_) | Action::Replace(_))
}

/// Gives each its subjects as soon as no other one holds any of them. Returns the changes that cannot be made then, each
/// with the name of one that holds what it is to have.
fn left_waiting<'n>(mut held: BTreeMap<&'n str, Vec<Subject>>, mut wishes: Vec<Wish<'n>>) -> Vec<(usize, &'n str)> {
    fn holder<'n>(held: &BTreeMap<&'n str, Vec<Subject>>, wish: &Wish<'_>) -> Option<&'n str> {
        let overlaps = |theirs: &Vec<Subject>| theirs.iter().any(|s| wish.subjects.iter().any(|own| own.overlaps(s)));
        let mut others = held.iter().filter(|(name, _)| **name != wish.name);
        others.find(|(_, theirs)| overlaps(theirs)).map(|(name, _)| *name)
    }
    while let Some(at) = wishes.iter().position(|wish| holder(&held, wish).is_none()) {
        let Wish { name, subjects, .. } = wishes.remove(at);
        held.insert(name, subjects);
    }
    wishes.iter().filter_map(|wish| Some((wish.change, holder(&held, wish)?))).collect()
}

/// Notes on consumers of work queues that are to get what another one gets: one that is not declared, or one that waits for
/// this one in turn.
fn note_same_work(tenant: &Tenant, actual: &Actual, targets: &Targets, changes: &mut [Change]) {
    let filters = |config: &Json| -> Vec<Subject> {
        let several = config["filter_subjects"].as_array().into_iter().flatten();
        let all = several.chain([&config["filter_subject"]]).filter_map(Json::as_str).filter(|text| !text.is_empty());
        let listed: Vec<Subject> = all.filter_map(Subject::as_the_server_reads).collect();
        if listed.is_empty() { vec![Subject::everything()] } else { listed }
    };
    for stream in &tenant.streams {
        let name = stream.name.as_str();
        let is_queue = |found: &&ActualStream| found.raw["retention"] == "workqueue";
        let Some(found) = actual.streams.get(name).filter(is_queue) else { continue };
        if is_replaced(name, changes) {
            continue;
        }
        let stays = |consumer: &&String| !targets.is_deleted(tenant, name, Some(consumer));
        let held = found.consumers.iter().filter(|(c, _)| stays(c)).map(|(c, at)| (c.as_str(), filters(&at.raw)));
        let declared = |consumer: &str| stream.consumers.iter().find(|c| c.name.as_str() == consumer);
        let made = changes.iter().enumerate().filter(|(_, c)| c.stream == name && makes(c));
        let wishes = made.filter_map(|(change, c)| {
            let consumer = declared(c.consumer.as_deref()?)?;
            let subjects = filters(&CONSUMER.request(&consumer.config, None));
            Some(Wish { change, name: consumer.name.as_str(), subjects })
        });
        for (change, by) in left_waiting(held.collect(), wishes.collect()) {
            let why = match declared(by) {
                None => format!(
                    "`{by}`, which is not declared, gets the same work: delete it, --delete {}/{name}/{by}, or give it another filter",
                    tenant.name
                ),
                Some(_) => format!(
                    "`{by}` gets that work, and waits for others in turn: declare them under other names, which begin with the first \
                     message, and delete these: --delete {}/{name}/{by} and so on",
                    tenant.name
                ),
            };
            changes[change].note = Some(format!("{REFUSED}{why}"));
        }
    }
}

/// Notes on streams that are to take subjects from each other in a circle: none of them can be the first.
fn note_exchanged(tenant: &Tenant, actual: &Actual, changes: &mut [Change]) {
    let of_streams = || changes.iter().enumerate().filter(|(_, change)| change.consumer.is_none());
    let mut held: BTreeMap<&str, Vec<Subject>> =
        actual.streams.iter().map(|(name, found)| (name.as_str(), subjects_of(&found.raw).collect())).collect();
    for (_, change) in of_streams() {
        if matches!(change.action, Action::Delete { .. }) {
            held.remove(change.stream.as_str());
        }
    }
    let wishes = of_streams().filter(|(_, change)| makes(change)).filter_map(|(change, c)| {
        let stream = tenant.streams.iter().find(|stream| stream.name.as_str() == c.stream)?;
        Some(Wish { change, name: stream.name.as_str(), subjects: stream.subjects.clone() })
    });
    let waiting = left_waiting(held, wishes.collect());
    let names: Vec<String> = waiting.iter().map(|(change, _)| changes[*change].stream.clone()).collect();
    for (change, by) in waiting.into_iter().filter(|(_, by)| names.iter().any(|name| name == by)) {
        changes[change].note = Some(format!(
            "{REFUSED}`{by}` has its subjects, and waits for those of others in turn: give one of them subjects \
             of its own first, apply that, and then those that you mean"
        ));
    }
}

/// Whether a stream is deleted, to be made again or not: its consumers go with it.
fn is_replaced(stream: &str, changes: &[Change]) -> bool {
    let is_it = |c: &Change| c.stream == stream && c.consumer.is_none();
    changes.iter().any(|c| is_it(c) && matches!(c.action, Action::Replace(_) | Action::Delete { .. }))
}

/// The bytes that streams reserve on disk and in memory.
pub fn reserved<'s>(raw: impl Iterator<Item = &'s Json>) -> [u64; 2] {
    let mut sums = [0u64; 2];
    for config in raw {
        // -1: it reserves nothing.
        sums[usize::from(config["storage"] == "memory")] += config["max_bytes"].as_u64().unwrap_or(0);
    }
    sums
}

/// Notes on streams that are to reserve more than there is, because streams that are not declared have it.
fn note_no_room(tenant: &Tenant, actual: &Actual, targets: &Targets, changes: &mut [Change]) {
    let Some(limits) = tenant.jetstream else { return };
    let declared: BTreeMap<&str, Json> =
        tenant.streams.iter().map(|stream| (stream.name.as_str(), STREAM.request(&stream.config, None))).collect();
    let stays = |(name, _): &(&String, &ActualStream)| {
        !declared.contains_key(name.as_str()) && !targets.is_deleted(tenant, name, None)
    };
    let others = reserved(actual.streams.iter().filter(stays).map(|(_, found)| &found.raw));
    let own = reserved(declared.values());
    for (i, limit) in [limits.storage.bytes(), limits.memory.bytes()].into_iter().enumerate() {
        let sum = own[i].saturating_add(others[i]);
        if sum <= limit || others[i] == 0 {
            continue;
        }
        for change in changes.iter_mut().filter(|change| change.consumer.is_none()) {
            let name = change.stream.as_str();
            let Some(new) = declared.get(name).filter(|_| makes(change)) else { continue };
            let before = actual.streams.get(name).map_or([0; 2], |found| reserved([&found.raw].into_iter()));
            if reserved([new].into_iter())[i] > before[i] {
                change.note = Some(format!(
                    "{REFUSED}with streams that are not declared, {} would be reserved of {}",
                    human_size(sum),
                    human_size(limit)
                ));
            }
        }
    }
}

/// Notes on streams that are to take subjects which a stream that is not declared has.
fn note_taken(tenant: &Tenant, actual: &Actual, targets: &Targets, changes: &mut [Change]) {
    for change in changes.iter_mut().filter(|c| c.consumer.is_none() && matches!(c.action, Action::Update(_))) {
        let declared = tenant.streams.iter().find(|stream| stream.name.as_str() == change.stream);
        if let Some(by) = declared.and_then(|stream| subjects_taken(tenant, stream, actual, targets)) {
            change.note = Some(format!("{REFUSED}`{by}`, which is not declared, has subjects of it"));
        }
    }
}
