//! Replaces the old tree by the new one atomically, and makes the old one the next spare.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use rayon::prelude::*;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::super::bundle::{Digest, MANIFEST, join, split};
use super::Target;
use super::change::{SPARE_MARK, TreeChange, hex};
use super::tree::{
    ancestors, changed, create_folder, create_folders, inode, link_or_copy, remove_if_there, remove_tree, utf8_name,
};
use crate::error::Error;
use crate::fault;

/// Folders that keep their inode, because a running container has them mounted.
const MOUNTED: &[&str] = &["nats"];

impl Target {
    /// Links the kept files and the unmanaged ones into the new tree.
    pub(super) fn complete(&self, change: &TreeChange) -> Result<(), Error> {
        self.refuse_unwritable()?;
        let tree = self.tree();
        if self.spare_is_current {
            self.forget_removed(change)?;
            // A kept file may have been replaced by an equal one: then it is another inode.
            change.not_linked.par_iter().try_for_each(|path| remove_if_there(&tree.join(path)))?;
            let not_linked = change.not_linked.par_iter().map(|path| split(path));
            not_linked.try_for_each(|(folder, name)| self.link(folder, name))?;
        } else {
            let made: BTreeSet<&str> = change.made.iter().map(String::as_str).collect();
            change.manifest.folders.par_iter().try_for_each(|(folder, names)| {
                create_folders(&tree, folder).map_err(|e| Error::io("write", &tree.join(folder), e))?;
                let kept = names.keys().filter(|name| !made.contains(join(folder, name).as_str()));
                kept.into_iter().try_for_each(|name| self.link(folder, name))
            })?;
            if !made.contains(MANIFEST) {
                self.link("", MANIFEST)?;
            }
        }
        self.link_unmanaged(change)
    }

    /// Replaces the old tree by the new one.
    pub(super) fn replace(&self, change: &TreeChange, manifest: &Digest) -> Result<(), Error> {
        let existed = self.out.exists();
        self.exchange(existed)?;
        if !existed {
            return remove_tree(&self.work);
        }
        self.rescue_latecomers(change)?;
        self.keep_mounted_folders()?;
        // The bundle is complete; an error with the spare costs time only.
        if self.make_spare(change, manifest).is_err() {
            remove_tree(&self.work)?;
        }
        Ok(())
    }

