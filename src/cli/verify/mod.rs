//! `tenantry verify`.

mod mutants;

use std::fs;

use std::path::PathBuf;

use nkeys::KeyPair;

use super::{Context, Secrets, count, engine, login};
use crate::audit::Audit;
use crate::error::{Error, Exit};
use crate::keys::{AccountKind, RootKey, Secret};
use crate::live;
use crate::live::locate::{self, NatsServer};
use crate::live::throwaway::{Conf, Throwaway};
use crate::model::names::{AccountName, UserName};
use crate::model::{Credential, Model, Retired, User};
use crate::registry::Valid;
use crate::verdict::Verdict;
use crate::verify::report::{Check, Outcome, Report, SETTING, html, junit};
use crate::verify::wire::Login;
use crate::verify::{PROBES, Plan};

use crate::render::access::handed;
use crate::render::engine::Engine;
use crate::render::{self, Inputs};

/// Attack a live server as every tenant, and prove the tenants isolated.
///
/// Without --server it boots a throwaway nats-server from what the registry renders
/// and ends it afterwards. Every user logs in with its own credentials; every ordered
/// pair of tenants is tried. What could not be tried makes the result inconclusive.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 isolated; 1 leaky; 2 the registry is invalid; 3 inconclusive: something could not be tried"
)]
pub struct Args {
    /// Attack this server instead. Only streams and subjects of the run's own are
    /// made, inside each tenant, and removed afterwards.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Also try what fills limits and slows a server down.
    #[arg(long)]
    exhaustive: bool,
    /// Break the rendered configuration on purpose, one leak at a time, and require
    /// that the static proof, the live proof or both catch each.
    #[arg(long, conflicts_with_all = ["server", "html", "junit"])]
    mutants: bool,
    /// Print every probe and every mutant, in Markdown.
    #[arg(long, exclusive = true)]
    probes: bool,
    /// Write the matrix with all evidence as one HTML page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write JUnit XML, for CI.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// The nats-server to boot.
    #[arg(long, value_name = "FILE", conflicts_with = "server")]
    nats_server: Option<PathBuf>,
    /// Use the templates of this folder.
    #[arg(long, value_name = "DIR")]
    templates: Option<PathBuf>,
}

pub fn run(context: &Context, args: &Args) -> Result<Exit, Error> {
    if args.probes {
        context.ui.raw(&probes());
        return Ok(Exit::Ok);
    }
    let address = args.server.as_deref().map(address).transpose()?;
    let valid = context.load_noting()?;
    let engine = engine(args.templates.as_deref())?;
    let secrets = Secrets::load(context, &valid)?;
    raise_open_files();
    for file in [&args.html, &args.junit].into_iter().flatten() {
        // Now, and not when the work is done.
        fs::File::create(file).map_err(|e| {
            Error::usage(format!("cannot write {}: {e}", file.display()), "name a file in a folder that is there")
        })?;
    }
    if valid.model.tenants.len() < 2 {
        context.ui.note("one tenant: there is nobody to be isolated from");
    }
    if args.mutants {
        let model = few(&valid.model);
        let stand = Stand::new(context, args, &valid, &model, &engine, &secrets)?;
        return mutants::run(context, &stand);
    }
    let users: usize = valid.model.tenants.iter().map(|t| t.users.len()).sum();
    let bar = context.ui.progress(users, "attacking");
    let advance = |done: usize, of: usize, what: &'static str| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
        bar.set_message(what);
    };
    let report = match address {
        Some(address) => {
            let Logins { tenants: logins, former, operator } = logins(&valid.model, &secrets);
            let plan = Plan {
                model: &valid.model,
                logins,
                former,
                operator,
                address,
                throwaway: false,
                doors: Vec::new(),
                exhaustive: args.exhaustive,
            };
            attack(&plan, &advance)?
        }
        None => {
            let stand = Stand::new(context, args, &valid, &valid.model, &engine, &secrets)?;
            let audit = crate::mutants::audit(&stand.conf, None)?;
            stand.attack(&stand.conf, &audit, args.exhaustive, &advance)?
        }
    };
    bar.finish_and_clear();
    show(context, &report);
    for (file, text) in [(&args.html, html::page as fn(&Report) -> String), (&args.junit, junit::xml)] {
        if let Some(file) = file {
            fs::write(file, text(&report)).map_err(|e| Error::io("write", file, e))?;
            context.ui.note(&format!("written: {}", file.display()));
        }
    }
    context.ui.json(&report);
    Ok(report.verdict.exit())
}

