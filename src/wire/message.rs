//! The messages themselves. Every enum is JSON with the variant's name; unknown fields are ignored by older readers.

use serde::{Deserialize, Serialize};

use super::companion::Companion;
use super::death::Death;
use super::failure::Failure;
use super::foreign::Foreign;
use super::mule::{MuleBirth, MuleOrder};
pub use super::outcome::Outcome;
pub use super::policy::{Adoption, Policy, Privileges};
pub use super::router_message::{FromRouter, ToRouter};
use super::succession::Succession;
use crate::config::address::{Address, Listen, Protocol};
use crate::config::cache::CacheSpec;
use crate::config::diagnostic::Diagnostic;
use crate::config::instance::InstanceSpec;
use crate::config::log_level::LogLevel;
use crate::config::socket::PassedSocket;
use crate::config::tenant::Tenant;
use crate::config::vassals::VassalOptions;

/// Names an operation (a reload, an upgrade) from its request to its outcome. Given by the emperor; an instance
/// without one counts its own.
pub type OperationId = u64;

/// Emperor → instance (master).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToInstance {
    /// The first message. Descriptors: the open vassal file, then one listener for each entry of `listeners`, then for
    /// a program of others the descriptor on which it is spoken to, then the door to its control group, if it has one.
    Start {
        /// [`super::PROTOCOL`] of the emperor.
        protocol: u32,
        /// The vassal's id: its file name with the extension.
        name: String,
        /// The path by which the emperor found the file; what `%p`, `%d` and `%n` are made of.
        path: String,
        /// The listeners of an earlier life of this vassal, to be used instead of binding anew.
        listeners: Vec<Listen>,
        /// What the emperor's operator decided for all vassals.
        policy: Box<Policy>,
        /// The socket on which the emperor waited for the first connection; served also where the file does not name it.
        #[serde(default)]
        on_demand: Option<Box<Address>>,
        /// Where it begins, if not in the directory of its file (`emperor-chdir-attr`).
        #[serde(default)]
        begin_in: Option<String>,
        /// The last descriptor is the door to a control group: enter it first of all.
        #[serde(default)]
        has_group: bool,
        /// Whom to become before anything else: the owner of the file (`emperor-tyrant`).
        #[serde(default)]
        tenant: Option<Tenant>,
        /// Another program runs this vassal: become it.
        #[serde(default)]
        foreign: Option<Box<Foreign>>,
        /// The sockets that the emperor was passed for this vassal: served also where the file does not name them, and
        /// never removed.
        #[serde(default)]
        passed: Vec<PassedSocket>,
    },
    /// Read the file again (descriptor: the vassal file, opened anew) and bring up a new generation; answer with
    /// [`FromInstance::Ended`].
    Reload {
        /// The operation to answer.
        operation: OperationId,
        /// What the emperor says to all vassals now; `None`: as before.
        #[serde(default)]
        vassals: Option<Box<VassalOptions>>,
    },
    /// Re-execute the master's binary, carry sockets and workers over; with `reload`, bring up a new generation
    /// after it (descriptor then: the vassal file, opened anew). Answer with [`FromInstance::Ended`].
    Reexec {
        /// The operation to answer.
        operation: OperationId,
        /// Whether a new generation follows, as `SIGHUP` promises.
        reload: bool,
    },
    /// Run so many workers until the next reload; answer with [`FromInstance::Ended`].
    Scale {
        /// The operation to answer.
        operation: OperationId,
        /// How many.
        workers: u32,
    },
    /// Log so much from now on.
    LogLevel(LogLevel),
    /// Stop: workers finish their requests, then everything ends. Those not done after `mercy_ms` are killed.
    Stop {
        /// Milliseconds that running requests get; `None`: the instance's own `worker-reload-mercy`.
        mercy_ms: Option<u64>,
        /// Who serves on its sockets.
        #[serde(flatten)]
        succession: Succession,
    },
    /// The answer to a call at the rendezvous: this emperor is yours from now on. Answer with
    /// [`FromInstance::Output`] (unless the output is a file), then as a new image after a re-exec.
    Adopt {
        /// [`super::PROTOCOL`] of the emperor.
        protocol: u32,
        /// What its operator decided for all vassals.
        policy: Box<Policy>,
    },
}

