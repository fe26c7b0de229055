//! Finding other tenants' services.

use super::{Attempt, Deed, Probe, must_be_refused};
use crate::verify::run::{Side, Stage, each};

pub const PROBE: Probe = Probe {
    id: "discovery",
    proves: "service discovery does not answer about other tenants",
    run: |stage, sides| Box::pin(run(stage, sides)),
};

async fn run<'p>(stage: &Stage<'p>, sides: &mut [Side<'p>]) {
    each(sides, usize::MAX, async |side| {
        let asked = ["$SRV.PING", "$SRV.INFO", "$SRV.STATS"].map(|s| Attempt::new(Deed::Publish, s, None));
        let answered = ["$SRV.PING", "$SRV.PING.*", "$SRV.INFO.>"].map(|s| Attempt::new(Deed::Subscribe, s, None));
        must_be_refused(stage, side, &[asked, answered].concat()).await;
    })
    .await;
}
