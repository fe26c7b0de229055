//! Accounts in JWTs: what is foretold of them is what a server with that operator does.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions, Subscriber};
use data_encoding::BASE64URL_NOPAD;
use futures_util::StreamExt as _;
use nkeys::KeyPair;
use serde_json::{Value as Json, json};
use tenantry::audit::reach::{self, Question};
use tenantry::audit::{self, Audit};
use tenantry::subject::Subject;

use crate::differential::Server;
use crate::support::{PATIENCE, Project, nats_server};

/// A JWT with these claims, signed by `issuer`, as nats-io/jwt version 2 writes it.
fn signed(issuer: &KeyPair, subject: &KeyPair, name: &str, kind: &str, mut nats: Json) -> String {
    nats["type"] = kind.into();
    nats["version"] = 2.into();
    let header = BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let claims = json!({
        "jti": "x", "iat": 1_700_000_000, "iss": issuer.public_key(), "sub": subject.public_key(), "name": name, "nats": nats,
    });
    let signed = format!("{header}.{}", BASE64URL_NOPAD.encode(claims.to_string().as_bytes()));
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&issuer.sign(signed.as_bytes()).expect("a signature")))
}

/// An operator, its accounts with a user each, and their JWTs.
struct World {
    operator: String,
    accounts: Vec<(String, KeyPair, String)>,
}

impl World {
    /// Three tenants. A offers a stream to everybody, one and a service by activation, and services
    /// by the importer's key; B and C import what they may, and try what they may not.
    fn new() -> Self {
        let operator = KeyPair::new_operator();
        let signing = KeyPair::new_operator();
        let [a, b, c, system] = [(); 4].map(|()| KeyPair::new_account());
        let a_signing = KeyPair::new_account();
        let unlimited = unlimited();
        let activation = |to: &KeyPair, by: &KeyPair, subject: &str, kind: &str| {
            signed(
                by,
                to,
                "",
                "activation",
                json!({ "subject": subject, "kind": kind, "issuer_account": a.public_key() }),
            )
        };
        let import = |subject: &str, kind: &str, local: &str, token: &str| {
            let mut import = json!({ "name": "i", "subject": subject, "account": a.public_key(), "type": kind });
            if !local.is_empty() {
                import["local_subject"] = local.into();
            }
            if !token.is_empty() {
                import["token"] = token.into();
            }
            import
        };
        let of_a = json!({
            "limits": unlimited,
            "signing_keys": [a_signing.public_key()],
            "mappings": { "m.*": [{ "subject": "pub.$1" }] },
            "exports": [
                { "name": "p", "subject": "pub.>", "type": "stream" },
                { "name": "q", "subject": "priv.>", "type": "stream", "token_req": true },
                { "name": "s", "subject": "svc.*", "type": "service", "token_req": true },
                { "name": "w", "subject": "who.*.x", "type": "service", "account_token_position": 2 },
                { "name": "o", "subject": "odd.>.y", "type": "stream" },
                { "name": "r", "subject": "revoked.>", "type": "stream", "token_req": true, "revocations": { "*": 1_700_000_001 } },
            ],
        });
        let named = |key: &KeyPair| format!("who.{}.x", key.public_key());
        let of_b = json!({ "limits": unlimited, "imports": [
            import("pub.>", "stream", "in.>", ""),
            import("svc.x", "service", "my.x", &activation(&b, &a, "svc.x", "service")),
            import("priv.>", "stream", "", ""),
            import("odd.a", "stream", "", ""),
            import("odd.*.*", "stream", "turned.$2.$1", ""),
            import("odd.*.*.*", "stream", "twice.$1.$1.$1", ""),
            import("revoked.>", "stream", "", &activation(&b, &a, "revoked.>", "stream")),
        ] });
        let of_c = json!({ "limits": unlimited, "imports": [
            import("priv.x", "stream", "", &activation(&c, &a_signing, "priv.>", "stream")),
            import("svc.y", "service", "", ""),
            import(&named(&c), "service", "ask", ""),
            import(&named(&b), "service", "pose", ""),
        ] });
        let account = |key: &KeyPair, name: &str, nats: Json| signed(&signing, key, name, "account", nats);
        let jwts = [account(&a, "A", of_a), account(&b, "B", of_b), account(&c, "C", of_c)];
        let system_jwt = account(&system, "SYS", json!({ "limits": unlimited }));
        let claims = json!({ "signing_keys": [signing.public_key()], "system_account": system.public_key() });
        let operator = signed(&operator, &operator, "O", "operator", claims);
        let [of_a, of_b, of_c] = jwts;
        let accounts = [("A", a, of_a), ("B", b, of_b), ("C", c, of_c), ("SYS", system, system_jwt)];
        let accounts = accounts.map(|(name, key, jwt)| (name.to_owned(), key, jwt)).into();
        Self { operator, accounts }
    }

