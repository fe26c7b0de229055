//! `cargo bench --bench verify`: what the live proof costs, beside a floor: the
//! same server booted, and every user connected to it once, one after another.
//!
//! `TENANTRY_BENCH_SIZES=100,300` chooses other sizes. Each is run once.

#![allow(clippy::print_stdout, clippy::expect_used, missing_docs)] // a bench prints, and stops at what it did not expect

mod support;

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

fn main() {
    let sizes = std::env::var("TENANTRY_BENCH_SIZES").unwrap_or_else(|_| "100,1000".into());
    let server = tenantry::live::locate::locate(None, |_| {}).expect("nats-server");
    println!(
        "three nkey users a tenant, one share to ten tenants, JetStream; nats-server {} on the same cores\n",
        server.version
    );
    println!(
        "| tenants | ordered pairs | verify | ÷ the size before | per tenant | checks | peak memory | floor | ÷ floor |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let mut before: Option<f64> = None;
    for size in sizes.split(',').filter_map(|s| s.trim().parse::<usize>().ok()) {
        let folder = tempfile::TempDir::with_prefix("tenantry-bench-").expect("a folder");
        std::fs::write(folder.path().join("tenants.toml"), registry(size)).expect("write");
        let (report, took, memory) = verified(folder.path());
        assert_eq!(report["verdict"], "isolated", "{size}");
        let floor = floor(folder.path(), &server.path);
        let (seconds, floor) = (took.as_secs_f64(), floor.as_secs_f64());
        println!(
            "| {size} | {} | {seconds:.1} s | {} | {:.0} ms | {} | {memory:.0} MiB | {floor:.1} s | {:.1} |",
            report["pairs"],
            before.map_or_else(String::new, |b| format!("{:.1}", seconds / b)),
            seconds * 1e3 / f64::from(u32::try_from(size).expect("a size")),
            report["checks"].as_array().map_or(0, Vec::len),
            seconds / floor,
        );
        before = Some(seconds);
    }
}

fn registry(tenants: usize) -> String {
    let mut text = "version = 1\n[server]\nmax_connections = 100000\n[server.jetstream]\nstorage = \"100TiB\"\nmemory = \"1TiB\"\n".to_owned();
    for i in 0..tenants {
        let _ = write!(
            text,
            "[[tenant]]\nname = \"T{i:05}\"\n[tenant.jetstream]\nstorage = \"1GiB\"\n[[tenant.user]]\nname = \"app\"\n\
             [[tenant.user]]\nname = \"worker\"\n[[tenant.user]]\nname = \"admin\"\nrole = \"admin\"\n"
        );
        if i % 10 == 0 {
            let _ = write!(
                text,
                "[[share]]\nfrom = \"T{i:05}\"\nto = [\"T{:05}\"]\nstream = \"T{i:05}.public.>\"\n",
                (i + 1) % tenants
            );
        }
    }
    text
}

fn tenantry(folder: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenantry"));
    command.args(arguments).current_dir(folder).stderr(Stdio::null());
    command
}

/// The report, how long it took with boot and all, and peak memory in MiB.
fn verified(folder: &std::path::Path) -> (Json, Duration, f64) {
    let start = Instant::now();
    let out = std::fs::File::create(folder.join("report.json")).expect("a file");
    let child = tenantry(folder, &["verify", "--format", "json"]).stdout(out).spawn().expect("it runs");
    let memory = support::peak_of(child);
    let took = start.elapsed();
    let text = std::fs::read_to_string(folder.join("report.json")).expect("a report");
    (serde_json::from_str(&text).expect("JSON"), took, memory)
}

/// Booting the same server and logging everybody in, which no proof can do without.
fn floor(folder: &std::path::Path, server: &std::path::Path) -> Duration {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let text = std::fs::read_to_string(folder.join("tenants.toml")).expect("the registry");
    let port = free();
    let text = text.replace("[server]\n", &format!("[server]\nclient = \"127.0.0.1:{port}\"\n"));
    std::fs::write(folder.join("tenants.toml"), text).expect("write");
    assert!(tenantry(folder, &["render", "-q"]).status().expect("it runs").success());
    let seeds: Vec<String> = std::fs::read_dir(folder.join("infra/credentials"))
        .expect("credentials")
        .flatten()
        .flat_map(|tenant| std::fs::read_dir(tenant.path()).into_iter().flatten().flatten())
        .filter(|file| file.path().extension().is_some_and(|e| e == "nk"))
        .map(|file| std::fs::read_to_string(file.path()).expect("a seed").trim().to_owned())
        .collect();
    let start = Instant::now();
    let mut up = tenantry(folder, &["up", "-q"]);
    up.env("NATS_SERVER", server).stdout(Stdio::null());
    assert!(up.status().expect("it runs").success(), "the server does not start");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let url = format!("nats://127.0.0.1:{port}");
        for seed in seeds {
            let client = async_nats::ConnectOptions::with_nkey(seed).connect(&url).await.expect("connected");
            drop(client);
        }
    });
    let took = start.elapsed();
    let _ = tenantry(folder, &["down", "-q"]).stdout(Stdio::null()).status();
    took
}
