//! The exports, imports and mappings of each account, as the server reports them. Every path
//! between accounts begins with one of these, so no subject has to be guessed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Probe;
use crate::model::{ShareKind, Tenant};
use crate::subject::Subject;
use crate::verify::run::{Run, TenantRun};
use crate::verify::wire::{Answer, Request};

pub const PROBE: Probe = Probe {
    id: "declarations",
    proves: "the server reports exactly the declared exports, imports and mappings for each tenant",
    mend: "`tenantry up` renders what is declared; remove what was added to the configuration by hand",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

/// Number of accounts that are requested at the same time.
const AT_A_TIME: usize = 64;

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    let Some(mut operator) = run.operator().await else {
        let why = format!("{}, so the server cannot be asked what it runs", run.lacks_operator());
        return run.ledger.not_run_for_anybody(&why);
    };
    find_unknown_accounts(run, &mut operator).await;
    for chunk in tenant_runs.chunks(AT_A_TIME) {
        let account_info = |s: &TenantRun<'_>| Request::empty(format!("$SYS.REQ.ACCOUNT.{}.INFO", s.tenant.name));
        let requests: Vec<Request> = chunk.iter().map(account_info).collect();
        let answers = match operator.ask(&requests).await {
            Ok(answers) => answers,
            Err(lost) => return run.ledger.not_run_for_anybody(&format!("the operator's connection was lost: {lost}")),
        };
        for (tenant_run, answer) in chunk.iter().zip(answers) {
            let info = answer.json()["data"].clone();
            if matches!(answer, Answer::Message(_)) && info.is_object() {
                compare(run, tenant_run, &info);
            } else {
                let name = &tenant_run.tenant.name;
                run.ledger.not_run(
                    tenant_run.index,
                    match answer {
                        Answer::Message(_) | Answer::Nobody => format!("this server has no account `{name}`"),
                        _ => format!("the server did not say what it has in account `{name}`"),
                    },
                );
            }
        }
    }
}

/// Reports accounts that the registry does not have: no probe can attack them, so nothing is
/// proved about them.
async fn find_unknown_accounts(run: &Run<'_>, operator: &mut crate::verify::wire::Connection) {
    let asked = operator.ask(&[Request::empty("$SYS.REQ.SERVER.PING.ACCOUNTZ".to_owned())]).await;
    let answer = asked.ok().and_then(|answers| answers.into_iter().next()).map(|a| a.json()).unwrap_or_default();
    let Some(accounts) = answer["data"]["accounts"].as_array() else {
        return run.ledger.not_run_for_anybody("the server does not tell its accounts");
    };
    let is_known = |name: &&str| {
        let model = run.model;
        *name == "$G"
            || model.system.account.as_str() == *name
            || model.tenants.iter().any(|t| t.name.as_str() == *name)
    };
    let unknown: Vec<&str> = accounts.iter().filter_map(Value::as_str).filter(|name| !is_known(name)).collect();
    if !unknown.is_empty() {
        let names = unknown.iter().take(5).copied().collect::<Vec<_>>().join(", ");
        run.ledger.not_run_for_anybody(&format!(
            "the server has {} that the registry does not: {names}",
            if unknown.len() == 1 { "an account".to_owned() } else { format!("{} accounts", unknown.len()) }
        ));
    }
}

/// What stands between an export and an account that may import it.
const EXPORTED_TO: &str = " exported to ";
/// Begins what a line has beside the accounts.
const MORE: &str = "; ";