    fn conf(&self, port: u16) -> String {
        let mut text = format!(
            "listen: \"127.0.0.1:{port}\"\noperator: {}\nresolver: MEMORY\nresolver_preload {{\n",
            self.operator
        );
        for (_, key, jwt) in &self.accounts {
            let _ = writeln!(text, "  {}: {jwt}", key.public_key());
        }
        text + "}\n"
    }

    async fn connect(&self, account: &str, port: u16) -> Client {
        let (_, key, _) = self.accounts.iter().find(|(name, ..)| *name == account).expect("an account");
        let start = Instant::now();
        loop {
            match login(key, port).await {
                Ok(client) => return client,
                Err(e) => assert!(start.elapsed() < PATIENCE, "{account} cannot connect: {e}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn subjects(&self) -> Vec<String> {
        let named = self.accounts[1..3].iter().map(|(_, key, _)| format!("who.{}.x", key.public_key()));
        let texts = [
            "pub.x",
            "priv.x",
            "priv.y",
            "svc.x",
            "svc.y",
            "my.x",
            "m.z",
            "ask",
            "pose",
            "revoked.x",
            "free.x",
            "odd.a",
            "odd.b",
            "odd.c.d",
            "odd.c.d.e",
        ];
        texts.iter().map(|text| (*text).to_owned()).chain(named).collect()
    }
}

/// Logs in as a new user of an account.
async fn login(account: &KeyPair, port: u16) -> Result<Client, async_nats::ConnectError> {
    let user = std::sync::Arc::new(KeyPair::new_user());
    let jwt = signed(account, &user, "u", "user", json!({ "subs": -1, "data": -1, "payload": -1 }));
    let options = ConnectOptions::with_jwt(jwt, move |nonce| {
        let user = user.clone();
        async move { user.sign(&nonce).map_err(async_nats::AuthError::new) }
    });
    options.connect(format!("127.0.0.1:{port}")).await
}

type Deliveries = BTreeSet<(String, String, String, String)>;

fn foretold(audit: &Audit, world: &World) -> Deliveries {
    let mut all = Deliveries::new();
    for from in audit.system.users().filter(|(account, _)| account.name != "SYS") {
        for to in audit.system.users().filter(|(account, _)| account.name != "SYS") {
            for text in world.subjects() {
                let subject = Subject::parse(&text).expect("a subject");
                let paths = reach::paths(&audit.system, Question { from, to, subject: Some(&subject) }).paths;
                // No client of this test asks for traces.
                for path in paths.iter().filter(|path| !path.steps[0].0.contains("traces")) {
                    all.insert((from.0.name.clone(), to.0.name.clone(), text.clone(), path.arrives.to_string()));
                }
            }
        }
    }
    all
}

/// Reads until the client has heard its own message on `last`.
async fn heard(subscriber: &mut Subscriber, last: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    loop {
        let message = tokio::time::timeout(PATIENCE, subscriber.next()).await.expect("in time").expect("a message");
        if message.subject.as_str() == last {
            return all;
        }
        all.push((message.subject.to_string(), String::from_utf8_lossy(&message.payload).into_owned()));
    }
}

async fn observed(world: &World, port: u16) -> Deliveries {
    let mut clients = Vec::new();
    for account in ["A", "B", "C"] {
        let client = world.connect(account, port).await;
        let mut subscriber = client.subscribe(">").await.expect("subscribe");
        client.publish("done.0", "".into()).await.expect("publish");
        assert_eq!(heard(&mut subscriber, "done.0").await, []);
        clients.push((account, client, subscriber));
    }
    let mut all: Vec<(String, (String, String))> = Vec::new();
    for round in ["done.1", "done.2"] {
        for (account, client, subscriber) in &mut clients {
            for text in world.subjects().into_iter().filter(|_| round == "done.1") {
                client.publish(text.clone(), format!("{account} {text}").into()).await.expect("publish");
            }
            client.publish(round, "".into()).await.expect("publish");
            all.extend(heard(subscriber, round).await.into_iter().map(|message| ((*account).to_owned(), message)));
        }
    }
    let delivery = |(to, (subject, said)): (String, (String, String))| {
        let (from, text) = said.split_once(' ').expect("sender and subject");
        (from.to_owned(), to, text.to_owned(), subject)
    };
    all.into_iter().map(delivery).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_foretold_of_accounts_in_jwts_is_what_happens() {
    let (project, world) = (Project::new(), World::new());
    project.write("nats.conf", &world.conf(project.port));
    let path = project.path().join("nats.conf");
    let audit = audit::audit(&path, &|_| None).expect("accepted");
    let mut command = Command::new(nats_server());
    command.arg("-c").arg(&path).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = Server(command.spawn().expect("nats-server starts"));
    let (expected, found) = (foretold(&audit, &world), observed(&world, project.port).await);
    assert_eq!(found, expected);
    // The control: each kind of share carries something, and what is not activated does not.
    let crossings = |from: &str, to: &str| found.iter().filter(|(f, t, ..)| f == from && t == to).count();
    assert_eq!(crossings("A", "B"), 5, "the stream for everybody, by a mapping too, and three of `odd.>.y`");
    assert_eq!(crossings("A", "C"), 1, "the activated stream");
    assert_eq!((crossings("B", "A"), crossings("C", "A")), (1, 1), "services");
    assert_eq!((crossings("B", "C"), crossings("C", "B")), (0, 0));
}

#[test]
fn accounts_in_a_resolvers_folder_are_judged_as_those_in_the_file() {
    let (project, world) = (Project::new(), World::new());
    let found = |conf: &str| {
        project.write("nats.conf", conf);
        let ran = project.run(&["audit", "nats.conf", "--format", "json"]);
        let mut rules: Vec<String> = ran.json()["findings"]
            .as_array()
            .expect("findings")
            .iter()
            .map(|finding| format!("{} {}", finding["rule"], finding["message"]))
            .collect();
        rules.sort();
        (ran.code, rules)
    };
    let memory = world.conf(4222);
    let folder = project.path().join("jwt");
    let resolver = format!("resolver {{ type: full, dir: \"{}\" }}\n", folder.display());
    let full = memory.split("resolver: ").next().expect("before it").to_owned() + &resolver;
    let (code, rules) = found(&full);
    assert_eq!(code, 3, "without the folder nothing is known: {rules:?}");
    // As `nats-server -t` makes it, and with what the server itself puts into it.
    let (_, system, jwt) = world.accounts.iter().find(|(name, ..)| *name == "SYS").expect("the system account");
    project.write("jwt/.gitkeep", "");
    assert_eq!(found(&full).0, 3, "an empty folder says no more");
    project.write(&format!("jwt/{}.jwt", system.public_key()), jwt);
    assert_eq!(found(&full).0, 3, "nor does the system account's own");
    for (_, key, jwt) in &world.accounts {
        project.write(&format!("jwt/{}.jwt", key.public_key()), jwt);
    }
    let (code, rules) = found(&full);
    assert_eq!((code, &rules), (1, &found(&memory).1));
    assert!(rules.iter().any(|rule| rule.contains("public-export")), "the control: {rules:?}");
}

#[test]
fn an_account_that_no_operator_has_signed_is_undecided_and_a_broken_one_refused() {
    let (project, world) = (Project::new(), World::new());
    let other = World::new();
    let (_, key, jwt) = &world.accounts[1];
    let strange = format!("resolver_preload {{\n  {}: {jwt}", key.public_key());
    let strange = other.conf(4222).replace("resolver_preload {", &strange);
    project.write("strange.conf", &strange);
    let ran = project.run(&["audit", "strange.conf"]).exited(1);
    assert!(ran.stderr.contains("no operator of this file has signed the account"), "{}", ran.stderr);
    let lost = world.conf(4222).replace(&world.operator, &other.operator);
    project.write("lost.conf", &lost);
    let ran = project.run(&["audit", "lost.conf"]).exited(2);
    assert!(ran.stderr.contains("the server does not start without it"), "{}", ran.stderr);
    let broken = world.conf(4222).replace(jwt, &jwt[..jwt.len() - 5]);
    project.write("broken.conf", &broken);
    let ran = project.run(&["audit", "broken.conf"]).exited(2);
    assert!(
        ran.stderr.contains(&format!("the JWT of `{}` is not a valid account JWT", key.public_key())),
        "{}",
        ran.stderr
    );
    for file in ["broken.conf", "lost.conf"] {
        let ended = Command::new(nats_server()).arg("-c").arg(project.path().join(file)).output();
        assert!(!ended.expect("nats-server runs").status.success(), "the server does not start with {file}");
    }
}

/// What the server refuses beside an operator, each with the same that it takes; `-t` passes some of them.
#[test]
fn what_the_server_refuses_beside_an_operator_is_refused() {
    let project = Project::new();
    let world = World::new();
    let key = world.accounts[0].1.public_key();
    let refused = |more: &str| {
        project.write("n.conf", &format!("{}\n{more}\n", world.conf(4222)));
        audit::audit(&project.path().join("n.conf"), &|_| None).is_err()
    };
    assert!(!refused(""), "the control");
    for (wrong, right) in [
        ("mappings { a: b }".to_owned(), String::new()),
        ("resolver_pinned_accounts: [TA]".to_owned(), format!("resolver_pinned_accounts: [{key}]")),
        ("default_js_domain { TA: x }".to_owned(), format!("default_js_domain {{ {key}: x }}")),
        (
            "leafnodes { port: 7422, authorization { user: u, password: p, account: TA } }".to_owned(),
            format!("leafnodes {{ port: 7422, authorization {{ user: u, password: p, account: {key} }} }}"),
        ),
    ] {
        assert_eq!((refused(&wrong), refused(&right)), (true, false), "{wrong}");
    }
}

/// Scoped signing keys make users apart from each other, whose JWTs are elsewhere.
#[test]
fn an_account_with_scopes_may_be_several_tenants() {
    let project = Project::new();
    let operator = KeyPair::new_operator();
    let [account, system, one, two] = [(); 4].map(|()| KeyPair::new_account());
    let scope = |key: &KeyPair, subject: &str| {
        let allowed = json!({ "allow": [subject] });
        json!({ "kind": "user_scope", "key": key.public_key(), "role": "r", "template": { "pub": allowed, "sub": allowed, "subs": -1, "data": -1, "payload": -1 } })
    };
    for (scopes, is_undecided) in [
        (json!([scope(&one, "t1.>"), scope(&two, "t2.>")]), true),
        (json!([scope(&one, "{{name()}}.>")]), true),
        (json!([scope(&one, "t1.>"), scope(&two, "t1.>")]), false),
        (json!([scope(&one, "t1.>")]), false),
        (json!([one.public_key(), two.public_key()]), false),
    ] {
        let jwt = |key: &KeyPair, name: &str, nats: Json| signed(&operator, key, name, "account", nats);
        let of_account = jwt(&account, "A", json!({ "limits": unlimited(), "signing_keys": scopes }));
        let of_system = jwt(&system, "SYS", json!({ "limits": unlimited() }));
        let of_operator =
            signed(&operator, &operator, "O", "operator", json!({ "system_account": system.public_key() }));
        let preload = [(&account, of_account), (&system, of_system)];
        let preload: String = preload.iter().map(|(key, jwt)| format!("{}: {jwt}\n", key.public_key())).collect();
        let text = format!("operator: {of_operator}\nresolver: MEMORY\nresolver_preload {{\n{preload}}}\n");
        project.write("n.conf", &text);
        let audit = audit::audit(&project.path().join("n.conf"), &|_| None).expect("accepted");
        assert_eq!(audit.findings.iter().any(|f| f.rule == "undecided-tenants"), is_undecided, "{scopes}");
    }
}

/// Claims of an account that the server rejects, each beside some that it takes. `X` stands for the
/// key of an account that exports `>` as a stream and as a service.
fn claims() -> Vec<(Json, Json)> {
    let exports = |exports: Json| json!({ "exports": exports });
    let stream = |subject: &str| json!({ "subject": subject, "type": "stream" });
    let service = |subject: &str| json!({ "subject": subject, "type": "service" });
    let with = |mut share: Json, key: &str, value: Json| {
        share[key] = value;
        share
    };
    let of_x = |share: &Json| with(share.clone(), "account", "X".into());
    let import = |share: Json| json!({ "imports": [of_x(&share)] });
    let imports = |shares: &[Json]| json!({ "imports": shares.iter().map(of_x).collect::<Vec<_>>() });
    let local = |share: &Json, local: &str| import(with(share.clone(), "local_subject", local.into()));
    let latency = |results: &str, sampling: Json| {
        exports(json!([with(service("s"), "service_latency", json!({ "results": results, "sampling": sampling }))]))
    };
    let limits = |key: &str, value: i64, rest: Json| {
        let mut limits = unlimited();
        limits[key] = value.into();
        let mut claims = rest;
        claims["limits"] = limits;
        claims
    };
    let trace = |dest: &str, sampling: i64| json!({ "trace": { "dest": dest, "sampling": sampling } });
    let mapped = |from: &str, to: &[(&str, u8)]| {
        let to: Vec<Json> = to.iter().map(|(to, weight)| json!({ "subject": to, "weight": weight })).collect();
        json!({ "mappings": { from: to } })
    };
    let callout = |users: &[&str], accounts: &[&str]| json!({ "authorization": { "auth_users": users, "allowed_accounts": accounts } });
    let [user, account] = [KeyPair::new_user(), KeyPair::new_account()].map(|pair| pair.public_key());
    let [user, account] = [user.as_str(), account.as_str()];
    let defaults = |side: &str, subject: &str| json!({ "default_permissions": { side: { "allow": [subject] } } });
    vec![
        // Exports.
        (exports(json!([stream("a.>"), stream("a.b")])), exports(json!([stream("a.>"), service("a.b")]))),
        (exports(json!([service("a.*"), service("a.*")])), exports(json!([service("a.*"), service("a.b.c")]))),
        (exports(json!([stream("a b")])), exports(json!([stream("a.>.b")]))),
        (exports(json!([stream(".a")])), exports(json!([stream("a>")]))),
        (exports(json!([{ "subject": "a" }])), exports(json!([stream("a")]))),
        (exports(json!([null])), json!({ "exports": null })),
        (
            exports(json!([with(stream("a"), "allow_trace", true.into())])),
            exports(json!([with(service("a"), "allow_trace", true.into())])),
        ),
        (
            exports(json!([with(stream("a"), "response_type", "Stream".into())])),
            exports(json!([with(service("a"), "response_type", "Stream".into())])),
        ),
        (
            exports(json!([with(service("a"), "response_type", "stream".into())])),
            exports(json!([with(service("a"), "response_type", "Chunked".into())])),
        ),
        (
            exports(json!([with(stream("a"), "response_threshold", 1.into())])),
            exports(json!([with(service("a"), "response_threshold", 1.into())])),
        ),
        (
            exports(json!([with(service("a"), "response_threshold", (-1).into())])),
            exports(json!([with(service("a"), "response_threshold", 0.into())])),
        ),
        (
            exports(json!([with(stream("a.*"), "account_token_position", 1.into())])),
            exports(json!([with(stream("a.*"), "account_token_position", 2.into())])),
        ),
        (
            exports(json!([with(stream("a.*"), "account_token_position", 3.into())])),
            exports(json!([with(stream("*.*"), "account_token_position", 1.into())])),
        ),
        (
            exports(json!([with(stream("a"), "info_url", "x".into())])),
            exports(json!([with(stream("a"), "info_url", "https://x".into())])),
        ),
        (exports(json!([with(stream("a"), "service_latency", json!({ "results": "l" }))])), latency("l", json!(50))),
        (latency("l.*", json!(50)), latency("l.>.x", json!("headers"))),
        (latency("", json!(50)), latency("l", json!("HEADERS"))),
        (latency("l", json!(101)), latency("l", json!(100))),
        // Imports.
        (import(json!({ "subject": "a" })), import(stream("a"))),
        (json!({ "imports": [stream("a")] }), import(service("a"))),
        (import(with(stream("a"), "share", true.into())), import(with(service("a"), "share", true.into()))),
        (import(with(service("a"), "allow_trace", true.into())), import(with(stream("a"), "allow_trace", true.into()))),
        (imports(&[service("a.*"), service("a.b")]), imports(&[stream("a.*"), stream("a.b")])),
        (local(&stream("a.*"), "b"), local(&stream("a.*"), "b.$1")),
        (local(&stream("a"), "b.*"), local(&stream("a.*"), "b.*")),
        (local(&stream("a.*.*"), "b.$1"), local(&stream("a.*.*"), "b.$1.$1")),
        (local(&stream("a.>"), "b"), local(&stream("a.>"), "b.>")),
        (local(&service("a.*"), "b.$2"), local(&service("a.*.*"), "b.$2.$1")),
        (
            import(with(with(stream("a"), "to", "b".into()), "local_subject", "c".into())),
            import(with(stream("a"), "to", "b".into())),
        ),
        (import(with(stream("a"), "token", "x".into())), import(with(stream("a"), "token", "".into()))),
        (import(with(stream("a"), "token", "http://x/y".into())), import(with(stream("a"), "token", "".into()))),
        (import(stream("a..b")), import(stream("a.>.b"))),
        // Limits.
        (limits("imports", 0, import(stream("a"))), limits("imports", 1, import(stream("a")))),
        (limits("exports", 0, exports(json!([stream("a")]))), limits("exports", 1, exports(json!([stream("a")])))),
        (limits("imports", -2, json!({})), limits("imports", -1, json!({}))),
        (
            json!({ "limits": { "tiered_limits": { "": {} }, "conn": -1 } }),
            json!({ "limits": { "tiered_limits": { "R1": {} }, "conn": -1 } }),
        ),
        // Traces, mappings, permissions, callouts, keys, words.
        (trace("t.*", 0), trace("t", 0)),
        (trace("", 0), json!({ "trace": null })),
        (trace("t", 101), trace("t", 100)),
        (mapped("a", &[("b", 60), ("c", 60)]), mapped("a", &[("b", 60), ("c", 40)])),
        (mapped("a", &[("b c", 60)]), mapped("a", &[("b", 60)])),
        (mapped("a..b", &[("b", 60)]), mapped("a>", &[("b", 60)])),
        (mapped("a", &[("b", 0), ("c", 0)]), mapped("a", &[("b", 0)])),
        (defaults("pub", "a b"), defaults("sub", "a b")),
        (defaults("sub", "a b c"), defaults("sub", "a>")),
        (callout(&["x"], &[]), callout(&[], &[])),
        (callout(&[], &[account]), json!({})),
        (json!({ "signing_keys": [user] }), json!({ "signing_keys": [account] })),
        (
            json!({ "signing_keys": [{ "kind": "user_scope", "key": "x" }] }),
            json!({ "signing_keys": [{ "kind": "user_scope", "key": account }, 7] }),
        ),
        (json!({ "cluster_traffic": "none" }), json!({ "cluster_traffic": "owner" })),
        (json!({ "info_url": "x" }), json!({ "info_url": "https://x/y" })),
        (json!({ "info_url": "https://:80" }), json!({ "info_url": "ftp://u@x:80" })),
        (json!({ "description": "x".repeat(8193) }), json!({ "description": "x".repeat(8192) })),
    ]
}

fn unlimited() -> Json {
    json!({ "conn": -1, "subs": -1, "payload": -1, "data": -1, "leaf": -1, "imports": -1, "exports": -1, "wildcards": true })
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_the_server_rejects_are_foretold() {
    let (project, mut world) = (Project::new(), World::new());
    let (operator, system, exporter) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
    world.operator = signed(&operator, &operator, "O", "operator", json!({ "system_account": system.public_key() }));
    world.accounts.clear();
    let mut add = |name: String, key: KeyPair, mut nats: Json| {
        if nats["limits"].is_null() {
            nats["limits"] = unlimited();
        }
        let text = nats.to_string().replace("\"X\"", &format!("\"{}\"", exporter.public_key()));
        let jwt = signed(&operator, &key, &name, "account", serde_json::from_str(&text).expect("JSON"));
        world.accounts.push((name, key, jwt));
    };
    add("SYS".to_owned(), system, json!({}));
    for (i, (wrong, right)) in claims().into_iter().enumerate() {
        add(format!("wrong{i}"), KeyPair::new_account(), wrong);
        add(format!("right{i}"), KeyPair::new_account(), right);
    }
    let offers = json!({ "exports": [{ "subject": ">", "type": "stream" }, { "subject": ">", "type": "service" }] });
    add("X".to_owned(), KeyPair::from_seed(&exporter.seed().expect("a seed")).expect("a pair"), offers);
    project.write("nats.conf", &world.conf(project.port));
    let ran = project.run(&["audit", "nats.conf", "--format", "json"]);
    let messages: Vec<String> = ran.json()["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .filter_map(|finding| finding["message"].as_str().map(str::to_owned))
        .collect();
    let mut command = Command::new(nats_server());
    command.arg("-c").arg(project.path().join("nats.conf")).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = Server(command.spawn().expect("nats-server starts"));
    drop(world.connect("SYS", project.port).await);
    for (name, key, jwt) in &world.accounts {
        // Anything but a refusal says nothing: a busy machine is slow to log in.
        let start = Instant::now();
        let is_in = loop {
            match login(key, project.port).await {
                Ok(_) => break true,
                Err(error) if error.kind() == async_nats::ConnectErrorKind::AuthorizationViolation => break false,
                Err(error) => assert!(start.elapsed() < PATIENCE, "{name}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let foretold = messages.iter().find(|m| m.starts_with(&format!("the server rejects the account `{name}`: ")));
        assert_eq!(is_in, foretold.is_none(), "{name}: {foretold:?}\n{jwt}");
        assert_eq!(is_in, !name.starts_with("wrong"), "{name}: {foretold:?}\n{jwt}");
    }
}
