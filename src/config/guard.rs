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
}

impl Default for GuardSpec {
    fn default() -> Self {
        Self { evil_rss_mib: 0, evil_as_mib: 0, collector_s: 3 }
    }
}
