//! Subject algebra: tokens, wildcards, subset and overlap, and an index that
//! finds the patterns that overlap a subject without comparing every pair.
//!
//! The rules are the server's: tokens are separated by `.`, `*` matches one
//! token, `>` matches one or more tokens and must be last. The server treats a
//! wildcard inside a token (`foo*`) as literal text, which is never intended,
//! so [`Subject::parse`] rejects it.

use std::collections::BTreeMap;
use std::fmt;

/// A subject or subject pattern that nats-server accepts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(Box<str>);

/// Why [`Subject::parse`] rejects a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// The text is empty.
    #[error("a subject cannot be empty")]
    Empty,
    /// Two consecutive dots, or a leading or trailing dot.
    #[error("it has an empty token: a dot too many")]
    EmptyToken,
    /// `>` in a token other than the last.
    #[error("`>` must be the last token")]
    TailNotLast,
    /// `*` or `>` with other characters in the same token.
    #[error("a wildcard must be a token of its own: `foo*` matches only the letters `foo*`")]
    PartialWildcard,
    /// White space or a control character.
    #[error("it contains white space or a control character")]
    Space,
    /// Longer than [`MAX_LENGTH`].
    #[error("it is longer than {MAX_LENGTH} bytes")]
    TooLong,
    /// A quote or backslash, which no client library escapes reliably.
    #[error("it contains a quote or a backslash")]
    Quote,
}

/// Maximum length of a subject. Bytes. The server limits a whole protocol line
/// to 4096 bytes; this leaves room for the rest of the line.
pub const MAX_LENGTH: usize = 1024;

impl Subject {
    /// `>`: every subject.
    pub fn everything() -> Self {
        Self(">".into())
    }

    /// Parses a subject pattern; stricter than the server, see [`SubjectError`].
    pub fn parse(text: &str) -> Result<Self, SubjectError> {
        if text.is_empty() {
            return Err(SubjectError::Empty);
        }
        if text.len() > MAX_LENGTH {
            return Err(SubjectError::TooLong);
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(SubjectError::Space);
        }
        if text.contains(['"', '\'', '\\']) {
            return Err(SubjectError::Quote);
        }
        let mut tokens = text.split('.').peekable();
        while let Some(token) = tokens.next() {
            match token {
                "" => return Err(SubjectError::EmptyToken),
                ">" if tokens.peek().is_some() => return Err(SubjectError::TailNotLast),
                ">" | "*" => {}
                _ if token.contains(['*', '>']) => return Err(SubjectError::PartialWildcard),
                _ => {}
            }
        }
        Ok(Self(text.into()))
    }

    /// Parses a subject as nats-server does in a configuration, where `foo*` is
    /// an ordinary token. `None`: the server rejects it.
    pub fn as_the_server_reads(text: &str) -> Option<Self> {
        let mut after_tail = false;
        for token in text.split('.') {
            if token.is_empty() || after_tail || token.contains(['\t', '\n', '\u{c}', '\r', ' ']) {
                return None;
            }
            after_tail = token == ">";
        }
        Some(Self(text.into()))
    }

    /// The subjects that an export of this text offers: the server reads it up to its first `>`. `None`: none.
    pub fn as_exported(text: &str) -> Option<Self> {
        let mut tail = false;
        let tokens = text.split('.').take_while(|token| !std::mem::replace(&mut tail, *token == ">"));
        Self::as_the_server_reads(&tokens.collect::<Vec<_>>().join("."))
    }

    /// Whether any token is a wildcard.
    pub fn has_wildcard(&self) -> bool {
        self.tokens().any(is_wildcard)
    }

    /// The text of the subject.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tokens, split at the dots.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// The first token; a subject always has one.
    pub fn first_token(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }

    /// Whether `self` matches every subject that `other` matches.
    pub fn contains(&self, other: &Self) -> bool {
        let (mut mine, mut theirs) = (self.tokens(), other.tokens());
        loop {
            match (mine.next(), theirs.next()) {
                (Some(">"), Some(_)) => return true,
                (Some("*"), Some(token)) if token != ">" => {}
                (Some(a), Some(b)) if a == b && a != "*" => {}
                (None, None) => return true,
                _ => return false,
            }
        }
    }

    /// Whether `self` matches `other` with the wildcards of `other` taken for ordinary tokens, as
    /// the server compares a subscription with a permission: `a.*` matches `a.>`.
    pub fn matches_literally(&self, other: &Self) -> bool {
        let (mut mine, mut theirs) = (self.tokens(), other.tokens());
        loop {
            match (mine.next(), theirs.next()) {
                (Some(">"), Some(_)) => return true,
                (Some("*"), Some(_)) => {}
                (Some(a), Some(b)) if a == b => {}
                (None, None) => return true,
                _ => return false,
            }
        }
    }

