//! A lane's word in the queue: how it stands, and which lease of it that is about.

use std::sync::atomic::{AtomicU64, Ordering};

/// A thread's use of a lane. Lanes are given out again when a thread is gone; with the lease of an earlier thread nothing
/// is changed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The lane's number.
    pub lane: usize,
    /// Which of its leases this is.
    pub number: u32,
}

/// How a lane, which is a worker's thread to the router, stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneState {
    /// Nobody uses it.
    Absent,
    /// Its thread runs, or was rung for: it looks for requests before it sleeps.
    Busy,
    /// Its thread sleeps until it is rung for.
    Idle,
    /// The same as busy, but it takes nothing more.
    Closing,
    /// It has taken its last request, or the lease is over.
    Closed,
}

const STATE_MASK: u64 = 7;
const LEASE_SHIFT: u32 = 3;

/// The word of a lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneWord<'a>(pub(super) &'a AtomicU64);

impl LaneWord<'_> {
    /// How the lane stands, whoever uses it.
    pub(super) fn state(self) -> LaneState {
        decode(self.0.load(Ordering::Acquire))
    }

    /// How it stands for the holder of this lease.
    pub(super) fn state_for(self, lease: Lease) -> LaneState {
        let word = self.0.load(Ordering::Acquire);
        if word >> LEASE_SHIFT == u64::from(lease.number) { decode(word) } else { LaneState::Closed }
    }

    /// Whether it is about this lease.
    pub(super) fn is_of(self, lease: Lease) -> bool {
        self.0.load(Ordering::Acquire) >> LEASE_SHIFT == u64::from(lease.number)
    }

    /// Begins a lease.
    pub(super) fn give(self, number: u32) {
        self.0.store(encode(u64::from(number), LaneState::Busy), Ordering::Release);
    }

    /// Ends whatever lease there is.
    pub(super) fn take_away(self) {
        self.0.store(0, Ordering::Release);
    }

    /// Changes the state, whoever uses the lane; whether it was the first of the two.
    pub(super) fn swap(self, from: LaneState, to: LaneState) -> bool {
        let number = self.0.load(Ordering::Acquire) >> LEASE_SHIFT;
        self.swap_of(number, from, to)
    }

    /// The same, as long as this lease lasts.
    pub(super) fn swap_for(self, lease: Lease, from: LaneState, to: LaneState) -> bool {
        self.swap_of(u64::from(lease.number), from, to)
    }

    fn swap_of(self, number: u64, from: LaneState, to: LaneState) -> bool {
        let (from, to) = (encode(number, from), encode(number, to));
        self.0.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }
}

fn encode(number: u64, state: LaneState) -> u64 {
    let state = match state {
        LaneState::Absent => 0,
        LaneState::Busy => 1,
        LaneState::Idle => 2,
        LaneState::Closing => 3,
        LaneState::Closed => 4,
    };
    number << LEASE_SHIFT | state
}

/// What nobody stores in good faith is nobody's.
fn decode(word: u64) -> LaneState {
    match word & STATE_MASK {
        1 => LaneState::Busy,
        2 => LaneState::Idle,
        3 => LaneState::Closing,
        4 => LaneState::Closed,
        _ => LaneState::Absent,
    }
}
