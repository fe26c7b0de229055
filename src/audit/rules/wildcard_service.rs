//! Wildcard services on which an importer can pose as another.

use std::collections::HashMap;

use super::Rule;
use crate::audit::system::{Account, Export, Import, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::model::ShareKind;
use crate::subject::SubjectIndex;

pub const RULE: Rule = Rule {
    id: "wildcard-service",
    proves: "an importer of a service with a wildcard cannot pose as another tenant",
    why: "Without `account_token_position` every importer chooses the token in the wildcard's place, including another tenant's name",
    mend: "put the importer's name into the subject and set `account_token_position` to its position, or export one subject to each importer; tell who asks by the header `Nats-Request-Info`, because a consumer may deliver a request with any subject",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    let mut importers: HashMap<&str, Vec<(&Account, &Import)>> = HashMap::new();
    for account in &system.accounts {
        for import in account.services() {
            importers.entry(import.from.0.as_str()).or_default().push((account, import));
        }
    }
    for account in &system.accounts {
        overlapping(tenants, account, out);
        let services = account.exports.iter().filter(|e| e.kind == ShareKind::Service && e.token_position == 0);
        for export in services.filter(|e| e.subject.has_wildcard() && e.to.as_ref().is_none_or(|to| to.len() > 1)) {
            let imports = importers.get(account.name.as_str()).into_iter().flatten();
            let own = imports.filter(|(_, i)| export.subject.contains(&i.subject));
            let (wide, named): (Vec<_>, Vec<_>) = own.partition(|(_, i)| i.subject.has_wildcard());
            // If the subject contains the name of one importer, another importer must not be able
            // to use that subject.
            let is_name = |(who, import): &&&(&Account, &Import)| import.subject.tokens().any(|t| t == who.name);
            match (named.iter().find(is_name), wide.first()) {
                (Some((known, import)), Some((other, wide))) if known.name != other.name => {
                    let message = format!("`{}` can ask as `{}` on `{}`", other.name, known.name, import.subject);
                    out.push(RULE.error(wide.span, message).related(export.span, "the service"));
                }
                // In this file nobody asks but on a subject of its own.
                (_, None) if system.operator.is_none() => {}
                _ => {
                    let message = format!("every importer of `{}` may fill in another's name", export.subject);
                    let finding = RULE.warning(export.span, message);
                    out.push(match tenants.are_rendered() {
                        true => finding.hint(
                            "have a [[share]] for each importer, with its name in the subject; and tell who asks by the header \
                             `Nats-Request-Info`, which the server writes",
                        ),
                        false => finding,
                    });
                }
            }
        }
    }
}

/// Reports a wildcard service of one importer that overlaps the service of another: the
/// owner cannot tell their requests apart.
fn overlapping(tenants: &Tenants, account: &Account, out: &mut Vec<Diagnostic>) {
    let services = || account.exports.iter().filter(|e| e.kind == ShareKind::Service);
    let mut index: SubjectIndex<&Export> = SubjectIndex::default();
    services().for_each(|e| index.insert(&e.subject, e));
    for wide in services().filter(|e| e.subject.has_wildcard() && e.token_position == 0) {
        let wide_to: Vec<&str> = wide.to.iter().flatten().map(|(name, _)| name.as_str()).collect();
        let is_anothers = |e: &&&Export| {
            let others = || e.to.iter().flatten().any(|(name, _)| wide_to.iter().any(|w| tenants.are_apart(w, name)));
            e.subject != wide.subject && (e.token_position > 0 || others())
        };
        if let Some(known) = index.overlapping(&wide.subject).into_iter().find(is_anothers) {
            let who = wide_to.first().copied().unwrap_or("every importer");
            let message = format!("`{who}` can ask on `{}` by `{}`, as another", known.subject, wide.subject);
            out.push(RULE.error(wide.span, message).related(known.span, "whose name is in this"));
        }
    }
}
