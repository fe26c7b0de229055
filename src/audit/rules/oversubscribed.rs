//! Account limits that add up to more than the server has.

use super::Rule;
use crate::audit::system::{JetStream, Limit, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "oversubscribed",
    proves: "the limits of all accounts together fit the server's",
    why: "If they do not, a server that is in no cluster refuses to start; on a reload, which it accepts, it disables JetStream of unrelated accounts",
    mend: "lower the accounts' limits or raise the server's",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    let Some(server) = &system.server.jetstream else { return };
    let (per_stream, total) = system.server.batches;
    let with: Vec<_> = system.tenants().filter_map(|a| Some((a, a.jetstream.as_ref()?))).collect();
    let alone = with.len() < 2;
    for (account, jetstream) in with.into_iter().filter(|_| !alone) {
        let Some((streams, span)) = jetstream.streams.filter(|(n, _)| *n > 0) else { continue };
        if streams.saturating_mul(per_stream) >= total {
            let message = format!(
                "`{}` may hold all {total} open atomic batches of the server: {streams} streams with {per_stream} each",
                account.name
            );
            out.push(
                RULE.warning(span, message)
                    .hint("`limits { batch { max_inflight_total: … } }` under the server's jetstream, above the sum"),
            );
        }
    }
    let sum = |limit: fn(&JetStream) -> Limit| -> i128 {
        let limits = system.accounts.iter().filter_map(|a| a.jetstream.as_ref()).filter_map(limit);
        limits.map(|(n, _)| i128::from(n.max(0))).sum()
    };
    for (what, key, has, promised) in [
        ("memory", "max_mem", server.memory, sum(|j| j.memory)),
        ("disk", "max_file", server.storage, sum(|j| j.storage)),
    ] {
        match has {
            Some(has) if has >= 0 && promised > i128::from(has) => out.push(
                RULE.error(server.span, format!("accounts may use {promised} bytes of {what}, the server has {has}")),
            ),
            None if promised > 0 && !alone => out.push(
                RULE.warning(
                    server.span,
                    format!("accounts may use {promised} bytes of {what}, and the server takes what its machine has"),
                )
                .hint(format!("`{key}` under the server's jetstream, not below that sum")),
            ),
            _ => {}
        }
    }
}
