//! `no_auth_user` logs clients in without credentials.

use std::collections::HashSet;

use super::Rule;
use crate::audit::connecting::{ConnectionType, connection_types, types_of};
use crate::audit::reach::published;
use crate::audit::system::{AuthMethod, System, User};
use crate::audit::tenants::Tenants;
use crate::diag::Diagnostic;

pub const RULE: Rule = Rule {
    id: "anonymous-user",
    proves: "no client logs in without credentials",
    why: "Clients without credentials become the user that `no_auth_user` names, in the server's options or in its websocket or mqtt block",
    mend: "remove `no_auth_user`",
    check,
};

fn check(system: &System, _: &Tenants, out: &mut Vec<Diagnostic>) {
    if let Some((account, span)) = &system.sentinel {
        let message = format!("clients without credentials are users of `{account}`");
        out.push(RULE.error(*span, message).hint("remove `default_sentinel`, or deny it everything"));
    }
    let mut found = HashSet::new();
    for (name, span) in connection_types(system).into_iter().filter_map(|kind| kind.no_auth_user) {
        if !found.insert(*span) {
            continue;
        }
        let Some((account, user)) = system.clients().find(|(_, user)| user.name == *name) else { continue };
        let is_this = |kind: &ConnectionType<'_>| kind.no_auth_user.is_some_and(|(_, other)| other == span);
        // Where a certificate decides, there is no anonymous client of a user with a password.
        let types: Vec<&str> = types_of(system, account, user)
            .iter()
            .filter(|kind| is_this(kind) && (!kind.maps_certificates || user.auth == AuthMethod::Nkey))
            .map(|kind| kind.name)
            .collect();
        let is_idle = published(account, user, None).is_empty() && !user.permissions.subscribe.hears_anything();
        if types.is_empty() || !lets_in(user) || is_idle {
            continue;
        }
        let message = format!("clients without credentials log in as `{}/{name}` ({})", account.name, types.join(", "));
        out.push(RULE.error(*span, message));
    }
}

/// Whether it is of use to be a user without a password: the server still compares a hash.
fn lets_in(user: &User) -> bool {
    !matches!(user.auth, AuthMethod::Hashed(_) | AuthMethod::BrokenHash(_))
}

#[cfg(test)]
mod tests {
    use crate::audit::testing::rules;

    /// Measured on nats-server 2.15.1.
    #[test]
    fn clients_without_credentials_come_by_the_listeners_of_the_named_user() {
        let map = "tls { cert_file: c, key_file: k, ca_file: a, verify_and_map: true }";
        let websocket = "websocket { listen: \"127.0.0.1:8080\", no_tls: true, no_auth_user: u }";
        let leaf = "leafnodes { listen: \"127.0.0.1:7422\" }";
        let of_leaf = "allowed_connection_types: [LEAFNODE_WS]";
        for (listeners, user, is_found) in [
            ("no_auth_user: u".to_owned(), "password: p", true),
            (format!("no_auth_user: u\n{map}"), "password: p", false),
            ("no_auth_user: u".to_owned(), "password: p, proxy_required: true", false),
            ("no_auth_user: u\nproxies { trusted: [{ key: UCARKS2E3KVB7YORL2DG34XLT7PUCOL2SVM7YXV6ETHLW6Z46UUJ2VZ3 }] }".to_owned(), "password: p, proxy_required: true", true),
            (format!("{websocket}\n{leaf}"), of_leaf, true),
            (websocket.to_owned(), of_leaf, false),
            (format!("{websocket}\nleafnodes {{ port: 7422, authorization {{ user: l, password: p }} }}"), of_leaf, false),
        ] {
            let text = format!("{listeners}\naccounts {{ A {{ users: [{{ user: u, {user} }}] }} }}");
            assert_eq!(rules(&text).contains(&"anonymous-user"), is_found, "{text}");
        }
    }
}
