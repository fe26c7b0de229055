//! Asks a running server for statistics of its accounts, as the system account.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::reload_plan::Lowered;
use crate::error::Error;
use crate::keys::Login;
use crate::model::{Model, Tenant};

/// Time limit for all answers together.
const LIMIT: Duration = Duration::from_secs(5);

/// Current connections and subscriptions of an account.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AccountStats {
    /// Number of client connections.
    #[serde(rename(deserialize = "conns"), default)]
    pub connections: u64,
    /// Number of subscriptions.
    #[serde(rename(deserialize = "num_subscriptions"), default)]
    pub subscriptions: u64,
}

/// JetStream usage of an account.
#[derive(Debug, Clone, Default, Serialize)]
pub struct JetStreamStats {
    /// Number of streams, including those of buckets and object stores.
    pub streams: usize,
    /// Number of messages in all streams.
    pub messages: u64,
    /// Bytes on disk.
    pub storage: u64,
    /// Bytes in memory.
    pub memory: u64,
    /// Number of consumers.
    pub consumers: usize,
    /// Number of consumers of the stream that has the most.
    #[serde(skip)]
    pub most_consumers: u64,
    /// Number of messages that consumers have not delivered, or that clients have not
    /// acknowledged.
    pub lag: u64,
    /// Consumers with such messages.
    pub behind: Vec<Behind>,
    /// Streams in memory that hold messages.
    #[serde(skip)]
    pub in_memory: Vec<InMemory>,
    /// Durable consumers in memory, of streams on disk.
    #[serde(skip)]
    pub forgotten: Vec<Forgotten>,
    /// The most messages that a durable consumer may have unacknowledged.
    #[serde(skip)]
    pub most_unacknowledged: u64,
    /// What its streams reserve on disk and in memory: the sums of their `max_bytes`. Bytes.
    #[serde(skip)]
    pub reserved: [u64; 2],
}

/// A stream in memory, which is empty after a restart of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InMemory {
    /// The account.
    pub tenant: String,
    /// The name of the stream.
    pub stream: String,
    /// The number of its messages.
    pub messages: u64,
}

/// A consumer in memory of a stream on disk. A restart of the server forgets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forgotten {
    /// The account.
    pub tenant: String,
    /// The name of the stream.
    pub stream: String,
    /// The name of the consumer.
    pub consumer: String,
}

impl JetStreamStats {
    /// Ignores the unacknowledged messages of a consumer that feeds a copy: they are
    /// acknowledged in batches by flow control, so only undelivered messages are a lag.
    pub fn feeds_a_copy(&mut self, stream: &str, consumer: &str) {
        for behind in self.behind.iter_mut().filter(|b| b.stream == stream && b.consumer == consumer) {
            self.lag -= std::mem::take(&mut behind.unacknowledged);
        }
        self.behind.retain(|b| b.pending + b.unacknowledged > 0);
    }
}

/// A consumer that is behind.
#[derive(Debug, Clone, Serialize)]
pub struct Behind {
    /// Name of the stream.
    pub stream: String,
    /// Name of the consumer.
    pub consumer: String,
    /// Number of messages not delivered yet.
    pub pending: u64,
    /// Number of messages delivered and not acknowledged.
    pub unacknowledged: u64,
}

/// Statistics by account name. The JetStream part is `None` if the account has no
/// JetStream.
pub type Found = BTreeMap<String, (AccountStats, Option<JetStreamStats>)>;

/// Asks for connections, subscriptions and JetStream usage of the named accounts.
pub fn accounts(url: &str, operator: &Login, names: &[String]) -> Result<Found, Error> {
    super::runtime()?
        .block_on(async { tokio::time::timeout(LIMIT, ask_accounts(url, operator, names)).await })
        .unwrap_or_else(|_| {
            Err(Error::server(format!("{url} did not answer within {} s", LIMIT.as_secs()), "is it another server?"))
        })
}

