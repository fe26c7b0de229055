//! The mechanisms of the server that publish or receive for a user without looking at its lists.

use super::super::reach::{self, Carried, Question, published};
use super::super::system::{Account, Import, ListenerKind, Responses, Side, System, User};
use super::answering::{Answering, answering};
use crate::audit::connecting;
use crate::diag::Span;
use crate::model::ShareKind;
use crate::subject::Subject;

/// A mechanism that publishes or receives for a user without looking at its permissions.
#[derive(Debug, Clone)]
pub struct Carrier {
    /// The message that it publishes or receives, as the end of a sentence.
    pub what: String,
    /// The location that permits it.
    pub place: Span,
    /// Whether it is an answer that comes in by a service import: then it does not become a message of a
    /// stream that others import, and reaches services under subjects of the server's choice.
    pub by_import: bool,
}

impl Carrier {
    /// The answer of a user of the same account to a request on `subject`.
    pub fn answer(answering: &User, responses: Responses, subject: &Subject) -> Self {
        let what = format!(
            "any subject, as the reply subject of a request on `{subject}`, which `{}` answers by `allow_responses`",
            answering.display_name()
        );
        Self { what, place: responses.span, by_import: false }
    }
}

/// Requests that every account may send to the server, which answers to any subject.
pub const SERVER_REQUESTS: [&str; 4] =
    ["$SYS.REQ.USER.INFO", "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.ACCOUNT.PING.STATZ", "$SYS.REQ.SERVER.PING.CONNZ"];

/// Requests that JetStream answers itself; all others of its API come back by a service import.
const DELIVERIES: [&str; 2] = ["$JS.API.DIRECT.GET.>", "$JS.API.CONSUMER.MSG.NEXT.>"];

/// Requests for a consumer, which delivers to any subject.
const CONSUMERS: [&str; 2] = ["$JS.API.CONSUMER.CREATE.>", "$JS.API.CONSUMER.DURABLE.CREATE.>"];

/// Spaces of the server, which no stream captures that acknowledges, with the exceptions.
const UNACKNOWLEDGED: [&str; 4] = ["$JS", "$JSC", "$NRG", "$SYS"];
const ACKNOWLEDGED: [&str; 2] = ["$JS.EVENT.>", "$SYS.ACCOUNT.>"];

/// Requests by which a stream captures or republishes any subject of its account.
const STREAM_CHANGES: [&str; 3] = ["$JS.API.STREAM.CREATE.*", "$JS.API.STREAM.UPDATE.*", "$JS.API.STREAM.RESTORE.*"];

/// How a leaf node sends or receives on `$MQTT.>`, which no list of allowed subjects covers for it: only a list
/// that denies it.
pub fn by_leaf_node(system: &System, account: &Account, user: &User, side: &Side) -> Option<Carrier> {
    let is_denied = side.deny.iter().any(|p| p.queue.is_none() && matches!(p.subject.as_str(), "$MQTT.>" | ">"));
    let what = "`$MQTT.>`, which a leaf node's lists of allowed subjects do not cover".to_owned();
    (system.may_be_leaf(account, user) && !is_denied).then(|| Carrier {
        what,
        place: user.place_of(side),
        by_import: false,
    })
}

/// Whether a user's lists let it publish, and receive, on some of the subjects.
pub fn allows(account: &Account, user: &User, subjects: &Subject) -> [bool; 2] {
    // A mapping may take them elsewhere.
    let publishes = published(account, user, Some(subjects)).iter().any(|message| message.within(subjects).is_some());
    [publishes, Carried::new(account, subjects).received_by(user).is_some()]
}

/// Whether a user of the account may make streams, which then acknowledge what they capture.
pub fn may_capture(account: &Account) -> bool {
    account.jetstream.is_some() && account.users.iter().any(|user| asks(account, user, &STREAM_CHANGES).is_some())
}

