//! What differs between two configurations of a server, account by account, as data and in words.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use serde::Serialize;

use super::conf_folder::LoadedConf;
use super::process::PreparedConf;
use crate::conf;
use crate::conf::value::{Map, Value};
use crate::diag::first_few;
use crate::model::ShareKind;
use crate::model::units::Size;
use crate::redact::redacted;
use crate::render::accounts::names_of_nkeys;
use crate::subject::Subject;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The account. `None`: a setting of the whole server.
    pub account: Option<String>,
    /// The user, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What differs.
    #[serde(flatten)]
    pub change: ConfChange,
}

impl Difference {
    /// Whether acknowledgements become longer, which one client library cannot read.
    pub fn turns_on_long_acknowledgements(&self) -> bool {
        let flag = "feature_flags.js_ack_fc_v2";
        matches!(&self.change, ConfChange::Value { key, to: Some(to), .. } if key == flag && to == "true")
    }
}

/// What differs about an account, a user or a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum ConfChange {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// The user gets another key or password.
    Credential,
    /// The user's password has another hash and is the same.
    Rehashed,
    /// The user may do more.
    Allowed {
        /// `publish` or `subscribe`.
        side: Side,
        /// The subjects.
        subjects: Vec<String>,
    },
    /// The user may do less.
    NoLongerAllowed {
        /// `publish` or `subscribe`.
        side: Side,
        /// The subjects.
        subjects: Vec<String>,
    },
    /// A list is written otherwise and allows the same.
    Relisted {
        /// `publish` or `subscribe`.
        side: Side,
    },
    /// A share begins.
    Shared {
        /// The export or import.
        share: String,
    },
    /// A share ends.
    NoLongerShared {
        /// The export or import.
        share: String,
    },
    /// A limit or a setting has another value. `None`: it has none.
    Value {
        /// The option of nats-server.
        key: String,
        /// The value before.
        from: Option<String>,
        /// The value after.
        to: Option<String>,
    },
}

/// A side of permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Sending.
    Publish,
    /// Receiving.
    Subscribe,
}

impl Side {
    const BOTH: [(Self, &'static str); 2] = [(Self::Publish, "publish"), (Self::Subscribe, "subscribe")];

    fn verb(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe to",
        }
    }
}

/// Options whose values are bytes.
const SIZES: [&str; 6] =
    ["max_payload", "max_pending", "max_memory", "max_store", "max_memory_store", "max_file_store"];

/// Compares what a server runs with what it is to run. Settings first, then the accounts by name.
pub fn differences(old: &LoadedConf, new: &PreparedConf) -> Vec<Difference> {
    between(&System::read(&old.values, &old.accounts), &System::read(&new.values, &new.files.accounts))
}

/// What a configuration says.
struct System<'c> {
    settings: BTreeMap<String, String>,
    accounts: BTreeMap<String, &'c Map>,
    /// The names of nkey users by their public keys.
    names: HashMap<&'c str, &'c str>,
}

#[derive(Default)]
struct Account {
    users: BTreeMap<String, User>,
    values: BTreeMap<String, String>,
    shares: BTreeSet<String>,
}

#[derive(Default)]
struct User {
    /// The key, or the hash of the password.
    credential: String,
    sides: [BTreeSet<String>; 2],
    values: BTreeMap<String, String>,
}

impl<'c> System<'c> {
    fn read(values: &'c Map, accounts: &'c str) -> Self {
        let names = names_of_nkeys(accounts);
        let mut system = Self { settings: BTreeMap::new(), accounts: BTreeMap::new(), names };
        for entry in &values.entries {
            match &entry.node.value {
                Value::Map(accounts) if entry.key == "accounts" => {
                    let accounts = accounts.entries.iter().filter_map(|entry| match &entry.node.value {
                        Value::Map(map) => Some((entry.key.clone(), map)),
                        _ => None,
                    });
                    system.accounts = accounts.collect();
                }
                value => flatten(&entry.key, value, &mut system.settings),
            }
        }
        system
    }

    fn account(&self, map: &Map) -> Account {
        Account::read(map, |key| self.names.get(key).copied())
    }
}

