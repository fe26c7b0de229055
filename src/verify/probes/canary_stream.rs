//! Streams that a run makes inside a tenant, with a canary in them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::verify::expected::{concrete, may_publish};
use crate::verify::run::{Run, Session, TenantRun};
use crate::verify::wire::Request;

/// "stream name already in use with a different configuration".
const NAME_IN_USE: u64 = 10058;

/// "subjects overlap with an existing stream".
const OVERLAP: u64 = 10065;

/// A subject of this run that a tenant's manager may publish to: one of a bucket,
/// which no stream of the tenant captures, or one in the tenant's own space.
pub fn subject(run: &Run<'_>, tenant_run: &mut TenantRun<'_>, last: &str) -> Option<String> {
    let (tenant, bucket) = (tenant_run.tenant, format!("$KV.{}.{last}", run.unique(tenant_run.index)));
    let manager = tenant_run.manager()?;
    let token = format!("{}.{last}", run.token());
    let wild = tenant.subjects.iter().filter(|s| s.as_str().ends_with('>'));
    std::iter::once(bucket).chain(wild.map(|s| concrete(s, &token))).find(|s| may_publish(manager.user, s))
}

/// How long a server may be busy with what was deleted.
const PATIENCE: Duration = Duration::from_secs(3);

/// Makes a stream and puts one canary into it, whose acknowledgement proves that
/// it is in there. False if there is none, which is said.
pub async fn make<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>, name: &str, subject: &str, more: Value) -> bool {
    let (index, storage) = (tenant_run.index, tenant_run.storage());
    let canary = run.canary(index);
    let Some(manager) = tenant_run.manager() else { return false };
    let mut config = json!({
        "name": name, "subjects": [subject], "storage": storage, "retention": "limits", "discard": "old",
        "max_msgs": 16, "max_bytes": 65536, "num_replicas": 1, "allow_direct": true, "metadata": { "canary": canary },
    });
    if let (Some(config), Some(more)) = (config.as_object_mut(), more.as_object()) {
        config.extend(more.clone());
    }
    let start = Instant::now();
    let made = loop {
        let made = manager.api(run, &format!("STREAM.CREATE.{name}"), config.clone()).await;
        // A busy server is not done yet with the folder of one that was deleted.
        let is_busy = made["error"]["description"].as_str().is_some_and(|d| d.contains("creating store"));
        if !is_busy || start.elapsed() > PATIENCE {
            break made;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    if made["error"]["err_code"] == NAME_IN_USE {
        run.ledger.leak(None, Some(index), format!("stream {name} is there already, and it is another tenant's"));
        return false;
    }
    if let Some(why) = made["error"]["description"].as_str() {
        let hint = if made["error"]["err_code"] == OVERLAP { "; is another proof running?" } else { "" };
        run.ledger.not_run(index, format!("no stream could be made: {why}{hint}"));
        return false;
    }
    if made.is_null() {
        run.ledger.not_run(index, "JetStream did not answer");
        return false;
    }
    let ack = manager.ask_one(run, Request { subject: subject.to_owned(), body: canary.into_bytes() }).await.json();
    if ack["stream"] != name {
        run.ledger.not_run(index, format!("stream {name} did not take a message: {ack}"));
        return false;
    }
    if ack["seq"] != 1 {
        run.ledger.leak(
            None,
            Some(index),
            format!("stream {name} was new, and its first message is number {}", ack["seq"]),
        );
    }
    true
}

/// Removes it again.
pub async fn delete<'p>(run: &Run<'p>, manager: &mut Session<'p>, name: &str) {
    manager.api(run, &format!("STREAM.DELETE.{name}"), json!({})).await;
}

/// Every tenant in turn, forward and then backward, does something to what is its
/// own and has the same name everywhere; whoever comes later must find its own
/// untouched. So every ordered pair is tried.
pub async fn sweep<'p>(
    run: &Run<'p>,
    tenant_runs: &mut [TenantRun<'p>],
    make: impl AsyncFn(&mut TenantRun<'p>) -> bool,
    damage: impl AsyncFn(&mut TenantRun<'p>) -> Option<String>,
    undo: impl AsyncFn(&mut TenantRun<'p>),
) {
    let total = tenant_runs.len();
    for backward in [false, true] {
        run.next_phase();
        let ready = std::cell::RefCell::new(vec![false; total]);
        crate::verify::run::each(tenant_runs, super::AT_ONCE, async |tenant_run| {
            let made = make(tenant_run).await;
            ready.borrow_mut()[tenant_run.index] = made;
        })
        .await;
        let mut done = Vec::new();
        for step in 0..total {
            let index = if backward { total - 1 - step } else { step };
            if !ready.borrow()[index] {
                continue;
            }
            match damage(&mut tenant_runs[index]).await {
                None => done.push(index),
                Some(found) => {
                    let by = done.last().copied().filter(|_| done.len() == 1);
                    run.ledger.leak(by, Some(index), format!("{found}, after {} others damaged their own", done.len()));
                }
            }
        }
        for index in done {
            let others = total - 1;
            let how = if backward { "after" } else { "before" };
            run.ledger.pass(index, format!("untouched, with {others} others doing the same {how} it in turn"));
        }
        crate::verify::run::each(tenant_runs, super::AT_ONCE, async |tenant_run| undo(tenant_run).await).await;
    }
}
