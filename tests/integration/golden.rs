//! The committed bundle is what the committed registry renders to, both ways,
//! and rendering depends on nothing but its input.

use std::path::Path;

use crate::support::Project;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_committed_bundle_is_up_to_date() {
    let project = Project::new();
    let registry = repository().join("tenants.toml").display().to_string();
    let infra = repository().join("infra").display().to_string();
    let ran = project.run(&["render", "--check", "-f", &registry, "--out", &infra]);
    assert_eq!(ran.code, 0, "run `cargo run -- render` and commit infra/\n{}", ran.stdout);
    // The control: a registry with one more user does not match.
    let text = std::fs::read_to_string(&registry).expect("the registry");
    project.write("tenants.toml", &text.replace("tenant_b_worker", "tenant_b_other"));
    project.run(&["render", "--check", "--out", &infra]).exited(1);
}

/// Another folder, another user, another time zone, another locale, fewer cores: the same bytes.
#[test]
fn rendering_is_deterministic() {
    let read = |project: &Project| {
        let mut all = String::new();
        for file in project.read("infra/.tenantry-manifest").lines().filter(|l| !l.starts_with('#')) {
            let path = file.splitn(3, ' ').nth(2).expect("a path");
            all += &format!("{path}\n{}\n", project.read(&format!("infra/{path}")));
        }
        all
    };
    let registry = crate::support::DEFAULT_REGISTRY;
    let mut first = Project::with_registry(registry);
    let mut second = Project::with_registry(registry);
    for (project, threads, zone) in [(&mut first, "1", "UTC"), (&mut second, "2", "Pacific/Auckland")] {
        project.write("tenants.toml", registry);
        project.set_env("RAYON_NUM_THREADS", threads);
        project.set_env("TZ", zone);
        project.set_env("LC_ALL", if threads == "1" { "C" } else { "de_DE.UTF-8" });
        project.run(&["render"]).succeeded();
    }
    assert_eq!(read(&first), read(&second));
}

/// Every template can be ejected, and ejected templates render the same.
#[test]
fn ejected_templates_render_the_same() {
    let project = Project::new();
    project.run(&["render"]).succeeded();
    project.run(&["templates", "eject", "mine"]).succeeded();
    project.run(&["render", "--check", "--templates", "mine"]).succeeded();
    // And a change in one shows.
    let text = project.read("mine/docker-compose.yml.hbs");
    project.write("mine/docker-compose.yml.hbs", &text.replace("unless-stopped", "always"));
    let ran = project.run(&["render", "--check", "--templates", "mine"]).exited(1);
    assert!(ran.stdout.contains("+    restart: always"), "{}", ran.stdout);
    assert!(ran.stderr.contains("tenantry render --templates mine"), "{}", ran.stderr);
    // A name that the context does not have is an error, not an empty text.
    project.write("mine/docker-compose.yml.hbs", &text.replace("{{image}}", "{{imgae}}"));
    let ran = project.run(&["render", "--templates", "mine"]).exited(2);
    assert!(ran.stderr.contains("imgae"), "{}", ran.stderr);
    project.write("mine/docker-compse.yml.hbs", "");
    let ran = project.run(&["render", "--templates", "mine"]).exited(2);
    assert!(ran.stderr.contains("did you mean docker-compose.yml.hbs?"), "{}", ran.stderr);
    assert!(project.run(&["templates", "eject", "mine"]).exited(2).stderr.contains("is there already"));
}

/// The page of all keys is made from the code that reads them.
#[test]
fn the_reference_of_keys_is_up_to_date() {
    let project = Project::new();
    let page = project.run(&["schema", "--markdown"]).succeeded().stdout;
    let committed = std::fs::read_to_string(repository().join("docs/registry.md")).expect("docs/registry.md");
    assert!(page == committed, "run `cargo run -- schema --markdown > docs/registry.md`");
    assert!(page.contains("| `max_ack_pending` |") && page.contains("## `[[tenant.stream.consumer]]`"));
    let page = project.run(&["audit", "--rules"]).succeeded().stdout;
    let committed = std::fs::read_to_string(repository().join("docs/rules.md")).expect("docs/rules.md");
    assert!(page == committed, "run `cargo run -- audit --rules > docs/rules.md`");
    let page = project.run(&["verify", "--probes"]).succeeded().stdout;
    let committed = std::fs::read_to_string(repository().join("docs/probes.md")).expect("docs/probes.md");
    assert!(page == committed, "run `cargo run -- verify --probes > docs/probes.md`");
}

/// What README and docs/proving.md count is what the generated pages list.
#[test]
fn the_numbers_of_rules_probes_and_mutants_are_those_of_their_pages() {
    let read = |file: &str| std::fs::read_to_string(repository().join(file)).expect(file);
    let (rules, probes) = (read("docs/rules.md"), read("docs/probes.md"));
    let rules = rules.lines().take_while(|l| !l.starts_with("## While")).filter(|l| l.starts_with("## ")).count();
    let rows = |text: &str| text.lines().filter(|l| l.starts_with("| ") && !l.contains(" | what is broken | ")).count();
    let (probes, mutants) = probes.split_once("## Mutants").expect("two tables");
    let counted = [
        ("README.md", format!("[{rules} rules](docs/rules.md)")),
        ("README.md", format!(" {} probes against", rows(probes) - 1)),
        ("README.md", format!("up to {} deliberate misconfigurations", rows(mutants))),
        ("docs/proving.md", format!("[{rules} rules](rules.md)")),
        ("docs/proving.md", format!("[{} probes](probes.md)", rows(probes) - 1)),
    ];
    for (file, text) in counted {
        assert!(read(file).contains(&text), "{file} does not say: {text}");
    }
}
