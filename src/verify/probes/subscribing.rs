//! Subscriptions to wildcards, to other tenants' subjects and to the server's own spaces.

use super::{Attempt, Operation, Probe, must_be_refused};
use crate::verify::run::{Run, TenantRun, each};

pub const PROBE: Probe = Probe {
    id: "subscribing",
    proves: "nobody may listen beyond its own subjects, not by a wildcard either",
    mend: "the server grants more than the role: `tenantry up` renders and reloads it; `tenantry audit FILE` finds it in what the server runs",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

/// Patterns that match everything, or the server's own spaces.
const WIDE: [&str; 14] = [
    ">",
    "*",
    "*.>",
    "*.*",
    "$SYS.>",
    "$JS.>",
    "$JS.API.>",
    "$KV.>",
    "$O.>",
    "_R_.>",
    "$SRV.>",
    "$MQTT.>",
    "$NRG.>",
    "$JSC.>",
];

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    each(tenant_runs, usize::MAX, async |tenant_run| {
        let mut attempts: Vec<Attempt> = WIDE.map(|w| Attempt::new(Operation::Subscribe, w, None)).into();
        for other in tenant_run.neighbours.clone() {
            let subjects = run.topology.tenant(other).subjects.iter();
            attempts.extend(subjects.map(|s| Attempt::new(Operation::Subscribe, s.as_str(), Some(other))));
        }
        must_be_refused(run, tenant_run, &attempts).await;
    })
    .await;
}
