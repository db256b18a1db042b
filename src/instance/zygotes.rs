//! What zygotes say, and how they end. No I/O, no clock.

use std::time::Duration;

use super::decide::{EXIT_NO_APP, QUICK, clear, doubled};
use super::event::Effect;
use super::roster::{Roster, SlotState, Stage, Zygote};
use super::settle;
use crate::tick::Tick;
use crate::wire::failure::Failure;
use crate::wire::message::Outcome;

/// The delay after the first zygote of a generation that serves has failed; it doubles up to [`LONGEST_DELAY`].
const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// What a zygote says of its application.
pub(super) struct Loaded {
    /// There is one.
    pub(super) app: bool,
    /// It must not be forked.
    pub(super) threads: bool,
    /// Why there is none.
    pub(super) failure: Option<Failure>,
}

/// A zygote has loaded.
pub(super) fn loaded(roster: &mut Roster, zygote: u64, loaded: Loaded, now: Tick, out: &mut Vec<Effect>) {
    let others_serve = roster.serving().is_some();
    let Some(generation) = roster.generation_of_zygote(zygote) else { return };
    if generation.zygote != (Zygote::Loading { id: zygote }) {
        return;
    }
    if loaded.threads && !generation.lazy {
        generation.lazy = true;
        generation.zygote = Zygote::Absent { not_before: now };
        let line = "the application started threads while it was imported: every worker loads it itself";
        out.push(Effect::Tell(line.to_owned()));
        settle::close_zygote(roster, zygote, now, out);
        return;
    }
    if !loaded.app && generation.settings.names_app && others_serve {
        let failure = loaded.failure.unwrap_or_else(|| Failure::new("the application could not be loaded"));
        failed(roster, zygote, failure, false, now, out);
        return;
    }
    generation.app &= loaded.app;
    generation.zygote = Zygote::Ready { id: zygote, since: now };
    generation.failed_zygotes = 0;
}

/// A zygote cannot give what its generation needs. It `ends` by itself, or is told to.
pub(super) fn failed(
    roster: &mut Roster,
    zygote: u64,
    failure: Failure,
    ends: bool,
    now: Tick,
    out: &mut Vec<Effect>,
) {
    let others_serve = roster.serving().is_some();
    let Some(generation) = roster.generation_of_zygote(zygote) else { return };
    if generation.stage == Stage::Candidate {
        if others_serve {
            settle::abandon_candidate(roster, Outcome::RolledBack(failure), now, out);
        } else {
            settle::fail(roster, if ends { EXIT_NO_APP } else { 1 }, failure, out);
        }
        return;
    }
    // A generation that serves needs it only for the next worker: later is early enough.
    let delay = doubled(FIRST_DELAY, generation.failed_zygotes, LONGEST_DELAY);
    generation.failed_zygotes = generation.failed_zygotes.saturating_add(1);
    generation.zygote = Zygote::Absent { not_before: now + delay };
    out.push(Effect::Tell(format!("the interpreter that workers are forked from failed: {failure}")));
    settle::close_zygote(roster, zygote, now, out);
}

/// A zygote is gone.
pub(super) fn gone(roster: &mut Roster, zygote: u64, how: &str, now: Tick, out: &mut Vec<Effect>) {
    roster.closing.retain(|c| c.zygote != zygote);
    let mut orphans = 0;
    for n in 0..roster.slots.len() {
        if roster.slots.get(n).is_some_and(|s| s.zygote == zygote && !s.forked && s.state != SlotState::Empty)
        {
            clear(roster, n, out);
            orphans += 1;
        }
    }
    let others_serve = roster.serving().is_some();
    let Some(generation) = roster.generation_of_zygote(zygote) else { return };
    let failure = |doing: &str| Failure::new(format!("the interpreter ended while {doing}: {how}"));
    match generation.zygote {
        Zygote::Loading { .. } if generation.stage == Stage::Candidate && !others_serve => {
            settle::fail(roster, 1, failure("it loaded the application"), out);
        }
        Zygote::Loading { .. } => {
            failed(roster, zygote, failure("it loaded the application"), true, now, out);
            roster.closing.retain(|c| c.zygote != zygote);
        }
        Zygote::Ready { .. } if orphans > 0 && generation.stage == Stage::Candidate && others_serve => {
            failed(roster, zygote, failure("it forked workers"), true, now, out);
            roster.closing.retain(|c| c.zygote != zygote);
        }
        Zygote::Ready { since, .. } => {
            // One that is kept for the next worker, or mule, and not only for those that it has forked.
            let is_kept = !generation.lazy || generation.settings.mules;
            let quick = orphans > 0 || (is_kept && now.since(since) < QUICK);
            let delay = doubled(FIRST_DELAY, generation.failed_zygotes, LONGEST_DELAY);
            generation.failed_zygotes = if quick { generation.failed_zygotes.saturating_add(1) } else { 0 };
            generation.zygote = Zygote::Absent { not_before: if quick { now + delay } else { now } };
        }
        Zygote::Absent { .. } => {}
    }
}
