//! `cargo bench --bench audit`: what the static proof costs, beside what
//! nats-server itself takes to check the same file and to start on it.
//!
//! `TENANTRY_BENCH_SIZES=100,1000` chooses other sizes. The fastest of three counts.

#![allow(clippy::print_stdout, clippy::expect_used, missing_docs)] // a bench prints, and stops at what it did not expect

use std::fmt::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn main() {
    let sizes = std::env::var("TENANTRY_BENCH_SIZES").unwrap_or_else(|_| "100,1000,10000".into());
    let server = tenantry::live::locate::locate(None, |_| {}).expect("nats-server");
    println!("three nkey users a tenant, JetStream limits; the fastest of 3; nats-server {}\n", server.version);
    println!(
        "| tenants | conf | audit | ÷ the size before | peak memory | nats-server -t | audit ÷ -t | server start | audit ÷ start |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let mut before: Option<Duration> = None;
    for size in sizes.split(',').filter_map(|s| s.trim().parse::<usize>().ok()) {
        let folder =
            tempfile::TempDir::with_prefix_in("tenantry-bench-", env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let path = folder.path();
        std::fs::write(path.join("tenants.toml"), registry(size)).expect("write");
        let rendered = command(path, &["render", "-q"]).status().expect("the command runs");
        assert!(rendered.success(), "render failed");
        let conf = local_conf(path);
        let file = conf.to_str().expect("a path");
        let (audit, memory) = fastest(|| measured(command(path, &["audit", file, "-q"])));
        let (check, _) = fastest(|| {
            let mut command = Command::new(&server.path);
            command.args(["-t", "-c", file]).stdout(Stdio::null()).stderr(Stdio::null());
            measured(command)
        });
        let start = started(&server.path, &conf, path);
        let bytes = std::fs::metadata(path.join("infra/nats/accounts.conf")).expect("rendered").len();
        let ms = |d: Duration| format!("{:.0} ms", d.as_secs_f64() * 1e3);
        let over = |a: Duration, b: Duration| format!("{:.2}", a.as_secs_f64() / b.as_secs_f64());
        println!(
            "| {size} | {:.1} MB | {} | {} | {memory:.0} MiB | {} | {} | {} | {} |",
            f64::from(u32::try_from(bytes).expect("a size")) / 1e6,
            ms(audit),
            before.map_or_else(String::new, |b| over(audit, b)),
            ms(check),
            over(audit, check),
            ms(start),
            over(audit, start),
        );
        before = Some(audit);
    }
    println!("\nthe tenants as users of one account, with a tenants file; the fastest of 3\n");
    println!("| tenants | conf | audit | ÷ the size before | peak memory |");
    println!("|---:|---:|---:|---:|---:|");
    let mut before: Option<Duration> = None;
    for size in sizes.split(',').filter_map(|s| s.trim().parse::<usize>().ok()) {
        let folder =
            tempfile::TempDir::with_prefix_in("tenantry-bench-", env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let (conf, tenants) = in_one_account(size);
        std::fs::write(folder.path().join("one.conf"), &conf).expect("write");
        std::fs::write(folder.path().join("who.toml"), tenants).expect("write");
        let (audit, memory) =
            fastest(|| measured(command(folder.path(), &["audit", "one.conf", "--tenants", "who.toml", "-q"])));
        println!(
            "| {size} | {:.1} MB | {:.0} ms | {} | {memory:.0} MiB |",
            f64::from(u32::try_from(conf.len()).expect("a size")) / 1e6,
            audit.as_secs_f64() * 1e3,
            before.map_or_else(String::new, |b| format!("{:.2}", audit.as_secs_f64() / b.as_secs_f64())),
        );
        before = Some(audit);
    }
}

/// A bcrypt hash of no password.
const HASH: &str = "$2a$04$.....................................................";

/// One account with a user for each tenant, each in a space of its own, and the file that says who is who.
fn in_one_account(tenants: usize) -> (String, String) {
    let (mut conf, mut who) = ("server_name: one\naccounts { ALL { users: [\n".to_owned(), String::new());
    for i in 0..tenants {
        let _ = writeln!(
            conf,
            "{{ user: u{i}, password: \"{HASH}\", permissions {{ publish: \"t{i}.>\", subscribe: [\"t{i}.>\", \"_INBOX_u{i}.>\"] }} }}"
        );
        let _ = write!(who, "[[tenant]]\nname = \"t{i}\"\nusers = [\"u{i}\"]\n");
    }
    (conf + "] } }\n", who)
}

fn registry(tenants: usize) -> String {
    let mut text =
        "version = 1\n[server]\nmax_connections = 2000000\n[server.jetstream]\nstorage = \"100TiB\"\n".to_owned();
    for i in 0..tenants {
        let _ = write!(
            text,
            "[[tenant]]\nname = \"T{i:05}\"\n[tenant.jetstream]\nstorage = \"1GiB\"\n[[tenant.user]]\nname = \"app\"\n\
             [[tenant.user]]\nname = \"worker\"\n[[tenant.user]]\nname = \"admin\"\nrole = \"admin\"\n"
        );
    }
    text
}

/// A main file that listens on a free port here.
fn local_conf(path: &Path) -> std::path::PathBuf {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let main = std::fs::read_to_string(path.join("infra/nats/nats-server.conf")).expect("rendered");
    let main = main.replace("0.0.0.0:4222", &format!("127.0.0.1:{port}")).replace("\"/data\"", "\"data\"");
    let main: String = main.lines().filter(|l| !l.starts_with("http:")).map(|l| format!("{l}\n")).collect();
    let conf = path.join("infra/nats/bench.conf");
    std::fs::write(&conf, main).expect("write");
    conf
}

fn command(path: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenantry"));
    command.args(arguments).current_dir(path).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn fastest(mut run: impl FnMut() -> (Duration, f64)) -> (Duration, f64) {
    (0..3).map(|_| run()).min_by(|a, b| a.0.cmp(&b.0)).expect("three runs")
}

/// Time and peak memory in MiB.
fn measured(mut command: Command) -> (Duration, f64) {
    let start = Instant::now();
    let mut child = command.spawn().expect("it runs");
    let status = format!("/proc/{}/status", child.id());
    let mut memory = 0.0f64;
    while child.try_wait().expect("wait").is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text
            .lines()
            .find(|l| l.starts_with("VmHWM:"))
            .and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok());
        memory = memory.max(line.unwrap_or(0.0) / 1024.0);
        std::thread::sleep(Duration::from_micros(500));
    }
    (start.elapsed(), memory)
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Until the server takes connections.
fn started(server: &Path, conf: &Path, path: &Path) -> Duration {
    let text = std::fs::read_to_string(conf).expect("the conf");
    let address =
        text.lines().find_map(|l| l.strip_prefix("listen: \"")).and_then(|l| l.split('"').next()).expect("listen");
    let start = Instant::now();
    let mut command = Command::new(server);
    command.arg("-c").arg(conf).current_dir(path).stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = Server(command.spawn().expect("nats-server runs"));
    while TcpStream::connect(address).is_err() {
        assert!(server.0.try_wait().expect("wait").is_none(), "nats-server ended");
        assert!(start.elapsed() < Duration::from_secs(120), "nats-server does not start");
        std::thread::sleep(Duration::from_millis(1));
    }
    start.elapsed()
}
