//! One change of a plan: the stream or consumer, the action, and how both are shown.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::model::jetstream::StreamKind;
use crate::model::jetstream::difference::Field;

/// One difference between the registry and the server.
#[derive(Debug, Clone)]
pub struct Change {
    /// Kind of the stream or consumer.
    pub kind: Kind,
    /// Name of the stream on the server.
    pub stream: String,
    /// Name of the consumer. `None` if the stream itself differs.
    pub consumer: Option<String>,
    /// What to do about it.
    pub action: Action,
    /// Its side effects: messages that are dropped or copied again, unmanaged consumers that are
    /// deleted with a stream. `None`: none.
    pub note: Option<String>,
}

/// How the note of a change begins that the server will refuse.
pub const REFUSED: &str = "the server will refuse it: ";

impl Change {
    /// Whether it is known that the server will refuse it.
    pub fn is_refused(&self) -> bool {
        self.note.as_ref().is_some_and(|note| note.starts_with(REFUSED))
    }

    /// The change as it was carried out. `deleted`: the number of messages that went with a stream.
    pub fn having_deleted(mut self, deleted: Option<u64>) -> Self {
        match (&mut self.action, deleted) {
            (Action::Delete { messages }, Some(deleted)) => *messages = deleted,
            (Action::Replace(NotInPlace { differs, .. }), Some(deleted)) => differs.messages = deleted,
            _ => {}
        }
        self
    }
}

/// The action for a difference.
#[derive(Debug, Clone)]
pub enum Action {
    /// Create it.
    Create,
    /// Update it in place.
    Update(Differs),
    /// Delete it and create it again, as `--replace` allows.
    Replace(NotInPlace),
    /// Blocked: it cannot be updated in place, and `--replace` does not name it or an
    /// unmanaged stream has its subjects, so that it could not be created again.
    Refused {
        /// The differences that cannot be updated in place.
        not_in_place: NotInPlace,
        /// The unmanaged stream that has its subjects. `None` if there is none.
        blocked_by: Option<String>,
    },
    /// Blocked: somebody else changed it, the update would drop messages, and `--replace` does not name it.
    Withheld(Differs),
    /// Blocked: a consumer is to give subjects up, and its stream cannot be changed.
    Waits(Differs),
    /// Blocked: it cannot be created, because an unmanaged stream has its subjects.
    SubjectsTaken {
        /// Name of the unmanaged stream.
        by: String,
    },
    /// Delete it, as `--delete` asks.
    Delete {
        /// Number of messages that the stream holds, or that the consumer has processed.
        messages: u64,
    },
    /// No action: it was created from the registry and is no longer in it.
    Undeclared {
        /// Number of messages that the stream holds, or that the consumer has processed.
        messages: u64,
    },
    /// No action: it is as declared, and somebody has paused it.
    Paused {
        /// Until when.
        until: String,
    },
    /// No action: it was not created from the registry.
    Unmanaged {
        /// Number of messages that the stream holds, or that the consumer has processed.
        messages: u64,
    },
}

/// The differences of a stream or consumer that exists on the server.
#[derive(Debug, Clone)]
pub struct Differs {
    /// The keys that differ, with both values.
    pub fields: Vec<Field>,
    /// Whether it was changed by another client since it was applied from the registry.
    pub drift: bool,
    /// Number of messages that the stream holds, or that the consumer has processed.
    pub messages: u64,
}

/// Differences that the server cannot update in place.
#[derive(Debug, Clone)]
pub struct NotInPlace {
    /// The differences.
    pub differs: Differs,
    /// Why the server cannot update them in place.
    pub reason: String,
}

/// The kind of thing that a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A stream.
    Stream,
    /// A consumer.
    Consumer,
    /// A key-value bucket.
    Bucket,
    /// An object store.
    ObjectStore,
}

impl Kind {
    /// The kind of a stream that is not in the registry, by its name's prefix.
    pub fn of_stream_name(stream: &str) -> Self {
        match stream {
            _ if stream.starts_with("KV_") => Self::Bucket,
            _ if stream.starts_with("OBJ_") => Self::ObjectStore,
            _ => Self::Stream,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Consumer => "consumer",
            Self::Bucket => "bucket",
            Self::ObjectStore => "object store",
        }
    }
}

impl From<StreamKind> for Kind {
    fn from(kind: StreamKind) -> Self {
        match kind {
            StreamKind::Stream => Self::Stream,
            StreamKind::Bucket => Self::Bucket,
            StreamKind::ObjectStore => Self::ObjectStore,
        }
    }
}

