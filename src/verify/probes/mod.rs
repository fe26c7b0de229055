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

use std::collections::HashSet;
use std::pin::Pin;

use serde_json::json;

use super::expected::{admits, admits_queue, concrete, may_publish};
use super::run::{Run, Session, TenantRun};
use super::wire::is_about;
use crate::model::{ShareKind, StreamCopy, Tenant};
use crate::subject::Subject;

type Attack = for<'a, 'p> fn(&'a Run<'p>, &'a mut [TenantRun<'p>]) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// One kind of attack.
pub struct Probe {
    /// Stable kebab-case identifier.
    pub id: &'static str,
    /// The statement that holds if the probe finds no leak.
    pub proves: &'static str,
    /// How to fix what it finds.
    pub mend: &'static str,
    run: Attack,
}

impl Probe {
    /// Runs the probe for every tenant.
    pub async fn attack<'p>(&self, run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
        (self.run)(run, tenant_runs).await;
    }
}

pub use canaries::NOT_GRANTED;

/// The probe of answers and acknowledgements.
pub const ANSWERS: &str = answers::PROBE.id;

/// The probe by which streams that obey the headers of other tenants are told.
pub const DESTRUCTION: &str = destruction::PROBE.id;
/// The probe that compares what the server declares. A share or mapping too many shows in other probes too.
pub const DECLARATIONS: &str = declarations::PROBE.id;
/// The probe of who may log in, which also tells which users are in another tenant's account.
pub const ENTRY: &str = entry::PROBE.id;

/// Ends what is said of an attempt that the server should have refused.
pub const NOT_REFUSED: &str = "was not refused, and nothing declares it";

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

/// The probes that need a user who manages streams.
const OF_JETSTREAM: [&str; 8] = [
    capture::PROBE.id,
    stores::STREAMS.id,
    stores::BUCKETS.id,
    stores::OBJECTS.id,
    acks::PROBE.id,
    destruction::PROBE.id,
    redirection::PROBE.id,
    sources::PROBE.id,
];

/// Number of tenants that use JetStream at the same time: all accounts share its request queue.
const AT_ONCE: usize = 8;

/// Records that the probe that runs did not try JetStream in a tenant: nobody may manage streams there, or a stream of the run
/// would have no subject.
pub fn note_untried_jetstream<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    if !OF_JETSTREAM.contains(&run.ledger.probe()) {
        return;
    }
    let checked = run.ledger.checked();
    let of_jetstream =
        |t: &&mut TenantRun<'p>| t.tenant.jetstream.is_some() && !checked.contains(t.tenant.name.as_str());
    for tenant_run in tenant_runs.iter_mut().filter(of_jetstream) {
        if tenant_run.manager().is_none() {
            run.ledger.not_tried(tenant_run.index, tenant_run.lacks_manager());
        } else if canary_stream::subject(run, tenant_run, "any").is_none() {
            let what = "JetStream: wherever its manager may publish, a stream of the tenant captures it, or members of a queue listen";
            run.ledger.not_tried(tenant_run.index, what);
        }
    }
}

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
            Operation::Subscribe => admits(session.user, &self.subject),
            Operation::Join(_) => admits_queue(session.user, &self.subject),
        }
    }

    fn refusal(&self) -> &'static str {
        match self.operation {
            Operation::Publish => "Permissions Violation for Publish",
            Operation::Subscribe | Operation::Join(_) => "Permissions Violation for Subscription",
        }
    }

    /// Whether an error of the server denies exactly this: its subject, and its queue if
    /// it names one. A denied queue says nothing about another queue on the same subject.
    fn is_denied_by(&self, error: &str) -> bool {
        let queue = match &self.operation {
            Operation::Join(queue) => Some(queue.as_str()),
            Operation::Publish | Operation::Subscribe => None,
        };
        let named = error.split_once(" using queue \"").and_then(|(_, rest)| rest.split('"').next());
        error.starts_with(self.refusal()) && is_about(error, &self.subject) && named == queue
    }

    fn what(&self) -> &'static str {
        match self.operation {
            Operation::Publish => "publishing to",
            Operation::Subscribe => "subscribing to",
            Operation::Join(_) => "joining a queue on",
        }
    }
}