/// One line for each export and importer, and for each import, that the registry declares.
fn declared(tenant: &Tenant) -> BTreeSet<String> {
    let exports = tenant.exports.iter().flat_map(|export| {
        export.to.iter().map(|to| format!("{} {}{EXPORTED_TO}{to}", export.kind.as_str(), export.subject))
    });
    let imports = tenant.imports.iter().map(|i| format!("{} {} imported from {}", i.kind.as_str(), i.subject, i.from));
    let copied = tenant.stream_exports.iter().flat_map(|copy| {
        copy.ways().map(|(kind, subject, _)| format!("{} {subject}{EXPORTED_TO}{}", kind.as_str(), copy.to))
    });
    let copies = tenant.stream_imports.iter().flat_map(|copy| {
        copy.ways().map(|(kind, subject, local)| {
            format!("{} {subject} imported from {}{}", kind.as_str(), copy.from, renamed(&subject, &local))
        })
    });
    exports.chain(imports).chain(copied).chain(copies).collect()
}

/// ` as <local>` if the importer sees the subject under another name, else an empty text.
fn renamed(subject: &str, local: &str) -> String {
    if local.is_empty() || local == subject { String::new() } else { format!(" as {local}") }
}

/// One line for each export, import and mapping that the server reports, in the same words.
fn found(run: &Run<'_>, tenant: &Tenant, info: &Value) -> BTreeSet<String> {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let list = |key: &str| info[key].as_array().cloned().unwrap_or_default();
    let exports = list("exports").into_iter().flat_map(|e| {
        let to = e["approved_accounts"].as_array().cloned().unwrap_or_default();
        let mut to: Vec<String> = to.iter().filter_map(|a| a.as_str().map(str::to_owned)).collect();
        if to.is_empty() {
            to.push("everybody".to_owned());
        }
        let traced = (e["allow_trace"] == true).then(|| "traced".to_owned());
        let kind = e["response_type"].as_str().filter(|kind| !matches!(*kind, "" | "Singleton"));
        let answers = kind.map(|kind| format!("with answers of the kind {kind}"));
        let results = e["service_latency"]["results"].as_str();
        let latency = results.map(|results| format!("its latency published on {results}"));
        let more: String =
            [traced, answers, latency].into_iter().flatten().map(|more| format!("{MORE}{more}")).collect();
        let export = format!("{} {}{EXPORTED_TO}", text(&e, "type"), text(&e, "subject"));
        to.into_iter().map(move |to| format!("{export}{to}{more}"))
    });
    let imports = list("imports").into_iter().filter(|i| !is_added_by_server(run, tenant, i)).map(|i| {
        let (subject, local) = (text(&i, "subject"), text(&i, "local_subject"));
        let renamed = renamed(&subject, &local);
        let shared = if i["share"] == true { "; with who asks" } else { "" };
        let traced = if i["allow_trace"] == true { "; traced" } else { "" };
        format!("{} {subject} imported from {}{renamed}{shared}{traced}", text(&i, "type"), text(&i, "account"))
    });
    let mappings = info["mappings"].as_object().into_iter().flatten().filter(|(from, to)| !is_of_domain(from, to));
    let mappings = mappings.map(|(from, to)| format!("{from} mapped to {to}"));
    exports.chain(imports).chain(mappings).collect()
}

/// Whether an import is one that the server itself adds to every account: requests to the
/// system account about the own account.
fn is_added_by_server(run: &Run<'_>, tenant: &Tenant, import: &Value) -> bool {
    let own = |what: &str, last: &str| format!("$SYS.REQ.{what}.{}.{last}", tenant.name);
    let subjects = [own("ACCOUNT", "CONNZ"), own("ACCOUNT", "STATZ"), own("USER", "INFO"), "$JS.API.>".to_owned()];
    let local = import["local_subject"].as_str().unwrap_or_default();
    let usual = ["$SYS.REQ.ACCOUNT.PING.", "$SYS.REQ.SERVER.PING.CONNZ", "$SYS.REQ.USER.INFO", "$JS.API.>"];
    import["type"] == ShareKind::Service.as_str()
        && import["account"] == run.model.system.account.as_str()
        && subjects.iter().any(|s| import["subject"] == s.as_str())
        && usual.iter().any(|u| local.starts_with(u))
}

