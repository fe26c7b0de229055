//! A nats-server on this machine, run from the rendered bundle. What it needs
//! beside the bundle lives in the state folder: its main file, log and data.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::conf_folder::{self, ConfFolder};
use super::leftovers;
use super::locate::NatsServer;
use super::ready;
use super::reload_plan::{self, ReloadPlan};
use super::reservations::Held;
use crate::conf::value::Map;
use crate::conf::{self, ConfFiles};
use crate::error::Error;
use crate::fault;
use crate::model::units::Listen;
use crate::model::{Model, Server};
use crate::registry::folder_of;
use crate::render::bundle::Bundle;
use crate::render::engine::Engine;
use crate::render::{self, ServerPaths, local_server_conf};
use crate::state;

/// How long a server may take to start or to reload. Ten thousand JetStream
/// accounts take about ten seconds.
pub(super) const START_LIMIT: Duration = Duration::from_secs(120);
/// The file in which a running server is remembered.
const STATE: &str = "state.json";
/// How long a server may take to end by itself.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// How much of the log is searched for what the server read last.
const LOG_TAIL: u64 = 64 << 20;

/// The files of a running server.
#[derive(Debug, Clone)]
pub struct LocalServer {
    folder: PathBuf,
    registry: PathBuf,
}

/// What is remembered of a running server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunningServer {
    /// Its process.
    pub pid: u32,
    /// When the process started, as the kernel counts, so that another process
    /// with the same number is not taken for it.
    started: Option<u64>,
    /// Where clients connect.
    pub url: String,
    /// The same, from this machine.
    pub dial: String,
    /// Where monitoring is.
    pub monitor: Option<String>,
    /// Its version.
    pub version: String,
    /// The executable.
    pub executable: PathBuf,
    /// Whose server it is.
    pub registry: PathBuf,
}

/// A configuration that was rendered for a server.
pub struct PreparedConf {
    /// Its files.
    pub files: ConfFiles,
    /// What they say.
    pub values: Map,
    /// Their digest, as the server prints it when it has read them.
    pub digest: String,
}

impl PreparedConf {
    /// The configuration of a bundle's server.
    pub fn of_bundle(bundle: &Bundle) -> Result<Self, Error> {
        let text = |path: &str| bundle.text(path).unwrap_or_default().to_owned();
        Self::read(ConfFiles { main: text(render::SERVER), accounts: text(render::ACCOUNTS) })
    }

    fn read(files: ConfFiles) -> Result<Self, Error> {
        let scratch = tempfile::TempDir::with_prefix("tenantry-conf-")
            .map_err(|e| Error::io("create", &std::env::temp_dir(), e))?;
        let values = conf_folder::read(&files.write(scratch.path())?)?;
        Ok(Self { digest: conf::digest(&values), files, values })
    }
}

/// What has to be known of a server to start it.
pub(super) struct StartedAs<'s> {
    executable: &'s Path,
    version: String,
    name: String,
    url: String,
    client: Listen,
    monitor: Option<Listen>,
    /// Environment variables that it does not get.
    secrets: Vec<String>,
}

impl<'s> StartedAs<'s> {
    /// The server of a model.
    pub(super) fn of(server: &'s NatsServer, model: &Model) -> Self {
        Self {
            executable: &server.path,
            version: server.version.to_string(),
            name: model.server.name.to_string(),
            url: model.server.url.clone(),
            client: model.server.client,
            monitor: model.server.monitor,
            secrets: model.secret_variables().map(str::to_owned).collect(),
        }
    }

    /// The server that ran before.
    pub(super) fn before(state: &'s RunningServer, name: &str, model: &Model) -> Option<Self> {
        Some(Self {
            executable: &state.executable,
            version: state.version.clone(),
            name: name.to_owned(),
            url: state.url.clone(),
            client: address_of(&state.dial)?,
            monitor: state.monitor.as_deref().and_then(address_of),
            secrets: model.secret_variables().map(str::to_owned).collect(),
        })
    }
}

/// What `up` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UpAction {
    /// A new server.
    Started,
    /// A running server read its configuration again.
    Reloaded,
    /// A running server already had this configuration.
    Unchanged,
}

