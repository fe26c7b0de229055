//! `tenantry up`, `down` and `status`.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use serde::Serialize;

use super::Context;
use super::forecast::{emptied, emptied_by_the_end, emptied_in_words, refuse_dead_ends};
use super::provision::{Order, PlanDocument, provision};
use crate::diag::plain;
use crate::error::{Error, Exit};
use crate::keys::{AccountKind, Login, RootKey, public_key_of};
use crate::live::confirm::confirm;
use crate::live::jetstream::targets::Targets;
use crate::live::leftovers::{self, Leftover};
use crate::live::process::{LocalServer, PreparedConf, RunningServer, UpAction};
use crate::live::reload_plan::{Rehashed, ReloadPlan};
use crate::live::reservations::{self, Held, Reserved};
use crate::live::stats::{TenantStatus, human_size};
use crate::live::{docker, locate, stats};
use crate::model::units::Size;
use crate::model::{Credential, Model, Tenant};
use crate::project::Project;
use crate::registry::Valid;
use crate::render::credentials::{self, password_from_environment};
use crate::render::incremental::Consent;
use crate::render::write::Target;
use crate::verdict::Verdict;

/// Render, and run the result here; reload it if it runs already.
///
/// nats-server is the one named with --nats-server, the one in NATS_SERVER, the
/// one on PATH, or one that is installed with uv or pip into tenantry's own folder.
#[derive(Debug, clap::Args)]
pub struct UpArgs {
    /// Run in a container, through the rendered compose file.
    #[arg(long)]
    docker: bool,
    /// Stay until the server ends, with Ctrl-C for example.
    #[arg(long, conflicts_with = "docker")]
    foreground: bool,
    /// Replace the credentials of every user, because the root key is another one.
    #[arg(long)]
    new_root_key: bool,
    /// Restart the server if a reload is not enough. A restart disconnects every client.
    #[arg(long, conflicts_with_all = ["docker", "foreground"])]
    restart: bool,
    /// Delete the streams of a tenant that is no longer declared, or has no JetStream any more. May be repeated.
    #[arg(long, value_name = "TENANT", conflicts_with_all = ["docker", "foreground"])]
    delete_data: Vec<String>,
    /// The nats-server to run.
    #[arg(long, value_name = "FILE", conflicts_with = "docker")]
    nats_server: Option<PathBuf>,
    /// Where the bundle is. Default: infra/ beside the registry.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Use the templates of this folder; `built-in` returns to tenantry's.
    #[arg(long, value_name = "DIR")]
    templates: Option<PathBuf>,
}

/// End the server that `up` started. Data stays.
#[derive(Debug, clap::Args)]
pub struct DownArgs {
    /// End the container.
    #[arg(long)]
    docker: bool,
    /// Where the bundle is. Default: infra/ beside the registry.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Say whether the server runs, and what each tenant does on it.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Ask the container.
    #[arg(long)]
    docker: bool,
    /// Where the bundle is. Default: infra/ beside the registry.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct UpReport<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<&'r RunningServer>,
    action: UpAction,
    url: &'r str,
    monitor: Option<String>,
    tenants: Vec<TenantUrl<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jetstream: Option<PlanDocument>,
}

#[derive(Serialize)]
struct TenantUrl<'r> {
    tenant: &'r str,
    url: &'r str,
    users: Vec<&'r str>,
}

