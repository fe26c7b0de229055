//! Reachability: whether a message published by one user can arrive at another,
//! and by which path. The server checks publish permissions on the subject
//! after the account's mappings.

use std::collections::HashSet;

use super::system::{Account, AuthMethod, Import, Mapping, Permissions, Side, System, User};
use crate::diag::Span;
use crate::model::ShareKind;
use crate::subject::Subject;

/// A path from one user to another.
#[derive(Debug, Clone)]
pub struct Path {
    /// The published subject.
    pub subject: Subject,
    /// The subject with which the message arrives.
    pub arrives: Subject,
    /// The steps in order, each with the location that permits it.
    pub steps: Vec<(String, Span)>,
}

/// A query for paths.
#[derive(Debug, Clone, Copy)]
pub struct Question<'q> {
    /// The publisher.
    pub from: (&'q Account, &'q User),
    /// The subscriber.
    pub to: (&'q Account, &'q User),
    /// The published subjects to consider. `None`: all.
    pub subject: Option<&'q Subject>,
}

/// A message on its path.
struct Carried<'w> {
    account: &'w Account,
    published: Subject,
    subject: Subject,
    /// Kind of the last import crossed. `None`: still in the publisher's account. The
    /// server forwards requests through further service imports, but stream
    /// messages through no further import.
    way: Option<ShareKind>,
    steps: Vec<(String, Span)>,
}

/// All paths that answer `question`, one per pair of published and arriving subject, sorted.
pub fn paths(system: &System, question: Question<'_>) -> Vec<Path> {
    let (account, sender) = question.from;
    let (target, receiver) = question.to;
    let Some(account) = system.account(&account.name) else { return Vec::new() };
    let mut found = Vec::new();
    let mut seen: HashSet<(String, String, String)> = HashSet::new();
    let mut open: Vec<Carried<'_>> = published(account, sender, question.subject);
    while let Some(carried) = open.pop() {
        let key = (
            format!("{} {:?}", carried.account.name, carried.way),
            carried.published.to_string(),
            carried.subject.to_string(),
        );
        if !seen.insert(key) {
            continue;
        }
        if carried.account.name == target.name {
            found.extend(arrivals(&carried, target, receiver));
        }
        let importers = system.importers.get(&carried.account.name).into_iter().flatten().map(|i| &system.accounts[*i]);
        let own = std::iter::once(carried.account);
        let others = importers.filter(|other| other.name != carried.account.name).chain(own);
        open.extend(others.flat_map(|other| imported(system, &carried, other)));
    }
    found.sort_by(|a, b| (a.subject.as_str(), a.arrives.as_str()).cmp(&(b.subject.as_str(), b.arrives.as_str())));
    found.dedup_by(|a, b| a.subject == b.subject && a.arrives == b.arrives);
    found
}

/// The other accounts that messages of `account` can reach if permissions allow
/// it: importers of its streams, and exporters of the services it imports,
/// directly or through further service imports.
pub fn reachable<'w>(system: &'w System, account: &'w Account) -> Vec<&'w Account> {
    let importers = system.importers.get(&account.name).into_iter().flatten().map(|i| &system.accounts[*i]);
    let mut found: Vec<&Account> = importers.collect();
    let mut open = vec![account];
    while let Some(asking) = open.pop() {
        for import in asking.imports.iter().filter(|i| i.kind == ShareKind::Service) {
            let Some(exporter) = system.account(&import.from.0) else { continue };
            if !found.iter().any(|a| a.name == exporter.name) {
                found.push(exporter);
                open.push(exporter);
            }
        }
    }
    found.retain(|other| other.name != account.name);
    found
}

/// The messages within `wanted` that a user may publish. Permissions apply to the
/// subject after the account's mappings.
fn published<'w>(account: &'w Account, user: &User, wanted: Option<&Subject>) -> Vec<Carried<'w>> {
    let side = &user.permissions.publish;
    let place = side.span.or(user.permissions.span).unwrap_or(user.span);
    let everything = Subject::as_the_server_reads(">");
    let Some(wanted) = wanted.or(everything.as_ref()) else { return Vec::new() };
    let mut open = Vec::new();
    for Mapped { from, becomes, step } in mapped(account, wanted) {
        for subject in granted(side, Some(&becomes)) {
            // Permissions were checked on the mapped subject, but the user publishes the
            // mapping's source.
            let published = if step.is_some() { from.clone() } else { subject.clone() };
            let allowed = (format!("`{}/{}` may publish `{subject}`", account.name, user.display_name()), place);
            let steps = step.clone().into_iter().chain([allowed]).collect();
            open.push(Carried { account, published, subject, way: None, steps });
        }
    }
    open
}

/// The subjects to which an account's mappings can map `subject`.
pub fn what_becomes(account: &Account, subject: &Subject) -> Vec<Subject> {
    mapped(account, subject).into_iter().map(|part| part.becomes).collect()
}

/// All subjects that a mapping can produce.
pub fn results(mapping: &Mapping) -> Vec<Subject> {
    mapping.to.iter().filter_map(|to| rewrite_to(&mapping.from, &mapping.from, to)).collect()
}

