//! Carries out the plan of one tenant. Each stream is read again right before it is
//! changed: if another client has changed it since, a new plan is made.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::actual::{self, Actual};
use super::api::{Api, Failure};
use super::change::{Action, Change, Differs};
use super::copies::{Provisioners, copies_of_others};
use super::handover::Handover;
use super::targets::Targets;
use super::{consumer_limits, handover, losses, plan, replacement};
use crate::model::jetstream::difference::{CONSUMER, Comparison, Difference, STREAM, consumer_request, is_same};
use crate::model::jetstream::keys::stream::CONSUMER_LIMITS;
use crate::model::jetstream::{Config, Consumer, Stream};
use crate::model::{StreamCopy, Tenant};
use crate::subject::Subject;

/// The outcome of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// Planned only, not to be carried out.
    Planned,
    /// Done.
    Done,
    /// Not tried; the change's action says why.
    NotTried,
    /// Tried and failed.
    Failed(Failure),
}

/// Maximum number of consecutive stale plans of which no change could be carried out.
const PLANS: usize = 4;
/// Maximum number of plans in all.
const MOST_PLANS: usize = 100;
/// Time limit for a deleted stream to disappear.
const PATIENCE: Duration = Duration::from_secs(10);

/// Changes one tenant's account to what is declared. `done` collects the completed
/// changes, and keeps those of earlier, interrupted attempts.
pub async fn tenant(
    api: &Api,
    tenant: &Tenant,
    targets: &Targets,
    provisioners: &Provisioners<'_>,
    done: &mut Vec<(Change, ChangeOutcome)>,
) -> Result<Vec<(Change, ChangeOutcome)>, Failure> {
    let mut handover = Handover::default();
    let mut result = change_all(&Account { api, tenant, provisioners }, targets, &mut handover, done).await;
    let going_on = handover.go_on().await;
    for (stream, is_found) in handover.found(api).await {
        let Err(failure) = set_limits(api, &stream, is_found).await else { continue };
        if let Ok(changes) = &mut result {
            fail(changes, failure, |change| change.stream == stream.name.as_str());
        }
    }
    match (result, going_on) {
        (result, Ok(())) => result,
        (Ok(mut changes), Err(failure)) => {
            fail(&mut changes, failure, |change| matches!(change.action, Action::Replace(_)));
            Ok(changes)
        }
        (Err(_), Err(failure)) => Err(failure),
    }
}

/// Records what failed after the change of a stream.
fn fail(changes: &mut [(Change, ChangeOutcome)], failure: Failure, is_its: impl Fn(&Change) -> bool) {
    let its = changes.iter_mut().find(|(change, _)| change.consumer.is_none() && is_its(change));
    if let Some((_, outcome)) = its {
        *outcome = ChangeOutcome::Failed(failure);
    }
}

/// The account that is changed.
struct Account<'a> {
    api: &'a Api,
    tenant: &'a Tenant,
    provisioners: &'a Provisioners<'a>,
}

async fn change_all(
    account: &Account<'_>,
    targets: &Targets,
    handover: &mut Handover,
    done: &mut Vec<(Change, ChangeOutcome)>,
) -> Result<Vec<(Change, ChangeOutcome)>, Failure> {
    let (api, tenant) = (account.api, account.tenant);
    let mut targets = targets.clone();
    let (mut vain, mut plans) = (0, 0);
    loop {
        let actual = actual::read(api).await?;
        for trial in &actual.trials {
            delete(api, &format!("STREAM.DELETE.{trial}")).await?;
        }
        if open_again(api, tenant, &actual, &targets, done).await {
            continue;
        }
        let changes = plan::changes(tenant, &actual, &targets);
        let before = done.len();
        let result = carry_out(account, &actual, changes, handover, done).await;
        for (change, _) in &done[before..] {
            targets.remove(tenant, change);
        }
        plans += 1;
        vain = if done.len() > before { 0 } else { vain + 1 };
        match result {
            Ok(rest) => return Ok(std::mem::take(done).into_iter().chain(rest).collect()),
            Err(Stop::Changed(..)) if vain < PLANS && plans < MOST_PLANS => {}
            Err(Stop::Changed(change, failure)) => {
                let last = (*change, ChangeOutcome::Failed(failure));
                return Ok(std::mem::take(done).into_iter().chain([last]).collect());
            }
            Err(Stop::Failed(failure)) => return Err(failure),
        }
    }
}