pub fn up(context: &Context, args: &UpArgs) -> Result<Exit, Error> {
    let project = context.open_noting(args.templates.as_deref())?;
    let model = project.model();
    let out = context.out(args.out.as_deref())?;
    let server = if args.docker {
        None
    } else {
        Some(locate::locate(args.nats_server.as_deref(), |text| context.ui.note(text))?)
    };
    let run = LocalServer::new(project.state(), &context.registry);
    if !args.docker {
        run.refuse_other_registry()?;
        run.answering()?;
    }
    let to_delete = to_delete(args, &run, model)?;
    let consent = Consent {
        another_registry: args.out.is_some(),
        new_root_key: args.new_root_key,
        other_templates: args.templates.is_some(),
    };
    // What the local server is to run, and whether it runs it already.
    let mut local: Option<(PreparedConf, Option<(RunningServer, UpAction)>)> = None;
    let mut accounts_changed = HashSet::new();
    let allow = |accounts: &str| {
        let Some(server) = &server else { return prove(context, &project, accounts) };
        let conf = run.prepare(model, &project.engine, accounts.to_owned())?;
        let plan = reload_plan(&run, &project, &conf)?;
        let differences = plan.iter().flat_map(|plan| plan.differences.iter().flatten());
        accounts_changed.extend(differences.filter_map(|difference| difference.account.clone()));
        if args.restart || plan.is_none() {
            run.refuse_taken(model)?;
        }
        if plan.as_ref().is_none_or(|plan| plan.reload) {
            prove(context, &project, accounts)?;
        }
        if plan.is_none() {
            refuse_less_than_stored(&run, model)?;
        }
        let is_restarted = plan.as_ref().is_some_and(|plan| plan.restart);
        if let Some(plan) = &plan {
            let dial = run.running().map(|state| state.dial).unwrap_or_default();
            say_consequences(context, args, &project, plan, &dial)?;
        }
        let changed = match plan {
            Some(plan) if !args.foreground => {
                let confirm = |state: &RunningServer| confirm_change(&project, &conf.digest, &plan, state);
                run.change(model, &conf, Some(server).filter(|_| is_restarted), confirm)?
            }
            _ => None,
        };
        local = Some((conf, changed));
        Ok(())
    };
    let outcome = super::render::write(context, &project, &Target::open(&out)?, consent, allow);
    if let (Err(_), Some((_, Some((_, action))))) = (&outcome, &local)
        && *action != UpAction::Unchanged
    {
        let up = context.command("tenantry up");
        context.ui.note(&format!(
            "the server runs the new configuration already, and {} is still the old one: mend that, and run {up} again",
            out.display()
        ));
    }
    let outcome = outcome?;
    if outcome.written + outcome.removed > 0 {
        let written = super::count(outcome.written, "file");
        context.ui.note(&format!("{}: {written} written, {} removed", out.display(), outcome.removed));
    }
    super::render::note_edited(context, &outcome);
    let (Some(server), Some((conf, changed))) = (&server, local) else {
        let action = docker::up(&out, model)?;
        let url = format!("nats://{}", model.server.client.dial());
        let jetstream = apply_streams(context, &project, &url, &accounts_changed)?;
        report(context, model, None, action, jetstream.0);
        return Ok(jetstream.1);
    };
    context.ui.detail(&format!("nats-server {} at {}", server.version, server.path.display()));
    if args.foreground {
        let status = run.foreground(server, model, &conf, |state| {
            match apply_streams(context, &project, &state.dial, &accounts_changed) {
                Ok((jetstream, _)) => report(context, model, Some(state), UpAction::Started, jetstream),
                Err(error) => context.ui.error(&error),
            }
        })?;
        return Ok(if status.code().is_none_or(|c| c == 0) { Exit::Ok } else { Exit::Unavailable });
    }
    let (state, action) = match changed {
        Some(changed) => changed,
        None => run.start(server, model, &conf)?,
    };
    for leftover in &to_delete {
        leftovers::delete(leftover)?;
        let (account, streams) = (&leftover.account, super::count(leftover.streams, "stream"));
        context.ui.done(&format!("data of {account} deleted: {streams}, {}", human_size(leftover.bytes)));
    }
    note_leftovers(context, &run, model, None);
    let jetstream = apply_streams(context, &project, &state.dial, &accounts_changed)?;
    report(context, model, Some(&state), action, jetstream.0);
    context.ui.detail(&format!("log: {}", run.log().display()));
    Ok(jetstream.1)
}

