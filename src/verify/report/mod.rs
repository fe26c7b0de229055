//! The result of the live proof as data. Printing it to a terminal is elsewhere.

mod causes;
pub mod html;
pub mod junit;
pub mod origin;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::verdict::Verdict;
pub use causes::Cause;
use origin::Origin;

/// The probe id of checks that belong to no probe: connecting, cleaning up.
pub const SETTING: &str = "setting";

/// The outcome of a check, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The check passed.
    Pass,
    /// The check was left out on purpose: it needs `--exhaustive`; its user's secret is not known
    /// and `--accept-unknown` says so; or nobody of the tenant may manage streams on a live server.
    NotTried,
    /// The check could not be run.
    NotRun,
    /// Something of one tenant reached another, or an undeclared operation was not denied.
    Leak,
}

impl Outcome {
    /// The outcome in words, as in `leak: …`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "held",
            Self::NotTried => "not tried",
            Self::NotRun => "not run",
            Self::Leak => "leak",
        }
    }

    /// Whether the check failed, or could not be run although it should have been.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::NotRun | Self::Leak)
    }
}

/// Begins what a check that runs with `--exhaustive` only would have tried.
pub const EXHAUSTIVE: &str = "only with --exhaustive: ";

/// One check of a probe, for one pair of tenants or for one tenant and all others.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// The probe's id.
    pub probe: &'static str,
    /// The tenant whose message or operation it is; `*` for no particular tenant.
    pub from: String,
    /// The tenant that it reached or would have reached; `*` for every other tenant.
    pub to: String,
    /// The outcome.
    pub outcome: Outcome,
    /// What the outcome is based on, or why the check was not run.
    pub evidence: String,
}

/// The server that was attacked.
#[derive(Debug, Clone, Serialize)]
pub struct AttackedServer {
    /// Its URL, `nats://host:port`.
    pub url: String,
    /// The version of nats-server.
    pub version: String,
    /// The server's id, new at every start.
    pub id: String,
    /// The digest of its configuration as it reports it. `None` if it could not be asked.
    pub config_digest: Option<String>,
    /// Whether every server of the system runs what the registry renders. `None` for a throwaway server,
    /// and if the servers could not be asked.
    pub runs_rendered: Option<bool>,
    /// Whether it was started for this run alone.
    pub throwaway: bool,
    /// The rules by which the static proof of a named file warns, if the server runs that file.
    pub warnings: Vec<&'static str>,
}

/// The result of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The overall result.
    pub verdict: Verdict,
    /// The server that was attacked.
    pub server: AttackedServer,
    /// Number of tenants.
    pub tenants: usize,
    /// Number of ordered pairs of tenants.
    pub pairs: usize,
    /// All checks, worst outcome first.
    pub checks: Vec<Check>,
    /// Duration of the run. Milliseconds.
    pub duration_ms: u64,
    /// End of the run, in UTC (RFC 3339, whole seconds).
    pub at: String,
    /// What the report is about.
    #[serde(flatten)]
    pub origin: Origin,
    /// The tenants' names, in the registry's order.
    #[serde(skip)]
    pub names: Vec<String>,
}

/// The current time. Allowed here because a report is of a moment, and no configuration is
/// rendered from it.
#[allow(clippy::disallowed_types)]
fn now() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}

/// The worst outcome decides.
fn verdict_of(checks: &[Check]) -> Verdict {
    match checks.iter().map(|check| check.outcome).max() {
        Some(Outcome::Leak) => Verdict::Leaky,
        Some(Outcome::Pass) => Verdict::Isolated,
        Some(Outcome::NotTried) if checks.iter().any(|c| c.outcome == Outcome::Pass) => Verdict::Isolated,
        // Without checks nothing is proved.
        Some(Outcome::NotTried | Outcome::NotRun) | None => Verdict::Inconclusive,
    }
}

impl Report {
    /// A report of these checks. The worst outcome decides the verdict.
    pub fn new(server: AttackedServer, names: Vec<String>, checks: Vec<Check>, took: Duration) -> Self {
        let tenants = names.len();
        Self {
            verdict: verdict_of(&checks),
            server,
            tenants,
            pairs: tenants * tenants.saturating_sub(1),
            checks,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            at: now(),
            origin: Origin::default(),
            names,
        }
    }

    /// Takes back what is said against a server, because the registry changed while it was attacked: it may run what
    /// the registry declares now.
    pub fn doubt(&mut self) {
        if self.verdict == Verdict::Isolated {
            return;
        }
        let why = "the registry changed meanwhile: verify again".to_owned();
        for leak in self.checks.iter_mut().filter(|check| check.outcome == Outcome::Leak) {
            leak.outcome = Outcome::NotRun;
            leak.evidence = format!("{}; the registry may declare it now", leak.evidence);
        }
        let (from, to) = ("*".to_owned(), "*".to_owned());
        self.checks.insert(0, Check { probe: SETTING, from, to, outcome: Outcome::NotRun, evidence: why });
        self.verdict = verdict_of(&self.checks);
    }

    /// The outcome between two tenants: the worst of what failed, or else whether anything held. A leak counts
    /// for the pair that it names.
    pub fn between(&self, from: &str, to: &str) -> Option<Outcome> {
        let is_of = |name: &str, tenant: &str| name == tenant || name == "*";
        let names_both = |check: &Check| check.from == from && check.to == to;
        let between = self.checks.iter().filter(|check| is_of(&check.from, from) && is_of(&check.to, to));
        let between = between.filter(|check| check.outcome != Outcome::Leak || names_both(check));
        between.map(|check| check.outcome).filter(|outcome| *outcome != Outcome::NotTried).max()
    }

