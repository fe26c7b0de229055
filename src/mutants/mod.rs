//! The control of both proofs: the rendered configuration is broken on purpose,
//! one leak at a time, and each has to be caught. A proof that catches nothing
//! proves nothing.

mod draft;
mod list;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::audit::audit_files;
use crate::audit::tenants::Tenants;
use crate::conf::ConfFiles;
use crate::diag::Severity;
use crate::error::Error;
use crate::model::Model;
use crate::verdict::Verdict;
use crate::verify::report::Outcome;
use crate::verify::test_bed::TestBed;
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
    /// The rules and probes that must catch it: caught by another one does not count.
    pub catchers: &'static [&'static str],
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
    /// Whether the live proof found it; `None` if no server starts with it.
    pub live: Option<bool>,
    /// Every rule and probe that found something.
    pub by: Vec<String>,
    /// The rules and probes that should have found it and did not.
    pub missed_by: Vec<&'static str>,
}

/// The whole control.
#[derive(Debug, Serialize)]
pub struct Control {
    /// Each mutant that applies to this registry.
    pub mutants: Vec<Caught>,
    /// Those that a rule or probe missed which must catch them.
    pub survivors: Vec<&'static str>,
    /// Those for which the registry has no place, such as shares where none is declared.
    pub not_applicable: Vec<&'static str>,
}

impl Mutant {
    /// The broken configuration, if this one can be broken that way.
    fn applied(&self, model: &Model, conf: &ConfFiles) -> Option<ConfFiles> {
        let mut draft = Draft::new(model, conf)?;
        (self.make)(&mut draft)?;
        Some(draft.conf)
    }

    /// Lets both proofs at it. An attack that fails is an error: only a server that
    /// does not start with the mutant has nothing to attack.
    fn try_to_catch(&self, conf: &ConfFiles, tenants: &Tenants, test_bed: &TestBed<'_>) -> Result<Caught, Error> {
        let mut by: Vec<String> = Vec::new();
        let audit = match audit_files(conf, Some(tenants)) {
            Ok(audit) => Some(audit),
            // nats-server would not start with it.
            Err(Error::Conf { diagnostics, .. }) => {
                by.extend(diagnostics.iter().map(|d| d.rule.to_owned()));
                None
            }
            Err(other) => return Err(other),
        };
        let found = audit.iter().flat_map(|a| &a.findings).filter(|f| f.severity == Severity::Error);
        by.extend(found.map(|f| f.rule.to_owned()));
        by.dedup();
        let statically = !by.is_empty();
        let mut live = None;
        if let Some(audit) = audit
            && let Some(running) = test_bed.boot_if_it_starts(conf)?
        {
            let report = test_bed.attack(&running, &audit, false, &|_, _, _| {})?;
            live = Some(report.verdict == Verdict::Leaky);
            let leaks = report.checks.iter().filter(|c| c.outcome == Outcome::Leak);
            let mut probes: Vec<String> = leaks.map(|c| c.probe.to_owned()).collect();
            probes.dedup();
            by.extend(probes);
        }
        let missed = |catcher: &&&'static str| !by.iter().any(|b| b == **catcher);
        let missed_by = self.catchers.iter().filter(missed).copied().collect();
        Ok(Caught { id: self.id, class: self.class, what: self.what, statically, live, by, missed_by })
    }
}

/// Servers that run at a time: each mutant boots one of its own.
const AT_ONCE: usize = 3;

/// Lets both proofs at every mutant that applies to what the test bed renders.
/// `begin` is told how many there are, `advance` is called after each.
pub fn run(test_bed: &TestBed<'_>, begin: impl FnOnce(usize), advance: impl Fn() + Sync) -> Result<Control, Error> {
    if test_bed.model.tenants.len() < 2 {
        return Err(Error::usage(
            "mutants need two tenants",
            "a leak is from one to another: tenantry tenant add OTHER",
        ));
    }
    // The control of the control: unbroken, nothing is found.
    let unbroken = audit_files(&test_bed.conf, None)?;
    let tenants = Tenants::of_accounts(&unbroken.system);
    let report = test_bed.attack(&test_bed.boot(&test_bed.conf)?, &unbroken, false, &|_, _, _| {})?;
    if unbroken.verdict() != Verdict::Isolated || report.verdict != Verdict::Isolated {
        return Err(Error::server(
            "the configuration is not isolated as it is, so what catches a mutant would say nothing",
            "mend what `tenantry check` and `tenantry verify` find first",
        ));
    }
    let mutants: Vec<_> =
        MUTANTS.iter().filter_map(|m| Some((m, m.applied(test_bed.model, &test_bed.conf)?))).collect();
    begin(mutants.len());
    let (next, caught) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((mutant, conf)) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = mutant.try_to_catch(conf, &tenants, test_bed);
                    caught.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
                    advance();
                }
            });
        }
    });
    let caught = caught.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Control::new(caught.into_iter().collect::<Result<_, _>>()?))
}

impl Control {
    /// From what caught each.
    pub fn new(mut mutants: Vec<Caught>) -> Self {
        let place = |id: &str| MUTANTS.iter().position(|m| m.id == id);
        mutants.sort_by_key(|m| place(m.id));
        let survivors = mutants.iter().filter(|m| !m.missed_by.is_empty()).map(|m| m.id).collect();
        let tried = |id: &str| mutants.iter().any(|m| m.id == id);
        let not_applicable = MUTANTS.iter().map(|m| m.id).filter(|id| !tried(id)).collect();
        Self { survivors, not_applicable, mutants }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caught(id: &'static str, missed_by: Vec<&'static str>) -> Caught {
        Caught { id, class: "", what: "", statically: true, live: Some(true), by: vec!["queues".into()], missed_by }
    }

    #[test]
    fn every_mutant_names_rules_and_probes_that_exist() {
        let rules = crate::audit::RULES.iter().map(|r| r.id).chain(["refused-by-server"]);
        let known: Vec<&str> = rules.chain(crate::verify::PROBES.iter().map(|p| p.id)).collect();
        for mutant in MUTANTS {
            assert!(!mutant.catchers.is_empty(), "{}", mutant.id);
            let unknown: Vec<_> = mutant.catchers.iter().filter(|c| !known.contains(c)).collect();
            assert!(unknown.is_empty(), "{}: {unknown:?}", mutant.id);
        }
    }

    #[test]
    fn a_mutant_that_only_others_catch_survives() {
        let control = Control::new(vec![caught("queue-stealing", vec!["queues"]), caught("inboxes", vec![])]);
        assert_eq!(control.survivors, ["queue-stealing"]);
        assert_eq!(control.not_applicable.len(), MUTANTS.len() - 2);
    }
}
