//! Running servers: finds nats-server, starts it with the rendered configuration, waits
//! until it answers, reloads and stops it.

mod change;
pub(crate) mod conf_difference;
pub(crate) mod conf_folder;
pub(crate) mod confirm;
pub(crate) mod docker;
pub mod jetstream;
pub mod leftovers;
pub mod locate;
pub(crate) mod process;
pub mod ready;
pub(crate) mod reload_plan;
pub(crate) mod remote;
pub(crate) mod reservations;
pub(crate) mod stats;
pub(crate) mod throwaway;

use async_nats::ConnectOptions;

use crate::error::Error;
use crate::keys::Login;

/// The runtime for connections to servers: one thread serves all of them.
pub fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::server(format!("cannot start: {e}"), ""))
}

/// Keeps environment variables from a process: others can read them as long as it lives.
fn keep_secrets_from<'s>(command: &mut std::process::Command, variables: impl Iterator<Item = &'s str>) {
    for variable in variables {
        command.env_remove(variable);
    }
}

/// Converts a login into connect options of the client library.
fn connect_options(login: &Login) -> ConnectOptions {
    match login {
        Login::Seed(seed) => ConnectOptions::with_nkey(seed.expose().to_owned()),
        Login::Password(user, password) => {
            ConnectOptions::with_user_and_password(user.clone(), password.expose().to_owned())
        }
    }
}
