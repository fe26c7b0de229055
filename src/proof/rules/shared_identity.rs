//! An import that tells who asks.

use super::Rule;
use crate::diag::Diagnostic;
use crate::proof::world::World;

pub const RULE: Rule = Rule {
    id: "shared-identity",
    proves: "requests across accounts do not give away who asks",
    why: "`share: true` sends the requester's address, user and client name to the exporter",
    mend: "remove `share`",
    check,
};

fn check(world: &World, out: &mut Vec<Diagnostic>) {
    for account in &world.accounts {
        let apart = account.imports.iter().filter(|i| world.are_apart(&i.from.0, &account.name));
        for (import, span) in apart.filter_map(|i| i.share.map(|span| (i, span))) {
            out.push(
                RULE.warning(
                    span,
                    format!("`{}` learns who in `{}` asks, and from where", import.from.0, account.name),
                ),
            );
        }
    }
}
