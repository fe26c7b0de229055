//! Everything rendered: path to bytes. And the manifest, by which a later run
//! knows which files are tenantry's.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

/// The manifest's path in the bundle.
pub const MANIFEST: &str = ".tenantry-manifest";

/// A SHA-256.
pub type Digest = [u8; 32];

/// One rendered file.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// What it holds.
    pub bytes: Vec<u8>,
    /// Whether only its owner may read it.
    pub secret: bool,
}

impl std::fmt::Debug for File {
    /// Never the bytes: they may be a seed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

impl File {
    /// A file for everybody's eyes.
    pub fn public(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), secret: false }
    }

    /// A file for its owner's eyes.
    pub fn secret(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), secret: true }
    }

    /// What the manifest says of it.
    pub fn entry(&self) -> Entry {
        Entry { digest: Sha256::digest(&self.bytes).into(), secret: self.secret }
    }
}

/// Everything rendered, by path.
#[derive(Debug, Clone, Default)]
pub struct Bundle {
    /// The files; paths are relative, with `/`.
    pub files: BTreeMap<String, File>,
}

impl Bundle {
    /// The text of a file.
    pub fn text(&self, path: &str) -> Option<&str> {
        std::str::from_utf8(&self.files.get(path)?.bytes).ok()
    }

    /// What lists these files.
    pub fn manifest(&self) -> Manifest {
        let files: Vec<_> = self.files.par_iter().map(|(path, file)| (path.as_str(), file.entry())).collect();
        let mut manifest = Manifest::default();
        for (path, entry) in files {
            let (folder, name) = split(path);
            manifest.insert(folder, name, entry);
        }
        manifest
    }
}

/// A path's folder, `""` for the bundle itself, and the name in it.
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// A path from its folder and name.
pub fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// What the manifest says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Of what it holds.
    pub digest: Digest,
    /// Whether only its owner may read it.
    pub secret: bool,
}

/// The files of one folder.
pub type Names = BTreeMap<String, Entry>;

/// Which files a bundle has. What is not in it is not ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// By folder, `""` for the bundle itself. A folder that stays as it is
    /// is shared with the next manifest. The manifest itself is not listed.
    pub folders: BTreeMap<String, Arc<Names>>,
}

const HEADER: &str = "# Files made by tenantry: digest, mode, path. Whatever is not listed is left alone.\n";

impl Manifest {
    /// Lists a file.
    pub fn insert(&mut self, folder: &str, name: &str, entry: Entry) {
        let names = match self.folders.get_mut(folder) {
            Some(names) => names,
            None => self.folders.entry(folder.to_owned()).or_default(),
        };
        Arc::make_mut(names).insert(name.to_owned(), entry);
    }

    /// What is said of a file.
    pub fn get(&self, folder: &str, name: &str) -> Option<&Entry> {
        self.folders.get(folder)?.get(name)
    }

    /// Every file, as folder, name and what is said of it.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &Entry)> {
        self.folders
            .iter()
            .flat_map(|(folder, names)| names.iter().map(|(name, entry)| (folder.as_str(), name.as_str(), entry)))
    }

    /// The number of files, the manifest included.
    pub fn count(&self) -> usize {
        1 + self.folders.values().map(|names| names.len()).sum::<usize>()
    }

    /// The manifest's own text.
    pub fn to_text(&self) -> String {
        let blocks: Vec<String> = self.folders.par_iter().map(|(folder, names)| block(folder, names)).collect();
        let mut text = String::with_capacity(HEADER.len() + blocks.iter().map(String::len).sum::<usize>());
        text.push_str(HEADER);
        blocks.iter().for_each(|block| text.push_str(block));
        text
    }

    /// Reads a manifest. Nothing if any line is not as written: then nothing is known to be ours.
    pub fn from_text(text: &str) -> Option<Self> {
        let lines = text.strip_prefix(HEADER)?.par_lines();
        let mut manifest = Self::default();
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

fn read_line(line: &str) -> Option<(&str, &str, Entry)> {
    let (digest, rest) = line.split_at_checked(64)?;
    let (mode, path) = rest.strip_prefix(' ')?.split_once(' ')?;
    let mut entry = Entry { digest: Digest::default(), secret: mode == "0600" };
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
}
