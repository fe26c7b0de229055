//! `tenantry plan` and `tenantry apply`.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use serde::Serialize;

use super::forecast::{Consequences, Emptied, PasswordChecks, emptied_in_words};
use super::{Context, count};
use crate::diag::{first_few, plain};
use crate::error::{Error, Exit};
use crate::keys::{AccountKind, RootKey};
use crate::live::conf_difference::Difference;
use crate::live::jetstream::api::Failure;
use crate::live::jetstream::apply::ChangeOutcome;
use crate::live::jetstream::change::{Action, Change};
use crate::live::jetstream::targets::{Targets, Unmatched, address};
use crate::live::jetstream::{self, Job, TenantReport};
use crate::live::leftovers;
use crate::live::process::{LocalServer, RunningServer};
use crate::live::reload_plan::ReloadPlan;
use crate::live::remote;
use crate::live::stats::{Forgotten, InMemory, OverLimit};
use crate::model::jetstream::difference::Field;
use crate::model::names::{StreamName, UserName};
use crate::model::roles::PROVISIONER;
use crate::model::{Credential, Model, Tenant, User};
use crate::project::Project;
use crate::registry::Valid;
use crate::render;
use crate::render::credentials::{self, password_from_environment};
use crate::render::incremental::Consent;

/// Show what `apply` would change on the server, and write nothing.
///
/// Streams, consumers, buckets and object stores are compared. The server is read as each tenant's provisioner. What is on it and not in the
/// registry is shown and left alone.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 nothing to change; 1 changes, or the server that `up` runs has an older configuration; 2 the registry is invalid; 3 no server"
)]
pub struct PlanArgs {
    #[command(flatten)]
    what: What,
    /// Use the templates of this folder, as `up` does.
    #[arg(long, value_name = "DIR")]
    templates: Option<PathBuf>,
}

/// Make the server's streams and consumers as they are declared.
///
/// Buckets and object stores too. It can be run again at any time, and goes on where it was interrupted. Nothing
/// that holds data is deleted, unless it is named with --replace or --delete.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 the server is as declared; 1 something is not; 2 the registry is invalid; 3 no server"
)]
pub struct ApplyArgs {
    #[command(flatten)]
    what: What,
}

#[derive(Debug, clap::Args)]
struct What {
    /// The server. Default: the one that `up` runs, or else the registry's `client`.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Delete this and make it again, where it cannot be changed otherwise. Its
    /// messages are lost.
    #[arg(long, value_name = "TENANT/STREAM[/CONSUMER]")]
    replace: Vec<String>,
    /// Delete this, which is not in the registry. Its messages are lost.
    #[arg(long, value_name = "TENANT/STREAM[/CONSUMER]")]
    delete: Vec<String>,
}

/// The JSON document.
#[derive(Serialize)]
pub struct PlanDocument {
    server: String,
    changes: Vec<ChangeDocument>,
    failed: Vec<FailureDocument>,
    unchanged: usize,
    /// In a plan: whether the local server must reload or restart; null fields for a server
    /// elsewhere. `None` (no keys) in the document of `apply`.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pending: Option<ReloadDocument>,
}

#[derive(Default, Serialize)]
struct ReloadDocument {
    /// Why the command that would do it refuses to. `None`: it does not.
    refused: Option<String>,
    reload: Option<bool>,
    restart: Option<bool>,
    disconnects: Option<Vec<String>>,
    over_limit: Vec<OverLimit>,
    /// Streams in memory that it empties. `None`: the server could not be asked.
    emptied: Option<Vec<InMemory>>,
    forgotten: Option<Vec<Forgotten>>,
    /// Passwords that a reload has checked again. `None`: none, or unknown.
    password_checks: Option<PasswordChecks>,
    /// The differences of accounts and settings. `None`: unknown.
    accounts: Option<Vec<Difference>>,
}

