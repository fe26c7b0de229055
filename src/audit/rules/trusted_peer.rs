//! Options by which the server believes what a client or its browser says.

use super::Rule;
use crate::audit::system::{Hazard, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "trusted-peer",
    proves: "no client can pose as another one",
    why: "A browser sends a WebSocket login cookie for any page that asks, unless the server checks the origin; with the proxy protocol, a client chooses its own address",
    mend: "set `same_origin` or `allowed_origins`; let only the proxy reach the port",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    for (hazard, span) in &system.server.hazards {
        let message = match hazard {
            Hazard::CookiesFromAnywhere => "any page that a user visits can connect with the user's cookie",
            Hazard::ProxyProtocol => "the address of a client is what the client says",
            _ => continue,
        };
        out.push(RULE.warning(*span, message));
    }
}
