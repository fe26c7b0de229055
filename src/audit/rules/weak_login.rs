//! Missing, plain-text and malformed passwords.

use super::Rule;
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
    for ListenerLogin { auth, span, .. } in system.server.listeners.iter().flat_map(|d| &d.logins) {
        match auth {
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
    // With `verify_and_map` the certificate replaces the password, except on the MQTT and
    // WebSocket listeners.
    let by_certificate = system.server.maps_certificates
        && !system
            .server
            .listeners
            .iter()
            .any(|d| d.listens && matches!(d.kind, ListenerKind::Mqtt | ListenerKind::WebSocket));
    for (account, user) in system.users() {
        let who = format!("`{}/{}`", account.name, user.name);
        out.push(match user.auth {
            AuthMethod::NoPassword if by_certificate => continue,
            AuthMethod::NoPassword => RULE.error(user.span, format!("{who} logs in with an empty password")),
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
