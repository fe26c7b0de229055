//! The round that proves all pairs: everybody says something unguessable wherever
//! it may, while everybody listens to all that it may.

use super::Probe;
use crate::subject::Subject;
use crate::verify::expected::{concrete, listed, may_subscribe};
use crate::verify::run::{Member, Side, Stage, each};

pub const PROBE: Probe = Probe {
    id: "canaries",
    proves: "what a tenant publishes, wherever it may, arrives at no other; and its own users hear it",
    run: |stage, sides| Box::pin(run(stage, sides)),
};

async fn run<'p>(stage: &Stage<'p>, sides: &mut [Side<'p>]) {
    each(sides, usize::MAX, async |side| listen(stage, side).await).await;
    each(sides, usize::MAX, async |side| speak(stage, side).await).await;
    // Everything was dealt with before anybody looks, so what has not come by the
    // PONG does not come.
    each(sides, usize::MAX, async |side| look(stage, side).await).await;
}

/// Everybody subscribes to everything that it was granted.
async fn listen<'p>(stage: &Stage<'p>, side: &mut Side<'p>) {
    for member in &mut side.members {
        let Some(connection) = &mut member.connection else { continue };
        connection.refused.clear();
        // Answers are listened to already, and would come twice.
        let inbox = format!("{}.x", member.user.inbox_prefix());
        let is_inbox = |s: &&Subject| Subject::as_the_server_reads(&inbox).is_some_and(|inbox| s.contains(&inbox));
        for subject in listed(&member.user.permissions.subscribe).iter().filter(|s| !is_inbox(s)) {
            connection.subscribe(subject.as_str(), None);
        }
        // And to exactly what others may aim at: a consumer delivers to no less.
        let own = stage.free_subjects(side.index).filter(|s| s.has_wildcard()).map(|s| concrete(s, &stage.token()));
        for subject in own.filter(|s| may_subscribe(member.user, s)) {
            connection.subscribe(&subject, None);
        }
        member.settle(stage).await;
        for words in member.refused() {
            stage.not_run(side.index, format!("{} may not listen where it was granted: {words}", member.user.name));
        }
    }
}

/// Where a user says something: in everything that it may publish to but the
/// server's own spaces, which have their own probes.
fn surfaces(stage: &Stage<'_>, member: &Member<'_>) -> Vec<String> {
    let own = listed(&member.user.permissions.publish).iter().filter(|s| !s.first_token().starts_with(['$', '_']));
    // On a server that is in use, a subject without a wildcard is somebody's real one.
    let free = own.filter(|s| stage.throwaway || s.has_wildcard());
    // Not every way through is as wide as what may be published.
    let deeper = |s: &Subject| {
        let (token, is_open) = (stage.token(), s.as_str().ends_with('>'));
        let at = concrete(s, &token);
        if is_open { vec![format!("{at}.{token}.{token}"), format!("{at}.{token}"), at] } else { vec![at] }
    };
    free.flat_map(deeper).filter(|s| stage.may_speak(member.tenant, s)).collect()
}

pub async fn speak<'p>(stage: &Stage<'p>, side: &mut Side<'p>) {
    let canary = stage.canary(side.index);
    for member in &mut side.members {
        let subjects = surfaces(stage, member);
        let Some(connection) = &mut member.connection else { continue };
        connection.refused.clear();
        for subject in &subjects {
            connection.publish(subject, None, stage.said_on(&canary, subject).as_bytes());
        }
        member.settle(stage).await;
        for words in member.refused() {
            stage.not_run(side.index, format!("{} may not publish where it was granted: {words}", member.user.name));
        }
    }
}

async fn look<'p>(stage: &Stage<'p>, side: &mut Side<'p>) {
    if side.members.iter().all(|m| m.connection.is_none()) {
        return;
    }
    let speaking = side.members.iter().filter(|m| m.connection.is_some());
    let said: Vec<String> = speaking.flat_map(|m| surfaces(stage, m)).collect();
    let (mut heard, mut deaf) = (0, Vec::new());
    for member in &mut side.members {
        if !member.settle(stage).await {
            continue;
        }
        let messages = member.heard(stage);
        let own = |subject: &String| {
            let is_own =
                |m: &crate::verify::wire::Message| m.subject == *subject && stage.is_from(side.index, &m.payload);
            messages.iter().any(is_own)
        };
        let expected: Vec<&String> = said.iter().filter(|s| may_subscribe(member.user, s)).collect();
        let missing = expected.iter().find(|s| stage.is_own_space(side.index, s) && !own(s));
        match missing {
            Some(subject) => deaf.push(format!("{} did not hear its own tenant on {subject}", member.user.name)),
            None => heard += expected.len(),
        }
    }
    if let Some(why) = deaf.into_iter().next() {
        stage.not_run(side.index, why);
    } else if heard > 0 {
        let others = stage.model.tenants.len() - 1;
        stage.pass(side.index, format!("heard its own {heard} times, and nothing undeclared of {others} others"));
    } else if said.is_empty() {
        stage.pass(side.index, "none of its users publishes where it would be somebody's real message");
    } else {
        stage.pass(side.index, "nobody of its own may listen where it speaks; each connection answered afterwards");
    }
}
