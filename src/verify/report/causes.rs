//! What did not hold, grouped by cause: checks of one probe whose evidence differs in names and numbers
//! only.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Serialize;

use super::{Check, Outcome, Report};
use crate::verify::PROBES;
use crate::verify::probes::{ANSWERS, DECLARATIONS, ENTRY, NOT_GRANTED, NOT_REFUSED};
use crate::verify::run::{ACKNOWLEDGES, MOVED, ROLLS_UP};

/// Checks that failed for one reason.
#[derive(Debug, Serialize)]
pub struct Cause<'r> {
    /// The probe's id.
    pub probe: &'static str,
    /// The outcome of each.
    pub outcome: Outcome,
    /// The evidence of the first.
    pub evidence: &'r str,
    /// Number of checks.
    pub checks: usize,
    /// The tenants from which it came; `*` for no particular one.
    pub from: BTreeSet<&'r str>,
    /// The tenants that it reached.
    pub to: BTreeSet<&'r str>,
    /// Where the registry declares them, as `file:line`.
    pub places: BTreeSet<String>,
    /// How to fix it.
    pub mend: &'static str,
    /// The probe whose leak of the same tenants this may follow from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follows: Option<&'static str>,
}

impl Report {
    /// The causes of what leaked, what may follow from another cause last, then those of what could not be run; each in
    /// the order of its first check.
    pub fn causes(&self) -> Vec<Cause<'_>> {
        let names: HashSet<&str> = self.origin.names().chain(self.names.iter().map(String::as_str)).collect();
        let mut causes: Vec<Cause<'_>> = Vec::new();
        let mut known: HashMap<(Outcome, &str, String), usize> = HashMap::new();
        for outcome in [Outcome::Leak, Outcome::NotRun] {
            for check in self.checks.iter().filter(|check| check.outcome == outcome) {
                let key = (outcome, check.probe, without_names(&check.evidence, &names));
                let i = *known.entry(key).or_insert_with(|| {
                    causes.push(Cause {
                        probe: check.probe,
                        outcome,
                        evidence: &check.evidence,
                        checks: 0,
                        from: BTreeSet::new(),
                        to: BTreeSet::new(),
                        places: BTreeSet::new(),
                        mend: mend(check),
                        follows: None,
                    });
                    causes.len() - 1
                });
                let cause = &mut causes[i];
                cause.checks += 1;
                cause.from.insert(&check.from);
                cause.to.insert(&check.to);
                // Who is led to answer has to change, and not who asks.
                let (first, second) = match check.probe {
                    ANSWERS => (&check.to, &check.from),
                    _ => (&check.from, &check.to),
                };
                cause.places.extend(self.origin.place(first).or_else(|| self.origin.place(second)));
            }
        }
        let is_moved = |cause: &Cause<'_>| cause.evidence.contains(MOVED);
        let tenants = |is_root: &dyn Fn(&Cause<'_>) -> bool| -> BTreeSet<&str> {
            let roots = causes.iter().filter(|c| c.outcome == Outcome::Leak && is_root(c));
            roots.flat_map(|c| c.from.union(&c.to).copied()).filter(|tenant| *tenant != "*").collect()
        };
        let roots = [(DECLARATIONS, tenants(&|c| c.probe == DECLARATIONS)), (ENTRY, tenants(&is_moved))];
        let is_root = |cause: &Cause<'_>| cause.probe == DECLARATIONS || is_moved(cause);
        for cause in causes.iter_mut().filter(|c| c.outcome == Outcome::Leak && !is_root(c)) {
            let found =
                roots.iter().find(|(_, known)| cause.from.union(&cause.to).all(|tenant| known.contains(tenant)));
            if let Some((root, _)) = found {
                cause.follows = Some(root);
                cause.mend = "this may follow from a leak of these tenants that comes before it: fix that first, then verify again";
            }
        }
        causes.sort_by_key(|c| (c.outcome != Outcome::Leak, c.follows.is_some()));
        causes
    }
}

/// How to fix what failed in a check.
fn mend(check: &Check) -> &'static str {
    if check.outcome == Outcome::NotRun {
        return "what could not be tried is not proved: remove the obstacle, then verify again";
    }
    if check.evidence.contains(NOT_REFUSED) {
        return "the server grants more than the registry: `tenantry up` renders and reloads it, `tenantry audit FILE` finds it in what the server runs";
    }
    if check.evidence.contains(MOVED) {
        return "the user is in another tenant's account: `tenantry up` renders and reloads the declared accounts; remove the user from that account in what the server runs";
    }
    if check.evidence.contains(ACKNOWLEDGES) {
        return "set `no_ack` on that stream, without `allow_batched`";
    }
    if check.evidence.contains(ROLLS_UP) {
        return "allow no roll-ups, schedules or delete markers in that stream (`allow_rollup_hdrs`, `allow_msg_schedules`), or keep the other tenant's subjects out of it";
    }
    if check.evidence.contains(NOT_GRANTED) {
        return "the server takes a subscription `a.>` for allowed by `a.*`: let a role list either `a.*` or subjects below it, not both; or the server runs an older configuration: `tenantry up` reloads it";
    }
    let probe = PROBES.iter().find(|p| p.id == check.probe);
    probe.map_or("`tenantry audit FILE` explains what the server's file grants; `tenantry up` renders and reloads what is declared", |probe| probe.mend)
}

