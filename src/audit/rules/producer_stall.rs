//! A slow importer slows down the publishers of the exporter.

use super::Rule;
use crate::audit::system::{Account, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::model::ShareKind;

pub const RULE: Rule = Rule {
    id: "producer-stall",
    proves: "no importer can slow down an exporter's publishers",
    why: "Without `no_fast_producer_stall` the server makes a publisher wait for a slow subscriber, even one of another account",
    mend: "set `no_fast_producer_stall: true`",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    if system.server.no_fast_producer_stall {
        return;
    }
    let across = |account: &&Account| {
        account.imports.iter().any(|i| i.kind == ShareKind::Stream && tenants.are_apart(&i.from.0, &account.name))
    };
    if let Some(account) = system.accounts.iter().find(across) {
        let span = account.imports.iter().find(|i| i.kind == ShareKind::Stream).map_or(account.span, |i| i.span);
        out.push(
            RULE.warning(span, format!("a slow subscriber in `{}` slows down whoever publishes to it", account.name)),
        );
    }
}
