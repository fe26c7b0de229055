//! A message of an imported stream carries a reply subject of the exporter's choice. A user
//! that answers it must still be denied what it may not publish. Between tenants that copy
//! streams this holds for a tenant's own messages too: a message on the subjects of a copy
//! is a command to the server.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};

use super::Probe;
use super::replies::own_subject;
use crate::model::ShareKind;
use crate::model::names::UserName;
use crate::verify::expected::{concrete, may_publish, may_subscribe};
use crate::verify::run::{Run, TenantRun, each};
use crate::verify::wire::is_about;

pub const PROBE: Probe = Probe {
    id: "answers",
    proves: "the reply subject of a shared message does not lead an answering user beyond its own permissions",
    mend: "remove `allow_responses` from the user; `tenantry up` renders none",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

/// What is judged: a user with its tenant, and the reply subject of what it heard.
type Judged<'p> = HashSet<(usize, &'p UserName, String)>;

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    // Each delivery of a message counts for the server as an answer to the one before, so that after an even number of
    // them it may refuse one that `allow_responses` allows (2.15.1). Then the user subscribes once more and is asked again.
    // For the same reason each share has a reply subject of its own.
    const ROUNDS: usize = 5;
    // No user is granted these subjects.
    let target = format!("{}.answer", run.token());
    let judged: RefCell<Judged<'p>> = RefCell::default();
    for round in 1..=ROUNDS {
        ask(run, tenant_runs, &target).await;
        let is_open = Cell::new(false);
        each(tenant_runs, usize::MAX, async |tenant_run| {
            if answer(run, tenant_run, &target, round == ROUNDS, &judged).await {
                is_open.set(true);
            }
        })
        .await;
        if !is_open.get() {
            break;
        }
    }
}

/// Every exporter publishes on the streams that it shares, and tenants with copies in their own space, with reply subjects
/// below `target`.
async fn ask<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>], target: &str) {
    each(tenant_runs, usize::MAX, async |tenant_run| {
        let exports = tenant_run.tenant.exports.iter().filter(|e| e.kind == ShareKind::Stream);
        let subjects =
            exports.map(|e| concrete(&e.subject, &run.token())).filter(|s| !run.has_workers(tenant_run.index, s));
        let subjects: Vec<String> = subjects.collect();
        for (i, subject) in subjects.into_iter().enumerate() {
            let reply = format!("{target}.{}.{i}", tenant_run.index);
            let publisher =
                tenant_run.sessions.iter_mut().find(|m| m.connection.is_some() && may_publish(m.user, &subject));
            let Some(publisher) = publisher.filter(|_| run.throwaway || subject.contains(&run.token())) else {
                continue;
            };
            if let Some(connection) = &mut publisher.connection {
                let said = run.says(tenant_run.index, &subject);
                connection.publish_stored_by(&run.common(), &subject, Some(&reply), said.as_bytes());
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
            let reply = format!("{target}.{}.own", tenant_run.index);
            connection.publish_stored_by(&run.common(), &subject, Some(&reply), b"a question");
            session.settle(run).await;
            return;
        }
    }
}

/// Every user that received such a message answers it, which the server must deny. `is_last`: whoever cannot be judged
/// now is not tried. Returns whether somebody has to be asked again.
async fn answer<'p>(
    run: &Run<'p>,
    tenant_run: &mut TenantRun<'p>,
    target: &str,
    is_last: bool,
    judged: &RefCell<Judged<'p>>,
) -> bool {
    let imports: Vec<_> = tenant_run.tenant.imports.iter().filter(|i| i.kind == ShareKind::Stream).collect();
    let copying: Vec<_> = tenant_run.tenant.copying().collect();
    let mut is_open = false;
    for session in &mut tenant_run.sessions {
        if !session.settle(run).await {
            continue;
        }
        // The subject and the number of deliveries, by reply subject.
        let mut heard: BTreeMap<String, (String, usize)> = BTreeMap::new();
        for message in session.heard(run) {
            let of_share = imports.iter().any(|i| concrete(&i.subject, &run.token()) == message.subject);
            let Some(reply) = message.reply.filter(|reply| reply.starts_with(target)) else { continue };
            if (of_share || !copying.is_empty()) && may_subscribe(session.user, &message.subject) {
                heard.entry(reply).or_insert((message.subject, 0)).1 += 1;
            }
        }
        for (reply, (subject, deliveries)) in heard {
            let this = (tenant_run.index, &session.user.name, reply.clone());
            if judged.borrow().contains(&this) {
                continue;
            }
            let Some(connection) = &mut session.connection else { break };
            connection.refused.clear();
            connection.publish_stored_by(&run.common(), &reply, None, b"an answer");
            session.settle(run).await;
            let refusal = session.refused().into_iter().find(|words| is_about(words, &reply));
            if refusal.is_some() && deliveries.is_multiple_of(2) && !is_last {
                if let Some(connection) = &mut session.connection {
                    connection.subscribe(&subject, None);
                }
                session.settle(run).await;
                is_open = true;
                continue;
            }
            judged.borrow_mut().insert(this);
            let user = &session.user.name;
            match refusal {
                Some(_) if deliveries.is_multiple_of(2) => {
                    run.ledger.not_tried(tenant_run.index, format!("whether {user} may answer {subject}"));
                }
                Some(words) => {
                    run.ledger.pass(tenant_run.index, format!("{user} heard {subject} and may not answer: {words}"));
                }
                None => {
                    let import = imports.iter().find(|i| concrete(&i.subject, &run.token()) == subject);
                    let evidence = format!("{user} answers {subject} where its sender likes: {reply}");
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
    is_open
}
