//! A table of the registry during decoding, and how a struct field decodes its key.

use serde_json::{Value as Json, json};
use toml::de::{DeTable, DeValue};

use super::{Decode, Decoder, List, Named, Node};
use crate::diag::{Diagnostic, Span, Spanned, nearest};
use crate::registry::codes;

/// Keys that are often written in the wrong table: that table, the key, and where it belongs.
const ELSEWHERE: [(&str, &str, &str); 29] = [
    ("a tenant", "storage", "[tenant.jetstream]"),
    ("a tenant", "memory", "[tenant.jetstream]"),
    ("a tenant", "streams", "[tenant.jetstream]; a stream begins with [[tenant.stream]]"),
    ("a tenant", "consumers", "[tenant.jetstream]; a consumer begins with [[tenant.stream.consumer]]"),
    ("a tenant", "consumer", "a stream: [[tenant.stream.consumer]]"),
    ("a tenant", "connections", "[tenant.limits]"),
    ("a tenant", "subscriptions", "[tenant.limits]"),
    ("a tenant", "payload", "[tenant.limits]"),
    ("a tenant", "publish", "a role: [role.NAME], which users name by `role`"),
    ("a tenant", "subscribe", "a role: [role.NAME], which users name by `role`"),
    ("a user", "publish", "a role: [role.NAME], which users name by `role`"),
    ("a user", "subscribe", "a role: [role.NAME], which users name by `role`"),
    ("a user", "subjects", "the tenant: write it above its first [[tenant.user]]"),
    ("a user", "limits", "the tenant: write it above its first [[tenant.user]], or as [tenant.limits]"),
    ("a user", "jetstream", "the tenant: write it above its first [[tenant.user]], or as [tenant.jetstream]"),
    ("a user", "suspended", "the tenant: write it above its first [[tenant.user]]"),
    ("[server]", "storage", "[server.jetstream]"),
    ("the registry", "user", "a tenant: [[tenant.user]], below its [[tenant]]"),
    ("the registry", "stream", "a tenant: [[tenant.stream]], below its [[tenant]]"),
    ("the registry", "bucket", "a tenant: [[tenant.bucket]], below its [[tenant]]"),
    ("the registry", "object_store", "a tenant: [[tenant.object_store]], below its [[tenant]]"),
    ("the registry", "limits", "a tenant: [tenant.limits], below its [[tenant]]"),
    ("the registry", "jetstream", "the server, [server.jetstream], and of a tenant, [tenant.jetstream]"),
    ("an included file", "user", "a tenant: [[tenant.user]], below its [[tenant]]"),
    ("an included file", "stream", "a tenant: [[tenant.stream]], below its [[tenant]]"),
    ("an included file", "bucket", "a tenant: [[tenant.bucket]], below its [[tenant]]"),
    ("an included file", "object_store", "a tenant: [[tenant.object_store]], below its [[tenant]]"),
    ("an included file", "limits", "a tenant: [tenant.limits], below its [[tenant]]"),
    ("an included file", "jetstream", "the server, [server.jetstream], and of a tenant, [tenant.jetstream]"),
];

/// A table during decoding.
#[derive(Debug)]
pub struct Table<'t, 'i> {
    pub(super) table: &'t DeTable<'i>,
    /// Location of the table in the registry.
    pub span: Span,
    /// The table's name in messages: `a tenant`.
    pub what: &'static str,
    /// The keys that are probably meant by unknown ones. They count as unreadable, so that
    /// nobody is told as well that they are missing.
    pub(super) misspelt: Vec<&'static str>,
}

impl<'t, 'i> Table<'t, 'i> {
    fn get(&self, key: &str) -> Option<&'t Node<'i>> {
        self.table.get(key)
    }

    fn is_misspelt(&self, key: &str) -> bool {
        self.misspelt.contains(&key)
    }

