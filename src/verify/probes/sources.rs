//! Streams that source from another tenant's stream.

use std::time::Duration;

use serde_json::json;

use super::{AT_ONCE, Probe, canary_stream};
use crate::verify::run::{Run, TenantRun, each};

pub const PROBE: Probe = Probe {
    id: "sources",
    proves: "no stream can copy another tenant's stream",
    mend: "export neither `$JS.API.CONSUMER.CREATE.>` nor the subjects on which streams deliver",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

/// How long a stream may take to copy one message from a stream of its own tenant.
const PATIENCE: Duration = Duration::from_secs(10);

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    let made = std::cell::RefCell::new(vec![false; tenant_runs.len()]);
    each(tenant_runs, AT_ONCE, async |tenant_run| {
        let Some(subject) = canary_stream::subject(run, tenant_run, "copied") else { return };
        let name = run.unique(tenant_run.index);
        let is_made = canary_stream::make(run, tenant_run, &name, &subject, json!({})).await;
        made.borrow_mut()[tenant_run.index] = is_made;
    })
    .await;
    each(tenant_runs, AT_ONCE, async |tenant_run| {
        if made.borrow()[tenant_run.index] {
            source_from_all(run, tenant_run).await;
        }
    })
    .await;
    each(tenant_runs, AT_ONCE, async |tenant_run| {
        let (name, is_made) = (run.unique(tenant_run.index), made.borrow()[tenant_run.index]);
        if let Some(manager) = tenant_run.manager().filter(|_| is_made) {
            canary_stream::delete(run, manager, &name).await;
        }
    })
    .await;
}

/// Creates one stream that sources from the neighbours' streams and from one of its own tenant,
/// which is the control.
async fn source_from_all<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>) {
    let (index, storage, name) = (tenant_run.index, tenant_run.storage(), run.common());
    let others: Vec<usize> = tenant_run.neighbours.iter().copied().filter(|n| *n != index).collect();
    let mut sources: Vec<_> = others.iter().map(|n| json!({ "name": run.unique(*n) })).collect();
    sources.push(json!({ "name": run.unique(index) }));
    if tenant_run.tenant.jetstream.is_some_and(|js| js.streams < 2) {
        return;
    }
    let Some(manager) = tenant_run.manager() else { return };
    let config = json!({
        "name": name, "sources": sources, "storage": storage, "retention": "limits", "discard": "old",
        "max_msgs": 16, "max_bytes": 65536, "num_replicas": 1, "metadata": { "canary": run.signs(index) },
    });
    let made = manager.api(run, &format!("STREAM.CREATE.{name}"), config).await;
    if made["error"].is_object() {
        return canary_stream::refused(run, tenant_run, &made["error"]);
    }
    let start = std::time::Instant::now();
    let (messages, reached) = loop {
        let info = manager.api(run, &format!("STREAM.INFO.{name}"), json!({})).await;
        let messages = info["state"]["messages"].as_u64().unwrap_or(0);
        // `active` is -1 until the source has answered once.
        let has_answered =
            |s: &&serde_json::Value| s["active"].as_i64().is_some_and(|active| active >= 0) && s["error"].is_null();
        let reached: Vec<String> = info["sources"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(has_answered)
            .filter_map(|s| s["name"].as_str().map(str::to_owned))
            .collect();
        if messages > 0 && !reached.is_empty() || start.elapsed() > PATIENCE {
            break (messages, reached);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    for other in others.iter().filter(|o| reached.contains(&run.unique(**o))) {
        if run.throwaway {
            run.ledger.leak(Some(*other), Some(index), "a stream of its own copies it");
        } else {
            // Whose it is, the messages tell, which are read below.
            let name = run.unique(*other);
            run.ledger
                .not_run(index, format!("its stream copies one named {name}, which a client of its own may have made"));
        }
    }
    for sequence in 1..=messages {
        manager.api(run, &format!("STREAM.MSG.GET.{name}"), json!({ "seq": sequence })).await;
    }
    canary_stream::delete(run, manager, &name).await;
    match messages {
        0 => run.ledger.not_run(index, "a stream that copies its own tenant's got nothing either"),
        1 => run.ledger.pass(index, format!("copied its own stream, and nothing of {} others", others.len())),
        n => run.note_changed(None, index, format!("copied {n} messages, of which one is its own")),
    }
}
