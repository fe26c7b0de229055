//! A change that is killed, or runs into a full disk, at each of its steps: nobody else notices, nothing is lost, and one
//! more `up` does the rest. `TENANTRY_FAULT` aims (src/fault.rs).

use std::os::unix::process::ExitStatusExt as _;

use async_nats::jetstream;

use crate::support::{Connection, Project};

/// The change: a secret is replaced, a user may do more, a tenant with a stream is new, a stream changes.
fn changed(registry: &str, name: &str) -> String {
    let edits = [
        ("name = \"tenant_b_worker\"", "name = \"tenant_b_worker\"\ngeneration = 2"),
        ("name = \"tenant_a_auditor\"\nrole = \"auditor\"", "name = \"tenant_a_auditor\"\nrole = \"subscriber\""),
        ("max_age   = \"30d\"", "max_age   = \"20d\""),
    ];
    let text = edits.iter().fold(registry.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    text + &"\n[[tenant]]\nname = \"NEW\"\n[tenant.jetstream]\nstorage = \"1MiB\"\n[[tenant.user]]\nname = \"app\"\n[[tenant.stream]]\n\
            name = \"S\"\nsubjects = [\"NEW.s\"]\n"
        .replace("NEW", name)
}

/// Whether a client that the change does not concern is connected and is answered by JetStream.
async fn is_unharmed(client: &Connection, messages: u64) -> bool {
    let stream = jetstream::new(client.client.clone()).get_stream("EVENTS").await;
    !client.was_lost() && stream.is_ok_and(|stream| stream.cached_info().state.messages == messages)
}

/// Makes the change with a fault at a step, and then without; and takes it back. Returns whether the fault was met.
async fn strike(project: &Project, kind: &str, step: usize, client: &Connection) -> bool {
    let registry = project.read("tenants.toml");
    let what = format!("{kind}:{step}");
    // A tenant that was removed comes back with a restart only.
    let name = format!("NEW{step}");
    project.write("tenants.toml", &changed(&registry, &name));
    let output = project.command(&["up"]).env("TENANTRY_FAULT", &what).output().expect("it runs");
    let is_met = match kind {
        "kill" => output.status.signal() == Some(9),
        _ => !output.status.success(),
    };
    assert!(is_met || output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(is_unharmed(client, 3).await, "{what}: {}", String::from_utf8_lossy(&output.stderr));
    // The files that the server would start with, and the bundle, are each a whole one.
    project.run(&["audit", "infra/nats/nats-server.conf"]).exited(0);
    project.run(&["audit", ".tenantry/run/nats-server.conf"]).exited(0);
    project.run(&["up"]).exited(0);
    project.run(&["plan"]).exited(0);
    project.run(&["render", "--check"]).exited(0);
    drop(project.connect(&format!("{name}/app")).await);
    assert!(is_unharmed(client, 3).await, "{what}, done again");
    // Without the tenant's reservation and data, as at first.
    project.write("tenants.toml", &registry);
    project.forget_names();
    project.run(&["up", "--delete-data", &name]).exited(0);
    assert!(is_unharmed(client, 3).await, "{what}, taken back");
    is_met
}

/// Strikes at step after step, until the change is done before the fault.
async fn strike_everywhere(kind: &str) {
    let project = Project::new();
    project.up();
    let client = project.connect("TENANT_A/tenant_a_admin").await;
    let js = jetstream::new(client.client.clone());
    for _ in 0..3 {
        js.publish("TENANT_A.events.x", "x".into()).await.expect("published").await.expect("stored");
    }
    let mut step = 1;
    while strike(&project, kind, step, &client).await {
        step += 1;
    }
    assert!(step > 15, "the control: only {} faults were met", step - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_step_is_made_good() {
    strike_everywhere("kill").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_at_any_step_is_made_good() {
    strike_everywhere("full").await;
}
