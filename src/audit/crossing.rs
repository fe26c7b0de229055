//! Whether users in one account reach each other: directly, or past their own lists when something
//! else carries a message for them. Inside an account the server checks neither the reply
//! subject of a message nor what JetStream is asked for.

use std::collections::{HashMap, HashSet};

use super::reach::{self, Carried, Path, Question, follow, published, sent};
use super::system::{Account, Import, ListenerKind, Permissions, Responses, Side, System, User};
use crate::diag::Span;
use crate::model::ShareKind;
use crate::subject::{Subject, SubjectIndex};

/// One user's message that another one receives.
#[derive(Debug)]
pub struct Crossing<'w> {
    /// The publisher.
    pub from: &'w User,
    /// The subscriber.
    pub to: &'w User,
    /// The message or its carrier, as the end of the sentence "`a` reaches `b`: ...".
    pub what: String,
    /// The location that permits it.
    pub place: Span,
}

/// Users of an account with what carries messages past their lists.
struct Member<'w> {
    user: &'w User,
    /// Index of its tenant.
    tenant: usize,
    /// Whether it may publish anything.
    speaks: bool,
    /// Whether it may subscribe to anything.
    hears: bool,
    /// How it has messages published to any subject of the account.
    speaks_anywhere: Option<Carrier>,
    /// How it receives messages on any subject of the account.
    hears_everything: Option<Carrier>,
    /// How it receives what others publish by MQTT.
    hears_mqtt: Option<Carrier>,
    /// How it sends and receives on `$MQTT.>` as a leaf node.
    as_leaf_node: [Option<Carrier>; 2],
    /// Whether its lists allow that.
    by_lists: [bool; 2],
    /// How its answers to other accounts pass through its own.
    answers_others: Option<Carrier>,
    /// Whether it receives such answers of others.
    hears_answers: bool,
}

/// A mechanism that publishes or receives for a user without looking at its permissions.
#[derive(Debug, Clone)]
struct Carrier {
    what: String,
    place: Span,
    /// Whether it is an answer that comes in by a service import: then it does not become a message of a
    /// stream that others import, and reaches services under subjects of the server's choice.
    by_import: bool,
}

impl Carrier {
    /// The answer of a user of the same account to a request on `subject`.
    fn answer(answering: &User, responses: Responses, subject: &Subject) -> Self {
        let what = format!(
            "any subject, as the reply subject of a request on `{subject}`, which `{}` answers by `allow_responses`",
            answering.display_name()
        );
        Self { what, place: responses.span, by_import: false }
    }
}

/// Requests that every account may send to the server, which answers to any subject.
const SERVER_REQUESTS: [&str; 4] =
    ["$SYS.REQ.USER.INFO", "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.ACCOUNT.PING.STATZ", "$SYS.REQ.SERVER.PING.CONNZ"];

/// Requests that JetStream answers itself; all others of its API come back by a service import.
const DELIVERIES: [&str; 4] = [
    "$JS.API.DIRECT.GET.>",
    "$JS.API.CONSUMER.MSG.NEXT.>",
    "$JS.API.CONSUMER.CREATE.>",
    "$JS.API.CONSUMER.DURABLE.CREATE.>",
];

/// Requests by which a stream captures or republishes any subject of its account.
const STREAM_CHANGES: [&str; 3] = ["$JS.API.STREAM.CREATE.*", "$JS.API.STREAM.UPDATE.*", "$JS.API.STREAM.RESTORE.*"];

