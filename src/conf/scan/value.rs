//! Scanning of values: quoted and unquoted text, numbers with units, times, and
//! the opening brackets of maps and lists.

use super::{END, Item, KEY_VALUE, MAX_DEPTH, QUOTES, ScanError, Scanner, State, Step, is_blank, is_line_end};

impl Scanner<'_> {
    /// Scans a value. The caller has pushed the state that follows it.
    pub(super) fn value(&mut self) -> Step {
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
        // Unlike `enter`, pushes no state: the caller of `value` has done so.
        if self.depth >= MAX_DEPTH {
            return self.fail(format!("nested more than {MAX_DEPTH} deep"), "is it the right file?");
        }
        self.depth += 1;
        self.state = state;
        Ok(Some((item, start..self.at)))
    }

    pub(super) fn done(&mut self, item: Item, start: usize) -> Step {
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

    /// Scans text with escapes: in double quotes, or a word. The item starts at `start`
    /// and its content at `from`.
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

    /// Ends a word. Unless it is `plain`, which means text, it may be a boolean or a
    /// variable.
    fn word(&mut self, start: usize, bytes: Vec<u8>, plain: bool) -> Step {
        let span = start..self.at;
        if self.peek() == '\'' {
            // The server ends a word at a single quote and drops the quote.
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

    /// Scans text in parentheses, up to a `)` that is alone on its line.
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
                        // At the end of the file the server keeps the parenthesis in the text.
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

    /// Decides what the digits read so far begin: an integer, a float, a time or a word.
    fn number(&mut self, start: usize, sign: Sign) -> Step {
        match self.peek() {
            '-' if sign == Sign::Plus => self.time(start),
            '.' => self.float(start),
            c if is_unit(c) => {
                self.bump();
                self.skip_while(|c| matches!(c, 'b' | 'B' | 'i' | 'I'));
                match self.peek() {
                    c if ends_number(c) => self.integer(start),
                    _ => self.text(start, start, Ending::Word),
                }
            }
            c if sign == Sign::Plus && !ends_number(c) => {
                // A word that begins with digits. The server consumes its first other character
                // unseen, even a quote.
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
        // An IP address with an optional port.
        self.skip_while(|c| c.is_numeric() || matches!(c, '.' | ':' | '-'));
        self.done(Item::Text(self.text[start..self.at].to_owned()), start)
    }

    /// Scans a time, which has the form `2026-01-31T23:59:59Z` and no other.
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

/// Escapes can produce invalid UTF-8, which becomes U+FFFD.
fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
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
