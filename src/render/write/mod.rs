//! Writing a bundle: all of it or none of it. The new tree is built beside the
//! old one and the two change places in one system call, so that a kill at any
//! moment leaves the one or the other. Files that are not in the manifest are
//! not ours: they move along untouched.
//!
//! Files are written as they are rendered, so that they need not be held. The
//! tree that was replaced is kept as a spare, brought up to date by links: the
//! next change is made there, and costs what changed and not what there is.

mod change;
mod stage;
mod swap;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use super::bundle::{Digest, MANIFEST, Manifest, split};
use crate::error::Error;
pub use stage::Stage;
use tree::Listing;

/// What writing did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Outcome {
    /// Files made or changed.
    pub written: usize,
    /// Files that were as they should be.
    pub unchanged: usize,
    /// Files of ours that are no more.
    pub removed: usize,
    /// Files that somebody had changed, and that are as rendered again.
    pub edited: Vec<String>,
}

fn digest(manifest: &str) -> Digest {
    super::digest_of([manifest.as_bytes()])
}

/// The place a bundle is written to, locked against other writers, and what is there.
pub struct Target {
    out: PathBuf,
    work: PathBuf,
    /// What the manifest says; nothing if there is none that can be read.
    manifest: Manifest,
    /// Identifies the manifest's text; nothing if it was not made by us.
    digest: Option<Digest>,
    before: Listing,
    spare_is_current: bool,
    /// Holds the lock until the target is dropped.
    _lock: fs::File,
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
        let text = fs::read_to_string(out.join(MANIFEST)).unwrap_or_default();
        let manifest = Manifest::from_text(&text);
        let digest = manifest.is_some().then(|| digest(&text));
        let manifest = manifest.unwrap_or_default();
        let before = Listing::of(&out, &manifest)?;
        let spare_is_current = digest.is_some_and(|digest| change::spare_is_of(&work, &digest));
        Ok(Self { out, work, manifest, digest, before, spare_is_current, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.out
    }

    /// Identifies what the manifest says.
    pub fn manifest_digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The number of files that the manifest lists, itself included.
    pub fn listed(&self) -> usize {
        self.manifest.count()
    }

    /// Whether a folder's files are all as the manifest says they were written.
    pub fn is_intact(&self, folder: &str) -> bool {
        self.manifest.folders.contains_key(folder)
            && self.before.folders.get(folder).is_some_and(tree::Folder::is_intact)
    }

    /// Whether every file is as the manifest says it was written.
    pub fn all_is_intact(&self) -> bool {
        self.manifest.folders.keys().all(|folder| self.is_intact(folder))
    }

    /// The text of a file that is as it was written.
    pub fn text_of(&self, path: &str) -> Option<String> {
        self.is_intact(split(path).0).then(|| fs::read_to_string(self.out.join(path)).ok()).flatten()
    }

    /// Begins a new tree.
    pub fn stage(&self) -> Stage<'_> {
        Stage::new(self)
    }
}
