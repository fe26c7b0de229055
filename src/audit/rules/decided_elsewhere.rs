//! Accounts and permissions that are decided outside the configuration.

use super::Rule;
use crate::audit::system::{Account, Import, ListenerKind, System};
use crate::audit::tenants::Tenants;
use crate::diag::{Diagnostic, Span};

pub const RULE: Rule = Rule {
    id: "decided-elsewhere",
    proves: "who is isolated is decided in this file",
    why: "with an auth callout, or accounts whose JWTs are elsewhere, accounts and permissions are not in the file; where several tenants' leaf nodes dial other servers, those decide whether they meet: nothing can be proved from the file alone",
    mend: "attack the running server: `tenantry verify --server URL` with its registry",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    if let Some((why, span)) = system.operator.as_ref().and_then(|operator| operator.elsewhere.as_ref()) {
        out.push(RULE.warning(*span, format!("{why}: nothing is proved of them")));
    }
    if let Some(callout) = &system.callout {
        out.push(RULE.warning(callout.span, "who connecting users are, and may do, is decided by an auth callout"));
    }
    // Remotes of one server are not joined by the server that they dial, nor by its cluster: it does not
    // send to a leaf node what came from another one of the same server. A server that is connected to
    // another one as a leaf node does.
    let remotes = || system.server.remotes().filter(|remote| !remote.addresses.iter().all(|a| is_own(system, a)));
    let Some(first) = remotes().next() else { return };
    if let Some(second) = remotes().find(|r| tenants.are_apart(&r.account, &first.account)) {
        let message = format!("whether `{}` and `{}` meet beyond their leaf nodes", first.account, second.account);
        out.push(
            RULE.warning(second.span, format!("{message} is not in this file")).related(first.span, "the other one"),
        );
    }
}

/// Whether an address is that of a listener of this server that accepts leaf nodes. A remote that
/// dials it is never connected: "Cluster Names Identical".
fn is_own(system: &System, address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let is_loopback = |host: &str| host.starts_with("127.") || matches!(host, "[::1]" | "::1" | "localhost");
    let accepts = |kind| matches!(kind, ListenerKind::Leaf | ListenerKind::WebSocket);
    let listeners = system.server.listeners.iter().filter(|listener| listener.listens && accepts(listener.kind));
    listeners.filter_map(|listener| Some((listener, listener.address.as_deref()?.rsplit_once(':')?))).any(
        |(listener, (own_host, own_port))| {
            let is_here = host == own_host || is_loopback(host) && (listener.everywhere || is_loopback(own_host));
            own_port == port && is_here
        },
    )
}

/// The finding that the requests of an import become too many different ones to follow.
pub fn too_many(import: &Import) -> Diagnostic {
    let message =
        format!("where requests to `{}` end: imports and mappings make them longer in a circle", import.local);
    RULE.warning(import.span, message).hint("remove one of the imports, or the mapping")
}

/// The finding that nobody knows who is behind a leaf node of an account that several tenants share.
pub fn behind_leaf(account: &Account, span: Span) -> Diagnostic {
    let message = format!(
        "who is behind the leaf node of `{}`, hears every tenant in it and answers to any reply subject, is not in this file",
        account.name
    );
    RULE.warning(span, message).hint("give each tenant an account of its own")
}

/// The finding that streams which nobody may make any more may still be there.
pub fn old_streams(account: &Account) -> Diagnostic {
    let message = format!(
        "whether `{}` has streams from earlier, whose acknowledgements go to any reply subject, is not in this file",
        account.name
    );
    let span = account.jetstream.as_ref().map_or(account.span, |jetstream| jetstream.span);
    RULE.warning(span, message).hint("remove `jetstream` from an account that several tenants share")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::system;

    #[test]
    fn an_address_is_this_servers_if_host_and_port_are_those_of_a_listener() {
        for (block, address, own) in [
            ("leafnodes { port: 7422 }", "127.0.0.1:7422", true),
            ("leafnodes { port: 7422 }", "127.0.0.2:7422", true),
            ("leafnodes { port: 7422 }", "127.0.0.1:7423", false),
            ("leafnodes { port: 7422 }", "hub.example.com:7422", false),
            ("leafnodes { listen: \"10.0.0.1:7422\" }", "10.0.0.1:7422", true),
            ("leafnodes { listen: \"10.0.0.1:7422\" }", "10.0.0.2:7422", false),
            ("leafnodes { listen: \"10.0.0.1:7422\" }", "127.0.0.1:7422", false),
            ("leafnodes { listen: \"127.0.0.1:7422\" }", "[::1]:7422", true),
            ("websocket { port: 8080, no_tls: true }", "127.0.0.1:8080", true),
            ("mqtt { port: 1883 }", "127.0.0.1:1883", false),
            ("leafnodes { remotes: [] }", "127.0.0.1:7422", false),
            ("leafnodes { port: 7422 }", "no port", false),
        ] {
            assert_eq!(is_own(&system(block), address), own, "{block} {address}");
        }
    }
}
