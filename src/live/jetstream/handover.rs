//! The end of a stream that others copy: what it took last is copied before it goes.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::actual::{Actual, origins};
use super::api::{Api, Failure};

/// Time limit for what is still to be copied.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often in a row nothing may be left to copy: what was stored a moment ago may be on its way.
const QUIET: usize = 5;
const PAUSE: Duration = Duration::from_millis(100);

/// Lets a stream take no more messages, and waits until those of its account who copy it have all. `is_shared`: others copy it,
/// too, who are not seen here. Returns its configuration then. `None`: nobody copies it.
pub async fn hand_over(api: &Api, actual: &Actual, name: &str, is_shared: bool) -> Result<Option<Json>, Failure> {
    let Some(raw) = actual.streams.get(name).map(|found| &found.raw) else { return Ok(None) };
    let followers: Vec<&str> = actual.copies_of(name).map(|(other, _)| other.as_str()).collect();
    if followers.is_empty() && !is_shared || raw["subjects"].as_array().is_none_or(Vec::is_empty) {
        return Ok(None);
    }
    let mut closed = raw.clone();
    // On which nobody publishes.
    closed["subjects"] = json!([format!("tenantry-closed.{name}")]);
    let update = format!("STREAM.UPDATE.{name}");
    let closed = api.request(&update, &closed).await?["config"].take();
    match wait_for(api, name, &followers).await {
        Ok(()) => Ok(Some(closed)),
        Err(failure) => {
            api.request(&update, raw).await?;
            Err(failure)
        }
    }
}

async fn wait_for(api: &Api, name: &str, followers: &[&str]) -> Result<(), Failure> {
    let (start, mut quiet) = (Instant::now(), 0);
    loop {
        let mut behind = None;
        for follower in followers {
            let info = api.request(&format!("STREAM.INFO.{follower}"), &Json::Null).await?;
            let lag =
                origins(&info).filter(|origin| origin["name"] == name).filter_map(|origin| origin["lag"].as_u64());
            behind = behind.or(lag.max().filter(|lag| *lag > 0).map(|lag| (*follower, lag)));
        }
        quiet = if behind.is_none() { quiet + 1 } else { 0 };
        match behind {
            _ if quiet == QUIET => return Ok(()),
            Some((follower, lag)) if start.elapsed() > PATIENCE => {
                let words =
                    format!("nothing was deleted, because `{follower}` has {lag} of its messages still to copy");
                return Err(Failure::Refused { code: 0, words });
            }
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
}