    /// Whether anything leaked that concerns no one pair, such as an old login.
    pub fn leaks_beside_pairs(&self) -> bool {
        self.checks.iter().any(|c| c.outcome == Outcome::Leak && (c.from == "*" || c.to == "*"))
    }

    /// Whether anything may pass from one tenant to another, by a declared share.
    pub fn is_declared(&self, from: &str, to: &str) -> bool {
        self.origin.shares.iter().any(|share| {
            let (sender, receiver) = if share.is_stream { (&share.from, &share.to) } else { (&share.to, &share.from) };
            sender == from && receiver == to
        })
    }

    /// The worst outcome for each probe and tenant. A leak or a check that was not run counts
    /// for both its tenants.
    pub fn matrix(&self) -> BTreeMap<(&str, &str), Outcome> {
        let mut cells = BTreeMap::new();
        for check in &self.checks {
            // What failed for no particular tenant failed for all.
            if check.from == "*" && check.to == "*" {
                for name in &self.names {
                    let cell = cells.entry((check.probe, name.as_str())).or_insert(check.outcome);
                    *cell = check.outcome.max(*cell);
                }
            }
            for tenant in [&check.from, &check.to] {
                // A pass counts for the sender only.
                if check.outcome == Outcome::Pass && tenant != &check.from {
                    continue;
                }
                let cell = cells.entry((check.probe, tenant.as_str())).or_insert(check.outcome);
                *cell = check.outcome.max(*cell);
            }
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fixtures::server;

    fn check(probe: &'static str, from: &str, to: &str, outcome: Outcome) -> Check {
        Check { probe, from: from.into(), to: to.into(), outcome, evidence: "evidence".into() }
    }

    fn report(checks: Vec<Check>, tenants: usize) -> Report {
        let names = (0..tenants).map(|i| format!("T{i}")).collect();
        Report::new(server(), names, checks, Duration::from_micros(1_234_567))
    }

    #[test]
    fn one_leak_is_leaky_one_check_not_run_is_inconclusive_and_so_are_no_checks() {
        use Outcome::{Leak, NotRun, NotTried, Pass};
        for (outcomes, expected) in [
            (vec![], Verdict::Inconclusive),
            (vec![Pass], Verdict::Isolated),
            (vec![Pass, Pass], Verdict::Isolated),
            (vec![NotRun], Verdict::Inconclusive),
            (vec![NotTried], Verdict::Inconclusive),
            (vec![NotTried, Pass], Verdict::Isolated),
            (vec![NotTried, NotRun, Pass], Verdict::Inconclusive),
            (vec![Pass, NotRun, Pass], Verdict::Inconclusive),
            (vec![Leak], Verdict::Leaky),
            (vec![Pass, Leak, NotRun], Verdict::Leaky),
            (vec![NotRun, Leak], Verdict::Leaky),
        ] {
            let checks = outcomes.iter().map(|o| check("a", "T0", "*", *o)).collect();
            assert_eq!(report(checks, 2).verdict, expected, "{outcomes:?}");
        }
    }

    #[test]
    fn what_another_registry_may_declare_is_no_leak() {
        use Outcome::{Leak, NotRun, Pass};
        let doubted = |outcomes: &[Outcome]| {
            let mut report = report(outcomes.iter().map(|o| check("a", "T0", "T1", *o)).collect(), 2);
            report.doubt();
            (report.verdict, report.checks.iter().map(|check| check.outcome).collect::<Vec<_>>())
        };
        assert_eq!(doubted(&[Leak, Pass]), (Verdict::Inconclusive, vec![NotRun, NotRun, Pass]));
        assert_eq!(doubted(&[NotRun]), (Verdict::Inconclusive, vec![NotRun, NotRun]));
        assert_eq!(doubted(&[Pass]), (Verdict::Isolated, vec![Pass]), "as it was when the run began");
    }

    #[test]
    fn pairs_are_ordered_and_the_duration_is_in_whole_milliseconds() {
        for (tenants, pairs) in [(0, 0), (1, 0), (2, 2), (3, 6), (10, 90)] {
            let report = report(Vec::new(), tenants);
            assert_eq!((report.tenants, report.pairs, report.duration_ms), (tenants, pairs, 1234));
        }
    }

    #[test]
    fn a_cell_of_the_matrix_is_the_worst_outcome_of_its_tenant_on_either_side() {
        let report = report(
            vec![
                check("a", "T0", "T1", Outcome::Leak),
                check("a", "T0", "*", Outcome::Pass),
                check("a", "T1", "*", Outcome::Pass),
                check("a", "T2", "*", Outcome::Pass),
                check("b", "T1", "T2", Outcome::Pass),
                check("b", "T0", "*", Outcome::Pass),
                check("b", "T0", "*", Outcome::NotRun),
            ],
            3,
        );
        let matrix = report.matrix();
        for (probe, tenant, expected) in [
            ("a", "T0", Some(Outcome::Leak)),
            ("a", "T1", Some(Outcome::Leak)),
            ("a", "T2", Some(Outcome::Pass)),
            ("b", "T0", Some(Outcome::NotRun)),
            ("b", "T1", Some(Outcome::Pass)),
            ("b", "T2", None),
            ("c", "T0", None),
        ] {
            assert_eq!(matrix.get(&(probe, tenant)).copied(), expected, "{probe} of {tenant}");
        }
    }

    #[test]
    fn the_json_names_outcomes_and_the_verdict_in_kebab_case() {
        let json = serde_json::to_value(report(vec![check("a", "T0", "*", Outcome::NotRun)], 2)).unwrap_or_default();
        assert_eq!((&json["verdict"], &json["checks"][0]["outcome"]), (&"inconclusive".into(), &"not-run".into()));
        assert!(json["names"].is_null() && json["tenants"] == 2);
    }
}
