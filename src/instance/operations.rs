//! Decisions about operations: what is asked for, what a rehearsal found, what follows an `execve`.

use serde::{Deserialize, Serialize};

use super::decide::ended;
use super::event::{Effect, Plan};
use super::roster::{Phase, Roster, Settings};
use super::settle;
use crate::tick::Tick;
use crate::wire::failure::Failure;
use crate::wire::message::{OperationId, Outcome};

/// Marks an operation that is none of the emperor's: a signal asked for it, a touched file, the application.
pub(super) const OWN: OperationId = 1 << 63;

/// A reload that was asked for, before it has a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The operation.
    pub operation: OperationId,
    /// Whether the binary is executed again after it, and if so whether a new generation follows.
    pub reexec: Option<bool>,
}

/// What the emperor asks for begins at once, whatever is under way; what else asks has its pace, and waits for its time
/// without disturbing what is under way.
pub(super) fn request(roster: &mut Roster, asked: Pending, now: Tick, out: &mut Vec<Effect>) {
    if roster.phase != Phase::Running {
        let failure = Failure::new("the instance is stopping");
        out.push(ended(asked.operation, Outcome::RolledBack(failure)));
        return;
    }
    let asked = in_place_of(roster.waiting.take(), asked, out);
    if asked.operation & OWN != 0 {
        if roster.pace.free_at() > now {
            roster.waiting = Some(asked);
            return;
        }
        roster.pace.begin(now);
    }
    let pending = in_place_of(roster.pending.take(), asked, out);
    roster.pending = Some(pending);
    out.push(Effect::Rehearse(pending));
}

/// Begins what has waited, if its time has come.
pub(super) fn begin_waiting(roster: &mut Roster, now: Tick, out: &mut Vec<Effect>) {
    if roster.pace.free_at() <= now
        && let Some(waiting) = roster.waiting.take()
    {
        request(roster, waiting, now, out);
    }
}

/// A burst of requests collapses into the last.
fn in_place_of(earlier: Option<Pending>, mut asked: Pending, out: &mut Vec<Effect>) -> Pending {
    if let Some(earlier) = earlier {
        out.push(ended(earlier.operation, Outcome::Superseded));
        // Whoever asked for the binary to be executed again still gets that.
        if let Some(reexec) = earlier.reexec {
            asked.reexec = Some(reexec || asked.reexec.unwrap_or(true));
        }
    }
    asked
}

/// The rehearsal of its configuration came to its end.
pub(super) fn rehearsed(
    roster: &mut Roster,
    operation: OperationId,
    plan: Result<Plan, Failure>,
    now: Tick,
    out: &mut Vec<Effect>,
) {
    let Some(pending) = roster.pending.filter(|p| p.operation == operation) else { return };
    if let Some(reload) = pending.reexec.filter(|_| matches!(plan, Ok(Plan::Generation(_)))) {
        // Stays pending: the new image ends it.
        settle::abandon_candidate(roster, Outcome::Superseded, now, out);
        out.push(Effect::Reexec { operation, reload });
        return;
    }
    roster.pending = None;
    match plan {
        Ok(Plan::Generation(settings)) => {
            settle::abandon_candidate(roster, Outcome::Superseded, now, out);
            settle::add_generation(roster, settings, Some(operation), now, out);
        }
        Ok(Plan::End) => {
            out.push(ended(operation, Outcome::Done));
            settle::stop(roster, None, now, out);
        }
        Ok(Plan::Replace { reason }) => out.push(ended(operation, Outcome::NeedsReplace { reason })),
        Err(failure) => out.push(ended(operation, Outcome::RolledBack(failure))),
    }
}

/// This is the new image.
pub(super) fn reexecuted(roster: &mut Roster, settings: Settings, now: Tick, out: &mut Vec<Effect>) {
    let Some(pending) = roster.pending.take() else { return };
    if pending.reexec == Some(true) || roster.serving().is_none() {
        settle::add_generation(roster, settings, Some(pending.operation), now, out);
    } else {
        out.push(ended(pending.operation, Outcome::Swapped));
    }
}

impl Roster {
    /// Whether what waits for its time does this, too: the binary executed again, and if so whether a new generation follows.
    pub(super) fn waits_for(&self, reexec: Option<bool>) -> bool {
        self.waiting.is_some_and(|waiting| waiting.reexec == Some(true) || waiting.reexec == reexec)
    }

    /// Everything that was asked for and has no generation: none of it will be.
    pub(super) fn give_up_requests(&mut self) -> impl Iterator<Item = Pending> + use<> {
        [self.pending.take(), self.waiting.take()].into_iter().flatten()
    }
}
