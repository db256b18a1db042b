//! The emperor's loop: waits for whatever happens first, asks `decide`, does what it says.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::adopt::Gone;
use super::attributes::Wanted;
use super::decide;
use super::event::{Effect, Event};
use super::fleet::{Fleet, State, Vassal};
use super::forkbomb::Bomb;
use super::handle::{Command, Handle, Request};
use super::hooks::Hooks;
use super::link::Heard;
use super::masters::Masters;
use super::notify::ServiceManager;
use super::once;
use super::parked::Parked;
use super::patrol::Patrol;
use super::prober::Probers;
use super::reexec::Rehearsal;
use super::served::Served;
use super::servers::Servers;
use super::settle::Settle;
use super::signals::{Signals, Wish};
use super::slumber::{Slumber, Stir};
use super::sources::Sources;
use super::spawn::Launcher;
use super::standing;
use super::storing::Storage;
use super::watch::Watcher;
use crate::sys::clock;
use crate::tick::Tick;
use crate::trace;
use crate::wire::failure::Failure;
use crate::wire::message::OperationId;

/// How many vassals that are still starting the service manager is told by name.
const NAMED: usize = 5;

/// A running emperor.
pub(super) struct Emperor {
    pub(super) handle: Handle,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) heard: mpsc::Receiver<Heard>,
    /// Who calls at the rendezvous.
    pub(super) callers: mpsc::Receiver<OwnedFd>,
    /// Ends of processes that are not our children.
    pub(super) gone: mpsc::Receiver<Gone>,
    /// Vassals that fork without end.
    pub(super) bombs: mpsc::Receiver<Bomb>,
    pub(super) patrol: Patrol,
    /// What happens to vassals that sleep.
    pub(super) stirs: mpsc::Receiver<Stir>,
    pub(super) slumber: Slumber,
    /// What the service manager keeps for us.
    pub(super) storage: Option<Storage>,
    /// Whether instances of an emperor that died are taken over.
    pub(super) adopts: bool,
    pub(super) masters: Masters,
    pub(super) launcher: Launcher,
    pub(super) sources: Rc<Sources>,
    pub(super) watcher: Watcher,
    /// The servers that files may lie on, those who ask them, and what waits for their answers.
    pub(super) servers: Rc<Servers>,
    pub(super) probers: Probers,
    pub(super) parked: Parked,
    /// Whether the sources were listed once.
    pub(super) surveyed: bool,
    /// Which keys of vassals' files are looked for.
    pub(super) attributes: Wanted,
    pub(super) settle: Settle,
    pub(super) hooks: Hooks,
    pub(super) served: Option<Served>,
    pub(super) signals: Signals,
    pub(super) manager: ServiceManager,
    pub(super) rehearsal: Option<Rehearsal>,
    pub(super) rescan_every: Duration,
    pub(super) rescanned: Tick,
    pub(super) rescan_at: Tick,
    pub(super) alive_at: Option<Tick>,
    pub(super) pid_file: Option<PathBuf>,
    /// Events that follow from effects, to be decided on before anything else.
    pub(super) due: VecDeque<Event>,
    /// When children that have ended meanwhile are reaped, where that pauses.
    pub(super) reap_at: Option<Tick>,
    pub(super) done: bool,
}

