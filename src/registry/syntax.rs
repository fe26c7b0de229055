//! What is wrong with a text that is not TOML, in the words of who wrote it: one finding for one mistake, where it was
//! made. What only follows from an earlier mistake is left out.

use std::ops::Range;

/// A mistake in the text.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it is. Bytes.
    pub at: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write.
    pub hint: String,
    /// The place of what comes before it and is the same.
    pub first: Option<Range<usize>>,
}

impl Mistake {
    fn new(at: Range<usize>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { at, message: message.into(), hint: hint.into(), first: None }
    }
}

/// Headers of what there may be several of: they have double brackets.
const SEVERAL: [&str; 11] = [
    "tenant",
    "tenant.user",
    "tenant.stream",
    "tenant.stream.consumer",
    "tenant.stream.source",
    "tenant.bucket",
    "tenant.object_store",
    "system.user",
    "share",
    "retired",
    "user",
];

/// Explains why a text is not TOML. `errors`: place and message of each error of the parser, in their order.
pub fn explain(text: &str, errors: &[(Range<usize>, String)]) -> Vec<Mistake> {
    if let Some(mistake) = another_language(text) {
        return vec![mistake];
    }
    let has_duplicates = errors.iter().any(|(_, message)| message.contains("duplicate key"));
    if let Some(mistake) = single_brackets(text).filter(|_| has_duplicates) {
        return vec![mistake];
    }
    let mut found: Vec<Mistake> = Vec::new();
    let mut errors: Vec<&(Range<usize>, String)> = errors.iter().collect();
    errors.sort_by_key(|(range, _)| range.start);
    let (mut last_line, mut is_below_wrong_header) = (None, false);
    for (range, message) in errors {
        let line = Line::at(text, range.start);
        let is_twice = message.contains("duplicate key");
        // Of a line the first is told. Below a header that is wrong, the next ones seem to be there twice.
        if last_line.replace(line.start) == Some(line.start) || is_twice && is_below_wrong_header {
            continue;
        }
        // Whatever comes after a bracket that is not closed was read as a part of it.
        let open = open_brackets(text, range.start);
        let before = open.iter().rev().find(|open| **open < line.start);
        if let Some(open) = before.or(open.last().filter(|_| is_unclosed(message))) {
            found.push(unclosed(text, *open));
            break;
        }
        is_below_wrong_header |= line.text.trim_start().starts_with('[');
        found.push(mistake(text, &line, range, message));
    }
    found
}

/// One line of the text, without its end.
struct Line<'t> {
    start: usize,
    text: &'t str,
}

impl<'t> Line<'t> {
    fn at(text: &'t str, place: usize) -> Self {
        let place = (0..=place.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        let start = text[..place].rfind('\n').map_or(0, |at| at + 1);
        let end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        Self { start, text: text[start..end].trim_end_matches('\r') }
    }

    /// The place of what is in the line, without the blanks around it.
    fn range(&self) -> Range<usize> {
        let start = self.start + self.text.len() - self.text.trim_start().len();
        start..start + self.text.trim().len()
    }

    /// The header that the line is, without its brackets, and their number.
    fn header(&self) -> Option<(&'t str, usize)> {
        let code = without_comment(self.text).trim();
        for brackets in [2, 1] {
            let (open, close) = ("[".repeat(brackets), "]".repeat(brackets));
            if let Some(name) = code.strip_prefix(&open).and_then(|code| code.strip_suffix(&close)) {
                return Some((name.trim(), brackets)).filter(|(name, _)| !name.contains(['[', ']', '"', ',']));
            }
        }
        None
    }
}

fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut start = 0;
    text.split_inclusive('\n').map(move |line| {
        let found = Line { start, text: line.trim_end_matches(['\n', '\r']) };
        start += line.len();
        found
    })
}

/// A line without its comment; a `#` inside quotes begins none.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    for (at, c) in line.char_indices() {
        match quote {
            None if c == '#' => return &line[..at],
            None if matches!(c, '"' | '\'') => quote = Some(c),
            Some(open) if open == c => quote = None,
            _ => {}
        }
    }
    line
}

