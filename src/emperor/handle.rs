//! The emperor's face to the API: the fleet to read, requests to send.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::fleet::Fleet;
use super::once::Key;
use super::visitors::Visitors;
use crate::config::log_level::LogLevel;
use crate::wire::message::OperationId;

/// How many requests wait for the emperor's loop before senders wait.
pub const QUEUE: usize = 64;

/// Reads the fleet and steers it; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    fleet: Arc<Mutex<Fleet>>,
    commands: mpsc::Sender<Command>,
    changes: Arc<Changes>,
    doors: Arc<Mutex<BTreeMap<String, Arc<OwnedFd>>>>,
    visitors: Arc<Visitors>,
}

/// What tells that there is something new.
#[derive(Debug, Default)]
struct Changes {
    wake: Notify,
    count: AtomicU64,
    logs: watch::Sender<u64>,
}

/// A request with who made it, and where its answer goes.
#[derive(Debug)]
pub struct Command {
    /// For the audit line in the log: `API uid 1000`, `API 127.0.0.1:4711`.
    pub who: String,
    /// What is asked for.
    pub request: Request,
    /// What makes it act once.
    pub key: Option<Key>,
    /// The operation's id, to be looked up in [`Fleet::operation`], or why it is refused.
    pub answer: oneshot::Sender<Result<OperationId, Refusal>>,
}

/// What can be asked for. Vassals are named by their id, exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Bring up a new generation; starts a resting vassal at once.
    Reload {
        /// The vassal's id.
        vassal: String,
    },
    /// Bring up a new generation of every vassal, a bounded number at a time.
    ReloadAll,
    /// Re-execute the emperor, then bring up a new generation of every vassal: what `SIGHUP` asks for.
    ReloadHost,
    /// Stop a vassal, and keep it stopped.
    Stop {
        /// The vassal's id.
        vassal: String,
    },
    /// Start a stopped vassal, or a resting one at once.
    Start {
        /// The vassal's id.
        vassal: String,
    },
    /// End the back-off: of one vassal, or of all.
    ClearBackOff {
        /// The vassal's id; `None`: all.
        vassal: Option<String>,
    },
    /// End the instance of a vassal; a connection to one of its sockets starts it again.
    Sleep {
        /// The vassal's id.
        vassal: String,
    },
    /// Start a vassal that sleeps.
    Wake {
        /// The vassal's id.
        vassal: String,
    },
    /// Start a new instance beside the running one, which drains when the new one is ready.
    Restart {
        /// The vassal's id.
        vassal: String,
    },
    /// Run so many workers until the next reload.
    Scale {
        /// The vassal's id.
        vassal: String,
        /// How many.
        workers: u32,
    },
    /// Have a master, or the emperor, log so much.
    LogLevel {
        /// The vassal's id; `None`: the emperor.
        vassal: Option<String>,
        /// How much.
        level: LogLevel,
    },
    /// Have a worker write to the log where its threads are.
    Stacks {
        /// The vassal's id.
        vassal: String,
        /// The worker's pid.
        pid: u32,
    },
    /// Kill the worker that runs this very request.
    KillRequest {
        /// The vassal's id.
        vassal: String,
        /// Which.
        request: RunningRequest,
    },
    /// Take over the file of a vassal, which was just written.
    Written {
        /// The vassal's id.
        vassal: String,
    },
    /// Look at the directories now.
    Rescan,
    /// Re-execute the emperor, then every master, without reloading the apps.
    Upgrade,
}

/// Names a request while it runs, and never another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningRequest {
    /// The worker's pid.
    pub pid: u32,
    /// The thread, from 0.
    pub core: usize,
    /// When it began, microseconds on the monotonic clock.
    pub started_us: u64,
}

impl Request {
    /// The vassal that it is about; `None`: the fleet, or the emperor.
    #[must_use]
    pub fn vassal(&self) -> Option<&str> {
        match self {
            Self::Reload { vassal }
            | Self::Stop { vassal }
            | Self::Start { vassal }
            | Self::Sleep { vassal }
            | Self::Wake { vassal }
            | Self::Restart { vassal }
            | Self::Scale { vassal, .. }
            | Self::Stacks { vassal, .. }
            | Self::KillRequest { vassal, .. }
            | Self::Written { vassal } => Some(vassal),
            Self::ClearBackOff { vassal } | Self::LogLevel { vassal, .. } => vassal.as_deref(),
            Self::ReloadAll | Self::ReloadHost | Self::Rescan | Self::Upgrade => None,
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reload { vassal } => write!(f, "reload {vassal:?}"),
            Self::ReloadAll => f.write_str("reload all"),
            Self::ReloadHost => f.write_str("reload the emperor and all"),
            Self::Stop { vassal } => write!(f, "stop {vassal:?}"),
            Self::Start { vassal } => write!(f, "start {vassal:?}"),
            Self::Sleep { vassal } => write!(f, "sleep {vassal:?}"),
            Self::Wake { vassal } => write!(f, "wake {vassal:?}"),
            Self::ClearBackOff { vassal: Some(vassal) } => write!(f, "clear the back-off of {vassal:?}"),
            Self::ClearBackOff { vassal: None } => f.write_str("clear all back-offs"),
            Self::Restart { vassal } => write!(f, "restart {vassal:?}"),
            Self::Scale { vassal, workers } => write!(f, "scale {vassal:?} to {workers} workers"),
            Self::LogLevel { vassal: Some(vassal), level } => write!(f, "log level {level} for {vassal:?}"),
            Self::LogLevel { vassal: None, level } => write!(f, "log level {level}"),
            Self::Stacks { vassal, pid } => write!(f, "stacks of worker {pid} of {vassal:?}"),
            Self::KillRequest { vassal, request } => {
                write!(
                    f,
                    "kill the request in thread {} of worker {} of {vassal:?}",
                    request.core, request.pid
                )
            }
            Self::Written { vassal } => write!(f, "take over the file of {vassal:?}, which it wrote"),
            Self::Rescan => f.write_str("rescan"),
            Self::Upgrade => f.write_str("upgrade"),
        }
    }
}

