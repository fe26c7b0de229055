//! The result of the live proof as data. Printing it to a terminal is elsewhere.

pub mod html;
pub mod junit;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::verdict::Verdict;

/// The probe id of checks that belong to no probe: connecting, cleaning up.
pub const SETTING: &str = "setting";

/// The outcome of a check, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The check passed.
    Pass,
    /// The check could not be run.
    NotRun,
    /// Something of one tenant reached another, or an undeclared operation was not denied.
    Leak,
}

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
pub struct Server {
    /// Its URL, `nats://host:port`.
    pub url: String,
    /// The version of nats-server.
    pub version: String,
    /// The server's id, new at every start.
    pub id: String,
    /// The digest of its configuration as it reports it. `None` if it could not be asked.
    pub config_digest: Option<String>,
    /// Whether it was started for this run alone.
    pub throwaway: bool,
}

/// The result of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The overall result.
    pub verdict: Verdict,
    /// The server that was attacked.
    pub server: Server,
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

impl Report {
    /// A report of these checks. The worst outcome decides the verdict.
    pub fn new(server: Server, names: Vec<String>, checks: Vec<Check>, took: Duration) -> Self {
        let worst = checks.iter().map(|c| c.outcome).max();
        let verdict = match worst {
            Some(Outcome::Leak) => Verdict::Leaky,
            Some(Outcome::Pass) => Verdict::Isolated,
            // Without checks nothing is proved.
            Some(Outcome::NotRun) | None => Verdict::Inconclusive,
        };
        let tenants = names.len();
        Self {
            verdict,
            server,
            tenants,
            pairs: tenants * tenants.saturating_sub(1),
            checks,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            at: now(),
            names,
        }
    }

    /// The worst outcome for each probe and tenant. A leak or a check that was not run counts
    /// for both its tenants.
    pub fn matrix(&self) -> BTreeMap<(&str, &str), Outcome> {
        let mut cells = BTreeMap::new();
        for check in &self.checks {
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
