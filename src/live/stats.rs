//! Asking a running server about its accounts, as the system account.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::error::Error;
use crate::live::login::Login;

/// How long a server may take to answer.
const LIMIT: Duration = Duration::from_secs(5);

/// What an account does right now.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AccountStats {
    /// Client connections.
    #[serde(rename(deserialize = "conns"), default)]
    pub connections: u64,
    /// Subscriptions.
    #[serde(rename(deserialize = "num_subscriptions"), default)]
    pub subscriptions: u64,
}

/// What an account keeps in JetStream.
#[derive(Debug, Clone, Default, Serialize)]
pub struct JetStreamStats {
    /// Streams, those behind buckets and object stores included.
    pub streams: usize,
    /// Messages in them.
    pub messages: u64,
    /// Bytes on disk.
    pub storage: u64,
    /// Bytes in memory.
    pub memory: u64,
    /// Consumers.
    pub consumers: usize,
    /// Messages that consumers have not delivered yet, or that are not acknowledged.
    pub lag: u64,
    /// Each consumer that is behind.
    pub behind: Vec<Behind>,
}

impl JetStreamStats {
    /// A consumer that feeds a copy acknowledges now and then, by flow control: only
    /// what it has not delivered is behind.
    pub fn feeds_a_copy(&mut self, stream: &str, consumer: &str) {
        for behind in self.behind.iter_mut().filter(|b| b.stream == stream && b.consumer == consumer) {
            self.lag -= std::mem::take(&mut behind.unacknowledged);
        }
        self.behind.retain(|b| b.pending + b.unacknowledged > 0);
    }
}

/// A consumer with messages before it.
#[derive(Debug, Clone, Serialize)]
pub struct Behind {
    /// Its stream.
    pub stream: String,
    /// Its name.
    pub consumer: String,
    /// Messages not delivered yet.
    pub pending: u64,
    /// Messages delivered and not acknowledged.
    pub unacknowledged: u64,
}

/// What accounts do and keep.
pub type Found = BTreeMap<String, (AccountStats, Option<JetStreamStats>)>;

/// Connections, subscriptions and JetStream by account.
pub fn accounts(url: &str, operator: &Login, names: &[String]) -> Result<Found, Error> {
    super::runtime()?.block_on(async { tokio::time::timeout(LIMIT, ask(url, operator, names)).await }).unwrap_or_else(
        |_| Err(Error::server(format!("{url} did not answer within {} s", LIMIT.as_secs()), "is it another server?")),
    )
}

async fn ask(url: &str, operator: &Login, names: &[String]) -> Result<Found, Error> {
    let fail = |what: &str| {
        let message = format!("cannot ask {url} as the system account: {what}");
        Error::server(message, "was it started from this registry and root key? `tenantry up` reloads it")
    };
    let client = operator.options().connect(url).await.map_err(|e| fail(&e.to_string()))?;
    let body = json!({ "accounts": names, "include_unused": true }).to_string();
    let reply = client.request("$SYS.REQ.ACCOUNT.PING.STATZ", body.into()).await.map_err(|e| fail(&e.to_string()))?;
    #[derive(Deserialize)]
    struct Reply {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        account_statz: Vec<Named>,
    }
    #[derive(Deserialize)]
    struct Named {
        acc: String,
        #[serde(flatten)]
        stats: AccountStats,
    }
    let reply: Reply = serde_json::from_slice(&reply.payload).map_err(|e| fail(&e.to_string()))?;
    let connected: BTreeMap<String, AccountStats> =
        reply.data.account_statz.into_iter().map(|n| (n.acc, n.stats)).collect();
    let each = stream::iter(names.iter().cloned()).map(|name| {
        let (client, stats) = (client.clone(), connected.get(&name).cloned().unwrap_or_default());
        async move {
            let kept = jetstream(&client, &name).await;
            (name, (stats, kept))
        }
    });
    Ok(each.buffer_unordered(AT_ONCE).collect().await)
}

/// Accounts that are asked about at a time.
const AT_ONCE: usize = 64;

/// What an account keeps; nothing if it has no JetStream.
async fn jetstream(client: &async_nats::Client, account: &str) -> Option<JetStreamStats> {
    let body = json!({ "streams": true, "consumer": true }).to_string();
    let reply = client.request(format!("$SYS.REQ.ACCOUNT.{account}.JSZ"), body.into()).await.ok()?;
    let reply: Json = serde_json::from_slice(&reply.payload).ok()?;
    let data = reply["data"].as_object()?;
    let number = |value: &Json| value.as_u64().unwrap_or_default();
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let mut stats = JetStreamStats {
        storage: data.get("storage").map(number).unwrap_or_default(),
        memory: data.get("memory").map(number).unwrap_or_default(),
        ..JetStreamStats::default()
    };
    for stream in data.get("stream_detail").and_then(Json::as_array).into_iter().flatten() {
        stats.streams += 1;
        stats.messages += number(&stream["state"]["messages"]);
        for consumer in stream["consumer_detail"].as_array().into_iter().flatten() {
            stats.consumers += 1;
            let (pending, unacknowledged) = (number(&consumer["num_pending"]), number(&consumer["num_ack_pending"]));
            stats.lag += pending + unacknowledged;
            if pending + unacknowledged > 0 {
                let (stream, consumer) = (text(&stream["name"]), text(&consumer["name"]));
                stats.behind.push(Behind { stream, consumer, pending, unacknowledged });
            }
        }
    }
    Some(stats)
}
