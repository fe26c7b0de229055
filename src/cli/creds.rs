//! `tenantry creds`.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;

use super::{Context, no_such_user, split_user};
use crate::error::{Error, Exit};
use crate::keys::{AccountKind, RootKey};
use crate::model::names::AccountName;
use crate::model::{Model, User};
use crate::registry;
use crate::render::credentials::{ClientSecret, client_secrets, password_from_environment};
use crate::render::engine::Engine;
use crate::render::forms::Variables;
use crate::render::{self, FileKind, Holder};

/// Print what a developer needs to connect.
///
/// It goes to standard output and nowhere else; the files under
/// infra/credentials/ hold the same.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tenantry creds TENANT_A/app > app.env
  tenantry creds TENANT_A/app --as k8s --url k8s | kubectl apply -f -
  tenantry creds TENANT_A/app --as vault | vault kv put secret/nats/app -
  tenantry creds TENANT_A/app --as context > ~/.config/nats/context/app.json")]
pub struct Args {
    /// TENANT/USER, or TENANT for all of its users. The system account counts as one.
    #[arg(value_name = "TENANT[/USER]")]
    who: String,
    /// In which form.
    #[arg(long = "as", value_enum, default_value = "env", value_name = "FORM")]
    form: Form,
    /// The URL that clients use: a URL, or a name in the registry's `[server] urls`.
    #[arg(long, value_name = "URL|NAME")]
    url: Option<String>,
    /// Use the templates of this folder.
    #[arg(long, value_name = "DIR")]
    templates: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Environment variables, to load into a shell.
    Env,
    /// A .env file, for libraries that read one and for compose's `env_file`.
    Dotenv,
    /// A context of the nats command line.
    Context,
    /// The seed of the nkey.
    Nk,
    /// A creds file (operator mode only).
    Creds,
    /// JSON.
    Json,
    /// A Kubernetes Secret.
    K8s,
    /// A file for `docker run --env-file`.
    Docker,
    /// YAML, for `sops encrypt`.
    Sops,
    /// JSON, for `vault kv put PATH -`.
    Vault,
    /// A 1Password item, for `op item create -`.
    Op,
}

impl Form {
    /// Whether it is a form for several users at once.
    fn takes_several(self) -> bool {
        matches!(self, Self::Context | Self::Nk | Self::Json | Self::K8s)
    }
}

#[derive(Serialize)]
struct Credentials<'c> {
    tenant: &'c str,
    user: &'c str,
    role: &'c str,
    url: &'c str,
    inbox_prefix: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nkey_seed: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_env: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<&'c str>,
}

pub fn run(context: &Context, args: &Args) -> Result<Exit, Error> {
    let valid = context.load()?;
    let (account, user) = split_user(&args.who);
    let (kind, account, users) = find(&valid.model, account, user)?;
    if args.form == Form::Creds {
        return Err(Error::usage(
            "creds files hold JWTs, which static mode does not have",
            "use --as nk for the seed, or --as env",
        ));
    }
    let url = url(&valid.model, args.url.as_deref())?;
    if users.len() > 1 && !args.form.takes_several() && !context.ui.is_json() {
        let names: Vec<String> = users.iter().take(8).map(|u| format!("{account}/{}", u.name)).collect();
        return Err(Error::usage(
            format!("`{account}` has {} users, and their variables have the same names", users.len()),
            format!("name one: {}; or --as json for all", names.join(", ")),
        ));
    }
    let root = RootKey::load(&valid.model.root, valid.folder())?;
    let engine = Engine::new(args.templates.as_deref())?;
    let handed = client_secrets(&root, kind, account, &users);
    if args.form == Form::Json || context.ui.is_json() {
        let list: Vec<_> = users.iter().zip(&handed).map(|(u, h)| credentials(url, account, u, h)).collect();
        let text = serde_json::to_string_pretty(&list).unwrap_or_default();
        context.ui.raw(&(text + "\n"));
        return Ok(Exit::Ok);
    }
    for (i, (user, handed)) in users.iter().zip(&handed).enumerate() {
        if i > 0 && args.form == Form::K8s {
            context.ui.raw("---\n");
        }
        context.ui.raw(&text(
            context,
            args.form,
            &engine,
            url,
            Holder { account: account.as_str(), user, secret: handed },
        )?);
    }
    Ok(Exit::Ok)
}

