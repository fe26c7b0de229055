//! `cargo bench --bench change`: what a change of a running server costs. From `tenant add` to the new tenant's first stored
//! message, beside a bare reload of the same server (SIGHUP until it says that it has read its configuration) and the
//! static proof alone; `plan` and `up` with nothing to do; and how long a publisher of another tenant stalls meanwhile, beside its stall during the bare
//! reload.
//!
//! `TENANTRY_BENCH_SIZES=100,300` chooses other sizes, `TENANTRY_BENCH_ROUNDS` how often; the best counts.

#![allow(clippy::print_stdout, clippy::expect_used, missing_docs)] // a bench prints, and stops at what it did not expect

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

fn main() {
    let sizes = std::env::var("TENANTRY_BENCH_SIZES").unwrap_or_else(|_| "100,1000,5000".into());
    let rounds: usize = std::env::var("TENANTRY_BENCH_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(3);
    let server = tenantry::live::locate::locate(None, |_| {}).expect("nats-server");
    println!(
        "three nkey users and a stream a tenant; nats-server {} on the same cores; best of {rounds}, longest of the stalls\n",
        server.version
    );
    println!(
        "| tenants | bare reload | static proof | tenant added, to its first message | (that - proof) ÷ reload | to the end of `up` | \
         plan, nothing to do | up, nothing to do | stall of a publisher: bare reload | tenant added |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for size in sizes.split(',').filter_map(|s| s.trim().parse::<usize>().ok()) {
        let stand = Stand::new(size, &server.path);
        let publisher = Publisher::start(stand.creds("T0/app"));
        let [mut reload, mut proof, mut added, mut ended, mut plan, mut up] = [f64::MAX; 6];
        let (mut stalled, mut stalled_by_reload) = (0u64, 0u64);
        for round in 0..rounds {
            publisher.take_stall();
            reload = reload.min(stand.reload().as_secs_f64());
            proof = proof.min(stand.proof().as_secs_f64());
            stalled_by_reload = stalled_by_reload.max(publisher.take_stall());
            plan = plan.min(stand.timed(&["plan", "-q"]).as_secs_f64());
            up = up.min(stand.timed(&["up", "-q"]).as_secs_f64());
            publisher.take_stall();
            let (to_message, to_end) = stand.add(round);
            added = added.min(to_message.as_secs_f64());
            ended = ended.min(to_end.as_secs_f64());
            stalled = stalled.max(publisher.take_stall());
        }
        println!(
            "| {size} | {reload:.2} s | {proof:.2} s | {added:.2} s | {:.2} | {ended:.2} s | {plan:.2} s | {up:.2} s | \
             {stalled_by_reload} ms | {stalled} ms |",
            (added - proof) / reload
        );
    }
}

/// A registry in a folder with its running server.
struct Stand {
    folder: tempfile::TempDir,
    server: PathBuf,
}

impl Stand {
    fn new(size: usize, server: &Path) -> Self {
        let folder = tempfile::TempDir::with_prefix("tenantry-bench-").expect("a folder");
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let mut text = format!(
            "version = 1\n[server]\nname = \"bench\"\nclient = \"127.0.0.1:{port}\"\nmax_connections = 2000000\n[server.jetstream]\n\
             memory = \"16GiB\"\nstorage = \"64TiB\"\n[keys]\nroot = \"development\"\n[[system.user]]\nname = \"op\"\n"
        );
        for i in 0..size {
            text += &tenant(&format!("T{i}"));
        }
        std::fs::write(folder.path().join("tenants.toml"), text).expect("the registry");
        let stand = Self { folder, server: server.to_owned() };
        stand.timed(&["up", "-q"]);
        stand
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenantry"));
        command.args(arguments).current_dir(self.folder.path()).env("NATS_SERVER", &self.server);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    fn timed(&self, arguments: &[&str]) -> Duration {
        let begin = Instant::now();
        let output = self.command(arguments).stdout(Stdio::null()).output().expect("it runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        begin.elapsed()
    }

    fn creds(&self, who: &str) -> Json {
        let output = self.command(&["creds", who, "--as", "json"]).output().expect("it runs");
        serde_json::from_slice::<Json>(&output.stdout).expect("JSON")[0].take()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join(".tenantry/run/nats-server.log")).expect("the log")
    }

    /// Has the server read the configuration that it has once more.
    fn reload(&self) -> Duration {
        let text = std::fs::read_to_string(self.folder.path().join(".tenantry/run/state.json")).expect("the state");
        let state: Json = serde_json::from_str(&text).expect("JSON");
        let count = || self.log().matches("Reloaded server configuration").count();
        let before = count();
        let begin = Instant::now();
        let status = Command::new("kill").arg("-HUP").arg(state["pid"].to_string()).status().expect("kill");
        assert!(status.success());
        while count() == before {
            std::thread::sleep(Duration::from_millis(2));
        }
        begin.elapsed()
    }

    /// The static proof of what is rendered.
    fn proof(&self) -> Duration {
        let begin = Instant::now();
        let mut command = self.command(&["audit", "-q", ".tenantry/run/nats-server.conf"]);
        assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it runs").success());
        begin.elapsed()
    }

    /// Adds a tenant with a stream, and stores its first message as soon as that can be done. Returns when that was, and
    /// when `up` had ended.
    fn add(&self, round: usize) -> (Duration, Duration) {
        let name = format!("NEW{round}");
        let path = self.folder.path().join("tenants.toml");
        let begin = Instant::now();
        let mut text = std::fs::read_to_string(&path).expect("the registry");
        let _ = write!(text, "{}", tenant(&name));
        std::fs::write(&path, text).expect("the registry");
        let mut up = self.command(&["up", "-q"]).stdout(Stdio::null()).spawn().expect("it runs");
        let creds = self.creds(&format!("{name}/app"));
        let stored = runtime().block_on(async {
            while publish_first(&creds, &name).await.is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            begin.elapsed()
        });
        assert!(up.wait().expect("it ends").success());
        (stored, begin.elapsed())
    }
}

/// Stores a tenant's first message. `None`: its user is not let in yet, or its stream is not there.
async fn publish_first(creds: &Json, name: &str) -> Option<()> {
    let client = options(creds).connect(creds["url"].as_str()?).await.ok()?;
    let js = async_nats::jetstream::new(client);
    js.publish(format!("{name}.s"), "first".into()).await.ok()?.await.ok().map(|_| ())
}

fn tenant(name: &str) -> String {
    format!(
        "[[tenant]]\nname = \"{name}\"\n[tenant.jetstream]\nstorage = \"8MiB\"\n[[tenant.user]]\nname = \"app\"\n[[tenant.user]]\n\
         name = \"admin\"\nrole = \"admin\"\n[[tenant.stream]]\nname = \"S\"\nsubjects = [\"{name}.s\"]\n"
    )
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.timed(&["down", "-q"]);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn options(creds: &Json) -> async_nats::ConnectOptions {
    let text = |key: &str| creds[key].as_str().expect("a text").to_owned();
    async_nats::ConnectOptions::with_nkey(text("nkey_seed")).custom_inbox_prefix(text("inbox_prefix"))
}

async fn connect(creds: &Json) -> async_nats::Client {
    options(creds).connect(creds["url"].as_str().expect("a text")).await.expect("connected")
}

/// A tenant that publishes and flushes without end, and keeps the longest time that this took.
struct Publisher {
    longest: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Publisher {
    fn start(creds: Json) -> Self {
        let (longest, is_over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (kept, over) = (longest.clone(), is_over.clone());
        std::thread::spawn(move || {
            runtime().block_on(async {
                let js = async_nats::jetstream::new(connect(&creds).await);
                while !over.load(Ordering::Relaxed) {
                    let begin = Instant::now();
                    // An acknowledgement: the server has dealt with it.
                    if let Ok(stored) = js.publish("T0.s", "x".into()).await {
                        let _ = stored.await;
                    }
                    let took = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
                    kept.fetch_max(took, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
        });
        Self { longest, is_over }
    }

    /// The longest time since the last call. Milliseconds.
    fn take_stall(&self) -> u64 {
        self.longest.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}