/// Why a request is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no vassal of that id.
    #[error("no vassal {0:?}")]
    UnknownVassal(String),
    /// The vassal's state does not allow it: the sentence says why.
    #[error("{0}")]
    Conflict(String),
    /// The key was used for something else.
    #[error("this Idempotency-Key was used for something else")]
    KeyReused,
    /// The emperor is stopping.
    #[error("the emperor is stopping")]
    Stopping,
}

impl Handle {
    /// A handle, and the end from which the loop takes commands.
    pub(super) fn new(fleet: Fleet) -> (Self, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(QUEUE);
        (
            Self {
                fleet: Arc::new(Mutex::new(fleet)),
                commands,
                changes: Arc::default(),
                doors: Arc::default(),
                visitors: Arc::default(),
            },
            receiver,
        )
    }

    /// A handle for tests of the API: the fleet is as given, the commands arrive at the receiver.
    #[must_use]
    pub fn detached(fleet: Fleet) -> (Self, mpsc::Receiver<Command>) {
        Self::new(fleet)
    }

    /// Those whom the API has let in.
    #[must_use]
    pub const fn visitors(&self) -> &Arc<Visitors> {
        &self.visitors
    }

    /// The fleet, locked: read what is needed and let go; the emperor's loop waits meanwhile. Never hold it over an
    /// `await`.
    pub fn fleet(&self) -> MutexGuard<'_, Fleet> {
        // A reader that panicked changed nothing.
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a listener of the API, by its address as asked for, over re-executions: nobody who calls meanwhile is
    /// refused.
    pub fn keep_door(&self, address: String, listener: OwnedFd) {
        self.locked_doors().insert(address, Arc::new(listener));
    }

    /// The listeners that are kept.
    #[must_use]
    pub fn doors(&self) -> Vec<(String, Arc<OwnedFd>)> {
        self.locked_doors().iter().map(|(address, door)| (address.clone(), Arc::clone(door))).collect()
    }

    /// Takes out the listeners that the last image kept, by their addresses; what is dropped of them is closed.
    #[must_use]
    pub fn take_doors(&self) -> BTreeMap<String, Arc<OwnedFd>> {
        std::mem::take(&mut *self.locked_doors())
    }

    fn locked_doors(&self) -> MutexGuard<'_, BTreeMap<String, Arc<OwnedFd>>> {
        // Inserting and removing leave the map whole.
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the fleet is as wanted; it is looked at whenever it has changed.
    pub async fn until(&self, wanted: impl Fn(&Fleet) -> bool) {
        loop {
            let changes = self.changes();
            if wanted(&self.fleet()) {
                return;
            }
            self.changed_since(changes).await;
        }
    }

    /// How often the fleet has changed.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.count.load(Ordering::Acquire)
    }

    /// Waits until the fleet has changed since it had changed so often.
    pub async fn changed_since(&self, changes: u64) {
        loop {
            let mut change = std::pin::pin!(self.changes.wake.notified());
            // Before looking, so that a change in between is not missed.
            change.as_mut().enable();
            if self.changes() != changes {
                return;
            }
            change.await;
        }
    }

    /// Wakes those who wait in [`Handle::until`]: the loop's word that it has changed the fleet.
    pub fn changed(&self) {
        self.changes.count.fetch_add(1, Ordering::AcqRel);
        self.changes.wake.notify_waiters();
    }

    /// Tells whenever a vassal has said something.
    #[must_use]
    pub fn news_of_logs(&self) -> watch::Receiver<u64> {
        self.changes.logs.subscribe()
    }

    /// The word that a vassal has said something.
    pub fn logged(&self) {
        self.changes.logs.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Asks for something and waits for the loop's word: the id of the operation that began.
    ///
    /// # Errors
    /// The refusal.
    pub async fn request(&self, who: String, request: Request) -> Result<OperationId, Refusal> {
        self.request_once(who, request, None).await
    }

    /// The same, but what was asked for with this key already is not done again.
    ///
    /// # Errors
    /// The refusal.
    pub async fn request_once(
        &self,
        who: String,
        request: Request,
        key: Option<Key>,
    ) -> Result<OperationId, Refusal> {
        let (answer, answered) = oneshot::channel();
        let command = Command { who, request, key, answer };
        self.commands.send(command).await.map_err(|_| Refusal::Stopping)?;
        answered.await.unwrap_or(Err(Refusal::Stopping))
    }
}
