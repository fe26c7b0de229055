//! Reads the replies that other users receive, and forges replies to them.

use super::{Attempt, Operation, Probe, must_be_refused};
use crate::model::Inbox;
use crate::verify::run::{Run, TenantRun, each};

pub const PROBE: Probe = Probe {
    id: "inboxes",
    proves: "no user can read the answers that another user gets, and only users who answer its requests can publish to its inbox",
    mend: "give each user an inbox of its own (`inbox = \"private\"`); `tenantry up` renders that",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    let token = run.token();
    each(tenant_runs, usize::MAX, async |tenant_run| {
        let private = tenant_run.tenant.users.iter().all(|u| u.inbox == Inbox::Private);
        let mut attempts = Vec::new();
        if private {
            attempts.push(Attempt::new(Operation::Subscribe, "_INBOX.>", None));
            attempts.push(Attempt::new(Operation::Publish, format!("_INBOX.{token}"), None));
        }
        // The inboxes of neighbours' users, and of users of the same tenant: each user is
        // granted only its own.
        let theirs =
            tenant_run.neighbours.iter().flat_map(|n| run.topology.tenant(*n).users.iter().map(|u| (Some(*n), u)));
        let own = tenant_run.tenant.users.iter().map(|u| (None, u));
        for (target, user) in theirs.chain(own).filter(|(_, u)| u.inbox == Inbox::Private) {
            attempts.push(Attempt::new(Operation::Subscribe, format!("{}.>", user.inbox_prefix()), target));
            attempts.push(Attempt::new(Operation::Publish, format!("{}.{token}", user.inbox_prefix()), target));
        }
        must_be_refused(run, tenant_run, &attempts).await;
    })
    .await;
}
