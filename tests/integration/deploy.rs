//! `deploy`: files are pushed to servers that tenantry did not start, reloaded, confirmed, and put back if anything is wrong.

use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::support::{Creds, Project, eventually, free_port, nats_server};

/// A server elsewhere: its own folder, to which the registry's `push` copies.
struct Remote {
    server: Child,
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The committed registry with a template of its own, for servers that listen on these ports and store below the folder.
fn project() -> Project {
    let project = Project::new();
    let folder = project.path().display().to_string();
    let template = include_str!("../../templates/nats/nats-server.conf.hbs");
    let listen = template.lines().find(|line| line.starts_with("listen:")).expect("a listener");
    let http = template.lines().find(|line| line.contains("http:")).expect("monitoring");
    let store = template.lines().find(|line| line.contains("store_dir:")).expect("a store");
    let template = template
        .replace(listen, &format!("listen: \"127.0.0.1:{}\"", project.port))
        .replace(http, &format!("http: \"127.0.0.1:{}\"", project.monitor))
        .replace(store, &format!("store_dir: \"{folder}/remote/data\""));
    project.write("mine/nats/nats-server.conf.hbs", &template);
    project.write("remote/note", "");
    let text = project.read("tenants.toml");
    project.write("tenants.toml", &format!("{text}\n[deploy]\npush = \"./push\"\n"));
    push(&project, "cp \"$BUNDLE\"/nats/* remote/");
    project
}

/// Sets the command by which files get to the server.
fn push(project: &Project, script: &str) {
    project.write("push", &format!("#!/bin/sh\n{script}\n"));
    let status = Command::new("chmod").arg("+x").arg(project.path().join("push")).status();
    assert!(status.expect("chmod").success());
}

async fn start(project: &Project) -> Remote {
    project.run(&["render", "--templates", "mine"]).succeeded();
    for file in ["nats-server.conf", "accounts.conf"] {
        let text = project.read(&format!("infra/nats/{file}"));
        project.write(&format!("remote/{file}"), &text);
    }
    let mut command = Command::new(nats_server());
    command.arg("-c").arg(project.path().join("remote/nats-server.conf")).stdout(Stdio::null()).stderr(Stdio::null());
    let remote = Remote { server: command.spawn().expect("it starts") };
    let creds = project.creds("TENANT_A/tenant_a_app");
    eventually("the server", async || creds.connect().await.is_ok()).await;
    remote
}

const DEPLOY: [&str; 5] = ["deploy", "--templates", "mine", "--format", "json"];

async fn is_in(creds: &Creds) -> bool {
    creds.connect().await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_elsewhere_gets_the_new_configuration_or_keeps_the_old_one() {
    let project = project();
    let _remote = start(&project).await;
    let client = project.connect("TENANT_A/tenant_a_app").await;
    let first = project.run(&DEPLOY).exited(0).json();
    assert_eq!(
        (&first["action"], first["servers"].as_array().map(Vec::len)),
        (&json!("unchanged"), Some(1)),
        "{first}"
    );

    // A new tenant with a stream, and a secret that is replaced.
    let old = project.creds("TENANT_B/tenant_b_app");
    let added = project.run(&["tenant", "add", "NEW", "--storage", "64MiB"]).succeeded();
    assert!(added.stderr.contains("next: tenantry deploy, then tenantry creds NEW/app"), "{}", added.stderr);
    project.run(&["user", "rotate", "TENANT_B/tenant_b_app"]).succeeded();
    let new = project.creds("TENANT_B/tenant_b_app");
    let url = new.url.clone();
    let plan = || project.run(&["plan", "--templates", "mine", "--server", &url, "--format", "json"]);
    let planned = plan().exited(1).json();
    assert_eq!(planned["disconnects"], json!(["TENANT_B/tenant_b_app"]), "{planned}");
    assert!(planned["accounts"].to_string().contains("\"NEW\""), "{planned}");
    let done = project.run(&DEPLOY).exited(0).json();
    assert_eq!(done["action"], "deployed", "{done}");
    assert!(is_in(&new).await && !is_in(&old).await && is_in(&project.creds("NEW/app")).await && !client.was_lost());
    project.run(&["render", "--check", "--templates", "mine"]).exited(0);
    let planned = plan().exited(0).json();
    assert_eq!((&planned["reload"], &planned["disconnects"]), (&json!(false), &json!([])), "{planned}");
    let before = project.read("remote/accounts.conf");
    let registry = project.read("tenants.toml");

    // The command fails; it lies; the server refuses what it gets.
    let bundle = project.read("infra/nats/accounts.conf");
    project.run(&["user", "rotate", "TENANT_B/tenant_b_app"]).succeeded();
    for (script, words) in [
        ("echo 'no route to host' >&2; exit 1", "no route to host"),
        ("exit 0", "runs another configuration than was pushed"),
        (
            "if [ -e broken ]; then cp \"$BUNDLE\"/nats/* remote/; else touch broken; echo 'nonsense {' > remote/accounts.conf; fi",
            "did not reload",
        ),
    ] {
        push(&project, script);
        let failed = project.run(&DEPLOY);
        assert!(failed.stderr.contains(words), "{script}: {}", failed.all());
        assert!([1, 3].contains(&failed.code), "{script}: {}", failed.all());
        assert!(is_in(&new).await && !client.was_lost(), "{script}");
        assert_eq!(project.read("infra/nats/accounts.conf"), bundle, "{script}: nothing was rendered");
    }
    assert_eq!(project.read("remote/accounts.conf"), before, "put back");

    // What needs a restart is refused before anything is pushed.
    push(&project, "cp \"$BUNDLE\"/nats/* remote/");
    project.write("tenants.toml", &registry.replacen("name            = \"dev\"", "name            = \"other\"", 1));
    let refused = project.run(&DEPLOY).exited(1);
    assert!(
        refused.stderr.contains("nothing was pushed") && refused.stderr.contains("server_name"),
        "{}",
        refused.all()
    );
    assert_eq!(project.read("remote/accounts.conf"), before);

    // The control: the same change is taken at last.
    project.write("tenants.toml", &registry);
    project.run(&["user", "rotate", "TENANT_B/tenant_b_app"]).succeeded();
    assert_eq!(project.run(&DEPLOY).exited(0).json()["action"], "deployed");
    assert!(!is_in(&new).await && is_in(&project.creds("TENANT_B/tenant_b_app")).await && !client.was_lost());
}

/// The operator's own secret is replaced by the login that it replaces; and one deployment waits for another.
#[tokio::test(flavor = "multi_thread")]
async fn the_operators_secret_is_replaced_and_deployments_wait_for_each_other() {
    let project = project();
    let _remote = start(&project).await;
    let old = project.creds("SYS/sys_admin");
    project.run(&["user", "rotate", "SYS/sys_admin"]).succeeded();
    let planned =
        project.run(&["plan", "--templates", "mine", "--server", &old.url, "--format", "json"]).exited(1).json();
    assert_eq!((&planned["reload"], &planned["disconnects"]), (&json!(true), &json!(["SYS/sys_admin"])), "{planned}");
    let done = project.run(&DEPLOY).exited(0).json();
    assert_eq!(done["action"], "deployed", "{done}");
    assert!(!is_in(&old).await && is_in(&project.creds("SYS/sys_admin")).await);

    // The first one is slow, and the registry changes meanwhile: what is declared last runs.
    push(&project, "touch pushing; until [ -e go ]; do sleep 0.05; done; cp \"$BUNDLE\"/nats/* remote/");
    project.run(&["user", "rotate", "TENANT_B/tenant_b_app"]).succeeded();
    let spawn = || project.command(&DEPLOY).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    let mut first = spawn();
    eventually("the push", async || project.path().join("pushing").exists()).await;
    project.run(&["user", "rotate", "TENANT_B/tenant_b_worker"]).succeeded();
    let mut second = spawn();
    assert!(first.try_wait().expect("it runs").is_none(), "the control: it has not ended");
    project.write("go", "");
    assert!(first.wait().expect("it ends").success() && second.wait().expect("it ends").success());
    for who in ["TENANT_B/tenant_b_app", "TENANT_B/tenant_b_worker"] {
        assert!(is_in(&project.creds(who)).await, "{who}");
    }
    project.run(&["plan", "--templates", "mine", "--server", &old.url]).exited(0);
}

/// Where accounts cannot be compared, a plan does not say that all is well.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_could_not_compare_says_so() {
    let project = project();
    let remote = start(&project).await;
    let url = project.creds("TENANT_A/tenant_a_app").url;
    let plan = || project.run(&["plan", "--templates", "mine", "--server", &url]);
    project.run(&DEPLOY).exited(0);
    assert!(!plan().exited(0).all().contains("not compared"), "the control");
    drop(remote);
    let accounts = project.read("remote/accounts.conf");
    project.write("remote/accounts.conf", &format!("{accounts}\nmax_traced_msg_len: 7\n"));
    let mut command = Command::new(nats_server());
    command.arg("-c").arg(project.path().join("remote/nats-server.conf")).stdout(Stdio::null()).stderr(Stdio::null());
    let _remote = Remote { server: command.spawn().expect("it starts") };
    let creds = project.creds("TENANT_A/tenant_a_app");
    eventually("the server", async || creds.connect().await.is_ok()).await;
    assert!(plan().exited(3).all().contains("not compared"), "by hand somebody changed what it runs");
}

#[tokio::test]
async fn without_a_way_to_the_server_it_is_said() {
    let project = Project::new();
    let ran = project.run(&["deploy"]).exited(2);
    assert!(ran.stderr.contains("[deploy]") && ran.stderr.contains("push = "), "{}", ran.stderr);
    let project = self::project();
    let nowhere = format!("nats://127.0.0.1:{}", free_port());
    let ran = project.run(&["deploy", "--templates", "mine", "--server", &nowhere]).exited(3);
    assert!(ran.stderr.contains("cannot connect as the operator"), "{}", ran.stderr);
    assert!(!project.path().join("remote/accounts.conf").exists());
}
