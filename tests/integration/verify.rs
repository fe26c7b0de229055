//! The live proof: that it says isolated of what is, leaky of what is not, and
//! neither of what it could not try.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, stream};
use serde_json::{Value as Json, json};

use crate::support::{PATIENCE, Project, ask, eventually};

/// Runs it and gives the report.
fn verify(project: &Project, arguments: &[&str], code: i32) -> Json {
    let ran = project.run(&[&["verify", "--format", "json"], arguments].concat());
    let report = ran.json();
    let found = [outcomes(&report, "leak"), outcomes(&report, "not-run")].concat();
    assert_eq!(ran.code, code, "{found:#?}\n{}", ran.stderr);
    report
}

fn outcomes(report: &Json, outcome: &str) -> Vec<String> {
    let checks = report["checks"].as_array().expect("checks");
    let of = |c: &&Json| c["outcome"] == outcome;
    checks.iter().filter(of).map(|c| format!("{} {} {}: {}", c["probe"], c["from"], c["to"], c["evidence"])).collect()
}

/// A tenant with JetStream and one user, as it stands in a registry.
fn tenant_with(name: &str, storage: &str, user: &str, role: &str) -> String {
    format!(
        "[[tenant]]\nname = \"{name}\"\n[tenant.jetstream]\nstorage = \"{storage}\"\n\
         [[tenant.user]]\nname = \"{user}\"\nrole = \"{role}\"\n"
    )
}

const PROBES: [&str; 26] = [
    "version",
    "entry",
    "declarations",
    "subscribing",
    "canaries",
    "capture",
    "publishing",
    "inboxes",
    "replies",
    "queues",
    "shares",
    "answers",
    "discovery",
    "tracing",
    "system",
    "jetstream-api",
    "streams",
    "buckets",
    "object-stores",
    "acknowledgements",
    "destruction",
    "redirection",
    "sources",
    "listeners",
    "limits",
    "noisy-neighbours",
];

#[test]
fn the_default_registry_is_isolated() {
    let project = Project::new();
    let report = verify(&project, &[], 0);
    assert_eq!((&report["verdict"], &report["tenants"], &report["pairs"]), (&json!("isolated"), &json!(2), &json!(2)));
    assert_eq!(report["server"]["throwaway"], true);
    let passed: BTreeSet<&str> =
        report["checks"].as_array().expect("checks").iter().filter_map(|c| c["probe"].as_str()).collect();
    assert_eq!(passed, PROBES.into_iter().collect(), "every probe has something to try here");
}

/// Every way of breaking the configuration is noticed by one proof or the other,
/// which is the control of both: a proof that cannot fail proves nothing.
#[test]
fn every_mutant_is_caught() {
    let project = Project::new();
    let ran = project.run(&["verify", "--mutants", "--format", "json"]);
    let control = ran.json();
    assert_eq!(control["survivors"], json!([]), "{control:#}");
    assert_eq!(ran.code, 0);
    assert_eq!(control["not_applicable"], json!([]));
    let mutants = control["mutants"].as_array().expect("mutants");
    assert!(mutants.len() >= 157, "{}", mutants.len());
    // This registry has a place for every rule and probe to look.
    let missed: Vec<&Json> = mutants.iter().filter(|m| m["missed_by"] != json!([])).collect();
    assert!(missed.is_empty(), "{missed:#?}");
    let by: BTreeSet<&str> =
        mutants.iter().flat_map(|m| m["by"].as_array().expect("by")).filter_map(Json::as_str).collect();
    // A version cannot be broken by a configuration; it has a test of its own.
    let never: Vec<&&str> = PROBES.iter().filter(|p| **p != "version" && !by.contains(**p)).collect();
    assert!(never.is_empty(), "no mutant turns these red: {never:?}");
}

#[test]
fn registries_of_all_kinds_are_isolated() {
    let head = "version = 1\n[server]\nname = \"x\"\nclient = \"127.0.0.1:4222\"\n[keys]\nroot = \"development\"\n\
        [system]\naccount = \"SYS\"\n[[system.user]]\nname = \"op\"\n";
    let jetstream = "[server.jetstream]\nmemory = \"64MiB\"\nstorage = \"256MiB\"\n";
    let key = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
    let registries = [
        ("without JetStream", "", "[[tenant]]\nname = \"A\"\n[[tenant.user]]\nname = \"a\"\n[[tenant]]\nname = \"B\"\n[[tenant.user]]\nname = \"b\"\n".to_owned()),
        ("a single subject that is offered as a service", jetstream, "[[tenant]]\nname = \"A\"\nsubjects = [\"quote\"]\n[[tenant.user]]\nname = \"a\"\n[[tenant]]\nname = \"B\"\n[tenant.jetstream]\nstorage = \"64MiB\"\n[[tenant.user]]\nname = \"b\"\n[[share]]\nfrom = \"A\"\nto = [\"B\"]\nservice = \"quote\"\n".to_owned()),
        ("one tenant", jetstream, "[[tenant]]\nname = \"A\"\n[tenant.jetstream]\nstorage = \"1MiB\"\n[[tenant.user]]\nname = \"a\"\nrole = \"admin\"\n".to_owned()),
        ("every role, on disk only", jetstream, ["A", "B", "C"].map(|t| {
            let users = ["admin", "app", "publisher", "subscriber", "monitor"];
            let users = users.map(|r| format!("[[tenant.user]]\nname = \"{r}\"\nrole = \"{r}\"\n")).concat();
            format!("[[tenant]]\nname = \"{t}\"\n[tenant.jetstream]\nmemory = \"0B\"\nstorage = \"8MiB\"\nstreams = 3\n{users}")
        }).concat()),
        ("odd subjects, shared inboxes, chains of shares, a key of one's own", jetstream, format!(
            "[[tenant]]\nname = \"A\"\nsubjects = [\"eu.orders.>\", \"plain\", \"x.*.y\"]\n[tenant.jetstream]\nstorage = \"1MiB\"\n\
             [[tenant.user]]\nname = \"a\"\nrole = \"admin\"\ninbox = \"default\"\n[[tenant.user]]\nname = \"own\"\npublic_key = \"{key}\"\n\
             [[tenant]]\nname = \"B\"\nsubjects = [\"us.orders.>\"]\n[[tenant.user]]\nname = \"b\"\n\
             [[tenant]]\nname = \"C\"\n[[tenant.user]]\nname = \"c\"\n\
             [[share]]\nfrom = \"A\"\nto = [\"B\", \"C\"]\nstream = \"eu.orders.new.>\"\n\
             [[share]]\nfrom = \"A\"\nto = [\"B\"]\nservice = \"plain\"\n\
             [[share]]\nfrom = \"B\"\nto = [\"A\"]\nservice = \"us.orders.quote.*\"\n\
             [[share]]\nfrom = \"C\"\nto = [\"B\"]\nstream = \"C.news\"\n"
        )),
        ("one service for two", "", "[[tenant]]\nname = \"A\"\nsubjects = [\"api.*\"]\n[[tenant.user]]\nname = \"a\"\n\
            [[tenant]]\nname = \"B\"\n[[tenant.user]]\nname = \"b\"\n[[tenant]]\nname = \"C\"\n[[tenant.user]]\nname = \"c\"\n\
            [[share]]\nfrom = \"A\"\nto = [\"B\", \"C\"]\nservice = \"api.*\"\n".to_owned()),
        ("a manager without subjects before an admin, and a limit of one connection", jetstream,
            "[role.manager]\npublish = [\"$JS.API.>\"]\nsubscribe = [\"{inbox}\"]\n\
             [[tenant]]\nname = \"A\"\n[tenant.jetstream]\nstorage = \"8MiB\"\n[[tenant.user]]\nname = \"manager\"\nrole = \"manager\"\n\
             [[tenant.user]]\nname = \"admin\"\nrole = \"admin\"\n\
             [[tenant]]\nname = \"B\"\n[tenant.limits]\nconnections = 1\n[tenant.jetstream]\nstorage = \"8MiB\"\n[[tenant.user]]\nname = \"b\"\n".to_owned()),
        ("users of one tenant with one inbox", jetstream, ["A", "B"].map(|t| {
            let users = ["one", "two"].map(|u| format!("[[tenant.user]]\nname = \"{u}\"\nrole = \"admin\"\ninbox = \"default\"\n"));
            format!("[[tenant]]\nname = \"{t}\"\n[tenant.jetstream]\nstorage = \"8MiB\"\n{}", users.concat())
        }).concat()),
    ];
    for (what, jetstream, tenants) in registries {
        let project = Project::with_registry(&head.replacen("[keys]", &format!("{jetstream}[keys]"), 1)).with(&tenants);
        let report = verify(&project, &[], 0);
        assert_eq!(report["verdict"], "isolated", "{what}");
        assert_eq!(outcomes(&report, "not-run"), Vec::<String>::new(), "{what}");
    }
}

