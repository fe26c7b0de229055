//! Importers that can join the exporter's queue groups.

use std::collections::{BTreeMap, HashSet};

use super::{Rule, decided_elsewhere, whose};
use crate::audit::reach::{heard_as, sent_as, what_becomes};
use crate::audit::system::{Account, Export, Import, ListenerKind, Remote, System, User};
use crate::audit::tenants::Tenants;
use crate::diag::{Diagnostic, Span};
use crate::model::ShareKind;
use crate::subject::{Subject, SubjectIndex};

pub const RULE: Rule = Rule {
    id: "queue-stealing",
    proves: "importers receive copies and take no message from the exporter's workers",
    why: "A queue subscription on an imported stream joins the queue of that name in the exporter's account. Users of several tenants in one account join each other's. Of leaf nodes the server checks no queue, and they get what workers on other leaf nodes, or behind a gateway, would",
    mend: "deny queue subscriptions on it to every user of the importer: `deny: [\"subject >\"]`",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in &system.accounts {
        among_own(system, tenants, account, out);
        out.extend(among_leaf_nodes(tenants, account));
        for import in account
            .imports
            .iter()
            .filter(|i| i.kind == ShareKind::Stream && tenants.are_apart(&i.from.0, &account.name))
        {
            let hears = |remote: &&Remote| !remote.kept_back.iter().any(|kept| kept.contains(&import.local));
            let remote = system.server.remotes().filter(|remote| remote.account == account.name).find(hears);
            if let Some((remote, (victim, place))) = remote.zip(far_workers(system, account, import)) {
                let message = format!(
                    "whoever is behind the leaf node of `{}` can take `{}` from workers of `{}` {place}",
                    account.name, import.subject, victim.name
                );
                out.push(RULE.error(import.span, message).related(remote.span, "may join any queue on it"));
            }
            // Of its own connections the server prefers clients to leaf nodes.
            let robbed = |user: &&User| {
                if !user.joins_queues() {
                    return None;
                }
                let queues = user.permissions.subscribe.queues_on(&import.local, &Subject::everything());
                let meets = |worker: &Worker<'_>| worker.shares_queue_with(user, import, &queues);
                let is_others = |worker: &Worker<'_>| worker.tenant(tenants) != Some(tenants.of(account, user));
                let worker = workers(system, tenants, account, import)
                    .find(|worker| !queues.is_empty() && is_others(worker) && meets(worker))?;
                Some(worker)
            };
            let Some((user, victim)) = account.users.iter().find_map(|user| Some((user, robbed(&user)?))) else {
                out.extend(by_leaf_node(system, account, import));
                continue;
            };
            let message = format!(
                "`{}/{}` can take `{}` from {}",
                account.name,
                user.display_name(),
                import.subject,
                victim.said(&import.from.0)
            );
            let hint = match system.operator {
                None if !user.permissions.subscribe.hears_without_queue(&import.local) => {
                    "let it join queues of other names than the workers' only".to_owned()
                }
                None => {
                    format!("deny queues on it to every user of `{}`: `deny: [\"{} >\"]`", account.name, import.local)
                }
                Some(_) => format!(
                    "whoever signs users of `{}` decides that: share with accounts that may take from your workers",
                    account.name
                ),
            };
            out.push(RULE.error(import.span, message).related(user.span, "may join any queue on it").hint(hint));
        }
    }
}

/// Messages that a user of an account with several tenants may take in queues.
struct Taken<'w> {
    user: &'w User,
    /// The import by which it comes. `None`: other accounts ask for it.
    import: Option<&'w Import>,
    /// The share.
    span: Span,
    /// The subject in the account that shares it.
    sent: Subject,
    /// The queues.
    queue: Subject,
}

/// An import, or none for what others ask, with the subject in the account and its place.
type Source<'s> = (Option<&'s Import>, Subject, Span);

