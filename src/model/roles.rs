//! Roles: named permission templates, built-in and declared. The built-in roles
//! grant the minimal subjects with which NATS clients work; removing any one of
//! them breaks a client (docs/roles.md lists which step fails).

use super::names::{AccountName, UserName};
use super::permissions::{Grant, Permissions, Responses};
use super::{Inbox, ShareKind, Tenant, inbox_prefix};
use crate::subject::Subject;

/// The user for whom a role is expanded, with the tenant whose subjects, streams and
/// buckets the permissions are built from.
#[derive(Debug, Clone, Copy)]
pub struct Holder<'m> {
    /// The tenant.
    pub tenant: &'m Tenant,
    /// The user's name.
    pub user: &'m UserName,
    /// The user's inbox.
    pub inbox: Inbox,
    /// The inbox prefixes of all of the tenant's users.
    pub inboxes: &'m [String],
}

impl Holder<'_> {
    /// Permissions of a user that may reply to requests: the subjects it may publish to
    /// besides its own, and `allow_responses`, or `None` where that would be unsafe.
    ///
    /// A message that arrives through a stream import carries the reply
    /// subject that its sender chose, and `allow_responses` lets every receiver
    /// publish there, past every allow and deny list: another tenant could make
    /// this one purge its own streams. So where streams are imported, replies
    /// are allowed to the tenant's own inboxes (and, for exported services, to
    /// the server's reply subjects) and nowhere else.
    ///
    /// The same holds at both ends of a copied stream. A user that replies to its own
    /// message could choose the subject that feeds the copy, and a message on that subject
    /// commands the importing server (a flow control request is answered on any
    /// subject it names); or the subject that resets the exporter's consumer.
    fn answers(&self) -> (Vec<String>, Option<Responses>) {
        let Tenant { stream_exports, stream_imports, .. } = self.tenant;
        if self.tenant.imported(ShareKind::Stream).next().is_none()
            && stream_exports.is_empty()
            && stream_imports.is_empty()
        {
            return (Vec::new(), Some(Responses::default()));
        }
        let serves = self.tenant.exports.iter().any(|e| e.kind == ShareKind::Service);
        let inboxes = self.inboxes.iter().map(|prefix| format!("{prefix}.>"));
        (inboxes.chain(serves.then(|| "_R_.>".to_owned())).collect(), None)
    }
}

/// Name of the role that provisions streams, and of the user with that role that every
/// tenant with JetStream has unless the registry declares one.
pub const PROVISIONER: &str = "provisioner";

/// The roles that every registry has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BuiltIn {
    /// The tenant's administrator: everything inside its account.
    Admin,
    /// An application: the tenant's subjects, and the declared streams and buckets.
    App,
    /// Publishes only.
    Publisher,
    /// Subscribes and consumes streams only.
    Subscriber,
    /// Reads counters and configuration, but no messages.
    Monitor,
    /// Creates and changes the tenant's streams and consumers. `tenantry apply` uses it.
    Provisioner,
}

impl BuiltIn {
    /// Every built-in role with its name.
    pub const ALL: [(&'static str, Self); 6] = [
        ("admin", Self::Admin),
        ("app", Self::App),
        ("publisher", Self::Publisher),
        ("subscriber", Self::Subscriber),
        ("monitor", Self::Monitor),
        (PROVISIONER, Self::Provisioner),
    ];

    /// The role of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(n, _)| *n == name).map(|(_, role)| *role)
    }

    /// The permissions that the role grants to this user.
    pub fn permissions(self, holder: Holder<'_>) -> Permissions {
        let tenant = holder.tenant;
        let own = || tenant.subjects.iter().map(ToString::to_string);
        let requests = || tenant.imported(ShareKind::Service).map(ToString::to_string);
        let received = || tenant.imported(ShareKind::Stream).map(ToString::to_string);
        let inbox = || [format!("{}.>", inbox_prefix(holder.inbox, holder.user))];
        let js = tenant.jetstream.is_some();
        let when = |on: bool, list: fn(&Tenant) -> Vec<String>| if on { list(tenant) } else { Vec::new() };
        let (mut publish, subscribe, answers): (Vec<String>, Vec<String>, bool) = match self {
            Self::Admin => (
                own().chain(requests()).chain(when(js, |_| whole_account())).collect(),
                own().chain(received()).chain(inbox()).chain(when(js, |_| events())).collect(),
                true,
            ),
            Self::App => (
                own().chain(requests()).chain(when(js, read_and_write)).collect(),
                own().chain(received()).chain(inbox()).collect(),
                true,
            ),
            Self::Publisher => (own().collect(), inbox().into(), false),
            Self::Subscriber => (when(js, read), own().chain(received()).chain(inbox()).collect(), false),
            Self::Monitor => (
                account_counters().into_iter().chain(when(js, |_| metadata())).collect(),
                inbox().into_iter().chain(when(js, |_| events())).collect(),
                false,
            ),
            Self::Provisioner => (when(js, |_| provision()), inbox().into(), false),
        };
        let (more, responses) = if answers { holder.answers() } else { (Vec::new(), None) };
        publish.extend(more);
        Permissions {
            publish: Grant::only(subjects(publish)),
            subscribe: Grant::only(subjects(subscribe)).without_queues_on(tenant.imported(ShareKind::Stream).cloned()),
            responses,
        }
    }
}

