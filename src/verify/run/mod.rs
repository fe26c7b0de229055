//! One run of the live proof: its ids and canaries, which nobody can guess. What it
//! finds is in the ledger, the tenants and the server are the topology, and each
//! connected user is a session; `detect` looks for canaries in everything heard.

mod cleanup;
mod detect;
mod ledger;
mod session;
mod topology;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use rand::Rng as _;
use serde_json::Value;

use super::Plan;
use super::report::{Report, Server};
use super::test_bed::Logins;
use super::wire::{Connection, Identity, Info, Request};
use crate::model::Model;
use ledger::Ledger;
pub use session::{Session, TenantRun};
use topology::Topology;

/// Everything that a run makes has this in its name.
pub const MARK: &str = "TENANTRY_";
/// Random bytes of a canary, times 8/5 characters.
const UNGUESSABLE: usize = 10;
const CANARY_LENGTH: usize = UNGUESSABLE * 8 / 5;

/// One run.
pub struct Run<'p> {
    /// What was declared.
    pub model: &'p Model,
    /// Names this run, in lowercase letters and digits.
    pub id: String,
    /// Where clients connect.
    pub address: &'p str,
    /// Whether the server is ours alone.
    pub throwaway: bool,
    /// Whether limits are filled and others slowed down.
    pub exhaustive: bool,
    /// How everybody logs in.
    pub logins: &'p Logins,
    /// What was found.
    pub ledger: Ledger,
    /// The tenants and the server.
    pub topology: Topology<'p>,
    canaries: Vec<String>,
    by_canary: HashMap<String, usize>,
    /// Raised for each set of streams: the server may find a file of a stream
    /// again that was deleted a moment before another of its name was made.
    phase: Cell<u32>,
    info: RefCell<Option<Info>>,
}

/// Random lowercase letters and digits.
fn unguessable() -> String {
    let mut bytes = [0; UNGUESSABLE];
    rand::rng().fill_bytes(&mut bytes);
    data_encoding::BASE32_NOPAD.encode(&bytes).to_lowercase()
}

/// Runs something for every tenant, at most `at_once` at a time.
pub async fn each<'p>(tenant_runs: &mut [TenantRun<'p>], at_once: usize, action: impl AsyncFn(&mut TenantRun<'p>)) {
    let actions = tenant_runs.iter_mut().map(|tenant_run| action(tenant_run));
    stream::iter(actions).buffer_unordered(at_once).collect::<Vec<()>>().await;
}

/// Why no user of any tenant is connected, if that is so.
pub fn nobody_is_in(tenant_runs: &[TenantRun<'_>]) -> Option<String> {
    let sessions = || tenant_runs.iter().flat_map(|t| &t.sessions);
    if sessions().any(|s| s.connection.is_some()) {
        return None;
    }
    Some(sessions().find_map(Session::refusal).unwrap_or_else(|| "no user's secret is known here".into()))
}

impl<'p> Run<'p> {
    /// A new run with new canaries. `probes` are the ids of all probes, in their order.
    pub fn new(plan: &'p Plan<'_>, probes: Vec<&'static str>) -> Self {
        let canaries: Vec<String> = plan.model.tenants.iter().map(|_| unguessable()).collect();
        Self {
            model: plan.model,
            id: unguessable(),
            address: &plan.address,
            throwaway: plan.throwaway,
            exhaustive: plan.exhaustive,
            logins: plan.logins,
            ledger: Ledger::new(plan.model, probes),
            topology: Topology::new(plan.model, plan.throwaway),
            by_canary: canaries.iter().cloned().enumerate().map(|(i, c)| (c, i)).collect(),
            canaries,
            phase: Cell::new(0),
            info: RefCell::default(),
        }
    }

    /// The tenants, not yet connected.
    pub fn tenant_runs(&self) -> Vec<TenantRun<'p>> {
        (0..self.model.tenants.len()).map(|index| TenantRun::new(self, index)).collect()
    }

    /// Attributes what is found from now on to this probe.
    pub fn begin(&self, probe: &'static str) {
        self.ledger.begin(probe);
        self.next_phase();
    }

    /// Gives streams other names from now on.
    pub fn next_phase(&self) {
        self.phase.set(self.phase.get() + 1);
    }

    /// A tenant's canary: bytes that can only come from that tenant.
    pub fn canary(&self, tenant: usize) -> String {
        format!("tenantry/{}/{}/{}", self.id, self.canaries[tenant], self.ledger.probe())
    }

    /// A canary with the subject that it is published on.
    pub fn said_on(&self, canary: &str, subject: &str) -> String {
        format!("{canary} on {subject}")
    }

    /// One token for subjects of this run.
    pub fn token(&self) -> String {
        format!("tenantry-{}", self.id)
    }

    /// A name for streams and the like, the same in every tenant.
    pub fn common(&self) -> String {
        format!("{MARK}{}_{}", self.id, self.phase.get())
    }

    /// A name for streams and the like that no other tenant can guess.
    pub fn unique(&self, tenant: usize) -> String {
        format!("{MARK}{}_{}_{}", self.id, self.phase.get(), self.canaries[tenant])
    }

    /// Whether a message is this tenant's.
    pub fn is_from(&self, tenant: usize, bytes: &[u8]) -> bool {
        memchr::memmem::find(bytes, self.canaries[tenant].as_bytes()).is_some()
    }

    /// What the server said of itself.
    pub fn info(&self) -> Info {
        self.info.borrow().clone().unwrap_or_default()
    }

    /// A connection as a user of the system account, where the secret of one is known here.
    pub async fn operator(&self) -> Option<Connection> {
        let inbox = format!("_INBOX.{}", self.id);
        let identity = Identity::User(self.logins.operator.clone()?);
        let mut operator = Connection::open(self.address, &identity, &inbox, "tenantry verify").await.ok()?;
        operator.listen_for_answers();
        Some(operator)
    }

    /// What the server says of what it runs (VARZ), asked as its operator; null where
    /// that cannot be asked.
    pub async fn ask_operator(&self) -> Value {
        let Some(mut operator) = self.operator().await else { return Value::Null };
        match operator.ask_one(Request::empty("$SYS.REQ.SERVER.PING.VARZ")).await {
            Ok(answer) => answer.json()["data"].clone(),
            Err(_) => Value::Null,
        }
    }

    /// What was found.
    pub fn into_report(self, server: Server, took: Duration) -> Report {
        self.ledger.into_report(server, took)
    }
}
