//! Names that are safe in a configuration file, a subject, a file path and a
//! command line.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name cannot be empty")]
    Empty,
    /// The text is longer than [`MAX_LENGTH`] characters.
    #[error("it is longer than {MAX_LENGTH} characters")]
    TooLong,
    /// A character is outside the grammar.
    #[error("it contains {0:?}")]
    Character(char),
    /// A leading `-`: command lines would read the name as an option.
    #[error("it begins with `-`")]
    LeadingDash,
    /// A reserved prefix: names become subject tokens, and `_INBOX`, `_R_` and `_GR_` begin
    /// the server's own subjects.
    #[error("it begins with {0}, which the server keeps for itself")]
    Reserved(&'static str),
}

/// Maximum length of a name, in characters.
pub const MAX_LENGTH: usize = 64;

/// Hint shown when a name is rejected.
pub const GRAMMAR: &str = "use 1 to 64 of the characters A-Z a-z 0-9 _ and -, not beginning with -";

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))) {
        return Err(NameError::Character(bad));
    }
    if text.len() > MAX_LENGTH {
        return Err(NameError::TooLong);
    }
    if text.starts_with('-') {
        return Err(NameError::LeadingDash);
    }
    if let Some(prefix) = ["_INBOX", "_R_", "_GR_"].into_iter().find(|p| text.starts_with(p)) {
        return Err(NameError::Reserved(prefix));
    }
    Ok(())
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The kind of name, as messages call it.
            pub const WHAT: &'static str = $what;

            /// Validates a name.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                check(text).map(|()| Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "`{}`", self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    )*};
}

impl AccountName {
    /// The tokens before the stream in the longer form of acknowledgements and flow control: no domain, and the account.
    pub fn acknowledged_as(&self) -> String {
        format!("_.{}.", hash_of_account(self.as_str()))
    }
}

/// An account's name as nats-server abbreviates it (`getHash`): eight digits of base 62, one for each of the first bytes of
/// the SHA-256.
pub fn hash_of_account(name: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let digest = Sha256::digest(name);
    digest.iter().take(8).map(|byte| char::from(DIGITS[usize::from(*byte) % DIGITS.len()])).collect()
}

impl StreamName {
    /// The stream behind a bucket or an object store, `KV_<name>` or `OBJ_<name>`.
    pub fn behind(name: impl Into<Box<str>>) -> Self {
        Self(name.into())
    }
}

impl ConsumerName {
    /// The consumer that feeds a copied stream. Its name holds two account names, so it
    /// may exceed [`MAX_LENGTH`].
    pub fn of_copy(name: impl Into<Box<str>>) -> Self {
        Self(name.into())
    }
}

names! {
    /// An account's name. The server uses it as a folder name without checking
    /// it, hence the strict grammar.
    AccountName, "an account name";
    /// A user's name. Unique inside its account; it is also a file name and a
    /// token of the user's private inbox.
    UserName, "a user name";
    /// A role's name.
    RoleName, "a role name";
    /// A stream's name.
    StreamName, "a stream name";
    /// A consumer's name.
    ConsumerName, "a consumer name";
    /// The name of a key-value bucket or an object store.
    BucketName, "a bucket name";
    /// A server's name.
    ServerName, "a server name";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As nats-server 2.15.1 writes them.
    #[test]
    fn an_accounts_hash_is_the_servers() {
        for (name, hash) in [("A", "NUmM6cRx"), ("TENANT_B", "rCVZhIvp")] {
            assert_eq!(hash_of_account(name), hash);
        }
    }

    #[test]
    fn names_are_plain() {
        for good in ["TENANT_A", "a", "0", "a-b_c", "_x", &"x".repeat(64)] {
            assert!(AccountName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a.b", "a/b", "..", "a b", "*", ">", "$G", "-a", "é", &"x".repeat(65)] {
            assert!(AccountName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_refusal_names_its_reason() {
        let long = "x".repeat(MAX_LENGTH + 1);
        let cases = [
            ("", NameError::Empty, "a name cannot be empty"),
            ("a b", NameError::Character(' '), "it contains ' '"),
            (&long, NameError::TooLong, "it is longer than 64 characters"),
            ("-a", NameError::LeadingDash, "it begins with `-`"),
            ("_INBOX", NameError::Reserved("_INBOX"), "it begins with _INBOX, which the server keeps for itself"),
            ("_R_x", NameError::Reserved("_R_"), "it begins with _R_, which the server keeps for itself"),
            ("_GR_", NameError::Reserved("_GR_"), "it begins with _GR_, which the server keeps for itself"),
        ];
        for (text, error, message) in cases {
            let found = StreamName::parse(text).expect_err(text);
            assert_eq!((&found, found.to_string().as_str()), (&error, message));
        }
        for near_miss in ["_INBO", "_R", "a-", "_inbox", "x_R_"] {
            assert!(StreamName::parse(near_miss).is_ok(), "{near_miss}");
        }
    }

    #[test]
    fn names_behind_buckets_and_copies_may_exceed_the_grammar() {
        let long = format!("KV_{}", "x".repeat(MAX_LENGTH));
        assert_eq!(StreamName::behind(long.as_str()).as_str(), long);
        assert_eq!(ConsumerName::of_copy(long.as_str()).as_str(), long);
        assert_eq!(StreamName::parse(&long), Err(NameError::TooLong), "the control");
    }

    #[test]
    fn a_name_prints_as_text_and_is_quoted_in_debug_output() {
        let name = UserName::parse("app").expect("a name");
        assert_eq!((format!("{name:>5}"), format!("{name:?}")), ("  app".to_owned(), "`app`".to_owned()));
        assert_eq!(serde_json::to_value(&name).ok(), Some("app".into()));
    }
}