/// The data that `--delete-data` names.
fn to_delete(args: &UpArgs, run: &LocalServer, model: &Model) -> Result<Vec<Leftover>, Error> {
    if args.delete_data.is_empty() {
        return Ok(Vec::new());
    }
    let found = leftovers::find(&run.store(), model);
    let known: Vec<&str> = found.iter().map(|leftover| leftover.account.as_str()).collect();
    let named = args.delete_data.iter().map(|name| match found.iter().find(|leftover| leftover.account == *name) {
        Some(leftover) => Ok(leftover.clone()),
        None if model.tenants.iter().any(|t| t.name.as_str() == name && t.jetstream.is_some()) => Err(Error::usage(
            format!("nothing was deleted: `{name}` is declared, with JetStream"),
            format!("its streams are deleted one by one: tenantry apply --delete {name}/STREAM"),
        )),
        None => Err(Error::unknown_name("data of an undeclared tenant", name, &known)),
    });
    named.collect()
}

/// Notes whose data stays on the server's disk, although no tenant has it any more. Returns it.
/// `operator`: the address of a server that may still run such accounts, and how to ask it for their messages.
pub fn note_leftovers(
    context: &Context,
    run: &LocalServer,
    model: &Model,
    operator: Option<(&str, Login)>,
) -> Vec<Leftover> {
    let mut found = leftovers::find(&run.store(), model);
    if let Some((url, login)) = operator
        && let Err(error) = leftovers::count_messages(&mut found, url, &login)
    {
        context.ui.detail(&format!("messages of removed accounts are not counted: {error}"));
    }
    for Leftover { account, streams, messages, bytes, path } in &found {
        let messages = messages.and_then(|count| usize::try_from(count).ok());
        let messages = messages.map(|messages| format!("{}, ", super::count(messages, "message")));
        context.ui.note(&plain(&format!(
            "data of {account}, which no tenant with JetStream has, stays on disk: {}, {}{} in {}",
            super::count(*streams, "stream"),
            messages.unwrap_or_default(),
            human_size(*bytes),
            path.strip_prefix(".").unwrap_or(path).display()
        )));
        let command = context.command(&format!("tenantry up --delete-data {account}"));
        context.ui.note(
            "  a server without that account answers 503 to /healthz as long as it does (not to ?js-server-only=true)",
        );
        context.ui.note(&plain(&format!("  to delete it: {command}")));
    }
    found
}

/// Whether the local server must reload or restart to run this configuration. `None` if none runs.
pub fn reload_plan(run: &LocalServer, project: &Project, conf: &PreparedConf) -> Result<Option<ReloadPlan>, Error> {
    let model = project.model();
    let Some(mut plan) = run.reload_plan(conf) else { return Ok(None) };
    for login in keep_their_password(project, &plan) {
        plan.keeps_password(&login);
    }
    // A change that was undone may have brought such an account back.
    let is_dead = run.held().is_some_and(|held| !held.removed.is_empty());
    if let (true, Some(state)) = (plan.reload || is_dead, run.running()) {
        let held = held(run.held(), &state.dial, project.operator_login())?;
        let store = run.store();
        refuse_unreserved(&mut plan, &held, model, |account| leftovers::has_streams(&store, account));
    }
    Ok(Some(plan))
}

/// The users whose password has another hash and is the same.
fn keep_their_password(project: &Project, plan: &ReloadPlan) -> Vec<String> {
    let rehashed: HashMap<&str, &Rehashed> = plan.rehashed.iter().map(|r| (r.login.as_str(), r)).collect();
    let model = project.model();
    let tenants = model.tenants.iter().map(|tenant| (&tenant.name, &tenant.users));
    let users = tenants.chain([(&model.system.account, &model.system.users)]);
    let users =
        users.flat_map(|(account, users)| users.iter().map(move |user| (format!("{account}/{}", user.name), user)));
    let same = users.filter(|(login, user)| match (rehashed.get(login.as_str()), &user.credential) {
        (None, _) => false,
        (Some(rehashed), Credential::PasswordFromEnv { variable, .. }) => project
            .supplied
            .get(variable)
            .is_some_and(|password| bcrypt::verify(password.expose(), &rehashed.old).is_ok_and(|same| same)),
        (Some(rehashed), _) => rehashed.has_one_salt(),
    });
    same.map(|(login, _)| login).collect()
}

