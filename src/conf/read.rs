//! Builds values from scanned items: pairs keys with values, resolves variables
//! and reads included files.

use std::path::{Path, PathBuf};

use super::scan::{Item, ScanError, Scanner};
use super::value::{Entry, Map, Node, Value};
use crate::diag::{Diagnostic, Sources, Span};
use crate::error::Error;

/// Maximum size of a configuration with all its included files. Bytes.
const MAX_TOTAL: usize = 256 << 20;
/// Maximum depth of nested includes.
const MAX_INCLUDES: usize = 32;

/// A parsed configuration.
#[derive(Debug)]
pub struct Document {
    /// The top-level entries.
    pub map: Map,
    /// Findings: text that the server silently reads differently from how it looks.
    pub remarks: Vec<Diagnostic>,
}

/// Reads a configuration file and its includes. `environment` looks up the
/// variables that the server will see. A syntax error carries its location.
pub fn read(path: &Path, environment: Environment<'_>, sources: &mut Sources) -> Result<Document, Error> {
    let mut reader = Reader { sources, environment, total: 0, open: Vec::new(), remarks: Vec::new() };
    match reader.file(path, None) {
        Ok(map) => Ok(Document { map, remarks: reader.remarks }),
        Err(Failure::Place(diagnostic)) => {
            Err(Error::Conf { sources: std::mem::take(sources), diagnostics: vec![*diagnostic] })
        }
        Err(Failure::Other(error)) => Err(error),
    }
}

enum Failure {
    Place(Box<Diagnostic>),
    Other(Error),
}

impl From<Diagnostic> for Failure {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Place(Box::new(diagnostic))
    }
}

/// Looks up an environment variable. `None`: not set.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

struct Reader<'s> {
    sources: &'s mut Sources,
    environment: Environment<'s>,
    /// Bytes read so far.
    total: usize,
    /// Canonical paths of the files being read, outermost first.
    open: Vec<PathBuf>,
    remarks: Vec<Diagnostic>,
}

