//! Running servers: finding nats-server, booting it from what was rendered,
//! waiting until it answers, reloading and ending it.

pub mod docker;
pub mod jetstream;
pub mod locate;
pub mod login;
pub mod process;
pub mod ready;
pub mod stats;
pub mod throwaway;
