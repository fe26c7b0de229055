//! Accounts whose users look like several tenants' while nobody said whose they are.

use super::Rule;
use crate::audit::crossing::crossings;
use crate::audit::inference::{Suspicion, suspicions};
use crate::audit::system::{System, User};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "undecided-tenants",
    proves: "it is known which tenant each user belongs to",
    why: "Most configurations put several tenants into one account and do not say so; whether they are isolated depends on which users belong together",
    mend: "name the tenants: `tenantry audit --suggest-tenants FILE > who.toml`, correct it, then `tenantry audit --tenants who.toml FILE`",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for suspicion in undecided(system, tenants) {
        let message = format!("`{}` seems to have users of several tenants: {}", suspicion.account.name, suspicion.why);
        let mut finding = RULE.warning(suspicion.account.span, message);
        let group_of = |user: &User| {
            let group = suspicion.groups.iter().find(|group| group.users.iter().any(|u| std::ptr::eq(*u, user)));
            group.map_or("", |group| group.name.as_str())
        };
        let crossings = crossings(system, suspicion.account, group_of, 1);
        if let Some(crossing) = crossings.first() {
            let (from, to) = (crossing.from.display_name(), crossing.to.display_name());
            finding = finding.related(crossing.place, format!("if so, `{from}` reaches `{to}`: {}", crossing.what));
        }
        out.push(finding);
    }
}

/// The accounts whose users look like several tenants' and are not assigned.
pub fn undecided<'w>(system: &'w System, tenants: &Tenants) -> Vec<Suspicion<'w>> {
    suspicions(system, |account| !tenants.knows(account))
}