    /// Files that are unmanaged and stay so, as folder and name.
    fn unmanaged<'c>(&'c self, change: &'c TreeChange) -> impl Iterator<Item = (&'c str, &'c str)> {
        self.before.unmanaged().filter(|(folder, name)| change.manifest.get(folder, name).is_none())
    }

    fn link_unmanaged(&self, change: &TreeChange) -> Result<(), Error> {
        let folders = self.unmanaged(change).map(|(folder, _)| folder);
        let folders: BTreeSet<&str> = folders.chain(self.before.unmanaged_folders(&self.manifest)).collect();
        for folder in folders.iter().flat_map(|folder| ancestors(folder).chain([*folder])).filter(|f| !f.is_empty()) {
            let (place, mode) = (self.tree().join(folder), self.before.folders.get(folder).map_or(0o755, |f| f.mode));
            create_folder(&place, mode).map_err(|e| Error::io("write", &place, e))?;
        }
        self.unmanaged(change).try_for_each(|(folder, name)| self.link(folder, name))
    }

    /// Links a file of the bundle into the other tree.
    fn link(&self, folder: &str, name: &str) -> Result<(), Error> {
        let place = self.tree().join(folder).join(name);
        link_or_copy(&self.out.join(folder).join(name), &place).map_err(|e| Error::io("write", &place, e))
    }

    /// After the exchange, updates the old tree to the new state with links.
    fn make_spare(&self, change: &TreeChange, manifest: &Digest) -> Result<(), Error> {
        let tree = self.tree();
        change.made.par_iter().try_for_each(|path| remove_if_there(&tree.join(path)))?;
        self.forget_removed(change)?;
        for (folder, name) in self.unmanaged(change) {
            remove_if_there(&tree.join(folder).join(name))?;
        }
        for folder in self.before.unmanaged_folders(&self.manifest).collect::<Vec<_>>().iter().rev() {
            let _ = fs::remove_dir(tree.join(folder));
        }
        let folders: BTreeSet<&str> = change.made.iter().map(|path| split(path).0).collect();
        for folder in folders {
            create_folders(&tree, folder).map_err(|e| Error::io("write", &tree.join(folder), e))?;
        }
        change.made.par_iter().map(|path| split(path)).try_for_each(|(folder, name)| self.link(folder, name))?;
        let mark = self.work.join(SPARE_MARK);
        let _ = fault::step();
        fs::write(&mark, hex(manifest)).map_err(|e| Error::io("write", &mark, e))
    }

    /// Fails if files cannot be replaced in a folder that keeps its inode: better before the exchange than in its middle.
    fn refuse_unwritable(&self) -> Result<(), Error> {
        for folder in MOUNTED.iter().map(|folder| self.out.join(folder)).filter(|folder| folder.is_dir()) {
            let access = rustix::fs::access(&folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK);
            access.map_err(|e| Error::io("write", &folder, e.into()))?;
        }
        Ok(())
    }

    /// Removes from the other tree the removed files, and folders that become empty.
    fn forget_removed(&self, change: &TreeChange) -> Result<(), Error> {
        let tree = self.tree();
        change.removed.par_iter().try_for_each(|path| remove_if_there(&tree.join(path)))?;
        let folders: BTreeSet<&str> = change.removed.iter().flat_map(|path| ancestors(path)).collect();
        for folder in folders.iter().rev() {
            // Fails for folders that are not empty, which stay.
            let _ = fs::remove_dir(tree.join(folder));
        }
        Ok(())
    }

    /// Exchanges the old tree and the new one in one system call.
    fn exchange(&self, existed: bool) -> Result<(), Error> {
        let (tree, fail) = (self.tree(), |e: io::Error| Error::io("replace", &self.out, e));
        fault::step().map_err(fail)?;
        if !existed {
            return fs::rename(&tree, &self.out).map_err(fail);
        }
        match renameat_with(CWD, &tree, CWD, &self.out, RenameFlags::EXCHANGE) {
            // The file system cannot exchange: renames leave an instant without a bundle.
            Err(e) if cannot_exchange(e) => {
                let old = self.work.join("old");
                fs::rename(&self.out, &old).map_err(fail)?;
                fs::rename(&tree, &self.out).map_err(fail)?;
                fs::rename(&old, &tree).map_err(fail)
            }
            result => result.map_err(|e| fail(e.into())),
        }
    }

    /// Keeps the inodes of mounted folders: a container sees a mounted folder by its inode.
    /// The old folder gets the new files and returns to its place, so that a reload in
    /// the container reads them.
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
                let _ = fault::step();
                link_or_copy(&new.join(name), &step).and_then(|()| fs::rename(&step, old.join(name))).map_err(fail)?;
                // If both are links to one inode, rename does nothing and leaves the source.
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

    /// Moves unmanaged files that were created or replaced while the new tree was built
    /// into it. Reads only folders that changed in the meantime.
    fn rescue_latecomers(&self, change: &TreeChange) -> Result<(), Error> {
        let tree = self.tree();
        for (folder, name) in self.unmanaged(change) {
            let (old, new) = (tree.join(folder).join(name), self.out.join(folder).join(name));
            if old.symlink_metadata().is_ok() && inode(&old) != inode(&new) {
                fs::rename(&old, &new).map_err(|e| Error::io("keep", &new, e))?;
            }
        }
        let has_changed = |(path, known): &(&String, &super::tree::Folder)| {
            fs::metadata(tree.join(path)).is_ok_and(|meta| changed(&meta) != known.changed)
        };
        let folders: Vec<_> = self.before.folders.par_iter().filter(has_changed).map(|(path, _)| path).collect();
        folders.into_iter().try_for_each(|folder| self.rescue_from(folder))
    }

    fn rescue_from(&self, folder: &str) -> Result<(), Error> {
        let place = self.tree().join(folder);
        let fail = |e: io::Error| Error::io("read", &place, e);
        for entry in fs::read_dir(&place).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = utf8_name(&entry)?;
            let (path, is_folder) = (join(folder, &name), entry.file_type().map_err(fail)?.is_dir());
            let is_known = (folder.is_empty() && name == MANIFEST)
                || self.before.has(&self.manifest, folder, &name)
                || self.before.folders.contains_key(&path);
            let new = self.out.join(&path);
            if !is_known && (is_folder || new.symlink_metadata().is_err()) {
                if let Some(parent) = new.parent() {
                    fs::create_dir_all(parent).map_err(|e| Error::io("keep", &new, e))?;
                }
                fs::rename(entry.path(), &new).map_err(|e| Error::io("keep", &new, e))?;
            }
        }
        Ok(())
    }
}

fn cannot_exchange(e: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    matches!(e, Errno::INVAL | Errno::NOSYS | Errno::NOTSUP)
}

fn names(folder: &Path) -> io::Result<BTreeSet<OsString>> {
    fs::read_dir(folder)?.map(|e| e.map(|e| e.file_name())).collect()
}