/// Opens the streams that a replacement has closed, if it is not tried again now: publishers wait. Whether there was one.
async fn open_again(
    api: &Api,
    tenant: &Tenant,
    actual: &Actual,
    targets: &Targets,
    done: &mut Vec<(Change, ChangeOutcome)>,
) -> bool {
    let before = done.len();
    for stream in tenant.streams.iter().filter(|stream| !stream.subjects.is_empty()) {
        let name = stream.name.as_str();
        let is_left = |raw: &Json| handover::is_closed(name, raw) && !targets.is_replaced(tenant, name, None);
        let Some(raw) = actual.streams.get(name).map(|found| &found.raw).filter(|raw| is_left(raw)) else { continue };
        let mut config = raw.clone();
        config["subjects"] = json!(stream.subjects.iter().map(Subject::as_str).collect::<Vec<_>>());
        let Some(Difference { fields, .. }) = STREAM.difference(&Config::of_server(&config), raw) else { continue };
        if api.request(&format!("STREAM.UPDATE.{name}"), &config).await.is_ok() {
            let action = Action::Update(Differs { fields, drift: false, messages: 0 });
            let change =
                Change { kind: stream.kind.into(), stream: name.to_owned(), consumer: None, action, note: None };
            done.push((change, ChangeOutcome::Done));
        }
    }
    done.len() > before
}

/// Why a plan was abandoned.
enum Stop {
    /// The stream or consumer of this change differs from what the plan was made for.
    Changed(Box<Change>, Failure),
    /// The tenant failed as a whole.
    Failed(Failure),
}

/// Carries out a plan, and returns the changes that were not done. Rejected changes are
/// tried again as long as others succeed, because some depend on others.
async fn carry_out(
    account: &Account<'_>,
    actual: &Actual,
    changes: Vec<Change>,
    handover: &mut Handover,
    done: &mut Vec<(Change, ChangeOutcome)>,
) -> Result<Vec<(Change, ChangeOutcome)>, Stop> {
    let (mut open, rest): (Vec<Change>, Vec<Change>) = changes.into_iter().partition(|c| c.action.is_done());
    let mut rest: Vec<(Change, ChangeOutcome)> =
        rest.into_iter().map(|change| (change, ChangeOutcome::NotTried)).collect();
    loop {
        let (mut later, tried) = (Vec::new(), open.len());
        for change in open {
            if let Some(words) = waits_for(&change, actual, &later) {
                later.push((change, Failure::Refused { code: 0, words }));
                continue;
            }
            match carry_out_one(account, actual, &change, handover).await {
                Ok(deleted) => done.push((change.having_deleted(deleted), ChangeOutcome::Done)),
                Err(failure @ Failure::Refused { .. }) => later.push((change, failure)),
                Err(failure @ Failure::Changed(_)) => return Err(Stop::Changed(Box::new(change), failure)),
                Err(other) => return Err(Stop::Failed(other)),
            }
        }
        if later.len() == tried {
            rest.extend(later.into_iter().map(|(change, failure)| (change, ChangeOutcome::Failed(failure))));
            return Ok(rest);
        }
        open = later.into_iter().map(|(change, _)| change).collect();
    }
}

/// Why a change is not tried while others have failed. `None`: it is.
fn waits_for(change: &Change, actual: &Actual, failed: &[(Change, Failure)]) -> Option<String> {
    change.consumer.as_ref()?;
    let mut of_stream = failed.iter().map(|(other, _)| other).filter(|other| other.stream == change.stream);
    let gives_up = matches!(change.action, Action::Update(_)) && losses::gives_up(change.action.fields());
    // Limits that a stream sets for its consumers go down after theirs; its subjects and their filters change together.
    let is_lost = |c: &Change| c.consumer.is_none() && (gives_up || !matches!(c.action, Action::Update(_)));
    if of_stream.clone().any(is_lost) {
        return Some(format!("not tried, because stream `{}` could not be made or changed", change.stream));
    }
    // What an interest stream keeps for one consumer goes when that gives it up, and nobody else waits for it yet.
    let is_interest = actual.streams.get(&change.stream).is_some_and(|f| f.raw["retention"] == "interest");
    let is_missing = |c: &&Change| matches!(c.action, Action::Create);
    let missing = of_stream.find(is_missing).filter(|_| is_interest && gives_up)?.consumer.as_ref()?;
    Some(format!("not tried, because consumer `{missing}`, which may be to get what it gives up, could not be made"))
}

