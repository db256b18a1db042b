//! Text in the words of a scoreboard, under a sequence number: what is read is whole, or not read.

use std::sync::atomic::{Ordering, fence};

use super::scoreboard::{Core, CoreField, Scoreboard, TEXT_BYTES, TEXT_START, TEXT_WORDS, as_u64};

/// Where a text stands: all as numbers of words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Odd while the text is being written.
    pub(super) sequence: usize,
    /// How many bytes there are.
    pub(super) length: usize,
    /// The first word of the text.
    pub(super) start: usize,
    /// How many words there is room for.
    pub(super) words: usize,
}

impl Scoreboard {
    /// Writes a text, as far as there is room. Each place has one writer.
    pub(super) fn write(&self, place: Place, text: &[u8]) {
        let sequence = self.word(place.sequence);
        let old = sequence.load(Ordering::Relaxed) & !1;
        sequence.store(old.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        for (chunk, at) in text.chunks(8).take(place.words).zip(place.start..) {
            let rest = || chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
            let word = chunk.try_into().map_or_else(|_| rest(), u64::from_le_bytes);
            self.word(at).store(word, Ordering::Relaxed);
        }
        self.word(place.length).store(as_u64(text.len().min(place.words * 8)), Ordering::Relaxed);
        sequence.store(old.wrapping_add(2), Ordering::Release);
    }

    /// The text; `None` while it is being written.
    pub(super) fn read(&self, place: Place) -> Option<Vec<u8>> {
        let sequence = self.word(place.sequence);
        let before = sequence.load(Ordering::Acquire);
        if before % 2 == 1 {
            return None;
        }
        let length = self.word(place.length).load(Ordering::Relaxed);
        let length = usize::try_from(length).unwrap_or(0).min(place.words * 8);
        let mut bytes = Vec::with_capacity(length + 8);
        for at in (place.start..).take(length.div_ceil(8)) {
            bytes.extend(self.word(at).load(Ordering::Relaxed).to_le_bytes());
        }
        fence(Ordering::Acquire);
        bytes.truncate(length);
        (sequence.load(Ordering::Relaxed) == before).then_some(bytes)
    }
}

impl Core<'_> {
    /// Shows what the core does: method and path without the query, clipped to [`TEXT_BYTES`].
    pub fn set_text(self, method: &[u8], path: &[u8]) {
        let mut bytes = [0_u8; TEXT_BYTES];
        let mut length = 0;
        for (place, byte) in bytes.iter_mut().zip(method.iter().chain(b" ").chain(path)) {
            *place = *byte;
            length += 1;
        }
        self.board.write(self.text_place(), bytes.get(..length).unwrap_or(&bytes));
    }

    /// What the core does, or did last; `None` while it is being written.
    #[must_use]
    pub fn text(self) -> Option<Vec<u8>> {
        self.board.read(self.text_place())
    }

    const fn text_place(self) -> Place {
        Place {
            sequence: self.start + CoreField::TextSequence as usize,
            length: self.start + CoreField::TextLength as usize,
            start: self.start + TEXT_START,
            words: TEXT_WORDS,
        }
    }
}
