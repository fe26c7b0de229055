//! Doing what a plan says, for one tenant. A stream is looked at again right
//! before it is changed: if somebody else changed it since, there is a new plan.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::api::{Api, Failure};
use super::plan::{self, Action, Actual, Change, Field, Named};
use crate::model::Tenant;
use crate::model::jetstream::{Consumer, Stream};

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was tried.
    Planned,
    /// Done.
    Done,
    /// Left alone, as the plan says.
    LeftAlone,
    /// Tried, and refused.
    Failed(Failure),
}

/// So often there is a new plan because somebody else changes the same streams.
const PLANS: usize = 4;
/// How long a deleted stream may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Brings one tenant's account to what is declared. `done` is what was done so far,
/// also by an attempt that was cut short.
pub async fn tenant(
    api: &Api,
    tenant: &Tenant,
    named: &Named,
    done: &mut Vec<(Change, Outcome)>,
) -> Result<Vec<(Change, Outcome)>, Failure> {
    let mut named = named.clone();
    let mut last = None;
    for _ in 0..PLANS {
        let actual = plan::read(api).await?;
        let mut open = plan::changes(tenant, &actual, &named);
        let mut rest: Vec<(Change, Outcome)> = Vec::new();
        let mut changed = None;
        // What needs another to go first is tried again after it.
        loop {
            let (mut later, mut progress) = (Vec::new(), false);
            for change in open {
                if !change.action.is_done() {
                    rest.push((change, Outcome::LeftAlone));
                    continue;
                }
                if changed.is_some() {
                    continue;
                }
                let of_stream = |(c, _): &(Change, Failure)| c.stream == change.stream && c.consumer.is_none();
                if change.consumer.is_some() && later.iter().any(of_stream) {
                    let words = format!("stream `{}` is not there", change.stream);
                    later.push((change, Failure::Refused { code: 10059, words }));
                    continue;
                }
                match one(api, tenant, &actual, &change).await {
                    Ok(()) => {
                        progress = true;
                        // Once is what was asked for.
                        let address = plan::address(tenant.name.as_str(), &change.stream, change.consumer.as_deref());
                        named.replace.remove(&address);
                        named.delete.remove(&address);
                        done.push((change, Outcome::Done));
                    }
                    Err(Failure::Changed(what)) => changed = Some(what),
                    Err(Failure::Refused { code, words }) => later.push((change, Failure::Refused { code, words })),
                    Err(other) => return Err(other),
                }
            }
            if later.is_empty() || !progress || changed.is_some() {
                rest.extend(later.into_iter().map(|(change, failure)| (change, Outcome::Failed(failure))));
                break;
            }
            open = later.into_iter().map(|(change, _)| change).collect();
        }
        match changed {
            None => return Ok(std::mem::take(done).into_iter().chain(rest).collect()),
            Some(what) => last = Some(what),
        }
    }
    Err(Failure::Changed(last.unwrap_or_default()))
}

async fn one(api: &Api, tenant: &Tenant, actual: &Actual, change: &Change) -> Result<(), Failure> {
    let name = change.stream.as_str();
    let found = actual.streams.get(name);
    let declared = tenant.streams.iter().find(|s| s.name.as_str() == name);
    let Some(consumer) = change.consumer.as_deref() else {
        let raw = found.map(|f| &f.raw);
        return match (change.action, declared) {
            (Action::Create, Some(stream)) => create_stream(api, stream).await,
            (Action::Update, Some(stream)) => update_stream(api, stream, raw).await,
            (Action::Replace, Some(stream)) => {
                delete_stream(api, name, raw).await?;
                create_stream(api, stream).await
            }
            _ => delete_stream(api, name, raw).await,
        };
    };
    let raw = found.and_then(|f| f.consumers.get(consumer)).map(|c| &c.raw);
    let declared = declared.and_then(|s| s.consumers.iter().find(|c| c.name.as_str() == consumer));
    match (change.action, declared) {
        (Action::Create, Some(consumer)) => put_consumer(api, name, consumer, "create", None).await,
        (Action::Update, Some(consumer)) => {
            unchanged(api, &format!("CONSUMER.INFO.{name}.{}", consumer.name), raw).await?;
            put_consumer(api, name, consumer, "update", raw).await
        }
        (Action::Replace, Some(declared)) => {
            delete(api, &format!("CONSUMER.DELETE.{name}.{consumer}")).await?;
            put_consumer(api, name, declared, "create", None).await
        }
        _ => delete(api, &format!("CONSUMER.DELETE.{name}.{consumer}")).await,
    }
}

