//! bcrypt hashes of passwords, and a cache of them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::Secret;

/// The bcrypt hash of a password. Deterministic, because the salt is given.
fn hash(password: &Secret, cost: u32, salt: [u8; 16]) -> String {
    match bcrypt::hash_with_salt(password.expose(), cost, salt) {
        Ok(parts) => parts.format_for_version(bcrypt::Version::TwoA),
        Err(e) => unreachable!("cost and password were checked when they were read: {e}"),
    }
}

/// How long one check of a password with this cost takes here, by a hash of a lower cost: each step doubles it.
pub fn check_time(cost: u32) -> Duration {
    const MEASURED: u32 = 6;
    let begin = Instant::now();
    hash(&Secret::new("measured".to_owned()), MEASURED, [0; 16]);
    begin.elapsed().mul_f64(f64::from(cost.saturating_sub(MEASURED)).exp2())
}

/// Cache of bcrypt hashes by a digest of their input. bcrypt is slow on purpose;
/// the cache avoids hashing the same password twice.
///
/// The digest is keyed with a secret of the user's branch: without it, whoever
/// reads the cache could guess a supplied password at the speed of SHA-256. A tag made with
/// the same secret shows that a hash is the one that was stored.
#[derive(Debug, Default)]
pub struct HashCache {
    known: HashMap<String, TaggedHash>,
    made: Mutex<HashMap<String, TaggedHash>>,
}

/// A hash and its tag.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TaggedHash {
    hash: String,
    tag: String,
}

impl TaggedHash {
    fn new(key: &[u8; 32], digest: &str, hash: String) -> Self {
        let tag = Sha256::new().chain_update(key).chain_update(digest).chain_update(&hash).finalize();
        Self { tag: data_encoding::HEXLOWER.encode(&tag), hash }
    }
}

impl HashCache {
    /// Parses the output of [`HashCache::to_text`]. Malformed lines are dropped;
    /// their passwords are hashed again.
    pub fn from_text(text: &str) -> Self {
        let known = text
            .lines()
            .filter_map(|line| line.split_once(' ').and_then(|(digest, rest)| Some((digest, rest.split_once(' ')?))))
            .filter(|(digest, (hash, _))| digest.len() == 64 && hash.len() == 60 && hash.starts_with("$2a$"))
            .map(|(digest, (hash, tag))| (digest.to_owned(), TaggedHash { hash: hash.into(), tag: tag.into() }))
            .collect();
        Self { known, made: Mutex::default() }
    }

    /// One `digest hash tag` line per cached hash, old and new, sorted.
    pub fn to_text(&self) -> String {
        let made = self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // What was made anew takes the place of a line that was not believed.
        let known = self.known.iter().filter(|(digest, _)| !made.contains_key(*digest));
        let mut lines: Vec<_> = known.chain(made.iter()).collect();
        lines.sort();
        lines.into_iter().fold(String::new(), |mut text, (digest, TaggedHash { hash, tag })| {
            let _ = writeln!(text, "{digest} {hash} {tag}");
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
        if let Some(known) = self.known.get(&digest)
            && *known == TaggedHash::new(key, &digest, known.hash.clone())
        {
            return known.hash.clone();
        }
        let hash = hash(password, cost, salt);
        let made = TaggedHash::new(key, &digest, hash.clone());
        self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(digest, made);
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
        assert_ne!(cache.hash(&[1; 32], &password, 5, [7; 16]), first);
        let stored = HashCache::from_text(&cache.to_text());
        assert_eq!(stored.hash(&[2; 32], &password, 4, [7; 16]), first);
        assert!(stored.has_new(), "another key does not find it, and hashes again");
    }

    #[test]
    fn a_cached_hash_that_was_changed_is_not_believed() {
        let password = Secret::new("correct horse".into());
        let cache = HashCache::default();
        let first = cache.hash(&[1; 32], &password, 4, [7; 16]);
        let other = if first.ends_with('a') { 'b' } else { 'a' };
        let changed = cache.to_text().replace(&first, &format!("{}{other}", &first[..59]));
        let stored = HashCache::from_text(&changed);
        assert_eq!(stored.hash(&[1; 32], &password, 4, [7; 16]), first);
        assert_eq!(stored.to_text(), cache.to_text(), "the changed line is replaced");
    }

    #[test]
    fn malformed_lines_of_a_stored_cache_are_dropped() {
        let (digest, hash, tag) = ("d".repeat(64), format!("$2a$04${}", "h".repeat(53)), "t".repeat(64));
        let good = format!("{digest} {hash} {tag}\n");
        assert_eq!(HashCache::from_text(&good).to_text(), good);
        for bad in [
            format!("{digest}{hash} {tag}"),
            format!("{digest} {hash}"),
            format!("{} {hash} {tag}", &digest[1..]),
            format!("{digest} {} {tag}", &hash[..59]),
            format!("{digest} {hash}x {tag}"),
            format!("{digest} {} {tag}", hash.replace("$2a$", "$2b$")),
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
