//! The consequences of a plan that only the running server can tell: limits in the way, streams in memory, passwords that it
//! checks again.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde::Serialize;

use super::{Context, count};
use crate::diag::first_few;
use crate::error::Error;
use crate::keys::check_time;
use crate::live::reload_plan::ReloadPlan;
use crate::live::stats::{self, Forgotten, InMemory, OverLimit};
use crate::model::{Credential, User};
use crate::project::Project;

/// The consequences of a plan.
pub struct Consequences {
    /// Limits that are lower than what is used now.
    pub over_limit: Vec<OverLimit>,
    /// Whether those of clients could be asked for.
    pub are_limits_known: bool,
    /// The streams and consumers in memory that it loses. `None`: the server could not be asked.
    pub emptied: Option<Emptied>,
    /// Passwords that a reload has checked again. `None`: none, or unknown.
    pub password_checks: Option<PasswordChecks>,
}

impl Consequences {
    /// Asks the server at `url`.
    pub fn ask(project: &Project, plan: &ReloadPlan, url: &str) -> Self {
        let (over_limit, are_limits_known) = lowered_limits(plan, project, url);
        let is_reload = plan.reload && !plan.restart;
        let password_checks = if is_reload { PasswordChecks::ask(project, url) } else { None };
        Self { over_limit, are_limits_known, emptied: emptied(project, plan, url), password_checks }
    }

    /// Refuses what cannot be taken back or finished: see [`refuse_dead_ends`].
    pub fn refuse_dead_ends(&self, plan: &ReloadPlan) -> Result<(), Error> {
        refuse(&self.over_limit, plan)
    }
}

/// Refuses a plan after which tenantry could not ask the server any more what it runs, or could not change streams, because
/// they reserve more than their tenant may. The server is asked only if the plan changes such a limit.
pub fn refuse_dead_ends(project: &Project, plan: &ReloadPlan, url: &str) -> Result<(), Error> {
    let changes_storage = || project.model().tenants.iter().any(|tenant| plan.changes_storage(tenant.name.as_str()));
    match plan.restart || plan.lowered.iter().any(|lowered| lowered.account.is_none()) || changes_storage() {
        true => refuse(&lowered_limits(plan, project, url).0, plan),
        false => Ok(()),
    }
}

fn refuse(over: &[OverLimit], plan: &ReloadPlan) -> Result<(), Error> {
    if let Some(over) = over.iter().find(|over| over.shuts_out()) {
        return Err(Error::refused(
            format!("nothing was written: {}", over.consequence()),
            "raise max_connections under [server], or have clients disconnect first",
        ));
    }
    // A restart for any reason drops them.
    if let Some(over) = over.iter().find(|over| over.drops_consumers() && plan.restart) {
        return Err(Error::refused(
            format!("nothing was written: {}", over.consequence()),
            "first without what needs a restart: a reload lowers the limit, and `tenantry apply` the consumers that the registry has with \
             less; those that it does not declare are changed or deleted by hand; then the restart",
        ));
    }
    match over.iter().find(|over| over.is_reserved() && plan.changes_storage(&over.tenant)) {
        Some(over) => Err(Error::refused(
            format!("nothing was written: {}", over.consequence()),
            "lower the streams first: `tenantry apply` does that where the registry has a smaller max_bytes; streams that it does \
             not declare are lowered or deleted by hand; then the tenant",
        )),
        None => Ok(()),
    }
}

/// The limits of a plan that are lower than what is used now, and whether those of clients could be asked for. Without an
/// answer nothing is said about the others: the plan does not depend on them.
fn lowered_limits(plan: &ReloadPlan, project: &Project, url: &str) -> (Vec<OverLimit>, bool) {
    let operators = if plan.reload || plan.restart { project.operator_logins() } else { Vec::new() };
    let tenants = operators.iter().find_map(|op| stats::tenants(url, op, project.model()).ok());
    let of_tenants = tenants.into_iter().flatten().flat_map(|tenant| tenant.over_limit);
    let of_clients = match plan.reload {
        false => Some(Vec::new()),
        true => operators.iter().find_map(|op| stats::exceeded(url, op, &plan.lowered, project.model()).ok()),
    };
    let are_limits_known = of_clients.is_some();
    // Those of clients are asked for each lowered limit.
    let of_clients = of_clients.unwrap_or_default();
    (of_tenants.filter(|over| !over.disconnects()).chain(of_clients).collect(), are_limits_known)
}

/// The streams and consumers in memory that a plan loses.
#[derive(Debug, Default)]
pub struct Emptied {
    /// Streams that hold messages.
    pub streams: Vec<InMemory>,
    /// Consumers of streams on disk.
    pub consumers: Vec<Forgotten>,
}

