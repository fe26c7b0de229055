//! The files to be written, while they are rendered: each that differs is staged.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::bundle::{Digest, File, MANIFEST, Manifest, ManifestEntry, Provenance, join, split};
use super::commit::{self, commit, in_the_way};
use super::tree::{ancestors, create, create_folder, create_folders, has_digest, mode_is_wrong, remove_tree};
use super::{Target, WORK, WriteSummary};
use crate::error::Error;

/// The files to be written.
pub struct Stage<'t> {
    target: &'t Target,
    state: Mutex<StagedFiles>,
}

#[derive(Default)]
struct StagedFiles {
    /// Whether the work folder was created, so that it must be committed or removed.
    begun: bool,
    /// Whether the bundle's folder was created.
    is_new: bool,
    /// The new manifest.
    manifest: Manifest,
    /// Staged files.
    made: Vec<String>,
    /// Managed files that were edited by hand.
    edited: Vec<String>,
    /// What is unmanaged and at the path of a rendered file.
    in_the_way: Vec<String>,
}

/// What was done with a rendered file.
enum Put {
    Kept,
    Made { edited: bool },
    InTheWay,
}

impl<'t> Stage<'t> {
    pub(super) fn new(target: &'t Target, provenance: Provenance) -> Self {
        let mut state = StagedFiles::default();
        state.manifest.provenance = provenance;
        state.edited = target.edited.clone();
        Self { target, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, StagedFiles> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a folder as it is on disk, with the entries of the old manifest.
    pub fn keep(&self, folder: &str) {
        let Some(names) = self.target.manifest.folders.get(folder) else { return };
        self.state().manifest.folders.insert(folder.to_owned(), Arc::clone(names));
    }

    /// Stages files, unless they are already correct on disk.
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
            state.manifest.insert(folder, name, entry);
            match done {
                Put::Made { edited } => {
                    if edited {
                        state.edited.push(path.clone());
                    }
                    state.made.push(path);
                }
                Put::Kept => {}
                Put::InTheWay => state.in_the_way.push(path),
            }
        }
        Ok(())
    }

    fn put_file(&self, folder: &str, name: &str, file: &File, entry: &ManifestEntry) -> Result<Put, Error> {
        let Target { out, manifest, before, .. } = self.target;
        let known = manifest.get(folder, name);
        let found = before.folders.get(folder);
        let is_in =
            |names: fn(&super::tree::Folder) -> &Vec<String>| found.is_some_and(|f| names(f).iter().any(|n| n == name));
        let (is_modified, is_missing) = (is_in(|f| &f.modified), is_in(|f| &f.missing));
        let place = out.join(folder).join(name);
        let is_unmanaged = match (known, found) {
            (Some(_), _) => is_missing && place.symlink_metadata().is_ok(),
            (None, Some(found)) => found.unmanaged.iter().any(|n| n == name),
            // A folder that the manifest does not list: what is in it was not looked at.
            (None, None) => place.symlink_metadata().is_ok(),
        };
        let is_kept = known == Some(entry) && found.is_some() && !is_modified && !is_missing;
        if is_kept || is_unmanaged && matches_file(&place, file) {
            return Ok(Put::Kept);
        }
        if is_unmanaged {
            return Ok(Put::InTheWay);
        }
        self.begin()?;
        self.write(folder, name, file)?;
        let edited = is_modified && known.is_some_and(|known| !has_digest(&place, &known.digest));
        Ok(Put::Made { edited })
    }

