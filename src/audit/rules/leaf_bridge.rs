//! Leaf node remotes that join two accounts, of a server without a name.

use std::collections::HashMap;

use super::Rule;
use crate::audit::system::{Account, ListenerKind, ListenerLogin, Remote, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "leaf-bridge",
    proves: "no leaf node connects two tenants",
    why: "A leaf node remote exchanges an account's messages with an account of the server that it dials. Two tenants meet if their remotes log in as the same user there, or if a remote leads back to this server. A server with a name recognises connections to itself and closes them",
    mend: "set `server_name`; let each tenant's remote dial a server of its own, and never this one",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    if system.server.is_named {
        return;
    }
    let mut dialled: HashMap<(&str, Option<&str>), &Remote> = HashMap::new();
    for remote in system
        .server
        .remotes()
        .filter(|remote| (remote.sends || remote.receives) && takes_leaf_nodes(system, &remote.account))
    {
        for address in &remote.addresses {
            for other in comes_out(system, remote, address) {
                if tenants.are_apart(&remote.account, other) && takes_leaf_nodes(system, other) {
                    let message = format!("`{}` dials this very server, and comes out in `{other}`", remote.account);
                    out.push(RULE.error(remote.span, message));
                }
            }
            let first = *dialled.entry((address, remote.user.as_deref())).or_insert(remote);
            let flows = first.sends && remote.receives || remote.sends && first.receives;
            if flows
                && tenants.are_apart(&first.account, &remote.account)
                && comes_out(system, remote, address).is_empty()
            {
                let message = format!("`{}` and `{}` both dial {address}, as one user", first.account, remote.account);
                out.push(RULE.error(remote.span, message).related(first.span, "the other one"));
            }
        }
    }
}

/// Whether an account, by its name, may have connections of leaf nodes.
fn takes_leaf_nodes(system: &System, account: &str) -> bool {
    system.account(account).is_none_or(Account::takes_leaf_nodes)
}

/// The accounts in which a remote comes out if the address is one of this server.
pub fn comes_out<'s>(system: &'s System, remote: &Remote, address: &str) -> Vec<&'s str> {
    let Some((host, port)) = address.rsplit_once(':') else { return Vec::new() };
    let is_loopback = |host: &str| host.starts_with("127.") || matches!(host, "[::1]" | "::1" | "localhost");
    let mut accounts = Vec::new();
    // Without a listener of their own, leaf nodes are refused by WebSocket too.
    if system.server.listener(ListenerKind::Leaf).is_none() {
        return accounts;
    }
    for listener in system.server.listeners.iter().filter(|listener| listener.listens) {
        let accepts = matches!(listener.kind, ListenerKind::Leaf | ListenerKind::WebSocket);
        let Some((own_host, own_port)) = listener.address.as_deref().and_then(|own| own.rsplit_once(':')) else {
            continue;
        };
        let is_here = host == own_host || is_loopback(host) && (listener.everywhere || is_loopback(own_host));
        if accepts && is_here && own_port == port {
            accounts.extend(leaf_accounts(system, remote.user.as_deref()));
        }
    }
    accounts
}

/// The accounts in which a leaf node arrives that logs in as `user`.
fn leaf_accounts<'s>(system: &'s System, user: Option<&str>) -> Vec<&'s str> {
    let listener = system.server.listeners.iter().find(|listener| listener.kind == ListenerKind::Leaf);
    let logins = listener.map(|listener| listener.logins.as_slice()).unwrap_or_default();
    let is_it = |name: &str| user.is_none_or(|user| user == name);
    if !logins.is_empty() {
        return logins.iter().filter(|login| is_it(&login.name)).map(ListenerLogin::account).collect();
    }
    let users = system.users().filter(|(_, user)| is_it(&user.name) && user.may_use(ListenerKind::Leaf));
    users.map(|(account, _)| account.name.as_str()).collect()
}

/// Whether anybody can come in as a leaf node of an account.
pub fn lets_in(system: &System, account: &str) -> bool {
    system.server.listener(ListenerKind::Leaf).is_some()
        && takes_leaf_nodes(system, account)
        && leaf_accounts(system, None).contains(&account)
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::rules;

    #[test]
    fn a_remote_that_dials_this_server_joins_its_account_with_that_of_its_login() {
        let conf = |name: &str, listener: &str, login: &str, remote: &str, limits: &str| {
            format!(
                "{name}\naccounts {{ A {{ users: [{{ user: a }}]\n {limits} }}, B {{ users: [{{ user: b }}] }} }}
                 {listener}
                 leafnodes {{ listen: \"127.0.0.1:7422\", {login} remotes: [{{ url: \"{remote}\", account: A }}] }}"
            )
        };
        let login = "authorization { users: [{ user: l, password: p, account: B }] },";
        let own = "nats://l:p@127.0.0.1:7422";
        for (what, text, joined) in [
            ("it comes out in B", conf("", "", login, own, ""), true),
            ("as a user of B", conf("", "", "", "nats://b:p@localhost:7422", ""), true),
            ("in its own account", conf("", "", "", "nats://a:p@localhost:7422", ""), false),
            ("the server has a name", conf("server_name: s", "", login, own, ""), false),
            ("another port", conf("", "", login, "nats://l:p@127.0.0.1:7423", ""), false),
            ("another login", conf("", "", login, "nats://m:p@127.0.0.1:7422", ""), false),
            ("no leaf nodes", conf("", "", login, own, "limits { max_leafnodes: 0 }"), false),
            (
                "by WebSocket",
                conf("", "websocket { listen: \"127.0.0.1:80\", no_tls: true }", login, "ws://l:p@127.0.0.1:80", ""),
                true,
            ),
        ] {
            assert_eq!(rules(&text).contains(&"leaf-bridge"), joined, "{what}: {text}");
        }
    }

    #[test]
    fn two_remotes_that_log_in_as_one_user_are_joined_and_what_others_join_is_undecided() {
        let conf = |name: &str, one: &str, other: &str| {
            format!(
                "{name}\naccounts {{ A {{ users: [{{ user: a }}] }}, B {{ users: [{{ user: b }}] }} }}
                 leafnodes {{ remotes: [{{ url: \"nats://{one}@10.0.0.1\", account: A }}, {{ url: \"nats://{other}@10.0.0.1:7422\", account: B }}] }}"
            )
        };
        for (name, one, other, joined) in
            [("", "l:p", "l:p", true), ("", "l:p", "m:p", false), ("server_name: s", "l:p", "l:p", false)]
        {
            let found = rules(&conf(name, one, other));
            assert_eq!(found.contains(&"leaf-bridge"), joined, "{name} {one} {other}");
            assert!(found.contains(&"decided-elsewhere"));
        }
        let back = |name: &str| {
            format!(
                "{name}\naccounts {{ A {{ users: [{{ user: a }}] }}, B {{ users: [{{ user: b }}] }} }}
                 leafnodes {{ listen: \"127.0.0.1:7422\", authorization {{ users: [{{ user: l, password: p, account: B }}] }},
                   remotes: [{{ url: \"nats://10.0.0.1\", account: A }}] }}"
            )
        };
        assert!(rules(&back("")).contains(&"decided-elsewhere"), "it may come back as a leaf node of B");
        assert!(rules(&back("server_name: s")).contains(&"decided-elsewhere"), "over two other servers");
    }
}
