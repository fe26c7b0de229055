//! Makes a running server run another configuration, or leaves it as it was: whatever it does not take is undone.

use std::fs;

use rustix::process::Signal;

use super::locate::NatsServer;
use super::process::{
    LocalServer, PreparedConf, RunningServer, START_LIMIT, StartedAs, UpAction, read_from, strip_prefix,
};
use super::ready;
use super::reservations::Held;
use crate::error::Error;
use crate::fault;
use crate::model::Model;

/// Why a running server does not run a new configuration.
enum Setback {
    /// It refused to read it, and goes on with the old one. Its words.
    Refused(String),
    /// It reads it, and something is wrong since. What.
    Doubtful(String),
    /// It is gone.
    Ended(String),
    /// It gives no answer.
    Silent,
    /// It was not told.
    NotTried(Error),
}

/// What a server was before a change.
struct Before<'b> {
    state: &'b RunningServer,
    name: String,
    digest: Option<String>,
    held: Option<Held>,
}

impl LocalServer {
    /// Makes the running server run this configuration: by a reload, or by a restart as `restart`. `confirm` looks at
    /// the server then. On any doubt the previous files are put back and the server runs them again; then the error says so.
    /// `None`: no server runs.
    pub fn change(
        &self,
        model: &Model,
        conf: &PreparedConf,
        restart: Option<&NatsServer>,
        confirm: impl Fn(&RunningServer) -> Result<(), String>,
    ) -> Result<Option<(RunningServer, UpAction)>, Error> {
        let _lock = self.lock()?;
        let Some(state) = self.answering()? else { return Ok(None) };
        let name = state.wait_until_it_greets();
        if name.is_empty() && state.is_alive() {
            return Err(Error::server(
                format!("nothing was changed: the server (pid {}) gives no answer at {}", state.pid, state.dial),
                format!("is it stopped, or out of memory? its log is {}", self.log().display()),
            ));
        }
        let before = Before { state: &state, name, digest: self.read_digest(), held: self.held() };
        self.conf().replace(&conf.files, before.digest.as_deref())?;
        if before.digest.as_ref() == Some(&conf.digest) && restart.is_none() {
            return Ok(Some((state, UpAction::Unchanged)));
        }
        let told = match restart {
            None => self.note_held(model, self.held()).map_err(Setback::NotTried).and_then(|()| {
                self.reload(&state)?;
                Ok((state.clone(), UpAction::Reloaded))
            }),
            Some(server) => self.restart(server, model, &state).map(|state| (state, UpAction::Started)),
        };
        let _ = fault::step();
        // Another process after a restart.
        let now = told.as_ref().map_or_else(|_| state.clone(), |(state, _)| state.clone());
        let done = told.and_then(|(state, action)| match self.read_digest().as_ref() == Some(&conf.digest) {
            false => Err(Setback::Doubtful("it has read something else than it was given".to_owned())),
            true => confirm(&state).map(|()| (state, action)).map_err(Setback::Doubtful),
        });
        done.map(Some).map_err(|setback| self.undo(&before, &now, &setback, model))
    }

    /// Asks the server to read its configuration again and waits for its answer.
    fn reload(&self, state: &RunningServer) -> Result<(), Setback> {
        let log = self.log();
        let begin = fs::metadata(&log).map_or(0, |m| m.len());
        state.signal(Signal::HUP).map_err(Setback::NotTried)?;
        let answer = ready::poll(START_LIMIT, || {
            if !state.is_alive() {
                return Some(Err(Setback::Ended(self.last_words())));
            }
            let new = read_from(&log, begin).ok()?;
            let line = |mark: &str| new.lines().find(|l| l.contains(mark)).map(|l| strip_prefix(l).to_owned());
            match line("Failed to reload") {
                Some(words) => Some(Err(Setback::Refused(words))),
                // The server reloads although parts of it fail, and says so before.
                None => line("Reloaded server configuration").map(|_| match error_of_server(&new) {
                    Some(words) => Err(Setback::Doubtful(format!("part of it failed: {words}"))),
                    None => Ok(()),
                }),
            }
        });
        answer.unwrap_or(Err(Setback::Silent))
    }

    fn restart(&self, server: &NatsServer, model: &Model, old: &RunningServer) -> Result<RunningServer, Setback> {
        // A configuration that it would not start with is refused before the old process ends.
        self.test(&StartedAs::of(server, model)).map_err(Setback::Refused)?;
        self.stop(old).map_err(Setback::NotTried)?;
        let start = || {
            self.note_held(model, Some(Held::default()))?;
            self.spawn_ready(&StartedAs::of(server, model))
        };
        start().map_err(|error| Setback::Ended(error.to_string()))
    }

