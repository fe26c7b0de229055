//! Account names that are unsafe as folder names or in subjects.

use std::collections::HashMap;

use super::Rule;
use crate::audit::system::System;
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "account-name",
    proves: "an account's data stays in the account's folder",
    why: "The server stores an account's streams in a folder with its name: `../x` is outside the store, and names with dots or blanks break requests about the account",
    mend: "use letters, digits, `_` and `-` only",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    let mut seen: HashMap<String, &str> = HashMap::new();
    for account in system.accounts.iter().filter(|a| !matches!(a.name.as_str(), "$G" | "$SYS")) {
        let name = account.name.as_str();
        let is_plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        if name.contains(['/', '\\']) || name.contains("..") {
            out.push(RULE.error(account.span, format!("the data of `{name}` is kept outside of its own folder")));
        } else if name.contains(['*', '>']) {
            out.push(RULE.error(account.span, format!("`{name}` stands for every name in exports by token position")));
        } else if !is_plain {
            out.push(RULE.warning(account.span, format!("`{name}` is no plain name")));
        }
        if let Some(other) = seen.insert(name.to_lowercase(), name) {
            let message =
                format!("`{name}` and `{other}` differ in letter case only: on some disks they are one folder");
            out.push(RULE.warning(account.span, message));
        }
    }
}
