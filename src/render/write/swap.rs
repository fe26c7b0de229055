//! The new tree: built from the spare or from nothing, put in the place of the
//! old one in one moment, and the old one made the next spare.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use rayon::prelude::*;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::super::bundle::{Content, File, MANIFEST};
use super::tree::{Folder, ancestors, create, inode, link_or_copy, read_folder, remove_tree};
use super::{Change, Target};
use crate::error::Error;

/// Folders whose inode is kept, because a running container has them mounted.
const MOUNTED: &[&str] = &["nats"];

impl Target {
    /// Replaces the old tree by the new one.
    pub(super) fn replace(&self, change: &Change<'_>) -> Result<(), Error> {
        let built = if self.spare_is_current { self.update_spare(change) } else { self.build(change) };
        if let Err(e) = built {
            // Half a tree is no spare; the folder itself is untouched.
            let _ = remove_tree(&self.work);
            return Err(e);
        }
        let existed = self.out.exists();
        self.exchange(existed)?;
        if !existed {
            return remove_tree(&self.work);
        }
        self.rescue_latecomers(change)?;
        self.keep_mounted_folders()?;
        // The folder is as it should be; whatever happens to the spare costs time only.
        if self.make_spare(change).is_err() {
            remove_tree(&self.work)?;
        }
        Ok(())
    }

    fn tree(&self) -> PathBuf {
        self.work.join("tree")
    }

    /// Builds the new tree from nothing: kept and foreign files are linked.
    fn build(&self, change: &Change<'_>) -> Result<(), Error> {
        remove_tree(&self.work)?;
        let tree = self.tree();
        let fail = |path: &Path, e| Error::io("write", path, e);
        DirBuilder::new().mode(0o700).create(&self.work).map_err(|e| fail(&self.work, e))?;
        let ignore = self.work.join(".gitignore");
        fs::write(&ignore, "*\n").map_err(|e| fail(&ignore, e))?;
        let mode = change.before.mode_of("").unwrap_or(0o755);
        DirBuilder::new().mode(mode).create(&tree).map_err(|e| fail(&tree, e))?;
        create_folders(&tree, change, change.made.iter().chain(&change.kept))?;
        let kept = change.kept.iter().map(|(path, _)| *path);
        self.link_all(&tree, &kept.chain(change.foreign.iter().copied()).collect::<Vec<_>>())?;
        create_all(&tree, &change.made)
    }

    /// Makes the change in the spare, which is what the folder is.
    fn update_spare(&self, change: &Change<'_>) -> Result<(), Error> {
        let (tree, mark) = (self.tree(), self.work.join(SPARE_MARK));
        fs::remove_file(&mark).map_err(|e| Error::io("write", &mark, e))?;
        self.forget(&tree, change)?;
        create_folders(&tree, change, change.made.iter())?;
        // A kept file that somebody replaced by an equal one is another file
        // now. Those that were rendered again are few and compared here.
        let found = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        let compared = change.kept.iter().filter(|(path, file)| {
            matches!(file.content, Content::Bytes(_)) && inode(&tree.join(path)) != inode(&self.out.join(path))
        });
        let strangers: Vec<&str> = found.iter().map(String::as_str).chain(compared.map(|(path, _)| *path)).collect();
        let strangers: BTreeSet<&str> = strangers.into_iter().collect();
        strangers.iter().for_each(|path| drop(fs::remove_file(tree.join(path))));
        self.link_all(&tree, &strangers.into_iter().chain(change.foreign.iter().copied()).collect::<Vec<_>>())?;
        create_all(&tree, &change.made)
    }

