//! Tenants that share an account and reach each other in it.

use std::collections::{BTreeSet, HashSet};

use super::{Rule, decided_elsewhere, undecided, whose};
use crate::audit::crossing::{Parties, Share, Taken, answering, crossings, may_capture, past_lists};
use crate::audit::reach::{self, Carried, ForwardedRequest, published};
use crate::audit::system::{Account, Import, System, User};
use crate::audit::tenants::Tenants;
use crate::diag::{Diagnostic, Span};
use crate::model::ShareKind;
use crate::subject::{Subject, SubjectIndex};

pub const RULE: Rule = Rule {
    id: "shared-account",
    proves: "tenants that share an account cannot reach each other in it",
    why: "Inside one account only subject permissions separate users, and the server never checks a reply subject: a user who gets an answer from another user, from the server or from JetStream can have it published to any subject of the account. What another account shares with such an account is meant for whichever tenant's users its lists let take part; it is an error if that account's own tenant takes part there too, and inconclusive if that tenant has users there who do not, or owns the account",
    mend: "give each tenant its own account",
    check,
};

/// Maximum number of crossings reported for one account.
const MOST: usize = 10;

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in system.tenants().filter(|account| tenants.share(account)) {
        let crossings = crossings(system, account, |user| tenants.of(account, user), MOST);
        for crossing in &crossings {
            let (from, to) = (whose(tenants, account, crossing.from), whose(tenants, account, crossing.to));
            out.push(
                RULE.error(crossing.place, format!("{from} reaches {to}: {}", crossing.what))
                    .related(crossing.from.span, "from this user")
                    .related(crossing.to.span, "to this one"),
            );
        }
        services_past_lists(system, tenants, account, out);
        shares_with_several(tenants, account, out);
        latency_reports(tenants, account, out);
        connections_told(system, tenants, account, out);
        // Logins of leaf nodes are users of a tenant each. Who is on a server that this one dials is another matter.
        if let Some(remote) = system.server.remote_of(&account.name) {
            out.push(decided_elsewhere::behind_leaf(account, remote.span));
        }
        // Streams of earlier users are on the server's disk and not in this file.
        if account.jetstream.is_some() && !may_capture(account) && crossings.is_empty() {
            out.push(decided_elsewhere::old_streams(account));
        }
        if crossings.is_empty() {
            acknowledged_elsewhere(system, account, out);
        }
    }
    for share in shares(system, tenants) {
        by_anothers_share(system, tenants, &share, out);
    }
    for suspicion in undecided(system, tenants) {
        let ([first, second, ..], Some(open)) = (suspicion.groups.as_slice(), suspicion.open.first()) else { continue };
        let message = format!(
            "`{}/{}` has no list of allowed subjects, beside `{}` and `{}`, which have subjects of their own: it reaches both",
            suspicion.account.name,
            open.display_name(),
            first.name,
            second.name
        );
        out.push(
            RULE.error(open.span, message)
                .related(first.users[0].span, "its own subjects")
                .related(second.users[0].span, "its own subjects")
                .hint("give it permissions, or the tenants accounts of their own"),
        );
    }
}

/// Reports services of others that a user reaches although its list does not name them.
fn services_past_lists(system: &System, tenants: &Tenants, account: &Account, out: &mut Vec<Diagnostic>) {
    let is_owner = |user: &User, import: &Import| tenants.of(account, user) == tenants.of_account(&import.from.0);
    let mut told = HashSet::new();
    for past in past_lists(system, account).into_iter().filter(|past| !is_owner(past.user, past.import)) {
        if told.len() >= MOST || !told.insert((tenants.of(account, past.user), past.import.local.as_str())) {
            continue;
        }
        let message = format!(
            "`{}/{}` reaches `{}` of `{}`, which its list does not name: {}",
            account.name,
            past.user.display_name(),
            past.import.subject,
            past.import.from.0,
            past.what
        );
        out.push(RULE.error(past.place, message).related(past.import.span, "this service"));
    }
}

