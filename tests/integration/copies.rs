//! Streams that one tenant copies from another: what is shared arrives, and there is
//! no way to anything beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_nats::jetstream;
use futures_util::StreamExt as _;
use serde_json::{Value as Json, json};

use crate::provision::store;
use crate::support::{Connection, Project, ask, eventually};

/// The importer stands first, so that its copy is made before there is anything to copy.
const REGISTRY: &str = r#"version = 1
[server]
client = "127.0.0.1:4222"
[server.jetstream]
storage = "1GiB"

[[tenant]]
name = "SHOP"
[tenant.jetstream]
storage = "64MiB"
[[tenant.user]]
name = "admin"
role = "admin"
[[tenant.user]]
name = "app"
[[tenant.stream]]
name = "COPY"
max_bytes = "1MiB"
[[tenant.stream.source]]
name = "ORDERS"
from = "MILL"
subject_transforms = [{ src = "MILL.orders.>", dest = "SHOP.orders.>" }]
[[tenant.stream.consumer]]
name = "reader"

[[tenant]]
name = "MILL"
[tenant.jetstream]
storage = "64MiB"
[[tenant.user]]
name = "admin"
role = "admin"
[[tenant.user]]
name = "app"
[[tenant.stream]]
name = "ORDERS"
subjects = ["MILL.orders.>", "MILL.prices.>"]
max_bytes = "1MiB"
[[tenant.stream.consumer]]
name = "worker"
[[tenant.stream]]
name = "SECRETS"
subjects = ["MILL.secrets.>"]
max_bytes = "1MiB"

[[tenant]]
name = "STRANGER"
[tenant.jetstream]
storage = "64MiB"
[[tenant.user]]
name = "admin"
role = "admin"
[[tenant.stream]]
name = "MIRROR"
max_bytes = "1MiB"
mirror = { name = "ORDERS", from = "MILL" }

[[share]]
from = "MILL"
to = ["SHOP"]
jetstream = "ORDERS"
filter = "MILL.orders.>"
[[share]]
from = "MILL"
to = ["STRANGER"]
jetstream = "ORDERS"
"#;

/// A registry of one tenant, without its streams.
const A: &str = r#"version = 1
[server]
client = "127.0.0.1:4222"
[server.jetstream]
storage = "64MiB"
memory = "64MiB"
[[tenant]]
name = "A"
[tenant.jetstream]
storage = "16MiB"
memory = "16MiB"
[[tenant.user]]
name = "admin"
role = "admin"
"#;

/// A stream of that tenant.
fn stream(name: &str, storage: &str, more: &str) -> String {
    format!("[[tenant.stream]]\nname = \"{name}\"\nstorage = \"{storage}\"\nmax_bytes = \"1MiB\"\n{more}\n")
}

async fn messages(who: &Connection, stream: &str) -> u64 {
    let info = ask(who, &format!("$JS.API.STREAM.INFO.{stream}"), Json::Null).await.expect("an answer");
    info["state"]["messages"].as_u64().unwrap_or_default()
}

async fn arrive(who: &Connection, stream: &str, count: u64) {
    eventually(&format!("{count} messages in {stream}"), async || messages(who, stream).await == count).await;
}

/// More messages than may be pending: the importer's server asks for more by flow control, over the accounts.
#[tokio::test]
async fn a_copy_of_many_messages_is_complete() {
    // With a service between them, acknowledgements and flow control name their account.
    let service = "[[share]]\nfrom = \"MILL\"\nto = [\"SHOP\"]\nservice = \"MILL.ask\"\n";
    for (more, names_account) in [("", false), (service, true)] {
        let project = Project::with_registry(&format!("{REGISTRY}{more}"));
        project.up();
        assert_eq!(project.read("infra/nats/nats-server.conf").contains("js_ack_fc_v2: true"), names_account);
        let mill = project.connect("MILL/app").await;
        for i in 0..5_000 {
            mill.client.publish("MILL.orders.7", i.to_string().into()).await.expect("published");
        }
        mill.client.flush().await.expect("flushed");
        let shop = project.connect("SHOP/app").await;
        arrive(&shop, "COPY", 5_000).await;
    }
}

/// Declares the shared stream as one that the server has to replace.
fn keep_in_memory(project: &Project) {
    project.edit("name = \"ORDERS\"\nsubjects", "name = \"ORDERS\"\nstorage = \"memory\"\nsubjects");
    project.edit("name = \"MILL\"\n[tenant.jetstream]", "name = \"MILL\"\n[tenant.jetstream]\nmemory = \"8MiB\"");
    project.edit("[server.jetstream]", "[server.jetstream]\nmemory = \"16MiB\"");
    tokio::task::block_in_place(|| project.run(&["up"]).exited(1));
}

