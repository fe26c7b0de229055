//! The servers of a system, and whether each runs a configuration that is known here: the static
//! proof of a file is a proof of the server that runs exactly it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::run::Run;
use super::wire::{Message, Request};
use crate::audit::system::{Permissions, Side, SubjectPattern};
use crate::audit::tenants::Tenants;
use crate::audit::{self, Audit};
use crate::conf::ConfFiles;
use crate::diag::{Severity, first_few};
use crate::error::Error;
use crate::live::process::LocalServer;
use crate::project::Project;
use crate::render;
use crate::subject::Subject;
use crate::verdict::Verdict;

/// A configuration that a server may run.
#[derive(Debug, Clone)]
pub struct KnownConfiguration {
    /// Its digest, as the server reports it.
    pub digest: String,
    /// The file, or what renders it.
    pub name: String,
    /// What the static proof says of it.
    pub verdict: Verdict,
    /// Whether the registry renders it.
    pub is_rendered: bool,
    /// Who may log in, each as `ACCOUNT/LOGIN`, and whose accounts leaf nodes are in.
    pub logins: BTreeSet<String>,
    /// What the static proof finds in it, errors only.
    pub leaks: Vec<String>,
    /// The rules by which it warns.
    pub warnings: BTreeSet<&'static str>,
    /// What each of them may publish and subscribe to, with its name in words.
    permissions: BTreeMap<String, (String, Permissions)>,
    /// The limits of each account: connections, subscriptions, bytes of a message. `None`: none.
    limits: BTreeMap<String, [Option<i64>; 3]>,
}

impl KnownConfiguration {
    fn new(name: String, is_rendered: bool, audit: &Audit) -> Self {
        let system = &audit.system;
        let users = system.users().map(|(a, u)| format!("{}/{}", a.name, u.name));
        let leaves = system.accounts.iter().filter(|a| system.server.leaves_of(&a.name).next().is_some());
        let logins = users.chain(leaves.map(|a| format!("{}/(leaf node)", a.name))).collect();
        let errors = audit.findings.iter().filter(|finding| finding.severity == Severity::Error);
        let leaks = errors.map(|finding| {
            let place = finding.span.map_or_else(|| name.clone(), |span| audit.sources.place(span));
            format!("{place}: {}: {}", finding.rule, finding.message)
        });
        let leaks = leaks.collect();
        let warnings = audit.findings.iter().filter(|finding| finding.severity == Severity::Warning);
        let warnings = warnings.map(|finding| finding.rule).collect();
        let limits = system.accounts.iter().map(|account| {
            let limits = &account.limits;
            let numbers = [limits.connections, limits.subscriptions, limits.payload];
            (account.name.clone(), numbers.map(|limit| limit.map(|(number, _)| number).filter(|number| *number >= 0)))
        });
        let permissions = system.users().map(|(account, user)| {
            let name = format!("{}/{}", account.name, user.display_name());
            (format!("{}/{}", account.name, user.name), (name, user.permissions.clone()))
        });
        Self {
            digest: audit.digest.clone(),
            name,
            verdict: audit.verdict(),
            is_rendered,
            logins,
            leaks,
            warnings,
            permissions: permissions.collect(),
            limits: limits.collect(),
        }
    }

    /// A file that the user names. The registry says who the tenants are, and the server what streams they have.
    pub fn of_file(path: &Path) -> Result<Self, Error> {
        let environment = |name: &str| std::env::var(name).ok();
        let audit = audit::audit_of(path, &environment, |_| Ok(Tenants::each_account()))?;
        Ok(Self::new(path.display().to_string(), false, &audit))
    }