    /// The subscription that the server lets an allowed `a.*` admit beside it: `a.>`. `None`: the subject does not end
    /// in `*`.
    pub fn widened(&self) -> Option<Self> {
        let before = self.0.strip_suffix('*').filter(|before| before.is_empty() || before.ends_with('.'))?;
        Self::as_the_server_reads(&format!("{before}>"))
    }

    /// What that subscription may receive and `a.*` does not match: `a.*.>`. `None`: the subject does not end in `*`.
    pub fn below_wildcard(&self) -> Option<Self> {
        self.widened().and_then(|_| Self::as_the_server_reads(&format!("{self}.>")))
    }

    /// Whether some subject is matched by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (mut mine, mut theirs) = (self.tokens(), other.tokens());
        loop {
            match (mine.next(), theirs.next()) {
                (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
                (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
                (None, None) => return true,
                _ => return false,
            }
        }
    }

    /// The intersection: the pattern that matches what both match. `None`: disjoint.
    pub fn meet(&self, other: &Self) -> Option<Self> {
        let mut made: Vec<&str> = Vec::new();
        let (mut mine, mut theirs) = (self.tokens(), other.tokens());
        loop {
            match (mine.next(), theirs.next()) {
                (Some(">"), Some(token)) => {
                    made.push(token);
                    made.extend(theirs);
                    break;
                }
                (Some(token), Some(">")) => {
                    made.push(token);
                    made.extend(mine);
                    break;
                }
                (Some("*"), Some(token)) | (Some(token), Some("*")) => made.push(token),
                (Some(a), Some(b)) if a == b => made.push(a),
                (None, None) => break,
                _ => return None,
            }
        }
        Some(Self(made.join(".").into()))
    }

    /// Whether the subject overlaps a namespace reserved by the server: `$...`,
    /// `_INBOX...`, `_R_` (service replies) or `_GR_` (gateway replies).
    ///
    /// A wildcard in the first token overlaps all of them.
    pub fn touches_reserved_space(&self) -> bool {
        let first = self.first_token();
        is_wildcard(first) || first.starts_with('$') || first.starts_with("_INBOX") || matches!(first, "_R_" | "_GR_")
    }
}

fn is_wildcard(token: &str) -> bool {
    token == "*" || token == ">"
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

impl serde::Serialize for Subject {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// A trie of subject patterns. A lookup costs the length of the query plus the
/// number of hits, not the number of patterns.
#[derive(Debug)]
pub struct SubjectIndex<T> {
    root: IndexNode<T>,
}

#[derive(Debug)]
struct IndexNode<T> {
    here: Vec<T>,
    children: BTreeMap<Box<str>, IndexNode<T>>,
}

impl<T> Default for IndexNode<T> {
    fn default() -> Self {
        Self { here: Vec::new(), children: BTreeMap::new() }
    }
}

impl<T> Default for SubjectIndex<T> {
    fn default() -> Self {
        Self { root: IndexNode::default() }
    }
}

impl<T> SubjectIndex<T> {
    /// Adds a pattern and the value that [`Self::overlapping`] returns for it.
    pub fn insert(&mut self, subject: &Subject, value: T) {
        let mut node = &mut self.root;
        for token in subject.tokens() {
            node = node.children.entry(token.into()).or_default();
        }
        node.here.push(value);
    }

    /// The values of all patterns that overlap `subject`.
    pub fn overlapping<'i>(&'i self, subject: &Subject) -> Vec<&'i T> {
        let tokens: Vec<&str> = subject.tokens().collect();
        let mut hits = Vec::new();
        self.root.overlapping(&tokens, &mut hits);
        hits
    }
}

impl<T> IndexNode<T> {
    fn overlapping<'i>(&'i self, tokens: &[&str], hits: &mut Vec<&'i T>) {
        let Some((token, rest)) = tokens.split_first() else {
            hits.extend(&self.here);
            return;
        };
        if *token == ">" {
            self.children.values().for_each(|child| child.collect(hits));
            return;
        }
        if let Some(tail) = self.children.get(">") {
            hits.extend(&tail.here);
        }
        if *token == "*" {
            for (name, child) in &self.children {
                if name.as_ref() != ">" {
                    child.overlapping(rest, hits);
                }
            }
            return;
        }
        for name in [*token, "*"] {
            if let Some(child) = self.children.get(name) {
                child.overlapping(rest, hits);
            }
        }
    }

    fn collect<'i>(&'i self, hits: &mut Vec<&'i T>) {
        hits.extend(&self.here);
        self.children.values().for_each(|child| child.collect(hits));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subject(text: &str) -> Subject {
        Subject::parse(text).expect(text)
    }

