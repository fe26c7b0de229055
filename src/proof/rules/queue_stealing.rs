//! An importer in the exporter's queue.

use super::Rule;
use crate::diag::Diagnostic;
use crate::model::ShareKind;
use crate::proof::world::World;

pub const RULE: Rule = Rule {
    id: "queue-stealing",
    proves: "an importer gets copies and takes nothing away",
    why: "a queue subscription on an imported stream joins the queue of that name in the exporter's account: it takes messages from the exporter's own workers",
    mend: "deny queues on it to every user of the importer: `deny: [\"subject >\"]`",
    check,
};

fn check(world: &World, out: &mut Vec<Diagnostic>) {
    for account in &world.accounts {
        for import in
            account.imports.iter().filter(|i| i.kind == ShareKind::Stream && world.are_apart(&i.from.0, &account.name))
        {
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