/// Reports users of an account with several tenants who take from each other what other accounts send to it.
fn among_own(system: &System, tenants: &Tenants, account: &Account, out: &mut Vec<Diagnostic>) {
    if !tenants.are_mixed(account) {
        return;
    }
    let streams = account.imports.iter().filter(|i| i.kind == ShareKind::Stream && i.from.0 != account.name);
    let mut sources: BTreeMap<&str, Vec<Source<'_>>> = BTreeMap::new();
    for import in streams {
        sources.entry(&import.from.0).or_default().push((Some(import), import.local.clone(), import.span));
    }
    let is_asked = |export: &&Export| {
        export.kind == ShareKind::Service
            && system.imports_of(account, export).any(|(other, _)| other.name != account.name)
    };
    for export in account.exports.iter().filter(is_asked) {
        let heard = what_becomes(account, &export.subject).into_iter().map(|subject| (None, subject, export.span));
        sources.entry(&account.name).or_default().extend(heard);
    }
    for shares in sources.values() {
        let taken = shares.iter().flat_map(|(import, local, span)| {
            account.users.iter().flat_map(move |user| taken_by(user, *import, local, *span))
        });
        // Of users with the same lists one is enough.
        let mut known = HashSet::new();
        let lists = |user: &User| {
            let denied = user.permissions.subscribe.deny.iter();
            denied.map(|p| (p.subject.to_string(), p.queue.as_ref().map(Subject::to_string))).collect::<Vec<_>>()
        };
        let is_new = |taken: &Taken<'_>| {
            known.insert((
                tenants.of(account, taken.user),
                taken.sent.to_string(),
                taken.queue.to_string(),
                lists(taken.user),
                taken.span,
            ))
        };
        let taken: Vec<Taken<'_>> = taken.filter(is_new).collect();
        let mut index: SubjectIndex<&Taken<'_>> = SubjectIndex::default();
        taken.iter().for_each(|taken| index.insert(&taken.sent, taken));
        let mut told = HashSet::new();
        for one in &taken {
            let others = index.overlapping(&one.sent);
            let is_robbed = |other: &&Taken<'_>| {
                tenants.of(account, other.user) != tenants.of(account, one.user) && is_same_queue(account, one, other)
            };
            let Some(other) = others.into_iter().copied().find(is_robbed).filter(|_| told.insert(one.span)) else {
                continue;
            };
            let said = |user: &User| whose(tenants, account, user);
            let message = format!("{} can take `{}` from {}", said(one.user), one.sent, said(other.user));
            let local = one.import.map_or(&one.sent, |import| &import.local);
            let hint = format!(
                "deny queues on it to both: `deny: [\"{local} >\"]`; or let each join queues of its own names only"
            );
            let finding = RULE.error(one.span, message).hint(hint);
            out.push(finding.related(one.user.span, "this user").related(other.user.span, "and this one"));
        }
    }
}

/// The finding that leaf nodes of two tenants in one account take messages from each other's workers: the server lets a leaf
/// node subscribe to `> queue` and `*.x queue` whatever its lists, chooses it as a member, and drops the message (measured on
/// nats-server 2.15.1: half of the jobs). Workers that are clients get all.
fn among_leaf_nodes(tenants: &Tenants, account: &Account) -> Option<Diagnostic> {
    if !tenants.are_mixed(account) {
        return None;
    }
    let mut leaves = account.users.iter().filter(|user| user.is_leaf && user.permissions.subscribe.hears_anything());
    let first = leaves.next()?;
    let second = leaves.find(|user| tenants.of(account, user) != tenants.of(account, first))?;
    let [one, other] = [first, second].map(|user| whose(tenants, account, user));
    let message = format!(
        "{one} and {other}, as leaf nodes, can take messages from each other's workers, which nobody gets then"
    );
    let finding = RULE.error(first.span, message).related(second.span, "the other one");
    Some(finding.hint("give each tenant an account of its own: of leaf nodes the server checks no queue"))
}

