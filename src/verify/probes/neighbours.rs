//! Slowing others down: an importer that does not read must not hold the
//! exporter up.

use std::time::{Duration, Instant};

use super::Probe;
use crate::model::ShareKind;
use crate::verify::expected::{concrete, may_publish, may_subscribe};
use crate::verify::run::{Run, Session, TenantRun};
use crate::verify::wire::{Connection, FILLER, Lost};

pub const PROBE: Probe = Probe {
    id: "noisy-neighbours",
    proves: "a tenant that does not read what it imports does not slow down whoever shares it",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

/// So many shares are tried; they all work alike.
const TRIED: usize = 2;
const BYTES: usize = 4 << 10;
/// So many messages at a time.
const BURST: usize = 100;
/// No more than this is sent, however much the server keeps.
const MOST: u64 = 256 << 20;
/// The last ones are looked at.
const LAST: usize = 8;
/// Slower than this, and by this factor, is held up.
const NOTICED: Duration = Duration::from_millis(10);
const FACTOR: u32 = 10;

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    if !(run.throwaway || run.exhaustive) {
        return;
    }
    let mut tried = 0;
    for index in 0..tenant_runs.len() {
        let tenant = tenant_runs[index].tenant;
        for import in tenant.imports.iter().filter(|i| i.kind == ShareKind::Stream) {
            let Some(exporter) = run.topology.place(&import.from).filter(|e| *e != index && tried < TRIED) else {
                continue;
            };
            tried += 1;
            let subject = concrete(&import.subject, &run.token());
            match stalled(run, tenant_runs, (index, exporter), &subject).await {
                Err(why) => run.ledger.not_run(exporter, why.0),
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

/// How long it takes to publish without and with an importer that does not read.
async fn stalled<'p>(
    run: &Run<'p>,
    tenant_runs: &mut [TenantRun<'p>],
    (importer, exporter): (usize, usize),
    subject: &str,
) -> Result<Option<(Duration, Duration)>, Lost> {
    let listens =
        tenant_runs[importer].sessions.iter().find(|m| m.connection.is_some() && may_subscribe(m.user, subject));
    let speaks = tenant_runs[exporter].sessions.iter().find(|m| m.connection.is_some() && may_publish(m.user, subject));
    let (Some(listens), Some(speaks)) = (listens, speaks) else { return Ok(None) };
    let open = |e: crate::verify::wire::OpenError| Lost(e.to_string());
    let mut publisher = speaks.another(run).await.map_err(open)?;
    let mut deaf = listens.another(run).await.map_err(open)?;
    // Everybody else who hears it reads, so that the server keeps nothing for them.
    let hear = |s: &TenantRun<'_>| {
        s.index == exporter || s.tenant.imports.iter().any(|i| i.from == run.topology.tenant(exporter).name)
    };
    let mut others: Vec<&mut Session<'p>> =
        tenant_runs.iter_mut().filter(|s| hear(s)).flat_map(|s| &mut s.sessions).collect();
    // The server holds publishers up for a connection for which it keeps half of
    // what it may, and closes that connection for all of it; the sockets between
    // hold some megabytes as well.
    let kept = run.model.server.max_pending.bytes() / 16 * 15;
    let bursts = usize::try_from(kept.min(MOST)).unwrap_or_default() / BYTES / BURST;
    // Once the server keeps enough for the one that does not read, every burst is
    // held up; the fastest of the last few says so whatever else this machine does.
    let mut took = [Duration::MAX; 2];
    for (round, took) in took.iter_mut().enumerate() {
        if round == 1 {
            deaf.subscribe(subject, None);
            deaf.settle().await?;
        }
        for n in 0..bursts {
            let this = burst(&mut publisher, subject).await?;
            if n + LAST >= bursts {
                *took = this.min(*took);
            }
            for session in &mut others {
                session.settle(run).await;
            }
        }
    }
    Ok(Some((took[0], took[1])))
}

async fn burst(publisher: &mut Connection, subject: &str) -> Result<Duration, Lost> {
    let body = FILLER.repeat(BYTES / FILLER.len());
    let start = Instant::now();
    (0..BURST).for_each(|_| publisher.publish(subject, None, &body));
    publisher.settle().await?;
    Ok(start.elapsed())
}
