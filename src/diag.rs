//! Diagnostics: what is wrong, where, and what to type instead.
//!
//! Everything that reads a user's file reports through [`Diagnostic`], so that
//! all problems are shown at once, in one form for people and one for
//! programs. Nothing here decides what is wrong.

use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use serde::Serialize;

/// A place in one of the files of [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Which file, in the order they were added.
    pub file: u32,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// A value and where it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

impl<T> std::ops::Deref for Spanned<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is rendered until it is mended.
    Error,
    /// Rendered all the same; somebody should know.
    Warning,
}

/// One thing wrong (or worth knowing), with its place and its remedy.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// Stable kebab-case identifier.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, as a lowercase fragment that names the thing.
    pub message: String,
    /// The offending text.
    pub span: Option<Span>,
    /// What to say under the offending text.
    pub label: String,
    /// Other places that matter, each with its own remark.
    pub related: Vec<(Span, String)>,
    /// What to type.
    pub hint: Option<String>,
    /// Whether the source may hold a secret, so that only its place is shown.
    pub confidential: bool,
}

impl Diagnostic {
    /// An error at a place.
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

    /// A warning at a place.
    pub fn warning(rule: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(rule, span, message) }
    }

    /// Says something under the offending text.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Points at another place.
    #[must_use]
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    /// Shows the place but not the text: it may hold a secret.
    #[must_use]
    pub fn confidential(mut self) -> Self {
        self.confidential = true;
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// One diagnostic as other programs read it: the shape that `check` and
/// `audit` promise.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The rule's identifier.
    pub rule: &'static str,
    /// `error` or `warning`.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// File, as the user named it.
    pub file: Option<String>,
    /// 1-based line.
    pub line: Option<usize>,
    /// 1-based column, in characters.
    pub column: Option<usize>,
    /// What to do about it.
    pub hint: Option<String>,
}

#[derive(Debug, Clone)]
struct Source {
    path: PathBuf,
    text: String,
}

/// The files that were read, so that spans can be shown.
#[derive(Debug, Default, Clone)]
pub struct Sources {
    files: Vec<Source>,
}

impl Sources {
    /// Whether no file was read.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Adds a file; the returned number goes into every [`Span`] of it.
    pub fn add(&mut self, path: &Path, text: String) -> u32 {
        self.files.push(Source { path: path.to_owned(), text });
        u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX)
    }

    /// Hides a text that may be a secret, so that no snippet shows it. Places stay where they are.
    pub fn hide(&mut self, span: Span) {
        let Some(source) = self.files.get_mut(span.file as usize) else { return };
        let end = floor_boundary(&source.text, span.end as usize);
        let start = floor_boundary(&source.text, span.start as usize).min(end);
        source.text.replace_range(start..end, &"*".repeat(end - start));
    }

    /// The text of a file.
    pub fn text(&self, file: u32) -> &str {
        self.files.get(file as usize).map_or("", |f| f.text.as_str())
    }

    /// The path of a file, as the user named it.
    pub fn path(&self, file: u32) -> &Path {
        self.files.get(file as usize).map_or(Path::new(""), |f| f.path.as_path())
    }

    /// The paths of all files, the main one first.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|f| f.path.as_path())
    }

    /// 1-based line and column (in characters) of a place.
    pub fn position(&self, span: Span) -> (usize, usize) {
        let text = self.text(span.file);
        let before = &text[..floor_boundary(text, span.start as usize)];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The form for programs.
    pub fn finding(&self, diagnostic: &Diagnostic) -> Finding {
        let position = diagnostic.span.map(|span| self.position(span));
        Finding {
            rule: diagnostic.rule,
            severity: diagnostic.severity,
            message: diagnostic.message.clone(),
            file: diagnostic.span.map(|span| self.path(span.file).display().to_string()),
            line: position.map(|p| p.0),
            column: position.map(|p| p.1),
            hint: diagnostic.hint.clone(),
        }
    }

    /// The form for people: message, source line with the text underlined, hint.
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

    /// The place alone.
    fn origin(&self, span: Span) -> Origin<'_> {
        let (line, column) = self.position(span);
        Origin::path(self.path(span.file).display().to_string()).line(line).char_column(column)
    }

    /// One snippet per file and neighbourhood: only the lines around each
    /// place are handed over, because the renderer scans what it is given and
    /// a registry can be megabytes.
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
        let window = &text[lines.clone()];
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

/// Text from a user's file, safe to print on a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{FFFD}' } else { c }).collect()
}

/// The candidate nearest to `word`, if it is near enough to have been meant.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(lower.len()) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}