/// Every probe and every mutant, as docs/probes.md shows them.
fn probes() -> String {
    let mut text = "# Probes of the live proof\n\n\
        Made by `tenantry verify --probes`. [proving.md](proving.md) says how they work.\n\n\
        | probe | proves that |\n|---|---|\n"
        .to_owned();
    for probe in PROBES {
        text += &format!("| {} | {} |\n", probe.id, probe.proves);
    }
    text += &format!(
        "\n`{SETTING}` in a report is no probe: it says what could not be set up, such as a user that is not let in.\n"
    );
    text += "\n## Mutants\n\nWhat `tenantry verify --mutants` breaks, one at a time; each has to be caught.\n\n\
        | class | mutant | what is broken |\n|---|---|---|\n";
    for mutant in crate::mutants::MUTANTS {
        text += &format!("| {} | {} | {} |\n", mutant.class, mutant.id, mutant.what);
    }
    text
}

/// What throwaway servers are booted from.
struct Stand<'s> {
    server: NatsServer,
    model: &'s Model,
    conf: Conf,
    logins: Logins,
}

impl<'s> Stand<'s> {
    fn new(
        context: &Context,
        args: &Args,
        valid: &Valid,
        model: &'s Model,
        engine: &Engine,
        secrets: &Secrets,
    ) -> Result<Self, Error> {
        let server = locate::locate(args.nats_server.as_deref(), |text| context.ui.note(text))?;
        let inputs = Inputs { model, keyring: secrets.keyring(valid), engine };
        let bundle = render::render(&inputs, || {}).map_err(|e| e.in_files(&valid.sources))?;
        secrets.remember_hashes();
        let accounts = bundle.text(render::ACCOUNTS).unwrap_or_default().to_owned();
        let mut conf = Conf { main: render::throwaway_conf(model, engine)?, accounts };
        let mut logins = logins(model, secrets);
        logins.stand_in(model, &mut conf);
        Ok(Self { server, model, conf, logins })
    }

    /// Boots a server with a configuration, which may be a broken one, and
    /// attacks it as it should have been.
    fn attack(
        &self,
        conf: &Conf,
        audit: &Audit,
        exhaustive: bool,
        advance: &dyn Fn(usize, usize, &'static str),
    ) -> Result<Report, Error> {
        let running = Throwaway::boot(&self.server, conf)?;
        let doors = audit.world.server.doors.iter().filter(|d| d.listens);
        let plan = Plan {
            model: self.model,
            logins: self.logins.tenants.clone(),
            former: self.logins.former.clone(),
            operator: self.logins.operator.clone(),
            address: running.address.clone(),
            throwaway: true,
            doors: doors.filter_map(|d| Some((d.kind, d.address.clone()?))).collect(),
            exhaustive,
        };
        attack(&plan, advance)
    }
}

/// Mutants are tried on the first few tenants and what they share: one leak is as
/// visible there.
fn few(model: &Model) -> Model {
    const FEW: usize = 8;
    let mut few = model.clone();
    few.tenants.truncate(FEW);
    let names: Vec<AccountName> = few.tenants.iter().map(|t| t.name.clone()).collect();
    for tenant in &mut few.tenants {
        tenant.exports.iter_mut().for_each(|e| e.to.retain(|name| names.contains(name)));
        tenant.exports.retain(|e| !e.to.is_empty());
        tenant.imports.retain(|i| names.contains(&i.from));
        tenant.copied.retain(|c| names.contains(&c.to));
        tenant.copies.retain(|c| names.contains(&c.from));
    }
    few
}

fn attack(plan: &Plan<'_>, advance: &dyn Fn(usize, usize, &'static str)) -> Result<Report, Error> {
    live::runtime()?.block_on(crate::verify::attack(plan, advance))
}

