//! Assignment of accounts and users to tenants. By default each account is a
//! tenant; the file given with `--tenants` can assign otherwise.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::Deserialize;

use super::system::{Account, System, User};
use crate::diag::nearest;
use crate::error::Error;

/// The tenant of each account and user. Accounts without an entry are their own tenant.
#[derive(Debug, Clone, Default)]
pub struct Tenants {
    /// Tenant by account name.
    accounts: HashMap<String, String>,
    /// Tenant by `ACCOUNT/USER`, or by user name alone.
    users: HashMap<String, String>,
}

/// Contents of the file given with `audit --tenants`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tenant: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    accounts: Vec<String>,
    #[serde(default)]
    users: Vec<String>,
}

impl Tenants {
    /// Reads a file of `[[tenant]]` entries.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        let example = "[[tenant]] with name = \"…\", accounts = [\"ACCOUNT\"] and users = [\"ACCOUNT/USER\"]";
        let file: File = toml::from_str(&text)
            .map_err(|e| Error::usage(format!("{}: {}", path.display(), e.to_string().trim_end()), example))?;
        let mut tenants = Self::default();
        for entry in file.tenant {
            if entry.accounts.is_empty() && entry.users.is_empty() {
                let message = format!("{}: `{}` has neither accounts nor users", path.display(), entry.name);
                return Err(Error::usage(message, example));
            }
            let accounts = entry.accounts.into_iter().map(|name| (true, name));
            for (is_account, name) in accounts.chain(entry.users.into_iter().map(|name| (false, name))) {
                let known = if is_account { &mut tenants.accounts } else { &mut tenants.users };
                if let Some(other) = known.insert(name.clone(), entry.name.clone()).filter(|o| *o != entry.name) {
                    let message = format!("{}: `{name}` is of `{other}` and of `{}`", path.display(), entry.name);
                    let hint = "one account may have several tenants' users: name them under `users`, as ACCOUNT/USER";
                    return Err(Error::usage(message, hint));
                }
            }
        }
        Ok(tenants)
    }

    /// Makes each account of `system` a tenant of all its current users, so that they
    /// keep their tenant if another configuration puts them into another account.
    pub fn of_accounts(system: &System) -> Self {
        let users = system.accounts.iter().flat_map(|a| a.users.iter().map(|u| (u.name.clone(), a.name.clone())));
        Self { accounts: HashMap::new(), users: users.collect() }
    }

    /// Fails if an assigned account or user is not in the configuration.
    pub fn refuse_unknown(&self, system: &System) -> Result<(), Error> {
        let accounts = || system.accounts.iter().map(|a| a.name.as_str());
        let users: Vec<String> = system
            .accounts
            .iter()
            .flat_map(|a| a.users.iter().map(move |u| format!("{}/{}", a.name, u.name)))
            .collect();
        let refuse = |what: &str, name: &str, near: Option<&str>| {
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None if what == "user" && system.account(name).is_some() => {
                    "an account belongs under `accounts`".into()
                }
                None if what == "user" => {
                    format!("there are: {}", users.iter().take(12).cloned().collect::<Vec<_>>().join(", "))
                }
                None => format!("there are: {}", accounts().take(12).collect::<Vec<_>>().join(", ")),
            };
            Err(Error::usage(format!("the configuration has no {what} `{name}`"), hint))
        };
        for name in self.accounts.keys() {
            if system.account(name).is_none() {
                return refuse("account", name, nearest(name, accounts()));
            }
        }
        for name in self.users.keys() {
            if !users.contains(name) {
                // A user name without its account.
                let in_account = |user: &&String| user.split_once('/').is_some_and(|(_, user)| user == name);
                let near = users.iter().find(in_account).map(String::as_str);
                return refuse("user", name, near.or_else(|| nearest(name, users.iter().map(String::as_str))));
            }
        }
        Ok(())
    }

    /// Number of tenants with at least one user in a configuration.
    pub fn count(&self, system: &System) -> usize {
        let tenants = system.accounts.iter().filter(|a| !system.is_system(a)).flat_map(|account| {
            let of_account = || self.of_account(&account.name);
            account.users.iter().map(move |user| self.of_user(account, user).unwrap_or_else(of_account))
        });
        tenants.collect::<HashSet<_>>().len()
    }

    /// The tenant assigned to an account. `None`: not assigned.
    pub fn declared(&self, account: &str) -> Option<&str> {
        self.accounts.get(account).map(String::as_str)
    }

    /// The tenant of an account: the assigned one, otherwise the account itself.
    pub fn of_account<'t>(&'t self, account: &'t str) -> &'t str {
        self.accounts.get(account).map_or(account, String::as_str)
    }

    /// Whether two accounts belong to different tenants.
    pub fn are_apart(&self, one: &str, other: &str) -> bool {
        self.of_account(one) != self.of_account(other)
    }

    /// The tenant assigned to a user. `None`: not assigned.
    pub fn of_user(&self, account: &Account, user: &User) -> Option<&str> {
        let by_name = || self.users.get(&user.name);
        self.users.get(&format!("{}/{}", account.name, user.name)).or_else(by_name).map(String::as_str)
    }

    /// Whether no user is assigned individually.
    pub fn says_nothing_of_users(&self) -> bool {
        self.users.is_empty()
    }
}
