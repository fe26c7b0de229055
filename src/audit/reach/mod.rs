//! Reachability: whether a message published by one user can arrive at another,
//! and by which path. The server checks publish permissions on the subject
//! after the account's mappings.

mod carried;
mod heard;
mod obstacle;
pub mod term;

use std::collections::{HashMap, HashSet, VecDeque};

use super::system::{Account, Export, Import, Mapping, System, User};
use crate::diag::Span;
use crate::model::ShareKind;
use crate::subject::Subject;
use term::{Rename, Term, Unknowns};

pub use carried::Carried;
pub use obstacle::obstacle;

/// A path from one user to another.
#[derive(Debug, Clone)]
pub struct Path {
    /// The published subject.
    pub subject: Subject,
    /// The subject with which the message arrives.
    pub arrives: Subject,
    /// The steps in order, each with the location that permits it.
    pub steps: Vec<(String, Span)>,
    /// Kind of the last import crossed. `None`: none is crossed.
    pub way: Option<ShareKind>,
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

/// Maximum number of messages that are followed for one question. Renames that make subjects
/// longer in a circle can lead to any number of them.
const MOST_FOLLOWED: usize = 20_000;

/// The answer to a [`Question`].
#[derive(Debug, Default)]
pub struct Answer {
    /// One path per pair of published and arriving subject, sorted.
    pub paths: Vec<Path>,
    /// Whether every message was followed to its end. Otherwise there may be more paths.
    pub is_complete: bool,
}

/// All paths that answer `question`.
pub fn paths(system: &System, question: Question<'_>) -> Answer {
    let Question { from, to, subject } = question;
    paths_to_each(system, from, &[to], subject).pop().unwrap_or_default()
}

/// All paths from one user to each of several. The messages are followed once.
pub fn paths_to_each(
    system: &System,
    (account, sender): (&Account, &User),
    receivers: &[(&Account, &User)],
    subject: Option<&Subject>,
) -> Vec<Answer> {
    let Some(account) = system.account(&account.name) else { return Vec::new() };
    let mut by_account: HashMap<&str, Vec<usize>> = HashMap::new();
    for (i, (account, _)) in receivers.iter().enumerate() {
        by_account.entry(&account.name).or_default().push(i);
    }
    let mut found: Vec<Vec<Path>> = vec![Vec::new(); receivers.len()];
    let is_complete = follow(system, sent(account, sender, subject), |carried| {
        for i in by_account.get(carried.account.name.as_str()).into_iter().flatten() {
            let (account, receiver) = receivers[*i];
            found[*i].extend(arrivals(carried, account, receiver));
        }
    });
    found.into_iter().map(|paths| Answer { paths: sorted(paths), is_complete }).collect()
}

/// One path per pair of published and arriving subject, sorted.
fn sorted(mut found: Vec<Path>) -> Vec<Path> {
    found
        .sort_by(|a: &Path, b| (a.subject.as_str(), a.arrives.as_str()).cmp(&(b.subject.as_str(), b.arrives.as_str())));
    found.dedup_by(|a, b| a.subject == b.subject && a.arrives == b.arrives);
    found
}

/// Shows `at` every message that `start` becomes on its way through imports and mappings, the
/// nearest first. Returns whether all were followed to their end.
pub fn follow<'w>(system: &'w System, start: Vec<Carried<'w>>, mut at: impl FnMut(&Carried<'w>)) -> bool {
    // The server takes each service export at most once on the way of a message.
    let most_hops = 1 + system.accounts.iter().map(|a| a.exports.len()).sum::<usize>();
    let mut seen: HashMap<String, Vec<Vec<&Export>>> = HashMap::new();
    let mut followed = 0;
    let mut open: VecDeque<Carried<'w>> = start.into();
    while let Some(carried) = open.pop_front() {
        let before = seen.entry(carried.key()).or_default();
        // One that crossed no other exports went wherever this one can go.
        if before.iter().any(|exports| exports.iter().all(|export| carried.has_crossed(export))) {
            continue;
        }
        before.push(carried.exports.clone());
        followed += 1;
        if followed > MOST_FOLLOWED {
            return false;
        }
        at(&carried);
        if carried.hops == most_hops {
            continue;
        }
        let importers = system.importers.get(&carried.account.name).into_iter().flatten().map(|i| &system.accounts[*i]);
        let own = std::iter::once(carried.account);
        let others = importers.filter(|other| other.name != carried.account.name).chain(own);
        open.extend(others.flat_map(|other| imported(system, &carried, other)));
    }
    true
}