/// What is acknowledged while a stream is replaced, and before and after, is in each of its copies once.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_replaced_is_copied_on() {
    let project = Project::with_registry(REGISTRY);
    project.up();
    let mill = project.connect("MILL/app").await;
    store(&mill, "MILL.orders.7", 30).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let publishing = tokio::spawn({
        let (js, is_over) = (jetstream::new(mill.client.clone()), Arc::clone(&is_over));
        async move {
            let (mut stored, mut refused) = (30, 0);
            while !is_over.load(Ordering::Relaxed) {
                let acknowledged = js.publish("MILL.orders.7", "more".into()).await.expect("published").await;
                *(if acknowledged.is_ok() { &mut stored } else { &mut refused }) += 1;
            }
            (stored, refused)
        }
    });
    keep_in_memory(&project);
    let apply = ["apply", "--replace", "MILL/ORDERS", "--format", "json"];
    let applied = tokio::task::block_in_place(|| project.run(&apply).succeeded()).json();
    // What went is counted when it goes: publishers went on until then.
    let info = ask(&mill, "$JS.API.STREAM.INFO.ORDERS", json!({})).await.expect("an answer");
    let first = info["state"]["first_seq"].as_u64().expect("a number");
    assert_eq!(applied["changes"][0]["messages"], first - 1, "{applied}");
    assert!(first > 31, "the control: more than there were at first");
    let after = messages(&mill, "ORDERS").await;
    eventually("more messages in the new one", async || messages(&mill, "ORDERS").await > after + 100).await;
    is_over.store(true, Ordering::Relaxed);
    let (stored, refused) = publishing.await.expect("it ends");
    assert!(refused > 0, "the control: it was closed for a moment, and published to all the time");
    for (who, copy) in [("SHOP/admin", "COPY"), ("STRANGER/admin", "MIRROR")] {
        arrive(&project.connect(who).await, copy, stored).await;
    }
    assert!(messages(&mill, "ORDERS").await < stored, "the control: it is a new one");
    project.run(&["plan"]).succeeded();
}

/// A copy takes its time to find a stream that was made anew. Meanwhile the server says that it lacks nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_replaced_twice_is_copied_in_between() {
    let registry = |storage: &str| {
        format!(
            "{A}\
             [[tenant.stream]]\nname = \"S\"\nsubjects = [\"A.s\"]\nstorage = \"{storage}\"\nmax_bytes = \"1MiB\"\nmax_msgs = 100\n\
             [[tenant.stream]]\nname = \"MIRROR\"\nmax_bytes = \"1MiB\"\nmirror = {{ name = \"S\" }}\n\
             [[tenant.stream]]\nname = \"COPY\"\nmax_bytes = \"1MiB\"\n[[tenant.stream.source]]\nname = \"S\"\n"
        )
    };
    let project = Project::with_registry(&registry("file"));
    project.up();
    let admin = project.connect("A/admin").await;
    let mut stored = 0;
    for storage in ["memory", "file"] {
        store(&admin, "A.s", 20).await;
        project.write("tenants.toml", &project.on_own_ports(&registry(storage)));
        let replacing = tokio::task::spawn_blocking({
            let mut command = project.command(&["apply", "--replace", "A/S"]);
            move || command.output().expect("it runs")
        });
        // What is stored before its copies find it stays, whatever its limit.
        let js = jetstream::new(admin.client.clone());
        while !replacing.is_finished() {
            let acknowledged = js.publish("A.s", "more".into()).await.expect("published").await;
            stored += u64::from(acknowledged.is_ok());
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let replaced = replacing.await.expect("it ends");
        assert!(replaced.status.success(), "{}", String::from_utf8_lossy(&replaced.stdout));
    }
    let of_both = async || [messages(&admin, "MIRROR").await, messages(&admin, "COPY").await];
    let all = [stored + 40, stored + 40];
    eventually(&format!("{all:?} in the copies, of {:?}", of_both().await), async || of_both().await == all).await;
    assert!(stored > 200, "the control: {stored} were stored meanwhile");
    assert_eq!(messages(&admin, "S").await, 100, "the control: it has its limit again");
}