/// Something is there under the name by now, or is not any more.
const STREAM_NAME_IN_USE: u64 = 10058;
const CONSUMER_EXISTS: [u64; 3] = [10148, 10013, 10105];
const NOT_FOUND: [u64; 3] = [10059, 10014, 10149];

/// An error that says that the plan is of yesterday.
fn stale(failure: Failure, codes: &[u64], what: &str) -> Failure {
    match failure {
        Failure::Refused { code, .. } if codes.contains(&code) => Failure::Changed(what.to_owned()),
        other => other,
    }
}

async fn create_stream(api: &Api, stream: &Stream) -> Result<(), Failure> {
    let name = &stream.name;
    let what = format!("stream `{name}`");
    let answer = api.request(&format!("STREAM.CREATE.{name}"), &plan::stream_request(stream, None)).await;
    let answer = answer.map_err(|e| stale(e, &[STREAM_NAME_IN_USE], &what))?;
    as_asked(&plan::not_as_asked(&stream.config, &answer["config"], false), &what)
}

async fn update_stream(api: &Api, stream: &Stream, raw: Option<&Json>) -> Result<(), Failure> {
    let name = &stream.name;
    let what = format!("stream `{name}`");
    unchanged(api, &format!("STREAM.INFO.{name}"), raw).await?;
    let answer = api.request(&format!("STREAM.UPDATE.{name}"), &plan::stream_request(stream, raw)).await;
    let answer = answer.map_err(|e| stale(e, &NOT_FOUND, &what))?;
    as_asked(&plan::not_as_asked(&stream.config, &answer["config"], false), &what)
}

async fn put_consumer(
    api: &Api,
    stream: &str,
    consumer: &Consumer,
    action: &str,
    raw: Option<&Json>,
) -> Result<(), Failure> {
    let what = format!("consumer `{stream}/{}`", consumer.name);
    let body = json!({
        "stream_name": stream,
        "config": plan::consumer_request(&consumer.config, raw),
        "action": action,
    });
    let answer = api.request(&format!("CONSUMER.CREATE.{stream}.{}", consumer.name), &body).await;
    let codes = if action == "create" { CONSUMER_EXISTS } else { NOT_FOUND };
    let answer = answer.map_err(|e| stale(e, &codes, &what))?;
    as_asked(&plan::not_as_asked(&consumer.config, &answer["config"], true), &what)
}

/// Whether it is as the plan saw it.
async fn unchanged(api: &Api, subject: &str, raw: Option<&Json>) -> Result<(), Failure> {
    let what = subject.to_owned();
    let now = api.request(subject, &Json::Null).await.map_err(|e| stale(e, &NOT_FOUND, &what))?;
    if raw.is_some_and(|raw| plan::is_same(raw, &now["config"])) { Ok(()) } else { Err(Failure::Changed(what)) }
}

/// The server may keep something else than it was asked for, and say nothing.
fn as_asked(differ: &[Field], what: &str) -> Result<(), Failure> {
    if differ.is_empty() {
        return Ok(());
    }
    let fields: Vec<String> = differ.iter().map(|f| format!("{} is {} and not {}", f.name, f.from, f.to)).collect();
    Err(Failure::Refused { code: 0, words: format!("of {what} the server made something else: {}", fields.join(", ")) })
}

async fn delete(api: &Api, subject: &str) -> Result<(), Failure> {
    match api.request(subject, &Json::Null).await {
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
