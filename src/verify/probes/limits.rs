//! The limits of a tenant's account: JetStream, payload, subscriptions, connections.

use serde_json::json;

use super::{AT_ONCE, Probe};
use crate::model::JetStream;
use crate::verify::expected::may_publish;
use crate::verify::run::{Run, TenantRun, each, is_full};
use crate::verify::wire::Connection;

pub const PROBE: Probe = Probe {
    id: "limits",
    proves: "each tenant is held to its own limits",
    mend: "the server's limits differ from the registry's: `tenantry up` renders and reloads them",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

/// Why something is not tried.
pub const BESIDE_USERS: &str = "what takes a connection beside those of its users: its limit allows no more";

/// Limits above these are tested with `--exhaustive` only.
const CHEAP_SUBSCRIPTIONS: u32 = 5_000;
/// Bytes.
const CHEAP_PAYLOAD: u64 = 8 << 20;
const CHEAP_CONNECTIONS: u32 = 200;

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    each(tenant_runs, AT_ONCE, async |tenant_run| {
        let (mut held, mut untried) = (Vec::new(), Vec::new());
        jetstream(run, tenant_run, &mut held).await;
        payload(run, tenant_run, &mut held, &mut untried).await;
        subscriptions(run, tenant_run, &mut held, &mut untried).await;
        connections(run, tenant_run, &mut held, &mut untried).await;
        if !held.is_empty() {
            run.ledger.pass(tenant_run.index, held.join("; "));
        }
        if !untried.is_empty() {
            run.ledger.needs_exhaustive(tenant_run.index, &untried.join(", "));
        }
    })
    .await;
}

/// The JetStream limits that the server reports are the declared ones, and a stream that
/// exceeds them is rejected.
async fn jetstream<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>, held: &mut Vec<String>) {
    let (index, storage) = (tenant_run.index, tenant_run.storage());
    let declared = tenant_run.tenant.jetstream;
    let can_ask = |m: &&mut crate::verify::run::Session<'_>| {
        m.connection.is_some() && m.can_ask && may_publish(m.user, "$JS.API.INFO")
    };
    let Some(session) = tenant_run.sessions.iter_mut().find(can_ask) else { return };
    let info = session.api(run, "INFO", json!({})).await;
    let Some(JetStream { memory, storage: disk, streams, consumers, max_ack_pending }) = declared else {
        if info["limits"].is_object() {
            run.ledger.leak(Some(index), None, format!("it has JetStream, which nothing declares: {}", info["limits"]));
        }
        return;
    };
    let limits = &info["limits"];
    if !limits.is_object() {
        run.ledger.not_run(index, format!("JetStream does not tell its limits: {}", info["error"]));
        return;
    }
    let expected = [
        ("max_memory", memory.bytes()),
        ("max_storage", disk.bytes()),
        ("max_streams", streams.into()),
        ("max_consumers", consumers.into()),
        ("max_ack_pending", max_ack_pending.into()),
    ];
    for (key, wanted) in expected {
        // The server reports -1 for "no limit", which `as_u64` maps to `None`. For numbers of things, 0 means "no limit" as
        // well, and no declared limit is 0; of memory and disk, 0 is none.
        let given = limits[key].as_u64();
        let evidence = || format!("its {key} is {}, and {wanted} is declared", limits[key]);
        let is_size = matches!(key, "max_memory" | "max_storage");
        match given {
            // Less than it was promised takes nothing from others.
            Some(given) if (given > 0 || is_size) && given < wanted => run.ledger.not_tried(index, evidence()),
            given if given != Some(wanted) => run.ledger.leak(Some(index), None, evidence()),
            _ => {}
        }
    }
    held.push(format!(
        "JetStream is held to {} streams, {} bytes on disk, {} in memory",
        streams,
        disk.bytes(),
        memory.bytes()
    ));
    let Some(manager) = tenant_run.manager() else { return };
    let too_much = if storage == "memory" { memory.bytes() } else { disk.bytes() };
    let name = format!("{}_BIG", run.common());
    let config = json!({ "name": name, "storage": storage, "max_bytes": too_much + 1, "subjects": [format!("{name}.x")],
                "metadata": { "canary": run.signs(index) } });
    let made = manager.api(run, &format!("STREAM.CREATE.{name}"), config).await;
    match made["error"]["description"].as_str() {
        None if made.is_null() => run.ledger.not_run(index, "JetStream did not answer"),
        Some(words) => held.push(format!("one byte more for a stream: {words}")),
        None => {
            manager.api(run, &format!("STREAM.DELETE.{name}"), json!({})).await;
            run.ledger.leak(Some(index), None, format!("a stream of {} bytes was made", too_much + 1));
        }
    }
}