/// Carries out a change. Returns the number of messages that went with a stream, which may have come after the plan was made.
/// `None`: no stream was deleted.
async fn carry_out_one(
    account: &Account<'_>,
    actual: &Actual,
    change: &Change,
    handover: &mut Handover,
) -> Result<Option<u64>, Failure> {
    let (api, tenant) = (account.api, account.tenant);
    let name = change.stream.as_str();
    let found = actual.streams.get(name);
    let declared = tenant.streams.iter().find(|s| s.name.as_str() == name);
    let Some(consumer) = change.consumer.as_deref() else {
        let raw = found.map(|f| &f.raw);
        match (&change.action, declared) {
            (Action::Create, Some(stream)) => {
                let config = handover.first_configuration(actual, stream);
                create_stream(api, stream, &config, copied_up_to(actual, name)).await?;
            }
            (Action::Update(_), Some(stream))
                if raw.is_some_and(|raw| handover::awaits_copies(actual, stream, raw)) =>
            {
                handover.limit_later(actual, stream);
            }
            (Action::Update { .. }, Some(stream)) => update_stream(api, stream, raw).await?,
            (Action::Replace(_), Some(stream)) => {
                replacement::refuse(api, tenant, stream).await?;
                refuse_before_new_copies(tenant, actual, name)?;
                let copies = copies_of_others(tenant, name, account.provisioners).await?;
                let is_copied = !copies.is_empty() || actual.is_copied(name);
                let mut closed = handover.hand_over(api, actual, name, copies).await?;
                if let Some(raw) = raw.filter(|_| closed.is_none()) {
                    // It takes no more messages: the new one would give out their numbers again. A sealed one stays as it is.
                    closed = handover::close(api, name, raw).await.unwrap_or_default();
                }
                let deleted = delete_stream(api, name, closed.as_ref().or(raw)).await?;
                let config = handover.first_configuration(actual, stream);
                // With a first number, nats-server 2.15.1 takes nothing of what its sources have once a message of its own came.
                let goes_on = is_copied || stream.subjects.is_empty() || config.get("sources").is_null();
                let last = if goes_on { deleted.last } else { 0 };
                create_stream(api, stream, &config, last).await.map_err(note_deleted)?;
                return Ok(Some(deleted.messages));
            }
            _ => {
                let closed = handover.hand_over(api, actual, name, Vec::new()).await?;
                return Ok(Some(delete_stream(api, name, closed.as_ref().or(raw)).await?.messages));
            }
        }
        return Ok(None);
    };
    let raw = found.and_then(|f| f.consumers.get(consumer)).map(|c| &c.raw);
    let declared = declared.and_then(|s| s.consumers.iter().find(|c| c.name.as_str() == consumer));
    let done = match (&change.action, declared) {
        (Action::Create, Some(consumer)) => put_consumer(api, name, consumer, "create", None).await,
        (Action::Update { .. }, Some(consumer)) => {
            check_unchanged(api, &format!("CONSUMER.INFO.{name}.{}", consumer.name), raw).await?;
            put_consumer(api, name, consumer, "update", raw).await
        }
        (Action::Replace(_), Some(declared)) => {
            delete(api, &format!("CONSUMER.DELETE.{name}.{consumer}")).await?;
            let Err(failure) = put_consumer(api, name, declared, "create", None).await else { return Ok(None) };
            // The old one again, without its position, rather than none.
            let old = raw.map(|raw| json!({ "stream_name": name, "config": raw, "action": "create" }));
            let again = match &old {
                Some(old) => api.request(&format!("CONSUMER.CREATE.{name}.{consumer}"), old).await.is_ok(),
                None => false,
            };
            Err(if again { note_made_again(failure) } else { note_deleted(failure) })
        }
        _ => delete(api, &format!("CONSUMER.DELETE.{name}.{consumer}")).await,
    };
    done.map(|()| None)
}

