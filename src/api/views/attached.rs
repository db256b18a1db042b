//! What a vassal's file attaches to its instance: daemons, timed commands, commands run at a touch.

use serde::{Deserialize, Serialize};

use crate::wire::companion::{Kind, State};

/// A program or a command that lives beside the workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// What it is.
    pub kind: Kind,
    /// What it is called by: its program's name.
    pub name: String,
    /// What the shell runs; `None` for readers who may not operate: it can hold secrets.
    pub command: Option<String>,
    /// How it stands.
    pub state: State,
    /// Why, where that is not plain; a sentence.
    pub reason: Option<String>,
    /// Its pid while it runs.
    pub pid: Option<u32>,
    /// Since when it runs, RFC 3339.
    pub since: Option<String>,
    /// How often it was started.
    pub starts: u64,
    /// How often a daemon ended unasked, or a command failed.
    pub failures: u64,
    /// How it ended last.
    pub last_exit: Option<AttachedExit>,
    /// When it is started again, or runs next, RFC 3339.
    pub next: Option<String>,
}

/// How a companion ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedExit {
    /// When, RFC 3339.
    pub at: String,
    /// `exit status 1`, `signal 9`.
    pub how: String,
    /// Whether it was asked to.
    pub asked: bool,
}

/// How many there are of a vassal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedCount {
    /// All that its file attaches.
    pub all: u32,
    /// Those that run.
    pub running: u32,
    /// Those that ended too soon, and are started again later.
    pub resting: u32,
}