#[test]
fn limits_that_leave_no_room_get_a_verdict_and_what_was_not_tried_is_said() {
    let roomless = [
        (
            "streams   = 10",
            "streams   = 2",
            "streams",
            "it may make 0 more streams, and the attack needs 2 and leaves one",
        ),
        (
            "payload       = \"512KiB\"",
            "payload       = \"2KiB\"",
            "setting",
            "its messages are smaller than 4096 bytes",
        ),
        ("connections   = 100", "connections   = 3", "limits", "its limit allows no more"),
    ];
    for (from, to, probe, why) in roomless {
        let project = Project::new();
        project.edit(from, to);
        project.up();
        let report = verify(&project, &["--server", &format!("127.0.0.1:{}", project.port)], 0);
        assert_eq!(outcomes(&report, "not-run"), Vec::<String>::new(), "{to}");
        let untried = outcomes(&report, "not-tried");
        let is_said = |o: &String| o.contains(probe) && o.contains("TENANT_A") && o.contains(why);
        assert!(untried.iter().any(is_said), "{to}: {untried:#?}");
        // The control: the tenant beside it was attacked in full.
        assert!(!untried.iter().any(|o| o.contains("jetstream-api") && o.contains("TENANT_B")), "{untried:#?}");
    }
}

/// The state of each of a tenant's streams and consumers, as its admin sees it: how many messages,
/// the first and last sequence, what is pending and what was delivered.
async fn state(project: &Project, admin: &str) -> Json {
    let admin = project.connect(admin).await;
    let list = ask(&admin, "$JS.API.STREAM.LIST", json!({})).await.expect("a list");
    let mut all = Vec::new();
    for stream in list["streams"].as_array().expect("streams") {
        let (name, state) = (stream["config"]["name"].as_str().expect("a name"), &stream["state"]);
        let kept = ["messages", "bytes", "first_seq", "last_seq", "consumer_count"].map(|key| state[key].clone());
        let consumers = ask(&admin, &format!("$JS.API.CONSUMER.LIST.{name}"), json!({})).await.expect("consumers");
        let of = |c: &Json| {
            json!([
                c["name"],
                c["num_pending"],
                c["num_ack_pending"],
                c["num_redelivered"],
                c["delivered"]["consumer_seq"]
            ])
        };
        let consumers: Vec<Json> = consumers["consumers"].as_array().into_iter().flatten().map(of).collect();
        all.push(json!([name, kept, consumers]));
    }
    all.into()
}

/// Streams that would drop a message for each that they take, that hand messages to workers, that
/// keep what consumers wait for, that copy others: with many users, and twice.
#[tokio::test]
async fn a_live_server_is_left_as_it_was() {
    const USERS: usize = 40;
    let project = Project::new();
    // It captures everything of its tenant, the run's own messages too.
    project.edit("subjects = [\"TENANT_B.orders.>\"]", "subjects = [\"TENANT_B.>\"]\nmax_msgs = 1000");
    project.edit("streams   = 10", "streams   = 20");
    for n in 0..USERS {
        project.run(&["user", "add", &format!("TENANT_B/more{n}")]).succeeded();
    }
    project.up();
    let admin = project.connect("TENANT_A/tenant_a_admin").await;
    let js = jetstream::new(admin.client.clone());
    let stream = |name: &str, retention: stream::RetentionPolicy, max_messages: i64| stream::Config {
        name: name.into(),
        subjects: vec![format!("TENANT_A.{}.>", name.to_lowercase())],
        max_messages,
        retention,
        ..Default::default()
    };
    use stream::RetentionPolicy::{Interest, Limits, WorkQueue};
    for (config, durable) in [
        (stream("FULL", Limits, 3), "reader"),
        (stream("WORK", WorkQueue, -1), "worker"),
        (stream("WAIT", Interest, -1), "waiter"),
    ] {
        let subject = config.subjects[0].replace('>', "real");
        let made = js.create_stream(config).await.expect("a stream");
        let consumer = jetstream::consumer::pull::Config { durable_name: Some(durable.into()), ..Default::default() };
        made.create_consumer(consumer).await.expect("a consumer");
        for i in 0..3 {
            js.publish(subject.clone(), format!("{i}").into())
                .await
                .expect("publish")
                .await
                .expect("an acknowledgement");
        }
    }
    let whole = stream::Config { subjects: vec!["TENANT_A.*".into()], ..stream("TENANTRY_WHOLE", Limits, 1) };
    js.create_stream(whole).await.expect("a stream");
    js.publish("TENANT_A.real", "kept".into()).await.expect("publish").await.expect("an acknowledgement");
    let source = |name: &str| stream::Source { name: name.to_owned(), ..Default::default() };
    let mirror = stream::Config { name: "MIRROR".into(), mirror: Some(source("FULL")), ..Default::default() };
    let copy = stream::Config { name: "COPY".into(), sources: Some(vec![source("FULL")]), ..Default::default() };
    for config in [mirror, copy] {
        js.create_stream(config).await.expect("a stream");
    }
    let other = project.connect("TENANT_B/tenant_b_admin").await;
    let js = jetstream::new(other.client.clone());
    for i in 0..740 {
        js.publish("TENANT_B.x", format!("{i}").into()).await.expect("publish").await.expect("an acknowledgement");
    }
    let both =
        async || (state(&project, "TENANT_A/tenant_a_admin").await, state(&project, "TENANT_B/tenant_b_admin").await);
    eventually("the copies are there", async || {
        let (a, _) = both().await;
        let messages = |name: &str| {
            a.as_array().into_iter().flatten().find(|s| s[0] == name).map_or(0, |s| s[1][0].as_u64().unwrap_or(0))
        };
        messages("MIRROR") == 3 && messages("COPY") == 3
    })
    .await;
    let before = both().await;
    let url = format!("nats://127.0.0.1:{}", project.port);
    for _ in 0..2 {
        let report = verify(&project, &["--server", &url], 0);
        assert_eq!(report["verdict"], "isolated");
        assert_eq!(report["server"]["throwaway"], false);
        assert_eq!(both().await, before);
    }
    let held = |tenant: &Json, name: &str| {
        tenant.as_array().into_iter().flatten().find(|s| s[0] == name).map(|s| s[1][0].clone())
    };
    assert_eq!(
        (held(&before.0, "FULL"), held(&before.0, "WORK"), held(&before.0, "WAIT"), held(&before.1, "ORDERS")),
        (Some(json!(3)), Some(json!(3)), Some(json!(3)), Some(json!(740))),
        "the control: there was something to spoil"
    );
    // Nobody but this test's own is still connected.
    eventually("everybody of it leaves", async || {
        let status = project.run(&["status", "--format", "json"]).succeeded().json();
        status["tenants"].as_array().expect("tenants").iter().all(|t| t["connections"] == 1)
    })
    .await;
}

#[test]
fn a_server_with_another_configuration_is_not_certified() {
    let project = Project::new();
    project.up();
    // What runs allows less and more than what is now declared.
    project.edit("role = \"auditor\"", "role = \"subscriber\"");
    let report = verify(&project, &["--server", &format!("127.0.0.1:{}", project.port)], 3);
    assert_eq!(report["verdict"], "inconclusive");
    assert!(!outcomes(&report, "not-run").is_empty());
    // More than declared is a leak.
    project.edit(
        "subscribe = [\"{subject}\"]               # each of the tenant's subjects",
        "subscribe = [\"{tenant}.some\"]",
    );
    project.edit("role = \"subscriber\"", "role = \"auditor\"");
    // More than the role grants is a leak inside the tenant, too.
    let report = verify(&project, &["--server", &format!("127.0.0.1:{}", project.port)], 1);
    assert_eq!(report["server"]["runs_rendered"], false);
}

/// A list that ends in `*` admits a subscription to `>`, which is no leak as long as nothing more arrives by it.
#[test]
fn a_subscription_wider_than_the_list_is_judged_by_what_arrives() {
    let registry = "version = 1\n[server]\nname = \"x\"\nclient = \"127.0.0.1:4222\"\n[keys]\nroot = \"development\"\n\
        [[system.user]]\nname = \"op\"\n[role.one]\npublish = []\nsubscribe = [\"{tenant}.*\", \"{inbox}\"]\n\
        [[tenant]]\nname = \"A\"\n[[tenant.user]]\nname = \"app\"\n[[tenant.user]]\nname = \"one\"\nrole = \"one\"\n\
        [[tenant]]\nname = \"B\"\n[[tenant.user]]\nname = \"app\"\n\
        [[share]]\nfrom = \"A\"\nto = [\"B\"]\nstream = \"A.*\"\n";
    let project = Project::with_registry(registry);
    project.up();
    let address = format!("127.0.0.1:{}", project.port);
    verify(&project, &[], 0);
    verify(&project, &["--server", &address], 0);
    // Without what closes it, more arrives.
    let accounts = project.read("infra/nats/accounts.conf");
    project.reload_with(&accounts.replacen("deny: [\"A.*.>\"]", "", 1), "an open list");
    let leaks = outcomes(&verify(&project, &["--server", &address], 1), "leak");
    assert!(
        leaks.iter().any(|leak| leak.contains("canaries") && leak.contains("which it is not granted")),
        "{leaks:?}"
    );
}

