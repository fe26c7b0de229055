//! `jetstream/apply.sh`: creates and updates the declared streams like `tenantry apply`,
//! on a machine that has only a shell and the `nats` command line.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use crate::model::jetstream::difference::{CONSUMER, STREAM};
use crate::model::{Credential, Model, Tenant};

/// The script: `head`, which defines its functions, and a call for each tenant, stream
/// and consumer.
pub fn apply(head: &str, model: &Model) -> String {
    let mut script = head.to_owned();
    for tenant in model.tenants.iter().filter(|t| !t.streams.is_empty()) {
        push_calls(&mut script, tenant);
    }
    script.push_str("\nfinish\n");
    script
}

fn push_calls(script: &mut String, tenant: &Tenant) {
    let Some(user) = tenant.provisioner() else { return };
    let variable = match &user.credential {
        Credential::PasswordFromEnv { variable, .. } => format!(" \"${{{variable}:-}}\""),
        _ => String::new(),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(script, "\ntenant {} {}{variable}", tenant.name, user.name);
    for stream in &tenant.streams {
        let body = STREAM.request(&stream.config, None);
        let _ = writeln!(script, "stream {} {}", stream.name, quoted(&body));
        if stream.consumers.is_empty() {
            continue;
        }
        let _ = write!(script, "consumers {} {}", stream.name, body["retention"].as_str().unwrap_or_default());
        for consumer in &stream.consumers {
            let config = CONSUMER.request(&consumer.config, None);
            let body = json!({ "stream_name": stream.name.as_str(), "config": config });
            let _ = write!(script, " \\\n  {} {}", consumer.name, quoted(&body));
        }
        script.push('\n');
    }
}

/// JSON as one single-quoted shell word. The `nats` command line treats a body as a
/// template, so `{{` is escaped; in JSON it can only occur inside a string.
fn quoted(body: &Json) -> String {
    format!("'{}'", body.to_string().replace('\'', "\\u0027").replace("{{", "\\u007b\\u007b"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::tests::model;

    #[test]
    fn a_body_is_one_shell_word_and_no_template() {
        let body = json!({ "description": "it's {{now}}", "a": { "b": {} } });
        let word = quoted(&body);
        let inner = word.strip_prefix('\'').and_then(|w| w.strip_suffix('\'')).expect("in single quotes");
        assert!(!inner.contains('\'') && !inner.contains("{{"), "{word}");
        assert_eq!(serde_json::from_str::<Json>(inner).expect("JSON"), body);
    }

    #[test]
    fn the_script_has_a_call_for_each_stream_and_consumer_of_tenants_with_streams() {
        let model = model(
            "[[tenant]]\nname = \"A\"\n[tenant.jetstream]\nstorage = \"1MiB\"\n[[tenant.user]]\nname = \"app\"\n\
             [[tenant.stream]]\nname = \"S\"\nsubjects = [\"A.s\"]\n[[tenant.stream.consumer]]\nname = \"c\"\n\
             [[tenant.bucket]]\nname = \"b\"\n[[tenant]]\nname = \"B\"\n[[tenant.user]]\nname = \"app\"\n",
        );
        let script = apply("#!/bin/sh\n", &model);
        let starts: Vec<&str> = script.lines().filter_map(|l| l.split(" '").next()).filter(|l| !l.is_empty()).collect();
        let provisioner = model.tenants[0].provisioner().expect("one").name.as_str();
        let tenant = format!("tenant A {provisioner}");
        let consumers = ["consumers S limits \\", "  c"];
        assert_eq!(
            starts,
            ["#!/bin/sh", tenant.as_str(), "stream S", consumers[0], consumers[1], "stream KV_b", "finish"]
        );
    }
}
