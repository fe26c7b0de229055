//! A text that must not be printed, logged or left in memory.

use zeroize::Zeroizing;

/// A seed, a password or a root key. It has neither `Debug` nor `Display`;
/// [`Secret::expose`] is where it leaves, and is easy to search for.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Keeps a text secret.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for the one place that writes it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
