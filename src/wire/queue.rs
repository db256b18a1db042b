//! The central queue in memory that the router and its workers share: the router lays complete requests into cells, an
//! idle worker takes the oldest by a compare-and-swap and puts a short answer into the same cell.
//!
//! A claim is what makes a request a worker's: before it no worker has seen anything of it, so that it can be taken
//! back or wait on for another one; from it on it is never given to a second one. Whoever is about to sleep says so in
//! a word first and looks once more, so that a ring (a few bytes on the connection of the lane) is needed only for
//! sleepers, and none while all are busy.
//!
//! An application can scribble over this memory as over the rest of its process: whoever reads it checks every number.

mod cell;
mod lease;
mod repair;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering, fence};

pub use cell::{CELL_BYTES, Contents, Place};
pub use lease::{LaneState, Lease};

use lease::LaneWord;

use crate::sys::shared::SharedWords;

const MAGIC: u64 = u64::from_le_bytes(*b"liegeRQ1");
/// Each of its groups of eight is a line of the processor's cache, with what the same side writes.
const HEADER_WORDS: usize = 24;
const BOUND: usize = 8;
const OVERFLOW: usize = 9;
const ASLEEP: usize = 16;
/// One word is used; neighbours must not share a line of the cache.
const LANE_WORDS: usize = 8;
/// The most cells and lanes: the numbers fit into a state.
const LIMIT: usize = 1 << 14;

/// A request's place in the order of arrival.
pub type Sequence = u64;

/// The queue.
#[derive(Debug)]
pub struct SharedQueue {
    memory: SharedWords,
    cells: usize,
    lanes: usize,
}

/// How a cell stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is in it.
    Free,
    /// A request waits in it.
    Ready(Sequence),
    /// The worker thread of this lane runs it.
    Claimed(usize, Sequence),
    /// Its answer is there.
    Done(usize, Sequence),
}

/// A request that a worker thread has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The thread's lane.
    pub lane: usize,
    /// Where the request is.
    pub cell: usize,
    /// Its place in the order.
    pub sequence: Sequence,
}

impl SharedQueue {
    /// Makes an empty queue.
    ///
    /// # Errors
    /// Creating or mapping the memory.
    pub fn create(cells: usize, lanes: usize) -> io::Result<Self> {
        let (cells, lanes) = (cells.clamp(1, LIMIT), lanes.clamp(1, LIMIT));
        let memory = SharedWords::create("liege-queue", words_for(cells, lanes))?;
        let queue = Self { memory, cells, lanes };
        queue.word(1).store(as_u64(cells), Ordering::Relaxed);
        queue.word(2).store(as_u64(lanes), Ordering::Relaxed);
        queue.word(0).store(MAGIC, Ordering::Release);
        Ok(queue)
    }

