//! Streams that a run makes inside a tenant, with a canary in them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::verify::expected::{concrete, may_publish};
use crate::verify::run::{Member, Side, Stage};
use crate::verify::wire::Request;

/// "stream name already in use with a different configuration".
const NAME_IN_USE: u64 = 10058;

/// "subjects overlap with an existing stream".
const OVERLAP: u64 = 10065;

/// A subject of this run that a tenant's manager may publish to: one of a bucket,
/// which no stream of the tenant captures, or one in the tenant's own space.
pub fn subject(stage: &Stage<'_>, side: &mut Side<'_>, last: &str) -> Option<String> {
    let (tenant, bucket) = (side.tenant, format!("$KV.{}.{last}", stage.unique(side.index)));
    let manager = side.manager()?;
    let token = format!("{}.{last}", stage.token());
    let wild = tenant.subjects.iter().filter(|s| s.as_str().ends_with('>'));
    std::iter::once(bucket).chain(wild.map(|s| concrete(s, &token))).find(|s| may_publish(manager.user, s))
}

/// How long a server may be busy with what was deleted.
const PATIENCE: Duration = Duration::from_secs(3);

/// Makes a stream and puts one canary into it, whose acknowledgement proves that
/// it is in there. False if there is none, which is said.
pub async fn make<'p>(stage: &Stage<'p>, side: &mut Side<'p>, name: &str, subject: &str, more: Value) -> bool {
    let (index, storage) = (side.index, side.storage());
    let canary = stage.canary(index);
    let Some(manager) = side.manager() else { return false };
    let mut config = json!({
        "name": name, "subjects": [subject], "storage": storage, "retention": "limits", "discard": "old",
        "max_msgs": 16, "max_bytes": 65536, "num_replicas": 1, "allow_direct": true, "metadata": { "canary": canary },
    });
    if let (Some(config), Some(more)) = (config.as_object_mut(), more.as_object()) {
        config.extend(more.clone());
    }
    let start = Instant::now();
    let made = loop {
        let made = manager.api(stage, &format!("STREAM.CREATE.{name}"), config.clone()).await;
        // A busy server is not done yet with the folder of one that was deleted.
        let is_busy = made["error"]["description"].as_str().is_some_and(|d| d.contains("creating store"));
        if !is_busy || start.elapsed() > PATIENCE {
            break made;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    if made["error"]["err_code"] == NAME_IN_USE {
        stage.leak(None, Some(index), format!("stream {name} is there already, and it is another tenant's"));
        return false;
    }
    if let Some(why) = made["error"]["description"].as_str() {
        let hint = if made["error"]["err_code"] == OVERLAP { "; is another proof running?" } else { "" };
        stage.not_run(index, format!("no stream could be made: {why}{hint}"));
        return false;
    }
    if made.is_null() {
        stage.not_run(index, "JetStream did not answer");
        return false;
    }
    let ack = manager.ask_one(stage, Request { subject: subject.to_owned(), body: canary.into_bytes() }).await.json();
    if ack["stream"] != name {
        stage.not_run(index, format!("stream {name} did not take a message: {ack}"));
        return false;
    }
    if ack["seq"] != 1 {
        stage.leak(None, Some(index), format!("stream {name} was new, and its first message is number {}", ack["seq"]));
    }
    true
}

/// Removes it again.
pub async fn delete<'p>(stage: &Stage<'p>, manager: &mut Member<'p>, name: &str) {
    manager.api(stage, &format!("STREAM.DELETE.{name}"), json!({})).await;
}

/// Every tenant in turn, forward and then backward, does something to what is its
/// own and has the same name everywhere; whoever comes later must find its own
/// untouched. So every ordered pair is tried.
pub async fn sweep<'p>(
    stage: &Stage<'p>,
    sides: &mut [Side<'p>],
    make: impl AsyncFn(&mut Side<'p>) -> bool,
    damage: impl AsyncFn(&mut Side<'p>) -> Option<String>,
    undo: impl AsyncFn(&mut Side<'p>),
) {
    let total = sides.len();
    for backward in [false, true] {
        stage.next_phase();
        let ready = std::cell::RefCell::new(vec![false; total]);
        crate::verify::run::each(sides, super::AT_ONCE, async |side| {
            let made = make(side).await;
            ready.borrow_mut()[side.index] = made;
        })
        .await;
        let mut done = Vec::new();
        for step in 0..total {
            let index = if backward { total - 1 - step } else { step };
            if !ready.borrow()[index] {
                continue;
            }
            match damage(&mut sides[index]).await {
                None => done.push(index),
                Some(found) => {
                    let by = done.last().copied().filter(|_| done.len() == 1);
                    stage.leak(by, Some(index), format!("{found}, after {} others damaged their own", done.len()));
                }
            }
        }
        for index in done {
            let others = total - 1;
            let how = if backward { "after" } else { "before" };
            stage.pass(index, format!("untouched, with {others} others doing the same {how} it in turn"));
        }
        crate::verify::run::each(sides, super::AT_ONCE, async |side| undo(side).await).await;
    }
}
