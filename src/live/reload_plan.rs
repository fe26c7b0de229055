//! Whether a running server must reload or restart to pick up the rendered configuration.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use super::conf_difference::{ConfChange, Difference, differences};
use super::conf_folder::LoadedConf;
use super::process::PreparedConf;
use crate::conf;
use crate::conf::value::{Map, Value};
use crate::render::accounts::names_of_nkeys;

/// The steps from the configuration that a server runs to the one rendered now. The
/// default, with everything false, means that nothing differs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReloadPlan {
    /// Whether the server must reload its configuration.
    pub reload: bool,
    /// Whether a reload is not enough. A restart disconnects every client.
    pub restart: bool,
    /// Users whose clients a reload disconnects, as `ACCOUNT/USER`. `None` if unknown, because the configuration that the
    /// server read has been overwritten.
    pub disconnects: Option<Vec<String>>,
    /// Users who are new or get another credential, as `ACCOUNT/LOGIN`, where the login is a user name or public nkey.
    pub connects: Vec<String>,
    /// Users among both of them whose password has another hash. The password may be the same.
    pub rehashed: Vec<Rehashed>,
    /// Limits of connections that are lower than they are now: the server disconnects clients above them.
    pub lowered: Vec<Lowered>,
    /// Keys of the main configuration file whose changes need a restart.
    pub because: Vec<String>,
    /// Where the server is to store its streams, if that is elsewhere than now: those of now stay where they are.
    pub new_store: Option<PathBuf>,
    /// What differs. `None` if unknown.
    pub differences: Option<Vec<Difference>>,
    /// The accounts of the old configuration. `None` if unknown.
    pub accounts: Option<BTreeSet<String>>,
}

/// A limit of connections that is lower than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lowered {
    /// Whose it is. `None`: of the whole server.
    pub account: Option<String>,
    /// What is allowed.
    pub allowed: i64,
}

/// The key of the limit of connections, of the server and of accounts.
const CONNECTIONS: &str = "max_connections";

/// A user whose password has another hash than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehashed {
    /// `ACCOUNT/LOGIN`.
    pub login: String,
    /// The hash before.
    pub old: String,
    /// The hash after.
    pub new: String,
}

impl Rehashed {
    /// Whether the hashes have one salt. A derived password has its own one: then it is the same password.
    pub fn has_one_salt(&self) -> bool {
        let salt = |hash: &str| hash.rsplit('$').next().and_then(|rest| rest.get(..22)).map(str::to_owned);
        salt(&self.old).is_some_and(|old| Some(old) == salt(&self.new))
    }
}

impl ReloadPlan {
    /// Nothing differs.
    pub fn nothing() -> Self {
        Self { disconnects: Some(Vec::new()), differences: Some(Vec::new()), ..Self::default() }
    }

    /// Describes where streams are if the server is to store them elsewhere. `None`: it is not.
    pub fn leaves_streams(&self) -> Option<String> {
        let folder = self.new_store.as_ref()?.display();
        Some(format!("streams that are not in {folder} begin empty there; what is stored now stays where it is"))
    }

    /// Whether an account is new, or gets JetStream.
    pub fn begins_jetstream(&self, account: &str) -> bool {
        let is_of_account =
            |difference: &&Difference| difference.account.as_deref() == Some(account) && difference.user.is_none();
        self.differences.iter().flatten().filter(is_of_account).any(|difference| match &difference.change {
            ConfChange::Added => true,
            ConfChange::Value { key, from: None, .. } => key.starts_with("jetstream."),
            _ => false,
        })
    }

    /// Whether an account gets another limit of what its streams may reserve, or its consumers leave unacknowledged.
    pub fn changes_storage(&self, account: &str) -> bool {
        self.differences.iter().flatten().any(|difference| {
            let is_limit = matches!(&difference.change, ConfChange::Value { key, .. }
                if matches!(key.as_str(), "jetstream.max_store" | "jetstream.max_memory" | "jetstream.max_ack_pending"));
            is_limit && difference.account.as_deref() == Some(account)
        })
    }

