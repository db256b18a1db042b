//! Decisions about instances that an emperor which died has left running: each goes on as it is, and nothing is started
//! beside it, until it has called or is gone.

use std::time::Duration;

use super::turn::Turn;
use crate::emperor::event::{Effect, Heir};
use crate::emperor::events::EventKind;
use crate::emperor::fleet::{State, Vassal};
use crate::emperor::life::{Leaving, Life, LifeId, Origin};
use crate::tick::Tick;

/// An instance calls within this time, if it still can.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

impl Turn<'_> {
    pub(super) fn inherited(&mut self, heirs: Vec<Heir>, gone: Vec<(String, u32)>, adopt: bool) {
        for (id, pid) in gone {
            let text = format!("pid {pid} ended while there was no emperor: how is not known");
            self.warn(Some(&id), EventKind::Died, text);
        }
        if heirs.is_empty() {
            return;
        }
        let what = if adopt { "waiting for them to call" } else { "stopping them (adopt = no)" };
        let count = heirs.len();
        self.tell(None, EventKind::Emperor, format!("an emperor left {count} instances running: {what}"));
        let mut unwanted = Vec::new();
        for heir in heirs {
            self.fleet.last_life = self.fleet.last_life.max(heir.life);
            let life = self.life_of(&heir);
            let id = heir.vassal.clone();
            let vassal = self
                .fleet
                .vassals
                .entry(heir.vassal)
                .or_insert_with_key(|id| Vassal::new(id.clone(), heir.directory, heir.file));
            if heir.leaving || vassal.current.is_some() {
                if vassal.current.is_none() {
                    vassal.state = State::Stopping;
                }
                vassal.leaving.push(life);
                // The second one that was to stay is a replacement that has not taken over, or its predecessor.
                if !heir.leaving {
                    unwanted.push((id, heir.life));
                }
            } else {
                vassal.identity = heir.file;
                vassal.tenant = heir.tenant;
                vassal.state = State::Adopting;
                vassal.current = Some(life);
            }
        }
        for (id, life) in unwanted {
            self.ask_unheard(&id, life);
        }
        let ids: Vec<String> = self.fleet.vassals.keys().cloned().collect();
        for id in ids.iter().filter(|_| !adopt) {
            // Each is started anew when its old instance is gone.
            self.stop(id);
        }
    }

    /// It called, and can be spoken to; who called already has executed its binary again meanwhile.
    pub(super) fn adopted(&mut self, id: &str, life: LifeId) {
        let Some(vassal) = self.vassal(id) else { return };
        let is_current = vassal.is_current(life);
        let Some(known) = vassal.lives_mut().find(|known| known.id == life) else { return };
        let was = std::mem::replace(&mut known.origin, Origin::Adopted);
        let pid = known.pid.unwrap_or(0);
        if !is_current {
            return;
        }
        // It was only silent: whoever is told to go is current no more.
        known.leaving = None;
        if vassal.state == State::Adopting {
            vassal.state = State::Starting;
        }
        if matches!(was, Origin::Awaited(_) | Origin::Overdue) {
            self.tell(Some(id), EventKind::Adopted, format!("adopted: pid {pid} serves on"));
        }
        if self.vassal(id).is_some_and(|vassal| vassal.plan.reload.is_some() || vassal.plan.reexec.is_some())
        {
            self.queue(id);
        }
    }

    /// Whether that the file of a vassal is not where it was has to wait: its instance has not called yet, so nobody can
    /// take its sockets over.
    pub(super) fn is_too_early(&mut self, id: &str) -> bool {
        let Some(vassal) = self.vassal(id) else { return false };
        let is_awaited = vassal.is_awaited();
        vassal.plan.look_again |= is_awaited;
        is_awaited
    }

    /// Has files looked at again whose instances are known by now.
    pub(super) fn look_again(&mut self) {
        let mut due = false;
        for vassal in self.fleet.vassals.values_mut() {
            let is_known = vassal.state != State::Starting && !vassal.is_awaited();
            due |= is_known && std::mem::take(&mut vassal.plan.look_again);
        }
        if due {
            self.out.push(Effect::Rescan);
        }
    }

    /// Says once that an instance has not called.
    pub(super) fn lose_patience(&mut self, id: &str) {
        let now = self.now;
        let Some(vassal) = self.vassal(id) else { return };
        let Some(life) =
            vassal.current.as_mut().filter(|life| life.waits_until().is_some_and(|at| at <= now))
        else {
            return;
        };
        life.origin = Origin::Overdue;
        let pid = life.pid.unwrap_or(0);
        let text = format!(
            "pid {pid} runs and does not call: it is not adopted, and nothing is started beside it (liege stop ends it)"
        );
        self.warn(Some(id), EventKind::Adopted, text);
    }

    /// Ends an instance that cannot be spoken to: `SIGTERM` has it finish its requests.
    pub(super) fn ask_unheard(&mut self, id: &str, life: LifeId) {
        let now = self.now;
        let longest = self.fleet.mercy();
        let Some(vassal) = self.vassal(id) else { return };
        let mercy = vassal.mercy(longest);
        let Some(known) = vassal.lives_mut().find(|known| known.id == life) else { return };
        known.leaving = Some(Leaving::Terminated(now + mercy + super::stop::BEYOND));
        let signal = known.end_signal();
        self.out.push(Effect::Terminate { life, signal });
    }

    fn life_of(&self, heir: &Heir) -> Life {
        let age_ms = self.epoch_ms().saturating_sub(heir.started_epoch_ms);
        let started = Tick::from_ms(self.now.as_ms().saturating_sub(age_ms));
        let mercy = self.fleet.mercy() + super::stop::BEYOND;
        Life {
            pid: Some(heir.pid),
            // It served, as far as is known: its death is no failed start.
            ready: Some(started),
            app: true,
            origin: Origin::Awaited(self.now + PATIENCE),
            file: Some(heir.file),
            leaving: heir.leaving.then_some(Leaving::Asked(self.now + mercy)),
            ..Life::new(heir.life, started, heir.started_epoch_ms)
        }
    }
}

impl Vassal {
    /// Whether its instance is still to call.
    fn is_awaited(&self) -> bool {
        let call = self.current.as_ref().and_then(Life::waits_until);
        self.state == State::Adopting && call.is_some()
    }
}

impl Life {
    /// Until when it is to call.
    pub(super) const fn waits_until(&self) -> Option<Tick> {
        match self.origin {
            Origin::Awaited(until) => Some(until),
            Origin::Launched | Origin::Overdue | Origin::Adopted => None,
        }
    }
}
