//! How the fake instances of the simulated world behave.

/// How the instances of a vassal behave from their launch on.
#[derive(Clone, Debug)]
pub(super) struct Manners {
    /// Milliseconds from the launch, or the reload, to what comes of it.
    pub(super) load_ms: u64,
    /// What comes of a launch.
    pub(super) start: Start,
    /// What comes of a reload.
    pub(super) reload: Reload,
    /// Whether it ends when it is asked to, and at `SIGTERM`.
    pub(super) stops: bool,
    /// Whether it ends at `SIGTERM`.
    pub(super) terminates: bool,
    /// Whether it calls the emperor after the one that died.
    pub(super) calls: bool,
    /// Whether its death leaves processes behind until they are killed.
    pub(super) leaves_survivors: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Serves,
    FailsToLaunch,
    Exits(i32),
    Mistaken,
    Hangs,
    Crashes { after_ms: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reload {
    Swaps,
    RollsBack,
    Hangs,
    NeedsReplacement,
    Dies,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            load_ms: 50,
            start: Start::Serves,
            reload: Reload::Swaps,
            stops: true,
            terminates: true,
            calls: true,
            leaves_survivors: false,
        }
    }
}
