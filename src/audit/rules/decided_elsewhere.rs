//! Accounts and permissions that are decided outside the configuration.

mod acknowledged;

use super::{Rule, leaf_bridge, open_cluster};
use crate::audit::reach::term::is_misread;
use crate::audit::system::{Account, Export, Import, Remote, System};
use crate::audit::tenants::Tenants;
use crate::diag::{Diagnostic, Span};
use crate::model::ShareKind;
use crate::subject::Subject;

pub const RULE: Rule = Rule {
    id: "decided-elsewhere",
    proves: "the file decides which tenants are isolated",
    why: "With an auth callout, or JWT accounts that are stored elsewhere, accounts and permissions are not in the file. If leaf nodes of several tenants dial other servers, or one does while other servers of its cluster may, those servers decide whether the tenants meet. (One remote alone is taken for the dialler's own: the server that it dials is to bind it to the same tenant.) If servers are known by the names in their certificates, and one authority signs clients and servers, the authority decides who is a server",
    mend: "audit the file where the accounts are, such as a resolver's folder, and the other servers' files; `tenantry verify --server URL` attacks a server that tenantry renders",
    check,
};

fn check(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    if let Some((why, span)) = system.operator.as_ref().and_then(|operator| operator.elsewhere.as_ref()) {
        out.push(RULE.warning(*span, format!("{why}: nothing is proved of them")));
    }
    if let Some(span) = system.shared_login.filter(|_| system.operator.is_none()) {
        let message = "who is behind the one login of everybody is not in this file";
        out.push(RULE.warning(span, message).hint("accounts with users of their own").confidential());
    }
    if let Some(callout) = &system.callout {
        out.push(RULE.warning(callout.span, "who connecting users are, and may do, is decided by an auth callout"));
    }
    for (listener, what) in open_cluster::listeners(system) {
        let Some(certificates) = &listener.certificates else { continue };
        let Some(authority) = open_cluster::authority_of_clients(system, certificates) else { continue };
        if open_cluster::names_decide(listener, certificates) {
            let message = format!(
                "whether a client has a certificate {authority} with a server's name, by which it joins by the {what} port, is not in this file"
            );
            out.push(RULE.warning(listener.span, message).hint("a `ca_file` for servers alone"));
        }
    }
    out.extend(acknowledged::by_answers(system, tenants));
    misread(system, tenants, out);
    out.extend(system.accounts.iter().filter_map(|account| behind_domain(system, tenants, account)));
    // Operators reach every account anyway.
    let is_operators = |account: &str| system.account(account).is_some_and(|account| system.is_system(account));
    let remotes = || {
        let flows = |remote: &&Remote| remote.sends || remote.receives;
        system.server.remotes().filter(move |remote| flows(remote) && !is_operators(&remote.account))
    };
    let apart = |account: &str, other: &str| tenants.are_apart(account, other);
    // With a name, the server closes connections of its own; one that comes back over two other servers it
    // does not know.
    let is_closed = |remote: &Remote| {
        let comes_out = |address: &String| !leaf_bridge::comes_out(system, remote, address).is_empty();
        system.server.is_named && remote.addresses.iter().all(comes_out)
    };
    let before = out.len();
    for remote in remotes().filter(|remote| !is_closed(remote)) {
        let others = system.tenants().filter(|other| apart(&remote.account, &other.name));
        if let Some(other) = others.into_iter().find(|other| leaf_bridge::lets_in(system, &other.name)) {
            let message =
                format!("whether what `{}` dials comes back as a leaf node of `{}`", remote.account, other.name);
            out.push(RULE.warning(remote.span, format!("{message} is not in this file")));
        }
    }
    let meeting = remotes().filter(|from| from.sends).find_map(|from| {
        let other = remotes().find(|to| to.receives && apart(&to.account, &from.account))?;
        Some((from, other))
    });
    if let Some((first, second)) = meeting {
        let message = format!("whether `{}` and `{}` meet beyond their leaf nodes", first.account, second.account);
        out.push(
            RULE.warning(second.span, format!("{message} is not in this file")).related(first.span, "the other one"),
        );
    }
    if out.len() == before && system.server.is_one_of_several() {
        out.extend(remotes().find_map(|remote| meets_by_other_servers(system, tenants, remote)));
    }
}

