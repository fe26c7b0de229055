//! Each role can do what it is for, and is refused what it is not for.

use async_nats::jetstream;
use futures_util::StreamExt as _;
use serde_json::json;

use crate::support::{Connection, Project, ask, next};

/// TENANT_B with one user of each role, its stream and bucket made.
async fn booted() -> Project {
    let project = Project::new();
    for (name, role) in
        [("pub", "publisher"), ("sub", "subscriber"), ("mon", "monitor"), ("audit", "auditor"), ("app2", "app")]
    {
        project.run(&["user", "add", &format!("TENANT_B/{name}"), "--role", role]).succeeded();
    }
    project.up();
    project
}

/// What client libraries and connection checks ask first is answered.
async fn first_requests(client: &Connection, user: &str) {
    let account = ask(client, "$JS.API.INFO", json!(null)).await.expect("an answer");
    assert_eq!(account["limits"]["max_storage"], 256 << 20);
    let stream = ask(client, "$JS.API.STREAM.INFO.ORDERS", json!({})).await.expect("an answer");
    assert_eq!(stream["config"]["name"], "ORDERS");
    // A message to oneself, as `nats server check connection` sends.
    let inbox = format!("_INBOX_{user}.check");
    let mut heard = client.listen(&inbox).await;
    client.say(&inbox, "it is me").await;
    assert_eq!(next(&mut heard).await.payload, "it is me");
}

async fn store(client: &Connection, text: &'static str) {
    let js = jetstream::new(client.client.clone());
    js.publish("TENANT_B.orders.1", text.into()).await.expect("publish").await.expect("stored");
}

#[tokio::test]
async fn a_publisher_writes_and_nothing_else() {
    let project = booted().await;
    let publisher = project.connect("TENANT_B/pub").await;
    let app = project.connect("TENANT_B/app2").await;
    let mut heard = app.listen("TENANT_B.x").await;
    publisher.say("TENANT_B.x", "hello").await;
    assert_eq!(next(&mut heard).await.payload, "hello");
    store(&publisher, "an order, acknowledged").await;
    first_requests(&publisher, "pub").await;
    publisher.cannot_subscribe("TENANT_B.>").await;
    for subject in [
        "$JS.API.STREAM.INFO.KV_settings",
        "$JS.API.STREAM.NAMES",
        "_INBOX_app2.x",
        "$JS.API.CONSUMER.CREATE.ORDERS",
        "$KV.settings.x",
        "$JS.API.STREAM.PURGE.ORDERS",
    ] {
        publisher.cannot_publish(subject).await;
    }
}

#[tokio::test]
async fn a_subscriber_reads_and_nothing_else() {
    let project = booted().await;
    let subscriber = project.connect("TENANT_B/sub").await;
    let app = project.connect("TENANT_B/app2").await;
    let mut heard = subscriber.listen("TENANT_B.x").await;
    app.say("TENANT_B.x", "hello").await;
    assert_eq!(next(&mut heard).await.payload, "hello");
    store(&app, "stored").await;
    first_requests(&subscriber, "sub").await;
    let found = ask(&subscriber, "$JS.API.STREAM.NAMES", json!({ "subject": "TENANT_B.orders.>" })).await;
    assert_eq!(found.expect("an answer")["streams"], json!(["ORDERS"]));
    let js = jetstream::new(subscriber.client.clone());
    let orders = js.get_stream("ORDERS").await.expect("the stream");
    let config = jetstream::consumer::pull::Config { durable_name: Some("reader".into()), ..Default::default() };
    let consumer = orders.create_consumer(config).await.expect("a consumer");
    let mut batch = consumer.fetch().max_messages(1).messages().await.expect("a batch");
    let message = batch.next().await.expect("a message").expect("a message");
    message.double_ack().await.expect("acknowledged");
    let app_js = jetstream::new(app.client.clone());
    app_js.get_key_value("settings").await.expect("the bucket").put("k", "v".into()).await.expect("put");
    let bucket = js.get_key_value("settings").await.expect("the bucket");
    assert_eq!(bucket.get("k").await.expect("get").expect("a value"), "v");
    for subject in [
        "TENANT_B.x",
        "TENANT_B.orders.1",
        "_INBOX_app2.x",
        "$KV.settings.k",
        "$JS.API.STREAM.PURGE.KV_settings",
        "$JS.API.STREAM.DELETE.ORDERS",
    ] {
        subscriber.cannot_publish(subject).await;
    }
}

