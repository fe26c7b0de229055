//! Every request of the JetStream API, with the names of other tenants' streams.

use std::cell::RefCell;
use std::collections::HashMap;

use serde_json::{Value, json};

use super::{AT_ONCE, Attempt, Operation, Probe, canary_stream, must_be_refused};
use crate::verify::expected::{may_publish, may_subscribe};
use crate::verify::run::{Run, Session, TenantRun, each};
use crate::verify::wire::{Answer, Request};

pub const PROBE: Probe = Probe {
    id: "jetstream-api",
    proves: "no request of the JetStream API works on another tenant's streams, or reveals their names",
    mend: "export no part of `$JS.API.>`, and give each tenant its own account",
    run: |run, tenant_runs| Box::pin(probe(run, tenant_runs)),
};

/// Number of tenants whose stream each tenant attacks; the other probes cover all pairs.
const ATTACKED: usize = 2;

/// Requests about a tenant's stream that another one was answered: by whom it was asked, and the evidence. On a server in use a
/// client of that one may have made a stream of the same name, so what happened to the tenant's own stream decides.
type Answered = RefCell<HashMap<usize, Vec<(usize, String)>>>;

async fn probe<'p>(run: &Run<'p>, tenant_runs: &mut [TenantRun<'p>]) {
    let answered = Answered::default();
    let made = RefCell::new(vec![false; tenant_runs.len()]);
    each(tenant_runs, AT_ONCE, async |tenant_run| {
        let name = run.unique(tenant_run.index);
        if let Some(subject) = canary_stream::subject(run, tenant_run, "target") {
            let is_made = canary_stream::make(run, tenant_run, &name, &subject, json!({})).await;
            made.borrow_mut()[tenant_run.index] = is_made;
        }
    })
    .await;
    each(tenant_runs, AT_ONCE, async |tenant_run| attack(run, tenant_run, &answered).await).await;
    each(tenant_runs, AT_ONCE, async |tenant_run| {
        let others = answered.borrow_mut().remove(&tenant_run.index).unwrap_or_default();
        let is_changed = made.borrow()[tenant_run.index] && is_changed(run, tenant_run, others.is_empty()).await;
        for (by, evidence) in others {
            if is_changed {
                run.ledger.leak(Some(tenant_run.index), Some(by), format!("{evidence}, and the stream was changed"));
            } else {
                run.ledger.not_run(
                    by,
                    format!(
                        "{evidence}. {} was not changed: a client of {} may have made a stream of its name, or answered in JetStream's place",
                        run.unique(tenant_run.index),
                        run.topology.tenant(by).name
                    ),
                );
            }
        }
    })
    .await;
}

/// The requests about one stream: those that read come first, those that delete last.
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

async fn attack<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>, answered: &Answered) {
    let index = tenant_run.index;
    let others: Vec<usize> = tenant_run.neighbours.iter().copied().filter(|n| *n != index).take(ATTACKED).collect();
    let mut attempts = Vec::new();
    for other in &others {
        let requests = requests(&run.unique(*other), "nowhere");
        attempts.extend(requests.into_iter().map(|r| Attempt::new(Operation::Publish, r.subject, Some(*other))));
    }
    // In the own account too: what is not granted is refused.
    let own = run.unique(index);
    for subject in [
        format!("$JS.API.STREAM.CREATE.{own}"),
        format!("$JS.ACK.{own}.thief.1.1.1.1.0"),
        format!("$JS.FC.{own}.thief.x"),
    ] {
        attempts.push(Attempt::new(Operation::Publish, subject, None));
    }
    // The declared streams by their own names, with requests that change nothing.
    for stream in &tenant_run.tenant.streams {
        for verb in ["STREAM.INFO", "STREAM.MSG.GET", "DIRECT.GET", "CONSUMER.NAMES", "CONSUMER.LIST"] {
            attempts.push(Attempt::new(Operation::Publish, format!("$JS.API.{verb}.{}", stream.name), None));
        }
    }
    attempts.extend(ACCOUNT_WIDE.map(|verb| Attempt::new(Operation::Publish, format!("$JS.API.{verb}"), None)));
    must_be_refused(run, tenant_run, &attempts).await;
    let mut fruitless = 0;
    for session in tenant_run.sessions.iter_mut().filter(|m| m.can_ask) {
        for other in &others {
            fruitless += attack_stream_of(run, session, *other, answered).await;
        }
        check_account_wide(run, session).await;
    }
    if fruitless > 0 {
        run.ledger.pass(index, format!("{fruitless} requests that are granted found no such stream"));
    }
}