    /// Opens the queue that the router made.
    ///
    /// # Errors
    /// Mapping, or memory that holds no queue of a size that fits.
    pub fn open(file: OwnedFd) -> io::Result<Self> {
        let memory = SharedWords::map(file, true, words_for(LIMIT, LIMIT))?;
        let word = |at: usize| memory.words().get(at).map_or(0, |word| word.load(Ordering::Acquire));
        let cells = usize::try_from(word(1)).unwrap_or(usize::MAX);
        let lanes = usize::try_from(word(2)).unwrap_or(usize::MAX);
        let fits = word(0) == MAGIC
            && (1..=LIMIT).contains(&cells)
            && (1..=LIMIT).contains(&lanes)
            && memory.words().len() >= words_for(cells, lanes);
        if fits {
            return Ok(Self { memory, cells, lanes });
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "shared memory holds no queue of a size that fits"))
    }

    /// The descriptor to pass to a worker.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.memory.fd()
    }

    /// How many cells there are.
    #[must_use]
    pub const fn cells(&self) -> usize {
        self.cells
    }

    /// How many lanes there can be.
    #[must_use]
    pub const fn lanes(&self) -> usize {
        self.lanes
    }

    /// How a cell stands; `None` for a number that nobody stored there in good faith.
    #[must_use]
    pub fn state(&self, cell: usize) -> Option<State> {
        decode(self.cell_word(cell).load(Ordering::Acquire))
    }

    /// The contents of a cell.
    #[must_use]
    pub fn place(&self, cell: usize) -> Place<'_> {
        let start = self.contents_start() + cell.min(self.cells) * cell::WORDS;
        Place::new(self.memory.words().get(start..start + cell::WORDS).unwrap_or_default())
    }

    /// Shows the number of the first cell above all that are in use.
    pub fn set_bound(&self, bound: usize) {
        self.word(BOUND).store(as_u64(bound), Ordering::Relaxed);
    }

    /// Lets workers see the request in a free cell. `bound` is as in [`SharedQueue::set_bound`].
    pub fn lay(&self, cell: usize, sequence: Sequence, bound: usize) {
        self.set_bound(bound);
        self.cell_word(cell).store(encode(State::Ready(sequence)), Ordering::Release);
    }

    /// Shows how many requests wait that no cell has room for.
    pub fn set_overflow(&self, requests: usize) {
        self.word(OVERFLOW).store(as_u64(requests), Ordering::Relaxed);
    }

    /// How many requests wait for a worker.
    #[must_use]
    pub fn backlog(&self) -> u64 {
        let bound = usize::try_from(self.word(BOUND).load(Ordering::Acquire)).unwrap_or(usize::MAX);
        let cells = (0..bound.min(self.cells)).map(|cell| self.state(cell));
        let ready = cells.filter(|state| matches!(state, Some(State::Ready(_)))).count();
        as_u64(ready).saturating_add(self.word(OVERFLOW).load(Ordering::Relaxed))
    }

    /// Takes a request back that no worker has claimed; whether that was so.
    pub fn withdraw(&self, cell: usize, sequence: Sequence) -> bool {
        self.swap(self.cell_word(cell), encode(State::Ready(sequence)), encode(State::Free))
    }

    /// Frees a cell whose answer was taken, or will not come.
    pub fn free(&self, cell: usize) {
        self.cell_word(cell).store(encode(State::Free), Ordering::Release);
    }

    /// Takes the oldest request that waits. Call it only while the lane is busy, by its own thread.
    #[must_use]
    pub fn claim(&self, lane: usize) -> Option<Claim> {
        loop {
            let (cell, ready) = self.oldest()?;
            let sequence = ready >> SEQUENCE_SHIFT;
            if self.swap(self.cell_word(cell), ready, encode(State::Claimed(lane, sequence))) {
                return Some(Claim { lane, cell, sequence });
            }
        }
    }

    /// Whether a request is still who claimed it's: where an application has written over the queue, the router gives the
    /// cell to another one.
    #[must_use]
    pub fn holds(&self, Claim { lane, cell, sequence }: Claim) -> bool {
        self.state(cell) == Some(State::Claimed(lane, sequence))
    }

    /// Says that the answer is in the cell, unless that is another request's by now; whether the router has to be rung for.
    #[must_use]
    pub fn finish(&self, Claim { lane, cell, sequence }: Claim) -> bool {
        let (claimed, done) = (encode(State::Claimed(lane, sequence)), encode(State::Done(lane, sequence)));
        let asleep = self.word(ASLEEP);
        // Both in the order that the router's fence is part of: it sees the answer, or is seen asleep.
        self.swap(self.cell_word(cell), claimed, done)
            && asleep.load(Ordering::SeqCst) == 1
            && self.swap(asleep, 1, 0)
    }

    /// The router is about to sleep: it looks for answers once more after this, and wakes up again if there are any.
    pub fn fall_asleep(&self) {
        self.word(ASLEEP).store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The router runs.
    pub fn wake_up(&self) {
        self.word(ASLEEP).store(0, Ordering::Relaxed);
    }

    /// How a lane stands, whoever uses it.
    #[must_use]
    pub fn lane(&self, lane: usize) -> LaneState {
        self.lane_word(lane).state()
    }

    /// How the lane stands for the thread that holds this lease.
    #[must_use]
    pub fn state_for(&self, lease: Lease) -> LaneState {
        self.lane_word(lease.lane).state_for(lease)
    }

    /// Gives a lane to a worker's thread, which is busy at first.
    pub fn give(&self, lease: Lease) {
        self.lane_word(lease.lane).give(lease.number);
    }

    /// Takes a lane away from a thread that is gone.
    pub fn take_away(&self, lane: usize) {
        self.lane_word(lane).take_away();
    }

    /// Makes an idle lane busy; whether it was idle. The router must ring for its thread then.
    pub fn rouse(&self, lane: usize) -> bool {
        self.lane_word(lane).swap(LaneState::Idle, LaneState::Busy)
    }

    /// Orders what was laid before what lanes say of themselves: call it before looking for idle ones.
    pub fn look_at_lanes(&self) {
        fence(Ordering::SeqCst);
    }

    /// Has a lane take nothing more; whether it is closed already. Otherwise its thread closes it when it has finished
    /// its request.
    pub fn close(&self, lane: usize) -> bool {
        let word = self.lane_word(lane);
        loop {
            let (state, next) = match word.state() {
                LaneState::Idle => (LaneState::Idle, LaneState::Closed),
                LaneState::Busy => (LaneState::Busy, LaneState::Closing),
                LaneState::Closing => return false,
                LaneState::Closed | LaneState::Absent => return true,
            };
            if word.swap(state, next) {
                return next == LaneState::Closed;
            }
        }
    }

    /// A thread that something else than the router woke runs.
    pub fn run(&self, lease: Lease) {
        self.lane_word(lease.lane).swap_for(lease, LaneState::Idle, LaneState::Busy);
    }

    /// A thread takes nothing more, at a time when it runs no request. The router hears of it by the end of its
    /// connection, and rings for others if it had rung for this one.
    pub fn leave(&self, lease: Lease) {
        let word = self.lane_word(lease.lane);
        // The router may close it in between.
        for state in [LaneState::Busy, LaneState::Closing] {
            word.swap_for(lease, state, LaneState::Closed);
        }
    }

    /// A thread without a request is about to sleep. `false`: it must not; look how the lane stands and for a request.
    #[must_use]
    pub fn rest(&self, lease: Lease) -> bool {
        let word = self.lane_word(lease.lane);
        let rests = word.swap_for(lease, LaneState::Busy, LaneState::Idle)
            || word.state_for(lease) == LaneState::Idle;
        fence(Ordering::SeqCst);
        if rests && self.oldest().is_none() {
            return true;
        }
        self.run(lease);
        false
    }

    fn oldest(&self) -> Option<(usize, u64)> {
        let bound = usize::try_from(self.word(BOUND).load(Ordering::Acquire)).unwrap_or(usize::MAX);
        let start = self.cells_start();
        let words = self.memory.words().get(start..start + bound.min(self.cells)).unwrap_or_default();
        let states = words.iter().map(|word| word.load(Ordering::Acquire));
        states.enumerate().filter(|(_, state)| state & KIND_MASK == READY).min_by_key(|&(_, state)| state)
    }

    fn swap(&self, word: &AtomicU64, from: u64, to: u64) -> bool {
        word.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    const fn cells_start(&self) -> usize {
        HEADER_WORDS + self.lanes * LANE_WORDS
    }

    const fn contents_start(&self) -> usize {
        self.cells_start() + self.cells.next_multiple_of(8)
    }

    fn lane_word(&self, lane: usize) -> LaneWord<'_> {
        LaneWord(self.word(HEADER_WORDS + lane.min(self.lanes.saturating_sub(1)) * LANE_WORDS))
    }

    fn cell_word(&self, cell: usize) -> &AtomicU64 {
        self.word(self.cells_start() + cell.min(self.cells.saturating_sub(1)))
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        static NOWHERE: AtomicU64 = AtomicU64::new(0);
        // In bounds by construction; a wrong index must not take a process down.
        self.memory.words().get(at).unwrap_or(&NOWHERE)
    }
}

