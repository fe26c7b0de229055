//! TENANT_A against TENANT_B and back, on the committed registry: what is
//! theirs works, what is the other's is refused by the server itself.
//!
//! Silence alone proves nothing. Each "nothing arrived" here is followed by a
//! control message on the same subscription that does arrive.

use async_nats::jetstream::{self, consumer};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::json;

use crate::support::{Creds, Project, ask, next};

/// One tenant as an attacker of the other.
struct Pair {
    me: &'static str,
    app: &'static str,
    admin: &'static str,
    stream: &'static str,
    stream_subject: &'static str,
    other: &'static str,
    other_app: &'static str,
    other_admin: &'static str,
    other_stream: &'static str,
    other_subject: &'static str,
}

const PAIRS: [Pair; 2] = [
    Pair {
        me: "TENANT_A",
        app: "TENANT_A/tenant_a_app",
        admin: "TENANT_A/tenant_a_admin",
        stream: "EVENTS",
        stream_subject: "TENANT_A.events.>",
        other: "TENANT_B",
        other_app: "TENANT_B/tenant_b_app",
        other_admin: "TENANT_B/tenant_b_admin",
        other_stream: "ORDERS",
        other_subject: "TENANT_B.orders.>",
    },
    Pair {
        me: "TENANT_B",
        app: "TENANT_B/tenant_b_app",
        admin: "TENANT_B/tenant_b_admin",
        stream: "ORDERS",
        stream_subject: "TENANT_B.orders.>",
        other: "TENANT_A",
        other_app: "TENANT_A/tenant_a_app",
        other_admin: "TENANT_A/tenant_a_admin",
        other_stream: "EVENTS",
        other_subject: "TENANT_A.events.>",
    },
];

fn booted() -> Project {
    let project = Project::new();
    project.up();
    project
}

/// A concrete subject below a `>` pattern.
fn below(pattern: &str, tail: &str) -> String {
    format!("{}{tail}", pattern.trim_end_matches('>'))
}

/// The messages in a stream, as its own admin sees them.
async fn messages(project: &Project, admin: &str, name: &str) -> u64 {
    let admin = project.connect(admin).await;
    let info = ask(&admin, &format!("$JS.API.STREAM.INFO.{name}"), json!({})).await.expect("stream info");
    info["state"]["messages"].as_u64().unwrap_or_else(|| panic!("{info}"))
}

#[tokio::test]
async fn own_subjects_work() {
    let project = booted();
    for pair in PAIRS {
        let (sender, receiver) = (project.connect(pair.app).await, project.connect(pair.app).await);
        let subject = format!("{}.hello.system", pair.me);
        let mut queue = receiver.queue_subscribe(subject.clone(), "workers".into()).await.expect("subscribe");
        let mut everything = receiver.listen(&format!("{}.>", pair.me)).await;
        sender.say(&subject, "hi").await;
        assert_eq!(next(&mut everything).await.payload, "hi");
        assert_eq!(next(&mut queue).await.payload, "hi");

        let service = format!("{}.double", pair.me);
        let mut requests = receiver.listen(&service).await;
        let answering = async {
            let request = next(&mut requests).await;
            let reply = request.reply.expect("a reply subject");
            receiver.publish(reply, "42".into()).await.expect("publish");
        };
        let (reply, ()) = tokio::join!(sender.request(service, "21".into()), answering);
        assert_eq!(
            reply.unwrap_or_else(|e| panic!("{e}: {:?} {:?}", sender.errors(), receiver.errors())).payload,
            "42"
        );
        assert_eq!((sender.errors(), receiver.errors()), (vec![], vec![]));
    }
}

