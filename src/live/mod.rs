//! Running servers: finding nats-server, booting it from what was rendered,
//! waiting until it answers, reloading and ending it.

pub(crate) mod docker;
pub mod jetstream;
pub mod locate;

pub(crate) mod process;
pub mod ready;
pub(crate) mod reload_plan;
pub(crate) mod stats;
pub(crate) mod throwaway;

use async_nats::ConnectOptions;

use crate::error::Error;
use crate::keys::Login;

/// What talks to servers: one thread, for many connections.
pub fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::server(format!("cannot start: {e}"), ""))
}

/// A login, for the client library.
fn connect_options(login: &Login) -> ConnectOptions {
    match login {
        Login::Seed(seed) => ConnectOptions::with_nkey(seed.expose().to_owned()),
        Login::Password(user, password) => {
            ConnectOptions::with_user_and_password(user.clone(), password.expose().to_owned())
        }
    }
}
