//! What the server tells about itself and others.

use super::{Attempt, Deed, Probe, must_be_refused};
use crate::verify::expected::may_publish;
use crate::verify::run::{Side, Stage, each};
use crate::verify::wire::{Answer, Request};

pub const PROBE: Probe = Probe {
    id: "system",
    proves: "the server's own requests are refused, or answered about the own account only",
    run: |stage, sides| Box::pin(run(stage, sides)),
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

async fn run<'p>(stage: &Stage<'p>, sides: &mut [Side<'p>]) {
    each(sides, 64, async |side| ask(stage, side).await).await;
}

async fn ask<'p>(stage: &Stage<'p>, side: &mut Side<'p>) {
    let id = stage.info().server_id;
    // Whatever is tried has to be harmless where it works.
    let real = |n: &usize| if stage.throwaway { stage.tenant(*n).name.to_string() } else { stage.common() };
    let others = side.neighbours.iter().map(real);
    let about_others = others.flat_map(|name| {
        [
            format!("$SYS.REQ.ACCOUNT.{name}.CONNZ"),
            format!("$SYS.REQ.ACCOUNT.{name}.INFO"),
            format!("$JS.API.ACCOUNT.PURGE.{name}"),
        ]
    });
    let about_server = [format!("$SYS.REQ.SERVER.{id}.CONNZ"), format!("$SYS.REQ.SERVER.{id}.VARZ")];
    let subjects: Vec<String> = ASKED.map(str::to_owned).into_iter().chain(about_others).chain(about_server).collect();
    let attempts: Vec<Attempt> = subjects.iter().map(|s| Attempt::new(Deed::Publish, s.as_str(), None)).collect();
    must_be_refused(stage, side, &attempts).await;
    let mut own = 0;
    for member in side.members.iter_mut().filter(|m| m.can_ask) {
        // What is ignored from tenants would be waited for; the JetStream API has its own probe.
        let granted = subjects.iter().filter(|s| !s.starts_with("$JS.") && may_publish(member.user, s));
        let requests: Vec<Request> = granted.map(|s| Request::empty(s.as_str())).collect();
        let answers = member.ask(stage, &requests).await;
        for (request, answer) in requests.iter().zip(answers) {
            let Answer::Message(message) = answer else { continue };
            own += 1;
            let text = String::from_utf8_lossy(&message.payload).into_owned();
            for other in stage.mentioned(&text, side.index) {
                let evidence = format!("{} told {} of it", request.subject, member.user.name);
                stage.leak(Some(other), Some(side.index), evidence);
            }
        }
    }
    if own > 0 {
        stage.pass(side.index, format!("{own} requests answered, about itself only"));
    }
}