    /// What the registry renders: the bundle's server, and the one that `tenantry up` runs.
    pub fn rendered(project: &Project, state: &Path, registry: &Path) -> Result<Vec<Self>, Error> {
        let bundle = project.render(|| {})?;
        let accounts = bundle.text(render::ACCOUNTS).unwrap_or_default();
        let main = bundle.text(render::SERVER).map(str::to_owned);
        let local = LocalServer::new(state, registry).main_file(project.model(), &project.engine)?;
        let mut known = Vec::new();
        for main in main.into_iter().chain(local) {
            let files = ConfFiles { main, accounts: accounts.to_owned() };
            known.push(Self::new("what is rendered".into(), true, &audit::audit_files(&files, None)?));
        }
        Ok(known)
    }
}

/// A server of the system, as it describes itself (VARZ).
pub type Nodes = BTreeMap<String, Value>;

impl Run<'_> {
    /// Every server of the system by its id, asked as a user of the system account. Empty if
    /// that is not possible.
    pub async fn nodes(&self) -> Nodes {
        let mut nodes = Nodes::new();
        let Some(mut operator) = self.operator().await else { return nodes };
        let Ok(answers) = operator.ask_all(Request::empty("$SYS.REQ.SERVER.PING.IDZ")).await else { return nodes };
        let ids = answers.iter().map(Message::json).filter_map(|answer| {
            let id = answer["data"]["id"].as_str().or_else(|| answer["id"].as_str())?;
            Some(id.to_owned())
        });
        let ids: Vec<String> = ids.collect();
        // A server answers for itself only here: by PING any node answers, and a client may be at
        // another one.
        let requests: Vec<Request> =
            ids.iter().map(|id| Request::empty(format!("$SYS.REQ.SERVER.{id}.VARZ"))).collect();
        let Ok(answers) = operator.ask(&requests).await else { return nodes };
        nodes.extend(ids.into_iter().zip(answers.iter().map(|answer| answer.json()["data"].clone())));
        nodes
    }

    /// Why a server has no room for the connections of the run: it would refuse those of applications. `None`: it has.
    pub fn lacks_connections(&self, nodes: &Nodes) -> Option<String> {
        /// Connections beside those of the users: of the operator, and second ones.
        const MORE: u64 = 4;
        /// One in so many stays free for applications.
        const FREE: u64 = 20;
        let users: usize = self.logins.tenants.iter().flatten().flatten().count();
        let wanted = users as u64 + MORE;
        nodes.values().filter(|_| !self.throwaway).find_map(|varz| {
            let (most, open) = (varz["max_connections"].as_u64()?, varz["connections"].as_u64()?);
            (open + wanted + most / FREE > most).then(|| {
                format!(
                    "the server has {open} connections of at most {most} (`max_connections`): the run needs {wanted} and leaves one in {FREE} free"
                )
            })
        })
    }

    /// Compares what the servers run with what is known, and with what they ran before. Returns
    /// whether all of them run what is rendered; `None` if they could not be asked.
    pub fn compare_nodes(&self, before: &Nodes, after: &Nodes, known: &[KnownConfiguration]) -> Option<bool> {
        let is_same = |(id, varz): (&String, &Value)| {
            digest(varz) == digest(&after[id]) && varz["config_load_time"] == after[id]["config_load_time"]
        };
        let why = if after.is_empty() && !before.is_empty() {
            Some("the server cannot be asked any more")
        } else if before.keys().ne(after.keys()) {
            Some("a server was restarted, came or went meanwhile")
        } else if !before.iter().all(is_same) {
            Some("a server loaded its configuration anew meanwhile: what it ran in between is not known")
        } else {
            None
        };
        if let Some(why) = why {
            self.ledger.not_run_for_anybody(why);
        }
        if !after.is_empty() && self.strayed(before, after) {
            self.ledger.not_run_for_anybody(
                "connections reached servers that are none of this system: what is behind this address? verify each server by its own",
            );
        }
        if after.is_empty() || known.is_empty() {
            return None;
        }
        let runs = |conf: &KnownConfiguration| after.values().any(|varz| digest(varz) == Some(&conf.digest));
        for conf in known.iter().filter(|conf| !conf.is_rendered && !runs(conf)) {
            self.ledger.not_run_for_anybody(&format!("no server runs {}, which --conf names", conf.name));
        }
        let mut all = true;
        for varz in after.values() {
            let name = varz["server_name"].as_str().unwrap_or("the server");
            if digest(varz).is_none() {
                all = false;
                self.ledger.not_run_for_anybody(&format!("{name} did not say which configuration it runs"));
                continue;
            }
            let Some(found) = known.iter().find(|conf| digest(varz) == Some(&conf.digest)) else {
                all = false;
                self.ledger.not_run_for_anybody(&format!(
                    "{name} runs another configuration than what is rendered, so the static proof says nothing of it: \
                     its users, listeners and leaf nodes may be more than the attack knows; `tenantry up` reloads what \
                     it runs, and --conf FILE names what another server runs"
                ));
                continue;
            };
            all &= found.is_rendered;
            let is_rendered = |login: &&String| known.iter().any(|k| k.is_rendered && k.logins.contains(*login));
            let more: Vec<&str> = found.logins.iter().filter(|l| !is_rendered(l)).map(String::as_str).collect();
            if !more.is_empty() {
                self.ledger.not_run_for_anybody(&format!(
                    "{name} runs {}, which has more users or leaf nodes than the registry: {}; nobody attacked as them",
                    found.name,
                    first_few(more)
                ));
            }
            self.compare_limits(found);
            if let Some(rendered) = known.iter().find(|conf| conf.is_rendered).filter(|_| !found.is_rendered) {
                self.compare_permissions(found, rendered);
            }
            match found.verdict {
                Verdict::Isolated => {}
                Verdict::Leaky => {
                    for leak in &found.leaks {
                        self.ledger.leak(None, None, format!("{name} runs {}: {leak}", found.name));
                    }
                }
                Verdict::Inconclusive => {
                    let command = if found.is_rendered { "check".to_owned() } else { format!("audit {}", found.name) };
                    self.ledger.not_run_for_anybody(&format!(
                        "{name} runs {}, of which the static proof does not decide everything: `tenantry {command}` says what",
                        found.name
                    ));
                }
            }
        }
        Some(all)
    }
}

