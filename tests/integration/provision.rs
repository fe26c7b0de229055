//! Plan and apply: streams, consumers, buckets and object stores of the registry on
//! a running server.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Connection, Project, ask, eventually};

const HEAD: &str = "version = 1\n[server]\nclient = \"127.0.0.1:4222\"\n[server.jetstream]\nstorage = \"8GiB\"\nmemory = \"256MiB\"\n[[tenant]]\nname = \"T\"\n[tenant.jetstream]\nstorage = \"1GiB\"\nmemory = \"16MiB\"\n[[tenant.user]]\nname = \"boss\"\nrole = \"admin\"\n[[tenant.user]]\nname = \"app\"\n";

/// A running server with one tenant, and the streams that are declared for it.
fn project(streams: &str) -> Project {
    let project = Project::with_registry(&format!("{HEAD}{streams}"));
    project.up();
    project
}

fn plan(project: &Project, code: i32) -> Json {
    project.run(&["plan", "--format", "json"]).exited(code).json()
}

fn apply(project: &Project, more: &[&str], code: i32) -> Json {
    project.run(&[&["apply", "--format", "json"], more].concat()).exited(code).json()
}

/// `action stream[/consumer]` of each change.
fn actions(document: &Json) -> Vec<String> {
    let name = |c: &Json| match c["consumer"].as_str() {
        Some(consumer) => format!("{}/{consumer}", c["stream"].as_str().unwrap()),
        None => c["stream"].as_str().unwrap().to_owned(),
    };
    let changes = document["changes"].as_array().expect("changes");
    changes.iter().map(|c| format!("{} {}", c["action"].as_str().unwrap(), name(c))).collect()
}

async fn boss(project: &Project) -> Connection {
    project.connect("T/boss").await
}

async fn info(boss: &Connection, what: &str) -> Json {
    ask(boss, &format!("$JS.API.{what}"), json!({})).await.expect("an answer")
}

async fn store(boss: &Connection, subject: &str, count: usize) {
    let js = jetstream::new(boss.client.clone());
    for i in 0..count {
        js.publish(subject.to_owned(), format!("{i}").into()).await.expect("publish").await.expect("stored");
    }
}

/// Everything that can be written, with a value that is not the default.
const EVERYTHING: &str = r#"
[[tenant.stream]]
name = "FULL"
description = "every key"
subjects = ["T.full.>"]
retention = "limits"
storage = "file"
replicas = 1
max_age = "30d"
max_bytes = "32MiB"
max_msgs = 100000
max_msgs_per_subject = 1000
max_msg_size = "64KiB"
max_consumers = 10
discard = "new"
discard_new_per_subject = true
duplicate_window = "5m"
compression = "s2"
allow_rollup_hdrs = true
allow_direct = true
deny_delete = true
allow_msg_ttl = true
subject_delete_marker_ttl = "1m"
allow_atomic = true
allow_batched = true
subject_transform = { src = "T.full.raw.*", dest = "T.full.cooked.{{wildcard(1)}}" }
republish = { src = "T.full.>", dest = "T.copy.>", headers_only = true }
consumer_limits = { inactive_threshold = "1h", max_ack_pending = 500 }
metadata = { team = "blue" }
[[tenant.stream.consumer]]
name = "pull"
description = "a pull consumer"
filters = ["T.full.a.>", "T.full.b"]
deliver_policy = "by_start_sequence"
opt_start_seq = 5
max_deliver = 4
backoff = ["1s", "10s", "1m"]
max_ack_pending = 50
replay_policy = "original"
inactive_threshold = "30m"
sample_freq = "50"
headers_only = true
replicas = 1
mem_storage = true
max_waiting = 100
max_batch = 20
max_expires = "20s"
max_bytes = "1MiB"
metadata = { use = "test" }
[[tenant.stream.consumer]]
name = "pinned"
deliver_policy = "last_per_subject"
filter = "T.full.c"
priority_groups = ["jobs"]
priority_policy = "pinned_client"
priority_timeout = "90s"
[[tenant.stream.consumer]]
name = "push"
deliver_subject = "T.deliver.push"
deliver_group = "workers"
flow_control = true
idle_heartbeat = "5s"
rate_limit_bps = 8000000
ack_policy = "all"
ack_wait = "45s"
deliver_policy = "by_start_time"
opt_start_time = "2026-01-31T00:00:00Z"
[[tenant.stream.consumer]]
name = "silent"
ack_policy = "none"
deliver_policy = "new"
[[tenant.stream]]
name = "PLAIN"
subjects = ["T.plain"]
[[tenant.stream.consumer]]
name = "plain"
[[tenant.stream]]
name = "COUNTER"
subjects = ["T.count.>"]
allow_msg_counter = true
allow_direct = true
[[tenant.stream]]
name = "TIMED"
subjects = ["T.timed.>"]
allow_msg_schedules = true
storage = "memory"
max_age = "1m"
no_ack = true
[[tenant.stream]]
name = "COPY"
mirror = { name = "PLAIN", filter = "T.plain", opt_start_seq = 1 }
[[tenant.stream]]
name = "MIXED"
[[tenant.stream.source]]
name = "PLAIN"
opt_start_time = "2026-01-31T00:00:00Z"
[[tenant.stream.source]]
name = "FULL"
subject_transforms = [{ src = "T.full.>", dest = "T.mixed.>" }]
[[tenant.stream]]
name = "WORK"
subjects = ["T.work.>"]
retention = "workqueue"
[[tenant.stream.consumer]]
name = "one"
filter = "T.work.one"
[[tenant.stream.consumer]]
name = "two"
filter = "T.work.two"
[[tenant.stream]]
name = "INTEREST"
subjects = ["T.interest"]
retention = "interest"
deny_purge = true
[[tenant.bucket]]
name = "plain"
[[tenant.bucket]]
name = "full"
description = "every key"
history = 7
max_age = "1h"
max_bytes = "1MiB"
max_value_size = "1KiB"
limit_marker_ttl = "30s"
storage = "memory"
compression = "s2"
metadata = { team = "red" }
[[tenant.object_store]]
name = "plain"
[[tenant.object_store]]
name = "full"
description = "every key"
max_age = "1m"
max_bytes = "1MiB"
storage = "memory"
compression = "s2"
metadata = { team = "red" }
"#;

