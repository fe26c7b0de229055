//! A server without users lets everybody in.

use super::Rule;
use crate::audit::system::World;
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "no-authentication",
    proves: "somebody has to prove who they are",
    why: "with no user anywhere, nats-server runs without authentication: anybody is in the account `$G`",
    mend: "give every account a user; keep an `authorization` block",
    check,
};

fn check(world: &World, _: &Tenants, out: &mut Vec<Diagnostic>) {
    if world.shared_login.is_some() || world.is_operator.is_some() {
        return;
    }
    let has_users = |account: &&crate::audit::system::Account| !account.users.is_empty();
    let Some(start) = world.server.start else { return };
    if !world.accounts.iter().any(|a| has_users(&a)) {
        out.push(RULE.error(start, "nobody has to prove who they are: no account has a user"));
        return;
    }
    let alone = world.accounts.iter().all(|a| world.is_system(a));
    if alone && !world.has_authorization {
        let span = world.accounts.first().map_or(start, |a| a.span);
        out.push(
            RULE.error(span, "the system account is the only one: everybody else gets in without credentials")
                .label("the server lets anonymous clients into `$G`, with JetStream and without limits"),
        );
    }
}