    /// The accounts that are removed, or lose limits of JetStream. `None`: what the server runs is not known.
    pub fn accounts_without_jetstream(&self) -> Option<impl Iterator<Item = &str>> {
        let ends = |difference: &&Difference| match &difference.change {
            _ if difference.user.is_some() => false,
            ConfChange::Removed => true,
            ConfChange::Value { key, to: None, .. } => key.starts_with("jetstream."),
            _ => false,
        };
        let differences = self.differences.as_ref()?.iter();
        Some(differences.filter(ends).filter_map(|difference| difference.account.as_deref()))
    }

    /// Takes note that a user's password is the same and only its hash differs, which disconnects nobody.
    pub fn keeps_password(&mut self, login: &str) {
        self.disconnects.iter_mut().for_each(|logins| logins.retain(|other| other != login));
        self.connects.retain(|other| other != login);
        let Some((account, user)) = login.split_once('/') else { return };
        for difference in self.differences.iter_mut().flatten() {
            if difference.account.as_deref() == Some(account)
                && difference.user.as_deref() == Some(user)
                && difference.change == ConfChange::Credential
            {
                difference.change = ConfChange::Rehashed;
            }
        }
    }
}

/// Keys of the main configuration file that nats-server applies on a reload
/// (server/reload.go).
const RELOADED: [&str; 16] = [
    "max_payload",
    "max_connections",
    "write_deadline",
    "no_fast_producer_stall",
    "debug",
    "trace",
    "logtime",
    "logtime_utc",
    "accounts",
    "client_advertise",
    "connect_error_reports",
    "max_control_line",
    "max_traced_msg_len",
    "ping_interval",
    "ping_max",
    "server_tags",
];
/// Keys of the `jetstream` block that nats-server applies on a reload if the value grows.
const GROWING: [&str; 2] = ["max_memory_store", "max_file_store"];
/// The path of the folder in which streams are stored.
const STORE: &str = "jetstream.store_dir";
/// The key of the `jetstream` block that it applies whatever the value.
const LIMITS: &str = "limits";

/// Compares what a server runs with what is rendered now. `None`: what it runs is not known.
pub fn compare(old: Option<&LoadedConf>, new: &PreparedConf) -> ReloadPlan {
    let Some(old) = old else { return ReloadPlan { reload: true, ..ReloadPlan::default() } };
    let mut plan = compare_values(&old.values, &new.values);
    plan.differences = Some(differences(old, new));
    let names = names_of_nkeys(&old.accounts);
    for login in plan.disconnects.iter_mut().flatten() {
        if let Some((account, key)) = login.split_once('/')
            && let Some(name) = names.get(key)
        {
            *login = format!("{account}/{name}");
        }
    }
    plan
}

/// Compares two complete configurations.
fn compare_values(old: &Map, new: &Map) -> ReloadPlan {
    let mut because = changed(old, new);
    if let (Some(Value::Map(old)), Some(Value::Map(new))) = (value(old, "jetstream"), value(new, "jetstream")) {
        let shrinks = |key: &String| match (value(old, key), value(new, key)) {
            (Some(Value::Integer(old)), Some(Value::Integer(new))) => !GROWING.contains(&key.as_str()) || new < old,
            _ => true,
        };
        let inside = changed(old, new)
            .into_iter()
            .filter(|key| key != LIMITS)
            .filter(shrinks)
            .map(|key| format!("jetstream.{key}"));
        because.retain(|key| key != "jetstream");
        because.extend(inside);
    }
    let new_store = match value(new, "jetstream") {
        Some(Value::Map(jetstream)) if because.iter().any(|key| key == STORE) => match value(jetstream, "store_dir") {
            Some(Value::Text(folder)) => Some(PathBuf::from(folder)),
            _ => None,
        },
        _ => None,
    };
    let (before, after) = (logins(old), logins(new));
    let hashes: HashMap<&String, &String> = after.iter().map(|(login, hash)| (login, hash)).collect();
    let rehashed = before.difference(&after).filter_map(|(login, old)| {
        let new = hashes.get(login)?;
        Some(Rehashed { login: login.clone(), old: old.clone(), new: (*new).clone() })
    });
    let names = |logins: Vec<&(String, String)>| logins.into_iter().map(|(login, _)| login.clone()).collect();
    ReloadPlan {
        reload: true,
        restart: !because.is_empty(),
        disconnects: Some(names(before.difference(&after).collect())),
        connects: names(after.difference(&before).collect()),
        rehashed: rehashed.collect(),
        lowered: lowered(old, new),
        because,
        new_store,
        differences: None,
        accounts: Some(accounts(old).map(|(name, _)| name.to_owned()).collect()),
    }
}

