//! From spanned TOML to spanned values, collecting every problem on the way.
//!
//! serde stops at the first error, so this walks the parsed document itself.
//! [`keys!`] declares one table of the registry; from that one declaration
//! come the struct, its reader, the list of known keys (for suggestions) and
//! its part of the JSON Schema.

use serde_json::{Map, Value as Json, json};
use toml::de::{DeTable, DeValue};

use crate::diag::{Diagnostic, Span, Spanned, nearest};
use crate::model::{names, units};
use crate::subject::Subject;

/// Reads one file's values and keeps what is wrong with them.
#[derive(Debug)]
pub struct Decoder<'d> {
    /// The file that is being read.
    pub file: u32,
    /// Where problems go.
    pub diagnostics: &'d mut Vec<Diagnostic>,
}

/// A TOML value with its byte range.
pub type Node<'i> = toml::Spanned<DeValue<'i>>;

impl Decoder<'_> {
    /// The place of a byte range in the file being read.
    pub fn span(&self, range: std::ops::Range<usize>) -> Span {
        let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Span { file: self.file, start: clamp(range.start), end: clamp(range.end) }
    }

    fn wrong_type(&mut self, node: &Node<'_>, expected: &str) {
        let span = self.span(node.span());
        let found = describe(node.get_ref());
        self.diagnostics.push(
            Diagnostic::error("wrong-type", span, format!("expected {expected}, found {found}"))
                .label(format!("expected {expected}")),
        );
    }

    fn missing(&mut self, span: Span, table: &str, key: &str) {
        self.diagnostics.push(
            Diagnostic::error("missing-key", span, format!("{table} has no `{key}`")).hint(if key == "version" {
                "add `version = 1`".into()
            } else {
                format!("add `{key} = ...`")
            }),
        );
    }

    /// The table under `node`, or a complaint.
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

/// One table while it is being read.
#[derive(Debug)]
pub struct Table<'t, 'i> {
    table: &'t DeTable<'i>,
    /// Where it stands.
    pub span: Span,
    /// What it is called in messages: `a tenant`.
    pub what: &'static str,
}

impl<'t, 'i> Table<'t, 'i> {
    fn get(&self, key: &str) -> Option<&'t Node<'i>> {
        self.table.get(key)
    }

    /// Complains about every key that is not in `known`.
    pub fn refuse_unknown(&self, known: &[&'static str], d: &mut Decoder<'_>) {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let span = d.span(key.span());
            let diagnostic = Diagnostic::error("unknown-key", span, format!("{} has no key `{name}`", self.what));
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

/// A value that can be read from TOML.
pub trait Decode: Sized {
    /// Reads it, or complains and returns nothing.
    fn decode(node: &Node<'_>, d: &mut Decoder<'_>) -> Option<Self>;
    /// Its JSON Schema.
    fn schema() -> Json;
}

/// A value written as a string with a grammar of its own.
pub trait Scalar: Sized {
    /// The diagnostic's rule when it does not parse.
    const RULE: &'static str;
    /// What is expected: `a size`.
    const WHAT: &'static str;
    /// What to type.
    const HINT: &'static str;
    /// Reads the text.
    fn parse(text: &str) -> Result<Self, String>;
    /// Whether a wrong value may be a secret that was put here by mistake.
    fn may_be_secret(_text: &str) -> bool {
        false
    }
    /// Its JSON Schema.
    fn schema() -> Json {
        json!({ "type": "string" })
    }
}

impl<T: Scalar> Decode for T {
    fn decode(node: &Node<'_>, d: &mut Decoder<'_>) -> Option<Self> {
        let DeValue::String(text) = node.get_ref() else {
            d.wrong_type(node, &format!("{} in quotes", T::WHAT));
            if let Some(last) = d.diagnostics.last_mut() {
                last.hint = Some(T::HINT.to_owned());
            }
            return None;
        };
        match T::parse(text) {
            Ok(value) => Some(value),
            Err(why) => {
                let span = d.span(node.span());
                let what = T::WHAT.trim_start_matches("an ").trim_start_matches("a ");
                if T::may_be_secret(text) {
                    let message = format!("this is not a valid {what}: {why}");
                    d.diagnostics.push(Diagnostic::error(T::RULE, span, message).confidential().hint(T::HINT));
                    return None;
                }
                d.diagnostics.push(
                    Diagnostic::error(T::RULE, span, format!("`{text}` is not a valid {what}"))
                        .label(why)
                        .hint(T::HINT),
                );
                None
            }
        }
    }

    fn schema() -> Json {
        <T as Scalar>::schema()
    }
}

impl Decode for String {
    fn decode(node: &Node<'_>, d: &mut Decoder<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            _ => {
                d.wrong_type(node, "a string");
                None
            }
        }
    }
    fn schema() -> Json {
        json!({ "type": "string" })
    }
}

impl Decode for bool {
    fn decode(node: &Node<'_>, d: &mut Decoder<'_>) -> Option<Self> {
        match node.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            _ => {
                d.wrong_type(node, "true or false");
                None
            }
        }
    }
    fn schema() -> Json {
        json!({ "type": "boolean" })
    }
}

