//! Scanner that splits configuration text into items exactly as nats-server's
//! lexer does: the same characters end a key, a word or a number, and the same
//! oddities are accepted (`tests/integration/reader.rs` compares both).
//! Nesting is kept on an explicit stack, so that no input can overflow the
//! thread's stack.

mod value;

use std::ops::Range;

/// Maximum nesting depth of maps and arrays. The server is limited by its memory only.
const MAX_DEPTH: usize = 1000;

/// One lexical item.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    Key(String),
    MapStart,
    MapEnd,
    ArrayStart,
    ArrayEnd,
    Text(String),
    Bool(bool),
    /// Digits with an optional minus sign and unit.
    Integer(String),
    Float(String),
    Time(String),
    /// The name of a variable, without `$`.
    Variable(String),
    /// The path of an included file, as written.
    Include(String),
    End,
}

/// A syntax error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScanError {
    /// Byte range of the offending text.
    pub at: Range<usize>,
    pub message: String,
    pub hint: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Top,
    TopValueEnd,
    /// Inside braces without a key, which may enclose the whole file as in JSON.
    Block,
    BlockValueEnd,
    BlockEnd,
    Key,
    KeyEnd,
    MapKey,
    MapKeyEnd,
    MapValueEnd,
    ArrayValue,
    ArrayValueEnd,
}

/// Produces items one at a time.
pub(super) struct Scanner<'t> {
    text: &'t str,
    /// Byte offset of the next character.
    at: usize,
    state: State,
    /// States to return to, innermost last.
    stack: Vec<State>,
    depth: usize,
}

type Step = Result<Option<(Item, Range<usize>)>, ScanError>;

/// Returned by `peek` at the end of the text. The server treats a NUL character alike.
const END: char = '\0';

impl<'t> Scanner<'t> {
    pub fn new(text: &'t str) -> Self {
        Self { text, at: 0, state: State::Top, stack: Vec::new(), depth: 0 }
    }

    /// The next item with its byte range; [`Item::End`] forever once the text is exhausted.
    pub fn next_item(&mut self) -> Result<(Item, Range<usize>), ScanError> {
        loop {
            if let Some(item) = self.step()? {
                return Ok(item);
            }
        }
    }

    fn step(&mut self) -> Step {
        match self.state {
            State::Top => self.top(),
            State::TopValueEnd => self.top_value_end(),
            State::Block => self.block(),
            State::BlockValueEnd => self.block_value_end(),
            State::BlockEnd => self.block_end(),
            State::Key => self.key(),
            State::KeyEnd => self.key_end(),
            State::MapKey => self.map_key(),
            State::MapKeyEnd => self.map_key_end(),
            State::MapValueEnd => self.map_value_end(),
            State::ArrayValue => self.array_value(),
            State::ArrayValueEnd => self.array_value_end(),
        }
    }

    // ------------------------------------------------------------ characters

    fn peek(&self) -> char {
        self.text[self.at..].chars().next().unwrap_or(END)
    }

    fn bump(&mut self) -> char {
        let next = self.peek();
        if self.at < self.text.len() {
            self.at += next.len_utf8();
        }
        next
    }

