//! A project in a folder of its own, the command run in it, and clients.

#![allow(clippy::print_stderr, clippy::print_stdout, clippy::expect_used, clippy::panic, clippy::unwrap_used)] // a test stops at what it did not expect

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions, Event};
use futures_util::StreamExt as _;
use serde_json::Value as Json;
use tempfile::TempDir;

/// The registry at the top of the repository.
pub const DEFAULT_REGISTRY: &str = include_str!("../../tenants.toml");

/// How long anything may take that should happen at once. Only failures wait so long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The nats-server that all tests use, located (or installed) once.
pub fn nats_server() -> &'static Path {
    static SERVER: OnceLock<PathBuf> = OnceLock::new();
    SERVER.get_or_init(|| match tenantry::live::locate::locate(None, |text| eprintln!("{text}")) {
        Ok(server) => server.path,
        Err(e) => panic!("no nats-server, and a test without one proves nothing: {e}"),
    })
}

/// A port below the range from which the kernel picks ports for connections,
/// so that nothing takes it between here and the server.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let offset = (u64::from(std::process::id()) * 97 + u64::from(step)) % 11_000;
        let port = 20_000 + u16::try_from(offset).expect("below 11000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A folder with a registry. It stays there if the test fails.
pub struct Project {
    folder: Option<TempDir>,
    pub port: u16,
    pub monitor: u16,
    environment: BTreeMap<String, String>,
}

impl Project {
    /// The committed registry, on ports of its own.
    pub fn new() -> Self {
        Self::with_registry(DEFAULT_REGISTRY)
    }

    /// This registry, with 4222 and 8222 replaced by free ports.
    pub fn with_registry(text: &str) -> Self {
        let folder = TempDir::with_prefix("tenantry-test-").expect("a temporary folder");
        let (port, monitor) = (free_port(), free_port());
        let project = Self { folder: Some(folder), port, monitor, environment: BTreeMap::new() };
        project.write("tenants.toml", &project.on_own_ports(text));
        project
    }

    /// The same with more at the end of the registry.
    pub fn with(self, more: &str) -> Self {
        let text = self.read("tenants.toml");
        self.write("tenants.toml", &(text + more));
        self
    }

    /// A text with the usual ports replaced by this project's.
    pub fn on_own_ports(&self, text: &str) -> String {
        text.replace("127.0.0.1:4222", &format!("127.0.0.1:{}", self.port))
            .replace("127.0.0.1:8222", &format!("127.0.0.1:{}", self.monitor))
    }

    pub fn path(&self) -> &Path {
        self.folder.as_ref().expect("the folder is there until the end").path()
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("create a folder");
        std::fs::write(path, text).expect("write a file");
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Replaces a text in the registry; it must be there.
    pub fn edit(&self, from: &str, to: &str) {
        let text = self.read("tenants.toml");
        assert!(text.contains(from), "the registry has no {from:?}");
        self.write("tenants.toml", &text.replacen(from, to, 1));
    }

    pub fn set_env(&mut self, name: &str, value: &str) {
        self.environment.insert(name.into(), value.into());
    }

    /// The command, in this project.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenantry"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        command.env("NATS_SERVER", nats_server()).env("NO_COLOR", "1").envs(&self.environment);
        command
    }

    /// Runs the command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().expect("the command runs");
        Ran::new(arguments, &output)
    }

    /// Has names given up without being retired, as if the bundle had never had them.
    pub fn forget_names(&self) {
        std::fs::remove_file(self.path().join("infra/.tenantry-ledger")).expect("the ledger is there");
        let _ = std::fs::remove_file(self.path().join(".tenantry/ledger"));
    }

    /// Starts the server, or reloads it.
    pub fn up(&self) {
        let registry = self.read("tenants.toml");
        assert!(
            registry.contains(&self.port.to_string()),
            "a test whose server runs names `client = \"127.0.0.1:4222\"`"
        );
        self.run(&["up", "-q"]).succeeded();
    }

    /// The process of the server that runs.
    pub fn pid(&self) -> String {
        self.run(&["status", "--format", "json"]).succeeded().json()["server"]["pid"].to_string()
    }

    /// Has the running server read other accounts than those that were rendered.
    pub fn reload_with(&self, accounts: &str, what: &str) {
        let log = || self.read(".tenantry/run/nats-server.log");
        assert_ne!(accounts, self.read("infra/nats/accounts.conf"), "{what}");
        let reloads = log().matches("Reloaded server configuration").count();
        self.write(".tenantry/run/accounts.conf", accounts);
        assert!(Command::new("kill").args(["-HUP", &self.pid()]).status().expect("kill").success());
        let start = Instant::now();
        while log().matches("Reloaded server configuration").count() == reloads {
            assert!(start.elapsed() < PATIENCE, "{what}: no reload: {}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A user's credentials as `tenantry creds` prints them.
    pub fn creds(&self, who: &str) -> Creds {
        let ran = self.run(&["creds", who, "--as", "json"]);
        let list: Json = serde_json::from_str(&ran.succeeded().stdout).expect("creds prints JSON");
        let of = |key: &str| list[0][key].as_str().map(str::to_owned);
        Creds {
            url: of("url").expect("a URL"),
            login: of("login"),
            password: of("password"),
            seed: of("nkey_seed"),
            inbox_prefix: of("inbox_prefix").expect("an inbox prefix"),
        }
    }

    /// A client of this user.
    pub async fn connect(&self, who: &str) -> Connection {
        let creds = self.creds(who);
        creds.connect().await.unwrap_or_else(|e| panic!("{who} cannot connect: {e}"))
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = self.command(&["down", "-q"]).output();
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            eprintln!("kept for inspection: {}", folder.keep().display());
        }
    }
}

/// A command that has ended.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    what: String,
}

impl Ran {
    fn new(arguments: &[&str], output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            what: format!("tenantry {}", arguments.join(" ")),
        }
    }

    /// It must have exited with this code.
    pub fn exited(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n--- stdout\n{}\n--- stderr\n{}", self.what, self.stdout, self.stderr);
        self
    }

    /// It must have exited with 0, and said nothing on standard error that a good run
    /// does not say.
    pub fn succeeded(self) -> Self {
        let ran = self.exited(0);
        let strange = ran.stderr.lines().find(|line| !is_a_note(line));
        assert!(strange.is_none(), "{} succeeded and said {strange:?}:\n{}", ran.what, ran.stderr);
        ran
    }

    /// The standard output, which must be JSON.
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{}: {e}\n{}", self.what, self.stdout))
    }

    /// Everything that a snapshot holds.
    pub fn all(&self) -> String {
        let mut text = format!("$ {}\nexit code: {}\n", self.what, self.code);
        for (name, part) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !part.is_empty() {
                let _ = write!(text, "----- {name}\n{part}");
            }
        }
        text
    }
}

