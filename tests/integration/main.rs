//! Everything that needs no Docker. Live tests boot a real nats-server from
//! what the `tenantry` command rendered, on ports of their own, in folders of
//! their own, and end it.

#![allow(
    clippy::print_stderr,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::too_many_lines,
    missing_docs
)] // a test stops at what it did not expect

mod audit;
mod broken;
mod clusters;
mod codes;
mod commands;
mod copies;
mod deploy;
mod differential;
mod edits;
mod examples;
mod faults;
mod forecasts;
mod golden;
mod isolation;
mod kills;
mod lifecycle;
mod limits;
mod operators;
mod properties;
mod provision;
mod reader;
mod roles;
mod shares;
mod soak;
mod support;
mod verify;
mod writing;
