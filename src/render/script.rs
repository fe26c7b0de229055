//! `jetstream/apply.sh`: what `tenantry apply` creates and changes, for a machine that
//! has a shell and the nats command line and nothing else.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use crate::model::jetstream::difference::{CONSUMER, STREAM};
use crate::model::{Credential, Model, Tenant};

/// The script: its head, and a call for each tenant, stream and consumer.
pub fn apply(head: &str, model: &Model) -> String {
    let mut script = head.to_owned();
    for tenant in model.tenants.iter().filter(|t| !t.streams.is_empty()) {
        calls(&mut script, tenant);
    }
    script.push_str("\nfinish\n");
    script
}

fn calls(script: &mut String, tenant: &Tenant) {
    let Some(user) = tenant.provisioner() else { return };
    let variable = match &user.credential {
        Credential::PasswordFromEnv { variable, .. } => format!(" \"${{{variable}:-}}\""),
        _ => String::new(),
    };
    // Writing to a text cannot fail.
    let _ = writeln!(script, "\ntenant {} {}{variable}", tenant.name, user.name);
    for stream in &tenant.streams {
        let body = STREAM.request(&stream.config, None);
        let _ = writeln!(script, "stream {} {}", stream.name, quoted(&body));
        for consumer in &stream.consumers {
            let config = CONSUMER.request(&consumer.config, None);
            let body = json!({ "stream_name": stream.name.as_str(), "config": config });
            let _ = writeln!(script, "consumer {} {} {}", stream.name, consumer.name, quoted(&body));
        }
    }
}

/// JSON as one word for the shell. The nats command line takes a body for a template,
/// so no two braces stand open together; outside of texts JSON has none that do.
fn quoted(body: &Json) -> String {
    format!("'{}'", body.to_string().replace('\'', "\\u0027").replace("{{", "\\u007b\\u007b"))
}
