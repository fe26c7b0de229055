//! Reads options from maps as nats-server does: keys are case-insensitive and may
//! have aliases, the last of two equal keys counts, unknown keys are rejected.

use std::collections::HashMap;
use std::time::Duration;

use crate::conf::value::{Entry, Map, Node, Value};
use crate::diag::{Diagnostic, Severity, Span, nearest};

/// The options of one block: for each its names, the canonical one first, and what its value is.
pub type OptionNames = &'static [(&'static [&'static str], Kind)];

/// What nats-server takes as the value of an option.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Whoever reads the option checks it.
    Any,
    /// Text.
    Text,
    /// Text without blanks.
    Name,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer,
    /// A whole number from the first to the second.
    Range(i64, i64),
    /// A duration as text, or a number of seconds.
    Duration,
    /// The same, or `always`.
    DurationOrAlways,
    /// A duration as text.
    DurationText,
    /// A duration of 30 seconds or more, as text.
    LongDuration,
    /// A number of seconds, with or without fraction, or a duration as text.
    Seconds,
    /// `host:port` or a port.
    Address,
    /// A list.
    List,
    /// A text or a list.
    TextOrList,
    /// A text or a list of texts.
    Texts,
    /// A list of texts.
    TextList,
    /// A list of maps.
    Maps,
    /// A map of texts.
    TextMap,
    /// A map of `true` and `false`.
    BoolMap,
    /// A text or a map.
    TextOrMap,
    /// `true`, `false`, `auto` or a duration as text.
    BoolOrDuration,
    /// A map.
    Map,
    /// `true`, `false` or a map.
    BoolOrMap,
    /// `true`, `false`, a text or a map.
    BoolTextOrMap,
}

impl Kind {
    /// The value as it is shown, where it has the right type and is no secret.
    fn shows(self, value: &Value) -> Option<String> {
        match (self, value) {
            (Self::Range(..), Value::Integer(number)) => Some(number.to_string()),
            (
                Self::Word(_)
                | Self::Duration
                | Self::DurationOrAlways
                | Self::DurationText
                | Self::LongDuration
                | Self::BoolOrDuration
                | Self::Seconds
                | Self::Address
                | Self::Name,
                Value::Text(text),
            ) => Some(format!("`{text}`")),
            _ => None,
        }
    }

    /// What is expected, if the value is something else.
    fn expects(self, value: &Value) -> Option<String> {
        let all = |value: &Value, is: fn(&Value) -> bool| match value {
            Value::Array(nodes) => nodes.iter().all(|node| is(&node.value)),
            Value::Map(map) => map.entries.iter().all(|entry| is(&entry.node.value)),
            _ => false,
        };
        let is_text = |value: &Value| matches!(value, Value::Text(_));
        let is_duration = |text: &str| go_duration(text).is_some();
        let is_right = match (self, value) {
            (Self::Any, _)
            | (Self::Text | Self::TextOrList | Self::TextOrMap | Self::BoolTextOrMap, Value::Text(_))
            | (Self::Bool | Self::BoolOrMap | Self::BoolOrDuration | Self::BoolTextOrMap, Value::Bool(_))
            | (
                Self::Integer | Self::Duration | Self::DurationOrAlways | Self::Seconds | Self::Address,
                Value::Integer(_),
            )
            | (Self::Seconds, Value::Float(_))
            | (Self::List | Self::TextOrList, Value::Array(_))
            | (Self::Map | Self::TextOrMap | Self::BoolOrMap | Self::BoolTextOrMap, Value::Map(_)) => true,
            (Self::BoolOrDuration, Value::Text(text)) => {
                let words = ["auto", "auto_fallback", "true", "on", "false", "off"];
                words.iter().any(|word| text.eq_ignore_ascii_case(word)) || is_duration(text)
            }
            (Self::LongDuration, Value::Text(text)) => {
                go_duration(text).flatten().is_some_and(|length| length >= Duration::from_secs(30))
            }
            (Self::Name, Value::Text(text)) => !text.contains(' '),
            (Self::Word(words), Value::Text(text)) => words.iter().any(|word| text.eq_ignore_ascii_case(word)),
            (Self::Range(least, most), Value::Integer(number)) => (least..=most).contains(number),
            (Self::Duration | Self::DurationText | Self::Seconds, Value::Text(text)) => is_duration(text),
            (Self::DurationOrAlways, Value::Text(text)) => text == "always" || is_duration(text),
            (Self::Address, Value::Text(text)) => {
                let is_host = |host: &str| !host.contains(':') || host.starts_with('[') && host.ends_with(']');
                text.rsplit_once(':').is_some_and(|(host, port)| is_host(host) && port.parse::<i64>().is_ok())
            }
            (Self::Texts, Value::Text(_)) => true,
            (Self::Texts | Self::TextList, Value::Array(_)) | (Self::TextMap, Value::Map(_)) => all(value, is_text),
            (Self::Maps, Value::Array(_)) => all(value, |value| matches!(value, Value::Map(_))),
            (Self::BoolMap, Value::Map(_)) => all(value, |value| matches!(value, Value::Bool(_))),
            _ => false,
        };
        (!is_right).then(|| match self {
            Self::Any => String::new(),
            Self::Text => "text (digits alone need \"quotes\")".into(),
            Self::Name => "a name without blanks".into(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Bool => "true or false".into(),
            Self::Integer => "a number without quotes".into(),
            Self::Range(least, i64::MAX) => format!("a number of {least} or more"),
            Self::Range(least, most) => format!("a number from {least} to {most}"),
            Self::Duration => "a duration such as \"10s\"".into(),
            Self::DurationOrAlways => "a duration such as \"10s\", or always".into(),
            Self::DurationText => "a duration in quotes, such as \"10s\"".into(),
            Self::LongDuration => "a duration of 30 seconds or more in quotes, such as \"2m\"".into(),
            Self::BoolOrDuration => "true, false, \"auto\" or a duration such as \"300ms\"".into(),
            Self::TextOrMap => "text or a map".into(),
            Self::Seconds => "a number of seconds".into(),
            Self::Address => "a port, or \"host:port\"".into(),
            Self::List => "a list".into(),
            Self::TextOrList => "text or a list".into(),
            Self::Texts => "text or a list of texts".into(),
            Self::TextList => "a list of texts".into(),
            Self::Maps => "a list of maps".into(),
            Self::TextMap => "a map of texts".into(),
            Self::BoolMap => "a map of true and false".into(),
            Self::Map => "a map".into(),
            Self::BoolOrMap => "true, false or a map".into(),
            Self::BoolTextOrMap => "true, false, text or a map".into(),
        })
    }
}

/// Collects diagnostics while options are read.
#[derive(Debug, Default)]
pub struct Collector {
    /// Errors for which nats-server rejects the configuration.
    pub refused: Vec<Diagnostic>,
    /// Findings about options that the server accepts but reads differently from how they look.
    pub findings: Vec<Diagnostic>,
}

/// The options of one block by canonical name.
pub struct Options<'m> {
    found: HashMap<&'static str, &'m Entry>,
}

