//! The static proof: every rule finds what it is about and nothing where it is
//! right; what nats-server refuses is refused, what it takes is taken.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use rayon::prelude::*;
use tenantry::audit;

use crate::support::{Project, nats_server};

const USER_A: &str = "UCFHWLYDLMVQXOYBXYR6JUEUA4QQ27FXLXHWWTUU6XRMJFAPDLUCMB7P";
const USER_B: &str = "UBQXYP7CNW6ADHZORTMRA5IUQ4E3BV5SZ66EUGFCC3HKXGTXEDF5SCDF";
const HASH: &str = "$2a$04$abcdefghijklmnopqrstuOZQfOkJd2oM0rcFq5XjFSTcSUeQJKBVu";

/// Nothing is wrong with it.
const GOOD: &str = r#"
server_name: good
listen: "127.0.0.1:4222"
http: "127.0.0.1:8222"
max_subscriptions: 1000
no_fast_producer_stall: true
jetstream { max_memory_store: 1GB, max_file_store: 1GB }
authorization { timeout: 2 }
system_account: SYS
accounts {
  SYS { users: [ { user: admin, password: "HASH" } ] }
  A {
    users: [
      { nkey: USER_A, allowed_connection_types: [STANDARD]
        permissions { publish { allow: ["a.>"] }, subscribe { allow: ["a.>", "_INBOX_a.>"] }, allow_responses: true } }
    ]
    limits { max_connections: 10, max_leafnodes: 0 }
    jetstream { max_memory: 1MB, max_store: 1MB, max_streams: 5, max_consumers: 5 }
    exports: [ { stream: "a.public.>", accounts: [B] }, { service: "a.ask", accounts: [B] } ]
  }
  B {
    users: [
      { nkey: USER_B, allowed_connection_types: [STANDARD]
        permissions { publish { allow: ["b.>", "a.ask"] }, subscribe { allow: ["b.>", "a.public.>", "_INBOX_b.>"], deny: ["a.public.> >"] } } }
    ]
    limits { max_connections: 10, max_leafnodes: 0 }
    imports: [ { stream: { account: A, subject: "a.public.>" } }, { service: { account: A, subject: "a.ask" } } ]
  }
}
"#;

fn filled(text: &str) -> String {
    text.replace("USER_A", USER_A).replace("USER_B", USER_B).replace("HASH", HASH)
}