async fn ask_accounts(url: &str, operator: &Login, names: &[String]) -> Result<Found, Error> {
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
            let kept = ask_jetstream(&client, &name).await;
            (name, (stats, kept))
        }
    });
    Ok(each.buffer_unordered(AT_ONCE).collect().await)
}

/// Number of accounts that are asked for at the same time.
const AT_ONCE: usize = 64;

/// JetStream usage of an account. `None` if it has no JetStream, or the request fails.
async fn ask_jetstream(client: &async_nats::Client, account: &str) -> Option<JetStreamStats> {
    let body = json!({ "streams": true, "consumer": true, "config": true }).to_string();
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
        let consumers = stream["consumer_detail"].as_array().map_or(0, Vec::len);
        stats.most_consumers = stats.most_consumers.max(consumers as u64);
        let messages = number(&stream["state"]["messages"]);
        stats.messages += messages;
        let in_memory = stream["config"]["storage"] == "memory";
        // -1: it reserves nothing.
        stats.reserved[usize::from(in_memory)] += number(&stream["config"]["max_bytes"]);
        if in_memory && messages > 0 {
            let (tenant, stream) = (account.to_owned(), text(&stream["name"]));
            stats.in_memory.push(InMemory { tenant, stream, messages });
        }
        for consumer in stream["consumer_detail"].as_array().into_iter().flatten() {
            stats.consumers += 1;
            let config = &consumer["config"];
            if config["durable_name"].is_string() {
                stats.most_unacknowledged = stats.most_unacknowledged.max(number(&config["max_ack_pending"]));
            }
            if !in_memory && config["mem_storage"] == true && config["durable_name"].is_string() {
                let (tenant, stream) = (account.to_owned(), text(&stream["name"]));
                stats.forgotten.push(Forgotten { tenant, stream, consumer: text(&consumer["name"]) });
            }
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

/// A tenant's usage of the server, beside its limits.
#[derive(Debug, Serialize)]
pub struct TenantStatus {
    /// Name of the tenant.
    pub tenant: String,
    /// Limit of connections.
    pub max_connections: u32,
    /// Current connections and subscriptions.
    #[serde(flatten)]
    pub stats: AccountStats,
    /// JetStream usage and limits. `None` if the tenant has no JetStream, in the registry or
    /// on the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jetstream: Option<JetStreamStatus>,
    /// Names of the limits that are used to 80 percent or more.
    pub near_limit: Vec<&'static str>,
    /// Limits beyond which the tenant is.
    #[serde(skip)]
    pub over_limit: Vec<OverLimit>,
}

/// Formats bytes with one decimal place, since usage is rarely a round number.
pub fn human_size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string().replace(' ', "")
}

/// A limit beyond which a tenant is, because it is lower than it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OverLimit {
    /// Name of the tenant, or `the server`.
    pub tenant: String,
    /// Name of the limit.
    pub limit: &'static str,
    /// What the tenant uses. Connections, subscriptions of a connection, streams or bytes.
    pub used: u64,
    /// What it may use.
    pub allowed: u64,
}

/// Stands for a tenant where a limit is the server's.
const THE_SERVER: &str = "the server";

impl OverLimit {
    /// Whether no connection to the server is left for tenantry.
    pub fn shuts_out(&self) -> bool {
        self.tenant == THE_SERVER && self.limit == "provisioner"
    }

    /// Whether streams reserve more than they may.
    pub fn is_reserved(&self) -> bool {
        matches!(self.limit, "reserved disk" | "reserved memory")
    }

    /// Whether a restart drops consumers because of it.
    pub fn drops_consumers(&self) -> bool {
        self.limit == "max_ack_pending"
    }

    /// Whether the server disconnects clients because of it.
    pub fn disconnects(&self) -> bool {
        matches!(self.limit, "connections" | "subscriptions")
    }

