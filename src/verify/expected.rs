//! What the registry grants, for one concrete subject or pattern at a time, as the
//! server decides it.

use crate::model::permissions::{Allowed, Grant};
use crate::model::{ShareKind, StreamCopy, Tenant, User};
use crate::subject::Subject;
use crate::verify::run::MARK;

/// Whether a user may publish to a subject.
pub fn may_publish(user: &User, subject: &str) -> bool {
    grants(&user.permissions.publish, subject)
}

/// Whether a user may subscribe to a subject without a queue.
pub fn may_subscribe(user: &User, subject: &str) -> bool {
    grants(&user.permissions.subscribe, subject)
}

/// Whether the server accepts a subscription of a user without a queue. It compares the subscription with the list as if
/// it were a subject: `a.*` admits `a.>`, which then receives what else the list allows.
pub fn admits(user: &User, subject: &str) -> bool {
    let literally = |allowed: &Allowed| matches_literally(allowed.subjects(), subject);
    may_subscribe(user, subject) || matches!(&user.permissions.subscribe, Grant::Only(allowed) if literally(allowed))
}

/// Whether the server accepts a subscription of a user with a queue.
pub fn admits_queue(user: &User, subject: &str) -> bool {
    let denied = match &user.permissions.subscribe {
        Grant::Only(allowed) => {
            contains(allowed.no_queue_on(), subject) || matches_literally(allowed.no_queue_on(), subject)
        }
        _ => false,
    };
    admits(user, subject) && !denied
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

fn matches_literally(patterns: &[Subject], subject: &str) -> bool {
    Subject::as_the_server_reads(subject).is_some_and(|s| patterns.iter().any(|p| p.matches_literally(&s)))
}

/// Whether a user of a tenant may create, read and delete streams of a run, and publish to them.
pub fn manages_streams(tenant: &Tenant, user: &User) -> bool {
    let may = |verb: &str| may_publish(user, &format!("$JS.API.STREAM.{verb}.{MARK}x"));
    let spaces = tenant.subjects.iter().filter(|subject| subject.as_str().ends_with('>'));
    let subjects = spaces.map(|subject| concrete(subject, MARK)).chain([format!("$KV.{MARK}x.y")]);
    if !subjects.into_iter().any(|subject| may_publish(user, &subject)) {
        return false;
    }
    // A provisioner may create streams but not read their messages, which is not enough.
    may("CREATE") && may("DELETE") && may("INFO") && may("MSG.GET")
}

/// The subjects that a grant lists. Empty if it grants nothing or everything.
pub fn listed(grant: &Grant) -> &[Subject] {
    match grant {
        Grant::Only(allowed) => allowed.subjects(),
        _ => &[],
    }
}

/// Whether a subject is in the tenant's own space.
pub fn is_own(tenant: &Tenant, subject: &str) -> bool {
    contains(&tenant.subjects, subject)
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
        copy.from == from.name
            && copy.filter.as_ref().is_none_or(|filter| filter.contains(&subject))
            && stream.is_some_and(|s| s.subjects.iter().any(|s| s.contains(&subject)))
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

/// Subjects that a pattern matches, at several depths below `>`: a leak may be narrower than a pattern.
pub fn depths(pattern: &Subject, token: &str) -> Vec<String> {
    let at = concrete(pattern, token);
    match pattern.as_str().ends_with('>') {
        true => vec![format!("{at}.{token}.{token}"), format!("{at}.{token}"), at],
        false => vec![at],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fixtures::{AUDIT, BILLING, ORDERS, SHARING, SHIPPING, System};

    #[test]
    fn an_app_may_publish_and_subscribe_to_what_its_tenant_owns_or_shares() {
        let model = System::load(SHARING).model;
        let (orders, billing) = (&model.tenants[ORDERS].users[0], &model.tenants[BILLING].users[0]);
        for (user, subject, publish, subscribe) in [
            (orders, "ORDERS.a", true, true),
            (orders, "ORDERS.>", true, true),
            (orders, "ORDERS", false, false),
            (orders, "ORDERSX.a", false, false),
            (orders, ">", false, false),
            (orders, "BILLING.quote.a", true, false),
            (orders, "BILLING.other", false, false),
            (billing, "ORDERS.events.a", false, true),
            (billing, "ORDERS.events.>", false, true),
            (billing, "ORDERS.*.a", false, false),
            (billing, "ORDERS.other", false, false),
            (orders, "_INBOX_app.x", true, true),
            (orders, "_INBOX_other.x", false, false),
            (orders, "ORDERS..a", false, false),
            (orders, "", false, false),
        ] {
            let found = (may_publish(user, subject), may_subscribe(user, subject));
            assert_eq!(found, (publish, subscribe), "{} on {subject:?}", user.name);
        }
    }

    #[test]
    fn a_subscriber_may_not_publish_and_an_operator_may_do_everything() {
        let model = System::load(SHARING).model;
        let clerk = &model.tenants[ORDERS].users[1];
        assert!(may_subscribe(clerk, "ORDERS.a") && !may_publish(clerk, "ORDERS.a"));
        let operator = &model.system.users[0];
        assert!(may_subscribe(operator, ">") && may_publish(operator, "ORDERS.a"));
        assert!(listed(&operator.permissions.publish).is_empty());
        assert!(!listed(&clerk.permissions.subscribe).is_empty());
    }

    #[test]
    fn a_queue_may_be_joined_on_own_subjects_and_not_on_imported_streams() {
        let model = System::load(SHARING).model;
        let billing = &model.tenants[BILLING].users[0];
        for (subject, plain, queue) in [
            ("BILLING.quote.a", true, true),
            ("ORDERS.events.a", true, false),
            ("ORDERS.events.>", true, false),
            ("ORDERS.other", false, false),
        ] {
            assert_eq!((may_subscribe(billing, subject), admits_queue(billing, subject)), (plain, queue), "{subject}");
        }
    }

    #[test]
    fn a_share_works_in_one_direction_and_on_its_own_subjects() {
        let model = System::load(SHARING).model;
        for (from, to, subject, expected) in [
            // The stream flows to the importer.
            (ORDERS, BILLING, "ORDERS.events.a", true),
            (ORDERS, BILLING, "ORDERS.other", false),
            (BILLING, ORDERS, "ORDERS.events.a", false),
            (ORDERS, SHIPPING, "ORDERS.events.a", false),
            // The requests of a service flow to its exporter.
            (ORDERS, BILLING, "BILLING.quote.a", true),
            (BILLING, ORDERS, "BILLING.quote.a", false),
            (SHIPPING, BILLING, "BILLING.quote.a", false),
            // A copy has the subjects of the copied stream, not of the exporter's others.
            (ORDERS, AUDIT, "ORDERS.stored.a", true),
            (ORDERS, AUDIT, "ORDERS.secrets.a", false),
            (AUDIT, ORDERS, "ORDERS.stored.a", false),
            (ORDERS, BILLING, "ORDERS.stored.a", false),
            (ORDERS, BILLING, "ORDERS..a", false),
        ] {
            let (sender, receiver) = (&model.tenants[from], &model.tenants[to]);
            assert_eq!(
                is_shared(sender, receiver, subject),
                expected,
                "{} to {}: {subject}",
                sender.name,
                receiver.name
            );
        }
    }

    #[test]
    fn the_filter_of_a_copy_limits_what_it_delivers() {
        let mut model = System::load(SHARING).model;
        let delivers =
            |model: &crate::model::Model, subject| is_shared(&model.tenants[ORDERS], &model.tenants[AUDIT], subject);
        assert!(delivers(&model, "ORDERS.stored.b"), "the control");
        model.tenants[AUDIT].stream_imports[0].filter = Subject::as_the_server_reads("ORDERS.stored.a");
        assert!(delivers(&model, "ORDERS.stored.a") && !delivers(&model, "ORDERS.stored.b"));
    }

    #[test]
    fn a_concrete_subject_has_the_token_in_place_of_each_wildcard() {
        for (pattern, expected) in
            [("a.>", "a.t"), ("a.*.b.>", "a.t.b.t"), (">", "t"), ("a.b", "a.b"), ("a.*", "a.t"), ("a.x*", "a.x*")]
        {
            let pattern = Subject::as_the_server_reads(pattern).expect("a subject");
            let subject = concrete(&pattern, "t");
            assert_eq!(subject, expected);
            assert!(pattern.contains(&Subject::as_the_server_reads(&subject).expect("a subject")));
        }
    }
}
