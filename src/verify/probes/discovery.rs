//! Service discovery (`$SRV`): requests to other tenants' services, and subscriptions to such
//! requests.

use super::{Attempt, Operation, Probe, must_be_refused};
use crate::verify::run::{Run, TenantRun, each};

pub const PROBE: Probe = Probe {
    id: "discovery",
    proves: "service discovery returns nothing about other tenants",
    mend: "let no tenant publish on `$SRV.>` beyond its account",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    each(tenant_runs, usize::MAX, async |tenant_run| {
        let asked = ["$SRV.PING", "$SRV.INFO", "$SRV.STATS"].map(|s| Attempt::new(Operation::Publish, s, None));
        let answered = ["$SRV.PING", "$SRV.PING.*", "$SRV.INFO.>"].map(|s| Attempt::new(Operation::Subscribe, s, None));
        must_be_refused(run, tenant_run, &[asked, answered].concat()).await;
    })
    .await;
}
