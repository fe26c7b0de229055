//! `tenantry explain`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::{Context, no_such_user, split_user};
use crate::audit::reach::term::is_misread;
use crate::audit::reach::{self, Answer, Question};
use crate::audit::rules::{OverLeaf, misread_by_the_server, over_leaf_nodes};
use crate::audit::system::{Account, System, User};
use crate::audit::tenants::Tenants;
use crate::audit::{Audit, crossing};
use crate::diag::{Diagnostic, Severity, Span};
use crate::error::{Error, Exit};
use crate::project::Project;
use crate::subject::Subject;

/// Say whether one user can reach another, and why; or list who reaches whom.
///
/// It is answered from the configuration, without a server: the way that is open,
/// or what stops it. Without --conf it is the one that the registry renders. Without
/// --from or --to every flow from one account into another is listed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0; 1 something reaches, with --exit-code; 2 wrong input; 3 not everything is decided in the file\n\
                  Example: tenantry explain --from TENANT_A/tenant_a_app --to TENANT_B --subject TENANT_A.public.x"
)]
pub struct Args {
    /// Who sends: ACCOUNT/USER, or ACCOUNT for any of its users.
    #[arg(long, value_name = "ACCOUNT[/USER]")]
    from: Option<String>,
    /// Who receives: ACCOUNT/USER, or ACCOUNT for any of its users.
    #[arg(long, value_name = "ACCOUNT[/USER]")]
    to: Option<String>,
    /// Who is one tenant, where it is not each account, as for `audit`. Then --from and --to
    /// may name a tenant, and flows are listed from one tenant to another.
    #[arg(long, value_name = "FILE", requires = "conf")]
    tenants: Option<PathBuf>,
    /// On which subject. Default: any.
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// A nats-server configuration to ask, instead of the registry's.
    #[arg(long, value_name = "FILE")]
    conf: Option<PathBuf>,
    /// Use the templates of this folder.
    #[arg(long, value_name = "DIR", conflicts_with = "conf")]
    templates: Option<PathBuf>,
    /// Exit with 1 if anything that was asked for reaches: for CI.
    #[arg(long)]
    exit_code: bool,
}

#[derive(Serialize)]
struct ExplainDocument {
    reaches: bool,
    pairs: Vec<Pair>,
    /// Why there may be more.
    #[serde(skip_serializing_if = "Option::is_none")]
    undecided: Option<String>,
}

#[derive(Serialize)]
struct Pair {
    from: String,
    to: String,
    reaches: bool,
    paths: Vec<PathReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped_by: Option<Step>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caveat: Option<&'static str>,
    /// The tenants of both, or their accounts where nobody said who is one.
    #[serde(skip)]
    between: (String, String),
}

/// Caveat: replies to a service request arrive whatever the requester may subscribe to.
const ANSWERS: &str = "but answers to requests that are sent to its services do arrive";
/// Caveat: subject permissions do not restrict the system account, which operates the server.
const SYSTEM: &str = "by subjects only: the system account operates the server, and hears of every account";
/// Caveat: what leaf nodes connect is not followed.
const LEAF: &str = "but a leaf node may connect both elsewhere, which is not followed here: `tenantry audit` says which tenants may meet so";
/// The rules whose errors are ways between accounts that are no subjects published and subscribed to.
const BESIDE: [&str; 8] = [
    "one-login",
    "connection-types",
    "leaf-bridge",
    "open-cluster",
    "anonymous-user",
    "shared-identity",
    "shared-stream",
    "reserved-export",
];
/// Caveat of a list: the same.
const LEAVES: &str =
    "what leaf nodes connect beside these flows is not followed: `tenantry audit` says which tenants may meet so";
