//! What a cache counts: the first words of its memory, and how an observer reads them.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use crate::sys::shared::SharedWords;

/// The most caches of one instance that are looked at.
pub const CACHES: usize = 32;
/// How many words of its memory are of the whole cache.
pub const HEAD_WORDS: usize = 16;

/// A word of the whole cache.
#[derive(Clone, Copy, Debug)]
pub enum Head {
    /// Somebody changes the cache; found by the next one, its last holder has died.
    Dirty,
    /// How many items there are.
    Items,
    /// How many places were ever used.
    Fresh,
    /// The first of the places that were given back.
    Free,
    /// The first item: the next that makes room.
    First,
    /// The last item.
    Last,
    /// Where the search for free blocks begins.
    Block,
    /// When what has expired is looked for again.
    Sweep,
    /// As [`Counts::hits`].
    Hits,
    /// As [`Counts::misses`].
    Misses,
    /// As [`Counts::full`].
    Full,
    /// As [`Counts::modified_epoch_s`].
    Modified,
    /// How many processes wait for the lock.
    Waiting,
}

/// What a cache counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Items.
    pub items: u64,
    /// Keys that were found.
    pub hits: u64,
    /// Keys that were not.
    pub misses: u64,
    /// How often there was no room.
    pub full: u64,
    /// When it was changed last, seconds since the epoch.
    pub modified_epoch_s: u64,
}

impl Counts {
    /// As they are at some moment.
    #[must_use]
    pub fn of(memory: &SharedWords) -> Self {
        let word =
            |head: Head| memory.words().get(head as usize).map_or(0, |word| word.load(Ordering::Relaxed));
        Self {
            items: word(Head::Items),
            hits: word(Head::Hits),
            misses: word(Head::Misses),
            full: word(Head::Full),
            modified_epoch_s: word(Head::Modified),
        }
    }
}

/// A cache of another process, of which an observer sees what it counts, and nothing of what is in it.
#[derive(Debug)]
pub struct ShownCache {
    name: String,
    max_items: u64,
    head: SharedWords,
}

impl ShownCache {
    /// Opens it for reading.
    ///
    /// # Errors
    /// It is no memory of a fixed size, or cannot be mapped.
    pub fn open(name: String, max_items: u64, memory: OwnedFd) -> io::Result<Self> {
        Ok(Self { name, max_items: clamped(max_items), head: SharedWords::map_start(memory, HEAD_WORDS)? })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many items it holds at most.
    #[must_use]
    pub const fn max_items(&self) -> u64 {
        self.max_items
    }

    /// What it counts; no number is larger than readers with signed integers take.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let Counts { items, hits, misses, full, modified_epoch_s } = Counts::of(&self.head);
        Counts {
            items: clamped(items),
            hits: clamped(hits),
            misses: clamped(misses),
            full: clamped(full),
            modified_epoch_s: clamped(modified_epoch_s),
        }
    }

    /// Its memory, for the observer's next image.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.head.fd()
    }
}

fn clamped(number: u64) -> u64 {
    number.min(i64::MAX.unsigned_abs())
}