/// How the notes of a good run begin: what happened on the way, and what to run next.
const NOTES: &[&str] = &[
    "development root key: it is published",
    "next: ",
    "infra: ",
    "written: ",
    "shared: ",
    "✔ held  ✘ leaked  ?",
    "⇢ something is declared",
    "to attack JetStream, the throwaway server has a user ",
    "the server confirms the digest",
    "not tried: ",
    "one tenant: there is nobody to be isolated from",
    "the name stays under [[retired]]",
    "accounts and settings were not compared: ",
    "keeping the root key at ",
    "changed by hand and rendered again: ",
    "      tenantry apply --",
];

/// Whether a good run may say this on standard error.
fn is_a_note(line: &str) -> bool {
    NOTES.iter().any(|note| line.starts_with(note))
        || line.contains("check shows them")
        || line.contains(" is near its limit of ")
}

/// What a user needs to connect.
#[derive(Debug, Clone)]
pub struct Creds {
    pub url: String,
    pub login: Option<String>,
    pub password: Option<String>,
    pub seed: Option<String>,
    pub inbox_prefix: String,
}

impl Creds {
    /// Connects once, without retrying.
    pub async fn connect(&self) -> Result<Connection, async_nats::ConnectError> {
        let options = match (&self.seed, &self.login, &self.password) {
            (Some(seed), ..) => ConnectOptions::with_nkey(seed.clone()),
            (None, Some(user), Some(password)) => {
                ConnectOptions::with_user_and_password(user.clone(), password.clone())
            }
            _ => ConnectOptions::new(),
        };
        let (errors, lost): (Errors, Arc<AtomicBool>) = Default::default();
        let (seen, noted) = (errors.clone(), lost.clone());
        let client = options
            .custom_inbox_prefix(self.inbox_prefix.clone())
            .event_callback(move |event| {
                let (seen, noted) = (seen.clone(), noted.clone());
                async move {
                    match event {
                        Event::ServerError(error) => seen.lock().expect("errors").push(error.to_string()),
                        Event::Disconnected | Event::Closed => noted.store(true, Ordering::Relaxed),
                        _ => {}
                    }
                }
            })
            .connect(&self.url)
            .await?;
        Ok(Connection { client, errors, lost })
    }
}

