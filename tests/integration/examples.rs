//! The registries under examples/ that stand for set-ups people wrote by hand: each
//! is booted, provisioned, used as its README says, and proved.

use std::time::Duration;

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::consumer::{PullConsumer, PushConsumer};
use async_nats::jetstream::{self, Message};
use async_nats::{Client, HeaderMap};
use futures_util::StreamExt as _;

use crate::support::{PATIENCE, Project, eventually};

fn example(text: &str) -> Project {
    let project = Project::with_registry(text);
    project.run(&["check"]).succeeded();
    project.up();
    project.run(&["plan"]).succeeded();
    project
}

async fn publish(client: &Client, subject: &str, text: &str) -> u64 {
    let ack =
        jetstream::new(client.clone()).publish(subject.to_owned(), text.to_owned().into()).await.expect("publish");
    ack.await.expect("stored").sequence
}

/// Up to so many messages, as long as there are any.
async fn fetch(client: &Client, stream: &str, consumer: &str, most: usize) -> Vec<Message> {
    let stream = jetstream::new(client.clone()).get_stream(stream).await.expect("the stream");
    let consumer: PullConsumer = stream.get_consumer(consumer).await.expect("the consumer");
    let batch = consumer.fetch().max_messages(most).messages().await.expect("a batch");
    batch.map(|m| m.expect("a message")).collect().await
}

/// The next message, whenever it comes.
async fn await_one(client: &Client, stream: &str, consumer: &str) -> Message {
    let stream = jetstream::new(client.clone()).get_stream(stream).await.expect("the stream");
    let consumer: PullConsumer = stream.get_consumer(consumer).await.expect("the consumer");
    let mut batch = consumer.batch().max_messages(1).expires(PATIENCE).messages().await.expect("a batch");
    batch.next().await.expect("in time").expect("a message")
}

async fn stored(client: &Client, stream: &str) -> u64 {
    let stream = jetstream::new(client.clone()).get_stream(stream).await.expect("the stream");
    stream.cached_info().state.messages
}

#[tokio::test]
async fn actions() {
    let project = example(include_str!("../../examples/actions/tenants.toml"));
    // Nobody executes anything yet.
    let orchestrator = project.connect("ACTIONS/orchestrator").await;
    publish(&orchestrator.client, "actions.webhook", "call").await;
    publish(&orchestrator.client, "actions.other", "nobody's").await;
    let executor = project.connect("ACTIONS/webhook_executor").await;
    let tasks = fetch(&executor.client, "ACTION_TASKS", "webhook-executor", 5).await;
    assert_eq!(tasks.iter().map(|t| t.subject.as_str()).collect::<Vec<_>>(), ["actions.webhook"]);
    tasks[0].double_ack().await.expect("acknowledged");
    assert!(fetch(&executor.client, "ACTION_TASKS", "webhook-executor", 5).await.is_empty(), "done is done");
    let email = project.connect("ACTIONS/email_executor").await;
    assert!(fetch(&email.client, "ACTION_TASKS", "email-executor", 5).await.is_empty(), "another kind of task");
    executor.cannot_publish("actions.webhook").await;
    project.run(&["verify"]).succeeded();
}

