//! The root key: generating, loading and storing it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use data_encoding::BASE32_NOPAD;
use rand::TryRng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Secret;
use crate::model::Root;

/// Begins the text form and names its version.
const PREFIX: &str = "tenantry-root-1-";
/// Length of the checksum. Bytes.
const CHECKSUM: usize = 4;

/// 32 secret bytes from which every credential derives.
pub struct RootKey {
    bytes: Zeroizing<[u8; 32]>,
}

/// Why the root key could not be loaded or created.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyError {
    /// The file does not exist.
    #[error("there is no root key at {}", .0.display())]
    NoFile(PathBuf),
    /// Group or others have some permission on the file.
    #[error("the root key {} can be read by others (mode {mode:o})", .path.display())]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its permission bits (the lower nine).
        mode: u32,
    },
    /// The variable is not set.
    #[error("the environment variable {0} is not set")]
    NoVariable(String),
    /// The text cannot be parsed as a root key.
    #[error("{place} does not hold a root key: {why}")]
    Malformed {
        /// The file or environment variable.
        place: String,
        /// The mistake. Never quotes the text, which may be nearly a root key.
        why: &'static str,
    },
    /// The file to be created exists.
    #[error("{} exists already and is never overwritten", .0.display())]
    Exists(PathBuf),
    /// An I/O error.
    #[error("cannot {action} the root key {}: {source}", .path.display())]
    Io {
        /// The attempted operation, a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
}

impl RootKeyError {
    /// How to fix it.
    pub fn hint(&self) -> String {
        match self {
            Self::NoFile(path) => format!(
                "copy it to {} from where its copy is kept; if it is lost, `tenantry init --root-key` makes a new one, which replaces every credential",
                path.display()
            ),
            Self::Readable { path, .. } => format!("chmod 600 {}", path.display()),
            Self::NoVariable(name) => format!("set {name} to the line of the root key, which begins with {PREFIX}"),
            Self::Malformed { .. } => {
                format!(
                    "a root key is one line of 74 characters that begins with {PREFIX}: copy it again from where its copy is kept. \
                     Only if it is lost: move what is there away, and `tenantry init --root-key` makes a new one, in a file (for a variable, \
                     copy its line), which replaces every credential"
                )
            }
            Self::Exists(_) => "every credential derives from it: move it away by hand if you are sure".into(),
            Self::Io { .. } => "check that the folder exists and is yours".into(),
        }
    }
}

impl RootKey {
    /// The development key: SHA-256 of a published sentence, so not a secret. The
    /// credentials in the examples derive from it.
    pub fn development() -> Self {
        Self { bytes: Zeroizing::new(Sha256::digest(b"tenantry development root key: published, not a secret").into()) }
    }