/// A rule, and what must turn it red.
const MUTANTS: &[(&str, &str, &str)] = &[
    ("open-permissions", "publish { allow: [\"a.>\"] }", "publish { allow: [] }"),
    ("open-permissions", "publish { allow: [\"a.>\"] }", "publish: []"),
    ("open-permissions", "subscribe { allow: [\"a.>\", \"_INBOX_a.>\"] }", "subscribe {}"),
    (
        "open-permissions",
        "permissions { publish { allow: [\"a.>\"] }, subscribe { allow: [\"a.>\", \"_INBOX_a.>\"] }, allow_responses: true }",
        "permissions {}",
    ),
    ("one-sided-permissions", ", subscribe { allow: [\"a.>\", \"_INBOX_a.>\"] }, allow_responses: true", ""),
    ("one-sided-permissions", "publish { allow: [\"b.>\", \"a.ask\"] }, ", ""),
    ("anonymous-user", "system_account: SYS", "system_account: SYS\nno_auth_user: admin"),
    ("anonymous-user", "system_account: SYS", "system_account: SYS\nno_auth_user: nobody"),
    (
        "shared-account",
        "limits { max_connections: 10, max_leafnodes: 0 }\n    jetstream",
        "limits { max_connections: 10, max_leafnodes: 0 }\n    users: [ { user: x, password: \"HASH\", permissions { publish: \"x.>\", subscribe: \"x.>\" } }, { user: y, password: \"HASH\", permissions { publish: \"y.>\", subscribe: \"y.>\" } } ]\n    jetstream",
    ),
    ("public-export", "{ stream: \"a.public.>\", accounts: [B] }", "{ stream: \"a.public.>\" }"),
    ("public-export", "{ stream: \"a.public.>\", accounts: [B] }", "{ stream: \"a.public.>\", accounts: [] }"),
    (
        "wildcard-service",
        "{ service: \"a.ask\", accounts: [B] }",
        "{ service: \"a.ask\", accounts: [B] }, { service: \"a.rpc.*.get\", accounts: [B, SYS] }",
    ),
    (
        "reserved-export",
        "{ service: \"a.ask\", accounts: [B] }",
        "{ service: \"a.ask\", accounts: [B] }, { service: \"$JS.API.>\", accounts: [B] }",
    ),
    (
        "reserved-export",
        "{ service: \"a.ask\", accounts: [B] }",
        "{ service: \"a.ask\", accounts: [B] }, { stream: \">\", accounts: [B] }",
    ),
    (
        "reserved-export",
        "{ service: \"a.ask\", accounts: [B] }",
        "{ service: \"a.ask\", accounts: [B] }, { stream: \"_INBOX.>\", accounts: [B] }",
    ),
    (
        "shared-identity",
        "{ service: { account: A, subject: \"a.ask\" } }",
        "{ service: { account: A, subject: \"a.ask\" }, share: true }",
    ),
    (
        "traced-share",
        "{ service: \"a.ask\", accounts: [B] }",
        "{ service: \"a.ask\", accounts: [B], allow_trace: true }",
    ),
    ("traced-share", "subject: \"a.public.>\" } }", "subject: \"a.public.>\" }, allow_trace: true }"),
    ("queue-stealing", ", deny: [\"a.public.> >\"]", ""),
    ("queue-stealing", ", deny: [\"a.public.> >\"]", ", deny: [\"a.public.> *\"]"),
    ("queue-stealing", ", deny: [\"a.public.> >\"]", ", deny: [\"a.public.x >\"]"),
    ("answered-import", "deny: [\"a.public.> >\"] }", "deny: [\"a.public.> >\"] }, allow_responses: true"),
    (
        "unlimited-jetstream",
        "jetstream { max_memory: 1MB, max_store: 1MB, max_streams: 5, max_consumers: 5 }",
        "jetstream: enabled",
    ),
    ("unlimited-jetstream", "max_store: 1MB, ", ""),
    ("unlimited-jetstream", "max_store: 1MB", "max_store: -1"),
    ("unlimited-jetstream", "max_streams: 5", "max_streams: 0"),
    ("unlimited-jetstream", "max_consumers: 5", "max_consumers: -1"),
    ("oversubscribed", "max_store: 1MB", "max_store: 2GB"),
    ("oversubscribed", "max_memory: 1MB", "max_memory: 2GB"),
    ("fails-at-start", "system_account: SYS", "system_account: SISTEM"),
    ("fails-at-start", "SYS { users", "SYS { jetstream: enabled, users"),
    ("fails-at-start", "jetstream { max_memory_store: 1GB, max_file_store: 1GB }", ""),
    ("fails-at-start", "jetstream { max_memory_store: 1GB, max_file_store: 1GB }", "mqtt { port: 1883 }"),
    (
        "truncated-limit",
        "max_connections: 10, max_leafnodes: 0 }\n    jetstream",
        "max_connections: 4294967296, max_leafnodes: 0 }\n    jetstream",
    ),
    ("truncated-limit", "max_leafnodes: 0 }\n    jetstream", "max_leafnodes: 0, max_payload: 4GB }\n    jetstream"),
    ("connection-types", "USER_A, allowed_connection_types: [STANDARD]", "USER_A"),
    ("connection-types", "USER_A, allowed_connection_types: [STANDARD]", "USER_A, allowed_connection_types: []"),
    ("leaf-listener", "max_leafnodes: 0 }\n    jetstream", "max_subscriptions: 10 }\n    jetstream"),
    (
        "leaf-bridge",
        "server_name: good",
        "server_name: good\nleafnodes { remotes: [ { url: \"nats://10.0.0.1\", account: A }, { urls: [\"nats-leaf://u:p@10.0.0.1:7422\"], account: B } ] }",
    ),
    (
        "leaf-bridge",
        "server_name: good",
        "server_name: good\nleafnodes { listen: \"0.0.0.0:7422\", authorization { user: l, password: \"HASH\", account: A }, remotes: [ { url: \"nats://l:p@localhost:7422\", account: B } ] }",
    ),
    (
        "decided-elsewhere",
        "server_name: good",
        "server_name: good\nleafnodes { remotes: [ { url: \"nats://10.0.0.1\", account: A }, { url: \"nats://10.0.0.2\", account: B } ] }",
    ),
    (
        "decided-elsewhere",
        "authorization { timeout: 2 }",
        "authorization { auth_callout { issuer: ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA, auth_users: [admin], account: SYS, xkey: XAB3NANV3M6N7AHSQP2U5FRWKKUT7EG2ZXXABV4XVXYQRJGM4S2CZGHT } }",
    ),
    (
        "auth-callout",
        "authorization { timeout: 2 }",
        "authorization { auth_callout { issuer: ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA, auth_users: [b], account: B } }",
    ),
    (
        "anonymous-user",
        "server_name: good",
        "server_name: good\nmqtt { listen: \"127.0.0.1:1883\", no_auth_user: admin }\n",
    ),
    (
        "weak-login",
        "server_name: good",
        "server_name: good\nleafnodes { listen: \"127.0.0.1:7422\", authorization { users: [ { user: l, password: plain, account: A } ] } }",
    ),
    ("open-cluster", "server_name: good", "server_name: good\ncluster { name: c, listen: \"127.0.0.1:6222\" }"),
    ("open-cluster", "server_name: good", "server_name: good\ngateway { name: c, listen: \"127.0.0.1:7222\" }"),
    ("account-name", "  A {", "  \"../A\" { users: [ { user: z, password: \"HASH\" } ] }\n  A {"),
    ("account-name", "  A {", "  \"A B\" { users: [ { user: z, password: \"HASH\" } ] }\n  A {"),
    ("account-name", "  A {", "  a { users: [ { user: z, password: \"HASH\" } ] }\n  A {"),
    ("weak-login", "password: \"HASH\"", "password: \"\""),
    ("weak-login", "password: \"HASH\"", "password: plain"),
    ("weak-login", "password: \"HASH\"", "password: \"$2a$04$short\""),
    ("weak-login", "{ user: admin, password: \"HASH\" }", "{ user: admin }"),
    ("monitor-exposed", "http: \"127.0.0.1:8222\"", "http: \"0.0.0.0:8222\""),
    ("monitor-exposed", "http: \"127.0.0.1:8222\"", "http_port: 8222\nhost: \"0.0.0.0\""),
    ("producer-stall", "no_fast_producer_stall: true", ""),
    (
        "mapped-export",
        "exports: [",
        "mappings { \"a.of.*\": \"a.of.B\" }\n    exports: [ { stream: \"a.of.*\", account_token_position: 3 }, ",
    ),
    (
        "passed-on",
        "SYS { users",
        "C { users: [ { user: c, password: \"HASH\", permissions { publish: \"c.>\", subscribe { allow: \"c.>\", deny: \"> >\" } } } ], limits { max_connections: 1 }, imports: [ { service: { account: B, subject: \"a.ask\" } } ] }\n  SYS { users",
    ),
    ("import-cycle", "CYCLE", ""),
    (
        "unlimited-connections",
        "max_connections: 10, max_leafnodes: 0 }\n    jetstream",
        "max_leafnodes: 0 }\n    jetstream",
    ),
    ("one-login", "WHOLE", "authorization { user: u, password: \"HASH\" }"),
    ("one-login", "WHOLE", "authorization { token: \"HASH\" }"),
    ("no-authentication", "WHOLE", "port: 4222"),
    ("no-authentication", "WHOLE", "system_account: S\naccounts { S { users: [ { user: u, password: \"HASH\" } ] } }"),
    ("overridden-account", "  B {", "  B { users: [ { user: lost, password: \"HASH\" } ] }\n  B {"),
    ("overridden-key", "server_name: good", "server_name: good\nserver_name: better"),
    ("ambiguous-key", "publish { allow: [\"b.>\", \"a.ask\"] }", "publish { allow: [\"b.>\", \"a.ask\"] }, pub: \">\""),
    ("misread-value", "system_account: SYS", "system_account: SYS\noops { jetstream: }\nport: 4333"),
];

fn rules_found(path: &Path) -> Result<BTreeSet<String>, String> {
    let audit = audit::audit(path, &|_| None).map_err(|e| {
        let places: Vec<String> = e.diagnostics().into_iter().flat_map(|(_, d)| d).map(|d| d.message.clone()).collect();
        format!("{e}: {places:?}")
    })?;
    Ok(audit.findings.iter().map(|f| f.rule.to_owned()).collect())
}

fn is_valid(path: &Path) -> Result<(), String> {
    let output =
        Command::new(nats_server()).arg("-t").arg("-c").arg(path).env_clear().output().expect("nats-server runs");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(()) } else { Err(said) }
}

