//! The exporter of a stream chooses the subject to which its importers reply.

use super::Rule;
use crate::audit::system::System;
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::model::ShareKind;

pub const RULE: Rule = Rule {
    id: "answered-import",
    proves: "nobody's answer to a shared message leaves its own permissions",
    why: "the reply subject of an imported stream's message is the exporter's choice, and `allow_responses` lets an answer go there past every list, deny included",
    mend: "no `allow_responses` for users of accounts that import streams; what wants an answer is shared as a service",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in &system.accounts {
        for import in account
            .imports
            .iter()
            .filter(|i| i.kind == ShareKind::Stream && tenants.are_apart(&i.from.0, &account.name))
        {
            let answers = account.users.iter().find_map(|user| {
                let permissions = &user.permissions;
                let hears = permissions.subscribe.touches(&import.local) && !permissions.publish.is_open();
                permissions.responses.filter(|_| hears).map(|responses| (user, responses))
            });
            if let Some((user, responses)) = answers {
                let message =
                    format!("`{}` chooses where `{}/{}` answers its messages", import.from.0, account.name, user.name);
                out.push(RULE.error(responses.span, message).related(import.span, "the messages"));
            }
        }
    }
}