/// Where a user is in another tenant's account, everything else follows from that, and the fix is there.
#[test]
fn a_user_in_another_tenants_account_is_named_first() {
    let project = Project::new();
    project.up();
    let address = format!("127.0.0.1:{}", project.port);
    verify(&project, &["--server", &address], 0);
    let accounts = project.read("infra/nats/accounts.conf");
    // Two users change places.
    let login = |user: &str| {
        let start = accounts.find(&format!("user: \"{user}\"")).expect("the user");
        let password = start + accounts[start..].find("password:").expect("its password");
        start..password + accounts[password..].find('\n').expect("its end")
    };
    let (one, other) = (login("tenant_a_app"), login("tenant_b_app"));
    let between = &accounts[one.end..other.start];
    let changed =
        [&accounts[..one.start], &accounts[other.clone()], between, &accounts[one], &accounts[other.end..]].concat();
    project.reload_with(&changed, "two users changed places");
    let report = verify(&project, &["--server", &address], 1);
    let first = &report["causes"][0];
    assert!(first["evidence"].as_str().is_some_and(|e| e.contains("logs in to the account TENANT_")), "{first}");
    assert!(first["mend"].as_str().is_some_and(|m| m.contains("another tenant's account")), "{first}");
}

/// What the attack does not know of, a user that the registry does not have or a message trace, is in
/// a configuration with another digest. The control is the same server before.
#[test]
fn a_server_that_runs_more_than_is_rendered_is_not_certified() {
    let project = Project::new();
    project.up();
    let address = format!("127.0.0.1:{}", project.port);
    let report = verify(&project, &["--server", &address], 0);
    assert_eq!(report["server"]["runs_rendered"], true);
    let accounts = project.read("infra/nats/accounts.conf");
    for (more, what) in [
        ("users: [\n      { user: guest, password: guest }\n", "a user that may do everything"),
        ("msg_trace: \"TENANT_B.public.trace\"\n    users: [\n", "a trace of another tenant's messages"),
    ] {
        let at = accounts.find("\"TENANT_B\"").expect("the account");
        let changed = accounts[..at].to_owned() + &accounts[at..].replacen("users: [\n", more, 1);
        project.reload_with(&changed, what);
        let report = verify(&project, &["--server", &address], 3);
        assert_eq!(report["server"]["runs_rendered"], false, "{what}");
        let said = outcomes(&report, "not-run");
        assert!(said.iter().any(|o| o.contains("runs another configuration than what is rendered")), "{said:?}");
    }
    // The static proof looks at what it runs, if it is told; nobody attacks as a user that is not the
    // registry's. The server's own mappings of a JetStream domain are no user's.
    let guest = "{ nkey: UCFHWLYDLMVQXOYBXYR6JUEUA4QQ27FXLXHWWTUU6XRMJFAPDLUCMB7P, \
                 allowed_connection_types: [STANDARD], \
                 permissions { publish: \"TENANT_A.>\", subscribe: \"TENANT_A.>\", allow_responses: false } }";
    let at = accounts.find("\"TENANT_A\"").expect("the account");
    let more = accounts[at..].replacen("users: [\n", &format!("users: [\n{guest}\n"), 1);
    project.reload_with(&(accounts[..at].to_owned() + &more), "a guest");
    let conf = project.path().join(".tenantry/run/nats-server.conf");
    let report = verify(&project, &["--server", &address, "--conf", conf.to_str().expect("a path")], 3);
    let said = outcomes(&report, "not-run");
    assert!(said.len() == 1 && said[0].contains("TENANT_A/UCFH"), "{said:?}");
    assert_eq!(outcomes(&report, "leak"), Vec::<String>::new());
    // What no attempt hits, because it is one subject of many, its lists tell.
    let own = "[\"TENANT_A.>\", \"_INBOX_tenant_a_app.>\"]";
    let wider = accounts.replace(own, &own.replace(']', ", \"elsewhere.x\"]"));
    project.reload_with(&wider, "a wider list");
    let report = verify(&project, &["--server", &address, "--conf", conf.to_str().expect("a path")], 1);
    let said = outcomes(&report, "leak");
    assert!(said.len() == 1 && said[0].contains("allows TENANT_A/tenant_a_app to"), "{said:?}");
    assert!(said[0].contains("subscribe to `elsewhere.x`, which is not declared"), "{said:?}");
}

/// A server that is behind the registry by one `up` has less than is declared, and what it has is declared.
#[test]
fn a_share_with_one_more_tenant_is_no_leak_before_it_is_rendered() {
    let project = Project::new();
    let third = "[[tenant]]\nname = \"TENANT_C\"\n[[tenant.user]]\nname = \"tenant_c_app\"\n";
    project.edit("[[share]]                               # the only way", &format!("{third}[[share]] # the only way"));
    project.up();
    let address = project.creds("TENANT_A/tenant_a_admin").url;
    verify(&project, &["--server", &address], 0);
    project.edit("to     = [\"TENANT_B\"]", "to     = [\"TENANT_B\", \"TENANT_C\"]");
    let report = verify(&project, &["--server", &address], 3);
    let said = outcomes(&report, "not-run").join("\n");
    assert!(said.contains("declared, and not on the server: stream TENANT_A.public.> exported to TENANT_C"), "{said}");
    // The control: with less in the registry than on the server it is one.
    project.edit("to     = [\"TENANT_B\", \"TENANT_C\"]", "to     = [\"TENANT_C\"]");
    let report = verify(&project, &["--server", &address], 1);
    let said = outcomes(&report, "leak").join("\n");
    assert!(said.contains("not declared: stream TENANT_A.public.> exported to TENANT_B"), "{said}");
}

/// What a tenant's stream would store of what the run asks, is answered, or is announced of it, is not
/// asked; the streams are as before. A stream that only has a name like those of runs is left alone.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_would_store_the_run_are_left_as_they_are() {
    let project = Project::new();
    project.up();
    let address = format!("127.0.0.1:{}", project.port);
    let admin = project.connect("TENANT_B/tenant_b_admin").await;
    let state = async |name: &str| {
        let info = ask(&admin, &format!("$JS.API.STREAM.INFO.{name}"), json!({})).await.expect("an answer");
        (info["state"]["first_seq"].as_u64(), info["state"]["last_seq"].as_u64())
    };
    let alike = "TENANTRY_abcdefghijklmnop_1";
    let config = json!({ "name": alike, "subjects": ["TENANT_B.alike"], "max_bytes": 1000, "max_msgs": 10 });
    assert!(
        ask(&admin, &format!("$JS.API.STREAM.CREATE.{alike}"), config).await.expect("an answer")["error"].is_null()
    );
    ask(&admin, "TENANT_B.alike", json!({})).await.expect("it is stored");
    // What ours is not to be stored by, and how much of it is stored by asking for the state.
    for (name, subject, own) in [
        ("AUDIT", "$JS.EVENT.ADVISORY.>", 12),
        ("INBOXES", "_INBOX_tenant_b_worker.>", 0),
        ("ACKS", "$JS.ACK.>", 0),
        ("ANSWERS", "_R_.>", 0),
        ("COPIES", "$JSC.>", 0),
    ] {
        let config =
            json!({ "name": name, "subjects": [subject], "max_bytes": 100_000, "max_msgs": 50, "no_ack": true });
        let made = ask(&admin, &format!("$JS.API.STREAM.CREATE.{name}"), config).await.expect("an answer");
        assert!(made["error"].is_null(), "{made}");
        let before = state(name).await;
        let report = tokio::task::block_in_place(|| verify(&project, &["--server", &address], 3));
        let said = outcomes(&report, "not-run");
        assert!(
            said.iter().any(|o| o.contains("TENANT_B") && o.contains(&format!("the stream {name} captures"))),
            "{said:?}"
        );
        let after = state(name).await;
        let more = after.1.expect("a number") - before.1.expect("a number");
        assert!(more <= own, "{more} messages of the run are stored in {name}");
        ask(&admin, &format!("$JS.API.STREAM.DELETE.{name}"), json!({})).await.expect("an answer");
    }
    // The control: without these streams everything is tried.
    tokio::task::block_in_place(|| verify(&project, &["--server", &address], 0));
    assert_eq!(state(alike).await, (Some(1), Some(1)), "it is nobody's run");
}

