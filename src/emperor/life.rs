//! One life of a vassal: a master process from its launch until everything that came of it is gone.

use serde::{Deserialize, Serialize};

use super::fleet::FileIdentity;
use super::foreign::Foreign;
use crate::config::diagnostic::Diagnostic;
use crate::config::instance::InstanceSpec;
use crate::tick::Tick;
use crate::wire::companion::Companion;
use crate::wire::failure::Failure;

/// Names a life; never used twice by one emperor.
pub type LifeId = u64;

/// A master process, or what it left behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Its id.
    pub id: LifeId,
    /// The master's pid, which is also its process group's; `None` until it is launched.
    pub pid: Option<u32>,
    /// Whom it runs as, once it has said its name.
    #[serde(default)]
    pub uid: Option<u32>,
    /// When it was launched (monotonic).
    pub started: Tick,
    /// When it was launched, milliseconds since the epoch.
    pub started_epoch_ms: u64,
    /// When it was ready first (monotonic).
    pub ready: Option<Tick>,
    /// Whether it has an application; `false`: it answers 500.
    pub app: bool,
    /// Whether it has answered a request.
    pub loyal: bool,
    /// When it first said so, milliseconds since the epoch.
    #[serde(default)]
    pub loyal_epoch_ms: Option<u64>,
    /// Whether its master was stopped by a signal, and does nothing until it goes on.
    #[serde(default)]
    pub halted: bool,
    /// Where it comes from.
    #[serde(default)]
    pub origin: Origin,
    /// The version that it announced.
    pub version: Option<String>,
    /// Another program leads it; `None`: ours.
    #[serde(default)]
    pub foreign: Option<Foreign>,
    /// When it last said that it lives (`heartbeat`), milliseconds since the epoch.
    #[serde(default)]
    pub heartbeat_epoch_ms: Option<u64>,
    /// When it was asked to end, or died, milliseconds since the epoch.
    #[serde(default)]
    pub leaving_epoch_ms: Option<u64>,
    /// Until when it is to say so again.
    #[serde(default)]
    pub(super) beat_until: Option<Tick>,
    /// It has not, and what it may have said meanwhile is still to be read.
    #[serde(default)]
    pub(super) is_silent: bool,
    /// What it does before it goes on: a hook, or a wait.
    #[serde(default)]
    pub doing: Option<String>,
    /// How far its end has come; `None`: it is to stay.
    pub(super) leaving: Option<Leaving>,
    /// Whether the master was reaped; what remains is its children.
    pub(super) reaped: bool,
    /// The file as it was given to it at its launch.
    #[serde(default)]
    pub(super) file: Option<FileIdentity>,
    /// It forked without end, which was known after so many milliseconds, and was killed for it.
    #[serde(default)]
    pub(super) fork_bomb_ms: Option<u64>,
    /// What it failed with.
    pub(super) failure: Option<Box<Failure>>,
    /// Why it has fewer workers than it is to have.
    #[serde(default)]
    pub shortfall: Option<Box<Failure>>,
    /// What lives beside its workers.
    #[serde(default)]
    pub companions: Vec<Companion>,
    /// The configuration of a replacement that has not taken over yet.
    pub(super) configured: Option<(Box<InstanceSpec>, Vec<Diagnostic>)>,
}

/// Where a life comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// This emperor launched it.
    #[default]
    Launched,
    /// An emperor that died launched it; it is to call until then, and serves on meanwhile.
    Awaited(Tick),
    /// The same; it has not called in time.
    Overdue,
    /// An emperor that died launched it, and it is ours now; but it is not our child: how it ends is not known.
    Adopted,
}

/// How far the end of a life has come, each with the time of the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Leaving {
    /// It was asked to stop; `SIGTERM` follows.
    Asked(Tick),
    /// It got `SIGTERM`; `SIGKILL` to all that it started follows.
    Terminated(Tick),
    /// All that it started got `SIGKILL`; again, for what was forked in between.
    Killed(Tick),
    /// The master died by itself; its workers finish their requests, then `SIGKILL` follows.
    Orphaned(Tick),
}

impl Leaving {
    /// When the next step is due.
    pub(super) const fn next_step(self) -> Tick {
        match self {
            Self::Asked(at) | Self::Terminated(at) | Self::Killed(at) | Self::Orphaned(at) => at,
        }
    }
}

impl Life {
    /// Whether it was told of by a record only: nothing can be said to it.
    pub(super) const fn is_awaited(&self) -> bool {
        matches!(self.origin, Origin::Awaited(_) | Origin::Overdue)
    }

    /// Whether it failed at what its file says, which fails every time: all else may heal by itself.
    pub(super) fn has_mistakes(&self) -> bool {
        self.ready.is_none() && self.failure.as_ref().is_some_and(|failure| failure.is_for_good())
    }

    /// A life that is about to be launched.
    #[must_use]
    pub const fn new(id: LifeId, now: Tick, epoch_ms: u64) -> Self {
        Self {
            id,
            pid: None,
            uid: None,
            started: now,
            started_epoch_ms: epoch_ms,
            ready: None,
            app: false,
            loyal: false,
            loyal_epoch_ms: None,
            halted: false,
            origin: Origin::Launched,
            version: None,
            foreign: None,
            heartbeat_epoch_ms: None,
            beat_until: None,
            is_silent: false,
            doing: None,
            shortfall: None,
            leaving_epoch_ms: None,
            leaving: None,
            reaped: false,
            file: None,
            fork_bomb_ms: None,
            failure: None,
            companions: Vec::new(),
            configured: None,
        }
    }
}
