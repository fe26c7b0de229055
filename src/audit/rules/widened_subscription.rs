//! Subscribe lists that allow more than they say.

use super::Rule;
use crate::audit::system::System;
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "widened-subscription",
    proves: "an allowed `a.*` does not admit `a.>`",
    why: "The server compares a subscription with the list as if it were a subject, so a `*` at the end of a listed subject matches the `>` of a subscription: `a.*` allows `a.>`, and `*` allows everything",
    mend: "deny the subjects below it: `deny: \"a.*.>\"`",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    for (account, user) in system.users() {
        let side = &user.permissions.subscribe;
        let Some(span) = side.span.or(user.permissions.span) else { continue };
        for (listed, admitted, queue) in side.widened() {
            let queue = queue.map_or_else(String::new, |queue| format!(" in queue `{queue}`"));
            let message = format!(
                "`{}/{}` may subscribe to `{admitted}`{queue}: the server lets `{listed}` allow it",
                account.name,
                user.display_name()
            );
            let hint = format!("deny what lies below it: `deny: \"{listed}.>\"`");
            out.push(RULE.warning(span, message).related(user.span, "this user").hint(hint));
        }
    }
}