/// A user whose secret is elsewhere makes the verdict inconclusive, until it is left out by name; every
/// report says so then.
#[test]
fn a_user_with_an_unknown_secret_is_left_out_by_name() {
    let key = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
    let project = Project::new();
    let first = project.read("tenants.toml").find("[[tenant.user]]").expect("a user");
    let mut registry = project.read("tenants.toml");
    registry.insert_str(first, &format!("[[tenant.user]]\nname = \"elsewhere\"\npublic_key = \"{key}\"\n\n"));
    project.write("tenants.toml", &registry);
    project.up();
    let address = format!("127.0.0.1:{}", project.port);
    let said = outcomes(&verify(&project, &["--server", &address], 3), "not-run");
    assert!(
        said.len() == 1 && said[0].contains("TENANT_A/elsewhere is not connected: its secret is not known"),
        "{said:?}"
    );
    let accept = ["--server", &address, "--accept-unknown", "TENANT_A/elsewhere"];
    let said =
        outcomes(&verify(&project, &[&accept[..], &["--html", "r.html", "--junit", "r.xml"]].concat(), 0), "not-tried");
    assert!(said.iter().any(|o| o.contains("TENANT_A/elsewhere is left out")), "{said:?}");
    for report in ["r.html", "r.xml"] {
        assert!(project.read(report).contains("TENANT_A/elsewhere is left out"), "{report}");
    }
    for format in ["human", "markdown", "sarif", "github"] {
        let ran = project.run(&[&["verify", "--format", format], &accept[..]].concat()).exited(0);
        let told = ran.stdout.clone() + &ran.stderr;
        assert!(told.contains("TENANT_A/elsewhere is left out"), "{format}: {told}");
    }
    for (name, hint) in [("TENANT_A/tenant_a_app", "it can attack"), ("TENANT_A/nobody", "TENANT_A/elsewhere")] {
        let ran = project.run(&["verify", "--server", &address, "--accept-unknown", name]).exited(2);
        assert!(ran.stderr.contains(hint), "{}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_a_shared_service_get_no_request_of_the_proof() {
    let project = Project::new();
    project.edit("service = \"TENANT_A.api.quote\"", "service = \"TENANT_A.api.>\"");
    project.up();
    let address = format!("127.0.0.1:{}", project.port);
    let declared = |report: &Json, outcome: &str| {
        outcomes(report, outcome).into_iter().filter(|o| o.contains("shares") && o.contains("TENANT_A.api.")).count()
    };
    let report = verify(&project, &["--server", &address], 0);
    assert_eq!((declared(&report, "pass"), declared(&report, "not-tried")), (1, 0), "the control: nobody listens");
    let worker = project.connect("TENANT_A/tenant_a_app").await;
    let mut jobs = worker.client.queue_subscribe("TENANT_A.api.*", "workers".into()).await.expect("subscribe");
    worker.client.flush().await.expect("flush");
    let report = verify(&project, &["--server", &address], 0);
    assert_eq!((declared(&report, "pass"), declared(&report, "not-tried")), (0, 1));
    worker.client.publish("TENANT_A.api.real", "job".into()).await.expect("publish");
    let first = tokio::time::timeout(PATIENCE, futures_util::StreamExt::next(&mut jobs)).await.expect("in time");
    assert_eq!(first.expect("a job").subject.as_str(), "TENANT_A.api.real", "the first that it gets");
}

/// A share that ends in `*` lets its importers listen deeper, so that canaries are said there: to nobody's workers.
#[tokio::test(flavor = "multi_thread")]
async fn workers_below_a_share_get_no_message_of_the_proof() {
    let project = Project::new();
    project.edit("service = \"TENANT_A.api.quote\"", "service = \"TENANT_A.api.*\"");
    project.up();
    let address = format!("127.0.0.1:{}", project.port);
    let worker = project.connect("TENANT_A/tenant_a_app").await;
    let mut copies = worker.client.subscribe("TENANT_A.>").await.expect("subscribe");
    worker.client.flush().await.expect("flush");
    let said_below = async |copies: &mut async_nats::Subscriber| {
        verify(&project, &["--server", &address], 0);
        worker.client.publish("TENANT_A.done", "".into()).await.expect("publish");
        let mut subjects = BTreeSet::new();
        loop {
            let message = tokio::time::timeout(PATIENCE, futures_util::StreamExt::next(copies)).await.expect("in time");
            match message.expect("a message").subject.as_str() {
                "TENANT_A.done" => break subjects,
                subject => subjects.insert(subject.to_owned()),
            };
        }
    };
    let own = |subjects: &BTreeSet<String>| subjects.iter().filter(|s| s.starts_with("TENANT_A.tenantry-")).count();
    let deep = |subjects: &BTreeSet<String>| {
        subjects.iter().filter(|s| s.starts_with("TENANT_A.api.") && s.split('.').count() > 3).count()
    };
    assert!(deep(&said_below(&mut copies).await) > 0, "the control: a copy is no job");
    let of_queue = project.connect("TENANT_A/tenant_a_app").await;
    let mut jobs = of_queue.client.queue_subscribe("TENANT_A.>", "workers".into()).await.expect("subscribe");
    of_queue.client.flush().await.expect("flush");
    let subjects = said_below(&mut copies).await;
    assert_eq!((own(&subjects), deep(&subjects)), (0, 0), "{subjects:?}");
    let first = tokio::time::timeout(PATIENCE, futures_util::StreamExt::next(&mut jobs)).await.expect("in time");
    assert_eq!(first.expect("a job").subject.as_str(), "TENANT_A.done", "the first that it gets");
    of_queue.client.drain().await.expect("drained");
    let mut again = 0;
    for _ in 0..5 {
        again = again.max(own(&said_below(&mut copies).await));
        if again > 0 {
            break;
        }
    }
    assert!(again > 0, "the control: nobody takes jobs any more");
}

/// Who takes changes of any bucket from a queue gets none of the run's.
#[tokio::test(flavor = "multi_thread")]
async fn workers_on_buckets_get_no_message_of_the_proof() {
    let role = "[role.keeper]\npublish = [\"$KV.>\"]\nsubscribe = [\"$KV.>\", \"$O.>\"]\n";
    let tenant = |name: &str, more: &str| tenant_with(name, "8MiB", &format!("{name}_admin"), "admin") + more;
    let keeper = "[[tenant.user]]\nname = \"keeper\"\nrole = \"keeper\"\n";
    let project = Project::with_registry(&format!(
        "version = 1\n[server]\nclient = \"127.0.0.1:4222\"\n[server.jetstream]\nstorage = \"64MiB\"\n{role}{}{}",
        tenant("A", keeper),
        tenant("B", "")
    ));
    project.up();
    let address = format!("127.0.0.1:{}", project.port);
    let worker = project.connect("A/keeper").await;
    let mut copies = worker.client.subscribe("$KV.>").await.expect("subscribe");
    worker.client.flush().await.expect("flush");
    verify(&project, &["--server", &address], 0);
    let copy = tokio::time::timeout(PATIENCE, futures_util::StreamExt::next(&mut copies)).await.expect("in time");
    assert!(copy.expect("a copy").subject.starts_with("$KV.TENANTRY_"), "the control: subscribers get copies");
    let mut jobs = Vec::new();
    for space in ["$KV.>", "$O.>"] {
        jobs.push(worker.client.queue_subscribe(space, "workers".into()).await.expect("subscribe"));
    }
    worker.client.flush().await.expect("flush");
    let said = outcomes(&verify(&project, &["--server", &address], 0), "not-tried");
    assert!(said.iter().any(|o| o.contains("\"A\"") && o.contains("`$KV.>`: who takes it from a queue")), "{said:?}");
    worker.client.publish("$KV.real.key", "".into()).await.expect("publish");
    let first = tokio::time::timeout(PATIENCE, futures_util::StreamExt::next(&mut jobs[0])).await.expect("in time");
    assert_eq!(first.expect("a job").subject.as_str(), "$KV.real.key", "the first that it gets");
    let other =
        tokio::time::timeout(std::time::Duration::from_millis(1), futures_util::StreamExt::next(&mut jobs[1])).await;
    assert!(other.is_err(), "{other:?}");
}

/// What a tenant sees of others in its own account, the names of their streams, is no proof of anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_tenant_puts_no_leak_on_another() {
    let project = Project::new();
    project.up();
    let admin = project.connect("TENANT_A/tenant_a_admin").await;
    let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let forged = Arc::new(AtomicUsize::new(0));
    let hostile = tokio::spawn({
        let (client, is_over, forged) = (admin.client.clone(), Arc::clone(&is_over), Arc::clone(&forged));
        async move {
            while !is_over.load(Ordering::Relaxed) {
                let Some(list) = ask(&client, "$JS.API.STREAM.LIST", json!({})).await else { continue };
                for stream in list["streams"].as_array().into_iter().flatten() {
                    let own = stream["config"]["metadata"]["canary"].as_str().unwrap_or_default().to_owned();
                    let sources = stream["config"]["sources"].as_array().into_iter().flatten();
                    for name in sources.filter_map(|source| source["name"].as_str()) {
                        let token = name.rsplit('_').next().unwrap_or_default();
                        let run = own.split('/').nth(1).unwrap_or_default();
                        let said = format!("tenantry/{run}/{token}/canaries");
                        client.publish("TENANT_A.x", said.into()).await.expect("publish");
                        let config = json!({ "name": name, "subjects": [format!("$KV.{name}.x")], "max_bytes": 1000,
                            "max_msgs": 10, "metadata": { "canary": own } });
                        ask(&client, &format!("$JS.API.STREAM.CREATE.{name}"), config).await;
                        forged.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
    });
    let ran = tokio::task::block_in_place(|| {
        let address = format!("127.0.0.1:{}", project.port);
        project.run(&["verify", "--format", "json", "--server", &address])
    });
    is_over.store(true, Ordering::Relaxed);
    hostile.await.expect("it ends");
    let report = ran.json();
    assert!(forged.load(Ordering::Relaxed) > 0, "the control: it saw names of others and used them");
    assert_eq!(outcomes(&report, "leak"), Vec::<String>::new());
    assert_ne!(report["verdict"], "leaky");
}

/// A share that is declared and in force is no leak, though it was not there when the run began.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_changes_meanwhile_leaves_it_undecided() {
    let share = "\n[[share]]\nfrom = \"TENANT_B\"\nto = [\"TENANT_A\"]\nstream = \"TENANT_B.more.>\"\n";
    for declared in [true, false] {
        let project = Project::new();
        project.up();
        let mut running =
            project.command(&["verify", "--format", "json", "--server", &format!("127.0.0.1:{}", project.port)]);
        let registry = project.read("tenants.toml");
        let listening = project.connect("SYS/sys_admin").await;
        let mut connects = listening.client.subscribe("$SYS.ACCOUNT.TENANT_B.CONNECT").await.expect("subscribe");
        listening.client.flush().await.expect("flush");
        let mut running = running.stdout(std::process::Stdio::piped()).spawn().expect("it runs");
        tokio::time::timeout(PATIENCE, futures_util::StreamExt::next(&mut connects)).await.expect("it connects");
        project.write("tenants.toml", &format!("{registry}{share}"));
        tokio::task::block_in_place(|| project.run(&["up", "-q"]).exited(0));
        if !declared {
            // The control: the server runs what the registry does not declare.
            project.write("tenants.toml", &registry);
        }
        let mut text = String::new();
        running.stdout.take().expect("its output").read_to_string(&mut text).expect("readable");
        running.wait().expect("it ends");
        let report: Json = serde_json::from_str(&text).expect("a report");
        let changed = outcomes(&report, "not-run").iter().any(|o| o.contains("the registry changed meanwhile"));
        let verdict = report["verdict"].as_str().expect("a verdict");
        let is_expected = if declared { verdict == "inconclusive" } else { verdict != "isolated" };
        assert!(changed == declared && is_expected, "{declared}: {verdict}, {text}");
    }
}

/// Applications need the connections that are left.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_connections_of_a_server_are_left_to_applications() {
    let tenant = |name: &str| {
        format!(
            "[[tenant]]\nname = \"{name}\"\n[tenant.limits]\nconnections = 20\n[[tenant.user]]\nname = \"{name}_app\"\n"
        )
    };
    let project = Project::with_registry(&format!(
        "version = 1\n[server]\nclient = \"127.0.0.1:4222\"\nmax_connections = 50\n{}{}",
        tenant("A"),
        tenant("B")
    ));
    project.up();
    let address = format!("127.0.0.1:{}", project.port);
    let mut held = Vec::new();
    let crowd = async |held: &mut Vec<_>, more: usize, who: &str| {
        for _ in 0..more {
            held.push(project.connect(who).await);
        }
    };
    crowd(&mut held, 19, "A/A_app").await;
    verify(&project, &["--server", &address], 0);
    crowd(&mut held, 19, "B/B_app").await;
    crowd(&mut held, 4, "SYS/sys_admin").await;
    let report = verify(&project, &["--server", &address], 3);
    let said = outcomes(&report, "not-run");
    assert!(said.iter().all(|o| o.contains("at most 50 (`max_connections`)")), "{said:?}");
    assert!(outcomes(&report, "pass").is_empty());
}

/// A manager who may publish only where its tenant's own stream captures everything.
#[tokio::test(flavor = "multi_thread")]
async fn where_every_subject_is_captured_jetstream_is_not_tried() {
    let tenant = |name: &str, more: &str| tenant_with(name, "8MiB", &format!("{name}_app"), "keeper") + more;
    let whole = "[[tenant.stream]]\nname = \"ALL\"\nsubjects = [\"FULL.>\"]\nmax_bytes = \"1MiB\"\n";
    let project = Project::with_registry(&format!(
        "version = 1\n[server]\nclient = \"127.0.0.1:4222\"\n[server.jetstream]\nstorage = \"64MiB\"\n\
         [role.keeper]\npublish = [\"{{subject}}\", \"$JS.API.>\"]\nsubscribe = [\"{{subject}}\", \"{{inbox}}\"]\n{}{}",
        tenant("FULL", whole),
        tenant("OTHER", "")
    ));
    project.up();
    let report = verify(&project, &["--server", &format!("127.0.0.1:{}", project.port)], 0);
    let said = outcomes(&report, "not-tried");
    let of = |name: &str| said.iter().filter(|o| o.contains(name) && o.contains("captures it, or members")).count();
    assert!(of("FULL") > 0 && of("OTHER") == 0, "{said:?}");
}

/// What applications do with their own tenant's messages is theirs.
#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_forwards_its_tenants_messages_to_a_service_is_no_leak() {
    let project = Project::new();
    project.up();
    let service = project.connect("TENANT_A/tenant_a_app").await;
    let mut requests = service.client.subscribe("TENANT_A.api.quote").await.expect("subscribe");
    let forwarding = project.connect("TENANT_B/tenant_b_worker").await;
    let mut heard = forwarding.client.subscribe("TENANT_B.>").await.expect("subscribe");
    for connection in [&service, &forwarding] {
        connection.client.flush().await.expect("flush");
    }
    let client = forwarding.client.clone();
    tokio::spawn(async move {
        while let Some(message) = futures_util::StreamExt::next(&mut heard).await {
            client.publish("TENANT_A.api.quote", message.payload).await.expect("publish");
        }
    });
    let (client, stored) = (service.client.clone(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&stored);
    tokio::spawn(async move {
        while let Some(message) = futures_util::StreamExt::next(&mut requests).await {
            client.publish("TENANT_A.log", message.payload).await.expect("publish");
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    verify(&project, &["--server", &format!("127.0.0.1:{}", project.port)], 0);
    assert!(stored.load(Ordering::Relaxed) > 0, "the control: messages of the proof were forwarded");
}

/// A server that has not been reloaded since lets in who was sent away, and keeps
/// accounts that nobody tried.
#[test]
fn what_was_given_up_must_be_gone() {
    let project = Project::new();
    project.run(&["tenant", "add", "TENANT_C"]).succeeded();
    project.run(&["user", "rotate", "TENANT_B/tenant_b_worker"]).succeeded();
    project.up();
    let address = format!("127.0.0.1:{}", project.port);
    verify(&project, &["--server", &address], 0);
    project.run(&["tenant", "remove", "TENANT_C"]).succeeded();
    let report = verify(&project, &["--server", &address], 3);
    assert!(outcomes(&report, "not-run").iter().any(|o| o.contains("TENANT_C")), "{report:#}");
    for (edit, whose) in [
        (["user", "rotate", "TENANT_B/tenant_b_worker"].as_slice(), "TENANT_B/tenant_b_worker, generation 2"),
        (["user", "revoke", "TENANT_A/tenant_a_auditor"].as_slice(), "TENANT_A/tenant_a_auditor, generation 1"),
    ] {
        project.run(edit).succeeded();
        let leaks = outcomes(&verify(&project, &["--server", &address], 1), "leak");
        assert!(leaks.iter().any(|l| l.contains(whose)), "{leaks:?}");
    }
    project.run(&["up"]).succeeded();
    verify(&project, &["--server", &address], 0);
}

/// Something that listens and is no NATS server, or not a good one.
fn listener(serve: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming().flatten() {
            open.push(stream.try_clone());
            serve(stream);
        }
    });
    address
}

const INFO: &str = "INFO {\"server_id\":\"x\",\"version\":\"2.15.1\",\"max_payload\":1048576}\r\n";

#[test]
fn servers_that_are_none() {
    let project = Project::new();
    let cases: Vec<(String, &str)> = vec![
        (listener(|_| {}), "said nothing for 10 s"),
        (listener(|s| drop(s.shutdown(std::net::Shutdown::Both))), "closed the connection"),
        (
            listener(|mut s| {
                let _ = s.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            }),
            "is not a NATS server",
        ),
        (
            listener(|mut s| {
                let _ = s.write_all(&[0xff; 64]).and_then(|()| s.write_all(b"\n"));
            }),
            "is not a NATS server",
        ),
        (
            listener(|mut s| {
                let _ = s.write_all(b"INFO {\"server_id\":\"x\"");
                let _ = s.shutdown(std::net::Shutdown::Both);
            }),
            "stopped in the middle",
        ),
        (
            listener(|mut s| {
                let _ = s.write_all(INFO.as_bytes());
                let _ = s.shutdown(std::net::Shutdown::Both);
            }),
            "closed the connection",
        ),
        (
            listener(|mut s| {
                let _ = s.write_all(INFO.as_bytes()).and_then(|()| s.write_all(b"WHAT\r\n"));
            }),
            "does not speak NATS",
        ),
        (
            listener(|mut s| {
                let _ = s.write_all(INFO.as_bytes());
                while s.write_all(b"PING\r\n").is_ok() {
                    std::thread::sleep(std::time::Duration::from_millis(100));
                }
            }),
            "said nothing for 10 s",
        ),
        (
            listener(|mut s| {
                std::thread::spawn(move || {
                    let _ = s.write_all(INFO.as_bytes());
                    while s.write_all(b"MSG a 1 1\r\nx\r\n").is_ok() {
                        std::thread::sleep(std::time::Duration::from_millis(100));
                    }
                });
            }),
            "says things without end",
        ),
        (
            listener(|mut s| {
                let _ = s.write_all(INFO.replace("\"version\"", "\"tls_required\":true,\"version\"").as_bytes());
                let _ = s.write_all(b"PING\r\n");
            }),
            "more in clear before TLS",
        ),
        ("127.0.0.1:1".into(), "refused"),
        ("no-such-host.invalid:4222".into(), "no-such-host"),
    ];
    std::thread::scope(|scope| {
        for (address, expected) in &cases {
            let project = &project;
            scope.spawn(move || {
                let ran = project.run(&["verify", "--server", address, "--format", "json"]).exited(3);
                assert_eq!(ran.json()["verdict"], "inconclusive");
                assert!(ran.stderr.contains(expected), "{address}: {}", ran.stderr);
            });
        }
    });
    for (url, hint) in
        [("ws://x:4222", "nats://"), ("nats://u:p@x", "no credentials"), ("x:port", "a number"), ("", "HOST:PORT")]
    {
        let ran = project.run(&["verify", "--server", url]).exited(2);
        assert!(ran.stderr.contains(hint), "{}", ran.stderr);
    }
}

/// Passes everything on, and changes what the server says of itself.
fn proxy(port: u16, from: &'static str, to: &'static str) -> String {
    listener(move |mut client| {
        let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)) else { return };
        let mut greeting = [0; 4096];
        let Ok(read) = server.read(&mut greeting) else { return };
        let said = String::from_utf8_lossy(&greeting[..read]).replace(from, to);
        let _ = client.write_all(said.as_bytes());
        let (Ok(mut back), Ok(mut forth)) = (server.try_clone(), client.try_clone()) else { return };
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut back, &mut forth);
            let _ = forth.shutdown(std::net::Shutdown::Both);
        });
        std::thread::spawn(move || std::io::copy(&mut client, &mut server).is_ok());
    })
}

