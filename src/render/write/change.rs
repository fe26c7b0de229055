//! From what is there to what should be, and the mark of the spare tree. Both the
//! stage and the swap need them.

use std::fs;
use std::path::Path;

use super::super::bundle::{Digest, Manifest};

/// From what is there to what should be.
#[derive(Default)]
pub(super) struct Change {
    /// What there will be.
    pub manifest: Manifest,
    /// Written into the new tree.
    pub made: Vec<String>,
    /// As they should be, but not in the spare tree under the same inode.
    pub strangers: Vec<String>,
    /// Ours, and no longer rendered.
    pub removed: Vec<String>,
}

/// Says of which manifest the spare tree is.
pub(super) const SPARE_MARK: &str = "spare-of";

/// Whether there is a spare tree that is what this manifest says.
pub(super) fn spare_is_of(work: &Path, manifest: &Digest) -> bool {
    fs::read_to_string(work.join(SPARE_MARK)).is_ok_and(|mark| mark == hex(manifest)) && work.join("tree").is_dir()
}

pub(super) fn hex(digest: &Digest) -> String {
    data_encoding::HEXLOWER.encode(digest)
}