impl LocalServer {
    /// The run of the registry whose state folder this is.
    pub fn new(state: &Path, registry: &Path) -> Self {
        let registry = fs::canonicalize(registry).unwrap_or_else(|_| registry.to_owned());
        Self { folder: state.join("run"), registry }
    }

    /// The server that runs. Fails if its process is stopped: then it answers nothing.
    pub fn answering(&self) -> Result<Option<RunningServer>, Error> {
        match self.running() {
            Some(state) if state.is_stopped() => Err(Error::server(
                format!("the server (pid {}) is stopped", state.pid),
                format!("nothing was changed; let it go on: kill -CONT {}", state.pid),
            )),
            running => Ok(running),
        }
    }

    /// Refuses to touch a server that another registry of this folder runs.
    pub fn refuse_other_registry(&self) -> Result<(), Error> {
        match self.running() {
            // A registry that is no more was renamed: then it may be this one.
            Some(state) if state.registry != self.registry && state.registry.exists() => Err(Error::server(
                format!("the server that runs here (pid {}) is of {}", state.pid, state.registry.display()),
                format!(
                    "end it: tenantry -f {} down; registries that run at once need a folder each",
                    state.registry.display()
                ),
            )),
            _ => Ok(()),
        }
    }

    /// The server's log.
    pub fn log(&self) -> PathBuf {
        self.folder.join("nats-server.log")
    }

    /// Where its configuration is.
    pub(super) fn conf(&self) -> ConfFolder {
        ConfFolder::new(self.folder.clone(), self.folder.join("previous"))
    }

    fn state_file(&self) -> PathBuf {
        self.folder.join(STATE)
    }

    fn held_file(&self) -> PathBuf {
        self.folder.join("held.json")
    }

    /// What the running server holds of its accounts, by what it was told since it started. It says so itself, but
    /// only to a system user whom it knows. `None`: another version of tenantry started it.
    pub fn held(&self) -> Option<Held> {
        serde_json::from_str(&fs::read_to_string(self.held_file()).ok()?).ok()
    }

    /// Takes note of the accounts of a model that a server is told, beside those that it holds already.
    pub(super) fn note_held(&self, model: &Model, held: Option<Held>) -> Result<(), Error> {
        let Some(mut held) = held else { return Ok(()) };
        let store = self.store();
        held.change(model, |account| leftovers::has_streams(&store, account));
        self.write_held(&held)
    }

    /// Writes down what the server holds.
    pub(super) fn write_held(&self, held: &Held) -> Result<(), Error> {
        let text = serde_json::to_string(held).unwrap_or_default();
        fault::step().map_err(|e| Error::io("write", &self.held_file(), e))?;
        fs::write(self.held_file(), text).map_err(|e| Error::io("write", &self.held_file(), e))
    }

    /// Refuses addresses of a model that others than the running server listen on.
    pub fn refuse_taken(&self, model: &Model) -> Result<(), Error> {
        let Server { client, monitor, name, .. } = &model.server;
        self.refuse_taken_addresses(name.as_str(), *client, *monitor)
    }

    fn refuse_taken_addresses(&self, name: &str, client: Listen, monitor: Option<Listen>) -> Result<(), Error> {
        let running = self.running();
        let own = running.iter().flat_map(|state| [Some(&state.dial), state.monitor.as_ref()]).flatten();
        let own: Vec<Listen> = own.filter_map(|url| address_of(url)).collect();
        for (what, address) in [("clients", Some(client)), ("monitoring", monitor)] {
            let address = address.filter(|address| !own.contains(&address.dial()) && ready::is_taken(*address));
            if let Some(address) = address {
                return Err(taken(what, address, name));
            }
        }
        Ok(())
    }

    /// The running server, if there is one.
    pub fn running(&self) -> Option<RunningServer> {
        let text = fs::read_to_string(self.state_file()).ok()?;
        let state: RunningServer = serde_json::from_str(&text).ok()?;
        (!self.is_copied(&state) && state.is_alive()).then_some(state)
    }