#[test]
fn every_rule_finds_what_it_is_about() {
    let project = Project::new();
    let path = |name: &str| project.path().join(name);
    project.write("good.conf", &filled(GOOD));
    is_valid(&path("good.conf")).expect("the control is a configuration");
    assert_eq!(rules_found(&path("good.conf")), Ok(BTreeSet::new()), "the control has nothing wrong");
    let mut shown = BTreeSet::new();
    for (i, (rule, from, to)) in MUTANTS.iter().enumerate() {
        let text = if *from == "CYCLE" {
            // The server refuses most; some it takes, depending on the order in which it reads.
            let account = |name: &str, from: &str| {
                format!(
                    "{name} {{ exports: [ {{ stream: \"x.y\" }} ], imports: [ {{ stream: {{ account: {from}, subject: \"x.y\" }} }} ] }}\n"
                )
            };
            format!("accounts {{\n{}{}}}\n", account("A", "B"), account("B", "A"))
        } else if *from == "WHOLE" {
            (*to).to_owned()
        } else {
            assert!(GOOD.contains(from), "{rule}: {from:?} is not in the control");
            GOOD.replace(from, to)
        };
        // Rules about listeners need one.
        let listener = if matches!(*rule, "connection-types" | "leaf-listener") {
            "leafnodes { listen: \"127.0.0.1:7422\" }\n"
        } else {
            ""
        };
        let text = match *rule {
            "passed-on" => text.replace("limits { max_connections: 10, max_leafnodes: 0 }\n    imports", "limits { max_connections: 10, max_leafnodes: 0 }\n    exports: [ { service: \"a.ask\", accounts: [C] } ]\n    imports"),
            _ => text,
        };
        let name = format!("{i}.conf");
        project.write(&name, &filled(&format!("{listener}{text}")));
        let found = rules_found(&path(&name)).unwrap_or_else(|e| panic!("{rule}, {to:?}: {e}"));
        assert!(found.contains(*rule), "{rule} does not find {to:?}; found {found:?}");
        shown.insert((*rule).to_owned());
    }
    // Only where it was told who is who; and those of the test below.
    shown.insert("system-tenant".to_owned());
    shown.extend(CROSSINGS.iter().map(|(rule, _)| (*rule).to_owned()));
    let all = audit::RULES.iter().map(|r| r.id).chain(audit::rules::READING.iter().map(|(id, _)| *id));
    assert_eq!(shown, all.map(str::to_owned).collect(), "every rule has a mutant");
}

