//! `tenantry user`.

use serde::Serialize;

use super::{Context, command_of_change, no_such_user, split_user};
use crate::error::{Error, Exit};
use crate::model::{Credential, Model, Tenant, User};
use crate::registry::edit::{Editor, NewUser};

/// Add, rotate, revoke and list users.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
struct Add {
    /// TENANT/USER.
    #[arg(value_name = "TENANT/USER")]
    who: String,
    /// A built-in role (admin, app, publisher, subscriber, monitor) or a declared one.
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// The kind of credential: nkey or password.
    #[arg(long, value_name = "KIND")]
    auth: Option<String>,
    /// The public half of an nkey whose seed the user keeps.
    #[arg(long, value_name = "U...")]
    public_key: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Add a user to a tenant or to the system account.
    Add(Add),
    /// Replace a user's secret. The old one stops working at the next reload.
    Rotate {
        /// TENANT/USER.
        #[arg(value_name = "TENANT/USER")]
        who: String,
    },
    /// Remove a user. Its credential stops working at the next reload.
    Revoke {
        /// TENANT/USER.
        #[arg(value_name = "TENANT/USER")]
        who: String,
    },
    /// List users.
    List {
        /// Only of this tenant.
        #[arg(value_name = "TENANT")]
        tenant: Option<String>,
    },
}

#[derive(Serialize)]
struct Row<'m> {
    account: &'m str,
    user: &'m str,
    role: &'m str,
    credential: &'m str,
    generation: Option<u32>,
}

pub fn run(context: &Context, args: &Args) -> Result<Exit, Error> {
    match &args.command {
        Command::Add(args) => add(context, args),
        Command::Rotate { who } => rotate(context, who),
        Command::Revoke { who } => revoke(context, who),
        Command::List { tenant } => list(context, tenant.as_deref()),
    }
}

fn add(context: &Context, args: &Add) -> Result<Exit, Error> {
    let Add { who, role, auth, public_key } = args;
    let (mut editor, valid) = Editor::open(&context.registry)?;
    let (account, name) = require_user(&valid.model, who)?;
    if users(&valid.model, account)?.iter().any(|u| u.name.as_str() == name) {
        return Err(Error::already_there(format!("user `{who}`"), "choose another name, or `tenantry user rotate`"));
    }
    if account == valid.model.system.account.as_str() && role.is_some() {
        return Err(Error::usage("users of the system account have no role: they can do anything", "leave --role out"));
    }
    let user =
        NewUser { name: name.to_owned(), role: role.clone(), auth: auth.clone(), public_key: public_key.clone() };
    editor.add_user(account, valid.model.system.account.as_str(), &user)?;
    finish(context, editor, &format!("user `{who}` added"), who)
}

fn rotate(context: &Context, who: &str) -> Result<Exit, Error> {
    let (mut editor, valid) = Editor::open(&context.registry)?;
    let (account, user) = existing(&valid.model, who)?;
    if let Credential::PublicKey(_) = user.credential {
        return Err(Error::usage(
            format!("`{who}` brought its own key, which tenantry cannot replace"),
            "have the user make a new pair and put its public half into `public_key`",
        ));
    }
    let next = editor.rotate_user(account, valid.model.system.account.as_str(), user.name.as_str())?;
    let message = match &user.credential {
        Credential::PasswordFromEnv { variable, .. } => {
            format!("`{who}` is at generation {next}; its password is the one in {variable} and changes when that does")
        }
        _ => {
            format!("`{who}` has a new secret (generation {next}); the old one works until the server reloads")
        }
    };
    finish(context, editor, &message, who)
}

fn revoke(context: &Context, who: &str) -> Result<Exit, Error> {
    let (mut editor, valid) = Editor::open(&context.registry)?;
    let (account, user) = existing(&valid.model, who)?;
    let system = valid.model.system.account.as_str();
    if user.is_provisioner() && !editor.declares_user(account, system, user.name.as_str())? {
        return Err(Error::usage(
            format!("`{who}` is not in the registry: every tenant with JetStream has one"),
            format!("to replace its secret: tenantry user rotate {who}"),
        ));
    }
    if users(&valid.model, account)?.iter().filter(|u| !u.is_provisioner()).count() == 1 && !user.is_provisioner() {
        let add = format!("add another first: tenantry user add {account}/NAME");
        let is_tenant = account != valid.model.system.account.as_str();
        let or = format!("; or remove the tenant: tenantry tenant remove {account}");
        return Err(Error::usage(
            format!("`{who}` is the only user of `{account}`, which has to have one"),
            if is_tenant { add + &or } else { add },
        ));
    }
    editor.remove_user(account, valid.model.system.account.as_str(), user.name.as_str())?;
    editor.save()?;
    context.ui.done(&format!("user `{who}` removed; its credential works until the server reloads"));
    context.ui.json(&serde_json::json!({ "removed": who }));
    context.next(command_of_change(&valid.model));
    Ok(Exit::Ok)
}

