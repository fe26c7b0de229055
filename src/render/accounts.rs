//! The accounts of nats-server.conf. This text isolates the tenants, so it is written
//! here and not by a template: the code cannot produce any of the forms that the server
//! reads as "allow everything".

use std::collections::HashMap;

use crate::conf::Writer;
use crate::model::names::AccountName;
use crate::model::permissions::{Grant, Permissions};
use crate::model::{ShareKind, SystemAccount, Tenant, User};

use super::credentials::{IssuedCredential, ServerAuth};

/// The block of the system account.
pub fn system(system: &SystemAccount, access: &[IssuedCredential]) -> String {
    let mut w = Writer::at_depth(1);
    w.comment("The system account operates the server; its users can do anything. No tenant is in it.");
    w.named_block(system.account.as_str(), |w| users(w, &system.users, access));
    w.into_text()
}

/// The account block of one tenant.
pub fn tenant(tenant: &Tenant, access: &[IssuedCredential]) -> String {
    let mut w = Writer::at_depth(1);
    let subjects: Vec<&str> = tenant.subjects.iter().map(crate::subject::Subject::as_str).collect();
    w.line("");
    w.comment(&format!("{}: {}", tenant.name, subjects.join(" ")));
    w.named_block(tenant.name.as_str(), |w| {
        users(w, &tenant.users, access);
        w.block("limits", |w| {
            if tenant.provisioner().is_some() {
                w.comment(&format!(
                    "{} of its clients, and one of tenantry's, which makes its streams",
                    tenant.limits.connections
                ));
            }
            w.number("max_connections", tenant.max_connections().into());
            w.comment("for each connection, and one more: a reload disconnects who is at the limit");
            w.number("max_subscriptions", tenant.max_subscriptions().into());
            w.size("max_payload", tenant.limits.payload);
            w.number("max_leafnodes", 0);
        });
        if let Some(jetstream) = tenant.jetstream {
            w.block("jetstream", |w| {
                w.size("max_memory", jetstream.memory);
                w.size("max_store", jetstream.storage);
                w.number("max_streams", jetstream.streams.into());
                w.comment("for each stream");
                w.number("max_consumers", jetstream.consumers.into());
                w.number("max_ack_pending", jetstream.max_ack_pending.into());
            });
        }
        shares(w, tenant);
    });
    w.into_text()
}

fn shares(w: &mut Writer, tenant: &Tenant) {
    if !tenant.exports.is_empty() || !tenant.stream_exports.is_empty() {
        w.array("exports", |w| {
            for export in &tenant.exports {
                w.item(|w| {
                    w.text(export.kind.as_str(), export.subject.as_str());
                    w.list("accounts", export.to.iter().map(AccountName::as_str));
                });
            }
            for copy in &tenant.stream_exports {
                w.comment(&format!("{} may copy stream {}", copy.to, copy.stream));
                for (kind, subject, _) in copy.ways() {
                    w.item(|w| {
                        w.text(kind.as_str(), &subject);
                        w.list("accounts", [copy.to.as_str()].into_iter());
                    });
                }
            }
        });
    }
    if !tenant.imports.is_empty() || !tenant.stream_imports.is_empty() {
        w.array("imports", |w| {
            for import in &tenant.imports {
                let subject = import.subject.as_str();
                self::import(w, import.kind, &import.from, subject, subject);
            }
            for copy in &tenant.stream_imports {
                w.comment(&format!(
                    "a copy of stream {} of {}: for the server, no user may use it",
                    copy.stream, copy.from
                ));
                for (kind, subject, local) in copy.ways() {
                    import(w, kind, &copy.from, &subject, &local);
                }
            }
        });
    }
}

fn import(w: &mut Writer, kind: ShareKind, from: &AccountName, subject: &str, local: &str) {
    let to = if local == subject { String::new() } else { format!(", to: \"{}\"", crate::conf::escape(local)) };
    let (from, subject) = (crate::conf::escape(from.as_str()), crate::conf::escape(subject));
    w.line(&format!("{{ {}: {{ account: \"{from}\", subject: \"{subject}\" }}{to} }}", kind.as_str()));
}

/// Follows a user's name in the comment above the user.
const ROLE: &str = ": role ";

/// The names of the users in rendered accounts that log in by a key, by public key. The server
/// knows these users by their keys alone, so the names are in comments.
pub fn names_of_nkeys(accounts: &str) -> HashMap<&str, &str> {
    let mut names = HashMap::new();
    let mut name = None;
    for line in accounts.lines().map(str::trim) {
        if let Some((user, _)) = line.strip_prefix("# ").and_then(|comment| comment.split_once(ROLE)) {
            name = Some(user);
        } else if let Some(key) = line.strip_prefix("nkey: \"").and_then(|rest| rest.strip_suffix('"')) {
            names.extend(name.take().map(|name| (key, name)));
        }
    }
    names
}

