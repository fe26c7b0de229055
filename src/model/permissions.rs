//! What a user may publish and subscribe to. Both sides are always stated:
//! to the server, an empty or missing side means "everything".

use crate::subject::Subject;

/// Both sides of a user's permissions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Permissions {
    /// What it may publish to.
    pub publish: Grant,
    /// What it may subscribe to.
    pub subscribe: Grant,
    /// How it may answer requests, if it may.
    pub responses: Option<Responses>,
}

/// One side of a user's permissions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Grant {
    /// Nothing at all.
    Nothing,
    /// Everything: the system account's operators only.
    Everything,
    /// Only these.
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
    /// Exactly these subjects; nothing if there are none.
    pub fn only(subjects: impl IntoIterator<Item = Subject>) -> Self {
        let mut kept: Vec<Subject> = Vec::new();
        for subject in subjects {
            if !kept.contains(&subject) {
                kept.push(subject);
            }
        }
        if kept.is_empty() { Self::Nothing } else { Self::Only(Allowed { subjects: kept, no_queue_on: Vec::new() }) }
    }

    /// Refuses queue subscriptions on these: a queue member in one account
    /// takes messages from the members of that queue in the exporter's.
    #[must_use]
    pub fn without_queues_on(self, subjects: impl IntoIterator<Item = Subject>) -> Self {
        match self {
            Self::Only(allowed) => Self::Only(Allowed { no_queue_on: subjects.into_iter().collect(), ..allowed }),
            other => other,
        }
    }
}

impl Allowed {
    /// The subjects; at least one.
    pub fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    /// Subjects on which only plain subscriptions are allowed.
    pub fn no_queue_on(&self) -> &[Subject] {
        &self.no_queue_on
    }
}

/// How a user may answer requests: to the reply subject of what it received,
/// so often and so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Responses {
    /// Messages for each request.
    pub max: u32,
    /// Seconds after the request.
    pub expires_secs: u32,
}

impl Default for Responses {
    /// Ten messages within 30 seconds. One would not do: when two subscriptions
    /// of a connection match a request, the second delivery counts as an answer
    /// (`deliverMsg` asks `responseAllowed`, which counts), and the real answer
    /// is refused.
    fn default() -> Self {
        Self { max: 10, expires_secs: 30 }
    }
}
