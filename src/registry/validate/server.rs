//! Validation of the server, its addresses and the system account.

use super::super::decode::Key;
use super::super::defaults;
use super::super::raw::{AuthMode, Server};
use super::RegistryContext;
use crate::diag::Diagnostic;
use crate::model::Root;
use crate::registry::codes;

impl RegistryContext<'_> {
    fn server(&self) -> Option<&Server> {
        self.registry.server.get()
    }
}

/// Ensures that the auth mode can be rendered.
pub fn auth_mode_is_supported(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    let Some(mode) = cx.registry.auth.get().and_then(|auth| auth.mode.get()) else { return };
    if mode.value == AuthMode::Operator {
        out.push(
            Diagnostic::error(codes::UNSUPPORTED_MODE, mode.span, "operator mode cannot be rendered yet")
                .hint("use `mode = \"static\"`"),
        );
    }
}

/// Ensures that the published root key is used only on loopback.
pub fn development_stays_on_loopback(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    if matches!(cx.registry.keys, Key::Invalid) {
        return;
    }
    let root = cx.registry.keys.get().map(|keys| &keys.root);
    if root.is_some_and(|root| root.value != Root::Development) {
        return;
    }
    let Some(server) = cx.server() else { return };
    let exposed = [
        server.client.get().filter(|l| !l.is_loopback()).map(|l| l.span),
        server.monitor.get().filter(|l| !l.is_loopback()).map(|l| l.span),
        server.url.get().filter(|url| !is_local(&url.value.0)).map(|url| url.span),
    ];
    for span in exposed.into_iter().flatten() {
        let mut diagnostic = Diagnostic::error(
            codes::DEVELOPMENT_EXPOSED,
            span,
            "the development root key is published: everybody knows every credential derived from it",
        )
        .label("reachable from other machines")
        .hint(
            "set `root = \"file:.tenantry/root.key\"` under [keys] and run `tenantry init --root-key`, which makes it; or listen on 127.0.0.1",
        );
        if let Some(root) = root {
            diagnostic = diagnostic.related(root.span, "the published key");
        }
        out.push(diagnostic);
    }
}

fn is_local(url: &str) -> bool {
    let address = url.rsplit("//").next().unwrap_or_default();
    let host =
        address.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(address, |(host, _)| host);
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}

/// Ensures that the monitoring endpoints listen on loopback only: they require no password
/// and show every tenant's subjects and users.
pub fn monitoring_stays_on_loopback(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    let Some(monitor) = cx.server().and_then(|s| s.monitor.get()) else { return };
    if !monitor.is_loopback() {
        out.push(
            Diagnostic::error(
                codes::MONITOR_EXPOSED,
                monitor.span,
                "the monitoring endpoints show every tenant's users and subjects to anyone who asks",
            )
            .label("reachable from other machines")
            .hint("use 127.0.0.1 and put a proxy that asks for a password in front of it"),
        );
    }
}

/// Warns if handouts would tell clients an address that stands for every interface.
pub fn clients_are_told_where(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    let Some(server) = cx.server() else { return };
    let Some(client) = server.client.get().filter(|client| client.ip.is_unspecified()) else { return };
    // The published key must not be used there anyway.
    let is_published = cx.registry.keys.get().is_none_or(|keys| keys.root.value == Root::Development);
    if server.url.is_absent() && !is_published {
        let message =
            format!("credentials and handouts would say nats://{}, which works on this machine only", client.dial());
        out.push(
            Diagnostic::warning(codes::UNUSABLE_URL, client.span, message)
                .label("listens on every interface")
                .hint("add what clients use: url = \"nats://nats.example.com:4222\""),
        );
    }
}

/// Refuses an official image of a server that is too old.
pub fn image_is_new_enough(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    let Some(image) = cx.server().and_then(|s| s.image.get()) else { return };
    let name = image.value.0.rsplit('/').next().unwrap_or_default();
    let Some(version) = name.strip_prefix("nats:").and_then(|tag| tag.split('-').next()) else { return };
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    // A tag such as `2.14` is of the last release of that line.
    let mut next = || numbers.next().unwrap_or(Some(u32::MAX));
    let [Some(major), Some(minor), Some(patch)] = [next(), next(), next()] else { return };
    if [major, minor, patch] < OLDEST {
        let [major, minor, patch] = OLDEST;
        out.push(
            Diagnostic::error(
                codes::OLD_IMAGE,
                image.span,
                format!("nats-server {version} is too old to keep tenants apart"),
            )
            .hint(format!("use {major}.{minor}.{patch} or later: \"{}\"", crate::registry::defaults::IMAGE)),
        );
    }
}