/// The messages of a share, which arrive on `local`, that a user takes in queues.
fn taken_by<'w>(user: &'w User, import: Option<&'w Import>, local: &Subject, span: Span) -> Vec<Taken<'w>> {
    if !user.joins_queues() {
        return Vec::new();
    }
    let received = user.permissions.subscribe.received_in_queues(local, &Subject::everything()).into_iter();
    let taken = received.filter_map(|(cut, queue)| {
        let sent = match import {
            // Subscribers under a local name with wildcards hear more than the import renames: all of it counts.
            Some(import) if import.opens_its_local_name() => import.subject.clone(),
            Some(import) => sent_as(import, &cut)?,
            None => cut,
        };
        Some(Taken { user, import, span, sent, queue })
    });
    taken.collect()
}

/// Whether one of two users can be in a queue with the other, and take what that one receives.
fn is_same_queue(account: &Account, one: &Taken<'_>, other: &Taken<'_>) -> bool {
    let side = &one.user.permissions.subscribe;
    match one.import {
        Some(import) => {
            let queues = side.queues_on(&import.local, &Subject::everything());
            WorkingUser { account, user: other.user, import: other.import }.shares_queue_with(one.user, import, &queues)
        }
        None => {
            let both = other.user.permissions.subscribe.received_in_queues(&one.sent, &one.queue);
            both.iter().any(|(subject, queue)| !side.queues_on(subject, queue).is_empty())
        }
    }
}

/// The finding that a user joins the queue as a leaf node, of which the server checks no queue. It gets messages only
/// where the worker is on another leaf node, or in another cluster: of its own connections the server prefers clients.
fn by_leaf_node(system: &System, account: &Account, import: &Import) -> Option<Diagnostic> {
    let mut users = account.users.iter();
    let user = users.find(|user| may_hear_as_leaf(system, account, user, &import.local));
    let Some((user, (victim, place))) = user.zip(far_workers(system, account, import)) else {
        return on_other_servers(system, account, import);
    };
    let message = format!(
        "`{}/{}`, as a leaf node, can take `{}` from workers of `{}` {place}, whatever its lists deny",
        account.name,
        user.display_name(),
        import.subject,
        victim.name
    );
    let finding = RULE.error(import.span, message).related(user.span, "may connect as a leaf node");
    Some(finding.hint(if user.is_leaf_login {
        "have the workers connect as clients, or import to an account without leaf nodes: of those the server checks no queue"
    } else {
        "`allowed_connection_types: [STANDARD]`, or `max_leafnodes: 0` in the account's limits"
    }))
}

/// The finding that one of two accounts, of which one has a leaf node here and the other one may have one on another server of the
/// same system, takes from the other's workers. `None`: they cannot. Measured on nats-server 2.15.1 with two servers in a cluster:
/// half of what the worker would get, whichever publishes.
fn on_other_servers(system: &System, account: &Account, import: &Import) -> Option<Diagnostic> {
    if !system.server.is_one_of_several() || !account.takes_leaf_nodes() {
        return None;
    }
    let has_leaf = |account: &Account| system.leaf_of(account).is_some();
    let is_one_here = |other: &Account| has_leaf(account) || has_leaf(other);
    let may_work = |other: &Account, _: &Subject| other.takes_leaf_nodes() && is_one_here(other);
    let victim = workers_of_account(system, account, import, may_work)?;
    Some(decided_elsewhere::stolen_on_other_servers(system, import, account, victim))
}

fn may_hear_as_leaf(system: &System, account: &Account, user: &User, subject: &Subject) -> bool {
    system.may_be_leaf(account, user) && user.permissions.subscribe.touches(subject)
}

