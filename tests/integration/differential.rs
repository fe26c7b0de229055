//! What the static model says about reaching, against what a running server does: small
//! systems drawn at random, with leaks and without. No message may arrive that was not
//! foretold. One that was foretold and does not arrive must have one of the causes that
//! are known, each of which is counted.

#![allow(clippy::print_stdout)] // its seeds and what it counted

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use serde_json::{Value as Json, json};
use tenantry::audit::reach::{self, Question};
use tenantry::audit::system::{Account, System, User};
use tenantry::audit::tenants::Tenants;
use tenantry::audit::{self, Audit};
use tenantry::diag::Severity;
use tenantry::subject::Subject;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;

mod tenants;

use crate::support::{PATIENCE, Project, free_port, nats_server};

/// Numbers that follow from a seed.
struct Dice {
    state: u64,
    /// Whether users get short lists of single subjects, so that many are apart.
    is_narrow: bool,
}

impl Dice {
    fn new(seed: u64) -> Self {
        Self { state: seed, is_narrow: seed.is_multiple_of(2) }
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.state >> 33).expect("31 bits") % sides
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.roll(from.len())]
    }

    fn some(&mut self, from: &[&str], most: usize) -> Vec<String> {
        let count = 1 + self.roll(most);
        let picked: BTreeSet<String> = (0..count).map(|_| self.pick(from).to_owned()).collect();
        picked.into_iter().collect()
    }

    /// Whether one roll of so many sides is the first.
    fn is_one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }
}

const LITERALS: [&str; 9] = ["x", "y", "x.x", "x.y", "y.x", "y.y", "x.y.x", "y.x.x", "A.x"];
const PATTERNS: [&str; 18] = [
    "x", "y", "x.x", "x.y", "y.x", "y.y", "*", "x.*", "*.y", "x.>", "y.>", "*.*", "y.x.x", "y.*.>", "*.x.*", ">",
    "x.*.x", "y.*",
];
const ACCOUNTS: [&str; 3] = ["A", "B", "C"];
/// Requests to JetStream that a user may be granted.
const REQUESTS: [&str; 9] = [
    "$JS.API.>",
    "$JS.API.STREAM.CREATE.*",
    "$JS.API.STREAM.CREATE.Sa0",
    "$JS.API.STREAM.UPDATE.*",
    "$JS.API.CONSUMER.CREATE.>",
    "$JS.API.CONSUMER.CREATE.Sb1",
    "$JS.API.STREAM.MSG.GET.*",
    "$JS.API.DIRECT.GET.>",
    "$JS.API.INFO",
];

fn quoted(list: &[String]) -> String {
    list.iter().map(|s| format!("\"{s}\"")).collect::<Vec<_>>().join(", ")
}

/// One side of a user's permissions. Only subscriptions name queues, only what is published asks JetStream.
fn side(dice: &mut Dice, queues: bool, asks: bool) -> String {
    if dice.is_narrow {
        let mut list = dice.some(&LITERALS, 2);
        if asks && dice.is_one_in(8) {
            list.extend(dice.some(&REQUESTS, 1));
        }
        return format!("[{}]", quoted(&list));
    }
    let mut list = |most: usize| {
        let mut list = dice.some(&PATTERNS, most);
        if asks && dice.is_one_in(2) {
            list.extend(dice.some(&REQUESTS, 2));
        }
        if queues && dice.is_one_in(4) {
            list[0] += dice.pick(&[" q", " q.*", " >"]);
        }
        quoted(&list)
    };
    let (allow, deny, few) = (list(3), list(1), list(1));
    match dice.roll(8) {
        0 => format!("[{allow}]"),
        1 => format!("{{ deny: [{deny}] }}"),
        2 => format!("{{ allow: [{few}], deny: [{deny}] }}"),
        3 | 4 => format!("{{ allow: [{allow}], deny: [{deny}] }}"),
        5 => few,
        _ => format!("{{ allow: [{allow}] }}"),
    }
}

/// The permissions of a user: both sides, one, or none; a few may answer.
fn permissions(dice: &mut Dice, asks: bool) -> String {
    let (publish, subscribe) = (side(dice, false, asks), side(dice, true, false));
    let answers = if dice.is_one_in(4) { ", allow_responses: true" } else { "" };
    match dice.roll(10) {
        _ if dice.is_narrow => format!("{{ publish: {publish}, subscribe: {subscribe}{answers} }}"),
        0 => format!("{{ publish: {publish}{answers} }}"),
        1 => format!("{{ subscribe: {subscribe} }}"),
        2 => "{}".to_owned(),
        _ => format!("{{ publish: {publish}, subscribe: {subscribe}{answers} }}"),
    }
}

