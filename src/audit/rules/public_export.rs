//! Exports without importers, which every account may import.

use super::{Rule, is_between_tenants};
use crate::audit::system::System;
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "public-export",
    proves: "every export names its importers",
    why: "Any account can import an export without `accounts`, or with an empty list. This is an error if an account of another tenant does import it, and a warning otherwise",
    mend: "name the importers: `accounts: [A, B]`",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in &system.accounts {
        for export in account.exports.iter().filter(|e| e.is_public()) {
            let mut imports = system.imports_of(account, export);
            let importer = imports.find(|(other, import)| is_between_tenants(system, tenants, other, import));
            let message = match importer {
                Some((other, _)) => {
                    format!("`{}` imports `{}` from `{}`, as any account may", other.name, export.subject, account.name)
                }
                None => format!(
                    "any account may import `{}` from `{}`; none of another tenant does",
                    export.subject, account.name
                ),
            };
            // Without an import nothing crosses.
            let finding = match importer {
                Some((_, import)) => RULE.error(export.span, message).related(import.span, "imported here"),
                None => RULE.warning(export.span, message),
            };
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

#[cfg(test)]
mod tests {
    use crate::audit::testing::audit_text;
    use crate::diag::Severity;

    #[test]
    fn a_public_export_is_an_error_once_another_account_imports_it() {
        for (imported, expected) in [("a.x", Severity::Error), ("", Severity::Warning)] {
            let import = if imported.is_empty() {
                String::new()
            } else {
                format!("imports: [{{ stream: {{ account: A, subject: {imported} }} }}]")
            };
            let text = format!(
                "accounts {{ A {{ users: [{{ user: a }}], exports: [{{ stream: a.> }}] }}, B {{ users: [{{ user: b }}], {import} }} }}"
            );
            let audit = audit_text(&text).expect("accepted");
            let found: Vec<Severity> =
                audit.findings.iter().filter(|f| f.rule == "public-export").map(|f| f.severity).collect();
            assert_eq!(found, [expected], "{text}");
        }
    }
}
