//! Message tracing: the server reports to which connections, and through which accounts, a
//! message is delivered.

use super::{Probe, foreign_targets, untaken};
use crate::verify::expected::{concrete, may_publish};
use crate::verify::run::{Run, Said, TenantRun, each};

pub const PROBE: Probe = Probe {
    id: "tracing",
    proves: "a message trace reveals nothing about other tenants' users, and cannot be sent to their subjects",
    mend: "remove `allow_trace` from exports and imports; `tenantry up` renders none",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    each(tenant_runs, usize::MAX, async |tenant_run| trace(run, tenant_run).await).await;
}

/// Traces messages on the tenant's own and shared subjects. The reports go to the tenant's own
/// subjects, and to its neighbours'.
async fn trace<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>) {
    let canary = run.signs(tenant_run.index);
    let token = run.token();
    let shared = tenant_run
        .tenant
        .exports
        .iter()
        .map(|e| &e.subject)
        .chain(tenant_run.tenant.imports.iter().map(|i| &i.subject));
    // Only the trace is sent and no message is delivered, so subjects in use can be traced too.
    let subjects: Vec<String> = tenant_run.tenant.subjects.iter().chain(shared).map(|s| concrete(s, &token)).collect();
    let mut own: Vec<String> = run.topology.free_subjects(tenant_run.index).map(|s| concrete(s, &token)).collect();
    let mut stored = 0;
    if !run.throwaway {
        // The server's report has no header of ours: a stream would store it.
        let all = own.len();
        own = untaken(run, tenant_run, own).await;
        stored = all - own.len();
    }
    let theirs = foreign_targets(run, tenant_run).await;
    let mut traced = 0;
    for session in &mut tenant_run.sessions {
        let Some(connection) = &mut session.connection else { continue };
        for subject in subjects.iter().filter(|s| may_publish(session.user, s)) {
            for destination in own.iter().filter(|d| may_publish(session.user, d)).chain(&theirs) {
                // With `Nats-Trace-Only` the server does not deliver the message itself.
                let headers = [("Nats-Trace-Dest", destination.as_str()), ("Nats-Trace-Only", "true")];
                connection.publish_with(subject, None, &headers, canary.as_bytes());
                traced += 1;
            }
        }
        session.settle(run).await;
        session.refused();
    }
    let mut events = 0;
    for session in &mut tenant_run.sessions {
        session.settle(run).await;
        for message in session.heard(run) {
            let event = message.json();
            let Some(list) = event["events"].as_array() else { continue };
            events += 1;
            for step in list {
                // The name of every connection is a canary of its tenant. A trace shows the account
                // of a shared service's exporter but not its connections. A report that is sent
                // to a shared subject arrives at the importer, like any message.
                let step = step.to_string();
                let (to, subject) = (tenant_run.index, message.subject.as_str());
                let is_allowed =
                    |said: &Said| run.is_declared(said.sender, to, subject) || run.is_by_clients(said, (to, subject));
                for said in run.said_in(step.as_bytes()).iter().filter(|said| !is_allowed(said)) {
                    run.ledger.leak(
                        Some(said.sender),
                        Some(tenant_run.index),
                        format!("a trace told {} of a connection: {step}", session.user.name),
                    );
                }
            }
        }
    }
    if traced > 0 {
        let none = if stored > 0 { "; none to its own subjects that a stream may capture" } else { "" };
        run.ledger.pass(
            tenant_run.index,
            format!("{traced} messages traced; {events} reports came, all of its own account{none}"),
        );
    }
}
