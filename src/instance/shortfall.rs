//! Why fewer workers serve than are wanted, where the kernel refuses to make more.

use super::event::Effect;
use super::roster::{Generation, Roster};
use crate::wire::failure::Failure;

/// A worker of this generation could not be forked.
pub(super) fn refused(roster: &mut Roster, generation: u64, failure: &Failure, out: &mut Vec<Effect>) {
    let serves = roster.serving().is_some_and(|serving| serving.number == generation);
    if serves && is_short(roster) && roster.shortfall.as_ref() != Some(failure) {
        roster.shortfall = Some(failure.clone());
        out.push(Effect::Shortfall(roster.shortfall.clone()));
    }
}

/// Says when there are enough again.
pub(super) fn look(roster: &mut Roster, out: &mut Vec<Effect>) {
    if roster.shortfall.is_some() && !is_short(roster) {
        roster.shortfall = None;
        out.push(Effect::Shortfall(None));
    }
}

fn is_short(roster: &Roster) -> bool {
    let wanted = |generation: &Generation| usize::try_from(generation.wanted());
    roster
        .serving()
        .is_some_and(|serving| wanted(serving).is_ok_and(|wanted| roster.accepting(serving.number) < wanted))
}
