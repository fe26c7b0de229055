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
    let everything = Subject::everything();
    let wanted = wanted.unwrap_or(&everything);
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
pub struct ForwardedRequest<'w> {
    /// The service import through which the requester asks.
    pub first: &'w Import,
    /// The account that receives the request.
    pub owner: &'w Account,
    /// The account that forwards it to the owner, with the import it uses.
    pub last: (&'w Account, &'w Import),
}

/// The requests of `account` that another account forwards to a third.
pub fn passed_on<'w>(system: &'w System, account: &'w Account) -> Vec<ForwardedRequest<'w>> {
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
                found.push(ForwardedRequest { first, owner, last: (at, next) });
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
        None => vec![Subject::everything()],
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
        next.extend(carry(carried, other, &import.subject, &import.local, what, import));
    }
    if other.name == carried.account.name {
        for import in of_kind(ShareKind::Service) {
            let Some(exporter) = system.account(&import.from.0) else { continue };
            let what = format!(
                "requests to `{}` go to the service `{}` of `{}`, and answers come back",
                import.local, import.subject, exporter.name
            );
            next.extend(carry(carried, exporter, &import.local, &import.subject, what, import));
        }
    }
    next
}

fn carry<'w>(
    carried: &Carried<'_>,
    account: &'w Account,
    from: &Subject,
    to: &Subject,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing;

    fn system(accounts: &str) -> System {
        testing::system(&format!("accounts {{\n{accounts}\n}}"))
    }

    /// An account with one user of the same name in lowercase, and further entries.
    fn account(name: &str, publish: &str, subscribe: &str, entries: &str) -> String {
        let user = name.to_lowercase();
        format!(
            "{name} {{ users: [{{ user: {user}, permissions {{ publish: {publish}, subscribe: {subscribe} }} }}]\n{entries} }}\n"
        )
    }

    /// An account whose user may do everything.
    fn open(name: &str, entries: &str) -> String {
        account(name, ">", ">", entries)
    }

    fn question<'q>(system: &'q System, from: &str, to: &str, subject: Option<&'q Subject>) -> Question<'q> {
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
        let paths = paths(system, question(system, from, to, subject.as_ref()));
        paths.iter().map(|p| format!("{} -> {}", p.subject, p.arrives)).collect()
    }

    fn steps(system: &System, from: &str, to: &str) -> Vec<String> {
        let paths = paths(system, question(system, from, to, None));
        paths.first().map(|p| p.steps.iter().map(|(what, _)| what.clone()).collect()).unwrap_or_default()
    }

    #[test]
    fn inside_an_account_a_message_arrives_where_both_permission_lists_overlap() {
        for (publish, subscribe, expected) in [
            ("a.b", "a.b", &["a.b -> a.b"][..]),
            ("a.b", "a.c", &[]),
            ("a.b", "a.>", &["a.b -> a.b"]),
            ("a.b", "a.*.c", &[]),
            ("a.*", "\"*.b\"", &["a.* -> a.b"]),
            ("[a, b, c]", "[b, c, d]", &["b -> b", "c -> c"]),
            ("{ deny: c.> }", "a.b", &["> -> a.b"]),
            ("{ deny: \">\" }", ">", &[]),
            (">", "{ allow: [a.>, b], deny: a.> }", &["> -> b"]),
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
                "requests to `remote.>` go to the service `api.v1.>` of `A`, and answers come back",
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
    fn a_mapping_takes_all_of_its_subject_unless_its_weights_leave_some() {
        for (destination, expected) in [
            ("b", &["a -> b"][..]),
            ("{ destination: b, weight: 100% }", &["a -> b"]),
            ("{ destination: b, weight: 60% }", &["a -> a", "a -> b"]),
            ("[{ destination: b, weight: 60% }, { destination: c, weight: 40% }]", &["a -> b", "a -> c"]),
        ] {
            let system = system(&open("A", &format!("mappings {{ a: {destination} }}")));
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
    fn a_rewritten_subject_has_the_tokens_of_its_wildcards_in_their_new_places() {
        let subject = |text: &str| Subject::as_the_server_reads(text).expect(text);
        for (from, to, text, expected) in [
            ("a", "b", "a", Some("b")),
            ("a.*", "b.*", "a.x", Some("b.x")),
            ("a.>", "b.c.>", "a.x.y", Some("b.c.x.y")),
            ("*.*", "$2.$1", "x.y", Some("y.x")),
            ("*.*", "{{wildcard(2)}}.{{ Wildcard(1) }}", "x.y", Some("y.x")),
            ("*.*", "{{wildcard(3)}}.a", "x.y", None),
            ("*.*", "{{Wildcard(2)}}.z", "x.y", Some("y.z")),
            ("*.*", "p.{{partition(3,1)}}", "x.y", Some("p.*")),
            ("a.*.>", "b.$1.>", "a.x.y.z", Some("b.x.y.z")),
            ("a.*", "a.*", "a.x", Some("a.x")),
            ("a.*", "b.$2", "a.x", None),
            ("a.*", "b.$0", "a.x", None),
            ("a", "b.*", "a", None),
            ("a.*", "b.$1", "a.*", Some("b.*")),
            ("a.>", "b.>", "a.>", Some("b.>")),
        ] {
            let made = rewrite_to(&subject(text), &subject(from), to);
            assert_eq!(made.as_ref().map(Subject::as_str), expected, "{from} to {to}: {text}");
        }
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
            let found = passed_on(&system, account);
            found.iter().map(|r| (r.owner.name.clone(), r.last.0.name.clone())).collect()
        };
        let by_b = [("A".to_owned(), "B".to_owned())];
        assert_eq!(requests(&text("y", ""), "C"), by_b);
        assert!(requests(&text("z", ""), "C").is_empty(), "B forwards another subject");
        assert_eq!(requests(&text("z", "mappings { y: z }"), "C"), by_b, "B maps it to that subject");
        assert!(requests(&text("y", ""), "B").is_empty(), "a request of B itself is not passed on");
    }

    #[test]
    fn the_obstacle_is_the_first_of_shares_publisher_and_subscriber() {
        let text = account("A", "a.>", "a.>", "exports: [{ stream: s.>, accounts: [B] }]")
            + &account("B", "b", "b", "imports: [{ stream: { account: A, subject: s.> }, prefix: in }]")
            + &account("C", "s.>", "in.>", "");
        let blocked_subscriber = text.replace("publish: a.>", "publish: [a.>, s.>]");
        for (text, from, to, subject, expected) in [
            (&text, "A/a", "C/c", None, "`C` imports nothing from `A`, nor the other way round"),
            (&text, "B/b", "A/a", None, "what they share passes the other way, not from `B` to `A`"),
            (&text, "A/a", "B/b", Some("a.b"), "no share carries `a.b` from `A` to `B`"),
            (&text, "A/a", "B/b", None, "`A/a` may not publish `s.>`"),
            (&text, "A/a", "B/b", Some("s.x"), "`A/a` may not publish `s.x`"),
            (&blocked_subscriber, "A/a", "B/b", None, "`B/b` may not subscribe to what comes from `A`"),
            (&blocked_subscriber, "A/a", "B/b", Some("s.x"), "`B/b` may not subscribe to `in.s.x`"),
            (&text, "A/a", "A/a", Some("x"), "`A/a` may not publish `x`"),
            (&blocked_subscriber, "A/a", "A/a", Some("s.x"), "`A/a` may not subscribe to `s.x`"),
        ] {
            let system = system(text);
            let subject = subject.and_then(Subject::as_the_server_reads);
            let question = question(&system, from, to, subject.as_ref());
            assert!(paths(&system, question).is_empty(), "{from} to {to}: {subject:?}");
            assert_eq!(obstacle(&system, question).0, expected, "{from} to {to}: {subject:?}");
        }
    }

    #[test]
    fn an_obstacle_and_every_step_of_a_path_show_the_place_that_decides() {
        let text = "accounts {\n A { users: [{ user: a, permissions {\n publish: x\n subscribe: y } }] }\n}";
        let audit = testing::audit_text(text).expect("accepted");
        let line = |span: Span| audit.sources.position(span).0;
        let x = Subject::as_the_server_reads("x");
        let (_, place) = obstacle(&audit.system, question(&audit.system, "A/a", "A/a", x.as_ref()));
        assert_eq!(line(place), 4, "the subscriber's list");
        let y = Subject::as_the_server_reads("y");
        let (_, place) = obstacle(&audit.system, question(&audit.system, "A/a", "A/a", y.as_ref()));
        assert_eq!(line(place), 3, "the publisher's list");
        let both = testing::audit_text(&text.replace('y', "x")).expect("accepted");
        let found = paths(&both.system, question(&both.system, "A/a", "A/a", None));
        let lines: Vec<usize> = found[0].steps.iter().map(|(_, span)| both.sources.position(*span).0).collect();
        assert_eq!(lines, [3, 4]);
    }
}
