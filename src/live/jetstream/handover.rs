//! The end of a stream that others copy: what it took last is copied before it goes, and the copies of other tenants stop
//! until the new one is there. A copy from several sources counts what the exporter's consumer delivers; a new consumer
//! counts from one again, and the importer's server would drop what it takes for delivered already (nats-server 2.15.1).

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::actual::{Actual, origins};
use super::api::{Api, Failure};
use crate::keys::Login;
use crate::model::Tenant;
use crate::model::names::{AccountName, ConsumerName};

/// Time limit for what is still to be copied.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often in a row nothing may be left to copy: what was stored a moment ago may be on its way.
const QUIET: usize = 5;
const PAUSE: Duration = Duration::from_millis(100);
/// Attempts to let a copy go on: the server may be restarting.
const ATTEMPTS: u32 = 10;

/// The provisioners of tenants, by which the change of a stream reaches its copies in other accounts.
pub struct Provisioners<'m> {
    /// The server.
    pub url: &'m str,
    /// Login and inbox prefix of each. `None`: its secret is not known here. A tenant that is missing has no streams yet.
    pub logins: HashMap<&'m AccountName, Option<(Login, String)>>,
}

impl Provisioners<'_> {
    /// A connection to a tenant's account. `None`: it has no streams yet.
    pub async fn connect(&self, tenant: &AccountName) -> Result<Option<Api>, Failure> {
        let Some(login) = self.logins.get(tenant) else { return Ok(None) };
        let (login, inbox) = login.as_ref().ok_or(Failure::NoSecret)?;
        Api::connect(self.url, login, inbox).await.map(Some)
    }
}

/// A stream that copies another one.
enum Follower<'f> {
    /// By its name.
    OfTheAccount(&'f str),
    OfAnother(&'f ForeignCopy),
}

impl Follower<'_> {
    /// Number of messages of a stream that it has still to copy. `api`: of the stream's account.
    async fn lag(&self, api: &Api, stream: &str) -> Result<u64, Failure> {
        let (own, prefix, mut lag) = match self {
            Self::OfTheAccount(name) => (api.request(&format!("STREAM.INFO.{name}"), &Json::Null).await?, None, 0),
            Self::OfAnother(copy) => {
                // It knows only of what it was sent.
                let feeding = api.request(&format!("CONSUMER.INFO.{stream}.{}", copy.fed_by), &Json::Null).await;
                let unsent = feeding.map(|info| info["num_pending"].as_u64().unwrap_or_default()).unwrap_or_default();
                (copy.info().await?, Some(copy.prefix.as_str()), unsent)
            }
        };
        let of_it = origins(&own).filter(|origin| is_origin(origin, stream, prefix));
        lag = of_it.filter_map(|origin| origin["lag"].as_u64()).fold(lag, u64::max);
        Ok(lag)
    }
}

impl std::fmt::Display for Follower<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OfTheAccount(name) => write!(f, "`{name}`"),
            Self::OfAnother(copy) => write!(f, "`{}` of {}", copy.name, copy.account),
        }
    }
}

/// Whether what a stream copies is the named one.
fn is_origin(origin: &Json, stream: &str, prefix: Option<&str>) -> bool {
    origin["name"] == stream && origin["external"]["api"].as_str() == prefix
}

/// A stream of another tenant that copies one.
pub struct ForeignCopy {
    api: Api,
    account: AccountName,
    name: String,
    /// The prefix by which it asks for what it copies.
    prefix: String,
    /// The exporter's consumer.
    fed_by: ConsumerName,
}

/// The copies that other tenants have of a stream.
pub async fn copies_of_others(
    tenant: &Tenant,
    stream: &str,
    provisioners: &Provisioners<'_>,
) -> Result<Vec<ForeignCopy>, Failure> {
    let mut found = Vec::new();
    for copy in tenant.copies_of(stream) {
        let streams = async {
            let Some(api) = provisioners.connect(&copy.to).await? else { return Ok(None) };
            let streams = api.list("STREAM.LIST", "streams").await?;
            Ok(Some((api, streams)))
        };
        let streams = streams.await.map_err(|failure: Failure| {
            let words = format!(
                "nothing was deleted, because {} copies it and cannot be asked: {}",
                copy.to,
                failure.message()
            );
            Failure::Refused { code: 0, words }
        })?;
        let Some((api, streams)) = streams else { continue };
        let prefix = copy.api();
        let copies = |stream_info: &&Json| {
            origins(&stream_info["config"]).any(|origin| is_origin(origin, stream, Some(&prefix)))
        };
        let name = streams.iter().find(copies).and_then(|stream| stream["config"]["name"].as_str());
        if let Some(name) = name.map(str::to_owned) {
            found.push(ForeignCopy { api, account: copy.to.clone(), name, prefix, fed_by: copy.consumer() });
        }
    }
    Ok(found)
}

/// Copies of other tenants that are stopped.
#[derive(Default)]
pub struct StoppedCopies(Vec<StoppedCopy>);

struct StoppedCopy {
    copy: ForeignCopy,
    /// The keys of its configuration that are another's meanwhile, as they were: its sources, and what the server changed with them.
    before: BTreeMap<String, Json>,
}

/// On which nobody publishes.
fn subjects_of_nobody(stream: &str) -> Json {
    json!([format!("tenantry-closed.{stream}")])
}

