//! Leaves applications alone: on a server in use, a request of the proof is no job of a worker's, and a flood
//! of it nothing that a subscriber should have to read.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Value, json};

use super::Run;
use crate::model::{ShareKind, Tenant, User};
use crate::subject::Subject;
use crate::verify::expected::{concrete, depths, listed, may_publish};
use crate::verify::nodes::Nodes;
use crate::verify::wire::{Answer, Connection, Request};

/// Stands for the subjects of the run's buckets: who listens there listens with wildcards.
pub const ANY_BUCKET: &str = "$KV.TENANTRY_x.y";

/// The same of its object stores.
pub const ANY_OBJECTS: &str = "$O.TENANTRY_x.C.y";

/// An account, and a subject in it.
pub type Place = (String, String);

/// Who listens in a place, other than the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Audience {
    Nobody,
    /// Each gets a copy, which the documentation speaks of.
    Subscribers,
    /// Members of a queue share the messages: each is somebody's job.
    Queue,
}

/// Who listens where the run publishes.
#[derive(Default)]
pub(super) struct Listeners {
    /// A place that is missing could not be asked for.
    places: HashMap<Place, Audience>,
    /// What applications subscribe to that any of the places matches, each with its account.
    patterns: HashSet<(String, String)>,
}

impl<'p> Run<'p> {
    /// The places where the run publishes, for `find_workers`. None on a server of its own.
    pub fn places(&self) -> Vec<Place> {
        let tenants = (0..self.model.tenants.len()).filter(|_| !self.throwaway);
        let spoken = tenants.flat_map(|i| self.spoken_by(i).into_iter().map(move |subject| (i, subject)));
        let places = spoken.flat_map(|(i, subject)| {
            let accounts = self.reached_from(i, &subject);
            accounts.into_iter().map(move |tenant| (tenant.name.to_string(), subject.clone()))
        });
        places.collect::<BTreeSet<Place>>().into_iter().collect()
    }

    /// Finds who listens where the run is about to publish.
    pub async fn find_workers(&self, operator: &mut Option<Connection>, nodes: &Nodes, places: &[Place]) {
        let Some(operator) = operator.as_mut().filter(|_| !places.is_empty() && !nodes.is_empty()) else { return };
        let (audiences, patterns) = self.listening(operator, nodes, places).await;
        let mut listeners = self.listeners.borrow_mut();
        listeners.places = places.iter().cloned().zip(audiences).collect();
        listeners.patterns.extend(patterns);
    }

    /// The subjects on which the run publishes in a tenant's account.
    fn spoken_by(&self, tenant: usize) -> BTreeSet<String> {
        let (own, token) = (self.topology.tenant(tenant), self.token());
        let canaries = own.users.iter().flat_map(|user| self.canary_subjects(tenant, user));
        let free = self.topology.free_subjects(tenant).flat_map(|subject| depths(subject, &token));
        let services = own.imports.iter().filter(|import| import.kind == ShareKind::Service);
        let shared = own.exports.iter().map(|export| &export.subject).chain(services.map(|import| &import.subject));
        let shared = shared.map(|subject| concrete(subject, &token));
        // Where a server, or somebody who answers, may be led to.
        let neighbours = self.topology.neighbours(tenant).into_iter();
        let theirs = neighbours.flat_map(|n| self.topology.free_subjects(n)).map(|subject| concrete(subject, &token));
        let stores = [ANY_BUCKET, ANY_OBJECTS].into_iter().filter(|_| own.jetstream.is_some()).map(str::to_owned);
        canaries.into_iter().chain(free).chain(shared).chain(theirs).chain(stores).collect()
    }

    /// The subjects on which a user says its tenant's canaries: everything that it may publish to except
    /// the server's own spaces, which have their own probes.
    pub fn canary_subjects(&self, tenant: usize, user: &User) -> BTreeSet<String> {
        let (own, token) = (self.topology.tenant(tenant), self.token());
        let is_plain = |subject: &Subject| !subject.first_token().starts_with(['$', '_']);
        // On a server in use, a message on a subject without a wildcard would reach an application.
        let granted = listed(&user.permissions.publish).iter().filter(|s| is_plain(s));
        let granted = granted.filter(|s| self.throwaway || s.has_wildcard()).flat_map(|s| depths(s, &token));
        // What a list that ends in `*` may let in besides: the tenant's own lists, and those of its importers.
        let lists = own.users.iter().flat_map(|user| listed(&user.permissions.subscribe));
        let below = lists.chain(own.exports.iter().map(|export| &export.subject)).filter_map(Subject::widened);
        let below = below.filter(is_plain).flat_map(|s| depths(&s, &token)).filter(|s| may_publish(user, s));
        granted.chain(below).collect()
    }