/// The limits of connections that are lower than they were.
fn lowered(old: &Map, new: &Map) -> Vec<Lowered> {
    let limit = |map: &Map, key: &str| match value(map, key) {
        Some(Value::Integer(most)) if *most >= 0 => Some(*most),
        _ => None,
    };
    let of_account = |account: &Map, key: &str| match value(account, "limits") {
        Some(Value::Map(limits)) => limit(limits, key),
        _ => None,
    };
    // No limit is above every limit.
    let is_lower = |old: Option<i64>, new: i64| old.is_none_or(|old| new < old);
    let mut found = Vec::new();
    if let Some(allowed) = limit(new, CONNECTIONS).filter(|allowed| is_lower(limit(old, CONNECTIONS), *allowed)) {
        found.push(Lowered { account: None, allowed });
    }
    let before: HashMap<&str, &Map> = accounts(old).collect();
    for (name, account) in accounts(new) {
        let Some(old) = before.get(name) else { continue };
        let is_lower = |allowed: &i64| is_lower(of_account(old, CONNECTIONS), *allowed);
        if let Some(allowed) = of_account(account, CONNECTIONS).filter(is_lower) {
            found.push(Lowered { account: Some(name.to_owned()), allowed });
        }
    }
    found
}

fn value<'m>(map: &'m Map, key: &str) -> Option<&'m Value> {
    map.get(key).map(|node| &node.value)
}

/// Keys whose values differ, except those that a reload applies.
fn changed(old: &Map, new: &Map) -> Vec<String> {
    let keys: BTreeSet<&str> = old.entries.iter().chain(&new.entries).map(|e| e.key.as_str()).collect();
    // Compares digests, which ignore the position of a value in its file.
    let alone = |map: &Map, key: &str| {
        let entries = map.entries.iter().filter(|e| e.key == key).cloned().collect();
        conf::digest(&Map { entries })
    };
    let keys = keys.into_iter().filter(|key| !RELOADED.contains(key));
    keys.filter(|key| alone(old, key) != alone(new, key)).map(str::to_owned).collect()
}

/// The accounts by name.
fn accounts(map: &Map) -> impl Iterator<Item = (&str, &Map)> {
    let accounts = match value(map, "accounts") {
        Some(Value::Map(accounts)) => accounts.entries.as_slice(),
        _ => &[],
    };
    accounts.iter().filter_map(|entry| match &entry.node.value {
        Value::Map(account) => Some((entry.key.as_str(), account)),
        _ => None,
    })
}