fn users(dice: &mut Dice, prefix: &str, asks: bool) -> String {
    let mut users = Vec::new();
    for n in 0..2 {
        // Some have the default permissions of their account.
        let own = if dice.is_one_in(6) { String::new() } else { format!(", permissions {}", permissions(dice, asks)) };
        users.push(format!("{{ user: {prefix}{n}, password: pw{own} }}"));
    }
    format!("[ {} ]", users.join(", "))
}

fn mappings(dice: &mut Dice) -> String {
    let (one, other, third) = (dice.pick(&LITERALS), dice.pick(&LITERALS), dice.pick(&LITERALS));
    match dice.roll(12) {
        0 => format!("\"{one}\": \"{other}\""),
        1 => format!("\"x.*\": \"y.$1\", \"y\": \"{one}\""),
        2 => "\"*.y\": \"y.{{wildcard(1)}}\", \"x\": \"x.x\"".to_owned(),
        3 => format!("\"{one}\": [ {{ destination: \"{other}\", weight: 50% }} ]"),
        4 if other != third => {
            format!(
                "\"{one}\": [ {{ destination: \"{other}\", weight: 50% }}, {{ destination: \"{third}\", weight: 30% }} ]"
            )
        }
        // Two that overlap: which counts is not said.
        5 => format!("\"x.y\": \"{one}\", \"*.*\": \"y.$1.$2\""),
        6 => format!("\"x.y\": [ {{ destination: \"{one}\", weight: 50% }} ], \"*.*\": \"y.$2.$1\""),
        7 => "\"x.>\": \"y.x.>\"".to_owned(),
        _ => String::new(),
    }
}

/// What an import is called locally.
fn renamed(dice: &mut Dice, kind: &str, subject: &str) -> String {
    let wildcards = subject.matches('*').count();
    let has_rest = subject.ends_with('>');
    let numbered: Vec<String> = (1..=wildcards).rev().map(|n| format!("${n}")).collect();
    let tail = if has_rest { vec![">".to_owned()] } else { Vec::new() };
    let to = [vec!["x".to_owned()], numbered, tail].concat().join(".");
    match (kind, dice.roll(4)) {
        ("stream", 0) => ", prefix: y".to_owned(),
        (_, 1) if wildcards > 0 || has_rest => format!(", to: \"{to}\""),
        ("service", 0) if wildcards == 0 && !has_rest => format!(", to: \"{}\"", dice.pick(&LITERALS)),
        _ => String::new(),
    }
}

/// Leaf node connections of one or two accounts that come back to this very server, by the login of another account
/// or of their own. A server with a name closes them.
fn leaf_nodes(dice: &mut Dice, port: u16) -> String {
    let logins = ACCOUNTS.map(|account| format!("{{ user: leaf{account}, password: pw, account: {account} }}"));
    let remotes = (0..=dice.roll(2)).map(|_| {
        let (from, to) = (dice.pick(&ACCOUNTS), dice.pick(&ACCOUNTS));
        let lists = [
            "",
            "",
            "",
            ", deny_imports: \">\"",
            ", deny_exports: \">\"",
            ", deny_imports: \">\", deny_exports: \">\"",
        ];
        let lists = dice.pick(&lists);
        format!("{{ url: \"nats://leaf{to}:pw@127.0.0.1:{port}\", account: {from}{lists} }}")
    });
    let remotes = remotes.collect::<Vec<_>>().join(", ");
    let name = if dice.is_one_in(4) { "server_name: drawn\n" } else { "" };
    format!(
        "{name}leafnodes {{ listen: \"127.0.0.1:{port}\", authorization {{ timeout: 60, users: [ {} ] }}, remotes: [ {remotes} ] }}\n",
        logins.join(", ")
    )
}

