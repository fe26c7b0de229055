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
        Err(Unreadable::Place(diagnostic)) => {
            Err(Error::Conf { sources: std::mem::take(sources), diagnostics: vec![*diagnostic] })
        }
        Err(Unreadable::Other(error)) => Err(error),
    }
}

enum Unreadable {
    Place(Box<Diagnostic>),
    Other(Error),
}

impl From<Diagnostic> for Unreadable {
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
    fn file(&mut self, path: &Path, included: Option<Span>) -> Result<Map, Unreadable> {
        let fail = |message: String, hint: &str| match included {
            Some(span) => Unreadable::from(Diagnostic::error("conf-include", span, message).hint(hint)),
            None => Unreadable::Other(Error::usage(message, hint)),
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

    fn document(&mut self, file: u32, path: &Path) -> Result<Map, Unreadable> {
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
                    // The server joins an absolute path to the folder too.
                    let included = self.file(&folder.join(name.trim_start_matches('/')), Some(span))?;
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
    ) -> Result<Value, Unreadable> {
        // An unquoted bcrypt hash (`$2a$...`) looks like a variable; the server special-cases it.
        if name.starts_with("2a$") {
            return Ok(Value::Text(format!("${name}")));
        }
        if let Some(entry) = builder.lookup(name) {
            entry.used = true;
            return Ok(entry.node.value.clone());
        }
        let fail = |message: String| Unreadable::from(Diagnostic::error("conf-variable", at, message));
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
    fn environment(&mut self, text: &str, at: Span, open: &mut Vec<String>) -> Result<Value, Unreadable> {
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
fn syntax(file: u32, text: &str, error: ScanError) -> Unreadable {
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
    fn item(&mut self, item: Item, span: Span, reader: &mut Reader<'_>) -> Result<(), Unreadable> {
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
            Item::Text(text) => {
                // In quotes it is longer.
                let is_word = (span.end - span.start) as usize == text.len();
                reader.remarks.extend((is_word && is_new_word(&text)).then(|| {
                    Diagnostic::warning(
                        "new-syntax",
                        span,
                        "nats-server before 2.15.1 refuses this value without quotes",
                    )
                    .hint("put it in \"quotes\"")
                    .confidential()
                }));
                Value::Text(text)
            }
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

    fn close(&mut self, end: Span, reader: &mut Reader<'_>) -> Result<(), Unreadable> {
        let Some((container, start)) = self.open.pop() else { return Ok(()) };
        let value = match container {
            Container::Map(map) => Value::Map(map),
            Container::Array(nodes) => Value::Array(nodes),
        };
        let span = Span { start: start.map_or(end.start, |s| s.start), ..end };
        self.set(Node { value, span }, reader)
    }

    fn set(&mut self, node: Node, reader: &mut Reader<'_>) -> Result<(), Unreadable> {
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

/// Whether a word begins like a number with a unit and goes on with a digit, such as `5e88` or `1m30s`. Before 2.15.1 the
/// number ended there, and the rest was an error.
fn is_new_word(text: &str) -> bool {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let unit = digits.strip_prefix(|c: char| "kmgtpeKMGTPE".contains(c));
    let rest = unit.map(|rest| rest.trim_start_matches(['b', 'B', 'i', 'I']));
    digits.len() < text.len() && rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `main.conf` out of files given by name and text.
    fn read_files(files: &[(&str, &str)], environment: &[(&str, &str)]) -> Result<(Document, Sources), Error> {
        let folder = tempfile::TempDir::new().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("written");
        }
        let lookup = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, text)| (*text).to_owned());
        let mut sources = Sources::default();
        let document = read(&folder.path().join("main.conf"), &lookup, &mut sources)?;
        Ok((document, sources))
    }

    fn parse(text: &str) -> Document {
        read_files(&[("main.conf", text)], &[]).unwrap_or_else(|e| panic!("{text:?}: {e}")).0
    }

    /// File name, line, column and message of the error.
    fn error(files: &[(&str, &str)], environment: &[(&str, &str)]) -> (String, usize, usize, String) {
        match read_files(files, environment) {
            Err(Error::Conf { sources, diagnostics }) => {
                let finding = sources.finding(&diagnostics[0]);
                let file = finding.file.expect("a file").rsplit('/').next().expect("a name").to_owned();
                (file, finding.line.expect("a line"), finding.column.expect("a column"), finding.message)
            }
            other => panic!("expected a diagnostic, got {other:?}"),
        }
    }

    fn get<'m>(map: &'m Map, path: &str) -> &'m Value {
        let (key, rest) = path.split_once('/').unwrap_or((path, ""));
        match &map.get(key).unwrap_or_else(|| panic!("no {key}")).value {
            Value::Map(map) if !rest.is_empty() => get(map, rest),
            value => value,
        }
    }

    #[test]
    fn units_multiply_by_powers_of_1000_or_1024() {
        for (text, number) in [
            ("5", 5),
            ("-5", -5),
            ("2k", 2_000),
            ("2K", 2_000),
            ("2kb", 2_048),
            ("2Ki", 2_048),
            ("2KiB", 2_048),
            ("3m", 3_000_000),
            ("3MB", 3 << 20),
            ("1g", 1_000_000_000),
            ("1Gi", 1 << 30),
            ("1t", 1_000_000_000_000),
            ("1tb", 1 << 40),
            ("1pb", 1 << 50),
            ("1eb", 1 << 60),
            ("9223372036854775807", i64::MAX),
        ] {
            assert_eq!(integer(text), Ok(Some(number)), "{text}");
        }
        assert_eq!(integer("2kbb"), Ok(None), "an unknown unit");
        assert_eq!(integer("16eb"), Ok(Some(0)), "overflow wraps around, as in the server");
        assert_eq!(integer("9223372036854775808"), Err("the number is out of range"));
        assert_eq!(integer("٣"), Err("digits are 0 to 9"));
    }

    #[test]
    fn a_variable_is_the_innermost_key_above_it() {
        let document = parse("a: 1\nb { a: 2\n c: $a\n d { c: $a } }\nc: $a\na: 3\nd: $a");
        for (path, number) in [("b/c", 2), ("b/d/c", 2), ("c", 1), ("d", 3)] {
            assert_eq!(get(&document.map, path), &Value::Integer(number), "{path}");
        }
        let used: Vec<bool> = document.map.entries.iter().filter(|e| e.key != "b").map(|e| e.used).collect();
        assert_eq!(used, [true, false, true, false], "only entries that a variable refers to are marked");
    }

    #[test]
    fn a_variable_without_a_key_is_read_from_the_environment_as_a_value() {
        let environment = [("N", "5k"), ("T", "'5k'"), ("L", "[a, b]"), ("V", "$N"), ("a", "7")];
        let (document, _) =
            read_files(&[("main.conf", "a: 1\nn: $N\nt: $T\nv: $V\nl: $L\na2: $a")], &environment).expect("read");
        assert_eq!(get(&document.map, "n"), &Value::Integer(5000));
        assert_eq!(get(&document.map, "t"), &Value::Text("5k".into()));
        assert_eq!(get(&document.map, "v"), &Value::Integer(5000));
        assert_eq!(get(&document.map, "l").kind(), "a list");
        assert_eq!(get(&document.map, "a2"), &Value::Integer(1), "a key comes before the environment");
    }

    #[test]
    fn a_variable_that_cannot_be_resolved_is_an_error_that_quotes_no_text_of_the_environment() {
        let at = |text: &str, environment: &[(&str, &str)]| error(&[("main.conf", text)], environment);
        assert_eq!(at("b: 1\na: $X", &[]), ("main.conf".into(), 2, 4, "there is no variable X".into()));
        assert_eq!(at("a: $X\nX: 1", &[]).3, "there is no variable X", "a key below it does not count");
        for text in ["hunter2 x", "$X", "include hunter2"] {
            assert_eq!(at("a: $X", &[("X", text)]).3, "the environment variable X does not hold a value", "{text:?}");
        }
    }

    #[test]
    fn an_unquoted_bcrypt_hash_is_text_and_no_variable() {
        let hash = "$2a$11$abcdefghijklmnopqrstuv";
        assert_eq!(get(&parse(&format!("p: {hash}")).map, "p"), &Value::Text(hash.into()));
        assert_eq!(error(&[("main.conf", "p: $2b$11$abc")], &[]).3, "there is no variable 2b$11$abc");
    }

    #[test]
    fn included_entries_merge_into_the_block_that_includes_them() {
        let files = [
            ("main.conf", "a: 1\nm { include 'sub/one.conf'\n z: 9 }\n"),
            ("sub/one.conf", "b: 2\ninclude two.conf\n"),
            ("sub/two.conf", "c: 3\n"),
        ];
        let (document, sources) = read_files(&files, &[]).expect("read");
        for (path, number) in [("a", 1), ("m/b", 2), ("m/c", 3), ("m/z", 9)] {
            assert_eq!(get(&document.map, path), &Value::Integer(number), "{path}");
        }
        assert_eq!(sources.paths().count(), 3);
        assert!(document.map.get("b").is_none());
    }

    #[test]
    fn an_included_file_does_not_see_variables_of_the_including_one() {
        let files = [("main.conf", "a: 1\ninclude one.conf"), ("one.conf", "b: $a")];
        assert_eq!(error(&files, &[]), ("one.conf".into(), 1, 4, "there is no variable a".into()));
        let files = [("main.conf", "include one.conf\nb: $a"), ("one.conf", "a: 1")];
        assert!(read_files(&files, &[]).is_ok(), "the other way round they are seen");
    }

    #[test]
    fn an_include_that_cannot_be_read_is_reported_where_it_is_written() {
        for (files, place, message) in [
            (vec![("main.conf", "\n  include gone.conf")], ("main.conf", 2, 11), "gone.conf"),
            (vec![("main.conf", "include main.conf")], ("main.conf", 1, 9), "includes itself"),
            (vec![("main.conf", "include a.conf"), ("a.conf", "include main.conf")], ("a.conf", 1, 9), "itself"),
            (vec![("main.conf", "include sub"), ("sub/x", "")], ("main.conf", 1, 9), "is a folder"),
        ] {
            let (file, line, column, text) = error(&files, &[]);
            assert_eq!((file.as_str(), line, column), place, "{text}");
            assert!(text.contains(message), "{text}");
        }
    }

    #[test]
    fn a_main_file_that_is_not_utf_8_is_reported_with_its_line() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), b"a: 1\nb: \"\xff\"\n").expect("written");
        let error = read(file.path(), &|_| None, &mut Sources::default()).expect_err("not UTF-8");
        assert!(error.to_string().contains("is not UTF-8 text, from line 2 on"), "{error}");
    }

    #[test]
    fn what_the_server_reads_differently_is_remarked_at_its_place() {
        for (text, remark) in [
            ("a: 1kbb\nb: 2", Some("this unit is none, so the server gives the key the next value")),
            ("m { a }", Some("`a` has no value, so the server gives it the whole block")),
            ("a: 1kb\nb: 2", None),
            ("m { a: 1 }", None),
        ] {
            let document = parse(text);
            let remarks: Vec<&str> = document.remarks.iter().map(|d| d.message.as_str()).collect();
            assert_eq!(remarks, remark.into_iter().collect::<Vec<_>>(), "{text:?}");
        }
    }

    #[test]
    fn the_line_of_a_syntax_error_is_hidden_if_it_may_hold_a_secret() {
        for (text, hidden) in [
            ("password: a b", true),
            ("auth_TOKEN: a b", true),
            ("creds: a b", true),
            ("port: a b", false),
            ("password: a\nport: a b", false),
        ] {
            let Err(Error::Conf { diagnostics, .. }) = read_files(&[("main.conf", text)], &[]) else {
                panic!("{text:?} is no error")
            };
            assert_eq!(diagnostics[0].confidential, hidden, "{text:?}");
        }
    }
}
