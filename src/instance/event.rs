//! What happens to an instance, and what is to be done about it.

use std::time::Duration;

use super::cheaper::Sample;
use super::roster::{Pending, Settings};
use crate::tick::Tick;
use crate::wire::failure::Failure;
use crate::wire::message::{InstanceState, OperationId, Outcome};

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The instance begins with this configuration.
    Begin(Settings),
    /// Somebody wants a new generation.
    Reload(OperationId),
    /// Somebody wants the binary executed again, and with `reload` a new generation after it.
    Reexec {
        /// The operation.
        operation: OperationId,
        /// Whether a new generation follows.
        reload: bool,
    },
    /// The rehearsal of an operation's configuration came to its end.
    Rehearsed {
        /// The operation.
        operation: OperationId,
        /// What it found.
        plan: Result<Plan, Failure>,
    },
    /// The binary could not be executed again; this one goes on.
    ReexecFailed(Failure),
    /// This is the new image; the configuration that was rehearsed.
    Reexecuted(Settings),
    /// A zygote is done loading.
    ZygoteLoaded {
        /// Which.
        zygote: u64,
        /// Whether there is an application.
        app: bool,
        /// Whether it must not be forked with the application in it.
        threads: bool,
        /// Why there is no application.
        failure: Option<Failure>,
    },
    /// A zygote could not load the application and ends.
    ZygoteLoadFailed {
        /// Which.
        zygote: u64,
        /// Why.
        failure: Failure,
    },
    /// A hook of a zygote's generation failed; it ends.
    ZygoteHookFailed {
        /// Which.
        zygote: u64,
        /// Why.
        failure: Failure,
    },
    /// A zygote is gone and everything that it said was heard; or it could not be started.
    ZygoteGone {
        /// Which.
        zygote: u64,
        /// How it ended, for people.
        how: String,
    },
    /// A worker's process exists.
    Forked {
        /// Its slot.
        slot: usize,
    },
    /// A worker that was to end before it begins has begun.
    Begun {
        /// Its slot.
        slot: usize,
    },
    /// A worker could not be forked.
    ForkFailed {
        /// Its slot.
        slot: usize,
        /// Why.
        failure: Failure,
    },
    /// A worker could not load the application, and will answer 500.
    WorkerWithoutApp {
        /// Its slot.
        slot: usize,
        /// Why.
        failure: Failure,
    },
    /// A worker accepts requests.
    WorkerReady {
        /// Its slot.
        slot: usize,
        /// Whether it has an application.
        app: bool,
    },
    /// A worker could not load the application and ends.
    WorkerLoadFailed {
        /// Its slot.
        slot: usize,
        /// Why.
        failure: Failure,
    },
    /// A hook of a worker failed; it ends.
    WorkerHookFailed {
        /// Its slot.
        slot: usize,
        /// Why.
        failure: Failure,
    },
    /// A worker wants to be replaced.
    Recycle {
        /// Its slot.
        slot: usize,
    },
    /// A worker was reaped.
    WorkerGone {
        /// Its slot.
        slot: usize,
        /// How it ended, for people.
        how: String,
    },
    /// A worker is beyond a limit: the time of a request, or memory.
    Overran {
        /// The worker's slot.
        slot: usize,
        /// What it gets to finish; `None`: it is killed at once.
        grace: Option<Duration>,
    },
    /// The router accepts connections.
    RouterReady,
    /// The router was reaped, or could not be started.
    RouterGone,
    /// A worker accepts no more.
    Closed {
        /// Its slot.
        slot: usize,
    },
    /// The router sends this worker no more requests; those that it has go on.
    PassedOver {
        /// Its slot.
        slot: usize,
        /// Its generation.
        generation: u64,
    },
    /// The router is done with this worker.
    Released {
        /// Its slot.
        slot: usize,
        /// Its generation.
        generation: u64,
    },
    /// The router lost a connection to a worker.
    Lost {
        /// Its slot.
        slot: usize,
        /// Its generation.
        generation: u64,
    },
    /// A worker has answered its first request.
    Answered,
    /// An operator wants another number of workers.
    Scale {
        /// The operation.
        operation: OperationId,
        /// How many.
        workers: u32,
        /// The slots of those in which no request runs.
        idle: Vec<usize>,
    },
    /// An operator wants one worker more, or one less, of those that follow the load.
    Step {
        /// One more.
        more: bool,
        /// The slots of those in which no request runs.
        idle: Vec<usize>,
    },
    /// The workers were looked at.
    Looked(Sample),
    /// A worker says that as many are busy as it was to look out for.
    Stirred,
    /// No worker shall run until somebody connects.
    GoCheap {
        /// Why.
        reason: String,
    },
    /// Somebody connects.
    Called,
    /// Stop when the running requests are done.
    Stop {
        /// What they get, instead of the configured mercy.
        mercy: Option<Duration>,
    },
    /// Stop now.
    StopNow,
    /// Nothing lives beside the workers any more.
    Alone,
    /// A deadline has come, or nothing happened at all.
    Timer,
}