/// Whether an answer lists consumers, and none is there.
fn is_empty_list(answer: &Value) -> bool {
    let list = answer["consumers"].as_array();
    answer["total"] == 0 && list.is_none_or(Vec::is_empty) && answer["config"].is_null()
}

fn is_unanswered_in_clusters(subject: &str) -> bool {
    ["$JS.API.STREAM.SNAPSHOT.", "$JS.API.STREAM.RESTORE."].iter().any(|verb| subject.starts_with(verb))
}

/// Whether a request that JetStream does not answer has no "no responders" either, because users of the tenant itself
/// may listen there.
fn is_heard_in_tenant(run: &Run<'_>, tenant: usize, subject: &str) -> bool {
    let of_nothing = ["$JS.API.DIRECT.GET.", "$JS.API.CONSUMER.MSG.NEXT."].iter().any(|verb| subject.starts_with(verb));
    of_nothing && run.topology.tenant(tenant).users.iter().any(|user| may_subscribe(user, subject))
}

/// Sends the requests that a user is granted, with the name of another tenant's stream. Each
/// must fail, because the user's own account has no such stream. Returns how many failed.
async fn attack_stream_of<'p>(run: &Run<'p>, session: &mut Session<'p>, other: usize, answered: &Answered) -> usize {
    let stream = run.unique(other);
    let mut requests = requests(&stream, &session.reply_to("delivered"));
    requests.retain(|r| may_publish(session.user, &r.subject));
    // Only the consumer itself answers a reset, so the request would be waited for in vain.
    requests.retain(|r| !r.subject.starts_with("$JS.API.CONSUMER.RESET."));
    let answers = session.ask(run, &requests).await;
    let mut fruitless = 0;
    for (request, answer) in requests.iter().zip(answers) {
        match answer {
            Answer::Nobody => fruitless += 1,
            Answer::Message(m) if !m.json()["error"].is_null() || m.headers.starts_with(b"NATS/1.0 40") => {
                fruitless += 1;
            }
            // A clustered server answers so of a stream that is not there.
            Answer::Message(m) if is_empty_list(&m.json()) => fruitless += 1,
            Answer::Message(m) => {
                let reply: String = String::from_utf8_lossy(&m.payload).chars().take(120).collect();
                let evidence = format!("{} worked for {}: {reply}", request.subject, session.user.name);
                if run.throwaway || run.is_from(other, &m.payload) {
                    run.ledger.leak(Some(other), Some(session.tenant), evidence);
                } else {
                    answered.borrow_mut().entry(other).or_default().push((session.tenant, evidence));
                }
            }
            Answer::Refused(words) => run.ledger.not_run(session.tenant, format!("granted and refused: {words}")),
            // Clustered servers do not answer these about a stream that is not there.
            Answer::Silence if is_unanswered_in_clusters(&request.subject) => fruitless += 1,
            Answer::Silence if is_heard_in_tenant(run, session.tenant, &request.subject) => fruitless += 1,
            Answer::Silence => run.ledger.not_run(session.tenant, format!("{} was not answered", request.subject)),
        }
    }
    fruitless
}

/// Requests that name no stream.
const ACCOUNT_WIDE: [&str; 3] = ["INFO", "STREAM.NAMES", "STREAM.LIST"];

