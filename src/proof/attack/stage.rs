//! Where the attack takes place: the tenants with their connections, what each
//! sends that nobody can guess, and the judge through whose hands every message
//! goes that anybody hears.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use rand::Rng as _;
use serde_json::{Value, json};

use super::declared::{concrete, is_shared, may_publish, may_subscribe};
use super::report::{Check, Outcome, Report, SETTING, Server};
use super::wire::{Answer, Connection, Info, Login, Message, OpenError, Request};
use super::{PROBES, Plan};
use crate::model::names::AccountName;
use crate::model::{Model, Tenant, User};
use crate::proof::world::DoorKind;
use crate::subject::Subject;

/// Beside those with whom it shares something, so many others are attacked by name.
const NEIGHBOURS: usize = 4;
/// Streams of runs that were killed are removed after this long.
const LEFT_BEHIND: Duration = Duration::from_secs(600);
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
    operator: Option<Login>,
    /// Subjects on which nothing may be said, by tenant: a stream that captures
    /// them has no room, or hands them to workers.
    busy: RefCell<Vec<Vec<Subject>>>,
    canaries: Vec<String>,
    by_canary: HashMap<String, usize>,
    /// Names of accounts and users; nothing where several tenants have it.
    by_name: HashMap<String, Option<usize>>,
    probe: Cell<&'static str>,
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

/// The accounts and users that an answer of the server names.
fn named(json: &Value, names: &mut Vec<String>) {
    const NAMING: [&str; 6] = ["account", "acc", "account_name", "authorized_user", "user", "nkey"];
    match json {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str().filter(|_| NAMING.contains(&key.as_str())) {
                    Some(name) => names.push(name.to_owned()),
                    None => named(value, names),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| named(value, names)),
        _ => {}
    }
}

/// Runs something for every tenant, so many at a time.
pub async fn each<'p>(sides: &mut [Side<'p>], at_once: usize, run: impl AsyncFn(&mut Side<'p>)) {
    stream::iter(sides.iter_mut().map(|side| run(side))).buffer_unordered(at_once).collect::<Vec<()>>().await;
}