impl Run<'_> {
    /// Compares the limits of a configuration with the declared ones.
    fn compare_limits(&self, found: &KnownConfiguration) {
        for (index, tenant) in self.model.tenants.iter().enumerate() {
            let Some(limits) = found.limits.get(tenant.name.as_str()) else { continue };
            let payload = i64::try_from(tenant.limits.payload.bytes()).unwrap_or(i64::MAX);
            let declared = [tenant.max_connections().into(), tenant.max_subscriptions().into(), payload];
            let names = ["connections", "subscriptions of a connection", "bytes of a message"];
            for ((given, declared), what) in limits.iter().zip(declared).zip(names) {
                if given.is_none_or(|given| given > declared) {
                    let given = given.map_or("any number of".to_owned(), |given| given.to_string());
                    let evidence =
                        format!("{} allows {} {given} {what}, and {declared} are declared", found.name, tenant.name);
                    self.ledger.leak(Some(index), None, evidence);
                }
            }
        }
    }
}

impl Run<'_> {
    /// Compares what users may do by a configuration with what the registry gives them.
    fn compare_permissions(&self, found: &KnownConfiguration, rendered: &KnownConfiguration) {
        for (login, (_, given)) in &found.permissions {
            let Some((name, declared)) = rendered.permissions.get(login) else { continue };
            let account = login.split('/').next().unwrap_or_default();
            let index = self.model.tenants.iter().position(|tenant| tenant.name.as_str() == account);
            let mut more = Vec::new();
            for (verb, given, declared) in [
                ("publish", &given.publish, &declared.publish),
                ("subscribe to", &given.subscribe, &declared.subscribe),
            ] {
                more.extend(more_than(given, declared).map(|subjects| format!("{verb} {subjects}")));
            }
            let adds = declared.responses.is_none() && !publishes_everything(declared);
            if given.responses.is_some() && adds {
                more.push("answer whoever asks".to_owned());
            }
            if !more.is_empty() {
                let may = more.join(" and ");
                let evidence = format!("{} allows {name} to {may}, which is not declared", found.name);
                self.ledger.leak(index, None, evidence);
            }
        }
    }
}

