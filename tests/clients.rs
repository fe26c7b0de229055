//! The built-in roles with each client library: async-nats, nats-py, the JavaScript
//! client, nats.go and jnats. For each role every operation is tried, and has to work or to be refused; the
//! table of docs/roles.md is made of the result.
//!
//! The other libraries need Python, Node, Go and Java with Maven: `.ci/clients FOLDER` installs them, and
//! TENANTRY_CLIENTS=FOLDER has them used. Without them their part is not proved, and that
//! is said loudly; with TENANTRY_REQUIRE_CLIENTS=1 it is a failure. TENANTRY_UPDATE_DOCS=1
//! writes the table.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking and reports by printing"
)]

#[allow(dead_code, reason = "made for the integration tests, which use all of it")]
#[path = "integration/support.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::{self, consumer::pull, stream};
use futures_util::future::{BoxFuture, join_all};
use futures_util::{FutureExt as _, StreamExt as _};
use libtest_mimic::{Arguments, Failed, Trial};
use support::{Connection, Creds, Project};

const ROLES: [&str; 6] = ["admin", "app", "publisher", "subscriber", "monitor", "provisioner"];

/// What is tried: its name in all languages, what it is, and who may.
const OPERATIONS: &[(&str, &str, &[&str])] = &[
    ("publish", "publish to the tenant's subjects", &["admin", "app", "publisher"]),
    ("subscribe", "subscribe to the tenant's subjects", &["admin", "app", "subscriber"]),
    ("request", "ask an imported service", &["admin", "app"]),
    ("shared", "hear an imported stream", &["admin", "app", "subscriber"]),
    ("answer", "answer a request", &["admin", "app"]),
    ("inbox", "send a message to its own inbox", &["admin", "app", "publisher", "subscriber", "monitor"]),
    ("account", "ask for the account's JetStream limits", &ROLES),
    ("describe", "describe a stream by its name", &ROLES),
    ("find", "find a stream by its subject", &["admin", "app", "subscriber", "monitor"]),
    ("store", "publish into a stream, acknowledged", &["admin", "app", "publisher"]),
    ("fetch", "fetch from a durable consumer, and acknowledge", &["admin", "app", "subscriber"]),
    ("ordered", "read a stream with an ordered consumer", &["admin", "app", "subscriber"]),
    ("key-read", "read a key", &["admin", "app", "subscriber"]),
    ("key-watch", "watch a key", &["admin", "app", "subscriber"]),
    ("key-write", "write a key", &["admin", "app"]),
    ("object-read", "read an object", &["admin", "app", "subscriber"]),
    ("object-write", "write an object", &["admin", "app"]),
    ("make", "create and delete a stream", &["admin", "provisioner"]),
    ("purge", "purge a stream", &["admin"]),
    ("names", "list streams", &["admin", "monitor", "provisioner"]),
    ("advisories", "hear advisories", &["admin", "monitor"]),
    ("connections", "list the account's connections", &["monitor"]),
    ("publish-foreign", "publish to another tenant's subjects", &[]),
    ("subscribe-foreign", "subscribe to another tenant's subjects", &[]),
    ("subscribe-all", "subscribe to everything", &[]),
];

const REGISTRY: &str = r#"version = 1
[server]
client = "127.0.0.1:4222"
[server.jetstream]
storage = "1GiB"

[[tenant]]
name = "T"
[tenant.limits]
connections = 1000
[tenant.jetstream]
storage = "512MiB"
streams = 100
ROLES
[[tenant.stream]]
name = "LOG"
subjects = ["T.log.>"]
max_bytes = "1MiB"
[[tenant.stream]]
name = "WORK"
subjects = ["T.work"]
max_bytes = "1MiB"
[[tenant.stream.consumer]]
name = "worker"
[[tenant.stream]]
name = "SCRAP"
subjects = ["T.scrap"]
max_bytes = "1MiB"
[[tenant.bucket]]
name = "settings"
[[tenant.object_store]]
name = "files"

[[tenant]]
name = "O"
[[tenant.user]]
name = "app"

[[share]]
from = "O"
to = ["T"]
stream = "O.public.>"
[[share]]
from = "O"
to = ["T"]
service = "O.api.x"
"#;

/// How long what is refused is waited for: a refusal is no answer.
const WAIT: Duration = Duration::from_secs(3);

