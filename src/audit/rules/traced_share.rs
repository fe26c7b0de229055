//! Message traces that cross accounts.

use super::{Rule, is_between_tenants};
use crate::audit::system::{Account, Import, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "traced-share",
    proves: "message traces end at the account's boundary",
    why: "With `allow_trace`, a trace names the other account's clients and subscriptions",
    mend: "remove `allow_trace`",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in &system.accounts {
        let crosses = |importer: &Account, import: &Import| is_between_tenants(system, tenants, importer, import);
        let exports = account.exports.iter().filter_map(|export| {
            let span = export.allow_trace?;
            let importer = system.imports_of(account, export).find(|(importer, import)| crosses(importer, import));
            Some((span, importer.map(|(importer, _)| importer.name.as_str())))
        });
        let imports = account.imports.iter().filter_map(|import| {
            Some((import.allow_trace?, Some(import.from.0.as_str()).filter(|_| crosses(account, import))))
        });
        for (span, other) in exports.chain(imports) {
            out.push(match other {
                Some(other) => RULE.error(span, format!("a trace of `{other}` shows clients of `{}`", account.name)),
                None => RULE.warning(span, format!("a trace from outside would show clients of `{}`", account.name)),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::findings;
    use crate::diag::Severity;

    /// Measured on nats-server 2.15.1: the trace names the responder's user and queue.
    #[test]
    fn a_trace_that_crosses_is_an_error() {
        let found = |export: &str, imports: &str| {
            let text = format!(
                "accounts {{ A {{ users: [{{ user: a }}], exports: [{{ service: req, accounts: [B] {export} }}] }}\n\
                 B {{ users: [{{ user: b }}] {imports} }} }}"
            );
            findings(&text).iter().find(|f| f.rule == "traced-share").map(|f| f.severity)
        };
        let (trace, import) = (", allow_trace: true", ", imports: [{ service: { account: A, subject: req } }]");
        assert_eq!(found(trace, import), Some(Severity::Error));
        assert_eq!(found(trace, ""), Some(Severity::Warning));
        assert_eq!(found("", import), None);
    }
}
