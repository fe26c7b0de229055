//! Imports that cover subjects reserved by the server or the account's own requests.

use super::shared_advisories::is_of_advisories;
use super::{Rule, mapped_reserved, reserved_export};
use crate::audit::system::{Account, Import, ListenerKind, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::subject::Subject;

pub const RULE: Rule = Rule {
    id: "reserved-import",
    proves: "imports do not cover the account's own requests and replies",
    why: "With a service import on `>`, an inbox or `$JS.API.>`, the account's own messages and requests go to the exporter; with a stream import on them, the exporter can forge replies",
    mend: "import it under a subject of its own",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in &system.accounts {
        // Mappings of the account's own replies or requests onto an imported service.
        for (mapping, made) in mapped_reserved(system, account) {
            let mut apart = account.services().filter(|i| tenants.are_apart(&i.from.0, &account.name));
            if let Some(import) = apart.find(|i| made.iter().any(|m| m.overlaps(&i.local))) {
                let message =
                    format!("`{}` of `{}` is mapped to a service of `{}`", mapping.from, account.name, import.from.0);
                out.push(RULE.error(mapping.span, message).related(import.span, "imported here"));
            }
        }
        out.extend(acknowledged_twice(system, tenants, account));
        for import in account.imports.iter().filter(|i| tenants.are_apart(&i.from.0, &account.name)) {
            let first = import.local.first_token();
            let is_open = matches!(first, "*" | ">");
            // Exports of `$SYS` by the system account are checked by reserved-export.
            let from_system = system.account(&import.from.0).is_some_and(|a| system.is_system(a)) && first == "$SYS";
            // Exempt: flow control of a stream copied from another account.
            let is_flow = import.local == import.subject
                && system.account(&import.from.0).is_some_and(|exporter| {
                    let mut exports = exporter.exports.iter().filter(|e| e.subject == import.subject);
                    exports.any(|export| reserved_export::copy_of(exporter, export).is_some())
                });
            let is_exempt = from_system || is_flow || is_of_advisories(&import.local);
            if is_exempt || !reserved_export::touches_reserved(system, account, &import.local) {
                continue;
            }
            let domain = domain_of(&import.local);
            if let Some((domain, _)) = domain {
                if system.server.is_own_domain(domain) {
                    let message = format!(
                        "nothing comes to `{}` of `{}`: JetStream of this server, whose domain is `{domain}`, answers itself",
                        import.local, import.from.0
                    );
                    out.push(
                        RULE.warning(import.span, message)
                            .hint("import it under another domain's name, such as the exporter's"),
                    );
                    continue;
                }
                if !has_other_domains(system) {
                    continue;
                }
            }
            // It covers the account's own stream, consumer or bucket of that name, if there is one.
            let local = domain.as_ref().map_or(&import.local, |(_, local)| local);
            let is_one_thing = ["$JS.API.", "$JS.ACK.", "$KV.", "$O."].iter().any(|p| local.as_str().starts_with(p))
                && reserved_export::names_one_thing(local);
            if is_one_thing && account.jetstream.is_none() {
                continue;
            }
            let whose = if is_open { "everything of" } else { "the server's own space in" };
            let message =
                format!("`{}` of `{}` is imported over {whose} `{}`", import.local, import.from.0, account.name);
            out.push(match is_one_thing {
                true => RULE
                    .warning(import.span, message)
                    .hint("have no stream or bucket of that name in the importer's account"),
                false => RULE.error(import.span, message),
            });
        }
    }
}

/// The domain that a request to JetStream names, and the request without it. `None`: it names none, or any.
fn domain_of(subject: &Subject) -> Option<(&str, Subject)> {
    let (domain, request) = subject.as_str().strip_prefix("$JS.")?.split_once(".API.")?;
    let is_one = !domain.is_empty() && !domain.contains(['.', '*', '>']);
    Some((domain, Subject::as_the_server_reads(&format!("$JS.API.{request}"))?)).filter(|_| is_one)
}

/// Whether the account's own requests may go to JetStream of another domain: by a leaf node.
fn has_other_domains(system: &System) -> bool {
    system.server.listener(ListenerKind::Leaf).is_some() || system.server.remotes().next().is_some()
}

/// The finding that an account acknowledges messages of two others at once: an acknowledgement goes to the reply subject of
/// the message, which names the stream and its consumer but, in its older form, no account.
fn acknowledged_twice(system: &System, tenants: &Tenants, account: &Account) -> Option<Diagnostic> {
    if system.server.acknowledgements_name_accounts {
        return None;
    }
    let names_no_account = |import: &&Import| {
        let mut tokens = import.local.tokens();
        [tokens.next(), tokens.next()] == [Some("$JS"), Some("ACK")] && tokens.next() != Some("_")
    };
    let acknowledging: Vec<&Import> = account.services().filter(names_no_account).collect();
    let pair = acknowledging.iter().enumerate().find_map(|(i, one)| {
        let others = acknowledging[i + 1..].iter();
        let mut both =
            others.filter(|other| other.local.overlaps(&one.local) && tenants.are_apart(&one.from.0, &other.from.0));
        both.next().map(|other| (one, other))
    });
    let (one, other) = pair?;
    let (first, second) = (&one.from.0, &other.from.0);
    let message = format!(
        "when `{}` acknowledges a message of `{first}` on `{}`, it acknowledges the one of `{second}` that has the same number",
        account.name, one.local
    );
    let hint = "other names for one of the streams or consumers; or feature_flags { js_ack_fc_v2: true } (nats-server 2.14), and shares of \
                `$JS.ACK._.*.STREAM.CONSUMER.>`";
    Some(RULE.error(other.span, message).related(one.span, "the other one").hint(hint))
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::findings;
    use crate::diag::Severity;

    /// Measured on nats-server 2.15.1: the exporter gets what is asked, and of its own domain nothing.
    #[test]
    fn clients_name_another_accounts_jetstream_by_a_domain() {
        let found = |server: &str, local: &str| {
            let text = format!(
                "jetstream {{ {server} }}\nserver_name: s\naccounts {{ P {{ jetstream: enabled, users: [{{ user: p }}], exports: [{{ service: \"$JS.API.CONSUMER.MSG.NEXT.S.c\", accounts: [A] }}] }}
                 A {{ jetstream: enabled, users: [{{ user: a }}], imports: [{{ service: {{ account: P, subject: \"$JS.API.CONSUMER.MSG.NEXT.S.c\" }}, to: \"{local}\" }}] }} }}"
            );
            let told = findings(&text).into_iter().find(|f| f.rule == "reserved-import");
            told.map(|f| (f.severity, f.message.starts_with("nothing comes")))
        };
        let (own, other) = ("$JS.hub.API.CONSUMER.MSG.NEXT.S.c", "$JS.P.API.CONSUMER.MSG.NEXT.S.c");
        assert_eq!(found("", other), None);
        assert_eq!(found("domain: hub", other), None);
        assert_eq!(found("domain: hub", own), Some((Severity::Warning, true)));
        let leaf = "domain: hub }\nleafnodes { port: 7422";
        assert_eq!(found(leaf, other), Some((Severity::Warning, false)), "a leaf node may have that domain");
        assert_eq!(found("", "$JS.API.CONSUMER.MSG.NEXT.S.c"), Some((Severity::Warning, false)));
    }

    /// Measured on nats-server 2.15.1: one acknowledgement took the message off both work queues, and of one only with
    /// the feature flag or other names.
    #[test]
    fn acknowledgements_of_two_exporters_on_one_subject_are_found() {
        let is_found = |flags: &str, [one, other]: [&str; 2]| {
            let account = |name: &str, ack: &str| {
                format!(
                    "{name} {{ jetstream: enabled, users: [{{ user: {name} }}], exports: [{{ service: \"{ack}\", accounts: [P] }}] }}\n"
                )
            };
            let import = |name: &str, ack: &str| format!("{{ service: {{ account: {name}, subject: \"{ack}\" }} }}");
            let text = format!(
                "{flags}\njetstream {{}}\naccounts {{ {}{}P {{ users: [{{ user: p }}], imports: [{}, {}] }} }}",
                account("A", one),
                account("B", other),
                import("A", one),
                import("B", other)
            );
            let is_it =
                |f: &crate::diag::Diagnostic| f.severity == Severity::Error && f.message.contains("the same number");
            findings(&text).iter().any(is_it)
        };
        let short = "$JS.ACK.JOBS.w.>";
        assert!(is_found("", [short, short]) && is_found("", [short, "$JS.ACK.*.w.>"]));
        assert!(!is_found("", [short, "$JS.ACK.JOBS.v.>"]) && !is_found("", [short, "$JS.ACK.OTHER.w.>"]));
        assert!(!is_found("feature_flags { js_ack_fc_v2: true }", [short, short]));
        assert!(!is_found("", ["$JS.ACK._.*.JOBS.w.>"; 2]), "they name their account");
    }
}