/// The users whose messages streams from earlier, which nobody may make any more, acknowledge to any reply subject if they
/// are there.
pub fn acknowledged(account: &Account) -> impl Iterator<Item = &User> {
    let has_earlier = account.jetstream.is_some() && !may_capture(account);
    let speaks = |user: &&User| user.chooses_replies() && !published(account, user, None).is_empty();
    account.users.iter().filter(move |_| has_earlier).filter(speaks)
}

/// How a user has a message published to a subject of its choice, by an answer to its own request or by
/// a user that answers it. `captures`: whether streams of the account may capture what it publishes.
pub fn past_publish_list(system: &System, account: &Account, user: &User, captures: bool) -> Option<Carrier> {
    match speaks_anywhere(system, account, user, captures) {
        Some(carrier) if !carrier.by_import => Some(carrier),
        other => answered(system, account, user).or(other),
    }
}

/// Whether users answer requests of a user, with what they like, on a subject of its choice. What the server answers is
/// no request to JetStream.
pub fn is_answered_by_users(system: &System, account: &Account, user: &User) -> bool {
    let mut services = account.services().filter(|i| !matches!(i.subject.first_token(), "$JS" | "$SYS"));
    let asks = |import: &Import| !published(account, user, Some(&import.local)).is_empty();
    services.any(|import| asks(import) && answering(system, account, import).by_users)
        || answered(system, account, user).is_some()
}

/// The answer of a user of the account to requests of `sender`, which goes wherever they say.
fn answered(system: &System, account: &Account, sender: &User) -> Option<Carrier> {
    if !sender.chooses_replies() {
        return None;
    }
    let answering = account.users.iter().filter_map(|user| Some((user, user.permissions.responses?)));
    answering.into_iter().find_map(|(user, responses)| {
        let question = Question { from: (account, sender), to: (account, user), subject: None };
        let subject = reach::paths(system, question).paths.into_iter().next()?.subject;
        Some(Carrier::answer(user, responses, &subject))
    })
}

/// The first of the subjects that a user reaches by what it publishes, after mappings: what it publishes then.
pub fn asks(account: &Account, user: &User, subjects: &[&str]) -> Option<Subject> {
    first_within(&published(account, user, None), subjects)
}

/// The same of messages that are known already.
fn first_within(messages: &[Carried<'_>], subjects: &[&str]) -> Option<Subject> {
    let wanted = subjects.iter().filter_map(|text| Subject::as_the_server_reads(text));
    wanted.filter_map(|wanted| messages.iter().find_map(|m| Some(m.within(&wanted)?.published.pattern()))).next()
}

/// How a user has a message published to a subject of its choice, if a request of its own that
/// is answered does that. `captures`: whether streams of the account may capture what it publishes.
pub fn speaks_anywhere(system: &System, account: &Account, user: &User, captures: bool) -> Option<Carrier> {
    let place = user.place_of(&user.permissions.publish);
    let by = |what: String, by_import: bool| {
        Some(Carrier { what: format!("any subject, as the reply subject of {what}"), place, by_import })
    };
    let messages = published(account, user, None);
    let asks = |subjects: &[&str]| first_within(&messages, subjects);
    let has_jetstream = account.jetstream.is_some();
    if has_jetstream && let Some(request) = asks(&CONSUMERS) {
        let what = format!("any subject, as the deliver subject of a consumer that it may make by `{request}`");
        return Some(Carrier { what, place, by_import: false });
    }
    if !user.chooses_replies() {
        return None;
    }
    if has_jetstream && let Some(request) = asks(&DELIVERIES) {
        return by(format!("`{request}`, which JetStream answers"), false);
    }
    if uses_mqtt(system, account)
        && let Some(message) = asks(&["$MQTT.>"])
    {
        return by(format!("a message on `{message}`, which MQTT's streams acknowledge"), false);
    }
    let is_acknowledged = |message: &&Carried<'_>| {
        let subject = message.subject();
        let within = |text: &&str| Subject::as_the_server_reads(text).is_some_and(|space| space.overlaps(&subject));
        !UNACKNOWLEDGED.contains(&subject.first_token()) || ACKNOWLEDGED.iter().any(within)
    };
    if captures && let Some(message) = messages.iter().find(is_acknowledged) {
        let subject = message.published.pattern();
        return by(format!("a message on `{subject}`, once a stream acknowledges it"), false);
    }
    if has_jetstream && let Some(request) = asks(&["$JS.API.>"]) {
        return by(format!("`{request}`, which JetStream answers"), true);
    }
    let local = |import: &Import| published(account, user, Some(&import.local)).first().map(|p| p.published.pattern());
    for import in account.services() {
        let Some(request) = local(import) else { continue };
        let Answering { by_users, by_streams_of, .. } = answering(system, account, import);
        match by_streams_of {
            _ if by_users => return by(format!("a request on `{request}`, which `{}` answers", import.from.0), true),
            Some(owner) => {
                return by(
                    format!("a request on `{request}`, once a stream of `{}` acknowledges it", owner.name),
                    true,
                );
            }
            None => {}
        }
    }
    let request = asks(&SERVER_REQUESTS).filter(|_| !system.server.no_system_account)?;
    by(format!("`{request}`, which the server answers"), true)
}

