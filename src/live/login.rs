//! How a user logs in to a running server.

use async_nats::ConnectOptions;

use crate::keys::Secret;

/// A user's credential.
#[derive(Clone)]
pub enum Login {
    /// The seed of an nkey.
    Seed(Secret),
    /// A name and a password.
    Password(String, Secret),
}

impl Login {
    /// For the client library.
    pub fn options(&self) -> ConnectOptions {
        match self {
            Self::Seed(seed) => ConnectOptions::with_nkey(seed.expose().to_owned()),
            Self::Password(user, password) => {
                ConnectOptions::with_user_and_password(user.clone(), password.expose().to_owned())
            }
        }
    }
}
