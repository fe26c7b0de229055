//! Changing, emptying and deleting streams and consumers of the same name.

use serde_json::json;

use super::{Probe, canary_stream};
use crate::verify::run::{Side, Stage};

pub const PROBE: Probe = Probe {
    id: "destruction",
    proves: "nobody can change, purge or delete what is another tenant's",
    run: |stage, sides| Box::pin(run(stage, sides)),
};

async fn run<'p>(stage: &Stage<'p>, sides: &mut [Side<'p>]) {
    canary_stream::sweep(
        stage,
        sides,
        async |side| build(stage, side, &stage.common()).await,
        async |side| destroy(stage, side, &stage.common()).await,
        async |_| {},
    )
    .await;
}

async fn build<'p>(stage: &Stage<'p>, side: &mut Side<'p>, name: &str) -> bool {
    let Some(subject) = canary_stream::subject(stage, side, "kept") else { return false };
    if !canary_stream::make(stage, side, name, &subject, json!({})).await {
        return false;
    }
    let Some(manager) = side.manager() else { return false };
    let consumer = json!({ "stream_name": name, "config": { "durable_name": "kept", "ack_policy": "explicit" } });
    manager.api(stage, &format!("CONSUMER.DURABLE.CREATE.{name}.kept"), consumer).await;
    true
}

/// Is mine as I left it? Then it is changed, emptied and deleted; the last answer
/// is the control.
async fn destroy<'p>(stage: &Stage<'p>, side: &mut Side<'p>, name: &str) -> Option<String> {
    let index = side.index;
    let canary = stage.canary(index);
    let manager = side.manager()?;
    let info = manager.api(stage, &format!("STREAM.INFO.{name}"), json!({})).await;
    if info.is_null() {
        stage.not_run(index, "JetStream did not say what is left");
        return None;
    }
    let mut config = info["config"].clone();
    let consumers = info["state"]["consumer_count"].as_u64();
    let (messages, sequence) = (info["state"]["messages"].as_u64(), info["state"]["last_seq"].as_u64());
    if (messages, sequence, consumers) != (Some(1), Some(1), Some(1)) || config["metadata"]["canary"] != canary {
        return Some(format!("its stream is not as it was: {} {}", info["state"], info["error"]));
    }
    config["max_msgs"] = 8.into();
    for (verb, body) in
        [("STREAM.UPDATE", config), ("STREAM.MSG.DELETE", json!({ "seq": 1 })), ("STREAM.PURGE", json!({}))]
    {
        manager.api(stage, &format!("{verb}.{name}"), body).await;
    }
    manager.api(stage, &format!("CONSUMER.DELETE.{name}.kept"), json!({})).await;
    let deleted = manager.api(stage, &format!("STREAM.DELETE.{name}"), json!({})).await;
    if deleted["success"] != true {
        stage.not_run(index, format!("it could not delete its own stream: {deleted}"));
    }
    None
}
