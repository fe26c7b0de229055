//! What a configuration says, as it was written: every entry in its order,
//! overridden ones too, each with its place.

use crate::diag::Span;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it stands; for a variable, where it is used.
    pub span: Span,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Keys and values.
    Map(Map),
    /// Values.
    Array(Vec<Node>),
    /// Text, in quotes or not.
    Text(String),
    /// A number, its unit multiplied.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A time in Zulu form.
    Time(String),
}

impl Value {
    /// What kind of value it is, for messages.
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

/// Keys and values in the order in which they were written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map {
    /// All of them. Of two with the same key the last counts.
    pub entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// As written; most keys mean the same in any letter case.
    pub key: String,
    /// Where the key stands.
    pub key_span: Span,
    /// The value.
    pub node: Node,
    /// Whether a variable took its value from here. Then it need not be an
    /// option of the server.
    pub used: bool,
}

impl Map {
    /// The value that counts for a key, exactly as written.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().rev().find(|e| e.key == key).map(|e| &e.node)
    }
}