/// The other accounts that messages of `account` can reach if permissions allow
/// it: importers of its streams, and exporters of the services it imports,
/// directly or through further service imports.
pub fn reachable<'w>(system: &'w System, account: &'w Account) -> Vec<&'w Account> {
    let mut asked: Vec<&Account> = Vec::new();
    let mut open = vec![account];
    while let Some(asking) = open.pop() {
        for import in asking.services() {
            let Some(exporter) = system.account(&import.from.0) else { continue };
            if !asked.iter().any(|a| a.name == exporter.name) {
                asked.push(exporter);
                open.push(exporter);
            }
        }
    }
    let importers = system.importers.get(&account.name).into_iter().flatten().map(|i| &system.accounts[*i]);
    let mut found: Vec<&Account> = importers.filter(|i| !asked.iter().any(|a| a.name == i.name)).collect();
    found.extend(asked);
    found.retain(|other| other.name != account.name);
    found
}

/// The messages within `wanted` that a user may publish. A client's permissions apply to the
/// subject after the account's mappings. Those of a leaf node do not count.
pub fn published<'w>(account: &'w Account, user: &'w User, wanted: Option<&Subject>) -> Vec<Carried<'w>> {
    let message = Carried::new(account, wanted.unwrap_or(&Subject::everything()));
    if !user.is_leaf {
        return granted(account, user, mapped(account, message), "may publish");
    }
    let sent = |message: Carried<'w>| {
        let name = format!("`{}/{}`", account.name, user.display_name());
        let what = format!("{name}, as a leaf node, publishes `{}`, whatever its lists say", message.subject());
        mapped(account, message.step(what, user.place_of(&user.permissions.publish)))
    };
    let mut parts = sent(message);
    if let Some(wanted) = wanted.filter(|_| !account.mappings.is_empty()) {
        // A mapping may make what is wanted of another subject.
        let made = sent(Carried::new(account, &Subject::everything()));
        parts.extend(made.iter().filter_map(|part| part.within(wanted)));
    }
    parts
}

/// The traces of its own messages that a user may have published within `wanted`, by the header `Nats-Trace-Dest`:
/// they hold what it likes. No mapping applies to them.
pub fn traced<'w>(account: &'w Account, user: &'w User, wanted: Option<&Subject>) -> Vec<Carried<'w>> {
    let message = Carried::new(account, wanted.unwrap_or(&Subject::everything()));
    granted(account, user, vec![message], "may have traces of its messages published on")
}

/// The messages that a user publishes and, where a mapping would take a message elsewhere, its traces.
pub fn sent<'w>(account: &'w Account, user: &'w User, wanted: Option<&Subject>) -> Vec<Carried<'w>> {
    let mut parts = published(account, user, wanted);
    if !account.mappings.is_empty() {
        parts.extend(traced(account, user, wanted));
    }
    parts
}

/// The parts of messages that a user's publish permissions allow.
fn granted<'w>(account: &'w Account, user: &'w User, parts: Vec<Carried<'w>>, may: &str) -> Vec<Carried<'w>> {
    let side = &user.permissions.publish;
    let place = user.place_of(side);
    let everything = Subject::everything();
    let allowed: Vec<&Subject> = match &side.allow {
        Some(allow) => allow.iter().map(|pattern| &pattern.subject).collect(),
        None => vec![&everything],
    };
    let denied: Vec<&Subject> = side.deny.iter().map(|pattern| &pattern.subject).collect();
    let mut found = Vec::new();
    for part in parts {
        for part in allowed.iter().filter_map(|allow| part.narrowed(allow)?.without(denied.clone())) {
            let what = format!("`{}/{}` {may} `{}`", account.name, user.display_name(), part.subject());
            found.push(part.step(what, place));
        }
    }
    found
}

/// The subjects to which an account's mappings can map `subject`.
pub fn what_becomes(account: &Account, subject: &Subject) -> Vec<Subject> {
    mapped(account, Carried::new(account, subject)).iter().map(Carried::subject).collect()
}

/// Whether a destination of a mapping can produce a subject that a pattern matches.
pub fn can_make(mapping: &Mapping, to: &str, pattern: &Subject) -> bool {
    let mut unknowns = Unknowns::default();
    let made = Rename::new(&mapping.from, to, &mut unknowns);
    made.is_some_and(|made| made.to.unify(&Term::of(pattern, &mut unknowns)).is_some())
}

/// All subjects that a mapping can produce.
pub fn results(mapping: &Mapping) -> Vec<Subject> {
    let made = |to: &String| Some(Rename::new(&mapping.from, to, &mut Unknowns::default())?.to.pattern());
    mapping.to.iter().filter_map(made).collect()
}

