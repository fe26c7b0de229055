//! What a user shows a server to log in.

use super::Secret;

/// A user's credential, as a client presents it.
#[derive(Clone)]
pub enum Login {
    /// The seed of an nkey.
    Seed(Secret),
    /// A name and a password.
    Password(String, Secret),
}