#[derive(Serialize)]
struct ChangeDocument {
    tenant: String,
    #[serde(flatten)]
    change: Change,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct FailureDocument {
    tenant: String,
    error: String,
    hint: Cow<'static, str>,
}

pub fn plan(context: &Context, args: &PlanArgs) -> Result<Exit, Error> {
    let valid = context.load()?;
    let run = LocalServer::new(&context.state(), &context.registry);
    let here = if args.what.server.is_none() { run.answering()? } else { None };
    let (valid, pending) = match here {
        Some(state) => {
            let project = Project::open(valid, args.templates.as_deref())?;
            let operator = project.operator_login().map(|login| (state.dial.as_str(), login));
            super::server::note_leftovers(context, &run, project.model(), operator);
            let pending = pending(context, &run, &state, &project, args)?;
            (project.valid, pending)
        }
        None => elsewhere(context, valid, args)?,
    };
    let next = pending.as_ref().and_then(|pending| show_pending(context, pending));
    if run.names_acknowledgements() && args.what.server.is_none() && !valid.model.names_acknowledgements() {
        context.ui.note(
            "js_ack_fc_v2 stays on until the server restarts, though no service needs it any more: nats-py's ordered consumers, key \
             watches and reads of objects fail until then (docs/roles.md)",
        );
    }
    let is_new = |tenant: &Tenant| {
        let plan = pending.as_ref().map(|pending| &pending.plan);
        plan.is_some_and(|plan| match &plan.new_store {
            Some(folder) if args.what.server.is_none() => {
                !leftovers::has_streams(&folder.join("jetstream"), tenant.name.as_str())
            }
            _ => {
                plan.begins_jetstream(tenant.name.as_str())
                    && !leftovers::has_streams(&run.store(), tenant.name.as_str())
            }
        })
    };
    // What `up` refuses has to be mended first, unless streams are what is in its way.
    let is_held = pending.as_ref().is_some_and(|pending| pending.refusal.is_some() && !pending.applies_first());
    let other = next.as_deref().or_else(|| is_held.then_some(""));
    let (mut document, mut exit) = compare(context, &valid, &args.what, other, &is_new)?;
    let is_due = pending.as_ref().is_some_and(|pending| pending.plan.reload || pending.plan.restart);
    let is_refused = pending.as_ref().is_some_and(|pending| pending.refusal.is_some());
    if (is_due || is_refused) && exit == Exit::Ok {
        exit = Exit::Found;
    }
    // Accounts that could not be compared may differ.
    if pending.is_none() && exit == Exit::Ok {
        exit = Exit::Unavailable;
    }
    document.pending = Some(pending.map_or_else(ReloadDocument::default, Pending::document));
    if let Some(next) = next.filter(|_| is_due) {
        context.next(&next);
    }
    context.ui.json(&document);
    Ok(exit)
}

/// The steps until servers elsewhere run what the registry says. `None`: they are not known, and a note says so.
fn elsewhere(context: &Context, valid: Valid, args: &PlanArgs) -> Result<(Valid, Option<Pending>), Error> {
    let unknown = |why: &str| context.ui.note(&format!("accounts and settings were not compared: {why}"));
    let url = args.what.server.clone().unwrap_or_else(|| valid.model.server.url.clone());
    // Streams are compared without these secrets.
    let project = match Project::open(valid, args.templates.as_deref()) {
        Ok(project) => project,
        Err(error) => {
            unknown(&error.to_string());
            return Ok((context.load()?, None));
        }
    };
    let out = context.out(None)?;
    let operator = remote::operator(&url, &project.operator_logins());
    let plan = match operator.and_then(|operator| super::deploy::plan(&project, &out, &url, &operator)) {
        Ok(plan) => plan,
        Err(error) => {
            unknown(&error.to_string());
            return Ok((project.valid, None));
        }
    };
    let consequences = Consequences::ask(&project, &plan, &url);
    let refusal = project.refuse_over(&out, Consent::default()).err();
    let command = if project.model().push.is_some() { "tenantry deploy" } else { "tenantry render" };
    let refusal = refusal.or_else(|| consequences.refuse_dead_ends(&plan).err());
    Ok((project.valid, Some(Pending { plan, command, refusal, consequences })))
}

/// Prints what has to happen to accounts and settings. Returns the command that does it, if one does.
fn show_pending(context: &Context, pending: &Pending) -> Option<String> {
    let (ui, plan, asked) = (context.ui, &pending.plan, &pending.consequences);
    let up = context.command(pending.command);
    match &pending.refusal {
        Some(refusal) => {
            ui.found(&format!("accounts and settings: {up} refuses the new configuration: {refusal}"));
            if let Some(hint) = refusal.hint() {
                ui.note(&format!("  {hint}"));
            }
        }
        None if plan.restart => {
            ui.found(&plain(&format!(
                "accounts and settings: a restart is needed, which disconnects every client, for {}",
                plan.because.join(", ")
            )));
            let lost = emptied_in_words(asked.emptied.as_ref());
            lost.iter().for_each(|lost| ui.result(&plain(&format!("the restart {lost}"))));
            plan.leaves_streams().iter().for_each(|left| ui.result(&plain(left)));
        }
        None if plan.reload => {
            let does = if pending.command == "tenantry render" {
                "writes the new one, which it then has to read"
            } else {
                "reloads it"
            };
            ui.done(&format!("accounts and settings: the server runs an older configuration, and {up} {does}"));
        }
        None => ui.done("accounts and settings: as the server runs them"),
    }
    let differences = plan.differences.as_deref().unwrap_or_default();
    show_differences(context, differences);
    if differences.iter().any(Difference::turns_on_long_acknowledgements) {
        ui.note(
            "js_ack_fc_v2: with it, nats-py's ordered consumers, key watches and reads of objects fail (docs/roles.md); the first \
             service between two tenants with JetStream needs it",
        );
    }
    if plan.reload && !plan.restart {
        let lost = emptied_in_words(Some(asked.emptied.as_ref().unwrap_or(&Emptied::default())));
        lost.iter().for_each(|lost| ui.result(&plain(lost)));
        match plan.disconnects.as_deref() {
            Some([]) if asked.are_limits_known && !asked.over_limit.iter().any(OverLimit::disconnects) => {
                ui.result("disconnects nobody");
            }
            Some([]) => {}
            Some(gone) => ui.result(&plain(&format!("disconnects {}", first_few(gone)))),
            None => ui.result("whom it disconnects is not known: what the server runs was overwritten"),
        }
        asked.password_checks.iter().for_each(|checks| checks.show(context));
        if !asked.are_limits_known && plan.lowered.is_empty() {
            ui.result(
                "whether clients are at a limit of subscriptions, which a reload disconnects, could not be asked",
            );
        } else if !asked.are_limits_known {
            let whose = plan.lowered.iter().map(|lowered| lowered.account.as_deref().unwrap_or("the server"));
            ui.result(&plain(&format!("disconnects clients above the lower limits of {}", first_few(whose))));
        }
    }
    for over in &asked.over_limit {
        ui.result(&plain(&over.consequence()));
    }
    match (&pending.refusal, plan.restart, plan.reload) {
        (Some(_), ..) => None,
        (None, true, _) if pending.command == "tenantry up" => Some("tenantry up --restart".to_owned()),
        (None, true, _) => None,
        (None, false, true) => Some(pending.command.to_owned()),
        (None, false, false) => None,
    }
}

/// The steps until a server runs what the registry says.
struct Pending {
    plan: ReloadPlan,
    /// The command that does it.
    command: &'static str,
    /// Why that refuses it.
    refusal: Option<Error>,
    /// What the server says that it leads to.
    consequences: Consequences,
}

impl Pending {
    /// Whether it is refused because streams reserve more than they will be allowed to.
    fn applies_first(&self) -> bool {
        let over = &self.consequences.over_limit;
        over.iter().any(|over| over.is_reserved() && self.plan.changes_storage(&over.tenant))
    }