/// Lets a stream take no more messages, waits until those who copy it have all, and stops the copies of others. Returns
/// its configuration then. `None`: it is as it was.
pub async fn hand_over(
    api: &Api,
    actual: &Actual,
    name: &str,
    copies: Vec<ForeignCopy>,
    stopped: &mut StoppedCopies,
) -> Result<Option<Json>, Failure> {
    let Some(raw) = actual.streams.get(name).map(|found| &found.raw) else { return Ok(None) };
    let own = actual.copies_of(name).map(|(other, _)| Follower::OfTheAccount(other));
    let followers: Vec<Follower<'_>> = own.chain(copies.iter().map(Follower::OfAnother)).collect();
    if followers.is_empty() {
        return Ok(None);
    }
    let update = format!("STREAM.UPDATE.{name}");
    let mut closed = None;
    if raw["subjects"].as_array().is_some_and(|subjects| !subjects.is_empty()) {
        let mut config = raw.clone();
        config["subjects"] = subjects_of_nobody(name);
        closed = Some(api.request(&update, &config).await?["config"].take());
    }
    let mut handed_over = wait_for(api, name, &followers).await;
    for copy in copies {
        if handed_over.is_ok() {
            handed_over = stopped.stop(copy, name).await;
        }
    }
    if let Err(failure) = handed_over {
        if closed.is_some() {
            api.request(&update, raw).await?;
        }
        stopped.go_on().await?;
        return Err(failure);
    }
    Ok(closed)
}

async fn wait_for(api: &Api, stream: &str, followers: &[Follower<'_>]) -> Result<(), Failure> {
    let (start, mut quiet) = (Instant::now(), 0);
    loop {
        let mut behind = None;
        for follower in followers {
            let lag = follower.lag(api, stream).await?;
            behind = behind.or((lag > 0).then_some((follower, lag)));
        }
        quiet = if behind.is_none() { quiet + 1 } else { 0 };
        match behind {
            _ if quiet == QUIET => return Ok(()),
            Some((follower, lag)) if start.elapsed() > PATIENCE => {
                let words = format!("nothing was deleted, because {follower} has {lag} of its messages still to copy");
                return Err(Failure::Refused { code: 0, words });
            }
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
}

impl StoppedCopies {
    /// Lets a copy take no more of a stream. One that mirrors it follows the stream's own numbers, and goes on by itself.
    async fn stop(&mut self, copy: ForeignCopy, stream: &str) -> Result<(), Failure> {
        let before = copy.info().await?["config"].take();
        let sources = || before["sources"].as_array().into_iter().flatten();
        let kept: Vec<&Json> = sources().filter(|source| !is_origin(source, stream, Some(&copy.prefix))).collect();
        if kept.len() == sources().count() {
            return Ok(());
        }
        let mut config = before.clone();
        if kept.is_empty() && config["subjects"].as_array().is_none_or(Vec::is_empty) {
            // Without a source it has to have a subject.
            config["subjects"] = subjects_of_nobody(&copy.name);
        }
        config["sources"] = json!(kept);
        let after = copy.update(&config).await?;
        self.0.push(StoppedCopy { before: replaced(&before, &after), copy });
        Ok(())
    }

    /// Lets the copies go on, each after the last message that it has.
    pub async fn go_on(&mut self) -> Result<(), Failure> {
        let mut result = Ok(());
        // One that was stopped twice, for two of its sources, is as it was before the second time first.
        while let Some(StoppedCopy { copy, before }) = self.0.pop() {
            for attempt in 1.. {
                let Err(failure) = copy.begin_again(&before).await else { break };
                if !failure.may_pass() || attempt == ATTEMPTS {
                    let words = format!(
                        "`{}` of {} copies nothing until `tenantry apply` is run again: {}",
                        copy.name,
                        copy.account,
                        failure.message()
                    );
                    result = Err(Failure::Refused { code: 0, words });
                    break;
                }
                tokio::time::sleep(PAUSE * attempt).await;
            }
        }
        result
    }
}

impl ForeignCopy {
    async fn info(&self) -> Result<Json, Failure> {
        self.api.request(&format!("STREAM.INFO.{}", self.name), &Json::Null).await
    }

    async fn update(&self, config: &Json) -> Result<Json, Failure> {
        Ok(self.api.request(&format!("STREAM.UPDATE.{}", self.name), config).await?["config"].take())
    }

    async fn begin_again(&self, before: &BTreeMap<String, Json>) -> Result<(), Failure> {
        let mut config = self.info().await?["config"].take();
        before.iter().for_each(|(key, value)| config[key] = value.clone());
        self.update(&config).await.map(drop)
    }
}

/// The keys of a configuration that another one has otherwise, with their values; null if it has them not.
fn replaced(before: &Json, after: &Json) -> BTreeMap<String, Json> {
    let keys = [before, after].into_iter().filter_map(Json::as_object).flat_map(|object| object.keys());
    let differ = keys.filter(|key| before[*key] != after[*key]);
    differ.map(|key| (key.clone(), before[key].clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stopped_copy_gets_back_is_what_changed_with_its_sources() {
        let before = json!({ "name": "C", "sources": [{ "name": "S" }], "max_bytes": 5 });
        let after = json!({ "name": "C", "subjects": ["x"], "sources": null, "duplicate_window": 120, "max_bytes": 5 });
        let expected =
            [("duplicate_window", Json::Null), ("sources", json!([{ "name": "S" }])), ("subjects", Json::Null)];
        assert_eq!(replaced(&before, &after), expected.map(|(key, value)| (key.to_owned(), value)).into());
        assert_eq!(replaced(&before, &before), BTreeMap::new());
    }

    #[test]
    fn an_origin_is_a_stream_of_one_account() {
        let foreign = json!({ "name": "S", "external": { "api": "JS.A.API" } });
        for (origin, prefix, is_it) in [
            (&foreign, Some("JS.A.API"), true),
            (&foreign, Some("JS.B.API"), false),
            (&foreign, None, false),
            (&json!({ "name": "S" }), None, true),
            (&json!({ "name": "T" }), None, false),
        ] {
            assert_eq!(is_origin(origin, "S", prefix), is_it, "{origin} {prefix:?}");
        }
    }
}