/// A stream with subjects of its own and a source has all of its source again, whatever is published to it meanwhile; and its source
/// is not emptied before a copy that is new has begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_a_source_and_subjects_of_its_own_has_all_of_its_source_again() {
    let registry = |storage: &str, new: &str| {
        let stream = |name: &str, more: &str| stream(name, storage, more);
        format!(
            "{A}{}{}{new}",
            stream("X", "subjects = [\"A.x\"]"),
            stream("Y", "subjects = [\"A.y\"]\n[[tenant.stream.source]]\nname = \"X\""),
        )
    };
    let project = Project::with_registry(&registry("file", ""));
    project.up();
    let admin = project.connect("A/admin").await;
    store(&admin, "A.x", 100).await;
    arrive(&admin, "Y", 100).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let publishing = tokio::spawn({
        let (js, is_over) = (jetstream::new(admin.client.clone()), Arc::clone(&is_over));
        async move {
            while !is_over.load(Ordering::Relaxed) {
                let _ = js.publish("A.y", "more".into()).await.expect("published").await;
            }
        }
    });
    let new = "[[tenant.stream]]\nname = \"NEW\"\nmax_bytes = \"1MiB\"\n[[tenant.stream.source]]\nname = \"X\"\n";
    project.write("tenants.toml", &project.on_own_ports(&registry("memory", new)));
    let both = ["apply", "--replace", "A/X", "--replace", "A/Y"];
    let said = tokio::task::block_in_place(|| project.run(&both).exited(1)).all();
    assert!(said.contains("`NEW` is to copy it and has nothing of it yet"), "{said}");
    assert_eq!(messages(&admin, "X").await, 100);
    let of_x = async |stream: &str| {
        let asked = json!({ "subjects_filter": "A.x" });
        let info = ask(&admin, &format!("$JS.API.STREAM.INFO.{stream}"), asked).await.expect("an answer");
        info["state"]["subjects"]["A.x"].as_u64().unwrap_or_default()
    };
    for stream in ["Y", "NEW"] {
        eventually("all of its source", async || of_x(stream).await == 100).await;
    }
    // Now that the new one has begun.
    tokio::task::block_in_place(|| project.run(&["apply", "--replace", "A/X"]).succeeded());
    assert_eq!(messages(&admin, "X").await, 0, "the control: it is a new one");
    is_over.store(true, Ordering::Relaxed);
    publishing.await.expect("it ends");
    assert_eq!([of_x("Y").await, of_x("NEW").await], [100, 100]);
}

/// An interest stream keeps for its consumers what is published before they are made.
#[tokio::test(flavor = "multi_thread")]
async fn an_interest_stream_that_is_replaced_loses_nothing_before_its_consumer_is_there() {
    let registry = |storage: &str| {
        format!(
            "{A}\
             [[tenant.stream]]\nname = \"S\"\nsubjects = [\"A.s\"]\nstorage = \"{storage}\"\nretention = \"interest\"\n\
             [[tenant.stream.consumer]]\nname = \"w\"\n"
        )
    };
    let project = Project::with_registry(&registry("file"));
    project.up();
    let admin = project.connect("A/admin").await;
    let is_over = Arc::new(AtomicBool::new(false));
    let publishing = tokio::spawn({
        let (js, is_over) = (jetstream::new(admin.client.clone()), Arc::clone(&is_over));
        async move {
            let mut stored = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let acknowledged = js.publish("A.s", "more".into()).await.expect("published").await;
                stored.extend(acknowledged.ok().map(|acknowledged| acknowledged.sequence));
            }
            stored
        }
    });
    for storage in ["memory", "file"] {
        project.write("tenants.toml", &project.on_own_ports(&registry(storage)));
        tokio::task::block_in_place(|| project.run(&["apply", "--replace", "A/S"]).succeeded());
    }
    let before = messages(&admin, "S").await;
    eventually("more messages in the new one", async || messages(&admin, "S").await > before + 100).await;
    is_over.store(true, Ordering::Relaxed);
    let stored = publishing.await.expect("it ends");
    let info = ask(&admin, "$JS.API.STREAM.INFO.S", json!({})).await.expect("an answer");
    let first = info["config"]["first_seq"].as_u64().expect("it goes on with the numbers of the old one");
    let expected = stored.iter().filter(|number| **number >= first).count();
    assert_eq!(info["state"]["messages"], expected, "{info}");
    assert!(expected > 100 && stored.len() > expected, "the control: it is a new one");
    assert_eq!(info["config"]["retention"], "interest");
    project.run(&["plan"]).succeeded();
}

/// A copy that is replaced in the same command as what it copies has all of it before that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_and_its_copies_that_are_replaced_at_once_keep_what_there_was() {
    let registry = |storage: &str| {
        let stream = |name: &str, more: &str| stream(name, storage, more);
        format!(
            "{A}{}{}{}",
            stream("S", "subjects = [\"A.s\"]"),
            stream("MIRROR", "mirror = { name = \"S\" }"),
            stream("COPY", "[[tenant.stream.source]]\nname = \"S\""),
        )
    };
    let project = Project::with_registry(&registry("file"));
    project.up();
    let admin = project.connect("A/admin").await;
    store(&admin, "A.s", 100).await;
    for copy in ["MIRROR", "COPY"] {
        arrive(&admin, copy, 100).await;
    }
    project.write("tenants.toml", &project.on_own_ports(&registry("memory")));
    let planned = project.run(&["plan"]).exited(1).all();
    let hint = |name: &str| planned.find(&format!("--replace A/{name}\n")).unwrap_or(usize::MAX);
    assert!(hint("COPY") < hint("S") && hint("MIRROR") < hint("S") && hint("S") < usize::MAX, "{planned}");
    let all = ["apply", "--replace", "A/S", "--replace", "A/MIRROR", "--replace", "A/COPY"];
    let applied = tokio::task::block_in_place(|| project.run(&all).succeeded()).all();
    assert!(applied.contains("`S` holds 100 messages"), "{applied}");
    store(&admin, "A.s", 5).await;
    for copy in ["MIRROR", "COPY"] {
        arrive(&admin, copy, 105).await;
    }
    assert_eq!(messages(&admin, "S").await, 5, "the control: it is a new one");
}

