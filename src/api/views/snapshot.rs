//! The whole host in one answer.

use serde::{Deserialize, Serialize};

use super::{Emperor, Host, NotStarted, Operation, Totals, Vassal};

/// `GET /v1/snapshot`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Another one whenever a state or a counter has changed; the `ETag` without its quotes. Memory alone makes none.
    pub revision: String,
    /// The rest.
    #[serde(flatten)]
    pub body: SnapshotBody,
}

/// A snapshot without its revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotBody {
    /// The host.
    pub host: Host,
    /// The emperor.
    pub emperor: Emperor,
    /// The sum over all vassals.
    pub totals: Totals,
    /// The vassals by name. Tracebacks are left out.
    pub vassals: Vec<SnapshotVassal>,
    /// Files that are not started, each with the reason.
    pub not_started: Vec<NotStarted>,
    /// Operations that have not ended.
    pub operations: Vec<Operation>,
}

/// A vassal in the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotVassal {
    /// What the list tells; `reason` counts no seconds: see `next_try`.
    #[serde(flatten)]
    pub vassal: Vassal,
    /// The generation that serves.
    pub generation: u64,
}
