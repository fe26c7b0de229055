//! Whatever registry is accepted, nats-server starts with what it renders to,
//! and does what the registry says: the same limits, the same shares, and for
//! each user the same answer to "may I publish, may I subscribe".

use std::collections::BTreeSet;
use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tenantry::model::permissions::Grant;
use tenantry::model::{Credential, Model, ShareKind, Tenant, User};
use tenantry::registry;
use tenantry::subject::Subject;

use crate::support::{Connection, Project, ask};

/// Names that are words, numbers or keywords of the configuration language.
const NAMES: &[&str] =
    &["include", "true", "1k", "_x", "A-1", "accounts", "TENANT_A", "nil", "users", "10", "permissions", "off"];
/// Tokens that would mean something if they were not quoted.
const TOKENS: &[&str] = &["a", "b", "#x", "a=b", "{x}", "x;y", "é", "$y", "[1]", "a,b", "10", "true", "(", "//"];

fn subjects(name: &'static str) -> impl Strategy<Value = Vec<String>> {
    let tail = prop_oneof![
        Just(">".to_owned()),
        Just("*".to_owned()),
        Just("*.>".to_owned()),
        token().prop_map(|t| format!("{t}.>")),
        token()
    ];
    proptest::collection::vec(tail.prop_map(move |t| format!("{name}.{t}")), 1..3)
}

fn token() -> impl Strategy<Value = String> {
    proptest::sample::select(TOKENS).prop_map(str::to_owned)
}

#[derive(Debug, Clone)]
struct AnyUser {
    role: &'static str,
    auth: &'static str,
    inbox: &'static str,
    generation: u32,
}

fn user() -> impl Strategy<Value = AnyUser> {
    (
        proptest::sample::select(vec!["admin", "app", "publisher", "subscriber", "monitor", "custom"]),
        proptest::sample::select(vec!["nkey", "password"]),
        proptest::sample::select(vec!["private", "default"]),
        1..5u32,
    )
        .prop_map(|(role, auth, inbox, generation)| AnyUser { role, auth, inbox, generation })
}

#[derive(Debug, Clone)]
struct AnyTenant {
    name: &'static str,
    subjects: Option<Vec<String>>,
    users: Vec<AnyUser>,
    limits: (u32, u32, u32),
    jetstream: Option<(u32, u32, u32, u32)>,
    stream: bool,
}

fn tenant(name: &'static str) -> impl Strategy<Value = AnyTenant> {
    (
        proptest::option::of(subjects(name)),
        proptest::collection::vec(user(), 1..4),
        (5..200u32, 10..5000u32, 100..1_000_000u32),
        proptest::option::of((0..8u32, 1..64u32, 1..20u32, 1..20u32)),
        any::<bool>(),
    )
        .prop_map(move |(subjects, users, limits, jetstream, stream)| {
            let stream = stream && jetstream.is_some();
            AnyTenant { name, subjects, users, limits, jetstream, stream }
        })
}

fn any_registry() -> impl Strategy<Value = String> {
    proptest::sample::subsequence(NAMES, 1..5)
        .prop_flat_map(|names| {
            let tenants = names.iter().map(|name| tenant(name).boxed()).collect::<Vec<_>>();
            let shares = proptest::collection::vec((0..names.len(), 0..names.len(), any::<bool>(), token()), 0..4);
            (tenants, shares)
        })
        .prop_map(|(tenants, shares)| text(&tenants, &shares))
}