#[tokio::test]
async fn a_monitor_sees_counters_and_no_messages() {
    let project = booted().await;
    let monitor = project.connect("TENANT_B/mon").await;
    let info = ask(&monitor, "$JS.API.STREAM.INFO.ORDERS", json!({})).await.expect("an answer");
    assert_eq!(info["config"]["name"], "ORDERS");
    let names = ask(&monitor, "$JS.API.STREAM.NAMES", json!({})).await.expect("an answer");
    assert_eq!(names["total"], 2);
    let account = ask(&monitor, "$JS.API.INFO", json!(null)).await.expect("an answer");
    assert_eq!(account["limits"]["max_storage"], 256 << 20);
    let connections = ask(&monitor, "$SYS.REQ.ACCOUNT.PING.CONNZ", json!({})).await.expect("an answer");
    let accounts = connections["data"]["connections"].as_array().expect("connections");
    assert!(!accounts.is_empty());
    for subject in ["TENANT_B.>", "TENANT_B.x", "$KV.>", "$JS.API.>"] {
        monitor.cannot_subscribe(subject).await;
    }
    for subject in [
        "TENANT_B.x",
        "$JS.API.STREAM.MSG.GET.ORDERS",
        "$JS.API.DIRECT.GET.KV_settings",
        "$JS.API.CONSUMER.CREATE.ORDERS",
        "$JS.API.CONSUMER.MSG.NEXT.ORDERS.c",
    ] {
        monitor.cannot_publish(subject).await;
    }
}

/// The declared role of the committed registry: listens, cannot say a word.
#[tokio::test]
async fn a_declared_role_is_what_it_says() {
    let project = booted().await;
    let auditor = project.connect("TENANT_B/audit").await;
    let app = project.connect("TENANT_B/app2").await;
    let mut heard = auditor.listen("TENANT_B.>").await;
    app.say("TENANT_B.x", "hello").await;
    assert_eq!(next(&mut heard).await.payload, "hello");
    for subject in ["TENANT_B.x", "_INBOX.x", "$JS.API.INFO"] {
        auditor.cannot_publish(subject).await;
    }
    auditor.cannot_subscribe("TENANT_A.public.>").await;
    auditor.cannot_subscribe(&format!("{}.>", project.creds("TENANT_B/audit").inbox_prefix)).await;
}

/// An app works with the inbox that clients use by default, when the registry says so.
#[tokio::test]
async fn the_default_inbox_works_where_it_is_asked_for() {
    let project = Project::new();
    project.edit("name = \"tenant_b_worker\"", "name = \"tenant_b_worker\"\ninbox = \"default\"");
    project.up();
    let creds = project.creds("TENANT_B/tenant_b_worker");
    assert_eq!(creds.inbox_prefix, "_INBOX");
    let worker = creds.connect().await.expect("connect");
    let info = ask(&worker, "$JS.API.INFO", json!(null)).await.expect("an answer");
    assert_eq!(info["limits"]["max_storage"], 256 << 20);
    // The control: the private-inbox user with the default prefix gets no answer.
    let mut wrong = project.creds("TENANT_B/tenant_b_app");
    wrong.inbox_prefix = "_INBOX".into();
    let wrong = wrong.connect().await.expect("connect");
    let _ = tokio::time::timeout(std::time::Duration::from_millis(300), wrong.request("$JS.API.INFO", "".into())).await;
    assert!(
        wrong.errors().iter().any(|e| e.to_lowercase().contains("subscription to \"_inbox.")),
        "{:?}",
        wrong.errors()
    );
}

/// The other language's most used things: object stores, over both directions.
#[tokio::test]
async fn an_object_store_works_for_an_app() {
    let project = Project::new();
    project.edit(
        "# ------------------------------------------------------------------ shares",
        "[[tenant.object_store]]\nname = \"files\"\n",
    );
    project.up();
    let app = project.connect("TENANT_B/tenant_b_app").await;
    let store = jetstream::new(app.client.clone()).get_object_store("files").await.expect("the store");
    store.put("a.txt", &mut "content".as_bytes()).await.expect("put");
    let mut object = store.get("a.txt").await.expect("get");
    let mut text = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut object, &mut text).await.expect("read");
    assert_eq!(text, "content");
    store.delete("a.txt").await.expect("delete");
    assert_eq!(app.errors(), Vec::<String>::new());
}
