//! Accounts that can use up JetStream storage.

use super::{Rule, remedy};
use crate::audit::system::{Account, Limit, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "unlimited-jetstream",
    proves: "JetStream of every account is limited",
    why: "An account without a storage limit can fill the disk; then publishing to streams fails in every account. This is an error if another tenant has JetStream, and a warning otherwise",
    mend: "set max_memory, max_store, max_streams and max_consumers (0 memory or store means none, 0 streams or consumers means unlimited)",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    let Some(server) = &system.server.jetstream else { return };
    // Nobody is left without if there is nobody else.
    if system.tenants().count() < 2 {
        return;
    }
    for account in system.tenants() {
        let Some(jetstream) = &account.jetstream else { continue };
        let is_open = |limit: Limit, least: i64| limit.is_none_or(|(n, _)| n < least);
        let place = |limit: Limit| limit.map_or(jetstream.span, |(_, span)| span);
        let is_other = |other: &Account| other.jetstream.is_some() && tenants.are_apart(&account.name, &other.name);
        let harms = system.tenants().any(is_other);
        for (what, limit, of_all, option) in [
            ("memory", jetstream.memory, server.memory, "--js-mem-storage 64M"),
            ("disk", jetstream.storage, server.storage, "--js-disk-storage 1G"),
        ] {
            if is_open(limit, 0) && of_all != Some(0) {
                let message = format!("`{}` may use all of the server's {what}", account.name);
                let place = place(limit);
                let finding = if harms { RULE.error(place, message) } else { RULE.warning(place, message) };
                out.push(finding.hint(remedy(system, account, RULE.mend, option)));
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

#[cfg(test)]
mod tests {
    use crate::audit::testing::findings;
    use crate::diag::Severity;

    /// Measured on nats-server 2.15.1: without memory for JetStream no stream in memory is made.
    #[test]
    fn storage_that_there_is_and_that_another_tenant_uses_has_to_be_limited() {
        let found = |server: &str, other: &str| {
            let text = format!(
                "jetstream {{ {server} }}\naccounts {{ A {{ users: [{{ user: a }}], jetstream: {{ max_streams: 9, max_consumers: 9 }} }}
                 B {{ users: [{{ user: b }}], {other} }} }}"
            );
            let of_a = |f: &crate::diag::Diagnostic| f.rule == "unlimited-jetstream" && f.message.starts_with("`A`");
            let mut found: Vec<(Severity, String)> =
                findings(&text).into_iter().filter(of_a).map(|f| (f.severity, f.message)).collect();
            found.sort();
            found.iter().map(|(s, m)| (*s, m.rsplit(' ').next().unwrap_or("").to_owned())).collect::<Vec<_>>()
        };
        let [memory, disk] = ["memory", "disk"].map(str::to_owned);
        let other = "jetstream: enabled";
        assert_eq!(found("", other), [(Severity::Error, disk.clone()), (Severity::Error, memory.clone())]);
        assert_eq!(found("max_mem: 0", other), [(Severity::Error, disk.clone())]);
        assert_eq!(found("max_file: 0", other), [(Severity::Error, memory.clone())]);
        assert_eq!(found("", ""), [(Severity::Warning, disk), (Severity::Warning, memory)]);
    }
}
