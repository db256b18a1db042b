//! The master's loop: hears everybody, decides, does.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::attend::Attendance;
use super::bind::Sockets;
use super::caches::Caches;
use super::certificates::Certificates;
use super::changes::Watch;
use super::children::{Children, Rehearsal};
use super::chores::Chores;
use super::companions;
use super::decide;
use super::event::Event;
use super::fifo::Fifo;
use super::inbox::{Inbox, take_all};
use super::keeper::FromKeeper;
use super::launch::Interpreter;
use super::link::Link;
use super::log_file::LogFile;
use super::logs::{Board, Output};
use super::operations;
use super::orphan::{Adopted, Unsent};
use super::rehearse::Answer;
use super::rest::Rest;
use super::roster::{Roster, Settings};
use super::source::{Said, Source};
use super::stats_push::Pushers;
use super::stats_socket::{Ask, StatsServer};
use super::touch::{self, Purpose, Touched};
use super::uwsgi_emperor::UwsgiEmperor;
use super::watch::Bell;
use crate::config::hook::Point;
use crate::hook::role::Word;
use crate::stats::scoreboard::Scoreboard;
use crate::stats::tally::Tally;
use crate::sys::alarm::Alarm;
use crate::sys::background::Foreground;
use crate::sys::locks::Locks;
use crate::sys::signals::Signals;
use crate::sys::{clock, terminal, title};
use crate::tick::Tick;
use crate::wire::bytes::ToVassal;
use crate::wire::channel::Received;
use crate::wire::message::{
    FromInstance, FromRouter, FromWorker, FromZygote, OperationId, Policy, ToInstance,
};
use crate::wire::succession::Succession;

/// The configuration of a generation, ready to be used.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) said: Said,
    pub(super) interpreter: Interpreter,
    pub(super) sockets: Sockets,
    pub(super) certificates: Certificates,
}

impl Config {
    /// What decisions need of it.
    pub(super) fn settings(&self) -> Settings {
        let spec = &self.said.spec;
        // Without workers there is nothing to load, by nobody.
        let has_workers = spec.has_workers();
        Settings {
            processes: if has_workers { spec.workers.processes.max(1) } else { 0 },
            threads: spec.workers.cores(),
            lazy: spec.workers.lazy_apps || !has_workers,
            names_app: spec.app.load.is_some() || !spec.app.mounts.is_empty(),
            router: spec.listen.iter().any(|l| l.protocol.is_of_router()),
            mercy: Duration::from_secs(u64::from(spec.workers.reload_mercy_s)),
            patience: match spec.workers.startup_timeout_s {
                0 => None,
                seconds => Some(Duration::from_secs(seconds.into())),
            },
            cheaper: spec.workers.cheaper,
            mules: !spec.companions.mules.is_empty(),
            needs: spec.socket_map.needs(),
        }
    }
}

/// What comes in from other processes.
#[derive(Debug)]
pub(super) enum Report {
    Emperor(Option<Received<ToInstance>>),
    UwsgiEmperor(Option<ToVassal>),
    UwsgiConfig(Vec<u8>),
    Zygote(u64, Option<Received<FromZygote>>),
    Worker(usize, u64, Option<Received<FromWorker>>),
    Router(u64, Option<Received<FromRouter>>),
    Rehearsal(OperationId, Option<Box<Received<Answer>>>),
    Chore(u64, Option<Received<Word>>),
    Keeper(u64, Option<Received<FromKeeper>>),
    Mule(u64, Option<Received<FromWorker>>),
    /// A process that a pid file of this companion names has ended.
    StrangerGone(u64, u32),
    /// An emperor answered a call at the rendezvous, or none did in time.
    Call(Option<Adopted>),
    /// Somebody connects while no worker runs.
    Called,
    /// What is to be told of a logger.
    Logger(String),
    /// What was written to the FIFO.
    Commands(Vec<u8>),
    /// A file of `fs-reload` has changed.
    Changed(PathBuf),
    /// Who waited in the foreground does not any more.
    Left,
}

