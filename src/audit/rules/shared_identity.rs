//! Imports and exports that reveal the clients of another tenant.

use super::Rule;
use crate::audit::reach::{Carried, follow, traced};
use crate::audit::system::{Account, Import, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::subject::Subject;

pub const RULE: Rule = Rule {
    id: "shared-identity",
    proves: "neither requests to other accounts nor failed logins reveal who sends them",
    why: "`share: true` sends the requester's address, user and client name to the exporter. Who fails to log in, to any account, is published in `$G`",
    mend: "remove `share`",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    failed_logins(system, tenants, out);
    for account in &system.accounts {
        for (export, latency) in account.exports.iter().filter_map(|e| Some((e, e.latency.as_ref()?))) {
            let is_others =
                |i: &&Import| i.local.overlaps(&export.subject) && tenants.are_apart(&i.from.0, &account.name);
            if let Some(import) = account.services().find(is_others) {
                let message = format!("`{}` learns who in `{}` answers, and from where", account.name, import.from.0);
                out.push(
                    RULE.error(latency.span, message)
                        .hint("measure where the service is, not where it is passed on")
                        .related(import.span, "imported here"),
                );
            }
            let Some(subject) = &latency.subject else { continue };
            let asked_by_others =
                export.to.as_ref().is_none_or(|to| to.iter().any(|(name, _)| tenants.are_apart(name, &account.name)));
            if subject.touches_reserved_space() && asked_by_others {
                let message =
                    format!("who asks `{}` of `{}` has reports written to `{subject}`", export.subject, account.name);
                out.push(RULE.error(latency.span, message).hint("publish latency on a subject of the tenant's own"));
            }
            if let Some(other) = receiver(system, tenants, account, subject) {
                let message = format!(
                    "`{}` learns who asks `{}` of `{}`, from where, and with which headers",
                    other.name, export.subject, account.name
                );
                out.push(RULE.error(latency.span, message).hint("publish latency on a subject that is not shared"));
            }
        }
        traces(system, tenants, account, out);
        let apart = account.imports.iter().filter(|i| tenants.are_apart(&i.from.0, &account.name));
        for (import, span) in apart.filter_map(|i| i.share.map(|span| (i, span))) {
            out.push(
                RULE.warning(
                    span,
                    format!("`{}` learns who in `{}` asks, and from where", import.from.0, account.name),
                ),
            );
        }
    }
}

/// Another tenant that receives what an account publishes on a subject.
fn receiver<'s>(system: &'s System, tenants: &Tenants, account: &'s Account, subject: &Subject) -> Option<&'s Account> {
    let mut receiver = None;
    follow(system, vec![Carried::new(account, subject)], |carried| {
        if receiver.is_none() && tenants.are_apart(&carried.account.name, &account.name) {
            receiver = Some(carried.account);
        }
    });
    receiver
}

/// Adds who hears of failed logins: until a login succeeds, the client is in `$G`, where the server publishes the user
/// name, the client's name and address and, with an operator, the whole user JWT, with which others may log in.
fn failed_logins(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    const GLOBAL: &str = "$G";
    let Some(event) = Subject::as_the_server_reads("$SYS.ACCOUNT.CLIENT.AUTH.ERR") else { return };
    if !system.tenants().any(|other| tenants.are_apart(&other.name, GLOBAL)) {
        return;
    }
    let users = system.account(GLOBAL).into_iter().filter(|account| !system.is_system(account));
    let hears = |account: &Account| {
        let user = account.users.iter().find(|user| Carried::new(account, &event).received_by(user).is_some())?;
        Some((format!("`{GLOBAL}/{}`", user.display_name()), user.span))
    };
    let mut leaves = system.server.leaves_of(GLOBAL);
    let by_leaf = leaves.find(|(_, kept_back)| !kept_back.iter().any(|denied| denied.contains(&event)));
    let by_leaf = by_leaf.map(|(span, _)| (format!("who is behind the leaf node of `{GLOBAL}`"), span));
    if let Some((who, span)) = users.into_iter().find_map(hears).or(by_leaf) {
        let message =
            format!("{who} hears who fails to log in to any account, and from where: such clients are in `{GLOBAL}`");
        out.push(
            RULE.error(span, message)
                .hint("name an account, for users and for leaf nodes; or give users `deny: \"$SYS.>\"` to subscribe to, and remotes `deny_exports: \"$SYS.>\"`"),
        );
    }
}

/// Reports traces of an account's messages that another one receives. The server publishes a trace only
/// for whoever may publish to its subject.
fn traces(system: &System, tenants: &Tenants, account: &Account, out: &mut Vec<Diagnostic>) {
    let Some((subject, span)) = &account.trace else { return };
    if !account.users.iter().any(|user| !traced(account, user, Some(subject)).is_empty()) {
        return;
    }
    if let Some(other) = receiver(system, tenants, account, subject) {
        let message = format!(
            "`{}` learns what `{}` publishes, on which subjects and with which headers",
            other.name, account.name
        );
        out.push(RULE.error(*span, message).hint("trace to a subject that is not shared"));
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::rules;

    /// Measured on nats-server 2.15.1.
    #[test]
    fn who_is_in_no_account_hears_of_failed_logins() {
        let found = |more: &str| {
            let text = format!("accounts {{ A {{ users: [{{ user: a }}] }}, B {{ users: [{{ user: b }}] }} }}\n{more}");
            rules(&text).contains(&"shared-identity")
        };
        let leaf = |account: &str| {
            format!("leafnodes {{ listen: \"127.0.0.1:7422\", authorization {{ user: l, password: p {account} }} }}")
        };
        let user = |lists: &str| format!("authorization {{ users: [{{ user: g {lists} }}] }}");
        assert!(found(&user("")) && found(&leaf("")));
        let dials =
            |more: &str| format!("leafnodes {{ remotes: [{{ url: \"nats-leaf://hub.example:7422\" {more} }}] }}");
        assert!(found(&dials("")) && found(&dials(", deny_exports: \"x.>\"")));
        assert!(!found(&dials(", deny_exports: [\"$SYS.>\"]")) && !found(&dials(", account: A")));
        assert!(!found("") && !found(&leaf(", account: A")));
        assert!(!found(&user(", permissions { subscribe { deny: \"$SYS.>\" } }")));
        assert!(!found(&user(", permissions { publish: x, subscribe: x }")));
        assert!(!rules(&user("")).contains(&"shared-identity"), "there is no other account");
    }
}
