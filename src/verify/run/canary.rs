//! Canaries: what a run says, each once. Whoever repeats one shows what it heard: where a canary was said, by whom
//! and to whom, is known here alone, and nothing in its text has to be believed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::{Run, unguessable};
use crate::verify::wire::Message;

/// Number of random bytes in the run's id, and in a canary.
pub(super) const UNGUESSABLE: usize = 10;
/// The same in characters: base32 encodes 5 bytes in 8 characters.
pub(super) const LENGTH: usize = UNGUESSABLE * 8 / 5;

/// What one canary says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The tenant that said it.
    pub sender: usize,
    /// The probe that ran.
    pub probe: &'static str,
    /// The subject of the message. `None`: it is the name of a connection, or metadata of a stream, or the server should have
    /// refused the message.
    pub on: Option<String>,
    /// The tenant whose request it answers.
    pub to: Option<usize>,
    /// The reply subject of a request that the run answers itself.
    pub reply: Option<String>,
}

/// All canaries of a run, by their random part.
#[derive(Default)]
pub(super) struct Canaries(RefCell<HashMap<String, Rc<Said>>>);

impl<'p> Run<'p> {
    /// A new canary, `tenantry/<run>/<random>/<probe>`, for a message that a tenant publishes on a subject.
    pub fn says(&self, tenant: usize, subject: &str) -> String {
        self.canary(Said { on: Some(subject.to_owned()), ..self.said_by(tenant) })
    }

    /// A new canary for an answer to a request of another tenant on a subject.
    pub fn answers(&self, tenant: usize, asking: usize, subject: &str) -> String {
        self.canary(Said { on: Some(subject.to_owned()), to: Some(asking), ..self.said_by(tenant) })
    }

    /// A new canary for a request on a subject, with a reply subject, that the run answers itself.
    pub fn asks(&self, tenant: usize, subject: &str, reply: &str) -> String {
        let (on, reply) = (Some(subject.to_owned()), Some(reply.to_owned()));
        self.canary(Said { on, reply, ..self.said_by(tenant) })
    }

    /// Whether a message is a request of this tenant as it was published: others may send what they heard once more, on
    /// another subject or with another reply subject.
    pub fn is_asked(&self, tenant: usize, message: &Message) -> bool {
        let is_it = |said: &Rc<Said>| {
            said.sender == tenant
                && said.on.as_deref() == Some(message.subject.as_str())
                && said.reply.is_some()
                && said.reply == message.reply
        };
        self.said_in(&message.payload).iter().any(is_it)
    }

    /// A new canary for what is no message: the name of a connection, or metadata of a stream.
    pub fn signs(&self, tenant: usize) -> String {
        self.canary(self.said_by(tenant))
    }

    fn said_by(&self, sender: usize) -> Said {
        Said { sender, probe: self.ledger.probe(), on: None, to: None, reply: None }
    }

    fn canary(&self, said: Said) -> String {
        let random = unguessable();
        let text = format!("{}{random}/{}", self.mark(), said.probe);
        self.canaries.0.borrow_mut().insert(random, Rc::new(said));
        text
    }

    /// What every canary of this run begins with.
    fn mark(&self) -> String {
        format!("tenantry/{}/", self.id)
    }

    /// What the canaries in these bytes say, in their order. What was never said is no canary, nor is part of one.
    pub fn said_in(&self, bytes: &[u8]) -> Vec<Rc<Said>> {
        let mark = self.mark();
        let known = self.canaries.0.borrow();
        let starts = memchr::memmem::find_iter(bytes, mark.as_bytes()).map(|at| at + mark.len());
        let randoms = starts.filter_map(|at| std::str::from_utf8(bytes.get(at..at + LENGTH)?).ok());
        randoms.filter_map(|random| known.get(random).cloned()).collect()
    }

    /// Whether a canary of this tenant is in these bytes.
    pub fn is_from(&self, tenant: usize, bytes: &[u8]) -> bool {
        self.said_in(bytes).iter().any(|said| said.sender == tenant)
    }

