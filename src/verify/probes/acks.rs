//! Acknowledgements are plain messages: forging one for a consumer of the same
//! name must not take another tenant's message away.

use serde_json::json;

use super::{Probe, canary_stream};
use crate::verify::run::{Side, Stage};

pub const PROBE: Probe = Probe {
    id: "acknowledgements",
    proves: "nobody can acknowledge what another tenant has still to deal with",
    run: |stage, sides| Box::pin(run(stage, sides)),
};

/// How long an acknowledgement of one's own may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

async fn run<'p>(stage: &Stage<'p>, sides: &mut [Side<'p>]) {
    canary_stream::sweep(
        stage,
        sides,
        async |side| take(stage, side, &stage.common()).await,
        async |side| forge(stage, side, &stage.common()).await,
        async |side| {
            if let Some(manager) = side.manager() {
                canary_stream::delete(stage, manager, &stage.common()).await;
            }
        },
    )
    .await;
}

/// A message that is delivered and not acknowledged.
async fn take<'p>(stage: &Stage<'p>, side: &mut Side<'p>, name: &str) -> bool {
    let index = side.index;
    let Some(subject) = canary_stream::subject(stage, side, "work") else { return false };
    if !canary_stream::make(stage, side, name, &subject, json!({})).await {
        return false;
    }
    let Some(manager) = side.manager() else { return false };
    let consumer = json!({ "stream_name": name, "config": {
        "durable_name": "worker", "ack_policy": "explicit", "ack_wait": 600_000_000_000u64,
    }});
    let made = manager.api(stage, &format!("CONSUMER.DURABLE.CREATE.{name}.worker"), consumer).await;
    let taken = manager.pull(stage, name, "worker").await.is_some();
    if !taken {
        stage.not_run(index, format!("no message was delivered: {made}"));
    }
    taken
}

async fn pending<'p>(stage: &Stage<'p>, side: &mut Side<'p>, name: &str) -> Option<u64> {
    let info = side.manager()?.api(stage, &format!("CONSUMER.INFO.{name}.worker"), json!({})).await;
    info["num_ack_pending"].as_u64()
}

/// Is mine still pending? Then every user forges an acknowledgement for it; that
/// it works inside one tenant is the control.
async fn forge<'p>(stage: &Stage<'p>, side: &mut Side<'p>, name: &str) -> Option<String> {
    match pending(stage, side, name).await {
        Some(1) => {}
        Some(n) => return Some(format!("it had one message to acknowledge, and has {n}")),
        None => {
            stage.not_run(side.index, "JetStream did not say what is still to be acknowledged");
            return None;
        }
    }
    for member in &mut side.members {
        if let Some(connection) = &mut member.connection {
            connection.publish(&format!("$JS.ACK.{name}.worker.1.1.1.0.0"), None, b"+ACK");
        }
        member.settle(stage).await;
        member.refused();
    }
    // Acknowledgements are dealt with in the server's own time.
    let start = std::time::Instant::now();
    while pending(stage, side, name).await != Some(0) {
        if start.elapsed() < PATIENCE {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            continue;
        }
        stage.not_run(side.index, "the forged acknowledgement did not even work on its own message");
        break;
    }
    None
}