    /// The tenants in whose accounts a message arrives that a tenant publishes.
    fn reached_from(&self, tenant: usize, text: &str) -> Vec<&'p Tenant> {
        let own = self.topology.tenant(tenant);
        let Some(subject) = Subject::as_the_server_reads(text) else { return vec![own] };
        let exports = own.exports.iter().filter(|e| e.kind == ShareKind::Stream && e.subject.contains(&subject));
        let imports = own.imports.iter().filter(|i| i.kind == ShareKind::Service && i.subject.contains(&subject));
        let others = exports.flat_map(|export| &export.to).chain(imports.map(|import| &import.from));
        let others = others.filter_map(|name| self.topology.place(name)).filter(|other| *other != tenant);
        std::iter::once(own).chain(others.map(|other| self.topology.tenant(other))).collect()
    }

    /// Who listens in each place, other than the run, and what they subscribe to.
    async fn listening(
        &self,
        operator: &mut Connection,
        nodes: &Nodes,
        places: &[Place],
    ) -> (Vec<Audience>, HashSet<(String, String)>) {
        /// Number of subscriptions that are looked at.
        const MOST: usize = 1024;
        let of_node = |id: &String| {
            let asked = places.iter().map(|(account, subject)| {
                let body = json!({ "subscriptions": true, "account": account, "test": subject, "limit": MOST });
                Request::json(format!("$SYS.REQ.SERVER.{id}.SUBSZ"), &body)
            });
            asked.collect::<Vec<_>>()
        };
        let requests: Vec<Request> = nodes.keys().flat_map(of_node).collect();
        let answers = operator.ask(&requests).await.unwrap_or_default();
        if answers.is_empty() {
            return (vec![Audience::Queue; places.len()], HashSet::new());
        }
        let own = self.reached.borrow();
        let mut audiences = vec![Audience::Nobody; places.len()];
        let mut patterns = HashSet::new();
        for (place, answer) in answers.iter().map(Answer::json).enumerate() {
            let id = answer["server"]["id"].as_str().unwrap_or_default();
            // Without subscriptions there is no list.
            let list = answer["data"]["subscriptions_list"].as_array().map(Vec::as_slice).unwrap_or_default();
            let is_own = |sub: &Value| sub["cid"].as_u64().is_some_and(|cid| own.contains(&(id.to_owned(), cid)));
            let others: Vec<&Value> = list.iter().filter(|sub| !is_own(sub)).collect();
            let is_complete = answer["data"]["num_subscriptions"].is_u64() && list.len() < MOST;
            let found = if !is_complete || others.iter().any(|sub| !sub["qgroup"].is_null()) {
                Audience::Queue
            } else if others.is_empty() {
                Audience::Nobody
            } else {
                Audience::Subscribers
            };
            let audience = &mut audiences[place % places.len()];
            *audience = found.max(*audience);
            patterns.extend(others.into_iter().filter_map(pattern_of));
        }
        (audiences, patterns)
    }

    fn audience(&self, tenant: &Tenant, subject: &str) -> Audience {
        let place = (tenant.name.to_string(), subject.to_owned());
        self.listeners.borrow().places.get(&place).copied().unwrap_or(Audience::Queue)
    }

    /// Whether a message that a tenant publishes on this subject would be a job of somebody's. Where nobody knows who listens,
    /// it may be.
    pub fn has_workers(&self, tenant: usize, subject: &str) -> bool {
        // Whoever hears a request may answer it, in a queue or not.
        let is_request = |of: &Tenant| {
            let services = of.exports.iter().filter(|export| export.kind == ShareKind::Service);
            let subject = Subject::as_the_server_reads(subject);
            subject.is_none_or(|subject| services.map(|export| &export.subject).any(|s| s.contains(&subject)))
        };
        let least = |of: &Tenant| if is_request(of) { Audience::Subscribers } else { Audience::Queue };
        !self.throwaway
            && self.reached_from(tenant, subject).into_iter().any(|of| self.audience(of, subject) >= least(of))
    }

    /// Whether an application hears what a tenant publishes on this subject.
    pub fn has_subscribers(&self, tenant: usize, subject: &str) -> bool {
        let reached = self.reached_from(tenant, subject);
        !self.throwaway && reached.into_iter().any(|of| self.audience(of, subject) >= Audience::Subscribers)
    }

    /// Whether an application hears this subject in the account of a tenant. `None`: any subject of the run.
    pub fn is_overheard(&self, tenant: usize, subject: Option<&str>) -> bool {
        let subject = subject.map(Subject::as_the_server_reads);
        let account = self.topology.tenant(tenant).name.as_str();
        let hears = |pattern: &str| match &subject {
            Some(subject) => {
                Subject::as_the_server_reads(pattern).zip(subject.as_ref()).is_some_and(|(p, s)| p.contains(s))
            }
            None => true,
        };
        self.listeners.borrow().patterns.iter().any(|(of, pattern)| of == account && hears(pattern))
    }

    /// Has an application of a tenant listen to a subject, as the server would tell.
    #[cfg(test)]
    pub(super) fn overhear(&self, tenant: usize, pattern: &str) {
        let account = self.topology.tenant(tenant).name.to_string();
        self.listeners.borrow_mut().patterns.insert((account, pattern.to_owned()));
    }
}

