//! The root key and every credential derived from it: no other module derives a
//! seed or a password. docs/keys.md specifies the derivation byte by byte, with
//! test vectors.
//!
//! The derivation tree is root → account → user → secret, so that the branch of
//! one account can be handed over without the others.

mod login;
mod password;
mod root;
mod secret;

use hkdf::Hkdf;
use nkeys::{KeyPair, KeyPairType};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::model::names::{AccountName, UserName};

pub use login::{Login, public_key_of, sign_nonce};
pub use password::{HashCache, check_time};
pub use root::{RootKey, RootKeyError};
pub use secret::Secret;

/// HKDF salt: the name and version of this derivation scheme.
const SALT: &[u8] = b"tenantry/1";

/// One node of the derivation tree.
type NodeKey = Zeroizing<[u8; 32]>;

/// HKDF-SHA256 of `parent`. The info is the list of labels, each preceded by its
/// length as two big-endian bytes, so that no two lists have the same encoding.
fn derive(parent: &[u8; 32], labels: &[&[u8]], out: &mut [u8]) {
    let mut info = Vec::with_capacity(64);
    for label in labels {
        // Cannot overflow: names have at most 64 bytes and the other labels are constants.
        info.extend_from_slice(&u16::try_from(label.len()).unwrap_or(u16::MAX).to_be_bytes());
        info.extend_from_slice(label);
    }
    if Hkdf::<Sha256>::new(Some(SALT), parent).expand(&info, out).is_err() {
        unreachable!("HKDF-SHA256 gives up to 8160 bytes; {} were asked for", out.len());
    }
}

fn child(parent: &[u8; 32], labels: &[&[u8]]) -> NodeKey {
    let mut key = Zeroizing::new([0; 32]);
    derive(parent, labels, key.as_mut());
    key
}

/// Kind of the account that a branch belongs to. Derived separately, because a
/// tenant's account may have the name that the system account has elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccountKind {
    /// A tenant's account.
    Tenant,
    /// The system account.
    System,
}

/// The branch of an account, from which its users' secrets derive and no others.
pub struct AccountKey(NodeKey);

/// The branch of a user.
pub struct UserKey(NodeKey);

impl RootKey {
    /// The branch of one account.
    pub fn account(&self, kind: AccountKind, name: &AccountName) -> AccountKey {
        let kind: &[u8] = match kind {
            AccountKind::Tenant => b"tenant",
            AccountKind::System => b"system",
        };
        AccountKey(child(self.bytes(), &[b"account", kind, name.as_str().as_bytes()]))
    }

    /// Key of the digests by which the render cache recognises unchanged input.
    pub fn cache_key(&self) -> Zeroizing<[u8; 32]> {
        child(self.bytes(), &[b"memory"])
    }

    /// Public fingerprint of this key: 16 hexadecimal digits, from which the key cannot be
    /// recovered.
    pub fn id(&self) -> String {
        let mut id = [0; 8];
        derive(self.bytes(), &[b"root-id"], &mut id);
        data_encoding::HEXLOWER.encode(&id)
    }
}

impl AccountKey {
    /// The branch of one user.
    pub fn user(&self, name: &UserName) -> UserKey {
        UserKey(child(&self.0, &[b"user", name.as_str().as_bytes()]))
    }
}

impl UserKey {
    fn secret(&self, kind: &[u8], generation: u32, out: &mut [u8]) {
        derive(&self.0, &[kind, &generation.to_be_bytes()], out);
    }

    /// The user's nkey. A new `generation` gives a new, unrelated key pair.
    pub fn nkey(&self, generation: u32) -> UserNkey {
        let mut seed = Zeroizing::new([0; 32]);
        self.secret(b"nkey-seed", generation, seed.as_mut());
        match KeyPair::new_from_raw(KeyPairType::User, *seed) {
            Ok(pair) => UserNkey(pair),
            Err(e) => unreachable!("any 32 bytes are an Ed25519 seed: {e}"),
        }
    }

    /// The user's password: 160 bits as 32 lowercase letters and digits, which need
    /// no escaping in URLs, shells or YAML and are selected by a double click.
    pub fn password(&self, generation: u32) -> Secret {
        let mut bytes = Zeroizing::new([0; 20]);
        self.secret(b"password", generation, bytes.as_mut());
        Secret::new(data_encoding::BASE32_NOPAD.encode(bytes.as_ref()).to_ascii_lowercase())
    }

