//! What must be true in the simulated world after every step.

use std::collections::BTreeMap;

use super::world::World;
use crate::emperor::fleet::{Phase, State};

impl World {
    /// One vassal's events never change another's state, except that a place becomes free.
    pub(super) fn check_others(&self, of: &str, before: &BTreeMap<String, State>, said: &str) {
        for (id, state) in before.iter().filter(|(id, _)| *id != of) {
            let now = self.state(id);
            let place = *state == State::Waiting && now == Some(State::Starting)
                || matches!(now, Some(State::Reloading { .. }))
                // It is started anew where it cannot reload.
                || now == Some(State::Stopping) && self.vassal(id).plan.start.is_some()
                // What a stopped master is told when it has a place is over at once.
                || self.vassal(id).current.as_ref().is_some_and(|life| life.halted)
                // The virtual clock may reach another vassal's deadline with this event.
                || matches!(state, State::Resting { until, .. } if *until <= self.now);
            assert!(now == Some(*state) || place, "{said} changed {id} from {state:?} to {now:?}");
        }
    }

    pub(super) fn check(&mut self, said: &str) {
        for (id, vassal) in &self.fleet.vassals {
            let staying = vassal.lives().filter(|life| life.leaving.is_none() && !life.reaped).count();
            let wanted = usize::from(vassal.current.is_some()) + usize::from(vassal.next.is_some());
            assert!(staying <= wanted, "{said}: {id} has {staying} lives that stay");
            assert!(
                vassal.leaving.iter().all(|life| life.leaving.is_some()),
                "{said}: {id} leaves without end"
            );
            assert!(vassal.next.is_none() || vassal.current.is_some(), "{said}: {id} has only a replacement");
            let idle = matches!(
                vassal.state,
                State::Waiting | State::Resting { .. } | State::Broken | State::Stopped | State::Asleep
            );
            assert!(!idle || vassal.current.is_none(), "{said}: {id} is {:?} and runs", vassal.state);
            assert!(
                idle || vassal.state == State::Stopping || vassal.current.is_some(),
                "{said}: {id} is {:?} and does not run",
                vassal.state
            );
            if let State::Resting { until, .. } = vassal.state {
                let longest = self.now + self.fleet.rules.back_off.longest;
                assert!(until <= longest, "{said}: {id} rests for longer than the longest back-off");
            }
            assert!(
                vassal.state != State::Waiting
                    || self.fleet.queue.contains(id)
                    || self.fleet.phase == Phase::Stopping,
                "{said}: {id} waits for ever"
            );
        }
        let ids = self.fleet.events.iter().map(|event| event.id);
        assert!(ids.is_sorted_by(|one, next| one < next), "{said}: the events are out of order");
        let urgent = |id: &String| self.fleet.vassals.get(id).is_some_and(|vassal| vassal.plan.urgent);
        let after_the_first = self.fleet.queue.iter().skip_while(|id| urgent(id));
        assert!(
            !after_the_first.into_iter().any(urgent),
            "{said}: who was served waits behind others: {:?}",
            self.fleet.queue
        );
        let mut queue: Vec<&String> = self.fleet.queue.iter().collect();
        queue.sort();
        queue.dedup();
        assert_eq!(queue.len(), self.fleet.queue.len(), "{said}: queued twice");
    }
}
