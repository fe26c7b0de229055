//! Findings in the forms that reviews show: GitHub's annotations and step summary, Markdown,
//! and SARIF for code scanning.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::diag::{Finding, Severity};

/// A line of GitHub's workflow commands for each finding, which it shows at the place.
pub fn github(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let mut properties = vec![format!("title={}", property(finding.rule))];
        properties.extend(finding.file.as_ref().map(|file| format!("file={}", property(file))));
        properties.extend(finding.line.map(|line| format!("line={line}")));
        properties.extend(finding.column.map(|column| format!("col={column}")));
        let hint = finding.hint.as_ref().map_or_else(String::new, |hint| format!("\nfix: {hint}"));
        let message = data(&format!("{}{hint}", finding.message));
        let _ = writeln!(text, "::{} {}::{message}", level(finding.severity), properties.join(","));
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

/// A heading with the verdict, and a table of the findings.
pub fn markdown(subject: &str, verdict: &str, findings: &[Finding]) -> String {
    let mut text = format!("### {}: {verdict}\n", cell(subject));
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
    text
}

/// Escapes text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace(['\n', '\r'], " ")
}

/// A SARIF 2.1.0 log of one run.
pub fn sarif(findings: &[Finding]) -> Value {
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
            "results": results,
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

    #[test]
    fn an_annotation_escapes_what_would_end_it() {
        assert_eq!(
            github(&[finding()]),
            "::error title=a-rule,file=a%2Cb.conf,line=3,col=7::100%25 of `a|b`%0Aleaks%0Afix: close it\n"
        );
        let nowhere = Finding { file: None, line: None, column: None, severity: Severity::Warning, ..finding() };
        assert!(github(&[nowhere]).starts_with("::warning title=a-rule::"));
        assert_eq!(github(&[]), "");
    }

    #[test]
    fn a_row_of_the_table_is_one_line() {
        let text = markdown("x.conf", "leaky", &[finding()]);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows[0], "### x.conf: leaky");
        assert_eq!(rows[4], "| error | a-rule | 100% of `a\\|b` leaks | `a,b.conf:3` | close it |");
        assert_eq!(markdown("x.conf", "isolated", &[]), "### x.conf: isolated\n");
    }

    #[test]
    fn sarif_names_each_rule_once_and_the_place_of_each_result() {
        let log = sarif(&[finding(), finding()]);
        let run = &log["runs"][0];
        assert_eq!(run["tool"]["driver"]["rules"], json!([{ "id": "a-rule" }]));
        assert_eq!(run["results"].as_array().map(Vec::len), Some(2));
        let place = &run["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!((&place["artifactLocation"]["uri"], &place["region"]["startLine"]), (&json!("a,b.conf"), &json!(3)));
    }
}
