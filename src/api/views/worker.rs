//! Workers, their counters, and the requests that run in them.

use serde::{Deserialize, Serialize};

use super::{Emperor, State};
use crate::stats::classes::CLASSES;

/// Counters of an instance since its master started, workers that are gone included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Workers that exist.
    pub workers: u64,
    /// Workers that are inside a request.
    pub busy: u64,
    /// Requests answered.
    pub requests: u64,
    /// Requests that ended in an exception.
    pub exceptions: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Microseconds spent in requests.
    pub running_us: u64,
    /// Microseconds that requests waited in a worker for a thread.
    #[serde(default)]
    pub queued_us: u64,
    /// Requests by how long they took: up to 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500 and 10000 milliseconds.
    /// Longer ones are in none.
    #[serde(default)]
    pub durations: [u64; CLASSES],
    /// Resident memory of all workers, as last measured; memory that workers share counts more than once.
    pub rss_bytes: u64,
    /// The application's output that nobody took, in lines.
    pub log_lines_dropped: u64,
    /// Requests that the router has given to servers of `http-to`, and that are not over.
    #[serde(default)]
    pub forwarding: u64,
    /// Errors that the router answered itself: no worker was free in time or one died (502, 503), a server of `http-to`
    /// could not be reached, was late or broke off (502, 504).
    #[serde(default)]
    pub router_errors: u64,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Its number, from 1. During a reload two may have the same.
    pub id: u64,
    /// Its pid.
    pub pid: u64,
    /// The generation of the application that it runs.
    pub generation: u64,
    /// What it does.
    pub state: WorkerState,
    /// When it was forked, RFC 3339.
    pub since: String,
    /// Requests answered.
    pub requests: u64,
    /// Requests that ended in an exception.
    pub exceptions: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Microseconds spent in requests.
    pub running_us: u64,
    /// The average response time in microseconds, as uWSGI weighs it: the last request counts half.
    pub average_us: u64,
    /// Resident memory, as last measured; 0: not measured.
    pub rss_bytes: u64,
    /// Virtual memory, as last measured; 0: not measured.
    pub vsz_bytes: u64,
    /// Connections that it holds open.
    pub connections: u64,
    /// Milliseconds that the application took to load.
    pub startup_ms: u64,
    /// How often a worker of this number was spawned.
    pub spawns: u64,
    /// How often harakiri ended one of this number.
    pub harakiris: u64,
    /// Its threads that are inside a request.
    pub running: Vec<Running>,
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkerState {
    /// It loads, or it finishes its last requests.
    NotAccepting,
    /// It waits for requests.
    Idle,
    /// It is inside a request.
    Busy,
}

/// A running request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Names this very request.
    #[serde(default)]
    pub id: String,
    /// The thread, from 0.
    pub core: u64,
    /// For how long, in milliseconds.
    pub for_ms: u64,
    /// Method and path without the query; `None` for readers who may not operate.
    pub request: Option<String>,
}

/// `GET /v1/stats`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// The emperor.
    pub emperor: Emperor,
    /// The sum over all vassals.
    pub totals: Totals,
    /// The vassals by name.
    pub vassals: Vec<VassalStats>,
}

/// A vassal's counters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VassalStats {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub state: State,
    /// The generation that serves.
    pub generation: u64,
    /// How often an instance died unasked and another was started.
    pub restarts: u64,
    /// How often a new generation took over.
    pub reloads: u64,
    /// Its counters.
    pub totals: Totals,
    /// Its workers.
    pub workers: Vec<Worker>,
}

/// `GET /v1/vassals/{name}/workers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerList {
    /// By number and generation.
    pub workers: Vec<Worker>,
}

/// `GET /v1/requests`, `GET /v1/vassals/{name}/requests`: what runs now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestList {
    /// By vassal and worker, the first thousand.
    pub requests: Vec<Request>,
}

/// A request in flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Names this very request, for `POST …/requests/{id}/kill`.
    pub id: String,
    /// The vassal.
    pub vassal: String,
    /// The worker's number.
    pub worker: u64,
    /// Its pid.
    pub pid: u64,
    /// The thread, from 0.
    pub core: u64,
    /// For how long, in milliseconds.
    pub for_ms: u64,
    /// Method and path without the query; `None` for readers who may not operate.
    pub request: Option<String>,
}
