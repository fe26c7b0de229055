//! Writing a bundle: all of it or none of it. The new tree is built beside the
//! old one and the two change places in one system call, so that a kill at any
//! moment leaves the one or the other. Files that are not in the manifest are
//! not ours: they move along untouched.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::bundle::{Bundle, Content, Digest, File, MANIFEST, Manifest};
use crate::error::Error;

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

/// Folders whose inode is kept, because a running container has them mounted.
const MOUNTED: &[&str] = &["nats"];

/// The place a bundle is written to, locked against other writers.
pub struct Target {
    out: PathBuf,
    work: PathBuf,
    manifest: Option<Manifest>,
    manifest_changed: Option<(i64, i64)>,
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
        let place = out.join(MANIFEST);
        let manifest = fs::read_to_string(&place).ok().and_then(|text| Manifest::from_text(&text));
        let manifest_changed = fs::metadata(&place).ok().map(|m| (m.ctime(), m.ctime_nsec()));
        Ok(Self { out, work, manifest, manifest_changed, _lock: lock })
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
        (meta.ctime(), meta.ctime_nsec()) < since || has_digest(&place, digest)
    }

    /// Brings the folder to what the bundle says.
    pub fn write(&self, bundle: &Bundle) -> Result<Outcome, Error> {
        remove_tree(&self.work)?;
        let mut files: BTreeMap<&str, &File> = bundle.files.iter().map(|(path, file)| (path.as_str(), file)).collect();
        let manifest = bundle.manifest();
        let manifest_file = File::public(manifest.to_text());
        files.insert(MANIFEST, &manifest_file);
        let there = Listing::of(&self.out)?;
        self.refuse_to_overwrite(&files, &there)?;
        let (kept, made): (Vec<_>, Vec<_>) =
            files.into_par_iter().partition(|(path, file)| there.files.contains(*path) && self.is_as(path, file));
        let ours = |path: &str| self.is_ours(path);
        let removed = there
            .files
            .iter()
            .filter(|path| ours(path) && path.as_str() != MANIFEST && !bundle.files.contains_key(*path))
            .count();
        let outcome = Outcome { written: made.len(), unchanged: kept.len(), removed };
        if made.is_empty() && removed == 0 {
            return Ok(outcome);
        }
        let foreign: Vec<&str> =
            there.files.iter().map(String::as_str).filter(|p| !ours(p) && !bundle.files.contains_key(*p)).collect();
        self.stage(&made, &kept, &foreign, &there)?;
        self.exchange()?;
        self.keep_mounted_folders()?;
        self.rescue_latecomers(&there)?;
        remove_tree(&self.work)?;
        Ok(outcome)
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
        let place = self.out.join(path);
        let Ok(meta) = fs::symlink_metadata(&place) else { return false };
        if !meta.is_file() || mode_is_wrong(&meta, file.secret) {
            return false;
        }
        match &file.content {
            Content::Bytes(bytes) => meta.len() == bytes.len() as u64 && fs::read(&place).is_ok_and(|found| found == *bytes),
            Content::OnDisk(digest) => self.is_untouched(path, digest, file.secret),
        }
    }

    fn tree(&self) -> PathBuf {
        self.work.join("tree")
    }

    /// Builds the new tree: new files written, kept and foreign ones linked.
    fn stage(&self, made: &[(&str, &File)], kept: &[(&str, &File)], foreign: &[&str], there: &Listing) -> Result<(), Error> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |e: io::Error| Error::io("write", &path, e)
        };
        let private = |path: &Path| DirBuilder::new().mode(0o700).create(path);
        private(&self.work).map_err(io(&self.work))?;
        fs::write(self.work.join(".gitignore"), "*\n").map_err(io(&self.work))?;
        let tree = self.tree();
        DirBuilder::new().mode(there.mode_of("").unwrap_or(0o755)).create(&tree).map_err(io(&tree))?;
        let ours = made.iter().chain(kept).map(|(path, file)| (*path, file.secret));
        let mut folders: BTreeMap<&str, u32> = BTreeMap::new();
        for (path, secret) in ours {
            for folder in ancestors(path) {
                let mode = folders.entry(folder).or_insert(0o755);
                if secret {
                    *mode = 0o700;
                }
            }
        }
        for path in foreign.iter().flat_map(|p| ancestors(p)).chain(there.foreign_folders(|p| self.is_ours(p))) {
            folders.entry(path).or_insert_with(|| there.mode_of(path).unwrap_or(0o755));
        }
        for (folder, mode) in folders {
            let place = tree.join(folder);
            DirBuilder::new().mode(mode).create(&place).map_err(io(&place))?;
        }
        let linked: Vec<&str> = kept.iter().map(|(path, _)| *path).chain(foreign.iter().copied()).collect();
        linked.par_iter().try_for_each(|path| {
            let place = tree.join(path);
            link_or_copy(&self.out.join(path), &place).map_err(io(&place))
        })?;
        made.par_iter().filter(|(path, _)| *path != MANIFEST).try_for_each(|(path, file)| {
            let place = tree.join(path);
            create(&place, file).map_err(io(&place))
        })?;
        // The manifest comes last: a file changed after it was not changed by us.
        made.iter().filter(|(path, _)| *path == MANIFEST).try_for_each(|(path, file)| {
            let place = tree.join(path);
            create(&place, file).map_err(io(&place))
        })
    }

    /// The one moment at which the old becomes the new.
    fn exchange(&self) -> Result<(), Error> {
        let (tree, fail) = (self.tree(), |e: io::Error| Error::io("replace", &self.out, e));
        if !self.out.exists() {
            return fs::rename(&tree, &self.out).map_err(fail);
        }
        match renameat_with(CWD, &tree, CWD, &self.out, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(()),
            // A file system that cannot exchange: two renames, with an instant between them.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
                let old = self.work.join("old");
                fs::rename(&self.out, &old).map_err(fail)?;
                fs::rename(&tree, &self.out).map_err(fail)?;
                fs::rename(&old, &tree).map_err(fail)
            }
            Err(e) => Err(fail(e.into())),
        }
    }

    /// A container sees a mounted folder by its inode. The old folder gets the
    /// new files and goes back to its place, so that a reload finds them.
    fn keep_mounted_folders(&self) -> Result<(), Error> {
        for folder in MOUNTED {
            let (new, old) = (self.out.join(folder), self.tree().join(folder));
            if !old.is_dir() || !new.is_dir() {
                continue;
            }
            let fail = |e: io::Error| Error::io("replace", &new, e);
            let names = |folder: &Path| -> io::Result<BTreeSet<std::ffi::OsString>> {
                fs::read_dir(folder)?.map(|e| e.map(|e| e.file_name())).collect()
            };
            let (wanted, stale) = (names(&new).map_err(fail)?, names(&old).map_err(fail)?);
            if wanted.iter().any(|name| new.join(name).is_dir()) {
                continue;
            }
            for name in &wanted {
                let step = old.join(format!(".tenantry-{}", name.to_string_lossy()));
                link_or_copy(&new.join(name), &step).and_then(|()| fs::rename(&step, old.join(name))).map_err(fail)?;
                // Two names of one inode: rename does nothing and leaves the first.
                let _ = fs::remove_file(&step);
            }
            for name in stale.difference(&wanted) {
                fs::remove_file(old.join(name)).map_err(fail)?;
            }
            if let Err(e) = renameat_with(CWD, &old, CWD, &new, RenameFlags::EXCHANGE)
                && !matches!(e, rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP)
            {
                return Err(fail(e.into()));
            }
        }
        Ok(())
    }

    /// Files that somebody made or replaced while the new tree was built.
    fn rescue_latecomers(&self, before: &Listing) -> Result<(), Error> {
        let tree = self.tree();
        if !tree.exists() {
            return Ok(());
        }
        for path in Listing::of(&tree)?.files {
            let (old, new) = (tree.join(&path), self.out.join(&path));
            let late = !before.files.contains(&path);
            let replaced = || !self.is_ours(&path) && inode(&old) != inode(&new);
            if late && !new.exists() || !late && new.exists() && replaced() && !before.claimed(&path, self) {
                let fail = |e: io::Error| Error::io("keep", &new, e);
                if let Some(parent) = new.parent() {
                    fs::create_dir_all(parent).map_err(fail)?;
                }
                fs::rename(&old, &new).map_err(fail)?;
            }
        }
        Ok(())
    }
}

