//! One login for all clients, for several tenants, or for a tenant and for servers.

use std::collections::HashMap;

use super::{Rule, decided_elsewhere};
use crate::audit::system::{Account, ListenerKind, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "one-login",
    proves: "each user has credentials of its own",
    why: "A server with a single name and password, or token, cannot tell its clients apart. A user who has the login of a leaf node, cluster or gateway listener can use that listener, with another account or with every account. A key that signs for two accounts gives its holder both",
    mend: "give accounts users of their own, listeners logins of their own, and each account its own signing keys",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for same in &system.same_logins {
        let (kind, account) = (same.listener, &same.account);
        let owner = system.clients().find(|(_, user)| user.name == same.user).map(|(account, _)| account);
        let Some(owner) = owner.filter(|owner| !system.is_system(owner)) else { continue };
        let message = match kind {
            ListenerKind::Leaf if tenants.are_apart(&owner.name, account) => {
                format!("`{}/{}` logs in as a leaf node of `{account}` as well", owner.name, same.user)
            }
            ListenerKind::Leaf => continue,
            _ => format!("`{}/{}` can join as a server, with every account", owner.name, same.user),
        };
        out.push(RULE.error(same.span, message).hint("give the listener a login of its own").confidential());
    }
    shared_keys(system, tenants, out);
    // With an operator it logs nobody in.
    if let Some(span) = system.shared_login.filter(|_| system.operator.is_none()) {
        out.push(RULE.warning(span, "everybody logs in as the same user, with every right").confidential());
    }
}

/// Reports keys that sign users into several accounts. The key of an account is its owner's; who has a further key
/// nobody knows.
fn shared_keys(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    let mut signed: HashMap<&str, (&Account, bool)> = HashMap::new();
    for account in &system.accounts {
        for (place, key) in account.signers.iter().enumerate() {
            let (first, is_own) = *signed.entry(key).or_insert((account, place == 0));
            if !tenants.are_apart(&first.name, &account.name) {
                continue;
            }
            let message = format!("the key {key} signs users into `{}` and into `{}`", first.name, account.name);
            let is_systems = system.is_system(first) || system.is_system(account);
            let finding = match is_own || place == 0 || is_systems {
                true => RULE.error(account.span, message),
                false => decided_elsewhere::held_by(&message, account.span),
            };
            out.push(finding.related(first.span, "the other account"));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::rules;

    #[test]
    fn a_login_of_a_listener_for_servers_is_no_users() {
        const HASH: &str = "$2a$04$WQ7zVKg4lmLQ6Ef4O1uqxO7M2zXh5xH8pYQk0Zk0y5J9yC6e3vY7K";
        let conf = |listener: &str, password: &str| {
            format!(
                "{listener}\naccounts {{ A {{ users: [{{ user: a, password: {password} }}] }}, B {{ users: [{{ user: b, password: b }}] }} }}"
            )
        };
        let leaf = |password: &str, account: &str| {
            format!(
                "leafnodes {{ listen: \"127.0.0.1:7422\", authorization {{ users: [{{ user: a, password: {password}, account: {account} }}] }} }}"
            )
        };
        let cluster = |user: &str| {
            format!("cluster {{ name: c, listen: \"127.0.0.1:6222\", authorization {{ user: {user}, password: p }} }}")
        };
        for (listener, password, found) in [
            (leaf("p", "B"), "p", true),
            (leaf("p", "A"), "p", false),
            (leaf("other", "B"), "p", false),
            (leaf(&format!("\"{HASH}\""), "B"), "p", false),
            (cluster("a"), "p", true),
            (cluster("r"), "p", false),
        ] {
            let text = conf(&listener, password);
            assert_eq!(rules(&text).contains(&"one-login"), found, "{text}");
        }
    }

    #[test]
    fn a_password_and_its_hash_are_one_login() {
        let hash = bcrypt::hash("p", 4).expect("a hash");
        let text = format!(
            "leafnodes {{ listen: \"127.0.0.1:7422\", authorization {{ user: a, password: p, account: B }} }}
             accounts {{ A {{ users: [{{ user: a, password: \"{hash}\" }}] }}, B {{ users: [{{ user: b, password: b }}] }} }}"
        );
        assert!(rules(&text).contains(&"one-login"));
    }
}