/// Whether a mapping is one that the server itself adds to every account with a JetStream domain:
/// from the domain's name of a subject, `$JS.DOMAIN.API.…`, to the subject.
fn is_of_domain(from: &str, to: &Value) -> bool {
    let parts = from.strip_prefix("$JS.").and_then(|rest| rest.split_once(".API."));
    let Some((domain, subject)) = parts else { return false };
    let destinations = to.as_array().map(Vec::as_slice).unwrap_or_default();
    let is_itself = |to: &Value| to["subject"] == subject || to["subject"] == format!("$JS.API.{subject}");
    !domain.contains(['.', '*', '>']) && destinations.len() == 1 && destinations.iter().all(is_itself)
}

fn compare(run: &Run<'_>, tenant_run: &TenantRun<'_>, info: &Value) {
    let (declared, found) = (declared(tenant_run.tenant), found(run, tenant_run.tenant, info));
    for more in grouped(found.difference(&declared).filter(|more| !is_part(more, &declared))) {
        run.ledger.leak(None, Some(tenant_run.index), format!("not declared: {more}"));
    }
    // A line that the server has with an addition is there: traced, with latency.
    let is_there =
        |less: &&String| found.iter().any(|f| f.strip_prefix(*less).is_some_and(|more| more.starts_with(MORE)));
    for less in grouped(declared.difference(&found).filter(|less| !is_there(less))) {
        run.ledger.not_run(tenant_run.index, format!("declared, and not on the server: {less}"));
    }
    if found == declared {
        run.ledger.pass(tenant_run.index, format!("{} exports and imports, each as declared", found.len()));
    }
}

/// Whether what a line shares is a part of what is declared between the same accounts: a share that is about to become wider.
fn is_part(line: &str, declared: &BTreeSet<String>) -> bool {
    let parts = |line: &'_ str| {
        let (kind, rest) = line.split_once(' ')?;
        let (subject, rest) = rest.split_once(' ')?;
        Some((kind.to_owned(), Subject::as_the_server_reads(subject)?, rest.to_owned()))
    };
    let Some((kind, subject, accounts)) = parts(line) else { return false };
    let contains =
        |(other, wider, with): (String, Subject, String)| other == kind && with == accounts && wider.contains(&subject);
    declared.iter().filter_map(|line| parts(line)).any(contains)
}

/// The lines, with the accounts to which one export goes in one of them.
fn grouped<'l>(lines: impl Iterator<Item = &'l String>) -> Vec<String> {
    let mut groups: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for line in lines {
        let (export, rest) = line.split_once(EXPORTED_TO).unwrap_or((line, ""));
        let end = rest.find(MORE).unwrap_or(rest.len());
        groups.entry((export, &rest[end..])).or_default().push(&rest[..end]);
    }
    let line = |((export, more), to): ((&str, &str), Vec<&str>)| match to.as_slice() {
        [""] => format!("{export}{more}"),
        to => format!("{export}{EXPORTED_TO}{}{more}", to.join(", ")),
    };
    groups.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_declared_share_is_declared() {
        let declared = ["stream a.> exported to B", "service a.q imported from B"].map(str::to_owned).into();
        for (line, expected) in [
            ("stream a.x exported to B", true),
            ("stream a.x exported to C", false),
            ("service a.x exported to B", false),
            ("stream > exported to B", false),
            ("stream a.x exported to B; traced", false),
            ("stream a.x imported from B", false),
            ("a.x mapped to b", false),
        ] {
            assert_eq!(is_part(line, &declared), expected, "{line}");
        }
    }

    #[test]
    fn accounts_of_one_export_are_in_one_line() {
        let lines =
            ["stream a exported to B", "stream a exported to C", "stream a exported to D; traced", "x mapped to y"];
        let lines = lines.map(str::to_owned);
        let expected = ["stream a exported to B, C", "stream a exported to D; traced", "x mapped to y"];
        assert_eq!(grouped(lines.iter()), expected);
    }
}