/// Nobody can publish to a stream that a replacement has closed, until the next `apply`.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_left_closed_is_opened_again() {
    let project = Project::with_registry(REGISTRY);
    project.up();
    keep_in_memory(&project);
    let (mill, admin) = (project.connect("MILL/app").await, project.connect("MILL/admin").await);
    let info = ask(&admin, "$JS.API.STREAM.INFO.ORDERS", json!({})).await.expect("an answer");
    let mut closed = info["config"].clone();
    closed["subjects"] = json!(["tenantry-closed.ORDERS"]);
    let closed = ask(&admin, "$JS.API.STREAM.UPDATE.ORDERS", closed).await.expect("an answer");
    assert!(closed["error"].is_null(), "{closed}");
    let planned = tokio::task::block_in_place(|| project.run(&["plan"]).exited(1).all());
    assert!(planned.contains("nobody can publish to it") && !planned.contains("ORDERS, changed by hand"), "{planned}");
    let applied = tokio::task::block_in_place(|| project.run(&["apply"]).exited(1).all());
    assert!(applied.contains("~ stream ORDERS") && applied.contains("cannot be changed in place"), "{applied}");
    store(&mill, "MILL.orders.7", 1).await;
}

/// A copy that is not sent what it has still to copy would never get it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_not_replaced_while_a_copy_lacks_some_of_it() {
    let project = Project::with_registry(REGISTRY);
    project.up();
    let (mill, admin) = (project.connect("MILL/app").await, project.connect("MILL/admin").await);
    let pause = async |until: &str| {
        let body = json!({ "pause_until": until });
        let paused = ask(&admin, "$JS.API.CONSUMER.PAUSE.ORDERS.MILL_to_SHOP", body).await.expect("an answer");
        assert!(paused["error"].is_null(), "{paused}");
    };
    pause("2099-01-01T00:00:00Z").await;
    store(&mill, "MILL.orders.7", 5).await;
    keep_in_memory(&project);
    let replace = || tokio::task::block_in_place(|| project.run(&["apply", "--replace", "MILL/ORDERS"]));
    let told = replace().exited(1).all();
    let why = "nothing was deleted, because `COPY` of SHOP has 5 of its messages still to copy, and what sends them is paused until 2099";
    assert!(told.contains(why), "{told}");
    store(&mill, "MILL.orders.7", 1).await;
    pause("2020-01-01T00:00:00Z").await;
    replace().succeeded();
    arrive(&project.connect("SHOP/admin").await, "COPY", 6).await;
}

/// Two streams on one share would each get a part of the messages.
#[tokio::test]
async fn a_renamed_copy_waits_until_the_old_one_is_deleted() {
    let project = Project::with_registry(REGISTRY);
    project.up();
    let mill = project.connect("MILL/app").await;
    store(&mill, "MILL.orders.7", 5).await;
    arrive(&project.connect("SHOP/app").await, "COPY", 5).await;
    project.edit("name = \"COPY\"", "name = \"RENAMED\"");
    let plan = project.run(&["plan", "--format", "json"]).exited(1).json();
    let blocked = plan["changes"].as_array().expect("changes").iter().find(|change| change["stream"] == "RENAMED");
    assert_eq!(blocked.expect("the new one")["blocked_by"], "COPY", "{plan}");
    project.run(&["up"]).exited(1);
    store(&mill, "MILL.orders.8", 3).await;
    project.run(&["apply", "--delete", "SHOP/COPY"]).succeeded();
    arrive(&project.connect("SHOP/app").await, "RENAMED", 8).await;
}