impl Emperor {
    /// Runs to its end.
    ///
    /// # Errors
    /// It cannot begin.
    pub(super) async fn run(&mut self, operation: Option<OperationId>) -> Result<(), Failure> {
        match operation {
            None => {
                self.inherit()?;
                self.rescan();
            }
            Some(operation) => {
                self.follow_links();
                self.watch_sleepers();
                self.watch_for_all_crowds();
                self.decide(Event::Reexecuted(operation));
                self.manager.ready();
                self.reap();
                self.rescan();
            }
        }
        while !(self.done && self.hooks.are_done()) {
            if self.reap_at.take_if(|at| *at <= clock::now()).is_some() {
                self.wish(Wish::Reap).await;
            }
            self.store_sockets();
            self.status();
            self.ask_servers();
            let deadline = self.next_deadline();
            let sleep = sleep_until(Instant::now() + deadline.since(clock::now()) + Duration::from_millis(1));
            tokio::select! {
                // Signals first, so that neither floods nor requests hold up a stop.
                biased;
                wish = self.signals.next() => self.wish(wish).await,
                Some(command) = self.commands.recv() => self.command(command),
                notes = self.watcher.next() => self.note(notes),
                Some(gone) = self.gone.recv() => self.ended_elsewhere(gone),
                Some(heard) = self.heard.recv() => self.hear(heard),
                Some(bomb) = self.bombs.recv() => self.defuse(bomb),
                () = self.patrol.due() => self.look_at_crowds(),
                Some(stir) = self.stirs.recv() => self.stirred(stir),
                Some(caller) = self.callers.recv() => self.answer(caller),
                () = Storage::answered(&mut self.storage) => {}
                answer = self.probers.next() => self.server_answered(answer),
                () = sleep => self.catch_up().await,
            }
        }
        if let Some(served) = &mut self.served {
            served.look(&mut self.handle.fleet(), clock::now());
        }
        self.settle_store();
        self.slumber
            .end(|vassal| self.handle.fleet().vassals.get(vassal).is_some_and(|known| known.outlasts));
        self.manager.stopping();
        Ok(())
    }

    pub(super) fn next_deadline(&self) -> Tick {
        let fleet = self.handle.fleet().next_deadline();
        let rehearsal = self.rehearsal.as_ref().map(Rehearsal::deadline);
        let served = self.served.as_ref().map(Served::next_deadline);
        let hooks = self.hooks.next_deadline();
        let storage = self.storage.as_ref().and_then(Storage::next_deadline);
        let servers = self.servers.next_deadline();
        let (settle, alive, reap) = (self.settle.next_deadline(), self.alive_at, self.reap_at);
        let others = [fleet, rehearsal, settle, alive, served, hooks, storage, servers, reap];
        others.into_iter().flatten().fold(self.rescan_at, Tick::min)
    }

    /// What the time brings.
    pub(super) async fn catch_up(&mut self) {
        let now = clock::now();
        if self.alive_at.is_some_and(|at| at <= now) {
            self.manager.alive();
            self.alive_at = self.manager.interval().map(|interval| now + interval);
        }
        if self.rescan_at <= now {
            self.rescan();
        }
        self.catch_up_with_servers();
        self.hooks.catch_up(now);
        if let Some(served) = &mut self.served {
            served.catch_up(&mut self.handle.fleet(), now);
        }
        for id in self.settle.take_ripe(now) {
            self.look(&id);
            if let Some(until) = self.settle.held_until(&id, now) {
                let wait_s = until.since(now).as_secs_f64();
                tracing::info!(
                    vassal = id,
                    "its file changes too often: the next change counts in {wait_s:.1} s"
                );
            }
        }
        if let Some(rehearsal) = self.rehearsal.take_if(|rehearsal| rehearsal.deadline() <= now) {
            let failure = rehearsal.give_up();
            self.reexec_failed(rehearsal.operation, failure);
        }
        self.decide(Event::Deadline);
    }

    pub(super) async fn wish(&mut self, wish: Wish) {
        match wish {
            Wish::Reap if self.reap_at.is_some() => {}
            Wish::Reap => {
                let others = self.reap();
                for (pid, exit) in others {
                    if self.hooks.reaped(pid, &exit, clock::now()) {
                        continue;
                    }
                    let Some(rehearsal) = self.rehearsal.take_if(|rehearsal| rehearsal.pid() == pid) else {
                        continue;
                    };
                    if exit.is_success() {
                        self.execute(rehearsal.operation).await;
                    } else {
                        let operation = rehearsal.operation;
                        let failure = rehearsal.failure(&self.launcher.policy.binary, &exit);
                        self.reexec_failed(operation, failure);
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
                // Who slept is started like all others by the next emperor.
                self.masters.kept.touch();
            }
            Wish::Rescan => self.rescan(),
            Wish::Report => self.report(),
            Wish::ClearBackOff => {
                let request = Request::ClearBackOff { vassal: None };
                let mut out = Vec::new();
                // It is refused only to an emperor that stops.
                let _ = decide::request(&mut self.handle.fleet(), "SIGURG", request, clock::now(), &mut out);
                self.carry_out(out);
            }
        }
    }

    pub(super) fn command(&mut self, command: Command) {
        let mut out = Vec::new();
        let now = clock::now();
        let Command { who, request, key, answer } = command;
        let said = once::ask(&mut self.handle.fleet(), key, request, |fleet, request| {
            decide::request(fleet, &who, request, now, &mut out)
        });
        self.handle.changed();
        // Who asked may have hung up.
        let _ = answer.send(said);
        self.carry_out(out);
    }

    /// Tells `decide`, and does what it says, until nothing more follows.
    pub(super) fn decide(&mut self, event: Event) {
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
            self.do_all(out);
        }
    }

    fn do_all(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let need = self.servers.need();
            self.do_when_reached(effect, need);
        }
    }

