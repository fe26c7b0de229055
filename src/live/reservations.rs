//! What a running server reserves for its accounts' JetStream. It keeps the reservations of accounts that are removed
//! until it restarts, and reloads what does not fit beside them: then it takes JetStream from accounts of its choice.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::diag::first_few;
use crate::error::Error;
use crate::keys::Login;
use crate::model::Model;

/// Time limit for all answers together.
const LIMIT: Duration = Duration::from_secs(20);
/// Number of accounts in one answer.
const PAGE: usize = 1024;

/// Bytes in memory and on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// Bytes in memory.
    pub memory: u64,
    /// Bytes on disk.
    pub storage: u64,
}

/// Reservations by account.
pub type Reservations = BTreeMap<String, Reserved>;

/// What a running server holds of accounts with JetStream, those included that it no longer has.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Held {
    /// What it reserves for each.
    pub reserved: Reservations,
    /// Those with streams that were removed while it ran, whether or not they are back.
    pub removed: BTreeSet<String>,
    /// What was noted of accounts of which it says nothing, because they have no JetStream any more.
    #[serde(skip)]
    pub unreported: Reservations,
}

impl Held {
    /// Adds what the server is told next. `has_streams`: whether there are streams of an account on its disk.
    pub fn change(&mut self, model: &Model, has_streams: impl Fn(&str) -> bool) {
        let there: HashSet<&str> = model.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
        let gone = self.reserved.keys().filter(|account| !there.contains(account.as_str()) && has_streams(account));
        self.removed.extend(gone.cloned());
        self.reserved.extend(wanted(model));
    }
}

/// What the server reserves for each account that it has had since it started.
pub fn reserved(url: &str, operator: &Login) -> Result<Reservations, Error> {
    super::runtime()?.block_on(async { tokio::time::timeout(LIMIT, ask(url, operator)).await }).unwrap_or_else(|_| {
        Err(Error::server(format!("{url} did not answer within {} s", LIMIT.as_secs()), "is it another server?"))
    })
}

async fn ask(url: &str, operator: &Login) -> Result<Reservations, Error> {
    let fail = |what: &str| {
        let message = format!("cannot ask {url} for JetStream's reservations: {what}");
        Error::server(message, "was it started from this registry and root key?")
    };
    let client = crate::live::connect_options(operator).connect(url).await.map_err(|e| fail(&e.to_string()))?;
    let mut held = Reservations::new();
    for offset in (0..).step_by(PAGE) {
        let body = json!({ "accounts": true, "limit": PAGE, "offset": offset }).to_string();
        let reply = client.request("$SYS.REQ.SERVER.PING.JSZ", body.into()).await.map_err(|e| fail(&e.to_string()))?;
        let reply: Json = serde_json::from_slice(&reply.payload).map_err(|e| fail(&e.to_string()))?;
        let page = reply["data"]["account_details"].as_array().map(Vec::as_slice).unwrap_or_default();
        let bytes = |value: &Json| value.as_u64().unwrap_or_default();
        held.extend(page.iter().filter_map(|account| {
            let reserved =
                Reserved { memory: bytes(&account["reserved_memory"]), storage: bytes(&account["reserved_storage"]) };
            Some((account["name"].as_str()?.to_owned(), reserved))
        }));
        if page.len() < PAGE {
            break;
        }
    }
    Ok(held)
}

/// What the tenants of a model reserve.
pub fn wanted(model: &Model) -> Reservations {
    let of = |tenant: &crate::model::Tenant| {
        let js = tenant.jetstream?;
        Some((tenant.name.to_string(), Reserved { memory: js.memory.bytes(), storage: js.storage.bytes() }))
    };
    model.tenants.iter().filter_map(of).collect()
}

