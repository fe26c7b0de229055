//! tenantry: declare NATS tenants once, get everything that runs them.
//!
//! ARCHITECTURE.md describes the rooms and which way data flows between them. The
//! library serves the `tenantry` command: what is public is what the command, the
//! tests and the benches use, and no promise to anybody else.

pub mod audit;
#[allow(rustdoc::all, reason = "doc comments of arguments are the text of --help")]
pub mod cli;
pub mod conf;
pub mod diag;
mod error;
mod fault;
mod files;
pub mod keys;
pub mod live;
pub mod model;
mod mutants;
pub mod project;
mod redact;
pub mod registry;
mod render;
mod state;
pub mod subject;
mod verdict;
pub mod verify;
