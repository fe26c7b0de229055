//! Declared shares deliver what they say, to whom they say, and nothing else.

use async_nats::jetstream;
use serde_json::{Value as Json, json};

use crate::support::{Project, ask, eventually, next};

fn booted() -> Project {
    let project = Project::new();
    project.up();
    project
}

#[tokio::test]
async fn a_shared_stream_delivers_its_subjects_and_nothing_else() {
    let project = booted();
    let owner = project.connect("TENANT_A/tenant_a_app").await;
    let importer = project.connect("TENANT_B/tenant_b_app").await;
    let mut shared = importer.listen("TENANT_A.public.>").await;
    owner.say("TENANT_A.private.x", "secret").await;
    owner.say("TENANT_A.publicity", "secret").await;
    owner.say("TENANT_A.public.news", "news").await;
    let first = next(&mut shared).await;
    assert_eq!((first.subject.as_str(), first.payload.as_ref()), ("TENANT_A.public.news", b"news".as_ref()));

    // What is not shared is refused, even right beside it and wider.
    for subject in ["TENANT_A.private.x", "TENANT_A.public", "TENANT_A.>", "TENANT_A.*.news", "TENANT_A.publicity"] {
        importer.cannot_subscribe(subject).await;
    }
    // The importer cannot speak there.
    importer.cannot_publish("TENANT_A.public.news").await;
    owner.say("TENANT_A.public.more", "more").await;
    assert_eq!(next(&mut shared).await.payload, "more", "the second message is the owner's second");
}

/// A consumer of the importer may deliver to the shared service, and what it delivers has the reply subject of an
/// acknowledgement. The answer counts for the importer's consumer or for none: on a server without the feature flag it
/// acknowledges the owner's consumer of that name.
#[tokio::test]
async fn answering_a_request_acknowledges_nothing_of_ones_own() {
    let project = booted();
    let (owner, importer) =
        (project.connect("TENANT_A/tenant_a_admin").await, project.connect("TENANT_B/tenant_b_admin").await);
    let stream =
        |subject: &str| json!({ "name": "SAME", "subjects": [subject], "storage": "file", "max_bytes": 65536 });
    let consumer = |more: Json| {
        let mut config = json!({ "durable_name": "worker", "ack_policy": "explicit" });
        config.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
        json!({ "stream_name": "SAME", "config": config })
    };
    let (make, add) = ("$JS.API.STREAM.CREATE.SAME", "$JS.API.CONSUMER.DURABLE.CREATE.SAME.worker");
    ask(&owner, make, stream("TENANT_A.same")).await.expect("a stream");
    ask(&owner, add, consumer(json!({}))).await.expect("a consumer");
    let mut work = owner.listen("TENANT_A.work").await;
    for _ in 0..2 {
        owner.say("TENANT_A.same", "a job").await;
        owner
            .publish_with_reply("$JS.API.CONSUMER.MSG.NEXT.SAME.worker", "TENANT_A.work", "1".into())
            .await
            .expect("asked");
    }
    let job = next(&mut work).await;
    next(&mut work).await;
    let pending = async || {
        ask(&owner, "$JS.API.CONSUMER.INFO.SAME.worker", Json::Null).await.expect("info")["num_ack_pending"].clone()
    };
    assert_eq!(pending().await, 2);

    let mut asked = owner.listen("TENANT_A.api.quote").await;
    ask(&importer, make, stream("TENANT_B.same")).await.expect("a stream");
    ask(&importer, add, consumer(json!({ "deliver_subject": "TENANT_A.api.quote" }))).await.expect("a consumer");
    importer.say("TENANT_B.same", "a request").await;
    let request = next(&mut asked).await;
    let reply = request.reply.expect("a reply subject").to_string();
    assert!(reply.starts_with("$JS.ACK.") && reply.contains(".SAME.worker."), "{reply}");
    owner.say(&reply, "").await;
    owner.settled().await;
    assert_eq!(pending().await, 2, "{reply} acknowledged the owner's own message");
    // The control: its own acknowledgement does.
    owner.say(&job.reply.expect("a reply subject"), "").await;
    eventually("it is acknowledged", async || pending().await == 1).await;
}

/// A queue in the importer's account would take messages from the members of
/// that queue in the owner's.
#[tokio::test]
async fn an_importer_cannot_join_the_owners_queue() {
    let project = booted();
    let owner = project.connect("TENANT_A/tenant_a_app").await;
    let mut worker = owner.queue_subscribe("TENANT_A.public.jobs", "workers".into()).await.expect("subscribe");
    owner.settled().await;
    for who in ["TENANT_B/tenant_b_app", "TENANT_B/tenant_b_admin", "TENANT_B/tenant_b_worker"] {
        let importer = project.connect(who).await;
        importer.cannot_join_queue("TENANT_A.public.jobs", "workers").await;
        importer.cannot_join_queue("TENANT_A.public.>", "anything.at.all").await;
        // The control: a plain subscription is allowed, and takes nothing away.
        let mut plain = importer.listen("TENANT_A.public.jobs").await;
        for i in 0..20 {
            owner.say("TENANT_A.public.jobs", &i.to_string()).await;
        }
        for i in 0..20 {
            assert_eq!(next(&mut worker).await.payload, i.to_string());
            assert_eq!(next(&mut plain).await.payload, i.to_string());
        }
    }
}

