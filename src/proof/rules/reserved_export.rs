//! Exporting a part of the server to another account.

use super::{Rule, mapped_reserved};
use crate::diag::Diagnostic;
use crate::model::ShareKind;
use crate::proof::reach;
use crate::proof::world::World;
use crate::subject::Subject;

pub const RULE: Rule = Rule {
    id: "reserved-export",
    proves: "nothing of JetStream, the system or inboxes is offered to others",
    why: "whoever imports `$JS.API.>` manages the exporter's streams; `$SYS`, inboxes and service replies are as good",
    mend: "export the subjects that are meant, one by one",
    check,
};

fn check(world: &World, out: &mut Vec<Diagnostic>) {
    for account in &world.accounts {
        let streams = || account.exports.iter().filter(|e| e.kind == ShareKind::Stream);
        for (mapping, made) in mapped_reserved(account) {
            if let Some(export) = streams().find(|e| made.iter().any(|m| m.overlaps(&e.subject))) {
                let message = format!(
                    "`{}` of `{}` is mapped to `{}`, which is exported",
                    mapping.from, account.name, export.subject
                );
                out.push(RULE.error(mapping.span, message).related(export.span, "exported here"));
            }
        }
        for export in &account.exports {
            // What importers ask for is mapped in the exporter's account.
            let becomes = match export.kind {
                ShareKind::Service => reach::what_becomes(account, &export.subject),
                ShareKind::Stream => vec![export.subject.clone()],
            };
            let Some(subject) = becomes.into_iter().find(Subject::touches_reserved_space) else { continue };
            // The server's own way to let each account ask about itself.
            let first = subject.first_token();
            if first == "$SYS" && export.token_position > 0 && world.is_system(account) {
                continue;
            }
            let message = if subject == export.subject {
                format!("`{subject}` is the server's own space in `{}`", account.name)
            } else {
                format!("`{}` is mapped to `{subject}`, the server's own space in `{}`", export.subject, account.name)
            };
            let is_exact = first != "$SYS" && !subject.has_wildcard() && !export.is_public();
            out.push(if is_exact { RULE.warning(export.span, message) } else { RULE.error(export.span, message) });
        }
    }
}
