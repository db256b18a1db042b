//! What the master holds the workers to.

use serde::{Deserialize, Serialize};

/// What the master holds the workers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardSpec {
    /// `evil-reload-on-rss`, in MiB: a worker with so much memory is killed; 0 is off.
    pub evil_rss_mib: u64,
    /// `evil-reload-on-as`, in MiB: the same for its address space.
    pub evil_as_mib: u64,
    /// `mem-collector-freq`, in seconds, at least 1: how often that is looked at.
    pub collector_s: u32,
    /// What `harakiri` does.
    #[serde(default)]
    pub harakiri: HarakiriSpec,
}

/// What becomes of a worker whose request runs longer than `harakiri` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HarakiriSpec {
    /// `harakiri-graceful-timeout`, in seconds: what it gets to finish before it is killed; 0: nothing.
    pub grace_s: u32,
    /// `harakiri-graceful-signal`: the number of the signal that it gets first then.
    pub signal: i32,
    /// `harakiri-queue-threshold`: it is let alone while fewer connections and requests wait.
    pub threshold: u64,
}

impl Default for HarakiriSpec {
    fn default() -> Self {
        Self { grace_s: 0, signal: 15, threshold: 0 }
    }
}

impl Default for GuardSpec {
    fn default() -> Self {
        Self { evil_rss_mib: 0, evil_as_mib: 0, collector_s: 3, harakiri: HarakiriSpec::default() }
    }
}
