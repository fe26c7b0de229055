//! Imports with which a client's subscription ends the server.

use super::Rule;
use crate::audit::system::System;
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::model::ShareKind;
use crate::subject::Subject;

pub const RULE: Rule = Rule {
    id: "server-crash",
    proves: "no message and no subscription of a tenant ends the server for all",
    why: "where a stream is imported under a name with more wildcards than it has, a subscription to one subject of that name ends nats-server with a nil pointer; so does a message on a subject that is mapped to nothing",
    mend: "use each wildcard of the stream once in the local name; map to a subject",
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
            out.push(RULE.error(import.span, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::rules;

    #[test]
    fn a_local_name_has_no_more_wildcards_than_the_stream() {
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
        let mapped = |to: &str| format!("accounts {{ A {{ mappings {{ \"m\": \"{to}\" }} }} }}");
        assert!(rules(&mapped("")).contains(&"server-crash"));
        assert!(!rules(&mapped("x")).contains(&"server-crash"), "the control");
    }
}