/// Ensures that the client and monitoring listeners have different addresses.
pub fn addresses_differ(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    let Some(server) = cx.server() else { return };
    let (Some(client), Some(monitor)) = (server.client.get(), server.monitor.get()) else { return };
    let same_host = client.ip == monitor.ip || client.ip.is_unspecified() || monitor.ip.is_unspecified();
    if same_host && client.port == monitor.port {
        out.push(
            Diagnostic::error(codes::SAME_ADDRESS, monitor.span, "clients and monitoring cannot share a port")
                .related(client.span, "clients connect here")
                .hint("NATS's usual ports are 4222 for clients and 8222 for monitoring"),
        );
    }
}

/// The oldest nats-server that keeps tenants apart: major, minor, patch.
const OLDEST: [u32; 3] = [2, 14, 3];

/// Maximum `max_payload` that clients and server both support, in bytes. The server stores it
/// in 32 bits and truncates silently.
const MAX_PAYLOAD: u64 = 64 << 20;

/// Ensures that the server accepts `max_payload` and `max_pending`.
pub fn payload_is_what_the_server_accepts(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    let Some(server) = cx.server() else { return };
    if let Some(payload) = server.max_payload.get() {
        if payload.bytes() == 0 || payload.bytes() > MAX_PAYLOAD {
            out.push(
                Diagnostic::error(codes::OUT_OF_RANGE, payload.span, "max_payload must be from 1B to 64MiB")
                    .hint("keep messages small and put large objects into an object store"),
            );
            return;
        }
        if payload.bytes() > 8 << 20 {
            out.push(Diagnostic::warning(
                codes::LARGE_PAYLOAD,
                payload.span,
                "messages above 8MiB make every connection slow; the server warns about it too",
            ));
        }
    }
    let pending = server.max_pending.get();
    let limit = pending.map_or(defaults::MAX_PENDING.bytes(), |p| p.bytes());
    if let Some(pending) = pending
        && pending.bytes() > i64::from(i32::MAX).unsigned_abs()
    {
        out.push(Diagnostic::error(codes::OUT_OF_RANGE, pending.span, "max_pending must be below 2GiB"));
    }
    let payload = server.max_payload.get().map_or(defaults::MAX_PAYLOAD.bytes(), |p| p.bytes());
    let span = pending.map(|p| p.span).or(server.max_payload.get().map(|p| p.span));
    if let Some(span) = span
        && limit < payload
    {
        out.push(
            Diagnostic::error(codes::OUT_OF_RANGE, span, "max_pending is smaller than max_payload")
                .hint("one message must fit into what is kept for a connection"),
        );
    }
}