    fn document(self) -> ReloadDocument {
        let ReloadPlan { reload, restart, disconnects, differences, .. } = self.plan;
        // Which clients of an account those are, the server chooses.
        let asked = self.consequences;
        let is_choice = asked.over_limit.iter().any(OverLimit::disconnects);
        ReloadDocument {
            refused: self.refusal.map(|refusal| refusal.to_string()),
            reload: Some(reload),
            restart: Some(restart),
            disconnects: disconnects.filter(|_| asked.are_limits_known && !is_choice),
            over_limit: asked.over_limit,
            forgotten: asked.emptied.as_ref().map(|emptied| emptied.consumers.clone()),
            emptied: asked.emptied.map(|emptied| emptied.streams),
            password_checks: asked.password_checks,
            accounts: differences,
        }
    }
}

/// The steps until the local server runs what the registry says. `None` if it ended meanwhile.
fn pending(
    context: &Context,
    run: &LocalServer,
    state: &RunningServer,
    project: &Project,
    args: &PlanArgs,
) -> Result<Option<Pending>, Error> {
    let bundle = project.render(|| {})?;
    let accounts = bundle.text(render::ACCOUNTS).unwrap_or_default();
    let out = context.out(None)?;
    let conf = run.prepare(project.model(), &project.engine, accounts.to_owned())?;
    let Some(plan) = super::server::reload_plan(run, project, &conf)? else { return Ok(None) };
    let consent = Consent { other_templates: args.templates.is_some(), ..Consent::default() };
    let refusal = project.refuse_over(&out, consent);
    let refusal = refusal.and_then(|()| match plan.reload {
        true => super::server::prove(context, project, accounts),
        false => Ok(()),
    });
    let consequences = Consequences::ask(project, &plan, &state.dial);
    let refusal = refusal.and_then(|()| consequences.refuse_dead_ends(&plan)).err();
    Ok(Some(Pending { plan, command: "tenantry up", refusal, consequences }))
}

/// Prints what differs in accounts and settings.
fn show_differences(context: &Context, differences: &[Difference]) {
    let ui = context.ui;
    let shown = if ui.is_verbose() { differences.len() } else { SHOWN };
    let mut heading = None;
    for difference in differences.iter().take(shown) {
        let account = difference.account.as_deref().unwrap_or("settings of the server");
        if heading != Some(account) {
            heading = Some(account);
            ui.result(&plain(account));
        }
        ui.result(&plain(&format!("  {difference}")));
    }
    if differences.len() > shown {
        ui.note(&format!("… and {} more: -v or --format json has all", differences.len() - shown));
    }
}

pub fn apply(context: &Context, args: &ApplyArgs) -> Result<Exit, Error> {
    let valid = context.load()?;
    let (targets, url, root) = order(context, &valid, &args.what)?;
    let order = Order {
        url: &url,
        is_named: args.what.server.is_some(),
        targets: &targets,
        apply: true,
        next: None,
        is_new: &|_| false,
        is_urgent: &|_| false,
    };
    let (document, exit) = provision(context, &valid, &root, &order)?;
    context.ui.json(&document);
    Ok(exit)
}

/// Compares streams with those of a server. `next`: the command that makes them, if it is another than `apply`.
fn compare(
    context: &Context,
    valid: &Valid,
    what: &What,
    next: Option<&str>,
    is_new: &dyn Fn(&Tenant) -> bool,
) -> Result<(PlanDocument, Exit), Error> {
    let (targets, url, root) = order(context, valid, what)?;
    let is_named = what.server.is_some();
    let order = Order { url: &url, is_named, targets: &targets, apply: false, next, is_new, is_urgent: &|_| false };
    provision(context, valid, &root, &order)
}

/// Streams and consumers that may be replaced or deleted, the server's address, and the root key.
fn order(context: &Context, valid: &Valid, what: &What) -> Result<(Targets, String, RootKey), Error> {
    let targets = Targets::parse(&valid.model, &what.replace, &what.delete)?;
    let url = match &what.server {
        Some(url) => url.clone(),
        None => match LocalServer::new(&context.state(), &context.registry).answering()? {
            Some(state) => state.dial,
            None => format!("nats://{}", valid.model.server.client.dial()),
        },
    };
    Ok((targets, url, RootKey::load(&valid.model.root, valid.folder())?))
}

/// What to compare or apply, and where.
pub struct Order<'o> {
    /// The server.
    pub url: &'o str,
    /// Whether `--server` names it.
    pub is_named: bool,
    /// What may be replaced or deleted.
    pub targets: &'o Targets,
    /// Whether to carry out the changes.
    pub apply: bool,
    /// The command that carries them out, if it is another than `apply`.
    pub next: Option<&'o str>,
    /// Whether a tenant gets JetStream only when the server runs what is rendered: its account has no streams yet.
    pub is_new: &'o dyn Fn(&Tenant) -> bool,
    /// Whether somebody waits for a tenant: it is done before the others.
    pub is_urgent: &'o dyn Fn(&Tenant) -> bool,
}