/// Adds the services that users of an account with several tenants ask, and of which the file does not say whether a stream
/// acknowledges the requests: to whatever reply subject they have.
fn acknowledged_elsewhere(system: &System, account: &Account, out: &mut Vec<Diagnostic>) {
    let is_asked = |import: &Import| {
        let mut users = account.users.iter().filter(|user| user.chooses_replies());
        users.any(|user| !published(account, user, Some(&import.local)).is_empty())
    };
    for import in account.services().filter(|import| is_asked(import)) {
        let answering = answering(system, account, import);
        if let Some(owner) = answering.by_earlier_of.filter(|_| !answering.is_sure()) {
            out.push(decided_elsewhere::answered_by_streams(account, owner, import));
        }
    }
}

/// Warns of what another account shares with an account and several tenants in it use: the one who shared it may have
/// meant one of them.
fn shares_with_several(tenants: &Tenants, account: &Account, out: &mut Vec<Diagnostic>) {
    for import in account.imports.iter().filter(|i| tenants.are_apart(&i.from.0, &account.name)) {
        let (message, is_stream) = (Carried::new(account, &import.local), import.kind == ShareKind::Stream);
        let used = |user: &User| -> Vec<Subject> {
            match is_stream {
                true => message.received_by(user).into_iter().collect(),
                false => published(account, user, Some(&import.local)).iter().map(Carried::subject).collect(),
            }
        };
        let of = account.users.iter().map(|user| (tenants.of(account, user), used(user)));
        let others = of.filter(|(tenant, _)| *tenant != tenants.of_account(&import.from.0));
        let using: BTreeSet<(&str, Subject)> =
            others.flat_map(|(tenant, used)| used.into_iter().map(move |subject| (tenant, subject))).collect();
        let mut index: SubjectIndex<&str> = SubjectIndex::default();
        using.iter().for_each(|(tenant, subject)| index.insert(subject, *tenant));
        // Three are enough to tell.
        let mut meeting: Vec<&str> = Vec::new();
        for (tenant, subject) in &using {
            let meets = || index.overlapping(subject).into_iter().any(|other| other != tenant);
            if meeting.len() < 3 && meeting.last() != Some(tenant) && meets() {
                meeting.push(tenant);
            }
        }
        if let [one, other, more @ ..] = meeting.as_slice() {
            let more = if more.is_empty() { "" } else { " and others" };
            let verb = if is_stream { "receive" } else { "ask" };
            let (what, from) = (&import.subject, &import.from.0);
            let message =
                format!("`{one}`, `{other}`{more} all {verb} `{what}`, which `{from}` shares with `{}`", account.name);
            let hint = "if it is meant for one of them, give the others permissions without it";
            out.push(RULE.warning(import.span, message).hint(hint));
        }
    }
}

/// The shares between two accounts, one of which has several tenants' users: imports, and services that an exporter imports
/// itself and passes on.
fn shares<'s>(system: &'s System, tenants: &Tenants) -> Vec<Share<'s>> {
    let mut found = Vec::new();
    if !system.tenants().any(|account| tenants.are_mixed(account)) {
        return found;
    }
    for importer in system.tenants() {
        let exporter = |import: &Import| system.account(&import.from.0).filter(|from| from.name != importer.name);
        let share = |import, on_to| Some(Share { import, exporter: exporter(import)?, importer, on_to });
        found.extend(importer.imports.iter().filter_map(|import| share(import, None)));
        let mut told = HashSet::new();
        for ForwardedRequest { first, owner, .. } in reach::passed_on(system, importer).0 {
            if owner.name != importer.name && told.insert((&raw const *first, &owner.name)) {
                found.extend(share(first, Some(owner)));
            }
        }
    }
    found.retain(|share| <[&Account; 2]>::from(share.ends()).into_iter().any(|end| tenants.are_mixed(end)));
    found
}

