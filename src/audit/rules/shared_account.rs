//! Tenants that share an account: subject permissions do not isolate them.

use std::collections::{HashMap, HashSet};

use super::{Rule, is_wild, own_tokens};
use crate::audit::system::{Account, System, User};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "shared-account",
    proves: "tenants that are set apart have an account each",
    why: "inside one account a reply subject is never checked, and JetStream follows it: whoever may ask for a message can have it written to any subject of the account",
    mend: "give each its own account",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in system.tenants() {
        if !tenants.says_nothing_of_users() {
            declared(tenants, account, out);
            continue;
        }
        let groups = groups(account);
        let [first, second, ..] = groups.as_slice() else { continue };
        let names = format!("`{}` and `{}`", first.name, second.name);
        let diagnostic = match account.jetstream {
            Some(_) => RULE.error(
                account.span,
                format!("{names} are set apart by subjects, in one account with JetStream: they reach each other"),
            ),
            None => RULE.warning(
                account.span,
                format!(
                    "{names} are set apart by subjects in one account: it holds as long as nobody answers requests"
                ),
            ),
        };
        out.push(diagnostic.related(first.span, "its own subjects").related(second.span, "its own subjects"));
    }
}

/// Reports users of different tenants in one account, from the assignment of `--tenants`.
fn declared(tenants: &Tenants, account: &Account, out: &mut Vec<Diagnostic>) {
    let whose = |user: &User| {
        let tenant = tenants.of_user(account, user).unwrap_or_else(|| tenants.of_account(&account.name));
        tenant.to_owned()
    };
    let Some(first) = account.users.first() else { return };
    let Some(second) = account.users.iter().find(|u| whose(u) != whose(first)) else { return };
    let names = format!("`{}` of `{}` and `{}` of `{}`", first.name, whose(first), second.name, whose(second));
    let reads_inboxes =
        |u: &User| u.permissions.subscribe.allow.iter().flatten().any(|p| p.subject.first_token() == "_INBOX");
    let limited = account.users.iter().all(|u| own_world(u).is_some() && !reads_inboxes(u));
    let diagnostic = if account.jetstream.is_some() {
        RULE.error(account.span, format!("{names} are in one account with JetStream: they reach each other"))
    } else if !limited || groups(account).len() < 2 {
        RULE.error(account.span, format!("{names} are in one account, and their lists do not keep them apart"))
    } else {
        RULE.warning(account.span, format!("{names} are in one account: it holds as long as nobody answers requests"))
    };
    out.push(diagnostic.related(first.span, "one tenant's").related(second.span, "another's"));
}

/// Partitions the users with [`own_world`] into groups connected by common first tokens.
/// Returns the first user of each group.
fn groups(account: &Account) -> Vec<&User> {
    let mut tokens: HashMap<&str, usize> = HashMap::new();
    let mut parents: Vec<usize> = Vec::new();
    let mut members: Vec<(&User, usize)> = Vec::new();
    for user in &account.users {
        let Some(own) = own_world(user) else { continue };
        let group = parents.len();
        parents.push(group);
        for token in own {
            let known = *tokens.entry(token).or_insert(group);
            let (a, b) = (root(&parents, known), root(&parents, group));
            parents[b.max(a)] = a.min(b);
        }
        members.push((user, group));
    }
    let mut seen = std::collections::HashSet::new();
    members.into_iter().filter(|(_, group)| seen.insert(root(&parents, *group))).map(|(user, _)| user).collect()
}

fn root(parents: &[usize], mut node: usize) -> usize {
    while parents[node] != node {
        node = parents[node];
    }
    node
}

/// First tokens of the allowed subjects of a user that is limited to the same first
/// tokens for publish and subscribe. `None`: not limited so.
fn own_world(user: &User) -> Option<HashSet<&str>> {
    let publish = own_tokens(user.permissions.publish.allow.iter().flatten());
    let subscribe = own_tokens(user.permissions.subscribe.allow.iter().flatten());
    (publish == subscribe && !publish.is_empty() && !is_wild(&publish)).then_some(publish)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::system;

    /// Names of the first user of each group; users publish and subscribe to one list each.
    fn first_of_groups(lists: &[(&str, &str)]) -> Vec<String> {
        let user = |(i, (publish, subscribe)): (usize, &(&str, &str))| {
            format!("{{ user: u{i}, permissions {{ publish: [{publish}], subscribe: [{subscribe}] }} }}")
        };
        let users: Vec<String> = lists.iter().enumerate().map(user).collect();
        let system = system(&format!("accounts {{ A {{ users: [{}] }} }}", users.join(", ")));
        groups(&system.accounts[0]).iter().map(|user| user.name.clone()).collect()
    }

    #[test]
    fn users_are_grouped_by_the_first_tokens_that_they_share() {
        for (lists, groups) in [
            (&[("a.>", "a.>"), ("b.>", "b.>")][..], &["u0", "u1"][..]),
            (&[("a.>", "a.>"), ("a.x", "a.y")], &["u0"]),
            (&[("a.>", "a.>"), ("b.>", "b.>"), ("a, b", "a, b")], &["u0"]),
            (&[("a, b", "a, b"), ("b, c", "b, c"), ("c", "c"), ("d", "d")], &["u0", "u3"]),
            (&[("a.>", "a.>"), ("b.>", "c.>")], &["u0"]),
            (&[("a.>", "a.>"), (">", ">")], &["u0"]),
            (&[("a.>", "a.>, _INBOX.>"), ("b.>", "b.>, _INBOX.>")], &["u0", "u1"]),
        ] {
            assert_eq!(first_of_groups(lists), groups, "{lists:?}");
        }
    }
}
