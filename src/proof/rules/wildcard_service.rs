//! An importer can speak for another.

use super::Rule;
use crate::diag::Diagnostic;
use crate::model::ShareKind;
use crate::proof::world::World;

pub const RULE: Rule = Rule {
    id: "wildcard-service",
    proves: "who imports a service with a wildcard cannot name another tenant",
    why: "without `account_token_position` every importer chooses what stands in the wildcard's place, another tenant's name included",
    mend: "put the importer's name into the subject and its place into `account_token_position`; or export one subject for each importer",
    check,
};

fn check(world: &World, out: &mut Vec<Diagnostic>) {
    for account in &world.accounts {
        let services = account.exports.iter().filter(|e| e.kind == ShareKind::Service && e.token_position == 0);
        for export in services.filter(|e| e.subject.has_wildcard() && e.to.as_ref().is_none_or(|to| to.len() > 1)) {
            let message = format!("every importer of `{}` may fill in another's name", export.subject);
            out.push(RULE.warning(export.span, message));
        }
    }
}
