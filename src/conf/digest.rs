//! The digest that nats-server prints for a configuration and serves as
//! `config_digest`: the SHA-256 of its values as Go encodes them in JSON. Equal
//! digests mean that this reader and the server read the same values.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::value::{Map, Value};

/// The digest of a parsed configuration: `sha256:` and 64 hexadecimal digits.
pub fn digest(map: &Map) -> String {
    let mut json = String::new();
    put_map(&mut json, map);
    json.push('\n');
    format!("sha256:{}", data_encoding::HEXLOWER.encode(&Sha256::digest(json)))
}

fn put_map(json: &mut String, map: &Map) {
    let last: BTreeMap<&str, &Value> = map.entries.iter().map(|e| (e.key.as_str(), &e.node.value)).collect();
    json.push('{');
    for (i, (key, value)) in last.into_iter().enumerate() {
        if i > 0 {
            json.push(',');
        }
        put_text(json, key);
        json.push(':');
        put_value(json, value);
    }
    json.push('}');
}

fn put_value(json: &mut String, value: &Value) {
    let _ = match value {
        Value::Map(map) => return put_map(json, map),
        Value::Array(nodes) => {
            json.push('[');
            for (i, node) in nodes.iter().enumerate() {
                if i > 0 {
                    json.push(',');
                }
                put_value(json, &node.value);
            }
            json.push(']');
            return;
        }
        Value::Text(text) | Value::Time(text) => return put_text(json, text),
        Value::Integer(number) => write!(json, "{number}"),
        Value::Bool(value) => write!(json, "{value}"),
        Value::Float(number) => write!(json, "{}", go_float(*number)),
    };
}

fn put_text(json: &mut String, text: &str) {
    json.push('"');
    for c in text.chars() {
        let _ = match c {
            '"' | '\\' => write!(json, "\\{c}"),
            '\n' => write!(json, "\\n"),
            '\r' => write!(json, "\\r"),
            '\t' => write!(json, "\\t"),
            '\u{8}' => write!(json, "\\b"),
            '\u{c}' => write!(json, "\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => write!(json, "\\u{:04x}", u32::from(c)),
            c => {
                json.push(c);
                Ok(())
            }
        };
    }
    json.push('"');
}

fn go_float(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(("+", exponent), |d| ("-", d));
        // Go removes the leading zero of a negative exponent (e-07 becomes e-7). A positive
        // exponent has two digits in this range.
        return format!("{mantissa}e{sign}{digits:0>2}").replace("e-0", "e-");
    }
    format!("{number}")
}

#[cfg(test)]
mod tests {
    use super::super::value::{Entry, Node};
    use super::*;
    use crate::diag::Span;

    fn map(entries: Vec<(&str, Value)>) -> Map {
        let span = Span { file: 0, start: 0, end: 0 };
        let entry = |(key, value): (&str, Value)| Entry {
            key: key.into(),
            key_span: span,
            node: Node { value, span },
            used: false,
        };
        Map { entries: entries.into_iter().map(entry).collect() }
    }

    fn json(value: &Value) -> String {
        let mut json = String::new();
        put_value(&mut json, value);
        json
    }

    #[test]
    fn the_digest_is_the_sha256_of_one_line_of_json() {
        // printf '{"a":1}\n' | sha256sum
        let one = "sha256:e346432021b04179518d9614f3560ccd71354a4ee101ddcb893d6959a9d6301c";
        assert_eq!(digest(&map(vec![("a", Value::Integer(1))])), one);
        assert_ne!(digest(&map(vec![("a", Value::Integer(2))])), one);
    }

    #[test]
    fn the_order_of_keys_and_overridden_entries_do_not_change_the_digest() {
        let (one, two) = (Value::Integer(1), Value::Integer(2));
        let plain = digest(&map(vec![("a", one.clone()), ("b", two.clone())]));
        assert_eq!(digest(&map(vec![("b", two.clone()), ("a", one.clone())])), plain);
        assert_eq!(digest(&map(vec![("a", two.clone()), ("b", two.clone()), ("a", one.clone())])), plain);
        assert_ne!(digest(&map(vec![("a", one.clone()), ("b", two.clone()), ("a", two)])), plain);
        let list = |a: &Value, b: &Value| {
            let nodes = [a, b].map(|v| Node { value: v.clone(), span: Span { file: 0, start: 0, end: 0 } });
            digest(&map(vec![("a", Value::Array(nodes.to_vec()))]))
        };
        assert_ne!(list(&one, &Value::Bool(true)), list(&Value::Bool(true), &one), "lists have an order");
    }

    #[test]
    fn text_is_escaped_as_go_escapes_it_for_html() {
        for (text, expected) in [
            ("plain é", "\"plain é\""),
            ("\" \\ /", r#""\" \\ /""#),
            ("\n\r\t\u{8}\u{c}", r#""\n\r\t\b\f""#),
            ("<a>&", "\"\\u003ca\\u003e\\u0026\""),
            ("\0\u{1f}\u{7f}", "\"\\u0000\\u001f\u{7f}\""),
            ("\u{2028}\u{2029}", "\"\\u2028\\u2029\""),
        ] {
            assert_eq!(json(&Value::Text(text.into())), expected, "{text:?}");
        }
    }

    #[test]
    fn fractions_have_the_form_that_go_gives_them() {
        for (number, expected) in [
            (0.0, "0"),
            (1.0, "1"),
            (-0.5, "-0.5"),
            (0.000_001, "0.000001"),
            (0.000_000_9, "9e-7"),
            (1.5e-10, "1.5e-10"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
        ] {
            assert_eq!(json(&Value::Float(number)), expected, "{number:e}");
        }
    }
}
