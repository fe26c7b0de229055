//! Every verb of the JetStream API against streams of others, by name.

use serde_json::{Value, json};

use super::{AT_ONCE, Attempt, Deed, Probe, canary_stream, must_be_refused};
use crate::verify::expected::may_publish;
use crate::verify::run::{MARK, Member, Side, Stage, each};
use crate::verify::wire::{Answer, Request};

pub const PROBE: Probe = Probe {
    id: "jetstream-api",
    proves: "no verb of the JetStream API works on another tenant's streams, nor names them",
    run: |stage, sides| Box::pin(run(stage, sides)),
};

/// So many others' streams are attacked by each tenant; the other probes try all.
const ATTACKED: usize = 2;

async fn run<'p>(stage: &Stage<'p>, sides: &mut [Side<'p>]) {
    let made = std::cell::RefCell::new(vec![false; sides.len()]);
    each(sides, AT_ONCE, async |side| {
        let name = stage.unique(side.index);
        if let Some(subject) = canary_stream::subject(stage, side, "target") {
            let is_made = canary_stream::make(stage, side, &name, &subject, json!({})).await;
            made.borrow_mut()[side.index] = is_made;
        }
    })
    .await;
    each(sides, AT_ONCE, async |side| attack(stage, side).await).await;
    each(sides, AT_ONCE, async |side| {
        if made.borrow()[side.index] {
            survive(stage, side).await;
        }
    })
    .await;
}

/// Reading first, destroying last.
fn requests(stream: &str, inbox: &str) -> Vec<Request> {
    let subject = |verb: &str, rest: &str| format!("$JS.API.{verb}.{stream}{rest}");
    let consumer = json!({ "stream_name": stream, "config": { "durable_name": "thief", "ack_policy": "none" } });
    let pushed = json!({ "stream_name": stream, "config": { "deliver_subject": inbox, "ack_policy": "none" } });
    let far = json!({ "pause_until": "2099-01-01T00:00:00Z" });
    let list: [(&str, &str, Value); 24] = [
        ("STREAM.INFO", "", json!({})),
        ("STREAM.MSG.GET", "", json!({ "seq": 1 })),
        ("DIRECT.GET", "", json!({ "seq": 1 })),
        ("DIRECT.GET", ".x", json!({})),
        ("CONSUMER.NAMES", "", json!({})),
        ("CONSUMER.LIST", "", json!({})),
        ("CONSUMER.CREATE", "", pushed.clone()),
        ("CONSUMER.CREATE", ".thief", consumer.clone()),
        ("CONSUMER.DURABLE.CREATE", ".thief", consumer),
        ("CONSUMER.INFO", ".thief", json!({})),
        ("CONSUMER.MSG.NEXT", ".thief", json!({ "batch": 1, "no_wait": true })),
        ("STREAM.SNAPSHOT", "", json!({ "deliver_subject": inbox })),
        ("STREAM.UPDATE", "", json!({ "name": stream, "subjects": ["x"] })),
        ("CONSUMER.PAUSE", ".thief", far),
        ("CONSUMER.RESET", ".thief", json!({})),
        ("CONSUMER.UNPIN", ".thief", json!({ "group": "x" })),
        ("CONSUMER.LEADER.STEPDOWN", ".thief", json!({})),
        ("CONSUMER.DELETE", ".thief", json!({})),
        ("STREAM.LEADER.STEPDOWN", "", json!({})),
        ("STREAM.PEER.REMOVE", "", json!({ "peer": "x" })),
        ("STREAM.MSG.DELETE", "", json!({ "seq": 1 })),
        ("STREAM.RESTORE", "", json!({ "config": { "name": "x" } })),
        ("STREAM.PURGE", "", json!({})),
        ("STREAM.DELETE", "", json!({})),
    ];
    list.into_iter().map(|(verb, rest, body)| Request::json(subject(verb, rest), &body)).collect()
}