/// The text with `*` in place of every known name and every number.
fn without_names(text: &str, names: &HashSet<&str>) -> String {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let mut made = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        made.push_str(&rest[..start]);
        let word = &rest[start..];
        let end = word.find(|c| !is_part(c)).unwrap_or(word.len());
        let word = &word[..end];
        let is_number = word.chars().any(|c| c.is_ascii_digit());
        made.push_str(if is_number || names.contains(word) { "*" } else { word });
        rest = &rest[start + end..];
    }
    made + rest
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::verify::fixtures::server;

    #[test]
    fn checks_whose_evidence_differs_in_names_and_numbers_have_one_cause() {
        let check = |from: &str, to: &str, outcome, evidence: &str| Check {
            probe: "publishing",
            from: from.into(),
            to: to.into(),
            outcome,
            evidence: evidence.into(),
        };
        let report = Report::new(
            server(),
            vec!["A".into(), "B".into(), "C".into()],
            vec![
                check("A", "B", Outcome::Leak, "`B.x` was not refused after 12 ms"),
                check("C", "B", Outcome::Leak, "`B.x` was not refused after 7 ms"),
                check("B", "A", Outcome::Leak, "`A.x` was not refused after 7 ms"),
                check("A", "B", Outcome::Leak, "`B.other` was not refused after 7 ms"),
                check("A", "*", Outcome::NotRun, "the server is silent"),
                check("A", "*", Outcome::Pass, "`B.x` was refused"),
            ],
            Duration::ZERO,
        );
        let causes = report.causes();
        let found: Vec<_> = causes
            .iter()
            .map(|c| (c.outcome, c.checks, c.from.iter().copied().collect::<String>(), c.evidence))
            .collect();
        assert_eq!(
            found,
            [
                (Outcome::Leak, 3, "ABC".to_owned(), "`B.x` was not refused after 12 ms"),
                (Outcome::Leak, 1, "A".to_owned(), "`B.other` was not refused after 7 ms"),
                (Outcome::NotRun, 1, "A".to_owned(), "the server is silent"),
            ]
        );
    }

    #[test]
    fn what_may_follow_from_an_undeclared_share_comes_after_it() {
        let check = |probe, from: &str, to: &str, outcome| Check {
            probe,
            from: from.into(),
            to: to.into(),
            outcome,
            evidence: format!("{probe} found something"),
        };
        let report = Report::new(
            server(),
            vec!["A".into(), "B".into(), "C".into()],
            vec![
                check("entry", "*", "A", Outcome::Leak),
                check("canaries", "A", "B", Outcome::Leak),
                check("publishing", "A", "C", Outcome::Leak),
                check("declarations", "*", "A", Outcome::Leak),
                check("declarations", "*", "B", Outcome::Leak),
                check("queues", "A", "B", Outcome::NotRun),
            ],
            Duration::ZERO,
        );
        let causes = report.causes();
        let found: Vec<_> = causes.iter().map(|c| (c.probe, c.follows)).collect();
        let declarations = Some("declarations");
        assert_eq!(
            found,
            [
                ("entry", None),
                ("publishing", None),
                ("declarations", None),
                ("canaries", declarations),
                ("queues", None)
            ]
        );
        assert!(causes[3].mend.contains("fix that first") && !causes[4].mend.contains("fix that first"));
    }

    #[test]
    fn what_is_found_decides_how_to_fix_it() {
        let leak = |evidence: &str| {
            let (from, to) = ("A".to_owned(), "B".to_owned());
            mend(&Check { probe: "limits", from, to, outcome: Outcome::Leak, evidence: evidence.to_owned() })
        };
        for (evidence, fix) in [
            (format!("A/u {MOVED} B"), "another tenant's account"),
            (format!("its stream S {ACKNOWLEDGES}"), "no_ack"),
            (format!("its stream S {ROLLS_UP}"), "allow_rollup_hdrs"),
            (format!("u hears A.x.y, {NOT_GRANTED}"), "`a.*`"),
        ] {
            assert!(leak(&evidence).contains(fix), "{evidence}");
            assert!(!leak("something else").contains(fix), "the control");
        }
    }

    #[test]
    fn every_probe_says_how_to_mend_what_it_finds() {
        assert!(PROBES.iter().all(|probe| !probe.mend.is_empty()));
        let check =
            |outcome, evidence: String| Check { probe: "queues", from: "A".into(), to: "*".into(), outcome, evidence };
        let of_queues = PROBES.iter().find(|probe| probe.id == "queues").expect("a probe").mend;
        assert_eq!(mend(&check(Outcome::Leak, "a message arrived".into())), of_queues);
        assert_ne!(mend(&check(Outcome::Leak, format!("x {NOT_REFUSED}"))), of_queues);
        assert_ne!(mend(&check(Outcome::NotRun, "x".into())), of_queues);
    }
}
