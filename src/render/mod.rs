//! Renders the bundle from the model and the root key. A pure function: no clock, no
//! network, no randomness; the same input gives the same bytes on any machine.
//! [`mod@write`] puts the bundle on disk, [`compare`] compares it with what is there.

pub mod accounts;
pub mod bundle;
pub mod cache;
pub mod compare;
mod context;
pub mod credentials;
pub mod engine;
pub mod forms;
pub mod handout;
pub mod incremental;
pub mod ledger;
mod script;
pub mod write;

use std::borrow::Cow;
use std::collections::HashMap;

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::diag::{Diagnostic, Span};
use crate::error::Error;
use crate::keys::AccountKind;
use crate::model::{Credential, Model, Root, Server, Tenant, User};
use crate::registry::codes;
use bundle::{Bundle, File, Provenance};
use context::{AccountsConf, Compose, Handout, Script, ServerConf, TenantHandout, UserContext};
use credentials::{ClientSecret, IssuedCredential, Keyring, ServerAuth};
use engine::Engine;
use ledger::{LEDGER, NameLedger};

pub use context::ServerPaths;

/// Path in the bundle of the accounts file, which a main configuration file includes.
pub const ACCOUNTS: &str = "nats/accounts.conf";
/// Path in the bundle of the container's main configuration file.
pub const SERVER: &str = "nats/nats-server.conf";
/// Folder in the bundle that holds every secret.
pub const CREDENTIALS: &str = "credentials";
/// Path in the bundle of the handout for developers.
pub const HANDOUT: &str = "RUNNING-NATS.md";
/// Path in the bundle of the script that creates streams without tenantry.
pub const APPLY: &str = "jetstream/apply.sh";
/// Path in the bundle of the compose file.
pub const COMPOSE: &str = "docker-compose.yml";

/// Everything that a bundle is rendered from.
pub struct Inputs<'i> {
    /// The model.
    pub model: &'i Model,
    /// Issues the credentials.
    pub keyring: Keyring<'i>,
    /// The templates.
    pub engine: &'i Engine,
    /// The names that are in use.
    pub ledger: &'i NameLedger,
}

impl Inputs<'_> {
    /// What another rendering over the same bundle has to agree with.
    pub fn provenance(&self) -> Provenance {
        let templates = self.engine.replaced().iter().map(|name| (*name).to_owned()).collect();
        Provenance { root: Some(self.keyring.root.id()), templates }
    }
}

/// One tenant's share of the files that cover all tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<'t> {
    /// Its account block in accounts.conf.
    pub account: Cow<'t, str>,
    /// Its section in the handout.
    pub handout: Cow<'t, str>,
    /// The public nkeys of its users; users with a password have none.
    pub nkeys: Cow<'t, [String]>,
}

/// Files, each with its path in the bundle.
pub type Files = Vec<(String, File)>;

/// A kind of credential file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Environment variables.
    Env,
    /// A context for the `nats` command line.
    Context,
    /// The seed of the nkey.
    Seed,
}

impl FileKind {
    fn label(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::Context => "context",
            Self::Seed => "seed",
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::Context => "context.json",
            Self::Seed => "nk",
        }
    }
}

fn user_files(handed: &ClientSecret) -> Vec<FileKind> {
    match handed {
        ClientSecret::Seed(_) => vec![FileKind::Env, FileKind::Context, FileKind::Seed],
        _ => vec![FileKind::Env, FileKind::Context],
    }
}

fn user_path(account: &str, user: &User, kind: FileKind) -> String {
    format!("{}/{}.{}", credentials_folder(account), user.name, kind.suffix())
}

/// The folder of an account's credentials in the bundle.
pub fn credentials_folder(account: &str) -> String {
    format!("{CREDENTIALS}/{account}")
}

