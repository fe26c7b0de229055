//! Looks for canaries in every message that a user receives: a canary of another tenant is
//! a leak unless a share delivers that subject.

use serde_json::Value;

use super::canary::Said;
use super::{Run, TenantRun, each};
use crate::model::{ShareKind, Tenant};
use crate::verify::expected::{is_own, is_shared, may_publish};
use crate::verify::report::SETTING;
use crate::verify::wire::Message;

impl<'p> Run<'p> {
    /// Whether a message of `sender` may arrive at `receiver` on this subject: the tenant is
    /// the same, or a share delivers it.
    pub fn is_declared(&self, sender: usize, receiver: usize, subject: &str) -> bool {
        sender == receiver || is_shared(self.topology.tenant(sender), self.topology.tenant(receiver), subject)
    }

    /// Looks for canaries in bytes that a user received on a subject. Records a leak for
    /// each canary of another tenant, unless a share delivers the subject. Returns the
    /// tenants whose canaries were found, the receiver's own included.
    pub fn detect(&self, receiver: usize, user: &str, subject: &str, bytes: &[u8]) -> Vec<usize> {
        let mut found = Vec::new();
        for said in self.said_in(bytes) {
            found.push(said.sender);
            // A share does not rewrite subjects: a message that was published on another
            // subject than it arrived on came some other way.
            let is_same_subject = said.on.as_deref().is_none_or(|on| on == subject);
            let is_delivered = is_same_subject && self.is_declared(said.sender, receiver, subject);
            if said.sender == receiver || is_delivered || self.is_by_clients(&said, (receiver, subject)) {
                continue;
            }
            let evidence = format!("its canary came to {user} on {subject}");
            // A connection gets its name before any probe runs.
            let probe = if said.probe == SETTING { self.ledger.probe() } else { said.probe };
            self.ledger.leak_of(probe, Some(said.sender), Some(receiver), &evidence);
        }
        found
    }

    /// Whether clients of the tenants may have brought what was said where it arrived, on a server in use: by
    /// publishing it again within what is declared.
    pub fn is_by_clients(&self, said: &Said, (receiver, subject): (usize, &str)) -> bool {
        // The receiver's clients publish again what they were given, the sender's what they hear in their account.
        let by_receiver = self.is_given(said, receiver) && self.may_write(receiver, subject);
        let by_sender = self.is_declared(said.sender, receiver, subject);
        !self.throwaway && (by_receiver || by_sender || self.is_passed_on(said, (receiver, subject)))
    }

    /// Whether clients of a tenant may bring a message to a subject of their account: JetStream writes to any.
    fn may_write(&self, tenant: usize, subject: &str) -> bool {
        let tenant = self.topology.tenant(tenant);
        tenant.jetstream.is_some()
            || is_own(tenant, subject)
            || tenant.users.iter().any(|user| may_publish(user, subject))
    }

    /// Whether clients may have passed a message on: somebody whom a share gave it, or to whom it was passed on, by
    /// clients of the sender that heard it too, published it again where it arrived.
    fn is_passed_on(&self, said: &Said, (receiver, subject): (usize, &str)) -> bool {
        let tenants = &self.model.tenants;
        let shares = |from: usize, to: usize| {
            let imports = |a: usize, kind, b: usize| {
                tenants[a].imports.iter().any(|import| import.kind == kind && import.from == tenants[b].name)
            };
            imports(to, ShareKind::Stream, from) || imports(from, ShareKind::Service, to)
        };
        let sender = said.sender;
        let mut holders: Vec<usize> =
            (0..tenants.len()).filter(|by| *by != sender && self.is_given(said, *by)).collect();
        if self.is_overheard(sender, said.on.as_deref()) {
            holders.push(sender);
        }
        let mut next = 0;
        while let Some(by) = holders.get(next).copied() {
            holders
                .extend((0..tenants.len()).filter(|to| !holders.contains(to) && shares(by, *to)).collect::<Vec<_>>());
            next += 1;
        }
        let is_own = holders.contains(&receiver) && self.may_write(receiver, subject);
        is_own || holders.iter().any(|by| *by != receiver && *by != sender && self.is_declared(*by, receiver, subject))
    }

