//! Running servers: finding nats-server, booting it from what was rendered,
//! waiting until it answers, reloading and ending it.

pub mod docker;
pub mod jetstream;
pub mod locate;
pub mod login;
pub mod pending;
pub mod process;
pub mod ready;
pub mod stats;
pub mod throwaway;

use crate::error::Error;

/// What talks to servers: one thread, for many connections.
pub fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::server(format!("cannot start: {e}"), ""))
}