/// One crossing for each ordered pair of tenants, at most `most`. `tenant_of`: the tenant of a
/// user of the account.
pub fn crossings<'w>(
    system: &'w System,
    account: &'w Account,
    tenant_of: impl Fn(&'w User) -> &'w str,
    most: usize,
) -> Vec<Crossing<'w>> {
    let mut tenants: HashMap<&str, usize> = HashMap::new();
    let of = account.users.iter().map(|user| {
        let next = tenants.len();
        *tenants.entry(tenant_of(user)).or_insert(next)
    });
    let of: Vec<usize> = of.collect();
    if tenants.len() < 2 {
        return Vec::new();
    }
    let mut index = SubjectIndex::default();
    for (i, user) in account.users.iter().enumerate() {
        user.permissions.subscribe.heard().iter().for_each(|heard| index.insert(&heard.subject, i));
    }
    let captures = may_capture(account);
    let requests = requests_of_others(system, account);
    let answers = Subject::as_the_server_reads("_R_.>").map(|subject| Carried::new(account, &subject));
    let mqtt = Subject::as_the_server_reads("$MQTT.>");
    let mut search = Search { account, members: Vec::new(), found: Vec::new(), pairs: HashSet::new(), most };
    for (user, tenant) in account.users.iter().zip(of) {
        search.members.push(Member {
            user,
            tenant,
            speaks: !published(account, user, None).is_empty(),
            hears: user.permissions.subscribe.hears_anything(),
            speaks_anywhere: speaks_anywhere(system, account, user, captures),
            hears_everything: hears_everything(account, user),
            hears_mqtt: hears_mqtt(system, account, user),
            as_leaf_node: [&user.permissions.publish, &user.permissions.subscribe]
                .map(|side| by_leaf_node(system, account, user, side)),
            by_lists: mqtt.as_ref().map_or([false; 2], |mqtt| allows(account, user, mqtt)),
            answers_others: answers_others(&requests, user),
            hears_answers: answers.as_ref().is_some_and(|answers| answers.received_by(user).is_some()),
        });
    }
    search.direct(system, &index);
    search.carried();
    search.found
}

struct Search<'w> {
    account: &'w Account,
    members: Vec<Member<'w>>,
    found: Vec<Crossing<'w>>,
    /// Pairs of tenants with a crossing.
    pairs: HashSet<(usize, usize)>,
    most: usize,
}

impl<'w> Search<'w> {
    /// Follows every message of every user to the users that may subscribe to it.
    fn direct(&mut self, system: &'w System, index: &SubjectIndex<usize>) {
        for i in 0..self.members.len() {
            let sender = self.members[i].user;
            follow(system, sent(self.account, sender, None), |carried| {
                if carried.account.name != self.account.name {
                    return;
                }
                for j in index.overlapping(&carried.subject.pattern()) {
                    self.arrives(i, *j, carried);
                }
            });
            if self.is_full() {
                return;
            }
        }
    }

    fn is_full(&self) -> bool {
        self.found.len() >= self.most
    }

    /// Takes note of a message of one member that may arrive at another: a crossing if their
    /// tenants differ, a request that is answered if they do not.
    fn arrives(&mut self, from: usize, to: usize, carried: &Carried<'_>) {
        let (sender, receiver) = (&self.members[from], &self.members[to]);
        let answers = receiver.user.permissions.responses.filter(|_| sender.speaks_anywhere.is_none());
        let pair = (sender.tenant, receiver.tenant);
        let is_new_pair = pair.0 != pair.1 && !self.pairs.contains(&pair) && !self.is_full();
        if !is_new_pair && (pair.0 != pair.1 || answers.is_none()) {
            return;
        }
        let Some(subject) = carried.received_by(receiver.user) else { return };
        if is_new_pair {
            self.found.push(Crossing {
                from: sender.user,
                to: receiver.user,
                what: format!("`{subject}`"),
                place: sender.user.span,
            });
            self.pairs.insert(pair);
        } else if let Some(responses) = answers {
            self.members[from].speaks_anywhere = Some(Carrier::answer(receiver.user, responses, &subject));
        }
    }