#[test]
fn servers_behind_one_address_are_not_taken_for_one() {
    // Two that run the same, and do not know each other.
    let (one, other) = (Project::new(), Project::new());
    one.up();
    other.up();
    let (ports, turn) = ([one.port, other.port], std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0)));
    let address = listener(move |mut client| {
        // The second connection goes to the other server: a tenant's. The first one asks the server for what it runs.
        let to = ports[usize::from(turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1)];
        let Ok(mut server) = TcpStream::connect(("127.0.0.1", to)) else { return };
        let (Ok(mut back), Ok(mut forth)) = (server.try_clone(), client.try_clone()) else { return };
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut back, &mut forth);
            let _ = forth.shutdown(std::net::Shutdown::Both);
        });
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut client, &mut server);
            let _ = server.shutdown(std::net::Shutdown::Both);
        });
    });
    let said = outcomes(&verify(&one, &["--server", &address], 3), "not-run");
    assert!(said.iter().any(|o| o.contains("none of this system")), "{said:?}");
    verify(&one, &["--server", &format!("127.0.0.1:{}", one.port)], 0);
}

/// Where a share or a stream would pass on what the server writes, nothing is led there.
#[tokio::test(flavor = "multi_thread")]
async fn streams_on_whole_shares_store_nothing_of_the_proof() {
    let registry = "version = 1\n[server]\nname = \"x\"\nclient = \"127.0.0.1:4222\"\n[server.jetstream]\nmemory = \"128MiB\"\n\
        storage = \"1GiB\"\n[keys]\nroot = \"development\"\n[[system.user]]\nname = \"op\"\n\
        [[tenant]]\nname = \"SHOP\"\nsubjects = [\"shop.>\", \"api.>\"]\n[tenant.jetstream]\nstorage = \"256MiB\"\n\
        [[tenant.user]]\nname = \"app\"\n[[tenant.user]]\nname = \"admin\"\nrole = \"admin\"\n\
        [[tenant.stream]]\nname = \"JOBS\"\nsubjects = [\"api.>\"]\nretention = \"workqueue\"\n\
        [[tenant]]\nname = \"BILL\"\n[tenant.jetstream]\nstorage = \"128MiB\"\n\
        [[tenant.user]]\nname = \"app\"\n[[tenant.user]]\nname = \"admin\"\nrole = \"admin\"\n\
        [[tenant.stream]]\nname = \"NEWS\"\nsubjects = [\"shop.>\"]\nno_ack = true\n\
        [[share]]\nfrom = \"SHOP\"\nto = [\"BILL\"]\nstream = \"shop.>\"\n\
        [[share]]\nfrom = \"SHOP\"\nto = [\"BILL\"]\nservice = \"api.>\"\n";
    let project = Project::with_registry(registry);
    project.up();
    let both = async || (state(&project, "SHOP/admin").await, state(&project, "BILL/admin").await);
    let before = both().await;
    let report = verify(&project, &["--server", &format!("127.0.0.1:{}", project.port)], 0);
    assert_eq!(both().await, before);
    let untried = outcomes(&report, "not-tried");
    assert!(untried.iter().any(|o| o.contains("redirection") && o.contains("BILL")), "{untried:?}");
    // The control: what is published there is stored.
    let app = project.connect("SHOP/app").await;
    app.client.publish("shop.real", "1".into()).await.expect("publish");
    app.client.flush().await.expect("flush");
    eventually("the message is stored", async || both().await.1 != before.1).await;
}

