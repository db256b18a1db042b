//! The fleet as data: what the emperor knows of its directories, vassals and operations. The API reads it, `decide` changes it.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::attributes::Attributes;
use super::events::FleetEvent;
pub use super::exit::{Exit, ExitKind};
use super::life::{Life, LifeId};
pub use super::operation::{Ending, Operation, OperationKind};
use super::past::Past;
use super::plan::Plan;
pub use super::plan::Rules;
use super::spawn::Listeners;
use crate::config::address::{Address, Listen};
use crate::config::diagnostic::Diagnostic;
use crate::config::instance::InstanceSpec;
use crate::config::tenant::Tenant;
use crate::stats::boards::Boards;
use crate::stats::cache::ShownCache;
use crate::stats::shown::Shown;
use crate::tick::Tick;
use crate::wire::failure::Failure;
use crate::wire::message::OperationId;

/// How many log lines are kept of each vassal.
pub const LOG_LINES: usize = 200;
/// How many ended operations are kept.
pub const OPERATIONS: usize = 1000;

/// Everything that the emperor knows.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Fleet {
    /// Whether it runs or is on its way out.
    pub phase: Phase,
    /// When this emperor started, in milliseconds since the epoch; kept over a re-execution.
    pub started_epoch_ms: u64,
    /// How often it re-executed itself.
    pub reexecutions: u64,
    /// The watched directories, in order.
    pub directories: Vec<Directory>,
    /// The vassals by id: the file's name with its extension.
    pub vassals: BTreeMap<String, Vassal>,
    /// Files that are not started, each with the reason. Leftovers of editors and dot files are not listed.
    pub not_started: Vec<NotStarted>,
    /// Operations, oldest first: those that run, and the last [`OPERATIONS`] that ended.
    pub operations: VecDeque<Operation>,
    /// What happened, oldest first, the last [`super::events::EVENTS`].
    pub events: VecDeque<FleetEvent>,
    /// The last event's number.
    pub(super) last_event: u64,
    /// The last operation's id.
    pub(super) last_operation: OperationId,
    /// The last life's id.
    pub(super) last_life: LifeId,
    /// Vassals that wait for a place among those that load, in order.
    pub(super) queue: VecDeque<String>,
    /// When vassals served last, by id, as an earlier emperor wrote it down, in seconds since the epoch.
    #[serde(skip)]
    pub(super) remembered: BTreeMap<String, u64>,
    /// Where systemd has passed a socket for a vassal of this id, whether there is one or not.
    #[serde(skip)]
    pub(super) passed: BTreeMap<String, Vec<Address>>,
    /// Since when the fleet is being stopped (monotonic).
    #[serde(default)]
    pub(super) stopping_since: Option<Tick>,
    /// When the first scan was done (monotonic).
    pub(super) scanned: Option<Tick>,
    /// What the operator decided.
    #[serde(skip)]
    pub(super) rules: Rules,
    /// Why it does not go by the options that it was started with.
    #[serde(skip)]
    pub options_problem: Option<String>,
    /// What the service manager keeps.
    #[serde(skip)]
    pub stored: super::store::Stored,
}

/// Whether the emperor runs or is on its way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The first vassals are being brought up.
    #[default]
    Starting,
    /// All is as usual.
    Running,
    /// Every vassal is being stopped; then the emperor exits.
    Stopping,
}

/// A watched directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// Its path as given, made absolute.
    pub path: PathBuf,
    /// Why it cannot be read at the moment (`no such file or directory`); it is tried again at each rescan.
    pub problem: Option<String>,
    /// Why changes in it are only noticed by the rescan; `None`: inotify tells.
    pub unwatched: Option<String>,
    /// Who else could put files there, as a sentence.
    pub warning: Option<String>,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileIdentity {
    /// The device.
    pub dev: u64,
    /// The inode.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Time of the last change of the content, nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// Time of the last change of the inode, nanoseconds since the epoch.
    pub ctime_ns: i64,
}

impl FileIdentity {
    /// Whether this is the same file with the same content; a rename changes nothing but the time of its inode.
    #[must_use]
    pub fn is_same_file(&self, other: &Self) -> bool {
        Self { ctime_ns: 0, ..*self } == Self { ctime_ns: 0, ..*other }
    }
}

