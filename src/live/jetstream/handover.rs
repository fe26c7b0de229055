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

/// Time limit for what is still to be copied, while nobody can publish.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time limit for copies to hear from the stream. nats-server looks for one that was made anew after about ten seconds, and again
/// after further ones.
const UNHEARD: Duration = Duration::from_secs(45);
/// How often in a row nothing may be left to copy: what was stored a moment ago may be on its way.
const QUIET: usize = 5;
const PAUSE: Duration = Duration::from_millis(100);
/// Attempts to let a copy go on: the server may be restarting.
const ATTEMPTS: u32 = 10;

/// The provisioners of tenants, by which the change of a stream reaches its copies in other accounts.
pub struct Provisioners<'m> {
    /// The server.
    pub url: &'m str,
    /// One for each tenant with JetStream that copies or is copied.
    pub of: HashMap<&'m AccountName, Provisioner>,
}

/// How to reach the account of a tenant.
pub enum Provisioner {
    /// The account has no streams yet.
    New,
    /// Its secret is not known here.
    Unknown,
    /// Its login and inbox prefix.
    Known(Login, String),
}

impl Provisioners<'_> {
    /// A connection to a tenant's account. `None`: it has no streams yet.
    pub async fn connect(&self, tenant: &AccountName) -> Result<Option<Api>, Failure> {
        match self.of.get(tenant) {
            Some(Provisioner::Known(login, inbox)) => Api::connect(self.url, login, inbox).await.map(Some),
            Some(Provisioner::New) => Ok(None),
            Some(Provisioner::Unknown) => Err(Failure::NoSecret),
            // What it copied before may be on disk, and come back.
            None => {
                let words = "it has no JetStream now; take it out of the share first".to_owned();
                Err(Failure::Refused { code: 0, words })
            }
        }
    }
}

