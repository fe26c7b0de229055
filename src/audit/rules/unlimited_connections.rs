//! Accounts that can use up the connections or subscriptions of the server.

use super::{Rule, remedy};
use crate::audit::system::{Account, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "unlimited-connections",
    proves: "no account can use up the server's connections",
    why: "All accounts share the server's connections; an account without `max_connections` can take all of them",
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
