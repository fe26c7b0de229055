//! Diagnostics: what is wrong, where, and what to type instead.
//!
//! Every reader of a user's file reports through [`Diagnostic`], so that all
//! problems are shown in one run, as text for people or JSON for programs.

use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use serde::Serialize;

use crate::redact::redacted;

/// A byte range in one of the files of [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Index of the file, as returned by [`Sources::add`].
    pub file: u32,
    /// Byte offset of the first byte.
    pub start: u32,
    /// Byte offset one past the last byte.
    pub end: u32,
}

/// A value and its source location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Source location.
    pub span: Span,
}

impl<T> std::ops::Deref for Spanned<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// Severity of a diagnostic; errors sort first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Prevents rendering until it is fixed.
    Error,
    /// Does not prevent rendering.
    Warning,
}

/// One problem, with its location and a fix.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// Stable kebab-case identifier.
    pub rule: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// The mistake: a lowercase sentence fragment that names the offending item.
    pub message: String,
    /// Location of the offending text. `None`: the problem has no location.
    pub span: Option<Span>,
    /// Text shown under the offending text; may be empty.
    pub label: String,
    /// Other relevant locations, each with a label.
    pub related: Vec<(Span, String)>,
    /// How to fix it.
    pub hint: Option<String>,
    /// Whether the source line may contain a secret; then only its location is shown.
    pub confidential: bool,
}

impl Diagnostic {
    /// An error at `span`.
    pub fn error(rule: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self {
            rule,
            severity: Severity::Error,
            message: message.into(),
            span: Some(span),
            label: String::new(),
            related: Vec::new(),
            hint: None,
            confidential: false,
        }
    }

    /// A warning at `span`.
    pub fn warning(rule: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(rule, span, message) }
    }

    /// Sets the text shown under the offending text.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds another relevant location.
    #[must_use]
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    /// Shows the location but not the source line, which may contain a secret.
    #[must_use]
    pub fn confidential(mut self) -> Self {
        self.confidential = true;
        self
    }

    /// Sets the fix.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A diagnostic in the JSON output of `check` and `audit`. The field names are
/// a stable interface.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Identifier of the rule.
    pub rule: &'static str,
    /// `error` or `warning`.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// Path as the user wrote it. `None`: no location.
    pub file: Option<String>,
    /// 1-based line. `None`: no location.
    pub line: Option<usize>,
    /// 1-based column in characters. `None`: no location.
    pub column: Option<usize>,
    /// How to fix it.
    pub hint: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    path: PathBuf,
    text: String,
}

/// The texts of the files read, from which locations are shown.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Sources {
    files: Vec<Source>,
}

