//! Mappings that move requests past an export's importer check.

use std::collections::HashSet;

use super::wildcard_service::{meets_another, names};
use super::{Rule, decided_elsewhere, whose};
use crate::audit::crossing::{Asked, asked_by, asked_of_each, heard, may_capture, users_decide};
use crate::audit::reach::term::Function;
use crate::audit::reach::{self, Carried};
use crate::audit::system::{Account, Export, Import, Mapping, System, User};
use crate::audit::tenants::Tenants;
use crate::diag::{Diagnostic, Span};
use crate::model::ShareKind;
use crate::subject::Subject;

pub const RULE: Rule = Rule {
    id: "mapped-export",
    proves: "no mapping changes the importer's name in a subject",
    why: "The exporter's mappings are applied after `account_token_position` was checked; they can insert another importer's name, or lead to another exported subject",
    mend: "do not map a subject that one importer may request to a subject with another importer's name",
    check,
};

/// Whether all that a mapping makes keeps the importer's name: where it was, or before everything else that the importer
/// chooses; or what it chooses is not in it at all. `others`: what other accounts import, which it must not become.
fn keeps_name(mapping: &Mapping, export: &Export, others: &[&Subject]) -> bool {
    let place = usize::try_from(export.token_position - 1).unwrap_or(usize::MAX);
    let wildcards = mapping.from.tokens().take(place).filter(|token| *token == "*").count();
    let tail = mapping.from.tokens().position(|token| token == ">").filter(|tail| *tail <= place);
    let name = mapping.from.tokens().nth(place);
    let is_name = |token: &str| match (name, Function::of(token)) {
        (Some("*"), Ok(Function::Wildcard(number))) => number == wildcards + 1,
        (Some(name), Ok(Function::None)) => name != "*" && name != ">" && token == name,
        _ => false,
    };
    // Whether a token of the destination is computed from it, or may be.
    let holds_name = |token: &str| match Function::of(token) {
        Ok(Function::None) => token == "*",
        Ok(Function::Wildcard(number) | Function::OneToken(number) | Function::Split(number)) => {
            number == 0 || number == wildcards + 1
        }
        Ok(Function::Number(_)) => false,
        Err(_) => true,
    };
    let is_literal = |token: &str| matches!(Function::of(token), Ok(Function::None)) && token != ">";
    let is_number = |token: &str| matches!(Function::of(token), Ok(Function::Number(_)));
    let is_kept = |to: &String| {
        let tokens: Vec<&str> = to.split('.').collect();
        let is_free = !others.iter().any(|other| reach::can_make(mapping, to, other));
        // The rest of the subject, the name in it, follows what is written.
        if let Some(tail) = tail {
            let is_whole =
                tokens.split_last().is_some_and(|(last, rest)| *last == ">" && rest.iter().all(|t| is_literal(t)));
            return is_whole && (tokens.len() == tail + 1 || is_free);
        }
        if tokens.get(place).copied().is_some_and(is_name) {
            return true;
        }
        // A mapping for one name speaks of that one only, whatever it makes of it.
        let is_of_one = name.is_some_and(|name| name != "*");
        let first = tokens.iter().find(|token| !is_literal(token) && !is_number(token));
        let is_dropped = name == Some("*") && !tokens.iter().any(|token| holds_name(token));
        is_free && (is_of_one || is_dropped || first.is_none_or(|first| is_name(first)))
    };
    mapping.to.iter().all(is_kept)
}

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    let mapping = || system.accounts.iter().filter(|account| account.written_mappings().next().is_some());
    if mapping().next().is_none() {
        return;
    }
    let mut of_each = asked_of_each(system);
    for account in mapping() {
        let asked = of_each.remove(account.name.as_str()).unwrap_or_default();
        let direct = asked.iter().filter(|one| one.via.is_none() && one.is_sure);
        direct.for_each(|one| renamed_within(system, tenants, account, one, out));
        let requests: Vec<Requests<'_>> = asked.into_iter().map(|who| Requests::of(account, who)).collect();
        diverted(account, &requests, tenants, out);
        renamed(account, &requests, tenants, out);
        // Streams, which the exporter's own messages come to; and services of which the file does not say who may import them.
        let is_followed = |e: &&Export| e.kind == ShareKind::Stream || system.operator.is_some();
        for export in account.exports.iter().filter(|e| e.token_position > 0).filter(is_followed) {
            let imports: Vec<(&Account, &Import)> = system.imports_of(account, export).collect();
            let place = usize::try_from(export.token_position - 1).unwrap_or(usize::MAX);
            for mapping in account.written_mappings().filter(|m| m.from.overlaps(&export.subject)) {
                // A mapping for one importer's name may become what that one imports.
                let own = mapping.from.tokens().nth(place);
                let others = imports.iter().filter(|(by, _)| own != Some(by.name.as_str()));
                let mut others: Vec<&Subject> = others.map(|(_, import)| &import.subject).collect();
                // JWTs may import any part of it.
                if system.operator.is_some() {
                    others.push(&export.subject);
                }
                if keeps_name(mapping, export, &others) || imports.is_empty() && system.operator.is_none() {
                    continue;
                }
                let message = format!("`{}` is mapped, after the importer's name in it was checked", export.subject);
                out.push(RULE.error(mapping.span, message).related(export.span, "exported here"));
            }
        }
        // JWTs may import any part of an export.
        for mapping in account.written_mappings().filter(|_| system.operator.is_some()) {
            let made = reach::results(mapping);
            let services = || account.exports.iter().filter(|e| e.kind == ShareKind::Service);
            let Some(way) = services().find(|e| e.subject.overlaps(&mapping.from)) else { continue };
            let is_others = |e: &&Export| {
                !e.is_same_offer(way) && made.iter().any(|m| m.overlaps(&e.subject)) && e.subject != way.subject
            };
            if let Some(meant) = services().find(is_others) {
                let message =
                    format!("who may ask `{}` is heard on `{}`, which is others'", way.subject, meant.subject);
                out.push(
                    RULE.error(mapping.span, message).related(way.span, "this way in").related(meant.span, "out here"),
                );
            }
        }
    }
}