/// The finding that another server of the same system may have a leaf node of another tenant, by which the two meet. Measured on
/// nats-server 2.15.1: behind a gateway at once, in a cluster by way of a server in between.
fn meets_by_other_servers(system: &System, tenants: &Tenants, remote: &Remote) -> Option<Diagnostic> {
    let is_other = |other: &&Account| tenants.are_apart(&remote.account, &other.name) && other.takes_leaf_nodes();
    let other = system.tenants().find(is_other)?;
    let message = format!(
        "whether another server of this system has a leaf node of `{}`, and `{}` meets it there or beyond, is not in this file",
        other.name, remote.account
    );
    let hint = super::remedy(system, other, "`max_leafnodes: 0` in its limits", "--leaf-conns 0");
    Some(RULE.warning(remote.span, message).related(other.span, "may have leaf nodes").hint(hint))
}

/// The finding that leaf nodes of two accounts may be on different servers of a cluster, where one takes from the other's workers.
pub fn stolen_on_other_servers(system: &System, import: &Import, taking: &Account, victim: &Account) -> Diagnostic {
    let message = format!(
        "whether leaf nodes of `{}` take `{}` from workers on leaf nodes of `{}`, on another server of this system, is not in this file",
        taking.name, import.subject, victim.name
    );
    let hint = super::remedy(system, taking, "`max_leafnodes: 0` in the limits of one of the two", "--leaf-conns 0");
    RULE.warning(import.span, message).hint(hint)
}

/// The finding that an account without JetStream here has several tenants ask JetStream behind its leaf node, by the name of its
/// domain. Measured on nats-server 2.15.1: they take from, read, and purge what is each other's there.
fn behind_domain(system: &System, tenants: &Tenants, account: &Account) -> Option<Diagnostic> {
    let leaf = system.leaf_of(account).filter(|_| account.jetstream.is_none())?;
    let is_of_domain = |export: &&Export| {
        let mut tokens = export.subject.tokens();
        let is_api = |token: &str| ["API", "ACK", "FC", "EVENT"].contains(&token);
        export.kind == ShareKind::Service
            && tokens.next() == Some("$JS")
            && tokens.next().is_some_and(|token| !is_api(token))
    };
    let is_service = |export: &&Export| export.kind == ShareKind::Service;
    let is_other = |(by, _): &(&Account, &Import)| tenants.are_apart(&by.name, &account.name);
    let services = || account.exports.iter().filter(is_service);
    let mut asking =
        services().filter(is_of_domain).flat_map(|export| system.imports_of(account, export)).filter(is_other);
    let (first, import) = asking.next()?;
    // A stream there may hold what another tenant asks of any service.
    let sending = services().flat_map(|export| system.imports_of(account, export)).filter(is_other);
    let (second, _) = asking.chain(sending).find(|(by, _)| tenants.are_apart(&by.name, &first.name))?;
    let message = format!(
        "whether `{}` and `{}` have streams and consumers of their own in JetStream behind the leaf node of `{}` is not in this file",
        first.name, second.name, account.name
    );
    let hint = "export to each the requests of one stream and consumer of its own, and audit the file of the server that has them";
    Some(RULE.warning(import.span, message).related(leaf, "the leaf node").hint(hint))
}

/// Adds the imports of which the server mixes up the tokens, where several tenants are at one of their ends.
fn misread(system: &System, tenants: &Tenants, out: &mut Vec<Diagnostic>) {
    for account in &system.accounts {
        let is_mixed = |import: &&Import| {
            tenants.are_mixed(account) || system.account(&import.from.0).is_some_and(|other| tenants.are_mixed(other))
        };
        let of_several = account.imports.iter().filter(is_mixed);
        for import in of_several.filter(|import| is_misread(&import.subject, &import.to)) {
            let message = format!("{} cannot be foretold", misread_by_the_server(account, import));
            let hint = "an order of the tokens that undoes itself: as it is, or with two of them swapped";
            out.push(RULE.warning(import.span, message).hint(hint));
        }
    }
}

/// An import of which the server mixes up the tokens, as the beginning of a sentence on what is uncertain about it.
pub fn misread_by_the_server(account: &Account, import: &Import) -> String {
    format!(
        "who gets what `{}` imports from `{}` as `{}`, of which nats-server confuses the order of the tokens,",
        account.name, import.from.0, import.to
    )
}

