//! Slow consumers: an importer that does not read from its connection must not slow down the
//! exporter's publishers.

use std::time::{Duration, Instant};

use super::Probe;
use crate::model::ShareKind;
use crate::verify::endpoint::{Lost, OpenError};
use crate::verify::expected::{concrete, may_publish, may_subscribe};
use crate::verify::run::{Run, Session, TenantRun, is_full};
use crate::verify::wire::{Connection, FILLER};

pub const PROBE: Probe = Probe {
    id: "noisy-neighbours",
    proves: "a tenant that does not read what it imports does not slow down the exporter",
    mend: "set `no_fast_producer_stall: true`; `tenantry up` renders that",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

/// Number of shares that are tested: they all work in the same way.
const TRIED: usize = 2;
/// Size of one message, unless the exporter's limit is smaller. Bytes.
const BYTES: usize = 4 << 10;
/// With smaller messages a round takes too long. Bytes.
const LEAST: usize = 512;
/// Number of messages in a burst, which is what is timed.
const BURST: usize = 100;
/// Maximum amount of data that is published in each of the two rounds. Bytes.
const MOST: u64 = 256 << 20;
/// Number of bursts, at the end of a round, of which the fastest counts.
const LAST: usize = 8;
/// A burst was slowed down if it takes longer than this and more than `FACTOR` times as long
/// as without the importer.
const NOTICED: Duration = Duration::from_millis(10);
const FACTOR: u32 = 10;

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    let may_slow_down = run.throwaway || run.exhaustive;
    let mut tried = 0;
    for index in 0..tenant_runs.len() {
        let tenant = tenant_runs[index].tenant;
        for import in tenant.imports.iter().filter(|i| i.kind == ShareKind::Stream) {
            let Some(exporter) = run.topology.place(&import.from).filter(|e| *e != index && tried < TRIED) else {
                continue;
            };
            tried += 1;
            if !may_slow_down {
                run.ledger.needs_exhaustive(exporter, &format!("{} imports and does not read", tenant.name));
                continue;
            }
            let subject = concrete(&import.subject, &run.token());
            if run.has_subscribers(exporter, &subject) {
                let what = format!(
                    "a flood on {}: clients or streams listen there, and would have to read it",
                    import.subject
                );
                run.ledger.not_tried(exporter, what);
                continue;
            }
            let payload = run.topology.tenant(exporter).limits.payload.bytes();
            let bytes = usize::try_from(payload).unwrap_or(BYTES).min(BYTES);
            if bytes < LEAST {
                run.ledger.not_tried(exporter, format!("a flood of messages, which have at most {bytes} bytes"));
                continue;
            }
            match measure_bursts(run, tenant_runs, (index, exporter), &subject, bytes).await {
                Err(why) if is_full(&why) => {
                    let from = &import.from;
                    let what = format!("a flood on {}: {} or {from} may open no more connections", import.subject, tenant.name);
                    run.ledger.not_tried(exporter, what);
                }
                Err(why) => run.ledger.not_run(exporter, why.to_string()),
                Ok(None) => {}
                Ok(Some((alone, beside))) if beside > NOTICED && beside > alone * FACTOR => run.ledger.leak(
                    Some(index),
                    Some(exporter),
                    format!("{BURST} messages took {beside:.1?} with an importer that does not read, and {alone:.1?} without"),
                ),
                Ok(Some(_)) => run.ledger.pass(exporter, format!("{} imports {subject} without reading, and it publishes as fast", tenant.name)),
            }
        }
    }
}

/// How long a burst takes without and with an importer that does not read. `None` if no
/// connected user may publish, or subscribe, to the subject.
async fn measure_bursts<'p>(
    run: &Run<'p>,
    tenant_runs: &mut [TenantRun<'p>],
    (importer, exporter): (usize, usize),
    subject: &str,
    bytes: usize,
) -> Result<Option<(Duration, Duration)>, OpenError> {
    let subscribing =
        tenant_runs[importer].sessions.iter().find(|m| m.connection.is_some() && may_subscribe(m.user, subject));
    let publishing =
        tenant_runs[exporter].sessions.iter().find(|m| m.connection.is_some() && may_publish(m.user, subject));
    let (Some(subscribing), Some(publishing)) = (subscribing, publishing) else { return Ok(None) };
    let mut publisher = publishing.another(run).await?;
    let mut stalled = subscribing.another(run).await?;
    let lost = |lost: Lost| OpenError::Broken(lost.0);
    // Every other subscriber reads, so that the server has no pending data for them.
    let may_receive = |s: &TenantRun<'_>| {
        s.index == exporter || s.tenant.imports.iter().any(|i| i.from == run.topology.tenant(exporter).name)
    };
    let mut others: Vec<&mut Session<'p>> =
        tenant_runs.iter_mut().filter(|s| may_receive(s)).flat_map(|s| &mut s.sessions).collect();
    // The server stalls publishers once the pending data of a subscriber exceeds half of
    // `max_pending`, and closes the subscriber's connection once it exceeds all of it. The
    // socket buffers hold some megabytes as well. So 15/16 of `max_pending` is published.
    let kept = run.model.server.max_pending.bytes() / 16 * 15;
    let bursts = usize::try_from(kept.min(MOST)).unwrap_or_default() / bytes / BURST;
    // Once enough data is pending, every burst is stalled. The fastest of the last bursts
    // shows that reliably, whatever else slows this machine down.
    let mut took = [Duration::MAX; 2];
    for (round, took) in took.iter_mut().enumerate() {
        if round == 1 {
            stalled.subscribe(subject, None);
            stalled.settle().await.map_err(lost)?;
        }
        for n in 0..bursts {
            let burst = publish_burst(&mut publisher, &run.common(), subject, bytes).await.map_err(lost)?;
            if n + LAST >= bursts {
                *took = burst.min(*took);
            }
            for session in &mut others {
                session.settle(run).await;
            }
        }
    }
    Ok(Some((took[0], took[1])))
}

async fn publish_burst(
    publisher: &mut Connection,
    stream: &str,
    subject: &str,
    bytes: usize,
) -> Result<Duration, Lost> {
    // Headers count as payload.
    const HEADERS: usize = 128;
    let body = FILLER.repeat((bytes - HEADERS) / FILLER.len());
    let start = Instant::now();
    (0..BURST).for_each(|_| publisher.publish_stored_by(stream, subject, None, &body));
    publisher.settle().await?;
    Ok(start.elapsed())
}
