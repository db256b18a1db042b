//! What the API tells, as plain data: written by the emperor, read by `liege status` and others.

mod attached;
mod black_box;
mod config_file;
mod happening;
mod host;
mod operation;
mod snapshot;
mod worker;

pub use attached::{Attached, AttachedCount, AttachedExit};
pub use black_box::{BlackBox, BlackBoxList, LastRequest};
pub use config_file::{ConfigFile, ConfigVerdict, ConfigWritten};
pub use happening::{Event, EventList, Gap, LogLine, LogPage};
pub use host::{Companion, CompanionList, Host, SocketList, VassalSocket};
pub use operation::{Operation, OperationList, Outcome};
pub use snapshot::{Snapshot, SnapshotBody, SnapshotVassal};
pub use worker::{
    Request, RequestList, Running, Stats, Totals, VassalStats, Worker, WorkerList, WorkerState,
};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::address::Protocol;
use crate::config::diagnostic::Diagnostic;
use crate::config::role::Role;
pub use crate::emperor::standing::State;
use crate::wire::failure::Failure;

/// `GET /v1`: who answers, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// The emperor.
    pub emperor: Emperor,
    /// What this asker may do.
    pub access: Access,
    /// The addresses of the other resources.
    pub links: Vec<String>,
}

/// What an asker may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// At most this.
    pub role: Role,
    /// Patterns of the vassals that it may act on; empty: all of them, and the fleet.
    pub vassals: Vec<String>,
    /// Whether a token could allow more, or less: this is TCP, and tokens are configured.
    pub tokens: bool,
}

/// The emperor itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emperor {
    /// The version of liege.
    pub version: String,
    /// Its pid.
    pub pid: u32,
    /// `starting`, `running` or `stopping`.
    pub phase: String,
    /// When it started, RFC 3339.
    pub since: String,
    /// How often it re-executed itself.
    pub reexecutions: u64,
    /// Why it goes by the options of the emperor before and not by its own, where it does.
    #[serde(default)]
    pub options_problem: Option<String>,
    /// What the service manager keeps of the vassals' sockets over the emperor's death and restart.
    #[serde(default)]
    pub stored_sockets: StoredSockets,
    /// The watched directories.
    pub directories: Vec<Directory>,
}

/// Sockets of vassals in the descriptor store of the service manager.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSockets {
    /// How many it keeps.
    pub kept: usize,
    /// How many it keeps at most; 0: none.
    pub most: usize,
    /// Why it keeps none, or fewer than it should.
    pub problem: Option<String>,
}

/// A watched directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// Its path.
    pub path: String,
    /// Why it cannot be read.
    pub problem: Option<String>,
    /// Who else could put files there, or why changes are noticed late.
    pub warning: Option<String>,
}

/// `GET /v1/vassals`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VassalList {
    /// The emperor.
    pub emperor: Emperor,
    /// The vassals by name. Tracebacks are left out.
    pub vassals: Vec<Vassal>,
    /// Files that are not started, each with the reason.
    pub not_started: Vec<NotStarted>,
}

/// A file that is not started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotStarted {
    /// Its directory and name, escaped.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// A vassal in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vassal {
    /// Its name: the file's, with the extension.
    pub name: String,
    /// The file.
    pub path: String,
    /// This vassal's address in the API.
    pub link: String,
    /// How it stands.
    pub state: State,
    /// Why it stands so, or what is wrong with it; a sentence.
    pub reason: Option<String>,
    /// Whether requests are answered.
    pub serving: bool,
    /// The master's pid.
    pub pid: Option<u32>,
    /// Whom the master runs as, where it has said so.
    #[serde(default)]
    pub uid: Option<u32>,
    /// When the master was launched, RFC 3339.
    pub since: Option<String>,
    /// Where it listens.
    pub sockets: Vec<Socket>,
    /// Its counters.
    pub totals: Totals,
    /// Its application runs as root.
    pub root: bool,
    /// The program of others that runs it (`exec`, `emperor-wrapper`); `None`: liege.
    #[serde(default)]
    pub program: Option<String>,
    /// What is wrong with the file as it is now, until it is mended.
    pub config_error: Option<Failure>,
    /// The last failure that an instance reported.
    pub last_failure: Option<Failure>,
    /// Why it has fewer workers than it is to have, where no more can be forked.
    #[serde(default)]
    pub shortfall: Option<Failure>,
    /// Why its sockets end with the emperor, where the service manager keeps those of others.
    #[serde(default)]
    pub unkept_sockets: Option<String>,
    /// The last reload that ended.
    pub last_reload: Option<Operation>,
    /// How often an instance died unasked and another was started.
    pub restarts: u64,
    /// How often a new generation took over.
    pub reloads: u64,
    /// Failures in a row; the back-off grows with them.
    pub attempts: u32,
    /// When a resting vassal is tried again, RFC 3339.
    pub next_try: Option<String>,
    /// How many daemons and timed commands its file attaches.
    #[serde(default)]
    pub companions: AttachedCount,
}

/// `GET /v1/vassals/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VassalDetail {
    /// What the list tells, with tracebacks.
    #[serde(flatten)]
    pub vassal: Vassal,
    /// The version of liege that the master runs.
    pub version: Option<String>,
    /// What its file says to the emperor by the keys that `emperor-attr` names.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// What the configuration in effect warns about.
    pub warnings: Vec<Diagnostic>,
    /// How the last instance ended.
    pub last_exit: Option<Exit>,
    /// Its workers.
    pub workers: Vec<Worker>,
    /// The daemons and timed commands that its file attaches.
    #[serde(default)]
    pub attached: Vec<Attached>,
    /// The caches that its processes share.
    #[serde(default)]
    pub caches: Vec<Cache>,
    /// Its last output, oldest line first; `None` for readers who may not operate: logs can hold request data.
    pub log: Option<Vec<LogLine>>,
}

/// A cache that a vassal's processes share (`cache2`, `cache`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// Its name.
    pub name: String,
    /// Items in it.
    pub items: u64,
    /// How many items there may be.
    pub max_items: u64,
    /// Keys that were found.
    pub hits: u64,
    /// Keys that were not found.
    pub misses: u64,
    /// How often there was no room.
    pub full: u64,
    /// When it was changed last, RFC 3339; `None`: never.
    pub changed: Option<String>,
}

/// A socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// `127.0.0.1:8000`, a path, or `@name`.
    pub address: String,
    /// What is spoken there; `None`: that is not known until the first instance begins.
    pub protocol: Option<Protocol>,
}

/// How an instance ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The master's pid.
    pub pid: u32,
    /// When, RFC 3339.
    pub at: String,
    /// `exit status 1`, `signal 9`.
    pub how: String,
}
