//! Connections that others on the network can read or change.

use super::Rule;
use crate::audit::system::{Hazard, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "clear-text",
    proves: "messages on the network cannot be read or changed",
    why: "Without TLS, everyone on the network path can read and change passwords and messages; a certificate that is not verified can be anyone's",
    mend: "configure `tls` with a certificate, without `allow_non_tls`, `no_tls` and `insecure`, or listen on 127.0.0.1",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    for (hazard, span) in &system.server.hazards {
        let message = match hazard {
            Hazard::ClearText { listener, address } => format!("the {listener} on {address} has no TLS"),
            Hazard::AllowNonTls => "clients may leave TLS out".to_owned(),
            Hazard::Insecure => "the certificate of the other side is not checked".to_owned(),
            _ => continue,
        };
        out.push(RULE.warning(*span, message));
    }
}