/// The other libraries.
const FOREIGN: [&str; 4] = ["nats-py", "JavaScript", "Go", "Java"];

/// The command that tries everything with another library, without the user's name.
fn command(library: &str, folder: &Path) -> Vec<PathBuf> {
    match library {
        "nats-py" => vec![folder.join("venv/bin/python"), "tests/clients/roles.py".into()],
        "JavaScript" => {
            let script = folder.join("roles.mjs");
            std::fs::copy("tests/clients/roles.mjs", &script).expect("copy the script");
            vec!["node".into(), script]
        }
        "Go" => vec![folder.join("roles-go")],
        "Java" => {
            let classes = folder.join("java");
            let path = format!("{}:{}/*", classes.display(), classes.display());
            vec!["java".into(), "-cp".into(), path.into(), "Roles".into()]
        }
        other => panic!("there is no library {other}"),
    }
}

/// Which operations worked, by library and role.
type Results = BTreeMap<(&'static str, &'static str), BTreeSet<String>>;

/// One library and role.
type Tried = ((&'static str, &'static str), BTreeSet<String>);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trial = Trial::test("roles", || roles().map_err(Failed::from));
    libtest_mimic::run(&arguments, vec![trial]).exit_code()
}

/// Each role with each library that is there; the table of docs/roles.md is what comes out.
fn roles() -> Result<(), String> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let clients = std::env::var_os("TENANTRY_CLIENTS").map(PathBuf::from);
    let results = runtime.block_on(measure(REGISTRY, clients.as_deref(), &FOREIGN));
    let mut unexpected = unexpected(&results);
    // With JetStream at both ends of the service, acknowledgements name their account, which nats-py cannot read.
    let named = REGISTRY.replace("name = \"O\"\n", "name = \"O\"\n[tenant.jetstream]\nstorage = \"1MiB\"\n");
    let with_names = runtime.block_on(measure(&named, clients.as_deref(), &FOREIGN[1..]));
    unexpected.extend(self::unexpected(&with_names).into_iter().map(|what| format!("with js_ack_fc_v2: {what}")));
    if !unexpected.is_empty() {
        return Err(unexpected.join("\n"));
    }
    let table = table(&results);
    if clients.is_none() {
        println!("########################################################################");
        println!("# nats-py, JAVASCRIPT, GO AND JAVA WERE NOT TRIED: `.ci/clients FOLDER`");
        println!("# installs them, and TENANTRY_CLIENTS=FOLDER has them used.");
        println!("########################################################################");
        let required = std::env::var_os("TENANTRY_REQUIRE_CLIENTS").is_some_and(|v| v == "1");
        return if required { Err("TENANTRY_REQUIRE_CLIENTS=1, and they were not tried".into()) } else { Ok(()) };
    }
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/roles.md");
    let text = std::fs::read_to_string(&document).expect("docs/roles.md");
    let (head, rest) = text.split_once(BEGIN).expect("the table's place");
    let (known, tail) = rest.split_once(END).expect("the table's end");
    if std::env::var_os("TENANTRY_UPDATE_DOCS").is_some() {
        std::fs::write(&document, format!("{head}{BEGIN}{table}{END}{tail}")).expect("write docs/roles.md");
    } else if known != table {
        return Err(format!("docs/roles.md is not what was measured; TENANTRY_UPDATE_DOCS=1 writes it:\n{table}"));
    }
    println!("roles: {} operations, {} results", OPERATIONS.len(), results.len() * OPERATIONS.len());
    Ok(())
}

const BEGIN: &str = "<!-- made by `cargo test --test clients` -->\n";
const END: &str = "<!-- end -->\n";

/// Whoever may make consumers may have messages delivered to its own inbox. These clients
/// ask in the way in which the provisioner may.
const UNAVOIDABLE: [(&str, &str, &str); 4] = [
    ("JavaScript", "provisioner", "key-watch"),
    ("Go", "provisioner", "key-watch"),
    ("Java", "provisioner", "key-watch"),
    ("Java", "provisioner", "ordered"),
];

/// What worked that should not, or the other way round.
fn unexpected(results: &Results) -> Vec<String> {
    let mut unexpected = Vec::new();
    for ((library, role), worked) in results {
        for (name, _, may) in OPERATIONS {
            let should = may.contains(role) || UNAVOIDABLE.contains(&(library, role, name));
            let did = worked.contains(*name);
            if did != should {
                unexpected.push(format!("{library}, {role}: {name} {}", if did { "WORKED" } else { "did not work" }));
            }
        }
    }
    unexpected
}

