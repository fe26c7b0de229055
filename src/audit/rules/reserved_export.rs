//! Exports of subjects reserved by the server.

use std::collections::{BTreeSet, HashSet};

use super::shared_advisories::is_of_advisories;
use super::{Rule, mapped_reserved};
use crate::audit::crossing::{Share, is_same_user};
use crate::audit::reach::{self, Carried, sent};
use crate::audit::system::{Account, Export, Import, ListenerKind, System, User};
use crate::audit::tenants::Tenants;
use crate::diag::{Diagnostic, first_few};
use crate::model::names::{AccountName, StreamName};
use crate::model::{ShareKind, StreamCopy};
use crate::subject::Subject;

pub const RULE: Rule = Rule {
    id: "reserved-export",
    proves: "no subjects of JetStream, the system account or inboxes are exported",
    why: "An importer of `$JS.API.>` manages the exporter's streams; `$SYS`, inboxes and service replies are as sensitive",
    mend: "export the subjects that you mean, one by one",
    check,
};

/// Requests by which a consumer, or what a stream holds, is used and not changed.
const USED: [&str; 5] =
    ["$JS.ACK.", "$JS.API.CONSUMER.MSG.NEXT.", "$JS.API.CONSUMER.INFO.", "$JS.API.DIRECT.GET.", "$JS.API.STREAM.INFO."];

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in &system.accounts {
        let mut told = HashSet::new();
        let streams = || account.exports.iter().filter(|e| e.kind == ShareKind::Stream);
        for (mapping, made) in mapped_reserved(system, account) {
            if let Some(export) = streams().find(|e| made.iter().any(|m| m.overlaps(&e.subject))) {
                let message = format!(
                    "`{}` of `{}` is mapped to `{}`, which is exported",
                    mapping.from, account.name, export.subject
                );
                out.push(RULE.error(mapping.span, message).related(export.span, "exported here"));
            }
        }
        for export in &account.exports {
            let exported = reserved(system, account, export.kind, &export.subject);
            if exported.is_empty() || is_of_advisories(&export.subject) {
                continue;
            }
            if let Some(copy) = copy_of(account, export) {
                let disturbing = disturbing(system, account, &copy);
                if let Some((of, user)) = disturbing.filter(|_| told.insert((copy.stream.clone(), copy.to.clone()))) {
                    let message = format!(
                        "`{}/{}` may publish or hear what passes between the servers for the copy of stream `{}` of `{}` by `{}`, or answers requests",
                        of.name,
                        user.display_name(),
                        copy.stream,
                        copy.from,
                        copy.to
                    );
                    let hint = format!(
                        "take `{}` and `{}.>` from its lists, and `allow_responses`",
                        copy.deliver(),
                        copy.api()
                    );
                    out.push(RULE.error(user.span, message).related(export.span, "the copy").hint(hint));
                }
                continue;
            }
            // Exempt: with a token position an account can only ask about itself.
            if export.subject.first_token() == "$SYS" && export.token_position > 0 && system.is_system(account) {
                continue;
            }
            let imports: Vec<_> = system.imports_of(account, export).collect();
            // Its accounts are its own.
            let is_own = |(importer, import): &(&Account, &Import)| {
                !tenants.are_apart(&importer.name, &account.name)
                    || is_asked_by_own(system, tenants, account, importer, import)
            };
            if system.operator.is_none() && !imports.is_empty() && imports.iter().all(is_own) {
                continue;
            }
            let asked = imports.iter().flat_map(|(importer, import)| {
                let reserved = reserved(system, account, export.kind, &import.subject).into_iter();
                reserved.map(|subject| (import.subject.clone(), Some(*importer), subject))
            });
            let may_ask = exported.into_iter().map(|subject| (export.subject.clone(), None, subject));
            let all: Vec<(Subject, Option<&Account>, Subject)> = asked.chain(may_ask).collect();
            let too_wide = all.iter().find(|(_, importer, subject)| match importer {
                Some(importer) => !is_about(importer, subject) && !is_narrow(subject),
                // An export without an importer harms nobody, unless accounts that are not in this file import it.
                None => system.operator.is_some() && !is_narrow(&own_part(export)),
            });
            let Some((asked, _, subject)) = too_wide.or(all.first()) else { continue };
            // One consumer, bucket or object store, shared to be used: `shared-stream` looks at what may happen to it.
            let is_thing = matches!(subject.first_token(), "$KV" | "$O")
                || export.kind == ShareKind::Service && USED.iter().any(|used| subject.as_str().starts_with(used));
            if too_wide.is_none() && is_thing && export.to.is_some() && *subject == export.subject {
                continue;
            }
            let message = if subject == asked {
                format!("`{subject}` is the server's own space in `{}`", account.name)
            } else {
                let of_it = all.iter().filter(|(other, _, made)| other == asked && made != subject);
                let others: BTreeSet<String> = of_it.map(|(_, _, made)| format!("`{made}`")).collect();
                let made = first_few([format!("`{subject}`")].into_iter().chain(others));
                format!("`{asked}` is mapped to {made}, the server's own space in `{}`", account.name)
            };
            let finding = match too_wide {
                Some(_) => RULE.error(export.span, message),
                None => RULE.warning(export.span, message),
            };
            out.push(finding.hint(remedy(subject)));
        }
    }
}

