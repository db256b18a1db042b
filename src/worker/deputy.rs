//! The thread that runs the loop while the application has the only one that does so otherwise, as long as bodies of
//! slow clients are under way.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::spool::Room;
use super::waiter::Waiter;

/// The thread that runs the loop in the application's stead; there is none most of the time.
#[derive(Debug)]
pub(super) struct Deputy {
    room: Arc<Room>,
    waiter: Waiter,
    thread: Option<JoinHandle<()>>,
}

impl Deputy {
    /// None yet.
    pub(super) fn new(room: Arc<Room>, waiter: &Waiter) -> Self {
        Self { room, waiter: waiter.for_deputy(), thread: None }
    }

    /// The application is about to be called: somebody has to see to the clients that are not done.
    pub(super) fn call(&mut self) {
        if !self.room.has_clients() || self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        let (room, waiter) = (Arc::clone(&self.room), self.waiter.clone());
        let started = thread::Builder::new().name("liege-clients".to_owned()).spawn(move || {
            // Several threads may enter the loop: one runs it, and whoever waits takes over when that one leaves.
            waiter.wait(room.emptied());
        });
        match started {
            Ok(thread) => self.thread = Some(thread),
            Err(error) => tracing::warn!("slow clients wait for the application: {error}"),
        }
    }
}

impl Drop for Deputy {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic was reported by its hook.
            let _ = thread.join();
        }
    }
}
