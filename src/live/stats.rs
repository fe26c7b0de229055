//! Asking a running server about its accounts, as the system account.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

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

/// Connections and subscriptions by account.
pub fn accounts(url: &str, operator: &Login, names: &[String]) -> Result<BTreeMap<String, AccountStats>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::server(format!("cannot start: {e}"), ""))?;
    runtime.block_on(async { tokio::time::timeout(LIMIT, ask(url, operator, names)).await }).unwrap_or_else(|_| {
        Err(Error::server(format!("{url} did not answer within {} s", LIMIT.as_secs()), "is it another server?"))
    })
}

async fn ask(url: &str, operator: &Login, names: &[String]) -> Result<BTreeMap<String, AccountStats>, Error> {
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
    Ok(reply.data.account_statz.into_iter().map(|n| (n.acc, n.stats)).collect())
}
