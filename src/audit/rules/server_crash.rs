//! Imports and measured services with which a client ends the server.

use super::Rule;
use crate::audit::system::System;
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::model::ShareKind;
use crate::subject::Subject;

pub const RULE: Rule = Rule {
    id: "server-crash",
    proves: "no message and no subscription of a tenant can crash the server",
    why: "nats-server 2.15.1 crashes in three situations: a subscription to one subject of a local name with more wildcards than the imported stream has; a message on a subject that is mapped to an empty subject; and a request that comes from no client to an imported service whose latency is measured, which any importer can cause by the reply subject of a request to the server, a trace of its own message, MQTT or a consumer",
    mend: "use each wildcard of the stream exactly once in the local name; map to a subject; remove `latency` and measure it outside the server",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    let stars = |subject: &Subject| subject.tokens().filter(|token| *token == "*").count();
    for account in &system.accounts {
        let streams = account.imports.iter().filter(|import| import.kind == ShareKind::Stream);
        for import in streams.filter(|i| i.subject.has_wildcard() && stars(&i.local) > stars(&i.subject)) {
            let message = format!(
                "whoever subscribes to a subject of `{}` in `{}` ends the server: `{}` has fewer wildcards",
                import.local, account.name, import.subject
            );
            out.push(RULE.error(import.span, message).hint("use each wildcard of the stream once: `to: \"in.$1\"`"));
        }
    }
    for account in &system.accounts {
        for (export, latency) in account.exports.iter().filter_map(|e| Some((e, e.latency.as_ref()?))) {
            let others = system.accounts.iter().filter(|other| other.name != account.name);
            let import = others.flat_map(|other| other.services().map(move |import| (other, import)));
            let mut import = import.filter(|(_, i)| i.from.0 == account.name && export.subject.contains(&i.subject));
            if let Some((importer, import)) = import.next() {
                let message = format!(
                    "users of `{}` can end the server by `{}` of `{}`, whose latency is measured",
                    importer.name, export.subject, account.name
                );
                out.push(
                    RULE.error(latency.span, message).related(import.span, "imported here").hint("remove `latency`"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::rules;

    #[test]
    fn what_ends_the_server_is_found() {
        for (subject, to, ends) in [
            ("ev.*", "to: \"in.$1.$1\"", true),
            ("ev.*", "prefix: \"p.$1\"", true),
            ("ev.*.>", "prefix: \"p.$1\"", true),
            ("ev.*", "to: \"in.$1\"", false),
            ("ev.*.*", "to: \"in.$2.$1\"", false),
            ("ev.>", "prefix: p", false),
            ("ev", "prefix: \"p.$1\"", false),
        ] {
            let text = format!(
                "accounts {{ A {{ exports: [{{ stream: \"{subject}\", accounts: [B] }}] }}
                 B {{ imports: [{{ stream: {{ account: A, subject: \"{subject}\" }}, {to} }}] }} }}"
            );
            assert_eq!(rules(&text).contains(&"server-crash"), ends, "{text}");
        }
        let measured = |latency: &str, importer: &str| {
            format!("accounts {{ A {{ exports: [{{ service: s.x, accounts: [B]{latency} }}] }}{importer} }}")
        };
        let importer = ", B { imports: [{ service: { account: A, subject: s.x } }] }";
        assert!(rules(&measured(", latency: { sampling: 50, subject: l }", importer)).contains(&"server-crash"));
        assert!(!rules(&measured("", importer)).contains(&"server-crash"), "the control");
        assert!(!rules(&measured(", latency: l", ", B {}")).contains(&"server-crash"), "nobody imports it");
        let mapped = |to: &str| format!("accounts {{ A {{ mappings {{ \"m\": \"{to}\" }} }} }}");
        assert!(rules(&mapped("")).contains(&"server-crash"));
        assert!(!rules(&mapped("x")).contains(&"server-crash"), "the control");
    }
}
