//! What a run found: the outcome of every check, and the leaks, each told once for
//! a pair of tenants.

use std::cell::{Cell, RefCell};
use std::collections::btree_map;
use std::collections::hash_map;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::model::Model;
use crate::verify::report::{Check, Outcome, Report, SETTING, Server};

/// Maximum number of evidence strings kept per leak.
const EVIDENCE: usize = 8;

/// The probe that found it, the tenant whose bytes leaked, and the tenant that got them.
type Leak = (&'static str, String, String);

/// The checks of a run.
pub struct Ledger {
    /// The ids of all probes, in the order in which they run.
    probes: Vec<&'static str>,
    /// The tenants' names, in the model's order.
    names: Vec<String>,
    probe: Cell<&'static str>,
    checks: RefCell<Vec<Check>>,
    /// Each leak's place among the checks, and how many evidence strings it has.
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

    /// Attributes what is found from now on to this probe.
    pub fn begin(&self, probe: &'static str) {
        self.probe.set(probe);
    }

    /// The probe that runs.
    pub fn probe(&self) -> &'static str {
        self.probe.get()
    }

    /// The probe whose id these bytes begin with: the longest, if several fit.
    pub fn probe_at_start_of(&self, bytes: &[u8]) -> Option<&'static str> {
        self.probes.iter().copied().filter(|id| bytes.starts_with(id.as_bytes())).max_by_key(|id| id.len())
    }

    fn record(&self, from: String, to: String, outcome: Outcome, evidence: String) {
        self.checks.borrow_mut().push(Check { probe: self.probe(), from, to, outcome, evidence });
    }

    /// A tenant's check held against all others.
    pub fn pass(&self, tenant: usize, evidence: impl Into<String>) {
        self.record(self.names[tenant].clone(), "*".into(), Outcome::Pass, evidence.into());
    }

    /// A tenant's check could not be tried.
    pub fn not_run(&self, tenant: usize, why: impl Into<String>) {
        self.record(self.names[tenant].clone(), "*".into(), Outcome::NotRun, why.into());
    }

    /// No tenant's checks could be tried.
    pub fn not_run_for_anybody(&self, why: &str) {
        self.record("*".into(), "*".into(), Outcome::NotRun, why.to_owned());
    }

    /// Something of one tenant came to another. `None` is no tenant in particular.
    pub fn leak(&self, from: Option<usize>, to: Option<usize>, evidence: impl Into<String>) {
        self.leak_of(self.probe(), from, to, evidence.into());
    }

    /// The same, found by a probe that ran earlier.
    pub fn leak_of(&self, probe: &'static str, from: Option<usize>, to: Option<usize>, evidence: String) {
        let name = |tenant: Option<usize>| tenant.map_or_else(|| "*".to_owned(), |i| self.names[i].clone());
        let (from, to) = (name(from), name(to));
        let mut checks = self.checks.borrow_mut();
        match self.leaks.borrow_mut().entry((probe, from.clone(), to.clone())) {
            hash_map::Entry::Vacant(entry) => {
                entry.insert((checks.len(), 1));
                checks.push(Check { probe, from, to, outcome: Outcome::Leak, evidence });
            }
            hash_map::Entry::Occupied(mut entry) => {
                let (place, told) = entry.get_mut();
                let known = &mut checks[*place].evidence;
                if *told < EVIDENCE && !known.contains(&evidence) {
                    *told += 1;
                    *known += &format!("; {evidence}");
                }
            }
        }
    }

    /// The report, with each tenant's passes of a probe in one.
    pub fn into_report(self, server: Server, took: Duration) -> Report {
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
        // What leaked or was not tried did not pass.
        passes.retain(|_, pass| !checks.iter().any(|c| c.probe == pass.probe && c.from == pass.from));
        checks.extend(passes.into_values());
        checks.sort_by_key(|c| (std::cmp::Reverse(c.outcome), order(c.probe)));
        Report::new(server, self.names, checks, took)
    }
}
