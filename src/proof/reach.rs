//! Whether what one user publishes can arrive at another, and by which way.
//! Permissions are checked on the subject after the account's mappings, so what
//! a user may publish to is what can arrive.

use std::collections::HashSet;

use super::world::{Account, Import, Side, User, World};
use crate::diag::Span;
use crate::model::ShareKind;
use crate::subject::Subject;

/// One way from a user to another.
#[derive(Debug, Clone)]
pub struct Path {
    /// What is published.
    pub subject: Subject,
    /// What it arrives as.
    pub arrives: Subject,
    /// Each step with the place that allows it.
    pub steps: Vec<(String, Span)>,
}

/// What was asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'q> {
    /// Who sends.
    pub from: (&'q Account, &'q User),
    /// Who receives.
    pub to: (&'q Account, &'q User),
    /// On which subjects; all if nothing is said.
    pub subject: Option<&'q Subject>,
}

/// A message on its way.
struct Carried<'w> {
    account: &'w Account,
    published: Subject,
    subject: Subject,
    /// How it came to another account, if it did: the server passes requests on
    /// as requests, and messages of a stream not at all.
    way: Option<ShareKind>,
    steps: Vec<(String, Span)>,
}

/// Every way, each subject once.
pub fn paths(world: &World, question: Question<'_>) -> Vec<Path> {
    let (account, sender) = question.from;
    let (target, receiver) = question.to;
    let Some(account) = world.account(&account.name) else { return Vec::new() };
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
        let importers = world.importers.get(&carried.account.name).into_iter().flatten().map(|i| &world.accounts[*i]);
        let own = std::iter::once(carried.account);
        let others = importers.filter(|other| other.name != carried.account.name).chain(own);
        open.extend(others.flat_map(|other| imported(world, &carried, other)));
    }
    found.sort_by(|a, b| (a.subject.as_str(), a.arrives.as_str()).cmp(&(b.subject.as_str(), b.arrives.as_str())));
    found.dedup_by(|a, b| a.subject == b.subject && a.arrives == b.arrives);
    found
}

/// The other accounts that something published in this one can come to, if
/// permissions allow it: importers of its streams, and those whose services its
/// requests go to, in turn.
pub fn reachable<'w>(world: &'w World, account: &'w Account) -> Vec<&'w Account> {
    let importers = world.importers.get(&account.name).into_iter().flatten().map(|i| &world.accounts[*i]);
    let mut found: Vec<&Account> = importers.collect();
    let mut open = vec![account];
    while let Some(asking) = open.pop() {
        for import in asking.imports.iter().filter(|i| i.kind == ShareKind::Service) {
            let Some(exporter) = world.account(&import.from.0) else { continue };
            if !found.iter().any(|a| a.name == exporter.name) {
                found.push(exporter);
                open.push(exporter);
            }
        }
    }
    found.retain(|other| other.name != account.name);
    found
}

/// What a user may publish, as far as it was asked for.
fn published<'w>(account: &'w Account, user: &User, wanted: Option<&Subject>) -> Vec<Carried<'w>> {
    let side = &user.permissions.publish;
    let start = |subject: Subject| {
        let place = side.span.or(user.permissions.span).unwrap_or(user.span);
        let steps = vec![(format!("`{}/{}` may publish `{subject}`", account.name, user.called()), place)];
        Carried { account, published: subject.clone(), subject, way: None, steps }
    };
    granted(side, wanted).into_iter().map(start).collect()
}

/// The subjects that a side allows, cut to those that are wanted.
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
        steps.push((format!("`{}/{}` may subscribe to `{subject}`", account.name, user.called()), place));
        Path { subject: carried.published.clone(), arrives: subject, steps }
    };
    granted(side, Some(&carried.subject)).into_iter().map(arrive).collect()
}

/// What another account makes of it: a stream import takes messages from the
/// exporter, a service import takes the importer's requests to the exporter.
fn imported<'w>(world: &'w World, carried: &Carried<'w>, other: &'w Account) -> Vec<Carried<'w>> {
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
            let Some(exporter) = world.account(&import.from.0) else { continue };
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
) -> Option<Carried<'w>> {
    let cut = carried.subject.meet(from)?;
    // What is cut off on the way was not published for this path.
    let published = if carried.published == carried.subject { cut.clone() } else { carried.published.clone() };
    let mut steps = carried.steps.clone();
    steps.push((what, import.span));
    Some(Carried { account, published, subject: rewrite(&cut, from, to)?, way: Some(import.kind), steps })
}

/// The subject under which a message goes on: what stands for the wildcards of
/// `from` stands for those of `to`, in order or as `$1`.
fn rewrite(subject: &Subject, from: &Subject, to: &Subject) -> Option<Subject> {
    if from == to {
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
    let mut in_order = wild.iter().copied();
    let mut made: Vec<&str> = Vec::new();
    for token in to.tokens() {
        match token {
            ">" => made.extend(rest),
            "*" => made.push(in_order.next()?),
            _ => match token.strip_prefix('$').and_then(|n| n.parse::<usize>().ok()) {
                Some(n) => made.push(wild.get(n.checked_sub(1)?)?),
                None => made.push(token),
            },
        }
    }
    Subject::as_the_server_reads(&made.join("."))
}

/// Why nothing arrives, most telling first.
pub fn obstacle(world: &World, question: Question<'_>) -> (String, Span) {
    let ((account, sender), (target, receiver)) = (question.from, question.to);
    let place = |side: &Side, user: &User| side.span.or(user.permissions.span).unwrap_or(user.span);
    let what = question.subject.map_or_else(|| "anything".to_owned(), |subject| format!("`{subject}`"));
    if granted(&sender.permissions.publish, question.subject).is_empty() {
        let at = place(&sender.permissions.publish, sender);
        return (format!("`{}/{}` may not publish {what}", account.name, sender.called()), at);
    }
    if account.name != target.name {
        let takes_part = |a: &Account, other: &str| a.imports.iter().any(|i| i.from.0 == other);
        let direct = takes_part(target, &account.name) || takes_part(account, &target.name);
        if !direct {
            let message = format!("`{}` imports nothing from `{}`, nor the other way round", target.name, account.name);
            return (message, target.span);
        }
        let arrives_somewhere =
            target.users.iter().any(|user| !paths(world, Question { to: (target, user), ..question }).is_empty());
        if !arrives_somewhere {
            let message = match question.subject {
                Some(_) => {
                    format!("what passes from `{}` to `{}`, if anything, is not {what}", account.name, target.name)
                }
                None => {
                    format!("what they share passes the other way, not from `{}` to `{}`", account.name, target.name)
                }
            };
            return (message, target.span);
        }
    }
    let at = place(&receiver.permissions.subscribe, receiver);
    let what = if account.name == target.name || question.subject.is_some() {
        what
    } else {
        format!("what comes from `{}`", account.name)
    };
    (format!("`{}/{}` may not subscribe to {what}", target.name, receiver.called()), at)
}
