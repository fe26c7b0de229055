//! Tenants that share an account and reach each other in it.

use super::Rule;
use crate::audit::crossing::crossings;
use crate::audit::inference::suspicions;
use crate::audit::system::{System, User};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "shared-account",
    proves: "tenants that share an account do not reach each other in it",
    why: "inside one account only subject permissions separate users, and a reply subject is never checked: whoever gets an answer, from a colleague, the server or JetStream, can have it written to any subject of the account",
    mend: "give each tenant an account of its own",
    check,
};

/// Maximum number of crossings reported for one account.
const MOST: usize = 10;

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in system.tenants().filter(|account| tenants.assigns_users_of(account)) {
        for crossing in crossings(system, account, |user| tenants.of(account, user), MOST) {
            let whose =
                |user: &User| format!("`{}/{}` of `{}`", account.name, user.display_name(), tenants.of(account, user));
            let message = format!("{} reaches {}: {}", whose(crossing.from), whose(crossing.to), crossing.what);
            out.push(
                RULE.error(crossing.place, message)
                    .related(crossing.from.span, "from this user")
                    .related(crossing.to.span, "to this one"),
            );
        }
    }
    for suspicion in suspicions(system).into_iter().filter(|s| !tenants.knows(s.account)) {
        let ([first, second, ..], Some(open)) = (suspicion.groups.as_slice(), suspicion.open.first()) else { continue };
        let message = format!(
            "`{}/{}` may do everything, beside `{}` and `{}`, which have subjects of their own: it reaches both",
            suspicion.account.name,
            open.display_name(),
            first.name,
            second.name
        );
        out.push(
            RULE.error(open.span, message)
                .related(first.users[0].span, "its own subjects")
                .related(second.users[0].span, "its own subjects")
                .hint("give it permissions, or the tenants accounts of their own"),
        );
    }
}
