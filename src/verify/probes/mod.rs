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
mod doors;
mod entry;
mod inboxes;
mod limits;
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
use super::run::{Member, Side, Stage};
use super::wire::is_about;

type Run = for<'a, 'p> fn(&'a Stage<'p>, &'a mut [Side<'p>]) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// One attack, with what it expects.
pub struct Probe {
    /// Stable kebab-case identifier.
    pub id: &'static str,
    /// What holds if it leaks nothing.
    pub proves: &'static str,
    run: Run,
}

impl Probe {
    /// Tries it with every tenant.
    pub async fn attack<'p>(&self, stage: &Stage<'p>, sides: &mut [Side<'p>]) {
        (self.run)(stage, sides).await;
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
    doors::PROBE,
    limits::PROBE,
    neighbours::PROBE,
];

/// So many tenants use JetStream at a time: its queue is everybody's.
const AT_ONCE: usize = 8;

/// Something that the server should refuse, unless the registry grants it.
#[derive(Debug, Clone)]
struct Attempt {
    deed: Deed,
    subject: String,
    /// Whose subject it is, if it is anybody's.
    against: Option<usize>,
}

#[derive(Debug, Clone)]
enum Deed {
    Publish,
    Subscribe,
    Join(String),
}

impl Attempt {
    fn new(deed: Deed, subject: impl Into<String>, against: Option<usize>) -> Self {
        Self { deed, subject: subject.into(), against }
    }

    fn is_granted(&self, member: &Member<'_>) -> bool {
        match self.deed {
            Deed::Publish => may_publish(member.user, &self.subject),
            Deed::Subscribe => may_subscribe(member.user, &self.subject),
            Deed::Join(_) => may_join_queue(member.user, &self.subject),
        }
    }

    fn refusal(&self) -> &'static str {
        match self.deed {
            Deed::Publish => "Permissions Violation for Publish",
            Deed::Subscribe | Deed::Join(_) => "Permissions Violation for Subscription",
        }
    }

    fn what(&self) -> &'static str {
        match self.deed {
            Deed::Publish => "publishing to",
            Deed::Subscribe => "subscribing to",
            Deed::Join(_) => "joining a queue on",
        }
    }
}

/// Every user of a tenant attempts what it was not granted; the server has to
/// refuse each in its own words.
async fn must_be_refused<'p>(stage: &Stage<'p>, side: &mut Side<'p>, attempts: &[Attempt]) {
    let canary = stage.canary(side.index);
    let (mut refused, mut sample) = (0usize, None);
    if side.members.iter().all(|m| m.connection.is_none()) {
        return;
    }
    for member in &mut side.members {
        let tried: Vec<&Attempt> = attempts.iter().filter(|a| !a.is_granted(member)).collect();
        let Some(connection) = &mut member.connection else { continue };
        connection.refused.clear();
        for attempt in &tried {
            match &attempt.deed {
                Deed::Publish => connection.publish(&attempt.subject, None, canary.as_bytes()),
                Deed::Subscribe => connection.subscribe(&attempt.subject, None),
                Deed::Join(queue) => connection.subscribe(&attempt.subject, Some(queue)),
            }
        }
        if !member.settle(stage).await {
            continue;
        }
        let words = member.refused();
        for attempt in tried {
            let said = words.iter().find(|w| w.starts_with(attempt.refusal()) && is_about(w, &attempt.subject));
            match said {
                Some(words) => {
                    refused += 1;
                    sample.get_or_insert_with(|| words.clone());
                }
                None => stage.leak(
                    Some(side.index),
                    attempt.against,
                    format!(
                        "{} {} {} was not refused, and nothing declares it",
                        member.user.name,
                        attempt.what(),
                        attempt.subject
                    ),
                ),
            }
        }
    }
    match sample {
        Some(words) => stage.pass(side.index, format!("{refused} attempts refused, as in: {words}")),
        None if refused == 0 && attempts.is_empty() => {}
        None => stage.pass(side.index, "every attempt is something that its users are granted"),
    }
}