    /// Whether what is remembered here was copied along with the folder, and the server is the original's.
    fn is_copied(&self, remembered: &RunningServer) -> bool {
        if remembered.registry == self.registry {
            return false;
        }
        let original = state::folder_beside(folder_of(&remembered.registry)).join("run").join(STATE);
        let text = fs::read_to_string(&original).unwrap_or_default();
        let other: Option<RunningServer> = serde_json::from_str(&text).ok();
        let is_elsewhere = fs::canonicalize(&original).ok() != fs::canonicalize(self.state_file()).ok();
        is_elsewhere && other.is_some_and(|other| other.pid == remembered.pid && other.started == remembered.started)
    }

    /// One `up` or `down` at a time.
    pub(super) fn lock(&self) -> Result<File, Error> {
        let fail = |e| Error::io("create", &self.folder, e);
        if let Some(folder) = self.folder.parent() {
            state::create(folder).map_err(fail)?;
        }
        fs::create_dir_all(&self.folder).map_err(fail)?;
        let lock = File::open(&self.folder).map_err(fail)?;
        lock.lock().map_err(fail)?;
        Ok(lock)
    }

    /// The configuration with which this server runs these accounts.
    pub fn prepare(&self, model: &Model, engine: &Engine, accounts: String) -> Result<PreparedConf, Error> {
        let fail = |e| Error::io("create", &self.folder, e);
        fs::create_dir_all(&self.folder).map_err(fail)?;
        let folder = fs::canonicalize(&self.folder).map_err(|e| Error::io("find", &self.folder, e))?;
        let main = main_file(&folder, model, engine, conf::ACCOUNTS.to_owned(), self.names_acknowledgements())?;
        PreparedConf::read(ConfFiles { main, accounts })
    }

    /// What the running server has to do before it runs this configuration. `None` if none runs here.
    pub fn reload_plan(&self, new: &PreparedConf) -> Option<ReloadPlan> {
        self.running()?;
        let running = self.read_digest();
        if running.as_ref() == Some(&new.digest) {
            return Some(ReloadPlan::nothing());
        }
        let old = running.and_then(|digest| self.conf().with_digest(&digest));
        Some(reload_plan::compare(old.as_ref(), new))
    }

    /// The main configuration file with which this server runs, or would. `None` if nothing was
    /// ever started here.
    pub fn main_file(&self, model: &Model, engine: &Engine) -> Result<Option<String>, Error> {
        let Ok(folder) = fs::canonicalize(&self.folder) else { return Ok(None) };
        main_file(&folder, model, engine, conf::ACCOUNTS.to_owned(), self.names_acknowledgements()).map(Some)
    }

    /// Whether the running server was started with the feature flag by which acknowledgements name their account. It keeps
    /// that until it restarts: no reload changes it, and it is never in the way of a tenant.
    pub fn names_acknowledgements(&self) -> bool {
        self.running().is_some()
            && fs::read_to_string(self.conf().main()).is_ok_and(|text| text.contains("js_ack_fc_v2: true"))
    }

    /// The folder in which the server keeps one folder of each account with JetStream.
    pub fn store(&self) -> PathBuf {
        self.folder.join("data").join("jetstream")
    }

    /// The digest of what the running server read last, by its own words.
    pub(super) fn read_digest(&self) -> Option<String> {
        let log = self.log();
        let length = fs::metadata(&log).map_or(0, |m| m.len());
        let text = read_from(&log, length.saturating_sub(LOG_TAIL)).ok()?;
        let is_read = |line: &&str| {
            ["Using configuration file", "Reloaded server configuration"].iter().any(|w| line.contains(w))
        };
        let line = text.lines().rfind(is_read)?;
        line.rsplit_once('(').map(|(_, digest)| digest.trim_end_matches(')').to_owned())
    }

    /// Starts a server with this configuration. If one runs by now, it stays as it is.
    pub fn start(
        &self,
        server: &NatsServer,
        model: &Model,
        conf: &PreparedConf,
    ) -> Result<(RunningServer, UpAction), Error> {
        let _lock = self.lock()?;
        if let Some(state) = self.running() {
            state.wait_until_it_greets();
            let action = match self.read_digest().as_ref() == Some(&conf.digest) {
                true => UpAction::Unchanged,
                false => return Err(Error::refused("another `up` started the server meanwhile", "run it again")),
            };
            return Ok((state, action));
        }
        self.conf().replace(&conf.files, None)?;
        self.note_held(model, Some(Held::default()))?;
        Ok((self.spawn_ready(&StartedAs::of(server, model))?, UpAction::Started))
    }