/// What the server says of each is what was declared, so nothing is left to do; and
/// a bucket and an object store are what the clients take for one.
#[tokio::test]
async fn everything_that_can_be_declared_is_made() {
    let text = HEAD.replace("memory = \"16MiB\"", "memory = \"16MiB\"\nstreams = 20");
    let project = Project::with_registry(&format!("{text}{EVERYTHING}"));
    project.up();
    let again = plan(&project, 0);
    assert_eq!(actions(&again), [""; 0], "{again:#}");
    assert_eq!(again["unchanged"], 12 + 7);
    let app = project.connect("T/app").await;
    let js = jetstream::new(app.client.clone());
    for bucket in ["plain", "full"] {
        let bucket = js.get_key_value(bucket).await.expect("a bucket");
        bucket.put("key", "value".into()).await.expect("put");
        assert_eq!(bucket.get("key").await.expect("get").expect("a value"), "value");
        let mut store = js.get_object_store(bucket.name.trim_start_matches("KV_")).await.expect("an object store");
        store.put("object", &mut "content".as_bytes()).await.expect("put");
        store.delete("object").await.expect("delete");
        let _ = &mut store;
    }
}

#[tokio::test]
async fn a_plan_writes_nothing_and_a_second_apply_neither() {
    let streams = "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.s.>\"]\n[[tenant.stream.consumer]]\nname = \"c\"\n[[tenant.bucket]]\nname = \"b\"\n";
    let project = project("");
    project.write("tenants.toml", &format!("{}{streams}", project.read("tenants.toml")));
    let boss = boss(&project).await;
    for _ in 0..2 {
        assert_eq!(actions(&plan(&project, 1)), ["create S", "create S/c", "create KV_b"]);
        assert_eq!(info(&boss, "STREAM.NAMES").await["total"], 0, "a plan made something");
    }
    let done = apply(&project, &[], 0);
    assert_eq!(actions(&done), ["create S", "create S/c", "create KV_b"]);
    assert!(done["changes"].as_array().expect("changes").iter().all(|c| c["outcome"] == "done"), "{done:#}");
    store(&boss, "T.s.x", 3).await;
    let before = (
        info(&boss, "STREAM.INFO.S").await["created"].clone(),
        info(&boss, "CONSUMER.INFO.S.c").await["created"].clone(),
    );
    assert_eq!(actions(&apply(&project, &[], 0)), [""; 0]);
    let after = info(&boss, "STREAM.INFO.S").await;
    assert_eq!((after["created"].clone(), info(&boss, "CONSUMER.INFO.S.c").await["created"].clone()), before);
    assert_eq!(after["state"]["messages"], 3);
}