impl Action {
    /// Whether `apply` carries it out.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Create | Self::Update(_) | Self::Replace(_) | Self::Delete { .. })
    }

    /// Whether the server does not match the registry while it is not carried out.
    pub fn is_open(&self) -> bool {
        self.is_done() || self.is_blocked()
    }

    /// Whether it has to be carried out, and cannot be.
    fn is_blocked(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Withheld(_) | Self::Waits(_) | Self::SubjectsTaken { .. })
    }

    /// Its name in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update(_) => "update",
            Self::Replace(_) => "replace",
            Self::Refused { .. } | Self::Withheld(_) | Self::Waits(_) | Self::SubjectsTaken { .. } => "blocked",
            Self::Delete { .. } => "delete",
            Self::Undeclared { .. } => "undeclared",
            Self::Paused { .. } => "paused",
            Self::Unmanaged { .. } => "foreign",
        }
    }

    fn sign(&self) -> char {
        match self {
            Self::Create => '+',
            Self::Update(_) => '~',
            Self::Replace(_) => '±',
            Self::Delete { .. } => '-',
            Self::Refused { .. } | Self::Withheld(_) | Self::Waits(_) | Self::SubjectsTaken { .. } => '!',
            Self::Undeclared { .. } | Self::Paused { .. } | Self::Unmanaged { .. } => '?',
        }
    }

    fn not_in_place(&self) -> Option<&NotInPlace> {
        match self {
            Self::Replace(refused) | Self::Refused { not_in_place: refused, .. } => Some(refused),
            _ => None,
        }
    }

    fn differs(&self) -> Option<&Differs> {
        match self {
            Self::Update(differs) | Self::Withheld(differs) | Self::Waits(differs) => Some(differs),
            other => other.not_in_place().map(|n| &n.differs),
        }
    }

    /// The keys that differ.
    pub fn fields(&self) -> &[Field] {
        self.differs().map_or(&[], |d| &d.fields)
    }

    /// Why the server cannot update it in place. `None` if it can.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Withheld(_) => Some("somebody else changed it, and messages would be dropped"),
            Self::Waits(_) => Some("its stream is not changed, and the filters of its consumers not before it"),
            other => other.not_in_place().map(|n| n.reason.as_str()),
        }
    }

    /// The unmanaged stream that has its subjects. `None` if it is not blocked by one.
    pub fn blocked_by(&self) -> Option<&str> {
        match self {
            Self::Refused { blocked_by, .. } => blocked_by.as_deref(),
            Self::SubjectsTaken { by } => Some(by),
            _ => None,
        }
    }

    fn messages(&self) -> Option<u64> {
        match self {
            Self::Delete { messages } | Self::Undeclared { messages } | Self::Unmanaged { messages } => Some(*messages),
            other => other.differs().map(|d| d.messages),
        }
    }

    /// Messages that the action deletes, or would delete. `None` for an update, which
    /// deletes nothing but what its note says.
    fn losses(&self) -> Option<u64> {
        self.messages().filter(|_| !matches!(self, Self::Update(_) | Self::Waits(_)))
    }
}

impl fmt::Display for Change {
    /// Writes one line: `~ stream EVENTS, changed by hand`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, stream, consumer, action, note: _ } = self;
        write!(f, "{} {} ", action.sign(), kind.as_str())?;
        match (consumer, kind) {
            (Some(consumer), _) => write!(f, "{stream}/{consumer}")?,
            (None, Kind::Bucket) => f.write_str(stream.strip_prefix("KV_").unwrap_or(stream))?,
            (None, Kind::ObjectStore) => f.write_str(stream.strip_prefix("OBJ_").unwrap_or(stream))?,
            (None, _) => f.write_str(stream)?,
        }
        if action.differs().is_some_and(|d| d.drift) {
            f.write_str(", changed by hand")?;
        }
        let plural = |n: u64| if n == 1 { "1 message".to_owned() } else { format!("{n} messages") };
        match (action.losses(), consumer) {
            (Some(messages), None) => write!(f, ", holds {}", plural(messages))?,
            (Some(messages), Some(_)) if action.is_open() => write!(f, ", has dealt with {}", plural(messages))?,
            _ => {}
        }
        match action {
            Action::Undeclared { .. } => f.write_str(": no longer in the registry, left alone"),
            Action::Unmanaged { .. } => f.write_str(": not in the registry, left alone"),
            Action::Paused { until } => write!(f, ": paused until {until}, left so"),
            _ => Ok(()),
        }
    }
}

