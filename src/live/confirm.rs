//! Asks a server, after a change, whether it runs what it was given.

use std::time::Duration;

use async_nats::ConnectErrorKind;
use futures_util::future::join_all;

use super::connect_options;
use super::remote::request;
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
        for some in users.chunks(AT_A_TIME) {
            let logins = some.iter().map(|(name, login)| log_in(url, name, login));
            join_all(logins).await.into_iter().collect::<Result<(), String>>()?;
        }
        Ok(())
    };
    runtime
        .block_on(async { tokio::time::timeout(LIMIT, all).await })
        .unwrap_or_else(|_| Err(format!("{url} did not answer within {} s", LIMIT.as_secs())))
}

async fn compare_digest(url: &str, digest: &str, operator: &Login) -> Result<(), String> {
    let fail = |what: String| format!("it could not be asked what it runs: {what}");
    let client = match connect_options(operator).connect(url).await {
        Ok(client) => client,
        // Its log has the digest, too: that others use up the connections says nothing about the configuration.
        Err(error) if error.to_string().contains("maximum") => return Ok(()),
        Err(error) => return Err(fail(error.to_string())),
    };
    let subject = format!("$SYS.REQ.SERVER.{}.VARZ", client.server_info().server_id);
    let answer = request(&client, subject).await.map_err(fail)?;
    match answer["data"]["config_digest"].as_str() {
        Some(running) if running == digest => Ok(()),
        Some(_) => Err("it says that it runs another configuration".to_owned()),
        None => Err("it does not say which configuration it runs".to_owned()),
    }
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