    /// What the server does about it once it has the limit. Measured on nats-server 2.15.1.
    pub fn consequence(&self) -> String {
        let Self { tenant, limit, used, allowed } = self;
        match *limit {
            "connections" => {
                format!("{tenant} has {used} connections and may have {allowed}: the others are disconnected")
            }
            "provisioner" if self.shuts_out() => format!(
                "{tenant} has {used} connections and may have {allowed}: none is left to tenantry, which could not ask it any more"
            ),
            "provisioner" => format!(
                "{tenant} has {used} connections and may have {allowed}: none is left to tenantry, which could not look after its \
                 streams until one is closed"
            ),
            "subscriptions" => format!(
                "{tenant} has connections with up to {used} subscriptions, and those with {allowed} or more are disconnected"
            ),
            _ if self.drops_consumers() => format!(
                "{tenant} has a consumer with max_ack_pending {used}, and may have {allowed}: a restart drops such consumers, and what \
                 only they wait for in streams with retention = \"interest\""
            ),
            _ if self.is_reserved() => format!(
                "{tenant} has streams whose max_bytes reserve {} ({}), and may reserve {}: the server refuses changes of them that leave the sum above that",
                human_size(*used),
                limit.trim_start_matches("reserved "),
                human_size(*allowed)
            ),
            "streams" => format!("{tenant} has {used} streams and may have {allowed}: it can make no more"),
            "consumers" => {
                format!("{tenant} has a stream with {used} consumers and may have {allowed}: it can make no more there")
            }
            _ => format!(
                "{tenant} stores {} ({limit}) and may store {}: it keeps that, and can store nothing more",
                human_size(*used),
                human_size(*allowed)
            ),
        }
    }
}

/// A tenant's JetStream usage, beside its limits.
#[derive(Debug, Serialize)]
pub struct JetStreamStatus {
    /// Current usage.
    #[serde(flatten)]
    pub stats: JetStreamStats,
    /// Limit of streams.
    pub max_streams: u32,
    /// Limit of disk storage, in bytes.
    pub max_storage: u64,
    /// Limit of memory storage, in bytes.
    pub max_memory: u64,
}

/// Usage at which a limit is reported as near, in percent.
const NEAR: u64 = 80;

/// Asks the server for the usage of each tenant, in the order of the model.
pub fn tenants(url: &str, operator: &Login, model: &Model) -> Result<Vec<TenantStatus>, Error> {
    let names: Vec<String> = model.tenants.iter().map(|t| t.name.to_string()).collect();
    let mut found = accounts(url, operator, &names)?;
    let status = |t: &Tenant| tenant_status(t, found.remove(t.name.as_str()).unwrap_or_default());
    Ok(model.tenants.iter().map(status).collect())
}

