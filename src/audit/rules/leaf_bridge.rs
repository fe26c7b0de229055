//! Leaf node remotes that connect two accounts through another server.

use std::collections::HashMap;

use super::Rule;
use crate::audit::system::{ListenerKind, Remote, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "leaf-bridge",
    proves: "no two tenants are joined by a leaf node",
    why: "a leaf node's remote carries an account's messages into an account of the server that it dials; where two tenants' remotes lead to one server, or to this one, they meet there",
    mend: "let each tenant's remote dial a server of its own, never this one",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    let mut dialled: HashMap<&str, &Remote> = HashMap::new();
    for remote in system.server.remotes() {
        for address in &remote.addresses {
            if is_own(system, address) == Own::Yes {
                let message = format!("`{}` dials this very server, and comes out in another account", remote.account);
                out.push(RULE.error(remote.span, message));
            }
            let first = *dialled.entry(address).or_insert(remote);
            if tenants.are_apart(&first.account, &remote.account) {
                let message = format!("`{}` and `{}` both dial {address}", first.account, remote.account);
                out.push(RULE.error(remote.span, message).related(first.span, "the other one"));
            }
        }
    }
}

/// Whether an address belongs to this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// It does.
    Yes,
    /// It may: the port matches and the host may be a name of this machine, which the
    /// configuration does not show.
    Perhaps,
    /// It does not.
    No,
}

/// Compares an address with the leaf node and WebSocket listeners, which both accept leaf nodes.
pub fn is_own(system: &System, address: &str) -> Own {
    let Some((host, port)) = address.rsplit_once(':') else { return Own::No };
    let is_loopback = |host: &str| host.starts_with("127.") || matches!(host, "[::1]" | "::1" | "localhost");
    let listeners = system
        .server
        .listeners
        .iter()
        .filter(|d| d.listens && matches!(d.kind, ListenerKind::Leaf | ListenerKind::WebSocket));
    let same_port = listeners.filter_map(|d| Some((d, d.address.as_deref()?.rsplit_once(':')?)));
    let mut own = Own::No;
    for (listener, (own_host, _)) in same_port.filter(|(_, (_, own_port))| *own_port == port) {
        if host == own_host || is_loopback(host) && (listener.everywhere || is_loopback(own_host)) {
            return Own::Yes;
        }
        if listener.everywhere {
            own = Own::Perhaps;
        }
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::system;

    #[test]
    fn an_address_is_this_servers_if_host_and_port_are_those_of_a_listener() {
        for (block, address, own) in [
            ("leafnodes { port: 7422 }", "127.0.0.1:7422", Own::Yes),
            ("leafnodes { port: 7422 }", "127.0.0.2:7422", Own::Yes),
            ("leafnodes { port: 7422 }", "127.0.0.1:7423", Own::No),
            ("leafnodes { port: 7422 }", "hub.example.com:7422", Own::Perhaps),
            ("leafnodes { listen: \"10.0.0.1:7422\" }", "10.0.0.1:7422", Own::Yes),
            ("leafnodes { listen: \"10.0.0.1:7422\" }", "10.0.0.2:7422", Own::No),
            ("leafnodes { listen: \"10.0.0.1:7422\" }", "127.0.0.1:7422", Own::No),
            ("leafnodes { listen: \"127.0.0.1:7422\" }", "[::1]:7422", Own::Yes),
            ("websocket { port: 8080, no_tls: true }", "127.0.0.1:8080", Own::Yes),
            ("mqtt { port: 1883 }", "127.0.0.1:1883", Own::No),
            ("leafnodes { remotes: [] }", "127.0.0.1:7422", Own::No),
            ("leafnodes { port: 7422 }", "no port", Own::No),
        ] {
            assert_eq!(is_own(&system(block), address), own, "{block} {address}");
        }
    }
}
