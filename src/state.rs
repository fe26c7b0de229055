//! `.tenantry/`, the state folder beside the registry: the files of a running server,
//! and caches. Its own `.gitignore` keeps it out of git.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::files::{self, Durability};
use crate::keys::HashCache;

/// The path of the state folder of a registry in `registry_folder`.
pub fn folder_beside(registry_folder: &Path) -> PathBuf {
    registry_folder.join(".tenantry")
}

/// Creates the state folder (mode 0700) and its `.gitignore`, if they do not exist.
pub fn create(folder: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let ignore = folder.join(".gitignore");
    if !ignore.exists() {
        fs::write(ignore, "*\n")?;
    }
    Ok(())
}

/// Replaces a file of the state folder atomically. Errors are ignored: these files are
/// caches, so losing one costs time only.
pub fn save(path: &Path, bytes: &[u8]) {
    let Some(folder) = path.parent() else { return };
    let _ = create(folder).and_then(|()| files::replace(path, bytes, None, Durability::Cache));
}

/// Reads the bcrypt hashes that earlier commands saved; empty if there are none.
pub fn load_hashes(folder: &Path) -> HashCache {
    HashCache::from_text(&fs::read_to_string(folder.join("hashes")).unwrap_or_default())
}

/// Saves the bcrypt hashes if any is new.
pub fn save_hashes(folder: &Path, hashes: &HashCache) {
    if hashes.has_new() {
        save(&folder.join("hashes"), hashes.to_text().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_state_folder_is_private_and_ignored_by_git() {
        let root = tempfile::tempdir().expect("folder");
        let folder = folder_beside(root.path());
        assert_eq!(folder, root.path().join(".tenantry"));
        create(&folder).expect("created");
        assert_eq!(fs::metadata(&folder).expect("there").permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_to_string(folder.join(".gitignore")).expect("there"), "*\n");
        fs::write(folder.join(".gitignore"), "mine\n").expect("written");
        create(&folder).expect("it may exist");
        assert_eq!(fs::read_to_string(folder.join(".gitignore")).expect("there"), "mine\n");
    }

    #[test]
    fn save_creates_the_folder_and_replaces_the_file_and_never_fails() {
        let root = tempfile::tempdir().expect("folder");
        let path = folder_beside(root.path()).join("cache");
        save(&path, b"first");
        assert_eq!(fs::read(&path).expect("there"), b"first");
        save(&path, b"second");
        assert_eq!(fs::read(&path).expect("there"), b"second");
        let entries = fs::read_dir(folder_beside(root.path())).expect("there").count();
        assert_eq!(entries, 2, "the file and .gitignore, and no temporary file");
        save(&path.join("below-a-file"), b"lost");
        assert_eq!(fs::read(&path).expect("there"), b"second");
    }

    #[test]
    fn hashes_are_saved_only_if_one_is_new() {
        let root = tempfile::tempdir().expect("folder");
        let folder = folder_beside(root.path());
        assert_eq!(load_hashes(&folder).to_text(), "");
        save_hashes(&folder, &HashCache::default());
        assert!(!folder.exists());
        let line = format!("{} $2a${} tag\n", "0".repeat(64), "x".repeat(56));
        create(&folder).expect("created");
        fs::write(folder.join("hashes"), format!("{line}not a hash\n")).expect("written");
        assert_eq!(load_hashes(&folder).to_text(), line);
        save_hashes(&folder, &load_hashes(&folder));
        assert!(fs::read_to_string(folder.join("hashes")).expect("there").ends_with("not a hash\n"));
    }
}