    fn write(&self, folder: &str, name: &str, file: &File) -> Result<(), Error> {
        let staged = self.staged();
        let place = staged.join(folder).join(name);
        let made = match create(&place, file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                create_folders(&staged, folder).and_then(|()| create(&place, file))
            }
            made => made,
        };
        made.map_err(|e| Error::io("write", &place, e))
    }

    fn staged(&self) -> PathBuf {
        commit::staged(&self.target.out)
    }

    /// Creates the work folder before the first file is staged.
    fn begin(&self) -> Result<(), Error> {
        let mut state = self.state();
        if state.begun {
            return Ok(());
        }
        let (out, work) = (&self.target.out, self.target.out.join(WORK));
        let fail = |path: &Path, e| Error::io("write", path, e);
        state.is_new = !out.exists();
        create_folder(out, 0o755).map_err(|e| fail(out, e))?;
        state.begun = true;
        remove_tree(&work)?;
        create_folder(&work, 0o700).map_err(|e| fail(&work, e))?;
        let ignore = work.join(".gitignore");
        fs::write(&ignore, "*\n").map_err(|e| fail(&ignore, e))?;
        create_folder(&self.staged(), 0o700).map_err(|e| fail(&work, e))
    }

    /// Puts the staged files in their places, if there are any. `allow` is called when the staged set is complete, and
    /// may still refuse it. Returns the digest of the new manifest.
    pub fn finish(self, allow: impl FnOnce() -> Result<(), Error>) -> Result<(WriteSummary, Digest), Error> {
        let manifest = File::public(self.state().manifest.to_text());
        let digest = crate::render::digest_of([manifest.bytes.as_slice()]);
        if self.target.digest != Some(digest) {
            self.begin()?;
            self.write("", MANIFEST, &manifest)?;
            self.state().made.push(MANIFEST.to_owned());
        }
        let mut state = self.state();
        state.in_the_way.sort();
        if let Some(first) = state.in_the_way.first() {
            return Err(in_the_way(&self.target.out.join(first), state.in_the_way.len()));
        }
        state.edited.sort();
        state.edited.dedup();
        let removed = self.removed(&state.manifest);
        let outcome = WriteSummary {
            written: state.made.len(),
            unchanged: state.manifest.count() - state.made.len(),
            removed: removed.len(),
            edited: state.edited.clone(),
        };
        let is_changed = outcome.written + outcome.removed > 0;
        if is_changed {
            self.refuse_unwritable(state.made.iter().chain(&removed))?;
        }
        drop(state);
        allow()?;
        if is_changed {
            let mut state = self.state();
            let Target { out, manifest: old, .. } = self.target;
            let done = commit(out, old, &state.manifest);
            // From the commit on, the work folder holds the bundle: an error must not remove it.
            state.begun = self.staged().exists();
            done?;
        }
        Ok((outcome, digest))
    }

    /// Fails if files cannot be replaced in a folder: better now than in the middle.
    fn refuse_unwritable<'p>(&self, paths: impl Iterator<Item = &'p String>) -> Result<(), Error> {
        let folders: BTreeSet<&str> = paths.flat_map(|path| ancestors(path).chain([""])).collect();
        let there = folders.into_iter().map(|folder| self.target.out.join(folder));
        for folder in there.filter(|folder| folder.symlink_metadata().is_ok()) {
            if !folder.is_dir() {
                return Err(in_the_way(&folder, 1));
            }
            let access = rustix::fs::access(&folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK);
            access.map_err(|e| Error::io("write", &folder, e.into()))?;
        }
        Ok(())
    }

    /// Managed files that exist and are no longer rendered.
    fn removed(&self, new: &Manifest) -> Vec<String> {
        let Target { manifest, before, .. } = self.target;
        let is_there = |(folder, name): &(&str, &str)| before.has(folder, name);
        commit::stale(manifest, new).filter(is_there).map(|(folder, name)| join(folder, name)).collect()
    }
}

impl Drop for Stage<'_> {
    /// Removes what was staged and not committed. The bundle is not changed.
    fn drop(&mut self) {
        let state = self.state();
        if state.begun {
            let _ = remove_tree(&self.target.out.join(WORK));
        }
        if state.begun && state.is_new {
            let _ = fs::remove_dir(&self.target.out);
        }
    }
}

/// Whether a file on disk has this content and correct permissions.
fn matches_file(place: &Path, file: &File) -> bool {
    let Ok(meta) = fs::symlink_metadata(place) else { return false };
    let is_whole = meta.is_file() && !mode_is_wrong(&meta, file.secret) && meta.len() == file.bytes.len() as u64;
    is_whole && fs::read(place).is_ok_and(|found| found == file.bytes)
}
