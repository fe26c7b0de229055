//! Asks a server, after a change, whether it runs what it was given.

use std::time::Duration;

use async_nats::{Client, ConnectErrorKind};
use futures_util::{StreamExt as _, stream};
use serde_json::Value as Json;

use super::connect_options;
use crate::keys::Login;

/// Time limit for all answers together.
const LIMIT: Duration = Duration::from_secs(30);
/// Number of users that log in at the same time.
const AT_A_TIME: usize = 16;

/// Confirms that the server at `url` runs the configuration with this digest, and that `users`, by name, may log in.
/// `operator`: a user of its system account. `None`: no secret of one is known, and the digest is not asked for.
/// The error says what is wrong.
pub fn confirm(url: &str, digest: &str, operator: Option<&Login>, users: &[(String, Login)]) -> Result<(), String> {
    let runtime = super::runtime().map_err(|e| e.to_string())?;
    let all = async {
        if let Some(operator) = operator {
            compare_digest(url, digest, operator).await?;
        }
        let logins = stream::iter(users).map(async |(name, login)| log_in(url, name, login).await);
        let refused: Vec<String> = logins.buffer_unordered(AT_A_TIME).filter_map(async |r| r.err()).collect().await;
        refused.into_iter().next().map_or(Ok(()), Err)
    };
    runtime
        .block_on(async { tokio::time::timeout(LIMIT, all).await })
        .unwrap_or_else(|_| Err(format!("{url} did not answer within {} s", LIMIT.as_secs())))
}

async fn compare_digest(url: &str, digest: &str, operator: &Login) -> Result<(), String> {
    let fail = |what: String| format!("it could not be asked what it runs: {what}");
    let client = connect_options(operator).connect(url).await.map_err(|e| fail(e.to_string()))?;
    let subject = format!("$SYS.REQ.SERVER.{}.VARZ", client.server_info().server_id);
    let answer = request(&client, subject).await.map_err(fail)?;
    match answer["data"]["config_digest"].as_str() {
        Some(running) if running == digest => Ok(()),
        Some(_) => Err("it says that it runs another configuration".to_owned()),
        None => Err("it does not say which configuration it runs".to_owned()),
    }
}

async fn request(client: &Client, subject: String) -> Result<Json, String> {
    let reply = client.request(subject, "".into()).await.map_err(|e| e.to_string())?;
    serde_json::from_slice(&reply.payload).map_err(|e| e.to_string())
}

/// Logs a user in. Other errors than a refused login say nothing about its configuration: a limit of connections may
/// be reached.
async fn log_in(url: &str, name: &str, login: &Login) -> Result<(), String> {
    match connect_options(login).connect(url).await {
        Err(error) if matches!(error.kind(), ConnectErrorKind::AuthorizationViolation) => {
            Err(format!("it does not let {name} in"))
        }
        _ => Ok(()),
    }
}