/// The finding that the requests of an import become too many different ones to follow.
pub fn too_many(import: &Import) -> Diagnostic {
    let message =
        format!("where requests to `{}` end: imports and mappings make them longer in a circle", import.local);
    RULE.warning(import.span, message).hint("remove one of the imports, or the mapping")
}

/// The finding that nobody knows who holds a key that signs users into accounts of several tenants. `signs`: what it
/// does, as a sentence.
pub fn held_by(signs: &str, span: Span) -> Diagnostic {
    let message = format!("{signs}; who holds it is not in this file");
    RULE.warning(span, message).hint("give each account signing keys of its own")
}

/// The finding that another server, or nobody, says what a sentence leaves open.
pub fn not_said(message: String, span: Span) -> Diagnostic {
    RULE.warning(span, message).hint("if it is not meant, narrow the lists; if it is, give each tenant accounts of its own, so that a share says with whom")
}

/// The finding that nobody knows who is behind a leaf node of an account that several tenants share.
pub fn behind_leaf(account: &Account, span: Span) -> Diagnostic {
    let message = format!(
        "who is behind the leaf node of `{}`, hears every tenant in it and answers to any reply subject, is not in this file",
        account.name
    );
    RULE.warning(span, message).hint("give each tenant an account of its own")
}

/// A finding about what the account's streams capture or deliver, which is not in the file.
fn of_streams(span: Span, message: String) -> Diagnostic {
    RULE.warning(span, message).hint("give each tenant a stream of its own; or audit the streams on the server")
}

/// The finding that nobody knows whether a stream which one tenant reads holds what another one sends. `read`: who
/// reads it, as a sentence.
pub fn captured_of(sender: &str, read: &str, span: Span) -> Diagnostic {
    let message = format!("whether a stream captures what `{sender}` sends, which {read}, is not in this file");
    of_streams(span, message)
}

/// The finding that nobody knows whether a stream which one tenant changes holds what another one sends. `may`: what
/// it may do, as a sentence.
pub fn captured_by_changed(sender: &str, may: &str, span: Span) -> Diagnostic {
    let message = format!("{may}; whether that captures what `{sender}` sends is not in this file");
    of_streams(span, message)
}

/// The finding that nobody knows whether one stream captures what two tenants send.
pub fn captured_together(owner: &str, senders: [&str; 2], span: Span) -> Diagnostic {
    let [one, other] = senders;
    let message = format!(
        "whether a stream of `{owner}` captures what `{one}` and `{other}` send is not in this file: there the headers of a message \
         (`Nats-Msg-Id`, `Nats-Rollup`) suppress or replace those of others"
    );
    of_streams(span, message)
}

/// The finding that nobody knows whether the limits of streams leave room in an account for each of two tenants.
pub fn stored_together(owner: &str, senders: [&str; 2], span: Span) -> Diagnostic {
    let [one, other] = senders;
    let message = format!(
        "whether the streams and buckets of `{owner}` have limits that leave room for what `{one}` and `{other}` each send is not in \
         this file: one of them may fill its storage"
    );
    RULE.warning(span, message).hint("set `max_bytes` on each; or audit the streams on the server")
}

/// The finding that nobody knows what else is in a bucket of which a tenant may write a part.
pub fn replaced_of_owner(owner: &str, bucket: &str, sender: &str, subject: &Subject, span: Span) -> Diagnostic {
    let message = format!(
        "whether bucket `{bucket}` of `{owner}` holds anything but `{subject}` is not in this file: one message of `{sender}` there can \
         replace all that it holds (`Nats-Rollup: all`)"
    );
    RULE.warning(span, message).hint("give each tenant a bucket of its own, and export all of it")
}

/// The finding that nobody knows which consumers of a stream are its owner's, where a tenant may take from any.
pub fn consumers_of_owner(owner: &str, may: &str, span: Span) -> Diagnostic {
    let message = format!("{may}; whether `{owner}` has consumers of its own there is not in this file");
    RULE.warning(span, message).hint("name the consumer in the export")
}

/// The finding that nobody knows whether a consumer that one tenant changes delivers what another one imports.
pub fn delivered_by_changed(importer: &str, may: &str, span: Span) -> Diagnostic {
    let message = format!("{may}; whether that delivers what `{importer}` imports is not in this file");
    of_streams(span, message)
}

