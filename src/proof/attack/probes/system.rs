//! What the server tells about itself and others.

use super::Probe;
use crate::proof::attack::declared::may_publish;
use crate::proof::attack::stage::{Side, Stage, each};
use crate::proof::attack::wire::{Answer, Request, is_about};

pub const PROBE: Probe = Probe {
    id: "system",
    proves: "the server's own requests are refused, or answered about the own account only",
    run: |stage, sides| Box::pin(run(stage, sides)),
};

const ASKED: [&str; 12] = [
    "$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.VARZ", "$SYS.REQ.SERVER.PING.CONNZ", "$SYS.REQ.SERVER.PING.SUBSZ",
    "$SYS.REQ.SERVER.PING.ACCOUNTZ", "$SYS.REQ.SERVER.PING.JSZ", "$SYS.REQ.ACCOUNT.PING.CONNZ",
    "$SYS.REQ.ACCOUNT.PING.STATZ", "$SYS.REQ.USER.INFO", "$SYS.REQ.CLAIMS.LIST", "$SYS.DEBUG.SUBSCRIBERS",
    "$JS.API.META.LEADER.STEPDOWN",
];

async fn run<'p>(stage: &Stage<'p>, sides: &mut [Side<'p>]) {
    each(sides, 64, async |side| ask(stage, side).await).await;
}

async fn ask<'p>(stage: &Stage<'p>, side: &mut Side<'p>) {
    let id = stage.info().server_id;
    let others = side.neighbours.iter().map(|n| &stage.tenant(*n).name);
    let about_others = others.flat_map(|name| {
        [format!("$SYS.REQ.ACCOUNT.{name}.CONNZ"), format!("$SYS.REQ.ACCOUNT.{name}.INFO"), format!("$JS.API.ACCOUNT.PURGE.{name}")]
    });
    let about_server = [format!("$SYS.REQ.SERVER.{id}.CONNZ"), format!("$SYS.REQ.SERVER.{id}.VARZ")];
    let subjects: Vec<String> = ASKED.map(str::to_owned).into_iter().chain(about_others).chain(about_server).collect();
    let (mut refused, mut own, mut sample) = (0, 0, String::new());
    for member in &mut side.members {
        // The one thing here that the JetStream API's own probe covers, where it
        // is granted: it is ignored from tenants, and would be waited for.
        let is_tried = |s: &&String| !s.starts_with("$JS.") || !may_publish(member.user, s);
        let tried: Vec<&String> = subjects.iter().filter(is_tried).collect();
        if member.can_ask {
            let requests: Vec<Request> = tried.iter().map(|s| Request::empty(s.as_str())).collect();
            let answers = member.ask(stage, &requests).await;
            for (subject, answer) in tried.iter().zip(answers) {
                match answer {
                    Answer::Refused(words) => (refused, sample) = (refused + 1, words),
                    // Nothing is behind it, for this account.
                    Answer::Nobody | Answer::Silence if may_publish(member.user, subject) => own += 1,
                    Answer::Message(message) if may_publish(member.user, subject) => {
                        own += 1;
                        let text = String::from_utf8_lossy(&message.payload).into_owned();
                        for other in stage.mentioned(&text, side.index) {
                            stage.leak(Some(other), Some(side.index), format!("{subject} told {} of it", member.user.name));
                        }
                    }
                    _ => stage.leak(None, Some(side.index), format!("{} may ask {subject}, which nothing declares", member.user.name)),
                }
            }
        } else if let Some(connection) = &mut member.connection {
            connection.refused.clear();
            tried.iter().for_each(|s| connection.publish(s, None, b""));
            if member.settle(stage).await {
                let words = member.refused();
                for subject in tried.iter().filter(|s| !may_publish(member.user, s)) {
                    match words.iter().find(|w| is_about(w, subject)) {
                        Some(words) => (refused, sample) = (refused + 1, words.clone()),
                        None => stage.leak(None, Some(side.index), format!("{} may ask {subject}, which nothing declares", member.user.name)),
                    }
                }
            }
        }
    }
    if refused + own > 0 {
        stage.pass(side.index, format!("{refused} requests refused, as in: {sample}; {own} answered about itself only"));
    }
}
