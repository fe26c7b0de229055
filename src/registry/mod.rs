//! The registry: decoded with source locations, validated as a whole, and lowered to
//! the [`crate::model`]. One run reports every problem of every file.

pub(crate) mod codes;
pub(crate) mod decode;
mod defaults;
pub(crate) mod edit;
mod lower;
#[allow(rustdoc::all, reason = "doc comments of keys are docs/registry.md")]
pub(crate) mod raw;
pub(crate) mod reference;
mod syntax;
/// Refuses what is not a URL by which clients reach a server.
pub fn check_url(text: &str) -> Result<(), Error> {
    let parsed = <raw::ClientUrl as decode::Scalar>::parse(text);
    parsed.map(drop).map_err(|why| Error::usage(format!("`{text}`: {why}"), <raw::ClientUrl as decode::Scalar>::HINT))
}

#[cfg(test)]
pub(crate) mod testing;
mod validate;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use toml::de::DeTable;

use crate::diag::{Diagnostic, Severity, Sources, Span};
use crate::error::Error;
use crate::model::Model;
pub use codes::ALL as RULES;
use decode::{Decode, Decoder};
use syntax::Mistake;
pub use validate::conflict_codes;

/// Maximum size of a registry file, in bytes. Ten thousand tenants take about six megabytes.
const MAX_FILE: u64 = 256 << 20;

/// A registry that was read, valid or not, with its diagnostics.
#[derive(Debug)]
pub struct Loaded {
    /// The files that were read, to render diagnostics.
    pub sources: Sources,
    /// Errors, then warnings, each in source order.
    pub diagnostics: Vec<Diagnostic>,
    /// The model. `None` if there is an error.
    pub model: Option<Model>,
    /// The registry file.
    pub path: PathBuf,
}

impl Loaded {
    /// The model and the warnings, or an error with every diagnostic.
    pub fn into_valid(self) -> Result<Valid, Error> {
        match self.model {
            Some(model) => Ok(Valid { model, path: self.path, sources: self.sources, warnings: self.diagnostics }),
            None => Err(Error::Registry { sources: self.sources, diagnostics: self.diagnostics }),
        }
    }
}

/// A registry without errors.
#[derive(Debug)]
pub struct Valid {
    /// The model.
    pub model: Model,
    /// The registry file.
    pub path: PathBuf,
    /// The files that were read, to render diagnostics.
    pub sources: Sources,
    /// Warnings, in source order.
    pub warnings: Vec<Diagnostic>,
}

impl Valid {
    /// The registry file's folder, to which paths in the registry are relative.
    pub fn folder(&self) -> &Path {
        folder_of(&self.path)
    }
}

/// The parent folder of a file; `.` if the path is a bare file name.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Texts that take the place of files, by their real paths: what an edit is about to write.
pub type Overlay = BTreeMap<PathBuf, String>;

/// Reads the registry and the files it includes.
pub fn load(path: &Path) -> Result<Loaded, Error> {
    load_with(path, &Overlay::new())
}

/// The same with other texts in place of files.
pub fn load_with(path: &Path, overlay: &Overlay) -> Result<Loaded, Error> {
    let mut sources = Sources::default();
    let mut diagnostics = Vec::new();
    let text = read_text(path, overlay)?;
    let main: Option<raw::Registry> = parse(&mut sources, path, text, &mut diagnostics);
    let mut model = None;
    if let Some(mut registry) = main {
        let whole = merge_includes(&mut registry, path, overlay, &mut sources, &mut diagnostics);
        validate::validate(&registry, whole, &mut diagnostics);
        if whole && !has_errors(&diagnostics) {
            model = Some(lower::lower(&registry, &mut diagnostics)).filter(|_| !has_errors(&diagnostics));
        }
    }
    drop_consequences(&mut diagnostics);
    diagnostics.sort_by_key(|d| (d.severity, d.span));
    Ok(Loaded { sources, diagnostics, model, path: path.to_owned() })
}

