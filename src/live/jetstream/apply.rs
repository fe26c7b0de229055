//! Doing what a plan says, for one tenant. A stream is looked at again right
//! before it is changed: if somebody else changed it since, there is a new plan.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::api::{Api, Failure};
use super::change::{Action, Change};
use super::plan::{self, Actual};
use super::targets::Targets;
use crate::model::jetstream::difference::{CONSUMER, Comparison, STREAM, consumer_request, is_same};
use crate::model::jetstream::{Config, Consumer, Stream};
use crate::model::{StreamCopy, Tenant};

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was tried.
    Planned,
    /// Done.
    Done,
    /// Not tried: the plan says why.
    NotTried,
    /// Tried, and refused.
    Failed(Failure),
}

/// So often there is a new plan because somebody else changes the same streams: without
/// anything done in between, and in all.
const PLANS: usize = 4;
const MOST_PLANS: usize = 100;
/// How long a deleted stream may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Brings one tenant's account to what is declared. `done` is what was done so far,
/// also by an attempt that was cut short.
pub async fn tenant(
    api: &Api,
    tenant: &Tenant,
    targets: &Targets,
    done: &mut Vec<(Change, Outcome)>,
) -> Result<Vec<(Change, Outcome)>, Failure> {
    let mut targets = targets.clone();
    let (mut vain, mut plans) = (0, 0);
    loop {
        let actual = plan::read(api).await?;
        let changes = plan::changes(tenant, &actual, &targets);
        let before = done.len();
        let result = carry_out(api, tenant, &actual, changes, done).await;
        for (change, _) in &done[before..] {
            targets.remove(tenant, change);
        }
        plans += 1;
        vain = if done.len() > before { 0 } else { vain + 1 };
        match result {
            Ok(rest) => return Ok(std::mem::take(done).into_iter().chain(rest).collect()),
            Err(Stop::Changed(..)) if vain < PLANS && plans < MOST_PLANS => {}
            Err(Stop::Changed(change, failure)) => {
                let last = (*change, Outcome::Failed(failure));
                return Ok(std::mem::take(done).into_iter().chain([last]).collect());
            }
            Err(Stop::Failed(failure)) => return Err(failure),
        }
    }
}

/// Why a plan is not carried out to its end.
enum Stop {
    /// What was to be changed is not as it was planned for.
    Changed(Box<Change>, Failure),
    /// Nothing more can be done.
    Failed(Failure),
}

/// Does what a plan says and gives what is left of it. What needs another to go
/// first is tried again after it.
async fn carry_out(
    api: &Api,
    tenant: &Tenant,
    actual: &Actual,
    changes: Vec<Change>,
    done: &mut Vec<(Change, Outcome)>,
) -> Result<Vec<(Change, Outcome)>, Stop> {
    let (mut open, rest): (Vec<Change>, Vec<Change>) = changes.into_iter().partition(|c| c.action.is_done());
    let mut rest: Vec<(Change, Outcome)> = rest.into_iter().map(|change| (change, Outcome::NotTried)).collect();
    loop {
        let (mut later, tried) = (Vec::new(), open.len());
        for change in open {
            let of_stream = |(c, _): &(Change, Failure)| c.stream == change.stream && c.consumer.is_none();
            if change.consumer.is_some() && later.iter().any(of_stream) {
                let words = format!("stream `{}` is not there", change.stream);
                later.push((change, Failure::Refused { code: 10059, words }));
                continue;
            }
            match carry_out_one(api, tenant, actual, &change).await {
                Ok(()) => done.push((change, Outcome::Done)),
                Err(failure @ Failure::Refused { .. }) => later.push((change, failure)),
                Err(failure @ Failure::Changed(_)) => return Err(Stop::Changed(Box::new(change), failure)),
                Err(other) => return Err(Stop::Failed(other)),
            }
        }
        if later.len() == tried {
            rest.extend(later.into_iter().map(|(change, failure)| (change, Outcome::Failed(failure))));
            return Ok(rest);
        }
        open = later.into_iter().map(|(change, _)| change).collect();
    }
}

async fn carry_out_one(api: &Api, tenant: &Tenant, actual: &Actual, change: &Change) -> Result<(), Failure> {
    let name = change.stream.as_str();
    let found = actual.streams.get(name);
    let declared = tenant.streams.iter().find(|s| s.name.as_str() == name);
    let Some(consumer) = change.consumer.as_deref() else {
        let raw = found.map(|f| &f.raw);
        return match (&change.action, declared) {
            (Action::Create, Some(stream)) => create_stream(api, stream).await,
            (Action::Update { .. }, Some(stream)) => update_stream(api, stream, raw).await,
            (Action::Replace(_), Some(stream)) => {
                delete_stream(api, name, raw).await?;
                create_stream(api, stream).await.map_err(deleted)
            }
            _ => delete_stream(api, name, raw).await,
        };
    };
    let raw = found.and_then(|f| f.consumers.get(consumer)).map(|c| &c.raw);
    let declared = declared.and_then(|s| s.consumers.iter().find(|c| c.name.as_str() == consumer));
    match (&change.action, declared) {
        (Action::Create, Some(consumer)) => put_consumer(api, name, consumer, "create", None).await,
        (Action::Update { .. }, Some(consumer)) => {
            unchanged(api, &format!("CONSUMER.INFO.{name}.{}", consumer.name), raw).await?;
            put_consumer(api, name, consumer, "update", raw).await
        }
        (Action::Replace(_), Some(declared)) => {
            delete(api, &format!("CONSUMER.DELETE.{name}.{consumer}")).await?;
            put_consumer(api, name, declared, "create", None).await.map_err(deleted)
        }
        _ => delete(api, &format!("CONSUMER.DELETE.{name}.{consumer}")).await,
    }
}

