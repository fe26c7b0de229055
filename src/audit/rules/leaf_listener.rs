//! A leaf node listener without authorization lets every user attach servers.

use super::Rule;
use crate::audit::system::{ListenerKind, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "leaf-listener",
    proves: "only those who are meant to can join with a leaf node",
    why: "with a leaf port and no leaf authorization every account's users can attach a server of theirs",
    mend: "`authorization` under leafnodes, or `max_leafnodes: 0` in the accounts' limits",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    let listeners =
        system.server.listeners.iter().filter(|d| d.kind == ListenerKind::Leaf && d.listens && !d.has_authorization);
    for listener in listeners {
        let open = system.tenants().find(|a| !a.users.is_empty() && a.limits.leafnodes.is_none_or(|(n, _)| n != 0));
        if let Some(account) = open {
            let message = format!("users of `{}` can attach servers of their own", account.name);
            out.push(RULE.error(listener.span, message).related(account.span, "no `max_leafnodes: 0`"));
        }
    }
}
