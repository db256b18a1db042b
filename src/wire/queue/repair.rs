//! What only the router writes into the queue, written again: an application can write over it, too.

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;

use super::{BOUND, LaneState, Lease, MAGIC, OVERFLOW, SharedQueue, State, as_u64};

impl SharedQueue {
    /// The descriptor to pass to a worker, with a header as it was made.
    pub fn share(&self) -> BorrowedFd<'_> {
        self.restore_header();
        self.fd()
    }

    /// Writes again what is said once, and how many cells are in use and requests wait; whether something else stood there.
    #[must_use]
    pub fn restore(&self, bound: usize, overflow: usize) -> bool {
        let counts = [(BOUND, bound), (OVERFLOW, overflow)].map(|(at, value)| self.put(at, as_u64(value)));
        self.restore_header() | counts.contains(&true)
    }

    fn restore_header(&self) -> bool {
        let words = [(1, as_u64(self.cells)), (2, as_u64(self.lanes)), (0, MAGIC)];
        words.map(|(at, value)| self.put(at, value)).contains(&true)
    }

    fn put(&self, at: usize, value: u64) -> bool {
        self.word(at).swap(value, Ordering::AcqRel) != value
    }

    /// Empties a cell that the router has free; whether it held what nobody else stores there: a request, or nonsense. An
    /// answer may come late, of a thread that was given up.
    #[must_use]
    pub fn restore_free(&self, cell: usize) -> bool {
        let state = self.state(cell);
        if state != Some(State::Free) {
            self.free(cell);
        }
        matches!(state, None | Some(State::Ready(_)))
    }

    /// Whether a lane's word is of this lease, and tells something.
    #[must_use]
    pub fn is_of(&self, lease: Lease) -> bool {
        let word = self.lane_word(lease.lane);
        word.is_of(lease) && word.state() != LaneState::Absent
    }
}
