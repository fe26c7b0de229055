//! Configurations that pass `nats-server -t` but do not start.

use super::Rule;
use crate::audit::system::{Account, Export, Import, ListenerKind, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "fails-at-start",
    proves: "a configuration that passes `nats-server -t` starts",
    why: "`nats-server -t` checks little more than the syntax, and the result of some combinations of exports changes from start to start",
    mend: "if another file includes this one, audit that file; otherwise add what is missing",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    if let Some((name, span)) = system
        .system_account
        .as_ref()
        .filter(|(name, _)| name != "$G" && system.account(name).is_none() && system.operator.is_none())
    {
        out.push(RULE.error(*span, format!("there is no account `{name}` to be the system account")));
    }
    for account in system.accounts.iter().filter(|a| system.is_system(a)) {
        if let Some(jetstream) = &account.jetstream {
            out.push(RULE.error(jetstream.span, "the system account cannot have JetStream"));
        }
    }
    if let Some(operator) = system.operator.as_ref().filter(|operator| operator.beside) {
        out.push(RULE.error(operator.span, "an operator and accounts in the file do not go together"));
    }
    let mqtt = system.server.listener(ListenerKind::Mqtt);
    if let Some(listener) = mqtt.filter(|_| system.server.jetstream.is_none()) {
        out.push(RULE.error(listener.span, "MQTT needs JetStream"));
    }
    if system.server.jetstream.is_none() {
        for (account, jetstream) in system.accounts.iter().filter_map(|a| a.jetstream.as_ref().map(|j| (a, j))) {
            let message = format!("`{}` has JetStream, the server has not: requests find nobody", account.name);
            out.push(RULE.warning(jetstream.span, message));
        }
    }
    for account in &system.accounts {
        account.imports.iter().for_each(|import| unsteady(system, account, import, out));
    }
}

/// Reports an import that several exports match of which some do not allow it: the server asks
/// the one that it happens to find first.
fn unsteady(system: &System, account: &Account, import: &Import, out: &mut Vec<Diagnostic>) {
    let Some(exporter) = system.account(&import.from.0) else { return };
    let offered = || exporter.exports.iter().filter(|e| e.kind == import.kind);
    if offered().any(|e| e.subject == import.subject) {
        return;
    }
    let matching = || offered().filter(|e| e.subject.contains(&import.subject));
    let authorizes = |e: &&Export| e.authorizes(&account.name, &import.subject);
    if let (Some(open), Some(closed)) = (matching().find(authorizes), matching().find(|e| !authorizes(e))) {
        let message = format!(
            "whether `{}` may import `{}` from `{}` changes from start to start: one export allows it and another does not",
            account.name, import.subject, exporter.name
        );
        out.push(
            RULE.error(import.span, message)
                .related(open.span, "allows it")
                .related(closed.span, "does not")
                .hint("export the very subject that is imported"),
        );
    }
}
