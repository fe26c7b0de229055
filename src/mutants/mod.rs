//! The control of both proofs: the rendered configuration is broken on purpose,
//! one leak at a time, and each has to be caught. A proof that catches nothing
//! proves nothing.

/// The mutants of each class: an identifier, what is broken, what must catch it, and how it is broken.
macro_rules! mutants {
    ($($class:literal { $($id:literal, $what:literal, $catchers:expr => $make:expr;)* })*) => {
        &[$($(Mutant { id: $id, class: $class, what: $what, catchers: &$catchers, make: $make },)*)*]
    };
}

mod draft;
mod families;
mod list;

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::audit::audit_files;
use crate::audit::tenants::Tenants;
use crate::conf::ConfFiles;
use crate::diag::{Diagnostic, Severity};
use crate::error::Error;
use crate::model::Model;
use crate::verdict::Verdict;
use crate::verify::PROBES;
use crate::verify::report::Outcome;
use crate::verify::test_bed::TestBed;
use draft::Draft;

/// One way to break a configuration.
pub struct Mutant {
    /// Stable kebab-case identifier.
    pub id: &'static str,
    /// What kind of leak it is.
    pub class: &'static str,
    /// What is broken.
    pub what: &'static str,
    /// The rules and probes that must catch it: caught by others alone does not count.
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
    /// Whether the live proof found it; `None` if only rules must catch it, no server starts with it, or
    /// it lets no tenant in: nothing was attacked.
    pub live: Option<bool>,
    /// Every rule and probe that found something.
    pub by: Vec<String>,
    /// Those that must catch it. Not serialized: `missed_by` is what matters.
    #[serde(skip)]
    pub demanded: Vec<&'static str>,
    /// Those of them that found nothing. In some registries a leak has no place for one of
    /// them to look, and another finds it.
    pub missed_by: Vec<&'static str>,
}

/// The whole control.
#[derive(Debug, Serialize)]
pub struct Control {
    /// Each mutant that applies to this registry.
    pub mutants: Vec<Caught>,
    /// Those that everything missed which must catch them.
    pub survivors: Vec<&'static str>,
    /// Those for which the registry has no place, such as shares where none is declared.
    pub not_applicable: Vec<&'static str>,
}

/// Every mutant.
pub fn all() -> impl Iterator<Item = &'static Mutant> {
    list::MUTANTS.iter().chain(families::families())
}

impl Mutant {
    /// Whether only rules must catch it: then no server is attacked.
    fn is_static(&self) -> bool {
        !self.catchers.iter().any(|id| PROBES.iter().any(|probe| probe.id == *id))
    }

    /// The probes that must catch it, after those by whose subscriptions others hear.
    fn probes(&self) -> Vec<&'static str> {
        ["subscribing", "canaries"].into_iter().chain(self.catchers.iter().copied()).collect()
    }

    /// The broken configuration, if this one can be broken that way.
    fn applied(&self, model: &Model, conf: &ConfFiles) -> Option<ConfFiles> {
        let mut draft = Draft::new(model, conf)?;
        (self.make)(&mut draft)?;
        (draft.conf != *conf).then_some(draft.conf)
    }

    /// The rules and probes that must catch it here: every rule, and, where there is a server
    /// to attack, each probe that had something to try on the unbroken one.
    fn demanded<'u>(&self, unbroken: &'u Unbroken, attacked: bool) -> impl Iterator<Item = &'static str> + use<'u> {
        let is_probe = |id: &str| PROBES.iter().any(|p| p.id == id);
        let is_due = move |id: &&str| !is_probe(id) || (attacked && unbroken.passed.contains(id));
        self.catchers.iter().copied().filter(is_due)
    }

    /// Lets both proofs at it, the live one with the probes that must catch it. An attack that fails is an error, unless the server does not
    /// start with the mutant or rejects every login. `None` if nothing must catch it here.
    fn try_to_catch(
        &self,
        conf: &ConfFiles,
        unbroken: &Unbroken,
        test_bed: &TestBed<'_>,
    ) -> Result<Option<Caught>, Error> {
        let mut by: Vec<String> = Vec::new();
        let audit = match audit_files(conf, Some(&unbroken.tenants)) {
            Ok(audit) => Some(audit),
            // A configuration with which no server starts has nothing to attack, and nothing to prove.
            Err(Error::Conf { .. }) if test_bed.boot_if_it_starts(conf)?.is_none() => return Ok(None),
            Err(Error::Conf { diagnostics, .. }) => {
                by.extend(diagnostics.iter().map(|d| d.rule.to_owned()));
                None
            }
            Err(other) => return Err(other),
        };
        // A warning counts if there was none of its rule before.
        let is_new = |f: &&Diagnostic| f.severity == Severity::Error || !unbroken.rules.contains(f.rule);
        let found = audit.iter().flat_map(|a| &a.findings).filter(is_new);
        by.extend(found.map(|f| f.rule.to_owned()));
        by.dedup();
        let statically = !by.is_empty();
        let mut live = None;
        if let Some(audit) = audit
            && !self.is_static()
            && let Some(running) = test_bed.boot_if_it_starts(conf)?
        {
            match test_bed.attack(&running, &audit, false, Some(&self.probes()), &|_, _, _| {}) {
                Ok(report) => {
                    live = Some(report.verdict == Verdict::Leaky);
                    let leaks = report.checks.iter().filter(|c| c.outcome == Outcome::Leak);
                    let mut probes: Vec<String> = leaks.map(|c| c.probe.to_owned()).collect();
                    probes.dedup();
                    by.extend(probes);
                }
                Err(Error::NobodyConnects { refused: true, .. }) => {}
                Err(other) => return Err(other),
            }
        }
        let demanded: Vec<_> = self.demanded(unbroken, live.is_some()).collect();
        if demanded.is_empty() {
            return Ok(None);
        }
        let missed_by = demanded.iter().copied().filter(|c| !by.iter().any(|b| b == c)).collect();
        Ok(Some(Caught { id: self.id, class: self.class, what: self.what, statically, live, by, demanded, missed_by }))
    }
}

