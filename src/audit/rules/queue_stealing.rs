//! Importers that can join the exporter's queue groups.

use super::Rule;
use crate::audit::system::{Account, Import, System, User};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::model::ShareKind;

pub const RULE: Rule = Rule {
    id: "queue-stealing",
    proves: "importers receive copies and take no message from the exporter's workers",
    why: "A queue subscription on an imported stream joins the queue of that name in the exporter's account",
    mend: "deny queue subscriptions on it to every user of the importer: `deny: [\"subject >\"]`",
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
            let joins = |user: &&User| user.permissions.subscribe.joins_queue_on(&import.local);
            let Some(user) = account.users.iter().find(joins) else {
                out.extend(by_leaf_node(system, account, import));
                continue;
            };
            let message = format!(
                "`{}/{}` can take `{}` from the workers of `{}`",
                account.name, user.name, import.subject, import.from.0
            );
            let hint = match system.operator {
                None => {
                    format!("deny queues on it to every user of `{}`: `deny: [\"{} >\"]`", account.name, import.local)
                }
                Some(_) => format!(
                    "whoever signs users of `{}` decides that: share with accounts that may take from your workers",
                    account.name
                ),
            };
            out.push(RULE.error(import.span, message).related(user.span, "may join any queue on it").hint(hint));
        }
    }
}

/// The finding that a user joins the queue as a leaf node, of which the server checks no queue. It gets messages only
/// where the worker is on another leaf node: of its own connections the server prefers clients.
fn by_leaf_node(system: &System, account: &Account, import: &Import) -> Option<Diagnostic> {
    let exporter = system.account(&import.from.0)?;
    let hears = |account: &Account, user: &User, subject| {
        system.may_be_leaf(account, user) && user.permissions.subscribe.touches(subject)
    };
    let has_workers = system.server.leaf_of(&exporter.name).is_some()
        || exporter.users.iter().any(|user| hears(exporter, user, &import.subject));
    let user = account.users.iter().find(|user| hears(account, user, &import.local)).filter(|_| has_workers)?;
    let message = format!(
        "`{}/{}`, as a leaf node, can take `{}` from workers of `{}` on another leaf node, whatever its lists deny",
        account.name, user.name, import.subject, exporter.name
    );
    let finding = RULE.error(import.span, message).related(user.span, "may connect as a leaf node");
    Some(finding.hint("`allowed_connection_types: [STANDARD]`, or `max_leafnodes: 0` in the account's limits"))
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
