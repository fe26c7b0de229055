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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_kind_reads_as_a_person_would_write_it() {
        let cases = [
            (json!({ "type": "string" }), "string"),
            (json!({ "type": "boolean" }), "boolean"),
            (json!({ "enum": ["file", "memory"] }), "`file`, `memory`"),
            (json!({ "type": "array", "items": { "type": "string" } }), "list of string"),
            (json!({ "type": "array", "items": { "type": "object", "properties": {} } }), "tables"),
            (json!({ "type": "integer", "minimum": 1, "maximum": 1 }), "1"),
            (json!({ "type": "integer", "minimum": 1, "maximum": 64 }), "1 to 64"),
            (json!({ "type": "integer", "minimum": 1, "maximum": 2_147_483_647 }), "whole number"),
            (json!({ "type": "object" }), "table"),
            (json!({}), ""),
        ];
        for (schema, text) in cases {
            assert_eq!(kind(&schema), text, "{schema}");
        }
    }

    #[test]
    fn a_nested_table_is_headed_as_it_is_written_in_toml() {
        let object = json!({ "properties": {} });
        let list = json!({ "items": { "properties": {} } });
        let named = json!({ "additionalProperties": { "properties": {} } });
        let header = |path: &str, key: &str, value: &Json| nested(path, key, value).map(|(header, _)| header);
        assert_eq!(header("", "server", &object).as_deref(), Some("[server]"));
        assert_eq!(header("[server]", "log", &object).as_deref(), Some("[server.log]"));
        assert_eq!(header("[[tenant]]", "user", &list).as_deref(), Some("[[tenant.user]]"));
        assert_eq!(header("", "role", &named).as_deref(), Some("[role.NAME]"));
        assert_eq!(header("", "version", &json!({ "type": "integer" })), None);
    }

    #[test]
    fn a_table_lists_each_key_with_its_type_and_escapes_the_description() {
        let mut page = String::new();
        let schema = json!({
            "description": "A sample.",
            "required": ["a"],
            "properties": {
                "a": { "type": "string", "description": "One | two." },
                "b": { "description": "Inner.", "type": "object", "properties": { "c": { "type": "boolean" } } },
            },
        });
        table(&mut page, "", &schema);
        assert!(page.contains("## Top level\n\nA sample.\n"), "{page}");
        assert!(page.contains("| `a` (required) | string | One \\| two. |\n"), "{page}");
        assert!(page.contains("| `b` | table | Inner. |\n"), "{page}");
        assert!(page.contains("## `[b]`\n\nInner.\n"), "{page}");
        assert!(page.find("| `b`") < page.find("| `c` |"), "{page}");
    }

    #[test]
    fn the_page_has_every_table_of_the_registry_once() {
        let page = page();
        for header in
            ["Top level", "`[server]`", "`[role.NAME]`", "`[[tenant]]`", "`[[tenant.stream.consumer]]`", "`[[share]]`"]
        {
            assert_eq!(page.matches(&format!("\n## {header}\n")).count(), 1, "{header}");
        }
    }
}
