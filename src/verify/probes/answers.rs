//! A message of an imported stream carries a reply subject of the exporter's
//! choice. Whoever answers must not be able to write where it may not. Where streams
//! are copied that holds for one's own messages too: what is written on the subjects of
//! a copy commands a server.

use super::Probe;
use super::replies::own_subject;
use crate::model::ShareKind;
use crate::verify::expected::{concrete, may_publish, may_subscribe};
use crate::verify::run::{Side, Stage, each};
use crate::verify::wire::is_about;

pub const PROBE: Probe = Probe {
    id: "answers",
    proves: "a shared message cannot lead whoever answers it beyond its own permissions",
    run: |stage, sides| Box::pin(run(stage, sides)),
};

async fn run<'p>(stage: &Stage<'p>, sides: &mut [Side<'p>]) {
    // Nobody was granted this subject.
    let target = format!("{}.answer", stage.token());
    each(sides, usize::MAX, async |side| {
        let canary = stage.canary(side.index);
        let exports = side.tenant.exports.iter().filter(|e| e.kind == ShareKind::Stream);
        let subjects = exports.map(|e| concrete(&e.subject, &stage.token())).filter(|s| stage.may_speak(side.index, s));
        let subjects: Vec<String> = subjects.collect();
        for subject in subjects {
            let speaker = side.members.iter_mut().find(|m| m.connection.is_some() && may_publish(m.user, &subject));
            let Some(speaker) = speaker.filter(|_| stage.throwaway || subject.contains(&stage.token())) else {
                continue;
            };
            if let Some(connection) = &mut speaker.connection {
                connection.publish(&subject, Some(&target), canary.as_bytes());
            }
            speaker.settle(stage).await;
        }
    })
    .await;
    each(sides, usize::MAX, async |side| ask_oneself(stage, side, &target).await).await;
    each(sides, usize::MAX, async |side| answer(stage, side, &target).await).await;
}

/// At both ends of a copy somebody asks, to have it answered where nobody may write.
async fn ask_oneself<'p>(stage: &Stage<'p>, side: &mut Side<'p>, target: &str) {
    if side.tenant.copying().next().is_none() {
        return;
    }
    for member in &mut side.members {
        let Some(subject) = own_subject(stage, member.user, side.index) else { continue };
        if let Some(connection) = &mut member.connection {
            connection.publish(&subject, Some(target), b"a question");
            member.settle(stage).await;
            return;
        }
    }
}

async fn answer<'p>(stage: &Stage<'p>, side: &mut Side<'p>, target: &str) {
    let imports: Vec<_> = side.tenant.imports.iter().filter(|i| i.kind == ShareKind::Stream).collect();
    let copying = side.tenant.copying().next().and_then(|other| stage.place(other));
    for member in &mut side.members {
        if !member.settle(stage).await {
            continue;
        }
        let led = member.heard(stage).into_iter().find(|m| {
            m.reply.as_deref() == Some(target)
                && (copying.is_some() || imports.iter().any(|i| concrete(&i.subject, &stage.token()) == m.subject))
        });
        let Some(message) = led.filter(|m| may_subscribe(member.user, &m.subject)) else { continue };
        let Some(connection) = &mut member.connection else { continue };
        connection.refused.clear();
        connection.publish(target, None, b"an answer");
        member.settle(stage).await;
        match member.refused().into_iter().find(|words| is_about(words, target)) {
            Some(words) => stage.pass(
                side.index,
                format!("{} heard {} and may not answer: {words}", member.user.name, message.subject),
            ),
            None => {
                let from = imports.iter().find(|i| concrete(&i.subject, &stage.token()) == message.subject);
                let from = from.and_then(|i| stage.place(&i.from)).or(copying);
                let evidence =
                    format!("{} answers {} where its sender likes: {target}", member.user.name, message.subject);
                stage.leak(from, Some(side.index), evidence);
            }
        }
    }
}