/// One row an operation; who it worked for, where that is the same with all libraries.
fn table(results: &Results) -> String {
    let libraries: BTreeSet<&str> = results.keys().map(|(library, _)| *library).collect();
    let mut table = format!("| | {} |\n|---|{}\n", ROLES.join(" | "), "---|".repeat(ROLES.len()));
    for (name, what, _) in OPERATIONS {
        let _ = write!(table, "| {what} |");
        for role in ROLES {
            let with: Vec<&str> =
                libraries.iter().copied().filter(|library| results[&(*library, role)].contains(*name)).collect();
            let cell = match with.len() {
                0 => String::new(),
                n if n == libraries.len() => "yes".to_owned(),
                _ => with.join(", "),
            };
            let _ = write!(table, " {cell} |");
        }
        table.push('\n');
    }
    table
}

/// Tries everything, with everybody at the same time.
async fn measure(registry: &str, clients: Option<&Path>, libraries: &[&'static str]) -> Results {
    let users: Vec<String> =
        ROLES.iter().map(|role| format!("[[tenant.user]]\nname = \"{role}\"\nrole = \"{role}\"\n")).collect();
    let project = Project::with_registry(&registry.replace("ROLES\n", &users.concat()));
    project.up();
    let is_named = project.read("infra/nats/nats-server.conf").contains("js_ack_fc_v2: true");
    assert_eq!(is_named, registry != REGISTRY);
    let admin = project.connect("T/admin").await;
    let other = project.connect("O/app").await;
    prepare(&admin).await;
    let heard = surroundings(&admin, &other).await;

    let mut runs: Vec<BoxFuture<'_, Tried>> = Vec::new();
    for role in ROLES {
        let creds = project.creds(&format!("T/{role}"));
        for library in libraries.iter().filter(|_| clients.is_some()) {
            let folder = clients.expect("the folder of the libraries");
            runs.push(foreign(library, role, command(library, folder), &creds));
        }
        runs.push(async move { (("async-nats", role), own(&format!("async-nats.{role}"), &creds).await) }.boxed());
    }
    // More at once than the machine has processors, and a login takes longer than the server waits.
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let mut results: Results = futures_util::stream::iter(runs).buffer_unordered(at_once).collect().await;
    // What is said is judged by who hears it.
    tokio::time::timeout(WAIT, admin.settled()).await.expect("the server answers");
    let heard = heard.lock().expect("what was heard").clone();
    for ((library, role), worked) in &mut results {
        let who = format!("{library}.{role}");
        for (name, subject) in [
            ("publish", format!("T.said.{who}")),
            ("publish-foreign", format!("O.said.{who}")),
            ("answer", format!("T.ask.{who}")),
        ] {
            worked.remove(name);
            if heard.contains(&subject) {
                worked.insert(name.to_owned());
            }
        }
    }
    results
}

/// What there is to read.
async fn prepare(admin: &Connection) {
    let js = jetstream::new(admin.client.clone());
    for subject in ["T.log.1", "T.scrap"].into_iter().chain(std::iter::repeat_n("T.work", 100)) {
        js.publish(subject, "x".into()).await.expect("publish").await.expect("stored");
    }
    js.get_key_value("settings").await.expect("the bucket").put("color", "red".into()).await.expect("put");
    let files = js.get_object_store("files").await.expect("the store");
    files.put("logo", &mut b"picture".as_slice()).await.expect("put");
}

/// Both tenants speak without an end, answer, ask, and remember what they heard.
async fn surroundings(admin: &Connection, other: &Connection) -> Arc<Mutex<BTreeSet<String>>> {
    let heard: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    for (connection, subject) in [(admin, "T.said.>"), (other, "O.said.>")] {
        let (mut said, heard) = (connection.listen(subject).await, Arc::clone(&heard));
        tokio::spawn(async move {
            while let Some(message) = said.next().await {
                heard.lock().expect("what was heard").insert(message.subject.to_string());
            }
        });
    }
    let (mut requests, client) = (other.listen("O.api.x").await, other.client.clone());
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let reply = request.reply.expect("a request has a reply subject");
            client.publish(reply, "answered".into()).await.expect("publish");
        }
    });
    // Each answer of JetStream's API is an advisory too.
    let asked = admin.client.new_inbox();
    for (client, subjects) in [
        (admin.client.clone(), vec!["T.chatter", "$JS.API.INFO"]),
        (other.client.clone(), vec!["O.chatter", "O.public.chatter"]),
    ] {
        let asked = asked.clone();
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(50));
            while client.connection_state() == async_nats::connection::State::Connected {
                for subject in &subjects {
                    let _ = client.publish_with_reply(*subject, asked.clone(), "".into()).await;
                }
                tick.tick().await;
            }
        });
    }
    for who in FOREIGN.iter().chain(&["async-nats"]).flat_map(|l| ROLES.map(|role| format!("{l}.{role}"))) {
        let (client, heard) = (admin.client.clone(), Arc::clone(&heard));
        tokio::spawn(async move {
            let subject = format!("T.ask.{who}");
            let mut tick = tokio::time::interval(Duration::from_millis(50));
            while client.connection_state() == async_nats::connection::State::Connected {
                tick.tick().await;
                let asked = tokio::time::timeout(WAIT, client.request(subject.clone(), "".into())).await;
                if asked.is_ok_and(|answer| answer.is_ok_and(|a| a.payload == "answered")) {
                    heard.lock().expect("what was heard").insert(subject);
                    return;
                }
            }
        });
    }
    heard
}

