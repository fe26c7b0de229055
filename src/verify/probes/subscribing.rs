//! Wildcards, other tenants' subjects, and the server's own spaces.

use super::{Attempt, Deed, Probe, must_be_refused};
use crate::verify::run::{Side, Stage, each};

pub const PROBE: Probe = Probe {
    id: "subscribing",
    proves: "nobody may listen beyond its own subjects, not by a wildcard either",
    run: |stage, sides| Box::pin(run(stage, sides)),
};

/// Patterns that reach into everything or into what the server keeps for itself.
const WIDE: [&str; 14] = [
    ">",
    "*",
    "*.>",
    "*.*",
    "$SYS.>",
    "$JS.>",
    "$JS.API.>",
    "$KV.>",
    "$O.>",
    "_R_.>",
    "$SRV.>",
    "$MQTT.>",
    "$NRG.>",
    "$JSC.>",
];

async fn run<'p>(stage: &Stage<'p>, sides: &mut [Side<'p>]) {
    each(sides, usize::MAX, async |side| {
        let mut attempts: Vec<Attempt> = WIDE.map(|w| Attempt::new(Deed::Subscribe, w, None)).into();
        for other in side.neighbours.clone() {
            let subjects = stage.tenant(other).subjects.iter();
            attempts.extend(subjects.map(|s| Attempt::new(Deed::Subscribe, s.as_str(), Some(other))));
        }
        must_be_refused(stage, side, &attempts).await;
    })
    .await;
}
