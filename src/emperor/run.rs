//! The emperor's loop: waits for whatever happens first, asks `decide`, does what it says.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until};

use super::backoff::BackOff;
use super::event::{Effect, Event, News};
use super::fleet::{Directory, Fleet, Phase, Rules};
use super::handle::{Command, Handle};
use super::life::LifeId;
use super::link::Heard;
use super::masters::Masters;
use super::notify::ServiceManager;
use super::reexec::{self, Rehearsal};
use super::scan::{self, Look};
use super::settle::{Note, Settle};
use super::signals::{Signals, Wish};
use super::spawn::Launcher;
use super::watch::Watcher;
use super::{audit, decide, reap, record};
use crate::config::emperor::EmperorSpec;
use crate::sys::{background, clock, fd, own, process, signals};
use crate::tick::Tick;
use crate::wire::failure::Failure;
use crate::wire::message::{FromInstance, OperationId, Outcome, Policy, ToInstance};

/// While a directory cannot be listed it is tried again after this time.
const RETRY: Duration = Duration::from_secs(2);
/// Rescans that events ask for are this far apart.
const RESCANS_APART: Duration = Duration::from_secs(1);
/// How many things that instances said wait for the loop.
const HEARD: usize = 256;

/// Runs an emperor to its end. `serve` gets the handle for the API; what it returns runs beside the loop.
pub fn main<S, F>(spec: EmperorSpec, policy: Policy, serve: S) -> ExitCode
where
    S: FnOnce(Handle) -> io::Result<F>,
    F: Future<Output = ()> + 'static,
{
    let ended = match reexec::rehearsed() {
        // The options were understood, or this line would not be reached.
        Some(result) => result.map_err(Failure::from),
        None => run(spec, policy, serve),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run<S, F>(spec: EmperorSpec, policy: Policy, serve: S) -> Result<(), Failure>
where
    S: FnOnce(Handle) -> io::Result<F>,
    F: Future<Output = ()> + 'static,
{
    let step = |what: &'static str| move |error: io::Error| Failure::new(format!("cannot {what}: {error}"));
    let record = record::take().map_err(step("take over from the emperor's last image"))?;
    signals::ignore_sigpipe().map_err(step("ignore SIGPIPE"))?;
    open_log(&spec, record.is_none()).map_err(step("open the log"))?;
    process::set_child_subreaper().map_err(step("become a child sub-reaper"))?;
    let own_limit = own::raise_descriptor_limit().map_err(step("raise the limit of descriptors"))?;
    if let Some(pidfile) = &spec.pidfile {
        std::fs::write(pidfile, format!("{}\n", std::process::id())).map_err(step("write the pid file"))?;
    }
    let launcher = Launcher {
        policy,
        descriptor_limit: record.as_ref().map_or(own_limit, |record| record.descriptor_limit),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(step("start the runtime"))?;
    let pidfile = spec.pidfile.clone();
    let local = LocalSet::new();
    let ended = local.block_on(&runtime, async move {
        let (mut emperor, operation) = Emperor::new(spec, launcher, record)?;
        match (serve(emperor.handle.clone()), operation) {
            (Ok(beside), _) => drop(tokio::task::spawn_local(beside)),
            (Err(error), None) => return Err(Failure::new(error.to_string())),
            // The vassals that were carried over count for more.
            (Err(error), Some(_)) => tracing::error!("{error}"),
        }
        emperor.run(operation).await;
        Ok(())
    });
    if let Some(pidfile) = pidfile {
        let _ = std::fs::remove_file(pidfile);
    }
    ended
}

/// The log goes to the file, and the emperor to the background, if so asked. A later image has both already.
fn open_log(spec: &EmperorSpec, first_image: bool) -> io::Result<()> {
    if let Some(path) = &spec.logto {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        fd::replace(&log, 1)?;
        fd::replace(&log, 2)?;
    }
    if spec.daemonize && first_image {
        background::go_to_background(background::SingleThreaded::prove()?)?;
        fd::replace(std::fs::File::open("/dev/null")?, 0)?;
    }
    Ok(())
}

struct Emperor {
    handle: Handle,
    commands: mpsc::Receiver<Command>,
    heard: mpsc::Receiver<Heard>,
    masters: Masters,
    launcher: Launcher,
    directories: Vec<PathBuf>,
    watcher: Watcher,
    settle: Settle,
    signals: Signals,
    manager: ServiceManager,
    rehearsal: Option<Rehearsal>,
    rescan_every: Duration,
    rescanned: Tick,
    rescan_at: Tick,
    alive_at: Option<Tick>,
    /// Events that follow from effects, to be decided on before anything else.
    due: VecDeque<Event>,
    done: bool,
}

impl Emperor {
    /// Takes over from the last image if there is a record; answers the operation that it was for.
    fn new(
        spec: EmperorSpec,
        launcher: Launcher,
        record: Option<record::Record>,
    ) -> Result<(Self, Option<OperationId>), Failure> {
        let failed = |what: &str, error: io::Error| Failure::new(format!("cannot {what}: {error}"));
        let now = clock::now();
        let directories = spec
            .directories
            .iter()
            .map(std::path::absolute)
            .collect::<io::Result<Vec<PathBuf>>>()
            .map_err(|error| failed("find the directories", error))?;
        let (handle, commands) = Handle::new(Fleet::default());
        let (ear, heard) = mpsc::channel(HEARD);
        let mut masters = Masters::new(ear, handle.clone());
        let operation = record.as_ref().map(|record| record.operation);
        let mut fleet = match record {
            None => Fleet { started_epoch_ms: clock::epoch_ms(), ..Fleet::default() },
            Some(record) => {
                record.restore(&mut masters).map_err(|error| failed("take over the fleet", error))?
            }
        };
        fleet.rules = rules(&spec);
        fleet.directories = directories.iter().map(|path| directory(path)).collect();
        for (id, vassal) in &mut fleet.vassals {
            let board = vassal.current.as_ref().and_then(|life| masters.by_life.get(&life.id));
            vassal.scoreboard = board.and_then(|master| master.scoreboard.clone());
            tracing::debug!(vassal = id, "taken over");
        }
        *handle.fleet() = fleet;
        let signals = Signals::new().map_err(|error| failed("handle signals", error))?;
        // They were blocked over an exec; from here on none is lost.
        signals::unblock_all().map_err(|error| failed("unblock signals", error))?;
        let manager = ServiceManager::from_environment();
        let emperor = Self {
            commands,
            heard,
            masters,
            launcher,
            watcher: Watcher::new(directories.clone()),
            directories,
            settle: Settle::default(),
            signals,
            alive_at: manager.interval().map(|interval| now + interval),
            manager,
            rehearsal: None,
            rescan_every: Duration::from_millis(spec.rescan_ms.max(1000)),
            rescanned: now,
            rescan_at: now,
            due: VecDeque::new(),
            done: false,
            handle,
        };
        Ok((emperor, operation))
    }

    async fn run(&mut self, operation: Option<OperationId>) {
        match operation {
            None => self.first_scan(),
            Some(operation) => {
                self.follow_links();
                self.decide(Event::Reexecuted(operation));
                self.manager.ready();
                self.reap();
                self.rescan();
            }
        }
        while !self.done {
            self.status();
            let deadline = self.next_deadline();
            let sleep = sleep_until(Instant::now() + deadline.since(clock::now()) + Duration::from_millis(1));
            tokio::select! {
                // Signals first, so that neither floods nor requests hold up a stop.
                biased;
                wish = self.signals.next() => self.wish(wish).await,
                Some(command) = self.commands.recv() => self.command(command),
                notes = self.watcher.next() => self.note(notes),
                Some(heard) = self.heard.recv() => self.hear(heard),
                () = sleep => self.catch_up().await,
            }
        }
        self.manager.stopping();
    }

    fn next_deadline(&self) -> Tick {
        let fleet = self.handle.fleet().next_deadline();
        let rehearsal = self.rehearsal.as_ref().map(Rehearsal::deadline);
        let others = [fleet, rehearsal, self.settle.next_deadline(), self.alive_at];
        others.into_iter().flatten().fold(self.rescan_at, Tick::min)
    }

    /// What the time brings.
    async fn catch_up(&mut self) {
        let now = clock::now();
        if self.alive_at.is_some_and(|at| at <= now) {
            self.manager.alive();
            self.alive_at = self.manager.interval().map(|interval| now + interval);
        }
        if self.rescan_at <= now {
            self.rescan();
        }
        for id in self.settle.take_ripe(now) {
            self.look(&id);
        }
        if let Some(rehearsal) = self.rehearsal.take_if(|rehearsal| rehearsal.deadline() <= now) {
            let failure = rehearsal.give_up();
            self.reexec_failed(rehearsal.operation, failure);
        }
        self.decide(Event::Deadline);
    }

    async fn wish(&mut self, wish: Wish) {
        match wish {
            Wish::Reap => {
                let others = self.reap();
                for (pid, exit) in others {
                    let Some(rehearsal) = self.rehearsal.take_if(|rehearsal| rehearsal.pid() == pid) else {
                        continue;
                    };
                    if exit.is_success() {
                        self.execute(rehearsal.operation).await;
                    } else {
                        let binary = &self.launcher.policy.binary;
                        let failure = Failure::new(format!("{binary} failed its rehearsal: {exit}"))
                            .with_hint("all is as it was; mend the binary or the emperor's options");
                        self.reexec_failed(rehearsal.operation, failure);
                    }
                }
            }
            Wish::HangUp => {
                let mut out = Vec::new();
                decide::hang_up(&mut self.handle.fleet(), clock::now(), &mut out);
                self.carry_out(out);
            }
            Wish::Stop => {
                self.manager.stopping();
                self.decide(Event::StopAll);
            }
            Wish::Rescan => self.rescan(),
            Wish::Report => self.report(),
            Wish::ClearBackOff => {
                let request = super::handle::Request::ClearBackOff { vassal: None };
                let mut out = Vec::new();
                // It is refused only to an emperor that stops.
                let _ = decide::request(&mut self.handle.fleet(), "SIGURG", request, clock::now(), &mut out);
                self.carry_out(out);
            }
        }
    }

    fn command(&mut self, command: Command) {
        let mut out = Vec::new();
        let now = clock::now();
        let answer = decide::request(&mut self.handle.fleet(), &command.who, command.request, now, &mut out);
        self.handle.changed();
        // Who asked may have hung up.
        let _ = command.answer.send(answer);
        self.carry_out(out);
    }

    /// Tells `decide`, and does what it says, until nothing more follows.
    fn decide(&mut self, event: Event) {
        self.due.push_back(event);
        while let Some(event) = self.due.pop_front() {
            let mut out = Vec::new();
            {
                let mut fleet = self.handle.fleet();
                let now = clock::now();
                fleet.rules.epoch_offset_ms = clock::epoch_ms().saturating_sub(now.as_ms());
                decide::decide(&mut fleet, event, now, &mut out);
            }
            self.handle.changed();
            for effect in out {
                self.do_one(effect);
            }
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        self.handle.changed();
        for effect in effects {
            self.do_one(effect);
        }
        if let Some(event) = self.due.pop_front() {
            self.decide(event);
        }
    }

    fn do_one(&mut self, effect: Effect) {
        match effect {
            Effect::Launch { vassal, life } => self.launch(vassal, life),
            Effect::Send { life, message, file_of } => self.send(life, &message, file_of),
            Effect::Terminate { life } => self.masters.terminate(life),
            Effect::Kill { life } => self.masters.kill(life),
            Effect::Adopt { vassal, life } => self.masters.adopt(&vassal, life),
            Effect::Release { life } => drop(self.masters.by_life.remove(&life)),
            Effect::Forget { vassal } => {
                self.masters.kept.remove(&vassal);
                self.watcher.forget(&vassal);
                self.settle.note(&vassal, Note::Changed, clock::now());
            }
            Effect::Rescan => self.rescan_at = clock::now(),
            Effect::Log { vassal, warning, message } => match (vassal, warning) {
                (Some(vassal), false) => tracing::info!(vassal, "{message}"),
                (Some(vassal), true) => tracing::warn!(vassal, "{message}"),
                (None, false) => tracing::info!("{message}"),
                (None, true) => tracing::warn!("{message}"),
            },
            Effect::Ready => self.manager.ready(),
            Effect::Reexec(operation) => self.rehearse(operation),
            Effect::Exit => self.done = true,
        }
    }

    fn launch(&mut self, vassal: String, life: LifeId) {
        let directory = self.handle.fleet().vassals.get(&vassal).map(|known| known.directory.clone());
        let Some(directory) = directory else { return };
        let news = match self.masters.launch(&self.launcher, &vassal, &directory, life) {
            Ok((pid, identity)) => News::Launched { pid, identity },
            Err(failure) => News::LaunchFailed(failure),
        };
        self.due.push_back(Event::News { vassal, life, news });
    }

    fn send(&mut self, life: LifeId, message: &ToInstance, file_of: Option<String>) {
        let path = file_of.as_ref().and_then(|id| Some(self.handle.fleet().vassals.get(id)?.path.clone()));
        let vassal = self.masters.by_life.get(&life).map(|master| master.vassal.clone());
        let Some(vassal) = vassal else { return };
        let news = match (self.masters.send(life, message, path.as_deref()), message) {
            (Ok(Some(identity)), _) => News::Opened(identity),
            (Ok(None), _) => return,
            (Err(failure), ToInstance::Reload { operation } | ToInstance::Reexec { operation, .. }) => {
                let outcome = Outcome::RolledBack(failure);
                News::Said(FromInstance::Ended { operation: *operation, outcome })
            }
            (Err(failure), _) => {
                tracing::warn!(vassal, "{failure}");
                News::Disconnected
            }
        };
        self.due.push_back(Event::News { vassal, life, news });
    }

    fn hear(&mut self, heard: Heard) {
        let Heard { vassal, life, message } = heard;
        let news = match message {
            None => News::Disconnected,
            Some(message) => match self.masters.receive(life, message) {
                Some(message) => News::Said(message),
                None => return,
            },
        };
        self.decide(Event::News { vassal, life, news });
    }

    /// Reaps; answers children that belong to no life.
    fn reap(&mut self) -> Vec<(u32, process::Exit)> {
        let reaped = reap::reap(&mut self.masters);
        for (life, news) in reaped.news {
            let Some(vassal) = self.masters.by_life.get(&life).map(|master| master.vassal.clone()) else {
                continue;
            };
            if matches!(news, News::Exited { .. }) {
                self.hear_last_words(&vassal, life);
            }
            self.decide(Event::News { vassal, life, news });
        }
        reaped.others
    }

    /// What a dead master said before it died counts before its death.
    fn hear_last_words(&mut self, vassal: &str, life: LifeId) {
        self.hear_waiting();
        let words =
            self.masters.by_life.get(&life).map(|master| master.link.last_words()).unwrap_or_default();
        for word in words {
            self.hear(Heard { vassal: vassal.to_owned(), life, message: Some(word) });
        }
    }

    fn hear_waiting(&mut self) {
        while let Ok(heard) = self.heard.try_recv() {
            self.hear(heard);
        }
    }

    fn note(&mut self, notes: io::Result<super::watch::Notes>) {
        let now = clock::now();
        let notes = match notes {
            Ok(notes) => notes,
            Err(error) => {
                tracing::error!("cannot read what inotify tells: {error}; rescanning instead");
                self.watcher = Watcher::new(self.directories.clone());
                self.follow_links();
                super::watch::Notes { rescan: true, ..Default::default() }
            }
        };
        for (id, note) in notes.names {
            self.settle.note(&id, note, now);
        }
        if notes.rescan || notes.refused {
            self.rescan_at = self.rescan_at.min(now.max(self.rescanned + RESCANS_APART));
        }
    }

    fn look(&mut self, id: &str) {
        let (look, not_started) = scan::look(&self.directories, id);
        if let Look::Found(found) = &look {
            self.watcher.follow(id, &found.directory.join(id));
        }
        self.decide(Event::Looked { id: id.to_owned(), look, not_started });
    }

    fn first_scan(&mut self) {
        let listing = self.list();
        for (id, look) in listing.looks {
            if let Look::Found(found) = &look {
                self.watcher.follow(&id, &found.directory.join(&id));
            }
            let of_name = |refused: &&super::fleet::NotStarted| refused.name == id;
            let not_started = listing.not_started.iter().filter(of_name).cloned().collect();
            self.decide(Event::Looked { id, look, not_started });
        }
        self.decide(Event::FirstScanDone);
    }

    /// Lists the directories, and has every name looked at again whose file is not as it was.
    fn rescan(&mut self) {
        let now = clock::now();
        let listing = self.list();
        let mut notes = Vec::new();
        {
            let fleet = self.handle.fleet();
            for (id, look) in &listing.looks {
                let known = fleet.vassals.get(id);
                let note = match (look, known) {
                    (Look::Found(found), Some(known))
                        if found.identity == known.identity && found.directory == known.directory =>
                    {
                        continue;
                    }
                    (Look::Missing, Some(_)) => Note::Removed,
                    (Look::Found(_), _) => Note::Changed,
                    (Look::Refused(_), Some(known)) if known.identity != Default::default() => Note::Changed,
                    _ => continue,
                };
                notes.push((id.clone(), note));
            }
            for (id, known) in &fleet.vassals {
                let place = self.directories.iter().position(|directory| *directory == known.directory);
                // What is in a directory that cannot be listed is not known to be gone.
                let listed = place.and_then(|place| listing.problems.get(place)).is_none_or(Option::is_none);
                if listed && !listing.looks.contains_key(id) {
                    notes.push((id.clone(), Note::Removed));
                }
            }
        }
        for (id, note) in notes {
            if !self.settle.is_unsettled(&id) {
                self.settle.note(&id, note, now);
            }
        }
    }

    fn list(&mut self) -> scan::Listing {
        self.rescanned = clock::now();
        // Watched first, listed then: nothing falls in between.
        let unwatched = self.watcher.refresh();
        let listing = scan::scan(&self.directories);
        {
            let mut fleet = self.handle.fleet();
            for (directory, unwatched) in fleet.directories.iter_mut().zip(unwatched) {
                directory.warning = audit::warning(&directory.path);
                if directory.unwatched != unwatched
                    && let Some(reason) = &unwatched
                {
                    let path = directory.path.display();
                    tracing::warn!("changes in {path} are noticed by the rescan only: {reason}");
                }
                directory.unwatched = unwatched;
            }
        }
        let retry = if listing.is_complete() { self.rescan_every } else { RETRY.min(self.rescan_every) };
        self.rescan_at = self.rescanned + retry;
        let not_started = listing.not_started.clone();
        self.decide(Event::Listed { not_started, problems: listing.problems.clone() });
        listing
    }

    fn follow_links(&mut self) {
        let paths: Vec<(String, PathBuf)> = {
            let fleet = self.handle.fleet();
            fleet.vassals.iter().map(|(id, vassal)| (id.clone(), vassal.path.clone())).collect()
        };
        for (id, path) in paths {
            self.watcher.follow(&id, &path);
        }
    }

    fn rehearse(&mut self, operation: OperationId) {
        if self.rehearsal.is_some() {
            self.due.push_back(Event::ReexecFailed(operation, Failure::new("another one is under way")));
            return;
        }
        self.manager.reloading(clock::monotonic_us());
        let header = record::Header { operation, descriptor_limit: self.launcher.descriptor_limit };
        let binary = &self.launcher.policy.binary;
        let started = Rehearsal::start(binary, &header, &self.handle.fleet(), &self.masters, clock::now());
        match started {
            Ok(rehearsal) => self.rehearsal = Some(rehearsal),
            Err(error) => {
                let failure = Failure::new(format!("cannot rehearse {binary}: {error}"));
                self.manager.ready();
                self.due.push_back(Event::ReexecFailed(operation, failure));
            }
        }
    }

    fn reexec_failed(&mut self, operation: OperationId, failure: Failure) {
        self.manager.ready();
        self.decide(Event::ReexecFailed(operation, failure));
    }

    /// Becomes the binary anew, with everything that is held.
    async fn execute(&mut self, operation: OperationId) {
        if self.handle.fleet().phase == Phase::Stopping {
            return self.decide(Event::ReexecFailed(operation, Failure::new("the emperor is stopping")));
        }
        // What the tasks have read from the channels is decided on by this image.
        for _ in 0..2 {
            self.hear_waiting();
            tokio::task::yield_now().await;
        }
        self.hear_waiting();
        let header = record::Header { operation, descriptor_limit: self.launcher.descriptor_limit };
        let binary = self.launcher.policy.binary.clone();
        let error = reexec::execute(&binary, &header, &self.handle.fleet(), &self.masters);
        record::hold_back(&self.masters);
        self.reexec_failed(operation, Failure::new(format!("cannot execute {binary}: {error}")));
    }

    fn report(&self) {
        let fleet = self.handle.fleet();
        for (id, vassal) in &fleet.vassals {
            let (pid, restarts, reloads) = (vassal.pid().unwrap_or(0), vassal.restarts, vassal.reloads);
            tracing::info!(
                vassal = id,
                "{:?}, pid {pid}, restarts {restarts}, reloads {reloads}",
                vassal.state
            );
        }
        tracing::info!("{} vassals, {} files not started", fleet.vassals.len(), fleet.not_started.len());
    }

    fn status(&mut self) {
        let (serving, all) = {
            let fleet = self.handle.fleet();
            (fleet.vassals.values().filter(|vassal| vassal.serves()).count(), fleet.vassals.len())
        };
        self.manager.status(format!("{serving} of {all} vassals serve"));
    }
}

fn rules(spec: &EmperorSpec) -> Rules {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Rules {
        back_off: BackOff {
            first: Duration::from_millis(spec.throttle_ms),
            longest: Duration::from_millis(spec.max_throttle_ms.max(spec.throttle_ms)),
        },
        mercy: Duration::from_millis(spec.mercy_ms),
        places: match usize::try_from(spec.concurrency) {
            Ok(0) | Err(_) => (2 * cpus).max(4),
            Ok(places) => places,
        },
        epoch_offset_ms: 0,
        seed: clock::monotonic_us(),
    }
}

fn directory(path: &std::path::Path) -> Directory {
    let warning = audit::warning(path);
    if let Some(warning) = &warning {
        tracing::warn!("whoever can write there runs code as the emperor's user: {warning}");
    }
    Directory { path: path.to_owned(), problem: None, unwatched: None, warning }
}
