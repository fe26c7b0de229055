//! What the registry grants, asked as the server would be asked.

use crate::model::permissions::Grant;
use crate::model::{ShareKind, StreamCopy, Tenant, User};
use crate::subject::Subject;

/// Whether a user may publish there.
pub fn may_publish(user: &User, subject: &str) -> bool {
    grants(&user.permissions.publish, subject)
}

/// Whether a user may subscribe there, plainly.
pub fn may_subscribe(user: &User, subject: &str) -> bool {
    grants(&user.permissions.subscribe, subject)
}

/// Whether a user may join a queue there.
pub fn may_join_queue(user: &User, subject: &str) -> bool {
    let refused = match &user.permissions.subscribe {
        Grant::Only(allowed) => contains(allowed.no_queue_on(), subject),
        _ => false,
    };
    may_subscribe(user, subject) && !refused
}

fn grants(grant: &Grant, subject: &str) -> bool {
    match grant {
        Grant::Nothing => false,
        Grant::Everything => true,
        Grant::Only(allowed) => contains(allowed.subjects(), subject),
    }
}

fn contains(patterns: &[Subject], subject: &str) -> bool {
    Subject::as_the_server_reads(subject).is_some_and(|s| patterns.iter().any(|p| p.contains(&s)))
}

/// The subjects of one tenant_run, if they are counted.
pub fn listed(grant: &Grant) -> &[Subject] {
    match grant {
        Grant::Only(allowed) => allowed.subjects(),
        _ => &[],
    }
}

/// Whether a share lets what `from` sends arrive at `to` on this subject.
pub fn is_shared(from: &Tenant, to: &Tenant, subject: &str) -> bool {
    let Some(subject) = Subject::as_the_server_reads(subject) else { return false };
    let gets = |tenant: &Tenant, kind: ShareKind, other: &Tenant| {
        tenant.imports.iter().any(|i| i.kind == kind && i.from == other.name && i.subject.contains(&subject))
    };
    // What is in a copy has the subjects that the stream captures.
    let copied = |copy: &StreamCopy| {
        let stream = from.streams.iter().find(|s| s.name == copy.stream);
        copy.from == from.name && stream.is_some_and(|s| s.subjects.iter().any(|s| s.contains(&subject)))
    };
    gets(to, ShareKind::Stream, from) || gets(from, ShareKind::Service, to) || to.stream_imports.iter().any(copied)
}

/// A subject that a pattern matches, made unique where it leaves room.
pub fn concrete(pattern: &Subject, token: &str) -> String {
    let tokens: Vec<&str> = pattern.tokens().map(|t| if matches!(t, "*" | ">") { token } else { t }).collect();
    tokens.join(".")
}