impl Account {
    fn read<'n>(map: &Map, name: impl Fn(&str) -> Option<&'n str>) -> Self {
        let mut account = Self::default();
        for entry in &map.entries {
            match (entry.key.as_str(), &entry.node.value) {
                ("users", Value::Array(users)) => {
                    let maps = users.iter().filter_map(|user| as_map(&user.value));
                    account.users.extend(maps.map(|user| {
                        let login = text(user, "user").or_else(|| text(user, "nkey")).unwrap_or_default();
                        (name(login).unwrap_or(login).to_owned(), User::read(user))
                    }));
                }
                (kind @ ("exports" | "imports"), Value::Array(shares)) => {
                    let maps = shares.iter().filter_map(|share| as_map(&share.value));
                    account.shares.extend(maps.flat_map(|share| in_words(kind, share)));
                }
                (key, value) => flatten(key, value, &mut account.values),
            }
        }
        account
    }
}

impl User {
    fn read(map: &Map) -> Self {
        let mut user = Self::default();
        for entry in &map.entries {
            match (entry.key.as_str(), &entry.node.value) {
                ("user", _) => {}
                ("nkey" | "password", Value::Text(text)) => user.credential.clone_from(text),
                ("permissions", Value::Map(permissions)) => {
                    for ((_, key), list) in Side::BOTH.iter().zip(&mut user.sides) {
                        let allowed = permissions.get(key).and_then(|side| as_map(&side.value)?.get("allow"));
                        list.extend(allowed.into_iter().flat_map(|node| texts(&node.value)));
                    }
                    let is_list = |path: &String| Side::BOTH.iter().any(|(_, key)| *path == format!("{key}.allow"));
                    let mut values = BTreeMap::new();
                    permissions.entries.iter().for_each(|e| flatten(&e.key, &e.node.value, &mut values));
                    user.values.extend(values.into_iter().filter(|(path, _)| !is_list(path)));
                }
                (key, value) => flatten(key, value, &mut user.values),
            }
        }
        user
    }
}

fn between(from: &System<'_>, to: &System<'_>) -> Vec<Difference> {
    let mut found: Vec<Difference> =
        values(&from.settings, &to.settings).map(|change| Difference { account: None, user: None, change }).collect();
    for (name, both) in pairs(&from.accounts, &to.accounts) {
        let mut push = |user: Option<&String>, change: ConfChange| {
            found.push(Difference { account: Some(name.clone()), user: user.cloned(), change });
        };
        let (old, new) = match both {
            (Some(old), Some(new)) if old.says_as(new) => continue,
            (Some(old), Some(new)) => (from.account(old), to.account(new)),
            (None, _) => {
                push(None, ConfChange::Added);
                continue;
            }
            (_, None) => {
                push(None, ConfChange::Removed);
                continue;
            }
        };
        values(&old.values, &new.values).for_each(|change| push(None, change));
        for share in new.shares.difference(&old.shares) {
            push(None, ConfChange::Shared { share: share.clone() });
        }
        for share in old.shares.difference(&new.shares) {
            push(None, ConfChange::NoLongerShared { share: share.clone() });
        }
        for (user, both) in pairs(&old.users, &new.users) {
            match both {
                (Some(old), Some(new)) => compare_users(old, new).into_iter().for_each(|c| push(Some(user), c)),
                (None, _) => push(Some(user), ConfChange::Added),
                (_, None) => push(Some(user), ConfChange::Removed),
            }
        }
    }
    found
}

fn compare_users(old: &User, new: &User) -> Vec<ConfChange> {
    let mut changes = Vec::new();
    if old.credential != new.credential {
        changes.push(ConfChange::Credential);
    }
    for ((side, _), (old, new)) in Side::BOTH.into_iter().zip(old.sides.iter().zip(&new.sides)) {
        let list = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
            // A subject that a wider one covers was or stays allowed; an entry with a queue is another thing.
            let read = |entry: &String| Subject::as_the_server_reads(entry).filter(|_| !entry.contains(' '));
            let covers =
                |entry: &String| other.iter().filter_map(read).any(|o| read(entry).is_some_and(|e| o.contains(&e)));
            let mut subjects: Vec<String> = one.difference(other).filter(|entry| !covers(entry)).cloned().collect();
            // The tenant's own subjects say more than the server's.
            subjects.sort_by_key(|subject| subject.starts_with(['$', '_']));
            subjects
        };
        let (more, less) = (list(new, old), list(old, new));
        if old != new && more.is_empty() && less.is_empty() {
            changes.push(ConfChange::Relisted { side });
        }
        if !more.is_empty() {
            changes.push(ConfChange::Allowed { side, subjects: more });
        }
        if !less.is_empty() {
            changes.push(ConfChange::NoLongerAllowed { side, subjects: less });
        }
    }
    changes.extend(values(&old.values, &new.values));
    changes
}

