//! A stream that captures everything in its account. The server does not check user
//! permissions on a stream's subjects, so it captures what no user may subscribe to.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{AT_ONCE, Probe, canaries, canary_stream};
use crate::subject::Subject;
use crate::verify::expected::depths;
use crate::verify::run::{Run, TenantRun, each};
use crate::verify::wire::Request;

pub const PROBE: Probe = Probe {
    id: "capture",
    proves: "a stream that captures every subject of its account captures no undeclared message of another tenant",
    mend: "export only what is declared: `tenantry up` renders that",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

/// How long a stream may take to store what it captured.
const PATIENCE: Duration = Duration::from_secs(3);
/// Maximum number of messages that the stream keeps, all of which are read back.
const KEPT: u64 = 1024;
/// Number of other tenants whose subjects are captured where the stream cannot capture `>`.
const NAMED: usize = 64;

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    each(tenant_runs, AT_ONCE, async |tenant_run| make(run, tenant_run).await).await;
    each(tenant_runs, usize::MAX, async |tenant_run| canaries::publish_canaries(run, tenant_run).await).await;
    each(tenant_runs, AT_ONCE, async |tenant_run| read(run, tenant_run).await).await;
}

async fn make<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>) {
    let (index, storage, name) = (tenant_run.index, tenant_run.storage(), run.common());
    let neighbours = tenant_run.neighbours.clone();
    let Some(manager) = tenant_run.manager() else { return };
    // A flood of shared messages fills it, and it counts towards the tenant's own limit.
    let most = if run.throwaway { 1 << 20 } else { 64 << 10 };
    let config = |subjects: serde_json::Value| {
        json!({
            "name": name, "subjects": subjects, "storage": storage, "no_ack": true, "retention": "limits",
            "discard": "old", "max_msgs": KEPT, "max_bytes": most, "num_replicas": 1, "metadata": { "canary": run.signs(index) },
            // A run that is killed leaves little for long.
            "max_age": 60_000_000_000u64,
        })
    };
    let create = format!("STREAM.CREATE.{name}");
    let made = if run.throwaway {
        manager.api(run, &create, config(json!([">"]))).await
    } else {
        // Capturing `>` would overlap with the tenant's own streams, and take what its applications ask of
        // others: the stream lists what other tenants' canaries are published on.
        let others = neighbours.iter().copied().chain((0..run.model.tenants.len()).filter(|i| *i != index));
        let of_others = others.take(NAMED).flat_map(|o| run.topology.free_subjects(o));
        let said = of_others.flat_map(|subject| depths(subject, &run.token()));
        let is_free = |text: &String| {
            Subject::as_the_server_reads(text).is_some_and(|subject| run.is_captured(index, &subject) != Some(true))
        };
        let mut subjects: Vec<String> = said.filter(is_free).collect();
        subjects.sort_unstable();
        subjects.dedup();
        if subjects.is_empty() {
            return run
                .ledger
                .not_tried(index, "its own streams capture the subjects of others, as far as they are shared");
        }
        manager.api(run, &create, config(json!(subjects))).await
    };
    if made["error"].is_object() {
        canary_stream::refused(run, tenant_run, &made["error"]);
    }
}

async fn read<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>) {
    let (index, name) = (tenant_run.index, run.common());
    let last = canary_stream::subject(run, tenant_run, "last");
    let Some(manager) = tenant_run.manager() else { return };
    // A stream stores messages in order: once it holds this one, it holds everything it captured earlier.
    if let (Some(last), Some(connection), true) = (&last, &mut manager.connection, run.throwaway) {
        connection.publish_stored_by(&name, last, None, run.says(index, last).as_bytes());
    }
    // It captures requests, too. Asking in vain would fill it until it drops what it is to be asked for.
    let request = format!("$JS.API.STREAM.INFO.{name}");
    if run.throwaway && last.is_none() {
        manager.api(run, &format!("STREAM.INFO.{name}"), json!({})).await;
    }
    let last = last.unwrap_or(request);
    let start = Instant::now();
    let get_last = Request::json(format!("$JS.API.STREAM.MSG.GET.{name}"), &json!({ "last_by_subj": last }));
    while run.throwaway
        && start.elapsed() < PATIENCE
        && manager.ask_one(run, get_last.clone()).await.json()["message"].is_null()
    {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let info = manager.api(run, &format!("STREAM.INFO.{name}"), json!({})).await;
    if info["error"].is_object() {
        return;
    }
    let state = &info["state"];
    let (first, last) = (state["first_seq"].as_u64().unwrap_or(1), state["last_seq"].as_u64().unwrap_or(0));
    let mut own = 0;
    for sequence in first..=last {
        let message = manager.api(run, &format!("STREAM.MSG.GET.{name}"), json!({ "seq": sequence })).await;
        let bytes = message["message"]["data"].as_str().unwrap_or_default();
        let bytes = data_encoding::BASE64.decode(bytes.as_bytes()).unwrap_or_default();
        own += usize::from(run.is_from(index, &bytes));
    }
    manager.api(run, &format!("STREAM.DELETE.{name}"), json!({})).await;
    let subjects = info["config"]["subjects"].as_array().map_or(0, Vec::len);
    let everything = info["config"]["subjects"][0] == ">";
    match (everything, own) {
        (true, 0) => run.ledger.not_run(index, "the stream did not capture its own tenant's messages either"),
        (true, _) => {
            run.ledger.pass(index, format!("captured its own tenant's {own} messages, and nothing undeclared"));
        }
        (false, _) => {
            run.ledger.pass(index, format!("captured {subjects} subjects of others, and nothing undeclared came"));
        }
    }
}
