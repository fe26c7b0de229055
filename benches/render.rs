//! `cargo bench`: what rendering costs, beside the floor it stands on.
//!
//! For each number of tenants (three nkey users each) the command is run as a
//! user runs it, on an empty folder, with nothing changed, after one tenant
//! was added, and for `check`. The floor is a bare loop in this process, on all
//! cores: derive the same keys, write the same number of files of the same
//! size, nothing else. All in one run, because machines are noisy: read the
//! ratios.
//!
//! `TENANTRY_BENCH_SIZES=100,1000` chooses other sizes, `TENANTRY_BENCH_ROUNDS`
//! the number of rounds, of which the fastest counts.

#![allow(clippy::print_stdout, clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)] // a bench prints, and stops at what it did not expect

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use tenantry::keys::{AccountKind, RootKey};
use tenantry::model::names::{AccountName, UserName};

const USERS: [&str; 3] = ["app", "worker", "admin"];

/// What one run of the command took.
#[derive(Clone, Copy)]
struct Cost {
    time: Duration,
    /// Peak resident memory in MiB.
    memory: f64,
}

fn main() {
    let sizes = std::env::var("TENANTRY_BENCH_SIZES").unwrap_or_else(|_| "100,1000,10000".into());
    let rounds: u32 = std::env::var("TENANTRY_BENCH_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(3);
    println!("three nkey users a tenant; the fastest of {rounds} rounds; {} cores\n", rayon::current_num_threads());
    println!(
        "| tenants | floor | cold | ÷ floor | unchanged | ÷ cold | one tenant added | ÷ cold | the next one | ÷ cold | check | peak memory |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for size in sizes.split(',').filter_map(|s| s.trim().parse::<usize>().ok()) {
        row(size, rounds);
    }
    passwords(rounds);
}

fn registry(tenants: usize) -> String {
    let mut text =
        "version = 1\n[server]\nmax_connections = 2000000\n[server.jetstream]\nstorage = \"100TiB\"\n".to_owned();
    for i in 0..tenants {
        let _ = write!(
            text,
            "\n[[tenant]]\nname = \"TENANT_{i:05}\"\n\n[tenant.limits]\nconnections = 100\n\n[tenant.jetstream]\nstorage = \"1GiB\"\n"
        );
        for (user, role) in USERS.iter().zip(["app", "app", "admin"]) {
            let _ = write!(text, "\n[[tenant.user]]\nname = \"{user}\"\nrole = \"{role}\"\n");
        }
    }
    text
}

fn row(tenants: usize, rounds: u32) {
    let folder = tempfile::TempDir::with_prefix_in("tenantry-bench-", target_folder()).expect("a folder");
    let path = folder.path();
    let mut best: [Option<Cost>; 6] = [None; 6];
    let mut keep = |slot: usize, cost: Cost| {
        best[slot] = Some(match best[slot] {
            Some(b) => Cost { time: b.time.min(cost.time), memory: b.memory.max(cost.memory) },
            None => cost,
        });
    };
    let mut sizes: Vec<u64> = Vec::new();
    let mut floor_best = Duration::MAX;
    for round in 0..=rounds {
        // A folder for each round, nothing deleted until the end: file systems
        // pay for deletions later, and whoever comes next would be charged.
        let path = &path.join(round.to_string());
        fs::create_dir(path).expect("a folder");
        fs::write(path.join("tenants.toml"), registry(tenants)).expect("write the registry");
        if round == 0 {
            // Not measured: it tells the floor the sizes.
            run(path, &["render", "-q"]);
            sizes = file_sizes(&path.join("infra"));
            continue;
        }
        let floor_first = round % 2 == 1;
        let mut floor = || keep_floor(&mut floor_best, floor(path, tenants, &sizes));
        if floor_first {
            floor();
        }
        let cold = run(path, &["render", "-q"]);
        if !floor_first {
            floor();
        }
        keep(0, cold);
        keep(2, run(path, &["render", "-q"]));
        let more = |n: usize| {
            format!(
                "{}\n[[tenant]]\nname = \"ADDED_{n}\"\n[[tenant.user]]\nname = \"app\"\n",
                fs::read_to_string(path.join("tenants.toml")).expect("read")
            )
        };
        fs::write(path.join("tenants.toml"), more(1)).expect("write the registry");
        keep(3, run(path, &["render", "-q"]));
        fs::write(path.join("tenants.toml"), more(2)).expect("write the registry");
        keep(4, run(path, &["render", "-q"]));
        keep(5, run(path, &["check", "-q"]));
    }
    keep(1, Cost { time: floor_best, memory: 0.0 });
    let [cold, floor, unchanged, added, next, check] = best.map(|b| b.expect("a round was run"));
    let ms = |c: Cost| format!("{:.0} ms", c.time.as_secs_f64() * 1e3);
    let over = |a: Cost, b: Cost| format!("{:.2}", a.time.as_secs_f64() / b.time.as_secs_f64());
    println!(
        "| {tenants} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.0} MiB |",
        ms(floor),
        ms(cold),
        over(cold, floor),
        ms(unchanged),
        over(unchanged, cold),
        ms(added),
        over(added, cold),
        ms(next),
        over(next, cold),
        ms(check),
        cold.memory,
    );
}

fn keep_floor(best: &mut Duration, time: Duration) {
    *best = time.min(*best);
}

/// Folders below target/: on the disk that a build is on, and never committed.
fn target_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

fn clean(path: &Path) {
    for entry in fs::read_dir(path).expect("the folder").flatten() {
        let path = entry.path();
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}

/// Runs the command and watches its memory.
fn run(path: &Path, arguments: &[&str]) -> Cost {
    let start = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tenantry"))
        .args(arguments)
        .current_dir(path)
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the command runs");
    let status_file = format!("/proc/{}/status", child.id());
    let mut memory = 0.0f64;
    loop {
        if let Some(status) = child.try_wait().expect("wait") {
            assert!(status.success(), "tenantry {} failed", arguments.join(" "));
            return Cost { time: start.elapsed(), memory };
        }
        memory = memory.max(peak(&status_file).unwrap_or(0.0));
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The high-water mark of a process's resident memory, in MiB.
fn peak(status_file: &str) -> Option<f64> {
    let text = fs::read_to_string(status_file).ok()?;
    let line = text.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kib| kib / 1024.0)
}

/// Sizes of all files that were rendered.
fn file_sizes(root: &Path) -> Vec<u64> {
    let mut sizes = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ => sizes.push(entry.metadata().expect("meta").len()),
            }
        }
    }
    sizes
}

