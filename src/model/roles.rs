//! Roles: named permission templates, built-in and declared. The built-in roles
//! grant the minimal subjects with which NATS clients work; removing any one of
//! them breaks a client (docs/roles.md lists which step fails).

use super::names::{AccountName, UserName};
use super::permissions::{Grant, Permissions};
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
    /// The subjects on which a user that may reply to requests publishes its replies: the tenant's own inboxes and, for
    /// exported services, the server's reply subjects.
    ///
    /// The server's `allow_responses` would be narrower, and is never rendered. A reload forgets
    /// its grants, so that requests in flight get no reply. And it allows a reply to whatever subject the
    /// requester chose, past every allow and deny list: a message that arrives through a stream import
    /// carries the reply subject of its sender, another tenant, which could make this one purge its own streams; at
    /// both ends of a copied stream a reply could command the importing server.
    fn reply_subjects(&self) -> Vec<String> {
        let serves = self.tenant.exports.iter().any(|e| e.kind == ShareKind::Service);
        let inboxes = self.inboxes.iter().map(|prefix| format!("{prefix}.>"));
        inboxes.chain(serves.then(|| "_R_.>".to_owned())).collect()
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
            Self::Publisher => (own().chain(when(js, describe_written)).collect(), inbox().into(), false),
            Self::Subscriber => (when(js, read), own().chain(received()).chain(inbox()).collect(), false),
            Self::Monitor => (
                account_counters().into_iter().chain(when(js, |_| metadata())).collect(),
                inbox().into_iter().chain(when(js, |_| events())).collect(),
                false,
            ),
            Self::Provisioner => (when(js, |_| provision()), inbox().into(), false),
        };
        if answers {
            publish.extend(holder.reply_subjects());
        } else if holder.inbox == Inbox::Private && self != Self::Provisioner {
            // Connection checks send themselves a message there, `nats server check connection` for one.
            publish.extend(inbox());
        }
        Permissions {
            publish: Grant::only(subjects(publish)),
            subscribe: Grant::only(subjects(subscribe)).without_queues_on(tenant.imported(ShareKind::Stream).cloned()),
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
/// flag uses the longer one. `account` stands before the stream there: with a wildcard there, the shorter form of
/// another stream's acknowledgement matches, whose further tokens the server does not check.
fn consume(account: &str, stream: &str) -> [String; 11] {
    [
        format!("$JS.API.STREAM.INFO.{stream}"),
        format!("$JS.API.CONSUMER.CREATE.{stream}"),
        format!("$JS.API.CONSUMER.CREATE.{stream}.>"),
        format!("$JS.API.CONSUMER.DURABLE.CREATE.{stream}.*"),
        format!("$JS.API.CONSUMER.INFO.{stream}.*"),
        format!("$JS.API.CONSUMER.DELETE.{stream}.*"),
        format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.*"),
        format!("$JS.ACK.{stream}.>"),
        format!("$JS.ACK.{account}{stream}.>"),
        format!("$JS.FC.{stream}.>"),
        format!("$JS.FC.{account}{stream}.>"),
    ]
}

/// What clients ask before they publish into a stream.
fn describe_written(tenant: &Tenant) -> Vec<String> {
    let written = tenant.plain_streams().filter(|stream| !stream.subjects.is_empty());
    let described = written.map(|stream| format!("$JS.API.STREAM.INFO.{}", stream.name));
    std::iter::once("$JS.API.INFO".to_owned()).chain(described).collect()
}

fn read(tenant: &Tenant) -> Vec<String> {
    // Clients find a stream by its subjects with the second.
    let mut list = vec!["$JS.API.INFO".to_owned(), "$JS.API.STREAM.NAMES".to_owned()];
    let account = tenant.name.acknowledged_as();
    list.extend(stream_names(tenant).flat_map(|stream| consume(&account, &stream)));
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

    /// The subject of its text, with a token for each placeholder. `None`: it stands for other subjects.
    pub fn example(&self) -> Option<Subject> {
        match self {
            Self::Text(text) => Subject::parse(&text.replace("{tenant}", "x").replace("{user}", "x")).ok(),
            Self::EachSubject | Self::Inbox => None,
        }
    }

    /// The subjects that the pattern stands for, for one user.
    pub fn expand(&self, holder: Holder<'_>) -> Vec<Subject> {
        match self {
            Self::EachSubject => holder.tenant.subjects.clone(),
            Self::Inbox => subjects([format!("{}.>", inbox_prefix(holder.inbox, holder.user))]),
            Self::Text(text) => {
                let text = fill(text, &holder.tenant.name, holder.user);
                let named = with_account(&text, &holder.tenant.name);
                subjects([text]).into_iter().chain(subjects(named)).collect()
            }
        }
    }
}

/// The form of an acknowledgement or of flow control that the rendered server uses: with the domain and the account
/// before the stream. `None`: the subject is no such, or has or covers that form.
fn with_account(text: &str, account: &AccountName) -> Option<String> {
    let prefix = ["$JS.ACK.", "$JS.FC."].into_iter().find(|prefix| text.starts_with(prefix))?;
    let is_long = |rest: &str| rest.starts_with("_.") || rest.starts_with("*.*.");
    let rest = text.strip_prefix(prefix).filter(|rest| *rest != ">" && !is_long(rest))?;
    Some(format!("{prefix}{}{rest}", account.acknowledged_as()))
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
        let replies = if self.responses { holder.reply_subjects() } else { Vec::new() };
        Permissions {
            publish: Grant::only(expand(&self.publish).into_iter().chain(subjects(replies))),
            subscribe: Grant::only(expand(&self.subscribe))
                .without_queues_on(holder.tenant.imported(ShareKind::Stream).cloned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::User;
    use crate::registry::testing::{model_of, model_with, tenant, user};

    const USERS_AND_STREAMS: &str = "
        user = [{ name = 'admin', role = 'admin' }, { name = 'app' }, { name = 'publisher', role = 'publisher' },
            { name = 'subscriber', role = 'subscriber' }, { name = 'monitor', role = 'monitor' }]
        stream = [{ name = 'S', subjects = ['T.s.>'] }]
        bucket = [{ name = 'cfg' }]
        object_store = [{ name = 'files' }]
        [tenant.jetstream]
        storage = '512MiB'
        ";
    const SERVICE: &str = "[[share]]\nfrom = \"OTHER\"\nto = [\"T\"]\nservice = \"OTHER.ask.>\"\n";

    fn tenant_with(shares: &str) -> Tenant {
        let text = format!(
            "version = 1\n[server.jetstream]\nstorage = \"1GiB\"\n[[tenant]]\nname = \"OTHER\"\n[tenant.jetstream]\n\
             storage = \"1MiB\"\n[[tenant.user]]\nname = \"u\"\n[[tenant.stream]]\nname = \"X\"\nsubjects = [\"OTHER.x\"]\n\
             [[tenant]]\nname = \"T\"\n{USERS_AND_STREAMS}\n{shares}"
        );
        tenant(&model_of(&text), "T").clone()
    }

    fn covers(grant: &Grant, subject: &str) -> bool {
        let subject = Subject::parse(subject).expect("a subject");
        match grant {
            Grant::Nothing => false,
            Grant::Everything => true,
            Grant::Only(allowed) => allowed.subjects().iter().any(|own| own.contains(&subject)),
        }
    }

    fn check(user: &User, publish: (&[&str], &[&str]), subscribe: (&[&str], &[&str])) {
        for (side, grant, (may, may_not)) in [
            ("publish to", &user.permissions.publish, publish),
            ("subscribe to", &user.permissions.subscribe, subscribe),
        ] {
            may.iter().for_each(|s| assert!(covers(grant, s), "{} may not {side} {s}", user.name));
            may_not.iter().for_each(|s| assert!(!covers(grant, s), "{} may {side} {s}", user.name));
        }
    }

    #[test]
    fn each_built_in_role_is_found_by_its_name_alone() {
        for (name, role) in BuiltIn::ALL {
            assert_eq!(BuiltIn::named(name), Some(role));
            assert_eq!(BuiltIn::named(&name.to_uppercase()), None);
        }
    }

    #[test]
    fn an_admin_may_use_its_whole_account_and_nothing_beyond() {
        check(
            user(&tenant_with(SERVICE), "admin"),
            (
                &[
                    "T.>",
                    "OTHER.ask.q",
                    "$JS.API.STREAM.CREATE.NEW",
                    "$JS.API.STREAM.DELETE.S",
                    "$KV.any.k",
                    "$O.any.C.x",
                ],
                &["OTHER.x", "OTHER.ask", "$SYS.REQ.USER.INFO", "$SYS.REQ.SERVER.PING", "_INBOX.x", "_R_.x"],
            ),
            (
                &["T.>", "_INBOX_admin.x", "$JS.EVENT.ADVISORY.STREAM.CREATED.S"],
                &["OTHER.ask.q", "_INBOX.x", "_INBOX_app.x", "$JS.API.>", "$SYS.>"],
            ),
        );
    }

    #[test]
    fn an_app_may_use_declared_streams_but_not_change_them() {
        check(
            user(&tenant_with(SERVICE), "app"),
            (
                &[
                    "T.>",
                    "OTHER.ask.q",
                    "$JS.API.INFO",
                    "$JS.API.STREAM.INFO.S",
                    "$JS.API.CONSUMER.CREATE.S.c.T.s.x",
                    "$JS.API.CONSUMER.MSG.NEXT.S.c",
                    "$JS.ACK.S.c.1.2.3.4.5",
                    "$JS.ACK._.iox9TBvi.S.c.1.2.3.4.5",
                    "$KV.cfg.k",
                    "$O.files.C.x",
                    "$JS.API.STREAM.PURGE.KV_cfg",
                    "$JS.API.STREAM.PURGE.OBJ_files",
                ],
                &[
                    "OTHER.x",
                    "$JS.API.STREAM.CREATE.S",
                    "$JS.API.STREAM.UPDATE.S",
                    "$JS.API.STREAM.DELETE.S",
                    "$JS.API.STREAM.PURGE.S",
                    "$JS.API.STREAM.LIST",
                    "$JS.API.CONSUMER.CREATE.NEW",
                    "$KV.secret.k",
                    "$O.other.C.x",
                    "$JS.API.STREAM.DELETE.KV_cfg",
                    "$SYS.REQ.USER.INFO",
                ],
            ),
            (&["T.>", "_INBOX_app.x"], &["OTHER.x", "_INBOX_admin.x", "$JS.EVENT.ADVISORY.x", "$KV.cfg.k"]),
        );
    }

    #[test]
    fn a_publisher_may_publish_its_subjects_and_read_only_its_replies() {
        check(
            user(&tenant_with(SERVICE), "publisher"),
            (
                &["T.>", "$JS.API.INFO", "$JS.API.STREAM.INFO.S", "_INBOX_publisher.x"],
                &[
                    "OTHER.ask.q",
                    "$JS.API.STREAM.INFO.KV_cfg",
                    "$JS.API.STREAM.NAMES",
                    "$JS.API.CONSUMER.CREATE.S",
                    "$KV.cfg.k",
                    "$JS.ACK.S.c.1",
                    "_INBOX_app.x",
                ],
            ),
            (&["_INBOX_publisher.x"], &["T.a", "_INBOX_app.x", "$JS.EVENT.ADVISORY.x"]),
        );
    }

    #[test]
    fn a_subscriber_may_read_streams_and_buckets_but_publish_nothing() {
        check(
            user(&tenant_with(SERVICE), "subscriber"),
            (
                &[
                    "$JS.API.INFO",
                    "$JS.API.CONSUMER.CREATE.S.c",
                    "$JS.ACK.S.c.1",
                    "$JS.API.DIRECT.GET.KV_cfg.$KV.cfg.k",
                    "$JS.API.STREAM.NAMES",
                    "_INBOX_subscriber.x",
                ],
                &["T.a", "_INBOX_app.x", "OTHER.ask.q", "$KV.cfg.k", "$O.files.C.x", "$JS.API.STREAM.PURGE.KV_cfg"],
            ),
            (&["T.>", "_INBOX_subscriber.x"], &["_INBOX_app.x", "OTHER.x"]),
        );
    }

    #[test]
    fn a_monitor_may_read_counters_and_metadata_but_no_messages() {
        check(
            user(&tenant_with(SERVICE), "monitor"),
            (
                &[
                    "$SYS.REQ.USER.INFO",
                    "$SYS.REQ.ACCOUNT.PING.CONNZ",
                    "$JS.API.STREAM.INFO.S",
                    "$JS.API.CONSUMER.INFO.S.c",
                ],
                &[
                    "T.a",
                    "OTHER.ask.q",
                    "$SYS.REQ.SERVER.PING",
                    "$JS.API.STREAM.MSG.GET.S",
                    "$JS.API.DIRECT.GET.S",
                    "$JS.API.CONSUMER.CREATE.S",
                    "$JS.API.CONSUMER.MSG.NEXT.S.c",
                ],
            ),
            (&["_INBOX_monitor.x", "$JS.EVENT.METRIC.x"], &["T.a", "_INBOX_app.x"]),
        );
    }

    #[test]
    fn a_provisioner_may_manage_streams_but_read_and_purge_no_messages() {
        check(
            user(&tenant_with(SERVICE), PROVISIONER),
            (
                &[
                    "$JS.API.INFO",
                    "$JS.API.STREAM.CREATE.NEW",
                    "$JS.API.STREAM.DELETE.S",
                    "$JS.API.CONSUMER.CREATE.S.c",
                    "$JS.API.CONSUMER.RESET.S.c",
                ],
                &[
                    "T.a",
                    "OTHER.ask.q",
                    "$JS.API.STREAM.PURGE.S",
                    "$JS.API.STREAM.MSG.GET.S",
                    "$JS.API.STREAM.MSG.DELETE.S",
                    "$JS.API.CONSUMER.MSG.NEXT.S.c",
                    "$JS.ACK.S.c.1",
                    "$KV.cfg.k",
                ],
            ),
            (&["_INBOX_provisioner.x"], &["T.a", "_INBOX_app.x", "$JS.EVENT.ADVISORY.x"]),
        );
    }

    #[test]
    fn without_jetstream_no_role_reaches_its_subjects() {
        let text = "version = 1\n[[tenant]]\nname = \"T\"\nuser = [{ name = 'admin', role = 'admin' }, { name = 'app' }, \
            { name = 'sub', role = 'subscriber' }, { name = 'mon', role = 'monitor' }, { name = 'pro', role = 'provisioner' }]\n";
        let model = model_of(text);
        for user in &tenant(&model, "T").users {
            for subject in ["$JS.API.INFO", "$JS.API.STREAM.INFO.S", "$KV.cfg.k", "$O.files.C.x"] {
                assert!(!covers(&user.permissions.publish, subject), "{} {subject}", user.name);
            }
            assert!(!covers(&user.permissions.subscribe, "$JS.EVENT.ADVISORY.x"), "{}", user.name);
        }
        assert_eq!(user(tenant(&model, "T"), "pro").permissions.publish, Grant::Nothing);
    }

    #[test]
    fn replies_go_to_the_tenants_inboxes_and_to_those_who_asked_its_services() {
        let serves = "[[share]]\nfrom = \"T\"\nto = [\"OTHER\"]\nservice = \"T.ask\"\n";
        let stream = "[[share]]\nfrom = \"OTHER\"\nto = [\"T\"]\nstream = \"OTHER.feed\"\n";
        for (shares, is_asked) in [("", false), (stream, false), (SERVICE, false), (serves, true)] {
            let publish = &user(&tenant_with(shares), "app").permissions.publish.clone();
            assert!(covers(publish, "_INBOX_admin.x") && covers(publish, "_INBOX_app.x"), "{shares}");
            assert!(!covers(publish, "_INBOX_of_another.x"), "{shares}");
            assert_eq!(covers(publish, "_R_.x"), is_asked, "{shares}");
        }
    }

    #[test]
    fn only_roles_that_answer_may_publish_replies() {
        let tenant = tenant_with(SERVICE);
        let answers = |user: &&User| covers(&user.permissions.publish, "_INBOX_app.x");
        let answering: Vec<&str> = tenant.users.iter().filter(answers).map(|u| u.name.as_str()).collect();
        assert_eq!(answering, ["admin", "app"]);
    }

    #[test]
    fn queue_subscriptions_are_denied_on_imported_streams() {
        let tenant = tenant_with("[[share]]\nfrom = \"OTHER\"\nto = [\"T\"]\nstream = \"OTHER.feed\"\n");
        let Grant::Only(allowed) = &user(&tenant, "app").permissions.subscribe else { panic!("nothing") };
        assert_eq!(allowed.no_queue_on().iter().map(Subject::as_str).collect::<Vec<_>>(), ["OTHER.feed"]);
        let without = tenant_with(SERVICE);
        let Grant::Only(allowed) = &user(&without, "app").permissions.subscribe else { panic!("nothing") };
        assert!(allowed.no_queue_on().is_empty(), "the control");
    }

    #[test]
    fn a_pattern_is_a_subject_with_known_placeholders_outside_reserved_spaces() {
        for good in
            ["{subject}", "{inbox}", "{tenant}.>", "a.{user}.b", "{tenant}-x.y", "$JS.API.INFO", "$KV.b.>", "$SRV.PING"]
        {
            assert!(Pattern::parse(good).is_ok(), "{good}: {:?}", Pattern::parse(good));
        }
        let bad = [
            "",
            "a..b",
            "x.{subject}",
            "{inbox}.x",
            "{role}",
            "a.}",
            "_INBOX.>",
            "_INBOX_x.y",
            "$SYS.>",
            "_R_.>",
            ">",
            "*.a",
        ];
        for bad in bad {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_expands_for_its_user() {
        let model =
            model_with("[role.r]\npublish = [\"{subject}\", \"{tenant}.{user}.x\"]\nsubscribe = [\"{inbox}\"]\n");
        let (tenant, name) = (tenant(&model, "T"), UserName::parse("u-1").expect("a name"));
        let expand = |text: &str, inbox| {
            let holder = Holder { tenant, user: &name, inbox, inboxes: &[] };
            Pattern::parse(text).expect("a pattern").expand(holder).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(expand("{subject}", Inbox::Private), ["T.>"]);
        assert_eq!(expand("{inbox}", Inbox::Private), ["_INBOX_u-1.>"]);
        assert_eq!(expand("{inbox}", Inbox::Default), ["_INBOX.>"]);
        assert_eq!(expand("{tenant}.{user}.{tenant}", Inbox::Private), ["T.u-1.T"]);
        assert_eq!(
            expand("$JS.ACK.S.c.>", Inbox::Private),
            ["$JS.ACK.S.c.>".to_owned(), format!("$JS.ACK.{}S.c.>", tenant.name.acknowledged_as())]
        );
        for text in ["$JS.ACK.>", "$JS.ACK.*.*.S.>", "$JS.FC.>"] {
            assert_eq!(expand(text, Inbox::Private), [text]);
        }
    }
}
