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
#[derive(Clone, Copy)]
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

/// Looks up every password that the registry takes from the environment, or reports each
/// one that is missing or unusable.
pub fn supplied(model: &Model, lookup: impl Fn(&str) -> Option<String>) -> Result<Supplied, Vec<Diagnostic>> {
    let mut found = Supplied::new();
    let mut problems = Vec::new();
    for user in model.system.users.iter().chain(model.tenants.iter().flat_map(|t| &t.users)) {
        let Credential::PasswordFromEnv { variable, .. } = &user.credential else { continue };
        let problem = match lookup(variable).map(Secret::new) {
            None => Some(format!("{variable} is not set")),
            Some(password) => {
                let unusable = password.unusable_as_password();
                if unusable.is_none() {
                    found.insert(variable.clone(), password);
                }
                unusable.map(|why| format!("the password in {variable} {why}"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::tests::model;

    const TWO: &str = "[[tenant]]\nname = \"A\"\n[[tenant.user]]\nname = \"one\"\nauth = \"password\"\npassword_env = \"ONE\"\n\
        [[tenant.user]]\nname = \"two\"\nauth = \"password\"\npassword_env = \"TWO\"\n";

    fn problems(lookup: impl Fn(&str) -> Option<String>) -> Vec<String> {
        let problems = supplied(&model(TWO), lookup).err().unwrap_or_default();
        problems.into_iter().map(|d| d.message).collect()
    }

    #[test]
    fn a_supplied_password_has_12_characters_to_72_bytes_and_no_control_character() {
        let cases = [
            ("x".repeat(11), Some("has fewer than 12 characters")),
            ("x".repeat(12), None),
            ("é".repeat(11), Some("has fewer than 12 characters")),
            ("é".repeat(12), None),
            ("x".repeat(72), None),
            ("x".repeat(73), Some("is longer than 72 bytes")),
            ("é".repeat(36), None),
            ("é".repeat(37), Some("is longer than 72 bytes")),
            (String::new(), Some("has fewer than 12 characters")),
            ("with spaces in it \u{a0}".into(), None),
            ("ends in a line break\n".into(), Some("a line break or control character")),
            ("has a\ttabulator".into(), Some("a line break or control character")),
            ("has a \0 in it......".into(), Some("a line break or control character")),
            ("has a DEL \u{7f}.....".into(), Some("a line break or control character")),
        ];
        for (password, problem) in cases {
            let found = problems(|name| Some(if name == "ONE" { password.clone() } else { "x".repeat(12) }));
            match problem {
                None => assert_eq!(found, [""; 0], "{password:?}"),
                Some(problem) => {
                    assert_eq!(found.len(), 1, "{password:?}");
                    assert!(found[0].contains("the password in ONE") && found[0].contains(problem), "{found:?}");
                }
            }
        }
    }

    #[test]
    fn every_missing_password_is_reported_in_one_run() {
        assert_eq!(problems(|_| None), ["ONE is not set", "TWO is not set"]);
        assert_eq!(problems(|name| (name == "TWO").then(|| "x".repeat(12))), ["ONE is not set"]);
        let found = supplied(&model(TWO), |name| Some(format!("{name}{}", "x".repeat(12)))).unwrap_or_default();
        assert_eq!((found.len(), found["ONE"].expose()), (2, "ONExxxxxxxxxxxx"));
    }

    #[test]
    fn a_login_needs_a_secret_that_is_known_here() {
        let mut tenant = model(TWO).tenants.remove(0);
        tenant.users[1].credential = Credential::PublicKey("U".into());
        tenant.users.extend(tenant.users.clone());
        tenant.users[2].credential = Credential::Nkey { generation: 1 };
        tenant.users[3].credential = Credential::Password { generation: 1 };
        let known = |variable: &str| (variable == "ONE").then(|| Secret::new("given".into()));
        let logins = |lookup: &dyn Fn(&str) -> Option<Secret>| {
            logins(&RootKey::development(), AccountKind::Tenant, &tenant.name, &tenant.users, lookup)
        };
        let with = logins(&known);
        assert!(matches!(&with[0], Some(Login::Password(user, secret)) if user == "one" && secret.expose() == "given"));
        assert!(matches!(&with[1..], [None, Some(Login::Seed(_)), Some(Login::Password(..))]));
        assert!(logins(&|_| None)[0].is_none());
    }

    #[test]
    fn another_generation_is_another_secret_and_both_halves_fit_each_other() {
        let tenant = model(TWO).tenants.remove(0);
        let (root, supplied, hashes) = (RootKey::development(), Supplied::new(), HashCache::default());
        let bcrypt = BcryptCost { derived: 4, supplied: 4 };
        let keyring = Keyring { root: &root, supplied: &supplied, bcrypt, hashes: &hashes };
        let issue = |credential| {
            let user = User { credential, ..tenant.users[0].clone() };
            keyring.credentials(AccountKind::Tenant, &tenant.name, &[user]).remove(0)
        };
        let seed = |generation| match issue(Credential::Nkey { generation }) {
            IssuedCredential { auth: ServerAuth::Nkey(public), secret: ClientSecret::Seed(seed) } => (public, seed),
            _ => panic!("an nkey has a public key and a seed"),
        };
        let ((public, first), (_, again), (other, _)) = (seed(1), seed(1), seed(2));
        assert_eq!(nkeys::KeyPair::from_seed(first.expose()).expect("a seed").public_key(), public);
        assert_eq!(first.expose(), again.expose());
        assert_ne!(public, other);
        match issue(Credential::Password { generation: 1 }) {
            IssuedCredential { auth: ServerAuth::Password(hash), secret: ClientSecret::Password(password) } => {
                assert_eq!(bcrypt::verify(password.expose(), &hash).ok(), Some(true));
                assert_eq!(bcrypt::verify("another password", &hash).ok(), Some(false));
            }
            _ => panic!("a password has a hash"),
        }
    }
}
