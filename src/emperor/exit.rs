//! How the processes of instances ended.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its pid.
    pub pid: u32,
    /// When, milliseconds since the epoch.
    pub at_epoch_ms: u64,
    /// How.
    pub how: ExitKind,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExitKind {
    /// It returned this status.
    Status(i32),
    /// This signal killed it.
    Signal(i32),
    /// The kernel killed it: its vassal, the emperor's unit or the host was out of memory.
    #[serde(rename = "out-of-memory")]
    OutOfMemory,
    /// The emperor killed it with all that it started, for it forked without end.
    #[serde(rename = "fork-bomb")]
    ForkBomb,
    /// It is gone and was not ours to wait for.
    Unknown,
}

impl fmt::Display for ExitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "exit status {status}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::OutOfMemory => f.write_str("signal 9; out of memory: the kernel killed it"),
            Self::ForkBomb => f.write_str("signal 9; a fork bomb: the emperor killed it"),
            Self::Unknown => f.write_str("unknown exit status"),
        }
    }
}
