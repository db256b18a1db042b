//! One request and its response, as the objects that the application holds reach them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;

use super::input::Body;
use super::output::{ItemError, Medium, Output};

/// One request and its response. Both are gone when the request is over, so that what the application keeps of it
/// reaches nothing of another.
#[derive(Debug)]
pub(super) struct Exchange {
    /// What the response goes to.
    pub(super) medium: Medium,
    input: Mutex<Option<Body>>,
    output: Mutex<Option<Output>>,
}

impl Exchange {
    /// A request that begins.
    pub(super) fn new(body: Body, output: Output) -> Self {
        Self { medium: output.medium(), input: Mutex::new(Some(body)), output: Mutex::new(Some(output)) }
    }

    /// Works on the request's body, detached; `None` when the request is over.
    pub(super) fn with_input<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Body) -> T + Send,
    ) -> Option<T> {
        // Never locked while attached: who holds the lock may wait for the network, and then for the interpreter.
        py.detach(|| lock(&self.input).as_mut().map(work))
    }

    /// Sends something, detached; `None` when the request is over.
    pub(super) fn with_output<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Output) -> T + Send,
    ) -> Option<T> {
        py.detach(|| lock(&self.output).as_mut().map(work))
    }

    /// Does something short that neither waits nor touches the interpreter; `None` when the request is over.
    pub(super) fn look<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Output) -> T + Send,
    ) -> Option<T> {
        match self.output.try_lock() {
            Ok(mut output) => output.as_mut().map(work),
            Err(_) => self.with_output(py, work),
        }
    }

    /// Ends the response.
    pub(super) fn end(&self, py: Python<'_>) -> Result<(), ItemError> {
        self.at_once_or_detached(py, 0, Output::end)
    }

    /// Sends the only item of a response.
    pub(super) fn only(&self, py: Python<'_>, bytes: &[u8]) -> Result<(), ItemError> {
        self.at_once_or_detached(py, bytes.len(), |output| output.item(bytes, true))
    }

    /// Keeps the interpreter where sending so much neither waits nor blocks.
    fn at_once_or_detached(
        &self,
        py: Python<'_>,
        length: usize,
        send: impl FnOnce(&mut Output) -> Result<(), ItemError> + Send,
    ) -> Result<(), ItemError> {
        let may_wait = self.look(py, |output| output.may_wait(length)).unwrap_or_default();
        let sent = if may_wait { self.with_output(py, send) } else { self.look(py, send) };
        sent.unwrap_or(Ok(()))
    }

    /// The request is over.
    pub(super) fn close(&self, py: Python<'_>) -> Option<Output> {
        match (self.input.try_lock(), self.output.try_lock()) {
            (Ok(mut input), Ok(mut output)) => {
                drop(input.take());
                output.take()
            }
            _ => py.detach(|| {
                drop(lock(&self.input).take());
                lock(&self.output).take()
            }),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