/// Caveat: not every message was followed.
const CUT: &str = "but not all of it was followed: imports and mappings make subjects longer in a circle";
/// Caveat: what streams capture and deliver is not in the configuration.
const STREAMS: &str = "but streams may carry it: what they capture and deliver is on the server and not in this file";
/// Caveat: JetStream delivers a message over a share with the subject under which a stream stored it.
const DELIVERED: &str =
    "but consumers of the sender's account may deliver messages of any subject over what the two share";
/// Caveat: whoever answers a message publishes to the reply subject that its sender chose.
const LED: &str = "but a third account, or another user of the receiver's, that gets its messages may answer or acknowledge them, \
    which goes to a subject that the sender names, such as one of the receiver's services";
/// Caveat: the requester chooses the reply subject.
const ANSWERS_THIRD: &str = "but it answers requests of a third account, which chooses where the answer goes, such as one of the receiver's services";
/// Caveat: inside one account, subject permissions do not decide everything.
const SAME_ACCOUNT: &str = "by subjects only: inside one account reply subjects are not checked, and JetStream and whoever answers follow them";

#[derive(Serialize)]
struct PathReport {
    subject: String,
    arrives_as: String,
    steps: Vec<Step>,
}

#[derive(Serialize)]
struct Step {
    what: String,
    file: String,
    line: usize,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, file, line } = self;
        write!(f, "{what} ({file}:{line})")
    }
}

pub fn run(context: &Context, args: &Args) -> Result<Exit, Error> {
    let subject = args.subject.as_deref().map(|text| {
        Subject::as_the_server_reads(text).ok_or_else(|| {
            Error::usage(format!("`{text}` is not a subject"), "tokens between dots, * for one, > for the rest")
        })
    });
    let subject = subject.transpose()?;
    let audit = match &args.conf {
        Some(file) => super::audit::audited(file, args.tenants.as_deref())?,
        None => of_registry(context, args)?,
    };
    let Audit { system, tenants, .. } = &audit;
    let users = |who: Option<&String>| who.map(|who| find(system, tenants, who)).transpose();
    let (from, to) = (users(args.from.as_ref())?, users(args.to.as_ref())?);
    let listed = from.is_none() || to.is_none();
    let over_leaf = over_leaf_nodes(system, tenants);
    let mut pairs = Vec::new();
    if let ([one], Some([other])) = (from.as_deref().unwrap_or_default(), to.as_deref())
        && std::ptr::eq(one.1, other.1)
    {
        return Err(Error::usage(
            format!("`{}/{}` on both sides", one.0.name, one.1.display_name()),
            "name two users, or two accounts: a user reaches itself wherever it may publish and subscribe",
        ));
    }
    for (sender, receivers) in candidates(system, tenants, from, to.as_deref()) {
        let answers = reach::paths_to_each(system, sender, &receivers, subject.as_ref());
        let carried = crossing::carried_to_each(system, sender, &receivers, subject.as_ref());
        for ((receiver, mut answer), carried) in receivers.into_iter().zip(answers).zip(carried) {
            add(&mut answer, carried);
            let question = Question { from: sender, to: receiver, subject: subject.as_ref() };
            let of = |(account, user): Somebody<'_>| match args.tenants {
                Some(_) => tenants.of(account, user).to_owned(),
                None => account.name.clone(),
            };
            pairs.push(Pair { between: (of(sender), of(receiver)), ..pair(&audit, &over_leaf, question, answer) });
        }
    }
    let is_cut = pairs.iter().any(|pair| pair.caveat == Some(CUT));
    let is_open = pairs.iter().any(|pair| [LEAF, STREAMS].map(Some).contains(&pair.caveat));
    pairs.retain(|pair| pair.reaches || !listed);
    let reaches = pairs.iter().any(|p| p.reaches);
    if pairs.len() == 1 || context.ui.is_verbose() {
        pairs.iter().for_each(|pair| show(context, pair));
    } else {
        let flows = summarize(context, &pairs, (args.from.as_deref(), args.to.as_deref()));
        if listed {
            context.ui.done(&format!(
                "{} from one {} into another, for {} of users (-v lists them)",
                super::count(flows, "flow"),
                if args.tenants.is_some() { "tenant" } else { "account" },
                super::count(pairs.len(), "pair")
            ));
        }
    }
    if is_cut {
        context.ui.unknown(&format!("inconclusive {CUT}"));
    }
    let undecided = undecided(&audit, &over_leaf, listed, reaches);
    for why in &undecided {
        context.ui.unknown(&format!("inconclusive: {why}"));
    }
    let is_undecided = is_cut || is_open || !undecided.is_empty();
    context.ui.json(&ExplainDocument { reaches, pairs, undecided: undecided.into_iter().next() });
    Ok(if args.exit_code && reaches {
        Exit::Found
    } else if is_undecided {
        Exit::Unavailable
    } else {
        Exit::Ok
    })
}

