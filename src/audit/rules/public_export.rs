//! Exports without importers, which every account may import.

use super::Rule;
use crate::audit::system::System;
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "public-export",
    proves: "every export names its importers",
    why: "an export without `accounts`, or with an empty list, can be imported by any account",
    mend: "name the importers: `accounts: [A, B]`",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in &system.accounts {
        for export in account.exports.iter().filter(|e| e.is_public()) {
            let message = format!("any account may import `{}` from `{}`", export.subject, account.name);
            let finding = RULE.error(export.span, message);
            out.push(match (&system.operator, &export.to) {
                (Some(_), _) => finding.label("it needs no activation").hint(format!(
                    "make it private: `nsc edit export --account {} --subject \"{}\" --private`",
                    account.name, export.subject
                )),
                (None, Some(_)) => finding.label("an empty list means everybody"),
                (None, None) => finding.label("no `accounts`"),
            });
        }
    }
}
