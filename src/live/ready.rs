//! Waiting until a server answers: "not yet" and "never" are told apart.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::model::units::Listen;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// The server's greeting at an address, if a NATS server answers there.
pub fn greeting(address: Listen) -> Option<serde_json::Value> {
    let dial = address.dial();
    let socket = SocketAddr::new(dial.ip, dial.port);
    let stream = TcpStream::connect_timeout(&socket, Duration::from_millis(500)).ok()?;
    stream.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    serde_json::from_str(line.strip_prefix("INFO ")?.trim()).ok()
}

/// Calls `attempt` until it gives something, or until `limit` has passed.
pub fn poll<T>(limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return Some(value);
        }
        if start.elapsed() > limit {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}

/// True if something listens at an address already.
pub fn is_taken(address: Listen) -> bool {
    std::net::TcpListener::bind(SocketAddr::new(address.ip, address.port)).is_err()
}