/// The finding that nobody knows whether streams deliver to one tenant what another one sends. `is_asked`: as requests to
/// its service.
pub fn delivered(owner: &str, sender: &str, receiver: &str, is_asked: bool, span: Span) -> Diagnostic {
    let does = if is_asked {
        "delivers, republishes or acknowledges to a service of"
    } else {
        "delivers, republishes or shows to"
    };
    let message =
        format!("whether a stream of `{owner}` {does} `{receiver}` what `{sender}` sends is not in this file");
    of_streams(span, message)
}

/// The finding that nobody knows whether messages that a tenant acknowledges are gone for one that reads them.
pub fn removed_for_reader(reader: &str, may: &str, span: Span) -> Diagnostic {
    let message = format!("{may}; whether that removes what `{reader}` reads there is not in this file");
    of_streams(span, message)
}

/// The finding that streams of an account which nobody may make any more may still be there, and ask by one of its imports
/// in its name. `asks`: what follows, as the end of the sentence "whether `a`".
pub fn asked_by_streams(by: &Account, asks: &str, import: &Import) -> Diagnostic {
    let message = format!(
        "whether `{}` {asks}, by streams from earlier, whose acknowledgements go to any reply subject, is not in this file",
        by.name
    );
    RULE.warning(import.span, message)
        .hint("import the subjects that are asked, and no more; or remove `jetstream` from the account")
}

/// The finding that streams of another account, which nobody may make any more, may answer the requests of an account that
/// several tenants share.
pub fn answered_by_streams(account: &Account, owner: &Account, import: &Import) -> Diagnostic {
    let message = format!(
        "whether a stream of `{}` acknowledges what users of `{}` ask on `{}`, to any reply subject, is not in this file",
        owner.name, account.name, import.local
    );
    RULE.warning(import.span, message)
        .hint("give each tenant an account of its own; or remove `jetstream` from the account that answers")
}

