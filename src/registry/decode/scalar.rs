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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Inbox, Root, Storage};
    use crate::registry::raw::{
        AckPolicy, ClientUrl, Count, EnvName, GroupName, Image, Percent, PublicKey, RolePattern, TransformDest,
    };
    use crate::registry::testing::{decode_value, refusal_of};

    const KEY: &str = "\"UCFHWLYDLMVQXOYBXYR6JUEUA4QQ27FXLXHWWTUU6XRMJFAPDLUCMB7P\"";
    const SEED: &str = "\"SUAM6S3BDPFGJJFPBIMHSSHBZ5CU3EPZ6CWB3XFZ4TDQNGFGZMRHZSKFSA\"";

    fn is_accepted<T: Decode>(value: &str) -> bool {
        let (decoded, diagnostics) = decode_value::<T>(value);
        assert_eq!(
            decoded.is_some(),
            diagnostics.is_empty(),
            "{value}: a refusal has a diagnostic, and only a refusal"
        );
        decoded.is_some()
    }

    #[test]
    fn each_type_accepts_its_own_values_and_refuses_others() {
        type Case = (&'static str, fn(&str) -> bool, &'static [&'static str], &'static [&'static str]);
        let cases: &[Case] = &[
            ("String", is_accepted::<String>, &["\"\"", "\"x\"", "'''a\nb'''"], &["1", "true", "[]", "{}"]),
            ("bool", is_accepted::<bool>, &["true", "false"], &["1", "\"true\"", "[true]"]),
            ("Count", is_accepted::<Count>, &["1", "0x10", "2_147_483_647"], &["0", "-1", "1.0", "\"1\""]),
            (
                "AccountName",
                is_accepted::<names::AccountName>,
                &["\"A-b_1\""],
                &["\"a.b\"", "\"\"", "\"_INBOX_x\"", "1"],
            ),
            ("Subject", is_accepted::<Subject>, &["\"a.*.>\""], &["\"a..b\"", "\"a.>.b\"", "\"foo*\"", "[\"a\"]"]),
            ("Size", is_accepted::<units::Size>, &["\"1GiB\"", "\"0B\""], &["\"1\"", "1024", "\"1M\""]),
            ("Duration", is_accepted::<units::Duration>, &["\"1ms\"", "\"30d\""], &["\"0s\"", "30", "\"30\""]),
            ("Listen", is_accepted::<units::Listen>, &["\"127.0.0.1:4222\""], &["4222", "\"4222\"", "\"nats:4222\""]),
            (
                "Timestamp",
                is_accepted::<units::Timestamp>,
                &["\"2026-01-31T00:00:00Z\""],
                &["\"2026-01-31\"", "2026-01-31"],
            ),
            ("Storage", is_accepted::<Storage>, &["\"file\"", "\"memory\""], &["\"File\"", "\"disk\""]),
            ("Inbox", is_accepted::<Inbox>, &["\"private\"", "\"default\""], &["\"shared\"", "true"]),
            ("AckPolicy", is_accepted::<AckPolicy>, &["\"all\"", "\"none\""], &["\"flow_control\"", "\"All\""]),
            (
                "Root",
                is_accepted::<Root>,
                &["\"development\"", "\"file:k\"", "\"env:K\""],
                &["\"file:\"", "\"env:1\"", "\"k\""],
            ),
            ("EnvName", is_accepted::<EnvName>, &["\"A_1\"", "\"_a\""], &["\"1A\"", "\"$A\"", "\"\"", "\"A-B\""]),
            ("PublicKey", is_accepted::<PublicKey>, &[KEY], &[SEED, "\"UABC\"", "\"\""]),
            (
                "Image",
                is_accepted::<Image>,
                &["\"nats:2.15.1\"", "\"r:5/n@sha256:0\""],
                &["\"nats\"", "\"nats:latest\"", "\"-n:1\""],
            ),
            (
                "ClientUrl",
                is_accepted::<ClientUrl>,
                &["\"nats://h:1\"", "\"tls://[::1]:1\""],
                &["\"h:1\"", "\"nats://\"", "\"nats://u@h\""],
            ),
            (
                "GroupName",
                is_accepted::<GroupName>,
                &["\"a/b=\"", "\"1234567890123456\""],
                &["\"12345678901234567\"", "\"\"", "\"a b\""],
            ),
            ("Percent", is_accepted::<Percent>, &["\"1\"", "\"100\"", "\"50%\""], &["\"0\"", "\"101\"", "50"]),
            ("TransformDest", is_accepted::<TransformDest>, &["\"a.{{wildcard(1)}}.>\""], &["\"a..b\"", "\"\""]),
            (
                "RolePattern",
                is_accepted::<RolePattern>,
                &["\"{tenant}.{user}\"", "\"{subject}\""],
                &["\"a.{subject}\"", "\"{x}\"", "\"$SYS.>\""],
            ),
        ];
        for (name, accepts, right, wrong) in cases {
            right.iter().for_each(|value| assert!(accepts(value), "{name} refuses {value}"));
            wrong.iter().for_each(|value| assert!(!accepts(value), "{name} accepts {value}"));
        }
    }

    #[test]
    fn a_wrong_type_names_the_expected_and_the_found_type_and_hints_what_to_write() {
        let cases = [
            (refusal_of::<units::Size>("1024"), "expected a size in quotes, found an integer", Some(units::Size::HINT)),
            (refusal_of::<Subject>("[\"a\"]"), "expected a subject in quotes, found an array", Some(Subject::HINT)),
            (
                refusal_of::<names::UserName>("true"),
                "expected a user name in quotes, found a boolean",
                Some(names::GRAMMAR),
            ),
            (
                refusal_of::<units::Timestamp>("2026-01-31"),
                "expected a moment in quotes, found a date",
                Some(units::Timestamp::HINT),
            ),
            (refusal_of::<String>("1.5"), "expected a string, found a float", None),
            (refusal_of::<bool>("\"yes\""), "expected true or false, found a string", None),
            (refusal_of::<Count>("{}"), "expected a whole number, found a table", None),
        ];
        for (diagnostic, message, hint) in cases {
            assert_eq!((diagnostic.rule, diagnostic.message.as_str()), (codes::WRONG_TYPE, message));
            assert_eq!(diagnostic.hint.as_deref(), hint, "{message}");
        }
    }

    #[test]
    fn a_number_in_quotes_is_hinted_without_them() {
        assert_eq!(refusal_of::<Count>("\"42\"").hint.as_deref(), Some("write it without quotes: 42"));
        assert_eq!(refusal_of::<Count>("\"many\"").hint, None);
    }

    #[test]
    fn a_number_is_accepted_exactly_inside_its_range() {
        for inside in ["4", "15", "0b111", "1_5"] {
            assert!(is_accepted::<Int<4, 15>>(inside), "{inside}");
        }
        for outside in ["3", "16", "-4", "0xffff_ffff_ffff", "9223372036854775807"] {
            let diagnostic = refusal_of::<Int<4, 15>>(outside);
            assert_eq!(diagnostic.rule, codes::OUT_OF_RANGE, "{outside}");
            assert_eq!(diagnostic.hint.as_deref(), Some("choose a number from 4 to 15"));
        }
        let version = refusal_of::<Int<1, 1>>("2");
        assert_eq!(version.hint.as_deref(), Some("write 1; another one needs another version of tenantry"));
    }

    #[test]
    fn a_text_outside_the_grammar_is_quoted_with_the_reason_and_a_hint() {
        let diagnostic = refusal_of::<names::StreamName>("\"a.b\"");
        assert_eq!(diagnostic.rule, codes::INVALID_NAME);
        assert_eq!(diagnostic.message, "`a.b` is not a valid stream name");
        assert_eq!(diagnostic.label, "it contains '.'");
        assert_eq!(diagnostic.hint.as_deref(), Some(names::GRAMMAR));
        assert!(!diagnostic.confidential);
    }

    #[test]
    fn a_value_that_may_be_a_secret_is_never_quoted() {
        let secrets = [
            (refusal_of::<PublicKey>(SEED), "SUAM6S3B", codes::INVALID_PUBLIC_KEY),
            (refusal_of::<PublicKey>("\"hunter2\""), "hunter2", codes::INVALID_PUBLIC_KEY),
            (refusal_of::<Root>("\"hunter2\""), "hunter2", codes::INVALID_ROOT),
            (refusal_of::<Root>("\"env:hunter-2\""), "hunter-2", codes::INVALID_ROOT),
            (refusal_of::<ClientUrl>("\"nats://u:hunter2@h:1\""), "hunter2", codes::INVALID_URL),
        ];
        for (diagnostic, secret, rule) in secrets {
            assert_eq!(diagnostic.rule, rule);
            assert!(diagnostic.confidential, "{}", diagnostic.message);
            assert!(!format!("{diagnostic:?}").contains(secret), "{diagnostic:?}");
        }
        // The control: what cannot be a secret is quoted.
        let harmless = refusal_of::<PublicKey>("\"UABC\"");
        assert!(!harmless.confidential && harmless.message.contains("UABC"), "{}", harmless.message);
        let harmless = refusal_of::<ClientUrl>("\"http://h:1\"");
        assert!(!harmless.confidential && harmless.message.contains("http://h:1"), "{}", harmless.message);
    }

    #[test]
    fn a_destination_covers_every_subject_it_can_produce() {
        let (dest, _) = decode_value::<TransformDest>("\"a.{{wildcard(2)}}.b.{{partition(5,1)}}\"");
        let dest = dest.expect("a destination");
        assert_eq!((dest.text.as_str(), dest.covers.as_str()), ("a.{{wildcard(2)}}.b.{{partition(5,1)}}", "a.*.b.*"));
    }
}