/// Instance (master) → emperor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromInstance {
    /// The first message of a process, and of a new image after a re-exec. Descriptors: as [`FromInstance::Scoreboard`].
    Hello {
        /// [`super::PROTOCOL`] of the instance.
        protocol: u32,
        /// The crate's version.
        version: String,
        /// The master's pid.
        pid: u32,
    },
    /// The configuration as meant, whenever one took effect, with what it warned about.
    Configured {
        /// The spec.
        spec: Box<InstanceSpec>,
        /// Warnings, each with file and line.
        warnings: Vec<Diagnostic>,
    },
    /// The listeners in use, after bind and whenever they change. Descriptors: one for each entry.
    Listeners {
        /// In the order of the descriptors.
        listeners: Vec<Listen>,
    },
    /// The scoreboard was replaced. Descriptors: the new one, then the earlier ones that are in use.
    Scoreboard,
    /// The caches of the configuration in force, whenever they may have changed. Descriptors: the memory of each.
    Caches {
        /// In the order of the descriptors.
        caches: Vec<CacheSpec>,
    },
    /// Nobody has asked anything for so long as `idle` says: it may be put to sleep.
    Idle {
        /// Seconds.
        idle_s: u32,
    },
    /// It does this before it goes on: a hook, or a wait; `None`: no more.
    Doing(Option<String>),
    /// It lives: said every so often as `heartbeat` says.
    Heartbeat,
    /// From here on it is another program, as its own configuration says: what else comes of it are uWSGI's bytes, on the
    /// stream socket that is attached.
    Becomes {
        /// The program, for people.
        program: String,
    },
    /// Another program was to run it and could not be executed: this one is tried next, and runs it unless more follows.
    Tries {
        /// The program, for people.
        program: String,
    },
    /// Where the output goes since the last emperor died. Descriptor: the read end of a pipe.
    Output,
    /// How the instance stands.
    State(InstanceState),
    /// An operation came to its end.
    Ended {
        /// Which.
        operation: OperationId,
        /// How.
        outcome: Outcome,
    },
    /// The instance reloads by itself (a signal, a touched file, `uwsgi.reload()`); it counts as `operation`, an
    /// id of its own choosing with the top bit set.
    Began {
        /// The id that `Ended` will name.
        operation: OperationId,
        /// Why, for people: `SIGHUP`, `touch-reload of /srv/app/reload.txt`.
        reason: String,
    },
    /// Something worth telling happened: a worker died, harakiri struck, recycling.
    Event {
        /// One line.
        message: String,
    },
    /// What lives beside the workers, whenever that has changed.
    Companions {
        /// How each stands.
        companions: Vec<Companion>,
    },
    /// Something happened to one of these.
    Companion {
        /// One line.
        message: String,
    },
    /// Nothing serves yet though the application got its `startup-timeout`; it goes on loading.
    Late {
        /// What it got, in seconds.
        after_s: u64,
    },
    /// Fewer workers serve than are wanted, because no more can be forked; `None`: there are enough again.
    Shortfall(Option<Failure>),
    /// A worker died that was not asked to finish.
    Died(Death),
    /// The application could not be loaded; without `need-app` the instance goes on, and answers 500.
    AppFailed(Failure),
    /// The instance cannot start or go on, and will exit.
    Failed(Failure),
}

/// How an instance stands, as it says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstanceState {
    /// Sockets are bound, the application is being loaded.
    Starting,
    /// Workers accept requests.
    Ready,
    /// Workers accept, but no application is loaded: every request is answered with 500 (no `need-app`).
    ReadyWithoutApp,
    /// A worker has answered its first request.
    Loyal,
    /// Requests are being finished, nothing new is accepted.
    Stopping,
}

/// Master → zygote.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToZygote {
    /// Load the application (unless `lazy-apps`). Descriptors: the scoreboard, with `honour-stdin` the standard input,
    /// then one listener for each entry of `listeners` (only those that workers serve themselves, never those of the
    /// router), then with mules the two ends of each queue, that of all mules first: where one sends, where one receives;
    /// then the memory of each cache; then, where lines of requests go another way than others, the end of the pipe for them.
    Load {
        /// [`super::PROTOCOL`] of the master.
        protocol: u32,
        /// The generation that this zygote makes.
        generation: u64,
        /// The configuration.
        spec: Box<InstanceSpec>,
        /// In the order of the descriptors.
        listeners: Vec<Listen>,
    },
    /// Fork a worker. Descriptors: the worker's end of its channel, then `routed` stream sockets on which the router
    /// sends requests.
    Fork {
        /// The worker's number, 1 to `processes`: its id for people.
        worker: u32,
        /// Its slot on the scoreboard, from 0.
        slot: u32,
        /// How many router connections are attached.
        routed: u32,
        /// It is the first worker of its number in its generation.
        #[serde(default)]
        first: bool,
    },
    /// Fork a mule. Descriptor: its end of its channel, on which it is spoken to as a worker.
    ForkMule(MuleOrder),
}

