//! How a companion of an instance stands: a program or a timed command that lives beside the workers.

use serde::{Deserialize, Serialize};

/// How many of an instance are told of.
pub const MOST: usize = 100;

/// How a companion stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Companion {
    /// What it is.
    pub kind: Kind,
    /// What people call it: its program's name.
    pub name: String,
    /// What the shell runs. It may hold secrets: only for who may operate.
    pub command: String,
    /// How it stands.
    pub state: State,
    /// Its pid while it runs, as its master sees it.
    pub pid: Option<u32>,
    /// Since when it runs, seconds since the epoch.
    pub since_epoch_s: Option<u64>,
    /// How often it was started.
    pub starts: u64,
    /// How often it ended although nobody asked it to; of a command: how often it failed.
    pub failures: u64,
    /// How it ended last.
    pub last_exit: Option<LastExit>,
    /// When it is started again, or next, seconds since the epoch.
    pub next_epoch_s: Option<u64>,
}

/// What a companion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `attach-daemon`.
    Daemon,
    /// `attach-control-daemon`: its end is the instance's.
    ControlDaemon,
    /// `smart-attach-daemon`: it outlives reloads.
    SmartDaemon,
    /// `cron`.
    Cron,
    /// `touch-exec`.
    TouchExec,
    /// `mule`, `mules`.
    Mule,
}

/// How a companion stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It waits for its time, or its file.
    Waiting,
    /// It is being started.
    Starting,
    /// It runs.
    Running,
    /// It was asked to end.
    Stopping,
    /// It ended too soon, and is started again later.
    Resting,
}

impl State {
    /// The word for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Resting => "resting",
        }
    }
}

/// How a companion ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastExit {
    /// When, seconds since the epoch.
    pub at_epoch_s: u64,
    /// `exit status 1`, `signal 9`.
    pub how: String,
    /// Whether it was asked to.
    pub asked: bool,
}
