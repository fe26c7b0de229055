//! `tenantry deploy`.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::Serialize;

use super::provision::PlanDocument;
use super::server::{apply_streams, refuse_unproved};
use super::{Context, count};
use crate::audit;
use crate::diag::first_few;
use crate::error::{Error, Exit};
use crate::keys::Login;
use crate::live::conf_folder::ConfFolder;
use crate::live::process::PreparedConf;
use crate::live::reload_plan::{self, ReloadPlan};
use crate::live::remote::{self, Node};
use crate::project::Project;
use crate::render::incremental::Consent;
use crate::render::write::Target;

/// Bring the rendered configuration to servers elsewhere, and have them reload it.
///
/// `push` under [deploy] is the command that copies the files: $BUNDLE is the folder that holds nats/. Every server of the system is
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
    operator: &'d Login,
    push: &'d str,
    folder: &'d Path,
    /// What is pushed: the folder that has nats/.
    bundle: &'d Path,
}

pub fn run(context: &Context, args: &Args) -> Result<Exit, Error> {
    let project = context.open_noting(args.templates.as_deref())?;
    let model = project.model();
    let Some(push) = &model.push else {
        return Err(Error::usage(
            "the registry does not say how files get to the servers",
            "[deploy]\npush = \"rsync -a $BUNDLE/nats/ HOST:/etc/nats/\"",
        ));
    };
    let Some(operator) = project.operator_login() else {
        return Err(Error::server(
            "no system user's secret is known here, so the servers cannot be asked what they run",
            "set the variable of its `password_env`, or add one without `public_key`: tenantry user add SYS/operator",
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
    let before = remote::nodes(url, &operator)?;
    let folder = project.state().join("deploy");
    let deployment = Deployment { url, operator: &operator, push, folder: project.valid.folder(), bundle: &folder };
    let runs = |node: &Node| node.config_digest.as_deref() == Some(new.digest.as_str());
    let action = if before.iter().all(runs) { "unchanged" } else { "deployed" };
    if action == "deployed" {
        let conf = deployed(project.state());
        let running = seed(&conf, &out, &before)?;
        let old = running.as_deref().and_then(|digest| conf.with_digest(digest));
        let plan = reload_plan::compare(old.as_ref(), &new);
        if plan.restart {
            return Err(Error::refused(
                format!("nothing was pushed: the servers need a restart for {}", plan.because.join(", ")),
                "render, push the files and restart the servers one after the other; then deploy what comes next",
            ));
        }
        conf.replace(&new.files, running.as_deref())?;
        if let Err(why) = deployment.roll_out(&before, &new.digest) {
            return Err(deployment.undo(&conf, running.as_deref(), &before, &why));
        }
    }
    let after = remote::nodes(url, &operator)?;
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
    let (jetstream, exit) = apply_streams(context, &project, url)?;
    context.ui.json(&DeployReport { action, servers: after, jetstream });
    Ok(exit)
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

/// What has to happen before the servers at `url` run what is rendered. `None`: it is not known what they run.
pub fn plan(project: &Project, out: &Path, url: &str, operator: &Login) -> Result<Option<ReloadPlan>, Error> {
    let new = PreparedConf::of_bundle(&project.render(|| {})?)?;
    let nodes = remote::nodes(url, operator)?;
    let Some(digest) = common_digest(&nodes) else { return Ok(None) };
    if digest == new.digest {
        return Ok(Some(ReloadPlan::nothing()));
    }
    let old = deployed(project.state()).with_digest(&digest).or_else(|| rendered(out).with_digest(&digest));
    Ok(old.map(|old| reload_plan::compare(Some(&old), &new)))
}

/// Makes sure that the folder has what the servers run now, if it is known here: from the last deployment, or from the
/// bundle as it was rendered last. Returns its digest. `None`: they run several configurations, or an unknown one.
fn seed(conf: &ConfFolder, out: &Path, nodes: &[Node]) -> Result<Option<String>, Error> {
    let Some(digest) = common_digest(nodes) else { return Ok(None) };
    let rendered = rendered(out);
    if conf.with_digest(&digest).is_some() {
        return Ok(Some(digest));
    }
    match rendered.digest() {
        Some(last) if last == digest => {
            conf.replace(&rendered.files()?, None)?;
            Ok(Some(digest))
        }
        _ => Ok(None),
    }
}

impl Deployment<'_> {
    /// Pushes the files, and has each server read them. Returns why not all of them run them.
    fn roll_out(&self, nodes: &[Node], digest: &str) -> Result<(), String> {
        self.push()?;
        for node in nodes {
            remote::reload(self.url, self.operator, node).map_err(|e| format!("{} did not reload: {e}", node.name))?;
        }
        let after = remote::nodes(self.url, self.operator).map_err(|e| e.to_string())?;
        match after.iter().find(|node| node.config_digest.as_deref() != Some(digest)) {
            Some(node) => Err(format!("{} says that it runs another configuration than was pushed", node.name)),
            None => Ok(()),
        }
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
            Some((digest, Ok(true))) => self.roll_out(nodes, digest),
            Some((_, Err(error))) => Err(error.to_string()),
            _ => Err("what the servers ran before is not known here".to_owned()),
        };
        match back {
            Ok(()) => Error::refused(
                format!("nothing was changed: {why}"),
                "the previous files were pushed, and every server runs them again",
            ),
            Err(failed) => Error::server(
                format!("{why}; and the servers could not be made to run the previous configuration: {failed}"),
                "look at each server: some may run the new configuration and some the previous one",
            ),
        }
    }
}