/// The account whose workers on what an account imports may be on leaf nodes, or behind a gateway, and which of it: the exporter, or
/// another importer. `None`: there is none. A leaf node near the publisher gets what a worker behind a gateway would.
fn far_workers<'s>(system: &'s System, account: &Account, import: &Import) -> Option<(&'s Account, &'static str)> {
    let takes = |user: &User, subject: &Subject| {
        !user.permissions.subscribe.queues_on(subject, &Subject::everything()).is_empty()
    };
    let on_leaf = workers_of_account(system, account, import, |other, subject| {
        let may_work = |user: &User| may_hear_as_leaf(system, other, user, subject) && takes(user, subject);
        system.server.remote_of(&other.name).is_some() || other.users.iter().any(may_work)
    });
    let has_gateway = system.server.listener(ListenerKind::Gateway).is_some();
    let behind_gateway = || {
        let may_work = |user: &User, subject: &Subject| user.joins_queues() && takes(user, subject);
        workers_of_account(system, account, import, |other, subject| other.users.iter().any(|u| may_work(u, subject)))
    };
    on_leaf
        .map(|found| (found, "on another leaf node"))
        .or_else(|| has_gateway.then(behind_gateway)?.map(|found| (found, "behind a gateway")))
}

/// The exporter of what an account imports, or another importer, if `works` says so of it and of the subject there.
fn workers_of_account<'s>(
    system: &'s System,
    account: &Account,
    import: &Import,
    works: impl Fn(&Account, &Subject) -> bool,
) -> Option<&'s Account> {
    let from = import.from.0.as_str();
    let is_same = |i: &&Import| i.kind == ShareKind::Stream && i.from.0 == from && i.subject.overlaps(&import.subject);
    let mut others = system.accounts.iter().filter(|other| other.name != account.name);
    let exporter = system.account(from).filter(|exporter| works(exporter, &import.subject));
    exporter.or_else(|| others.find(|other| other.imports.iter().filter(is_same).any(|i| works(other, &i.local))))
}

/// A subscriber other than the importer that may be in a queue on the imported subject.
enum Worker<'w> {
    /// Any client of a server that is dialled, in any queue.
    LeafNode,
    /// A user of the exporter, or of another importer.
    User(WorkingUser<'w>),
}

/// A user that may be in a queue on what an account imports.
struct WorkingUser<'w> {
    account: &'w Account,
    user: &'w User,
    /// The import by which it hears the same. `None`: it is a user of the exporter.
    import: Option<&'w Import>,
}

impl WorkingUser<'_> {
    /// Whether `user`, by `import`, can be in one of `queues` with this one, and take what this one receives.
    fn shares_queue_with(&self, user: &User, import: &Import, queues: &[Subject]) -> bool {
        let (worker, user) = (&self.user.permissions.subscribe, &user.permissions.subscribe);
        let local = self.import.map_or(&import.subject, |own| &own.local);
        // Subscribers under a local name with wildcards hear more than the import renames: all of it counts.
        let is_vague = import.opens_its_local_name() || self.import.is_some_and(Import::opens_its_local_name);
        let here = |received: &Subject| {
            if is_vague {
                return Some(import.local.clone());
            }
            let sent = self.import.map_or_else(|| Some(received.clone()), |own| sent_as(own, received))?;
            heard_as(import, &sent)
        };
        let there = |taken: &Subject| {
            if is_vague {
                return Some(local.clone());
            }
            let sent = sent_as(import, taken)?;
            self.import.map_or_else(|| Some(sent.clone()), |own| heard_as(own, &sent))
        };
        // A queue that the other one names may be denied here, on all or on what the worker receives, and of that the
        // worker may be denied some.
        let takes = |(received, queue): &(Subject, Subject)| {
            let taken = here(received).map(|here| user.received_in_queues(&here, queue));
            let is_received = |(taken, queue): &(Subject, Subject)| {
                there(taken).is_some_and(|there| !worker.queues_on(&there, queue).is_empty())
            };
            taken.iter().flatten().any(is_received)
        };
        queues.iter().any(|queue| worker.received_in_queues(local, queue).iter().any(takes))
    }
}

