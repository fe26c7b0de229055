//! The paths from one user to another past their lists, step by step.

use super::super::reach::{self, Carried, Path, Question};
use super::super::system::{Account, SubjectPattern, System, User};
use super::carriers::{
    Carrier, StreamRead, allows, answers_others, by_leaf_node, hears_everything, may_capture, past_publish_list,
    requests_of_others, stream_reads,
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
    if let Some(carrier) = past_publish_list(system, account, sender, may_capture(account)) {
        let open = sender.unrestricted();
        let paths = match carrier.by_import {
            true => by_import(system, (account, &open), receivers, subject),
            false => all_paths(system, (account, &open), receivers, subject),
        };
        let step = format!("`{}/{}` publishes to {}", account.name, sender.display_name(), carrier.what);
        for (found, paths) in found.iter_mut().zip(paths) {
            found.extend(paths.into_iter().map(|mut path| {
                path.steps[0] = (step.clone(), carrier.place);
                path
            }));
        }
    }
    let mut hearing: Vec<(usize, &Account, User, Carrier)> = Vec::new();
    for (i, (account, user)) in receivers.iter().enumerate() {
        hearing.extend(hears_everything(account, user).map(|carrier| (i, *account, user.unrestricted(), carrier)));
        let by_reading = by_reading(system, account, user).into_iter();
        hearing.extend(by_reading.map(|(owner, user, carrier)| (i, owner, user, carrier)));
    }
    if !hearing.is_empty() {
        let open: Vec<(&Account, &User)> = hearing.iter().map(|(_, account, user, _)| (*account, user)).collect();
        let paths = all_paths(system, (account, sender), &open, subject);
        for ((i, _, user, carrier), paths) in hearing.iter().zip(paths) {
            let step = format!("`{}/{}` receives {}", receivers[*i].0.name, user.display_name(), carrier.what);
            found[*i].extend(paths.into_iter().map(|mut path| {
                path.steps.pop();
                path.steps.push((step.clone(), carrier.place));
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

/// The reads by which a user receives what streams hold: with each the stream's account, and the user as if it
/// subscribed there.
fn by_reading<'w>(system: &'w System, account: &'w Account, user: &'w User) -> Vec<(&'w Account, User, Carrier)> {
    let mut found = Vec::new();
    for read in stream_reads(system, account, user) {
        let StreamRead { owner, request, place, certain, possible } = read;
        let possible = possible.filter(|_| may_capture(owner));
        let known = certain.into_iter().map(|subject| (subject, "kept"));
        for (subject, how) in known.chain(possible.map(|subject| (subject, "if captured"))) {
            let of = if owner.name == account.name { String::new() } else { format!(" of `{}`", owner.name) };
            let what = format!("`{subject}`, {how} in a stream{of}: it may publish `{request}`");
            found.push((owner, subscriber(user, subject), Carrier { what, place, by_import: false }));
        }
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
pub fn may_be_read(system: &System, question: Question<'_>) -> bool {
    let (target, receiver) = question.to;
    stream_reads(system, target, receiver).into_iter().any(|read| {
        let StreamRead { owner, possible, .. } = read;
        possible
            .filter(|_| !may_capture(owner))
            // A schedule of a stream may have made another subject of what came from elsewhere.
            .map(|subject| if owner.name == target.name { subject } else { Subject::everything() })
            .is_some_and(|subject| would_be_read(system, question.from, (owner, receiver), subject, question.subject))
    })
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
    for (paths, _) in paths.iter_mut().zip(receivers).filter(|(_, receiver)| !is_here(receiver)) {
        paths.retain(|path| path.way == Some(ShareKind::Service));
        paths.retain(|path| subject.is_none_or(|subject| path.subject.overlaps(subject)));
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