    /// After the exchange, brings the old tree to the new state, by links.
    fn make_spare(&self, change: &Change<'_>) -> Result<(), Error> {
        let tree = self.tree();
        self.forget(&tree, change)?;
        for path in &change.foreign {
            remove_if_there(&tree.join(path))?;
        }
        for folder in change.foreign_folders.iter().rev() {
            let _ = fs::remove_dir(tree.join(folder));
        }
        create_folders(&tree, change, change.made.iter())?;
        self.link_all(&tree, &change.made.iter().map(|(path, _)| *path).collect::<Vec<_>>())?;
        let (mark, manifest) = (self.work.join(SPARE_MARK), self.out.join(MANIFEST));
        let text = fs::read_to_string(&manifest).map_err(|e| Error::io("read", &manifest, e))?;
        fs::write(&mark, digest(&text)).map_err(|e| Error::io("write", &mark, e))
    }

    /// Removes from a tree what changes or goes, and folders that become empty.
    fn forget(&self, tree: &Path, change: &Change<'_>) -> Result<(), Error> {
        let paths = change.made.iter().map(|(path, _)| *path).chain(change.removed.iter().copied());
        paths.collect::<Vec<_>>().par_iter().try_for_each(|path| remove_if_there(&tree.join(path)))?;
        let folders: BTreeSet<&str> = change.removed.iter().flat_map(|path| ancestors(path)).collect();
        for folder in folders.iter().rev() {
            // Those that are not empty stay.
            let _ = fs::remove_dir(tree.join(folder));
        }
        Ok(())
    }

    fn link_all(&self, tree: &Path, paths: &[&str]) -> Result<(), Error> {
        paths.par_iter().try_for_each(|path| {
            let place = tree.join(path);
            link_or_copy(&self.out.join(path), &place).map_err(|e| Error::io("write", &place, e))
        })
    }

    /// The one moment at which the old becomes the new.
    fn exchange(&self, existed: bool) -> Result<(), Error> {
        let (tree, fail) = (self.tree(), |e: io::Error| Error::io("replace", &self.out, e));
        if !existed {
            return fs::rename(&tree, &self.out).map_err(fail);
        }
        match renameat_with(CWD, &tree, CWD, &self.out, RenameFlags::EXCHANGE) {
            // A file system that cannot exchange: two renames, with an instant between them.
            Err(e) if cannot_exchange(e) => {
                let old = self.work.join("old");
                fs::rename(&self.out, &old).map_err(fail)?;
                fs::rename(&tree, &self.out).map_err(fail)?;
                fs::rename(&old, &tree).map_err(fail)
            }
            result => result.map_err(|e| fail(e.into())),
        }
    }

    /// A container sees a mounted folder by its inode. The old folder gets the
    /// new files and goes back to its place, so that a reload finds them.
    fn keep_mounted_folders(&self) -> Result<(), Error> {
        for folder in MOUNTED {
            let (new, old) = (self.out.join(folder), self.tree().join(folder));
            if !old.is_dir() || !new.is_dir() {
                continue;
            }
            let fail = |e: io::Error| Error::io("replace", &new, e);
            let (wanted, stale) = (names(&new).map_err(fail)?, names(&old).map_err(fail)?);
            if wanted.iter().any(|name| new.join(name).is_dir()) {
                continue;
            }
            for name in &wanted {
                let step = old.join(format!(".tenantry-{}", name.to_string_lossy()));
                link_or_copy(&new.join(name), &step).and_then(|()| fs::rename(&step, old.join(name))).map_err(fail)?;
                // Two names of one inode: rename does nothing and leaves the first.
                let _ = fs::remove_file(&step);
            }
            for name in stale.difference(&wanted) {
                fs::remove_file(old.join(name)).map_err(fail)?;
            }
            match renameat_with(CWD, &old, CWD, &new, RenameFlags::EXCHANGE) {
                Err(e) if !cannot_exchange(e) => return Err(fail(e.into())),
                _ => {}
            }
        }
        Ok(())
    }

