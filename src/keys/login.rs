//! Credentials with which a client logs in.

use super::Secret;

/// A user's credential, as a client presents it to the server.
#[derive(Clone)]
pub enum Login {
    /// The seed of an nkey, which signs the server's nonce.
    Seed(Secret),
    /// A user name and a password.
    Password(String, Secret),
}
