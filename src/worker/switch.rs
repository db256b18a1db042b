//! A connection on its way from HTTP to another protocol: from the task that served it to the application's thread.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// A connection that was taken over.
#[derive(Debug)]
pub(super) struct Taken {
    /// The connection, or what leads to it.
    pub(super) fd: OwnedFd,
    /// What was read of it already.
    pub(super) unread: Vec<u8>,
}

/// What an answer carries for whoever serves the connection: where to give it when the answer is out.
#[derive(Clone, Debug)]
pub(super) struct Switch(Arc<Mutex<Option<oneshot::Sender<Taken>>>>);

impl Switch {
    /// Both ends.
    pub(super) fn new() -> (Self, oneshot::Receiver<Taken>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Arc::new(Mutex::new(Some(sender)))), receiver)
    }

    /// Gives the connection away.
    pub(super) fn give(&self, taken: Taken) {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sender) = sender {
            // Who does not want it any more closes it so.
            let _ = sender.send(taken);
        }
    }
}
