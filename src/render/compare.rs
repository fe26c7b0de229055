//! Rendered against written: what `render --check` shows.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::bundle::{Bundle, MANIFEST, Manifest, join};
use crate::error::Error;

/// One file that is not as it would be rendered.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Difference {
    /// Its path in the bundle.
    pub path: String,
    /// What is wrong with it.
    pub state: State,
    /// From what is written to what would be, if it may be shown.
    #[serde(skip)]
    pub diff: Option<String>,
}

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is not there.
    Missing,
    /// It is otherwise.
    Changed,
    /// It was made by tenantry and would not be made now.
    Stale,
}

/// Compares the bundle with what is written at `out`, both ways.
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
