//! Writes configuration text: every value quoted, every block indented.

use std::fmt::Write as _;

/// A configuration being written.
#[derive(Debug, Default)]
pub struct Writer {
    text: String,
    depth: usize,
}

impl Writer {
    /// Begins `depth` blocks deep.
    pub fn at_depth(depth: usize) -> Self {
        Self { text: String::new(), depth }
    }

    /// What was written.
    pub fn into_text(self) -> String {
        self.text
    }

    fn indent(&mut self) {
        for _ in 0..self.depth {
            self.text.push_str("  ");
        }
    }

    /// A comment line. Line breaks in it become spaces.
    pub fn comment(&mut self, comment: &str) {
        self.indent();
        self.text.push_str("# ");
        self.text.extend(comment.chars().map(|c| if c.is_control() { ' ' } else { c }));
        self.text.push('\n');
    }

    /// `key: "value"`.
    pub fn text(&mut self, key: &str, value: &str) {
        self.indent();
        let _ = writeln!(self.text, "{key}: \"{}\"", escape(value));
    }

    /// `key: 42`.
    pub fn number(&mut self, key: &str, value: u64) {
        self.indent();
        let _ = writeln!(self.text, "{key}: {value}");
    }

    /// `key: 42 # remark`.
    pub fn size(&mut self, key: &str, value: crate::model::units::Size) {
        self.indent();
        let _ = writeln!(self.text, "{key}: {} # {value}", value.bytes());
    }

    /// `key { ... }`.
    pub fn block(&mut self, key: &str, body: impl FnOnce(&mut Self)) {
        self.open(&format!("{key} {{"));
        body(self);
        self.close("}");
    }

    /// `"key" { ... }`: quoted, because an account may be called `include`.
    pub fn named_block(&mut self, key: &str, body: impl FnOnce(&mut Self)) {
        self.block(&format!("\"{}\"", escape(key)), body);
    }

    /// `key: [ ... ]`, with whatever the body writes.
    pub fn array(&mut self, key: &str, body: impl FnOnce(&mut Self)) {
        self.open(&format!("{key}: ["));
        body(self);
        self.close("]");
    }

    /// `{ ... }` inside an array.
    pub fn item(&mut self, body: impl FnOnce(&mut Self)) {
        self.open("{");
        body(self);
        self.close("}");
    }

    /// One line, written by the caller; empty for a gap.
    pub fn line(&mut self, line: &str) {
        if !line.is_empty() {
            self.indent();
        }
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// `key: ["a", "b"]`, a value a line when there are more than two.
    ///
    /// The caller sees to it that `values` is not empty: the server reads an
    /// empty list as "everything" in most places.
    pub fn list<'v>(&mut self, key: &str, values: impl ExactSizeIterator<Item = &'v str>) {
        debug_assert!(values.len() > 0, "{key}: an empty list means everything");
        if values.len() > 2 {
            return self.array(key, |w| {
                for value in values {
                    w.indent();
                    let _ = writeln!(w.text, "\"{}\"", escape(value));
                }
            });
        }
        self.indent();
        let _ = write!(self.text, "{key}: [");
        for (i, value) in values.enumerate() {
            let _ = write!(self.text, "{}\"{}\"", if i == 0 { "" } else { ", " }, escape(value));
        }
        self.text.push_str("]\n");
    }

    fn open(&mut self, line: &str) {
        self.line(line);
        self.depth += 1;
    }

    fn close(&mut self, line: &str) {
        self.depth -= 1;
        self.line(line);
    }
}

/// A text as it stands between double quotes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            c if c.is_control() => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(escaped, "\\x{byte:02x}");
                }
            }
            c => escaped.push(c),
        }
    }
    escaped
}
