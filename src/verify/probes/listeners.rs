//! Logins through the leaf node and MQTT listeners, with a tenant's own credentials.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Probe;
use crate::audit::system::ListenerKind;
use crate::keys::Login;
use crate::verify::endpoint::Endpoint;
use crate::verify::endpoint::OpenError;
use crate::verify::run::{Run, TenantRun, each};
use crate::verify::wire::{Connection, Identity};

pub const PROBE: Probe = Probe {
    id: "listeners",
    proves: "no tenant's user can connect as a leaf node or MQTT client to bypass its permissions",
    mend: "bind the listener's logins to accounts, and set `allowed_connection_types` for each user; `tenantry up` renders that",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

const PATIENCE: Duration = Duration::from_secs(5);
/// The default ports, for a server that cannot be asked for its listeners.
const USUAL: [(ListenerKind, u16); 2] = [(ListenerKind::Leaf, 7422), (ListenerKind::Mqtt, 1883)];

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    let known = run.topology.listeners();
    let is_known = known.is_some();
    let mut listeners = known.unwrap_or_default();
    if !is_known {
        let address = run.endpoint.address.as_str();
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        for (kind, port) in USUAL {
            let address = format!("{host}:{port}");
            if matches!(timeout(PATIENCE, TcpStream::connect(&address)).await, Ok(Ok(_))) {
                listeners.push((kind, address));
            }
        }
    }
    if !is_known {
        run.ledger
            .not_run_for_anybody(&format!("{}, so the server's other listeners are not known", run.lacks_operator()));
    }
    listeners.retain(|(kind, address)| {
        let is_spoken = matches!(kind, ListenerKind::Leaf | ListenerKind::Mqtt);
        if !is_spoken {
            let why =
                format!("{kind:?} at {address} is not tried in this version; `tenantry audit` reads its configuration");
            run.ledger.not_run_for_anybody(&why);
        }
        is_spoken
    });
    if listeners.is_empty() {
        let where_from = if is_known {
            "the server opens no other listener"
        } else {
            "nothing listens where other listeners usually are"
        };
        tenant_runs.iter().filter(|s| s.is_in()).for_each(|s| run.ledger.pass(s.index, where_from));
        return;
    }
    each(tenant_runs, 16, async |tenant_run| {
        for (kind, address) in &listeners {
            try_listener(run, tenant_run, *kind, address).await;
        }
    })
    .await;
}

/// Tries to log in every user through one listener, which must reject it.
async fn try_listener<'p>(run: &Run<'p>, tenant_run: &TenantRun<'p>, kind: ListenerKind, address: &str) {
    let (mut refused, mut sample) = (0, String::new());
    for (user, login) in tenant_run.sessions.iter().filter_map(|m| Some((&m.user.name, m.login.as_ref()?))) {
        let result = match (kind, login) {
            // INFO, CONNECT and its outcome are the same there as for a client.
            (ListenerKind::Leaf, _) => Connection::open(
                &Endpoint::plain(address),
                &Identity::User(login.clone()),
                "_INBOX.leaf",
                "tenantry verify",
            )
            .await
            .map(|_| ()),
            (ListenerKind::Mqtt, Login::Password(user, password)) => {
                log_in_by_mqtt(address, user, password.expose()).await
            }
            // MQTT has no nkeys, only user names and passwords.
            (ListenerKind::Mqtt, _) => continue,
            _ => Err(OpenError::Broken(format!("{kind:?} at {address} is not tried in this version"))),
        };
        match result {
            Ok(()) => {
                run.ledger.leak(
                    Some(tenant_run.index),
                    None,
                    format!("{user} came in through the {kind:?} listener at {address}"),
                );
            }
            Err(OpenError::Refused(words)) => (refused, sample) = (refused + 1, words),
            Err(OpenError::Broken(why)) => run.ledger.not_run(tenant_run.index, why),
        }
    }
    if refused > 0 {
        run.ledger.pass(tenant_run.index, format!("{kind:?}: {refused} users refused, as in: {sample}"));
    }
}

/// Sends an MQTT 3.1.1 CONNECT and reads the CONNACK.
async fn log_in_by_mqtt(address: &str, user: &str, password: &str) -> Result<(), OpenError> {
    let broken = |e: &dyn std::fmt::Display| OpenError::Broken(format!("MQTT at {address}: {e}"));
    let text = |t: &str| [&u16::try_from(t.len()).unwrap_or(0).to_be_bytes(), t.as_bytes()].concat();
    // Protocol name, level 4, flags (user name, password, clean session), keep-alive 0.
    let head = [text("MQTT"), vec![4, 0b1100_0010, 0, 0]].concat();
    let body = [head, text("tenantry-verify"), text(user), text(password)].concat();
    let length = u8::try_from(body.len()).ok().filter(|n| *n < 128);
    let length = length.ok_or_else(|| broken(&"the name and password are too long to try"))?;
    let mut stream = TcpStream::connect(address).await.map_err(|e| broken(&e))?;
    stream.write_all(&[&[0x10, length], body.as_slice()].concat()).await.map_err(|e| broken(&e))?;
    let mut answer = [0; 4];
    match timeout(PATIENCE, stream.read_exact(&mut answer)).await {
        Err(_) => Err(broken(&"no answer")),
        Ok(Err(_)) => Err(OpenError::Refused("the connection was closed".into())),
        Ok(Ok(_)) if answer[0] == 0x20 && answer[3] == 0 => Ok(()),
        Ok(Ok(_)) => Err(OpenError::Refused(format!("CONNACK {}", answer[3]))),
    }
}
