//! Tenants that share an account and reach each other in it.

use std::collections::{BTreeSet, HashSet};

use super::{Rule, decided_elsewhere, undecided};
use crate::audit::crossing::{crossings, may_capture, past_lists, requests_on};
use crate::audit::reach::{Carried, published};
use crate::audit::system::{Account, Import, System, User};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;
use crate::model::ShareKind;
use crate::subject::Subject;

pub const RULE: Rule = Rule {
    id: "shared-account",
    proves: "tenants that share an account cannot reach each other in it",
    why: "Inside one account only subject permissions separate users, and the server never checks a reply subject: a user who gets an answer from another user, from the server or from JetStream can have it published to any subject of the account",
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
        // Logins of leaf nodes are users of a tenant each. Who is on a server that this one dials is another matter.
        if let Some(remote) = system.server.remotes().find(|remote| remote.account == account.name) {
            out.push(decided_elsewhere::behind_leaf(account, remote.span));
        }
        // Streams of earlier users are on the server's disk and not in this file.
        if account.jetstream.is_some() && !may_capture(account) && crossings.is_empty() {
            out.push(decided_elsewhere::old_streams(account));
        }
    }
    for account in system.tenants() {
        within_one_tenant(system, tenants, account, out);
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

/// A user with its account and tenant, as in a sentence.
fn whose(tenants: &Tenants, account: &Account, user: &User) -> String {
    format!("`{}/{}` of `{}`", account.name, user.display_name(), tenants.of(account, user))
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

/// Warns of what another account shares with an account and several tenants in it use: the one who shared it may have
/// meant one of them.
fn shares_with_several(tenants: &Tenants, account: &Account, out: &mut Vec<Diagnostic>) {
    for import in account.imports.iter().filter(|i| tenants.are_apart(&i.from.0, &account.name)) {
        let (message, is_stream) = (Carried::new(account, &import.local), import.kind == ShareKind::Stream);
        let uses = |user: &&User| match is_stream {
            true => message.received_by(user).is_some(),
            false => !published(account, user, Some(&import.local)).is_empty(),
        };
        let of = account.users.iter().filter(uses).map(|user| tenants.of(account, user));
        let using: BTreeSet<&str> = of.filter(|tenant| *tenant != tenants.of_account(&import.from.0)).collect();
        let mut names = using.into_iter();
        if let (Some(one), Some(other)) = (names.next(), names.next()) {
            let more = if names.next().is_some() { " and others" } else { "" };
            let verb = if is_stream { "receive" } else { "ask" };
            let (what, from) = (&import.subject, &import.from.0);
            let message =
                format!("`{one}`, `{other}`{more} all {verb} `{what}`, which `{from}` shares with `{}`", account.name);
            let hint = "if it is meant for one of them, give the others permissions without it";
            out.push(RULE.warning(import.span, message).hint(hint));
        }
    }
}

/// Reports users who take part in what accounts of one other tenant share with each other.
fn within_one_tenant(system: &System, tenants: &Tenants, account: &Account, out: &mut Vec<Diagnostic>) {
    let owner = tenants.of_account(&account.name);
    for import in &account.imports {
        let exporter = system.account(&import.from.0).filter(|exporter| exporter.name != account.name);
        let Some(exporter) = exporter.filter(|exporter| tenants.of_account(&exporter.name) == owner) else { continue };
        let is_stream = import.kind == ShareKind::Stream;
        let (sender, receiver) = if is_stream { (exporter, account) } else { (account, exporter) };
        let is_other = |account: &Account, user: &User| tenants.of(account, user) != owner;
        let (sent, received) = match is_stream {
            true => (&import.subject, vec![Carried::new(account, &import.local)]),
            false => (&import.local, requests_on(exporter, import)),
        };
        let sends = |user: &&User| is_other(sender, user) && !published(sender, user, Some(sent)).is_empty();
        let receives =
            |user: &&User| is_other(receiver, user) && received.iter().any(|part| part.received_by(user).is_some());
        let sending = sender.users.iter().find(sends).map(|user| (sender, user, "sends"));
        let found = sending.or_else(|| receiver.users.iter().find(receives).map(|user| (receiver, user, "receives")));
        if let Some((of, user, does)) = found {
            let message = format!(
                "{} {does} `{}`, which `{}` shares with `{}`, both of `{owner}`",
                whose(tenants, of, user),
                import.subject,
                exporter.name,
                account.name
            );
            out.push(RULE.error(user.span, message).related(import.span, "shared here"));
        }
    }
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

#[cfg(test)]
mod tests {
    use crate::audit::testing::findings_of_tenants;

    /// Whether a finding says that `t2` takes part in what two accounts of another tenant share.
    fn takes_part(export: &str, import: &str, hub: &str, importer: &str) -> bool {
        let text = format!(
            "accounts {{ HUB {{ users: [{{ user: h, permissions {{ publish: h, subscribe: h }} }}{hub}], exports: [{{ {export}, accounts: [A] }}] }}
             A {{ users: [{{ user: a, permissions {{ publish: a, subscribe: a }} }}{importer}], imports: [{{ {import} }}] }} }}"
        );
        let tenants = "[[tenant]]\nname = 't1'\naccounts = ['HUB', 'A']\nusers = ['A/a']\n[[tenant]]\nname = 't2'\nusers = ['t2']\n";
        let tenants = if text.contains("user: t2") {
            tenants
        } else {
            tenants.split("[[tenant]]\nname = 't2'").next().unwrap_or("")
        };
        let is_found = |message: &str| message.contains("/t2` of `t2`") && message.contains("both of `t1`");
        findings_of_tenants(&text, tenants).iter().any(|f| f.rule == "shared-account" && is_found(&f.message))
    }

    #[test]
    fn what_one_tenant_shares_with_itself_is_no_share_with_another() {
        let user = |publish: &str, subscribe: &str| {
            format!(
                ", {{ user: t2, permissions {{ publish: {{ allow: [\"{publish}\"] }}, subscribe: {{ allow: [\"{subscribe}\"] }} }} }}"
            )
        };
        let stream = |hub: &str, importer: &str| {
            takes_part(
                "stream: \"jobs.>\"",
                "stream: { account: HUB, subject: \"jobs.>\" }, to: \"in.>\"",
                hub,
                importer,
            )
        };
        assert!(stream("", &user("t2", "in.b")), "it receives");
        assert!(stream(&user("jobs.x", "t2"), ""), "it sends");
        assert!(!stream("", &user("in.b", "t2")) && !stream(&user("t2", "jobs.x"), ""), "nothing crosses");
        let service = |hub: &str, importer: &str| {
            takes_part(
                "service: \"ask.*\"",
                "service: { account: HUB, subject: \"ask.*\" }, to: \"q.*\"",
                hub,
                importer,
            )
        };
        assert!(service("", &user("q.x", "t2")), "it asks");
        assert!(service(&user("t2", "ask.x"), ""), "it is asked");
        assert!(!service("", &user("t2", "q.x")) && !service("", ""), "nothing crosses");
    }
}