/// Whether of an account with users of several tenants only the exporter's own ask for a service.
fn is_asked_by_own(
    system: &System,
    tenants: &Tenants,
    exporter: &Account,
    importer: &Account,
    import: &Import,
) -> bool {
    let is_one = import.kind == ShareKind::Service && !tenants.are_mixed(exporter) && importer.users.len() > 1;
    let share = Share { import, exporter, importer, on_to: None };
    let behind = User::behind_leaf(String::new(), import.span);
    let is_own =
        |by: &User| !is_same_user(by, &behind) && tenants.of(importer, by) == tenants.of_account(&exporter.name);
    is_one && system.callout.is_none() && share.parties(system, &behind).sent.iter().all(|sent| is_own(sent.by))
}

/// The remedy for an exported subject in the server's own space.
fn remedy(subject: &Subject) -> &'static str {
    match subject.first_token() {
        "$SYS" => "do not export it: it tells of every account; who is to know asks as a user of the system account",
        "$JS" if !subject.has_wildcard() => "do not export it: have it asked in the account itself",
        "$JS" => {
            "make the consumer in the account itself, and export only what uses it: `$JS.API.CONSUMER.MSG.NEXT.STREAM.CONSUMER` and `$JS.ACK.STREAM.CONSUMER.>`"
        }
        _ => RULE.mend,
    }
}

/// The subjects in the server's own space that exported messages come to. The exporter's mappings apply to requests of
/// importers.
fn reserved(system: &System, account: &Account, kind: ShareKind, subject: &Subject) -> Vec<Subject> {
    let mut becomes = match kind {
        ShareKind::Service => reach::what_becomes(account, subject),
        ShareKind::Stream => vec![subject.clone()],
    };
    // Services in the account answer on `$SRV`, and may share that.
    becomes.retain(|subject| subject.first_token() != "$SRV" && touches(system, account, subject, false));
    becomes
}

/// Whether a subject in an account meets the server's own, or inboxes: one that begins with `*` is compared with those that
/// there are.
pub fn touches_reserved(system: &System, account: &Account, subject: &Subject) -> bool {
    touches(system, account, subject, true)
}

