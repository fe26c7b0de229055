//! What the registry grants, for one concrete subject or pattern at a time, as the
//! server decides it.

use crate::model::permissions::Grant;
use crate::model::{ShareKind, StreamCopy, Tenant, User};
use crate::subject::Subject;

/// Whether a user may publish to a subject.
pub fn may_publish(user: &User, subject: &str) -> bool {
    grants(&user.permissions.publish, subject)
}

/// Whether a user may subscribe to a subject without a queue.
pub fn may_subscribe(user: &User, subject: &str) -> bool {
    grants(&user.permissions.subscribe, subject)
}

/// Whether a user may join a queue on a subject.
pub fn may_join_queue(user: &User, subject: &str) -> bool {
    let denied = match &user.permissions.subscribe {
        Grant::Only(allowed) => contains(allowed.no_queue_on(), subject),
        _ => false,
    };
    may_subscribe(user, subject) && !denied
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

/// The subjects that a grant lists. Empty if it grants nothing or everything.
pub fn listed(grant: &Grant) -> &[Subject] {
    match grant {
        Grant::Only(allowed) => allowed.subjects(),
        _ => &[],
    }
}

/// Whether a share delivers what `from` publishes on a subject to `to`.
pub fn is_shared(from: &Tenant, to: &Tenant, subject: &str) -> bool {
    let Some(subject) = Subject::as_the_server_reads(subject) else { return false };
    let imports = |tenant: &Tenant, kind: ShareKind, other: &Tenant| {
        tenant.imports.iter().any(|i| i.kind == kind && i.from == other.name && i.subject.contains(&subject))
    };
    // The messages of a copied stream keep the subjects that the exporter's stream captured.
    let copied = |copy: &StreamCopy| {
        let stream = from.streams.iter().find(|s| s.name == copy.stream);
        copy.from == from.name && stream.is_some_and(|s| s.subjects.iter().any(|s| s.contains(&subject)))
    };
    imports(to, ShareKind::Stream, from)
        || imports(from, ShareKind::Service, to)
        || to.stream_imports.iter().any(copied)
}

/// A subject that a pattern matches: `token` replaces each wildcard. A pattern without
/// wildcards is returned as it is.
pub fn concrete(pattern: &Subject, token: &str) -> String {
    let tokens: Vec<&str> = pattern.tokens().map(|t| if matches!(t, "*" | ">") { token } else { t }).collect();
    tokens.join(".")
}