/// The account of a subscription, and what it subscribes to.
fn pattern_of(subscription: &Value) -> Option<(String, String)> {
    let text = |name: &str| subscription[name].as_str().map(str::to_owned);
    Some((text("account")?, text("subject")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fixtures::{BILLING, ORDERS, SHARING, System};

    #[test]
    fn what_a_job_is_depends_on_where_the_message_arrives_and_who_listens_there() {
        let system = System::load(SHARING);
        for (place, audience, tenant, subject, is_job) in [
            ("ORDERS", Audience::Nobody, ORDERS, "ORDERS.a", false),
            ("ORDERS", Audience::Subscribers, ORDERS, "ORDERS.a", false),
            ("ORDERS", Audience::Queue, ORDERS, "ORDERS.a", true),
            // A share takes it there.
            ("BILLING", Audience::Subscribers, ORDERS, "ORDERS.events.a", false),
            ("BILLING", Audience::Queue, ORDERS, "ORDERS.events.a", true),
            ("BILLING", Audience::Queue, ORDERS, "ORDERS.a", false),
            // A request, of another tenant and of its own.
            ("BILLING", Audience::Nobody, ORDERS, "BILLING.quote.a", false),
            ("BILLING", Audience::Subscribers, ORDERS, "BILLING.quote.a", true),
            ("BILLING", Audience::Subscribers, BILLING, "BILLING.quote.a", true),
        ] {
            let plan = system.plan(false);
            let run = Run::new(&plan, vec!["first"]);
            let reached = run.reached_from(tenant, subject);
            let mut places: HashMap<Place, Audience> =
                reached.iter().map(|of| ((of.name.to_string(), subject.to_owned()), Audience::Nobody)).collect();
            places.insert((place.to_owned(), subject.to_owned()), audience);
            run.listeners.borrow_mut().places = places;
            assert_eq!(run.has_workers(tenant, subject), is_job, "{tenant} on {subject}, {audience:?} in {place}");
        }
    }

    #[test]
    fn where_nobody_could_be_asked_somebody_may_work() {
        let system = System::load(SHARING);
        for throwaway in [true, false] {
            let plan = system.plan(throwaway);
            let run = Run::new(&plan, vec!["first"]);
            assert_eq!(run.has_workers(ORDERS, "ORDERS.a"), !throwaway);
            assert_eq!(run.has_subscribers(ORDERS, "ORDERS.events.a"), !throwaway);
        }
    }

    /// A list that ends in `*` admits subscriptions that are deeper, and what is said there is asked for as well.
    #[test]
    fn all_that_is_said_is_asked_for() {
        let text = SHARING.replace("BILLING.quote.>", "BILLING.quote.*");
        let system = System::load(&text);
        let plan = system.plan(false);
        let run = Run::new(&plan, vec!["first"]);
        for tenant in 0..run.model.tenants.len() {
            let spoken = run.spoken_by(tenant);
            for user in &run.topology.tenant(tenant).users {
                assert!(run.canary_subjects(tenant, user).is_subset(&spoken));
            }
        }
        let token = run.token();
        assert!(run.spoken_by(BILLING).contains(&format!("BILLING.quote.{token}.{token}")));
        assert!(run.spoken_by(ORDERS).contains(&format!("BILLING.quote.{token}")));
    }
}
