//! The streams that copy one, in its account and in those of other tenants, and how each stands to it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::actual::origins;
use super::api::{Api, Failure};
use super::replacement::irreplaceable;
use crate::keys::Login;
use crate::model::Tenant;
use crate::model::names::{AccountName, ConsumerName};

/// Error code: there is no such stream.
const STREAM_NOT_FOUND: u64 = 10059;

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
            // Its copy may be on disk, and come back with its JetStream.
            None => {
                let words = "it has no JetStream now; take it out of the share first".to_owned();
                Err(Failure::Refused { code: 0, words })
            }
        }
    }
}

/// A stream that copies another one.
pub enum Follower<'f> {
    /// By its name: one of the same account.
    OfTheAccount(&'f str),
    /// One of another tenant.
    OfAnother(&'f ForeignCopy),
}

/// How a copy stands to its stream at a moment. The lag that the server reports is as of the last message that came, whether more
/// come or not.
#[derive(Debug, Default, Clone)]
pub struct Standing {
    /// Number of messages that the stream holds.
    pub held: u64,
    /// Number of messages that the exporter's consumer has still to send.
    pub unsent: u64,
    /// Until when that is paused. `None`: it is not.
    pub paused_until: Option<String>,
    /// The sequence number of the last message that is for the copy. `None`: not known, because a filter chooses.
    pub last: Option<u64>,
    /// The sequence number of the last one that it took. `None`: not known; it took none since it began to listen.
    pub taken: Option<u64>,
    /// Number of messages that it lacks, as the server reports it.
    pub lag: u64,
    /// How long ago it heard from the stream.
    pub heard: Option<Duration>,
}

impl Standing {
    /// Whether it has heard from the stream since.
    pub fn hears(&self, since: Instant) -> bool {
        self.heard.is_some_and(|heard| heard < since.elapsed())
    }

    /// Number of messages that it has still to copy, as far as is known. Without news from the stream it may lack any.
    pub fn lacks(&self, hears: bool) -> u64 {
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
    /// How it stands to a stream. `api`: of the stream's account. `state`: of the stream on the server.
    pub async fn standing(&self, api: &Api, stream: &str, state: &Json) -> Result<Standing, Failure> {
        let number = |value: &Json| value.as_u64().unwrap_or_default();
        let mut standing =
            Standing { held: number(&state["messages"]), last: state["last_seq"].as_u64(), ..Standing::default() };
        let (own, prefix) = match self {
            Self::OfTheAccount(name) => match api.request(&format!("STREAM.INFO.{name}"), &Json::Null).await {
                // It was deleted in the same command.
                Err(Failure::Refused { code: STREAM_NOT_FOUND, .. }) => return Ok(Standing::default()),
                own => (own?, None),
            },
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
        if !origins(&own["config"]).any(|origin| is_it(&origin)) {
            // It copies it no more.
            return Ok(Standing::default());
        }
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
        let is_ahead = standing.taken.zip(standing.last).is_some_and(|(taken, last)| taken > last);
        if prefix.is_none() && own["mirror"].is_object() && is_ahead {
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
pub fn is_origin(origin: &Json, stream: &str, prefix: Option<&str>) -> bool {
    origin["name"] == stream && origin["external"]["api"].as_str() == prefix
}

/// A stream of another tenant that copies one.
pub struct ForeignCopy {
    /// A connection to its account.
    pub api: Api,
    /// Its account.
    pub account: AccountName,
    /// Its name.
    pub name: String,
    /// The prefix by which it asks for what it copies.
    pub prefix: String,
    /// The exporter's consumer.
    pub fed_by: ConsumerName,
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
            irreplaceable(0, &format!("{} copies it and cannot be asked: {}", copy.to, failure.message()))
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

impl ForeignCopy {
    /// Its state on the server.
    pub async fn info(&self) -> Result<Json, Failure> {
        self.api.request(&format!("STREAM.INFO.{}", self.name), &Json::Null).await
    }

    /// Changes its configuration, and returns what it is then.
    pub async fn update(&self, config: &Json) -> Result<Json, Failure> {
        Ok(self.api.request(&format!("STREAM.UPDATE.{}", self.name), config).await?["config"].take())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