    /// The bcrypt hash of `password`. The salt is derived, so that rendering twice
    /// gives the same bytes.
    pub fn bcrypt(&self, password: &Secret, generation: u32, cost: u32, cache: &HashCache) -> String {
        let memory_key = child(&self.0, &[b"hash-memory"]);
        cache.hash(&memory_key, password, cost, self.bcrypt_salt(generation))
    }

    fn bcrypt_salt(&self, generation: u32) -> [u8; 16] {
        let mut salt = [0; 16];
        self.secret(b"bcrypt-salt", generation, &mut salt);
        salt
    }
}

/// The Ed25519 key pair of a user.
pub struct UserNkey(KeyPair);

impl UserNkey {
    /// The public key, `U...`, which goes into the server configuration.
    pub fn public(&self) -> String {
        self.0.public_key()
    }

    /// The seed, `SU...`, which is the private key.
    pub fn seed(&self) -> Secret {
        match self.0.seed() {
            Ok(seed) => Secret::new(seed),
            Err(e) => unreachable!("the pair was made from a seed: {e}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(kind: AccountKind, account: &str, user: &str) -> UserKey {
        let account = AccountName::parse(account).expect("account name");
        RootKey::development().account(kind, &account).user(&UserName::parse(user).expect("user name"))
    }

    /// The vectors of docs/keys.md; an independent implementation must give the same.
    #[test]
    fn test_vectors() {
        let u = user(AccountKind::Tenant, "TENANT_A", "tenant_a_app");
        let documented = include_str!("../../docs/keys.md");
        for value in [
            RootKey::development().to_text().expose().to_owned(),
            RootKey::development().id(),
            u.nkey(1).public(),
            u.nkey(1).seed().expose().to_owned(),
            u.password(1).expose().to_owned(),
            u.nkey(2).public(),
            data_encoding::HEXLOWER.encode(&u.bcrypt_salt(1)),
            user(AccountKind::System, "SYS", "sys_admin").password(1).expose().to_owned(),
        ] {
            assert!(documented.contains(&value), "docs/keys.md lacks {value}");
        }
    }

    #[test]
    fn branches_differ() {
        let password = |u: UserKey| u.password(1).expose().to_owned();
        let all = [
            password(user(AccountKind::Tenant, "A", "u")),
            password(user(AccountKind::System, "A", "u")),
            password(user(AccountKind::Tenant, "B", "u")),
            password(user(AccountKind::Tenant, "A", "v")),
            // Without length prefixes this would equal the first.
            password(user(AccountKind::Tenant, "Au", "ser")),
            user(AccountKind::Tenant, "A", "u").password(2).expose().to_owned(),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn a_password_is_32_lowercase_letters_and_digits() {
        let key = user(AccountKind::Tenant, "A", "u");
        for generation in 0..20 {
            let password = key.password(generation);
            assert_eq!(password.expose().len(), 32, "{generation}");
            assert!(password.expose().chars().all(|c| matches!(c, 'a'..='z' | '2'..='7')), "{generation}");
        }
    }

    #[test]
    fn a_generation_gives_one_key_pair_and_the_next_one_another() {
        let key = user(AccountKind::Tenant, "A", "u");
        let pair = key.nkey(1);
        assert_eq!(key.nkey(1).public(), pair.public());
        assert_ne!(key.nkey(2).public(), pair.public());
        assert!(pair.public().starts_with('U') && pair.seed().expose().starts_with("SU"));
        let from_seed = KeyPair::from_seed(pair.seed().expose()).expect("a seed");
        assert_eq!(from_seed.public_key(), pair.public());
    }

    #[test]
    fn a_bcrypt_hash_is_of_its_password_and_depends_on_the_generation() {
        let (key, cache) = (user(AccountKind::Tenant, "A", "u"), HashCache::default());
        let password = key.password(1);
        let hash = key.bcrypt(&password, 1, 4, &cache);
        assert_eq!(bcrypt::verify(password.expose(), &hash).ok(), Some(true));
        assert_eq!(bcrypt::verify(key.password(2).expose(), &hash).ok(), Some(false));
        assert_eq!(key.bcrypt(&password, 1, 4, &HashCache::default()), hash);
        assert_ne!(key.bcrypt(&password, 2, 4, &cache), hash, "the salt differs");
    }
}
