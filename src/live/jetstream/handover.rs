//! The end of a stream that others copy: what it took last is copied before it goes, and the copies of other tenants stop
//! until the new one is there. A copy from several sources counts what the exporter's consumer delivers; a new consumer
//! counts from one again, and the importer's server would drop what it takes for delivered already (nats-server 2.15.1).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::actual::Actual;
use super::api::{Api, Failure};
use super::copies::{Follower, ForeignCopy, Standing, is_origin};
use super::replacement::irreplaceable;
use crate::model::jetstream::difference::{MARK, STREAM};
use crate::model::jetstream::keys::stream::{
    DISCARD, DISCARD_NEW_PER_SUBJECT, MAX_AGE, MAX_MSGS, MAX_MSGS_PER_SUBJECT, RETENTION,
};
use crate::model::jetstream::{Config, Stream};

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

/// The changes that a replacement leaves open until its stream is there again.
#[derive(Default)]
pub struct Handover {
    /// The copies of other tenants that are stopped.
    stopped: Vec<StoppedCopy>,
    /// The streams without their limits.
    unlimited: Vec<Unlimited>,
}

struct StoppedCopy {
    copy: ForeignCopy,
    /// The keys of its configuration that are another's meanwhile, as they were: its sources, and what the server changed with them.
    before: BTreeMap<String, Json>,
}

/// A stream that was made anew without the limits by which it drops messages: its copies take up to half a minute to find it.
struct Unlimited {
    stream: Stream,
    /// The copies of its account, by name.
    own: Vec<String>,
}

/// The subjects of a closed stream: nobody publishes on them.
fn subjects_of_nobody(stream: &str) -> Json {
    json!([format!("tenantry-closed.{stream}")])
}

/// Whether a handover that was interrupted has left a stream so: nobody can publish to it, or it copies nothing.
pub fn is_closed(name: &str, raw: &Json) -> bool {
    raw["subjects"] == subjects_of_nobody(name)
}

/// The state of a stream on the server.
async fn state_of(api: &Api, stream: &str) -> Result<Json, Failure> {
    Ok(api.request(&format!("STREAM.INFO.{stream}"), &Json::Null).await?["state"].take())
}