/// Which of these nats-server takes is its to say.
const OPTIONS: &[&str] = &[
    "cluster { name: c, listen: \"127.0.0.1:0\", pool_sise: 3 }",
    "cluster { name: c, listen: \"127.0.0.1:0\", pool_size: 3 }",
    "cluster { name: c, port: 0, advertise: \"x:1\", no_advertise: true, routes: [], ping_max: 3, compression: off }",
    "gateway { name: g, listen: \"127.0.0.1:0\", reject_unknown: true }",
    "gateway { name: g, rejectunknown: true }",
    "leafnodes { listen: \"127.0.0.1:0\", remotes: [ { url: \"nats://127.0.0.1:1\" } ] }",
    "leafnodes { listen: \"127.0.0.1:0\", remote: [] }",
    "leafnodes { remotes: [ { url: \"nats://127.0.0.1:1\", acount: A } ] }",
    "leafnodes { remotes: [ { url: \"nats://127.0.0.1:1\", deny_imports: [\"x\"], hub: true } ] }",
    "mqtt { listen: \"127.0.0.1:0\", ack_wait: \"1m\", max_ack_pending: 5 }",
    "mqtt { listen: \"127.0.0.1:0\", acks: 5 }",
    "websocket { listen: \"127.0.0.1:0\", no_tls: true, same_origin: true }",
    "websocket { listen: \"127.0.0.1:0\", notls: true }",
    "LeafNodes { Port: 0, No_Advertise: true }",
    "tls { cert: \"x\" }",
    "",
    "port: 4222",
    "port: \"4222\"",
    "prot: 4222",
    "debug: true",
    "debug: 1",
    "accounts {}",
    "accounts: [A, B]",
    "accounts: 1",
    "accounts { $G {} }",
    "accounts { A {} }",
    "accounts { A: 1 }",
    "accounts { A { user: [] } }",
    "accounts { A { users: {} } }",
    "accounts { A { users: [ {} ] } }",
    "accounts { A { users: [ { user: a } ] } }",
    "accounts { A { users: [ { user: 1 } ] } }",
    "accounts { A { users: [ { user: a, password: 1 } ] } }",
    "accounts { A { users: [ { username: a, pass: b } ] } }",
    "accounts { A { users: [ { nkey: USER_A } ] } }",
    "accounts { A { users: [ { nkey: UABC } ] } }",
    "accounts { A { users: [ { nkey: \"\" } ] } }",
    "accounts { A { users: [ { nkey: USER_A, user: a } ] } }",
    "accounts { A { users: [ { nkey: USER_A, password: a } ] } }",
    "accounts { A { users: [ { user: a, password: b }, { user: a, password: c } ] } }",
    "accounts { A { users: [ { user: a, password: b } ] }, B { users: [ { user: a, password: b } ] } }",
    "accounts { A { users: [ { nkey: USER_A } ] }, B { users: [ { nkey: USER_A } ] } }",
    "accounts { A { users: [ { user: a, password: b } ] } }\nauthorization { users: [ { user: a, password: b } ] }",
    "accounts { A { users: [ { user: a, password: b } ] } }\nauthorization { user: u, password: p }",
    "accounts { A { users: [ { user: a, password: b } ] } }\nauthorization { token: t }",
    "accounts { A {} }\nauthorization { token: t }",
    "authorization { user: u, password: p }",
    "authorization { users: [] }",
    "authorization { user: u, users: [ { user: a } ] }",
    "authorization { timeout: \"2s\" }",
    "accounts { A { users: [ { user: a, permissions {} } ] } }",
    "accounts { A { users: [ { user: a, permissions: [] } ] } }",
    "accounts { A { users: [ { user: a, permissions { publish: a } } ] } }",
    "accounts { A { users: [ { user: a, permissions { publish: [a, b] } } ] } }",
    "accounts { A { users: [ { user: a, permissions { publish: [1] } } ] } }",
    "accounts { A { users: [ { user: a, permissions { publish: 1 } } ] } }",
    "accounts { A { users: [ { user: a, permissions { publish: \"a..b\" } } ] } }",
    "accounts { A { users: [ { user: a, permissions { publish: \"a.>.b\" } } ] } }",
    "accounts { A { users: [ { user: a, permissions { publish: \"a b\" } } ] } }",
    "accounts { A { users: [ { user: a, permissions { subscribe: \"a b\" } } ] } }",
    "accounts { A { users: [ { user: a, permissions { subscribe: \"a b c\" } } ] } }",
    "accounts { A { users: [ { user: a, permissions { subscribe: \"a. b\" } } ] } }",
    "accounts { A { users: [ { user: a, permissions { subscribe: \"\" } } ] } }",
    "accounts { A { users: [ { user: a, permissions { subscribe: \"foo*.>\" } } ] } }",
    "accounts { A { users: [ { user: a, permissions { pub: { allow: a, deny: [b] }, sub: { deny: \">\" } } } ] } }",
    "accounts { A { users: [ { user: a, permissions { publish: { allow: a, refuse: b } } } ] } }",
    "accounts { A { users: [ { user: a, permissions { write: a } } ] } }",
    "accounts { A { users: [ { user: a, permissions { allow_responses: true } } ] } }",
    "accounts { A { users: [ { user: a, permissions { allow_responses: { max: 5, expires: \"1m\" } } } ] } }",
    "accounts { A { users: [ { user: a, permissions { allow_responses: { max: 5, expires: 1m } } } ] } }",
    "accounts { A { users: [ { user: a, permissions { allow_responses: { max: 5, expires: \"soon\" } } } ] } }",
    "accounts { A { users: [ { user: a, permissions { allow_responses: { many: 5 } } } ] } }",
    "accounts { A { users: [ { user: a, permissions { allow_responses: 5 } } ] } }",
    "accounts { A { users: [ { user: a, permissions { allow_responses: { max: -1, expires: \"-1s\" } } } ] } }",
    "accounts { A { users: [ { user: a, allowed_connection_types: [STANDARD, mqtt] } ] } }",
    "accounts { A { users: [ { user: a, allowed_connection_types: [FOO] } ] } }",
    "accounts { A { users: [ { user: a, allowed_connection_types: STANDARD } ] } }",
    "accounts { A { users: [ { user: a, proxy_required: true } ] } }",
    "accounts { A { users: [ { user: a, proxy_required: 1 } ] } }",
    "accounts { A { limits { max_conn: 1, max_subs: 2, max_pay: 1MB, max_leafs: 0 } } }",
    "accounts { A { limits { max_conn: \"1\" } } }",
    "accounts { A { limits { connections: 1 } } }",
    "accounts { A { limits: 1 } }",
    "accounts { A { jetstream: enabled } }",
    "accounts { A { jetstream: disabled } }",
    "accounts { A { jetstream: true } }",
    "accounts { A { jetstream: maybe } }",
    "accounts { A { jetstream: 1 } }",
    "accounts { A { jetstream { max_mem: 1MB, max_file: 1GB, max_streams: 1, max_consumers: 1 } } }",
    "accounts { A { jetstream { max_mem: \"1MB\" } } }",
    "accounts { A { jetstream { max_bytes: 1GB } } }",
    "accounts { A { jetstream { max_bytes: true } } }",
    "accounts { A { jetstream { max_disc: 1GB } } }",
    "accounts { A { jetstream { max_streams: many } } }",
    "accounts { A { nkey: ABC } }",
    "accounts { A { nkey: 1 } }",
    "accounts { A { default_permissions { publish: a } } }",
    "accounts { A { default_permissions { publish: \"a..b\" } } }",
    "accounts { A { mappings { a: b } } }",
    "accounts { A { mappings { \"a..b\": b } } }",
    "accounts { A { mappings { a: [ { dest: b, weight: 50% }, { dest: c, weight: 50% } ] } } }",
    "accounts { A { mappings { a: [ { dest: b, weight: 60% }, { dest: c, weight: 50% } ] } } }",
    "accounts { A { mappings { a: { destination: b } } } }",
    "accounts { A { exports: [ { stream: \"a.>\" } ] } }",
    "accounts { A { exports: [ { service: a } ] } }",
    "accounts { A { exports: [ { stream: a, service: b } ] } }",
    "accounts { A { exports: [ {} ] } }",
    "accounts { A { exports: [ { stream: 1 } ] } }",
    "accounts { A { exports: { stream: a } } }",
    "accounts { A { exports: [ { stream: a, accounts: [B] } ] } }",
    "accounts { A { exports: [ { stream: a, accounts: [B] } ] }, B {} }",
    "accounts { A { exports: [ { stream: a, accounts: B } ] }, B {} }",
    "accounts { A { exports: [ { service: a, response: stream, threshold: \"1s\" } ] } }",
    "accounts { A { exports: [ { service: a, response: maybe } ] } }",
    "accounts { A { exports: [ { stream: a, response: stream } ] } }",
    "accounts { A { exports: [ { stream: a, allow_trace: true } ] } }",
    "accounts { A { exports: [ { service: a, allow_trace: true } ] } }",
    "accounts { A { exports: [ { stream: a, to: B } ] } }",
    "accounts { A {}, B { imports: [ { stream: { account: A, subject: a } } ] } }",
    "accounts { A { exports: [ { stream: a } ] }, B { imports: [ { stream: { account: A, subject: a } } ] } }",
    "accounts { A { exports: [ { stream: a } ] }, B { imports: [ { service: { account: A, subject: a } } ] } }",
    "accounts { A { exports: [ { stream: \"a.>\" } ] }, B { imports: [ { stream: { account: A, subject: \"a.b\" } } ] } }",
    "accounts { A { exports: [ { stream: \"a.b\" } ] }, B { imports: [ { stream: { account: A, subject: \"a.>\" } } ] } }",
    "accounts { A { exports: [ { stream: a, accounts: [C] } ] }, B { imports: [ { stream: { account: A, subject: a } } ] }, C {} }",
    "accounts { B { imports: [ { stream: { account: A, subject: a } } ] } }",
    "accounts { A { exports: [ { stream: a, accounts: [] } ] }, B { imports: [ { stream: { account: A, subject: a } } ] } }",
    "accounts { A { exports: [ { stream: a } ] }, B { imports: [ { stream: { account: A } } ] } }",
    "accounts { A { exports: [ { stream: a } ] }, B { imports: [ { stream: A } ] } }",
    "accounts { A { exports: [ { stream: a } ] }, B { imports: [ { stream: { account: A, subject: a }, prefix: p } ] } }",
    "accounts { A { exports: [ { service: a } ] }, B { imports: [ { service: { account: A, subject: a }, to: x, share: true } ] } }",
    "accounts { A { exports: [ { service: a } ] }, B { imports: [ { service: { account: A, subject: a }, as: x } ] } }",
    "accounts { A { exports: [ { service: \"a.*\", account_token_position: 2 } ] }, B { imports: [ { service: { account: A, subject: \"a.B\" } } ] } }",
    "accounts { A { exports: [ { service: \"a.*\", account_token_position: 2 } ] }, B { imports: [ { service: { account: A, subject: \"a.C\" } } ] } }",
    "accounts { A { exports: [ { service: \"a.*\", account_token_position: 2 } ] }, B { imports: [ { service: { account: A, subject: \"a.*\" } } ] } }",
    "accounts { x: A, $x {} }",
    "accounts { pw: secret, A { users: [ { user: a, password: $pw } ] } }",
    "x: 1\naccounts { A { users: [ { user: a, password: b } ] } }",
    "jetstream",
    "jetstream: true",
    "jetstream: disabled",
    "jetstream: perhaps",
    "jetstream { max_mem: 1G, max_file: 1G, domain: x }",
    "jetstream { max_memory: 1G }",
    "system_account: X",
    "no_auth_user: x",
    "system_account: 1",
    "server_name: 1",
    "max_payload: 1MB",
    "max_payload: \"1MB\"",
    "http: 8222",
    "http: \"127.0.0.1:8222\"",
    "http_port: 8222",
    "http: true",
    "websocket { port: 8443, no_tls: true }",
    "mqtt { port: 1883 }\nserver_name: m",
    "leafnodes { port: 7422 }",
    "cluster { name: c, port: 6222 }",
    "gateway { name: g, port: 7222 }",
    "leaf { port: 7422 }",
    "no_fast_producer_stall: true",
    "no_fast_producer_stall: 1",
    "ACCOUNTS { A { USERS: [ { USER: a, PASSWORD: b } ] } }",
];