impl Order<'_> {
    /// The command that carries it out.
    fn command(&self) -> String {
        let server = if self.is_named { format!(" --server {}", self.url) } else { String::new() };
        format!("tenantry apply{server}{}", self.targets.options())
    }
}

/// Compares the server with the registry, applies the changes if `apply`, and prints them.
pub fn provision(
    context: &Context,
    valid: &Valid,
    root: &RootKey,
    order: &Order<'_>,
) -> Result<(PlanDocument, Exit), Error> {
    let Order { url, targets, apply, .. } = *order;
    let job = |tenant| {
        Some(Job { is_new: (order.is_new)(tenant), is_urgent: (order.is_urgent)(tenant), ..job(root, tenant)? })
    };
    let jobs: Vec<Job<'_>> = valid.model.tenants.iter().filter_map(job).collect();
    let bar = context.ui.progress(jobs.len(), if apply { "applying" } else { "comparing" });
    let reports = jetstream::run(url, jobs, targets, apply, &|| bar.step())?;
    bar.finish();
    // If no user can connect, the server is unreachable: report that once instead of once per tenant.
    if let Some(TenantReport { result: Err(Failure::Lost(words)), .. }) = reports.first()
        && reports.iter().all(|r| matches!(r.result, Err(Failure::Lost(_))))
    {
        return Err(Error::server(
            words.clone(),
            "start one with `tenantry up`, or name it: --server nats://HOST:4222",
        ));
    }
    let (exit, is_applicable) = show(context, &valid.model, &reports, apply);
    if is_applicable && order.next.is_none() {
        context.next(&order.command());
    }
    let unmatched = targets.unmatched(&reports);
    for Unmatched { error, hint, .. } in &unmatched {
        context.ui.found(error);
        context.ui.note(&format!("  {hint}"));
    }
    let exit = if unmatched.is_empty() { exit } else { Exit::Found };
    let mut document = document(url, &valid.model, reports, apply);
    document.failed.extend(unmatched.into_iter().map(|u| FailureDocument {
        tenant: u.tenant,
        error: u.error,
        hint: u.hint.into(),
    }));
    Ok((document, exit))
}