/// Another language's program tries.
fn foreign<'f>(
    library: &'static str,
    role: &'static str,
    command: Vec<PathBuf>,
    creds: &Creds,
) -> BoxFuture<'f, Tried> {
    let who = format!("{library}.{role}");
    let mut process = std::process::Command::new(&command[0]);
    process.args(&command[1..]).arg(&who).stdin(Stdio::null()).stderr(Stdio::inherit());
    process.env("NATS_URL", &creds.url).env("NATS_INBOX_PREFIX", &creds.inbox_prefix);
    process.env("NATS_NKEY_SEED", creds.seed.as_deref().expect("an nkey user"));
    async move {
        let output = tokio::task::spawn_blocking(move || process.output())
            .await
            .expect("it runs")
            .unwrap_or_else(|e| panic!("{}: {e}", command[0].display()));
        let said: BTreeMap<String, bool> = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{who}: {e}: {}", String::from_utf8_lossy(&output.stdout)));
        let tried: BTreeSet<&str> = said.keys().map(String::as_str).collect();
        assert_eq!(tried, OPERATIONS.iter().map(|(name, ..)| *name).collect(), "{who} tried something else");
        ((library, role), said.into_iter().filter_map(|(name, worked)| worked.then_some(name)).collect())
    }
    .boxed()
}

/// async-nats tries.
async fn own(who: &str, creds: &Creds) -> BTreeSet<String> {
    let tries = OPERATIONS.iter().map(|(name, ..)| async move {
        let connection = creds.connect().await.expect("connect");
        let worked = tokio::time::timeout(WAIT * 2, operation(name, who, &connection)).await;
        worked.is_ok_and(|result| result.is_some()).then(|| (*name).to_owned())
    });
    join_all(tries).await.into_iter().flatten().collect()
}

/// One operation; something if it worked.
async fn operation(name: &str, who: &str, nc: &Connection) -> Option<()> {
    let mut js = jetstream::new(nc.client.clone());
    js.set_timeout(WAIT);
    match name {
        "account" | "describe" | "find" => describing(name, &js).await,
        "make" | "purge" | "names" => managing(name, who, &js).await,
        "store" | "fetch" | "ordered" => in_streams(name, &js).await,
        "key-read" | "key-write" | "key-watch" => in_bucket(name, who, &js).await,
        "object-read" | "object-write" => in_object_store(name, who, &js).await,
        _ => in_subjects(name, who, nc).await,
    }
}

