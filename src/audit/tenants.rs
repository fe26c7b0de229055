//! Assignment of accounts and users to tenants. By default each account is a
//! tenant; the file given with `--tenants` can assign otherwise.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use serde::Deserialize;

use super::system::{Account, System, User};
use crate::diag::nearest;
use crate::error::Error;

/// The tenant of each account and user. Accounts without an entry are their own tenant.
#[derive(Debug, Clone, Default)]
pub struct Tenants {
    /// Whether each account is known to be one tenant, as in a rendered configuration.
    is_each_account: bool,
    /// Whether the configuration is rendered: the registry knows its streams.
    are_rendered: bool,
    /// Tenant by account name.
    accounts: HashMap<String, String>,
    /// Tenant by `ACCOUNT/USER`, or by user name alone.
    users: HashMap<String, String>,
    /// Accounts with users of several tenants, or of another one than their own.
    mixed: HashSet<String>,
    /// Accounts whose users are not in the file, and of which it was not said whose they are.
    signed: HashSet<String>,
}

/// Contents of the file given with `audit --tenants`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantsFile {
    #[serde(default)]
    tenant: Vec<TenantEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantEntry {
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
        let file: TenantsFile = toml::from_str(&text)
            .map_err(|e| Error::usage(format!("{}: {}", path.display(), e.to_string().trim_end()), example))?;
        let mut tenants = Self::default();
        let mut names = HashSet::new();
        for entry in file.tenant {
            if !names.insert(entry.name.clone()) {
                let message = format!("{}: two tenants are called `{}`", path.display(), entry.name);
                return Err(Error::usage(message, "put the accounts and users of a tenant into one [[tenant]]"));
            }
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

    /// The tenants of a rendered configuration: each account is one, and nobody has to guess.
    pub fn each_account() -> Self {
        Self { is_each_account: true, are_rendered: true, ..Self::default() }
    }

    /// Whether the configuration is rendered: the registry knows its streams.
    pub fn are_rendered(&self) -> bool {
        self.are_rendered
    }

    /// Makes each account of a rendered `system` a tenant of all its current users, so that
    /// they keep their tenant if a mutant puts them into another account.
    pub fn of_accounts(system: &System) -> Self {
        let users = system.tenants().flat_map(Account::members);
        let users = users.map(|(a, u)| (u.name.clone(), a.name.clone())).collect();
        Self { are_rendered: true, users, ..Self::default() }
    }

    /// The same, with what the users of a system say of their accounts: one whose users are all of one tenant is that
    /// one's.
    pub fn resolved(mut self, system: &System) -> Self {
        for account in &system.accounts {
            if account.scopes.is_some() && self.declared(&account.name).is_none() {
                self.signed.insert(account.name.clone());
            }
            let owners: HashSet<&str> = account.users.iter().map(|user| self.of(account, user)).collect();
            let declared = self.declared(&account.name);
            let mut owners = owners.into_iter();
            match (owners.next(), owners.next()) {
                (Some(owner), None) if declared.is_none_or(|declared| declared == owner) => {
                    if owner != account.name {
                        let owner = owner.to_owned();
                        self.accounts.insert(account.name.clone(), owner);
                    }
                }
                (Some(_), _) => {
                    self.mixed.insert(account.name.clone());
                }
                (None, _) => {}
            }
        }
        self
    }

    /// Fails if an assigned account or user is not in the configuration.
    pub fn refuse_unknown(&self, system: &System) -> Result<(), Error> {
        let accounts = || system.accounts.iter().map(|a| a.name.as_str());
        let users: Vec<String> = system.users().map(|(a, u)| format!("{}/{}", a.name, u.name)).collect();
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
        self.refuse_ambiguous(system)?;
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

    /// Fails if a tenant has the name of an account of which it is not said whose the other users are: they would be its
    /// own without a word.
    fn refuse_ambiguous(&self, system: &System) -> Result<(), Error> {
        let names: BTreeSet<&String> = self.accounts.values().chain(self.users.values()).collect();
        for name in names.into_iter().filter(|name| !self.accounts.contains_key(*name)) {
            let Some(account) = system.account(name) else { continue };
            let other = account.users.iter().find(|user| self.of_user(account, user).is_none());
            if other.is_none() && !account.users.is_empty() {
                continue;
            }
            let whose = other
                .map_or_else(String::new, |user| format!(", with `{}/{}` of no tenant", name, user.display_name()));
            return Err(Error::usage(
                format!("`{name}` is a tenant, and an account that is nobody's{whose}"),
                format!(
                    "if it is this tenant's: accounts = [\"{name}\"]; if not, call the tenant otherwise, or name the users"
                ),
            ));
        }
        Ok(())
    }

    /// Number of tenants with at least one user in a configuration.
    pub fn count(&self, system: &System) -> usize {
        let tenants = system.tenants().flat_map(Account::members).map(|(account, user)| self.of(account, user));
        tenants.collect::<HashSet<_>>().len()
    }

    /// Whether any account or user is assigned to a tenant of this name.
    pub fn assigns_to(&self, tenant: &str) -> bool {
        self.accounts.values().chain(self.users.values()).any(|name| name == tenant)
    }

    /// The tenant assigned to an account. `None`: not assigned.
    pub fn declared(&self, account: &str) -> Option<&str> {
        self.accounts.get(account).map(String::as_str)
    }

    /// The tenant of an account: the assigned one, otherwise the account itself.
    pub fn of_account<'t>(&'t self, account: &'t str) -> &'t str {
        self.accounts.get(account).map_or(account, String::as_str)
    }

    /// Whether two accounts belong to different tenants, or one of them to several.
    pub fn are_apart(&self, one: &str, other: &str) -> bool {
        let is_mixed = || [one, other].iter().any(|name| self.mixed.contains(*name));
        one != other && (is_mixed() || self.of_account(one) != self.of_account(other))
    }

    /// Whether users of several tenants are in the account, or of another one than its own.
    pub fn are_mixed(&self, account: &Account) -> bool {
        self.mixed.contains(&account.name)
    }

    /// The tenant whose an account is. `None`: its users are several tenants', and it was not said.
    pub fn owner<'t>(&'t self, account: &'t Account) -> Option<&'t str> {
        if self.are_mixed(account) { self.declared(&account.name) } else { Some(self.of_account(&account.name)) }
    }

    /// The tenant assigned to a user. `None`: not assigned.
    pub fn of_user(&self, account: &Account, user: &User) -> Option<&str> {
        let by_name = || self.users.get(&user.name);
        self.users.get(&format!("{}/{}", account.name, user.name)).or_else(by_name).map(String::as_str)
    }

    /// The tenant of a user: the assigned one, otherwise its account's.
    pub fn of<'t>(&'t self, account: &'t Account, user: &User) -> &'t str {
        self.of_user(account, user).unwrap_or_else(|| self.of_account(&account.name))
    }

    /// Whether users of several tenants are in the account.
    pub fn share(&self, account: &Account) -> bool {
        let mut owners = account.users.iter().map(|user| self.of(account, user));
        owners.next().is_some_and(|first| owners.any(|other| other != first))
    }

    /// Whether any user of the account is assigned individually.
    fn assigns_users_of(&self, account: &Account) -> bool {
        account.users.iter().any(|user| self.of_user(account, user).is_some())
    }

    /// Whether it was said whose the users of the account are.
    pub fn knows(&self, account: &Account) -> bool {
        let is_said = self.accounts.contains_key(&account.name) || self.assigns_users_of(account);
        self.is_each_account || is_said && !self.signed.contains(&account.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::system;

    const CONF: &str = "accounts {
        A { users: [{ user: a1, password: x }, { user: a2, password: x }] }
        B { users: [{ user: b, password: x }] }
        C {}
        S { users: [{ user: s, password: x }] }
    }
    system_account: S";

    fn read(text: &str) -> Result<Tenants, Error> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        Tenants::read(file.path())
    }

    fn tenants(text: &str) -> Tenants {
        read(text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    fn hint(error: &Error) -> &str {
        if let Error::Usage { hint, .. } = error { hint } else { "" }
    }

    #[test]
    fn accounts_are_apart_unless_they_are_assigned_to_one_tenant() {
        let default = Tenants::default();
        assert!(default.are_apart("A", "B") && !default.are_apart("A", "A"));
        let assigned =
            tenants("[[tenant]]\nname = 'one'\naccounts = ['A', 'B']\n[[tenant]]\nname = 'C'\naccounts = ['D']");
        for (one, other, apart) in [("A", "B", false), ("A", "C", true), ("C", "D", false), ("D", "E", true)] {
            assert_eq!(assigned.are_apart(one, other), apart, "{one} {other}");
            assert_eq!(assigned.are_apart(other, one), apart, "{other} {one}");
        }
        assert_eq!((assigned.declared("A"), assigned.of_account("A")), (Some("one"), "one"));
        assert_eq!((assigned.declared("E"), assigned.of_account("E")), (None, "E"));
    }

    #[test]
    fn the_users_of_an_account_say_whose_it_is() {
        let are_apart = |entries: &str| tenants(entries).resolved(&system(CONF)).are_apart("A", "B");
        let one = "[[tenant]]\nname = 'one'\n";
        assert!(!are_apart(&format!("{one}users = ['A/a1', 'A/a2', 'B/b']")), "all are of one tenant");
        assert!(!are_apart(&format!("{one}users = ['A/a1', 'A/a2']\naccounts = ['B']")), "the same");
        let two = "[[tenant]]\nname = 'two'\nusers = ['A/a2']";
        assert!(are_apart(&format!("{one}accounts = ['A', 'B']\n{two}")), "one of its users is of another tenant");
        assert!(are_apart(&format!("{one}users = ['A/a1']\naccounts = ['B']\n{two}")), "they are of two");
    }

    #[test]
    fn a_tenant_with_an_accounts_name_does_not_take_its_other_users_in() {
        let system = system(CONF);
        let refused = |entries: &str| tenants(entries).refuse_unknown(&system).err().map(|error| error.to_string());
        let one = "[[tenant]]\nname = 'A'\n";
        let message = refused(&format!("{one}users = ['A/a1']")).unwrap_or_default();
        assert_eq!(message, "`A` is a tenant, and an account that is nobody's, with `A/a2` of no tenant");
        assert!(refused(&format!("{one}users = ['B/b']")).is_some_and(|m| m.contains("`A/a1`")));
        assert!(refused("[[tenant]]\nname = 'C'\nusers = ['B/b']").is_some_and(|m| m.ends_with("nobody's")));
        for entries in [
            format!("{one}accounts = ['A']"),
            format!("{one}users = ['A/a1', 'A/a2']"),
            format!("{one}users = ['A/a1']\n[[tenant]]\nname = 'D'\nusers = ['A/a2']"),
            "[[tenant]]\nname = 'D'\nusers = ['A/a2']".to_owned(),
        ] {
            assert_eq!(refused(&entries), None, "{entries}");
        }
    }

    #[test]
    fn a_user_with_its_account_comes_before_the_user_name_alone() {
        let system = system(CONF);
        let assigned =
            tenants("[[tenant]]\nname = 'one'\nusers = ['A/a1', 'b']\n[[tenant]]\nname = 'two'\nusers = ['a1', 'a2']");
        let found: Vec<_> = system
            .accounts
            .iter()
            .flat_map(|a| a.users.iter().map(|u| (u.name.as_str(), assigned.of_user(a, u))))
            .collect();
        assert_eq!(found, [("a1", Some("one")), ("a2", Some("two")), ("b", Some("one")), ("s", None)]);
    }

    #[test]
    fn an_assignment_that_cannot_be_meant_is_refused() {
        const ONE: &str = "[[tenant]]\nname = 'one'\n";
        const TWO: &str = "[[tenant]]\nname = 'two'\n";
        for (text, message) in [
            (ONE.to_owned(), "`one` has neither accounts nor users"),
            (format!("{ONE}accounts = ['A']\n{TWO}accounts = ['A']"), "`A` is of `one` and of `two`"),
            (format!("{ONE}users = ['A/a']\n{TWO}users = ['A/a']"), "`A/a` is of `one` and of `two`"),
            (format!("{ONE}accounts = ['A']\n{ONE}accounts = ['B']"), "two tenants are called `one`"),
            (format!("{ONE}acounts = ['A']"), "unknown field `acounts`"),
            ("[[tenant]]\naccounts = ['A']".to_owned(), "missing field `name`"),
        ] {
            let error = read(&text).expect_err(&text).to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
        for accepted in [format!("{ONE}accounts = ['A', 'A']"), format!("{ONE}accounts = ['A']\n{TWO}users = ['A/a']")]
        {
            assert!(read(&accepted).is_ok(), "{accepted}");
        }
    }

    #[test]
    fn a_name_that_the_configuration_lacks_is_refused_with_the_nearest_one() {
        let system = system(&CONF.replace(" A {", " ALPHA {"));
        for (list, hint_part) in [
            ("accounts = ['ALPA']", "did you mean `ALPHA`?"),
            ("accounts = ['zzzzzz']", "there are: ALPHA, B, C, S"),
            ("users = ['a1']", "did you mean `ALPHA/a1`?"),
            ("users = ['ALPHA/a11']", "did you mean `ALPHA/a1`?"),
            ("users = ['B']", "an account belongs under `accounts`"),
            ("users = ['zzzzzz']", "there are: ALPHA/a1, ALPHA/a2, B/b, S/s"),
        ] {
            let assigned = tenants(&format!("[[tenant]]\nname = 'one'\n{list}"));
            let error = assigned.refuse_unknown(&system).expect_err(list);
            assert_eq!(hint(&error), hint_part, "{list}");
        }
        let known = tenants("[[tenant]]\nname = 'one'\naccounts = ['ALPHA', 'C']\nusers = ['B/b']");
        assert!(known.refuse_unknown(&system).is_ok());
    }

    #[test]
    fn tenants_are_counted_by_their_users_without_the_system_account() {
        let system = system(CONF);
        for (text, count) in [
            ("[[tenant]]\nname = 'one'\naccounts = ['C']", 2),
            ("[[tenant]]\nname = 'one'\naccounts = ['A', 'B']", 1),
            ("[[tenant]]\nname = 'one'\nusers = ['A/a1']", 3),
            ("[[tenant]]\nname = 'B'\nusers = ['A/a1']", 2),
        ] {
            assert_eq!(tenants(text).count(&system), count, "{text}");
        }
        assert_eq!(Tenants::default().count(&system), 2);
    }

    #[test]
    fn users_keep_the_tenant_of_their_account_when_they_move_to_another_one() {
        let before = Tenants::of_accounts(&system(CONF));
        let after = system(
            "accounts { M { users: [{ user: a1, password: x }, { user: b, password: x }, { user: new, password: x }] } }",
        );
        let found: Vec<_> = after.accounts[0].users.iter().map(|u| before.of_user(&after.accounts[0], u)).collect();
        assert_eq!(found, [Some("A"), Some("B"), None]);
        assert!(before.share(&after.accounts[0]));
        assert!(!system(CONF).accounts.iter().any(|account| before.share(account)));
        assert!(before.knows(&after.accounts[0]) && !Tenants::default().knows(&after.accounts[0]));
    }
}
