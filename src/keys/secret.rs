//! Text that must not be printed, logged or left in memory.

use zeroize::Zeroizing;

/// A seed, a password or a root key. Zeroed when dropped. It has neither `Debug`
/// nor `Display`: [`Secret::expose`] is the only access and is easy to search for.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Why it cannot be a supplied password, as the end of a sentence; `None` if it can.
    pub fn unusable_as_password(&self) -> Option<String> {
        /// bcrypt ignores what is beyond. Bytes.
        const BCRYPT_LIMIT: usize = 72;
        /// Shorter ones can be guessed. Characters.
        const SHORTEST: usize = 12;
        if self.0.chars().count() < SHORTEST {
            Some(format!("has fewer than {SHORTEST} characters"))
        } else if self.0.len() > BCRYPT_LIMIT {
            Some(format!("is longer than {BCRYPT_LIMIT} bytes, which is all that bcrypt reads"))
        } else if self.0.chars().any(char::is_control) {
            Some("contains a line break or control character".to_owned())
        } else {
            None
        }
    }

    /// The secret text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
