//! Connections that a worker holds: as long as there is one, it does not end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Server;
use crate::stats::scoreboard::Field;

/// A connection that the worker holds; it ends only when all are gone.
#[derive(Debug)]
pub(in crate::worker) struct Held(Arc<Server>);

impl Held {
    /// One more connection.
    pub(in crate::worker) fn new(server: &Arc<Server>) -> Self {
        let held = server.held.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        publish(server, held);
        Self(Arc::clone(server))
    }

    /// The server that holds it.
    pub(in crate::worker) const fn server(&self) -> &Arc<Server> {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let held = self.0.held.fetch_sub(1, Ordering::Relaxed).saturating_sub(1);
        publish(&self.0, held);
        self.0.close_if_empty();
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
