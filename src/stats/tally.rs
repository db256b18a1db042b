//! What each worker's number has counted over all its lives, behind everything else on the scoreboard: written by the
//! master alone, so that who reads knows of workers without a process, and counts go on with the next one.

use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::scoreboard::{Core, CoreField, Field, Scoreboard, Slot, words_for};
use super::variables::PLACE_WORDS;

/// A word of the header: of so many numbers, from 1, a tally is shown; a scoreboard of an older version has none.
const TALLIED: usize = 14;
/// A word of the header: odd while counts move from a slot to a tally.
const CHANGES: usize = 15;
/// Words of a tally, …
const TALLY_WORDS: usize = 8;
/// … and of what it has for each thread, behind all tallies.
const THREAD_WORDS: usize = 8;
/// How often is read again what changes meanwhile, and after which pause: a hostile scoreboard always does, and costs its
/// reader a millisecond.
const TRIES: usize = 6;
const PAUSE: Duration = Duration::from_micros(200);

/// What is counted for a worker's number over all its lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How often it was forked.
    pub spawns: u64,
    /// How often harakiri ended it.
    pub harakiri: u64,
    /// Requests of earlier lives.
    pub requests: u64,
    /// Exceptions of earlier lives.
    pub exceptions: u64,
    /// Bytes sent by earlier lives.
    pub tx: u64,
    /// Microseconds in requests of earlier lives.
    pub running_us: u64,
    /// Of each thread of earlier lives.
    #[serde(default)]
    pub threads: Vec<ThreadTally>,
}

/// What is counted for a thread of a worker's number over all lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadTally {
    /// Requests.
    pub requests: u64,
    /// Files that were served without the application.
    pub static_requests: u64,
    /// How often a rule of the internal routing had the last word.
    pub routed_requests: u64,
    /// Writes to clients that failed.
    pub write_errors: u64,
    /// Reads from clients that failed.
    pub read_errors: u64,
}

impl ThreadTally {
    fn add(&mut self, core: Core<'_>) {
        self.requests = self.requests.saturating_add(core.get(CoreField::Requests));
        self.static_requests = self.static_requests.saturating_add(core.get(CoreField::StaticRequests));
        self.routed_requests = self.routed_requests.saturating_add(core.get(CoreField::RoutedRequests));
        self.write_errors = self.write_errors.saturating_add(core.get(CoreField::WriteErrors));
        self.read_errors = self.read_errors.saturating_add(core.get(CoreField::ReadErrors));
    }
}

impl Tally {
    /// Adds what a life has counted.
    pub fn add(&mut self, slot: Slot<'_>) {
        self.threads.resize(self.threads.len().max(slot.cores()), ThreadTally::default());
        self.threads.iter_mut().zip(slot.iter_cores()).for_each(|(thread, core)| thread.add(core));
        self.requests = self.requests.saturating_add(slot.get(Field::Requests));
        self.exceptions = self.exceptions.saturating_add(slot.get(Field::Exceptions));
        self.tx = self.tx.saturating_add(slot.get(Field::TxBytes));
        self.running_us = self.running_us.saturating_add(slot.get(Field::RunningUs));
    }
}

impl Scoreboard {
    /// Of how many numbers, from 1, a tally is shown.
    #[must_use]
    pub fn tallied(&self) -> usize {
        let said = self.word(TALLIED).load(Ordering::Relaxed);
        usize::try_from(said).unwrap_or(usize::MAX).min(self.slots)
    }

    /// The master: tallies of so many numbers are shown.
    pub fn set_tallied(&self, numbers: u32) {
        if self.tally_at(1).is_some() {
            self.word(TALLIED).store(numbers.into(), Ordering::Relaxed);
        }
    }

    /// The tally of a number, if there is one.
    #[must_use]
    pub fn tally(&self, number: u64) -> Option<Tally> {
        let at = self.tally_at(number).filter(|_| self.tallied() > 0)?;
        let word = |offset| self.word(at + offset).load(Ordering::Relaxed);
        Some(Tally {
            spawns: word(0),
            harakiri: word(1),
            requests: word(2),
            exceptions: word(3),
            tx: word(4),
            running_us: word(5),
            threads: (0..self.cores).map_while(|thread| self.thread_tally(number, thread)).collect(),
        })
    }

    fn thread_tally(&self, number: u64, thread: usize) -> Option<ThreadTally> {
        let at = self.thread_tally_at(number, thread)?;
        let word = |offset| self.word(at + offset).load(Ordering::Relaxed);
        Some(ThreadTally {
            requests: word(0),
            static_requests: word(1),
            routed_requests: word(2),
            write_errors: word(3),
            read_errors: word(4),
        })
    }

    /// The master: shows the tally of a number, if there is room for it.
    pub fn set_tally(&self, number: u64, tally: &Tally) {
        let Some(at) = self.tally_at(number) else { return };
        let Tally { spawns, harakiri, requests, exceptions, tx, running_us, ref threads } = *tally;
        self.set_words(at, [spawns, harakiri, requests, exceptions, tx, running_us]);
        for (thread, counted) in threads.iter().enumerate() {
            let Some(at) = self.thread_tally_at(number, thread) else { return };
            let ThreadTally { requests, static_requests, routed_requests, write_errors, read_errors } =
                *counted;
            self.set_words(at, [requests, static_requests, routed_requests, write_errors, read_errors]);
        }
    }