/// Every user that may log in, as `ACCOUNT/LOGIN` and the hash of the password, which is empty for a key: another
/// password disconnects the user's clients.
fn logins(map: &Map) -> BTreeSet<(String, String)> {
    let mut logins = BTreeSet::new();
    for (name, account) in accounts(map) {
        let Some(Value::Array(users)) = value(account, "users") else { continue };
        for user in users {
            let Value::Map(user) = &user.value else { continue };
            if let Some(Value::Text(login)) = value(user, "nkey").or_else(|| value(user, "user")) {
                let password =
                    value(user, "password").map_or("", |hash| if let Value::Text(hash) = hash { hash } else { "" });
                logins.insert((format!("{name}/{login}"), password.to_owned()));
            }
        }
    }
    logins
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::conf::ConfFiles;
    use crate::project::tests::conf;

    const OLD: &str = r#"
        listen: "127.0.0.1:4222"
        max_payload: 1024
        debug: false
        jetstream { store_dir: "data", max_memory_store: 1024, max_file_store: 4096 }
        accounts {
          A { users: [ { user: "app", password: "$2a$first" }, { nkey: "UFIRST" } ] }
          B { users: [ { user: "app", password: "$2a$other" } ] }
        }
    "#;

    /// Compares the configuration above with one in which a text is replaced.
    fn compare_with(from: &str, to: &str) -> ReloadPlan {
        assert!(OLD.contains(from), "{from}");
        compare_values(&conf(OLD), &conf(&OLD.replace(from, to)))
    }

    fn none() -> ReloadPlan {
        let accounts = Some(["A", "B"].map(str::to_owned).into());
        ReloadPlan { reload: true, disconnects: Some(Vec::new()), accounts, ..ReloadPlan::default() }
    }

    #[test]
    fn an_equal_configuration_disconnects_no_client() {
        assert_eq!(compare_values(&conf(OLD), &conf(OLD)), none());
        let other_layout = OLD.replace("debug: false\n", "\n\n# a comment\ndebug = off\n");
        assert_eq!(compare_values(&conf(OLD), &conf(&other_layout)), none());
    }

    #[test]
    fn a_reload_disconnects_users_that_are_removed_or_have_another_secret() {
        let cases = [
            (r#"{ user: "app", password: "$2a$first" }, "#, "", Some("A/app"), None),
            (r#", { nkey: "UFIRST" }"#, "", Some("A/UFIRST"), None),
            ("$2a$first", "$2a$second", Some("A/app"), Some("A/app")),
            ("UFIRST", "USECOND", Some("A/UFIRST"), Some("A/USECOND")),
            ("$2a$other", "$2a$second", Some("B/app"), Some("B/app")),
            // A new user disconnects no client.
            (r#"{ nkey: "UFIRST" }"#, r#"{ nkey: "UFIRST" }, { nkey: "UNEW" }"#, None, Some("A/UNEW")),
        ];
        for (from, to, gone, new) in cases {
            let plan = ReloadPlan { rehashed: Vec::new(), ..compare_with(from, to) };
            let list = |login: Option<&str>| login.map(str::to_owned).into_iter().collect::<Vec<_>>();
            let expected = ReloadPlan { disconnects: Some(list(gone)), connects: list(new), ..none() };
            assert_eq!(plan, expected, "{from} -> {to}");
        }
    }

    #[test]
    fn another_hash_of_the_same_password_disconnects_nobody() {
        let salt = "a".repeat(22);
        let hash = |cost: &str, salt: &str| format!("$2a${cost}${salt}{}", "h".repeat(31));
        for (new, is_one) in [(hash("08", &salt), true), (hash("04", &"b".repeat(22)), false)] {
            let old = OLD.replace("$2a$first", &hash("04", &salt));
            let mut plan = compare_values(&conf(&old), &conf(&OLD.replace("$2a$first", &new)));
            assert_eq!(plan.rehashed.iter().map(Rehashed::has_one_salt).collect::<Vec<_>>(), [is_one]);
            assert_eq!(plan.disconnects, Some(vec!["A/app".to_owned()]));
            plan.keeps_password("A/app");
            assert_eq!((plan.disconnects, plan.connects), (Some(Vec::new()), Vec::new()));
        }
    }

    #[test]
    fn lower_limits_of_clients_are_told() {
        let with = |server: &str, account: &str| {
            let text = OLD.replace("debug: false", server).replace("B { users", &format!("B {{ {account}\n users"));
            conf(&text)
        };
        let connections = |account: Option<&str>, allowed| Lowered { account: account.map(str::to_owned), allowed };
        for (old, new, lowered) in [
            (("", ""), ("max_connections: 5", ""), vec![connections(None, 5)]),
            (("max_connections: 5", ""), ("max_connections: 6", ""), vec![]),
            (
                ("", "limits { max_connections: 4 }"),
                ("", "limits { max_connections: 2 }"),
                vec![connections(Some("B"), 2)],
            ),
            (("", "limits { max_connections: 4 }"), ("", "limits { max_connections: -1 }"), vec![]),
            (
                ("", "limits { max_payload: 4 }"),
                ("", "limits { max_connections: 4, max_subscriptions: 3 }"),
                vec![connections(Some("B"), 4)],
            ),
        ] {
            assert_eq!(compare_values(&with(old.0, old.1), &with(new.0, new.1)).lowered, lowered, "{old:?} {new:?}");
        }
    }

    #[test]
    fn without_what_the_server_runs_only_the_reload_is_known() {
        let new = PreparedConf {
            files: ConfFiles { main: String::new(), accounts: String::new() },
            values: conf(OLD),
            digest: String::new(),
        };
        assert_eq!(compare(None, &new), ReloadPlan { reload: true, ..ReloadPlan::default() });
        assert_eq!(ReloadPlan::default().disconnects, None);
        let key = "# app: role app, nkey\nnkey: \"UFIRST\"\n# b: role app, nkey\nnkey: \"UOTHER\"";
        let old =
            LoadedConf { values: conf(&OLD.replace("UFIRST", "UGONE")), accounts: key.replace("UFIRST", "UGONE") };
        let plan = compare(Some(&old), &new);
        assert_eq!((plan.disconnects, plan.connects), (Some(vec!["A/app".into()]), vec!["A/UFIRST".into()]));
    }

    #[test]
    fn a_key_that_a_reload_does_not_apply_needs_a_restart() {
        let restart = |because: &str| ReloadPlan { restart: true, because: vec![because.to_owned()], ..none() };
        let elsewhere = compare_with(r#"store_dir: "data""#, r#"store_dir: "elsewhere""#);
        assert_eq!(elsewhere.new_store.as_deref(), Some(Path::new("elsewhere")));
        assert_eq!(ReloadPlan { new_store: None, ..elsewhere }, restart("jetstream.store_dir"));
        let cases = [
            ("127.0.0.1:4222", "127.0.0.1:4223", Some("listen")),
            (r#"listen: "127.0.0.1:4222""#, "", Some("listen")),
            ("debug: false", "debug: false\nhttp: \"127.0.0.1:8222\"", Some("http")),
            (r#"store_dir: "data", "#, "", Some("jetstream.store_dir")),
            ("max_payload: 1024", "max_payload: 2048", None),
            ("max_payload: 1024", "", None),
            ("debug: false", "debug: true", None),
        ];
        for (from, to, because) in cases {
            assert_eq!(compare_with(from, to), because.map_or_else(none, restart), "{from} -> {to}");
        }
    }

    #[test]
    fn a_store_grows_with_a_reload_and_shrinks_with_a_restart() {
        for key in GROWING {
            let size = if key == "max_file_store" { 4096 } else { 1024 };
            let with = |new: u32| compare_with(&format!("{key}: {size}"), &format!("{key}: {new}"));
            assert_eq!((with(size), with(size + 1)), (none(), none()), "{key}");
            assert_eq!(with(size - 1).because, [format!("jetstream.{key}")]);
        }
        let removed = compare_with(", max_file_store: 4096", "");
        assert_eq!((removed.restart, removed.because), (true, vec!["jetstream.max_file_store".to_owned()]));
    }

    #[test]
    fn limits_of_jetstream_for_all_accounts_are_reloaded() {
        let with = |limits: &str| OLD.replace("store_dir: \"data\",", &format!("store_dir: \"data\", {limits}"));
        let (few, many) = (
            with("limits { batch { max_inflight_total: 10 } },"),
            with("limits { batch { max_inflight_total: 20 } },"),
        );
        for (old, new) in [(OLD, few.as_str()), (&few, &many), (&many, OLD)] {
            assert_eq!(compare_values(&conf(old), &conf(new)), none());
        }
    }

    #[test]
    fn jetstream_is_turned_on_and_off_by_a_restart() {
        let block = r#"jetstream { store_dir: "data", max_memory_store: 1024, max_file_store: 4096 }"#;
        let without = OLD.replace(block, "");
        for (old, new) in [(OLD, without.as_str()), (&without, OLD)] {
            let plan = compare_values(&conf(old), &conf(new));
            assert_eq!((plan.restart, plan.because), (true, vec!["jetstream".to_owned()]));
        }
        assert_eq!(compare_values(&conf(&without), &conf(&without)), none());
    }
}
