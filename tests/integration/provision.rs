//! Plan and apply: streams, consumers, buckets and object stores of the registry on
//! a running server.

use async_nats::jetstream;
use futures_util::StreamExt as _;
use serde_json::{Value as Json, json};

use crate::support::{Connection, Project, ask, eventually};

pub const HEAD: &str = "version = 1\n[server]\nclient = \"127.0.0.1:4222\"\n[server.jetstream]\nstorage = \"8GiB\"\nmemory = \"256MiB\"\n[[tenant]]\nname = \"T\"\n[tenant.jetstream]\nstorage = \"1GiB\"\nmemory = \"16MiB\"\n[[tenant.user]]\nname = \"boss\"\nrole = \"admin\"\n[[tenant.user]]\nname = \"app\"\n";

/// A running server with one tenant, and the streams that are declared for it.
pub fn project(streams: &str) -> Project {
    let project = Project::with_registry(&format!("{HEAD}{streams}"));
    project.up();
    project
}

pub fn plan(project: &Project, code: i32) -> Json {
    project.run(&["plan", "--format", "json"]).exited(code).json()
}

pub fn apply(project: &Project, more: &[&str], code: i32) -> Json {
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

pub async fn boss(project: &Project) -> Connection {
    project.connect("T/boss").await
}

pub async fn info(boss: &Connection, what: &str) -> Json {
    ask(boss, &format!("$JS.API.{what}"), json!({})).await.expect("an answer")
}

pub async fn store(boss: &Connection, subject: &str, count: usize) {
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

/// The server's first answer about a consumer after a restart is of yesterday.
#[test]
fn a_consumer_is_changed_after_a_restart() {
    let project = Project::new();
    project.up();
    project.run(&["down"]).succeeded();
    project.up();
    project.edit("name        = \"event-analytics\"", "name        = \"event-analytics\"\nmax_ack_pending = 77");
    let applied = project.run(&["apply", "--format", "json"]).succeeded().json();
    assert_eq!(applied["changes"][0]["outcome"], "done", "{applied}");
    project.run(&["plan"]).succeeded();
}

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
    project.run(&["up"]).exited(0);
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

/// A stream with consumers, each with its filter, as a registry declares it.
fn with_consumers(retention: &str, consumers: &[(&str, &str)]) -> String {
    let consumer = |(name, filter): &(&str, &str)| match *filter {
        "" => format!("[[tenant.stream.consumer]]\nname = \"{name}\"\n"),
        filter => format!("[[tenant.stream.consumer]]\nname = \"{name}\"\nfilter = \"T.w.{filter}\"\n"),
    };
    let consumers: String = consumers.iter().map(consumer).collect();
    format!("[[tenant.stream]]\nname = \"W\"\nsubjects = [\"T.w.>\"]\nretention = \"{retention}\"\n{consumers}")
}

/// Fetches and acknowledges all that a consumer of W has.
async fn work_off(boss: &Connection, consumer: &str) -> usize {
    let js = jetstream::new(boss.client.clone());
    let consumer: jetstream::consumer::PullConsumer =
        js.get_consumer_from_stream(consumer, "W").await.expect("a consumer");
    let mut messages = consumer.fetch().max_messages(100).messages().await.expect("messages");
    let mut count = 0;
    while let Some(message) = messages.next().await {
        message.expect("a message").double_ack().await.expect("acknowledged");
        count += 1;
    }
    count
}

/// An interest stream drops what nobody waits for, at once.
#[tokio::test]
async fn a_consumer_is_split_without_a_loss() {
    let project = project(&with_consumers("interest", &[("all", "")]));
    let boss = boss(&project).await;
    store(&boss, "T.w.one", 3).await;
    store(&boss, "T.w.two", 4).await;
    let split = with_consumers("interest", &[("all", "one"), ("other", "two")]);
    project.write("tenants.toml", &project.on_own_ports(&format!("{HEAD}{split}")));
    assert_eq!(actions(&apply(&project, &[], 0)), ["create W/other", "update W/all"]);
    assert_eq!((work_off(&boss, "all").await, work_off(&boss, "other").await), (3, 4));
}

/// Nobody else is there for what it gives up.
#[tokio::test]
async fn a_consumer_gives_nothing_up_for_one_that_cannot_be_made() {
    let limited = |consumers: &[(&str, &str)]| {
        with_consumers("interest", consumers).replace("retention", "max_consumers = 2\nretention")
    };
    let project = project(&limited(&[("all", "")]));
    let boss = boss(&project).await;
    let own = json!({ "stream_name": "W", "config": { "filter_subject": "T.w.one", "ack_policy": "explicit", "inactive_threshold": 60_000_000_000_u64 } });
    ask(&boss, "$JS.API.CONSUMER.CREATE.W", own).await.expect("a client's own");
    store(&boss, "T.w.one", 3).await;
    store(&boss, "T.w.two", 5).await;
    project.write(
        "tenants.toml",
        &project.on_own_ports(&format!("{HEAD}{}", limited(&[("all", "one"), ("other", "two")]))),
    );
    let planned = plan(&project, 1);
    assert!(
        planned["changes"][0]["note"].as_str().is_some_and(|n| n.contains("would have 3 consumers")),
        "{planned:#}"
    );
    apply(&project, &[], 1);
    assert_eq!(info(&boss, "STREAM.INFO.W").await["state"]["messages"], 8);
}

/// nats-server 2.15.1 stores nothing for it afterwards; with a filter that covers all, which is the control, it does.
#[tokio::test]
async fn a_consumer_keeps_a_filter() {
    let project = project(&with_consumers("interest", &[("c", "x")]));
    let boss = boss(&project).await;
    let declare = |filter: &str| {
        project.write(
            "tenants.toml",
            &project.on_own_ports(&format!("{HEAD}{}", with_consumers("interest", &[("c", filter)]))),
        );
    };
    declare("");
    let refused = apply(&project, &[], 1);
    assert_eq!(actions(&refused), ["blocked W/c"], "{refused:#}");
    declare(">");
    apply(&project, &[], 0);
    store(&boss, "T.w.x", 3).await;
    store(&boss, "T.w.y", 4).await;
    assert_eq!(info(&boss, "STREAM.INFO.W").await["state"]["messages"], 7);
}

/// What the consumers of a stream get has the names that its transform makes.
#[test]
fn filters_are_of_what_a_stream_stores() {
    let filtered = |filter: &str| {
        let stream = "[[tenant.stream]]\nname = \"W\"\nsubjects = [\"T.w.>\"]\nsubject_transform = { src = \"T.w.>\", dest = \"T.t.>\" }\n";
        let text = format!("{HEAD}{stream}[[tenant.stream.consumer]]\nname = \"c\"\nfilter = \"{filter}\"\n");
        Project::with_registry(&text).run(&["check"]).code
    };
    assert_eq!((filtered("T.t.x"), filtered("T.w.x")), (0, 2));
}

/// The plan says it, and it is so; a consumer of another name gets all, which is the control.
#[tokio::test]
async fn a_consumer_that_is_past_what_it_is_to_get_is_noted() {
    let project = project(&with_consumers("workqueue", &[("one", "one"), ("two", "two")]));
    let boss = boss(&project).await;
    store(&boss, "T.w.two", 5).await;
    store(&boss, "T.w.one", 5).await;
    assert_eq!(work_off(&boss, "one").await, 5);
    let declare = |consumers: &[(&str, &str)]| {
        project
            .write("tenants.toml", &project.on_own_ports(&format!("{HEAD}{}", with_consumers("workqueue", consumers))));
    };
    declare(&[("one", "*")]);
    let noted = project.run(&["plan", "--delete", "T/W/two"]).exited(1).all();
    for words in ["it has got as far as message 10", "5 messages wait for it, and are for nobody until"] {
        assert!(noted.contains(words), "{words}: {noted}");
    }
    apply(&project, &["--delete", "T/W/two"], 0);
    assert_eq!(
        (work_off(&boss, "one").await, info(&boss, "STREAM.INFO.W").await["state"]["messages"].clone()),
        (0, json!(5))
    );
    declare(&[("new", "")]);
    apply(&project, &["--delete", "T/W/one"], 0);
    assert_eq!(work_off(&boss, "new").await, 5);
}

#[tokio::test]
async fn limits_for_consumers_go_down_with_theirs() {
    let limits = |most: u32, own: u32| {
        let text = with_consumers("limits", &[]);
        format!(
            "{HEAD}{text}consumer_limits = {{ max_ack_pending = {most} }}\n[[tenant.stream.consumer]]\nname = \"c\"\nmax_ack_pending = {own}\n"
        )
    };
    let project = Project::with_registry(&limits(100, 100));
    project.up();
    for (most, own) in [(50, 50), (80, 70)] {
        project.write("tenants.toml", &project.on_own_ports(&limits(most, own)));
        assert_eq!(apply(&project, &[], 0)["changes"].as_array().map(Vec::len), Some(2), "{most}");
        plan(&project, 0);
    }
    project.write("tenants.toml", &limits(60, 61));
    assert!(project.run(&["check"]).exited(2).stderr.contains("beyond-consumer-limits"));
}

/// A mirror of nats-server 2.15.1 takes nothing of a stream before that has higher numbers than it has itself.
#[tokio::test]
async fn the_copies_of_a_replaced_stream_go_on_with_the_new_one() {
    let streams = |storage: &str| {
        format!(
            "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.s\"]\nstorage = \"{storage}\"\n\
             [[tenant.stream]]\nname = \"M\"\n[tenant.stream.mirror]\nname = \"S\"\n"
        )
    };
    let project = project(&streams("file"));
    let boss = boss(&project).await;
    store(&boss, "T.s", 5).await;
    project.write("tenants.toml", &project.on_own_ports(&format!("{HEAD}{}", streams("memory"))));
    let applied = apply(&project, &["--replace", "T/S"], 0);
    assert!(applied["changes"][0]["note"].as_str().is_some_and(|n| n.contains("its copies (`M`)")), "{applied:#}");
    store(&boss, "T.s", 3).await;
    assert_eq!(info(&boss, "STREAM.INFO.S").await["state"]["first_seq"], 6);
    eventually("the mirror has all", || async { info(&boss, "STREAM.INFO.M").await["state"]["messages"] == 8 }).await;
    plan(&project, 0);
}

#[tokio::test]
async fn a_paused_consumer_is_not_as_declared() {
    let project = project(&with_consumers("limits", &[("c", "x")]));
    let boss = boss(&project).await;
    assert_eq!(actions(&plan(&project, 0)), [""; 0]);
    ask(&boss, "$JS.API.CONSUMER.PAUSE.W.c", json!({ "pause_until": "2100-01-01T00:00:00Z" })).await.expect("paused");
    assert_eq!(actions(&plan(&project, 0)), ["paused W/c"]);
    let shown = project.run(&["plan"]).succeeded().stdout;
    assert!(shown.contains("W/c: paused until 2100-01-01T00:00:00Z") && shown.contains("1 paused"), "{shown}");
}

#[tokio::test]
async fn what_a_push_consumer_delivers_goes_elsewhere_when_nobody_is_subscribed() {
    let pushing = |to: &str| {
        let text = with_consumers("limits", &[("c", "x")]);
        format!("{HEAD}{text}deliver_subject = \"T.push.{to}\"\n")
    };
    let project = Project::with_registry(&pushing("one"));
    project.up();
    let boss = boss(&project).await;
    let subscription = boss.client.subscribe("T.push.one").await.expect("subscribed");
    let is_bound = || async { info(&boss, "CONSUMER.INFO.W.c").await["push_bound"] == true };
    eventually("the consumer is in use", is_bound).await;
    project.write("tenants.toml", &project.on_own_ports(&pushing("two")));
    let planned = plan(&project, 1);
    assert!(
        planned["changes"][0]["note"].as_str().is_some_and(|n| n.contains("somebody is subscribed")),
        "{planned:#}"
    );
    apply(&project, &[], 1);
    drop(subscription);
    eventually("nobody is subscribed", || async { !is_bound().await }).await;
    apply(&project, &[], 0);
}

#[tokio::test]
async fn filters_do_not_change_before_their_stream() {
    let stream = |subject: &str| {
        format!(
            "[[tenant.stream]]\nname = \"J\"\nsubjects = [\"T.{subject}.>\"]\nretention = \"interest\"\n\
             [[tenant.stream.consumer]]\nname = \"w\"\nfilter = \"T.{subject}.>\"\n"
        )
    };
    let project = project(&stream("old"));
    let boss = boss(&project).await;
    store(&boss, "T.old.1", 5).await;
    ask(&boss, "$JS.API.STREAM.CREATE.LEGACY", json!({ "name": "LEGACY", "subjects": ["T.new.>"] }))
        .await
        .expect("made");
    project.write("tenants.toml", &project.on_own_ports(&format!("{HEAD}{}", stream("new"))));
    let applied = apply(&project, &[], 1);
    assert!(actions(&applied).contains(&"blocked J/w".to_owned()), "{applied:#}");
    store(&boss, "T.old.2", 5).await;
    assert_eq!(info(&boss, "STREAM.INFO.J").await["state"]["messages"], 10);
    apply(&project, &["--delete", "T/LEGACY"], 0);
    assert_eq!(info(&boss, "CONSUMER.INFO.J.w").await["config"]["filter_subject"], "T.new.>");
}

/// nats-server refuses limits below what a consumer has (10069), and a consumer above the limits (10121).
#[tokio::test]
async fn of_limits_for_consumers_one_rises_and_one_falls() {
    let limits = |pending: u32, threshold: &str| {
        let both = format!("max_ack_pending = {pending}, inactive_threshold = \"{threshold}\"");
        let text = with_consumers("limits", &[]);
        let consumer = format!("[[tenant.stream.consumer]]\nname = \"c\"\n{}\n", both.replace(", ", "\n"));
        format!("{HEAD}{text}consumer_limits = {{ {both} }}\n{consumer}")
    };
    let project = Project::with_registry(&limits(100, "2h"));
    project.up();
    let boss = boss(&project).await;
    for (pending, threshold) in [(500, "1h"), (50, "3h")] {
        project.write("tenants.toml", &project.on_own_ports(&limits(pending, threshold)));
        apply(&project, &[], 0);
        plan(&project, 0);
        assert_eq!(info(&boss, "STREAM.INFO.W").await["config"]["consumer_limits"]["max_ack_pending"], pending);
        assert_eq!(info(&boss, "CONSUMER.INFO.W.c").await["config"]["max_ack_pending"], pending);
    }
    let own = json!({ "stream_name": "W", "config": { "durable_name": "mine", "ack_policy": "explicit", "max_ack_pending": 40, "inactive_threshold": 0 } });
    ask(&boss, "$JS.API.CONSUMER.CREATE.W.mine", own).await.expect("somebody's own");
    project.write("tenants.toml", &project.on_own_ports(&limits(30, "3h")));
    let planned = plan(&project, 1);
    assert!(planned["changes"][0]["note"].as_str().is_some_and(|n| n.contains("--delete T/W/mine")), "{planned:#}");
    apply(&project, &[], 1);
    apply(&project, &["--delete", "T/W/mine"], 0);
    plan(&project, 0);
}

/// What the server makes to read a source is its own.
#[tokio::test]
async fn a_source_of_a_work_queue_shows_nothing_that_is_not_declared() {
    let copy = "[[tenant.stream]]\nname = \"G\"\n[[tenant.stream.source]]\nname = \"W\"\n";
    let project = project(&format!("{}{copy}", with_consumers("workqueue", &[])));
    let boss = boss(&project).await;
    let listed = || async { info(&boss, "CONSUMER.LIST.W").await["consumers"].as_array().map_or(0, Vec::len) };
    eventually("the server reads the source", || async { listed().await == 1 }).await;
    assert_eq!(actions(&plan(&project, 0)), [""; 0]);
    project.write(
        "tenants.toml",
        &project.on_own_ports(&format!("{HEAD}{}{copy}", with_consumers("workqueue", &[("c", "")]))),
    );
    assert_eq!(actions(&plan(&project, 1)), ["create W/c"]);
    apply(&project, &[], 0);
}

/// While somebody publishes: what was acknowledged is in one of the two, and then in the new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_renamed_without_a_loss() {
    let old = with_consumers("limits", &[]);
    let both = format!("{old}[[tenant.stream]]\nname = \"NEW\"\n[[tenant.stream.source]]\nname = \"W\"\n");
    let new = old.replace("\"W\"", "\"NEW\"");
    let project = project(&old);
    let boss = boss(&project).await;
    store(&boss, "T.w.x", 500).await;
    project.write("tenants.toml", &project.on_own_ports(&format!("{HEAD}{both}")));
    apply(&project, &[], 0);
    let publisher = project.connect("T/boss").await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let publishing = tokio::spawn(async move {
        let js = jetstream::new(publisher.client.clone());
        let (mut stopped, mut acknowledged) = (stopped, 0u64);
        while stopped.try_recv().is_err() {
            let published = js.publish("T.w.x", "live".into()).await.expect("published");
            acknowledged += u64::from(published.await.is_ok());
        }
        acknowledged
    });
    project.write("tenants.toml", &project.on_own_ports(&format!("{HEAD}{new}")));
    apply(&project, &["--delete", "T/W"], 0);
    stop.send(()).expect("it publishes");
    let acknowledged = publishing.await.expect("a number");
    assert_eq!(info(&boss, "STREAM.NAMES").await["streams"], json!(["NEW"]));
    let held = || async { info(&boss, "STREAM.INFO.NEW").await["state"]["messages"].as_u64() };
    assert_eq!(held().await, Some(500 + acknowledged));
}

/// `check` does not know the functions of transforms, the server does.
#[tokio::test]
async fn a_stream_that_could_not_be_made_again_is_not_deleted() {
    let project = project(&with_consumers("limits", &[("c", "")]));
    let boss = boss(&project).await;
    store(&boss, "T.w.x", 5).await;
    project.edit(
        "retention",
        "storage = \"memory\"\nsubject_transform = { src = \"T.w.*\", dest = \"T.w.{{unheard(1)}}\" }\nretention",
    );
    let said = project.run(&["apply", "--replace", "T/W"]).exited(1).all();
    assert!(said.contains("nothing was deleted, because the new one would be refused"), "{said}");
    let streams = info(&boss, "STREAM.NAMES").await["streams"].clone();
    assert_eq!((streams, info(&boss, "STREAM.INFO.W").await["state"]["messages"].clone()), (json!(["W"]), json!(5)));
    project.edit("{{unheard(1)}}", "{{wildcard(1)}}");
    project.run(&["apply", "--replace", "T/W"]).succeeded();
    assert_eq!(info(&boss, "STREAM.NAMES").await["streams"], json!(["W"]), "nothing of the trial is left");
}

/// Others are served by `up` meanwhile.
#[tokio::test]
async fn what_somebody_else_raised_drops_nothing_unless_it_is_named() {
    let project = project("[[tenant.stream]]\nname = \"L\"\nsubjects = [\"T.l.>\"]\nmax_msgs = 5\n");
    let boss = boss(&project).await;
    let mut config = info(&boss, "STREAM.INFO.L").await["config"].clone();
    config["max_msgs"] = json!(1000);
    ask(&boss, "$JS.API.STREAM.UPDATE.L", config).await.expect("an answer");
    store(&boss, "T.l.x", 20).await;
    let held = || async { info(&boss, "STREAM.INFO.L").await["state"]["messages"].as_u64() };
    project.run(&["tenant", "add", "X", "--storage", "1MiB"]).succeeded();
    let said = project.run(&["up"]).exited(1).all();
    for words in ["the oldest 15 of 20 messages are dropped", "somebody else changed it", "apply --replace T/L"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(held().await, Some(20));
    project.connect("X/app").await;
    assert_eq!(actions(&project.run(&["plan", "--replace", "T/L", "--format", "json"]).exited(1).json()), ["update L"]);
    project.run(&["apply", "--replace", "T/L"]).succeeded();
    assert_eq!(held().await, Some(5));
}

/// As `plan` says: a stream beyond its limit that begins to discard old messages.
#[tokio::test]
async fn what_a_stream_keeps_only_because_it_refuses_new_messages_is_told() {
    let project =
        project("[[tenant.stream]]\nname = \"L\"\nsubjects = [\"T.l.>\"]\ndiscard = \"new\"\nmax_msgs = 100\n");
    let boss = boss(&project).await;
    store(&boss, "T.l.x", 20).await;
    let held = || async { info(&boss, "STREAM.INFO.L").await["state"]["messages"].as_u64() };
    project.edit("max_msgs = 100", "max_msgs = 4");
    apply(&project, &[], 0);
    assert_eq!(held().await, Some(20));
    project.edit("discard = \"new\"\n", "");
    let planned = plan(&project, 1);
    assert_eq!(planned["changes"][0]["note"], "the oldest 16 of 20 messages are dropped", "{planned:#}");
    apply(&project, &[], 0);
    assert_eq!(held().await, Some(4));
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
    // The server's permissions are those of the streams only after a reload.
    assert_eq!(plan(&project, 1)["reload"], true);
    project.up();
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

/// What a plan says of streams it reads as the provisioner that the server knows, and not as the one that is to come.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_reads_streams_while_the_provisioner_changes() {
    let stream = "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.s\"]\nmax_msgs = 100\n";
    let project = project(stream);
    store(&boss(&project).await, "T.s", 5).await;
    project.edit("max_msgs = 100", "max_msgs = 3");
    let drops = "the oldest 2 of 5 messages are dropped";
    assert!(project.run(&["plan"]).exited(1).all().contains(drops), "the control");
    project.run(&["user", "rotate", "T/provisioner"]).succeeded();
    assert!(project.run(&["plan"]).exited(1).all().contains(drops));
    project.run(&["up"]).exited(0);
    project.edit("max_msgs = 3", "max_msgs = 2");
    project.edit("name = \"app\"\n", "name = \"app\"\n[[tenant.user]]\nname = \"hands\"\nrole = \"provisioner\"\n");
    let planned = project.run(&["plan"]).all();
    assert!(!planned.contains("not let in"), "{planned}");
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
