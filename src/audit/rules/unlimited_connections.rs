//! Accounts that can use up the connections or subscriptions of the server.

use super::{Rule, remedy};
use crate::audit::system::{Account, ListenerKind, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "unlimited-connections",
    proves: "no account can use up the server's connections",
    why: "All accounts share the server's connections; an account without `max_connections` can take all of them. Leaf nodes are not counted among them: they have `max_leafnodes`",
    mend: "set `limits { max_connections: 100 }` in the account, and a `max_connections` of the server that covers all accounts",
    check,
};

fn check(system: &System, of: &Tenants, out: &mut Vec<Diagnostic>) {
    // Tenants in one account share its limit.
    for account in system.tenants().filter(|account| of.share(account)) {
        let most = account.limits.connections.filter(|(most, _)| *most >= 0);
        let what = most.map_or("the server's".to_owned(), |(most, _)| format!("its {most}"));
        let message = format!("the tenants in `{}` share {what} connections: one of them may take all", account.name);
        let span = most.map_or(account.span, |(_, span)| span);
        out.push(RULE.warning(span, message).hint("give each tenant an account of its own"));
    }
    let tenants: Vec<_> = system.tenants().filter(|a| !a.users.is_empty()).collect();
    if tenants.len() < 2 {
        return;
    }
    // 65536 is the server's default.
    let (all, span) = system.server.max_connections.map_or((65_536, None), |(n, span)| (n, Some(span)));
    let promised: i128 = tenants.iter().filter_map(|a| a.limits.connections).map(|(n, _)| i128::from(n.max(0))).sum();
    if let Some(span) = span.or(system.server.start).filter(|_| promised > i128::from(all)) {
        let message = format!("accounts may open {promised} connections together, the server takes {all}");
        out.push(RULE.warning(span, message));
    }
    // They count neither as connections of the account nor of the server.
    let dials_in = |account: &&&Account| {
        let logins = system.server.listener(ListenerKind::Leaf).into_iter().flat_map(|leaf| &leaf.logins);
        let has_login = logins.into_iter().any(|login| login.account() == account.name);
        (has_login || account.users.iter().any(|user| system.may_be_leaf(account, user)))
            && account.limits.leafnodes.is_none_or(|(n, _)| n < 0)
    };
    for account in tenants.iter().filter(dials_in) {
        let message = format!("leaf nodes of `{}` may take all that the server has for connections", account.name);
        let hint = remedy(system, account, "`limits { max_leafnodes: 10 }`", "--leaf-conns 10");
        out.push(RULE.warning(account.span, message).hint(hint));
    }
    let limited = system.server.limits_subscriptions;
    let unlimited = |a: &&&Account| !limited && a.limits.subscriptions.is_none_or(|(n, _)| n < 0);
    for account in tenants.iter().filter(unlimited) {
        let message = format!("the subscriptions of `{}` may take all of the server's memory", account.name);
        let hint = remedy(system, account, "`limits { max_subscriptions: 1000 }`", "--subscriptions 1000");
        out.push(RULE.warning(account.span, message).hint(hint));
    }
    for account in tenants.into_iter().filter(|a| a.limits.connections.is_none_or(|(n, _)| n < 0)) {
        let message = format!("`{}` may take all of the server's connections", account.name);
        out.push(RULE.warning(account.span, message).hint(remedy(system, account, RULE.mend, "--conns 100")));
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::findings;

    /// Measured on nats-server 2.15.1: 120 leaf nodes of an account with 20 connections, on a server with 50; with
    /// `max_leafnodes`, as many as it says.
    #[test]
    fn leaf_nodes_have_a_limit_of_their_own() {
        let found = |leaf: &str, limits: &str| {
            let text = format!(
                "max_connections: 50\nmax_subscriptions: 100\naccounts {{ A {{ users: [{{ user: a, allowed_connection_types: [STANDARD] }}], limits {{ max_connections: 20 {limits} }} }}, B {{ users: [{{ user: b, allowed_connection_types: [STANDARD] }}], limits {{ max_connections: 20 }} }} }}\n{leaf}"
            );
            findings(&text).iter().any(|f| f.rule == "unlimited-connections" && f.message.contains("leaf nodes of `A`"))
        };
        let leaf = "leafnodes { port: 7422, authorization { user: l, password: p, account: A } }";
        assert!(found(leaf, "") && !found(leaf, ", max_leafnodes: 5") && !found("", ""));
    }
}