/// The copies of streams from or to a tenant.
fn copies<'p>(run: &Run<'p>, tenant: &'p Tenant) -> impl Iterator<Item = &'p StreamCopy> {
    let all = run.model.tenants.iter().flat_map(|t| &t.stream_imports);
    all.filter(|copy| copy.from == tenant.name || copy.to == tenant.name)
}

/// Each subject once, in the order of its first mention.
fn distinct<'s>(subjects: impl Iterator<Item = &'s Subject>) -> impl Iterator<Item = &'s Subject> {
    let mut seen = HashSet::new();
    subjects.filter(move |subject| seen.insert(subject.as_str()))
}

/// Subjects of the neighbours to which the server, or somebody who answers, may be led in the tenant's account, without those
/// that a declared share takes there. On a server in use those are left out on which somebody would get what they write: it
/// has no header of ours.
async fn foreign_targets<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>) -> Vec<String> {
    let tenant = tenant_run.tenant;
    if !tenant_run.is_in() {
        return Vec::new();
    }
    let theirs = tenant_run.neighbours.iter().flat_map(|n| run.topology.free_subjects(*n));
    let theirs = theirs.map(|s| concrete(s, &run.token())).filter(|subject| !is_led_out(tenant, subject));
    let mut free: Vec<String> = theirs.collect();
    if !run.throwaway {
        free = untaken(run, tenant_run, free).await;
    }
    let has_neighbours = tenant_run.neighbours.iter().any(|n| !run.topology.tenant(*n).subjects.is_empty());
    if free.is_empty() && has_neighbours {
        let what = "what is led to others' subjects: each passes a declared share, is an application's single subject, is stored by a \
                    stream, or may be taken from a queue";
        run.ledger.not_tried(tenant_run.index, what);
    }
    free
}

/// Whether what is written on a subject in a tenant's account leaves it by a share.
fn is_led_out(tenant: &Tenant, text: &str) -> bool {
    let services = tenant.imports.iter().filter(|import| import.kind == ShareKind::Service);
    let mut shared = tenant.exports.iter().map(|e| &e.subject).chain(services.map(|import| &import.subject));
    Subject::as_the_server_reads(text).is_none_or(|subject| shared.any(|shared| shared.contains(&subject)))
}

/// The subjects of which [`is_taken`] says no.
async fn untaken<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>, subjects: Vec<String>) -> Vec<String> {
    let mut free = Vec::new();
    for subject in subjects {
        if !is_taken(run, tenant_run, &subject).await {
            free.push(subject);
        }
    }
    free
}

/// Whether what is written on a subject in the tenant's account leaves it by a share, is stored by a stream, or is
/// a job of somebody's.
async fn is_taken<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>, text: &str) -> bool {
    let Some(subject) = Subject::as_the_server_reads(text) else { return true };
    let tenant = tenant_run.tenant;
    if run.has_workers(tenant_run.index, text) || is_led_out(tenant, text) {
        return true;
    }
    if let Some(is_captured) = run.is_captured(tenant_run.index, &subject) {
        return is_captured;
    }
    if tenant.jetstream.is_none() {
        return false;
    }
    let Some(manager) = tenant_run.manager() else { return true };
    let names = manager.api(run, "STREAM.NAMES", json!({ "subject": text })).await;
    names["total"] != 0
}

