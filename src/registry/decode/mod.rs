//! Decodes TOML into typed values with source locations, and collects every problem.
//!
//! serde stops at the first error, so this module walks the parsed document itself.
//! [`keys!`] declares one table of the registry and generates the struct, its
//! decoder, the list of known keys (for suggestions) and its part of the JSON Schema.

mod keys;
mod scalar;
mod table;

use serde_json::{Value as Json, json};
use toml::de::DeValue;

use crate::diag::{Diagnostic, Span, Spanned};
use crate::registry::codes;
pub use keys::property;
pub(crate) use keys::{keys, words};
pub use scalar::{Int, Scalar};
pub use table::{Field, Key, Labels, Table};

/// Decodes the values of one file and collects diagnostics.
#[derive(Debug)]
pub struct Decoder<'d> {
    /// Index of the file in [`crate::diag::Sources`].
    pub file: u32,
    /// Receives the diagnostics.
    pub diagnostics: &'d mut Vec<Diagnostic>,
}

/// A TOML value with its byte range.
pub type Node<'i> = toml::Spanned<DeValue<'i>>;

impl Decoder<'_> {
    /// The span of a byte range in the file.
    pub fn span(&self, range: std::ops::Range<usize>) -> Span {
        let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Span { file: self.file, start: clamp(range.start), end: clamp(range.end) }
    }

    fn wrong_type(&mut self, node: &Node<'_>, expected: &str) {
        let span = self.span(node.span());
        let found = describe(node.get_ref());
        self.diagnostics.push(
            Diagnostic::error(codes::WRONG_TYPE, span, format!("expected {expected}, found {found}"))
                .label(format!("expected {expected}")),
        );
    }

    fn missing(&mut self, span: Span, table: &str, key: &str) {
        self.diagnostics.push(
            Diagnostic::error(codes::MISSING_KEY, span, format!("{table} has no `{key}`")).hint(if key == "version" {
                "add `version = 1`".into()
            } else {
                format!("add `{key} = ...`")
            }),
        );
    }

    /// The table in `node`. Reports an error and returns `None` if it is not a table.
    pub fn table<'t, 'i>(&mut self, node: &'t Node<'i>, what: &'static str) -> Option<Table<'t, 'i>> {
        let DeValue::Table(table) = node.get_ref() else {
            self.wrong_type(node, "a table");
            if let Some(last) = self.diagnostics.last_mut() {
                last.hint = Some(format!("{what} is written under a header of its own, with its keys below it"));
            }
            return None;
        };
        Some(Table { table, span: self.span(node.span()), what, misspelt: Vec::new() })
    }
}

