//! Data of accounts that no tenant with JetStream has any more: the server keeps it on disk, and
//! its health check fails until it is deleted or the tenant is back.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value as Json;

use super::stats;
use crate::error::Error;
use crate::keys::Login;
use crate::model::Model;

/// The data of one account on the server's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// The account's name.
    pub account: String,
    /// Number of its streams.
    pub streams: usize,
    /// Number of the messages in them. `None`: no server runs the account any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
    /// Size of their files. Bytes.
    pub bytes: u64,
    /// Its folder.
    pub path: PathBuf,
}

/// The data in the server's store of accounts without a tenant that has JetStream. Accounts whose names
/// begin with `$` are the server's own. Empty if the store cannot be read.
pub fn find(store: &Path, model: &Model) -> Vec<Leftover> {
    let declared: HashSet<&str> =
        model.tenants.iter().filter(|tenant| tenant.jetstream.is_some()).map(|tenant| tenant.name.as_str()).collect();
    let is_left = |name: &str| !name.starts_with('$') && !declared.contains(name);
    let mut found: Vec<Leftover> = folders(store)
        .filter_map(|path| {
            let account = path.file_name()?.to_str().filter(|name| is_left(name))?.to_owned();
            let streams = folders(&path.join("streams")).count();
            Some(Leftover { account, streams, messages: None, bytes: size(&path), path })
        })
        .collect();
    found.sort_by(|one, other| one.account.cmp(&other.account));
    found
}

/// Counts the messages of accounts that a server still runs, because it has not read the configuration without them.
pub fn count_messages(found: &mut [Leftover], url: &str, operator: &Login) -> Result<(), Error> {
    let names: Vec<String> = found.iter().map(|leftover| leftover.account.clone()).collect();
    let stats = if names.is_empty() { stats::Found::new() } else { stats::accounts(url, operator, &names)? };
    for leftover in found {
        let of_account = stats.get(&leftover.account).and_then(|(_, jetstream)| jetstream.as_ref());
        let in_memory = |jetstream: &stats::JetStreamStats| jetstream.in_memory.iter().map(|s| s.messages).sum::<u64>();
        leftover.messages = of_account.map(|jetstream| jetstream.messages.saturating_sub(in_memory(jetstream)));
    }
    Ok(())
}

/// Whether the server's store has streams of an account, which come back with it.
pub fn has_streams(store: &Path, account: &str) -> bool {
    folders(&store.join(account).join("streams")).next().is_some()
}

/// The bytes that the streams of an account in the server's store reserve on disk: the sum of their `max_bytes`. Those that
/// cannot be read count nothing.
pub fn reserved(store: &Path, account: &str) -> u64 {
    let streams = store.join(account).join("streams");
    folders(&streams).filter_map(|stream| configuration(&stream)?["max_bytes"].as_u64()).sum()
}

/// The most messages that a durable consumer of an account in the server's store may have unacknowledged.
pub fn most_unacknowledged(store: &Path, account: &str) -> u64 {
    let streams = store.join(account).join("streams");
    let consumers = folders(&streams).flat_map(|stream| folders(&stream.join("obs")).collect::<Vec<_>>());
    let configurations = consumers.filter_map(|consumer| configuration(&consumer));
    let durable = configurations.filter(|config| config["durable_name"].is_string());
    durable.filter_map(|config| config["max_ack_pending"].as_u64()).max().unwrap_or(0)
}

/// The configuration of a stream or consumer in its folder in the server's store.
fn configuration(folder: &Path) -> Option<Json> {
    serde_json::from_str(&fs::read_to_string(folder.join("meta.inf")).ok()?).ok()
}

/// Deletes the data of one account.
pub fn delete(leftover: &Leftover) -> Result<(), Error> {
    fs::remove_dir_all(&leftover.path).map_err(|e| Error::io("remove", &leftover.path, e))
}

/// The folders in a folder, without symbolic links.
fn folders(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

/// The size of all files below a folder.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => size(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::testing::{TWO_TENANTS, model_of};

    #[test]
    fn what_no_tenant_with_jetstream_has_is_left_over() {
        let store = tempfile::tempdir().expect("a folder");
        for path in ["T/streams/S/msgs", "GONE/streams/A", "GONE/streams/B", "$SYS/_js_", "OTHER/streams"] {
            fs::create_dir_all(store.path().join(path)).expect("folders");
        }
        fs::write(store.path().join("GONE/streams/A/1.blk"), [0; 1000]).expect("a file");
        fs::write(store.path().join("file"), "").expect("a file");
        let model = model_of(TWO_TENANTS);
        let path = store.path().join("GONE");
        let gone = Leftover { account: "GONE".into(), streams: 2, messages: None, bytes: 1000, path: path.clone() };
        assert_eq!(find(store.path(), &model), std::slice::from_ref(&gone));
        let mut without = model;
        without.tenants.iter_mut().for_each(|tenant| tenant.jetstream = None);
        let names: Vec<String> = find(store.path(), &without).into_iter().map(|left| left.account).collect();
        assert_eq!(names, ["GONE", "OTHER", "T"]);
        delete(&gone).expect("deleted");
        assert!(!path.exists() && store.path().join("T/streams/S/msgs").exists());
        assert!(find(&store.path().join("none"), &without).is_empty());
    }
}
