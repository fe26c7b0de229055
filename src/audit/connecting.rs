//! How users connect: by which listeners, and whether a certificate or a password decides there who
//! a client is.

use crate::diag::Span;

use super::system::{Account, Listener, ListenerKind, System, User};

/// A connection type for which the server listens, as `allowed_connection_types` names it.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionType<'s> {
    /// Its name: `LEAFNODE_WS`.
    pub name: &'static str,
    /// Whether the certificate decides who a client is, and not the name that it sends.
    pub maps_certificates: bool,
    /// Whether clients can show a certificate.
    asks_for_certificates: bool,
    /// The user that a client without credentials becomes.
    pub no_auth_user: Option<&'s (String, Span)>,
}

/// The connection types for which the server listens.
pub fn connection_types(system: &System) -> Vec<ConnectionType<'_>> {
    let listener = |kind| system.server.listener(kind);
    let of_server = system.no_auth_user.as_ref();
    // A block with logins of its own overrides the server's.
    let anonymous = |listener: &'_ Listener| match listener.no_auth_user.is_some() || listener.has_logins {
        true => None,
        false => of_server,
    };
    let direct = |name, maps_certificates, no_auth_user| ConnectionType {
        name,
        maps_certificates,
        asks_for_certificates: true,
        no_auth_user,
    };
    let mut types = vec![direct("STANDARD", system.server.maps_certificates, of_server)];
    let websocket = listener(ListenerKind::WebSocket);
    let over_websocket = |name, websocket: &Listener, maps_certificates, no_auth_user| ConnectionType {
        asks_for_certificates: websocket.certificates.is_some(),
        ..direct(name, maps_certificates, no_auth_user)
    };
    types.extend(websocket.map(|l| direct("WEBSOCKET", l.maps_certificates, l.no_auth_user.as_ref().or(anonymous(l)))));
    if let Some(mqtt) = listener(ListenerKind::Mqtt) {
        let no_auth_user = mqtt.no_auth_user.as_ref().or(anonymous(mqtt));
        types.push(direct("MQTT", mqtt.maps_certificates, no_auth_user));
        types.extend(websocket.map(|l| over_websocket("MQTT_WS", l, mqtt.maps_certificates, no_auth_user)));
    }
    // With logins of their own, leaf nodes are no users of accounts.
    if let Some(leaf) = listener(ListenerKind::Leaf).filter(|leaf| !leaf.has_logins) {
        types.push(direct("LEAFNODE", leaf.maps_certificates, of_server));
        let by_websocket =
            |l| over_websocket("LEAFNODE_WS", l, leaf.maps_certificates, l.no_auth_user.as_ref().or(of_server));
        types.extend(websocket.map(by_websocket));
    }
    types
}

/// The connection types with which a user can log in.
pub fn types_of<'s>(system: &'s System, account: &Account, user: &User) -> Vec<ConnectionType<'s>> {
    if user.needs_proxy && !system.server.trusts_proxies {
        return Vec::new();
    }
    let takes = |kind: &ConnectionType<'_>| !kind.name.starts_with("LEAFNODE") || account.takes_leaf_nodes();
    connection_types(system).into_iter().filter(|kind| user.allows(kind.name) && takes(kind)).collect()
}

/// Whether some listener identifies the user by a certificate. The server then takes no empty password of a user
/// without one, at any listener (since 2.14.4).
pub fn has_certificate(system: &System, user: &User) -> bool {
    let maps = |kind: &ConnectionType<'_>| kind.maps_certificates && kind.asks_for_certificates;
    connection_types(system).iter().any(|kind| maps(kind) && user.allows(kind.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::system;

    /// `TYPE` for each way in, `TYPE by certificate`, or `TYPE as USER`.
    fn types(listeners: &str, user: &str) -> Vec<String> {
        let system = system(&format!(
            "no_auth_user: n\n{listeners}\naccounts {{ A {{ users: [{{ user: u, {user} }}, {{ user: n }}, {{ user: w }}] }} }}"
        ));
        let (account, user) = (&system.accounts[0], &system.accounts[0].users[0]);
        let text = |kind: ConnectionType<'_>| match (kind.maps_certificates, kind.no_auth_user) {
            (true, _) => format!("{} by certificate", kind.name),
            (false, Some((name, _))) if name != "n" => format!("{} as {name}", kind.name),
            (false, Some(_)) => kind.name.to_owned(),
            (false, None) => format!("{} without no_auth_user", kind.name),
        };
        types_of(&system, account, user).into_iter().map(text).collect()
    }

    #[test]
    fn a_user_connects_by_the_listeners_of_its_types() {
        let websocket = |more: &str| format!("websocket {{ listen: \"127.0.0.1:8080\", no_tls: true{more} }}");
        let leaf = |more: &str| format!("leafnodes {{ listen: \"127.0.0.1:7422\"{more} }}");
        let maps = ", tls { cert_file: c, key_file: k, ca_file: a, verify_and_map: true }";
        for (listeners, user, expected) in [
            (String::new(), "", &["STANDARD"][..]),
            (String::new(), "allowed_connection_types: [WEBSOCKET]", &[]),
            (String::new(), "proxy_required: true", &[]),
            (maps[2..].to_owned(), "", &["STANDARD by certificate"]),
            (websocket(""), "", &["STANDARD", "WEBSOCKET"]),
            (websocket(", no_auth_user: w"), "", &["STANDARD", "WEBSOCKET as w"]),
            (leaf(""), "", &["STANDARD", "LEAFNODE"]),
            (leaf(maps), "", &["STANDARD", "LEAFNODE by certificate"]),
            (leaf(", authorization { user: l, password: p }"), "", &["STANDARD"]),
            (
                leaf("") + "\n" + &websocket(", no_auth_user: w"),
                "allowed_connection_types: [LEAFNODE_WS]",
                &["LEAFNODE_WS as w"],
            ),
            (websocket("") + "\n" + &leaf(""), "allowed_connection_types: [leafnode]", &["LEAFNODE"]),
        ] {
            assert_eq!(types(&listeners, user), expected, "{listeners} {user}");
        }
    }

    #[test]
    fn a_user_has_a_certificate_if_a_listener_of_its_types_maps_them() {
        let tls = "tls { cert_file: c, key_file: k, ca_file: a, verify_and_map: true }";
        for (listeners, types, expected) in [
            (tls.to_owned(), "", true),
            (tls.to_owned(), "allowed_connection_types: [LEAFNODE]", false),
            (format!("leafnodes {{ port: 7422, {tls} }}"), "allowed_connection_types: [LEAFNODE]", true),
            (format!("leafnodes {{ port: 7422, {tls}, authorization {{ user: l, password: p }} }}"), "", false),
            (
                format!("leafnodes {{ port: 7422, {tls} }}\nwebsocket {{ port: 80, no_tls: true }}"),
                "allowed_connection_types: [LEAFNODE_WS]",
                false,
            ),
        ] {
            let system = system(&format!("{listeners}\naccounts {{ A {{ users: [{{ user: u, {types} }}] }} }}"));
            assert_eq!(has_certificate(&system, &system.accounts[0].users[0]), expected, "{listeners} {types}");
        }
    }
}
