//! A queue in an importing account takes messages from the exporter's workers.

use super::{Attempt, Deed, Probe, must_be_refused};
use crate::model::ShareKind;
use crate::verify::run::{Side, Stage, each};

pub const PROBE: Probe = Probe {
    id: "queues",
    proves: "nobody joins a queue on another tenant's subject, shared or not",
    run: |stage, sides| Box::pin(run(stage, sides)),
};

async fn run<'p>(stage: &Stage<'p>, sides: &mut [Side<'p>]) {
    each(sides, usize::MAX, async |side| {
        // Whatever the exporter's workers may have called theirs, of one token or more.
        let queues = [stage.token(), format!("{}.a.b", stage.token())];
        let join = |subject: &str, other| queues.clone().map(|q| Attempt::new(Deed::Join(q), subject, other));
        let mut attempts = Vec::new();
        for other in side.neighbours.clone() {
            let tenant = stage.tenant(other);
            attempts.extend(tenant.subjects.iter().flat_map(|s| join(s.as_str(), Some(other))));
            let shared = side.tenant.imports.iter().filter(|i| i.kind == ShareKind::Stream && i.from == tenant.name);
            attempts.extend(shared.flat_map(|i| join(i.subject.as_str(), Some(other))));
        }
        must_be_refused(stage, side, &attempts).await;
    })
    .await;
}