/// A vassal: a file, and the instance that runs for it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Vassal {
    /// The file's name with its extension.
    pub id: String,
    /// The watched directory that it is in.
    pub directory: PathBuf,
    /// The file's path: directory and name.
    pub path: PathBuf,
    /// The file as last seen.
    pub identity: FileIdentity,
    /// When the file was changed last before it became a vassal, nanoseconds since the epoch.
    #[serde(default)]
    pub born_ns: i64,
    /// What the file says to the emperor.
    #[serde(default)]
    pub attributes: Attributes,
    /// Whom it runs as, where that is the owner of its file.
    #[serde(default)]
    pub tenant: Option<Tenant>,
    /// The owner of its file.
    #[serde(default)]
    pub owner: Option<Tenant>,
    /// Why its file cannot be looked at: the server that it lies on does not answer.
    #[serde(skip)]
    pub unseen: Option<String>,
    /// The program of others that is to run it; `None`: ours.
    #[serde(default)]
    pub program: Option<String>,
    /// How it stands.
    pub state: State,
    /// The running instance.
    pub current: Option<Life>,
    /// The instance that is being started beside the running one, to replace it. Hardly ever is there one.
    pub next: Option<Box<Life>>,
    /// Instances on their way out: those being stopped, and what dead masters left behind.
    pub leaving: Vec<Life>,
    /// How the last instance ended.
    pub last_exit: Option<Exit>,
    /// The last failure that an instance reported.
    pub last_failure: Option<Failure>,
    /// Why the file as it is now does not work; cleared when a configuration takes effect.
    pub config_error: Option<Failure>,
    /// What the configuration in effect warns about.
    pub warnings: Vec<Diagnostic>,
    /// The configuration in effect.
    pub spec: Option<Box<InstanceSpec>>,
    /// Its name (see [`crate::config::fingerprint`]).
    #[serde(default)]
    pub config: Option<String>,
    /// The socket on which the emperor waits before it starts the vassal at all.
    #[serde(default)]
    pub on_demand: Option<Address>,
    /// How often an instance died unasked and another was started.
    pub restarts: u64,
    /// How often a new generation took over.
    pub reloads: u64,
    /// The last reload that ended.
    pub last_reload: Option<Operation>,
    /// When it answered a request last, seconds since the epoch, as far as that is kept; 0: never.
    #[serde(default)]
    pub last_served: u64,
    /// How many requests the instances have answered whose scoreboards are gone.
    #[serde(default)]
    pub(super) answered_before: u64,
    /// How many requests in all it had answered when that was looked at.
    #[serde(default)]
    pub(super) answered_then: u64,
    /// Failures in a row; what the back-off grows with.
    pub attempts: u32,
    /// When the first of these failures was, milliseconds since the epoch.
    #[serde(default)]
    pub failing_since_epoch_ms: Option<u64>,
    /// How long it rests, or rested last, milliseconds.
    #[serde(default)]
    pub rested_for_ms: u64,
    /// What it has been through.
    #[serde(default)]
    pub past: Past,
    /// The vassal's last output, oldest first, at most [`LOG_LINES`].
    pub log: VecDeque<LogLine>,
    /// What the running instance shows, opened for reading.
    #[serde(skip)]
    pub shown: Option<Arc<Shown>>,
    /// Whether its sockets outlast this emperor: whoever comes next is given them.
    #[serde(skip)]
    pub(super) outlasts: bool,
    /// Why they do not, where there is something that could be done about it.
    #[serde(skip)]
    pub unkept: Option<String>,
    /// Where it listens, also when no instance runs, those of the statistics included.
    #[serde(skip)]
    pub listeners: Arc<Listeners>,
    /// What is going on, and what is to happen next.
    pub(super) plan: Plan,
}