    #[test]
    fn a_last_wildcard_admits_a_wider_subscription() {
        let text = |subject: Option<Subject>| subject.map(|subject| subject.as_str().to_owned());
        for (listed, widened, below) in [
            ("a.*", Some("a.>"), Some("a.*.>")),
            ("*", Some(">"), Some("*.>")),
            ("a.*.*", Some("a.*.>"), Some("a.*.*.>")),
            ("a.*.b", None, None),
            ("a.b*", None, None),
            ("a.>", None, None),
        ] {
            let subject = Subject::as_the_server_reads(listed).expect("a subject");
            assert_eq!(text(subject.widened()).as_deref(), widened, "{listed}");
            assert_eq!(text(subject.below_wildcard()).as_deref(), below, "{listed}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_subject() {
        for (text, error) in [
            ("", SubjectError::Empty),
            (".a", SubjectError::EmptyToken),
            ("a..b", SubjectError::EmptyToken),
            ("a.", SubjectError::EmptyToken),
            ("a.>.b", SubjectError::TailNotLast),
            ("foo*", SubjectError::PartialWildcard),
            ("foo.b>r", SubjectError::PartialWildcard),
            ("a b", SubjectError::Space),
            ("a\u{0}", SubjectError::Space),
            ("a.\"b", SubjectError::Quote),
        ] {
            assert_eq!(Subject::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn reserved_spaces_and_wildcards_over_them_are_known() {
        for text in [">", "*.b", "$SYS.>", "$KV.b.k", "_INBOX.>", "_INBOX_me.>", "_R_.x", "_GR_.>"] {
            assert!(subject(text).touches_reserved_space(), "{text}");
        }
        for text in ["a", "INBOX.>", "_R.>", "a.$SYS.>", "a.*"] {
            assert!(!subject(text).touches_reserved_space(), "{text}");
        }
    }

    fn server(text: &str) -> Subject {
        Subject::as_the_server_reads(text).expect(text)
    }

    #[test]
    fn contains_and_overlaps_and_meet_agree_on_their_borders() {
        // Pattern, pattern, whether the first contains the second, what both match.
        for (a, b, contains, both) in [
            ("a.b", "a.b", true, Some("a.b")),
            ("a.b", "a.c", false, None),
            ("a", "a.b", false, None),
            ("a.>", "a", false, None),
            ("a.>", "a.b.c", true, Some("a.b.c")),
            ("a.b.c", "a.>", false, Some("a.b.c")),
            (">", "*", true, Some("*")),
            ("*", ">", false, Some("*")),
            ("*", "*", true, Some("*")),
            ("a.*", "a.>", false, Some("a.*")),
            ("a.>", "a.*", true, Some("a.*")),
            ("a.*", "*.b", false, Some("a.b")),
            ("a.*.>", "*.b.>", false, Some("a.b.>")),
            ("*.*", "a.>", false, Some("a.*")),
            ("*.*", "a.b.>", false, None),
            ("*.>", "a.b.>", true, Some("a.b.>")),
        ] {
            let (a, b) = (subject(a), subject(b));
            assert_eq!(a.contains(&b), contains, "{a} contains {b}");
            assert_eq!(a.overlaps(&b), both.is_some(), "{a} overlaps {b}");
            assert_eq!(b.overlaps(&a), both.is_some(), "{b} overlaps {a}");
            assert_eq!(a.meet(&b), both.map(subject), "{a} meets {b}");
            assert_eq!(b.meet(&a), both.map(subject), "{b} meets {a}");
        }
    }

    #[test]
    fn a_star_inside_a_token_is_no_wildcard_to_the_server() {
        assert!(!server("foo*").has_wildcard());
        assert!(!server("foo*").overlaps(&server("foobar")));
        assert!(server("foo.*").has_wildcard());
        assert!(server("foo.*").overlaps(&server("foo.bar")));
    }

    #[test]
    fn the_server_accepts_more_texts_as_subjects_than_parse_does() {
        for (text, server, strict) in [
            ("a.b", true, true),
            ("foo*", true, false),
            ("a.\"b", true, false),
            ("a.\u{1}", true, false),
            ("a b", false, false),
            ("a..b", false, false),
            ("", false, false),
            (">.a", false, false),
            ("a.>", true, true),
        ] {
            assert_eq!(Subject::as_the_server_reads(text).is_some(), server, "{text:?}");
            assert_eq!(Subject::parse(text).is_ok(), strict, "{text:?}");
        }
    }

    #[test]
    fn the_longest_subject_has_max_length_bytes() {
        assert!(Subject::parse(&"a".repeat(MAX_LENGTH)).is_ok());
        assert_eq!(Subject::parse(&"a".repeat(MAX_LENGTH + 1)), Err(SubjectError::TooLong));
        let bytes_not_characters = "é".repeat(MAX_LENGTH / 2 + 1);
        assert_eq!(Subject::parse(&bytes_not_characters), Err(SubjectError::TooLong));
    }

    #[test]
    fn the_index_returns_every_value_of_a_pattern_and_none_that_is_disjoint() {
        let mut index = SubjectIndex::default();
        for (pattern, value) in [("a.b", 1), ("a.b", 2), ("a.*", 3), ("a.>", 4), ("a", 5), ("b.>", 6)] {
            index.insert(&subject(pattern), value);
        }
        for (query, expected) in [
            ("a.b", vec![1, 2, 3, 4]),
            ("a.c", vec![3, 4]),
            ("a.b.c", vec![4]),
            ("a", vec![5]),
            ("*", vec![5]),
            ("*.b", vec![1, 2, 3, 4, 6]),
            (">", vec![1, 2, 3, 4, 5, 6]),
            ("c", vec![]),
        ] {
            let mut found: Vec<i32> = index.overlapping(&subject(query)).into_iter().copied().collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{query}");
        }
    }

    /// Every literal subject of 1 to `depth` tokens over {a, b}.
    fn all_literals(depth: usize) -> Vec<Vec<&'static str>> {
        let mut all: Vec<Vec<&str>> = vec![vec![]];
        let mut last = all.clone();
        for _ in 0..depth {
            last = last.iter().flat_map(|s| ["a", "b"].map(|t| s.iter().copied().chain([t]).collect())).collect();
            all.extend(last.clone());
        }
        all.retain(|s| !s.is_empty());
        all
    }

    /// Reference implementation of a match, deliberately unlike the code under test.
    fn matches(pattern: &[&str], literal: &[&str]) -> bool {
        match (pattern, literal) {
            ([], []) => true,
            ([">"], [_, ..]) => true,
            (["*", p @ ..], [_, l @ ..]) => matches(p, l),
            ([x, p @ ..], [y, l @ ..]) => x == y && matches(p, l),
            _ => false,
        }
    }

    fn pattern() -> impl Strategy<Value = Subject> {
        (proptest::collection::vec(prop_oneof!["a", "b", Just("*".to_owned())], 0..4), any::<bool>()).prop_filter_map(
            "a subject has a token",
            |(mut tokens, tail)| {
                if tail {
                    tokens.push(">".to_owned());
                }
                Subject::parse(&tokens.join(".")).ok()
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Depth 6 is two more than the longest pattern, which is enough to
        /// tell `>` from every finite pattern.
        #[test]
        fn subset_and_overlap_agree_with_brute_force(a in pattern(), b in pattern()) {
            let (ta, tb): (Vec<_>, Vec<_>) = (a.tokens().collect(), b.tokens().collect());
            let literals = all_literals(6);
            let overlap = literals.iter().any(|l| matches(&ta, l) && matches(&tb, l));
            let subset = literals.iter().all(|l| !matches(&tb, l) || matches(&ta, l));
            // Enumerating literals over {a, b} is sound because no single pattern can
            // express "a or b", the only set that would equal `*` over this alphabet alone.
            prop_assert_eq!(a.overlaps(&b), overlap, "{:?} overlaps {:?}", a, b);
            prop_assert_eq!(a.contains(&b), subset, "{:?} contains {:?}", a, b);
        }

        #[test]
        fn meet_matches_exactly_what_both_match(a in pattern(), b in pattern()) {
            let meet = a.meet(&b);
            let tokens = |s: &Subject| s.tokens().map(str::to_owned).collect::<Vec<_>>();
            let is_match = |s: &Subject, l: &[&str]| {
                matches(&tokens(s).iter().map(String::as_str).collect::<Vec<_>>(), l)
            };
            for literal in all_literals(5) {
                let both = is_match(&a, &literal) && is_match(&b, &literal);
                let met = meet.as_ref().is_some_and(|m| is_match(m, &literal));
                prop_assert_eq!(met, both, "{:?} and {:?} meet in {:?}, {:?}", a, b, meet, literal);
            }
        }

        #[test]
        fn the_index_finds_what_pairwise_comparison_finds(
            patterns in proptest::collection::vec(pattern(), 0..12), query in pattern()
        ) {
            let mut index = SubjectIndex::default();
            for (i, p) in patterns.iter().enumerate() {
                index.insert(p, i);
            }
            let mut found: Vec<usize> = index.overlapping(&query).into_iter().copied().collect();
            found.sort_unstable();
            let expected: Vec<usize> =
                (0..patterns.len()).filter(|&i| patterns[i].overlaps(&query)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
