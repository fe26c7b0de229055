//! What a running server has to do before it runs what the registry says.

use std::collections::BTreeSet;

use crate::conf;
use crate::conf::value::{Map, Value};

/// The difference between what a server runs and what would be rendered now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReloadPlan {
    /// Whether it has to read its configuration again.
    pub reload: bool,
    /// Whether that is not enough: a restart disconnects everybody.
    pub restart: bool,
    /// Whom a reload disconnects, as `ACCOUNT/LOGIN`; unknown if the files that the
    /// server read are not there any more.
    pub disconnects: Option<Vec<String>>,
    /// The keys for which it takes a restart.
    pub because: Vec<String>,
}

/// Keys of the main file that nats-server takes in by a reload (server/reload.go).
/// JetStream's sizes only if they grow.
const RELOADED: [&str; 9] = [
    "max_payload",
    "max_connections",
    "write_deadline",
    "no_fast_producer_stall",
    "debug",
    "trace",
    "logtime",
    "logtime_utc",
    "accounts",
];
const GROWING: [&str; 2] = ["max_memory_store", "max_file_store"];

/// Compares two whole configurations. `is_read` says whether the server has read
/// exactly the old one.
pub fn compare(old: &Map, new: &Map, is_read: bool) -> ReloadPlan {
    let mut because = changed(old, new);
    if let (Some(Value::Map(old)), Some(Value::Map(new))) = (value(old, "jetstream"), value(new, "jetstream")) {
        let shrinks = |key: &String| match (value(old, key), value(new, key)) {
            (Some(Value::Integer(old)), Some(Value::Integer(new))) => !GROWING.contains(&key.as_str()) || new < old,
            _ => true,
        };
        let inside = changed(old, new).into_iter().filter(shrinks).map(|key| format!("jetstream.{key}"));
        because.retain(|key| key != "jetstream");
        because.extend(inside);
    }
    let name = |login: &(String, String)| login.0.clone();
    let gone = || logins(old).difference(&logins(new)).map(name).collect();
    ReloadPlan { reload: true, restart: !because.is_empty(), disconnects: is_read.then(gone), because }
}

fn value<'m>(map: &'m Map, key: &str) -> Option<&'m Value> {
    map.get(key).map(|node| &node.value)
}

/// The keys that mean something else, but for those that a reload takes in.
fn changed(old: &Map, new: &Map) -> Vec<String> {
    let keys: BTreeSet<&str> = old.entries.iter().chain(&new.entries).map(|e| e.key.as_str()).collect();
    // Where they stand does not matter, so they are compared as the server's digest sees them.
    let alone = |map: &Map, key: &str| {
        let entries = map.entries.iter().filter(|e| e.key == key).cloned().collect();
        conf::digest(&Map { entries })
    };
    let keys = keys.into_iter().filter(|key| !RELOADED.contains(key));
    keys.filter(|key| alone(old, key) != alone(new, key)).map(str::to_owned).collect()
}

/// Everybody who may log in, each with a digest of the password: a new one ends the
/// connections of the old one.
fn logins(map: &Map) -> BTreeSet<(String, String)> {
    let mut logins = BTreeSet::new();
    let Some(Value::Map(accounts)) = value(map, "accounts") else { return logins };
    for entry in &accounts.entries {
        let Value::Map(account) = &entry.node.value else { continue };
        let Some(Value::Array(users)) = value(account, "users") else { continue };
        for user in users {
            let Value::Map(user) = &user.value else { continue };
            if let Some(Value::Text(login)) = value(user, "nkey").or_else(|| value(user, "user")) {
                let password = user.entries.iter().filter(|e| e.key == "password").cloned().collect();
                logins.insert((format!("{}/{login}", entry.key), conf::digest(&Map { entries: password })));
            }
        }
    }
    logins
}
