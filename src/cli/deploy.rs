//! `tenantry deploy`.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::forecast::refuse_dead_ends;
use super::provision::PlanDocument;
use super::server::{apply_streams, refuse_unproved};
use super::{Context, count};
use crate::audit;
use crate::diag::first_few;
use crate::error::{Error, Exit};
use crate::keys::Login;
use crate::live::conf_folder::{ConfFolder, LoadedConf};
use crate::live::process::PreparedConf;
use crate::live::ready;
use crate::live::reload_plan::{self, ReloadPlan};
use crate::live::remote::{self, Node};
use crate::live::reservations::Held;
use crate::model::Model;
use crate::model::names::ServerName;
use crate::project::Project;
use crate::render::incremental::Consent;
use crate::render::write::Target;

/// Bring the rendered configuration to servers elsewhere, and have them reload it.
///
/// `push` under `[deploy]` is the command that copies the files: $BUNDLE is the folder that holds nats/. Every server of the system is
/// reloaded one after the other, and says which configuration it runs. If one does not take it, the previous files are
/// pushed and reloaded again. What needs a restart is refused. Then streams are made as `apply` does, and the bundle is written.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 every server runs what is rendered; 1 refused or undone; 2 the registry is invalid; 3 no server"
)]
pub struct Args {
    /// A server of the system. Default: the registry's `url`.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Use the templates of this folder; `built-in` returns to tenantry's.
    #[arg(long, value_name = "DIR")]
    templates: Option<std::path::PathBuf>,
    /// Replace the credentials of every user, because the root key is another one.
    #[arg(long)]
    new_root_key: bool,
}

/// How long a server that gave no answer to a reload may take until it runs what it was given.
const SETTLED: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct DeployReport {
    action: &'static str,
    servers: Vec<Node>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jetstream: Option<PlanDocument>,
}

/// The servers of a deployment, and how files get to them.
struct Deployment<'d> {
    url: &'d str,
    /// Those that it has, and those before a change of them.
    operators: &'d [Login],
    push: &'d str,
    folder: &'d Path,
    /// The folder that is pushed, which has nats/.
    bundle: &'d Path,
}

pub fn run(context: &Context, args: &Args) -> Result<Exit, Error> {
    // Another deployment is waited for, and only then the registry is read.
    let _lock = lock(&context.state())?;
    let project = context.open_noting(args.templates.as_deref())?;
    let model = project.model();
    let Some(push) = &model.push else {
        return Err(Error::usage(
            "the registry does not say how files get to the servers",
            "[deploy]\npush = \"rsync -a $BUNDLE/nats/ HOST:/etc/nats/\"",
        ));
    };
    let url = args.server.as_ref().unwrap_or(&model.server.url);
    let out = context.out(None)?;
    let bundle = project.render(|| {})?;
    let new = PreparedConf::of_bundle(&bundle)?;
    let consent =
        Consent { another_registry: false, new_root_key: args.new_root_key, other_templates: args.templates.is_some() };
    project.refuse_over(&out, consent)?;
    refuse_unproved(context, audit::audit_files(&new.files, None)?.verdict())?;
    let logins = project.operator_logins();
    let operator = remote::operator(url, &logins)?;
    let before = remote::nodes(url, &operator)?;
    let folder = project.state().join("deploy");
    let deployment = Deployment { url, operators: &logins, push, folder: project.valid.folder(), bundle: &folder };
    refuse_other_names(&before, &model.server.name)?;
    let runs = |node: &Node| node.config_digest.as_deref() == Some(new.digest.as_str());
    let action = if before.iter().all(runs) { "unchanged" } else { "deployed" };
    let conf = deployed(project.state());
    let (running, old) = seed(&conf, &out, &before)?.unzip();
    let noted = Noted::read(project.state(), &before);
    let plan = match running.as_ref() == Some(&new.digest) {
        true => ReloadPlan::nothing(),
        false => reload_plan::compare(old.as_ref(), &new),
    };
    let plan = with_jetstream(plan, project.model(), &noted, url, &operator)?;
    if plan.restart {
        return Err(Error::refused(
            format!("nothing was pushed: the servers need a restart for {}", plan.because.join(", ")),
            "render, push the files and restart the servers one after the other; then deploy what comes next",
        ));
    }
    refuse_dead_ends(&project, &plan, url)?;
    if running.is_none() {
        context.ui.note("what the servers run now is not known here: if they do not take this, it cannot be put back");
    }
    conf.replace(&new.files, running.as_deref())?;
    // The files are pushed even if the servers run them already: what is on their disks is what they start with.
    if let Err(why) = deployment.push() {
        return Err(deployment.unpushed(&conf, running.as_deref(), &why));
    }
    if action == "deployed" {
        noted.with(model).write(project.state())?;
        if let Err(why) = deployment.reload(&before, &new.digest) {
            return Err(deployment.undo(&conf, running.as_deref(), &before, &why));
        }
    }
    let after = remote::nodes(url, &remote::operator(url, &logins)?)?;
    let names = || first_few(after.iter().map(|node| &node.name));
    context.ui.done(&format!(
        "{}: {} {}",
        count(after.len(), "server"),
        names(),
        match (action, after.len()) {
            ("unchanged", 1) => "runs this configuration already",
            ("unchanged", _) => "run this configuration already",
            (_, 1) => "has reloaded it, and says so",
            _ => "have reloaded it, and say so",
        }
    ));
    let outcome = super::render::write(context, &project, &Target::open(&out)?, consent, |_| Ok(()))?;
    super::render::note_edited(context, &outcome);
    let (jetstream, exit) = apply_streams(context, &project, url, &HashSet::new())?;
    context.ui.json(&DeployReport { action, servers: after, jetstream });
    Ok(exit)
}

