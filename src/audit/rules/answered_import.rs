//! The exporter of a stream chooses the subject to which its importers reply.

use super::{Rule, is_between_tenants};
use crate::audit::system::System;
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::model::ShareKind;

pub const RULE: Rule = Rule {
    id: "answered-import",
    proves: "answering a message of an imported stream stays within the user's own permissions",
    why: "The exporter chooses the reply subject of such a message, and `allow_responses` lets the answer go there past every list, including `deny`",
    mend: "remove `allow_responses` from users of accounts that import streams, and share what needs answers as a service",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in &system.accounts {
        for import in account
            .imports
            .iter()
            .filter(|i| i.kind == ShareKind::Stream && is_between_tenants(system, tenants, account, i))
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