/// The job of a tenant's provisioner, with its login. `None` if the tenant has no provisioner.
fn job<'m>(root: &RootKey, tenant: &'m Tenant) -> Option<Job<'m>> {
    let user = tenant.provisioner()?;
    let login = |user: &User| {
        let users = std::slice::from_ref(user);
        credentials::logins(root, AccountKind::Tenant, &tenant.name, users, password_from_environment).pop().flatten()
    };
    // The one of the generation before, the one that a tenant has if it declares none, and others.
    let before = user.credential.former().map(|credential| User { credential, ..user.clone() });
    let implied = UserName::parse(PROVISIONER).ok().filter(|name| *name != user.name);
    let implied = implied.map(|name| User { name, credential: Credential::Nkey { generation: 1 }, ..user.clone() });
    let others = tenant.users.iter().filter(|other| other.is_provisioner() && other.name != user.name);
    let former = before
        .iter()
        .chain(&implied)
        .chain(others)
        .filter_map(|user| Some((login(user)?, user.inbox_prefix())))
        .collect();
    let inbox = user.inbox_prefix();
    Some(Job { tenant, login: login(user), inbox, former, is_new: false, is_urgent: false })
}

fn document(url: &str, model: &Model, reports: Vec<TenantReport<'_>>, applied: bool) -> PlanDocument {
    let mut document =
        PlanDocument { server: url.to_owned(), changes: Vec::new(), failed: Vec::new(), unchanged: 0, pending: None };
    let declared: usize = model.tenants.iter().map(objects).sum();
    for TenantReport { tenant, result } in reports {
        let tenant = tenant.name.to_string();
        match result {
            Err(failure) => {
                document.failed.push(FailureDocument { tenant, error: failure.message(), hint: failure.hint().into() });
            }
            Ok(changes) => document.changes.extend(changes.into_iter().map(|(change, outcome)| ChangeDocument {
                tenant: tenant.clone(),
                change,
                outcome: applied.then_some(match &outcome {
                    ChangeOutcome::Planned | ChangeOutcome::NotTried => "left alone",
                    ChangeOutcome::Done => "done",
                    ChangeOutcome::Failed(_) => "failed",
                }),
                error: match outcome {
                    ChangeOutcome::Failed(failure) => Some(failure.message()),
                    _ => None,
                },
            })),
        }
    }
    let differ = document
        .changes
        .iter()
        .filter(|c| c.change.action.is_open() && !matches!(c.change.action, Action::Delete { .. }));
    let differ = differ.map(|c| (&c.tenant, &c.change.stream, &c.change.consumer)).collect::<HashSet<_>>().len();
    document.unchanged = if document.failed.is_empty() { declared.saturating_sub(differ) } else { 0 };
    document
}

