//! The control of both proofs: the rendered configuration is broken on purpose,
//! one leak at a time, and each has to be caught. A proof that catches nothing
//! proves nothing.

mod draft;
mod list;

use serde::Serialize;

use crate::audit::tenants::Tenants;
use crate::audit::{self, Audit};
use crate::diag::Severity;
use crate::error::Error;
use crate::live::throwaway::Conf;
use crate::model::Model;
use crate::verdict::Verdict;
use crate::verify::report::{Outcome, Report};
use draft::Draft;
pub use list::MUTANTS;

/// One way to break a configuration.
pub struct Mutant {
    /// Stable kebab-case identifier.
    pub id: &'static str,
    /// What kind of leak it is.
    pub class: &'static str,
    /// What is broken.
    pub what: &'static str,
    make: fn(&mut Draft<'_>) -> Option<()>,
}

/// What caught a mutant.
#[derive(Debug, Clone, Serialize)]
pub struct Caught {
    /// Which mutant.
    pub id: &'static str,
    /// What kind of leak it is.
    pub class: &'static str,
    /// What was broken.
    pub what: &'static str,
    /// Whether the static proof found it.
    #[serde(rename = "static")]
    pub statically: bool,
    /// Whether the live proof found it; nothing if no server runs with it.
    pub live: Option<bool>,
    /// The rules and probes that did.
    pub by: Vec<String>,
}

/// The whole control.
#[derive(Debug, Serialize)]
pub struct Control {
    /// Each mutant that applies to this registry.
    pub mutants: Vec<Caught>,
    /// Those that nothing caught.
    pub survivors: Vec<&'static str>,
    /// Those for which the registry has no place, such as shares where none is declared.
    pub not_applicable: Vec<&'static str>,
}

impl Mutant {
    /// The broken configuration, if this one can be broken that way.
    pub fn applied(&self, model: &Model, conf: &Conf) -> Option<Conf> {
        let mut draft = Draft::new(model, conf)?;
        (self.make)(&mut draft)?;
        Some(draft.conf)
    }

    /// Lets both proofs at it. `attack` boots it and attacks it.
    pub fn try_to_catch(
        &self,
        conf: &Conf,
        tenants: &Tenants,
        attack: impl FnOnce(&Conf, &Audit) -> Result<Report, Error>,
    ) -> Caught {
        let mut caught =
            Caught { id: self.id, class: self.class, what: self.what, statically: false, live: None, by: Vec::new() };
        let audit = match audit(conf, Some(tenants)) {
            Ok(audit) => audit,
            // nats-server would not start with it.
            Err(error) => {
                caught.statically = true;
                caught.by.push(format!("refused: {error}"));
                return caught;
            }
        };
        let errors = audit.findings.iter().filter(|f| f.severity == Severity::Error);
        caught.by.extend(errors.map(|f| f.rule.to_owned()));
        caught.by.dedup();
        caught.statically = !caught.by.is_empty();
        if let Ok(report) = attack(conf, &audit) {
            caught.live = Some(report.verdict == Verdict::Leaky);
            let leaks = report.checks.iter().filter(|c| c.outcome == Outcome::Leak).map(|c| c.probe.to_owned());
            let mut probes: Vec<String> = leaks.collect();
            probes.dedup();
            caught.by.extend(probes);
        }
        caught
    }
}

/// The static proof over texts that are in no file; perhaps with whose each user is.
pub fn audit(conf: &Conf, tenants: Option<&Tenants>) -> Result<Audit, Error> {
    let folder = tempfile::TempDir::with_prefix("tenantry-audit-")
        .map_err(|e| Error::io("create", std::path::Path::new("a folder"), e))?;
    let main = conf.write(folder.path())?;
    audit::audit_of(&main, &|_| None, |_| Ok(tenants.cloned().unwrap_or_default()))
}

impl Control {
    /// From what caught each.
    pub fn new(mut mutants: Vec<Caught>) -> Self {
        let place = |id: &str| MUTANTS.iter().position(|m| m.id == id);
        mutants.sort_by_key(|m| place(m.id));
        let survived = |m: &&Caught| !m.statically && m.live != Some(true);
        let survivors = mutants.iter().filter(survived).map(|m| m.id).collect();
        let tried = |id: &str| mutants.iter().any(|m| m.id == id);
        let not_applicable = MUTANTS.iter().map(|m| m.id).filter(|id| !tried(id)).collect();
        Self { survivors, not_applicable, mutants }
    }
}
