//! What is known of a life that another program leads: it speaks the language of uWSGI, or none.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::tick::Tick;
use crate::wire::message::OperationId;

/// A program that has said nothing for so long is taken for one that never will: all there is to know of it is that it
/// runs.
pub(super) const SILENCE: Duration = Duration::from_secs(30);
/// A reload that was not followed by "accepting" for so long has failed.
pub(super) const RELOAD: Duration = Duration::from_secs(120);
/// A program that accepts begins for so long: uWSGI says it before each of its workers can be told to end, and a worker
/// that was told too early stays.
pub(super) const BEGINNING: Duration = Duration::from_secs(1);

/// A program of others, and what it has said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreign {
    /// The program, as it was asked for.
    pub program: String,
    /// The one that runs in its place, because that one could not be executed.
    #[serde(default)]
    pub(super) instead: Option<String>,
    /// The configuration of one of ours named it: the emperor does not know what a changed file would name.
    #[serde(default)]
    pub(super) by_configuration: bool,
    /// When it last said that its master is set up, milliseconds since the epoch.
    pub spawned_epoch_ms: Option<u64>,
    /// When it last said that it accepts requests; `None` again from a reload on.
    pub accepting_epoch_ms: Option<u64>,
    /// When it last said that it has answered one.
    pub loyal_epoch_ms: Option<u64>,
    /// Whether it speaks, as far as is known.
    pub(super) speech: Speech,
    /// The reload that is under way, and when it counts as failed.
    pub(super) reload: Option<(OperationId, Tick)>,
    /// Until when it begins, and cannot be told to reload.
    #[serde(default)]
    pub(super) begins_until: Option<Tick>,
}

/// Whether a program speaks the language of uWSGI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Speech {
    /// It has said nothing yet.
    #[default]
    None,
    /// It has said nothing for too long, or has closed its descriptor.
    Mute,
    /// It has said something.
    Heard,
}

impl Foreign {
    /// A program that was just started.
    #[must_use]
    pub fn new(program: String) -> Self {
        Self { program, ..Self::default() }
    }

    /// The program that runs.
    pub(super) fn running(&self) -> &str {
        self.instead.as_ref().unwrap_or(&self.program)
    }

    /// Whether it has said nothing so far.
    pub(super) fn has_said_nothing(&self) -> bool {
        self.speech != Speech::Heard
    }

    /// Whether nothing can be said to it.
    pub(super) const fn is_mute(&self) -> bool {
        matches!(self.speech, Speech::Mute)
    }
}