async fn attack<'p>(stage: &Stage<'p>, side: &mut Side<'p>) {
    let index = side.index;
    let others: Vec<usize> = side.neighbours.iter().copied().filter(|n| *n != index).take(ATTACKED).collect();
    let mut attempts = Vec::new();
    for other in &others {
        let requests = requests(&stage.unique(*other), "nowhere");
        attempts.extend(requests.into_iter().map(|r| Attempt::new(Deed::Publish, r.subject, Some(*other))));
    }
    attempts.extend(ACCOUNT_WIDE.map(|verb| Attempt::new(Deed::Publish, format!("$JS.API.{verb}"), None)));
    must_be_refused(stage, side, &attempts).await;
    let mut fruitless = 0;
    for member in side.members.iter_mut().filter(|m| m.can_ask) {
        for other in &others {
            fruitless += against(stage, member, *other).await;
        }
        account_wide(stage, member).await;
    }
    if fruitless > 0 {
        stage.pass(index, format!("{fruitless} requests that are granted found no such stream"));
    }
}

/// What a user was granted, against another's stream: there is no such stream.
async fn against<'p>(stage: &Stage<'p>, member: &mut Member<'p>, other: usize) -> usize {
    let stream = stage.unique(other);
    let mut requests = requests(&stream, &member.reply_to("delivered"));
    requests.retain(|r| may_publish(member.user, &r.subject));
    // Only the consumer itself would answer this one, so it is not waited for.
    requests.retain(|r| !r.subject.starts_with("$JS.API.CONSUMER.RESET."));
    let answers = member.ask(stage, &requests).await;
    let mut fruitless = 0;
    for (request, answer) in requests.iter().zip(answers) {
        match answer {
            Answer::Nobody => fruitless += 1,
            Answer::Message(m) if !m.json()["error"].is_null() || m.headers.starts_with(b"NATS/1.0 40") => {
                fruitless += 1;
            }
            Answer::Message(m) => {
                let said: String = String::from_utf8_lossy(&m.payload).chars().take(120).collect();
                let evidence = format!("{} worked for {}: {said}", request.subject, member.user.name);
                stage.leak(Some(other), Some(member.tenant), evidence);
            }
            Answer::Refused(words) => stage.not_run(member.tenant, format!("granted and refused: {words}")),
            Answer::Silence => stage.not_run(member.tenant, format!("{} was not answered", request.subject)),
        }
    }
    fruitless
}

/// Requests that name no stream.
const ACCOUNT_WIDE: [&str; 3] = ["INFO", "STREAM.NAMES", "STREAM.LIST"];

/// Their answers must name no stream of another.
async fn account_wide<'p>(stage: &Stage<'p>, member: &mut Member<'p>) {
    let mut requests = ACCOUNT_WIDE.map(|verb| Request::empty(format!("$JS.API.{verb}"))).to_vec();
    requests.retain(|r| may_publish(member.user, &r.subject));
    let own = stage.unique(member.tenant);
    let answers = member.ask(stage, &requests).await;
    for (request, answer) in requests.iter().zip(answers) {
        let listed = answer.json()["streams"].as_array().cloned().unwrap_or_default();
        let mut names = listed.iter().filter_map(|s| s.as_str().or_else(|| s["config"]["name"].as_str()));
        if let Some(name) = names.find(|n| n.starts_with(&format!("{MARK}{}", stage.run)) && **n != own) {
            stage.leak(None, Some(member.tenant), format!("{} names {name}, which is another's", request.subject));
        }
    }
}

/// The stream is still there, with its message.
async fn survive<'p>(stage: &Stage<'p>, side: &mut Side<'p>) {
    let (index, name) = (side.index, stage.unique(side.index));
    let Some(manager) = side.manager() else { return };
    let info = manager.api(stage, &format!("STREAM.INFO.{name}"), json!({})).await;
    canary_stream::delete(stage, manager, &name).await;
    if info.is_null() {
        stage.not_run(index, "JetStream did not say what is left");
    } else if info["state"]["messages"] != 1 || info["state"]["consumer_count"] != 0 {
        stage.leak(
            None,
            Some(index),
            format!("its stream was changed by somebody: {} {}", info["state"], info["error"]),
        );
    }
}