/// Why there may be ways beside those that were found.
fn undecided(audit: &Audit, over_leaf: &[OverLeaf<'_>], listed: bool, reaches: bool) -> Vec<String> {
    let elsewhere = audit.system.operator.as_ref().and_then(|operator| operator.elsewhere.as_ref());
    let elsewhere = elsewhere.map(|(why, _)| why.clone());
    let dials = listed && (audit.system.server.remotes().next().is_some() || !over_leaf.is_empty());
    let is_beside = |f: &&Diagnostic| f.severity == Severity::Error && BESIDE.contains(&f.rule);
    let beside = audit.findings.iter().find(is_beside).filter(|_| listed || !reaches);
    let imports = audit.system.accounts.iter().flat_map(|account| account.imports.iter().map(move |i| (account, i)));
    let misread = imports.into_iter().find(|(_, import)| is_misread(&import.subject, &import.to));
    let misread =
        misread.map(|(account, import)| format!("{} may differ from this", misread_by_the_server(account, import)));
    let beside = beside.map(|f| format!("`tenantry audit` finds a way beside these: {}: {}", f.rule, f.message));
    [elsewhere, dials.then(|| LEAVES.to_owned()), misread, beside].into_iter().flatten().collect()
}

type Somebody<'w> = (&'w Account, &'w User);

/// Each sender with the receivers to examine. If one side is `None`, only receivers of other
/// tenants, in the sender's account and in those that its shares lead to.
fn candidates<'w>(
    system: &'w System,
    tenants: &Tenants,
    from: Option<Vec<Somebody<'w>>>,
    to: Option<&[Somebody<'w>]>,
) -> Vec<(Somebody<'w>, Vec<Somebody<'w>>)> {
    let listed = from.is_none() || to.is_none();
    let mut found = Vec::new();
    for sender in from.unwrap_or_else(|| system.users().collect()) {
        let apart = |r: &Somebody<'w>| {
            let are_apart = r.0.name != sender.0.name || tenants.of(r.0, r.1) != tenants.of(sender.0, sender.1);
            !std::ptr::eq(r.1, sender.1) && (!listed || are_apart)
        };
        let receivers = match to {
            Some(to) => to.iter().copied().filter(apart).collect(),
            None => {
                let accounts = reach::reachable(system, sender.0).into_iter().chain([sender.0]);
                accounts.flat_map(Account::members).filter(apart).collect()
            }
        };
        found.push((sender, receivers));
    }
    found
}

fn of_registry(context: &Context, args: &Args) -> Result<Audit, Error> {
    let project = Project::open(context.load()?, args.templates.as_deref())?;
    let bundle = project.render(|| {})?;
    project.save_hashes();
    let mut audit = project.audit(&bundle)?;
    project.describe(&mut audit.system);
    Ok(audit)
}

