//! JetStream's advisories that are shared.

use super::{Rule, is_between_tenants};
use crate::audit::system::{Import, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::model::ShareKind;
use crate::subject::Subject;

pub const RULE: Rule = Rule {
    id: "shared-advisories",
    proves: "JetStream's advisories tell no other tenant what clients ask, and come from the account itself",
    why: "`$JS.EVENT.ADVISORY.API` holds every request to JetStream and its answer, messages that were read included. Advisories of another account that arrive under the names of the account's own look like its own",
    mend: "share the advisories that are needed, such as `$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.STREAM.CONSUMER`, and import them with a prefix",
    check,
};

/// The advisory of requests and their answers.
const OF_REQUESTS: [&str; 1] = ["$JS.EVENT.ADVISORY.API"];
/// The advisories that the server publishes.
const OF_THE_SERVER: [&str; 7] = [
    "$JS.EVENT.ADVISORY.API",
    "$JS.EVENT.ADVISORY.API.>",
    "$JS.EVENT.ADVISORY.STREAM.>",
    "$JS.EVENT.ADVISORY.CONSUMER.>",
    "$JS.EVENT.ADVISORY.DOMAIN.>",
    "$JS.EVENT.ADVISORY.SERVER.>",
    "$JS.EVENT.METRIC.CONSUMER.>",
];

/// Whether a subject is one of advisories, whatever their kinds.
pub fn is_of_advisories(subject: &Subject) -> bool {
    subject.as_str().starts_with("$JS.EVENT.")
}

fn meets(subject: &Subject, advisories: &[&str]) -> bool {
    let mut advisories = advisories.iter().filter_map(|text| Subject::as_the_server_reads(text));
    advisories.any(|advisory| advisory.overlaps(subject))
}

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for importer in &system.accounts {
        let crosses = |import: &&Import| is_between_tenants(system, tenants, importer, import);
        for import in importer.imports.iter().filter(crosses) {
            let Some(exporter) = system.account(&import.from.0) else { continue };
            // The sender with the subject there, and the receiver with the subject where it arrives.
            let ((sender, from), (receiver, to)) = match import.kind {
                ShareKind::Stream => ((exporter, &import.subject), (importer, &import.local)),
                ShareKind::Service => ((importer, &import.local), (exporter, &import.subject)),
            };
            let is_told = sender.jetstream.is_some() && is_of_advisories(from) && meets(from, &OF_REQUESTS);
            let is_forged = receiver.jetstream.is_some() && is_of_advisories(to) && meets(to, &OF_THE_SERVER);
            let (sender, receiver) = (&sender.name, &receiver.name);
            let message = if is_told {
                format!("`{receiver}` learns what clients of `{sender}` ask JetStream, and its answers: `{from}`")
            } else if is_forged {
                format!("on `{to}` advisories of `{sender}` look like those of `{receiver}`")
            } else {
                continue;
            };
            out.push(RULE.warning(import.span, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::findings;

    /// Measured on nats-server 2.15.1: MON hears the advisories and nothing else, and `a` cannot send those of `b`.
    #[test]
    fn advisories_are_shared_as_declared() {
        let found = |kind: &str, subject: &str, more: &str, jetstream: &str| {
            let text = format!(
                "jetstream {{}}\naccounts {{ A {{ jetstream: enabled, users: [{{ user: a }}], exports: [{{ {kind}: \"{subject}\", accounts: [B] }}] }}
                 B {{ {jetstream} users: [{{ user: b, permissions {{ subscribe: {{ deny: \"> >\" }} }} }}], imports: [{{ {kind}: {{ account: A, subject: \"{subject}\" }} {more} }}] }} }}"
            );
            let rules = ["shared-advisories", "reserved-export", "reserved-import"];
            let told = findings(&text).into_iter().filter(|f| rules.contains(&f.rule));
            told.map(|f| f.message).collect::<Vec<_>>()
        };
        let stream = |subject: &str, more: &str| found("stream", subject, more, "jetstream: enabled,");
        let told =
            |subject: &str| vec![format!("`B` learns what clients of `A` ask JetStream, and its answers: `{subject}`")];
        assert_eq!(stream("$JS.EVENT.ADVISORY.>", ", prefix: mon"), told("$JS.EVENT.ADVISORY.>"));
        assert_eq!(stream("$JS.EVENT.ADVISORY.API", ", prefix: mon"), told("$JS.EVENT.ADVISORY.API"));
        assert_eq!(stream("$JS.EVENT.ADVISORY.CONSUMER.>", ", prefix: mon"), [""; 0]);
        let one = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.S.c";
        assert_eq!(stream(one, ""), [format!("on `{one}` advisories of `A` look like those of `B`")]);
        assert_eq!(found("stream", one, "", ""), [""; 0], "B has none of its own");
        let aggregate = |subject: &str| found("service", subject, ", to: \"$JS.EVENT.*.>\"", "jetstream: enabled,");
        let told = ["`A` learns what clients of `B` ask JetStream, and its answers: `$JS.EVENT.*.>`"];
        assert_eq!(aggregate("$JS.EVENT.*.ACC.b.>"), told);
        let forged = found("service", "$JS.EVENT.ADVISORY.STREAM.>", ", to: \"x.>\"", "");
        assert_eq!(forged, ["on `$JS.EVENT.ADVISORY.STREAM.>` advisories of `B` look like those of `A`"]);
    }
}
