//! Imports that open more of the exporter than they name.

use super::Rule;
use crate::audit::reach::{Carried, published};
use crate::audit::system::{Account, Import, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "wider-import",
    proves: "an import exposes no subjects of the exporter beyond those it names",
    why: "If a stream of one subject is imported under a name with wildcards, nats-server subscribes in the exporter's account to the overlap of that name and the importer's subscription, which includes subjects that are not exported",
    mend: "import a single subject under a single subject",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in &system.accounts {
        let is_wider = |i: &&Import| i.opens_its_local_name() && is_heard_by_others(system, tenants, account, i);
        for import in account.imports.iter().filter(is_wider) {
            let message = format!(
                "`{}` hears subjects of `{}` that match `{}`, whatever is exported",
                account.name, import.from.0, import.local
            );
            out.push(RULE.error(import.span, message));
        }
    }
}

/// Whether users of one tenant may hear by it what users of another publish. Where an account has users of several, their
/// lists say.
fn is_heard_by_others(system: &System, tenants: &Tenants, account: &Account, import: &Import) -> bool {
    let Some(exporter) = system.account(&import.from.0) else { return true };
    let are_apart = tenants.are_apart(&account.name, &exporter.name);
    if !are_apart || !tenants.are_mixed(account) && !tenants.are_mixed(exporter) || account.jetstream.is_some() {
        return are_apart;
    }
    let message = Carried::new(account, &import.local);
    let hearing = || account.users.iter().filter(|user| message.received_by(user).is_some());
    let mut speaking = exporter.users.iter().filter(|user| !published(exporter, user, Some(&import.local)).is_empty());
    speaking.any(|from| hearing().any(|to| tenants.of(exporter, from) != tenants.of(account, to)))
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::rules;

    #[test]
    fn one_subject_is_imported_under_one_subject() {
        for (subject, to, is_wider) in [
            ("status", "to: \"a.*\"", true),
            ("status", "to: \">\"", true),
            ("status", "to: \"a.b\"", false),
            ("status", "to: \"a.$1\"", false),
            ("s.*", "to: \"a.*\"", false),
        ] {
            let text = format!(
                "accounts {{ A {{ exports: [{{ stream: \"{subject}\", accounts: [B] }}] }}
                 B {{ imports: [{{ stream: {{ account: A, subject: \"{subject}\" }}, {to} }}] }} }}"
            );
            assert_eq!(rules(&text).contains(&"wider-import"), is_wider, "{text}");
        }
    }
}
