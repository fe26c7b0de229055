//! The template engine: embedded templates, which a folder can override, and an escape
//! function for each syntax that a value is inserted into. A variable that the context
//! does not have is an error.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use handlebars::Handlebars;
use serde::Serialize;

use crate::error::Error;

/// Name and text of every template. The name is the path below `templates/`, and mirrors
/// the path of the rendered file in the bundle.
pub const TEMPLATES: &[(&str, &str)] = &[
    ("RUNNING-NATS.md.hbs", include_str!("../../templates/RUNNING-NATS.md.hbs")),
    ("RUNNING-NATS.tenant.md.hbs", include_str!("../../templates/RUNNING-NATS.tenant.md.hbs")),
    ("credentials/user.context.json.hbs", include_str!("../../templates/credentials/user.context.json.hbs")),
    ("credentials/user.env.hbs", include_str!("../../templates/credentials/user.env.hbs")),
    ("docker-compose.yml.hbs", include_str!("../../templates/docker-compose.yml.hbs")),
    ("handout/tenant.md.hbs", include_str!("../../templates/handout/tenant.md.hbs")),
    ("jetstream/apply.sh.hbs", include_str!("../../templates/jetstream/apply.sh.hbs")),
    ("nats/accounts.conf.hbs", include_str!("../../templates/nats/accounts.conf.hbs")),
    ("nats/nats-server.conf.hbs", include_str!("../../templates/nats/nats-server.conf.hbs")),
];

/// The syntax that a value is inserted into, by which it is escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Syntax {
    /// nats-server configuration, in a double-quoted string.
    Conf,
    /// YAML with compose's `$` interpolation, in a double-quoted string.
    Compose,
    /// Markdown, in text or in a table cell.
    Markdown,
    /// JSON, in a string.
    Json,
    /// An environment file, read by shells and by compose.
    Env,
}

impl Syntax {
    fn from_name(template: &str) -> Self {
        let stem = template.trim_end_matches(".hbs");
        match stem.rsplit('.').next() {
            Some("conf") => Self::Conf,
            Some("yml") => Self::Compose,
            Some("json") => Self::Json,
            Some("env") => Self::Env,
            _ => Self::Markdown,
        }
    }

    fn escape(self) -> fn(&str) -> String {
        match self {
            Self::Conf => crate::conf::escape,
            Self::Compose => |text| json_escape(text).replace('$', "$$"),
            Self::Markdown => markdown_escape,
            Self::Json => json_escape,
            Self::Env => env_escape,
        }
    }
}

fn json_escape(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn markdown_escape(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace(['\n', '\r', '`'], " ")
}

fn env_escape(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.:/[]@%+,=".contains(c);
    if text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''").replace(['\n', '\r'], " "))
}

/// What `--templates` names to go back from templates of one's own to the built-in ones.
pub const BUILT_IN: &str = "built-in";

/// The templates in use, compiled.
#[derive(Debug)]
pub struct Engine {
    by_syntax: BTreeMap<Syntax, Handlebars<'static>>,
    digest: [u8; 32],
    replaced: Vec<&'static str>,
}

impl Engine {
    /// Compiles the embedded templates; those in the folder `overrides` replace them, unless it
    /// is [`BUILT_IN`].
    pub fn new(overrides: Option<&Path>) -> Result<Self, Error> {
        let mut sources: BTreeMap<&str, String> =
            TEMPLATES.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
        if let Some(folder) = overrides.filter(|folder| *folder != Path::new(BUILT_IN)) {
            for (name, text) in read_overrides(folder)? {
                sources.insert(name, text);
            }
        }
        let mut by_syntax: BTreeMap<Syntax, Handlebars<'static>> = BTreeMap::new();
        for (name, text) in &sources {
            let syntax = Syntax::from_name(name);
            let engine = by_syntax.entry(syntax).or_insert_with(|| {
                let mut engine = Handlebars::new();
                engine.set_strict_mode(true);
                engine.register_escape_fn(syntax.escape());
                engine
            });
            engine
                .register_template_string(name, text)
                .map_err(|e| Error::Template { name: (*name).to_owned(), message: e.to_string() })?;
        }
        let digest = super::digest_of(sources.iter().flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()]));
        let replaced = TEMPLATES.iter().filter(|(name, text)| sources[name] != *text).map(|(name, _)| *name).collect();
        Ok(Self { by_syntax, digest, replaced })
    }

    /// Names of the built-in templates that others replace.
    pub fn replaced(&self) -> &[&'static str] {
        &self.replaced
    }

    /// SHA-256 of the names and texts of all templates.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Renders the template of this name.
    pub fn render(&self, name: &'static str, context: &impl Serialize) -> Result<String, Error> {
        let engine = self.by_syntax.get(&Syntax::from_name(name));
        let engine = engine.ok_or_else(|| Error::Template { name: name.into(), message: "there is none".into() })?;
        engine.render(name, context).map_err(|e| Error::Template { name: name.to_owned(), message: e.to_string() })
    }
}