/// What a running server holds. What it reserves is by its own words if it knows a system user whose secret is known here.
pub fn held(noted: Option<Held>, url: &str, operator: Option<Login>) -> Result<Held, Error> {
    match operator.map(|operator| reservations::reserved(url, &operator)) {
        Some(Ok(reserved)) => {
            let Held { reserved: mut unreported, removed, .. } = noted.unwrap_or_default();
            unreported.retain(|account, _| !reserved.contains_key(account));
            Ok(Held { reserved, removed, unreported })
        }
        Some(Err(error)) if noted.is_none() => Err(error),
        _ => Ok(noted.unwrap_or_default()),
    }
}

/// Plans a restart where JetStream needs one: what fits beside the other accounts of the registry need not fit beside what
/// the server still holds, and streams of accounts that come back would store nothing.
pub fn refuse_unreserved(plan: &mut ReloadPlan, held: &Held, model: &Model, has_streams: impl Fn(&str) -> bool) {
    let Some(js) = model.server.jetstream else { return };
    let available = Reserved { memory: js.memory.bytes(), storage: js.storage.bytes() };
    let wanted = reservations::wanted(model);
    let had = |name: &&str| plan.accounts.as_ref().is_some_and(|accounts| accounts.contains(*name));
    let again = wanted.keys().map(String::as_str).filter(had).filter(|name| plan.begins_jetstream(name)).collect();
    // It holds on to what streams reserve that are on its disk, whatever it says.
    let mut all = held.reserved.clone();
    all.extend(held.unreported.iter().filter(|(name, _)| has_streams(name)).map(|(name, of)| (name.clone(), *of)));
    let why = reservations::conflict(&all, &wanted, &again, available);
    let back = reservations::back(held, &wanted, plan.accounts.as_ref(), has_streams);
    plan.because.extend(why.into_iter().chain(back));
    plan.restart |= !plan.because.is_empty();
}

/// Confirms that the server runs this configuration, and lets those in who are new in it. Returns what is wrong.
fn confirm_change(project: &Project, digest: &str, plan: &ReloadPlan, state: &RunningServer) -> Result<(), String> {
    /// Number of users that log in.
    const MOST: usize = 32;
    let wanted: HashSet<&str> = plan.connects.iter().map(String::as_str).collect();
    let accounts: HashSet<&str> = wanted.iter().filter_map(|login| login.split('/').next()).collect();
    let tenants = project.model().tenants.iter().filter(|tenant| accounts.contains(tenant.name.as_str()));
    let users = tenants.flat_map(|tenant| {
        let logins = tenant.users.iter().zip(project.tenant_logins(tenant));
        logins
            .filter_map(|(user, login)| {
                let login = login?;
                let shown = match &login {
                    Login::Password(name, _) => name.clone(),
                    Login::Seed(seed) => public_key_of(seed).ok()?,
                };
                let is_wanted = wanted.contains(format!("{}/{shown}", tenant.name).as_str());
                is_wanted.then(|| (format!("{}/{}", tenant.name, user.name), login))
            })
            .collect::<Vec<_>>()
    });
    let users: Vec<(String, Login)> = users.take(MOST).collect();
    confirm(&state.dial, digest, project.operator_login().as_ref(), &users)
}

/// Refuses accounts with which nats-server would not start, or in which tenants are not isolated.
pub fn prove(context: &Context, project: &Project, accounts: &str) -> Result<(), Error> {
    refuse_unproved(context, project.audit_accounts(accounts.to_owned())?.verdict())
}