/// On these nats-server and the proof differ, and why.
const EXCEPTIONS: &[(&str, &str)] = &[];

#[test]
fn what_the_server_refuses_is_refused() {
    let project = Project::new();
    let compare = |(i, text): (usize, &&str)| {
        let name = format!("{i}.conf");
        project.write(&name, &filled(text));
        let path = project.path().join(&name);
        let (server, own) = (is_valid(&path), rules_found(&path));
        let differ = server.is_ok() != own.is_ok() && !EXCEPTIONS.iter().any(|(known, _)| known == text);
        differ.then(|| format!("{text}\n  server: {server:?}\n  ours: {own:?}"))
    };
    let different: Vec<String> = OPTIONS.par_iter().enumerate().filter_map(compare).collect();
    assert!(different.is_empty(), "{} of {} differ:\n{}", different.len(), OPTIONS.len(), different.join("\n"));
}

/// What tenantry renders, as it runs in the container and here, is without a
/// finding; and so is every example.
#[test]
fn what_is_rendered_has_no_finding() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut registries = vec![root.join("tenants.toml")];
    let examples = std::fs::read_dir(root.join("examples")).expect("examples").map(|e| e.expect("an entry").path());
    registries.extend(examples.map(|e| e.join("tenants.toml")).filter(|p| p.exists()));
    assert!(registries.len() >= 3, "{registries:?}");
    for registry in registries {
        let project = Project::new();
        std::fs::remove_file(project.path().join("tenants.toml")).expect("an empty folder");
        for entry in walk(registry.parent().expect("a folder")) {
            let name = entry.strip_prefix(registry.parent().expect("a folder")).expect("inside").display().to_string();
            if name.ends_with(".toml") && !name.starts_with("examples") && !name.starts_with("target") {
                project.write(&name, &std::fs::read_to_string(&entry).expect("read"));
            }
        }
        let ran = project.run(&["check", "--format", "json"]).succeeded().json();
        assert_eq!(ran["verdict"], "isolated", "{registry:?}: {ran}");
        let own = |f: &serde_json::Value| audit::RULES.iter().any(|r| f["rule"] == r.id);
        assert!(!ran["findings"].as_array().expect("findings").iter().any(own), "{registry:?}: {ran}");
        project.run(&["render"]).succeeded();
        let found = rules_found(&project.path().join("infra/nats/nats-server.conf")).expect("it is read");
        // Inside the container it listens on the container's own network.
        assert!(found.iter().all(|f| f == "monitor-exposed"), "{registry:?}: {found:?}");
    }
}

/// The .toml files of a registry's folder, its tenants.d included.
fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()) {
        match entry.file_name().and_then(|n| n.to_str()) {
            Some("tenants.d") => files.extend(walk(&entry)),
            _ if entry.is_file() => files.push(entry),
            _ => {}
        }
    }
    files
}

/// A template of the user's opens a hole: check says so, at the tenant.
#[test]
fn check_reads_back_what_templates_make() {
    let project = Project::new();
    project.run(&["check"]).succeeded();
    let template = include_str!("../../templates/nats/accounts.conf.hbs");
    let listener = "no_auth_user: tenant_a_app\nleafnodes { listen: \"127.0.0.1:7422\" }\n";
    project.write("mine/nats/accounts.conf.hbs", &format!("{listener}{template}"));
    let ran = project.run(&["check", "--templates", "mine"]).exited(1);
    assert!(ran.stderr.contains("anonymous-user"), "{}", ran.stderr);
    assert!(ran.stdout.contains("the rendered configuration is not isolated: 1 error"), "{}", ran.stdout);
    let json = project.run(&["check", "--templates", "mine", "--format", "json"]).exited(1).json();
    assert_eq!(json["verdict"], "leaky");
}

#[test]
fn audit_speaks_to_people_and_programs_and_shows_no_secret() {
    let project = Project::new();
    let text = filled(
        &GOOD.replace("password: \"HASH\"", "password: verysecret").replace("accounts: [B] }, {", "accounts: [] }, {"),
    );
    project.write("bad.conf", &text);
    let ran = project.run(&["audit", "bad.conf"]).exited(1);
    assert!(ran.stdout.contains("2 tenants, 3 accounts, 3 users, 2 declared shares; 1 error"), "{}", ran.stdout);
    insta::assert_snapshot!("audit_bad", ran.all());
    let json = project.run(&["audit", "bad.conf", "--format", "json"]).exited(1).json();
    assert_eq!(json["verdict"], "leaky");
    assert_eq!(json["findings"][0]["rule"], "public-export");
    assert_eq!(json["findings"][0]["line"], 19);
    assert_eq!(json["shares"][0]["from"], "A");
    // Where the text cannot be read, no line that may hold a secret is shown.
    for broken in [
        text.replace("verysecret }", "verysecret"),
        text.replace("verysecret", "\"verysecret"),
        text.replace("user: admin", "user: []"),
    ] {
        project.write("broken.conf", &broken);
        let ran = project.run(&["audit", "broken.conf"]).exited(2);
        assert!(!ran.stderr.contains("verysecret"), "{}", ran.stderr);
    }
    project.write("good.conf", &filled(GOOD));
    let ran = project.run(&["audit", "good.conf"]).succeeded();
    assert!(ran.stdout.contains("no tenant reaches another beyond that"), "{}", ran.stdout);
}