fn users(w: &mut Writer, users: &[User], access: &[IssuedCredential]) {
    w.array("users", |w| {
        for (user, access) in users.iter().zip(access) {
            w.comment(&format!("{}{ROLE}{}, {}", user.name, user.role, user.credential.kind()));
            w.item(|w| {
                match &access.auth {
                    ServerAuth::Nkey(public) => w.text("nkey", public),
                    ServerAuth::Password(hash) => {
                        w.text("user", user.name.as_str());
                        w.text("password", hash);
                    }
                }
                w.list("allowed_connection_types", ["STANDARD"].into_iter());
                permissions(w, &user.permissions);
            });
        }
    });
}

fn permissions(w: &mut Writer, permissions: &Permissions) {
    w.block("permissions", |w| {
        grant(w, "publish", &permissions.publish);
        grant(w, "subscribe", &permissions.subscribe);
        w.line("allow_responses: false");
    });
}

/// Writes the publish or the subscribe permissions. No permission is written as
/// `deny: [">"]`: the server reads an empty `allow` list as "allow everything".
fn grant(w: &mut Writer, side: &str, grant: &Grant) {
    w.block(side, |w| match grant {
        Grant::Nothing => w.list("deny", [">"].into_iter()),
        Grant::Everything => w.list("allow", [">"].into_iter()),
        Grant::Only(allowed) => {
            w.list("allow", allowed.subjects().iter().map(crate::subject::Subject::as_str));
            let mut denied: Vec<String> = allowed.no_queue_on().iter().map(|s| format!("{s} >")).collect();
            if !denied.is_empty() {
                w.comment(
                    "shared by another tenant: plain subscriptions only, a queue would take its workers' messages",
                );
            }
            if side == "subscribe" {
                let below = allowed.below_wildcards();
                if !below.is_empty() {
                    w.comment("the server takes `a.>` for allowed by `a.*`: what lies below is denied");
                }
                denied.extend(below.iter().map(ToString::to_string));
            }
            if !denied.is_empty() {
                w.list("deny", denied.iter().map(String::as_str));
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::credentials::{Keyring, Supplied};
    use super::*;
    use crate::conf::value::{Map, Value};
    use crate::keys::{AccountKind, HashCache, RootKey};
    use crate::model::BcryptCost;
    use crate::project::tests::{conf, model};
    use crate::subject::Subject;

    const REGISTRY: &str = "[[tenant]]\nname = \"A\"\n[tenant.jetstream]\nstorage = \"1MiB\"\n[[tenant.user]]\n\
        name = \"app\"\n[[tenant]]\nname = \"B\"\n[[tenant.user]]\nname = \"app\"\n\
        [[share]]\nfrom = \"A\"\nto = [\"B\"]\nstream = \"A.public.>\"\n";

    fn access(kind: AccountKind, account: &AccountName, users: &[User]) -> Vec<IssuedCredential> {
        let (root, supplied, hashes) = (RootKey::development(), Supplied::new(), HashCache::default());
        let bcrypt = BcryptCost { derived: 4, supplied: 4 };
        Keyring { root: &root, supplied: &supplied, bcrypt, hashes: &hashes }.credentials(kind, account, users)
    }

    #[test]
    fn users_with_a_key_are_found_by_it() {
        let model = model(&REGISTRY.replacen(
            "name = \"app\"",
            "name = \"p\"\nauth = \"password\"\n[[tenant.user]]\nname = \"app\"",
            1,
        ));
        for tenant in &model.tenants {
            let access = access(AccountKind::Tenant, &tenant.name, &tenant.users);
            let text = super::tenant(tenant, &access);
            let named = names_of_nkeys(&text);
            let nkeys = tenant.users.iter().zip(&access).filter_map(|(user, access)| match &access.auth {
                ServerAuth::Nkey(public) => Some((public.as_str(), user.name.as_str())),
                ServerAuth::Password(_) => None,
            });
            let nkeys: HashMap<_, _> = nkeys.collect();
            assert!(nkeys.values().any(|name| *name == "app"), "{nkeys:?}");
            assert_eq!(named, nkeys);
        }
    }

    /// The account's block, as the server reads it.
    fn account(tenant: &Tenant) -> Map {
        let text = super::tenant(tenant, &access(AccountKind::Tenant, &tenant.name, &tenant.users));
        map(&conf(&text), tenant.name.as_str())
    }

    fn value<'m>(map: &'m Map, key: &str) -> &'m Value {
        &map.get(key).unwrap_or_else(|| panic!("no {key}")).value
    }

    fn map(map: &Map, key: &str) -> Map {
        match value(map, key) {
            Value::Map(map) => map.clone(),
            other => panic!("{key} is {}", other.kind()),
        }
    }

    fn maps(map: &Map, key: &str) -> Vec<Map> {
        let Value::Array(nodes) = value(map, key) else { panic!("{key} is no list") };
        nodes.iter().map(|n| if let Value::Map(map) = &n.value { map.clone() } else { panic!("{key}") }).collect()
    }

    fn texts(map: &Map, key: &str) -> Vec<String> {
        let Value::Array(nodes) = value(map, key) else { panic!("{key} is no list") };
        nodes.iter().map(|n| if let Value::Text(text) = &n.value { text.clone() } else { panic!("{key}") }).collect()
    }

    fn keys(map: &Map) -> Vec<&str> {
        map.entries.iter().map(|e| e.key.as_str()).collect()
    }

    /// The permissions that a user with these grants is given.
    fn permissions_of(publish: &Grant, subscribe: &Grant) -> Map {
        let mut tenant = model(REGISTRY).tenants.remove(0);
        tenant.users.truncate(1);
        tenant.users[0].permissions = Permissions { publish: publish.clone(), subscribe: subscribe.clone() };
        map(&maps(&account(&tenant), "users")[0], "permissions")
    }

    #[test]
    fn both_sides_are_always_there_and_no_permission_is_a_deny_of_everything() {
        let subject = |text: &str| Subject::parse(text).expect("a subject");
        let only = Grant::only([subject("A.x"), subject("A.y.>")]);
        let grants = [
            (Grant::only([]), "deny", vec![">"]),
            (Grant::Nothing, "deny", vec![">"]),
            (Grant::Everything, "allow", vec![">"]),
            (only, "allow", vec!["A.x", "A.y.>"]),
        ];
        for (publish, publish_key, publish_list) in &grants {
            for (subscribe, subscribe_key, subscribe_list) in &grants {
                let permissions = permissions_of(publish, subscribe);
                let sides = (map(&permissions, "publish"), map(&permissions, "subscribe"));
                assert_eq!((keys(&sides.0), keys(&sides.1)), (vec![*publish_key], vec![*subscribe_key]));
                assert_eq!(texts(&sides.0, publish_key), *publish_list);
                assert_eq!(texts(&sides.1, subscribe_key), *subscribe_list);
            }
        }
    }

    #[test]
    fn a_subject_without_queues_is_allowed_and_its_queues_are_denied() {
        let subject = Subject::parse("B.public.>").expect("a subject");
        let grant = Grant::only([subject.clone()]).without_queues_on([subject]);
        let side = map(&permissions_of(&Grant::Nothing, &grant), "subscribe");
        assert_eq!(
            (texts(&side, "allow"), texts(&side, "deny")),
            (vec!["B.public.>".into()], vec!["B.public.> >".into()])
        );
    }

    #[test]
    fn what_lies_below_a_last_wildcard_is_denied_to_subscriptions_alone() {
        let grant = Grant::only([Subject::parse("A.*").expect("a subject")]);
        let permissions = permissions_of(&grant, &grant);
        let deny = |side: &str| map(&permissions, side).get("deny").is_some();
        assert_eq!((deny("publish"), deny("subscribe")), (false, true));
        assert_eq!(texts(&map(&permissions, "subscribe"), "deny"), ["A.*.>"]);
    }

    #[test]
    fn replies_beyond_the_lists_are_refused_and_never_left_out() {
        let permissions = permissions_of(&Grant::Nothing, &Grant::Nothing);
        assert_eq!(*value(&permissions, "allow_responses"), Value::Bool(false));
    }

    #[test]
    fn an_account_has_finite_limits_and_exports_to_named_accounts_only() {
        let tenants = model(REGISTRY).tenants;
        let (a, b) = (account(&tenants[0]), account(&tenants[1]));
        for account in [&a, &b] {
            let limits = map(account, "limits");
            assert_eq!(keys(&limits), ["max_connections", "max_subscriptions", "max_payload", "max_leafnodes"]);
            assert_eq!(*value(&limits, "max_leafnodes"), Value::Integer(0));
        }
        assert_eq!(keys(&map(&a, "jetstream")).len(), 5);
        assert!(b.get("jetstream").is_none(), "without JetStream in the registry there is none");
        let exports = maps(&a, "exports");
        assert_eq!((exports.len(), texts(&exports[0], "accounts")), (1, vec!["B".to_owned()]));
        assert!(a.get("imports").is_none() && b.get("exports").is_none());
        let import = map(&maps(&b, "imports")[0], "stream");
        assert_eq!(*value(&import, "account"), Value::Text("A".into()));
        assert_eq!(*value(&import, "subject"), Value::Text("A.public.>".into()));
    }

    #[test]
    fn the_system_accounts_users_are_allowed_everything() {
        let system = model(REGISTRY).system;
        let text = super::system(&system, &access(AccountKind::System, &system.account, &system.users));
        let user = maps(&map(&conf(&text), system.account.as_str()), "users").remove(0);
        for side in ["publish", "subscribe"] {
            assert_eq!(texts(&map(&map(&user, "permissions"), side), "allow"), [">"]);
        }
    }
}
