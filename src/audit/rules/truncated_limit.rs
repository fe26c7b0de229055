//! Limits that overflow the server's 32 bits.

use super::Rule;
use crate::audit::system::System;
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "truncated-limit",
    proves: "every limit has the value that is written",
    why: "Account limits are 32-bit numbers: 4294967296 connections become 0, and 4294967295 become unlimited",
    mend: "use values below 2147483648",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in &system.accounts {
        let limits = &account.limits;
        for (number, span) in
            [limits.connections, limits.subscriptions, limits.payload, limits.leafnodes].into_iter().flatten()
        {
            #[allow(clippy::cast_possible_truncation)] // as the server does
            let read = number as i32;
            if i64::from(read) != number {
                out.push(RULE.error(span, format!("the server reads {number} as {read}")));
            }
        }
    }
}