/// Whether a user may have JetStream deliver messages to a subject of its choice.
pub fn delivers_anywhere(account: &Account, user: &User) -> bool {
    let [create, create_durable] = CONSUMERS;
    account.jetstream.is_some()
        // `+NXT` on the subject of an acknowledgement asks for the next message as well.
        && asks(account, user, &[create, create_durable, "$JS.API.CONSUMER.MSG.NEXT.>", "$JS.ACK.>"]).is_some()
}

/// Whether a user may ask the server itself, which answers to any subject.
pub fn asks_the_server(system: &System, account: &Account, user: &User) -> bool {
    !system.server.no_system_account && asks(account, user, &SERVER_REQUESTS).is_some()
}

/// Whether a user may answer requests of other accounts.
pub fn answers(account: &Account, user: &User) -> bool {
    user.permissions.responses.is_some() || asks(account, user, &["_R_.>"]).is_some()
}

/// Whether the server keeps streams for MQTT in the account.
pub fn uses_mqtt(system: &System, account: &Account) -> bool {
    system.server.listener(ListenerKind::Mqtt).is_some()
        && account.jetstream.is_some()
        && account.users.iter().any(|user| user.may_use(ListenerKind::Mqtt))
}

/// How a user receives what others publish by MQTT: it passes on `$MQTT.msgs.>` and `$MQTT.rmsgs.>`.
pub fn hears_mqtt(system: &System, account: &Account, user: &User) -> Option<Carrier> {
    // By MQTT nobody subscribes to them.
    let others = connecting::types_of(system, account, user).iter().any(|kind| !kind.name.starts_with("MQTT"));
    let mqtt = Subject::as_the_server_reads("$MQTT.>").filter(|_| uses_mqtt(system, account) && others)?;
    let subject = Carried::new(account, &mqtt).received_by(user)?;
    let place = user.place_of(&user.permissions.subscribe);
    Some(Carrier { what: format!("what it publishes by MQTT, on `{subject}`"), place, by_import: false })
}

/// The requests of other accounts to the services of an account, as its users hear them.
pub fn requests_of_others<'w>(system: &'w System, account: &'w Account) -> Vec<Carried<'w>> {
    let others = system.accounts.iter().filter(|other| other.name != account.name);
    let imports = others.flat_map(Account::services).filter(|import| import.from.0 == account.name);
    imports.flat_map(|import| requests_on(account, import)).collect()
}