/// What a rehearsal found to be needed.
#[derive(Clone, Debug)]
pub enum Plan {
    /// A new generation with this configuration.
    Generation(Settings),
    /// A replacement for the whole instance.
    Replace {
        /// Which options changed.
        reason: String,
    },
    /// The instance ends, for whoever starts it again.
    End,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Fewer workers serve than are wanted, because no more can be forked; `None`: there are enough again.
    Shortfall(Option<Failure>),
    /// No generation serves, and the one that loads is not ready after so long.
    Late {
        /// What it got.
        after: std::time::Duration,
    },
    /// Read the operation's configuration in a child, with the new binary if it is to be executed.
    Rehearse(Pending),
    /// Execute the binary again.
    Reexec {
        /// The operation.
        operation: OperationId,
        /// Whether a new generation follows.
        reload: bool,
    },
    /// The configuration that was rehearsed last is this generation's.
    Adopt {
        /// Its number.
        generation: u64,
    },
    /// The generation did not come up; its configuration is void.
    Discard {
        /// Its number.
        generation: u64,
    },
    /// The generation serves; its configuration is in force.
    Swap {
        /// Its number.
        generation: u64,
    },
    /// So many slots and cores are needed from now on.
    Grow {
        /// Slots.
        slots: usize,
        /// Cores of each.
        cores: u32,
    },
    /// Start a zygote.
    StartZygote {
        /// Its number.
        zygote: u64,
        /// Its generation.
        generation: u64,
        /// Whether workers load the application themselves.
        lazy: bool,
    },
    /// Close a zygote's channel; it ends by itself.
    CloseZygote {
        /// Its number.
        zygote: u64,
    },
    /// Kill a zygote.
    KillZygote {
        /// Its number.
        zygote: u64,
    },
    /// Ask a zygote for a worker.
    Fork {
        /// The zygote.
        zygote: u64,
        /// The worker's slot.
        slot: usize,
    },
    /// Tell a worker to finish.
    Drain {
        /// Its slot.
        slot: usize,
    },
    /// Kill a worker, unless it has begun to accept, whatever was heard of it: then answer with [`Event::Begun`].
    KillUnlessBegun {
        /// Its slot.
        slot: usize,
    },
    /// Signal a worker that it overran a limit, and shall end.
    Warn {
        /// Its slot.
        slot: usize,
    },
    /// Kill a worker.
    Kill {
        /// Its slot.
        slot: usize,
    },
    /// Nothing is in the slot any more.
    Clear {
        /// The slot.
        slot: usize,
    },
    /// Start the router.
    StartRouter {
        /// The generation whose configuration it serves.
        generation: u64,
    },
    /// Tell the router to finish.
    DrainRouter,
    /// Kill the router.
    KillRouter,
    /// Give a worker's connections to the router.
    AddToRouter {
        /// Its slot.
        slot: usize,
    },
    /// Have the router send a worker nothing more.
    ReleaseFromRouter {
        /// Its slot.
        slot: usize,
    },
    /// Look at the workers: answer with [`Event::Looked`].
    Look,
    /// Have workers say when so many of them are busy: answer with [`Event::Stirred`].
    LookOut {
        /// How many.
        busy: u32,
    },
    /// There are more or fewer workers from now on.
    Resized {
        /// How many there were.
        from: u32,
        /// How many there shall be.
        to: u32,
        /// Why.
        reason: String,
    },
    /// Something that is for the log alone.
    Log(String),
    /// The instance stands like this now.
    State(InstanceState),
    /// An operation came to its end.
    Ended {
        /// Which.
        operation: OperationId,
        /// How.
        outcome: Outcome,
    },
    /// Something that people want to know.
    Tell(String),
    /// The workers are gone: end what lives beside them, at the latest by then; answer with [`Event::Alone`].
    Part {
        /// Until when whoever asked for the stop waits.
        by: Option<Tick>,
    },
    /// Everything is over.
    Exit {
        /// The exit status.
        code: u8,
        /// Why, unless it was asked to.
        failure: Option<Failure>,
    },
}
