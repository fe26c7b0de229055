//! Folders and files on disk: what is there, linking, creating, removing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::super::CREDENTIALS;
use super::super::bundle::{Digest, Entry, File, MANIFEST, Manifest, Names, join, split};
use crate::error::Error;

/// What is in the bundle's folder, beside what its manifest says.
#[derive(Debug, Default)]
pub struct Listing {
    /// By relative path; `""` is the folder itself.
    pub folders: BTreeMap<String, Folder>,
}

/// What is in one folder. What is as the manifest says is not named.
#[derive(Debug, Default)]
pub struct Folder {
    /// Its permission bits.
    pub mode: u32,
    /// When its entries last changed, read before they were.
    pub changed: (i64, i64),
    /// Files that are not ours.
    pub foreign: Vec<String>,
    /// Ours, and not as they were written.
    pub touched: Vec<String>,
    /// Ours, and not there.
    pub missing: Vec<String>,
    /// Ours and as they were written, but with no second name: not the spare tree's.
    pub strangers: Vec<String>,
    /// Folders in it, by relative path, with their metadata.
    subfolders: Vec<(String, u32, (i64, i64))>,
}

impl Folder {
    /// Whether everything of ours is as it was written.
    pub fn is_intact(&self) -> bool {
        self.touched.is_empty() && self.missing.is_empty()
    }
}

impl Listing {
    /// Looks at everything below `root`.
    pub fn of(root: &Path, manifest: &Manifest) -> Result<Self, Error> {
        let mut listing = Self::default();
        let Ok(meta) = fs::metadata(root) else { return Ok(listing) };
        let written = fs::metadata(root.join(MANIFEST)).ok().map(|m| (m.ctime(), m.ctime_nsec()));
        let mut level = vec![(String::new(), mode_of(&meta), changed(&meta))];
        while !level.is_empty() {
            let look = |(path, mode, changed): (String, u32, (i64, i64))| {
                let names = manifest.folders.get(&path).map(AsRef::as_ref);
                let folder = Folder { mode, changed, ..Folder::default() };
                look_into(root, &path, folder, names, written).map(|folder| (path, folder))
            };
            let mut found = level.into_par_iter().map(look).collect::<Result<Vec<_>, _>>()?;
            level = found.iter_mut().flat_map(|(_, folder)| std::mem::take(&mut folder.subfolders)).collect();
            listing.folders.extend(found);
        }
        Ok(listing)
    }

    /// Whether there is such a file, ours or not.
    pub fn has(&self, manifest: &Manifest, folder: &str, name: &str) -> bool {
        let Some(found) = self.folders.get(folder) else { return false };
        if manifest.get(folder, name).is_some() {
            return !found.missing.iter().any(|n| n == name);
        }
        found.foreign.iter().any(|n| n == name)
    }

    /// Folders in which nothing is ours, and which did not become empty by
    /// what we remove: somebody else made them.
    pub fn foreign_folders<'l>(&'l self, manifest: &'l Manifest) -> impl Iterator<Item = &'l str> {
        let ours = manifest.folders.keys().map(String::as_str);
        let with_ours: BTreeSet<&str> = ours.flat_map(|folder| ancestors(folder).chain([folder])).collect();
        self.folders.keys().map(String::as_str).filter(move |f| !f.is_empty() && !with_ours.contains(f))
    }

    /// Files that are not ours, as folder and name.
    pub fn foreign(&self) -> impl Iterator<Item = (&str, &str)> {
        self.folders.iter().flat_map(|(path, folder)| folder.foreign.iter().map(move |n| (path.as_str(), n.as_str())))
    }
}