/// Whatever the file holds: an error that says what, and never a panic.
#[test]
fn bad_files_are_refused_with_a_word() {
    let project = Project::new();
    let path = |name: &str| project.path().join(name);
    std::fs::write(path("binary.conf"), [0u8, 159, 146, 150]).expect("write");
    std::fs::write(path("latin.conf"), b"server_name: caf\xe9\n").expect("write");
    project.write("deep.conf", &format!("a: {}", "[".repeat(100_000)));
    project.write("deep-map.conf", &"a { ".repeat(100_000));
    project.write("braces.conf", &"{".repeat(100_000));
    project.write("self.conf", "include \"self.conf\"\n");
    project.write("one.conf", "include \"two.conf\"\n");
    project.write("two.conf", "include one.conf\n");
    project.write("truncated.conf", &GOOD[..GOOD.len() / 2]);
    project.write("empty.conf", "# nothing\n");
    std::fs::create_dir(path("folder.conf")).expect("create");
    for (name, expected) in [
        ("nowhere.conf", "cannot read"),
        ("folder.conf", "is a folder"),
        ("binary.conf", "not UTF-8"),
        ("latin.conf", "not UTF-8 text, from line 1"),
        ("deep.conf", "nested more than 1000 deep"),
        ("deep-map.conf", "nested more than 1000 deep"),
        ("braces.conf", "nested more than 1000 deep"),
        ("self.conf", "includes itself"),
        ("one.conf", "includes itself"),
        ("truncated.conf", "refuses this configuration"),
        ("empty.conf", "says nothing"),
    ] {
        let ran = project.run(&["audit", name]).exited(2);
        assert!(ran.stderr.contains(expected), "{name}: {}", ran.stderr);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 2000, failure_persistence: None, ..Default::default() })]

    /// No text makes the reader panic.
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*|[ -~\\n\\t]{0,200}|[{}\\[\\]:=,;\"'()#/a1.$ \\n\\\\-]{0,120}") {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("any.conf");
        std::fs::write(&path, &text).expect("write");
        let _ = audit::audit(&path, &|_| None);
    }
}

/// explain says the way, or what stops it, and what it cannot promise.
#[test]
fn explain_says_the_way_or_what_stops_it() {
    let project = Project::new();
    let ask = |from: &str, to: &str, subject: &str| {
        let arguments = ["explain", "--from", from, "--to", to, "--subject", subject, "--format", "json"];
        project.run(&arguments).succeeded().json()["pairs"][0].clone()
    };
    let shared = ask("TENANT_A/tenant_a_app", "TENANT_B/tenant_b_app", "TENANT_A.public.x");
    assert_eq!(shared["reaches"], true);
    assert!(
        shared["paths"][0]["steps"][1]["what"].as_str().is_some_and(|w| w.contains("imports the stream")),
        "{shared}"
    );
    let own = ask("TENANT_A/tenant_a_app", "TENANT_B/tenant_b_app", "TENANT_A.orders");
    assert_eq!(own["reaches"], false);
    assert!(
        own["caveat"].as_str().is_some_and(|c| c.contains("answers")) && own["stopped_by"]["line"].is_number(),
        "{own}"
    );
    let away = ask("TENANT_B/tenant_b_app", "TENANT_A/tenant_a_app", "TENANT_B.x");
    assert!(away["caveat"].is_null() && away["reaches"] == false, "A asks no service of B: {away}");
    let inside = ask("TENANT_A/tenant_a_auditor", "TENANT_A/tenant_a_app", "TENANT_A.x");
    assert!(inside["caveat"].as_str().is_some_and(|c| c.contains("reply subjects are not checked")), "{inside}");
    let ran = project.run(&["explain", "--from", "TENANT_A/nobody", "--to", "TENANT_X"]).exited(2);
    assert!(ran.stderr.contains("has no user `nobody`"), "{}", ran.stderr);
    assert!(
        project
            .run(&["explain", "--from", "TENANT_A", "--to", "TENANT_B", "--subject", "a..b"])
            .exited(2)
            .stderr
            .contains("is not a subject")
    );
}

/// Two accounts of one tenant, and two tenants in one account.
#[test]
fn who_is_one_tenant_can_be_told() {
    let project = Project::new();
    let conf = filled(GOOD)
        // B may now join queues on what A shares: a finding, unless both are one tenant's.
        .replace(", deny: [\"a.public.> >\"]", "");
    project.write("x.conf", &conf);
    let audit = |tenants: &str, code: i32| {
        project.write("tenants-of.toml", tenants);
        let ran = project.run(&["audit", "x.conf", "--tenants", "tenants-of.toml", "--format", "json"]).exited(code);
        let findings = ran.json()["findings"].as_array().cloned().unwrap_or_default();
        let rules: Vec<String> = findings.iter().filter_map(|f| f["rule"].as_str().map(str::to_owned)).collect();
        (rules, ran.stderr)
    };
    assert_eq!(audit("tenant = []", 1).0, ["queue-stealing"], "the control: apart, it is a finding");
    assert_eq!(audit("[[tenant]]\nname = \"both\"\naccounts = [\"A\", \"B\"]", 0).0, [""; 0]);
    let one_account = conf.replace("  B {\n    users: [", "  B {\n    users: [ { user: guest, password: \"HASH\", permissions { publish: \"b.>\", subscribe: \"b.>\", allow_responses: false } }\n")
        .replace("HASH", HASH).replace("[\"b.>\", \"a.public.>\", \"_INBOX_b.>\"]", "[\"b.>\", \"a.public.>\", \"_INBOX_b.>\"], deny: [\"a.public.> >\"]");
    project.write("x.conf", &one_account);
    assert_eq!(audit("tenant = []", 0).0, [""; 0], "the same subjects: no guess could tell them apart");
    assert_eq!(audit("[[tenant]]\nname = \"operator\"\naccounts = [\"SYS\"]", 1).0, ["system-tenant"]);
    let said = audit("[[tenant]]\nname = \"another\"\nusers = [\"B/guest\"]", 1);
    assert_eq!(said.0, ["shared-account"], "{}", said.1);
    for (wrong, expected) in [
        ("[[tenant]]\nname = \"x\"\naccounts = [\"BB\"]", "has no account `BB`"),
        ("[[tenant]]\nname = \"x\"\nusers = [\"B/gest\"]", "did you mean `B/guest`?"),
        ("[[tenant]]\nname = \"x\"\nacounts = [\"B\"]", "acounts"),
        ("[[tenant]]\naccounts = [\"B\"]", "name"),
        (
            "[[tenant]]\nname = \"x\"\naccounts = [\"B\"]\n[[tenant]]\nname = \"y\"\naccounts = [\"B\"]",
            "is of `x` and of `y`",
        ),
        ("[[tenant]]\nname = \"x\"", "neither accounts nor users"),
        ("[[tenant]]\nname = \"x\"\nusers = [\"guest\"]", "did you mean `B/guest`?"),
        ("[[tenant]]\nname = \"x\"\nusers = [\"B\"]", "belongs under `accounts`"),
        ("not toml", "not toml"),
    ] {
        let (_, stderr) = audit(wrong, 2);
        assert!(stderr.contains(expected), "{stderr}");
    }
}