/// Number of streams and consumers that a tenant declares.
fn objects(tenant: &Tenant) -> usize {
    tenant.streams.iter().map(|s| 1 + s.consumers.len()).sum()
}

/// Maximum number of tenants, and of differences between accounts, printed without --verbose. The JSON document holds all.
const SHOWN: usize = 40;

/// Prints the changes. Returns the exit code, and whether `apply` would carry any of them out.
fn show(context: &Context, model: &Model, reports: &[TenantReport<'_>], applied: bool) -> (Exit, bool) {
    let ui = context.ui;
    let mut shown = 0;
    let mut hinted = HashSet::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut failed, mut open) = (0, 0);
    for TenantReport { tenant, result } in reports {
        let is_shown = shown < SHOWN || ui.is_verbose();
        let changes = match result {
            Err(failure) => {
                failed += 1;
                if is_shown {
                    shown += 1;
                    ui.found(&plain(&format!("{}: {}", tenant.name, failure.message())));
                    let hint = failure.hint();
                    if !hint.is_empty() && hinted.insert(hint) {
                        ui.note(&format!("  {hint}"));
                    }
                }
                continue;
            }
            Ok(changes) => changes,
        };
        if is_shown && !changes.is_empty() {
            shown += 1;
            ui.result(tenant.name.as_str());
        }
        for (change, outcome) in changes {
            *counts.entry(verb(&change.action, applied)).or_default() +=
                usize::from(!matches!(outcome, ChangeOutcome::Failed(_)));
            failed += usize::from(matches!(outcome, ChangeOutcome::Failed(_)));
            open += usize::from(change.action.is_open() && (!applied || *outcome != ChangeOutcome::Done));
            if is_shown {
                describe(context, tenant.name.as_str(), change, outcome);
            }
        }
    }
    let hidden =
        reports.iter().filter(|r| r.result.as_ref().map_or(true, |c| !c.is_empty())).count().saturating_sub(shown);
    if hidden > 0 {
        ui.note(&format!("… and {} more: -v or --format json has all", count(hidden, "tenant")));
    }
    let declared: usize = reports.iter().map(|r| objects(r.tenant)).sum();
    let mut summary: Vec<String> =
        counts.iter().filter(|(_, n)| **n > 0).map(|(verb, n)| format!("{n} {verb}")).collect();
    if failed > 0 {
        summary.push(format!("{failed} failed"));
    }
    let what = format!(
        "{}, {declared} {}",
        count(model.tenants.len(), "tenant"),
        if declared == 1 { "stream" } else { "streams and consumers" }
    );
    let what = match summary.as_slice() {
        [] if reports.is_empty() => "streams and consumers: no tenant has JetStream".to_owned(),
        [] => format!("{what}: as declared"),
        summary => format!("{what}: {}", summary.join(", ")),
    };
    let mut changes = reports.iter().flat_map(|r| r.result.iter().flatten());
    let possible = changes.any(|(change, _)| change.action.is_done() && !change.is_refused());
    if failed > 0 || open > 0 && (applied || !possible) {
        ui.found(&what);
    } else {
        ui.done(&what);
    }
    (if failed > 0 || open > 0 { Exit::Found } else { Exit::Ok }, !applied && possible && failed == 0)
}