/// Asks how a copy stands until `is_enough` says so, which is told whether the copy has heard from the stream since `start`.
/// Returns whether it did in time.
async fn wait_until(
    api: &Api,
    stream: &str,
    copy: &Follower<'_>,
    start: Instant,
    is_enough: impl Fn(&Standing, bool) -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    loop {
        let standing = copy.standing(api, stream, &state_of(api, stream).await?).await?;
        if is_enough(&standing, standing.hears(start))? {
            return Ok(true);
        }
        if start.elapsed() > UNHEARD {
            return Ok(false);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until each copy has all of a stream or hears from it, so that the rest takes a moment.
async fn wait_until_heard(api: &Api, stream: &str, followers: &[Follower<'_>]) -> Result<(), Failure> {
    let start = Instant::now();
    for follower in followers {
        let hears = |standing: &Standing, hears: bool| match &standing.paused_until {
            Some(until) if standing.held > 0 && standing.unsent > 0 => Err(irreplaceable(
                0,
                &format!(
                    "{follower} has {} of its messages still to copy, and what sends them is paused until {until}",
                    standing.unsent
                ),
            )),
            _ => Ok(hears || standing.lacks(false) == 0),
        };
        if !wait_until(api, stream, follower, start, hears).await? {
            let why = format!("{follower} hears nothing of it, and may have some of its messages still to copy");
            return Err(irreplaceable(0, &why));
        }
    }
    Ok(())
}

/// Waits until the copies of its account have found a stream that was made anew, and have all of it. Returns whether they do in
/// time.
async fn is_found(api: &Api, stream: &str, copies: &[String]) -> bool {
    let start = Instant::now();
    // A limit drops the messages that a copy has yet to take.
    let has_all = |standing: &Standing, hears: bool| Ok((hears || standing.held > 0) && standing.lacks(hears) == 0);
    for copy in copies {
        if !wait_until(api, stream, &Follower::OfTheAccount(copy), start, has_all).await.unwrap_or_default() {
            return false;
        }
    }
    true
}

/// The configuration of a stream without what makes it drop messages that its copies have yet to find. `None`: it drops none.
fn without_limits(declared: &Config) -> Option<Config> {
    let mut config = declared.clone();
    if declared.get(RETENTION.name) == "interest" {
        config.set(RETENTION, "limits");
    }
    // With `discard = "new"` it refuses what is beyond its limits, and drops nothing; of one subject it does, unless it is told.
    let refuses = declared.get(DISCARD.name) == "new";
    let refuses_of_subject = refuses && declared.get(DISCARD_NEW_PER_SUBJECT.name) == true;
    for (key, drops) in [(MAX_MSGS, !refuses), (MAX_MSGS_PER_SUBJECT, !refuses_of_subject)] {
        if drops && declared.get(key.name).as_i64().is_some_and(|most| most > 0) {
            config.set(key, -1);
        }
    }
    if declared.get(MAX_AGE.name).as_i64().is_some_and(|age| age > 0) {
        config.set(MAX_AGE, 0);
    }
    (config != *declared).then_some(config)
}

/// The configuration of an interest stream that keeps what comes before its consumers are made. `None`: it is none, or has none.
fn until_consumers(stream: &Stream) -> Option<Config> {
    let is_interest = stream.config.get(RETENTION.name) == "interest" && !stream.consumers.is_empty();
    is_interest.then(|| {
        let mut config = stream.config.clone();
        config.set(RETENTION, "limits");
        config
    })
}

/// Whether a stream is as a replacement has left it that was interrupted, or has yet to end: without its limits, which come when
/// its copies have all of it.
pub fn awaits_copies(actual: &Actual, stream: &Stream, raw: &Json) -> bool {
    let is_made_so = |first: Config| STREAM.request(&first, None)["metadata"][MARK] == raw["metadata"][MARK];
    actual.is_copied(stream.name.as_str()) && without_limits(&stream.config).is_some_and(is_made_so)
}

/// Waits until each copy has all of a stream that takes no more.
async fn wait_for(api: &Api, stream: &str, followers: &[Follower<'_>]) -> Result<(), Failure> {
    let (start, mut quiet) = (Instant::now(), 0);
    loop {
        let state = state_of(api, stream).await?;
        let mut behind = None;
        for follower in followers {
            let standing = follower.standing(api, stream, &state).await?;
            let lacks = standing.lacks(standing.hears(start));
            behind = behind.or((lacks > 0).then_some((follower, lacks)));
        }
        quiet = if behind.is_none() { quiet + 1 } else { 0 };
        match behind {
            _ if quiet == QUIET => return Ok(()),
            Some((follower, lacks)) if start.elapsed() > PATIENCE => {
                return Err(irreplaceable(0, &format!("{follower} has {lacks} of its messages still to copy")));
            }
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Lets nobody publish to a stream. Returns its configuration then. `None`: nobody can anyway.
pub async fn close(api: &Api, name: &str, raw: &Json) -> Result<Option<Json>, Failure> {
    if raw["subjects"].as_array().is_none_or(Vec::is_empty) {
        return Ok(None);
    }
    let mut config = raw.clone();
    config["subjects"] = subjects_of_nobody(name);
    Ok(Some(api.request(&format!("STREAM.UPDATE.{name}"), &config).await?["config"].take()))
}

impl Handover {
    /// Lets a stream take no more messages, waits until those who copy it have all, and stops the copies of others. Returns
    /// its configuration then. `None`: it is as it was.
    pub async fn hand_over(
        &mut self,
        api: &Api,
        actual: &Actual,
        name: &str,
        copies: Vec<ForeignCopy>,
    ) -> Result<Option<Json>, Failure> {
        let Some(raw) = actual.streams.get(name).map(|found| &found.raw) else { return Ok(None) };
        let own = actual.copies_of(name).map(|(other, _)| Follower::OfTheAccount(other));
        let followers: Vec<Follower<'_>> = own.chain(copies.iter().map(Follower::OfAnother)).collect();
        if followers.is_empty() {
            return Ok(None);
        }
        wait_until_heard(api, name, &followers).await?;
        let update = format!("STREAM.UPDATE.{name}");
        let closed = close(api, name, raw).await?;
        let mut handed_over = wait_for(api, name, &followers).await;
        for copy in copies {
            if handed_over.is_ok() {
                handed_over = self.stop(copy, name).await;
            }
        }
        if let Err(failure) = handed_over {
            if closed.is_some() {
                api.request(&update, raw).await?;
            }
            self.go_on().await?;
            return Err(failure);
        }
        Ok(closed)
    }

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
        self.stopped.push(StoppedCopy { before: replaced(&before, &after), copy });
        Ok(())
    }

    /// The configuration with which a stream is made: without its limits at first, if streams of its account copy it, and
    /// without interest until its consumers are there.
    pub fn first_configuration(&mut self, actual: &Actual, stream: &Stream) -> Config {
        let first = match actual.is_copied(stream.name.as_str()) {
            true => without_limits(&stream.config),
            false => until_consumers(stream),
        };
        match first {
            Some(config) => {
                self.limit_later(actual, stream);
                config
            }
            None => stream.config.clone(),
        }
    }

    /// Has a stream get its limits once its copies have all of it.
    pub fn limit_later(&mut self, actual: &Actual, stream: &Stream) {
        let own = actual.copies_of(stream.name.as_str()).map(|(name, _)| name.clone()).collect();
        self.unlimited.push(Unlimited { stream: stream.clone(), own });
    }

    /// The streams that are to get their limits now, each once its copies have all of it, and whether they have.
    pub async fn found(&mut self, api: &Api) -> Vec<(Stream, bool)> {
        let mut found = Vec::new();
        for Unlimited { stream, own } in std::mem::take(&mut self.unlimited) {
            let is_found = is_found(api, stream.name.as_str(), &own).await;
            found.push((stream, is_found));
        }
        found
    }

    /// Lets the copies go on, each after the last message that it has.
    pub async fn go_on(&mut self) -> Result<(), Failure> {
        let mut result = Ok(());
        // One that was stopped twice, for two of its sources, is as it was before the second time first.
        while let Some(StoppedCopy { copy, before }) = self.stopped.pop() {
            for attempt in 1.. {
                let Err(failure) = begin_again(&copy, &before).await else { break };
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

/// Gives keys of a copy's configuration the values that they had before.
async fn begin_again(copy: &ForeignCopy, before: &BTreeMap<String, Json>) -> Result<(), Failure> {
    let mut config = copy.info().await?["config"].take();
    before.iter().for_each(|(key, value)| config[key] = value.clone());
    copy.update(&config).await.map(drop)
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
    fn a_stream_is_made_anew_without_what_makes_it_drop_messages() {
        let config = |text: &str| {
            let registry = format!(
                "[[tenant]]\nname = \"A\"\n[tenant.jetstream]\nstorage = \"1MiB\"\n[[tenant.user]]\nname = \"a\"\n\
                 [[tenant.stream]]\nname = \"S\"\nsubjects = [\"A.s.*\"]\n{text}\n"
            );
            crate::project::tests::model(&registry).tenants[0].streams[0].config.clone()
        };
        let open = config("");
        assert_eq!(without_limits(&open), None);
        for text in ["max_msgs = 5", "max_age = \"5s\"", "retention = \"interest\"", "max_msgs_per_subject = 1"] {
            let relaxed = without_limits(&config(text)).expect(text);
            for key in [RETENTION, MAX_AGE, MAX_MSGS, MAX_MSGS_PER_SUBJECT] {
                let dropped = relaxed.get(key.name);
                assert!(
                    dropped == open.get(key.name) || matches!(dropped.as_i64(), Some(-1 | 0)) || dropped == "limits",
                    "{text}"
                );
            }
        }
        let refuses = config("max_msgs = 5\ndiscard = \"new\"");
        assert_eq!(without_limits(&refuses), None, "it refuses what is new");
        let of_subject = "max_msgs_per_subject = 1\ndiscard = \"new\"\n";
        assert!(without_limits(&config(of_subject)).is_some(), "of one subject it drops the oldest");
        let told = format!("{of_subject}discard_new_per_subject = true");
        assert_eq!(without_limits(&config(&told)), None);
    }

    /// The digest in its metadata says what it was made from, to an `apply` after a kill or beside this one too.
    #[test]
    fn a_stream_without_its_limits_awaits_its_copies() {
        let registry = "[[tenant]]\nname = \"A\"\n[tenant.jetstream]\nstorage = \"1MiB\"\n[[tenant.user]]\nname = \"a\"\n\
                        [[tenant.stream]]\nname = \"S\"\nsubjects = [\"A.s\"]\nmax_msgs = 5\n";
        let stream = crate::project::tests::model(registry).tenants.remove(0).streams.remove(0);
        let raw = |config: &Config| STREAM.request(config, None);
        let found = |raw: Json| crate::live::jetstream::actual::ActualStream { raw, ..Default::default() };
        let copied = Actual {
            streams: [("M".to_owned(), found(json!({ "mirror": { "name": "S" } })))].into(),
            ..Actual::default()
        };
        let first = without_limits(&stream.config).expect("it has some");
        assert!(awaits_copies(&copied, &stream, &raw(&first)));
        assert!(!awaits_copies(&copied, &stream, &raw(&stream.config)), "it has its limits");
        assert!(!awaits_copies(&Actual::default(), &stream, &raw(&first)), "nobody copies it");
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
}
