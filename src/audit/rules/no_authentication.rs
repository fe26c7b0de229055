//! Without users the server accepts every client.

use super::Rule;
use crate::audit::system::System;
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "no-authentication",
    proves: "every client must authenticate",
    why: "If no user is configured anywhere, nats-server runs without authentication and every client is in the account `$G`",
    mend: "configure users in every account, and keep an `authorization` block",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    if system.shared_login.is_some() || system.operator.is_some() {
        return;
    }
    let has_users = |account: &&crate::audit::system::Account| !account.users.is_empty();
    let Some(start) = system.server.start else { return };
    if !system.accounts.iter().any(|a| has_users(&a)) {
        out.push(RULE.error(start, "nobody has to prove who they are: no account has a user"));
        return;
    }
    let alone = system.accounts.iter().all(|a| system.is_system(a));
    if alone && !system.has_authorization {
        let span = system.accounts.first().map_or(start, |a| a.span);
        out.push(
            RULE.error(span, "the system account is the only one: everybody else gets in without credentials")
                .label("the server lets anonymous clients into `$G`, with JetStream and without limits"),
        );
    }
}