const KIND_MASK: u64 = 3;
const READY: u64 = 1;
const LANE_SHIFT: u32 = 2;
const LANE_MASK: u64 = 0x3fff;
const SEQUENCE_SHIFT: u32 = 16;

/// The kind below, then the lane, then the sequence: of ready cells the smallest is the oldest.
fn encode(state: State) -> u64 {
    let (kind, lane, sequence) = match state {
        State::Free => (0, 0, 0),
        State::Ready(sequence) => (READY, 0, sequence),
        State::Claimed(lane, sequence) => (2, lane, sequence),
        State::Done(lane, sequence) => (3, lane, sequence),
    };
    kind | (as_u64(lane) & LANE_MASK) << LANE_SHIFT | sequence << SEQUENCE_SHIFT
}

fn decode(word: u64) -> Option<State> {
    let lane = usize::try_from(word >> LANE_SHIFT & LANE_MASK).unwrap_or(usize::MAX);
    let sequence = word >> SEQUENCE_SHIFT;
    let state = match word & KIND_MASK {
        0 => State::Free,
        READY => State::Ready(sequence),
        2 => State::Claimed(lane, sequence),
        _ => State::Done(lane, sequence),
    };
    (encode(state) == word).then_some(state)
}

const fn words_for(cells: usize, lanes: usize) -> usize {
    HEADER_WORDS + lanes * LANE_WORDS + cells.next_multiple_of(8) + cells * cell::WORDS
}

