//! A table of the registry during decoding, and how a struct field decodes its key.

use serde_json::{Value as Json, json};
use toml::de::DeTable;

use super::{Decode, Decoder, List, Named, Node};
use crate::diag::{Diagnostic, Span, Spanned, nearest};
use crate::registry::codes;

/// A table during decoding.
#[derive(Debug)]
pub struct Table<'t, 'i> {
    pub(super) table: &'t DeTable<'i>,
    /// Location of the table in the registry.
    pub span: Span,
    /// The table's name in messages: `a tenant`.
    pub what: &'static str,
}

impl<'t, 'i> Table<'t, 'i> {
    fn get(&self, key: &str) -> Option<&'t Node<'i>> {
        self.table.get(key)
    }

    /// Reports every key that is not in `known`.
    pub fn refuse_unknown(&self, known: &[&'static str], d: &mut Decoder<'_>) {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let span = d.span(key.span());
            let diagnostic = Diagnostic::error(codes::UNKNOWN_KEY, span, format!("{} has no key `{name}`", self.what));
            let lower = name.to_lowercase();
            d.diagnostics.push(if ["pass", "secret", "seed", "token"].iter().any(|word| lower.contains(word)) {
                diagnostic.confidential().hint(
                    "secrets are never written in the registry: `auth = \"password\"` generates one, \
                     `password_env` names the variable that holds one",
                )
            } else {
                diagnostic.label("unknown key").hint(match nearest(name, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known keys: {}", known.join(", ")),
                })
            });
        }
    }
}

/// An optional key. `Invalid` is distinct from `Absent`, so that an unreadable value is
/// not also reported as missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<T> {
    /// The key is not written.
    Absent,
    /// The key is written but unreadable; the error is already reported.
    Invalid,
    /// The key is written and readable.
    Given(T),
}

impl<T> Key<T> {
    /// The value. `None` if the key is absent or unreadable.
    pub fn get(&self) -> Option<&T> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent | Self::Invalid => None,
        }
    }

    /// Whether the key is not written.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// A struct field that is decoded from a key of a table.
pub trait Field: Sized {
    /// Whether the key is required.
    const REQUIRED: bool;
    /// Decodes the key. `None` means that the whole table is unusable.
    fn take(key: &'static str, table: &Table<'_, '_>, d: &mut Decoder<'_>) -> Option<Self>;
    /// The JSON Schema of the key's value.
    fn schema() -> Json;
}

impl<T: Decode> Field for Spanned<T> {
    const REQUIRED: bool = true;
    fn take(key: &'static str, table: &Table<'_, '_>, d: &mut Decoder<'_>) -> Option<Self> {
        match table.get(key) {
            Some(node) => Self::decode(node, d),
            None => {
                d.missing(table.span, table.what, key);
                None
            }
        }
    }
    fn schema() -> Json {
        T::schema()
    }
}

impl<T: Decode> Field for Key<T> {
    const REQUIRED: bool = false;
    fn take(key: &'static str, table: &Table<'_, '_>, d: &mut Decoder<'_>) -> Option<Self> {
        Some(match table.get(key) {
            None => Self::Absent,
            Some(node) => T::decode(node, d).map_or(Self::Invalid, Self::Given),
        })
    }
    fn schema() -> Json {
        T::schema()
    }
}

impl<T: Decode> Field for List<T> {
    const REQUIRED: bool = false;
    fn take(key: &'static str, table: &Table<'_, '_>, d: &mut Decoder<'_>) -> Option<Self> {
        let Some(node) = table.get(key) else { return Some(Self::default()) };
        Some(Self::decode(node, d).unwrap_or_else(Self::unreadable))
    }
    fn schema() -> Json {
        <Self as Decode>::schema()
    }
}

/// Labels: pairs of name and text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(pub Vec<(String, String)>);

impl Decode for Labels {
    fn decode(node: &Node<'_>, d: &mut Decoder<'_>) -> Option<Self> {
        let named: Named<String> = Named::decode(node, d)?;
        Some(Self(named.0.into_iter().map(|(key, value)| (key.value, value)).collect()))
    }
    fn schema() -> Json {
        json!({ "type": "object", "additionalProperties": { "type": "string" } })
    }
}

impl<T: Decode> Field for Named<T> {
    const REQUIRED: bool = false;
    fn take(key: &'static str, table: &Table<'_, '_>, d: &mut Decoder<'_>) -> Option<Self> {
        Some(table.get(key).and_then(|node| Self::decode(node, d)).unwrap_or_default())
    }
    fn schema() -> Json {
        <Self as Decode>::schema()
    }
}
