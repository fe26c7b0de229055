//! From a user and the root key to what the server is told and what the user
//! is handed. The model says which kind of credential; `keys` makes it.

use std::collections::HashMap;

use crate::diag::Diagnostic;
use crate::keys::{AccountKey, AccountKind, HashCache, RootKey, Secret, UserKey};
use crate::model::names::AccountName;
use crate::model::{BcryptCost, Credential, Model, User};

/// Both halves of a user's credential.
pub struct Access {
    /// What the server is told.
    pub login: Login,
    /// What the user is handed.
    pub handed: Handed,
}

/// The halves that are handed out, for those who need no more: no password is
/// hashed, and none that is supplied has to be known.
pub fn handed(root: &RootKey, kind: AccountKind, account: &AccountName, users: &[User]) -> Vec<Handed> {
    let key = root.account(kind, account);
    users.iter().map(|user| Handed::of(&key.user(&user.name), &user.credential)).collect()
}

impl Handed {
    fn of(key: &UserKey, credential: &Credential) -> Self {
        match credential {
            Credential::Nkey { generation } => Self::Seed(key.nkey(*generation).seed()),
            Credential::Password { generation } => Self::Password(key.password(*generation)),
            Credential::PasswordFromEnv { variable, .. } => Self::FromEnv(variable.clone()),
            Credential::PublicKey(public) => Self::Own(public.clone()),
        }
    }
}

/// What the server is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// A public key.
    Nkey(String),
    /// A password's hash; the user is known by name.
    Password(String),
}

/// What the user is handed.
pub enum Handed {
    /// The seed of the nkey.
    Seed(Secret),
    /// The password.
    Password(Secret),
    /// Nothing: the password came from this variable, whose value is not kept.
    FromEnv(String),
    /// Nothing: the user has the seed of this key.
    Own(String),
}

/// Supplied passwords by variable.
pub type Supplied = HashMap<String, Secret>;

/// What turns users into credentials.
pub struct Keyring<'k> {
    /// Everything derives from it.
    pub root: &'k RootKey,
    /// Passwords that came from outside.
    pub supplied: &'k Supplied,
    /// Costs.
    pub bcrypt: BcryptCost,
    /// Hashes made before.
    pub hashes: &'k HashCache,
}

impl Keyring<'_> {
    /// The credentials of an account's users, in their order.
    pub fn access(&self, kind: AccountKind, account: &AccountName, users: &[User]) -> Vec<Access> {
        let key = self.root.account(kind, account);
        users.iter().map(|user| self.of_user(&key, user)).collect()
    }

    fn of_user(&self, account: &AccountKey, user: &User) -> Access {
        let key = account.user(&user.name);
        match &user.credential {
            Credential::Nkey { generation } => {
                let pair = key.nkey(*generation);
                Access { login: Login::Nkey(pair.public()), handed: Handed::Seed(pair.seed()) }
            }
            Credential::Password { generation } => {
                let password = key.password(*generation);
                let hash = key.bcrypt(&password, *generation, self.bcrypt.derived, self.hashes);
                Access { login: Login::Password(hash), handed: Handed::Password(password) }
            }
            Credential::PasswordFromEnv { variable, generation } => {
                let login = match self.supplied.get(variable) {
                    Some(password) => key.bcrypt(password, *generation, self.bcrypt.supplied, self.hashes),
                    None => unreachable!("{variable} was looked up before anything was rendered"),
                };
                Access { login: Login::Password(login), handed: Handed::of(&key, &user.credential) }
            }
            Credential::PublicKey(public) => {
                Access { login: Login::Nkey(public.clone()), handed: Handed::of(&key, &user.credential) }
            }
        }
    }
}

/// bcrypt looks no further than this many bytes.
const BCRYPT_LIMIT: usize = 72;
/// Shorter ones are guessed.
const SHORTEST: usize = 12;

/// Looks up every password that the registry says is supplied, or says which
/// are missing or unusable.
pub fn supplied(model: &Model, lookup: impl Fn(&str) -> Option<String>) -> Result<Supplied, Vec<Diagnostic>> {
    let mut found = Supplied::new();
    let mut problems = Vec::new();
    for user in model.system.users.iter().chain(model.tenants.iter().flat_map(|t| &t.users)) {
        let Credential::PasswordFromEnv { variable, .. } = &user.credential else { continue };
        let problem = match lookup(variable).map(Secret::new) {
            None => Some(format!("{variable} is not set")),
            Some(p) if p.expose().chars().count() < SHORTEST => {
                Some(format!("the password in {variable} has fewer than {SHORTEST} characters"))
            }
            Some(p) if p.expose().len() > BCRYPT_LIMIT => Some(format!(
                "the password in {variable} is longer than {BCRYPT_LIMIT} bytes, which is all that bcrypt reads"
            )),
            Some(p) if p.expose().chars().any(char::is_control) => {
                Some(format!("the password in {variable} contains a line break or control character"))
            }
            Some(password) => {
                found.insert(variable.clone(), password);
                None
            }
        };
        problems.extend(problem.map(|message| {
            Diagnostic::error("supplied-password", user.span, message)
                .label("needs it")
                .hint(format!("set it: export {variable}=..., or remove password_env for a generated password"))
        }));
    }
    if problems.is_empty() { Ok(found) } else { Err(problems) }
}
