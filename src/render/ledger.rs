//! The ledger of a bundle: which names it was rendered with, and the generation of each derived credential. A name that
//! is given up without `[[retired]]` would bring its credentials and streams to whoever gets it next.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::diag::first_few;
use crate::error::Error;
use crate::model::names::UserName;
use crate::model::roles::PROVISIONER;
use crate::model::{Credential, Model, Retired, Root, User};

/// The ledger's path in the bundle.
pub const LEDGER: &str = ".tenantry-ledger";
/// Its copy in the state folder.
const STATE: &str = "ledger";

const HEADER: &str = "# Names that are in use, and generations of credentials. A name is given up with [[retired]].\n";

/// Accounts by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameLedger(BTreeMap<String, Account>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Account {
    /// The file of the registry that declares it.
    file: String,
    subjects: BTreeSet<String>,
    /// The generation of each user's credential. `None`: it is not derived.
    users: BTreeMap<String, Option<u32>>,
    /// Whether it was given up as a whole. Its users are those that it had.
    is_retired: bool,
    /// The last generation of each user that was given up, or whose credential is no longer derived.
    retired: BTreeMap<String, u32>,
    /// Whether the state folder alone knows it, perhaps of another bundle: that names are gone says nothing then.
    is_remembered: bool,
}

impl NameLedger {
    /// The names of a model. `file`: the name of a tenant's file of the registry.
    pub fn of(model: &Model, file: impl Fn(&crate::model::Tenant) -> String) -> Self {
        let generation = |user: &User| match user.credential {
            Credential::Nkey { generation } | Credential::Password { generation } => Some(generation),
            Credential::PasswordFromEnv { .. } | Credential::PublicKey(_) => None,
        };
        let named = |user: &User| (user.name.to_string(), generation(user));
        let tenants = model.tenants.iter().map(|tenant| {
            let subjects = tenant.subjects.iter().map(ToString::to_string).collect();
            let users = tenant.declared_users().map(named).collect();
            (tenant.name.to_string(), Account { file: file(tenant), subjects, users, ..Account::default() })
        });
        let system = Account { users: model.system.users.iter().map(named).collect(), ..Account::default() };
        let mut ledger = Self(tenants.chain([(model.system.account.to_string(), system)]).collect());
        for Retired { tenant, user, generation } in &model.retired {
            let account = ledger.0.entry(tenant.to_string()).or_default();
            match user {
                Some(user) => {
                    account.retired.insert(user.to_string(), *generation);
                }
                None => account.is_retired = true,
            }
        }
        ledger
    }

    /// The same with what an earlier ledger knows of names that were given up: the registry does not say which users a
    /// removed tenant had.
    #[must_use]
    pub fn carrying(&self, old: &Self) -> Self {
        let mut ledger = self.clone();
        for (name, account) in &mut ledger.0 {
            let Some(old) = old.0.get(name) else { continue };
            if account.is_retired {
                account.users.clone_from(&old.users);
                // Those that it had lost before it was removed.
                for (user, last) in &old.retired {
                    account.retired.entry(user.clone()).or_insert(*last);
                }
            }
            let last = |user: &String| old.retired.get(user).copied().max(old.users.get(user).copied().flatten());
            for (user, generation) in &mut account.retired {
                *generation = (*generation).max(last(user).unwrap_or(0));
            }
            // Who has a key of its own now had derived ones before, which stay given up.
            for user in account.users.iter().filter(|(_, now)| now.is_none()).map(|(user, _)| user) {
                if let Some(last) = last(user) {
                    let known = account.retired.entry(user.clone()).or_default();
                    *known = (*known).max(last);
                }
            }
        }
        ledger
    }

    /// The ledger of the bundle in a folder, with what the state folder knows beside it: a folder that is in git may go back.
    /// The secrets of the published root key are none, and branches may change.
    pub fn known(folder: &Path, state: &Path, root: &Root) -> Self {
        let mut ledger = Self::read(folder);
        if *root == Root::Development {
            return ledger;
        }
        let later = Self::from_text(&fs::read_to_string(state.join(STATE)).unwrap_or_default());
        for (name, later) in later.0 {
            if later.is_retired {
                ledger.0.insert(name, later);
                continue;
            }
            let Some(account) = ledger.0.get_mut(&name) else {
                ledger.0.insert(name, Account { is_remembered: true, ..later });
                continue;
            };
            for (user, generation) in later.users {
                let known = account.users.get_mut(&user);
                known.into_iter().for_each(|known| *known = (*known).max(generation));
            }
            for (user, generation) in later.retired {
                account.users.remove(&user);
                let known = account.retired.entry(user).or_default();
                *known = (*known).max(generation);
            }
        }
        ledger
    }

