//! Exporting a part of the server to another account.

use super::Rule;
use crate::diag::Diagnostic;
use crate::proof::world::World;

pub const RULE: Rule = Rule {
    id: "reserved-export",
    proves: "nothing of JetStream, the system or inboxes is offered to others",
    why: "whoever imports `$JS.API.>` manages the exporter's streams; `$SYS`, inboxes and service replies are as good",
    mend: "export the subjects that are meant, one by one",
    check,
};

fn check(world: &World, out: &mut Vec<Diagnostic>) {
    for account in &world.accounts {
        let reserved = account.exports.iter().filter(|e| e.subject.touches_reserved_space() && e.token_position == 0);
        for export in reserved {
            let message = format!("`{}` is the server's own space in `{}`", export.subject, account.name);
            let is_exact = !export.subject.has_wildcard() && !export.is_public();
            out.push(if is_exact { RULE.warning(export.span, message) } else { RULE.error(export.span, message) });
        }
    }
}
