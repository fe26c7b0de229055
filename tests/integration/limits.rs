//! A tenant that uses up its limits is stopped; the other goes on working.

use async_nats::jetstream::{self, stream};
use serde_json::json;

use crate::support::{Connection, Project, ask, next};

/// The default registry with limits small enough to reach.
fn tight() -> Project {
    let project = Project::new();
    project.edit("connections   = 100", "connections   = 4");
    project.edit("payload       = \"512KiB\"", "payload       = \"4KiB\"");
    project.edit("subscriptions = 1000 ", "subscriptions = 5 ");
    project.edit("storage   = \"512MiB\"", "storage   = \"1MiB\"");
    project.edit("memory    = \"64MiB\"", "memory    = \"1MiB\"");
    project.edit("streams   = 10", "streams   = 2");
    project.edit("consumers = 20", "consumers = 2");
    // Its own streams would take what is to be tried.
    let declared = include_str!("../../tenants.toml");
    let (start, end) = (
        declared.find("[[tenant.stream]]").expect("a stream"),
        declared.find("# ---------------------------------------------------------------- TENANT_B").expect("B"),
    );
    project.edit(&declared[start..end], "");
    project.up();
    project
}

/// The other tenant publishes, stores and reads as if nothing were.
async fn the_other_works(project: &Project) {
    let admin = project.connect("TENANT_B/tenant_b_admin").await;
    let js = jetstream::new(admin.client.clone());
    let config = stream::Config {
        name: "ORDERS".into(),
        subjects: vec!["TENANT_B.orders.>".into()],
        max_bytes: 1 << 20,
        ..Default::default()
    };
    js.get_or_create_stream(config).await.expect("the other's stream");
    let ack = js.publish("TENANT_B.orders.1", "order".into()).await.expect("publish").await;
    ack.expect("the other's message is stored");
    let app = project.connect("TENANT_B/tenant_b_app").await;
    let mut own = app.listen("TENANT_B.x").await;
    app.say("TENANT_B.x", "x").await;
    assert_eq!(next(&mut own).await.payload, "x");
}

/// The server's error code for a request to its API.
async fn api_error(client: &Connection, subject: &str, body: serde_json::Value) -> u64 {
    let answer = ask(client, subject, body).await.expect("the API answers");
    answer["error"]["err_code"].as_u64().unwrap_or(0)
}

#[tokio::test]
async fn storage() {
    let project = tight();
    let admin = project.connect("TENANT_A/tenant_a_admin").await;
    let js = jetstream::new(admin.client.clone());
    for (name, storage) in [("DISK", stream::StorageType::File), ("MEMORY", stream::StorageType::Memory)] {
        let config = stream::Config {
            name: name.into(),
            subjects: vec![format!("TENANT_A.{name}")],
            storage,
            ..Default::default()
        };
        js.create_stream(config).await.expect("a stream without a limit of its own");
        let mut stored = 0;
        let refused = loop {
            assert!(stored < 1000, "4 MB fit into 1 MiB of {name}");
            match js.publish(format!("TENANT_A.{name}"), vec![0u8; 4000].into()).await.expect("publish").await {
                Ok(_) => stored += 1,
                Err(e) => break format!("{e:?}"),
            }
        };
        assert!(stored > 100, "{stored} messages fit into {name}");
        assert!(refused.contains("10002") || refused.contains("resource limits exceeded"), "{refused}");
        the_other_works(&project).await;
    }
    // One stream cannot reserve more than the account has.
    let body = json!({ "name": "BIG", "subjects": ["TENANT_A.big"], "max_bytes": 2 << 20 });
    admin.client.request("$JS.API.STREAM.DELETE.DISK", "".into()).await.expect("make room");
    assert_eq!(api_error(&admin, "$JS.API.STREAM.CREATE.BIG", body).await, 10047, "insufficient storage");
    let fits = json!({ "name": "FITS", "subjects": ["TENANT_A.big"], "max_bytes": 1 << 19 });
    assert_eq!(api_error(&admin, "$JS.API.STREAM.CREATE.FITS", fits).await, 0);
}

#[tokio::test]
async fn streams_and_consumers() {
    let project = tight();
    let admin = project.connect("TENANT_A/tenant_a_admin").await;
    let create = |name: &str| {
        let body = json!({ "name": name, "subjects": [format!("TENANT_A.{name}")], "max_bytes": 1000 });
        (format!("$JS.API.STREAM.CREATE.{name}"), body)
    };
    for name in ["S1", "S2"] {
        let (subject, body) = create(name);
        assert_eq!(api_error(&admin, &subject, body).await, 0);
    }
    let (subject, body) = create("S3");
    assert_eq!(api_error(&admin, &subject, body).await, 10027, "maximum number of streams reached");
    for (i, expected) in [(1, 0), (2, 0), (3, 10026)] {
        let body =
            json!({ "stream_name": "S1", "config": { "durable_name": format!("c{i}"), "ack_policy": "explicit" } });
        let subject = format!("$JS.API.CONSUMER.CREATE.S1.c{i}");
        assert_eq!(api_error(&admin, &subject, body).await, expected, "consumer {i}");
    }
    the_other_works(&project).await;
}

#[tokio::test]
async fn connections() {
    let project = tight();
    let creds = project.creds("TENANT_A/tenant_a_app");
    let mut open = Vec::new();
    // Four, and the one of the provisioner.
    for _ in 0..5 {
        open.push(creds.connect().await.expect("within the limit"));
    }
    let error = creds.connect().await.err().expect("one more than the limit");
    assert!(error.to_string().to_lowercase().contains("maximum account active connections exceeded"), "{error}");
    the_other_works(&project).await;
    // Room again when one leaves.
    open.pop().expect("a connection").drain().await.expect("drain");
    crate::support::eventually("a free place", || async { creds.connect().await.is_ok() }).await;
}

#[tokio::test]
async fn subscriptions_and_payload() {
    let project = tight();
    let client = project.connect("TENANT_A/tenant_a_app").await;
    let mut open = Vec::new();
    for i in 0..8 {
        open.push(client.subscribe(format!("TENANT_A.s{i}")).await.expect("subscribe"));
    }
    crate::support::eventually("the refusal", || async {
        client.errors().iter().any(|e| e.to_lowercase().contains("maximum subscriptions exceeded"))
    })
    .await;
    drop(open);
    let sender = project.connect("TENANT_A/tenant_a_app").await;
    sender.publish("TENANT_A.x", vec![0u8; 4096].into()).await.expect("publish");
    sender.settled().await;
    // The library may know the limit and refuse by itself; if not, the server does.
    if sender.publish("TENANT_A.x", vec![0u8; 5000].into()).await.is_ok() {
        crate::support::eventually("the refusal", || async {
            sender.errors().iter().any(|e| e.to_lowercase().contains("maximum payload violation"))
        })
        .await;
    }
    the_other_works(&project).await;
}