/// Why what is wanted does not fit beside what the server holds, as the end of "the server needs a restart for".
/// `again`: accounts that have no JetStream and get it again: the server counts what it holds of them beside what they get.
/// `None`: it fits, in whatever order the server looks at the accounts.
pub fn conflict(
    held: &Reservations,
    wanted: &Reservations,
    again: &BTreeSet<&str>,
    available: Reserved,
) -> Option<String> {
    let accounts: BTreeSet<&String> = held.keys().chain(wanted.keys()).collect();
    let sum = |of: fn(&Reserved) -> u64| -> u64 {
        let counted = |account: &&String| {
            let both = [held, wanted].map(|r| r.get(*account).map_or(0, of)).into_iter();
            if again.contains(account.as_str()) { both.sum() } else { both.max().unwrap_or(0) }
        };
        accounts.iter().map(counted).sum::<u64>()
    };
    let is_gone = |account: &&str| !wanted.contains_key(*account) || again.contains(account);
    let removed: Vec<&str> = held.keys().map(String::as_str).filter(is_gone).collect();
    let kept = if removed.is_empty() {
        "it lets go of what accounts give up after a reload only (none is needed if some are lowered first, and others raised after \
         that)"
            .to_owned()
    } else {
        let verb = if removed.len() == 1 { "reserves" } else { "reserve" };
        format!("{} no longer {verb} any, and it lets go of that at a restart only", first_few(&removed))
    };
    let of_kind = |kind: &str, needed: u64, available: u64| {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        (needed > available).then(|| {
            format!(
                "JetStream's {kind}: {} MiB of {} MiB would be reserved, because {kept}",
                mib(needed),
                mib(available)
            )
        })
    };
    of_kind("storage", sum(|r| r.storage), available.storage)
        .or_else(|| of_kind("memory", sum(|r| r.memory), available.memory))
}

/// The accounts that come back, as the end of "the server needs a restart for": it holds on to what it had of them, and
/// streams of theirs store nothing any more. `running`: the accounts of its configuration, if it is known. `has_streams`:
/// whether there are streams of an account on its disk. `None`: there are none.
pub fn back(
    held: &Held,
    wanted: &Reservations,
    running: Option<&BTreeSet<String>>,
    has_streams: impl Fn(&str) -> bool,
) -> Option<String> {
    let is_gone = |account: &&String| {
        held.reserved.contains_key(*account)
            && running.is_some_and(|running| !running.contains(*account))
            && has_streams(account)
    };
    let back = wanted.keys().filter(|account| is_gone(account) || held.removed.contains(*account));
    let names: Vec<&str> = back.map(String::as_str).collect();
    let verb = if names.len() == 1 { "was" } else { "were" };
    (!names.is_empty()).then(|| {
        format!("the streams of {}, which {verb} removed while it ran: they would store nothing", first_few(&names))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(accounts: &[(&str, u64)]) -> Reservations {
        let reserved = |mib: &u64| Reserved { memory: 0, storage: mib << 20 };
        accounts.iter().map(|(name, mib)| ((*name).to_owned(), reserved(mib))).collect()
    }

    #[test]
    fn removed_and_shrunk_accounts_count_as_much_as_the_server_holds() {
        let available = Reserved { memory: 0, storage: 1024 << 20 };
        let held = of(&[("A", 100), ("B", 300), ("C", 300), ("GONE", 300)]);
        for (wanted, expected) in [
            (of(&[("A", 100), ("B", 300), ("C", 300)]), None),
            (of(&[("A", 100), ("B", 300), ("C", 300), ("NEW", 24)]), None),
            (of(&[("A", 100), ("B", 300), ("C", 300), ("NEW", 25)]), Some("1025 MiB of 1024 MiB")),
            (of(&[("A", 100), ("B", 100), ("C", 300), ("NEW", 200)]), Some("GONE no longer reserves")),
            (of(&[("A", 125), ("B", 300), ("C", 300)]), Some("storage")),
        ] {
            let found = conflict(&held, &wanted, &BTreeSet::new(), available);
            assert_eq!(found.is_some(), expected.is_some(), "{wanted:?}: {found:?}");
            assert!(found.is_none_or(|why| why.contains(expected.unwrap_or_default())), "{wanted:?}");
        }
        let shrunk =
            conflict(&of(&[("A", 600), ("B", 400)]), &of(&[("A", 400), ("B", 600)]), &BTreeSet::new(), available);
        assert!(shrunk.is_some_and(|why| why.contains("after a reload only")));
    }
}
