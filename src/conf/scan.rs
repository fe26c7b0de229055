//! From text to items, as nats-server does it: the same characters end a key,
//! a word or a number, and the same oddities are accepted (`tests/conf.rs`
//! holds it against the server). What nests is kept on a stack of our own, so
//! that no input can exhaust the thread's.

use std::ops::Range;

/// How deep maps and arrays may nest. The server has no limit but its memory.
const MAX_DEPTH: usize = 1000;

/// One piece of a configuration.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    Key(String),
    MapStart,
    MapEnd,
    ArrayStart,
    ArrayEnd,
    Text(String),
    Bool(bool),
    /// Digits, perhaps with a sign before and a unit after them.
    Integer(String),
    Float(String),
    Time(String),
    /// The name of a variable.
    Variable(String),
    /// The path of a file to read here.
    Include(String),
    End,
}

/// What is not the language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScanError {
    pub at: Range<usize>,
    pub message: String,
    pub hint: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Top,
    TopValueEnd,
    /// Inside braces that have no key: the whole file may be in them, as in JSON.
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

/// Reads items one by one.
pub(super) struct Scanner<'t> {
    text: &'t str,
    at: usize,
    state: State,
    stack: Vec<State>,
    depth: usize,
}

type Step = Result<Option<(Item, Range<usize>)>, ScanError>;

/// What the end of the text looks like; a NUL character looks the same.
const END: char = '\0';

impl<'t> Scanner<'t> {
    pub fn new(text: &'t str) -> Self {
        Self { text, at: 0, state: State::Top, stack: Vec::new(), depth: 0 }
    }

    /// The next item and where it stands; [`Item::End`] for good at the end.
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

    /// A comment, if one begins here.
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
            // One brace too many at the end is let pass, for JSON's sake.
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
            // By itself the server takes it for a blank.
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

    /// A key without quotes ends here; or it is the word `include`.
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
                // A slash by itself is dropped from the key.
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

    // ---------------------------------------------------------------- values

    /// A value; the state to go on with is on the stack.
    fn value(&mut self) -> Step {
        self.skip_while(is_blank);
        let start = self.at;
        match self.peek() {
            '[' => self.open(Item::ArrayStart, State::ArrayValue),
            '{' => self.open(Item::MapStart, State::MapKey),
            '\'' => self.single_quoted(),
            '"' => {
                self.bump();
                self.text(start, self.at, Ending::Quote)
            }
            '(' => self.raw_block(),
            '-' => {
                self.bump();
                if !self.peek().is_numeric() {
                    return self.fail(format!("expected a digit after `-`, found {}", self.found()), QUOTES);
                }
                self.skip_while(char::is_numeric);
                self.number(start, Sign::Minus)
            }
            '.' => {
                self.fail("a number begins with a digit", "0.5; other text that begins with a dot goes in \"quotes\"")
            }
            '\n' | '\r' => self.fail("expected a value, found a new line", KEY_VALUE),
            c if c.is_numeric() => {
                self.skip_while(char::is_numeric);
                self.number(start, Sign::Plus)
            }
            _ => self.text(start, start, Ending::Word),
        }
    }

    fn open(&mut self, item: Item, state: State) -> Step {
        let start = self.at;
        self.bump();
        // What comes after it is on the stack already.
        if self.depth >= MAX_DEPTH {
            return self.fail(format!("nested more than {MAX_DEPTH} deep"), "is it the right file?");
        }
        self.depth += 1;
        self.state = state;
        Ok(Some((item, start..self.at)))
    }

    fn done(&mut self, item: Item, start: usize) -> Step {
        self.pop();
        Ok(Some((item, start..self.at)))
    }

    fn single_quoted(&mut self) -> Step {
        let start = self.at;
        self.bump();
        self.skip_while(|c| c != '\'' && c != END);
        if self.peek() != '\'' {
            return self.fail("text in ' does not end", QUOTES);
        }
        let text = self.text[start + 1..self.at].to_owned();
        self.bump();
        self.done(Item::Text(text), start)
    }

    /// Text with escapes: in double quotes, or a word. Taken from `from` on.
    fn text(&mut self, start: usize, from: usize, ending: Ending) -> Step {
        let mut bytes = self.text.as_bytes()[from..self.at].to_vec();
        let mut has_escapes = false;
        loop {
            match self.peek() {
                '\\' => {
                    self.bump();
                    has_escapes = true;
                    bytes.push(self.escape()?);
                }
                END if ending == Ending::Quote => return self.fail("text in \" does not end", QUOTES),
                '"' if ending == Ending::Quote => {
                    self.bump();
                    break;
                }
                c if ending == Ending::Word && (ends_word(c) || c == '\'') => {
                    return self.word(start, bytes, has_escapes || c == '\'');
                }
                c => {
                    let mut buffer = [0; 4];
                    bytes.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
                    self.bump();
                }
            }
        }
        self.done(Item::Text(into_text(bytes)), start)
    }

