//! The reply subject of a message is never checked: whoever answers writes where
//! the asker likes. Inside one account that is so; it must not reach another.

use super::Probe;
use crate::verify::expected::{concrete, listed, may_publish};
use crate::verify::run::{Side, Stage, each};
use crate::verify::wire::Connection;

pub const PROBE: Probe = Probe {
    id: "replies",
    proves: "an answer that is led to another tenant's subject does not arrive there",
    run: |stage, sides| Box::pin(run(stage, sides)),
};

async fn run<'p>(stage: &Stage<'p>, sides: &mut [Side<'p>]) {
    each(sides, usize::MAX, async |side| ask(stage, side).await).await;
    each(sides, usize::MAX, async |side| answer(stage, side).await).await;
}

/// Every user that may publish asks for an answer to a neighbour's subject, and
/// to its own inbox as the control.
async fn ask<'p>(stage: &Stage<'p>, side: &mut Side<'p>) {
    let theirs: Vec<String> =
        side.neighbours.iter().flat_map(|n| stage.free_subjects(*n)).map(|s| concrete(s, &stage.token())).collect();
    let canary = stage.canary(side.index);
    for member in &mut side.members {
        let Some(subject) = own_subject(stage, member.user, side.index) else { continue };
        let control = member.can_ask.then(|| member.reply_to("control"));
        let Some(connection) = &mut member.connection else { continue };
        for reply in theirs.iter().chain(&control) {
            connection.publish(&subject, Some(reply), canary.as_bytes());
        }
        member.settle(stage).await;
    }
}

/// A subject of this run in the tenant's own space that a user may publish to.
pub(super) fn own_subject(stage: &Stage<'_>, user: &crate::model::User, place: usize) -> Option<String> {
    let free = stage.free_subjects(place);
    let spoken = free.map(|s| concrete(s, &stage.token())).filter(|s| stage.may_speak(place, s));
    spoken.into_iter().find(|s| may_publish(user, s))
}

/// Every user that heard a question answers it, wherever the answer goes.
async fn answer<'p>(stage: &Stage<'p>, side: &mut Side<'p>) {
    let canary = stage.canary(side.index);
    let mut answered = 0;
    for member in &mut side.members {
        if !member.settle(stage).await {
            continue;
        }
        let asked = member.heard(stage);
        let answers =
            member.user.permissions.responses.is_some() || !listed(&member.user.permissions.publish).is_empty();
        let Some(connection) = member.connection.as_mut().filter(|_| answers) else { continue };
        for reply in asked.iter().filter_map(|m| m.reply.as_deref()).filter(|r| !r.starts_with('$')) {
            connection.publish(reply, None, canary.as_bytes());
            answered += 1;
        }
        // What it may not answer is refused, and that is as good.
        member.settle(stage).await;
        member.refused();
    }
    if answered == 0 {
        return;
    }
    let control = side.members.iter_mut().filter_map(|m| m.connection.as_mut());
    let arrived = control.flat_map(Connection::late_answers).any(|m| stage.is_from(side.index, &m.payload));
    let control = if arrived { "the answers to its own inboxes came" } else { "its own users may not answer" };
    stage.pass(side.index, format!("{answered} questions answered, some to others' subjects; {control}"));
}
