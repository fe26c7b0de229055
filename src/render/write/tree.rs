//! Folders and files on disk: listing, creating and removing them.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::super::CREDENTIALS;
use super::super::bundle::{Digest, File, MANIFEST, Manifest, ManifestEntry, Names, split};
use crate::error::Error;
use crate::fault;

/// What is in the managed folders of a bundle, compared with its manifest.
#[derive(Debug, Default)]
pub struct Listing {
    /// Existing folders by relative path; `""` is the bundle's folder itself.
    pub folders: BTreeMap<String, Folder>,
}

/// The content of one folder. Files that match the manifest are not listed.
#[derive(Debug, Default)]
pub struct Folder {
    /// Everything else, folders included.
    pub unmanaged: Vec<String>,
    /// Managed files whose content or permissions differ from the manifest.
    pub modified: Vec<String>,
    /// Managed files that do not exist.
    pub missing: Vec<String>,
}

impl Folder {
    /// Whether every managed file is present and unmodified.
    pub fn is_intact(&self) -> bool {
        self.modified.is_empty() && self.missing.is_empty()
    }
}

impl Listing {
    /// Lists the folders of `manifest` below `root`. Empty if `root` does not exist.
    pub fn read(root: &Path, manifest: &Manifest) -> Result<Self, Error> {
        let written = fs::metadata(root.join(MANIFEST)).ok().map(|m| (m.ctime(), m.ctime_nsec()));
        let look = |(path, names): (&String, &Arc<Names>)| match look_into(&root.join(path), names, written) {
            Ok(folder) => Some(Ok((path.clone(), folder))),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => None,
            Err(e) => Some(Err(Error::io("read", &root.join(path), e))),
        };
        let folders = manifest.folders.par_iter().filter_map(look).collect::<Result<_, _>>()?;
        Ok(Self { folders })
    }

    /// Whether a managed file exists.
    pub fn has(&self, folder: &str, name: &str) -> bool {
        self.folders.get(folder).is_some_and(|found| !found.missing.iter().any(|n| n == name))
    }
}

/// Compares one folder with the manifest's entries. `written` is the manifest's change time.
fn look_into(place: &Path, names: &Names, written: Option<(i64, i64)>) -> io::Result<Folder> {
    let (mut folder, mut there) = (Folder::default(), 0);
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        let name = entry.file_name();
        match name.to_str().and_then(|name| names.get(name).map(|listed| (name, listed))) {
            // A folder at the path of a managed file is a folder, and the file is missing.
            Some(_) if entry.file_type()?.is_dir() => {}
            Some((name, listed)) => {
                there += 1;
                if !is_unmodified(|| entry.path(), &entry.metadata()?, listed, written) {
                    folder.modified.push(name.to_owned());
                }
            }
            // No rendered file has a name that is not UTF-8.
            None => folder.unmanaged.extend(name.into_string()),
        }
    }
    if names.len() != there {
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

pub fn mode_of(meta: &fs::Metadata) -> u32 {
    meta.permissions().mode() & 0o7777
}

/// The folders above a path, outermost first: `a`, `a/b` for `a/b/c`.
pub fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(move |(i, _)| &path[..i])
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
    let credentials = path.join("staged").join(CREDENTIALS);
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
    fn a_listing_tells_modified_missing_and_unmanaged_files_apart() {
        let root = tempfile::tempdir().expect("folder");
        let out = root.path().join("infra");
        let manifest = manifest(&[
            ("f/kept", false),
            ("f/edited", false),
            ("f/gone", false),
            ("f/folder", false),
            ("f/leaked", true),
            ("none/gone", false),
        ]);
        assert!(Listing::read(&out, &manifest).expect("readable").folders.is_empty(), "there is no bundle yet");
        fs::create_dir_all(out.join("f/folder")).expect("folder");
        fs::create_dir_all(out.join("f/mine")).expect("folder");
        create(&out.join("f/kept"), &File::public("text")).expect("written");
        create(&out.join("f/edited"), &File::public("other")).expect("written");
        create(&out.join("f/leaked"), &File::public("text")).expect("written");
        create(&out.join("f/own"), &File::public("mine")).expect("written");
        let listing = Listing::read(&out, &manifest).expect("readable");
        let found = &listing.folders["f"];
        let sorted = |names: &[String]| {
            let mut names = names.to_vec();
            names.sort();
            names
        };
        assert_eq!(sorted(&found.modified), ["edited", "leaked"]);
        assert_eq!(sorted(&found.missing), ["folder", "gone"]);
        assert_eq!(sorted(&found.unmanaged), ["mine", "own"]);
        assert!(!found.is_intact());
        let has = |folder, name| listing.has(folder, name);
        assert!(has("f", "kept") && has("f", "edited"));
        assert!(!has("f", "gone") && !has("none", "gone"));
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
}
