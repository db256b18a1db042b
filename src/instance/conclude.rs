//! When a reload that went well is over: not before nobody of an earlier generation takes a request any more, so that
//! whoever waits for it meets the new code.

use std::time::Duration;

use super::decide::ended;
use super::event::Effect;
use super::roster::{Generation, Roster, Slot, SlotState, Stage};
use crate::tick::Tick;
use crate::wire::message::Outcome;

/// A worker whose application keeps it from hearing anything is waited for no longer.
const HEARING: Duration = Duration::from_secs(1);

/// A generation serves from now on, and those before it are told to finish.
pub(super) fn begin(generation: &mut Generation, now: Tick) {
    generation.conclude_at = generation.operation.map(|_| now + HEARING);
}

/// Ends the operations of generations that took over, once that is so for everybody who asks.
pub(super) fn conclude(roster: &mut Roster, now: Tick, out: &mut Vec<Effect>) {
    let is_due = |g: &Generation| {
        g.conclude_at.is_some_and(|at| at <= now || !roster.slots.iter().any(|s| s.competes(g.number)))
    };
    let due: Vec<u64> = roster.generations.iter().filter(|g| is_due(g)).map(|g| g.number).collect();
    for generation in roster.generations.iter_mut().filter(|g| due.contains(&g.number)) {
        end(generation, out);
    }
}

/// Ends them now.
pub(super) fn conclude_all(roster: &mut Roster, out: &mut Vec<Effect>) {
    for generation in roster.generations.iter_mut().filter(|g| g.stage != Stage::Candidate) {
        end(generation, out);
    }
}

fn end(generation: &mut Generation, out: &mut Vec<Effect>) {
    generation.conclude_at = None;
    out.extend(generation.operation.take().map(|operation| ended(operation, Outcome::Swapped)));
}

impl Slot {
    /// Whether a worker of a generation before this one may take what comes now.
    fn competes(&self, generation: u64) -> bool {
        let hears_nothing_new = self.closed && (self.passed_over || !self.routed);
        self.state != SlotState::Empty && self.generation < generation && !hears_nothing_new
    }

    /// A worker has said that it accepts no more, whoever told it to.
    pub(super) fn close(&mut self) {
        self.closed = self.state != SlotState::Empty;
    }
}

impl Roster {
    /// When a reload is over at the latest.
    pub(super) fn next_conclusion(&self) -> Option<Tick> {
        self.generations.iter().filter_map(|g| g.conclude_at).min()
    }
}
