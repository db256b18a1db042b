//! Requests by how long they took: counted in classes, in each slot, and kept when a slot changes hands.

use std::sync::atomic::Ordering;

use super::scoreboard::{HEADER_WORDS, SLOT_WORDS, Scoreboard, Slot, slot_words};

/// The upper ends, in microseconds, of the classes in which requests are counted by how long they took. Longer ones are
/// in none.
pub const CLASSES_US: [u64; CLASSES] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000,
];
/// How many classes there are.
pub const CLASSES: usize = 12;
/// Where in a slot the classes begin.
const CLASSES_START: usize = 16;
/// A word of the header: 1, if there is a slot behind the last for what the router counts.
pub(super) const HAS_ATTIC: usize = 11;

impl Scoreboard {
    /// The place of what the router counts; a scoreboard of an older version has none.
    #[must_use]
    pub fn attic(&self) -> Option<Slot<'_>> {
        let start = HEADER_WORDS + self.slots * slot_words(self.cores);
        let has_attic = self.word(HAS_ATTIC).load(Ordering::Relaxed) == 1;
        (has_attic && self.memory.words().len() >= start + SLOT_WORDS).then_some(Slot { board: self, start })
    }
}

impl Slot<'_> {
    /// Counts a request by how long it took.
    pub fn classify(self, taken_us: u64) {
        if let Some(class) = CLASSES_US.iter().position(|end| taken_us <= *end) {
            self.board.word(self.start + CLASSES_START + class).fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn add_classes(self, counts: [u64; CLASSES]) {
        for (class, count) in counts.into_iter().enumerate() {
            self.board.word(self.start + CLASSES_START + class).fetch_add(count, Ordering::Relaxed);
        }
    }

    /// How many requests took so long, by class.
    #[must_use]
    pub fn classes(self) -> [u64; CLASSES] {
        std::array::from_fn(|class| {
            self.board.word(self.start + CLASSES_START + class).load(Ordering::Relaxed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::scoreboard::Field;

    #[test]
    fn what_is_counted_in_classes_outlives_slots_and_scoreboards() {
        let board = Scoreboard::create(2, 1).unwrap();
        board.slot(0).unwrap().set(Field::Requests, 5);
        board.slot(0).unwrap().set(Field::QueuedUs, 7);
        for taken_us in [0, 1000, 1001, 10_000_000, 10_000_001] {
            board.slot(0).unwrap().classify(taken_us);
        }
        board.retire(0);
        let larger = Scoreboard::create(3, 2).unwrap();
        larger.inherit(&board);
        let kept = larger.kept();
        assert_eq!(kept.classes, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((kept.queued_us, kept.requests, larger.slots()), (7, 5, 3));
        let observer = Scoreboard::open(larger.fd().try_clone_to_owned().unwrap(), false).unwrap();
        assert_eq!((observer.slots(), observer.kept()), (3, kept));
    }
}
