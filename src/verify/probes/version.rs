//! Published holes of nats-server that let one tenant reach another.

use super::Probe;
use crate::live::locate::Version;
use crate::verify::run::{Side, Stage};

pub const PROBE: Probe = Probe {
    id: "version",
    proves: "no published advisory about reaching other tenants applies to this server",
    run: |stage, sides| Box::pin(run(stage, sides)),
};

async fn run<'p>(stage: &Stage<'p>, sides: &mut [Side<'p>]) {
    let said = stage.info().version;
    match Version::parse(&said) {
        None => stage.not_run_for_anybody(&format!("the server says it is version {said:?}")),
        Some(version) if version.is_safe() => {
            sides
                .iter()
                .for_each(|s| stage.pass(s.index, format!("{version}; the floor is 2.14.3, 2.12.12 on its line")));
        }
        Some(version) => {
            stage.leak(None, None, format!("nats-server {version} has published holes; run 2.14.3 or later"));
        }
    }
}
