//! A message of an imported stream carries a reply subject of the exporter's choice. A user
//! that answers it must still be denied what it may not publish. Between tenants that copy
//! streams this holds for a tenant's own messages too: a message on the subjects of a copy
//! is a command to the server.

use super::Probe;
use super::replies::own_subject;
use crate::model::ShareKind;
use crate::verify::expected::{concrete, may_publish, may_subscribe};
use crate::verify::run::{Run, TenantRun, each};
use crate::verify::wire::is_about;

pub const PROBE: Probe = Probe {
    id: "answers",
    proves: "the reply subject of a shared message does not lead an answering user beyond its own permissions",
    mend: "remove `allow_responses` from the user; `tenantry up` renders none",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    // No user is granted this subject.
    let target = format!("{}.answer", run.token());
    each(tenant_runs, usize::MAX, async |tenant_run| {
        let canary = run.canary(tenant_run.index);
        let exports = tenant_run.tenant.exports.iter().filter(|e| e.kind == ShareKind::Stream);
        let subjects = exports.map(|e| concrete(&e.subject, &run.token())).filter(|s| !run.has_workers(s));
        let subjects: Vec<String> = subjects.collect();
        for subject in subjects {
            let publisher =
                tenant_run.sessions.iter_mut().find(|m| m.connection.is_some() && may_publish(m.user, &subject));
            let Some(publisher) = publisher.filter(|_| run.throwaway || subject.contains(&run.token())) else {
                continue;
            };
            if let Some(connection) = &mut publisher.connection {
                let said = run.said_on(&canary, &subject);
                connection.publish_stored_by(&run.common(), &subject, Some(&target), said.as_bytes());
            }
            publisher.settle(run).await;
        }
    })
    .await;
    each(tenant_runs, usize::MAX, async |tenant_run| ask_own_tenant(run, tenant_run, &target).await).await;
    each(tenant_runs, usize::MAX, async |tenant_run| answer(run, tenant_run, &target).await).await;
}

/// In a tenant that copies streams, or whose streams are copied, one user publishes a message
/// in its own space with `target` as its reply subject.
async fn ask_own_tenant<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>, target: &str) {
    if tenant_run.tenant.copying().next().is_none() {
        return;
    }
    for session in &mut tenant_run.sessions {
        let Some(subject) = own_subject(run, session.user, tenant_run.index) else { continue };
        if let Some(connection) = &mut session.connection {
            connection.publish_stored_by(&run.common(), &subject, Some(target), b"a question");
            session.settle(run).await;
            return;
        }
    }
}

/// Every user that received such a message answers it, which the server must deny.
async fn answer<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>, target: &str) {
    let imports: Vec<_> = tenant_run.tenant.imports.iter().filter(|i| i.kind == ShareKind::Stream).collect();
    let copying: Vec<_> = tenant_run.tenant.copying().collect();
    for session in &mut tenant_run.sessions {
        if !session.settle(run).await {
            continue;
        }
        let received = session.heard(run).into_iter().find(|m| {
            m.reply.as_deref() == Some(target)
                && (!copying.is_empty() || imports.iter().any(|i| concrete(&i.subject, &run.token()) == m.subject))
        });
        let Some(message) = received.filter(|m| may_subscribe(session.user, &m.subject)) else { continue };
        let Some(connection) = &mut session.connection else { continue };
        connection.refused.clear();
        connection.publish_stored_by(&run.common(), target, None, b"an answer");
        session.settle(run).await;
        match session.refused().into_iter().find(|words| is_about(words, target)) {
            Some(words) => run.ledger.pass(
                tenant_run.index,
                format!("{} heard {} and may not answer: {words}", session.user.name, message.subject),
            ),
            None => {
                let import = imports.iter().find(|i| concrete(&i.subject, &run.token()) == message.subject);
                let evidence =
                    format!("{} answers {} where its sender likes: {target}", session.user.name, message.subject);
                if let Some(import) = import {
                    run.ledger.leak(run.topology.place(&import.from), Some(tenant_run.index), evidence);
                    continue;
                }
                // Its own tenant's question leads it onto the subjects of each copy, which
                // command the server of the other end.
                for other in &copying {
                    run.ledger.leak(Some(tenant_run.index), run.topology.place(other), &evidence);
                }
            }
        }
    }
}
