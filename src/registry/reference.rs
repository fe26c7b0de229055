//! The reference page of every key, generated from the declarations that also
//! read the keys, so that it cannot become outdated.

use std::fmt::Write as _;

use serde_json::Value as Json;

/// The text of docs/registry.md.
pub fn page() -> String {
    let mut page = String::from(
        "# tenants.toml\n\n\
         Made by `tenantry schema --markdown`; a test compares it. For an editor: `tenantry schema >\n\
         tenants.schema.json`. Every key that is not listed is an error, with a suggestion.\n\n\
         Sizes are `\"512MiB\"`, `\"2GiB\"`, `\"100B\"`; KB, MB and GB are decimal here (in nats-server.conf\n\
         `1GB` is 2^30). Durations are `\"30d\"`, `\"15m\"`, `\"500ms\"`. Names are 1 to 64 of `A-Z a-z 0-9 _ -`.\n",
    );
    table(&mut page, "", &super::schema());
    page
}

fn table(page: &mut String, path: &str, schema: &Json) {
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let heading = if path.is_empty() { "Top level".to_owned() } else { format!("`{path}`") };
    let _ =
        write!(page, "\n## {heading}\n\n{}\n\n| key | type | meaning |\n|---|---|---|\n", text(&schema["description"]));
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    let mut inner = Vec::new();
    for (key, value) in schema["properties"].as_object().into_iter().flatten() {
        let must = if required.contains(&key.as_str()) { " (required)" } else { "" };
        let _ =
            writeln!(page, "| `{key}`{must} | {} | {} |", kind(value), text(&value["description"]).replace('|', "\\|"));
        inner.extend(nested(path, key, value));
    }
    for (path, schema) in inner {
        table(page, &path, schema);
    }
}

/// The table that a key holds, with its TOML header. `None` if the key holds a plain value.
fn nested<'s>(path: &str, key: &str, value: &'s Json) -> Option<(String, &'s Json)> {
    let name = path.trim_matches(['[', ']']);
    let full = if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    if value["properties"].is_object() {
        return Some((format!("[{full}]"), value));
    }
    if value["items"]["properties"].is_object() {
        return Some((format!("[[{full}]]"), &value["items"]));
    }
    let named = &value["additionalProperties"];
    named["properties"].is_object().then(|| (format!("[{full}.NAME]"), named))
}

fn kind(value: &Json) -> String {
    if let Some(words) = value["enum"].as_array() {
        return words.iter().filter_map(Json::as_str).map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ");
    }
    match value["type"].as_str() {
        Some("array") if value["items"]["properties"].is_object() => "tables".into(),
        Some("array") => format!("list of {}", kind(&value["items"])),
        Some("integer") => match (value["minimum"].as_i64(), value["maximum"].as_i64()) {
            (Some(min), Some(max)) if min == max => format!("{min}"),
            (Some(min), Some(max)) if max < i64::from(i32::MAX) => format!("{min} to {max}"),
            _ => "whole number".into(),
        },
        Some("object") => "table".into(),
        Some(other) => other.into(),
        None => String::new(),
    }
}
