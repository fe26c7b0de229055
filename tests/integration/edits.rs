//! Editing the registry by command: comments and order stay, an edit that
//! would break it changes nothing.

use crate::support::Project;

/// The lines of `after` that are not in `before`, in order; and nothing may be missing.
fn added(before: &str, after: &str) -> Vec<String> {
    let mut rest = before.lines().peekable();
    let mut new = Vec::new();
    for line in after.lines() {
        if rest.peek() == Some(&line) {
            rest.next();
        } else {
            new.push(line.to_owned());
        }
    }
    assert_eq!(rest.next(), None, "a line is gone");
    new
}

#[test]
fn adding_a_tenant_keeps_everything_else() {
    let project = Project::new();
    let before = project.read("tenants.toml");
    let ran = project
        .run(&[
            "tenant",
            "add",
            "TENANT_C",
            "--subject",
            "c.>",
            "--subject",
            "cc.>",
            "--storage",
            "64MiB",
            "--role",
            "admin",
        ])
        .succeeded();
    assert!(ran.stderr.contains("next: tenantry up, then tenantry creds TENANT_C/app"), "{}", ran.stderr);
    let new = added(&before, &project.read("tenants.toml"));
    let new: Vec<_> = new.iter().filter(|l| !l.is_empty()).map(String::as_str).collect();
    assert_eq!(
        new,
        [
            "[[tenant]]",
            "name = \"TENANT_C\"",
            "subjects = [\"c.>\", \"cc.>\"]",
            "[tenant.jetstream]",
            "storage = \"64MiB\"",
            "[[tenant.user]]",
            "name = \"app\"",
            "role = \"admin\"",
        ]
    );
    project.run(&["check"]).succeeded();
    project.run(&["tenant", "remove", "TENANT_C"]).succeeded();
    let left: Vec<_> = added(&before, &project.read("tenants.toml")).into_iter().filter(|l| !l.is_empty()).collect();
    assert_eq!(left, ["[[retired]]", "tenant = \"TENANT_C\""]);
}

#[test]
fn adding_and_rotating_a_user_touches_that_user_only() {
    let project = Project::new();
    let before = project.read("tenants.toml");
    project.run(&["user", "add", "TENANT_A/new", "--role", "subscriber"]).succeeded();
    let with = project.read("tenants.toml");
    let new: Vec<_> = added(&before, &with).into_iter().filter(|l| !l.is_empty()).collect();
    assert_eq!(new, ["[[tenant.user]]", "name = \"new\"", "role = \"subscriber\""]);
    for generation in [2, 3] {
        let ran = project.run(&["user", "rotate", "TENANT_A/tenant_a_admin"]).succeeded();
        assert!(ran.stdout.contains(&format!("generation {generation}")), "{}", ran.stdout);
    }
    assert_eq!(added(&with, &project.read("tenants.toml")), ["generation = 3"]);
    project.run(&["user", "revoke", "TENANT_A/new"]).succeeded();
    let left: Vec<_> = added(&before, &project.read("tenants.toml")).into_iter().filter(|l| !l.is_empty()).collect();
    assert_eq!(left, ["generation = 3", "[[retired]]", "tenant = \"TENANT_A\"", "user = \"new\""]);
    project.run(&["user", "add", "SYS/second"]).succeeded();
    let list = project.run(&["user", "list", "SYS", "--format", "json"]).succeeded().json();
    assert_eq!(list[1]["user"], "second");
}

