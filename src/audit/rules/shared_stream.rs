//! Streams and consumers of an account that several other tenants use by service imports.

mod ways;

use std::collections::{BTreeMap, HashSet};

use super::{Rule, decided_elsewhere};
use crate::audit::crossing::{StreamRead, stream_reads, subjects_of_bucket, would_be_read};
use crate::audit::system::{Account, System, User};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::subject::Subject;
use ways::{Party, PartyWay, Use, Visitors, Write, are_same, collect};

pub const RULE: Rule = Rule {
    id: "shared-stream",
    proves: "tenants that use one stream of another account do not reach each other by it",
    why: "Two tenants with one consumer take messages from each other, and acknowledge what the other has yet to process; a tenant that may purge a stream or change its consumers destroys what others have there; a tenant that reads a stream reads whatever it captures, from whichever tenant",
    mend: "give each tenant its own stream and consumer, and export no requests that change what others use",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    let mut by_owner: BTreeMap<&str, Visitors<'_>> = BTreeMap::new();
    for account in system.tenants() {
        collect(system, tenants, account, &mut by_owner);
    }
    for (owner, visitors) in by_owner {
        let own = tenants.of_account(owner);
        // Several requests may do the same.
        let mut told = HashSet::new();
        let mut tell = |found: Option<Diagnostic>| {
            out.extend(found.filter(|found| told.insert(found.message.clone())));
        };
        visitors.meet(own, &mut tell);
        // A registry says what the streams of its tenants capture, and to whom they deliver it.
        if !tenants.are_rendered() {
            visitors.may_meet(owner, own, &mut tell);
        }
    }
    let mut told = HashSet::new();
    for (account, user) in system.users().filter(|(account, _)| !system.is_system(account)) {
        for read in stream_reads(system, account, user) {
            if read.owner.name != account.name && told.insert((&account.name, read.request.to_string())) {
                out.extend(read_of_others(system, tenants, account, &read, user));
            }
        }
    }
}

