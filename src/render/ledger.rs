//! The ledger of a bundle: which names it was rendered with, and the generation of each derived credential. A name that
//! is given up without [[retired]] would bring its credentials and streams to whoever gets it next.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::diag::first_few;
use crate::error::Error;
use crate::model::names::UserName;
use crate::model::{Credential, Model, Retired, User};

/// The ledger's path in the bundle.
pub const LEDGER: &str = ".tenantry-ledger";

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
            let users = tenant.users.iter().chain(&tenant.suspended).map(named).collect();
            (tenant.name.to_string(), Account { file: file(tenant), subjects, users })
        });
        let system = Account { users: model.system.users.iter().map(named).collect(), ..Account::default() };
        Self(tenants.chain([(model.system.account.to_string(), system)]).collect())
    }

    /// The ledger of the bundle in a folder. Empty if there is none.
    pub fn read(folder: &Path) -> Self {
        Self::from_text(&fs::read_to_string(folder.join(LEDGER)).unwrap_or_default())
    }

    /// The text of the file, which [`Self::from_text`] parses.
    pub fn to_text(&self) -> String {
        let mut text = HEADER.to_owned();
        for (name, Account { file, subjects, users }) in &self.0 {
            let _ = writeln!(text, "{name}");
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
        }
        text
    }

    /// Parses the text of a ledger. Lines that are none of it are ignored.
    pub fn from_text(text: &str) -> Self {
        let mut ledger = Self::default();
        let mut last: Option<&mut Account> = None;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            match (line.strip_prefix(' ').and_then(|line| line.split_once(' ')), &mut last) {
                (None, _) => last = Some(ledger.0.entry(line.to_owned()).or_default()),
                (Some(("file", file)), Some(account)) => file.clone_into(&mut account.file),
                (Some(("subject", subject)), Some(account)) => {
                    account.subjects.insert(subject.to_owned());
                }
                (Some(("user", user)), Some(account)) => {
                    let (name, generation) = user.split_once(' ').unwrap_or((user, "-"));
                    account.users.insert(name.to_owned(), generation.parse().ok());
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
        let (mut lost, mut lines) = (Vec::new(), String::new());
        for (name, old) in &self.0 {
            let Some(account) = new.0.get(name) else {
                // The account of the system is renamed with a restart, and derives credentials of its own.
                if !old.subjects.is_empty() && !is_retired(name, None) {
                    lost.push(name.clone());
                    let _ = write!(lines, "\n\n[[retired]]\ntenant = \"{name}\"");
                }
                continue;
            };
            if old.file != account.file && (&old.subjects, &old.users) != (&account.subjects, &account.users) {
                return Err(Error::refused(
                    format!(
                        "tenant `{name}` is now in {}, with other users or subjects than it had in {}: another tenant of that name \
                         would get its credentials and its streams",
                        account.file, old.file
                    ),
                    "choose another name; or, if it is the same tenant, move it as it is, render, and change it then",
                ));
            }
            for (user, generation) in &old.users {
                match (generation, account.users.get(user)) {
                    (Some(generation), None) if !is_retired(name, Some(user)) => {
                        lost.push(format!("{name}/{user}"));
                        let _ = write!(lines, "\n\n[[retired]]\ntenant = \"{name}\"\nuser = \"{user}\"");
                        if *generation > 1 {
                            let _ = write!(lines, "\ngeneration = {generation}");
                        }
                    }
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
        if lost.is_empty() {
            return Ok(());
        }
        let (are, they) = if lost.len() == 1 { ("is", "it") } else { ("are", "they") };
        Err(Error::refused(
            format!(
                "{} {are} no longer in the registry and not retired: who gets such a name next would get the credentials \
                 that derive from it, and a tenant's streams",
                first_few(&lost)
            ),
            format!("add to the registry that {they} {are} given up:{lines}"),
        ))
    }
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
}
