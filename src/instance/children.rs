//! The processes of an instance as handles: pid, channel, and what is known of their end.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use super::harakiri::Patience;
use super::link::Link;
use super::passage::Passage;
use super::vigil::Vigil;
use crate::stats::scoreboard::{Scoreboard, Slot};
use crate::sys::process::{self, Child, Exit};
use crate::sys::{own, peer, wait};
use crate::wire::death::Cause;
use crate::wire::message::{FromRouter, FromWorker, FromZygote, OperationId, ToRouter, ToWorker, ToZygote};
use crate::wire::queue::SharedQueue;

/// How many ends of processes that we did not know yet are remembered.
const STRAYS: usize = 64;

/// How long a child that was killed may take to be gone.
const KILL_WAIT: Duration = Duration::from_millis(500);

/// Which process a pid is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Zygote(u64),
    Worker(usize),
    Router,
    Rehearsal(OperationId),
    Chore(u64),
    Keeper(u64),
    Mule(u64),
}

/// A process with a channel. It is over when it was reaped and everything that it said was heard.
#[derive(Debug)]
pub(super) struct Process<Out, In> {
    /// `None`: its pid was not told yet.
    pub(super) child: Option<Child>,
    pub(super) link: Link<Out, In>,
    pub(super) exit: Option<Exit>,
    pub(super) silent: bool,
    /// It closed its channel, and lived on.
    is_deaf: bool,
}

impl<Out, In> Process<Out, In> {
    pub(super) const fn new(child: Option<Child>, link: Link<Out, In>) -> Self {
        Self { child, link, exit: None, silent: false, is_deaf: false }
    }

    /// Its channel is at its end. One that can no longer be spoken to is of no use.
    pub(super) fn cut(&mut self) {
        self.silent = true;
        self.is_deaf = self.exit.is_none() && self.pid().is_some_and(|pid| !peer::is_ending(pid));
        self.kill();
    }

    /// How it ended, for people.
    pub(super) fn how(&self, exit: Exit) -> String {
        match self.is_deaf {
            true => {
                "it closed its channel to the master, and was killed for that (does the application close \
                     descriptors that it did not open?)"
                    .to_owned()
            }
            false => exit.to_string(),
        }
    }

    /// How it ended, once it is over.
    pub(super) fn over(&self) -> Option<Exit> {
        self.exit.filter(|_| self.silent)
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::pid)
    }

    pub(super) fn kill(&self) {
        if let Some(child) = self.child.as_ref().filter(|_| self.exit.is_none())
            && let Err(error) = child.kill()
        {
            tracing::warn!("cannot kill process {}: {error}", child.pid());
        }
    }
}

/// A zygote.
pub(super) type ZygoteProcess = Process<ToZygote, FromZygote>;
/// The router.
pub(super) type RouterProcess = Process<ToRouter, FromRouter>;

/// A worker.
#[derive(Debug)]
pub(super) struct WorkerProcess {
    pub(super) process: Process<ToWorker, FromWorker>,
    /// Which of the workers that ever had its slot.
    pub(super) life: u64,
    pub(super) number: u32,
    pub(super) generation: u64,
    /// The router's ends of its connections, until the router has them.
    pub(super) router_ends: Vec<OwnedFd>,
    /// Why the master killed it, or told it to end.
    pub(super) killed: Option<Cause>,
    /// How it stands with its request that runs too long.
    pub(super) patience: Patience,
    pub(super) ready: bool,
    /// It was told to finish.
    pub(super) leaves: bool,
    /// Its end was told of.
    pub(super) buried: bool,
    /// The scoreboard that it writes.
    pub(super) board: Arc<Scoreboard>,
}

impl WorkerProcess {
    /// Has it accept nothing more, even before it hears that it is to finish.
    pub(super) fn dismiss(&self, slot: usize) {
        self.board.slot(slot).into_iter().for_each(Slot::dismiss);
    }
}

/// A rehearsal that runs.
#[derive(Debug)]
pub(super) struct Rehearsal {
    pub(super) operation: OperationId,
    pub(super) process: Process<super::rehearse::Request, super::rehearse::Answer>,
    pub(super) deadline: crate::tick::Tick,
    pub(super) answered: bool,
}

/// All processes of an instance.
#[derive(Debug, Default)]
pub(super) struct Children {
    pub(super) zygotes: BTreeMap<u64, ZygoteProcess>,
    pub(super) workers: BTreeMap<usize, WorkerProcess>,
    /// The scoreboard that each zygote gives its workers.
    pub(super) boards: BTreeMap<u64, Arc<Scoreboard>>,
    pub(super) router: Option<RouterProcess>,
    /// The router's queue.
    pub(super) queue: Option<SharedQueue>,
    pub(super) passage: Option<Passage>,
    /// What hooks in zygotes and workers started, each the leader of a process group, and for whom.
    pub(super) commands: Vec<(Owner, Child)>,
    /// The newest life of a worker, router, rehearsal or chore.
    pub(super) lives: u64,
    pub(super) router_life: u64,
    /// Whether the router answers.
    pub(super) vigil: Vigil,
    pids: HashMap<u32, Owner>,
    strays: VecDeque<(u32, Exit)>,
}

impl Children {
    /// The next life's number.
    pub(super) fn next_life(&mut self) -> u64 {
        self.lives += 1;
        self.lives
    }

    /// Remembers whose a pid is.
    pub(super) fn know(&mut self, pid: u32, owner: Owner) {
        self.pids.insert(pid, owner);
    }

    /// A pid was reaped: whose was it? One that is not known yet may be a worker whose zygote has not told.
    pub(super) fn reaped(&mut self, pid: u32, exit: Exit) -> Option<Owner> {
        let owner = self.pids.remove(&pid);
        if owner.is_none() {
            if self.strays.len() >= STRAYS {
                self.strays.pop_front();
            }
            self.strays.push_back((pid, exit));
        }
        owner
    }

    /// A handle for a process that a zygote says it forked; or how it ended already.
    pub(super) fn adopt(&mut self, pid: u32, owner: Owner) -> io::Result<Result<Child, Exit>> {
        if let Some(at) = self.strays.iter().position(|s| s.0 == pid)
            && let Some((_, exit)) = self.strays.remove(at)
        {
            return Ok(Err(exit));
        }
        let child = Child::adopt(pid)?;
        self.know(pid, owner);
        Ok(Ok(child))
    }

    /// Kills what a hook started in a process that is gone.
    pub(super) fn end_commands_of(&mut self, owner: Owner) {
        for (_, child) in self.commands.extract_if(.., |(whose, _)| *whose == owner) {
            let _ = child.kill_group();
        }
    }

    /// Kills every process.
    pub(super) fn kill_all(&self) {
        self.zygotes.values().for_each(Process::kill);
        self.workers.values().for_each(|w| w.process.kill());
        self.router.iter().for_each(Process::kill);
        for (_, child) in &self.commands {
            let _ = child.kill_group();
        }
    }
}

/// Ends every process that the application left behind: they became our children when their parents ended.
pub(super) fn end_children() {
    for _ in 0..1000 {
        while let Ok(Some(_)) = process::reap_any() {}
        let children = own::children().unwrap_or_default();
        let Some(pid) = children.first() else { return };
        // A child that was not reaped keeps its pid.
        let Ok(child) = Child::adopt(*pid) else { return };
        if child.kill().is_err() || !wait::readable(&child, Some(KILL_WAIT)).unwrap_or(false) {
            tracing::warn!("process {pid} does not end");
            return;
        }
    }
}
