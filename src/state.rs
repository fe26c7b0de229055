//! `.tenantry/`, the folder beside the registry for what is not worth committing:
//! a running server's files, and what only saves time. It ignores itself in git.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::keys::HashCache;

/// The state folder of the registry in this folder.
pub fn folder_beside(registry_folder: &Path) -> PathBuf {
    registry_folder.join(".tenantry")
}

/// Makes the state folder, for its owner only.
pub fn create(folder: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let ignore = folder.join(".gitignore");
    if !ignore.exists() {
        fs::write(ignore, "*\n")?;
    }
    Ok(())
}

/// Replaces a file of the state folder, or does nothing: such a file only saves time.
pub fn save(path: &Path, bytes: &[u8]) {
    let Some(folder) = path.parent() else { return };
    let _ = create(folder).and_then(|()| {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.persist(path).map(|_| ()).map_err(Into::into)
    });
}

/// Reads the bcrypt hashes made before.
pub fn load_hashes(folder: &Path) -> HashCache {
    HashCache::from_text(&fs::read_to_string(folder.join("hashes")).unwrap_or_default())
}

/// Keeps new bcrypt hashes for the next command.
pub fn save_hashes(folder: &Path, hashes: &HashCache) {
    if hashes.has_new() {
        save(&folder.join("hashes"), hashes.to_text().as_bytes());
    }
}
