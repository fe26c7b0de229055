//! Everything that is expected to go wrong, worded once, with its remedy and
//! its exit code. Messages are lowercase fragments that name the thing.

use std::io;
use std::path::{Path, PathBuf};

use crate::diag::{Diagnostic, Sources, first_few, nearest};
use crate::keys::RootKeyError;

/// The exit codes of every command; docs/commands.md lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, nothing to report.
    Ok = 0,
    /// Done, and something was found: findings, out of date, refused.
    Found = 1,
    /// Could not be tried: the input is wrong.
    Invalid = 2,
    /// The server could not be started or reached; nothing was proved.
    Unavailable = 3,
    /// The operating system refused to write: a full disk, a missing permission.
    NotWritten = 4,
}

/// An error that was expected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry has errors; they are shown one by one.
    #[error("the registry has {}", count(.diagnostics))]
    Registry {
        /// The files.
        sources: Sources,
        /// Its errors and warnings, each with its place.
        diagnostics: Vec<Diagnostic>,
    },
    /// A configuration that nats-server would not start with.
    #[error("nats-server refuses this configuration: {}", count(.diagnostics))]
    Conf {
        /// The files.
        sources: Sources,
        /// Its errors and warnings, each with its place.
        diagnostics: Vec<Diagnostic>,
    },
    /// An edit would make the registry invalid.
    #[error("nothing was written: the registry would have {}", count(.diagnostics))]
    RefusedEdit {
        /// The files, as the edit would have made them.
        sources: Sources,
        /// What would be wrong.
        diagnostics: Vec<Diagnostic>,
    },
    /// There is no registry.
    #[error("there is no registry at {}", .path.display())]
    NoRegistry {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file is not UTF-8.
    #[error("{} is not UTF-8 text, from line {line} on", .path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first line that is not.
        line: usize,
    },
    /// A file is larger than anything sensible.
    #[error("{} is larger than {} MiB", .path.display(), .limit >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// The root key cannot be loaded.
    #[error("{source}")]
    RootKey {
        /// Why not.
        source: RootKeyError,
        /// The registry's files.
        sources: Sources,
        /// Supplied passwords that are missing as well.
        diagnostics: Vec<Diagnostic>,
    },
    /// A template does not render.
    #[error("template {name}: {message}")]
    Template {
        /// Which one.
        name: String,
        /// What the engine said.
        message: String,
    },
    /// The operating system says no.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// The operation, as a verb: `read`, `write`, `create`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// There is no such tenant, user, stream.
    #[error("there is no {what} `{name}`")]
    Unknown {
        /// The kind: `tenant`, `user`, `stream`.
        what: String,
        /// The name that was given.
        name: String,
        /// The nearest names.
        hint: String,
    },
    /// A file, tenant or user of that name exists, and is not overwritten.
    #[error("{what} is there already")]
    AlreadyThere {
        /// A file, a tenant, a user.
        what: String,
        /// The remedy.
        hint: String,
    },
    /// A program does not run.
    #[error("cannot run {}: {source}", .program.display())]
    CannotRun {
        /// The executable.
        program: PathBuf,
        /// The operating system's error.
        source: io::Error,
        /// The remedy.
        hint: String,
    },
    /// A nats-server that was started here does not run, or does not answer.
    #[error("{server} {what}: {words}")]
    StartFailed {
        /// Which one: nats-server, the throwaway nats-server.
        server: &'static str,
        /// The failure, as a verb with its details: `ended at once`.
        what: String,
        /// The server's own words.
        words: String,
        /// The remedy.
        hint: String,
    },
    /// No user of the registry gets into the server under attack.
    #[error("no tenant's user can connect to {address}: {words}")]
    NobodyConnects {
        /// The server, as `host:port`.
        address: String,
        /// Why one of them was not let in.
        words: String,
        /// Whether a server answered and rejected the login.
        refused: bool,
    },
    /// A change that would harm what runs, and was not made.
    #[error("{message}")]
    Refused {
        /// The change, and what it would do.
        message: String,
        /// The remedy.
        hint: String,
    },
    /// The input is wrong in a way that has no place in a file.
    #[error("{message}")]
    Usage {
        /// The mistake.
        message: String,
        /// The remedy.
        hint: String,
    },
    /// The server could not be found, started or reached.
    #[error("{message}")]
    Server {
        /// The failure, with the server's own words where there are any.
        message: String,
        /// The remedy.
        hint: String,
    },
}

/// Actions that fail because of what was named, and not because of a full disk or a
/// missing permission to write.
const READING: [&str; 2] = ["read", "find"];

/// Whether it is the path that cannot be: a folder that is missing, a file in its place.
fn is_of_the_path(source: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound};
    matches!(source.kind(), NotFound | NotADirectory | IsADirectory | AlreadyExists | InvalidInput | InvalidFilename)
}

impl From<RootKeyError> for Error {
    fn from(source: RootKeyError) -> Self {
        Self::RootKey { source, sources: Sources::default(), diagnostics: Vec::new() }
    }
}

fn count(diagnostics: &[Diagnostic]) -> String {
    match diagnostics.iter().filter(|d| d.severity == crate::diag::Severity::Error).count() {
        1 => "1 error".into(),
        n => format!("{n} errors"),
    }
}

impl Error {
    /// Problems of the registry that were found after it was read; whoever
    /// has its files adds them with [`Self::in_files`].
    pub fn registry(diagnostics: Vec<Diagnostic>) -> Self {
        Self::Registry { sources: Sources::default(), diagnostics }
    }

