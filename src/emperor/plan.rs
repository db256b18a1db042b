//! What the emperor means to do: with each vassal, and by which rules.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backoff::BackOff;
use crate::pace::Pace;
use crate::tick::Tick;
use crate::wire::message::OperationId;

/// What is going on with a vassal, and what is to happen next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plan {
    /// The file is gone: end, then forget the vassal.
    pub(super) removed: bool,
    /// Its file has another name now, as its successor's: it serves until that one does.
    #[serde(default)]
    pub(super) successor: Option<String>,
    /// Its file is not there, which is not acted on while it has a successor.
    #[serde(default)]
    pub(super) gone: bool,
    /// Its sockets are another vassal's, too: it leaves their files where they are.
    #[serde(default)]
    pub(super) shares: bool,
    /// Its file has to be looked at again once its instance is known.
    #[serde(default)]
    pub(super) look_again: bool,
    /// Its instance began with a file in another directory.
    #[serde(default)]
    pub(super) moved: bool,
    /// An operator stopped it.
    pub(super) stopped: bool,
    /// It stopped because it had nothing to do: a change of its file starts it again.
    #[serde(default)]
    pub(super) by_itself: bool,
    /// Its instance ends so that it sleeps.
    #[serde(default)]
    pub(super) asleep: bool,
    /// It served until it died: it may overtake others that wait for a place.
    pub(super) urgent: bool,
    /// Whether it loads.
    pub(super) loading: bool,
    /// Until when it holds a place among those that load.
    pub(super) place: Option<Tick>,
    /// A reload that waits for a place.
    pub(super) reload: Option<OperationId>,
    /// A re-execution of the master that waits for a place.
    pub(super) reexec: Option<OperationId>,
    /// What ends when the instance is ready.
    pub(super) start: Option<OperationId>,
    /// What ends when the instance is gone.
    pub(super) stop: Option<OperationId>,
    /// What ends when the replacement is ready.
    pub(super) replace: Option<OperationId>,
    /// Reloads that the instance began by itself: its id and ours.
    pub(super) own_reloads: Vec<(OperationId, OperationId)>,
    /// How often such a reload needs another instance.
    #[serde(default)]
    pub(super) own_replacements: Pace,
}

/// What the operator decided for the whole fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How long vassals that failed rest.
    pub back_off: BackOff,
    /// What a stopping vassal gets before it is killed, at most.
    pub mercy: Duration,
    /// The same where the emperor itself stops.
    pub end_mercy: Duration,
    /// What a vassal may take between two signs of life, from the first one on; zero: nobody looks.
    pub heartbeat: Duration,
    /// How many vassals may load at the same time.
    pub places: usize,
    /// Milliseconds from the monotonic clock's zero to the epoch's.
    pub epoch_offset_ms: u64,
    /// Whether vassals run as the owners of their files.
    pub tyrant: bool,
    /// What API clients read of the vassals' output has no query strings.
    pub redact_queries: bool,
    /// Any number: spreads the back-off of vassals that failed together.
    pub seed: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            back_off: BackOff { first: Duration::from_secs(1), longest: Duration::from_secs(180) },
            mercy: Duration::from_secs(30),
            end_mercy: Duration::from_secs(30),
            heartbeat: Duration::from_secs(30),
            places: 4,
            epoch_offset_ms: 0,
            tyrant: false,
            redact_queries: false,
            seed: 0,
        }
    }
}