    /// Looks for canaries in a message that a user received in its own inbox: whoever exports a
    /// service to it answers there, and what is an answer was not published on the inbox.
    pub fn detect_in_inbox(&self, receiver: usize, user: &str, message: &Message) {
        let may_answer = |sender: usize| {
            let imports = &self.topology.tenant(receiver).imports;
            let exporter = &self.topology.tenant(sender).name;
            imports.iter().any(|i| i.kind == ShareKind::Service && i.from == *exporter)
        };
        let is_answer = |said: &Said| {
            said.on.as_ref() != Some(&message.subject) && (said.sender == receiver || may_answer(said.sender))
        };
        if !self.said_in(message.text().as_bytes()).iter().all(|said| is_answer(said)) {
            self.detect_in_message(receiver, user, message);
        }
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
            let said = self.said_in(message.text().as_bytes());
            let senders: Vec<usize> = said.iter().map(|said| said.sender).collect();
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::verify::fixtures::{AUDIT, BILLING, ORDERS, SHARING, SHIPPING, System, checks, leaks, message, tenants};

    const PROBES: [&str; 2] = ["first", "second"];

    fn pair(from: &str, to: &str) -> (String, String) {
        (from.to_owned(), to.to_owned())
    }

    #[test]
    fn a_canary_of_another_tenant_is_found_in_the_payload_and_in_the_headers() {
        let system = System::load(SHARING);
        let plan = system.plan(true);
        for (sender, expected) in [(SHIPPING, vec![pair("SHIPPING", "ORDERS")]), (ORDERS, vec![])] {
            for place in ["payload", "headers", "middle"] {
                let run = Run::new(&plan, PROBES.into());
                let canary = run.signs(sender);
                let message = match place {
                    "payload" => message("ORDERS.a", canary),
                    "headers" => Message {
                        headers: format!("NATS/1.0\r\nName: {canary}\r\n\r\n").into_bytes(),
                        ..message("ORDERS.a", "")
                    },
                    _ => message("ORDERS.a", [b"\xff\0", canary.as_bytes(), b"\xff"].concat()),
                };
                assert_eq!(run.detect_in_message(ORDERS, "app", &message), [sender], "in the {place}");
                assert_eq!(leaks(run), expected, "in the {place}");
            }
        }
    }

    #[test]
    fn what_a_share_delivers_is_no_leak_and_the_same_bytes_elsewhere_are() {
        let system = System::load(SHARING);
        let plan = system.plan(true);
        for (from, to, subject, is_leak) in [
            (ORDERS, BILLING, "ORDERS.events.a", false),
            (ORDERS, BILLING, "ORDERS.other", true),
            (ORDERS, SHIPPING, "ORDERS.events.a", true),
            (BILLING, ORDERS, "ORDERS.events.a", true),
            (ORDERS, BILLING, "BILLING.quote.a", false),
            (ORDERS, AUDIT, "ORDERS.stored.a", false),
            (ORDERS, AUDIT, "ORDERS.secrets.a", true),
            (ORDERS, ORDERS, "BILLING.other", false),
        ] {
            let run = Run::new(&plan, PROBES.into());
            let payload = run.says(from, subject);
            assert_eq!(run.detect(to, "app", subject, payload.as_bytes()), [from]);
            assert_eq!(!leaks(run).is_empty(), is_leak, "{from} to {to} on {subject}");
        }
    }

    #[test]
    fn a_message_that_arrives_on_another_subject_than_it_was_published_on_is_a_leak() {
        let system = System::load(SHARING);
        let plan = system.plan(true);
        for (published, after, is_leak) in [
            ("ORDERS.events.a", "", false),
            ("ORDERS.events.a", " on ORDERS.secrets", false),
            ("ORDERS.secrets", " on ORDERS.events.a", true),
            ("ORDERS.secrets", "", true),
            ("ORDERS.events.b", "", true),
        ] {
            let run = Run::new(&plan, PROBES.into());
            let payload = run.says(ORDERS, published) + after;
            run.detect(BILLING, "app", "ORDERS.events.a", payload.as_bytes());
            assert_eq!(!leaks(run).is_empty(), is_leak, "published on {published}");
        }
    }

    #[test]
    fn what_a_share_gave_may_be_published_again_by_the_receivers_clients_on_a_server_in_use() {
        let system = System::load(SHARING);
        for (throwaway, from, to, published, arrives, is_leak) in [
            (false, ORDERS, BILLING, "ORDERS.events.a", "BILLING.seen.a", false),
            (true, ORDERS, BILLING, "ORDERS.events.a", "BILLING.seen.a", true),
            (false, ORDERS, BILLING, "ORDERS.secrets", "BILLING.seen.a", true),
            (false, ORDERS, BILLING, "ORDERS.events.a", "SHIPPING.a", true),
            (false, ORDERS, SHIPPING, "ORDERS.events.a", "SHIPPING.seen.a", true),
        ] {
            let plan = system.plan(throwaway);
            let run = Run::new(&plan, PROBES.into());
            let payload = run.says(from, published);
            run.detect(to, "app", arrives, payload.as_bytes());
            assert_eq!(!leaks(run).is_empty(), is_leak, "{from} to {to}: {published} on {arrives}, {throwaway}");
        }
    }

    /// A tenant may pass on what it hears to whom it shares with.
    #[test]
    fn what_a_third_tenants_clients_pass_on_by_declared_shares_is_no_leak_on_a_server_in_use() {
        let passed_on = "[[share]]\nfrom = \"BILLING\"\nto = [\"SHIPPING\"]\nstream = \"BILLING.out.>\"\n";
        let system = System::load(&format!("{SHARING}\n{passed_on}"));
        for (throwaway, published, arrives, is_leak) in [
            (false, "ORDERS.events.a", "BILLING.out.a", false),
            (false, "ORDERS.events.a", "SHIPPING.log", false),
            (true, "ORDERS.events.a", "SHIPPING.log", true),
            (false, "ORDERS.secret", "SHIPPING.log", true),
            (true, "ORDERS.events.a", "BILLING.out.a", true),
            (false, "ORDERS.other", "BILLING.out.a", true),
            (false, "ORDERS.events.a", "BILLING.other", true),
        ] {
            let plan = system.plan(throwaway);
            let run = Run::new(&plan, PROBES.into());
            let payload = run.says(ORDERS, published);
            run.detect(SHIPPING, "shipper", arrives, payload.as_bytes());
            assert_eq!(!leaks(run).is_empty(), is_leak, "{published} on {arrives}, {throwaway}");
        }
    }

    /// As a client does that forwards all messages of its tenant to another one's service.
    #[test]
    fn what_the_senders_own_clients_hear_they_may_pass_on_by_declared_shares() {
        let system = System::load(SHARING);
        let plan = system.plan(false);
        for (to, arrives, is_overheard, is_leak) in [
            (BILLING, "BILLING.log", true, false),
            (BILLING, "BILLING.log", false, true),
            (BILLING, "ORDERS.secret", true, true),
            (SHIPPING, "SHIPPING.log", true, true),
        ] {
            let run = Run::new(&plan, PROBES.into());
            if is_overheard {
                run.overhear(ORDERS, "ORDERS.>");
            }
            let payload = run.says(ORDERS, "ORDERS.secret");
            run.detect(to, "app", arrives, payload.as_bytes());
            assert_eq!(!leaks(run).is_empty(), is_leak, "to {to} on {arrives}, {is_overheard}");
        }
    }

    #[test]
    fn in_an_inbox_answers_of_an_exporter_are_declared_and_what_is_published_on_it_is_not() {
        let system = System::load(SHARING);
        let plan = system.plan(true);
        let inbox = "_INBOX_app.x.3";
        for (from, said_on, is_leak) in [
            (BILLING, "_R_.abc", false),
            (BILLING, inbox, true),
            (SHIPPING, "_R_.abc", true),
            (ORDERS, "_R_.abc", false),
        ] {
            let run = Run::new(&plan, PROBES.into());
            let payload = run.says(from, said_on);
            run.detect_in_inbox(ORDERS, "app", &message(inbox, payload));
            assert_eq!(!leaks(run).is_empty(), is_leak, "{from}, said on {said_on}");
        }
    }

    #[test]
    fn every_canary_of_a_message_is_judged() {
        let system = System::load(SHARING);
        let plan = system.plan(true);
        let run = Run::new(&plan, PROBES.into());
        let text = [SHIPPING, ORDERS, AUDIT, SHIPPING].map(|tenant| run.signs(tenant)).join(" ");
        assert_eq!(run.detect(ORDERS, "app", "ORDERS.a", text.as_bytes()), [SHIPPING, ORDERS, AUDIT, SHIPPING]);
        assert_eq!(leaks(run), [pair("SHIPPING", "ORDERS"), pair("AUDIT", "ORDERS")]);
    }

    #[test]
    fn a_leak_belongs_to_the_probe_that_published_the_canary() {
        let system = System::load(SHARING);
        let plan = system.plan(true);
        let run = Run::new(&plan, PROBES.into());
        run.begin("first");
        let canary = run.signs(SHIPPING);
        run.begin("second");
        run.detect(ORDERS, "app", "ORDERS.a", canary.as_bytes());
        let forged = canary.replace("/first", "/second");
        run.detect(BILLING, "app", "BILLING.a", forged.as_bytes());
        let found: Vec<_> = checks(run).into_iter().map(|c| (c.probe, c.to)).collect();
        assert_eq!(found, [("first", "ORDERS".to_owned()), ("first", "BILLING".to_owned())]);
    }

    #[test]
    fn the_name_of_a_connection_leaks_in_the_probe_that_runs() {
        let system = System::load(SHARING);
        let plan = system.plan(true);
        let run = Run::new(&plan, PROBES.into());
        let name = run.signs(SHIPPING);
        run.begin("second");
        run.detect(ORDERS, "app", "ORDERS.a", name.as_bytes());
        assert_eq!(checks(run).iter().map(|c| c.probe).collect::<Vec<_>>(), ["second"]);
    }

    /// As JetStream of the receiver may bring what it was given to any subject of its account.
    #[test]
    fn what_a_tenant_was_given_proves_nothing_where_its_own_clients_may_write() {
        let system = System::load(SHARING);
        let plan = system.plan(false);
        for (said_on, to, arrives, is_leak) in [
            ("ORDERS.stored.a", AUDIT, "AUDIT.log", false),
            ("ORDERS.stored.a", AUDIT, "$KV.log.x", false),
            ("ORDERS.secrets.a", AUDIT, "$KV.log.x", true),
            ("ORDERS.events.a", BILLING, "BILLING.log", false),
            // It has no JetStream, and nobody of it may publish there.
            ("ORDERS.events.a", BILLING, "$KV.log.x", true),
        ] {
            let run = Run::new(&plan, PROBES.into());
            let canary = run.says(ORDERS, said_on);
            run.detect(to, "app", arrives, canary.as_bytes());
            assert_eq!(!leaks(run).is_empty(), is_leak, "{said_on} at {to} on {arrives}");
        }
    }

    #[test]
    fn the_exporter_of_a_service_may_answer_and_no_other_tenant_may() {
        let system = System::load(SHARING);
        let plan = system.plan(true);
        for (asked, responders, is_leak) in [
            ("BILLING.quote.a", vec![BILLING], false),
            ("BILLING.quote.a", vec![ORDERS], false),
            ("BILLING.quote.a", vec![], false),
            ("BILLING.quote.a", vec![SHIPPING], true),
            ("BILLING.quote.a", vec![BILLING, SHIPPING], true),
            ("BILLING.other", vec![BILLING], true),
            ("$SRV.PING", vec![BILLING], true),
        ] {
            let run = Run::new(&plan, PROBES.into());
            let payload = responders.iter().map(|r| run.answers(*r, ORDERS, asked)).collect::<Vec<_>>().join(" ");
            let found = run.detect_in_answer(ORDERS, "app", asked, &message("_INBOX_app.1", payload));
            assert_eq!(found, responders);
            assert_eq!(!leaks(run).is_empty(), is_leak, "{responders:?} answered on {asked}");
        }
    }

    #[test]
    fn the_base64_parts_of_a_stored_message_are_read_under_the_subject_it_was_stored_with() {
        let system = System::load(SHARING);
        let plan = system.plan(true);
        for (subject, is_leak) in [("ORDERS.stored.a", false), ("ORDERS.secrets.a", true)] {
            for part in ["data", "hdrs"] {
                let run = Run::new(&plan, PROBES.into());
                let canary = data_encoding::BASE64.encode(run.signs(ORDERS).as_bytes());
                let reply = json!({ "message": { "subject": subject, part: canary } });
                let reply = message("_INBOX_auditor.1", reply.to_string());
                let found = run.detect_in_answer(AUDIT, "auditor", "$JS.API.STREAM.MSG.GET.COPY", &reply);
                assert_eq!(found, [ORDERS], "{part}");
                assert_eq!(!leaks(run).is_empty(), is_leak, "{part} of {subject}");
            }
        }
    }

    #[test]
    fn a_direct_reply_is_read_under_the_subject_in_its_headers() {
        let system = System::load(SHARING);
        let plan = system.plan(true);
        for (headers, is_leak) in [
            ("NATS/1.0\r\nNats-Stream: COPY\r\nNats-Subject: ORDERS.stored.a\r\n\r\n", false),
            ("NATS/1.0\r\nNats-Subject: ORDERS.secrets.a\r\n\r\n", true),
            ("NATS/1.0\r\nNats-Last-Subject: ORDERS.stored.a\r\n\r\n", true),
            ("", true),
        ] {
            let run = Run::new(&plan, PROBES.into());
            let reply = Message { headers: headers.into(), ..message("_INBOX_auditor.1", run.signs(ORDERS)) };
            assert_eq!(run.detect_in_answer(AUDIT, "auditor", "$JS.API.DIRECT.GET.COPY", &reply), [ORDERS]);
            assert_eq!(!leaks(run).is_empty(), is_leak, "{headers:?}");
        }
    }

    #[test]
    fn a_canary_in_the_metadata_of_another_tenants_stream_is_a_leak() {
        let system = System::load(SHARING);
        let plan = system.plan(true);
        for (owner, is_leak) in [(SHIPPING, true), (ORDERS, false)] {
            let run = Run::new(&plan, PROBES.into());
            let reply = json!({ "config": { "metadata": { "canary": run.signs(owner) } } });
            let reply = message("_INBOX_app.1", reply.to_string());
            assert_eq!(run.detect_in_answer(ORDERS, "app", "$JS.API.STREAM.INFO.X", &reply), [owner]);
            assert_eq!(!leaks(run).is_empty(), is_leak);
        }
    }

    #[test]
    fn a_text_mentions_other_tenants_except_those_that_share() {
        let system = System::load(&format!("{SHARING}{}", tenants(2)));
        let plan = system.plan(true);
        let run = Run::new(&plan, PROBES.into());
        let t0 = SHIPPING + 1;
        for (json, tenant, expected) in [
            (json!({ "account": "SHIPPING" }), ORDERS, vec![SHIPPING]),
            (json!({ "account": "ORDERS" }), ORDERS, vec![]),
            // Shares in either direction, and copies.
            (json!([{ "acc": "BILLING" }, { "acc": "AUDIT" }, { "acc": "T0" }]), ORDERS, vec![t0]),
            (json!({ "acc": "ORDERS" }), BILLING, vec![]),
            (json!({ "acc": "ORDERS" }), AUDIT, vec![]),
            (json!({ "acc": "BILLING" }), AUDIT, vec![BILLING]),
            // Users count by their names, if only one tenant has the name.
            (json!({ "a": { "b": [{ "authorized_user": "shipper" }] } }), ORDERS, vec![SHIPPING]),
            (json!({ "user": "app" }), SHIPPING, vec![]),
            // Other keys, other values and other names do not count.
            (json!({ "name": "SHIPPING", "subject": "SHIPPING.>" }), ORDERS, vec![]),
            (json!({ "account": { "name": "SHIPPING" } }), ORDERS, vec![]),
            (json!({ "account": "$G" }), ORDERS, vec![]),
        ] {
            assert_eq!(run.mentioned(&json.to_string(), tenant), expected, "{json}");
        }
        assert!(run.mentioned("account: SHIPPING", ORDERS).is_empty(), "not JSON");
    }
}