#[test]
fn an_edit_that_would_break_the_registry_changes_nothing() {
    let project = Project::new();
    let before = project.read("tenants.toml");
    for (arguments, expected) in [
        (vec!["tenant", "add", "TENANT_A"], "tenant `TENANT_A` is there already"),
        (vec!["tenant", "add", "tenant_a"], "differs from `TENANT_A` in letter case only"),
        (vec!["tenant", "add", "../evil"], "is not a valid account name"),
        (vec!["tenant", "add", "C", "--subject", "TENANT_A.x"], "subjects of `C` and `TENANT_A` overlap"),
        (vec!["tenant", "add", "C", "--storage", "10TiB"], "adds up to"),
        (vec!["tenant", "add", "C", "--storage", "10"], "is not a valid size"),
        (vec!["tenant", "add", "C", "--role", "amdin"], "did you mean `admin`?"),
        (vec!["tenant", "add", "C", "--file", "tenants.d/c.toml"], "would not be part of the registry"),
        (vec!["tenant", "remove", "TENANT_X"], "there is no tenant `TENANT_X`"),
        (vec!["tenant", "remove", "TENANT_B"], "takes part in 2 shares"),
        (vec!["user", "add", "TENANT_A"], "does not name a user"),
        (vec!["user", "add", "TENANT_A/tenant_a_app"], "user `TENANT_A/tenant_a_app` is there already"),
        (
            vec!["user", "add", "TENANT_B/tenant_a_app", "--auth", "password"],
            "password user `tenant_a_app` exists in TENANT_A already",
        ),
        (vec!["user", "add", "TENANT_A/x", "--public-key", "SUAXXX"], "it looks like a seed"),
        (vec!["user", "rotate", "TENANT_A/nobody"], "`TENANT_A` has no user `nobody`"),
        (vec!["user", "rotate", "tenant_a_app"], "write TENANT/USER: TENANT_A/tenant_a_app"),
        (vec!["creds", "TENANT_A.tenant_a_app"], "did you mean `TENANT_A/tenant_a_app`?"),
        (vec!["user", "revoke", "SYS/sys_admin"], "is the only user of `SYS`"),
        (vec!["creds", "TENANT_A"], "name one: TENANT_A/tenant_a_app"),
    ] {
        let ran = project.run(&arguments).exited(2);
        assert!(ran.stderr.contains(expected), "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("not-provisioned-yet"), "what the edit did not cause: {}", ran.stderr);
        assert!(!ran.stderr.contains("SUAXXX"), "{}", ran.stderr);
        assert_eq!(project.read("tenants.toml"), before, "{arguments:?}");
    }
    assert!(!project.path().join("tenants.d").join("c.toml").exists());
}

#[test]
fn a_tenant_can_have_a_file_of_its_own() {
    let project = Project::new();
    project.edit("version = 1\n", "version = 1\ninclude = [\"tenants.d/*.toml\"]\n");
    let before = project.read("tenants.toml");
    project.run(&["tenant", "add", "TENANT_C", "--file", "tenants.d/c.toml"]).succeeded();
    assert_eq!(project.read("tenants.toml"), before);
    assert!(project.read("tenants.d/c.toml").contains("name = \"TENANT_C\""));
    project.run(&["user", "add", "TENANT_C/second"]).succeeded();
    project.run(&["user", "rotate", "TENANT_C/app"]).succeeded();
    assert!(project.read("tenants.d/c.toml").contains("generation = 2"));
    assert_eq!(project.read("tenants.toml"), before);
    project.run(&["tenant", "remove", "TENANT_C"]).succeeded();
    project.run(&["check"]).succeeded();
}

#[test]
fn removing_a_tenant_takes_its_shares_along_when_told() {
    let project = Project::new();
    let ran = project.run(&["tenant", "remove", "TENANT_B", "--with-shares"]).succeeded();
    assert!(ran.stderr.contains("gets its credentials and its streams"), "{}", ran.stderr);
    let text = project.read("tenants.toml");
    assert!(!text.contains("TENANT_B") || !text.contains("[[share]]"), "{text}");
    project.run(&["check"]).succeeded();
}

/// Ten at once: none loses another's.
#[test]
fn edits_at_once_do_not_lose_each_other() {
    let project = Project::new();
    let children: Vec<_> =
        (0..10).map(|i| project.command(&["tenant", "add", &format!("N{i}"), "-q"]).spawn().expect("spawn")).collect();
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
    let list = project.run(&["tenant", "list", "--format", "json"]).succeeded().json();
    assert_eq!(list.as_array().expect("tenants").len(), 12);
}

#[test]
fn init_overwrites_nothing() {
    let project = Project::new();
    assert!(project.run(&["init"]).exited(2).stderr.contains("tenants.toml is there already"));
    project.write("fresh/.gitignore", "*.log");
    project.run(&["init", "fresh"]).succeeded();
    let key = project.read("fresh/.tenantry/root.key");
    assert_eq!(
        project.read("fresh/.gitignore"),
        "*.log\n# tenantry: secrets and scratch\n/.tenantry/\n/infra/credentials/\n.*.tenantry/\n"
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(project.path().join("fresh/.tenantry/root.key")).expect("the key").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    // The registry is lost, the key is not: credentials stay the same.
    std::fs::remove_file(project.path().join("fresh/tenants.toml")).expect("remove it");
    project.run(&["init", "fresh"]).succeeded();
    assert_eq!(project.read("fresh/.tenantry/root.key"), key);
    project.run(&["check", "-f", "fresh/tenants.toml"]).succeeded();
}

/// Every way in which a root key can be wrong says so, and never says the key.
#[test]
fn root_keys_are_checked() {
    let mut project = Project::new();
    project.run(&["init", "fresh"]).succeeded();
    let key = project.read("fresh/.tenantry/root.key").lines().last().expect("the key").to_owned();
    project.edit("root = \"development\"", "root = \"env:MY_ROOT\"");
    assert!(project.run(&["check"]).exited(2).stderr.contains("the environment variable MY_ROOT is not set"));
    for (value, expected) in [
        ("", "it is empty"),
        ("hello", "it begins otherwise"),
        (&key[..40], "its length is wrong"),
        (&key[..41], "a character is missing or wrong"),
        (&key.replace(&key[30..31], if &key[30..31] == "a" { "b" } else { "a" }), "does not hold a root key"),
    ] {
        project.set_env("MY_ROOT", value);
        let ran = project.run(&["check"]).exited(2);
        assert!(ran.stderr.contains(expected), "{value}: {}", ran.stderr);
        assert!(value.len() < 20 || !ran.stderr.contains(&value[20..]), "the key is shown: {}", ran.stderr);
    }
    project.set_env("MY_ROOT", &key);
    project.run(&["check"]).succeeded();
    project.edit("env:MY_ROOT", "file:fresh/.tenantry/root.key");
    project.run(&["check"]).succeeded();
    let path = project.path().join("fresh/.tenantry/root.key");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("expose it");
    let ran = project.run(&["check"]).exited(2);
    assert!(
        ran.stderr.contains("can be read by others (mode 644)") && ran.stderr.contains("chmod 600"),
        "{}",
        ran.stderr
    );
    std::fs::remove_file(&path).expect("remove it");
    // It and a password that is not set are said at once.
    let before = project.read("tenants.toml");
    let last = before.rfind("[[tenant.user]]").expect("a user");
    let with = format!(
        "{}[[tenant.user]]\nname = \"p\"\nauth = \"password\"\npassword_env = \"P\"\n\n{}",
        &before[..last],
        &before[last..]
    );
    project.write("tenants.toml", &with);
    let ran = project.run(&["check"]).exited(2);
    assert!(ran.stderr.contains("there is no root key at") && ran.stderr.contains("P is not set"), "{}", ran.stderr);
    project.write("tenants.toml", &before);
    // A lost one can be replaced, on request and never over another.
    project.run(&["init", "--root-key"]).succeeded();
    project.run(&["check"]).succeeded();
    assert!(project.run(&["init", "--root-key"]).exited(2).stderr.contains("never overwritten"));
}

/// A supplied password gets in, and is in no file.
#[tokio::test]
async fn a_supplied_password_is_used_and_not_kept() {
    let mut project = Project::new();
    project.edit(
        "name = \"tenant_b_app\"\nauth = \"password\"",
        "name = \"tenant_b_app\"\nauth = \"password\"\npassword_env = \"B_PASSWORD\"",
    );
    // Whoever asks for another's credential needs no password.
    project.run(&["creds", "TENANT_A/tenant_a_app"]).succeeded();
    project.run(&["creds", "TENANT_B", "--as", "json"]).succeeded();
    for (value, expected) in [
        (None, "B_PASSWORD is not set"),
        (Some("short"), "fewer than 12 characters"),
        (
            Some("much too long for bcrypt, which does not look at anything after the seventy-second byte"),
            "longer than 72 bytes",
        ),
    ] {
        if let Some(value) = value {
            project.set_env("B_PASSWORD", value);
        }
        let ran = project.run(&["check"]).exited(2);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    }
    let password = "correct horse battery staple";
    project.set_env("B_PASSWORD", password);
    project.up();
    let mut creds = project.creds("TENANT_B/tenant_b_app");
    assert_eq!(creds.password, None);
    creds.password = Some(password.into());
    creds.connect().await.expect("the supplied password");
    assert!(project.read("infra/nats/accounts.conf").contains("$2a$11$"), "the slow hash");
    let grep =
        std::process::Command::new("grep").args(["-r", "correct horse", "."]).current_dir(project.path()).output();
    assert_eq!(String::from_utf8_lossy(&grep.expect("grep").stdout), "");
}

/// Credentials derive from names: a name that was given up must not bring a
/// leaked secret back.
#[tokio::test]
async fn a_name_that_was_given_up_does_not_bring_its_secret_back() {
    let project = Project::new();
    project.run(&["user", "add", "TENANT_A/extra"]).succeeded();
    project.run(&["user", "rotate", "TENANT_A/extra"]).succeeded();
    project.up();
    let leaked = project.creds("TENANT_A/extra");
    leaked.connect().await.expect("the control: it works as long as it is in the registry");
    project.run(&["user", "revoke", "TENANT_A/extra"]).succeeded();
    project.run(&["user", "add", "TENANT_A/extra"]).succeeded();
    assert!(project.read("tenants.toml").contains("generation = 3"), "{}", project.read("tenants.toml"));
    project.up();
    assert!(leaked.connect().await.is_err(), "the old secret works again");
    project.creds("TENANT_A/extra").connect().await.expect("the new one works");
    // Neither does a tenant.
    project.run(&["tenant", "remove", "TENANT_B", "--with-shares"]).succeeded();
    let ran = project.run(&["tenant", "add", "TENANT_B"]).exited(2);
    assert!(ran.stderr.contains("retired-name") && ran.stderr.contains("given up here"), "{}", ran.stderr);
}

#[test]
fn line_ends_of_windows_stay() {
    let project = Project::new();
    let text = project.read("tenants.toml").replace('\n', "\r\n");
    project.write("tenants.toml", &text);
    project.run(&["user", "add", "TENANT_A/extra"]).succeeded();
    let after = project.read("tenants.toml");
    assert_eq!(after.matches('\n').count(), after.matches("\r\n").count());
    assert_eq!(added(&text, &after).iter().filter(|l| !l.trim().is_empty()).count(), 2);
}

/// A tenant that vanishes with its file, and another team's tenant of that name: neither gets by without a word.
#[test]
fn a_name_is_not_lost_and_not_taken_over() {
    let project = Project::with_registry(
        "version = 1\ninclude = [\"tenants.d/*.toml\"]\n[server]\nname = \"x\"\nclient = \"127.0.0.1:4222\"\n[keys]\nroot = \"development\"\n\
         [[system.user]]\nname = \"op\"\n",
    );
    let tenant =
        |name: &str, user: &str| format!("[[tenant]]\nname = \"{name}\"\n[[tenant.user]]\nname = \"{user}\"\n");
    project.write("tenants.d/a.toml", &tenant("A", "app"));
    project.write("tenants.d/b.toml", &tenant("B", "app"));
    project.run(&["render"]).succeeded();
    let gone = project.path().join("tenants.d/b.toml");
    std::fs::remove_file(&gone).expect("removed");
    for command in [&["render"][..], &["render", "--check"], &["up"]] {
        let ran = project.run(command).exited(1);
        assert!(ran.stderr.contains("[[retired]]\ntenant = \"B\""), "{}", ran.stderr);
    }
    // Another team takes the name.
    project.write("tenants.d/c.toml", &tenant("B", "other"));
    let ran = project.run(&["render"]).exited(1);
    assert!(ran.stderr.contains("tenant `B` is now in tenants.d/c.toml"), "{}", ran.stderr);
    // The same tenant in another file is the same tenant.
    project.write("tenants.d/c.toml", &tenant("B", "app"));
    project.run(&["render"]).succeeded();
    // What it says to add is enough.
    std::fs::remove_file(project.path().join("tenants.d/c.toml")).expect("removed");
    let text = project.read("tenants.toml");
    project.write("tenants.toml", &(text + "[[retired]]\ntenant = \"B\"\n"));
    project.run(&["render"]).succeeded();
    project.run(&["render", "--check"]).succeeded();
    assert!(!project.read("infra/nats/accounts.conf").contains("\"B\""));
}
