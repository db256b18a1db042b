//! One request and its response, as the objects that the application holds reach them.

use pyo3::prelude::*;

use super::input::Body;
use super::output::{ItemError, Medium, Output};
use super::place::Place;
use super::waiter::Waiter;

/// One request and its response. Both are gone when the request is over, so that what the application keeps of it
/// reaches nothing of another.
#[derive(Debug)]
pub(super) struct Exchange {
    /// What the response goes to.
    pub(super) medium: Medium,
    waiter: Waiter,
    input: Place<Body>,
    output: Place<Output>,
}

impl Exchange {
    /// A request that begins.
    pub(super) fn new(body: Body, output: Output, waiter: Waiter) -> Self {
        Self { medium: output.medium(), waiter, input: Place::new(body), output: Place::new(output) }
    }

    /// Works on the request's body; `None` when the request is over.
    ///
    /// # Errors
    /// What was thrown into the greenlet while it waited.
    pub(super) fn with_input<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Body) -> T + Send,
    ) -> PyResult<Option<T>> {
        self.with(py, &self.input, work)
    }

    /// Sends something; `None` when the request is over.
    ///
    /// # Errors
    /// What was thrown into the greenlet while it waited.
    pub(super) fn with_output<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Output) -> T + Send,
    ) -> PyResult<Option<T>> {
        self.with(py, &self.output, work)
    }

    fn with<T: Send, X: Send>(
        &self,
        py: Python<'_>,
        place: &Place<X>,
        work: impl FnOnce(&mut X) -> T + Send,
    ) -> PyResult<Option<T>> {
        if !self.waiter.is_greenlet() {
            // Never locked while attached: who holds the lock may wait for the network, and then for the interpreter.
            return Ok(py.detach(|| place.with(work)));
        }
        // A lock would be held while other greenlets of this thread run.
        let done = self.waiter.wait(place.borrow()).and_then(|mut lent| lent.get().map(work));
        self.waiter.thrown().map(|()| done)
    }

    /// Does something short that neither waits nor touches the interpreter; `None` when the request is over.
    ///
    /// # Errors
    /// What was thrown into the greenlet while it waited for another that has the output.
    pub(super) fn look<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Output) -> T + Send,
    ) -> PyResult<Option<T>> {
        if self.waiter.is_greenlet() {
            return self.with_output(py, work);
        }
        let mut work = Some(work);
        let done = self.output.try_with(|output| output.zip(work.take()).map(|(output, work)| work(output)));
        match (done, work) {
            (Some(done), _) => Ok(done),
            (None, Some(work)) => self.with_output(py, work),
            (None, None) => Ok(None),
        }
    }

    /// Ends the response.
    pub(super) fn end(&self, py: Python<'_>) -> PyResult<Result<(), ItemError>> {
        self.at_once_or_detached(py, 0, Output::end)
    }

    /// Sends the only item of a response.
    pub(super) fn only(&self, py: Python<'_>, bytes: &[u8]) -> PyResult<Result<(), ItemError>> {
        self.at_once_or_detached(py, bytes.len(), |output| output.item(bytes, true))
    }

    /// Keeps the interpreter where sending so much neither waits nor blocks.
    fn at_once_or_detached(
        &self,
        py: Python<'_>,
        length: usize,
        send: impl FnOnce(&mut Output) -> Result<(), ItemError> + Send,
    ) -> PyResult<Result<(), ItemError>> {
        let may_wait = self.look(py, |output| output.may_wait(length))?.unwrap_or_default();
        let sent = if may_wait { self.with_output(py, send) } else { self.look(py, send) };
        Ok(sent?.unwrap_or(Ok(())))
    }

    /// The request is over.
    pub(super) fn close(&self, py: Python<'_>) -> Option<Output> {
        if self.waiter.is_greenlet() {
            drop(self.input.take());
            return self.waiter.wait(self.output.borrow())?.keep();
        }
        let Some(input) = self.input.try_take() else {
            return py.detach(|| {
                drop(self.input.take());
                self.output.take()
            });
        };
        drop(input);
        self.output.try_take().unwrap_or_else(|| py.detach(|| self.output.take()))
    }
}
