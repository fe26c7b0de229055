//! Acknowledgements are plain messages. One that is forged for a consumer of the same name must
//! not acknowledge another tenant's message.

use serde_json::json;

use super::{Probe, canary_stream};
use crate::verify::run::{Run, TenantRun};

pub const PROBE: Probe = Probe {
    id: "acknowledgements",
    proves: "nobody can acknowledge what another tenant has still to deal with",
    mend: "nobody may publish on `$JS.ACK.>` of another account: give each tenant an account of its own",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

/// How long the server may take to process an acknowledgement in the same tenant.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    canary_stream::sweep(
        run,
        tenant_runs,
        async |tenant_run| deliver_unacknowledged(run, tenant_run, &run.common()).await,
        async |tenant_run| forge(run, tenant_run, &run.common()).await,
        async |tenant_run| {
            if let Some(manager) = tenant_run.manager() {
                canary_stream::delete(run, manager, &run.common()).await;
            }
        },
    )
    .await;
}

/// Creates a stream and a consumer, and pulls one message without acknowledging it.
async fn deliver_unacknowledged<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>, name: &str) -> bool {
    let index = tenant_run.index;
    let Some(subject) = canary_stream::subject(run, tenant_run, "work") else { return false };
    if !canary_stream::make(run, tenant_run, name, &subject, json!({})).await {
        return false;
    }
    let Some(manager) = tenant_run.manager() else { return false };
    let consumer = json!({ "stream_name": name, "config": {
        "durable_name": "worker", "ack_policy": "explicit", "ack_wait": 600_000_000_000u64,
    }});
    let made = manager.api(run, &format!("CONSUMER.DURABLE.CREATE.{name}.worker"), consumer).await;
    let is_delivered = manager.pull(run, name, "worker").await.is_some();
    if !is_delivered {
        run.ledger.not_run(index, format!("no message was delivered: {made}"));
    }
    is_delivered
}

/// Number of messages that are delivered and not acknowledged.
async fn count_pending<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>, name: &str) -> Option<u64> {
    let info = tenant_run.manager()?.api(run, &format!("CONSUMER.INFO.{name}.worker"), json!({})).await;
    info["num_ack_pending"].as_u64()
}

/// Checks that the tenant's message is still pending, then forges an acknowledgement as every
/// user. Returns what was changed. That the forgery works inside one tenant is the control.
async fn forge<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>, name: &str) -> Option<String> {
    match count_pending(run, tenant_run, name).await {
        Some(1) => {}
        Some(n) => return Some(format!("it had one message to acknowledge, and has {n}")),
        None => {
            run.ledger.not_run(tenant_run.index, "JetStream did not say what is still to be acknowledged");
            return None;
        }
    }
    for session in &mut tenant_run.sessions {
        if let Some(connection) = &mut session.connection {
            connection.publish(&format!("$JS.ACK.{name}.worker.1.1.1.0.0"), None, b"+ACK");
        }
        session.settle(run).await;
        session.refused();
    }
    // The server processes acknowledgements asynchronously.
    let start = std::time::Instant::now();
    while count_pending(run, tenant_run, name).await != Some(0) {
        if start.elapsed() < PATIENCE {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            continue;
        }
        run.ledger.not_run(tenant_run.index, "the forged acknowledgement did not even work on its own message");
        break;
    }
    None
}
