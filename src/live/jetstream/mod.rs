//! What tenants declare of JetStream, and what a running server has: read,
//! compared, and brought together.

pub(crate) mod api;
pub(crate) mod apply;
pub(crate) mod change;
pub(crate) mod plan;
pub(crate) mod targets;

use std::collections::HashMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};

use crate::error::Error;
use crate::keys::Login;
use crate::model::Tenant;
use crate::model::names::AccountName;
use api::{Api, Failure};
use apply::Outcome;
use change::{Action, Change};
use targets::Targets;

/// Tenants that are worked on at a time.
pub const AT_ONCE: usize = 32;

/// A tenant and the credential of its provisioner.
pub struct Job<'m> {
    /// What is declared.
    pub tenant: &'m Tenant,
    /// How its provisioner logs in; nothing if its secret is not known here.
    pub login: Option<Login>,
    /// Where its replies arrive.
    pub inbox: String,
}

/// What was found, and perhaps done, at one tenant.
pub struct Report<'m> {
    /// Which tenant.
    pub tenant: &'m Tenant,
    /// The changes with what became of them, or why nothing is known of the tenant.
    pub result: Result<Vec<(Change, Outcome)>, Failure>,
}

/// Compares every tenant, and changes what differs if `apply` says so. `advance` is
/// called as tenants are done; reports are in the order of the jobs.
pub fn run<'m>(
    url: &str,
    jobs: Vec<Job<'m>>,
    targets: &Targets,
    apply: bool,
    advance: &dyn Fn(),
) -> Result<Vec<Report<'m>>, Error> {
    Ok(super::runtime()?.block_on(async {
        let exporters = exporters(&jobs);
        let work = jobs.into_iter().map(|job| async move {
            let result = run_job(url, &job, targets, apply).await;
            advance();
            Report { tenant: job.tenant, result }
        });
        let mut reports: Vec<Report<'m>> = stream::iter(work).buffered(AT_ONCE).collect().await;
        if apply {
            let feed = async |report| feed_copies(url, report, &exporters).await;
            stream::iter(&mut reports).for_each_concurrent(AT_ONCE, feed).await;
        }
        reports
    }))
}

/// How the provisioners of those whose streams others copy log in, and their inboxes.
fn exporters<'m>(jobs: &[Job<'m>]) -> HashMap<&'m AccountName, (Login, String)> {
    let copied = jobs.iter().filter(|job| !job.tenant.stream_exports.is_empty());
    copied.filter_map(|job| Some((&job.tenant.name, (job.login.clone()?, job.inbox.clone())))).collect()
}

/// A copy that was made just now has nothing, whatever the exporter's consumer has
/// delivered before.
async fn feed_copies(url: &str, report: &mut Report<'_>, exporters: &HashMap<&AccountName, (Login, String)>) {
    for (change, outcome) in report.result.iter_mut().flatten() {
        let is_made = *outcome == Outcome::Done && matches!(change.action, Action::Create | Action::Replace(_));
        let stream = report.tenant.streams.iter().find(|s| s.name.as_str() == change.stream);
        for copy in stream.filter(|_| is_made && change.consumer.is_none()).iter().flat_map(|s| &s.copies) {
            let Some((login, inbox)) = exporters.get(&copy.from) else { continue };
            let fed = async { apply::begin_again(&Api::connect(url, login, inbox).await?, copy).await };
            if let Err(failure) = fed.await {
                *outcome = Outcome::Failed(failure);
            }
        }
    }
}

/// How often a tenant is begun again after its server went away, and how long it
/// is waited for in between.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(500);

async fn run_job(url: &str, job: &Job<'_>, targets: &Targets, apply: bool) -> Result<Vec<(Change, Outcome)>, Failure> {
    let login = job.login.as_ref().ok_or(Failure::NoSecret)?;
    let mut before: Vec<(Change, Outcome)> = Vec::new();
    for attempt in 1.. {
        let result = async {
            let api = Api::connect(url, login, &job.inbox).await?;
            if apply {
                apply::tenant(&api, job.tenant, targets, &mut before).await
            } else {
                let changes = plan::changes(job.tenant, &plan::read(&api).await?, targets);
                Ok(changes.into_iter().map(|change| (change, Outcome::Planned)).collect())
            }
        };
        match result.await {
            // What was done before the server went away was done.
            Err(failure) if failure.may_pass() && attempt < ATTEMPTS => tokio::time::sleep(PAUSE * attempt).await,
            other => return other,
        }
    }
    unreachable!("the last attempt returns")
}