/// Refuses a configuration of which the static proof does not say that its tenants are isolated.
pub fn refuse_unproved(context: &Context, verdict: Verdict) -> Result<(), Error> {
    match verdict {
        Verdict::Isolated => Ok(()),
        Verdict::Leaky | Verdict::Inconclusive => Err(Error::refused(
            format!("the rendered configuration is {}, and was not deployed", verdict.as_str()),
            format!("{} shows why", context.command("tenantry check")),
        )),
    }
}

/// Notes what a change of the running server empties. Refuses a restart that is not allowed, and a limit that shuts tenantry out.
fn say_consequences(
    context: &Context,
    args: &UpArgs,
    project: &Project,
    plan: &ReloadPlan,
    dial: &str,
) -> Result<(), Error> {
    let lost = emptied(project, plan, dial);
    let note = |what: &str, lost: &str| context.ui.note(&plain(&format!("{what} {lost}")));
    if plan.restart {
        plan.leaves_streams().iter().for_each(|left| context.ui.note(&plain(left)));
        let lost = emptied_in_words(lost.as_ref());
        if !args.restart {
            return Err(refused_restart(context, plan, &lost));
        }
        lost.iter().for_each(|lost| note("the restart", lost));
    } else {
        // A reload that could not be asked about most likely empties nothing.
        let lost = emptied_in_words(Some(&lost.unwrap_or_default()));
        lost.iter().for_each(|lost| note("the change", lost));
    }
    refuse_dead_ends(project, plan, dial)
}

/// Refuses to start a server that gives a tenant less storage than its streams on disk reserve: it would not change any of
/// them until their sum fits.
fn refuse_less_than_stored(run: &LocalServer, model: &Model) -> Result<(), Error> {
    let reserved = |tenant: &Tenant| {
        let limit = tenant.jetstream?.storage.bytes();
        let reserved = leftovers::reserved(&run.store(), tenant.name.as_str());
        (reserved > limit).then_some((tenant.name.to_string(), reserved, limit))
    };
    let dropped = |tenant: &Tenant| {
        let limit = u64::from(tenant.jetstream?.max_ack_pending);
        let most = leftovers::most_unacknowledged(&run.store(), tenant.name.as_str());
        (most > limit).then_some((tenant.name.to_string(), most, limit))
    };
    if let Some((tenant, most, limit)) = model.tenants.iter().find_map(dropped) {
        return Err(Error::refused(
            format!(
                "nothing was started: {tenant} has a consumer on disk with max_ack_pending {most}, and may have {limit}: the server would \
                 drop it, and what only it waits for"
            ),
            format!("set its max_ack_pending to {most} or more, and `tenantry up`; lower it while the server runs"),
        ));
    }
    match model.tenants.iter().find_map(reserved) {
        Some((tenant, reserved, limit)) => Err(Error::refused(
            format!(
                "nothing was started: the streams of {tenant} on disk reserve {} by max_bytes, and it may reserve {}",
                human_size(reserved),
                human_size(limit)
            ),
            format!(
                "set its storage to {} or more, and `tenantry up` makes its streams as small as they are declared; then lower it",
                human_size(reserved)
            ),
        )),
        None => Ok(()),
    }
}

fn refused_restart(context: &Context, plan: &ReloadPlan, lost: &[String]) -> Error {
    let and: String = lost.iter().map(|lost| format!("; it {lost}")).collect();
    Error::refused(
        format!("nothing was written: the server needs a restart for {}", plan.because.join(", ")),
        format!("{}, which disconnects every client{and}", context.command("tenantry up --restart")),
    )
}

/// Makes the declared streams of every tenant, beginning with those of the accounts that have changed. No document if none
/// are declared.
pub fn apply_streams(
    context: &Context,
    project: &Project,
    url: &str,
    changed: &HashSet<String>,
) -> Result<(Option<PlanDocument>, Exit), Error> {
    if !project.model().has_streams() {
        return Ok((None, Exit::Ok));
    }
    let order = Order {
        url,
        is_named: false,
        targets: &Targets::default(),
        apply: true,
        next: None,
        is_new: &|_| false,
        is_urgent: &|tenant| changed.contains(tenant.name.as_str()),
    };
    let (document, exit) = provision(context, &project.valid, &project.root, &order)?;
    Ok((Some(document), exit))
}

