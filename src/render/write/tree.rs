//! Folders and files on disk: what is there, linking, creating, removing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::super::bundle::{Content, Digest, File};
use crate::error::Error;

/// What is in a folder, by relative path.
#[derive(Debug, Default)]
pub struct Listing {
    /// Everything but folders.
    pub files: BTreeSet<String>,
    /// Folders; `""` is the folder itself.
    pub folders: BTreeMap<String, Folder>,
}

/// What is known of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folder {
    /// Its permission bits.
    pub mode: u32,
    /// When its entries last changed, read before they were.
    pub changed: (i64, i64),
}

impl Folder {
    /// Of a folder's metadata.
    pub fn of(meta: &fs::Metadata) -> Self {
        Self { mode: meta.permissions().mode() & 0o7777, changed: (meta.mtime(), meta.mtime_nsec()) }
    }
}

impl Listing {
    pub fn of(root: &Path) -> Result<Self, Error> {
        let mut listing = Self::default();
        let Ok(meta) = fs::metadata(root) else { return Ok(listing) };
        listing.folders.insert(String::new(), Folder::of(&meta));
        let mut level = vec![String::new()];
        while !level.is_empty() {
            let found = level.par_iter().map(|folder| read_folder(root, folder)).collect::<Result<Vec<_>, _>>()?;
            level.clear();
            for (path, folder) in found.into_iter().flatten() {
                match folder {
                    Some(folder) => {
                        level.push(path.clone());
                        listing.folders.insert(path, folder);
                    }
                    None => {
                        listing.files.insert(path);
                    }
                }
            }
        }
        Ok(listing)
    }

    pub fn mode_of(&self, folder: &str) -> Option<u32> {
        self.folders.get(folder).map(|f| f.mode)
    }

    /// Folders in which nothing is ours, and which did not become empty by
    /// what we remove: somebody else made them.
    pub fn foreign_folders(&self, is_ours: impl Fn(&str) -> bool) -> impl Iterator<Item = &str> {
        let with_ours: BTreeSet<&str> = self.files.iter().filter(|p| is_ours(p)).flat_map(|p| ancestors(p)).collect();
        self.folders.keys().map(String::as_str).filter(move |f| !f.is_empty() && !with_ours.contains(f))
    }
}

/// The entries of one folder; those that are folders say so.
pub fn read_folder(root: &Path, folder: &str) -> Result<Vec<(String, Option<Folder>)>, Error> {
    let place = root.join(folder);
    let fail = |e: io::Error| Error::io("read", &place, e);
    let mut entries = Vec::new();
    for entry in fs::read_dir(&place).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            return Err(Error::usage(
                format!("{} has a name that is not UTF-8", entry.path().display()),
                "rename it, or write somewhere else with --out",
            ));
        };
        let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        let is_folder = entry.file_type().map_err(fail)?.is_dir();
        let known = if is_folder { Some(Folder::of(&entry.metadata().map_err(fail)?)) } else { None };
        entries.push((path, known));
    }
    Ok(entries)
}

/// `a`, `a/b` for `a/b/c`.
pub fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(move |(i, _)| &path[..i])
}

/// Which file it is, whatever it is called.
pub fn inode(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|m| (m.dev(), m.ino()))
}

/// A secret that others can read is wrong whatever it holds, and so is a file
/// for all that only its owner can read.
pub fn mode_is_wrong(meta: &fs::Metadata, secret: bool) -> bool {
    let mode = meta.permissions().mode();
    if secret { mode & 0o077 != 0 } else { mode & 0o044 != 0o044 }
}

/// Whether a file has this content.
pub fn has_digest(path: &Path, digest: &Digest) -> bool {
    use sha2::Digest as _;
    fs::read(path).is_ok_and(|bytes| sha2::Sha256::digest(bytes)[..] == digest[..])
}

/// A second name for a file; a copy where the file system has no links.
pub fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(e) if e.kind() != io::ErrorKind::NotFound && e.kind() != io::ErrorKind::AlreadyExists => {
            fs::copy(from, to).map(|_| ())
        }
        other => other,
    }
}

/// A new file, which must not exist. Its mode is what it should be whatever the
/// umask: a container's root without capabilities reads files as anybody does.
pub fn create(path: &Path, file: &File) -> io::Result<()> {
    let mode = if file.secret { 0o600 } else { 0o644 };
    match &file.content {
        Content::Bytes(bytes) => {
            let mut made = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
            made.set_permissions(fs::Permissions::from_mode(mode))?;
            made.write_all(bytes)
        }
        Content::OnDisk(_) => Err(io::Error::other("the file changed while it was being kept; render again")),
    }
}

/// Removes a folder and everything in it, if it is there.
pub fn remove_tree(path: &Path) -> Result<(), Error> {
    let gone = |e: &io::Error| e.kind() == io::ErrorKind::NotFound;
    let fail = |e: io::Error| Error::io("remove", path, e);
    // The credentials' folders are many: in parallel, one level down.
    let credentials = path.join("tree").join("credentials");
    if let Ok(entries) = fs::read_dir(&credentials) {
        let folders: Vec<PathBuf> =
            entries.flatten().map(|e| e.path()).filter(|p| !p.is_symlink() && p.is_dir()).collect();
        folders
            .par_iter()
            .try_for_each(|folder| fs::remove_dir_all(folder).or_else(|e| if gone(&e) { Ok(()) } else { Err(e) }))
            .map_err(fail)?;
    }
    match fs::remove_dir_all(path) {
        Err(e) if !gone(&e) => Err(fail(e)),
        _ => Ok(()),
    }
}