impl Reader<'_> {
    /// Reads one file. `included`: location of its `include`; `None` for the main file.
    fn file(&mut self, path: &Path, included: Option<Span>) -> Result<Map, Failure> {
        let fail = |message: String, hint: &str| match included {
            Some(span) => Failure::from(Diagnostic::error("conf-include", span, message).hint(hint)),
            None => Failure::Other(Error::usage(message, hint)),
        };
        let hint = if included.is_some() { "paths start at the including file" } else { "is the path right?" };
        let real =
            std::fs::canonicalize(path).map_err(|e| fail(format!("cannot read {}: {e}", path.display()), hint))?;
        if real.is_dir() {
            return Err(fail(format!("{} is a folder", path.display()), "name the file in it, e.g. nats-server.conf"));
        }
        if self.open.contains(&real) {
            return Err(fail(
                format!("{} includes itself", path.display()),
                "nats-server would read it until it runs out of memory",
            ));
        }
        if self.open.len() >= MAX_INCLUDES {
            return Err(fail(format!("more than {MAX_INCLUDES} files include each other"), "flatten them"));
        }
        let length = std::fs::metadata(&real).map_or(0, |m| m.len());
        if length > (MAX_TOTAL - self.total.min(MAX_TOTAL)) as u64 {
            let message = format!("{} is too large: more than {} MiB in all", path.display(), MAX_TOTAL >> 20);
            return Err(fail(message, "is it the right file?"));
        }
        let bytes = std::fs::read(&real).map_err(|e| fail(format!("cannot read {}: {e}", path.display()), ""))?;
        self.total += bytes.len();
        let text = String::from_utf8(bytes).map_err(|e| {
            let line = e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
            fail(format!("{} is not UTF-8 text, from line {line} on", path.display()), "save it as UTF-8")
        })?;
        let file = self.sources.add(path, text);
        self.open.push(real);
        let map = self.document(file, path);
        self.open.pop();
        map
    }

    fn document(&mut self, file: u32, path: &Path) -> Result<Map, Failure> {
        // Cloned, because reading an include adds to `sources`.
        let text = self.sources.text(file).to_owned();
        let mut scanner = Scanner::new(&text);
        let mut builder = Builder::default();
        loop {
            let (item, range) = scanner.next_item().map_err(|e| syntax(file, &text, e))?;
            let span = span(file, range);
            match item {
                Item::End => return Ok(builder.finish()),
                Item::Include(name) => {
                    let folder = path.parent().unwrap_or(Path::new(""));
                    let included = self.file(&folder.join(name), Some(span))?;
                    builder.include(included);
                }
                Item::Variable(name) => {
                    let value = self.variable(&mut builder, &name, span, &mut Vec::new())?;
                    builder.set(Node { value, span }, self)?;
                }
                item => builder.item(item, span, self)?,
            }
        }
    }

    /// Resolves a variable: the innermost enclosing key of that name read so far,
    /// otherwise the environment variable.
    fn variable(
        &mut self,
        builder: &mut Builder,
        name: &str,
        at: Span,
        open: &mut Vec<String>,
    ) -> Result<Value, Failure> {
        // An unquoted bcrypt hash (`$2a$...`) looks like a variable; the server special-cases it.
        if name.starts_with("2a$") {
            return Ok(Value::Text(format!("${name}")));
        }
        if let Some(entry) = builder.lookup(name) {
            entry.used = true;
            return Ok(entry.node.value.clone());
        }
        let fail = |message: String| Failure::from(Diagnostic::error("conf-variable", at, message));
        if open.iter().any(|n| n == name) {
            return Err(fail(format!("the variable {name} is defined by itself")));
        }
        let Some(text) = (self.environment)(name) else {
            return Err(Diagnostic::error("conf-variable", at, format!("there is no variable {name}"))
                .hint("define it above, outside of this block or in it, or in the environment; an included file does not see the including one's")
                .into());
        };
        open.push(name.to_owned());
        let value = self.environment(&format!("pk={text}"), at, open);
        open.pop();
        // The message omits the text of the variable, which may be a secret.
        value.map_err(|_| fail(format!("the environment variable {name} does not hold a value")))
    }

    /// Parses the text of an environment variable as a value at the location of its use.
    fn environment(&mut self, text: &str, at: Span, open: &mut Vec<String>) -> Result<Value, Failure> {
        let mut scanner = Scanner::new(text);
        let mut builder = Builder::default();
        loop {
            let (item, _) = scanner.next_item().map_err(|e| Diagnostic::error("conf-variable", at, e.message))?;
            match item {
                Item::End => break,
                Item::Include(_) => {
                    return Err(Diagnostic::error("conf-variable", at, "an include in a variable").into());
                }
                Item::Variable(name) => {
                    let value = self.variable(&mut builder, &name, at, open)?;
                    builder.set(Node { value, span: at }, self)?;
                }
                item => builder.item(item, at, self)?,
            }
        }
        let map = builder.finish();
        let value = map.get("pk").map(|node| node.value.clone());
        value.ok_or_else(|| Diagnostic::error("conf-variable", at, "no value").into())
    }
}

fn span(file: u32, range: std::ops::Range<usize>) -> Span {
    let offset = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Span { file, start: offset(range.start), end: offset(range.end) }
}

/// Converts a scan error. Secrets cannot be recognised before the file is
/// parsed, so a line that mentions a secret's usual key is not shown.
fn syntax(file: u32, text: &str, error: ScanError) -> Failure {
    let start = text[..error.at.start].rfind('\n').map_or(0, |i| i + 1);
    let end = text[error.at.start..].find('\n').map_or(text.len(), |i| error.at.start + i);
    let line = text[start..end].to_lowercase();
    let diagnostic = Diagnostic::error("conf-syntax", span(file, error.at), error.message).hint(error.hint);
    let may_be_secret = ["pass", "token", "seed", "secret", "key", "cred"].iter().any(|word| line.contains(word));
    if may_be_secret { diagnostic.confidential() } else { diagnostic }.into()
}

enum Container {
    Map(Map),
    Array(Vec<Node>),
}

/// Assembles items into maps and lists.
struct Builder {
    /// Open containers with the location of their opening bracket; the file itself is first.
    open: Vec<(Container, Option<Span>)>,
    /// Keys whose value has not been read yet.
    keys: Vec<(String, Span)>,
    /// Whether the previous item was a key.
    after_key: bool,
}

impl Default for Builder {
    fn default() -> Self {
        Self { open: vec![(Container::Map(Map::default()), None)], keys: Vec::new(), after_key: false }
    }
}