/// Whether a list of subjects to publish to has all of them, so that answers need no permission.
fn publishes_everything(declared: &Permissions) -> bool {
    let everything = Subject::everything();
    let allows = |list: &Vec<SubjectPattern>| list.iter().any(|pattern| pattern.subject == everything);
    declared.publish.allow.as_ref().is_none_or(allows) && declared.publish.deny.is_empty()
}

/// What a list allows that a declared one does not, in words. `None`: nothing.
fn more_than(given: &Side, declared: &Side) -> Option<String> {
    let covers = |list: &SubjectPattern, pattern: &SubjectPattern| {
        list.subject.contains(&pattern.subject) && (list.queue.is_none() || list.queue == pattern.queue)
    };
    let in_words = |pattern: &SubjectPattern| match &pattern.queue {
        Some(queue) => format!("`{} {queue}`", pattern.subject),
        None => format!("`{}`", pattern.subject),
    };
    let mut more: Vec<String> = match (&given.allow, &declared.allow) {
        (_, None) => Vec::new(),
        (None, Some(_)) => vec!["anything".to_owned()],
        (Some(given), Some(declared)) => {
            let is_more = |pattern: &&SubjectPattern| !declared.iter().any(|list| covers(list, pattern));
            given.iter().filter(is_more).map(in_words).collect()
        }
    };
    // What is denied and was not to be used anyway makes no difference.
    let is_open = |pattern: &&SubjectPattern| {
        let allows =
            given.allow.as_ref().is_none_or(|allow| allow.iter().any(|a| a.subject.overlaps(&pattern.subject)));
        allows && !given.deny.iter().any(|denied| covers(denied, pattern))
    };
    more.extend(declared.deny.iter().filter(is_open).map(in_words));
    (!more.is_empty()).then(|| first_few(more))
}