/// Refuses to replace a stream before those of its account that are to copy it have begun: it would be empty.
fn refuse_before_new_copies(tenant: &Tenant, actual: &Actual, name: &str) -> Result<(), Failure> {
    let is_to_copy = |stream: &&Stream| stream.origins.iter().any(|origin| origin.as_str() == name);
    let copies = |stream: &&Stream| actual.copies_of(name).any(|(copy, _)| copy == stream.name.as_str());
    let new = tenant.streams.iter().filter(is_to_copy).find(|stream| !copies(stream));
    new.map_or(Ok(()), |stream| {
        let why = format!(
            "`{}` is to copy it and has nothing of it yet: `tenantry apply` without --replace comes first",
            stream.name
        );
        Err(replacement::irreplaceable(0, &why))
    })
}

/// Says that the old one is there again, and begins anew.
fn note_made_again(failure: Failure) -> Failure {
    match failure {
        Failure::Refused { code, words } => Failure::Refused {
            code,
            words: format!("the new one was refused: {words}; the old one was made again, and begins anew"),
        },
        other => other,
    }
}

/// Adds to the error of a replacement that the old stream or consumer is already deleted.
fn note_deleted(failure: Failure) -> Failure {
    match failure {
        Failure::Refused { code, words } => {
            Failure::Refused { code, words: format!("the old one is deleted, and the new one refused: {words}") }
        }
        other => other,
    }
}

/// Resets the exporter's consumer to the first message, for a copy that was just created.
pub async fn reset_copy_consumer(api: &Api, copy: &StreamCopy) -> Result<(), Failure> {
    let subject = format!("CONSUMER.RESET.{}.{}", copy.stream, copy.consumer());
    // A consumer that does not exist yet will start at the first message anyway.
    ignore_not_found(api.request(&subject, &json!({ "seq": 1 })).await)
}

/// Error code: another stream with the name exists.
const STREAM_NAME_IN_USE: u64 = 10058;
/// Error codes: the consumer exists already.
const CONSUMER_EXISTS: [u64; 3] = [10148, 10013, 10105];
/// Error codes: the stream or consumer does not exist.
const NOT_FOUND: [u64; 3] = [10059, 10014, 10149];

/// Error code: a stream's limits for consumers are below what one of them has.
const BELOW_CONSUMERS: u64 = 10069;
/// The key of these limits.
const LIMITS: &str = CONSUMER_LIMITS.name;

/// Maps the error codes that mean the plan is stale to `Failure::Changed`.
fn stale(failure: Failure, codes: &[u64], subject: &str) -> Failure {
    match failure {
        Failure::Refused { code, .. } if codes.contains(&code) => changed(subject),
        other => other,
    }
}

/// `Failure::Changed` for the stream or consumer that a request's subject names.
fn changed(subject: &str) -> Failure {
    let mut tokens = subject.split('.');
    let kind = tokens.next().unwrap_or_default().to_lowercase();
    let name: Vec<&str> = tokens.skip(1).collect();
    Failure::Changed(format!("{kind} `{}`", name.join("/")))
}

/// The last sequence number that mirrors in the account have of a stream, which was there before.
fn copied_up_to(actual: &Actual, name: &str) -> u64 {
    let mirrors = actual.copies_of(name).filter(|(_, found)| found.raw["mirror"].is_object());
    mirrors.map(|(_, found)| found.last).max().unwrap_or_default()
}

/// Gives a stream the limits that it was made without. `is_found`: its copies have all of it.
async fn set_limits(api: &Api, stream: &Stream, is_found: bool) -> Result<(), Failure> {
    let name = &stream.name;
    let raw = api.request(&format!("STREAM.INFO.{name}"), &Json::Null).await?["config"].take();
    let body = STREAM.request(&stream.config, Some(&raw));
    request_and_compare(api, &format!("STREAM.UPDATE.{name}"), &body, &STREAM, &stream.config, &NOT_FOUND).await?;
    if is_found {
        return Ok(());
    }
    let words = format!("`{name}` has its limits now, and not all of its copies had all of it: they may miss messages");
    Err(Failure::Refused { code: 0, words })
}