#[tokio::test]
async fn agents() {
    let text = include_str!("../../examples/agents/tenants.toml");
    let n8n = "name = \"n8n\"\nauth = \"password\"";
    assert!(text.contains(n8n));
    let text = text.replace(n8n, "name = \"n8n\"\nauth = \"password\"\npassword_env = \"N8N_PASSWORD\"");
    let mut project = Project::with_registry(&text);
    let ran = project.run(&["check"]).exited(2);
    assert!(ran.stderr.contains("N8N_PASSWORD is not set"), "{}", ran.stderr);
    project.set_env("N8N_PASSWORD", "chosen somewhere else");
    project.up();
    project.run(&["plan"]).succeeded();
    let app = project.connect("AGENTS/temporal").await;

    // A work queue with two workers: every task to one of them.
    for i in 0..10 {
        publish(&app.client, "workflows.run", &format!("{i}")).await;
    }
    let other = project.connect("AGENTS/agixt").await;
    let (one, two) = tokio::join!(
        fetch(&app.client, "WORKFLOWS", "workflow-processor", 5),
        fetch(&other.client, "WORKFLOWS", "workflow-processor", 5)
    );
    let mut done: Vec<String> = Vec::new();
    for task in one.iter().chain(&two) {
        task.double_ack().await.expect("acknowledged");
        done.push(String::from_utf8_lossy(&task.payload).into_owned());
    }
    done.sort_unstable();
    assert_eq!(done, (0..10).map(|i| i.to_string()).collect::<Vec<_>>());
    assert_eq!(stored(&app.client, "WORKFLOWS").await, 0, "what is done is gone");

    // A command with an id is stored once, and handled once.
    let js = jetstream::new(app.client.clone());
    for is_again in [false, true] {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, "order-1");
        let ack = js.publish_with_headers("commands.pay", headers, "1".into()).await.expect("publish");
        assert_eq!(ack.await.expect("an answer").duplicate, is_again);
    }
    let commands = fetch(&app.client, "COMMANDS", "command-executor", 1).await;
    assert_eq!(commands.len(), 1);
    commands[0].double_ack().await.expect("acknowledged");
    assert_eq!(stored(&app.client, "COMMANDS").await, 0);

    // A notification stays until everybody interested has it.
    publish(&app.client, "notifications.user", "hello").await;
    assert_eq!(stored(&app.client, "NOTIFICATIONS").await, 1, "its dispatcher is not up yet");
    let stream = js.get_stream("NOTIFICATIONS").await.expect("the stream");
    let dispatcher: PushConsumer = stream.get_consumer("notification-dispatcher").await.expect("the consumer");
    let mut messages = dispatcher.messages().await.expect("messages");
    let message = tokio::time::timeout(PATIENCE, messages.next()).await.expect("in time").expect("one").expect("one");
    message.double_ack().await.expect("acknowledged");
    eventually("the notification is gone", async || stored(&app.client, "NOTIFICATIONS").await == 0).await;

    // Only what analytics asked for.
    publish(&app.client, "events.metrics.cpu", "1").await;
    publish(&app.client, "events.login", "2").await;
    let metrics = fetch(&other.client, "EVENTS", "event-analytics", 5).await;
    assert_eq!(metrics.iter().map(|t| t.subject.as_str()).collect::<Vec<_>>(), ["events.metrics.cpu"]);
    project.run(&["verify"]).succeeded();
}

#[tokio::test]
async fn event_backbone() {
    let project = example(include_str!("../../examples/event-backbone/tenants.toml"));
    let a = project.connect("TENANT_A/tenant_a_user").await;
    publish(&a.client, "TENANT_A.events.x", "kept").await;
    a.cannot_publish("TENANT_B.events.x").await;
    a.cannot_subscribe("TENANT_B.>").await;
    project.run(&["down"]).succeeded();
    project.up();
    let a = project.connect("TENANT_A/tenant_a_user").await;
    assert_eq!(stored(&a.client, "EVENTS").await, 1, "data survives a restart");
    let b = project.connect("TENANT_B/tenant_b_user").await;
    assert_eq!(stored(&b.client, "EVENTS").await, 0, "another account's stream of the same name");
    project.run(&["verify"]).succeeded();
}

#[tokio::test]
async fn iot_pulse() {
    let text = include_str!("../../examples/iot-pulse/tenants.toml");
    // Three times 5 seconds would be a long test.
    let project = example(&text.replace("ack_wait        = \"5s\"", "ack_wait        = \"200ms\""));
    let gateway = project.connect("PULSE/gateway").await;
    publish(&gateway.client, "telemetry.acme", "21.5").await;
    let ingest = project.connect("PULSE/ingest").await;
    for delivery in 1..=3 {
        let message = await_one(&ingest.client, "TELEMETRY", "ingest-workers").await;
        assert_eq!(message.info().expect("its number").delivered, delivery);
    }
    // A control message comes, and that one does not come with it.
    tokio::time::sleep(Duration::from_millis(400)).await;
    publish(&gateway.client, "telemetry.globex", "19").await;
    let batch = fetch(&ingest.client, "TELEMETRY", "ingest-workers", 5).await;
    assert_eq!(batch.iter().map(|m| m.subject.as_str()).collect::<Vec<_>>(), ["telemetry.globex"]);
    assert_eq!(stored(&ingest.client, "TELEMETRY").await, 2, "it is still there");
    project.run(&["verify"]).succeeded();
}

