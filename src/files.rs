//! Replacing a file in one step: who reads it sees the old content or the new.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::path::Path;

use crate::fault;

/// How long new content has to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Losing it costs time only.
    Cache,
    /// It is on the disk before its name is: a power cut leaves the old content or the new.
    Synced,
}

/// Replaces a file's content. Its permissions are `mode`, or those of a file that only its owner may read.
pub fn replace(path: &Path, bytes: &[u8], mode: Option<Permissions>, durability: Durability) -> io::Result<()> {
    fault::step()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".tenantry-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    if let Some(mode) = mode {
        file.as_file().set_permissions(mode)?;
    }
    if durability == Durability::Synced {
        file.as_file().sync_all()?;
    }
    file.persist(path)?;
    Ok(())
}

/// Moves a file to the place of another one, or of none.
pub fn move_over(from: &Path, to: &Path) -> io::Result<()> {
    fault::step()?;
    match fs::rename(from, to) {
        // Another file system is mounted there. The copy has a name that an interrupted one is found by again.
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
            let name = to.file_name().unwrap_or_default().to_string_lossy();
            let copy = to.with_file_name(format!(".{name}.tenantry-new"));
            fs::copy(from, &copy)?;
            fs::File::open(&copy)?.sync_all()?;
            fault::step()?;
            fs::rename(copy, to)?;
            fs::remove_file(from)
        }
        moved => moved,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_permissions_and_leaves_nothing_else() {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join("file");
        let mode = || fs::metadata(&path).expect("there").permissions().mode() & 0o777;
        for (text, wanted, durability) in
            [("1", None, Durability::Cache), ("2", Some(0o644), Durability::Synced), ("3", None, Durability::Synced)]
        {
            replace(&path, text.as_bytes(), wanted.map(Permissions::from_mode), durability).expect("replaced");
            assert_eq!((fs::read_to_string(&path).expect("there").as_str(), mode()), (text, wanted.unwrap_or(0o600)));
        }
        let from = root.path().join("other");
        fs::write(&from, "4").expect("written");
        move_over(&from, &path).expect("moved");
        assert_eq!(fs::read_to_string(&path).expect("there"), "4");
        assert_eq!(fs::read_dir(root.path()).expect("readable").count(), 1);
        assert!(replace(&path.join("below"), b"", None, Durability::Cache).is_err(), "its folder is a file");
    }
}