    /// Adds the crossings that go past a list.
    fn carried(&mut self) {
        let first = |members: &[Member<'_>], is: &dyn Fn(&Member<'_>) -> bool| {
            let mut firsts: HashMap<usize, usize> = HashMap::new();
            members.iter().enumerate().filter(|(_, m)| is(m)).for_each(|(i, m)| {
                firsts.entry(m.tenant).or_insert(i);
            });
            let mut firsts: Vec<usize> = firsts.into_values().collect();
            firsts.sort_unstable();
            firsts
        };
        let members = &self.members;
        let (speaking, hearing) = (first(members, &|m| m.speaks), first(members, &|m| m.hears));
        let everywhere = first(members, &|m| m.speaks_anywhere.is_some());
        let everything = first(members, &|m| m.hears_everything.is_some());
        let (by_mqtt, overhearing) =
            (first(members, &|m| m.user.may_use(ListenerKind::Mqtt)), first(members, &|m| m.hears_mqtt.is_some()));
        let (answering, by_answers) =
            (first(members, &|m| m.answers_others.is_some()), first(members, &|m| m.hears_answers));
        let mut pairs: Vec<(usize, usize, Option<Carrier>)> = Vec::new();
        // Of two users one is a leaf node, and the other one as well, or allowed to.
        for sends in 0..2 {
            let is_one = |m: &Member<'_>, i: usize| m.as_leaf_node[i].is_some();
            let sending = first(members, &|m| is_one(m, 0) || sends == 1 && m.by_lists[0]);
            let receiving = first(members, &|m| is_one(m, 1) || sends == 0 && m.by_lists[1]);
            for from in sending {
                let carried = |to: &usize| {
                    let carrier = members[from].as_leaf_node[0].clone().or(members[*to].as_leaf_node[1].clone());
                    carrier.map(|carrier| (from, *to, Some(carrier)))
                };
                pairs.extend(receiving.iter().filter_map(carried));
            }
        }
        for from in answering {
            pairs.extend(by_answers.iter().map(|to| (from, *to, members[from].answers_others.clone())));
        }
        for from in everywhere {
            pairs.extend(hearing.iter().map(|to| (from, *to, members[from].speaks_anywhere.clone())));
        }
        for to in everything {
            pairs.extend(speaking.iter().map(|from| (*from, to, members[to].hears_everything.clone())));
        }
        for to in overhearing {
            pairs.extend(by_mqtt.iter().map(|from| (*from, to, members[to].hears_mqtt.clone())));
        }
        for (from, to, carrier) in pairs {
            let pair = (members[from].tenant, members[to].tenant);
            if pair.0 == pair.1 || self.is_full() || !self.pairs.insert(pair) {
                continue;
            }
            if let Some(Carrier { what, place, .. }) = carrier {
                self.found.push(Crossing { from: members[from].user, to: members[to].user, what, place });
            }
        }
    }
}

/// The paths that answer `question` past the lists of its users, as [`carried_to_each`] finds them.
pub fn carried(system: &System, question: Question<'_>) -> Vec<Path> {
    carried_to_each(system, question.from, &[question.to], question.subject).pop().unwrap_or_default()
}

