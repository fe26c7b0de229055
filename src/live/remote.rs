//! Servers elsewhere: which configuration each of a system runs, and having them read their files again.

use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;
use futures_util::StreamExt as _;
use serde_json::Value as Json;

use super::connect_options;
use crate::error::Error;
use crate::keys::Login;

/// Time limit for a connection and for each answer. A reload of ten thousand JetStream accounts takes about ten seconds.
const LIMIT: Duration = Duration::from_secs(120);
/// How often the connection is looked at while a server reloads.
const LOOK: Duration = Duration::from_millis(20);
/// How long to wait for the next server's answer to a question for all of them.
const QUIET: Duration = Duration::from_millis(700);

/// One server of a system.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Node {
    /// Its id, new at every start.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The digest of the configuration that it runs. `None`: it does not say.
    pub config_digest: Option<String>,
}

/// The first of an operator's logins by which a server lets it in: the present one, or the one before a change of it.
pub fn operator(url: &str, logins: &[Login]) -> Result<Login, Error> {
    let mut refused = None;
    for login in logins {
        match with_client(url, login, async |_| Ok(())) {
            Ok(()) => return Ok(login.clone()),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(refused.unwrap_or_else(|| {
        Error::server(
            "no system user's secret is known here, so the servers cannot be asked what they run",
            "set the variable of its `password_env`, or add one without `public_key`: tenantry user add SYS/operator",
        )
    }))
}

/// Asks every server of the system at `url` what it runs, in the order of their names.
pub fn nodes(url: &str, operator: &Login) -> Result<Vec<Node>, Error> {
    with_client(url, operator, async |client| {
        let mut found = Vec::new();
        for id in ids(&client).await? {
            let varz = request(&client, format!("$SYS.REQ.SERVER.{id}.VARZ")).await?["data"].take();
            let text = |key: &str| varz[key].as_str().map(str::to_owned);
            found.push(Node {
                name: text("server_name").unwrap_or_else(|| id.clone()),
                config_digest: text("config_digest"),
                id,
            });
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    })
}

/// Has a server read its configuration again, and waits until it has. Returns whether it said so: it may disconnect the
/// operator, whose credential has changed. The error has its words.
pub fn reload(url: &str, operator: &Login, node: &Node) -> Result<bool, Error> {
    with_client(url, operator, async |client| {
        let answered = request(&client, format!("$SYS.REQ.SERVER.{}.RELOAD", node.id));
        let disconnected = async {
            while client.connection_state() == State::Connected {
                tokio::time::sleep(LOOK).await;
            }
        };
        let answer = tokio::select! {
            answer = answered => answer?,
            () = disconnected => return Ok(false),
        };
        match answer["error"]["description"].as_str() {
            Some(words) => Err(words.to_owned()),
            None => Ok(true),
        }
    })
}

fn with_client<T>(url: &str, operator: &Login, ask: impl AsyncFnOnce(Client) -> Result<T, String>) -> Result<T, Error> {
    let fail =
        |what: String| Error::server(format!("{url}: {what}"), "was it started from this registry and root key?");
    super::runtime()?.block_on(async {
        let options = connect_options(operator).request_timeout(Some(LIMIT));
        let client = options.connect(url).await.map_err(|e| fail(format!("cannot connect as the operator: {e}")))?;
        ask(client).await.map_err(fail)
    })
}

/// The ids of all servers of the system.
async fn ids(client: &Client) -> Result<Vec<String>, String> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(|e| e.to_string())?;
    let ping = client.publish_with_reply("$SYS.REQ.SERVER.PING.IDZ", inbox, "".into()).await;
    ping.map_err(|e| e.to_string())?;
    let mut ids = Vec::new();
    while let Ok(Some(answer)) = tokio::time::timeout(QUIET, answers.next()).await {
        let answer: Json = serde_json::from_slice(&answer.payload).map_err(|e| e.to_string())?;
        let id = answer["data"]["id"].as_str().or_else(|| answer["id"].as_str());
        ids.extend(id.map(str::to_owned));
    }
    if ids.is_empty() { Err("no server says that it is there".to_owned()) } else { Ok(ids) }
}

/// Asks a server. The error names the subject.
pub(super) async fn request(client: &Client, subject: String) -> Result<Json, String> {
    let reply = client.request(subject.clone(), "".into()).await.map_err(|e| format!("{subject}: {e}"))?;
    serde_json::from_slice(&reply.payload).map_err(|e| format!("{subject}: {e}"))
}
