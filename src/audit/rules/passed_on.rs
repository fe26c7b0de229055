//! Services that an importer exports on to further accounts.

use std::collections::HashSet;

use super::{Rule, decided_elsewhere};
use crate::audit::reach::{self, ForwardedRequest};
use crate::audit::system::System;
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "passed-on",
    proves: "shared subjects reach the accounts they were shared with and no others",
    why: "An importer can export a service that it imports to accounts that the owner never named (messages of a stream go no further)",
    mend: "name the last importer in the owner's export too, or remove the second export",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in &system.accounts {
        let mut told = HashSet::new();
        let (requests, incomplete) = reach::passed_on(system, account);
        out.extend(incomplete.into_iter().map(decided_elsewhere::too_many));
        for ForwardedRequest { first, owner, last: (by, import) } in requests {
            let offered = owner.exports.iter().any(|e| {
                e.kind == import.kind
                    && e.subject.contains(&import.subject)
                    && e.authorizes(&account.name, &import.subject)
            });
            // Requests that a tenant passes on from one of its accounts to another stay with it.
            let is_third = [&owner.name, &by.name].into_iter().all(|other| tenants.are_apart(&account.name, other));
            let is_new = !offered && is_third && told.insert((&owner.name, import.subject.as_str()));
            if is_new {
                let (third, owner, by) = (&account.name, &owner.name, &by.name);
                let message =
                    format!("requests of `{third}` go on to `{}` of `{owner}` by way of `{by}`", import.subject);
                out.push(
                    RULE.error(first.span, message)
                        .related(import.span, "from here")
                        .related(account.span, "never named by the owner"),
                );
            }
        }
    }
}
