//! The report as one HTML page: the matrix, and the evidence behind each cell.

use std::collections::HashMap;

use serde_json::json;

use super::{Check, Outcome, Report};
use crate::verify::PROBES;

/// The page, with `DATA` in place of its data, and `STATIC` in place of what is shown without script.
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
        "causes": report.causes(),
        "system": report.origin.system,
        "registry": report.origin.registry,
        "commit": report.origin.commit,
        "shares": report.origin.shares,
        "grants": report.origin.grants,
        "pairs_of": pairs(report),
    });
    // Escapes `<`, so that no text can close the script element that holds the data.
    let page = PAGE.replace("STATIC", &without_script(report));
    page.replace("DATA", &data.to_string().replace('<', "\\u003c"))
}

/// The outcome from one tenant to another, and whether anything is declared to pass.
type PairCell = (Option<Outcome>, bool);

/// A row for each sender, a cell for each receiver. `None`: too many to look at.
fn pairs(report: &Report) -> Option<Vec<Vec<PairCell>>> {
    const MOST: usize = 60;
    let names = &report.names;
    let row = |from: &String| {
        let cell = |to: &String| (report.between(from, to), report.is_declared(from, to));
        names.iter().map(cell).collect()
    };
    (2..=MOST).contains(&names.len()).then(|| names.iter().map(row).collect())
}

/// Maximum number of checks that are listed without script.
const LISTED: usize = 500;

/// The verdict, the server, and every check that did not pass, for readers that run no script.
fn without_script(report: &Report) -> String {
    let mut text = format!(
        "<h1>{}</h1>\n<p>{} tenants, {} ordered pairs, nats-server {} at {}, {}.</p>\n",
        report.verdict.as_str(),
        report.tenants,
        report.pairs,
        escaped(&report.server.version),
        escaped(&report.server.url),
        escaped(&report.at),
    );
    if report.origin.shares.is_empty() {
        text += "<p>Nothing is declared to pass between tenants.</p>\n";
    } else {
        text += "<p>Declared to pass between tenants:</p>\n<ul>\n";
        for share in report.origin.shares.iter().take(LISTED) {
            let words = format!("{} of {} with {}", share.what, share.from, share.to);
            text += &format!("<li>{}</li>\n", escaped(&words));
        }
        text += "</ul>\n";
    }
    let open: Vec<&Check> = report.checks.iter().filter(|c| c.outcome != Outcome::Pass).collect();
    if open.is_empty() {
        text += "<p>Every check passed. The evidence of each is shown with script.</p>\n";
        return text;
    }
    text += "<table><tr><th>outcome</th><th>probe</th><th>from</th><th>to</th><th>evidence</th></tr>\n";
    for check in open.iter().take(LISTED) {
        let cells = [check.outcome.as_str(), check.probe, &check.from, &check.to, &check.evidence]
            .map(|cell| format!("<td>{}</td>", escaped(cell)));
        text += &format!("<tr>{}</tr>\n", cells.concat());
    }
    text += "</table>\n";
    if open.len() > LISTED {
        text += &format!("<p>… and {} more.</p>\n", open.len() - LISTED);
    }
    text
}

/// Escapes text for HTML. `DATA` is the page's own word, so it is broken up.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace("DATA", "D&#65;TA")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::verify::fixtures::server;

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
    fn without_script_the_verdict_and_what_did_not_pass_are_read() {
        let check =
            |outcome| Check { probe: "entry", from: "A".into(), to: "B".into(), outcome, evidence: "<DATA>".into() };
        let shown =
            |checks| without_script(&Report::new(server(), vec!["A".into(), "B".into()], checks, Duration::ZERO));
        let leaky = shown(vec![check(Outcome::Leak), check(Outcome::NotRun), check(Outcome::Pass)]);
        assert!(leaky.contains("<h1>leaky</h1>") && leaky.matches("<tr><td>").count() == 2, "{leaky}");
        assert!(leaky.contains("&lt;D&#65;TA&gt;") && !leaky.contains("DATA"), "{leaky}");
        let isolated = shown(vec![check(Outcome::Pass)]);
        assert!(isolated.contains("<h1>isolated</h1>") && !isolated.contains("<table>"), "{isolated}");
    }

    #[test]
    fn the_same_evidence_is_written_once() {
        let page = page_of(&["the same words", "others", "the same words"]);
        assert_eq!(page.matches("the same words").count(), 1);
        assert!(page.contains(r#"["entry","A","*","pass",0],["entry","A","*","pass",1],["entry","A","*","pass",0]"#));
    }
}
