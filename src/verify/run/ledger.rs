//! What a run found: the outcome of every check, with one leak per probe and pair of
//! tenants.

use std::cell::{Cell, RefCell};
use std::collections::btree_map;
use std::collections::hash_map;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::model::Model;
use crate::verify::report::{Check, Outcome, Report, SETTING, Server};

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

    /// The probe whose id these bytes begin with; the longest id if several match.
    pub fn probe_at_start_of(&self, bytes: &[u8]) -> Option<&'static str> {
        self.probes.iter().copied().filter(|id| bytes.starts_with(id.as_bytes())).max_by_key(|id| id.len())
    }

    fn record(&self, from: String, to: String, outcome: Outcome, evidence: String) {
        self.checks.borrow_mut().push(Check { probe: self.probe(), from, to, outcome, evidence });
    }

    /// Records that a tenant is isolated from all others, with the evidence.
    pub fn pass(&self, tenant: usize, evidence: impl Into<String>) {
        self.record(self.names[tenant].clone(), "*".into(), Outcome::Pass, evidence.into());
    }

    /// Records that a tenant's check could not be run, with the reason.
    pub fn not_run(&self, tenant: usize, why: impl Into<String>) {
        self.record(self.names[tenant].clone(), "*".into(), Outcome::NotRun, why.into());
    }

    /// Records that the check could not be run for any tenant, with the reason.
    pub fn not_run_for_anybody(&self, why: &str) {
        self.record("*".into(), "*".into(), Outcome::NotRun, why.to_owned());
    }

    /// Records that something of `from` reached `to`. `None` stands for no particular tenant.
    pub fn leak(&self, from: Option<usize>, to: Option<usize>, evidence: impl Into<String>) {
        self.leak_of(self.probe(), from, to, evidence.into());
    }

    /// Records a leak for a given probe, which may have run earlier.
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
        // A probe that leaked from a tenant, or could not be run for it, did not pass for it.
        passes.retain(|_, pass| !checks.iter().any(|c| c.probe == pass.probe && c.from == pass.from));
        checks.extend(passes.into_values());
        checks.sort_by_key(|c| (std::cmp::Reverse(c.outcome), order(c.probe)));
        Report::new(server, self.names, checks, took)
    }
}
