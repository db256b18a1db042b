//! What a worker was doing when it died.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many requests of a dead worker are told.
pub const REQUESTS: usize = 16;

/// The death of a worker that was not asked to finish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// The worker's number.
    pub worker: u32,
    /// Its pid.
    pub pid: u32,
    /// Its generation.
    pub generation: u64,
    /// Why it died.
    pub cause: Cause,
    /// How: `exit status 1`, `signal 9`.
    pub how: String,
    /// When it was forked, seconds since the epoch.
    pub born_epoch_s: u64,
    /// Requests that it had answered.
    pub requests: u64,
    /// What it was doing; when it was idle, what it did last.
    pub last: Vec<LastRequest>,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { worker, pid, how, .. } = self;
        write!(f, "worker {worker} (pid {pid}) died: {how}")
    }
}

/// Why a worker died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Its request ran too long.
    Harakiri,
    /// It had more memory than it may.
    Memory,
    /// The kernel killed it: its vassal, the emperor's unit or the host was out of memory.
    OutOfMemory,
    /// A signal that we did not send.
    Signal,
    /// Somebody had its request killed.
    Operator,
    /// It ended by itself.
    Exit,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Harakiri => "harakiri: a request ran too long",
            Self::Memory => "it had more memory than it may",
            Self::OutOfMemory => "out of memory: the kernel killed it",
            Self::Signal => "a signal that liege did not send",
            Self::Operator => "an operator had its request killed",
            Self::Exit => "it ended by itself",
        })
    }
}

/// A request that a dead worker ran, or had run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRequest {
    /// The thread, from 0.
    pub core: u32,
    /// Whether it still ran.
    pub running: bool,
    /// When it began, seconds since the epoch.
    pub started_epoch_s: u64,
    /// Method and path without the query.
    pub request: String,
}