/// A request that an intermediate account forwards to a further account.
#[derive(Debug)]
pub struct ForwardedRequest<'w> {
    /// The service import through which the requester asks.
    pub first: &'w Import,
    /// The account that receives the request.
    pub owner: &'w Account,
    /// The account that forwards it to the owner, with the import it uses.
    pub last: (&'w Account, &'w Import),
}

/// The requests of `account` that another account forwards to a third, and the imports whose
/// requests were not followed to their end.
pub fn passed_on<'w>(system: &'w System, account: &'w Account) -> (Vec<ForwardedRequest<'w>>, Vec<&'w Import>) {
    let (mut found, mut incomplete) = (Vec::new(), Vec::new());
    for first in account.services() {
        let Some(exporter) = system.account(&first.from.0) else { continue };
        let mut told: HashSet<*const Import> = HashSet::new();
        let exports = exporter.service_of(first).into_iter().collect();
        let mut start = Carried::new(exporter, &first.subject);
        (start.way, start.exports) = (Some(ShareKind::Service), exports);
        let is_complete = follow(system, mapped(exporter, start), |carried| {
            let takes =
                |next: &&Import| carried.subject.may_match(&next.local) && carried.narrowed(&next.local).is_some();
            for next in carried.account.services().filter(takes) {
                let Some(owner) = system.account(&next.from.0) else { continue };
                if told.insert(next) {
                    found.push(ForwardedRequest { first, owner, last: (carried.account, next) });
                }
            }
        });
        incomplete.extend((!is_complete).then_some(first));
    }
    (found, incomplete)
}

/// Splits a message by the account's mappings: one part for each destination, one for each
/// mapping whose weights leave some, and what no mapping matches. If several mappings match,
/// all are followed: the server's choice among them is unspecified.
pub fn mapped<'w>(account: &'w Account, message: Carried<'w>) -> Vec<Carried<'w>> {
    let mut parts = Vec::new();
    for mapping in &account.mappings {
        for to in &mapping.to {
            let what = format!("`{}` maps `{}` to `{to}`", account.name, mapping.from);
            let part = message.renamed(|unknowns| Rename::new(&mapping.from, to, unknowns));
            parts.extend(part.map(|part| part.step(what, mapping.span)));
        }
        parts.extend(mapping.keeps.then(|| message.narrowed(&mapping.from)).flatten());
    }
    parts.extend(message.without(account.mappings.iter().map(|mapping| &mapping.from).collect()));
    parts
}

fn arrivals<'w>(carried: &Carried<'w>, account: &Account, user: &'w User) -> Vec<Path> {
    let side = &user.permissions.subscribe;
    let place = user.place_of(side);
    let mut found = Vec::new();
    for heard in side.heard() {
        let Some(part) = carried.received(side, &heard) else { continue };
        let arrives = part.subject();
        let what = format!("`{}/{}` may subscribe to `{}`", account.name, user.display_name(), heard.widest(&arrives));
        let subject = part.published.pattern();
        let way = part.way;
        found.push(Path { subject, arrives, steps: part.step(what, place).steps, way });
    }
    found
}

/// Carries a message one import further: a stream import takes it from the exporter
/// to the importer, a service import from the importer to the exporter.
fn imported<'w>(system: &'w System, carried: &Carried<'w>, other: &'w Account) -> Vec<Carried<'w>> {
    let mut next = Vec::new();
    // Over a route or a gateway a request is an ordinary message, which streams take.
    let takes_requests = |kind: ShareKind| kind == ShareKind::Service || system.server.is_one_of_several();
    let of_kind = |kind: ShareKind| {
        let goes_on = carried.way.is_none_or(|way| way == ShareKind::Service && takes_requests(kind));
        other.imports.iter().filter(move |i| i.kind == kind && goes_on)
    };
    let is_from = |i: &&Import| i.from.0 == carried.account.name;
    for import in of_kind(ShareKind::Stream).filter(is_from) {
        if import.opens_its_local_name() && carried.subject.may_match(&import.local) {
            let what = format!("`{}` hears what of `{}` matches `{}`", other.name, carried.account.name, import.local);
            next.extend(carried.narrowed(&import.local).map(|message| message.across(other, import, what)));
        }
        if !carried.subject.may_match(&import.subject) {
            continue;
        }
        next.extend(copy(carried, import, other));
    }
    if other.name == carried.account.name {
        for import in of_kind(ShareKind::Service).filter(|i| carried.subject.may_match(&i.local)) {
            let Some(exporter) = system.account(&import.from.0) else { continue };
            let export = exporter.service_of(import);
            if export.is_some_and(|export| carried.has_crossed(export)) {
                continue;
            }
            // The exporter's mappings apply to requests from other accounts too.
            let request = request(carried, import, exporter);
            next.extend(request.into_iter().flat_map(|mut request| {
                request.exports.extend(export);
                mapped(exporter, request)
            }));
        }
    }
    next
}