    /// Starts a server in the background, and waits until it is ready.
    pub(super) fn spawn_ready(&self, server: &StartedAs<'_>) -> Result<RunningServer, Error> {
        let mut child = self.spawn(server, true)?;
        // Before it is ready, so that one which nobody waits for any more is known.
        let state = self.remember(&child, server)?;
        self.wait_until_ready(&mut child, server).inspect_err(|_| {
            let _ = fs::remove_file(self.state_file());
        })?;
        Ok(state)
    }

    /// Starts the server as a child, tells `ready`, and waits for its end.
    pub fn foreground(
        &self,
        server: &NatsServer,
        model: &Model,
        conf: &PreparedConf,
        ready: impl FnOnce(&RunningServer),
    ) -> Result<ExitStatus, Error> {
        let mut child = {
            let _lock = self.lock()?;
            if let Some(state) = self.running() {
                return Err(Error::server(
                    format!("a server is running already (pid {})", state.pid),
                    "end it first: tenantry down",
                ));
            }
            self.conf().replace(&conf.files, None)?;
            self.note_held(model, Some(Held::default()))?;
            let started_as = StartedAs::of(server, model);
            // In our process group: Ctrl-C reaches it too.
            let mut child = self.spawn(&started_as, false)?;
            self.wait_until_ready(&mut child, &started_as)?;
            let state = self.remember(&child, &started_as)?;
            ready(&state);
            child
        };
        let status = child.wait().map_err(|e| Error::io("wait for", &server.path, e));
        let _ = fs::remove_file(self.state_file());
        status
    }

    fn spawn(&self, server: &StartedAs<'_>, detached: bool) -> Result<Child, Error> {
        self.refuse_taken_addresses(&server.name, server.client, server.monitor)?;
        let log = self.log();
        fs::write(&log, "").map_err(|e| Error::io("write", &log, e))?;
        let mut command = self.command(server)?;
        command.stdout(append_to(&log)?).stderr(append_to(&log)?);
        if detached {
            command.process_group(0);
        }
        command.spawn().map_err(|e| Error::cannot_run(server.executable, e))
    }

    /// The server with its configuration, in its own folder and without secrets in its environment.
    fn command(&self, server: &StartedAs<'_>) -> Result<Command, Error> {
        // Absolute: the server runs in its own folder.
        let conf = self.conf().main();
        let conf = fs::canonicalize(&conf).map_err(|e| Error::io("find", &conf, e))?;
        let mut command = Command::new(server.executable);
        command.arg("-c").arg(conf).current_dir(&self.folder).stdin(Stdio::null());
        super::keep_secrets_from(&mut command, server.secrets.iter().map(String::as_str));
        Ok(command)
    }

    /// Has the server say whether it would start with its configuration. The error has its words.
    pub(super) fn test(&self, server: &StartedAs<'_>) -> Result<(), String> {
        let output = self.command(server).map_err(|e| e.to_string())?.arg("-t").output();
        match output {
            Ok(output) if !output.status.success() => Err(last_words(&String::from_utf8_lossy(&output.stderr))),
            _ => Ok(()),
        }
    }

    fn wait_until_ready(&self, child: &mut Child, server: &StartedAs<'_>) -> Result<(), Error> {
        enum Seen {
            Ready,
            Ended(Option<ExitStatus>),
        }
        let seen = ready::poll(START_LIMIT, || match child.try_wait() {
            Ok(Some(status)) => Some(Seen::Ended(Some(status))),
            Err(_) => Some(Seen::Ended(None)),
            Ok(None) => ready::greeting(server.client)
                .filter(|info| info["server_name"] == server.name.as_str())
                .map(|_| Seen::Ready),
        });
        match seen {
            Some(Seen::Ready) => Ok(()),
            Some(Seen::Ended(status)) => {
                let how = status.map_or_else(String::new, |s| format!(" ({s})"));
                Err(self.start_failed(format!("ended at once{how}")))
            }
            None => {
                let _ = child.kill().and_then(|()| child.wait());
                Err(self.start_failed(format!("did not answer within {} s", START_LIMIT.as_secs())))
            }
        }
    }

