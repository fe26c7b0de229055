//! Roles: named permission templates, built-in and declared. The subject sets
//! of the built-in ones are the least with which nats clients work, each
//! measured by taking it away (docs/roles.md says which step then fails).

use super::names::{AccountName, UserName};
use super::permissions::{Grant, Permissions, Responses};
use super::{Inbox, ShareKind, Tenant, inbox_prefix};
use crate::subject::Subject;

/// Which streams, buckets and subjects a role's permissions are made from.
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
    /// How a user who may answer requests does so: what it may publish to
    /// beside its own subjects, and whether the server may add reply subjects.
    ///
    /// A message that arrives through a stream import carries the reply
    /// subject that its sender chose, and `allow_responses` lets whoever hears
    /// it publish there, past every allow and deny list: another tenant could
    /// have this one purge its own streams. So where streams are imported,
    /// answers go to the tenant's own inboxes (and, for exported services, to
    /// the server's reply subjects) and nowhere else.
    ///
    /// The same holds at both ends of a copied stream. A user who answers its own
    /// message could choose the subject on which the copy is fed, and what comes there
    /// commands the importing server (a flow control request is answered on any
    /// subject it names); or the one by which the exporter's consumer is reset.
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

/// The name of the role with which streams are provisioned, and of the user that a
/// tenant has for it unless the registry declares one.
pub const PROVISIONER: &str = "provisioner";

/// The roles that every registry has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BuiltIn {
    /// The tenant's own administrator: everything inside its account.
    Admin,
    /// An application: its subjects, and the declared streams and buckets.
    App,
    /// Writes only.
    Publisher,
    /// Reads only.
    Subscriber,
    /// Reads counters and configuration, no messages.
    Monitor,
    /// Makes and changes the tenant's streams and consumers. `tenantry apply` is one.
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

    /// What the role allows to this user.
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

/// The texts are made from checked names and subjects, so each one parses; a
/// text that did not would be left out, which only ever narrows a grant.
fn subjects(texts: impl IntoIterator<Item = String>) -> Vec<Subject> {
    texts.into_iter().filter_map(|text| Subject::parse(&text).ok()).collect()
}

/// The JetStream streams behind everything the tenant declared.
fn stream_names(tenant: &Tenant) -> impl Iterator<Item = String> {
    tenant.streams.iter().map(|s| s.name.to_string())
}

/// Making, reading and acknowledging consumers of one stream. Both forms of
/// ACK and FC subjects are there: the longer one is what a server with the
/// `js_ack_fc_v2` feature flag uses.
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
        // By key, by revision, and for buckets made without direct get, which is nats-py's default.
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

/// What `tenantry plan` and `tenantry apply` need. It covers streams that are not
/// declared (yet, or any more): to report what is there, and so that a new stream
/// does not need a reload before it can be made.
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
        // A copy that is made again begins again.
        "$JS.API.CONSUMER.RESET.*.*",
    ]
    .map(str::to_owned)
    .into()
}

/// One subject of a declared role, with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// `{subject}`: each of the tenant's subjects.
    EachSubject,
    /// `{inbox}`: the user's replies.
    Inbox,
    /// A subject in which `{tenant}` and `{user}` are still to be filled in.
    Text(String),
}

/// The server's spaces in which a role may name subjects one by one.
const OPEN_TO_ROLES: [&str; 4] = ["$JS", "$KV", "$O", "$SRV"];

impl Pattern {
    /// Checks and keeps a pattern.
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

    /// The subjects this pattern means for one user.
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
    /// What its users may publish to.
    pub publish: Vec<Pattern>,
    /// What its users may subscribe to.
    pub subscribe: Vec<Pattern>,
    /// Whether its users may answer requests.
    pub responses: bool,
}

impl Declared {
    /// What the role allows to this user.
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