/// Finds users by their tenant, by their name in the registry or by their name on the server.
fn find<'w>(system: &'w System, tenants: &Tenants, who: &str) -> Result<Vec<(&'w Account, &'w User)>, Error> {
    if tenants.assigns_to(who) {
        return Ok(system.users().filter(|(account, user)| tenants.of(account, user) == who).collect());
    }
    let (name, user) = split_user(who);
    let of_user = system.accounts.iter().find(|a| a.users.iter().any(|u| u.name == who || u.display_name() == who));
    let account = system.account(name).ok_or_else(|| match of_user {
        Some(a) => Error::usage(format!("`{who}` is a user, not an account"), format!("write `{}/{who}`", a.name)),
        None => {
            let tenants = system.users().map(|(account, user)| tenants.of(account, user));
            let known: BTreeSet<&str> = system.accounts.iter().map(|a| a.name.as_str()).chain(tenants).collect();
            Error::unknown_name("account or tenant", name, &Vec::from_iter(known))
        }
    })?;
    let Some(user) = user else { return Ok(account.users.iter().map(|u| (account, u)).collect()) };
    let found: Vec<_> = account.users.iter().filter(|u| u.name == user || u.label.as_deref() == Some(user)).collect();
    if found.is_empty() {
        let known: Vec<&str> = account.users.iter().map(User::display_name).collect();
        return Err(no_such_user(name, user, &known));
    }
    Ok(found.into_iter().map(|u| (account, u)).collect())
}

/// The caveat to "does not reach". `None` if there is none.
fn caveat(audit: &Audit, over_leaf: &[OverLeaf<'_>], question: Question<'_>) -> Option<&'static str> {
    let Audit { system, tenants, .. } = audit;
    let (from, to) = (question.from.0, question.to.0);
    if crossing::may_be_read(system, tenants, question) {
        return Some(STREAMS);
    }
    if from.name == to.name {
        return Some(SAME_ACCOUNT);
    }
    if system.is_system(from) || system.is_system(to) {
        return Some(SYSTEM);
    }
    let dials = |account: &Account| system.server.remote_of(&account.name).is_some();
    let is_led = |over: &OverLeaf<'_>| (over.from, over.to) == (from.name.as_str(), to.name.as_str());
    if dials(from) || dials(to) || over_leaf.iter().any(is_led) {
        return Some(LEAF);
    }
    if crossing::may_deliver(system, question) {
        return Some(DELIVERED);
    }
    if crossing::may_answer(system, question) {
        return Some(ANSWERS);
    }
    if crossing::may_answer_third(system, question) {
        return Some(ANSWERS_THIRD);
    }
    crossing::may_be_led(system, question).then_some(LED)
}

/// Adds the paths past the lists that are no direct ones as well.
fn add(answer: &mut Answer, carried: Vec<reach::Path>) {
    let known: BTreeSet<(String, String)> =
        answer.paths.iter().map(|path| (path.subject.to_string(), path.arrives.to_string())).collect();
    answer.paths.extend(
        carried.into_iter().filter(|path| !known.contains(&(path.subject.to_string(), path.arrives.to_string()))),
    );
}