#[tokio::test]
async fn own_streams_and_buckets_work() {
    let project = booted();
    for pair in PAIRS {
        let app = project.connect(pair.app).await;
        let js = jetstream::new(app.client.clone());
        for i in 0..3 {
            let ack = js.publish(below(pair.stream_subject, "x"), format!("{i}").into()).await.expect("publish");
            assert_eq!(ack.await.expect("an acknowledgement").stream, pair.stream);
        }
        let stream = js.get_stream(pair.stream).await.expect("own stream");
        let durable = consumer::pull::Config { durable_name: Some("worker".into()), ..Default::default() };
        let pull = stream.create_consumer(durable).await.expect("a consumer");
        let mut batch = pull.fetch().max_messages(3).messages().await.expect("a batch");
        for i in 0..3 {
            let message = batch.next().await.expect("a message").expect("a message");
            assert_eq!(message.payload, format!("{i}"));
            message.double_ack().await.expect("an acknowledgement");
        }

        let bucket = js.get_key_value("settings").await.expect("own bucket");
        let mut watch = bucket.watch("colour").await.expect("watch");
        bucket.put("colour", pair.me.into()).await.expect("put");
        assert_eq!(bucket.get("colour").await.expect("get").expect("a value"), pair.me);
        let seen = watch.next().await.expect("an entry").expect("an entry");
        assert_eq!(seen.value, pair.me);
        bucket.delete("colour").await.expect("delete");
        bucket.purge("colour").await.expect("purge");
        assert_eq!(app.errors(), Vec::<String>::new());
    }
    // One name, two buckets: what A wrote B never saw, and the loop above
    // would have found the wrong tenant's name in it.
}

#[tokio::test]
async fn the_others_subjects_are_refused() {
    let project = booted();
    for pair in PAIRS {
        for who in [pair.app, pair.admin] {
            let attacker = project.connect(who).await;
            let other = pair.other;
            for subject in [format!("{other}.x"), format!("{other}.events.x"), other.to_owned()] {
                attacker.cannot_publish(&subject).await;
                attacker.cannot_subscribe(&subject).await;
                attacker.cannot_join_queue(&subject, "workers").await;
            }
            // The control: the same connection may do the same things at home.
            let mut own = attacker.listen(&format!("{}.x", pair.me)).await;
            attacker.say(&format!("{}.x", pair.me), "mine").await;
            assert_eq!(next(&mut own).await.payload, "mine");
        }
    }
}

#[tokio::test]
async fn wildcards_are_refused() {
    let project = booted();
    for pair in PAIRS {
        for who in [pair.app, pair.admin] {
            let attacker = project.connect(who).await;
            for subject in [
                ">",
                "*",
                "*.>",
                "*.*",
                "*.x",
                "TENANT_*.x",
                "$SYS.>",
                "$JS.>",
                "$JS.API.>",
                "$KV.>",
                "_INBOX.>",
                "_R_.>",
            ] {
                attacker.cannot_subscribe(subject).await;
            }
            let theirs = project.creds(pair.other_app).inbox_prefix;
            attacker.cannot_subscribe(&format!("{theirs}.>")).await;
        }
    }
}

/// Another user's inbox in the same account is refused too.
#[tokio::test]
async fn inboxes_are_private() {
    let project = booted();
    let app = project.connect("TENANT_B/tenant_b_app").await;
    app.cannot_subscribe("_INBOX_tenant_b_worker.>").await;
    app.cannot_subscribe("_INBOX.>").await;
    let app = project.connect("TENANT_A/tenant_a_app").await;
    app.cannot_subscribe("_INBOX_tenant_a_admin.>").await;
    app.cannot_publish("_INBOX_tenant_b_app.x").await;
    // Who does not answer requests writes into no inbox.
    project.connect("TENANT_A/tenant_a_auditor").await.cannot_publish("_INBOX_tenant_a_admin.x").await;
}