/// Waits for another deployment of the registry to end.
fn lock(state: &Path) -> Result<File, Error> {
    let path = state.join("deploy.lock");
    let fail = |e: std::io::Error| Error::io("lock", &path, e);
    crate::state::create(state).map_err(fail)?;
    let file = File::create(&path).map_err(fail)?;
    file.lock().map_err(fail)?;
    Ok(file)
}

/// The digest of what all servers run. `None`: they run several configurations, or do not say.
fn common_digest(nodes: &[Node]) -> Option<String> {
    let digest = nodes.first()?.config_digest.clone()?;
    nodes.iter().all(|node| node.config_digest.as_ref() == Some(&digest)).then_some(digest)
}

/// The files of the last deployment, and the ones before, in the state folder.
fn deployed(state: &Path) -> ConfFolder {
    ConfFolder::new(state.join("deploy/nats"), state.join("deploy/previous"))
}

/// The files of the bundle that was rendered last.
fn rendered(out: &Path) -> ConfFolder {
    ConfFolder::new(out.join("nats"), out.join("nats"))
}

/// JetStream accounts that servers elsewhere hold, by what was deployed to them since they started.
#[derive(Default, Serialize, Deserialize)]
struct Noted {
    /// The ids of the servers, new at every start.
    servers: Vec<String>,
    held: Held,
}

impl Noted {
    const FILE: &str = "deploy/held.json";

    fn read(state: &Path, nodes: &[Node]) -> Self {
        let servers: Vec<String> = nodes.iter().map(|node| node.id.clone()).collect();
        let text = std::fs::read_to_string(state.join(Self::FILE)).unwrap_or_default();
        let noted: Self = serde_json::from_str(&text).unwrap_or_default();
        if noted.servers == servers { noted } else { Self { servers, held: Held::default() } }
    }

    /// With what a model has the servers hold next. Whether an account had streams is not asked: it counts as one that had.
    fn with(mut self, model: &Model) -> Self {
        self.held.change(model, |_| true);
        self
    }

    fn write(&self, state: &Path) -> Result<(), Error> {
        let path = state.join(Self::FILE);
        let text = serde_json::to_string(self).unwrap_or_default();
        std::fs::write(&path, text).map_err(|e| Error::io("write", &path, e))
    }
}

/// A reload plan, with what JetStream needs.
fn with_jetstream(
    mut plan: ReloadPlan,
    model: &Model,
    noted: &Noted,
    url: &str,
    operator: &Login,
) -> Result<ReloadPlan, Error> {
    let held = Held { removed: noted.held.removed.clone(), ..Held::default() };
    let held = super::server::held(Some(held), url, Some(operator.clone()))?;
    super::server::refuse_unreserved(&mut plan, &held, model, |_| true);
    Ok(plan)
}

/// Refuses servers that do not run the rendered file as it is: a reload takes no other name.
fn refuse_other_names(nodes: &[Node], name: &ServerName) -> Result<(), Error> {
    match nodes.iter().find(|node| node.name != name.as_str()) {
        Some(node) => Err(Error::refused(
            format!("the server is called `{}`, and the registry gives it the name `{name}`", node.name),
            "a server takes another server_name at a restart only, so nothing was pushed; servers of a cluster with \
             JetStream need a name each, which deploy cannot push yet",
        )),
        None => Ok(()),
    }
}

