//! What each worker's number has counted over all its lives: written by the master alone, so that who reads knows of
//! workers without a process, and counts go on with the next one.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::scoreboard::{Core, CoreField, Field, Scoreboard, Slot};

/// A word of the header: of so many numbers, from 1, a tally is shown.
const TALLIED: usize = 14;
/// Words of a tally, …
const OWN_WORDS: usize = 8;
/// … and of what it has for each thread, behind them.
const THREAD_WORDS: usize = 8;

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

impl Tally {
    pub(super) fn from_words(cores: usize, word: impl Fn(usize) -> u64) -> Self {
        let [spawns, harakiri, requests, exceptions, tx, running_us] = std::array::from_fn(&word);
        let thread = |core: usize| {
            let at = OWN_WORDS + core * THREAD_WORDS;
            let [requests, static_requests, routed_requests, write_errors, read_errors] =
                std::array::from_fn(|of_thread| word(at + of_thread));
            ThreadTally { requests, static_requests, routed_requests, write_errors, read_errors }
        };
        let threads = (0..cores).map(thread).collect();
        Self { spawns, harakiri, requests, exceptions, tx, running_us, threads }
    }

    /// Its words, each with its place, of as many threads as there is room for.
    pub(super) fn words(&self, cores: usize) -> impl Iterator<Item = (usize, u64)> {
        let Self { spawns, harakiri, requests, exceptions, tx, running_us, ref threads } = *self;
        let own = [spawns, harakiri, requests, exceptions, tx, running_us];
        let of_threads = threads.iter().take(cores).enumerate().flat_map(|(core, thread)| {
            let ThreadTally { requests, static_requests, routed_requests, write_errors, read_errors } =
                *thread;
            let counted = [requests, static_requests, routed_requests, write_errors, read_errors];
            (OWN_WORDS + core * THREAD_WORDS..).zip(counted)
        });
        (0..).zip(own).chain(of_threads)
    }
}

/// How many words a tally takes.
pub(super) const fn tally_words(cores: usize) -> usize {
    OWN_WORDS + cores * THREAD_WORDS
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
        self.word(TALLIED).store(numbers.into(), Ordering::Relaxed);
    }

    /// The master: shows the tally of a number, if there is room for it.
    pub fn set_tally(&self, number: u64, tally: &Tally) {
        self.turn(None, |side| side.set_tally(number, tally));
        self.settle(|side| side.set_tally(number, tally));
    }
}

#[cfg(test)]
mod tests {
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
            let seen = |number| observer.side(observer.state()).unwrap().tally(number);
            board.set_tallied(2);
            board.set_tally(1, &some());
            board.set_tally(3, &some());
            for number in [0, 4, u64::MAX] {
                board.set_tally(number, &some());
                assert_eq!(seen(number), None);
            }
            let mut long = Variables::default();
            (0..20).for_each(|n| long.push(&format!("X{n}"), &[b'x'; 500]));
            board.slot(2).unwrap().core(1).unwrap().show(&long);
            board.slot(2).unwrap().add(Field::Requests, 9);
            board.retire(2);
            assert_eq!((seen(1), seen(3)), (Some(some()), Some(some())));
            let none = Tally { threads: vec![ThreadTally::default(); 2], ..Tally::default() };
            assert_eq!((seen(2), observer.tallied()), (Some(none), 2));
            board.word(TALLIED).store(u64::MAX, Ordering::Relaxed);
            assert_eq!(observer.tallied(), 3);
        }
    }
}
