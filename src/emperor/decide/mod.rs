//! Every decision of the emperor, without I/O and without a clock: an event and the time in, effects out.

mod adoption;
mod attention;
mod deaths;
mod files;
mod foreign;
mod forkbomb;
mod halts;
mod lives;
mod places;
mod renames;
mod requests;
mod sleep;
mod stop;
mod turn;

#[cfg(test)]
mod crashes;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod fakes;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod manners;
#[cfg(test)]
mod rests;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod world;

pub use places::PLACE_HELD;
pub use requests::{hang_up, request};

use std::time::Duration;

use super::event::{Effect, Event};
use super::fleet::{Fleet, Phase, State, Vassal};
use super::life::{Leaving, Life};
use crate::tick::Tick;
use turn::Turn;

/// The service manager is told that all is ready after so long, whatever the vassals do.
pub const FIRST_ROUND: Duration = Duration::from_secs(30);

/// Takes in an event, changes the fleet, and says what is to be done. Late and repeated events change nothing.
pub fn decide(fleet: &mut Fleet, event: Event, now: Tick, out: &mut Vec<Effect>) {
    let mut turn = Turn { fleet, now, out };
    match event {
        Event::Looked { id, look, not_started } => turn.looked(&id, look, not_started),
        Event::Listed { not_started, problems } => turn.listed(not_started, problems),
        Event::Inherited { heirs, gone, adopt } => turn.inherited(heirs, gone, adopt),
        Event::FirstScanDone => turn.fleet.scanned = turn.fleet.scanned.or(Some(now)),
        Event::News { vassal, life, news } => turn.news(&vassal, life, news),
        Event::Called { vassal } => turn.called(&vassal),
        Event::OutOfReach { vassal } => turn.out_of_reach(&vassal),
        Event::NotAsleep { vassal, failure } => turn.not_asleep(&vassal, failure),
        Event::StopAll => turn.stop_all(),
        Event::Reexecuted(operation) => turn.reexecuted(operation),
        Event::ReexecFailed(operation, failure) => turn.reexec_failed(operation, failure),
        Event::Attended(operation, done) => turn.attended(operation, done),
        Event::Deadline => {}
    }
    turn.settle_accounts();
}

impl Fleet {
    /// When [`Event::Deadline`] is to be told next; `None`: only when something else happens first.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        let of_vassals = self.vassals.values().flat_map(|vassal| {
            let resting = vassal.next_try();
            let place = vassal.plan.place.filter(|_| !self.queue.is_empty());
            let leaving = vassal.lives().filter_map(|life| life.leaving).map(Leaving::next_step);
            let call = vassal.current.as_ref().and_then(Life::waits_until);
            let care = vassal.current.as_ref().and_then(Life::looked_after_at);
            resting.into_iter().chain(place).chain(leaving).chain(call).chain(care)
        });
        let first_round =
            self.scanned.filter(|_| self.phase == Phase::Starting).map(|since| since + FIRST_ROUND);
        of_vassals.chain(first_round).min()
    }
}

impl Vassal {
    fn is_due(&self, now: Tick) -> bool {
        let steps = self.lives().filter_map(|life| life.leaving).map(Leaving::next_step);
        let call = self.current.as_ref().and_then(Life::waits_until);
        let care = self.current.as_ref().and_then(Life::looked_after_at);
        steps.chain(self.next_try()).chain(self.plan.place).chain(call).chain(care).any(|at| at <= now)
    }
}

impl Turn<'_> {
    /// What follows from the time and the state alone, after every event.
    fn settle_accounts(&mut self) {
        let now = self.now;
        let due: Vec<String> =
            self.fleet.vassals.values().filter(|v| v.is_due(now)).map(|v| v.id.clone()).collect();
        for id in &due {
            self.catch_up(id);
        }
        self.look_again();
        self.settle_successions();
        self.fill_places();
        self.end_first_round();
        if self.fleet.phase == Phase::Stopping
            && self.fleet.vassals.values().all(|v| v.lives().next().is_none())
        {
            self.out.push(Effect::Exit);
        }
    }

    /// What the time alone brings for a vassal.
    fn catch_up(&mut self, id: &str) {
        let now = self.now;
        let Some(vassal) = self.vassal(id) else { return };
        vassal.plan.place = vassal.plan.place.filter(|until| now < *until);
        if vassal.next_try().is_some_and(|until| until <= now) {
            self.queue(id);
        }
        self.lose_patience(id);
        self.look_after(id);
        self.escalate(id);
    }

    fn end_first_round(&mut self) {
        let Some(since) = self.fleet.scanned.filter(|_| self.fleet.phase == Phase::Starting) else { return };
        let busy = |state| matches!(state, State::Waiting | State::Starting | State::Adopting);
        if self.now >= since + FIRST_ROUND || !self.fleet.vassals.values().any(|v| busy(v.state)) {
            self.fleet.phase = Phase::Running;
            self.out.push(Effect::Ready);
        }
    }
}
