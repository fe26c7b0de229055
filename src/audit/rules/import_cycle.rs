//! Cycles of imports.

use std::collections::HashSet;

use super::Rule;
use crate::audit::system::{Account, Import, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::model::ShareKind;
use crate::subject::Subject;

pub const RULE: Rule = Rule {
    id: "import-cycle",
    proves: "imports form no cycle",
    why: "nats-server refuses some cycles and accepts others, depending on the order in which it happens to read the accounts: a file that starts today may fail tomorrow",
    mend: "remove one of the imports",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in &system.accounts {
        let is_circle = |i: &&Import| {
            let from = |subject: &Subject| leads_back(system, account, i, subject, &mut HashSet::new());
            from(&i.subject) || renamed(system, i).is_some_and(|to| from(&to)) || looks_circular(system, account, i)
        };
        if let Some(import) = account.imports.iter().find(is_circle) {
            let message =
                format!("what `{}` imports from `{}` comes from itself in the end", account.name, import.from.0);
            out.push(RULE.error(import.span, message));
        }
    }
}

/// The text of a stream import's other name, where its exporter exports that too: the server looks for
/// circles from there as well, with `$1` taken for a token of its own.
fn renamed(system: &System, import: &Import) -> Option<Subject> {
    let to = Subject::as_the_server_reads(&import.to).filter(|_| import.kind == ShareKind::Stream)?;
    let exports = &system.account(&import.from.0)?.exports;
    exports.iter().any(|e| e.kind == ShareKind::Stream && e.subject.contains(&to)).then_some(to)
}

/// Whether the server may take a service import for a circle. It compares the local name with what the
/// exporter imports, and remembers the accounts that it has looked at in whatever order it has them.
fn looks_circular(system: &System, home: &Account, import: &Import) -> bool {
    if import.kind != ShareKind::Service {
        return false;
    }
    let mut looked_at: HashSet<&str> = HashSet::from([home.name.as_str()]);
    let mut edges: Vec<(&str, &str)> = Vec::new();
    let mut open = vec![(import.from.0.as_str(), import.local.clone())];
    let mut seen = HashSet::new();
    while let Some((name, from)) = open.pop() {
        let Some(account) = system.account(name).filter(|_| seen.insert((name, from.to_string()))) else { continue };
        for next in account.services().filter(|next| next.subject.overlaps(&from)) {
            looked_at.insert(name);
            edges.push((name, &next.from.0));
            let from = if from.contains(&next.local) { next.local.clone() } else { from.clone() };
            open.push((&next.from.0, from));
        }
    }
    edges.iter().any(|(_, to)| looked_at.contains(to))
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

    #[test]
    fn a_stream_under_another_name_is_a_cycle_if_that_name_leads_back() {
        let is_cycle = |exported: &str, to: &str| {
            let text = format!(
                "accounts {{
                   B {{ exports: [{{ stream: \"{exported}\" }}], imports: [{{ stream: {{ account: C, subject: y.> }}, to: x.> }}] }}
                   C {{ exports: [{{ stream: y.> }}], imports: [{{ stream: {{ account: B, subject: C.* }}, to: {to} }}] }} }}"
            );
            rules(&text).contains(&"import-cycle")
        };
        assert!(is_cycle("*.*", "x.$1"));
        assert!(!is_cycle("*.*", "z.$1"), "nothing comes to that name");
        assert!(!is_cycle("C.*", "x.$1"), "nobody exports that name");
    }

    /// Seed 1443048213 of the differential: `-t` takes it, and every other start fails.
    #[test]
    fn a_service_is_a_cycle_if_its_local_name_is_what_the_exporter_imports() {
        assert!(is_cycle(&[
            ("C", "B", "y.x", "y.x"),
            ("B", "A", "\"*.*\"", "\"x.$2.$1\""),
            ("A", "B", "y.x", "y.x.x")
        ]));
        assert!(!is_cycle(&[("C", "B", "y.x", "y.x"), ("B", "A", "\"*.*\"", "\"x.$2.$1\"")]), "nobody leads back");
    }
}
