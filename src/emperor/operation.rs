//! Operations: what was asked for, from the request to its end.

use serde::{Deserialize, Serialize};

use super::once::Used;
use crate::wire::failure::Failure;
use crate::wire::message::OperationId;

/// Something that was asked for, from the request to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Its id, from 1.
    pub id: OperationId,
    /// What was asked for.
    pub kind: OperationKind,
    /// The vassal; `None`: the whole fleet.
    pub vassal: Option<String>,
    /// The operation of the whole fleet that this is a part of.
    pub parent: Option<OperationId>,
    /// Who asked, or why: `touched`, `SIGHUP`, `API uid 0`.
    pub why: String,
    /// When it was asked for, milliseconds since the epoch.
    pub asked_epoch_ms: u64,
    /// When it ended, milliseconds since the epoch.
    pub ended_epoch_ms: Option<u64>,
    /// What it has brought into the vassal's log comes after this line.
    #[serde(default)]
    pub log_after: Option<u64>,
    /// The key that it was asked for with.
    #[serde(default)]
    pub key: Option<Used>,
    /// How it ended; `None`: it waits or runs.
    pub ending: Option<Ending>,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    /// Start a stopped or resting vassal.
    Start,
    /// Stop a vassal and keep it stopped.
    Stop,
    /// Bring up a new generation.
    Reload,
    /// Re-execute the binary: a master's, or the emperor's and then every master's.
    Upgrade,
    /// Put a vassal to sleep.
    Sleep,
    /// Wake a vassal.
    Wake,
    /// End the back-off of resting vassals.
    #[serde(alias = "clearbackoff")]
    ClearBackOff,
    /// Look at the directories.
    Rescan,
    /// Start a new instance beside the running one.
    Restart,
    /// Run another number of workers.
    Scale,
    /// Log more, or less.
    LogLevel,
    /// Write down where the threads of a worker are.
    Stacks,
    /// Kill the worker that runs a request.
    KillRequest,
}

impl OperationKind {
    /// The word for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Reload => "reload",
            Self::Upgrade => "upgrade",
            Self::Sleep => "sleep",
            Self::Wake => "wake",
            Self::ClearBackOff => "end of back-off",
            Self::Rescan => "rescan",
            Self::Restart => "restart",
            Self::Scale => "scaling",
            Self::LogLevel => "log level",
            Self::Stacks => "stacks",
            Self::KillRequest => "kill of a request",
        }
    }

    /// Whether it ends as it begins.
    pub(super) const fn is_quick(self) -> bool {
        matches!(self, Self::ClearBackOff | Self::Rescan)
    }
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// What was asked for is done (start, stop, upgrade).
    Done,
    /// The new generation serves.
    Swapped,
    /// The new generation could not be brought up; the old one serves on.
    RolledBack(Failure),
    /// The new generation was not ready in time; the old one serves on.
    TimedOut,
    /// A later request took its place.
    Superseded,
    /// It could not be done.
    Failed(Failure),
}