/// Ensures that a declared system account has a user: without one, no operator can log in.
pub fn system_account_has_users(cx: &RegistryContext<'_>, out: &mut Vec<Diagnostic>) {
    let Some(system) = cx.registry.system.get() else { return };
    if system.user.says_nothing() {
        out.push(
            Diagnostic::error(codes::NO_USERS, system.span, "the system account has no user")
                .hint("add `[[system.user]]` with a `name`, or leave [system] out for a default one"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_replaced;
    use super::is_local;
    use crate::registry::testing::{TWO_TENANTS, codes_of};

    #[test]
    fn each_mistake_of_the_server_is_found_alone_and_gone_when_corrected() {
        const SERVER: &str = "[server.jetstream]";
        const ROOT: &str = "root = \"development\"";
        check_replaced(&[
            (
                ROOT,
                (
                    "unsupported-mode",
                    "root = \"development\"\n[auth]\nmode = \"operator\"",
                    "root = \"development\"\n[auth]\nmode = \"static\"",
                ),
            ),
            (
                SERVER,
                (
                    "development-exposed",
                    "[server]\nclient = \"192.0.2.1:4222\"\nurl = \"nats://127.0.0.1:4222\"\n[server.jetstream]",
                    "[server]\nclient = \"127.0.0.2:4222\"\n[server.jetstream]",
                ),
            ),
            (
                SERVER,
                (
                    "development-exposed",
                    "[server]\nurl = \"nats://nats.example.com:4222\"\n[server.jetstream]",
                    "[server]\nurl = \"nats://localhost:4222\"\n[server.jetstream]",
                ),
            ),
            (
                SERVER,
                (
                    "same-address",
                    "[server]\nmonitor = \"127.0.0.1:4222\"\nclient = \"127.0.0.1:4222\"\n[server.jetstream]",
                    "[server]\nmonitor = \"127.0.0.2:4222\"\nclient = \"127.0.0.1:4222\"\n[server.jetstream]",
                ),
            ),
            (
                SERVER,
                (
                    "out-of-range",
                    "[server]\nmax_payload = \"0B\"\n[server.jetstream]",
                    "[server]\nmax_payload = \"4KiB\"\n[server.jetstream]",
                ),
            ),
            (
                SERVER,
                (
                    "large-payload",
                    "[server]\nmax_payload = \"8388609B\"\n[server.jetstream]",
                    "[server]\nmax_payload = \"8MiB\"\n[server.jetstream]",
                ),
            ),
            (
                SERVER,
                (
                    "out-of-range",
                    "[server]\nmax_pending = \"1023KiB\"\n[server.jetstream]",
                    "[server]\nmax_pending = \"1024KiB\"\n[server.jetstream]",
                ),
            ),
            (
                SERVER,
                (
                    "out-of-range",
                    "[server]\nmax_pending = \"2GiB\"\n[server.jetstream]",
                    "[server]\nmax_pending = \"2147483647B\"\n[server.jetstream]",
                ),
            ),
            (
                ROOT,
                (
                    "no-users",
                    "root = \"development\"\n[system]\naccount = \"S\"",
                    "root = \"development\"\n[system]\naccount = \"S\"\n[[system.user]]\nname = \"s\"",
                ),
            ),
        ]);
    }

    #[test]
    fn the_largest_payload_is_64_mib() {
        let with = |payload: &str| {
            let server = format!("[server]\nmax_payload = \"{payload}\"\n[server.jetstream]");
            codes_of(&TWO_TENANTS.replacen("[server.jetstream]", &server, 1))
        };
        assert_eq!(with("64MiB"), ["large-payload"]);
        assert_eq!(with("67108865B"), ["out-of-range"]);
    }

    #[test]
    fn a_private_root_key_may_listen_everywhere_but_monitoring_may_not() {
        let with = |keys: &str| {
            let text = TWO_TENANTS.replacen("root = \"development\"", "root = \"env:KEY\"", 1);
            codes_of(&text.replacen("[server.jetstream]", &format!("[server]\n{keys}\n[server.jetstream]"), 1))
        };
        let url = "url = \"nats://nats.example.com:4222\"\n";
        assert_eq!(with(&format!("{url}client = \"0.0.0.0:4222\"")), [""; 0]);
        assert_eq!(with("client = \"0.0.0.0:4222\""), ["unusable-url"]);
        assert_eq!(with("monitor = \"0.0.0.0:8222\""), ["monitor-exposed"]);
        // A wildcard address takes the port of every address.
        assert_eq!(with(&format!("{url}client = \"0.0.0.0:4222\"\nmonitor = \"127.0.0.1:4222\"")), ["same-address"]);
        assert_eq!(with(&format!("{url}client = \"0.0.0.0:4222\"\nmonitor = \"127.0.0.1:8222\"")), [""; 0]);
    }

    #[test]
    fn an_official_image_of_an_old_server_is_refused() {
        let found = |image: &str| {
            codes_of(&TWO_TENANTS.replacen(
                "[server.jetstream]",
                &format!("[server]\nimage = \"{image}\"\n[server.jetstream]"),
                1,
            ))
        };
        for old in ["nats:2.10-alpine", "nats:2.14.2", "library/nats:2.9.25-scratch", "nats:1"] {
            assert_eq!(found(old), ["old-image"], "{old}");
        }
        for good in ["nats:2.14.3", "nats:2.14-alpine", "nats:2", "nats:3.0.0", "nats:alpine", "ours/server:1.0"] {
            assert_eq!(found(good), [""; 0], "{good}");
        }
    }

    #[test]
    fn a_local_url_names_a_loopback_host() {
        for local in ["nats://127.0.0.1:4222", "tls://localhost:4222", "nats://[::1]:4222", "nats://127.9.9.9"] {
            assert!(is_local(local), "{local}");
        }
        for remote in ["nats://192.0.2.1:4222", "nats://nats.example.com", "nats://[::2]:4222"] {
            assert!(!is_local(remote), "{remote}");
        }
    }

    #[test]
    fn only_loopback_addresses_and_localhost_are_local() {
        for url in [
            "nats://127.0.0.1:4222",
            "nats://127.9.9.9",
            "tls://localhost:4222",
            "nats://LOCALHOST",
            "nats://[::1]:4222",
        ] {
            assert!(is_local(url), "{url}");
        }
        for url in
            ["nats://localhost.example.com:4222", "nats://127.example.com", "nats://10.0.0.1:4222", "nats://[::2]:4222"]
        {
            assert!(!is_local(url), "{url}");
        }
    }
}
