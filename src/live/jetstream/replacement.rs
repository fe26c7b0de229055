//! Whether a stream can be made again once it is deleted: asked before it is.

use serde_json::{Value as Json, json};

use super::actual::subjects_of;
use super::api::{Api, Failure};
use super::refusals::reserved;
use crate::model::Tenant;
use crate::model::jetstream::Stream;
use crate::model::jetstream::difference::{CONSUMER, STREAM};

/// Refuses to delete a stream in whose place the new one, or one of its consumers, could not be made.
pub async fn refuse(api: &Api, tenant: &Tenant, stream: &Stream) -> Result<(), Failure> {
    refuse_beside_others(api, tenant, stream).await?;
    try_elsewhere(api, stream).await
}

/// Refuses it beside the others that there are now, and by the limits that the server has now.
async fn refuse_beside_others(api: &Api, tenant: &Tenant, stream: &Stream) -> Result<(), Failure> {
    let new = STREAM.request(&stream.config, None);
    let in_memory = new["storage"] == "memory";
    let streams = api.list("STREAM.LIST", "streams").await?;
    let others =
        || streams.iter().map(|stream| &stream["config"]).filter(|config| config["name"] != stream.name.as_str());
    let takes = |config: &&Json| subjects_of(config).any(|s| stream.subjects.iter().any(|own| own.overlaps(&s)));
    if let Some(other) = others().find(takes) {
        let name = other["name"].as_str().unwrap_or_default();
        return Err(irreplaceable(10065, &format!("`{name}` has subjects of the new one")));
    }
    let wanted = new["max_bytes"].as_u64().unwrap_or(0);
    let taken = reserved(others())[usize::from(in_memory)];
    let declared = tenant.jetstream.map_or(0, |js| if in_memory { js.memory.bytes() } else { js.storage.bytes() });
    // The server may have an older configuration than the registry.
    let info = api.request("INFO", &Json::Null).await.unwrap_or_default();
    let running = info["limits"][if in_memory { "max_memory" } else { "max_storage" }].as_u64();
    let limit = running.map_or(declared, |running| running.min(declared));
    match wanted > 0 && taken.saturating_add(wanted) > limit {
        true => {
            // Insufficient memory, or storage.
            let code = if in_memory { 10028 } else { 10047 };
            Err(irreplaceable(code, "the new one would not fit beside the others"))
        }
        false => Ok(()),
    }
}

/// The failure of a deletion that did not take place. `code`: the server's; 0 if it is none of its.
pub fn irreplaceable(code: u64, why: &str) -> Failure {
    Failure::Refused { code, words: format!("nothing was deleted, because {why}") }
}

/// Before the name of a stream made for a moment.
pub const TRIAL: &str = "TENANTRY_TRIAL_";
/// Before its subjects, on which nobody publishes.
const NOBODYS: &str = "tenantry-trial";
/// Error codes for what a stream that is there for a moment cannot have: too many, or no room.
const NO_ROOM: [u64; 5] = [10_023, 10_026, 10_027, 10_028, 10_047];

/// Makes a stream with the same keys under another name and other subjects, and its consumers, and deletes it again. What it
/// takes from other streams is left out: it would be gone from a work queue.
async fn try_elsewhere(api: &Api, stream: &Stream) -> Result<(), Failure> {
    let name = format!("{TRIAL}{}", stream.name);
    let delete = || async { api.request(&format!("STREAM.DELETE.{name}"), &Json::Null).await };
    // One of a run that was killed.
    let _ = delete().await;
    let tried = make(api, stream, &name).await;
    if !matches!(&tried, Err((None, _))) {
        delete().await?;
    }
    match tried {
        Err((_, Failure::Refused { code, .. })) if NO_ROOM.contains(&code) => Ok(()),
        Err((consumer, Failure::Refused { code, words })) => {
            let what =
                consumer.map_or_else(|| "the new one".to_owned(), |consumer| format!("its consumer `{consumer}`"));
            Err(irreplaceable(code, &format!("{what} would be refused: {words}")))
        }
        Err((_, failure)) => Err(failure),
        Ok(()) => Ok(()),
    }
}

/// Makes the stream and its consumers. An error names the consumer, or none if it is the stream's.
async fn make<'s>(api: &Api, stream: &'s Stream, name: &str) -> Result<(), (Option<&'s str>, Failure)> {
    let body = on_trial(STREAM.request(&stream.config, None), name);
    api.request(&format!("STREAM.CREATE.{name}"), &body).await.map_err(|failure| (None, failure))?;
    for consumer in &stream.consumers {
        let mut config = CONSUMER.request(&consumer.config, None);
        ["filter_subject", "filter_subjects"].into_iter().for_each(|key| move_away(&mut config, key));
        let body = json!({ "stream_name": name, "config": config, "action": "create" });
        let made = api.request(&format!("CONSUMER.CREATE.{name}.{}", consumer.name), &body).await;
        made.map_err(|failure| (Some(consumer.name.as_str()), failure))?;
    }
    Ok(())
}

/// A stream's configuration under another name, on subjects of nobody.
fn on_trial(mut config: Json, name: &str) -> Json {
    config["name"] = name.into();
    if config["subjects"].as_array().is_none_or(Vec::is_empty) {
        config["subjects"] = json!(["none"]);
    }
    if let Some(keys) = config.as_object_mut() {
        keys.retain(|key, _| !["mirror", "sources"].contains(&key.as_str()));
    }
    move_away(&mut config, "subjects");
    for block in ["subject_transform", "republish"] {
        if let Some(block) = config.get_mut(block) {
            ["src", "dest"].into_iter().for_each(|key| move_away(block, key));
        }
    }
    if config["max_bytes"].as_u64().is_some_and(|bytes| bytes > 1024) {
        config["max_bytes"] = 1024.into();
    }
    config
}

/// Puts the subjects that a key holds below those of nobody.
fn move_away(config: &mut Json, key: &str) {
    let moved = |subject: &mut Json| {
        if let Some(text) = subject.as_str().filter(|text| !text.is_empty()) {
            *subject = format!("{NOBODYS}.{text}").into();
        }
    };
    match config.get_mut(key) {
        Some(Json::Array(list)) => list.iter_mut().for_each(moved),
        Some(subject) => moved(subject),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_is_on_subjects_of_nobody() {
        let config = json!({
            "name": "S", "subjects": ["T.s.>"], "max_bytes": 4096, "sources": [{ "name": "Q" }],
            "republish": { "src": "T.s.*", "dest": "T.r.{{wildcard(1)}}" }, "discard": "new",
        });
        let tried = json!({
            "name": "X", "subjects": ["tenantry-trial.T.s.>"], "max_bytes": 1024, "discard": "new",
            "republish": { "src": "tenantry-trial.T.s.*", "dest": "tenantry-trial.T.r.{{wildcard(1)}}" },
        });
        assert_eq!(on_trial(config, "X"), tried);
        let copy = json!({ "name": "S", "mirror": { "name": "Q" } });
        assert_eq!(on_trial(copy, "X"), json!({ "name": "X", "subjects": ["tenantry-trial.none"] }));
    }
}
