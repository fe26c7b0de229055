//! Asking a running server about its accounts, as the system account.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::error::Error;
use crate::keys::Login;
use crate::model::{Model, Tenant};

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
    let client = crate::live::connect_options(operator).connect(url).await.map_err(|e| fail(&e.to_string()))?;
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

/// What a tenant does on the server, beside what it may.
#[derive(Debug, Serialize)]
pub struct TenantStatus {
    /// Its name.
    pub tenant: String,
    /// Connections that it may have.
    pub max_connections: u32,
    /// What its account does.
    #[serde(flatten)]
    pub stats: AccountStats,
    /// What it keeps in JetStream; `None` if it has no JetStream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jetstream: Option<JetStreamStatus>,
    /// Limits of which not much is left.
    pub near_limit: Vec<&'static str>,
}

/// What a tenant keeps in JetStream, beside what it may.
#[derive(Debug, Serialize)]
pub struct JetStreamStatus {
    /// What it keeps.
    #[serde(flatten)]
    pub stats: JetStreamStats,
    /// Streams that it may have.
    pub max_streams: u32,
    /// Bytes that it may keep on disk.
    pub max_storage: u64,
    /// Bytes that it may keep in memory.
    pub max_memory: u64,
}

/// A limit is near from this many percent on.
const NEAR: u64 = 80;

/// Asks the server what each tenant does.
pub fn tenants(url: &str, operator: &Login, model: &Model) -> Result<Vec<TenantStatus>, Error> {
    let names: Vec<String> = model.tenants.iter().map(|t| t.name.to_string()).collect();
    let mut found = accounts(url, operator, &names)?;
    let status = |t: &Tenant| tenant_status(t, found.remove(t.name.as_str()).unwrap_or_default());
    Ok(model.tenants.iter().map(status).collect())
}

fn tenant_status(t: &Tenant, (stats, mut kept): (AccountStats, Option<JetStreamStats>)) -> TenantStatus {
    for copy in &t.stream_exports {
        kept.iter_mut().for_each(|kept| kept.feeds_a_copy(copy.stream.as_str(), copy.consumer().as_str()));
    }
    let jetstream = t.jetstream.zip(kept).map(|(limits, stats)| JetStreamStatus {
        stats,
        max_streams: limits.streams,
        max_storage: limits.storage.bytes(),
        max_memory: limits.memory.bytes(),
    });
    let mut near_limit = Vec::new();
    let mut compare = |what, used: u64, limit: u64| {
        if limit > 0 && used.saturating_mul(100) >= limit.saturating_mul(NEAR) {
            near_limit.push(what);
        }
    };
    compare("connections", stats.connections, t.limits.connections.into());
    if let Some(kept) = &jetstream {
        compare("streams", kept.stats.streams as u64, kept.max_streams.into());
        compare("disk", kept.stats.storage, kept.max_storage);
        compare("memory", kept.stats.memory, kept.max_memory);
    }
    TenantStatus { tenant: t.name.to_string(), max_connections: t.limits.connections, stats, jetstream, near_limit }
}
