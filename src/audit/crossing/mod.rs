//! Whether users in one account reach each other: directly, or past their own lists when something
//! else carries a message for them. Inside an account the server checks neither the reply
//! subject of a message nor what JetStream is asked for.

mod answering;
mod carriers;
mod paths;
mod requests;
mod shares;

use std::collections::{HashMap, HashSet};

use super::reach::{Carried, follow, published, sent};
use super::system::{Account, Import, ListenerKind, System, User};
use crate::diag::Span;
use crate::subject::{Subject, SubjectIndex};
use carriers::{
    Carrier, allows, answers_others, by_leaf_node, hears_mqtt, past_publish_list, requests_of_others, speaks_anywhere,
};

pub use answering::answering;
pub use carriers::{
    StreamRead, asked_by, asked_by_users, asks, asks_the_server, delivers_anywhere, hears_everything,
    is_answered_by_users, may_capture, may_have_published, requests_on, stream_reads, subjects_of_bucket, users_decide,
    uses_mqtt, widened,
};
pub use paths::{carried_to_each, may_answer, may_answer_third, may_be_led, may_be_read, may_deliver, would_be_read};
pub use requests::{Asked, asked_by_streams, asked_of_each, heard, passed};
pub use shares::{Parties, Share, Taken, is_same_user};

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
    /// The subjects of buckets that it may read, each with the request.
    reads: Vec<(Subject, Subject)>,
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

impl Member<'_> {
    /// How it reads a message out of a bucket, as the end of a sentence. `None`: it does not.
    fn reads(&self, carried: &Carried<'_>) -> Option<String> {
        self.reads.iter().find_map(|(bucket, request)| {
            let subject = carried.within(bucket)?.subject();
            Some(format!("`{subject}`, which it reads by `{request}`"))
        })
    }
}

/// The subjects of the account's buckets that a user may read, each with the request.
fn buckets(system: &System, account: &Account, user: &User) -> Vec<(Subject, Subject)> {
    let reads = stream_reads(system, account, user).into_iter().filter(|read| read.owner.name == account.name);
    reads.flat_map(|read| read.certain.into_iter().map(move |s| (s, read.request.clone()))).collect()
}

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
        if user.is_leaf {
            index.insert(&Subject::everything(), i);
        }
        user.permissions.subscribe.heard().iter().for_each(|heard| index.insert(&heard.subject, i));
    }
    let reads: Vec<Vec<(Subject, Subject)>> = account.users.iter().map(|user| buckets(system, account, user)).collect();
    for (i, (subject, _)) in reads.iter().enumerate().flat_map(|(i, reads)| reads.iter().map(move |read| (i, read))) {
        index.insert(subject, i);
    }
    let captures = may_capture(account);
    let requests = requests_of_others(system, account);
    let answers = Subject::as_the_server_reads("_R_.>").map(|subject| Carried::new(account, &subject));
    let mqtt = Subject::as_the_server_reads("$MQTT.>");
    let mut search = Search { account, members: Vec::new(), found: Vec::new(), pairs: HashSet::new(), most };
    for ((user, tenant), reads) in account.users.iter().zip(of).zip(reads) {
        search.members.push(Member {
            user,
            tenant,
            speaks: !published(account, user, None).is_empty(),
            hears: user.is_leaf || user.permissions.subscribe.hears_anything(),
            speaks_anywhere: speaks_anywhere(system, account, user, captures),
            hears_everything: hears_everything(account, user),
            reads,
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
                for j in index.overlapping(&carried.subject()) {
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
    /// tenants differ, and a request if that one answers it.
    fn arrives(&mut self, from: usize, to: usize, carried: &Carried<'_>) {
        let (sender, receiver) = (&self.members[from], &self.members[to]);
        let is_led = sender.speaks_anywhere.is_none() && sender.user.chooses_replies();
        let answers = receiver.user.permissions.responses.filter(|_| is_led);
        let pair = (sender.tenant, receiver.tenant);
        let is_new_pair = pair.0 != pair.1 && !self.pairs.contains(&pair) && !self.is_full();
        if !is_new_pair && answers.is_none() {
            return;
        }
        let Some(subject) = carried.received_by(receiver.user) else {
            let what = receiver.reads(carried).filter(|_| is_new_pair);
            if let Some(what) = what {
                let (from, to, place) = (sender.user, receiver.user, sender.user.span);
                self.found.push(Crossing { from, to, what, place });
                self.pairs.insert(pair);
            }
            return;
        };
        if is_new_pair {
            self.found.push(Crossing {
                from: sender.user,
                to: receiver.user,
                what: format!("`{subject}`"),
                place: sender.user.span,
            });
            self.pairs.insert(pair);
        }
        if let Some(responses) = answers {
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

    /// Measured on nats-server 2.15.1: by a second CONNECT with `import` and `export` a leaf node replaced its own lists; with one
    /// CONNECT, or as a client, it did not. Past its lists it sends acknowledgements, answers and what a mapping makes as well.
    #[test]
    fn lists_of_a_leaf_node_mean_nothing() {
        let found = |types: &str| {
            let text = format!(
                "leafnodes {{ port: 7422 }}\naccounts {{ A {{ users: [
                 {{ user: t1, allowed_connection_types: [{types}], permissions {{ publish: {{ allow: \"t1.>\", deny: \"$MQTT.>\" }}, subscribe: {{ allow: \"t1.>\", deny: \"$MQTT.>\" }} }} }},
                 {{ user: t2, allowed_connection_types: [STANDARD], permissions {{ publish: \"t2.>\", subscribe: \"t2.>\" }} }}] }} }}"
            );
            let system = system(&text);
            let crossings = crossings(&system, &system.accounts[0], |user| &user.name[..2], 20);
            let mut told: Vec<String> =
                crossings.iter().map(|c| format!("{}>{}: {}", c.from.name, c.to.name, c.what)).collect();
            told.sort();
            told
        };
        for types in ["LEAFNODE", "STANDARD, LEAFNODE"] {
            assert_eq!(found(types), ["t1>t2: `t2.>`", "t2>t1: `t2.>`"], "{types}");
        }
        assert_eq!(found("STANDARD"), [""; 0], "a client");
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
    fn a_bucket_is_read_past_the_list_of_what_may_be_subscribed_to() {
        let one = both("\"$KV.cfg.t1.>\"", "_INBOX_1.>");
        let crossing = |publish: &str| {
            let two = both(&format!("\"{publish}\""), "_INBOX_2.>");
            let found = found(&[("t1", &one), ("t2", &two)], "jetstream: true");
            found.into_iter().find(|text| text.starts_with("t1>t2"))
        };
        let expected = "t1>t2: `$KV.cfg.t1.>`, which it reads by `$JS.API.DIRECT.GET.KV_cfg`";
        assert_eq!(crossing("$JS.API.DIRECT.GET.KV_cfg").as_deref(), Some(expected));
        assert_eq!(crossing("$JS.API.DIRECT.GET.KV_cfg.$KV.cfg.t2.>"), None, "its own keys");
        assert_eq!(crossing("$JS.API.DIRECT.GET.KV_other"), None);
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
    fn no_more_crossings_are_looked_for_than_are_wanted() {
        let names: Vec<String> = (b'a'..=b'z').map(|letter| format!("t{}", char::from(letter))).collect();
        let open = both("\">\"", "\">\"");
        let users: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), open.as_str())).collect();
        assert_eq!(found(&users, "").len(), 20);
    }
}
