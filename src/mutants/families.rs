//! Further ways to break a configuration, many of a kind: grants, exports, limits and options of the
//! server, each a line.

use super::Mutant;
use super::draft::Draft;
use super::list::{exported_to_other, served, served_as, shared, space};

/// A user of `a` is granted one more subject.
macro_rules! grants {
    ($($id:literal, $side:literal, $subject:literal, $catchers:expr;)*) => {
        &[$(Mutant {
            id: $id,
            class: "grants",
            what: concat!("`", $subject, "` is granted to ", $side),
            catchers: &$catchers,
            make: |d| {
                let user = d.user(d.a)?;
                d.grant(d.a, user, $side, $subject)
            },
        },)*]
    };
}

/// `a` exports a subject to `b`, which imports it.
macro_rules! exports {
    ($($id:literal, $kind:literal, $subject:literal, $catchers:expr;)*) => {
        &[$(Mutant {
            id: $id,
            class: "exports",
            what: concat!("the ", $kind, " `", $subject, "` is exported to another tenant"),
            catchers: &$catchers,
            make: |d| exported_to_other(d, $kind, $subject),
        },)*]
    };
}

/// A limit of `a` has another value.
macro_rules! limits {
    ($($id:literal, $key:literal, $value:literal, $catchers:expr;)*) => {
        &[$(Mutant {
            id: $id,
            class: "limits",
            what: concat!("`", $key, ": ", $value, "`"),
            catchers: &$catchers,
            make: |d| without_limit(d, $key, $value),
        },)*]
    };
}

/// A line more in the server's configuration.
macro_rules! options {
    ($($id:literal, $line:literal, $catchers:expr;)*) => {
        &[$(Mutant {
            id: $id,
            class: "server",
            what: concat!("`", $line, "`"),
            catchers: &$catchers,
            make: |d| d.add_to_server($line),
        },)*]
    };
}

/// Grants that the registry does not declare.
pub const GRANTS: &[Mutant] = grants! {
    "subscribe-one-token", "subscribe", "*", ["subscribing"];
    "subscribe-from-one-token", "subscribe", "*.>", ["subscribing"];
    "subscribe-from-two-tokens", "subscribe", "*.*.>", ["subscribing"];
    "subscribe-system", "subscribe", "$SYS.>", ["subscribing"];
    "subscribe-jetstream", "subscribe", "$JS.>", ["subscribing"];
    "subscribe-api", "subscribe", "$JS.API.>", ["subscribing"];
    "subscribe-answers", "subscribe", "_R_.>", ["overheard-answers"];
    "subscribe-inboxes-of-anybody", "subscribe", "_INBOX.*", ["inboxes"];
    "publish-from-one-token", "publish", "*.>", ["publishing"];
    "publish-from-two-tokens", "publish", "*.*.>", ["publishing"];
    "publish-acknowledgements", "publish", "$JS.ACK.>", ["jetstream-api"];
    "publish-flow-control", "publish", "$JS.FC.>", ["jetstream-api"];
    "publish-discovery", "publish", "$SRV.>", ["discovery"];
    "publish-inboxes-of-anybody", "publish", "_INBOX.*", ["inboxes"];
    "publish-jetstream", "publish", "$JS.>", ["jetstream-api"];
    "api-stepdown", "publish", "$JS.API.STREAM.LEADER.STEPDOWN.*", ["jetstream-api"];
    "api-consumer-list", "publish", "$JS.API.CONSUMER.LIST.*", ["jetstream-api"];
    "api-list", "publish", "$JS.API.STREAM.LIST", ["jetstream-api"];
    "api-create", "publish", "$JS.API.STREAM.CREATE.*", ["jetstream-api"];
    "api-update", "publish", "$JS.API.STREAM.UPDATE.*", ["jetstream-api"];
    "api-delete", "publish", "$JS.API.STREAM.DELETE.*", ["jetstream-api"];
    "api-purge", "publish", "$JS.API.STREAM.PURGE.*", ["jetstream-api"];
    "api-stream-info", "publish", "$JS.API.STREAM.INFO.*", ["jetstream-api"];
    "api-read", "publish", "$JS.API.STREAM.MSG.GET.*", ["jetstream-api"];
    "api-erase", "publish", "$JS.API.STREAM.MSG.DELETE.*", ["jetstream-api"];
    "api-read-directly", "publish", "$JS.API.DIRECT.GET.>", ["jetstream-api"];
    "api-snapshot", "publish", "$JS.API.STREAM.SNAPSHOT.*", ["jetstream-api"];
    "api-restore", "publish", "$JS.API.STREAM.RESTORE.*", ["jetstream-api"];
    "api-consumers", "publish", "$JS.API.CONSUMER.CREATE.>", ["jetstream-api"];
    "api-consumer-names", "publish", "$JS.API.CONSUMER.NAMES.*", ["jetstream-api"];
    "api-consumer-delete", "publish", "$JS.API.CONSUMER.DELETE.*.*", ["jetstream-api"];
    "api-next", "publish", "$JS.API.CONSUMER.MSG.NEXT.*.*", ["jetstream-api"];
    "user-info", "publish", "$SYS.REQ.USER.INFO", ["system"];
    "connections-of-the-account", "publish", "$SYS.REQ.ACCOUNT.PING.CONNZ", ["system"];
    "connections-of-the-server", "publish", "$SYS.REQ.SERVER.PING.CONNZ", ["system"];
};

