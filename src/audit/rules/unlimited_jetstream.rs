//! Accounts that can use up JetStream storage.

use super::{Rule, remedy};
use crate::audit::system::{Limit, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "unlimited-jetstream",
    proves: "JetStream of every account is limited",
    why: "An account without a storage limit can fill the disk; then publishing to streams fails in every account",
    mend: "set max_memory, max_store, max_streams and max_consumers (0 memory or store means none, 0 streams or consumers means unlimited)",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    // Nobody is left without if there is nobody else.
    if system.server.jetstream.is_none() || system.tenants().count() < 2 {
        return;
    }
    for account in system.tenants() {
        let Some(jetstream) = &account.jetstream else { continue };
        let is_open = |limit: Limit, least: i64| limit.is_none_or(|(n, _)| n < least);
        let place = |limit: Limit| limit.map_or(jetstream.span, |(_, span)| span);
        for (what, limit, option) in
            [("memory", jetstream.memory, "--js-mem-storage 64M"), ("disk", jetstream.storage, "--js-disk-storage 1G")]
        {
            if is_open(limit, 0) {
                let message = format!("`{}` may use all of the server's {what}", account.name);
                out.push(RULE.error(place(limit), message).hint(remedy(system, account, RULE.mend, option)));
            }
        }
        for (what, limit, option) in [
            ("streams", jetstream.streams, "--js-streams 10"),
            ("consumers of a stream", jetstream.consumers, "--js-consumer 10"),
        ] {
            if is_open(limit, 1) {
                let message = format!("`{}` may have any number of {what}", account.name);
                out.push(RULE.warning(place(limit), message).hint(remedy(system, account, RULE.mend, option)));
            }
        }
    }
}
