//! Whether a running server must reload or restart to pick up the rendered configuration.

use std::collections::BTreeSet;

use crate::conf;
use crate::conf::value::{Map, Value};

/// The steps from the configuration that a server runs to the one rendered now. The
/// default, with everything false, means that nothing differs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReloadPlan {
    /// Whether the server must reload its configuration.
    pub reload: bool,
    /// Whether a reload is not enough. A restart disconnects every client.
    pub restart: bool,
    /// Users whose clients a reload disconnects, as `ACCOUNT/LOGIN`, where the login is a
    /// user name or public nkey. `None` if unknown, because the configuration that the
    /// server read has been overwritten.
    pub disconnects: Option<Vec<String>>,
    /// Keys of the main configuration file whose changes need a restart.
    pub because: Vec<String>,
}

/// Keys of the main configuration file that nats-server applies on a reload
/// (server/reload.go).
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
/// Keys of the `jetstream` block that nats-server applies on a reload if the value grows.
const GROWING: [&str; 2] = ["max_memory_store", "max_file_store"];

/// Compares two complete configurations. `is_read`: the server has read exactly the old
/// one, so the disconnected users are known.
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

/// Every user that may log in, as `ACCOUNT/LOGIN` and a digest of the password: a changed
/// password disconnects the user's clients.
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