/// The master of an instance.
pub(super) struct Master {
    pub(super) source: Source,
    pub(super) policy: Policy,
    pub(super) binary: PathBuf,
    /// What it was started with: the title may overwrite the original.
    pub(super) arguments: Vec<OsString>,
    /// Where the process was started: where relative names of the configuration start.
    pub(super) directory: PathBuf,
    /// An emperor started it.
    pub(super) supervised: bool,
    pub(super) roster: Roster,
    pub(super) board: Board,
    /// The application's, over all generations.
    pub(super) locks: Locks,
    pub(super) output: Output,
    pub(super) configs: BTreeMap<u64, Rc<Config>>,
    /// The configuration in force.
    pub(super) current: Rc<Config>,
    pub(super) current_generation: u64,
    /// What the last rehearsal found, until a generation adopts it.
    pub(super) prepared: Option<Rc<Config>>,
    pub(super) emperor: Option<Link<FromInstance, ToInstance>>,
    /// Who the emperor runs as: only another of this user may adopt the instance.
    pub(super) emperor_uid: u32,
    /// An emperor of uWSGI in its place.
    pub(super) uwsgi_emperor: Option<UwsgiEmperor>,
    /// When to give the next sign of life.
    pub(super) beat_at: Option<Tick>,
    /// What the next emperor has to be told.
    pub(super) unsent: Unsent,
    /// The vassal file, as the emperor opened it last.
    pub(super) file: Option<OwnedFd>,
    pub(super) children: Children,
    pub(super) rehearsal: Option<Rehearsal>,
    pub(super) tallies: BTreeMap<u32, Tally>,
    pub(super) stats: Vec<StatsServer>,
    pub(super) pushers: Pushers,
    pub(super) touched: Option<Touched>,
    pub(super) changes: Option<Watch>,
    /// The files that no other instance is to have locked meanwhile.
    pub(super) flocks: Vec<OwnedFd>,
    /// Who waits in the foreground for the instance to serve (`daemonize2`).
    pub(super) foreground: Option<Foreground>,
    pub(super) own_operations: u64,
    /// A replacement takes over: files and sockets are its own now.
    pub(super) replaced: bool,
    /// Who serves on its sockets once its emperor has had it stop.
    pub(super) succession: Succession,
    pub(super) events: VecDeque<Event>,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) reexec: Option<(OperationId, bool)>,
    pub(super) exit: Option<(u8, Option<crate::wire::failure::Failure>)>,
    pub(super) interrupted: bool,
    pub(super) rest: Rest,
    /// How many workers must be busy before one of them says so; 0: the master looks itself.
    pub(super) lookout: u32,
    /// When to look at the memory of workers.
    pub(super) weigh_at: Option<Tick>,
    /// What waits for connections while no worker runs.
    pub(super) bell: Option<Bell>,
    pub(super) chores: Chores,
    /// How the terminal was before workers had it (`honour-stdin`).
    pub(super) terminal: Option<terminal::Modes>,
    pub(super) attendance: Attendance,
    pub(super) caches: Caches,
    /// What an operator writes commands to.
    pub(super) fifo: Option<Fifo>,
    /// An operator wants no worker to run.
    pub(super) paused: bool,
}

impl Master {
    /// Serves until everything is over; answers the exit status.
    pub(super) async fn serve(mut self, mut signals: Signals, mut inbox: Inbox) -> u8 {
        let mut touch_timer = tokio::time::interval(touch::INTERVAL);
        touch_timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut alarm = Alarm::default();
        self.reap();
        loop {
            self.work_off();
            if self.reexec.is_some() {
                // What was read from the channels is decided on by this image.
                for report in take_all(&mut inbox.reports).await {
                    self.report(report);
                }
                self.work_off();
                self.execute_again();
                self.work_off();
            }
            if self.exit.is_some() {
                return self.finish();
            }
            self.keep_bell();
            let deadline = self.next_deadline();
            if let Err(error) = alarm.set(self.next_alarm()) {
                tracing::error!("no timed command can run: {error}");
            }
            tokio::select! {
                signal = signals.next() => self.signal(signal),
                Some(report) = inbox.reports.recv() => self.report(report),
                Some(ask) = inbox.asks.recv() => {
                    let _ = ask.to.send(self.stats_document(ask.plain));
                }
                () = sleep_until(deadline) => {}
                () = alarm.rings() => self.attend(companions::Event::Timer),
                _ = touch_timer.tick(), if self.touched.is_some() => self.look_at_touched(),
            }
            self.overdue();
        }
    }

    /// Feeds an event and everything that follows from it.
    pub(super) fn handle(&mut self, event: Event) {
        self.events.push_back(event);
    }

    fn work_off(&mut self) {
        let mut effects = Vec::new();
        self.events.push_back(Event::Timer);
        while let Some(event) = self.events.pop_front() {
            decide::decide(&mut self.roster, event, clock::now(), &mut effects);
            for effect in effects.drain(..) {
                self.perform(effect);
            }
        }
        self.fork_mules();
    }

    /// The next thing that only time brings.
    fn next_deadline(&self) -> Option<Tick> {
        let rehearsal = self.rehearsal.as_ref().map(|r| r.deadline);
        let config = self.uwsgi_emperor.as_ref().and_then(UwsgiEmperor::reload_until);
        let (idle, beat, companions) = (self.next_idle(), self.next_beat(), self.next_attention());
        let weighing = self.next_weighing();
        let (decisions, harakiri) = (self.roster.next_deadline(), self.next_harakiri());
        let (chores, mules) = (self.chores.next_deadline(), self.attendance.mules.next_deadline());
        let vigil = self.next_vigil();
        [decisions, harakiri, vigil, idle, beat, config, rehearsal, weighing, chores, companions, mules]
            .into_iter()
            .flatten()
            .min()
    }

