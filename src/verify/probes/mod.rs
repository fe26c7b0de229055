//! What is tried on a live server, one probe a file. To add one: its file, its
//! line in `PROBES`, a mutant that turns it red.

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

/// One attack, with what it expects.
pub struct Probe {
    /// Stable kebab-case identifier.
    pub id: &'static str,
    /// What holds if it leaks nothing.
    pub proves: &'static str,
    run: Attack,
}

impl Probe {
    /// Tries it with every tenant.
    pub async fn attack<'p>(&self, run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
        (self.run)(run, tenant_runs).await;
    }
}

/// Every probe, in the order in which they run: those that only listen first, so
/// that they hear what the others do.
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

/// So many tenants use JetStream at a time: its queue is everybody's.
const AT_ONCE: usize = 8;

/// Something that the server should refuse, unless the registry grants it.
#[derive(Debug, Clone)]
struct Attempt {
    operation: Operation,
    subject: String,
    /// Whose subject it is, if it is anybody's.
    target: Option<usize>,
}

#[derive(Debug, Clone)]
enum Operation {
    Publish,
    Subscribe,
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

/// Every user of a tenant attempts what it was not granted; the server has to
/// refuse each in its own words.
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
        let words = session.refused();
        for attempt in tried {
            let said = words.iter().find(|w| w.starts_with(attempt.refusal()) && is_about(w, &attempt.subject));
            match said {
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
