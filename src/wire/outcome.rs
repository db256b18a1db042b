//! How an operation of an instance ended.

use serde::{Deserialize, Serialize};

use super::failure::Failure;

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// What was asked for, other than a new generation, is done.
    Done,
    /// It cannot be done; all is as it was.
    Refused(Failure),
    /// The new generation serves.
    Swapped,
    /// The new generation could not be brought up; the old one serves on.
    RolledBack(Failure),
    /// The new generation was not ready in time; the old one serves on.
    TimedOut,
    /// The change needs what a running instance cannot do to itself (uid, limits, privileged sockets): the emperor
    /// starts a replacement beside it.
    NeedsReplace {
        /// Which options changed.
        reason: String,
    },
    /// A later request took its place.
    Superseded,
}