/// Asks which limits clients exceed: of the lowered ones, and, because every reload disconnects who is at it, of the
/// subscriptions of a connection.
pub fn exceeded(url: &str, operator: &Login, lowered: &[Lowered], model: &Model) -> Result<Vec<OverLimit>, Error> {
    let ask = async {
        let fail = |what: String| Error::server(format!("cannot ask {url} for its connections: {what}"), "");
        let client = crate::live::connect_options(operator).connect(url).await.map_err(|e| fail(e.to_string()))?;
        let ask = async |subject: String, body: Json| {
            let reply = client.request(subject, body.to_string().into()).await.map_err(|e| fail(e.to_string()))?;
            serde_json::from_slice::<Json>(&reply.payload).map_err(|e| fail(e.to_string()))
        };
        let mut found = Vec::new();
        for Lowered { account, allowed } in lowered {
            let subject = match account {
                Some(account) => format!("$SYS.REQ.ACCOUNT.{account}.CONNZ"),
                None => "$SYS.REQ.SERVER.PING.CONNZ".to_owned(),
            };
            let reply = ask(subject, json!({ "limit": 1 })).await?;
            // One of the server's is this one.
            let used = reply["data"]["total"].as_u64().unwrap_or(0).saturating_sub(u64::from(account.is_none()));
            let allowed = u64::try_from(*allowed).unwrap_or(0);
            let tenant = account.clone().unwrap_or_else(|| THE_SERVER.to_owned());
            let provisions = model.tenants.iter().any(|t| t.name.as_str() == tenant && t.provisioner().is_some());
            if used > allowed {
                found.push(OverLimit { tenant: tenant.clone(), limit: "connections", used, allowed });
            }
            // The server disconnects no more than it has to, which leaves none of them free.
            if used >= allowed && (provisions || account.is_none()) {
                // A tenant was promised one less: the last one is its provisioner's.
                let allowed = allowed.saturating_sub(u64::from(account.is_some()));
                found.push(OverLimit { tenant, limit: "provisioner", used, allowed });
            }
        }
        let busiest = json!({ "sort": "subs", "limit": BUSIEST, "auth": true });
        let reply = ask("$SYS.REQ.SERVER.PING.CONNZ".to_owned(), busiest).await?;
        let connections = reply["data"]["connections"].as_array().map(Vec::as_slice).unwrap_or_default();
        for tenant in &model.tenants {
            let allowed = u64::from(tenant.max_subscriptions());
            let own = connections.iter().filter(|c| c["account"] == tenant.name.as_str());
            let used = own.filter_map(|c| c["subscriptions"].as_u64()).max().unwrap_or(0);
            if used >= allowed {
                found.push(OverLimit { tenant: tenant.name.to_string(), limit: "subscriptions", used, allowed });
            }
        }
        Ok(found)
    };
    super::runtime()?.block_on(async { tokio::time::timeout(LIMIT, ask).await }).unwrap_or_else(|_| {
        Err(Error::server(format!("{url} did not answer within {} s", LIMIT.as_secs()), "is it another server?"))
    })
}

/// Number of connected clients that logged in with a password, by its bcrypt cost. `costs`: of each user with one, by name.
pub fn password_clients(
    url: &str,
    operator: &Login,
    costs: &BTreeMap<String, u32>,
) -> Result<BTreeMap<u32, usize>, Error> {
    let fail = |what: String| Error::server(format!("cannot ask {url} for its connections: {what}"), "");
    let ask = async {
        let client = crate::live::connect_options(operator).connect(url).await.map_err(|e| fail(e.to_string()))?;
        let body = json!({ "auth": true, "limit": 1_000_000 }).to_string();
        let reply = client.request("$SYS.REQ.SERVER.PING.CONNZ", body.into()).await.map_err(|e| fail(e.to_string()))?;
        let reply: Json = serde_json::from_slice(&reply.payload).map_err(|e| fail(e.to_string()))?;
        let mut found = BTreeMap::new();
        let users = reply["data"]["connections"].as_array().into_iter().flatten();
        for cost in users.filter_map(|connection| costs.get(connection["authorized_user"].as_str()?)) {
            *found.entry(*cost).or_default() += 1;
        }
        Ok(found)
    };
    super::runtime()?
        .block_on(async { tokio::time::timeout(LIMIT, ask).await })
        .unwrap_or_else(|_| Err(fail(format!("no answer within {} s", LIMIT.as_secs()))))
}

