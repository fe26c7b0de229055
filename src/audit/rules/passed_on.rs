//! Services that an importer exports on to further accounts.

use std::collections::{HashMap, HashSet};

use super::{Rule, decided_elsewhere, whose};
use crate::audit::crossing::{
    Asked, asked_by, asked_by_streams, asked_by_users, asked_of_each, heard, may_capture, passed, users_decide,
};
use crate::audit::reach::{self, Carried, ForwardedRequest};
use crate::audit::system::{Account, Import, System};
use crate::audit::tenants::Tenants;
use crate::diag::{Diagnostic, Span};
use crate::model::ShareKind;
use crate::subject::Subject;

pub const RULE: Rule = Rule {
    id: "passed-on",
    proves: "shared subjects reach the accounts they were shared with and no others",
    why: "An importer can export a service that it imports to accounts that the owner never named (messages of a stream go no further, unless a leaf node of the importer leads to a server with the same accounts). In a cluster, and behind gateways, a request that came from another server is an ordinary message, which importers of a stream over its subject hear; and so does a leaf node of such an importer, on one server too. (What an account's own users do with what they got is theirs: a reply subject inside a stream that it exports brings an answer to the leaf nodes of that importer)",
    mend: "name the last importer in the owner's export too, or remove the second export",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    let leaves = leaves(system);
    if system.server.is_one_of_several() || !leaves.is_empty() {
        let asked = asked_of_each(system);
        heard_as_messages(system, tenants, &asked, out);
        out.extend(led_on(system, tenants, &leaves, &asked).iter().map(OverLeaf::told));
    }
    for account in &system.accounts {
        let mut told = HashSet::new();
        let (requests, incomplete) = reach::passed_on(system, account);
        out.extend(incomplete.into_iter().map(decided_elsewhere::too_many));
        for request in requests {
            let ForwardedRequest { first, owner, last: (by, import) } = request;
            let offered = owner.exports.iter().any(|e| {
                e.kind == import.kind
                    && e.subject.contains(&import.subject)
                    && e.authorizes(&account.name, &import.subject)
            });
            if offered || told.contains(&(&owner.name, import.subject.as_str())) {
                continue;
            }
            let Some((third, is_sure)) = third(system, tenants, account, &request) else { continue };
            told.insert((&owner.name, import.subject.as_str()));
            let way = format!("`{}` of `{}` by way of `{}`", import.subject, owner.name, by.name);
            if !is_sure {
                out.push(decided_elsewhere::asked_by_streams(account, &format!("asks {way}"), first));
                continue;
            }
            out.push(
                RULE.error(first.span, format!("requests of {third} go on to {way}"))
                    .related(import.span, "from here")
                    .related(account.span, "never named by the owner"),
            );
        }
    }
}

/// Reports requests that a third tenant hears by a stream import: on another server, because over a route or a gateway a
/// request is an ordinary message of the account that has the service; or over a leaf node of its own, to which the server
/// sends what no client of the account hears (measured on nats-server 2.15.1).
fn heard_as_messages(
    system: &System,
    tenants: &Tenants,
    of_each: &HashMap<&str, Vec<Asked<'_>>>,
    out: &mut Vec<Diagnostic>,
) {
    let is_one_of_several = system.server.is_one_of_several();
    for owner in &system.accounts {
        let asked = of_each.get(owner.name.as_str()).map(Vec::as_slice).unwrap_or_default();
        let streams = owner.exports.iter().filter(|export| export.kind == ShareKind::Stream);
        let imports = streams.flat_map(|export| system.imports_of(owner, export));
        let hears_by_leaf = |(by, import): &(&Account, &Import)| system.leaf_that_hears(by, &import.local).is_some();
        let imports: Vec<_> = imports.filter(|import| is_one_of_several || hears_by_leaf(import)).collect();
        for one in asked.iter().filter(|one| one.is_sure && !imports.is_empty()) {
            let heard = heard(owner, &one.own);
            let hears = |(by, import): &&(&Account, &Import)| {
                tenants.are_apart(&by.name, &one.by.name)
                    && tenants.are_apart(&by.name, &owner.name)
                    && heard.iter().any(|request| request.within(&import.subject).is_some())
            };
            if let Some((by, import)) = imports.iter().find(hears) {
                let (who, asks, subject, owner) = (&by.name, &one.by.name, &one.subject, &owner.name);
                let message = match is_one_of_several {
                    true => format!(
                        "`{who}` hears on other servers what `{asks}` asks on `{subject}`: a request to `{owner}` that comes by a route or a gateway is a message of its stream"
                    ),
                    false => format!(
                        "`{who}` hears by its leaf node what `{asks}` asks on `{subject}`: a request to `{owner}` goes there as a message of its stream"
                    ),
                };
                let hint = "export as a stream only subjects that are no service's, nor what mappings make of one";
                out.push(RULE.error(import.span, message).related(one.import.span, "asked here").hint(hint));
            }
        }
    }
}