/// The paths from one user to each of several past their lists: with what publishes for the sender on any subject
/// of its account, or receives for the receiver. The first or last step is that carrier.
pub fn carried_to_each(
    system: &System,
    (account, sender): (&Account, &User),
    receivers: &[(&Account, &User)],
    subject: Option<&Subject>,
) -> Vec<Vec<Path>> {
    let everything = |user: &User| User { permissions: Permissions::default(), ..user.clone() };
    let mut found: Vec<Vec<Path>> = vec![Vec::new(); receivers.len()];
    if let Some(carrier) = past_publish_list(system, account, sender, may_capture(account)) {
        let open = everything(sender);
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
    let hearing = receivers
        .iter()
        .enumerate()
        .filter_map(|(i, (account, user))| Some((i, *account, everything(user), hears_everything(account, user)?)));
    let hearing: Vec<(usize, &Account, User, Carrier)> = hearing.collect();
    if !hearing.is_empty() {
        let open: Vec<(&Account, &User)> = hearing.iter().map(|(_, account, user, _)| (*account, user)).collect();
        let paths = all_paths(system, (account, sender), &open, subject);
        for ((i, target, user, carrier), paths) in hearing.iter().zip(paths) {
            let step = format!("`{}/{}` receives {}", target.name, user.display_name(), carrier.what);
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

fn all_paths(
    system: &System,
    from: (&Account, &User),
    receivers: &[(&Account, &User)],
    subject: Option<&Subject>,
) -> Vec<Vec<Path>> {
    reach::paths_to_each(system, from, receivers, subject).into_iter().map(|answer| answer.paths).collect()
}

/// How a leaf node sends or receives on `$MQTT.>`, which no list of allowed subjects covers for it: only a list
/// that denies it.
fn by_leaf_node(system: &System, account: &Account, user: &User, side: &Side) -> Option<Carrier> {
    let is_denied = side.deny.iter().any(|p| p.queue.is_none() && matches!(p.subject.as_str(), "$MQTT.>" | ">"));
    let what = "`$MQTT.>`, which a leaf node's lists of allowed subjects do not cover".to_owned();
    (system.may_be_leaf(account, user) && !is_denied).then(|| Carrier {
        what,
        place: user.place_of(side),
        by_import: false,
    })
}

/// Whether a user's lists let it publish, and receive, on some of the subjects.
fn allows(account: &Account, user: &User, subjects: &Subject) -> [bool; 2] {
    let publishes = !published(account, user, Some(subjects)).is_empty();
    [publishes, Carried::new(account, subjects).received_by(user).is_some()]
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

/// Whether a user of the account may make streams, which then acknowledge what they capture.
pub fn may_capture(account: &Account) -> bool {
    account.jetstream.is_some() && account.users.iter().any(|user| asks(account, user, &STREAM_CHANGES).is_some())
}

/// How a user has a message published to a subject of its choice, by an answer to its own request or by
/// a user that answers it. `captures` as in [`speaks_anywhere`].
fn past_publish_list(system: &System, account: &Account, user: &User, captures: bool) -> Option<Carrier> {
    match speaks_anywhere(system, account, user, captures) {
        Some(carrier) if !carrier.by_import => Some(carrier),
        other => answered(system, account, user).or(other),
    }
}

/// The answer of a user of the account to requests of `sender`, which goes wherever they say.
fn answered(system: &System, account: &Account, sender: &User) -> Option<Carrier> {
    let answering = account.users.iter().filter_map(|user| Some((user, user.permissions.responses?)));
    answering.into_iter().find_map(|(user, responses)| {
        let question = Question { from: (account, sender), to: (account, user), subject: None };
        let subject = reach::paths(system, question).paths.into_iter().next()?.subject;
        Some(Carrier::answer(user, responses, &subject))
    })
}

/// The first of the subjects that a user reaches by what it publishes, after mappings: what it publishes then.
fn asks(account: &Account, user: &User, subjects: &[&str]) -> Option<Subject> {
    first_within(&published(account, user, None), subjects)
}

/// The same of messages that are known already.
fn first_within(messages: &[Carried<'_>], subjects: &[&str]) -> Option<Subject> {
    let wanted = subjects.iter().filter_map(|text| Subject::as_the_server_reads(text));
    wanted.filter_map(|wanted| messages.iter().find_map(|m| Some(m.within(&wanted)?.published.pattern()))).next()
}

/// How a user has a message published to a subject of its choice, if a request of its own that
/// is answered does that. `captures`: whether streams of the account may capture what it publishes.
fn speaks_anywhere(system: &System, account: &Account, user: &User, captures: bool) -> Option<Carrier> {
    let place = user.place_of(&user.permissions.publish);
    let by = |what: String, by_import: bool| {
        Some(Carrier { what: format!("any subject, as the reply subject of {what}"), place, by_import })
    };
    let messages = published(account, user, None);
    let asks = |subjects: &[&str]| first_within(&messages, subjects);
    let has_jetstream = account.jetstream.is_some();
    if has_jetstream && let Some(request) = asks(&DELIVERIES) {
        return by(format!("`{request}`, which JetStream answers"), false);
    }
    if uses_mqtt(system, account)
        && let Some(message) = asks(&["$MQTT.>"])
    {
        return by(format!("a message on `{message}`, which MQTT's streams acknowledge"), false);
    }
    if captures && let Some(message) = messages.first() {
        let subject = message.published.pattern();
        return by(format!("a message on `{subject}`, once a stream acknowledges it"), false);
    }
    if has_jetstream && let Some(request) = asks(&["$JS.API.>"]) {
        return by(format!("`{request}`, which JetStream answers"), true);
    }
    let local = |import: &Import| published(account, user, Some(&import.local)).first().map(|p| p.published.pattern());
    let services = account.services().filter(|import| is_answered(system, import));
    if let Some((import, request)) = services.filter_map(|i| Some((i, local(i)?))).next() {
        return by(format!("a request on `{request}`, which `{}` answers", import.from.0), true);
    }
    let request = asks(&SERVER_REQUESTS).filter(|_| !system.server.no_system_account)?;
    by(format!("`{request}`, which the server answers"), true)
}

/// Whether somebody may answer requests on an import.
fn is_answered(system: &System, import: &Import) -> bool {
    let Some(exporter) = system.account(&import.from.0) else { return true };
    let reply = ["_R_.>"];
    system.is_system(exporter)
        || import.subject.first_token() == "$JS"
        || exporter.services().next().is_some()
        || exporter.users.iter().any(|u| u.permissions.responses.is_some() || asks(exporter, u, &reply).is_some())
}

/// Whether the server keeps streams for MQTT in the account.
fn uses_mqtt(system: &System, account: &Account) -> bool {
    let listens = system.server.listeners.iter().any(|l| l.kind == ListenerKind::Mqtt && l.listens);
    listens && account.jetstream.is_some() && account.users.iter().any(|user| user.may_use(ListenerKind::Mqtt))
}

/// How a user receives what others publish by MQTT: it passes on `$MQTT.msgs.>` and `$MQTT.rmsgs.>`.
fn hears_mqtt(system: &System, account: &Account, user: &User) -> Option<Carrier> {
    let mqtt = Subject::as_the_server_reads("$MQTT.>").filter(|_| uses_mqtt(system, account))?;
    let subject = Carried::new(account, &mqtt).received_by(user)?;
    let place = user.place_of(&user.permissions.subscribe);
    Some(Carrier { what: format!("what it publishes by MQTT, on `{subject}`"), place, by_import: false })
}

/// The requests of other accounts to the services of an account, as its users hear them.
fn requests_of_others<'w>(system: &'w System, account: &'w Account) -> Vec<Carried<'w>> {
    let others = system.accounts.iter().filter(|other| other.name != account.name);
    let imports = others.flat_map(Account::services).filter(|import| import.from.0 == account.name);
    let asked = imports.flat_map(|import| reach::what_becomes(account, &import.subject));
    asked.map(|subject| Carried::new(account, &subject)).collect()
}

/// How the answers of a user that may answer pass through its account on `_R_.>`: those to requests of other
/// accounts.
fn answers_others(requests: &[Carried<'_>], user: &User) -> Option<Carrier> {
    let place = user.permissions.responses?.span;
    let asked = requests.iter().find_map(|request| request.received_by(user))?;
    let what = format!("what it answers to requests of other accounts on `{asked}`, on `_R_.>`");
    Some(Carrier { what, place, by_import: false })
}

/// A service import that a user's list does not name, and that it reaches by the reply subject of
/// a request that is answered.
#[derive(Debug)]
pub struct PastList<'w> {
    /// The user.
    pub user: &'w User,
    /// The import.
    pub import: &'w Import,
    /// How, as the end of a sentence.
    pub what: String,
    /// The location that permits it.
    pub place: Span,
}

/// One for each user and service: those that reach a service which only others may ask.
pub fn past_lists<'w>(system: &'w System, account: &'w Account) -> Vec<PastList<'w>> {
    let captures = may_capture(account);
    let mut found = Vec::new();
    for user in &account.users {
        let closed = |import: &&Import| published(account, user, Some(&import.local)).is_empty();
        let closed: Vec<&Import> = account.services().filter(closed).collect();
        if closed.is_empty() {
            continue;
        }
        let Some(Carrier { what, place, .. }) = past_publish_list(system, account, user, captures) else { continue };
        found.extend(closed.into_iter().map(|import| PastList { user, import, what: what.clone(), place }));
    }
    found
}

/// How a user receives messages on any subject, by streams.
fn hears_everything(account: &Account, user: &User) -> Option<Carrier> {
    account.jetstream.as_ref()?;
    let request = asks(account, user, &STREAM_CHANGES)?;
    let what = format!("any subject, by a stream that captures it: `{}` may publish `{request}`", user.display_name());
    Some(Carrier { what, place: user.place_of(&user.permissions.publish), by_import: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::system;

    /// Crossings between users `t1...`, `t2...` of one account, as `from>to: what`.
    fn found(users: &[(&str, &str)], entries: &str) -> Vec<String> {
        let user = |(name, permissions): &(&str, &str)| format!("{{ user: {name}, permissions {{ {permissions} }} }}");
        let users: Vec<String> = users.iter().map(user).collect();
        let system = system(&format!("accounts {{ A {{ users: [{}]\n{entries} }} }}", users.join(", ")));
        let found = crossings(&system, &system.accounts[0], |user| &user.name[..2], 20);
        let mut texts: Vec<String> =
            found.iter().map(|c| format!("{}>{}: {}", c.from.name, c.to.name, c.what)).collect();
        texts.sort();
        texts
    }

    fn both(publish: &str, subscribe: &str) -> String {
        format!("publish: {publish}, subscribe: {subscribe}")
    }

    #[test]
    fn a_message_crosses_where_one_may_publish_what_the_other_may_subscribe_to() {
        for (one, two, expected) in [
            (both("a.>", "a.>"), both("b.>", "b.>"), &[][..]),
            (both("o.a.>", "o.a.>"), both("o.b.>", "o.b.>"), &[]),
            (both("a.>", "a.>"), both("a.>", "b.>"), &["t2>t1: `a.>`"]),
            (both("a.>", "[a.>, r.>]"), both("[b.>, r.>]", "b.>"), &["t2>t1: `r.>`"]),
            (both("a.>", "a.>"), both("b.>", "\"*\""), &["t1>t2: `a.>`"]),
            (both("a.>", "a.>"), both("b.>", "\"*.*\""), &["t1>t2: `a.*`"]),
            (both("a.x", "a.>"), both("b.>", "{ allow: \">\", deny: a.> }"), &[]),
            (both("a.>", "a.>"), both("b.>", "{ allow: a.>, deny: a.b }"), &["t1>t2: `a.>`"]),
            (both("{ deny: \">\" }", "a.>"), both("b.>", "{ deny: \">\" }"), &[]),
        ] {
            assert_eq!(found(&[("t1", &one), ("t2", &two)], ""), expected, "{one} | {two}");
        }
    }

    #[test]
    fn answers_to_other_accounts_are_overheard_in_the_own_one() {
        let crossing = |answers: &str, subscribe: &str, importer: &str| {
            let text = format!(
                "accounts {{ A {{ exports: [{{ service: s.x }}], users: [\n\
                 {{ user: t1, permissions {{ publish: {{ deny: \">\" }}, subscribe: \"s.>\"{answers} }} }}\n\
                 {{ user: t2, permissions {{ publish: {{ deny: \">\" }}, subscribe: {subscribe} }} }}] }}\n\
                 B {{ {importer} }} }}"
            );
            let system = system(&text);
            let found = crossings(&system, &system.accounts[0], |user| &user.name[..2], 20);
            found.iter().map(|c| format!("{}>{}", c.from.name, c.to.name)).collect::<Vec<_>>()
        };
        let importer = "imports: [{ service: { account: A, subject: s.x } }]";
        let answers = ", allow_responses: true";
        assert_eq!(crossing(answers, "\"_R_.>\"", importer), ["t1>t2"]);
        assert_eq!(crossing(answers, "{ deny: \"x\" }", importer), ["t1>t2"], "without a list of subjects");
        for (answers, subscribe, importer) in [
            ("", "\"_R_.>\"", importer),
            (answers, "\"r.>\"", importer),
            (answers, "{ deny: \"_R_.>\" }", importer),
            (answers, "\"_R_.>\"", ""),
        ] {
            assert!(crossing(answers, subscribe, importer).is_empty(), "{answers} {subscribe} {importer}");
        }
    }

    #[test]
    fn answers_carry_a_message_to_any_subject_if_the_asker_has_somebody_who_answers() {
        let two = both("b.>", "b.>");
        let answering = both("{ deny: \">\" }", "a.>") + ", allow_responses: true";
        let one = both("x", "a.>") + ", allow_responses: true";
        assert_eq!(found(&[("t1", &one), ("t2", &two)], ""), Vec::<String>::new(), "nobody of its own asks it");
        let asker = both("a.q", "x");
        let expected = "t1_asks>t2: any subject, as the reply subject of a request on `a.q`, which `t1` answers by \
                        `allow_responses`";
        assert_eq!(found(&[("t1", &answering), ("t1_asks", &asker), ("t2", &two)], ""), [expected]);
        let own = both("a.>", "a.>") + ", allow_responses: true";
        assert_eq!(found(&[("t1", &own), ("t2", &two)], "").len(), 1, "a user answers itself");
    }

    #[test]
    fn jetstream_the_server_and_imported_services_answer_to_any_subject() {
        let two = both("b.>", "b.>");
        let on = "jetstream: true";
        for (publish, entries, crosses) in [
            ("$JS.API.DIRECT.GET.S", on, true),
            ("$JS.API.DIRECT.GET.S", "", false),
            // The server checks it once more, as `$JS.API.INFO`.
            ("$JS.hub.API.INFO", on, false),
            ("a.>", on, false),
            ("$SYS.REQ.USER.INFO", "", true),
            ("$SYS.REQ.CLAIMS.UPDATE", "", false),
        ] {
            let one = both(&format!("\"{publish}\""), "a.>");
            let found = found(&[("t1", &one), ("t2", &two)], entries);
            assert_eq!(!found.is_empty(), crosses, "{publish} {entries}: {found:?}");
        }
    }

    #[test]
    fn mqtt_passes_on_subjects_of_the_server() {
        let found = |one: &str, two: &str, mqtt: &str| {
            let text = format!(
                "server_name: s\njetstream {{}}\n{mqtt}\naccounts {{ A {{ jetstream: true, users: [
                    {{ user: t1, allowed_connection_types: [STANDARD], permissions {{ {one} }} }},
                    {{ user: t2, allowed_connection_types: [MQTT], permissions {{ {two} }} }}] }} }}"
            );
            let system = system(&text);
            crossings(&system, &system.accounts[0], |user| &user.name[..2], 20).len()
        };
        let (own, on) = (both("d.>", "d.>"), "mqtt { port: 1883 }");
        assert_eq!(found(&both("a.>", "{ deny: [d.>, d] }"), &own, on), 1, "it hears them");
        assert_eq!(found(&both("\"$MQTT.msgs.>\"", "a.>"), &own, on), 1, "it forges them");
        assert_eq!(found(&both("a.>", "a.>"), &own, on), 0);
        assert_eq!(found(&both("a.>", "{ deny: [d.>, d] }"), &own, ""), 0, "without MQTT");
    }

    /// Measured with raw leaf nodes on nats-server 2.15.1.
    #[test]
    fn leaf_nodes_exchange_what_no_list_of_theirs_denies() {
        let found = |one: &str, two: &str, types: &str| {
            let text = format!(
                "leafnodes {{ listen: \"127.0.0.1:7422\" }}\naccounts {{ A {{ users: [
                    {{ user: t1, allowed_connection_types: [LEAFNODE], permissions {{ {one} }} }},
                    {{ user: t2, allowed_connection_types: [{types}], permissions {{ {two} }} }}] }} }}"
            );
            let system = system(&text);
            let found = crossings(&system, &system.accounts[0], |user| &user.name[..2], 20);
            found.iter().map(|c| format!("{}>{}", c.from.name, c.to.name)).collect::<Vec<_>>()
        };
        let (own, its) = (both("a.>", "a.>"), both("b.>", "b.>"));
        let denies = |side: &str| format!("{{ allow: {side}.>, deny: \"$MQTT.>\" }}");
        assert_eq!(found(&own, &its, "LEAFNODE"), ["t1>t2", "t2>t1"]);
        assert_eq!(found(&own, &its, "STANDARD"), [""; 0], "its list covers it there");
        assert_eq!(found(&own, &both("b.>", "[b.>, \"$MQTT.>\"]"), "STANDARD"), ["t1>t2"]);
        assert_eq!(found(&both(&denies("a"), &denies("a")), &its, "LEAFNODE"), [""; 0]);
        assert_eq!(found(&both(&denies("a"), "a.>"), &its, "LEAFNODE"), ["t2>t1"]);
    }

    #[test]
    fn a_reply_subject_reaches_a_service_that_the_list_does_not_name() {
        let found = |answers: &str| {
            let text = format!(
                "accounts {{
                   A {{ users: [{{ user: a, permissions {{ publish: none, subscribe: a.req {answers} }} }}], exports: [{{ service: a.req, accounts: [B] }}] }},
                   C {{ users: [{{ user: c, permissions {{ publish: none, subscribe: c.cmd }} }}], exports: [{{ service: c.cmd, accounts: [B] }}] }},
                   B {{ users: [{{ user: b1, permissions {{ publish: a.req, subscribe: x }} }}, {{ user: b2, permissions {{ publish: c.cmd, subscribe: y }} }}]
                       imports: [{{ service: {{ account: A, subject: a.req }} }}, {{ service: {{ account: C, subject: c.cmd }} }}] }} }}"
            );
            let system = system(&text);
            let found = past_lists(&system, system.account("B").expect("B"));
            found.iter().map(|p| format!("{} {}", p.user.name, p.import.local)).collect::<Vec<_>>()
        };
        assert_eq!(found(", allow_responses: true"), ["b1 c.cmd"]);
        assert_eq!(found(""), [""; 0], "nobody may answer");
    }

    #[test]
    fn who_may_make_streams_hears_everything_and_lets_every_message_be_acknowledged_anywhere() {
        let (one, two) = (both("a.>", "a.>"), both("b.>", "b.>"));
        let admin = both("\"$JS.API.STREAM.CREATE.*\"", "x");
        let users = [("t1", one.as_str()), ("t2", &two), ("t3", &admin)];
        let found = found(&users, "jetstream: true");
        for crossing in ["t1>t2: any subject, as the reply subject of a message on `a.>`", "t1>t3: any subject"] {
            assert!(found.iter().any(|text| text.starts_with(crossing)), "{crossing}: {found:?}");
        }
        assert!(super::tests::found(&users, "").is_empty(), "without JetStream");
    }

    #[test]
    fn a_mapping_can_make_one_users_subject_anothers() {
        let users = [("t1", both("[red.>, blue.>]", "red.>")), ("t2", both("blue.>", "blue.>"))];
        let users: Vec<(&str, &str)> = users.iter().map(|(name, list)| (*name, list.as_str())).collect();
        let one = [("t1", "publish: blue.x, subscribe: red.>"), ("t2", "publish: b, subscribe: blue.>")];
        assert_eq!(found(&users, ""), ["t1>t2: `blue.>`"]);
        assert_eq!(found(&one, "mappings { red.out: blue.x }"), ["t1>t2: `blue.x`"]);
        let apart = [("t1", "publish: red.>, subscribe: red.>"), ("t2", "publish: blue.>, subscribe: blue.>")];
        assert!(
            found(&apart, "mappings { red.out: blue.x }").is_empty(),
            "publishing is checked on the mapped subject"
        );
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

    #[test]
    fn no_more_crossings_are_looked_for_than_are_wanted() {
        let names: Vec<String> = (b'a'..=b'z').map(|letter| format!("t{}", char::from(letter))).collect();
        let open = both("\">\"", "\">\"");
        let users: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), open.as_str())).collect();
        assert_eq!(found(&users, "").len(), 20);
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
