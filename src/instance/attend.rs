//! The master's care for what lives beside the workers: doing what was decided, and hearing what came of it.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use tokio::task::{AbortHandle, spawn_local};

use super::children::{Owner, Process};
use super::companions::cron::Local;
use super::companions::decide::decide;
use super::companions::{Companions, Effect, End, Event, Moment, Standing, Task};
use super::event;
use super::keeper::{FromKeeper, Order, ToKeeper};
use super::launch;
use super::link::Link;
use super::master::{Master, Report};
use super::mules::Mules;
use super::reexec::{Luggage, ProcessRecord};
use crate::config::companions::{DaemonSpec, Tracking};
use crate::sys::process::{self, Child, Exit, Signal};
use crate::sys::{clock, fd, file, local_time, own, reactor};
use crate::tick::Tick;
use crate::wire::channel::Received;
use crate::wire::companion;
use crate::wire::failure::Failure;
use crate::wire::message::FromInstance;

/// What a companion gets to end where `reload-mercy` does not say it: so it is in uWSGI.
const MERCY: Duration = Duration::from_secs(3);
/// What a shell says of a program that is not there.
const NOT_FOUND: i32 = 127;
/// By how much a process may seem to have started after it has written its pid: clocks are set and rounded.
const CLOCKS_S: u64 = 5;
/// The most that is read of a pid file.
const PID_BYTES: u64 = 64;

/// A keeper: see [`super::keeper`].
pub(super) type KeeperProcess = Process<ToKeeper, FromKeeper>;

/// The companions, and the processes behind them.
#[derive(Debug, Default)]
pub(super) struct Attendance {
    pub(super) companions: Companions,
    /// By run.
    pub(super) keepers: BTreeMap<u64, KeeperProcess>,
    /// Who waits for the end of a process that somebody else has started, by companion.
    watches: BTreeMap<u64, AbortHandle>,
    pub(super) mules: Mules,
    /// What the emperor was told.
    told: Vec<companion::Companion>,
}

impl Master {
    /// The configuration in force says who is to be there.
    pub(super) fn renew_companions(&mut self) {
        let spec = &self.current.said.spec;
        let mercy = match spec.workers.instance_mercy_s {
            0 => MERCY,
            seconds => Duration::from_secs(seconds.into()),
        };
        let tasks = Task::all(&spec.companions);
        self.attend(Event::Renew { tasks, mercy });
    }

