//! Starts, reloads and stops the server in a container, with the rendered compose file.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::process::UpAction;
use super::ready;
use crate::error::Error;
use crate::model::Model;
use crate::render::COMPOSE;

/// Time limit for the server to answer after the start, and for a reload.
const LIMIT: Duration = Duration::from_secs(120);

/// The command `docker compose`, or `docker-compose` version 2. Version 1 rejects the
/// compose file's `name`, without which two registries would share a project.
fn compose(bundle: &Path) -> Result<Command, Error> {
    let version = |command: &mut Command| {
        let output = command.args(["version", "--short"]).stdin(Stdio::null()).output().ok()?;
        output.status.success().then(|| text(&output.stdout))
    };
    let mut command = if version(Command::new("docker").arg("compose")).is_some() {
        let mut command = Command::new("docker");
        command.arg("compose");
        command
    } else {
        match version(&mut Command::new("docker-compose")) {
            Some(old) if old.starts_with("1.") => {
                let message = format!("docker-compose {old} is too old for the compose file");
                return Err(Error::server(
                    message,
                    "install Docker's compose plugin, version 2, or run without --docker",
                ));
            }
            Some(_) => Command::new("docker-compose"),
            None => {
                let message = "there is neither `docker compose` nor `docker-compose`";
                return Err(Error::server(message, "install Docker and its compose plugin, or run without --docker"));
            }
        }
    };
    command.arg("-f").arg(bundle.join(COMPOSE)).stdin(Stdio::null());
    Ok(command)
}

fn run(bundle: &Path, arguments: &[&str]) -> Result<Output, Error> {
    let output = compose(bundle)?.args(arguments).output().map_err(|e| Error::CannotRun {
        program: "docker".into(),
        source: e,
        hint: "is Docker installed?".into(),
    })?;
    if output.status.success() {
        return Ok(output);
    }
    let said = text(&output.stderr);
    // Lines such as " Container tenantry-dev-nats-1  Starting" report progress and not the
    // error.
    let is_progress = |l: &&str| ["Container ", "Volume ", "Network "].iter().any(|what| l.starts_with(what));
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|l| !l.is_empty() && !is_progress(l)).collect();
    let tail = lines[lines.len().saturating_sub(5)..].join("\n  ");
    Err(Error::server(format!("docker compose {} failed:\n  {tail}", arguments.join(" ")), remedy(&tail)))
}

/// The hint for an error message of compose.
fn remedy(said: &str) -> &'static str {
    let says = |words: &[&str]| words.iter().any(|w| said.contains(w));
    if says(&["Cannot connect to the Docker daemon", "docker daemon running", "connection refused"]) {
        "start the Docker engine"
    } else if says(&["port is already allocated", "address already in use"]) {
        "`docker ps` shows what uses the port; or choose another under [server]"
    } else if says(&[
        "pull access denied",
        "manifest",
        "no such host",
        "failed to resolve",
        "i/o timeout",
        "TLS handshake",
    ]) {
        "the image could not be had: check the network and `[server] image`, or `docker load` it from elsewhere"
    } else {
        "`docker compose -f infra/docker-compose.yml config` shows what was asked"
    }
}

/// The id of the compose file's container, running or not. `None` if there is none. An
/// error if it belongs to another registry: projects are named after the server, and many
/// servers are named "dev".
fn container(bundle: &Path) -> Result<Option<String>, Error> {
    if !bundle.join(COMPOSE).exists() {
        return Ok(None);
    }
    let id = text(&run(bundle, &["ps", "--all", "--quiet", "nats"])?.stdout);
    if id.is_empty() {
        return Ok(None);
    }
    let owner = inspect(&id, "{{index .Config.Labels \"com.docker.compose.project.working_dir\"}}");
    // A folder that does not exist any more may have been moved here.
    match fs::canonicalize(&owner) {
        Ok(owner) if fs::canonicalize(bundle).is_ok_and(|own| own != owner) => Err(Error::server(
            format!("the container of a server with this name belongs to {}", owner.display()),
            "give one of the two servers another name under [server], or end the other: tenantry down --docker, run there",
        )),
        _ => Ok(Some(id)),
    }
}

/// Formats properties of a container with `docker inspect`; empty on an error.
fn inspect(id: &str, format: &str) -> String {
    let output = Command::new("docker").args(["inspect", "-f", format, id]).stdin(Stdio::null()).output();
    output.map(|o| text(&o.stdout)).unwrap_or_default()
}

/// Whether a container runs. False while it is restarting after a crash.
fn runs(id: &str) -> bool {
    inspect(id, "{{.State.Status}}") == "running"
}

