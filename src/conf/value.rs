//! The parsed configuration: every entry in file order, overridden entries
//! included, each with its source location.

use crate::diag::Span;

/// A value and its source location.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Source location. The value of a variable has the location of its use.
    pub span: Span,
}

/// A value of the configuration language.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `{ key: value }`.
    Map(Map),
    /// `[ value, value ]`.
    Array(Vec<Node>),
    /// A string, quoted or not.
    Text(String),
    /// An integer with its unit applied: `1k` is 1000, `1kb` is 1024.
    Integer(i64),
    /// A number with a decimal point.
    Float(f64),
    /// `true`, `yes`, `on` or `false`, `no`, `off`, in any letter case.
    Bool(bool),
    /// A time in UTC: `2026-01-31T23:59:59Z`.
    Time(String),
}

impl Value {
    /// Whether both say the same, wherever they stand.
    fn says_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Map(one), Self::Map(other)) => one.says_as(other),
            (Self::Array(one), Self::Array(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.value.says_as(&other.value))
            }
            (one, other) => one == other,
        }
    }

    /// The type of the value, as error messages name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Map(_) => "a map",
            Self::Array(_) => "a list",
            Self::Text(_) => "text",
            Self::Integer(_) => "a number",
            Self::Float(_) => "a number with a fraction",
            Self::Bool(_) => "true or false",
            Self::Time(_) => "a time",
        }
    }
}

/// Keys and values in file order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map {
    /// All entries. If a key occurs twice, the server uses the last.
    pub entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key as written. The server ignores the letter case of option names.
    pub key: String,
    /// Source location of the key.
    pub key_span: Span,
    /// The value.
    pub node: Node,
    /// Whether a variable refers to this entry. The server accepts such an entry
    /// even if its key is not an option.
    pub used: bool,
}

impl Map {
    /// The value of the last entry with this key. Case-sensitive.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().rev().find(|e| e.key == key).map(|e| &e.node)
    }

    /// Whether both have the same keys and values in the same order, wherever they stand.
    pub fn says_as(&self, other: &Self) -> bool {
        let both = || self.entries.iter().zip(&other.entries);
        self.entries.len() == other.entries.len()
            && both().all(|(one, other)| one.key == other.key && one.node.value.says_as(&other.node.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, value: i64) -> Entry {
        let span = Span { file: 0, start: 0, end: 0 };
        Entry { key: key.into(), key_span: span, node: Node { value: Value::Integer(value), span }, used: false }
    }

    #[test]
    fn maps_that_say_the_same_may_stand_elsewhere() {
        let at = |start: u32, value: i64| {
            let span = Span { file: 0, start, end: start };
            let node = |value| Node { value, span };
            let list = Value::Array(vec![node(Value::Integer(value)), node(Value::Text("x".into()))]);
            Map { entries: vec![Entry { key: "a".into(), key_span: span, node: node(list), used: start > 0 }] }
        };
        assert!(at(0, 1).says_as(&at(7, 1)) && at(0, 1) != at(7, 1));
        assert!(!at(0, 1).says_as(&at(0, 2)) && !at(0, 1).says_as(&Map::default()));
        let mut other = at(0, 1);
        other.entries[0].key = "b".into();
        assert!(!at(0, 1).says_as(&other));
    }

    #[test]
    fn the_last_entry_of_a_key_counts_and_letter_case_separates_keys() {
        let map = Map { entries: vec![entry("a", 1), entry("A", 2), entry("a", 3)] };
        let get = |key| map.get(key).map(|node| &node.value);
        assert_eq!(get("a"), Some(&Value::Integer(3)));
        assert_eq!(get("A"), Some(&Value::Integer(2)));
        assert_eq!(get("b"), None);
    }
}