/// The finding that the text is YAML or JSON.
fn another_language(text: &str) -> Option<Mistake> {
    let is_code = |line: &Line<'_>| !line.text.trim().is_empty() && !line.text.trim_start().starts_with('#');
    let first = lines(text).find(is_code)?;
    let code = first.text.trim();
    let is_json = code.starts_with('{');
    // A key of YAML stands in the first column, and its value after a colon or in the lines below.
    let is_key =
        |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let is_yaml_line = |line: &Line<'_>| {
        let code = line.text.trim();
        let key = code.trim_start_matches("- ").split(':').next().unwrap_or_default();
        code == "---" || code.contains(':') && is_key(key) && !code.contains('=')
    };
    let is_yaml = is_yaml_line(&first) && lines(text).filter(is_code).take(3).all(|line| is_yaml_line(&line));
    let language = match (is_json, is_yaml) {
        (true, _) => "JSON",
        (false, true) => "YAML",
        (false, false) => return None,
    };
    let message = format!("this is {language}, and a registry is TOML");
    let hint = "`tenantry init` writes one to begin with: `version = 1`, then `[[tenant]]` with `name = \"ACME\"` for each tenant";
    Some(Mistake::new(first.range(), message, hint))
}

/// The first header with single brackets of what there may be several of.
fn single_brackets(text: &str) -> Option<Mistake> {
    let is_single = |line: &Line<'_>| line.header().is_some_and(|(name, count)| count == 1 && SEVERAL.contains(&name));
    let line = lines(text).find(is_single)?;
    let (header, _) = line.header()?;
    let at = line.range().start..line.start + without_comment(line.text).trim_end().len();
    let message = format!("`[{header}]` begins one table: of these there may be several");
    Some(Mistake::new(at, message, format!("write double brackets: `[[{header}]]`")))
}

fn is_unclosed(message: &str) -> bool {
    message.contains("unclosed array") && !message.contains("array table") || message.contains("unclosed inline table")
}

/// The brackets before a place that are not closed there. Headers have none, and text in quotes.
fn open_brackets(text: &str, end: usize) -> Vec<usize> {
    let mut open: Vec<usize> = Vec::new();
    let mut quotes: Option<&str> = None;
    for line in lines(text).take_while(|line| line.start < end) {
        if open.is_empty() && quotes.is_none() && line.text.trim_start().starts_with('[') {
            continue;
        }
        let mut at = 0;
        while let Some(rest) = line.text.get(at..).filter(|rest| !rest.is_empty()) {
            let place = line.start + at;
            if place >= end {
                break;
            }
            at += match quotes {
                Some(open) if rest.starts_with(open) => {
                    quotes = None;
                    open.len()
                }
                Some(open) if open.starts_with('"') && rest.starts_with('\\') => 1 + width(&rest[1..]),
                Some(_) => width(rest),
                None => {
                    if let Some(quote) = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| rest.starts_with(quote))
                    {
                        quotes = Some(quote);
                        quote.len()
                    } else if rest.starts_with('#') {
                        break;
                    } else {
                        match rest.as_bytes()[0] {
                            b'[' | b'{' => open.push(place),
                            b']' | b'}' => drop(open.pop()),
                            _ => {}
                        }
                        width(rest)
                    }
                }
            };
        }
        // Only text in triple quotes goes on in the next line.
        quotes = quotes.filter(|quote| quote.len() == 3);
    }
    open
}

/// Length of the first character. Bytes.
fn width(text: &str) -> usize {
    text.chars().next().map_or(1, char::len_utf8)
}

fn unclosed(text: &str, open: usize) -> Mistake {
    let bracket = &text[open..=open];
    let close = if bracket == "[" { "]" } else { "}" };
    let line = Line::at(text, open);
    let is_complete = |code: &str| !code.is_empty() && !code.ends_with([',', '[', '{']);
    let hint = match without_comment(line.text).trim() {
        code if is_complete(code) => format!("write `{code}{close}`"),
        _ => format!("a `{close}` is missing at its end"),
    };
    Mistake::new(open..open + 1, format!("this `{bracket}` is not closed"), hint)
}