#[test]
fn flows_are_listed() {
    let project = Project::new();
    let listed = project.run(&["explain", "--format", "json"]).succeeded().json();
    let pairs = listed["pairs"].as_array().expect("pairs");
    let is_declared = |p: &&serde_json::Value| {
        let path = &p["paths"][0];
        let (from, subject) = (p["from"].as_str().expect("from"), path["subject"].as_str().expect("a subject"));
        p["reaches"] == true
            && ((from.starts_with("TENANT_A/") && subject == "TENANT_A.public.>")
                || (from.starts_with("TENANT_B/") && subject == "TENANT_A.api.quote"))
    };
    assert_eq!(pairs.iter().filter(is_declared).count(), pairs.len());
    // Two of A may publish and three of B listen; three of B may ask and three of A listen.
    assert_eq!(pairs.len(), 2 * 3 + 3 * 3);
    let told = project.run(&["explain"]).succeeded().stdout;
    assert_eq!(told.matches("TENANT_A reaches TENANT_B: TENANT_A.public.>").count(), 1, "once for all users: {told}");
    assert!(told.contains("2 flows") && told.contains("answers come back"), "{told}");
    let ask = ["explain", "--exit-code", "--from", "TENANT_A", "--to", "TENANT_B", "--subject"];
    project.run(&[ask.as_slice(), &["TENANT_A.orders"]].concat()).succeeded();
    project.run(&[ask.as_slice(), &["TENANT_A.public.x"]].concat()).exited(1);
    let into_b = project.run(&["explain", "--to", "TENANT_B", "--format", "json"]).succeeded().json();
    assert_eq!(into_b["pairs"].as_array().expect("pairs").len(), 2 * 3);
}

/// Configurations in which an attacker showed something to cross on a running
/// server: the part that is not the base, and the rule that has to find it.
const CROSSINGS: &[(&str, &str)] = &[
    ("open-cluster", "cluster { name: c, listen: \"127.0.0.1:0\", authorization { timeout: 2 } }"),
    ("open-cluster", "cluster { name: c, listen: \"127.0.0.1:0\", authorization { password: \"HASH\" } }"),
    ("open-cluster", "gateway { name: g, listen: \"127.0.0.1:0\", authorization { } }"),
    ("leaf-listener", "leafnodes { listen: \"127.0.0.1:7422\", authorization { timeout: 3 } }"),
    (
        "leaf-bridge",
        "leafnodes { host: \"::\", port: 7422, authorization { users: [ { user: l, password: \"HASH\", account: B } ] }, remotes: [ { url: \"nats-leaf://l:p@[::1]:7422\", account: A } ] }",
    ),
    (
        "leaf-bridge",
        "websocket { listen: \"127.0.0.1:8080\", no_tls: true }\nleafnodes { remotes: [ { url: \"ws://l:p@127.0.0.1:8080\", account: A } ] }",
    ),
    (
        "decided-elsewhere",
        "leafnodes { port: 7422, authorization { users: [ { user: l, password: \"HASH\", account: B } ] }, remotes: [ { url: \"nats://l:p@this-machine:7422\", account: A } ] }",
    ),
    ("reserved-export", "A: mappings { \"adm.>\": \"$JS.API.>\" }, exports: [ { service: \"adm.>\", accounts: [B] } ]"),
    ("reserved-export", "A: exports: [ { service: \"$JS.API.STREAM.*.*\", account_token_position: 5 } ]"),
    // The two ways that a copy of a stream needs, when they are not that.
    ("reserved-export", "A: exports: [ { service: \"$JS.API.CONSUMER.RESET.S.C\", accounts: [B] } ]"),
    ("reserved-export", "A: exports: [ { service: \"$JS.FC.S.C.>\", accounts: [B] } ]"),
    (
        "reserved-export",
        "A: exports: [ { service: \"$JS.API.CONSUMER.RESET.S.C\", accounts: [B, C] }, { service: \"$JS.FC.S.C.>\", accounts: [B, C] } ]",
    ),
    ("reserved-export", "A: exports: [ { service: \"$JS.API.CONSUMER.RESET.S.C\" }, { service: \"$JS.FC.S.C.>\" } ]"),
    (
        "reserved-export",
        "A: exports: [ { service: \"$JS.API.CONSUMER.RESET.S.*\", accounts: [B] }, { service: \"$JS.FC.S.*.>\", accounts: [B] } ]",
    ),
    (
        "reserved-export",
        "A: exports: [ { service: \"$JS.API.CONSUMER.RESET.S.C\", accounts: [B] }, { service: \"$JS.FC.S.D.>\", accounts: [B] } ]",
    ),
    (
        "reserved-export",
        "A: exports: [ { stream: \"$JS.API.CONSUMER.RESET.S.C\", accounts: [B] }, { service: \"$JS.FC.S.C.>\", accounts: [B] } ]",
    ),
    // Of the exporter's own consumer, and where somebody may answer.
    (
        "reserved-export",
        "A: exports: [ { service: \"$JS.API.CONSUMER.RESET.S.worker\", accounts: [B] }, { service: \"$JS.FC.S.worker.>\", accounts: [B] }, { stream: \"JS.A.S.to.B\", accounts: [B] } ]",
    ),
    (
        "reserved-export",
        "A: exports: [ { service: \"$JS.API.CONSUMER.RESET.S.A_to_B\", accounts: [B] }, { service: \"$JS.FC.S.A_to_B.>\", accounts: [B] } ]",
    ),
    (
        "reserved-import",
        "A: exports: [ { service: a.x, accounts: [B] } ]\nB: imports: [ { service: { account: A, subject: a.x }, to: \"$JS.FC.S.C.x\" } ]",
    ),
    ("reserved-export", "SYS: exports: [ { service: \"$SYS.REQ.SERVER.PING.CONNZ\", accounts: [A] } ]"),
    (
        "passed-on",
        "A: exports: [ { service: s.x, accounts: [B] } ]\nB: imports: [ { service: { account: A, subject: s.x } } ], mappings { y: s.x }, exports: [ { service: y, accounts: [C] } ]\nC: imports: [ { service: { account: B, subject: y } } ]",
    ),
    (
        "passed-on",
        "A: exports: [ { service: s.x, accounts: [B, C] } ]\nB: imports: [ { service: { account: A, subject: s.x } } ], exports: [ { service: s.x, accounts: [C] } ]\nC: imports: [ { service: { account: B, subject: s.x } } ], exports: [ { service: s.x, accounts: [D] } ]\nD: imports: [ { service: { account: C, subject: s.x } } ]",
    ),
    (
        "reserved-import",
        "A: exports: [ { service: \"all.>\", accounts: [B] } ]\nB: imports: [ { service: { account: A, subject: \"all.>\" }, to: \">\" } ]",
    ),
    (
        "reserved-import",
        "A: exports: [ { service: \"all.>\", accounts: [B] } ]\nB: imports: [ { service: { account: A, subject: \"all.>\" }, to: \"$JS.API.>\" } ]",
    ),
    (
        "reserved-import",
        "A: exports: [ { stream: \"x.>\", accounts: [B] } ]\nB: imports: [ { stream: { account: A, subject: \"x.>\" }, to: \"_INBOX.>\" } ]",
    ),
    (
        "queue-stealing",
        "leafnodes { listen: \"127.0.0.1:7422\", authorization { users: [ { user: l, password: \"HASH\", account: N } ] } }\nA: exports: [ { stream: \"ev.>\", accounts: [N] } ]\nN: imports: [ { stream: { account: A, subject: \"ev.>\" } } ]",
    ),
    (
        "oversubscribed",
        "jetstream { max_memory_store: 1G, max_file_store: \"1G\" }\nA: jetstream { max_mem: 1, max_file: 2G }",
    ),
    ("unlimited-connections", "max_connections: 10"),
    ("monitor-exposed", "prof_port: 16060"),
    ("account-name", "\"*\":"),
    (
        "reserved-export",
        "A: mappings { \"adm.>\": \"$JS.API.>\", \"adm.STREAM.>\": \"s.STREAM.>\" }, exports: [ { service: adm.STREAM.NAMES, accounts: [B] } ]",
    ),
    (
        "mapped-export",
        "A: mappings { \"c.in.*\": \"req.$1\" }, exports: [ { service: \"req.*\", account_token_position: 2 }, { service: \"c.in.*\", accounts: [C] } ]",
    ),
    (
        "wildcard-service",
        "A: exports: [ { service: \"req.*\", account_token_position: 2 }, { service: \"req.>\", accounts: [C] } ]",
    ),
    ("wildcard-service", "A: exports: [ { service: req.B, accounts: [B] }, { service: \"req.*\", accounts: [C] } ]"),
    (
        "reserved-import",
        "A: exports: [ { service: \"x.>\", accounts: [B] } ]\nB: mappings { \"_INBOX.>\": \"x.>\" }, imports: [ { service: { account: A, subject: \"x.>\" } } ]",
    ),
    ("reserved-export", "A: mappings { \"_INBOX.>\": \"pub.>\" }, exports: [ { stream: \"pub.>\", accounts: [B] } ]"),
    (
        "oversubscribed",
        "jetstream { max_memory_store: 1G, max_file_store: 1G }\nA: jetstream { max_mem: 1, max_file: 1M, max_streams: 25, max_consumers: 5 }\nB: jetstream { max_mem: 1, max_file: 1M, max_streams: 5, max_consumers: 5 }",
    ),
    (
        "shared-identity",
        "A: exports: [ { service: s.x, accounts: [B, C] } ]\nB: imports: [ { service: { account: A, subject: s.x } } ], exports: [ { service: s.x, accounts: [C], latency: { sampling: 100, subject: lat.x } } ]\nC: imports: [ { service: { account: B, subject: s.x } } ]",
    ),
    ("unlimited-connections", "max_subscriptions: 0"),
];

