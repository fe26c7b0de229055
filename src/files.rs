//! Replacing a file in one step: who reads it sees the old content or the new.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

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
    fill(file.as_file_mut(), bytes, mode, durability)?;
    file.persist(path)?;
    Ok(())
}

/// The same, synced, where one process at a time does this: what a killed one leaves the next one replaces.
pub fn replace_alone(path: &Path, bytes: &[u8], mode: Permissions) -> io::Result<()> {
    fault::step()?;
    let copy = copy_beside(path);
    match fs::remove_file(&copy) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&copy)?;
    let done = fill(&mut file, bytes, Some(mode), Durability::Synced).and_then(|()| fs::rename(&copy, path));
    done.inspect_err(|_| drop(fs::remove_file(&copy)))
}

fn fill(file: &mut fs::File, bytes: &[u8], mode: Option<Permissions>, durability: Durability) -> io::Result<()> {
    file.write_all(bytes)?;
    fault::step()?;
    if let Some(mode) = mode {
        file.set_permissions(mode)?;
    }
    if durability == Durability::Synced {
        file.sync_all()?;
    }
    Ok(())
}

/// The name of a file while it is written, by which an interrupted one is found again.
fn copy_beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.tenantry-new"))
}

/// Moves a file to the place of another one, or of none.
pub fn move_over(from: &Path, to: &Path) -> io::Result<()> {
    fault::step()?;
    match fs::rename(from, to) {
        // Another file system is mounted there. The copy has a name that an interrupted one is found by again.
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
            let copy = copy_beside(to);
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
        fs::write(root.path().join(".file.tenantry-new"), "of a killed one").expect("written");
        replace_alone(&path, b"3", Permissions::from_mode(0o640)).expect("replaced");
        assert_eq!((fs::read_to_string(&path).expect("there").as_str(), mode()), ("3", 0o640));
        let from = root.path().join("other");
        fs::write(&from, "4").expect("written");
        move_over(&from, &path).expect("moved");
        assert_eq!(fs::read_to_string(&path).expect("there"), "4");
        assert_eq!(fs::read_dir(root.path()).expect("readable").count(), 1);
        assert!(replace(&path.join("below"), b"", None, Durability::Cache).is_err(), "its folder is a file");
    }
}
