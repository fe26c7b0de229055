//! The bundle: every rendered file by path. Its manifest lists these files, so that a
//! later run knows which files are managed by tenantry.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

/// The manifest's path in the bundle.
pub const MANIFEST: &str = ".tenantry-manifest";

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// One rendered file.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// The content.
    pub bytes: Vec<u8>,
    /// Whether it is readable by its owner only (mode 0600, otherwise 0644).
    pub secret: bool,
}

impl std::fmt::Debug for File {
    /// Shows the length and not the content, which may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

impl File {
    /// A file that everyone may read (mode 0644).
    pub fn public(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), secret: false }
    }

    /// A file that only its owner may read (mode 0600).
    pub fn secret(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), secret: true }
    }

    /// Its entry in the manifest.
    pub fn entry(&self) -> ManifestEntry {
        ManifestEntry { digest: Sha256::digest(&self.bytes).into(), secret: self.secret }
    }
}

/// Every rendered file.
#[derive(Debug, Clone, Default)]
pub struct Bundle {
    /// The files by path, relative to the bundle and separated by `/`.
    pub files: BTreeMap<String, File>,
    /// The id of the root key.
    pub root: Option<String>,
}

impl Bundle {
    /// The text of a file. `None` if there is no such file or it is not UTF-8.
    pub fn text(&self, path: &str) -> Option<&str> {
        std::str::from_utf8(&self.files.get(path)?.bytes).ok()
    }

    /// The manifest of these files.
    pub fn manifest(&self) -> Manifest {
        let files: Vec<_> = self.files.par_iter().map(|(path, file)| (path.as_str(), file.entry())).collect();
        let mut manifest = Manifest { root: self.root.clone(), ..Manifest::default() };
        for (path, entry) in files {
            let (folder, name) = split(path);
            manifest.insert(folder, name, entry);
        }
        manifest
    }
}

/// Splits a path into folder, `""` for the bundle itself, and file name.
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Joins folder and file name into a path: the reverse of [`split`].
pub fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// The manifest's entry of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManifestEntry {
    /// Of the content.
    pub digest: Digest,
    /// Whether it is readable by its owner only.
    pub secret: bool,
}

/// The entries of one folder, by file name.
pub type Names = BTreeMap<String, ManifestEntry>;

/// The list of a bundle's managed files. Files that are not listed are unmanaged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Entries by folder, `""` for the bundle itself. An unchanged folder is shared with
    /// the next manifest. The manifest file itself is not listed.
    pub folders: BTreeMap<String, Arc<Names>>,
    /// The id of the root key that the credentials derive from. `None`: an earlier version wrote the manifest.
    pub root: Option<String>,
}

/// Begins the line with the id of the root key.
const ROOT: &str = "# root key: ";
const HEADER: &str = "# Files made by tenantry: digest, mode, path. Whatever is not listed is left alone.\n";

impl Manifest {
    /// Adds or replaces the entry of a file.
    pub fn insert(&mut self, folder: &str, name: &str, entry: ManifestEntry) {
        let names = match self.folders.get_mut(folder) {
            Some(names) => names,
            None => self.folders.entry(folder.to_owned()).or_default(),
        };
        Arc::make_mut(names).insert(name.to_owned(), entry);
    }

    /// The entry of a file. `None` if it is not listed.
    pub fn get(&self, folder: &str, name: &str) -> Option<&ManifestEntry> {
        self.folders.get(folder)?.get(name)
    }

    /// Every entry, as folder, file name and entry.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &ManifestEntry)> {
        self.folders
            .iter()
            .flat_map(|(folder, names)| names.iter().map(|(name, entry)| (folder.as_str(), name.as_str(), entry)))
    }

    /// The number of files, the manifest included.
    pub fn count(&self) -> usize {
        1 + self.folders.values().map(|names| names.len()).sum::<usize>()
    }

    /// The text of the manifest file, which [`Self::from_text`] parses.
    pub fn to_text(&self) -> String {
        let blocks: Vec<String> = self.folders.par_iter().map(|(folder, names)| block(folder, names)).collect();
        let mut text = String::with_capacity(HEADER.len() + blocks.iter().map(String::len).sum::<usize>());
        text.push_str(HEADER);
        if let Some(root) = &self.root {
            text.push_str(&format!("{ROOT}{root}\n"));
        }
        blocks.iter().for_each(|block| text.push_str(block));
        text
    }

    /// Parses a manifest. `None` if any line is malformed or its path could lead out of
    /// the bundle: then no file is known to be managed.
    pub fn from_text(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(HEADER)?;
        let (root, rest) = match rest.strip_prefix(ROOT).and_then(|rest| rest.split_once('\n')) {
            Some((root, rest)) => (Some(root.to_owned()), rest),
            None => (None, rest),
        };
        let lines = rest.par_lines();
        let mut manifest = Self { root, ..Self::default() };
        for (folder, name, entry) in lines.map(read_line).collect::<Option<Vec<_>>>()? {
            manifest.insert(folder, name, entry);
        }
        Some(manifest)
    }
}

