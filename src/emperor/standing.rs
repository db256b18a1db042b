//! How a vassal stands, in one word: for the log, the API and the command line.

use serde::{Deserialize, Serialize};

use super::fleet;

/// How a vassal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It waits for a place among those that load.
    Waiting,
    /// Its instance was launched and is not ready.
    Starting,
    /// An emperor that died left it running: it serves on until this one has taken it over.
    Adopting,
    /// Nothing runs for it: a connection to its sockets, which the emperor holds, wakes it.
    Asleep,
    /// It serves.
    Up,
    /// It answers every request with 500: the application did not load.
    NoApp,
    /// It serves while a new generation is being brought up.
    Reloading,
    /// It is being stopped.
    Stopping,
    /// It failed and is tried again later.
    Resting,
    /// Its file has mistakes: it is tried again when the file changes, or when an operator asks.
    Broken,
    /// An operator stopped it.
    Stopped,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Waiting,
        Self::Starting,
        Self::Adopting,
        Self::Asleep,
        Self::Up,
        Self::NoApp,
        Self::Reloading,
        Self::Stopping,
        Self::Resting,
        Self::Broken,
        Self::Stopped,
    ];

    /// The word for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Adopting => "adopting",
            Self::Asleep => "asleep",
            Self::Up => "up",
            Self::NoApp => "no app",
            Self::Reloading => "reloading",
            Self::Stopping => "stopping",
            Self::Resting => "resting",
            Self::Broken => "broken",
            Self::Stopped => "stopped",
        }
    }
}

impl From<fleet::State> for State {
    fn from(state: fleet::State) -> Self {
        match state {
            fleet::State::Waiting => Self::Waiting,
            fleet::State::Starting => Self::Starting,
            fleet::State::Adopting => Self::Adopting,
            fleet::State::Asleep => Self::Asleep,
            fleet::State::Up { app: true, .. } => Self::Up,
            fleet::State::Up { app: false, .. } => Self::NoApp,
            fleet::State::Reloading { .. } => Self::Reloading,
            fleet::State::Stopping => Self::Stopping,
            fleet::State::Resting { .. } => Self::Resting,
            fleet::State::Broken => Self::Broken,
            fleet::State::Stopped => Self::Stopped,
        }
    }
}
