//! Writer of configuration text: quotes every string and indents every block.

use std::fmt::Write as _;

/// Configuration text under construction.
#[derive(Debug, Default)]
pub struct Writer {
    text: String,
    /// Open blocks; each indents by two spaces.
    depth: usize,
}

impl Writer {
    /// A writer that starts with the indentation of `depth` blocks.
    pub fn at_depth(depth: usize) -> Self {
        Self { text: String::new(), depth }
    }

    /// The text written so far.
    pub fn into_text(self) -> String {
        self.text
    }

    fn indent(&mut self) {
        for _ in 0..self.depth {
            self.text.push_str("  ");
        }
    }

    /// Writes a comment line. Control characters in it, line breaks included, become spaces.
    pub fn comment(&mut self, comment: &str) {
        self.indent();
        self.text.push_str("# ");
        self.text.extend(comment.chars().map(|c| if c.is_control() { ' ' } else { c }));
        self.text.push('\n');
    }

    /// Writes `key: "value"`.
    pub fn text(&mut self, key: &str, value: &str) {
        self.indent();
        let _ = writeln!(self.text, "{key}: \"{}\"", escape(value));
    }

    /// Writes `key: 42`.
    pub fn number(&mut self, key: &str, value: u64) {
        self.indent();
        let _ = writeln!(self.text, "{key}: {value}");
    }

    /// Writes a size in bytes with its readable form as a comment: `key: 1024 # 1KiB`.
    pub fn size(&mut self, key: &str, value: crate::model::units::Size) {
        self.indent();
        let _ = writeln!(self.text, "{key}: {} # {value}", value.bytes());
    }

    /// Writes `key { ... }`.
    pub fn block(&mut self, key: &str, body: impl FnOnce(&mut Self)) {
        self.open(&format!("{key} {{"));
        body(self);
        self.close("}");
    }

    /// Writes `"key" { ... }`. The key is quoted because an account may be called `include`.
    pub fn named_block(&mut self, key: &str, body: impl FnOnce(&mut Self)) {
        self.block(&format!("\"{}\"", escape(key)), body);
    }

    /// Writes `key: [ ... ]` around what `body` writes.
    pub fn array(&mut self, key: &str, body: impl FnOnce(&mut Self)) {
        self.open(&format!("{key}: ["));
        body(self);
        self.close("]");
    }

    /// Writes `{ ... }`, a map inside an array.
    pub fn item(&mut self, body: impl FnOnce(&mut Self)) {
        self.open("{");
        body(self);
        self.close("}");
    }

    /// Writes `line` verbatim; an empty `line` gives a blank line.
    pub fn line(&mut self, line: &str) {
        if !line.is_empty() {
            self.indent();
        }
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Writes `key: ["a", "b"]`, with one value per line if there are more than two.
    ///
    /// `values` must not be empty: the server reads an empty list as
    /// "everything" in most places.
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

/// Escapes `text` for use between double quotes.
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

#[cfg(test)]
mod tests {
    use super::super::value::Value;
    use super::*;
    use crate::diag::Sources;

    /// The value of `k` as the reader reads it.
    fn read_back(text: &str) -> Option<Value> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        let document = super::super::read(file.path(), &|_| None, &mut Sources::default()).ok()?;
        document.map.get("k").map(|node| node.value.clone())
    }

    #[test]
    fn escaped_text_reads_back_as_it_was() {
        for text in
            ["", "plain", "a\"b", "a\\b", "\\", "\n\r\t", "$NAME", "#", "}", "\u{0}\u{1}\u{7f}", "\u{85}é€", "'"]
        {
            let mut writer = Writer::default();
            writer.text("k", text);
            assert_eq!(read_back(&writer.into_text()), Some(Value::Text(text.into())), "{text:?}");
        }
        for text in ["a\"b", "\\", "\u{0}"] {
            let unescaped = read_back(&format!("k: \"{text}\"\n"));
            assert_ne!(unescaped, Some(Value::Text(text.into())), "{text:?} needs its escape");
        }
    }

    #[test]
    fn a_comment_cannot_leave_its_line() {
        let mut writer = Writer::at_depth(1);
        writer.comment("a\nk: 1\r\u{0}b");
        assert_eq!(writer.into_text(), "  # a k: 1  b\n");
    }

    #[test]
    fn a_list_of_more_than_two_values_takes_a_line_for_each() {
        let written = |values: &[&str]| {
            let mut writer = Writer::default();
            writer.list("k", values.iter().copied());
            writer.into_text()
        };
        assert_eq!(written(&["a"]), "k: [\"a\"]\n");
        assert_eq!(written(&["a", "\""]), "k: [\"a\", \"\\\"\"]\n");
        assert_eq!(written(&["a", "b", "c"]), "k: [\n  \"a\"\n  \"b\"\n  \"c\"\n]\n");
    }

    #[test]
    fn blocks_indent_what_is_in_them_and_nothing_after_them() {
        let mut writer = Writer::default();
        writer.named_block("include", |w| {
            w.array("list", |w| w.item(|w| w.number("k", 1)));
            w.line("");
        });
        writer.number("after", 2);
        let expected = "\"include\" {\n  list: [\n    {\n      k: 1\n    }\n  ]\n\n}\nafter: 2\n";
        assert_eq!(writer.into_text(), expected);
    }
}
