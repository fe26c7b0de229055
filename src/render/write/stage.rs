//! The new tree while it is made: files are written into it as they come.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::bundle::{Digest, Entry, File, MANIFEST, Manifest, join, split};
use super::change::{Change, SPARE_MARK};
use super::tree::{create, create_folders, has_digest, inode, mode_is_wrong, remove_if_there, remove_tree};
use super::{Outcome, Target};
use crate::error::Error;

/// A new tree: the spare one, or one that is begun when something must be written.
pub struct Stage<'t> {
    target: &'t Target,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether the tree was changed or begun, so that it must take the place
    /// of the old one or go.
    begun: bool,
    change: Change,
    /// Files of ours that somebody changed.
    edited: Vec<String>,
    /// Files that somebody else made, where ours should be.
    in_the_way: Vec<String>,
}

/// What became of a file that was put.
enum Put {
    Kept { stranger: bool },
    Made { edited: bool },
    InTheWay,
}

impl<'t> Stage<'t> {
    pub(super) fn new(target: &'t Target) -> Self {
        Self { target, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A folder stays as it is; what is missing of it comes with [`Self::put`].
    pub fn keep(&self, folder: &str) {
        let Some(names) = self.target.manifest.folders.get(folder) else { return };
        let mut state = self.state();
        state.change.manifest.folders.insert(folder.to_owned(), Arc::clone(names));
        if let Some(found) = self.target.before.folders.get(folder) {
            state.change.strangers.extend(found.strangers.iter().map(|name| join(folder, name)));
        }
    }

    /// Puts a file where it belongs, unless it is there already.
    pub fn put<'f>(&self, files: impl IntoIterator<Item = (&'f String, &'f File)>) -> Result<(), Error> {
        let mut put = Vec::new();
        for (path, file) in files {
            let (folder, name) = split(path);
            let entry = file.entry();
            put.push((path.clone(), entry, self.put_one(folder, name, file, &entry)?));
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
                Put::Kept { stranger: true } => state.change.strangers.push(path),
                Put::Kept { stranger: false } => {}
                Put::InTheWay => state.in_the_way.push(path),
            }
        }
        Ok(())
    }

    fn put_one(&self, folder: &str, name: &str, file: &File, entry: &Entry) -> Result<Put, Error> {
        let Target { out, manifest, before, spare_is_current, .. } = self.target;
        let known = manifest.get(folder, name);
        let found = before.folders.get(folder);
        let is_touched = found.is_none_or(|f| f.touched.iter().chain(&f.missing).any(|n| n == name));
        let place = out.join(folder).join(name);
        let is_foreign = known.is_none() && before.has(manifest, folder, name);
        if known.is_some_and(|known| known == entry) && !is_touched || is_foreign && is_as(&place, file) {
            let stranger = *spare_is_current && inode(&self.target.tree().join(folder).join(name)) != inode(&place);
            return Ok(Put::Kept { stranger });
        }
        if is_foreign {
            return Ok(Put::InTheWay);
        }
        self.begin()?;
        self.write(folder, name, file)?;
        let edited = found.is_some_and(|f| f.touched.iter().any(|n| n == name))
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

    /// Before the first change to the tree.
    fn begin(&self) -> Result<(), Error> {
        let mut state = self.state();
        if state.begun {
            return Ok(());
        }
        state.begun = true;
        let Target { work, before, .. } = self.target;
        let fail = |path: &Path, e| Error::io("write", path, e);
        if self.target.spare_is_current {
            // Until it is complete again, it is no spare.
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

    /// Puts the new tree in the place of the old one, if anything is otherwise.
    /// The digest is the new manifest's.
    pub fn finish(self) -> Result<(Outcome, Digest), Error> {
        let manifest = File::public(self.state().change.manifest.to_text());
        let digest = crate::render::digest_of([manifest.bytes.as_slice()]);
        // The manifest comes last: a file changed after it was not changed by us.
        if self.target.digest != Some(digest) {
            let there = self.target.out.join(MANIFEST);
            if self.target.digest.is_none() && there.symlink_metadata().is_ok() && !is_as(&there, &manifest) {
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
        let Change { manifest, made, removed, .. } = &state.change;
        let outcome = Outcome {
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
            // From here on it may be the old tree that is in the working folder.
            state.begun = false;
            self.target.replace(&state.change, &digest)?;
        }
        drop(state);
        Ok((outcome, digest))
    }

    /// Files that the manifest lists, are there, and are no longer rendered.
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

    /// Files that somebody else made are never overwritten, unless they are
    /// already what would be written.
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
    /// Half a tree is no spare; the folder itself is untouched.
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

/// Whether a file on disk has this content and is as private as it should be.
fn is_as(place: &Path, file: &File) -> bool {
    let Ok(meta) = fs::symlink_metadata(place) else { return false };
    let is_whole = meta.is_file() && !mode_is_wrong(&meta, file.secret) && meta.len() == file.bytes.len() as u64;
    is_whole && fs::read(place).is_ok_and(|found| found == file.bytes)
}
