//! What can go wrong between a plan and its end: servers that go away or are full, others
//! who change the same streams, tenants that fail, and what goes with what is changed.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::provision::{HEAD, boss, info, plan, project, store};
use crate::support::{Connection, Project, ask, eventually};

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

/// Has an administrator make or change something by hand.
async fn made(admin: &Connection, name: &str, config: Json) {
    let answer = ask(admin, &format!("$JS.API.{name}"), config).await.expect("an answer");
    assert!(answer["error"].is_null(), "{answer}");
}

/// Before anything is deleted it is looked at what goes with it, and whether it can be made again.
#[tokio::test]
async fn nothing_goes_without_a_word() {
    let project = project("[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.s.>\"]\n");
    let admin = boss(&project).await;
    store(&admin, "T.s.1", 5).await;
    made(&admin, "CONSUMER.CREATE.S.mine", json!({ "stream_name": "S", "config": { "durable_name": "mine" } })).await;
    made(&admin, "STREAM.CREATE.OTHER", json!({ "name": "OTHER", "subjects": ["T.other.>"] })).await;
    made(&admin, "STREAM.CREATE.KV_hand", json!({ "name": "KV_hand", "subjects": ["$KV.hand.>"] })).await;

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
        "stream OTHER on the server has its subjects or its share",
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
    made(&admin, "STREAM.UPDATE.S", json!({ "name": "S", "subjects": ["T.s.>"], "description": words })).await;
    let evil = "z;touch${IFS}PWNED";
    made(
        &admin,
        &format!("STREAM.CREATE.{evil}"),
        json!({ "name": evil, "subjects": ["T.evil"], "metadata": { "tenantry": "forged" } }),
    )
    .await;
    made(&admin, "STREAM.CREATE.$EVIL", json!({ "name": "$EVIL", "subjects": ["T.more"] })).await;
    let said = project.run(&["plan"]).exited(1).all();
    assert!(said.contains("all is well") && said.contains("stream $EVIL") && said.contains(evil), "{said}");
    assert!(!said.contains('\u{1b}') && !said.contains('\u{202e}') && !said.contains("\nall is well"), "{said}");
    assert!(!said.contains("--delete T/z"), "nothing to paste that a shell would run: {said}");
}

/// The server runs with a smaller payload limit than the registry has by now: the
/// connection that it cuts is an error at once, and not a wait for an answer.
#[test]
fn a_connection_that_the_server_cuts_is_an_error() {
    let tenant = |payload: &str, more: &str| {
        format!(
            "version = 1\n[server]\nname = \"cut\"\nclient = \"127.0.0.1:4222\"\n[server.jetstream]\nstorage = \"64MiB\"\n\
             [[tenant]]\nname = \"T\"\n[tenant.limits]\npayload = \"{payload}\"\n[tenant.jetstream]\nstorage = \"1MiB\"\n\
             [[tenant.user]]\nname = \"u\"\n{more}"
        )
    };
    let bucket = "[[tenant.bucket]]\nname = \"b\"\n";
    let project = Project::with_registry(&tenant("300B", ""));
    project.up();
    project.write("tenants.toml", &project.on_own_ports(&tenant("1MiB", bucket)));
    let said = project.run(&["apply"]).exited(1);
    assert!(said.all().contains("the server closed the connection"), "{}", said.all());
    // The control: with the limit that the registry has it works.
    project.run(&["up"]).succeeded();
    project.run(&["apply"]).succeeded();
}