#[test]
fn an_old_server_is_leaky() {
    let project = Project::new();
    project.up();
    let leaks = |address: &str, code| outcomes(&verify(&project, &["--server", address], code), "leak");
    assert_eq!(
        leaks(&proxy(project.port, "2.15.1", "2.15.2"), 0),
        Vec::<String>::new(),
        "the control: a newer one is not"
    );
    let leaks = leaks(&proxy(project.port, "2.15.1", "2.14.2"), 1);
    assert!(leaks.len() == 1 && leaks[0].contains("too old"), "{leaks:?}");
}

#[test]
fn a_server_that_goes_away_is_inconclusive() {
    let project = Project::new();
    project.up();
    let address = format!("127.0.0.1:{}", project.port);
    let mut verify = project.command(&["verify", "--server", &address, "--format", "json"]);
    let child =
        verify.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().expect("it runs");
    // When it is under way: somebody is connected.
    let start = Instant::now();
    loop {
        let status = project.run(&["status", "--format", "json"]).json();
        if status["tenants"][0]["connections"].as_u64() > Some(0) {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "it never connected");
    }
    project.run(&["down", "-q"]).succeeded();
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(3));
    let report: Json = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report["verdict"], "inconclusive", "{report:#}");
}

#[test]
fn a_full_disk_is_inconclusive() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut project = Project::new();
    project.edit("memory    = \"64MiB\"", "memory    = \"0B\"");
    // No file may grow beyond 512 bytes: to the server that is a disk without room.
    let wrapper =
        format!("#!/bin/sh\nulimit -f 1\nexec {} \"$@\" 2>/dev/null\n", crate::support::nats_server().display());
    project.write("full-disk", &wrapper);
    let path = project.path().join("full-disk");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
    project.set_env("NATS_SERVER", &path.display().to_string());
    let ran = project.run(&["verify", "--format", "json"]);
    assert_eq!((ran.code, &ran.json()["verdict"]), (3, &json!("inconclusive")), "{}", ran.stdout);
}