/// A way from one tenant over the account of another, and its leaf node, to a third.
pub struct OverLeaf<'s> {
    /// The account from which it comes.
    pub from: &'s str,
    /// The account to which it goes.
    pub to: &'s str,
    /// The account that has the leaf node.
    via: &'s Account,
    leaf: Span,
    /// The subject in `via`, where it comes in, and where it goes on.
    subject: Subject,
    comes: Span,
    goes: Span,
}

impl OverLeaf<'_> {
    fn told(&self) -> Diagnostic {
        let Self { from, to, via, subject, .. } = self;
        let message = format!(
            "whether `{to}` gets what `{from}` sends to `{}` on `{subject}` is not in this file: at the other end of a leaf node of `{}` \
             it is an ordinary message, which the same shares take on if that server has them",
            via.name, via.name
        );
        let finding = decided_elsewhere::RULE.warning(self.leaf, message)
            .hint("share on other subjects than those that come from others, or have no leaf node lead to a server with these accounts");
        finding.related(self.comes, "comes in here").related(self.goes, "and would go on here")
    }
}

/// The accounts with shares that have a leaf node, each with where it comes in or goes out.
fn leaves(system: &System) -> Vec<(&Account, Span)> {
    let shares = |account: &&Account| !account.exports.is_empty() || !account.imports.is_empty();
    system.accounts.iter().filter(shares).filter_map(|account| Some((account, system.leaf_of(account)?))).collect()
}

/// Finds what shares bring to an account and would take on elsewhere: on one server a message takes one share, and what goes over
/// a leaf node is an ordinary message there.
pub fn over_leaf_nodes<'s>(system: &'s System, tenants: &Tenants) -> Vec<OverLeaf<'s>> {
    let leaves = leaves(system);
    if leaves.is_empty() { Vec::new() } else { led_on(system, tenants, &leaves, &asked_of_each(system)) }
}

