//! The ways of tenants to the streams of other accounts: what they use, send to and receive.

use std::collections::{BTreeMap, HashSet};

use super::super::reserved_export;
use crate::audit::crossing::is_answered_by_users;
use crate::audit::reach::{self, Carried};
use crate::audit::system::{Account, Export, ListenerKind, System};
use crate::audit::tenants::Tenants;
use crate::diag::Span;
use crate::model::ShareKind;
use crate::model::names::hash_of_account;
use crate::subject::Subject;

/// A tenant's way to a stream of another account.
pub struct Use<'w> {
    pub owner: &'w Account,
    pub tenant: &'w str,
    /// `*`: any.
    pub stream: String,
    /// The consumer that it takes messages from, acknowledges or changes. `None`: the stream itself.
    pub consumer: Option<String>,
    /// Whether it takes from, acknowledges or changes what others have: reading alone does not.
    pub changes: bool,
    pub span: Span,
}

impl Use<'_> {
    /// Whether it may be of this stream.
    pub fn is_of(&self, stream: &str) -> bool {
        are_same(&self.stream, stream)
    }

    /// A sentence that says what the tenant may change.
    pub fn may_change(&self) -> String {
        let Self { owner, tenant, stream, .. } = self;
        let consumer = self.consumer.as_ref().map_or_else(String::new, |consumer| format!("consumer `{consumer}` of "));
        format!("`{tenant}` may take from or change in `{}` {consumer}stream `{stream}`", owner.name)
    }
}

/// Messages that a tenant sends to another account, where a stream may capture them.
pub struct Write<'w> {
    pub owner: &'w Account,
    pub tenant: &'w str,
    pub subject: Subject,
    pub span: Span,
}

/// A tenant that may receive what streams of another account deliver, or answer.
pub struct Party<'w> {
    pub tenant: &'w str,
    pub way: PartyWay<'w>,
    pub span: Span,
}

/// How it may receive that.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PartyWay<'w> {
    /// It imports a stream of this subject.
    Hears(&'w Subject),
    /// It asks JetStream.
    Asks,
    /// The account imports a service of it, to which JetStream delivers, republishes and acknowledges.
    IsAsked,
}

impl<'w> Party<'w> {
    pub fn hears(&self) -> Option<&'w Subject> {
        if let PartyWay::Hears(subject) = self.way { Some(subject) } else { None }
    }
}

/// The ways of other tenants to the streams of one account.
#[derive(Default)]
pub struct Visitors<'w> {
    pub uses: Vec<Use<'w>>,
    /// Without those of the account's own tenant, like the parties.
    pub writes: Vec<Write<'w>>,
    pub parties: Vec<Party<'w>>,
}

/// Whether two names of streams, consumers or buckets may be of one.
pub fn are_same(one: &str, other: &str) -> bool {
    one == other || one == "*" || other == "*"
}

/// Adds what users of an account may do with streams of others, may send to where those capture it, and may import.
pub fn collect<'w>(
    system: &'w System,
    tenants: &'w Tenants,
    by: &'w Account,
    by_owner: &mut BTreeMap<&'w str, Visitors<'w>>,
) {
    let has_streams = |owner: &Account| owner.jetstream.is_some() && !system.is_system(owner);
    for import in by.imports.iter().filter(|import| import.kind == ShareKind::Stream) {
        let owner = system.account(&import.from.0).filter(|owner| has_streams(owner));
        let hearing = by.users.iter().find(|user| Carried::new(by, &import.local).received_by(user).is_some());
        if let (Some(owner), Some(user)) = (owner, hearing) {
            let (way, span, tenant) = (PartyWay::Hears(&import.subject), import.span, tenants.of(by, user));
            if tenant != tenants.of_account(&owner.name) {
                by_owner.entry(&owner.name).or_default().parties.push(Party { tenant, way, span });
            }
        }
    }
    if has_streams(by) {
        let own = tenants.of_account(&by.name);
        let exporters = by.services().filter_map(|import| Some((import, system.account(&import.from.0)?)));
        let asked = exporters.filter(|(_, from)| !system.is_system(from)).filter_map(|(import, from)| {
            let tenant = tenants.of_account(&from.name);
            (tenant != own).then_some(Party { tenant, way: PartyWay::IsAsked, span: import.span })
        });
        by_owner.entry(&by.name).or_default().parties.extend(asked);
    }
    if !reach::reachable(system, by).into_iter().any(has_streams) {
        return;
    }
    let clustered = system.server.listener(ListenerKind::Cluster).is_some();
    let mut told = HashSet::new();
    for user in &by.users {
        // An answer goes to whatever the request says.
        let open = is_answered_by_users(system, by, user).then(|| user.unrestricted());
        let tenant = tenants.of(by, user);
        reach::follow(system, reach::published(by, open.as_ref().unwrap_or(user), None), |carried| {
            let (name, subject) = (carried.account.name.as_str(), carried.subject());
            let Some(owner) = system.account(name).filter(|owner| name != by.name && has_streams(owner)) else {
                return;
            };
            if !told.insert((tenant, name.to_owned(), subject.to_string())) {
                return;
            }
            let span = carried.place().unwrap_or(user.span);
            let is_own = tenant == tenants.of_account(&owner.name);
            let Visitors { uses, writes, parties } = by_owner.entry(&owner.name).or_default();
            if !matches!(subject.first_token(), "$JS" | ">" | "*") {
                writes.extend((!is_own).then_some(Write { owner, tenant, subject, span }));
                return;
            }
            // A copy of a stream has a consumer of its own.
            let is_its =
                |export: &Export| export.subject == subject && reserved_export::copy_of(owner, export).is_some();
            if owner.exports.iter().any(is_its) {
                return;
            }
            parties.extend((!is_own).then_some(Party { tenant, way: PartyWay::Asks, span }));
            for (request, changes) in REQUESTS {
                if !clustered && (request.contains("LEADER.STEPDOWN") || request.contains("PEER.REMOVE")) {
                    continue;
                }
                let Some((stream, consumer)) = names_in(system, carried, request) else { continue };
                uses.push(Use { owner, tenant, stream, consumer, changes, span });
            }
        });
    }
}