/// The steps until the servers at `url` run what is rendered. The error says why they are not known.
pub fn plan(project: &Project, out: &Path, url: &str, operator: &Login) -> Result<ReloadPlan, Error> {
    let new = PreparedConf::of_bundle(&project.render(|| {})?)?;
    let nodes = remote::nodes(url, operator)?;
    refuse_other_names(&nodes, &project.model().server.name)?;
    let noted = Noted::read(project.state(), &nodes);
    let known = |digest: &str| {
        let both = [deployed(project.state()), rendered(out)];
        both.into_iter().find_map(|folder| folder.with_digest(digest))
    };
    let digests: BTreeSet<&str> = nodes.iter().filter_map(|node| node.config_digest.as_deref()).collect();
    let plan = match digests.iter().next() {
        Some(digest) if digests.len() == 1 && **digest == new.digest => ReloadPlan::nothing(),
        Some(digest) if digests.len() == 1 => {
            let unknown = "the server runs neither nats/nats-server.conf as it is rendered nor as it was rendered last, and one that was \
                           started by hand from .tenantry/run is not compared";
            reload_plan::compare(Some(&known(digest).ok_or_else(|| Error::refused(unknown, ""))?), &new)
        }
        // Some of them run something else: which of it each comes from does not matter.
        _ if digests.iter().any(|digest| **digest == new.digest || known(digest).is_some()) => {
            reload_plan::compare(None, &new)
        }
        _ => {
            return Err(Error::refused(
                "the servers run different configurations, none of which was rendered here",
                "",
            ));
        }
    };
    with_jetstream(plan, project.model(), &noted, url, operator)
}

/// Makes sure that the folder has what the servers run now, if it is known here: from the last deployment, or from the
/// bundle as it was rendered last. Returns it, after its digest. `None`: they run several configurations, or an unknown one.
fn seed(conf: &ConfFolder, out: &Path, nodes: &[Node]) -> Result<Option<(String, LoadedConf)>, Error> {
    let Some(digest) = common_digest(nodes) else { return Ok(None) };
    if let Some(loaded) = conf.with_digest(&digest) {
        return Ok(Some((digest, loaded)));
    }
    let rendered = rendered(out);
    let Some(loaded) = rendered.with_digest(&digest) else { return Ok(None) };
    conf.replace(&rendered.files()?, None)?;
    Ok(Some((digest, loaded)))
}

impl Deployment<'_> {
    /// Has each server read the files. Returns why not all of them run them.
    fn reload(&self, nodes: &[Node], digest: &str) -> Result<(), String> {
        let operator = || remote::operator(self.url, self.operators).map_err(|e| e.to_string());
        let mut are_sure = true;
        for node in nodes {
            let is_sure = remote::reload(self.url, &operator()?, node);
            are_sure &= is_sure.map_err(|e| format!("{} did not reload: {e}", node.name))?;
        }
        let other = || -> Result<Option<Node>, String> {
            let after = remote::nodes(self.url, &operator()?).map_err(|e| e.to_string())?;
            Ok(after.into_iter().find(|node| node.config_digest.as_deref() != Some(digest)))
        };
        let mut found = other();
        if !are_sure {
            // A server that did not answer may be about to run it.
            ready::poll(SETTLED, || {
                found = other();
                matches!(found, Ok(None)).then_some(())
            });
        }
        match found? {
            Some(node) => Err(format!("{} says that it runs another configuration than was pushed", node.name)),
            None => Ok(()),
        }
    }

    /// Puts the previous files back after a push that failed, which may have copied some. Returns what to tell the user.
    fn unpushed(&self, conf: &ConfFolder, running: Option<&str>, why: &str) -> Error {
        let is_back = running.is_some_and(|digest| conf.put_back(digest).is_ok_and(|is_back| is_back));
        let hint = match is_back && self.push().is_ok() {
            true => "no server was told of anything; the previous files were pushed again",
            false => {
                "no server was told of anything, but files may have been copied in part: deploy again before any of them restarts"
            }
        };
        Error::refused(format!("nothing was changed: {why}"), hint)
    }

    fn push(&self) -> Result<(), String> {
        let bundle = std::path::absolute(self.bundle).map_err(|e| e.to_string())?;
        let output = Command::new("sh")
            .args(["-c", self.push])
            .current_dir(self.folder)
            .env("BUNDLE", bundle)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("`{}` cannot be run: {e}", self.push))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        Err(format!("`{}` failed ({}): {}", self.push, output.status, last.trim()))
    }

    /// Pushes the previous files and has every server read them. Returns what to tell the user.
    fn undo(&self, conf: &ConfFolder, running: Option<&str>, nodes: &[Node], why: &str) -> Error {
        let back = match running.map(|digest| (digest, conf.put_back(digest))) {
            Some((digest, Ok(true))) => self.push().and_then(|()| self.reload(nodes, digest)),
            Some((_, Err(error))) => Err(error.to_string()),
            _ => Err("what the servers ran before is not known here".to_owned()),
        };
        match back {
            Ok(()) => Error::refused(
                format!("undone: {why}"),
                "the previous files were pushed, and every server runs them again",
            ),
            Err(failed) => Error::server(
                format!("{why}; and the servers could not be made to run the previous configuration: {failed}"),
                "look at each server: some may run the new configuration and some the previous one",
            ),
        }
    }
}
