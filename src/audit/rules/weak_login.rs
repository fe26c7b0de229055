//! Missing, plain-text and malformed passwords.

use super::Rule;
use crate::audit::connecting::{has_certificate, types_of};
use crate::audit::system::{AuthMethod, ListenerKind, ListenerLogin, System};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "weak-login",
    proves: "logging in takes a secret that the file does not show",
    why: "A user without a password logs in with an empty one; a password that is not hashed is readable in the file; with a malformed hash nobody can log in",
    mend: "use an nkey, or a bcrypt hash in \"quotes\": `nats server passwd` makes one",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    let logins = system.server.listeners.iter().flat_map(|l| l.logins.iter().map(move |login| (l, login)));
    for (listener, ListenerLogin { auth, span, is_one_of_users, .. }) in logins {
        match auth {
            // Certificates are not looked at for the only login of leaf nodes.
            AuthMethod::NoPassword
                if listener.maps_certificates && (*is_one_of_users || listener.kind != ListenerKind::Leaf) => {}
            AuthMethod::NoPassword => out.push(RULE.error(*span, "this login needs no password")),
            AuthMethod::Plain(span) => {
                out.push(RULE.warning(*span, "the password of this login is plain text, and no hash").confidential());
            }
            AuthMethod::BrokenHash(span) => {
                out.push(RULE.warning(*span, "nobody can log in: the hash is malformed").confidential());
            }
            AuthMethod::Nkey | AuthMethod::Hashed(_) => {}
        }
    }
    for (account, user) in system.clients() {
        let who = format!("`{}/{}`", account.name, user.name);
        out.push(match user.auth {
            AuthMethod::NoPassword => {
                let types = types_of(system, account, user);
                let Some(open) = types.iter().find(|kind| !kind.maps_certificates) else { continue };
                if has_certificate(system, user) {
                    let message =
                        format!("{who} has no password, which nats-server before 2.14.4 takes from {} clients", open.name);
                    RULE.warning(user.span, message).hint(
                        "update nats-server, or name the connection types whose listeners map certificates in `allowed_connection_types`",
                    )
                } else {
                    RULE.error(user.span, format!("{who} logs in with an empty password"))
                }
            }
            AuthMethod::Plain(span) => {
                RULE.warning(span, format!("the password of {who} is plain text, and no hash")).confidential()
            }
            AuthMethod::BrokenHash(span) => {
                RULE.warning(span, format!("{who} cannot log in: the hash is malformed")).confidential()
            }
            AuthMethod::Nkey | AuthMethod::Hashed(_) => continue,
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::findings;
    use crate::diag::Severity;

    const MAP: &str = "tls { cert_file: c, key_file: k, ca_file: a, verify_and_map: true }";

    /// Severity of each finding, of users without a password.
    fn found(listeners: &str, user: &str) -> Vec<Severity> {
        let text = format!("{listeners}\naccounts {{ A {{ users: [{{ user: u, {user} }}] }} }}");
        let found = findings(&text).into_iter().filter(|f| f.rule == "weak-login");
        found.map(|f| f.severity).collect()
    }

    /// Measured on nats-server 2.14.3, 2.14.4 and 2.15.1.
    #[test]
    fn an_empty_password_logs_in_where_no_certificate_decides() {
        let websocket = "websocket { listen: \"127.0.0.1:8080\", no_tls: true }";
        let leaf = |tls: &str| format!("leafnodes {{ listen: \"127.0.0.1:7422\", {tls} }}");
        let only = |kind: &str| format!("allowed_connection_types: [{kind}]");
        for (listeners, user, expected) in [
            (String::new(), String::new(), &[Severity::Error][..]),
            (MAP.to_owned(), String::new(), &[]),
            (format!("{MAP}\n{websocket}"), String::new(), &[Severity::Warning]),
            (format!("{MAP}\n{websocket}"), only("STANDARD"), &[]),
            (format!("{MAP}\n{websocket}"), only("WEBSOCKET"), &[Severity::Error]),
            (format!("{MAP}\n{}", leaf("")), only("LEAFNODE"), &[Severity::Error]),
            (leaf(MAP), only("LEAFNODE"), &[]),
            (String::new(), only("MQTT"), &[]),
        ] {
            assert_eq!(found(&listeners, &user), expected, "{listeners} {user}");
        }
    }

    #[test]
    fn a_listeners_login_needs_no_password_where_a_certificate_decides() {
        let leaf = |logins: &str| format!("leafnodes {{ port: 7422, {MAP}, authorization {{ {logins} }} }}");
        let cluster = format!("cluster {{ name: c, port: 6222, {MAP}, authorization {{ user: r }} }}");
        let with_password = "password: \"$2a$11$3kIDaCxw.Glsl1.u5nKa6eUnNDLV5HV9tIuUp7EHhMt6Nm9myW1aS\"";
        for (listeners, expected) in [
            (leaf("users: [{ user: l }]"), &[][..]),
            (leaf("user: l"), &[Severity::Error]),
            (cluster.clone(), &[]),
            (cluster.replace(&format!("{MAP}, "), ""), &[Severity::Error]),
        ] {
            assert_eq!(found(&listeners, with_password), expected, "{listeners}");
        }
    }
}
