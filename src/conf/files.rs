//! A server's configuration as the text of its two files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::files::move_over;

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

/// Name of the accounts file that the main file includes while both are replaced.
pub const NEXT_ACCOUNTS: &str = ".accounts.conf.next";

/// Moves the configuration files in `from`, one or both, over those in `to`. What is on disk is at any moment the old
/// configuration or the new one, also if this is interrupted and done again: while both files change, the new main file
/// includes a second copy of the new accounts. A main file by the user's own template that includes them in another way
/// is replaced after them.
pub fn move_as_one(from: &Path, to: &Path) -> io::Result<()> {
    let [main, accounts] = [MAIN, ACCOUNTS].map(|name| from.join(name));
    let next = to.join(NEXT_ACCOUNTS);
    let include = |name: &str| format!("include \"{name}\"");
    if main.exists() && accounts.exists() && to.join(MAIN).exists() {
        let text = fs::read_to_string(&main)?;
        if text.matches(&include(ACCOUNTS)).count() == 1 {
            let copy = from.join(NEXT_ACCOUNTS);
            // Copied, so that it has the permissions of the file that it stands for.
            fs::copy(&accounts, &copy)?;
            replace(&copy, &next)?;
            fs::copy(&main, &copy)?;
            fs::write(&copy, text.replace(&include(ACCOUNTS), &include(NEXT_ACCOUNTS)))?;
            replace(&copy, &to.join(MAIN))?;
        }
    }
    for (file, name) in [(accounts, ACCOUNTS), (main, MAIN)] {
        if file.exists() {
            replace(&file, &to.join(name))?;
        }
    }
    match fs::remove_file(next) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Replaces a file by one whose content is on the disk before its name is.
fn replace(file: &Path, place: &Path) -> io::Result<()> {
    fs::File::open(file)?.sync_all()?;
    move_over(file, place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf;
    use crate::diag::Sources;

    fn files(name: &str, account: &str) -> ConfFiles {
        ConfFiles {
            main: format!("server_name: {name}\ninclude \"accounts.conf\"\n"),
            accounts: format!("accounts {{ {account} {{}} }}\n"),
        }
    }

    /// The server's name and account, as a server reads them. `None`: it cannot.
    fn read(folder: &Path) -> Option<(String, String)> {
        let map = conf::read(&folder.join(MAIN), &|_| None, &mut Sources::default()).ok()?.map;
        let text = format!("{map:?}");
        let found = |names: [&str; 2]| names.into_iter().find(|name| text.contains(*name)).map(str::to_owned);
        found(["OLD_NAME", "NEW_NAME"]).zip(found(["OLD_ACCOUNT", "NEW_ACCOUNT"]))
    }

    #[test]
    fn one_or_both_files_are_moved_and_nothing_else_stays() {
        for both in [true, false] {
            let root = tempfile::tempdir().expect("a folder");
            let [from, to] = ["from", "to"].map(|name| root.path().join(name));
            for folder in [&from, &to] {
                fs::create_dir(folder).expect("made");
            }
            files("OLD_NAME", "OLD_ACCOUNT").write(&to).expect("written");
            let new = files(if both { "NEW_NAME" } else { "OLD_NAME" }, "NEW_ACCOUNT");
            new.write(&from).expect("written");
            if !both {
                fs::remove_file(from.join(MAIN)).expect("removed");
            }
            move_as_one(&from, &to).expect("moved");
            assert_eq!(fs::read_to_string(to.join(MAIN)).expect("there"), new.main);
            assert_eq!(fs::read_to_string(to.join(ACCOUNTS)).expect("there"), new.accounts);
            assert_eq!(fs::read_dir(&to).expect("readable").count(), 2);
            assert_eq!(fs::read_dir(&from).expect("readable").count(), 0);
        }
    }

    /// Stops before each replacement, by making its place impossible, reads, and does it again.
    #[test]
    fn what_is_read_between_is_the_old_or_the_new_configuration() {
        let [old, new] = ["OLD", "NEW"].map(|s| (format!("{s}_NAME"), format!("{s}_ACCOUNT")));
        let root = tempfile::tempdir().expect("a folder");
        let [from, to] = ["from", "to"].map(|name| root.path().join(name));
        for folder in [&from, &to] {
            fs::create_dir(folder).expect("made");
        }
        files("OLD_NAME", "OLD_ACCOUNT").write(&to).expect("written");
        assert_eq!(read(&to).as_ref(), Some(&old));
        files("NEW_NAME", "NEW_ACCOUNT").write(&from).expect("written");
        // A folder cannot be replaced by a file: the accounts stay where they are.
        fs::remove_file(to.join(ACCOUNTS)).expect("removed");
        fs::create_dir(to.join(ACCOUNTS)).expect("made");
        move_as_one(&from, &to).expect_err("in the way");
        assert_eq!(read(&to).as_ref(), Some(&new), "the main file includes the copy");
        fs::remove_dir(to.join(ACCOUNTS)).expect("removed");
        move_as_one(&from, &to).expect("the rest");
        assert_eq!(read(&to), Some(new));
    }
}
