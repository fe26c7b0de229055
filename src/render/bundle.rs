//! Everything rendered: path to bytes. And the manifest, by which a later run
//! knows which files are tenantry's.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// The manifest's path in the bundle.
pub const MANIFEST: &str = ".tenantry-manifest";

/// A SHA-256.
pub type Digest = [u8; 32];

/// One rendered file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// What it holds.
    pub content: Content,
    /// Whether only its owner may read it.
    pub secret: bool,
}

/// What a file holds.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// What is on disk already; a file with this digest was found there.
    OnDisk(Digest),
}

impl std::fmt::Debug for Content {
    /// Never the bytes: they may be a seed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::OnDisk(_) => f.write_str("as on disk"),
        }
    }
}

impl File {
    /// A file for everybody's eyes.
    pub fn public(bytes: impl Into<Vec<u8>>) -> Self {
        Self { content: Content::Bytes(bytes.into()), secret: false }
    }

    /// A file for its owner's eyes.
    pub fn secret(bytes: impl Into<Vec<u8>>) -> Self {
        Self { content: Content::Bytes(bytes.into()), secret: true }
    }

    /// The digest of what it holds.
    pub fn digest(&self) -> Digest {
        match &self.content {
            Content::Bytes(bytes) => Sha256::digest(bytes).into(),
            Content::OnDisk(digest) => *digest,
        }
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
        match &self.files.get(path)?.content {
            Content::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            Content::OnDisk(_) => None,
        }
    }

    /// What the manifest says of it.
    pub fn manifest(&self) -> Manifest {
        use rayon::prelude::*;
        let files: Vec<_> =
            self.files.par_iter().map(|(path, file)| (path.clone(), (file.digest(), file.secret))).collect();
        Manifest { files: files.into_iter().collect() }
    }
}

/// Which files a bundle has, with their digests. What is not in it is not ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Digest and secrecy, by path. The manifest itself is not listed.
    pub files: BTreeMap<String, (Digest, bool)>,
}

const HEADER: &str = "# Files made by tenantry: digest, mode, path. Whatever is not listed is left alone.\n";

impl Manifest {
    /// The manifest's own text.
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(HEADER.len() + self.files.len() * 110);
        text.push_str(HEADER);
        for (path, (digest, secret)) in &self.files {
            let mode = if *secret { "0600" } else { "0644" };
            let _ = writeln!(text, "{} {mode} {path}", data_encoding::HEXLOWER.encode(digest));
        }
        text
    }

    /// Reads a manifest. Nothing if any line is not as written: then nothing is known to be ours.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut files = BTreeMap::new();
        for line in text.strip_prefix(HEADER)?.lines() {
            let (digest, rest) = line.split_at_checked(64)?;
            let (mode, path) = rest.strip_prefix(' ')?.split_once(' ')?;
            let digest = data_encoding::HEXLOWER.decode(digest.as_bytes()).ok()?.try_into().ok()?;
            let inside = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
            if !inside {
                return None;
            }
            files.insert(path.to_owned(), (digest, mode == "0600"));
        }
        Some(Self { files })
    }
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
