//! Findings in the forms that reviews show: GitHub's annotations and step summary, Markdown,
//! and SARIF for code scanning.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::diag::{Finding, Severity};

/// The result of a command, as reviews show it.
#[derive(Debug, Clone, Copy)]
pub struct Review<'r> {
    /// What was judged: a file or a server. Of a command that failed: the error.
    pub subject: &'r str,
    /// The verdict.
    pub verdict: &'r str,
    /// What was looked at, in numbers. Of a command that failed: the remedy.
    pub extent: &'r str,
    /// Whether the command failed, so that nothing was judged.
    pub is_failure: bool,
    /// The findings.
    pub findings: &'r [Finding],
    /// What was not tried, and why.
    pub untried: &'r [String],
}

/// A line of GitHub's workflow commands for each finding, which it shows at the place.
pub fn github(review: Review<'_>) -> String {
    let mut text = String::new();
    if review.is_failure && review.findings.is_empty() {
        let fix = if review.extent.is_empty() { String::new() } else { format!("\nfix: {}", review.extent) };
        let _ = writeln!(text, "::error title=tenantry::{}", data(&format!("{}{fix}", review.subject)));
    }
    for finding in review.findings {
        let mut properties = vec![format!("title={}", property(finding.rule))];
        properties.extend(finding.file.as_ref().map(|file| format!("file={}", property(file))));
        properties.extend(finding.line.map(|line| format!("line={line}")));
        properties.extend(finding.column.map(|column| format!("col={column}")));
        let hint = finding.hint.as_ref().map_or_else(String::new, |hint| format!("\nfix: {hint}"));
        let message = data(&format!("{}{hint}", finding.message));
        let _ = writeln!(text, "::{} {}::{message}", level(finding.severity), properties.join(","));
    }
    for untried in review.untried {
        let _ = writeln!(text, "::notice title=not tried::{}", data(untried));
    }
    text
}

/// Escapes the data of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// A heading with the verdict, what was looked at, and a table of the findings.
pub fn markdown(review: Review<'_>) -> String {
    let Review { subject, verdict, extent, findings, untried, .. } = review;
    let mut text = format!("### {}: {verdict}\n", cell(subject));
    if !extent.is_empty() {
        let _ = write!(text, "\n{}\n", cell(extent));
    }
    if !findings.is_empty() {
        text += "\n| | rule | finding | where | fix |\n|---|---|---|---|---|\n";
    }
    for finding in findings {
        let place = match (&finding.file, finding.line) {
            (Some(file), Some(line)) => format!("`{}:{line}`", cell(file)),
            (Some(file), None) => format!("`{}`", cell(file)),
            _ => String::new(),
        };
        let hint = finding.hint.as_deref().map(cell).unwrap_or_default();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {place} | {hint} |",
            level(finding.severity),
            finding.rule,
            cell(&finding.message)
        );
    }
    if !untried.is_empty() {
        text += "\nNot tried:\n\n";
    }
    for line in untried {
        let _ = writeln!(text, "- {}", cell(line));
    }
    text
}

/// Escapes text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace(['\n', '\r'], " ")
}

