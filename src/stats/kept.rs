//! What outlives a slot, and a scoreboard: counters are cumulative, and kept when whoever counted is gone.

use std::sync::atomic::Ordering;

use super::classes::CLASSES;
use super::scoreboard::{Field, Scoreboard, Slot, Total, slot_words};
use super::sides::Side;

/// Words that it takes.
pub(super) const KEPT_WORDS: usize = 24;
const FIELDS: [Field; 5] =
    [Field::Requests, Field::TxBytes, Field::Exceptions, Field::RunningUs, Field::QueuedUs];

/// What workers that are gone have counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Requests.
    pub requests: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Requests that ended in an exception.
    pub exceptions: u64,
    /// Microseconds in requests.
    pub running_us: u64,
    /// Microseconds that requests waited for a thread.
    pub queued_us: u64,
    /// Requests by how long they took.
    pub classes: [u64; CLASSES],
}

impl Kept {
    /// What a slot has counted.
    pub(super) fn of(slot: Slot<'_>) -> Self {
        let [requests, tx_bytes, exceptions, running_us, queued_us] = FIELDS.map(|field| slot.get(field));
        Self { requests, tx_bytes, exceptions, running_us, queued_us, classes: slot.classes() }
    }

    pub(super) fn from_words(word: impl Fn(usize) -> u64) -> Self {
        let [requests, tx_bytes, exceptions, running_us, queued_us] = std::array::from_fn(&word);
        let classes = std::array::from_fn(|class| word(FIELDS.len() + class));
        Self { requests, tx_bytes, exceptions, running_us, queued_us, classes }
    }

    pub(super) fn words(&self) -> impl Iterator<Item = u64> {
        let Self { requests, tx_bytes, exceptions, running_us, queued_us, classes } = *self;
        [requests, tx_bytes, exceptions, running_us, queued_us].into_iter().chain(classes)
    }
}

impl Scoreboard {
    /// What workers that are gone have counted.
    #[must_use]
    pub fn kept(&self) -> Kept {
        self.side(self.state()).map(Side::kept).unwrap_or_default()
    }

    /// Takes over what another scoreboard, whose place this one takes, has kept.
    pub fn inherit(&self, old: &Self) {
        for total in [Total::Threads, Total::Generation, Total::StartedEpochS, Total::LogLinesDropped] {
            self.set_total(total, old.total(total));
        }
        let kept = old.kept();
        self.turn(None, |side| side.add(&kept));
        self.settle(|side| side.add(&kept));
        if let Some((own, attic)) = self.attic().zip(old.attic()) {
            for field in [Field::Requests, Field::TxBytes, Field::RunningUs, Field::RouterErrors] {
                own.add(field, attic.get(field));
            }
            own.add_classes(attic.classes());
        }
    }

    /// Empties a slot whose worker is gone, and keeps its counters.
    pub fn retire(&self, slot: usize) {
        retire(&[self], (self, slot), |_| ());
    }

    fn empty(&self, slot: usize) {
        self.hide_variables(slot);
        let Some(slot) = self.slot(slot) else { return };
        for word in slot.start..slot.start + slot_words(self.cores) {
            self.word(word).store(0, Ordering::Relaxed);
        }
    }
}

/// Empties a slot of one scoreboard, whose counters are kept on all; `show` writes beside them.
pub(super) fn retire(all: &[&Scoreboard], (of, slot): (&Scoreboard, usize), show: impl Fn(Side<'_>)) {
    let Some(kept) = of.slot(slot).map(Kept::of) else { return };
    let write = |side: Side<'_>| {
        side.add(&kept);
        show(side);
    };
    all.iter().for_each(|board| board.turn(Some(slot), write));
    of.empty(slot);
    all.iter().for_each(|board| board.settle(write));
}
