//! Issues credentials: from a user and the root key to the server's half (a public key
//! or a password hash) and the client's half (a seed or a password). The model says
//! which kind; `keys` derives it.

use std::collections::HashMap;

use crate::diag::Diagnostic;
use crate::keys::{AccountKey, AccountKind, HashCache, Login, RootKey, Secret, UserKey};
use crate::model::names::AccountName;
use crate::model::{BcryptCost, Credential, Model, User};
use crate::registry::codes;

/// Both halves of a user's credential.
pub struct IssuedCredential {
    /// The server's half, in its configuration.
    pub auth: ServerAuth,
    /// The client's half, in the user's credential files.
    pub secret: ClientSecret,
}

/// The clients' halves only, in the order of the users. Hashes no password, and needs
/// no supplied one.
pub fn client_secrets(root: &RootKey, kind: AccountKind, account: &AccountName, users: &[User]) -> Vec<ClientSecret> {
    let key = root.account(kind, account);
    users.iter().map(|user| ClientSecret::derive(&key.user(&user.name), &user.credential)).collect()
}

/// The login of each user of an account, in the order of the users. `None` if the secret
/// is not available: a public key, or a variable that `supplied` does not find.
pub fn logins(
    root: &RootKey,
    kind: AccountKind,
    account: &AccountName,
    users: &[User],
    supplied: impl Fn(&str) -> Option<Secret>,
) -> Vec<Option<Login>> {
    let secrets = client_secrets(root, kind, account, users);
    users.iter().zip(secrets).map(|(user, secret)| secret.into_login(user, &supplied)).collect()
}

impl ClientSecret {
    fn derive(key: &UserKey, credential: &Credential) -> Self {
        match credential {
            Credential::Nkey { generation } => Self::Seed(key.nkey(*generation).seed()),
            Credential::Password { generation } => Self::Password(key.password(*generation)),
            Credential::PasswordFromEnv { variable, .. } => Self::FromEnv(variable.clone()),
            Credential::PublicKey(public) => Self::Own(public.clone()),
        }
    }

    fn into_login(self, user: &User, supplied: impl Fn(&str) -> Option<Secret>) -> Option<Login> {
        let password = |secret| Login::Password(user.name.to_string(), secret);
        match self {
            Self::Seed(seed) => Some(Login::Seed(seed)),
            Self::Password(secret) => Some(password(secret)),
            Self::FromEnv(variable) => supplied(&variable).map(password),
            Self::Own(_) => None,
        }
    }
}

/// How the server authenticates a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAuth {
    /// By a public nkey.
    Nkey(String),
    /// By user name and the bcrypt hash of the password.
    Password(String),
}

/// The secret that the user's client needs.
pub enum ClientSecret {
    /// The seed of the nkey.
    Seed(Secret),
    /// The generated password.
    Password(Secret),
    /// The password is in this environment variable; its value is never written.
    FromEnv(String),
    /// The user holds the seed of this public key; tenantry does not know it.
    Own(String),
}

/// A supplied password from the environment. `None` if the variable is unset or not UTF-8.
pub fn password_from_environment(variable: &str) -> Option<Secret> {
    std::env::var(variable).ok().map(Secret::new)
}

/// Supplied passwords by environment variable.
pub type Supplied = HashMap<String, Secret>;

/// Everything that credentials are issued from.
pub struct Keyring<'k> {
    /// The root key, from which every generated secret is derived.
    pub root: &'k RootKey,
    /// Passwords taken from the environment.
    pub supplied: &'k Supplied,
    /// bcrypt costs of generated and of supplied passwords.
    pub bcrypt: BcryptCost,
    /// bcrypt hashes made before.
    pub hashes: &'k HashCache,
}

impl Keyring<'_> {
    /// The credentials of an account's users, in the order of the users.
    pub fn credentials(&self, kind: AccountKind, account: &AccountName, users: &[User]) -> Vec<IssuedCredential> {
        let key = self.root.account(kind, account);
        users.iter().map(|user| self.credential(&key, user)).collect()
    }

    fn credential(&self, account: &AccountKey, user: &User) -> IssuedCredential {
        let key = account.user(&user.name);
        match &user.credential {
            Credential::Nkey { generation } => {
                let pair = key.nkey(*generation);
                IssuedCredential { auth: ServerAuth::Nkey(pair.public()), secret: ClientSecret::Seed(pair.seed()) }
            }
            Credential::Password { generation } => {
                let password = key.password(*generation);
                let hash = key.bcrypt(&password, *generation, self.bcrypt.derived, self.hashes);
                IssuedCredential { auth: ServerAuth::Password(hash), secret: ClientSecret::Password(password) }
            }
            Credential::PasswordFromEnv { variable, generation } => {
                let login = match self.supplied.get(variable) {
                    Some(password) => key.bcrypt(password, *generation, self.bcrypt.supplied, self.hashes),
                    None => unreachable!("{variable} was looked up before anything was rendered"),
                };
                IssuedCredential {
                    auth: ServerAuth::Password(login),
                    secret: ClientSecret::derive(&key, &user.credential),
                }
            }
            Credential::PublicKey(public) => IssuedCredential {
                auth: ServerAuth::Nkey(public.clone()),
                secret: ClientSecret::derive(&key, &user.credential),
            },
        }
    }
}

/// Longest supplied password, in bytes: bcrypt ignores the rest.
const BCRYPT_LIMIT: usize = 72;
/// Shortest supplied password, in characters: shorter ones can be guessed.
const SHORTEST: usize = 12;

/// Looks up every password that the registry takes from the environment, or reports each
/// one that is missing or unusable.
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
            Diagnostic::error(codes::SUPPLIED_PASSWORD, user.span, message)
                .label("needs it")
                .hint(format!("set it: export {variable}=..., or remove password_env for a generated password"))
        }));
    }
    if problems.is_empty() { Ok(found) } else { Err(problems) }
}
