//! bcrypt hashes of passwords, and a cache of them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Mutex;

use sha2::{Digest, Sha256};

use super::Secret;

/// The bcrypt hash of a password. Deterministic, because the salt is given.
fn hash(password: &Secret, cost: u32, salt: [u8; 16]) -> String {
    match bcrypt::hash_with_salt(password.expose(), cost, salt) {
        Ok(parts) => parts.format_for_version(bcrypt::Version::TwoA),
        Err(e) => unreachable!("cost and password were checked when they were read: {e}"),
    }
}

/// Cache of bcrypt hashes by a digest of their input. bcrypt is slow on purpose;
/// the cache avoids hashing the same password twice.
///
/// The digest is keyed with a secret of the user's branch: without it, whoever
/// reads the cache could guess a supplied password at the speed of SHA-256.
#[derive(Debug, Default)]
pub struct HashCache {
    known: HashMap<String, String>,
    made: Mutex<HashMap<String, String>>,
}

impl HashCache {
    /// Parses the output of [`HashCache::to_text`]. Malformed lines are dropped;
    /// their passwords are hashed again.
    pub fn from_text(text: &str) -> Self {
        let known = text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(digest, hash)| digest.len() == 64 && hash.len() == 60 && hash.starts_with("$2a$"))
            .map(|(digest, hash)| (digest.to_owned(), hash.to_owned()))
            .collect();
        Self { known, made: Mutex::default() }
    }

    /// One `digest hash` line per cached hash, old and new, sorted.
    pub fn to_text(&self) -> String {
        let made = self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut lines: Vec<_> = self.known.iter().chain(made.iter()).collect();
        lines.sort();
        lines.into_iter().fold(String::new(), |mut text, (digest, hash)| {
            let _ = writeln!(text, "{digest} {hash}");
            text
        })
    }

    /// Whether any hash was computed since the cache was read.
    pub fn has_new(&self) -> bool {
        !self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_empty()
    }

    /// Returns the cached hash, or computes and caches it.
    pub(super) fn hash(&self, key: &[u8; 32], password: &Secret, cost: u32, salt: [u8; 16]) -> String {
        let digest = Sha256::new()
            .chain_update(key)
            .chain_update(cost.to_be_bytes())
            .chain_update(salt)
            .chain_update(password.expose().as_bytes())
            .finalize();
        let digest = data_encoding::HEXLOWER.encode(&digest);
        if let Some(known) = self.known.get(&digest) {
            return known.clone();
        }
        let hash = hash(password, cost, salt);
        let mut made = self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        made.insert(digest, hash.clone());
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_input_gives_the_same_hash_and_is_remembered() {
        let password = Secret::new("correct horse".into());
        let cache = HashCache::default();
        let first = cache.hash(&[1; 32], &password, 4, [7; 16]);
        assert_eq!(bcrypt::verify("correct horse", &first).ok(), Some(true));
        assert_eq!(bcrypt::verify("wrong horse", &first).ok(), Some(false));
        // A cached hash is returned as it is, even a forged one.
        let forged = cache.to_text().replace(&first[7..], &"x".repeat(53));
        let remembered = HashCache::from_text(&forged).hash(&[1; 32], &password, 4, [7; 16]);
        assert!(remembered.ends_with("xxx"));
        assert_ne!(cache.hash(&[1; 32], &password, 5, [7; 16]), first);
        let other_key = HashCache::from_text(&forged).hash(&[2; 32], &password, 4, [7; 16]);
        assert_eq!(other_key, first, "another key does not find it, and hashes again");
    }

    #[test]
    fn malformed_lines_of_a_stored_cache_are_dropped() {
        let (digest, hash) = ("d".repeat(64), format!("$2a$04${}", "h".repeat(53)));
        let good = format!("{digest} {hash}\n");
        assert_eq!(HashCache::from_text(&good).to_text(), good);
        for bad in [
            format!("{digest}{hash}"),
            format!("{} {hash}", &digest[1..]),
            format!("{digest} {}", &hash[..59]),
            format!("{digest} {hash}x"),
            format!("{digest} {}", hash.replace("$2a$", "$2b$")),
            String::new(),
        ] {
            assert_eq!(HashCache::from_text(&format!("{bad}\n{good}{bad}")).to_text(), good, "{bad}");
        }
    }

    #[test]
    fn a_cache_is_new_only_after_a_hash_that_it_did_not_hold() {
        let password = Secret::new("correct horse".into());
        let cache = HashCache::default();
        assert!(!cache.has_new());
        cache.hash(&[1; 32], &password, 4, [7; 16]);
        assert!(cache.has_new());
        let stored = HashCache::from_text(&cache.to_text());
        stored.hash(&[1; 32], &password, 4, [7; 16]);
        assert!(!stored.has_new(), "the hash was stored");
        stored.hash(&[1; 32], &password, 4, [8; 16]);
        assert!(stored.has_new(), "another salt is another hash");
    }
}