#[tokio::test]
async fn a_shared_service_answers_and_nothing_else_does() {
    let project = booted();
    let owner = project.connect("TENANT_A/tenant_a_app").await;
    let client = project.connect("TENANT_B/tenant_b_app").await;
    let mut requests = owner.listen("TENANT_A.api.*").await;
    let answering = async {
        let request = next(&mut requests).await;
        // Who asks is the server's word, not the requestor's.
        let info = request.headers.as_ref().and_then(|h| h.get("Nats-Request-Info")).map(ToString::to_string);
        assert!(info.expect("the server says who asks").contains("TENANT_B"));
        owner.publish(request.reply.expect("a reply subject"), "7 EUR".into()).await.expect("publish");
    };
    let (reply, ()) = tokio::join!(client.request("TENANT_A.api.quote", "book".into()), answering);
    assert_eq!(reply.expect("a reply").payload, "7 EUR");
    for subject in ["TENANT_A.api.admin", "TENANT_A.api", "TENANT_A.api.quote.x"] {
        client.cannot_publish(subject).await;
    }
    // The importer cannot answer in the owner's place, nor listen to requests.
    client.cannot_subscribe("TENANT_A.api.quote").await;
}

/// Without the share in the registry none of it is there: the tests above can fail.
#[tokio::test]
async fn without_the_share_there_is_nothing() {
    let project = Project::new();
    let text = project.read("tenants.toml");
    let (before, _) = text
        .split_once("# ------------------------------------------------------------------ shares")
        .expect("the shares");
    project.write("tenants.toml", before);
    project.up();
    let importer = project.connect("TENANT_B/tenant_b_app").await;
    importer.cannot_subscribe("TENANT_A.public.>").await;
    importer.cannot_publish("TENANT_A.api.quote").await;
}

/// Roles that only listen get the share too; a publisher does not.
#[tokio::test]
async fn each_role_gets_what_its_side_needs() {
    let project = Project::new();
    for (user, role) in [("b_sub", "subscriber"), ("b_pub", "publisher"), ("b_mon", "monitor")] {
        project.run(&["user", "add", &format!("TENANT_B/{user}"), "--role", role]).succeeded();
    }
    project.up();
    let owner = project.connect("TENANT_A/tenant_a_app").await;
    let subscriber = project.connect("TENANT_B/b_sub").await;
    let mut shared = subscriber.listen("TENANT_A.public.>").await;
    owner.say("TENANT_A.public.x", "x").await;
    assert_eq!(next(&mut shared).await.payload, "x");
    subscriber.cannot_join_queue("TENANT_A.public.>", "q").await;
    for who in ["TENANT_B/b_pub", "TENANT_B/b_mon"] {
        project.connect(who).await.cannot_subscribe("TENANT_A.public.>").await;
    }
}

/// The importer's own streams may keep what is shared with it; that is the
/// declared flow, and it does not reach further.
#[tokio::test]
async fn a_stream_of_the_importer_sees_only_the_share() {
    let project = booted();
    let admin = project.connect("TENANT_B/tenant_b_admin").await;
    let js = jetstream::new(admin.client.clone());
    let config = jetstream::stream::Config {
        name: "GREEDY".into(),
        subjects: vec!["TENANT_A.>".into()],
        max_bytes: 1 << 20,
        ..Default::default()
    };
    let mut stream = js.create_stream(config).await.expect("in its own account it may");
    let owner = project.connect("TENANT_A/tenant_a_app").await;
    for subject in ["TENANT_A.private.x", "TENANT_A.events.x", "TENANT_A.public.x"] {
        owner.say(subject, "x").await;
    }
    owner.settled().await;
    let seen: Vec<String> = {
        use futures_util::TryStreamExt as _;
        let mut subjects = Vec::new();
        stream.info().await.expect("info");
        let mut list = stream.info_with_subjects(">").await.expect("subjects");
        while let Some((subject, _)) = list.try_next().await.expect("a subject") {
            subjects.push(subject);
        }
        subjects
    };
    assert!(seen.iter().all(|s| s.starts_with("TENANT_A.public.")), "{seen:?}");
}

/// A shared message carries the reply subject that its sender chose. Whoever
/// answers it must not be led to another subject by that: with the server's
/// `allow_responses` the importer would purge its own stream for the sender.
#[tokio::test]
async fn a_reply_subject_from_another_tenant_leads_nowhere() {
    let project = booted();
    let admin = project.connect("TENANT_B/tenant_b_admin").await;
    let js = jetstream::new(admin.client.clone());
    js.publish("TENANT_B.orders.1", "kept".into()).await.expect("publish").await.expect("stored");

    let owner = project.connect("TENANT_A/tenant_a_app").await;
    let importer = project.connect("TENANT_B/tenant_b_app").await;
    let mut shared = importer.listen("TENANT_A.public.>").await;
    for trap in ["$JS.API.STREAM.PURGE.ORDERS", "$JS.API.STREAM.DELETE.ORDERS", "other.subject"] {
        owner.publish_with_reply("TENANT_A.public.x", trap, "please answer".into()).await.expect("publish");
        let message = next(&mut shared).await;
        assert_eq!(message.reply.as_deref(), Some(trap), "the sender's choice arrives");
        importer.cannot_publish(trap).await;
    }
    let info = js.get_stream("ORDERS").await.expect("the stream").cached_info().state.messages;
    assert_eq!(info, 1, "nothing was purged");

    // The control: an importer still answers requests of its own tenant.
    let worker = project.connect("TENANT_B/tenant_b_worker").await;
    let mut requests = importer.listen("TENANT_B.ask").await;
    let answering = async {
        let request = next(&mut requests).await;
        importer.publish(request.reply.expect("a reply subject"), "yes".into()).await.expect("publish");
    };
    let (reply, ()) = tokio::join!(worker.request("TENANT_B.ask", "?".into()), answering);
    assert_eq!(reply.expect("a reply").payload, "yes");
}
