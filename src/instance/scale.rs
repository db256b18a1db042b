//! How many workers there are, as an operator wants it until the next reload.

use super::event::Effect;
use super::roster::{Phase, Roster, SlotState};
use super::settle;
use crate::tick::Tick;
use crate::wire::failure::Failure;
use crate::wire::message::{OperationId, Outcome};

/// Has the generation that serves run so many workers: missing ones are forked, those beyond finish what they have.
pub(super) fn scale(
    roster: &mut Roster,
    operation: OperationId,
    workers: u32,
    now: Tick,
    out: &mut Vec<Effect>,
) {
    let outcome = match room(roster, workers) {
        Err(failure) => Outcome::Refused(failure),
        Ok(generation) => {
            if let Some(serving) = roster.generation_mut(generation) {
                serving.settings.processes = workers;
            }
            let surplus: Vec<usize> = (0..)
                .zip(&roster.slots)
                .filter(|(_, s)| {
                    s.generation == generation && s.worker > workers && s.state != SlotState::Empty
                })
                .map(|(slot, _)| slot)
                .collect();
            for slot in surplus {
                settle::drain(roster, slot, now, out);
            }
            Outcome::Done
        }
    };
    out.push(Effect::Ended { operation, outcome });
}

/// The generation that serves, if it can have so many.
fn room(roster: &Roster, workers: u32) -> Result<u64, Failure> {
    let Some(serving) = roster.serving().filter(|_| roster.phase == Phase::Running) else {
        return Err(Failure::new("no generation serves"));
    };
    let most = serving.reach;
    if workers == 0 || usize::try_from(workers).is_ok_and(|workers| workers > most) {
        return Err(Failure::new(format!("{workers} workers are not between 1 and {most}"))
            .with_hint("set `processes` in the file and reload"));
    }
    Ok(serving.number)
}