/// Number of connections, those with the most subscriptions first, of which these are asked.
const BUSIEST: usize = 1024;

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
    let (mut near_limit, mut over_limit) = (Vec::new(), Vec::new());
    // `promised` is what the tenant may use, and `limit` where the server stops it.
    let mut compare = |limit_name, used: u64, promised: u64, limit: u64| {
        if used > limit {
            over_limit.push(OverLimit { tenant: t.name.to_string(), limit: limit_name, used, allowed: limit });
        }
        if promised > 0 && used.saturating_mul(100) >= promised.saturating_mul(NEAR) {
            near_limit.push(limit_name);
        }
    };
    compare("connections", stats.connections, t.limits.connections.into(), t.max_connections().into());
    if let Some(kept) = &jetstream {
        let uses = [
            ("streams", kept.stats.streams as u64, kept.max_streams.into()),
            ("consumers", kept.stats.most_consumers, t.jetstream.map_or(u64::MAX, |js| js.consumers.into())),
            ("disk", kept.stats.storage, kept.max_storage),
            ("memory", kept.stats.memory, kept.max_memory),
        ];
        for (name, used, limit) in uses {
            compare(name, used, limit, limit);
        }
        let most = t.jetstream.map_or(u64::MAX, |js| js.max_ack_pending.into());
        if kept.stats.most_unacknowledged > most {
            let used = kept.stats.most_unacknowledged;
            over_limit.push(OverLimit { tenant: t.name.to_string(), limit: "max_ack_pending", used, allowed: most });
        }
        let [disk, memory] = kept.stats.reserved;
        for (limit, used, allowed) in
            [("reserved disk", disk, kept.max_storage), ("reserved memory", memory, kept.max_memory)]
        {
            if used > allowed {
                over_limit.push(OverLimit { tenant: t.name.to_string(), limit, used, allowed });
            }
        }
    }
    let (tenant, max_connections) = (t.name.to_string(), t.limits.connections);
    TenantStatus { tenant, max_connections, stats, jetstream, near_limit, over_limit }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::units::Size;
    use crate::project::tests::model;

    const SHARED: &str = "[[tenant]]\nname = \"A\"\n[tenant.jetstream]\nstorage = \"1MiB\"\nmemory = \"1MiB\"\n[[tenant.user]]\n\
        name = \"app\"\n[[tenant.stream]]\nname = \"S\"\nsubjects = [\"A.s\"]\n[[tenant]]\nname = \"B\"\n\
        [tenant.jetstream]\nstorage = \"1MiB\"\n[[tenant.user]]\nname = \"app\"\n[[tenant.stream]]\nname = \"COPY\"\n\
        [[tenant.stream.source]]\nname = \"S\"\nfrom = \"A\"\n[[share]]\nfrom = \"A\"\nto = [\"B\"]\njetstream = \"S\"\n";

    /// A tenant of which every limit is 100.
    fn tenant() -> Tenant {
        let mut tenant = model(SHARED).tenants.remove(0);
        tenant.limits.connections = 100;
        for limits in tenant.jetstream.iter_mut() {
            (limits.streams, limits.storage, limits.memory) = (100, Size(100), Size(100));
        }
        tenant
    }

    #[test]
    fn what_is_beyond_a_limit_says_what_the_server_does() {
        let over = |count: u64, kept: JetStreamStats| -> Vec<String> {
            let status = tenant_status(&tenant(), (connections(count), Some(kept)));
            status.over_limit.iter().map(OverLimit::consequence).collect()
        };
        assert_eq!(over(100, JetStreamStats { storage: 100, ..JetStreamStats::default() }), [""; 0]);
        let found = over(102, JetStreamStats { storage: 101, streams: 101, ..JetStreamStats::default() });
        assert_eq!(
            found,
            [
                "A has 102 connections and may have 101: the others are disconnected",
                "A has 101 streams and may have 100: it can make no more",
                "A stores 101B (disk) and may store 100B: it keeps that, and can store nothing more",
            ]
        );
        let reserved = |bytes| over(1, JetStreamStats { reserved: [bytes, 100], ..JetStreamStats::default() });
        assert_eq!(
            reserved(101),
            [
                "A has streams whose max_bytes reserve 101B (disk), and may reserve 100B: the server refuses changes of them that leave the sum above that"
            ]
        );
        assert_eq!(reserved(100), [""; 0]);
    }

    type UsedUp = fn(u64) -> JetStreamStats;

    fn connections(connections: u64) -> AccountStats {
        AccountStats { connections, subscriptions: 0 }
    }

    #[test]
    fn a_limit_is_near_from_80_percent_on() {
        let near =
            |count: u64, kept: JetStreamStats| tenant_status(&tenant(), (connections(count), Some(kept))).near_limit;
        let none = JetStreamStats::default;
        assert_eq!(near(79, none()), [""; 0]);
        assert_eq!(near(80, none()), ["connections"]);
        let cases: [(&str, UsedUp); 3] = [
            ("streams", |n| JetStreamStats { streams: n as usize, ..JetStreamStats::default() }),
            ("disk", |storage| JetStreamStats { storage, ..JetStreamStats::default() }),
            ("memory", |memory| JetStreamStats { memory, ..JetStreamStats::default() }),
        ];
        for (name, kept) in cases {
            assert_eq!(near(0, kept(79)), [""; 0], "{name}");
            assert_eq!(near(0, kept(80)), [name]);
            assert_eq!(near(0, kept(200)), [name], "above the limit");
        }
        let all = JetStreamStats { streams: 80, storage: 80, memory: 80, ..none() };
        assert_eq!(near(80, all), ["connections", "streams", "disk", "memory"]);
    }

    #[test]
    fn a_limit_of_zero_is_never_near_and_large_numbers_do_not_overflow() {
        let mut tenant = tenant();
        tenant.jetstream.iter_mut().for_each(|limits| (limits.memory, limits.storage) = (Size(0), Size(u64::MAX)));
        let near = |storage| {
            let kept = JetStreamStats { storage, ..JetStreamStats::default() };
            tenant_status(&tenant, (connections(0), Some(kept))).near_limit
        };
        assert_eq!(near(0), [""; 0]);
        assert_eq!(near(u64::MAX), ["disk"]);
    }

    #[test]
    fn jetstream_is_shown_if_both_the_registry_and_the_server_have_it() {
        let (with, mut without) = (tenant(), tenant());
        without.jetstream = None;
        let shows = |tenant: &Tenant, kept: Option<JetStreamStats>| {
            tenant_status(tenant, (connections(0), kept))
                .jetstream
                .map(|j| (j.max_streams, j.max_storage, j.max_memory))
        };
        assert_eq!(shows(&with, Some(JetStreamStats::default())), Some((100, 100, 100)));
        assert_eq!(shows(&with, None), None);
        assert_eq!(shows(&without, Some(JetStreamStats::default())), None);
    }

    #[test]
    fn a_consumer_that_feeds_a_copy_is_behind_by_undelivered_messages_only() {
        let tenant = tenant();
        let feeding = tenant.stream_exports[0].consumer().to_string();
        let behind = |consumer: &str, pending, unacknowledged| Behind {
            stream: "S".into(),
            consumer: consumer.into(),
            pending,
            unacknowledged,
        };
        let lag = |behind: Vec<Behind>| {
            let lag = behind.iter().map(|b| b.pending + b.unacknowledged).sum();
            let kept = JetStreamStats { lag, behind, ..JetStreamStats::default() };
            let stats = tenant_status(&tenant, (connections(0), Some(kept))).jetstream.expect("it has JetStream").stats;
            (stats.lag, stats.behind.into_iter().map(|b| b.consumer).collect::<Vec<_>>())
        };
        assert_eq!(lag(vec![behind(&feeding, 0, 5)]), (0, vec![]));
        assert_eq!(lag(vec![behind(&feeding, 3, 5)]), (3, vec![feeding.clone()]));
        assert_eq!(lag(vec![behind("own", 0, 5), behind(&feeding, 0, 5)]), (5, vec!["own".to_owned()]));
        let elsewhere = Behind { stream: "OTHER".into(), ..behind(&feeding, 0, 5) };
        assert_eq!(lag(vec![elsewhere]), (5, vec![feeding.clone()]), "the consumer of another stream");
    }
}