/// Reports users of an account with several tenants who take part in what is shared between it and another account,
/// although nobody said, or it cannot be, that it is meant for them.
fn by_anothers_share(system: &System, tenants: &Tenants, share: &Share<'_>, out: &mut Vec<Diagnostic>) {
    let import = share.import;
    let (from, to) = share.ends();
    // A leaf node that this server dials brings users whom nobody knows.
    let behind = User::behind_leaf("(leaf node)".to_owned(), import.span);
    let Parties { sent, taken } = share.parties(system, &behind);
    let received = taken.iter().filter(|taken| taken.is_received);
    let ends: [BTreeSet<&str>; 2] = [
        sent.iter().filter(|sent| sent.is_sure).map(|sent| tenants.of(from, sent.by)).collect(),
        received.map(|taken| tenants.of(to, taken.receiver)).collect(),
    ];
    let owners = [tenants.owner(from), tenants.owner(to)];
    let residents = [from, to].map(|end| end.users.iter().map(|user| tenants.of(end, user)).collect::<HashSet<&str>>());
    // Whether the share with `other` is for this tenant, at one of its ends.
    let judged = |end: usize, account: &Account, tenant: &str, other: &str| {
        if !tenants.are_mixed(account) || owners.contains(&Some(tenant)) {
            Meant::Yes
        } else if owners[end] == Some(other) {
            Meant::Perhaps
        } else if owners[end].is_some() || ends[end].contains(other) {
            Meant::No
        } else if residents[end].contains(other) {
            Meant::Perhaps
        } else {
            Meant::Yes
        }
    };
    let found = taken.iter().filter_map(|taken| {
        let (first, second) = (tenants.of(from, taken.sender), tenants.of(to, taken.receiver));
        let meant = judged(0, from, first, second).max(judged(1, to, second, first));
        let is_sure = taken.is_sent && taken.is_received;
        let is_wrong = first != second && meant != Meant::Yes;
        is_wrong.then_some((taken, if is_sure { meant } else { Meant::Perhaps }))
    });
    // A certain crossing is told first, before one that another server decides, or of which nobody said what is meant.
    let by_leaf = |taken: &Taken<'_>| taken.has(&behind);
    let found = found.min_by_key(|(taken, meant)| (by_leaf(taken), *meant != Meant::No));
    let Some((taken, meant)) = found else { return };
    let Taken { sender, receiver, arrives, .. } = taken;
    let who = |end: &Account, user: &User| whose(tenants, end, user);
    let (exporter, importer) = (&share.exporter.name, &share.importer.name);
    let shared = match share.on_to {
        Some(_) => format!("by way of `{exporter}`"),
        None => format!("by what `{exporter}` shares with `{importer}`"),
    };
    if meant == Meant::Perhaps || by_leaf(taken) {
        let (from, to) = (who(from, sender), who(to, receiver));
        let message = format!("whether {from} is to reach {to} on `{arrives}`, {shared}, is not in this file");
        out.push(decided_elsewhere::not_said(message, import.span));
        return;
    }
    let message = format!("{} reaches {}: `{arrives}`, {shared}", who(from, sender), who(to, receiver));
    let mixed = if tenants.are_mixed(from) { from } else { to };
    let hint = format!(
        "narrow their lists; or, if `{0}` is another tenant's with whom all may share, name it under `accounts` of that one",
        mixed.name
    );
    let finding = RULE.error(import.span, message).related(sender.span, "from this user");
    out.push(finding.related(receiver.span, "to this one").hint(hint));
}

/// Whether a share is meant for a tenant that takes part in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Meant {
    Yes,
    /// It was not said: the account is the other tenant's own; or that one has users in it, who take no part.
    Perhaps,
    No,
}

/// Reports the latency of one tenant's service that another tenant's user may receive.
fn latency_reports(tenants: &Tenants, account: &Account, out: &mut Vec<Diagnostic>) {
    for (export, latency) in account.exports.iter().filter_map(|e| Some((e, e.latency.as_ref()?))) {
        let Some(reports) = &latency.subject else { continue };
        let receivers = |subject: &Subject| -> Vec<&User> {
            let message = Carried::new(account, subject);
            account.users.iter().filter(|user| message.received_by(user).is_some()).collect()
        };
        let learners = receivers(reports);
        let pair = receivers(&export.subject).into_iter().find_map(|answers| {
            let is_another = |learns: &&&User| tenants.of(account, learns) != tenants.of(account, answers);
            Some((answers, *learners.iter().find(is_another)?))
        });
        if let Some((answers, learns)) = pair {
            let message = format!(
                "{} learns when `{}` of `{}` answers requests to `{}`, who asks, and from where",
                whose(tenants, account, learns),
                answers.display_name(),
                tenants.of(account, answers),
                export.subject
            );
            out.push(RULE.error(latency.span, message).related(learns.span, "receives the reports"));
        }
    }
}

