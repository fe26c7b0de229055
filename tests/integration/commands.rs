//! The face of the command: every `--help`, every exit code, every JSON shape.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::support::{DEFAULT_REGISTRY, Project};

/// Every command with its subcommands, as clap knows them.
const COMMANDS: &[&[&str]] = &[
    &[],
    &["init"],
    &["check"],
    &["audit"],
    &["explain"],
    &["verify"],
    &["render"],
    &["creds"],
    &["handout"],
    &["plan"],
    &["apply"],
    &["up"],
    &["down"],
    &["status"],
    &["deploy"],
    &["tenant"],
    &["tenant", "add"],
    &["tenant", "remove"],
    &["tenant", "suspend"],
    &["tenant", "resume"],
    &["tenant", "list"],
    &["tenant", "show"],
    &["user"],
    &["user", "add"],
    &["user", "rotate"],
    &["user", "revoke"],
    &["user", "list"],
    &["templates"],
    &["templates", "eject"],
    &["templates", "list"],
    &["schema"],
    &["completions"],
    &["man"],
];

#[test]
fn every_help() {
    let project = Project::new();
    for command in COMMANDS {
        let arguments: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
        let ran = project.run(&arguments).succeeded();
        insta::assert_snapshot!(format!("help {}", command.join(" ")).trim().replace(' ', "_"), ran.stdout);
        // No command is missing from the list above.
        let listed = ran.stdout.lines().skip_while(|l| *l != "Commands:").skip(1).take_while(|l| !l.is_empty());
        for name in listed.filter_map(|l| l.split_whitespace().next()).filter(|n| *n != "help") {
            let full: Vec<&str> = command.iter().copied().chain([name]).collect();
            assert!(COMMANDS.contains(&full.as_slice()), "{full:?} has no snapshot");
        }
    }
}

/// What a document looks like: every value replaced by its type.
fn shape(value: &Json) -> Json {
    match value {
        Json::Object(map) => map.iter().map(|(k, v)| (k.clone(), shape(v))).collect(),
        Json::Array(items) => items.first().map_or_else(|| json!([]), |first| json!([shape(first)])),
        Json::String(_) => json!("text"),
        Json::Number(_) => json!("number"),
        Json::Bool(_) => json!("boolean"),
        Json::Null => json!(null),
    }
}

#[test]
fn every_json_shape_and_exit_code() {
    let project = Project::new();
    let broken = Project::with_registry(&DEFAULT_REGISTRY.replace("role = \"admin\"", "role = \"root\""));
    let cases: &[(&Project, &[&str], i32)] = &[
        (&project, &["check"], 0),
        (&broken, &["check"], 2),
        (&project, &["render", "--check"], 1),
        (&project, &["render"], 0),
        (&project, &["render", "--check"], 0),
        (&broken, &["render"], 2),
        (&project, &["creds", "TENANT_A/tenant_a_app"], 0),
        (&project, &["creds", "TENANT_A/tenant_a_admin"], 0),
        (&project, &["creds", "TENANT_X"], 2),
        (&project, &["status"], 3),
        (&project, &["up"], 0),
        (&project, &["status"], 0),
        (&project, &["down"], 0),
        (&project, &["up", "--nats-server", "/nowhere"], 3),
        (&project, &["tenant", "list"], 0),
        (&project, &["tenant", "show", "TENANT_A"], 0),
        (&project, &["tenant", "add", "TENANT_C"], 0),
        (&project, &["tenant", "remove", "TENANT_C"], 0),
        (&project, &["tenant", "remove", "TENANT_C"], 2),
        (&project, &["user", "list"], 0),
        (&project, &["user", "add", "TENANT_A/x"], 0),
        (&project, &["user", "rotate", "TENANT_A/x"], 0),
        (&project, &["user", "revoke", "TENANT_A/x"], 0),
        (&project, &["templates", "list"], 0),
        (&project, &["templates", "eject", "t"], 0),
        (&project, &["init", "fresh"], 0),
        (&project, &["init", "fresh"], 2),
    ];
    let mut seen = String::new();
    for (project, arguments, code) in cases {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--format", "json"]).collect();
        let ran = project.run(&arguments).exited(*code);
        let shape = serde_json::to_string(&shape(&ran.json())).expect("JSON");
        seen += &format!("tenantry {} -> {code}\n{shape}\n\n", arguments.join(" "));
    }
    insta::assert_snapshot!("json_shapes", seen);
}