/// A whole number from `MIN` to `MAX`, the range in which the server does what
/// it is told: beyond it, it truncates silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Int<const MIN: i64, const MAX: i64>(pub u32);

impl<const MIN: i64, const MAX: i64> Decode for Int<MIN, MAX> {
    fn decode(node: &Node<'_>, d: &mut Decoder<'_>) -> Option<Self> {
        let DeValue::Integer(integer) = node.get_ref() else {
            d.wrong_type(node, "a whole number");
            if let (Some(last), DeValue::String(text)) = (d.diagnostics.last_mut(), node.get_ref()) {
                last.hint = text.parse::<i64>().ok().map(|number| format!("write it without quotes: {number}"));
            }
            return None;
        };
        let value = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        match value.filter(|v| (MIN..=MAX).contains(v)).and_then(|v| u32::try_from(v).ok()) {
            Some(value) => Some(Self(value)),
            None => {
                let span = d.span(node.span());
                d.diagnostics.push(Diagnostic::error("out-of-range", span, format!("{integer} is out of range")).hint(
                    if MIN == MAX {
                        format!("write {MIN}; another one needs another version of tenantry")
                    } else {
                        format!("choose a number from {MIN} to {MAX}")
                    },
                ));
                None
            }
        }
    }
    fn schema() -> Json {
        json!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
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

impl<T: Decode> Decode for Vec<T> {
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
        // What cannot be read was complained about; the rest is still checked.
        let items: Vec<T> = array.iter().filter_map(|item| T::decode(item, d)).collect();
        (!items.is_empty() || array.is_empty()).then_some(items)
    }
    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }
}

/// Tables by name, as in `[role.auditor]`.
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

/// A key that may be left out. "Given, but unreadable" is told apart from
/// "absent", so that one mistake is reported once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<T> {
    /// Not written.
    Absent,
    /// Written, and already complained about.
    Invalid,
    /// Written and readable.
    Given(T),
}

impl<T> Key<T> {
    /// The value, if it was given and readable.
    pub fn get(&self) -> Option<&T> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent | Self::Invalid => None,
        }
    }

    /// True if the key was not written at all.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// A struct field that reads itself from a key of a table.
