//! Writing the bundle: all or nothing, whatever happens, and never anything
//! that is not ours.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Stdio;

use crate::support::Project;

/// Every file below a folder, with its content.
fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).expect("inside").display().to_string();
                files.insert(name, fs::read(&path).expect("read"));
            }
        }
    }
    files
}

/// Fails with the names of the files that differ.
#[track_caller]
fn assert_same(found: &BTreeMap<String, Vec<u8>>, expected: &BTreeMap<String, Vec<u8>>, context: &str) {
    let names: std::collections::BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let different: Vec<_> = names.into_iter().filter(|n| found.get(*n) != expected.get(*n)).take(9).collect();
    assert!(different.is_empty(), "{context}: these differ: {different:?}");
}

/// A registry with many tenants, so that writing takes a while.
fn many(tenants: usize, generation: u32) -> String {
    let mut text = "version = 1\n".to_owned();
    for i in 0..tenants {
        let _ = write!(
            text,
            "[[tenant]]\nname = \"T{i:04}\"\n[[tenant.user]]\nname = \"app\"\ngeneration = {generation}\n"
        );
    }
    text
}

#[test]
fn rendering_twice_changes_nothing_and_secrets_are_private() {
    let project = Project::new();
    let first = project.run(&["render"]).succeeded();
    assert!(first.stdout.contains("31 written, 0 unchanged, 0 removed"), "{}", first.stdout);
    let infra = project.path().join("infra");
    let inode = fs::metadata(&infra).expect("infra").ino();
    let before = tree(&infra);
    let second = project.run(&["render"]).succeeded();
    assert!(second.stdout.contains("nothing to do, 31 files are up to date"), "{}", second.stdout);
    assert_eq!(fs::metadata(&infra).expect("infra").ino(), inode, "nothing was replaced");
    assert_same(&tree(&infra), &before, "");
    for path in before.keys().filter(|p| p.starts_with("credentials/")) {
        let mode = fs::metadata(infra.join(path)).expect(path).permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{path}");
    }
    assert_eq!(fs::metadata(infra.join("credentials")).expect("credentials").permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_changed_or_exposed_file_is_put_right() {
    let project = Project::new();
    project.run(&["render"]).succeeded();
    let before = tree(&project.path().join("infra"));
    let env = "infra/credentials/TENANT_A/tenant_a_app.env";
    project.write(env, "NATS_PASSWORD=mine\n");
    project.write("infra/nats/accounts.conf", "accounts {}\n");
    let seed = project.path().join("infra/credentials/TENANT_A/tenant_a_admin.nk");
    fs::set_permissions(&seed, fs::Permissions::from_mode(0o644)).expect("expose it");
    fs::remove_file(project.path().join("infra/docker-compose.yml")).expect("remove it");
    let ran = project.run(&["render", "--check"]).exited(1);
    assert!(ran.stdout.contains("infra is out of date: 3 files differ"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("NATS_PASSWORD"), "a secret is shown: {}", ran.stdout);
    let ran = project.run(&["render"]).succeeded();
    assert!(ran.stdout.contains("4 written, 27 unchanged"), "{}", ran.stdout);
    // What somebody wrote is named; what was only exposed or removed is not.
    let edited = ran.stderr.lines().find(|l| l.contains("changed by hand")).expect("it is said");
    assert!(edited.contains("credentials/TENANT_A/tenant_a_app.env, nats/accounts.conf;"), "{edited}");
    assert_same(&tree(&project.path().join("infra")), &before, "");
    assert_eq!(fs::metadata(&seed).expect("the seed").permissions().mode() & 0o777, 0o600);
    project.run(&["render", "--check"]).succeeded();
}

#[test]
fn what_mends_a_bundle_that_lost_its_manifest_is_said_and_mends_it() {
    let project = Project::new();
    project.run(&["render"]).succeeded();
    fs::remove_file(project.path().join("infra/.tenantry-manifest")).expect("the manifest");
    let ran = project.run(&["render", "--check"]).exited(1);
    assert!(ran.stderr.contains("next: mv infra infra.old && tenantry render\n"), "{}", ran.stderr);
    project.run(&["render"]).exited(2);
    fs::rename(project.path().join("infra"), project.path().join("infra.old")).expect("moved");
    project.run(&["render"]).succeeded();
    project.run(&["render", "--check"]).succeeded();
}

/// Same length, same time stamp: only the content tells.
#[test]
fn a_disguised_change_is_noticed() {
    let project = Project::new();
    project.run(&["render"]).succeeded();
    let path = project.path().join("infra/credentials/TENANT_B/tenant_b_worker.nk");
    let (meta, text) = (fs::metadata(&path).expect("meta"), fs::read_to_string(&path).expect("text"));
    fs::write(&path, text.replacen("SU", "XX", 1)).expect("change it");
    fs::File::options()
        .write(true)
        .open(&path)
        .expect("open")
        .set_modified(meta.modified().expect("time"))
        .expect("set");
    assert!(project.run(&["render"]).succeeded().stdout.contains("1 written"));
    assert_eq!(fs::read_to_string(&path).expect("text"), text);
}

#[test]
fn what_is_not_ours_stays_as_it_is() {
    let project = Project::new();
    project.run(&["render"]).succeeded();
    project.write("infra/NOTES.md", "mine\n");
    project.write("infra/credentials/TENANT_B/extra.txt", "mine too\n");
    project.write("infra/deep/er/file", "and mine\n");
    fs::create_dir(project.path().join("infra/empty")).expect("create a folder");
    std::os::unix::fs::symlink("NOTES.md", project.path().join("infra/link")).expect("link");
    let inode = |name: &str| fs::symlink_metadata(project.path().join(name)).expect(name).ino();
    let before = inode("infra/NOTES.md");
    // TENANT_B goes; what somebody else put into its folder does not.
    project.run(&["tenant", "remove", "TENANT_B", "--with-shares"]).succeeded();
    let ran = project.run(&["render"]).succeeded();
    assert!(ran.stdout.contains("11 removed"), "{}", ran.stdout);
    assert_eq!(inode("infra/NOTES.md"), before, "it is the same file, not a copy");
    assert_eq!(project.read("infra/credentials/TENANT_B/extra.txt"), "mine too\n");
    assert_eq!(project.read("infra/deep/er/file"), "and mine\n");
    assert_eq!(fs::read_link(project.path().join("infra/link")).expect("link"), Path::new("NOTES.md"));
    assert!(project.path().join("infra/empty").is_dir());
    let left = tree(&project.path().join("infra/credentials/TENANT_B"));
    assert_eq!(left.keys().collect::<Vec<_>>(), ["extra.txt"]);
    // Without foreign files the folder goes too.
    project.run(&["tenant", "add", "TENANT_C"]).succeeded();
    project.run(&["render"]).succeeded();
    project.run(&["tenant", "remove", "TENANT_C"]).succeeded();
    project.run(&["render"]).succeeded();
    assert!(!project.path().join("infra/credentials/TENANT_C").exists());
}

#[test]
fn a_file_in_the_way_is_not_overwritten() {
    let project = Project::new();
    project.write("infra/notes.txt", "mine\n");
    let ran = project.run(&["render"]).exited(2);
    assert!(ran.stderr.contains("is not empty, and has no manifest of tenantry"), "{}", ran.stderr);
    assert_eq!(tree(&project.path().join("infra")).len(), 1, "nothing was written");
    // In a folder of tenantry's own, what others put where a file would be rendered stays.
    let other = Project::new();
    other.run(&["render"]).succeeded();
    other.write("infra/credentials/TENANT_C/app.nk", "mine\n");
    other.run(&["tenant", "add", "TENANT_C"]).succeeded();
    let before = tree(&other.path().join("infra"));
    let ran = other.run(&["render"]).exited(2);
    assert!(ran.stderr.contains("TENANT_C/app.nk exists and was not made by tenantry"), "{}", ran.stderr);
    assert_eq!(tree(&other.path().join("infra")), before, "nothing was written");
    fs::remove_dir_all(other.path().join("infra/credentials/TENANT_C")).expect("moved away");
    other.run(&["render"]).succeeded();
    for (out, said) in [(".", "is not empty"), ("..", "is not empty"), ("/", "is not a folder for a bundle")] {
        let ran = other.run(&["render", "--out", out]).exited(2);
        assert!(ran.stderr.contains(said), "{out}: {}", ran.stderr);
    }
    // A folder where a file would be, and a file where a folder would be.
    for (path, is_folder) in [("docker-compose.yml", true), ("credentials/TENANT_A", false)] {
        let (other, place) = (Project::new(), format!("infra/{path}"));
        other.run(&["render"]).succeeded();
        let found = other.path().join(&place);
        if is_folder {
            fs::remove_file(&found).expect("removed");
            other.write(&format!("{place}/mine"), "mine\n");
        } else {
            fs::remove_dir_all(&found).expect("removed");
            other.write(&place, "mine\n");
        }
        let ran = other.run(&["render"]).exited(2);
        assert!(ran.stderr.contains(&format!("{path} exists and was not made by tenantry")), "{}", ran.stderr);
        assert!(ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
        assert!(found.exists() && !other.path().join("infra/.tenantry-new").exists());
    }
    // A folder that is a file.
    other.write("file", "");
    assert!(other.run(&["render", "--out", "file"]).exited(2).stderr.contains("is not a folder"));
}

/// A folder in which `init` has made a registry and a root key of its own.
fn initialized() -> Project {
    let project = Project::with_registry("");
    fs::remove_file(project.path().join("tenants.toml")).expect("an empty folder");
    project.run(&["init"]).succeeded();
    let text = project.on_own_ports(&project.read("tenants.toml"));
    project.write("tenants.toml", &text);
    project
}

/// With another root key every credential would change, so that has to be meant.
#[test]
fn another_root_key_replaces_nothing_unasked() {
    let project = initialized();
    project.run(&["render"]).succeeded();
    project.run(&["render"]).succeeded();
    let before = tree(&project.path().join("infra"));
    fs::rename(project.path().join(".tenantry/root.key"), project.path().join("old.key")).expect("kept");
    fs::copy(initialized().path().join(".tenantry/root.key"), project.path().join(".tenantry/root.key"))
        .expect("another key");
    for command in ["render", "up"] {
        let ran = project.run(&[command]).exited(1);
        assert!(ran.stderr.contains("--new-root-key") && ran.stderr.contains("every credential"), "{}", ran.stderr);
        assert_eq!(tree(&project.path().join("infra")), before, "nothing was written");
    }
    project.run(&["render", "--new-root-key"]).succeeded();
    assert_ne!(tree(&project.path().join("infra")), before);
    project.run(&["render"]).succeeded();
}

/// What templates of one's own turned on, such as TLS, is not turned off by leaving them out.
#[test]
fn a_bundle_of_own_templates_is_not_rendered_without_them_unasked() {
    let project = initialized();
    project.run(&["templates", "eject", "mine"]).succeeded();
    // Unchanged, they are tenantry's.
    project.run(&["render", "--templates", "mine"]).succeeded();
    project.run(&["render"]).succeeded();
    let template = project.read("mine/nats/nats-server.conf.hbs");
    project.write("mine/nats/nats-server.conf.hbs", &format!("{template}\nping_interval: \"33s\"\n"));
    project.run(&["up", "--templates", "mine"]).succeeded();
    let before = tree(&project.path().join("infra"));
    for command in ["render", "up"] {
        let ran = project.run(&[command]).exited(1);
        assert!(
            ran.stderr.contains("nats/nats-server.conf.hbs") && ran.stderr.contains("--templates"),
            "{}",
            ran.stderr
        );
        assert_eq!(tree(&project.path().join("infra")), before, "nothing was written");
    }
    let plan = project.run(&["plan"]).exited(1);
    assert!(plan.stdout.contains("refuses") && plan.stderr.contains("--templates built-in"), "{}", plan.all());
    let plan = project.run(&["plan", "--templates", "mine"]).succeeded();
    assert!(plan.stdout.contains("as the server runs them"), "{}", plan.all());
    let plan = project.run(&["plan", "--templates", "built-in"]).exited(1);
    assert!(plan.stdout.contains("reloads it"), "{}", plan.all());
    project.run(&["up", "--templates", "built-in"]).succeeded();
    project.run(&["render"]).succeeded();
    assert!(!project.read("infra/nats/nats-server.conf").contains("33s"));
}

#[test]
fn with_a_private_key_credentials_are_ignored_by_git() {
    let project = initialized();
    project.run(&["render"]).succeeded();
    assert_eq!(project.read("infra/credentials/.gitignore"), "*\n");
    let root = project.read(".tenantry/root.key");
    let secret = root.lines().last().expect("the key");
    for (path, bytes) in tree(project.path()) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(path == ".tenantry/root.key" || !text.contains(secret), "{path} holds the root key");
        let is_secret = text.contains("SUA") || text.contains("NATS_PASSWORD=");
        assert!(!is_secret || path.starts_with("infra/credentials/"), "{path} holds a secret");
    }
}

/// What the files in a folder are, beside an old tree and a new one: how many are the old ones, and how many the new ones.
#[track_caller]
fn count_old_and_new(
    found: &BTreeMap<String, Vec<u8>>,
    old: &BTreeMap<String, Vec<u8>>,
    new: &BTreeMap<String, Vec<u8>>,
) -> (usize, usize) {
    let ours = found.iter().filter(|(path, _)| !path.starts_with(".tenantry-new/") && !path.ends_with(".conf.next"));
    let differ = ours.filter(|(path, _)| old.get(*path) != new.get(*path));
    let mut count = (0, 0);
    for (path, bytes) in differ {
        match path.as_str() {
            _ if old.get(path) == Some(bytes) => count.0 += 1,
            _ if new.get(path) == Some(bytes) => count.1 += 1,
            // The main file includes the new accounts while both are replaced.
            "nats/nats-server.conf" if String::from_utf8_lossy(bytes).contains(".accounts.conf.next") => count.1 += 1,
            _ => panic!("{path} is neither the old file nor the new one"),
        }
    }
    count
}

/// Whether the main file and the accounts that it includes are the new ones, as a server would read them.
fn reads_new(project: &Project, new: &BTreeMap<String, Vec<u8>>) -> [bool; 2] {
    let main = project.read("infra/nats/nats-server.conf");
    let included = main.lines().find_map(|line| line.strip_prefix("include \"")?.strip_suffix('"')).expect("included");
    let accounts = project.read(&format!("infra/nats/{included}"));
    [main.contains("server_name: \"second\""), accounts.as_bytes() == new["nats/accounts.conf"]]
}

/// Kills the command at each of its steps. After each, every file is the old one or the new one, what a server reads is
/// one of both configurations, and the next run does the rest and calls nothing changed by hand.
#[test]
fn a_kill_at_any_step_is_made_good() {
    let first = format!("{}\n[server]\nname = \"first\"\n", many(3, 1));
    let second = first.replace("generation = 1", "generation = 2").replace("first", "second");
    let project = Project::with_registry(&first);
    let on_its_ports = |text: &str| project.on_own_ports(text);
    project.run(&["render"]).succeeded();
    let infra = project.path().join("infra");
    let old = tree(&infra);
    project.write("tenants.toml", &on_its_ports(&second));
    project.run(&["render", "--out", "scratch"]).succeeded();
    let new = tree(&project.path().join("scratch"));
    let (mut olds, mut news, mut between) = (0, 0, 0);
    for step in 1.. {
        let output =
            project.command(&["render"]).env("TENANTRY_FAULT", format!("kill:{step}")).output().expect("it runs");
        if output.status.success() {
            break;
        }
        match count_old_and_new(&tree(&infra), &old, &new) {
            (_, 0) => olds += 1,
            (0, _) => news += 1,
            _ => between += 1,
        }
        let [main, accounts] = reads_new(&project, &new);
        assert_eq!(main, accounts, "step {step}: a mixture of two configurations");
        let ran = project.run(&["render"]).succeeded();
        assert!(!ran.stderr.contains("changed by hand"), "step {step}: {}", ran.stderr);
        assert_same(&tree(&infra), &new, &format!("step {step}, done again"));
        // From the old state each time.
        project.write("tenants.toml", &on_its_ports(&first));
        project.forget_names();
        project.run(&["render"]).succeeded();
        assert_same(&tree(&infra), &old, "and back");
        project.write("tenants.toml", &on_its_ports(&second));
        project.forget_names();
    }
    assert!(olds > 5 && between > 5 && news > 0, "the control: {olds} old, {between} between, {news} new");
}

/// What somebody changes between a kill and the next run is named, and put right.
#[test]
fn an_edit_after_a_kill_is_named() {
    let first = format!("{}\n[server]\nname = \"first\"\n", many(3, 1));
    let second = first.replace("generation = 1", "generation = 2").replace("first", "second");
    let project = Project::with_registry(&first);
    let paths = ["nats/accounts.conf", "credentials/T0001/app.nk", "docker-compose.yml"];
    let mut met = 0;
    for step in (1..).step_by(3) {
        project.write("tenants.toml", &project.on_own_ports(&first));
        let _ = fs::remove_dir_all(project.path().join("infra"));
        let _ = fs::remove_dir_all(project.path().join(".tenantry"));
        project.run(&["render"]).succeeded();
        project.write("tenants.toml", &project.on_own_ports(&second));
        let killed =
            project.command(&["render"]).env("TENANTRY_FAULT", format!("kill:{step}")).output().expect("it runs");
        if killed.status.success() {
            break;
        }
        for path in paths {
            let text = project.read(&format!("infra/{path}"));
            project.write(&format!("infra/{path}"), &format!("{text}# by hand\n"));
        }
        let ran = project.run(&["render", "--format", "json"]).exited(0).json();
        let edited: Vec<&str> = ran["edited"].as_array().expect("a list").iter().filter_map(|e| e.as_str()).collect();
        let mut expected = paths;
        expected.sort_unstable();
        assert_eq!(edited, expected, "step {step}");
        project.run(&["render", "--check"]).succeeded();
        met += 1;
    }
    assert!(met > 5, "the control: {met}");
}

/// A disk that is full at any step of staging leaves the old bundle; later, the next run does the rest.
#[test]
fn a_full_disk_leaves_the_old_bundle_or_is_made_good() {
    let project = Project::with_registry(&many(3, 1));
    project.run(&["render"]).succeeded();
    let infra = project.path().join("infra");
    let old = tree(&infra);
    project.write("tenants.toml", &project.on_own_ports(&many(3, 2)));
    project.run(&["render", "--out", "scratch"]).succeeded();
    let new = tree(&project.path().join("scratch"));
    let mut untouched = 0;
    for step in 1.. {
        let ran = project.command(&["render"]).env("TENANTRY_FAULT", format!("full:{step}")).output().expect("it runs");
        if ran.status.success() {
            break;
        }
        untouched += usize::from(tree(&infra) == old);
        project.run(&["render"]).succeeded();
        assert_same(&tree(&infra), &new, &format!("step {step}, done again"));
        project.write("tenants.toml", &project.on_own_ports(&many(3, 1)));
        project.forget_names();
        project.run(&["render"]).succeeded();
        project.write("tenants.toml", &project.on_own_ports(&many(3, 2)));
    }
    assert!(untouched > 5, "the control: {untouched}");
}

/// A shell in one of the bundle's folders stays in it, and a container sees a mounted folder by its inode.
#[test]
fn folders_stay_the_same_folders() {
    let project = Project::new();
    project.run(&["render"]).succeeded();
    let inodes = || {
        ["infra", "infra/nats", "infra/credentials", "infra/credentials/TENANT_B"]
            .map(|folder| fs::metadata(project.path().join(folder)).expect("there").ino())
    };
    let before = inodes();
    project.run(&["tenant", "add", "TENANT_C"]).succeeded();
    project.run(&["user", "rotate", "TENANT_B/tenant_b_worker"]).succeeded();
    let ran = project.run(&["render"]).succeeded();
    assert!(!ran.stdout.contains("0 written"), "{}", ran.stdout);
    assert_eq!(inodes(), before);
    let names: Vec<_> = fs::read_dir(project.path()).expect("readable").map(|e| e.expect("one").file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().contains(".tenantry-")), "{names:?}");
}

/// A folder of the bundle may be a link, or lie on another file system.
#[test]
fn a_folder_on_another_file_system_works() {
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else { return };
    let project = Project::new();
    let dev = |path: &Path| fs::metadata(path).expect("there").dev();
    assert_ne!(dev(elsewhere.path()), dev(project.path()), "the control: it is another one");
    project.run(&["render"]).succeeded();
    let nats = project.path().join("infra/nats");
    for entry in fs::read_dir(&nats).expect("readable") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, elsewhere.path().join(path.file_name().expect("a name"))).expect("copied");
    }
    fs::remove_dir_all(&nats).expect("removed");
    std::os::unix::fs::symlink(elsewhere.path(), &nats).expect("linked");
    project.run(&["tenant", "add", "TENANT_C"]).succeeded();
    project.run(&["render"]).succeeded();
    assert!(nats.is_symlink());
    assert!(fs::read_to_string(elsewhere.path().join("accounts.conf")).expect("there").contains("TENANT_C"));
    project.run(&["render", "--check"]).succeeded();
}

