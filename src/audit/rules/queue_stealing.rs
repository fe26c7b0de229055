//! Importers that can join the exporter's queue groups.

use super::Rule;
use crate::audit::system::{ListenerKind, System};
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
            let leaf = system.server.listeners.iter().filter(|d| d.kind == ListenerKind::Leaf && d.listens);
            let logins = leaf.flat_map(|d| &d.logins).find(|(_, of, _)| of.as_deref() == Some(&account.name));
            let remotes = system.server.remotes().find(|r| r.account == account.name);
            if let Some(span) = logins.map(|(_, _, span)| *span).or(remotes.map(|r| r.span)) {
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