fn led_on<'s>(
    system: &'s System,
    tenants: &Tenants,
    leaves: &[(&'s Account, Span)],
    of_each: &HashMap<&str, Vec<Asked<'s>>>,
) -> Vec<OverLeaf<'s>> {
    let mut found = Vec::new();
    for (via, leaf) in leaves.iter().copied() {
        let asked = of_each.get(via.name.as_str()).map(Vec::as_slice).unwrap_or_default();
        let requests = asked.iter().flat_map(|one| {
            let heard = heard(via, &one.own).into_iter();
            heard.map(|request| (one.by.name.as_str(), request, one.import.span))
        });
        let streams = via.imports.iter().filter(|import| import.kind == ShareKind::Stream);
        let streams = streams.map(|import| (import.from.0.as_str(), Carried::new(via, &import.local), import.span));
        // At the other end mappings apply to what comes.
        let coming = streams.chain(requests).flat_map(|(from, carried, span)| {
            let mapped = heard(via, std::slice::from_ref(&carried));
            mapped.into_iter().chain([carried]).map(move |carried| (from, carried, span))
        });
        let coming: Vec<_> = coming.collect();
        let exports = via.exports.iter().filter(|export| export.kind == ShareKind::Stream);
        let heard = exports.flat_map(|export| system.imports_of(via, export));
        let heard = heard.map(|(by, import)| (by.name.as_str(), &import.subject, import.span));
        let asks = via.services().map(|import| (import.from.0.as_str(), &import.local, import.span));
        for (to, subject, goes) in heard.chain(asks) {
            let is_third = |from: &str| {
                tenants.are_apart(from, to) && tenants.are_apart(from, &via.name) && tenants.are_apart(to, &via.name)
            };
            let mut coming = coming.iter().filter(|(from, ..)| is_third(from));
            let first = coming.find_map(|(from, carried, comes)| {
                let carried = carried.within(subject)?;
                // A mapping at the other end may send it out under another name, which is not followed back.
                let goes_out = !via.mappings.is_empty() || system.leaf_that_hears(via, &carried.subject()).is_some();
                goes_out.then_some((*from, carried, *comes))
            });
            if let Some((from, carried, comes)) = first {
                found.push(OverLeaf { from, to, via, leaf, subject: carried.subject(), comes, goes });
            }
        }
    }
    found
}

