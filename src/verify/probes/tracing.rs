//! Message tracing tells who would get a message, and through what.

use super::Probe;
use crate::verify::expected::{concrete, may_publish};
use crate::verify::run::{Side, Stage, each};

pub const PROBE: Probe = Probe {
    id: "tracing",
    proves: "tracing one's own message tells nothing of other tenants' users, and is not sent to their subjects",
    run: |stage, sides| Box::pin(run(stage, sides)),
};

async fn run<'p>(stage: &Stage<'p>, sides: &mut [Side<'p>]) {
    each(sides, usize::MAX, async |side| trace(stage, side).await).await;
}

/// Traced to the sender's own inbox, where it may be sent at all, and to a
/// neighbour's subject.
async fn trace<'p>(stage: &Stage<'p>, side: &mut Side<'p>) {
    let canary = stage.canary(side.index);
    let token = stage.token();
    let shared = side.tenant.exports.iter().map(|e| &e.subject).chain(side.tenant.imports.iter().map(|i| &i.subject));
    // Only a trace is sent, so a real subject can be asked about.
    let subjects: Vec<String> = side.tenant.subjects.iter().chain(shared).map(|s| concrete(s, &token)).collect();
    let own = stage.free_subjects(side.index).map(|s| concrete(s, &token));
    let own: Vec<String> = own.filter(|s| stage.may_speak(side.index, s)).collect();
    let theirs: Vec<String> =
        side.neighbours.iter().flat_map(|n| stage.free_subjects(*n)).map(|s| concrete(s, &token)).collect();
    let mut traced = 0;
    for member in &mut side.members {
        let Some(connection) = &mut member.connection else { continue };
        for subject in subjects.iter().filter(|s| may_publish(member.user, s)) {
            for destination in own.iter().filter(|d| may_publish(member.user, d)).chain(&theirs) {
                // Only a trace: the message itself goes nowhere.
                let headers = [("Nats-Trace-Dest", destination.as_str()), ("Nats-Trace-Only", "true")];
                connection.publish_with(subject, &headers, canary.as_bytes());
                traced += 1;
            }
        }
        member.settle(stage).await;
        member.refused();
    }
    let mut events = 0;
    for member in &mut side.members {
        member.settle(stage).await;
        for message in member.heard(stage) {
            let event = message.json();
            let Some(list) = event["events"].as_array() else { continue };
            events += 1;
            for step in list {
                // Connections are named by canaries. Whoever is asked through a share
                // is seen by its account's name, and no further; but a trace can be
                // sent where a share leads, like any message.
                let step = step.to_string();
                for other in stage.named_in(&step).filter(|o| !stage.is_declared(*o, side.index, &message.subject)) {
                    stage.leak(
                        Some(other),
                        Some(side.index),
                        format!("a trace told {} of a connection: {step}", member.user.name),
                    );
                }
            }
        }
    }
    if traced > 0 {
        stage.pass(side.index, format!("{traced} messages traced; {events} reports came, all of its own account"));
    }
}