/// Three accounts with two users each, users outside of accounts, and what passes between them.
fn system(dice: &mut Dice, port: u16, leaf_port: u16, store: &str) -> String {
    let mut text = format!("listen: \"127.0.0.1:{port}\"\n");
    // With shares beside them, messages may go round without end.
    let has_leaf_nodes = dice.is_one_in(6);
    if has_leaf_nodes {
        text += &leaf_nodes(dice, leaf_port);
    }
    let has_jetstream = dice.is_one_in(3);
    if has_jetstream {
        let _ = writeln!(text, "system_account: SYS\njetstream {{ store_dir: \"{store}\" }}");
    }
    text += "accounts {\n";
    if has_jetstream {
        text += "SYS { users: [{ user: sys, password: pw }] }\n";
    }
    let mut exports: Vec<(usize, &str, String, bool)> = Vec::new();
    let mut blocks = vec![String::new(); ACCOUNTS.len()];
    for (i, account) in ACCOUNTS.iter().enumerate() {
        let mut offered = Vec::new();
        for _ in 0..dice.roll(3) {
            let (kind, subject) = (dice.pick(&["stream", "service"]), dice.pick(&PATTERNS).to_owned());
            let others: Vec<&str> = ACCOUNTS.iter().copied().filter(|a| a != account).collect();
            let by_token = subject.starts_with("*.") && dice.is_one_in(2);
            let to = match dice.roll(3) {
                _ if by_token => ", account_token_position: 1".to_owned(),
                _ if dice.is_narrow => format!(", accounts: [{}]", others.join(", ")),
                0 => String::new(),
                1 => ", accounts: []".to_owned(),
                _ => format!(", accounts: [{}]", dice.pick(&others)),
            };
            if !exports.iter().any(|(j, k, s, _)| *j == i && *k == kind && *s == subject) {
                offered.push(format!("{{ {kind}: \"{subject}\"{to} }}"));
                exports.push((i, kind, subject, by_token));
            }
        }
        let defaults = if dice.is_one_in(3) {
            format!("default_permissions {}\n", permissions(dice, has_jetstream))
        } else {
            String::new()
        };
        let users = users(dice, &account.to_lowercase(), has_jetstream);
        let jetstream = match (has_jetstream, dice.is_narrow) {
            (false, _) => "",
            (true, false) => "jetstream: enabled\n",
            (true, true) => "jetstream { max_memory: 1M, max_file: 1M }\n",
        };
        let _ = write!(blocks[i], "{defaults}{jetstream}users: {users}\n exports: [ {} ]\n", offered.join(", "));
    }
    for (i, block) in blocks.iter_mut().enumerate() {
        let mut wanted = Vec::new();
        for (from, kind, subject, by_token) in exports.iter().filter(|(from, ..)| *from != i) {
            if has_leaf_nodes || dice.is_one_in(3) {
                continue;
            }
            let subject = if *by_token { subject.replacen('*', ACCOUNTS[i], 1) } else { subject.clone() };
            let to = renamed(dice, kind, &subject);
            wanted.push(format!("{{ {kind}: {{ account: {}, subject: \"{subject}\" }}{to} }}", ACCOUNTS[*from]));
        }
        let _ = write!(block, " imports: [ {} ]\n mappings {{ {} }}\n", wanted.join(", "), mappings(dice));
    }
    for (account, block) in ACCOUNTS.iter().zip(blocks) {
        let _ = writeln!(text, "{account} {{ {block} }}");
    }
    text += "}\n";
    // On a busy machine a login takes longer than the two seconds that are the default.
    let (mut authorization, mut more) = ("timeout: 60".to_owned(), String::new());
    if dice.is_one_in(3) {
        let _ = write!(authorization, ", users: {}", users(dice, "g", false));
        more = format!("mappings {{ {} }}\n", mappings(dice));
    }
    text + &format!("authorization {{ {authorization} }}\n{more}")
}