/// The requests of one account by one import.
struct Requests<'s> {
    who: Asked<'s>,
    /// The subjects on which they may be sent.
    asked: Vec<Subject>,
    /// As the exporter hears them, after its mappings.
    heard: Vec<Carried<'s>>,
    /// Those of its own users on whose subjects nobody asked: a mapping made them.
    made: Vec<Carried<'s>>,
    /// The first mapping that applies.
    span: Span,
}

impl<'s> Requests<'s> {
    fn of(exporter: &'s Account, who: Asked<'s>) -> Self {
        let asked: Vec<Subject> = who.requests.iter().map(Carried::subject).collect();
        let is_made = |heard: &Carried<'_>| !asked.iter().any(|asked| asked.contains(&heard.subject()));
        let made = heard(exporter, &who.own).into_iter().filter(is_made).collect();
        let (heard, span) = (heard(exporter, &who.requests), mapping_of(exporter, &who));
        Self { heard, made, asked, span, who }
    }

    /// The subjects on which the exporter hears them.
    fn heard(&self) -> impl Iterator<Item = Subject> {
        self.heard.iter().map(Carried::subject)
    }

    /// Whether a subject on which they are heard has a token that they are asked with, and those of another importer, to
    /// which their export is not offered, are not.
    fn is_told_by(&self, heard: &Subject, other: &Self) -> bool {
        let Asked { export, subject, .. } = &self.who;
        if export.token_position == 0 && export.is_offered_to(&other.who.by.name) {
            return false;
        }
        let is_in = |token: &str, subject: &Subject| subject.tokens().any(|other| other == token);
        let is_own =
            |token: &str| !matches!(token, "*" | ">") && is_in(token, subject) && !is_in(token, other.who.subject);
        heard.tokens().any(is_own)
    }

    /// Whether they are heard on any of what a subject matches, and were not asked there.
    fn come_to(&self, subject: &Subject) -> bool {
        self.made.iter().any(|made| made.within(subject).is_some())
    }

    /// The finding that they are heard where they should not be.
    fn finding(&self, heard: &Subject, whose: &str) -> Diagnostic {
        let Asked { by, import, via, subject, is_sure, .. } = &self.who;
        if !is_sure {
            return decided_elsewhere::asked_by_streams(
                by,
                &format!("asks on `{subject}`, which is heard on `{heard}`{whose}"),
                import,
            );
        }
        let way = via.map_or_else(String::new, |via| format!(", by way of `{}`,", via.name));
        let message = format!("what `{}` asks on `{subject}`{way} is heard on `{heard}`{whose}", by.name);
        RULE.error(self.span, message).related(import.span, "asked here")
    }
}

/// The first mapping that applies to requests. If none does: their import.
fn mapping_of(exporter: &Account, who: &Asked<'_>) -> Span {
    let mapping = exporter.written_mappings().find(|mapping| mapping.from.overlaps(who.subject));
    mapping.map_or(who.import.span, |mapping| mapping.span)
}