/// Renders the whole bundle. `advance` is called after each tenant.
pub fn render(inputs: &Inputs<'_>, advance: impl Fn() + Sync) -> Result<Bundle, Error> {
    let made = inputs.model.tenants.par_iter().map(|tenant| {
        let made = render_tenant(inputs, tenant);
        advance();
        made
    });
    let (parts, files): (Vec<Part<'_>>, Vec<Files>) = made.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    let mut bundle = render_whole(inputs, &parts)?;
    bundle.files.extend(files.into_iter().flatten());
    Ok(bundle)
}

/// Renders one tenant: its part of the common files, and its credential files.
pub fn render_tenant(inputs: &Inputs<'_>, tenant: &Tenant) -> Result<(Part<'static>, Files), Error> {
    let access = inputs.keyring.credentials(AccountKind::Tenant, &tenant.name, &tenant.users);
    let handout = TenantHandout::new(tenant, &access, inputs.model.root == Root::Development);
    let part = Part {
        account: accounts::tenant(tenant, &access).into(),
        handout: inputs.engine.render("RUNNING-NATS.tenant.md.hbs", &handout)?.into(),
        nkeys: nkeys(&access).into(),
    };
    Ok((part, credential_files(inputs, tenant.name.as_str(), &tenant.users, &access)?))
}

fn nkeys(access: &[IssuedCredential]) -> Vec<String> {
    let public = |a: &IssuedCredential| match &a.auth {
        ServerAuth::Nkey(public) => Some(public.clone()),
        ServerAuth::Password(_) => None,
    };
    access.iter().filter_map(public).collect()
}

fn credential_files(
    inputs: &Inputs<'_>,
    account: &str,
    users: &[User],
    access: &[IssuedCredential],
) -> Result<Files, Error> {
    let mut files = Vec::with_capacity(users.len() * 3);
    for (user, access) in users.iter().zip(access) {
        for kind in user_files(&access.secret) {
            let holder = Holder { account, user, secret: &access.secret };
            let text =
                credential_file(inputs.engine, holder, &inputs.model.server.url, kind, &format!("{}.nk", user.name))?;
            files.push((user_path(account, user, kind), File::secret(text)));
        }
    }
    Ok(files)
}

/// A user with its secret.
#[derive(Clone, Copy)]
pub struct Holder<'h> {
    /// The user's account.
    pub account: &'h str,
    /// The user.
    pub user: &'h User,
    /// Its half of the credential.
    pub secret: &'h ClientSecret,
}

/// Renders one credential file of a user, for clients that reach the server by `url`. `nkey_file` is the path of the seed file
/// that the rendered file refers to.
pub fn credential_file(
    engine: &Engine,
    holder: Holder<'_>,
    url: &str,
    kind: FileKind,
    nkey_file: &str,
) -> Result<String, Error> {
    let Holder { account, user, secret } = holder;
    let context = UserContext::new(account, user, secret, url, nkey_file);
    match kind {
        FileKind::Env => engine.render("credentials/user.env.hbs", &context),
        FileKind::Context => engine.render("credentials/user.context.json.hbs", &context),
        FileKind::Seed => Ok(match secret {
            ClientSecret::Seed(seed) => format!("{}\n", seed.expose()),
            _ => String::new(),
        }),
    }
}

/// Renders the files that cover all tenants, from the tenants' parts.
pub fn render_whole(inputs: &Inputs<'_>, parts: &[Part<'_>]) -> Result<Bundle, Error> {
    let Inputs { model, keyring, engine, ledger } = inputs;
    let access = keyring.credentials(AccountKind::System, &model.system.account, &model.system.users);
    refuse_shared_nkeys(model, &access, parts)?;
    let published = model.root == Root::Development;
    let mut accounts = accounts::system(&model.system, &access);
    let mut handout = engine.render("RUNNING-NATS.tenant.md.hbs", &context::system_rows(model, &access, published))?;
    let mut bundle = Bundle { provenance: inputs.provenance(), ..Bundle::default() };
    bundle.files.extend(credential_files(inputs, model.system.account.as_str(), &model.system.users, &access)?);
    for part in parts {
        accounts.push_str(&part.account);
        handout.push_str(&part.handout);
    }
    let accounts = AccountsConf { system_account: model.system.account.as_str(), accounts };
    let server = ServerConf::new(model, &ServerPaths::container(&model.server));
    let whole = [
        (ACCOUNTS, engine.render("nats/accounts.conf.hbs", &accounts)?),
        (SERVER, engine.render("nats/nats-server.conf.hbs", &server)?),
        (COMPOSE, engine.render("docker-compose.yml.hbs", &Compose::new(model))?),
    ];
    bundle.files.extend(whole.map(|(path, text)| (path.to_owned(), File::public(text))));
    if model.has_streams() {
        let head = engine.render("jetstream/apply.sh.hbs", &Script::new(model))?;
        bundle.files.insert(APPLY.into(), File::public(script::apply(&head, model)));
    }
    let handout = engine.render("RUNNING-NATS.md.hbs", &Handout::new(model, handout))?;
    bundle.files.insert(HANDOUT.into(), File::public(handout));
    bundle.files.insert(LEDGER.into(), File::public(ledger.to_text()));
    if !published {
        // Ignores the credentials even if the repository's own .gitignore does not.
        bundle.files.insert("credentials/.gitignore".into(), File::public("*\n"));
    }
    Ok(bundle)
}

