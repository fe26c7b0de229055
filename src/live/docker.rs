//! The same server in a container, through the rendered compose file.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::process::Started;
use super::ready;
use crate::error::Error;
use crate::model::Model;
use crate::render::COMPOSE;

/// How long image and server may take until the server answers.
const LIMIT: Duration = Duration::from_secs(120);

/// `docker compose`, or the older `docker-compose`.
fn compose(bundle: &Path) -> Result<Command, Error> {
    let quiet = |command: &mut Command| {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
    };
    let mut command = if quiet(Command::new("docker").args(["compose", "version"])) {
        let mut command = Command::new("docker");
        command.arg("compose");
        command
    } else if quiet(Command::new("docker-compose").arg("version")) {
        Command::new("docker-compose")
    } else {
        return Err(Error::server(
            "there is neither `docker compose` nor `docker-compose`",
            "install Docker, or run without --docker",
        ));
    };
    command.arg("-f").arg(bundle.join(COMPOSE)).stdin(Stdio::null());
    Ok(command)
}

fn run(bundle: &Path, arguments: &[&str]) -> Result<Output, Error> {
    let output = compose(bundle)?
        .args(arguments)
        .output()
        .map_err(|e| Error::server(format!("cannot run docker compose: {e}"), "is Docker installed?"))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().filter(|l| !l.trim().is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(5)..].join("\n  ");
    Err(Error::server(
        format!("docker compose {} failed:\n  {tail}", arguments.join(" ")),
        "if the engine is not running, start it; the port may be in use: `docker ps` shows by what",
    ))
}

/// Whether the compose file's server runs.
pub fn is_running(bundle: &Path) -> Result<bool, Error> {
    let output = run(bundle, &["ps", "-q", "nats"])?;
    let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if id.is_empty() {
        return Ok(false);
    }
    let state = Command::new("docker").args(["inspect", "-f", "{{.State.Running}}", &id]).output();
    Ok(state.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).trim() == "true"))
}

/// Starts the server, or makes a running one read its configuration again.
pub fn up(bundle: &Path, model: &Model) -> Result<Started, Error> {
    let before = is_running(bundle)?;
    run(bundle, &["up", "-d"])?;
    if before {
        run(bundle, &["kill", "-s", "HUP", "nats"])?;
    }
    let answered = ready::poll(LIMIT, || {
        let name = model.server.name.as_str();
        match ready::greeting(model.server.client) {
            Some(info) if info["server_name"] == name => Some(true),
            _ => matches!(is_running(bundle), Ok(false)).then_some(false),
        }
    });
    if answered == Some(true) {
        return Ok(if before { Started::Reloaded } else { Started::Started });
    }
    let logs = run(bundle, &["logs", "--tail=5", "nats"]).map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    Err(Error::server(
        format!(
            "the container does not answer at {}:\n  {}",
            model.server.client,
            logs.unwrap_or_default().replace('\n', "\n  ")
        ),
        "`docker compose logs nats` in the bundle's folder shows more",
    ))
}

/// Ends the server; its volume stays.
pub fn down(bundle: &Path) -> Result<(), Error> {
    run(bundle, &["down"]).map(|_| ())
}
