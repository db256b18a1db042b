//! The master's care for mules: having them forked, hearing them, ending them. What is to be done is decided with the
//! other companions.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};

use serde::{Deserialize, Serialize};

use super::children::{Owner, Process};
use super::companions::{End, Event, Task};
use super::event;
use super::link::Link;
use super::master::{Master, Report};
use super::reexec::Luggage;
use super::roster::Zygote;
use crate::config::companions::CompanionSpec;
use crate::sys::fd;
use crate::sys::mailbox::Mailbox;
use crate::sys::process::{Child, Exit, Signal};
use crate::tick::Tick;
use crate::wire::channel::{self, Received};
use crate::wire::failure::Failure;
use crate::wire::message::{FromWorker, ToWorker, ToZygote};
use crate::wire::mule::{MuleBirth, MuleOrder};

/// The mules, as processes, and what their messages wait in.
#[derive(Debug, Default)]
pub(super) struct Mules {
    /// That of all mules, then each mule's own. They outlive the mules: no message is lost by a reload.
    queues: Vec<Mailbox>,
    /// By run.
    processes: BTreeMap<u64, MuleProcess>,
    /// Runs for which no zygote could be asked yet.
    waiting: BTreeSet<u64>,
}

/// A mule.
#[derive(Debug)]
struct MuleProcess {
    process: Process<ToWorker, FromWorker>,
    number: u32,
    /// Which zygote was asked for it.
    zygote: u64,
    /// What it gets once its pid is known.
    owed: Option<Signal>,
    /// When it has worked on one message for too long.
    deadline: Option<Tick>,
}

/// What of them goes over an `execve`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct MulesRecord {
    queues: Vec<[RawFd; 2]>,
    processes: Vec<MuleRecord>,
    waiting: BTreeSet<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct MuleRecord {
    life: u64,
    number: u32,
    zygote: u64,
    pid: Option<u32>,
    channel: RawFd,
    deadline_ms: Option<u64>,
}

impl Mules {
    /// Sees to it that there is a queue for each mule that this configuration has, and for all of them.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn keep_queues(&mut self, spec: &CompanionSpec) -> io::Result<()> {
        let wanted = spec.queues();
        while self.queues.len() < wanted {
            self.queues.push(Mailbox::new()?);
        }
        if let Ok(bytes @ 1..) = usize::try_from(spec.mule_queue_bytes) {
            self.queues.iter().take(wanted).try_for_each(|queue| queue.set_capacity(bytes))?;
        }
        Ok(())
    }

    /// The ends of the queues that a zygote of this configuration gets.
    pub(super) fn ends(&self, spec: &CompanionSpec) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.queues.iter().take(spec.queues()).flat_map(Mailbox::ends)
    }

    /// When the first of them has worked for too long.
    pub(super) fn next_deadline(&self) -> Option<Tick> {
        self.processes.values().filter_map(|mule| mule.deadline).min()
    }

    /// One was reaped.
    pub(super) fn reaped(&mut self, life: u64, exit: Exit) {
        if let Some(mule) = self.processes.get_mut(&life) {
            mule.process.exit = Some(exit);
            mule.process.link.end();
        }
    }

    /// Takes them along over an `execve`.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn pack(&self, luggage: &mut Luggage) -> io::Result<MulesRecord> {
        let mut record = MulesRecord { waiting: self.waiting.clone(), ..MulesRecord::default() };
        for queue in &self.queues {
            let [sender, receiver] = queue.ends();
            let mut take = |end| luggage.take_owned(fd::duplicate_high(end)?);
            record.queues.push([take(sender)?, take(receiver)?]);
        }
        for (life, mule) in &self.processes {
            record.processes.push(MuleRecord {
                life: *life,
                number: mule.number,
                zygote: mule.zygote,
                pid: mule.process.pid(),
                channel: luggage.take_owned(mule.process.link.duplicate()?)?,
                deadline_ms: mule.deadline.map(Tick::as_ms),
            });
        }
        Ok(record)
    }
}

impl Master {
    /// A run of a mule begins: its zygote is asked as soon as there is one.
    pub(super) fn start_mule(&mut self, life: u64) {
        self.attendance.mules.waiting.insert(life);
    }

    /// Asks the zygote of the generation that serves for the mules that wait.
    pub(super) fn fork_mules(&mut self) {
        if self.attendance.mules.waiting.is_empty() {
            return;
        }
        let Some(serving) = self.roster.serving() else { return };
        let (Zygote::Ready { id, .. }, lazy) = (serving.zygote, serving.lazy) else { return };
        // An instance without workers loads nothing before; its mules have the application all the same.
        let load = lazy && !self.current.said.spec.workers.lazy_apps;
        for life in std::mem::take(&mut self.attendance.mules.waiting) {
            if let Err(error) = self.fork_mule(id, life, load) {
                self.mule_failed(life, &format!("it could not be forked: {error}"));
            }
        }
    }

    fn fork_mule(&mut self, zygote: u64, life: u64, load: bool) -> io::Result<()> {
        let Some(Task::Mule(mule)) = self.attendance.companions.task_of(life) else { return Ok(()) };
        let number = mule.number;
        let asked = self.children.zygotes.get(&zygote);
        let asked = asked.ok_or_else(|| io::Error::other("the interpreter is gone"))?;
        let (ours, theirs) = channel::pair()?;
        let link = Link::start(ours, self.reports.clone(), move |message| Report::Mule(life, message))?;
        asked.link.send(&ToZygote::ForkMule(MuleOrder { number, life, load }), &[theirs.as_fd()]);
        let process = Process::new(None, link);
        let mule = MuleProcess { process, number, zygote, owed: None, deadline: None };
        self.attendance.mules.processes.insert(life, mule);
        Ok(())
    }