/// The same, with the subjects on which services say what they are, or without.
fn touches(system: &System, account: &Account, subject: &Subject, with_services: bool) -> bool {
    /// `?` is what the server or a client draws by chance, or a name that nobody gives on purpose.
    const OWN: [&str; 8] = [
        "_INBOX.?",
        "_INBOX.?.?",
        "_R_.?",
        "_R_.?.?",
        "_GR_.?.?.?",
        "$SYS.REQ.USER.INFO",
        "$SYS.REQ.ACCOUNT.PING.CONNZ",
        "$SYS.REQ.ACCOUNT.PING.STATZ",
    ];
    const OF_SERVICES: [&str; 9] = [
        "$SRV.PING",
        "$SRV.INFO",
        "$SRV.STATS",
        "$SRV.PING.?",
        "$SRV.INFO.?",
        "$SRV.STATS.?",
        "$SRV.PING.?.?",
        "$SRV.INFO.?.?",
        "$SRV.STATS.?.?",
    ];
    const OF_JETSTREAM: [&str; 8] =
        ["$JS.API.>", "$JS.*.API.>", "$JS.ACK.>", "$JS.FC.>", "$JS.EVENT.>", "$JS.SNAPSHOT.>", "$KV.*.>", "$O.*.>"];
    const OF_MQTT: [&str; 7] = [
        "$MQTT.sub.>",
        "$MQTT.msgs.>",
        "$MQTT.rmsgs.>",
        "$MQTT.sess.>",
        "$MQTT.out.>",
        "$MQTT.deliver.>",
        "$MQTT.JSA.>",
    ];
    if subject.first_token() != "*" {
        return subject.touches_reserved_space();
    }
    if system.is_system(account) {
        return subject.as_str() != "*";
    }
    // A token of the application's is in the server's subjects only as the name of a stream, a key or a bucket: whoever has
    // one of that name shares it.
    let is_word = |token: &str| {
        matches!(token, "*" | ">")
            || token.bytes().all(|byte| byte.is_ascii_uppercase())
            || system.server.is_own_domain(token)
    };
    let has_words_only = subject.tokens().all(is_word);
    let of_jetstream = account.jetstream.iter().filter(|_| has_words_only).flat_map(|_| OF_JETSTREAM);
    let of_mqtt = system.server.listener(ListenerKind::Mqtt).into_iter().flat_map(|_| OF_MQTT);
    let of_services = OF_SERVICES.into_iter().filter(|_| with_services);
    let own = OWN.into_iter().chain(of_services).chain(of_jetstream).chain(of_mqtt).map(str::to_owned);
    // The inboxes that lists name: what follows the prefix is drawn by chance.
    let sides = account.users.iter().flat_map(|user| [&user.permissions.publish, &user.permissions.subscribe]);
    let listed = sides.flat_map(|side| side.allow.iter().flatten()).map(|pattern| pattern.subject.as_str());
    let inboxes = listed.filter(|listed| listed.starts_with("_INBOX")).flat_map(|listed| {
        let chance = listed.replace('*', "?");
        let below = chance.strip_suffix('>').map(|prefix| [format!("{prefix}?"), format!("{prefix}?.?")]);
        below.map_or_else(|| vec![chance.clone()], Vec::from)
    });
    own.chain(inboxes).any(|own| {
        let is_open = |token: &str| token == "*" || token == ">";
        let mut tail = false;
        let by_chance =
            own.split('.').zip(subject.tokens().map(Some).chain(std::iter::repeat(None))).all(|(own, token)| {
                tail |= token == Some(">");
                own != "?" || tail || token.is_some_and(is_open)
            });
        by_chance && Subject::as_the_server_reads(&own.replace('?', "*")).is_some_and(|own| own.overlaps(subject))
    })
}

/// Whether a subject of the system account is about the importer alone.
fn is_about(importer: &Account, subject: &Subject) -> bool {
    let mut rest = ["$SYS.REQ.ACCOUNT.", "$SYS.ACCOUNT."].iter().filter_map(|p| subject.as_str().strip_prefix(p));
    rest.any(|rest| rest.split('.').next() == Some(importer.name.as_str()))
}

/// Whether a subject is one request, or about one thing, and its messages choose no other subjects.
fn is_narrow(subject: &Subject) -> bool {
    subject.first_token() != "$SYS" && names_one_thing(subject) && !chooses_subjects(subject)
}

/// The subject of an export for one importer, whose name takes the place of the token at its position.
fn own_part(export: &Export) -> Subject {
    let position = usize::try_from(export.token_position).unwrap_or_default();
    let token = |(i, token): (usize, &str)| if i + 1 == position { "IMPORTER".to_owned() } else { token.to_owned() };
    let text = export.subject.tokens().enumerate().map(token).collect::<Vec<_>>().join(".");
    Subject::as_the_server_reads(&text).unwrap_or_else(|| export.subject.clone())
}

/// Whether a subject is one request, or is about one stream, bucket or object store. What several tenants do there
/// `shared-stream` examines.
pub fn names_one_thing(subject: &Subject) -> bool {
    /// The tokens before the name.
    const THINGS: [&str; 7] = [
        "$JS.ACK.",
        "$JS.API.CONSUMER.MSG.NEXT.",
        "$JS.API.CONSUMER.INFO.",
        "$JS.API.CONSUMER.DELETE.",
        "$JS.API.DIRECT.GET.",
        "$KV.",
        "$O.",
    ];
    let mut rest = THINGS.iter().filter_map(|before| subject.as_str().strip_prefix(before));
    let is_named = |rest: &str| rest.split_once('.').is_some_and(|(name, _)| !matches!(name, "*" | ">"));
    !subject.has_wildcard() || rest.any(is_named)
}

