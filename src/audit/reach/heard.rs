//! The subjects that a user's subscribe list lets it receive: the server compares a subscription with
//! the list, which admits more than the list says.

use super::carried::{Exclusion, is_possible};
use super::term::{Term, Unknowns};
use crate::audit::system::{Side, SubjectPattern};
use crate::subject::Subject;

/// Subjects that a user may subscribe to.
#[derive(Debug)]
pub struct Heard<'w> {
    /// The subjects of the messages.
    pub subject: Subject,
    /// The queue that the entry demands. `None`: any subscription.
    pub queue: Option<&'w Subject>,
    /// The entry, which ends in `*`, if the subscription ends in `>`.
    widened_from: Option<&'w Subject>,
}

impl Heard<'_> {
    /// The subscription by which messages on `arrives` are received.
    pub(super) fn widest<'s>(&'s self, arrives: &'s Subject) -> &'s Subject {
        if self.widened_from.is_some() { &self.subject } else { arrives }
    }
}

impl Side {
    /// The subjects that subscriptions receive, before the deny list is applied.
    ///
    /// The server matches a subscription against the list as if it were a subject of its own, so
    /// that its last token `>` is matched by a last token `*` of the list: `a.*` allows the
    /// subscription `a.>`. Such a subscription is refused only if an entry of the deny list
    /// matches it in the same way.
    pub fn heard(&self) -> Vec<Heard<'_>> {
        self.heard_by(None)
    }

    /// The subjects that subscriptions with this queue receive, before the deny list is applied. `None`:
    /// without a queue.
    fn heard_by<'w>(&'w self, own_queue: Option<&'w Subject>) -> Vec<Heard<'w>> {
        let everything = || Heard { subject: Subject::everything(), queue: own_queue, widened_from: None };
        let Some(allow) = &self.allow else { return vec![everything()] };
        let mut heard = Vec::new();
        // Where an entry with a queue matches a subscription with one, the server asks no entry without.
        let is_overruled = |plain: &Subject| allow.iter().any(|p| p.queue.is_some() && p.subject.contains(plain));
        for SubjectPattern { subject, queue } in allow {
            if own_queue.is_some() && queue.is_none() && is_overruled(subject) {
                continue;
            }
            let queue = queue.as_ref().or(own_queue);
            heard.push(Heard { subject: subject.clone(), queue, widened_from: None });
            let Some(admitted) = subject.widened() else { continue };
            if self.admits_more(subject, queue, &admitted) {
                heard.push(Heard { subject: admitted, queue, widened_from: Some(subject) });
            }
        }
        heard
    }

    /// Whether the subscription `admitted` is accepted for the entry `listed`, and receives
    /// anything that is not listed.
    fn admits_more(&self, listed: &Subject, queue: Option<&Subject>, admitted: &Subject) -> bool {
        if self.denied_to(queue).any(|deny| deny.matches_literally(admitted)) {
            return false;
        }
        let Some(below) = listed.below_wildcard() else { return false };
        // An entry for another queue is another subscription, of which other subjects are denied.
        let is_as_wide = |pattern: &&SubjectPattern| pattern.queue.is_none() || pattern.queue.as_ref() == queue;
        let listed_too = self.allow.iter().flatten().filter(is_as_wide).map(|pattern| &pattern.subject);
        leaves_some(&below, self.denied_to(queue).chain(listed_too))
    }

    /// The entries of the allow list by which a subscription receives more than the list says,
    /// each with that subscription, and the queue that the entry demands.
    pub fn widened(&self) -> Vec<(&Subject, Subject, Option<&Subject>)> {
        self.heard().into_iter().filter_map(|heard| Some((heard.widened_from?, heard.subject, heard.queue))).collect()
    }

    /// Whether there is any subject whose messages may be received.
    pub fn hears_anything(&self) -> bool {
        self.heard().iter().any(|heard| leaves_some(&heard.subject, self.denied_to(heard.queue)))
    }

    /// The queues, of those that `within` names, in which subscriptions receive anything on `subject`.
    pub fn queues_on(&self, subject: &Subject, within: &Subject) -> Vec<Subject> {
        self.received_in_queues(subject, within).into_iter().map(|(_, queue)| queue).collect()
    }

    /// The parts of `subject` that subscriptions in queues that `within` names receive, each with the queue.
    pub fn received_in_queues(&self, subject: &Subject, within: &Subject) -> Vec<(Subject, Subject)> {
        let receives = |heard: Heard<'_>| {
            let queue = heard.queue?.meet(within)?;
            let cut = heard.subject.meet(subject)?;
            leaves_some(&cut, self.denied_to(Some(&queue))).then_some((cut, queue))
        };
        self.heard_by(Some(within)).into_iter().filter_map(receives).collect()
    }

    /// Whether a subscription without a queue receives anything on `subject`.
    pub fn hears_without_queue(&self, subject: &Subject) -> bool {
        let is_plain = |heard: &Heard<'_>| {
            let cut = heard.subject.meet(subject).filter(|_| heard.queue.is_none());
            cut.is_some_and(|cut| leaves_some(&cut, self.denied_to(None)))
        };
        self.heard().iter().any(is_plain)
    }

    /// The denied subjects for subscriptions that an allow entry with this queue demands.
    pub(super) fn denied_to<'w>(&'w self, queue: Option<&'w Subject>) -> impl Iterator<Item = &'w Subject> + use<'w> {
        let counts = move |deny: &&SubjectPattern| match (&deny.queue, queue) {
            (None, _) => true,
            (Some(denied), Some(queue)) => denied.contains(queue),
            (Some(_), None) => false,
        };
        self.deny.iter().filter(counts).map(|deny| &deny.subject)
    }
}

/// Whether some subject of `subject` matches none of the patterns.
fn leaves_some<'w>(subject: &Subject, patterns: impl Iterator<Item = &'w Subject>) -> bool {
    let subject = Term::of(subject, &mut Unknowns::default());
    is_possible(&[Exclusion { subject, patterns: patterns.collect() }])
}