    /// A run did not come to anything.
    fn mule_failed(&mut self, life: u64, how: &str) {
        self.attend(Event::Failed { life, failure: Failure::new(how) });
        self.attend(Event::Gone { life, how: how.to_owned() });
    }

    pub(super) fn mule_born(&mut self, MuleBirth { life, pid }: MuleBirth) {
        let Some(mule) = self.attendance.mules.processes.get_mut(&life) else { return };
        if mule.process.child.is_some() || mule.process.exit.is_some() {
            return;
        }
        let adopted = pid
            .and_then(|pid| Ok((pid, self.children.adopt(pid, Owner::Mule(life)).map_err(Failure::from)?)));
        match adopted {
            Ok((pid, child)) => {
                tracing::info!("spawned uWSGI mule {} (pid: {pid})", mule.number);
                match child {
                    Ok(child) => mule.process.child = Some(child),
                    Err(exit) => self.attendance.mules.reaped(life, exit),
                }
                self.attend(Event::Started { life, pid });
                let mule = self.attendance.mules.processes.get_mut(&life);
                if let Some(signal) = mule.and_then(|mule| mule.owed.take()) {
                    self.signal_mule(life, signal);
                }
            }
            Err(failure) => {
                // One that could not be taken for a child ends with its channel.
                self.attendance.mules.processes.remove(&life);
                self.mule_failed(life, &failure.to_string());
            }
        }
    }

    /// Tells a mule to end.
    pub(super) fn signal_mule(&mut self, life: u64, signal: Signal) {
        if self.attendance.mules.waiting.remove(&life) {
            return self.attend(Event::Gone { life, how: "it was never started".to_owned() });
        }
        let Some(mule) = self.attendance.mules.processes.get_mut(&life) else { return };
        let Some(child) = &mule.process.child else {
            mule.owed = Some(signal);
            return;
        };
        if mule.process.exit.is_none()
            && let Err(error) = child.signal(signal)
        {
            tracing::warn!("mule {} did not get {signal:?}: {error}", mule.number);
        }
        // After the signal: whoever waits for a message looks for it when this comes.
        mule.process.link.send(&ToWorker::Drain, &[]);
    }

    pub(super) fn hear_mule(&mut self, life: u64, message: Option<Received<FromWorker>>) {
        let Some(mule) = self.attendance.mules.processes.get_mut(&life) else { return };
        match message.map(|(message, _)| message) {
            None => mule.process.silent = true,
            Some(FromWorker::ReloadRequested) => {
                self.reload_by_itself("uwsgi.reload()".to_owned(), None);
            }
            Some(FromWorker::StopRequested) => {
                tracing::info!("the application asked to stop");
                self.handle(event::Event::Stop { mercy: None });
            }
            Some(FromWorker::MuleDeadline(at_ms)) => mule.deadline = at_ms.map(Tick::from_ms),
            // The rest is of those that serve.
            Some(_) => {}
        }
    }

    /// Kills those that have worked on one message for too long.
    pub(super) fn mules_overdue(&mut self, now: Tick) {
        for mule in self.attendance.mules.processes.values_mut() {
            if mule.deadline.is_some_and(|deadline| deadline <= now) {
                mule.deadline = None;
                let pid = mule.process.pid().unwrap_or(0);
                tracing::warn!("*** HARAKIRI ON MULE {} (pid: {pid}) ***", mule.number);
                mule.process.kill();
            }
        }
    }

    /// A zygote is gone: whom it has not forked, the next one does.
    pub(super) fn mules_of_zygote_gone(&mut self, zygote: u64) {
        let is_unborn = |mule: &MuleProcess| {
            mule.zygote == zygote && mule.process.child.is_none() && mule.process.exit.is_none()
        };
        let mules = &self.attendance.mules.processes;
        let unborn: Vec<u64> =
            mules.iter().filter_map(|(life, mule)| is_unborn(mule).then_some(*life)).collect();
        for life in unborn {
            let mule = self.attendance.mules.processes.remove(&life);
            if mule.is_some_and(|mule| mule.owed.is_some()) {
                self.attend(Event::Gone { life, how: "it was never started".to_owned() });
            } else {
                self.start_mule(life);
            }
        }
    }

    /// Tells of the mules that are over.
    pub(super) fn bury_mules(&mut self) {
        let mules = &self.attendance.mules.processes;
        let over: Vec<(u64, Exit)> =
            mules.iter().filter_map(|(life, mule)| Some((*life, mule.process.over()?))).collect();
        for (life, exit) in over {
            self.attendance.mules.processes.remove(&life);
            let how = exit.to_string();
            self.attend(Event::Ended { life, end: End { how: how.clone(), success: exit.is_success() } });
            self.attend(Event::Gone { life, how });
        }
    }

    /// Goes on with them in the next image.
    ///
    /// # Errors
    /// A descriptor that is not there.
    pub(super) fn unpack_mules(&mut self, record: MulesRecord) -> io::Result<()> {
        let mules = &mut self.attendance.mules;
        for [sender, receiver] in record.queues {
            mules.queues.push(Mailbox::of_ends(fd::adopt(sender)?, fd::adopt(receiver)?));
        }
        mules.waiting = record.waiting;
        for MuleRecord { life, number, zygote, pid, channel, deadline_ms } in record.processes {
            let wrap = move |message| Report::Mule(life, message);
            let link = Link::start(fd::adopt(channel)?, self.reports.clone(), wrap)?;
            if let Some(pid) = pid {
                self.children.know(pid, Owner::Mule(life));
            }
            let process = Process::new(pid.map(Child::adopt).transpose()?, link);
            let deadline = deadline_ms.map(Tick::from_ms);
            mules.processes.insert(life, MuleProcess { process, number, zygote, owed: None, deadline });
        }
        Ok(())
    }
}