#[tokio::test]
async fn the_others_streams_cannot_be_seen_read_or_destroyed() {
    let project = booted();
    for pair in &PAIRS {
        let victim = project.connect(pair.other_app).await;
        let victim_js = jetstream::new(victim.client.clone());
        let subject = below(pair.other_subject, "secret");
        victim_js.publish(subject.clone(), "secret".into()).await.expect("publish").await.expect("an acknowledgement");
        let before = messages(&project, pair.other_admin, pair.other_stream).await;

        // The strongest user a tenant has: all of `$JS.API.>`, in its own account.
        let attacker = project.connect(pair.admin).await;
        let js = jetstream::new(attacker.client.clone());
        let names: Vec<String> = js.stream_names().try_collect().await.expect("names");
        assert!(names.len() == 2 && names.contains(&pair.stream.to_owned()), "{names:?}");
        let name = pair.other_stream;
        for (verb, body) in [
            (format!("$JS.API.STREAM.INFO.{name}"), json!({ "subjects_filter": ">" })),
            (format!("$JS.API.STREAM.MSG.GET.{name}"), json!({ "seq": 1 })),
            (format!("$JS.API.STREAM.PURGE.{name}"), json!({})),
            (format!("$JS.API.STREAM.MSG.DELETE.{name}"), json!({ "seq": 1 })),
            (format!("$JS.API.STREAM.DELETE.{name}"), json!({})),
            (format!("$JS.API.CONSUMER.NAMES.{name}"), json!({})),
        ] {
            let answer = ask(&attacker, &verb, body).await.expect("the API answers");
            assert_eq!(answer["error"]["code"], 404, "{verb}: {answer}");
        }
        // The control: the same verb on the same connection finds its own stream.
        let own = ask(&attacker, &format!("$JS.API.STREAM.INFO.{}", pair.stream), json!({})).await.expect("an answer");
        assert_eq!(own["config"]["name"], pair.stream);
        assert_eq!(messages(&project, pair.other_admin, name).await, before);

        // An app cannot even ask.
        let app = project.connect(pair.app).await;
        for verb in ["STREAM.INFO", "STREAM.PURGE", "STREAM.DELETE", "STREAM.CREATE", "CONSUMER.CREATE"] {
            app.cannot_publish(&format!("$JS.API.{verb}.{name}")).await;
        }
    }
}

#[tokio::test]
async fn the_others_streams_cannot_be_copied_or_captured() {
    let project = booted();
    for pair in &PAIRS {
        let attacker = project.connect(pair.admin).await;
        let create = |name: &str, mut config: serde_json::Value| {
            config["name"] = json!(name);
            config["storage"] = json!("memory");
            config["max_bytes"] = json!(1 << 20);
            (format!("$JS.API.STREAM.CREATE.{name}"), config)
        };
        let theirs = pair.other_stream;
        let attempts = [
            create("CAPTURE", json!({ "subjects": [pair.other_subject] })),
            create("MIRROR", json!({ "mirror": { "name": theirs } })),
            create(
                "MIRROR_API",
                json!({ "mirror": { "name": theirs, "external": { "api": "$JS.API", "deliver": "x" } } }),
            ),
            create("SOURCE", json!({ "sources": [{ "name": theirs }] })),
        ];
        let mut made = Vec::new();
        for (subject, config) in attempts {
            let answer = ask(&attacker, &subject, config.clone()).await.expect("the API answers");
            if answer["error"].is_null() {
                made.push(config["name"].as_str().expect("a name").to_owned());
            }
        }
        assert!(made.contains(&"CAPTURE".to_owned()), "in its own account it may: {made:?}");

        // The other publishes; its own stream gets it, none of the copies does.
        let victim = project.connect(pair.other_app).await;
        let victim_js = jetstream::new(victim.client.clone());
        let before = messages(&project, pair.other_admin, theirs).await;
        for i in 0..5 {
            let ack = victim_js.publish(below(pair.other_subject, "x"), format!("{i}").into()).await.expect("publish");
            ack.await.expect("an acknowledgement");
        }
        assert_eq!(messages(&project, pair.other_admin, theirs).await, before + 5);
        // The control: a copy of one's own stream does fill.
        let app = project.connect(pair.app).await;
        let (subject, config) = create("OWN_COPY", json!({ "sources": [{ "name": pair.stream }] }));
        let answer = ask(&attacker, &subject, config).await.expect("the API answers");
        assert!(answer["error"].is_null(), "{answer}");
        let js = jetstream::new(app.client.clone());
        js.publish(below(pair.stream_subject, "x"), "own".into())
            .await
            .expect("publish")
            .await
            .expect("an acknowledgement");
        crate::support::eventually("the copy of the own stream", || async {
            messages(&project, pair.admin, "OWN_COPY").await >= 1
        })
        .await;
        for name in &made {
            assert_eq!(messages(&project, pair.admin, name).await, 0, "{name} holds the other's messages");
        }
        for name in made.iter().map(String::as_str).chain(["OWN_COPY"]) {
            ask(&attacker, &format!("$JS.API.STREAM.DELETE.{name}"), json!({})).await.expect("the API answers");
        }
    }
}

