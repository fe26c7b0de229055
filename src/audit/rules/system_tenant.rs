//! Tenants in the system account.

use super::Rule;
use crate::audit::system::System;
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "system-tenant",
    proves: "no tenant is in the system account",
    why: "The system account sees the connections of every account and can query and change everything",
    mend: "keep the system account for operators, and give the tenant another one",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in system.accounts.iter().filter(|a| system.is_system(a)) {
        // Everybody who is in no account is in `$G`.
        if account.name == "$G" {
            let span = system.system_account.as_ref().map_or(account.span, |(_, span)| *span);
            out.push(RULE.error(span, "`$G`, in which everybody without an account is, is the system account"));
        }
        let user = account.users.iter().find_map(|u| tenants.of_user(account, u));
        if let Some(tenant) = tenants.declared(&account.name).or(user) {
            let message = format!("`{tenant}` is in `{}`, which is the system account", account.name);
            out.push(RULE.error(account.span, message));
        }
    }
}
