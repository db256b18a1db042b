//! The end of what lives beside the workers: it goes when they are gone, and then all is over.

use serde::{Deserialize, Serialize};

use super::event::Effect;
use super::roster::{Phase, Roster};

/// How far those who live beside the workers are on their way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Farewell {
    /// They stay as long as there are workers.
    #[default]
    Unsaid,
    /// They were told to end.
    Said,
    /// They are gone.
    Over,
}

/// The workers are gone: what lives beside them goes, then it is over.
pub(super) fn leave(roster: &mut Roster, out: &mut Vec<Effect>) {
    match roster.farewell {
        Farewell::Unsaid => {
            roster.farewell = Farewell::Said;
            out.push(Effect::Part { by: roster.limit });
        }
        Farewell::Said => {}
        Farewell::Over => {
            roster.phase = Phase::Ended;
            out.push(Effect::Exit { code: 0, failure: None });
        }
    }
}

/// Nothing lives beside the workers any more.
pub(super) fn alone(roster: &mut Roster) {
    if roster.farewell == Farewell::Said {
        roster.farewell = Farewell::Over;
    }
}