/// What the proofs say of the configuration as it is.
struct Unbroken {
    tenants: Tenants,
    /// The rules that have findings.
    rules: HashSet<&'static str>,
    /// The probes that passed for a tenant. The others had nothing to try.
    passed: HashSet<&'static str>,
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
    let tenants = Tenants::of_accounts(&audit_files(&test_bed.conf, None)?.system);
    let unbroken = audit_files(&test_bed.conf, Some(&tenants))?;
    let report = test_bed.attack(&test_bed.boot(&test_bed.conf)?, &unbroken, false, None, &|_, _, _| {})?;
    if unbroken.verdict() != Verdict::Isolated || report.verdict != Verdict::Isolated {
        return Err(Error::server(
            "the configuration is not isolated as it is, so what catches a mutant would say nothing",
            "mend what `tenantry check` and `tenantry verify` find first",
        ));
    }
    let passed = report.checks.iter().filter(|c| c.outcome == Outcome::Pass).map(|c| c.probe).collect();
    let rules = unbroken.findings.iter().map(|finding| finding.rule).collect();
    let unbroken = Unbroken { tenants, rules, passed };
    let mutants: Vec<_> = all().filter_map(|m| Some((m, m.applied(test_bed.model, &test_bed.conf)?))).collect();
    begin(mutants.len());
    let (next, caught) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((mutant, conf)) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = mutant.try_to_catch(conf, &unbroken, test_bed);
                    caught.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
                    advance();
                }
            });
        }
    });
    let caught = caught.into_inner().unwrap_or_else(PoisonError::into_inner);
    let caught: Vec<Option<Caught>> = caught.into_iter().collect::<Result<_, _>>()?;
    Ok(Control::new(caught.into_iter().flatten().collect()))
}

impl Control {
    /// From what caught each.
    pub fn new(mut mutants: Vec<Caught>) -> Self {
        let place = |id: &str| all().position(|m| m.id == id);
        mutants.sort_by_key(|m| place(m.id));
        let survivors = mutants.iter().filter(|m| m.missed_by == m.demanded).map(|m| m.id).collect();
        let tried = |id: &str| mutants.iter().any(|m| m.id == id);
        let not_applicable = all().map(|m| m.id).filter(|id| !tried(id)).collect();
        Self { survivors, not_applicable, mutants }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caught(id: &'static str, missed_by: Vec<&'static str>) -> Caught {
        let demanded = vec!["queue-stealing", "queues"];
        Caught {
            id,
            class: "",
            what: "",
            statically: true,
            live: Some(true),
            by: vec!["limits".into()],
            demanded,
            missed_by,
        }
    }

    #[test]
    fn every_mutant_names_rules_and_probes_that_exist() {
        let read = crate::audit::rules::READING.iter().map(|(id, _)| *id);
        let rules = crate::audit::RULES.iter().map(|r| r.id).chain(read);
        let known: Vec<&str> = rules.chain(crate::verify::PROBES.iter().map(|p| p.id)).collect();
        let ids: HashSet<&str> = all().map(|mutant| mutant.id).collect();
        assert_eq!(ids.len(), all().count(), "each id once");
        for mutant in all() {
            assert!(!mutant.catchers.is_empty(), "{}", mutant.id);
            let unknown: Vec<_> = mutant.catchers.iter().filter(|c| !known.contains(c)).collect();
            assert!(unknown.is_empty(), "{}: {unknown:?}", mutant.id);
        }
    }

    #[test]
    fn a_probe_must_catch_a_mutant_only_where_it_has_something_to_try() {
        let mutant = all().find(|m| m.id == "publish-empty").expect("it is there");
        let unbroken = |passed: &[&'static str]| Unbroken {
            tenants: Tenants::default(),
            rules: HashSet::new(),
            passed: passed.iter().copied().collect(),
        };
        let demanded = |passed, attacked| mutant.demanded(&unbroken(passed), attacked).collect::<Vec<_>>();
        assert_eq!(demanded(&["publishing"], true), ["open-permissions", "publishing"]);
        assert_eq!(demanded(&["publishing"], false), ["open-permissions"], "no server to attack");
        assert_eq!(demanded(&[], true), ["open-permissions"], "nothing to publish to");
    }

    #[test]
    fn a_mutant_that_only_others_catch_survives() {
        let control = Control::new(vec![
            caught("queue-stealing", vec!["queue-stealing", "queues"]),
            caught("undeclared-stream", vec!["queues"]),
            caught("inboxes", vec![]),
        ]);
        assert_eq!(control.survivors, ["queue-stealing"]);
        assert_eq!(control.not_applicable.len(), all().count() - 3);
    }
}