    /// Looks at what time has brought.
    fn overdue(&mut self) {
        let now = clock::now();
        self.harakiri(now);
        self.watch_router(now);
        self.weigh(now);
        self.chores_overdue(now);
        self.look_for_rest(now);
        self.beat(now);
        self.look_after_companions(now);
        self.mules_overdue(now);
        self.look_for_uwsgi_config(now);
        if self.rehearsal.as_ref().is_some_and(|r| r.deadline <= now) {
            self.rehearsal_timed_out();
        }
        if self.boards().requests() > 0 {
            self.handle(Event::Answered);
        }
    }

    /// Reloads because of something that is no operation of the emperor's; answers whether that is new: a reload that
    /// waits for its time stands for all that is asked meanwhile.
    pub(super) fn reload_by_itself(&mut self, mut reason: String, reexec: Option<bool>) -> bool {
        if self.roster.waits_for(reexec) {
            return false;
        }
        let wait = self.roster.pace.free_at().since(clock::now());
        if !wait.is_zero() {
            let seconds = wait.as_secs_f64();
            reason = format!("{reason}, in {seconds:.1} s, since it reloads too often");
        }
        self.own_operations += 1;
        let operation = operations::OWN | self.own_operations;
        tracing::info!("reloading: {reason}");
        self.tell_emperor(&FromInstance::Began { operation, reason }, &[]);
        self.handle(match reexec {
            None => Event::Reload(operation),
            Some(reload) => Event::Reexec { operation, reload },
        });
        true
    }

    fn look_at_touched(&mut self) {
        let changed = self.touched.as_mut().map(Touched::changed).unwrap_or_default();
        for (path, _) in changed.iter().filter(|(_, purpose)| *purpose == Purpose::Companion) {
            self.attend(companions::Event::Touched(path.clone()));
        }
        for (_, purpose) in &changed {
            match purpose {
                Purpose::Reload | Purpose::Companion => {}
                Purpose::RotateLog => self.output.with_file(LogFile::rotate),
                Purpose::ReopenLog => self.output.with_file(LogFile::reopen),
                Purpose::Hook => {}
            }
        }
        for (path, _) in changed.iter().filter(|(_, purpose)| *purpose == Purpose::Hook) {
            self.act(&Point::Touch(path.clone()));
        }
        if let Some((path, _)) = changed.into_iter().find(|(_, purpose)| *purpose == Purpose::Reload) {
            tracing::info!("*** {} has been touched... grace them all !!! ***", path.display());
            self.reload_by_itself(format!("touch-reload of {}", path.display()), None);
        }
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Emperor(message) => self.hear_emperor(message),
            Report::UwsgiEmperor(word) => self.hear_uwsgi(word),
            Report::UwsgiConfig(text) => self.hear_uwsgi_config(&text),
            Report::Call(adopted) => self.hear_call(adopted),
            Report::Called => {
                self.rest = Rest::default();
                self.handle(Event::Called);
            }
            Report::Logger(message) => self.tell(message),
            Report::Commands(commands) => self.hear_commands(commands),
            Report::Changed(path) => self.hear_change(&path),
            Report::Left => self.left_in_foreground(),
            Report::Zygote(id, message) => self.hear_zygote(id, message),
            Report::Worker(slot, life, message) => {
                if self.children.workers.get(&slot).is_some_and(|w| w.life == life) {
                    self.hear_worker(slot, message);
                }
            }
            Report::Router(life, message) => {
                if self.children.router_life == life {
                    self.hear_router(message);
                }
            }
            Report::Chore(id, word) => self.hear_chore(id, word),
            Report::Rehearsal(operation, message) => {
                if self.rehearsal.as_ref().is_some_and(|r| r.operation == operation) {
                    self.hear_rehearsal(message);
                }
            }
            Report::Keeper(life, message) => self.hear_keeper(life, message),
            Report::Mule(life, message) => self.hear_mule(life, message),
            Report::StrangerGone(number, pid) => self.attend(companions::Event::StrangerGone { number, pid }),
        }
        self.bury();
    }

    /// A line for the log and for the emperor's operator.
    pub(super) fn tell(&self, message: String) {
        tracing::warn!("{message}");
        self.tell_emperor(&FromInstance::Event { message }, &[]);
    }

    /// A debugger that is killed leaves a terminal without an echo.
    pub(super) fn remember_terminal(&mut self) {
        if self.current.said.spec.honour_stdin {
            self.terminal = terminal::Modes::of_stdin();
        }
    }

    /// Calls the process as uWSGI would, if that is wanted.
    pub(super) fn show_title(&self) {
        if let Some(title) = self.current.said.spec.title("master") {
            title::set(&title);
        }
    }
}

/// Sleeps until a tick, or for ever.
async fn sleep_until(deadline: Option<Tick>) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline.since(clock::now())).await,
        None => std::future::pending().await,
    }
}

/// A scoreboard that can be replaced.
pub(super) fn board(board: Arc<Scoreboard>) -> Board {
    Rc::new(RefCell::new(board))
}
