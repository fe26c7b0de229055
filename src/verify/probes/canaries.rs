//! The round that proves all pairs: everybody says something unguessable wherever
//! it may, while everybody listens to all that it may.

use super::Probe;
use crate::subject::Subject;
use crate::verify::expected::{concrete, listed, may_subscribe};
use crate::verify::run::{Run, Session, TenantRun, each};

pub const PROBE: Probe = Probe {
    id: "canaries",
    proves: "what a tenant publishes, wherever it may, arrives at no other; and its own users hear it",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    each(tenant_runs, usize::MAX, async |tenant_run| listen(run, tenant_run).await).await;
    each(tenant_runs, usize::MAX, async |tenant_run| speak(run, tenant_run).await).await;
    // Everything was dealt with before anybody looks, so what has not come by the
    // PONG does not come.
    each(tenant_runs, usize::MAX, async |tenant_run| look(run, tenant_run).await).await;
}

/// Everybody subscribes to everything that it was granted.
async fn listen<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>) {
    for session in &mut tenant_run.sessions {
        let Some(connection) = &mut session.connection else { continue };
        connection.refused.clear();
        // Answers are listened to already, and would come twice.
        let inbox = format!("{}.x", session.user.inbox_prefix());
        let is_inbox = |s: &&Subject| Subject::as_the_server_reads(&inbox).is_some_and(|inbox| s.contains(&inbox));
        for subject in listed(&session.user.permissions.subscribe).iter().filter(|s| !is_inbox(s)) {
            connection.subscribe(subject.as_str(), None);
        }
        // And to exactly what others may aim at: a consumer delivers to no less.
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

/// Where a user says something: in everything that it may publish to but the
/// server's own spaces, which have their own probes.
fn surfaces(run: &Run<'_>, session: &Session<'_>) -> Vec<String> {
    let own = listed(&session.user.permissions.publish).iter().filter(|s| !s.first_token().starts_with(['$', '_']));
    // On a server that is in use, a subject without a wildcard is somebody's real one.
    let free = own.filter(|s| run.throwaway || s.has_wildcard());
    // Not every way through is as wide as what may be published.
    let deeper = |s: &Subject| {
        let (token, is_open) = (run.token(), s.as_str().ends_with('>'));
        let at = concrete(s, &token);
        if is_open { vec![format!("{at}.{token}.{token}"), format!("{at}.{token}"), at] } else { vec![at] }
    };
    free.flat_map(deeper).filter(|s| run.topology.may_speak(session.tenant, s)).collect()
}

pub async fn speak<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>) {
    let canary = run.canary(tenant_run.index);
    for session in &mut tenant_run.sessions {
        let subjects = surfaces(run, session);
        let Some(connection) = &mut session.connection else { continue };
        connection.refused.clear();
        for subject in &subjects {
            connection.publish(subject, None, run.said_on(&canary, subject).as_bytes());
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

async fn look<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>) {
    if tenant_run.sessions.iter().all(|m| m.connection.is_none()) {
        return;
    }
    let speaking = tenant_run.sessions.iter().filter(|m| m.connection.is_some());
    let said: Vec<String> = speaking.flat_map(|m| surfaces(run, m)).collect();
    let (mut heard, mut deaf) = (0, Vec::new());
    for session in &mut tenant_run.sessions {
        if !session.settle(run).await {
            continue;
        }
        let messages = session.heard(run);
        let own = |subject: &String| {
            let is_own =
                |m: &crate::verify::wire::Message| m.subject == *subject && run.is_from(tenant_run.index, &m.payload);
            messages.iter().any(is_own)
        };
        let expected: Vec<&String> = said.iter().filter(|s| may_subscribe(session.user, s)).collect();
        let missing = expected.iter().find(|s| run.topology.is_own_space(tenant_run.index, s) && !own(s));
        match missing {
            Some(subject) => deaf.push(format!("{} did not hear its own tenant on {subject}", session.user.name)),
            None => heard += expected.len(),
        }
    }
    if let Some(why) = deaf.into_iter().next() {
        run.ledger.not_run(tenant_run.index, why);
    } else if heard > 0 {
        let others = run.model.tenants.len() - 1;
        run.ledger
            .pass(tenant_run.index, format!("heard its own {heard} times, and nothing undeclared of {others} others"));
    } else if said.is_empty() {
        run.ledger.pass(tenant_run.index, "none of its users publishes where it would be somebody's real message");
    } else {
        run.ledger.pass(
            tenant_run.index,
            "nobody of its own may listen where it speaks; each connection answered afterwards",
        );
    }
}