/// The digest of a server's configuration.
fn digest(varz: &Value) -> Option<&str> {
    varz["config_digest"].as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::verify::fixtures::{SHARING, System, checks};
    use crate::verify::report::Outcome;

    fn compared(
        before: &[(&str, &str)],
        after: &[(&str, &str)],
        known: &[(&str, Verdict)],
    ) -> (Option<bool>, Vec<Outcome>) {
        let system = System::load(SHARING);
        let plan = system.plan(false);
        let run = Run::new(&plan, vec!["a"]);
        let nodes = |list: &[(&str, &str)]| -> Nodes {
            list.iter().map(|(id, digest)| ((*id).to_owned(), json!({ "config_digest": digest }))).collect()
        };
        let known: Vec<KnownConfiguration> = known
            .iter()
            .map(|(digest, verdict)| KnownConfiguration {
                digest: (*digest).into(),
                name: "x".into(),
                verdict: *verdict,
                is_rendered: *digest != "file",
                logins: if *digest == "file" { ["A/more".to_owned()].into() } else { BTreeSet::new() },
                leaks: if *verdict == Verdict::Leaky { vec!["a-rule: it leaks".to_owned()] } else { Vec::new() },
                warnings: BTreeSet::new(),
                permissions: BTreeMap::new(),
                limits: BTreeMap::new(),
            })
            .collect();
        let all = run.compare_nodes(&nodes(before), &nodes(after), &known);
        (all, checks(run).iter().map(|check| check.outcome).collect())
    }

    #[test]
    fn every_node_has_to_run_a_known_configuration_before_and_after() {
        use Verdict::{Inconclusive, Isolated, Leaky};
        let known = [("good", Isolated), ("bad", Leaky), ("open", Inconclusive)];
        for (before, after, expected) in [
            (&[("1", "good")][..], &[("1", "good")][..], (Some(true), vec![])),
            (&[("1", "good"), ("2", "good")], &[("1", "good"), ("2", "good")], (Some(true), vec![])),
            (&[("1", "good"), ("2", "other")], &[("1", "good"), ("2", "other")], (Some(false), vec![Outcome::NotRun])),
            (&[("1", "other")], &[("1", "good")], (Some(true), vec![Outcome::NotRun])),
            (&[("1", "good"), ("2", "good")], &[("1", "good")], (Some(true), vec![Outcome::NotRun])),
            (&[("1", "bad")], &[("1", "bad")], (Some(true), vec![Outcome::Leak])),
            (&[("1", "open")], &[("1", "open")], (Some(true), vec![Outcome::NotRun])),
            (&[], &[], (None, vec![])),
        ] {
            assert_eq!(compared(before, after, &known), expected, "{before:?} {after:?}");
        }
        let named = [("good", Isolated), ("file", Isolated)];
        let more_log_in = (Some(false), vec![Outcome::NotRun]);
        assert_eq!(compared(&[("1", "file")], &[("1", "file")], &named), more_log_in);
        let nobody_runs_it = (Some(true), vec![Outcome::NotRun]);
        assert_eq!(compared(&[("1", "good")], &[("1", "good")], &named), nobody_runs_it);
    }

    #[test]
    fn a_list_that_allows_more_than_the_declared_one_is_told() {
        let side = |lists: &str| {
            let text =
                format!("accounts {{ A {{ users: [{{ user: a, permissions {{ subscribe {{ {lists} }} }} }}] }} }}");
            let files = ConfFiles { main: text, accounts: String::new() };
            let audit = audit::audit_files(&files, None).expect("valid");
            audit.system.accounts[0].users[0].permissions.subscribe.clone()
        };
        let declared = side("allow: [\"a.>\", \"in.x\"], deny: [\"a.b\", \"> >\"]");
        let more = |lists: &str| more_than(&side(lists), &declared).unwrap_or_default();
        assert_eq!(more("allow: [\"a.>\", \"in.x\"], deny: [\"a.b\", \"> >\"]"), "");
        assert_eq!(more("allow: \"a.c\", deny: \"> >\""), "", "less");
        assert_eq!(more("allow: [\"a.>\", \"in.*\"], deny: [\"a.b\", \"> >\"]"), "`in.*`");
        assert_eq!(more("allow: [\"a.>\", \"in.x\"], deny: \"> >\""), "`a.b`");
        assert_eq!(more("allow: [\"a.>\", \"in.x\"], deny: \"a.b\""), "`> >`");
        assert_eq!(more("deny: [\"a.b\", \"> >\"]"), "anything");
    }

    #[test]
    fn a_configuration_that_was_loaded_in_between_is_a_change() {
        let system = System::load(SHARING);
        let plan = system.plan(false);
        for (after, expected) in [("2026-01-01T00:00:00Z", 0), ("2026-01-01T00:00:01Z", 1)] {
            let run = Run::new(&plan, vec!["a"]);
            let nodes = |loaded: &str| {
                Nodes::from([("1".to_owned(), json!({ "config_digest": "good", "config_load_time": loaded }))])
            };
            run.compare_nodes(&nodes("2026-01-01T00:00:00Z"), &nodes(after), &[]);
            assert_eq!(checks(run).iter().filter(|check| check.outcome == Outcome::NotRun).count(), expected);
        }
    }

    #[test]
    fn without_a_known_configuration_only_a_change_counts() {
        assert_eq!(compared(&[("1", "a")], &[("1", "a")], &[]), (None, vec![]));
        assert_eq!(compared(&[("1", "a")], &[("1", "b")], &[]), (None, vec![Outcome::NotRun]));
    }
}