    /// Keeps a copy in the state folder, in which no branch of git is checked out.
    pub fn keep(&self, state: &Path) {
        crate::state::save(&state.join(STATE), self.to_text().as_bytes());
    }

    /// The ledger of the bundle in a folder. Empty if there is none.
    pub fn read(folder: &Path) -> Self {
        Self::from_text(&fs::read_to_string(folder.join(LEDGER)).unwrap_or_default())
    }

    /// The text of the file, which [`Self::from_text`] parses.
    pub fn to_text(&self) -> String {
        let mut text = HEADER.to_owned();
        for (name, Account { file, subjects, users, is_retired, retired, is_remembered: _ }) in &self.0 {
            let _ = writeln!(text, "{name}");
            if *is_retired {
                let _ = writeln!(text, " retired");
            }
            if !file.is_empty() {
                let _ = writeln!(text, " file {file}");
            }
            for subject in subjects {
                let _ = writeln!(text, " subject {subject}");
            }
            for (user, generation) in users {
                let generation = generation.map_or_else(|| "-".to_owned(), |generation| generation.to_string());
                let _ = writeln!(text, " user {user} {generation}");
            }
            for (user, generation) in retired {
                let _ = writeln!(text, " retired-user {user} {generation}");
            }
        }
        text
    }

    /// Parses the text of a ledger. Lines that are none of it are ignored.
    pub fn from_text(text: &str) -> Self {
        let mut ledger = Self::default();
        let mut last: Option<&mut Account> = None;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let option = line.strip_prefix(' ').map(|line| line.split_once(' ').unwrap_or((line, "")));
            match (option, &mut last) {
                (None, _) => last = Some(ledger.0.entry(line.to_owned()).or_default()),
                (Some(("file", file)), Some(account)) => file.clone_into(&mut account.file),
                (Some(("subject", subject)), Some(account)) => {
                    account.subjects.insert(subject.to_owned());
                }
                (Some(("user", user)), Some(account)) => {
                    let (name, generation) = user.split_once(' ').unwrap_or((user, "-"));
                    account.users.insert(name.to_owned(), generation.parse().ok());
                }
                (Some(("retired", _)), Some(account)) => account.is_retired = true,
                (Some(("retired-user", user)), Some(account)) => {
                    let (name, generation) = user.split_once(' ').unwrap_or((user, "1"));
                    account.retired.insert(name.to_owned(), generation.parse().unwrap_or(1));
                }
                _ => {}
            }
        }
        ledger
    }

    /// Refuses a registry that no longer has a name of this ledger and does not retire it, that gives one of its names to
    /// another tenant, or an earlier generation to a credential.
    pub fn refuse_lost_names(&self, new: &Self, retired: &[Retired]) -> Result<(), Error> {
        let is_retired = |tenant: &str, user: Option<&str>| {
            let is_it = |r: &&Retired| r.tenant.as_str() == tenant && r.user.as_ref().map(UserName::as_str) == user;
            retired.iter().any(|r| is_it(&r))
        };
        let mut lost = Lost::default();
        for (name, old) in &self.0 {
            let account = new.0.get(name).filter(|account| !account.is_retired && !account.users.is_empty());
            let is_lost = |user: Option<&str>| !old.is_remembered && !is_retired(name, user);
            if old.is_retired {
                match account {
                    Some(account) => {
                        lost.revived.extend(revived(name, old, account));
                        // Who does not come back with it stays given up.
                        let derived = old.users.iter().filter_map(|(user, last)| Some((user, (*last)?)));
                        let before = derived.chain(old.retired.iter().map(|(user, last)| (user, *last)));
                        let before: BTreeMap<&String, u32> = before.collect();
                        let away = before.into_iter().filter(|(user, _)| {
                            *user != PROVISIONER && !account.users.contains_key(*user) && !is_retired(name, Some(user))
                        });
                        away.for_each(|(user, last)| lost.user(name, user, last));
                    }
                    None if !is_retired(name, None) => lost.tenant(name),
                    None => {}
                }
                continue;
            }
            let Some(account) = account else {
                // The account of the system is renamed with a restart, and derives credentials of its own.
                if !old.subjects.is_empty() && is_lost(None) {
                    lost.tenant(name);
                }
                continue;
            };
            if old.file != account.file
                && !old.is_remembered
                && (&old.subjects, &old.users) != (&account.subjects, &account.users)
            {
                return Err(Error::refused(
                    format!(
                        "tenant `{name}` is now in {}, with other users or subjects than it had in {}: another tenant of that name \
                         would get its credentials and its streams",
                        account.file, old.file
                    ),
                    "choose another name; or, if it is the same tenant, move it as it is, render, and change it then",
                ));
            }
            for (user, last) in &old.retired {
                match account.users.get(user) {
                    Some(Some(now)) if now <= last => lost.revived.push((format!("{name}/{user}"), *last)),
                    None if is_lost(Some(user)) => lost.user(name, user, *last),
                    _ => {}
                }
            }
            // The provisioner that every tenant with JetStream has is not handed to anybody.
            for (user, generation) in old.users.iter().filter(|(user, _)| *user != PROVISIONER) {
                match (generation, account.users.get(user)) {
                    (Some(generation), None) if is_lost(Some(user)) => lost.user(name, user, *generation),
                    (Some(old), Some(Some(now))) if now < old => {
                        return Err(Error::refused(
                            format!(
                                "the generation of `{name}/{user}` went back from {old} to {now}: a secret that was replaced \
                                 would be valid again"
                            ),
                            format!("set `generation = {old}`, or a higher one"),
                        ));
                    }
                    _ => {}
                }
            }
        }
        let Lost { names, lines, revived } = lost;
        if !revived.is_empty() {
            let names = revived.iter().map(|(who, _)| format!("`{who}`"));
            let news: Vec<String> =
                revived.iter().map(|(who, last)| format!("{who}: generation = {}", last + 1)).collect();
            let (were, they) = if revived.len() == 1 { ("was", "it") } else { ("were", "they") };
            return Err(Error::refused(
                format!("{} {were} given up, and old secrets would be valid again", first_few(names)),
                format!(
                    "if {they} {} to come back, with new secrets: {}; if not, {they} and the [[retired]] entry stay as they were",
                    if revived.len() == 1 { "is" } else { "are" },
                    news.join(", ")
                ),
            ));
        }
        if names.is_empty() {
            return Ok(());
        }
        let (are, they) = if names.len() == 1 { ("is", "it") } else { ("are", "they") };
        Err(Error::refused(
            format!(
                "{} {are} no longer in the registry and not retired: who gets such a name next would get the credentials \
                 that derive from it, and a tenant's streams",
                first_few(&names)
            ),
            format!("add to the registry that {they} {are} given up:{lines}"),
        ))
    }
}

