//! Tenants whose requests may have the answers of another tenant acknowledge messages, of its own or of what it takes from
//! others. A request whose reply subject begins with `$JS.ACK.` keeps it in the account that answers, where any other one is replaced
//! (nats-server 2.15.1). The server refuses it from clients, and takes it from consumers and from leaf nodes.

use super::RULE;
use crate::audit::crossing::{asks, delivers_anywhere, heard, passed, requests_on};
use crate::audit::reach::{self, Carried};
use crate::audit::system::{Account, Import, System, User};
use crate::audit::tenants::Tenants;
use crate::diag::{Diagnostic, Span};
use crate::subject::Subject;

/// How a tenant has a request sent that asks for an acknowledgement.
enum Sender<'s> {
    /// By consumers of its own.
    Consumers,
    /// By what it takes from consumers of other accounts.
    Pulls(Vec<&'s str>),
    /// By a leaf node.
    LeafNode(Span),
}

/// The party that answers a request.
enum Answerer<'s> {
    User(&'s User),
    /// JetStream itself, to requests that it answers without a payload.
    Server,
    /// A stream that captures the request: it answers each message of an atomic batch without a payload (`allow_atomic`).
    Stream,
}

/// Requests that JetStream may answer with an empty message, which acknowledges.
const EMPTY_ANSWERS: [&str; 3] = ["$JS.API.CONSUMER.MSG.NEXT.>", "$JS.API.DIRECT.GET.>", "$JS.ACK.>"];

/// The findings on tenants who may have others acknowledge, the first for each.
pub fn by_answers(system: &System, tenants: &Tenants) -> Vec<Diagnostic> {
    if system.server.jetstream.is_none() {
        return Vec::new();
    }
    let senders = system.tenants().filter_map(|account| Some((account, sender(system, account)?)));
    senders.filter_map(|(account, sender)| of_sender(system, tenants, account, &sender)).collect()
}

fn of_sender(system: &System, tenants: &Tenants, account: &Account, sender: &Sender<'_>) -> Option<Diagnostic> {
    let direct = account.services().filter_map(|import| {
        let exporter = system.account(&import.from.0)?;
        Some((import, exporter, requests_on(exporter, import)))
    });
    let passed_on = reach::passed_on(system, account).0.into_iter().filter_map(|request| {
        let first = system.account(&request.first.from.0)?;
        let all = passed(system, &[Carried::new(first, &request.first.subject)], &request);
        Some((request.first, request.owner, heard(request.owner, &all)))
    });
    // A message that a tenant takes from the owner is its own to acknowledge.
    let is_others = |owner: &Account| match sender {
        Sender::Pulls(from) => from.iter().any(|from| *from != owner.name),
        Sender::Consumers | Sender::LeafNode(_) => true,
    };
    let mut asked = direct
        .chain(passed_on)
        .filter(|(_, owner, _)| tenants.are_apart(&owner.name, &account.name) && is_others(owner));
    let (import, owner, target, answerer) = asked.find_map(|(import, owner, requests)| {
        Some((import, owner, target(system, owner)?, answerer(owner, &requests)?))
    })?;
    let who = match answerer {
        Answerer::User(user) => format!("`{}/{}`", owner.name, user.display_name()),
        Answerer::Server => format!("JetStream of `{}`", owner.name),
        Answerer::Stream => format!("a stream of `{}`, which takes atomic batches,", owner.name),
    };
    let source = match sender {
        Sender::Consumers => format!("consumers of `{}` deliver", account.name),
        Sender::Pulls(_) => format!("`{}` has consumers of others deliver", account.name),
        Sender::LeafNode(_) => format!("a leaf node of `{}` sends", account.name),
    };
    let message = format!(
        "whether `{}` {target} whose messages {who} acknowledges by answering what {source} to `{}` is not in this file",
        owner.name, import.local
    );
    let mut finding = RULE.warning(import.span, message);
    finding = match sender {
        Sender::LeafNode(span) => finding.related(*span, "its leaf node").hint(
            format!(
                "`max_leafnodes: 0` in the limits of `{}`; or an account without JetStream for the service, whose users answer by a grant of \
                 `_R_.>` and without `allow_responses`",
                account.name
            ),
        ),
        Sender::Consumers | Sender::Pulls(_) => finding.hint(
            "feature_flags { js_ack_fc_v2: true } (nats-server 2.14): acknowledgements then name their account, and shares of them have to: \
             `$JS.ACK._.*.STREAM.CONSUMER.>` beside `$JS.ACK.STREAM.CONSUMER.>`",
        ),
    };
    Some(match answerer {
        Answerer::User(user) => finding.related(user.span, "who answers"),
        Answerer::Server | Answerer::Stream => finding,
    })
}

