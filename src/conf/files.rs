//! A server's configuration as the texts of its two files.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// What a server runs: its main file, and the accounts that it includes.
#[derive(Debug, Clone)]
pub struct ConfFiles {
    /// The main file; it includes `accounts.conf`.
    pub main: String,
    /// The accounts.
    pub accounts: String,
}

impl ConfFiles {
    /// Writes both files into a folder and returns the main file's path.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, Error> {
        let main = folder.join("nats-server.conf");
        for (path, text) in [(&main, &self.main), (&folder.join("accounts.conf"), &self.accounts)] {
            fs::write(path, text).map_err(|e| Error::io("write", path, e))?;
        }
        Ok(main)
    }
}
