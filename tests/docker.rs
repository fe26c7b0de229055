//! `tenantry up --docker` on a real engine: the rendered compose file, the
//! mounted folder, the volume. It needs Docker and compose 2; `.ci/docker-engine`
//! gets both. Without them nothing is proved, and that is said loudly; with
//! `TENANTRY_REQUIRE_DOCKER=1` it is a failure.
//!
//! A target of its own, because one image is made for all cases and removed
//! after them, and because nobody's engine should be used by `--test integration`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test fails by panicking and reports by printing"
)]

#[allow(dead_code, reason = "made for the integration tests, which use all of it")]
#[path = "integration/support.rs"]
mod support;

#[path = "docker/images.rs"]
mod images;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_nats::jetstream;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use images::{Image, NATS_BOX, build_nats_box};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value as Json;
use support::{Connection, Project, eventually, next};
use tenantry::live::ready;

/// What the engine does takes longer than what the server does.
const ENGINE_PATIENCE: Duration = Duration::from_secs(60);

type Case = (&'static str, fn(&Stack) -> LocalBoxFuture<'_, ()>);

const CASES: &[Case] = &[
    ("tenants_are_served_and_kept_apart", |s| tenants_are_served_and_kept_apart(s).boxed_local()),
    ("ports_are_published_on_loopback_only", |s| ports_are_published_on_loopback_only(s).boxed_local()),
    ("the_container_becomes_healthy", |s| the_container_becomes_healthy(s).boxed_local()),
    ("data_outlives_the_container", |s| data_outlives_the_container(s).boxed_local()),
    ("onboarding_reloads_inside_the_container", |s| onboarding_reloads_inside_the_container(s).boxed_local()),
    ("a_refused_configuration_is_not_deployed", |s| a_refused_configuration_is_not_deployed(s).boxed_local()),
    ("a_server_that_dies_at_start_is_quoted", |s| a_server_that_dies_at_start_is_quoted(s).boxed_local()),
    ("a_replaced_container_is_not_called_a_reload", |s| a_replaced_container_is_not_called_a_reload(s).boxed_local()),
    ("anothers_container_is_left_alone", |s| anothers_container_is_left_alone(s).boxed_local()),
    ("a_private_umask_does_not_lock_the_server_out", |s| a_private_umask_does_not_lock_the_server_out(s).boxed_local()),
    ("no_secret_is_in_the_container", |s| no_secret_is_in_the_container(s).boxed_local()),
    ("the_container_can_do_next_to_nothing", |s| the_container_can_do_next_to_nothing(s).boxed_local()),
    ("init_makes_the_streams", |s| init_makes_the_streams(s).boxed_local()),
    ("init_nats_box_makes_the_same", |s| init_nats_box_makes_the_same(s).boxed_local()),
    ("status_and_down", |s| status_and_down(s).boxed_local()),
    ("a_port_in_use_is_said", |s| a_port_in_use_is_said(s).boxed_local()),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One stack at a time: the published ports are the same for all.
    arguments.test_threads = Some(1);
    let provided = if arguments.list { Err(String::new()) } else { engine().and_then(|()| Image::provide()) };
    let missing: BTreeMap<&str, String> = match &provided {
        Ok(image) => {
            println!("docker tests, with {image}");
            CASES.iter().filter_map(|(name, _)| Some((*name, lacks(name)?))).collect()
        }
        Err(why) => CASES.iter().map(|(name, _)| (*name, why.clone())).collect(),
    };
    let trial = |case: &'static Case| {
        let run = || if passes(case) { Ok(()) } else { Err(Failed::without_message()) };
        Trial::test(case.0, run).with_ignored_flag(!arguments.list && missing.contains_key(case.0))
    };
    let conclusion = libtest_mimic::run(&arguments, CASES.iter().map(trial).collect());
    if conclusion.num_ignored == 0 {
        return conclusion.exit_code();
    }
    let why: BTreeSet<&str> = missing.values().map(String::as_str).collect();
    let rest = did_not_run(&why.into_iter().collect::<Vec<_>>().join("\n"));
    if conclusion.has_failed() { ExitCode::FAILURE } else { rest }
}

