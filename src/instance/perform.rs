//! Doing what was decided.

use super::companions;
use super::event::{Effect, Event};
use super::master::Master;
use super::roster::{Phase, SlotState};
use crate::stats::scoreboard::Slot;
use crate::wire::failure::Failure;
use crate::wire::message::{FromInstance, InstanceState, OperationId, Outcome, ToRouter, ToWorker};
use crate::wire::succession::Succession;

impl Master {
    /// Does one thing.
    pub(super) fn perform(&mut self, effect: Effect) {
        tracing::debug!("{effect:?}");
        match effect {
            Effect::Rehearse(pending) => self.rehearse(pending),
            Effect::Reexec { operation, reload } => self.reexec = Some((operation, reload)),
            Effect::Adopt { generation } => {
                if let Some(config) = self.prepared.take() {
                    self.configs.insert(generation, config);
                }
            }
            Effect::Discard { generation } => self.discard(generation),
            Effect::Swap { generation } => self.put_in_force(generation),
            Effect::Grow { slots, cores } => self.grow(slots, usize::try_from(cores).unwrap_or(1)),
            Effect::StartZygote { zygote, generation, lazy } => {
                if let Err(error) = self.start_zygote(zygote, generation, lazy) {
                    let how = format!("the interpreter cannot be started: {error}");
                    self.handle(Event::ZygoteGone { zygote, how });
                }
            }
            Effect::CloseZygote { zygote } => {
                if let Some(zygote) = self.children.zygotes.get(&zygote) {
                    zygote.link.close();
                }
            }
            Effect::KillZygote { zygote } => {
                if let Some(zygote) = self.children.zygotes.get(&zygote) {
                    zygote.kill();
                }
            }
            Effect::Fork { zygote, slot } => {
                if let Err(error) = self.fork(zygote, slot) {
                    self.handle(Event::ForkFailed { slot, failure: error.into() });
                }
            }
            Effect::Drain { slot } => self.drain(slot),
            Effect::Warn { slot } => self.warn(slot),
            Effect::KillUnlessBegun { slot } => self.kill_unless_begun(slot),
            Effect::Kill { slot } => {
                if let Some(worker) = self.children.workers.get(&slot) {
                    worker.tell_of_second_try();
                    worker.process.kill();
                }
            }
            Effect::Clear { slot } => self.clear(slot),
            Effect::StartRouter { generation } => {
                if let Err(error) = self.start_router(generation) {
                    self.tell(format!("the router cannot be started: {error}"));
                    self.handle(Event::RouterGone);
                }
            }
            Effect::DrainRouter => {
                if let Some(router) = &self.children.router {
                    if self.closes_its_sockets() {
                        self.close_sockets(None);
                        router.link.send(&ToRouter::LastCall, &[]);
                    }
                    router.link.send(&ToRouter::Drain, &[]);
                }
            }
            Effect::KillRouter => match &self.children.router {
                Some(router) => router.kill(),
                None => self.handle(Event::RouterGone),
            },
            Effect::AddToRouter { slot } => self.add_to_router(slot),
            Effect::ReleaseFromRouter { slot } => {
                if let (Some(router), Some(worker)) =
                    (&self.children.router, self.children.workers.get(&slot))
                {
                    worker.dismiss(slot);
                    let slot = as_u32(slot);
                    let generation = worker.generation;
                    router.link.send(&ToRouter::ReleaseWorker { slot, generation }, &[]);
                    worker.process.link.send(&ToWorker::Farewell, &[]);
                }
            }
            Effect::Look => self.look(),
            Effect::LookOut { busy } => self.look_out(busy),
            Effect::Resized { from, to, reason } => self.resized(from, to, &reason),
            Effect::Log(line) => tracing::info!("{line}"),
            Effect::State(state) => self.announce(state),
            Effect::Ended { operation, outcome } => self.ended(operation, outcome),
            Effect::Tell(message) => self.tell(message),
            Effect::Shortfall(failure) => self.tell_emperor(&FromInstance::Shortfall(failure), &[]),
            Effect::Late { after } => {
                let after_s = after.as_secs();
                tracing::warn!(
                    "nothing serves after {after_s} s (startup-timeout): the application still loads"
                );
                self.tell_emperor(&FromInstance::Late { after_s }, &[]);
            }
            Effect::Part { by } => self.attend(companions::Event::Part(by)),
            Effect::Exit { code, failure } => self.exit = Some((code, failure)),
        }
    }

