//! The companions of an instance as data: what runs beside the workers, and what is to run when.

pub mod cron;
pub mod decide;
#[cfg(test)]
mod scenarios;
mod settle;
mod told;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::companions::{CompanionSpec, CronSpec, DaemonSpec, MuleSpec, TouchExec, name_of};
use crate::tick::Tick;
use crate::wire::companion::LastExit;
use crate::wire::failure::Failure;

/// What the decisions depend on besides the companions.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    /// The monotonic clock.
    pub now: Tick,
    /// The clock of the wall, seconds since the epoch.
    pub epoch_s: u64,
    /// What the clock of the wall shows at a time.
    pub local: &'a dyn Fn(i64) -> cron::Local,
}

/// Everything that [`decide`] knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Companions {
    /// Where the whole is in its life.
    pub stage: Stage,
    /// In the order of the configuration; what is on its way out comes first.
    pub all: Vec<Companion>,
    /// What each gets to end before it is killed.
    pub mercy: Duration,
    /// The newest number of a companion.
    pub numbers: u64,
    /// The newest number of a run.
    pub lives: u64,
    /// What the clock of the wall was last, seconds since the epoch.
    pub seen_epoch_s: u64,
}

/// Where the companions are in their life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// The instance does not serve yet, and they wait for it.
    #[default]
    Absent,
    /// They are there.
    Attending,
    /// The instance stops.
    Parting,
    /// All are gone.
    Gone,
}

/// A companion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Companion {
    /// Names it; never used twice.
    pub number: u64,
    /// What it is.
    pub task: Task,
    /// What people call it.
    pub name: String,
    /// Whether it is to stay when what runs of it ends.
    pub wanted: bool,
    /// What runs: of a daemon at most one.
    pub runs: Vec<Run>,
    /// How a daemon stands while nothing that we started runs of it.
    pub standing: Standing,
    /// How often it was started.
    pub starts: u64,
    /// How often it ended unasked, or failed.
    pub failures: u64,
    /// How often it ended too soon, one time after the other.
    pub quick: u32,
    /// How it ended last.
    pub last: Option<LastExit>,
    /// The minute of its next run, seconds since the epoch.
    pub next: Option<u64>,
}

/// What a companion is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// It runs as long as the instance.
    Daemon(DaemonSpec),
    /// It runs at certain times.
    Cron(CronSpec),
    /// It runs when a file changes.
    Touch(TouchExec),
    /// A process of the application that serves no request, as long as the instance.
    Mule(MuleSpec),
}

/// How a daemon stands of which nothing that we started runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It is not to be started: one of ours runs, or it is no daemon.
    #[default]
    Settled,
    /// Its pid file is being looked at; if it names nobody, the daemon is started at that time.
    Looking(Rest),
    /// It is started at that time.
    Resting(Rest),
    /// Its pid file names this process, which somebody else has started.
    Stranger(u32),
}

/// Until when something rests, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rest {
    /// The monotonic clock.
    pub until: Tick,
    /// The clock of the wall, for people.
    pub epoch_s: u64,
    /// Whether it ended too soon, so that this is a back-off.
    pub back_off: bool,
}

/// Something that we started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Names it; never used twice.
    pub life: u64,
    /// Its pid, once it is known.
    pub pid: Option<u32>,
    /// When it was started.
    pub since: Tick,
    /// The same on the clock of the wall.
    pub since_epoch_s: u64,
    /// Whether it was asked to end.
    pub asked: bool,
    /// When it is killed.
    pub deadline: Option<Tick>,
    /// When its pid file is looked at again, while that does not name anybody.
    pub look_at: Option<Tick>,
    /// How its program ended, or why it did not start.
    pub end: Option<End>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// For people.
    pub how: String,
    /// Whether it did what it should.
    pub success: bool,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A generation serves whose configuration says this.
    Renew {
        /// Who is to be there.
        tasks: Vec<Task>,
        /// What each gets to end.
        mercy: Duration,
    },
    /// A pid file was looked at.
    Looked {
        /// Whose.
        number: u64,
        /// The process that it names and that runs.
        pid: Option<u32>,
    },
    /// A process that a pid file names has ended.
    StrangerGone {
        /// Whose.
        number: u64,
        /// The process.
        pid: u32,
    },
    /// A run has begun.
    Started {
        /// Which.
        life: u64,
        /// Its pid.
        pid: u32,
    },
    /// A run could not begin.
    Failed {
        /// Which.
        life: u64,
        /// Why.
        failure: Failure,
    },
    /// The program of a run has ended; what it left behind may go on.
    Ended {
        /// Which.
        life: u64,
        /// How.
        end: End,
    },
    /// Nothing of a run is left.
    Gone {
        /// Which.
        life: u64,
        /// How its keeper ended.
        how: String,
    },
    /// A file has changed.
    Touched(PathBuf),
    /// The workers are gone: end, at the latest by then.
    Part(Option<Tick>),
    /// A deadline has come, or nothing happened at all.
    Timer,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start it.
    Start {
        /// The companion.
        number: u64,
        /// The run.
        life: u64,
    },
    /// Send a run a signal.
    Signal {
        /// Which.
        life: u64,
        /// The signal.
        signal: i32,
    },
    /// Kill all of a run.
    Kill {
        /// Which.
        life: u64,
    },
    /// Look at a daemon's pid file.
    Look {
        /// Whose.
        number: u64,
    },
    /// Tell when this process ends.
    Watch {
        /// The companion.
        number: u64,
        /// The process.
        pid: u32,
    },
    /// Send a process that we did not start a signal.
    SignalStranger {
        /// The companion.
        number: u64,
        /// The process.
        pid: u32,
        /// The signal.
        signal: i32,
    },
    /// The instance is to stop.
    Stop,
    /// A line for the log.
    Log(String),
    /// Something that people want to know.
    Tell(String),
    /// All are gone.
    Alone,
}