fn as_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use super::*;

    fn queue() -> SharedQueue {
        SharedQueue::create(8, 4).unwrap()
    }

    fn lay(queue: &SharedQueue, cell: usize, sequence: Sequence) {
        queue.place(cell).put(b"head", Some(b"body"), 4);
        queue.lay(cell, sequence, 8);
    }

    #[test]
    fn the_oldest_is_claimed_once_and_answered_in_its_cell() {
        let router = queue();
        let worker = SharedQueue::open(router.fd().as_fd().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!((worker.cells(), worker.lanes()), (8, 4));
        for (cell, sequence) in [(3, 7), (0, 9), (7, 8)] {
            lay(&router, cell, sequence);
        }
        let claims: Vec<Claim> = std::iter::from_fn(|| worker.claim(2)).collect();
        assert_eq!(
            claims.iter().map(|claim| (claim.cell, claim.sequence)).collect::<Vec<_>>(),
            [(3, 7), (7, 8), (0, 9)]
        );
        assert_eq!(router.state(3), Some(State::Claimed(2, 7)));
        let contents = worker.place(3).get().unwrap();
        assert_eq!((&*contents.head, &*contents.body, contents.body_length), (&b"head"[..], &b"body"[..], 4));
        worker.place(3).put(b"answer", Some(b""), 0);
        assert!(!worker.finish(claims[0]), "the router is awake");
        assert_eq!(router.state(3), Some(State::Done(2, 7)));
        assert_eq!(router.place(3).get().unwrap().head, b"answer");
        router.free(3);
        assert_eq!(router.state(3), Some(State::Free));
        router.fall_asleep();
        assert!(worker.finish(claims[1]), "the router sleeps");
        assert!(!worker.finish(claims[2]), "it was rung for");
    }

    #[test]
    fn what_waits_is_counted() {
        let queue = queue();
        for (cell, sequence) in [(0, 1), (3, 2), (5, 3)] {
            lay(&queue, cell, sequence);
        }
        assert_eq!(queue.backlog(), 3);
        let claim = queue.claim(0).unwrap();
        queue.set_overflow(7);
        assert_eq!(queue.backlog(), 9);
        let _ = queue.finish(claim);
        assert!(queue.withdraw(3, 2));
        assert_eq!(queue.backlog(), 8);
    }

    #[test]
    fn what_nobody_claimed_can_be_taken_back() {
        let queue = queue();
        lay(&queue, 1, 5);
        assert!(!queue.withdraw(1, 4) && queue.withdraw(1, 5) && !queue.withdraw(1, 5));
        assert_eq!(queue.claim(0), None);
        lay(&queue, 1, 6);
        assert!(queue.claim(0).is_some() && !queue.withdraw(1, 6));
    }

    #[test]
    fn what_does_not_fit_is_asked_for() {
        let queue = queue();
        let long = vec![b'x'; CELL_BYTES + 1];
        for (head, body, head_held, body_held) in [
            (10, 20, true, true),
            (CELL_BYTES - 24, 24, true, true),
            (CELL_BYTES - 23, 24, true, false),
            (CELL_BYTES, 1, true, false),
            (CELL_BYTES + 1, 1, false, false),
        ] {
            queue.place(2).put(&long[..head], Some(&long[..body]), as_u64(body));
            let contents = queue.place(2).get().unwrap();
            assert_eq!((contents.head_length, contents.body_length), (head, as_u64(body)));
            assert_eq!(contents.head.len(), if head_held { head } else { 0 }, "{head} {body}");
            assert_eq!(contents.body.len(), if body_held { body } else { 0 }, "{head} {body}");
        }
        queue.place(2).put(b"head", None, 99);
        assert_eq!(queue.place(2).get().unwrap().body, b"");
        assert!(queue.place(2).is_wanted());
        queue.place(2).give_up();
        assert!(!queue.place(2).is_wanted());
    }

    #[test]
    fn numbers_that_do_not_go_together_are_refused() {
        let queue = queue();
        for words in [[9, 0, 4], [u64::MAX, 0, 4], [4, 3, 8], [0, u64::MAX, u64::MAX]] {
            for (at, value) in (1..).zip(words) {
                queue.place(0).set(at, value);
            }
            assert_eq!(queue.place(0).get(), None, "{words:?}");
        }
        for word in [u64::MAX - 1, 1 << 2, 1 << 20, 1 | 1 << 3] {
            queue.cell_word(0).store(word, Ordering::Relaxed);
            assert!(matches!(queue.state(0), None | Some(State::Claimed(..))), "{word:x}");
        }
        let empty = SharedWords::create("test", 100).unwrap();
        assert!(SharedQueue::open(empty.fd().as_fd().try_clone_to_owned().unwrap()).is_err());
        let short = SharedWords::create("test", 100).unwrap();
        for (word, value) in short.words().iter().zip([MAGIC, 100, 100]) {
            word.store(value, Ordering::Relaxed);
        }
        assert!(SharedQueue::open(short.fd().as_fd().try_clone_to_owned().unwrap()).is_err());
    }

    const LEASE: Lease = Lease { lane: 1, number: 1 };

    #[test]
    fn a_thread_that_is_about_to_sleep_looks_once_more() {
        let queue = queue();
        queue.give(LEASE);
        assert_eq!(queue.lane(1), LaneState::Busy);
        assert!(queue.rest(LEASE) && queue.rest(LEASE), "still idle");
        assert_eq!(queue.lane(1), LaneState::Idle);
        assert!(queue.rouse(1) && !queue.rouse(1));
        lay(&queue, 0, 1);
        assert!(!queue.rest(LEASE));
        assert_eq!(queue.lane(1), LaneState::Busy);
    }

    #[test]
    fn a_lane_is_closed_at_once_while_idle_and_by_its_thread_otherwise() {
        let queue = queue();
        queue.give(LEASE);
        assert!(!queue.close(1) && !queue.close(1));
        assert!(!queue.rest(LEASE), "it closes");
        assert_eq!(queue.lane(1), LaneState::Closing);
        queue.leave(LEASE);
        assert!(queue.close(1));
        queue.take_away(1);
        assert_eq!(queue.lane(1), LaneState::Absent);
        queue.give(LEASE);
        assert!(queue.rest(LEASE) && queue.close(1) && !queue.rouse(1));
        assert_eq!(queue.lane(1), LaneState::Closed);
    }

    /// A thread that is slow to notice that the router gave its lane to another one must not make it busy: nobody would
    /// ring for the other one ever again.
    #[test]
    fn who_had_a_lane_before_changes_nothing_of_it() {
        let queue = queue();
        queue.give(LEASE);
        queue.take_away(1);
        assert!(!queue.rest(LEASE) && queue.state_for(LEASE) == LaneState::Closed);
        let next = Lease { number: 2, ..LEASE };
        queue.give(next);
        queue.leave(LEASE);
        assert!(!queue.rest(LEASE));
        assert_eq!((queue.lane(1), queue.state_for(LEASE)), (LaneState::Busy, LaneState::Closed));
        assert!(queue.rest(next));
        queue.run(LEASE);
        queue.leave(LEASE);
        assert!(!queue.rest(LEASE));
        assert_eq!(queue.state_for(next), LaneState::Idle);
        queue.run(next);
        assert_eq!(queue.state_for(next), LaneState::Busy);
    }

    /// Threads that claim at the same time: each request once, whatever is withdrawn meanwhile.
    #[test]
    fn many_at_once_claim_each_request_once() {
        const REQUESTS: u64 = 20_000;
        let queue = Arc::new(SharedQueue::create(16, 4).unwrap());
        let (claimed, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let workers: Vec<_> = (0..3)
            .map(|lane| {
                let (queue, claimed, done) = (Arc::clone(&queue), Arc::clone(&claimed), Arc::clone(&done));
                thread::spawn(move || {
                    while done.load(Ordering::Relaxed) == 0 {
                        if let Some(claim) = queue.claim(lane) {
                            let head = queue.place(claim.cell).get().unwrap().head;
                            let number = std::str::from_utf8(&head).unwrap().parse();
                            assert_eq!(number, Ok(claim.sequence));
                            claimed.fetch_add(1, Ordering::Relaxed);
                            let _ = queue.finish(claim);
                        } else {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let (mut sequence, mut finished, mut withdrawn) = (0, 0, 0);
        while finished + withdrawn < REQUESTS {
            for cell in 0..16 {
                match queue.state(cell).unwrap() {
                    State::Free if sequence < REQUESTS => {
                        sequence += 1;
                        queue.place(cell).put(sequence.to_string().as_bytes(), Some(b""), 0);
                        queue.lay(cell, sequence, 16);
                    }
                    State::Done(..) => {
                        finished += 1;
                        queue.free(cell);
                    }
                    State::Ready(ready) if ready % 7 == 0 => {
                        withdrawn += u64::from(queue.withdraw(cell, ready))
                    }
                    _ => {}
                }
            }
            thread::yield_now();
        }
        done.store(1, Ordering::Relaxed);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        assert_eq!(u64::try_from(claimed.load(Ordering::Relaxed)).unwrap(), finished);
    }
}