/// The accounts that every one of them has, and what it adds to them.
fn crossing(text: &str) -> String {
    let (mut top, mut blocks) = (String::new(), std::collections::BTreeMap::new());
    for name in ["A", "B", "C", "D", "SYS"] {
        blocks.insert(name.to_owned(), String::new());
    }
    for line in text.lines() {
        let named = line.split_once(": ").or_else(|| line.strip_suffix(':').map(|name| (name, "")));
        match named.filter(|(name, _)| blocks.contains_key(*name) || matches!(*name, "N" | "\"*\"")) {
            Some((name, more)) => blocks.entry(name.to_owned()).or_default().push_str(more),
            None => top += &format!("{line}\n"),
        }
    }
    let mut accounts = String::new();
    for (name, more) in blocks {
        let user = name.to_lowercase().replace(['"', '*'], "star");
        accounts += &format!(
            "{name} {{ users: [ {{ user: {user}, password: \"HASH\", permissions {{ publish: \"{user}.>\", subscribe {{ allow: \"{user}.>\", deny: \"> >\" }} }} }} ], limits {{ max_connections: 9 }}\n{more} }}\n"
        );
    }
    filled(&format!(
        "no_fast_producer_stall: true\nmax_subscriptions: 1000\nserver_name: base\nsystem_account: SYS\nauthorization {{ timeout: 2 }}\n{top}accounts {{\n{accounts}}}\n"
    ))
}

#[test]
fn what_crosses_is_found() {
    let project = Project::new();
    let path = |name: &str| project.path().join(name);
    project.write("base.conf", &crossing(""));
    is_valid(&path("base.conf")).expect("the base is a configuration");
    assert_eq!(rules_found(&path("base.conf")), Ok(BTreeSet::new()), "the base has nothing wrong");
    for (i, (rule, text)) in CROSSINGS.iter().enumerate() {
        let name = format!("crossing-{i}.conf");
        project.write(&name, &crossing(text));
        is_valid(&path(&name)).unwrap_or_else(|e| panic!("{text}: {e}"));
        let found = rules_found(&path(&name)).unwrap_or_else(|e| panic!("{rule}, {text}: {e}"));
        assert!(found.contains(*rule), "{rule} does not find {text}; found {found:?}");
    }
}

/// What looks alike and is in order.
#[test]
fn what_does_not_cross_is_no_finding() {
    let project = Project::new();
    for (i, text) in [
        "cluster { name: c, listen: \"127.0.0.1:0\", authorization { user: r, password: \"HASH\" } }",
        "A: exports: [ { service: s, accounts: [B] }, { service: s, accounts: [C] } ]\nB: imports: [ { service: { account: A, subject: s } } ]\nC: imports: [ { service: { account: A, subject: s } } ]",
        "A: exports: [ { service: s.x, accounts: [B, C] } ]\nB: imports: [ { service: { account: A, subject: s.x } } ], exports: [ { service: s.x, accounts: [C] } ]\nC: imports: [ { service: { account: B, subject: s.x } } ]",
    ]
    .iter()
    .enumerate()
    {
        let name = format!("{i}.conf");
        project.write(&name, &crossing(text));
        is_valid(&project.path().join(&name)).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(rules_found(&project.path().join(&name)), Ok(BTreeSet::new()), "{text}");
    }
    // The last position counts: nats-server says so too.
    let text = "A: exports: [ { service: \"req.*\", account_token_position: 2 }, { service: \"req.*\", accounts: [C] } ]\nB: imports: [ { service: { account: A, subject: req.B } } ]";
    project.write("position.conf", &crossing(text));
    assert!(is_valid(&project.path().join("position.conf")).is_err());
    assert!(rules_found(&project.path().join("position.conf")).is_err());
}
