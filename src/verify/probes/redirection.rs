//! Everything that makes the server publish to a subject of the client's choice: deliver
//! subjects of consumers, republishing, and the reply subjects of JetStream requests.

use serde_json::json;

use super::{AT_ONCE, Probe, canary_stream};
use crate::verify::expected::concrete;
use crate::verify::run::{Run, TenantRun, each};

pub const PROBE: Probe = Probe {
    id: "redirection",
    proves: "JetStream cannot be led to write to another tenant's subjects",
    mend: "each tenant needs an account of its own: inside one, JetStream writes to any subject",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    each(tenant_runs, AT_ONCE, async |tenant_run| redirect(run, tenant_run).await).await;
}

async fn redirect<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>) {
    let (index, name) = (tenant_run.index, run.common());
    let Some(subject) = canary_stream::subject(run, tenant_run, "source") else { return };
    let theirs = tenant_run.neighbours.iter().flat_map(|n| run.topology.free_subjects(*n));
    let theirs: Vec<String> = theirs.map(|s| concrete(s, &run.token())).collect();
    let Some(first) = theirs.first().cloned() else { return };
    let canary = run.canary(index);
    if !canary_stream::make(run, tenant_run, &name, &subject, json!({ "republish": { "src": subject, "dest": first } }))
        .await
    {
        return;
    }
    let Some(manager) = tenant_run.manager() else { return };
    // The control comes last: when its message has arrived, the server has sent the others.
    let targets: Vec<String> = theirs.iter().cloned().chain([manager.reply_to("control")]).collect();
    // A consumer delivers only while there is a subscription to exactly its deliver subject.
    if let (Some(connection), Some(control)) = (&mut manager.connection, targets.last()) {
        connection.subscribe(control, None);
    }
    let mut accepted = 0;
    for (i, target) in targets.iter().enumerate() {
        let consumer = json!({ "stream_name": name, "config": {
            "name": format!("pusher{i}"), "deliver_subject": target, "ack_policy": "none", "inactive_threshold": 60_000_000_000u64,
        }});
        let made = manager.api(run, &format!("CONSUMER.CREATE.{name}.pusher{i}"), consumer).await;
        accepted += usize::from(made["error"].is_null());
        let Some(connection) = &mut manager.connection else { return };
        let requests = [
            (format!("$JS.API.DIRECT.GET.{name}"), json!({ "seq": 1 }).to_string()),
            (format!("$JS.API.STREAM.MSG.GET.{name}"), json!({ "seq": 1 }).to_string()),
            (format!("$JS.API.STREAM.INFO.{name}"), String::new()),
            (subject.clone(), canary.clone()),
        ];
        for (to, body) in requests {
            connection.publish_stored_by(&name, &to, Some(target), body.as_bytes());
        }
    }
    // Accepts only a message of the last consumer, not a reply that contains the canary.
    let last = format!("$JS.ACK.{name}.pusher{}.", targets.len() - 1);
    let control = manager.next(run, |m| m.reply.as_deref().is_some_and(|r| r.starts_with(&last))).await.is_some();
    canary_stream::delete(run, manager, &name).await;
    if control {
        let deliveries = accepted + targets.len() * 4;
        run.ledger.pass(
            index,
            format!(
                "{deliveries} deliveries led to {} subjects of others; only those to its own inbox came",
                theirs.len()
            ),
        );
    } else {
        run.ledger.not_run(index, "the delivery to its own inbox did not come either");
    }
}