/// The requests on an import as users of the exporter hear them: after its mappings.
pub fn requests_on<'w>(exporter: &'w Account, import: &Import) -> Vec<Carried<'w>> {
    let subjects = reach::what_becomes(exporter, &import.subject);
    subjects.iter().map(|subject| Carried::new(exporter, subject)).collect()
}

/// The messages within `wanted` that a user may publish or have published, by whatever it is: all of them if something else
/// than its lists decides.
pub fn may_have_published<'w>(
    system: &System,
    account: &'w Account,
    user: &'w User,
    wanted: &Subject,
    captures: bool,
) -> Vec<Carried<'w>> {
    match past_publish_list(system, account, user, captures) {
        Some(carrier) if !carrier.by_import => vec![Carried::new(account, wanted)],
        _ => reach::sent(account, user, Some(wanted)),
    }
}

/// The requests that members of an account may send by an import, before the exporter's mappings. All that it imports,
/// where something else than what its users may publish reaches it.
pub fn may_be_asked<'w>(
    system: &'w System,
    account: &'w Account,
    import: &Import,
    exporter: &'w Account,
) -> Vec<Carried<'w>> {
    let passes_on =
        || account.exports.iter().any(|e| e.kind == ShareKind::Service && e.subject.overlaps(&import.local));
    match !import.subject.has_wildcard() || passes_on() {
        true => vec![Carried::new(exporter, &import.subject)],
        false => asked_by_users(system, account, import, exporter),
    }
}

/// The requests that an account's users may send by an import, before the exporter's mappings. All that it imports, where the
/// file does not say who they are.
pub fn asked_by_users<'w>(
    system: &'w System,
    account: &'w Account,
    import: &Import,
    exporter: &'w Account,
) -> Vec<Carried<'w>> {
    if !users_decide(system, account) {
        return vec![Carried::new(exporter, &import.subject)];
    }
    let captures = may_capture(account);
    account.users.iter().flat_map(|user| asked_by(system, (account, user, captures), import, exporter)).collect()
}

/// Whether what an account's users may do says all that its members do: the file says who they are.
pub fn users_decide(system: &System, account: &Account) -> bool {
    let is_open = system.operator.is_some() || system.callout.is_some() || account.users.is_empty();
    !is_open && system.server.remote_of(&account.name).is_none()
}

/// The requests that a user may send by an import of its account, before the exporter's mappings. `captures`: whether streams
/// of the account may capture what it publishes.
pub fn asked_by<'w>(
    system: &'w System,
    (account, user, captures): (&'w Account, &'w User, bool),
    import: &Import,
    exporter: &'w Account,
) -> Vec<Carried<'w>> {
    // An answer comes to a service of one subject with any reply subject, and to one with wildcards on a random one.
    let is_answered = || !import.subject.has_wildcard() && past_publish_list(system, account, user, captures).is_some();
    let messages = match is_answered() {
        true => vec![Carried::new(account, &import.local)],
        false => may_have_published(system, account, user, &import.local, captures),
    };
    messages.iter().filter_map(|message| reach::request(message, import, exporter)).collect()
}

