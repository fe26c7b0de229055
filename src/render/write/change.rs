//! The change from the bundle on disk to the rendered one, and the mark of the spare
//! tree. Both the stage and the swap need them.

use std::fs;
use std::path::Path;

use super::super::bundle::{Digest, Manifest};

/// The change from the bundle on disk to the rendered one.
#[derive(Default)]
pub(super) struct TreeChange {
    /// The new manifest.
    pub manifest: Manifest,
    /// Files written into the new tree.
    pub made: Vec<String>,
    /// Files on disk that are correct, but are not the same inode as in the spare tree.
    pub not_linked: Vec<String>,
    /// Managed files that are no longer rendered.
    pub removed: Vec<String>,
}

/// Name of the file that holds the digest of the spare tree's manifest.
pub(super) const SPARE_MARK: &str = "spare-of";

/// Whether there is a spare tree that matches this manifest.
pub(super) fn spare_is_of(work: &Path, manifest: &Digest) -> bool {
    fs::read_to_string(work.join(SPARE_MARK)).is_ok_and(|mark| mark == hex(manifest)) && work.join("tree").is_dir()
}

pub(super) fn hex(digest: &Digest) -> String {
    data_encoding::HEXLOWER.encode(digest)
}
