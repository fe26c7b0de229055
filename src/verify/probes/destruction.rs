//! Updates, purges and deletes streams and consumers that have the same name in every tenant.

use serde_json::json;

use super::{Probe, canary_stream};
use crate::verify::run::{Run, TenantRun};

pub const PROBE: Probe = Probe {
    id: "destruction",
    proves: "no user can change, purge or delete another tenant's streams",
    mend: "export no part of `$JS.API.>`, and give each tenant its own account",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    canary_stream::sweep(
        run,
        tenant_runs,
        async |tenant_run| build(run, tenant_run, &run.common()).await,
        async |tenant_run| destroy(run, tenant_run, &run.common()).await,
        async |_| {},
    )
    .await;
}

async fn build<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>, name: &str) -> bool {
    let Some(subject) = canary_stream::subject(run, tenant_run, "kept") else { return false };
    if !canary_stream::make(run, tenant_run, name, &subject, json!({})).await {
        return false;
    }
    let Some(manager) = tenant_run.manager() else { return false };
    let consumer = json!({ "stream_name": name, "config": { "durable_name": "kept", "ack_policy": "explicit" } });
    manager.api(run, &format!("CONSUMER.DURABLE.CREATE.{name}.kept"), consumer).await;
    true
}

/// Checks that the tenant's stream is as it was created, then updates, purges and deletes it.
/// Returns what was changed. That the deletion succeeds is the control: the operations work
/// inside one tenant.
async fn destroy<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>, name: &str) -> Option<String> {
    let index = tenant_run.index;
    let manager = tenant_run.manager()?;
    let info = manager.api(run, &format!("STREAM.INFO.{name}"), json!({})).await;
    if info.is_null() {
        run.ledger.not_run(index, "JetStream did not say what is left");
        return None;
    }
    let mut config = info["config"].clone();
    let is_its_own = run.is_from(index, config["metadata"]["canary"].as_str().unwrap_or_default().as_bytes());
    let consumers = info["state"]["consumer_count"].as_u64();
    let (messages, sequence) = (info["state"]["messages"].as_u64(), info["state"]["last_seq"].as_u64());
    if (messages, sequence, consumers) != (Some(1), Some(1), Some(1)) || !is_its_own {
        return Some(format!("its stream is not as it was: {} {}", info["state"], info["error"]));
    }
    config["max_msgs"] = 8.into();
    for (verb, body) in
        [("STREAM.UPDATE", config), ("STREAM.MSG.DELETE", json!({ "seq": 1 })), ("STREAM.PURGE", json!({}))]
    {
        manager.api(run, &format!("{verb}.{name}"), body).await;
    }
    manager.api(run, &format!("CONSUMER.DELETE.{name}.kept"), json!({})).await;
    let deleted = manager.api(run, &format!("STREAM.DELETE.{name}"), json!({})).await;
    if deleted["success"] != true {
        run.ledger.not_run(index, format!("it could not delete its own stream: {deleted}"));
    }
    None
}
