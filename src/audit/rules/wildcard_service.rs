//! Wildcard services on which an importer can pose as another.

use std::collections::HashSet;

use super::{Rule, decided_elsewhere, whose};
use crate::audit::crossing::{Asked, asked_by, asked_of_each, may_capture};
use crate::audit::reach::Carried;
use crate::audit::system::{Account, Export, System, User};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::model::ShareKind;
use crate::subject::{Subject, SubjectIndex};

pub const RULE: Rule = Rule {
    id: "wildcard-service",
    proves: "an importer of a service with a wildcard cannot pose as another tenant",
    why: "Without `account_token_position` every importer chooses the token in the wildcard's place, including another tenant's name",
    mend: "put the importer's name into the subject and set `account_token_position` to its position, or export one subject to each importer; tell who asks by the header `Nats-Request-Info`, because a consumer may deliver a request with any subject",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    let mut of_each = asked_of_each(system);
    for account in &system.accounts {
        let asked = of_each.remove(account.name.as_str()).unwrap_or_default();
        fillable(system, tenants, account, &asked, out);
        let direct = asked.iter().filter(|one| one.via.is_none() && one.is_sure);
        direct.for_each(|one| posing_within(system, tenants, account, one, out));
        posing(tenants, account, &asked, out);
        if system.operator.is_some() {
            overlapping(tenants, account, out);
        }
    }
}

