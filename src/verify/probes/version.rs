//! Published advisories about nats-server versions in which one tenant can reach another.

use super::Probe;
use crate::live::locate::Version;
use crate::verify::run::{Run, TenantRun};

pub const PROBE: Probe = Probe {
    id: "version",
    proves: "the server has no published vulnerability that lets a tenant reach others",
    mend: "update nats-server",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    let reported = run.info().version;
    match Version::parse(&reported) {
        None => run.ledger.not_run_for_anybody(&format!("the server says it is version {reported:?}")),
        Some(version) if version.is_safe() => {
            tenant_runs.iter().for_each(|s| run.ledger.pass(s.index, format!("{version}; the floor is 2.14.3")));
        }
        Some(version) => {
            run.ledger.leak(
                None,
                None,
                format!("nats-server {version} is too old to keep tenants apart; run 2.14.3 or later"),
            );
        }
    }
}
