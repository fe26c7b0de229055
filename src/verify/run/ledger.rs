//! What a run found: the outcome of every check, with one leak per probe and pair of
//! tenants.

use std::cell::{Cell, RefCell};
use std::collections::btree_map;
use std::collections::hash_map;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use crate::diag::plain;
use crate::model::Model;
use crate::verify::report::{AttackedServer, Check, EXHAUSTIVE, Outcome, Report, SETTING};

/// Maximum number of evidence strings kept per leak.
const EVIDENCE: usize = 8;

/// The probe that found the leak, the tenant whose message leaked, and the tenant that received it.
type Leak = (&'static str, String, String);

/// The checks of a run.
pub struct Ledger {
    /// The ids of all probes, in the order in which they run.
    probes: Vec<&'static str>,
    /// The tenants' names, in the model's order.
    names: Vec<String>,
    probe: Cell<&'static str>,
    checks: RefCell<Vec<Check>>,
    /// Each leak's index in `checks`, and its number of evidence strings.
    leaks: RefCell<HashMap<Leak, (usize, usize)>>,
}

impl Ledger {
    /// An empty ledger.
    pub fn new(model: &Model, probes: Vec<&'static str>) -> Self {
        Self {
            probes,
            names: model.tenants.iter().map(|t| t.name.to_string()).collect(),
            probe: Cell::new(SETTING),
            checks: RefCell::default(),
            leaks: RefCell::default(),
        }
    }

    /// Attributes later checks to this probe.
    pub fn begin(&self, probe: &'static str) {
        self.probe.set(probe);
    }

    /// The id of the probe that runs; `SETTING` outside of probes.
    pub fn probe(&self) -> &'static str {
        self.probe.get()
    }

    fn record(&self, from: String, to: String, outcome: Outcome, evidence: &str) {
        let evidence = plain(evidence);
        self.checks.borrow_mut().push(Check { probe: self.probe(), from, to, outcome, evidence });
    }

    /// The tenants of which the probe that runs has a check.
    pub fn checked(&self) -> HashSet<String> {
        let checks = self.checks.borrow();
        checks.iter().filter(|check| check.probe == self.probe()).map(|check| check.from.clone()).collect()
    }

    /// Records that a tenant is isolated from all others, with the evidence.
    pub fn pass(&self, tenant: usize, evidence: impl AsRef<str>) {
        self.record(self.names[tenant].clone(), "*".into(), Outcome::Pass, evidence.as_ref());
    }

    /// Records that a tenant's check could not be run, with the reason.
    pub fn not_run(&self, tenant: usize, why: impl AsRef<str>) {
        self.record(self.names[tenant].clone(), "*".into(), Outcome::NotRun, why.as_ref());
    }

    /// Records that a tenant's check was left out on purpose, and what it would have tried.
    pub fn not_tried(&self, tenant: usize, what: impl AsRef<str>) {
        self.record(self.names[tenant].clone(), "*".into(), Outcome::NotTried, what.as_ref());
    }

    /// Records that a tenant's check runs with `--exhaustive` only, and what it would try.
    pub fn needs_exhaustive(&self, tenant: usize, what: &str) {
        self.not_tried(tenant, format!("{EXHAUSTIVE}{what}"));
    }

    /// Records that the check could not be run for any tenant, with the reason.
    pub fn not_run_for_anybody(&self, why: &str) {
        self.record("*".into(), "*".into(), Outcome::NotRun, why);
    }

    /// Records that something of `from` reached `to`. `None` stands for no particular tenant.
    pub fn leak(&self, from: Option<usize>, to: Option<usize>, evidence: impl AsRef<str>) {
        self.leak_of(self.probe(), from, to, evidence.as_ref());
    }

    /// Records a leak for a given probe, which may have run earlier.
    pub fn leak_of(&self, probe: &'static str, from: Option<usize>, to: Option<usize>, evidence: &str) {
        let name = |tenant: Option<usize>| tenant.map_or_else(|| "*".to_owned(), |i| self.names[i].clone());
        let (from, to, evidence) = (name(from), name(to), plain(evidence));
        let mut checks = self.checks.borrow_mut();
        match self.leaks.borrow_mut().entry((probe, from.clone(), to.clone())) {
            hash_map::Entry::Vacant(entry) => {
                entry.insert((checks.len(), 1));
                checks.push(Check { probe, from, to, outcome: Outcome::Leak, evidence });
            }
            hash_map::Entry::Occupied(mut entry) => {
                let (place, strings) = entry.get_mut();
                let recorded = &mut checks[*place].evidence;
                if *strings < EVIDENCE && !recorded.contains(&evidence) {
                    *strings += 1;
                    *recorded += &format!("; {evidence}");
                }
            }
        }
    }

    /// The report. The passes of a tenant in one probe are merged into one check, and the
    /// checks are ordered by outcome, worst first, and then by probe.
    pub fn into_report(self, server: AttackedServer, took: Duration) -> Report {
        let order = |probe: &str| self.probes.iter().position(|id| *id == probe).map_or(0, |i| i + 1);
        let mut passes: BTreeMap<(usize, String), Check> = BTreeMap::new();
        let mut checks = Vec::new();
        for check in self.checks.into_inner() {
            if check.outcome != Outcome::Pass {
                checks.push(check);
                continue;
            }
            match passes.entry((order(check.probe), check.from.clone())) {
                btree_map::Entry::Vacant(entry) => drop(entry.insert(check)),
                btree_map::Entry::Occupied(entry) => {
                    let evidence = &mut entry.into_mut().evidence;
                    *evidence = format!("{evidence}; {}", check.evidence);
                }
            }
        }
        // A probe that leaked from a tenant, or could not be run for it, did not pass for it.
        passes.retain(|_, pass| {
            !checks.iter().any(|c| c.outcome.is_failure() && c.probe == pass.probe && c.from == pass.from)
        });
        checks.extend(passes.into_values());
        checks.sort_by_key(|c| (std::cmp::Reverse(c.outcome), order(c.probe)));
        Report::new(server, self.names, checks, took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fixtures::{System, server, tenants};

    fn ledger() -> Ledger {
        Ledger::new(&System::load(&tenants(3)).model, vec!["first", "second", "second-part"])
    }

    fn checks(ledger: Ledger) -> Vec<Check> {
        ledger.into_report(server(), Duration::ZERO).checks
    }

    /// Probe, sender, receiver and outcome of each check.
    fn rows(checks: &[Check]) -> Vec<(&str, &str, &str, Outcome)> {
        checks.iter().map(|c| (c.probe, c.from.as_str(), c.to.as_str(), c.outcome)).collect()
    }

    #[test]
    fn a_leak_is_one_check_per_probe_and_pair_with_at_most_eight_evidence_strings() {
        for (found, kept) in [(1, 1), (8, 8), (9, 8), (20, 8)] {
            let ledger = ledger();
            ledger.begin("first");
            for n in 0..found {
                ledger.leak(Some(0), Some(1), format!("on subject {n:02}"));
            }
            let checks = checks(ledger);
            assert_eq!(checks.len(), 1);
            assert_eq!(checks[0].evidence.split("; ").count(), kept, "of {found}");
        }
    }

    #[test]
    fn the_same_evidence_of_a_pair_is_kept_once() {
        let ledger = ledger();
        ledger.begin("first");
        for evidence in ["one", "two", "one", "two"] {
            ledger.leak(Some(0), Some(1), evidence);
        }
        assert_eq!(checks(ledger)[0].evidence, "one; two");
    }

    #[test]
    fn another_direction_tenant_or_probe_is_another_leak() {
        let ledger = ledger();
        ledger.begin("first");
        ledger.leak(Some(0), Some(1), "x");
        ledger.leak(Some(1), Some(0), "x");
        ledger.leak(Some(0), None, "x");
        ledger.begin("second");
        ledger.leak(Some(0), Some(1), "x");
        ledger.leak_of("first", Some(0), Some(1), "y");
        let checks = checks(ledger);
        assert_eq!(
            rows(&checks),
            [
                ("first", "T0", "T1", Outcome::Leak),
                ("first", "T1", "T0", Outcome::Leak),
                ("first", "T0", "*", Outcome::Leak),
                ("second", "T0", "T1", Outcome::Leak),
            ]
        );
        assert_eq!(checks[0].evidence, "x; y");
    }

    #[test]
    fn the_passes_of_a_tenant_in_one_probe_are_one_check() {
        let ledger = ledger();
        ledger.begin("first");
        ledger.pass(0, "a");
        ledger.pass(1, "b");
        ledger.pass(0, "c");
        ledger.begin("second");
        ledger.pass(0, "d");
        let checks = checks(ledger);
        let evidence: Vec<_> = checks.iter().map(|c| (c.probe, c.from.as_str(), c.evidence.as_str())).collect();
        assert_eq!(evidence, [("first", "T0", "a; c"), ("first", "T1", "b"), ("second", "T0", "d")]);
    }

    #[test]
    fn a_probe_that_leaked_or_could_not_be_run_for_a_tenant_did_not_pass_for_it() {
        let ledger = ledger();
        ledger.begin("first");
        (0..3).for_each(|tenant| ledger.pass(tenant, "held"));
        ledger.leak(Some(0), Some(2), "leaked");
        ledger.not_run(1, "no connection");
        ledger.begin("second");
        ledger.pass(0, "held");
        assert_eq!(
            rows(&checks(ledger)),
            [
                ("first", "T0", "T2", Outcome::Leak),
                ("first", "T1", "*", Outcome::NotRun),
                // The receiver of a leak passes as a sender, and another probe is another check.
                ("first", "T2", "*", Outcome::Pass),
                ("second", "T0", "*", Outcome::Pass),
            ]
        );
    }

    #[test]
    fn what_is_not_tried_without_exhaustive_hides_no_pass() {
        let ledger = ledger();
        ledger.begin("first");
        ledger.pass(0, "held");
        ledger.not_tried(0, "60000 connections");
        let report = ledger.into_report(server(), Duration::ZERO);
        assert_eq!(
            rows(&report.checks),
            [("first", "T0", "*", Outcome::NotTried), ("first", "T0", "*", Outcome::Pass)]
        );
        assert_eq!(report.matrix().get(&("first", "T0")), Some(&Outcome::NotTried));
    }

    #[test]
    fn the_report_has_the_worst_outcomes_first_and_then_the_order_of_the_probes() {
        let ledger = ledger();
        ledger.not_run_for_anybody("before any probe");
        for probe in ["second", "first"] {
            ledger.begin(probe);
            ledger.pass(2, "held");
            ledger.not_run(1, "not run");
            ledger.leak(Some(0), Some(1), "leaked");
        }
        assert_eq!(
            rows(&checks(ledger)),
            [
                ("first", "T0", "T1", Outcome::Leak),
                ("second", "T0", "T1", Outcome::Leak),
                (SETTING, "*", "*", Outcome::NotRun),
                ("first", "T1", "*", Outcome::NotRun),
                ("second", "T1", "*", Outcome::NotRun),
                ("first", "T2", "*", Outcome::Pass),
                ("second", "T2", "*", Outcome::Pass),
            ]
        );
    }
}
