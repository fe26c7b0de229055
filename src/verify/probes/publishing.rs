//! Publishes to other tenants' subjects, to subjects of no tenant, and to the server's own spaces.

use super::{Attempt, Operation, Probe, copies, distinct, must_be_refused};
use crate::model::ShareKind;
use crate::verify::expected::{concrete, listed};
use crate::verify::run::{Run, TenantRun, each};

pub const PROBE: Probe = Probe {
    id: "publishing",
    proves: "no user can publish beyond its own subjects",
    mend: "the server grants more than the role: `tenantry up` renders and reloads the role; `tenantry audit FILE` finds the grant in what the server runs",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    let (token, common) = (run.token(), run.common());
    each(tenant_runs, usize::MAX, async |tenant_run| {
        let reserved = [
            format!("{token}.nobodys"),
            format!("$KV.{common}.key"),
            format!("$O.{common}.C.chunk"),
            format!("$MQTT.msgs.{token}"),
            format!("$NRG.{token}"),
            format!("_R_.{token}.x"),
            format!("$SYS.ACCOUNT.{token}.CONNECT"),
        ];
        let mut attempts: Vec<Attempt> = reserved.map(|s| Attempt::new(Operation::Publish, s, None)).into();
        for other in tenant_run.neighbours.clone() {
            let subjects = run.topology.free_subjects(other);
            attempts.extend(subjects.map(|s| Attempt::new(Operation::Publish, concrete(s, &token), Some(other))));
        }
        // What other users of the tenant may publish, and this one may not; on a server in use only on
        // subjects of the run's own.
        let grants = tenant_run.tenant.users.iter().flat_map(|user| listed(&user.permissions.publish));
        let grants = distinct(grants).filter(|s| run.throwaway || s.has_wildcard());
        attempts.extend(grants.map(|s| Attempt::new(Operation::Publish, concrete(s, &token), None)));
        attempts.extend(copies(run, tenant_run.tenant).flat_map(|copy| {
            // The importer sends its requests under local names.
            let is_asked = |kind: ShareKind| kind == ShareKind::Stream || copy.to == tenant_run.tenant.name;
            let subjects: Vec<String> =
                copy.ways().into_iter().filter(|(kind, ..)| is_asked(*kind)).map(|(.., local)| local).collect();
            subjects.into_iter().map(|s| Attempt::new(Operation::Publish, s.replace('>', &token), None))
        }));
        let buckets = tenant_run.tenant.buckets.iter();
        attempts.extend(buckets.map(|b| Attempt::new(Operation::Publish, format!("$KV.{b}.{token}"), None)));
        must_be_refused(run, tenant_run, &attempts).await;
    })
    .await;
}
