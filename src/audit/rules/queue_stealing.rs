//! Importers that can join the exporter's queue groups.

use super::Rule;
use crate::audit::system::{Account, Import, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::model::ShareKind;

pub const RULE: Rule = Rule {
    id: "queue-stealing",
    proves: "an importer gets copies and takes nothing away",
    why: "a queue subscription on an imported stream joins the queue of that name in the exporter's account: it takes messages from the exporter's own workers",
    mend: "deny queues on it to every user of the importer: `deny: [\"subject >\"]`",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in &system.accounts {
        for import in account
            .imports
            .iter()
            .filter(|i| i.kind == ShareKind::Stream && tenants.are_apart(&i.from.0, &account.name))
        {
            if !has_workers(system, account, import) {
                continue;
            }
            if let Some(span) = system.server.leaf_of(&account.name) {
                let message = format!(
                    "whoever is behind the leaf node of `{}` can take `{}` from the workers of `{}`",
                    account.name, import.subject, import.from.0
                );
                out.push(RULE.error(import.span, message).related(span, "may join any queue on it"));
            }
            let Some(user) = account.users.iter().find(|u| u.permissions.subscribe.joins_queue_on(&import.local))
            else {
                continue;
            };
            let message = format!(
                "`{}/{}` can take `{}` from the workers of `{}`",
                account.name, user.name, import.subject, import.from.0
            );
            out.push(RULE.error(import.span, message).related(user.span, "may join any queue on it"));
        }
    }
}

/// Whether anybody but the importer may subscribe in a queue to what it imports: a user of the exporter,
/// who is behind its leaf node, or another importer.
fn has_workers(system: &System, account: &Account, import: &Import) -> bool {
    let Some(exporter) = system.account(&import.from.0) else { return false };
    let is_same =
        |i: &Import| i.kind == ShareKind::Stream && i.from.0 == exporter.name && i.subject.overlaps(&import.subject);
    exporter.users.iter().any(|user| user.permissions.subscribe.joins_queue_on(&import.subject))
        || system.server.leaf_of(&exporter.name).is_some()
        || system.accounts.iter().any(|other| other.name != account.name && other.imports.iter().any(is_same))
}
