//! Streams, buckets and object stores that have the same name in every tenant: each tenant must
//! read its own messages from them and no other tenant's.

use serde_json::json;

use super::{AT_ONCE, Probe, canary_stream};
use crate::verify::expected::may_publish;
use crate::verify::run::{ANY_BUCKET, ANY_OBJECTS, Run, TenantRun, each};
use crate::verify::wire::{Answer, Request};

pub const STREAMS: Probe = Probe {
    id: "streams",
    proves: "streams of the same name in two tenants are separate, however they are read",
    mend: "give each tenant its own account, and export none of the answers of its streams",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs, StoreKind::Stream)),
};

pub const BUCKETS: Probe = Probe {
    id: "buckets",
    proves: "key-value buckets of the same name in two tenants are separate",
    mend: "give each tenant its own account, and export no part of `$KV.>`",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs, StoreKind::Bucket)),
};

pub const OBJECTS: Probe = Probe {
    id: "object-stores",
    proves: "object stores of the same name in two tenants are separate",
    mend: "give each tenant its own account, and export no part of `$O.>`",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs, StoreKind::ObjectStore)),
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StoreKind {
    Stream,
    Bucket,
    ObjectStore,
}

impl StoreKind {
    fn stream(self, common: &str) -> String {
        match self {
            Self::Stream => common.to_owned(),
            Self::Bucket => format!("KV_{common}"),
            Self::ObjectStore => format!("OBJ_{common}"),
        }
    }

    fn subject(self, run: &Run<'_>, tenant_run: &mut TenantRun<'_>) -> Option<String> {
        let common = run.common();
        let (subject, listened) = match self {
            Self::Stream => return canary_stream::subject(run, tenant_run, "stored"),
            Self::Bucket => (format!("$KV.{common}.key"), ANY_BUCKET),
            Self::ObjectStore => (format!("$O.{common}.C.chunk"), ANY_OBJECTS),
        };
        if !tenant_run.manager().is_some_and(|m| may_publish(m.user, &subject)) {
            return None;
        }
        if run.has_workers(tenant_run.index, listened) {
            let space = &subject[..subject.find('.').unwrap_or_default()];
            run.ledger
                .not_tried(tenant_run.index, format!("`{space}.>`: who takes it from a queue may get the message"));
            return None;
        }
        Some(subject)
    }
}

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>], kind: StoreKind) {
    let name = kind.stream(&run.common());
    let made = std::cell::RefCell::new(vec![false; tenant_runs.len()]);
    each(tenant_runs, AT_ONCE, async |tenant_run| {
        let Some(subject) = kind.subject(run, tenant_run) else { return };
        let more = match kind {
            StoreKind::Stream => json!({}),
            // The setting with which client libraries create them.
            StoreKind::Bucket | StoreKind::ObjectStore => json!({ "allow_rollup_hdrs": true }),
        };
        let is_made = canary_stream::make(run, tenant_run, &name, &subject, more).await;
        made.borrow_mut()[tenant_run.index] = is_made;
    })
    .await;
    each(tenant_runs, AT_ONCE, async |tenant_run| {
        if made.borrow()[tenant_run.index] {
            read(run, tenant_run, &name, kind).await;
        }
    })
    .await;
}

/// Reads the tenant's stream with every JetStream request that can read, and with a consumer.
async fn read<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>, name: &str, kind: StoreKind) {
    let index = tenant_run.index;
    let Some(subject) = kind.subject(run, tenant_run) else { return };
    let Some(manager) = tenant_run.manager() else { return };
    let asked = [
        Request::empty(format!("$JS.API.STREAM.INFO.{name}")),
        Request::json(format!("$JS.API.STREAM.MSG.GET.{name}"), &json!({ "seq": 1 })),
        Request::json(format!("$JS.API.STREAM.MSG.GET.{name}"), &json!({ "last_by_subj": ">" })),
        Request::json(format!("$JS.API.DIRECT.GET.{name}"), &json!({ "seq": 1 })),
        Request::empty(format!("$JS.API.DIRECT.GET.{name}.{subject}")),
        Request::empty("$JS.API.STREAM.LIST"),
        Request::json(
            format!("$JS.API.CONSUMER.CREATE.{name}.reader"),
            &json!({ "stream_name": name, "config": { "name": "reader", "ack_policy": "none", "inactive_threshold": 60_000_000_000u64 } }),
        ),
    ];
    let answers = manager.ask(run, &asked).await;
    let state = answers.first().map(Answer::json).unwrap_or_default();
    let messages = state["state"]["messages"].as_u64();
    let mut own = 0;
    for answer in &answers {
        if let Answer::Message(message) = answer {
            own += usize::from(run.detect_in_message(index, "its manager", message).contains(&index));
        }
    }
    let next = manager.pull(run, name, "reader").await;
    own += usize::from(next.is_some_and(|m| run.is_from(index, &m.payload)));
    canary_stream::delete(run, manager, name).await;
    match messages {
        Some(1) if own > 0 => run.ledger.pass(index, format!("read its own canary by {own} ways, and no other's")),
        Some(n) if n > 1 => {
            run.note_changed(None, index, format!("{name} holds {n} messages, of which it wrote one"));
        }
        _ => run.ledger.not_run(index, format!("its own canary could not be read back: {state}")),
    }
}
