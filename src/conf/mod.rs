//! The nats-server configuration language: a writer for the bundle, and a reader
//! that accepts exactly what the server accepts. The meaning of options is not
//! known here; see `audit::read`.

mod digest;
mod files;
mod read;
mod scan;
pub mod value;
mod writer;

pub use digest::digest;
pub use files::{ACCOUNTS, ConfFiles, MAIN, NEXT_ACCOUNTS, move_as_one};
pub use read::{Document, Environment, read};
pub use writer::{Writer, escape};
