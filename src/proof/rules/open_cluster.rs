//! A server that anybody can join.

use super::Rule;
use crate::diag::Diagnostic;
use crate::proof::world::{DoorKind, World};

pub const RULE: Rule = Rule {
    id: "open-cluster",
    proves: "only servers of the system join it",
    why: "whoever reaches a cluster or gateway port without authorization can be a server, and reads and forges in every account",
    mend: "`authorization` in the block, or TLS with `verify: true`",
    check,
};

fn check(world: &World, out: &mut Vec<Diagnostic>) {
    let doors = world.server.doors.iter().filter(|d| matches!(d.kind, DoorKind::Cluster | DoorKind::Gateway));
    for door in doors.filter(|d| d.listens && !d.has_authorization) {
        let what = if door.kind == DoorKind::Cluster { "cluster" } else { "gateway" };
        out.push(RULE.error(door.span, format!("anybody who reaches the {what} port can join as a server")));
    }
}
