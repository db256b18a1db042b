//! Decisions about ends: every stop is asked for, then demanded, then forced, and then it is over.

use std::time::Duration;

use super::turn::Turn;
use crate::emperor::event::Effect;
use crate::emperor::events::EventKind;
use crate::emperor::fleet::{Ending, Fleet, Phase, State, Vassal};
use crate::emperor::foreign::Foreign;
use crate::emperor::life::{Leaving, Life};
use crate::sys::process::Signal;
use crate::wire::failure::Failure;
use crate::wire::message::ToInstance;
use crate::wire::succession::Succession;

/// What a master gets beyond the mercy of its workers, to end them itself.
pub(super) const BEYOND: Duration = Duration::from_secs(1);
/// What it gets after `SIGTERM`.
pub(super) const TERMINATED: Duration = Duration::from_secs(2);
/// After so long what was killed is killed again: it may have forked in between.
pub(super) const KILLED: Duration = Duration::from_secs(1);
/// Orders to stop that follow each other sooner are one order.
const SAME_STOP: Duration = Duration::from_secs(1);

impl Turn<'_> {
    pub(super) fn stop_all(&mut self) {
        let now = self.now;
        if self.fleet.phase == Phase::Stopping {
            // A terminal, or a service manager that signals everybody, says it more than once.
            if self.fleet.stopping_since.is_some_and(|since| now.since(since) < SAME_STOP) {
                return;
            }
            self.tell(None, EventKind::Emperor, "asked again to stop: patience ends now");
            for life in self.fleet.vassals.values_mut().flat_map(Vassal::lives_mut) {
                if !matches!(life.leaving, None | Some(Leaving::Terminated(_) | Leaving::Killed(_))) {
                    life.leaving = Some(Leaving::Asked(now));
                }
            }
            return;
        }
        self.fleet.phase = Phase::Stopping;
        self.fleet.stopping_since = Some(now);
        self.tell(None, EventKind::Emperor, format!("stopping {} vassals", self.fleet.vassals.len()));
        let ids: Vec<String> = self.fleet.vassals.keys().cloned().collect();
        for id in ids {
            self.stop(&id);
        }
    }

    /// Asks everything of a vassal to end.
    pub(super) fn stop(&mut self, id: &str) {
        self.fleet.queue.retain(|waiting| waiting != id);
        let now = self.now;
        let longest = self.fleet.mercy();
        let Some(vassal) = self.vassal(id) else { return };
        let mercy = vassal.mercy(longest);
        vassal.state = State::Stopping;
        vassal.plan.loads_no_more();
        vassal.plan.urgent = false;
        vassal.plan.asleep = false;
        vassal.plan.own_reloads.clear();
        let plan = &mut vassal.plan;
        let given_up = [plan.reload.take(), plan.reexec.take(), plan.start.take(), plan.replace.take()];
        for life in &mut vassal.leaving {
            life.leaving = life.leaving.map(|leaving| match leaving {
                Leaving::Orphaned(at) => Leaving::Orphaned(at.min(now + mercy)),
                Leaving::Asked(at) => Leaving::Asked(at.min(now + mercy + BEYOND)),
                Leaving::Terminated(_) | Leaving::Killed(_) => leaving,
            });
        }
        let lives = [vassal.current.take(), vassal.take_next()];
        vassal.lose_sight();
        let keep_files = vassal.plan.shares;
        let stop = vassal.plan.stop;
        let running: Vec<_> = self
            .fleet
            .operations
            .iter()
            .filter(|o| o.vassal.as_deref() == Some(id) && o.ending.is_none() && Some(o.id) != stop)
            .map(|o| o.id)
            .collect();
        for life in lives.into_iter().flatten() {
            self.ask(id, life, keep_files);
        }
        for operation in given_up.into_iter().flatten().chain(running) {
            self.end(operation, Ending::Failed(Failure::new("the vassal was stopped")));
        }
        self.gone(id);
    }

    /// Asks one instance to end while another serves on.
    pub(super) fn let_go(&mut self, id: &str, life: Life) {
        self.ask(id, life, true);
    }

    pub(super) fn ask(&mut self, id: &str, mut life: Life, keep_files: bool) {
        let now = self.now;
        let epoch_ms = self.epoch_ms();
        let longest = self.fleet.mercy();
        let is_end = self.fleet.phase == Phase::Stopping;
        let Some(vassal) = self.vassal(id) else { return };
        let is_over = vassal.plan.removed || vassal.plan.stopped;
        let succession = match (is_end, is_over) {
            _ if keep_files => Succession::Another,
            (true, false) if vassal.outlasts => Succession::NextStart,
            (false, false) => Succession::Next,
            _ => Succession::Nobody,
        };
        let mercy = vassal.mercy(longest);
        let number = life.id;
        life.leaving_epoch_ms = life.leaving_epoch_ms.or(Some(epoch_ms));
        if life.is_awaited() {
            if let Some(vassal) = self.vassal(id) {
                vassal.leaving.push(life);
            }
            return self.ask_unheard(id, number);
        }
        if life.leaving.is_none() {
            life.leaving = Some(Leaving::Asked(now + mercy + BEYOND));
            let mercy_ms = u64::try_from(mercy.as_millis()).ok();
            let message = ToInstance::Stop { mercy_ms, succession };
            self.out.push(Effect::Send { life: number, message, file_of: None });
            life.beat_until = None;
            // One that has said nothing may never read the word; uWSGI minds this signal only once it has spoken.
            if life.foreign.as_ref().is_some_and(Foreign::has_said_nothing) {
                life.leaving = Some(Leaving::Terminated(now + mercy + BEYOND));
                self.out.push(Effect::Terminate { life: number, signal: Signal::Term });
            } else if life.halted {
                // Only this wakes it up, to end as it should.
                self.out.push(Effect::Terminate { life: number, signal: life.end_signal() });
            }
        }
        if let Some(vassal) = self.vassal(id) {
            vassal.leaving.push(life);
        }
    }

    /// The next step of each end whose time has come.
    pub(super) fn escalate(&mut self, id: &str) {
        let now = self.now;
        let Some(vassal) = self.fleet.vassals.get_mut(id) else { return };
        let mut said = Vec::new();
        for life in vassal.lives_mut() {
            let Some(leaving) = life.leaving.filter(|leaving| leaving.next_step() <= now) else { continue };
            match leaving {
                Leaving::Asked(_) => {
                    life.leaving = Some(Leaving::Terminated(now + TERMINATED));
                    let signal = life.end_signal();
                    let name = if signal == Signal::Int { "SIGINT" } else { "SIGTERM" };
                    said.push(format!("pid {} does not end: {name}", life.pid.unwrap_or(0)));
                    self.out.push(Effect::Terminate { life: life.id, signal });
                }
                Leaving::Terminated(_) | Leaving::Orphaned(_) => {
                    life.leaving = Some(Leaving::Killed(now + KILLED));
                    said.push(format!("what pid {} started does not end: SIGKILL", life.pid.unwrap_or(0)));
                    self.out.push(Effect::Kill { life: life.id });
                }
                Leaving::Killed(_) => {
                    life.leaving = Some(Leaving::Killed(now + KILLED));
                    self.out.push(Effect::Kill { life: life.id });
                }
            }
        }
        for message in said {
            self.warn(Some(id), EventKind::Forced, message);
        }
    }

    /// If nothing of a stopping vassal is left: what comes after.
    pub(super) fn gone(&mut self, id: &str) {
        let stopping = self.fleet.phase == Phase::Stopping;
        let Some(vassal) = self.vassal(id) else { return };
        if vassal.state != State::Stopping || vassal.lives().next().is_some() {
            return;
        }
        let stop = vassal.plan.stop.take();
        let (removed, stopped) = (vassal.plan.removed, vassal.plan.stopped);
        if removed {
            self.fleet.vassals.remove(id);
            self.tell(Some(id), EventKind::Stopped, "stopped, and forgotten");
            self.out.push(Effect::Forget { vassal: id.to_owned() });
        } else if stopped || stopping {
            vassal.state = State::Stopped;
            if stopped || !vassal.outlasts {
                self.out.push(Effect::Close { vassal: id.to_owned() });
            }
            self.tell(Some(id), EventKind::Stopped, "stopped");
        } else if vassal.plan.asleep {
            self.fall_asleep(id, "a connection to its sockets wakes it");
        } else {
            self.queue(id);
        }
        if let Some(operation) = stop {
            self.end(operation, Ending::Done);
        }
    }
}

impl Life {
    /// What has its master end: `SIGTERM`, which to one of uWSGI is a reload.
    pub(super) fn end_signal(&self) -> Signal {
        let speaks = self.foreign.as_ref().is_some_and(|foreign| !foreign.has_said_nothing());
        if speaks { Signal::Int } else { Signal::Term }
    }
}

impl Vassal {
    /// What its workers get to finish their requests.
    pub(super) fn mercy(&self, longest: Duration) -> Duration {
        let own = self.spec.as_ref().map(|spec| Duration::from_secs(spec.workers.reload_mercy_s.into()));
        own.unwrap_or(longest).min(longest)
    }
}

impl Fleet {
    /// What an instance that ends gets now, at most.
    pub(super) const fn mercy(&self) -> Duration {
        match self.phase {
            Phase::Stopping => self.rules.end_mercy,
            Phase::Starting | Phase::Running => self.rules.mercy,
        }
    }
}