    /// Puts back the previous files and makes the server run them, which is `now` another process if it was restarted.
    /// Returns what to tell the user.
    fn undo(&self, before: &Before<'_>, now: &RunningServer, setback: &Setback, model: &Model) -> Error {
        let is_restarted = now.pid != before.state.pid;
        let is_back = before.digest.as_deref().map_or(Ok(false), |digest| self.conf().put_back(digest));
        let lost = match is_back {
            Ok(true) => None,
            Ok(false) => Some("the previous one is not known any more".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        let start_again = || {
            let server = StartedAs::before(before.state, &before.name, model);
            let server = server.ok_or_else(|| "its address is not known".to_owned())?;
            self.spawn_ready(&server).map(drop).map_err(|e| e.to_string())
        };
        let runs_again = || match setback {
            Setback::Refused(_) | Setback::NotTried(_) => Ok(()),
            Setback::Silent => Err("it gives no answer".to_owned()),
            Setback::Doubtful(_) if is_restarted => {
                self.stop(now).map_err(|e| e.to_string()).and_then(|()| start_again())
            }
            Setback::Doubtful(_) => self.reload(before.state).map_err(Setback::words),
            Setback::Ended(_) => start_again(),
        };
        let failed = lost.or_else(|| runs_again().err());
        // Whatever the server has read it keeps in mind, whether it was undone or not.
        let is_unread = matches!(setback, Setback::Refused(_) | Setback::NotTried(_));
        if let Some(held) = before.held.as_ref().filter(|_| failed.is_none() && is_unread) {
            let _ = self.write_held(held);
        }
        let happened = match setback {
            Setback::Refused(words) => format!("the server refuses the new configuration: {words}"),
            Setback::Doubtful(what) => format!("the server read the new configuration, and {what}"),
            Setback::Ended(words) => format!("the server ended with the new configuration: {words}"),
            Setback::Silent => "the server did not say whether it reloaded".to_owned(),
            Setback::NotTried(error) => format!("the server was not told of the new configuration: {error}"),
        };
        let log = self.log();
        match failed {
            None if is_unread => Error::refused(
                format!("nothing was changed: {happened}"),
                format!("it goes on with the previous configuration; its log is {}", log.display()),
            ),
            None => Error::refused(
                format!("undone: {happened}"),
                format!(
                    "it runs the previous configuration again, and clients that the new one cut off may connect again{}; its log is {}",
                    if is_restarted || matches!(setback, Setback::Ended(_)) {
                        "; streams in memory are gone: `tenantry apply` makes them anew"
                    } else {
                        ""
                    },
                    log.display()
                ),
            ),
            Some(why) => Error::server(
                format!("{happened}; and it could not be made to run the previous configuration: {why}"),
                format!(
                    "look at its log, {}; a restart disconnects every client: tenantry down && tenantry up",
                    log.display()
                ),
            ),
        }
    }
}

impl Setback {
    fn words(self) -> String {
        match self {
            Self::Refused(words) | Self::Doubtful(words) | Self::Ended(words) => words,
            Self::Silent => "it gives no answer".to_owned(),
            Self::NotTried(error) => error.to_string(),
        }
    }
}

/// The first error in a log that is not about one connection.
fn error_of_server(log: &str) -> Option<String> {
    let is_of_connection = |line: &str| {
        line.split(" - ").any(|part| {
            part.split_once("id:")
                .is_some_and(|(kind, id)| kind.len() == 1 && id.starts_with(|c: char| c.is_ascii_digit()))
        })
    };
    log.lines()
        .find(|line| line.contains("[ERR] ") && !is_of_connection(line))
        .map(|line| strip_prefix(line).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_about_a_connection_is_none_of_the_reload() {
        let of_connection = "[7] 2026/01/01 00:00:00.1 [ERR] 127.0.0.1:1 - cid:27 - \"v0.51.0:rust\" - \"A/user:a\" - authentication error\n";
        let of_server =
            "[7] 2026/01/01 00:00:00.1 [ERR] Error enabling jetstream on configured accounts: insufficient (10047)\n";
        assert_eq!(error_of_server(of_connection), None);
        let found = error_of_server(&format!("{of_connection}{of_server}"));
        assert_eq!(found.as_deref(), Some("Error enabling jetstream on configured accounts: insufficient (10047)"));
        assert_eq!(error_of_server("[7] 2026/01/01 00:00:00.1 [INF] Reloaded server configuration"), None);
    }
}
