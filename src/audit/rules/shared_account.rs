//! Tenants that share an account and reach each other in it.

use std::collections::HashSet;

use super::{Rule, decided_elsewhere};
use crate::audit::crossing::{crossings, may_capture, past_lists};
use crate::audit::inference::suspicions;
use crate::audit::system::{Import, System, User};
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
    for account in system.tenants().filter(|account| tenants.share(account)) {
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
    for account in system.tenants().filter(|account| tenants.share(account)) {
        let is_owner = |user: &User, import: &Import| tenants.of(account, user) == tenants.of_account(&import.from.0);
        let mut told = HashSet::new();
        for past in past_lists(system, account).into_iter().filter(|past| !is_owner(past.user, past.import)) {
            if told.len() >= MOST || !told.insert((tenants.of(account, past.user), past.import.local.as_str())) {
                continue;
            }
            let message = format!(
                "`{}/{}` reaches `{}` of `{}`, which its list does not name: {}",
                account.name,
                past.user.display_name(),
                past.import.subject,
                past.import.from.0,
                past.what
            );
            out.push(RULE.error(past.place, message).related(past.import.span, "this service"));
        }
        // Streams of earlier users are on the server's disk and not in this file.
        if account.jetstream.is_some()
            && !may_capture(account)
            && crossings(system, account, |user| tenants.of(account, user), 1).is_empty()
        {
            out.push(decided_elsewhere::old_streams(account));
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
