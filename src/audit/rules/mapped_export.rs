//! Mappings that move requests past an export's importer check.

use super::Rule;
use crate::audit::reach;
use crate::audit::reach::term::Function;
use crate::audit::system::{Export, Mapping, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::model::ShareKind;

pub const RULE: Rule = Rule {
    id: "mapped-export",
    proves: "no mapping changes the importer's name in a subject",
    why: "The exporter's mappings are applied after `account_token_position` was checked; they can insert another importer's name, or lead to another exported subject",
    mend: "do not map a subject that one importer may request to a subject with another importer's name",
    check,
};

/// Whether all that a mapping makes stays in the export and has the importer's name where it was.
fn keeps_name(mapping: &Mapping, export: &Export) -> bool {
    let place = usize::try_from(export.token_position - 1).unwrap_or(usize::MAX);
    let wildcards = mapping.from.tokens().take(place).filter(|token| *token == "*").count();
    let name = mapping.from.tokens().nth(place);
    let is_kept = |to: &String| {
        let token = to.split('.').nth(place).unwrap_or_default();
        match (name, Function::of(token)) {
            (Some("*"), Ok(Function::Wildcard(number))) => number == wildcards + 1,
            (Some(name), Ok(Function::None)) => name != "*" && name != ">" && token == name,
            _ => false,
        }
    };
    mapping.to.iter().all(is_kept) && reach::results(mapping).iter().all(|made| export.subject.contains(made))
}

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in &system.accounts {
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
            ("\"q.*.z\": \"r.$1.y\"", true),
            ("\"s.*\": \"q.$1.y\"", false),
        ] {
            let text = format!(
                "accounts {{ A {{ users: [{{ user: a }}], exports: [{{ service: \"q.*.*\", accounts: [B, C], account_token_position: 2 }}]
                 mappings {{ {mapping} }} }}, B {{ users: [{{ user: b }}] }}, C {{ users: [{{ user: c }}] }} }}"
            );
            assert_eq!(rules(&text).contains(&"mapped-export"), is_found, "{mapping}");
        }
    }
}
