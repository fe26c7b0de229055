//! Requests to the server's system services (`$SYS`), which report on the server and its accounts.

use super::{Attempt, Operation, Probe, must_be_refused};
use crate::verify::expected::may_publish;
use crate::verify::run::{Run, TenantRun, each};
use crate::verify::wire::{Answer, Request};

pub const PROBE: Probe = Probe {
    id: "system",
    proves: "the server refuses system requests, or answers about the user's own account only",
    mend: "give only operators users in the system account, and export nothing under `$SYS`",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

const ASKED: [&str; 11] = [
    "$SYS.REQ.SERVER.PING",
    "$SYS.REQ.SERVER.PING.VARZ",
    "$SYS.REQ.SERVER.PING.CONNZ",
    "$SYS.REQ.SERVER.PING.SUBSZ",
    "$SYS.REQ.SERVER.PING.ACCOUNTZ",
    "$SYS.REQ.SERVER.PING.JSZ",
    "$SYS.REQ.ACCOUNT.PING.CONNZ",
    "$SYS.REQ.ACCOUNT.PING.STATZ",
    "$SYS.REQ.USER.INFO",
    "$SYS.REQ.CLAIMS.LIST",
    "$SYS.DEBUG.SUBSCRIBERS",
];

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    each(tenant_runs, 64, async |tenant_run| ask(run, tenant_run).await).await;
}

async fn ask<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>) {
    let id = run.info().server_id;
    // On a server in use, requests name an account that does not exist, so that a request that
    // works (a purge, for example) does no harm.
    let account_name = |n: &usize| if run.throwaway { run.topology.tenant(*n).name.to_string() } else { run.common() };
    let others = tenant_run.neighbours.iter().map(account_name);
    let about_others = others.flat_map(|name| {
        [
            format!("$SYS.REQ.ACCOUNT.{name}.CONNZ"),
            format!("$SYS.REQ.ACCOUNT.{name}.INFO"),
            format!("$JS.API.ACCOUNT.PURGE.{name}"),
        ]
    });
    let about_server = [format!("$SYS.REQ.SERVER.{id}.CONNZ"), format!("$SYS.REQ.SERVER.{id}.VARZ")];
    let subjects: Vec<String> = ASKED.map(str::to_owned).into_iter().chain(about_others).chain(about_server).collect();
    let attempts: Vec<Attempt> = subjects.iter().map(|s| Attempt::new(Operation::Publish, s.as_str(), None)).collect();
    must_be_refused(run, tenant_run, &attempts).await;
    let mut own = 0;
    for session in tenant_run.sessions.iter_mut().filter(|m| m.can_ask) {
        // The server ignores some JetStream requests of tenants, which would be waited for in
        // vain; the JetStream API has its own probe.
        let granted = subjects.iter().filter(|s| !s.starts_with("$JS.") && may_publish(session.user, s));
        let requests: Vec<Request> = granted.map(|s| Request::empty(s.as_str())).collect();
        let answers = session.ask(run, &requests).await;
        for (request, answer) in requests.iter().zip(answers) {
            let Answer::Message(message) = answer else { continue };
            own += 1;
            let text = String::from_utf8_lossy(&message.payload).into_owned();
            for other in run.mentioned(&text, tenant_run.index) {
                let evidence = format!("{} told {} of it", request.subject, session.user.name);
                run.ledger.leak(Some(other), Some(tenant_run.index), evidence);
            }
        }
    }
    if own > 0 {
        run.ledger.pass(tenant_run.index, format!("{own} requests answered, about itself only"));
    }
}
