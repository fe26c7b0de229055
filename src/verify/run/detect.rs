//! Looks for canaries in every message that a user receives: a canary of another tenant is
//! a leak unless a share delivers that subject.

use serde_json::Value;

use super::{CANARY_LENGTH, Run, TenantRun, each};
use crate::model::Tenant;
use crate::verify::expected::is_shared;
use crate::verify::wire::Message;

impl<'p> Run<'p> {
    /// Whether a message of `sender` may arrive at `receiver` on this subject: the tenant is
    /// the same, or a share delivers it.
    pub fn is_declared(&self, sender: usize, receiver: usize, subject: &str) -> bool {
        sender == receiver || is_shared(self.topology.tenant(sender), self.topology.tenant(receiver), subject)
    }

    /// The tenants whose canaries are in a text, once for each canary. A truncated canary
    /// is skipped.
    pub fn named_in<'t>(&'t self, text: &'t str) -> impl Iterator<Item = usize> + 't {
        let mark = format!("tenantry/{}/", self.id);
        let starts = text.match_indices(&mark).map(|(at, mark)| at + mark.len()).collect::<Vec<_>>();
        starts.into_iter().filter_map(|at| self.by_canary.get(text.get(at..at + CANARY_LENGTH)?).copied())
    }

    /// Looks for canaries in bytes that a user received on a subject. Records a leak for
    /// each canary of another tenant, unless a share delivers the subject. Returns the
    /// tenants whose canaries were found, the receiver's own included.
    pub fn detect(&self, receiver: usize, user: &str, subject: &str, bytes: &[u8]) -> Vec<usize> {
        let mark = format!("tenantry/{}/", self.id);
        let mut found = Vec::new();
        let mut rest = bytes;
        while let Some(at) = memchr::memmem::find(rest, mark.as_bytes()) {
            rest = &rest[at + mark.len()..];
            let canary = rest.get(..CANARY_LENGTH).and_then(|c| std::str::from_utf8(c).ok());
            let Some(sender) = canary.and_then(|c| self.by_canary.get(c)).copied() else { continue };
            found.push(sender);
            let after = rest.get(CANARY_LENGTH + 1..).unwrap_or_default();
            // A share does not rewrite subjects: a message that was published on another
            // subject than it arrived on came some other way.
            let text = String::from_utf8_lossy(&after[..after.len().min(512)]).into_owned();
            let published_on = text
                .split_once(" on ")
                .map(|(_, s)| s.split(['"', '\\', '\r', '\n', ' ']).next().unwrap_or_default().to_owned());
            let is_same_subject = published_on.as_deref().is_none_or(|s| s == subject);
            if sender == receiver || is_same_subject && self.is_declared(sender, receiver, subject) {
                continue;
            }
            let probe = self.ledger.probe_at_start_of(after).unwrap_or_else(|| self.ledger.probe());
            let evidence = format!("its canary came to {user} on {subject}");
            self.ledger.leak_of(probe, Some(sender), Some(receiver), evidence);
        }
        found
    }

    /// Looks for canaries in the headers and the payload of a message.
    pub fn detect_in_message(&self, receiver: usize, user: &str, message: &Message) -> Vec<usize> {
        let mut found = self.detect(receiver, user, &message.subject, &message.headers);
        found.extend(self.detect(receiver, user, &message.subject, &message.payload));
        found
    }

    /// Looks for canaries in the reply to a request on `asked`. A service replies on an
    /// inbox, so what counts is whether a share covers the request's subject. For a reply of
    /// JetStream it is the subject that the message was stored under, and the base64 parts
    /// are decoded.
    pub fn detect_in_answer(&self, receiver: usize, user: &str, asked: &str, message: &Message) -> Vec<usize> {
        if !asked.starts_with("$JS.") {
            // The exporter of a shared service may answer.
            let may_answer = |sender: usize| self.is_declared(receiver, sender, asked);
            let text = String::from_utf8_lossy(&message.payload).into_owned();
            let senders: Vec<usize> = self.named_in(&text).collect();
            if senders.iter().all(|s| may_answer(*s)) {
                return senders;
            }
            return self.detect_in_message(receiver, user, message);
        }
        let header = String::from_utf8_lossy(&message.headers);
        let stored_under = header.lines().find_map(|l| l.strip_prefix("Nats-Subject: ")).unwrap_or(asked);
        let mut found = self.detect(receiver, user, stored_under, &message.payload);
        let json = message.json();
        let stored = &json["message"];
        let subject = stored["subject"].as_str().unwrap_or(asked);
        for part in ["data", "hdrs"].map(|part| stored[part].as_str()).into_iter().flatten() {
            let bytes = data_encoding::BASE64.decode(part.as_bytes()).unwrap_or_default();
            found.extend(self.detect(receiver, user, subject, &bytes));
        }
        found
    }

    /// Looks for canaries in everything that the server has for any connected user.
    pub async fn detect_in_all(&self, tenant_runs: &mut [TenantRun<'p>]) {
        each(tenant_runs, usize::MAX, async |tenant_run| {
            for session in &mut tenant_run.sessions {
                session.settle(self).await;
                session.heard(self);
            }
        })
        .await;
    }

    /// Other tenants whose account or users a JSON text names, except those that `tenant`
    /// shares with. Empty if the text is not JSON.
    pub fn mentioned(&self, text: &str, tenant: usize) -> Vec<usize> {
        let shares = |other: usize| {
            let (own, other) = (self.topology.tenant(tenant), self.topology.tenant(other));
            let imports = |a: &Tenant, b: &Tenant| a.imports.iter().any(|i| i.from == b.name);
            imports(own, other) || imports(other, own) || own.copying().any(|name| *name == other.name)
        };
        let json: Value = serde_json::from_str(text).unwrap_or_default();
        let mut names = Vec::new();
        collect_names(&json, &mut names);
        let owners = names.iter().filter_map(|name| self.topology.owner_of(name));
        owners.filter(|other| *other != tenant && !shares(*other)).collect()
    }
}

/// Collects the values of the keys under which the server reports accounts and users.
fn collect_names(json: &Value, names: &mut Vec<String>) {
    const NAMING: [&str; 6] = ["account", "acc", "account_name", "authorized_user", "user", "nkey"];
    match json {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str().filter(|_| NAMING.contains(&key.as_str())) {
                    Some(name) => names.push(name.to_owned()),
                    None => collect_names(value, names),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| collect_names(value, names)),
        _ => {}
    }
}