/// Several writers of different registries: the folder is always one of them, whole.
#[test]
fn two_writers_do_not_interleave() {
    let project = Project::with_registry(&many(150, 1));
    project.write("other.toml", &many(150, 2));
    project.run(&["render", "--out", "one"]).succeeded();
    project.run(&["render", "-f", "other.toml", "--out", "two"]).succeeded();
    let expected = [tree(&project.path().join("one")), tree(&project.path().join("two"))];
    let spawn = |file: &str| {
        let mut command = project.command(&["render", "-q", "-f", file, "--out", "infra"]);
        command.stderr(Stdio::piped()).spawn().expect("spawn")
    };
    let mut seen = 0;
    for _ in 0..4 {
        let children: Vec<_> = ["tenants.toml", "other.toml", "tenants.toml", "other.toml"].map(spawn).into();
        for child in children {
            let output = child.wait_with_output().expect("it ends");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let found = tree(&project.path().join("infra"));
        assert!(expected.contains(&found), "a mixture of two registries");
        seen += 1;
    }
    assert_eq!(seen, 4);
}

#[test]
fn adding_a_tenant_changes_no_byte_of_anothers_credentials() {
    let project = Project::new();
    project.run(&["render"]).succeeded();
    let before = tree(&project.path().join("infra/credentials"));
    project.run(&["tenant", "add", "AAA", "--storage", "1MiB", "--auth", "password", "--user", "aaa_app"]).succeeded();
    project.run(&["render"]).succeeded();
    let after = tree(&project.path().join("infra/credentials"));
    for (path, bytes) in &before {
        assert_eq!(after.get(path), Some(bytes), "{path}");
    }
    assert_eq!(after.len(), before.len() + 2 + 3);
}

/// What is remembered between runs only saves time.
#[test]
fn the_memory_is_never_needed_and_never_believed_blindly() {
    let project = Project::new();
    project.run(&["render"]).succeeded();
    let expected = tree(&project.path().join("infra"));
    let memory: Vec<_> = fs::read_dir(project.path().join(".tenantry"))
        .expect("the state folder")
        .map(|e| e.expect("an entry").path())
        .filter(|p| p.is_file() && p.file_name().is_some_and(|n| n != ".gitignore"))
        .collect();
    assert!(memory.len() >= 2, "{memory:?}");
    for path in &memory {
        fs::write(path, "nonsense").expect("spoil it");
    }
    project.run(&["render"]).succeeded();
    assert_same(&tree(&project.path().join("infra")), &expected, "");
    fs::remove_dir_all(project.path().join(".tenantry")).expect("remove it");
    project.run(&["render", "--check"]).succeeded();
    fs::remove_dir_all(project.path().join("infra")).expect("remove it");
    project.run(&["render"]).succeeded();
    assert_same(&tree(&project.path().join("infra")), &expected, "");
}

/// Not in the bundle, not beside it, not in any memory.
#[test]
fn a_removed_tenants_secrets_are_nowhere() {
    let project = Project::new();
    project.run(&["tenant", "add", "TENANT_C"]).succeeded();
    project.run(&["render"]).succeeded();
    project.run(&["user", "add", "TENANT_C/second"]).succeeded();
    project.run(&["render"]).succeeded();
    let seed = project.creds("TENANT_C/app").seed.expect("a seed");
    let holds =
        || tree(project.path()).into_iter().filter(|(_, b)| String::from_utf8_lossy(b).contains(&seed)).map(|(p, _)| p);
    assert!(holds().any(|p| p.starts_with("infra/")), "the control: it is found where it should be");
    project.run(&["tenant", "remove", "TENANT_C"]).succeeded();
    project.run(&["render"]).succeeded();
    assert_eq!(holds().collect::<Vec<_>>(), Vec::<String>::new());
}

/// Two registries in one folder would write over each other's bundle.
#[test]
fn a_second_registry_does_not_take_the_first_ones_folder() {
    let project = Project::new();
    project.run(&["render"]).succeeded();
    let before = tree(&project.path().join("infra"));
    project.write("other.toml", &project.read("tenants.toml").replace("TENANT_A", "OTHER"));
    for command in ["render", "up"] {
        let ran = project.run(&["-f", "other.toml", command]).exited(2);
        assert!(ran.stderr.contains("was rendered from") && ran.stderr.contains("--out infra-other"), "{}", ran.stderr);
    }
    assert_same(&tree(&project.path().join("infra")), &before, "refused");
    let ran = project.run(&["-f", "other.toml", "render", "--out", "infra-other"]).succeeded();
    assert!(ran.stderr.contains("next: tenantry -f other.toml up"), "{}", ran.stderr);
    // A registry that was renamed is the same one.
    fs::remove_file(project.path().join("tenants.toml")).expect("rename it");
    project.run(&["-f", "other.toml", "render"]).succeeded();
}