pub trait Field: Sized {
    /// Whether the key must be there.
    const REQUIRED: bool;
    /// Reads it; nothing means that the whole table cannot be used.
    fn take(key: &'static str, table: &Table<'_, '_>, d: &mut Decoder<'_>) -> Option<Self>;
    /// The JSON Schema of its value.
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

impl<T: Decode> Field for Vec<T> {
    const REQUIRED: bool = false;
    fn take(key: &'static str, table: &Table<'_, '_>, d: &mut Decoder<'_>) -> Option<Self> {
        Some(table.get(key).and_then(|node| Self::decode(node, d)).unwrap_or_default())
    }
    fn schema() -> Json {
        <Self as Decode>::schema()
    }
}

/// Labels: strings by name.
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

/// One entry of a table's schema.
pub fn property(
    schema: &mut Map<String, Json>,
    required: &mut Vec<Json>,
    key: &str,
    docs: &[&str],
    field: (Json, bool),
) {
    let (mut value, is_required) = field;
    let description = docs.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    if let Some(object) = value.as_object_mut() {
        object.insert("description".into(), description.into());
    }
    schema.insert(key.into(), value);
    if is_required {
        required.push(key.into());
    }
}

/// Declares one table of the registry.
macro_rules! keys {
    ($(
        $(#[doc = $table_doc:literal])*
        $table:ident, $what:literal {
            $( $(#[doc = $doc:literal])* $key:ident: $type:ty, )*
        }
    )*) => {$(
        $(#[doc = $table_doc])*
        #[derive(Debug, Clone)]
        pub struct $table {
            $( $(#[doc = $doc])* pub $key: $type, )*
            /// Where the table stands.
            pub span: $crate::diag::Span,
        }

        impl $crate::registry::decode::Decode for $table {
            fn decode(
                node: &$crate::registry::decode::Node<'_>,
                d: &mut $crate::registry::decode::Decoder<'_>,
            ) -> Option<Self> {
                let table = d.table(node, $what)?;
                $( let $key = <$type as $crate::registry::decode::Field>::take(stringify!($key), &table, d); )*
                table.refuse_unknown(&[$(stringify!($key)),*], d);
                Some(Self { $( $key: $key?, )* span: table.span })
            }

            fn schema() -> serde_json::Value {
                let (mut properties, mut required) = (serde_json::Map::new(), Vec::new());
                $( $crate::registry::decode::property(
                    &mut properties,
                    &mut required,
                    stringify!($key),
                    &[$($doc),*],
                    (
                        <$type as $crate::registry::decode::Field>::schema(),
                        <$type as $crate::registry::decode::Field>::REQUIRED,
                    ),
                ); )*
                let description = [$($table_doc),*].map(str::trim).join(" ");
                serde_json::json!({
                    "type": "object",
                    "description": description,
                    "properties": properties,
                    "required": required,
                    "additionalProperties": false,
                })
            }
        }
    )*};
}
pub(crate) use keys;

/// Declares a key whose value is one of a few words.
macro_rules! words {
    ($( $(#[doc = $doc:literal])* $name:ident, $what:literal { $( $(#[doc = $word_doc:literal])* $variant:ident = $word:literal, )* } )*) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
        pub enum $name {
            $( $(#[doc = $word_doc])* #[serde(rename = $word)] $variant, )*
        }

        impl $name {
            /// The word as it is written.
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }
        }

        impl $crate::registry::decode::Scalar for $name {
            const RULE: &'static str = "unknown-word";
            const WHAT: &'static str = $what;
            const HINT: &'static str = concat!("one of" $(, " `", $word, "`")*);
            fn parse(text: &str) -> Result<Self, String> {
                match text {
                    $( $word => Ok(Self::$variant), )*
                    _ => Err(match $crate::diag::nearest(text, [$($word),*]) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "unknown word".to_owned(),
                    }),
                }
            }
            fn schema() -> serde_json::Value {
                serde_json::json!({ "enum": [$($word),*] })
            }
        }
    )*};
}
pub(crate) use words;

macro_rules! name_scalars {
    ($($name:ident),*) => {$(
        impl Scalar for names::$name {
            const RULE: &'static str = "invalid-name";
            const WHAT: &'static str = names::$name::WHAT;
            const HINT: &'static str = names::GRAMMAR;
            fn parse(text: &str) -> Result<Self, String> {
                names::$name::parse(text).map_err(|e| e.to_string())
            }
            fn schema() -> Json {
                json!({ "type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$" })
            }
        }
    )*};
}
name_scalars!(AccountName, UserName, RoleName, StreamName, ConsumerName, BucketName, ServerName);

impl Scalar for Subject {
    const RULE: &'static str = "invalid-subject";
    const WHAT: &'static str = "a subject";
    const HINT: &'static str = "tokens separated by single dots; `*` is one whole token, `>` the last";
    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|e| e.to_string())
    }
}

impl Scalar for units::Size {
    const RULE: &'static str = "invalid-size";
    const WHAT: &'static str = "a size";
    const HINT: &'static str = "write a number with a unit: \"512MiB\", \"2GiB\", \"100B\" (KB, MB and GB are decimal)";
    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[0-9.]+ ?([KMGTkmgt]i?)?[Bb]$" })
    }
}

impl Scalar for units::Span {
    const RULE: &'static str = "invalid-duration";
    const WHAT: &'static str = "a duration";
    const HINT: &'static str = "write a number with a unit: \"30d\", \"2h\", \"15m\", \"10s\", \"500ms\"";
    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl Scalar for units::Listen {
    const RULE: &'static str = "invalid-address";
    const WHAT: &'static str = "an address";
    const HINT: &'static str = "write an IP address and a port: \"127.0.0.1:4222\", \"[::1]:4222\"";
    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}
