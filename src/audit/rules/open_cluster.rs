//! A server that anybody can join.

use super::Rule;
use crate::audit::system::{DoorKind, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "open-cluster",
    proves: "only servers of the system join it",
    why: "whoever reaches a cluster or gateway port without authorization can be a server, and reads and forges in every account",
    mend: "`authorization` with a user in the block; or TLS with a `ca_file` that signs servers and nobody else",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    let doors = system.server.doors.iter().filter(|d| matches!(d.kind, DoorKind::Cluster | DoorKind::Gateway));
    for door in doors.filter(|d| d.listens) {
        let what = if door.kind == DoorKind::Cluster { "cluster" } else { "gateway" };
        if !door.has_authorization {
            out.push(RULE.error(door.span, format!("anybody who reaches the {what} port can join as a server")));
            continue;
        }
        let Some(certificates) = door.certificates.as_ref().filter(|c| !c.named && door.logins.is_empty()) else {
            continue;
        };
        let whose = match &certificates.ca {
            None => "that the machine trusts".to_owned(),
            Some(ca) if system.server.client_cas.iter().any(|c| c.identity == ca.identity) => {
                format!("of `{}`, which signs clients too,", ca.file)
            }
            Some(_) => continue,
        };
        out.push(
            RULE.error(
                door.span,
                format!("anybody with a certificate {whose} can join as a server by the {what} port"),
            ),
        );
    }
}
