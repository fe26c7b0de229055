//! The live proof of three servers with one configuration, and of three of which one has another.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::differential::Server;
use crate::support::{Project, ask, free_port, nats_server};

const NODES: usize = 3;

/// The rendered configuration on three nodes of a cluster. `of_last` changes the accounts of the last.
struct Cluster {
    project: Project,
    ports: Vec<u16>,
    confs: Vec<String>,
    _servers: Vec<Server>,
}

impl Cluster {
    fn start(of_last: impl Fn(String) -> String) -> Self {
        let project = Project::new();
        project.run(&["render", "-q"]).succeeded();
        let (main, accounts) = (project.read("infra/nats/nats-server.conf"), project.read("infra/nats/accounts.conf"));
        let line = |key: &str| {
            let found = main.lines().find(|line| line.trim_start().starts_with(key));
            found.unwrap_or_else(|| panic!("{key} in {main}")).to_owned()
        };
        let ports: Vec<u16> = (0..NODES).map(|_| free_port()).collect();
        let routes: Vec<u16> = (0..NODES).map(|_| free_port()).collect();
        let urls: Vec<String> = routes.iter().map(|port| format!("\"nats://r:r@127.0.0.1:{port}\"")).collect();
        let (mut confs, mut servers) = (Vec::new(), Vec::new());
        for node in 0..NODES {
            let folder = format!("node{node}");
            let data = project.path().join(&folder).join("data");
            let conf = main
                .replace(&line("listen"), &format!("listen: \"127.0.0.1:{}\"", ports[node]))
                .replace(&line("http"), "")
                .replace(&line("server_name"), &format!("server_name: \"n{node}\""))
                .replace(&line("store_dir"), &format!("store_dir: \"{}\"", data.display()));
            let cluster = format!(
                "\ncluster {{ name: c, listen: \"127.0.0.1:{}\", authorization {{ user: r, password: r }}, routes: [{}] }}\n",
                routes[node],
                urls.join(", ")
            );
            let of_node = if node + 1 == NODES { of_last(accounts.clone()) } else { accounts.clone() };
            project.write(&format!("{folder}/nats-server.conf"), &(conf + &cluster));
            project.write(&format!("{folder}/accounts.conf"), &of_node);
            let path = project.path().join(&folder).join("nats-server.conf");
            let log = std::fs::File::create(project.path().join(&folder).join("log")).expect("a log");
            let mut command = Command::new(nats_server());
            command.arg("-c").arg(&path).stdout(Stdio::null()).stderr(log);
            servers.push(Server(command.spawn().expect("nats-server starts")));
            confs.push(path.display().to_string());
        }
        Self { project, ports, confs, _servers: servers }
    }

    /// Waits until JetStream of a tenant answers at every node.
    async fn is_ready(&self) {
        const LONG: Duration = Duration::from_secs(60);
        let mut creds = self.project.creds("TENANT_A/tenant_a_admin");
        let start = Instant::now();
        for port in &self.ports {
            creds.url = format!("nats://127.0.0.1:{port}");
            loop {
                if let Ok(admin) = creds.connect().await
                    && let Some(info) = ask(&admin, "$JS.API.INFO", json!({})).await
                    && info["error"].is_null()
                {
                    break;
                }
                assert!(start.elapsed() < LONG, "JetStream of the cluster is not ready");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// The verdict of a proof of one node, with every node's file, and the leaks.
    fn verdict(&self, node: usize) -> (String, Vec<String>) {
        let url = format!("127.0.0.1:{}", self.ports[node]);
        let mut arguments = vec!["verify", "--server", &url, "--format", "json"];
        self.confs.iter().for_each(|conf| arguments.extend(["--conf", conf]));
        let report = self.project.run(&arguments).json();
        let checks = report["checks"].as_array().expect("checks").iter();
        let failed =
            checks.filter(|check| ["leak", "not-run"].contains(&check["outcome"].as_str().unwrap_or_default()));
        let failed =
            failed.map(|check| format!("{} {} {}", check["probe"], check["outcome"], check["evidence"])).collect();
        (report["verdict"].as_str().expect("a verdict").to_owned(), failed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_with_one_configuration_are_not_leaky() {
    let cluster = Cluster::start(|accounts| accounts);
    cluster.is_ready().await;
    let (verdict, failed) = tokio::task::block_in_place(|| cluster.verdict(0));
    // The route port is not attacked, and on a busy machine a leader may be late; nothing leaks.
    assert_eq!(verdict, "inconclusive", "{failed:#?}");
    assert!(failed.iter().any(|check| check.contains("is not tried in this version")), "{failed:#?}");
    assert!(!failed.iter().any(|check| check.contains("\"leak\"")), "{failed:#?}");
}

/// The control.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_wider_permissions_is_found() {
    let wider = |accounts: String| {
        let (before, tenant) = accounts.split_at(accounts.find("\"TENANT_A\"").expect("the tenant"));
        let granted = "subscribe {\n            allow: [\"TENANT_B.>\", ";
        before.to_owned() + &tenant.replacen("subscribe {\n            allow: [", granted, 1)
    };
    let cluster = Cluster::start(wider);
    let (own, others) = (cluster.project.read("node2/accounts.conf"), cluster.project.read("node0/accounts.conf"));
    assert_ne!(own, others, "the last node is wider");
    cluster.is_ready().await;
    let (verdict, failed) = tokio::task::block_in_place(|| cluster.verdict(NODES - 1));
    assert_eq!(verdict, "leaky", "{failed:#?}");
}