/// Reports importers that can ask on another one's subject: one with its name, or one that is not offered to them.
fn posing(tenants: &Tenants, exporter: &Account, asked: &[Asked<'_>], out: &mut Vec<Diagnostic>) {
    let mut index: SubjectIndex<(&Asked<'_>, Subject)> = SubjectIndex::default();
    for one in asked {
        let subjects = one.requests.iter().map(Carried::subject);
        subjects.for_each(|subject| index.insert(&subject.clone(), (one, subject)));
    }
    // An importer of the exporter's own tenant deceives only itself.
    let apart = asked.iter().filter(|one| tenants.are_apart(&one.by.name, &exporter.name));
    for one in apart.filter(|one| one.export.token_position == 0) {
        let Asked { by, import, export, subject: imported, .. } = one;
        let mut others = index.overlapping(imported);
        let is_between = |one: &Asked<'_>, other: &Asked<'_>| other.passes_on(one) && !tenants.are_mixed(other.by);
        others.retain(|(other, subject)| {
            tenants.are_apart(&by.name, &other.by.name)
                && !is_between(one, other)
                && !is_between(other, one)
                && one.comes_to(subject)
        });
        let is_anothers = |(other, subject): &&&(&Asked<'_>, Subject)| {
            let is_wider = other.subject != *imported && subject.contains(imported);
            let is_named = || names(tenants, by, other.by, imported, subject);
            let is_offered = std::ptr::eq(*export, other.export) || other.export.is_offered_to(&by.name);
            !is_wider && (!is_offered || is_named())
        };
        let (who, wide) = (&by.name, imported.has_wildcard());
        if let Some((other, subject)) = others.iter().find(is_anothers).filter(|_| wide) {
            if !one.is_sure {
                let asks = format!("asks as `{}` on `{subject}`", other.by.name);
                out.push(decided_elsewhere::asked_by_streams(by, &asks, import));
                continue;
            }
            let message = format!("`{who}` can ask as `{}` on `{subject}`", other.by.name);
            out.push(RULE.error(import.span, message).related(export.span, "the service"));
            continue;
        }
        // The name stands in the import itself, which may be meant.
        let bears_name = |(other, _): &&&(&Asked<'_>, Subject)| names(tenants, by, other.by, &export.subject, imported);
        if let Some((other, subject)) = others.iter().find(bears_name).filter(|_| one.is_sure) {
            let whose = &other.by.name;
            let message =
                format!("`{who}` asks on `{imported}`, with the name of `{whose}`, which asks on `{subject}`");
            out.push(RULE.warning(import.span, message).related(export.span, "the service"));
        }
    }
}

/// Reports a user of an account with several tenants that can ask on the subject of another tenant in it, which has that
/// one's name.
fn posing_within(system: &System, tenants: &Tenants, exporter: &Account, one: &Asked<'_>, out: &mut Vec<Diagnostic>) {
    let Asked { by, import, export, .. } = one;
    if !tenants.are_mixed(by) || !import.subject.has_wildcard() {
        return;
    }
    let captures = may_capture(by);
    let asked = |user| asked_by(system, (by, user, captures), import, exporter).iter().map(Carried::subject).collect();
    let asked: Vec<(&User, Vec<Subject>)> = by.users.iter().map(|user| (user, asked(user))).collect();
    let named = asked.iter().flat_map(|(user, subjects)| {
        let is_name = |token: &str| token.eq_ignore_ascii_case(tenants.of(by, user));
        let bearing = subjects.iter().filter(move |subject| bears(&is_name, &import.subject, subject));
        bearing.map(|subject| (*user, subject))
    });
    let sent = asked.iter().flat_map(|(user, subjects)| subjects.iter().map(|subject| (*user, subject)));
    if let Some((user, other, subject)) = meets_another(tenants, by, sent, named) {
        let message = format!("{} can ask as `{}` on `{subject}`", whose(tenants, by, user), tenants.of(by, other));
        let finding = RULE.error(user.span, message).related(export.span, "the service");
        out.push(
            finding.hint("give each user a list of its own tenant's subjects, or each tenant an account of its own"),
        );
    }
}

/// The first user of an account who sends on a subject that is named after a user of another tenant in it, with that user and
/// that subject.
pub fn meets_another<'u>(
    tenants: &Tenants,
    by: &Account,
    sent: impl IntoIterator<Item = (&'u User, &'u Subject)>,
    named: impl IntoIterator<Item = (&'u User, &'u Subject)>,
) -> Option<(&'u User, &'u User, &'u Subject)> {
    let mut index: SubjectIndex<(&User, &Subject)> = SubjectIndex::default();
    named.into_iter().for_each(|(user, subject)| index.insert(subject, (user, subject)));
    sent.into_iter().find_map(|(user, subject)| {
        let is_another = |(other, _): &(&User, &Subject)| tenants.of(by, user) != tenants.of(by, other);
        let (other, met) = index.overlapping(subject).into_iter().copied().find(is_another)?;
        Some((user, other, met))
    })
}

/// Whether a subject has the name of an account, or of a tenant with users in it, in a place that another one, which it
/// meets, leaves open. `by`: who asks there; its own name is none.
pub fn names(tenants: &Tenants, by: &Account, account: &Account, wide: &Subject, subject: &Subject) -> bool {
    let owners = [account.name.as_str(), tenants.of_account(&account.name)].into_iter();
    let users = account.users.iter().filter(|_| tenants.are_mixed(account)).map(|user| tenants.of(account, user));
    let own = tenants.owner(by);
    let names: HashSet<&str> = owners.chain(users.filter(|tenant| own != Some(tenant))).collect();
    bears(&|token| names.iter().any(|name| token.eq_ignore_ascii_case(name)), wide, subject)
}

/// Whether a subject has a name in a place that another one, which it meets, leaves open.
fn bears(is_name: &dyn Fn(&str) -> bool, wide: &Subject, subject: &Subject) -> bool {
    let mut open = wide.tokens();
    let mut is_tail = false;
    wide.overlaps(subject)
        && subject.tokens().any(|token| {
            let wide = open.next();
            is_tail |= wide == Some(">");
            (is_tail || wide == Some("*")) && is_name(token)
        })
}

/// Warns of services in which importers choose what is in a wildcard's place, which another one could be named by: all of
/// the service, or what another one asks as well.
fn fillable(system: &System, tenants: &Tenants, account: &Account, asked: &[Asked<'_>], out: &mut Vec<Diagnostic>) {
    // The server's own services have names of keys and consumers in their subjects, and none of importers.
    let is_users = |export: &&Export| export.subject.first_token() != "$JS";
    let services = account.exports.iter().filter(|e| e.kind == ShareKind::Service && e.token_position == 0);
    for export in
        services.filter(is_users).filter(|e| e.subject.has_wildcard() && e.to.as_ref().is_none_or(|to| to.len() > 1))
    {
        let of_export =
            || asked.iter().filter(|one| one.via.is_none() && one.is_sure && std::ptr::eq(one.export, export));
        let is_fillable = |one: &&Asked<'_>| {
            let meets = |other: &Asked<'_>| {
                tenants.are_apart(&one.by.name, &other.by.name) && other.import.subject.overlaps(&one.import.subject)
            };
            one.import.subject.has_wildcard() && (one.import.subject == export.subject || of_export().any(meets))
        };
        // In this file nobody asks but on subjects of its own.
        let Some(wide) = of_export().find(is_fillable) else {
            if system.operator.is_some() && of_export().next().is_none() {
                out.push(warning(tenants, export));
            }
            continue;
        };
        if !out.iter().any(|finding| finding.span == Some(wide.import.span)) {
            out.push(warning(tenants, export));
        }
    }
}

fn warning(tenants: &Tenants, export: &Export) -> Diagnostic {
    let message = format!("every importer of `{}` may fill in another's name", export.subject);
    let finding = RULE.warning(export.span, message);
    match tenants.are_rendered() {
        true => finding.hint(
            "have a [[share]] for each importer, with its name in the subject; and tell who asks by the header \
             `Nats-Request-Info`, which the server writes",
        ),
        false => finding,
    }
}

/// Reports a wildcard service of one importer that overlaps the service of another, which it is not offered: its JWT may
/// import any part of it.
fn overlapping(tenants: &Tenants, account: &Account, out: &mut Vec<Diagnostic>) {
    let services = || account.exports.iter().filter(|e| e.kind == ShareKind::Service);
    let mut index: SubjectIndex<&Export> = SubjectIndex::default();
    services().for_each(|e| index.insert(&e.subject, e));
    for wide in services().filter(|e| e.subject.has_wildcard() && e.token_position == 0) {
        let wide_to: Vec<&str> = wide.to.iter().flatten().map(|(name, _)| name.as_str()).collect();
        let is_anothers = |e: &&&Export| {
            let others = || e.to.iter().flatten().any(|(name, _)| wide_to.iter().any(|w| tenants.are_apart(w, name)));
            e.subject != wide.subject
                && (e.token_position > 0 || others() && !wide_to.iter().all(|who| e.is_offered_to(who)))
        };
        if let Some(known) = index.overlapping(&wide.subject).into_iter().find(is_anothers) {
            let who = wide_to.first().copied().unwrap_or("every importer");
            let message = format!("`{who}` can ask on `{}` by `{}`, as another", known.subject, wide.subject);
            out.push(RULE.error(wide.span, message).related(known.span, "whose name is in this"));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::{findings, findings_of_tenants};
    use crate::diag::Severity;

    /// The gravest finding of two importers, each given as what it is offered and what it imports.
    fn found(a: [&str; 2], b: [&str; 2]) -> Option<Severity> {
        let export = |subject: &str, to: &str| format!("{{ service: \"{subject}\", accounts: [{to}] }}");
        let exports = match a[0] == b[0] {
            true => export(a[0], "A1, B1"),
            false => format!("{}, {}", export(a[0], "A1"), export(b[0], "B1")),
        };
        let account = |name: &str, import: &str| {
            let to = if import.contains('>') { ", to: \"x.>\"" } else { "" };
            let lists = if import.ends_with('!') {
                ", permissions: { publish: \"r.a1.>\", subscribe: \"_INBOX.>\" }"
            } else {
                ""
            };
            let import = import.trim_end_matches('!');
            format!(
                "{name} {{ users: [{{ user: u{name}{lists} }}], imports: [{{ service: {{ account: S, subject: \"{import}\" }}{to} }}] }}"
            )
        };
        let (first, second) = (account("A1", a[1]), account("B1", b[1]));
        let text = format!("accounts {{ S {{ users: [{{ user: s }}], exports: [{exports}] }}\n{first}\n{second} }}");
        findings(&text).into_iter().filter(|f| f.rule == "wildcard-service").map(|f| f.severity).min()
    }

    /// Measured on nats-server 2.15.1: the service hears both on one subject.
    #[test]
    fn tenants_are_named_by_their_users_too() {
        let importer = |name: &str, subject: &str, users: &[(&str, &str)]| {
            let user = |(user, publish): &(&str, &str)| {
                format!("{{ user: {user}, permissions {{ publish: \"{publish}\", subscribe: {{ deny: \">\" }} }} }}")
            };
            let users: Vec<String> = users.iter().map(user).collect();
            let import = format!("{{ service: {{ account: S, subject: \"{subject}\" }} }}");
            format!("{name} {{ users: [{}], imports: [{import}] }}\n", users.join(", "))
        };
        let errors = |importers: &[String]| {
            let exports = "exports: [{ service: \"svc.*\", accounts: [A, B] }]";
            let text = format!("accounts {{ S {{ users: [{{ user: s }}], {exports} }}\n{} }}", importers.concat());
            let tenants = "[[tenant]]\nname = 'P'\naccounts = ['S']\n[[tenant]]\nname = 'Q'\nusers = ['q', 'qa']\n[[tenant]]\nname = 'R'\nusers = ['r']\n";
            let has = |user: &str| importers.iter().any(|importer| importer.contains(user));
            let tenants = if has("user: qa") { tenants.to_owned() } else { tenants.replace(", 'qa'", "") };
            let found = findings_of_tenants(&text, &tenants).into_iter();
            let errors = found.filter(|f| f.rule == "wildcard-service" && f.severity == Severity::Error);
            errors.map(|f| f.message).collect::<Vec<_>>()
        };
        let elsewhere = |of_b: &str| {
            let b = importer("B", of_b, &[("r", of_b), ("q", "yy")]);
            errors(&[importer("A", "svc.*", &[("qa", "svc.*")]), b])
        };
        assert_eq!(elsewhere("svc.r"), ["`A` can ask as `B` on `svc.r`"]);
        assert_eq!(elsewhere("svc.q"), [""; 0], "its own name");
        let within =
            |of_q: &str| errors(&["A {}\n".to_owned(), importer("B", "svc.*", &[("q", of_q), ("r", "svc.r")])]);
        assert_eq!(within("svc.*"), ["`B/q` of `Q` can ask as `R` on `svc.r`"]);
        assert_eq!(within("svc.q"), [""; 0]);
    }

    /// Measured on nats-server 2.15.1: the service hears both on `api.B`, one of them by way of GW.
    #[test]
    fn importers_pose_by_way_of_others_too() {
        let user = |name: &str, publish: &str| {
            format!("{{ user: {name}, permissions {{ publish: {{ allow: \"{publish}\" }}, subscribe: \"i.>\" }} }}")
        };
        let found = |of_a: &str, of_gateway: &str, tenants: &str| {
            let text = format!(
                "accounts {{ OWN {{ users: [{{ user: o }}], exports: [{{ service: \"api.*\", accounts: [GW, A, B] }}] }}
                 GW {{ users: [{of_gateway}], exports: [{{ service: \"g.*\", accounts: [B] }}], imports: [{{ service: {{ account: OWN, subject: \"api.*\" }}, to: \"g.*\" }}] }}
                 A {{ users: [{}], imports: [{{ service: {{ account: OWN, subject: \"api.*\" }} }}] }}
                 B {{ users: [{}], imports: [{{ service: {{ account: GW, subject: \"g.B\" }} }}] }} }}",
                user("a", of_a),
                user("b", "g.B"),
            );
            let found = findings_of_tenants(&text, tenants).into_iter();
            let errors = found.filter(|f| f.rule == "wildcard-service" && f.severity == Severity::Error);
            errors.map(|f| f.message).collect::<Vec<_>>()
        };
        let gateway = user("gw", "x");
        let each = "[[tenant]]\nname = 'OWN'\naccounts = ['OWN']\n";
        assert_eq!(found("api.*", &gateway, each), ["`A` can ask as `B` on `api.B`"]);
        assert_eq!(found("api.A", &gateway, each), [""; 0]);
        assert_eq!(found("api.A", &user("gw", "g.B"), each), [""; 0], "it passes them on itself");
        let guest = format!("{gateway}, {}", user("guest", "g.B"));
        let guests = format!("{each}[[tenant]]\nname = 'X'\nusers = ['guest']\n");
        assert_eq!(found("api.A", &guest, &guests), ["`GW` can ask as `B` on `api.B`"]);
    }

    /// Measured on nats-server 2.15.1: what a stream that was made before captures of `ga.>` is acknowledged to the reply
    /// subject `api.B`, where B's service asks too.
    #[test]
    fn streams_from_earlier_may_ask_in_the_name_of_another() {
        let found = |jetstream: &str, imported: &str| {
            let text = format!(
                "jetstream {{}}\naccounts {{ P {{ users: [{{ user: p }}], exports: [{{ service: \"api.*\", accounts: [G, B] }}] }}
                 G {{ {jetstream} users: [{{ user: ga, permissions {{ publish: [api.G, ga.>], subscribe: i.> }} }}], imports: [{{ service: {{ account: P, subject: \"{imported}\" }} }}] }}
                 B {{ users: [{{ user: b, permissions {{ publish: api.B, subscribe: i.> }} }}], imports: [{{ service: {{ account: P, subject: api.B }} }}] }} }}"
            );
            findings(&text)
                .iter()
                .any(|f| f.rule == "decided-elsewhere" && f.message.contains("asks as `B` on `api.B`"))
        };
        assert!(found("jetstream: enabled,", "api.*"));
        assert!(!found("", "api.*") && !found("jetstream: enabled,", "api.G"));
    }

    /// Measured on nats-server 2.15.1: an importer asks on what it imports, whatever it is offered.
    #[test]
    fn what_is_imported_counts_and_not_what_is_offered() {
        let same = |a: &str, b: &str| found(["r.>", a], ["r.>", b]);
        assert_eq!(same("r.>", "r.b1.orders"), Some(Severity::Error), "its name is in it");
        assert_eq!(same("r.>", "r.status"), Some(Severity::Warning), "a part of the same service");
        assert_eq!(same("r.a1.x", "r.b1.x"), None, "nobody chooses anything");
        assert_eq!(same("r.a1.*", "r.b1.*"), None, "each within its own");
        assert_eq!(same("r.b1.x", "r.b1.*"), Some(Severity::Warning), "written as it is");
        assert_eq!(same("r.*.read", "r.b1.*"), Some(Severity::Error), "they meet on its name");
        assert_eq!(same("r.*.*", "r.b1.*"), Some(Severity::Error), "it chooses the name");
        assert_eq!(same("r.*.*!", "r.b1.*"), Some(Severity::Warning), "its users' lists have its own name only");
        assert_eq!(same("r.*.*!", "r.*.*"), Some(Severity::Error), "the other may ask with its name");
        assert_eq!(found(["r.>", "r.>"], ["r.b.>", "r.b.>"]), Some(Severity::Error), "it is not offered to the first");
        assert_eq!(found(["r.>", "r.a.>"], ["r.b.>", "r.b.>"]), None, "the first does not import it");
        assert_eq!(
            found(["r.b.>", "r.b.>"], ["r.>", "r.>"]),
            Some(Severity::Error),
            "the second has what is the first's"
        );
    }
}
