//! Mappings that move requests past an export's importer check.

use std::collections::HashSet;

use super::Rule;
use crate::audit::reach;
use crate::audit::reach::term::Function;
use crate::audit::system::{Account, Export, Mapping, System, User};
use crate::audit::tenants::Tenants;
use crate::diag::{Diagnostic, Span};
use crate::model::ShareKind;
use crate::subject::Subject;

pub const RULE: Rule = Rule {
    id: "mapped-export",
    proves: "no mapping changes the importer's name in a subject",
    why: "The exporter's mappings are applied after `account_token_position` was checked; they can insert another importer's name, or lead to another exported subject",
    mend: "do not map a subject that one importer may request to a subject with another importer's name",
    check,
};

/// Whether all that a mapping makes has the importer's name: where it was, or, in what nobody may ask directly, before
/// everything else that the importer chooses.
fn keeps_name(mapping: &Mapping, export: &Export) -> bool {
    let place = usize::try_from(export.token_position - 1).unwrap_or(usize::MAX);
    let wildcards = mapping.from.tokens().take(place).filter(|token| *token == "*").count();
    let tail = mapping.from.tokens().position(|token| token == ">").filter(|tail| *tail <= place);
    let name = mapping.from.tokens().nth(place);
    let is_name = |token: &str| match (name, Function::of(token)) {
        (Some("*"), Ok(Function::Wildcard(number))) => number == wildcards + 1,
        (Some(name), Ok(Function::None)) => name != "*" && name != ">" && token == name,
        _ => false,
    };
    let is_literal = |token: &str| matches!(Function::of(token), Ok(Function::None)) && token != ">";
    let is_number = |token: &str| matches!(Function::of(token), Ok(Function::Number(_)));
    let is_kept = |(to, made): (&String, &Subject)| {
        let tokens: Vec<&str> = to.split('.').collect();
        if let Some(tail) = tail {
            // The rest of the subject, the name in it, follows what is written.
            let is_there = tokens.len() == tail + 1 || !made.overlaps(&export.subject);
            return is_there
                && tokens.split_last().is_some_and(|(last, rest)| *last == ">" && rest.iter().all(|t| is_literal(t)));
        }
        if tokens.get(place).copied().is_some_and(is_name) {
            return true;
        }
        let first = tokens.iter().find(|token| !is_literal(token) && !is_number(token));
        first.copied().is_some_and(is_name) && !made.overlaps(&export.subject)
    };
    mapping.to.iter().zip(reach::results(mapping).iter()).all(is_kept)
}

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in &system.accounts {
        diverted(account, tenants, out);
        for export in account.exports.iter().filter(|e| e.token_position > 0) {
            for mapping in
                account.written_mappings().filter(|m| m.from.overlaps(&export.subject) && !keeps_name(m, export))
            {
                let message = format!("`{}` is mapped, after the importer's name in it was checked", export.subject);
                out.push(RULE.error(mapping.span, message).related(export.span, "exported here"));
            }
        }
        for mapping in account.written_mappings() {
            let made = reach::results(mapping);
            let services = || account.exports.iter().filter(|e| e.kind == ShareKind::Service);
            let Some(way) = services().find(|e| e.subject.overlaps(&mapping.from)) else { continue };
            let is_others = |e: &&Export| {
                !e.is_same_offer(way) && made.iter().any(|m| m.overlaps(&e.subject)) && e.subject != way.subject
            };
            if let Some(meant) = services().find(is_others) {
                let message =
                    format!("who may ask `{}` is heard on `{}`, which is others'", way.subject, meant.subject);
                out.push(
                    RULE.error(mapping.span, message).related(way.span, "this way in").related(meant.span, "out here"),
                );
            }
        }
    }
}