/// Names that a registry has lost.
#[derive(Default)]
struct Lost {
    names: Vec<String>,
    /// The entries by which they are given up.
    lines: String,
    /// Users who were given up and are there again, with the last generation of their secret, which they would have again.
    revived: Vec<(String, u32)>,
}

impl Lost {
    fn tenant(&mut self, name: &str) {
        self.names.push(name.to_owned());
        let _ = write!(self.lines, "\n\n[[retired]]\ntenant = \"{name}\"");
    }

    fn user(&mut self, tenant: &str, user: &str, generation: u32) {
        self.names.push(format!("{tenant}/{user}"));
        let _ = write!(self.lines, "\n\n[[retired]]\ntenant = \"{tenant}\"\nuser = \"{user}\"");
        if generation > 1 {
            let _ = write!(self.lines, "\ngeneration = {generation}");
        }
    }
}

/// The users of a tenant that was removed and is declared again, with secrets that they had, and the last generation of each.
fn revived(name: &str, old: &Account, account: &Account) -> Vec<(String, u32)> {
    let users = account.users.iter().filter(|(user, _)| *user != PROVISIONER);
    let revived = users.filter_map(|(user, now)| {
        let last = old.users.get(user).copied().flatten().max(old.retired.get(user).copied()).unwrap_or(0);
        now.is_some_and(|now| now <= last).then(|| (format!("{name}/{user}"), last))
    });
    revived.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::tests::model as model_of;

    const TWO: &str = "[[tenant]]\nname = \"A\"\n[[tenant.user]]\nname = \"app\"\ngeneration = 3\n[[tenant.user]]\nname = \"x\"\n\
        [[tenant]]\nname = \"B\"\n[[tenant.user]]\nname = \"app\"\n";

    fn ledger(text: &str, file: &str) -> NameLedger {
        NameLedger::of(&model_of(text), |_| file.to_owned())
    }

    #[test]
    fn a_ledger_is_parsed_back() {
        let ledger = ledger(TWO, "tenants.d/a b.toml");
        let text = ledger.to_text();
        assert!(text.contains("A\n file tenants.d/a b.toml\n subject A.>\n user app 3\n user x 1\n"), "{text}");
        assert_eq!(NameLedger::from_text(&text), ledger);
        assert_eq!(NameLedger::from_text(""), NameLedger::default());
    }

    #[test]
    fn a_name_is_given_up_by_retiring_it_only() {
        let old = ledger(TWO, "tenants.toml");
        let refused = |text: &str, file: &str| {
            let model = model_of(text);
            let new = NameLedger::of(&model, |_| file.to_owned());
            let error = old.refuse_lost_names(&new, &model.retired).err();
            error.map(|e| format!("{e}; {}", e.hint().unwrap_or_default()))
        };
        assert_eq!(refused(TWO, "tenants.toml"), None);
        assert_eq!(refused(TWO, "tenants.d/all.toml"), None, "moved as it is");
        let user = "[[tenant.user]]\nname = \"x\"\n";
        let without_b = TWO.split("[[tenant]]\nname = \"B\"").next().expect("A");
        for (text, expected) in [
            (TWO.replace(user, ""), "[[retired]]\ntenant = \"A\"\nuser = \"x\""),
            (TWO.replace("name = \"app\"\ngeneration = 3", "name = \"z\""), "user = \"app\"\ngeneration = 3"),
            (without_b.to_owned(), "B is no longer in the registry and not retired"),
            (TWO.replace("generation = 3", "generation = 2"), "went back from 3 to 2"),
        ] {
            let found = refused(&text, "tenants.toml").unwrap_or_default();
            assert!(found.contains(expected), "{found}");
        }
        let retired = format!("{without_b}[[retired]]\ntenant = \"B\"\n");
        assert_eq!(refused(&retired, "tenants.toml"), None);
        let retired = format!("{}[[retired]]\ntenant = \"A\"\nuser = \"x\"\n", TWO.replace(user, ""));
        assert_eq!(refused(&retired, "tenants.toml"), None);
        let taken = TWO.replace("[[tenant.user]]\nname = \"x\"", "[[tenant.user]]\nname = \"y\"");
        assert!(refused(&taken, "tenants.d/other.toml").is_some_and(|e| e.contains("is now in tenants.d/other.toml")));
        let brought = TWO.replace(user, "");
        let old = ledger(
            &TWO.replace(
                "name = \"x\"",
                "name = \"x\"\npublic_key = \"UCNGL4W5QX66CFX6A6DCBVDH5VOHMI7B2UZZU7TXAUQQSI2JPHULCKBR\"",
            ),
            "",
        );
        let model = model_of(&brought);
        assert!(
            old.refuse_lost_names(&NameLedger::of(&model, |_| String::new()), &[]).is_ok(),
            "nothing derives from it"
        );
    }

    #[test]
    fn what_was_given_up_stays_given_up_if_its_entry_vanishes() {
        let with = |text: &str| {
            let model = model_of(text);
            (NameLedger::of(&model, |_| "tenants.toml".to_owned()), model.retired)
        };
        let without_b = TWO.split("[[tenant]]\nname = \"B\"").next().expect("A");
        let retired_b = format!("{without_b}[[retired]]\ntenant = \"B\"\n");
        let retired_x = format!(
            "{}[[retired]]\ntenant = \"A\"\nuser = \"x\"\n",
            TWO.replace("[[tenant.user]]\nname = \"x\"\n", "")
        );
        let old = NameLedger::from_text(&with(&retired_b).0.carrying(&with(TWO).0).to_text());
        let refused = |old: &NameLedger, text: &str| {
            let (new, retired) = with(text);
            let error = old.refuse_lost_names(&new, &retired).err();
            error.map(|e| format!("{e}; {}", e.hint().unwrap_or_default()))
        };
        assert_eq!(refused(&old, &retired_b), None);
        assert!(refused(&old, TWO).is_some_and(|e| e.contains("`B/app` was given up") && e.contains("generation = 2")));
        let renewed = TWO.replace(
            "name = \"B\"\n[[tenant.user]]\nname = \"app\"",
            "name = \"B\"\n[[tenant.user]]\nname = \"app\"\ngeneration = 2",
        );
        assert_eq!(refused(&old, &renewed), None, "with a new secret it may come back");
        // Without one of its users: that one stays given up, and has to be named.
        let other = TWO
            .replace("name = \"B\"\n[[tenant.user]]\nname = \"app\"", "name = \"B\"\n[[tenant.user]]\nname = \"new\"");
        assert!(refused(&old, &other).is_some_and(|e| e.contains("[[retired]]\ntenant = \"B\"\nuser = \"app\"")));
        let named = format!("{other}[[retired]]\ntenant = \"B\"\nuser = \"app\"\n");
        assert_eq!(refused(&old, &named), None);
        // A user that was given up before its tenant was.
        let gone = format!("{retired_b}[[retired]]\ntenant = \"B\"\nuser = \"early\"\ngeneration = 4\n");
        let knows = with(&retired_b).0.carrying(&with(&gone).0.carrying(&with(TWO).0));
        let early = format!("{renewed}[[tenant.user]]\nname = \"early\"\ngeneration = 4\n");
        assert!(
            refused(&knows, &early)
                .is_some_and(|e| e.contains("`B/early` was given up") && e.contains("generation = 5"))
        );
        assert_eq!(refused(&knows, &early.replace("generation = 4", "generation = 5")), None);
        assert!(refused(&old, without_b).is_some_and(|e| e.contains("[[retired]]\ntenant = \"B\"")));
        let old = with(&retired_x).0.carrying(&with(TWO).0);
        assert!(refused(&old, TWO).is_some_and(|e| e.contains("`A/x` was given up")));
        assert!(refused(&old, &retired_x.replace("[[retired]]\ntenant = \"A\"\nuser = \"x\"\n", "")).is_some());
        assert_eq!(refused(&old, &retired_x), None);
    }

    /// A secret that was replaced stays so while its user has a key of its own, goes, and comes back.
    #[test]
    fn generations_are_kept_while_nothing_is_derived() {
        let with = |text: &str| {
            let model = model_of(text);
            (NameLedger::of(&model, |_| "tenants.toml".to_owned()), model.retired)
        };
        let key = "public_key = \"UCNGL4W5QX66CFX6A6DCBVDH5VOHMI7B2UZZU7TXAUQQSI2JPHULCKBR\"\n";
        let own = TWO.replace("generation = 3\n", key);
        let rendered = |text: &str, old: &NameLedger| NameLedger::from_text(&with(text).0.carrying(old).to_text());
        let before = rendered(&own, &with(TWO).0);
        let refused = |old: &NameLedger, text: &str| {
            let (new, retired) = with(text);
            old.refuse_lost_names(&new, &retired).err().map(|e| format!("{e}; {}", e.hint().unwrap_or_default()))
        };
        assert_eq!(refused(&before, &own), None);
        let back = |generation: u32| TWO.replace("generation = 3", &format!("generation = {generation}"));
        for old in [&before, &rendered(&own, &before)] {
            assert!(
                refused(old, &back(3))
                    .is_some_and(|e| e.contains("`A/app` was given up") && e.contains("generation = 4"))
            );
            assert_eq!(refused(old, &back(4)), None);
        }
        let gone = own.replace(&format!("[[tenant.user]]\nname = \"app\"\n{key}"), "");
        assert!(refused(&before, &gone).is_some_and(|e| e.contains("user = \"app\"\ngeneration = 3")));
        let named = format!("{gone}[[retired]]\ntenant = \"A\"\nuser = \"app\"\n");
        let after = rendered(&named, &before);
        assert!(refused(&after, &back(2)).is_some() && refused(&after, &back(4)).is_none());
    }

    #[test]
    fn the_state_folder_knows_what_a_checkout_takes_back() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(LEDGER), ledger(TWO, "tenants.toml").to_text()).expect("written");
        ledger(&TWO.replace("generation = 3", "generation = 4"), "tenants.toml").keep(folder.path());
        let model = model_of(TWO);
        let new = NameLedger::of(&model, |_| "tenants.toml".to_owned());
        let private = Root::Env("KEY".to_owned());
        let error = NameLedger::known(folder.path(), folder.path(), &private).refuse_lost_names(&new, &[]).err();
        assert!(error.is_some_and(|e| e.to_string().contains("went back from 4 to 3")));
        assert!(NameLedger::read(folder.path()).refuse_lost_names(&new, &[]).is_ok(), "the control");
        // The same where the bundle was deleted; that names are gone may be another registry's doing.
        let empty = tempfile::tempdir().expect("a folder");
        let known = NameLedger::known(empty.path(), folder.path(), &private);
        let error = known.refuse_lost_names(&new, &[]).err();
        assert!(error.is_some_and(|e| e.to_string().contains("went back from 4 to 3")));
        assert!(known.refuse_lost_names(&NameLedger::default(), &[]).is_ok());
    }
}