/// `check` promises these keys to other programs.
#[test]
fn check_prints_findings_with_places() {
    let project = Project::with_registry(&DEFAULT_REGISTRY.replace("role = \"admin\"", "role = \"amdin\""));
    let report = project.run(&["check", "--format", "json"]).exited(2).json();
    assert_eq!(report["verdict"], "invalid");
    let finding = &report["findings"][0];
    assert_eq!(finding["rule"], "unknown-role");
    assert_eq!(finding["severity"], "error");
    assert_eq!(finding["file"], "tenants.toml");
    assert_eq!(finding["hint"], "did you mean `admin`?");
    let line = finding["line"].as_u64().expect("a line");
    let text = project.read("tenants.toml");
    let written = text.lines().nth(usize::try_from(line).expect("small") - 1).expect("the line");
    assert!(written.starts_with("role = \"amdin\""), "{written}");
    assert_eq!(finding["column"], 8);
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_is_right() {
    let project = Project::new();
    for (arguments, expected) in [
        (&["rendre"] as &[&str], "'render'"),
        (&["render", "--chekc"], "'--check'"),
        (&[], "Usage: tenantry"),
        (&["creds"], "<TENANT[/USER]>"),
        (&["creds", "TENANT_A", "--as", "yaml"], "env, dotenv, context, nk, creds, json, k8s, docker, sops, vault, op"),
        (&["creds", "TENANT_A/tenant_a_app", "--as", "nk"], "has no seed here"),
        (&["creds", "TENANT_A/tenant_a_app", "--as", "creds"], "static mode does not have"),
        (&["creds", "TENANT_a"], "did you mean `TENANT_A`?"),
        (&["creds", "TENANT_A", "--as", "docker"], "has 3 users"),
        (&["handout", "SYS"], "is the system account"),
        (&["handout", "TENANT_A/provisioner"], "its credential is the operator's"),
        (&["handout", "TENANT_A", "--out", "a.tar"], "--out TENANT_A.zip"),
        (&["handout", "TENANT_A", "--out", "tenants.toml.md", "--url", "there"], "[server] urls = { there ="),
        (&["creds", "TENANT_A/tenant_a_app", "--url", "docker"], "[server] urls = { docker ="),
        (&["creds", "TENANT_A/tenant_a_app", "--url", "http://h:1"], "begins neither with nats://"),
        (&["check", "--format", "xml"], "human, json"),
        (&["completions", "tcsh"], "bash"),
        (&["-f", "nowhere.toml", "check"], "there is no registry at nowhere.toml"),
        (&["up", "--docker", "--foreground"], "cannot be used with"),
    ] {
        let ran = project.run(arguments).exited(2);
        assert!(ran.stderr.contains(expected), "{arguments:?}: {}", ran.stderr);
    }
}

/// A script that asks for JSON gets JSON, also for a command line that is wrong.
#[test]
fn usage_errors_and_rules_are_json_too() {
    let project = Project::with_registry(DEFAULT_REGISTRY);
    for arguments in [&["creds", "--format", "json"] as &[&str], &["nonsense", "--format=json"]] {
        let said = project.run(arguments).exited(2).json();
        assert_eq!(said["verdict"], "invalid", "{said}");
        assert!(said["hint"].as_str().is_some_and(|hint| hint.starts_with("usage: tenantry")), "{said}");
    }
    assert_eq!(project.run(&["nonsense"]).exited(2).stdout, "", "the control: people read standard error");
    let rules = project.run(&["audit", "--rules", "--format", "json"]).succeeded().json();
    let known = project.run(&["audit", "--rules"]).succeeded().stdout;
    for rule in rules["rules"].as_array().expect("rules") {
        assert!(known.contains(&format!("## {}\n", rule["rule"].as_str().expect("a name"))), "{rule}");
    }
}

/// Whoever reads a log of no results must see whether anything was judged.
#[test]
fn a_command_that_fails_is_no_clean_review() {
    let project = Project::with_registry(DEFAULT_REGISTRY);
    let log = |arguments: &[&str], exit: i32| -> Json {
        let ran = project.run(arguments).exited(exit);
        serde_json::from_str(&ran.stdout).expect("a SARIF log")
    };
    let judged = |log: &Json| log["runs"][0]["invocations"][0]["executionSuccessful"].clone();
    assert_eq!(judged(&log(&["audit", "nowhere.conf", "--format", "sarif"], 2)), json!(false));
    assert_eq!(judged(&log(&["check", "--format", "sarif"], 0)), json!(true), "the control");
    let ran = project.run(&["audit", "nowhere.conf", "--format", "github"]).exited(2);
    assert!(ran.stdout.starts_with("::error title=tenantry::cannot read nowhere.conf"), "{}", ran.stdout);
}

/// What people see on the main way: a snapshot of each screen.
#[test]
fn screens() {
    let project = Project::with_registry(DEFAULT_REGISTRY);
    project.write("tenants.toml", DEFAULT_REGISTRY);
    let mut seen = String::new();
    for arguments in [
        &["check"] as &[&str],
        &["render"],
        &["render"],
        &["tenant", "suspend"],
        &["tenant", "resume"],
        &["tenant", "list"],
        &["tenant", "show", "TENANT_B"],
        &["user", "list"],
        &["creds", "TENANT_A/tenant_a_app"],
        &["creds", "TENANT_A/tenant_a_admin", "--as", "nk"],
        &["creds", "TENANT_A"],
        &["down"],
        &["status"],
    ] {
        seen += &project.run(arguments).all();
        seen += "\n";
    }
    insta::assert_snapshot!("screens", seen);
}

#[test]
fn completions_manual_and_schema_are_printed() {
    let project = Project::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(project.run(&["completions", shell]).succeeded().stdout.contains("tenantry"));
    }
    assert!(project.run(&["man"]).succeeded().stdout.contains(".TH tenantry 1"));
    project.run(&["man", "pages"]).succeeded();
    assert!(project.read("pages/tenantry-tenant-add.1").contains("tenantry"));
    let schema = project.run(&["schema"]).succeeded().json();
    assert_eq!(schema["title"], "tenants.toml");
    for key in ["version", "include", "server", "auth", "keys", "system", "role", "tenant", "share"] {
        assert!(schema["properties"][key]["description"].is_string(), "{key} is not described");
    }
    let tenant = &schema["properties"]["tenant"]["items"];
    assert_eq!(tenant["required"], json!(["name"]));
    assert_eq!(tenant["additionalProperties"], false);
    let included = project.run(&["schema", "--included"]).succeeded().json();
    assert_eq!(included["properties"].as_object().expect("keys").len(), 1);
}

