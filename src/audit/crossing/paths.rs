//! The paths from one user to another past their lists, step by step.

use std::collections::HashSet;

use super::super::reach::{self, Carried, Path, Question};
use super::super::system::{Account, Copied, Import, SubjectPattern, System, User};
use super::super::tenants::Tenants;
use super::carriers::{
    Carrier, StreamRead, allows, answers, answers_others, by_leaf_node, delivers_anywhere, hears_everything,
    may_capture, past_publish_list, requests_of_others, requests_on, stream_reads,
};
use crate::model::ShareKind;
use crate::subject::Subject;

/// The paths from one user to each of several past their lists: with what publishes for the sender on any subject
/// of its account, or receives for the receiver. The first or last step is that carrier.
pub fn carried_to_each(
    system: &System,
    (account, sender): (&Account, &User),
    receivers: &[(&Account, &User)],
    subject: Option<&Subject>,
) -> Vec<Vec<Path>> {
    let mut found: Vec<Vec<Path>> = vec![Vec::new(); receivers.len()];
    let carrier = past_publish_list(system, account, sender, may_capture(account));
    let open = sender.unrestricted();
    // The paths to receivers by the sender's carrier, with that as their first step.
    let carried_to = |receivers: &[(&Account, &User)]| -> Vec<Vec<Path>> {
        let Some(carrier) = &carrier else { return vec![Vec::new(); receivers.len()] };
        let mut paths = match carrier.by_import {
            true => by_import(system, (account, &open), receivers, subject),
            false => all_paths(system, (account, &open), receivers, subject),
        };
        let step = format!("`{}/{}` publishes to {}", account.name, sender.display_name(), carrier.what);
        paths.iter_mut().flatten().for_each(|path| path.steps[0] = (step.clone(), carrier.place));
        paths
    };
    for (found, paths) in found.iter_mut().zip(carried_to(receivers)) {
        found.extend(paths);
    }
    let mut hearing: Vec<(usize, Hearing<'_>)> = Vec::new();
    for (i, (account, user)) in receivers.iter().enumerate() {
        let everything = hears_everything(account, user).map(|carrier| Hearing {
            account,
            user: user.unrestricted(),
            carrier,
            stored: None,
        });
        let streams = by_reading(system, account, user).into_iter().chain(by_copies(system, account, user));
        hearing.extend(everything.into_iter().chain(streams).map(|hearing| (i, hearing)));
    }
    if !hearing.is_empty() {
        let hears: Vec<(&Account, &User)> =
            hearing.iter().map(|(_, hearing)| (hearing.account, &hearing.user)).collect();
        let paths = all_paths(system, (account, sender), &hears, subject);
        let both = paths.into_iter().zip(carried_to(&hears)).map(|(direct, carried)| match direct.is_empty() {
            true => carried,
            false => direct,
        });
        for ((i, Hearing { user, carrier, stored, .. }), paths) in hearing.iter().zip(both) {
            let step = format!("`{}/{}` receives {}", receivers[*i].0.name, user.display_name(), carrier.what);
            found[*i].extend(paths.into_iter().map(|mut path| {
                path.steps.pop();
                path.steps.push((step.clone(), carrier.place));
                path.arrives = stored.clone().unwrap_or(path.arrives);
                path
            }));
        }
    }
    for (found, to) in found.iter_mut().zip(receivers) {
        let question = Question { from: (account, sender), to: *to, subject };
        found.extend(overheard(system, question));
        found.extend(answered_back(system, question));
        found.extend(as_leaf_nodes(system, question));
    }
    found
}

/// Whether a third account chooses where answers of the sender go, and may choose the receiver: it asks the sender, and
/// imports a service that the receiver hears.
pub fn may_answer_third(system: &System, question: Question<'_>) -> bool {
    let ((account, sender), (target, _)) = (question.from, question.to);
    if !answers(account, sender) {
        return false;
    }
    let open = sender.unrestricted();
    let is_third = |third: &&Account| third.name != account.name && third.name != target.name;
    system.accounts.iter().filter(is_third).any(|third| {
        let is_asked = |import: &Import| {
            import.from.0 == account.name
                && requests_on(account, import).iter().any(|request| request.received_by(sender).is_some())
                && third.users.iter().any(|user| allows(third, user, &import.local)[0])
        };
        third.services().any(is_asked)
            && by_import(system, (third, &open), &[question.to], question.subject).iter().any(|paths| !paths.is_empty())
    })
}

/// How a user receives messages by streams.
struct Hearing<'w> {
    /// The account where a stream captures them.
    account: &'w Account,
    /// The user, as if it subscribed there.
    user: User,
    /// The carrier that lets the user receive them.
    carrier: Carrier,
    /// The subjects with which it does, if they are others than the captured ones.
    stored: Option<Subject>,
}

