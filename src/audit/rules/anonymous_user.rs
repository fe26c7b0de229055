//! `no_auth_user` logs clients in without credentials.

use super::Rule;
use crate::audit::system::{AuthMethod, System, User};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "anonymous-user",
    proves: "no client logs in without credentials",
    why: "Clients without credentials become the user that `no_auth_user` names, in the server's options or in its websocket or mqtt block",
    mend: "remove `no_auth_user`",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    for listener in system.server.listeners.iter().filter(|d| d.listens) {
        let Some((name, span)) = &listener.no_auth_user else { continue };
        let found = system.users().find(|(_, u)| u.name == *name);
        if let Some((account, _)) = found.filter(|(_, u)| u.may_use(listener.kind) && lets_in(u)) {
            out.push(RULE.error(*span, format!("anybody is `{name}` of `{}`, without credentials", account.name)));
        }
    }
    if let Some((account, span)) = &system.sentinel {
        let message = format!("anybody is a user of `{account}`, without credentials");
        out.push(RULE.error(*span, message).hint("remove `default_sentinel`, or deny it everything"));
    }
    let Some((name, span)) = &system.no_auth_user else { return };
    let account = system.accounts.iter().find(|a| a.users.iter().any(|u| u.name == *name && lets_in(u)));
    if let Some(account) = account {
        out.push(RULE.error(*span, format!("anybody is `{name}` of `{}`, without credentials", account.name)));
    }
}

/// Whether it is of use to be a user without a password: the server still compares a hash.
fn lets_in(user: &User) -> bool {
    !matches!(user.auth, AuthMethod::Hashed(_) | AuthMethod::BrokenHash(_))
}
