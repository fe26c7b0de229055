//! Streams that copy others.

use std::time::Duration;

use serde_json::json;

use super::{AT_ONCE, Probe, canary_stream};
use crate::verify::run::{Side, Stage, each};

pub const PROBE: Probe = Probe {
    id: "sources",
    proves: "no stream can be made to copy another tenant's",
    run: |stage, sides| Box::pin(run(stage, sides)),
};

/// How long a stream may take to copy one message of the own tenant.
const PATIENCE: Duration = Duration::from_secs(10);

async fn run<'p>(stage: &Stage<'p>, sides: &mut [Side<'p>]) {
    let made = std::cell::RefCell::new(vec![false; sides.len()]);
    each(sides, AT_ONCE, async |side| {
        let Some(subject) = canary_stream::subject(stage, side, "copied") else { return };
        let name = stage.unique(side.index);
        let is_made = canary_stream::make(stage, side, &name, &subject, json!({})).await;
        made.borrow_mut()[side.index] = is_made;
    })
    .await;
    each(sides, AT_ONCE, async |side| {
        if made.borrow()[side.index] {
            copy(stage, side).await;
        }
    })
    .await;
    each(sides, AT_ONCE, async |side| {
        let (name, is_made) = (stage.unique(side.index), made.borrow()[side.index]);
        if let Some(manager) = side.manager().filter(|_| is_made) {
            canary_stream::delete(stage, manager, &name).await;
        }
    })
    .await;
}

/// One stream that copies its own tenant's, which is the control, and others'.
async fn copy<'p>(stage: &Stage<'p>, side: &mut Side<'p>) {
    let (index, storage, name) = (side.index, side.storage(), stage.common());
    let others: Vec<usize> = side.neighbours.iter().copied().filter(|n| *n != index).collect();
    let mut sources: Vec<_> = others.iter().map(|n| json!({ "name": stage.unique(*n) })).collect();
    sources.push(json!({ "name": stage.unique(index) }));
    if side.tenant.jetstream.is_some_and(|js| js.streams < 2) {
        return;
    }
    let Some(manager) = side.manager() else { return };
    let config = json!({
        "name": name, "sources": sources, "storage": storage, "retention": "limits", "discard": "old",
        "max_msgs": 16, "max_bytes": 65536, "num_replicas": 1,
    });
    let made = manager.api(stage, &format!("STREAM.CREATE.{name}"), config).await;
    if let Some(why) = made["error"]["description"].as_str() {
        stage.not_run(index, format!("no stream that copies could be made: {why}"));
        return;
    }
    let start = std::time::Instant::now();
    let (messages, reached) = loop {
        let info = manager.api(stage, &format!("STREAM.INFO.{name}"), json!({})).await;
        let messages = info["state"]["messages"].as_u64().unwrap_or(0);
        // It says of each source whether it has ever heard of it.
        let heard =
            |s: &&serde_json::Value| s["active"].as_i64().is_some_and(|active| active >= 0) && s["error"].is_null();
        let reached: Vec<String> = info["sources"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(heard)
            .filter_map(|s| s["name"].as_str().map(str::to_owned))
            .collect();
        if messages > 0 && !reached.is_empty() || start.elapsed() > PATIENCE {
            break (messages, reached);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    for other in others.iter().filter(|o| reached.contains(&stage.unique(**o))) {
        stage.leak(Some(*other), Some(index), "a stream of its own copies it");
    }
    for sequence in 1..=messages {
        manager.api(stage, &format!("STREAM.MSG.GET.{name}"), json!({ "seq": sequence })).await;
    }
    canary_stream::delete(stage, manager, &name).await;
    match messages {
        0 => stage.not_run(index, "a stream that copies its own tenant's got nothing either"),
        1 => stage.pass(index, format!("copied its own stream, and nothing of {} others", others.len())),
        n => stage.leak(None, Some(index), format!("copied {n} messages, of which one is its own")),
    }
}
