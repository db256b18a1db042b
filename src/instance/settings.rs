//! What of a configuration the decisions go by.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::cheaper::CheaperSpec;

/// What decisions need of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// How many workers.
    pub processes: u32,
    /// Requests each runs at the same time.
    pub threads: u32,
    /// Every worker loads the application itself.
    pub lazy: bool,
    /// An application is named, so being without one is a failure.
    pub names_app: bool,
    /// A router stands before the workers.
    pub router: bool,
    /// What running requests get before the worker is killed.
    pub mercy: Duration,
    /// What a generation gets to be ready; `None`: any time.
    #[serde(default)]
    pub patience: Option<Duration>,
    /// There are mules, which the zygote forks too.
    #[serde(default)]
    pub mules: bool,
    /// How many workers there are when their number follows the load.
    #[serde(default)]
    pub cheaper: CheaperSpec,
    /// How many workers, the first ones, it takes to serve every socket (`map-socket`).
    #[serde(default)]
    pub needs: u32,
}