fn mistake(text: &str, line: &Line<'_>, range: &Range<usize>, message: &str) -> Mistake {
    let code = without_comment(line.text).trim();
    let at = line.range();
    if message.contains("duplicate key") {
        return twice(text, line, range);
    }
    if code.starts_with("//") || code.starts_with("--") || code.starts_with(';') {
        return Mistake::new(at, "this is no comment in TOML", "a comment begins with `#`");
    }
    if code.starts_with('[') {
        let name = code.trim_matches(['[', ']', ' ']);
        let brackets = if code.starts_with("[[") || SEVERAL.contains(&name) { 2 } else { 1 };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !name.is_empty() && name.chars().all(is_plain) {
            let header = format!("{}{name}{}", "[".repeat(brackets), "]".repeat(brackets));
            return Mistake::new(at, "the brackets of this header do not match", format!("write `{header}`"));
        }
        if let Some((header, rest)) = code.rsplit_once(']').filter(|(_, rest)| !rest.is_empty()) {
            let place = at.start + header.len() + 1..at.start + code.len();
            let hint = format!("write `{header}] # {}`, or put it in the next line", rest.trim());
            return Mistake::new(place, "nothing but a comment stands after a header", hint);
        }
    }
    if let Some(quote) = code.find(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}', '\u{ab}', '\u{bb}', '\u{201e}']) {
        let straight =
            code.replace(['\u{201c}', '\u{201d}', '\u{ab}', '\u{bb}', '\u{201e}', '\u{2018}', '\u{2019}'], "\"");
        let place = at.start + quote;
        let end = place + width(&code[quote..]);
        return Mistake::new(
            place..end,
            "this is a typographic quotation mark",
            format!("write straight ones: `{straight}`"),
        );
    }
    let is_key = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
    };
    match code.split_once('=') {
        None => {
            let word = code.split([':', ' ', '\t']).next().unwrap_or_default();
            let value = code[word.len()..].trim_start_matches([':', ' ', '\t']);
            if is_key(word) && !value.is_empty() {
                let message = format!("`{word}` is followed by no `=`");
                return Mistake::new(at, message, format!("write `{word} = {}`", quoted(value)));
            }
            if is_key(word) {
                return Mistake::new(
                    at,
                    format!("`{word}` has no value"),
                    format!("write `{word} = ...`, or remove it"),
                );
            }
        }
        Some((key, value)) => {
            let (key, value) = (key.trim(), value.trim());
            let place = at.start + code.len() - value.len();
            if value.is_empty() {
                return Mistake::new(at, format!("`{key}` has no value"), format!("write `{key} = ...`, or remove it"));
            }
            if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") {
                let hint = format!("write `{key} = {}`", value.to_ascii_lowercase());
                return Mistake::new(place..place + value.len(), "`true` and `false` are written in lowercase", hint);
            }
            if let Some(rest) = value.strip_suffix([',', ';']).filter(|rest| !rest.is_empty()) {
                let end = at.start + code.len();
                return Mistake::new(
                    end - 1..end,
                    "nothing stands after a value",
                    format!("write `{key} = {}`", quoted(rest)),
                );
            }
            let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
            if let Some(quote) = quote.filter(|quote| value.matches(*quote).count() == 1) {
                let message = "this quotation mark is not closed";
                return Mistake::new(place..place + 1, message, format!("write `{key} = {value}{quote}`"));
            }
            let is_word =
                |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '>' | '*' | '$' | '/' | ':' | '@');
            if is_key(key) && quote.is_none() && value.chars().all(is_word) {
                let hint = format!("write `{key} = \"{value}\"`");
                return Mistake::new(place..place + value.len(), "text goes in quotes", hint);
            }
        }
    }
    Mistake::new(
        range.clone(),
        message,
        "text goes in \"quotes\"; `key = value`, one a line; `[[tenant]]` begins a tenant",
    )
}

/// A value as it has to be written: text in quotes, and everything else as it is.
fn quoted(value: &str) -> String {
    let is_value =
        value.starts_with(['"', '\'', '[', '{']) || value.parse::<f64>().is_ok() || matches!(value, "true" | "false");
    if is_value { value.to_owned() } else { format!("\"{value}\"") }
}