/// Exports that nothing declares.
pub const EXPORTS: &[Mutant] = exports! {
    "export-everything", "stream", ">", ["declarations"];
    "export-inboxes", "stream", "_INBOX.>", ["declarations", "reserved-export"];
    "export-advisories", "stream", "$JS.EVENT.>", ["declarations", "shared-advisories"];
    "export-acknowledgements", "stream", "$JS.ACK.>", ["declarations", "reserved-export"];
    "export-objects", "stream", "$O.>", ["declarations", "reserved-export"];
    "export-discovery", "stream", "$SRV.>", ["declarations", "reserved-import"];
    "export-api-requests", "stream", "$JS.API.>", ["declarations", "reserved-export"];
    "export-system-events", "stream", "$SYS.>", ["declarations", "reserved-export"];
    "export-first-tokens", "stream", "*.>", ["declarations"];
    "serve-everything", "service", ">", ["declarations"];
    "serve-inboxes", "service", "_INBOX.>", ["declarations", "reserved-export"];
    "serve-reading", "service", "$JS.API.DIRECT.GET.>", ["declarations", "reserved-export"];
    "serve-acknowledgements", "service", "$JS.ACK.>", ["declarations", "reserved-export"];
    "serve-flow-control", "service", "$JS.FC.>", ["declarations", "reserved-export"];
    "serve-consumers", "service", "$JS.API.CONSUMER.CREATE.>", ["declarations", "reserved-export"];
    "serve-keys", "service", "$KV.>", ["declarations", "reserved-export"];
    "serve-objects", "service", "$O.>", ["declarations", "reserved-export"];
    "serve-discovery", "service", "$SRV.>", ["declarations", "reserved-import"];
    "serve-system", "service", "$SYS.REQ.>", ["declarations", "reserved-export"];
    "export-one", "stream", "nobody.declared.this", ["declarations"];
    "serve-one", "service", "nobody.declared.this", ["declarations"];
};

/// Gives `a` a limit that is none. Where its messages are as large as the server's anyway, nothing changes.
fn without_limit(d: &mut Draft<'_>, key: &str, none: &str) -> Option<()> {
    let is_servers = d.a.limits.payload.bytes() >= d.model.server.max_payload.bytes();
    (key != "max_payload" || !is_servers).then_some(())?;
    d.set(d.a, key, |_| Some(none.to_owned()))
}