impl Builder {
    fn item(&mut self, item: Item, span: Span, reader: &mut Reader<'_>) -> Result<(), Failure> {
        let after_key = std::mem::replace(&mut self.after_key, matches!(item, Item::Key(_)));
        let value = match item {
            Item::Key(key) => {
                self.keys.push((key, span));
                return Ok(());
            }
            Item::MapStart => {
                self.open.push((Container::Map(Map::default()), Some(span)));
                return Ok(());
            }
            Item::ArrayStart => {
                self.open.push((Container::Array(Vec::new()), Some(span)));
                return Ok(());
            }
            Item::MapEnd | Item::ArrayEnd => {
                if after_key && let Some((key, place)) = self.keys.last() {
                    reader.remarks.push(misread(
                        *place,
                        &format!("`{key}` has no value, so the server gives it the whole block"),
                    ));
                }
                return self.close(span, reader);
            }
            Item::Text(text) => Value::Text(text),
            Item::Bool(value) => Value::Bool(value),
            Item::Time(text) => Value::Time(text),
            Item::Float(text) => match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Value::Float(value),
                _ => return Err(Diagnostic::error("conf-syntax", span, "the number is out of range").into()),
            },
            Item::Integer(text) => match integer(&text) {
                Ok(Some(value)) => Value::Integer(value),
                Ok(None) => {
                    reader.remarks.push(misread(span, "this unit is none, so the server gives the key the next value"));
                    return Ok(());
                }
                Err(why) => return Err(Diagnostic::error("conf-syntax", span, why).into()),
            },
            Item::Variable(_) | Item::Include(_) | Item::End => return Ok(()),
        };
        self.set(Node { value, span }, reader)
    }

    fn close(&mut self, end: Span, reader: &mut Reader<'_>) -> Result<(), Failure> {
        let Some((container, start)) = self.open.pop() else { return Ok(()) };
        let value = match container {
            Container::Map(map) => Value::Map(map),
            Container::Array(nodes) => Value::Array(nodes),
        };
        let span = Span { start: start.map_or(end.start, |s| s.start), ..end };
        self.set(Node { value, span }, reader)
    }

    fn set(&mut self, node: Node, reader: &mut Reader<'_>) -> Result<(), Failure> {
        self.after_key = false;
        match self.open.last_mut() {
            Some((Container::Array(nodes), _)) => nodes.push(node),
            Some((Container::Map(map), _)) => {
                let Some((key, key_span)) = self.keys.pop() else {
                    reader.remarks.push(misread(node.span, "a value without a key"));
                    return Ok(());
                };
                map.entries.push(Entry { key, key_span, node, used: false });
            }
            None => {}
        }
        Ok(())
    }

    /// Merges the entries of an included file into the current map. Variables are not
    /// shared: the included file resolved its own already.
    fn include(&mut self, included: Map) {
        self.after_key = false;
        if let Some((Container::Map(map), _)) = self.open.last_mut() {
            map.entries.extend(included.entries);
        }
    }

    fn lookup(&mut self, name: &str) -> Option<&mut Entry> {
        self.open.iter_mut().rev().find_map(|(container, _)| match container {
            Container::Map(map) => map.entries.iter_mut().rev().find(|e| e.key == name),
            Container::Array(_) => None,
        })
    }

    fn finish(mut self) -> Map {
        match self.open.swap_remove(0).0 {
            Container::Map(map) => map,
            Container::Array(_) => Map::default(),
        }
    }
}

fn misread(span: Span, message: &str) -> Diagnostic {
    Diagnostic::error("misread-value", span, message)
        .hint("nats-server accepts this without a word; write the value out")
}

/// Parses an integer and applies its unit. Overflow wraps around, as in the
/// server. `None`: the unit is unknown.
fn integer(text: &str) -> Result<Option<i64>, &'static str> {
    if !text.is_ascii() {
        return Err("digits are 0 to 9");
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let number: i64 = digits.parse().map_err(|_| "the number is out of range")?;
    let power = |base: i64, unit: &str| {
        let exponent = "kmgtpe".find(&unit[..1]).map_or(0, |i| i + 1);
        base.wrapping_pow(u32::try_from(exponent).unwrap_or_default())
    };
    let unit = unit.trim().to_ascii_lowercase();
    Ok(match unit.len() {
        0 => Some(number),
        1 => Some(number.wrapping_mul(power(1000, &unit))),
        _ if matches!(&unit[1..], "b" | "i" | "ib") => Some(number.wrapping_mul(power(1024, &unit))),
        _ => None,
    })
}