/// Parses subjects built from validated names and subjects, so that none should fail.
/// One that did would be omitted, which only narrows a grant.
fn subjects(texts: impl IntoIterator<Item = String>) -> Vec<Subject> {
    texts.into_iter().filter_map(|text| Subject::parse(&text).ok()).collect()
}

/// Names of all streams of the tenant, including those behind buckets and object stores.
fn stream_names(tenant: &Tenant) -> impl Iterator<Item = String> {
    tenant.streams.iter().map(|s| s.name.to_string())
}

/// Subjects for creating, reading and acknowledging consumers of one stream. Both forms
/// of the ACK and FC subjects are included: a server with the `js_ack_fc_v2` feature
/// flag uses the longer one.
fn consume(stream: &str) -> [String; 11] {
    [
        format!("$JS.API.STREAM.INFO.{stream}"),
        format!("$JS.API.CONSUMER.CREATE.{stream}"),
        format!("$JS.API.CONSUMER.CREATE.{stream}.>"),
        format!("$JS.API.CONSUMER.DURABLE.CREATE.{stream}.*"),
        format!("$JS.API.CONSUMER.INFO.{stream}.*"),
        format!("$JS.API.CONSUMER.DELETE.{stream}.*"),
        format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.*"),
        format!("$JS.ACK.{stream}.>"),
        format!("$JS.ACK.*.*.{stream}.>"),
        format!("$JS.FC.{stream}.>"),
        format!("$JS.FC.*.*.{stream}.>"),
    ]
}

fn read(tenant: &Tenant) -> Vec<String> {
    let mut list = vec!["$JS.API.INFO".to_owned()];
    list.extend(stream_names(tenant).flat_map(|s| consume(&s)));
    for bucket in &tenant.buckets {
        // By key, by revision, and for buckets created without direct get, which is nats-py's default.
        list.push(format!("$JS.API.DIRECT.GET.KV_{bucket}.>"));
        list.push(format!("$JS.API.DIRECT.GET.KV_{bucket}"));
        list.push(format!("$JS.API.STREAM.MSG.GET.KV_{bucket}"));
    }
    for store in &tenant.object_stores {
        list.push(format!("$JS.API.DIRECT.GET.OBJ_{store}.>"));
        list.push(format!("$JS.API.STREAM.MSG.GET.OBJ_{store}"));
    }
    if !tenant.object_stores.is_empty() {
        // nats-py finds an object store's stream by its subjects.
        list.push("$JS.API.STREAM.NAMES".to_owned());
    }
    list
}

fn read_and_write(tenant: &Tenant) -> Vec<String> {
    let mut list = read(tenant);
    for bucket in &tenant.buckets {
        list.push(format!("$KV.{bucket}.>"));
        list.push(format!("$JS.API.STREAM.PURGE.KV_{bucket}"));
    }
    for store in &tenant.object_stores {
        list.push(format!("$O.{store}.>"));
        list.push(format!("$JS.API.STREAM.PURGE.OBJ_{store}"));
    }
    list
}

fn whole_account() -> Vec<String> {
    ["$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$KV.>", "$O.>"].map(str::to_owned).into()
}

fn events() -> Vec<String> {
    ["$JS.EVENT.ADVISORY.>", "$JS.EVENT.METRIC.>"].map(str::to_owned).into()
}

fn account_counters() -> Vec<String> {
    ["$SYS.REQ.USER.INFO", "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.ACCOUNT.PING.STATZ"].map(str::to_owned).into()
}