impl Worker<'_> {
    /// Whether a user that may join `queues` on what is imported can be in one queue with it, and take what it receives.
    fn shares_queue_with(&self, user: &User, import: &Import, queues: &[Subject]) -> bool {
        match self {
            Self::LeafNode => !queues.is_empty(),
            Self::User(worker) => worker.shares_queue_with(user, import, queues),
        }
    }

    /// The tenant whose it is. `None`: nobody knows.
    fn tenant<'t>(&'t self, tenants: &'t Tenants) -> Option<&'t str> {
        match self {
            Self::LeafNode => None,
            Self::User(working) => Some(tenants.of(working.account, working.user)),
        }
    }

    /// The worker's name in a sentence. `exporter`: the account that shares the messages.
    fn said(&self, exporter: &str) -> String {
        let account = if let Self::User(working) = self { &working.account.name } else { exporter };
        format!("the workers of `{account}`")
    }
}

/// The workers on what an account imports: users of the exporter and of its other importers, and who is behind its leaf
/// node.
fn workers<'w>(
    system: &'w System,
    tenants: &'w Tenants,
    account: &'w Account,
    import: &'w Import,
) -> impl Iterator<Item = Worker<'w>> {
    let from = import.from.0.as_str();
    let working = |account: &'w Account, own: Option<&'w Import>| {
        let local = own.map_or(&import.subject, |own| &own.local);
        let may_work = |user: &&User| {
            user.joins_queues() && !user.permissions.subscribe.queues_on(local, &Subject::everything()).is_empty()
        };
        let users = account.users.iter().filter(may_work);
        users.map(move |user| Worker::User(WorkingUser { account, user, import: own }))
    };
    let is_same =
        move |i: &&Import| i.kind == ShareKind::Stream && i.from.0 == from && i.subject.overlaps(&import.subject);
    let others = system.accounts.iter().filter(|other| tenants.are_apart(&other.name, &account.name));
    let importing = others.flat_map(move |other| other.imports.iter().filter(is_same).map(move |i| (other, i)));
    let leaf = system.server.remote_of(from).map(|_| Worker::LeafNode);
    let own = system.account(from).into_iter().flat_map(move |exporter| working(exporter, None));
    leaf.into_iter().chain(own).chain(importing.flat_map(move |(other, i)| working(other, Some(i))))
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::{findings, findings_of_tenants};

    #[test]
    fn users_of_one_tenant_take_nothing_from_each_other_whatever_their_accounts() {
        let found = |of_a2: &str| {
            let user = |name: &str| {
                format!("{{ user: {name}, permissions {{ publish: {{ deny: \">\" }}, subscribe: [\"jobs.b.>\"] }} }}")
            };
            let import = "imports: [{ stream: { account: HUB, subject: \"jobs.>\" } }]";
            let text = format!(
                "accounts {{ HUB {{ users: [{{ user: h, permissions {{ publish: \">\", subscribe: {{ deny: \">\" }} }} }}], exports: [{{ stream: \"jobs.>\", accounts: [A, B] }}] }}\n\
                 A {{ users: [{{ user: a1, permissions {{ publish: x, subscribe: x }} }}, {}], {import} }}\nB {{ users: [{}], {import} }} }}",
                user("a2"),
                user("b")
            );
            let tenants = format!(
                "[[tenant]]\nname = 'T1'\nusers = ['A/a1'{of_a2}]\n[[tenant]]\nname = 'T2'\naccounts = ['B']\n"
            );
            let tenants = if of_a2.is_empty() { format!("{tenants}users = ['A/a2']\n") } else { tenants };
            findings_of_tenants(&text, &tenants).iter().any(|f| f.rule == "queue-stealing")
        };
        assert!(found(", 'A/a2'") && !found(""));
    }

    /// Measured on nats-server 2.15.1: of 40 messages that one gets, the other one takes some, in a queue of the same name.
    #[test]
    fn tenants_of_one_account_take_from_each_other() {
        let found = |share: &str, one: &str, other: &str| {
            let user = |name: &str, allow: &str| {
                format!("{{ user: {name}, permissions {{ publish: x, subscribe: {allow} }} }}")
            };
            let (of_hub, of_m) = match share {
                "service" => (
                    "imports: [{ service: { account: M, subject: \"jobs.>\" } }]",
                    "exports: [{ service: \"jobs.>\", accounts: [HUB] }]".to_owned(),
                ),
                to => (
                    "exports: [{ stream: \"jobs.>\", accounts: [M] }]",
                    format!("imports: [{{ stream: {{ account: HUB, subject: \"jobs.>\" }} {to} }}]"),
                ),
            };
            let text = format!(
                "accounts {{ HUB {{ users: [{{ user: h, permissions {{ publish: \"jobs.>\", subscribe: {{ deny: \">\" }} }} }}], {of_hub} }}\n\
                 M {{ users: [{}, {}], {of_m} }} }}",
                user("q", one),
                user("r", other)
            );
            let tenants = "[[tenant]]\nname = 'P'\naccounts = ['HUB']\n[[tenant]]\nname = 'Q'\nusers = ['q']\n[[tenant]]\nname = 'R'\nusers = ['r']\n";
            findings_of_tenants(&text, tenants).into_iter().find(|f| f.rule == "queue-stealing").map(|f| f.message)
        };
        let deny = "{ allow: \"jobs.>\", deny: \"> >\" }";
        for (share, one, other, expected) in [
            ("", "\"jobs.>\"", "\"jobs.>\"", Some("`M/q` of `Q` can take `jobs.>` from `M/r` of `R`")),
            ("", "\"jobs.>\"", deny, None),
            ("", deny, deny, None),
            ("", "\"jobs.> w\"", "\"jobs.> v\"", None),
            ("", "\"jobs.a w\"", "\"jobs.a w\"", Some("`M/q` of `Q` can take `jobs.a` from `M/r` of `R`")),
            ("", "\"jobs.a\"", "\"jobs.b\"", None),
            (", prefix: p", "\"p.>\"", "\"p.jobs.a\"", Some("`M/q` of `Q` can take `jobs.>` from `M/r` of `R`")),
            ("service", "\"jobs.>\"", "\"jobs.a\"", Some("`M/q` of `Q` can take `jobs.>` from `M/r` of `R`")),
            ("service", "\"jobs.>\"", deny, None),
        ] {
            assert_eq!(found(share, one, other).as_deref(), expected, "{share} {one} {other}");
        }
    }

    /// Measured on nats-server 2.15.1.
    #[test]
    fn queues_of_other_names_take_nothing_from_each_other() {
        let hint = |worker: &str, importer: &str| {
            let text = format!(
                "accounts {{ HUB {{ users: [{{ user: hub, permissions {{ publish: \"jobs.>\", subscribe {worker} }} }}], exports: [{{ stream: \"jobs.>\", accounts: [A] }}] }}\n\
                 A {{ users: [{{ user: a, permissions {{ publish: x, subscribe {importer} }} }}], imports: [{{ stream: {{ account: HUB, subject: \"jobs.>\" }} }}] }} }}"
            );
            let found = findings(&text).into_iter().find(|f| f.rule == "queue-stealing");
            found.map(|f| f.hint.unwrap_or_default())
        };
        let allow = |entry: &str| format!("{{ allow: [\"{entry}\"] }}");
        let deny = |entry: &str| format!("{{ allow: [\"jobs.>\"], deny: [\"{entry}\"] }}");
        assert_eq!(hint(&allow("jobs.> w.*"), &allow("jobs.> a.*")), None);
        assert!(hint(&allow("jobs.> w.*"), &allow("jobs.> *.1")).is_some_and(|hint| hint.contains("other names")));
        assert!(hint(&allow("jobs.> w.*"), &allow("jobs.>")).is_some_and(|hint| hint.contains("deny queues")));
        assert_eq!(hint(&allow("jobs.> w.*"), &deny("jobs.> w.*")), None);
        assert_eq!(hint(&deny("jobs.> >"), &allow("jobs.> *.1")), None);
        assert!(hint(&allow("jobs.> w.*"), &deny("jobs.> w")).is_some());
        // An entry with a queue overrules one without, and what is denied is not delivered.
        assert_eq!(hint(&allow("jobs.> w"), "{ allow: [\"jobs.>\", \"jobs.> other\"] }"), None);
        assert!(hint(&allow("jobs.> w"), "{ allow: [\"jobs.>\", \"jobs.eu other\"] }").is_some());
        assert_eq!(hint(&allow("jobs.eu w"), &deny("jobs.eu >")), None);
        assert!(hint(&allow("jobs.* w"), &deny("jobs.eu >")).is_some());
    }

    /// Measured on nats-server 2.15.1: what both members of a queue receive is shared, whatever the importer calls it.
    #[test]
    fn what_both_receive_is_taken_under_any_name() {
        let steals = |exported: &str, to: &str, worker: &str, importer: &str| {
            let text = format!(
                "accounts {{ HUB {{ users: [{{ user: hub, permissions {{ publish: \"pub.>\", subscribe: \"{worker}\" }} }}], exports: [{{ stream: \"{exported}\", accounts: [A] }}] }}\n\
                 A {{ users: [{{ user: a, permissions {{ publish: x, subscribe: \"{importer}\" }} }}], imports: [{{ stream: {{ account: HUB, subject: \"{exported}\" }}, {to} }}] }} }}"
            );
            findings(&text).iter().any(|f| f.rule == "queue-stealing")
        };
        for (exported, to, worker, importer, expected) in [
            ("ev.>", "prefix: p", "ev.b", "p.ev.a", false),
            ("ev.>", "prefix: p", "ev.a", "p.ev.a", true),
            ("ev.>", "prefix: p", "ev.*", "p.ev.a", true),
            ("ev.*", "to: \"my.*\"", "ev.b", "my.a", false),
            ("ev.*", "to: \"my.*\"", "ev.a", "my.a", true),
            ("jobs.*.*", "to: \"t.$2.$1\"", "jobs.*.a", "t.b.a", false),
            ("jobs.*.*", "to: \"t.$2.$1\"", "jobs.b.a", "t.a.b", true),
        ] {
            assert_eq!(steals(exported, to, worker, importer), expected, "{exported} {to}: {worker}, {importer}");
        }
    }

    /// Measured on nats-server 2.15.1: two leaf nodes in one queue got 32 and 28 of 60 messages, of which each alone gets all;
    /// beside a client in that queue, a leaf node gets none. MQTT has no queues.
    #[test]
    fn leaf_nodes_take_from_leaf_nodes_and_mqtt_from_nobody() {
        let found = |types: &str, other: &str| {
            let site = |name: &str, types: &str, more: &str| {
                format!(
                    "{name} {{ users: [{{ user: u{name}, allowed_connection_types: [{types}] {more} }}], imports: [{{ stream: {{ account: HUB, subject: \"cmd.>\" }} }}] }}"
                )
            };
            let text = format!(
                "leafnodes {{ port: 7422 }}\nmqtt {{ port: 1883 }}\njetstream {{}}\naccounts {{ HUB {{ users: [{{ user: hub, allowed_connection_types: [STANDARD] }}], exports: [{{ stream: \"cmd.>\", accounts: [A, B] }}] }}\n{}\n{} }}",
                site("A", types, ""),
                site("B", "LEAFNODE", other)
            );
            let found =
                findings(&text).into_iter().find(|f| f.rule == "queue-stealing" && f.message.contains("`A/uA`"));
            found.map(|f| f.message)
        };
        assert!(found("LEAFNODE", "").is_some_and(|message| message.contains("workers of `B` on another leaf node")));
        assert_eq!(found("LEAFNODE", ", permissions { subscribe: { allow: x } }"), None, "B hears nothing of it");
        assert_eq!(found("MQTT", ""), None);
        assert!(found("STANDARD", "").is_some_and(|message| message.contains("workers of `HUB`")));
    }
    /// Measured on nats-server 2.15.1: 47 of 100 jobs came to the worker, and the others to nobody. To a worker that is a client
    /// came all.
    #[test]
    fn leaf_nodes_in_one_account_take_from_each_others_workers() {
        let found = |types: &str| {
            let user = |name: &str, types: &str| {
                format!(
                    "{{ user: {name}, allowed_connection_types: [{types}], permissions {{ publish: \"{name}.>\", subscribe: {{ allow: \"{name}.>\", deny: [\"> >\", \"$MQTT.>\"] }} }} }}"
                )
            };
            let text = format!(
                "leafnodes {{ port: 7422 }}\naccounts {{ P {{ users: [{}, {}] }} }}",
                user("t1", "LEAFNODE"),
                user("t2", types)
            );
            let tenants = "[[tenant]]\nname = 'T1'\nusers = ['t1']\n[[tenant]]\nname = 'T2'\nusers = ['t2']\n";
            let mut found = crate::audit::testing::findings_of_tenants(&text, tenants).into_iter();
            found.any(|f| f.rule == "queue-stealing" && f.message.contains("as leaf nodes"))
        };
        assert!(found("LEAFNODE") && !found("STANDARD"));
    }

    /// Measured on nats-server 2.15.1: 48 of 100 messages, with the two leaf nodes on different servers of a cluster.
    #[test]
    fn leaf_nodes_may_take_from_leaf_nodes_on_other_servers() {
        let found = |server: &str, leaf: &str, limits: &str| {
            let text = format!(
                "server_name: s\n{server}\nleafnodes {{ port: 7422, authorization {{ users: [{{ user: l, password: p, account: {leaf} }}] }} }}
                 accounts {{ A {{ users: [{{ user: a, permissions {{ subscribe: \"s.*\" }} }}], exports: [{{ stream: \"s.*\", accounts: [B] }}], {limits} }}
                 B {{ users: [{{ user: b, permissions {{ subscribe: {{ allow: \"s.*\", deny: \"> >\" }} }} }}], imports: [{{ stream: {{ account: A, subject: \"s.*\" }} }}] }} }}"
            );
            let found = findings(&text).into_iter().find(|f| f.message.contains("on another server of this system"));
            found.map(|f| f.rule)
        };
        let cluster = "cluster { name: c, port: 6222 }";
        for leaf in ["A", "B"] {
            assert_eq!(found(cluster, leaf, ""), Some("decided-elsewhere"), "{leaf}");
            assert_eq!(found("", leaf, ""), None, "one server");
            assert_eq!(found(cluster, leaf, "limits { max_leafnodes: 0 }"), None, "workers of A are clients");
        }
    }

    /// Measured on nats-server 2.15.1: 60 of 60 messages that are published near the leaf node, beside a worker in another cluster; in
    /// one cluster, none.
    #[test]
    fn leaf_nodes_take_from_workers_behind_a_gateway() {
        let found = |server: &str, worker: &str| {
            let text = format!(
                "server_name: s\n{server}\nleafnodes {{ port: 7422, authorization {{ users: [{{ user: lb, password: p, account: B }}] }} }}
                 accounts {{ A {{ users: [{{ user: a, permissions {{ subscribe: {worker} }} }}], exports: [{{ stream: \"s.*\", accounts: [B] }}] }}
                 B {{ users: [{{ user: b, permissions {{ subscribe: {{ allow: \"s.*\", deny: \"> >\" }} }} }}], imports: [{{ stream: {{ account: A, subject: \"s.*\" }} }}] }}
                 SYS {{ users: [{{ user: s }}] }} }}"
            );
            let found = findings(&text).into_iter().filter(|f| f.rule == "queue-stealing");
            found.map(|f| f.message).collect::<Vec<_>>()
        };
        let gateway = "gateway { name: g, port: 7222 }\nsystem_account: SYS";
        let taken =
            "`B/lb`, as a leaf node, can take `s.*` from workers of `A` behind a gateway, whatever its lists deny";
        assert_eq!(found(gateway, "\"s.*\""), [taken]);
        assert_eq!(found(gateway, "{ allow: \"s.*\", deny: \"> >\" }"), [""; 0], "A has no workers");
        assert_eq!(found("cluster { name: g, port: 6222 }", "\"s.*\""), [""; 0]);
    }
}
