//! Black boxes: what workers were doing when they died.

use serde::{Deserialize, Serialize};

use super::LogLine;
use crate::wire::death::Cause;

/// `GET /v1/black-boxes`, `GET /v1/vassals/{name}/black-boxes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlackBoxList {
    /// By vassal, oldest first.
    pub black_boxes: Vec<BlackBox>,
}

/// What a worker was doing when it died unasked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlackBox {
    /// The vassal.
    pub vassal: String,
    /// When it was found dead, RFC 3339.
    pub at: String,
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
    /// When it was forked, RFC 3339.
    pub since: String,
    /// Requests that it had answered.
    pub requests: u64,
    /// What it was doing; when it was idle, what it did last.
    pub last: Vec<LastRequest>,
    /// What the vassal had said last by then; `None` for readers who may not operate.
    pub log: Option<Vec<LogLine>>,
}

/// A request that a dead worker ran, or had run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRequest {
    /// The thread, from 0.
    pub core: u32,
    /// Whether it still ran.
    pub running: bool,
    /// When it began, RFC 3339.
    pub started: String,
    /// Method and path without the query; `None` for readers who may not operate.
    pub request: Option<String>,
}
