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