/// The verb in the summary line, for what `plan` would do or `apply` did.
fn verb(action: &Action, applied: bool) -> &'static str {
    match (action, applied) {
        (Action::Create, false) => "to create",
        (Action::Update(_), false) => "to change",
        (Action::Replace(_), false) => "to replace",
        (Action::Delete { .. }, false) => "to delete",
        (Action::Create, true) => "created",
        (Action::Update(_), true) => "changed",
        (Action::Replace(_), true) => "replaced",
        (Action::Delete { .. }, true) => "deleted",
        (Action::Refused { .. } | Action::SubjectsTaken { .. }, _) => "cannot be changed in place",
        (Action::Withheld(_), _) => "changed by somebody else and left as it is",
        (Action::Waits(_), _) => "to wait for its stream",
        (Action::Undeclared { .. }, _) => "no longer declared",
        (Action::Unmanaged { .. }, _) => "not in the registry",
        (Action::Paused { .. }, _) => "paused",
    }
}

fn describe(context: &Context, tenant: &str, change: &Change, outcome: &ChangeOutcome) {
    let ui = context.ui;
    // Names and values from a server are untrusted text.
    let say = |text: &str| ui.result(&plain(text));
    let is_name = |name: &str| StreamName::parse(name).is_ok();
    let Change { action, stream, consumer, .. } = change;
    say(&format!("  {change}"));
    for Field { key, from, to } in action.fields() {
        say(&format!("      {}: {} → {}", key.name, key.show(from), key.show(to)));
    }
    let address = address(tenant, stream, consumer.as_deref());
    if let Some(note) = &change.note {
        say(&format!("      {note}"));
    }
    match (action, action.blocked_by()) {
        (_, Some(other)) if consumer.is_none() => {
            say(&format!(
                "      stream {other} on the server has its subjects or its share, and is not in the registry"
            ));
            let delete = self::address(tenant, other, None);
            if is_name(other) {
                ui.note(&format!(
                    "      call it {other} again, or have its messages deleted: {}",
                    context.command(&format!("tenantry apply --delete {delete}"))
                ));
            }
        }
        (Action::Refused { not_in_place, .. }, None) => {
            say(&format!("      {}: it has to be deleted and made again", not_in_place.reason));
            ui.note(&format!("      {}", context.command(&format!("tenantry apply --replace {address}"))));
        }
        (Action::Withheld(_), _) => {
            ui.note("      somebody else changed it: declare what it has now; or, to have them dropped:");
            ui.note(&format!("      {}", context.command(&format!("tenantry apply --replace {address}"))));
        }
        (Action::Waits(_), _) => say(&format!("      not before stream {stream} is changed")),
        (Action::Undeclared { .. }, _) if is_name(stream) && consumer.as_deref().is_none_or(is_name) => {
            ui.note(&format!("      {}", context.command(&format!("tenantry apply --delete {address}"))));
        }
        _ => {}
    }
    if let ChangeOutcome::Failed(failure) = outcome {
        ui.found(&plain(&format!("  {address}: {}", failure.message())));
        if !failure.hint().is_empty() {
            ui.note(&format!("    {}", failure.hint()));
        }
    }
}