/// The reads by which a user receives what streams hold.
fn by_reading<'w>(system: &'w System, account: &'w Account, user: &'w User) -> Vec<Hearing<'w>> {
    let mut found = Vec::new();
    for read in stream_reads(system, account, user) {
        let StreamRead { owner, stream: _, request, place, certain, possible } = read;
        let possible = possible.filter(|_| may_capture(owner));
        let known = certain.into_iter().map(|subject| (subject, "kept"));
        for (subject, how) in known.chain(possible.map(|subject| (subject, "if captured"))) {
            let of = if owner.name == account.name { String::new() } else { format!(" of `{}`", owner.name) };
            let what = format!("`{subject}`, {how} in a stream{of}: it may publish `{request}`");
            let carrier = Carrier { what, place, by_import: false };
            found.push(Hearing { account: owner, user: subscriber(user, subject), carrier, stored: None });
        }
    }
    found
}

/// The copies of other accounts' streams whose messages a user reads or hears.
fn by_copies<'w>(system: &'w System, account: &'w Account, user: &'w User) -> Vec<Hearing<'w>> {
    let copies: Vec<_> = system.copies.iter().filter(|copy| copy.to == account.name).collect();
    if copies.is_empty() {
        return Vec::new();
    }
    let reads = stream_reads(system, account, user);
    let any = hears_everything(account, user).is_some();
    let mut found = Vec::new();
    for copy in copies {
        let (Some(captured), Some(stream), Some(owner)) = (&copy.captured, &copy.stream, system.account(&copy.from))
        else {
            continue;
        };
        let is_of_it = |read: &&StreamRead<'_>| {
            read.owner.name == account.name && read.stream.as_ref().is_none_or(|name| name == stream)
        };
        let delivered = |subject: &Subject| Carried::new(account, subject).received_by(user);
        let how = match (reads.iter().find(is_of_it), copy.delivered.iter().find_map(delivered)) {
            (Some(read), _) => format!("it may publish `{}`", read.request),
            (None, Some(subject)) => format!("it may subscribe to `{subject}`, where that is delivered"),
            (None, None) if any => "it may make streams that copy it".to_owned(),
            (None, None) => continue,
        };
        let what = format!(
            "`{captured}` of `{}`, which its stream `{stream}` copies from a stream of `{}`: {how}",
            copy.from, copy.from
        );
        let carrier = Carrier { what, place: copy.span, by_import: false };
        let (user, stored) = (subscriber(user, captured.clone()), copy.stored.clone());
        found.push(Hearing { account: owner, user, carrier, stored });
    }
    found
}

/// A user that may do everything but subscribe, except to what a stream captures of a subject: no requests to JetStream.
fn subscriber(user: &User, subject: Subject) -> User {
    let mut user = user.unrestricted();
    let pattern = |subject| SubjectPattern { subject, queue: None };
    user.permissions.subscribe.allow = Some(vec![pattern(subject)]);
    user.permissions.subscribe.deny = Subject::as_the_server_reads("$JS.>").into_iter().map(pattern).collect();
    user
}