#[tokio::test]
async fn what_can_be_changed_is_changed_in_place_and_the_rest_by_name() {
    let project = project(
        "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.s.>\"]\nmax_age = \"1h\"\n[[tenant.stream.consumer]]\nname = \"c\"\nmax_deliver = 3\n",
    );
    let boss = boss(&project).await;
    store(&boss, "T.s.x", 5).await;
    project.edit("max_age = \"1h\"", "max_age = \"2h\"\nmax_msgs = 1000");
    project.edit("max_deliver = 3", "max_deliver = 4");
    let planned = plan(&project, 1);
    assert_eq!(actions(&planned), ["update S", "update S/c"]);
    assert_eq!(planned["changes"][0]["drift"], false, "the registry changed, not the server");
    apply(&project, &[], 0);
    let config = info(&boss, "STREAM.INFO.S").await;
    assert_eq!((&config["config"]["max_msgs"], &config["state"]["messages"]), (&json!(1000), &json!(5)));

    // Not in place: nothing happens, unless it is named; then the count is shown first.
    project.edit("max_age = \"2h\"", "storage = \"memory\"");
    project.edit("max_deliver = 4", "max_deliver = 4\ndeliver_policy = \"new\"");
    let said = project.run(&["apply"]).exited(1).all();
    for words in [
        "holds 5 messages",
        "where a stream is stored cannot be changed",
        "--replace T/S",
        "deliver_policy cannot be changed",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(info(&boss, "STREAM.INFO.S").await["state"]["messages"], 5);
    let consumer = apply(&project, &["--replace", "T/S/c"], 1);
    assert_eq!(actions(&consumer), ["replace S/c", "blocked S"]);
    assert_eq!(info(&boss, "STREAM.INFO.S").await["state"]["messages"], 5, "the stream was not named");
    let said = project.run(&["apply", "--replace", "T/S"]).succeeded().stdout;
    assert!(said.contains("holds 5 messages"), "{said}");
    let fresh = info(&boss, "STREAM.INFO.S").await;
    assert_eq!((&fresh["config"]["storage"], &fresh["state"]["messages"]), (&json!("memory"), &json!(0)));
    assert_eq!(info(&boss, "CONSUMER.INFO.S.c").await["config"]["deliver_policy"], "new");
    plan(&project, 0);
    for (named, hint) in [("S", "did you mean `T/S`?"), ("T/SS", "did you mean `T/S`?"), ("X/S", "did you mean `T/S`?")]
    {
        let ran = project.run(&["apply", "--replace", named]).exited(2);
        assert!(ran.stderr.contains(hint), "{named}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn what_others_made_is_shown_and_left_alone() {
    let project = project(
        "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.s.>\"]\nmax_age = \"1h\"\n[[tenant.stream]]\nname = \"OLD\"\nsubjects = [\"T.old\"]\n[[tenant.stream.consumer]]\nname = \"c\"\n",
    );
    let boss = boss(&project).await;
    store(&boss, "T.old", 2).await;
    // By hand: a change, a stream and a consumer.
    let mut config = info(&boss, "STREAM.INFO.S").await["config"].clone();
    config["max_age"] = json!(60_000_000_000u64);
    config["duplicate_window"] = json!(60_000_000_000u64);
    ask(&boss, "$JS.API.STREAM.UPDATE.S", config).await.expect("update");
    ask(&boss, "$JS.API.STREAM.CREATE.OTHER", json!({ "name": "OTHER", "subjects": ["T.other"] }))
        .await
        .expect("create");
    let consumer = json!({ "stream_name": "S", "config": { "durable_name": "hand", "ack_policy": "explicit" } });
    ask(&boss, "$JS.API.CONSUMER.CREATE.S.hand", consumer).await.expect("create");
    project.edit(
        "[[tenant.stream]]\nname = \"OLD\"\nsubjects = [\"T.old\"]\n[[tenant.stream.consumer]]\nname = \"c\"\n",
        "",
    );
    let planned = plan(&project, 1);
    assert_eq!(actions(&planned), ["undeclared OLD", "foreign OTHER", "update S", "foreign S/hand"]);
    assert_eq!((&planned["changes"][2]["drift"], &planned["changes"][0]["messages"]), (&json!(true), &json!(2)));
    let said = project.run(&["apply"]).succeeded().stdout;
    for words in [
        "stream S, changed by hand",
        "max_age: 1m → 1h",
        "OLD, holds 2 messages: no longer in the registry",
        "OTHER, holds 0 messages: not in the registry",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(info(&boss, "STREAM.NAMES").await["streams"], json!(["OLD", "OTHER", "S"]));
    plan(&project, 0);
    // By name, and only what is not declared.
    let ran = project.run(&["apply", "--delete", "T/S"]).exited(2);
    assert!(ran.stderr.contains("is in the registry"), "{}", ran.stderr);
    let deleted = apply(&project, &["--delete", "T/OLD", "--delete", "T/S/hand"], 0);
    assert_eq!(actions(&deleted)[..2], ["delete OLD".to_owned(), "delete S/hand".to_owned()]);
    assert_eq!(info(&boss, "STREAM.NAMES").await["streams"], json!(["OTHER", "S"]));
    assert_eq!(info(&boss, "CONSUMER.NAMES.S").await["total"], 0);
}

/// A subject that moves from one stream to another, and consumers of another kind.
#[tokio::test]
async fn what_depends_on_each_other_is_done_in_order() {
    let project = project(
        "[[tenant.stream]]\nname = \"A\"\nsubjects = [\"T.a\"]\n[[tenant.stream]]\nname = \"B\"\nsubjects = [\"T.b\", \"T.moves\"]\n[[tenant.stream.consumer]]\nname = \"c\"\n",
    );
    project.edit("subjects = [\"T.a\"]", "subjects = [\"T.a\", \"T.moves\"]");
    project.edit("subjects = [\"T.b\", \"T.moves\"]", "subjects = [\"T.b\"]");
    project.edit("name = \"c\"", "name = \"c\"\ndeliver_subject = \"T.deliver\"");
    let done = apply(&project, &[], 1);
    assert_eq!(actions(&done), ["update B", "update A", "blocked B/c"], "{done:#}");
    assert!(done["changes"][2]["reason"].as_str().is_some_and(|r| r.contains("pull consumer cannot become a push")));
    apply(&project, &["--replace", "T/B/c"], 0);
}

/// Two at once, and somebody who changes a stream all the time.
#[tokio::test]
async fn several_at_once_end_where_one_would() {
    let mut streams = String::new();
    for i in 0..40 {
        streams += &format!(
            "[[tenant.stream]]\nname = \"S{i}\"\nsubjects = [\"T.s{i}\"]\nmax_age = \"1h\"\n[[tenant.stream.consumer]]\nname = \"c\"\n"
        );
    }
    let head = HEAD.replace("memory = \"16MiB\"", "memory = \"16MiB\"\nstreams = 60");
    let project = Project::with_registry(&head);
    project.up();
    project.write("tenants.toml", &format!("{}{streams}", project.read("tenants.toml")));
    let running: Vec<_> =
        (0..3).map(|_| project.command(&["apply", "--format", "json"]).spawn().expect("it starts")).collect();
    for mut apply in running {
        assert!(apply.wait().expect("it ends").success(), "each of them");
    }
    plan(&project, 0);
    // Somebody changes a stream by hand while it is changed from the registry.
    let boss = boss(&project).await;
    let config = info(&boss, "STREAM.INFO.S7").await["config"].clone();
    let text = project.read("tenants.toml").replace("max_age = \"1h\"", "max_age = \"3h\"");
    project.write("tenants.toml", &text);
    let mut apply = project.command(&["apply", "--format", "json"]).spawn().expect("it starts");
    let mut rounds = 0u64;
    while apply.try_wait().expect("it runs").is_none() {
        rounds += 1;
        let mut config = config.clone();
        config["max_msgs"] = json!(1000 + rounds);
        ask(&boss, "$JS.API.STREAM.UPDATE.S7", config).await.expect("update");
    }
    // Whoever was last, another run ends it.
    project.run(&["apply"]).succeeded();
    plan(&project, 0);
    assert_eq!(info(&boss, "STREAM.INFO.S7").await["config"]["max_age"], json!(3 * 3_600_000_000_000u64));
}

/// Killed in the middle, and the server restarted in the middle: run again it is done,
/// and no message is lost.
#[tokio::test]
async fn an_interruption_anywhere_is_made_good() {
    let mut registry = HEAD.replace("storage = \"8GiB\"", "storage = \"80GiB\"");
    for i in 0..150 {
        registry += &format!(
            "[[tenant]]\nname = \"N{i}\"\n[tenant.jetstream]\nstorage = \"64MiB\"\n[[tenant.user]]\nname = \"app\"\n[[tenant.stream]]\nname = \"S\"\nsubjects = [\"N{i}.>\"]\n[[tenant.stream.consumer]]\nname = \"c\"\n"
        );
    }
    let first = "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.s.>\"]\n";
    let project = project(first);
    store(&boss(&project).await, "T.s.x", 7).await;
    project.write(
        "tenants.toml",
        &project.on_own_ports(&registry.replace(
            "[[tenant.user]]\nname = \"app\"\n[[tenant]]\nname = \"N0\"",
            &format!("[[tenant.user]]\nname = \"app\"\n{first}[[tenant]]\nname = \"N0\""),
        )),
    );
    // All tenants are on the server, their streams are not.
    project.run(&["render"]).succeeded();
    let up = project.command(&["up"]).spawn();
    drop(up.expect("it starts").wait());
    for wait in [5, 40] {
        let mut apply = project.command(&["apply"]).spawn().expect("it starts");
        tokio::time::sleep(Duration::from_millis(wait)).await;
        apply.kill().expect("killed");
        apply.wait().expect("gone");
    }
    let mut apply = project.command(&["apply", "--format", "json"]).spawn().expect("it starts");
    project.run(&["down"]).succeeded();
    project.run(&["up"]).succeeded();
    assert!(apply.wait().expect("it ends").code().is_some());
    project.run(&["apply"]).succeeded();
    plan(&project, 0);
    assert_eq!(info(&boss(&project).await, "STREAM.INFO.S").await["state"]["messages"], 7);
}

/// Before anything is deleted it is looked at what goes with it, and whether it can be made again.
#[tokio::test]
async fn nothing_goes_without_a_word() {
    let project = project("[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.s.>\"]\n");
    let admin = boss(&project).await;
    store(&admin, "T.s.1", 5).await;
    let made = async |name: &str, config: Json| {
        let answer = ask(&admin, &format!("$JS.API.{name}"), config).await.expect("an answer");
        assert!(answer["error"].is_null(), "{answer}");
    };
    made("CONSUMER.CREATE.S.mine", json!({ "stream_name": "S", "config": { "durable_name": "mine" } })).await;
    made("STREAM.CREATE.OTHER", json!({ "name": "OTHER", "subjects": ["T.other.>"] })).await;
    made("STREAM.CREATE.KV_hand", json!({ "name": "KV_hand", "subjects": ["$KV.hand.>"] })).await;

    // A lower limit drops messages: said before, and then so.
    project.edit("subjects = [\"T.s.>\"]", "subjects = [\"T.s.>\"]\nmax_msgs = 3");
    let said = project.run(&["plan"]).exited(1);
    assert!(said.stdout.contains("the oldest 2 of 5 messages are dropped"), "{}", said.all());
    project.run(&["apply"]).succeeded();
    assert_eq!(info(&admin, "STREAM.INFO.S").await["state"]["messages"], 3);

    // It could not be made again: nothing is deleted, even where it is named.
    project.edit("subjects = [\"T.s.>\"]", "subjects = [\"T.s.>\", \"T.other.>\"]\nretention = \"workqueue\"");
    let said = project.run(&["apply", "--replace", "T/S"]).exited(1);
    for words in [
        "stream OTHER on the server has its subjects",
        "--delete T/OTHER",
        "a consumer of others on it would go too: `mine`",
    ] {
        assert!(said.all().contains(words), "{words}: {}", said.all());
    }
    assert_eq!(info(&admin, "STREAM.INFO.S").await["state"]["messages"], 3);
    project.edit("\"T.s.>\", \"T.other.>\"", "\"T.s.>\"");
    project.run(&["apply", "--replace", "T/S"]).succeeded();

    // Renamed: the old one has the subjects. Both are said before anything is tried.
    project.edit("name = \"S\"\n", "name = \"NEW\"\n");
    let said = project.run(&["plan"]).exited(1);
    assert!(said.all().contains("call it S again") && said.all().contains("✘"), "{}", said.all());
    project.run(&["apply"]).exited(1);
    project.run(&["apply", "--delete", "T/S"]).succeeded();

    // What was named and is not there is not passed over.
    let said = project.run(&["apply", "--delete", "T/NOPE", "--delete", "T/hand"]).exited(1);
    for words in ["--delete T/NOPE did nothing", "--delete T/hand did nothing", "did you mean T/KV_hand?"] {
        assert!(said.all().contains(words), "{words}: {}", said.all());
    }
    let said = project.run(&["apply", "--replace", "T/NEW"]).exited(1);
    assert!(said.all().contains("leave --replace out"), "{}", said.all());
    project.run(&["apply", "--delete", "T/KV_hand"]).succeeded();
}

/// What a tenant's administrator writes by hand is shown, and moves nothing on the operator's terminal.
#[tokio::test]
async fn a_tenants_words_stay_words() {
    let project = project("[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.s.>\"]\n");
    let admin = boss(&project).await;
    let words = "\u{1b}[2J\u{1b}[H\nall is well\u{202e}";
    let made = async |name: &str, config: Json| {
        let answer = ask(&admin, &format!("$JS.API.{name}"), config).await.expect("an answer");
        assert!(answer["error"].is_null(), "{answer}");
    };
    made("STREAM.UPDATE.S", json!({ "name": "S", "subjects": ["T.s.>"], "description": words })).await;
    let evil = "z;touch${IFS}PWNED";
    made(
        &format!("STREAM.CREATE.{evil}"),
        json!({ "name": evil, "subjects": ["T.evil"], "metadata": { "tenantry": "forged" } }),
    )
    .await;
    made("STREAM.CREATE.$EVIL", json!({ "name": "$EVIL", "subjects": ["T.more"] })).await;
    let said = project.run(&["plan"]).exited(1).all();
    assert!(said.contains("all is well") && said.contains("stream $EVIL") && said.contains(evil), "{said}");
    assert!(!said.contains('\u{1b}') && !said.contains('\u{202e}') && !said.contains("\nall is well"), "{said}");
    assert!(!said.contains("--delete T/z"), "nothing to paste that a shell would run: {said}");
}

/// One tenant's trouble is its own.
#[tokio::test]
async fn a_failing_tenant_stops_no_other() {
    let mut registry =
        HEAD.replace("storage = \"8GiB\"", "storage = \"80GiB\"").replace("storage = \"1GiB\"", "storage = \"2GiB\"");
    registry += "[[tenant.stream]]\nname = \"BIG\"\nsubjects = [\"T.big\"]\nmax_bytes = \"1536MiB\"\n[[tenant.stream.consumer]]\nname = \"c\"\n";
    for i in 0..1000 {
        registry += &format!(
            "[[tenant]]\nname = \"N{i}\"\n[tenant.jetstream]\nstorage = \"64MiB\"\n[[tenant.user]]\nname = \"app\"\n[[tenant.stream]]\nname = \"S\"\nsubjects = [\"N{i}.>\"]\n"
        );
    }
    // The server still has the tenant's old limit, which is too small.
    let project = Project::with_registry(
        &registry
            .replace("storage = \"2GiB\"", "storage = \"1GiB\"")
            .replace("max_bytes = \"1536MiB\"", "max_bytes = \"1MiB\"")
            .replace("name = \"BIG\"", "name = \"SMALL\""),
    );
    project.up();
    let text = project
        .read("tenants.toml")
        .replace("storage = \"1GiB\"", "storage = \"2GiB\"")
        .replace(
            "name = \"SMALL\"\nsubjects = [\"T.big\"]\nmax_bytes = \"1MiB\"",
            "name = \"BIG\"\nsubjects = [\"T.bigger\"]\nmax_bytes = \"1536MiB\"",
        )
        .replace("[\"N7.>\"]", "[\"N7.>\"]\nmax_age = \"1h\"");
    project.write("tenants.toml", &text);
    let ran = project.run(&["apply"]).exited(1);
    for words in [
        "T/BIG: insufficient storage resources available (10047)",
        "N7",
        "max_age: none → 1h",
        "1 changed",
        "2 failed",
        "raise `storage`",
    ] {
        assert!(ran.all().contains(words), "{words}: {}", ran.all());
    }
    // The registry has another key by now: the tenant is not let in.
    let project = Project::with_registry(HEAD);
    project.up();
    project.write(
        "tenants.toml",
        &format!(
            "{}[[tenant]]\nname = \"NEW\"\n[tenant.jetstream]\nstorage = \"1MiB\"\n[[tenant.user]]\nname = \"app\"\n",
            project.read("tenants.toml")
        ),
    );
    let ran = project.run(&["apply"]).exited(1);
    assert!(
        ran.all().contains("NEW: its provisioner is not let in") && ran.all().contains("`tenantry up`"),
        "{}",
        ran.all()
    );
    project.run(&["down"]).succeeded();
    let ran = project.run(&["plan"]).exited(3);
    assert!(ran.stderr.contains("tenantry up"), "{}", ran.stderr);
}

/// Between client and server: at the first text of its kind that the client sends,
/// something else happens first.
struct Between {
    port: u16,
    happened: Arc<AtomicBool>,
}

impl Between {
    async fn new<F, Fut>(server: u16, before: &'static str, happens: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (happened, happens) = (Arc::new(AtomicBool::new(false)), Arc::new(happens));
        let between = Self { port, happened: Arc::clone(&happened) };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.expect("the server");
                let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
                let (happened, happens) = (Arc::clone(&happened), Arc::clone(&happens));
                tokio::spawn(async move {
                    let mut buffer = vec![0; 1 << 16];
                    while let Ok(n @ 1..) = from_client.read(&mut buffer).await {
                        let says = memchr::memmem::find(&buffer[..n], before.as_bytes()).is_some();
                        if says && !happened.swap(true, Ordering::SeqCst) {
                            happens().await;
                        }
                        to_server.write_all(&buffer[..n]).await.expect("forward");
                    }
                });
            }
        });
        between
    }
}

/// Somebody changes a stream exactly between the plan and its execution: there is a new
/// plan, and no message is lost.
#[tokio::test]
async fn what_changes_between_plan_and_apply_is_planned_again() {
    let stream = "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.s.>\"]\nmax_age = \"1h\"\n";
    let project = project(stream);
    let admin = boss(&project).await;
    store(&admin, "T.s.1", 5).await;
    project.edit("max_age = \"1h\"", "max_age = \"2h\"");
    // By hand, something else than what is about to be changed.
    let client = admin.client.clone();
    let between = Between::new(project.port, "$JS.API.STREAM.INFO.S ", move || {
        let client = client.clone();
        async move {
            let info = ask(&client, "$JS.API.STREAM.INFO.S", json!({})).await.expect("an answer");
            let mut config = info["config"].clone();
            config["max_msgs"] = 77.into();
            let changed = ask(&client, "$JS.API.STREAM.UPDATE.S", config).await.expect("an answer");
            assert!(changed["error"].is_null(), "{changed}");
        }
    })
    .await;
    let url = format!("nats://127.0.0.1:{}", between.port);
    let ran = tokio::task::spawn_blocking({
        let mut command = project.command(&["apply", "--server", &url, "--format", "json"]);
        move || command.output().expect("it runs")
    });
    let output = ran.await.expect("it ends");
    assert!(between.happened.load(Ordering::SeqCst), "nobody changed anything");
    let document: Json = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(0), "{document}");
    // The change by hand was seen, said and taken back: the first plan knew nothing of it.
    let change = &document["changes"][0];
    assert_eq!(
        (&change["action"], &change["drift"], &change["outcome"]),
        (&json!("update"), &json!(true), &json!("done"))
    );
    let fields: Vec<&str> =
        change["fields"].as_array().expect("fields").iter().map(|f| f["name"].as_str().expect("a name")).collect();
    assert_eq!(fields, ["max_msgs", "max_age"]);
    let info = info(&admin, "STREAM.INFO.S").await;
    assert_eq!((&info["state"]["messages"], &info["config"]["max_msgs"]), (&json!(5), &json!(-1)));
    plan(&project, 0);
}

