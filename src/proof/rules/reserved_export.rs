//! Exporting a part of the server to another account.

use super::{Rule, mapped_reserved};
use crate::diag::Diagnostic;
use crate::model::ShareKind;
use crate::proof::reach;
use crate::proof::world::{Account, Export, World};
use crate::subject::Subject;

pub const RULE: Rule = Rule {
    id: "reserved-export",
    proves: "nothing of JetStream, the system or inboxes is offered to others",
    why: "whoever imports `$JS.API.>` manages the exporter's streams; `$SYS`, inboxes and service replies are as good",
    mend: "export the subjects that are meant, one by one",
    check,
};

fn check(world: &World, out: &mut Vec<Diagnostic>) {
    for account in &world.accounts {
        let streams = || account.exports.iter().filter(|e| e.kind == ShareKind::Stream);
        for (mapping, made) in mapped_reserved(account) {
            if let Some(export) = streams().find(|e| made.iter().any(|m| m.overlaps(&e.subject))) {
                let message = format!(
                    "`{}` of `{}` is mapped to `{}`, which is exported",
                    mapping.from, account.name, export.subject
                );
                out.push(RULE.error(mapping.span, message).related(export.span, "exported here"));
            }
        }
        for export in &account.exports {
            // What importers ask for is mapped in the exporter's account.
            let becomes = match export.kind {
                ShareKind::Service => reach::what_becomes(account, &export.subject),
                ShareKind::Stream => vec![export.subject.clone()],
            };
            let Some(subject) = becomes.into_iter().find(Subject::touches_reserved_space) else { continue };
            if is_of_copy(account, export) {
                continue;
            }
            // The server's own way to let each account ask about itself.
            let first = subject.first_token();
            if first == "$SYS" && export.token_position > 0 && world.is_system(account) {
                continue;
            }
            let message = if subject == export.subject {
                format!("`{subject}` is the server's own space in `{}`", account.name)
            } else {
                format!("`{}` is mapped to `{subject}`, the server's own space in `{}`", export.subject, account.name)
            };
            let is_exact = first != "$SYS" && !subject.has_wildcard() && !export.is_public();
            out.push(if is_exact { RULE.warning(export.span, message) } else { RULE.error(export.span, message) });
        }
    }
}

/// Whether it is one of the two that one account needs to copy a stream by a durable
/// consumer: `$JS.API.CONSUMER.RESET.S.C` and `$JS.FC.S.C.>`, both to it alone. Either
/// by itself lets the importer meddle with a consumer that is not made for it.
fn is_of_copy(account: &Account, export: &Export) -> bool {
    let about = |export: &Export| -> Option<(Subject, String)> {
        let text = export.subject.as_str();
        let consumer = text
            .strip_prefix("$JS.API.CONSUMER.RESET.")
            .or_else(|| text.strip_prefix("$JS.FC.")?.strip_suffix(".>"))?;
        let consumer = Subject::as_the_server_reads(consumer)?;
        let Some([(to, _)]) = export.to.as_deref() else { return None };
        (export.kind == ShareKind::Service && !consumer.has_wildcard() && consumer.tokens().count() == 2)
            .then(|| (consumer, to.clone()))
    };
    let Some(own) = about(export) else { return false };
    account.exports.iter().any(|other| other.subject != export.subject && about(other).as_ref() == Some(&own))
}
