//! Accounts' JWTs that nats-server rejects: what nats-io/jwt calls an error. One error rejects the
//! whole account, so that nobody can log in to it, and what it exports is not there.

use std::collections::HashMap;

use super::claims::{self, Claims, decode};
use super::is_public;
use crate::model::ShareKind;

/// Why the server rejects an account. `None`: it does not.
pub fn rejected(claims: &Claims<claims::Account>) -> Option<String> {
    account(claims).err()
}

type Verdict = Result<(), String>;

fn unless(holds: bool, why: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(why()) }
}

fn account(claims: &Claims<claims::Account>) -> Verdict {
    let account = &claims.nats;
    unless(claims.is_current(), || "it is not valid at this time".to_owned())?;
    imports(account, &claims.sub)?;
    exports(account)?;
    unless(!account.limits.tiered_limits.contains_key(""), || "a tier of its limits has no name".to_owned())?;
    permissions(&account.default_permissions)?;
    account.mappings.iter().try_for_each(|(from, destinations)| mapping(from, destinations))?;
    authorization(&account.authorization)?;
    if let Some(trace) = &account.trace {
        subject(&trace.dest)?;
        unless(!has_wildcards(&trace.dest), || format!("traces cannot be sent to `{}`", trace.dest))?;
        unless((0..=100).contains(&trace.sampling), || "the sampling of traces is not from 1 to 100".to_owned())?;
    }
    let strange = account.signing_keys.iter().map(|key| &key.key).find(|key| !is_public(key, 'A'));
    strange.map_or(Ok(()), |key| Err(format!("the signing key `{key}` is not one of an account")))?;
    let traffic = account.cluster_traffic.as_str();
    unless(["", "system", "owner"].contains(&traffic), || format!("there is no cluster traffic `{traffic}`"))?;
    info(&account.info)
}

// ---------------------------------------------------------------- exports