/// A stream that copies another one.
enum Follower<'f> {
    /// By its name.
    OfTheAccount(&'f str),
    OfAnother(&'f ForeignCopy),
}

/// What is known of a copy at a moment: the server's own lag is of the last message that came, whether more come or not.
#[derive(Debug, Default, Clone)]
struct Standing {
    /// Number of messages that the stream holds.
    held: u64,
    /// Number of messages that the exporter's consumer has still to send.
    unsent: u64,
    /// Until when that is paused. `None`: it is not.
    paused_until: Option<String>,
    /// The sequence number of the last message that is for the copy. `None`: not known, because a filter chooses.
    last: Option<u64>,
    /// The sequence number of the last one that it took. `None`: not known; it took none since it began to listen.
    taken: Option<u64>,
    /// What the server says that it lacks.
    lag: u64,
    /// How long ago it heard from the stream.
    heard: Option<Duration>,
}

impl Standing {
    /// Whether it has heard from the stream since.
    fn hears(&self, since: Instant) -> bool {
        self.heard.is_some_and(|heard| heard < since.elapsed())
    }

    /// Number of messages that it has still to copy, as far as is known. Without news from the stream it may lack any.
    fn lacks(&self, hears: bool) -> u64 {
        let known = self.last.zip(self.taken).map(|(last, taken)| last.saturating_sub(taken));
        match known {
            _ if self.held == 0 => 0,
            _ if self.unsent > 0 => self.unsent.max(self.lag),
            Some(missing) => missing,
            None if hears => self.lag,
            None => self.lag.max(1),
        }
    }
}

impl Follower<'_> {
    /// How it stands to a stream. `api`: of the stream's account.
    async fn standing(&self, api: &Api, stream: &str) -> Result<Standing, Failure> {
        let state = api.request(&format!("STREAM.INFO.{stream}"), &Json::Null).await?["state"].take();
        let number = |value: &Json| value.as_u64().unwrap_or_default();
        let mut standing =
            Standing { held: number(&state["messages"]), last: state["last_seq"].as_u64(), ..Standing::default() };
        let (own, prefix) = match self {
            Self::OfTheAccount(name) => (api.request(&format!("STREAM.INFO.{name}"), &Json::Null).await?, None),
            Self::OfAnother(copy) => {
                let feeding = api.request(&format!("CONSUMER.INFO.{stream}.{}", copy.fed_by), &Json::Null).await;
                if let Ok(feeding) = feeding {
                    standing.unsent = number(&feeding["num_pending"]);
                    standing.last = feeding["delivered"]["stream_seq"].as_u64();
                    let until = feeding["config"]["pause_until"].as_str().filter(|_| feeding["paused"] == true);
                    standing.paused_until = until.map(str::to_owned);
                }
                (copy.info().await?, Some(copy.prefix.as_str()))
            }
        };
        let is_it = |origin: &&Json| is_origin(origin, stream, prefix);
        let is_filtered = |origin: &Json| {
            origin["filter_subject"].as_str().is_some_and(|filter| !filter.is_empty())
                || origin["subject_transforms"].as_array().is_some_and(|transforms| !transforms.is_empty())
        };
        if prefix.is_none() && origins(&own["config"]).filter(is_it).any(is_filtered) {
            standing.last = None;
        }
        // It may have several sources of one stream.
        let of_it = || origins(&own).filter(is_it);
        let heard = of_it().map(|origin| origin["active"].as_u64().map(Duration::from_nanos));
        standing.heard = heard.collect::<Option<Vec<Duration>>>().and_then(|all| all.into_iter().max());
        standing.lag = of_it().map(|origin| number(&origin["lag"])).max().unwrap_or_default();
        standing.taken = if own["mirror"].is_object() {
            own["state"]["last_seq"].as_u64()
        } else {
            let taken = of_it().map(|origin| origin["seq"].as_u64().filter(|seq| *seq > 0));
            taken.collect::<Option<Vec<u64>>>().and_then(|all| all.into_iter().min())
        };
        if prefix.is_none() && own["mirror"].is_object() && standing.taken > standing.last {
            // It is of another stream of that name, and takes nothing that has a lower number than what it has.
            (standing.lag, standing.last) = (standing.held, None);
        }
        Ok(standing)
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
            kept(&format!("{} copies it and cannot be asked: {}", copy.to, failure.message()))
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

/// Whether a handover that was interrupted has left a stream so: nobody can publish to it, or it copies nothing.
pub fn is_closed(name: &str, raw: &Json) -> bool {
    raw["subjects"] == subjects_of_nobody(name)
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
    wait_until_heard(api, name, &followers).await?;
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

fn kept(why: &str) -> Failure {
    Failure::Refused { code: 0, words: format!("nothing was deleted, because {why}") }
}

/// Waits until each copy has all of a stream or hears from it, so that the rest takes a moment.
async fn wait_until_heard(api: &Api, stream: &str, followers: &[Follower<'_>]) -> Result<(), Failure> {
    let start = Instant::now();
    for follower in followers {
        loop {
            let standing = follower.standing(api, stream).await?;
            if let Some(until) = standing.paused_until.as_ref().filter(|_| standing.held > 0 && standing.unsent > 0) {
                let unsent = standing.unsent;
                return Err(kept(&format!(
                    "{follower} has {unsent} of its messages still to copy, and what sends them is paused until {until}"
                )));
            }
            if standing.hears(start) || standing.lacks(false) == 0 {
                break;
            }
            if start.elapsed() > UNHEARD {
                return Err(kept(&format!(
                    "{follower} hears nothing of it, and may have some of its messages still to copy"
                )));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// Waits until each copy has all of a stream that takes no more.
async fn wait_for(api: &Api, stream: &str, followers: &[Follower<'_>]) -> Result<(), Failure> {
    let (start, mut quiet) = (Instant::now(), 0);
    loop {
        let mut behind = None;
        for follower in followers {
            let standing = follower.standing(api, stream).await?;
            let lacks = standing.lacks(standing.hears(start));
            behind = behind.or((lacks > 0).then_some((follower, lacks)));
        }
        quiet = if behind.is_none() { quiet + 1 } else { 0 };
        match behind {
            _ if quiet == QUIET => return Ok(()),
            Some((follower, lacks)) if start.elapsed() > PATIENCE => {
                return Err(kept(&format!("{follower} has {lacks} of its messages still to copy")));
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

    /// Measured on nats-server 2.15.1: after its stream was made anew, a mirror has lag 0 for ten seconds and more, and has nothing of it;
    /// one that is full and discards what is new has lag 0, too.
    #[test]
    fn a_copy_lacks_what_it_has_not_taken_whatever_its_lag_says() {
        let of = |held: u64, last: Option<u64>, taken: Option<u64>, lag: u64| Standing {
            held,
            last,
            taken,
            lag,
            ..Standing::default()
        };
        for (standing, unheard, hears) in [
            (of(100, Some(200), Some(200), 0), 0, 0),
            (of(100, Some(200), Some(100), 0), 100, 100),
            (of(0, Some(200), Some(100), 0), 0, 0),
            // A source that took nothing since it began again, or a filtered one.
            (of(100, Some(200), None, 0), 1, 0),
            (of(100, None, Some(150), 0), 1, 0),
            (of(100, None, Some(150), 28), 28, 28),
            (Standing { unsent: 75, ..of(100, Some(25), Some(25), 0) }, 75, 75),
        ] {
            assert_eq!((standing.lacks(false), standing.lacks(true)), (unheard, hears), "{standing:?}");
        }
    }

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
