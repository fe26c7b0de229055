//! Sizes, durations, time stamps and addresses, with the text forms that the registry accepts.

use std::net::{IpAddr, Ipv4Addr};
use std::{fmt, time};

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Size(pub u64);

impl Size {
    /// Parses `512MiB`, `1.5GB` or `100B`. Decimal units are decimal (`1GB` is 10⁹), as
    /// everywhere except in nats-server.conf, where `1GB` is 2³⁰.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if !text.starts_with(|c: char| c.is_ascii_digit()) {
            return Err("a size begins with a number".into());
        }
        if text.ends_with(|c: char| c.is_ascii_digit()) {
            return Err(format!("{text} of what: bytes, kilobytes?"));
        }
        // The parser accepts `512M` too, but readers disagree whether that is decimal or binary.
        if !text.ends_with(['B', 'b']) {
            return Err("it is not a number of bytes with a unit".into());
        }
        match text.parse::<bytesize::ByteSize>() {
            Ok(size) if size.as_u64() < u64::MAX / 2 => Ok(Self(size.as_u64())),
            Ok(_) => Err("it is larger than any disk".into()),
            Err(_) => Err("it is not a number of bytes with a unit".into()),
        }
    }

    /// The number of bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Size {
    /// Formats as the shortest exact form with a binary unit: `512MiB`, `1500B`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return f.pad(&format!("{}{unit}", self.0 >> shift));
            }
        }
        f.pad(&format!("{}B", self.0))
    }
}

/// A length of time in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(pub time::Duration);

impl Duration {
    /// A whole number of seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(time::Duration::from_secs(seconds))
    }

    /// Parses `30d`, `2m`, `1h 30m` or `500ms`. `m` is minutes.
    pub fn parse(text: &str) -> Result<Self, String> {
        let duration = humantime::parse_duration(text).map_err(|_| "it is not a length of time".to_owned())?;
        // The server stores durations as nanoseconds in 63 bits: at most 292 years.
        if duration > time::Duration::from_secs(290 * 365 * 24 * 3600) {
            return Err("it is longer than the server can count (290 years)".into());
        }
        if duration.is_zero() {
            return Err("it is no time at all; leave the key out for no limit".into());
        }
        if duration.subsec_nanos() % 1_000_000 != 0 {
            return Err("it is not a whole number of milliseconds".into());
        }
        Ok(Self(duration))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// A UTC time stamp in RFC 3339 form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Timestamp(String);

impl Timestamp {
    /// Parses `2026-01-31T00:00:00Z`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let time = humantime::parse_rfc3339(text).map_err(|_| "it is not a moment in UTC".to_owned())?;
        Ok(Self(humantime::format_rfc3339(time).to_string()))
    }

    /// The time stamp in the server's form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An IP address and port to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Listen {
    /// The address.
    pub ip: IpAddr,
    /// The port.
    pub port: u16,
}