    /// Decides what follows from an event, and does it.
    pub(super) fn attend(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let mut effects = Vec::new();
            let moment = Moment { now: clock::now(), epoch_s: clock::epoch_seconds(), local: &local };
            decide(&mut self.attendance.companions, event, &moment, &mut effects);
            for effect in effects {
                tracing::debug!("{effect:?}");
                self.attend_to(effect, &mut events);
            }
        }
        self.tell_companions();
    }

    fn attend_to(&mut self, effect: Effect, events: &mut VecDeque<Event>) {
        match effect {
            Effect::Start { life, .. } if self.is_mule(life) => self.start_mule(life),
            Effect::Signal { life, signal } if self.is_mule(life) => {
                self.signal_mule(life, Signal::Other(signal));
            }
            Effect::Kill { life } if self.is_mule(life) => self.signal_mule(life, Signal::Kill),
            Effect::Start { number, life } => {
                if let Err(error) = self.start_keeper(number, life) {
                    let how = format!("its keeper cannot be started: {error}");
                    events.push_back(Event::Failed { life, failure: Failure::new(how.clone()) });
                    events.push_back(Event::Gone { life, how });
                }
            }
            Effect::Signal { life, signal } => self.say_to_keeper(life, &ToKeeper::Signal(signal)),
            Effect::Kill { life } => self.say_to_keeper(life, &ToKeeper::Kill),
            Effect::Look { number } => {
                let daemon = self.daemon(number);
                let pidfile = daemon.and_then(|daemon| daemon.tracking.pidfile());
                let pid = pidfile.and_then(|path| running(path));
                events.push_back(Event::Looked { number, pid });
            }
            Effect::Watch { number, pid } => {
                if let Err(error) = self.watch(number, pid) {
                    tracing::debug!("process {pid} cannot be watched: {error}");
                    events.push_back(Event::StrangerGone { number, pid });
                }
            }
            Effect::SignalStranger { pid, signal, .. } => {
                let sent = Child::adopt(pid).and_then(|child| child.signal_group(Signal::Other(signal)));
                if let Err(error) = sent {
                    tracing::warn!("process {pid} cannot be told by signal {signal}: {error}");
                }
            }
            Effect::Stop => self.handle(event::Event::Stop { mercy: None }),
            Effect::Log(line) => tracing::info!("{line}"),
            Effect::Tell(message) => {
                tracing::warn!("{message}");
                self.tell_emperor(&FromInstance::Companion { message }, &[]);
            }
            Effect::Alone => self.handle(event::Event::Alone),
        }
    }

    fn is_mule(&self, life: u64) -> bool {
        matches!(self.attendance.companions.task_of(life), Some(Task::Mule(_)))
    }

    fn daemon(&self, number: u64) -> Option<&DaemonSpec> {
        match &self.attendance.companions.companion(number)?.task {
            Task::Daemon(daemon) => Some(daemon),
            Task::Cron(_) | Task::Touch(_) | Task::Mule(_) => None,
        }
    }

    fn start_keeper(&mut self, number: u64, life: u64) -> io::Result<()> {
        let Some(companion) = self.attendance.companions.companion(number) else { return Ok(()) };
        let spec = &self.current.said.spec;
        let daemon = self.daemon(number);
        let order = Order {
            name: companion.name.clone(),
            command: companion.task.command().to_owned(),
            directory: daemon.and_then(|d| d.chdir.clone()).or_else(|| spec.app.chdir.clone()),
            env: spec.env.clone(),
            without_linker: self.supervised,
            uid: daemon.and_then(|d| d.uid.clone()),
            gid: daemon.and_then(|d| d.gid.clone()),
            new_privileges: spec.identity.new_privileges,
            pidfile: daemon.and_then(|d| match &d.tracking {
                Tracking::Held(pidfile) => Some(pidfile.clone()),
                Tracking::Attached | Tracking::Background { .. } => None,
            }),
            lingers: daemon.is_none_or(|d| matches!(d.tracking, Tracking::Background { .. })),
            stop_signal: companion.task.stop_signal(),
            mercy_ms: u64::try_from(self.attendance.companions.mercy.as_millis()).unwrap_or(u64::MAX),
        };
        let (own_pids, with_stdin) = (daemon.is_some_and(|d| d.ns_pid), daemon.is_some_and(|d| d.stdin));
        let stdin = with_stdin.then(|| fd::duplicate(0)).transpose()?;
        let (child, socket) = launch::keeper(&order.name, own_pids, &self.output)?;
        let wrap = move |message| Report::Keeper(life, message);
        let link = Link::start(socket, self.reports.clone(), wrap)?;
        let fds: Vec<BorrowedFd<'_>> = stdin.iter().map(AsFd::as_fd).collect();
        link.send(&ToKeeper::Start(Box::new(order)), &fds);
        self.children.know(child.pid(), Owner::Keeper(life));
        self.attendance.keepers.insert(life, Process::new(Some(child), link));
        Ok(())
    }

    fn say_to_keeper(&self, life: u64, message: &ToKeeper) {
        if let Some(keeper) = self.attendance.keepers.get(&life) {
            keeper.link.send(message, &[]);
        }
    }

    fn watch(&mut self, number: u64, pid: u32) -> io::Result<()> {
        let pidfd = Child::adopt(pid)?.as_fd().try_clone_to_owned()?;
        let pidfd = reactor::register_readable(pidfd)?;
        let reports = self.reports.clone();
        let task = spawn_local(async move {
            if pidfd.readable().await.is_ok() {
                let _ = reports.send(Report::StrangerGone(number, pid)).await;
            }
        });
        if let Some(before) = self.attendance.watches.insert(number, task.abort_handle()) {
            before.abort();
        }
        Ok(())
    }

    pub(super) fn hear_keeper(&mut self, life: u64, message: Option<Received<FromKeeper>>) {
        let Some(keeper) = self.attendance.keepers.get_mut(&life) else { return };
        match message.map(|(message, _)| message) {
            None => {
                keeper.silent = true;
                // What it kept is gone by then, or it cannot be spoken to any more.
                keeper.kill();
            }
            Some(FromKeeper::Started { pid }) => {
                let pid =
                    keeper.pid().and_then(|keeper| own::child_in_namespace_of(keeper, pid)).unwrap_or(pid);
                self.attend(Event::Started { life, pid });
            }
            Some(FromKeeper::Failed(failure)) => self.attend(Event::Failed { life, failure }),
            Some(FromKeeper::Ended(exit)) => {
                let how = match exit {
                    Exit::Status(NOT_FOUND) => format!("{exit}: the shell has not found its program"),
                    _ => exit.to_string(),
                };
                let end = End { how, success: exit.is_success() };
                self.attend(Event::Ended { life, end });
            }
        }
    }

    /// Tells of the keepers that are over.
    pub(super) fn bury_keepers(&mut self) {
        let over: Vec<(u64, Exit)> =
            self.attendance.keepers.iter().filter_map(|(life, k)| Some((*life, k.over()?))).collect();
        for (life, exit) in over {
            self.attendance.keepers.remove(&life);
            let run =
                self.attendance.companions.all.iter().flat_map(|c| &c.runs).find(|run| run.life == life);
            // Somebody killed the keeper: what it kept is our child now.
            if let Some(pid) = run.filter(|run| run.end.is_none()).and_then(|run| run.pid)
                && own::children().is_ok_and(|children| children.contains(&pid))
                && own::group_of(pid) == Some(pid)
            {
                let _ = process::signal_group(pid, Signal::Kill);
            }
            self.attend(Event::Gone { life, how: format!("its keeper ended: {exit}") });
        }
    }

    /// The next thing about companions that only time brings.
    pub(super) fn next_attention(&self) -> Option<Tick> {
        self.attendance.companions.next_deadline()
    }

    /// The next thing about them that the clock of the wall brings, seconds since the epoch.
    pub(super) fn next_alarm(&self) -> Option<u64> {
        self.attendance.companions.next_alarm()
    }

    pub(super) fn look_after_companions(&mut self, now: Tick) {
        if self.next_attention().is_some_and(|at| at <= now) {
            self.attend(Event::Timer);
        }
    }

    /// Tells the emperor how they stand, if that has changed.
    fn tell_companions(&mut self) {
        let told = self.attendance.companions.told();
        if told != self.attendance.told {
            self.attendance.told = told;
            self.send_companions();
        }
    }

    /// Tells an emperor how they stand.
    pub(super) fn introduce_companions(&self) {
        if !self.attendance.told.is_empty() {
            self.send_companions();
        }
    }

    fn send_companions(&self) {
        let companions = self.attendance.told.clone();
        self.tell_emperor(&FromInstance::Companions { companions }, &[]);
    }

    /// Takes them along over an `execve`.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn pack_keepers(&self, luggage: &mut Luggage) -> io::Result<Vec<ProcessRecord>> {
        let mut records = Vec::new();
        for (life, keeper) in &self.attendance.keepers {
            if let Some(pid) = keeper.pid() {
                let channel = luggage.take_owned(keeper.link.duplicate()?)?;
                records.push(ProcessRecord { id: *life, pid, channel });
            }
        }
        Ok(records)
    }

    /// Goes on with them in the next image.
    ///
    /// # Errors
    /// A descriptor that is not there.
    pub(super) fn unpack_companions(
        &mut self,
        companions: Companions,
        keepers: Vec<ProcessRecord>,
    ) -> io::Result<()> {
        for keeper in keepers {
            let life = keeper.id;
            let wrap = move |message| Report::Keeper(life, message);
            let link = Link::start(fd::adopt(keeper.channel)?, self.reports.clone(), wrap)?;
            self.children.know(keeper.pid, Owner::Keeper(life));
            self.attendance.keepers.insert(life, Process::new(Some(Child::adopt(keeper.pid)?), link));
        }
        self.attendance.told = companions.told();
        self.attendance.companions = companions;
        let strangers: Vec<(u64, u32)> = self
            .attendance
            .companions
            .all
            .iter()
            .filter_map(|companion| match companion.standing {
                Standing::Stranger(pid) => Some((companion.number, pid)),
                _ => None,
            })
            .collect();
        for (number, pid) in strangers {
            if self.watch(number, pid).is_err() {
                self.attend(Event::StrangerGone { number, pid });
            }
        }
        Ok(())
    }
}

/// What the clock of the wall shows.
fn local(epoch_s: i64) -> Local {
    let Some(shown) = local_time::at(epoch_s) else { return Local::default() };
    Local {
        minute: shown.tm_min,
        hour: shown.tm_hour,
        day: shown.tm_mday,
        month: shown.tm_mon + 1,
        week: shown.tm_wday,
        ahead_s: i32::try_from(shown.tm_gmtoff).unwrap_or_default(),
    }
}

/// The process that a pid file names, if it runs.
fn running(path: &Path) -> Option<u32> {
    let opened = file::open_untrusted(path).ok()?;
    let metadata = opened.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let mut text = String::new();
    opened.take(PID_BYTES).read_to_string(&mut text).ok()?;
    let pid = u32::try_from(crate::config::value::integer(&text).0).ok().filter(|pid| *pid > 0)?;
    // One that has started after the file was written has only got the number: after a boot, say.
    let written = u64::try_from(metadata.mtime()).unwrap_or_default();
    let is_it = own::started_epoch_s(pid).is_some_and(|started| started <= written + CLOCKS_S);
    (is_it && Child::adopt(pid).is_ok()).then_some(pid)
}