/// Creates a stream. `last`: the last sequence number of the one in whose place it comes, which those who copy it have seen:
/// they take nothing before it.
async fn create_stream(api: &Api, stream: &Stream, config: &Config, last: u64) -> Result<(), Failure> {
    let name = &stream.name;
    let mut body = STREAM.request(config, None);
    // A mirror has the numbers of what it copies.
    if last > 0 && !body["mirror"].is_object() {
        body["first_seq"] = json!(last + 1);
    }
    request_and_compare(api, &format!("STREAM.CREATE.{name}"), &body, &STREAM, config, &[STREAM_NAME_IN_USE]).await
}

async fn update_stream(api: &Api, stream: &Stream, raw: Option<&Json>) -> Result<(), Failure> {
    let name = &stream.name;
    check_unchanged(api, &format!("STREAM.INFO.{name}"), raw).await?;
    let update = async |config: &Config| {
        let body = STREAM.request(config, raw);
        request_and_compare(api, &format!("STREAM.UPDATE.{name}"), &body, &STREAM, config, &NOT_FOUND).await
    };
    let result = update(&stream.config).await;
    // Where one limit for its consumers rises and one falls, the consumers have to change between the two.
    let is_below_consumers = matches!(&result, Err(Failure::Refused { code: BELOW_CONSUMERS, .. }));
    if let Some(raw) = raw.filter(|_| is_below_consumers)
        && let Some(widest) = consumer_limits::widest(&raw[LIMITS], stream.config.get(LIMITS))
    {
        let mut between = Config::of_server(raw);
        between.set(CONSUMER_LIMITS, widest);
        update(&between).await?;
    }
    result
}

async fn put_consumer(
    api: &Api,
    stream: &str,
    consumer: &Consumer,
    action: &str,
    raw: Option<&Json>,
) -> Result<(), Failure> {
    let body = consumer_request(stream, consumer, action, raw);
    let stale_codes = if action == "create" { CONSUMER_EXISTS } else { NOT_FOUND };
    let subject = format!("CONSUMER.CREATE.{stream}.{}", consumer.name);
    request_and_compare(api, &subject, &body, &CONSUMER, &consumer.config, &stale_codes).await
}

/// Creates or updates, and compares the answer with the request: the server may silently
/// store another configuration. `stale_codes` are the error codes that mean the plan is
/// stale.
async fn request_and_compare(
    api: &Api,
    subject: &str,
    body: &Json,
    comparison: &Comparison,
    declared: &Config,
    stale_codes: &[u64],
) -> Result<(), Failure> {
    let answer = api.request(subject, body).await.map_err(|e| stale(e, stale_codes, subject))?;
    let mut differ = comparison.not_as_asked(declared, &answer["config"]);
    if !differ.is_empty() {
        // The first answer about a consumer after a restart has the configuration from before it (nats-server 2.15.1).
        let info = subject.replacen(".CREATE.", ".INFO.", 1).replacen(".UPDATE.", ".INFO.", 1);
        differ = comparison.not_as_asked(declared, &api.request(&info, &Json::Null).await?["config"]);
    }
    if differ.is_empty() {
        return Ok(());
    }
    let fields: Vec<String> = differ.iter().map(|f| format!("{} is {} and not {}", f.key.name, f.from, f.to)).collect();
    Err(Failure::Refused { code: 0, words: format!("the server made something else: {}", fields.join(", ")) })
}

/// Fails with `Failure::Changed` unless the server still has the configuration that the
/// plan was made for. Returns what it has.
async fn check_unchanged(api: &Api, subject: &str, raw: Option<&Json>) -> Result<Json, Failure> {
    let now = api.request(subject, &Json::Null).await.map_err(|e| stale(e, &NOT_FOUND, subject))?;
    if raw.is_some_and(|raw| is_same(raw, &now["config"])) { Ok(now) } else { Err(changed(subject)) }
}