/// Whether a message arrives if streams that the receiver reads capture it, of which the configuration says nothing.
pub fn may_be_read(system: &System, tenants: &Tenants, question: Question<'_>) -> bool {
    let ((account, sender), (target, receiver)) = (question.from, question.to);
    let reads = stream_reads(system, target, receiver);
    let carrier = past_publish_list(system, account, sender, may_capture(account));
    let open = carrier.filter(|carrier| !carrier.by_import).map(|_| sender.unrestricted());
    let sender = open.as_ref().unwrap_or(sender);
    // The file does not say what an undeclared stream copies, nor who hears the copies.
    let is_unknown = |copy: &Copied| copy.from == account.name && copy.to == target.name && copy.captured.is_none();
    if system.copies.iter().any(is_unknown) && !reach::published(account, sender, question.subject).is_empty() {
        return true;
    }
    if !tenants.are_rendered() && may_be_delivered(system, (account, sender), question) {
        return true;
    }
    reads.into_iter().any(|read| {
        let StreamRead { owner, possible, .. } = read;
        possible
            .filter(|_| !may_capture(owner))
            // A schedule of a stream may have made another subject of what came from elsewhere.
            .map(|subject| if owner.name == target.name { subject } else { Subject::everything() })
            .is_some_and(|subject| {
                would_be_read(system, (account, sender), (owner, receiver), subject, question.subject)
            })
    })
}

/// Whether a message comes to a third account whose streams may deliver it to the receiver: that imports from the account,
/// or asks JetStream there.
fn may_be_delivered(system: &System, from: (&Account, &User), question: Question<'_>) -> bool {
    let (target, receiver) = question.to;
    let has_streams = |account: &Account| account.jetstream.is_some() && !system.is_system(account);
    // The accounts that a user's messages come to, by requests to JetStream or by others.
    let reached = |(account, user): (&Account, &User), subject: Option<&Subject>, asks_jetstream: bool| {
        let mut names = HashSet::new();
        reach::follow(system, reach::published(account, user, subject), |carried| {
            let is_request = carried.subject().first_token() == "$JS";
            if carried.account.name != account.name && has_streams(carried.account) && is_request == asks_jetstream {
                names.insert(carried.account.name.clone());
            }
        });
        names
    };
    let sent = reached(from, question.subject, false);
    let hears = |import: &&Import| {
        import.kind == ShareKind::Stream && Carried::new(target, &import.local).received_by(receiver).is_some()
    };
    let mut heard = target.imports.iter().filter(hears).map(|import| &import.from.0);
    let is_third = |name: &String| ![&from.0.name, &target.name].contains(&name);
    !sent.is_empty()
        && (heard.any(|name| is_third(name) && sent.contains(name))
            || reached(question.to, None, true).iter().any(|name| is_third(name) && sent.contains(name)))
}

/// Whether the sender may have JetStream deliver messages over a share to the receiver, which then have the subject under
/// which a stream stored them, and the question is about such a subject.
pub fn may_deliver(system: &System, question: Question<'_>) -> bool {
    let ((account, sender), to) = (question.from, question.to);
    let open = sender.unrestricted();
    question.subject.is_some()
        && delivers_anywhere(account, sender)
        && !reach::paths(system, Question { from: (account, &open), to, subject: None }).paths.is_empty()
}

/// Whether a third account that gets the sender's messages, or another user of the receiver's, may lead them to the receiver:
/// an answer of its clients, or an acknowledgement or delivery of its JetStream, goes to a subject that the sender names.
pub fn may_be_led(system: &System, question: Question<'_>) -> bool {
    let ((account, _), (target, receiver)) = (question.from, question.to);
    let others = |third: &&Account| third.name != account.name;
    reach::reachable(system, account).into_iter().filter(others).any(|third| {
        let is_target = third.name == target.name;
        // The server replaces the reply subject of a request to a service.
        let leads = |user: &User, by_service: bool| {
            let to = (third, user);
            let answers_anywhere = is_target && user.permissions.responses.is_some();
            let heard = reach::paths(system, Question { from: question.from, to, subject: None }).paths;
            heard.iter().any(|path| by_service || path.way == Some(ShareKind::Stream))
                && (answers_anywhere
                    || !reach::paths(system, Question { from: to, to: question.to, subject: None }).paths.is_empty())
        };
        let anybody = User::anybody(String::new(), third.span);
        let mut users = third.users.iter().filter(|user| !std::ptr::eq(*user, receiver));
        users.any(|user| leads(user, false)) || !is_target && third.jetstream.is_some() && leads(&anybody, true)
    })
}

