//! Connections that a worker holds: as long as there is one, it does not end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Server;
use crate::stats::scoreboard::Field;

/// A connection that the worker holds; it ends only when all are gone.
#[derive(Debug)]
pub(in crate::worker) struct Held {
    server: Arc<Server>,
    engaged: AtomicBool,
}

impl Held {
    /// One more connection.
    pub(in crate::worker) fn new(server: &Arc<Server>) -> Self {
        let held = server.held.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        publish(server, held);
        Self { server: Arc::clone(server), engaged: AtomicBool::new(false) }
    }

    /// The server that holds it.
    pub(in crate::worker) const fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Its client is in the midst of something, or not any more: as long as it is, the instance does not go to sleep.
    pub(in crate::worker) fn engage(&self, engaged: bool) {
        if self.engaged.load(Ordering::Relaxed) == engaged {
            return;
        }
        self.engaged.store(engaged, Ordering::Relaxed);
        if let Some(slot) = self.server.host.slot() {
            slot.engage(engaged);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.engage(false);
        let held = self.server.held.fetch_sub(1, Ordering::Relaxed).saturating_sub(1);
        publish(&self.server, held);
        self.server.close_if_empty();
    }
}

/// A new connection whose first request has not come yet.
#[derive(Debug)]
pub(in crate::worker) struct Fresh(Arc<Server>);

impl Fresh {
    /// One more.
    pub(in crate::worker) fn new(server: &Arc<Server>) -> Self {
        server.fresh.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(server))
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        self.0.fresh.fetch_sub(1, Ordering::Relaxed);
    }
}

fn publish(server: &Server, held: usize) {
    if let Some(slot) = server.host.slot() {
        slot.set(Field::Connections, u64::try_from(held).unwrap_or(u64::MAX));
    }
}
