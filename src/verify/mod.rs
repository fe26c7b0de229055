//! The live proof: every tenant attacks every other on a running server, with
//! real credentials, and the server's own answers are the evidence.
//!
//! N tenants are N×(N-1) ordered pairs, which are not tried one by one. Every tenant
//! publishes unguessable messages (canaries) on every subject it may publish to, while
//! every tenant subscribes to everything it may, so that one round covers all pairs.
//! An operation counts as denied only if the server's error names it. A message counts
//! as not delivered only if the server answered a PING on the same connection
//! afterwards. Checks that could not be run are reported; the verdict is then at best
//! inconclusive.

mod endpoint;
pub(crate) mod expected;
#[cfg(test)]
mod fixtures;
mod nodes;
pub(crate) mod probes;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod test_bed;
pub(crate) mod wire;

use std::time::Instant;

use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::audit::system::ListenerKind;
use crate::error::Error;
use crate::model::Model;
use crate::project::Project;
use endpoint::OpenError;
pub use endpoint::{Endpoint, TlsFiles};
pub use nodes::KnownConfiguration;
use nodes::Nodes;
pub use probes::{PROBES, Probe};
use report::{AttackedServer, Report};
use run::Run;
use test_bed::Logins;

/// Why the rest was not run after a signal.
const INTERRUPTED: &str = "interrupted";

/// Number of tenants that connect at the same time.
const OPENING: usize = 64;

/// The server to attack, and the users that attack it.
pub struct Plan<'p> {
    /// What the registry grants; anything beyond it is a leak.
    pub model: &'p Model,
    /// The credentials of every user.
    pub logins: &'p Logins,
    /// The server.
    pub endpoint: Endpoint,
    /// Whether the server was started for this run alone, so that no application uses it.
    pub throwaway: bool,
    /// Listeners other than the client listener, each with its address, as configured on
    /// a throwaway server. Empty for any other server, which is asked for them instead.
    pub listeners: Vec<(ListenerKind, String)>,
    /// Whether to run the checks that use limits up or slow other clients down.
    pub exhaustive: bool,
    /// The configurations that the server may run. Empty for a throwaway server.
    pub known: Vec<KnownConfiguration>,
    /// The only probes to run. `None`: all.
    pub only: Option<&'p [&'static str]>,
}

