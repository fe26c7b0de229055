//! The judge of every message that anybody hears: whose is it, and may it be here?

use serde_json::Value;

use super::{CANARY_LENGTH, Run, TenantRun, each};
use crate::model::Tenant;
use crate::verify::expected::is_shared;
use crate::verify::wire::Message;

impl<'p> Run<'p> {
    /// Whether what one tenant sends may arrive at another on this subject.
    pub fn is_declared(&self, sender: usize, receiver: usize, subject: &str) -> bool {
        sender == receiver || is_shared(self.topology.tenant(sender), self.topology.tenant(receiver), subject)
    }

    /// The tenants whose canaries are in a text.
    pub fn named_in<'t>(&'t self, text: &'t str) -> impl Iterator<Item = usize> + 't {
        let mark = format!("tenantry/{}/", self.id);
        let at = text.match_indices(&mark).map(|(at, mark)| at + mark.len()).collect::<Vec<_>>();
        at.into_iter().filter_map(|at| self.by_canary.get(text.get(at..at + CANARY_LENGTH)?).copied())
    }

    /// Looks for other tenants' canaries in what a tenant's user heard, at a
    /// subject; what a share lets through is in order. Says whose it was.
    pub fn detect(&self, receiver: usize, user: &str, subject: &str, bytes: &[u8]) -> Vec<usize> {
        let mark = format!("tenantry/{}/", self.id);
        let mut found = Vec::new();
        let mut rest = bytes;
        while let Some(at) = memchr::memmem::find(rest, mark.as_bytes()) {
            rest = &rest[at + mark.len()..];
            let canary = rest.get(..CANARY_LENGTH).and_then(|c| std::str::from_utf8(c).ok());
            let Some(sender) = canary.and_then(|c| self.by_canary.get(c)).copied() else { continue };
            found.push(sender);
            let sent_by = rest.get(CANARY_LENGTH + 1..).unwrap_or_default();
            // A share passes a message on as it is: what was said elsewhere came another way.
            let said_on = String::from_utf8_lossy(&sent_by[..sent_by.len().min(512)]).into_owned();
            let said_on = said_on
                .split_once(" on ")
                .map(|(_, s)| s.split(['"', '\\', '\r', '\n', ' ']).next().unwrap_or_default().to_owned());
            let is_as_said = said_on.as_deref().is_none_or(|s| s == subject);
            if sender == receiver || is_as_said && self.is_declared(sender, receiver, subject) {
                continue;
            }
            let probe = self.ledger.probe_at_start_of(sent_by).unwrap_or_else(|| self.ledger.probe());
            let evidence = format!("its canary came to {user} on {subject}");
            self.ledger.leak_of(probe, Some(sender), Some(receiver), evidence);
        }
        found
    }

    /// The same for a message that was heard.
    pub fn detect_in_message(&self, receiver: usize, user: &str, message: &Message) -> Vec<usize> {
        let mut found = self.detect(receiver, user, &message.subject, &message.headers);
        found.extend(self.detect(receiver, user, &message.subject, &message.payload));
        found
    }

    /// The same for an answer. A service's comes on an inbox, where a share may
    /// answer. JetStream's is judged by the subject that a message was stored
    /// under, and what is base64 in it is read too.
    pub fn detect_in_answer(&self, receiver: usize, user: &str, asked: &str, message: &Message) -> Vec<usize> {
        if !asked.starts_with("$JS.") {
            // Whoever is asked through a share may answer.
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

    /// Reads everybody's connection to the end of what the server has for it.
    pub async fn detect_in_all(&self, tenant_runs: &mut [TenantRun<'p>]) {
        each(tenant_runs, usize::MAX, async |tenant_run| {
            for session in &mut tenant_run.sessions {
                session.settle(self).await;
                session.heard(self);
            }
        })
        .await;
    }

    /// Other tenants that a JSON text names, but for those with whom it shares.
    pub fn mentioned(&self, text: &str, tenant: usize) -> Vec<usize> {
        let shares = |other: usize| {
            let (own, other) = (self.topology.tenant(tenant), self.topology.tenant(other));
            let imports = |a: &Tenant, b: &Tenant| a.imports.iter().any(|i| i.from == b.name);
            imports(own, other) || imports(other, own) || own.copying().any(|name| *name == other.name)
        };
        let json: Value = serde_json::from_str(text).unwrap_or_default();
        let mut names = Vec::new();
        named(&json, &mut names);
        let owners = names.iter().filter_map(|name| self.topology.owner_of(name));
        owners.filter(|other| *other != tenant && !shares(*other)).collect()
    }
}

/// The accounts and users that an answer of the server names.
fn named(json: &Value, names: &mut Vec<String>) {
    const NAMING: [&str; 6] = ["account", "acc", "account_name", "authorized_user", "user", "nkey"];
    match json {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str().filter(|_| NAMING.contains(&key.as_str())) {
                    Some(name) => names.push(name.to_owned()),
                    None => named(value, names),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| named(value, names)),
        _ => {}
    }
}
