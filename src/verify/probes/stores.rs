//! Streams, buckets and object stores that have the same name in every tenant:
//! each must find its own content in it and nobody else's.

use serde_json::json;

use super::{AT_ONCE, Probe, canary_stream};
use crate::verify::expected::may_publish;
use crate::verify::run::{Side, Stage, each};
use crate::verify::wire::{Answer, Request};

pub const STREAMS: Probe = Probe {
    id: "streams",
    proves: "a stream of the same name is another one in every tenant, read by every way there is",
    run: |stage, sides| Box::pin(run(stage, sides, Kind::Stream)),
};

pub const BUCKETS: Probe = Probe {
    id: "buckets",
    proves: "a key-value bucket of the same name is another one in every tenant",
    run: |stage, sides| Box::pin(run(stage, sides, Kind::Bucket)),
};

pub const OBJECTS: Probe = Probe {
    id: "object-stores",
    proves: "an object store of the same name is another one in every tenant",
    run: |stage, sides| Box::pin(run(stage, sides, Kind::ObjectStore)),
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stream,
    Bucket,
    ObjectStore,
}

impl Kind {
    fn stream(self, common: &str) -> String {
        match self {
            Self::Stream => common.to_owned(),
            Self::Bucket => format!("KV_{common}"),
            Self::ObjectStore => format!("OBJ_{common}"),
        }
    }

    fn subject(self, stage: &Stage<'_>, side: &mut Side<'_>) -> Option<String> {
        let common = stage.common();
        let subject = match self {
            Self::Stream => return canary_stream::subject(stage, side, "stored"),
            Self::Bucket => format!("$KV.{common}.key"),
            Self::ObjectStore => format!("$O.{common}.C.chunk"),
        };
        side.manager().is_some_and(|m| may_publish(m.user, &subject)).then_some(subject)
    }
}

async fn run<'p>(stage: &Stage<'p>, sides: &mut [Side<'p>], kind: Kind) {
    let name = kind.stream(&stage.common());
    let made = std::cell::RefCell::new(vec![false; sides.len()]);
    each(sides, AT_ONCE, async |side| {
        let Some(subject) = kind.subject(stage, side) else { return };
        let more = match kind {
            Kind::Stream => json!({}),
            // As client libraries make them.
            Kind::Bucket | Kind::ObjectStore => json!({ "allow_rollup_hdrs": true }),
        };
        let is_made = canary_stream::make(stage, side, &name, &subject, more).await;
        made.borrow_mut()[side.index] = is_made;
    })
    .await;
    each(sides, AT_ONCE, async |side| {
        if made.borrow()[side.index] {
            read(stage, side, &name, kind).await;
        }
    })
    .await;
}

/// By every verb that reads.
async fn read<'p>(stage: &Stage<'p>, side: &mut Side<'p>, name: &str, kind: Kind) {
    let index = side.index;
    let Some(subject) = kind.subject(stage, side) else { return };
    let Some(manager) = side.manager() else { return };
    let asked = [
        Request::empty(format!("$JS.API.STREAM.INFO.{name}")),
        Request::json(format!("$JS.API.STREAM.MSG.GET.{name}"), &json!({ "seq": 1 })),
        Request::json(format!("$JS.API.STREAM.MSG.GET.{name}"), &json!({ "last_by_subj": ">" })),
        Request::json(format!("$JS.API.DIRECT.GET.{name}"), &json!({ "seq": 1 })),
        Request::empty(format!("$JS.API.DIRECT.GET.{name}.{subject}")),
        Request::empty("$JS.API.STREAM.LIST"),
        Request::json(
            format!("$JS.API.CONSUMER.CREATE.{name}.reader"),
            &json!({ "stream_name": name, "config": { "name": "reader", "ack_policy": "none", "inactive_threshold": 60_000_000_000u64 } }),
        ),
    ];
    let answers = manager.ask(stage, &asked).await;
    let state = answers.first().map(Answer::json).unwrap_or_default();
    let messages = state["state"]["messages"].as_u64();
    let mut own = 0;
    for answer in &answers {
        if let Answer::Message(message) = answer {
            own += usize::from(stage.judge_message(index, "its manager", message).contains(&index));
        }
    }
    let next = manager.pull(stage, name, "reader").await;
    own += usize::from(next.is_some_and(|m| stage.is_from(index, &m.payload)));
    canary_stream::delete(stage, manager, name).await;
    match messages {
        Some(1) if own > 0 => stage.pass(index, format!("read its own canary by {own} ways, and no other's")),
        Some(n) if n > 1 => stage.leak(None, Some(index), format!("{name} holds {n} messages, of which it wrote one")),
        _ => stage.not_run(index, format!("its own canary could not be read back: {state}")),
    }
}