/// The same keys, the same number of files of the same sizes.
fn floor(path: &Path, tenants: usize, sizes: &[u64]) -> Duration {
    let out = path.join("floor");
    let root = RootKey::development();
    let largest = usize::try_from(sizes.iter().copied().max().unwrap_or(0)).expect("a size");
    let bytes = vec![b'x'; largest];
    let per_tenant = sizes.len().div_ceil(tenants.max(1));
    let start = Instant::now();
    fs::create_dir(&out).expect("create");
    sizes.par_chunks(per_tenant).enumerate().for_each(|(i, sizes)| {
        let account =
            root.account(AccountKind::Tenant, &AccountName::parse(&format!("TENANT_{i:05}")).expect("a name"));
        for user in USERS {
            std::hint::black_box(account.user(&UserName::parse(user).expect("a name")).nkey(1).public());
        }
        let folder = out.join(format!("{i:05}"));
        fs::DirBuilder::new().mode(0o700).create(&folder).expect("create");
        for (j, size) in sizes.iter().enumerate() {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(folder.join(j.to_string()))
                .expect("create");
            file.write_all(&bytes[..usize::try_from(*size).expect("a size")]).expect("write");
        }
    });
    start.elapsed()
}

/// Password users cost their bcrypt and nothing else, once.
fn passwords(rounds: u32) {
    let users = 200;
    let folder = tempfile::TempDir::with_prefix_in("tenantry-bench-", target_folder()).expect("a folder");
    let path = folder.path();
    let mut text = "version = 1\n[[tenant]]\nname = \"T\"\n".to_owned();
    for i in 0..users {
        let _ = write!(text, "[[tenant.user]]\nname = \"u{i}\"\nauth = \"password\"\n");
    }
    for i in 0..users {
        let _ = write!(text, "[[tenant]]\nname = \"T{i}\"\n[[tenant.user]]\nname = \"p{i}\"\nauth = \"password\"\n");
    }
    let hashes = users * 2;
    let (mut cold, mut again, mut floor) = (Duration::MAX, Duration::MAX, Duration::MAX);
    for _ in 0..rounds {
        clean(path);
        fs::write(path.join("tenants.toml"), &text).expect("write the registry");
        cold = cold.min(run(path, &["render", "-q"]).time);
        // A changed server makes everything be rendered again, but nothing hashed.
        fs::write(
            path.join("tenants.toml"),
            text.replace("version = 1", "version = 1\n[server]\nurl = \"nats://localhost:4222\""),
        )
        .expect("write");
        again = again.min(run(path, &["render", "-q"]).time);
        let start = Instant::now();
        (0..hashes).into_par_iter().for_each(|i| {
            std::hint::black_box(bcrypt::hash_with_salt(format!("{i:032}"), 8, [7; 16]).expect("a hash"));
        });
        floor = floor.min(start.elapsed());
    }
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    println!("\n{hashes} password users (bcrypt cost 8), half of them in one tenant\n");
    println!("| floor: the hashes alone | render | ÷ floor | rendered again | ÷ floor |");
    println!("|---:|---:|---:|---:|---:|");
    println!(
        "| {:.0} ms | {:.0} ms | {:.2} | {:.0} ms | {:.2} |",
        ms(floor),
        ms(cold),
        ms(cold) / ms(floor),
        ms(again),
        ms(again) / ms(floor)
    );
}
