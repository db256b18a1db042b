//! A response body on its way from the application to hyper: one piece at a time, so that neither runs ahead.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// The application's end of a body.
#[derive(Debug)]
pub(super) struct Feed(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    piece: Option<Bytes>,
    /// Nothing follows; whether the body is complete.
    end: Option<bool>,
    /// hyper has taken all pieces and asked for more, so the last one was written as far as there was room.
    is_hungry: bool,
    /// hyper dropped its end: the client is gone.
    is_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// A response body.
#[derive(Debug)]
pub(super) enum ReplyBody {
    /// All of it.
    Whole(Option<Bytes>),
    /// As the application makes it.
    Fed(Taker),
}

/// hyper's end of a body.
#[derive(Debug)]
pub(super) struct Taker(Arc<Mutex<State>>);

/// The application failed in the middle of a body: the connection must break.
#[derive(Debug, thiserror::Error)]
#[error("the application did not complete its response")]
pub(super) struct Incomplete;

impl Feed {
    /// Both ends.
    pub(super) fn new() -> (Self, Taker) {
        let state = Arc::default();
        (Self(Arc::clone(&state)), Taker(state))
    }

    /// Hands over a piece and waits until hyper asks for the next one.
    ///
    /// # Errors
    /// The client is gone.
    pub(super) async fn push(&self, piece: Bytes) -> io::Result<()> {
        let reader = {
            let mut state = lock(&self.0);
            state.piece = Some(piece);
            state.is_hungry = false;
            state.reader.take()
        };
        wake(reader);
        poll_fn(|cx| {
            let mut state = lock(&self.0);
            if state.is_gone {
                Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
            } else if state.is_hungry {
                Poll::Ready(Ok(()))
            } else {
                state.writer = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// Says that nothing follows; whoever waits for it is to be woken by the caller. An incomplete body breaks the
    /// connection.
    pub(super) fn end(&self, is_complete: bool) -> Option<Waker> {
        let mut state = lock(&self.0);
        state.end.get_or_insert(is_complete);
        state.reader.take()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        wake(self.end(false));
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        let writer = {
            let mut state = lock(&self.0);
            state.is_gone = true;
            state.writer.take()
        };
        wake(writer);
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Incomplete;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Incomplete>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Fed(Taker(state)) => {
                let (next, writer) = {
                    let mut state = lock(state);
                    if let Some(piece) = state.piece.take() {
                        return Poll::Ready(Some(Ok(Frame::data(piece))));
                    }
                    let next = match state.end {
                        Some(true) => Poll::Ready(None),
                        Some(false) => Poll::Ready(Some(Err(Incomplete))),
                        None => {
                            state.reader = Some(cx.waker().clone());
                            Poll::Pending
                        }
                    };
                    state.is_hungry = true;
                    (next, state.writer.take())
                };
                wake(writer);
                next
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Self::Fed(_) => SizeHint::default(),
        }
    }
}

/// Wakers run other code: never under the lock.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn poll(body: &mut ReplyBody) -> Poll<Option<Result<Bytes, ()>>> {
        let frame = Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()));
        frame.map(|next| next.map(|result| result.map(|f| f.into_data().unwrap()).map_err(drop)))
    }

    #[test]
    fn the_next_piece_is_asked_for_only_after_the_last_was_taken() {
        let (feed, taker) = Feed::new();
        let mut body = ReplyBody::Fed(taker);
        let mut push = std::pin::pin!(feed.push(Bytes::from_static(b"a")));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(push.as_mut().poll(&mut cx).is_pending());
        assert_eq!(poll(&mut body), Poll::Ready(Some(Ok(Bytes::from_static(b"a")))));
        assert!(push.as_mut().poll(&mut cx).is_pending());
        assert_eq!(poll(&mut body), Poll::Pending);
        assert!(matches!(push.as_mut().poll(&mut cx), Poll::Ready(Ok(()))));
    }

    #[test]
    fn a_body_ends_as_it_was_ended() {
        for (is_complete, end) in [(Some(true), None), (Some(false), Some(Err(()))), (None, Some(Err(())))] {
            let (feed, taker) = Feed::new();
            let mut body = ReplyBody::Fed(taker);
            if let Some(is_complete) = is_complete {
                assert!(feed.end(is_complete).is_none());
            }
            drop(feed);
            assert_eq!(poll(&mut body), Poll::Ready(end));
        }
    }

    #[test]
    fn a_client_that_is_gone_ends_the_application_s_wait() {
        let (feed, taker) = Feed::new();
        drop(taker);
        let mut push = std::pin::pin!(feed.push(Bytes::from_static(b"a")));
        let polled = push.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe));
    }
}