/// Whether who asks on this subject chooses what a stream captures, or where JetStream publishes: anything of the
/// account.
fn chooses_subjects(subject: &Subject) -> bool {
    const CHOOSING: [&str; 6] = [
        "STREAM.CREATE.",
        "STREAM.UPDATE.",
        "STREAM.RESTORE.",
        "STREAM.SNAPSHOT.",
        "CONSUMER.CREATE.",
        "CONSUMER.DURABLE.CREATE.",
    ];
    let request = subject.as_str().strip_prefix("$JS.API.").unwrap_or_default();
    CHOOSING.iter().any(|kind| request.starts_with(kind))
}

/// The copy of a stream to which an export belongs: `$JS.API.CONSUMER.RESET.S.C` and `$JS.FC.S.C.>` in both forms, with the
/// subject on which that consumer delivers, `JS.FROM.S.to.TO`. All of them must exist, each with that account
/// as its only importer. On any other consumer an importer could reset or acknowledge
/// what is not its own. `None`: it belongs to none.
pub fn copy_of(account: &Account, export: &Export) -> Option<StreamCopy> {
    let text = export.subject.as_str();
    let flow = || {
        let flow = text.strip_prefix("$JS.FC.")?.strip_suffix(".>")?;
        // The longer form has the domain and the account before the stream.
        flow.strip_prefix("_.").map_or(Some(flow), |named| Some(named.split_once('.')?.1))
    };
    let (stream, consumer) = text.strip_prefix("$JS.API.CONSUMER.RESET.").or_else(flow)?.split_once('.')?;
    let [(to, _)] = export.to.as_deref()? else { return None };
    let from = AccountName::parse(&account.name).ok()?;
    let (to, stream) = (AccountName::parse(to).ok()?, StreamName::parse(stream).ok()?);
    let copy = StreamCopy { from, to, stream, filter: None };
    let is_there = |(kind, subject, _): &(ShareKind, String, String)| {
        let mut exports = account.exports.iter().filter(|e| e.kind == *kind && e.subject.as_str() == subject);
        exports.any(|e| matches!(e.to.as_deref(), Some([(only, _)]) if only == copy.to.as_str()))
    };
    let is_whole = || {
        consumer == copy.consumer().as_str() && copy.ways().iter().all(is_there) && export.kind == ShareKind::Service
    };
    is_whole().then_some(copy)
}