impl Task {
    /// What the shell runs, or the application.
    #[must_use]
    pub fn command(&self) -> &str {
        match self {
            Self::Daemon(daemon) => &daemon.command,
            Self::Cron(cron) => &cron.command,
            Self::Touch(touch) => &touch.command,
            Self::Mule(mule) => mule.code(),
        }
    }

    /// Everything that is said.
    #[must_use]
    pub fn all(spec: &CompanionSpec) -> Vec<Self> {
        let daemons = spec.daemons.iter().cloned().map(Self::Daemon);
        let crons = spec.crons.iter().cloned().map(Self::Cron);
        let touched = spec.touch_exec.iter().cloned().map(Self::Touch);
        let mules = spec.mules.iter().cloned().map(Self::Mule);
        mules.chain(daemons).chain(crons).chain(touched).collect()
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Mule(mule) => format!("mule {}", mule.number),
            _ => name_of(self.command()),
        }
    }

    /// Whether it is to run as long as the instance.
    #[must_use]
    pub const fn stays(&self) -> bool {
        matches!(self, Self::Daemon(_) | Self::Mule(_))
    }

    /// What it gets to end before it is killed, where it does not say that itself.
    #[must_use]
    pub fn mercy(&self, usual: Duration) -> Duration {
        match self {
            Self::Mule(mule) => Duration::from_secs(mule.mercy_s.into()),
            _ => usual,
        }
    }

    /// The seconds that a program which ends too soon rests at most.
    const fn throttle_s(&self) -> u32 {
        const MULE_S: u32 = 60;
        match self {
            Self::Daemon(daemon) => daemon.max_throttle_s,
            _ => MULE_S,
        }
    }

    /// Whether its end is the instance's.
    const fn is_control(&self) -> bool {
        matches!(self, Self::Daemon(daemon) if daemon.control)
    }

    /// What asks it to end.
    #[must_use]
    pub const fn stop_signal(&self) -> i32 {
        const TERM: i32 = 15;
        match self {
            Self::Daemon(daemon) => daemon.stop_signal,
            Self::Cron(_) | Self::Touch(_) | Self::Mule(_) => TERM,
        }
    }
}

impl Companions {
    /// A companion by its number.
    #[must_use]
    pub fn companion(&self, number: u64) -> Option<&Companion> {
        self.all.iter().find(|companion| companion.number == number)
    }

    /// What a run is of.
    #[must_use]
    pub fn task_of(&self, life: u64) -> Option<&Task> {
        let has_it = |companion: &&Companion| companion.runs.iter().any(|run| run.life == life);
        self.all.iter().find(has_it).map(|companion| &companion.task)
    }

    /// When [`decide`] wants to be called again though nothing happened.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        let attends = self.stage == Stage::Attending;
        self.all.iter().filter_map(|companion| companion.next_deadline(attends)).min()
    }

    /// When it wants to be called by the clock of the wall, seconds since the epoch.
    #[must_use]
    pub fn next_alarm(&self) -> Option<u64> {
        let wanted = self.all.iter().filter(|c| c.wanted && self.stage == Stage::Attending);
        wanted.filter_map(|companion| companion.next).min()
    }
}

impl Companion {
    /// What a line of the log calls it.
    fn called(&self) -> String {
        match self.task {
            Task::Mule(_) => self.name.clone(),
            _ => format!("daemon \"{}\"", self.name),
        }
    }

    fn next_deadline(&self, attends: bool) -> Option<Tick> {
        let runs = self.runs.iter().flat_map(|run| [run.deadline, run.look_at]).flatten();
        let rest = match self.standing {
            Standing::Resting(rest) if attends && self.wanted && self.runs.is_empty() => Some(rest.until),
            _ => None,
        };
        runs.chain(rest).min()
    }
}
