//! A user's publish and subscribe permissions. Both sides are always written out:
//! the server reads an empty or missing side as "everything".

use crate::subject::Subject;

/// A user's publish and subscribe permissions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Permissions {
    /// Subjects that the user may publish to.
    pub publish: Grant,
    /// Subjects that the user may subscribe to.
    pub subscribe: Grant,
}

/// One side of a user's permissions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Grant {
    /// Denies every subject.
    Nothing,
    /// Allows every subject. Only the system account's users have it.
    Everything,
    /// Allows only the listed subjects.
    Only(Allowed),
}

/// A list of subjects that is never empty, because the server reads an empty
/// list as "everything".
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Allowed {
    subjects: Vec<Subject>,
    no_queue_on: Vec<Subject>,
}

impl Grant {
    /// Grants exactly these subjects, without duplicates. An empty list grants `Nothing`.
    pub fn only(subjects: impl IntoIterator<Item = Subject>) -> Self {
        let mut kept: Vec<Subject> = Vec::new();
        for subject in subjects {
            if !kept.contains(&subject) {
                kept.push(subject);
            }
        }
        if kept.is_empty() { Self::Nothing } else { Self::Only(Allowed { subjects: kept, no_queue_on: Vec::new() }) }
    }

    /// Denies queue subscriptions on these subjects: a queue member in one account
    /// takes messages from the members of the same queue in the exporter's account.
    #[must_use]
    pub fn without_queues_on(self, subjects: impl IntoIterator<Item = Subject>) -> Self {
        match self {
            Self::Only(allowed) => Self::Only(Allowed { no_queue_on: subjects.into_iter().collect(), ..allowed }),
            other => other,
        }
    }
}

impl Allowed {
    /// The allowed subjects. Never empty.
    pub fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    /// Subjects on which only plain subscriptions are allowed.
    pub fn no_queue_on(&self) -> &[Subject] {
        &self.no_queue_on
    }

    /// Subjects to deny to subscriptions so that they receive no more than what is allowed: the
    /// server takes the subscription `a.>` for allowed by `a.*`, so `a.*.>` has to be denied.
    /// Not where another allowed subject lies below `a.*`, which that would deny as well.
    pub fn below_wildcards(&self) -> Vec<Subject> {
        let below = self.subjects.iter().filter_map(Subject::below_wildcard);
        below.filter(|below| !self.subjects.iter().any(|subject| subject.overlaps(below))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects(texts: &[&str]) -> Vec<Subject> {
        texts.iter().map(|text| Subject::parse(text).expect("a subject")).collect()
    }

    #[test]
    fn a_grant_of_no_subjects_grants_nothing() {
        assert_eq!(Grant::only(subjects(&[])), Grant::Nothing);
        assert!(matches!(Grant::only(subjects(&["a"])), Grant::Only(_)), "the control");
    }

    #[test]
    fn a_grant_keeps_each_subject_once_in_the_order_of_its_first_mention() {
        let Grant::Only(allowed) = Grant::only(subjects(&["b", "a", "b", "a.>", "a"])) else { panic!("nothing") };
        assert_eq!(allowed.subjects(), subjects(&["b", "a", "a.>"]));
        assert!(allowed.no_queue_on().is_empty());
    }

    #[test]
    fn denying_queues_keeps_the_allowed_subjects() {
        let Grant::Only(allowed) = Grant::only(subjects(&["a", "b"])).without_queues_on(subjects(&["b"])) else {
            panic!("nothing")
        };
        assert_eq!((allowed.subjects(), allowed.no_queue_on()), (&subjects(&["a", "b"])[..], &subjects(&["b"])[..]));
    }

    #[test]
    fn what_lies_below_a_last_wildcard_is_closed_unless_some_of_it_is_allowed() {
        for (allowed, closed) in [
            (&["a.*"][..], &["a.*.>"][..]),
            (&["a.*", "b.*.*", "c"], &["a.*.>", "b.*.*.>"]),
            (&["a.*", "*"], &["a.*.>"]),
            (&["*"], &["*.>"]),
            (&["a.*", "a.>"], &[]),
            (&["a.*", "a.b.c"], &[]),
            (&["a.*", "a.b"], &["a.*.>"]),
            (&["*.b", "a.b", "a.>"], &[]),
        ] {
            let Grant::Only(grant) = Grant::only(subjects(allowed)) else { panic!("nothing") };
            assert_eq!(grant.below_wildcards(), subjects(closed), "{allowed:?}");
        }
    }

    #[test]
    fn denying_queues_changes_neither_nothing_nor_everything() {
        assert_eq!(Grant::Nothing.without_queues_on(subjects(&["a"])), Grant::Nothing);
        assert_eq!(Grant::Everything.without_queues_on(subjects(&["a"])), Grant::Everything);
    }
}