impl<'p> Stage<'p> {
    /// A new run with new canaries.
    pub fn new(plan: &'p Plan<'_>) -> Self {
        let canaries: Vec<String> = plan.model.tenants.iter().map(|_| unguessable()).collect();
        Self {
            model: plan.model,
            run: unguessable(),
            address: &plan.address,
            throwaway: plan.throwaway,
            exhaustive: plan.exhaustive,
            doors: RefCell::default(),
            operator: plan.operator.clone(),
            busy: RefCell::new(vec![Vec::new(); plan.model.tenants.len()]),
            by_canary: canaries.iter().cloned().enumerate().map(|(i, c)| (c, i)).collect(),
            canaries,
            by_name: names(plan.model),
            probe: Cell::new(SETTING),
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
            let mut neighbours: Vec<usize> = shares.filter_map(|name| self.place(name)).collect();
            let others = model.tenants.len().saturating_sub(1).min(NEIGHBOURS);
            neighbours.extend((1..=others).map(|step| (index + step) % model.tenants.len()));
            neighbours.sort_unstable();
            neighbours.dedup();
            let logins = plan.logins[index].iter();
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
        format!("{MARK}{}", self.run)
    }

    /// A name for streams and the like that no other tenant can guess.
    pub fn unique(&self, tenant: usize) -> String {
        format!("{MARK}{}_{}", self.run, self.canaries[tenant])
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

    /// Other tenants that a JSON text names, but for those with whom it shares.
    pub fn mentioned(&self, text: &str, tenant: usize) -> Vec<usize> {
        let shares = |other: usize| {
            let (own, other) = (self.tenant(tenant), self.tenant(other));
            let imports = |a: &Tenant, b: &Tenant| a.imports.iter().any(|i| i.from == b.name);
            imports(own, other) || imports(other, own)
        };
        let json: Value = serde_json::from_str(text).unwrap_or_default();
        let mut names = Vec::new();
        named(&json, &mut names);
        let owners = names.iter().filter_map(|name| self.owner_of(name));
        owners.filter(|other| *other != tenant && !shares(*other)).collect()
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

    /// Whether what one tenant sends may arrive at another on this subject.
    pub fn is_declared(&self, sender: usize, receiver: usize, subject: &str) -> bool {
        sender == receiver || is_shared(self.tenant(sender), self.tenant(receiver), subject)
    }

    /// A tenant's subjects on which something may be said: on a server that is in
    /// use, one without a wildcard is somebody's real one.
    pub fn free_subjects(&self, tenant: usize) -> impl Iterator<Item = &'p Subject> {
        self.tenant(tenant).subjects.iter().filter(|s| self.throwaway || s.has_wildcard())
    }

    /// The tenants whose canaries are in a text.
    pub fn named_in<'t>(&'t self, text: &'t str) -> impl Iterator<Item = usize> + 't {
        let mark = format!("tenantry/{}/", self.run);
        let at = text.match_indices(&mark).map(|(at, mark)| at + mark.len()).collect::<Vec<_>>();
        at.into_iter().filter_map(|at| self.by_canary.get(text.get(at..at + CANARY_LENGTH)?).copied())
    }

    /// Looks for other tenants' canaries in what a tenant's user heard, at a
    /// subject; what a share lets through is in order. Says whose it was.
    pub fn judge(&self, receiver: usize, user: &str, subject: &str, bytes: &[u8]) -> Vec<usize> {
        let mark = format!("tenantry/{}/", self.run);
        let mut found = Vec::new();
        let mut rest = bytes;
        while let Some(at) = memchr::memmem::find(rest, mark.as_bytes()) {
            rest = &rest[at + mark.len()..];
            let canary = rest.get(..CANARY_LENGTH).and_then(|c| std::str::from_utf8(c).ok());
            let Some(sender) = canary.and_then(|c| self.by_canary.get(c)).copied() else { continue };
            found.push(sender);
            let sent_by = rest.get(CANARY_LENGTH + 1..).unwrap_or_default();
            // A share passes a message on as it is: what was said elsewhere came another way.
            let said_on = String::from_utf8_lossy(&sent_by[..sent_by.len().min(512)]).into_owned();
            let said_on = said_on
                .split_once(" on ")
                .map(|(_, s)| s.split(['"', '\\', '\r', '\n', ' ']).next().unwrap_or_default().to_owned());
            let is_as_said = said_on.as_deref().is_none_or(|s| s == subject);
            if sender == receiver || is_as_said && self.is_declared(sender, receiver, subject) {
                continue;
            }
            let probe = PROBES.iter().map(|p| p.id).filter(|id| sent_by.starts_with(id.as_bytes()));
            let probe = probe.max_by_key(|id| id.len()).unwrap_or_else(|| self.probe.get());
            let evidence = format!("its canary came to {user} on {subject}");
            self.leak_as(probe, self.name(sender), self.name(receiver), evidence);
        }
        found
    }

    /// The same for a message that was heard.
    pub fn judge_message(&self, receiver: usize, user: &str, message: &Message) -> Vec<usize> {
        let mut found = self.judge(receiver, user, &message.subject, &message.headers);
        found.extend(self.judge(receiver, user, &message.subject, &message.payload));
        found
    }

    /// The same for an answer. A service's comes on an inbox, where a share may
    /// answer. JetStream's is judged by the subject that a message was stored
    /// under, and what is base64 in it is read too.
    pub fn judge_answer(&self, receiver: usize, user: &str, asked: &str, message: &Message) -> Vec<usize> {
        if !asked.starts_with("$JS.") {
            // Whoever is asked through a share may answer.
            let may_answer = |sender: usize| self.is_declared(receiver, sender, asked);
            let text = String::from_utf8_lossy(&message.payload).into_owned();
            let senders: Vec<usize> = self.named_in(&text).collect();
            if senders.iter().all(|s| may_answer(*s)) {
                return senders;
            }
            return self.judge_message(receiver, user, message);
        }
        let header = String::from_utf8_lossy(&message.headers);
        let stored_under = header.lines().find_map(|l| l.strip_prefix("Nats-Subject: ")).unwrap_or(asked);
        let mut found = self.judge(receiver, user, stored_under, &message.payload);
        let json = message.json();
        let stored = &json["message"];
        let subject = stored["subject"].as_str().unwrap_or(asked);
        for part in ["data", "hdrs"].map(|part| stored[part].as_str()).into_iter().flatten() {
            let bytes = data_encoding::BASE64.decode(part.as_bytes()).unwrap_or_default();
            found.extend(self.judge(receiver, user, subject, &bytes));
        }
        found
    }

    /// Reads everybody's connection to the end of what the server has for it.
    pub async fn judge_all(&self, sides: &mut [Side<'p>]) {
        each(sides, usize::MAX, async |side| {
            for member in &mut side.members {
                member.settle(self).await;
                member.heard(self);
            }
        })
        .await;
    }

    /// Why nobody at all is connected, if that is so.
    pub fn nobody_is_in(&self, sides: &[Side<'_>]) -> Option<String> {
        let members = || sides.iter().flat_map(|s| &s.members);
        if members().any(|m| m.connection.is_some()) {
            return None;
        }
        Some(members().find_map(|m| m.absent.clone()).unwrap_or_else(|| "no user's secret is known here".into()))
    }

    /// Removes what this run made, or what runs that were killed left behind.
    pub async fn clean(&self, sides: &mut [Side<'p>], earlier: bool) {
        if self.throwaway {
            return;
        }
        each(sides, 8, async |side| {
            let (index, ours) = (side.index, self.subjects_of_run(side.tenant));
            let Some(manager) = side.manager() else { return };
            let names = manager.ask_one(self, Request::empty("$JS.API.STREAM.NAMES")).await.json();
            for name in names["streams"].as_array().into_iter().flatten().filter_map(|n| n.as_str()) {
                let is_gone = match is_ours(name) {
                    true if earlier => !manager.is_left_behind(self, name).await || manager.delete(self, name).await,
                    true => !name.contains(&self.run) || manager.delete(self, name).await,
                    false => earlier || manager.purge(self, name, &ours).await,
                };
                if !is_gone {
                    self.not_run(index, format!("something is left behind in stream {name}"));
                }
            }
        })
        .await;
    }

    /// The subjects on which a run publishes in a tenant, as a stream that
    /// captures them sees them.
    fn subjects_of_run(&self, tenant: &Tenant) -> Vec<String> {
        let shared = tenant.exports.iter().map(|e| &e.subject).chain(tenant.imports.iter().map(|i| &i.subject));
        let spaces = tenant.subjects.iter().chain(shared).filter(|s| s.has_wildcard());
        let subjects = spaces.map(|s| concrete(s, &self.token()));
        subjects.flat_map(|subject| [format!("{subject}.>"), subject]).collect()
    }

    /// A connection of the server's operator, where a secret of one is known here.
    pub async fn operator(&self) -> Option<Connection> {
        let inbox = format!("_INBOX.{}", self.run);
        let opened = Connection::open(self.address, self.operator.as_ref()?, &inbox, "tenantry verify").await;
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

    /// On a server that is in use: which streams would lose something, or hand it
    /// to workers, if something were said on the subjects that they capture?
    pub async fn survey(&self, sides: &mut [Side<'p>]) {
        if self.throwaway {
            return;
        }
        each(sides, 8, async |side| {
            let (index, spaces) = (side.index, side.tenant.subjects.clone());
            let has_jetstream = side.tenant.jetstream.is_some();
            let Some(manager) = side.manager() else {
                if has_jetstream {
                    self.busy.borrow_mut()[index] = spaces;
                    self.not_run(
                        index,
                        "no user of it may see its streams, so nothing is said where they may capture it",
                    );
                }
                return;
            };
            let (mut offset, mut busy) = (0, Vec::new());
            loop {
                let page = manager.api(self, "STREAM.LIST", json!({ "offset": offset })).await;
                let streams = page["streams"].as_array().cloned().unwrap_or_default();
                busy.extend(streams.iter().filter(|s| !has_room(s)).cloned());
                offset += streams.len();
                if streams.is_empty() || page["total"].as_u64().is_none_or(|total| offset as u64 >= total) {
                    break;
                }
            }
            for stream in busy {
                let subjects = stream["config"]["subjects"].as_array().cloned().unwrap_or_default();
                let subjects: Vec<Subject> =
                    subjects.iter().filter_map(|s| Subject::as_the_server_reads(s.as_str()?)).collect();
                let touched = |s: &Subject| {
                    self.subjects_of_run(side.tenant)
                        .iter()
                        .any(|own| Subject::as_the_server_reads(own).is_some_and(|own| own.overlaps(s)))
                };
                if subjects.iter().any(touched) {
                    let name = stream["config"]["name"].as_str().unwrap_or_default();
                    self.not_run(
                        index,
                        format!("nothing is said where stream {name} captures it: it has no room to spare, or workers"),
                    );
                }
                self.busy.borrow_mut()[index].extend(subjects);
            }
        })
        .await;
    }

    /// Whether something may be said there without anybody losing anything: in the
    /// tenant itself, and in those to which a share takes it.
    pub fn may_speak(&self, tenant: usize, subject: &str) -> bool {
        let Some(subject) = Subject::as_the_server_reads(subject) else { return false };
        let busy = self.busy.borrow();
        let own = self.tenant(tenant);
        let shared = own.exports.iter().flat_map(|e| &e.to).chain(own.imports.iter().map(|i| &i.from));
        let places = shared.filter_map(|name| self.place(name)).chain([tenant]);
        !places.into_iter().any(|place| busy[place].iter().any(|s| s.contains(&subject)))
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
        let order = |probe: &str| PROBES.iter().position(|p| p.id == probe).map_or(0, |i| i + 1);
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

/// Whether a stream takes some more small messages without dropping any, and
/// gives them to nobody to work on.
fn has_room(stream: &Value) -> bool {
    let (config, state) = (&stream["config"], &stream["state"]);
    let room = |limit: &str, used: &str, needed: i64| {
        let limit = config[limit].as_i64().filter(|n| *n > 0);
        limit.is_none_or(|n| state[used].as_i64().unwrap_or(0) + needed <= n)
    };
    config["retention"] == "limits"
        && config["deny_purge"] != true
        && room("max_msgs", "messages", 256)
        && room("max_bytes", "bytes", 128 << 10)
}

/// Whether a stream's name is one that a run gives.
fn is_ours(name: &str) -> bool {
    let name = ["KV_", "OBJ_"].iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name);
    let Some(rest) = name.strip_prefix(MARK) else { return false };
    let (run, more) = rest.split_at_checked(CANARY_LENGTH).unwrap_or((rest, ""));
    let is_random =
        |text: &str| text.len() == CANARY_LENGTH && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
    is_random(run) && (more.is_empty() || more == "_BIG" || more.strip_prefix('_').is_some_and(is_random))
}

/// Whether a server's time (RFC 3339) is longer ago than runs take.
fn is_old(created: &str) -> bool {
    let then = humantime::parse_rfc3339_weak(created.get(..19).unwrap_or_default()).ok();
    then.and_then(|t| t.elapsed().ok()).is_some_and(|age| age > LEFT_BEHIND)
}

impl<'p> Side<'p> {
    /// Connects every user.
    pub async fn connect(&mut self, stage: &Stage<'p>) {
        if self.tenant.jetstream.is_some() && self.members.iter().any(|m| m.is_granted_streams() && m.payload < REQUEST)
        {
            let why = format!(
                "JetStream is not tried: its messages are smaller than {REQUEST} bytes, and so are its requests"
            );
            stage.not_run(self.index, why);
        }
        for member in &mut self.members {
            member.connect(stage).await;
        }
    }

    /// Connects the user that manages the tenant's streams again, if it is not.
    pub async fn connect_manager(&mut self, stage: &Stage<'p>) {
        if let Some(manager) = self.members.iter_mut().find(|m| m.may_manage() && m.connection.is_none()) {
            manager.is_mute = false;
            manager.connect(stage).await;
        }
    }

    /// The user that manages the tenant's streams, if one does.
    pub fn manager(&mut self) -> Option<&mut Member<'p>> {
        self.tenant.jetstream?;
        self.members.iter_mut().find(|m| m.manages())
    }

    /// A user for connections beside those that are open: one that may hear
    /// answers, and whose password is not hashed each time, where there is one.
    pub fn spare(&self) -> Option<&Member<'p>> {
        let usable = || self.members.iter().filter(|m| m.connection.is_some() && m.can_ask);
        usable().find(|m| m.is_cheap()).or_else(|| usable().next())
    }

    /// The tenant's streams are kept where it has room.
    pub fn storage(&self) -> &'static str {
        match self.tenant.jetstream {
            Some(js) if js.memory.bytes() >= ENOUGH => "memory",
            _ => "file",
        }
    }
}

impl<'p> Member<'p> {
    async fn connect(&mut self, stage: &Stage<'p>) {
        let who = format!("{}/{}", stage.tenant(self.tenant).name, self.user.name);
        let opened = match &self.login {
            Some(_) => self.another(stage).await.map_err(|e| e.to_string()),
            None => Err("its secret is not known here".to_owned()),
        };
        match opened {
            Ok(mut connection) => {
                stage.info.borrow_mut().get_or_insert_with(|| connection.info.clone());
                if self.can_ask {
                    connection.listen_for_answers();
                }
                self.connection = Some(connection);
                self.settle(stage).await;
                for words in self.refused() {
                    self.can_ask = false;
                    stage.not_run(self.tenant, format!("{who} may not listen to its own inbox: {words}"));
                }
            }
            Err(words) => {
                stage.not_run(self.tenant, format!("{who} is not connected: {words}"));
                self.absent = Some(words);
            }
        }
    }

    /// Whether logging in costs the server little.
    pub fn is_cheap(&self) -> bool {
        matches!(self.login, Some(Login::Seed(_)))
    }

    /// One more connection of this user.
    pub async fn another(&self, stage: &Stage<'p>) -> Result<Connection, OpenError> {
        let login = self.login.as_ref().ok_or_else(|| OpenError::Broken("its secret is not known here".into()))?;
        Connection::open(stage.address, login, &self.inbox, &stage.canary(self.tenant)).await
    }

    /// Whether it may make and delete streams, and hear about it.
    pub fn manages(&self) -> bool {
        self.connection.is_some() && !self.is_mute && self.may_manage()
    }

    fn may_manage(&self) -> bool {
        // A request has to fit into a message.
        self.is_granted_streams() && self.payload >= REQUEST
    }

    fn is_granted_streams(&self) -> bool {
        let may = |verb: &str| may_publish(self.user, &format!("$JS.API.STREAM.{verb}.{MARK}x"));
        self.can_ask && may("CREATE") && may("DELETE") && may("INFO")
    }

    fn lost(&mut self, stage: &Stage<'p>, words: &str) {
        self.connection = None;
        stage.not_run(self.tenant, format!("{}'s connection was lost: {words}", self.user.name));
    }

    /// Waits until the server has dealt with everything. False if there is no
    /// connection, which is said.
    pub async fn settle(&mut self, stage: &Stage<'p>) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        match connection.settle().await {
            Ok(()) => true,
            Err(lost) => {
                self.lost(stage, &lost.0);
                false
            }
        }
    }

    /// Judges what was heard and gives it.
    pub fn heard(&mut self, stage: &Stage<'p>) -> Vec<Message> {
        let Some(connection) = &mut self.connection else { return Vec::new() };
        let heard = std::mem::take(&mut connection.heard);
        for message in &heard {
            stage.judge_message(self.tenant, self.user.name.as_str(), message);
        }
        heard
    }

    /// What the server refused since somebody asked.
    pub fn refused(&mut self) -> Vec<String> {
        self.connection.as_mut().map(|c| std::mem::take(&mut c.refused)).unwrap_or_default()
    }

    /// Asks, and judges the answers. Without a connection there are none: that it
    /// is lost was said, and says nothing about what was asked.
    pub async fn ask(&mut self, stage: &Stage<'p>, requests: &[Request]) -> Vec<Answer> {
        let Some(connection) = &mut self.connection else { return Vec::new() };
        match connection.ask(requests).await {
            Ok(answers) => {
                for (request, answer) in requests.iter().zip(&answers) {
                    if let Answer::Message(message) = answer {
                        stage.judge_answer(self.tenant, self.user.name.as_str(), &request.subject, message);
                    }
                }
                answers
            }
            Err(lost) => {
                self.lost(stage, &lost.0);
                Vec::new()
            }
        }
    }

    /// Asks once.
    pub async fn ask_one(&mut self, stage: &Stage<'p>, request: Request) -> Answer {
        self.ask(stage, &[request]).await.pop().unwrap_or(Answer::Silence)
    }

    /// Asks the JetStream API; null if it does not answer.
    pub async fn api(&mut self, stage: &Stage<'p>, what: &str, body: Value) -> Value {
        let answer = self.ask_one(stage, Request::json(format!("$JS.API.{what}"), &body)).await;
        if matches!(answer, Answer::Silence) && !self.is_mute {
            self.is_mute = true;
            stage.not_run(self.tenant, format!("JetStream did not answer {what}; what needs it is not tried"));
        }
        answer.json()
    }

    /// The next message that is wanted, which must come before long.
    pub async fn next(&mut self, stage: &Stage<'p>, wanted: impl Fn(&Message) -> bool) -> Option<Message> {
        let connection = self.connection.as_mut()?;
        match connection.next_message(wanted).await {
            Ok(message) => {
                let message = message?;
                stage.judge_message(self.tenant, self.user.name.as_str(), &message);
                Some(message)
            }
            Err(lost) => {
                self.lost(stage, &lost.0);
                None
            }
        }
    }

    /// The next message of a consumer.
    pub async fn pull(&mut self, stage: &Stage<'p>, stream: &str, consumer: &str) -> Option<Message> {
        let reply = self.reply_to("pulled");
        let acknowledged = format!("$JS.ACK.{stream}.{consumer}.");
        let connection = self.connection.as_mut()?;
        connection.heard.retain(|m| m.reply.as_deref().is_none_or(|r| !r.starts_with(&acknowledged)));
        connection.publish(&format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"), Some(&reply), b"1");
        self.next(stage, |m| m.reply.as_deref().is_some_and(|r| r.starts_with(&acknowledged))).await
    }

    /// Where its answers to this are expected.
    pub fn reply_to(&self, name: &str) -> String {
        format!("{}.{name}", self.inbox)
    }

    /// Whether a stream of an earlier run is old enough to be nobody's any more.
    async fn is_left_behind(&mut self, stage: &Stage<'p>, name: &str) -> bool {
        let info = self.api(stage, &format!("STREAM.INFO.{name}"), json!({})).await;
        is_old(info["created"].as_str().unwrap_or_default())
    }

    async fn delete(&mut self, stage: &Stage<'p>, name: &str) -> bool {
        self.api(stage, &format!("STREAM.DELETE.{name}"), json!({})).await["success"] == true
    }

    /// Takes what a stream of the tenant captured of this run out of it again.
    async fn purge(&mut self, stage: &Stage<'p>, name: &str, subjects: &[String]) -> bool {
        for subject in subjects {
            let purged = self.api(stage, &format!("STREAM.PURGE.{name}"), json!({ "filter": subject })).await;
            if purged["success"] != true {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever else a tenant calls its streams is never removed.
    #[test]
    fn only_names_of_runs_are_ours() {
        let (run, canary) = (unguessable(), unguessable());
        let names = [format!("{MARK}{run}"), format!("{MARK}{run}_{canary}"), format!("{MARK}{run}_BIG")];
        for name in names.iter().flat_map(|n| [n.clone(), format!("KV_{n}"), format!("OBJ_{n}")]) {
            assert!(is_ours(&name), "{name}");
        }
        for name in
            ["TENANTRY_EVENTS", "TENANTRY_", "KV_TENANTRY_conf", "EVENTS", "TENANTRY_abcdefghijklmno1", "XTENANTRY_"]
        {
            assert!(!is_ours(name), "{name}");
        }
        assert!(!is_ours(&format!("{MARK}{run}_mine")) && !is_ours(&format!("MY_{MARK}{run}")));
    }
}