fn exports(account: &claims::Account) -> Verdict {
    let (exports, limits) = (&account.exports, &account.limits);
    exports.iter().try_for_each(export)?;
    for kind in [ShareKind::Stream, ShareKind::Service] {
        let subjects: Vec<&str> =
            exports.iter().filter(|e| e.r#type == Some(kind)).map(|e| e.subject.as_str()).collect();
        let overlap = subjects.iter().enumerate().find_map(|(i, inner)| {
            let outer = subjects.iter().enumerate().find(|(j, outer)| i != *j && is_contained(inner, outer))?;
            Some((inner, *outer.1))
        });
        if let Some((inner, outer)) = overlap {
            return Err(format!("its exports `{inner}` and `{outer}` overlap"));
        }
    }
    unless(within(limits.exports, exports.len()), || "it has more exports than its limits allow".to_owned())?;
    let wild = exports.iter().find(|e| limits.exports != -1 && !limits.wildcards && has_wildcards(&e.subject));
    wild.map_or(Ok(()), |e| Err(format!("its limits allow no wildcard in the export `{}`", e.subject)))
}

fn export(export: &claims::Export) -> Verdict {
    let claims::Export { subject: name, response_type, service_latency, response_threshold, .. } = export;
    let Some(kind) = export.r#type else { return Err(format!("its export `{name}` has no type")) };
    let is_service = kind == ShareKind::Service;
    let answers: &[&str] = if is_service { &["", "Singleton", "Stream", "Chunked"] } else { &[""] };
    unless(answers.contains(&response_type.as_str()), || {
        format!("its {} `{name}` cannot have the response type `{response_type}`", kind.as_str())
    })?;
    unless(is_service || !export.allow_trace, || format!("the stream `{name}` cannot be traced"))?;
    if let Some(latency) = service_latency {
        unless(is_service, || format!("the latency of the stream `{name}` cannot be measured"))?;
        unless((0..=100).contains(&latency.sampling.0), || format!("the sampling of `{name}` is not from 1 to 100"))?;
        subject(&latency.results)?;
        unless(!has_wildcards(&latency.results), || format!("latency cannot be sent to `{}`", latency.results))?;
    }
    unless(*response_threshold == 0 || is_service && *response_threshold > 0, || {
        format!("the response threshold of `{name}` does not fit")
    })?;
    subject(name)?;
    let token = match export.account_token_position {
        0 => Some("*"),
        position => usize::try_from(position).ok().and_then(|position| name.split('.').nth(position - 1)),
    };
    unless(token == Some("*"), || format!("the account's token of `{name}` is no `*`"))?;
    info(&export.info)
}

// ---------------------------------------------------------------- imports

fn imports(account: &claims::Account, importer: &str) -> Verdict {
    let imports = &account.imports;
    let mut services: HashMap<&str, Vec<String>> = HashMap::new();
    for import in imports.iter().filter(|import| import.r#type == Some(ShareKind::Service)) {
        let claims::Import { subject, to, local_subject, .. } = import;
        let local = match (to.as_str(), local_subject.as_str()) {
            ("", "") => subject.clone(),
            ("", local) => with_stars(local),
            (to, _) => to.to_owned(),
        };
        let others = services.entry(&import.account).or_default();
        if let Some(other) = others.iter().find(|other| is_contained(&local, other) || is_contained(other, &local)) {
            return Err(format!("the services that it imports as `{other}` and `{local}` overlap"));
        }
        others.push(local);
    }
    imports.iter().try_for_each(|i| import(i, importer))?;
    unless(within(account.limits.imports, imports.len()), || "it has more imports than its limits allow".to_owned())
}

fn import(import: &claims::Import, importer: &str) -> Verdict {
    let claims::Import { subject: name, to, local_subject, .. } = import;
    let Some(kind) = import.r#type else { return Err(format!("its import of `{name}` has no type")) };
    let is_service = kind == ShareKind::Service;
    unless(!(is_service && import.allow_trace), || format!("the service `{name}` is imported with `allow_trace`"))?;
    unless(is_service || !import.share, || format!("the stream `{name}` is imported with `share`"))?;
    unless(!import.account.is_empty(), || format!("its import of `{name}` names no account"))?;
    subject(name)?;
    if !local_subject.is_empty() {
        renaming(name, local_subject)?;
        unless(to.is_empty(), || format!("its import of `{name}` has two local subjects"))?;
    }
    if !import.token.is_empty() {
        let wanted = if is_service && !to.is_empty() { to } else { name };
        let fits = decode(&import.token).is_some_and(|token| activation(&token, import, importer, wanted));
        unless(fits, || format!("the activation of its import of `{name}` does not fit"))?;
    }
    Ok(())
}

/// Whether an activation is about this import, whatever the time.
fn activation(token: &Claims<claims::Activation>, import: &claims::Import, importer: &str, wanted: &str) -> bool {
    let exporter = token.exporter();
    (token.iss == import.account || exporter == import.account)
        && (exporter.is_empty() || is_public(exporter, 'A'))
        && token.sub == importer
        && token.activated() == import.r#type
        && subject(&token.nats.subject).is_ok()
        && is_contained(wanted, &token.nats.subject)
}

/// A local subject takes over each wildcard of the subject that it renames.
fn renaming(from: &str, local: &str) -> Verdict {
    subject(local)?;
    let stars = from.split('.').filter(|token| *token == "*").count();
    let fits =
        |token: &str| reference(token).is_none_or(|number| i64::try_from(stars).is_ok_and(|stars| number <= stars));
    let used = local.split('.').filter(|token| *token == "*" || reference(token).is_some()).count();
    let has_tail = |text: &str| text == ">" || text.ends_with(".>");
    unless(local.split('.').all(fits) && used == stars && has_tail(from) == has_tail(local), || {
        format!("`{from}` cannot be imported as `{local}`")
    })
}

/// A local subject with stars for its references.
fn with_stars(local: &str) -> String {
    let tokens = local.split('.').map(|token| if reference(token).is_some() { "*" } else { token });
    tokens.collect::<Vec<_>>().join(".")
}

/// The number of a token such as `$1`.
fn reference(token: &str) -> Option<i64> {
    token.strip_prefix('$')?.parse().ok()
}

// ------------------------------------------------------------- the rest

fn mapping(from: &str, destinations: &[claims::Destination]) -> Verdict {
    subject(from)?;
    let mut totals: HashMap<&str, u32> = HashMap::new();
    for destination in destinations {
        subject(&destination.subject)?;
        *totals.entry(&destination.cluster).or_default() += destination.percent();
    }
    unless(totals.values().all(|total| *total <= 100), || format!("the mapping of `{from}` exceeds 100 percent"))
}

fn permissions(given: &claims::Permissions) -> Verdict {
    let sides = [(&given.r#pub, 1), (&given.sub, 2)];
    for (side, most) in sides {
        for entry in side.allow.iter().chain(&side.deny) {
            let words: Vec<&str> = entry.split(' ').collect();
            unless(words.len() <= most, || format!("`{entry}` is not a subject of default permissions"))?;
            words.into_iter().try_for_each(subject)?;
        }
    }
    Ok(())
}

fn authorization(callout: &claims::Authorization) -> Verdict {
    let claims::Authorization { auth_users, allowed_accounts, xkey } = callout;
    let is_account = |key: &String| is_public(key, 'A') || key == "*" && allowed_accounts.len() == 1;
    let fits = auth_users.iter().all(|key| is_public(key, 'U'))
        && allowed_accounts.iter().all(is_account)
        && (allowed_accounts.is_empty() || !auth_users.is_empty())
        && (xkey.is_empty() || is_public(xkey, 'X'));
    unless(fits, || "the keys of its auth callout do not fit".to_owned())
}

fn info(info: &claims::Info) -> Verdict {
    const LONGEST: usize = 8 * 1024;
    let claims::Info { description, info_url } = info;
    unless(description.len() <= LONGEST && info_url.len() <= LONGEST, || "its description is too long".to_owned())?;
    let has_host = |rest: &str| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        !host.is_empty() && !host.starts_with(':') && !rest.contains(char::is_whitespace)
    };
    let is_url = info_url.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && has_host(rest));
    unless(info_url.is_empty() || is_url, || format!("`{info_url}` is no URL"))
}

/// Whether a limit, -1 for none, allows so many.
fn within(limit: i64, number: usize) -> bool {
    limit == -1 || i64::try_from(number).is_ok_and(|number| number <= limit)
}

/// Refuses what nats-io/jwt takes for no subject. It takes more than the server does.
fn subject(text: &str) -> Verdict {
    let fits = !text.is_empty() && !text.contains(' ') && text.split('.').all(|token| !token.is_empty());
    unless(fits, || format!("`{text}` is not a valid subject"))
}

/// Whether nats-io/jwt finds wildcards in a subject: a `>` at the end only.
fn has_wildcards(text: &str) -> bool {
    text == ">" || text.ends_with(".>") || text.split('.').any(|token| token == "*")
}

/// Whether nats-io/jwt finds one subject in another, wildcards of `inner` taken for ordinary tokens.
fn is_contained(inner: &str, outer: &str) -> bool {
    let (inner, outer): (Vec<&str>, Vec<&str>) = (inner.split('.').collect(), outer.split('.').collect());
    let has_tail = outer.last() == Some(&">");
    let before_tail = if has_tail { outer.len() - 1 } else { outer.len() };
    (if has_tail { inner.len() >= outer.len() } else { inner.len() == outer.len() })
        && outer[..before_tail].iter().zip(&inner).all(|(outer, inner)| *outer == "*" || outer == inner)
}
