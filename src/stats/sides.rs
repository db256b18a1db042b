//! What is kept of workers that are gone, on two sides: the master writes the one that does not count, and a single word
//! says which one does, and which slot's counts have moved there. So whoever reads sees a whole, however long the master
//! stands still in the midst of a change.

use std::sync::atomic::{Ordering, fence};

use super::kept::{KEPT_WORDS, Kept};
use super::scoreboard::{Scoreboard, Slot, words_for};
use super::tally::{Tally, tally_words};
use super::variables::PLACE_WORDS;

/// The word of the header.
const STATE: usize = 15;
const SIDE: u64 = 1;
/// Behind the side: the slot that leaves, from 1.
const LEAVING_BITS: u32 = 15;
const LEAVING: u64 = ((1 << LEAVING_BITS) - 1) << 1;

/// Which side counts, which slot does not any more, and a number that each change makes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State(u64);

impl State {
    /// The slot whose counts are kept already.
    pub(super) fn leaving(self) -> Option<usize> {
        usize::try_from((self.0 & LEAVING) >> 1).ok()?.checked_sub(1)
    }

    fn counts(self) -> usize {
        usize::from(self.0 & SIDE != 0)
    }

    const fn flipped(self) -> Self {
        Self(self.0 ^ SIDE)
    }

    fn next(self, leaving: Option<usize>) -> Self {
        let change = (self.0 >> (LEAVING_BITS + 1)).wrapping_add(1) << (LEAVING_BITS + 1);
        let leaving = leaving.and_then(|slot| u64::try_from(slot + 1).ok()).unwrap_or(0);
        Self(change | (leaving << 1) & LEAVING | self.0 & SIDE)
    }
}

impl Scoreboard {
    pub(super) fn state(&self) -> State {
        State(self.word(STATE).load(Ordering::SeqCst))
    }

    /// The slots whose counts are not among what this side keeps.
    pub(super) fn counting(&self, state: State) -> impl Iterator<Item = Slot<'_>> {
        let leaving = state.leaving();
        (0..self.slots).filter(move |slot| leaving != Some(*slot)).filter_map(|slot| self.slot(slot))
    }

    /// The side that counts; a scoreboard of an older version has none.
    pub(super) fn side(&self, state: State) -> Option<Side<'_>> {
        let words = side_words(self.slots, self.cores);
        let start = self.sides_at() + state.counts() * words;
        (self.memory.words().len() >= start + words).then_some(Side { board: self, start })
    }

    /// The master: writes to what is kept, in [`Scoreboard::settle`] too; from one moment on that counts, and the slot that
    /// leaves does not.
    pub(super) fn turn(&self, leaving: Option<usize>, write: impl Fn(Side<'_>)) {
        let other = self.state().flipped();
        self.side(other).into_iter().for_each(write);
        self.set_state(other.next(leaving));
    }

    /// The slot has left, and the side that does not count any more becomes like the other one.
    pub(super) fn settle(&self, write: impl Fn(Side<'_>)) {
        let now = self.state();
        self.set_state(now.next(None));
        self.side(now.flipped()).into_iter().for_each(write);
    }

    /// What was written before is seen before it, and what is written behind it after.
    fn set_state(&self, state: State) {
        fence(Ordering::SeqCst);
        self.word(STATE).store(state.0, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    fn sides_at(&self) -> usize {
        let variables = if self.variables { self.slots * self.cores * PLACE_WORDS } else { 0 };
        words_for(self.slots + 1, self.cores) + variables
    }
}

/// One side of what is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side<'a> {
    board: &'a Scoreboard,
    start: usize,
}

impl Side<'_> {
    /// What all workers that are gone have counted.
    pub(super) fn kept(self) -> Kept {
        Kept::from_words(|at| self.get(at))
    }

    /// Adds what one has counted.
    pub(super) fn add(self, kept: &Kept) {
        for (at, more) in kept.words().enumerate() {
            self.set(at, self.get(at).wrapping_add(more));
        }
    }

    /// The tally of a number, if there is one.
    pub(super) fn tally(self, number: u64) -> Option<Tally> {
        let at = self.tally_at(number)?;
        Some(Tally::from_words(self.board.cores, |word| self.get(at + word)))
    }

    /// Shows the tally of a number, if there is room for it.
    pub(super) fn set_tally(self, number: u64, tally: &Tally) {
        let Some(at) = self.tally_at(number) else { return };
        tally.words(self.board.cores).for_each(|(word, value)| self.set(at + word, value));
    }

    fn tally_at(self, number: u64) -> Option<usize> {
        let place = usize::try_from(number).ok()?.checked_sub(1).filter(|place| *place < self.board.slots)?;
        Some(KEPT_WORDS + place * tally_words(self.board.cores))
    }

    fn get(self, at: usize) -> u64 {
        self.board.word(self.start + at).load(Ordering::Relaxed)
    }

    fn set(self, at: usize, value: u64) {
        self.board.word(self.start + at).store(value, Ordering::Relaxed);
    }
}

/// How many words both sides take.
pub(super) const fn sides_words(slots: usize, cores: usize) -> usize {
    2 * side_words(slots, cores)
}

const fn side_words(slots: usize, cores: usize) -> usize {
    KEPT_WORDS + slots * tally_words(cores)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::stats::scoreboard::Field;

    #[test]
    fn a_state_says_which_side_counts_and_which_slot_leaves() {
        let mut state = State(0);
        for leaving in [None, Some(0), Some(16_383), None] {
            let before = state;
            state = state.flipped().next(leaving);
            assert_eq!((state.leaving(), state.counts()), (leaving, 1 - before.counts()));
            assert_ne!(state.next(leaving), state);
        }
        let last = State(u64::MAX).next(None);
        assert_eq!((last.leaving(), last.counts(), last.0 >> 1), (None, 1, 0), "it begins anew");
    }

    #[test]
    fn who_reads_sees_a_whole_at_each_step_of_a_change() {
        let board = Scoreboard::create(3, 1).unwrap();
        let observer = Scoreboard::open(board.fd().try_clone_to_owned().unwrap(), false).unwrap();
        let slot = board.slot(2).unwrap();
        slot.set(Field::Requests, 5);
        board.slot(0).unwrap().set(Field::Requests, 70);
        let looks = Cell::new(0);
        let look = || {
            let state = observer.state();
            let side = observer.side(state).unwrap();
            let of_tally = side.tally(2).unwrap().requests;
            let leaves = state.leaving() == Some(2);
            let of_slot = if leaves { 0 } else { observer.slot(2).unwrap().get(Field::Requests) };
            assert_eq!((of_tally + of_slot, observer.requests()), (5, 75), "look {}", looks.get());
            looks.set(looks.get() + 1);
        };
        let (kept, tally) = (Kept::of(slot), Tally { requests: 5, ..Tally::default() });
        let write = |side: Side<'_>| {
            look();
            side.add(&kept);
            look();
            side.set_tally(2, &tally);
            look();
        };
        look();
        board.turn(Some(2), write);
        look();
        slot.set(Field::Requests, 0);
        look();
        board.settle(write);
        look();
        assert_eq!(looks.get(), 10);
        let [one, other] = [board.state(), board.state().flipped()].map(|state| board.side(state).unwrap());
        assert_eq!((one.kept(), one.tally(2)), (other.kept(), other.tally(2)));
    }
}
