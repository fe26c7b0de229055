//! Cluster and gateway listeners that accept any server.

use super::Rule;
use crate::audit::system::{ListenerKind, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "open-cluster",
    proves: "only servers of the system can join it",
    why: "A client that reaches a cluster or gateway port without authorization can act as a server, and read and forge messages in every account",
    mend: "set `authorization` with a user in the block, or TLS with a `ca_file` that signs these servers only",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    let listeners =
        system.server.listeners.iter().filter(|d| matches!(d.kind, ListenerKind::Cluster | ListenerKind::Gateway));
    for listener in listeners.filter(|d| d.listens) {
        let what = if listener.kind == ListenerKind::Cluster { "cluster" } else { "gateway" };
        if !listener.has_authorization {
            out.push(RULE.error(listener.span, format!("anybody who reaches the {what} port can join as a server")));
            continue;
        }
        let Some(certificates) = listener.certificates.as_ref().filter(|c| !c.named && listener.logins.is_empty())
        else {
            continue;
        };
        let whose = match &certificates.ca {
            None => "that the machine trusts".to_owned(),
            Some(ca) if system.server.client_cas.iter().any(|c| c.identity == ca.identity) => {
                format!("of `{}`, which signs clients too,", ca.file)
            }
            Some(_) => continue,
        };
        out.push(RULE.error(
            listener.span,
            format!("anybody with a certificate {whose} can join as a server by the {what} port"),
        ));
    }
}
