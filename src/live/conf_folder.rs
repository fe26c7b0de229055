//! The configuration files that a local server reads, and those that it read before the last change: what a change
//! is compared with, and what is put back if the server does not take it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::conf::value::Map;
use crate::conf::{self, ACCOUNTS, ConfFiles, MAIN};
use crate::diag::Sources;
use crate::error::Error;
use crate::files::{self, Durability};

/// The folder with the files of now, and the one with those of before.
#[derive(Debug, Clone)]
pub struct ConfFolder {
    now: PathBuf,
    before: PathBuf,
}

/// A configuration that a server has read.
#[derive(Debug, Default)]
pub struct LoadedConf {
    /// Its values.
    pub values: Map,
    /// The text of its accounts, in which comments name the users.
    pub accounts: String,
}

impl ConfFolder {
    /// The configuration files in `now`. Those that they replace are kept in `before`.
    pub fn new(now: PathBuf, before: PathBuf) -> Self {
        Self { now, before }
    }

    /// The main file, which a server is started with.
    pub fn main(&self) -> PathBuf {
        self.now.join(MAIN)
    }

    fn previous(&self) -> Self {
        Self { now: self.before.clone(), before: self.before.clone() }
    }

    /// The files.
    pub fn files(&self) -> Result<ConfFiles, Error> {
        let text = |name: &str| {
            let path = self.now.join(name);
            fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))
        };
        Ok(ConfFiles { main: text(MAIN)?, accounts: text(ACCOUNTS)? })
    }

    /// The digest of the files, as a server that reads them prints it. `None`: they cannot be read.
    pub fn digest(&self) -> Option<String> {
        Some(conf::digest(&self.load().ok()?.values))
    }

    /// Replaces the files. Those of before are kept if their digest is `running`, which the server has read.
    pub fn replace(&self, files: &ConfFiles, running: Option<&str>) -> Result<(), Error> {
        if running.is_some() && self.digest().as_deref() == running {
            self.copy_to(&self.previous())?;
        }
        self.write(files)
    }

    /// Puts back the files of before, which have the digest `running`. Returns whether they are there.
    pub fn put_back(&self, running: &str) -> Result<bool, Error> {
        let is_there = self.previous().digest().is_some_and(|digest| digest == running);
        if is_there {
            self.previous().copy_to(self)?;
        }
        Ok(is_there)
    }

    /// The configuration with this digest: the files of now, or those of before. `None`: neither has it.
    pub fn with_digest(&self, digest: &str) -> Option<LoadedConf> {
        let both = [self.clone(), self.previous()].into_iter();
        both.filter_map(|folder| folder.load().ok()).find(|loaded| conf::digest(&loaded.values) == digest)
    }

    fn load(&self) -> Result<LoadedConf, Error> {
        let values = read(&self.main())?;
        Ok(LoadedConf { values, accounts: fs::read_to_string(self.now.join(ACCOUNTS)).unwrap_or_default() })
    }

    fn copy_to(&self, other: &Self) -> Result<(), Error> {
        other.write(&self.files()?)
    }

    /// Writes both files, which a server reads as one. Only their owner may read them: the accounts hold hashes of
    /// passwords.
    fn write(&self, conf: &ConfFiles) -> Result<(), Error> {
        let new = self.now.join("new");
        fs::create_dir_all(&new).map_err(|e| Error::io("create", &new, e))?;
        let is_there =
            |name: &str, text: &str| fs::read_to_string(self.now.join(name)).is_ok_and(|there| there == text);
        for (name, text) in [(ACCOUNTS, &conf.accounts), (MAIN, &conf.main)] {
            let path = new.join(name);
            if is_there(name, text) {
                // An interrupted change may have left another one.
                let _ = fs::remove_file(path);
                continue;
            }
            files::replace(&path, text.as_bytes(), None, Durability::Cache)
                .map_err(|e| Error::io("write", &path, e))?;
        }
        conf::move_as_one(&new, &self.now).map_err(|e| Error::io("write", &self.now, e))?;
        // Fails if an interrupted change left a file there, which the next change replaces.
        let _ = fs::remove_dir(new);
        Ok(())
    }
}

/// Reads a configuration as a server on this machine does, with the variables of the environment.
pub(super) fn read(main: &Path) -> Result<Map, Error> {
    let environment = |name: &str| std::env::var(name).ok();
    Ok(conf::read(main, &environment, &mut Sources::default())?.map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(port: u16) -> ConfFiles {
        ConfFiles {
            main: format!("port: {port}\ninclude \"accounts.conf\"\n"),
            accounts: "accounts { A {} }\n".to_owned(),
        }
    }

    #[test]
    fn what_the_server_has_read_is_kept_until_it_reads_something_else() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = ConfFolder::new(root.path().join("run"), root.path().join("run/previous"));
        assert_eq!(folder.digest(), None);
        folder.replace(&files(1), None).expect("written");
        let first = folder.digest().expect("readable");
        folder.replace(&files(2), Some(&first)).expect("written");
        let second = folder.digest().expect("readable");
        assert_ne!(first, second);
        // The server has not read the second, so the first is still what it has.
        folder.replace(&files(3), Some(&first)).expect("written");
        assert_eq!(folder.with_digest(&second).map(|loaded| loaded.accounts), None);
        assert!(folder.with_digest(&first).is_some_and(|loaded| loaded.accounts == files(1).accounts));
        assert!(!folder.put_back(&second).expect("readable"));
        assert!(folder.put_back(&first).expect("written"));
        assert_eq!(folder.digest().as_deref(), Some(first.as_str()));
    }
}