impl Listen {
    /// Parses `127.0.0.1:4222`, `localhost:4222` or `[::1]:4222`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (host, port) = text.rsplit_once(':').ok_or("it has no port")?;
        let port = match port.parse::<u16>() {
            Ok(0) => return Err("port 0 is no port that clients could be told".into()),
            Ok(port) => port,
            Err(_) => return Err(format!("{port:?} is not a port from 1 to 65535")),
        };
        let ip = match host {
            "" => return Err("it has no address before the port".into()),
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            _ => host
                .strip_prefix('[')
                .and_then(|h| h.strip_suffix(']'))
                .map_or_else(|| host.parse::<Ipv4Addr>().map(IpAddr::V4), |h| h.parse().map(IpAddr::V6))
                .map_err(|_| format!("{host:?} is not an IP address"))?,
        };
        Ok(Self { ip, port })
    }

    /// Whether only clients on this machine can connect.
    pub fn is_loopback(self) -> bool {
        self.ip.is_loopback()
    }

    /// The address to which a client on this machine connects: loopback if the listener
    /// is bound to every address.
    pub fn dial(self) -> Self {
        match self.ip {
            ip if !ip.is_unspecified() => self,
            _ => Self { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), ..self },
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::net::SocketAddr::new(self.ip, self.port).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("512MiB", 512 << 20), ("1GB", 1_000_000_000), ("0B", 0), ("1.5KiB", 1536), ("7 KiB", 7168)]
        {
            assert_eq!(Size::parse(text), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "512", "512M", "MiB", "-1B", "1e3B", "99999999999TiB", "1 XB", "lots"] {
            assert!(Size::parse(text).is_err(), "{text}");
        }
        assert_eq!(Size(512 << 20).to_string(), "512MiB");
        assert_eq!(Size(1500).to_string(), "1500B");
        assert_eq!(Size(0).to_string(), "0B");
    }

    #[test]
    fn durations() {
        assert_eq!(Duration::parse("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(Duration::parse("1h 30m"), Ok(Duration::from_secs(5400)));
        for text in ["", "30", "d", "-1s", "0s", "400years", "1 fortnight", "999us", "1ms 1ns"] {
            assert!(Duration::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(Listen::parse("localhost:1").map(|l| l.to_string()), Ok("127.0.0.1:1".into()));
        assert_eq!(Listen::parse("[::1]:4222").map(|l| l.to_string()), Ok("[::1]:4222".into()));
        for text in ["", "4222", ":4222", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", "::1:4222", "nats:4222"] {
            assert!(Listen::parse(text).is_err(), "{text}");
        }
        assert_eq!(Listen::parse("0.0.0.0:9").map(|l| l.dial().to_string()), Ok("127.0.0.1:9".into()));
    }

    #[test]
    fn a_size_is_accepted_up_to_half_of_64_bits() {
        // The next multiple of 1024 is 8 EiB, which the server's signed 64 bits cannot hold.
        assert_eq!(Size::parse("9223372036854774784B").map(Size::bytes), Ok(9_223_372_036_854_774_784));
        for text in ["9223372036854775807B", "8EiB", "16EiB"] {
            assert!(Size::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn decimal_and_binary_units_differ() {
        for (text, bytes) in [
            ("1KB", 1000),
            ("1KiB", 1024),
            ("1MB", 1_000_000),
            ("1MiB", 1 << 20),
            ("1GB", 1_000_000_000),
            ("1GiB", 1 << 30),
            ("1TB", 1_000_000_000_000),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(Size::parse(text), Ok(Size(bytes)), "{text}");
        }
    }

    #[test]
    fn a_size_prints_in_the_largest_exact_unit_and_reads_back() {
        for (bytes, text) in [
            (1023, "1023B"),
            (1024, "1KiB"),
            (1025, "1025B"),
            (1 << 20, "1MiB"),
            ((1 << 20) + 1024, "1025KiB"),
            (3 << 30, "3GiB"),
            (1 << 40, "1TiB"),
            (1 << 50, "1024TiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
            assert_eq!(Size::parse(text), Ok(Size(bytes)));
        }
        assert_eq!(format!("{:>8}", Size(1024)), "    1KiB");
    }

    #[test]
    fn a_duration_is_accepted_from_a_millisecond_to_290_years() {
        let longest = 290 * 365;
        assert_eq!(Duration::parse("1ms").map(|d| d.0.as_millis()), Ok(1));
        assert_eq!(Duration::parse("1000us").map(|d| d.0.as_millis()), Ok(1));
        assert_eq!(Duration::parse(&format!("{longest}d")).map(|d| d.0.as_secs()), Ok(longest * 86_400));
        for text in ["0ms", "1us", "1500us", &format!("{longest}d 1ms"), &format!("{}d", longest + 1)] {
            assert!(Duration::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_of_m_is_minutes_and_prints_as_it_reads() {
        for (text, seconds) in [("1m", 60), ("1h", 3600), ("1d", 86_400), ("90s", 90), ("1h 30m", 5400)] {
            let duration = Duration::parse(text).expect(text);
            assert_eq!(duration, Duration::from_secs(seconds), "{text}");
            assert_eq!(Duration::parse(&duration.to_string()), Ok(duration), "{text}");
        }
    }

    #[test]
    fn a_timestamp_is_in_utc() {
        assert_eq!(
            Timestamp::parse("2026-01-31T00:00:00Z").map(|t| t.as_str().to_owned()),
            Ok("2026-01-31T00:00:00Z".into())
        );
        for text in ["", "2026-01-31", "2026-13-01T00:00:00Z", "2026-01-31T00:00:00+01:00", "tomorrow"] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn loopback_is_127_and_localhost_alone() {
        let is_loopback = |text: &str| Listen::parse(text).map(Listen::is_loopback);
        for text in ["127.0.0.1:1", "127.255.0.1:1", "[::1]:1", "localhost:1"] {
            assert_eq!(is_loopback(text), Ok(true), "{text}");
        }
        for text in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "128.0.0.1:65535"] {
            assert_eq!(is_loopback(text), Ok(false), "{text}");
        }
    }

    #[test]
    fn an_address_is_dialled_as_it_is_unless_it_is_every_address() {
        let dial = |text: &str| Listen::parse(text).map(|l| l.dial().to_string());
        assert_eq!(dial("192.0.2.1:5"), Ok("192.0.2.1:5".into()));
        assert_eq!(dial("[::]:5"), Ok("127.0.0.1:5".into()));
    }
}
