//! Folders and files on disk: listing, linking, creating and removing them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::super::CREDENTIALS;
use super::super::bundle::{Digest, File, MANIFEST, Manifest, ManifestEntry, Names, join, split};
use crate::error::Error;
use crate::fault;

/// The content of the bundle's folder, compared with its manifest.
#[derive(Debug, Default)]
pub struct Listing {
    /// Folders by relative path; `""` is the bundle's folder itself.
    pub folders: BTreeMap<String, Folder>,
}

/// The content of one folder. Files that match the manifest are not listed, except in
/// `not_linked`.
#[derive(Debug, Default)]
pub struct Folder {
    /// Permission bits.
    pub mode: u32,
    /// Modification time in seconds and nanoseconds, read before the entries.
    pub changed: (i64, i64),
    /// Files that the manifest does not list.
    pub unmanaged: Vec<String>,
    /// Managed files whose content or permissions differ from the manifest.
    pub modified: Vec<String>,
    /// Managed files that do not exist.
    pub missing: Vec<String>,
    /// Unmodified managed files with link count 1, that is, not shared with the spare tree.
    pub not_linked: Vec<String>,
    /// Folders in it: relative path, permission bits, modification time.
    subfolders: Vec<(String, u32, (i64, i64))>,
}

impl Folder {
    /// Whether every managed file is present and unmodified.
    pub fn is_intact(&self) -> bool {
        self.modified.is_empty() && self.missing.is_empty()
    }
}

impl Listing {
    /// Lists everything below `root`. Empty if `root` does not exist.
    pub fn read(root: &Path, manifest: &Manifest) -> Result<Self, Error> {
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

    /// Whether such a file exists, managed or not.
    pub fn has(&self, manifest: &Manifest, folder: &str, name: &str) -> bool {
        let Some(found) = self.folders.get(folder) else { return false };
        if manifest.get(folder, name).is_some() {
            return !found.missing.iter().any(|n| n == name);
        }
        found.unmanaged.iter().any(|n| n == name)
    }

    /// Folders that hold no managed file, directly or further down: tenantry did not
    /// create them.
    pub fn unmanaged_folders<'l>(&'l self, manifest: &'l Manifest) -> impl Iterator<Item = &'l str> {
        let ours = manifest.folders.keys().map(String::as_str);
        let with_ours: BTreeSet<&str> = ours.flat_map(|folder| ancestors(folder).chain([folder])).collect();
        self.folders.keys().map(String::as_str).filter(move |f| !f.is_empty() && !with_ours.contains(f))
    }

    /// Unmanaged files, as folder and name.
    pub fn unmanaged(&self) -> impl Iterator<Item = (&str, &str)> {
        self.folders.iter().flat_map(|(path, folder)| folder.unmanaged.iter().map(move |n| (path.as_str(), n.as_str())))
    }
}

/// Compares one folder with the manifest's entries. `written` is the manifest's change time.
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
            // A folder at the path of a managed file is a folder, and the file is missing.
            _ if is_folder => {
                let meta = entry.metadata().map_err(fail)?;
                folder.subfolders.push((join(path, &name), mode_of(&meta), changed(&meta)));
            }
            _ if path.is_empty() && name == MANIFEST => {}
            None => folder.unmanaged.push(name),
            Some(listed) => {
                there += 1;
                let meta = entry.metadata().map_err(fail)?;
                if !is_unmodified(|| entry.path(), &meta, listed, written) {
                    folder.modified.push(name);
                } else if meta.nlink() < 2 {
                    folder.not_linked.push(name);
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

/// Whether a file is unmodified: its inode changed before the manifest was written, or
/// its content is the same. A file changed in the same clock tick as the manifest is read.
fn is_unmodified(
    place: impl Fn() -> PathBuf,
    meta: &fs::Metadata,
    listed: &ManifestEntry,
    written: Option<(i64, i64)>,
) -> bool {
    let is_older = written.is_some_and(|written| (meta.ctime(), meta.ctime_nsec()) < written);
    meta.is_file() && !mode_is_wrong(meta, listed.secret) && (is_older || has_digest(&place(), &listed.digest))
}

fn mode_of(meta: &fs::Metadata) -> u32 {
    meta.permissions().mode() & 0o7777
}

/// Modification time of a folder, in seconds and nanoseconds.
pub fn changed(meta: &fs::Metadata) -> (i64, i64) {
    (meta.mtime(), meta.mtime_nsec())
}

/// The name of an entry. An error if it is not UTF-8: the manifest is text.
pub fn utf8_name(entry: &fs::DirEntry) -> Result<String, Error> {
    entry.file_name().into_string().map_err(|_| {
        Error::usage(
            format!("{} has a name that is not UTF-8", entry.path().display()),
            "rename it, or write somewhere else with --out",
        )
    })
}

/// The folders above a path, outermost first: `a`, `a/b` for `a/b/c`.
pub fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(move |(i, _)| &path[..i])
}

/// Device and inode number, which identify a file under any name. `None` if it cannot be
/// read.
pub fn inode(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|m| (m.dev(), m.ino()))
}

/// Whether permissions are wrong: a secret that group or others can access, or a public
/// file that they cannot read.
pub fn mode_is_wrong(meta: &fs::Metadata, secret: bool) -> bool {
    let mode = meta.permissions().mode();
    if secret { mode & 0o077 != 0 } else { mode & 0o044 != 0o044 }
}

/// Whether a file's content has this SHA-256.
pub fn has_digest(path: &Path, digest: &Digest) -> bool {
    use sha2::Digest as _;
    fs::read(path).is_ok_and(|bytes| sha2::Sha256::digest(bytes)[..] == digest[..])
}

/// Creates a hard link; copies the file where the file system has no links.
pub fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(e) if e.kind() != io::ErrorKind::NotFound && e.kind() != io::ErrorKind::AlreadyExists => {
            fs::copy(from, to).map(|_| ())
        }
        other => other,
    }
}