/// The URL that clients use: the registry's, one that it names, or another one.
pub(super) fn url<'u>(model: &'u Model, asked: Option<&'u str>) -> Result<&'u str, Error> {
    let Some(asked) = asked else { return Ok(&model.server.url) };
    if let Some((_, url)) = model.server.urls.iter().find(|(place, _)| place == asked) {
        return Ok(url);
    }
    if asked.contains("://") {
        return registry::check_url(asked).map(|()| asked);
    }
    if model.server.urls.is_empty() {
        return Err(Error::usage(
            format!("the registry has no URL called `{asked}`"),
            format!("name it: [server] urls = {{ {asked} = \"nats://HOST:4222\" }}; or give the URL itself"),
        ));
    }
    let known: Vec<&str> = model.server.urls.iter().map(|(place, _)| place.as_str()).collect();
    Err(Error::unknown_name("URL", asked, &known))
}

fn text(context: &Context, form: Form, engine: &Engine, url: &str, holder: Holder<'_>) -> Result<String, Error> {
    let Holder { account, user, secret } = holder;
    let variables = || Variables::new(holder, url, password_from_environment);
    let kind = match form {
        Form::Dotenv => return Ok(variables()?.dotenv()),
        Form::K8s => return Ok(variables()?.k8s()),
        Form::Docker => return Ok(variables()?.docker()),
        Form::Sops => return Ok(variables()?.sops()),
        Form::Vault => return Ok(variables()?.vault()),
        Form::Op => return Ok(variables()?.op()),
        Form::Nk => FileKind::Seed,
        Form::Context => FileKind::Context,
        Form::Env | Form::Creds | Form::Json => FileKind::Env,
    };
    if kind == FileKind::Seed && !matches!(secret, ClientSecret::Seed(_)) {
        return Err(Error::usage(
            format!("`{account}/{}` has no seed here: its credential is a {}", user.name, user.credential.kind()),
            "use --as env",
        ));
    }
    let folder = context.out(None)?.join("credentials").join(account);
    let nkey_file = std::path::absolute(&folder).unwrap_or(folder).join(format!("{}.nk", user.name));
    render::credential_file(engine, holder, url, kind, &nkey_file.display().to_string())
}

fn credentials<'c>(
    url: &'c str,
    account: &'c AccountName,
    user: &'c User,
    handed: &'c ClientSecret,
) -> Credentials<'c> {
    let mut credentials = Credentials {
        tenant: account.as_str(),
        user: user.name.as_str(),
        role: user.role.as_str(),
        url,
        inbox_prefix: user.inbox_prefix(),
        login: None,
        password: None,
        nkey_seed: None,
        password_env: None,
        public_key: None,
    };
    match handed {
        ClientSecret::Seed(seed) => credentials.nkey_seed = Some(seed.expose()),
        ClientSecret::Password(password) => {
            credentials.login = Some(user.name.as_str());
            credentials.password = Some(password.expose());
        }
        ClientSecret::FromEnv(variable) => {
            credentials.login = Some(user.name.as_str());
            credentials.password_env = Some(variable);
        }
        ClientSecret::Own(public) => credentials.public_key = Some(public),
    }
    credentials
}

/// Finds an account and its users: the named user, or all for `None`.
pub(super) fn find<'m>(
    model: &'m Model,
    account: &str,
    user: Option<&str>,
) -> Result<(AccountKind, &'m AccountName, Vec<User>), Error> {
    let (kind, name, users) = if account == model.system.account.as_str() {
        (AccountKind::System, &model.system.account, &model.system.users)
    } else {
        let known = || model.tenants.iter().map(|t| t.name.as_str()).chain([model.system.account.as_str()]);
        let tenant = model.tenants.iter().find(|t| t.name.as_str() == account);
        let tenant = tenant.ok_or_else(|| Error::unknown_name("tenant", account, &known().collect::<Vec<_>>()))?;
        if tenant.is_suspended() && user.is_none_or(|user| tenant.suspended.iter().any(|u| u.name.as_str() == user)) {
            return Err(Error::usage(
                format!("tenant `{account}` is suspended: its users may not log in"),
                format!("`tenantry tenant resume {account}` lets them in again, with the credentials that they had"),
            ));
        }
        (AccountKind::Tenant, &tenant.name, &tenant.users)
    };
    // The provisioner's are the operator's, and named.
    let Some(user) = user else {
        return Ok((kind, name, users.iter().filter(|user| !user.is_provisioner()).cloned().collect()));
    };
    match users.iter().find(|u| u.name.as_str() == user) {
        Some(found) => Ok((kind, name, vec![found.clone()])),
        None => {
            let known: Vec<_> = users.iter().map(|u| u.name.as_str()).collect();
            Err(no_such_user(account, user, &known))
        }
    }
}