impl Sources {
    /// Whether no file has been added.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Adds a file and returns its index for [`Span::file`].
    pub fn add(&mut self, path: &Path, text: String) -> u32 {
        self.files.push(Source { path: path.to_owned(), text });
        u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX)
    }

    /// Overwrites a secret with asterisks, so that no snippet shows it. The length in bytes is
    /// kept, so that other spans stay valid.
    pub fn hide(&mut self, span: Span) {
        let Some(source) = self.files.get_mut(span.file as usize) else { return };
        let end = floor_boundary(&source.text, span.end as usize);
        let start = floor_boundary(&source.text, span.start as usize).min(end);
        source.text.replace_range(start..end, &"*".repeat(end - start));
    }

    /// The text of a file; empty for an unknown index.
    pub fn text(&self, file: u32) -> &str {
        self.files.get(file as usize).map_or("", |f| f.text.as_str())
    }

    /// The path of a file as the user wrote it; empty for an unknown index.
    pub fn path(&self, file: u32) -> &Path {
        self.files.get(file as usize).map_or(Path::new(""), |f| f.path.as_path())
    }

    /// Makes paths below `folder` relative to it.
    pub fn strip(&mut self, folder: &Path) {
        for source in &mut self.files {
            if let Ok(rest) = source.path.strip_prefix(folder) {
                source.path = rest.to_owned();
            }
        }
    }

    /// The paths of all files, the main one first.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|f| f.path.as_path())
    }

    /// 1-based line and column (in characters) of the start of `span`.
    pub fn position(&self, span: Span) -> (usize, usize) {
        let text = self.text(span.file);
        let before = &text[..floor_boundary(text, span.start as usize)];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// `file:line` of the start of `span`.
    pub fn place(&self, span: Span) -> String {
        format!("{}:{}", self.path(span.file).display(), self.position(span).0)
    }

    /// Converts a diagnostic for JSON output.
    pub fn finding(&self, diagnostic: &Diagnostic) -> Finding {
        let position = diagnostic.span.map(|span| self.position(span));
        Finding {
            rule: diagnostic.rule,
            severity: diagnostic.severity,
            message: redacted(&diagnostic.message).into_owned(),
            file: diagnostic.span.map(|span| self.path(span.file).display().to_string()),
            line: position.map(|p| p.0),
            column: position.map(|p| p.1),
            hint: diagnostic.hint.clone(),
        }
    }

    /// Renders a diagnostic as text: message, source line with the offending text underlined, hint.
    pub fn render(&self, diagnostic: &Diagnostic, styled: bool) -> String {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(printable(&diagnostic.message)).id(diagnostic.rule);
        let mut group = match diagnostic.span {
            Some(span) if diagnostic.confidential => title.element(self.origin(span)),
            _ => title.elements(self.snippets(diagnostic)),
        };
        if let Some(hint) = &diagnostic.hint {
            group = group.element(Level::HELP.message(printable(hint)));
        }
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        renderer.decor_style(DecorStyle::Ascii).render(&[group]).to_string()
    }

    /// The location without the source line.
    fn origin(&self, span: Span) -> Origin<'_> {
        let (line, column) = self.position(span);
        Origin::path(self.path(span.file).display().to_string()).line(line).char_column(column)
    }

    /// One snippet per file and neighbourhood. Contains only the lines around each
    /// location, because the renderer scans its whole input and a registry can
    /// be megabytes.
    fn snippets<'a>(&'a self, diagnostic: &'a Diagnostic) -> Vec<Snippet<'a, annotate_snippets::Annotation<'a>>> {
        let Some(primary) = diagnostic.span else { return Vec::new() };
        let mut places = vec![(primary, diagnostic.label.as_str(), true)];
        places.extend(diagnostic.related.iter().map(|(span, label)| (*span, label.as_str(), false)));
        let mut snippets: Vec<(u32, Range<usize>, Vec<_>)> = Vec::new();
        for place in places {
            let range = self.line_range(place.0);
            match snippets.iter_mut().find(|(file, lines, _)| {
                *file == place.0.file && lines.start <= range.end + 400 && range.start <= lines.end + 400
            }) {
                Some((_, lines, members)) => {
                    *lines = lines.start.min(range.start)..lines.end.max(range.end);
                    members.push(place);
                }
                None => snippets.push((place.0.file, range, vec![place])),
            }
        }
        snippets.into_iter().map(|(file, lines, members)| self.snippet(file, lines, &members)).collect()
    }

    fn snippet<'a>(
        &'a self,
        file: u32,
        lines: Range<usize>,
        members: &[(Span, &'a str, bool)],
    ) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let text = self.text(file);
        let first_line = text[..lines.start].matches('\n').count() + 1;
        let window = redacted(&text[lines.clone()]);
        let mut snippet =
            Snippet::source(window).path(self.path(file).display().to_string()).line_start(first_line).fold(true);
        for (span, label, is_primary) in members {
            let kind = if *is_primary { AnnotationKind::Primary } else { AnnotationKind::Context };
            let start = floor_boundary(text, span.start as usize).clamp(lines.start, lines.end);
            let end = floor_boundary(text, span.end as usize).clamp(start, lines.end);
            let mut annotation = kind.span(start - lines.start..end - lines.start);
            if !label.is_empty() {
                annotation = annotation.label(printable(label));
            }
            snippet = snippet.annotation(annotation);
        }
        snippet
    }

    fn line_range(&self, span: Span) -> Range<usize> {
        let text = self.text(span.file);
        let start = floor_boundary(text, span.start as usize);
        let end = floor_boundary(text, span.end as usize).max(start);
        let from = text[..start].rfind('\n').map_or(0, |i| i + 1);
        let to = text[end..].find('\n').map_or(text.len(), |i| end + i);
        from..to
    }
}

fn floor_boundary(text: &str, mut index: usize) -> usize {
    index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

/// Replaces control characters and secrets, so that text from a user's file is safe on a terminal.
fn printable(text: &str) -> String {
    redacted(text).chars().map(|c| if c.is_control() && c != '\n' { '\u{FFFD}' } else { c }).collect()
}

/// The candidate with the smallest edit distance to `word`, ignoring letter case. `None`: no
/// candidate is within a third of the longer word's length in bytes.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(lower.len()) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Lists the first names, and how many more there are.
pub fn first_few<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let names: Vec<S> = names.into_iter().collect();
    const SHOWN: usize = 5;
    let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
    let shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    format!("{}{more}", shown.join(", "))
}

