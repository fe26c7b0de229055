//! The bundle: every rendered file by path. Its manifest lists these files, so that a
//! later run knows which files are managed by tenantry.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
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
    /// What it is rendered from.
    pub provenance: Provenance,
}

/// What a bundle is rendered from, as far as another rendering over it has to agree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// The id of the root key that the credentials derive from. `None`: an earlier version wrote the manifest.
    pub root: Option<String>,
    /// Names of the user's own templates that replace built-in ones.
    pub templates: Vec<String>,
}

/// Begins the line with the id of the root key.
const ROOT: &str = "# root key: ";
/// Begins the line with the names of the user's own templates.
const TEMPLATES: &str = "# own templates: ";

impl Provenance {
    /// What the bundle in a folder was rendered from. Empty if there is none.
    pub fn read(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join(MANIFEST)).unwrap_or_default();
        text.strip_prefix(HEADER).map(|rest| Self::from_text(rest).0).unwrap_or_default()
    }

    fn to_text(&self) -> String {
        let root = self.root.iter().map(|root| format!("{ROOT}{root}\n"));
        let templates = Some(self.templates.join(" ")).filter(|names| !names.is_empty());
        root.chain(templates.map(|names| format!("{TEMPLATES}{names}\n"))).collect()
    }

    /// Parses the lines that it has in a manifest. Returns what follows them.
    fn from_text(text: &str) -> (Self, &str) {
        fn line<'t>(begin: &str, text: &'t str) -> Option<(&'t str, &'t str)> {
            text.strip_prefix(begin)?.split_once('\n')
        }
        let (root, text) = line(ROOT, text).map_or((None, text), |(root, rest)| (Some(root.to_owned()), rest));
        let (names, text) = line(TEMPLATES, text).unwrap_or(("", text));
        let templates = names.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        (Self { root, templates }, text)
    }
}

impl Bundle {
    /// The text of a file. `None` if there is no such file or it is not UTF-8.
    pub fn text(&self, path: &str) -> Option<&str> {
        std::str::from_utf8(&self.files.get(path)?.bytes).ok()
    }

    /// The manifest of these files.
    pub fn manifest(&self) -> Manifest {
        let files: Vec<_> = self.files.par_iter().map(|(path, file)| (path.as_str(), file.entry())).collect();
        let mut manifest = Manifest { provenance: self.provenance.clone(), ..Manifest::default() };
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
    /// What the bundle was rendered from.
    pub provenance: Provenance,
}

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
        text.push_str(&self.provenance.to_text());
        blocks.iter().for_each(|block| text.push_str(block));
        text
    }

    /// Parses a manifest. `None` if any line is malformed or its path could lead out of
    /// the bundle: then no file is known to be managed.
    pub fn from_text(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(HEADER)?;
        let (provenance, rest) = Provenance::from_text(rest);
        let lines = rest.par_lines();
        let mut manifest = Self { provenance, ..Self::default() };
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
        let root = Some("0123456789abcdef".to_owned());
        for (root, templates) in [(None, 0), (None, 1), (root.clone(), 0), (root, 2)] {
            let templates = ["a/b.hbs", "c.hbs"][..templates].iter().map(|name| (*name).to_owned()).collect();
            bundle.provenance = Provenance { root, templates };
            let manifest = Manifest::from_text(&bundle.manifest().to_text()).expect("as written");
            assert_eq!((manifest.provenance.clone(), manifest.count()), (bundle.provenance.clone(), 4));
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
