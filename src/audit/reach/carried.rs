//! A message on its way, with what is known of its subjects.

use std::collections::HashMap;

use super::heard::Heard;
use super::term::{Known, Rename, Term, Unknowns};
use crate::audit::system::{Account, Export, Import, Side, User};
use crate::diag::Span;
use crate::model::ShareKind;
use crate::subject::Subject;

/// A message on its path.
#[derive(Clone)]
pub struct Carried<'w> {
    /// The account that it is in.
    pub account: &'w Account,
    /// The subject that was published.
    pub published: Term,
    /// The subject that it has now.
    pub subject: Term,
    pub(super) unknowns: Unknowns,
    /// Subjects that the message did not have on its way, because a list denied them.
    exclusions: Vec<Exclusion<'w>>,
    /// Kind of the last import crossed. `None`: still in the publisher's account. The
    /// server forwards requests through further service imports, but stream
    /// messages through no further import.
    pub(super) way: Option<ShareKind>,
    /// Number of imports crossed.
    pub(super) hops: usize,
    /// The service exports crossed, where it is certain which. The server takes none twice on one way.
    pub(super) exports: Vec<&'w Export>,
    pub(super) steps: Vec<(String, Span)>,
}

/// A subject of a message that must match none of the patterns.
#[derive(Clone)]
pub(super) struct Exclusion<'w> {
    pub(super) subject: Term,
    pub(super) patterns: Vec<&'w Subject>,
}

impl<'w> Carried<'w> {
    /// A message in `account` on the subjects that `subject` matches.
    pub fn new(account: &'w Account, subject: &Subject) -> Self {
        let mut unknowns = Unknowns::default();
        let subject = Term::of(subject, &mut unknowns);
        Self {
            account,
            published: subject.clone(),
            subject,
            unknowns,
            exclusions: Vec::new(),
            way: None,
            hops: 0,
            exports: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// Fills in what is known of its subjects.
    fn fill(&mut self, known: &Known) {
        self.published = known.apply(&self.published);
        self.subject = known.apply(&self.subject);
        for exclusion in &mut self.exclusions {
            exclusion.subject = known.apply(&exclusion.subject);
        }
    }

    /// The part of the message on the subjects of `pattern`. `None`: no part.
    pub(super) fn narrowed(&self, pattern: &Subject) -> Option<Self> {
        let mut part = self.clone();
        let pattern = Term::of(pattern, &mut part.unknowns);
        let known = part.subject.unify(&pattern)?;
        part.fill(&known);
        Some(part)
    }

    /// The part of the message that is on the subjects of `pattern` now. `None`: no part.
    pub fn within(&self, pattern: &Subject) -> Option<Self> {
        self.narrowed(pattern)?.without(Vec::new())
    }

    /// The part of the message that a rename applies to, renamed. `None`: no part.
    pub(super) fn renamed(&self, rename: impl FnOnce(&mut Unknowns) -> Option<Rename>) -> Option<Self> {
        let mut part = self.clone();
        let rename = rename(&mut part.unknowns)?;
        let known = part.subject.unify(&rename.from)?;
        part.fill(&known);
        part.subject = known.apply(&rename.to);
        Some(part)
    }

    /// The part of the message whose subject now matches none of the patterns. `None`: no part.
    pub(super) fn without(mut self, patterns: Vec<&'w Subject>) -> Option<Self> {
        if !patterns.is_empty() {
            self.exclusions.push(Exclusion { subject: self.subject.clone(), patterns });
        }
        is_possible(&self.exclusions).then_some(self)
    }

    /// The part of the message that a subscription to `heard` receives. `None`: no part.
    pub(super) fn received(&self, side: &'w Side, heard: &Heard<'w>) -> Option<Self> {
        let denied = side.denied_to(heard.queue).collect();
        self.narrowed(&heard.subject)?.without(denied)
    }

    /// The subjects with which the message arrives at a user of its account. `None`: it does not.
    pub fn received_by(&self, user: &'w User) -> Option<Subject> {
        if user.is_leaf {
            // It can replace its own lists.
            return Some(self.subject());
        }
        let side = &user.permissions.subscribe;
        side.heard().iter().find_map(|heard| Some(self.received(side, heard)?.subject()))
    }

    /// The subjects that it is on now.
    pub fn subject(&self) -> Subject {
        self.subject.pattern()
    }

    /// A key that two messages share if they go on in the same way.
    pub(super) fn key(&self) -> String {
        let (mut key, mut numbers) = (format!("{} {:?} ", self.account.name, self.way), HashMap::new());
        for term in [&self.published, &self.subject] {
            term.write_key(&mut numbers, &mut key);
        }
        for exclusion in &self.exclusions {
            exclusion.subject.write_key(&mut numbers, &mut key);
            exclusion.patterns.iter().for_each(|pattern| {
                key.push_str(pattern.as_str());
                key.push(' ');
            });
        }
        key
    }

    /// The location that permits its last step. `None`: it has taken none.
    pub fn place(&self) -> Option<Span> {
        self.steps.last().map(|(_, span)| *span)
    }

    pub(super) fn has_crossed(&self, export: &Export) -> bool {
        self.exports.iter().any(|crossed| std::ptr::eq(*crossed, export))
    }

    pub(super) fn step(mut self, what: String, span: Span) -> Self {
        self.steps.push((what, span));
        self
    }

    /// The message on the other side of an import.
    pub(super) fn across(self, account: &'w Account, import: &Import, what: String) -> Self {
        let hops = self.hops + 1;
        Carried { account, way: Some(import.kind), hops, ..self.step(what, import.span) }
    }
}

/// Whether there is a subject that no exclusion excludes. A token that nothing names stands
/// for all tokens, so only the number of tokens of each rest has to be tried.
pub(super) fn is_possible(exclusions: &[Exclusion<'_>]) -> bool {
    const MOST_RESTS: usize = 2;
    let mut rests = Vec::new();
    exclusions.iter().for_each(|exclusion| exclusion.subject.collect_rests(&mut rests));
    if rests.len() > MOST_RESTS {
        return true;
    }
    let patterns = exclusions.iter().flat_map(|exclusion| &exclusion.patterns);
    // A longer rest is matched by the same patterns as one of this length.
    let longest = 1 + patterns.map(|pattern| pattern.tokens().count()).max().unwrap_or(0);
    let is_allowed = |lengths: &[usize]| {
        let length = |rest| rests.iter().position(|r| *r == rest).map_or(1, |i| lengths[i]);
        exclusions.iter().all(|exclusion| {
            let subject = Subject::as_the_server_reads(&exclusion.subject.example(length));
            subject.is_none_or(|subject| !exclusion.patterns.iter().any(|pattern| pattern.contains(&subject)))
        })
    };
    match rests.len() {
        0 => is_allowed(&[]),
        1 => (1..=longest).any(|n| is_allowed(&[n])),
        _ => (1..=longest).any(|n| (1..=longest).any(|m| is_allowed(&[n, m]))),
    }
}
