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
        Some(Table { table, span: self.span(node.span()), what })
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