    /// Reports every key that is not in `known`, before the known ones are decoded.
    pub fn refuse_unknown(&mut self, known: &[&'static str], d: &mut Decoder<'_>) {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let place = ELSEWHERE.iter().find(|(table, key, _)| (*table, *key) == (self.what, name));
            let near = nearest(name, known.iter().copied()).filter(|_| place.is_none());
            self.misspelt.extend(near);
            let span = d.span(key.span());
            let diagnostic = Diagnostic::error(codes::UNKNOWN_KEY, span, format!("{} has no key `{name}`", self.what));
            let lower = name.to_lowercase();
            d.diagnostics.push(if ["pass", "secret", "seed", "token"].iter().any(|word| lower.contains(word)) {
                diagnostic.confidential().hint(
                    "secrets are never written in the registry: `auth = \"password\"` generates one, \
                     `password_env` names the variable that holds one",
                )
            } else {
                diagnostic.label("unknown key").hint(match (near, place) {
                    (_, Some((.., place))) => format!("it is a key of {place}"),
                    (Some(near), None) => format!("did you mean `{near}`?"),
                    (None, None) => format!("known keys: {}", known.join(", ")),
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
            None if table.is_misspelt(key) => None,
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
            None if table.is_misspelt(key) => Self::Invalid,
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
        Some(match table.get(key) {
            None if table.is_misspelt(key) => Self::unreadable(),
            // Below a misspelt `[[tenants]]`, the header `[tenant.limits]` begins a table.
            Some(node) if table.is_misspelt(key) && matches!(node.get_ref(), DeValue::Table(_)) => Self::unreadable(),
            None => Self::default(),
            Some(node) => Self::decode(node, d).unwrap_or_else(Self::unreadable),
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::names::AccountName;
    use crate::model::units::Size;
    use crate::registry::decode::keys;
    use crate::registry::testing::decode_file;
    use crate::subject::Subject;

    keys! {
        /// A sample.
        Sample, "a sample" {
            /// Its name.
            name: Spanned<AccountName>,
            /// Its size.
            size: Key<Spanned<Size>>,
            /// Its subjects.
            subjects: List<Spanned<Subject>>,
            /// Its labels.
            labels: Key<Labels>,
        }
    }

    fn decode(text: &str) -> (Option<Sample>, Vec<Diagnostic>) {
        decode_file(text)
    }

    #[test]
    fn a_complete_table_is_read_with_the_span_of_each_value() {
        let text = "name = \"A\"\nsize = \"1KiB\"\nsubjects = [\"a.>\"]\nlabels = { team = \"x\" }\n";
        let (sample, diagnostics) = decode(text);
        let sample = sample.expect("a sample");
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        assert_eq!(sample.size.get().map(|s| s.value), Some(Size(1024)));
        assert_eq!(sample.labels.get().map(|l| l.0.as_slice()), Some(&[("team".to_owned(), "x".to_owned())][..]));
        let written = |span: Span| &text[span.start as usize..span.end as usize];
        assert_eq!((written(sample.name.span), written(sample.subjects[0].span)), ("\"A\"", "\"a.>\""));
        assert_eq!((sample.span.file, sample.span.start), (0, 0));
    }

    #[test]
    fn a_key_in_the_wrong_table_is_told_where_it_belongs() {
        let hints = |text: &str| {
            let loaded = crate::registry::testing::load_text(text);
            loaded.diagnostics.into_iter().map(|d| (d.rule, d.hint.unwrap_or_default())).collect::<Vec<_>>()
        };
        let user = "[[tenant.user]]\nname = \"u\"\n";
        for (table, key, place) in ELSEWHERE {
            let expected = (codes::UNKNOWN_KEY, format!("it is a key of {place}"));
            let text = match table {
                "an included file" => {
                    let (_, found) = decode_file::<crate::registry::raw::Included>(&format!("{key} = 1\n"));
                    let found: Vec<_> = found.into_iter().map(|d| (d.rule, d.hint.unwrap_or_default())).collect();
                    assert_eq!(found, [expected], "{key}");
                    continue;
                }
                "the registry" => format!("version = 1\n{key} = 1\n[[tenant]]\nname = \"T\"\n{user}"),
                "a tenant" => format!("version = 1\n[[tenant]]\nname = \"T\"\n{key} = 1\n{user}"),
                "a user" => format!("version = 1\n[[tenant]]\nname = \"T\"\n{user}{key} = 1\n"),
                _ => format!("version = 1\n[server]\n{key} = 1\n[[tenant]]\nname = \"T\"\n{user}"),
            };
            assert_eq!(hints(&text), [expected], "{text}");
        }
    }

    #[test]
    fn an_absent_optional_key_is_not_an_invalid_one() {
        let (absent, none) = decode("name = \"A\"");
        assert!(absent.is_some_and(|s| s.size.is_absent() && s.subjects.says_nothing()) && none.is_empty());
        let (invalid, one) = decode("name = \"A\"\nsize = \"big\"\nsubjects = 1");
        let invalid = invalid.expect("a sample");
        assert!(matches!(invalid.size, Key::Invalid) && invalid.size.get().is_none() && !invalid.size.is_absent());
        assert!(!invalid.subjects.says_nothing() && !invalid.subjects.is_whole());
        assert_eq!(one.iter().map(|d| d.rule).collect::<Vec<_>>(), [codes::INVALID_SIZE, codes::WRONG_TYPE]);
    }

    #[test]
    fn a_missing_required_key_makes_the_table_unusable_and_is_hinted() {
        let (sample, diagnostics) = decode("size = \"1KiB\"");
        assert!(sample.is_none());
        let [missing] = diagnostics.as_slice() else { panic!("{diagnostics:?}") };
        assert_eq!((missing.rule, missing.message.as_str()), (codes::MISSING_KEY, "a sample has no `name`"));
        assert_eq!(missing.hint.as_deref(), Some("add `name = ...`"));
    }

    #[test]
    fn an_unreadable_required_key_is_not_reported_as_missing_too() {
        let (sample, diagnostics) = decode("name = \"a b\"");
        assert!(sample.is_none());
        assert_eq!(diagnostics.iter().map(|d| d.rule).collect::<Vec<_>>(), [codes::INVALID_NAME]);
    }

    #[test]
    fn an_unknown_key_is_reported_with_the_nearest_or_all_known_keys() {
        let cases = [
            ("sise", "did you mean `size`?"),
            ("Subject", "did you mean `subjects`?"),
            ("frobnicate", "known keys: name, size, subjects, labels"),
        ];
        for (key, hint) in cases {
            let (sample, diagnostics) = decode(&format!("name = \"A\"\n{key} = 1"));
            assert!(sample.is_some(), "{key}: the known keys are still usable");
            let [unknown] = diagnostics.as_slice() else { panic!("{diagnostics:?}") };
            assert_eq!((unknown.rule, unknown.hint.as_deref()), (codes::UNKNOWN_KEY, Some(hint)), "{key}");
        }
    }

    #[test]
    fn a_key_that_may_hold_a_secret_does_not_show_its_value() {
        for key in ["password", "Seed", "api_token", "client_secret"] {
            let (_, diagnostics) = decode(&format!("name = \"A\"\n{key} = \"hunter2\""));
            let [unknown] = diagnostics.as_slice() else { panic!("{diagnostics:?}") };
            assert!(unknown.confidential && !format!("{unknown:?}").contains("hunter2"), "{unknown:?}");
        }
        let (_, diagnostics) = decode("name = \"A\"\nnote = \"hunter2\"");
        assert!(diagnostics.iter().all(|d| !d.confidential), "the control");
    }
}
