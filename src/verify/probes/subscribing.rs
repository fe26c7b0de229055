//! Subscriptions to wildcards, to other tenants' subjects and to the server's own spaces.

use super::{Attempt, Operation, Probe, copies, distinct, must_be_refused};
use crate::verify::expected::{concrete, listed};
use crate::verify::run::{Run, TenantRun, each};

pub const PROBE: Probe = Probe {
    id: "subscribing",
    proves: "no user can subscribe beyond its own subjects, with or without wildcards",
    mend: "the server grants more than the role: `tenantry up` renders and reloads the role; `tenantry audit FILE` finds the grant in what the server runs",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

/// Patterns that match everything, or the server's own spaces.
const WIDE: [&str; 15] = [
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
    "_R_.*.*",
    "$SRV.>",
    "$MQTT.>",
    "$NRG.>",
    "$JSC.>",
];

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    each(tenant_runs, usize::MAX, async |tenant_run| {
        let mut attempts: Vec<Attempt> = WIDE.map(|w| Attempt::new(Operation::Subscribe, w, None)).into();
        for other in tenant_run.neighbours.clone() {
            let theirs = run.topology.tenant(other);
            // Narrow subjects too: a list may grant one of them and not the whole space.
            let narrow = theirs.subjects.iter().map(|s| concrete(s, &run.token()));
            let shared = theirs.exports.iter().map(|export| export.subject.to_string());
            let subjects = theirs.subjects.iter().map(ToString::to_string).chain(narrow).chain(shared);
            attempts.extend(subjects.map(|s| Attempt::new(Operation::Subscribe, s, Some(other))));
        }
        // The messages of a copied stream on their way are no user's.
        attempts.extend(
            copies(run, tenant_run.tenant).map(|copy| Attempt::new(Operation::Subscribe, copy.deliver(), None)),
        );
        // What other users of the tenant may hear, and this one may not.
        let grants = tenant_run.tenant.users.iter().flat_map(|user| listed(&user.permissions.subscribe));
        attempts.extend(distinct(grants).map(|s| Attempt::new(Operation::Subscribe, s.as_str(), None)));
        must_be_refused(run, tenant_run, &attempts).await;
    })
    .await;
}
