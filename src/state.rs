//! `.tenantry/`, the state folder beside the registry: the files of a running server,
//! and caches. Its own `.gitignore` keeps it out of git.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

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
    let _ = create(folder).and_then(|()| {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.persist(path).map(|_| ()).map_err(Into::into)
    });
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
