//! What the static model says about reaching, against what a running server
//! does: small systems drawn at random, with leaks and without. Every message
//! that arrives must have been foretold, and every one that was must arrive.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tenantry::audit::reach::{self, Question};
use tenantry::audit::{self, Audit};
use tenantry::subject::Subject;

use crate::support::{Connection, Creds, PATIENCE, Project, free_port, nats_server};

/// Numbers that are the same on every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.roll(from.len())]
    }

    fn some(&mut self, from: &[&str], most: usize) -> Vec<String> {
        let count = 1 + self.roll(most);
        let picked: BTreeSet<String> = (0..count).map(|_| self.pick(from).to_owned()).collect();
        picked.into_iter().collect()
    }
}

const LITERALS: [&str; 6] = ["x", "y", "x.x", "x.y", "y.x", "y.y"];
const PATTERNS: [&str; 14] =
    ["x", "y", "x.x", "x.y", "y.x", "y.y", "*", "x.*", "*.y", "x.>", "y.>", "*.*", "y.x.x", "y.*.>"];
const ACCOUNTS: [&str; 3] = ["A", "B", "C"];

fn quoted(list: &[String]) -> String {
    list.iter().map(|s| format!("\"{s}\"")).collect::<Vec<_>>().join(", ")
}

/// Three accounts with two users each, and what passes between them.
fn system(dice: &mut Dice, port: u16) -> String {
    let mut text = format!("listen: \"127.0.0.1:{port}\"\naccounts {{\n");
    let mut exports: Vec<(usize, &str, String)> = Vec::new();
    let mut blocks = vec![String::new(); ACCOUNTS.len()];
    for (i, account) in ACCOUNTS.iter().enumerate() {
        let mut offered = Vec::new();
        for _ in 0..dice.roll(3) {
            let (kind, subject) = (dice.pick(&["stream", "service"]), dice.pick(&PATTERNS).to_owned());
            let others: Vec<&str> = ACCOUNTS.iter().copied().filter(|a| a != account).collect();
            let to = match dice.roll(3) {
                0 => String::new(),
                1 => ", accounts: []".to_owned(),
                _ => format!(", accounts: [{}]", dice.pick(&others)),
            };
            if !exports.iter().any(|(j, k, s)| *j == i && *k == kind && *s == subject) {
                offered.push(format!("{{ {kind}: \"{subject}\"{to} }}"));
                exports.push((i, kind, subject));
            }
        }
        let mut users = Vec::new();
        for n in 0..2 {
            let (publish, subscribe) = (dice.some(&PATTERNS, 3), dice.some(&PATTERNS, 3));
            let deny = if dice.roll(3) == 0 { format!(", deny: \"{}\"", dice.pick(&PATTERNS)) } else { String::new() };
            let no = if dice.roll(3) == 0 { format!(", deny: \"{}\"", dice.pick(&PATTERNS)) } else { String::new() };
            users.push(format!(
                "{{ user: {}{n}, password: pw, permissions {{ publish {{ allow: [{}]{deny} }}, subscribe {{ allow: [{}]{no} }} }} }}",
                account.to_lowercase(), quoted(&publish), quoted(&subscribe)
            ));
        }
        let _ = write!(blocks[i], "users: [ {} ]\n exports: [ {} ]\n", users.join(", "), offered.join(", "));
    }
    for (i, block) in blocks.iter_mut().enumerate() {
        let mut wanted = Vec::new();
        for (from, kind, subject) in exports.iter().filter(|(from, ..)| *from != i) {
            if dice.roll(3) == 0 {
                continue;
            }
            // Under its own subject, or under another.
            let renamed = match (*kind, dice.roll(4)) {
                ("stream", 0) => ", prefix: y".to_owned(),
                ("service", 0) if !subject.contains(['*', '>']) => format!(", to: \"{}\"", dice.pick(&LITERALS)),
                _ => String::new(),
            };
            wanted.push(format!("{{ {kind}: {{ account: {}, subject: \"{subject}\" }}{renamed} }}", ACCOUNTS[*from]));
        }
        let _ = writeln!(block, " imports: [ {} ]", wanted.join(", "));
        // Mappings of subjects that do not overlap: which of two counts is not said.
        let mapping = match dice.roll(6) {
            0 => format!("\"{}\": \"{}\"", dice.pick(&LITERALS), dice.pick(&LITERALS)),
            1 => format!("\"x.*\": \"y.$1\", \"y\": \"{}\"", dice.pick(&LITERALS)),
            2 => "\"*.y\": \"y.{{wildcard(1)}}\", \"x\": \"x.x\"".to_owned(),
            _ => String::new(),
        };
        let _ = writeln!(block, " mappings {{ {mapping} }}");
    }
    for (account, block) in ACCOUNTS.iter().zip(blocks) {
        let _ = writeln!(text, "{account} {{ {block} }}");
    }
    text + "}\n"
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

async fn connect(port: u16, user: &str) -> Connection {
    let creds = Creds {
        url: format!("nats://127.0.0.1:{port}"),
        login: Some(user.to_owned()),
        password: Some("pw".into()),
        seed: None,
        inbox_prefix: "_INBOX".into(),
    };
    let start = Instant::now();
    loop {
        match creds.connect().await {
            Ok(connection) => return connection,
            Err(e) => assert!(start.elapsed() < PATIENCE, "{user} cannot connect: {e}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

type Deliveries = BTreeSet<(String, String, String, String)>;

/// What the model foretells: sender, receiver, subject, and what it arrives as.
fn foretold(audit: &Audit) -> Deliveries {
    let mut all = Deliveries::new();
    let users: Vec<_> = audit.system.accounts.iter().flat_map(|a| a.users.iter().map(move |u| (a, u))).collect();
    for from in &users {
        for to in &users {
            for literal in LITERALS {
                let subject = Subject::parse(literal).expect("a subject");
                let question = Question { from: *from, to: *to, subject: Some(&subject) };
                for path in reach::paths(&audit.system, question) {
                    all.insert((from.1.name.clone(), to.1.name.clone(), literal.to_owned(), path.arrives.to_string()));
                }
            }
        }
    }
    all
}

/// What the server does.
async fn observed(port: u16, audit: &Audit) -> Deliveries {
    let mut receivers = Vec::new();
    let literal = LITERALS.iter().flat_map(|l| [(*l).to_owned(), format!("y.{l}")]);
    let literal: Vec<String> = literal.collect::<BTreeSet<_>>().into_iter().collect();
    for user in audit.system.accounts.iter().flat_map(|a| &a.users) {
        // One connection with the widest subscriptions, one with the narrowest:
        // how a deny is enforced depends on what else a connection asked for.
        let allowed = user.permissions.subscribe.allow.iter().flatten();
        let widest: Vec<String> = allowed.map(|p| p.subject.to_string()).collect();
        for subjects in [&widest, &literal] {
            let connection = connect(port, &user.name).await;
            let mut subscriptions = Vec::new();
            for subject in subjects {
                subscriptions.push(connection.subscribe(subject.clone()).await.expect("subscribe"));
            }
            connection.settled().await;
            receivers.push((user.name.clone(), connection, subscriptions));
        }
    }
    for (name, connection, _) in receivers.iter().step_by(2) {
        for literal in LITERALS {
            connection.publish(literal.to_owned(), format!("{name} {literal}").into()).await.expect("publish");
        }
        connection.settled().await;
    }
    let mut all = Deliveries::new();
    for (name, connection, subscriptions) in &mut receivers {
        // What was sent to it before this answer has arrived.
        connection.settled().await;
        for subscription in subscriptions {
            while let Ok(Some(message)) = tokio::time::timeout(Duration::from_millis(1), subscription.next()).await {
                let said = String::from_utf8_lossy(&message.payload).into_owned();
                let (from, subject) = said.split_once(' ').expect("sender and subject");
                all.insert((from.to_owned(), name.clone(), subject.to_owned(), message.subject.to_string()));
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_says_what_the_server_does() {
    let project = Project::new();
    // More by request: TENANTRY_DIFFERENTIAL_SYSTEMS=500.
    let wanted = std::env::var("TENANTRY_DIFFERENTIAL_SYSTEMS").ok().and_then(|n| n.parse().ok()).unwrap_or(25u64);
    let (mut tried, mut crossed, mut seed) = (0u64, 0u64, 0u64);
    while tried < wanted {
        seed += 1;
        assert!(seed < wanted * 20, "too few of the drawn systems start: {tried}");
        let port = free_port();
        let name = format!("{seed}.conf");
        project.write(&name, &system(&mut Dice(seed), port));
        let path = project.path().join(&name);
        let valid = Command::new(nats_server()).arg("-t").arg("-c").arg(&path).output().expect("nats-server runs");
        let audit = match (valid.status.success(), audit::audit(&path, &|_| None)) {
            (true, Ok(audit)) => audit,
            (true, Err(e)) => panic!("{name}: the server takes it, audit does not: {e}"),
            (false, _) => continue,
        };
        // Whether the server starts with it is a matter of luck.
        if audit.findings.iter().any(|f| f.rule == "import-cycle") {
            continue;
        }
        let log = std::fs::File::create(project.path().join(format!("{seed}.log"))).expect("a log");
        let mut command = Command::new(nats_server());
        command.arg("-c").arg(&path).stdout(Stdio::null()).stderr(log);
        let _server = Server(command.spawn().expect("nats-server starts"));
        let (expected, found) = (foretold(&audit), observed(port, &audit).await);
        let text = project.read(&name);
        let missing: Vec<_> = expected.difference(&found).collect();
        let surprising: Vec<_> = found.difference(&expected).collect();
        assert!(
            missing.is_empty() && surprising.is_empty(),
            "{name}: foretold and not seen: {missing:?}; seen and not foretold: {surprising:?}\n{text}"
        );
        let account = |user: &str| user.chars().next();
        crossed += found.iter().filter(|(from, to, ..)| account(from) != account(to)).map(|_| 1u64).sum::<u64>();
        tried += 1;
    }
    assert!(crossed >= wanted, "the control: messages do pass between accounts, {crossed}");
}
