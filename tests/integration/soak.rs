//! Tenants with traffic while random changes are planned and made: whom a plan does not name stays connected, every
//! message that the server took is stored and delivered, every request is answered.
//!
//! `TENANTRY_SOAK=200x500` has 200 tenants and 500 changes; a few of both otherwise. `TENANTRY_SEED` repeats a run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use async_nats::jetstream::consumer::PullConsumer;
use futures_util::StreamExt as _;
use serde_json::Value as Json;
use tokio::task::{JoinHandle, block_in_place};

use crate::support::{Connection, Creds, Project, eventually};

/// Between two rounds of a tenant's traffic.
const PAUSE: Duration = Duration::from_millis(100);

/// One tenant as the registry has it. What changes at random is here; its app stays as it is.
#[derive(Clone, Default)]
struct Tenant {
    spare: u32,
    spare_role: usize,
    max_age: u64,
    storage: u64,
    connections: u32,
    consumers: BTreeSet<u32>,
    more_users: BTreeSet<u32>,
    retired_users: BTreeSet<u32>,
    shares_with: BTreeSet<usize>,
    bucket: bool,
}

const ROLES: [&str; 3] = ["app", "subscriber", "publisher"];

impl Tenant {
    fn new() -> Self {
        Self { spare: 1, max_age: 30, storage: 32, connections: 20, ..Self::default() }
    }

    fn text(&self, i: usize) -> String {
        let Self { spare, spare_role, max_age, storage, connections, .. } = self;
        let mut text = format!(
            "[[tenant]]\nname = \"T{i}\"\n[tenant.limits]\nconnections = {connections}\n[tenant.jetstream]\nmemory = \"1MiB\"\n\
             storage = \"{storage}MiB\"\n[[tenant.user]]\nname = \"app\"\n[[tenant.user]]\nname = \"spare\"\nrole = \"{}\"\n\
             generation = {spare}\n",
            ROLES[*spare_role % ROLES.len()]
        );
        for user in &self.more_users {
            let _ = write!(text, "[[tenant.user]]\nname = \"u{user}\"\n");
        }
        let _ = write!(
            text,
            "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T{i}.s.>\"]\nmax_age = \"{max_age}d\"\n[[tenant.stream.consumer]]\n\
             name = \"worker\"\n"
        );
        for consumer in &self.consumers {
            let _ = write!(text, "[[tenant.stream.consumer]]\nname = \"c{consumer}\"\n");
        }
        text += "[[tenant.bucket]]\nname = \"kept\"\n";
        if self.bucket {
            text += "[[tenant.bucket]]\nname = \"more\"\n";
        }
        text
    }
}

/// The whole registry: tenants by number, and numbers that were given up.
#[derive(Clone)]
struct Registry {
    head: String,
    tenants: BTreeMap<usize, Tenant>,
    gone: BTreeSet<usize>,
    next: usize,
}

impl Registry {
    fn text(&self) -> String {
        let mut text = self.head.clone();
        for (i, tenant) in &self.tenants {
            text += &tenant.text(*i);
        }
        for (i, tenant) in &self.tenants {
            for with in tenant.shares_with.iter().filter(|with| self.tenants.contains_key(with)) {
                let _ =
                    write!(text, "[[share]]\nfrom = \"T{i}\"\nto = [\"T{with}\"]\nstream = \"T{i}.to.T{with}.>\"\n");
            }
            for user in &tenant.retired_users {
                let _ = write!(text, "[[retired]]\ntenant = \"T{i}\"\nuser = \"u{user}\"\n");
            }
        }
        for i in &self.gone {
            let _ = write!(text, "[[retired]]\ntenant = \"T{i}\"\n");
        }
        text
    }