/// Whether the receiver's requests reach the sender by a service import, and the sender may answer them.
pub fn may_answer(system: &System, question: Question<'_>) -> bool {
    let (account, sender) = question.from;
    let back = Question { from: question.to, to: question.from, subject: None };
    answers(account, sender) && reach::paths(system, back).paths.iter().any(|path| path.way == Some(ShareKind::Service))
}

/// Whether a user's messages come to where a stream of the account captures `captured`, if there is one.
pub fn would_be_read(
    system: &System,
    from: (&Account, &User),
    (owner, reader): (&Account, &User),
    captured: Subject,
    subject: Option<&Subject>,
) -> bool {
    let reader = subscriber(reader, captured);
    !reach::paths(system, Question { from, to: (owner, &reader), subject }).paths.is_empty()
}

fn all_paths(
    system: &System,
    from: (&Account, &User),
    receivers: &[(&Account, &User)],
    subject: Option<&Subject>,
) -> Vec<Vec<Path>> {
    reach::paths_to_each(system, from, receivers, subject).into_iter().map(|answer| answer.paths).collect()
}

/// The path on `$MQTT.>` between two users in one account of which one is a leaf node.
fn as_leaf_nodes(system: &System, question: Question<'_>) -> Option<Path> {
    let ((account, sender), (target, receiver)) = (question.from, question.to);
    let mqtt = Subject::as_the_server_reads("$MQTT.>")?;
    if account.name != target.name || question.subject.is_some_and(|subject| !subject.overlaps(&mqtt)) {
        return None;
    }
    let (publish, subscribe) = (&sender.permissions.publish, &receiver.permissions.subscribe);
    let sends = by_leaf_node(system, account, sender, publish);
    let hears = by_leaf_node(system, account, receiver, subscribe);
    let is_sent = sends.is_some() || allows(account, sender, &mqtt)[0];
    let is_heard = hears.is_some() || allows(account, receiver, &mqtt)[1];
    let carrier = sends.or(hears).filter(|_| is_sent && is_heard)?;
    let name = |user: &User| format!("`{}/{}`", account.name, user.display_name());
    let steps = vec![
        (format!("{} publishes to {}", name(sender), carrier.what), carrier.place),
        (format!("{} receives `$MQTT.>`", name(receiver)), receiver.place_of(subscribe)),
    ];
    Some(Path { subject: mqtt.clone(), arrives: mqtt, steps, way: None })
}

/// The path of an answer to the receiver's own message, which it asks for where it likes.
fn answered_back(system: &System, question: Question<'_>) -> Option<Path> {
    let ((account, sender), (target, receiver)) = (question.from, question.to);
    let responses = sender.permissions.responses.filter(|_| account.name == target.name)?;
    let back = Question { from: question.to, to: question.from, subject: None };
    let asked = reach::paths(system, back).paths.into_iter().next()?.subject;
    let anything = question.subject.cloned().unwrap_or_else(Subject::everything);
    let arrives = Carried::new(account, &anything).received_by(receiver)?;
    let (sender, receiver_name) = (sender.display_name(), receiver.display_name());
    let steps = vec![
        (
            format!("`{}/{sender}` answers `{receiver_name}` on `{asked}`, by `allow_responses`", account.name),
            responses.span,
        ),
        (
            format!("`{}/{receiver_name}` may subscribe to `{arrives}`, and asks for answers there", account.name),
            receiver.place_of(&receiver.permissions.subscribe),
        ),
    ];
    Some(Path { subject: arrives.clone(), arrives, steps, way: None })
}

