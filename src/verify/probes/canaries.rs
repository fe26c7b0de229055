//! The round that covers all pairs: every user publishes its tenant's canary to everything it
//! may publish to, while every user subscribes to everything it may.

use super::Probe;
use crate::subject::Subject;
use crate::verify::expected::{concrete, depths, listed, may_subscribe};
use crate::verify::run::{Run, Session, TenantRun, each};
use crate::verify::wire::Message;

pub const PROBE: Probe = Probe {
    id: "canaries",
    proves: "messages of a tenant, on any subject it may publish on, reach its own users and no other tenant",
    mend: "`tenantry explain --from A --to B` shows the path in what is rendered; if it shows none, the server runs another configuration",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

/// In the evidence of a message that a user receives beyond its list.
pub const NOT_GRANTED: &str = "which it is not granted";

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    each(tenant_runs, usize::MAX, async |tenant_run| subscribe_to_granted(run, tenant_run).await).await;
    each(tenant_runs, usize::MAX, async |tenant_run| publish_canaries(run, tenant_run).await).await;
    // The server has processed every publish by now, so a message that has not arrived
    // before the next PONG does not arrive.
    each(tenant_runs, usize::MAX, async |tenant_run| check_received(run, tenant_run).await).await;
}

/// Every user subscribes to everything that it is granted.
async fn subscribe_to_granted<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>) {
    for session in &mut tenant_run.sessions {
        let Some(connection) = &mut session.connection else { continue };
        connection.refused.clear();
        // The inbox is subscribed to already; a second subscription would receive every
        // reply twice.
        let inbox = format!("{}.x", session.user.inbox_prefix());
        let is_inbox = |s: &&Subject| Subject::as_the_server_reads(&inbox).is_some_and(|inbox| s.contains(&inbox));
        for subject in listed(&session.user.permissions.subscribe).iter().filter(|s| !is_inbox(s)) {
            connection.subscribe(subject.as_str(), None);
            if let Some(widened) = subject.widened() {
                connection.subscribe(widened.as_str(), None);
            }
        }
        // Also subscribes to the exact subjects that other tenants' consumers try to deliver to:
        // a consumer delivers only while there is a subscription to exactly its deliver subject.
        let own = run
            .topology
            .free_subjects(tenant_run.index)
            .filter(|s| s.has_wildcard())
            .map(|s| concrete(s, &run.token()));
        for subject in own.filter(|s| may_subscribe(session.user, s)) {
            connection.subscribe(&subject, None);
        }
        session.settle(run).await;
        for words in session.refused() {
            run.ledger.not_run(
                tenant_run.index,
                format!("{} may not listen where it was granted: {words}", session.user.name),
            );
        }
    }
}

/// The subjects on which a user says canaries, without those that would be somebody's job.
fn publish_subjects(run: &Run<'_>, session: &Session<'_>) -> Vec<String> {
    let subjects = run.canary_subjects(session.tenant, session.user).into_iter();
    subjects.filter(|subject| !run.has_workers(session.tenant, subject)).collect()
}

/// Every user publishes its tenant's canary to everything that it is granted.
pub async fn publish_canaries<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>) {
    for session in &mut tenant_run.sessions {
        let subjects = publish_subjects(run, session);
        let Some(connection) = &mut session.connection else { continue };
        connection.refused.clear();
        for subject in &subjects {
            connection.publish_stored_by(&run.common(), subject, None, run.says(tenant_run.index, subject).as_bytes());
        }
        session.settle(run).await;
        for words in session.refused() {
            run.ledger.not_run(
                tenant_run.index,
                format!("{} may not publish where it was granted: {words}", session.user.name),
            );
        }
    }
}

/// Looks for canaries in everything that arrived. As the control, every user must have received
/// its own tenant's canaries on the subjects that it may subscribe to.
async fn check_received<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>) {
    if tenant_run.sessions.iter().all(|m| m.connection.is_none()) {
        return;
    }
    let connected = tenant_run.sessions.iter().filter(|m| m.connection.is_some());
    let published: Vec<String> = connected.flat_map(|m| publish_subjects(run, m)).collect();
    for subject in run.topology.free_subjects(tenant_run.index) {
        if depths(subject, &run.token()).iter().any(|text| run.has_workers(tenant_run.index, text)) {
            run.ledger.not_tried(
                tenant_run.index,
                format!("`{subject}`: who takes it from a queue, or a stream, may get the message"),
            );
        }
    }
    let (mut received, mut missed) = (0, Vec::new());
    for session in &mut tenant_run.sessions {
        if !session.settle(run).await {
            continue;
        }
        let messages = session.heard(run);
        let arrived = |subject: &String| {
            let is_own = |m: &Message| m.subject == *subject && run.is_from(tenant_run.index, &m.payload);
            messages.iter().any(is_own)
        };
        let is_beyond =
            |m: &&Message| run.is_from(tenant_run.index, &m.payload) && !may_subscribe(session.user, &m.subject);
        if let Some(message) = messages.iter().find(is_beyond) {
            let evidence = format!("{} hears {}, {NOT_GRANTED}", session.user.name, message.subject);
            run.ledger.leak(Some(tenant_run.index), None, evidence);
        }
        let expected: Vec<&String> = published.iter().filter(|s| may_subscribe(session.user, s)).collect();
        let missing = expected.iter().find(|s| run.topology.is_own_space(tenant_run.index, s) && !arrived(s));
        match missing {
            Some(subject) => missed.push(format!("{} did not hear its own tenant on {subject}", session.user.name)),
            None => received += expected.len(),
        }
    }
    if let Some(why) = missed.into_iter().next() {
        run.ledger.not_run(tenant_run.index, why);
    } else if received > 0 {
        let others = run.model.tenants.len() - 1;
        run.ledger.pass(
            tenant_run.index,
            format!("heard its own {received} times, and nothing undeclared of {others} others"),
        );
    } else if published.is_empty() {
        run.ledger.pass(tenant_run.index, "none of its users publishes where it would be somebody's real message");
    } else {
        run.ledger.pass(
            tenant_run.index,
            "nobody of its own may listen where it speaks; each connection answered afterwards",
        );
    }
}
