//! A nats-server for a moment: in a folder of its own, on a port that it picks,
//! gone with whoever started it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::locate::NatsServer;
use super::ready;
use crate::conf::ConfFiles;
use crate::error::Error;

/// How long it may take to start. Ten thousand JetStream accounts take ten seconds.
const START_LIMIT: Duration = Duration::from_secs(120);

/// The running server; dropping it ends it and removes its folder.
pub struct Throwaway {
    child: Child,
    /// Where clients connect.
    pub address: String,
    folder: TempDir,
}

impl Throwaway {
    /// Boots a server and waits until it takes connections. `secrets`: environment variables that it does not get.
    pub fn boot<'s>(
        server: &NatsServer,
        conf: &ConfFiles,
        secrets: impl Iterator<Item = &'s str>,
    ) -> Result<Self, Error> {
        // It holds hashes of passwords, and stays if this process is killed.
        let private = Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("tenantry-verify-").permissions(private).tempdir();
        let folder = folder.map_err(|e| Error::io("create", Path::new("a folder"), e))?;
        let main = conf.write(folder.path())?;
        let log_path = folder.path().join("nats-server.log");
        let log = File::create(&log_path).map_err(|e| Error::io("write", &log_path, e))?;
        let mut command = with_us(&server.path);
        command.arg("-c").arg(&main).arg("--ports_file_dir").arg(folder.path());
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        super::keep_secrets_from(&mut command, secrets);
        let child = command.spawn().map_err(|e| Error::cannot_run(&server.path, e))?;
        let mut throwaway = Self { child, address: String::new(), folder };
        throwaway.address = throwaway.wait_until_ready()?;
        Ok(throwaway)
    }

    fn wait_until_ready(&mut self) -> Result<String, Error> {
        enum Seen {
            Ready(String),
            Ended(Option<ExitStatus>),
        }
        let folder = self.folder.path().to_owned();
        let seen = ready::poll(START_LIMIT, || match self.child.try_wait() {
            Ok(None) => ports_file(&folder).map(Seen::Ready),
            Ok(Some(status)) => Some(Seen::Ended(Some(status))),
            Err(_) => Some(Seen::Ended(None)),
        });
        let what = match seen {
            Some(Seen::Ready(address)) => return Ok(address),
            Some(Seen::Ended(status)) => status.map_or_else(|| "ended".into(), |s| format!("ended ({s})")),
            None => format!("did not answer within {} s", START_LIMIT.as_secs()),
        };
        let log = fs::read_to_string(folder.join("nats-server.log")).unwrap_or_default();
        let words = super::process::last_words(&log);
        let hint = "`tenantry check` may say more".to_owned();
        Err(Error::StartFailed { server: "the throwaway nats-server", what, words, hint })
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// The client address in the file that the server writes when it listens.
fn ports_file(folder: &Path) -> Option<String> {
    let entries = fs::read_dir(folder).ok()?;
    let file = entries.flatten().map(|e| e.path()).find(|p| p.extension().is_some_and(|e| e == "ports"))?;
    let ports: serde_json::Value = serde_json::from_str(&fs::read_to_string(file).ok()?).ok()?;
    ports["nats"][0].as_str()?.strip_prefix("nats://").map(str::to_owned)
}

/// The hidden command that runs a program which ends when its parent does.
pub const WITH_PARENT: &str = "run-with-parent";

/// A command that ends with this process, however that ends.
fn with_us(program: &Path) -> Command {
    match std::env::current_exe() {
        Ok(own) => {
            let mut command = Command::new(own);
            command.arg(WITH_PARENT).arg(std::process::id().to_string()).arg(program);
            command
        }
        Err(_) => Command::new(program),
    }
}