impl<'m> Options<'m> {
    /// The value of an option. `None`: not given.
    pub fn get(&self, name: &str) -> Option<&'m Node> {
        self.found.get(name).map(|entry| &entry.node)
    }

    /// The entry of an option: key, value and locations. `None`: not given.
    pub fn entry(&self, name: &str) -> Option<&'m Entry> {
        self.found.get(name).copied()
    }
}

impl Collector {
    /// Adds an error for which the server rejects the configuration. An empty `hint` is omitted.
    /// Of several errors about one value the first is kept.
    pub fn refuse(&mut self, span: Span, message: impl Into<String>, hint: &str) {
        if self.refused.iter().any(|d| d.span == Some(span)) {
            return;
        }
        let diagnostic = Diagnostic::error("refused-by-server", span, message);
        self.refused.push(if hint.is_empty() { diagnostic } else { diagnostic.hint(hint) });
    }

    /// Maps the entries of a block to canonical names and reports unknown and duplicate keys.
    /// `what` names the block in errors.
    pub fn options<'m>(&mut self, map: &'m Map, names: OptionNames, what: &str) -> Options<'m> {
        let mut found: HashMap<&'static str, &'m Entry> = HashMap::new();
        for (i, entry) in map.entries.iter().enumerate() {
            let lower = entry.key.to_lowercase();
            // The server looks at the last of several entries only.
            let counts = !map.entries[i + 1..].iter().any(|later| later.key == entry.key);
            let Some((aliases, kind)) = names.iter().find(|(aliases, _)| aliases.contains(&lower.as_str())) else {
                if counts {
                    self.unknown(entry, &lower, names, what);
                }
                continue;
            };
            if counts && let Some(expected) = kind.expects(&entry.node.value) {
                let found = kind.shows(&entry.node.value).unwrap_or_else(|| entry.node.value.kind().to_owned());
                self.refuse(entry.node.span, format!("expected {expected}, found {found}"), "");
            }
            if let Some(before) = found.insert(aliases[0], entry) {
                self.twice(before, entry);
            }
        }
        Options { found }
    }

    fn unknown(&mut self, entry: &Entry, lower: &str, names: OptionNames, what: &str) {
        // The server accepts any key that a variable refers to.
        if entry.used {
            return;
        }
        let aliases = names.iter().flat_map(|(aliases, _)| aliases.iter().copied());
        let hint = match nearest(lower, aliases) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "remove it; a variable has to be used".to_owned(),
        };
        self.refuse(entry.key_span, format!("{what} has no option `{}`", entry.key), &hint);
    }

    fn twice(&mut self, before: &Entry, entry: &Entry) {
        // Two names of one option, as a variable that is called like it, with one value: nothing depends on which counts.
        let alone =
            |entry: &Entry| crate::conf::digest(&Map { entries: vec![Entry { key: String::new(), ..entry.clone() }] });
        if before.key != entry.key && alone(before) == alone(entry) {
            return;
        }
        let (rule, severity, message) = if before.key == entry.key {
            ("overridden-key", Severity::Warning, "the last one counts, the server says nothing")
        } else {
            ("ambiguous-key", Severity::Error, "which of the two counts changes from start to start")
        };
        let message = format!("`{}` is given twice: {message}", entry.key);
        self.findings.push(
            Diagnostic { severity, ..Diagnostic::error(rule, entry.key_span, message) }
                .related(before.key_span, "first given here")
                .hint("keep one of them; a variable needs another name than the option"),
        );
    }

    fn wrong(&mut self, node: &Node, expected: &str) {
        self.refuse(node.span, format!("expected {expected}, found {}", node.value.kind()), "");
    }

    /// The value as a map. `None`: reported as the wrong type.
    pub fn map<'m>(&mut self, node: &'m Node) -> Option<&'m Map> {
        match &node.value {
            Value::Map(map) => Some(map),
            _ => {
                self.wrong(node, "a map");
                None
            }
        }
    }

    /// The value as a list. Empty and reported if it has the wrong type.
    pub fn list<'m>(&mut self, node: &'m Node) -> &'m [Node] {
        match &node.value {
            Value::Array(nodes) => nodes,
            _ => {
                self.wrong(node, "a list");
                &[]
            }
        }
    }

    /// The value as text. `None`: not given, or reported as the wrong type.
    pub fn text<'m>(&mut self, node: Option<&'m Node>) -> Option<&'m str> {
        let Value::Text(text) = &node?.value else { return self.none_of(node, "text (digits alone need \"quotes\")") };
        Some(text)
    }

    /// The value as an integer. `None`: not given, or reported as the wrong type.
    pub fn integer(&mut self, node: Option<&Node>) -> Option<i64> {
        let Value::Integer(number) = node?.value else { return self.none_of(node, "a number without quotes") };
        Some(number)
    }

    /// The value as a boolean. `None`: not given, or reported as the wrong type.
    pub fn bool(&mut self, node: Option<&Node>) -> Option<bool> {
        let Value::Bool(value) = node?.value else { return self.none_of(node, "true or false") };
        Some(value)
    }

    fn none_of<T>(&mut self, node: Option<&Node>, expected: &str) -> Option<T> {
        self.wrong(node?, expected);
        None
    }
}

