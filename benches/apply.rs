//! `cargo bench --bench apply`: what it costs to bring streams and consumers to a server,
//! beside a floor: a bare async-nats loop that makes the same requests, with as many
//! tenants at a time. Beside it, for scale, the rendered shell script, which is one call
//! of the nats command line for each object, where that is installed (on PATH, or
//! TENANTRY_NATS_CLI).
//!
//! `TENANTRY_BENCH_SIZES=100,300` chooses other sizes, `TENANTRY_BENCH_ROUNDS` how often
//! apply and floor take turns, each on a new server; the best counts.

#![allow(clippy::print_stdout, clippy::expect_used, missing_docs)] // a bench prints, and stops at what it did not expect

mod support;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use serde_json::Value as Json;
use tenantry::live::jetstream::AT_ONCE;

/// Objects of each tenant: three streams with two consumers each.
const OBJECTS: usize = 9;
/// The script takes so long that it is tried for no more tenants than these.
const SCRIPT: usize = 100;

fn main() {
    let sizes = std::env::var("TENANTRY_BENCH_SIZES").unwrap_or_else(|_| "10,100,1000".into());
    let rounds = std::env::var("TENANTRY_BENCH_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(3);
    let server = tenantry::live::locate::locate(None, |_| {}).expect("nats-server");
    println!(
        "three streams on disk a tenant, two consumers each; {AT_ONCE} tenants at a time; nats-server {} on the same \
         cores; best of {rounds}\n",
        server.version
    );
    println!(
        "| tenants | objects | apply | floor | ÷ floor | again | ÷ first | plan | ÷ the size before | peak memory of plan \
         | script | script ÷ apply |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let mut before: Option<f64> = None;
    for size in sizes.split(',').filter_map(|s| s.trim().parse::<usize>().ok()) {
        let mut stand = Stand::new(size, &server.path);
        let (mut apply, mut again, mut plan, mut floor) = (f64::MAX, f64::MAX, f64::MAX, f64::MAX);
        let mut memory = 0.0;
        for _ in 0..rounds {
            stand.fresh();
            apply = apply.min(stand.timed(&["apply", "-q"]).as_secs_f64());
            again = again.min(stand.timed(&["apply", "-q"]).as_secs_f64());
            let (took, peak) = stand.planned();
            plan = plan.min(took.as_secs_f64());
            memory = peak;
            stand.fresh();
            floor = floor.min(stand.floor().as_secs_f64());
            // What the floor made is what apply would have made.
            stand.assert_as_declared();
        }
        let script = stand.script();
        println!(
            "| {size} | {} | {apply:.2} s | {floor:.2} s | {:.2} | {again:.2} s | {:.2} | {plan:.2} s | {} | {memory:.0} MiB | {} | {} |",
            size * OBJECTS,
            apply / floor,
            again / apply,
            before.map_or_else(String::new, |b| format!("{:.1}", plan / b)),
            script.map_or_else(String::new, |s| format!("{s:.1} s")),
            script.map_or_else(String::new, |s| format!("{:.0}", s / apply)),
        );
        before = Some(plan);
    }
}

/// A registry in a folder, and a server for it.
struct Stand {
    /// One for each new server. None is removed before the end: a file system is slow for
    /// a while after that.
    folders: Vec<tempfile::TempDir>,
    server: PathBuf,
    size: usize,
    port: u16,
}

impl Stand {
    fn new(size: usize, server: &Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        Self { folders: Vec::new(), server: server.to_owned(), size, port }
    }

    fn write(&self, streams: bool) {
        let mut text = format!(
            "version = 1\n[server]\nclient = \"127.0.0.1:{}\"\nmax_connections = 100000\n[server.jetstream]\nstorage = \"100TiB\"\n",
            self.port
        );
        for i in 0..self.size {
            let _ = write!(
                text,
                "[[tenant]]\nname = \"T{i:05}\"\n[tenant.jetstream]\nstorage = \"1GiB\"\n[[tenant.user]]\nname = \"app\"\n"
            );
            for s in (0..3).filter(|_| streams) {
                let _ = write!(
                    text,
                    "[[tenant.stream]]\nname = \"S{s}\"\nsubjects = [\"T{i:05}.s{s}.>\"]\nmax_age = \"7d\"\nmax_bytes = \"10MiB\"\n\
                     [[tenant.stream.consumer]]\nname = \"a\"\nmax_deliver = 5\n[[tenant.stream.consumer]]\nname = \"b\"\nfilter = \"T{i:05}.s{s}.x.>\"\n"
                );
            }
        }
        std::fs::write(self.folder().join("tenants.toml"), text).expect("write");
    }

    fn tenantry(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenantry"));
        command.args(arguments).current_dir(self.folder()).env("NATS_SERVER", &self.server);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// A new server with the accounts and without any stream.
    fn fresh(&mut self) {
        self.end();
        self.folders.push(tempfile::TempDir::with_prefix("tenantry-bench-").expect("a folder"));
        // `up` applies; there must be nothing to apply yet.
        self.write(false);
        assert!(self.tenantry(&["up", "-q"]).status().expect("it runs").success(), "the server does not start");
        // The bundle with the script; the accounts are the same.
        self.write(true);
        assert!(self.tenantry(&["render", "-q"]).status().expect("it runs").success());
    }

    fn folder(&self) -> &Path {
        self.folders.last().expect("a server").path()
    }

    fn end(&self) {
        if self.folders.is_empty() {
            return;
        }
        let _ = self.tenantry(&["down", "-q"]).status();
    }

    /// How long a command takes that must succeed.
    fn timed(&self, arguments: &[&str]) -> Duration {
        let start = Instant::now();
        assert!(self.tenantry(arguments).status().expect("it runs").success(), "{arguments:?} failed");
        start.elapsed()
    }

    /// The streams are as declared. The exit code says more than that: the accounts of the
    /// server are those of before the streams were declared.
    fn assert_as_declared(&self) {
        let plan = self.tenantry(&["plan", "--format", "json"]).stdout(Stdio::piped()).output().expect("it runs");
        let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).expect("a plan");
        assert_eq!(plan["changes"], serde_json::json!([]), "{plan}");
        assert_eq!(plan["failed"], serde_json::json!([]), "{plan}");
    }

    /// How long a plan takes, and its peak memory in MiB.
    fn planned(&self) -> (Duration, f64) {
        let start = Instant::now();
        let child = self.tenantry(&["plan", "-q"]).spawn().expect("it runs");
        let memory = support::peak_of(child);
        (start.elapsed(), memory)
    }

    /// The same requests, with nothing before, between and after them. What is asked is
    /// in the rendered script.
    fn floor(&self) -> Duration {
        let script = std::fs::read_to_string(self.folder().join("infra/jetstream/apply.sh")).expect("the script");
        let mut work: Vec<(String, Vec<(String, String)>)> = Vec::new();
        let mut stream = String::new();
        for line in script.lines().map(|line| line.trim_end_matches(" \\")) {
            let body = || {
                let text = line.split_once('\'').map(|(_, rest)| rest.trim_end_matches('\''));
                text.expect("a body").to_owned()
            };
            match line.split(' ').collect::<Vec<_>>().as_slice() {
                ["tenant", tenant, user] => {
                    let file = format!("infra/credentials/{tenant}/{user}.nk");
                    let seed = std::fs::read_to_string(self.folder().join(file)).expect("a seed");
                    let list = ("STREAM.LIST".to_owned(), "{\"offset\":0}".to_owned());
                    work.push((seed.trim().to_owned(), vec![list]));
                }
                ["stream", name, ..] => {
                    work.last_mut().expect("a tenant").1.push((format!("STREAM.CREATE.{name}"), body()));
                }
                ["consumers", name, ..] => (*name).clone_into(&mut stream),
                ["", "", name, body_of, ..] if body_of.starts_with('\'') => {
                    work.last_mut().expect("a tenant").1.push((format!("CONSUMER.CREATE.{stream}.{name}"), body()));
                }
                _ => {}
            }
        }
        assert_eq!(work.iter().map(|(_, requests)| requests.len() - 1).sum::<usize>(), self.size * OBJECTS);
        let url = format!("nats://127.0.0.1:{}", self.port);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let start = Instant::now();
        runtime.block_on(async {
            let tenants = work.into_iter().map(|(seed, requests)| async {
                let options = async_nats::ConnectOptions::with_nkey(seed).custom_inbox_prefix("_INBOX_provisioner");
                let client = options.connect(&url).await.expect("connected");
                for (subject, body) in requests {
                    let reply = client.request(format!("$JS.API.{subject}"), body.into()).await.expect("an answer");
                    let answer: Json = serde_json::from_slice(&reply.payload).expect("JSON");
                    assert!(answer["error"].is_null(), "{answer}");
                }
            });
            stream::iter(tenants).buffered(AT_ONCE).for_each(|()| async {}).await;
        });
        start.elapsed()
    }

    /// How long the rendered script takes, in seconds.
    fn script(&mut self) -> Option<f64> {
        let named = std::env::var_os("TENANTRY_NATS_CLI").map(PathBuf::from);
        let cli = named.or_else(|| which::which("nats").ok()).filter(|_| self.size <= SCRIPT)?;
        self.fresh();
        let path = format!("{}:{}", cli.parent()?.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("sh");
        command.arg("infra/jetstream/apply.sh").current_dir(self.folder()).env("PATH", path).stdout(Stdio::null());
        let start = Instant::now();
        assert!(command.status().expect("it runs").success(), "the script failed");
        let took = start.elapsed();
        self.assert_as_declared();
        Some(took.as_secs_f64())
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.end();
    }
}
