//! Where the attack takes place: the tenants with their connections, what each
//! sends that nobody can guess, and the judge through whose hands every message
//! goes that anybody hears.

mod cleanup;
mod detect;
mod session;

use std::cell::{Cell, RefCell};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use rand::Rng as _;
use serde_json::Value;

use super::Plan;
use super::expected::may_subscribe;
use super::report::{Check, Outcome, Report, SETTING, Server};
use super::test_bed::Logins;
use super::wire::{Connection, Identity, Info, Request};
use crate::audit::system::DoorKind;
use crate::keys::Login;
use crate::model::names::AccountName;
use crate::model::{Model, Tenant, User};
use crate::subject::Subject;

/// Beside those with whom it shares something, so many others are attacked by name.
const NEIGHBOURS: usize = 4;
/// The largest request that a run makes of JetStream.
const REQUEST: u64 = 4 << 10;
/// Memory in which all that a run makes at a time has room.
const ENOUGH: u64 = 4 << 20;
/// So many things of one leak are told.
const DEEDS: usize = 8;
/// Everything that a run makes has this in its name.
pub const MARK: &str = "TENANTRY_";
/// Random bytes of a canary, times 8/5 characters.
const UNGUESSABLE: usize = 10;
const CANARY_LENGTH: usize = UNGUESSABLE * 8 / 5;

/// Which probe found it, whose bytes, and whom they reached.
type Leak = (&'static str, String, String);

/// One run.
pub struct Stage<'p> {
    /// The ids of all probes, in the order in which they run.
    probes: Vec<&'static str>,
    /// What was declared.
    pub model: &'p Model,
    /// Names this run, in lowercase letters and digits.
    pub run: String,
    /// Where clients connect.
    pub address: &'p str,
    /// Whether the server is ours alone.
    pub throwaway: bool,
    /// Whether limits are filled and others slowed down.
    pub exhaustive: bool,
    doors: RefCell<Option<Vec<(DoorKind, String)>>>,
    /// How everybody logs in.
    pub logins: &'p Logins,
    /// Subjects on which nothing may be said, by tenant: a stream that captures
    /// them has no room, or hands them to workers.
    busy: RefCell<Vec<Vec<Subject>>>,
    canaries: Vec<String>,
    by_canary: HashMap<String, usize>,
    /// Names of accounts and users; nothing where several tenants have it.
    by_name: HashMap<String, Option<usize>>,
    probe: Cell<&'static str>,
    /// Raised for each set of streams: the server may find a file of a stream
    /// again that was deleted a moment before another of its name was made.
    phase: Cell<u32>,
    checks: RefCell<Vec<Check>>,
    /// Where each leak is among the checks, and how often it was told.
    leaks: RefCell<HashMap<Leak, (usize, usize)>>,
    info: RefCell<Option<Info>>,
}

/// A tenant with its users.
pub struct Side<'p> {
    /// Its place among the tenants.
    pub index: usize,
    /// What was declared of it.
    pub tenant: &'p Tenant,
    /// Tenants that it attacks by name: those with whom it shares, and the next few.
    pub neighbours: Vec<usize>,
    /// Its users.
    pub members: Vec<Member<'p>>,
}

/// A user, connected if it can be.
pub struct Member<'p> {
    /// Its tenant's place.
    pub tenant: usize,
    /// What was declared of it.
    pub user: &'p User,
    /// How it logs in, if that is known here.
    pub login: Option<Login>,
    /// Its connection, while there is one.
    pub connection: Option<Connection>,
    /// Whether it may hear answers.
    pub can_ask: bool,
    inbox: String,
    payload: u64,
    absent: Option<String>,
    /// JetStream did not answer once; it is not waited for again.
    is_mute: bool,
}

/// Random lowercase letters and digits.
fn unguessable() -> String {
    let mut bytes = [0; UNGUESSABLE];
    rand::rng().fill_bytes(&mut bytes);
    data_encoding::BASE32_NOPAD.encode(&bytes).to_lowercase()
}

fn names(model: &Model) -> HashMap<String, Option<usize>> {
    let mut names: HashMap<String, Option<usize>> = HashMap::new();
    for (i, tenant) in model.tenants.iter().enumerate() {
        for name in std::iter::once(tenant.name.as_str()).chain(tenant.users.iter().map(|u| u.name.as_str())) {
            names.entry(name.to_owned()).and_modify(|owner| *owner = owner.filter(|o| *o == i)).or_insert(Some(i));
        }
    }
    names
}

/// Runs something for every tenant, so many at a time.
pub async fn each<'p>(sides: &mut [Side<'p>], at_once: usize, run: impl AsyncFn(&mut Side<'p>)) {
    stream::iter(sides.iter_mut().map(|side| run(side))).buffer_unordered(at_once).collect::<Vec<()>>().await;
}