/// Zygote → master.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromZygote {
    /// The first message.
    Hello {
        /// [`super::PROTOCOL`] of the extension.
        protocol: u32,
        /// The extension's version.
        version: String,
        /// `3.11.7`.
        python: String,
        /// `sys.executable`.
        executable: String,
    },
    /// The application is loaded (or will be by each worker, under `lazy-apps`).
    Loaded {
        /// Milliseconds that it took.
        startup_ms: u64,
        /// Whether there is an application at all (`false` without `need-app` when loading failed).
        app: bool,
        /// Python threads run, so workers must load the application themselves instead of being forked.
        threads: bool,
        /// The failure behind `app: false`.
        failure: Option<Failure>,
    },
    /// The application could not be loaded; the zygote ends.
    LoadFailed(Failure),
    /// A hook failed that the application is not loaded without; the zygote ends.
    HookFailed(Failure),
    /// It does what a hook says, by the process group of this pid; `None`: no more.
    Doing(Option<(String, u32)>),
    /// A worker was forked.
    Forked {
        /// Its slot.
        slot: u32,
        /// Its pid.
        pid: u32,
    },
    /// A worker could not be forked.
    ForkFailed {
        /// Its slot.
        slot: u32,
        /// Why.
        failure: Failure,
    },
    /// A mule was forked, or could not be.
    Mule(MuleBirth),
}

/// Master → worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToWorker {
    /// Accept nothing new: the router gives it no further request, and the order to finish comes when those that it has are
    /// answered. The time that they get for it runs: those that last as long as their clients like must be ended in it.
    Farewell,
    /// Finish: accept nothing new, answer what is there, exit with status 0. Others serve on: they get the kept-alive
    /// connections, and where that fails there is time for those to end by an answer.
    Drain,
    /// The same, or faster after [`ToWorker::Drain`]: nobody will follow, or too many finish already. Connections that
    /// stay silent are closed soon.
    Hurry,
    /// The same, sooner still: the instance stops, and clients would find nobody.
    Stop,
    /// Serve these connections of this protocol: they waited at a socket that goes away. Followed by an order to finish.
    /// Descriptors: the connections.
    Admit(Protocol),
    /// Where workers pass kept-alive connections to each other. Sent once the worker is ready, and again by the next
    /// image of the master. Descriptors: the end into which a worker that drains gives its idle connections, each as
    /// [`Passed`] with its descriptor, and the end from which those that serve take them.
    Passage,
}

/// Worker → worker: a kept-alive connection on which nothing of a next request was read. What else there is to know of
/// it, the kernel tells.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Passed {
    /// How many requests came on it.
    pub requests: u64,
    /// What is spoken on it: HTTP or FastCGI.
    pub protocol: Protocol,
}

/// Worker → master.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromWorker {
    /// The worker accepts requests.
    Ready {
        /// Its pid.
        pid: u32,
        /// Whether it has an application.
        app: bool,
    },
    /// It loads the application itself and could not; it ends.
    LoadFailed(Failure),
    /// A hook failed that it does not serve without; it ends.
    HookFailed(Failure),
    /// It does what a hook says, by the process group of this pid; `None`: no more.
    Doing(Option<(String, u32)>),
    /// The same without `need-app`: it goes on without an application, and answers 500.
    AppFailed(Failure),
    /// It wants to be replaced: `max-requests` and the like. It serves on until it is told to drain.
    Recycle {
        /// Why, for people.
        reason: String,
    },
    /// The application called `uwsgi.reload()`.
    ReloadRequested,
    /// The application called `uwsgi.stop()`.
    StopRequested,
    /// The application set a deadline for its running request on the scoreboard: look there again.
    DeadlineSet,
    /// A mule is to be killed at this time of the monotonic clock, in milliseconds; `None`: no more.
    MuleDeadline(Option<u64>),
    /// As many workers are busy as the master looks out for.
    Stirred,
    /// It has stopped accepting and finishes what it has: the answer to [`ToWorker::Farewell`] and to an order to finish.
    Draining,
}