    fn start_failed(&self, what: String) -> Error {
        let hint = format!("its log is {}", self.log().display());
        Error::StartFailed { server: "nats-server", what, words: self.last_words(), hint }
    }

    /// What the server itself says is wrong.
    pub(super) fn last_words(&self) -> String {
        last_words(&fs::read_to_string(self.log()).unwrap_or_default())
    }

    fn remember(&self, child: &Child, server: &StartedAs<'_>) -> Result<RunningServer, Error> {
        let state = RunningServer {
            pid: child.id(),
            started: start_time(child.id()),
            url: server.url.clone(),
            dial: format!("nats://{}", server.client.dial()),
            monitor: server.monitor.map(|m| format!("http://{}", m.dial())),
            version: server.version.clone(),
            executable: server.executable.to_owned(),
            registry: self.registry.clone(),
        };
        let file = self.state_file();
        let text = serde_json::to_string_pretty(&state).unwrap_or_default();
        fault::step().map_err(|e| Error::io("write", &file, e))?;
        fs::write(&file, text).map_err(|e| Error::io("write", &file, e))?;
        Ok(state)
    }

    /// Ends the server. Nothing if none was running.
    pub fn down(&self) -> Result<Option<RunningServer>, Error> {
        if !self.folder.exists() {
            return Ok(None);
        }
        let _lock = self.lock()?;
        let Some(state) = self.running() else {
            let _ = fs::remove_file(self.state_file());
            return Ok(None);
        };
        self.stop(&state)?;
        Ok(Some(state))
    }

    /// Ends a server.
    pub(super) fn stop(&self, state: &RunningServer) -> Result<(), Error> {
        state.signal(Signal::TERM)?;
        if ready::poll(STOP_LIMIT, || (!state.is_alive()).then_some(())).is_none() {
            state.signal(Signal::KILL)?;
            ready::poll(STOP_LIMIT, || (!state.is_alive()).then_some(()));
        }
        let _ = fs::remove_file(self.state_file());
        Ok(())
    }
}

/// The main file of a server in this folder.
fn main_file(
    folder: &Path,
    model: &Model,
    engine: &Engine,
    accounts: String,
    names_acknowledgements: bool,
) -> Result<String, Error> {
    let Server { client, monitor, .. } = model.server;
    let paths = ServerPaths::local(client, monitor, folder.join("data").display().to_string(), accounts);
    local_server_conf(model, engine, &ServerPaths { names_acknowledgements, ..paths })
}

fn append_to(log: &Path) -> Result<Stdio, Error> {
    let file = OpenOptions::new().create(true).append(true).open(log).map_err(|e| Error::io("write", log, e))?;
    Ok(file.into())
}

/// The address in a URL of this machine.
pub(super) fn address_of(url: &str) -> Option<Listen> {
    Listen::parse(url.split_once("://")?.1).ok()
}

fn taken(what: &str, address: Listen, own_name: &str) -> Error {
    let who = match ready::greeting(address) {
        Some(info) if info["server_name"] == own_name => {
            // Its process number was in the state folder.
            format!(" by NATS server {own_name:?}, perhaps this registry's own from before .tenantry was removed")
        }
        Some(info) => format!(" by NATS server {}", info["server_name"]),
        None => String::new(),
    };
    Error::server(
        format!("{address}, where {what} would connect, is in use{who}"),
        format!(
            "end what listens there (`ss -ltnp 'sport = :{}'` shows it), or choose another port under [server]",
            address.port
        ),
    )
}

/// What a server's log says is wrong.
pub(super) fn last_words(log: &str) -> String {
    let fatal = log.lines().rfind(|l| l.contains("[FTL]") || l.starts_with("nats-server:"));
    let words = fatal.or_else(|| log.lines().rfind(|l| l.contains("[ERR]"))).or_else(|| log.lines().next_back());
    strip_prefix(words.unwrap_or("it said nothing")).to_owned()
}

