//! A leaf node listener without authorization lets every user attach servers.

use super::Rule;
use crate::audit::system::{Account, ListenerKind, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "leaf-listener",
    proves: "only servers that are meant to can connect as leaf nodes",
    why: "If the leaf node listener has no authorization of its own, users of every account can connect a server of theirs",
    mend: "set `authorization` in `leafnodes`, `max_leafnodes: 0` in the accounts' limits, or `allowed_connection_types` of the users",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    let leaf = system.server.listener(ListenerKind::Leaf);
    if let Some(listener) = leaf.filter(|leaf| system.server.admits_clients(leaf)) {
        let may = |account: &&Account| {
            let has_user = account.users.iter().any(|user| user.may_use(ListenerKind::Leaf));
            has_user && account.takes_leaf_nodes()
        };
        let worst = system.tenants().filter(may).find(|account| tenants.share(account));
        if let Some(account) = worst.or_else(|| system.tenants().find(may)) {
            let message = format!("users of `{}` can attach servers of their own", account.name);
            // A server that is attached to an account reaches nothing but that account; what it reaches in one of
            // several tenants is `shared-account`'s to say.
            out.push(
                RULE.warning(listener.span, message)
                    .related(account.span, "no `max_leafnodes: 0`, and a user that may be a leaf node"),
            );
        }
    }
}
