//! The attacks on a live server, one probe per file. A new probe needs its file, its line
//! in `PROBES`, and a mutant that it detects.

mod acks;
mod answers;
mod api;
mod canaries;
mod canary_stream;
mod capture;
mod declarations;
mod destruction;
mod discovery;
mod entry;
mod inboxes;
mod limits;
mod listeners;
mod neighbours;
mod publishing;
mod queues;
mod redirection;
mod replies;
mod shares;
mod sources;
mod stores;
mod subscribing;
mod system;
mod tracing;
mod version;

use std::pin::Pin;

use super::expected::{may_join_queue, may_publish, may_subscribe};
use super::run::{Run, Session, TenantRun};
use super::wire::is_about;

type Attack = for<'a, 'p> fn(&'a Run<'p>, &'a mut [TenantRun<'p>]) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// One kind of attack.
pub struct Probe {
    /// Stable kebab-case identifier.
    pub id: &'static str,
    /// The statement that holds if the probe finds no leak.
    pub proves: &'static str,
    run: Attack,
}

impl Probe {
    /// Runs the probe for every tenant.
    pub async fn attack<'p>(&self, run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
        (self.run)(run, tenant_runs).await;
    }
}

/// Every probe, in the order in which they run. Those that subscribe come first, so that
/// their subscriptions receive what later probes publish.
pub const PROBES: &[Probe] = &[
    version::PROBE,
    entry::PROBE,
    declarations::PROBE,
    subscribing::PROBE,
    canaries::PROBE,
    capture::PROBE,
    publishing::PROBE,
    inboxes::PROBE,
    replies::PROBE,
    queues::PROBE,
    shares::PROBE,
    answers::PROBE,
    discovery::PROBE,
    tracing::PROBE,
    system::PROBE,
    api::PROBE,
    stores::STREAMS,
    stores::BUCKETS,
    stores::OBJECTS,
    acks::PROBE,
    destruction::PROBE,
    redirection::PROBE,
    sources::PROBE,
    listeners::PROBE,
    limits::PROBE,
    neighbours::PROBE,
];

/// Number of tenants that use JetStream at the same time: all accounts share its request queue.
const AT_ONCE: usize = 8;

/// An operation that the server must deny to users to whom the registry does not grant it.
#[derive(Debug, Clone)]
struct Attempt {
    operation: Operation,
    subject: String,
    /// The tenant that owns the subject; `None` if no particular tenant does.
    target: Option<usize>,
}

#[derive(Debug, Clone)]
enum Operation {
    Publish,
    Subscribe,
    /// Subscribes in a queue of this name.
    Join(String),
}

impl Attempt {
    fn new(operation: Operation, subject: impl Into<String>, target: Option<usize>) -> Self {
        Self { operation, subject: subject.into(), target }
    }

    fn is_granted(&self, session: &Session<'_>) -> bool {
        match self.operation {
            Operation::Publish => may_publish(session.user, &self.subject),
            Operation::Subscribe => may_subscribe(session.user, &self.subject),
            Operation::Join(_) => may_join_queue(session.user, &self.subject),
        }
    }

    fn refusal(&self) -> &'static str {
        match self.operation {
            Operation::Publish => "Permissions Violation for Publish",
            Operation::Subscribe | Operation::Join(_) => "Permissions Violation for Subscription",
        }
    }

    fn what(&self) -> &'static str {
        match self.operation {
            Operation::Publish => "publishing to",
            Operation::Subscribe => "subscribing to",
            Operation::Join(_) => "joining a queue on",
        }
    }
}

/// Every user of a tenant attempts the operations that it is not granted. An attempt that the
/// server does not deny, in an error that names the subject, is a leak.
async fn must_be_refused<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>, attempts: &[Attempt]) {
    let canary = run.canary(tenant_run.index);
    let (mut refused, mut sample) = (0usize, None);
    if tenant_run.sessions.iter().all(|m| m.connection.is_none()) {
        return;
    }
    for session in &mut tenant_run.sessions {
        let tried: Vec<&Attempt> = attempts.iter().filter(|a| !a.is_granted(session)).collect();
        let Some(connection) = &mut session.connection else { continue };
        connection.refused.clear();
        for attempt in &tried {
            match &attempt.operation {
                Operation::Publish => connection.publish(&attempt.subject, None, canary.as_bytes()),
                Operation::Subscribe => connection.subscribe(&attempt.subject, None),
                Operation::Join(queue) => connection.subscribe(&attempt.subject, Some(queue)),
            }
        }
        if !session.settle(run).await {
            continue;
        }
        let errors = session.refused();
        for attempt in tried {
            let denial = errors.iter().find(|e| e.starts_with(attempt.refusal()) && is_about(e, &attempt.subject));
            match denial {
                Some(words) => {
                    refused += 1;
                    sample.get_or_insert_with(|| words.clone());
                }
                None => run.ledger.leak(
                    Some(tenant_run.index),
                    attempt.target,
                    format!(
                        "{} {} {} was not refused, and nothing declares it",
                        session.user.name,
                        attempt.what(),
                        attempt.subject
                    ),
                ),
            }
        }
    }
    match sample {
        Some(words) => run.ledger.pass(tenant_run.index, format!("{refused} attempts refused, as in: {words}")),
        None if refused == 0 && attempts.is_empty() => {}
        None => run.ledger.pass(tenant_run.index, "every attempt is something that its users are granted"),
    }
}