/// Attacks a server. Calls `advance` before each step with the number of completed
/// steps, the total, and the name of the step.
pub async fn attack(plan: &Plan<'_>, advance: &dyn Fn(usize, usize, &'static str)) -> Result<Report, Error> {
    let start = Instant::now();
    let mut interrupts = Interrupts::listen()?;
    let run = Run::new(plan, PROBES.iter().map(|probe| probe.id).collect());
    let mut tenant_runs = run.tenant_runs();
    let steps = PROBES.len() + 2;
    advance(0, steps, "connecting");
    let (mut nodes_before, reached) = (Nodes::new(), std::cell::Cell::new(0));
    // Open to the end: other runs know by it that this one is there.
    let mut operator = None;
    let attacking = async {
        nodes_before = run.nodes().await;
        if let Some(why) = run.lacks_connections(&nodes_before) {
            return Ok(Some(why));
        }
        run::each(&mut tenant_runs, OPENING, async |tenant_run| tenant_run.connect(&run).await).await;
        // If no user can connect, the server is unreachable: report that once instead of
        // once per tenant.
        if let Some(refusal) = run::nobody_is_in(&tenant_runs) {
            let (refused, words) = (matches!(refusal, OpenError::Refused(_)), refusal.to_string());
            return Err(Error::NobodyConnects { address: plan.endpoint.address.clone(), words, refused });
        }
        if !run::is_at_work(&run, &mut tenant_runs).await {
            return Ok(Some("the server answers pings, and neither delivers nor refuses what is published".to_owned()));
        }
        run.topology.find_listeners(plan, &own_node(&run, &nodes_before));
        operator = run.operator().await;
        run.find_moved_users(&mut operator, &tenant_runs).await;
        run.spare(&mut tenant_runs).await;
        run.clean(&mut tenant_runs, true).await;
        let places = run.places();
        let wanted = |probe: &Probe| plan.only.is_none_or(|only| only.contains(&probe.id));
        for (i, probe) in PROBES.iter().enumerate().filter(|(_, probe)| wanted(probe)) {
            advance(i + 1, steps, probe.id);
            run.begin(probe.id);
            run.find_workers(&mut operator, &nodes_before, &places).await;
            reached.set(i);
            probe.attack(&run, &mut tenant_runs).await;
            run.detect_in_all(&mut tenant_runs).await;
            probes::note_untried_jetstream(&run, &mut tenant_runs);
            if run.endpoint.silence.is_silent() {
                return Ok(Some("the server does not talk any more".to_owned()));
            }
        }
        Ok(None)
    };
    let ended = tokio::select! {
        ended = attacking => ended?,
        () = interrupts.next() => Some(INTERRUPTED.to_owned()),
    };
    if let Some(why) = &ended {
        for probe in &PROBES[reached.get()..] {
            run.begin(probe.id);
            run.ledger.not_run_for_anybody(why);
        }
        // The interrupted probe may have written half a protocol line, so no connection
        // can be used again.
        tenant_runs.iter_mut().flat_map(|s| &mut s.sessions).for_each(|m| m.connection = None);
    }
    let is_interrupted = ended.as_deref() == Some(INTERRUPTED);
    run.begin(report::SETTING);
    run.endpoint.silence.forgive();
    let (mut nodes_after, mut runs_rendered) = (Nodes::new(), None);
    let ending = async {
        nodes_after = run.nodes().await;
        if !plan.throwaway {
            run::each(&mut tenant_runs, OPENING, async |tenant_run| tenant_run.connect_manager(&run).await).await;
            run.clean(&mut tenant_runs, false).await;
            // Interrupted before it asked, there is nothing to compare.
            if !is_interrupted || !nodes_before.is_empty() {
                runs_rendered = run.compare_nodes(&nodes_before, &nodes_after, &plan.known);
            }
        }
    };
    clean_up(&run, ending, &mut interrupts, is_interrupted).await;
    let server = AttackedServer {
        url: plan.endpoint.url(),
        version: run.info().version,
        id: run.info().server_id,
        config_digest: own_node(&run, &nodes_after)["config_digest"].as_str().map(str::to_owned),
        runs_rendered,
        throwaway: plan.throwaway,
        warnings: Vec::new(),
    };
    Ok(run.into_report(server, start.elapsed()))
}

/// Waits for the end of a run. The first signal lets it end, which takes a moment; a second one does not.
async fn clean_up(
    run: &Run<'_>,
    ending: impl Future<Output = ()>,
    interrupts: &mut Interrupts,
    mut is_interrupted: bool,
) {
    let mut ending = std::pin::pin!(ending);
    loop {
        tokio::select! {
            () = &mut ending => return,
            () = interrupts.next() => {
                if std::mem::replace(&mut is_interrupted, true) {
                    let why = "interrupted again: streams of the run may be left, which the next one deletes";
                    return run.ledger.not_run_for_anybody(why);
                }
            }
        }
    }
}

/// The server to which the users are connected, as it describes itself; null if it is unknown.
fn own_node(run: &Run<'_>, nodes: &Nodes) -> Value {
    nodes.get(&run.info().server_id).cloned().unwrap_or_default()
}

/// SIGINT (Ctrl-C) and SIGTERM, from the moment at which it is made: an attack that is
/// interrupted while it connects ends like any other.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Interrupts {
    fn listen() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(|e| Error::server(format!("cannot listen to signals: {e}"), ""));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            // Its terminal is gone: nobody reads the report, and what it made is removed.
            _ = self.hangup.recv() => {}
        }
    }
}

/// Attacks a server that applications use, with the credentials of the registry's users.
pub fn attack_server(
    project: &Project,
    endpoint: Endpoint,
    known: Vec<KnownConfiguration>,
    accepted: &[String],
    exhaustive: bool,
    advance: test_bed::Advance<'_>,
) -> Result<Report, Error> {
    let mut logins = Logins::new(project, project.model());
    logins.accept(project.model(), accepted)?;
    let plan = Plan {
        model: project.model(),
        logins: &logins,
        endpoint,
        throwaway: false,
        listeners: Vec::new(),
        exhaustive,
        known,
        only: None,
    };
    test_bed::run(&plan, advance)
}

/// Raises the limit of open files to its maximum: every user is a connection, and the
/// usual limit is about a thousand.
pub fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
