//! The report as one HTML page: the matrix, and the evidence behind each cell.

use std::collections::HashMap;

use serde_json::json;

use super::{Check, Report};
use crate::verify::PROBES;

/// The page, with `DATA` in place of its data.
const PAGE: &str = include_str!("page.html");

/// The report as a page without external resources.
pub fn page(report: &Report) -> String {
    // Many cells have the same evidence, so each text is stored once.
    let mut texts: Vec<&str> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut place = |text| {
        *places.entry(text).or_insert_with(|| {
            texts.push(text);
            texts.len() - 1
        })
    };
    let row = |c: &Check, evidence: usize| json!([c.probe, c.from, c.to, c.outcome, evidence]);
    let checks: Vec<_> = report.checks.iter().map(|c| row(c, place(&c.evidence))).collect();
    let probes: Vec<_> = PROBES.iter().map(|p| json!({ "id": p.id, "proves": p.proves })).collect();
    let data = json!({
        "verdict": report.verdict,
        "server": report.server,
        "at": report.at,
        "duration_ms": report.duration_ms,
        "pairs": report.pairs,
        "tenants": report.names,
        "probes": probes,
        "checks": checks,
        "texts": texts,
        "version": env!("CARGO_PKG_VERSION"),
        "residual": crate::audit::RESIDUAL,
    });
    // Escapes `<`, so that no text can close the script element that holds the data.
    PAGE.replace("DATA", &data.to_string().replace('<', "\\u003c"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::verify::fixtures::server;
    use crate::verify::report::Outcome;

    fn page_of(evidence: &[&str]) -> String {
        let check = |e: &&str| Check {
            probe: "entry",
            from: "A".into(),
            to: "*".into(),
            outcome: Outcome::Pass,
            evidence: (*e).into(),
        };
        page(&Report::new(server(), vec!["A".into()], evidence.iter().map(check).collect(), Duration::ZERO))
    }

    #[test]
    fn evidence_cannot_close_the_script_element() {
        let plain = page_of(&["held"]);
        let hostile = page_of(&["</script><script>alert(1)</script>"]);
        assert_eq!(hostile.matches('<').count(), plain.matches('<').count());
        assert!(hostile.contains("\\u003c/script>"));
    }

    #[test]
    fn the_same_evidence_is_written_once() {
        let page = page_of(&["the same words", "others", "the same words"]);
        assert_eq!(page.matches("the same words").count(), 1);
        assert!(page.contains(r#"["entry","A","*","pass",0],["entry","A","*","pass",1],["entry","A","*","pass",0]"#));
    }
}
