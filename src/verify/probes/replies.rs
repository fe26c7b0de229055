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
    for session in &mut tenant_run.sessions {
        let Some(subject) = own_subject(run, session.user, tenant_run.index) else { continue };
        let control = session.can_ask.then(|| session.reply_to("control"));
        let Some(connection) = &mut session.connection else { continue };
        for reply in theirs.iter().chain(&control) {
            let said = run.asks(tenant_run.index, &subject, reply);
            connection.publish_stored_by(&run.common(), &subject, Some(reply), said.as_bytes());
        }
        session.settle(run).await;
    }
}

/// A subject of this run in the tenant's own space that a user may publish to.
pub(super) fn own_subject(run: &Run<'_>, user: &crate::model::User, place: usize) -> Option<String> {
    let free = run.topology.free_subjects(place);
    free.map(|s| concrete(s, &run.token())).find(|s| may_publish(user, s) && !run.has_workers(place, s))
}

/// Every user that received a request publishes an answer to its reply subject.
async fn answer<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>) {
    let mut answered = 0;
    for session in &mut tenant_run.sessions {
        if !session.settle(run).await {
            continue;
        }
        let received = session.heard(run);
        let may_answer = !listed(&session.user.permissions.publish).is_empty();
        let Some(connection) = session.connection.as_mut().filter(|_| may_answer) else { continue };
        // On a server in use others ask as well, also with what they heard of the run, and expect the answers of those whom they asked.
        let asked = received.iter().filter(|m| run.throwaway || run.is_asked(tenant_run.index, m));
        for reply in asked.filter_map(|m| m.reply.as_deref()).filter(|r| !r.starts_with('$')) {
            let said = run.says(tenant_run.index, reply);
            connection.publish_stored_by(&run.common(), reply, None, said.as_bytes());
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::verify::fixtures::{ORDERS, Reply, SHARING, System, connect, message};
    use crate::verify::wire::Message;

    /// The reply subjects on which the user `app` of `ORDERS` answers its own tenant's question and another client's.
    async fn answered(throwaway: bool) -> Vec<String> {
        let system = System::load(SHARING);
        let plan = system.plan(throwaway);
        let run = Run::new(&plan, vec!["replies"]);
        run.begin("replies");
        let mut tenant_runs = run.tenant_runs();
        let answers = Arc::new(Mutex::new(Vec::new()));
        let said = Arc::clone(&answers);
        let connection = connect(move |line| {
            if let Some(subject) = line.strip_prefix("HPUB ").and_then(|rest| rest.split(' ').next()) {
                said.lock().expect("no panic").push(subject.to_owned());
            }
            Reply::Default
        });
        let mut connection = connection.await;
        let asked = |payload: &str, reply: &str| Message { reply: Some(reply.into()), ..message("ORDERS.a", payload) };
        let own = run.asks(ORDERS, "ORDERS.a", "own");
        let passed_on = Message { reply: Some("own".into()), ..message("ORDERS.b", &own) };
        connection.heard =
            vec![asked(&own, "own"), asked("how much?", "of-a-client"), asked(&own, "of-who-heard-it"), passed_on];
        tenant_runs[ORDERS].sessions[0].connection = Some(connection);
        answer(&run, &mut tenant_runs[ORDERS]).await;
        answers.lock().expect("no panic").clone()
    }

    #[tokio::test]
    async fn on_a_server_in_use_only_the_runs_own_questions_are_answered() {
        assert_eq!(answered(true).await, ["own", "of-a-client", "of-who-heard-it", "own"], "the control");
        assert_eq!(answered(false).await, ["own"]);
    }
}