#[tokio::test]
async fn system_requests_reach_nothing() {
    let project = booted();
    let system = project.connect("SYS/sys_admin").await;
    // It hears its own request, so from then on it is listening.
    let mut heard = system.subscribe("$SYS.REQ.>").await.expect("subscribe");
    ask(&system, "$SYS.REQ.SERVER.PING.IDZ", json!({})).await.expect("the system account is answered");
    assert_eq!(next(&mut heard).await.subject.as_str(), "$SYS.REQ.SERVER.PING.IDZ");
    for pair in PAIRS {
        for who in [pair.app, pair.admin] {
            let attacker = project.connect(who).await;
            for subject in [
                "$SYS.REQ.SERVER.PING".to_owned(),
                "$SYS.REQ.SERVER.PING.VARZ".to_owned(),
                "$SYS.REQ.SERVER.PING.CONNZ".to_owned(),
                "$SYS.REQ.ACCOUNT.PING.CONNZ".to_owned(),
                format!("$SYS.REQ.ACCOUNT.{}.CONNZ", pair.other),
                format!("$SYS.REQ.ACCOUNT.{}.INFO", pair.me),
                "$SYS.REQ.CLAIMS.LIST".to_owned(),
                format!("$SYS.ACCOUNT.{}.CONNECT", pair.other),
            ] {
                attacker.cannot_publish(&subject).await;
            }
        }
    }
    // The control: the next thing the system account hears is its own request.
    let answer = ask(&system, "$SYS.REQ.SERVER.PING.VARZ", json!({})).await.expect("the system account is answered");
    assert_eq!(answer["server"]["name"], "dev");
    assert_eq!(next(&mut heard).await.subject.as_str(), "$SYS.REQ.SERVER.PING.VARZ");
}

#[tokio::test]
async fn only_the_right_secret_gets_in() {
    let project = booted();
    let right = project.creds("TENANT_A/tenant_a_app");
    let theirs = project.creds("TENANT_B/tenant_b_app");
    let stranger = nkeys::KeyPair::new_user().seed().expect("a seed");
    let with = |login: Option<&str>, password: Option<&str>, seed: Option<&str>| Creds {
        login: login.map(str::to_owned),
        password: password.map(str::to_owned),
        seed: seed.map(str::to_owned),
        ..right.clone()
    };
    let wrong = [
        ("anonymous", with(None, None, None)),
        ("no password", with(right.login.as_deref(), Some(""), None)),
        ("wrong password", with(right.login.as_deref(), Some("wrong"), None)),
        ("the other's name with one's own password", with(theirs.login.as_deref(), right.password.as_deref(), None)),
        ("an unknown user", with(Some("nobody"), right.password.as_deref(), None)),
        ("the account's name as user", with(Some("TENANT_A"), right.password.as_deref(), None)),
        ("the hash as password", with(right.login.as_deref(), Some(&hash_of(&project, "tenant_a_app")), None)),
        ("a stranger's nkey", with(None, None, Some(&stranger))),
        // An nkey user has a name in the registry; the server knows it by key alone.
        ("an nkey user by name", with(Some("tenant_b_worker"), Some(""), None)),
    ];
    for (what, creds) in wrong {
        let error = creds.connect().await.err().unwrap_or_else(|| panic!("{what} got in"));
        assert!(error.to_string().to_lowercase().contains("authorization violation"), "{what}: {error}");
    }
    // The control: the right ones do.
    for who in ["TENANT_A/tenant_a_app", "TENANT_A/tenant_a_admin", "TENANT_B/tenant_b_worker", "SYS/sys_admin"] {
        project.connect(who).await;
    }
}

fn hash_of(project: &Project, user: &str) -> String {
    let conf = project.read("infra/nats/accounts.conf");
    let after = conf.split(&format!("user: \"{user}\"")).nth(1).expect("the user is in the configuration");
    after.split('"').nth(1).expect("a hash").to_owned()
}
