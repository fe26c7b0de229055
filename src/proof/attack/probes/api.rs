//! Every verb of the JetStream API against streams of others, by name.

use serde_json::{Value, json};

use super::{AT_ONCE, Probe, canary_stream};
use crate::proof::attack::declared::may_publish;
use crate::proof::attack::stage::{MARK, Member, Side, Stage, each};
use crate::proof::attack::wire::{Answer, Request, is_about};

pub const PROBE: Probe = Probe {
    id: "jetstream-api",
    proves: "no verb of the JetStream API works on another tenant's streams, nor names them",
    run: |stage, sides| Box::pin(run(stage, sides)),
};

/// So many others' streams are attacked by each tenant; the other probes try all.
const ATTACKED: usize = 2;

async fn run<'p>(stage: &Stage<'p>, sides: &mut [Side<'p>]) {
    each(sides, AT_ONCE, async |side| {
        let name = stage.unique(side.index);
        if let Some(subject) = canary_stream::subject(stage, side, "target") {
            canary_stream::make(stage, side, &name, &subject, json!({})).await;
        }
    })
    .await;
    each(sides, AT_ONCE, async |side| attack(stage, side).await).await;
    each(sides, AT_ONCE, async |side| survive(stage, side).await).await;
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

#[derive(Default)]
struct Tally {
    refused: usize,
    fruitless: usize,
    sample: String,
}

async fn attack<'p>(stage: &Stage<'p>, side: &mut Side<'p>) {
    let mut tally = Tally::default();
    let index = side.index;
    let others: Vec<usize> = side.neighbours.iter().copied().filter(|n| *n != index).take(ATTACKED).collect();
    for member in &mut side.members {
        for other in &others {
            against(stage, member, *other, &mut tally).await;
        }
        account_wide(stage, member, &mut tally).await;
    }
    if tally.refused + tally.fruitless > 0 {
        let Tally { refused, fruitless, sample } = tally;
        stage.pass(index, format!("{refused} requests refused ({sample}); {fruitless} found no such stream"));
    }
}

async fn against<'p>(stage: &Stage<'p>, member: &mut Member<'p>, other: usize, tally: &mut Tally) {
    let stream = stage.unique(other);
    let mut requests = requests(&stream, &member.reply_to("delivered"));
    // Only the consumer itself would answer it, so it is not waited for.
    let reset = format!("$JS.API.CONSUMER.RESET.{stream}.thief");
    if may_publish(member.user, &reset) {
        requests.retain(|r| r.subject != reset);
        if let Some(connection) = &mut member.connection {
            connection.publish(&reset, None, b"{}");
        }
    }
    let answers = attempt(stage, member, &requests).await;
    for (request, answer) in requests.iter().zip(answers) {
        let granted = may_publish(member.user, &request.subject);
        match answer {
            Answer::Refused(words) => (tally.refused, tally.sample) = (tally.refused + 1, words),
            Answer::Nobody => tally.fruitless += 1,
            Answer::Message(m) if granted && (!m.json()["error"].is_null() || m.headers.starts_with(b"NATS/1.0 40")) => {
                tally.fruitless += 1;
            }
            Answer::Message(m) if granted => {
                let said = String::from_utf8_lossy(&m.payload).chars().take(120).collect::<String>();
                stage.leak(Some(other), Some(member.tenant), format!("{} worked for {}: {said}", request.subject, member.user.name));
            }
            Answer::Silence if granted => {
                stage.not_run(member.tenant, format!("{} was not answered", request.subject));
            }
            _ => stage.leak(
                Some(member.tenant),
                Some(other),
                format!("{} may ask {}, which nothing declares", member.user.name, request.subject),
            ),
        }
    }
}

/// Requests that name no stream: the answer must name none of another.
async fn account_wide<'p>(stage: &Stage<'p>, member: &mut Member<'p>, tally: &mut Tally) {
    let requests = ["INFO", "STREAM.NAMES", "STREAM.LIST"].map(|verb| Request::empty(format!("$JS.API.{verb}")));
    for (request, answer) in requests.iter().zip(attempt(stage, member, &requests).await) {
        match answer {
            Answer::Refused(words) => (tally.refused, tally.sample) = (tally.refused + 1, words),
            Answer::Message(m) if may_publish(member.user, &request.subject) => {
                let own = stage.unique(member.tenant);
                let listed = m.json()["streams"].as_array().cloned().unwrap_or_default();
                let names = listed.iter().filter_map(|s| s.as_str().or_else(|| s["config"]["name"].as_str()));
                let foreign = names.filter(|n| n.starts_with(&format!("{MARK}{}", stage.run)) && **n != own).next();
                match foreign {
                    Some(name) => stage.leak(None, Some(member.tenant), format!("{} names {name}, which is another's", request.subject)),
                    None => tally.fruitless += 1,
                }
            }
            Answer::Nobody => tally.fruitless += 1,
            Answer::Silence if may_publish(member.user, &request.subject) => {
                stage.not_run(member.tenant, format!("{} was not answered", request.subject));
            }
            _ => stage.leak(
                Some(member.tenant),
                None,
                format!("{} may ask {}, which nothing declares", member.user.name, request.subject),
            ),
        }
    }
}

/// With an inbox by asking; without one only a refusal can be heard.
async fn attempt<'p>(stage: &Stage<'p>, member: &mut Member<'p>, requests: &[Request]) -> Vec<Answer> {
    if member.connection.is_none() {
        return Vec::new();
    }
    if member.can_ask {
        return member.ask(stage, requests).await;
    }
    if let Some(connection) = &mut member.connection {
        connection.refused.clear();
        requests.iter().for_each(|r| connection.publish(&r.subject, None, &r.body));
    }
    if !member.settle(stage).await {
        return Vec::new();
    }
    let words = member.refused();
    let became = |r: &Request| words.iter().find(|w| is_about(w, &r.subject)).map_or(Answer::Silence, |w| Answer::Refused(w.clone()));
    requests.iter().map(became).collect()
}

/// The stream is still there, with its message.
async fn survive<'p>(stage: &Stage<'p>, side: &mut Side<'p>) {
    let (index, name) = (side.index, stage.unique(side.index));
    if canary_stream::subject(stage, side, "target").is_none() {
        return;
    }
    let Some(manager) = side.manager() else { return };
    let info = manager.api(stage, &format!("STREAM.INFO.{name}"), json!({})).await;
    canary_stream::delete(stage, manager, &name).await;
    if info.is_null() {
        stage.not_run(index, "JetStream did not say what is left");
    } else if info["state"]["messages"] != 1 || info["state"]["consumer_count"] != 0 {
        stage.leak(None, Some(index), format!("its stream was changed by somebody: {} {}", info["state"], info["error"]));
    }
}
