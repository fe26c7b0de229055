//! The ways in which a configuration is broken, each one leak. To add one: an entry
//! here, with the rules and probes that must catch it; `tenantry verify --mutants`
//! says which do.

use super::Mutant;
use super::draft::{Draft, block};
use crate::model::{Tenant, User};
use crate::verify::expected::may_publish;

/// The subject of a tenant's own space that stands first in its lists.
pub(super) fn space(tenant: &crate::model::Tenant) -> &str {
    tenant.subjects.first().map_or(">", crate::subject::Subject::as_str)
}

/// The stream that `a` shares with `b`.
pub(super) fn shared<'m>(draft: &Draft<'m>) -> Option<&'m str> {
    let stream = |e: &&crate::model::Export| e.kind == crate::model::ShareKind::Stream && e.to.contains(&draft.b.name);
    draft.a.exports.iter().find(stream).map(|e| e.subject.as_str())
}

/// The service that `a` shares with `b`.
pub(super) fn served<'m>(draft: &Draft<'m>) -> Option<&'m str> {
    let service = |i: &&crate::model::Import| i.kind == crate::model::ShareKind::Service && i.from == draft.a.name;
    draft.b.imports.iter().find(service).map(|i| i.subject.as_str())
}

/// Everything of `a` is exported in some form, and `b` imports it.
pub(super) fn exported(draft: &mut Draft<'_>, kind: &str, subject: &str, more: &str) -> Option<()> {
    let (a, b) = (draft.a, draft.b);
    draft.add_to_list(a, "exports", &format!("{{ {kind}: \"{subject}\"{more} }}"))?;
    draft.add_to_list(b, "imports", &format!("{{ {kind}: {{ account: \"{}\", subject: \"{subject}\" }} }}", a.name))
}

/// The same to `b` by name.
pub(super) fn exported_to_other(draft: &mut Draft<'_>, kind: &str, subject: &str) -> Option<()> {
    let to = format!(", accounts: [\"{}\"]", draft.b.name);
    exported(draft, kind, subject, &to)
}

/// A service of `a` is imported by `b` under another name.
pub(super) fn served_as(draft: &mut Draft<'_>, service: &str, name: &str) -> Option<()> {
    let (a, b) = (draft.a, draft.b);
    draft.add_to_list(a, "exports", &format!("{{ service: \"{service}\", accounts: [\"{}\"] }}", b.name))?;
    let import = format!("{{ service: {{ account: \"{}\", subject: \"{service}\" }}, to: \"{name}\" }}", a.name);
    draft.add_to_list(b, "imports", &import)
}

/// The users of `b` are in the account of `a`, which exports nothing.
fn merged(draft: &mut Draft<'_>) -> Option<()> {
    let theirs = draft.take_account(draft.b)?;
    let users = block(&theirs, 0..theirs.len(), "users: [")?;
    let users = theirs[users].trim_start_matches("users: [").trim_end_matches(']').to_owned();
    if let Some(at) = block(&draft.conf.accounts, 0..draft.conf.accounts.len(), "exports: [") {
        draft.conf.accounts.replace_range(at, "");
    }
    draft.add_to_list(draft.a, "users", &users)
}

/// Whether a user may create streams and read them.
fn may_manage_streams(user: &User) -> bool {
    ["CREATE", "MSG.GET"].iter().all(|verb| may_publish(user, &format!("$JS.API.STREAM.{verb}.x")))
}