    fn set_words<const COUNT: usize>(&self, at: usize, values: [u64; COUNT]) {
        for (at, value) in (at..).zip(values) {
            self.word(at).store(value, Ordering::Relaxed);
        }
    }

    /// The master: counts begin to move from a slot to a tally; they are in exactly one of them for who reads with
    /// [`Scoreboard::whole`].
    pub(super) fn begin_change(&self) {
        self.word(CHANGES).fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// They have moved.
    pub(super) fn end_change(&self) {
        fence(Ordering::SeqCst);
        self.word(CHANGES).fetch_add(1, Ordering::SeqCst);
    }

    /// Reads what does not change meanwhile, as far as that can be had.
    pub fn whole<T>(&self, read: impl Fn() -> T) -> T {
        let changes = || self.word(CHANGES).load(Ordering::SeqCst);
        for _ in 1..TRIES {
            let before = changes();
            fence(Ordering::SeqCst);
            let seen = read();
            fence(Ordering::SeqCst);
            if before % 2 == 0 && before == changes() {
                return seen;
            }
            // The master may wait for this CPU in the midst of its change, and as it is of another session it would not have
            // it by a mere yield.
            std::thread::sleep(PAUSE);
        }
        read()
    }

    fn tally_at(&self, number: u64) -> Option<usize> {
        let place = self.tally_place(number)?;
        self.has_room(self.tallies_at() + place * TALLY_WORDS, TALLY_WORDS)
    }

    fn thread_tally_at(&self, number: u64, thread: usize) -> Option<usize> {
        let place = self.tally_place(number).filter(|_| thread < self.cores)? * self.cores + thread;
        let start = self.tallies_at() + self.slots * TALLY_WORDS;
        self.has_room(start + place * THREAD_WORDS, THREAD_WORDS)
    }

    fn tally_place(&self, number: u64) -> Option<usize> {
        usize::try_from(number).ok()?.checked_sub(1).filter(|place| *place < self.slots)
    }

    fn tallies_at(&self) -> usize {
        let variables = if self.variables { self.slots * self.cores * PLACE_WORDS } else { 0 };
        words_for(self.slots + 1, self.cores) + variables
    }

    /// One of an older version that goes on after a re-exec has no room for them.
    fn has_room(&self, at: usize, words: usize) -> Option<usize> {
        (self.memory.words().len() >= at + words).then_some(at)
    }
}

/// How many words the tallies of all slots take.
pub(super) const fn tally_words(slots: usize, cores: usize) -> usize {
    slots * (TALLY_WORDS + cores * THREAD_WORDS)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::stats::variables::Variables;

    fn some() -> Tally {
        let thread = |requests| ThreadTally { requests, static_requests: 8, ..ThreadTally::default() };
        let threads = vec![thread(9), thread(10)];
        Tally { spawns: 1, harakiri: 2, requests: 3, exceptions: 4, tx: 5, running_us: 6, threads }
    }

    #[test]
    fn an_observer_reads_the_tallies_beside_everything_else() {
        for variables in [false, true] {
            let board = Scoreboard::create_with(3, 2, variables).unwrap();
            let observer = Scoreboard::open(board.fd().try_clone_to_owned().unwrap(), false).unwrap();
            assert_eq!(observer.tally(1), None, "as on one of an older version");
            board.set_tallied(2);
            board.set_tally(1, &some());
            board.set_tally(3, &some());
            for number in [0, 4, u64::MAX] {
                board.set_tally(number, &some());
                assert_eq!(observer.tally(number), None);
            }
            let mut long = Variables::default();
            (0..20).for_each(|n| long.push(&format!("X{n}"), &[b'x'; 500]));
            board.slot(2).unwrap().core(1).unwrap().show(&long);
            board.slot(2).unwrap().add(Field::Requests, 9);
            board.retire(2);
            assert_eq!((observer.tally(1), observer.tally(3)), (Some(some()), Some(some())));
            let none = Tally { threads: vec![ThreadTally::default(); 2], ..Tally::default() };
            assert_eq!((observer.tally(2), observer.tallied()), (Some(none), 2));
            board.word(TALLIED).store(u64::MAX, Ordering::Relaxed);
            assert_eq!(observer.tallied(), 3);
        }
    }

    #[test]
    fn what_changes_is_read_again_but_not_for_ever() {
        let board = Scoreboard::create(1, 1).unwrap();
        let reads = Cell::new(0);
        let read = || reads.replace(reads.get() + 1);
        assert_eq!((board.whole(read), reads.take()), (0, 1));
        board.begin_change();
        assert_eq!(board.whole(read), TRIES - 1, "it gives up");
        board.end_change();
        reads.set(0);
        let once = || {
            if read() == 0 {
                board.begin_change();
                board.end_change();
            }
        };
        board.whole(once);
        assert_eq!(reads.get(), 2);
    }
}
