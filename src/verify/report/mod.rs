//! What the live proof found, as data. Printing it is elsewhere.

pub mod html;
pub mod junit;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::verdict::Verdict;

/// The "probe" of what is not any probe's doing: connecting, cleaning up.
pub const SETTING: &str = "setting";

/// What became of a check, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It held.
    Pass,
    /// It could not be tried.
    NotRun,
    /// It did not hold.
    Leak,
}

/// One check: what one tenant tried against another, or against all.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// Which probe.
    pub probe: &'static str,
    /// Whose bytes or deeds.
    pub from: String,
    /// Whom they reached or would have reached; `*` for every other tenant.
    pub to: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why that is known.
    pub evidence: String,
}

/// Which server was attacked.
#[derive(Debug, Clone, Serialize)]
pub struct Server {
    /// Where.
    pub url: String,
    /// Its version.
    pub version: String,
    /// Its identity.
    pub id: String,
    /// The digest of the configuration that it runs, by its own words.
    pub config_digest: Option<String>,
    /// Whether it was booted for this.
    pub throwaway: bool,
}

/// The whole proof.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What it amounts to.
    pub verdict: Verdict,
    /// Which server.
    pub server: Server,
    /// How many tenants took part.
    pub tenants: usize,
    /// Ordered pairs of them.
    pub pairs: usize,
    /// Everything that was tried.
    pub checks: Vec<Check>,
    /// How long it took.
    pub duration_ms: u64,
    /// When it ended, in UTC.
    pub at: String,
    /// The tenants, in the registry's order.
    #[serde(skip)]
    pub names: Vec<String>,
}

/// A proof is of a moment. Nothing is rendered from it.
#[allow(clippy::disallowed_types)]
fn now() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}

impl Report {
    /// From the checks; the verdict follows from them.
    pub fn new(server: Server, names: Vec<String>, checks: Vec<Check>, took: Duration) -> Self {
        let worst = checks.iter().map(|c| c.outcome).max();
        let verdict = match worst {
            Some(Outcome::Leak) => Verdict::Leaky,
            Some(Outcome::Pass) => Verdict::Isolated,
            // Nothing tried is nothing proved.
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

    /// The worst outcome of each probe at each tenant, as sender or as receiver.
    pub fn matrix(&self) -> BTreeMap<(&str, &str), Outcome> {
        let mut cells = BTreeMap::new();
        for check in &self.checks {
            for tenant in [&check.from, &check.to] {
                // What held is the sender's merit alone.
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
