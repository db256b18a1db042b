//! A time limit on waiting that costs next to nothing while nobody has to wait for long.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Starts with the first wait after [`Deadline::clear`]. The timer behind it is moved only when it has to ring
/// earlier, or rang too early: a busy connection sets one every few seconds instead of one for each request.
#[derive(Debug, Default)]
pub(super) struct Deadline {
    at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Progress was made: the next wait starts anew.
    pub(super) fn clear(&mut self) {
        self.at = None;
    }

    /// Ready when `limit` has passed since the first poll. Needs a runtime with its timer on.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<()> {
        let at = *self.at.get_or_insert_with(|| Instant::now() + limit);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if at < timer.deadline() {
            timer.as_mut().reset(at);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= at {
                self.at = None;
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
    }
}
