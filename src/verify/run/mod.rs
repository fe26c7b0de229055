//! One run of the live proof. `canary` holds what it says, the ledger what it finds, the
//! topology the tenants and the server, and each user is a session; `detect` looks for
//! canaries in every message that a session receives.

mod canary;
mod cleanup;
mod detect;
mod ledger;
mod session;
mod streams;
mod topology;
mod workers;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use rand::Rng as _;
use serde_json::json;

use super::Plan;
use super::endpoint::{Endpoint, Info, OpenError};
use super::nodes::Nodes;
use super::probes;
use super::report::{AttackedServer, Report};
use super::test_bed::Logins;
use super::wire::{Connection, Identity, Message, Request};
use crate::model::Model;
use crate::subject::Subject;
pub use canary::Said;
use canary::{Canaries, UNGUESSABLE};
use ledger::Ledger;
pub use session::{Session, TenantRun, is_ack_of};
pub use streams::{ACKNOWLEDGES, ROLLS_UP};
use topology::Topology;
use workers::Listeners;
pub use workers::{ANY_BUCKET, ANY_OBJECTS};

/// Prefix of the names of all streams, buckets and object stores that a run creates.
pub const MARK: &str = "TENANTRY_";

/// In the evidence of a user that is in the account of another tenant.
pub const MOVED: &str = "logs in to the account";

/// What the streams of each account capture, each with its name.
pub type Captured = HashMap<String, Vec<(String, Subject)>>;

/// One run.
pub struct Run<'p> {
    /// What the registry grants.
    pub model: &'p Model,
    /// Random id of this run: 16 lowercase base32 characters.
    pub id: String,
    /// The server.
    pub endpoint: &'p Endpoint,
    /// Whether the server was started for this run alone.
    pub throwaway: bool,
    /// Whether to use limits up and slow other clients down.
    pub exhaustive: bool,
    /// The credentials of every user.
    pub logins: &'p Logins,
    /// Checks and leaks.
    pub ledger: Ledger,
    /// The tenants and the server.
    pub topology: Topology<'p>,
    /// What it said.
    canaries: Canaries,
    /// The random part of the names of each tenant's streams, in the model's order. Others see them: they are no canaries.
    names: Vec<String>,
    /// Who listens where the run publishes.
    listeners: RefCell<Listeners>,
    /// What the streams of each account capture, each with its name. `None`: nobody knows.
    captured: RefCell<Option<Captured>>,
    /// The connections of the run: the id of the server that each reached, and its own on it.
    reached: RefCell<HashSet<(String, u64)>>,
    /// Part of stream names, incremented for each set of streams. If a stream is created
    /// just after one of the same name was deleted, the server may find a file of the
    /// deleted one.
    phase: Cell<u32>,
    info: RefCell<Option<Info>>,
}

/// Random characters of lowercase base32 (`a` to `z`, `2` to `7`).
fn unguessable() -> String {
    let mut bytes = [0; UNGUESSABLE];
    rand::rng().fill_bytes(&mut bytes);
    data_encoding::BASE32_NOPAD.encode(&bytes).to_lowercase()
}

/// Runs an action for every tenant, for at most `at_once` tenants at a time.
pub async fn each<'p>(tenant_runs: &mut [TenantRun<'p>], at_once: usize, action: impl AsyncFn(&mut TenantRun<'p>)) {
    let actions = tenant_runs.iter_mut().map(|tenant_run| action(tenant_run));
    stream::iter(actions).buffer_unordered(at_once).collect::<Vec<()>>().await;
}

/// Why no user of any tenant is connected. `None` if at least one is.
pub fn nobody_is_in(tenant_runs: &[TenantRun<'_>]) -> Option<OpenError> {
    let sessions = || tenant_runs.iter().flat_map(|t| &t.sessions);
    if sessions().any(|s| s.connection.is_some()) {
        return None;
    }
    let refusals = || sessions().filter_map(Session::refusal);
    let by_the_server = refusals().find(|e| matches!(e, OpenError::Refused(_)));
    let none = || OpenError::Broken("no user's secret is known here".into());
    Some(by_the_server.or_else(|| refusals().next()).cloned().unwrap_or_else(none))
}

/// Whether the server does anything: it delivers a message, or refuses it, as every server does. `false`: it only says that
/// it is there.
pub async fn is_at_work<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) -> bool {
    /// Number of users that try it.
    const MOST: usize = 8;
    let sessions = tenant_runs.iter_mut().flat_map(|t| &mut t.sessions).filter(|s| s.connection.is_some());
    for session in sessions.take(MOST) {
        if session.is_at_work(run).await {
            return true;
        }
    }
    false
}

