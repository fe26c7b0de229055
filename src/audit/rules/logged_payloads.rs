//! Messages in the log.

use super::Rule;
use crate::audit::system::{Hazard, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "logged-payloads",
    proves: "the server's log holds no messages",
    why: "With `trace` the server logs every message of every tenant, payload included",
    mend: "remove `trace` and `trace_verbose`; `trace_headers` logs headers only",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    for (_, span) in system.server.hazards.iter().filter(|(hazard, _)| *hazard == Hazard::LoggedPayloads) {
        out.push(RULE.warning(*span, "every message of every tenant is logged"));
    }
}