/// The path of what a user answers to requests of other accounts, if the other one hears it.
fn overheard(system: &System, question: Question<'_>) -> Option<Path> {
    let ((account, sender), (target, receiver)) = (question.from, question.to);
    let answers = Subject::as_the_server_reads("_R_.>")?;
    if account.name != target.name || question.subject.is_some_and(|subject| !subject.overlaps(&answers)) {
        return None;
    }
    let Carrier { what, place, .. } = answers_others(&requests_of_others(system, account), sender)?;
    let arrives = Carried::new(account, &answers).received_by(receiver)?;
    let hears = format!("`{}/{}` may subscribe to `{arrives}`", account.name, receiver.display_name());
    let steps = vec![
        (format!("`{}/{}` publishes {what}", account.name, sender.display_name()), place),
        (hears, receiver.place_of(&receiver.permissions.subscribe)),
    ];
    Some(Path { subject: answers, arrives, steps, way: None })
}

/// The paths of an answer that comes in by a service import.
fn by_import(
    system: &System,
    from: (&Account, &User),
    receivers: &[(&Account, &User)],
    subject: Option<&Subject>,
) -> Vec<Vec<Path>> {
    let is_here = |(target, _): &(&Account, &User)| target.name == from.0.name;
    // The subject of what arrives in another account has the server's tokens in it, not those that were asked for.
    let mut paths = all_paths(system, from, receivers, None);
    for (paths, (target, receiver)) in paths.iter_mut().zip(receivers).filter(|(_, receiver)| !is_here(receiver)) {
        paths.retain(|path| path.way == Some(ShareKind::Service));
        paths.retain(|path| subject.is_none_or(|subject| path.subject.overlaps(subject)));
        // By an import of one subject it comes to that one, by one with wildcards it keeps the server's.
        let one: Vec<&Subject> =
            from.0.services().filter(|import| !import.subject.has_wildcard()).map(|import| &import.local).collect();
        let answers = Subject::as_the_server_reads("_R_.>").map(|answers| Carried::new(target, &answers));
        let hears_answers = answers.is_some_and(|answers| answers.received_by(receiver).is_some());
        paths.retain(|path| hears_answers || one.iter().any(|local| local.overlaps(&path.subject)));
    }
    if subject.is_some() && receivers.iter().any(is_here) {
        let own = all_paths(system, from, receivers, subject);
        for ((paths, own), _) in paths.iter_mut().zip(own).zip(receivers).filter(|(_, receiver)| is_here(receiver)) {
            *paths = own;
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::system;

    fn carried(system: &System, question: Question<'_>) -> Vec<Path> {
        carried_to_each(system, question.from, &[question.to], question.subject).pop().unwrap_or_default()
    }

    /// Measured on nats-server 2.15.1.
    #[test]
    fn what_jetstream_sends_over_a_share_may_be_captured_and_read() {
        let found = |publish: &str, reads: &str| {
            let system = system(&format!(
                "jetstream {{}}\naccounts {{
                 A {{ jetstream: enabled, users: [{{ user: a, permissions {{ publish: \"{publish}\", subscribe: x }} }}]
                   exports: [{{ stream: a.pub.>, accounts: [B] }}] }}
                 B {{ jetstream: enabled, users: [{{ user: b, permissions {{ publish: [{reads}], subscribe: \"_INBOX.>\" }} }}]
                   imports: [{{ stream: {{ account: A, subject: a.pub.> }} }}] }} }}"
            ));
            let (a, b) = (&system.accounts[0], &system.accounts[1]);
            let question = Question { from: (a, &a.users[0]), to: (b, &b.users[0]), subject: None };
            (!carried(&system, question).is_empty(), may_be_read(&system, &Tenants::default(), question))
        };
        let (get, creates) = ("$JS.API.DIRECT.GET.S", "\"$JS.API.STREAM.CREATE.*\", \"$JS.API.STREAM.MSG.GET.*\"");
        assert!(found(get, creates).0);
        assert_eq!(found(get, "\"$JS.API.STREAM.MSG.GET.*\""), (false, true), "a stream may be there");
        assert_eq!(found("$JS.API.STREAM.INFO.S", creates), (false, false));
        assert_eq!(found(get, "b"), (false, false));
    }

    /// Measured on nats-server 2.15.1, with a push consumer of a stream in H.
    #[test]
    fn streams_of_a_third_account_may_deliver() {
        let may_be_read = |jetstream: &str, known: bool, import: &str| {
            let system = system(&format!(
                "jetstream {{}}\naccounts {{
                 H {{ {jetstream} users: [{{ user: h }}], exports: [{{ service: orders.a, accounts: [A] }}, {{ stream: deliver.b, accounts: [B] }},
                   {{ service: \"$JS.API.STREAM.INFO.S\", accounts: [B] }}, {{ service: other, accounts: [B] }}] }}
                 A {{ users: [{{ user: a }}], imports: [{{ service: {{ account: H, subject: orders.a }} }}] }}
                 B {{ users: [{{ user: b }}], imports: [{{ {import} }}] }} }}"
            ));
            let tenants = if known { Tenants::each_account() } else { Tenants::default() };
            let (a, b) = (&system.accounts[1], &system.accounts[2]);
            super::may_be_read(
                &system,
                &tenants,
                Question { from: (a, &a.users[0]), to: (b, &b.users[0]), subject: None },
            )
        };
        let deliver = "stream: { account: H, subject: deliver.b }";
        let info = "service: { account: H, subject: \"$JS.API.STREAM.INFO.S\" }, to: i";
        assert!(may_be_read("jetstream: enabled,", false, deliver) && may_be_read("jetstream: enabled,", false, info));
        assert!(!may_be_read("", false, deliver) && !may_be_read("jetstream: enabled,", true, deliver));
        assert!(!may_be_read("jetstream: enabled,", false, "service: { account: H, subject: other }"));
    }

    /// Measured on nats-server 2.15.1: C receives the answer of A on `cmd`.
    #[test]
    fn an_answer_goes_where_the_request_says() {
        let reaches = |answers: &str, more: &str| {
            let system = system(&format!(
                "accounts {{
                 A {{ users: [{{ user: a, permissions {{ publish: {answers}, subscribe: q.a }} }}], exports: [{{ service: q.a, accounts: [B] }}] }}
                 C {{ users: [{{ user: c }}], exports: [{{ service: cmd, accounts: [B] }}] }}
                 B {{ users: [{{ user: b }}], imports: [{{ service: {{ account: A, subject: q.a }} }} {more}] }} }}"
            ));
            let (a, c) = (&system.accounts[0], &system.accounts[1]);
            let question = Question { from: (a, &a.users[0]), to: (c, &c.users[0]), subject: None };
            let b = &system.accounts[2];
            let back = Question { from: (a, &a.users[0]), to: (b, &b.users[0]), subject: None };
            assert_eq!(may_answer(&system, back), answers != "x");
            assert!(carried(&system, question).is_empty(), "it is B that decides");
            may_answer_third(&system, question)
        };
        let import = ", { service: { account: C, subject: cmd } }";
        assert!(reaches("\"_R_.>\"", import) && !reaches("\"_R_.>\"", ""));
        assert!(!reaches("x", import), "it may not answer");
    }

    /// Measured on nats-server 2.15.1: a stream over the server's own subjects acknowledges nothing.
    #[test]
    fn requests_to_the_server_are_not_acknowledged_by_streams() {
        let found = |publish: &str| {
            let system = system(&format!(
                "jetstream {{}}\naccounts {{
                 A {{ jetstream: enabled, users: [{{ user: a, permissions {{ publish: \"{publish}\", subscribe: x }} }}, {{ user: admin }}]
                   exports: [{{ stream: a.pub.>, accounts: [B] }}] }}
                 B {{ users: [{{ user: b }}], imports: [{{ stream: {{ account: A, subject: a.pub.> }} }}] }} }}"
            ));
            let (a, b) = (&system.accounts[0], &system.accounts[1]);
            !carried(&system, Question { from: (a, &a.users[0]), to: (b, &b.users[0]), subject: None }).is_empty()
        };
        assert!(!found("$JS.API.INFO") && !found("$SYS.REQ.USER.INFO"));
        assert!(found("orders.x") && found("*.API.INFO") && found("$JS.EVENT.x"));
    }

    #[test]
    fn what_is_carried_reaches_over_an_import_that_its_list_does_not_name() {
        let system = |publish: &str, jetstream: &str| {
            system(&format!(
                "accounts {{ A {{ users: [{{ user: a, permissions {{ publish: x, subscribe: admin.cmd }} }}]
                     exports: [{{ service: admin.cmd, accounts: [B] }}] }},
                   B {{ users: [{{ user: b, permissions {{ publish: \"{publish}\", subscribe: b }} }}]
                     imports: [{{ service: {{ account: A, subject: admin.cmd }} }}]\n{jetstream} }} }}"
            ))
        };
        let paths = |system: &System| {
            let (a, b) = (&system.accounts[0], &system.accounts[1]);
            let question = Question { from: (b, &b.users[0]), to: (a, &a.users[0]), subject: None };
            assert!(reach::paths(system, question).paths.is_empty());
            carried(system, question)
        };
        let found = paths(&system("$JS.API.DIRECT.GET.S", "jetstream: true"));
        assert_eq!(found.iter().map(|path| path.arrives.as_str()).collect::<Vec<_>>(), ["admin.cmd"]);
        assert!(found[0].steps[0].0.contains("which JetStream answers"), "{:?}", found[0].steps);
        assert!(
            paths(&system("$JS.API.DIRECT.GET.S", "")).is_empty() && paths(&system("b", "jetstream: true")).is_empty()
        );
    }

    /// Measured on nats-server 2.15.1.
    #[test]
    fn an_answer_by_a_service_import_reaches_services_and_no_stream_that_others_import() {
        let of = |publish: &str, more: &str| {
            system(&format!(
                "jetstream {{}}\naccounts {{
                 A {{ users: [{{ user: a }}], exports: [{{ service: svc, accounts: [B] }}] }}
                 B {{ users: [{{ user: b, permissions {{ publish: \"{publish}\", subscribe: x }} }}{more}], jetstream: true,
                   imports: [{{ service: {{ account: A, subject: svc }} }}, {{ service: {{ account: C, subject: x.> }}, to: y.> }}],
                   exports: [{{ stream: e.>, accounts: [D] }}] }}
                 C {{ users: [{{ user: c }}], exports: [{{ service: x.>, accounts: [B] }}] }}
                 D {{ users: [{{ user: d }}], imports: [{{ stream: {{ account: B, subject: e.> }} }}] }}
                 }}"
            ))
        };
        let found = |system: &System, to: &str, subject: Option<&str>| -> Vec<String> {
            let somebody = |name: &str| system.users().find(|(account, _)| account.name == name).expect(name);
            let subject = subject.and_then(Subject::as_the_server_reads);
            let question = Question { from: somebody("B"), to: somebody(to), subject: subject.as_ref() };
            carried(system, question).iter().map(|path| format!("{} as {}", path.subject, path.arrives)).collect()
        };
        let local = ", { user: b2, permissions { publish { deny: \">\" }, subscribe: loc, allow_responses: true } }";
        for (publish, more, becomes_a_message) in [
            ("svc", "", false),
            ("$JS.API.STREAM.INFO.S", "", false),
            ("$SYS.REQ.USER.INFO", "", false),
            ("$JS.API.DIRECT.GET.S", "", true),
            ("loc", local, true),
        ] {
            let system = of(publish, more);
            assert_eq!(found(&system, "C", None), ["y.> as x.>"], "{publish}");
            let arrives = if becomes_a_message { "y.q as x.q" } else { "y.> as x.>" };
            assert_eq!(found(&system, "C", Some("y.q")), [arrives], "{publish}");
            assert_eq!(!found(&system, "D", None).is_empty(), becomes_a_message, "{publish}");
        }
        assert!(found(&of("nothing", ""), "C", None).is_empty(), "the control");
    }
}
