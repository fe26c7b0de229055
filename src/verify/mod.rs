//! The live proof: every tenant attacks every other on a running server, with
//! real credentials, and the server's own answers are the evidence.
//!
//! N tenants are N×(N-1) ordered pairs. They are not tried one by one: every
//! tenant sends messages that nobody can guess (canaries) on every surface it has
//! while every tenant listens on everything it may, so one round tries all pairs.
//! What is refused must be refused in the server's words; silence counts only
//! where the same connection was answered afterwards; what could not be tried is
//! said, and then nothing is proved.

pub mod expected;
pub mod probes;
pub mod report;
pub mod run;
pub mod test_bed;
pub mod wire;

use std::time::Instant;

use crate::audit::system::ListenerKind;
use crate::error::Error;
use crate::model::Model;
use crate::project::Project;
pub use probes::{PROBES, Probe};
use report::{Report, Server};
use run::Run;
use test_bed::Logins;

/// Connections that are opened at a time.
const OPENING: usize = 64;

/// What is attacked, and by whom.
pub struct Plan<'p> {
    /// What was declared: whatever goes beyond it is a leak.
    pub model: &'p Model,
    /// How everybody logs in.
    pub logins: &'p Logins,
    /// Where clients connect.
    pub address: String,
    /// Whether the server is ours alone, so that nobody is disturbed.
    pub throwaway: bool,
    /// Other ways in that the configuration opens, and where; for a server that is
    /// not ours, its operator is asked.
    pub listeners: Vec<(ListenerKind, String)>,
    /// Also what fills limits and slows others down.
    pub exhaustive: bool,
}

/// Attacks a server. `advance` is told how many of how many steps are done, and
/// what is next.
pub async fn attack(plan: &Plan<'_>, advance: &dyn Fn(usize, usize, &'static str)) -> Result<Report, Error> {
    let start = Instant::now();
    let run = Run::new(plan, PROBES.iter().map(|probe| probe.id).collect());
    let mut tenant_runs = run.tenant_runs();
    let steps = PROBES.len() + 2;
    advance(0, steps, "connecting");
    run::each(&mut tenant_runs, OPENING, async |tenant_run| tenant_run.connect(&run).await).await;
    // Nobody in at all is no server, and not a tenant's problem.
    if let Some(words) = run::nobody_is_in(&tenant_runs) {
        return Err(Error::server(
            format!("no tenant's user can connect to {}: {words}", plan.address),
            "is it running, with the configuration of this registry and root key, and is this where clients connect, not the monitoring?",
        ));
    }
    let told = run.ask_operator().await;
    run.topology.find_listeners(plan, &told);
    run.clean(&mut tenant_runs, true).await;
    run.find_full_streams(&mut tenant_runs).await;
    let reached = std::cell::Cell::new(0);
    let interrupted = {
        let probing = async {
            for (i, probe) in PROBES.iter().enumerate() {
                advance(i + 1, steps, probe.id);
                run.begin(probe.id);
                reached.set(i);
                probe.attack(&run, &mut tenant_runs).await;
                run.detect_in_all(&mut tenant_runs).await;
            }
        };
        tokio::select! {
            () = probing => false,
            () = asked_to_end() => true,
        }
    };
    if interrupted {
        for probe in &PROBES[reached.get()..] {
            run.begin(probe.id);
            run.ledger.not_run_for_anybody("interrupted");
        }
        // What was being written is half written.
        tenant_runs.iter_mut().flat_map(|s| &mut s.sessions).for_each(|m| m.connection = None);
    }
    run.begin(report::SETTING);
    let afterwards = run.ask_operator().await;
    if !plan.throwaway {
        run::each(&mut tenant_runs, OPENING, async |tenant_run| tenant_run.connect_manager(&run).await).await;
        run.clean(&mut tenant_runs, false).await;
        if told["config_digest"] != afterwards["config_digest"] {
            run.ledger.not_run_for_anybody("the server's configuration changed meanwhile");
        }
    }
    let server = Server {
        url: format!("nats://{}", plan.address),
        version: run.info().version,
        id: run.info().server_id,
        config_digest: afterwards["config_digest"].as_str().map(str::to_owned),
        throwaway: plan.throwaway,
    };
    Ok(run.into_report(server, start.elapsed()))
}

/// Ctrl-C, or the polite signal of whoever runs us.
async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}

/// Attacks a server that is in use, as the registry's users.
pub fn attack_server(
    project: &Project,
    address: String,
    exhaustive: bool,
    advance: test_bed::Advance<'_>,
) -> Result<Report, Error> {
    let logins = Logins::new(project, project.model());
    let plan =
        Plan { model: project.model(), logins: &logins, address, throwaway: false, listeners: Vec::new(), exhaustive };
    test_bed::run(&plan, advance)
}

/// Every user is a connection, and the usual limit is a thousand.
pub fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// `nats://host:port`, `host:port` or `host`.
pub fn server_address(url: &str) -> Result<String, Error> {
    let refuse = |hint: &str| Err(Error::usage(format!("`{url}` is not where a NATS server is"), hint));
    let rest = match url.split_once("://") {
        Some(("nats", rest)) => rest,
        Some(_) => return refuse("this version speaks nats:// only"),
        None => url,
    };
    let rest = rest.trim_end_matches('/');
    if rest.contains('@') {
        return refuse("no credentials: every tenant's own are used");
    }
    if rest.is_empty() || rest.contains(['/', ' ', ',']) {
        return refuse("write nats://HOST:PORT");
    }
    let has_port = rest.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match (has_port, rest.contains(':')) {
        (true, _) => Ok(rest.to_owned()),
        (false, false) => Ok(format!("{rest}:4222")),
        (false, true) => refuse("the port is a number: nats://HOST:4222"),
    }
}