/// Sends the requests that name no stream. Their replies must not name another tenant's stream.
async fn check_account_wide<'p>(run: &Run<'p>, session: &mut Session<'p>) {
    let mut requests = ACCOUNT_WIDE.map(|verb| Request::empty(format!("$JS.API.{verb}"))).to_vec();
    requests.retain(|r| may_publish(session.user, &r.subject));
    let answers = session.ask(run, &requests).await;
    for (request, answer) in requests.iter().zip(answers) {
        let listed = answer.json()["streams"].as_array().cloned().unwrap_or_default();
        let mut names = listed.iter().filter_map(|s| s.as_str().or_else(|| s["config"]["name"].as_str()));
        let owner = |name: &str| run.named(name).filter(|owner| *owner != session.tenant);
        let Some((name, other)) = names.find_map(|name| Some((name, owner(name)?))) else { continue };
        let evidence = format!("{} names {name}", request.subject);
        // Whoever attacked that stream by its name may have made one: its metadata tells whose it is.
        let is_of_other = matches!(&answer, Answer::Message(m) if run.is_from(other, &m.payload));
        if run.throwaway || is_of_other {
            run.ledger.leak(Some(other), Some(session.tenant), evidence);
        } else {
            run.ledger.not_run(session.tenant, format!("{evidence}, which a client of its own may have made"));
        }
    }
}

/// Whether the tenant's stream has not just its message and no consumer, which is recorded if `alone`. Deletes it.
async fn is_changed<'p>(run: &Run<'p>, tenant_run: &mut TenantRun<'p>, alone: bool) -> bool {
    let (index, name) = (tenant_run.index, run.unique(tenant_run.index));
    let Some(manager) = tenant_run.manager() else { return false };
    let info = manager.api(run, &format!("STREAM.INFO.{name}"), json!({})).await;
    canary_stream::delete(run, manager, &name).await;
    if info.is_null() {
        run.ledger.not_run(index, "JetStream did not say what is left");
        return false;
    }
    let is_changed = info["state"]["messages"] != 1 || info["state"]["consumer_count"] != 0;
    if is_changed && alone {
        let what = if info["error"].is_null() { &info["state"] } else { &info["error"] };
        let evidence = format!("its stream was changed by somebody, or somebody answers in JetStream's place: {what}");
        run.note_changed(None, index, evidence);
    }
    is_changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fixtures::{BILLING, ORDERS, Reply, SHARING, System, checks, connect};
    use crate::verify::report::Outcome;

    /// What is recorded, and who may have been answered, where each request about a stream of `BILLING` is answered to `ORDERS`.
    async fn asked(throwaway: bool, shows_canary: bool) -> (Option<Outcome>, Vec<usize>) {
        let system = System::load(&SHARING.replacen("\"app\"", "\"app\"\nrole = \"admin\"", 1));
        let plan = system.plan(throwaway);
        let run = Run::new(&plan, vec!["jetstream-api"]);
        run.begin("jetstream-api");
        let mut tenant_runs = run.tenant_runs();
        let canary = if shows_canary { run.signs(BILLING) } else { String::new() };
        let payload = json!({ "success": true, "more": canary }).to_string();
        let connection = connect(move |line| {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["PUB", _, reply, _] => Reply::Write(format!("MSG {reply} 1 {}\r\n{payload}\r\n", payload.len())),
                _ => Reply::Default,
            }
        });
        tenant_runs[ORDERS].sessions[0].connection = Some(connection.await);
        let answered = Answered::default();
        attack_stream_of(&run, &mut tenant_runs[ORDERS].sessions[0], BILLING, &answered).await;
        let by = answered.borrow().values().flatten().map(|(by, _)| *by).collect();
        (checks(run).iter().map(|check| check.outcome).max(), by)
    }

    #[tokio::test]
    async fn an_answer_about_anothers_stream_is_a_leak_if_it_can_be_no_other_stream() {
        assert_eq!(asked(true, false).await, (Some(Outcome::Leak), Vec::new()));
        assert_eq!(asked(false, true).await.0, Some(Outcome::Leak));
        let (recorded, by) = asked(false, false).await;
        assert!(recorded.is_none() && by.contains(&ORDERS), "what happens to the stream decides: {recorded:?} {by:?}");
    }
}