/// Every user is a connection, and the usual limit is a thousand.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// `nats://host:port`, `host:port` or `host`.
fn address(url: &str) -> Result<String, Error> {
    let refuse = |hint: &str| Err(Error::usage(format!("`{url}` is not where a NATS server is"), hint));
    let rest = match url.split_once("://") {
        Some(("nats", rest)) => rest,
        Some(_) => return refuse("this version speaks nats:// only"),
        None => url,
    };
    let rest = rest.trim_end_matches('/');
    if rest.contains('@') {
        return refuse("no credentials: every tenant's own are used");
    }
    if rest.is_empty() || rest.contains(['/', ' ', ',']) {
        return refuse("write nats://HOST:PORT");
    }
    let has_port = rest.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match (has_port, rest.contains(':')) {
        (true, _) => Ok(rest.to_owned()),
        (false, false) => Ok(format!("{rest}:4222")),
        (false, true) => refuse("the port is a number: nats://HOST:4222"),
    }
}

/// How everybody logs in.
struct Logins {
    tenants: Vec<Vec<Option<Login>>>,
    former: Vec<(String, Login)>,
    operator: Option<Login>,
}

fn logins(model: &Model, secrets: &Secrets) -> Logins {
    let of = |kind: AccountKind, account: &AccountName, users: &[User]| -> Vec<Option<Login>> {
        let supplied = |variable: &str| secrets.supplied.get(variable).cloned();
        let handed = handed(&secrets.root, kind, account, users);
        users.iter().zip(handed).map(|(user, handed)| login(user, handed, supplied).map(Login::from)).collect()
    };
    let system = &model.system;
    Logins {
        tenants: model.tenants.iter().map(|t| of(AccountKind::Tenant, &t.name, &t.users)).collect(),
        former: former(model, &secrets.root),
        operator: of(AccountKind::System, &system.account, &system.users).into_iter().flatten().next(),
    }
}

/// Credentials that were rotated or revoked: a server that still takes them runs an
/// older registry.
fn former(model: &Model, root: &RootKey) -> Vec<(String, Login)> {
    let mut former = Vec::new();
    let mut add = |tenant: &AccountName, user: &UserName, generation: u32, nkey: bool, password: bool| {
        let key = root.account(AccountKind::Tenant, tenant).user(user);
        let whose = format!("{tenant}/{user}, generation {generation}");
        if nkey {
            former.push((whose.clone(), Login::Seed(key.nkey(generation).seed())));
        }
        if password {
            former.push((whose, Login::Password(user.to_string(), key.password(generation))));
        }
    };
    for tenant in &model.tenants {
        for user in &tenant.users {
            match user.credential {
                Credential::Nkey { generation: g @ 2.. } => add(&tenant.name, &user.name, g - 1, true, false),
                Credential::Password { generation: g @ 2.. } => add(&tenant.name, &user.name, g - 1, false, true),
                _ => {}
            }
        }
    }
    for Retired { tenant, user, generation } in &model.retired {
        let is_back = |u: &UserName| {
            model.tenants.iter().any(|t| t.name == *tenant && t.users.iter().any(|user| user.name == *u))
        };
        if let Some(user) = user.as_ref().filter(|user| !is_back(user)) {
            // Which kind it was is not kept.
            add(tenant, user, *generation, true, true);
        }
    }
    former
}

impl Logins {
    /// On a throwaway server a key made for this run stands in for each key that
    /// a user brought, whose seed is not known here.
    fn stand_in(&mut self, model: &Model, conf: &mut Conf) {
        let users = model.tenants.iter().flat_map(|t| &t.users);
        for (user, login) in users.zip(self.tenants.iter_mut().flatten()) {
            let Credential::PublicKey(public) = &user.credential else { continue };
            let pair = KeyPair::new_user();
            if let Ok(seed) = pair.seed() {
                conf.accounts = conf.accounts.replace(public.as_str(), &pair.public_key());
                *login = Some(Login::Seed(Secret::new(seed)));
            }
        }
    }
}