fn values<'v>(
    old: &'v BTreeMap<String, String>,
    new: &'v BTreeMap<String, String>,
) -> impl Iterator<Item = ConfChange> + 'v {
    pairs(old, new).filter(|(_, (old, new))| old != new).map(|(key, (old, new))| ConfChange::Value {
        key: key.clone(),
        from: old.cloned(),
        to: new.cloned(),
    })
}

/// The values of two maps by key.
fn pairs<'v, T>(
    old: &'v BTreeMap<String, T>,
    new: &'v BTreeMap<String, T>,
) -> impl Iterator<Item = (&'v String, (Option<&'v T>, Option<&'v T>))> {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    keys.into_iter().map(|key| (key, (old.get(key), new.get(key))))
}

/// Adds a value, or those inside it, each with the path of its key.
fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    let key = path.rsplit('.').next().unwrap_or(path);
    let text = match value {
        Value::Map(map) => {
            for entry in &map.entries {
                flatten(&format!("{path}.{}", entry.key), &entry.node.value, into);
            }
            return;
        }
        Value::Array(_) => {
            let texts = texts(value);
            if texts.is_empty() { format!("({})", digest(path, value)) } else { texts.join(", ") }
        }
        Value::Text(text) | Value::Time(text) => text.clone(),
        Value::Integer(number) => match u64::try_from(*number) {
            Ok(bytes) if SIZES.contains(&key) => Size(bytes).to_string(),
            _ => number.to_string(),
        },
        Value::Float(number) => number.to_string(),
        Value::Bool(yes) => yes.to_string(),
    };
    // A template of the user's own may write a secret.
    let text = if redacted(&format!("{key} = {text}")).ends_with('*') {
        "(hidden)".to_owned()
    } else {
        redacted(&text).into_owned()
    };
    into.insert(path.to_owned(), text);
}

/// Eight digits by which other values than texts in a list are told apart.
fn digest(key: &str, value: &Value) -> String {
    let span = crate::diag::Span { file: 0, start: 0, end: 0 };
    let node = conf::value::Node { value: value.clone(), span };
    let entry = conf::value::Entry { key: key.to_owned(), key_span: span, node, used: false };
    let digest = conf::digest(&Map { entries: vec![entry] });
    digest.chars().rev().take(8).collect()
}

/// An export or import in words.
fn in_words(kind: &str, share: &Map) -> Vec<String> {
    let mut values = BTreeMap::new();
    share.entries.iter().for_each(|entry| flatten(&entry.key, &entry.node.value, &mut values));
    let kinds = [ShareKind::Stream.as_str(), ShareKind::Service.as_str()];
    let shares: Vec<String> = match kinds.iter().find(|kind| share.get(kind).is_some()) {
        Some(what) if kind == "exports" => {
            let to = values.remove("accounts").unwrap_or_else(|| "every account".to_owned());
            let subject = values.remove(*what).unwrap_or_default();
            to.split(", ").map(|to| format!("{what} `{subject}` to {to}")).collect()
        }
        Some(what) => {
            let mut inside = |key: &str| values.remove(&format!("{what}.{key}")).unwrap_or_default();
            vec![format!("{what} `{}` of {}", inside("subject"), inside("account"))]
        }
        None => vec![String::new()],
    };
    let more: String = values.into_iter().map(|(key, value)| format!(", {key}: {value}")).collect();
    shares.into_iter().map(|share| format!("{kind} {share}{more}")).collect()
}

fn as_map(value: &Value) -> Option<&Map> {
    match value {
        Value::Map(map) => Some(map),
        _ => None,
    }
}

fn text<'m>(map: &'m Map, key: &str) -> Option<&'m str> {
    match &map.get(key)?.value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// A text, or the texts in a list. Empty if anything else is in it.