/// The part of a message that arrives in the importer's account by an import of a stream. `None`: no part.
pub fn copy<'w>(message: &Carried<'w>, import: &Import, importer: &'w Account) -> Option<Carried<'w>> {
    let what = format!("`{}` imports the stream `{}` from `{}`", importer.name, import.subject, import.from.0);
    let copy = message.renamed(|unknowns| renames(import, unknowns))?;
    Some(copy.across(importer, import, what))
}

/// The part of a message that an import makes a request to the exporter, whose mappings are still to apply. `None`: no
/// part.
pub fn request<'w>(message: &Carried<'w>, import: &Import, exporter: &'w Account) -> Option<Carried<'w>> {
    let what = format!("requests to `{}` go to the service `{}` of `{}`", import.local, import.subject, exporter.name);
    let request = message.renamed(|unknowns| Some(renames(import, unknowns)?.reversed()))?;
    Some(request.across(exporter, import, what))
}

/// How an import renames the exporter's subjects. One subject may be imported under wildcards: requests
/// to whatever they match go to it, and subscribers to whatever they match hear its messages.
fn renames(import: &Import, unknowns: &mut Unknowns) -> Option<Rename> {
    match import.subject.has_wildcard() {
        true => Rename::new(&import.subject, &import.to, unknowns),
        false => Some(Rename { from: Term::of(&import.subject, unknowns), to: Term::of(&import.local, unknowns) }),
    }
}

/// The importer's subjects for the exporter's subjects `sent`. `None`: they are not imported.
pub fn heard_as(import: &Import, sent: &Subject) -> Option<Subject> {
    part_of(sent, |unknowns| renames(import, unknowns))
}

/// The exporter's subjects that the importer knows as `local`. `None`: none.
pub fn sent_as(import: &Import, local: &Subject) -> Option<Subject> {
    part_of(local, |unknowns| Some(renames(import, unknowns)?.reversed()))
}

