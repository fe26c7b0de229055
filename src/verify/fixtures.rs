//! What the unit tests of the live proof share: small systems, messages, and a scripted server.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::Plan;
use super::endpoint::Endpoint;
use super::report::{AttackedServer, Check, Outcome};
use super::run::Run;
use super::test_bed::Logins;
use super::wire::{Connection, Identity, Message};
use crate::model::Model;

/// Index of the tenant `ORDERS` in `SHARING`.
pub const ORDERS: usize = 0;
/// Index of the tenant `BILLING` in `SHARING`.
pub const BILLING: usize = 1;
/// Index of the tenant `AUDIT` in `SHARING`.
pub const AUDIT: usize = 2;
/// Index of the tenant `SHIPPING` in `SHARING`.
pub const SHIPPING: usize = 3;

/// `ORDERS` shares a stream with `BILLING`, which shares a service with `ORDERS`. `AUDIT`
/// copies a JetStream stream of `ORDERS`. `SHIPPING` shares nothing.
pub const SHARING: &str = r#"
[server.jetstream]
storage = "1GiB"

[[tenant]]
name = "ORDERS"
[tenant.jetstream]
storage = "64MiB"
[[tenant.user]]
name = "app"
[[tenant.user]]
name = "clerk"
role = "subscriber"
[[tenant.stream]]
name = "EVENTS"
subjects = ["ORDERS.stored.>"]
max_bytes = "1MiB"
[[tenant.stream]]
name = "SECRETS"
subjects = ["ORDERS.secrets.>"]
max_bytes = "1MiB"

[[tenant]]
name = "BILLING"
[[tenant.user]]
name = "app"

[[tenant]]
name = "AUDIT"
[tenant.jetstream]
storage = "64MiB"
[[tenant.user]]
name = "auditor"
[[tenant.stream]]
name = "COPY"
max_bytes = "1MiB"
mirror = { name = "EVENTS", from = "ORDERS" }

[[tenant]]
name = "SHIPPING"
subjects = ["SHIPPING.>", "parcel.sent"]
[[tenant.user]]
name = "shipper"

[[share]]
from = "ORDERS"
to = ["BILLING"]
stream = "ORDERS.events.>"
[[share]]
from = "BILLING"
to = ["ORDERS"]
service = "BILLING.quote.>"
[[share]]
from = "ORDERS"
to = ["AUDIT"]
jetstream = "EVENTS"
"#;

/// A registry of `count` tenants, `T0` and so on, each with the user `app`.
pub fn tenants(count: usize) -> String {
    (0..count).map(|i| format!("[[tenant]]\nname = \"T{i}\"\n[[tenant.user]]\nname = \"app\"\n")).collect()
}

/// A model, and logins of which no secret is known.
pub struct System {
    pub model: Model,
    logins: Logins,
}

impl System {
    /// Reads a registry without its version and its root key.
    pub fn load(registry: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("tenants.toml");
        std::fs::write(&path, format!("version = 1\n[keys]\nroot = \"development\"\n{registry}")).expect("a registry");
        let model = match crate::registry::load(&path).expect("a readable registry").into_valid() {
            Ok(valid) => valid.model,
            Err(e) => panic!("{e:?}"),
        };
        let tenants = model.tenants.iter().map(|t| t.users.iter().map(|_| None).collect()).collect();
        Self { model, logins: Logins { tenants, accepted: Vec::new(), revoked: Vec::new(), operator: None } }
    }

    /// A plan to attack a throwaway server, or a server in use.
    pub fn plan(&self, throwaway: bool) -> Plan<'_> {
        Plan {
            model: &self.model,
            logins: &self.logins,
            endpoint: Endpoint::plain("10.0.0.1:4222"),
            throwaway,
            listeners: Vec::new(),
            exhaustive: false,
            known: Vec::new(),
            only: None,
        }
    }
}

/// A message with this payload.
pub fn message(subject: &str, payload: impl AsRef<[u8]>) -> Message {
    Message { subject: subject.into(), reply: None, headers: Vec::new(), payload: payload.as_ref().into() }
}

/// A throwaway server, for reports.
pub fn server() -> AttackedServer {
    AttackedServer {
        url: "nats://127.0.0.1:4222".into(),
        version: "2.15.1".into(),
        id: "NID".into(),
        config_digest: None,
        runs_rendered: None,
        throwaway: true,
        warnings: Vec::new(),
    }
}

/// The checks of a run, in the report's order.
pub fn checks(run: Run<'_>) -> Vec<Check> {
    run.into_report(server(), Duration::ZERO).checks
}

/// The pairs of a run between which something leaked.
pub fn leaks(run: Run<'_>) -> Vec<(String, String)> {
    checks(run).into_iter().filter(|c| c.outcome == Outcome::Leak).map(|c| (c.from, c.to)).collect()
}

/// What the scripted server does after a line of its client.
pub enum Reply {
    /// Nothing; a PING is answered with a PONG.
    Default,
    /// Writes this and nothing else.
    Write(String),
    /// Writes the parts with a pause after each.
    WriteInParts(Vec<&'static str>),
    /// Writes this and closes the connection.
    Close(&'static str),
}

/// Serves one client on a local port, and returns the address. `script` is called with each
/// protocol line of the client, without the payloads of its messages.
pub async fn serve(info: &'static str, mut script: impl FnMut(&str) -> Reply + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.expect("a client");
        let (reader, mut writer) = socket.into_split();
        let mut reader = BufReader::new(reader);
        writer.write_all(info.as_bytes()).await.expect("a client that reads");
        let mut line = String::new();
        while reader.read_line(&mut line).await.is_ok_and(|n| n > 0) {
            if line.starts_with("PUB ") || line.starts_with("HPUB ") {
                let size: usize = line.split_ascii_whitespace().last().and_then(|n| n.parse().ok()).expect("a size");
                let mut payload = vec![0; size + 2];
                reader.read_exact(&mut payload).await.expect("a payload");
            }
            let parts = match script(line.trim_end()) {
                Reply::Default if line == "PING\r\n" => vec!["PONG\r\n".to_owned()],
                Reply::Default => Vec::new(),
                Reply::Write(text) => vec![text],
                Reply::WriteInParts(parts) => parts.into_iter().map(str::to_owned).collect(),
                Reply::Close(text) => {
                    writer.write_all(text.as_bytes()).await.expect("a client that reads");
                    return;
                }
            };
            let pauses = parts.len() > 1;
            for part in parts {
                writer.write_all(part.as_bytes()).await.expect("a client that reads");
                if pauses {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            line.clear();
        }
    });
    address
}

/// The INFO of the scripted server.
pub const INFO: &str = "INFO {\"version\":\"2.15.1\",\"nonce\":\"abc\"}\r\n";

/// A connection to a scripted server, with the inbox `_INBOX.t`.
pub async fn connect(script: impl FnMut(&str) -> Reply + Send + 'static) -> Connection {
    let address = serve(INFO, script).await;
    match Connection::open(&Endpoint::plain(address), &Identity::Anonymous, "_INBOX.t", "a test").await {
        Ok(connection) => connection,
        Err(e) => panic!("{e}"),
    }
}