impl<'p> Stage<'p> {
    /// A new run with new canaries.
    pub fn new(plan: &'p Plan<'_>, probes: Vec<&'static str>) -> Self {
        let canaries: Vec<String> = plan.model.tenants.iter().map(|_| unguessable()).collect();
        Self {
            probes,
            model: plan.model,
            run: unguessable(),
            address: &plan.address,
            throwaway: plan.throwaway,
            exhaustive: plan.exhaustive,
            doors: RefCell::default(),
            logins: plan.logins,
            busy: RefCell::new(vec![Vec::new(); plan.model.tenants.len()]),
            by_canary: canaries.iter().cloned().enumerate().map(|(i, c)| (c, i)).collect(),
            canaries,
            by_name: names(plan.model),
            probe: Cell::new(SETTING),
            phase: Cell::new(0),
            checks: RefCell::default(),
            leaks: RefCell::default(),
            info: RefCell::default(),
        }
    }

    /// The tenants, not yet connected.
    pub fn sides(&self, plan: &'p Plan<'_>) -> Vec<Side<'p>> {
        let model = plan.model;
        let side = |(index, tenant): (usize, &'p Tenant)| {
            let shares = tenant.exports.iter().flat_map(|e| &e.to).chain(tenant.imports.iter().map(|i| &i.from));
            let shares = shares.chain(tenant.copying());
            let mut neighbours: Vec<usize> = shares.filter_map(|name| self.place(name)).collect();
            let others = model.tenants.len().saturating_sub(1).min(NEIGHBOURS);
            neighbours.extend((1..=others).map(|step| (index + step) % model.tenants.len()));
            neighbours.sort_unstable();
            neighbours.dedup();
            let logins = plan.logins.tenants[index].iter();
            let member = |(user, login): (&'p User, &Option<Login>)| {
                let inbox = format!("{}.{}", user.inbox_prefix(), self.run);
                Member {
                    tenant: index,
                    user,
                    login: login.clone(),
                    connection: None,
                    can_ask: may_subscribe(user, &format!("{inbox}.*")),
                    inbox,
                    payload: tenant.limits.payload.bytes(),
                    absent: None,
                    is_mute: false,
                }
            };
            Side { index, tenant, neighbours, members: tenant.users.iter().zip(logins).map(member).collect() }
        };
        model.tenants.iter().enumerate().map(side).collect()
    }

    /// From now on what is found is this probe's.
    pub fn begin(&self, probe: &'static str) {
        self.probe.set(probe);
        self.next_phase();
    }

    /// From now on streams have other names.
    pub fn next_phase(&self) {
        self.phase.set(self.phase.get() + 1);
    }

    /// A tenant by its place.
    pub fn tenant(&self, index: usize) -> &'p Tenant {
        &self.model.tenants[index]
    }

    fn name(&self, index: usize) -> String {
        self.tenant(index).name.to_string()
    }

    /// What a tenant sends so that whoever has it can only have it from there.
    pub fn canary(&self, tenant: usize) -> String {
        format!("tenantry/{}/{}/{}", self.run, self.canaries[tenant], self.probe.get())
    }

    /// One token for subjects of this run.
    pub fn token(&self) -> String {
        format!("tenantry-{}", self.run)
    }

    /// A name for streams and the like, the same in every tenant.
    pub fn common(&self) -> String {
        format!("{MARK}{}_{}", self.run, self.phase.get())
    }

    /// A name for streams and the like that no other tenant can guess.
    pub fn unique(&self, tenant: usize) -> String {
        format!("{MARK}{}_{}_{}", self.run, self.phase.get(), self.canaries[tenant])
    }

    /// Whether a message is this tenant's.
    pub fn is_from(&self, tenant: usize, bytes: &[u8]) -> bool {
        memchr::memmem::find(bytes, self.canaries[tenant].as_bytes()).is_some()
    }

    /// Whether a subject is in a tenant's own space.
    pub fn is_own_space(&self, tenant: usize, subject: &str) -> bool {
        let subject = Subject::as_the_server_reads(subject);
        subject.is_some_and(|subject| self.tenant(tenant).subjects.iter().any(|own| own.contains(&subject)))
    }

    /// A tenant's place by its name.
    pub fn place(&self, name: &AccountName) -> Option<usize> {
        self.by_name.get(name.as_str()).copied().flatten()
    }

    /// Whose name it is: an account's, or a user's that only one tenant has.
    pub fn owner_of(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied().flatten()
    }

    /// What the server said of itself.
    pub fn info(&self) -> Info {
        self.info.borrow().clone().unwrap_or_default()
    }

    fn record(&self, from: String, to: String, outcome: Outcome, evidence: String) {
        self.checks.borrow_mut().push(Check { probe: self.probe.get(), from, to, outcome, evidence });
    }

    /// A tenant's check held against all others.
    pub fn pass(&self, tenant: usize, evidence: impl Into<String>) {
        self.record(self.name(tenant), "*".into(), Outcome::Pass, evidence.into());
    }

    /// A tenant's check could not be tried.
    pub fn not_run(&self, tenant: usize, why: impl Into<String>) {
        self.record(self.name(tenant), "*".into(), Outcome::NotRun, why.into());
    }

    /// Nobody's checks could be tried.
    pub fn not_run_for_anybody(&self, why: &str) {
        self.record("*".into(), "*".into(), Outcome::NotRun, why.to_owned());
    }

    /// Something of one tenant came to another, or a tenant got what was not
    /// declared from nobody in particular. Told once a pair.
    pub fn leak(&self, from: Option<usize>, to: Option<usize>, evidence: impl Into<String>) {
        let name = |side: Option<usize>| side.map_or_else(|| "*".to_owned(), |i| self.name(i));
        self.leak_as(self.probe.get(), name(from), name(to), evidence.into());
    }

    fn leak_as(&self, probe: &'static str, from: String, to: String, evidence: String) {
        let mut checks = self.checks.borrow_mut();
        match self.leaks.borrow_mut().entry((probe, from.clone(), to.clone())) {
            Entry::Vacant(entry) => {
                entry.insert((checks.len(), 1));
                checks.push(Check { probe, from, to, outcome: Outcome::Leak, evidence });
            }
            Entry::Occupied(mut entry) => {
                let (place, told) = entry.get_mut();
                let known = &mut checks[*place].evidence;
                if *told < DEEDS && !known.contains(&evidence) {
                    *told += 1;
                    *known += &format!("; {evidence}");
                }
            }
        }
    }

    /// A tenant's subjects on which something may be said: on a server that is in
    /// use, one without a wildcard is somebody's real one.
    pub fn free_subjects(&self, tenant: usize) -> impl Iterator<Item = &'p Subject> {
        self.tenant(tenant).subjects.iter().filter(|s| self.throwaway || s.has_wildcard())
    }

    /// Why nobody at all is connected, if that is so.
    pub fn nobody_is_in(&self, sides: &[Side<'_>]) -> Option<String> {
        let members = || sides.iter().flat_map(|s| &s.members);
        if members().any(|m| m.connection.is_some()) {
            return None;
        }
        Some(members().find_map(|m| m.absent.clone()).unwrap_or_else(|| "no user's secret is known here".into()))
    }

    /// A connection of the server's operator, where a secret of one is known here.
    pub async fn operator(&self) -> Option<Connection> {
        let inbox = format!("_INBOX.{}", self.run);
        let opened =
            Connection::open(self.address, &Identity::User(self.logins.operator.clone()?), &inbox, "tenantry verify")
                .await;
        let mut operator = opened.ok()?;
        operator.listen_for_answers();
        Some(operator)
    }

    /// What the server says of what it runs, asked as its operator; null where
    /// that cannot be asked.
    pub async fn ask_operator(&self) -> Value {
        let Some(mut operator) = self.operator().await else { return Value::Null };
        match operator.ask_one(Request::empty("$SYS.REQ.SERVER.PING.VARZ")).await {
            Ok(answer) => answer.json()["data"].clone(),
            Err(_) => Value::Null,
        }
    }

    /// A canary that says where it was published.
    pub fn said_on(&self, canary: &str, subject: &str) -> String {
        format!("{canary} on {subject}")
    }

    /// Other ways in, as the configuration or else the server says.
    pub fn find_doors(&self, plan: &Plan<'_>, told: &Value) {
        let mut doors = plan.doors.clone();
        if !plan.throwaway {
            let here = plan.address.rsplit_once(':').map_or(plan.address.as_str(), |(host, _)| host);
            let kinds = [
                ("leaf", DoorKind::Leaf),
                ("mqtt", DoorKind::Mqtt),
                ("websocket", DoorKind::WebSocket),
                ("cluster", DoorKind::Cluster),
                ("gateway", DoorKind::Gateway),
            ];
            for (key, kind) in kinds {
                let port =
                    told[key]["port"].as_u64().or_else(|| told[key]["cluster_port"].as_u64()).filter(|port| *port > 0);
                doors.extend(port.map(|port| (kind, format!("{here}:{port}"))));
            }
        }
        *self.doors.borrow_mut() = told.is_object().then_some(doors);
    }

    /// Other ways in, if they are known.
    pub fn doors(&self) -> Option<Vec<(DoorKind, String)>> {
        self.doors.borrow().clone()
    }

    /// What was found, each tenant's passes of a probe in one.
    pub fn into_report(self, server: Server, took: Duration) -> Report {
        let names = self.model.tenants.iter().map(|t| t.name.to_string()).collect();
        let order = |probe: &str| self.probes.iter().position(|id| *id == probe).map_or(0, |i| i + 1);
        let mut passes: BTreeMap<(usize, String), Check> = BTreeMap::new();
        let mut checks = Vec::new();
        for check in self.checks.into_inner() {
            if check.outcome != Outcome::Pass {
                checks.push(check);
                continue;
            }
            match passes.entry((order(check.probe), check.from.clone())) {
                std::collections::btree_map::Entry::Vacant(entry) => drop(entry.insert(check)),
                std::collections::btree_map::Entry::Occupied(entry) => {
                    let evidence = &mut entry.into_mut().evidence;
                    *evidence = format!("{evidence}; {}", check.evidence);
                }
            }
        }
        // What leaked or was not tried did not pass.
        passes.retain(|_, pass| !checks.iter().any(|c| c.probe == pass.probe && c.from == pass.from));
        checks.extend(passes.into_values());
        checks.sort_by_key(|c| (std::cmp::Reverse(c.outcome), order(c.probe)));
        Report::new(server, names, checks, took)
    }
}
