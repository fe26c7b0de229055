//! Streams that copy others.

use std::time::Duration;

use serde_json::json;

use super::{AT_ONCE, Probe, canary_stream};
use crate::proof::attack::stage::{Side, Stage, each};

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
    let messages = loop {
        let info = manager.api(stage, &format!("STREAM.INFO.{name}"), json!({})).await;
        match info["state"]["messages"].as_u64() {
            Some(0) if start.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_millis(5)).await,
            found => break found.unwrap_or(0),
        }
    };
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
