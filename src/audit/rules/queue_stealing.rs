//! Importers that can join the exporter's queue groups.

use super::Rule;
use crate::audit::system::{Account, Import, System, User};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::model::ShareKind;
use crate::subject::Subject;

pub const RULE: Rule = Rule {
    id: "queue-stealing",
    proves: "importers receive copies and take no message from the exporter's workers",
    why: "A queue subscription on an imported stream joins the queue of that name in the exporter's account",
    mend: "deny queue subscriptions on it to every user of the importer: `deny: [\"subject >\"]`",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in &system.accounts {
        for import in account
            .imports
            .iter()
            .filter(|i| i.kind == ShareKind::Stream && tenants.are_apart(&i.from.0, &account.name))
        {
            let mut some_workers = workers(system, account, import);
            if let Some(span) = system.server.leaf_of(&account.name).filter(|_| some_workers.next().is_some()) {
                let message = format!(
                    "whoever is behind the leaf node of `{}` can take `{}` from the workers of `{}`",
                    account.name, import.subject, import.from.0
                );
                out.push(RULE.error(import.span, message).related(span, "may join any queue on it"));
            }
            let joins = |user: &&User| {
                let queues = user.permissions.subscribe.queues_on(&import.local, &Subject::everything());
                let meets = |worker: Worker<'_>| worker.shares_queue_with(user, &import.local, &queues);
                !queues.is_empty() && workers(system, account, import).any(meets)
            };
            let Some(user) = account.users.iter().find(joins) else {
                out.extend(by_leaf_node(system, account, import));
                continue;
            };
            let message = format!(
                "`{}/{}` can take `{}` from the workers of `{}`",
                account.name, user.name, import.subject, import.from.0
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

/// The finding that a user joins the queue as a leaf node, of which the server checks no queue. It gets messages only
/// where the worker is on another leaf node: of its own connections the server prefers clients.
fn by_leaf_node(system: &System, account: &Account, import: &Import) -> Option<Diagnostic> {
    let exporter = system.account(&import.from.0)?;
    let hears = |account: &Account, user: &User, subject| {
        system.may_be_leaf(account, user) && user.permissions.subscribe.touches(subject)
    };
    let has_workers = system.server.leaf_of(&exporter.name).is_some()
        || exporter.users.iter().any(|user| hears(exporter, user, &import.subject));
    let user = account.users.iter().find(|user| hears(account, user, &import.local)).filter(|_| has_workers)?;
    let message = format!(
        "`{}/{}`, as a leaf node, can take `{}` from workers of `{}` on another leaf node, whatever its lists deny",
        account.name, user.name, import.subject, exporter.name
    );
    let finding = RULE.error(import.span, message).related(user.span, "may connect as a leaf node");
    Some(finding.hint("`allowed_connection_types: [STANDARD]`, or `max_leafnodes: 0` in the account's limits"))
}

/// A subscriber other than the importer that may be in a queue on the imported subject.
enum Worker<'w> {
    /// Any client behind a leaf node, in any queue.
    LeafNode,
    /// A user, to these subjects of its account.
    User(&'w User, &'w Subject),
}

impl Worker<'_> {
    /// Whether a user that may join `queues` on `local` can be in one queue with it.
    fn shares_queue_with(&self, user: &User, local: &Subject, queues: &[Subject]) -> bool {
        queues.iter().any(|queue| match self {
            Self::LeafNode => true,
            Self::User(worker, subject) => {
                let both = worker.permissions.subscribe.queues_on(subject, queue);
                // A queue that the other one names may be denied here.
                both.iter().any(|queue| !user.permissions.subscribe.queues_on(local, queue).is_empty())
            }
        })
    }
}

/// The workers on what an account imports: users of the exporter and of its other importers, and who is behind its leaf
/// node.
fn workers<'w>(system: &'w System, account: &'w Account, import: &'w Import) -> impl Iterator<Item = Worker<'w>> {
    let from = import.from.0.as_str();
    let working = |users: &'w [User], subject: &'w Subject| {
        let may_work = |user: &&User| !user.permissions.subscribe.queues_on(subject, &Subject::everything()).is_empty();
        users.iter().filter(may_work).map(move |user| Worker::User(user, subject))
    };
    let is_same =
        move |i: &&Import| i.kind == ShareKind::Stream && i.from.0 == from && i.subject.overlaps(&import.subject);
    let others = system.accounts.iter().filter(|other| other.name != account.name);
    let importing = others.flat_map(move |other| other.imports.iter().filter(is_same).map(move |i| (other, i)));
    let leaf = system.server.leaf_of(from).map(|_| Worker::LeafNode);
    let own = system.account(from).into_iter().flat_map(move |exporter| working(&exporter.users, &import.subject));
    leaf.into_iter().chain(own).chain(importing.flat_map(move |(other, i)| working(&other.users, &i.local)))
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::findings;

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
    }
}