fn report(
    context: &Context,
    model: &Model,
    state: Option<&RunningServer>,
    action: UpAction,
    jetstream: Option<PlanDocument>,
) {
    let what = state.map_or_else(|| "nats-server in Docker".to_owned(), |s| format!("nats-server {}", s.version));
    let pid = state.map_or_else(String::new, |s| format!(" (pid {})", s.pid));
    let verb = match action {
        UpAction::Started => "is running",
        UpAction::Reloaded => "has reloaded its configuration",
        UpAction::Unchanged => "is running already with this configuration",
    };
    let monitor = model.server.monitor.map(|m| format!("http://{}", m.dial()));
    context.ui.done(&format!("{what} {verb}{pid}"));
    context.ui.result(&format!("  clients     {}", model.server.url));
    if let Some(monitor) = &monitor {
        context.ui.result(&format!("  monitoring  {monitor}"));
    }
    context.ui.result("");
    const SHOWN: usize = 20;
    let users = || model.tenants.iter().flat_map(|t| t.developers().map(move |u| (t, u)));
    let rows = users().take(SHOWN).map(|(tenant, user)| {
        let who = format!("{}/{}", tenant.name, user.name);
        let command = context.command(&format!("tenantry creds {who}"));
        vec![tenant.name.to_string(), user.name.to_string(), user.role.to_string(), command]
    });
    context.ui.table(&["TENANT", "USER", "ROLE", "HOW TO CONNECT"], rows.collect());
    if users().count() > SHOWN {
        let command = context.command("tenantry user list");
        context.ui.result(&format!("… and {} more: {command}", users().count() - SHOWN));
    }
    let tenants = model.tenants.iter().map(|t| TenantUrl {
        tenant: t.name.as_str(),
        url: &model.server.url,
        users: t.developers().map(|u| u.name.as_str()).collect(),
    });
    let tenants = tenants.collect();
    context.ui.json(&UpReport { server: state, action, url: &model.server.url, monitor, tenants, jetstream });
}