impl Visitors<'_> {
    /// The uses that may change what others have, without those of the account's own tenant.
    fn changing(&self, own: &str) -> impl Iterator<Item = &Use<'_>> {
        self.uses.iter().filter(move |one| one.changes && one.tenant != own)
    }

    /// The uses of two tenants that may be of one stream, each pair once.
    fn pairs(&self) -> impl Iterator<Item = (&Use<'_>, &Use<'_>)> {
        let others = |(i, one)| self.uses[i + 1..].iter().map(move |other| (one, other));
        let pairs = self.uses.iter().enumerate().flat_map(others);
        pairs.filter(|(one, other)| one.tenant != other.tenant && other.is_of(&one.stream))
    }

    /// Tells how tenants harm each other for certain. `own`: the account's own tenant.
    fn meet(&self, own: &str, tell: &mut dyn FnMut(Option<Diagnostic>)) {
        self.pairs().for_each(|(one, other)| tell(conflict(one, other).or_else(|| conflict(other, one))));
        for one in self.changing(own) {
            let mut others = self.writes.iter().filter(|write| write.tenant != one.tenant);
            tell(others.find_map(|write| harmed(one, write)));
        }
        let to_buckets: Vec<&Write<'_>> =
            self.writes.iter().filter(|write| bucket_of(&write.subject).is_some()).collect();
        for (i, one) in to_buckets.iter().enumerate() {
            let mut others = to_buckets[i + 1..].iter().filter(|other| other.tenant != one.tenant);
            tell(others.find_map(|other| replaced(one, other)));
            for other in self.uses.iter().filter(|other| ![one.tenant, own].contains(&other.tenant)) {
                tell(replaced_for_reader(one, other));
            }
        }
        let Some(events) = Subject::as_the_server_reads("$JS.EVENT.ADVISORY.API") else { return };
        for one in self.parties.iter().filter(|party| party.hears().is_some_and(|hears| hears.overlaps(&events))) {
            let asks = |other: &&Party<'_>| other.way == PartyWay::Asks && other.tenant != one.tenant;
            let mut others = self.parties.iter().filter(asks);
            tell(others.next().and_then(|other| asked_aloud(one, other)));
        }
    }

    /// Tells how they may harm or reach each other, by what streams the account has.
    fn may_meet(&self, owner: &str, own: &str, tell: &mut dyn FnMut(Option<Diagnostic>)) {
        self.pairs().for_each(|(one, other)| tell(removed(one, other).or_else(|| removed(other, one))));
        for one in self.changing(own) {
            let mut others = self.writes.iter().filter(|write| write.tenant != one.tenant);
            let captured = others.find_map(|write| may_be_harmed(one, write));
            tell(captured.or_else(|| {
                let mut others =
                    self.parties.iter().filter(|party| party.hears().is_some() && party.tenant != one.tenant);
                let party = others.next()?;
                let found = decided_elsewhere::delivered_by_changed(party.tenant, &one.may_change(), one.span);
                Some(found.related(party.span, "what the other one imports"))
            }));
        }
        let to_streams: Vec<&Write<'_>> =
            self.writes.iter().filter(|write| bucket_of(&write.subject).is_none()).collect();
        let together = to_streams.iter().find_map(|one| {
            let other = to_streams.iter().find(|other| other.tenant != one.tenant)?;
            let found = decided_elsewhere::captured_together(owner, [one.tenant, other.tenant], one.span);
            Some(found.related(other.span, "the other one"))
        });
        tell(together);
        self.may_harm_owner(own, tell);
        let stored = self.writes.iter().find_map(|one| {
            let mut others = self.writes.iter().filter(|other| other.tenant != one.tenant);
            let other = others.find(|_| bucket_of(&one.subject).is_some())?;
            let found = decided_elsewhere::stored_together(owner, [one.tenant, other.tenant], one.span);
            Some(found.related(other.span, "the other one"))
        });
        tell(stored);
        let delivered = self.writes.iter().find_map(|write| {
            let party = self.parties.iter().find(|party| party.tenant != write.tenant)?;
            let is_asked = party.way == PartyWay::IsAsked;
            let found = decided_elsewhere::delivered(owner, write.tenant, party.tenant, is_asked, write.span);
            Some(found.related(party.span, "the other one"))
        });
        tell(delivered);
    }

    /// Tells what tenants may destroy of the account's own.
    fn may_harm_owner(&self, own: &str, tell: &mut dyn FnMut(Option<Diagnostic>)) {
        for Write { owner, tenant, subject, span } in &self.writes {
            let part = bucket_of(subject).filter(|_| is_part_of_bucket(subject));
            tell(part.map(|(_, name)| decided_elsewhere::replaced_of_owner(&owner.name, name, tenant, subject, *span)));
        }
        for one in self.changing(own).filter(|one| one.consumer.as_deref() == Some("*")) {
            tell(Some(decided_elsewhere::consumers_of_owner(&one.owner.name, &one.may_change(), one.span)));
        }
    }
}

/// Whether messages to a bucket leave some of its subjects out, which are the owner's or others'.
fn is_part_of_bucket(subject: &Subject) -> bool {
    let rest: Vec<&str> = subject.tokens().skip(2).collect();
    let is_whole = match rest.as_slice() {
        [] | [">"] => true,
        // An object store has its chunks and what they are of.
        ["C" | "M", ">"] => subject.first_token() == "$O",
        _ => false,
    };
    !is_whole
}

/// How one tenant's use of a stream harms another's.
fn conflict(one: &Use<'_>, other: &Use<'_>) -> Option<Diagnostic> {
    let what = match (&one.consumer, &other.consumer) {
        (Some(consumer), Some(its)) if are_same(consumer, its) && one.changes && other.changes => {
            format!(
                "consumer `{consumer}` of `{}`, messages of which `{}` takes or acknowledges, too",
                one.stream, other.tenant
            )
        }
        (None, _) if one.changes => format!("stream `{}`, which `{}` uses, too", one.stream, other.tenant),
        _ => return None,
    };
    let message = format!("`{}` may take from or change in `{}` the {what}", one.tenant, one.owner.name);
    Some(RULE.error(one.span, message).related(other.span, "the other one"))
}

