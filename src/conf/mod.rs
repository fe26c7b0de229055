//! The nats-server configuration language. Only writing for now; whatever is
//! written here must come back from the server as it was meant.

mod writer;

pub use writer::{Writer, escape};