    /// A word ends here: perhaps a truth value or a variable, if it is not
    /// `plain` text for certain.
    fn word(&mut self, start: usize, bytes: Vec<u8>, plain: bool) -> Step {
        let span = start..self.at;
        if self.peek() == '\'' {
            // A single quote ends a word, and is dropped.
            self.bump();
        }
        self.pop();
        let text = into_text(bytes);
        let item = match text.to_ascii_lowercase().as_str() {
            _ if plain => Item::Text(text),
            "true" | "yes" | "on" => Item::Bool(true),
            "false" | "no" | "off" => Item::Bool(false),
            _ => match text.strip_prefix('$') {
                Some(name) => Item::Variable(name.to_owned()),
                None => Item::Text(text),
            },
        };
        Ok(Some((item, span)))
    }

    fn escape(&mut self) -> Result<u8, ScanError> {
        const HINT: &str = "escapes are \\t \\n \\r \\\" \\\\ and \\xFF";
        let byte = match self.peek() {
            't' => b'\t',
            'n' => b'\n',
            'r' => b'\r',
            '"' => b'"',
            '\\' => b'\\',
            'x' => {
                let digits = self.text.get(self.at + 1..self.at + 3).unwrap_or_default();
                let Ok(byte) = u8::from_str_radix(digits, 16) else {
                    return self.fail("expected two hexadecimal digits after `\\x`", HINT);
                };
                self.at += 3;
                return if digits.starts_with('+') {
                    self.fail("expected two hexadecimal digits", HINT)
                } else {
                    Ok(byte)
                };
            }
            c => return self.fail(format!("`\\{c}` is not an escape"), HINT),
        };
        self.bump();
        Ok(byte)
    }

    /// Text in parentheses: to a `)` on a line of its own.
    fn raw_block(&mut self) -> Step {
        let start = self.at;
        self.bump();
        let from = self.at;
        loop {
            match self.peek() {
                END => return self.fail("text in ( does not end", "it ends with `)` on a line of its own"),
                ')' => {
                    let starts_line = self.at > 0 && self.text.as_bytes().get(self.at - 1) == Some(&b'\n');
                    let end = self.at;
                    self.bump();
                    if starts_line && matches!(self.peek(), '\n' | END) {
                        // At the very end of the file the server keeps the parenthesis.
                        let end = if self.peek() == END { self.at } else { end };
                        return self.done(Item::Text(self.text[from..end].to_owned()), start);
                    }
                }
                _ => {
                    self.bump();
                }
            }
        }
    }

    /// Digits were read; what comes next says what they are.
    fn number(&mut self, start: usize, sign: Sign) -> Step {
        match self.peek() {
            '-' if sign == Sign::Plus => self.time(start),
            '.' => self.float(start),
            c if is_unit(c) => {
                self.bump();
                self.skip_while(|c| matches!(c, 'b' | 'B' | 'i' | 'I'));
                match self.peek() {
                    c if ends_number(c) || c.is_numeric() => self.integer(start),
                    _ => self.text(start, start, Ending::Word),
                }
            }
            c if sign == Sign::Plus && !ends_number(c) => {
                // It is a word that begins with digits, whatever comes first.
                self.bump();
                self.text(start, start, Ending::Word)
            }
            _ => self.integer(start),
        }
    }

    fn integer(&mut self, start: usize) -> Step {
        self.done(Item::Integer(self.text[start..self.at].to_owned()), start)
    }

    fn float(&mut self, start: usize) -> Step {
        self.bump();
        if !self.peek().is_numeric() {
            return self.fail(format!("expected a digit after `.`, found {}", self.found()), QUOTES);
        }
        self.skip_while(char::is_numeric);
        if self.peek() != '.' {
            return self.done(Item::Float(self.text[start..self.at].to_owned()), start);
        }
        // An address, perhaps with a port.
        self.skip_while(|c| c.is_numeric() || matches!(c, '.' | ':' | '-'));
        self.done(Item::Text(self.text[start..self.at].to_owned()), start)
    }

    /// `2026-01-31T23:59:59Z` and nothing shorter.
    fn time(&mut self, start: usize) -> Step {
        const FORM: &str = "0000-00-00T00:00:00Z";
        let text = self.text.get(start..start + FORM.len()).unwrap_or_default();
        let fits = text.len() == FORM.len()
            && text.chars().zip(FORM.chars()).all(|(c, form)| if form == '0' { c.is_ascii_digit() } else { c == form })
            && text.parse::<toml::value::Datetime>().is_ok();
        if !fits {
            return self.fail(
                "digits with `-` are a time, and it is not one",
                "2026-01-31T23:59:59Z; other text goes in \"quotes\"",
            );
        }
        self.at = start + FORM.len();
        self.done(Item::Time(text.to_owned()), start)
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Quote,
    Word,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Plus,
    Minus,
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

/// The language counts bytes; text that is none is shown as such.
fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
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

fn ends_word(c: char) -> bool {
    is_line_end(c) || is_blank(c) || matches!(c, END | ';' | ',' | ']' | '}')
}

fn ends_number(c: char) -> bool {
    is_line_end(c) || is_blank(c) || matches!(c, END | ';' | ',' | '}')
}

fn is_unit(c: char) -> bool {
    matches!(c.to_ascii_lowercase(), 'k' | 'm' | 'g' | 't' | 'p' | 'e')
}