pub fn down(context: &Context, args: &DownArgs) -> Result<Exit, Error> {
    if args.docker {
        let stopped = docker::down(&context.out(args.out.as_deref())?)?;
        match stopped {
            true => context.ui.done("the container is gone; its volume stays"),
            false => context.ui.result("no container was running"),
        }
        context.ui.json(&serde_json::json!({ "stopped": stopped }));
        return Ok(Exit::Ok);
    }
    if !context.registry.exists() {
        return Err(Error::NoRegistry { path: context.registry.clone() });
    }
    let run = LocalServer::new(&context.state(), &context.registry);
    run.refuse_other_registry()?;
    // A registry that is broken meanwhile must not keep the server running.
    let emptied = run.answering().ok().flatten().and_then(|state| {
        let valid = crate::registry::load(&context.registry).ok()?.into_valid().ok()?;
        emptied_by_the_end(&Project::open(valid, None).ok()?, &state.dial)
    });
    let stopped = run.down()?;
    for what in emptied.iter().flat_map(|emptied| emptied_in_words(Some(emptied))) {
        context.ui.note(&format!("the end {what}"));
    }
    match &stopped {
        Some(state) => context.ui.done(&format!("nats-server ended (pid {}); its data on disk stays", state.pid)),
        None => context.ui.result("no server was running"),
    }
    context.ui.json(&serde_json::json!({ "stopped": stopped.is_some() }));
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct StatusReport {
    running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<RunningServer>,
    tenants: Vec<TenantStatus>,
    undeclared_data: Vec<Leftover>,
}

pub fn status(context: &Context, args: &StatusArgs) -> Result<Exit, Error> {
    let valid = context.load()?;
    let run = LocalServer::new(&context.state(), &context.registry);
    run.refuse_other_registry()?;
    let server = run.answering()?;
    let running = if args.docker { docker::is_running(&context.out(args.out.as_deref())?)? } else { server.is_some() };
    if !running {
        context.ui.found("no server is running here");
        let undeclared_data = note_leftovers(context, &run, &valid.model, None);
        context.ui.json(&StatusReport { running, server: None, tenants: Vec::new(), undeclared_data });
        context.next(if args.docker { "tenantry up --docker" } else { "tenantry up" });
        return Ok(Exit::Unavailable);
    }
    // The address the server listens on, which may differ from the URL in handouts and
    // from the current registry.
    let dial = match &server {
        Some(state) if !args.docker => state.dial.clone(),
        _ => format!("nats://{}", valid.model.server.client.dial()),
    };
    let tenants = ask(&valid, &dial)?;
    match &server {
        Some(state) if !args.docker => {
            context.ui.done(&format!("nats-server {} is running at {} (pid {})", state.version, state.url, state.pid));
        }
        _ => context.ui.done(&format!("nats-server is running at {}", valid.model.server.url)),
    }
    let header = ["TENANT", "CONNECTIONS", "STREAMS", "MESSAGES", "DISK", "MEMORY", "CONSUMERS", "LAG", ""];
    context.ui.table(&header, tenants.iter().map(status_row).collect());
    for tenant in tenants.iter().filter(|t| !t.near_limit.is_empty()) {
        let what = tenant.near_limit.join(", ");
        context.ui.note(&format!(
            "{} is near its limit of {what}: raise it in the registry, then tenantry up",
            tenant.tenant
        ));
    }
    for tenant in &tenants {
        for b in tenant.jetstream.iter().flat_map(|j| &j.stats.behind) {
            context.ui.detail(&plain(&format!(
                "{}/{}/{}: {} to deliver, {} to acknowledge",
                tenant.tenant, b.stream, b.consumer, b.pending, b.unacknowledged
            )));
        }
    }
    let undeclared_data = if args.docker { Vec::new() } else { note_leftovers(context, &run, &valid.model, None) };
    context.ui.json(&StatusReport { running, server: server.filter(|_| !args.docker), tenants, undeclared_data });
    Ok(Exit::Ok)
}

/// Queries the running server as the first system user whose secret is available locally.
fn ask(valid: &Valid, url: &str) -> Result<Vec<TenantStatus>, Error> {
    let root = RootKey::load(&valid.model.root, valid.folder())?;
    let system = &valid.model.system;
    let logins =
        credentials::logins(&root, AccountKind::System, &system.account, &system.users, password_from_environment);
    let operator = logins.into_iter().flatten().next().ok_or_else(|| {
        Error::server(
            "no system user's secret is known here",
            "set the variable of its `password_env`, or add one without `public_key`: tenantry user add SYS/operator",
        )
    })?;
    stats::tenants(url, &operator, &valid.model)
}

fn status_row(t: &TenantStatus) -> Vec<String> {
    let format_usage = |used: u64, limit: u64| match limit {
        0 => "-".to_owned(),
        _ => format!("{} of {} ({}%)", human_size(used), Size(limit), used.saturating_mul(100) / limit),
    };
    let mut row = vec![t.tenant.clone(), format!("{} of {}", t.stats.connections, t.max_connections)];
    match &t.jetstream {
        None => row.extend(["-"; 6].map(str::to_owned)),
        Some(kept) => row.extend([
            format!("{} of {}", kept.stats.streams, kept.max_streams),
            kept.stats.messages.to_string(),
            format_usage(kept.stats.storage, kept.max_storage),
            format_usage(kept.stats.memory, kept.max_memory),
            kept.stats.consumers.to_string(),
            kept.stats.lag.to_string(),
        ]),
    }
    row.push(if t.near_limit.is_empty() { String::new() } else { format!("! {}", t.near_limit.join(", ")) });
    row
}
