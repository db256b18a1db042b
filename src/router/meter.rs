//! What is counted of a request that a server of `http-to` has.

use std::cell::Cell;
use std::rc::Rc;

use super::front::Front;
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
