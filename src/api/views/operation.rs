//! Operations: what was asked for, and how it ended.

use serde::{Deserialize, Serialize};

use crate::wire::failure::Failure;

/// `GET /v1/operations`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationList {
    /// Oldest first.
    pub operations: Vec<Operation>,
}

/// `GET /v1/operations/{id}`: something that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Its number.
    pub id: u64,
    /// Its address in the API.
    pub link: String,
    /// What was asked for, as [`crate::emperor::fleet::OperationKind`] has it in JSON.
    pub kind: String,
    /// The vassal; `None`: the whole fleet.
    pub vassal: Option<String>,
    /// The operation that this is a part of.
    pub parent: Option<u64>,
    /// Who asked, or why.
    pub why: String,
    /// When it was asked for, RFC 3339.
    pub asked: String,
    /// When it ended, RFC 3339.
    pub ended: Option<String>,
    /// Where what it brought into the vassal's log is.
    #[serde(default)]
    pub log: Option<String>,
    /// How it stands.
    pub outcome: Outcome,
    /// Why it did not work.
    pub failure: Option<Failure>,
}

/// How an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It waits or runs.
    Running,
    /// What was asked for is done.
    Done,
    /// The new generation serves.
    Swapped,
    /// The new generation could not be brought up; the old one serves on.
    RolledBack,
    /// The new generation was not ready in time; the old one serves on.
    TimedOut,
    /// A later request took its place.
    Superseded,
    /// It could not be done.
    Failed,
}

impl Outcome {
    /// The words for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Swapped => "swapped",
            Self::RolledBack => "rolled back",
            Self::TimedOut => "timed out",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
        }
    }
}