fn sender<'s>(system: &System, account: &'s Account) -> Option<Sender<'s>> {
    let is_named = system.server.acknowledgements_name_accounts;
    if !is_named && account.users.iter().any(|user| delivers_anywhere(account, user)) {
        return Some(Sender::Consumers);
    }
    if let Some(span) = system.leaf_of(account) {
        return Some(Sender::LeafNode(span));
    }
    let pulls = |import: &&Import| {
        let may_ask = |user: &User| user.permissions.publish.touches(&import.local);
        // `+NXT` on the subject of an acknowledgement asks for the next message.
        let is_pull = ["$JS.API.CONSUMER.MSG.NEXT.>", "$JS.ACK.>"].iter().any(|space| overlaps(&import.subject, space));
        is_pull && account.users.iter().any(may_ask)
    };
    let from: Vec<&str> = account.services().filter(pulls).map(|import| import.from.0.as_str()).collect();
    (!is_named && !from.is_empty()).then_some(Sender::Pulls(from))
}

/// The consumers whose messages an acknowledgement in an account may be of, in words: its own, or those of an account to which it
/// passes acknowledgements on.
fn target(system: &System, owner: &Account) -> Option<&'static str> {
    let takes = |import: &Import| {
        let from = system.account(&import.from.0).is_some_and(|from| from.jetstream.is_some());
        from && overlaps(&import.local, "$JS.ACK.>")
    };
    if owner.jetstream.is_some() {
        return Some("has a consumer");
    }
    owner.services().any(takes).then_some("takes from a consumer of another account")
}