/// tenantry's own image.
const OWN_IMAGE: &str = concat!("tenantry:", env!("CARGO_PKG_VERSION"));

/// What a case needs and is not there.
fn lacks(case: &str) -> Option<String> {
    match case {
        "init_makes_the_streams" => {
            let found = try_docker(&["image", "inspect", OWN_IMAGE]);
            (!found.status.success()).then(|| format!("there is no image {OWN_IMAGE}: `.ci/image` makes it"))
        }
        "init_nats_box_makes_the_same" => {
            let missing = "there is no nats command line: `.ci/nats-cli FILE`, and TENANTRY_NATS_CLI=FILE";
            nats_cli().is_none().then(|| missing.to_owned())
        }
        _ => None,
    }
}

fn nats_cli() -> Option<std::path::PathBuf> {
    let named = std::env::var_os("TENANTRY_NATS_CLI").map(std::path::PathBuf::from);
    named.or_else(|| which::which("nats").ok()).filter(|cli| cli.exists())
}

/// Nobody must take this for a pass.
fn did_not_run(why: &str) -> ExitCode {
    let required = std::env::var_os("TENANTRY_REQUIRE_DOCKER").is_some_and(|v| v == "1");
    let mut lines: Vec<String> =
        format!("DOCKER TESTS DID NOT RUN: {}", why.trim()).lines().map(str::to_owned).collect();
    lines.push("Nothing of it has been proved. `.ci/docker-engine` gets an engine, `.ci/image` the image.".into());
    if required {
        lines.push("TENANTRY_REQUIRE_DOCKER=1: this is a failure.".into());
    }
    let width = lines.iter().map(|l| l.chars().count()).max().unwrap_or(0);
    let edge = "#".repeat(width + 4);
    println!("{edge}");
    lines.iter().for_each(|line| println!("# {line:width$} #"));
    println!("{edge}");
    if required { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs one case on a stack of its own. False if it failed or left something behind.
fn passes((name, case): &Case) -> bool {
    let project = unused_project_name();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    // The stack is dropped while a failure unwinds, so that it knows of it.
    let done = catch_unwind(AssertUnwindSafe(|| {
        let stack = Stack::new(&project);
        runtime.block_on(case(&stack));
    }));
    let left = leftovers(&project);
    if !left.is_empty() {
        println!("{name}: left behind: {left:?}");
    }
    done.is_ok() && left.is_empty()
}

// ------------------------------------------------------------- the engine

/// Whether there is an engine and a compose that reads our file.
fn engine() -> Result<(), String> {
    let output = Command::new("docker").arg("info").stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("cannot run docker: {e}"))?;
    // Older clients exit with 0 although no engine answers.
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || said.contains("Cannot connect") {
        return Err(format!("no engine answers: {}", said.trim().lines().next_back().unwrap_or_default()));
    }
    compose().map(drop)
}

/// `docker compose`, or a `docker-compose` that is not version 1.
fn compose() -> Result<Command, String> {
    let version = |command: &mut Command| {
        let output = command.args(["version", "--short"]).stdin(Stdio::null()).output().ok()?;
        output.status.success().then(|| text(&output.stdout))
    };
    if version(Command::new("docker").arg("compose")).is_some() {
        let mut command = Command::new("docker");
        command.arg("compose");
        return Ok(command);
    }
    match version(&mut Command::new("docker-compose")) {
        Some(old) if old.starts_with("1.") => Err(format!("docker-compose {old} is too old")),
        Some(_) => Ok(Command::new("docker-compose")),
        None => Err("there is neither `docker compose` nor `docker-compose`".into()),
    }
}

fn try_docker(arguments: &[&str]) -> Output {
    Command::new("docker").args(arguments).stdin(Stdio::null()).output().expect("docker runs")
}

/// What docker prints; it must succeed.
fn docker(arguments: &[&str]) -> String {
    let output = try_docker(arguments);
    let said = text(&output.stderr);
    assert!(output.status.success(), "docker {}: {said}", arguments.join(" "));
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// Everything of a compose project that the engine still has.
fn leftovers(project: &str) -> Vec<String> {
    let filter = format!("label=com.docker.compose.project={project}");
    let kinds: [&[&str]; 3] = [&["ps", "-a"], &["volume", "ls"], &["network", "ls"]];
    let list = |kind: &[&str]| docker(&[kind, &["-q", "--filter", &filter]].concat());
    kinds.into_iter().flat_map(|kind| list(kind).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

// -------------------------------------------------------------- the stack

/// The name of a server that no other run has: the compose project is named
/// after it, and so is all that must be removed again.
fn unused_project_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("tenantry-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A project with its container, which are gone when this is.
struct Stack {
    project: Project,
    name: String,
}

impl Stack {
    /// The committed registry under another server name and on ports of its own.
    fn new(name: &str) -> Self {
        let project = Project::new();
        let server = name.strip_prefix("tenantry-").expect("compose projects are named tenantry-<server>");
        let mut registry: toml_edit::DocumentMut = project.read("tenants.toml").parse().expect("the registry is TOML");
        registry["server"]["name"] = toml_edit::value(server);
        project.write("tenants.toml", &registry.to_string());
        Self { project, name: name.to_owned() }
    }

    /// A stack that runs.
    fn up(&self) -> String {
        self.project.run(&["up", "--docker"]).succeeded().stdout
    }

    fn compose(&self, arguments: &[&str]) -> Output {
        let file = self.project.path().join("infra/docker-compose.yml");
        let mut command = compose().expect("compose");
        let user = format!("{}:{}", rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        command.env("TENANTRY_USER", user).env("NATS_BOX_IMAGE", NATS_BOX);
        command.arg("-f").arg(file).args(arguments).stdin(Stdio::null()).output().expect("compose runs")
    }

    /// The container, found without compose's help.
    fn container(&self) -> String {
        let filter = format!("label=com.docker.compose.project={}", self.name);
        let list = docker(&["ps", "-aq", "--no-trunc", "--filter", &filter]);
        assert_eq!(list.lines().count(), 1, "not one container: {list:?}");
        list
    }

    /// What the engine knows of the container.
    fn inspect(&self) -> Json {
        let list: Json = serde_json::from_str(&docker(&["inspect", &self.container()])).expect("inspect prints JSON");
        list[0].clone()
    }

    /// Runs a command in the container.
    fn exec(&self, arguments: &[&str]) -> Output {
        try_docker(&[&["exec", &self.container()], arguments].concat())
    }

    /// What a command in the container prints; it must succeed.
    fn exec_text(&self, arguments: &[&str]) -> String {
        let output = self.exec(arguments);
        assert!(output.status.success(), "{arguments:?} in the container: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Adds an option to the server's own template.
    fn break_template(&self, option: &str) {
        let template = include_str!("../templates/nats/nats-server.conf.hbs");
        self.project.write("mine/nats/nats-server.conf.hbs", &format!("{template}\n{option}\n"));
    }
}

impl Drop for Stack {
    /// Removes what is this project's and nothing else.
    fn drop(&mut self) {
        if !self.project.path().join("infra/docker-compose.yml").exists() {
            return;
        }
        if std::thread::panicking() {
            let output = self.compose(&["logs", "--tail=30", "nats"]);
            eprintln!("{}{}", text(&self.compose(&["ps", "-a"]).stdout), text(&output.stdout));
        }
        let output = self.compose(&["down", "--volumes", "--timeout", "5"]);
        if !output.status.success() {
            eprintln!("cannot remove {}: {}", self.name, text(&output.stderr));
        }
    }
}

/// Connects as soon as the server answers again.
async fn connect_again(stack: &Stack, who: &str) -> Connection {
    let creds = stack.project.creds(who);
    eventually("connecting again", || async { creds.connect().await.is_ok() }).await;
    stack.project.connect(who).await
}

/// The user's own subject works on this connection.
async fn works(client: &Connection, subject: &str) {
    let mut own = client.listen(subject).await;
    client.say(subject, "hello").await;
    assert_eq!(next(&mut own).await.payload, "hello");
}

// -------------------------------------------------------------- the cases

async fn tenants_are_served_and_kept_apart(stack: &Stack) {
    let said = stack.up();
    assert!(said.contains("nats-server in Docker is running"), "{said}");
    for (me, other) in [("TENANT_A", "TENANT_B"), ("TENANT_B", "TENANT_A")] {
        let client = stack.project.connect(&format!("{me}/{}_app", me.to_lowercase())).await;
        works(&client, &format!("{me}.x")).await;
        client.cannot_publish(&format!("{other}.x")).await;
        client.cannot_subscribe(&format!("{other}.>")).await;
    }
}

async fn ports_are_published_on_loopback_only(stack: &Stack) {
    stack.up();
    let ports = stack.inspect()["NetworkSettings"]["Ports"].clone();
    let ports = ports.as_object().expect("ports").iter();
    let published: Vec<String> = ports
        .flat_map(|(inside, outside)| {
            let outside = outside.as_array().into_iter().flatten();
            outside.map(move |o| {
                format!("{}:{}->{inside}", o["HostIp"].as_str().unwrap_or("?"), o["HostPort"].as_str().unwrap_or("?"))
            })
        })
        .collect();
    let (client, monitor) = (stack.project.port, stack.project.monitor);
    assert_eq!(published, [format!("127.0.0.1:{client}->4222/tcp"), format!("127.0.0.1:{monitor}->8222/tcp")]);
    // What the kernel says: nothing listens there but on loopback.
    for port in [client, monitor] {
        assert!(std::net::TcpListener::bind(("127.0.0.1", port)).is_err(), "nothing listens on 127.0.0.1:{port}");
        assert!(
            std::net::TcpListener::bind(("127.0.0.2", port)).is_ok(),
            "something listens on every address at {port}"
        );
    }
}

async fn the_container_becomes_healthy(stack: &Stack) {
    stack.up();
    let health = || stack.inspect()["State"]["Health"].clone();
    let healthy = ready::poll(ENGINE_PATIENCE, || (health()["Status"] == "healthy").then_some(()));
    assert!(healthy.is_some(), "{:#}", health());
}

async fn data_outlives_the_container(stack: &Stack) {
    stack.up();
    {
        let admin = stack.project.connect("TENANT_A/tenant_a_admin").await;
        let js = jetstream::new(admin.client.clone());
        js.publish("TENANT_A.events.x", "kept".into()).await.expect("publish").await.expect("stored");
    }
    let restarted = stack.compose(&["restart", "--timeout", "10", "nats"]);
    assert!(restarted.status.success(), "{}", text(&restarted.stderr));
    the_message_is_there(stack).await;

    let before = stack.container();
    stack.project.run(&["down", "--docker"]).succeeded();
    stack.up();
    assert_ne!(stack.container(), before, "the container was to be another");
    the_message_is_there(stack).await;
}

async fn the_message_is_there(stack: &Stack) {
    let admin = connect_again(stack, "TENANT_A/tenant_a_admin").await;
    let events = jetstream::new(admin.client.clone()).get_stream("EVENTS").await.expect("the stream");
    assert_eq!(events.cached_info().state.messages, 1);
    assert_eq!(events.get_raw_message(1).await.expect("the message").payload, "kept");
}

/// The container has the folder mounted, and each render replaces it: twice,
/// because what the first one left in place is what the second one replaces.
/// In between, what the writer keeps beside the bundle is lost: if the container
/// had that mounted, it would see nothing from then on.
async fn onboarding_reloads_inside_the_container(stack: &Stack) {
    stack.up();
    let client = stack.project.connect("TENANT_A/tenant_a_app").await;
    let mut own = client.listen("TENANT_A.x").await;
    let started = stack.inspect()["State"]["StartedAt"].clone();
    for tenant in ["TENANT_C", "TENANT_D"] {
        let newcomer = format!("{tenant}/app");
        stack.project.run(&["tenant", "add", tenant, "--storage", "64MiB"]).succeeded();
        assert!(stack.project.creds(&newcomer).connect().await.is_err(), "{newcomer} gets in before the reload");
        let said = stack.up();
        assert!(said.contains("has reloaded"), "{said}");
        let inside = stack.exec_text(&["cat", "/etc/nats/accounts.conf"]);
        assert_eq!(inside, stack.project.read("infra/nats/accounts.conf").trim(), "the container sees other files");

        // At once: when `up` returns, the server has reloaded.
        let newcomer = stack.project.connect(&newcomer).await;
        works(&newcomer, &format!("{tenant}.x")).await;
        newcomer.cannot_publish("TENANT_A.x").await;
        // The same connection as before, without a reconnect in between.
        client.say("TENANT_A.x", "still here").await;
        assert_eq!(next(&mut own).await.payload, "still here");
        assert_eq!(client.statistics().connects.load(Ordering::Relaxed), 1);
    }
    assert_eq!(stack.inspect()["State"]["StartedAt"], started, "the container was started again");
}

/// A configuration that the server refuses does not come to it.
async fn a_refused_configuration_is_not_deployed(stack: &Stack) {
    stack.up();
    stack.break_template("no_such_option: true");
    let ran = stack.project.run(&["up", "--docker", "--templates", "mine"]).exited(2);
    assert!(ran.stderr.contains("no_such_option"), "{}", ran.stderr);
    // It keeps what it has.
    works(&stack.project.connect("TENANT_A/tenant_a_app").await, "TENANT_A.x").await;
}

/// The engine starts it again and again: that is noticed, said and ended.
async fn a_server_that_dies_at_start_is_quoted(stack: &Stack) {
    // Only the container knows that the folder is not there.
    stack.break_template("log_file: \"/nowhere/x.log\"");
    let start = std::time::Instant::now();
    let ran = stack.project.run(&["up", "--docker", "--templates", "mine"]).exited(3);
    assert!(ran.stderr.contains("/nowhere/x.log"), "{}", ran.stderr);
    assert!(start.elapsed() < ENGINE_PATIENCE, "it took {:?} to say so", start.elapsed());
    stack.project.run(&["status", "--docker"]).exited(3);
}

/// What the compose file says about the container needs another container:
/// everybody is disconnected, and nobody may be told otherwise.
async fn a_replaced_container_is_not_called_a_reload(stack: &Stack) {
    stack.up();
    let before = stack.container();
    let monitor = support::free_port();
    stack.project.edit(&format!("127.0.0.1:{}", stack.project.monitor), &format!("127.0.0.1:{monitor}"));
    let said = stack.up();
    assert_ne!(stack.container(), before, "another port needs another container");
    assert!(!said.contains("nobody was disconnected"), "{said}");
    works(&stack.project.connect("TENANT_A/tenant_a_app").await, "TENANT_A.x").await;
}

/// The compose project is named after the server. Two registries with servers of
/// one name must not replace or remove each other's container.
async fn anothers_container_is_left_alone(stack: &Stack) {
    stack.up();
    let before = stack.container();
    let other = Project::with_registry(&stack.project.read("tenants.toml"));
    for (port, own) in [(stack.project.port, other.port), (stack.project.monitor, other.monitor)] {
        other.edit(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{own}"));
    }
    let folder = stack.project.path().display().to_string();
    other.run(&["render"]).succeeded();
    for command in ["up", "status", "down"] {
        let ran = other.run(&[command, "--docker"]).exited(3);
        assert!(ran.stderr.contains(&folder), "{command}: {}", ran.stderr);
        assert!(ran.stderr.contains("another name under [server]"), "{command}: {}", ran.stderr);
    }
    assert_eq!(stack.container(), before, "the container was replaced");
    works(&stack.project.connect("TENANT_A/tenant_a_app").await, "TENANT_A.x").await;
}

/// The container's root has no capabilities: it reads the files of the user who
/// rendered them as anybody would.
async fn a_private_umask_does_not_lock_the_server_out(stack: &Stack) {
    let tenantry = env!("CARGO_BIN_EXE_tenantry");
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077 && exec \"$0\" render", tenantry]).current_dir(stack.project.path());
    let rendered = command.stdin(Stdio::null()).output().expect("the command runs");
    assert!(rendered.status.success(), "{}", text(&rendered.stderr));
    // Root on both sides would own them; then they are given to somebody.
    let folder = stack.project.path().join("infra/nats");
    for entry in std::fs::read_dir(&folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        let _ = std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY));
    }
    let _ = std::os::unix::fs::chown(&folder, Some(NOBODY), Some(NOBODY));
    stack.up();
    works(&stack.project.connect("TENANT_A/tenant_a_app").await, "TENANT_A.x").await;
}

const NOBODY: u32 = 65_534;

/// Every password and seed of the registry.
fn secrets(stack: &Stack) -> Vec<String> {
    let of = |who: &str| stack.project.run(&["creds", who, "--as", "json"]).succeeded().json();
    // A tenant's provisioner is among nobody's credentials but its own.
    let whose = ["TENANT_A", "TENANT_A/provisioner", "TENANT_B", "TENANT_B/provisioner", "SYS"];
    let lists: Vec<Json> = whose.into_iter().map(of).collect();
    let users = lists.iter().flat_map(|list| list.as_array().expect("a list"));
    let secrets = users.map(|u| u["password"].as_str().or(u["nkey_seed"].as_str()).expect("a secret").to_owned());
    secrets.collect()
}

async fn no_secret_is_in_the_container(stack: &Stack) {
    stack.up();
    let container = stack.container();
    let folder = stack.exec_text(&["ls", "-A", "/etc/nats"]);
    assert_eq!(folder.lines().collect::<Vec<_>>(), ["accounts.conf", "nats-server.conf"]);
    assert!(
        stack.exec(&["ls", "/etc/nats/../credentials"]).status.code() != Some(0),
        "the credentials are in the container"
    );
    let secrets = secrets(stack);
    assert_eq!(secrets.len(), 9, "every user has one, the provisioners too");
    let output = |arguments: &[&str]| {
        let output = try_docker(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&[output.stdout, output.stderr].concat())
    };
    // Unpacked by nobody: a tar file has its texts as they are.
    let places = [
        ("what is mounted", output(&["cp", &format!("{container}:/etc/nats"), "-"])),
        ("docker inspect", output(&["inspect", &container])),
        ("docker top", output(&["top", &container])),
        ("the log", output(&["logs", &container])),
        ("the compose file", stack.project.read("infra/docker-compose.yml")),
    ];
    // The control: a text that is in the mounted folder is found there.
    assert!(places[0].1.contains("tenant_a_app"), "nothing was copied");
    for (place, content) in &places {
        assert!(!secrets.iter().any(|secret| content.contains(secret.as_str())), "a secret is in {place}");
    }
}

async fn the_container_can_do_next_to_nothing(stack: &Stack) {
    stack.up();
    for place in ["/x", "/etc/x", "/etc/nats/x", "/tmp/x", "/usr/local/bin/x"] {
        let output = stack.exec(&["touch", place]);
        let said = text(&output.stderr);
        let refused = said.contains("Read-only file system") || (place == "/tmp/x" && said.contains("No such file"));
        assert!(!output.status.success() && refused, "{place} can be written: {said}");
    }
    // The control: the volume can.
    stack.exec_text(&["touch", "/data/x"]);
    stack.exec_text(&["rm", "/data/x"]);
    let status = stack.exec_text(&["cat", "/proc/1/status"]);
    let of = |key: &str| status.lines().find_map(|l| l.strip_prefix(key)).map(str::trim).map(str::to_owned);
    for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
        assert_eq!(of(set).as_deref(), Some("0000000000000000"), "{set}");
    }
    assert_eq!(of("NoNewPrivs:").as_deref(), Some("1"));
    assert_eq!(stack.inspect()["HostConfig"]["Privileged"], false);
}

/// One-shot: waits for the healthy server, makes the streams, ends, and may be run again.
async fn initialized(stack: &Stack, service: &str, first: &str, again: &str) {
    stack.project.run(&["render"]).succeeded();
    let init = || {
        let output = stack.compose(&["run", "--rm", service]);
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        (output.status.code(), said)
    };
    // Nothing runs yet: compose starts the server, and waits until it is healthy.
    let (code, said) = init();
    assert!(code == Some(0) && said.contains(first), "{said}");
    let url = format!("nats://127.0.0.1:{}", stack.project.port);
    let plan = stack.project.run(&["plan", "--server", &url]).succeeded();
    assert!(plan.stdout.contains("as declared"), "{}", plan.all());
    let admin = connect_again(stack, "TENANT_A/tenant_a_admin").await;
    let js = jetstream::new(admin.client.clone());
    js.publish("TENANT_A.events.1", "kept".into()).await.expect("publish").await.expect("stored");
    let (code, said) = init();
    assert!(code == Some(0) && said.contains(again), "{said}");

    // A change is made in place; what cannot be is said, and nothing is lost.
    stack.project.edit("[[tenant.stream]]", "[[tenant.stream]]\ndescription = \"changed\"");
    stack.project.run(&["render"]).succeeded();
    let (code, said) = init();
    assert_eq!(code, Some(0), "{said}");
    stack.project.run(&["plan", "--server", &url]).succeeded();
    stack.project.edit("retention = \"limits\"", "retention = \"workqueue\"");
    stack.project.run(&["render"]).succeeded();
    let (code, said) = init();
    assert!(code == Some(1) && said.contains("retention"), "{code:?} {said}");
    let mut stream = js.get_stream("EVENTS").await.expect("the stream");
    assert_eq!(stream.info().await.expect("info").state.messages, 1);

    // A server that is gone is said too.
    stack.compose(&["kill", "nats"]);
    let output = stack.compose(&["run", "--rm", "--no-deps", service]);
    assert_eq!(output.status.code(), Some(if service == "init" { 3 } else { 1 }), "{}", text(&output.stderr));
}

async fn init_makes_the_streams(stack: &Stack) {
    assert_eq!(docker(&["image", "inspect", "-f", "{{.Config.User}}", OWN_IMAGE]), "65532:65532", "not root");
    initialized(stack, "init", "created", "as declared").await;
    // Whoever may not read the registry is told so.
    let folder = stack.project.path().join("tenants.toml");
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("chmod");
    let mut command = compose().expect("compose");
    command.env("TENANTRY_USER", "4711:4711").arg("-f").arg(stack.project.path().join("infra/docker-compose.yml"));
    let output =
        command.args(["run", "--rm", "--no-deps", "init"]).stdin(Stdio::null()).output().expect("compose runs");
    assert!(text(&output.stderr).contains("denied"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(2));
}

async fn init_nats_box_makes_the_same(stack: &Stack) {
    build_nats_box().unwrap_or_else(|why| panic!("{why}"));
    initialized(stack, "init-nats-box", "as declared, 0 failed", "as declared, 0 failed").await;
    try_docker(&["image", "rm", NATS_BOX]);
}

async fn status_and_down(stack: &Stack) {
    stack.up();
    let status = stack.project.run(&["status", "--docker", "--format", "json"]).succeeded().json();
    assert_eq!(status["running"], true);
    assert_eq!(status["tenants"][0]["tenant"], "TENANT_A");
    stack.project.run(&["down", "--docker"]).succeeded();
    // The volume alone stays.
    let filter = format!("label=com.docker.compose.project={}", stack.name);
    assert_eq!(docker(&["ps", "-aq", "--filter", &filter]), "");
    assert_eq!(leftovers(&stack.name), [format!("{}_nats-data", stack.name)]);
    let ran = stack.project.run(&["status", "--docker"]).exited(3);
    assert!(ran.stdout.contains("no server is running here"), "{}", ran.stdout);
    // Once more changes nothing.
    stack.project.run(&["down", "--docker"]).succeeded();
}

async fn a_port_in_use_is_said(stack: &Stack) {
    let holder = std::net::TcpListener::bind(("127.0.0.1", stack.project.port)).expect("hold the port");
    let ran = stack.project.run(&["up", "--docker"]).exited(3);
    assert!(ran.stderr.contains(&format!("127.0.0.1:{}", stack.project.port)), "{}", ran.stderr);
    assert!(ran.stderr.contains("in use"), "{}", ran.stderr);
    stack.project.run(&["status", "--docker"]).exited(3);
    drop(holder);
    stack.up();
}