/// The JSON form of a change.
#[derive(Serialize)]
struct ChangeJson<'c> {
    action: &'static str,
    kind: Kind,
    stream: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer: Option<&'c str>,
    drift: bool,
    fields: &'c [Field],
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked_by: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<u64>,
}

impl Serialize for Change {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let action = &self.action;
        let json = ChangeJson {
            action: action.word(),
            kind: self.kind,
            stream: &self.stream,
            consumer: self.consumer.as_deref(),
            drift: action.differs().is_some_and(|d| d.drift),
            fields: action.fields(),
            reason: action.reason(),
            note: self.note.as_deref(),
            blocked_by: action.blocked_by(),
            messages: action.messages(),
        };
        json.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(kind: Kind, stream: &str, consumer: Option<&str>, action: Action) -> Change {
        Change { kind, stream: stream.into(), consumer: consumer.map(Into::into), action, note: None }
    }

    fn differs(drift: bool, messages: u64) -> Differs {
        Differs { fields: Vec::new(), drift, messages }
    }

    fn refused() -> NotInPlace {
        NotInPlace { differs: differs(true, 7), reason: "storage cannot be changed".into() }
    }

    #[test]
    fn a_line_says_what_is_done_to_what_and_what_it_costs() {
        let cases = [
            (change(Kind::Stream, "S", None, Action::Create), "+ stream S"),
            (change(Kind::Bucket, "KV_b", None, Action::Create), "+ bucket b"),
            (change(Kind::Bucket, "KV_KV_b", None, Action::Create), "+ bucket KV_b"),
            (change(Kind::ObjectStore, "OBJ_OBJ_o", None, Action::Create), "+ object store OBJ_o"),
            (change(Kind::Stream, "KV", None, Action::Delete { messages: 1 }), "- stream KV, holds 1 message"),
            (
                change(Kind::Consumer, "S", Some("c"), Action::Delete { messages: 2 }),
                "- consumer S/c, has dealt with 2 messages",
            ),
            (
                change(Kind::Consumer, "S", Some("c"), Action::Undeclared { messages: 2 }),
                "? consumer S/c: no longer in the registry, left alone",
            ),
            (
                change(Kind::Stream, "S", None, Action::Unmanaged { messages: 0 }),
                "? stream S, holds 0 messages: not in the registry, left alone",
            ),
            (change(Kind::Stream, "S", None, Action::Update(differs(true, 9))), "~ stream S, changed by hand"),
            (
                change(Kind::Stream, "S", None, Action::Replace(refused())),
                "± stream S, changed by hand, holds 7 messages",
            ),
            (change(Kind::Stream, "S", None, Action::SubjectsTaken { by: "X".into() }), "! stream S"),
        ];
        for (change, line) in cases {
            assert_eq!(change.to_string(), line);
        }
    }

    #[test]
    fn json_names_what_there_is_and_leaves_out_the_rest() {
        let json_of = |action| serde_json::to_value(change(Kind::Stream, "S", None, action)).expect("json");
        assert_eq!(
            json_of(Action::Create),
            json!({ "action": "create", "kind": "stream", "stream": "S", "drift": false, "fields": [] })
        );
        let blocked = json_of(Action::Refused { not_in_place: refused(), blocked_by: Some("X".into()) });
        assert_eq!(blocked["action"], "blocked");
        assert_eq!(blocked["reason"], "storage cannot be changed");
        assert_eq!((blocked["blocked_by"].as_str(), blocked["messages"].as_u64()), (Some("X"), Some(7)));
        assert_eq!(json_of(Action::SubjectsTaken { by: "X".into() })["blocked_by"], "X");
        assert_eq!(json_of(Action::Unmanaged { messages: 3 })["action"], "foreign");
    }

    #[test]
    fn only_what_apply_does_or_cannot_do_is_open() {
        let open = |action: Action| (action.is_done(), action.is_open());
        assert_eq!(open(Action::Create), (true, true));
        assert_eq!(open(Action::Refused { not_in_place: refused(), blocked_by: None }), (false, true));
        assert_eq!(open(Action::Withheld(differs(true, 7))), (false, true));
        assert_eq!(open(Action::Undeclared { messages: 1 }), (false, false));
        assert_eq!(open(Action::Unmanaged { messages: 1 }), (false, false));
    }
}
