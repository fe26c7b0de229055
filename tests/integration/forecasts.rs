//! What a plan says of a change is what then happens: for every kind of change, and for taking it back.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use crate::support::{Connection, Project, eventually};

/// Three tenants that have everything a change can be about.
const REGISTRY: &str = r#"version = 1
[server]
name = "dev"
client = "127.0.0.1:4222"
monitor = "127.0.0.1:8222"
max_payload = "1MiB"
[server.jetstream]
memory = "1GiB"
storage = "16GiB"
[auth]
bcrypt_cost = 4
[keys]
root = "development"
[system]
account = "SYS"
[[system.user]]
name = "operator"
[role.special]
publish = ["{subject}", "{tenant}.commands.>"]
subscribe = ["{subject}"]

[[tenant]]
name = "A"
subjects = ["A.>", "A2.>"]
[tenant.limits]
connections = 20
subscriptions = 500
payload = "512KiB"
[tenant.jetstream]
memory = "32MiB"
storage = "512MiB"
streams = 10
consumers = 20
[[tenant.user]]
name = "app"
[[tenant.user]]
name = "a_legacy"
auth = "password"
[[tenant.user]]
name = "special"
role = "special"
[[tenant.user]]
name = "reader"
role = "subscriber"
[[tenant.stream]]
name = "EVENTS"
subjects = ["A.events.>"]
max_age = "30d"
max_bytes = "64MiB"
[[tenant.stream.consumer]]
name = "worker"
max_deliver = 3
[[tenant.bucket]]
name = "settings"

[[tenant]]
name = "B"
[tenant.jetstream]
memory = "16MiB"
storage = "256MiB"
[[tenant.user]]
name = "app"
[[tenant.user]]
name = "b_legacy"
auth = "password"

[[tenant]]
name = "C"
[[tenant.user]]
name = "app"

[[share]]
from = "A"
to = ["B"]
stream = "A.public.>"

[[share]]
from = "B"
to = ["C"]
service = "B.quote"
"#;

