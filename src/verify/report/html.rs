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
