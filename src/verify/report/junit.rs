//! JUnit XML: one suite per probe, one case per check. A check that could not be run is an
//! error, because CI systems show a skipped test as green. What is left out on
//! purpose is skipped.

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
        Outcome::NotTried => TestCaseStatus::skipped(),
        Outcome::Leak => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Outcome::NotRun => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    let mut case = TestCase::new(format!("{} → {}", check.from, check.to), status);
    case.set_classname(format!("tenantry.{suite}"));
    if check.outcome == Outcome::Pass {
        case.set_system_out(check.evidence.as_str());
    } else {
        case.status.set_message(check.evidence.as_str()).set_type(check.outcome.as_str());
    }
    case
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fixtures::server;
    use crate::verify::report::SETTING;

    fn xml_of(probe: &'static str, outcome: Outcome, evidence: &str) -> String {
        let check = Check { probe, from: "A".into(), to: "B".into(), outcome, evidence: evidence.into() };
        xml(&Report::new(server(), vec!["A".into(), "B".into()], vec![check], Duration::ZERO))
    }

    #[test]
    fn a_leak_is_a_failure_and_a_check_that_was_not_run_an_error() {
        for (outcome, failures, errors, element) in [
            (Outcome::Pass, 0, 0, "<system-out>evidence</system-out>"),
            (Outcome::Leak, 1, 0, "<failure message=\"evidence\" type=\"leak\"/>"),
            (Outcome::NotTried, 0, 0, "<skipped message=\"evidence\" type=\"not tried\"/>"),
            (Outcome::NotRun, 0, 1, "<error message=\"evidence\" type=\"not run\"/>"),
        ] {
            let xml = xml_of("entry", outcome, "evidence");
            assert!(xml.contains(&format!(" failures=\"{failures}\" errors=\"{errors}\" time")), "{xml}");
            assert!(xml.contains(element), "{xml}");
        }
    }

    #[test]
    fn evidence_cannot_break_out_of_its_attribute_or_element() {
        let evidence = "<b a=\"1\">&amp; ]]> \u{0}\u{1b}";
        for outcome in [Outcome::Pass, Outcome::Leak, Outcome::NotTried, Outcome::NotRun] {
            let xml = xml_of("entry", outcome, evidence);
            assert!(!xml.contains("<b") && xml.contains("&lt;b"), "{xml}");
            assert!(!xml.contains("a=\"1\">") && xml.contains("&amp;amp;"), "{xml}");
            assert!(!xml.contains(['\u{0}', '\u{1b}']), "{xml}");
        }
    }

    #[test]
    fn a_suite_is_written_for_each_probe_with_checks_and_for_the_setting() {
        for probe in ["entry", "limits", SETTING] {
            let xml = xml_of(probe, Outcome::Pass, "held");
            assert_eq!(xml.matches("<testsuite name=").count(), 1);
            assert!(xml.contains(&format!("<testsuite name=\"{probe}\"")), "{xml}");
            assert!(xml.contains(&format!("name=\"A \u{2192} B\" classname=\"tenantry.{probe}\"")), "{xml}");
        }
        let report = Report::new(server(), Vec::new(), Vec::new(), Duration::ZERO);
        assert!(!xml(&report).contains("<testsuite name="), "without checks");
    }
}