    /// A random change. `fixed`: the tenants that have traffic stay.
    fn change(&mut self, random: &mut Random, fixed: usize) -> String {
        let i = *self.tenants.keys().nth(random.below(self.tenants.len())).expect("a tenant");
        let other = *self.tenants.keys().nth(random.below(self.tenants.len())).expect("a tenant");
        let number = u32::try_from(self.next).expect("few changes");
        self.next += 1;
        let Some(tenant) = self.tenants.get_mut(&i) else { return String::new() };
        match random.below(11) {
            0 => {
                tenant.spare += 1;
                format!("T{i}: the spare user is rotated")
            }
            1 => {
                tenant.spare_role += 1;
                format!("T{i}: the spare user has another role")
            }
            2 => {
                tenant.max_age = 10 + random.below(20) as u64;
                format!("T{i}: another age")
            }
            3 => {
                tenant.consumers.insert(number);
                format!("T{i}: a consumer")
            }
            4 => {
                tenant.more_users.insert(number);
                format!("T{i}: a user")
            }
            5 => {
                let user = tenant.more_users.pop_first();
                tenant.retired_users.extend(user);
                format!("T{i}: a user less")
            }
            6 => {
                tenant.connections = 15 + u32::try_from(random.below(10)).expect("few");
                format!("T{i}: another limit of connections")
            }
            7 => {
                tenant.storage += 1;
                format!("T{i}: more storage")
            }
            8 if i != other && !tenant.shares_with.remove(&other) => {
                tenant.shares_with.insert(other);
                format!("T{i}: a share with T{other}")
            }
            9 => {
                let new = self.next;
                self.tenants.insert(new, Tenant::new());
                format!("T{new}: a tenant")
            }
            10 => match self.tenants.keys().copied().find(|i| *i >= fixed) {
                Some(last) => {
                    self.tenants.remove(&last);
                    self.gone.insert(last);
                    format!("T{last}: a tenant less")
                }
                None => "nothing".to_owned(),
            },
            _ => {
                tenant.bucket = true;
                format!("T{i}: a bucket")
            }
        }
    }
}

/// xorshift: the same changes from the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).expect("below a limit")
    }
}

/// What a tenant's app did.
#[derive(Default)]
struct Counts {
    stored: AtomicU64,
    delivered: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
}

/// A tenant with traffic.
struct Load {
    name: String,
    app: Arc<Connection>,
    responder: Arc<Connection>,
    counts: Arc<Counts>,
    works: JoinHandle<()>,
}

impl Load {
    async fn start(name: String, creds: &Creds, stop: Arc<AtomicBool>) -> Self {
        let app = Arc::new(creds.connect().await.expect("the app"));
        let responder = Arc::new(creds.connect().await.expect("the responder"));
        let counts = Arc::<Counts>::default();
        let works = tokio::spawn(work(name.clone(), app.clone(), responder.clone(), counts.clone(), stop));
        Self { name, app, responder, counts, works }
    }

    fn is_connected(&self) -> bool {
        !self.app.was_lost() && !self.responder.was_lost()
    }
}

/// Publishes with acknowledgement, asks, writes a key, fetches and acknowledges, until it is stopped; then fetches the rest.
async fn work(
    name: String,
    app: Arc<Connection>,
    responder: Arc<Connection>,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
) {
    let js = jetstream::new(app.client.clone());
    let mut questions = responder.subscribe(format!("{name}.ask")).await.expect("subscribe");
    responder.flush().await.expect("flush");
    let answering = responder.client.clone();
    let answers = tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            if let Some(reply) = question.reply {
                let _ = answering.publish(reply, question.payload).await;
            }
        }
    });
    let consumer: PullConsumer =
        js.get_consumer_from_stream("worker", "S").await.expect("the consumer of the tenant's stream");
    let store = js.get_key_value("kept").await.expect("the bucket");
    let count = |counter: &AtomicU64, is_done: bool| {
        if is_done { counter } else { &counts.failed }.fetch_add(1, Ordering::Relaxed);
    };
    let mut round = 0u64;
    loop {
        let is_last = stop.load(Ordering::Relaxed);
        if !is_last {
            let stored = js.publish(format!("{name}.s.x"), round.to_string().into()).await;
            let is_stored = match stored {
                Ok(acknowledged) => acknowledged.await.is_ok(),
                Err(_) => false,
            };
            count(&counts.stored, is_stored);
            let answer = app.request(format!("{name}.ask"), round.to_string().into()).await;
            count(&counts.answered, answer.is_ok_and(|answer| answer.payload == round.to_string()));
            if store.put("round", round.to_string().into()).await.is_err() {
                count(&counts.failed, true);
            }
        }
        let fetched = consumer.fetch().max_messages(50).expires(Duration::from_millis(500)).messages().await;
        let mut is_empty = true;
        match fetched {
            Ok(mut messages) => {
                while let Some(Ok(message)) = messages.next().await {
                    is_empty = false;
                    count(&counts.delivered, message.double_ack().await.is_ok());
                }
            }
            Err(_) => count(&counts.delivered, false),
        }
        if is_last && is_empty {
            break;
        }
        round += 1;
        tokio::time::sleep(PAUSE).await;
    }
    answers.abort();
}