fn metadata() -> Vec<String> {
    [
        "$JS.API.INFO",
        "$JS.API.STREAM.NAMES",
        "$JS.API.STREAM.LIST",
        "$JS.API.STREAM.INFO.*",
        "$JS.API.CONSUMER.NAMES.*",
        "$JS.API.CONSUMER.LIST.*",
        "$JS.API.CONSUMER.INFO.*.*",
    ]
    .map(str::to_owned)
    .into()
}

/// Subjects that `tenantry plan` and `tenantry apply` need. The wildcards cover undeclared
/// streams too: to report them, and so that a new stream can be created without a
/// reload of the server first.
fn provision() -> Vec<String> {
    [
        "$JS.API.INFO",
        "$JS.API.STREAM.LIST",
        "$JS.API.STREAM.INFO.*",
        "$JS.API.STREAM.CREATE.*",
        "$JS.API.STREAM.UPDATE.*",
        "$JS.API.STREAM.DELETE.*",
        "$JS.API.CONSUMER.LIST.*",
        "$JS.API.CONSUMER.INFO.*.*",
        "$JS.API.CONSUMER.CREATE.*.>",
        "$JS.API.CONSUMER.DELETE.*.*",
        // A recreated copy must reset the consumer that feeds it.
        "$JS.API.CONSUMER.RESET.*.*",
    ]
    .map(str::to_owned)
    .into()
}

/// A subject of a declared role, possibly with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// `{subject}`: each of the tenant's subjects.
    EachSubject,
    /// `{inbox}`: the user's inbox.
    Inbox,
    /// A subject that may contain the placeholders `{tenant}` and `{user}`.
    Text(String),
}

/// First tokens of the reserved subject spaces in which a role may name subjects.
const OPEN_TO_ROLES: [&str; 4] = ["$JS", "$KV", "$O", "$SRV"];

impl Pattern {
    /// Validates a pattern.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "{subject}" => return Ok(Self::EachSubject),
            "{inbox}" => return Ok(Self::Inbox),
            _ if text.contains("{subject}") => return Err("{subject} stands alone".into()),
            _ if text.contains("{inbox}") => return Err("{inbox} stands alone".into()),
            _ => {}
        }
        let filled = text.replace("{tenant}", "x").replace("{user}", "x");
        if filled.contains(['{', '}']) {
            return Err("unknown placeholder".into());
        }
        let subject = Subject::parse(&filled).map_err(|e| e.to_string())?;
        let first = subject.first_token();
        if first.starts_with("_INBOX") {
            return Err("other users' replies pass there; write {inbox} for the user's own".into());
        }
        if subject.touches_reserved_space() && !OPEN_TO_ROLES.contains(&first) {
            return Err("it reaches into a space that the server keeps for itself".into());
        }
        Ok(Self::Text(text.to_owned()))
    }

    /// The subjects that the pattern stands for, for one user.
    pub fn expand(&self, holder: Holder<'_>) -> Vec<Subject> {
        match self {
            Self::EachSubject => holder.tenant.subjects.clone(),
            Self::Inbox => subjects([format!("{}.>", inbox_prefix(holder.inbox, holder.user))]),
            Self::Text(text) => subjects([fill(text, &holder.tenant.name, holder.user)]),
        }
    }
}

fn fill(text: &str, tenant: &AccountName, user: &UserName) -> String {
    text.replace("{tenant}", tenant.as_str()).replace("{user}", user.as_str())
}

/// A role that the registry declares.
#[derive(Debug, Clone)]
pub struct Declared {
    /// Subjects that users with the role may publish to.
    pub publish: Vec<Pattern>,
    /// Subjects that users with the role may subscribe to.
    pub subscribe: Vec<Pattern>,
    /// Whether users with the role may reply to requests.
    pub responses: bool,
}

impl Declared {
    /// The permissions that the role grants to this user.
    pub fn permissions(&self, holder: Holder<'_>) -> Permissions {
        let expand = |patterns: &[Pattern]| patterns.iter().flat_map(|p| p.expand(holder)).collect::<Vec<_>>();
        let (more, responses) = if self.responses { holder.answers() } else { (Vec::new(), None) };
        Permissions {
            publish: Grant::only(expand(&self.publish).into_iter().chain(subjects(more))),
            subscribe: Grant::only(expand(&self.subscribe))
                .without_queues_on(holder.tenant.imported(ShareKind::Stream).cloned()),
            responses,
        }
    }
}
