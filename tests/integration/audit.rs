//! The static proof: every rule finds what it is about and nothing where it is
//! right; what nats-server refuses is refused, what it takes is taken.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use tenantry::audit;

use crate::differential::Server;
use crate::support::{PATIENCE, Project, free_port, nats_server};

const USER_A: &str = "UCFHWLYDLMVQXOYBXYR6JUEUA4QQ27FXLXHWWTUU6XRMJFAPDLUCMB7P";
const HASH: &str = "$2a$04$abcdefghijklmnopqrstuOZQfOkJd2oM0rcFq5XjFSTcSUeQJKBVu";

/// A configuration in which nothing is wrong.
fn good() -> &'static str {
    include_str!("../fixtures/audit/clean-1.conf").split_once('\n').expect("a first line").1
}

/// Each file says in its first line which finding it must give, or that it gives none.
fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/audit");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("fixtures").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

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
fn every_fixture_gives_the_finding_that_it_names() {
    let shown: BTreeSet<String> = fixtures()
        .par_iter()
        .filter_map(|path| {
            let text = std::fs::read_to_string(path).expect("a fixture");
            let head = text.lines().next().expect("a first line");
            // What the server makes of two accounts that import in a circle depends on
            // the order in which it reads them.
            if head != "# finding: import-cycle" {
                is_valid(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            }
            let found = rules_found(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let Some(rule) = head.strip_prefix("# finding: ") else {
                assert_eq!((head, &found), ("# no finding", &BTreeSet::new()), "{}", path.display());
                return None;
            };
            assert!(found.contains(rule), "{} does not give {rule} but {found:?}", path.display());
            Some(rule.to_owned())
        })
        .collect();
    let all = audit::RULES.iter().map(|r| r.id).chain(audit::rules::READING.iter().map(|(id, _)| *id));
    assert_eq!(shown, all.map(str::to_owned).collect(), "every rule has a fixture");
}

/// The last one's token position counts: nats-server says so too.
#[test]
fn of_two_exports_of_one_subject_the_last_position_counts() {
    let project = Project::new();
    let account =
        |name: &str, more: &str| format!("{name} {{ users: [ {{ user: {name}u, password: \"x\" }} ]\n{more} }}\n");
    let text = format!(
        "accounts {{\n{}{}{}}}\n",
        account(
            "A",
            "exports: [ { service: \"req.*\", account_token_position: 2 }, { service: \"req.*\", accounts: [C] } ]"
        ),
        account("B", "imports: [ { service: { account: A, subject: req.B } } ]"),
        account("C", ""),
    );
    for (name, text, is_right) in
        [("last", text.clone(), false), ("alone", text.replace(", { service: \"req.*\", accounts: [C] }", ""), true)]
    {
        project.write(name, &text);
        let path = project.path().join(name);
        assert_eq!((is_valid(&path).is_ok(), rules_found(&path).is_ok()), (is_right, is_right), "{name}");
    }
}

/// Which of these nats-server takes is its to say.
const OPTIONS: &[&str] = &[
    "cluster { name: c, listen: \"127.0.0.1:0\", pool_sise: 3 }",
    "cluster { name: c, listen: \"127.0.0.1:0\", pool_size: 3 }",
    "cluster { name: c, port: 0, advertise: \"x:1\", no_advertise: true, routes: [], ping_max: 3, compression: off }",
    "gateway { name: g, listen: \"127.0.0.1:-1\", reject_unknown: true }",
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

/// Configurations that pass `nats-server -t` or not, and with which it does not start; each with its correction.
const NOT_STARTING: &[(&str, &str)] = &[
    (
        "no_auth_user: x\naccounts { A { users: [{ user: u, password: p }] } }",
        "no_auth_user: u\naccounts { A { users: [{ user: u, password: p }] } }",
    ),
    (
        "websocket { port: -1, no_tls: true, no_auth_user: x }\naccounts { A { users: [{ user: u }] } }",
        "websocket { port: -1, no_tls: true, no_auth_user: u }\naccounts { A { users: [{ user: u }] } }",
    ),
    (
        "websocket { port: -1, no_tls: true, authorization { token: t } }\naccounts { A { users: [{ user: u }] } }",
        "websocket { port: -1, no_tls: true, authorization { token: t } }\naccounts { A {} }",
    ),
    (
        "websocket { port: -1, no_tls: true, allowed_origins: [\"example.com\"] }",
        "websocket { port: -1, no_tls: true, allowed_origins: [\"https://example.com\"] }",
    ),
    (
        "websocket { port: -1, no_tls: true, jwt_cookie: c }",
        "websocket { port: -1, no_tls: true, token_cookie: c, same_origin: true }",
    ),
    (
        "websocket { port: -1, no_tls: true, headers { Upgrade: x } }",
        "websocket { port: -1, no_tls: true, headers { X-Upgrade: x } }",
    ),
    (
        "accounts { A {} }\ncluster { name: c, port: -1, pool_size: -1, accounts: [A] }",
        "accounts { A {} }\ncluster { name: c, port: -1, pool_size: 3, accounts: [A] }",
    ),
    ("gateway { port: -1 }", "gateway { name: g, port: -1 }"),
    ("gateway { name: g }", "gateway { name: g, port: -1 }"),
    (
        "gateway { name: g, port: -1 }\ncluster { name: c, port: -1 }",
        "gateway { name: g, port: -1 }\ncluster { name: g, port: -1 }",
    ),
    (
        "gateway { name: g, port: -1, gateways: [{ name: h }] }",
        "gateway { name: g, port: -1, gateways: [{ name: h, url: \"nats://h:7222\" }] }",
    ),
    (
        "gateway { name: g, port: -1 }\nleafnodes { port: -1 }\naccounts { S {} }",
        "gateway { name: g, port: -1 }\nleafnodes { port: -1 }\naccounts { S {} }\nsystem_account: S",
    ),
    (
        "leafnodes { remotes: [{ urls: [\"ws://a:1\", \"nats://b:1\"] }] }",
        "leafnodes { remotes: [{ urls: [\"ws://a:1\", \"ws://b:1\"] }] }",
    ),
    (
        "leafnodes { remotes: [{ url: \"ws://a:1\", proxy { url: \"http://p\", username: u } }] }",
        "leafnodes { remotes: [{ url: \"ws://a:1\", proxy { url: \"http://p\", username: u, password: p } }] }",
    ),
    ("default_sentinel: x", "no_auth_user: u\nauthorization { users: [{ user: u }] }"),
    ("http_port: -1\nhttps_port: -1", "http_port: -1"),
    ("lame_duck_grace_period: \"-5s\"", "lame_duck_grace_period: \"5s\""),
    ("client_advertise: \"foo:bar\"", "client_advertise: \"foo:4222\""),
    (
        "proxies { trusted: [{ key: abc }] }",
        "proxies { trusted: [{ key: UCFHWLYDLMVQXOYBXYR6JUEUA4QQ27FXLXHWWTUU6XRMJFAPDLUCMB7P }] }",
    ),
    ("https: \"127.0.0.1:-1\"", "https_port: 0\ndefault_sentinel: \"\""),
    (
        "leafnodes { remotes: [{ url: \"nats://127.0.0.1:1\", deny_imports: \"a..b\" }] }",
        "leafnodes { remotes: [{ url: \"nats://127.0.0.1:1\", deny_imports: \"a.b\" }] }",
    ),
    (
        "leafnodes { remotes: [{ url: \"nats://127.0.0.1:x\" }] }",
        "leafnodes { remotes: [{ url: \"nats://127.0.0.1:1\" }] }",
    ),
    (
        "cluster { name: c, port: -1, routes: [\"nats://127.0.0.1:-1\"] }",
        "cluster { name: c, port: -1, routes: [\"nats://127.0.0.1:1\"] }",
    ),
    (
        "accounts { A { mappings { \"q.*\": \"o.{{WILDCARD(1)}}\" } } }",
        "accounts { A { mappings { \"q.*\": \"o.{{Wildcard(1)}}\" } } }",
    ),
    ("trusted_keys: [abc]", "system_account: \"\""),
    (
        "accounts { A {} }\nsystem_account: A\nleafnodes { remotes: [{ url: \"nats://127.0.0.1:1\", account: \"$SYS\" }] }",
        "accounts { A {} }\nleafnodes { remotes: [{ url: \"nats://127.0.0.1:1\", account: \"$SYS\" }] }",
    ),
    ("http: \"127.0.0.1:70000\"", "http: \"127.0.0.1:-1\""),
    (
        "http: \"127.0.0.1:45871\"\nleafnodes { listen: \"localhost:45871\" }",
        "http: \"127.0.0.1:-1\"\nleafnodes { listen: \"localhost:-1\" }",
    ),
    ("tls { cipher_suites: [] }", "tls { cipher_suites: [TLS_AES_128_GCM_SHA256] }"),
    ("tls { cipher_suites: [TLS_AES] }", "tls { cipher_suites: [TLS_AES_128_GCM_SHA256] }"),
    (
        "tls { cipher_suites: [TLS_RSA_WITH_RC4_128_SHA] }",
        "tls { cipher_suites: [TLS_RSA_WITH_RC4_128_SHA], allow_insecure_cipher_suites: true }",
    ),
    ("tls { curve_preferences: [P256] }", "tls { curve_preferences: [CurveP256] }"),
    (
        "tls { pinned_certs: [ab] }",
        "tls { pinned_certs: [\"0123456789abcdef0123456789abcdef0123456789ABCDEF0123456789abcdef\"] }",
    ),
    ("ocsp { mode: sometimes }", "ocsp { mode: Always }"),
    ("ocsp { urls: [\"http://x\"] }", "ocsp { url: \"http://x\" }"),
    ("accounts { A {} }\ndefault_js_domain { B: x }", "accounts { A {} }\ndefault_js_domain { A: x }"),
    (
        "accounts { A { jetstream: enabled } }\ndefault_js_domain { A: x }",
        "accounts { A {} }\ndefault_js_domain { A: x }",
    ),
    (
        "accounts { A { users: [{ user: u }] } }\nauthorization { auth_callout { issuer: ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA, account: A, auth_users: [u], allowed_accounts: [B] } }",
        "accounts { A { users: [{ user: u }] } }\nauthorization { auth_callout { issuer: ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA, account: A, auth_users: [u], allowed_accounts: [A] } }",
    ),
    ("resolver: x", "resolver: MEMORY"),
    (
        "accounts { A { exports: [{ service: \"x.*\" }] }, B { imports: [{ service: { account: A, subject: \"x.*\" }, to: \"z.$1\" }, { service: { account: A, subject: \"x.*\" }, to: \"z.*\" }] } }",
        "accounts { A { exports: [{ service: \"x.*\" }] }, B { imports: [{ service: { account: A, subject: \"x.*\" }, to: \"z.*\" }, { service: { account: A, subject: \"x.*\" }, to: \"z.$1\" }] } }",
    ),
    ("tls { handshake_first: sometimes }", "tls { handshake_first: \"ON\" }"),
    (
        "accounts { A { mappings { m: [{ destination: x, weight: \"4 %\" }] } } }",
        "accounts { A { mappings { m: [{ destination: x, weight: \"4%\" }] } } }",
    ),
    (
        "accounts { A { exports: [{ stream: s }] }, B { imports: [{ stream: { account: A, subject: s }, prefix: \"p.*\" }] } }",
        "accounts { A { exports: [{ stream: s }] }, B { imports: [{ stream: { account: A, subject: s }, prefix: \"p.$1\" }] } }",
    ),
    (
        "accounts { A { exports: [{ service: s, latency: s }] } }",
        "accounts { A { exports: [{ service: s, latency: t }] } }",
    ),
    ("http: \"ws://a:1\"", "http: \"[::1]:-1\""),
    ("cluster { accounts: [[x]], name: c, port: -1 }", "cluster { accounts: [], name: c, port: -1 }"),
    ("feature_flags { a: 1 }", "feature_flags { a: true }"),
    ("server_metadata { a: 1 }", "server_metadata { a: b }"),
    ("gateway { name: g, port: 0 }", "gateway { name: g, port: -1 }"),
    ("http_port: nothing", "http_port: nothing\nhttp_port: -1"),
    ("resolver { dir: \"./jwt\" }", "resolver { type: memory }"),
    ("resolver { type: memory, timeout: soon }", "resolver { type: memory, timeout: \"2s\" }"),
    ("lame_duck_duration: 30s\nlame_duck_grace_period: 31s", "lame_duck_duration: 30s\nlame_duck_grace_period: 29s"),
];

#[test]
fn what_does_not_start_is_refused_and_its_correction_is_not() {
    let project = Project::new();
    let starts = |path: &Path| {
        let mut command = Command::new(nats_server());
        command.args(["-a", "127.0.0.1", "-p", "-1", "-c"]).arg(path).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut server = Server(command.spawn().expect("nats-server runs"));
        let said = BufReader::new(server.0.stderr.take().expect("its log")).lines().map_while(Result::ok);
        said.into_iter().any(|line| line.contains("Server is ready"))
    };
    let compare = |(i, (wrong, right)): (usize, &(&str, &str))| {
        let check = |name: &str, text: &str, expected: bool| {
            let name = format!("{i}-{name}.conf");
            project.write(&name, text);
            let path = project.path().join(&name);
            let found = (starts(&path), rules_found(&path).is_ok());
            (found != (expected, expected)).then(|| format!("{text}: server and ours {found:?}, expected {expected}"))
        };
        [check("wrong", wrong, false), check("right", right, true)].into_iter().flatten().collect::<Vec<_>>()
    };
    let different: Vec<String> = NOT_STARTING.par_iter().enumerate().flat_map_iter(compare).collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// What `server-crash` and `wider-import` say is what the server does.
#[test]
fn what_ends_the_server_or_opens_too_much_is_measured() {
    let project = Project::new();
    // What the server says to B, who subscribes, while A publishes; and whether it still runs.
    let said = |exports: &str, imports: &str, subscription: &str, published: &str| {
        let port = free_port();
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\nauthorization {{ timeout: 60 }}\naccounts {{\n\
             A {{ users: [{{ user: a, password: p }}], {exports} }}\n\
             B {{ users: [{{ user: b, password: p }}], {imports} }} }}"
        );
        project.write("x.conf", &text);
        let path = project.path().join("x.conf");
        let found = rules_found(&path).expect("accepted");
        let found = found.into_iter().find(|rule| ["server-crash", "wider-import"].contains(&rule.as_str()));
        let mut command = Command::new(nats_server());
        command.arg("-c").arg(&path).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut server = Server(command.spawn().expect("nats-server runs"));
        let mut log = BufReader::new(server.0.stderr.take().expect("its log")).lines().map_while(Result::ok);
        assert!(log.any(|line| line.contains("Server is ready")));
        let login = |user: &str| {
            let mut client = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
            let connect = format!("CONNECT {{\"user\":\"{user}\",\"pass\":\"p\",\"verbose\":false}}\r\n");
            client.write_all(connect.as_bytes()).expect("sent");
            client
        };
        // Everything up to the answer to a ping, or to the end.
        let heard = |client: &mut TcpStream, line: &str| {
            let _ = client.write_all(format!("{line}\r\nPING\r\n").as_bytes());
            let lines = BufReader::new(client).lines().map_while(Result::ok);
            let mut all = Vec::new();
            for line in lines {
                if line == "PONG" {
                    return (all, true);
                }
                all.push(line);
            }
            (all, false)
        };
        let (mut a, mut b) = (login("a"), login("b"));
        let (_, mut runs) = heard(&mut b, &format!("SUB {subscription} 1"));
        if runs {
            runs = heard(&mut a, &format!("PUB {published} 1\r\n!")).1;
        }
        // The server may get to it only after its answer, or the next time.
        let start = Instant::now();
        while runs && found.as_deref() == Some("server-crash") && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
            runs = heard(&mut a, &format!("PUB {published} 1\r\n!")).1;
        }
        let messages = if runs { heard(&mut b, "PING").0 } else { Vec::new() };
        let got = messages.iter().any(|line| line.starts_with("MSG"));
        (found.unwrap_or_default(), runs, got)
    };
    let imported = |subject: &str, to: &str| {
        format!("imports: [{{ stream: {{ account: A, subject: \"{subject}\" }}, to: \"{to}\" }}]")
    };
    let one = "exports: [{ stream: \"s.*\", accounts: [B] }]";
    assert_eq!(said(one, &imported("s.*", "in.$1.$1"), "in.x.y", "s.x"), ("server-crash".to_owned(), false, false));
    assert_eq!(said(one, &imported("s.*", "in.$1"), "in.x", "s.x"), (String::new(), true, true), "the control");
    assert_eq!(said("mappings { m: \"\" }", "", "x", "m"), ("server-crash".to_owned(), false, false));
    assert_eq!(said("mappings { m: \"n\" }", "", "x", "m"), (String::new(), true, false), "the control");
    // Here A imports, and asks the server for an answer at the service.
    let asks = "imports: [{ service: { account: B, subject: x } }]";
    let request = "$SYS.REQ.USER.INFO x";
    assert_eq!(
        said(asks, "exports: [{ service: x, accounts: [A], latency: l }]", "y", request),
        ("server-crash".to_owned(), false, false)
    );
    assert_eq!(
        said(asks, "exports: [{ service: x, accounts: [A] }]", "y", request),
        (String::new(), true, false),
        "the control"
    );
    let status = "exports: [{ stream: status, accounts: [B] }]";
    assert_eq!(
        said(status, &imported("status", "a.*"), "*.secret", "a.secret"),
        ("wider-import".to_owned(), true, true)
    );
    assert_eq!(
        said(status, &imported("status", "a.b"), "*.secret", "a.secret"),
        (String::new(), true, false),
        "the control"
    );
}

/// On these nats-server and the proof differ, and why.
const EXCEPTIONS: &[(&str, &str)] = &[];

#[test]
fn what_the_server_refuses_is_refused() {
    let project = Project::new();
    let compare = |(i, text): (usize, &&str)| {
        let name = format!("{i}.conf");
        project.write(&name, &text.replace("USER_A", USER_A));
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
        let is_of_container = |f: &String| ["monitor-exposed", "clear-text"].contains(&f.as_str());
        assert!(found.iter().all(is_of_container), "{registry:?}: {found:?}");
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
    let listener = "cluster { name: open, listen: \"127.0.0.1:6222\" }\n";
    project.write("mine/nats/accounts.conf.hbs", &format!("{listener}{template}"));
    let ran = project.run(&["check", "--templates", "mine"]).exited(1);
    assert!(ran.stderr.contains("open-cluster"), "{}", ran.stderr);
    assert!(ran.stdout.contains("the rendered configuration is not isolated: 1 error"), "{}", ran.stdout);
    let json = project.run(&["check", "--templates", "mine", "--format", "json"]).exited(1).json();
    assert_eq!(json["verdict"], "leaky");
}

#[test]
fn audit_speaks_to_people_and_programs_and_shows_no_secret() {
    let project = Project::new();
    let text = good()
        .replace(&format!("password: \"{HASH}\""), "password: verysecret")
        .replace("accounts: [B] }, {", "accounts: [] }, {");
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
    project.write("good.conf", good());
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
    project.write("truncated.conf", &good()[..good().len() / 2]);
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
fn explain_does_not_decide_what_leaf_nodes_connect() {
    let project = Project::new();
    let accounts = "accounts { A { users: [{ user: a, password: p }] }, B { users: [{ user: b, password: p }] } }\n";
    project.write("apart.conf", accounts);
    project.write(
        "dials.conf",
        &format!("{accounts}leafnodes {{ remotes: [{{ url: \"nats://10.0.0.1\", account: A }}] }}"),
    );
    for (file, code) in [("apart.conf", 0), ("dials.conf", 3)] {
        for asked in [&["--from", "A", "--to", "B"][..], &[]] {
            let ran = project.run(&[&["explain", "--exit-code", "--conf", file], asked].concat()).exited(code);
            assert_eq!(ran.stdout.contains("`tenantry audit`"), code == 3, "{}", ran.all());
        }
    }
}

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
        own["caveat"].as_str().is_some_and(|c| c.contains("consumers")) && own["stopped_by"]["line"].is_number(),
        "{own}"
    );
    let away = ask("TENANT_B/tenant_b_app", "TENANT_A/tenant_a_app", "TENANT_B.x");
    assert!(away["reaches"] == false && away["caveat"].as_str().is_some_and(|c| c.contains("consumers")), "{away}");
    let apart = ask("TENANT_A/tenant_a_auditor", "TENANT_B/tenant_b_app", "TENANT_A.x");
    assert!(apart["caveat"].is_null() && apart["reaches"] == false, "it may make no consumers: {apart}");
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
    let conf = good()
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
    assert_eq!(
        said.0,
        ["shared-account", "shared-account", "unlimited-connections"],
        "each reaches the other: {}",
        said.1
    );
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

/// What comes into an account by no user's list: who is behind a leaf node, and reports of latency. Each
/// with the control beside it.
#[test]
fn leaf_nodes_and_reports_in_an_account_that_tenants_share() {
    let project = Project::new();
    project
        .write("t.toml", "[[tenant]]\nname = \"ta\"\nusers = [\"X/a\"]\n[[tenant]]\nname = \"tb\"\nusers = [\"X/b\"]");
    let user = |name: &str, publish: &str, subscribe: &str| {
        format!(
            "{{ user: {name}, password: \"{HASH}\", allowed_connection_types: [STANDARD], \
             permissions {{ publish: {publish}, subscribe: {subscribe} }} }}"
        )
    };
    let both = |publish: &str| [user("a", publish, "\"a.>\""), user("b", "\"b.>\"", "\"b.>\"")].join(", ");
    let head = "listen: \"127.0.0.1:0\"\nno_fast_producer_stall: true\nmax_subscriptions: 100\n";
    let x = |users: &str, more: &str| format!("X {{ users: [{users}], limits {{ max_connections: 10 }}\n{more} }}");
    let y = format!(
        "Y {{ users: [{}], limits {{ max_connections: 10 }}, imports: [{{ service: {{ account: X, subject: \"a.svc\" }} }}] }}",
        user("y", "\"a.svc\"", "\"y.>\"")
    );
    let measured = |subject: &str| {
        let export = format!(
            "exports: [{{ service: \"a.svc\", accounts: [Y], latency: {{ subject: \"{subject}\", sampling: 100 }} }}]"
        );
        format!("accounts {{ {}\n{y} }}", x(&both("[\"a.>\", \"_R_.>\"]"), &export))
    };
    let alone = format!("accounts {{ {} }}", x(&both("\"a.>\""), ""));
    let dials = |account: &str| {
        format!("leafnodes {{ remotes: [{{ url: \"nats-leaf://127.0.0.1:7\", account: {account} }}] }}\n")
    };
    let z = format!("Z {{ users: [{}], limits {{ max_connections: 10 }} }}", user("z", "\"z.>\"", "\"z.>\""));
    for (what, text, code, rule) in [
        ("the control: nothing crosses", alone.clone(), 0, None),
        ("a leaf node in the account", dials("X") + &alone, 3, Some("decided-elsewhere")),
        (
            "a leaf node in another account",
            dials("Z") + &alone.replace("accounts {", &format!("accounts {{ {z}\n")),
            0,
            None,
        ),
        ("reports to the other tenant", measured("b.lat"), 1, Some("shared-account")),
        ("reports to the one who answers", measured("a.lat"), 0, None),
    ] {
        project.write("x.conf", &format!("{head}{text}"));
        let ran = project.run(&["audit", "x.conf", "--tenants", "t.toml", "--format", "json"]);
        assert_eq!(ran.code, code, "{what}: {}{}", ran.stdout, ran.stderr);
        if let Some(rule) = rule {
            assert!(ran.stdout.contains(rule), "{what}: {}", ran.stdout);
        }
    }
}

/// A tenant with an account and users of another one is all of them, whatever it is called.
#[test]
fn tenants_of_a_file_are_explained_with_all_their_users() {
    let project = Project::new();
    let user = |name: &str, publish: &str, subscribe: &str| {
        format!(
            "{{ user: {name}, password: \"{HASH}\", permissions: {{ publish: {publish}, subscribe: {subscribe} }} }}"
        )
    };
    project.write(
        "x.conf",
        &format!(
            "accounts {{ A {{ users: [{}, {}] }}, C {{ users: [{}] }}, H {{ users: [{}], exports: [{{ stream: h.>, accounts: [A] }}] }} }}",
            user("a1", "x.>", "x1.>"),
            user("a2", "y.>", "[x.>, h.>]"),
            user("c", "c.>", "c.>"),
            user("h", "h.>", "none"),
        )
        .replace("A { users", "A { imports: [{ stream: { account: H, subject: h.> } }], users"),
    );
    let tenants = "[[tenant]]\nname = \"one\"\naccounts = [\"C\"]\nusers = [\"A/a1\"]\n\
                   [[tenant]]\nname = \"two\"\nusers = [\"A/a2\"]\n[[tenant]]\nname = \"hub\"\naccounts = [\"H\"]\n";
    project.write("t.toml", tenants);
    let explain = |from: &str, to: &str| {
        let ran = project.run(&[
            "explain",
            "--conf",
            "x.conf",
            "--tenants",
            "t.toml",
            "--from",
            from,
            "--to",
            to,
            "--format",
            "json",
        ]);
        (ran.json()["reaches"].as_bool().expect("reaches"), ran.json()["pairs"].as_array().map_or(0, Vec::len))
    };
    assert_eq!(explain("one", "two"), (true, 2), "both users of `one`");
    assert_eq!(explain("two", "one"), (false, 2));
    assert_eq!(explain("hub", "two"), (true, 1), "by its account alone");
}

/// What an account gets is for every tenant in it that may hear it.
#[test]
fn what_is_shared_with_an_account_of_several_tenants_is_said() {
    let project = Project::new();
    let conf = |subscribe: &str| {
        format!(
            "accounts {{ H {{ users: [{{ user: h, password: \"{HASH}\" }}], exports: [{{ stream: h.>, accounts: [C] }}] }}\n\
             C {{ imports: [{{ stream: {{ account: H, subject: h.> }} }}], users: [\n\
             {{ user: u1, password: \"{HASH}\", permissions: {{ publish: a.>, subscribe: [a.>, h.>] }} }},\n\
             {{ user: u2, password: \"{HASH}\", permissions: {{ publish: b.>, subscribe: {subscribe} }} }}] }} }}"
        )
    };
    project.write(
        "t.toml",
        "[[tenant]]\nname = \"t1\"\nusers = [\"C/u1\"]\n[[tenant]]\nname = \"t2\"\nusers = [\"C/u2\"]\n",
    );
    let told = |subscribe: &str| {
        project.write("x.conf", &conf(subscribe));
        let ran = project.run(&["audit", "x.conf", "--tenants", "t.toml", "--format", "json"]);
        ran.stdout.contains("`t1`, `t2` all receive `h.>`, which `H` shares with `C`")
    };
    assert!(told("[b.>, h.>]"));
    assert!(!told("b.>"), "the control");
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
    // Two of A may publish and three of B listen; three of B may ask and three of A listen. JetStream does
    // both for the provisioners.
    let by_lists = |pairs: &[serde_json::Value]| {
        let is_provisioner = |who: &serde_json::Value| who.as_str().expect("a name").ends_with("/provisioner");
        pairs.iter().filter(|p| !is_provisioner(&p["from"]) && !is_provisioner(&p["to"])).count()
    };
    assert_eq!(by_lists(pairs), 2 * 3 + 3 * 3);
    assert!(pairs.len() > by_lists(pairs));
    let told = project.run(&["explain"]).succeeded().stdout;
    assert_eq!(told.matches("TENANT_A reaches TENANT_B: TENANT_A.public.>").count(), 1, "once for all users: {told}");
    assert!(told.contains("2 flows") && told.contains("go to the service"), "{told}");
    let ask = ["explain", "--exit-code", "--from", "TENANT_A", "--to", "TENANT_B", "--subject"];
    project.run(&[ask.as_slice(), &["TENANT_A.orders"]].concat()).succeeded();
    project.run(&[ask.as_slice(), &["TENANT_A.public.x"]].concat()).exited(1);
    let into_b = project.run(&["explain", "--to", "TENANT_B", "--format", "json"]).succeeded().json();
    assert_eq!(by_lists(into_b["pairs"].as_array().expect("pairs")), 2 * 3);
}
