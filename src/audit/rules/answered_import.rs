//! The exporter of a stream chooses the subject to which its importers reply.

use super::{Rule, is_between_tenants};
use crate::audit::crossing::{Share, Taken, is_same_user};
use crate::audit::system::{Account, Import, System, User};
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
        for import in account.imports.iter().filter(|import| import.kind == ShareKind::Stream) {
            let answers = |user: &&User| {
                let permissions = &user.permissions;
                permissions.responses.is_some()
                    && permissions.subscribe.touches(&import.local)
                    && !permissions.publish.is_open()
            };
            if !account.users.iter().any(|user| answers(&user)) {
                continue;
            }
            let answering = match is_between_tenants(system, tenants, account, import) {
                true => account.users.iter().find(answers),
                false => leads_to_others(system, tenants, account, import).filter(answers),
            };
            if let Some((user, responses)) = answering.and_then(|user| Some((user, user.permissions.responses?))) {
                let message =
                    format!("`{}` chooses where `{}/{}` answers its messages", import.from.0, account.name, user.name);
                out.push(RULE.error(responses.span, message).related(import.span, "the messages"));
            }
        }
    }
}

/// A user that answers messages of its own tenant from another account, where a user of another tenant may hear the answer.
fn leads_to_others<'s>(
    system: &'s System,
    tenants: &Tenants,
    importer: &'s Account,
    import: &'s Import,
) -> Option<&'s User> {
    let exporter = system.account(&import.from.0).filter(|_| tenants.are_mixed(importer))?;
    let behind = User::behind_leaf(String::new(), import.span);
    let parties = Share { import, exporter, importer, on_to: None }.parties(system, &behind);
    let hears_of_others = |answering: &User| {
        let hears = |user: &&User| user.permissions.subscribe.hears_anything();
        importer.users.iter().filter(hears).any(|user| tenants.of(importer, user) != tenants.of(importer, answering))
    };
    let is_led = |user: &&User| {
        let asks = |taken: &Taken<'_>| is_same_user(taken.receiver, user) && taken.sender.chooses_replies();
        user.permissions.responses.is_some() && hears_of_others(user) && parties.taken.iter().any(asks)
    };
    importer.users.iter().find(is_led)
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::findings_of_tenants;

    /// Found by comparing with nats-server 2.15.1: the message of one tenant's user elsewhere, with a reply subject that only
    /// the other tenant hears, answered by its own user in the account of both.
    #[test]
    fn a_tenants_own_message_from_elsewhere_leads_its_answer_to_the_other_tenant_of_an_account() {
        let found = |answers: &str, other_hears: &str, is_sent: bool| {
            let sent = if is_sent { "ev.x" } else { "x" };
            let text = format!(
                "accounts {{ C {{ users: [{{ user: c1, permissions {{ publish: \"{sent}\", subscribe: x }} }}], exports: [{{ stream: \"ev.*\", accounts: [A] }}] }}
                 A {{ users: [{{ user: a1, permissions {{ publish: y, subscribe: {{ allow: \"ev.*\", deny: \"> >\" }} {answers} }} }}, {{ user: a2, permissions {{ publish: z, subscribe: {other_hears} }} }}], imports: [{{ stream: {{ account: C, subject: \"ev.*\" }} }}] }} }}"
            );
            let tenants = "[[tenant]]\nname = 'one'\nusers = ['c1', 'a1']\n[[tenant]]\nname = 'two'\nusers = ['a2']\n";
            findings_of_tenants(&text, tenants).iter().any(|f| f.rule == "answered-import")
        };
        let answers = ", allow_responses: true";
        assert!(found(answers, "w", true));
        assert!(!found("", "w", true) && !found(answers, "{ deny: \">\" }", true) && !found(answers, "w", false));
    }
}