/// The streams and consumers in memory that a plan loses: all of them by a restart, those of accounts that lose
/// JetStream by a reload. `None`: the server could not be asked, or what it runs is not known.
pub fn emptied(project: &Project, plan: &ReloadPlan, url: &str) -> Option<Emptied> {
    let with_jetstream = project.model().tenants.iter().filter(|tenant| tenant.jetstream.is_some());
    let kept: HashSet<&str> = with_jetstream.map(|tenant| tenant.name.as_str()).collect();
    let names: HashSet<&str> = if plan.restart {
        plan.accounts.iter().flatten().map(String::as_str).chain(kept).collect()
    } else if plan.reload {
        plan.accounts_without_jetstream()?.filter(|name| !kept.contains(name)).collect()
    } else {
        HashSet::new()
    };
    if names.is_empty() {
        return Some(Emptied::default());
    }
    in_memory(project, names, url)
}

/// The streams and consumers that the end of a server loses. `None`: it could not be asked.
pub fn emptied_by_the_end(project: &Project, url: &str) -> Option<Emptied> {
    let with_jetstream = project.model().tenants.iter().filter(|tenant| tenant.jetstream.is_some());
    in_memory(project, with_jetstream.map(|tenant| tenant.name.as_str()).collect(), url)
}

fn in_memory(project: &Project, names: HashSet<&str>, url: &str) -> Option<Emptied> {
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let operators = project.operator_logins();
    let found = operators.iter().find_map(|operator| stats::accounts(url, operator, &names).ok())?;
    let mut emptied = Emptied::default();
    for jetstream in found.into_values().filter_map(|(_, jetstream)| jetstream) {
        emptied.streams.extend(jetstream.in_memory);
        emptied.consumers.extend(jetstream.forgotten);
    }
    Some(emptied)
}

/// Describes what a plan empties in memory, each as what follows "the restart". `None` for what is emptied: the server
/// could not be asked.
pub fn emptied_in_words(emptied: Option<&Emptied>) -> Vec<String> {
    let Some(emptied) = emptied else {
        return vec![
            "empties streams in memory and forgets consumers in memory, of which the server could not be asked"
                .to_owned(),
        ];
    };
    let mut words = Vec::new();
    if !emptied.streams.is_empty() {
        let named = emptied.streams.iter().map(|lost| {
            let messages = count(usize::try_from(lost.messages).unwrap_or(usize::MAX), "message");
            format!("{}/{} ({messages})", lost.tenant, lost.stream)
        });
        words.push(format!("empties streams in memory: {}", first_few(named)));
    }
    if !emptied.consumers.is_empty() {
        let named = emptied.consumers.iter().map(|lost| format!("{}/{}/{}", lost.tenant, lost.stream, lost.consumer));
        words.push(format!(
            "forgets consumers in memory: {}; `apply` makes those of the registry again, which begin anew, and until then streams with \
             retention = \"interest\" drop what only they wait for",
            first_few(named)
        ));
    }
    words
}

/// Clients whose passwords a server checks again when it reloads, and how long that takes, by the speed of this machine:
/// meanwhile nobody logs in, and JetStream's API answers nobody.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PasswordChecks {
    clients: usize,
    milliseconds: u64,
}

impl PasswordChecks {
    /// The shortest time that is shown. Milliseconds.
    const NOTICEABLE: u64 = 100;

    /// Asks the server who is connected. `None`: nobody with a password, or it does not say.
    fn ask(project: &Project, url: &str) -> Option<Self> {
        let model = project.model();
        let users = model.tenants.iter().flat_map(|tenant| &tenant.users).chain(&model.system.users);
        let cost = |user: &User| match user.credential {
            Credential::Password { .. } => Some((user.name.to_string(), model.bcrypt.derived)),
            Credential::PasswordFromEnv { .. } => Some((user.name.to_string(), model.bcrypt.supplied)),
            Credential::Nkey { .. } | Credential::PublicKey(_) => None,
        };
        let costs: BTreeMap<String, u32> = users.filter_map(cost).collect();
        if costs.is_empty() {
            return None;
        }
        let operators = project.operator_logins();
        let clients = operators.iter().find_map(|login| stats::password_clients(url, login, &costs).ok())?;
        let times = clients.iter().map(|(cost, count)| check_time(*cost).as_secs_f64() * *count as f64);
        let time = Duration::try_from_secs_f64(times.sum()).unwrap_or(Duration::MAX);
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Some(Self { clients: clients.values().sum(), milliseconds }).filter(|checks| checks.clients > 0)
    }

    pub fn show(self, context: &Context) {
        let Self { clients, milliseconds } = self;
        if milliseconds >= Self::NOTICEABLE {
            let seconds = Duration::from_millis(milliseconds).as_secs_f64();
            context.ui.note(&format!(
                "the server checks the passwords of {} again: for about {seconds:.1} s nobody logs in, and JetStream's API answers \
                 nobody (docs/keys.md)",
                count(clients, "connected client")
            ));
        }
    }
}