/// Numbers in `TENANTRY_SOAK`: tenants and changes.
fn extent() -> (usize, usize) {
    let text = std::env::var("TENANTRY_SOAK").unwrap_or_else(|_| "6x20".to_owned());
    let (tenants, changes) = text.split_once('x').expect("TENANTRY_SOAK is TENANTSxCHANGES");
    (tenants.parse().expect("a number of tenants"), changes.parse().expect("a number of changes"))
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_change_does_not_name_notices_nothing() {
    let (tenants, changes) = extent();
    let seed = std::env::var("TENANTRY_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) * 7919 + 1);
    let mut random = Random(seed);
    let head = "version = 1\n[server]\nname = \"soak\"\nclient = \"127.0.0.1:4222\"\nmonitor = \"127.0.0.1:8222\"\nmax_connections = 60000\n\
        [server.jetstream]\nmemory = \"4GiB\"\nstorage = \"200GiB\"\n[keys]\nroot = \"development\"\n[[system.user]]\nname = \"op\"\n";
    let project = Project::with_registry(head);
    let head = project.read("tenants.toml");
    let all = (0..tenants).map(|i| (i, Tenant::new())).collect();
    let mut registry = Registry { head, tenants: all, gone: BTreeSet::new(), next: tenants };
    project.write("tenants.toml", &registry.text());
    project.up();
    let stop = Arc::<AtomicBool>::default();
    let mut loads = Vec::new();
    for i in 0..tenants {
        let creds = project.creds(&format!("T{i}/app"));
        loads.push(Load::start(format!("T{i}"), &creds, stop.clone()).await);
    }
    let mut spare: BTreeMap<String, Connection> = BTreeMap::new();
    let (mut restarts, mut cut, mut slowest) = (0, 0, Duration::ZERO);
    for step in 0..changes {
        for i in 0..tenants.min(20) {
            let who = format!("T{i}/spare");
            if !spare.contains_key(&who) {
                spare.insert(who.clone(), block_in_place(|| project.creds(&who)).connect().await.expect("in"));
            }
        }
        let before = registry.clone();
        let what = format!("seed {seed}, change {step}: {}", registry.change(&mut random, tenants));
        project.write("tenants.toml", &registry.text());
        let plan = block_in_place(|| project.run(&["plan", "--format", "json"])).json();
        if plan["restart"] == true {
            // It would disconnect everybody: what `up` refuses is not made.
            restarts += 1;
            block_in_place(|| project.run(&["up"])).exited(1);
            registry = Registry { next: registry.next, ..before };
            project.write("tenants.toml", &registry.text());
            continue;
        }
        let begin = Instant::now();
        block_in_place(|| project.run(&["up", "-q"])).exited(0);
        slowest = slowest.max(begin.elapsed());
        let named: BTreeSet<&str> = plan["disconnects"]
            .as_array()
            .unwrap_or_else(|| panic!("{what}: it is known who is disconnected: {plan}"))
            .iter()
            .filter_map(Json::as_str)
            .collect();
        for load in &loads {
            assert!(load.is_connected(), "{what}: the clients of {} were disconnected; planned: {named:?}", load.name);
        }
        let whose: Vec<String> = spare.keys().cloned().collect();
        for who in whose {
            if named.contains(who.as_str()) {
                let connection = spare.remove(&who).expect("it is there");
                eventually(&format!("{what}: {who} is disconnected"), async || connection.was_lost()).await;
                cut += 1;
            } else {
                assert!(!spare[&who].was_lost(), "{what}: {who} was disconnected; planned: {named:?}");
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut sums = [0; 3];
    for load in loads {
        load.works.await.expect("the load ends");
        let Counts { stored, delivered, answered, failed } = &*load.counts;
        let [stored, delivered, answered, failed] =
            [stored, delivered, answered, failed].map(|c| c.load(Ordering::Relaxed));
        let stream = jetstream::new(load.app.client.clone()).get_stream("S").await.expect("the stream");
        let kept = stream.cached_info().state.messages;
        assert_eq!((failed, kept, delivered), (0, stored, stored), "seed {seed}: {}", load.name);
        assert!(stored > 0 && answered == stored, "seed {seed}: {}: {stored} stored, {answered} answered", load.name);
        sums = [sums[0] + stored, sums[1] + delivered, sums[2] + answered];
    }
    block_in_place(|| project.run(&["plan"])).exited(0);
    let report = block_in_place(|| project.run(&["verify", "--server", &format!("nats://127.0.0.1:{}", project.port)]));
    assert!([0, 3].contains(&report.code) && !report.stdout.contains("leaky"), "{}", report.all());
    let [stored, delivered, answered] = sums;
    eprintln!(
        "seed {seed}: {tenants} tenants, {} changes made and {restarts} refused for a restart; {cut} clients disconnected, each as \
         planned; 0 others; {stored} messages stored, {delivered} delivered, {answered} requests answered, 0 failed; slowest `up` {slowest:.1?}",
        changes - restarts
    );
}