/// Limits that are none, or others than declared.
pub const LIMITS: &[Mutant] = limits! {
    "connections-none", "max_connections", "-1", ["limits"];
    "subscriptions-none", "max_subscriptions", "-1", ["limits"];
    "payload-none", "max_payload", "-1", ["limits"];
    "storage-none", "max_store", "-1", ["unlimited-jetstream", "limits"];
    "memory-none", "max_memory", "-1", ["unlimited-jetstream", "limits"];
    "streams-none", "max_streams", "-1", ["limits"];
    "consumers-none", "max_consumers", "-1", ["limits"];
    "consumers-zero", "max_consumers", "0", ["limits"];
    "payload-truncated", "max_payload", "4294967295", ["truncated-limit", "limits"];
    "subscriptions-truncated", "max_subscriptions", "4294967295", ["truncated-limit", "limits"];
};

/// Options of the server by which others learn, change or take what is the tenants'.
pub const OPTIONS: &[Mutant] = options! {
    "logged-payloads", "trace: true", ["logged-payloads"];
    "logged-payloads-verbose", "trace_verbose: true", ["logged-payloads"];
    "monitor-everywhere", "http: \"0.0.0.0:-1\"", ["monitor-exposed"];
    "proxy-protocol", "proxy_protocol: true", ["trusted-peer"];
    "open-gateway", "gateway { name: open, listen: \"127.0.0.1:-1\" }", ["open-cluster"];
    "leaf-everywhere", "leafnodes { listen: \"0.0.0.0:-1\" }", ["clear-text"];
    "websocket-everywhere", "websocket { listen: \"0.0.0.0:-1\", no_tls: true }", ["clear-text"];
    "cookies-from-anywhere", "websocket { listen: \"127.0.0.1:-1\", no_tls: true, user_cookie: u, pass_cookie: p }", ["trusted-peer"];
    "mapped-for-nobody", "accounts { OTHER { exports: [ { stream: x } ] } }", ["public-export"];
};

