//! Leaf nodes join what accounts keep apart.

use std::collections::HashMap;

use super::Rule;
use crate::diag::Diagnostic;
use crate::proof::world::{DoorKind, Remote, World};

pub const RULE: Rule = Rule {
    id: "leaf-bridge",
    proves: "no two tenants are joined by a leaf node",
    why: "a leaf node's remote carries an account's messages into an account of the server that it dials; where two tenants' remotes lead to one server, or to this one, they meet there",
    mend: "let each tenant's remote dial a server of its own, never this one",
    check,
};

fn check(world: &World, out: &mut Vec<Diagnostic>) {
    let doors = || world.server.doors.iter().filter(|d| d.kind == DoorKind::Leaf);
    let own: Vec<&str> = doors().filter(|d| d.listens).filter_map(|d| d.address.as_deref()).collect();
    let mut dialled: HashMap<&str, &Remote> = HashMap::new();
    for remote in doors().flat_map(|d| &d.remotes) {
        for address in &remote.addresses {
            if own.contains(&address.as_str()) {
                let message = format!("`{}` dials this very server, and comes out in another account", remote.account);
                out.push(RULE.error(remote.span, message));
            }
            let first = *dialled.entry(address).or_insert(remote);
            if world.are_apart(&first.account, &remote.account) {
                let message = format!("`{}` and `{}` both dial {address}", first.account, remote.account);
                out.push(RULE.error(remote.span, message).related(first.span, "the other one"));
            }
        }
    }
}
