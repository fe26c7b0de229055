//! A server's configuration as the text of its two files.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Name of the main configuration file.
pub const MAIN: &str = "nats-server.conf";
/// Name of the accounts file, which the main file includes.
pub const ACCOUNTS: &str = "accounts.conf";

/// The main configuration file and the accounts file that it includes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfFiles {
    /// Text of `nats-server.conf`, which includes `accounts.conf`.
    pub main: String,
    /// Text of `accounts.conf`.
    pub accounts: String,
}

impl ConfFiles {
    /// Writes both files into `folder` and returns the path of the main file.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, Error> {
        let main = folder.join(MAIN);
        for (path, text) in [(&main, &self.main), (&folder.join(ACCOUNTS), &self.accounts)] {
            fs::write(path, text).map_err(|e| Error::io("write", path, e))?;
        }
        Ok(main)
    }
}
