//! What is declared to pass between tenants does pass: without that, "nothing
//! came" would be true of a server on which nothing works.

use serde_json::Value;

use super::Probe;
use crate::model::{Import, ShareKind, Tenant};
use crate::subject::Subject;
use crate::verify::expected::{concrete, may_publish, may_subscribe};
use crate::verify::run::{Side, Stage, each};
use crate::verify::wire::{Answer, Request};

pub const PROBE: Probe = Probe {
    id: "shares",
    proves: "declared shares work, for those to whom they were declared",
    run: |stage, sides| Box::pin(run(stage, sides)),
};

async fn run<'p>(stage: &Stage<'p>, sides: &mut [Side<'p>]) {
    streams(stage, sides).await;
    services(stage, sides).await;
}

/// Where a share is tried, if that disturbs nobody.
fn tried(stage: &Stage<'_>, subject: &Subject) -> Option<String> {
    (stage.throwaway || subject.has_wildcard()).then(|| concrete(subject, &stage.token()))
}

/// Every exporter speaks on what it shares; every importer listens.
async fn streams<'p>(stage: &Stage<'p>, sides: &mut [Side<'p>]) {
    each(sides, usize::MAX, async |side| {
        let canary = stage.canary(side.index);
        let exports = side.tenant.exports.iter().filter(|e| e.kind == ShareKind::Stream);
        let subjects = exports.filter_map(|e| tried(stage, &e.subject)).filter(|s| stage.may_speak(side.index, s));
        let subjects: Vec<String> = subjects.collect();
        for subject in subjects {
            let speaker = side.members.iter_mut().find(|m| m.connection.is_some() && may_publish(m.user, &subject));
            let Some(speaker) = speaker else { continue };
            if let Some(connection) = &mut speaker.connection {
                connection.publish(&subject, None, stage.said_on(&canary, &subject).as_bytes());
            }
            speaker.settle(stage).await;
        }
    })
    .await;
    each(sides, usize::MAX, async |side| {
        let mut heard = Vec::new();
        for member in &mut side.members {
            member.settle(stage).await;
            heard.extend(member.heard(stage));
        }
        for import in side.tenant.imports.iter().filter(|i| i.kind == ShareKind::Stream) {
            let Some(exporter) = stage.place(&import.from) else { continue };
            let subject = tried(stage, &import.subject).filter(|s| stage.may_speak(exporter, s));
            let Some(subject) = subject else {
                let what =
                    format!("{} of {}: not said, it would be somebody's real message", import.subject, import.from);
                stage.pass(side.index, what);
                continue;
            };
            let may_hear = side.members.iter().any(|m| m.connection.is_some() && may_subscribe(m.user, &subject));
            let may_say = stage.tenant(exporter).users.iter().any(|u| may_publish(u, &subject));
            if !may_hear || !may_say {
                continue;
            }
            let from = &import.from;
            match heard.iter().any(|m| m.subject == subject && stage.is_from(exporter, &m.payload)) {
                true => stage.pass(side.index, format!("{subject} came from {from}, as declared")),
                false => {
                    stage.not_run(side.index, format!("{subject} did not come from {from}, though it is declared"));
                }
            }
        }
    })
    .await;
}

/// Every importer asks the services that it was given; the exporter answers.
async fn services<'p>(stage: &Stage<'p>, sides: &mut [Side<'p>]) {
    for index in 0..sides.len() {
        let tenant: &'p Tenant = sides[index].tenant;
        for import in tenant.imports.iter().filter(|i| i.kind == ShareKind::Service) {
            let Some(exporter) = stage.place(&import.from) else { continue };
            let subject = tried(stage, &import.subject).filter(|s| stage.may_speak(index, s));
            let Some(subject) = subject else {
                let what = format!("{} of {}: not asked, it would be a real request", import.subject, import.from);
                stage.pass(index, what);
                continue;
            };
            if exporter != index {
                service(stage, sides, (index, exporter), import, &subject).await;
            }
        }
    }
}

async fn service<'p>(
    stage: &Stage<'p>,
    sides: &mut [Side<'p>],
    (asking, answering): (usize, usize),
    import: &Import,
    subject: &str,
) {
    let Ok([importer, exporter]) = sides.get_disjoint_mut([asking, answering]) else { return };
    let asks =
        importer.members.iter_mut().find(|m| m.connection.is_some() && m.can_ask && may_publish(m.user, subject));
    let answers = exporter.members.iter_mut().find(|m| {
        m.connection.is_some()
            && may_subscribe(m.user, subject)
            && (m.user.permissions.responses.is_some() || may_publish(m.user, "_R_.x.y"))
    });
    let (Some(asks), Some(answers)) = (asks, answers) else { return };
    let question = Request { subject: subject.to_owned(), body: stage.canary(asking).into_bytes() };
    let answering_it = async {
        let Some(connection) = &mut answers.connection else { return false };
        // It has subscribed in an earlier round; the question comes when it comes.
        let Ok(Some(message)) = connection.next_message(|m| m.subject == subject).await else { return false };
        // The exporter may know which account asks, and no more.
        let headers = String::from_utf8_lossy(&message.headers).into_owned();
        let told = headers.lines().find_map(|l| l.strip_prefix("Nats-Request-Info: "));
        let told: Value = told.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let more: Vec<&str> = ["user", "host", "name", "id"].into_iter().filter(|key| !told[*key].is_null()).collect();
        if !more.is_empty() {
            let evidence = format!("a request on {subject} tells who asks: {}", more.join(", "));
            stage.leak(Some(asking), Some(answering), evidence);
        }
        let Some(reply) = &message.reply else { return false };
        connection.publish(reply, None, stage.canary(answering).as_bytes());
        connection.settle().await.is_ok()
    };
    let (answer, answered) = tokio::join!(asks.ask_one(stage, question), answering_it);
    let from = &import.from;
    match answer {
        Answer::Message(message) if stage.is_from(answering, &message.payload) => {
            stage.pass(asking, format!("{from} answered on {subject}, as declared"));
        }
        // Its own responders are there as well.
        Answer::Message(_) => stage.pass(asking, format!("somebody of {from} answered on {subject}, as declared")),
        other => stage.not_run(
            asking,
            format!("{from} did not answer on {subject}, though it is declared: {other}; heard: {answered}"),
        ),
    }
}
