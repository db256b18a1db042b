//! What the service that answers a connection's requests knows of the connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::proto::refusal::Refusal;

/// Looks at a guarded connection from the service that answers its requests.
#[derive(Clone, Debug, Default)]
pub struct Watch(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    refusal: OnceLock<Refusal>,
    is_at_rest: AtomicBool,
    is_switched: AtomicBool,
}

impl Watch {
    /// Why the connection's input was cut off, if it was. When the body of a request ends in an error and no
    /// response has begun, answer with this status.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        self.0.refusal.get().copied()
    }

    /// Whether every request that was read is answered, every answer written, and no byte of a next request read: if
    /// so right after hyper was polled, the connection can be taken from it and served by somebody else.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.0.is_at_rest.load(Ordering::Relaxed)
    }

    /// The input was cut off.
    pub(super) fn refuse(&self, refusal: Refusal) {
        let _ = self.0.refusal.set(refusal);
    }

    /// Whether it is at rest now.
    pub(super) fn set_at_rest(&self, is_at_rest: bool) {
        self.0.is_at_rest.store(is_at_rest, Ordering::Relaxed);
    }

    /// The answer is a 101: what the client sends after it is no request, and passes unread. Say so before hyper has
    /// the answer.
    pub fn switch(&self) {
        self.0.is_switched.store(true, Ordering::Relaxed);
    }

    /// Whether the connection is another protocol's now: when hyper is done it can be taken from it.
    #[must_use]
    pub fn is_switched(&self) -> bool {
        self.0.is_switched.load(Ordering::Relaxed)
    }
}
