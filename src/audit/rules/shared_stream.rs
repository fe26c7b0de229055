//! Streams and consumers of an account that several other tenants use by service imports.

use std::collections::HashSet;

use super::{Rule, decided_elsewhere};
use crate::audit::crossing::{StreamRead, stream_reads, would_be_read};
use crate::audit::reach::{self, Carried};
use crate::audit::system::{Account, System, User};
use crate::audit::tenants::Tenants;
use crate::diag::{Diagnostic, Severity, Span};
use crate::subject::Subject;

pub const RULE: Rule = Rule {
    id: "shared-stream",
    proves: "tenants that use one stream of another account do not reach each other by it",
    why: "Two tenants with one consumer take messages from each other, and acknowledge what the other has yet to process; a tenant that may purge a stream or change its consumers destroys what others have there; a tenant that reads a stream reads whatever it captures, from whichever tenant",
    mend: "give each tenant its own stream and consumer, and export no requests that change what others use",
    check,
};

/// What a tenant may do with a stream of another account.
struct Use<'w> {
    owner: &'w Account,
    by: &'w Account,
    /// `*`: any.
    stream: String,
    /// The consumer that it takes messages from, acknowledges or changes. `None`: the stream itself.
    consumer: Option<String>,
    /// Whether it takes from, acknowledges or changes what others have: reading alone does not.
    changes: bool,
    span: Span,
}

/// Messages that a tenant sends to another account, where a stream may capture them.
struct Write<'w> {
    owner: &'w Account,
    by: &'w Account,
    subject: Subject,
    span: Span,
}

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    let (mut uses, mut writes) = (Vec::new(), Vec::new());
    for account in system.tenants() {
        collect(system, account, &mut uses, &mut writes);
    }
    for (i, one) in uses.iter().enumerate() {
        for other in &uses[i + 1..] {
            let is_same = one.owner.name == other.owner.name && are_same(&one.stream, &other.stream);
            if is_same && tenants.are_apart(&one.by.name, &other.by.name) {
                out.extend(conflict(one, other).or_else(|| conflict(other, one)));
            }
        }
    }
    let writes_beside = |owner: &Account, by: &Account, write: &Write<'_>| {
        write.owner.name == owner.name
            && tenants.are_apart(&write.by.name, &by.name)
            && tenants.are_apart(&write.by.name, &owner.name)
    };
    for one in uses.iter().filter(|one| one.changes && tenants.are_apart(&one.by.name, &one.owner.name)) {
        let beside = writes.iter().filter(|write| writes_beside(one.owner, one.by, write));
        out.extend(beside.filter_map(|write| harmed(one, write)).min_by_key(|found| found.severity != Severity::Error));
    }
    for (i, one) in writes.iter().enumerate() {
        let beside = writes[i + 1..].iter().filter(|other| writes_beside(one.owner, one.by, other));
        let mut beside = beside.filter(|_| tenants.are_apart(&one.by.name, &one.owner.name));
        out.extend(beside.find_map(|other| replaced(one, other)));
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

/// Whether two names of streams, consumers or buckets may be of one.
fn are_same(one: &str, other: &str) -> bool {
    one == other || one == "*" || other == "*"
}

/// How one tenant's use of a stream harms another's.
fn conflict(one: &Use<'_>, other: &Use<'_>) -> Option<Diagnostic> {
    let what = match (&one.consumer, &other.consumer) {
        (Some(consumer), Some(its)) if are_same(consumer, its) && one.changes && other.changes => {
            format!(
                "consumer `{consumer}` of `{}`, messages of which `{}` takes or acknowledges, too",
                one.stream, other.by.name
            )
        }
        (None, _) if one.changes => format!("stream `{}`, which `{}` uses, too", one.stream, other.by.name),
        _ => return None,
    };
    let message = format!("`{}` may take from or change in `{}` the {what}", one.by.name, one.owner.name);
    Some(RULE.error(one.span, message).related(other.span, "the other one"))
}

/// How a tenant that changes a stream or its consumers harms one that sends what the stream captures.
fn harmed(one: &Use<'_>, write: &Write<'_>) -> Option<Diagnostic> {
    let bucket = subjects_of_bucket(&one.stream);
    if bucket.as_ref().is_some_and(|bucket| !bucket.overlaps(&write.subject)) {
        return None;
    }
    let what = one.consumer.as_ref().map_or_else(String::new, |consumer| format!("consumer `{consumer}` of "));
    let may =
        format!("`{}` may take from or change in `{}` {what}stream `{}`", one.by.name, one.owner.name, one.stream);
    let found = if bucket.is_some() && one.consumer.is_none() {
        RULE.error(one.span, format!("{may}, which holds what `{}` sends to `{}`", write.by.name, write.subject))
    } else {
        decided_elsewhere::captured_by_changed(&write.by.name, &may, one.span)
    };
    Some(found.related(write.span, "the other one"))
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
        one.by.name, other.by.name, one.owner.name
    );
    Some(RULE.error(one.span, message).related(other.span, "the other one"))
}

/// The space of buckets or object stores that a subject is in, and the bucket's name. `None`: it is in none.
fn bucket_of(subject: &Subject) -> Option<(&str, &str)> {
    let mut tokens = subject.tokens();
    let space = tokens.next().filter(|space| matches!(*space, "$KV" | "$O"))?;
    let name = tokens.next()?;
    Some((space, if name == ">" { "*" } else { name }))
}