/// A request that an intermediate account forwards to a further account.
#[derive(Debug)]
pub struct Request<'w> {
    /// The service import through which the requester asks.
    pub first: &'w Import,
    /// The account that receives the request.
    pub owner: &'w Account,
    /// The account that forwards it to the owner, with the import it uses.
    pub last: (&'w Account, &'w Import),
}

/// The requests of `account` that another account forwards to a third.
pub fn passed_on<'w>(system: &'w System, account: &'w Account) -> Vec<Request<'w>> {
    let mut found = Vec::new();
    let services = |a: &'w Account| a.imports.iter().filter(|i| i.kind == ShareKind::Service);
    for first in services(account) {
        let Some(exporter) = system.account(&first.from.0) else { continue };
        let mut seen: HashSet<(String, String)> = HashSet::new();
        let mut open: Vec<(&Account, Subject)> =
            what_becomes(exporter, &first.subject).into_iter().map(|s| (exporter, s)).collect();
        while let Some((at, subject)) = open.pop() {
            if !seen.insert((at.name.clone(), subject.to_string())) {
                continue;
            }
            for next in services(at) {
                let Some(cut) = subject.meet(&next.local) else { continue };
                let Some(owner) = system.account(&next.from.0) else { continue };
                found.push(Request { first, owner, last: (at, next) });
                let Some(asked) = rewrite_to(&cut, &next.local, next.subject.as_str()) else { continue };
                open.extend(what_becomes(owner, &asked).into_iter().map(|s| (owner, s)));
            }
        }
    }
    found
}

/// A part of the published subjects, with the subject after the account's mappings. `step`:
/// `None` if no mapping applies.
struct Mapped {
    from: Subject,
    becomes: Subject,
    step: Option<(String, Span)>,
}

/// Splits a subject by the account's mappings: one part per mapping destination that
/// applies, plus the unmapped subject unless one mapping takes all of it. If several
/// mappings match, all are followed: the server's choice among them is unspecified.
fn mapped(account: &Account, subject: &Subject) -> Vec<Mapped> {
    let mut parts = Vec::new();
    let mut is_taken = false;
    for mapping in &account.mappings {
        let Some(part) = subject.meet(&mapping.from) else { continue };
        is_taken |= !mapping.keeps && mapping.from.contains(subject);
        for dest in &mapping.to {
            let Some(becomes) = rewrite_to(&part, &mapping.from, dest) else { continue };
            let what = format!("`{}` maps `{}` to `{dest}`", account.name, mapping.from);
            parts.push(Mapped { from: part.clone(), becomes, step: Some((what, mapping.span)) });
        }
    }
    if !is_taken {
        parts.push(Mapped { from: subject.clone(), becomes: subject.clone(), step: None });
    }
    parts
}

/// The subjects that permissions allow within `wanted`. `None`: all that they allow. A deny
/// that covers only part of a subject does not remove it.
fn granted(side: &Side, wanted: Option<&Subject>) -> Vec<Subject> {
    let allowed: Vec<Subject> = match &side.allow {
        Some(allow) => allow.iter().map(|p| p.subject.clone()).collect(),
        None => Subject::as_the_server_reads(">").into_iter().collect(),
    };
    let cut = allowed.iter().filter_map(|subject| wanted.map_or_else(|| Some(subject.clone()), |w| subject.meet(w)));
    cut.filter(|subject| !side.deny.iter().any(|d| d.queue.is_none() && d.subject.contains(subject))).collect()
}

fn arrivals(carried: &Carried<'_>, account: &Account, user: &User) -> Vec<Path> {
    let side = &user.permissions.subscribe;
    let arrive = |subject: Subject| {
        let place = side.span.or(user.permissions.span).unwrap_or(user.span);
        let mut steps = carried.steps.clone();
        steps.push((format!("`{}/{}` may subscribe to `{subject}`", account.name, user.display_name()), place));
        Path { subject: carried.published.clone(), arrives: subject, steps }
    };
    granted(side, Some(&carried.subject)).into_iter().map(arrive).collect()
}

/// Carries a message one import further: a stream import takes it from the exporter
/// to the importer, a service import from the importer to the exporter.
fn imported<'w>(system: &'w System, carried: &Carried<'w>, other: &'w Account) -> Vec<Carried<'w>> {
    let mut next = Vec::new();
    let of_kind = |kind: ShareKind| {
        let goes_on = carried.way.is_none_or(|way| way == ShareKind::Service && kind == ShareKind::Service);
        other.imports.iter().filter(move |i| i.kind == kind && goes_on)
    };
    for import in of_kind(ShareKind::Stream).filter(|i| i.from.0 == carried.account.name) {
        let what = format!("`{}` imports the stream `{}` from `{}`", other.name, import.subject, carried.account.name);
        next.extend(carry(carried, other, (&import.subject, &import.local), what, import));
    }
    if other.name == carried.account.name {
        for import in of_kind(ShareKind::Service) {
            let Some(exporter) = system.account(&import.from.0) else { continue };
            let what = format!(
                "requests to `{}` go to the service `{}` of `{}`, and answers come back",
                import.local, import.subject, exporter.name
            );
            next.extend(carry(carried, exporter, (&import.local, &import.subject), what, import));
        }
    }
    next
}

