//! Options taken from maps as nats-server takes them: keys in any letter case
//! and under several names, the last of two equal ones, none that is unknown.

use std::collections::HashMap;
use std::time::Duration;

use crate::conf::value::{Entry, Map, Node, Value};
use crate::diag::{Diagnostic, Severity, Span, nearest};

/// Options of one block; each with all its names, the usual one first.
pub type OptionNames = &'static [&'static [&'static str]];

/// What was found while options were read.
#[derive(Debug, Default)]
pub struct Collector {
    /// What nats-server refuses, or would refuse.
    pub refused: Vec<Diagnostic>,
    /// What it accepts and reads otherwise than it looks.
    pub findings: Vec<Diagnostic>,
}

/// The options of one block, by their usual names.
pub struct Options<'m> {
    found: HashMap<&'static str, &'m Entry>,
}

impl<'m> Options<'m> {
    /// An option's value.
    pub fn get(&self, name: &str) -> Option<&'m Node> {
        self.found.get(name).map(|entry| &entry.node)
    }

    /// An option's value with its key's place.
    pub fn entry(&self, name: &str) -> Option<&'m Entry> {
        self.found.get(name).copied()
    }
}

impl Collector {
    /// Something the server refuses.
    pub fn refuse(&mut self, span: Span, message: impl Into<String>, hint: &str) {
        let diagnostic = Diagnostic::error("refused-by-server", span, message);
        self.refused.push(if hint.is_empty() { diagnostic } else { diagnostic.hint(hint) });
    }

    /// Sorts a block's entries under their usual names.
    pub fn options<'m>(&mut self, map: &'m Map, names: OptionNames, what: &str) -> Options<'m> {
        let mut found: HashMap<&'static str, &'m Entry> = HashMap::new();
        for entry in &map.entries {
            let lower = entry.key.to_lowercase();
            let Some(aliases) = names.iter().find(|aliases| aliases.contains(&lower.as_str())) else {
                self.unknown(entry, &lower, names, what);
                continue;
            };
            if let Some(before) = found.insert(aliases[0], entry) {
                self.twice(before, entry);
            }
        }
        Options { found }
    }

    fn unknown(&mut self, entry: &Entry, lower: &str, names: OptionNames, what: &str) {
        // A key whose value a variable takes may be called anything.
        if entry.used {
            return;
        }
        let aliases = names.iter().flat_map(|aliases| aliases.iter().copied());
        let hint = match nearest(lower, aliases) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "remove it; a variable has to be used".to_owned(),
        };
        self.refuse(entry.key_span, format!("{what} has no option `{}`", entry.key), &hint);
    }

    fn twice(&mut self, before: &Entry, entry: &Entry) {
        let (rule, severity, message) = if before.key == entry.key {
            ("overridden-key", Severity::Warning, "the last one counts, the server says nothing")
        } else {
            ("ambiguous-key", Severity::Error, "which of the two counts changes from start to start")
        };
        let message = format!("`{}` is given twice: {message}", entry.key);
        self.findings.push(
            Diagnostic { severity, ..Diagnostic::error(rule, entry.key_span, message) }
                .related(before.key_span, "first given here")
                .hint("keep one of them"),
        );
    }

    fn wrong(&mut self, node: &Node, expected: &str) {
        self.refuse(node.span, format!("expected {expected}, found {}", node.value.kind()), "");
    }

    /// A map, or a complaint.
    pub fn map<'m>(&mut self, node: &'m Node) -> Option<&'m Map> {
        match &node.value {
            Value::Map(map) => Some(map),
            _ => {
                self.wrong(node, "a map");
                None
            }
        }
    }

    /// A list, or a complaint.
    pub fn list<'m>(&mut self, node: &'m Node) -> &'m [Node] {
        match &node.value {
            Value::Array(nodes) => nodes,
            _ => {
                self.wrong(node, "a list");
                &[]
            }
        }
    }

    /// Text, or a complaint.
    pub fn text<'m>(&mut self, node: Option<&'m Node>) -> Option<&'m str> {
        let Value::Text(text) = &node?.value else { return self.none_of(node, "text (digits alone need \"quotes\")") };
        Some(text)
    }

    /// A whole number, or a complaint.
    pub fn integer(&mut self, node: Option<&Node>) -> Option<i64> {
        let Value::Integer(number) = node?.value else { return self.none_of(node, "a number without quotes") };
        Some(number)
    }

    /// True or false, or a complaint.
    pub fn bool(&mut self, node: Option<&Node>) -> Option<bool> {
        let Value::Bool(value) = node?.value else { return self.none_of(node, "true or false") };
        Some(value)
    }

    fn none_of<T>(&mut self, node: Option<&Node>, expected: &str) -> Option<T> {
        self.wrong(node?, expected);
        None
    }
}

/// `1h2m3.5s` as Go reads it: nothing if it is none, an empty length if it is
/// negative, which means without end.
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
    Some((!negative).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)))
}