/// A key or a header that is there already.
fn twice(text: &str, line: &Line<'_>, range: &Range<usize>) -> Mistake {
    let before: Vec<Line<'_>> = lines(text).take_while(|before| before.start < line.start).collect();
    let is_tenant = |line: &&Line<'_>| line.header() == Some(("tenant", 2));
    let Some((name, brackets)) = line.header() else {
        let key = text.get(range.clone()).unwrap_or_default().trim();
        let in_table = before.iter().rev().take_while(|line| line.header().is_none());
        let is_same =
            |line: &&Line<'_>| without_comment(line.text).split_once('=').is_some_and(|(k, _)| k.trim() == key);
        let first = in_table.filter(is_same).last().map(Line::range);
        let mistake = Mistake::new(range.clone(), format!("`{key}` is set twice"), "keep one of the two lines");
        return Mistake { first, ..mistake };
    };
    let part = |line: &&Line<'_>| line.header().is_some_and(|(other, _)| other.starts_with("tenant."));
    let is_first = (name, brackets) == ("tenant", 2) && !before.iter().any(|line| is_tenant(&line));
    if let Some(early) = before.iter().find(part).filter(|_| is_first) {
        let header = without_comment(early.text).trim();
        let message = format!("`{header}` stands before any `[[tenant]]`");
        return Mistake::new(early.range(), message, "put it below the `[[tenant]]` that it belongs to");
    }
    let is_of_tenant = name.starts_with("tenant.");
    let same_table = before.iter().rev().take_while(|line| !is_of_tenant || !is_tenant(line));
    let first = same_table.filter(|line| line.header() == Some((name, brackets))).last().map(Line::range);
    let header = without_comment(line.text).trim();
    let mistake = match (&first, is_of_tenant) {
        (Some(_), true) => Mistake::new(
            line.range(),
            format!("a second `{header}` of one tenant"),
            "put its keys under the first one; a further tenant begins with `[[tenant]]`",
        ),
        (Some(_), false) => {
            Mistake::new(line.range(), format!("a second `{header}`"), "put its keys under the first one")
        }
        (None, _) => {
            let hint = "its keys are set above, in lines such as `limits.connections = 5`: keep them in one place";
            Mistake::new(line.range(), format!("`{header}` is there already"), hint)
        }
    };
    Mistake { first, ..mistake }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a text: the marked text, the message, the hint.
    fn said(text: &str) -> Vec<(String, String, String)> {
        let (_, errors) = toml::de::DeTable::parse_recoverable(text);
        let errors: Vec<_> = errors
            .into_iter()
            .map(|error| (error.span().unwrap_or(0..0), error.message().trim().replace('\n', ", ")))
            .collect();
        let mistakes = explain(text, &errors).into_iter();
        mistakes.map(|m| (text[m.at].to_owned(), m.message, m.hint)).collect()
    }

    fn one(text: &str) -> (String, String, String) {
        let mut found = said(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        found.remove(0)
    }

    const REST: &str = "[[tenant.user]]\nname = \"app\"\n[[tenant]]\nname = \"B\"\n[[tenant.user]]\nname = \"app\"\n";

    #[test]
    fn a_bracket_that_is_not_closed_is_told_once_where_it_opens() {
        for (line, marked, hint) in [
            ("subjects = [\"A.>\", \"B.>\"", "[", "write `subjects = [\"A.>\", \"B.>\"]`"),
            ("subjects = [\"A.>\", # both\n  \"B.>\",", "[", "a `]` is missing at its end"),
            ("jetstream = { storage = \"1GiB\"", "{", "write `jetstream = { storage = \"1GiB\"}`"),
            ("subjects = [\"a]\", '#'", "[", "write `subjects = [\"a]\", '#']`"),
        ] {
            let (at, message, told) = one(&format!("version = 1\n[[tenant]]\nname = \"A\"\n{line}\n{REST}"));
            assert_eq!((at.as_str(), told.as_str()), (marked, hint), "{line}");
            assert_eq!(message, format!("this `{marked}` is not closed"));
        }
    }

    #[test]
    fn a_line_that_is_no_toml_is_told_with_what_to_write() {
        for (line, message, hint) in [
            ("name: \"A\"", "`name` is followed by no `=`", "write `name = \"A\"`"),
            ("name A", "`name` is followed by no `=`", "write `name = \"A\"`"),
            ("name", "`name` has no value", "write `name = ...`, or remove it"),
            ("name =", "`name` has no value", "write `name = ...`, or remove it"),
            ("name = A", "text goes in quotes", "write `name = \"A\"`"),
            ("name = \"A", "this quotation mark is not closed", "write `name = \"A\"`"),
            ("name = \"A\",", "nothing stands after a value", "write `name = \"A\"`"),
            ("name = A;", "nothing stands after a value", "write `name = \"A\"`"),
            ("name = \u{201c}A\u{201d}", "this is a typographic quotation mark", "write straight ones: `name = \"A\"`"),
            ("suspended = True", "`true` and `false` are written in lowercase", "write `suspended = true`"),
            (
                "[tenant.limits] connections = 5",
                "nothing but a comment stands after a header",
                "write `[tenant.limits] # connections = 5`, or put it in the next line",
            ),
            ("// a tenant", "this is no comment in TOML", "a comment begins with `#`"),
        ] {
            let (_, told, fix) = one(&format!("version = 1\n[[tenant]]\n{line}\n{REST}"));
            assert_eq!((told.as_str(), fix.as_str()), (message, hint), "{line}");
        }
        for (header, fixed) in
            [("[[tenant]", "[[tenant]]"), ("[tenant.limits", "[tenant.limits]"), ("[[share", "[[share]]")]
        {
            let (at, message, hint) = one(&format!("version = 1\n{header}\n{REST}"));
            assert_eq!((at.as_str(), message.as_str()), (header, "the brackets of this header do not match"));
            assert_eq!(hint, format!("write `{fixed}`"));
        }
    }

    #[test]
    fn what_is_there_twice_or_too_early_is_told_as_that() {
        let (at, message, _) =
            one(&format!("version = 1\n[[tenant.user]]\nname = \"app\"\n[[tenant]]\nname = \"A\"\n{REST}"));
        assert_eq!(
            (at.as_str(), message.as_str()),
            ("[[tenant.user]]", "`[[tenant.user]]` stands before any `[[tenant]]`")
        );
        let limits = "[tenant.limits]\nconnections = 5\n";
        let (at, message, _) = one(&format!("version = 1\n[[tenant]]\nname = \"A\"\n{limits}{limits}{REST}"));
        assert_eq!((at.as_str(), message.as_str()), ("[tenant.limits]", "a second `[tenant.limits]` of one tenant"));
        let (at, message, _) = one(&format!("version = 1\n[[tenant]]\nname = \"A\"\nname = \"B\"\n{REST}"));
        assert_eq!((at.as_str(), message.as_str()), ("name", "`name` is set twice"));
        let (_, message, _) = one("version = 1\n[server]\nname = \"a\"\n[[tenant]]\nname = \"A\"\n[server]\n");
        assert_eq!(message, "a second `[server]`");
        let (_, message, _) =
            one(&format!("version = 1\n[[tenant]]\nname = \"A\"\nlimits.connections = 1\n{limits}{REST}"));
        assert_eq!(message, "`[tenant.limits]` is there already");
        let (at, _, hint) = one("version = 1\n[tenant]\nname = \"A\"\n[tenant]\nname = \"B\"\n");
        assert_eq!((at.as_str(), hint.as_str()), ("[tenant]", "write double brackets: `[[tenant]]`"));
    }

    #[test]
    fn another_language_is_named() {
        for (text, language) in [
            ("version: 1\ntenants:\n  - name: A\n", "YAML"),
            ("---\nversion: 1\n", "YAML"),
            ("# ours\n{ \"version\": 1 }\n", "JSON"),
        ] {
            assert_eq!(one(text).1, format!("this is {language}, and a registry is TOML"));
        }
        let (_, message, _) = one("version = 1\nname: A\n");
        assert_eq!(message, "`name` is followed by no `=`", "one line of it is a mistake in TOML");
    }

    #[test]
    fn mistakes_in_different_lines_are_told_each_and_one_line_once() {
        let found = said("version = 1\n[[tenant]]\nname = A\n[[tenant.user]]\nname = app\nauth: \"password\"\n");
        let marked: Vec<&str> = found.iter().map(|(at, ..)| at.as_str()).collect();
        assert_eq!(marked, ["A", "app", "auth: \"password\""]);
    }
}