/// What is no line of a table.
pub const OTHERS: &[Mutant] = mutants! {
    "fail-open" {
        "default-permissions", "a user has its account's default permissions, which allow everything", ["subscribing", "publishing"] => |d| {
            let user = d.user(d.a)?;
            d.user_block(d.a, user, "permissions {", "")?;
            d.add(d.a, "default_permissions { publish: \">\", subscribe: \">\" }")
        };
        "default-permissions-one-side", "default permissions of one side only", ["subscribing"] => |d| {
            let user = d.user(d.a)?;
            d.user_block(d.a, user, "permissions {", "")?;
            d.add(d.a, "default_permissions { publish: \"nothing.at.all\" }")
        };
        "two-names-of-permissions", "permissions under two names, of which one counts", ["ambiguous-key"] => |d| {
            let user = d.user(d.a)?;
            d.in_user(d.a, user, "permissions {", "permission {}\n        permissions {")
        };
        "permissions-twice", "a second block of permissions, which alone counts", ["overridden-key"] => |d| {
            let user = d.user(d.a)?;
            d.in_user(d.a, user, "permissions {", "permissions {}\n        permissions {")
        };
        "publish-null-list", "`publish: { deny: [] }`", ["publishing"] => |d| {
            let user = d.user(d.a)?;
            d.user_block(d.a, user, "publish {", "publish { deny: [] }")
        };
        "subscribe-null-list", "`subscribe: { deny: [] }`", ["subscribing"] => |d| {
            let user = d.user(d.a)?;
            d.user_block(d.a, user, "subscribe {", "subscribe { deny: [] }")
        };
        "subscribe-empty-array", "`subscribe: []`", ["open-permissions", "subscribing"] => |d| {
            let user = d.user(d.a)?;
            d.user_block(d.a, user, "subscribe {", "subscribe: []")
        };
        "subscribe-empty", "`subscribe {}`", ["open-permissions", "subscribing"] => |d| {
            let user = d.user(d.a)?;
            d.user_block(d.a, user, "subscribe {", "subscribe {}")
        };
    }
    "shares" {
        "share-renamed", "what is declared is imported under another prefix", ["declarations"] => |d| {
            let shared = format!("\"{}\"", shared(d)?);
            let import = format!("{{ stream: {{ account: \"{}\", subject: {shared} }} }}", d.a.name);
            let renamed = format!("{{ stream: {{ account: \"{}\", subject: {shared} }}, prefix: elsewhere }}", d.a.name);
            d.in_account(d.b, &import, &renamed)
        };
        "mapped-into-share", "a mapping leads a tenant's own subjects into what it shares", ["declarations"] => |d| {
            let (own, to) = from_own_into_share(d)?;
            d.add(d.a, &format!("mappings {{ \"{own}\": \"{to}\" }}"))
        };
        "mapped-by-weight", "a mapping leads half of a tenant's messages into what it shares", ["declarations"] => |d| {
            let (own, to) = from_own_into_share(d)?;
            d.add(d.a, &format!("mappings {{ \"{own}\": [ {{ destination: \"{to}\", weight: 50% }} ] }}"))
        };
        "mapped-elsewhere", "a mapping takes what is shared away", ["declarations"] => |d| {
            let from = shared(d)?.to_owned();
            from.ends_with('>').then_some(())?;
            d.add(d.a, &format!("mappings {{ \"{from}\": \"taken.>\" }}"))
        };
        "streamed-answers", "a service may send any number of answers", ["declarations"] => |d| {
            let service = format!("service: \"{}\"", served(d)?);
            d.in_account(d.a, &service, &format!("{service}\n        response_type: stream"))
        };
        "latency-reports", "a service's latency is published", ["declarations"] => |d| {
            let service = format!("service: \"{}\"", served(d)?);
            let reports = space(d.a).trim_end_matches('>').to_owned() + "latency";
            d.in_account(d.a, &service, &format!("{service}\n        latency: \"{reports}\""))
        };
        "public-service", "a service is exported to nobody by name", ["public-export"] => |d| {
            let service = format!("service: \"{}\"\n        accounts: [\"{}\"]", served(d)?, d.b.name);
            d.in_account(d.a, &service, &format!("service: \"{}\"", served(d)?))
        };
        "reserved-import", "a service is imported in place of JetStream's API", ["reserved-import"] => |d| {
            served_as(d, "theirs.>", "$JS.API.>")
        };
        "reserved-import-of-inboxes", "a service is imported in place of the inboxes", ["reserved-import"] => |d| {
            served_as(d, "theirs.>", "_INBOX.>")
        };
        "circle", "two tenants import each other's subjects in a circle", ["import-cycle"] => |d| {
            let (a, b) = (d.a, d.b);
            for (from, to) in [(a, b), (b, a)] {
                d.add_to_list(from, "exports", &format!("{{ stream: \"round.>\", accounts: [\"{}\"] }}", to.name))?;
                d.add_to_list(to, "imports", &format!("{{ stream: {{ account: \"{}\", subject: \"round.>\" }} }}", from.name))?;
            }
            Some(())
        };
        "passed-on", "a tenant passes requests on to another one's service", ["passed-on", "declarations"] => |d| {
            exported_to_other(d, "service", "deep.ask")?;
            d.add_to_list(d.b, "exports", "{ service: \"deep.ask\", accounts: [THIRD] }")?;
            let b = &d.b.name;
            d.add_account(&format!("THIRD {{ imports: [ {{ service: {{ account: \"{b}\", subject: \"deep.ask\" }} }} ] }}"))
        };
        "queue-named", "an importer may join one queue", ["queue-stealing", "queues"] => |d| {
            let user = d.user(d.b)?;
            let (denied, one) = (format!("deny: [\"{} >\"]", shared(d)?), format!("deny: [\"{} others\"]", shared(d)?));
            d.in_user(d.b, user, &denied, &one)
        };
        "traced-both-ways", "tracing goes across a stream", ["traced-share"] => |d| {
            let shared = format!("\"{}\"", shared(d)?);
            let import = format!("{{ stream: {{ account: \"{}\", subject: {shared} }} }}", d.a.name);
            let traced = format!("{{ stream: {{ account: \"{}\", subject: {shared} }}, allow_trace: true }}", d.a.name);
            d.in_account(d.b, &import, &traced)
        };
    }
    "limits" {
        "no-limits", "an account without limits", ["limits"] => |d| d.account_block(d.a, "limits {", "");
        "storage-doubled", "twice the declared disk", ["limits"] => |d| d.set(d.a, "max_store", doubled);
        "memory-doubled", "twice the declared memory", ["limits"] => |d| d.set(d.a, "max_memory", doubled);
        "streams-doubled", "twice the declared streams", ["limits"] => |d| d.set(d.a, "max_streams", doubled);
        "consumers-doubled", "twice the declared consumers", ["limits"] => |d| d.set(d.a, "max_consumers", doubled);
    }
    "entry" {
        "moved-user", "a user is in another tenant's account", ["shared-account", "entry"] => |d| {
            let user = d.user(d.a)?;
            let text = d.take_user(d.a, user)?;
            d.add_to_list(d.b, "users", &text)
        };
        "anonymous-websocket", "whoever comes by WebSocket without credentials is a tenant's user", ["anonymous-user"] => |d| {
            let key = d.nkey(d.a)?;
            d.allow_connections(d.a, "WEBSOCKET")?;
            d.add_to_server(&format!("websocket {{ listen: \"127.0.0.1:-1\", no_tls: true, no_auth_user: \"{key}\" }}"))
        };
        "callout", "an auth callout decides who comes in", ["auth-callout"] => |d| {
            let user = d.password_user(d.a)?;
            let callout = format!(
                "authorization {{ auth_callout {{ account: \"{}\", auth_users: [\"{}\"], issuer: ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA }} }}",
                d.a.name, user.name
            );
            d.add_to_server(&callout)
        };
    }
    "listeners" {
        "leaf-login", "a leaf node login in a tenant's account, with a password in clear", ["weak-login"] => |d| {
            let port = d.port;
            let account = &d.a.name;
            d.add_to_server(&format!(
                "leafnodes {{ listen: \"127.0.0.1:{port}\", authorization {{ user: l, password: l, account: \"{account}\" }} }}"
            ))
        };
        "leaf-remotes", "two tenants' leaf nodes dial other servers", ["decided-elsewhere"] => |d| {
            d.in_account(d.a, "max_leafnodes: 0", "max_leafnodes: 10")?;
            d.in_account(d.b, "max_leafnodes: 0", "max_leafnodes: 10")?;
            let (a, b) = (&d.a.name, &d.b.name);
            d.add_to_server(&format!(
                "leafnodes {{ remotes: [ {{ url: \"nats://127.0.0.1:1\", account: \"{a}\" }}, {{ url: \"nats://127.0.0.1:2\", account: \"{b}\" }} ] }}"
            ))
        };
    }
    "names" {
        "account-with-slash", "an account's name holds a path", ["account-name", "declarations"] => |d| {
            let from = format!("\"{}\"", d.b.name);
            d.conf.accounts = d.conf.accounts.replace(&from, "\"x/../../y\"");
            Some(())
        };
    }
};

/// A subject of `a` alone, and one that it shares.
fn from_own_into_share(draft: &Draft<'_>) -> Option<(String, String)> {
    let shared = shared(draft)?.trim_end_matches('>').trim_end_matches('.');
    Some((space(draft.a).trim_end_matches('>').to_owned() + "private.secret", format!("{shared}.mapped")))
}

fn doubled(value: &str) -> Option<String> {
    Some((value.parse::<u64>().ok()? * 2).to_string())
}

/// All of them.
pub fn families() -> impl Iterator<Item = &'static Mutant> {
    [GRANTS, EXPORTS, LIMITS, OPTIONS, OTHERS].into_iter().flatten()
}
