//! One life of a vassal: a master process from its launch until everything that came of it is gone.

use serde::{Deserialize, Serialize};

use crate::tick::Tick;

/// Names a life; never used twice by one emperor.
pub type LifeId = u64;

/// A master process, or what it left behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Its id.
    pub id: LifeId,
    /// The master's pid, which is also its process group's; `None` until it is launched.
    pub pid: Option<u32>,
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
    /// The version that it announced.
    pub version: Option<String>,
    /// Where it is on its way out; `None`: it is to stay.
    pub(super) leaving: Option<Leaving>,
    /// Whether the master was reaped; what remains is its children.
    pub(super) reaped: bool,
}

/// How far the end of a life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Leaving {
    /// It was asked to stop; `SIGTERM` follows then.
    Asked(Tick),
    /// It got `SIGTERM`; `SIGKILL` to its group follows then.
    Termed(Tick),
    /// Its group got `SIGKILL`; again then, for what was forked in between.
    Killed(Tick),
    /// The master died by itself; its workers finish their requests until then.
    Orphaned(Tick),
}
