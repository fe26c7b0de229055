//! Cycles of imports.

use std::collections::HashSet;

use super::Rule;
use crate::audit::system::{Account, Import, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::subject::Subject;

pub const RULE: Rule = Rule {
    id: "import-cycle",
    proves: "nothing goes round in a circle between accounts",
    why: "nats-server refuses some circles and not others, as it happens to read the accounts: what starts today may not start tomorrow",
    mend: "remove one of the imports",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in &system.accounts {
        let circle = account.imports.iter().find(|i| leads_back(system, account, i, &i.subject, &mut HashSet::new()));
        if let Some(import) = circle {
            let message =
                format!("what `{}` imports from `{}` comes from itself in the end", account.name, import.from.0);
            out.push(RULE.error(import.span, message));
        }
    }
}

/// Whether an import leads back to `home`, directly or through imports of other accounts.
fn leads_back<'w>(
    system: &'w System,
    home: &Account,
    import: &'w Import,
    subject: &Subject,
    seen: &mut HashSet<(&'w str, String)>,
) -> bool {
    let Some(source) = system.account(&import.from.0) else { return false };
    if source.name == home.name {
        return true;
    }
    if !seen.insert((&source.name, subject.to_string())) {
        return false;
    }
    let next = source.imports.iter().filter(|i| i.kind == import.kind && i.local.overlaps(subject));
    next.into_iter().any(|i| leads_back(system, home, i, &i.subject, seen))
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::rules;

    /// Accounts A, B and C that each import `services` as (importer, exporter, subject, local name).
    fn is_cycle(services: &[(&str, &str, &str, &str)]) -> bool {
        let account = |name: &str| {
            let import = |(_, from, subject, to): &&(&str, &str, &str, &str)| {
                format!("{{ service: {{ account: {from}, subject: {subject} }}, to: {to} }}")
            };
            let imports: Vec<String> = services.iter().filter(|s| s.0 == name).map(|s| import(&s)).collect();
            format!("{name} {{ exports: [{{ service: >, accounts: [A, B, C] }}], imports: [{}] }}", imports.join(", "))
        };
        let text = format!("accounts {{ {}, {}, {} }}", account("A"), account("B"), account("C"));
        rules(&text).contains(&"import-cycle")
    }

    #[test]
    fn imports_are_a_cycle_if_their_subjects_lead_back_to_the_first_account() {
        assert!(is_cycle(&[("A", "B", "x", "x"), ("B", "A", "x", "x")]));
        assert!(is_cycle(&[("A", "B", "x", "x"), ("B", "C", "y", "x"), ("C", "A", "z", "y")]));
        assert!(!is_cycle(&[("A", "B", "x", "x"), ("B", "A", "y", "y")]), "B forwards no `x`");
        assert!(!is_cycle(&[("A", "B", "x", "x"), ("B", "C", "y", "x"), ("A", "C", "y", "y")]), "C imports nothing");
    }
}