/// How a tenant whose acknowledgements may remove messages harms one that reads the stream. Whether they do, its
/// retention says.
fn removed(one: &Use<'_>, other: &Use<'_>) -> Option<Diagnostic> {
    let removes = one.changes && one.consumer.is_some() && !other.changes;
    let found = || decided_elsewhere::removed_for_reader(other.tenant, &one.may_change(), one.span);
    removes.then(|| found().related(other.span, "the other one"))
}

/// How a tenant that imports JetStream's events hears what another one asks.
fn asked_aloud(one: &Party<'_>, other: &Party<'_>) -> Option<Diagnostic> {
    let hears = one.hears()?;
    let message =
        format!("`{}` hears on `{hears}` what `{}` asks of JetStream, and the answers", one.tenant, other.tenant);
    Some(RULE.error(one.span, message).related(other.span, "the other one"))
}

/// How a tenant that changes a bucket harms one that sends to it.
fn harmed(one: &Use<'_>, write: &Write<'_>) -> Option<Diagnostic> {
    let is_of_it = subjects_of_bucket(&one.stream).is_some_and(|bucket| bucket.overlaps(&write.subject));
    let may = one.may_change();
    let found =
        || RULE.error(one.span, format!("{may}, which holds what `{}` sends to `{}`", write.tenant, write.subject));
    (is_of_it && one.consumer.is_none()).then(|| found().related(write.span, "the other one"))
}

/// How a tenant that changes a stream or its consumers harms one that sends what the stream may capture.
fn may_be_harmed(one: &Use<'_>, write: &Write<'_>) -> Option<Diagnostic> {
    let is_other = subjects_of_bucket(&one.stream).is_some_and(|bucket| !bucket.overlaps(&write.subject));
    let found = || decided_elsewhere::captured_by_changed(write.tenant, &one.may_change(), one.span);
    (!is_other && harmed(one, write).is_none()).then(|| found().related(write.span, "the other one"))
}

/// How a tenant that writes to a bucket destroys what another one keeps there: a message with `Nats-Rollup: all`
/// replaces all others.
fn replaced(one: &Write<'_>, other: &Write<'_>) -> Option<Diagnostic> {
    let ((space, name), (its_space, its_name)) = (bucket_of(&one.subject)?, bucket_of(&other.subject)?);
    if space != its_space || !are_same(name, its_name) {
        return None;
    }
    let message = format!(
        "`{}` and `{}` may both write to bucket `{name}` of `{}`, and one message can replace all that it holds",
        one.tenant, other.tenant, one.owner.name
    );
    Some(RULE.error(one.span, message).related(other.span, "the other one"))
}

/// How a tenant that writes to a bucket destroys what another one reads there.
fn replaced_for_reader(one: &Write<'_>, other: &Use<'_>) -> Option<Diagnostic> {
    let (_, name) = bucket_of(&one.subject)?;
    let is_of_it = match subjects_of_bucket(&other.stream) {
        Some(bucket) => bucket.overlaps(&one.subject),
        None => other.stream == "*",
    };
    let message = format!(
        "`{}` may write to bucket `{name}` of `{}`, and one message can replace all that `{}` reads there",
        one.tenant, one.owner.name, other.tenant
    );
    is_of_it.then(|| RULE.error(one.span, message).related(other.span, "the other one"))
}

/// The space of buckets or object stores that a subject is in, and the bucket's name. `None`: it is in none.
fn bucket_of(subject: &Subject) -> Option<(&str, &str)> {
    let mut tokens = subject.tokens();
    let space = tokens.next().filter(|space| matches!(*space, "$KV" | "$O"))?;
    let name = tokens.next()?;
    Some((space, if name == ">" { "*" } else { name }))
}