#[test]
fn killed_in_the_middle_it_takes_its_server_along() {
    let project = Project::new();
    let mut command = project.command(&["verify", "-q"]);
    command.env("TMPDIR", project.path());
    let mut child = command.stdout(std::process::Stdio::null()).spawn().expect("it runs");
    let servers = || {
        let all = std::fs::read_dir("/proc").expect("processes").flatten();
        let line = |p: std::path::PathBuf| std::fs::read_to_string(p.join("cmdline")).unwrap_or_default();
        let ours = project.path().display().to_string();
        all.filter(|p| {
            let l = line(p.path());
            l.contains("--ports_file_dir") && l.contains(&ours) && !l.contains("run-with-parent")
        })
        .count()
    };
    let wait = |what: &str, wanted: usize| {
        let start = Instant::now();
        while servers() != wanted {
            assert!(start.elapsed() < PATIENCE, "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    wait("the server never started", 1);
    child.kill().expect("kill");
    child.wait().expect("it ends");
    wait("the server outlived whoever started it", 0);
}

#[test]
fn reports_hold_what_was_found() {
    let project = Project::new();
    let ran =
        project.run(&["verify", "--html", "report.html", "--junit", "report.xml", "--format", "json"]).succeeded();
    let checks = ran.json()["checks"].as_array().expect("checks").len();
    let xml = project.read("report.xml");
    assert_eq!(xml.matches("<testcase ").count(), checks);
    assert!(xml.contains("failures=\"0\"") && !xml.contains("<failure"), "{xml}");
    let html = project.read("report.html");
    assert!(html.contains("\"verdict\":\"isolated\"") && !html.contains("DATA"));
    for outside in ["src=\"http", "href=\"http", "@import", "url("] {
        assert!(!html.contains(outside), "the page needs something else: {outside}");
    }
    // No secret is in any report.
    let creds = project.creds("TENANT_A/tenant_a_app");
    for text in [&xml, &html, &ran.stdout] {
        assert!(!text.contains(&creds.password.clone().expect("a password")));
    }
}

/// The static proof is of one configuration: if another is loaded while the server is
/// attacked, nothing is proved of either.
#[test]
fn a_configuration_that_changes_meanwhile_is_inconclusive() {
    // A change that is taken back leaves the digest as it was.
    for (changes, taken_back) in [(false, false), (true, false), (true, true)] {
        let project = Project::new();
        project.up();
        let valid = tenantry::registry::load(&project.path().join("tenants.toml"))
            .and_then(tenantry::registry::Loaded::into_valid);
        let opened = tenantry::project::Project::open(valid.expect("valid"), None).expect("a project");
        let advance = |step: usize, _: usize, _: &'static str| {
            if changes && step == 5 {
                project.edit("max_connections = 1024", "max_connections = 1025");
                project.run(&["up"]).succeeded();
            }
            if taken_back && step == 10 {
                project.edit("max_connections = 1025", "max_connections = 1024");
                project.run(&["up"]).succeeded();
            }
        };
        let endpoint = tenantry::verify::Endpoint::plain(format!("127.0.0.1:{}", project.port));
        let report =
            tenantry::verify::attack_server(&opened, endpoint, Vec::new(), &[], false, &advance).expect("a report");
        let is_noted = report.checks.iter().any(|c| c.evidence.contains("loaded its configuration anew meanwhile"));
        let verdict = report.verdict.as_str();
        assert_eq!((is_noted, verdict), if changes { (true, "inconclusive") } else { (false, "isolated") });
    }
}

/// What was interrupted was not tried.
#[tokio::test]
async fn an_interrupted_proof_is_inconclusive() {
    let project = Project::new();
    project.up();
    let system = project.connect("SYS/sys_admin").await;
    let url = format!("nats://127.0.0.1:{}", project.port);
    let child = project
        .command(&["verify", "--server", &url, "--format", "json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it runs");
    let start = Instant::now();
    loop {
        let answer = ask(&system, "$SYS.REQ.SERVER.PING.CONNZ", json!({ "auth": true })).await.expect("connections");
        if answer["data"]["connections"].as_array().is_some_and(|c| c.len() > 4) {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "nobody came");
    }
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(3));
    let report: Json = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report["verdict"], "inconclusive");
    let checks = report["checks"].as_array().expect("checks");
    assert!(checks.iter().any(|c| c["evidence"] == "interrupted"), "{report:#}");
    let said = outcomes(&report, "not-run");
    for word in ["interrupted again", "restarted", "another proof"] {
        assert!(!said.iter().any(|o| o.contains(word)), "{word}: {said:?}");
    }
}

/// A tenant that names its connections like those of a proof is in nobody's way.
#[tokio::test(flavor = "multi_thread")]
async fn what_tenants_call_their_connections_says_nothing() {
    let project = Project::new();
    project.up();
    let mut connections = Vec::new();
    for name in ["tenantry/x", "tenantry/aaaaaaaaaaaaaaaa/operator"] {
        let creds = project.creds("TENANT_A/tenant_a_app");
        let login = (creds.login.clone().expect("a login"), creds.password.clone().expect("a password"));
        let options = async_nats::ConnectOptions::with_user_and_password(login.0, login.1).name(name);
        connections.push(options.connect(&creds.url).await.expect("connected"));
    }
    verify(&project, &["--server", &format!("127.0.0.1:{}", project.port)], 0);
}

/// The acknowledgement of a captured share is a message of the importer's server on a subject of the exporter's choice.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_acknowledges_what_is_imported_is_a_leak() {
    let project = Project::new();
    project.up();
    let admin = project.connect("TENANT_B/tenant_b_admin").await;
    let js = jetstream::new(admin.client.clone());
    let address = format!("127.0.0.1:{}", project.port);
    for (no_ack, code) in [(true, 0), (false, 1)] {
        let config = stream::Config {
            name: "CAPTURED".into(),
            subjects: vec!["TENANT_A.public.>".into()],
            no_ack,
            max_bytes: 1 << 20,
            ..Default::default()
        };
        match no_ack {
            true => drop(js.create_stream(config).await.expect("a stream")),
            false => drop(js.update_stream(config).await.expect("updated")),
        }
        let report = verify(&project, &["--server", &address], code);
        let leaks = outcomes(&report, "leak");
        assert_eq!(leaks.iter().any(|o| o.contains("answers") && o.contains("CAPTURED")), !no_ack, "{leaks:?}");
    }
}

/// Where a user of a tenant listens to JetStream's own requests, one about nothing has no answer at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_hears_requests_is_no_obstacle() {
    let project = Project::with_registry(
        "version = 1\n[server]\nclient = \"127.0.0.1:4222\"\n[server.jetstream]\nstorage = \"64MiB\"\n\
         [role.hearer]\nsubscribe = [\"$JS.API.CONSUMER.MSG.NEXT.>\", \"$JS.API.DIRECT.>\"]\n\
         [[tenant]]\nname = \"A\"\n[tenant.jetstream]\nstorage = \"10MiB\"\n[[tenant.user]]\nname = \"app\"\nrole = \"admin\"\n\
         [[tenant.user]]\nname = \"hears\"\nrole = \"hearer\"\n\
         [[tenant]]\nname = \"B\"\n[tenant.jetstream]\nstorage = \"10MiB\"\n[[tenant.user]]\nname = \"app\"\nrole = \"admin\"\n",
    );
    let report = verify(&project, &[], 0);
    assert!(outcomes(&report, "not-run").is_empty(), "{report}");
    let tried = report["checks"].as_array().expect("checks").iter().filter(|c| c["outcome"] == "pass").count();
    assert!(tried > 0, "{report}");
}

/// A tenant whose storage is used up is not attacked with streams, and says so; the others are.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_without_room_is_not_tried_and_says_why() {
    let tenant = |name: &str, user: &str| tenant_with(name, "1MiB", user, "admin");
    let project = Project::with_registry(&format!(
        "version = 1\n[server]\nclient = \"127.0.0.1:4222\"\n[server.jetstream]\nstorage = \"8MiB\"\n{}{}",
        tenant("FULL", "full"),
        tenant("OTHER", "other")
    ));
    project.up();
    let address = format!("127.0.0.1:{}", project.port);
    let of_full = |report: &Json| {
        let checks = report["checks"].as_array().expect("checks");
        let of = checks.iter().filter(|c| c["from"] == "FULL" && c["outcome"] == "not-tried");
        of.filter(|c| c["evidence"].as_str().is_some_and(|text| text.contains("file storage are left"))).count()
    };
    assert_eq!(of_full(&verify(&project, &["--server", &address], 0)), 0, "the control");
    let full = project.connect("FULL/full").await;
    let js = jetstream::new(full.client.clone());
    let config = stream::Config { name: "ALL".into(), subjects: vec!["FULL.all".into()], ..Default::default() };
    js.create_stream(config).await.expect("a stream");
    for _ in 0..10 {
        js.publish("FULL.all", vec![b'x'; 100_000].into()).await.expect("published").await.expect("stored");
    }
    assert_ne!(of_full(&verify(&project, &["--server", &address], 0)), 0);
}