/// Every mutant.
pub const MUTANTS: &[Mutant] = mutants! {
    "fail-open" {
        "permissions-empty", "a user's permissions are `{}`", ["open-permissions", "subscribing", "publishing"] => |d| {
            let user = d.user(d.a)?;
            d.user_block(d.a, user, "permissions {", "permissions {}")
        };
        "permissions-missing", "a user has no permissions block", ["subscribing", "publishing"] => |d| {
            let user = d.user(d.a)?;
            d.user_block(d.a, user, "permissions {", "")
        };
        "publish-empty", "`publish {}`", ["open-permissions", "publishing"] => |d| {
            let user = d.user(d.a)?;
            d.user_block(d.a, user, "publish {", "publish {}")
        };
        "publish-empty-array", "`publish: []`", ["open-permissions", "publishing"] => |d| {
            let user = d.user(d.a)?;
            d.user_block(d.a, user, "publish {", "publish: []")
        };
        "publish-allows-nothing", "`publish { allow: [] }`", ["open-permissions", "publishing"] => |d| {
            let user = d.user(d.a)?;
            d.user_block(d.a, user, "publish {", "publish { allow: [] }")
        };
        "subscribe-allows-nothing", "`subscribe { allow: [] }`", ["open-permissions", "subscribing"] => |d| {
            let user = d.user(d.a)?;
            d.user_block(d.a, user, "subscribe {", "subscribe { allow: [] }")
        };
        "publish-only", "only publishing is limited", ["subscribing"] => |d| {
            let user = d.user(d.a)?;
            d.user_block(d.a, user, "subscribe {", "")
        };
        "subscribe-only", "only subscribing is limited", ["publishing"] => |d| {
            let user = d.user(d.a)?;
            d.user_block(d.a, user, "publish {", "")
        };
        "deny-only", "a deny list instead of an allow list", ["publishing"] => |d| {
            let user = d.user(d.a)?;
            d.user_block(d.a, user, "publish {", "publish { deny: [\"$SYS.>\"] }")
        };
        "deny-only-subscribe", "a deny list instead of an allow list, subscribing", ["subscribing"] => |d| {
            let user = d.user(d.a)?;
            d.user_block(d.a, user, "subscribe {", "subscribe { deny: [\"$SYS.>\"] }")
        };
    }
    "grants" {
        "subscribe-everything", "subscribing to `>` is granted", ["subscribing"] => |d| {
            let user = d.user(d.a)?;
            d.grant(d.a, user, "subscribe", ">")
        };
        "publish-everything", "publishing to `>` is granted", ["publishing"] => |d| {
            let user = d.user(d.a)?;
            d.grant(d.a, user, "publish", ">")
        };
        "subscribe-others", "subscribing to another tenant's subjects is granted", ["subscribing"] => |d| {
            let (user, theirs) = (d.user(d.a)?, space(d.b));
            d.grant(d.a, user, "subscribe", theirs)
        };
        "publish-others", "publishing to another tenant's subjects is granted", ["publishing"] => |d| {
            let (user, theirs) = (d.user(d.a)?, space(d.b));
            d.grant(d.a, user, "publish", theirs)
        };
        "inboxes", "everybody's inboxes may be read", ["inboxes"] => |d| {
            let user = d.user(d.a)?;
            d.grant(d.a, user, "subscribe", "_INBOX.>")
        };
        "inbox-injection", "everybody's inboxes may be written to", ["inboxes"] => |d| {
            let user = d.user(d.a)?;
            d.grant(d.a, user, "publish", "_INBOX.>")
        };
        "system-requests", "`$SYS.>` is granted", ["system"] => |d| {
            let user = d.user(d.a)?;
            d.grant(d.a, user, "publish", "$SYS.>")
        };
        "jetstream-api", "the whole JetStream API is granted to a user that had a part of it", ["jetstream-api"] => |d| {
            let user = d.user(d.a)?;
            d.grant(d.a, user, "publish", "$JS.API.>")
        };
        "discovery", "service discovery is granted", ["discovery"] => |d| {
            let user = d.user(d.a)?;
            d.grant(d.a, user, "subscribe", "$SRV.>")
        };
    }
    "shared-account" {
        "one-account", "two tenants' users are in one account", ["shared-account", "entry"] => merged;
        "one-account-answers", "two tenants' users are in one account, and answer wherever they are asked to", ["shared-account", "replies"] => |d| {
            merged(d)?;
            d.everywhere_in_account(d.a, "allow_responses: false", "allow_responses { max: 10, expires: \"30s\" }")
        };
        "one-account-jetstream", "two tenants' users are in one account, and both manage streams", ["shared-account", "streams", "buckets", "object-stores", "acknowledgements", "destruction", "redirection", "sources", "capture"] => |d| {
            let manage = |t: &Tenant| t.jetstream.is_some() && t.users.iter().any(may_manage_streams);
            (manage(d.a) && manage(d.b)).then_some(())?;
            merged(d)
        };
        "one-account-without-lists", "two tenants' users are in one account, all permissions dropped", ["shared-account", "canaries"] => |d| {
            merged(d)?;
            for tenant in [d.a, d.b] {
                for user in &tenant.users {
                    let remark = d.conf.accounts.find(&format!("# {}: role", user.name))?;
                    let at = block(&d.conf.accounts, remark..d.conf.accounts.len(), "permissions {")?;
                    d.conf.accounts.replace_range(at, "");
                }
            }
            Some(())
        };
        "system-account", "a tenant's account is the system account", ["system-tenant"] => |d| {
            let (from, to) = (format!("system_account: \"{}\"", d.model.system.account), format!("system_account: \"{}\"", d.a.name));
            d.conf.accounts = d.conf.accounts.replacen(&from, &to, 1);
            Some(())
        };
    }
    "shares" {
        "public-export", "everything is exported to nobody by name, and imported", ["public-export", "declarations"] => |d| exported(d, "stream", space(d.a), "");
        "public-export-empty", "`accounts: []`", ["public-export", "declarations"] => |d| exported(d, "stream", space(d.a), ", accounts: []");
        "undeclared-stream", "everything is exported to another tenant, which nothing declares", ["declarations"] => |d| {
            exported_to_other(d, "stream", space(d.a))
        };
        "wider-share", "a share is wider than declared", ["declarations"] => |d| {
            let narrow = format!("\"{}\"", shared(d)?);
            let wide = format!("\"{}\"", space(d.a));
            let (a, b) = (d.a, d.b);
            d.everywhere_in_account(a, &format!("stream: {narrow}"), &format!("stream: {wide}"))?;
            d.everywhere_in_account(b, &format!("subject: {narrow}"), &format!("subject: {wide}"))
        };
        "undeclared-service", "another tenant's subjects are imported as a service", ["declarations"] => |d| {
            exported_to_other(d, "service", space(d.a))
        };
        "jetstream-export", "a tenant's JetStream API is exported", ["reserved-export", "declarations"] => |d| {
            served_as(d, "$JS.API.>", "theirs.>")
        };
        "key-value-export", "a tenant's buckets are exported", ["reserved-export", "declarations"] => |d| {
            exported_to_other(d, "stream", "$KV.>")
        };
        "wildcard-service", "a service names its importer in a token that nobody checks", ["wildcard-service", "declarations"] => |d| {
            let (a, b) = (d.a, d.b);
            d.add_to_list(a, "exports", &format!("{{ service: \"rpc.*.get\", accounts: [\"{}\", THIRD] }}", b.name))?;
            d.add_account(&format!("THIRD {{ imports: [ {{ service: {{ account: \"{}\", subject: \"rpc.THIRD.get\" }} }} ] }}", a.name))?;
            d.add_to_list(b, "imports", &format!("{{ service: {{ account: \"{}\", subject: \"rpc.*.get\" }} }}", a.name))
        };
        "shared-identity", "an import gives the asking user's identity away", ["shares"] => |d| {
            let service = served(d)?;
            let import = format!("{{ service: {{ account: \"{}\", subject: \"{service}\" }}", d.a.name);
            d.in_account(d.b, &import, &format!("{import}, share: true"))
        };
        "traced-share", "tracing goes across a service", ["tracing"] => |d| {
            // Where nobody hears the service, there is nobody to be traced.
            let service = crate::subject::Subject::as_the_server_reads(served(d)?)?;
            let hears = |user: &crate::model::User| {
                crate::verify::expected::listed(&user.permissions.subscribe).iter().any(|listed| listed.overlaps(&service))
            };
            d.a.users.iter().any(hears).then_some(())?;
            let service = format!("service: \"{}\"", served(d)?);
            d.in_account(d.a, &service, &format!("{service}\n        allow_trace: true"))
        };
        "queue-stealing", "an importer may join queues", ["queue-stealing", "queues"] => |d| {
            let user = d.user(d.b)?;
            let denied = format!("deny: [\"{} >\"]", shared(d)?);
            d.in_user(d.b, user, &denied, "")
        };
        "queue-stealing-by-tokens", "an importer may join queues of several tokens", ["queue-stealing", "queues"] => |d| {
            let user = d.user(d.b)?;
            let (denied, narrower) = (format!("deny: [\"{} >\"]", shared(d)?), format!("deny: [\"{} *\"]", shared(d)?));
            d.in_user(d.b, user, &denied, &narrower)
        };
        "answered-import", "an importer may answer wherever a shared message likes", ["answered-import", "answers"] => |d| {
            shared(d)?;
            let user = d.user(d.b)?;
            d.in_user(d.b, user, "allow_responses: false", "allow_responses: true")
        };
    }
    "limits" {
        "jetstream-unlimited", "JetStream without limits", ["unlimited-jetstream", "limits"] => |d| d.account_block(d.a, "jetstream {", "jetstream: enabled");
        "storage-unlimited", "no limit of disk", ["unlimited-jetstream", "limits"] => |d| d.in_account(d.a, "max_store:", "# max_store:");
        "memory-unlimited", "no limit of memory", ["unlimited-jetstream", "limits"] => |d| d.in_account(d.a, "max_memory:", "# max_memory:");
        "streams-zero", "`max_streams: 0` is no limit", ["limits"] => |d| {
            let declared = format!("max_streams: {}", d.a.jetstream?.streams);
            d.in_account(d.a, &declared, "max_streams: 0")
        };
        "consumers-unlimited", "no limit of consumers", ["limits"] => |d| d.in_account(d.a, "max_consumers:", "# max_consumers:");
        "oversubscribed", "more disk than the server has", ["oversubscribed"] => |d| {
            let declared = format!("max_store: {}", d.a.jetstream?.storage.bytes());
            d.in_account(d.a, &declared, "max_store: 999TB")
        };
        "connections-unlimited", "no limit of connections", ["limits"] => |d| d.in_account(d.a, "max_connections:", "# max_connections:");
        "connections-truncated", "a limit of connections that 32 bits cut to \"none\"", ["truncated-limit", "limits"] => |d| {
            let declared = format!("max_connections: {}", d.a.max_connections());
            d.in_account(d.a, &declared, "max_connections: 4294967295")
        };
        "subscriptions-unlimited", "no limit of subscriptions", ["limits"] => |d| d.in_account(d.a, "max_subscriptions:", "# max_subscriptions:");
        "payload-unlimited", "messages as large as the server takes", ["limits"] => |d| {
            (d.a.limits.payload.bytes() < d.model.server.max_payload.bytes()).then_some(())?;
            d.in_account(d.a, "max_payload:", "# max_payload:")
        };
        "acknowledgements", "acknowledgements do not name their account", ["decided-elsewhere"] => |d| {
            d.in_server("js_ack_fc_v2: true", "js_ack_fc_v2: false")
        };
        "producer-stall", "a slow importer holds the exporter up", ["noisy-neighbours"] => |d| {
            d.in_server("no_fast_producer_stall: true", "no_fast_producer_stall: false")
        };
    }
    "entry" {
        "anonymous", "whoever comes without credentials is a tenant's user", ["anonymous-user", "entry"] => |d| {
            let key = d.nkey(d.a)?;
            d.add_to_server(&format!("no_auth_user: \"{key}\""))
        };
        "no-password", "a user without a password", ["weak-login", "entry"] => |d| {
            let user = d.password_user(d.a)?;
            d.in_user(d.a, user, "password:", "# password:")
        };
        "nobody", "no users anywhere: no authentication", ["no-authentication", "entry"] => |d| {
            d.conf.accounts = String::new();
            Some(())
        };
        "system-users-only", "no users but the system account's, and no authorization block", ["no-authentication", "entry"] => |d| {
            let system = format!("\"{}\" {{", d.model.system.account);
            let at = block(&d.conf.accounts, 0..d.conf.accounts.len(), &system)?;
            let block = d.conf.accounts[at].to_owned();
            d.conf.accounts = format!("system_account: \"{}\"\naccounts {{\n{block}\n}}\n", d.model.system.account);
            Some(())
        };
        "overridden-account", "a second block of one name: the first one's users are gone", ["overridden-account"] => |d| d.repeat_without_users(d.a);
    }
    "listeners" {
        "connection-types", "`allowed_connection_types: []` is every type, and there is a leaf node port", ["connection-types", "listeners"] => |d| {
            d.in_account(d.a, "max_leafnodes: 0", "")?;
            d.everywhere_in_account(d.a, "allowed_connection_types: [\"STANDARD\"]", "allowed_connection_types: []")?;
            let port = d.port;
            d.add_to_server(&format!("leafnodes {{ listen: \"127.0.0.1:{port}\" }}"))
        };
        "leaf-nodes", "a leaf node port without credentials of its own", ["leaf-listener", "listeners"] => |d| {
            d.in_account(d.a, "max_leafnodes: 0", "max_leafnodes: 10")?;
            d.allow_connections(d.a, "LEAFNODE")?;
            let port = d.port;
            d.add_to_server(&format!("leafnodes {{ listen: \"127.0.0.1:{port}\" }}"))
        };
        "mqtt", "an MQTT port that tenants' users may use", ["listeners"] => |d| {
            // MQTT knows passwords only, and keeps its sessions in JetStream.
            d.a.jetstream.as_ref()?;
            d.password_user(d.a)?;
            d.allow_connections(d.a, "MQTT")?;
            let port = d.port;
            d.add_to_server(&format!("mqtt {{ listen: \"127.0.0.1:{port}\" }}"))
        };
        "cluster", "a cluster port without authorization", ["open-cluster"] => |d| {
            d.add_to_server("cluster { name: open, listen: \"127.0.0.1:-1\" }")
        };
    }
    "names" {
        "account-is-a-path", "an account's name is a path out of the store", ["account-name", "declarations"] => |d| {
            let (from, to) = (format!("\"{}\"", d.b.name), "\"../../elsewhere\"");
            d.conf.accounts = d.conf.accounts.replace(&from, to);
            Some(())
        };
    }
};