/// Reports requests of one importer that a mapping makes requests on what is not offered to it, or requests with another
/// importer's name.
fn renamed(account: &Account, requests: &[Requests<'_>], tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for asked in requests.iter().filter(|asked| !asked.made.is_empty()) {
        let Asked { by, via, .. } = &asked.who;
        let is_others = |e: &&Export| {
            let is_apart = e.to.iter().flatten().any(|(name, _)| tenants.are_apart(name, &by.name));
            let is_offered = via.iter().chain([by]).any(|who| e.is_offered_to(&who.name));
            e.kind == ShareKind::Service && is_apart && !is_offered && asked.come_to(&e.subject)
        };
        if let Some(meant) = account.exports.iter().find(is_others) {
            out.push(asked.finding(&meant.subject, ", which is others'").related(meant.span, "heard here"));
            continue;
        }
        let is_anothers = |other: &&Requests<'_>| {
            let bears = |subject: &Subject| names(tenants, by, other.who.by, &Subject::everything(), subject);
            let tells = |heard: &Subject| (bears(heard) || other.is_told_by(heard, asked)) && asked.come_to(heard);
            let meets = || other.heard().any(|heard| tells(&heard)) || other.asked.iter().any(tells);
            let is_named = || asked.made.iter().any(|made| bears(&made.subject())) && !asked.asked.iter().any(bears);
            let is_apart = tenants.are_apart(&by.name, &other.who.by.name) && !other.who.passes_on(&asked.who);
            is_apart && (meets() || is_named())
        };
        if let Some(other) = requests.iter().find(is_anothers) {
            let mut met = other.heard().chain(other.asked.iter().cloned()).filter(|heard| asked.come_to(heard));
            let on = met.next().unwrap_or_else(|| asked.made[0].subject());
            out.push(asked.finding(&on, &format!(", as if `{}` had asked", other.who.by.name)));
        }
    }
}