/// A closed pipe is not an error: `tenantry user list | head -1`.
#[test]
fn a_closed_pipe_is_no_panic() {
    let project = Project::new();
    let mut child = project
        .command(&["schema"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("spawn");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
}

/// Without its result a command has not succeeded: a full disk under `tenantry check > report`.
/// The control is the same with a standard output that takes it.
#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_written_is_exit_4() {
    let project = Project::new();
    for arguments in [&["check"][..], &["check", "--format", "json"], &["schema"], &["--help"]] {
        for (sink, code) in [("/dev/full", 4), ("/dev/null", 0)] {
            let sink = std::fs::File::options().write(true).open(sink).expect("a device");
            let output = project.command(arguments).stdout(sink).output().expect("it runs");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
            assert_eq!(stderr.contains("cannot write standard output"), code == 4, "{stderr}");
        }
    }
}

/// Each form has what the JSON has, by which the other tests log in; and the URL of the place that is asked for.
#[test]
fn credentials_are_the_same_in_every_form() {
    let project = Project::new();
    project.edit("[server]\n", "[server]\nurls = { docker = \"nats://nats:4222\" }\n");
    for user in ["TENANT_A/tenant_a_app", "TENANT_A/tenant_a_admin"] {
        let printed = |form: &str| {
            let ran = project.run(&["creds", user, "--as", form, "--url", "docker"]);
            ran.succeeded().stdout
        };
        let json = &serde_json::from_str::<Json>(&printed("json")).expect("JSON")[0];
        let text = |key: &str| json[key].as_str().map(str::to_owned);
        let known = [
            ("NATS_URL", Some("nats://nats:4222".to_owned())),
            ("NATS_USER", text("login")),
            ("NATS_PASSWORD", text("password")),
            ("NATS_NKEY_SEED", text("nkey_seed")),
            ("NATS_INBOX_PREFIX", text("inbox_prefix")),
        ];
        let known: BTreeMap<String, String> =
            known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        let lines = |text: &str, between: &str| -> BTreeMap<String, String> {
            let pairs = text.lines().filter_map(|line| line.trim().split_once(between));
            pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect()
        };
        assert_eq!(lines(&printed("docker"), "="), known);
        assert_eq!(lines(&printed("dotenv"), "="), known);
        assert_eq!(lines(&printed("sops"), ": "), known);
        let k8s = printed("k8s");
        assert_eq!(lines(k8s.split_once("stringData:\n").expect("a Secret").1, ": "), known);
        let vault: BTreeMap<String, String> = serde_json::from_str(&printed("vault")).expect("JSON");
        assert_eq!(vault, known);
        let op: Json = serde_json::from_str(&printed("op")).expect("JSON");
        let fields = op["fields"].as_array().expect("fields").iter();
        let field = |f: &Json| Some((f["label"].as_str()?.to_owned(), f["value"].as_str()?.to_owned()));
        assert_eq!(fields.filter_map(field).collect::<BTreeMap<_, _>>(), known);
        assert!(printed("env").contains("NATS_URL=nats://nats:4222\n"));
        let context: Json = serde_json::from_str(&printed("context")).expect("JSON");
        let nkey = context["nkey"].as_str().expect("a path");
        assert!(nkey.is_empty() || std::path::Path::new(nkey).is_absolute(), "{nkey}");
    }
}

/// A handout has what is one tenant's, and is never written over another one.
#[test]
fn a_handout_is_one_tenants() {
    let project = Project::new();
    project.edit("name     = \"TENANT_A\"", "name     = \"TENANT_A\"\ncontact  = \"#team-a\"");
    let written = project.run(&["handout", "TENANT_A", "--out", "a.zip", "--format", "json"]).succeeded().json();
    let files: Vec<&str> = written["files"].as_array().expect("files").iter().filter_map(Json::as_str).collect();
    assert_eq!(
        files,
        [
            "README.md",
            "README.html",
            "credentials/tenant_a_app.env",
            "credentials/tenant_a_admin.env",
            "credentials/tenant_a_admin.nk",
            "credentials/tenant_a_auditor.env",
            "credentials/tenant_a_auditor.nk",
        ]
    );
    let mode = std::fs::metadata(project.path().join("a.zip")).expect("written").permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
    let before = std::fs::read(project.path().join("a.zip")).expect("written");
    let again = project.run(&["handout", "TENANT_A/tenant_a_app", "--out", "a.zip"]).exited(2);
    assert!(again.stderr.contains("a.zip is there already"), "{}", again.stderr);
    assert_eq!(std::fs::read(project.path().join("a.zip")).expect("there"), before);
    let page = project.run(&["handout", "TENANT_A"]).succeeded().stdout;
    assert!(page.contains("Help: #team-a.") && page.contains("`TENANT_A.events.>`"), "{page}");
    let seed = project.creds("TENANT_A/tenant_a_admin").seed.expect("an nkey");
    let password = project.creds("TENANT_A/tenant_a_app").password.expect("a password");
    for foreign in ["TENANT_B", "tenant_b", "sys_admin", "provisioner", &seed, &password] {
        assert!(!page.contains(foreign), "{foreign}: {page}");
    }
    // The control: the archive has them.
    let env = project.run(&["creds", "TENANT_A/tenant_a_app"]).succeeded().stdout;
    assert!(env.contains(&password));
    project.run(&["handout", "TENANT_A", "--out", "a.html"]).succeeded();
    let html = project.read("a.html");
    assert!(html.contains("<table>") && html.contains("<title>TENANT_A on NATS</title>"), "{html}");
}