fn describe(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// A value that can be decoded from TOML.
pub trait Decode: Sized {
    /// Decodes the value. Reports an error and returns `None` if it cannot be decoded.
    fn decode(node: &Node<'_>, d: &mut Decoder<'_>) -> Option<Self>;
    /// The value's JSON Schema.
    fn schema() -> Json;
}

impl<T: Decode> Decode for Spanned<T> {
    fn decode(node: &Node<'_>, d: &mut Decoder<'_>) -> Option<Self> {
        let span = d.span(node.span());
        T::decode(node, d).map(|value| Self { value, span })
    }
    fn schema() -> Json {
        T::schema()
    }
}

/// A list or an array of tables. It records whether an item was unreadable, so that a
/// misspelt item is not also reported as missing.
#[derive(Debug, Clone)]
pub struct List<T> {
    items: Vec<T>,
    is_whole: bool,
}

impl<T> List<T> {
    /// The list for a key whose value is not a list.
    fn unreadable() -> Self {
        Self { items: Vec::new(), is_whole: false }
    }

    /// Whether every item was readable.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether the list is written as empty. Unlike `is_empty`, false if an item was unreadable.
    pub fn says_nothing(&self) -> bool {
        self.items.is_empty() && self.is_whole
    }

    /// Appends another list.
    pub fn append(&mut self, other: Self) {
        self.items.extend(other.items);
        self.is_whole &= other.is_whole;
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { items: Vec::new(), is_whole: true }
    }
}

impl<T> std::ops::Deref for List<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<'l, T> IntoIterator for &'l List<T> {
    type Item = &'l T;
    type IntoIter = std::slice::Iter<'l, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

impl<T: Decode> Decode for List<T> {
    fn decode(node: &Node<'_>, d: &mut Decoder<'_>) -> Option<Self> {
        let DeValue::Array(array) = node.get_ref() else {
            d.wrong_type(node, "an array");
            if let Some(last) = d.diagnostics.last_mut() {
                last.hint = Some(match node.get_ref() {
                    DeValue::Table(_) => "write the header with double brackets: `[[...]]`".into(),
                    DeValue::String(text) => format!("put it in brackets: [\"{text}\"]"),
                    _ => "write a list in brackets: [\"one\", \"two\"]".into(),
                });
            }
            return None;
        };
        // Keeps the readable items, so that validation still checks them.
        let items: Vec<T> = array.iter().filter_map(|item| T::decode(item, d)).collect();
        let is_whole = items.len() == array.len();
        Some(Self { items, is_whole })
    }
    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }
}

/// Named tables, as in `[role.auditor]`.
#[derive(Debug, Clone)]
pub struct Named<T>(pub Vec<(Spanned<String>, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Decode> Decode for Named<T> {
    fn decode(node: &Node<'_>, d: &mut Decoder<'_>) -> Option<Self> {
        let DeValue::Table(table) = node.get_ref() else {
            d.wrong_type(node, "a table of tables");
            return None;
        };
        let mut named = Vec::new();
        for (key, value) in table {
            let span = d.span(key.span());
            if let Some(item) = T::decode(value, d) {
                named.push((Spanned { value: key.get_ref().to_string(), span }, item));
            }
        }
        Some(Self(named))
    }
    fn schema() -> Json {
        json!({ "type": "object", "additionalProperties": T::schema() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::raw::{Limits, Registry};
    use crate::registry::testing::{TWO_TENANTS, codes_of, decode_file, decode_value, refusal_of};
    use crate::subject::Subject;

    type Subjects = List<Spanned<Subject>>;

    #[test]
    fn an_unreadable_item_is_reported_once_and_the_others_are_kept() {
        let (list, diagnostics) = decode_value::<Subjects>("[\"a\", \"b..c\", \"d\"]");
        let list = list.expect("a list");
        assert_eq!(list.iter().map(|s| s.value.as_str()).collect::<Vec<_>>(), ["a", "d"]);
        assert!(!list.is_whole());
        assert_eq!(diagnostics.iter().map(|d| d.rule).collect::<Vec<_>>(), [codes::INVALID_SUBJECT]);
        let (whole, none) = decode_value::<Subjects>("[\"a\", \"d\"]");
        assert!(whole.is_some_and(|l| l.is_whole()) && none.is_empty(), "the control");
    }

    #[test]
    fn an_empty_list_says_nothing_and_an_unreadable_one_does_not() {
        let says_nothing = |value: &str| decode_value::<Subjects>(value).0.map(|l| (l.is_empty(), l.says_nothing()));
        assert_eq!(says_nothing("[]"), Some((true, true)));
        assert_eq!(says_nothing("[\"..\"]"), Some((true, false)));
        assert_eq!(says_nothing("[\"a\"]"), Some((false, false)));
    }

    #[test]
    fn a_list_with_an_unreadable_part_stays_unreadable_when_another_is_appended() {
        let list = |value: &str| decode_value::<Subjects>(value).0.expect("a list");
        let mut joined = list("[\"a\"]");
        joined.append(list("[\"b\"]"));
        assert_eq!((joined.len(), joined.is_whole()), (2, true));
        joined.append(list("[\"..\"]"));
        assert_eq!((joined.len(), joined.is_whole()), (2, false));
    }

    #[test]
    fn a_value_that_is_no_list_is_hinted_how_to_write_one() {
        let cases = [
            ("\"a.>\"", "put it in brackets: [\"a.>\"]"),
            ("{ a = 1 }", "write the header with double brackets: `[[...]]`"),
            ("5", "write a list in brackets: [\"one\", \"two\"]"),
        ];
        for (value, hint) in cases {
            let diagnostic = refusal_of::<Subjects>(value);
            assert_eq!((diagnostic.rule, diagnostic.hint.as_deref()), (codes::WRONG_TYPE, Some(hint)), "{value}");
        }
    }

    #[test]
    fn a_value_that_is_no_table_is_hinted_to_stand_below_a_header() {
        let diagnostic = refusal_of::<Limits>("5");
        assert_eq!(diagnostic.message, "expected a table, found an integer");
        let hint = "[tenant.limits] is written under a header of its own, with its keys below it";
        assert_eq!(diagnostic.hint.as_deref(), Some(hint));
    }

    #[test]
    fn an_unreadable_named_table_is_reported_once_and_the_others_are_kept() {
        let (named, diagnostics) = decode_value::<Named<Limits>>("{ a = { payload = \"1KiB\" }, b = 5 }");
        let named = named.expect("tables");
        assert_eq!(named.0.iter().map(|(name, _)| name.value.as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(diagnostics.iter().map(|d| d.rule).collect::<Vec<_>>(), [codes::WRONG_TYPE]);
    }

    #[test]
    fn the_missing_version_is_hinted_with_its_only_value() {
        let (_, diagnostics) = decode_file::<Registry>("");
        assert_eq!(diagnostics.iter().map(|d| d.hint.as_deref()).collect::<Vec<_>>(), [Some("add `version = 1`")]);
    }

    #[test]
    fn one_mistake_is_one_error() {
        let stream = "[[tenant.stream]]\nname = \"S\"\nsubjects = [\"T.>\"]\n";
        let good = format!("{TWO_TENANTS}{stream}");
        let mistakes = [
            ("name = \"T\"", "name = \"T T\"", codes::INVALID_NAME),
            ("name = \"app\"", "name = \"app.app\"", codes::INVALID_NAME),
            ("name = \"S\"", "name = \"\"", codes::INVALID_NAME),
            ("name = \"T\"", "name = \"T\"\nsubjects = \"T.>\"", codes::WRONG_TYPE),
            ("name = \"T\"", "name = \"T\"\nsubjects = [\"T..\"]", codes::INVALID_SUBJECT),
            ("name = \"app\"", "name = \"app\"\nrole = 5", codes::WRONG_TYPE),
            ("subjects = [\"T.>\"]", "subjects = [\"T.>\"]\nmax_age = \"soon\"", codes::INVALID_DURATION),
            ("storage = \"1GiB\"", "storage = \"1Gi\"", codes::INVALID_SIZE),
            ("root = \"development\"", "root = \"developmnet\"", codes::INVALID_ROOT),
        ];
        assert_eq!(codes_of(&good), [""; 0], "the control");
        for (right, wrong, code) in mistakes {
            assert!(good.contains(right), "{right}");
            assert_eq!(codes_of(&good.replacen(right, wrong, 1)), [code], "{wrong}");
        }
    }
}
