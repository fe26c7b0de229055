//! A message of an imported stream carries a reply subject of the exporter's choice. A user
//! that answers it must still be denied what it may not publish. Between tenants that copy
//! streams this holds for a tenant's own messages too: a message on the subjects of a copy
//! is a command to the server.

use std::cell::RefCell;
use std::collections::HashSet;

use super::Probe;
use super::replies::own_subject;
use crate::model::ShareKind;
use crate::model::names::UserName;
use crate::verify::expected::{concrete, may_publish, may_subscribe};
use crate::verify::run::{Run, TenantRun, each};
use crate::verify::wire::{Message, is_about};

pub const PROBE: Probe = Probe {
    id: "answers",
    proves: "the reply subject of a shared message does not lead an answering user beyond its own permissions",
    mend: "remove `allow_responses` from the user; `tenantry up` renders none",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

/// The users who have yet to answer, each with its tenant.
type Undecided<'p> = HashSet<(usize, &'p UserName)>;

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    // Each delivery of a message counts for the server as an answer to the one before, so that after an even number of
    // them it may refuse one that `allow_responses` allows (2.15.1). Then the user subscribes once more and is asked again.
    const ROUNDS: usize = 5;
    // No user is granted this subject.
    let target = format!("{}.answer", run.token());
    let undecided: RefCell<Undecided<'p>> = RefCell::default();
    let users = tenant_runs.iter().flat_map(|t| t.sessions.iter().map(|session| (t.index, &session.user.name)));
    undecided.borrow_mut().extend(users);
    for round in 1..=ROUNDS {
        ask(run, tenant_runs, &target).await;
        each(tenant_runs, usize::MAX, async |tenant_run| {
            answer(run, tenant_run, &target, round == ROUNDS, &undecided).await;
        })
        .await;
        if undecided.borrow().is_empty() {
            break;
        }
    }
}

/// Every exporter publishes on the streams that it shares, and tenants with copies in their own space, with `target` as reply
/// subject.
async fn ask<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>], target: &str) {
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
                connection.publish_stored_by(&run.common(), &subject, Some(target), said.as_bytes());
            }
            publisher.settle(run).await;
        }
    })
    .await;
    each(tenant_runs, usize::MAX, async |tenant_run| ask_own_tenant(run, tenant_run, target).await).await;
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

/// Every user that received such a message answers it, which the server must deny. `is_last`: whoever cannot be judged
/// now is not tried.
async fn answer<'p>(
    run: &Run<'p>,
    tenant_run: &mut TenantRun<'p>,
    target: &str,
    is_last: bool,
    undecided: &RefCell<Undecided<'p>>,
) {
    let imports: Vec<_> = tenant_run.tenant.imports.iter().filter(|i| i.kind == ShareKind::Stream).collect();
    let copying: Vec<_> = tenant_run.tenant.copying().collect();
    for session in &mut tenant_run.sessions {
        let user = (tenant_run.index, &session.user.name);
        if !undecided.borrow_mut().remove(&user) || !session.settle(run).await {
            continue;
        }
        let is_it = |m: &Message| {
            m.reply.as_deref() == Some(target)
                && (!copying.is_empty() || imports.iter().any(|i| concrete(&i.subject, &run.token()) == m.subject))
        };
        let received: Vec<Message> = session.heard(run).into_iter().filter(is_it).collect();
        let Some(message) = received.iter().find(|m| may_subscribe(session.user, &m.subject)) else { continue };
        let Some(connection) = &mut session.connection else { continue };
        connection.refused.clear();
        connection.publish_stored_by(&run.common(), target, None, b"an answer");
        session.settle(run).await;
        match session.refused().into_iter().find(|words| is_about(words, target)) {
            Some(_) if received.len().is_multiple_of(2) && is_last => {
                let what = format!("whether {} may answer {}", session.user.name, message.subject);
                run.ledger.not_tried(tenant_run.index, what);
            }
            Some(_) if received.len().is_multiple_of(2) => {
                if let Some(connection) = &mut session.connection {
                    connection.subscribe(&message.subject, None);
                }
                session.settle(run).await;
                undecided.borrow_mut().insert(user);
            }
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
