//! Queue subscriptions on other tenants' subjects: a queue member in an importing account would
//! take messages away from the members of that queue in the exporter's account.

use super::{Attempt, Operation, Probe, must_be_refused};
use crate::model::ShareKind;
use crate::verify::run::{Run, TenantRun, each};

pub const PROBE: Probe = Probe {
    id: "queues",
    proves: "no user can join a queue on another tenant's subject, shared or not",
    mend: "deny queues on imported subjects: `deny: [\"SUBJECT >\"]`; `tenantry up` renders that",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    each(tenant_runs, usize::MAX, async |tenant_run| {
        // The server matches queue names as subjects, so names of one and of several tokens are
        // tried.
        let queues = [run.token(), format!("{}.a.b", run.token())];
        let join = |subject: &str, other| queues.clone().map(|q| Attempt::new(Operation::Join(q), subject, other));
        let mut attempts = Vec::new();
        for other in tenant_run.neighbours.clone() {
            let tenant = run.topology.tenant(other);
            attempts.extend(tenant.subjects.iter().flat_map(|s| join(s.as_str(), Some(other))));
            let shared =
                tenant_run.tenant.imports.iter().filter(|i| i.kind == ShareKind::Stream && i.from == tenant.name);
            attempts.extend(shared.flat_map(|i| join(i.subject.as_str(), Some(other))));
        }
        must_be_refused(run, tenant_run, &attempts).await;
    })
    .await;
}
