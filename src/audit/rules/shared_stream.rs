//! Streams and consumers of an account that several other tenants use by service imports.

use std::collections::HashSet;

use super::{Rule, decided_elsewhere};
use crate::audit::crossing::{StreamRead, stream_reads, would_be_read};
use crate::audit::reach;
use crate::audit::system::{Account, System, User};
use crate::audit::tenants::Tenants;
use crate::diag::{Diagnostic, Span};
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
    stream: String,
    /// The consumer that it takes messages from, acknowledges or changes. `None`: the stream itself.
    consumer: Option<String>,
    /// Whether it takes from, acknowledges or changes what others have: reading alone does not.
    changes: bool,
    span: Span,
}

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    let uses: Vec<Use<'_>> = system.tenants().flat_map(|account| uses(system, account)).collect();
    for (i, one) in uses.iter().enumerate() {
        for other in &uses[i + 1..] {
            let is_same = one.owner.name == other.owner.name && one.stream == other.stream;
            if is_same && tenants.are_apart(&one.by.name, &other.by.name) {
                out.extend(conflict(one, other).or_else(|| conflict(other, one)));
            }
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

/// How one tenant's use of a stream harms another's.
fn conflict(one: &Use<'_>, other: &Use<'_>) -> Option<Diagnostic> {
    let what = match (&one.consumer, &other.consumer) {
        (Some(consumer), Some(its)) if consumer == its && one.changes && other.changes => {
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

/// What imports let an account do with streams of others.
fn uses<'w>(system: &'w System, by: &'w Account) -> Vec<Use<'w>> {
    let mut found = Vec::new();
    for import in by.services() {
        let Some(owner) = system.account(&import.from.0).filter(|owner| owner.jetstream.is_some()) else { continue };
        for subject in reach::what_becomes(owner, &import.subject) {
            if let Some((stream, consumer, changes)) = parts(&subject) {
                found.push(Use { owner, by, stream, consumer, changes, span: import.span });
            }
        }
    }
    found
}

/// The stream that a request is about, the consumer, and whether it changes anything for others.
fn parts(subject: &Subject) -> Option<(String, Option<String>, bool)> {
    const OF_CONSUMERS: [&str; 6] = ["MSG.NEXT", "DELETE", "RESET", "PAUSE", "UNPIN", "LEADER.STEPDOWN"];
    const OF_STREAMS: [&str; 7] =
        ["PURGE", "DELETE", "UPDATE", "RESTORE", "MSG.DELETE", "PEER.REMOVE", "LEADER.STEPDOWN"];
    const READING: [&str; 3] = ["STREAM.MSG.GET.", "STREAM.SNAPSHOT.", "DIRECT.GET."];
    let names = |rest: &str| -> Option<(String, Option<String>)> {
        let mut tokens = rest.split('.').map(str::to_owned);
        Some((tokens.next()?, tokens.next().filter(|token| token != ">")))
    };
    if let Some(rest) = subject.as_str().strip_prefix("$JS.ACK.") {
        return names(rest).map(|(stream, consumer)| (stream, consumer, true));
    }
    let request = subject.as_str().strip_prefix("$JS.API.")?;
    let after = |kind: &str, verbs: &[&str]| {
        verbs.iter().find_map(|verb| request.strip_prefix(kind)?.strip_prefix(verb)?.strip_prefix('.'))
    };
    if let Some(rest) = after("CONSUMER.", &OF_CONSUMERS) {
        return names(rest).map(|(stream, consumer)| (stream, consumer, true));
    }
    if let Some(rest) = after("STREAM.", &OF_STREAMS) {
        return names(rest).map(|(stream, _)| (stream, None, true));
    }
    let rest = READING.iter().find_map(|reading| request.strip_prefix(reading))?;
    names(rest).map(|(stream, _)| (stream, None, false))
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
        let export =
            |subject: &str, to: &str| format!("{{ service: \"{subject}\", response_type: stream, accounts: [{to}] }}");
        let import = |subject: &str| format!("imports: [{{ service: {{ account: HUB, subject: \"{subject}\" }} }}]");
        let text = format!(
            "jetstream {{}}\naccounts {{\n\
             HUB {{ jetstream: enabled, users: [{{ user: hub }}], exports: [{}, {}] }}\n\
             B {{ users: [{{ user: b }}], {} }}\nC {{ users: [{{ user: c }}], {} }} }}",
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
            ("$JS.API.STREAM.INFO.S".to_owned(), "orders.c.>".to_owned(), &[]),
        ] {
            assert_eq!(found(&to_b, &to_c), expected, "{to_b} {to_c}");
        }
    }
}