#[tokio::test]
async fn iot_pulse_isolated() {
    let project = example(include_str!("../../examples/iot-pulse/isolated/tenants.toml"));
    let acme = project.connect("ACME/gateway").await;
    let globex = project.connect("GLOBEX/gateway").await;
    acme.say("telemetry.acme.7", "21.5").await;
    globex.say("telemetry.globex.1", "19").await;
    acme.cannot_publish("telemetry.globex.1").await;
    acme.cannot_subscribe("telemetry.globex.>").await;
    let ingest = project.connect("INGEST/ingest").await;
    eventually("both are stored at the ingest side", async || stored(&ingest.client, "TELEMETRY").await == 2).await;
    // An acknowledgement to a subject of the sender's choice would be a message of its own there.
    let mut heard = ingest.listen("routes.>").await;
    acme.publish_with_reply("telemetry.acme.7", "routes.forged", "22".into()).await.expect("publish");
    eventually("that too", async || stored(&ingest.client, "TELEMETRY").await == 3).await;
    ingest.settled().await;
    assert!(tokio::time::timeout(Duration::from_millis(1), heard.next()).await.is_err(), "the stream answered");
    project.run(&["verify"]).succeeded();
}

#[tokio::test]
async fn cim() {
    let text = include_str!("../../examples/cim/tenants.toml");
    // As it was first written.
    let original =
        text.replace("name    = \"GRAPH_EVENTS\"", "name    = \"GRAPH_EVENTS\"\nsubjects = [\"events.graph.>\"]");
    let refused = Project::with_registry(&original).run(&["check"]).exited(2).stderr;
    for words in ["streams `GRAPH_EVENTS` and `CIM_EVENTS` overlap", "10065", "[[tenant.stream.source]]"] {
        assert!(refused.contains(words), "{words}: {refused}");
    }
    let project = example(text);
    let publisher = project.connect("CIM/cim_publisher").await;
    publish(&publisher.client, "events.graph.x", "1").await;
    publish(&publisher.client, "events.workflow.x", "2").await;
    publisher.cannot_subscribe("events.>").await;
    let consumer = project.connect("CIM/cim_consumer").await;
    for (stream, count) in [("CIM_EVENTS", 2), ("GRAPH_EVENTS", 1), ("WORKFLOW_EVENTS", 1), ("DLQ", 0)] {
        eventually(stream, async || stored(&consumer.client, stream).await == count).await;
    }
    let found = fetch(&consumer.client, "CIM_EVENTS", "GRAPH_PROJECTION", 5).await;
    assert_eq!(found.len(), 1);
    found[0].double_ack().await.expect("acknowledged");

    // The client, with nothing but what is handed out.
    let handed = project.run(&["creds", "CIM/cim_app", "--as", "env"]).succeeded().stdout;
    let variables = handed.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split_once('='));
    let built = std::process::Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--example", "cim"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.expect("cargo runs").success(), "the client is built");
    let client = std::path::Path::new(env!("CARGO_BIN_EXE_tenantry")).with_file_name("examples").join("cim");
    let ran = std::process::Command::new(client)
        .env_clear()
        .envs(variables.map(|(k, v)| (k, v.trim_matches(['\'', '"']))))
        .output()
        .expect("the client runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    assert!(
        said.contains("stored as number 3 of CIM_EVENTS") && said.contains("projected events.graph.node-added"),
        "{said}"
    );
    project.run(&["verify"]).succeeded();
}