/// What is to be replaced is gone, and cannot be made.
fn deleted(failure: Failure) -> Failure {
    match failure {
        Failure::Refused { code, words } => {
            Failure::Refused { code, words: format!("the old one is deleted, and the new one refused: {words}") }
        }
        other => other,
    }
}

/// Has the exporter's consumer begin again, for a copy that is new.
pub async fn begin_again(api: &Api, copy: &StreamCopy) -> Result<(), Failure> {
    let subject = format!("CONSUMER.RESET.{}.{}", copy.stream, copy.consumer());
    // One that is not made yet begins at the beginning.
    if_there(api.request(&subject, &json!({ "seq": 1 })).await)
}

/// Something is there under the name by now, or is not any more.
const STREAM_NAME_IN_USE: u64 = 10058;
const CONSUMER_EXISTS: [u64; 3] = [10148, 10013, 10105];
const NOT_FOUND: [u64; 3] = [10059, 10014, 10149];

/// Maps the error codes that mean the plan is stale to `Failure::Changed`.
fn stale(failure: Failure, codes: &[u64], subject: &str) -> Failure {
    match failure {
        Failure::Refused { code, .. } if codes.contains(&code) => changed(subject),
        other => other,
    }
}

/// What a request was about was changed since the plan was made.
fn changed(subject: &str) -> Failure {
    let mut tokens = subject.split('.');
    let kind = tokens.next().unwrap_or_default().to_lowercase();
    let name: Vec<&str> = tokens.skip(1).collect();
    Failure::Changed(format!("{kind} `{}`", name.join("/")))
}

async fn create_stream(api: &Api, stream: &Stream) -> Result<(), Failure> {
    let name = &stream.name;
    let body = STREAM.request(&stream.config, None);
    request_and_compare(api, &format!("STREAM.CREATE.{name}"), &body, &STREAM, &stream.config, &[STREAM_NAME_IN_USE])
        .await
}

async fn update_stream(api: &Api, stream: &Stream, raw: Option<&Json>) -> Result<(), Failure> {
    let name = &stream.name;
    unchanged(api, &format!("STREAM.INFO.{name}"), raw).await?;
    let body = STREAM.request(&stream.config, raw);
    request_and_compare(api, &format!("STREAM.UPDATE.{name}"), &body, &STREAM, &stream.config, &NOT_FOUND).await
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

/// Makes or changes, and looks at what came of it: the server may keep something
/// else than it was asked for, and say nothing. `stale_codes` are the errors by which
/// it says that the plan is old.
async fn request_and_compare(
    api: &Api,
    subject: &str,
    body: &Json,
    comparison: &Comparison,
    declared: &Config,
    stale_codes: &[u64],
) -> Result<(), Failure> {
    let answer = api.request(subject, body).await.map_err(|e| stale(e, stale_codes, subject))?;
    let differ = comparison.not_as_asked(declared, &answer["config"]);
    if differ.is_empty() {
        return Ok(());
    }
    let fields: Vec<String> = differ.iter().map(|f| format!("{} is {} and not {}", f.key.name, f.from, f.to)).collect();
    Err(Failure::Refused { code: 0, words: format!("the server made something else: {}", fields.join(", ")) })
}

/// Whether it is as the plan saw it.
async fn unchanged(api: &Api, subject: &str, raw: Option<&Json>) -> Result<(), Failure> {
    let now = api.request(subject, &Json::Null).await.map_err(|e| stale(e, &NOT_FOUND, subject))?;
    if raw.is_some_and(|raw| is_same(raw, &now["config"])) { Ok(()) } else { Err(changed(subject)) }
}

async fn delete(api: &Api, subject: &str) -> Result<(), Failure> {
    if_there(api.request(subject, &Json::Null).await)
}

/// Where nothing is there is nothing to be done.
fn if_there(answer: Result<Json, Failure>) -> Result<(), Failure> {
    match answer {
        Err(Failure::Refused { code, .. }) if NOT_FOUND.contains(&code) => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Deletes a stream and waits until it is gone: one that is made again too early may
/// find its old messages.
async fn delete_stream(api: &Api, name: &str, raw: Option<&Json>) -> Result<(), Failure> {
    let info = format!("STREAM.INFO.{name}");
    unchanged(api, &info, raw).await?;
    delete(api, &format!("STREAM.DELETE.{name}")).await?;
    let start = Instant::now();
    loop {
        match api.request(&info, &Json::Null).await {
            Err(Failure::Refused { code, .. }) if NOT_FOUND.contains(&code) => return Ok(()),
            Err(other) => return Err(other),
            Ok(_) if start.elapsed() > PATIENCE => {
                return Err(Failure::Refused { code: 0, words: format!("stream `{name}` is still there") });
            }
            Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
