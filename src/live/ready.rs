//! Waits until a server answers, with a time limit.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::model::units::Listen;

const PAUSE: Duration = Duration::from_millis(20);

/// The INFO message that a NATS server sends to new connections. `None` if no NATS server
/// answers at the address within half a second.
pub fn greeting(address: Listen) -> Option<serde_json::Value> {
    let dial = address.dial();
    let socket = SocketAddr::new(dial.ip, dial.port);
    let stream = TcpStream::connect_timeout(&socket, Duration::from_millis(500)).ok()?;
    stream.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    serde_json::from_str(line.strip_prefix("INFO ")?.trim()).ok()
}

/// Calls `attempt`, at least once, until it returns a value. `None` once `limit` has passed.
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

/// Whether the address cannot be bound, usually because another process listens there.
pub fn is_taken(address: Listen) -> bool {
    std::net::TcpListener::bind(SocketAddr::new(address.ip, address.port)).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poll_returns_the_first_value_and_makes_no_further_attempt() {
        let mut attempts = 0;
        let found = poll(Duration::from_secs(60), || {
            attempts += 1;
            (attempts == 3).then_some("ready")
        });
        assert_eq!((found, attempts), (Some("ready"), 3));
    }

    #[test]
    fn poll_tries_once_even_without_time_and_then_gives_up() {
        assert_eq!(poll(Duration::ZERO, || Some(1)), Some(1));
        let mut attempts = 0;
        let found: Option<u8> = poll(Duration::ZERO, || {
            attempts += 1;
            None
        });
        assert_eq!(found, None);
        assert!(attempts >= 1);
    }
}
