//! What the router counts: requests that servers of `http-to` have, and errors of its own.

use std::cell::Cell;
use std::rc::Rc;

use super::front::Front;
use super::job::Trouble;
use crate::stats::scoreboard::Scoreboard;
use crate::sys::clock;

/// A request that is at a server; counted when this is dropped, if an answer has begun.
#[derive(Debug)]
pub(super) struct Meter {
    front: Rc<Front>,
    began_us: u64,
    bytes: Cell<u64>,
    is_answered: Cell<bool>,
}

impl Meter {
    /// The request begins.
    pub(super) fn new(front: &Rc<Front>) -> Rc<Self> {
        front.forwarding(true);
        Rc::new(Self {
            front: Rc::clone(front),
            began_us: clock::monotonic_us(),
            bytes: Cell::new(0),
            is_answered: Cell::new(false),
        })
    }

    /// So much of the answer has come.
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.set(self.bytes.get().saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX)));
    }

    /// There is an answer.
    pub(super) fn answered(&self) {
        self.is_answered.set(true);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.front.forwarding(false);
        if self.is_answered.get() {
            let taken_us = clock::monotonic_us().saturating_sub(self.began_us);
            self.front.count(|board| board.count_forwarded(self.bytes.get(), taken_us));
        }
    }
}

impl Front {
    /// Counts and tells that the request with this head gets an error. What is refused for want of room is not told one by
    /// one.
    pub(super) fn note(&self, trouble: Trouble, head: &[u8]) {
        self.count(Scoreboard::count_router_error);
        if trouble != Trouble::Full && self.may_log() {
            trouble.log(head);
        }
    }

    /// From now on it counts here.
    pub(super) fn count_on(&self, board: Scoreboard) {
        board.set_forwarding(self.forwarded.get());
        board.set_engaged(self.engaged.get());
        self.told_engaged.set(self.engaged.get());
        self.board.replace(Some(board));
    }

    /// Says how many clients are in the midst of something, where that has changed.
    pub(super) fn tell_engaged(&self) {
        let engaged = self.engaged.get();
        if self.told_engaged.replace(engaged) != engaged {
            self.count(|board| board.set_engaged(engaged));
        }
    }

    /// Counts.
    pub(super) fn count(&self, count: impl FnOnce(&Scoreboard)) {
        if let Some(board) = &*self.board.borrow() {
            count(board);
        }
    }

    /// A server of `http-to` has one request more, or one less.
    pub(super) fn forwarding(&self, more: bool) {
        let now = self.forwarded.get();
        self.forwarded.set(if more { now.saturating_add(1) } else { now.saturating_sub(1) });
        self.count(|board| board.set_forwarding(self.forwarded.get()));
    }
}
