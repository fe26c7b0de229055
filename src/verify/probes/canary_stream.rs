//! Streams that a run creates in a tenant, each with a canary in its metadata and its first
//! message.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::subject::Subject;
use crate::verify::expected::{concrete, may_publish};
use crate::verify::run::{ANY_BUCKET, Run, Session, TenantRun};
use crate::verify::wire::{Answer, Request};

/// JetStream error code: stream name already in use with a different configuration.
const NAME_IN_USE: u64 = 10058;

/// JetStream error code: subjects overlap with an existing stream.
const OVERLAP: u64 = 10065;

/// JetStream error code: the account has as many streams as its limit allows.
const MAXIMUM_STREAMS: u64 = 10027;

/// JetStream error code: no storage is left, of the account or of the server.
const NO_STORAGE: u64 = 10047;

/// A subject of this run that a tenant's manager may publish to: preferably one of a bucket,
/// which no stream of the tenant captures, else one in the tenant's own space.
pub fn subject(run: &Run<'_>, tenant_run: &mut TenantRun<'_>, last: &str) -> Option<String> {
    let (tenant, index) = (tenant_run.tenant, tenant_run.index);
    let bucket = format!("$KV.{}.{last}", run.unique(index));
    let manager = tenant_run.manager()?;
    let token = run.token();
    // Which of its subjects it is makes no difference: a probe has one such stream at a time.
    let wild = tenant.subjects.iter().filter(|s| s.as_str().ends_with('>'));
    let own = wild.map(|s| concrete(s, &format!("{token}.{token}"))).filter(|s| !run.has_workers(index, s));
    let is_captured =
        |s: &String| Subject::as_the_server_reads(s).is_some_and(|s| run.is_captured(index, &s) == Some(true));
    let bucket = std::iter::once(bucket).filter(|_| !run.has_workers(index, ANY_BUCKET));
    bucket.chain(own).find(|s| may_publish(manager.user, s) && !is_captured(s))
}

/// How long the server may take to remove the files of a deleted stream.
const PATIENCE: Duration = Duration::from_secs(3);

/// Creates a stream and publishes one canary to it; the acknowledgement proves that the
/// stream stored it. False, with the reason in the ledger, if either fails.
pub async fn make<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>, name: &str, subject: &str, more: Value) -> bool {
    let (index, storage) = (tenant_run.index, tenant_run.storage());
    let sign = run.signs(index);
    let Some(manager) = tenant_run.manager() else { return false };
    let mut config = json!({
        "name": name, "subjects": [subject], "storage": storage, "retention": "limits", "discard": "old",
        "max_msgs": 16, "max_bytes": 65536, "num_replicas": 1, "allow_direct": true, "metadata": { "canary": sign },
    });
    if let (Some(config), Some(more)) = (config.as_object_mut(), more.as_object()) {
        config.extend(more.clone());
    }
    let start = Instant::now();
    let made = loop {
        let made = manager.api(run, &format!("STREAM.CREATE.{name}"), config.clone()).await;
        // The server may still be removing the folder of a deleted stream of this name.
        let is_busy = made["error"]["description"].as_str().is_some_and(|d| d.contains("creating store"));
        if !is_busy || start.elapsed() > PATIENCE {
            break made;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    if made["error"]["err_code"] == NAME_IN_USE {
        run.note_changed(None, index, format!("stream {name} is there already, and not as it would be made here"));
        return false;
    }
    if made["error"].is_object() {
        refused(run, tenant_run, &made["error"]);
        return false;
    }
    if made.is_null() {
        run.ledger.not_run(index, "JetStream did not answer");
        return false;
    }
    let first = Request {
        subject: subject.to_owned(),
        body: run.says(index, subject).into_bytes(),
        stored_by: Some(name.to_owned()),
    };
    let ack = loop {
        let ack = manager.ask_one(run, first.clone()).await;
        // In a cluster the stream's leader may not listen yet: then nobody has the message.
        if !matches!(ack, Answer::Nobody) || start.elapsed() > PATIENCE {
            break ack.json();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    has_stored(run, index, name, &ack)
}

/// Records why the server makes no stream for an attack.
pub fn refused<'p>(run: &Run<'p>, tenant_run: &TenantRun<'p>, error: &Value) {
    let (index, why) = (tenant_run.index, error["description"].as_str().unwrap_or_default());
    match (error["err_code"].as_u64(), tenant_run.lacks_room()) {
        (Some(MAXIMUM_STREAMS), _) => {
            run.ledger.not_tried(index, "JetStream: its limit allows no stream beside those that it has");
        }
        (Some(NO_STORAGE), Some(why)) => run.ledger.not_tried(index, why),
        (Some(OVERLAP), _) => {
            run.ledger.not_run(index, format!("no stream could be made: {why}; does another stream capture these subjects, or does another proof run?"));
        }
        _ => run.ledger.not_run(index, format!("no stream could be made: {why}")),
    }
}

/// Judges the acknowledgement of a new stream's first message. A message that was there
/// before it is another tenant's.
fn has_stored(run: &Run<'_>, index: usize, name: &str, ack: &Value) -> bool {
    if ack["stream"] != name {
        run.ledger.not_run(index, format!("stream {name} did not take a message: {ack}"));
        return false;
    }
    if ack["seq"] != 1 {
        run.note_changed(None, index, format!("stream {name} was new, and its first message is number {}", ack["seq"]));
    }
    true
}

/// Deletes a stream.
pub async fn delete<'p>(run: &Run<'p>, manager: &mut Session<'p>, name: &str) {
    manager.api(run, &format!("STREAM.DELETE.{name}"), json!({})).await;
}

/// Tests whether damage in one tenant reaches another. `make` creates something of the same
/// name in every tenant. Then each tenant in turn checks that its own is unchanged and damages
/// it; `damage` returns what was changed, or `None`. A second round in reverse order covers
/// the other half of the ordered pairs.
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
                    run.note_changed(by, index, format!("{found}, after {} others damaged their own", done.len()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fixtures::{ORDERS, SHARING, System, checks};
    use crate::verify::report::Outcome;

    #[test]
    fn a_new_stream_with_messages_is_another_tenants() {
        let system = System::load(SHARING);
        let plan = system.plan(true);
        let judged = |ack: Value| {
            let run = Run::new(&plan, vec!["streams"]);
            run.begin("streams");
            let stored = has_stored(&run, ORDERS, "S", &ack);
            (stored, checks(run).iter().map(|c| c.outcome).max())
        };
        assert_eq!(judged(json!({ "stream": "S", "seq": 2 })), (true, Some(Outcome::Leak)));
        assert!(judged(json!({ "stream": "S", "seq": 1 })).0, "the control");
        assert_ne!(judged(json!({ "stream": "S", "seq": 1 })).1, Some(Outcome::Leak), "the control");
        assert_eq!(judged(json!({ "error": "full" })), (false, Some(Outcome::NotRun)));
    }
}
