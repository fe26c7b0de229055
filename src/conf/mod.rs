//! The nats-server configuration language: written for our bundle, read as the
//! server reads it, whoever wrote it. What the options mean is not known here.

mod digest;
mod files;
mod read;
mod scan;
pub mod value;
mod writer;

pub use digest::digest;
pub use files::ConfFiles;
pub use read::{Document, Environment, read};
pub use writer::{Writer, escape};
