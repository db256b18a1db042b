//! What happened, and what was said: events and log lines, each with a number to go on from.

use serde::{Deserialize, Serialize};

use crate::emperor::events::{EventKind, EventOutcome};

/// `GET /v1/events` as JSON: what is kept of the events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventList {
    /// Oldest first.
    pub events: Vec<Event>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What `Last-Event-ID` and `?after=` take to go on after it.
    pub id: String,
    /// When, RFC 3339.
    pub at: String,
    /// The vassal; `None`: the emperor itself.
    pub vassal: Option<String>,
    /// What it was: `up`, `ended`, `died` …
    pub kind: EventKind,
    /// What it was, for people; one line.
    pub message: String,
    /// Why: who asked, what was noticed, how it failed.
    pub reason: Option<String>,
    /// Names the configuration in effect: another one has another name.
    pub config: Option<String>,
    /// The operation that it belongs to.
    pub operation: Option<u64>,
    /// How the operation ended.
    pub outcome: Option<EventOutcome>,
}

/// Between two events or log lines of a stream: some were lost, for they are no longer kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// How many are missing at least; `None`: unknown, the emperor that counted them is gone.
    pub gap: Option<u64>,
}

/// `GET /v1/vassals/{name}/logs`: the last output of a vassal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPage {
    /// Oldest first.
    pub lines: Vec<LogLine>,
}

/// A line of output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Its id, for `?after=` and `Last-Event-ID`, where lines can be followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its number among the lines of its vassal.
    #[serde(default)]
    pub number: u64,
    /// When it was read, RFC 3339.
    pub at: String,
    /// The line, control characters escaped.
    pub text: String,
}
