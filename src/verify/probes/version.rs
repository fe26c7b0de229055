//! Published holes of nats-server that let one tenant reach another.

use super::Probe;
use crate::live::locate::Version;
use crate::verify::run::{Run, TenantRun};

pub const PROBE: Probe = Probe {
    id: "version",
    proves: "no published advisory about reaching other tenants applies to this server",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    let said = run.info().version;
    match Version::parse(&said) {
        None => run.ledger.not_run_for_anybody(&format!("the server says it is version {said:?}")),
        Some(version) if version.is_safe() => {
            tenant_runs
                .iter()
                .for_each(|s| run.ledger.pass(s.index, format!("{version}; the floor is 2.14.3, 2.12.12 on its line")));
        }
        Some(version) => {
            run.ledger.leak(None, None, format!("nats-server {version} has published holes; run 2.14.3 or later"));
        }
    }
}