fn block(folder: &str, names: &Names) -> String {
    let mut text = String::with_capacity(names.len() * (96 + folder.len()));
    for (name, entry) in names {
        data_encoding::HEXLOWER.encode_append(&entry.digest, &mut text);
        text.push_str(if entry.secret { " 0600 " } else { " 0644 " });
        text.push_str(folder);
        text.push_str(if folder.is_empty() { "" } else { "/" });
        text.push_str(name);
        text.push('\n');
    }
    text
}

fn read_line(line: &str) -> Option<(&str, &str, ManifestEntry)> {
    let (digest, rest) = line.split_at_checked(64)?;
    let (mode, path) = rest.strip_prefix(' ')?.split_once(' ')?;
    let secret = match mode {
        "0600" => true,
        "0644" => false,
        _ => return None,
    };
    let mut entry = ManifestEntry { digest: Digest::default(), secret };
    data_encoding::HEXLOWER.decode_mut(digest.as_bytes(), &mut entry.digest).ok()?;
    let inside = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let (folder, name) = split(path);
    inside.then_some((folder, name, entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_goes_around_and_does_not_lead_outside() {
        let mut bundle = Bundle::default();
        bundle.files.insert("a/b.env".into(), File::secret("x"));
        bundle.files.insert("c d".into(), File::public("y"));
        let manifest = bundle.manifest();
        let text = manifest.to_text();
        assert_eq!(Manifest::from_text(&text), Some(manifest));
        for wrong in [text.replace("a/b", "../b"), text.replace("a/b", "/b"), text.replace('#', ""), text + "more"] {
            assert_eq!(Manifest::from_text(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_malformed_line_makes_the_manifest_unreadable() {
        let digest = "ab".repeat(32);
        let good = format!("{digest} 0644 nats/accounts.conf");
        assert_eq!(Manifest::from_text(&format!("{HEADER}{good}\n")).map(|m| m.count()), Some(2));
        let malformed = [
            String::new(),
            digest.clone(),
            format!("{digest} 0644"),
            format!("{digest}0644 a"),
            format!("{} 0644 a", digest.to_uppercase()),
            format!("{} 0644 a", "zz".repeat(32)),
            format!("{digest} 0644 /a"),
            format!("{digest} 0644 a//b"),
            format!("{digest} 0644 a/"),
            format!("{digest} 0644 ./a"),
            format!("{digest} 0644 a/../b"),
            format!("{digest} 0644 "),
        ];
        for line in malformed {
            assert_eq!(Manifest::from_text(&format!("{HEADER}{good}\n{line}\n")), None, "{line:?}");
        }
        assert_eq!(Manifest::from_text(&good), None, "without its header");
    }

    #[test]
    fn a_manifest_is_parsed_back_with_modes_and_the_bundle_itself() {
        let mut bundle = Bundle::default();
        assert_eq!(bundle.manifest().count(), 1, "the manifest counts itself");
        for (path, file) in
            [("top", File::public("1")), ("credentials/A/app.nk", File::secret("2")), ("a b/c d", File::public(""))]
        {
            bundle.files.insert(path.into(), file);
        }
        let manifest = Manifest::from_text(&bundle.manifest().to_text()).expect("as written");
        let entry = |folder, name| manifest.get(folder, name).copied();
        assert_eq!(entry("", "top"), Some(bundle.files["top"].entry()));
        assert!(entry("credentials/A", "app.nk").is_some_and(|e| e.secret));
        assert!(entry("a b", "c d").is_some_and(|e| !e.secret));
        assert_eq!(entry("credentials", "app.nk"), None);
        assert_eq!((manifest.count(), manifest.iter().count()), (4, 3));
    }

    #[test]
    fn a_path_is_split_at_its_last_slash_and_joined_again() {
        for (path, parts) in [("a", ("", "a")), ("a/b", ("a", "b")), ("a/b/c", ("a/b", "c"))] {
            assert_eq!(split(path), parts);
            assert_eq!(join(parts.0, parts.1), path);
        }
    }

    #[test]
    fn debug_output_of_a_file_shows_no_content() {
        let shown = format!("{:?}", File::secret("SUAEXAMPLE"));
        assert_eq!(shown, "10 bytes");
    }
}