    pub(super) fn carry_out(&mut self, effects: Vec<Effect>) {
        self.handle.changed();
        self.do_all(effects);
        if let Some(event) = self.due.pop_front() {
            self.decide(event);
        }
    }

    pub(super) fn report(&self) {
        let fleet = self.handle.fleet();
        for (id, vassal) in &fleet.vassals {
            tracing::info!(vassal = id, "{}", line(vassal));
        }
        tracing::info!("{} vassals, {} files not started", fleet.vassals.len(), fleet.not_started.len());
    }

    pub(super) fn status(&mut self) {
        if self.manager.is_there() {
            let status = status(&self.handle.fleet());
            self.manager.status(status);
        }
    }
}

/// How a vassal stands, in a line for the log.
fn line(vassal: &Vassal) -> String {
    let word = standing::State::from(vassal.state).word();
    let pid = vassal.pid().map(|pid| format!(", pid {pid}")).unwrap_or_default();
    format!("{word}{pid}, restarts {}, reloads {}", vassal.restarts, vassal.reloads)
}

/// How the fleet stands, in a line for the service manager.
fn status(fleet: &Fleet) -> String {
    let (mut serving, mut starting, mut more) = (0, Vec::new(), 0);
    for vassal in fleet.vassals.values() {
        match vassal.state {
            _ if vassal.serves() => serving += 1,
            State::Waiting | State::Starting if starting.len() < NAMED => starting.push(vassal.id.as_str()),
            State::Waiting | State::Starting => more += 1,
            _ => {}
        }
    }
    let mut line = format!("{serving} of {} vassals serve", fleet.vassals.len());
    if !starting.is_empty() {
        line.push_str("; starting: ");
        line.push_str(&trace::escaped(&starting.join(", ")));
    }
    if more > 0 {
        line.push_str(&format!(" and {more} more"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::fleet::FileIdentity;
    use super::super::life::Life;
    use super::*;

    #[test]
    fn the_log_says_how_a_vassal_stands_in_the_words_of_status() {
        let mut vassal = Vassal::new("a.ini".to_owned(), "/v".into(), FileIdentity::default());
        (vassal.restarts, vassal.reloads) = (2, 3);
        let until = Tick::from_ms(9);
        for (state, pid, expected) in [
            (State::Up { app: true, loyal: true }, Some(7), "up, pid 7, restarts 2, reloads 3"),
            (State::Up { app: false, loyal: false }, Some(7), "no app, pid 7, restarts 2, reloads 3"),
            (State::Reloading { operation: 4 }, Some(7), "reloading, pid 7, restarts 2, reloads 3"),
            (State::Resting { until, attempts: 3 }, None, "resting, restarts 2, reloads 3"),
        ] {
            vassal.state = state;
            vassal.current = pid.map(|pid| Life { pid: Some(pid), ..Life::new(1, Tick::default(), 0) });
            assert_eq!(line(&vassal), expected);
        }
    }

    #[test]
    fn the_service_manager_reads_who_serves_and_who_is_still_starting() {
        let mut fleet = Fleet::default();
        assert_eq!(status(&fleet), "0 of 0 vassals serve");
        for n in 0..9 {
            let mut vassal = Vassal::new(format!("{n}.ini"), "/v".into(), FileIdentity::default());
            vassal.state = match n {
                0 => State::Up { app: true, loyal: false },
                1 => State::Stopped,
                _ => State::Starting,
            };
            fleet.vassals.insert(vassal.id.clone(), vassal);
        }
        let expected = "1 of 9 vassals serve; starting: 2.ini, 3.ini, 4.ini, 5.ini, 6.ini and 2 more";
        assert_eq!(status(&fleet), expected);
    }
}