/// Every user of a tenant attempts the operations that it is not granted. An attempt that the
/// server does not deny, in an error that names the subject, is a leak.
async fn must_be_refused<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>, attempts: &[Attempt]) {
    let canary = run.signs(tenant_run.index);
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
                Operation::Publish => {
                    connection.publish_stored_by(&run.common(), &attempt.subject, None, canary.as_bytes());
                }
                Operation::Subscribe => connection.subscribe(&attempt.subject, None),
                Operation::Join(queue) => connection.subscribe(&attempt.subject, Some(queue)),
            }
        }
        if !session.settle(run).await {
            continue;
        }
        let errors = session.refused();
        if errors.is_empty() && !tried.is_empty() && !session.is_at_work(run).await {
            let why = format!("{}'s connection neither refuses nor delivers anything", session.user.name);
            run.ledger.not_run(tenant_run.index, why);
            continue;
        }
        for attempt in tried {
            let denial = errors.iter().find(|e| attempt.is_denied_by(e));
            match denial {
                Some(words) => {
                    refused += 1;
                    sample.get_or_insert_with(|| words.clone());
                }
                None => run.ledger.leak(
                    Some(tenant_run.index),
                    attempt.target,
                    format!("{} {} {} {NOT_REFUSED}", session.user.name, attempt.what(), attempt.subject),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fixtures::{BILLING, ORDERS, Reply, SHARING, System, checks, connect};
    use crate::verify::report::{Check, Outcome};

    /// The checks that `must_be_refused` records for `ORDERS`, whose user `app` is connected to a
    /// server that sends `errors` for each HPUB or SUB line.
    async fn attempt(attempts: Vec<Attempt>, errors: impl Fn(&str) -> Option<String> + Send + 'static) -> Vec<Check> {
        let system = System::load(SHARING);
        let plan = system.plan(true);
        let run = Run::new(&plan, vec!["a-probe"]);
        run.begin("a-probe");
        let mut tenant_runs = run.tenant_runs();
        let connection = connect(move |line| match errors(line) {
            Some(error) => Reply::Write(format!("-ERR '{error}'\r\n")),
            None => Reply::Default,
        });
        tenant_runs[ORDERS].sessions[0].connection = Some(connection.await);
        must_be_refused(&run, &mut tenant_runs[ORDERS], &attempts).await;
        checks(run)
    }

    fn attempts() -> Vec<Attempt> {
        vec![
            Attempt::new(Operation::Publish, "BILLING.a", Some(BILLING)),
            Attempt::new(Operation::Subscribe, "BILLING.>", Some(BILLING)),
            Attempt::new(Operation::Join("q".into()), "BILLING.b", Some(BILLING)),
        ]
    }

    /// The error of a server that denies everything.
    fn deny(line: &str) -> Option<String> {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["HPUB", subject, ..] => Some(format!("Permissions Violation for Publish to \"{subject}\"")),
            ["SUB", subject, _] => Some(format!("Permissions Violation for Subscription to \"{subject}\"")),
            ["SUB", subject, queue, _] => {
                Some(format!("Permissions Violation for Subscription to \"{subject}\" using queue \"{queue}\""))
            }
            _ => None,
        }
    }

    #[tokio::test]
    async fn the_probe_passes_if_every_attempt_is_denied() {
        let checks = attempt(attempts(), deny).await;
        let found: Vec<_> = checks.iter().map(|c| (c.outcome, c.evidence.as_str())).collect();
        let sample = "Permissions Violation for Publish to \"BILLING.a\"";
        assert_eq!(found, [(Outcome::Pass, format!("3 attempts refused, as in: {sample}").as_str())]);
    }

    #[tokio::test]
    async fn each_attempt_that_is_not_denied_is_a_leak() {
        for (line, evidence) in [
            ("HPUB BILLING.a", "app publishing to BILLING.a was not refused, and nothing declares it"),
            ("SUB BILLING.>", "app subscribing to BILLING.> was not refused, and nothing declares it"),
            ("SUB BILLING.b q", "app joining a queue on BILLING.b was not refused, and nothing declares it"),
        ] {
            let checks = attempt(attempts(), move |l| deny(l).filter(|_| !l.starts_with(line))).await;
            let found: Vec<_> = checks.iter().map(|c| (c.outcome, c.to.as_str(), c.evidence.as_str())).collect();
            assert_eq!(found, [(Outcome::Leak, "BILLING", evidence)], "without a denial of {line}");
        }
    }

    #[tokio::test]
    async fn a_denial_of_another_subject_or_operation_is_not_taken_for_one() {
        let one = || vec![Attempt::new(Operation::Publish, "BILLING.a", Some(BILLING))];
        for (error, expected) in [
            ("Permissions Violation for Publish to \"BILLING.a\"", Outcome::Pass),
            ("Permissions Violation for Publish to \"BILLING.a.b\"", Outcome::Leak),
            ("Permissions Violation for Publish to \"BILLING\"", Outcome::Leak),
            ("Permissions Violation for Subscription to \"BILLING.a\"", Outcome::Leak),
            ("Unknown Protocol Operation", Outcome::Leak),
        ] {
            let checks = attempt(one(), move |l| l.starts_with("HPUB").then(|| error.to_owned())).await;
            assert_eq!(checks.iter().map(|c| c.outcome).collect::<Vec<_>>(), [expected], "{error}");
        }
    }

    #[tokio::test]
    async fn what_a_user_is_granted_is_not_attempted() {
        let granted = || {
            vec![
                Attempt::new(Operation::Publish, "ORDERS.a", None),
                Attempt::new(Operation::Subscribe, "ORDERS.>", None),
                Attempt::new(Operation::Join("q".into()), "ORDERS.a", None),
            ]
        };
        let checks = attempt(granted(), |line| {
            assert!(!line.starts_with("HPUB") && !line.starts_with("SUB"), "{line}");
            None
        })
        .await;
        assert_eq!(checks.iter().map(|c| c.outcome).collect::<Vec<_>>(), [Outcome::Pass]);
        assert_eq!(checks[0].evidence, "every attempt is something that its users are granted");
    }

    #[tokio::test]
    async fn a_tenant_without_a_connection_has_no_check() {
        let system = System::load(SHARING);
        let plan = system.plan(true);
        let run = Run::new(&plan, vec!["a-probe"]);
        must_be_refused(&run, &mut run.tenant_runs()[ORDERS], &attempts()).await;
        assert!(checks(run).is_empty());
    }

    #[tokio::test]
    async fn a_connection_that_is_lost_midway_is_not_run_and_neither_pass_nor_leak() {
        let system = System::load(SHARING);
        let plan = system.plan(true);
        let run = Run::new(&plan, vec!["a-probe"]);
        run.begin("a-probe");
        let mut tenant_runs = run.tenant_runs();
        let connection = connect(|line| if line.starts_with("SUB") { Reply::Close("") } else { Reply::Default });
        tenant_runs[ORDERS].sessions[0].connection = Some(connection.await);
        must_be_refused(&run, &mut tenant_runs[ORDERS], &attempts()).await;
        assert!(tenant_runs[ORDERS].sessions[0].connection.is_none());
        assert_eq!(checks(run).iter().map(|c| c.outcome).collect::<Vec<_>>(), [Outcome::NotRun]);
    }

    #[test]
    fn the_ids_of_the_probes_are_unique_and_in_kebab_case() {
        let ids: std::collections::BTreeSet<&str> = PROBES.iter().map(|p| p.id).collect();
        assert_eq!(ids.len(), PROBES.len());
        let is_kebab = |id: &str| id.split('-').all(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase()));
        assert!(ids.iter().all(|id| is_kebab(id)), "{ids:?}");
        assert!(!is_kebab("Two-words") && !is_kebab("two--words"), "the control");
    }

    #[test]
    fn a_denial_counts_for_the_subject_and_the_queue_that_it_names() {
        let error = "Permissions Violation for Subscription to \"a.b\"";
        let queue = "Permissions Violation for Subscription to \"a.b\" using queue \"q\"";
        let attempt = |operation, subject: &str| Attempt::new(operation, subject, None);
        let cases = [
            (attempt(Operation::Subscribe, "a.b"), error, true),
            (attempt(Operation::Subscribe, "a.b"), queue, false),
            (attempt(Operation::Subscribe, "a.c"), error, false),
            (attempt(Operation::Publish, "a.b"), error, false),
            (attempt(Operation::Publish, "a.b"), "Permissions Violation for Publish to \"a.b\"", true),
            (attempt(Operation::Join("q".into()), "a.b"), queue, true),
            (attempt(Operation::Join("q.a".into()), "a.b"), queue, false),
            (attempt(Operation::Join("q".into()), "a.b"), error, false),
        ];
        for (attempt, error, denied) in cases {
            assert_eq!(attempt.is_denied_by(error), denied, "{attempt:?}: {error}");
        }
    }
}