    fn is_at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while !self.is_at_end() && wanted(self.peek()) {
            self.bump();
        }
    }

    /// Skips a comment up to the end of its line. False if no comment begins here.
    fn skip_comment(&mut self) -> bool {
        let rest = &self.text[self.at..];
        if !rest.starts_with('#') && !rest.starts_with("//") {
            return false;
        }
        self.skip_while(|c| !is_line_end(c) && c != END);
        true
    }

    fn go(&mut self, state: State) -> Step {
        self.state = state;
        Ok(None)
    }

    fn pop(&mut self) {
        self.state = self.stack.pop().unwrap_or(State::Top);
    }

    fn fail<T>(&self, message: impl Into<String>, hint: &'static str) -> Result<T, ScanError> {
        let end = self.at + self.text[self.at..].chars().next().map_or(0, char::len_utf8);
        Err(ScanError { at: self.at..end, message: message.into(), hint })
    }

    fn found(&self) -> String {
        match self.peek() {
            END if self.is_at_end() => "the end of the file".into(),
            '\n' | '\r' => "a new line".into(),
            c if c.is_control() => format!("U+{:04X}", u32::from(c)),
            c => format!("`{c}`"),
        }
    }

    // ------------------------------------------------------------- top level

    fn top(&mut self) -> Step {
        self.skip_while(char::is_whitespace);
        if self.skip_comment() {
            return Ok(None);
        }
        match self.peek() {
            END if self.is_at_end() => Ok(Some((Item::End, self.at..self.at))),
            // The server accepts one surplus brace at the end of the file, to support JSON.
            '}' if self.text[self.at..].trim_end() == "}" => {
                self.at = self.text.len();
                Ok(None)
            }
            END | '/' => self.fail(format!("expected a key, found {}", self.found()), COMMENT),
            '{' => {
                self.bump();
                self.enter(State::Top)?;
                self.go(State::Block)
            }
            _ => {
                self.stack.push(State::TopValueEnd);
                self.go(State::Key)
            }
        }
    }

    fn top_value_end(&mut self) -> Step {
        self.skip_while(is_blank);
        if self.skip_comment() {
            return self.go(State::Top);
        }
        match self.peek() {
            // The server treats a single slash as a blank.
            '/' => {
                self.bump();
                Ok(None)
            }
            END | '\n' | '\r' | ';' | ',' | '}' => {
                self.bump();
                self.go(State::Top)
            }
            _ => self.fail(format!("expected the end of the line, found {}", self.found()), ONE_A_LINE),
        }
    }

    fn block(&mut self) -> Step {
        self.skip_while(char::is_whitespace);
        if self.skip_comment() {
            return Ok(None);
        }
        match self.peek() {
            END if self.is_at_end() => Ok(Some((Item::End, self.at..self.at))),
            END | '/' => self.fail(format!("expected a key, found {}", self.found()), COMMENT),
            '{' => {
                self.bump();
                self.enter(State::BlockEnd)?;
                Ok(None)
            }
            '}' => {
                self.bump();
                self.leave();
                Ok(None)
            }
            _ => {
                self.stack.push(State::BlockValueEnd);
                self.go(State::Key)
            }
        }
    }

    fn block_value_end(&mut self) -> Step {
        self.skip_while(is_blank);
        if self.skip_comment() {
            return Ok(None);
        }
        match self.peek() {
            '/' => {
                self.bump();
                Ok(None)
            }
            '\n' | '\r' | ';' | ',' => {
                self.bump();
                self.go(State::Block)
            }
            '}' => self.go(State::BlockEnd),
            _ => self.fail(format!("expected the end of the line or `}}`, found {}", self.found()), ONE_A_LINE),
        }
    }

    fn block_end(&mut self) -> Step {
        self.skip_while(|c| is_blank(c) || is_line_end(c));
        if self.skip_comment() {
            return self.go(State::Block);
        }
        match self.peek() {
            '/' => {
                self.bump();
                Ok(None)
            }
            ';' | ',' => {
                self.bump();
                self.go(State::Block)
            }
            '}' => {
                self.bump();
                self.leave();
                Ok(None)
            }
            _ => self.fail(format!("expected `}}`, found {}", self.found()), BRACES),
        }
    }

    fn enter(&mut self, after: State) -> Result<(), ScanError> {
        if self.depth >= MAX_DEPTH {
            return self.fail(format!("nested more than {MAX_DEPTH} deep"), "is it the right file?");
        }
        self.depth += 1;
        self.stack.push(after);
        Ok(())
    }

    fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.pop();
    }

    // ------------------------------------------------------------------ keys

    fn key(&mut self) -> Step {
        match self.peek() {
            c if is_separator(c) => self.fail(format!("expected a key before `{c}`"), KEY_VALUE),
            quote @ ('"' | '\'') => self.quoted_key(quote, State::KeyEnd),
            _ => {
                let start = self.at;
                self.bump();
                self.skip_while(|c| !c.is_whitespace() && !is_separator(c) && c != END);
                self.raw_key(start, State::KeyEnd)
            }
        }
    }

    fn quoted_key(&mut self, quote: char, after: State) -> Step {
        self.bump();
        let start = self.at;
        self.skip_while(|c| c != quote && c != END);
        if self.peek() != quote {
            return self.fail(format!("a key in {quote} does not end"), QUOTES);
        }
        let span = start..self.at;
        self.bump();
        self.state = after;
        Ok(Some((Item::Key(self.text[span.clone()].to_owned()), span)))
    }

    /// Ends an unquoted key, or starts an include if the key is `include` and a blank follows.
    fn raw_key(&mut self, start: usize, after: State) -> Step {
        let span = start..self.at;
        let word = &self.text[span.clone()];
        if word.eq_ignore_ascii_case("include") && self.peek().is_whitespace() {
            return self.include();
        }
        self.state = after;
        Ok(Some((Item::Key(word.to_owned()), span)))
    }

    fn key_end(&mut self) -> Step {
        self.skip_while(char::is_whitespace);
        match self.peek() {
            END => self.fail("the file ends where a value should be", KEY_VALUE),
            c => {
                if is_separator(c) {
                    self.bump();
                }
                self.value()
            }
        }
    }

    fn map_key(&mut self) -> Step {
        self.skip_while(char::is_whitespace);
        if self.skip_comment() {
            return Ok(None);
        }
        match self.peek() {
            END => self.fail("a map does not end", BRACES),
            c if is_separator(c) => self.fail(format!("expected a key before `{c}`"), KEY_VALUE),
            ']' => self.fail("expected a key or `}`, found `]`", BRACES),
            '}' => self.map_end(),
            quote @ ('"' | '\'') => self.quoted_key(quote, State::MapKeyEnd),
            c => {
                // The server drops a leading slash from the key.
                if c == '/' {
                    self.bump();
                }
                let start = self.at;
                self.bump();
                self.skip_while(|c| !c.is_whitespace() && !is_separator(c) && c != END);
                if self.peek() == END {
                    return self.fail("the file ends in a key", KEY_VALUE);
                }
                let word = &self.text[start..self.at];
                if word.eq_ignore_ascii_case("include") && self.peek().is_whitespace() {
                    self.stack.push(State::MapValueEnd);
                }
                self.raw_key(start, State::MapKeyEnd)
            }
        }
    }

    fn map_key_end(&mut self) -> Step {
        self.skip_while(char::is_whitespace);
        if is_separator(self.peek()) {
            self.bump();
            self.skip_while(char::is_whitespace);
        }
        match self.peek() {
            ',' => self.fail("expected a value, found `,`", KEY_VALUE),
            '}' => self.map_end(),
            _ => {
                self.stack.push(State::MapValueEnd);
                self.value()
            }
        }
    }

    fn map_value_end(&mut self) -> Step {
        self.skip_while(is_blank);
        if self.skip_comment() {
            return Ok(None);
        }
        match self.peek() {
            '/' | ';' | ',' | '\n' | '\r' => {
                self.bump();
                self.go(State::MapKey)
            }
            '}' => self.map_end(),
            _ => self.fail(
                format!("expected `,`, a new line or `}}` after a value, found {}", self.found()),
                "a value with blanks needs \"quotes\"; values on one line need commas",
            ),
        }
    }

    fn map_end(&mut self) -> Step {
        let start = self.at;
        self.bump();
        self.leave();
        Ok(Some((Item::MapEnd, start..self.at)))
    }

    // ---------------------------------------------------------------- arrays

    fn array_value(&mut self) -> Step {
        self.skip_while(char::is_whitespace);
        if self.skip_comment() {
            return Ok(None);
        }
        match self.peek() {
            c @ (',' | '/') => self.fail(format!("expected a value, found `{c}`"), COMMAS),
            ']' => self.array_end(),
            _ => {
                self.stack.push(State::ArrayValueEnd);
                self.value()
            }
        }
    }

    fn array_value_end(&mut self) -> Step {
        self.skip_while(is_blank);
        if self.skip_comment() {
            return Ok(None);
        }
        match self.peek() {
            '/' | ',' | '\n' | '\r' => {
                self.bump();
                self.go(State::ArrayValue)
            }
            ']' => self.array_end(),
            _ => self.fail(format!("expected `,` or `]` after a value, found {}", self.found()), COMMAS),
        }
    }

    fn array_end(&mut self) -> Step {
        let start = self.at;
        self.bump();
        self.leave();
        Ok(Some((Item::ArrayEnd, start..self.at)))
    }

    // -------------------------------------------------------------- includes

    fn include(&mut self) -> Step {
        self.skip_while(is_blank);
        let start = self.at;
        let path = match self.peek() {
            c @ ('[' | '{' | '(' | '-' | '\\' | '\n' | '\r') => {
                return self.fail(format!("expected a file to include, found {}", found(c)), INCLUDE);
            }
            c if c.is_numeric() => return self.fail(format!("expected a file to include, found `{c}`"), INCLUDE),
            quote @ ('"' | '\'') => {
                self.bump();
                self.skip_while(|c| c != quote && c != END);
                if self.peek() != quote {
                    return self.fail("the name of the file to include does not end", QUOTES);
                }
                self.bump();
                &self.text[start + 1..self.at - 1]
            }
            _ => {
                self.skip_while(|c| !is_line_end(c) && !is_blank(c) && !matches!(c, END | ';' | '}' | '\''));
                let path = &self.text[start..self.at];
                if self.peek() == '\'' {
                    self.bump();
                }
                path
            }
        };
        self.done(Item::Include(path.to_owned()), start)
    }
}