fn text(tenants: &[AnyTenant], shares: &[(usize, usize, bool, String)]) -> String {
    let mut t = String::from(
        "version = 1\n[server]\nname = \"dev\"\nclient = \"127.0.0.1:4222\"\n[server.jetstream]\nmemory = \"64MiB\"\nstorage = \"1GiB\"\n\
         [role.custom]\npublish = [\"{inbox}\", \"$JS.API.INFO\"]\nsubscribe = [\"{subject}\"]\n",
    );
    for tenant in tenants {
        let (connections, subscriptions, payload) = tenant.limits;
        let _ = writeln!(t, "[[tenant]]\nname = {:?}", tenant.name);
        if let Some(subjects) = &tenant.subjects {
            let _ = writeln!(t, "subjects = {}", json!(subjects));
        }
        let _ = writeln!(
            t,
            "[tenant.limits]\nconnections = {connections}\nsubscriptions = {subscriptions}\npayload = \"{payload}B\""
        );
        if let Some((memory, storage, streams, consumers)) = tenant.jetstream {
            let _ = writeln!(
                t,
                "[tenant.jetstream]\nmemory = \"{memory}MiB\"\nstorage = \"{storage}MiB\"\nstreams = {streams}\nconsumers = {consumers}"
            );
        }
        for (i, user) in tenant.users.iter().enumerate() {
            let AnyUser { role, auth, inbox, generation } = user;
            let name = format!("{}_u{i}", tenant.name);
            let _ = writeln!(
                t,
                "[[tenant.user]]\nname = {name:?}\nrole = {role:?}\nauth = {auth:?}\ninbox = {inbox:?}\ngeneration = {generation}"
            );
        }
        if tenant.stream {
            let _ = writeln!(t, "[[tenant.bucket]]\nname = \"b\"");
        }
    }
    for (from, to, is_stream, token) in shares {
        let (from, to) = (tenants[*from].name, tenants[*to].name);
        let kind = if *is_stream { "stream" } else { "service" };
        let _ =
            writeln!(t, "[[share]]\nfrom = {from:?}\nto = [{to:?}]\n{kind} = {}", json!(format!("{from}.{token}.x")));
    }
    t
}

/// What the model says: may this user use this subject?
fn allows(grant: &Grant, subject: &Subject) -> bool {
    match grant {
        Grant::Nothing => false,
        Grant::Everything => true,
        Grant::Only(allowed) => allowed.subjects().iter().any(|s| s.contains(subject)),
    }
}

/// Subjects worth asking about: everybody's, and the server's own.
fn questions(model: &Model) -> Vec<Subject> {
    let mut texts: BTreeSet<String> =
        ["$JS.API.INFO", "$JS.API.STREAM.NAMES", "$SYS.REQ.USER.INFO", "_INBOX.x.y", "$KV.b.k", "other"]
            .map(str::to_owned)
            .into();
    for tenant in &model.tenants {
        let shared = tenant.exports.iter().map(|e| e.subject.to_string());
        let own = tenant.subjects.iter().map(ToString::to_string);
        texts.extend(own.chain(shared).map(|s| s.replace('*', "q").replace('>', "r.s")));
        texts.insert(format!("{}.q", tenant.name));
        texts.extend(tenant.users.iter().map(|u| format!("{}.x", u.inbox_prefix())));
    }
    texts.iter().map(|t| Subject::parse(t).expect("a subject")).collect()
}

async fn check_user(project: &Project, tenant: &Tenant, user: &User, questions: &[Subject]) {
    let who = format!("{}/{}", tenant.name, user.name);
    let client = project.connect(&who).await;
    for subject in questions {
        client.publish(subject.to_string(), "".into()).await.expect("publish");
        let subscription = client.subscribe(subject.to_string()).await.expect("subscribe");
        drop(subscription);
    }
    client.settled().await;
    let errors = client.errors();
    let refused = |what: &str, subject: &Subject| {
        errors.iter().any(|e| e.contains(&format!("Permissions Violation for {what} \"{subject}\"")))
    };
    for subject in questions {
        let (publish, subscribe) =
            (allows(&user.permissions.publish, subject), allows(&user.permissions.subscribe, subject));
        assert_eq!(!refused("Publish to", subject), publish, "{who} publishing to {subject}: {errors:?}");
        assert_eq!(!refused("Subscription to", subject), subscribe, "{who} subscribing to {subject}: {errors:?}");
    }
}