fn texts(value: &Value) -> Vec<String> {
    let of = |value: &Value| match value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    };
    match value {
        Value::Array(nodes) => nodes.iter().map(|node| of(&node.value)).collect::<Option<_>>().unwrap_or_default(),
        value => of(value).into_iter().collect(),
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user} ")?;
        }
        match &self.change {
            ConfChange::Added => match self.user {
                // New, or of a tenant that is no longer suspended; and the reverse.
                Some(_) => f.write_str("may now log in"),
                None => f.write_str("new account"),
            },
            ConfChange::Removed => match self.user {
                Some(_) => f.write_str("may no longer log in"),
                None => f.write_str("account is removed, with all its users"),
            },
            ConfChange::Credential => f.write_str("gets a new credential"),
            ConfChange::Rehashed => f.write_str("keeps its password, which is hashed anew"),
            ConfChange::Allowed { side, subjects } => write!(f, "may now {} {}", side.verb(), first_few(subjects)),
            ConfChange::NoLongerAllowed { side, subjects } => {
                write!(f, "may no longer {} {}", side.verb(), first_few(subjects))
            }
            ConfChange::Relisted { side } => {
                write!(f, "may {} what it could, by another list", side.verb())
            }
            ConfChange::Shared { share } => f.write_str(share),
            ConfChange::NoLongerShared { share } => write!(f, "no longer {share}"),
            ConfChange::Value { key, from, to } => {
                let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
                write!(f, "{key}: {} → {}", word(from), word(to))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::tests::conf;

    const OLD: &str = r#"
        max_payload: 1048576
        jetstream { max_file_store: 1073741824, store_dir: "x" }
        accounts {
          A {
            limits { max_connections: 5 }
            users: [
              { user: "app", password: "$2a$1", permissions { publish { allow: ["A.>"] }, subscribe { allow: ["A.x"] } } }
              { nkey: "UKEY", permissions { publish { deny: [">"] } } }
            ]
            exports: [ { stream: "A.public.>", accounts: ["B"] } ]
          }
          B { imports: [ { stream: { account: "A", subject: "A.public.>" } } ] }
        }
    "#;
    const NAMES: &str = "# auditor: role x, nkey\nnkey: \"UKEY\"\n# auditor: role x, nkey\nnkey: \"UNEXT\"\n";

    fn words(from: &str, to: &str) -> Vec<String> {
        assert!(OLD.contains(from), "{from}");
        let [old, new] = [OLD, &OLD.replace(from, to)].map(conf);
        let found = between(&System::read(&old, NAMES), &System::read(&new, NAMES));
        found.iter().map(|d| format!("{}: {d}", d.account.as_deref().unwrap_or("server"))).collect()
    }

    #[test]
    fn each_kind_of_difference_has_its_words() {
        for (from, to, expected) in [
            ("", "", vec![]),
            ("1048576", "2097152", vec!["server: max_payload: 1MiB → 2MiB"]),
            ("1073741824", "2147483648", vec!["server: jetstream.max_file_store: 1GiB → 2GiB"]),
            ("max_payload: 1048576", "", vec!["server: max_payload: 1MiB → none"]),
            ("max_connections: 5", "max_connections: 2", vec!["A: limits.max_connections: 5 → 2"]),
            ("\"A.>\"", "\"A.>\", \"$JS.X\", \"B.y\"", vec!["A: app may now publish B.y, $JS.X"]),
            ("\"A.x\"", "\"A.*\"", vec!["A: app may now subscribe to A.*"]),
            ("[\"A.x\"]", "[\"A.x\", \"A.x\"]", vec![]),
            ("[\"A.>\"]", "[\"A.>\", \"A.b\"]", vec!["A: app may publish what it could, by another list"]),
            ("\"A.x\"", "\"A.y\"", vec!["A: app may now subscribe to A.y", "A: app may no longer subscribe to A.x"]),
            ("$2a$1", "$2a$2", vec!["A: app gets a new credential"]),
            ("UKEY", "UNEXT", vec!["A: auditor gets a new credential"]),
            ("UKEY", "UOTHER", vec!["A: UOTHER may now log in", "A: auditor may no longer log in"]),
            ("deny: [\">\"]", "deny: [\"x\"]", vec!["A: auditor publish.deny: > → x"]),
            ("[\"B\"]", "[\"B\", \"C\"]", vec!["A: exports stream `A.public.>` to C"]),
            (
                "{ stream: { account: \"A\", subject: \"A.public.>\" } }",
                "{ service: { account: \"A\", subject: \"A.q\" }, to: \"q\" }",
                vec!["B: imports service `A.q` of A, to: q", "B: no longer imports stream `A.public.>` of A"],
            ),
            (
                "B { imports",
                "C {}\n B { mappings { x: y }\n imports",
                vec!["B: mappings.x: none → y", "C: new account"],
            ),
        ] {
            assert_eq!(words(from, to), expected, "{from} -> {to}");
        }
        let gone = words("B { imports: [ { stream: { account: \"A\", subject: \"A.public.>\" } } ] }", "");
        assert_eq!(gone, ["B: account is removed, with all its users"]);
    }
}
