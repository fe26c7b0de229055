//! The server does not check the reply subject of a message, and a responder publishes to
//! whatever the requester put there. That works inside one account and must not reach another.

use super::{Probe, foreign_targets};
use crate::verify::expected::{concrete, listed, may_publish};
use crate::verify::run::{Run, TenantRun, each};
use crate::verify::wire::Connection;

pub const PROBE: Probe = Probe {
    id: "replies",
    proves: "an answer whose reply subject is another tenant's does not arrive there",
    mend: "let other tenants send requests to users who answer through a declared service only",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    each(tenant_runs, usize::MAX, async |tenant_run| ask(run, tenant_run).await).await;
    each(tenant_runs, usize::MAX, async |tenant_run| answer(run, tenant_run).await).await;
}

/// Every user publishes requests whose reply subjects are its neighbours', and one whose reply
/// subject is in its own inbox, which is the control.
async fn ask<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>) {
    let theirs = foreign_targets(run, tenant_run).await;
    let canary = run.canary(tenant_run.index);
    for session in &mut tenant_run.sessions {
        let Some(subject) = own_subject(run, session.user, tenant_run.index) else { continue };
        let control = session.can_ask.then(|| session.reply_to("control"));
        let Some(connection) = &mut session.connection else { continue };
        for reply in theirs.iter().chain(&control) {
            connection.publish_stored_by(&run.common(), &subject, Some(reply), canary.as_bytes());
        }
        session.settle(run).await;
    }
}

/// A subject of this run in the tenant's own space that a user may publish to.
pub(super) fn own_subject(run: &Run<'_>, user: &crate::model::User, place: usize) -> Option<String> {
    let free = run.topology.free_subjects(place);
    free.map(|s| concrete(s, &run.token())).find(|s| may_publish(user, s) && !run.has_workers(s))
}

/// Every user that received a request publishes an answer to its reply subject.
async fn answer<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>) {
    let canary = run.canary(tenant_run.index);
    let mut answered = 0;
    for session in &mut tenant_run.sessions {
        if !session.settle(run).await {
            continue;
        }
        let received = session.heard(run);
        let may_answer = !listed(&session.user.permissions.publish).is_empty();
        let Some(connection) = session.connection.as_mut().filter(|_| may_answer) else { continue };
        for reply in received.iter().filter_map(|m| m.reply.as_deref()).filter(|r| !r.starts_with('$')) {
            connection.publish_stored_by(&run.common(), reply, None, canary.as_bytes());
            answered += 1;
        }
        // A denied answer reaches no other tenant either, so denials are dropped.
        session.settle(run).await;
        session.refused();
    }
    if answered == 0 {
        return;
    }
    let control = tenant_run.sessions.iter_mut().filter_map(|m| m.connection.as_mut());
    let arrived = control.flat_map(Connection::late_answers).any(|m| run.is_from(tenant_run.index, &m.payload));
    let control = if arrived { "the answers to its own inboxes came" } else { "its own users may not answer" };
    run.ledger.pass(tenant_run.index, format!("{answered} questions answered, some to others' subjects; {control}"));
}
