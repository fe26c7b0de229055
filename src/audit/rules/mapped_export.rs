//! Mappings that move requests past an export's importer check.

use std::collections::HashSet;

use super::Rule;
use super::wildcard_service::names;
use crate::audit::reach;
use crate::audit::reach::term::Function;
use crate::audit::system::{Account, Export, Import, Mapping, System, User};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::model::ShareKind;
use crate::subject::Subject;

pub const RULE: Rule = Rule {
    id: "mapped-export",
    proves: "no mapping changes the importer's name in a subject",
    why: "The exporter's mappings are applied after `account_token_position` was checked; they can insert another importer's name, or lead to another exported subject",
    mend: "do not map a subject that one importer may request to a subject with another importer's name",
    check,
};

/// Whether all that a mapping makes keeps the importer's name: where it was, or before everything else that the importer
/// chooses; or what it chooses is not in it at all. `others`: what other accounts import, which it must not become.
fn keeps_name(mapping: &Mapping, export: &Export, others: &[&Subject]) -> bool {
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
        let is_free = !others.iter().any(|other| other.overlaps(made));
        // The rest of the subject, the name in it, follows what is written.
        if let Some(tail) = tail {
            let is_whole =
                tokens.split_last().is_some_and(|(last, rest)| *last == ">" && rest.iter().all(|t| is_literal(t)));
            return is_whole && (tokens.len() == tail + 1 || is_free);
        }
        if tokens.get(place).copied().is_some_and(is_name) {
            return true;
        }
        // A mapping for one name speaks of that one only, whatever it makes of it.
        let is_of_one = name.is_some_and(|name| name != "*");
        let first = tokens.iter().find(|token| !is_literal(token) && !is_number(token));
        is_free && (is_of_one || first.is_none_or(|first| is_name(first)))
    };
    mapping.to.iter().zip(reach::results(mapping).iter()).all(is_kept)
}

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in system.accounts.iter().filter(|account| account.written_mappings().next().is_some()) {
        diverted(system, account, tenants, out);
        renamed(system, account, tenants, out);
        for export in account.exports.iter().filter(|e| e.token_position > 0) {
            let imports: Vec<(&Account, &Import)> = system.imports_of(account, export).collect();
            let place = usize::try_from(export.token_position - 1).unwrap_or(usize::MAX);
            for mapping in account.written_mappings().filter(|m| m.from.overlaps(&export.subject)) {
                // A mapping for one importer's name may become what that one imports.
                let own = mapping.from.tokens().nth(place);
                let others = imports.iter().filter(|(by, _)| own != Some(by.name.as_str()));
                let mut others: Vec<&Subject> = others.map(|(_, import)| &import.subject).collect();
                // JWTs may import any part of it.
                if system.operator.is_some() {
                    others.push(&export.subject);
                }
                if keeps_name(mapping, export, &others) || imports.is_empty() && system.operator.is_none() {
                    continue;
                }
                let message = format!("`{}` is mapped, after the importer's name in it was checked", export.subject);
                out.push(RULE.error(mapping.span, message).related(export.span, "exported here"));
            }
        }
        // JWTs may import any part of an export.
        for mapping in account.written_mappings().filter(|_| system.operator.is_some()) {
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

/// The requests that an account's mappings change: who asks, by which import, on what they become.
fn changed<'s>(
    system: &'s System,
    account: &'s Account,
) -> impl Iterator<Item = (&'s Account, &'s Import, Vec<Subject>)> {
    let services = account.exports.iter().filter(|e| e.kind == ShareKind::Service);
    let imports = services.flat_map(|export| system.imports_of(account, export));
    imports.filter_map(|(by, import)| {
        let is_mapped = account.written_mappings().any(|mapping| mapping.from.overlaps(&import.subject));
        let becomes = if is_mapped { reach::what_becomes(account, &import.subject) } else { Vec::new() };
        let made: Vec<Subject> = becomes.into_iter().filter(|made| !import.subject.contains(made)).collect();
        (!made.is_empty()).then_some((by, import, made))
    })
}

/// Reports requests of one importer that a mapping makes requests on what is not offered to it, or on what another one
/// imports, with that one's name.
fn renamed(system: &System, account: &Account, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    let services = account.exports.iter().filter(|e| e.kind == ShareKind::Service);
    let imports = services.flat_map(|export| system.imports_of(account, export));
    // Who asks, and on what the exporter hears it.
    let asked: Vec<(&Account, Vec<Subject>)> =
        imports.map(|(by, import)| (by, reach::what_becomes(account, &import.subject))).collect();
    for (by, import, made) in changed(system, account) {
        let span = account.written_mappings().find(|m| m.from.overlaps(&import.subject)).map(|m| m.span);
        let mut services = account.exports.iter().filter(|e| e.kind == ShareKind::Service);
        let is_others = |e: &&Export| {
            let to = || e.to.iter().flatten();
            let is_apart = to().any(|(name, _)| tenants.are_apart(name, &by.name));
            is_apart && !to().any(|(name, _)| *name == by.name) && made.iter().any(|made| made.overlaps(&e.subject))
        };
        if let Some(meant) = services.find(is_others) {
            let message = format!(
                "what `{}` asks on `{}` is heard on `{}`, which is others'",
                by.name, import.subject, meant.subject
            );
            let finding = RULE.error(span.unwrap_or(import.span), message).related(import.span, "asked here");
            out.push(finding.related(meant.span, "heard here"));
            continue;
        }
        // With another importer's name: where that one's requests are heard, or anywhere.
        let everything = Subject::everything();
        let is_named = |(other, heard): &&(&Account, Vec<Subject>)| {
            let meets = |heard: &&Subject| {
                made.iter().any(|made| made.overlaps(heard)) && names(tenants, &other.name, &everything, heard)
            };
            let bears = |made: &Subject| names(tenants, &other.name, &everything, made);
            tenants.are_apart(&by.name, &other.name)
                && (heard.iter().any(|heard| meets(&heard)) || made.iter().any(bears) && !bears(&import.subject))
        };
        if let Some((other, heard)) = asked.iter().find(is_named) {
            let on = heard.iter().find(|heard| made.iter().any(|made| made.overlaps(heard))).or(made.first());
            let message = format!(
                "what `{}` asks on `{}` is heard on `{}`, as if `{}` had asked",
                by.name,
                import.subject,
                on.unwrap_or(&import.subject),
                other.name
            );
            out.push(RULE.error(span.unwrap_or(import.span), message).related(import.span, "asked here"));
        }
    }
}

/// Reports requests that a mapping leads to a user of another tenant than the asker's and those that would hear them
/// without it: in an account that several tenants share.
fn diverted(system: &System, account: &Account, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for (by, import, made) in changed(system, account) {
        let hears = |user: &&User, subject: &Subject| user.permissions.subscribe.touches(subject);
        let meant = account.users.iter().filter(|user| hears(user, &import.subject));
        let meant: HashSet<&str> = meant.map(|user| tenants.of(account, user)).collect();
        let is_other = |user: &&User| {
            let tenant = tenants.of(account, user);
            !meant.contains(tenant) && tenant != tenants.of_account(&by.name)
        };
        let reached = made
            .iter()
            .find_map(|made| Some((made, account.users.iter().filter(|user| hears(user, made)).find(is_other)?)));
        if let Some((made, user)) = reached.filter(|_| !meant.is_empty()) {
            let message = format!(
                "what `{}` asks on `{}` is heard on `{made}` by `{}`, of another tenant",
                by.name,
                import.subject,
                user.display_name()
            );
            let span = account.written_mappings().find(|m| m.from.overlaps(&import.subject)).map(|m| m.span);
            out.push(RULE.error(span.unwrap_or(import.span), message).related(import.span, "asked here"));
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
            ("\"q.B.z\": \"all.C.y\"", true),
            ("\"q.B.z\": \"all.B.y\"", false),
            ("\"q.*.*\": \"all.B.$2\"", true),
            ("\"q.*.*\": \"q.$2.$1\"", true),
            ("\"q.*.z\": \"q.{{left(1,2)}}.y\"", true),
            ("\"q.*.z\": \"r.$1.y\"", false),
            ("\"q.*.*\": \"r.$2.$1\"", true),
            ("\"q.*.*\": \"q.{{partition(3,2)}}.$1.$2\"", false),
            ("\"q.*.*\": \"q.$1.v2.$2\"", false),
            ("\"q.*.*\": \"q.v2.$1\"", false),
            ("\"q.>\": \"x.>\"", false),
            ("\"q.>\": \"x.y.>\"", false),
            ("\"q.>\": \"q.y.>\"", false),
            ("\"q.*.*\": \"q.C.$1\"", true),
            ("\"s.*\": \"q.$1.y\"", false),
        ] {
            let text = format!(
                "accounts {{ A {{ users: [{{ user: a }}], exports: [{{ service: \"q.*.*\", accounts: [B, C], account_token_position: 2 }}]
                 mappings {{ {mapping} }} }}, B {{ users: [{{ user: b }}], imports: [{{ service: {{ account: A, subject: \"q.B.*\" }}, to: \"b.*\" }}] }}
                 C {{ users: [{{ user: c }}], imports: [{{ service: {{ account: A, subject: \"q.C.*\" }}, to: \"c.*\" }}] }} }}"
            );
            assert_eq!(rules(&text).contains(&"mapped-export"), is_found, "{mapping}");
        }
    }

    /// Measured on nats-server 2.15.1: g receives what the other tenant asks on its own subject.
    #[test]
    fn a_mapping_into_another_tenants_part_of_an_account_is_found() {
        let found = |mapping: &str, export: &str| {
            let text = format!(
                "accounts {{ S {{ users: [{{ user: a, permissions {{ publish: \"a.>\", subscribe: \"a.>\" }} }}, {{ user: g, permissions {{ publish: \"g.>\", subscribe: \"g.>\" }} }}]
                 exports: [{{ service: \"{export}\", accounts: [A] }}], mappings {{ \"a.q\": \"{mapping}\" }} }}, A {{ users: [{{ user: x }}], imports: [{{ service: {{ account: S, subject: \"a.q\" }} }}] }}, G {{ users: [{{ user: y }}] }} }}"
            );
            let tenants = "[[tenant]]\nname = \"A\"\naccounts = [\"A\"]\nusers = [\"S/a\"]\n[[tenant]]\nname = \"G\"\naccounts = [\"G\"]\nusers = [\"S/g\"]\n";
            let files = crate::conf::ConfFiles { main: text, accounts: String::new() };
            let folder = tempfile::tempdir().expect("folder");
            std::fs::write(folder.path().join("t"), tenants).expect("written");
            let tenants = crate::audit::tenants::Tenants::read(&folder.path().join("t")).expect("readable");
            let audit = crate::audit::audit_files(&files, Some(&tenants)).expect("valid");
            audit.findings.iter().any(|f| f.rule == "mapped-export")
        };
        assert!(found("g.q", "a.q") && found("g.q", "*.q"));
        assert!(!found("a.r", "a.q"), "it stays in its tenant's part");
        assert!(!found("none", "a.q"), "nobody hears it");
    }
}
