//! Publishing under another tenant's name and into the server's own spaces.

use super::{Attempt, Deed, Probe, must_be_refused};
use crate::verify::expected::concrete;
use crate::verify::run::{Side, Stage, each};

pub const PROBE: Probe = Probe {
    id: "publishing",
    proves: "nobody may publish beyond its own subjects",
    run: |stage, sides| Box::pin(run(stage, sides)),
};

async fn run<'p>(stage: &Stage<'p>, sides: &mut [Side<'p>]) {
    let (token, common) = (stage.token(), stage.common());
    each(sides, usize::MAX, async |side| {
        let reserved = [
            format!("{token}.nobodys"),
            format!("$KV.{common}.key"),
            format!("$O.{common}.C.chunk"),
            format!("$MQTT.msgs.{token}"),
            format!("$NRG.{token}"),
            format!("_R_.{token}.x"),
            format!("$SYS.ACCOUNT.{token}.CONNECT"),
        ];
        let mut attempts: Vec<Attempt> = reserved.map(|s| Attempt::new(Deed::Publish, s, None)).into();
        for other in side.neighbours.clone() {
            let subjects = stage.free_subjects(other);
            attempts.extend(subjects.map(|s| Attempt::new(Deed::Publish, concrete(s, &token), Some(other))));
        }
        must_be_refused(stage, side, &attempts).await;
    })
    .await;
}
