//! Helpers of unit tests: registries and single values from short texts.

use std::path::Path;

use toml::de::DeTable;

use super::decode::{Decode, Decoder};
use super::{Loaded, load};
use crate::diag::{Diagnostic, Sources};
use crate::model::{Model, Tenant, User};

/// A registry of the tenants `OTHER` and `T`. Text that is added to its end is inside `T`.
pub const TWO_TENANTS: &str = r#"version = 1
[server.jetstream]
memory = "64MiB"
storage = "1GiB"
[keys]
root = "development"
[[tenant]]
name = "OTHER"
[tenant.jetstream]
storage = "256MiB"
[[tenant.user]]
name = "other"
[[tenant.stream]]
name = "THEIRS"
subjects = ["OTHER.s.>"]
[[tenant]]
name = "T"
[tenant.jetstream]
storage = "512MiB"
[[tenant.user]]
name = "app"
"#;

/// Loads a registry from its text.
pub fn load_text(text: &str) -> Loaded {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tenants.toml");
    std::fs::write(&path, text).expect("write");
    load(&path).expect("readable")
}

/// The codes of every error and warning of a registry.
pub fn codes_of(text: &str) -> Vec<&'static str> {
    load_text(text).diagnostics.iter().map(|d| d.rule).collect()
}

/// The codes of every error and warning of [`TWO_TENANTS`] with `added` inside `T`.
pub fn codes_with(added: &str) -> Vec<&'static str> {
    codes_of(&format!("{TWO_TENANTS}{added}"))
}

/// The model of a valid registry.
pub fn model_of(text: &str) -> Model {
    let loaded = load_text(text);
    let problems: Vec<&str> = loaded.diagnostics.iter().map(|d| d.message.as_str()).collect();
    loaded.model.unwrap_or_else(|| panic!("{problems:?}"))
}

/// The model of [`TWO_TENANTS`] with `added` inside `T`.
pub fn model_with(added: &str) -> Model {
    model_of(&format!("{TWO_TENANTS}{added}"))
}

/// The tenant of this name.
pub fn tenant<'m>(model: &'m Model, name: &str) -> &'m Tenant {
    model.tenants.iter().find(|t| t.name.as_str() == name).expect("the tenant")
}

/// The user of this name.
pub fn user<'m>(tenant: &'m Tenant, name: &str) -> &'m User {
    tenant.users.iter().find(|u| u.name.as_str() == name).expect("the user")
}

/// Decodes a TOML file.
pub fn decode_file<T: Decode>(text: &str) -> (Option<T>, Vec<Diagnostic>) {
    let (mut sources, mut diagnostics) = (Sources::default(), Vec::new());
    let value = super::parse(&mut sources, Path::new("file.toml"), text.to_owned(), &mut diagnostics);
    (value, diagnostics)
}

/// Decodes one TOML value, such as `"1GiB"` with its quotes.
pub fn decode_value<T: Decode>(value: &str) -> (Option<T>, Vec<Diagnostic>) {
    let text = format!("value = {value}");
    let table = DeTable::parse(&text).expect("TOML");
    let mut diagnostics = Vec::new();
    let mut decoder = Decoder { file: 0, diagnostics: &mut diagnostics };
    let decoded = T::decode(table.get_ref().get("value").expect("the value"), &mut decoder);
    (decoded, diagnostics)
}

/// The only diagnostic of a TOML value that cannot be decoded.
pub fn refusal_of<T: Decode>(value: &str) -> Diagnostic {
    let (decoded, mut diagnostics) = decode_value::<T>(value);
    assert!(decoded.is_none(), "{value} was accepted");
    assert_eq!(diagnostics.len(), 1, "{value}: {diagnostics:?}");
    diagnostics.remove(0)
}
