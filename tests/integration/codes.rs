//! The codes that diagnostics carry: others filter by them.

use tenantry::{audit, registry};

#[test]
fn the_codes_of_diagnostics_are_a_promise() {
    let mut audit: Vec<&str> = audit::RULES.iter().map(|r| r.id).collect();
    audit.extend(audit::rules::READING.iter().map(|(id, _)| *id));
    let domains = [
        ("registry", registry::RULES.to_vec()),
        ("keys that do not agree", registry::conflict_codes().collect()),
        ("audit", audit),
    ];
    let mut text = String::new();
    let mut all = std::collections::BTreeSet::new();
    for (domain, mut codes) in domains {
        codes.sort_unstable();
        text += &format!("{domain}\n");
        for code in codes {
            assert!(all.insert(code) || code == "monitor-exposed", "{code} has two meanings");
            text += &format!("  {code}\n");
        }
    }
    insta::assert_snapshot!(text);
}