pub struct Server(pub Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// A client as small as can be: its round trip needs no permission.
struct Raw {
    stream: BufStream<TcpStream>,
    /// Subject and payload of every message received.
    received: Vec<(String, String)>,
    /// Reply subject and payload of every message that asks for an answer, until it is answered.
    asked: Vec<(String, String)>,
    /// Number of operations that the server refused.
    refused: usize,
}

impl Raw {
    async fn connect(port: u16, user: &str) -> Self {
        let start = Instant::now();
        let stream = loop {
            match TcpStream::connect(("127.0.0.1", port)).await {
                Ok(stream) => break BufStream::new(stream),
                Err(e) => assert!(start.elapsed() < PATIENCE, "{user} cannot connect: {e}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let mut raw = Self { stream, received: Vec::new(), asked: Vec::new(), refused: 0 };
        let more = "\"verbose\":false,\"pedantic\":false,\"headers\":true";
        raw.send(&format!("CONNECT {{\"user\":\"{user}\",\"pass\":\"pw\",{more}}}\r\n")).await;
        raw.settled().await;
        raw
    }

    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("the server reads");
    }

    /// Waits until the server has dealt with everything sent before, and reads what it has sent.
    async fn settled(&mut self) {
        self.send("PING\r\n").await;
        self.stream.flush().await.expect("the server reads");
        let all = async {
            loop {
                let mut line = String::new();
                let read = self.stream.read_line(&mut line).await.expect("the server answers");
                assert!(read > 0, "the server ended the connection");
                if line.starts_with("PONG") {
                    return;
                }
                let (head, has_headers) = match (line.strip_prefix("MSG "), line.strip_prefix("HMSG ")) {
                    (Some(head), _) => (head, false),
                    (_, Some(head)) => (head, true),
                    _ => {
                        assert!(!line.starts_with("-ERR") || line.contains("Permissions Violation"), "{line}");
                        self.refused += usize::from(line.starts_with("-ERR"));
                        continue;
                    }
                };
                let mut words: Vec<&str> = head.split_whitespace().collect();
                let length: usize = words[words.len() - 1].parse().expect("a length");
                let mut payload = vec![0; length + 2];
                self.stream.read_exact(&mut payload).await.expect("a payload");
                let headers: usize =
                    if has_headers { words.remove(words.len() - 2).parse().expect("a length") } else { 0 };
                let payload = String::from_utf8_lossy(&payload[headers..length]).into_owned();
                match words.as_slice() {
                    [_, _, reply, _] => self.asked.push(((*reply).to_owned(), payload)),
                    _ => self.received.push((words[0].to_owned(), payload)),
                }
            }
        };
        tokio::time::timeout(PATIENCE, all).await.expect("the server answers in time");
    }
}

/// Sender, receiver, subject, and what it arrives as.
type Delivery = (String, String, String, String);
type Deliveries = BTreeSet<Delivery>;

fn everybody(audit: &Audit) -> Vec<(&Account, &User)> {
    let accounts = audit.system.accounts.iter().filter(|account| account.name != "SYS");
    accounts.flat_map(|a| a.users.iter().filter(|u| !u.is_leaf_login).map(move |u| (a, u))).collect()
}

/// What the model foretells.
fn foretold(audit: &Audit) -> Deliveries {
    let mut all = Deliveries::new();
    let users = everybody(audit);
    for from in &users {
        for to in &users {
            for literal in LITERALS {
                let subject = Subject::parse(literal).expect("a subject");
                let question = Question { from: *from, to: *to, subject: Some(&subject) };
                let answer = reach::paths(&audit.system, question);
                assert!(answer.is_complete);
                for path in answer.paths {
                    all.insert((from.1.name.clone(), to.1.name.clone(), literal.to_owned(), path.arrives.to_string()));
                }
            }
        }
    }
    all
}

/// What a user asks for: a subject and a queue.
type Wanted = Vec<(String, Option<String>)>;

/// The widest subscriptions that a user's list may allow. The server accepts `a.>` where `a.*`
/// is listed, so that it is tried as well.
fn widest(user: &User) -> Wanted {
    let Some(allow) = &user.permissions.subscribe.allow else {
        // A deny list that matches the text of a subscription refuses it: `*` does `>`.
        return [">", "*", "*.>", "*.*", "*.*.>"].map(|subject| (subject.to_owned(), None)).into();
    };
    let mut wanted = Wanted::new();
    for pattern in allow {
        // A queue of its own: another member would take messages away.
        let queue = pattern.queue.as_ref().map(|queue| match queue.as_str() {
            "q" => "q".to_owned(),
            "q.*" => format!("q.{}", user.name),
            _ => user.name.clone(),
        });
        let listed = pattern.subject.to_string();
        let more = listed.strip_suffix('*').map(|before| (format!("{before}>"), queue.clone()));
        wanted.extend(more);
        wanted.push((listed, queue));
    }
    wanted
}

/// Subscriptions to single subjects.
fn narrowest() -> Wanted {
    let subjects = LITERALS.iter().flat_map(|l| [(*l).to_owned(), format!("y.{l}"), format!("x.{l}")]);
    subjects.collect::<BTreeSet<_>>().into_iter().map(|subject| (subject, None)).collect()
}

/// Every user's connections: one with the widest subscriptions, one with the narrowest. How a deny is
/// enforced depends on what else a connection asked for.
async fn connections(port: u16, audit: &Audit) -> Vec<(String, Raw)> {
    let mut receivers = Vec::new();
    for (_, user) in everybody(audit) {
        for wanted in [widest(user), narrowest()] {
            let mut raw = Raw::connect(port, &user.name).await;
            for (i, (subject, queue)) in wanted.into_iter().enumerate() {
                let queue = queue.map_or_else(String::new, |queue| format!(" {queue}"));
                raw.send(&format!("SUB {subject}{queue} {i}\r\n")).await;
            }
            raw.settled().await;
            receivers.push((user.name.clone(), raw));
        }
    }
    receivers
}

/// What the server does.
async fn observed(receivers: &mut [(String, Raw)], times: usize) -> Deliveries {
    for (name, raw) in receivers.iter_mut().step_by(2) {
        for literal in LITERALS {
            // A trace of a message that is not delivered, whether it may be published or not.
            let headers = format!(
                "NATS/1.0\r\nNats-Trace-Only: true\r\nNats-Trace-Dest: {literal}\r\nSaid: {name} {literal}\r\n\r\n"
            );
            for _ in 0..times {
                let said = format!("{name} {literal}");
                raw.send(&format!("PUB {literal} {}\r\n{said}\r\n", said.len())).await;
                raw.send(&format!("HPUB x {0} {0}\r\n{headers}\r\n", headers.len())).await;
            }
        }
        raw.settled().await;
    }
    received(receivers).await
}

/// What the users have received so far.
async fn received(receivers: &mut [(String, Raw)]) -> Deliveries {
    let mut all = Deliveries::new();
    for (name, raw) in receivers {
        // What was sent to it before this answer has arrived.
        raw.settled().await;
        for (subject, said) in &raw.received {
            let of_trace = said.split_once("\"Said\":[\"").and_then(|(_, said)| said.split('"').next());
            let (from, literal) = of_trace.unwrap_or(said).split_once(' ').expect("sender and subject");
            all.insert((from.to_owned(), name.clone(), literal.to_owned(), subject.clone()));
        }
    }
    all
}

/// Who gets an answer of whom: who answered or, if the server led the answer back to the subject that the asker
/// chose, who asked; then who got it. Every user asks on each subject, for an answer on the next one, and
/// whoever hears it answers.
async fn answered(receivers: &mut [(String, Raw)], account_of: impl Fn(&str) -> String) -> BTreeSet<(String, String)> {
    for (name, raw) in receivers.iter_mut().step_by(2) {
        for (i, literal) in LITERALS.iter().enumerate() {
            let reply = LITERALS[(i + 1) % LITERALS.len()];
            raw.send(&format!("PUB {literal} {reply} {}\r\n{name}\r\n", name.len())).await;
        }
        raw.settled().await;
    }
    for (name, raw) in &mut *receivers {
        raw.settled().await;
        for (reply, asker) in std::mem::take(&mut raw.asked) {
            // Who hears a stream of another account and answers says something of its own in its own account.
            let is_led_back = reply.starts_with("_R_") || account_of(&asker) == account_of(name);
            let said = format!("{} {name} answer", if is_led_back { &asker } else { &*name });
            raw.send(&format!("PUB {reply} {}\r\n{said}\r\n", said.len())).await;
        }
        raw.settled().await;
    }
    let mut all = BTreeSet::new();
    for (name, raw) in receivers {
        raw.settled().await;
        for (_, said) in std::mem::take(&mut raw.received) {
            if let [asker, answering, "answer"] = said.split(' ').collect::<Vec<_>>().as_slice() {
                all.extend([asker, answering].map(|from| ((*from).to_owned(), name.clone())));
            }
        }
    }
    all
}

/// Who gets what by JetStream: sender and receiver. Every user makes a stream of one subject, some with a second
/// subject on which it publishes again, and a consumer of each stream of its account that delivers on a third; then
/// everybody publishes.
async fn by_jetstream(
    port: u16,
    receivers: &mut [(String, Raw)],
    account_of: impl Fn(&str) -> String,
) -> BTreeSet<(String, String)> {
    let names: Vec<String> = receivers.iter().step_by(2).map(|(name, _)| name.clone()).collect();
    let subject = |of: usize, n: usize| LITERALS[(of + n) % LITERALS.len()];
    let stream = |i: usize, name: &str| {
        let mut config = json!({ "name": format!("S{name}"), "subjects": [subject(i, 0)], "storage": "memory", "allow_direct": true });
        if i.is_multiple_of(2) {
            config["republish"] = json!({ "src": subject(i, 0), "dest": subject(i, 4) });
        }
        // The stream of the user before it, if there is one in its account, which exists already.
        if let Some(source) = i.checked_sub(1).map(|i| &names[i]).filter(|other| account_of(other) == account_of(name))
        {
            config["sources"] = json!([{ "name": format!("S{source}") }]);
            config["republish"] = json!({ "src": ">", "dest": "x.y.>" });
        }
        vec![(format!("$JS.API.STREAM.CREATE.S{name}"), config)]
    };
    let consumers = |i: usize, name: &str| {
        let streams = names.iter().filter(|other| account_of(other) == account_of(name));
        let consumer = |other: &String| {
            let config = json!({ "deliver_subject": subject(i, 2), "ack_policy": "none", "deliver_policy": "all" });
            let body = json!({ "stream_name": format!("S{other}"), "config": config });
            (format!("$JS.API.CONSUMER.CREATE.S{other}"), body)
        };
        streams.map(consumer).collect::<Vec<_>>()
    };
    let mut asked = 0;
    for phase in ["streams", "consumers"] {
        for (i, (name, raw)) in receivers.iter_mut().step_by(2).enumerate() {
            // `$G` has no JetStream where there are other accounts.
            if account_of(name) == "$G" {
                continue;
            }
            let requests = if phase == "streams" { stream(i, name) } else { consumers(i, name) };
            raw.refused = 0;
            for (subject, body) in &requests {
                let body = body.to_string();
                raw.send(&format!("PUB {subject} r.{name} {}\r\n{body}\r\n", body.len())).await;
            }
            raw.settled().await;
            asked += requests.len() - raw.refused;
        }
        handled(port, asked).await;
    }
    for (name, raw) in receivers.iter_mut().step_by(2) {
        for literal in LITERALS {
            let said = format!("{name} stored");
            raw.send(&format!("PUB {literal} {}\r\n{said}\r\n", said.len())).await;
        }
        raw.settled().await;
    }
    let mut all = BTreeSet::new();
    let mut quiet = 0;
    // Deliveries come when JetStream gets to them.
    while quiet < 5 {
        let before = all.len();
        for (name, raw) in &mut *receivers {
            raw.settled().await;
            for (_, said) in std::mem::take(&mut raw.received) {
                all.extend(said.strip_suffix(" stored").map(|from| (from.to_owned(), name.clone())));
            }
        }
        quiet = if all.len() == before { quiet + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    all
}

/// Waits until JetStream has dealt with so many requests.
async fn handled(port: u16, requests: usize) {
    let mut operator = Raw::connect(port, "sys").await;
    operator.send("SUB r.* 1\r\n").await;
    let start = Instant::now();
    loop {
        operator.send("PUB $SYS.REQ.SERVER.PING.JSZ r.jsz 0\r\n\r\n").await;
        operator.settled().await;
        let said = operator.received.pop().map(|(_, said)| serde_json::from_str(&said).unwrap_or_default());
        let said: Json = said.unwrap_or_default();
        if said["data"]["api"]["total"].as_u64().is_some_and(|total| total >= requests as u64) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "JetStream has not dealt with {requests} requests: {said}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The accounts in which users reach each other according to the proof, if each is a tenant of its own.
fn accounts_that_leak(path: &std::path::Path) -> BTreeSet<String> {
    let each_user = |system: &System| {
        let users = system.users().filter(|(account, _)| account.name != "SYS").map(|(account, user)| {
            format!("[[tenant]]\nname = \"{0}\"\nusers = [\"{1}/{0}\"]\n", user.name, account.name)
        });
        let file = path.with_extension("tenants.toml");
        std::fs::write(&file, users.collect::<String>()).expect("a file");
        Tenants::read(&file)
    };
    let audit = audit::audit_of(path, &|_| None, each_user).expect("accepted");
    let errors = audit
        .findings
        .iter()
        .filter(|f| f.severity == Severity::Error && ["shared-account", "answered-import"].contains(&f.rule));
    // As in "`A/a0` of `a0` reaches `A/a1`" and "`C` chooses where `A/a0` answers".
    let named = |f: &tenantry::diag::Diagnostic| {
        f.message.split('`').find_map(|part| part.split_once('/')).map(|(account, _)| account.to_owned())
    };
    errors.filter_map(named).collect()
}

/// Whether other accounts may make streams in an account, which is told: by these its users meet.
fn gives_jetstream_away(audit: &Audit, account: &str) -> bool {
    let is_told =
        |f: &tenantry::diag::Diagnostic| f.rule == "reserved-export" && f.message.ends_with(&format!("in `{account}`"));
    audit.findings.iter().any(is_told)
}

/// Why something may be foretold that does not happen. `None`: there is no reason.
fn cause(delivery: &Delivery, audit: &Audit) -> Option<&'static str> {
    let (_, to, ..) = delivery;
    let (_, receiver) = everybody(audit).into_iter().find(|(_, user)| user.name == *to)?;
    if audit.system.accounts.iter().any(overlap) {
        return Some("of overlapping mappings one counts");
    }
    if receiver.permissions.subscribe.allow.iter().flatten().any(|p| p.queue.is_some()) {
        return Some("a queue's members share its messages");
    }
    None
}

fn overlap(account: &Account) -> bool {
    let mappings = &account.mappings;
    mappings.iter().enumerate().any(|(i, a)| mappings[i + 1..].iter().any(|b| a.from.overlaps(&b.from)))
}

/// The result of one system: how many messages crossed accounts, and causes of what was foretold
/// in vain. `None`: nats-server refuses it.
async fn compare(project: &Project, seed: u64) -> Option<(u64, BTreeMap<&'static str, u64>)> {
    let port = free_port();
    let name = format!("{seed}.conf");
    let store = project.path().join(format!("{seed}.store"));
    let text = system(&mut Dice::new(seed), port, free_port(), &store.display().to_string());
    project.write(&name, &text);
    let path = project.path().join(&name);
    let valid = Command::new(nats_server()).arg("-t").arg("-c").arg(&path).output().expect("nats-server runs");
    let audit = match (valid.status.success(), audit::audit(&path, &|_| None)) {
        (true, Ok(audit)) => audit,
        (true, Err(e)) => panic!("seed {seed}: the server takes it, audit does not: {e}\n{text}"),
        (false, _) => return None,
    };
    // Whether the server starts with it is a matter of luck.
    if audit.findings.iter().any(|f| f.rule == "import-cycle" || f.rule == "fails-at-start") {
        return None;
    }
    let log_path = project.path().join(format!("{seed}.log"));
    let log = std::fs::File::create(&log_path).expect("a log");
    let mut command = Command::new(nats_server());
    command.arg("-c").arg(&path).stdout(Stdio::null()).stderr(log);
    let _server = Server(command.spawn().expect("nats-server starts"));
    // By weights, each of several destinations gets some of many messages.
    let times = if text.contains("weight") { 120 } else { 1 };
    let mut receivers = connections(port, &audit).await;
    let account_of = |user: &str| {
        let all = everybody(&audit);
        all.iter().find(|(_, u)| u.name == user).map(|(account, _)| account.name.clone()).expect("its account")
    };
    if text.contains("leafnodes {") {
        joined(&log_path, audit.system.server.remotes().count()).await;
        return Some(compare_leaf_nodes(seed, &text, &audit, &mut receivers, account_of).await);
    }
    let (expected, mut found) = (foretold(&audit), observed(&mut receivers, times).await);
    // The server sends traces when it gets to it.
    let start = Instant::now();
    while expected.difference(&found).any(|d| cause(d, &audit).is_none()) && start.elapsed() < PATIENCE {
        found = received(&mut receivers).await;
    }
    let leaking = accounts_that_leak(&path);
    let mut met: BTreeSet<(String, String)> = found.iter().map(|(from, to, ..)| (from.clone(), to.clone())).collect();
    // An answer that is led on inside an account is the asker's; who led it to another account could do so itself.
    let led = answered(&mut receivers, &account_of).await;
    met.extend(led.into_iter().filter(|(from, to)| account_of(from) == account_of(to)));
    let mut by_streams = BTreeSet::new();
    if text.contains("jetstream {") {
        let more = by_jetstream(port, &mut receivers, &account_of).await;
        by_streams = more.difference(&met).cloned().collect();
        met.extend(more);
    }
    let together: BTreeSet<String> = met
        .iter()
        .filter(|(from, to)| from != to && account_of(from) == account_of(to))
        .filter(|pair| !(by_streams.contains(*pair) && gives_jetstream_away(&audit, &account_of(&pair.0))))
        .map(|(from, _)| account_of(from))
        .collect();
    let unforetold: Vec<_> = together.difference(&leaking).collect();
    assert!(
        unforetold.is_empty(),
        "seed {seed}: users of {unforetold:?} met, in {met:?}, foretold: {leaking:?}\n{text}"
    );
    let counts = tenants::compare(seed, &path, &text, &audit, (&met, &by_streams));
    let surprising: Vec<_> = found.difference(&expected).collect();
    assert!(surprising.is_empty(), "seed {seed}: seen and not foretold: {surprising:?}\n{text}");
    let mut causes = BTreeMap::from([
        ("(users of several tenants who met, as told)", counts.told),
        ("(tenants files with which all are isolated)", counts.isolated),
        ("(among them, files whose tenants met by shares)", counts.sharing),
    ]);
    for delivery in expected.difference(&found) {
        let cause = cause(delivery, &audit);
        let cause = cause.unwrap_or_else(|| panic!("seed {seed}: foretold and not seen: {delivery:?}\n{text}"));
        *causes.entry(cause).or_default() += 1;
    }
    *causes.entry("users of one account that the subjects here do not show").or_default() +=
        leaking.difference(&together).count() as u64;
    *causes.entry("(users that met by JetStream alone)").or_default() += by_streams.len() as u64;
    *causes.entry("(users of one account that did meet)").or_default() += together.len() as u64;
    let account = |user: &str| user.chars().next();
    Some((found.iter().filter(|(from, to, ..)| account(from) != account(to)).count() as u64, causes))
}

/// Waits until so many leaf node connections are made: each says so at both ends.
async fn joined(log: &std::path::Path, remotes: usize) {
    let start = Instant::now();
    loop {
        let said = std::fs::read_to_string(log).unwrap_or_default();
        if said.matches("Leafnode connection created").count() >= 2 * remotes {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "the leaf nodes do not connect: {said}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The result of a system with leaf nodes that come back to it: what crosses accounts beside the shares must be
/// foretold by `leaf-bridge`.
async fn compare_leaf_nodes(
    seed: u64,
    text: &str,
    audit: &Audit,
    receivers: &mut [(String, Raw)],
    account_of: impl Fn(&str) -> String,
) -> (u64, BTreeMap<&'static str, u64>) {
    // Interest comes over a leaf node when the server gets to it.
    const TRIES: usize = 10;
    let expected = foretold(audit);
    let is_joined = audit.findings.iter().any(|f| f.rule == "leaf-bridge" && f.severity == Severity::Error);
    let (mut crossed, mut unforetold) = (0, Vec::new());
    for _ in 0..TRIES {
        let found = observed(receivers, 1).await;
        let crossing = |(from, to, ..): &&Delivery| account_of(from) != account_of(to);
        crossed = found.iter().filter(crossing).count() as u64;
        unforetold = found.difference(&expected).filter(crossing).cloned().collect();
        if !unforetold.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(
        is_joined || unforetold.is_empty(),
        "seed {seed}: leaf nodes carried what was not foretold: {unforetold:?}\n{text}"
    );
    let counted = match (is_joined, unforetold.is_empty()) {
        (true, false) => "(accounts joined by leaf nodes)",
        (true, true) => "leaf nodes over which these users publish nothing that is heard",
        (false, _) => "(leaf nodes that join no accounts)",
    };
    (crossed, BTreeMap::from([(counted, 1)]))
}

/// TENANTRY_DIFFERENTIAL_SYSTEMS=5000 tries more, TENANTRY_DIFFERENTIAL_SEED repeats a run.
#[tokio::test(flavor = "multi_thread")]
async fn the_model_says_what_the_server_does() {
    const AT_ONCE: usize = 4;
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
    let wanted = number("TENANTRY_DIFFERENTIAL_SYSTEMS").unwrap_or(100);
    let first = number("TENANTRY_DIFFERENTIAL_SEED").unwrap_or_else(|| rand::random::<u32>().into());
    println!("seeds from {first}");
    let project = Project::new();
    let results = stream::iter(first..first + wanted * 20).map(|seed| compare(&project, seed)).buffered(AT_ONCE);
    let results: Vec<_> =
        results.filter_map(std::future::ready).take(usize::try_from(wanted).expect("a small number")).collect().await;
    assert_eq!(results.len() as u64, wanted, "too few of the drawn systems start");
    let crossed: u64 = results.iter().map(|(crossed, _)| crossed).sum();
    let mut causes: BTreeMap<&str, u64> = BTreeMap::new();
    results.iter().flat_map(|(_, causes)| causes).for_each(|(cause, n)| *causes.entry(cause).or_default() += n);
    println!("{wanted} systems, {crossed} messages between accounts; counted: {causes:?}");
    assert!(crossed >= wanted, "the control: messages do pass between accounts, {crossed}");
}