/// Whether the server refuses a connection because the account has all that its limit allows.
pub fn is_full(refusal: &OpenError) -> bool {
    refusal.to_string().to_lowercase().contains("connections exceeded")
}

impl<'p> Run<'p> {
    /// A run with a new id and new canaries. `probes` are the ids of all probes, in the
    /// order in which they run.
    pub fn new(plan: &'p Plan<'_>, probes: Vec<&'static str>) -> Self {
        Self {
            model: plan.model,
            id: unguessable(),
            endpoint: &plan.endpoint,
            throwaway: plan.throwaway,
            exhaustive: plan.exhaustive,
            logins: plan.logins,
            ledger: Ledger::new(plan.model, probes),
            topology: Topology::new(plan.model, plan.throwaway),
            canaries: Canaries::default(),
            names: plan.model.tenants.iter().map(|_| unguessable()).collect(),
            listeners: RefCell::default(),
            captured: RefCell::default(),
            reached: RefCell::default(),
            phase: Cell::new(0),
            info: RefCell::default(),
        }
    }

    /// The tenants, not yet connected.
    pub fn tenant_runs(&self) -> Vec<TenantRun<'p>> {
        (0..self.model.tenants.len()).map(|index| TenantRun::new(self, index)).collect()
    }

    /// Starts a probe: later checks are attributed to it, and its streams get new names.
    pub fn begin(&self, probe: &'static str) {
        self.ledger.begin(probe);
        self.next_phase();
    }

    /// Changes the names that `common` and `unique` return.
    pub fn next_phase(&self) {
        self.phase.set(self.phase.get() + 1);
    }

    /// A subject token that only this run uses.
    pub fn token(&self) -> String {
        format!("tenantry-{}", self.id)
    }

    /// A name for streams, buckets and object stores, the same in every tenant.
    pub fn common(&self) -> String {
        format!("{MARK}{}_{}", self.id, self.phase.get())
    }

    /// A name for streams of a tenant. Others learn it where it is attacked by name, and may have a stream of the same name
    /// then.
    pub fn unique(&self, tenant: usize) -> String {
        format!("{MARK}{}_{}_{}", self.id, self.phase.get(), self.names[tenant])
    }

    /// The tenant that is meant by a name of `unique`.
    pub fn named(&self, stream: &str) -> Option<usize> {
        self.names.iter().position(|name| stream.ends_with(name))
    }

    /// The server's INFO; empty if no user has connected.
    pub fn info(&self) -> Info {
        self.info.borrow().clone().unwrap_or_default()
    }

    /// Records that what the run made in a tenant is not as it was made. On a server of its own another tenant did
    /// that; on a live one it may have been a program of the tenant itself, which leaves the check undecided.
    pub fn note_changed(&self, by: Option<usize>, tenant: usize, evidence: String) {
        match self.throwaway {
            true => self.ledger.leak(by, Some(tenant), evidence),
            false => self.ledger.not_run(
                tenant,
                format!("{evidence}; whether by another tenant or by a program of its own, nothing tells"),
            ),
        }
    }

    /// A new connection as a user of the system account. `None` if no secret of such a
    /// user is known here, or the connection fails.
    pub async fn operator(&self) -> Option<Connection> {
        let inbox = format!("_INBOX.{}", self.id);
        let identity = Identity::User(self.logins.operator.clone()?);
        let mut operator = Connection::open(self.endpoint, &identity, &inbox, &self.operator_name()).await.ok()?;
        self.note_server(&operator);
        operator.listen_for_answers();
        Some(operator)
    }

    /// The name of the operator's connections, by which other runs know of this one.
    fn operator_name(&self) -> String {
        format!("tenantry/{}/operator", self.id)
    }

    /// Records which users are in another account than their tenant's, as the server tells its operator.
    pub async fn find_moved_users(&self, operator: &mut Option<Connection>, tenant_runs: &[TenantRun<'p>]) {
        const MOST: usize = 65_536;
        let Some(operator) = operator else { return };
        let request = Request::json("$SYS.REQ.SERVER.PING.CONNZ", &json!({ "auth": true, "limit": MOST }));
        let answers = operator.ask_all(request).await.unwrap_or_default();
        let mut accounts: HashMap<(String, u64), String> = HashMap::new();
        for answer in answers.iter().map(Message::json) {
            let id = answer["server"]["id"].as_str().unwrap_or_default();
            for connection in answer["data"]["connections"].as_array().into_iter().flatten() {
                if let (Some(cid), Some(account)) = (connection["cid"].as_u64(), connection["account"].as_str()) {
                    accounts.insert((id.to_owned(), cid), account.to_owned());
                }
            }
        }
        for (tenant_run, session) in tenant_runs.iter().flat_map(|t| t.sessions.iter().map(move |s| (t, s))) {
            let Some(info) = session.connection.as_ref().map(|connection| &connection.info) else { continue };
            let Some(account) = accounts.get(&(info.server_id.clone(), info.client_id)) else { continue };
            if account != tenant_run.tenant.name.as_str() {
                let other = self.model.tenants.iter().position(|tenant| tenant.name.as_str() == account);
                let evidence = format!("{}/{} {MOVED} {account}", tenant_run.tenant.name, session.user.name);
                self.ledger.leak_of(probes::ENTRY, Some(tenant_run.index), other, &evidence);
            }
        }
    }

    /// Why there is no connection as a user of the system account.
    pub fn lacks_operator(&self) -> &'static str {
        match self.logins.operator {
            None => "no user of the system account is known here",
            Some(_) => "the user of the system account could not connect",
        }
    }

    /// Keeps in mind which server a connection reached.
    pub fn note_server(&self, connection: &Connection) {
        self.reached.borrow_mut().insert((connection.info.server_id.clone(), connection.info.client_id));
    }

    /// Whether a connection reached a server that is none of the system's, before or after the attack.
    pub fn strayed(&self, before: &Nodes, after: &Nodes) -> bool {
        !self.reached.borrow().iter().all(|(id, _)| before.contains_key(id) || after.contains_key(id))
    }

    /// The report of this run.
    pub fn into_report(self, server: AttackedServer, took: Duration) -> Report {
        self.ledger.into_report(server, took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fixtures::{BILLING, ORDERS, SHARING, System, checks};
    use crate::verify::report::Outcome;

    #[test]
    fn names_change_with_each_phase_and_differ_between_tenants() {
        let system = System::load(SHARING);
        let plan = system.plan(true);
        let run = Run::new(&plan, vec!["first"]);
        let (common, unique) = (run.common(), run.unique(ORDERS));
        assert_eq!((&run.common(), &run.unique(ORDERS)), (&common, &unique), "within a phase");
        assert_ne!(run.unique(BILLING), unique);
        run.next_phase();
        assert!(run.common() != common && run.unique(ORDERS) != unique);
        assert!([&common, &unique].iter().all(|name| name.starts_with(MARK) && name.contains(&run.id)));
    }

    #[test]
    fn a_change_is_anothers_on_a_server_of_the_runs_own_only() {
        let system = System::load(SHARING);
        for (throwaway, expected) in [(true, Outcome::Leak), (false, Outcome::NotRun)] {
            let plan = system.plan(throwaway);
            let run = Run::new(&plan, vec!["first"]);
            run.begin("first");
            run.note_changed(None, ORDERS, "it is gone".into());
            assert_eq!(checks(run).iter().map(|c| c.outcome).max(), Some(expected), "{throwaway}");
        }
    }

    #[test]
    fn without_a_connection_the_reason_is_the_missing_secret() {
        let system = System::load(SHARING);
        let plan = system.plan(true);
        let run = Run::new(&plan, vec!["first"]);
        let reason = nobody_is_in(&run.tenant_runs()).map(|e| e.to_string());
        assert_eq!(reason.as_deref(), Some("no user's secret is known here"));
    }
}