fn finish(context: &Context, editor: Editor, message: &str, who: &str) -> Result<Exit, Error> {
    let saved = editor.save()?;
    context.ui.done(message);
    let (account, name) = split_user(who);
    let user = users(&saved.model, account)?.into_iter().find(|u| Some(u.name.as_str()) == name);
    context.ui.json(&user.map(|u| row(account, u)));
    context.next(&format!("{}, then tenantry creds {who}", command_of_change(&saved.model)));
    Ok(Exit::Ok)
}

fn require_user<'w>(model: &Model, who: &'w str) -> Result<(&'w str, &'w str), Error> {
    match split_user(who) {
        (account, Some(user)) if !account.is_empty() && !user.is_empty() => Ok((account, user)),
        (alone, _) => {
            let has_user = |t: &Tenant| t.declared_users().any(|u| u.name.as_str() == alone);
            let meant: Vec<String> =
                model.tenants.iter().filter(|t| has_user(t)).map(|t| format!("{}/{alone}", t.name)).collect();
            let hint = match meant.as_slice() {
                [] => "write TENANT/USER; `tenantry user list` shows all".to_owned(),
                some => format!(
                    "write TENANT/USER: {}",
                    some.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ")
                ),
            };
            Err(Error::usage(format!("`{who}` does not name a user"), hint))
        }
    }
}

fn existing<'m, 'w>(model: &'m Model, who: &'w str) -> Result<(&'w str, &'m User), Error> {
    let (account, name) = require_user(model, who)?;
    let users = users(model, account)?;
    let known: Vec<&str> = users.iter().map(|u| u.name.as_str()).collect();
    let user = users.iter().copied().find(|u| u.name.as_str() == name);
    Ok((account, user.ok_or_else(|| no_such_user(account, name, &known))?))
}

/// The users of an account, those of a suspended tenant too.
fn users<'m>(model: &'m Model, account: &str) -> Result<Vec<&'m User>, Error> {
    if account == model.system.account.as_str() {
        return Ok(model.system.users.iter().collect());
    }
    let known: Vec<&str> =
        model.tenants.iter().map(|t| t.name.as_str()).chain([model.system.account.as_str()]).collect();
    let tenant = model.tenants.iter().find(|t| t.name.as_str() == account);
    let tenant = tenant.ok_or_else(|| Error::unknown_name("tenant", account, &known))?;
    Ok(tenant.declared_users().collect())
}

fn row<'m>(account: &'m str, user: &'m User) -> Row<'m> {
    Row {
        account,
        user: user.name.as_str(),
        role: user.role.as_str(),
        credential: user.credential.kind(),
        generation: match user.credential {
            Credential::Nkey { generation }
            | Credential::Password { generation }
            | Credential::PasswordFromEnv { generation, .. } => Some(generation),
            Credential::PublicKey(_) => None,
        },
    }
}

fn list(context: &Context, tenant: Option<&str>) -> Result<Exit, Error> {
    let valid = context.load()?;
    let model = &valid.model;
    let accounts: Vec<(&str, Vec<&User>)> = match tenant {
        Some(name) => vec![(name, users(model, name)?)],
        None => {
            let system = (model.system.account.as_str(), model.system.users.iter().collect());
            let tenants = model.tenants.iter().map(|t| (t.name.as_str(), t.declared_users().collect()));
            std::iter::once(system).chain(tenants).collect()
        }
    };
    let rows: Vec<Row<'_>> = accounts.iter().flat_map(|(a, users)| users.iter().map(|u| row(a, u))).collect();
    let cells = |r: &Row<'_>| {
        let generation = r.generation.map_or_else(|| "-".to_owned(), |g| g.to_string());
        [r.account, r.user, r.role, r.credential].map(str::to_owned).into_iter().chain([generation]).collect()
    };
    context.ui.table(&["ACCOUNT", "USER", "ROLE", "CREDENTIAL", "GENERATION"], rows.iter().map(cells).collect());
    context.ui.json(&rows);
    Ok(Exit::Ok)
}
