//! `render --check`: compares the rendered bundle with the files on disk.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::bundle::{Bundle, MANIFEST, Manifest, join};
use crate::error::Error;

/// A file on disk that differs from the rendered bundle.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Difference {
    /// Its path in the bundle.
    pub path: String,
    /// How it differs.
    pub state: State,
    /// Unified diff from the file on disk to the rendered file. `None` for secrets and
    /// stale files.
    #[serde(skip)]
    pub diff: Option<String>,
}

/// How a file on disk differs from the rendered bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The file does not exist.
    Missing,
    /// The content differs.
    Changed,
    /// The file is managed by tenantry and no longer rendered.
    Stale,
}

/// Compares the bundle with the files at `out`, in both directions: missing and changed
/// files first, then stale ones. An empty list means that the bundle is up to date.
pub fn compare(out: &Path, bundle: &Bundle) -> Result<Vec<Difference>, Error> {
    let mut differences = Vec::new();
    let manifest = bundle.manifest().to_text();
    let rendered = bundle.files.iter().map(|(path, file)| (path.as_str(), file.bytes.as_slice(), file.secret));
    for (path, bytes, secret) in rendered.chain([(MANIFEST, manifest.as_bytes(), true)]) {
        let place = out.join(path);
        let written = match fs::read(&place) {
            Ok(written) if written == bytes => continue,
            Ok(written) => Some(written),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => None,
            Err(e) => return Err(Error::io("read", &place, e)),
        };
        let state = if written.is_some() { State::Changed } else { State::Missing };
        let diff = (!secret).then(|| unified(path, &written.unwrap_or_default(), bytes));
        differences.push(Difference { path: path.to_owned(), state, diff });
    }
    let written = fs::read_to_string(out.join(MANIFEST)).ok().and_then(|text| Manifest::from_text(&text));
    let written = written.unwrap_or_default();
    let listed = written.iter().map(|(folder, name, _)| join(folder, name));
    for path in listed.filter(|path| !bundle.files.contains_key(path) && out.join(path).exists()) {
        differences.push(Difference { path, state: State::Stale, diff: None });
    }
    Ok(differences)
}

fn unified(path: &str, old: &[u8], new: &[u8]) -> String {
    let (old, new) = (String::from_utf8_lossy(old), String::from_utf8_lossy(new));
    similar::TextDiff::configure()
        .timeout(Duration::from_secs(2))
        .diff_lines(old.as_ref(), new.as_ref())
        .unified_diff()
        .header(&format!("{path} (written)"), &format!("{path} (rendered)"))
        .to_string()
}