    /// A new random key.
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        if let Err(e) = rand::rngs::SysRng.try_fill_bytes(bytes.as_mut()) {
            unreachable!("the operating system gives random bytes: {e}");
        }
        Self { bytes }
    }

    /// Loads the key that the registry names. `folder` is the base of relative paths.
    pub fn load(root: &Root, folder: &Path) -> Result<Self, RootKeyError> {
        match root {
            Root::Development => Ok(Self::development()),
            Root::Env(name) => {
                let text = std::env::var(name).map_err(|_| RootKeyError::NoVariable(name.clone()))?;
                Self::from_text(&Zeroizing::new(text), &format!("the environment variable {name}"))
            }
            Root::File(file) => Self::read(&folder.join(file)),
        }
    }

    fn read(path: &Path) -> Result<Self, RootKeyError> {
        let io = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => RootKeyError::NoFile(path.to_owned()),
            _ => RootKeyError::Io { action: "read", path: path.to_owned(), source },
        };
        let mode = fs::metadata(path).map_err(io)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(RootKeyError::Readable { path: path.to_owned(), mode });
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(io)?);
        Self::from_text(&text, &path.display().to_string())
    }

    /// Parses the text of a file or variable: one line, besides blank lines and
    /// comments that begin with `#`. `place` names the origin in errors.
    pub fn from_text(text: &str, place: &str) -> Result<Self, RootKeyError> {
        let malformed = |why| RootKeyError::Malformed { place: place.to_owned(), why };
        let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        let line = lines.next().ok_or(malformed("it is empty"))?;
        if lines.next().is_some() {
            return Err(malformed("it has more than one line"));
        }
        let encoded = line.strip_prefix(PREFIX).ok_or(malformed("it begins otherwise"))?;
        let decoded = BASE32_NOPAD
            .decode(encoded.to_ascii_uppercase().as_bytes())
            .map(Zeroizing::new)
            .map_err(|_| malformed("a character is missing or wrong"))?;
        let (bytes, sum) = decoded.split_last_chunk::<CHECKSUM>().ok_or(malformed("it is too short"))?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| malformed("its length is wrong"))?;
        let key = Self { bytes: Zeroizing::new(bytes) };
        if *sum != key.checksum() {
            return Err(malformed("its checksum does not match: a character is wrong"));
        }
        Ok(key)
    }

    /// The line that [`RootKey::from_text`] parses: 74 characters.
    pub fn to_text(&self) -> Secret {
        let mut bytes = Zeroizing::new(self.bytes.to_vec());
        bytes.extend_from_slice(&self.checksum());
        Secret::new(format!("{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()))
    }

    /// Creates a file with mode 0600 that contains the key. Never overwrites.
    pub fn create_file(&self, path: &Path) -> Result<(), RootKeyError> {
        let io = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::AlreadyExists => RootKeyError::Exists(path.to_owned()),
            _ => RootKeyError::Io { action: "write", path: path.to_owned(), source },
        };
        let text = Zeroizing::new(format!(
            "# tenantry root key. Every credential derives from this line: keep it secret, keep a copy.\n{}\n",
            self.to_text().expose()
        ));
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// The first bytes of a SHA-256 of the key, which detect a mistyped key.
    fn checksum(&self) -> [u8; CHECKSUM] {
        let digest = Sha256::new().chain_update(b"tenantry root key checksum").chain_update(*self.bytes).finalize();
        let mut sum = [0; CHECKSUM];
        sum.copy_from_slice(&digest[..CHECKSUM]);
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_around() {
        let key = RootKey::generate();
        let text = key.to_text();
        assert_eq!(text.expose().len(), 74);
        let again =
            RootKey::from_text(&format!("# comment\n\n  {}\n", text.expose()), "test").map_err(|e| e.to_string());
        assert_eq!(again.map(|k| k.id()), Ok(key.id()));
        assert_ne!(key.id(), RootKey::generate().id());
    }

    #[test]
    fn every_wrong_character_is_noticed() {
        let text = RootKey::development().to_text().expose().to_owned();
        for i in 0..text.len() {
            let mut wrong: Vec<u8> = text.clone().into();
            wrong[i] = if wrong[i] == b'a' { b'b' } else { b'a' };
            let wrong = String::from_utf8(wrong).expect("ascii");
            assert!(RootKey::from_text(&wrong, "test").is_err(), "{i}");
        }
        for wrong in ["", "#", "tenantry-root-1-", &text[..70], &format!("{text}\n{text}"), &format!("{text}aa")] {
            assert!(RootKey::from_text(wrong, "test").is_err(), "{wrong}");
        }
    }

    fn file_with_mode(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("root.key");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
        (folder, path)
    }

    #[test]
    fn a_root_key_file_that_others_can_access_is_refused() {
        let text = RootKey::development().to_text().expose().to_owned();
        for (mode, is_private) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)] {
            let (folder, _) = file_with_mode(&text, mode);
            match RootKey::load(&Root::File("root.key".into()), folder.path()) {
                Ok(key) => assert!(is_private && key.id() == RootKey::development().id(), "{mode:o}"),
                Err(RootKeyError::Readable { mode: reported, .. }) => {
                    assert!(!is_private && reported == mode, "{mode:o}");
                }
                Err(e) => panic!("{mode:o}: {e}"),
            }
        }
    }

    #[test]
    fn a_created_file_is_private_reads_back_and_is_never_overwritten() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("root.key");
        let root = Root::File("root.key".into());
        assert!(matches!(RootKey::load(&root, folder.path()), Err(RootKeyError::NoFile(missing)) if missing == path));
        let key = RootKey::generate();
        key.create_file(&path).expect("created");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert!(matches!(RootKey::generate().create_file(&path), Err(RootKeyError::Exists(_))));
        assert_eq!(RootKey::load(&root, folder.path()).map(|k| k.id()).ok(), Some(key.id()));
    }

    #[test]
    fn an_error_names_the_place_and_never_quotes_the_text() {
        let text = RootKey::development().to_text().expose().to_owned();
        let (folder, path) = file_with_mode(&text[..70], 0o600);
        let Err(error) = RootKey::load(&Root::File("root.key".into()), folder.path()) else {
            panic!("it is too short")
        };
        let shown = format!("{error} {error:?} {}", error.hint());
        assert!(shown.contains(&path.display().to_string()), "{shown}");
        assert!(!shown.contains(&text[PREFIX.len()..PREFIX.len() + 8]), "{shown}");
    }
}