/// Requests that the server answers to any account with its connections: users, addresses, subscriptions.
const CONNECTIONS: [&str; 2] = ["$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.SERVER.PING.CONNZ"];

/// Reports users who learn of the connections of other tenants in their account, from the server or by what the system
/// account shares.
fn connections_told(system: &System, tenants: &Tenants, account: &Account, out: &mut Vec<Diagnostic>) {
    let is_shared = |import: &&Import| {
        import.subject.first_token() == "$SYS" && system.account(&import.from.0).is_some_and(|a| system.is_system(a))
    };
    let asks = |user: &User, subject: &Subject| {
        user.permissions.subscribe.hears_anything() && !published(account, user, Some(subject)).is_empty()
    };
    let by_import = |user: &User, import: &Import| match import.kind {
        ShareKind::Stream => Carried::new(account, &import.local).received_by(user).is_some(),
        ShareKind::Service => asks(user, &import.local),
    };
    let learns = |user: &User| -> Option<(String, Span)> {
        let server = CONNECTIONS.iter().filter_map(|subject| Subject::as_the_server_reads(subject));
        let mut server = server.filter(|subject| !system.server.no_system_account && asks(user, subject));
        let mut shared = account.imports.iter().filter(is_shared).filter(|import| by_import(user, import));
        let of_server = server.next().map(|subject| (format!("`{subject}`, which the server answers"), user.span));
        let of_import = |import: &Import| {
            (format!("`{}`, which `{}` shares with `{}`", import.subject, import.from.0, account.name), import.span)
        };
        of_server.or_else(|| shared.next().map(of_import))
    };
    let Some((user, (what, place))) = account.users.iter().find_map(|user| Some((user, learns(user)?))) else { return };
    let others = account.users.iter().find(|other| tenants.of(account, other) != tenants.of(account, user));
    if let Some(other) = others {
        let message = format!(
            "{} learns of the connections of {}, and from where: by {what}",
            whose(tenants, account, user),
            whose(tenants, account, other)
        );
        out.push(RULE.error(place, message).related(user.span, "this user").related(other.span, "and that one's"));
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::findings_of_tenants;
    use crate::diag::Severity;

    /// Whether a finding says that `t2` reaches the other tenant, or that one `t2`, by what HUB shares with A.
    fn is_past_owners(export: &str, import: &str, hub: &str, importer: &str, tenants: &str) -> bool {
        let text = format!(
            "accounts {{ HUB {{ users: [{{ user: h, permissions {{ publish: \"jobs.h\", subscribe: \"ask.h\" }} }}{hub}], exports: [{{ {export}, accounts: [A] }}] }}
             A {{ users: [{{ user: a, permissions {{ publish: \"q.h\", subscribe: \"in.h\" }} }}{importer}], imports: [{{ {import} }}] }} }}"
        );
        let findings = findings_of_tenants(&text, tenants);
        findings
            .iter()
            .any(|f| f.rule == "shared-account" && f.message.contains("/t2` of `t2`") && f.message.contains("by what"))
    }

    fn user(publish: &str, subscribe: &str) -> String {
        format!(
            ", {{ user: t2, permissions {{ publish: {{ allow: [\"{publish}\"] }}, subscribe: {{ allow: [\"{subscribe}\"] }} }} }}"
        )
    }

    fn stream(hub: &str, importer: &str, tenants: &str) -> bool {
        let import = "stream: { account: HUB, subject: \"jobs.>\" }, to: \"in.>\"";
        is_past_owners("stream: \"jobs.>\"", import, hub, importer, tenants)
    }

    fn service(hub: &str, importer: &str, tenants: &str) -> bool {
        let import = "service: { account: HUB, subject: \"ask.*\" }, to: \"q.*\"";
        is_past_owners("service: \"ask.*\"", import, hub, importer, tenants)
    }

    /// Measured on nats-server 2.15.1: what t1 asks with the reply subject `t2.x` is acknowledged to t2, and to the service of Z.
    #[test]
    fn a_stream_of_another_account_answers_to_any_reply_subject() {
        let found = |of_s: &str, of_z: &str| {
            let text = format!(
                "jetstream {{}}\naccounts {{ S {{ jetstream: enabled, users: [{{ user: s, permissions {{ publish: {of_s}, subscribe: i.> }} }}], exports: [{{ service: svc, accounts: [A] }}] }}
                 Z {{ users: [{{ user: z, permissions {{ publish: {of_z}, subscribe: zsvc }} }}], exports: [{{ service: zsvc, accounts: [A] }}] }}
                 A {{ users: [{{ user: t1, permissions {{ publish: svc, subscribe: t1.> }} }}, {{ user: t2, permissions {{ publish: zsvc, subscribe: t2.> }} }}]
                 imports: [{{ service: {{ account: S, subject: svc }} }}, {{ service: {{ account: Z, subject: zsvc }} }}] }} }}"
            );
            let tenants = "[[tenant]]\nname = 't1'\nusers = ['A/t1']\n[[tenant]]\nname = 't2'\nusers = ['A/t2']\n";
            let found = findings_of_tenants(&text, tenants).into_iter();
            let told = found.filter(|f| ["shared-account", "decided-elsewhere"].contains(&f.rule));
            told.map(|f| f.message).collect::<Vec<_>>()
        };
        let sure = found("\"$JS.API.>\"", "_R_.>");
        assert!(
            sure.iter().any(|m| m.contains("once a stream of `S` acknowledges it") && m.contains("reaches `A/t2`"))
        );
        assert!(sure.iter().any(|m| m.starts_with("`A/t1` reaches `zsvc` of `Z`, which its list does not name")));
        let earlier = found("x", "y");
        assert!(earlier.iter().any(|m| m.contains("whether a stream of `S` acknowledges")), "{earlier:?}");
    }

    const T2: &str = "[[tenant]]\nname = 't2'\nusers = ['t2']\n";

    /// Measured on nats-server 2.15.1: all of these are heard.
    #[test]
    fn shares_that_reach_another_tenants_user_alone_are_not_called_meant() {
        let undecided = |to: &str, hears: &str, tenants: &str| {
            let text = format!(
                "accounts {{ HUB {{ users: [{{ user: h1, permissions {{ publish: x, subscribe: \"in.a.>\" }} }}, {{ user: h2, permissions {{ publish: x, subscribe: {hears} }} }}], imports: [{{ stream: {{ account: A, subject: \"evt.>\" }}, to: \"{to}\" }}] }}
                 A {{ users: [{{ user: a }}], exports: [{{ stream: \"evt.>\", accounts: [HUB] }}] }} }}"
            );
            let found = findings_of_tenants(&text, tenants);
            let is = |rule: &str| found.iter().any(|f| f.rule == rule && f.message.contains("`HUB/h2`"));
            (is("shared-account"), is("decided-elsewhere"))
        };
        let each =
            "[[tenant]]\nname = 'one'\naccounts = ['A']\nusers = ['h1']\n[[tenant]]\nname = 'two'\nusers = ['h2']\n";
        assert_eq!(undecided("in.a.>", "\"in.b.>\"", each), (false, false), "it comes to its own tenant's user");
        assert_eq!(undecided("in.b.>", "\"in.b.>\"", each), (false, true), "to the other one's alone");
        assert_eq!(undecided("in.>", "\"in.>\"", each), (true, false), "to both");
        let owner = "[[tenant]]\nname = 'one'\naccounts = ['A', 'HUB']\n[[tenant]]\nname = 'two'\nusers = ['h2']\n";
        assert_eq!(undecided("in.>", "\"in.>\"", owner), (false, true), "to a guest");
        let others = "[[tenant]]\nname = 'three'\naccounts = ['A']\n[[tenant]]\nname = 'one'\nusers = ['h1']\n[[tenant]]\nname = 'two'\nusers = ['h2']\n";
        assert_eq!(undecided("in.b.>", "\"in.b.>\"", others), (false, false), "who shares has nobody there");
    }

    /// Measured on nats-server 2.15.1: a stream over the import, and the acknowledgement of an earlier stream.
    #[test]
    fn streams_take_part_in_shares() {
        let found = |jetstream: &str, publish: &str, h2: &str| {
            let text = format!(
                "jetstream {{}}\naccounts {{ HUB {{ users: [{{ user: h1, permissions {{ publish: \"evt.a.>\", subscribe: \"in.a.>\" }} }}, {{ user: h2, permissions {{ publish: {h2}, subscribe: \"in.b.>\" }} }}],
                 exports: [{{ stream: \"evt.>\", accounts: [A] }}], imports: [{{ stream: {{ account: A, subject: \"out.>\" }}, to: \"in.>\" }}] }}
                 A {{ {jetstream} users: [{{ user: a, permissions {{ publish: [{publish}], subscribe: \"_INBOX.>\" }} }}], imports: [{{ stream: {{ account: HUB, subject: \"evt.>\" }} }}], exports: [{{ stream: \"out.>\", accounts: [HUB] }}] }} }}"
            );
            let tenants = "[[tenant]]\nname = 'one'\naccounts = ['A']\nusers = ['h1']\n[[tenant]]\nname = 'two'\nusers = ['h2']\n";
            let found = findings_of_tenants(&text, tenants);
            let is = |rule: &str| {
                found.iter().any(|f| f.rule == rule && f.message.contains("`HUB/h2`") && f.message.contains("by what"))
            };
            (is("shared-account"), is("decided-elsewhere"))
        };
        let on = "jetstream: enabled,";
        assert!(found(on, "\"$JS.API.>\"", "\"evt.b.>\"").0, "it makes a stream and reads it");
        assert_eq!(found(on, "\"$JS.API.STREAM.MSG.GET.S\"", "\"evt.b.>\""), (false, true), "one may be there");
        assert_eq!(found(on, "\"out.a.>\"", "x"), (false, true), "one may acknowledge to any subject");
        assert_eq!(found("", "\"out.a.>\"", "\"evt.b.>\""), (false, false), "the control");
    }

    /// Measured on nats-server 2.15.1: a request goes on by way of an account whose users hear nothing of it.
    #[test]
    fn services_that_are_passed_on_reach_who_is_behind_them() {
        let found = |publish: &str| {
            let text = format!(
                "accounts {{ A {{ users: [{{ user: a1, permissions {{ publish: {publish}, subscribe: x }} }}, {{ user: a2, permissions {{ publish: \"ask.two\", subscribe: y }} }}], imports: [{{ service: {{ account: C, subject: \"ask.>\" }} }}] }}
                 C {{ users: [{{ user: c, permissions {{ publish: z, subscribe: z }} }}], imports: [{{ service: {{ account: B, subject: \"ask.>\" }} }}], exports: [{{ service: \"ask.>\", accounts: [A] }}] }}
                 B {{ users: [{{ user: b, permissions {{ publish: z, subscribe: \"ask.>\" }} }}], exports: [{{ service: \"ask.>\", accounts: [A, C] }}] }} }}"
            );
            let tenants = "[[tenant]]\nname = 'one'\nusers = ['a1']\n[[tenant]]\nname = 'two'\nusers = ['a2']\naccounts = ['B']\n[[tenant]]\nname = 'three'\naccounts = ['C']\n";
            let said = "`A/a1` of `one` reaches `B/b` of `two`: `ask.one`, by way of `C`";
            findings_of_tenants(&text, tenants).iter().any(|f| f.rule == "shared-account" && f.message == said)
        };
        assert!(found("\"ask.one\"") && !found("z"));
    }

    /// Measured on nats-server 2.15.1: the answers name the other tenant's clients, their addresses and subscriptions.
    #[test]
    fn connections_of_other_tenants_are_told_to_nobody() {
        let found = |lists: &str, import: &str| {
            let text = format!(
                "system_account: SYS\naccounts {{ SYS {{ exports: [{{ stream: \"$SYS.ACCOUNT.*.>\", account_token_position: 3 }}, {{ service: \"$SYS.REQ.ACCOUNT.*.CONNZ\", account_token_position: 4 }}] }}
                 M {{ users: [{{ user: q, permissions {{ {lists} }} }}, {{ user: r, permissions {{ publish: \"r.>\", subscribe: {{ deny: \">\" }} }} }}] {import} }} }}"
            );
            let tenants = "[[tenant]]\nname = 'Q'\nusers = ['q']\n[[tenant]]\nname = 'R'\nusers = ['r']\n";
            let said = "`M/q` of `Q` learns of the connections of `M/r` of `R`, and from where: by";
            let found = findings_of_tenants(&text, tenants);
            found.iter().any(|f| f.rule == "shared-account" && f.message.starts_with(said))
        };
        assert!(found("publish: \"$SYS.REQ.ACCOUNT.PING.CONNZ\", subscribe: \"i.>\"", ""));
        assert!(!found("publish: \"$SYS.REQ.USER.INFO\", subscribe: \"i.>\"", ""), "about itself");
        let events = ", imports: [{ stream: { account: SYS, subject: \"$SYS.ACCOUNT.M.>\" }, prefix: ev }]";
        assert!(found("publish: x, subscribe: \"ev.>\"", events) && !found("publish: x, subscribe: \"i.>\"", events));
        let asked = ", imports: [{ service: { account: SYS, subject: \"$SYS.REQ.ACCOUNT.M.CONNZ\" }, to: cz }]";
        assert!(found("publish: cz, subscribe: \"i.>\"", asked) && !found("publish: x, subscribe: \"i.>\"", asked));
    }

    /// Measured on nats-server 2.15.1: nothing of the share comes to the guest, in whichever account it is.
    #[test]
    fn a_guest_who_takes_no_part_makes_no_share_one_between_tenants() {
        let found = |guest: (&str, &str), export: &str, import: &str, answers: &str| {
            let user = |name: &str, publish: &str, subscribe: &str, more: &str| {
                format!(
                    "{{ user: {name}, permissions {{ publish: {{ allow: \"{publish}\" }}, subscribe: {subscribe} {more} }} }}"
                )
            };
            let none = "{ deny: \">\" }";
            let of = |account: &str| match guest.0 == account {
                true => format!(", {}", user("g", "g.>", guest.1, "")),
                false => String::new(),
            };
            let text = format!(
                "accounts {{ A1 {{ users: [{}{}], exports: [{{ stream: \"a.>\" {export} }}] }}\nA2 {{ users: [{}{}], imports: [{{ stream: {{ account: A1, subject: \"a.>\" }} {import} }}] }} }}",
                user("q1", "a.>", none, ""),
                of("A1"),
                user("q2", "x", "{ allow: \"a.x\", deny: \"> >\" }", answers),
                of("A2"),
            );
            let tenants = "[[tenant]]\nname = 'Q'\nusers = ['q1', 'q2']\n[[tenant]]\nname = 'R'\nusers = ['g']\n";
            let errors = findings_of_tenants(&text, tenants).into_iter().filter(|f| f.severity == Severity::Error);
            let rules = ["public-export", "traced-share", "answered-import"];
            errors.filter(|f| rules.contains(&f.rule)).map(|f| f.rule).collect::<Vec<_>>()
        };
        let (apart, hears) = ("{ deny: \">\" }", "\"a.y\"");
        for (export, import, answers, rule) in [
            ("", "", "", "public-export"),
            (", accounts: [A2]", ", allow_trace: true", "", "traced-share"),
            (", accounts: [A2]", "", ", allow_responses: true", "answered-import"),
        ] {
            assert_eq!(found(("A2", apart), export, import, answers), [""; 0], "{rule}");
            assert_eq!(found(("A1", apart), export, import, answers), [""; 0], "{rule}");
            assert_eq!(found(("A2", hears), export, import, answers), [rule]);
        }
    }

    /// The owner of an account says by lists who in it takes part in what it shares with itself.
    #[test]
    fn what_one_tenant_shares_with_itself_is_its_own_word() {
        let tenants = format!("[[tenant]]\nname = 't1'\naccounts = ['HUB', 'A']\n{T2}");
        assert!(!stream("", &user("t2", "in.*"), &tenants) && !stream(&user("jobs.h", "t2"), "", &tenants));
        assert!(!service("", &user("q.h", "t2"), &tenants) && !service(&user("t2", "ask.h"), "", &tenants));
        // With a third tenant's account it is another matter.
        let third =
            format!("[[tenant]]\nname = 't1'\naccounts = ['HUB']\n[[tenant]]\nname = 't3'\naccounts = ['A']\n{T2}");
        assert!(stream(&user("jobs.h", "t2"), "", &third) && service(&user("t2", "ask.h"), "", &third));
        assert!(!stream(&user("t2", "jobs.x"), "", &third), "the control");
    }

    /// Measured on nats-server 2.15.1: an account with users of each tenant hears the tenants' own accounts, and one of
    /// them had a list for all.
    #[test]
    fn what_a_tenant_shares_with_its_own_users_elsewhere_is_theirs() {
        let own = format!("[[tenant]]\nname = 't1'\naccounts = ['HUB']\nusers = ['A/a']\n{T2}");
        assert!(stream("", &user("t2", "in.>"), &own), "a, of the same tenant as h, receives it too");
        assert!(!stream("", &user("t2", "in.x.>"), &own), "h does not send that");
        let other =
            format!("[[tenant]]\nname = 't1'\naccounts = ['HUB']\n[[tenant]]\nname = 't3'\nusers = ['A/a']\n{T2}");
        assert!(!stream("", &user("t2", "in.>"), &other), "none of its own users is there");
        let declared = "[[tenant]]\nname = 't1'\naccounts = ['HUB']\nusers = ['A/a']\n[[tenant]]\nname = 't2'\naccounts = ['A']\nusers = ['t2']\n";
        assert!(!stream("", &user("t2", "in.>"), declared), "the share is with t2");
        // Its own answer, on a reply subject of its choice, goes past its list.
        let answering = user("t2", "t2").replace("subscribe:", "allow_responses: true, subscribe:");
        let third = format!("[[tenant]]\nname = 't1'\nusers = ['HUB/h']\naccounts = ['A']\n{T2}");
        assert!(stream(&answering, "", &third) && !stream(&user("t2", "t2"), "", &third));
    }

    /// Measured on nats-server 2.15.1: a client of the other server, which has no lists, asks as the other tenant.
    #[test]
    fn who_is_behind_a_leaf_node_takes_part_in_its_accounts_shares() {
        let found = |remote: &str| {
            let text = format!(
                "accounts {{ HUB {{ users: [{{ user: h1, permissions {{ publish: x, subscribe: \"api.a.>\" }} }}, {{ user: h2, permissions {{ publish: x, subscribe: \"api.b.>\" }} }}], exports: [{{ service: \"api.>\", accounts: [B] }}] }}
                 B {{ users: [{{ user: b, permissions {{ publish: \"api.b.>\", subscribe: y }} }}], imports: [{{ service: {{ account: HUB, subject: \"api.>\" }} }}] }} }}\n{remote}"
            );
            let tenants =
                "[[tenant]]\nname = 'A'\nusers = ['h1']\n[[tenant]]\nname = 'B'\naccounts = ['B']\nusers = ['h2']\n";
            let is_it = |message: &str| message.contains("`B/(leaf node)`") && message.contains("`HUB/h1`");
            findings_of_tenants(&text, tenants).iter().any(|f| f.rule == "decided-elsewhere" && is_it(&f.message))
        };
        assert!(found("leafnodes { remotes: [{ url: \"nats://elsewhere:7422\", account: B }] }") && !found(""));
    }
}