/// How the answers of a user that may answer pass through its account on `_R_.>`: those to requests of other
/// accounts.
pub fn answers_others(requests: &[Carried<'_>], user: &User) -> Option<Carrier> {
    let place = user.permissions.responses?.span;
    let asked = requests.iter().find_map(|request| request.received_by(user))?;
    let what = format!("what it answers to requests of other accounts on `{asked}`, on `_R_.>`");
    Some(Carrier { what, place, by_import: false })
}

/// A request that reads a stream.
struct ReadRequest {
    subject: &'static str,
    /// Number of tokens before the stream's name.
    before: usize,
    /// Number of tokens from there to the subject that it reads. `None`: it names none, and reads all.
    filter: Option<usize>,
    /// Whether a consumer decides what it reads.
    by_consumer: bool,
}

const READS: [ReadRequest; 7] = [
    ReadRequest { subject: "$JS.API.DIRECT.GET.>", before: 4, filter: Some(1), by_consumer: false },
    ReadRequest { subject: "$JS.API.STREAM.MSG.GET.*", before: 5, filter: None, by_consumer: false },
    ReadRequest { subject: "$JS.API.STREAM.SNAPSHOT.*", before: 5, filter: None, by_consumer: false },
    ReadRequest { subject: "$JS.API.CONSUMER.CREATE.>", before: 4, filter: Some(2), by_consumer: false },
    ReadRequest { subject: "$JS.API.CONSUMER.DURABLE.CREATE.>", before: 5, filter: None, by_consumer: false },
    ReadRequest { subject: "$JS.API.CONSUMER.MSG.NEXT.>", before: 5, filter: None, by_consumer: true },
    // An acknowledgement may ask for the next message.
    ReadRequest { subject: "$JS.ACK.>", before: 2, filter: None, by_consumer: true },
];

/// A read of a stream that a user may ask for.
pub struct StreamRead<'w> {
    /// The account of the stream: the user's own, or the owner of a service that it asks.
    pub owner: &'w Account,
    /// The name of the stream. `None`: any.
    pub stream: Option<String>,
    /// The request by which it does.
    pub request: Subject,
    /// The location that permits it.
    pub place: Span,
    /// The subjects that it reads for certain, if the stream is there: those of a bucket or an object store, whose
    /// names say what they capture.
    pub certain: Vec<Subject>,
    /// The subjects that it reads if the stream captures them, or the consumer selects them.
    pub possible: Option<Subject>,
}

impl<'w> StreamRead<'w> {
    /// `stream`: `None` for any. `filter`: the subjects that the request is about.
    fn new(
        (owner, request, place): (&'w Account, Subject, Span),
        stream: Option<&str>,
        filter: Subject,
        by_consumer: bool,
    ) -> Self {
        let every_bucket = || ["$KV.>", "$O.>"].iter().filter_map(|text| Subject::as_the_server_reads(text)).collect();
        let bucket = stream.map(subjects_of_bucket);
        let captured: Vec<Subject> =
            bucket.as_ref().map_or_else(every_bucket, |bucket| bucket.iter().cloned().collect());
        let both = captured.into_iter().filter(|bucket| bucket.overlaps(&filter));
        let certain: Vec<Subject> = both.map(|b| if filter.contains(&b) { b } else { filter.clone() }).collect();
        let is_bucket = bucket.flatten().is_some();
        let (certain, possible) = match (is_bucket, by_consumer) {
            (true, true) => (Vec::new(), certain.first().cloned()),
            (true, false) => (certain, None),
            (false, true) => (Vec::new(), Some(filter)),
            (false, false) => (certain, Some(filter)),
        };
        Self { owner, stream: stream.map(str::to_owned), request, place, certain, possible }
    }
}

/// The subjects that a stream captures because it is a bucket or an object store. `None`: it is neither, by its name.
pub fn subjects_of_bucket(stream: &str) -> Option<Subject> {
    let of = |prefix: &str, space: &str| stream.strip_prefix(prefix).map(|bucket| format!("{space}.{bucket}.>"));
    Subject::as_the_server_reads(&of("KV_", "$KV").or_else(|| of("OBJ_", "$O"))?)
}

/// The reads that a user may ask for, of streams of its account and of those whose services it asks.
pub fn stream_reads<'w>(system: &'w System, account: &'w Account, user: &'w User) -> Vec<StreamRead<'w>> {
    let asks = account.services().next().is_some();
    if account.jetstream.is_none() && !asks || !user.permissions.subscribe.hears_anything() {
        return Vec::new();
    }
    let mut messages = published(account, user, None);
    if asks {
        let mut followed = Vec::new();
        reach::follow(system, messages, |carried| followed.push(carried.clone()));
        messages = followed;
    }
    let place = user.place_of(&user.permissions.publish);
    let mut found = Vec::new();
    for read in READS {
        let Some(request) = Subject::as_the_server_reads(read.subject) else { continue };
        let has_jetstream = messages.iter().filter(|message| message.account.jetstream.is_some());
        for message in has_jetstream.filter_map(|message| message.within(&request)) {
            let asked = message.subject();
            let mut tokens = asked.tokens().skip(read.before);
            let stream = tokens.next().filter(|token| !matches!(*token, "*" | ">"));
            let filter = read.filter.map(|skip| tokens.skip(skip - 1).collect::<Vec<_>>().join("."));
            let filter = filter.filter(|filter| !filter.is_empty()).and_then(|f| Subject::as_the_server_reads(&f));
            let filter = filter.map_or_else(Subject::everything, widened);
            let asked_of = (message.account, message.published.pattern(), place);
            found.push(StreamRead::new(asked_of, stream, filter, read.by_consumer));
        }
    }
    found
}