/// Compares one folder with what the manifest says of it.
fn look_into(
    root: &Path,
    path: &str,
    mut folder: Folder,
    names: Option<&Names>,
    written: Option<(i64, i64)>,
) -> Result<Folder, Error> {
    let place = root.join(path);
    let fail = |e: io::Error| Error::io("read", &place, e);
    let mut there = 0;
    for entry in fs::read_dir(&place).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = utf8_name(&entry)?;
        let is_folder = entry.file_type().map_err(fail)?.is_dir();
        match names.and_then(|names| names.get(&name)) {
            // A folder in the place of a file of ours is a folder.
            _ if is_folder => {
                let meta = entry.metadata().map_err(fail)?;
                folder.subfolders.push((join(path, &name), mode_of(&meta), changed(&meta)));
            }
            _ if path.is_empty() && name == MANIFEST => {}
            None => folder.foreign.push(name),
            Some(said) => {
                there += 1;
                let meta = entry.metadata().map_err(fail)?;
                if !is_as_written(|| entry.path(), &meta, said, written) {
                    folder.touched.push(name);
                } else if meta.nlink() < 2 {
                    folder.strangers.push(name);
                }
            }
        }
    }
    if let Some(names) = names.filter(|names| names.len() != there) {
        let gone = |name: &&String| !place.join(name).symlink_metadata().is_ok_and(|m| !m.is_dir());
        folder.missing = names.keys().filter(gone).cloned().collect();
    }
    Ok(folder)
}

/// Unchanged since the manifest was made, or else with the same content. A
/// file touched in the manifest's own clock tick is read.
fn is_as_written(place: impl Fn() -> PathBuf, meta: &fs::Metadata, said: &Entry, written: Option<(i64, i64)>) -> bool {
    let is_older = written.is_some_and(|written| (meta.ctime(), meta.ctime_nsec()) < written);
    meta.is_file() && !mode_is_wrong(meta, said.secret) && (is_older || has_digest(&place(), &said.digest))
}

fn mode_of(meta: &fs::Metadata) -> u32 {
    meta.permissions().mode() & 0o7777
}

/// When a folder's entries last changed.
pub fn changed(meta: &fs::Metadata) -> (i64, i64) {
    (meta.mtime(), meta.mtime_nsec())
}

/// An entry's name, which the manifest can hold.
pub fn utf8_name(entry: &fs::DirEntry) -> Result<String, Error> {
    entry.file_name().into_string().map_err(|_| {
        Error::usage(
            format!("{} has a name that is not UTF-8", entry.path().display()),
            "rename it, or write somewhere else with --out",
        )
    })
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

/// A new file, which must not exist. A public one's mode is what it should be
/// whatever the umask: a container's root without capabilities reads files as
/// anybody does.
pub fn create(path: &Path, file: &File) -> io::Result<()> {
    let mode = if file.secret { 0o600 } else { 0o644 };
    let mut made = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    if !file.secret {
        made.set_permissions(Permissions::from_mode(mode))?;
    }
    made.write_all(&file.bytes)
}

/// A folder of ours in a tree, and those around it, if they are not there.
pub fn create_folders(tree: &Path, folder: &str) -> io::Result<()> {
    let create = || create_folder(&tree.join(folder), mode_of_ours(folder));
    if folder.is_empty() {
        return Ok(());
    }
    match create() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            create_folders(tree, split(folder).0)?;
            create()
        }
        made => made,
    }
}

/// What holds credentials is its owner's; nothing else of ours is secret.
fn mode_of_ours(folder: &str) -> u32 {
    if folder == CREDENTIALS || split(folder).0 == CREDENTIALS { 0o700 } else { 0o755 }
}

/// A new folder, with this mode whatever the umask; or what is there.
pub fn create_folder(place: &Path, mode: u32) -> io::Result<()> {
    let made = DirBuilder::new().mode(mode).create(place);
    match made.and_then(|()| fs::set_permissions(place, Permissions::from_mode(mode))) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Removes a file, if it is there.
pub fn remove_if_there(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound && e.kind() != io::ErrorKind::NotADirectory => {
            Err(Error::io("remove", path, e))
        }
        _ => Ok(()),
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