async fn in_subjects(name: &str, who: &str, nc: &Connection) -> Option<()> {
    match name {
        "publish" => nc.say(&format!("T.said.{who}"), "x").await,
        "publish-foreign" => nc.say(&format!("O.said.{who}"), "x").await,
        "subscribe" => hears(nc, "T.chatter").await?,
        "shared" => hears(nc, "O.public.chatter").await?,
        "subscribe-foreign" => hears(nc, "O.chatter").await?,
        "subscribe-all" => hears(nc, ">").await?,
        "advisories" => hears(nc, "$JS.EVENT.ADVISORY.>").await?,
        "request" => drop(nc.request("O.api.x", "".into()).await.ok()?),
        "connections" => drop(nc.request("$SYS.REQ.ACCOUNT.PING.CONNZ", "".into()).await.ok()?),
        "inbox" => {
            let inbox = nc.client.new_inbox();
            let mut said = nc.subscribe(inbox.clone()).await.ok()?;
            nc.say(&inbox, "x").await;
            tokio::time::timeout(WAIT, said.next()).await.ok()??;
        }
        "answer" => {
            let mut requests = nc.subscribe(format!("T.ask.{who}")).await.ok()?;
            let request = tokio::time::timeout(WAIT, requests.next()).await.ok()??;
            nc.say(request.reply?.as_str(), "answered").await;
        }
        other => panic!("there is no operation {other}"),
    }
    Some(())
}

async fn in_streams(name: &str, js: &jetstream::Context) -> Option<()> {
    match name {
        "store" => drop(js.publish("T.log.new", "x".into()).await.ok()?.await.ok()?),
        "fetch" => {
            let worker: jetstream::consumer::PullConsumer = js.get_consumer_from_stream("worker", "WORK").await.ok()?;
            let mut batch = worker.fetch().max_messages(1).expires(WAIT).messages().await.ok()?;
            batch.next().await?.ok()?.double_ack().await.ok()?;
        }
        "ordered" => {
            let log = js.get_stream("LOG").await.ok()?;
            let config = pull::OrderedConfig { filter_subject: "T.log.>".into(), ..Default::default() };
            let mut messages = log.create_consumer(config).await.ok()?.messages().await.ok()?;
            drop(messages.next().await?.ok()?);
        }
        other => panic!("there is no operation {other}"),
    }
    Some(())
}

async fn describing(name: &str, js: &jetstream::Context) -> Option<()> {
    match name {
        "account" => drop(js.query_account().await.ok()?),
        "describe" => drop(js.get_stream("LOG").await.ok()?),
        "find" => drop(js.stream_by_subject("T.log.>").await.ok().filter(|found| found == "LOG")?),
        other => panic!("there is no operation {other}"),
    }
    Some(())
}

async fn managing(name: &str, who: &str, js: &jetstream::Context) -> Option<()> {
    match name {
        "make" => {
            let name = format!("MADE_{}", who.replace('.', "_"));
            let subjects = vec![format!("T.made.{who}")];
            let config = stream::Config { name: name.clone(), subjects, max_bytes: 10_000, ..Default::default() };
            js.create_stream(config).await.ok()?;
            js.delete_stream(name).await.ok()?;
        }
        "purge" => drop(js.get_stream_no_info("SCRAP").await.ok()?.purge().await.ok()?),
        "names" => drop(js.streams().next().await?.ok()?),
        other => panic!("there is no operation {other}"),
    }
    Some(())
}

async fn in_bucket(name: &str, who: &str, js: &jetstream::Context) -> Option<()> {
    match name {
        "key-read" => drop(js.get_key_value("settings").await.ok()?.get("color").await.ok()??),
        "key-write" => drop(js.get_key_value("settings").await.ok()?.put(format!("by.{who}"), "x".into()).await.ok()?),
        "key-watch" => {
            let bucket = js.get_key_value("settings").await.ok()?;
            let mut watch = bucket.watch_with_history("color").await.ok()?;
            drop(watch.next().await?.ok()?);
        }
        other => panic!("there is no operation {other}"),
    }
    Some(())
}

async fn in_object_store(name: &str, who: &str, js: &jetstream::Context) -> Option<()> {
    match name {
        "object-read" => {
            let mut object = js.get_object_store("files").await.ok()?.get("logo").await.ok()?;
            let mut bytes = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut object, &mut bytes).await.ok()?;
        }
        "object-write" => {
            let files = js.get_object_store("files").await.ok()?;
            drop(files.put(format!("by-{who}").as_str(), &mut b"x".as_slice()).await.ok()?);
        }
        other => panic!("there is no operation {other}"),
    }
    Some(())
}

async fn hears(nc: &Connection, subject: &str) -> Option<()> {
    let mut subscription = nc.subscribe(subject.to_owned()).await.ok()?;
    tokio::time::timeout(WAIT, subscription.next()).await.ok()?.map(drop)
}
