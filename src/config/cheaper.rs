//! How many workers an instance has when their number follows the load.

use serde::{Deserialize, Serialize};

/// How many workers an instance has when their number follows the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheaperSpec {
    /// `cheaper`: the fewest workers; 0: `processes` run all the time.
    pub least: u32,
    /// `cheaper-initial`: how many there are at the start; 0: as `least`.
    pub initial: u32,
    /// `cheaper-step`: how many come at once, at least 1.
    pub step: u32,
    /// `cheaper-overload`, at least 1: seconds; for `backlog` the requests that may wait.
    pub overload: u64,
    /// `cheaper-idle`, in seconds, for `spare2`.
    pub idle_s: u32,
    /// `cheaper-algo`.
    pub algorithm: Algorithm,
    /// What `busyness` goes by.
    pub busyness: BusynessSpec,
    /// `cheaper-rss-limit-soft`, in bytes of all workers together: no more come; 0 is off.
    pub rss_soft_bytes: u64,
    /// `cheaper-rss-limit-hard`, in bytes of all workers together: some go; 0 is off.
    pub rss_hard_bytes: u64,
    /// `cheap`: there are none before the first connection.
    pub cheap: bool,
}

/// What `busyness` goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusynessSpec {
    /// `cheaper-busyness-max`, in percent: above it more workers come.
    pub most: u64,
    /// `cheaper-busyness-min`, in percent: below it some go.
    pub least: u64,
    /// `cheaper-busyness-multiplier`: for how many cycles it must be below.
    pub multiplier: u64,
    /// `cheaper-busyness-penalty`: added to that when a worker went too soon.
    pub penalty: u64,
    /// `cheaper-busyness-backlog-alert`: more waiting requests than that are an emergency.
    pub alert: u64,
    /// `cheaper-busyness-backlog-step`: how many workers come in one.
    pub alert_step: u32,
    /// `cheaper-busyness-backlog-multiplier`: the multiplier after one.
    pub alert_multiplier: u64,
    /// `cheaper-busyness-backlog-nonzero`, in seconds: requests that wait all this time are one, too.
    pub nonzero_s: u64,
    /// `cheaper-busyness-verbose`: every cycle is logged.
    pub verbose: bool,
}

/// What decides how many workers there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// Whether all are busy.
    #[default]
    Spare,
    /// How many are idle.
    Spare2,
    /// How many requests wait.
    Backlog,
    /// The share of the time in which they are busy.
    Busyness,
    /// An operator.
    Manual,
}

impl Algorithm {
    /// The algorithm of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "spare" => Self::Spare,
            "spare2" => Self::Spare2,
            "backlog" => Self::Backlog,
            "busyness" => Self::Busyness,
            "manual" => Self::Manual,
            _ => return None,
        })
    }
}

impl CheaperSpec {
    /// Whether the number of workers follows the load.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.least > 0
    }

    /// How many workers of at most `processes` there are at first.
    #[must_use]
    pub fn first(&self, processes: u32) -> u32 {
        if self.is_on() { self.initial.max(self.least).min(processes) } else { processes }
    }
}

impl Default for CheaperSpec {
    fn default() -> Self {
        Self {
            least: 0,
            initial: 0,
            step: 1,
            overload: 3,
            idle_s: 10,
            algorithm: Algorithm::Spare,
            busyness: BusynessSpec::default(),
            rss_soft_bytes: 0,
            rss_hard_bytes: 0,
            cheap: false,
        }
    }
}

impl Default for BusynessSpec {
    fn default() -> Self {
        Self {
            most: 50,
            least: 25,
            multiplier: 10,
            penalty: 2,
            alert: 33,
            alert_step: 1,
            alert_multiplier: 3,
            nonzero_s: 60,
            verbose: false,
        }
    }
}