    /// Whether what was said is meant for a tenant: its own, an answer to it, or what a share delivers to it.
    pub fn is_given(&self, said: &Said, tenant: usize) -> bool {
        let is_delivered = |on: &str| self.is_declared(said.sender, tenant, on);
        said.sender == tenant || said.to == Some(tenant) || said.on.as_deref().is_some_and(is_delivered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fixtures::{AUDIT, BILLING, ORDERS, SHARING, SHIPPING, System};

    const PROBES: [&str; 2] = ["first", "second"];

    fn senders(run: &Run<'_>, bytes: impl AsRef<[u8]>) -> Vec<usize> {
        run.said_in(bytes.as_ref()).iter().map(|said| said.sender).collect()
    }

    #[test]
    fn a_canary_is_of_one_message_one_tenant_and_one_run() {
        let system = System::load(SHARING);
        let plan = system.plan(true);
        let (run, other) = (Run::new(&plan, PROBES.into()), Run::new(&plan, PROBES.into()));
        run.begin("first");
        let canary = run.says(ORDERS, "ORDERS.a");
        assert!(canary.starts_with(&format!("tenantry/{}/", run.id)) && canary.ends_with("/first"));
        assert_ne!(run.says(ORDERS, "ORDERS.a"), canary);
        assert!(run.is_from(ORDERS, format!("x {canary} x").as_bytes()));
        assert!(!run.is_from(BILLING, canary.as_bytes()) && !other.is_from(ORDERS, canary.as_bytes()));
        assert_eq!(run.id.len(), LENGTH);
        run.begin("second");
        let said = Said { sender: ORDERS, probe: "first", on: Some("ORDERS.a".into()), to: None, reply: None };
        assert_eq!(run.said_in(canary.as_bytes()), [Rc::new(said)]);
    }

    #[test]
    fn every_canary_is_found() {
        let system = System::load(SHARING);
        let plan = system.plan(true);
        let run = Run::new(&plan, PROBES.into());
        let text = [SHIPPING, ORDERS, AUDIT, SHIPPING].map(|tenant| run.signs(tenant)).join(" ");
        assert_eq!(senders(&run, &text), [SHIPPING, ORDERS, AUDIT, SHIPPING]);
        assert_eq!(senders(&run, [b"\xff\0", text.as_bytes(), b"\xff"].concat()).len(), 4);
    }

    #[test]
    fn a_truncated_or_changed_canary_and_one_that_was_not_said_is_none() {
        let system = System::load(SHARING);
        let plan = system.plan(true);
        let (run, other) = (Run::new(&plan, PROBES.into()), Run::new(&plan, PROBES.into()));
        let whole = run.signs(SHIPPING);
        let end = whole.rfind('/').expect("a canary ends with its probe");
        for length in 0..end {
            assert!(senders(&run, &whole[..length]).is_empty(), "{length} bytes");
            assert!(senders(&run, format!("{}\u{e4}\u{e4}", &whole[..length])).is_empty(), "{length} bytes");
        }
        assert!(senders(&run, whole.to_uppercase()).is_empty());
        assert!(senders(&run, other.signs(SHIPPING)).is_empty());
        assert!(senders(&run, format!("tenantry/{}/{}/first", run.id, unguessable())).is_empty());
        assert_eq!(senders(&run, &whole[..end]), [SHIPPING], "the control");
    }

    #[test]
    fn a_tenant_is_given_its_own_what_is_shared_with_it_and_answers_to_it() {
        let system = System::load(SHARING);
        let plan = system.plan(true);
        let run = Run::new(&plan, PROBES.into());
        for (canary, given) in [
            (run.says(ORDERS, "ORDERS.events.a"), vec![ORDERS, BILLING]),
            (run.says(ORDERS, "ORDERS.stored.a"), vec![ORDERS, AUDIT]),
            (run.says(ORDERS, "ORDERS.secrets.a"), vec![ORDERS]),
            (run.says(ORDERS, "BILLING.quote.a"), vec![ORDERS, BILLING]),
            (run.answers(BILLING, ORDERS, "BILLING.quote.a"), vec![ORDERS, BILLING]),
            (run.says(BILLING, "BILLING.quote.a"), vec![BILLING]),
            (run.signs(ORDERS), vec![ORDERS]),
        ] {
            let said = run.said_in(canary.as_bytes()).pop().expect("it was said");
            let to: Vec<usize> = (0..4).filter(|tenant| run.is_given(&said, *tenant)).collect();
            assert_eq!(to, given, "{said:?}");
        }
    }
}