fn pair(audit: &Audit, over_leaf: &[OverLeaf<'_>], question: Question<'_>, answer: Answer) -> Pair {
    let Audit { system, sources, .. } = audit;
    let step = |(what, span): (String, Span)| Step {
        what,
        file: sources.path(span.file).file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
        line: sources.position(span).0,
    };
    let name = |(account, user): (&Account, &User)| format!("{}/{}", account.name, user.display_name());
    let Answer { paths: found, is_complete } = answer;
    // To "does not reach" only.
    let caveat = match (found.is_empty(), is_complete) {
        (false, _) => None,
        (true, true) => caveat(audit, over_leaf, question),
        (true, false) => Some(CUT),
    };
    Pair {
        from: name(question.from),
        to: name(question.to),
        between: Default::default(),
        reaches: !found.is_empty(),
        caveat,
        stopped_by: found.is_empty().then(|| step(reach::obstacle(system, question))),
        paths: found
            .into_iter()
            .map(|path| PathReport {
                subject: path.subject.to_string(),
                arrives_as: path.arrives.to_string(),
                steps: path.steps.into_iter().map(step).collect(),
            })
            .collect(),
    }
}

/// Prints each flow between accounts once for all of their users, and for accounts without
/// a flow each reason once, in the words in which `asked` names them. Returns the number of flows.
fn summarize(context: &Context, pairs: &[Pair], asked: (Option<&str>, Option<&str>)) -> usize {
    // By sender: who receives.
    let mut flows: BTreeMap<_, (BTreeMap<&str, BTreeSet<&str>>, &PathReport)> = BTreeMap::new();
    let mut reasons: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for pair in pairs {
        let between = &pair.between;
        for path in &pair.paths {
            let key = (between, &path.subject, &path.arrives_as);
            let flow = flows.entry(key).or_insert_with(|| (BTreeMap::new(), path));
            flow.0.entry(&pair.from).or_default().insert(&pair.to);
        }
        if let Some(step) = &pair.stopped_by {
            let reason = step.to_string();
            let told: &mut BTreeSet<String> = reasons.entry(between).or_default();
            told.insert(reason);
            told.extend(pair.caveat.map(str::to_owned));
        }
    }
    for (((from, to), subject, arrives), (receivers, path)) in &flows {
        let name = if subject == arrives { String::new() } else { format!(" as {arrives}") };
        context.ui.result(&format!("{from} reaches {to}: {subject}{name}"));
        // The flow itself says what the lists allow.
        let is_of_lists = |step: &&Step| {
            [" may publish `", " may subscribe to `"].iter().any(|may| step.what.contains(may))
                && !step.what.contains("` receives ")
        };
        for step in path.steps.iter().filter(|step| !is_of_lists(step)) {
            context.ui.result(&format!("    {step}"));
        }
        // Those who reach the same users, together.
        let mut groups: BTreeMap<&BTreeSet<&str>, BTreeSet<&str>> = BTreeMap::new();
        for (sender, receivers) in receivers {
            groups.entry(receivers).or_default().insert(sender);
        }
        for (receivers, senders) in groups {
            context.ui.result(&format!("    from {} to {}", some(&senders), some(receivers)));
        }
    }
    for ((from, to), reasons) in &reasons {
        if !flows.keys().any(|((f, t), ..)| (f, t) == (from, to)) {
            let (from, to) = (asked.0.unwrap_or(from), asked.1.unwrap_or(to));
            context.ui.result(&format!("{from} does not reach {to}"));
            for reason in reasons {
                context.ui.result(&format!("    {reason}"));
            }
        }
    }
    flows.len()
}

/// Lists the first users by name, and how many more there are.
fn some(users: &BTreeSet<&str>) -> String {
    const NAMED: usize = 4;
    let mut names: Vec<&str> = users.iter().take(NAMED).copied().collect();
    let more = format!("{} more", users.len().saturating_sub(NAMED));
    if users.len() > NAMED {
        names.push(&more);
    }
    names.join(", ")
}

fn show(context: &Context, pair: &Pair) {
    const SHOWN: usize = 5;
    let Pair { from, to, reaches: _, paths, stopped_by, caveat, between: _ } = pair;
    if let Some(step) = stopped_by {
        context.ui.result(&format!("{from} does not reach {to}: {step}"));
        if let Some(caveat) = caveat {
            context.ui.result(&format!("  {caveat}"));
        }
        return;
    }
    context.ui.result(&format!("{from} reaches {to}"));
    for path in paths.iter().take(SHOWN) {
        context.ui.result(&format!("  {} arrives as {}", path.subject, path.arrives_as));
        for step in &path.steps {
            context.ui.result(&format!("    {step}"));
        }
    }
    if paths.len() > SHOWN {
        context.ui.result(&format!("  … and {} more subjects", paths.len() - SHOWN));
    }
}