/// What is in a folder, by relative path.
#[derive(Debug, Default)]
struct Listing {
    /// Everything but folders.
    files: BTreeSet<String>,
    /// Folders with their modes; `""` is the folder itself.
    folders: BTreeMap<String, u32>,
}

impl Listing {
    fn of(root: &Path) -> Result<Self, Error> {
        let mut listing = Self::default();
        let Ok(meta) = fs::metadata(root) else { return Ok(listing) };
        listing.folders.insert(String::new(), meta.permissions().mode() & 0o7777);
        let mut level = vec![String::new()];
        while !level.is_empty() {
            let found = level.par_iter().map(|folder| read_folder(root, folder)).collect::<Result<Vec<_>, _>>()?;
            level.clear();
            for (path, mode) in found.into_iter().flatten() {
                match mode {
                    Some(mode) => {
                        level.push(path.clone());
                        listing.folders.insert(path, mode);
                    }
                    None => {
                        listing.files.insert(path);
                    }
                }
            }
        }
        Ok(listing)
    }

    fn mode_of(&self, folder: &str) -> Option<u32> {
        self.folders.get(folder).copied()
    }

    /// Folders in which nothing is ours, and which did not become empty by
    /// what we remove: somebody else made them.
    fn foreign_folders(&self, is_ours: impl Fn(&str) -> bool) -> impl Iterator<Item = &str> {
        let with_ours: BTreeSet<&str> =
            self.files.iter().filter(|p| is_ours(p)).flat_map(|p| ancestors(p)).collect();
        self.folders.keys().map(String::as_str).filter(move |f| !f.is_empty() && !with_ours.contains(f))
    }

