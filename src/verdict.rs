//! What a proof amounts to.

use serde::Serialize;

use crate::error::Exit;

/// What it amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything was tried and nothing leaked.
    Isolated,
    /// Something leaked.
    Leaky,
    /// Nothing leaked, and not everything could be tried.
    Inconclusive,
}

impl Verdict {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Isolated => "isolated",
            Self::Leaky => "leaky",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// With which exit code a command says it.
    pub fn exit(self) -> Exit {
        match self {
            Self::Isolated => Exit::Ok,
            Self::Leaky => Exit::Found,
            Self::Inconclusive => Exit::Unavailable,
        }
    }
}