/// A kind of change: what it is called, a text of the registry, and what takes its place.
type Kind = (&'static str, &'static str, &'static str);

const USERS: &[Kind] = &[
    ("a comment", "version = 1", "# hello\nversion = 1"),
    (
        "a user with a key",
        "[[tenant.user]]\nname = \"reader\"",
        "[[tenant.user]]\nname = \"new\"\n[[tenant.user]]\nname = \"reader\"",
    ),
    (
        "a user with a password",
        "[[tenant.user]]\nname = \"reader\"",
        "[[tenant.user]]\nname = \"a_new\"\nauth = \"password\"\n[[tenant.user]]\nname = \"reader\"",
    ),
    ("a user is gone", "[[tenant.user]]\nname = \"reader\"\nrole = \"subscriber\"\n", ""),
    ("another name", "name = \"reader\"", "name = \"viewer\""),
    ("a rotated key", "name = \"reader\"", "name = \"reader\"\ngeneration = 2"),
    ("a rotated password", "name = \"a_legacy\"", "name = \"a_legacy\"\ngeneration = 2"),
    ("a password for a key", "name = \"reader\"", "name = \"reader\"\nauth = \"password\""),
    ("a key for a password", "name = \"a_legacy\"\nauth = \"password\"", "name = \"a_legacy\""),
    (
        "a brought key",
        "name = \"reader\"",
        "name = \"reader\"\npublic_key = \"UCNGL4W5QX66CFX6A6DCBVDH5VOHMI7B2UZZU7TXAUQQSI2JPHULCKBR\"",
    ),
    ("a wider role", "name = \"reader\"\nrole = \"subscriber\"", "name = \"reader\"\nrole = \"admin\""),
    ("a narrower role", "name = \"a_legacy\"", "name = \"a_legacy\"\nrole = \"subscriber\""),
    ("a role publishes more", "publish = [\"{subject}\", ", "publish = [\"{subject}\", \"{tenant}.more\", "),
    (
        "a role publishes less",
        "publish = [\"{subject}\", \"{tenant}.commands.>\"]",
        "publish = [\"{tenant}.commands.>\"]",
    ),
    ("a role hears less", "subscribe = [\"{subject}\"]", "subscribe = [\"{tenant}.few.>\"]"),
    ("a role hears nothing", "subscribe = [\"{subject}\"]", "subscribe = []"),
    ("another inbox", "name = \"reader\"", "name = \"reader\"\ninbox = \"default\""),
    ("bcrypt costs more", "bcrypt_cost = 4", "bcrypt_cost = 5"),
    ("another system user", "name = \"operator\"", "name = \"operator\"\n[[system.user]]\nname = \"second\""),
    ("a rotated system user", "name = \"operator\"", "name = \"operator\"\ngeneration = 2"),
];

const TENANTS: &[Kind] = &[
    (
        "a tenant",
        "[[share]]\nfrom = \"A\"",
        "[[tenant]]\nname = \"D\"\n[[tenant.user]]\nname = \"app\"\n[[share]]\nfrom = \"A\"",
    ),
    (
        "a tenant with a stream",
        "[[share]]\nfrom = \"A\"",
        "[[tenant]]\nname = \"E\"\n[tenant.jetstream]\nstorage = \"64MiB\"\n[[tenant.user]]\nname = \"app\"\n[[tenant.stream]]\nname = \"S\"\nsubjects = [\"E.s\"]\n[[share]]\nfrom = \"A\"",
    ),
    ("more subjects", "subjects = [\"A.>\", \"A2.>\"]", "subjects = [\"A.>\", \"A2.>\", \"A3.>\"]"),
    ("fewer subjects", "subjects = [\"A.>\", \"A2.>\"]", "subjects = [\"A.>\"]"),
    ("more connections", "connections = 20", "connections = 30"),
    ("fewer connections, more than used", "connections = 20", "connections = 10"),
    ("more subscriptions", "subscriptions = 500", "subscriptions = 1000"),
    ("fewer subscriptions, more than used", "subscriptions = 500", "subscriptions = 400"),
    ("larger messages", "payload = \"512KiB\"", "payload = \"768KiB\""),
    ("smaller messages", "payload = \"512KiB\"", "payload = \"64KiB\""),
    ("JetStream for a tenant", "name = \"C\"", "name = \"C\"\n[tenant.jetstream]\nstorage = \"64MiB\""),
    ("no JetStream for a tenant", "[tenant.jetstream]\nmemory = \"16MiB\"\nstorage = \"256MiB\"\n", ""),
    ("more storage", "storage = \"512MiB\"", "storage = \"768MiB\""),
    ("less storage", "storage = \"512MiB\"", "storage = \"384MiB\""),
    ("more memory", "memory = \"32MiB\"", "memory = \"48MiB\""),
    ("less memory", "memory = \"32MiB\"", "memory = \"16MiB\""),
    ("more streams", "streams = 10", "streams = 12"),
    ("fewer streams", "streams = 10", "streams = 5"),
    ("more consumers", "consumers = 20", "consumers = 25"),
];

const STREAMS_AND_SHARES: &[Kind] = &[
    (
        "a stream",
        "[[tenant.bucket]]\nname = \"settings\"",
        "[[tenant.stream]]\nname = \"MORE\"\nsubjects = [\"A.more\"]\n[[tenant.bucket]]\nname = \"settings\"",
    ),
    ("a bucket", "name = \"settings\"", "name = \"settings\"\n[[tenant.bucket]]\nname = \"more\""),
    ("an object store", "name = \"settings\"", "name = \"settings\"\n[[tenant.object_store]]\nname = \"files\""),
    ("a consumer", "name = \"worker\"", "name = \"second\"\n[[tenant.stream.consumer]]\nname = \"worker\""),
    ("another age", "max_age = \"30d\"", "max_age = \"20d\""),
    ("another size", "max_bytes = \"64MiB\"", "max_bytes = \"96MiB\""),
    ("more deliveries", "max_deliver = 3", "max_deliver = 5"),
    ("more captured", "subjects = [\"A.events.>\"]", "subjects = [\"A.events.>\", \"A.also.>\"]"),
    ("history", "name = \"settings\"", "name = \"settings\"\nhistory = 5"),
    (
        "a stream share",
        "[[share]]\nfrom = \"B\"",
        "[[share]]\nfrom = \"B\"\nto = [\"C\"]\nstream = \"B.news.>\"\n[[share]]\nfrom = \"B\"",
    ),
    (
        "a service share",
        "[[share]]\nfrom = \"B\"",
        "[[share]]\nfrom = \"A\"\nto = [\"C\"]\nservice = \"A.ask\"\n[[share]]\nfrom = \"B\"",
    ),
    (
        "a service between tenants with JetStream",
        "[[share]]\nfrom = \"B\"",
        "[[share]]\nfrom = \"A\"\nto = [\"B\"]\nservice = \"A.ask\"\n[[share]]\nfrom = \"B\"",
    ),
    ("a wider share", "stream = \"A.public.>\"", "stream = \"A.>\""),
    ("a narrower share", "stream = \"A.public.>\"", "stream = \"A.public.x\""),
    ("a share for more", "from = \"A\"\nto = [\"B\"]", "from = \"A\"\nto = [\"B\", \"C\"]"),
    ("a share for others", "from = \"A\"\nto = [\"B\"]", "from = \"A\"\nto = [\"C\"]"),
    ("no share", "[[share]]\nfrom = \"B\"\nto = [\"C\"]\nservice = \"B.quote\"\n", ""),
];

const SERVER: &[Kind] = &[
    ("another name", "name = \"dev\"", "name = \"other\""),
    ("another URL", "name = \"dev\"", "name = \"dev\"\nurl = \"nats://127.0.0.1:4222\""),
    ("another image", "name = \"dev\"", "name = \"dev\"\nimage = \"nats:2.15.0\""),
    ("larger messages of all", "max_payload = \"1MiB\"", "max_payload = \"2MiB\""),
    ("more connections of all", "name = \"dev\"", "name = \"dev\"\nmax_connections = 2000"),
    ("fewer connections of all", "name = \"dev\"", "name = \"dev\"\nmax_connections = 500"),
    ("more for slow clients", "name = \"dev\"", "name = \"dev\"\nmax_pending = \"32MiB\""),
    ("longer writes", "name = \"dev\"", "name = \"dev\"\nwrite_deadline = \"20s\""),
    ("debug lines", "[server.jetstream]", "[server.log]\nlevel = \"debug\"\n[server.jetstream]"),
    ("more storage of all", "storage = \"16GiB\"", "storage = \"20GiB\""),
    ("more memory of all", "memory = \"1GiB\"", "memory = \"2GiB\""),
    ("another system account", "account = \"SYS\"", "account = \"SYSTEM\""),
    ("no monitoring", "monitor = \"127.0.0.1:8222\"\n", ""),
];

/// Connected clients of a project, each with its `TENANT/USER`.
struct Clients(Vec<(String, Connection)>);

impl Clients {
    /// Connects whoever is not connected, has a secret here, and is no provisioner.
    async fn complete(&mut self, project: &Project) {
        self.0.retain(|(_, connection)| !connection.was_lost());
        let tenants = project.run(&["tenant", "list", "--format", "json"]).succeeded().json();
        let tenants = tenants["tenants"].as_array().or_else(|| tenants.as_array()).expect("a list").clone();
        for tenant in tenants.iter().take(3) {
            let name = |value: &Json| value["name"].as_str().expect("a name").to_owned();
            for user in tenant["users"].as_array().expect("a list") {
                let who = format!("{}/{}", name(tenant), name(user));
                let is_ours = user["credential"] != "public key" && user["role"] != "provisioner";
                if is_ours && !self.0.iter().any(|(other, _)| *other == who) {
                    let connection = project.connect(&who).await;
                    self.0.push((who, connection));
                }
            }
        }
    }
}

/// Plans, does what is planned, and compares. Returns what happened.
async fn change(project: &Project, clients: &mut Clients, what: &str) -> String {
    // Names come and go here without being retired.
    project.forget_names();
    let planned = project.run(&["plan", "--format", "json"]);
    let plan = planned.json();
    // What is no longer declared is left alone, and shown again.
    let is_open = |change: &Json| change["action"] != "undeclared";
    let is_due = plan["reload"] == true
        || plan["restart"] == true
        || plan["changes"].as_array().expect("a list").iter().any(is_open);
    assert!(planned.code == i32::from(is_due), "{what}: {}", planned.all());
    assert_eq!(
        plan["accounts"].as_array().map(|list| !list.is_empty()),
        Some(plan["reload"] == true),
        "{what}: {plan}"
    );
    let mut up = project.run(&["up", "--format", "json"]);
    let mut happened = up.code;
    if plan["restart"] == true {
        assert_eq!(up.code, 1, "{what}: it needs a restart, and got none: {}", up.all());
        assert!(clients.0.iter().all(|(_, connection)| !connection.was_lost()), "{what}: somebody was disconnected");
        up = project.run(&["up", "--restart", "--format", "json"]);
        happened = up.code;
    }
    let done = up.json();
    let expected = match (&plan["restart"], &plan["reload"]) {
        (Json::Bool(true), _) => "started",
        (_, Json::Bool(true)) => "reloaded",
        _ => "unchanged",
    };
    assert_eq!(done["action"], expected, "{what}: {}", up.all());
    let changes = |document: &Json| {
        let of = |change: &Json| {
            format!("{} {} {} {}", change["tenant"], change["stream"], change["consumer"], change["action"])
        };
        document["changes"].as_array().map(|list| list.iter().map(of).collect::<BTreeSet<_>>()).unwrap_or_default()
    };
    assert_eq!(changes(&done["jetstream"]), changes(&plan), "{what}: {}", up.all());
    // A secret of before the one that the server has, which a ledger would refuse, is no way to ask it.
    let is_known = what != "a rotated system user, taken back";
    if plan["restart"] != true && is_known {
        let foretold = plan["disconnects"].as_array().unwrap_or_else(|| panic!("{what}: it is known who: {plan}"));
        let foretold: BTreeSet<&str> = foretold.iter().filter_map(Json::as_str).collect();
        for (who, connection) in &clients.0 {
            if foretold.contains(who.as_str()) {
                eventually(&format!("{what}: {who} is disconnected"), async || connection.was_lost()).await;
            } else {
                connection.settled().await;
                assert!(!connection.was_lost(), "{what}: {who} was disconnected, and the plan has {foretold:?}");
            }
        }
    }
    let after = project.run(&["plan", "--format", "json"]);
    assert!(after.code == 0 && happened == 0 && after.json()["reload"] == false, "{what}: {}", after.all());
    clients.complete(project).await;
    for (tenant, user) in [("A", "app"), ("B", "app")] {
        let connection = &clients.0.iter().find(|(who, _)| *who == format!("{tenant}/{user}")).expect("it is there").1;
        let has_jetstream =
            project.read("tenants.toml").contains("memory = \"16MiB\"\nstorage = \"256MiB\"") || tenant == "A";
        let answer = async_nats::jetstream::new(connection.client.clone()).query_account().await;
        assert_eq!(answer.is_ok(), has_jetstream, "{what}: {tenant}: {answer:?}");
    }
    expected.to_owned()
}

/// Makes each change, and takes it back.
async fn make(kinds: &[Kind], tenants: usize) {
    let more = (3..tenants).map(|i| {
        let js = if i % 2 == 0 { "[tenant.jetstream]\nstorage = \"64MiB\"\n" } else { "" };
        format!("[[tenant]]\nname = \"N{i}\"\n{js}[[tenant.user]]\nname = \"app\"\n")
    });
    let project = Project::with_registry(&format!("{REGISTRY}{}", more.collect::<String>()));
    project.up();
    let registry = project.read("tenants.toml");
    let mut clients = Clients(Vec::new());
    clients.complete(&project).await;
    let mut done = Vec::new();
    for (what, from, to) in kinds {
        let (from, to) = (project.on_own_ports(from), project.on_own_ports(to));
        assert!(registry.contains(&from), "{what}: the registry has no {from:?}");
        project.write("tenants.toml", &registry.replacen(&from, &to, 1));
        let there = change(&project, &mut clients, what).await;
        project.write("tenants.toml", &registry);
        let back = change(&project, &mut clients, &format!("{what}, taken back")).await;
        done.push(json!([what, there, back]));
    }
    let reloads = done.iter().filter(|row| row[1] == "reloaded").count();
    assert!(reloads > kinds.len() / 4, "the control: reloads are tried at all: {done:?}");
}

/// With 3 tenants, and then with 40.
macro_rules! as_planned {
    ($($name:ident: $kinds:expr;)*) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread")]
            async fn with_three_tenants() {
                super::make($kinds, 3).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn with_forty_tenants() {
                super::make($kinds, 40).await;
            }
        }
    )*};
}

as_planned! {
    users: super::USERS;
    tenants: super::TENANTS;
    streams_and_shares: super::STREAMS_AND_SHARES;
    server: super::SERVER;
}
