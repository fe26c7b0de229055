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

    /// The secret text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
