//! tenantry: declare NATS tenants once, get everything that runs them.
//!
//! ARCHITECTURE.md describes the rooms and which way data flows between them.

pub mod audit;
pub mod cli;
pub mod conf;
pub mod diag;
pub mod error;
pub mod keys;
pub mod live;
pub mod model;
pub mod mutants;
pub mod project;
pub mod registry;
pub mod render;
pub mod state;
pub mod subject;
pub mod verdict;
pub mod verify;
