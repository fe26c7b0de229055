//! Everything that needs no Docker. Live tests boot a real nats-server from
//! what the `tenantry` command rendered, on ports of their own, in folders of
//! their own, and end it.

mod broken;
mod commands;
mod edits;
mod golden;
mod isolation;
mod lifecycle;
mod limits;
mod properties;
mod roles;
mod shares;
mod support;
mod writing;