/// Whose requests come to the owner, if they are of another tenant than the owner and who passes them on, and whether that is
/// sure. Requests that a tenant passes on from one of its accounts to another stay with it.
fn third(
    system: &System,
    tenants: &Tenants,
    account: &Account,
    request: &ForwardedRequest<'_>,
) -> Option<(String, bool)> {
    let ForwardedRequest { first, owner, last: (by, _) } = request;
    let exporter = system.account(&first.from.0)?;
    let comes = |asked: &[Carried<'_>]| !passed(system, asked, request).is_empty();
    let others = [owner, by];
    if tenants.are_mixed(account) && users_decide(system, account) {
        let captures = may_capture(account);
        let others = others.map(|other| tenants.of_account(&other.name));
        let mut thirds = account.users.iter().filter(|user| !others.contains(&tenants.of(account, user)));
        let user = thirds.find(|user| comes(&asked_by(system, (account, user, captures), first, exporter)))?;
        return Some((whose(tenants, account, user), true));
    }
    if others.iter().any(|other| !tenants.are_apart(&account.name, &other.name)) {
        return None;
    }
    let asked = asked_by_users(system, account, first, exporter);
    let earlier = asked_by_streams(account, first, exporter, &asked);
    let is_sure = comes(&asked);
    (is_sure || comes(earlier.as_slice())).then(|| (format!("`{}`", account.name), is_sure))
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::findings_of_tenants;

    /// Measured on two servers of nats-server 2.15.1, by a route and by a gateway; on one server nothing arrives.
    #[test]
    fn in_a_cluster_a_request_is_a_message_of_its_owners_streams() {
        let found = |cluster: &str, stream: &str| {
            let text = format!(
                "server_name: s\n{cluster}\naccounts {{ ORDERS {{ users: [{{ user: o }}], exports: [{{ service: orders.create, accounts: [SHOP] }}, {{ stream: \"{stream}\", accounts: [ANALYTICS] }}] }}
                 SHOP {{ users: [{{ user: s }}], imports: [{{ service: {{ account: ORDERS, subject: orders.create }} }}] }}
                 ANALYTICS {{ users: [{{ user: a }}], imports: [{{ stream: {{ account: ORDERS, subject: \"{stream}\" }} }}] }} }}"
            );
            let told = findings_of_tenants(&text, "[[tenant]]\nname = 'SHOP'\naccounts = ['SHOP']\n").into_iter();
            told.filter(|f| f.rule == "passed-on" && f.message.contains("on other servers")).count()
        };
        let cluster = "cluster { name: c, port: 6222 }";
        assert_eq!(found(cluster, "orders.>"), 1);
        assert_eq!(found("gateway { name: c, port: 7222 }", "orders.>"), 1);
        assert_eq!(found("", "orders.>"), 0);
        assert_eq!(found(cluster, "events.>"), 0);
    }

    /// Measured on nats-server 2.15.1, with the leaf node at either end; clients of the importer hear nothing.
    #[test]
    fn a_leaf_node_of_an_importer_hears_requests() {
        let found = |leaf: &str, stream: &str, limits: &str| {
            let text = format!(
                "server_name: s\n{leaf}\naccounts {{ ORDERS {{ users: [{{ user: o }}], exports: [{{ service: orders.create, accounts: [SHOP] }}, {{ stream: \"{stream}\", accounts: [AUDIT] }}], limits {{ max_leafnodes: 0 }} }}
                 SHOP {{ users: [{{ user: s }}], imports: [{{ service: {{ account: ORDERS, subject: orders.create }} }}], limits {{ max_leafnodes: 0 }} }}
                 AUDIT {{ users: [{{ user: a }}], imports: [{{ stream: {{ account: ORDERS, subject: \"{stream}\" }} }}], {limits} }} }}"
            );
            let told = findings_of_tenants(&text, "[[tenant]]\nname = 'SHOP'\naccounts = ['SHOP']\n").into_iter();
            told.filter(|f| f.rule == "passed-on" && f.message.contains("by its leaf node")).count()
        };
        let login = "leafnodes { port: 7422, authorization { users: [{ user: l, password: p, account: AUDIT }] } }";
        let remote = "leafnodes { remotes: [{ url: \"nats://l:p@10.0.0.1:7422\", account: AUDIT }] }";
        for leaf in [login, remote, "leafnodes { port: 7422 }"] {
            assert_eq!(found(leaf, "orders.>", ""), 1, "{leaf}");
            assert_eq!(found(leaf, "events.>", ""), 0, "{leaf}");
            assert_eq!(found(leaf, "orders.>", "limits { max_leafnodes: 0 }"), 0, "{leaf}");
        }
        assert_eq!(found("", "orders.>", ""), 0, "no leaf nodes");
        let kept = remote.replace("account: AUDIT", "account: AUDIT, deny_exports: [\"orders.>\"]");
        assert_eq!(found(&kept, "orders.>", ""), 0, "the leaf node does not get it");
    }

    /// Measured on two servers of nats-server 2.15.1 with the same accounts, of which each dials a third one for `VIA`.
    #[test]
    fn what_goes_on_over_a_leaf_node_is_not_in_the_file() {
        let found = |leaf: &str, comes: &str, goes: &str| {
            let text = format!(
                "server_name: s\n{leaf}\naccounts {{ FIRST {{ users: [{{ user: f }}], exports: [{{ stream: \"s.*\", accounts: [VIA] }}, {{ service: q.x, accounts: [VIA] }}] }}
                 VIA {{ users: [{{ user: v }}], mappings {{ \"in.*\": \"mapped.$1\" }}, exports: [{{ service: s.x, accounts: [FIRST] }}, {{ stream: \"{goes}\", accounts: [LAST] }}], imports: [{{ stream: {{ account: FIRST, subject: \"s.*\" }}, to: \"{comes}.$1\" }}] }}
                 LAST {{ users: [{{ user: l }}], imports: [{{ stream: {{ account: VIA, subject: \"{goes}\" }} }}] }} }}"
            );
            let told = findings_of_tenants(&text, "[[tenant]]\nname = 'VIA'\naccounts = ['VIA']\n").into_iter();
            let told = told.filter(|f| f.rule == "decided-elsewhere" && f.message.contains("leaf node of `VIA`"));
            told.map(|f| f.message).collect::<Vec<_>>()
        };
        let remote = "leafnodes { remotes: [{ url: \"nats://u:p@10.0.0.1:7422\", account: VIA }] }";
        let login = "leafnodes { port: 7422, authorization { users: [{ user: u, password: p, account: VIA }] } }";
        for leaf in [remote, login, "leafnodes { port: 7422 }"] {
            assert_eq!(found(leaf, "in", "in.*").len(), 1, "{leaf}");
            assert_eq!(found(leaf, "in", "other.>").len(), 0, "{leaf}");
        }
        assert_eq!(found("", "in", "in.*"), [""; 0], "on one server a message takes one share");
        assert_eq!(found(remote, "in", "mapped.>").len(), 1, "mappings apply at the other end");
        let other = "leafnodes { remotes: [{ url: \"nats://u:p@10.0.0.1:7422\", account: LAST }] }";
        assert_eq!(found(other, "in", "in.*"), [""; 0], "the leaf node of another account takes nothing in");
    }

    #[test]
    fn a_request_goes_over_a_leaf_node_as_a_message() {
        let found = |stream: &str| {
            let text = format!(
                "server_name: s\nleafnodes {{ remotes: [{{ url: \"nats://u:p@10.0.0.1:7422\", account: A }}] }}
                 accounts {{ A {{ users: [{{ user: a }}], exports: [{{ service: s.x, accounts: [B] }}, {{ stream: \"{stream}\", accounts: [C] }}] }}
                 B {{ users: [{{ user: b }}], imports: [{{ service: {{ account: A, subject: s.x }} }}] }}
                 C {{ users: [{{ user: c }}], imports: [{{ stream: {{ account: A, subject: \"{stream}\" }} }}] }} }}"
            );
            let told = findings_of_tenants(&text, "[[tenant]]\nname = 'B'\naccounts = ['B']\n").into_iter();
            told.filter(|f| f.rule == "decided-elsewhere" && f.message.contains("`C` gets what `B` sends to `A`"))
                .count()
        };
        assert_eq!((found("s.*"), found("t.*")), (1, 0));
    }

    /// Measured on nats-server 2.15.1: an answer is passed on as well.
    #[test]
    fn only_who_may_ask_is_passed_on() {
        let found = |users: &str, tenants: &str| {
            let text = format!(
                "accounts {{ OWN {{ users: [{{ user: o }}], exports: [{{ service: \"api.get\", accounts: [GW] }}] }}
                 GW {{ users: [{{ user: gw }}], exports: [{{ service: \"gw.get\", accounts: [A] }}], imports: [{{ service: {{ account: OWN, subject: \"api.get\" }}, to: \"gw.get\" }}] }}
                 S {{ users: [{{ user: s }}], exports: [{{ service: svc, accounts: [A] }}] }}
                 A {{ users: [{users}], imports: [{{ service: {{ account: GW, subject: \"gw.get\" }} }}, {{ service: {{ account: S, subject: svc }} }}] }} }}"
            );
            let found = findings_of_tenants(&text, &format!("[[tenant]]\nname = 'OWN'\naccounts = ['OWN']\n{tenants}"));
            let passed = found.into_iter().filter(|f| f.rule == "passed-on");
            passed.map(|f| f.message).collect::<Vec<_>>()
        };
        let user = |name: &str, publish: &str| {
            format!("{{ user: {name}, permissions {{ publish: \"{publish}\", subscribe: \"i.{name}.>\" }} }}")
        };
        assert_eq!(found(&user("a", "gw.get"), ""), ["requests of `A` go on to `api.get` of `OWN` by way of `GW`"]);
        assert_eq!(found(&user("a", "other.>"), ""), [""; 0]);
        assert_eq!(found(&user("a", "svc"), "").len(), 1, "by an answer of S, with the reply subject `gw.get`");
        let both = |asks: &str, other: &str| format!("{}, {}", user(asks, "gw.get"), user(other, "x.>"));
        let gateways =
            "[[tenant]]\nname = 'GW'\naccounts = ['GW']\nusers = ['A/g']\n[[tenant]]\nname = 'A'\nusers = ['A/a']\n";
        assert_eq!(found(&both("g", "a"), gateways), [""; 0], "the gateway's own user asks");
        assert_eq!(
            found(&both("a", "g"), gateways),
            ["requests of `A/a` of `A` go on to `api.get` of `OWN` by way of `GW`"]
        );
    }
}