/// Requests about a stream, or about a consumer of it: their names are the first wildcards. Whether each changes what
/// others have.
const REQUESTS: [(&str, bool); 17] = [
    ("$JS.ACK.*.*.>", true),
    ("$JS.API.CONSUMER.MSG.NEXT.*.*", true),
    ("$JS.API.CONSUMER.DELETE.*.*", true),
    ("$JS.API.CONSUMER.RESET.*.*", true),
    ("$JS.API.CONSUMER.PAUSE.*.*", true),
    ("$JS.API.CONSUMER.UNPIN.*.*", true),
    ("$JS.API.CONSUMER.LEADER.STEPDOWN.*.*", true),
    ("$JS.API.STREAM.PURGE.*", true),
    ("$JS.API.STREAM.DELETE.*", true),
    ("$JS.API.STREAM.UPDATE.*", true),
    ("$JS.API.STREAM.RESTORE.*", true),
    ("$JS.API.STREAM.MSG.DELETE.*", true),
    ("$JS.API.STREAM.PEER.REMOVE.*", true),
    ("$JS.API.STREAM.LEADER.STEPDOWN.*", true),
    ("$JS.API.STREAM.MSG.GET.*", false),
    ("$JS.API.STREAM.SNAPSHOT.*", false),
    ("$JS.API.DIRECT.GET.>", false),
];

/// The names of the stream and, if `request` has it, of the consumer that a message is about; `*`: any. `None`: it is
/// another message.
fn names_in(system: &System, message: &Carried<'_>, request: &str) -> Option<(String, Option<String>)> {
    let part = message.within(&Subject::as_the_server_reads(request)?)?.subject();
    let mut before = request.split('.').take_while(|token| !matches!(*token, "*" | ">")).count();
    if request.starts_with("$JS.ACK.") {
        // The newer form has a domain, or `_`, and a hash before the names.
        let domain = system.server.jetstream.as_ref().and_then(|jetstream| jetstream.domain.as_ref());
        let is_domain = |token: &str| token == "_" || domain.is_some_and(|(domain, _)| domain == token);
        // Another account's is of no consumer here. The names of accounts by JWTs are not those that the server hashes.
        let hash = hash_of_account(&message.account.name);
        let is_hash = |token: &str| matches!(token, "*" | ">") || token == hash || system.operator.is_some();
        let mut tokens = part.tokens().skip(before);
        let is_long = tokens.next().is_some_and(is_domain) && tokens.next().is_none_or(is_hash);
        before += if is_long { 2 } else { 0 };
    }
    // A `>` may hold any name.
    let mut names = part.tokens().skip(before).map(|token| if token == ">" { "*" } else { token }.to_owned());
    let mut name = || names.next().unwrap_or_else(|| "*".to_owned());
    let stream = name();
    let has_consumer = request.split('.').filter(|token| *token == "*").count() > 1;
    Some((stream, has_consumer.then(name)))
}
