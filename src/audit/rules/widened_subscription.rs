//! Subscribe lists that allow more than they say.

use super::Rule;
use crate::audit::crossing::widened;
use crate::audit::system::{Account, Export, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::model::ShareKind;
use crate::subject::Subject;

pub const RULE: Rule = Rule {
    id: "widened-subscription",
    proves: "an allowed `a.*` does not admit `a.>`",
    why: "The server compares a subscription with the list as if it were a subject, so a `*` at the end of a listed subject matches the `>` of a subscription: `a.*` allows `a.>`, and `*` allows everything. An exported request to read a stream, `$JS.API.DIRECT.GET.S.a.*`, lets the importer name `a.>` as what to read",
    mend: "deny the subjects below it: `deny: \"a.*.>\"`; export reads of whole subjects, or of what the importer may read as a whole",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in &system.accounts {
        for export in account.exports.iter().filter(|export| export.kind == ShareKind::Service) {
            read(system, tenants, account, export, out);
        }
    }
    for (account, user) in system.users() {
        let side = &user.permissions.subscribe;
        let Some(span) = side.span.or(user.permissions.span) else { continue };
        for (listed, admitted, queue) in side.widened() {
            let queue = queue.map_or_else(String::new, |queue| format!(" in queue `{queue}`"));
            let message = format!(
                "`{}/{}` may subscribe to `{admitted}`{queue}: the server lets `{listed}` allow it",
                account.name,
                user.display_name()
            );
            let hint = format!("deny what lies below it: `deny: \"{listed}.>\"`");
            out.push(RULE.warning(span, message).related(user.span, "this user").hint(hint));
        }
    }
}

/// Adds that an importer may read more of a stream than its export says. Measured on nats-server 2.15.1.
fn read(system: &System, tenants: &Tenants, account: &Account, export: &Export, out: &mut Vec<Diagnostic>) {
    const READ: &str = "$JS.API.DIRECT.GET.";
    let is_read = |subject: &Subject| {
        let names = subject.as_str().strip_prefix(READ).and_then(|rest| rest.strip_suffix(".*"));
        names.is_some_and(|names| !names.is_empty())
    };
    if !is_read(&export.subject) || account.jetstream.is_none() {
        return;
    }
    for (importer, import) in system.imports_of(account, export).filter(|(_, import)| is_read(&import.subject)) {
        let admitted = widened(import.subject.clone());
        let is_for = |other: &Export, name: &str| {
            other.to.as_ref().is_none_or(|to| to.iter().any(|(account, _)| account == name))
        };
        let is_more = |other: &&Export| {
            other.kind == ShareKind::Service
                && other.subject.overlaps(&admitted)
                && !other.subject.overlaps(&import.subject)
                && !is_for(other, &importer.name)
        };
        let message = format!(
            "`{}` may read `{admitted}` of `{}`: a request may name a `>` where `{}` ends in a `*`",
            importer.name, account.name, export.subject
        );
        let hint = "export one subject for each that is to be read, or end it in `>` if all of them are";
        out.push(match account.exports.iter().find(is_more) {
            Some(other) => RULE.error(export.span, message).related(other.span, "exported to others only").hint(hint),
            None if tenants.are_apart(&importer.name, &account.name) => RULE.error(export.span, message).hint(hint),
            None => RULE.warning(export.span, message).hint(hint),
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::findings;
    use crate::diag::Severity;

    /// Measured on nats-server 2.15.1: A publishes the literal `...$KV.cfg.>` and reads what is exported to B only.
    #[test]
    fn a_read_that_ends_in_a_star_reads_everything_below() {
        let found = |read: &str, more: &str| {
            let text = format!(
                "jetstream {{}}\naccounts {{\n HUB {{ jetstream: enabled, users: [{{ user: h }}], exports: [{{ service: \"{read}\", accounts: [A] }}{more}] }}\n\
                 A {{ users: [{{ user: a }}], imports: [{{ service: {{ account: HUB, subject: \"{read}\" }} }}] }}\nB {{ users: [{{ user: b }}] }} }}"
            );
            let found = findings(&text).into_iter().find(|finding| finding.rule == "widened-subscription");
            found.map(|finding| finding.severity)
        };
        let (keys, of_b) = (
            "$JS.API.DIRECT.GET.KV_cfg.$KV.cfg.*",
            ", { service: \"$JS.API.DIRECT.GET.KV_cfg.$KV.cfg.B.>\", accounts: [B] }",
        );
        assert_eq!(found(keys, ""), Some(Severity::Error));
        assert_eq!(found(keys, of_b), Some(Severity::Error));
        assert_eq!(found(&keys.replace(".*", ".x"), of_b), None, "the control");
        assert_eq!(found("$JS.API.DIRECT.GET.*", ""), None, "a stream's name is no filter");
    }
}