/// Parses a duration such as `1h2m3.5s` as Go does. `None`: not a duration.
/// `Some(None)`: negative, which the server takes as unlimited.
pub fn go_duration(text: &str) -> Option<Option<Duration>> {
    let (negative, mut rest) =
        text.strip_prefix('-').map_or((false, text.strip_prefix('+').unwrap_or(text)), |r| (true, r));
    if rest == "0" {
        return Some(Some(Duration::ZERO));
    }
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let units = [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
        let (unit, scale) = units.into_iter().find(|(unit, _)| rest.starts_with(unit))?;
        seconds += number * scale;
        rest = &rest[unit.len()..];
    }
    let most = Duration::from_nanos(i64::MAX.unsigned_abs());
    if seconds > most.as_secs_f64() {
        return None;
    }
    Some((!negative).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_sum_of_numbers_with_gos_units() {
        for (text, nanoseconds) in [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("1s", Some(1_000_000_000)),
            ("+1s", Some(1_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            (".5s", Some(500_000_000)),
            ("2m", Some(120_000_000_000)),
            ("2ms", Some(2_000_000)),
            ("3us", Some(3_000)),
            ("3µs", Some(3_000)),
            ("4ns", Some(4)),
            ("1h2m3.5s", Some(3_723_500_000_000)),
            ("1m1h", Some(3_660_000_000_000)),
            ("", None),
            ("-", None),
            ("1", None),
            ("s", None),
            ("1d", None),
            ("1s2", None),
            ("1 s", None),
            ("1.2.3s", None),
            ("--1s", None),
            ("2562047h", Some(9_223_369_200_000_000_000)),
            ("2562048h", None),
        ] {
            let read = go_duration(text);
            assert_eq!(read.map(|d| d.map(|d| d.as_nanos())), nanoseconds.map(Some), "{text:?}");
        }
    }

    #[test]
    fn a_negative_duration_is_unlimited() {
        assert_eq!(go_duration("-1s"), Some(None));
        assert_eq!(go_duration("-0"), Some(Some(Duration::ZERO)), "zero has no sign");
        assert_eq!(go_duration("-1d"), None);
    }
}