/// The subjects that a stream captures because it is a bucket or an object store.
fn subjects_of_bucket(stream: &str) -> Option<Subject> {
    let of = |prefix: &str, space: &str| stream.strip_prefix(prefix).map(|bucket| format!("{space}.{bucket}.>"));
    Subject::as_the_server_reads(&of("KV_", "$KV").or_else(|| of("OBJ_", "$O"))?)
}

/// Adds what users of an account may do with streams of others, and may send to where those capture it.
fn collect<'w>(system: &'w System, by: &'w Account, uses: &mut Vec<Use<'w>>, writes: &mut Vec<Write<'w>>) {
    let mut told = HashSet::new();
    for user in &by.users {
        reach::follow(system, reach::published(by, user, None), |carried| {
            let (owner, subject) = (carried.account, carried.subject.pattern());
            let is_others = owner.name != by.name && owner.jetstream.is_some() && !system.is_system(owner);
            if !is_others || !told.insert((owner.name.as_str(), subject.to_string())) {
                return;
            }
            let span = carried.place().unwrap_or(user.span);
            if !matches!(subject.first_token(), "$JS" | ">" | "*") {
                writes.push(Write { owner, by, subject, span });
                return;
            }
            for (request, changes) in REQUESTS {
                let Some(mut names) = names_in(carried, request) else { continue };
                let consumer = if names.len() > 1 { names.pop() } else { None };
                let Some(stream) = names.pop() else { continue };
                uses.push(Use { owner, by, stream, consumer, changes, span });
            }
        });
    }
}

/// Requests about a stream, or about a consumer of it: their names are the first wildcards. Whether each changes what
/// others have.
const REQUESTS: [(&str, bool); 17] = [
    ("$JS.ACK.*.*.>", true),
    ("$JS.API.CONSUMER.MSG.NEXT.*.*", true),
    ("$JS.API.CONSUMER.DELETE.*.*", true),
    ("$JS.API.CONSUMER.RESET.*.*", true),
    ("$JS.API.CONSUMER.PAUSE.*.*", true),
    ("$JS.API.CONSUMER.UNPIN.*.*", true),
    ("$JS.API.CONSUMER.LEADER.STEPDOWN.*.*", true),
    ("$JS.API.STREAM.PURGE.*", true),
    ("$JS.API.STREAM.DELETE.*", true),
    ("$JS.API.STREAM.UPDATE.*", true),
    ("$JS.API.STREAM.RESTORE.*", true),
    ("$JS.API.STREAM.MSG.DELETE.*", true),
    ("$JS.API.STREAM.PEER.REMOVE.*", true),
    ("$JS.API.STREAM.LEADER.STEPDOWN.*", true),
    ("$JS.API.STREAM.MSG.GET.*", false),
    ("$JS.API.STREAM.SNAPSHOT.*", false),
    ("$JS.API.DIRECT.GET.>", false),
];

/// The names of the stream and, if `request` has it, of the consumer that a message is about. `None`: it is another
/// message.
fn names_in(message: &Carried<'_>, request: &str) -> Option<Vec<String>> {
    let part = message.within(&Subject::as_the_server_reads(request)?)?.subject.pattern();
    let before = request.split('.').take_while(|token| !matches!(*token, "*" | ">")).count();
    let count = request.split('.').filter(|token| *token == "*").count().max(1);
    let names = part.tokens().skip(before).take(count);
    Some(names.map(|name| if name == ">" { "*".to_owned() } else { name.to_owned() }).collect())
}

/// The finding that a stream which one tenant reads captures, or may capture, what a third one sends to its account.
fn read_of_others(
    system: &System,
    tenants: &Tenants,
    account: &Account,
    read: &StreamRead<'_>,
    reader: &User,
) -> Option<Diagnostic> {
    let StreamRead { owner, request, place, certain, possible } = read;
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
    let third = possible.as_ref().and_then(sender)?;
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
            ("$JS.API.DIRECT.GET.S.orders.b.1".to_owned(), "orders.c.>".to_owned(), &[]),
            ("$JS.API.DIRECT.GET.KV_cfg".to_owned(), "$KV.cfg.c.>".to_owned(), &["shared-stream"]),
            ("$JS.API.STREAM.PURGE.S".to_owned(), "orders.c.>".to_owned(), &["decided-elsewhere"]),
            ("$JS.API.STREAM.PURGE.KV_cfg".to_owned(), "$KV.cfg.c.>".to_owned(), &["shared-stream"]),
            ("$JS.API.STREAM.PURGE.KV_cfg".to_owned(), "$KV.other.c.>".to_owned(), &[]),
            ("$JS.ACK.S.b.>".to_owned(), "orders.c.>".to_owned(), &["decided-elsewhere"]),
            ("$KV.cfg.b".to_owned(), "$KV.cfg.c".to_owned(), &["shared-stream"]),
            ("$KV.b.>".to_owned(), "$KV.c.>".to_owned(), &[]),
            ("orders.b.>".to_owned(), "orders.c.>".to_owned(), &[]),
            ("$JS.API.STREAM.INFO.S".to_owned(), "orders.c.>".to_owned(), &[]),
        ] {
            assert_eq!(found(&to_b, &to_c), expected, "{to_b} {to_c}");
        }
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