/// Reports users of an account with several tenants whose requests a mapping makes those of another tenant in it.
fn renamed_within(system: &System, tenants: &Tenants, exporter: &Account, one: &Asked<'_>, out: &mut Vec<Diagnostic>) {
    let Asked { by, import, .. } = one;
    if !tenants.are_mixed(by) || !users_decide(system, by) {
        return;
    }
    let captures = may_capture(by);
    let of_users = by.users.iter().map(|user| {
        let asked = asked_by(system, (by, user, captures), import, exporter);
        let subjects = |requests: &[Carried<'_>]| requests.iter().map(Carried::subject).collect::<Vec<Subject>>();
        (user, subjects(&asked), subjects(&heard(exporter, &asked)))
    });
    let of_users: Vec<(&User, Vec<Subject>, Vec<Subject>)> = of_users.collect();
    let named = of_users.iter().flat_map(|(user, _, heard)| {
        let tenant = tenants.of(by, user);
        let bearing = heard.iter().filter(move |s| s.tokens().any(|token| token.eq_ignore_ascii_case(tenant)));
        bearing.map(|subject| (*user, subject))
    });
    let made = of_users.iter().flat_map(|(user, asked, heard)| {
        let made = heard.iter().filter(move |heard| !asked.iter().any(|asked| asked.contains(heard)));
        made.map(|subject| (*user, subject))
    });
    if let Some((user, other, subject)) = meets_another(tenants, by, made, named) {
        let message = format!(
            "what {} asks by `{}` is heard on `{subject}`, as if `{}` had asked",
            whose(tenants, by, user),
            import.local,
            tenants.of(by, other)
        );
        out.push(RULE.error(mapping_of(exporter, one), message).related(import.span, "asked here"));
    }
}

/// Reports requests that a mapping leads to a user of another tenant than the asker's and those that would hear them
/// without it: in an account that several tenants share.
fn diverted(account: &Account, requests: &[Requests<'_>], tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for asked in requests {
        let hears = |user: &&User, subject: &Subject| user.permissions.subscribe.touches(subject);
        let meant = account.users.iter().filter(|user| asked.asked.iter().any(|subject| hears(user, subject)));
        let meant: HashSet<&str> = meant.map(|user| tenants.of(account, user)).collect();
        let is_other = |user: &&User| {
            let tenant = tenants.of(account, user);
            !meant.contains(tenant) && tenant != tenants.of_account(&asked.who.by.name)
        };
        let reached = asked.made.iter().map(Carried::subject).find_map(|made| {
            account.users.iter().filter(|user| hears(user, &made)).find(is_other).map(|user| (made, user))
        });
        if let Some((made, user)) = reached.filter(|_| !meant.is_empty()) {
            out.push(asked.finding(&made, &format!(" by `{}`, of another tenant", user.display_name())));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::{findings_of_tenants, rules};

    #[test]
    fn a_mapping_that_keeps_the_importers_name_is_none_past_the_check() {
        for (mapping, is_found) in [
            ("\"q.*.z\": \"q.$1.y\"", false),
            ("\"q.*.z\": \"q.{{wildcard(1)}}.{{partition(3)}}\"", false),
            ("\"q.B.z\": \"q.B.y\"", false),
            ("\"q.B.z\": \"q.C.y\"", true),
            ("\"q.B.z\": \"all.C.y\"", true),
            ("\"q.B.z\": \"all.B.y\"", false),
            ("\"q.*.*\": \"all.B.$2\"", true),
            ("\"q.*.*\": \"q.$2.$1\"", true),
            ("\"q.*.z\": \"q.{{left(1,2)}}.y\"", true),
            ("\"q.*.z\": \"r.$1.y\"", false),
            ("\"q.*.*\": \"r.$2.$1\"", false),
            ("\"q.*.*\": \"q.{{partition(3,2)}}.$1.$2\"", false),
            ("\"q.*.*\": \"q.$1.v2.$2\"", false),
            ("\"q.*.*\": \"q.v2.$1\"", false),
            ("\"q.>\": \"x.>\"", false),
            ("\"q.>\": \"x.y.>\"", false),
            ("\"q.>\": \"q.y.>\"", false),
            ("\"q.*.*\": \"q.C.$1\"", true),
            ("\"q.*.*\": \"same.$2\"", false),
            ("\"q.*.*\": \"r.{{random(2)}}.x\"", false),
            ("\"s.*\": \"q.$1.y\"", false),
        ] {
            let text = format!(
                "accounts {{ A {{ users: [{{ user: a }}], exports: [{{ service: \"q.*.*\", accounts: [B, C], account_token_position: 2 }}]
                 mappings {{ {mapping} }} }}, B {{ users: [{{ user: b }}], imports: [{{ service: {{ account: A, subject: \"q.B.*\" }}, to: \"b.*\" }}] }}
                 C {{ users: [{{ user: c }}], imports: [{{ service: {{ account: A, subject: \"q.C.*\" }}, to: \"c.*\" }}] }} }}"
            );
            assert_eq!(rules(&text).contains(&"mapped-export"), is_found, "{mapping}");
        }
    }

    /// Measured on nats-server 2.15.1: B is heard on `api.B`, and so is what A asks on `g.A`.
    #[test]
    fn requests_that_others_pass_on_are_followed_too() {
        let found = |users: [&str; 2], more: &str| {
            let user = |name: &str, publish: &str| {
                format!("users: [{{ user: {name}, permissions {{ publish: \"{publish}\", subscribe: i.> }} }}]")
            };
            let text = format!(
                "jetstream {{}}\naccounts {{ OWN {{ users: [{{ user: o }}], exports: [{{ service: api.A, accounts: [GW, A] }}, {{ service: api.B, accounts: [GW, B] }}]
                 mappings {{ api.A: api.B }} }}
                 GW {{ {}, exports: [{{ service: g.A, accounts: [A] }}, {{ service: g.B, accounts: [B] }}]
                 imports: [{{ service: {{ account: OWN, subject: api.A }}, to: g.A }}, {{ service: {{ account: OWN, subject: api.B }}, to: g.B }}] }}
                 A {{ {}, {more} imports: [{{ service: {{ account: GW, subject: g.A }} }}] }}
                 B {{ {}, imports: [{{ service: {{ account: GW, subject: g.B }} }}] }} }}",
                user("gw", users[0]),
                user("a", users[1]),
                user("b", "g.B"),
            );
            let told = findings_of_tenants(&text, "[[tenant]]\nname = 'OWN'\naccounts = ['OWN']\n").into_iter();
            let told = told.filter(|f| f.rule == "mapped-export" || f.message.contains("streams from earlier"));
            told.map(|f| f.message.split(", by streams").next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        let passed = "what `A` asks on `api.A`, by way of `GW`, is heard on `api.B`, as if `B` had asked";
        assert_eq!(found(["x", "g.A"], ""), [passed]);
        assert_eq!(found(["x", "y"], ""), [""; 0], "nobody asks");
        let earlier = "whether `A` asks on `api.A`, which is heard on `api.B`, as if `B` had asked";
        assert_eq!(found(["x", "y"], "jetstream: enabled,"), [earlier]);
    }

    /// Measured on nats-server 2.15.1: the service hears both on `api.t2`.
    #[test]
    fn requests_of_tenants_of_one_account_do_not_become_each_others() {
        let found = |mapping: &str| {
            let user = |name: &str| {
                format!("{{ user: {name}, permissions {{ publish: \"ask.{name}\", subscribe: {{ deny: \">\" }} }} }}")
            };
            let text = format!(
                "accounts {{ S {{ users: [{{ user: s }}], exports: [{{ service: \"api.*\", accounts: [A] }}], mappings {{ {mapping} }} }}
                 A {{ users: [{}, {}], imports: [{{ service: {{ account: S, subject: \"api.*\" }}, to: \"ask.*\" }}] }} }}",
                user("t1"),
                user("t2"),
            );
            let tenants = "[[tenant]]\nname = 't1'\nusers = ['t1']\n[[tenant]]\nname = 't2'\nusers = ['t2']\n";
            let told = findings_of_tenants(&text, tenants).into_iter().filter(|f| f.rule == "mapped-export");
            told.map(|f| f.message).collect::<Vec<_>>()
        };
        let told = "what `A/t1` of `t1` asks by `ask.*` is heard on `api.t2`, as if `t2` had asked";
        assert_eq!(found("api.t1: api.t2"), [told]);
        assert_eq!(found("api.t1: work.t1"), [""; 0]);
    }

    /// Measured on nats-server 2.15.1: both are heard on one subject, which has a token of the one that chose nothing.
    #[test]
    fn requests_that_meet_behind_mappings_are_told_apart_by_the_tokens_that_they_keep() {
        for (one, other, is_found) in [
            ("\"t17.>\": \"jobs.t17.>\"", "\"t18.>\": \"jobs.>\"", true),
            ("\"t17.>\": \"jobs.t17.>\"", "\"t18.>\": \"jobs.t17.>\"", true),
            ("\"t17.do.*\": \"w.t17.$1\"", "\"t18.do.*\": \"w.$1.x\"", true),
            ("\"t17.>\": \"jobs.t17.>\"", "\"t18.>\": \"jobs.t18.>\"", false),
            ("\"t17.do.*\": \"jobs.$1\"", "\"t18.do.*\": \"jobs.$1\"", false),
            ("\"t17.do.*\": \"w.t17.$1\"", "\"t18.do.*\": \"w.{{random(9)}}.$1\"", false),
        ] {
            let text = format!(
                "accounts {{ S {{ users: [{{ user: s }}], exports: [{{ service: \"t17.>\", accounts: [B] }}, {{ service: \"t18.>\", accounts: [G] }}], mappings {{ {one}, {other} }} }}
                 B {{ users: [{{ user: b }}], imports: [{{ service: {{ account: S, subject: \"t17.>\" }} }}] }}, G {{ users: [{{ user: g }}], imports: [{{ service: {{ account: S, subject: \"t18.>\" }} }}] }} }}"
            );
            assert_eq!(rules(&text).contains(&"mapped-export"), is_found, "{one} {other}");
        }
    }

    /// Measured on nats-server 2.15.1: g receives what the other tenant asks on its own subject.
    #[test]
    fn a_mapping_into_another_tenants_part_of_an_account_is_found() {
        let found = |mapping: &str, export: &str| {
            let text = format!(
                "accounts {{ S {{ users: [{{ user: a, permissions {{ publish: \"a.>\", subscribe: \"a.>\" }} }}, {{ user: g, permissions {{ publish: \"g.>\", subscribe: \"g.>\" }} }}]
                 exports: [{{ service: \"{export}\", accounts: [A] }}], mappings {{ \"a.q\": \"{mapping}\" }} }}, A {{ users: [{{ user: x }}], imports: [{{ service: {{ account: S, subject: \"a.q\" }} }}] }}, G {{ users: [{{ user: y }}] }} }}"
            );
            let tenants = "[[tenant]]\nname = \"A\"\naccounts = [\"A\"]\nusers = [\"S/a\"]\n[[tenant]]\nname = \"G\"\naccounts = [\"G\"]\nusers = [\"S/g\"]\n";
            findings_of_tenants(&text, tenants).iter().any(|f| f.rule == "mapped-export")
        };
        assert!(found("g.q", "a.q") && found("g.q", "*.q"));
        assert!(!found("a.r", "a.q"), "it stays in its tenant's part");
        assert!(!found("none", "a.q"), "nobody hears it");
    }
}