/// A log line without process number and time.
pub(super) fn strip_prefix(line: &str) -> &str {
    let marks = ["[FTL] ", "[ERR] ", "[INF] ", "[WRN] "];
    marks.iter().find_map(|mark| line.split_once(mark)).map_or(line, |(_, rest)| rest).trim()
}

pub(super) fn read_from(path: &Path, offset: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl RunningServer {
    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.pid).ok().and_then(Pid::from_raw)
    }

    /// Whether the process is still there, and still the same one.
    pub fn is_alive(&self) -> bool {
        let exists = self.pid().is_some_and(|pid| test_kill_process(pid).is_ok());
        exists && (self.started.is_none() || start_time(self.pid) == self.started)
    }

    /// Whether somebody has stopped the process, by a signal or in a debugger.
    fn is_stopped(&self) -> bool {
        seen(self.pid).is_some_and(|(state, _)| matches!(state, 'T' | 't'))
    }

    /// Waits until it takes connections, unless it ends or is stopped before. It may have been started a moment ago, by somebody who
    /// did not wait. Returns its name.
    pub(super) fn wait_until_it_greets(&self) -> String {
        let name = || {
            let info = address_of(&self.dial).and_then(ready::greeting)?;
            Some(info["server_name"].as_str().unwrap_or_default().to_owned())
        };
        ready::poll(START_LIMIT, || name().or_else(|| (!self.is_alive() || self.is_stopped()).then(String::new)))
            .unwrap_or_default()
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<(), Error> {
        let Some(pid) = self.pid() else { return Ok(()) };
        let _ = fault::step();
        kill_process(pid, signal)
            .map_err(|e| Error::server(format!("cannot signal the server (pid {}): {e}", self.pid), ""))
    }
}

/// What the system says of a process: the letter of its state, and a number for when it started that another process of
/// the same id does not have.
fn seen(pid: u32) -> Option<(char, u64)> {
    if cfg!(target_os = "linux") { seen_by_kernel(pid) } else { seen_by_ps(pid) }
}

/// When a process started. 0 for one that has ended and waits to be collected.
fn start_time(pid: u32) -> Option<u64> {
    seen(pid).map(|(state, started)| if state == 'Z' { 0 } else { started })
}

/// The start is the digest of what `ps` says, on systems without /proc.
fn seen_by_ps(pid: u32) -> Option<(char, u64)> {
    let mut ps = Command::new("ps");
    ps.args(["-o", "stat=", "-o", "lstart=", "-p", &pid.to_string()]).env("LC_ALL", "C").env("TZ", "UTC");
    let text = String::from_utf8(ps.stdin(Stdio::null()).output().ok()?.stdout).ok()?;
    let (state, started) = text.trim().split_once(char::is_whitespace)?;
    let started = Sha256::digest(started.trim()).first_chunk().map(|bytes| u64::from_be_bytes(*bytes))?;
    Some((state.chars().next()?, started))
}

/// The start in the kernel's ticks since boot.
fn seen_by_kernel(pid: u32) -> Option<(char, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_until_it_has_ended() {
        for seen in [seen_by_kernel as fn(u32) -> Option<(char, u64)>, seen_by_ps] {
            let mut child = Command::new("sleep").arg("60").spawn().expect("it runs");
            let becomes = |state: char| {
                let is_there = || seen(child.id()).is_some_and(|(now, _)| now == state).then_some(());
                ready::poll(Duration::from_secs(10), is_there).is_some()
            };
            assert!(becomes('S'));
            let started = seen(child.id()).map(|(_, started)| started);
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("its number");
            kill_process(pid, Signal::STOP).expect("stopped");
            assert!(becomes('T') && seen(child.id()).map(|(_, started)| started) == started, "it is the same");
            kill_process(pid, Signal::KILL).expect("killed");
            assert!(becomes('Z'), "it waits to be collected");
            child.wait().expect("collected");
            assert_eq!(seen(child.id()), None);
        }
    }
}