const COMMENT: &str = "a comment begins with # or //";
const ONE_A_LINE: &str = "one `key: value` a line; a value with blanks needs \"quotes\"";
const KEY_VALUE: &str = "write `key: value`, `key = value` or `key { ... }`";
const BRACES: &str = "count the braces";
const QUOTES: &str = "text goes in \"quotes\"";
const COMMAS: &str = "values on one line need commas between them";
const INCLUDE: &str = "include \"accounts.conf\"";

fn found(c: char) -> String {
    if is_line_end(c) { "a new line".into() } else { format!("`{c}`") }
}

fn is_separator(c: char) -> bool {
    matches!(c, '=' | ':')
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> Result<Vec<Item>, ScanError> {
        let mut scanner = Scanner::new(text);
        let mut items = Vec::new();
        loop {
            match scanner.next_item()?.0 {
                Item::End => return Ok(items),
                item => items.push(item),
            }
        }
    }

    fn items(text: &str) -> Vec<Item> {
        scan(text).unwrap_or_else(|e| panic!("{text:?}: {e:?}"))
    }

    fn value(text: &str) -> Item {
        let mut items = items(&format!("k: {text}\n"));
        assert_eq!(items.len(), 2, "{text:?}: {items:?}");
        items.remove(1)
    }

    fn key(name: &str) -> Item {
        Item::Key(name.into())
    }

    fn word(text: &str) -> Item {
        Item::Text(text.into())
    }

    #[test]
    fn every_way_to_write_an_assignment_gives_the_same_items() {
        for text in ["a: x", "a = x", "a x", "a:x", "'a': x", "\"a\" = x", "a: x;", "a: x,", "\n\ta : x\r\n", "{a: x}"]
        {
            assert_eq!(items(text), [key("a"), word("x")], "{text:?}");
        }
        assert_ne!(items("a: on"), items("a: 'on'"), "quotes make a difference to the value");
    }

    #[test]
    fn a_comment_ends_with_its_line_and_does_not_begin_inside_a_value() {
        for text in ["# b: 2\na: 1", "a: 1 # b: 2", "a: 1 // b: 2\n", "a: 1\n// b: 2"] {
            assert_eq!(items(text), [key("a"), Item::Integer("1".into())], "{text:?}");
        }
        assert_eq!(items("a: 1 # x\nb: y"), [key("a"), Item::Integer("1".into()), key("b"), word("y")]);
        for text in ["nats://host", "x#y", "\"# x\"", "'// x'"] {
            assert_eq!(value(text), word(text.trim_matches(['"', '\''])), "{text}");
        }
    }

    #[test]
    fn only_unquoted_words_are_booleans_and_variables() {
        for (text, item) in [
            ("true", Item::Bool(true)),
            ("YES", Item::Bool(true)),
            ("on", Item::Bool(true)),
            ("False", Item::Bool(false)),
            ("no", Item::Bool(false)),
            ("off", Item::Bool(false)),
            ("onn", word("onn")),
            ("'on'", word("on")),
            ("\"on\"", word("on")),
            ("o\\x6e", word("on")),
            ("$NAME", Item::Variable("NAME".into())),
            ("\"$NAME\"", word("$NAME")),
            ("a$NAME", word("a$NAME")),
        ] {
            assert_eq!(value(text), item, "{text}");
        }
    }

    #[test]
    fn digits_begin_a_number_an_address_a_time_or_a_word() {
        for (text, item) in [
            ("5", Item::Integer("5".into())),
            ("-5", Item::Integer("-5".into())),
            ("5k", Item::Integer("5k".into())),
            ("5GiB", Item::Integer("5GiB".into())),
            ("2m", Item::Integer("2m".into())),
            ("2s", word("2s")),
            ("5kg", word("5kg")),
            ("5e88", word("5e88")),
            ("1m30s", word("1m30s")),
            ("1.5", Item::Float("1.5".into())),
            ("127.0.0.1", word("127.0.0.1")),
            ("127.0.0.1:4222", word("127.0.0.1:4222")),
            ("2026-01-31T23:59:59Z", Item::Time("2026-01-31T23:59:59Z".into())),
        ] {
            assert_eq!(value(text), item, "{text}");
        }
    }

    #[test]
    fn escapes_are_resolved_in_double_quotes_and_kept_in_single_quotes() {
        assert_eq!(value(r#""a\tb\n\"\\\x41""#), word("a\tb\n\"\\A"));
        assert_eq!(value(r"'a\tb\x41'"), word(r"a\tb\x41"));
        for broken in [r#""\q""#, r#""\x4""#, r#""\x+4""#, r#""\xZZ""#] {
            assert!(scan(&format!("k: {broken}\n")).is_err(), "{broken}");
        }
    }

    #[test]
    fn text_in_parentheses_ends_with_a_parenthesis_alone_on_its_line() {
        assert_eq!(value("(a) b\n)"), word("a) b\n"));
        assert!(scan("k: (a\n b )\n").is_err(), "a parenthesis after other text ends nothing");
    }

    #[test]
    fn include_is_a_key_unless_a_blank_and_a_path_follow() {
        for text in ["include a.conf", "INCLUDE 'a.conf'", "include \"a.conf\"\n", "include a.conf;"] {
            assert_eq!(items(text), [Item::Include("a.conf".into())], "{text:?}");
        }
        assert_eq!(items("include: a.conf"), [key("include"), word("a.conf")]);
        assert_eq!(items("includes a.conf"), [key("includes"), word("a.conf")]);
        assert_eq!(
            items("m { include a.conf }"),
            [key("m"), Item::MapStart, Item::Include("a.conf".into()), Item::MapEnd]
        );
        assert!(scan("include {").is_err());
    }

    #[test]
    fn maps_and_lists_may_nest_a_thousand_deep_and_no_deeper() {
        for (open, close) in [("[", "]"), ("{ a: ", "}")] {
            let nested = |depth| format!("a: {}x{}", open.repeat(depth), close.repeat(depth));
            assert!(scan(&nested(MAX_DEPTH)).is_ok(), "{open}");
            let error = scan(&nested(MAX_DEPTH + 1)).expect_err(open);
            assert_eq!(error.message, "nested more than 1000 deep", "{open}");
        }
    }

    #[test]
    fn an_error_shows_the_byte_at_which_the_text_stops_making_sense() {
        for (text, at, message) in [
            ("a: b c\n", 5..6, "expected the end of the line, found `c`"),
            ("a: -x\n", 4..5, "expected a digit after `-`, found `x`"),
            ("a: 1.x\n", 5..6, "expected a digit after `.`, found `x`"),
            ("é: -x\n", 5..6, "expected a digit after `-`, found `x`"),
            ("a:\n", 2..3, "expected a value, found a new line"),
            ("a", 1..1, "the file ends where a value should be"),
            ("a: {\n", 5..5, "a map does not end"),
            ("a: [1 2]\n", 6..7, "expected `,` or `]` after a value, found `2`"),
            ("a: [1,, 2]\n", 6..7, "expected a value, found `,`"),
            ("a: 'b", 5..5, "text in ' does not end"),
            ("a: \"b", 5..5, "text in \" does not end"),
            (": 1", 0..1, "expected a key before `:`"),
        ] {
            let error = scan(text).expect_err(text);
            assert_eq!((error.at, error.message.as_str()), (at, message), "{text:?}");
        }
    }
}