/// Who writes what a stream captures reaches who reads the other tenant's copy.
#[test]
fn explain_follows_a_copy() {
    let project = Project::with_registry(REGISTRY);
    let explain = |more: &[&str]| {
        let ran = project.run(&[&["explain", "--format", "json"], more].concat());
        (ran.code, ran.json())
    };
    let on = |from: &str, to: &str, subject: &str| {
        let (_, json) = explain(&["--from", from, "--to", to, "--subject", subject]);
        let paths = json["pairs"][0]["paths"].as_array().expect("paths").clone();
        paths.iter().map(|path| path["arrives_as"].as_str().expect("a subject").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(on("MILL/app", "SHOP/app", "MILL.orders.7"), ["SHOP.orders.>"]);
    assert_eq!(on("MILL/app", "SHOP/app", "MILL.prices.7"), [""; 0], "the share has a filter");
    assert_eq!(on("MILL/app", "STRANGER/admin", "MILL.prices.7"), ["MILL.prices.7"]);
    assert_eq!(on("MILL/app", "STRANGER/admin", "MILL.secrets.7"), [""; 0], "another stream");
    // The file alone does not say what the stream captures.
    project.run(&["render"]).succeeded();
    let conf = "infra/nats/nats-server.conf";
    let (code, _) = explain(&["--conf", conf, "--from", "MILL", "--to", "SHOP", "--subject", "MILL.orders.7"]);
    assert_eq!(code, 3);
    let (code, _) = explain(&["--conf", conf, "--from", "STRANGER", "--to", "SHOP"]);
    assert_eq!(code, 0);
}

#[tokio::test]
async fn a_copy_follows_its_stream_and_has_what_is_shared() {
    let project = Project::with_registry(REGISTRY);
    project.up();
    project.run(&["plan"]).succeeded();
    let mill = project.connect("MILL/app").await;
    let shop = project.connect("SHOP/app").await;
    let stranger = project.connect("STRANGER/admin").await;
    store(&mill, "MILL.orders.7", 5).await;
    store(&mill, "MILL.prices.7", 3).await;
    arrive(&shop, "COPY", 5).await;
    arrive(&stranger, "MIRROR", 8).await;
    // What is copied is not behind, though nothing but flow control acknowledges it.
    let status = project.run(&["status", "--format", "json"]).succeeded().json();
    let tenants = status["tenants"].as_array().expect("tenants");
    let mill_status = tenants.iter().find(|t| t["tenant"] == "MILL").expect("MILL");
    assert_eq!(mill_status["jetstream"]["lag"], 8, "the exporter's own worker is: {status}");

    // It is read as any other stream, under the importer's own subjects.
    let consumer: jetstream::consumer::PullConsumer =
        jetstream::new(shop.client.clone()).get_consumer_from_stream("reader", "COPY").await.expect("the consumer");
    let mut batch = consumer.fetch().max_messages(5).messages().await.expect("a batch");
    for i in 0..5 {
        let message = batch.next().await.expect("a message").expect("a message");
        assert_eq!((message.subject.as_str(), message.payload.as_ref()), ("SHOP.orders.7", i.to_string().as_bytes()));
        message.ack().await.expect("acknowledged");
    }

    // A restart loses nothing and takes nothing twice.
    project.run(&["down"]).succeeded();
    project.up();
    let mill = project.connect("MILL/app").await;
    let shop = project.connect("SHOP/app").await;
    store(&mill, "MILL.orders.8", 4).await;
    arrive(&shop, "COPY", 9).await;
    project.run(&["plan"]).succeeded();
}

/// What the registry renders is proved like everything else; and what the proof says
/// is taken out of the copies again.
#[tokio::test]
async fn copies_are_proved_and_left_as_they_were() {
    let everything = REGISTRY
        .replace("\"MILL.orders.>\", \"MILL.prices.>\"", "\"MILL.>\"")
        .replace("subjects = [\"MILL.secrets.>\"]", "subjects = [\"MILL.secrets\"]\nmirror = { name = \"ORDERS\" }")
        .replace("filter = \"MILL.orders.>\"\n", "")
        .replace("src = \"MILL.orders.>\", dest = \"SHOP.orders.>\"", "src = \"MILL.>\", dest = \"SHOP.orders.>\"");
    let project = Project::with_registry(&everything.replace("subjects = [\"MILL.secrets\"]\n", ""));
    project.up();
    let audit = project.run(&["audit", "infra/nats/nats-server.conf", "--format", "json"]).json();
    // Inside the container it listens on the container's own network.
    let of_copy = |finding: &&Json| finding["rule"] != "clear-text";
    let found: Vec<&Json> = audit["findings"].as_array().expect("findings").iter().filter(of_copy).collect();
    assert!(found.is_empty(), "what a copy needs is nothing to find fault with: {found:?}");
    let mill = project.connect("MILL/app").await;
    let shop = project.connect("SHOP/app").await;
    let stranger = project.connect("STRANGER/admin").await;
    store(&mill, "MILL.x", 4).await;
    let url = project.creds("MILL/app").url;
    let report = project.run(&["verify", "--server", &url, "--format", "json"]).succeeded().json();
    assert_eq!(report["verdict"], "isolated");
    for (who, stream) in [(&mill, "ORDERS"), (&mill, "SECRETS"), (&shop, "COPY"), (&stranger, "MIRROR")] {
        arrive(who, stream, 4).await;
        let info = ask(who, &format!("$JS.API.STREAM.INFO.{stream}"), Json::Null).await.expect("an answer");
        assert_eq!(info["state"]["last_seq"], 4, "{stream} stored something of the proof: {info}");
    }
}

#[tokio::test]
async fn an_importer_gets_at_nothing_else() {
    let project = Project::with_registry(REGISTRY);
    project.up();
    let mill = project.connect("MILL/app").await;
    let admin = project.connect("SHOP/admin").await;
    // Nobody of the importer stands in the server's way of delivery.
    for subject in ["JS.MILL.ORDERS.to.SHOP", "JS.MILL.>", "$JS.FC.>"] {
        admin.cannot_subscribe(subject).await;
        admin.cannot_join_queue(subject, "q").await;
    }
    for subject in ["JS.MILL.API.CONSUMER.RESET.ORDERS.MILL_to_SHOP", "JS.MILL.ORDERS.to.SHOP"] {
        admin.cannot_publish(subject).await;
    }

    // Its administrator may make any stream, and thereby have the server ask for anything:
    // other streams, the exporter's own consumer, another importer's, a consumer of its own making.
    let external = |stream: &str| json!({ "name": stream, "external": { "api": "JS.MILL.API", "deliver": "" } });
    let by = |stream: &str, consumer: &str, deliver: &str| {
        let mut source = external(stream);
        source["consumer"] = json!({ "name": consumer, "deliver_subject": deliver });
        source
    };
    let mut forged = external("ORDERS");
    forged["external"]["deliver"] = "MILL.orders".into();
    let attacks = [
        external("ORDERS"),
        external("SECRETS"),
        forged,
        by("SECRETS", "MILL_to_SHOP", "JS.MILL.ORDERS.to.SHOP"),
        by("ORDERS", "worker", "JS.MILL.ORDERS.to.SHOP"),
        by("ORDERS", "MILL_to_STRANGER", "JS.MILL.ORDERS.to.STRANGER"),
        by("ORDERS", "MILL_to_STRANGER", "JS.MILL.ORDERS.to.SHOP"),
    ];
    for (i, source) in attacks.iter().enumerate() {
        let config = json!({ "name": format!("X{i}"), "sources": [source], "max_bytes": 100_000 });
        let made = ask(&admin, &format!("$JS.API.STREAM.CREATE.X{i}"), config).await.expect("an answer");
        assert!(made["error"].is_null(), "{made}");
    }
    store(&mill, "MILL.secrets.1", 3).await;
    store(&mill, "MILL.prices.1", 3).await;
    // The control: the same server, the declared copy.
    store(&mill, "MILL.orders.1", 3).await;
    arrive(&admin, "COPY", 3).await;
    // Nor did it disturb anybody: the other copy is whole, the exporter's worker has everything before it.
    let stranger = project.connect("STRANGER/admin").await;
    arrive(&stranger, "MIRROR", 6).await;
    let worker = ask(&mill, "$JS.API.CONSUMER.INFO.ORDERS.worker", Json::Null).await.expect("an answer");
    assert_eq!((&worker["num_pending"], &worker["delivered"]["consumer_seq"]), (&json!(6), &json!(0)));
    for (i, attack) in attacks.iter().enumerate() {
        assert_eq!(messages(&admin, &format!("X{i}")).await, 0, "{attack}");
    }
    // What the exporter sees of it is its own subjects, as it wrote them.
    assert_eq!(messages(&mill, "ORDERS").await, 6);
}

/// Without the share nothing arrives, whatever the importer declares; and it is refused before that.
#[tokio::test]
async fn without_the_share_there_is_no_copy() {
    let project = Project::with_registry(REGISTRY);
    project.up();
    let mill = project.connect("MILL/app").await;
    let stranger = project.connect("STRANGER/admin").await;
    store(&mill, "MILL.orders.1", 2).await;
    arrive(&stranger, "MIRROR", 2).await;
    let text = project.read("tenants.toml");
    let (kept, _) = text.rsplit_once("[[share]]").expect("the last share");
    project.write("tenants.toml", kept);
    let refused = project.run(&["check"]).exited(2);
    assert!(refused.all().contains("unshared-stream"), "{}", refused.all());
    let declared =
        "[[tenant.stream]]\nname = \"MIRROR\"\nmax_bytes = \"1MiB\"\nmirror = { name = \"ORDERS\", from = \"MILL\" }\n";
    assert!(kept.contains(declared));
    project.write("tenants.toml", &kept.replace(declared, ""));
    project.up();
    // Its stream is still there, and so is the exporter's consumer; what was taken away is the way.
    let mill = project.connect("MILL/app").await;
    let stranger = project.connect("STRANGER/admin").await;
    let shop = project.connect("SHOP/app").await;
    store(&mill, "MILL.orders.2", 3).await;
    arrive(&shop, "COPY", 5).await;
    assert_eq!(messages(&stranger, "MIRROR").await, 2);
}

/// A roll-up is a header, and the exporter writes the headers: it purges no copy.
#[tokio::test]
async fn an_exporters_message_purges_no_copy() {
    let project = Project::with_registry(REGISTRY);
    project.up();
    let mill = project.connect("MILL/admin").await;
    let shop = project.connect("SHOP/admin").await;
    // The exporter's own stream allows it.
    let name = "$JS.API.STREAM.UPDATE.ORDERS";
    let info = ask(&mill, "$JS.API.STREAM.INFO.ORDERS", Json::Null).await.expect("an answer");
    let mut config = info["config"].clone();
    config["allow_rollup_hdrs"] = true.into();
    assert!(ask(&mill, name, config).await.expect("an answer")["error"].is_null());
    let roll_up = async || {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Rollup", "all");
        let js = jetstream::new(mill.client.clone());
        let stored = js.publish_with_headers("MILL.orders.1", headers, "x".into()).await.expect("publish");
        stored.await.expect("stored");
    };
    store(&mill, "MILL.orders.1", 3).await;
    arrive(&shop, "COPY", 3).await;
    roll_up().await;
    store(&mill, "MILL.orders.2", 1).await;
    eventually("the copy has what came last", async || {
        let last = json!({ "last_by_subj": "SHOP.orders.2" });
        ask(&shop, "$JS.API.STREAM.MSG.GET.COPY", last).await.is_some_and(|a| a["error"].is_null())
    })
    .await;
    assert_eq!(messages(&shop, "COPY").await, 5, "three before the roll-up, itself, and one after");

    // The control: were it allowed, as validation refuses it, everything would be gone.
    let info = ask(&shop, "$JS.API.STREAM.INFO.COPY", Json::Null).await.expect("an answer");
    let mut config = info["config"].clone();
    config["allow_rollup_hdrs"] = true.into();
    assert!(ask(&shop, "$JS.API.STREAM.UPDATE.COPY", config).await.expect("an answer")["error"].is_null());
    roll_up().await;
    arrive(&shop, "COPY", 1).await;
}

/// What a copy delivers is another tenant's: a stream by hand that captures it, and obeys roll-ups, loses what it had.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_on_the_line_of_a_copy_obeys_the_exporter() {
    let project = Project::with_registry(REGISTRY);
    project.up();
    let mill = project.connect("MILL/admin").await;
    let shop = project.connect("SHOP/admin").await;
    let js = jetstream::new(shop.client.clone());
    let capture = |rolls_up: bool| jetstream::stream::Config {
        name: "CAP".to_owned(),
        subjects: vec!["JS.MILL.ORDERS.to.SHOP".to_owned(), "SHOP.own.>".to_owned()],
        no_ack: true,
        allow_rollup: rolls_up,
        max_bytes: 1 << 16,
        ..jetstream::stream::Config::default()
    };
    let verify = || project.run(&["verify", "--server", &project.creds("SHOP/admin").url]);
    js.create_stream(capture(false)).await.expect("made");
    assert!(verify().exited(0).all().contains("isolated"), "the control: its messages stay");
    js.update_stream(capture(true)).await.expect("updated");
    let found = verify().exited(1).all();
    assert!(found.contains("CAP of SHOP captures `JS.MILL.ORDERS.to.SHOP` of MILL"), "{found}");

    // What is said is so.
    shop.client.publish("SHOP.own.1", "1".into()).await.expect("published");
    shop.settled().await;
    let info = ask(&mill, "$JS.API.STREAM.INFO.ORDERS", Json::Null).await.expect("an answer");
    let mut config = info["config"].clone();
    config["allow_rollup_hdrs"] = true.into();
    assert!(ask(&mill, "$JS.API.STREAM.UPDATE.ORDERS", config).await.expect("an answer")["error"].is_null());
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Rollup", "all");
    let own = jetstream::new(mill.client.clone());
    own.publish_with_headers("MILL.orders.1", headers, "x".into()).await.expect("publish").await.expect("stored");
    eventually("it is gone", async || {
        let last = json!({ "last_by_subj": "SHOP.own.1" });
        ask(&shop, "$JS.API.STREAM.MSG.GET.CAP", last).await.is_some_and(|a| !a["error"].is_null())
    })
    .await;
}

/// A copy that is made again has everything again; nobody else's messages are touched.
#[tokio::test]
async fn a_copy_that_is_made_again_begins_again() {
    let project = Project::with_registry(REGISTRY);
    project.up();
    let mill = project.connect("MILL/app").await;
    let shop = project.connect("SHOP/admin").await;
    let stranger = project.connect("STRANGER/admin").await;
    store(&mill, "MILL.orders.7", 6).await;
    arrive(&shop, "COPY", 6).await;
    arrive(&stranger, "MIRROR", 6).await;
    // In another storage it has to be made again.
    project.edit(
        "max_bytes = \"1MiB\"\n[[tenant.stream.source]]",
        "max_bytes = \"1MiB\"\nstorage = \"memory\"\n[[tenant.stream.source]]",
    );
    project.edit("name = \"SHOP\"\n[tenant.jetstream]", "name = \"SHOP\"\n[tenant.jetstream]\nmemory = \"2MiB\"");
    project.edit("storage = \"1GiB\"", "storage = \"1GiB\"\nmemory = \"16MiB\"");
    project.run(&["down"]).succeeded();
    project.run(&["up"]).exited(1);
    project.run(&["apply", "--replace", "SHOP/COPY"]).succeeded();
    let shop = project.connect("SHOP/admin").await;
    arrive(&shop, "COPY", 6).await;
    // Deleted by hand, and made by the next apply.
    let stranger = project.connect("STRANGER/admin").await;
    assert_eq!(ask(&stranger, "$JS.API.STREAM.DELETE.MIRROR", Json::Null).await.expect("an answer")["success"], true);
    project.run(&["apply"]).succeeded();
    arrive(&stranger, "MIRROR", 6).await;
    assert_eq!(messages(&shop, "COPY").await, 6);
    assert_eq!(messages(&project.connect("MILL/app").await, "ORDERS").await, 6);
}

/// Whoever answers may publish where the asking user likes. What comes on a copy's own
/// subjects commands a server, so nobody at either end may answer that way. The control is the next test, with a
/// server that lets them.
#[tokio::test]
async fn nobody_speaks_on_the_subjects_of_a_copy_by_answering() {
    let project = Project::with_registry(REGISTRY);
    project.up();
    let ends = [
        ("MILL/app", "MILL.self", "JS.MILL.ORDERS.to.SHOP"),
        ("MILL/admin", "MILL.self", "JS.MILL.ORDERS.to.SHOP"),
        ("SHOP/app", "SHOP.self", "JS.MILL.API.CONSUMER.RESET.ORDERS.MILL_to_SHOP"),
        ("SHOP/admin", "SHOP.self", "JS.MILL.API.CONSUMER.RESET.ORDERS.MILL_to_SHOP"),
    ];
    for (who, own, reply) in ends {
        let user = project.connect(who).await;
        let mut asked = user.listen(own).await;
        user.publish_with_reply(own, reply, "x".into()).await.expect("publish");
        crate::support::next(&mut asked).await;
        user.cannot_publish(reply).await;
    }
}

/// The live proof finds a server on which somebody at an end of a copy may answer.
#[tokio::test]
async fn a_proof_finds_who_may_answer_at_the_end_of_a_copy() {
    let project = Project::with_registry(REGISTRY);
    project.up();
    let url = project.creds("MILL/app").url;
    // The control.
    project.run(&["verify", "--server", &url]).succeeded();
    let accounts = project.read("infra/nats/accounts.conf");
    let loose = accounts.replace("allow_responses: false", "allow_responses { max: 10, expires: \"30s\" }");
    project.reload_with(&loose, "a user that may answer");
    eventually("the reload", async || {
        let user = project.connect("MILL/app").await;
        let mut asked = user.listen("MILL.self").await;
        user.publish_with_reply("MILL.self", "nowhere.else", "x".into()).await.expect("publish");
        crate::support::next(&mut asked).await;
        user.say("nowhere.else", "x").await;
        user.settled().await;
        user.errors().is_empty()
    })
    .await;
    let report = project.run(&["verify", "--server", &url, "--format", "json"]).exited(1).json();
    let leaks = report["checks"].as_array().expect("checks").iter().filter(|c| c["outcome"] == "leak");
    let answers = leaks.filter(|c| c["probe"] == "answers");
    let mut pairs: Vec<_> = answers.map(|c| (c["from"].as_str(), c["to"].as_str())).collect();
    pairs.sort_unstable();
    let ends = [("MILL", "SHOP"), ("MILL", "STRANGER"), ("SHOP", "MILL"), ("STRANGER", "MILL")];
    assert_eq!(pairs, ends.map(|(from, to)| (Some(from), Some(to))), "each end of a copy may command the other");
    let audit = project.run(&["audit", ".tenantry/run/nats-server.conf", "--format", "json"]).exited(1).json();
    assert!(audit["findings"].to_string().contains("reserved-export"), "{audit}");
}
