//! Hides what looks like a secret in text of a user's file that is about to be shown: a
//! mistake can stand in the same line as a password, or be one in the wrong place.

use std::borrow::Cow;
use std::ops::Range;

use crate::diag::nearest;

/// Keys whose value is a secret, whether they are spelt right or not.
const KEYS: [&str; 6] = ["password", "passwd", "pass", "seed", "secret", "token"];

/// Begins the text form of a root key.
const ROOT_KEY: &str = "tenantry-root-";

/// The text with everything that looks like a secret replaced by asterisks. It keeps its length
/// in bytes, so that places in it stay valid.
pub fn redacted(text: &str) -> Cow<'_, str> {
    let secrets: Vec<Range<usize>> = words(text).filter_map(|word| secret_at(text, word)).collect();
    if secrets.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut hidden = text.to_owned();
    for secret in secrets {
        let stars = "*".repeat(secret.len());
        hidden.replace_range(secret, &stars);
    }
    Cow::Owned(hidden)
}

/// The places of the words: letters, digits, `_`, `-` and `$`.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let is_of_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$');
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text[from..].find(is_of_word)?;
        let end = text[start..].find(|c| !is_of_word(c)).map_or(text.len(), |n| start + n);
        from = end;
        Some(start..end)
    })
}

/// The secret that a word is, or that follows it.
fn secret_at(text: &str, word: Range<usize>) -> Option<Range<usize>> {
    let (name, after) = (&text[word.clone()], &text[word.end..]);
    if name.starts_with(ROOT_KEY) && name.len() > ROOT_KEY.len() {
        return Some(word.start + ROOT_KEY.len()..word.end);
    }
    if is_seed(name) {
        return Some(word);
    }
    if is_bcrypt(text.get(word.start..word.start + 60).unwrap_or_default()) {
        return Some(word.start..word.start + 60);
    }
    if let Some(password) = after.strip_prefix(':') {
        // `user:password@host`.
        let end = password.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '/' | ',' | '`' | '@'))?;
        return (end > 0 && password[end..].starts_with('@')).then_some(word.end + 1..word.end + 1 + end);
    }
    let value = after.trim_start_matches([' ', '\t']).strip_prefix('=')?.trim_start_matches([' ', '\t']);
    let is_secret = !name.ends_with("_env") && nearest(name, KEYS).is_some();
    let start = text.len() - value.len();
    is_secret.then(|| start..start + value_length(value)).filter(|secret| !secret.is_empty())
}

/// The length of a TOML value, or of what may be one, at the start of a text.
fn value_length(text: &str) -> usize {
    let line = text.find('\n').unwrap_or(text.len());
    match text.chars().next() {
        Some(quote @ ('"' | '\'')) => text[1..line].find(quote).map_or(line, |end| end + 2),
        _ => text[..line].find([',', '}', ']', ' ']).unwrap_or(line),
    }
}

/// Whether a word is the seed of an nkey.
fn is_seed(word: &str) -> bool {
    word.len() == 58 && word.starts_with('S') && word.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'))
}

fn is_bcrypt(text: &str) -> bool {
    ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|version| text.starts_with(version))
        && text[4..].bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'$' | b'.' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_hidden_and_nothing_else() {
        let seed = format!("SU{}", "A".repeat(56));
        let hash = format!("$2a$11${}", "x".repeat(53));
        for (text, secret) in [
            ("root = \"tenantry-root-1-abc234", "1-abc234"),
            ("password = \"hunter2\"", "\"hunter2\""),
            ("{ name = \"u\", passwort = 'hunter2' }", "'hunter2'"),
            ("seed = hunter2, x = 1", "hunter2"),
            ("password = \"no end", "\"no end"),
            ("client = \"bob:hunter2@127.0.0.1:4222\"", "hunter2"),
            ("nats://bob:hunter2@host:4222", "hunter2"),
            (&format!("generation = \"{seed}\""), &seed),
            (&format!("password: \"{hash}\""), &hash),
        ] {
            assert_eq!(redacted(text), text.replace(secret, &"*".repeat(secret.len())), "{text}");
        }
        for text in [
            "password_env = \"APP_PASSWORD\"",
            "client = \"127.0.0.1:4222\"",
            "root = \"file:.tenantry/root.key\"",
            "name = \"a\" # the password is kept elsewhere",
            "url = \"nats://bob@host:4222\"",
            "public_key = \"UAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"",
            "password",
            "ü = 1",
        ] {
            assert_eq!(redacted(text), text);
        }
    }
}