/// The last lines of a container's log, each as the engine's timestamp and text.
fn log(id: &str, lines: u32) -> Vec<(String, String)> {
    let tail = format!("--tail={lines}");
    let output = Command::new("docker").args(["logs", "--timestamps", &tail, id]).stdin(Stdio::null()).output();
    // nats-server logs to standard error.
    let said = output.map(|o| format!("{}\n{}", text(&o.stdout), text(&o.stderr))).unwrap_or_default();
    let line = |line: &str| line.split_once(' ').map(|(time, rest)| (time.to_owned(), rest.trim().to_owned()));
    said.lines().filter_map(line).filter(|(_, words)| !words.is_empty()).collect()
}

fn last_words(id: &str) -> String {
    let words: Vec<String> = log(id, 5).into_iter().map(|(_, words)| words).collect();
    words.join("\n  ")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// Whether the server of the bundle's compose file runs.
pub fn is_running(bundle: &Path) -> Result<bool, Error> {
    Ok(container(bundle)?.is_some_and(|id| runs(&id)))
}

/// Starts the server, or reloads a running one.
pub fn up(bundle: &Path, model: &Model) -> Result<UpAction, Error> {
    let before = container(bundle)?.filter(|id| runs(id));
    run(bundle, &["up", "-d"])?;
    let id = container(bundle)?.ok_or_else(|| Error::server("docker compose started no container", ""))?;
    // Compose replaces the container if port or image changed; a new one needs no reload.
    if before.as_deref() == Some(&id) {
        reload(bundle, &id)?;
        return Ok(UpAction::Reloaded);
    }
    wait_until_ready(bundle, &id, model)?;
    Ok(UpAction::Started)
}

fn wait_until_ready(bundle: &Path, id: &str, model: &Model) -> Result<(), Error> {
    let name = model.server.name.as_str();
    let answered = ready::poll(LIMIT, || match ready::greeting(model.server.client) {
        Some(info) if info["server_name"] == name => Some(true),
        _ => (!runs(id)).then_some(false),
    });
    if answered == Some(true) {
        return Ok(());
    }
    let words = last_words(id);
    if answered == Some(false) {
        // Otherwise the engine would restart it for ever.
        let _ = run(bundle, &["down"]);
        return Err(Error::StartFailed {
            server: "nats-server",
            what: "ended at once in its container".into(),
            words: format!("\n  {words}"),
            hint: "/etc/nats in the container is the folder nats of the bundle".into(),
        });
    }
    Err(Error::server(
        format!("the container does not answer at {}:\n  {words}", model.server.client),
        format!("`docker logs {}` shows more", id.get(..12).unwrap_or(id)),
    ))
}

/// Sends SIGHUP and waits until the server confirms or rejects the new configuration.
fn reload(bundle: &Path, id: &str) -> Result<(), Error> {
    // Compares timestamps of the engine's clock only, which may differ from ours.
    let before = log(id, 1).pop().map(|(time, _)| time);
    run(bundle, &["kill", "-s", "HUP", "nats"])?;
    let answer = ready::poll(LIMIT, || {
        let new = log(id, 1000).into_iter().filter(|(time, _)| Some(time) > before.as_ref());
        let mut words = new.map(|(_, words)| words);
        let found = words.find(|w| w.contains("Failed to reload") || w.contains("Reloaded server configuration"));
        found.or_else(|| (!runs(id)).then(|| format!("the server ended: {}", last_words(id))))
    });
    match answer {
        Some(words) if words.contains("Reloaded server configuration") => Ok(()),
        Some(words) => Err(Error::server(
            format!("the running server did not take the new configuration: {words}"),
            "some changes need a restart, which disconnects everybody: tenantry down --docker && tenantry up --docker",
        )),
        None => Err(Error::server("the server did not say whether it reloaded", format!("its log: docker logs {id}"))),
    }
}

/// Stops the server and removes its container; its volume stays. False if there was no
/// container.
pub fn down(bundle: &Path) -> Result<bool, Error> {
    // Fails if the container belongs to another registry.
    let existed = container(bundle)?.is_some();
    if bundle.join(COMPOSE).exists() {
        run(bundle, &["down"])?;
    }
    Ok(existed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_fits_what_compose_says() {
        let cases = [
            ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock", "start the Docker engine"),
            ("Bind for 127.0.0.1:4222 failed: port is already allocated", "what uses the port"),
            ("manifest for nats:none not found", "the image could not be had"),
            ("dial tcp: lookup registry-1.docker.io: no such host", "the image could not be had"),
            ("yaml: line 3: mapping values are not allowed", "shows what was asked"),
            ("", "shows what was asked"),
        ];
        for (said, hint) in cases {
            assert!(remedy(said).contains(hint), "{said}: {}", remedy(said));
        }
    }
}
