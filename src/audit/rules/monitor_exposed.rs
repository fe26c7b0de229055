//! Monitoring endpoints, which have no authentication, reachable from the network.

use super::Rule;
use crate::audit::system::System;
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "monitor-exposed",
    proves: "the monitoring endpoints are not reachable from the network",
    why: "They show every account's users, addresses, subjects and streams without authentication",
    mend: "listen on 127.0.0.1; in a container, publish the port on 127.0.0.1 only, as the rendered compose files do (this file cannot show it)",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    for (address, span) in &system.server.monitoring {
        let host = address.rsplit_once(':').map_or("", |(host, _)| host);
        let is_local = host.starts_with("127.") || matches!(host, "localhost" | "[::1]" | "::1");
        if !is_local {
            out.push(RULE.warning(*span, format!("monitoring or profiling listens on {address}, for everybody")));
        }
    }
}