    /// Adds the files that the places are in.
    pub fn in_files(self, files: &Sources) -> Self {
        match self {
            Self::Registry { sources, diagnostics } if sources.is_empty() => {
                Self::Registry { sources: files.clone(), diagnostics }
            }
            other => other,
        }
    }

    /// The problems that have a place in a file, with the files.
    pub fn diagnostics(&self) -> Option<(&Sources, &[Diagnostic])> {
        match self {
            Self::Registry { sources, diagnostics }
            | Self::Conf { sources, diagnostics }
            | Self::RefusedEdit { sources, diagnostics }
            | Self::RootKey { sources, diagnostics, .. } => Some((sources, diagnostics)),
            _ => None,
        }
    }

    /// The operating system refused.
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// Wrong input that has no place in a file.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: hint.into() }
    }

    /// A change that was not made.
    pub fn refused(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused { message: message.into(), hint: hint.into() }
    }

    /// There is no such tenant, user or stream; the nearest is suggested.
    pub fn unknown_name(what: &str, name: &str, known: &[&str]) -> Self {
        if let Some((tenant, user)) = name.split_once('.').filter(|(tenant, _)| known.contains(tenant)) {
            let hint = format!("did you mean `{tenant}/{user}`?");
            return Self::Unknown { what: what.to_owned(), name: name.to_owned(), hint };
        }
        let hint = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "there is none".to_owned(),
            None if known.len() <= 12 => format!("there are: {}", known.join(", ")),
            None => format!("there are: {}", first_few(known)),
        };
        Self::Unknown { what: what.to_owned(), name: name.to_owned(), hint }
    }

    /// The error for a file, tenant or user that exists.
    pub fn already_there(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::AlreadyThere { what: what.into(), hint: hint.into() }
    }

    /// A program does not run.
    pub fn cannot_run(program: &Path, source: io::Error) -> Self {
        Self::CannotRun { program: program.to_owned(), source, hint: String::new() }
    }

    /// The server could not be found, started or reached.
    pub fn server(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Server { message: message.into(), hint: hint.into() }
    }

    /// The remedy, if there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Registry { .. } | Self::Conf { .. } => None,
            Self::RefusedEdit { .. } => Some("the lines above are those the edit would have made".into()),
            Self::NoRegistry { .. } => Some("make one with `tenantry init`, or name it with `--registry FILE`".into()),
            Self::NotText { .. } => Some("save it as UTF-8".into()),
            Self::TooLarge { .. } => Some("is it the right file?".into()),
            Self::RootKey { source, .. } => Some(source.hint()),
            Self::Template { .. } => Some("compare it with the built-in one: `tenantry templates eject DIR`".into()),
            Self::Io { action, source, .. } => match source.kind() {
                io::ErrorKind::NotFound if !READING.contains(action) => {
                    Some("name a place in a folder that is there".into())
                }
                io::ErrorKind::PermissionDenied => Some("check who owns it".into()),
                io::ErrorKind::StorageFull => Some("free some disk space, then run it again".into()),
                _ => None,
            },
            Self::NobodyConnects { .. } => Some(
                "is it running, with the configuration of this registry and root key, and is this where clients \
                 connect, not the monitoring?"
                    .into(),
            ),
            Self::Unknown { hint, .. }
            | Self::AlreadyThere { hint, .. }
            | Self::CannotRun { hint, .. }
            | Self::StartFailed { hint, .. }
            | Self::Refused { hint, .. }
            | Self::Usage { hint, .. }
            | Self::Server { hint, .. } => Some(hint.clone()).filter(|h| !h.is_empty()),
        }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Registry { .. }
            | Self::Conf { .. }
            | Self::RefusedEdit { .. }
            | Self::NoRegistry { .. }
            | Self::NotText { .. }
            | Self::TooLarge { .. }
            | Self::RootKey { .. }
            | Self::Template { .. }
            | Self::Unknown { .. }
            | Self::AlreadyThere { .. }
            | Self::Usage { .. } => Exit::Invalid,
            Self::Io { action, source, .. } if READING.contains(action) || is_of_the_path(source) => Exit::Invalid,
            Self::Io { .. } => Exit::NotWritten,
            Self::Refused { .. } => Exit::Found,
            Self::CannotRun { .. } | Self::StartFailed { .. } | Self::NobodyConnects { .. } | Self::Server { .. } => {
                Exit::Unavailable
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_is_told_from_wrong_input() {
        let io = |action, kind: io::ErrorKind| Error::io(action, Path::new("x"), kind.into()).exit();
        let denied = io::ErrorKind::PermissionDenied;
        assert_eq!(
            (io("read", denied), io("write", denied), io("create", io::ErrorKind::StorageFull)),
            (Exit::Invalid, Exit::NotWritten, Exit::NotWritten)
        );
        assert_eq!(io("write", io::ErrorKind::IsADirectory), Exit::Invalid, "another path can be written");
    }

    #[test]
    fn an_unknown_name_comes_with_the_nearest() {
        let hint = |name: &str, known: &[&str]| Error::unknown_name("tenant", name, known).hint().unwrap_or_default();
        assert_eq!(hint("ACNE", &["ACME", "GLOBEX"]), "did you mean `ACME`?");
        assert_eq!(hint("zzz", &["ACME", "GLOBEX"]), "there are: ACME, GLOBEX");
        assert_eq!(hint("ACME.app", &["ACME"]), "did you mean `ACME/app`?");
        assert_eq!(hint("zzz", &["a"; 13]), "there are: a, a, a, a, a and 8 more");
    }
}
