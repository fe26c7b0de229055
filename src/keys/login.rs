//! Credentials with which a client logs in.

use nkeys::KeyPair;

use super::Secret;

/// A user's credential, as a client presents it to the server.
#[derive(Clone)]
pub enum Login {
    /// The seed of an nkey, which signs the server's nonce.
    Seed(Secret),
    /// A user name and a password.
    Password(String, Secret),
}

/// The public key of a user's seed.
pub fn public_key_of(seed: &Secret) -> Result<String, nkeys::error::Error> {
    Ok(KeyPair::from_seed(seed.expose())?.public_key())
}

/// The public key of a seed, and its signature of a server's nonce in unpadded base64url.
pub fn sign_nonce(seed: &Secret, nonce: &str) -> Result<(String, String), nkeys::error::Error> {
    let pair = KeyPair::from_seed(seed.expose())?;
    let signature = pair.sign(nonce.as_bytes())?;
    Ok((pair.public_key(), data_encoding::BASE64URL_NOPAD.encode(&signature)))
}
