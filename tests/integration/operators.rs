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
    accounts: Vec<(&'static str, KeyPair, String)>,
}

impl World {
    /// Three tenants. A offers a stream to everybody, one and a service by activation, and services
    /// by the importer's key; B and C import what they may, and try what they may not.
    fn new() -> Self {
        let operator = KeyPair::new_operator();
        let signing = KeyPair::new_operator();
        let [a, b, c, system] = [(); 4].map(|()| KeyPair::new_account());
        let a_signing = KeyPair::new_account();
        let unlimited = json!({ "conn": -1, "subs": -1, "payload": -1, "data": -1, "leaf": -1, "imports": -1, "exports": -1, "wildcards": true });
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
                { "name": "r", "subject": "revoked.>", "type": "stream", "token_req": true, "revocations": { "*": 1_700_000_001 } },
            ],
        });
        let named = |key: &KeyPair| format!("who.{}.x", key.public_key());
        let of_b = json!({ "limits": unlimited, "imports": [
            import("pub.>", "stream", "in.>", ""),
            import("svc.x", "service", "my.x", &activation(&b, &a, "svc.x", "service")),
            import("priv.>", "stream", "", ""),
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
        let accounts = vec![("A", a, of_a), ("B", b, of_b), ("C", c, of_c), ("SYS", system, system_jwt)];
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
        let user = KeyPair::new_user();
        let jwt = signed(key, &user, account, "user", json!({ "subs": -1, "data": -1, "payload": -1 }));
        let start = Instant::now();
        loop {
            let user = KeyPair::from_seed(&user.seed().expect("a seed")).expect("a pair");
            let user = std::sync::Arc::new(user);
            let options = ConnectOptions::with_jwt(jwt.clone(), move |nonce| {
                let user = user.clone();
                async move { user.sign(&nonce).map_err(async_nats::AuthError::new) }
            });
            match options.connect(format!("127.0.0.1:{port}")).await {
                Ok(client) => return client,
                Err(e) => assert!(start.elapsed() < PATIENCE, "{account} cannot connect: {e}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn subjects(&self) -> Vec<String> {
        let named = self.accounts[1..3].iter().map(|(_, key, _)| format!("who.{}.x", key.public_key()));
        let texts =
            ["pub.x", "priv.x", "priv.y", "svc.x", "svc.y", "my.x", "m.z", "ask", "pose", "revoked.x", "free.x"];
        texts.iter().map(|text| (*text).to_owned()).chain(named).collect()
    }
}

type Deliveries = BTreeSet<(String, String, String, String)>;

fn foretold(audit: &Audit, world: &World) -> Deliveries {
    let mut all = Deliveries::new();
    for from in audit.system.users().filter(|(account, _)| account.name != "SYS") {
        for to in audit.system.users().filter(|(account, _)| account.name != "SYS") {
            for text in world.subjects() {
                let subject = Subject::parse(&text).expect("a subject");
                for path in reach::paths(&audit.system, Question { from, to, subject: Some(&subject) }).paths {
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
    assert_eq!(crossings("A", "B"), 2, "the stream for everybody, by a mapping too");
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
    let strange = world.conf(4222).replace(&world.operator, &other.operator);
    project.write("strange.conf", &strange);
    let ran = project.run(&["audit", "strange.conf"]).exited(3);
    assert!(ran.stderr.contains("no operator of this file has signed the account"), "{}", ran.stderr);
    let broken = world.conf(4222).replace(jwt, &jwt[..jwt.len() - 5]);
    project.write("broken.conf", &broken);
    let ran = project.run(&["audit", "broken.conf"]).exited(2);
    assert!(
        ran.stderr.contains(&format!("the JWT of `{}` is not a valid account JWT", key.public_key())),
        "{}",
        ran.stderr
    );
    let refused = Command::new(nats_server()).args(["-t", "-c"]).arg(project.path().join("broken.conf")).output();
    assert!(!refused.expect("nats-server runs").status.success(), "the server refuses it too");
}
