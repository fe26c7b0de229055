//! Cluster and gateway listeners that accept any server.

use super::Rule;
use crate::audit::connecting::has_certificate;
use crate::audit::system::{Certificates, Listener, ListenerKind, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "open-cluster",
    proves: "only servers of the system can join it",
    why: "A client that reaches a cluster or gateway port without authorization can act as a server, and read and forge messages in every account",
    mend: "set `authorization` with a user in the block, or TLS with a `ca_file` that signs these servers only",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    for (listener, what) in listeners(system) {
        let Some(certificates) = &listener.certificates else {
            if !listener.has_logins {
                let message = format!("any client that reaches the {what} port can join as a server");
                out.push(RULE.error(listener.span, message));
            }
            continue;
        };
        let Some(authority) = authority_of_clients(system, certificates) else { continue };
        if names_decide(listener, certificates) {
            let is_login = |name: &str| listener.maps_certificates && listener.logins.iter().any(|l| l.name == name);
            let found = system.users().find(|(_, user)| is_login(&user.name) && has_certificate(system, user));
            if let Some((account, user)) = found {
                let message = format!(
                    "`{}/{}` can join as a server by the {what} port with its certificate",
                    account.name, user.name
                );
                out.push(RULE.error(listener.span, message));
            }
        } else if !listener.has_logins {
            let message = format!("any client with a certificate {authority} can join as a server by the {what} port");
            out.push(RULE.error(listener.span, message));
        }
    }
}

/// The listeners for servers, each with what it is for.
pub fn listeners(system: &System) -> impl Iterator<Item = (&Listener, &'static str)> {
    let name = |listener: &'_ Listener| match listener.kind {
        ListenerKind::Cluster => Some("cluster"),
        ListenerKind::Gateway => Some("gateway"),
        _ => None,
    };
    system.server.listeners.iter().filter(|l| l.listens).filter_map(move |listener| Some((listener, name(listener)?)))
}

/// Whether the names in a certificate decide who is a server, whatever password comes with it.
pub fn names_decide(listener: &Listener, certificates: &Certificates) -> bool {
    listener.maps_certificates || certificates.name_servers
}

/// The authority of a listener's certificates if it signs those of clients or leaf nodes too, as the end of
/// "a certificate". `None`: it does not, or they are listed one by one.
pub fn authority_of_clients(system: &System, certificates: &Certificates) -> Option<String> {
    if certificates.are_pinned {
        return None;
    }
    let Some(ca) = &certificates.ca else { return Some("of an authority that the machine trusts".to_owned()) };
    let leaf = system.server.listeners.iter().filter(|l| l.kind == ListenerKind::Leaf);
    let signs_leaf = leaf.filter_map(|l| l.certificates.as_ref()?.ca.as_ref()).any(|c| c.identity == ca.identity);
    let signs = signs_leaf || system.server.signs_clients(ca);
    signs.then(|| format!("of `{}`, which signs clients too,", ca.file))
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::findings;

    /// Measured on nats-server 2.15.1: a client's certificate with a name of a route joins without the password.
    #[test]
    fn where_names_decide_a_password_does_not() {
        let conf = |cluster: &str, user: &str| {
            format!(
                "tls {{ cert_file: c, key_file: k, ca_file: clients, verify_and_map: true }}\n\
                 cluster {{ name: c, listen: \"127.0.0.1:6222\", routes: [\"nats-route://localhost:6223\"]\n{cluster} }}\n\
                 accounts {{ A {{ users: [{{ user: \"{user}\" }}] }} }}"
            )
        };
        let tls = |ca: &str, more: &str| format!("tls {{ cert_file: c, key_file: k, ca_file: {ca}, {more} }}");
        let login = "\nauthorization { user: \"r@x.org\", password: p }";
        let (known, mapped) = ("verify_cert_and_check_known_urls: true", "verify_and_map: true");
        for (cluster, user, expected) in [
            (tls("clients", known) + login, "b", &["decided-elsewhere"][..]),
            (tls("clients", mapped) + login, "b", &["decided-elsewhere"]),
            (tls("clients", mapped) + login, "r@x.org", &["decided-elsewhere", "open-cluster"]),
            (tls("servers", known) + login, "b", &[]),
            (tls("clients", "verify: true") + login, "b", &[]),
            (tls("clients", "verify: true"), "b", &["open-cluster"]),
            (login.to_owned(), "b", &[]),
            (String::new(), "b", &["open-cluster"]),
        ] {
            let found = findings(&conf(&cluster, user)).into_iter().map(|f| f.rule);
            let mut found: Vec<_> = found.filter(|r| ["decided-elsewhere", "open-cluster"].contains(r)).collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{cluster} {user}");
        }
    }
}