/// Opens an additional connection of one of the tenant's users.
async fn open_connection<'p>(run: &Run<'p>, tenant_run: &TenantRun<'p>) -> Option<Connection> {
    let session = tenant_run.spare()?;
    match session.another(run).await {
        Ok(connection) => Some(connection),
        Err(why) if is_full(&why) => {
            run.ledger.not_tried(tenant_run.index, BESIDE_USERS);
            None
        }
        Err(why) => {
            run.ledger.not_run(
                tenant_run.index,
                format!(
                    "no second connection for {}: {why}; its limits are tried with one connection more than it has users",
                    session.user.name
                ),
            );
            None
        }
    }
}

/// A payload that is one byte too large is rejected.
async fn payload<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>, held: &mut Vec<String>, untried: &mut Vec<String>) {
    let limit = tenant_run.tenant.limits.payload.bytes();
    if limit > CHEAP_PAYLOAD && !run.exhaustive {
        untried.push(format!("a message of more than {limit} bytes"));
        return;
    }
    let Some(mut connection) = open_connection(run, tenant_run).await else { return };
    let Some(subject) = tenant_run.spare().map(|m| m.reply_to("large")) else { return };
    let body = vec![b'x'; usize::try_from(limit).unwrap_or(usize::MAX) + 1];
    connection.publish(&subject, None, &body);
    match connection.settle().await {
        Err(lost) if lost.0.to_lowercase().contains("payload") => held.push(format!("{} bytes: {lost}", limit + 1)),
        Err(lost) => run.ledger.not_run(tenant_run.index, format!("a message of {} bytes: {lost}", limit + 1)),
        Ok(()) => run.ledger.leak(
            Some(tenant_run.index),
            None,
            format!("a message of {} bytes was taken; {limit} is declared", limit + 1),
        ),
    }
}

/// One subscription too many on one connection is rejected.
async fn subscriptions<'p>(
    run: &Run<'p>,
    tenant_run: &mut TenantRun<'p>,
    held: &mut Vec<String>,
    untried: &mut Vec<String>,
) {
    let limit = tenant_run.tenant.max_subscriptions();
    if limit > CHEAP_SUBSCRIPTIONS && !run.exhaustive {
        untried.push(format!("more than {limit} subscriptions"));
        return;
    }
    let Some(mut connection) = open_connection(run, tenant_run).await else { return };
    let Some(subject) = tenant_run.spare().map(|m| m.reply_to("many")) else { return };
    (0..=limit).for_each(|_| connection.subscribe(&subject, None));
    let settled = connection.settle().await;
    let words = connection.refused.iter().find(|w| w.to_lowercase().contains("subscriptions exceeded"));
    match (words, settled) {
        (Some(words), _) => held.push(format!("{} subscriptions: {words}", limit + 1)),
        (None, Ok(())) => {
            run.ledger.leak(
                Some(tenant_run.index),
                None,
                format!("{} subscriptions were taken; {limit} are declared", limit + 1),
            );
        }
        (None, Err(lost)) => run.ledger.not_run(tenant_run.index, format!("{} subscriptions: {lost}", limit + 1)),
    }
}

/// One connection too many is rejected.
async fn connections<'p>(
    run: &Run<'p>,
    tenant_run: &mut TenantRun<'p>,
    held: &mut Vec<String>,
    untried: &mut Vec<String>,
) {
    let limit = tenant_run.tenant.max_connections();
    if !(run.exhaustive || run.throwaway && limit <= CHEAP_CONNECTIONS && run.model.tenants.len() <= 4) {
        untried.push(format!("more than {limit} connections"));
        return;
    }
    let Some(session) = tenant_run.spare() else { return };
    let mut open = Vec::new();
    for _ in 0..=limit {
        match session.another(run).await {
            Ok(connection) => open.push(connection),
            Err(why) if is_full(&why) => {
                held.push(format!("connection {}: {why}", open.len() + 1));
                return;
            }
            Err(why) => {
                run.ledger.not_run(tenant_run.index, format!("connection {}: {why}", open.len() + 1));
                return;
            }
        }
    }
    run.ledger.leak(
        Some(tenant_run.index),
        None,
        format!("{} connections were let in; {limit} are declared", open.len()),
    );
}
