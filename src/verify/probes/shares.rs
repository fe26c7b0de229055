//! Declared shares work. Without this control, "nothing arrived" would also hold on a server
//! that delivers nothing at all.

use serde_json::Value;

use super::Probe;
use crate::model::{Import, ShareKind, Tenant};
use crate::subject::Subject;
use crate::verify::expected::{concrete, may_publish, may_subscribe};
use crate::verify::run::{Run, TenantRun, each};
use crate::verify::wire::{Answer, Message, Request};

pub const PROBE: Probe = Probe {
    id: "shares",
    proves: "declared shares work for the tenants that they are declared for",
    mend: "a declared share does not work: run `tenantry up` if the server does not run this registry yet",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    check_streams(run, tenant_runs).await;
    check_services(run, tenant_runs).await;
}

/// The subject on which a tenant tests a share. `None` if its message would reach an application.
fn test_subject(run: &Run<'_>, tenant: usize, subject: &Subject) -> Option<String> {
    let free = (run.throwaway || subject.has_wildcard()).then(|| concrete(subject, &run.token()));
    free.filter(|subject| !run.has_workers(tenant, subject))
}

/// Every exporter publishes on the streams that it shares; every importer must receive it.
async fn check_streams<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    each(tenant_runs, usize::MAX, async |tenant_run| {
        let exports = tenant_run.tenant.exports.iter().filter(|e| e.kind == ShareKind::Stream);
        let subjects: Vec<String> = exports.filter_map(|e| test_subject(run, tenant_run.index, &e.subject)).collect();
        for subject in subjects {
            let publisher =
                tenant_run.sessions.iter_mut().find(|m| m.connection.is_some() && may_publish(m.user, &subject));
            let Some(publisher) = publisher else { continue };
            if let Some(connection) = &mut publisher.connection {
                connection.publish_stored_by(
                    &run.common(),
                    &subject,
                    None,
                    run.says(tenant_run.index, &subject).as_bytes(),
                );
            }
            publisher.settle(run).await;
        }
    })
    .await;
    each(tenant_runs, usize::MAX, async |tenant_run| {
        let mut received = Vec::new();
        for session in &mut tenant_run.sessions {
            session.settle(run).await;
            received.extend(session.heard(run));
        }
        for import in tenant_run.tenant.imports.iter().filter(|i| i.kind == ShareKind::Stream) {
            let Some(exporter) = run.topology.place(&import.from) else { continue };
            let Some(subject) = test_subject(run, exporter, &import.subject) else {
                let what = format!("{} of {}: whoever hears it would get a message", import.subject, import.from);
                run.ledger.not_tried(tenant_run.index, what);
                continue;
            };
            let has_subscriber =
                tenant_run.sessions.iter().any(|m| m.connection.is_some() && may_subscribe(m.user, &subject));
            let has_publisher = run.topology.tenant(exporter).users.iter().any(|u| may_publish(u, &subject));
            if !has_subscriber || !has_publisher {
                continue;
            }
            let from = &import.from;
            match received.iter().any(|m| m.subject == subject && run.is_from(exporter, &m.payload)) {
                true => run.ledger.pass(tenant_run.index, format!("{subject} came from {from}, as declared")),
                false => {
                    run.ledger.not_run(
                        tenant_run.index,
                        format!("{subject} did not come from {from}, though it is declared"),
                    );
                }
            }
        }
    })
    .await;
}

/// Every importer sends a request to each service that is shared with it; the exporter must
/// answer.
async fn check_services<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    for index in 0..tenant_runs.len() {
        let tenant: &'p Tenant = tenant_runs[index].tenant;
        for import in tenant.imports.iter().filter(|i| i.kind == ShareKind::Service) {
            let Some(exporter) = run.topology.place(&import.from) else { continue };
            let Some(subject) = test_subject(run, index, &import.subject) else {
                let what = format!(
                    "{} of {}: who listens there, or a stream, would get a request",
                    import.subject, import.from
                );
                run.ledger.not_tried(index, what);
                continue;
            };
            if exporter != index {
                check_service(run, tenant_runs, index, exporter, import, &subject).await;
            }
        }
    }
}

async fn check_service<'p>(
    run: &Run<'p>,
    tenant_runs: &mut [TenantRun<'p>],
    asking: usize,
    answering: usize,
    import: &Import,
    subject: &str,
) {
    let Ok([importer, exporter]) = tenant_runs.get_disjoint_mut([asking, answering]) else { return };
    let requester =
        importer.sessions.iter_mut().find(|m| m.connection.is_some() && m.can_ask && may_publish(m.user, subject));
    let responder = exporter
        .sessions
        .iter_mut()
        .find(|m| m.connection.is_some() && may_subscribe(m.user, subject) && may_publish(m.user, "_R_.x.y"));
    let (Some(requester), Some(responder)) = (requester, responder) else { return };
    let body = run.says(asking, subject).into_bytes();
    let request = Request { subject: subject.to_owned(), body: body.clone(), stored_by: Some(run.common()) };
    let respond = async {
        let Some(connection) = &mut responder.connection else { return false };
        // An earlier probe has subscribed this user to everything it may subscribe to, to some of it twice.
        let is_it = |m: &Message| m.subject == subject && m.payload == body;
        let Ok(Some(message)) = connection.next_message(is_it).await else { return false };
        // The exporter may learn the requester's account, but nothing about its user or
        // connection.
        let headers = String::from_utf8_lossy(&message.headers).into_owned();
        let info = headers.lines().find_map(|l| l.strip_prefix("Nats-Request-Info: "));
        let info: Value = info.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let more: Vec<&str> = ["user", "host", "name", "id"].into_iter().filter(|key| !info[*key].is_null()).collect();
        if !more.is_empty() {
            let evidence = format!("a request on {subject} tells who asks: {}", more.join(", "));
            run.ledger.leak(Some(asking), Some(answering), evidence);
        }
        let Some(reply) = &message.reply else { return false };
        connection.publish_stored_by(&run.common(), reply, None, run.answers(answering, asking, subject).as_bytes());
        connection.settle().await.is_ok()
    };
    let (answer, answered) = tokio::join!(requester.ask_one(run, request), respond);
    let from = &import.from;
    match answer {
        Answer::Message(message) if run.is_from(answering, &message.payload) => {
            run.ledger.pass(asking, format!("{from} answered on {subject}, as declared"));
        }
        // The exporter's real responders may have answered first.
        Answer::Message(_) => run.ledger.pass(asking, format!("somebody of {from} answered on {subject}, as declared")),
        other => run.ledger.not_run(
            asking,
            format!("{from} did not answer on {subject}, though it is declared: {other}; heard: {answered}"),
        ),
    }
}
