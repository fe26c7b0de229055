//! Writes a bundle. New files are staged in a folder of the bundle's own. When the staged
//! set is complete, it is committed by one rename, and its files are then renamed to their
//! places: the configuration that a server reads as one, every other file by itself, the
//! manifest last. A kill before the commit changes nothing; what a kill after it left
//! undone is done by the next writer. Folders stay the same folders, and what the manifest
//! does not list stays as it is.
//!
//! Files are staged as they are rendered, so that they need not be kept in memory.

mod commit;
mod stage;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use super::bundle::{Digest, MANIFEST, Manifest, Provenance, split};
use crate::error::Error;
pub use stage::Stage;
use tree::Listing;

/// The folder in the bundle that holds what is staged or committed.
const WORK: &str = ".tenantry-new";

/// Result of writing a bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct WriteSummary {
    /// Number of files created or changed.
    pub written: usize,
    /// Number of files that were already correct.
    pub unchanged: usize,
    /// Number of managed files removed.
    pub removed: usize,
    /// Managed files that had been edited by hand and were overwritten.
    pub edited: Vec<String>,
}

fn digest(manifest: &str) -> Digest {
    super::digest_of([manifest.as_bytes()])
}

/// The folder that a bundle is written to, locked against other writers, and a listing of
/// its content.
pub struct Target {
    out: PathBuf,
    /// The manifest on disk; empty if there is none.
    manifest: Manifest,
    /// Digest of the manifest's text. `None` if there is no manifest.
    digest: Option<Digest>,
    before: Listing,
    /// Managed files that were changed by hand while a killed writer's work waited for its end.
    edited: Vec<String>,
    /// The file handle holds the lock until the target is dropped.
    _lock: fs::File,
}

impl Target {
    /// Locks `out`, finishes what a killed writer had committed, and lists its content.
    /// Waits until another writer has finished.
    pub fn open(out: &Path) -> Result<Self, Error> {
        let out = match fs::canonicalize(out) {
            Ok(real) => real,
            Err(_) => std::path::absolute(out).map_err(|e| Error::io("find", out, e))?,
        };
        let Some(parent) = out.parent() else {
            return Err(Error::usage(
                format!("{} is not a folder for a bundle", out.display()),
                "name a folder inside it: --out infra",
            ));
        };
        fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        // Locks the parent: the folder itself may not exist yet.
        let lock = fs::File::open(parent).map_err(|e| Error::io("open", parent, e))?;
        lock.lock().map_err(|e| Error::io("lock", parent, e))?;
        if fs::symlink_metadata(&out).is_ok_and(|m| !m.is_dir()) {
            return Err(Error::usage(format!("{} is not a folder", out.display()), "name another with --out"));
        }
        let edited = commit::resume(&out)?;
        let text = fs::read_to_string(out.join(MANIFEST)).unwrap_or_default();
        let manifest = Manifest::from_text(&text);
        let digest = manifest.is_some().then(|| digest(&text));
        let is_foreign = |entry: std::io::Result<fs::DirEntry>| entry.map_or(true, |entry| entry.file_name() != WORK);
        if digest.is_none() && fs::read_dir(&out).is_ok_and(|mut entries| entries.any(is_foreign)) {
            return Err(Error::usage(
                format!("{} is not empty, and has no manifest of tenantry: nothing was written", out.display()),
                "name a new or an empty folder with --out; a bundle that lost its manifest has to be moved away",
            ));
        }
        let manifest = manifest.unwrap_or_default();
        let before = Listing::read(&out, &manifest)?;
        Ok(Self { out, manifest, digest, before, edited, _lock: lock })
    }

    /// The absolute path of the folder.
    pub fn path(&self) -> &Path {
        &self.out
    }

    /// Digest of the manifest on disk. `None` if there is none.
    pub fn manifest_digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The number of files that the manifest lists, itself included.
    pub fn listed(&self) -> usize {
        self.manifest.count()
    }

    /// Whether every managed file of a folder is present and unmodified. False if the
    /// manifest does not list the folder.
    pub fn is_intact(&self, folder: &str) -> bool {
        self.manifest.folders.contains_key(folder)
            && self.before.folders.get(folder).is_some_and(tree::Folder::is_intact)
    }

    /// Whether every managed file is present and unmodified.
    pub fn all_is_intact(&self) -> bool {
        self.manifest.folders.keys().all(|folder| self.is_intact(folder))
    }

    /// The text of a managed file. `None` if a file of its folder was modified.
    pub fn text_of(&self, path: &str) -> Option<String> {
        self.is_intact(split(path).0).then(|| fs::read_to_string(self.out.join(path)).ok()).flatten()
    }

    /// Managed files that were changed by hand, and replaced when the work of a killed writer was finished.
    pub fn edited(&self) -> &[String] {
        &self.edited
    }

    /// What the bundle on disk was rendered from.
    pub fn provenance(&self) -> &Provenance {
        &self.manifest.provenance
    }

    /// Starts to stage files. Nothing is written until the first file differs.
    pub fn stage(&self, provenance: Provenance) -> Stage<'_> {
        Stage::new(self, provenance)
    }
}
