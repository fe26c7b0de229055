//! Decoders of single values: strings with a grammar, booleans, whole numbers, and the model's
//! names, subjects, sizes, durations and addresses.

use serde_json::{Value as Json, json};
use toml::de::DeValue;

use super::{Decode, Decoder, Node};
use crate::diag::Diagnostic;
use crate::model::{names, units};
use crate::registry::codes;
use crate::subject::Subject;

/// A value written as a string with its own grammar.
pub trait Scalar: Sized {
    /// Code of the diagnostic if the text does not parse.
    const RULE: &'static str;
    /// The expected kind of value, with its article: `a size`.
    const WHAT: &'static str;
    /// What to type instead.
    const HINT: &'static str;
    /// Parses the text. The error says why it is invalid.
    fn parse(text: &str) -> Result<Self, String>;
    /// Whether an invalid value may be a misplaced secret, which diagnostics must not quote.
    fn may_be_secret(_text: &str) -> bool {
        false
    }
    /// The value's JSON Schema.
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

/// A whole number from `MIN` to `MAX`, the range that the server accepts: it silently
/// truncates numbers outside it.
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
                d.diagnostics.push(
                    Diagnostic::error(codes::OUT_OF_RANGE, span, format!("{integer} is out of range")).hint(
                        if MIN == MAX {
                            format!("write {MIN}; another one needs another version of tenantry")
                        } else {
                            format!("choose a number from {MIN} to {MAX}")
                        },
                    ),
                );
                None
            }
        }
    }
    fn schema() -> Json {
        json!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

macro_rules! name_scalars {
    ($($name:ident),*) => {$(
        impl Scalar for names::$name {
            const RULE: &'static str = codes::INVALID_NAME;
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
    const RULE: &'static str = codes::INVALID_SUBJECT;
    const WHAT: &'static str = "a subject";
    const HINT: &'static str = "tokens separated by single dots; `*` is one whole token, `>` the last";
    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|e| e.to_string())
    }
}

impl Scalar for units::Size {
    const RULE: &'static str = codes::INVALID_SIZE;
    const WHAT: &'static str = "a size";
    const HINT: &'static str = "write a number with a unit: \"512MiB\", \"2GiB\", \"100B\" (KB, MB and GB are decimal)";
    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[0-9.]+ ?([KMGTkmgt]i?)?[Bb]$" })
    }
}

impl Scalar for units::Duration {
    const RULE: &'static str = codes::INVALID_DURATION;
    const WHAT: &'static str = "a duration";
    const HINT: &'static str = "write a number with a unit: \"30d\", \"2h\", \"15m\", \"10s\", \"500ms\"";
    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl Scalar for units::Listen {
    const RULE: &'static str = codes::INVALID_ADDRESS;
    const WHAT: &'static str = "an address";
    const HINT: &'static str = "write an IP address and a port: \"127.0.0.1:4222\", \"[::1]:4222\"";
    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}
