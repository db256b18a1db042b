//! The head of a response on its way from the application to the connection that waits for it.
//!
//! Unlike a channel of the runtime's it leaves the waking to the sender: a task that is woken from outside of the
//! loop costs a system call.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper::Response;

use super::feed::ReplyBody;

/// The application's end. Dropped without an answer, it tells the connection so.
#[derive(Debug)]
pub(super) struct ReplySender(Arc<Mutex<State>>);

/// The connection's end: a future of the response, `None` when there will be none.
#[derive(Debug)]
pub(super) struct ReplyReceiver(Arc<Mutex<State>>);

/// The connection is gone.
#[derive(Debug)]
pub(super) struct Gone;

#[derive(Debug, Default)]
struct State {
    response: Option<Response<ReplyBody>>,
    is_abandoned: bool,
    is_gone: bool,
    waker: Option<Waker>,
}

/// Both ends.
pub(super) fn channel() -> (ReplySender, ReplyReceiver) {
    let state = Arc::default();
    (ReplySender(Arc::clone(&state)), ReplyReceiver(state))
}

impl ReplySender {
    /// Hands the response over; whoever waits for it is to be woken by the caller.
    pub(super) fn send(self, response: Response<ReplyBody>) -> Result<Option<Waker>, Gone> {
        let mut state = lock(&self.0);
        if state.is_gone {
            return Err(Gone);
        }
        state.response = Some(response);
        Ok(state.waker.take())
    }
}

impl Drop for ReplySender {
    fn drop(&mut self) {
        let waker = {
            let mut state = lock(&self.0);
            state.is_abandoned = true;
            state.waker.take().filter(|_| state.response.is_none())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Future for ReplyReceiver {
    type Output = Option<Response<ReplyBody>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = lock(&self.0);
        match state.response.take() {
            Some(response) => Poll::Ready(Some(response)),
            None if state.is_abandoned => Poll::Ready(None),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for ReplyReceiver {
    fn drop(&mut self) {
        lock(&self.0).is_gone = true;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_arrives_or_its_absence_does() {
        let mut cx = Context::from_waker(Waker::noop());
        let (sender, mut receiver) = channel();
        assert!(Pin::new(&mut receiver).poll(&mut cx).is_pending());
        assert!(sender.send(Response::new(ReplyBody::Whole(None))).unwrap().is_some());
        assert!(matches!(Pin::new(&mut receiver).poll(&mut cx), Poll::Ready(Some(_))));
        let (sender, mut receiver) = channel();
        drop(sender);
        assert!(matches!(Pin::new(&mut receiver).poll(&mut cx), Poll::Ready(None)));
        let (sender, receiver) = channel();
        drop(receiver);
        assert!(sender.send(Response::new(ReplyBody::Whole(None))).is_err());
    }
}