fn answerer<'s>(owner: &'s Account, requests: &[Carried<'_>]) -> Option<Answerer<'s>> {
    let of_server = |request: &Carried<'_>| EMPTY_ANSWERS.iter().any(|text| overlaps(&request.subject(), text));
    if owner.jetstream.is_some() && requests.iter().any(of_server) {
        return Some(Answerer::Server);
    }
    let answers = |user: &&User| {
        requests.iter().any(|request| request.received_by(user).is_some())
            && (user.permissions.responses.is_some() || asks(owner, user, &["$JS.ACK.>"]).is_some())
    };
    let user = owner.users.iter().find(answers).map(Answerer::User);
    // No stream that acknowledges captures the server's own requests.
    let is_captured = |request: &Carried<'_>| !matches!(request.subject().first_token(), "$JS" | "$SYS");
    let may_capture = || owner.jetstream.is_some() && requests.iter().any(is_captured);
    user.or_else(|| may_capture().then_some(Answerer::Stream))
}

fn overlaps(subject: &Subject, space: &str) -> bool {
    Subject::as_the_server_reads(space).is_some_and(|space| space.overlaps(subject))
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::findings;

    /// The messages about acknowledging by answers.
    fn told(text: &str) -> Vec<String> {
        let found = findings(text).into_iter().filter(|f| f.rule == "decided-elsewhere");
        found.map(|f| f.message).filter(|message| message.contains("acknowledges by answering")).collect()
    }

    const PULLS: &str = "{ service: \"$JS.API.CONSUMER.MSG.NEXT.EV.T\", accounts: [T] }";

    fn user(name: &str, publish: &str) -> String {
        format!("users: [{{ user: {name}, permissions {{ publish: [{publish}], subscribe: \"i.>\" }} }}]")
    }

    /// Measured on nats-server 2.15.1: an empty status of a pull acknowledges a message of another consumer.
    #[test]
    fn jetstream_itself_acknowledges_by_answering() {
        let text = |export: &str, subject: &str, flag: &str| {
            format!(
                "jetstream {{}}\n{flag}\naccounts {{ A {{ jetstream: enabled, {}, exports: [{export}] }}
                 T {{ jetstream: enabled, users: [{{ user: t }}], imports: [{{ service: {{ account: A, subject: \"{subject}\" }}, to: n }}] }} }}",
                user("a", "\"ev.>\"")
            )
        };
        let found = |export: &str, subject: &str| told(&text(export, subject, ""));
        let next = found(PULLS, "$JS.API.CONSUMER.MSG.NEXT.EV.T");
        assert!(next.len() == 1 && next[0].contains("JetStream of `A`"), "{next:?}");
        assert_eq!(found("{ service: \"$JS.API.DIRECT.GET.EV\", accounts: [T] }", "$JS.API.DIRECT.GET.EV").len(), 1);
        assert_eq!(found("{ service: \"$JS.API.STREAM.INFO.EV\", accounts: [T] }", "$JS.API.STREAM.INFO.EV").len(), 0);
        let flag = "feature_flags { js_ack_fc_v2: true }";
        assert_eq!(told(&text(PULLS, "$JS.API.CONSUMER.MSG.NEXT.EV.T", flag)).len(), 0);
        let read = "$JS.API.DIRECT.GET.KV_cfg.$KV.cfg.T.x";
        assert_eq!(found(&format!("{{ service: \"{read}\", accounts: [T] }}"), read).len(), 1, "an empty 404");
    }

    /// Measured on nats-server 2.15.1: a leaf node sends any reply subject.
    #[test]
    fn a_leaf_node_needs_no_jetstream() {
        let found = |leaf: &str, of_a: &str, worker: &str| {
            told(&format!(
                "jetstream {{}}\nleafnodes {{ port: 7422, authorization {{ users: [{{ user: l, password: p, account: {leaf} }}] }} }}
                 accounts {{ H {{ jetstream: enabled, exports: [{{ service: \"$JS.ACK.ORD.K.>\", accounts: [A] }}] }}
                 A {{ {of_a}, users: [{{ user: a, permissions {{ {worker} }} }}], exports: [{{ service: cmd, accounts: [T] }}] }}
                 T {{ users: [{{ user: t }}], imports: [{{ service: {{ account: A, subject: cmd }} }}] }}, OTHER {{}} }}"
            ))
        };
        let (own, answers) = ("jetstream: enabled", "subscribe: cmd, allow_responses: true");
        assert!(found("T", own, answers).iter().any(|m| m.contains("`A/a` acknowledges")));
        assert!(found("OTHER", own, answers).is_empty());
        // A user with such a grant answers nothing else. A stream may: measured, with the headers of an atomic batch.
        let granted = "subscribe: cmd, publish: \"_R_.>\"";
        let by_stream = found("T", own, granted);
        assert!(by_stream.len() == 1 && by_stream[0].contains("a stream of `A`"), "{by_stream:?}");
        let passes_on = "imports: [{ service: { account: H, subject: \"$JS.ACK.ORD.K.>\" } }]";
        assert!(found("T", passes_on, answers).iter().any(|m| m.contains("`A/a` acknowledges")));
        assert!(found("T", passes_on, granted).is_empty());
    }

    /// Measured on nats-server 2.15.1, on both ends: what is pulled by shares keeps its reply subject, and takes it along.
    #[test]
    fn acknowledgements_pass_through_accounts_without_jetstream() {
        let hub = |to: &str| {
            format!(
                "H {{ jetstream: enabled, exports: [{{ service: \"$JS.API.CONSUMER.MSG.NEXT.ORD.K\", accounts: [{to}] }}, {{ service: \"$JS.ACK.ORD.K.>\", accounts: [{to}] }}] }}"
            )
        };
        let pulls = "{ service: { account: H, subject: \"$JS.API.CONSUMER.MSG.NEXT.ORD.K\" }, to: next }";
        let acks = "{ service: { account: H, subject: \"$JS.ACK.ORD.K.>\" } }";
        let worker =
            "users: [{ user: a, permissions { subscribe: [cmd, \"i.>\"], publish: next, allow_responses: true } }]";
        let passing = |imports: &str| {
            told(&format!(
                "jetstream {{}}\naccounts {{ {}, A {{ {worker}, imports: [{imports}], exports: [{{ service: cmd, accounts: [T] }}] }}
                 T {{ jetstream: enabled, users: [{{ user: t }}], imports: [{{ service: {{ account: A, subject: cmd }} }}] }} }}",
                hub("A")
            ))
        };
        let found = passing(&format!("{pulls}, {acks}"));
        assert!(found.iter().any(|m| m.contains("`A` takes from a consumer of another account")), "{found:?}");
        assert!(!passing(pulls).iter().any(|m| m.contains("whether `A`")), "its acknowledgements go nowhere");
        let pulling = |may: &str| {
            told(&format!(
                "jetstream {{}}\naccounts {{ {}, A {{ jetstream: enabled, {worker}, exports: [{{ service: cmd, accounts: [T] }}] }}
                 T {{ {}, imports: [{pulls}, {{ service: {{ account: A, subject: cmd }} }}] }} }}",
                hub("T"),
                user("t", may)
            ))
            .into_iter()
            .filter(|m| m.contains("whether `A` has a consumer") && m.contains("`T` has consumers of others deliver"))
            .count()
        };
        assert_eq!((pulling("next"), pulling("cmd")), (1, 0));
    }
}
