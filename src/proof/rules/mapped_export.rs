//! A mapping behind a token position.

use super::Rule;
use crate::diag::Diagnostic;
use crate::proof::world::World;

pub const RULE: Rule = Rule {
    id: "mapped-export",
    proves: "an importer's name in a subject stays where it is",
    why: "the exporter's mappings are applied after `account_token_position` was checked, and can put another name there",
    mend: "do not map subjects that are exported by token position",
    check,
};

fn check(world: &World, out: &mut Vec<Diagnostic>) {
    for account in &world.accounts {
        for export in account.exports.iter().filter(|e| e.token_position > 0) {
            for mapping in account.mappings.iter().filter(|m| m.from.overlaps(&export.subject)) {
                let message = format!("`{}` is mapped, after the importer's name in it was checked", export.subject);
                out.push(RULE.error(mapping.span, message).related(export.span, "exported here"));
            }
        }
    }
}
