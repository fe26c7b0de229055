//! Users in the account of an auth callout can read every login.

use super::Rule;
use crate::audit::system::{Export, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::subject::Subject;

pub const RULE: Rule = Rule {
    id: "auth-callout",
    proves: "no tenant receives the credentials of others",
    why: "A subscriber in the callout's account receives every login, with the password in clear text unless it is encrypted, and can decide which account a client gets",
    mend: "give the callout an account of its own with its `auth_users` and no others, and an `xkey`",
    check,
};

/// Where the server asks the callout.
const LOGINS: &str = "$SYS.REQ.USER.AUTH";

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    let Some(callout) = &system.callout else { return };
    let Some(account) = system.account(&callout.account) else { return };
    // Its own user, the callout, hears them in any case.
    let shares =
        |export: &Export| Subject::as_the_server_reads(LOGINS).is_some_and(|logins| export.subject.overlaps(&logins));
    let is_heard = account.users.len() > 1 || account.exports.iter().any(shares);
    if !callout.encrypted && !system.is_system(account) && is_heard {
        let message = format!("whoever is in `{}` hears every login, passwords included", callout.account);
        out.push(RULE.error(callout.span, message).related(account.span, "the account"));
    } else if !callout.encrypted {
        let finding = RULE.warning(callout.span, "the logins that are asked for are not encrypted");
        out.push(finding.hint("give the callout an `xkey`"));
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::findings;
    use crate::diag::Severity;

    /// Measured on nats-server 2.15.1: an importer of something else hears no login.
    #[test]
    fn who_else_hears_logins_is_an_error() {
        let is_error = |export: &str, users: &str| {
            let text = format!(
                "accounts {{ AUTH {{ users: [{{ user: cb }}{users}], exports: [{{ stream: \"{export}\", accounts: [T] }}] }}
                 T {{ users: [{{ user: t }}], imports: [{{ stream: {{ account: AUTH, subject: \"{export}\" }} }}] }} }}
                 authorization {{ auth_callout {{ issuer: ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA, account: AUTH, auth_users: [cb] }} }}"
            );
            findings(&text).iter().any(|f| f.rule == "auth-callout" && f.severity == Severity::Error)
        };
        assert!(!is_error("log.>", ""));
        assert!(is_error("log.>", ", { user: other }") && is_error("$SYS.REQ.>", ""));
    }
}