/// Reads the templates of a folder. Refuses a template with an unknown name, because it
/// would silently have no effect.
fn read_overrides(folder: &Path) -> Result<Vec<(&'static str, String)>, Error> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        for entry in fs::read_dir(&current).map_err(|e| Error::io("read", &current, e))? {
            let path = entry.map_err(|e| Error::io("read", &current, e))?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let relative = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            if !relative.ends_with(".hbs") {
                continue;
            }
            let known = TEMPLATES.iter().find(|(name, _)| *name == relative);
            let Some((name, _)) = known else {
                let names = TEMPLATES.iter().map(|(name, _)| *name);
                let near = crate::diag::nearest(&relative, names.clone()).map(|n| format!("did you mean {n}?"));
                return Err(Error::usage(
                    format!("{} is not a template of tenantry", path.display()),
                    near.unwrap_or_else(|| format!("templates: {}", names.collect::<Vec<_>>().join(", "))),
                ));
            };
            found.push((*name, fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?));
        }
    }
    if found.is_empty() {
        return Err(Error::usage(
            format!("{} holds no template", folder.display()),
            format!("write the built-in ones there: tenantry templates eject {}", folder.display()),
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_cannot_leave_their_place() {
        let hostile = "a\" }\n$HOME `x` | <b> 'q' \\ \u{7}";
        assert_eq!(crate::conf::escape(hostile), "a\\\" }\\n$HOME `x` | <b> 'q' \\\\ \\x07");
        assert_eq!((Syntax::Compose.escape())(hostile), "a\\\" }\\n$$HOME `x` | <b> 'q' \\\\ \\u0007");
        assert_eq!((Syntax::Env.escape())(hostile), "'a\" } $HOME `x` | <b> '\\''q'\\'' \\ \u{7}'");
        assert_eq!((Syntax::Markdown.escape())(hostile), "a\" } $HOME  x  \\| &lt;b> 'q' \\ \u{7}");
    }

    #[test]
    fn a_missing_variable_is_an_error() {
        let engine = Engine::new(None).expect("embedded templates");
        let error = engine.render("credentials/user.env.hbs", &json!({ "account": "A" })).expect_err("must fail");
        assert!(error.to_string().contains("user"), "{error}");
    }

    #[test]
    fn the_file_name_decides_the_syntax() {
        let cases = [
            ("nats/accounts.conf.hbs", Syntax::Conf),
            ("docker-compose.yml.hbs", Syntax::Compose),
            ("credentials/user.context.json.hbs", Syntax::Json),
            ("credentials/user.env.hbs", Syntax::Env),
            ("RUNNING-NATS.md.hbs", Syntax::Markdown),
        ];
        for (name, syntax) in cases {
            assert_eq!(Syntax::from_name(name), syntax, "{name}");
        }
    }

    #[test]
    fn an_escaped_value_stays_inside_its_string() {
        for text in ["plain", "", "\"", "\\", "a\nb", "\r", "\t", "é", "{{x}}", "$HOME"] {
            let json: String = serde_json::from_str(&format!("\"{}\"", json_escape(text))).expect("one JSON string");
            assert_eq!(json, text);
            assert!(!markdown_escape(text).contains(['\n', '\r', '`']));
            assert!(!env_escape(text).contains(['\n', '\r']), "{text:?}");
        }
        // Plain values need no quotes; a space, a quote or a dollar sign needs them.
        assert_eq!(env_escape("nats://127.0.0.1:4222"), "nats://127.0.0.1:4222");
        assert_eq!(
            (env_escape("a b"), env_escape("$x"), env_escape("é")),
            ("'a b'".into(), "'$x'".into(), "'é'".into())
        );
    }

    #[test]
    fn an_override_replaces_its_template_and_changes_the_digest() {
        let folder = tempfile::tempdir().expect("folder");
        fs::create_dir(folder.path().join("credentials")).expect("folder");
        fs::write(folder.path().join("credentials/user.env.hbs"), "USER={{user}}\n").expect("written");
        fs::write(folder.path().join("README"), "not a template").expect("written");
        let (own, built_in) = (Engine::new(Some(folder.path())).expect("valid"), Engine::new(None).expect("valid"));
        let text = own.render("credentials/user.env.hbs", &json!({ "user": "a b" })).expect("rendered");
        assert_eq!(text, "USER='a b'\n");
        assert_ne!(own.digest(), built_in.digest());
        assert_eq!(built_in.digest(), Engine::new(None).expect("valid").digest());
    }

    #[test]
    fn a_template_folder_with_a_wrong_name_a_wrong_text_or_no_template_is_refused() {
        let refused = |name: &str, text: &str| {
            let folder = tempfile::tempdir().expect("folder");
            fs::write(folder.path().join(name), text).expect("written");
            Engine::new(Some(folder.path())).expect_err("refused")
        };
        let misspelt = refused("RUNNING-NAT.md.hbs", "");
        assert!(misspelt.to_string().contains("is not a template of tenantry"), "{misspelt}");
        assert_eq!(misspelt.hint().as_deref(), Some("did you mean RUNNING-NATS.md.hbs?"));
        assert!(refused("far-away-from-all-of-them.hbs", "").hint().is_some_and(|h| h.starts_with("templates: ")));
        assert!(refused("notes.txt", "").to_string().contains("holds no template"));
        assert!(matches!(refused("RUNNING-NATS.md.hbs", "{{#if"), Error::Template { .. }));
        assert!(matches!(Engine::new(Some(Path::new("/nonexistent"))), Err(Error::Io { .. })));
    }
}