/// The finding that streams which nobody may make any more may still be there.
pub fn old_streams(account: &Account) -> Diagnostic {
    let message = format!(
        "whether `{}` has streams from earlier, whose acknowledgements go to any reply subject, is not in this file",
        account.name
    );
    let span = account.jetstream.as_ref().map_or(account.span, |jetstream| jetstream.span);
    RULE.warning(span, message).hint("remove `jetstream` from an account that several tenants share")
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::findings;

    /// Measured on nats-server 2.15.1: a consumer of B delivers to the service, and the answer of A acknowledges a message of
    /// A's own consumer of that name. With the flag it does not. What is delivered passes through A's mappings.
    #[test]
    fn answers_acknowledge_what_is_of_their_own_account() {
        let found = |more: &str, of_a: &str, of_b: &str| {
            let text = format!(
                "jetstream {{}}\n{more}\naccounts {{\n\
                 A {{ {of_a}], exports: [{{ service: svc, accounts: [B] }}] }}\n\
                 B {{ {of_b}], imports: [{{ service: {{ account: A, subject: svc }} }}] }} }}"
            );
            findings(&text).iter().any(|f| f.rule == "decided-elsewhere" && f.message.contains("`A/a` acknowledges"))
        };
        let user =
            |name: &str, permissions: &str| format!("jetstream: enabled, users: [{{ user: {name} {permissions} }}");
        let (a, b) = (user("a", ""), user("b", ""));
        assert!(found("", &a, &b));
        assert!(!found("feature_flags { js_ack_fc_v2: true }", &a, &b));
        assert!(found("feature_flags { js_ack_fc_v2: false }", &a, &b));
        assert!(!found("", "users: [{ user: a }", &b) && !found("", &a, "users: [{ user: b }"));
        let answers = |publish: &str| user("a", &format!(", permissions {{ publish: \"{publish}\", subscribe: svc }}"));
        assert!(found("", &answers("$JS.ACK.ORD.w.>"), &b) && !found("", &answers("_INBOX.>"), &b));
        let mapped = answers("$JS.ACK.ORD.w.>").replace("subscribe: svc", "subscribe: work");
        assert!(found("", &format!("mappings {{ svc: work }}, {mapped}"), &b) && !found("", &mapped, &b));
        let asks = |publish: &str| user("b", &format!(", permissions {{ publish: \"{publish}\", subscribe: x }}"));
        assert!(found("", &a, &asks("$JS.API.CONSUMER.MSG.NEXT.ORD.w")) && !found("", &a, &asks("svc")));
        // Measured on nats-server 2.15.1: what others pass on keeps its reply subject as well.
        let chain = |flag: &str, to: &str| {
            let text = format!(
                "jetstream {{}}\n{flag}\naccounts {{\n\
                 A {{ {a}], exports: [{{ service: svc, accounts: [M, B] }}] }}\n\
                 M {{ users: [{{ user: m, permissions {{ publish: x, subscribe: x }} }}], exports: [{{ service: {to}, accounts: [B] }}], imports: [{{ service: {{ account: A, subject: svc }}, to: \"m.svc\" }}] }}\n\
                 B {{ {b}], imports: [{{ service: {{ account: M, subject: {to} }} }}] }} }}"
            );
            findings(&text)
                .iter()
                .any(|f| f.rule == "decided-elsewhere" && f.message.contains("consumers of `B` deliver"))
        };
        assert!(chain("", "m.svc") && !chain("", "m.other"));
        assert!(!chain("feature_flags { js_ack_fc_v2: true }", "m.svc"));
    }

    /// Measured on nats-server 2.15.1 with JetStream of `A` on the other server only, in the domain `edge`: the two took from one
    /// consumer, and one read and purged what the other had stored.
    #[test]
    fn jetstream_behind_a_leaf_node_is_not_in_the_file() {
        let found = |leaf: &str, of_c: &str| {
            let next = "$JS.edge.API.CONSUMER.MSG.NEXT.S.W";
            let text = format!(
                "{leaf}\naccounts {{ A {{ users: [{{ user: a }}], exports: [{{ service: \"{next}\", accounts: [B] }}, {{ service: \"{of_c}\", accounts: [C] }}] }}
                 B {{ users: [{{ user: b }}], imports: [{{ service: {{ account: A, subject: \"{next}\" }} }}] }}
                 C {{ users: [{{ user: c }}], imports: [{{ service: {{ account: A, subject: \"{of_c}\" }} }}] }} }}"
            );
            findings(&text).iter().any(|f| f.message.contains("in JetStream behind the leaf node of `A`"))
        };
        let leaf = "leafnodes { port: 7422, authorization { users: [{ user: l, password: p, account: A }] } }";
        assert!(found(leaf, "$JS.edge.API.CONSUMER.MSG.NEXT.T.W") && found(leaf, "in.c"));
        assert!(!found("", "in.c"), "nobody is behind it");
    }

    /// Measured on nats-server 2.15.1: a remote of B here and a leaf node listener of A behind a gateway joined the two, and so did a
    /// remote of each at one hub. With `max_leafnodes: 0` the server neither dials nor accepts.
    #[test]
    fn a_leaf_node_may_meet_one_of_another_server_of_its_system() {
        let found = |server: &str, limits: &str| {
            let text = format!(
                "server_name: s\n{server}\naccounts {{ A {{ users: [{{ user: a }}], {} }}, B {{ users: [{{ user: b }}], {} }} }}
                 leafnodes {{ remotes: [{{ url: \"nats://l:p@10.0.0.1:7422\", account: B }}] }}",
                if limits == "A" { "limits { max_leafnodes: 0 }" } else { "" },
                if limits == "B" { "limits { max_leafnodes: 0 }" } else { "" },
            );
            findings(&text).iter().any(|f| f.rule == "decided-elsewhere" && f.message.contains("another server"))
        };
        for server in ["gateway { name: g, port: 7222 }", "cluster { name: c, port: 6222 }"] {
            assert!(found(server, ""));
            assert!(!found(server, "A") && !found(server, "B"), "one of the two has no leaf nodes");
        }
        assert!(!found("", ""), "one server");
    }

    /// As every edge server of a JetStream domain has them.
    #[test]
    fn a_leaf_node_of_the_system_account_beside_a_tenants_meets_nobody() {
        let found = |other: &str| {
            let text = format!(
                "server_name: edge\nsystem_account: SYS\naccounts {{ SYS {{ users: [{{ user: s }}] }}, A {{ users: [{{ user: a }}] }}, B {{ users: [{{ user: b }}] }} }}
                 leafnodes {{ remotes: [{{ url: \"nats://a:p@10.0.0.1:7422\", account: A }}, {{ url: \"nats://o:p@10.0.0.1:7422\", account: {other} }}] }}"
            );
            findings(&text).iter().any(|f| f.rule == "decided-elsewhere")
        };
        assert!(found("B") && !found("SYS"));
    }
}
