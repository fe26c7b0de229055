//! The registry's defaults, each defined once. Validation compares sums with limits and
//! lowering fills in absent keys; both use these.

use std::net::Ipv4Addr;

use crate::model::units::{Duration, Listen, Size};

/// The server's name.
pub const SERVER: &str = "nats";
/// Address on which clients reach the server.
pub const CLIENT: Listen = Listen { ip: std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port: 4222 };
/// The system account's name.
pub const SYSTEM_ACCOUNT: &str = "SYS";
/// Name of the system account's user if the registry has no `[system]`.
pub const SYSTEM_USER: &str = "sys_admin";
/// Role of a user without `role`.
pub const ROLE: &str = "app";
/// Maximum time of one write to a client. Also nats-server's default.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(10);
/// Maximum message size. Also nats-server's default.
pub const MAX_PAYLOAD: Size = Size(1 << 20);
/// Bytes buffered for one slow connection. Also nats-server's default.
pub const MAX_PENDING: Size = Size(64 << 20);
/// Maximum number of connections of all accounts together.
pub const MAX_CONNECTIONS: u32 = 1024;
/// Maximum number of connections of one account.
pub const CONNECTIONS: u32 = 100;
/// Maximum number of subscriptions of one connection.
pub const SUBSCRIPTIONS: u32 = 1000;
/// Maximum number of streams of one account.
pub const STREAMS: u32 = 10;
/// Maximum number of consumers of one stream.
pub const CONSUMERS: u32 = 20;
/// A tenant's limit on unacknowledged messages per consumer: ten times a client's default.
pub const MAX_ACK_PENDING: u32 = 10_000;
/// The newest nats-server image that this version was tested with.
pub const IMAGE: &str = "nats:2.15.1-alpine";
/// bcrypt cost of derived passwords. They have 160 random bits: a slow hash would only
/// delay every connect.
pub const COST_DERIVED: u32 = 8;
/// bcrypt cost of supplied passwords. A password that a person chose needs a slow hash.
pub const COST_SUPPLIED: u32 = 11;

/// How long a stream remembers message ids to reject duplicates. Also nats-server's default.
pub const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// Time after which an unacknowledged message is redelivered. Also nats-server's default.
pub const ACK_WAIT: Duration = Duration::from_secs(30);
/// Maximum number of unacknowledged messages of a consumer without `max_ack_pending`. Also
/// nats-server's default.
pub const CONSUMER_ACK_PENDING: u32 = 1000;
/// Maximum number of waiting pull requests of one consumer. Also nats-server's default.
pub const MAX_WAITING: u32 = 512;
