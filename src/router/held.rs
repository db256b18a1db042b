//! Clients that are connected, and those of them who are in the midst of something.

use std::cell::Cell;
use std::rc::Rc;

use super::front::{CLIENT_LIMIT, Front};

/// A client that is connected: engaged until it says otherwise.
#[derive(Debug)]
pub(super) struct Held {
    front: Rc<Front>,
    engaged: Cell<bool>,
}

impl Held {
    pub(super) fn new(front: &Rc<Front>) -> Self {
        front.clients.set(front.clients.get().saturating_add(1));
        let held = Self { front: Rc::clone(front), engaged: Cell::new(false) };
        held.engage(true);
        held
    }

    pub(super) const fn front(&self) -> &Rc<Front> {
        &self.front
    }

    /// It is in the midst of something, or not any more: as long as it is, the instance does not go to sleep.
    pub(super) fn engage(&self, engaged: bool) {
        if self.engaged.replace(engaged) != engaged {
            let now = self.front.engaged.get();
            self.front.engaged.set(if engaged { now.saturating_add(1) } else { now.saturating_sub(1) });
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.engage(false);
        let clients = self.front.clients.get().saturating_sub(1);
        self.front.clients.set(clients);
        if clients == 0 || clients.saturating_add(1) == CLIENT_LIMIT {
            self.front.vacancy.notify_waiters();
        }
    }
}