async fn delete(api: &Api, subject: &str) -> Result<(), Failure> {
    ignore_not_found(api.request(subject, &Json::Null).await)
}

/// Treats "not found" as success.
fn ignore_not_found(answer: Result<Json, Failure>) -> Result<(), Failure> {
    match answer {
        Err(Failure::Refused { code, .. }) if NOT_FOUND.contains(&code) => Ok(()),
        other => other.map(|_| ()),
    }
}

/// The state of a stream when it was deleted.
struct Deleted {
    /// Its last sequence number.
    last: u64,
    /// The number of its messages.
    messages: u64,
}

/// Deletes a stream and waits until it has disappeared: a stream that is created again
/// too early may find its old messages.
async fn delete_stream(api: &Api, name: &str, raw: Option<&Json>) -> Result<Deleted, Failure> {
    let info = format!("STREAM.INFO.{name}");
    let state = check_unchanged(api, &info, raw).await?["state"].take();
    let number = |key: &str| state[key].as_u64().unwrap_or_default();
    let deleted = Deleted { last: number("last_seq"), messages: number("messages") };
    delete(api, &format!("STREAM.DELETE.{name}")).await?;
    let start = Instant::now();
    loop {
        match api.request(&info, &Json::Null).await {
            Err(Failure::Refused { code, .. }) if NOT_FOUND.contains(&code) => return Ok(deleted),
            Err(other) => return Err(other),
            Ok(_) if start.elapsed() > PATIENCE => {
                return Err(Failure::Refused { code: 0, words: format!("stream `{name}` is still there") });
            }
            Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u64) -> Failure {
        Failure::Refused { code, words: "no".into() }
    }

    #[test]
    fn only_the_codes_of_a_stale_plan_mean_that_something_changed() {
        let cases = [
            (refused(10059), &NOT_FOUND[..], true),
            (refused(10014), &NOT_FOUND[..], true),
            (refused(10149), &NOT_FOUND[..], true),
            (refused(10058), &NOT_FOUND[..], false),
            (refused(10058), &[STREAM_NAME_IN_USE][..], true),
            (refused(10148), &CONSUMER_EXISTS[..], true),
            (refused(10059), &CONSUMER_EXISTS[..], false),
            (refused(10059), &[], false),
            (Failure::NoJetStream, &NOT_FOUND[..], false),
            (Failure::Lost("x".into()), &NOT_FOUND[..], false),
        ];
        for (failure, codes, is_stale) in cases {
            let expected = if is_stale { Failure::Changed("stream `S`".into()) } else { failure.clone() };
            assert_eq!(stale(failure.clone(), codes, "STREAM.INFO.S"), expected, "{failure:?} {codes:?}");
        }
    }

    #[test]
    fn a_stale_plan_names_the_stream_or_consumer_of_the_request() {
        let cases = [
            ("STREAM.INFO.S", "stream `S`"),
            ("STREAM.CREATE.S", "stream `S`"),
            ("CONSUMER.INFO.S.c", "consumer `S/c`"),
            ("CONSUMER.CREATE.S.c", "consumer `S/c`"),
        ];
        for (subject, what) in cases {
            assert_eq!(changed(subject), Failure::Changed(what.into()));
        }
    }

    #[test]
    fn a_replacement_that_fails_says_that_the_old_one_is_deleted() {
        let failure = note_deleted(refused(10047));
        assert_eq!(failure.message(), "the old one is deleted, and the new one refused: no (10047)");
        assert_eq!(failure.hint(), refused(10047).hint());
        assert_eq!(note_deleted(Failure::NoJetStream), Failure::NoJetStream);
    }

    #[test]
    fn deleting_what_does_not_exist_succeeds_and_any_other_failure_stays() {
        assert_eq!(ignore_not_found(Ok(json!({ "success": true }))), Ok(()));
        for code in NOT_FOUND {
            assert_eq!(ignore_not_found(Err(refused(code))), Ok(()), "{code}");
        }
        for failure in [refused(10058), refused(0), Failure::NoJetStream, Failure::Lost("x".into())] {
            assert_eq!(ignore_not_found(Err(failure.clone())), Err(failure));
        }
    }
}
