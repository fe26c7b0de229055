//! Writing a bundle: all of it or none of it. The new tree is built beside the
//! old one and the two change places in one system call, so that a kill at any
//! moment leaves the one or the other. Files that are not in the manifest are
//! not ours: they move along untouched.
//!
//! The tree that was replaced is kept as a spare, brought up to date by
//! links: the next change is made there, and costs what changed and not what
//! there is.

mod swap;
mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::bundle::{Bundle, Content, Digest, File, MANIFEST, Manifest};
use crate::error::Error;
use tree::{Listing, has_digest, mode_is_wrong};

/// What writing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Outcome {
    /// Files made or changed.
    pub written: usize,
    /// Files that were as they should be.
    pub unchanged: usize,
    /// Files of ours that are no more.
    pub removed: usize,
}

/// The place a bundle is written to, locked against other writers.
pub struct Target {
    out: PathBuf,
    work: PathBuf,
    manifest: Option<Manifest>,
    manifest_changed: Option<(i64, i64)>,
    spare_is_current: bool,
    /// Files that are as they should be but have no second name, so that they
    /// are not the spare tree's. Kept only while there is a spare.
    strangers: Mutex<Vec<String>>,
    /// Holds the lock until the target is dropped.
    _lock: fs::File,
}

/// From what is there to what should be.
struct Change<'b> {
    /// To be written.
    made: Vec<(&'b str, &'b File)>,
    /// As they should be.
    kept: Vec<(&'b str, &'b File)>,
    /// Ours, and no longer in the bundle.
    removed: Vec<&'b str>,
    /// Not ours.
    foreign: Vec<&'b str>,
    /// Folders that are not ours.
    foreign_folders: Vec<&'b str>,
    /// What was there before.
    before: &'b Listing,
}

impl Target {
    /// Locks `out` and reads what is there. Waits for another writer to finish.
    pub fn open(out: &Path) -> Result<Self, Error> {
        let out = match fs::canonicalize(out) {
            Ok(real) => real,
            Err(_) => std::path::absolute(out).map_err(|e| Error::io("find", out, e))?,
        };
        let (Some(parent), Some(name)) = (out.parent(), out.file_name()) else {
            return Err(Error::usage(
                format!("{} cannot be written as a whole", out.display()),
                "name a folder inside it: --out infra",
            ));
        };
        fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        // The parent and not the folder itself: that one is about to be replaced.
        let lock = fs::File::open(parent).map_err(|e| Error::io("open", parent, e))?;
        lock.lock().map_err(|e| Error::io("lock", parent, e))?;
        if fs::symlink_metadata(&out).is_ok_and(|m| !m.is_dir()) {
            return Err(Error::usage(format!("{} is not a folder", out.display()), "name another with --out"));
        }
        let work = parent.join(format!(".{}.tenantry", name.to_string_lossy()));
        let place = out.join(MANIFEST);
        let text = fs::read_to_string(&place).unwrap_or_default();
        let spare_is_current = swap::spare_is_of(&work, &text);
        let manifest = Manifest::from_text(&text);
        let manifest_changed = fs::metadata(&place).ok().map(|m| (m.ctime(), m.ctime_nsec()));
        let strangers = Mutex::default();
        Ok(Self { out, work, manifest, manifest_changed, spare_is_current, strangers, _lock: lock })
    }

    /// Whether a file is as it was written: unchanged since the manifest was
    /// made, or else with the same content. A file touched in the manifest's
    /// own clock tick is read.
    pub fn is_untouched(&self, path: &str, digest: &Digest, secret: bool) -> bool {
        let known = self.manifest.as_ref().and_then(|m| m.files.get(path));
        let (Some((listed, _)), Some(since)) = (known, self.manifest_changed) else { return false };
        let place = self.out.join(path);
        let Ok(meta) = fs::symlink_metadata(&place) else { return false };
        if listed != digest || !meta.is_file() || mode_is_wrong(&meta, secret) {
            return false;
        }
        if self.spare_is_current && meta.nlink() < 2 {
            self.strangers.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
        }
        (meta.ctime(), meta.ctime_nsec()) < since || has_digest(&place, digest)
    }

    /// How many files the manifest lists, itself included.
    pub fn listed(&self) -> usize {
        self.manifest.as_ref().map_or(0, |m| m.files.len() + 1)
    }

    /// Brings the folder to what the bundle says.
    pub fn write(&self, bundle: &Bundle) -> Result<Outcome, Error> {
        let manifest_file = File::public(bundle.manifest().to_text());
        let mut files: BTreeMap<&str, &File> = bundle.files.iter().map(|(path, file)| (path.as_str(), file)).collect();
        files.insert(MANIFEST, &manifest_file);
        let before = Listing::of(&self.out)?;
        self.refuse_to_overwrite(&files, &before)?;
        let change = self.change(files, bundle, &before);
        let outcome =
            Outcome { written: change.made.len(), unchanged: change.kept.len(), removed: change.removed.len() };
        if outcome.written + outcome.removed > 0 {
            self.replace(&change)?;
        }
        Ok(outcome)
    }

    fn change<'b>(&self, files: BTreeMap<&'b str, &'b File>, bundle: &Bundle, before: &'b Listing) -> Change<'b> {
        let (kept, made) =
            files.into_par_iter().partition(|(path, file)| before.files.contains(*path) && self.is_as(path, file));
        let gone = |path: &&str| *path != MANIFEST && !bundle.files.contains_key(*path);
        let others = before.files.iter().map(String::as_str).filter(gone);
        let (removed, foreign) = others.partition(|path| self.is_ours(path));
        let foreign_folders = before.foreign_folders(|path| self.is_ours(path)).collect();
        Change { made, kept, removed, foreign, foreign_folders, before }
    }

    fn is_ours(&self, path: &str) -> bool {
        self.manifest.as_ref().is_some_and(|m| path == MANIFEST || m.files.contains_key(path))
    }

    /// Files that somebody else made are never overwritten, unless they are
    /// already what would be written.
    fn refuse_to_overwrite(&self, files: &BTreeMap<&str, &File>, there: &Listing) -> Result<(), Error> {
        let others: Vec<&str> = files
            .iter()
            .filter(|(path, file)| there.files.contains(**path) && !self.is_ours(path) && !self.is_as(path, file))
            .map(|(path, _)| *path)
            .collect();
        let Some(first) = others.first() else { return Ok(()) };
        let more = if others.len() > 1 { format!(" and {} more", others.len() - 1) } else { String::new() };
        Err(Error::usage(
            format!("{}{more} exists and was not made by tenantry", self.out.join(first).display()),
            "move it away, or write somewhere else with --out; nothing was changed",
        ))
    }

    /// Whether a file on disk has this content and is as private as it should be.
    fn is_as(&self, path: &str, file: &File) -> bool {
        let Content::Bytes(bytes) = &file.content else {
            // Found there under the lock that is still held.
            return true;
        };
        let place = self.out.join(path);
        let Ok(meta) = fs::symlink_metadata(&place) else { return false };
        let is_whole = meta.is_file() && !mode_is_wrong(&meta, file.secret) && meta.len() == bytes.len() as u64;
        is_whole && fs::read(&place).is_ok_and(|found| found == *bytes)
    }
}
