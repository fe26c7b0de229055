//! Everything that makes the server publish to a subject of the client's choice: deliver
//! subjects of consumers, republishing, and the reply subjects of JetStream requests.

use serde_json::json;

use super::{AT_ONCE, Probe, canary_stream, foreign_targets};
use crate::verify::run::{Run, Session, TenantRun, each, is_ack_of};

pub const PROBE: Probe = Probe {
    id: "redirection",
    proves: "no user can make JetStream write to another tenant's subjects",
    mend: "give each tenant its own account: inside one account, JetStream writes to any subject",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    each(tenant_runs, AT_ONCE, async |tenant_run| redirect(run, tenant_run).await).await;
}

async fn redirect<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>) {
    let (index, name) = (tenant_run.index, run.common());
    let Some(subject) = canary_stream::subject(run, tenant_run, "source") else { return };
    let theirs = foreign_targets(run, tenant_run).await;
    let Some(first) = theirs.first().cloned() else { return };
    if !canary_stream::make(run, tenant_run, &name, &subject, json!({ "republish": { "src": subject, "dest": first } }))
        .await
    {
        return;
    }
    // A stream has no more consumers than the tenant may have, the control among them.
    let most = tenant_run.tenant.jetstream.map_or(1, |limits| usize::try_from(limits.consumers).unwrap_or(usize::MAX));
    let Some(manager) = tenant_run.manager() else { return };
    let (mut control, mut deliveries) = (true, 0);
    for some in theirs.chunks(most.saturating_sub(1).max(1)) {
        let (came, led) = lead(run, manager, (&name, &subject), some, most).await;
        control &= came;
        deliveries += led;
    }
    canary_stream::delete(run, manager, &name).await;
    if control {
        let what = format!(
            "{deliveries} deliveries led to {} subjects of others; only those to its own inbox came",
            theirs.len()
        );
        run.ledger.pass(index, what);
    } else {
        run.ledger.not_run(index, "the delivery to its own inbox did not come either");
    }
}

/// Leads everything that the stream can deliver to each target, and to the own inbox last. Returns whether
/// that came, and how much was led.
async fn lead<'p>(
    run: &Run<'p>,
    manager: &mut Session<'p>,
    (name, subject): (&str, &str),
    theirs: &[String],
    most: usize,
) -> (bool, usize) {
    // The control comes last: when its message has arrived, the server has sent the others.
    let targets: Vec<String> = theirs.iter().cloned().chain([manager.reply_to("control")]).collect();
    // A consumer delivers only while there is a subscription to exactly its deliver subject.
    if let (Some(connection), Some(control)) = (&mut manager.connection, targets.last()) {
        connection.subscribe(control, None);
    }
    let mut made = Vec::new();
    let mut accepted = 0;
    for (i, target) in targets.iter().enumerate() {
        let consumer = json!({ "stream_name": name, "config": {
            "name": format!("pusher{i}"), "deliver_subject": target, "ack_policy": "none", "inactive_threshold": 60_000_000_000u64,
        }});
        if made.len() == most {
            remove(run, manager, name, made.drain(..1)).await;
        }
        let answer = manager.api(run, &format!("CONSUMER.CREATE.{name}.pusher{i}"), consumer).await;
        if answer["error"].is_null() {
            accepted += 1;
            made.push(i);
        }
        let Some(connection) = &mut manager.connection else { return (false, 0) };
        let requests = [
            (format!("$JS.API.DIRECT.GET.{name}"), json!({ "seq": 1 }).to_string()),
            (format!("$JS.API.STREAM.MSG.GET.{name}"), json!({ "seq": 1 }).to_string()),
            (format!("$JS.API.STREAM.INFO.{name}"), String::new()),
            (subject.to_owned(), run.says(manager.tenant, subject)),
        ];
        for (to, body) in requests {
            connection.publish_stored_by(name, &to, Some(target), body.as_bytes());
        }
    }
    // Accepts only a message of the last consumer, not a reply that contains the canary.
    let last = format!("pusher{}", targets.len() - 1);
    let came = manager.next(run, |m| m.reply.as_deref().is_some_and(|r| is_ack_of(r, name, &last))).await.is_some();
    remove(run, manager, name, made.into_iter()).await;
    (came, accepted + targets.len() * 4)
}

/// Deletes consumers that [`lead`] made.
async fn remove<'p>(run: &Run<'p>, manager: &mut Session<'p>, stream: &str, made: impl Iterator<Item = usize>) {
    for i in made {
        manager.api(run, &format!("CONSUMER.DELETE.{stream}.pusher{i}"), json!({})).await;
    }
}
