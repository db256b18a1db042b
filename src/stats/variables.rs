//! The variables of running requests: a place for each core behind the slots, on a scoreboard that was made with them.
//!
//! Each entry is its length in two bytes, the least first, and `NAME=value`.

use std::sync::atomic::Ordering;

use super::scoreboard::{Core, Scoreboard, words_for};
use super::text::Place;

/// A word of the header: 1, if there are places for variables.
pub(super) const HAS_VARIABLES: usize = 13;
/// Words of a place: a sequence number, a length, and the text.
pub(super) const PLACE_WORDS: usize = 512;
const HEAD_WORDS: usize = 2;
/// The most bytes of variables that a core shows.
pub const VARIABLES_BYTES: usize = (PLACE_WORDS - HEAD_WORDS) * 8;
/// The most bytes of a value; longer ones are clipped.
pub const VALUE_BYTES: usize = 512;

/// Variables that are put together to be shown.
#[derive(Debug, Default)]
pub struct Variables {
    bytes: Vec<u8>,
}

impl Variables {
    /// Adds one, if there is room for it.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        let value = value.get(..VALUE_BYTES).unwrap_or(value);
        let length = name.len() + 1 + value.len();
        let Some(head) = u16::try_from(length).ok().map(u16::to_le_bytes) else { return };
        if self.bytes.len() + head.len() + length <= VARIABLES_BYTES {
            for part in [&head[..], name.as_bytes(), b"=", value] {
                self.bytes.extend_from_slice(part);
            }
        }
    }
}

impl Scoreboard {
    /// Whether there are places for variables.
    #[must_use]
    pub const fn has_variables(&self) -> bool {
        self.variables
    }

    /// Nothing is shown any more at the places of a slot.
    pub(super) fn hide_variables(&self, slot: usize) {
        for core in self.slot(slot).into_iter().flat_map(super::scoreboard::Slot::iter_cores) {
            core.show(&Variables::default());
        }
    }
}

impl Core<'_> {
    /// Shows the variables of its request, where there is a place.
    pub fn show(self, variables: &Variables) {
        if let Some(place) = self.place() {
            self.board.write(place, &variables.bytes);
        }
    }

    /// The variables of its request, each as `NAME=value`; none while they are being written.
    #[must_use]
    pub fn variables(self) -> Vec<Vec<u8>> {
        let bytes = self.place().and_then(|place| self.board.read(place)).unwrap_or_default();
        let (mut rest, mut variables) = (bytes.as_slice(), Vec::new());
        while let [low, high, after @ ..] = rest {
            let Some((variable, after)) = after.split_at_checked(u16::from_le_bytes([*low, *high]).into())
            else {
                break;
            };
            variables.push(variable.to_vec());
            rest = after;
        }
        variables
    }

    fn place(self) -> Option<Place> {
        let board = self.board;
        let start = words_for(board.slots + 1, board.cores) + self.number * PLACE_WORDS;
        board.variables.then_some(Place {
            sequence: start,
            length: start + 1,
            start: start + HEAD_WORDS,
            words: PLACE_WORDS - HEAD_WORDS,
        })
    }
}

/// Notes in the header whether there are places.
pub(super) fn note(board: &Scoreboard) {
    board.word(HAS_VARIABLES).store(u64::from(board.variables), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_shown_as_far_as_there_is_room_and_hidden_with_their_slot() {
        let board = Scoreboard::create_with(3, 2, true).unwrap();
        let observer = Scoreboard::open(board.fd().try_clone_to_owned().unwrap(), false).unwrap();
        let mut some = Variables::default();
        some.push("EMPTY", b"");
        some.push("LONG", &[b'x'; 5000]);
        some.push("NUL", b"a\0b=c");
        board.slot(2).unwrap().core(1).unwrap().show(&some);
        let long = [&b"LONG="[..], &[b'x'; VALUE_BYTES]].concat();
        let seen = |slot: usize, core: usize| observer.slot(slot).unwrap().core(core).unwrap().variables();
        assert_eq!(seen(2, 1), [b"EMPTY=".to_vec(), long, b"NUL=a\0b=c".to_vec()]);
        assert!(seen(2, 0).is_empty() && seen(1, 1).is_empty());
        for n in 0..100 {
            some.push(&format!("X{n}"), &[b'y'; 100]);
        }
        some.push("Z", b"z");
        board.slot(0).unwrap().core(0).unwrap().show(&some);
        let (first, last) = (seen(0, 0), seen(2, 1));
        assert!(first.len() > 30 && first.len() < 50 && first.last().unwrap() == b"Z=z", "{}", first.len());
        assert_eq!(last.len(), 3, "nobody writes into another's place");
        board.retire(2);
        assert!(seen(2, 1).is_empty());
    }

    #[test]
    fn a_scoreboard_without_places_shows_nothing_and_garbage_is_bounded() {
        let board = Scoreboard::create(1, 1).unwrap();
        let core = board.slot(0).unwrap().core(0).unwrap();
        let mut one = Variables::default();
        one.push("A", b"b");
        core.show(&one);
        assert!(core.variables().is_empty() && !board.has_variables());
        // Whoever claims more places than there are is no scoreboard.
        board.word(HAS_VARIABLES).store(1, Ordering::Relaxed);
        assert!(Scoreboard::open(board.fd().try_clone_to_owned().unwrap(), false).is_err());
        let board = Scoreboard::create_with(1, 1, true).unwrap();
        let core = board.slot(0).unwrap().core(0).unwrap();
        let start = words_for(2, 1);
        for at in start + 1..start + PLACE_WORDS {
            board.word(at).store(u64::MAX, Ordering::Relaxed);
        }
        assert!(core.variables().is_empty());
    }
}