/// No tenant may publish here.
const ROUND_TRIP: &str = "round-trip.is.";

type Errors = Arc<Mutex<Vec<String>>>;

/// A connected client that remembers what the server refused.
pub struct Connection {
    pub client: Client,
    errors: Errors,
    lost: Arc<AtomicBool>,
}

impl std::ops::Deref for Connection {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Connection {
    /// Waits until the server has said something with all of these in it.
    async fn server_says(&self, parts: &[&str]) -> bool {
        let start = Instant::now();
        loop {
            let said = |e: &String| parts.iter().all(|p| e.to_lowercase().contains(&p.to_lowercase()));
            if self.errors.lock().expect("errors").iter().any(said) {
                return true;
            }
            if start.elapsed() > PATIENCE {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Publishing must be refused by the server's permission check.
    pub async fn cannot_publish(&self, subject: &str) {
        self.publish(subject.to_owned(), "x".into()).await.expect("publish");
        self.flush().await.expect("flush");
        let said = self.server_says(&["Permissions Violation for Publish", &format!("\"{subject}\"")]).await;
        assert!(said, "publishing to {subject} was not refused; the server said {:?}", self.errors());
    }

    /// Subscribing must be refused by the server's permission check.
    pub async fn cannot_subscribe(&self, subject: &str) {
        let _subscription = self.subscribe(subject.to_owned()).await.expect("subscribe");
        self.flush().await.expect("flush");
        let said = self.server_says(&["Permissions Violation for Subscription", &format!("\"{subject}\"")]).await;
        assert!(said, "subscribing to {subject} was not refused; the server said {:?}", self.errors());
    }

    /// Subscribing with a queue must be refused by the server's permission check.
    pub async fn cannot_join_queue(&self, subject: &str, queue: &str) {
        let _subscription = self.queue_subscribe(subject.to_owned(), queue.to_owned()).await.expect("subscribe");
        self.flush().await.expect("flush");
        let said =
            self.server_says(&["Permissions Violation for Subscription", &format!("\"{subject}\""), "queue"]).await;
        assert!(said, "joining {queue} on {subject} was not refused; the server said {:?}", self.errors());
    }

    /// Whether it was ever disconnected.
    pub fn was_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Everything the server refused.
    pub fn errors(&self) -> Vec<String> {
        let errors = self.errors.lock().expect("errors");
        errors.iter().filter(|e| !e.to_lowercase().contains(ROUND_TRIP)).cloned().collect()
    }

    /// Waits until the server has dealt with everything sent before. The
    /// library's flush waits for the write only; this waits for an answer, which
    /// every tenant's user gets here: a refusal.
    pub async fn settled(&self) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let subject = format!("{ROUND_TRIP}{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.publish(subject.clone(), "".into()).await.expect("publish");
        assert!(self.server_says(&[&format!("\"{subject}\"")]).await, "the server does not answer");
    }

    /// Subscribes, and waits until the server has done it.
    pub async fn listen(&self, subject: &str) -> async_nats::Subscriber {
        let subscriber = self.subscribe(subject.to_owned()).await.expect("subscribe");
        self.settled().await;
        subscriber
    }

    /// Publishes a text.
    pub async fn say(&self, subject: &str, text: &str) {
        self.publish(subject.to_owned(), text.to_owned().into()).await.expect("publish");
        self.flush().await.expect("flush");
    }
}

/// The next message, which must come.
pub async fn next(subscription: &mut async_nats::Subscriber) -> async_nats::Message {
    tokio::time::timeout(PATIENCE, subscription.next()).await.expect("a message in time").expect("a message")
}

/// Retries until it holds. For what the server does in its own time.
pub async fn eventually<F, Fut>(what: &str, mut holds: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Asks without a client library's checks and gives the answer's JSON, or
/// nothing if nobody answers.
pub async fn ask(client: &Client, subject: &str, body: Json) -> Option<Json> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let reply = tokio::time::timeout(PATIENCE, client.request(subject.to_owned(), body.into())).await;
    match reply {
        Ok(Ok(message)) => serde_json::from_slice(&message.payload).ok(),
        _ => None,
    }
}
