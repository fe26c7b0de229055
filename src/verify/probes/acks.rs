//! Acknowledgements are plain messages. One that is forged for a consumer of the same name must
//! not acknowledge another tenant's message.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::json;

use super::{Probe, canary_stream};
use crate::verify::expected::may_publish;
use crate::verify::run::{Run, Session, TenantRun};

pub const PROBE: Probe = Probe {
    id: "acknowledgements",
    proves: "no user can acknowledge a message that another tenant has yet to process",
    mend: "let no user publish on `$JS.ACK.>` of another account: give each tenant its own account",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

/// How long the server may take to process an acknowledgement in the same tenant.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    // The subject that acknowledges each tenant's message.
    let acks = RefCell::new(vec![None; tenant_runs.len()]);
    canary_stream::sweep(
        run,
        tenant_runs,
        async |tenant_run| {
            let ack = deliver_unacknowledged(run, tenant_run, &run.common()).await;
            let is_delivered = ack.is_some();
            acks.borrow_mut()[tenant_run.index] = ack;
            is_delivered
        },
        async |tenant_run| {
            let forged: BTreeSet<String> = {
                let known = acks.borrow();
                let of = std::iter::once(&tenant_run.index).chain(&tenant_run.neighbours);
                of.filter_map(|i| known[*i].clone()).collect()
            };
            forge(run, tenant_run, &run.common(), &forged).await
        },
        async |tenant_run| {
            if let Some(manager) = tenant_run.manager() {
                canary_stream::delete(run, manager, &run.common()).await;
            }
        },
    )
    .await;
}

/// Creates a stream and a consumer, and pulls one message without acknowledging it. Returns the subject that would.
async fn deliver_unacknowledged<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>, name: &str) -> Option<String> {
    let index = tenant_run.index;
    let subject = canary_stream::subject(run, tenant_run, "work")?;
    if !canary_stream::make(run, tenant_run, name, &subject, json!({})).await {
        return None;
    }
    let manager = tenant_run.manager()?;
    let consumer = json!({ "stream_name": name, "config": {
        "durable_name": "worker", "ack_policy": "explicit", "ack_wait": 600_000_000_000u64,
    }});
    let made = manager.api(run, &format!("CONSUMER.DURABLE.CREATE.{name}.worker"), consumer).await;
    let delivered = manager.pull(run, name, "worker").await;
    if delivered.is_none() {
        run.ledger.not_run(index, format!("no message was delivered: {made}"));
    }
    delivered?.reply
}

/// Number of messages that are delivered and not acknowledged.
async fn count_pending<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>, name: &str) -> Option<u64> {
    let info = tenant_run.manager()?.api(run, &format!("CONSUMER.INFO.{name}.worker"), json!({})).await;
    info["num_ack_pending"].as_u64()
}

/// Checks that the tenant's message is still pending, then publishes acknowledgements as every
/// user. Returns what was changed. That this works inside one tenant, where a user may do it, is the control.
async fn forge<'p>(
    run: &Run<'p>,
    tenant_run: &mut TenantRun<'p>,
    name: &str,
    acks: &BTreeSet<String>,
) -> Option<String> {
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
            acks.iter().for_each(|ack| connection.publish(ack, None, b"+ACK"));
        }
        session.settle(run).await;
        session.refused();
    }
    let may_acknowledge = |s: &Session<'_>| s.connection.is_some() && acks.iter().any(|ack| may_publish(s.user, ack));
    if !tenant_run.sessions.iter().any(may_acknowledge) {
        return None;
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
