//! The defaults of the registry, each once. Validation and lowering both need
//! them: validation to hold sums against limits, lowering to fill them in.

use std::net::Ipv4Addr;

use crate::model::units::{Duration, Listen, Size};

/// The server's name.
pub const SERVER: &str = "nats";
/// Address on which clients reach the server.
pub const CLIENT: Listen = Listen { ip: std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port: 4222 };
/// The system account.
pub const SYSTEM_ACCOUNT: &str = "SYS";
/// The system account's user, where the registry declares none.
pub const SYSTEM_USER: &str = "sys_admin";
/// The role of a user that names none.
pub const ROLE: &str = "app";
/// How long a write to a client may take; the server's own default too.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(10);
/// Largest message, unless said otherwise; the server's own default too.
pub const MAX_PAYLOAD: Size = Size(1 << 20);
/// Bytes kept for one slow connection; the server's own default too.
pub const MAX_PENDING: Size = Size(64 << 20);
/// Connections of all accounts together.
pub const MAX_CONNECTIONS: u32 = 1024;
/// Connections of one account.
pub const CONNECTIONS: u32 = 100;
/// Subscriptions of one connection.
pub const SUBSCRIPTIONS: u32 = 1000;
/// Streams of one account.
pub const STREAMS: u32 = 10;
/// Consumers of one stream.
pub const CONSUMERS: u32 = 20;
/// Unacknowledged messages of one consumer: ten times what a client asks for by default.
pub const MAX_ACK_PENDING: u32 = 10_000;
/// The newest server that this version was tested with.
pub const IMAGE: &str = "nats:2.15.1-alpine";
/// A derived password has 160 random bits: a slow hash adds nothing but time to every connect.
pub const COST_DERIVED: u32 = 8;
/// A password that a person chose needs the slow hash.
pub const COST_SUPPLIED: u32 = 11;

/// How long message ids are remembered; the server's own default too.
pub const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// The server's own default too.
pub const ACK_WAIT: Duration = Duration::from_secs(30);
/// Unacknowledged messages of one consumer; the server's own default too.
pub const CONSUMER_ACK_PENDING: u32 = 1000;
/// Requests that may wait at a pull consumer; the server's own default too.
pub const MAX_WAITING: u32 = 512;