/// A SARIF 2.1.0 log of one run. An empty list of results means that nothing was found only if the
/// invocation was successful.
pub fn sarif(review: Review<'_>) -> Value {
    let findings = review.findings;
    let mut invocation = json!({ "executionSuccessful": !review.is_failure && review.verdict != "inconclusive" });
    if review.is_failure {
        let text = format!("{}: {}", review.subject, review.extent);
        let message = json!({ "text": text.trim_end_matches(": ") });
        invocation["toolExecutionNotifications"] = json!([{ "level": "error", "message": message }]);
    }
    if !review.untried.is_empty() {
        let note = |line: &String| json!({ "level": "note", "message": { "text": format!("not tried: {line}") } });
        invocation["toolExecutionNotifications"] = review.untried.iter().map(note).collect();
    }
    let mut rules: Vec<&str> = findings.iter().map(|finding| finding.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    let results: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let hint = finding.hint.as_ref().map_or_else(String::new, |hint| format!(" Fix: {hint}"));
            let mut result = json!({
                "ruleId": finding.rule,
                "level": level(finding.severity),
                "message": { "text": format!("{}.{hint}", finding.message) },
            });
            if let Some(file) = &finding.file {
                let mut place = json!({ "artifactLocation": { "uri": file } });
                if let Some(line) = finding.line {
                    place["region"] = json!({ "startLine": line, "startColumn": finding.column.unwrap_or(1) });
                }
                result["locations"] = json!([{ "physicalLocation": place }]);
            }
            result
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "tenantry",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(|id| json!({ "id": id })).collect::<Vec<_>>(),
            } },
            "invocations": [invocation],
            "results": results,
            "properties": { "verdict": review.verdict },
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding() -> Finding {
        Finding {
            rule: "a-rule",
            severity: Severity::Error,
            message: "100% of `a|b`\nleaks".into(),
            file: Some("a,b.conf".into()),
            line: Some(3),
            column: Some(7),
            hint: Some("close it".into()),
        }
    }

    fn review(findings: &[Finding]) -> Review<'_> {
        Review { subject: "x.conf", verdict: "leaky", extent: "2 tenants", is_failure: false, findings, untried: &[] }
    }

    const FAILURE: Review<'_> = Review {
        subject: "cannot read x.conf",
        verdict: "invalid",
        extent: "is the path right?",
        is_failure: true,
        findings: &[],
        untried: &[],
    };

    #[test]
    fn a_command_that_failed_is_an_error_in_every_format() {
        assert_eq!(github(FAILURE), "::error title=tenantry::cannot read x.conf%0Afix: is the path right?\n");
        assert_eq!(github(Review { extent: "", ..FAILURE }), "::error title=tenantry::cannot read x.conf\n");
        assert_eq!(markdown(FAILURE), "### cannot read x.conf: invalid\n\nis the path right?\n");
        let log = sarif(FAILURE);
        let invocation = &log["runs"][0]["invocations"][0];
        assert_eq!(invocation["executionSuccessful"], false);
        assert_eq!(
            invocation["toolExecutionNotifications"][0]["message"]["text"],
            "cannot read x.conf: is the path right?"
        );
        let judged = sarif(review(&[]));
        let judged = &judged["runs"][0];
        assert_eq!(judged["invocations"], json!([{ "executionSuccessful": true }]));
        assert_eq!(judged["properties"]["verdict"], "leaky");
    }

    #[test]
    fn what_was_not_tried_is_named_in_every_format() {
        let untried = ["A: a flood, 100% of it".to_owned()];
        let review = Review { untried: &untried, ..review(&[]) };
        assert_eq!(github(review), "::notice title=not tried::A: a flood, 100%25 of it\n");
        assert!(markdown(review).ends_with("\nNot tried:\n\n- A: a flood, 100% of it\n"));
        let note = &sarif(review)["runs"][0]["invocations"][0]["toolExecutionNotifications"][0];
        assert_eq!(*note, json!({ "level": "note", "message": { "text": "not tried: A: a flood, 100% of it" } }));
    }

    #[test]
    fn an_annotation_escapes_what_would_end_it() {
        assert_eq!(
            github(review(&[finding()])),
            "::error title=a-rule,file=a%2Cb.conf,line=3,col=7::100%25 of `a|b`%0Aleaks%0Afix: close it\n"
        );
        let nowhere = Finding { file: None, line: None, column: None, severity: Severity::Warning, ..finding() };
        assert!(github(review(&[nowhere])).starts_with("::warning title=a-rule::"));
        assert_eq!(github(review(&[])), "");
    }

    #[test]
    fn a_row_of_the_table_is_one_line() {
        let text = markdown(review(&[finding()]));
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows[0], "### x.conf: leaky");
        assert_eq!(rows[2], "2 tenants");
        assert_eq!(rows[6], "| error | a-rule | 100% of `a\\|b` leaks | `a,b.conf:3` | close it |");
        assert_eq!(markdown(review(&[])), "### x.conf: leaky\n\n2 tenants\n");
    }

    #[test]
    fn sarif_names_each_rule_once_and_the_place_of_each_result() {
        let log = sarif(review(&[finding(), finding()]));
        let run = &log["runs"][0];
        assert_eq!(run["tool"]["driver"]["rules"], json!([{ "id": "a-rule" }]));
        assert_eq!(run["results"].as_array().map(Vec::len), Some(2));
        let place = &run["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!((&place["artifactLocation"]["uri"], &place["region"]["startLine"]), (&json!("a,b.conf"), &json!(3)));
    }
}
