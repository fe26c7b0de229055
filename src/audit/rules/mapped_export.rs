//! Mappings that move requests past an export's importer check.

use super::Rule;
use crate::audit::reach;
use crate::audit::system::{Export, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::model::ShareKind;

pub const RULE: Rule = Rule {
    id: "mapped-export",
    proves: "an importer's name in a subject stays where it is",
    why: "the exporter's mappings are applied after `account_token_position` was checked, and can put another name there, or another exported subject",
    mend: "do not map what one importer may ask to what another one's name is in",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in &system.accounts {
        for export in account.exports.iter().filter(|e| e.token_position > 0) {
            for mapping in account.mappings.iter().filter(|m| m.from.overlaps(&export.subject)) {
                let message = format!("`{}` is mapped, after the importer's name in it was checked", export.subject);
                out.push(RULE.error(mapping.span, message).related(export.span, "exported here"));
            }
        }
        for mapping in &account.mappings {
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
