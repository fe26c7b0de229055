//! The new tree while it is built: files are written into it as they are rendered.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::bundle::{Digest, File, MANIFEST, Manifest, ManifestEntry, Provenance, join, split};
use super::change::{SPARE_MARK, TreeChange};
use super::tree::{create, create_folders, has_digest, inode, mode_is_wrong, remove_if_there, remove_tree};
use super::{Target, WriteSummary};
use crate::error::Error;

/// A new tree: the spare one, or one that is created with the first file to be written.
pub struct Stage<'t> {
    target: &'t Target,
    state: Mutex<StagedFiles>,
}

#[derive(Default)]
struct StagedFiles {
    /// Whether the tree was created or changed, so that it must replace the old one or
    /// be removed.
    begun: bool,
    change: TreeChange,
    /// Managed files that were edited by hand.
    edited: Vec<String>,
    /// Unmanaged files at the path of a rendered one, with other content.
    in_the_way: Vec<String>,
}

/// What was done with a rendered file.
enum Put {
    Kept { not_linked: bool },
    Made { edited: bool },
    InTheWay,
}

impl<'t> Stage<'t> {
    pub(super) fn new(target: &'t Target, provenance: Provenance) -> Self {
        let mut state = StagedFiles::default();
        state.change.manifest.provenance = provenance;
        Self { target, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, StagedFiles> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a folder as it is on disk, with the entries of the old manifest.
    pub fn keep(&self, folder: &str) {
        let Some(names) = self.target.manifest.folders.get(folder) else { return };
        let mut state = self.state();
        state.change.manifest.folders.insert(folder.to_owned(), Arc::clone(names));
        if let Some(found) = self.target.before.folders.get(folder) {
            state.change.not_linked.extend(found.not_linked.iter().map(|name| join(folder, name)));
        }
    }

    /// Writes files into the new tree, unless they are already correct on disk.
    pub fn put_files<'f>(&self, files: impl IntoIterator<Item = (&'f String, &'f File)>) -> Result<(), Error> {
        let mut put = Vec::new();
        for (path, file) in files {
            let (folder, name) = split(path);
            let entry = file.entry();
            put.push((path.clone(), entry, self.put_file(folder, name, file, &entry)?));
        }
        let mut state = self.state();
        for (path, entry, done) in put {
            let (folder, name) = split(&path);
            state.change.manifest.insert(folder, name, entry);
            match done {
                Put::Made { edited } => {
                    if edited {
                        state.edited.push(path.clone());
                    }
                    state.change.made.push(path);
                }
                Put::Kept { not_linked: true } => state.change.not_linked.push(path),
                Put::Kept { not_linked: false } => {}
                Put::InTheWay => state.in_the_way.push(path),
            }
        }
        Ok(())
    }

    fn put_file(&self, folder: &str, name: &str, file: &File, entry: &ManifestEntry) -> Result<Put, Error> {
        let Target { out, manifest, before, spare_is_current, .. } = self.target;
        let known = manifest.get(folder, name);
        let found = before.folders.get(folder);
        let is_modified = found.is_none_or(|f| f.modified.iter().chain(&f.missing).any(|n| n == name));
        let place = out.join(folder).join(name);
        let is_unmanaged = known.is_none() && before.has(manifest, folder, name);
        if known.is_some_and(|known| known == entry) && !is_modified || is_unmanaged && matches_file(&place, file) {
            let not_linked = *spare_is_current && inode(&self.target.tree().join(folder).join(name)) != inode(&place);
            return Ok(Put::Kept { not_linked });
        }
        if is_unmanaged {
            return Ok(Put::InTheWay);
        }
        self.begin()?;
        self.write(folder, name, file)?;
        let edited = found.is_some_and(|f| f.modified.iter().any(|n| n == name))
            && known.is_some_and(|known| !has_digest(&place, &known.digest));
        Ok(Put::Made { edited })
    }

    fn write(&self, folder: &str, name: &str, file: &File) -> Result<(), Error> {
        let tree = self.target.tree();
        let place = tree.join(folder).join(name);
        if self.target.spare_is_current {
            remove_if_there(&place)?;
        }
        let made = match create(&place, file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                create_folders(&tree, folder).and_then(|()| create(&place, file))
            }
            made => made,
        };
        made.map_err(|e| Error::io("write", &place, e))
    }

