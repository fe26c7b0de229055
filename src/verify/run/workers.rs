//! Leaves applications alone: on a server in use, a request of the proof is no job of a worker's, and a flood
//! of it nothing that a subscriber should have to read.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Value, json};

use super::Run;
use crate::model::ShareKind;
use crate::subject::Subject;
use crate::verify::expected::{concrete, depths, listed};
use crate::verify::nodes::Nodes;
use crate::verify::wire::{Answer, Connection, Request};

/// An account, and a subject in it on which applications may listen.
type Place<'p> = (&'p str, String);

/// Subjects on which applications listen. All of them, if that cannot be asked.
struct Listened {
    by_anybody: HashSet<String>,
    by_queues: HashSet<String>,
    /// What applications subscribe to that any of the subjects matches, each with its account.
    patterns: HashSet<(String, String)>,
}

impl<'p> Run<'p> {
    /// Finds where applications listen. A service of which that cannot be asked counts as listened to.
    pub async fn find_workers(&self, operator: &mut Option<Connection>, nodes: &Nodes) {
        if self.throwaway {
            return;
        }
        // A queue's members are workers. Others get a copy, which the documentation speaks of.
        let own = (0..self.model.tenants.len()).flat_map(|i| {
            let tenant = self.topology.tenant(i);
            self.said_by(i).into_iter().map(|subject| (tenant.name.as_str(), subject))
        });
        let mut own: Vec<Place<'p>> = own.collect();
        let shared: Vec<Place<'p>> = self
            .model
            .tenants
            .iter()
            .flat_map(|tenant| {
                let streams = tenant.imports.iter().filter(|i| i.kind == ShareKind::Stream);
                streams.flat_map(|import| {
                    let subject = concrete(&import.subject, &self.token());
                    [(tenant.name.as_str(), subject.clone()), (import.from.as_str(), subject)]
                })
            })
            .collect();
        own.extend(shared.iter().cloned());
        let mut listened = self.listened_to(operator, nodes, &self.services()).await.by_anybody;
        if operator.is_some() {
            let found = self.listened_to(operator, nodes, &own).await;
            listened.extend(found.by_queues);
            *self.overheard.borrow_mut() = found.patterns;
        }
        *self.listened.borrow_mut() = listened;
        *self.heard.borrow_mut() = self.listened_to(operator, nodes, &shared).await.by_anybody;
    }

    /// Finds the workers that have come meanwhile to shared services.
    pub async fn find_new_workers(&self, operator: &mut Option<Connection>, nodes: &Nodes) {
        if !self.throwaway {
            let found = self.listened_to(operator, nodes, &self.services()).await;
            self.listened.borrow_mut().extend(found.by_anybody);
        }
    }

    /// The subjects on which users of a tenant publish in its account, for colleagues or for whom it shares with.
    fn said_by(&self, tenant: usize) -> BTreeSet<String> {
        let grants = self.topology.tenant(tenant).users.iter().flat_map(|user| listed(&user.permissions.publish));
        let grants = grants.filter(|s| s.has_wildcard() && !s.first_token().starts_with(['$', '_']));
        let exports = self.topology.tenant(tenant).exports.iter().filter(|e| e.kind == ShareKind::Stream);
        let all = grants.chain(exports.map(|e| &e.subject)).chain(self.topology.free_subjects(tenant));
        all.flat_map(|subject| depths(subject, &self.token())).collect()
    }

    /// The subjects on which shared services are tried.
    fn services(&self) -> Vec<Place<'p>> {
        let exports = self.model.tenants.iter().flat_map(|tenant| {
            let services = tenant.exports.iter().filter(|e| e.kind == ShareKind::Service && e.subject.has_wildcard());
            services.flat_map(|e| depths(&e.subject, &self.token())).map(|subject| (tenant.name.as_str(), subject))
        });
        exports.collect()
    }

    /// Those subjects on which the server has a subscription that is none of the run's own.
    async fn listened_to(&self, operator: &mut Option<Connection>, nodes: &Nodes, asked: &[Place<'_>]) -> Listened {
        /// Number of subscriptions that are looked at.
        const MOST: usize = 1024;
        let requests: Vec<Request> = nodes
            .keys()
            .flat_map(|id| {
                asked.iter().map(move |(account, subject)| {
                    let body = json!({ "subscriptions": true, "account": account, "test": subject, "limit": MOST });
                    Request::json(format!("$SYS.REQ.SERVER.{id}.SUBSZ"), &body)
                })
            })
            .collect();
        let mut answers = Vec::new();
        if !requests.is_empty()
            && let Some(operator) = operator
        {
            answers = operator.ask(&requests).await.unwrap_or_default();
        }
        let own = self.reached.borrow();
        // Whether an answer names all subscriptions, and those that are none of the run's own.
        let others = |answer: &Answer| {
            let answer = answer.json();
            let id = answer["server"]["id"].as_str().unwrap_or_default();
            // Without subscriptions there is no list.
            let list = answer["data"]["subscriptions_list"].as_array().map(Vec::as_slice).unwrap_or_default();
            let is_own = |sub: &Value| sub["cid"].as_u64().is_some_and(|cid| own.contains(&(id.to_owned(), cid)));
            let is_complete = answer["data"]["num_subscriptions"].is_u64() && list.len() < MOST;
            (is_complete, list.iter().filter(|sub| !is_own(sub)).cloned().collect::<Vec<_>>())
        };
        let answers: Vec<(bool, Vec<Value>)> = answers.iter().map(others).collect();
        let is_free = |place: usize, counts: fn(&Value) -> bool| {
            let mut of_place = answers.iter().skip(place).step_by(asked.len());
            !answers.is_empty() && of_place.all(|(is_complete, others)| *is_complete && !others.iter().any(counts))
        };
        let listened = |counts: fn(&Value) -> bool| {
            let places = asked.iter().enumerate().filter(|(place, _)| !is_free(*place, counts));
            places.map(|(_, (_, subject))| subject.clone()).collect()
        };
        Listened {
            by_anybody: listened(|_| true),
            by_queues: listened(|subscription| !subscription["qgroup"].is_null()),
            patterns: answers.iter().flat_map(|(_, others)| others).filter_map(pattern_of).collect(),
        }
    }

    /// Whether a message on this subject would be a job of somebody's.
    pub fn has_workers(&self, subject: &str) -> bool {
        self.listened.borrow().contains(subject)
    }

    /// Whether an application hears this subject of a shared stream.
    pub fn has_subscribers(&self, subject: &str) -> bool {
        self.heard.borrow().contains(subject)
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
        self.overheard.borrow().iter().any(|(of, pattern)| of == account && hears(pattern))
    }
}

/// The account of a subscription, and what it subscribes to.
fn pattern_of(subscription: &Value) -> Option<(String, String)> {
    let text = |name: &str| subscription[name].as_str().map(str::to_owned);
    Some((text("account")?, text("subject")?))
}