    /// Files that somebody made or replaced while the new tree was built go
    /// to their place in it. Only folders that changed meanwhile are read.
    fn rescue_latecomers(&self, change: &Change<'_>) -> Result<(), Error> {
        let tree = self.tree();
        for path in &change.foreign {
            let (old, new) = (tree.join(path), self.out.join(path));
            if old.symlink_metadata().is_ok() && inode(&old) != inode(&new) {
                fs::rename(&old, &new).map_err(|e| Error::io("keep", &new, e))?;
            }
        }
        for (folder, known) in &change.before.folders {
            let changed = fs::metadata(tree.join(folder)).is_ok_and(|m| Folder::of(&m).changed != known.changed);
            if !changed {
                continue;
            }
            for (path, is_folder) in read_folder(&tree, folder)? {
                let seen = change.before.files.contains(&path) || change.before.folders.contains_key(&path);
                let new = self.out.join(&path);
                if !seen && (is_folder.is_some() || new.symlink_metadata().is_err()) {
                    if let Some(parent) = new.parent() {
                        fs::create_dir_all(parent).map_err(|e| Error::io("keep", &new, e))?;
                    }
                    fs::rename(tree.join(&path), &new).map_err(|e| Error::io("keep", &new, e))?;
                }
            }
        }
        Ok(())
    }
}

/// Says of which manifest the spare tree is.
const SPARE_MARK: &str = "spare-of";

/// Whether there is a spare tree that is what this manifest says.
pub(super) fn spare_is_of(work: &Path, manifest: &str) -> bool {
    fs::read_to_string(work.join(SPARE_MARK)).is_ok_and(|mark| mark == digest(manifest)) && work.join("tree").is_dir()
}

fn digest(manifest: &str) -> String {
    data_encoding::HEXLOWER.encode(&crate::render::digest_of([manifest.as_bytes()]))
}

fn cannot_exchange(e: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    matches!(e, Errno::INVAL | Errno::NOSYS | Errno::NOTSUP)
}

fn names(folder: &Path) -> io::Result<BTreeSet<OsString>> {
    fs::read_dir(folder)?.map(|e| e.map(|e| e.file_name())).collect()
}

fn remove_if_there(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound && e.kind() != io::ErrorKind::NotADirectory => {
            Err(Error::io("remove", path, e))
        }
        _ => Ok(()),
    }
}

/// The folders that these files and the foreign ones need, outer ones first.
/// Those that hold a secret are their owner's.
fn create_folders<'b>(
    tree: &Path,
    change: &Change<'_>,
    files: impl Iterator<Item = &'b (&'b str, &'b File)>,
) -> Result<(), Error> {
    let mut folders: BTreeMap<&str, u32> = BTreeMap::new();
    for (path, file) in files {
        for folder in ancestors(path) {
            let mode = folders.entry(folder).or_insert(0o755);
            if file.secret {
                *mode = 0o700;
            }
        }
    }
    let of_foreign = change.foreign.iter().flat_map(|path| ancestors(path));
    for folder in of_foreign.chain(change.foreign_folders.iter().copied()) {
        folders.entry(folder).or_insert_with(|| change.before.mode_of(folder).unwrap_or(0o755));
    }
    for (folder, mode) in folders {
        let place = tree.join(folder);
        let made = DirBuilder::new().mode(mode).create(&place);
        // Whatever the umask, as for files.
        match made.and_then(|()| fs::set_permissions(&place, Permissions::from_mode(mode))) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(Error::io("write", &place, e)),
            _ => {}
        }
    }
    Ok(())
}

/// The manifest comes last: a file changed after it was not changed by us.
fn create_all(tree: &Path, made: &[(&str, &File)]) -> Result<(), Error> {
    let write = |(path, file): &(&str, &File)| {
        let place = tree.join(path);
        create(&place, file).map_err(|e| Error::io("write", &place, e))
    };
    made.par_iter().filter(|(path, _)| *path != MANIFEST).try_for_each(write)?;
    made.iter().filter(|(path, _)| *path == MANIFEST).try_for_each(write)
}