async fn check_tenant(project: &Project, system: &Connection, tenant: &Tenant, questions: &[Subject]) {
    let answer = ask(system, &format!("$SYS.REQ.ACCOUNT.{}.INFO", tenant.name), json!({})).await.expect("account info");
    let info = &answer["data"];
    let of = |list: &str, kind: ShareKind| -> BTreeSet<String> {
        let pick = |e: &Json| e["subject"].as_str().map(str::to_owned);
        let is_kind = |e: &&Json| e["type"] == kind.as_str();
        info[list]
            .as_array()
            .into_iter()
            .flatten()
            .filter(is_kind)
            .filter_map(pick)
            .filter(|s| !s.starts_with("$SYS."))
            .collect()
    };
    for kind in [ShareKind::Stream, ShareKind::Service] {
        let exports: BTreeSet<String> =
            tenant.exports.iter().filter(|e| e.kind == kind).map(|e| e.subject.to_string()).collect();
        let imports: BTreeSet<String> =
            tenant.imports.iter().filter(|i| i.kind == kind).map(|i| i.subject.to_string()).collect();
        let js = |s: &String| !s.starts_with("$JS.");
        assert_eq!(of("exports", kind), exports, "exports of {}: {info}", tenant.name);
        assert_eq!(
            of("imports", kind).into_iter().filter(js).collect::<BTreeSet<_>>(),
            imports,
            "imports of {}: {info}",
            tenant.name
        );
    }
    assert_eq!(info["jetstream_enabled"], tenant.jetstream.is_some());
    for user in &tenant.users {
        check_user(project, tenant, user, questions).await;
    }
    let Some(jetstream) = tenant.jetstream else { return };
    let asker = tenant.users.iter().find(|u| matches!(u.role.as_str(), "admin" | "app" | "subscriber" | "monitor"));
    let Some(asker) = asker else { return };
    let client = project.connect(&format!("{}/{}", tenant.name, asker.name)).await;
    let limits = ask(&client, "$JS.API.INFO", json!(null)).await.expect("limits")["limits"].clone();
    assert_eq!(limits["max_memory"], jetstream.memory.bytes());
    assert_eq!(limits["max_storage"], jetstream.storage.bytes());
    assert_eq!(limits["max_streams"], jetstream.streams);
    assert_eq!(limits["max_consumers"], jetstream.consumers);
    assert_eq!(limits["max_ack_pending"], jetstream.max_ack_pending);
}

/// A registry that nats-server must start with, and do what it says. False if the
/// registry is not valid: shares with oneself, twice the same, outside the subjects.
fn means_what_it_says(text: &str) -> bool {
    let project = Project::with_registry(text);
    let loaded = registry::load(&project.path().join("tenants.toml")).expect("the file can be read");
    let Some(model) = loaded.model else { return false };
    project.up();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let system = project.connect("SYS/sys_admin").await;
        let questions = questions(&model);
        for tenant in &model.tenants {
            check_tenant(&project, &system, tenant, &questions).await;
        }
        assert!(model.tenants.iter().flat_map(|t| &t.users).all(|u| !matches!(u.credential, Credential::PublicKey(_))));
    });
    project.run(&["render", "--check"]).succeeded();
    true
}

/// Where drawn registries that failed once are kept, as tests of their own.
fn drawn() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/drawn")
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        max_global_rejects: 4000,
        failure_persistence: None,
        // Milliseconds. Each step boots a server.
        max_shrink_time: 60_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn an_accepted_registry_boots_and_means_what_it_says(text in any_registry()) {
        match std::panic::catch_unwind(|| means_what_it_says(&text)) {
            Ok(true) => {}
            Ok(false) => return Err(TestCaseError::reject("not a valid registry")),
            Err(panic) => {
                // Overwritten by each smaller case: the smallest stays.
                std::fs::write(drawn().join("failed.toml"), &text).expect("write");
                std::panic::resume_unwind(panic);
            }
        }
    }
}

#[test]
fn drawn_registries_that_failed_once_mean_what_they_say() {
    let mut tried = 0;
    for entry in std::fs::read_dir(drawn()).expect("drawn registries") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("a registry");
        let refused = text.lines().next().and_then(|l| l.strip_prefix("# refused: "));
        match refused {
            None => assert!(means_what_it_says(&text), "{} is not valid", path.display()),
            Some(code) => {
                let project = Project::with_registry(&text);
                let said = project.run(&["check"]).exited(2).stderr;
                assert!(said.contains(&format!("error[{code}]")), "{}: {said}", path.display());
            }
        }
        tried += 1;
    }
    assert!(tried >= 2, "{tried}");
}
