//! What happens to the emperor, and what it does about it.

use std::path::PathBuf;

use super::fleet::{ExitKind, FileIdentity, NotStarted};
use super::forkbomb::Evidence;
use super::life::LifeId;
use super::scan::Look;
use crate::config::log_level::LogLevel;
use crate::config::tenant::Tenant;
use crate::sys::process::Signal;
use crate::wire::bytes::FromVassal;
use crate::wire::failure::Failure;
use crate::wire::message::{FromInstance, OperationId, ToInstance};

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// A name was looked at, after it settled.
    Looked {
        /// The name.
        id: String,
        /// What counts.
        look: Look,
        /// Everything of that name that is not started.
        not_started: Vec<NotStarted>,
    },
    /// The directories were listed; the names in them that changed follow as [`Event::Looked`].
    Listed {
        /// What is not started, in all directories.
        not_started: Vec<NotStarted>,
        /// For each directory, why it cannot be listed.
        problems: Vec<Option<String>>,
    },
    /// What the emperor before left behind, at the start of this one.
    Inherited {
        /// Instances that run, in the order of their lives.
        heirs: Vec<Heir>,
        /// Vassals and pids of those that ended meanwhile.
        gone: Vec<(String, u32)>,
        /// Whether they are to be adopted, or stopped.
        adopt: bool,
    },
    /// Every name of the first listing was looked at.
    FirstScanDone,
    /// News of a life.
    News {
        /// The vassal.
        vassal: String,
        /// The life.
        life: LifeId,
        /// The news.
        news: News,
    },
    /// Somebody has connected to a socket of a vassal that sleeps.
    Called {
        /// The vassal.
        vassal: String,
    },
    /// The file of a socket at which a vassal waits to be called was removed.
    OutOfReach {
        /// The vassal.
        vassal: String,
    },
    /// Its sockets cannot be waited on.
    NotAsleep {
        /// The vassal.
        vassal: String,
        /// Why.
        failure: Failure,
    },
    /// `SIGTERM`, `SIGINT` or `SIGQUIT`.
    StopAll,
    /// This image was executed by its predecessor, for this operation.
    Reexecuted(OperationId),
    /// The re-execution for this operation failed; all is as it was.
    ReexecFailed(OperationId, Failure),
    /// What a worker was to do for an operation was done, or could not be.
    Attended(OperationId, Result<(), Failure>),
    /// Time has passed.
    Deadline,
}

/// An instance that an emperor which died has left running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heir {
    /// Its vassal.
    pub vassal: String,
    /// The watched directory of its file.
    pub directory: PathBuf,
    /// Its life.
    pub life: LifeId,
    /// Its pid.
    pub pid: u32,
    /// When it was launched, milliseconds since the epoch.
    pub started_epoch_ms: u64,
    /// The file as it was given to it last.
    pub file: FileIdentity,
    /// Whose file it was.
    pub tenant: Option<Tenant>,
    /// It was told to stop.
    pub leaving: bool,
}

/// News of a life.
#[derive(Debug)]
pub enum News {
    /// Its master runs.
    Launched {
        /// Its pid.
        pid: u32,
        /// The file as it was given to it.
        identity: FileIdentity,
        /// The program of others that leads this life.
        program: Option<String>,
    },
    /// The file was opened anew for it, as it was then.
    Opened(FileIdentity),
    /// Its master could not be launched.
    LaunchFailed(Failure),
    /// Its master said something.
    Said(FromInstance),
    /// A program of others said something.
    Byte(FromVassal),
    /// Its master closed its channel.
    Disconnected,
    /// Its master was stopped by a signal (`SIGSTOP`), or goes on (`SIGCONT`).
    Halted(bool),
    /// It tries without end to have more processes than it may.
    ForkBomb {
        /// What tells that.
        evidence: Evidence,
        /// Within this time, in milliseconds.
        within_ms: u64,
    },
    /// Its master was reaped.
    Exited {
        /// How it ended.
        exit: ExitKind,
        /// Whether processes that it started are still there.
        survivors: bool,
    },
    /// The last of the processes that the dead master started is gone.
    Emptied,
    /// It called at the rendezvous, and can be spoken to.
    Adopted,
}

/// Something to do.
#[derive(Debug)]
pub enum Effect {
    /// Start a master for this life, with the listeners that are kept for the vassal.
    Launch {
        /// The vassal.
        vassal: String,
        /// The life.
        life: LifeId,
    },
    /// Say something to a master.
    Send {
        /// The life.
        life: LifeId,
        /// The message.
        message: ToInstance,
        /// The vassal, when its file is to be opened and attached.
        file_of: Option<String>,
    },
    /// Ask the master to end by a signal.
    Terminate {
        /// The life.
        life: LifeId,
        /// `SIGTERM`, but for uWSGI, which takes that for a reload.
        signal: Signal,
    },
    /// Send `SIGKILL` to all that came of this life.
    Kill {
        /// The life.
        life: LifeId,
    },
    /// From now on the listeners and the scoreboard of this life are those of the vassal.
    Adopt {
        /// The vassal.
        vassal: String,
        /// The life.
        life: LifeId,
    },
    /// Nothing of this life is left: close what belongs to it.
    Release {
        /// The life.
        life: LifeId,
    },
    /// Wait for a connection to the vassal's sockets.
    Sleep {
        /// The vassal.
        vassal: String,
    },
    /// Wait for that no more.
    Awake {
        /// The vassal.
        vassal: String,
    },
    /// Close the sockets that are kept for the vassal.
    Close {
        /// The vassal.
        vassal: String,
    },
    /// The sockets that are kept for one vassal are kept for the other as well.
    Bequeath {
        /// The one.
        from: String,
        /// The other.
        to: String,
    },
    /// The vassal is gone: close what is kept for it, and look whether its name is there again.
    Forget {
        /// The vassal.
        vassal: String,
    },
    /// List the directories now.
    Rescan,
    /// Write a line to the log.
    Log {
        /// The vassal; `None`: the emperor itself.
        vassal: Option<String>,
        /// Whether it asks for somebody's attention.
        warning: bool,
        /// Whether it is kept whatever else is logged: who asked for what.
        audit: bool,
        /// The line.
        message: String,
    },
    /// The first vassals are up, or have failed: tell the service manager.
    Ready,
    /// Do something to a worker for an operation, and tell with [`Event::Attended`].
    Attend {
        /// The operation.
        operation: OperationId,
        /// The vassal's master.
        master: u32,
        /// The worker.
        pid: u32,
        /// What is sent to it: `SIGUSR2` for its stacks, `SIGKILL`.
        signal: Signal,
    },
    /// Log so much.
    LogLevel(LogLevel),
    /// Re-execute the emperor for this operation.
    Reexec(OperationId),
    /// Every vassal is gone: exit.
    Exit,
}
