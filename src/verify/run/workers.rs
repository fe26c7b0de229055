//! Leaves the workers of shared services alone: on a server in use, a request of the proof is no job of
//! theirs.

use std::collections::HashSet;

use serde_json::json;

use super::Run;
use crate::model::ShareKind;
use crate::verify::expected::depths;
use crate::verify::nodes::Nodes;
use crate::verify::wire::{Answer, Request};

impl Run<'_> {
    /// Finds the shared services on whose test subjects somebody listens already. What cannot be asked
    /// counts as listened to.
    pub async fn find_workers(&self, nodes: &Nodes) {
        if self.throwaway {
            return;
        }
        let exports = self.model.tenants.iter().flat_map(|tenant| {
            let services = tenant.exports.iter().filter(|e| e.kind == ShareKind::Service && e.subject.has_wildcard());
            services.flat_map(|e| depths(&e.subject, &self.token())).map(|subject| (tenant.name.as_str(), subject))
        });
        let asked: Vec<(&str, String)> = exports.collect();
        let requests: Vec<Request> = nodes
            .keys()
            .flat_map(|id| {
                asked.iter().map(move |(account, subject)| {
                    let body = json!({ "subscriptions": true, "account": account, "test": subject, "limit": 1 });
                    Request::json(format!("$SYS.REQ.SERVER.{id}.SUBSZ"), &body)
                })
            })
            .collect();
        let mut answers = Vec::new();
        if !requests.is_empty()
            && let Some(mut operator) = self.operator().await
        {
            answers = operator.ask(&requests).await.unwrap_or_default();
        }
        let is_free = |place: usize| {
            let of_each_node = answers.iter().skip(place).step_by(asked.len());
            !answers.is_empty()
                && of_each_node.map(Answer::json).all(|answer| {
                    // Without subscriptions there is no list.
                    let data = &answer["data"];
                    data["num_subscriptions"].is_u64()
                        && data["subscriptions_list"].as_array().is_none_or(Vec::is_empty)
                })
        };
        let listened: HashSet<String> =
            asked.iter().enumerate().filter(|(i, _)| !is_free(*i)).map(|(_, (_, subject))| subject.clone()).collect();
        *self.listened.borrow_mut() = listened;
    }

    /// Whether a worker may get a message on this subject of a shared service.
    pub fn has_workers(&self, subject: &str) -> bool {
        self.listened.borrow().contains(subject)
    }
}