    /// Prepares the tree before its first change: takes the spare one, or creates one.
    fn begin(&self) -> Result<(), Error> {
        let mut state = self.state();
        if state.begun {
            return Ok(());
        }
        state.begun = true;
        let Target { work, before, .. } = self.target;
        let fail = |path: &Path, e| Error::io("write", path, e);
        if self.target.spare_is_current {
            // Without its mark, a tree that is only half changed is not taken for a spare.
            let mark = work.join(SPARE_MARK);
            return fs::remove_file(&mark).map_err(|e| fail(&mark, e));
        }
        remove_tree(work)?;
        DirBuilder::new().mode(0o700).create(work).map_err(|e| fail(work, e))?;
        let ignore = work.join(".gitignore");
        fs::write(&ignore, "*\n").map_err(|e| fail(&ignore, e))?;
        let (tree, mode) = (self.target.tree(), before.folders.get("").map_or(0o755, |f| f.mode));
        super::tree::create_folder(&tree, mode).map_err(|e| fail(&tree, e))
    }

    /// Replaces the old tree by the new one, if anything differs. `allow` is called when the new one is complete, and
    /// may still refuse it. Returns the digest of the new manifest.
    pub fn finish(self, allow: impl FnOnce() -> Result<(), Error>) -> Result<(WriteSummary, Digest), Error> {
        let manifest = File::public(self.state().change.manifest.to_text());
        let digest = crate::render::digest_of([manifest.bytes.as_slice()]);
        // Writes the manifest last: a file that is newer than it was changed by someone else.
        if self.target.digest != Some(digest) {
            let there = self.target.out.join(MANIFEST);
            if self.target.digest.is_none() && there.symlink_metadata().is_ok() && !matches_file(&there, &manifest) {
                self.state().in_the_way.push(MANIFEST.to_owned());
            } else {
                self.begin()?;
                self.write("", MANIFEST, &manifest)?;
                self.state().change.made.push(MANIFEST.to_owned());
            }
        }
        self.refuse_to_overwrite()?;
        let mut state = self.state();
        state.edited.sort();
        state.change.removed = self.removed(&state.change.manifest);
        let TreeChange { manifest, made, removed, .. } = &state.change;
        let outcome = WriteSummary {
            written: made.len(),
            unchanged: manifest.count() - made.len(),
            removed: removed.len(),
            edited: state.edited.clone(),
        };
        if outcome.written + outcome.removed > 0 {
            drop(state);
            self.begin()?;
            state = self.state();
            self.target.complete(&state.change)?;
            allow()?;
            // From here on the working folder may hold the old tree: an error must not
            // remove it.
            state.begun = false;
            self.target.replace(&state.change, &digest)?;
        } else {
            allow()?;
        }
        drop(state);
        Ok((outcome, digest))
    }

    /// Managed files that exist and are no longer rendered.
    fn removed(&self, new: &Manifest) -> Vec<String> {
        let Target { manifest, before, .. } = self.target;
        let mut removed = Vec::new();
        for (folder, names) in &manifest.folders {
            if new.folders.get(folder).is_some_and(|kept| Arc::ptr_eq(kept, names)) {
                continue;
            }
            let gone = names.keys().filter(|n| new.get(folder, n).is_none() && before.has(manifest, folder, n));
            removed.extend(gone.map(|name| join(folder, name)));
        }
        removed
    }

    /// Fails if a rendered file would overwrite an unmanaged one with other content.
    fn refuse_to_overwrite(&self) -> Result<(), Error> {
        let mut state = self.state();
        let others = &mut state.in_the_way;
        others.sort();
        let Some(first) = others.first() else { return Ok(()) };
        let more = if others.len() > 1 { format!(" and {} more", others.len() - 1) } else { String::new() };
        Err(Error::usage(
            format!("{}{more} exists and was not made by tenantry", self.target.out.join(first).display()),
            "move it away, or write somewhere else with --out; nothing was changed",
        ))
    }
}

impl Drop for Stage<'_> {
    /// Removes a half-built tree, which cannot serve as a spare. The bundle is not changed.
    fn drop(&mut self) {
        if self.state().begun {
            let _ = remove_tree(&self.target.work);
        }
    }
}

impl Target {
    pub(super) fn tree(&self) -> PathBuf {
        self.work.join("tree")
    }
}

/// Whether a file on disk has this content and correct permissions.
fn matches_file(place: &Path, file: &File) -> bool {
    let Ok(meta) = fs::symlink_metadata(place) else { return false };
    let is_whole = meta.is_file() && !mode_is_wrong(&meta, file.secret) && meta.len() == file.bytes.len() as u64;
    is_whole && fs::read(place).is_ok_and(|found| found == file.bytes)
}