/// The widest filter that a request may name: a `*` at the end admits a `>`, which JetStream takes for a wildcard.
pub fn widened(filter: Subject) -> Subject {
    let text = filter.as_str().strip_suffix(".*").map(|before| format!("{before}.>"));
    text.and_then(|text| Subject::as_the_server_reads(&text)).unwrap_or(filter)
}

/// How a user receives messages on any subject, by streams.
pub fn hears_everything(account: &Account, user: &User) -> Option<Carrier> {
    account.jetstream.as_ref()?;
    let request = asks(account, user, &STREAM_CHANGES)?;
    let what = format!("any subject, by a stream that captures it: `{}` may publish `{request}`", user.display_name());
    Some(Carrier { what, place: user.place_of(&user.permissions.publish), by_import: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::system;

    #[test]
    fn a_request_reads_what_the_name_of_a_bucket_and_its_filter_say() {
        for (publish, certain, possible) in [
            ("$JS.API.DIRECT.GET.KV_cfg", &["$KV.cfg.>"][..], None),
            ("$JS.API.DIRECT.GET.KV_cfg.$KV.cfg.t1.>", &["$KV.cfg.t1.>"], None),
            ("$JS.API.DIRECT.GET.KV_cfg.$KV.cfg.*", &["$KV.cfg.>"], None),
            ("$JS.API.DIRECT.GET.KV_cfg.$KV.other.>", &[], None),
            ("$JS.API.STREAM.MSG.GET.OBJ_files", &["$O.files.>"], None),
            ("$JS.API.CONSUMER.CREATE.KV_cfg.*.$KV.cfg.t1.>", &["$KV.cfg.t1.>"], None),
            ("$JS.API.CONSUMER.CREATE.KV_cfg.me", &["$KV.cfg.>"], None),
            ("$JS.API.CONSUMER.MSG.NEXT.KV_cfg.me", &[], Some("$KV.cfg.>")),
            ("$JS.API.DIRECT.GET.ORDERS", &[], Some(">")),
            ("$JS.API.DIRECT.GET.ORDERS.orders.t1.>", &[], Some("orders.t1.>")),
            ("$JS.API.DIRECT.GET.>", &["$KV.>", "$O.>"], Some(">")),
            ("$JS.API.STREAM.INFO.KV_cfg", &[], None),
        ] {
            let system = system(&format!(
                "jetstream {{}}\naccounts {{ A {{ jetstream: enabled, users: [{{ user: u, permissions {{ publish: \"{publish}\", subscribe: i.> }} }}] }} }}"
            ));
            let reads = stream_reads(&system, &system.accounts[0], &system.accounts[0].users[0]);
            let texts: Vec<&str> = reads.iter().flat_map(|read| &read.certain).map(Subject::as_str).collect();
            let found = reads.iter().find_map(|read| read.possible.as_ref()).map(Subject::as_str);
            assert_eq!((texts.as_slice(), found), (certain, possible), "{publish}");
        }
    }
}