/// A user that may publish or hear what passes for a copy, which commands the servers of both accounts; or answers
/// requests, because a reply goes to a subject that the requester chooses. `None`: there is none.
fn disturbing<'s>(system: &'s System, account: &'s Account, copy: &StreamCopy) -> Option<(&'s Account, &'s User)> {
    let reset = format!("{}.CONSUMER.RESET.{}.{}", copy.api(), copy.stream, copy.consumer());
    let publishes = |account: &Account, user: &User, subject: &str| {
        Subject::as_the_server_reads(subject).is_none_or(|subject| !sent(account, user, Some(&subject)).is_empty())
    };
    let hears = |account: &Account, user: &User| {
        let deliver = Subject::as_the_server_reads(&copy.deliver());
        deliver.is_none_or(|deliver| Carried::new(account, &deliver).received_by(user).is_some())
    };
    let disturbs = |account: &Account, user: &User, subject: &str| {
        user.permissions.responses.is_some() || hears(account, user) || publishes(account, user, subject)
    };
    let of = |account: &'s Account, subject: &str| {
        let user = account.users.iter().find(|user| disturbs(account, user, subject))?;
        Some((account, user))
    };
    of(account, &copy.deliver()).or_else(|| of(system.account(copy.to.as_str())?, &reset))
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::findings;
    use crate::diag::Severity;

    /// Severity of the finding for an export to one account, and for the import of it.
    fn found(subject: &str, jetstream: &str) -> Vec<(&'static str, Severity)> {
        let text = format!(
            "jetstream {{}}\naccounts {{\n\
             A {{ jetstream: enabled, users: [{{ user: a }}], exports: [{{ service: \"{subject}\", accounts: [B] }}] }}\n\
             B {{ {jetstream} users: [{{ user: b }}], imports: [{{ service: {{ account: A, subject: \"{subject}\" }} }}] }} }}"
        );
        let reserved = findings(&text).into_iter().filter(|f| f.rule.starts_with("reserved-"));
        let mut found: Vec<_> = reserved.map(|f| (f.rule, f.severity)).collect();
        found.sort_by_key(|(rule, _)| *rule);
        found
    }

    /// Severity of the finding for an export of A, of which B imports a part, with mappings of A and a domain.
    fn severity(export: &str, import: &str, mappings: &str) -> Option<Severity> {
        let text = format!(
            "jetstream {{ domain: hub }}\naccounts {{\n\
             A {{ jetstream: enabled, users: [{{ user: a }}], exports: [{{ service: \"{export}\", accounts: [B] }}]\nmappings {{ {mappings} }} }}\n\
             B {{ users: [{{ user: b }}], imports: [{{ service: {{ account: A, subject: \"{import}\" }}, to: \"p.>\" }}] }} }}"
        );
        findings(&text).iter().find(|f| f.rule == "reserved-export").map(|f| f.severity)
    }

    /// Measured on nats-server 2.15.1: of `*.telemetry` an importer sees telemetry, and no request, inbox or event.
    #[test]
    fn a_wildcard_in_front_meets_what_there_is() {
        for (subject, without, with) in [
            ("*.telemetry", false, false),
            ("*.dev.telemetry", false, false),
            ("*.orders.>", false, false),
            ("*.*.telemetry", false, false),
            ("*.*.*.*.telemetry", false, false),
            ("*.STREAM.>", false, true),
            ("*.*", true, true),
            ("*.a.>", true, true),
            ("*.a.*", true, true),
            ("*.a.x", false, false),
            ("*.*", true, true),
            ("*.>", true, true),
            ("*.REQ.USER.INFO", true, true),
            ("*.API.INFO", false, true),
            ("*", false, false),
        ] {
            for (jetstream, expected) in [("", without), ("jetstream: enabled,", with)] {
                let text = format!(
                    "jetstream {{}}\naccounts {{\n\
                     A {{ {jetstream} users: [{{ user: a, permissions {{ subscribe: \"_INBOX.a.>\" }} }}], exports: [{{ stream: \"{subject}\", accounts: [B] }}] }}\n\
                     B {{ {jetstream} users: [{{ user: b, permissions {{ subscribe: \"_INBOX.a.>\" }} }}], imports: [{{ stream: {{ account: A, subject: \"{subject}\" }} }}] }} }}"
                );
                let is_found = |rule: &str| findings(&text).iter().any(|f| f.rule == rule);
                assert_eq!(is_found("reserved-export"), expected, "{subject} {jetstream}");
                assert_eq!(is_found("reserved-import"), expected, "{subject} {jetstream}");
            }
        }
    }

    /// Measured on nats-server 2.15.1: the server answers nothing on `$SRV.PING`, and services of the account do.
    #[test]
    fn what_services_say_of_themselves_may_be_shared_and_not_be_imported_over_ones_own() {
        let found = |subject: &str, to: &str| {
            let text = format!(
                "accounts {{ A {{ users: [{{ user: a }}], exports: [{{ service: \"{subject}\", accounts: [B] }}] }}
                 B {{ users: [{{ user: b }}], imports: [{{ service: {{ account: A, subject: \"{subject}\" }}{to} }}] }} }}"
            );
            ["reserved-export", "reserved-import"].map(|rule| findings(&text).iter().any(|f| f.rule == rule))
        };
        assert_eq!(found("$SRV.>", ", to: \"srv.>\""), [false, false]);
        assert_eq!(found("$SRV.PING", ""), [false, true]);
        assert_eq!(found("*.PING", ""), [false, true]);
    }

    /// Measured on nats-server 2.15.1: B deletes a stream of A.
    #[test]
    fn each_subject_that_a_mapping_makes_counts() {
        let export = |subject: &str| severity(subject, subject, "");
        for subject in ["$JS.hub.API.>", "$JS.hub.>", "$JS.API.>"] {
            assert_eq!(export(subject), Some(Severity::Error), "{subject}");
        }
        for (subject, expected) in [("*.hub.API.>", true), ("*.hub.>", true), ("*.bub.API.>", false)] {
            let text = format!(
                "jetstream {{ domain: hub }}\naccounts {{ A {{ jetstream: enabled, users: [{{ user: a }}], exports: [{{ service: \"{subject}\", accounts: [B] }}] }}
                 B {{ users: [{{ user: b }}], imports: [{{ service: {{ account: A, subject: \"{subject}\" }}, to: \"p.$1.>\" }}] }} }}"
            );
            assert_eq!(findings(&text).iter().any(|f| f.rule == "reserved-export"), expected, "{subject}");
        }
        let mapped = |mappings: &str| severity("api.>", "api.>", mappings);
        let both = "\"api.INFO\": \"$JS.API.INFO\", \"api.STREAM.>\": \"$JS.API.STREAM.>\"";
        assert_eq!(mapped(both), Some(Severity::Error));
        let weighted = "\"api.x\": [{ destination: \"$JS.API.INFO\", weight: 50 }, { destination: \"$JS.API.STREAM.CREATE.S\", weight: 50 }]";
        assert_eq!(mapped(weighted), Some(Severity::Error));
        assert_eq!(mapped("\"api.INFO\": \"$JS.API.INFO\""), Some(Severity::Warning));
        assert_eq!(mapped("\"api.INFO\": \"api.info\""), None);
    }

    /// Measured on nats-server 2.15.1: B asks what it imports, and nothing else of the export.
    #[test]
    fn what_is_imported_counts() {
        assert_eq!(severity("$JS.API.>", "$JS.API.STREAM.INFO.>", ""), Some(Severity::Error));
        let one = |import: &str, to: &str| {
            let text = format!(
                "jetstream {{}}\naccounts {{\n\
                 A {{ jetstream: enabled, users: [{{ user: a }}], exports: [{{ service: \"$JS.API.>\", accounts: [B] }}] }}\n\
                 B {{ users: [{{ user: b }}], imports: [{{ service: {{ account: A, subject: \"{import}\" }}, to: {to} }}] }} }}"
            );
            findings(&text).iter().find(|f| f.rule == "reserved-export").map(|f| f.severity)
        };
        assert_eq!(one("$JS.API.STREAM.INFO.S", "i"), Some(Severity::Warning));
        assert_eq!(one("$JS.API.STREAM.CREATE.S", "i"), Some(Severity::Error));
        let system = |subject: &str| {
            let text = format!(
                "system_account: SYS\naccounts {{\n\
                 SYS {{ users: [{{ user: s }}], exports: [{{ service: \"{subject}\", accounts: [A] }}] }}\n\
                 A {{ users: [{{ user: a }}], imports: [{{ service: {{ account: SYS, subject: \"{subject}\" }}, to: c }}] }} }}"
            );
            findings(&text).iter().find(|f| f.rule == "reserved-export").map(|f| f.severity)
        };
        assert_eq!(system("$SYS.REQ.ACCOUNT.A.CONNZ"), Some(Severity::Warning));
        assert_eq!(system("$SYS.REQ.ACCOUNT.B.CONNZ"), Some(Severity::Error));
    }

    #[test]
    fn one_stream_or_bucket_may_be_shared() {
        let export = |severity| ("reserved-export", severity);
        let import = |severity| ("reserved-import", severity);
        for (subject, jetstream, expected) in [
            ("$JS.API.CONSUMER.MSG.NEXT.S.C", "", vec![]),
            ("$JS.ACK.S.C.>", "", vec![]),
            ("$JS.ACK.S.C.>", "jetstream: enabled,", vec![import(Severity::Warning)]),
            ("$JS.ACK.S.>", "", vec![]),
            ("$JS.ACK.>", "", vec![export(Severity::Error), import(Severity::Error)]),
            ("$KV.b.>", "jetstream: enabled,", vec![import(Severity::Warning)]),
            ("$KV.>", "", vec![export(Severity::Error), import(Severity::Error)]),
            ("$KV.*.x", "", vec![export(Severity::Error), import(Severity::Error)]),
            ("$JS.API.DIRECT.GET.KV_b.>", "", vec![]),
            ("$JS.ACK.*.c.>", "", vec![export(Severity::Error), import(Severity::Error)]),
            ("$JS.API.CONSUMER.MSG.NEXT.S.*", "", vec![]),
            ("$JS.API.CONSUMER.MSG.NEXT.*.c", "", vec![export(Severity::Error), import(Severity::Error)]),
            ("$JS.API.CONSUMER.CREATE.S", "", vec![export(Severity::Error)]),
        ] {
            assert_eq!(found(subject, jetstream), expected, "{subject} {jetstream}");
        }
    }
}