/// The part of a subject that a rename applies to, renamed. `None`: no part.
fn part_of(subject: &Subject, rename: impl FnOnce(&mut Unknowns) -> Option<Rename>) -> Option<Subject> {
    let mut unknowns = Unknowns::default();
    let subject = Term::of(subject, &mut unknowns);
    let rename = rename(&mut unknowns)?;
    Some(subject.unify(&rename.from)?.apply(&rename.to).pattern())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing;

    pub(super) fn system(accounts: &str) -> System {
        testing::system(&format!("accounts {{\n{accounts}\n}}"))
    }

    /// An account with one user of the same name in lowercase, and further entries.
    pub(super) fn account(name: &str, publish: &str, subscribe: &str, entries: &str) -> String {
        let user = name.to_lowercase();
        format!(
            "{name} {{ users: [{{ user: {user}, permissions {{ publish: {publish}, subscribe: {subscribe} }} }}]\n{entries} }}\n"
        )
    }

    /// An account whose user may do everything.
    fn open(name: &str, entries: &str) -> String {
        account(name, ">", ">", entries)
    }

    pub(super) fn question<'q>(system: &'q System, from: &str, to: &str, subject: Option<&'q Subject>) -> Question<'q> {
        let user = |name: &str| {
            let (account, user) = name.split_once('/').expect("ACCOUNT/user");
            let account = system.account(account).expect(account);
            (account, account.users.iter().find(|u| u.name == user).expect(user))
        };
        Question { from: user(from), to: user(to), subject }
    }

    /// `published -> arriving` of every path, for users named `ACCOUNT/user`.
    fn found(system: &System, from: &str, to: &str, subject: Option<&str>) -> Vec<String> {
        let subject = subject.and_then(Subject::as_the_server_reads);
        let paths = paths(system, question(system, from, to, subject.as_ref())).paths;
        paths.iter().map(|p| format!("{} -> {}", p.subject, p.arrives)).collect()
    }

    fn steps(system: &System, from: &str, to: &str) -> Vec<String> {
        let paths = paths(system, question(system, from, to, None)).paths;
        paths.first().map(|p| p.steps.iter().map(|(what, _)| what.clone()).collect()).unwrap_or_default()
    }

    #[test]
    fn inside_an_account_a_message_arrives_where_both_permission_lists_overlap() {
        for (publish, subscribe, expected) in [
            ("a.b", "a.b", &["a.b -> a.b"][..]),
            ("a.b", "a.c", &[]),
            ("a.b", "a.>", &["a.b -> a.b"]),
            ("a.b", "a.*.c", &[]),
            ("a.*", "\"*.b\"", &["a.b -> a.b"]),
            ("[a, b, c]", "[b, c, d]", &["b -> b", "c -> c"]),
            ("{ deny: c.> }", "a.b", &["a.b -> a.b"]),
            ("{ deny: \">\" }", ">", &[]),
            (">", "{ allow: [a.>, b], deny: a.> }", &["b -> b"]),
            (">", "a.*", &["a.* -> a.*", "a.> -> a.>"]),
            (">", "{ allow: a.*, deny: a.*.> }", &["a.* -> a.*"]),
            ("a.x.y", "\"*\"", &["a.x.y -> a.x.y"]),
            ("a.x.y", "{ allow: \"*\", deny: \">\" }", &[]),
            ("a.x.y", "{ allow: \"a.*\", deny: \"*.*\" }", &[]),
            ("a.x.y", "{ allow: \"a.*\", deny: \"a.*\" }", &[]),
            ("a.x.y", "{ allow: \"a.*\", deny: \"b.*\" }", &["a.x.y -> a.x.y"]),
            ("a.x.y", "\"*.b\"", &[]),
            ("a.x", "\"a.* workers\"", &["a.x -> a.x"]),
            ("a.x.y", "\"a.* workers\"", &["a.x.y -> a.x.y"]),
        ] {
            let text = format!(
                "A {{ users: [{{ user: from, permissions {{ publish: {publish}, subscribe: x }} }},
                             {{ user: to, permissions {{ publish: x, subscribe: {subscribe} }} }}] }}"
            );
            assert_eq!(found(&system(&text), "A/from", "A/to", None), expected, "{publish} to {subscribe}");
        }
    }

    #[test]
    fn a_deny_removes_a_subject_that_it_covers_and_keeps_one_that_it_covers_in_part() {
        for (publish, asked, expected) in [
            ("{ allow: a.>, deny: a.> }", None, &[][..]),
            ("{ allow: a.>, deny: a.b }", None, &["a.> -> a.>"]),
            ("{ allow: a.>, deny: a.b }", Some("a.b"), &[]),
            ("{ allow: a.>, deny: a.b }", Some("a.c"), &["a.c -> a.c"]),
            ("{ allow: a.b, deny: a.* }", None, &[]),
            ("{ allow: [a.b, c], deny: a.* }", None, &["c -> c"]),
        ] {
            let system = system(&account("A", publish, ">", ""));
            assert_eq!(found(&system, "A/a", "A/a", asked), expected, "{publish} {asked:?}");
        }
    }

    #[test]
    fn a_deny_of_a_queue_does_not_keep_a_plain_subscription_from_receiving() {
        for (deny, expected) in [("\"a.> workers\"", &["a.b -> a.b"][..]), ("\"a.> >\"", &["a.b -> a.b"]), ("a.>", &[])]
        {
            let system = system(&account("A", "a.b", &format!("{{ allow: a.>, deny: [{deny}] }}"), ""));
            assert_eq!(found(&system, "A/a", "A/a", None), expected, "{deny}");
        }
    }

    #[test]
    fn the_question_narrows_the_published_subjects() {
        let system = system(&account("A", "[a.*, b]", ">", ""));
        for (asked, expected) in [
            (None, &["a.* -> a.*", "b -> b"][..]),
            (Some("a.x"), &["a.x -> a.x"]),
            (Some("*.x"), &["a.x -> a.x"]),
            (Some("c"), &[]),
        ] {
            assert_eq!(found(&system, "A/a", "A/a", asked), expected, "{asked:?}");
        }
    }

    #[test]
    fn a_stream_import_carries_messages_to_the_importer_and_nothing_back() {
        let exporter = open("A", "exports: [{ stream: a.>, accounts: [B] }]");
        let import = "imports: [{ stream: { account: A, subject: a.b.> }, prefix: in }]";
        let both = system(&(exporter.clone() + &open("B", import)));
        assert_eq!(found(&both, "A/a", "B/b", None), ["a.b.> -> in.a.b.>"]);
        assert_eq!(found(&both, "A/a", "B/b", Some("a.b.c")), ["a.b.c -> in.a.b.c"]);
        assert!(found(&both, "A/a", "B/b", Some("a.c")).is_empty());
        assert!(found(&both, "B/b", "A/a", None).is_empty());
        assert!(found(&system(&(exporter + &open("B", ""))), "A/a", "B/b", None).is_empty(), "an export alone");
    }

    #[test]
    fn permissions_apply_to_the_local_subject_at_both_ends_of_a_stream() {
        let text = |publish: &str, subscribe: &str| {
            account("A", publish, "x", "exports: [{ stream: a.>, accounts: [B] }]")
                + &account("B", "x", subscribe, "imports: [{ stream: { account: A, subject: a.> }, prefix: in }]")
        };
        assert_eq!(found(&system(&text("a.b", "in.>")), "A/a", "B/b", None), ["a.b -> in.a.b"]);
        assert!(found(&system(&text("in.a.b", "in.>")), "A/a", "B/b", None).is_empty());
        assert!(found(&system(&text("a.b", "a.b")), "A/a", "B/b", None).is_empty());
    }

    #[test]
    fn a_service_import_carries_requests_to_the_exporter_and_the_step_says_that_answers_come_back() {
        let text = open("A", "exports: [{ service: api.>, accounts: [B] }]")
            + &open("B", "imports: [{ service: { account: A, subject: api.v1.> }, to: remote.> }]");
        let system = system(&text);
        assert_eq!(found(&system, "B/b", "A/a", None), ["remote.> -> api.v1.>"]);
        assert_eq!(found(&system, "B/b", "A/a", Some("remote.get")), ["remote.get -> api.v1.get"]);
        assert!(found(&system, "A/a", "B/b", None).is_empty());
        assert_eq!(
            steps(&system, "B/b", "A/a"),
            [
                "`B/b` may publish `>`",
                "requests to `remote.>` go to the service `api.v1.>` of `A`",
                "`A/a` may subscribe to `api.v1.>`",
            ]
        );
    }

    #[test]
    fn requests_pass_through_a_chain_of_services_and_stream_messages_only_one_hop() {
        let chain = |kind: &str| {
            let export = |to: &str| format!("exports: [{{ {kind}: x, accounts: [{to}] }}]\n");
            let import = |from: &str| format!("imports: [{{ {kind}: {{ account: {from}, subject: x }} }}]");
            system(&(open("A", &export("B")) + &open("B", &(export("C") + &import("A"))) + &open("C", &import("B"))))
        };
        let services = chain("service");
        assert_eq!(found(&services, "C/c", "B/b", None).len(), 1);
        assert_eq!(found(&services, "C/c", "A/a", None), ["x -> x"]);
        let streams = chain("stream");
        assert_eq!(found(&streams, "A/a", "B/b", None), ["x -> x"]);
        assert!(found(&streams, "A/a", "C/c", None).is_empty());
        assert_eq!(found(&streams, "B/b", "C/c", None), ["x -> x"], "messages of B itself arrive");
    }

    #[test]
    fn a_stream_of_requests_or_a_request_of_a_stream_goes_no_further() {
        let text = open("A", "exports: [{ service: x, accounts: [B] }, { stream: x, accounts: [C] }]")
            + &open("B", "imports: [{ service: { account: A, subject: x } }]")
            + &open("C", "imports: [{ stream: { account: A, subject: x } }]");
        let system = system(&text);
        assert_eq!(found(&system, "B/b", "A/a", None), ["x -> x"]);
        assert_eq!(found(&system, "A/a", "C/c", None), ["x -> x"]);
        assert!(found(&system, "B/b", "C/c", None).is_empty());
    }

    #[test]
    fn a_literal_stream_under_wildcards_reaches_whoever_hears_them() {
        let system = system(
            "A { users: [{ user: a, password: p }], exports: [{ stream: \"x.$2.$1\" }, { stream: \"o.>.y\" }, { stream: \"a b\" }] }\n\
             B { users: [{ user: b, password: p, permissions: { subscribe: \"z.k.*\" } }], imports: [\n\
             { stream: { account: A, subject: \"x.$2.$1\" }, to: \"z.*.*\" }] }\n\
             C { users: [{ user: c, password: p }], imports: [{ stream: { account: A, subject: \"o.k\" } }] }",
        );
        let [a, b, c] = [0, 1, 2].map(|i| (&system.accounts[i], &system.accounts[i].users[0]));
        let arrive = |to| {
            let found = paths(&system, Question { from: a, to, subject: None }).paths;
            found.iter().map(|path| format!("{} {}", path.subject, path.arrives)).collect::<Vec<_>>()
        };
        assert_eq!(arrive(b), ["x.$2.$1 z.k.*", "z.k.* z.k.*"], "its own subjects too");
        assert_eq!(arrive(c), ["o.k o.k"], "an export is read up to its first `>`");
    }

    #[test]
    fn whatever_a_local_wildcard_matches_goes_to_a_literal_service() {
        let text = open("A", "exports: [{ service: s.a, accounts: [B] }]")
            + &open(
                "B",
                "imports: [{ service: { account: A, subject: s.a }, to: do.* }]\nexports: [{ service: do.*, accounts: [C] }]",
            )
            + &open("C", "imports: [{ service: { account: B, subject: do.* } }]");
        let system = system(&text);
        assert_eq!(found(&system, "B/b", "A/a", None), ["do.* -> s.a"]);
        assert_eq!(found(&system, "C/c", "A/a", Some("do.x")), ["do.x -> s.a"]);
    }

    #[test]
    fn a_circle_of_services_ends() {
        let text = |name: &str, other: &str| {
            open(
                name,
                &format!("exports: [{{ service: x }}]\nimports: [{{ service: {{ account: {other}, subject: x }} }}]"),
            )
        };
        let system = system(&(text("A", "B") + &text("B", "A")));
        assert_eq!(found(&system, "A/a", "B/b", None), ["x -> x"]);
    }

    #[test]
    fn a_request_passes_each_export_once() {
        let text = |mapping: &str| {
            open("A", "imports: [{ service: { account: B, subject: \"*\" }, to: \"x.$1\" }]")
                + &open(
                    "B",
                    &format!(
                        "exports: [{{ service: \"*\" }}]\nimports: [{{ service: {{ account: C, subject: x.y }} }}]\nmappings {{ y: {mapping} }}"
                    ),
                )
                + &open(
                    "C",
                    "exports: [{ service: x.y }]\nimports: [{ service: { account: B, subject: \"*\" } }]\nmappings { x.y: x }",
                )
        };
        let asked = |text: &str| found(&system(text), "A/a", "B/b", Some("x.y"));
        assert!(asked(&text("x.y")).iter().all(|path| !path.ends_with("-> x")), "it would pass `*` of B twice");
        assert_eq!(found(&system(&text("x.y")), "A/a", "C/c", Some("x.y")), ["x.y -> x"]);
        assert_eq!(found(&system(&text("x.y")), "B/b", "B/b", Some("x.y")), ["x.y -> x", "x.y -> x.y"], "once");
    }

    #[test]
    fn mappings_are_applied_before_permissions_and_the_source_is_what_is_published() {
        for (publish, mapping, expected) in [
            ("b.>", "a.*: b.$1", &["a.* -> b.*", "b.> -> b.>"][..]),
            ("b.>", "\"a.*\": \"b.{{wildcard(1)}}\"", &["a.* -> b.*", "b.> -> b.>"]),
            ("a.>", "a.*: b.$1", &["a.> -> a.>"]),
            ("b.x", "a.x: b.x", &["a.x -> b.x", "b.x -> b.x"]),
        ] {
            let text = account("A", publish, ">", &format!("mappings {{ {mapping} }}"));
            assert_eq!(found(&system(&text), "A/a", "A/a", None), expected, "{publish} {mapping}");
        }
    }

    #[test]
    fn a_trace_keeps_its_subject_where_a_mapping_takes_messages_elsewhere() {
        let text = |publish: &str, mappings: &str| account("A", publish, "b.>", mappings) + &account("B", "x", "x", "");
        let mapped = "mappings { b.log: a.log }";
        for (publish, mappings, expected) in [
            ("b.log", mapped, &["b.log -> b.log"][..]),
            ("a.>", mapped, &[]),
            ("{ allow: b.>, deny: b.log }", mapped, &["b.> -> b.>"]),
            ("b.log", "", &["b.log -> b.log"]),
        ] {
            let system = system(&text(publish, mappings));
            assert_eq!(found(&system, "A/a", "A/a", None), expected, "{publish} {mappings}");
        }
        let system = system(&text("b.log", mapped));
        assert!(
            steps(&system, "A/a", "A/a")[0].contains("traces of its messages"),
            "{:?}",
            steps(&system, "A/a", "A/a")
        );
    }

    #[test]
    fn a_mapping_takes_all_of_its_subject_unless_its_weights_leave_some() {
        // Of what stays, or has its traces there, `a` must be granted.
        for (publish, destination, expected) in [
            ("{ deny: a }", "b", &["a -> b"][..]),
            ("{ deny: a }", "{ destination: b, weight: 100% }", &["a -> b"]),
            ("\">\"", "{ destination: b, weight: 60% }", &["a -> a", "a -> b"]),
            ("{ deny: a }", "{ destination: b, weight: 60% }", &["a -> b"]),
            (
                "{ deny: a }",
                "[{ destination: b, weight: 60% }, { destination: c, weight: 40% }]",
                &["a -> b", "a -> c"],
            ),
        ] {
            let system = system(&account("A", publish, ">", &format!("mappings {{ a: {destination} }}")));
            assert_eq!(found(&system, "A/a", "A/a", Some("a")), expected, "{destination}");
        }
    }

    #[test]
    fn the_mappings_of_the_exporter_apply_to_requests_of_others_and_those_of_an_importer_to_no_stream() {
        let services = open("A", "exports: [{ service: x, accounts: [B] }]\nmappings { x: y }")
            + &open("B", "imports: [{ service: { account: A, subject: x } }]");
        assert_eq!(found(&system(&services), "B/b", "A/a", None), ["x -> y"]);
        let streams = open("A", "exports: [{ stream: x, accounts: [B] }]")
            + &open("B", "imports: [{ stream: { account: A, subject: x } }]\nmappings { x: y }");
        assert_eq!(found(&system(&streams), "A/a", "B/b", None), ["x -> x"]);
    }

    #[test]
    fn the_results_of_a_mapping_are_its_destinations_for_all_that_it_matches() {
        let system = system(&open(
            "A",
            "mappings { a.*: [{ destination: \"b.$1\", weight: 50 }, { destination: c, weight: 50 }], x: y }",
        ));
        let account = &system.accounts[0];
        let texts = |made: Vec<Subject>| made.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts(results(&account.mappings[0])), ["b.*", "c"]);
        let mapped = |text: &str| texts(what_becomes(account, &Subject::as_the_server_reads(text).expect(text)));
        assert_eq!(mapped("a.q"), ["b.q", "c"]);
        assert_eq!(mapped("x"), ["y"]);
        assert_eq!(mapped("z"), ["z"]);
    }

    #[test]
    fn reachable_accounts_are_importers_of_streams_and_exporters_of_services_in_turn() {
        let text =
            open("A", "exports: [{ stream: s, accounts: [B] }]\nimports: [{ service: { account: C, subject: x } }]")
                + &open("B", "imports: [{ stream: { account: A, subject: s } }]")
                + &open(
                    "C",
                    "exports: [{ service: x, accounts: [A] }]\nimports: [{ service: { account: D, subject: y } }]",
                )
                + &open("D", "exports: [{ service: y, accounts: [C] }]")
                + &open("E", "");
        let system = system(&text);
        for (from, expected) in [("A", &["B", "C", "D"][..]), ("B", &[]), ("C", &["D"]), ("D", &[]), ("E", &[])] {
            let account = system.account(from).expect(from);
            let names: Vec<&str> = reachable(&system, account).iter().map(|a| a.name.as_str()).collect();
            assert_eq!(names, expected, "{from}");
        }
    }

    #[test]
    fn a_request_is_passed_on_if_an_exporter_imports_the_same_subject_as_a_service() {
        let text = |local: &str, mappings: &str| {
            open("A", "exports: [{ service: x, accounts: [B] }]")
                + &open(
                    "B",
                    &format!(
                        "exports: [{{ service: y, accounts: [C] }}]
                         imports: [{{ service: {{ account: A, subject: x }}, to: {local} }}]
                         {mappings}"
                    ),
                )
                + &open("C", "imports: [{ service: { account: B, subject: y } }]")
        };
        let requests = |text: &str, from: &str| -> Vec<(String, String)> {
            let system = system(text);
            let account = system.account(from).expect(from);
            let (found, incomplete) = passed_on(&system, account);
            assert!(incomplete.is_empty());
            found.iter().map(|r| (r.owner.name.clone(), r.last.0.name.clone())).collect()
        };
        let by_b = [("A".to_owned(), "B".to_owned())];
        assert_eq!(requests(&text("y", ""), "C"), by_b);
        assert!(requests(&text("z", ""), "C").is_empty(), "B forwards another subject");
        assert_eq!(requests(&text("z", "mappings { y: z }"), "C"), by_b, "B maps it to that subject");
        assert!(requests(&text("y", ""), "B").is_empty(), "a request of B itself is not passed on");
        let back = open(
            "A",
            "exports: [{ service: \"x.*\", accounts: [B, D] }]\nimports: [{ service: { account: B, subject: n }, to: w }, { service: { account: E, subject: e }, to: x.z }]\nmappings { x.y: w }",
        ) + &open(
            "B",
            "exports: [{ service: n, accounts: [A] }]\nimports: [{ service: { account: A, subject: x.z }, to: m }]\nmappings { n: m }",
        ) + &open("D", "imports: [{ service: { account: A, subject: x.y } }]")
            + &open("E", "exports: [{ service: e, accounts: [A] }]");
        assert!(!requests(&back, "D").iter().any(|(owner, _)| owner == "E"), "it passes `x.*` of A once only");
    }
}