/// The finding that a stream which one tenant reads captures, or may capture, what a third one sends to its account.
fn read_of_others(
    system: &System,
    tenants: &Tenants,
    account: &Account,
    read: &StreamRead<'_>,
    reader: &User,
) -> Option<Diagnostic> {
    let StreamRead { owner, stream: _, request, place, certain, possible } = read;
    let is_third =
        |other: &&Account| tenants.are_apart(&other.name, &account.name) && tenants.are_apart(&other.name, &owner.name);
    let reaches = |other: &Account, subject: &Subject| {
        let mut users = other.users.iter();
        users.any(|user| would_be_read(system, (other, user), (owner, reader), subject.clone(), None))
    };
    let sender = |subject: &Subject| system.tenants().filter(is_third).find(|other| reaches(other, subject));
    let by = format!("`{}/{}` reads of `{}` by `{request}`", account.name, reader.display_name(), owner.name);
    if let Some((bucket, third)) = certain.iter().find_map(|subject| Some((subject, sender(subject)?))) {
        let message = format!("what `{}` sends to `{bucket}` {by}", third.name);
        return Some(RULE.error(*place, message).related(third.span, "the other tenant"));
    }
    // The subject that it asks for does not matter: a schedule of the stream may have made it of another one.
    let third = possible.as_ref().and_then(|_| sender(&Subject::everything()))?;
    Some(decided_elsewhere::captured_of(&third.name, &by, *place).related(third.span, "the other tenant"))
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::findings;
    use crate::diag::Severity;

    /// Rules of errors and of what makes the verdict inconclusive, for what HUB exports to B and to C.
    fn found(to_b: &str, to_c: &str) -> Vec<&'static str> {
        found_with("", "", to_b, to_c)
    }

    /// The same with more options of JetStream, and permissions of the user of B.
    fn found_with(jetstream: &str, permissions: &str, to_b: &str, to_c: &str) -> Vec<&'static str> {
        let export =
            |subject: &str, to: &str| format!("{{ service: \"{subject}\", response_type: stream, accounts: [{to}] }}");
        let import = |subject: &str| format!("imports: [{{ service: {{ account: HUB, subject: \"{subject}\" }} }}]");
        let text = format!(
            "jetstream {{ {jetstream} }}\naccounts {{\n\
             HUB {{ jetstream: enabled, users: [{{ user: hub }}], exports: [{}, {}] }}\n\
             B {{ users: [{{ user: b {permissions} }}], {} }}\nC {{ users: [{{ user: c }}], {} }} }}",
            export(to_b, "B"),
            export(to_c, "C"),
            import(to_b),
            import(to_c)
        );
        let counts = |f: &crate::diag::Diagnostic| {
            f.rule == "shared-stream" && f.severity == Severity::Error || f.rule == "decided-elsewhere"
        };
        let mut rules: Vec<_> = findings(&text).iter().filter(|f| counts(f)).map(|f| f.rule).collect();
        rules.dedup();
        rules
    }

    /// Measured on nats-server 2.15.1: the longer form of an acknowledgement has the domain and the hash of the account's name,
    /// and no other token in its place.
    #[test]
    fn a_domain_that_is_called_like_a_stream_makes_no_longer_form() {
        let found = |domain: &str, acks: &str| {
            let export = |stream: &str, acks: &str, to: &str| {
                format!(
                    "{{ service: \"$JS.API.CONSUMER.MSG.NEXT.{stream}.w\", accounts: [{to}] }}, {{ service: \"{acks}\", accounts: [{to}] }}"
                )
            };
            let import = |name: &str, stream: &str, acks: &str| {
                format!(
                    "{name} {{ users: [{{ user: u{name} }}], imports: [{{ service: {{ account: HUB, subject: \"$JS.API.CONSUMER.MSG.NEXT.{stream}.w\" }} }}, {{ service: {{ account: HUB, subject: \"{acks}\" }} }}] }}"
                )
            };
            let own = "$JS.ACK.ORD_B.w.>";
            let text = format!(
                "jetstream {{ domain: {domain} }}\naccounts {{ HUB {{ jetstream: enabled, users: [{{ user: h }}], exports: [{}, {}] }}\n{}\n{} }}",
                export("ORD_A", acks, "A"),
                export("ORD_B", own, "B"),
                import("A", "ORD_A", acks),
                import("B", "ORD_B", own),
            );
            findings(&text).iter().any(|f| f.rule == "shared-stream")
        };
        assert!(!found("other", "$JS.ACK.ORD_A.w.>") && !found("ORD_A", "$JS.ACK.ORD_A.w.>"));
        assert!(found("ORD_A", "$JS.ACK.ORD_A.>") && found("ORD_A", "$JS.ACK.ORD_A.LNj1UmbN.ORD_B.w.>"));
    }

    /// Measured on nats-server 2.15.1: HUB republishes what A sends to the service that it imports of B; and if C sends a
    /// message of its stream with that service's subject as reply, HUB's stream acknowledges it there.
    #[test]
    fn jetstream_passes_messages_on_to_a_service_of_a_third_account() {
        let found = |export: &str, import: &str, jetstream: &str| {
            let text = format!(
                "jetstream {{}}\naccounts {{\n HUB {{ {jetstream} users: [{{ user: hub }}], {export} imports: [{{ service: {{ account: B, subject: pay }} }}{import}] }}\n\
                 A {{ users: [{{ user: a }}], {} }}\nB {{ users: [{{ user: b }}], exports: [{{ service: pay, accounts: [HUB] }}] }} }}",
                if export.is_empty() {
                    "exports: [{ stream: ev, accounts: [HUB] }]"
                } else {
                    "imports: [{ service: { account: HUB, subject: in } }]"
                }
            );
            findings(&text)
                .iter()
                .any(|f| f.rule == "decided-elsewhere" && f.message.contains("to a service of `B` what `A` sends"))
        };
        let (service, stream) =
            ("exports: [{ service: in, accounts: [A] }],", ", { stream: { account: A, subject: ev } }");
        assert!(found(service, "", "jetstream: enabled,") && found("", stream, "jetstream: enabled,"));
        assert!(!found(service, "", "") && !found("", stream, ""), "the control");
    }

    /// Measured on nats-server 2.15.1 with two leaf servers: one received the other's job, and removed it.
    #[test]
    fn who_logs_in_as_a_leaf_node_is_a_tenant() {
        let logins = |b: &str| {
            let login = |name: &str| format!("{{ user: {name}, password: p, account: SITE_{name} }}");
            let site = |name: &str| {
                format!(
                    "SITE_{name} {{ imports: [{{ service: {{ account: HUB, subject: \"$JS.API.CONSUMER.MSG.NEXT.S.c\" }} }}] }}"
                )
            };
            let text = format!(
                "jetstream {{}}\nleafnodes {{ port: 7422, authorization {{ users: [{}{b}] }} }}\naccounts {{\n\
                 HUB {{ jetstream: enabled, users: [{{ user: hub }}], exports: [{{ service: \"$JS.API.CONSUMER.MSG.NEXT.S.c\", accounts: [SITE_A, SITE_B] }}] }}\n\
                 {}\n{} }}",
                login("A"),
                site("A"),
                site("B")
            );
            findings(&text).iter().any(|f| f.rule == "shared-stream" && f.severity == Severity::Error)
        };
        assert!(logins(", { user: B, password: p, account: SITE_B }"));
        assert!(!logins(""), "the control: nobody is in the other account");
    }

    /// Measured on nats-server 2.15.1.
    #[test]
    fn tenants_meet_in_one_stream_of_another_account() {
        let next = "$JS.API.CONSUMER.MSG.NEXT.S";
        for (to_b, to_c, expected) in [
            (format!("{next}.c"), format!("{next}.c"), &["shared-stream"][..]),
            (format!("{next}.c"), "$JS.ACK.S.c.>".to_owned(), &["shared-stream"]),
            (format!("{next}.b"), format!("{next}.c"), &[]),
            (format!("{next}.b"), "$JS.API.CONSUMER.DELETE.S.b".to_owned(), &["shared-stream"]),
            (format!("{next}.b"), "$JS.API.STREAM.PURGE.S".to_owned(), &["shared-stream"]),
            (format!("{next}.b"), "$JS.API.STREAM.PURGE.OTHER".to_owned(), &[]),
            (format!("{next}.b"), "orders.c.>".to_owned(), &["decided-elsewhere"]),
            ("$JS.API.STREAM.MSG.GET.S".to_owned(), "orders.c.>".to_owned(), &["decided-elsewhere"]),
            ("$JS.API.DIRECT.GET.S.orders.c.1".to_owned(), "orders.c.>".to_owned(), &["decided-elsewhere"]),
            ("$JS.API.DIRECT.GET.S.orders.b.1".to_owned(), "orders.c.>".to_owned(), &["decided-elsewhere"]),
            ("$JS.API.DIRECT.GET.KV_cfg".to_owned(), "$KV.cfg.c.>".to_owned(), &["shared-stream", "decided-elsewhere"]),
            // What C writes may replace what B reads.
            (
                "$JS.API.DIRECT.GET.KV_cfg.$KV.cfg.b.>".to_owned(),
                "$KV.cfg.c.>".to_owned(),
                &["shared-stream", "decided-elsewhere"],
            ),
            ("$JS.API.STREAM.PURGE.S".to_owned(), "orders.c.>".to_owned(), &["decided-elsewhere"]),
            (
                "$JS.API.STREAM.PURGE.KV_cfg".to_owned(),
                "$KV.cfg.c.>".to_owned(),
                &["shared-stream", "decided-elsewhere"],
            ),
            // One bucket may be a mirror of another.
            ("$JS.API.STREAM.PURGE.KV_cfg".to_owned(), "$KV.other.c.>".to_owned(), &["decided-elsewhere"]),
            ("$JS.API.DIRECT.GET.KV_b".to_owned(), "$KV.c.>".to_owned(), &["decided-elsewhere"]),
            ("$JS.ACK.S.b.>".to_owned(), "orders.c.>".to_owned(), &["decided-elsewhere"]),
            ("$KV.cfg.b".to_owned(), "$KV.cfg.c".to_owned(), &["shared-stream", "decided-elsewhere"]),
            // They share the account's room.
            ("$KV.b.>".to_owned(), "$KV.c.>".to_owned(), &["decided-elsewhere"]),
            // All of a bucket may be meant, a part of it has neighbours; a consumer may be named, any may be the owner's.
            ("$KV.b.>".to_owned(), "nothing".to_owned(), &["decided-elsewhere"]),
            ("$O.files.C.>".to_owned(), format!("{next}.c"), &["decided-elsewhere"]),
            ("$JS.ACK.S.b.>".to_owned(), format!("{next}.c"), &[]),
            ("$JS.ACK.S.>".to_owned(), "$JS.API.STREAM.INFO.T".to_owned(), &["decided-elsewhere"]),
            ("orders.b.>".to_owned(), "orders.c.>".to_owned(), &["decided-elsewhere"]),
            // The newer form of acknowledgements.
            (format!("{next}.c"), "$JS.ACK._.LNj1UmbN.S.c.>".to_owned(), &["shared-stream"]),
            (format!("{next}.c"), "$JS.ACK._.*.S.c.>".to_owned(), &["shared-stream"]),
            (format!("{next}.b"), "$JS.ACK._.LNj1UmbN.S.c.>".to_owned(), &[]),
            (format!("{next}.c"), "$JS.ACK._.>".to_owned(), &["shared-stream", "decided-elsewhere"]),
            ("$JS.API.STREAM.INFO.S".to_owned(), "orders.c.>".to_owned(), &["decided-elsewhere"]),
            ("$JS.API.STREAM.INFO.S".to_owned(), format!("{next}.c"), &[]),
            // In a work queue, an acknowledgement removes the message.
            (format!("{next}.b"), "$JS.API.STREAM.MSG.GET.S".to_owned(), &["decided-elsewhere"]),
            ("$JS.API.CONSUMER.DELETE.S.b".to_owned(), "$JS.API.DIRECT.GET.S.w.>".to_owned(), &["decided-elsewhere"]),
            (format!("{next}.b"), "$JS.API.STREAM.MSG.GET.OTHER".to_owned(), &[]),
            // There are no leaders and peers without a cluster.
            ("$JS.API.STREAM.LEADER.STEPDOWN.S".to_owned(), format!("{next}.c"), &[]),
        ] {
            assert_eq!(found(&to_b, &to_c), expected, "{to_b} {to_c}");
        }
    }

    /// Measured on nats-server 2.15.1: with `Nats-Rollup: all`, one message of the importer is all that is left; its
    /// acknowledgements remove the jobs of the owner's own consumer.
    #[test]
    fn what_an_importer_may_destroy_of_the_owners_is_not_in_the_file() {
        let found = |exports: &[&str]| {
            let exported: Vec<String> =
                exports.iter().map(|subject| format!("{{ service: \"{subject}\", accounts: [A] }}")).collect();
            let imported: Vec<String> = exports
                .iter()
                .map(|subject| format!("{{ service: {{ account: HUB, subject: \"{subject}\" }} }}"))
                .collect();
            let text = format!(
                "jetstream {{}}\naccounts {{ HUB {{ jetstream: enabled, users: [{{ user: h }}], exports: [{}] }}\nA {{ users: [{{ user: a }}], imports: [{}] }} }}",
                exported.join(", "),
                imported.join(", ")
            );
            let said = |f: &crate::diag::Diagnostic| {
                f.message.contains("holds anything but") || f.message.contains("of its own")
            };
            findings(&text).iter().any(|f| f.rule == "decided-elsewhere" && said(f))
        };
        for (exports, expected) in [
            (&["$KV.cfg.a.>"][..], true),
            (&["$KV.cfg.a"], true),
            (&["$KV.cfg.>"], false),
            (&["$O.files.C.a.>"], true),
            (&["$O.files.C.>", "$O.files.M.>"], false),
            (&["$JS.ACK.S.>"], true),
            (&["$JS.API.CONSUMER.MSG.NEXT.S.*"], true),
            (&["$JS.ACK.S.c.>", "$JS.API.CONSUMER.MSG.NEXT.S.c"], false),
        ] {
            assert_eq!(found(exports), expected, "{exports:?}");
        }
    }

    /// Measured on nats-server 2.15.1: the answer of D goes to the reply subject, which is another import.
    #[test]
    fn a_request_that_is_answered_reaches_every_service() {
        let found = |list: &str, answers: &str| {
            let text = format!(
                "jetstream {{}}\naccounts {{\n\
                 HUB {{ jetstream: enabled, users: [{{ user: hub }}], exports: [\n\
                 {{ service: \"$JS.API.STREAM.PURGE.S\", accounts: [B] }}, {{ service: \"$JS.API.CONSUMER.MSG.NEXT.S.c\", accounts: [C] }}] }}\n\
                 D {{ users: [{{ user: d, permissions {{ publish: {answers}, subscribe: ask }} }}], exports: [{{ service: ask, accounts: [B] }}] }}\n\
                 B {{ users: [{{ user: b, permissions {{ publish: {list}, subscribe: \"_INBOX_b.>\" }} }}], imports: [\n\
                 {{ service: {{ account: D, subject: ask }} }}, {{ service: {{ account: HUB, subject: \"$JS.API.STREAM.PURGE.S\" }}, to: p }}] }}\n\
                 C {{ users: [{{ user: c }}], imports: [{{ service: {{ account: HUB, subject: \"$JS.API.CONSUMER.MSG.NEXT.S.c\" }}, to: n }}] }} }}"
            );
            findings(&text).iter().any(|f| f.rule == "shared-stream" && f.severity == Severity::Error)
        };
        assert!(found("ask", "\"_R_.>\""));
        assert!(!found("ask", "d.>"), "nobody answers");
        assert!(!found("x", "\"_R_.>\""), "it asks nobody");
        assert!(!found("\"$SYS.REQ.USER.INFO\"", "\"_R_.>\""), "what the server answers is no such request");
    }

    /// Measured on nats-server 2.15.1 with push consumers.
    #[test]
    fn what_feeds_an_import_is_not_in_the_file() {
        let found = |imports: &str| {
            let text = format!(
                "jetstream {{}}\naccounts {{\n\
                 HUB {{ jetstream: enabled, users: [{{ user: hub }}], exports: [\n\
                 {{ service: \"$JS.API.CONSUMER.DELETE.S.pc\", accounts: [B] }}, {{ stream: deliver.c, accounts: [C] }}] }}\n\
                 B {{ users: [{{ user: b }}], imports: [{{ service: {{ account: HUB, subject: \"$JS.API.CONSUMER.DELETE.S.pc\" }}, to: p }}] }}\n\
                 C {{ users: [{{ user: c }}] {imports} }} }}"
            );
            findings(&text).iter().filter(|f| f.rule == "decided-elsewhere").count()
        };
        assert_eq!(found(", imports: [{ stream: { account: HUB, subject: deliver.c } }]"), 1);
        assert_eq!(found(""), 0);
    }

    /// Measured on nats-server 2.15.1, with a push consumer and with `republish`: what B sends arrives at C.
    #[test]
    fn what_streams_deliver_is_not_in_the_file() {
        let found = |jetstream: &str, lists: &str| {
            let text = format!(
                "jetstream {{}}\naccounts {{\n\
                 HUB {{ {jetstream} users: [{{ user: hub }}], exports: [{{ service: \"orders.b.>\", accounts: [B] }}, {{ stream: deliver.c, accounts: [C] }}] }}\n\
                 B {{ users: [{{ user: b }}], imports: [{{ service: {{ account: HUB, subject: \"orders.b.>\" }} }}] }}\n\
                 C {{ users: [{{ user: c {lists} }}], imports: [{{ stream: {{ account: HUB, subject: deliver.c }} }}] }} }}"
            );
            findings(&text).iter().filter(|f| f.rule == "decided-elsewhere").count()
        };
        let jetstream = "jetstream: enabled,";
        assert_eq!(found(jetstream, ""), 1);
        assert_eq!((found("", ""), found(jetstream, ", permissions { publish: x, subscribe: y }")), (0, 0));
    }

    /// Measured on nats-server 2.15.1.
    #[test]
    fn events_of_jetstream_tell_what_others_ask() {
        let found = |events: &str, asked: &str| {
            let text = format!(
                "jetstream {{}}\naccounts {{\n\
                 HUB {{ jetstream: enabled, users: [{{ user: hub }}], exports: [{{ service: \"{asked}\", accounts: [B] }}, {{ stream: \"{events}\", accounts: [C] }}] }}\n\
                 B {{ users: [{{ user: b }}], imports: [{{ service: {{ account: HUB, subject: \"{asked}\" }}, to: ask }}] }}\n\
                 C {{ users: [{{ user: c }}], imports: [{{ stream: {{ account: HUB, subject: \"{events}\" }}, prefix: hub }}] }} }}"
            );
            findings(&text).iter().any(|f| f.rule == "shared-stream" && f.severity == Severity::Error)
        };
        let asked = "$JS.API.STREAM.INFO.S";
        assert!(found("$JS.EVENT.ADVISORY.API", asked) && found("$JS.EVENT.>", asked));
        assert!(!found("$JS.EVENT.METRIC.>", asked) && !found("$JS.EVENT.ADVISORY.API", "orders.b"));
    }

    #[test]
    fn a_tenant_uses_what_its_permissions_allow() {
        let next = "$JS.API.CONSUMER.MSG.NEXT.S.c";
        let lists = |publish: &str| format!(", permissions {{ publish: \"{publish}\", subscribe: \"_INBOX.>\" }}");
        assert_eq!(found_with("", &lists(next), next, next), ["shared-stream"]);
        assert_eq!(found_with("", &lists("x"), next, next), [""; 0]);
    }

    /// Measured on nats-server 2.15.1: the server maps requests that name its domain.
    #[test]
    fn requests_may_name_the_domain() {
        let found = |domain: &str, to_b: &str, to_c: &str| {
            let share = |to: &str, subject: &str| format!("{{ service: \"{subject}\", accounts: [{to}] }}");
            let import =
                |subject: &str| format!("imports: [{{ service: {{ account: HUB, subject: \"{subject}\" }}, to: n }}]");
            let text = format!(
                "jetstream {{ domain: {domain} }}\naccounts {{\n\
                 HUB {{ jetstream: enabled, users: [{{ user: hub }}], exports: [{}, {}] }}\n\
                 B {{ users: [{{ user: b }}], {} }}\nC {{ users: [{{ user: c }}], {} }} }}",
                share("B", to_b),
                share("C", to_c),
                import(to_b),
                import(to_c)
            );
            findings(&text).iter().any(|f| f.rule == "shared-stream" && f.severity == Severity::Error)
        };
        let (with, without) = ("$JS.hub.API.CONSUMER.MSG.NEXT.S.c", "$JS.API.CONSUMER.MSG.NEXT.S.c");
        assert!(found("hub", with, with));
        assert!(found("hub", with, without));
        assert!(!found("leaf", with, with));
    }
}
