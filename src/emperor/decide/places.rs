//! Who may load now: a bounded number of vassals at a time, in the order of asking.

use std::time::Duration;

use super::turn::Turn;
use crate::emperor::event::Effect;
use crate::emperor::events::EventKind;
use crate::emperor::fleet::{Ending, OperationKind, Phase, State, Vassal};
use crate::emperor::foreign;
use crate::emperor::plan::Plan;
use crate::tick::Tick;
use crate::wire::message::{OperationId, ToInstance};

/// A vassal that loads for longer than this does not hold its place any more, so that slow and hanging
/// applications delay nobody for long.
pub const PLACE_HELD: Duration = Duration::from_secs(3);

impl Turn<'_> {
    /// Lets a vassal wait for a place.
    pub(super) fn queue(&mut self, id: &str) {
        let Some(vassal) = self.fleet.vassals.get_mut(id) else { return };
        if vassal.current.is_none() {
            vassal.state = State::Waiting;
        }
        let rank = vassal.rank();
        let ranks = |other: &String| self.fleet.vassals.get(other).is_some_and(|other| other.rank() >= rank);
        let queue = &self.fleet.queue;
        let place = queue.iter().position(|other| !ranks(other)).unwrap_or(queue.len());
        // Who waited for a reload may wait for a start by now, which is more urgent.
        if let Some(before) = queue.iter().position(|waiting| waiting == id) {
            if before <= place {
                return;
            }
            self.fleet.queue.remove(before);
        }
        self.fleet.queue.insert(place, id.to_owned());
    }

    pub(super) fn want_reload(&mut self, id: &str, operation: OperationId) {
        let Some(vassal) = self.vassal(id) else { return };
        let (loads, awaited) = (vassal.plan.loading, vassal.state == State::Adopting);
        let before = vassal.plan.reload.replace(operation);
        if let Some(before) = before {
            self.end(before, Ending::Superseded);
        }
        // Who loads already has a place, and what it loads is out of date.
        if loads {
            self.go(id);
        } else if !awaited {
            self.queue(id);
        }
    }

    pub(super) fn want_reexec(&mut self, id: &str, operation: OperationId) {
        let Some(vassal) = self.vassal(id) else { return };
        let awaited = vassal.state == State::Adopting;
        let before = vassal.plan.reexec.replace(operation);
        if let Some(before) = before {
            self.end(before, Ending::Superseded);
        }
        if !awaited {
            self.queue(id);
        }
    }

    pub(super) fn fill_places(&mut self) {
        if self.fleet.phase == Phase::Stopping || self.fleet.queue.is_empty() {
            return;
        }
        // Who is the most important is known when all are.
        if self.fleet.scanned.is_none() {
            return;
        }
        let mut taken = self.fleet.vassals.values().filter(|vassal| vassal.plan.place.is_some()).count();
        while let Some(id) = self.fleet.queue.front().cloned() {
            let urgent = self.vassal(&id).is_some_and(|vassal| vassal.plan.urgent);
            let places = self.fleet.rules.places.max(1) * if urgent { 2 } else { 1 };
            if taken >= places {
                return;
            }
            self.fleet.queue.pop_front();
            self.go(&id);
            taken += usize::from(self.vassal(&id).is_some_and(|vassal| vassal.plan.place.is_some()));
        }
    }

    /// Begins what the vassal waited for.
    fn go(&mut self, id: &str) {
        let Some(vassal) = self.vassal(id) else { return };
        match vassal.state {
            State::Waiting => self.launch(id),
            State::Starting | State::Up { .. } | State::Reloading { .. } => {
                if let Some(operation) = vassal.plan.reexec.take() {
                    self.send_reexec(id, operation);
                }
                if self.begins_as_foreign(id) && self.reason_to_start_anew(id).is_none() {
                    // It waits for the end of that: what uWSGI is told before, it may forget.
                    return;
                }
                if let Some(operation) = self.vassal(id).and_then(|vassal| vassal.plan.reload.take()) {
                    self.send_reload(id, operation);
                }
            }
            // It is told when it calls.
            State::Adopting => {}
            State::Stopping | State::Resting { .. } | State::Broken | State::Stopped | State::Asleep => {}
        }
    }

    fn launch(&mut self, id: &str) {
        let life = self.new_life();
        let now = self.now;
        let Some(vassal) = self.vassal(id) else { return };
        if vassal.current.is_some() {
            return;
        }
        let number = life.id;
        vassal.state = State::Starting;
        vassal.plan.loads_since(now);
        vassal.plan.urgent = false;
        vassal.plan.moved = false;
        vassal.current = Some(life);
        self.out.push(Effect::Launch { vassal: id.to_owned(), life: number });
    }

    fn send_reload(&mut self, id: &str, operation: OperationId) {
        let now = self.now;
        let required = self.fleet.rules.heartbeat;
        self.drop_replacement(id);
        if let Some(why) = self.reason_to_start_anew(id) {
            return self.start_anew(id, operation, &why);
        }
        let Some(vassal) = self.vassal(id) else { return };
        if vassal.plan.moved {
            return self.start_replacement(id, operation, "its file is in another directory now");
        }
        let Some(current) = vassal.current.as_mut() else { return };
        let life = current.id;
        current.beat_until = current.beat_until.map(|_| now + required);
        current.is_silent = false;
        let mut before = None;
        if let Some(foreign) = &mut current.foreign {
            foreign.accepting_epoch_ms = None;
            current.beat_until = None;
            before = foreign.reload.replace((operation, now + foreign::RELOAD));
        }
        vassal.plan.loads_since(now);
        if vassal.state != State::Starting {
            vassal.state = State::Reloading { operation };
        }
        self.out.push(Effect::Send {
            life,
            message: ToInstance::Reload { operation, vassals: None },
            file_of: Some(id.to_owned()),
        });
        if let Some((before, _)) = before {
            self.end(before, Ending::Superseded);
        }
        self.end_if_halted(id, operation);
    }

    fn send_reexec(&mut self, id: &str, operation: OperationId) {
        let now = self.now;
        let Some(vassal) = self.vassal(id) else { return };
        let Some(life) = vassal.current.as_ref().filter(|life| life.foreign.is_none()) else {
            // Of another program there is nothing of ours to renew.
            return self.end(operation, Ending::Done);
        };
        let life = life.id;
        vassal.plan.loads_since(now);
        if vassal.state != State::Starting {
            vassal.state = State::Reloading { operation };
        }
        let message = ToInstance::Reexec { operation, reload: false };
        self.out.push(Effect::Send { life, message, file_of: None });
        self.end_if_halted(id, operation);
    }

    /// A replacement that is not ready gives way to something newer.
    pub(super) fn drop_replacement(&mut self, id: &str) {
        let Some(vassal) = self.vassal(id) else { return };
        let operation = vassal.plan.replace.take();
        if let Some(next) = vassal.take_next() {
            self.let_go(id, next);
        }
        if let Some(operation) = operation {
            self.end(operation, Ending::Superseded);
        }
    }

    /// Starts a second instance beside the first, for what the first cannot do to itself.
    pub(super) fn start_replacement(&mut self, id: &str, operation: OperationId, reason: &str) {
        self.drop_replacement(id);
        let now = self.now;
        let Some(vassal) = self.vassal(id) else { return };
        let Some(current) = &vassal.current else { return };
        if current.foreign.is_some() || vassal.program.is_some() {
            // The second one could not have the first one's sockets.
            return self.start_anew(id, operation, reason);
        }
        let life = self.new_life();
        let Some(vassal) = self.vassal(id) else { return };
        let number = life.id;
        vassal.next = Some(Box::new(life));
        vassal.plan.replace = Some(operation);
        vassal.plan.loads_since(now);
        if vassal.state != State::Starting {
            vassal.state = State::Reloading { operation };
        }
        self.tell(
            Some(id),
            EventKind::Said.because(reason).of(operation),
            format!("{reason}: starting a replacement beside it"),
        );
        self.out.push(Effect::Launch { vassal: id.to_owned(), life: number });
    }

    /// Starts a stopped or resting vassal for this operation.
    pub(super) fn start_for(&mut self, id: &str, operation: OperationId) {
        let Some(vassal) = self.vassal(id) else { return };
        vassal.attempts = 0;
        vassal.plan.stopped = false;
        vassal.plan.by_itself = false;
        let before = vassal.plan.start.replace(operation);
        if let Some(before) = before {
            self.end(before, Ending::Superseded);
        }
        if self.vassal(id).is_some_and(|vassal| vassal.state != State::Stopping) {
            self.queue(id);
        }
    }

    /// Begins a reload of every vassal that should run, as parts of one operation.
    pub(super) fn reload_all(&mut self, parent: OperationId) {
        let ids: Vec<String> = self.fleet.vassals.keys().cloned().collect();
        for id in ids {
            let Some(vassal) = self.vassal(&id).filter(|vassal| !vassal.plan.removed) else { continue };
            match vassal.state {
                State::Starting | State::Up { .. } | State::Reloading { .. } | State::Adopting => {
                    let part = self.begin(OperationKind::Reload, Some(&id), Some(parent), "reload of all");
                    self.want_reload(&id, part);
                }
                State::Resting { .. } | State::Broken => {
                    let part = self.begin(OperationKind::Reload, Some(&id), Some(parent), "reload of all");
                    self.start_for(&id, part);
                }
                State::Waiting | State::Stopping | State::Stopped | State::Asleep => {}
            }
        }
        self.end_parent(parent);
    }
}

impl Vassal {
    /// Who of those that wait for a place comes first: the greatest.
    const fn rank(&self) -> (bool, bool, i32, u64) {
        // Who is to reload serves meanwhile.
        (self.plan.urgent, self.current.is_none(), self.attributes.importance, self.last_served)
    }
}

impl Plan {
    pub(super) fn loads_since(&mut self, now: Tick) {
        self.loading = true;
        self.place = Some(now + PLACE_HELD);
    }

    pub(super) const fn loads_no_more(&mut self) {
        self.loading = false;
        self.place = None;
    }
}