    /// Tells a worker to finish. Workers of one earlier generation may take their time for kept-alive connections,
    /// but not while the instance stops, and not those of still earlier ones: they would fill the scoreboard.
    fn drain(&mut self, slot: usize) {
        let is_stopping = matches!(self.roster.phase, Phase::Stopping { .. });
        // Nobody takes what they pass on, unless a pause is to end.
        let is_last = self.roster.is_cheap() && !self.paused;
        let order = match (is_stopping, self.replaced) {
            (false, _) if is_last => ToWorker::Hurry,
            (false, _) => ToWorker::Drain,
            (true, true) => ToWorker::Hurry,
            // Not even a word before it: what a worker passes on must find a taker.
            (true, false) => ToWorker::Stop,
        };
        if order == ToWorker::Stop && self.closes_its_sockets() {
            self.close_sockets(Some(slot));
        }
        let Some(worker) = self.children.workers.get_mut(&slot) else { return };
        worker.leaves = true;
        worker.dismiss(slot);
        let generation = worker.generation;
        worker.process.link.send(&order, &[]);
        for (&other, earlier) in &self.children.workers {
            let drains = self.roster.slots.get(other).is_some_and(|s| s.state == SlotState::Draining);
            if drains && earlier.generation < generation {
                earlier.process.link.send(&ToWorker::Hurry, &[]);
            }
        }
    }

    fn kill_unless_begun(&mut self, slot: usize) {
        let Some(worker) = self.children.workers.get(&slot) else { return };
        if worker.board.slot(slot).is_some_and(Slot::forbid) {
            worker.process.kill();
        } else {
            self.handle(Event::Begun { slot });
        }
    }

    /// Whether the instance stops, and nobody else has its sockets or will serve on them: who comes is better refused than
    /// left waiting until the last request is done.
    fn closes_its_sockets(&self) -> bool {
        let last = if self.supervised {
            self.succession == Succession::Nobody
        } else {
            self.uwsgi_emperor.is_none()
        };
        // What a service manager has passed is its own, and waits there for the next who serves.
        last && self.source.passed().is_empty()
            && !self.replaced
            && matches!(self.roster.phase, Phase::Stopping { .. })
    }

    fn announce(&mut self, state: InstanceState) {
        match state {
            InstanceState::Ready | InstanceState::ReadyWithoutApp => {
                if state == InstanceState::ReadyWithoutApp {
                    self.tell("*** no app loaded: every request is answered with 500 ***".to_owned());
                }
                let files = &self.current.said.spec.files;
                for path in [&files.safe_pidfile, &files.safe_pidfile2].into_iter().flatten() {
                    if let Err(failure) = super::jail::write_pid(&self.current.said.spec, path) {
                        self.tell(failure.to_string());
                    }
                }
                self.go_to_background();
            }
            InstanceState::Stopping => tracing::info!("graceful shutdown triggered..."),
            InstanceState::Starting | InstanceState::Loyal => {}
        }
        self.tell_emperor(&FromInstance::State(state), &[]);
        if matches!(state, InstanceState::Ready | InstanceState::ReadyWithoutApp) {
            self.accepts_for_uwsgi();
        }
    }

    fn ended(&mut self, operation: OperationId, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::NeedsReplace { reason } if !self.supervised => Outcome::RolledBack(
                Failure::new(format!("a running instance cannot change {reason}"))
                    .with_hint("stop it and start it again"),
            ),
            other => other,
        };
        match &outcome {
            Outcome::Swapped => tracing::info!("reload done: generation {} serves", self.current_generation),
            Outcome::RolledBack(failure) => {
                super::announce::failure_of("reload failed, the old generation serves on: ", failure);
            }
            Outcome::TimedOut => tracing::error!("reload not ready within startup-timeout"),
            Outcome::NeedsReplace { reason } => {
                self.replaced = true;
                // Who takes over is to have them.
                self.flocks.clear();
                tracing::info!("a new instance has to take over: {reason} changed");
            }
            Outcome::Done => {}
            Outcome::Refused(failure) => tracing::warn!("{failure}"),
            Outcome::Superseded => tracing::info!("a later reload takes this one's place"),
        }
        self.tell_emperor(&FromInstance::Ended { operation, outcome }, &[]);
        self.accepts_for_uwsgi();
    }
}

pub(super) fn as_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