fn carry<'w>(
    carried: &Carried<'_>,
    account: &'w Account,
    (from, to): (&Subject, &Subject),
    what: String,
    import: &Import,
) -> Vec<Carried<'w>> {
    let Some(cut) = carried.subject.meet(from) else { return Vec::new() };
    let Some(subject) = rewrite_to(&cut, from, to.as_str()) else { return Vec::new() };
    // Narrows the published subject to the part that takes this path.
    let published = if carried.published == carried.subject { cut } else { carried.published.clone() };
    let mut steps = carried.steps.clone();
    steps.push((what, import.span));
    // The exporter's mappings apply to requests from other accounts too.
    let parts = match import.kind {
        ShareKind::Service => mapped(account, &subject),
        ShareKind::Stream => vec![Mapped { from: subject.clone(), becomes: subject, step: None }],
    };
    let go_on = |part: Mapped| Carried {
        account,
        published: published.clone(),
        subject: part.becomes,
        way: Some(import.kind),
        steps: steps.iter().cloned().chain(part.step).collect(),
    };
    parts.into_iter().map(go_on).collect()
}

/// Rewrites a subject matched by `from` to the pattern `to`: the tokens at the
/// wildcards of `from` replace those of `to`, in order or as `$1` or
/// `{{wildcard(1)}}`. Any other function may produce any token, so it becomes `*`.
fn rewrite_to(subject: &Subject, from: &Subject, to: &str) -> Option<Subject> {
    if from.as_str() == to {
        return Some(subject.clone());
    }
    let tokens: Vec<&str> = subject.tokens().collect();
    let (mut wild, mut rest): (Vec<&str>, &[&str]) = (Vec::new(), &[]);
    for (i, token) in from.tokens().enumerate() {
        match token {
            ">" => rest = tokens.get(i..)?,
            "*" => wild.push(tokens.get(i)?),
            _ => {}
        }
    }
    let number = |token: &str| -> Option<usize> {
        let inside = token.strip_prefix("{{").and_then(|t| t.strip_suffix("}}")).map(|t| t.trim().to_lowercase());
        let inside = inside.as_deref().and_then(|t| t.strip_prefix("wildcard(")).and_then(|t| t.strip_suffix(')'));
        inside.or_else(|| token.strip_prefix('$'))?.trim().parse().ok()
    };
    let mut in_order = wild.iter().copied();
    let mut made: Vec<&str> = Vec::new();
    for token in to.split('.') {
        match (token, number(token)) {
            (">", _) => made.extend(rest),
            ("*", _) => made.push(in_order.next()?),
            (_, Some(n)) => made.push(wild.get(n.checked_sub(1)?)?),
            (_, None) if token.starts_with("{{") => made.push("*"),
            (_, None) => made.push(token),
        }
    }
    Subject::as_the_server_reads(&made.join("."))
}

/// A user with unlimited permissions.
fn anybody(span: Span) -> User {
    User {
        name: String::new(),
        label: None,
        span,
        auth: AuthMethod::Nkey,
        permissions: Permissions::default(),
        connection_types: None,
    }
}

/// Explains why no path exists, by the first obstacle: missing shares between the
/// accounts, then the publisher's permissions, then the subscriber's.
pub fn obstacle(system: &System, question: Question<'_>) -> (String, Span) {
    let ((account, sender), (target, receiver)) = (question.from, question.to);
    let place = |side: &Side, user: &User| side.span.or(user.permissions.span).unwrap_or(user.span);
    let what = question.subject.map_or_else(|| "anything".to_owned(), |subject| format!("`{subject}`"));
    let anybody = anybody(account.span);
    let between =
        |from: &User, to: &User| paths(system, Question { from: (account, from), to: (target, to), ..question });
    let Some(way) = between(&anybody, &anybody).into_iter().next() else {
        let takes_part = |a: &Account, other: &str| a.imports.iter().any(|i| i.from.0 == other);
        let message = if !takes_part(target, &account.name) && !takes_part(account, &target.name) {
            format!("`{}` imports nothing from `{}`, nor the other way round", target.name, account.name)
        } else if question.subject.is_some() {
            format!("no share carries {what} from `{}` to `{}`", account.name, target.name)
        } else {
            format!("what they share passes the other way, not from `{}` to `{}`", account.name, target.name)
        };
        return (message, target.span);
    };
    // `way` is a path that unlimited permissions would have.
    if between(sender, &anybody).is_empty() {
        let what = if account.name == target.name { what } else { format!("`{}`", way.subject) };
        let at = place(&sender.permissions.publish, sender);
        return (format!("`{}/{}` may not publish {what}", account.name, sender.display_name()), at);
    }
    let what = match (account.name == target.name, question.subject) {
        (true, _) => what,
        (false, Some(_)) => format!("`{}`", way.arrives),
        (false, None) => format!("what comes from `{}`", account.name),
    };
    let at = place(&receiver.permissions.subscribe, receiver);
    (format!("`{}/{}` may not subscribe to {what}", target.name, receiver.display_name()), at)
}