/// Escapes untrusted text for a terminal: control characters, line breaks and bidirectional
/// marks cannot take effect.
pub fn plain(text: &str) -> String {
    let is_bad = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}'..='\u{2029}')
    };
    text.chars().map(|c| if is_bad(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(text: &str) -> Sources {
        let mut sources = Sources::default();
        sources.add(Path::new("a.conf"), text.to_owned());
        sources
    }

    /// The place of the first occurrence of `what`.
    fn place(sources: &Sources, what: &str) -> Span {
        let start = sources.text(0).find(what).expect(what);
        let offset = |n: usize| u32::try_from(n).expect("small");
        Span { file: 0, start: offset(start), end: offset(start + what.len()) }
    }

    #[test]
    fn a_position_counts_lines_and_characters_from_one() {
        let sources = sources("first\nzweité x\n\nlast");
        for (what, position) in [("first", (1, 1)), ("irst", (1, 2)), ("zwei", (2, 1)), ("x", (2, 8)), ("last", (4, 1))]
        {
            assert_eq!(sources.position(place(&sources, what)), position, "{what}");
        }
        let at = |start| sources.position(Span { file: 0, start, end: start });
        assert_eq!(at(12), (2, 6), "inside `é`, a position is that of the character");
        assert_eq!(at(1000), (4, 5), "behind the end, it is that of the end");
        assert_eq!(sources.position(Span { file: 9, start: 3, end: 4 }), (1, 1), "an unknown file is empty");
    }

    #[test]
    fn a_hidden_text_keeps_its_length_in_bytes_and_appears_nowhere() {
        let mut sources = sources("pass: gehéim\nnext: 1");
        let (secret, next) = (place(&sources, "gehéim"), place(&sources, "next"));
        let diagnostic = Diagnostic::error("rule", secret, "message").related(next, "here");
        assert!(sources.render(&diagnostic, false).contains("gehéim"));
        sources.hide(secret);
        assert_eq!(sources.text(0), "pass: *******\nnext: 1");
        assert_eq!(place(&sources, "next"), next);
        let shown = sources.render(&diagnostic, false);
        assert!(!shown.contains("geh") && shown.contains("next: 1"), "{shown}");
    }

    #[test]
    fn hiding_a_place_that_is_in_no_file_changes_nothing() {
        let mut sources = sources("pass: secret");
        sources.hide(Span { file: 7, start: 0, end: 4 });
        sources.hide(Span { file: 0, start: 90, end: 95 });
        sources.hide(Span { file: 0, start: 8, end: 2 });
        assert_eq!(sources.text(0), "pass: secret");
        sources.hide(Span { file: 0, start: 6, end: 95 });
        assert_eq!(sources.text(0), "pass: ******", "an end behind the text is the end of the text");
    }

    #[test]
    fn a_confidential_diagnostic_shows_its_place_without_its_line() {
        let sources = sources("a: 1\npass: secret");
        let diagnostic = Diagnostic::error("rule", place(&sources, "secret"), "message").hint("fix it");
        assert!(sources.render(&diagnostic, false).contains("secret"));
        let shown = sources.render(&diagnostic.confidential(), false);
        assert!(!shown.contains("secret"), "{shown}");
        for part in ["error[rule]: message", "a.conf:2:7", "help: fix it"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }

    #[test]
    fn control_characters_of_a_message_do_not_reach_the_terminal() {
        let sources = sources("a: 1");
        let diagnostic = Diagnostic::warning("rule", place(&sources, "a"), "red \u{1b}[31m\u{7}").hint("\u{1b}c");
        let shown = sources.render(&diagnostic, false);
        assert!(!shown.contains(['\u{1b}', '\u{7}']), "{shown:?}");
        assert!(shown.contains("warning[rule]: red \u{fffd}[31m\u{fffd}"), "{shown:?}");
    }

    #[test]
    fn a_finding_has_a_file_and_a_position_only_if_its_diagnostic_has_a_place() {
        let sources = sources("a: 1\n  b: 2");
        let placed = Diagnostic::warning("rule", place(&sources, "b"), "message").hint("fix it");
        let finding = sources.finding(&placed);
        assert_eq!((finding.file.as_deref(), finding.line, finding.column), (Some("a.conf"), Some(2), Some(3)));
        assert_eq!((finding.severity, finding.hint.as_deref()), (Severity::Warning, Some("fix it")));
        let finding = sources.finding(&Diagnostic { span: None, ..placed });
        assert_eq!((finding.file, finding.line, finding.column), (None, None, None));
    }

    #[test]
    fn lines_far_from_every_place_are_not_shown() {
        let filler = "filler: 0\n".repeat(200);
        let sources = sources(&format!("first: 1\n{filler}last: 2\n"));
        let diagnostic =
            Diagnostic::error("rule", place(&sources, "first"), "message").related(place(&sources, "last"), "and here");
        let shown = sources.render(&diagnostic, false);
        for part in ["first: 1", "last: 2", "and here", "202"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(!shown.contains("filler"), "{shown}");
    }

    #[test]
    fn the_nearest_candidate_is_within_a_third_of_the_longer_word() {
        const NAMES: [&str; 4] = ["subscribe", "publish", "allow", "a"];
        for (word, nearest_name) in [
            ("publish", Some("publish")),
            ("PUBLISH", Some("publish")),
            ("pubilsh", Some("publish")),
            ("pblish", Some("publish")),
            ("pbls", None),
            ("alow", Some("allow")),
            ("alloww", Some("allow")),
            ("aloww", None),
            ("subscriber", Some("subscribe")),
            ("b", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, NAMES), nearest_name, "{word:?}");
        }
    }

    #[test]
    fn errors_sort_before_warnings() {
        let mut severities = [Severity::Warning, Severity::Error, Severity::Warning];
        severities.sort();
        assert_eq!(severities, [Severity::Error, Severity::Warning, Severity::Warning]);
    }
}
