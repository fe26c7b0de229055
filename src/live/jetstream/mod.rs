//! Applies the declared streams and consumers to a running server: reads what the server
//! has, compares it with the registry, and changes what differs.

pub(crate) mod actual;
pub(crate) mod api;
pub(crate) mod apply;
pub(crate) mod change;
mod consumer_limits;
mod copies;
mod handover;
mod losses;
pub(crate) mod plan;
mod refusals;
mod replacement;
pub(crate) mod targets;

use std::cell::Cell;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};

use crate::error::Error;
use crate::keys::Login;
use crate::model::Tenant;
use actual::Actual;
use api::{Api, Failure};
use apply::ChangeOutcome;
use change::{Action, Change};
use copies::{Provisioner, Provisioners};
use targets::Targets;

/// Number of tenants processed at the same time.
pub const AT_ONCE: usize = 32;

/// A tenant and the credential of its provisioner.
pub struct Job<'m> {
    /// The tenant as declared.
    pub tenant: &'m Tenant,
    /// The login of its provisioner. `None` if the secret is not available.
    pub login: Option<Login>,
    /// Inbox prefix of the provisioner.
    pub inbox: String,
    /// Logins and inbox prefixes that provisioners had before, by which a server that runs an earlier registry is compared.
    pub former: Vec<(Login, String)>,
    /// Whether the account is known to have no streams, because the server does not run it with JetStream yet.
    pub is_new: bool,
    /// Whether somebody waits for it: it is done before the others.
    pub is_urgent: bool,
}

/// The differences of one tenant, and what was done about them.
pub struct TenantReport<'m> {
    /// The tenant.
    pub tenant: &'m Tenant,
    /// Each change with its outcome, or why the tenant could not be read.
    pub result: Result<Vec<(Change, ChangeOutcome)>, Failure>,
}

/// Compares every tenant with the server; `apply` also changes what differs. `advance` is
/// called after each tenant. Reports are in the order of the jobs.
pub fn run<'m>(
    url: &'m str,
    jobs: Vec<Job<'m>>,
    targets: &Targets,
    apply: bool,
    advance: &dyn Fn(),
) -> Result<Vec<TenantReport<'m>>, Error> {
    Ok(super::runtime()?.block_on(async {
        let provisioners = provisioners(url, &jobs);
        let mut jobs: Vec<(usize, Job<'m>)> = jobs.into_iter().enumerate().collect();
        jobs.sort_by_key(|(_, job)| !job.is_urgent);
        // What stops the copies of others comes last and alone, when nobody else changes them.
        let (last, first): (Vec<_>, Vec<_>) =
            jobs.into_iter().partition(|(_, job)| apply && replaces_copied(job, targets));
        let mut reports: Vec<(usize, TenantReport<'m>)> = Vec::new();
        for (jobs, at_once) in [(first, AT_ONCE), (last, 1)] {
            let provisioners = &provisioners;
            let work = jobs.into_iter().map(|(place, job)| async move {
                let result = run_job(provisioners, &job, targets, apply).await;
                advance();
                (place, TenantReport { tenant: job.tenant, result })
            });
            let mut done: Vec<(usize, TenantReport<'m>)> = stream::iter(work).buffered(at_once).collect().await;
            // A copy that was made anew has all of a stream again before that is replaced.
            if apply {
                let feed = async |report| feed_copies(report, provisioners).await;
                stream::iter(done.iter_mut().map(|(_, report)| report)).for_each_concurrent(AT_ONCE, feed).await;
            }
            reports.extend(done);
        }
        reports.sort_by_key(|(place, _)| *place);
        reports.into_iter().map(|(_, report)| report).collect()
    }))
}

/// The provisioners of the tenants that copy streams of others, or whose streams others copy.
fn provisioners<'m>(url: &'m str, jobs: &[Job<'m>]) -> Provisioners<'m> {
    let copying = jobs.iter().filter(|job| job.tenant.copying().next().is_some());
    let provisioner = |job: &Job<'m>| match &job.login {
        _ if job.is_new => Provisioner::New,
        Some(login) => Provisioner::Known(login.clone(), job.inbox.clone()),
        None => Provisioner::Unknown,
    };
    Provisioners { url, of: copying.map(|job| (&job.tenant.name, provisioner(job))).collect() }
}

/// Whether a stream of the tenant is to be replaced of which others have copies.
fn replaces_copied(job: &Job<'_>, targets: &Targets) -> bool {
    let copied = job.tenant.stream_exports.iter();
    copied.map(|copy| copy.stream.as_str()).any(|stream| targets.is_replaced(job.tenant, stream, None))
}

/// Resets the exporter's consumer of each copy that was just created: the new copy is
/// empty, whatever the consumer has delivered before.
async fn feed_copies(report: &mut TenantReport<'_>, provisioners: &Provisioners<'_>) {
    for (change, outcome) in report.result.iter_mut().flatten() {
        let is_made = *outcome == ChangeOutcome::Done && matches!(change.action, Action::Create | Action::Replace(_));
        let stream = report.tenant.streams.iter().find(|s| s.name.as_str() == change.stream);
        for copy in stream.filter(|_| is_made && change.consumer.is_none()).iter().flat_map(|s| &s.copies) {
            let fed = async {
                match provisioners.connect(&copy.from).await {
                    Ok(Some(api)) => apply::reset_copy_consumer(&api, copy).await,
                    // Its own report says what is missing.
                    Ok(None) | Err(Failure::NoSecret) => Ok(()),
                    Err(failure) => Err(failure),
                }
            };
            if let Err(failure) = fed.await {
                *outcome = ChangeOutcome::Failed(failure);
            }
        }
    }
}

/// Attempts for one tenant when the server becomes unavailable: while applying, and before or to compare.
const ATTEMPTS: [u32; 2] = [10, 3];
/// Pause before the next attempt, multiplied by the number of attempts made.
const PAUSE: Duration = Duration::from_millis(500);

async fn run_job(
    provisioners: &Provisioners<'_>,
    job: &Job<'_>,
    targets: &Targets,
    apply: bool,
) -> Result<Vec<(Change, ChangeOutcome)>, Failure> {
    if job.is_new {
        let changes = plan::changes(job.tenant, &Actual::default(), targets);
        return Ok(changes.into_iter().map(|change| (change, ChangeOutcome::Planned)).collect());
    }
    let login = job.login.as_ref().ok_or(Failure::NoSecret)?;
    let mut former = job.former.iter();
    let mut user = (login, job.inbox.as_str());
    let mut before: Vec<(Change, ChangeOutcome)> = Vec::new();
    // A command that was connected once waits for the server to come back.
    let was_connected = Cell::new(false);
    for attempt in 1.. {
        let result = async {
            let api = Api::connect(provisioners.url, user.0, user.1).await?;
            was_connected.set(true);
            if apply {
                apply::tenant(&api, job.tenant, targets, provisioners, &mut before).await
            } else {
                let changes = plan::changes(job.tenant, &actual::read(&api).await?, targets);
                Ok(changes.into_iter().map(|change| (change, ChangeOutcome::Planned)).collect())
            }
        };
        match result.await {
            Err(Failure::NotLetIn(words)) if !apply => match former.next() {
                Some((login, inbox)) => user = (login, inbox),
                None => return Err(Failure::NotLetIn(words)),
            },
            // Changes that were done before the server became unavailable stay in `before`.
            Err(failure) if failure.may_pass() && attempt < ATTEMPTS[usize::from(!apply || !was_connected.get())] => {
                tokio::time::sleep(PAUSE * attempt).await;
            }
            other => return other,
        }
    }
    unreachable!("the last attempt returns")
}