/// Creates a file, which must not exist. The mode of a public file does not depend on
/// the umask: a container's root without capabilities is an ordinary reader, so `others`
/// must be able to read it.
pub fn create(path: &Path, file: &File) -> io::Result<()> {
    let mode = if file.secret { 0o600 } else { 0o644 };
    fault::step()?;
    let mut made = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    if !file.secret {
        made.set_permissions(Permissions::from_mode(mode))?;
    }
    made.write_all(&file.bytes)
}

/// Creates a managed folder in a tree, and its parents, unless they exist.
pub fn create_folders(tree: &Path, folder: &str) -> io::Result<()> {
    let create = || create_folder(&tree.join(folder), mode_of_managed(folder));
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

/// Folders of credentials are accessible to their owner only; nothing else is secret.
fn mode_of_managed(folder: &str) -> u32 {
    if folder == CREDENTIALS || split(folder).0 == CREDENTIALS { 0o700 } else { 0o755 }
}

/// Creates a folder with this mode, whatever the umask. Leaves an existing one as it is.
pub fn create_folder(place: &Path, mode: u32) -> io::Result<()> {
    let made = DirBuilder::new().mode(mode).create(place);
    match made.and_then(|()| fs::set_permissions(place, Permissions::from_mode(mode))) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Removes a file, if it exists.
pub fn remove_if_there(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound && e.kind() != io::ErrorKind::NotADirectory => {
            Err(Error::io("remove", path, e))
        }
        _ => Ok(()),
    }
}

/// Removes a folder and everything in it, if it exists.
pub fn remove_tree(path: &Path) -> Result<(), Error> {
    let gone = |e: &io::Error| e.kind() == io::ErrorKind::NotFound;
    let fail = |e: io::Error| Error::io("remove", path, e);
    // Tenants have a folder of credentials each: removes these in parallel first.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(secret: bool) -> ManifestEntry {
        File { bytes: b"text".to_vec(), secret }.entry()
    }

    fn manifest(paths: &[(&str, bool)]) -> Manifest {
        let mut manifest = Manifest::default();
        for (path, secret) in paths {
            let (folder, name) = split(path);
            manifest.insert(folder, name, entry(*secret));
        }
        manifest
    }

    #[test]
    fn the_folders_above_a_path_are_outermost_first() {
        let cases: [(&str, &[&str]); 4] = [("", &[]), ("a", &[]), ("a/b", &["a"]), ("a/b/c", &["a", "a/b"])];
        for (path, above) in cases {
            assert_eq!(ancestors(path).collect::<Vec<_>>(), above, "{path:?}");
        }
    }

    #[test]
    fn only_folders_of_credentials_are_private() {
        let cases = [
            ("credentials", 0o700),
            ("credentials/A", 0o700),
            ("nats", 0o755),
            ("", 0o755),
            ("credentials2", 0o755),
            ("x/credentials", 0o755),
        ];
        for (folder, mode) in cases {
            assert_eq!(mode_of_managed(folder), mode, "{folder:?}");
        }
    }

    #[test]
    fn permissions_are_wrong_if_a_secret_is_readable_or_a_public_file_is_not() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("file");
        fs::write(&path, "").expect("written");
        // Mode, wrong for a secret, wrong for a public file.
        let cases = [
            (0o600, false, true),
            (0o400, false, true),
            (0o700, false, true),
            (0o644, true, false),
            (0o640, true, true),
            (0o604, true, true),
            (0o666, true, false),
            (0o610, true, true),
        ];
        for (mode, for_secret, for_public) in cases {
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("changed");
            let meta = fs::metadata(&path).expect("there");
            assert_eq!((mode_is_wrong(&meta, true), mode_is_wrong(&meta, false)), (for_secret, for_public), "{mode:o}");
        }
    }

    #[test]
    fn a_listing_tells_modified_missing_unmanaged_and_unlinked_files_apart() {
        let root = tempfile::tempdir().expect("folder");
        let out = root.path().join("infra");
        let manifest = manifest(&[
            ("f/kept", false),
            ("f/linked", false),
            ("f/edited", false),
            ("f/gone", false),
            ("f/leaked", true),
        ]);
        assert!(Listing::read(&out, &manifest).expect("readable").folders.is_empty(), "there is no bundle yet");
        fs::create_dir_all(out.join("f/mine")).expect("folder");
        for name in ["kept", "linked"] {
            create(&out.join("f").join(name), &File::public("text")).expect("written");
        }
        fs::hard_link(out.join("f/linked"), root.path().join("spare")).expect("linked");
        create(&out.join("f/edited"), &File::public("other")).expect("written");
        create(&out.join("f/leaked"), &File::public("text")).expect("written");
        create(&out.join("f/mine/own"), &File::public("mine")).expect("written");
        let listing = Listing::read(&out, &manifest).expect("readable");
        let found = &listing.folders["f"];
        let mut modified = found.modified.clone();
        modified.sort();
        assert_eq!(modified, ["edited", "leaked"]);
        assert_eq!(
            (found.missing.as_slice(), found.not_linked.as_slice()),
            (["gone".to_owned()].as_slice(), ["kept".to_owned()].as_slice())
        );
        assert!(!found.is_intact());
        assert_eq!(listing.unmanaged().collect::<Vec<_>>(), [("f/mine", "own")]);
        assert_eq!(listing.unmanaged_folders(&manifest).collect::<Vec<_>>(), ["f/mine"]);
        let has = |folder, name| listing.has(&manifest, folder, name);
        assert!(has("f", "kept") && has("f", "edited") && has("f/mine", "own"));
        assert!(!has("f", "gone") && !has("f", "own") && !has("g", "kept"));
    }

    #[test]
    fn a_file_is_created_with_its_mode_and_never_overwrites() {
        let folder = tempfile::tempdir().expect("folder");
        for (name, file, mode) in [("public", File::public("1"), 0o644), ("secret", File::secret("2"), 0o600)] {
            let path = folder.path().join(name);
            create(&path, &file).expect("created");
            assert_eq!(mode_of(&fs::metadata(&path).expect("there")), mode);
            assert_eq!(create(&path, &file).map_err(|e| e.kind()), Err(io::ErrorKind::AlreadyExists));
            assert!(has_digest(&path, &file.entry().digest) && !has_digest(&path, &[0; 32]));
        }
    }

    #[test]
    fn folders_are_created_with_their_parents_and_removal_of_what_is_not_there_succeeds() {
        let root = tempfile::tempdir().expect("folder");
        let tree = root.path().join("tree");
        fs::create_dir(&tree).expect("folder");
        create_folders(&tree, "credentials/A").expect("created");
        create_folders(&tree, "credentials/A").expect("they may exist");
        for folder in ["credentials", "credentials/A"] {
            assert_eq!(mode_of(&fs::metadata(tree.join(folder)).expect("there")), 0o700, "{folder}");
        }
        remove_if_there(&tree.join("none")).expect("there is none");
        assert!(remove_if_there(&tree.join("credentials")).is_err(), "a folder is no file");
        remove_tree(root.path().join("none").as_path()).expect("there is none");
        remove_tree(&tree).expect("removed");
        assert!(!tree.exists());
    }

    #[test]
    fn a_link_has_the_same_inode_and_does_not_replace_a_file() {
        let root = tempfile::tempdir().expect("folder");
        let [from, to, none] = ["from", "to", "none"].map(|name| root.path().join(name));
        fs::write(&from, "text").expect("written");
        link_or_copy(&from, &to).expect("linked");
        assert!(inode(&to).is_some() && inode(&to) == inode(&from));
        assert_eq!(inode(&none), None);
        assert_eq!(link_or_copy(&from, &to).map_err(|e| e.kind()), Err(io::ErrorKind::AlreadyExists));
        assert_eq!(link_or_copy(&none, &to).map_err(|e| e.kind()), Err(io::ErrorKind::NotFound));
    }
}