    /// Whether a file that was not ours became ours because it was the same.
    fn claimed(&self, path: &str, target: &Target) -> bool {
        self.files.contains(path)
            && fs::read_to_string(target.out.join(MANIFEST))
                .ok()
                .and_then(|text| Manifest::from_text(&text))
                .is_some_and(|m| m.files.contains_key(path))
    }
}

/// The entries of one folder; folders come with their mode.
fn read_folder(root: &Path, folder: &str) -> Result<Vec<(String, Option<u32>)>, Error> {
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
        let mode = if is_folder {
            Some(entry.metadata().map_err(fail)?.permissions().mode() & 0o7777)
        } else {
            None
        };
        entries.push((path, mode));
    }
    Ok(entries)
}

/// `a`, `a/b` for `a/b/c`.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(move |(i, _)| &path[..i])
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|m| (m.dev(), m.ino()))
}

/// A secret that others can read is wrong whatever it holds.
fn mode_is_wrong(meta: &fs::Metadata, secret: bool) -> bool {
    secret && meta.permissions().mode() & 0o077 != 0
}

fn has_digest(path: &Path, digest: &Digest) -> bool {
    use sha2::Digest as _;
    fs::read(path).is_ok_and(|bytes| sha2::Sha256::digest(bytes)[..] == digest[..])
}

fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(e) if e.kind() != io::ErrorKind::NotFound && e.kind() != io::ErrorKind::AlreadyExists => {
            fs::copy(from, to).map(|_| ())
        }
        other => other,
    }
}

fn create(path: &Path, file: &File) -> io::Result<()> {
    let mode = if file.secret { 0o600 } else { 0o644 };
    match &file.content {
        Content::Bytes(bytes) => {
            OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(bytes)
        }
        Content::OnDisk(_) => Err(io::Error::other("the file changed while it was being kept; render again")),
    }
}

fn remove_tree(path: &Path) -> Result<(), Error> {
    let gone = |e: &io::Error| e.kind() == io::ErrorKind::NotFound;
    let fail = |e: io::Error| Error::io("remove", path, e);
    // The credentials' folders are many: in parallel, one level down.
    let credentials = path.join("tree").join("credentials");
    if let Ok(entries) = fs::read_dir(&credentials) {
        let folders: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| !p.is_symlink() && p.is_dir()).collect();
        folders.par_iter().try_for_each(|folder| fs::remove_dir_all(folder).or_else(|e| if gone(&e) { Ok(()) } else { Err(e) })).map_err(fail)?;
    }
    match fs::remove_dir_all(path) {
        Err(e) if !gone(&e) => Err(fail(e)),
        _ => Ok(()),
    }
}