/// Reports mappings that lead what is exported to users of a tenant of which nobody hears what is exported: of an account
/// that several tenants share.
fn diverted(account: &Account, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for mapping in account.written_mappings() {
        let services = account.exports.iter().filter(|e| e.kind == ShareKind::Service);
        let made = reach::results(mapping);
        for export in services.filter(|export| export.subject.overlaps(&mapping.from)) {
            let hears = |user: &&User, subject: &Subject| user.permissions.subscribe.touches(subject);
            let meant = account.users.iter().filter(|user| hears(user, &export.subject));
            let meant: HashSet<&str> = meant.map(|user| tenants.of(account, user)).collect();
            let is_other = |user: &&User| {
                let tenant = tenants.of(account, user);
                let asks = |(name, _): &(String, Span)| tenants.of_account(name) == tenant;
                !meant.contains(tenant) && !export.to.iter().flatten().all(asks)
            };
            let reached = made
                .iter()
                .find_map(|made| Some((made, account.users.iter().filter(|user| hears(user, made)).find(is_other)?)));
            if let Some((made, user)) = reached.filter(|_| !meant.is_empty()) {
                let name = user.display_name();
                let message =
                    format!("who asks `{}` is heard on `{made}` by `{name}`, of another tenant", export.subject);
                out.push(RULE.error(mapping.span, message).related(export.span, "exported here"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::rules;

    #[test]
    fn a_mapping_that_keeps_the_importers_name_is_none_past_the_check() {
        for (mapping, is_found) in [
            ("\"q.*.z\": \"q.$1.y\"", false),
            ("\"q.*.z\": \"q.{{wildcard(1)}}.{{partition(3)}}\"", false),
            ("\"q.B.z\": \"q.B.y\"", false),
            ("\"q.B.z\": \"q.C.y\"", true),
            ("\"q.*.*\": \"q.$2.$1\"", true),
            ("\"q.*.z\": \"q.{{left(1,2)}}.y\"", true),
            ("\"q.*.z\": \"r.$1.y\"", false),
            ("\"q.*.*\": \"r.$2.$1\"", true),
            ("\"q.*.*\": \"q.{{partition(3,2)}}.$1.$2\"", false),
            ("\"q.*.*\": \"q.$1.v2.$2\"", false),
            ("\"q.*.*\": \"q.v2.$1\"", true),
            ("\"q.>\": \"x.>\"", false),
            ("\"q.>\": \"x.y.>\"", false),
            ("\"q.>\": \"q.y.>\"", true),
            ("\"s.*\": \"q.$1.y\"", false),
        ] {
            let text = format!(
                "accounts {{ A {{ users: [{{ user: a }}], exports: [{{ service: \"q.*.*\", accounts: [B, C], account_token_position: 2 }}]
                 mappings {{ {mapping} }} }}, B {{ users: [{{ user: b }}] }}, C {{ users: [{{ user: c }}] }} }}"
            );
            assert_eq!(rules(&text).contains(&"mapped-export"), is_found, "{mapping}");
        }
    }

    /// Measured on nats-server 2.15.1: g receives what the other tenant asks on its own subject.
    #[test]
    fn a_mapping_into_another_tenants_part_of_an_account_is_found() {
        let found = |mapping: &str, to: &str| {
            let text = format!(
                "accounts {{ S {{ users: [{{ user: a, permissions {{ publish: \"a.>\", subscribe: \"a.>\" }} }}, {{ user: g, permissions {{ publish: \"g.>\", subscribe: \"g.>\" }} }}]
                 exports: [{{ service: \"a.q\", accounts: [{to}] }}], mappings {{ \"a.q\": \"{mapping}\" }} }}, A {{ users: [{{ user: x }}] }}, G {{ users: [{{ user: y }}] }} }}"
            );
            let tenants = "[[tenant]]\nname = \"A\"\naccounts = [\"A\"]\nusers = [\"S/a\"]\n[[tenant]]\nname = \"G\"\naccounts = [\"G\"]\nusers = [\"S/g\"]\n";
            let files = crate::conf::ConfFiles { main: text, accounts: String::new() };
            let folder = tempfile::tempdir().expect("folder");
            std::fs::write(folder.path().join("t"), tenants).expect("written");
            let tenants = crate::audit::tenants::Tenants::read(&folder.path().join("t")).expect("readable");
            let audit = crate::audit::audit_files(&files, Some(&tenants)).expect("valid");
            audit.findings.iter().any(|f| f.rule == "mapped-export")
        };
        assert!(found("g.q", "A"));
        assert!(!found("a.r", "A"), "it stays in its tenant's part");
        assert!(!found("none", "A"), "nobody hears it");
    }
}
