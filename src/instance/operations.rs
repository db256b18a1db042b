//! Decisions about operations: what is asked for, what a rehearsal found, what follows an `execve`.

use super::decide::ended;
use super::event::{Effect, Plan};
use super::roster::{Pending, Phase, Roster, Settings};
use super::settle;
use crate::tick::Tick;
use crate::wire::failure::Failure;
use crate::wire::message::{OperationId, Outcome};

/// A burst of requests collapses into the last.
pub(super) fn request(roster: &mut Roster, pending: Pending, out: &mut Vec<Effect>) {
    if roster.phase != Phase::Running {
        let failure = Failure::new("the instance is stopping");
        out.push(ended(pending.operation, Outcome::RolledBack(failure)));
        return;
    }
    if let Some(earlier) = roster.pending.replace(pending) {
        out.push(ended(earlier.operation, Outcome::Superseded));
        // Whoever asked for the binary to be executed again still gets that.
        if let (Some(reexec), Some(now)) = (earlier.reexec, roster.pending.as_mut()) {
            now.reexec = Some(reexec || now.reexec.unwrap_or(true));
        }
    }
    out.extend(roster.pending.map(Effect::Rehearse));
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