/// Drops what only follows from another mistake.
fn drop_consequences(diagnostics: &mut Vec<Diagnostic>) {
    let is = |rule: &'static str| move |d: &Diagnostic| d.rule == rule;
    // A `[[user]]` without its tenant leaves a tenant without users.
    let lost_user = |d: &Diagnostic| d.rule == codes::UNKNOWN_KEY && d.message.ends_with(" has no key `user`");
    if diagnostics.iter().any(lost_user) {
        diagnostics.retain(|d| d.rule != codes::NO_USERS);
    }
    // An `include` that matches nothing leaves a registry without tenants.
    if diagnostics.iter().any(is(codes::EMPTY_INCLUDE)) && diagnostics.iter().any(is(codes::NO_TENANTS)) {
        diagnostics.retain(|d| d.rule != codes::NO_TENANTS);
        diagnostics.iter_mut().filter(|d| d.rule == codes::EMPTY_INCLUDE).for_each(|d| d.severity = Severity::Error);
    }
}

fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|d| d.severity == Severity::Error)
}

/// The path without symbolic links; of a file that does not exist yet, with those of its folder resolved.
fn real(path: &Path) -> PathBuf {
    let in_folder = || Some(folder_of(path).canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(in_folder).unwrap_or_else(|| path.to_owned())
}

fn read_text(path: &Path, overlay: &Overlay) -> Result<String, Error> {
    if let Some(text) = overlay.get(&real(path)) {
        return Ok(text.clone());
    }
    let fail = |source: io::Error| {
        if source.kind() == io::ErrorKind::NotFound {
            Error::NoRegistry { path: path.to_owned() }
        } else {
            Error::io("read", path, source)
        }
    };
    let metadata = fs::metadata(path).map_err(fail)?;
    if metadata.is_dir() {
        let inside = path.join("tenants.toml");
        let hint = match inside.is_file() {
            true => format!("did you mean {}?", inside.display()),
            false => "name the file: `-f FOLDER/tenants.toml`; or `tenantry init FOLDER` makes one".to_owned(),
        };
        return Err(Error::usage(format!("{} is a folder, and a registry is a file", path.display()), hint));
    }
    if metadata.len() > MAX_FILE {
        return Err(Error::TooLarge { path: path.to_owned(), limit: MAX_FILE });
    }
    let bytes = fs::read(path).map_err(fail)?;
    String::from_utf8(bytes).map_err(|e| {
        let before = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        Error::NotText { path: path.to_owned(), line }
    })
}

/// Parses one file. Invalid TOML yields syntax errors only: errors that follow from
/// them would mislead.
fn parse<T: Decode>(sources: &mut Sources, path: &Path, text: String, diagnostics: &mut Vec<Diagnostic>) -> Option<T> {
    let file = sources.add(path, text);
    let (document, errors) = DeTable::parse_recoverable(sources.text(file));
    let mut decoder = Decoder { file, diagnostics };
    if errors.is_empty() {
        let range = document.span();
        let node = toml::Spanned::new(range.start..range.start, toml::de::DeValue::Table(document.into_inner()));
        return T::decode(&node, &mut decoder);
    }
    let place = |error: &toml::de::Error| (error.span().unwrap_or(0..0), error.message().trim().replace('\n', ", "));
    let errors: Vec<_> = errors.iter().map(place).collect();
    for Mistake { at, message, hint, first } in syntax::explain(sources.text(file), &errors) {
        let finding = Diagnostic::error(codes::TOML_SYNTAX, decoder.span(at), message).hint(hint);
        let finding = match first {
            Some(first) => finding.related(decoder.span(first), "the first one"),
            None => finding,
        };
        decoder.diagnostics.push(finding);
    }
    None
}

/// Reads the included files into `registry`. Returns `false` if one could not be read;
/// references to its tenants are then not reported as unknown.
fn merge_includes(
    registry: &mut raw::Registry,
    path: &Path,
    overlay: &Overlay,
    sources: &mut Sources,
    diagnostics: &mut Vec<Diagnostic>,
) -> bool {
    let mut whole = true;
    let mut seen = BTreeSet::from([path.canonicalize().unwrap_or_else(|_| path.to_owned())]);
    for pattern in &registry.include {
        let files = match matching(folder_of(path), &pattern.value, overlay) {
            Ok(files) => files,
            Err(why) => {
                diagnostics.push(
                    Diagnostic::error(
                        codes::INVALID_INCLUDE,
                        pattern.span,
                        format!("cannot include `{}`", pattern.value),
                    )
                    .label(why)
                    .hint("name files relative to this one, with * and ? : \"tenants.d/*.toml\""),
                );
                whole = false;
                continue;
            }
        };
        if files.is_empty() {
            diagnostics.push(
                Diagnostic::warning(codes::EMPTY_INCLUDE, pattern.span, format!("no file matches `{}`", pattern.value))
                    .hint("the pattern is relative to this file; `tenantry tenant add NAME --file FILE` makes one"),
            );
        }
        for file in files {
            if !seen.insert(file.canonicalize().unwrap_or_else(|_| file.clone())) {
                continue;
            }
            let included = read_text(&file, overlay)
                .map_err(|e| {
                    diagnostics.push(Diagnostic::error(codes::INVALID_INCLUDE, pattern.span, e.to_string()));
                })
                .ok()
                .and_then(|text| parse::<raw::Included>(sources, &file, text, diagnostics));
            match included {
                Some(included) => {
                    registry.tenant.append(included.tenant);
                }
                None => whole = false,
            }
        }
    }
    whole
}

/// A `*` matches neither a `/` nor the dot of a hidden file, such as an editor's.
fn like_a_shell() -> glob::MatchOptions {
    glob::MatchOptions {
        require_literal_separator: true,
        require_literal_leading_dot: true,
        ..glob::MatchOptions::default()
    }
}

/// The files that match a pattern, sorted.
fn matching(folder: &Path, pattern: &str, overlay: &Overlay) -> Result<Vec<PathBuf>, String> {
    if pattern.is_empty() {
        return Err("the pattern is empty".into());
    }
    let anchored = PathBuf::from(glob::Pattern::escape(&folder.display().to_string())).join(pattern);
    let found = glob::glob_with(&anchored.display().to_string(), like_a_shell()).map_err(|e| e.msg.to_owned())?;
    let mut files: Vec<PathBuf> = found
        .collect::<Result<_, _>>()
        .map_err(|e| format!("cannot look into {}: {}", e.path().display(), e.error()))?;
    files.sort();
    for file in &files {
        let kind = fs::symlink_metadata(file).map_err(|e| format!("cannot read {}: {e}", file.display()))?.file_type();
        // A link leads to what its writer may not read; a device or a pipe has no end.
        if kind.is_symlink() {
            return Err(format!("{} is a symbolic link: put the file itself there", file.display()));
        }
        if !kind.is_file() && !kind.is_dir() {
            return Err(format!("{} is no regular file", file.display()));
        }
    }
    files.retain(|f| f.is_file());
    // Those that are about to be created.
    let by_real_path = glob::Pattern::new(
        &PathBuf::from(glob::Pattern::escape(&real(folder).display().to_string())).join(pattern).display().to_string(),
    );
    let new = overlay.keys().filter(|path| !path.exists());
    let is_matched = |path: &&PathBuf| by_real_path.as_ref().is_ok_and(|p| p.matches_path_with(path, like_a_shell()));
    files.extend(new.filter(is_matched).cloned());
    files.sort();
    if files.is_empty() && !pattern.contains(['*', '?', '[']) {
        return Err("there is no such file".into());
    }
    Ok(files)
}

/// The JSON Schema of a registry file.
pub fn schema() -> Json {
    let mut schema = raw::Registry::schema();
    if let Some(object) = schema.as_object_mut() {
        object.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        object.insert("title".into(), "tenants.toml".into());
    }
    schema
}

/// The JSON Schema of an included file.
pub fn included_schema() -> Json {
    let mut schema = raw::Included::schema();
    if let Some(object) = schema.as_object_mut() {
        object.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        object.insert("title".into(), json!("a file that tenants.toml includes"));
    }
    schema
}

/// The start of the main file: location of diagnostics that concern the whole registry.
pub(crate) const START: Span = Span { file: 0, start: 0, end: 0 };