/// As many tenants as fit beside each other.
const COLUMNS: usize = 6;
/// As many leaks and gaps are shown; all are in the reports.
const SHOWN: usize = 12;

fn show(context: &Context, report: &Report) {
    let Report { verdict, server, tenants, pairs, duration_ms, .. } = report;
    let cells = report.matrix();
    let is_set = report.checks.iter().any(|c| c.probe == SETTING).then_some(SETTING);
    let rows: Vec<Vec<String>> = PROBES
        .iter()
        .map(|probe| probe.id)
        .chain(is_set)
        .map(|id| {
            let of = |tenant: &String| cells.get(&(id, tenant.as_str())).copied();
            let mut row = vec![id.to_owned()];
            if report.names.len() <= COLUMNS {
                row.extend(report.names.iter().map(|t| mark(of(t)).to_owned()));
            } else {
                let number = |wanted: Option<Outcome>| match report.names.iter().filter(|t| of(t) == wanted).count() {
                    0 => "·".to_owned(),
                    n => n.to_string(),
                };
                row.extend([Some(Outcome::Pass), Some(Outcome::Leak), Some(Outcome::NotRun), None].map(number));
            }
            row
        })
        .collect();
    let header: Vec<&str> = if report.names.len() <= COLUMNS {
        std::iter::once("PROBE").chain(report.names.iter().map(String::as_str)).collect()
    } else {
        vec!["PROBE", "HELD", "LEAKED", "NOT RUN", "DOES NOT APPLY"]
    };
    context.ui.table(&header, rows);
    if report.names.len() <= COLUMNS {
        context.ui.note("✔ held  ✘ leaked  ? could not be tried  · does not apply here, or only with --exhaustive");
    }
    let worst = |wanted: Outcome| report.checks.iter().filter(move |c| c.outcome == wanted);
    for (outcome, what) in [(Outcome::Leak, "leak"), (Outcome::NotRun, "not run")] {
        for check in worst(outcome).take(SHOWN) {
            let evidence = shortened(&check.evidence);
            let text = format!("{what}: {}: {} → {}: {evidence}", check.probe, check.from, check.to);
            if outcome == Outcome::Leak { context.ui.found(&text) } else { context.ui.unknown(&text) }
        }
        if worst(outcome).count() > SHOWN {
            context
                .ui
                .note(&format!("… and {} more: --html FILE or --format json has all", worst(outcome).count() - SHOWN));
        }
    }
    let what = format!(
        "{}, {}, {} probes against nats-server {}{} in {:.1} s",
        count(*tenants, "tenant"),
        count(*pairs, "ordered pair"),
        PROBES.len(),
        server.version,
        if server.throwaway { "" } else { " at " }.to_owned() + if server.throwaway { "" } else { &server.url },
        std::time::Duration::from_millis(*duration_ms).as_secs_f64(),
    );
    let gaps = worst(Outcome::NotRun).count();
    let is_another = |c: &Check| {
        c.outcome != Outcome::Pass && ["declarations", "controls", "entry", "limits", SETTING].contains(&c.probe)
    };
    if !server.throwaway && report.checks.iter().any(is_another) {
        context.next("tenantry up, if the server does not run this registry yet; then verify again");
    }
    match verdict {
        Verdict::Isolated => context.ui.done(&format!("isolated: {what}")),
        Verdict::Leaky => {
            context.ui.found(&format!("leaky: {} in {what}", count(worst(Outcome::Leak).count(), "leak")));
        }
        Verdict::Inconclusive => {
            context.ui.unknown(&format!("inconclusive: {} not run in {what}", count(gaps, "check")));
        }
    }
}

/// What a server answered may be long.
fn shortened(evidence: &str) -> String {
    const LONG: usize = 240;
    match evidence.char_indices().nth(LONG) {
        Some((at, _)) => format!("{}… (--html FILE or --format json has all)", &evidence[..at]),
        None => evidence.to_owned(),
    }
}

fn mark(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        Some(Outcome::Pass) => "✔",
        Some(Outcome::Leak) => "✘",
        Some(Outcome::NotRun) => "?",
        None => "·",
    }
}
