//! JUnit XML: one suite per probe, one case per check. A check that was not run is an
//! error, because CI systems show a skipped test as green.

use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::{Check, Outcome, Report};
use crate::verify::PROBES;

/// The report as JUnit XML.
pub fn xml(report: &Report) -> String {
    let mut page = quick_junit::Report::new("tenantry verify");
    page.set_time(Duration::from_millis(report.duration_ms));
    let known = PROBES.iter().map(|p| (p.id, p.proves));
    for (id, proves) in known.chain([(super::SETTING, "everybody is connected, and nothing is left behind")]) {
        let checks: Vec<&Check> = report.checks.iter().filter(|c| c.probe == id).collect();
        if checks.is_empty() {
            continue;
        }
        let mut suite = TestSuite::new(id);
        suite.add_property(("proves", proves));
        suite.add_property(("server", report.server.version.as_str()));
        suite.add_test_cases(checks.into_iter().map(|check| case(check, id)));
        page.add_test_suite(suite);
    }
    page.to_string().unwrap_or_default()
}

fn case(check: &Check, suite: &str) -> TestCase {
    let status = match check.outcome {
        Outcome::Pass => TestCaseStatus::success(),
        Outcome::Leak => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Outcome::NotRun => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    let mut case = TestCase::new(format!("{} → {}", check.from, check.to), status);
    case.set_classname(format!("tenantry.{suite}"));
    match check.outcome {
        Outcome::Pass => drop(case.set_system_out(check.evidence.as_str())),
        Outcome::Leak => drop(case.status.set_message(check.evidence.as_str()).set_type("leak")),
        Outcome::NotRun => drop(case.status.set_message(check.evidence.as_str()).set_type("not run")),
    }
    case
}
