//! More was promised than there is.

use super::Rule;
use crate::diag::Diagnostic;
use crate::proof::world::{JetStream, Limit, World};

pub const RULE: Rule = Rule {
    id: "oversubscribed",
    proves: "what accounts may use adds up to what the server has",
    why: "the server does not start; after a reload that it accepts, it cuts unrelated accounts off JetStream",
    mend: "lower the accounts' limits or raise the server's",
    check,
};

fn check(world: &World, out: &mut Vec<Diagnostic>) {
    let Some(server) = world.server.jetstream else { return };
    let sum = |limit: fn(&JetStream) -> Limit| -> i128 {
        let limits = world.accounts.iter().filter_map(|a| a.jetstream.as_ref()).filter_map(limit);
        limits.map(|(n, _)| i128::from(n.max(0))).sum()
    };
    for (what, has, promised) in
        [("memory", server.memory, sum(|j| j.memory)), ("disk", server.storage, sum(|j| j.storage))]
    {
        if let Some(has) = has.filter(|has| *has >= 0 && promised > i128::from(*has)) {
            out.push(
                RULE.error(server.span, format!("accounts may use {promised} bytes of {what}, the server has {has}")),
            );
        }
    }
}