/// A server whose disk is used up says so, and what is there stays.
#[tokio::test]
async fn a_server_that_is_full_is_said() {
    let registry = format!("{HEAD}[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.s.>\"]\n");
    let project = Project::with_registry(&registry);
    project.run(&["render"]).succeeded();
    // Somebody took the limits away and gave the server next to nothing.
    let accounts = project.read("infra/nats/accounts.conf");
    let unlimited: Vec<&str> = accounts
        .lines()
        .filter(|l| !["max_store", "max_memory"].iter().any(|k| l.trim_start().starts_with(k)))
        .collect();
    assert_ne!(unlimited.len(), accounts.lines().count());
    project.write("mine/accounts.conf", &unlimited.join("\n"));
    let port = project.port;
    project.write(
        "mine/server.conf",
        &format!("listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: data, max_file_store: 100KB, max_memory_store: 1MB }}\ninclude accounts.conf\n"),
    );
    let mut server = std::process::Command::new(crate::support::nats_server());
    let server = server.args(["-c", "server.conf"]).current_dir(project.path().join("mine"));
    let server = Guard(server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"));
    let url = format!("nats://127.0.0.1:{port}");
    eventually("the server answers", async || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
    project.run(&["apply", "--server", &url]).succeeded();
    let admin = boss(&project).await;
    let js = jetstream::new(admin.client.clone());
    let mut kept = 0;
    let refused = loop {
        match js.publish("T.s.1", vec![0; 10_000].into()).await.expect("publish").await {
            Ok(_) => kept += 1,
            Err(refused) => break refused,
        }
    };
    assert!(kept > 3 && format!("{refused:?}").contains("10023"), "{kept} {refused:?}");
    // What needs no room is made, what reserves some is refused in the server's words; nothing is lost.
    let more = "[[tenant.stream]]\nname = \"NEXT\"\nsubjects = [\"T.next\"]\n[[tenant.stream]]\nname = \"ROOM\"\nsubjects = [\"T.room\"]\nmax_bytes = \"1MiB\"\n";
    project.write("tenants.toml", &format!("{}{more}", project.read("tenants.toml")));
    let ran = project.run(&["apply", "--server", &url]).exited(1);
    for words in
        ["1 created", "T/ROOM: insufficient storage resources available (10047)", "raise `storage`", "1 failed"]
    {
        assert!(ran.all().contains(words), "{words}: {}", ran.all());
    }
    assert_eq!(info(&admin, "STREAM.INFO.S").await["state"]["messages"], kept);
    drop(server);
}

/// Ended with the test.
struct Guard(std::process::Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The provisioner can do what it is for, and cannot read or write a message.
#[tokio::test]
async fn the_provisioner_has_no_hands_on_messages() {
    let project = project("[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.s.>\"]\n");
    store(&boss(&project).await, "T.s.x", 1).await;
    let provisioner = project.connect("T/provisioner").await;
    for subject in [
        "T.s.x",
        "$JS.API.STREAM.MSG.GET.S",
        "$JS.API.STREAM.PURGE.S",
        "$JS.API.STREAM.MSG.DELETE.S",
        "$JS.API.DIRECT.GET.S",
        "$JS.API.CONSUMER.MSG.NEXT.S.c",
        "$JS.ACK.S.c.1.1.1.1.1",
        "$JS.API.STREAM.SNAPSHOT.S",
        "$KV.b.x",
    ] {
        provisioner.cannot_publish(subject).await;
    }
    for subject in ["T.s.>", "T.>", "_INBOX.>", ">"] {
        provisioner.cannot_subscribe(subject).await;
    }
    assert_eq!(info(&provisioner, "STREAM.INFO.S").await["state"]["messages"], 1, "the control");
    let handout = project.read("infra/RUNNING-NATS.md");
    assert!(!handout.contains("provisioner"), "developers are not handed it");
}

/// What a tenant keeps, and that not much more fits.
#[tokio::test]
async fn status_shows_what_is_kept() {
    let text = HEAD.replace("storage = \"1GiB\"", "storage = \"64KiB\"");
    let project = Project::with_registry(&format!(
        "{text}[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.s.>\"]\n[[tenant.stream.consumer]]\nname = \"c\"\n"
    ));
    project.up();
    let status = || project.run(&["status", "--format", "json"]).succeeded().json()["tenants"][0].clone();
    assert_eq!((&status()["near_limit"], &status()["jetstream"]["lag"]), (&json!([]), &json!(0)), "the control");
    let boss = boss(&project).await;
    let js = jetstream::new(boss.client.clone());
    for _ in 0..7 {
        js.publish("T.s.x", vec![b'x'; 8000].into()).await.expect("publish").await.expect("stored");
    }
    let seen = status();
    assert_eq!(seen["near_limit"], json!(["disk"]), "{seen:#}");
    let kept = &seen["jetstream"];
    assert_eq!((&kept["streams"], &kept["messages"], &kept["lag"]), (&json!(1), &json!(7), &json!(7)), "{seen:#}");
    assert_eq!(kept["behind"][0]["consumer"], "c");
    let said = project.run(&["status"]).succeeded().all();
    assert!(said.contains("! disk") && said.contains("near its limit of disk"), "{said}");
}

/// Its secret is replaced like every other's; it cannot be sent away.
#[test]
fn the_provisioner_is_rotated_and_stays() {
    let project = project("[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.s\"]\n");
    let ran = project.run(&["user", "revoke", "T/provisioner"]).exited(2);
    assert!(ran.stderr.contains("tenantry user rotate T/provisioner"), "{}", ran.stderr);
    for generation in [2, 3] {
        project.run(&["user", "rotate", "T/provisioner"]).succeeded();
        assert!(project.read("tenants.toml").contains(&format!("generation = {generation}")));
        // The server still knows the old one.
        project.run(&["plan"]).exited(1);
        project.up();
        project.run(&["plan"]).succeeded();
    }
    project.run(&["user", "revoke", "T/app"]).succeeded();
    let ran = project.run(&["user", "revoke", "T/boss"]).exited(2);
    assert!(ran.stderr.contains("is the only user"), "{}", ran.stderr);
}
