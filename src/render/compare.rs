//! `render --check`: compares the rendered bundle with the files on disk.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::bundle::{Bundle, MANIFEST, Manifest, join};
use crate::error::Error;

/// A file on disk that differs from the rendered bundle.
#[derive(Debug, Clone, serde::Serialize)]
pub struct FileDifference {
    /// Its path in the bundle.
    pub path: String,
    /// How it differs.
    pub state: DifferenceKind,
    /// Unified diff from the file on disk to the rendered file. `None` for secrets and
    /// stale files.
    #[serde(skip)]
    pub diff: Option<String>,
}

/// How a file on disk differs from the rendered bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DifferenceKind {
    /// The file does not exist.
    Missing,
    /// The content differs.
    Changed,
    /// The file is managed by tenantry and no longer rendered.
    Stale,
}

/// Compares the bundle with the files at `out`, in both directions: missing and changed
/// files first, then stale ones. An empty list means that the bundle is up to date.
pub fn compare(out: &Path, bundle: &Bundle) -> Result<Vec<FileDifference>, Error> {
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
        let state = if written.is_some() { DifferenceKind::Changed } else { DifferenceKind::Missing };
        let diff = (!secret).then(|| unified(path, &written.unwrap_or_default(), bytes));
        differences.push(FileDifference { path: path.to_owned(), state, diff });
    }
    let written = fs::read_to_string(out.join(MANIFEST)).ok().and_then(|text| Manifest::from_text(&text));
    let written = written.unwrap_or_default();
    let listed = written.iter().map(|(folder, name, _)| join(folder, name));
    for path in listed.filter(|path| !bundle.files.contains_key(path) && out.join(path).exists()) {
        differences.push(FileDifference { path, state: DifferenceKind::Stale, diff: None });
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

#[cfg(test)]
mod tests {
    use super::super::bundle::{File, Provenance};
    use super::*;

    fn write(out: &Path, path: &str, text: &str) {
        fs::create_dir_all(out.join(path).parent().expect("folder")).expect("folder");
        fs::write(out.join(path), text).expect("written");
    }

    fn bundle(files: &[(&str, File)]) -> Bundle {
        let provenance = Provenance::default();
        Bundle { provenance, files: files.iter().map(|(path, file)| ((*path).to_owned(), file.clone())).collect() }
    }

    fn states(out: &Path, bundle: &Bundle) -> Vec<(String, DifferenceKind)> {
        compare(out, bundle).expect("readable").into_iter().map(|d| (d.path, d.state)).collect()
    }

    #[test]
    fn missing_changed_and_stale_files_are_told_apart() {
        let out = tempfile::tempdir().expect("folder");
        let (old, new) = (
            bundle(&[("a", File::public("1")), ("b/c", File::public("2")), ("gone", File::public("3"))]),
            bundle(&[("a", File::public("1")), ("b/c", File::public("9")), ("d/e", File::public("4"))]),
        );
        for (path, file) in &old.files {
            write(out.path(), path, std::str::from_utf8(&file.bytes).expect("text"));
        }
        write(out.path(), MANIFEST, &old.manifest().to_text());
        write(out.path(), "unmanaged", "mine");
        assert_eq!(states(out.path(), &old), []);
        let expected = [
            ("b/c", DifferenceKind::Changed),
            ("d/e", DifferenceKind::Missing),
            (MANIFEST, DifferenceKind::Changed),
            ("gone", DifferenceKind::Stale),
        ];
        assert_eq!(states(out.path(), &new), expected.map(|(path, state)| (path.to_owned(), state)));
        fs::remove_file(out.path().join("gone")).expect("removed");
        assert!(!states(out.path(), &new).iter().any(|(_, state)| *state == DifferenceKind::Stale));
    }

    #[test]
    fn a_folder_that_does_not_exist_lacks_every_file() {
        let out = tempfile::tempdir().expect("folder");
        let found = states(&out.path().join("none"), &bundle(&[("a", File::public("1"))]));
        assert_eq!(found, [("a".to_owned(), DifferenceKind::Missing), (MANIFEST.to_owned(), DifferenceKind::Missing)]);
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_means_missing() {
        let out = tempfile::tempdir().expect("folder");
        write(out.path(), "b", "a file");
        let found = states(out.path(), &bundle(&[("b/c", File::public("1"))]));
        assert_eq!(found[0], ("b/c".to_owned(), DifferenceKind::Missing));
    }

    #[test]
    fn a_diff_shows_public_files_and_never_secret_ones() {
        let out = tempfile::tempdir().expect("folder");
        write(out.path(), "public", "old\n");
        write(out.path(), "secret", "old\n");
        let bundle = bundle(&[("public", File::public("new\n")), ("secret", File::secret("new\n"))]);
        let found = compare(out.path(), &bundle).expect("readable");
        let diff = |path: &str| found.iter().find(|d| d.path == path).and_then(|d| d.diff.clone());
        assert!(diff("public").is_some_and(|d| d.contains("-old\n+new\n") && d.contains("public (rendered)")));
        assert_eq!(diff("secret"), None);
        assert_eq!(diff(MANIFEST), None);
    }
}