/// How a vassal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It waits for a place among those that load.
    Waiting,
    /// Its instance was launched and is not ready.
    Starting,
    /// An emperor that died left its instance running: it serves on, and will call. Nothing else is started for it.
    Adopting,
    /// It serves.
    Up {
        /// `false`: the application did not load and every request is answered with 500 (no `need-app`).
        app: bool,
        /// It has answered a request.
        loyal: bool,
    },
    /// It serves, and a new generation (or a replacement) is being brought up.
    Reloading {
        /// The operation.
        operation: OperationId,
    },
    /// It is being stopped.
    Stopping,
    /// It failed and is tried again later.
    Resting {
        /// When (monotonic).
        until: Tick,
        /// Failures in a row.
        attempts: u32,
    },
    /// Its file has mistakes: only a change of the file, or an operator, has it tried again.
    Broken,
    /// Nothing runs for it; a connection to its sockets, which the emperor holds, wakes it.
    Asleep,
    /// An operator stopped it; only an operator, or a new file of that name, starts it again.
    Stopped,
}

/// A file that is not started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotStarted {
    /// The watched directory that it is in.
    pub directory: PathBuf,
    /// Its name; bytes that are not UTF-8 and control characters are escaped as `\xNN`.
    pub name: String,
    /// The id of the vassal that it would be, if it could be one's.
    #[serde(default)]
    pub id: Option<String>,
    /// Why.
    pub reason: String,
}

/// A line of a vassal's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Its number among the vassal's lines, from 1.
    #[serde(default)]
    pub number: u64,
    /// When it was read, milliseconds since the epoch.
    pub at_epoch_ms: u64,
    /// The line without its end, control characters escaped.
    pub text: String,
}

impl Fleet {
    /// An operation by its id, if it still is known.
    #[must_use]
    pub fn operation(&self, id: OperationId) -> Option<&Operation> {
        self.operations.iter().rev().find(|operation| operation.id == id)
    }
}

impl Vassal {
    /// A vassal that was just found: nothing runs yet.
    #[must_use]
    pub fn new(id: String, directory: PathBuf, identity: FileIdentity) -> Self {
        Self {
            path: directory.join(&id),
            id,
            directory,
            identity,
            born_ns: identity.mtime_ns,
            attributes: Attributes::default(),
            tenant: None,
            owner: None,
            unseen: None,
            program: None,
            state: State::Waiting,
            current: None,
            next: None,
            leaving: Vec::new(),
            last_exit: None,
            last_failure: None,
            config_error: None,
            warnings: Vec::new(),
            spec: None,
            config: None,
            on_demand: None,
            restarts: 0,
            reloads: 0,
            last_reload: None,
            last_served: 0,
            answered_before: 0,
            answered_then: 0,
            attempts: 0,
            failing_since_epoch_ms: None,
            rested_for_ms: 0,
            past: Past::default(),
            log: VecDeque::new(),
            shown: None,
            outlasts: false,
            unkept: None,
            listeners: Arc::default(),
            plan: Plan::default(),
        }
    }

    /// The scoreboards of the running instance.
    #[must_use]
    pub fn boards(&self) -> Option<&Boards> {
        self.shown.as_deref().map(|shown| &shown.boards)
    }

    /// The running instance shows nothing any more.
    pub(super) fn lose_sight(&mut self) {
        self.answered_before = self.answered();
        self.shown = None;
    }

    /// How many requests it has answered, over its instances.
    pub(super) fn answered(&self) -> u64 {
        self.answered_before.saturating_add(self.boards().map_or(0, Boards::requests))
    }

    /// The caches of the running instance.
    pub fn caches(&self) -> impl Iterator<Item = &ShownCache> {
        self.shown.iter().flat_map(|shown| &shown.caches).map(|cache| &**cache)
    }

    /// The running master's pid.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.current.as_ref().and_then(|life| life.pid)
    }

    /// Where its requests come in, each with the socket.
    pub fn doors(&self) -> impl Iterator<Item = &(Listen, OwnedFd)> {
        self.listeners.iter().filter(|(listen, _)| listen.protocol.is_for_requests())
    }

    /// Whether nobody else can listen at this address because of it.
    pub(super) fn has(&self, address: &Address) -> bool {
        self.listeners.iter().any(|(listen, _)| listen.address.meets(address))
    }

    /// When a resting vassal is tried again (monotonic).
    #[must_use]
    pub const fn next_try(&self) -> Option<Tick> {
        match self.state {
            State::Resting { until, .. } => Some(until),
            _ => None,
        }
    }

    /// Whether requests are answered by an instance now.
    #[must_use]
    pub const fn serves(&self) -> bool {
        matches!(self.state, State::Up { .. } | State::Reloading { .. } | State::Adopting)
    }
}
