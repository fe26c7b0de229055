//! Reading the answers that others get, and forging them.

use super::{Attempt, Deed, Probe, must_be_refused};
use crate::model::Inbox;
use crate::verify::run::{Side, Stage, each};

pub const PROBE: Probe = Probe {
    id: "inboxes",
    proves: "nobody may read or forge the answers that another user gets",
    run: |stage, sides| Box::pin(run(stage, sides)),
};

async fn run<'p>(stage: &Stage<'p>, sides: &mut [Side<'p>]) {
    let token = stage.token();
    each(sides, usize::MAX, async |side| {
        let private = side.tenant.users.iter().all(|u| u.inbox == Inbox::Private);
        let mut attempts = Vec::new();
        if private {
            attempts.push(Attempt::new(Deed::Subscribe, "_INBOX.>", None));
            attempts.push(Attempt::new(Deed::Publish, format!("_INBOX.{token}"), None));
        }
        // Inside one's own tenant only its other users' inboxes, which are granted
        // to nobody; a neighbour's are another account's as well.
        let theirs = side.neighbours.iter().flat_map(|n| stage.tenant(*n).users.iter().map(|u| (Some(*n), u)));
        let own = side.tenant.users.iter().map(|u| (None, u));
        for (against, user) in theirs.chain(own).filter(|(_, u)| u.inbox == Inbox::Private) {
            attempts.push(Attempt::new(Deed::Subscribe, format!("{}.>", user.inbox_prefix()), against));
            attempts.push(Attempt::new(Deed::Publish, format!("{}.{token}", user.inbox_prefix()), against));
        }
        must_be_refused(stage, side, &attempts).await;
    })
    .await;
}