/// One message with `Nats-Rollup: all` leaves nothing else in a stream that allows roll-ups, whoever sends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_obeys_the_headers_of_others_is_a_leak() {
    let project = Project::new();
    project.up();
    let address = format!("127.0.0.1:{}", project.port);
    // What the other tenant shares, and what it asks.
    for (who, foreign, own, no_ack) in [
        ("TENANT_B/tenant_b_admin", "TENANT_A.public.>", "TENANT_B.own.>", true),
        ("TENANT_A/tenant_a_admin", "TENANT_A.api.quote", "TENANT_A.own.>", false),
    ] {
        let admin = project.connect(who).await;
        let js = jetstream::new(admin.client.clone());
        for (allow_rollup, code) in [(false, 0), (true, 1)] {
            let config = stream::Config {
                name: "CAPTURED".into(),
                subjects: vec![foreign.into(), own.into()],
                no_ack,
                allow_rollup,
                max_bytes: 1 << 20,
                ..Default::default()
            };
            match allow_rollup {
                false => drop(js.create_stream(config).await.expect("a stream")),
                true => drop(js.update_stream(config).await.expect("updated")),
            }
            let report = verify(&project, &["--server", &address], code);
            let leaks = outcomes(&report, "leak");
            let is_found = leaks.iter().any(|o| o.contains("destruction") && o.contains("CAPTURED"));
            assert_eq!(is_found, allow_rollup, "{leaks:?}");
        }
        js.delete_stream("CAPTURED").await.expect("deleted");
    }
}

/// A certificate authority with the certificates of a server and of a client, in PEM.
fn certificates() -> [(&'static str, String); 5] {
    let authority_key = rcgen::KeyPair::generate().expect("a key");
    let mut authority = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = authority.self_signed(&authority_key).expect("signed").pem();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let of = |names: Vec<String>| {
        let key = rcgen::KeyPair::generate().expect("a key");
        let parameters = rcgen::CertificateParams::new(names).expect("parameters");
        (parameters.signed_by(&key, &issuer).expect("signed").pem(), key.serialize_pem())
    };
    let (server, server_key) = of(vec!["localhost".into(), "127.0.0.1".into()]);
    let (client, client_key) = of(vec!["tenantry".into()]);
    [
        ("ca.pem", ca),
        ("server.pem", server),
        ("server.key", server_key),
        ("client.pem", client),
        ("client.key", client_key),
    ]
}

/// A server that wants TLS and a client's certificate: attacked like any other with them, and told at once
/// without. Each case is the control of the others.
#[test]
fn a_server_with_tls_is_attacked_by_tls() {
    let project = Project::new();
    project.run(&["render", "-q"]).succeeded();
    for (name, text) in certificates() {
        project.write(name, &text);
    }
    let file = |name: &str| project.path().join(name).display().to_string();
    let main = project.read("infra/nats/nats-server.conf");
    let listen = main.lines().find(|line| line.trim_start().starts_with("listen")).expect("an address").to_owned();
    let data = project.path().join("tls-data");
    let tls = format!(
        "listen: \"127.0.0.1:{}\"\ntls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}",
        project.port,
        file("server.pem"),
        file("server.key"),
        file("ca.pem")
    );
    let conf = main.replace(&listen, &tls);
    let http = conf.lines().find(|line| line.trim_start().starts_with("http")).map(str::to_owned);
    let conf = http.map_or(conf.clone(), |line| conf.replace(&line, ""));
    let store = conf.lines().find(|line| line.trim_start().starts_with("store_dir")).expect("a folder").to_owned();
    let conf = conf.replace(&store, &format!("  store_dir: \"{}\"", data.display()));
    project.write("infra/nats/tls.conf", &conf);
    let serve = || {
        let mut command = std::process::Command::new(crate::support::nats_server());
        command.arg("-c").arg(project.path().join("infra/nats/tls.conf")).stdout(std::process::Stdio::null());
        let log = std::fs::File::create(project.path().join("tls.log")).expect("a log");
        let server = crate::differential::Server(command.stderr(log).spawn().expect("nats-server starts"));
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", project.port)).is_err() {
            assert!(start.elapsed() < PATIENCE, "{}", project.read("tls.log"));
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    };
    let server = serve();
    let url = format!("tls://localhost:{}", project.port);
    let in_clear = format!("nats://127.0.0.1:{}", project.port);
    let (ca, cert, key) = (file("ca.pem"), file("client.pem"), file("client.key"));
    let own = file("infra/nats/tls.conf");
    let with = ["--ca", &ca, "--cert", &cert, "--key", &key, "--conf", &own];
    for url in [&url, &in_clear] {
        let report = verify(&project, &[&["--server", url], &with[..]].concat(), 0);
        let used = url.replace("nats://", "tls://");
        assert_eq!((&report["verdict"], &report["server"]["url"]), (&"isolated".into(), &used.into()));
    }
    for (arguments, expected) in [
        (&["--server", url.as_str()][..], "TLS: "),
        (&["--server", &url, "--ca", &ca][..], "CertificateRequired"),
        (&["--server", &in_clear][..], "TLS: "),
    ] {
        let ran = project.run(&[&["verify"], arguments].concat()).exited(3);
        assert!(ran.stderr.contains(expected), "{arguments:?}: {}", ran.stderr);
    }
    for (arguments, expected) in
        [(["--ca", "missing.pem"], "missing.pem"), (["--ca", &key], "no certificate"), (["--key", &key], "--cert")]
    {
        let ran = project.run(&[&["verify", "--server", &url], &arguments[..]].concat()).exited(2);
        assert!(ran.stderr.contains(expected), "{arguments:?}: {}", ran.stderr);
    }
    // One that says nothing before TLS.
    drop(server);
    project.write("infra/nats/tls.conf", &conf.replace("verify: true", "verify: true, handshake_first: true"));
    let _server = serve();
    let report = verify(&project, &[&["--server", url.as_str()], &with[..]].concat(), 0);
    assert_eq!(report["verdict"], "isolated");
}

/// To tls:// nothing is sent in clear, not even a login.
#[test]
fn a_server_without_tls_gets_nothing_in_clear_at_tls() {
    let project = Project::new();
    project.up();
    let ran = project.run(&["verify", "--server", &format!("tls://127.0.0.1:{}", project.port)]).exited(3);
    assert!(ran.stderr.contains("has no TLS"), "{}", ran.stderr);
    verify(&project, &["--server", &format!("nats://127.0.0.1:{}", project.port)], 0);
}

/// A server that answers pings and nothing else: "not refused" is no leak there.
#[test]
fn a_server_that_only_answers_pings_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || only_pongs(client));
        }
    });
    let report = verify(&Project::new(), &["--server", &format!("nats://{address}")], 3);
    assert_eq!(report["verdict"], "inconclusive");
    assert!(report.to_string().contains("neither delivers nor refuses"), "{report}");
    assert_eq!(outcomes(&report, "leak"), [""; 0]);
}

fn only_pongs(mut client: TcpStream) {
    let info = "INFO {\"server_id\":\"X\",\"version\":\"2.15.1\",\"max_payload\":1048576,\"headers\":true,\"auth_required\":true,\"nonce\":\"abc\"}\r\n";
    let _ = client.write_all(info.as_bytes());
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = client.read(&mut bytes) {
        let pings = String::from_utf8_lossy(&bytes[..length]).matches("PING\r\n").count();
        if client.write_all("PONG\r\n".repeat(pings).as_bytes()).is_err() {
            return;
        }
    }
}

/// Who hears two shares and may answer one message: each share is judged by itself, and the same in every run.
#[test]
fn who_may_answer_a_shared_message_is_found_in_every_run() {
    let tenant = |name: &str, subject: &str| {
        format!("[[tenant]]\nname = \"{name}\"\nsubjects = [\"{subject}.>\"]\n[[tenant.user]]\nname = \"app\"\n")
    };
    let share = |from: &str, to: &str, subject: &str| {
        format!("[[share]]\nfrom = \"{from}\"\nto = [{to}]\nstream = \"{subject}\"\n")
    };
    let project = Project::with_registry(&format!(
        "version = 1\n[server]\nname = \"x\"\nclient = \"127.0.0.1:4222\"\n[keys]\nroot = \"development\"\n[[system.user]]\nname = \"op\"\n{}{}{}{}{}",
        tenant("A", "a"),
        tenant("B", "b"),
        tenant("C", "c"),
        share("A", "\"B\"", "a.pub.>"),
        share("B", "\"C\"", "b.feed.>"),
    ));
    project.up();
    let url = project.creds("B/app").url;
    verify(&project, &["--server", &url], 0);
    // The user of B alone.
    let accounts = project.read("infra/nats/accounts.conf");
    let at = accounts.find("\"B\" {").expect("the account");
    let (before, after) = accounts.split_at(at);
    project.reload_with(
        &format!("{before}{}", after.replacen("allow_responses: false", "allow_responses: true", 1)),
        "answers",
    );
    for _ in 0..3 {
        let report = verify(&project, &["--server", &url], 1);
        let leaks = outcomes(&report, "leak").join("\n");
        assert!(leaks.contains("\"answers\" \"A\" \"B\"") && !leaks.contains("\"B\" \"C\""), "{leaks}");
    }
}