/// Refuses a `public_key` that equals another user's nkey, which may be a derived one:
/// the server would reject the whole configuration.
fn refuse_shared_nkeys(model: &Model, system: &[IssuedCredential], parts: &[Part<'_>]) -> Result<(), Error> {
    let users = || model.system.users.iter().chain(model.tenants.iter().flat_map(|t| &t.users));
    let brought = |user: &User| matches!(user.credential, Credential::PublicKey(_));
    if !users().any(brought) {
        return Ok(());
    }
    let system = nkeys(system);
    let keys = system.iter().chain(parts.iter().flat_map(|p| p.nkeys.iter()));
    let has_key = |user: &&User| matches!(user.credential, Credential::PublicKey(_) | Credential::Nkey { .. });
    let mut owners: HashMap<&str, Vec<&User>> = HashMap::new();
    for (user, key) in users().filter(has_key).zip(keys) {
        owners.entry(key).or_default().push(user);
    }
    let shared = owners.into_iter().filter(|(_, users)| users.len() > 1);
    let diagnostics: Vec<Diagnostic> = shared.map(|(key, users)| shared_nkey(key, &users)).collect();
    if diagnostics.is_empty() { Ok(()) } else { Err(Error::registry(diagnostics)) }
}

fn shared_nkey(key: &str, users: &[&User]) -> Diagnostic {
    let (bringing, others): (Vec<&User>, Vec<&User>) =
        users.iter().partition(|u| matches!(u.credential, Credential::PublicKey(_)));
    let places: Vec<Span> = bringing.iter().chain(&others).map(|u| u.span).collect();
    let diagnostic =
        Diagnostic::error(codes::DUPLICATE_NKEY, places[0], format!("the public key {key} is another user's too"))
            .hint("a user that brings `public_key` needs a key pair of its own: `nk -gen user -pubout`");
    places[1..].iter().fold(diagnostic, |d, place| d.related(*place, "has the same nkey"))
}

/// The main configuration file of a local server; it includes the bundle's accounts file.
pub fn local_server_conf(model: &Model, engine: &Engine, placement: &ServerPaths) -> Result<String, Error> {
    engine.render("nats/nats-server.conf.hbs", &ServerConf::new(model, placement))
}

/// The main configuration file of a throwaway server, which has room for connections of
/// every user at the same time.
pub fn throwaway_conf(model: &Model, engine: &Engine) -> Result<String, Error> {
    let users: usize = model.tenants.iter().map(|t| t.users.len()).sum();
    // Two connections per user, and 1024 for probes that open their own.
    let needed = u32::try_from(users * 2 + 1024).unwrap_or(u32::MAX);
    let server = Server { max_connections: needed.max(model.server.max_connections), ..model.server.clone() };
    let model = Model { server, ..model.clone() };
    local_server_conf(&model, engine, &ServerPaths::throwaway())
}

/// SHA-256 of byte strings, each preceded by its length (eight bytes, big-endian), so
/// that moving a boundary changes the digest.
pub(crate) fn digest_of<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for piece in pieces {
        hasher.update((piece.len() as u64).to_be_bytes());
        hasher.update(piece);
    }
    hasher.finalize().into()
}
