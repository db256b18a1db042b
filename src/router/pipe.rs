//! A bounded buffer between a worker and a slow client, so that the worker is free before the client has it all.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::proto::budget::{Budget, Share};

/// How much of one response waits for its client.
pub(super) const PIPE_BYTES: u64 = 1024 * 1024;
/// The same while all responses together hold [`PIPE_BUDGET_BYTES`].
pub(super) const TIGHT_PIPE_BYTES: u64 = 64 * 1024;
/// From how much in all on every response gets the smaller buffer.
pub(super) const PIPE_BUDGET_BYTES: u64 = 128 * 1024 * 1024;

/// What a piece costs besides its bytes.
const PIECE_OVERHEAD_BYTES: u64 = 128;

/// The rest of the response does not come: the answer must look broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the worker broke off its answer")]
pub(super) struct Broken;

/// The worker's end.
#[derive(Debug)]
pub(super) struct Writer(Rc<RefCell<State>>);

/// The client's end.
#[derive(Debug)]
pub(super) struct Reader(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    budget: Budget,
    share: Share,
    pieces: VecDeque<Bytes>,
    bytes: u64,
    end: Option<Result<(), Broken>>,
    reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// A new buffer.
pub(super) fn pipe(budget: &Budget) -> (Writer, Reader) {
    let state = Rc::new(RefCell::new(State {
        budget: budget.clone(),
        share: budget.share(),
        pieces: VecDeque::new(),
        bytes: 0,
        end: None,
        reader_gone: false,
        reader: None,
        writer: None,
    }));
    (Writer(Rc::clone(&state)), Reader(state))
}

impl Writer {
    /// Waits for room; `false`: the client is gone, nothing more is wanted.
    pub(super) async fn room(&self) -> bool {
        std::future::poll_fn(|cx| self.poll_room(cx)).await
    }

    /// The same; `false`: the client is gone, nothing more is wanted.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.0.borrow_mut();
        if state.reader_gone {
            return Poll::Ready(false);
        }
        let limit = if state.budget.is_spent() { TIGHT_PIPE_BYTES } else { PIPE_BYTES };
        if state.bytes < limit {
            return Poll::Ready(true);
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Appends; call it after [`Writer::poll_room`] said that there is room.
    pub(super) fn push(&self, piece: Bytes) {
        let mut state = self.0.borrow_mut();
        if state.reader_gone || piece.is_empty() {
            return;
        }
        let bytes = state.bytes.saturating_add(cost(&piece));
        state.bytes = bytes;
        state.share.force(bytes);
        state.pieces.push_back(piece);
        wake(&mut state.reader);
    }

    /// All of it came.
    pub(super) fn finish(self) {
        self.0.borrow_mut().end = Some(Ok(()));
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut state = self.0.borrow_mut();
        state.end.get_or_insert(Err(Broken));
        wake(&mut state.reader);
    }
}

impl Body for Reader {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let mut state = self.0.borrow_mut();
        if let Some(piece) = state.pieces.pop_front() {
            let bytes = state.bytes.saturating_sub(cost(&piece));
            state.bytes = bytes;
            state.share.force(bytes);
            wake(&mut state.writer);
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match state.end {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(broken)) => Poll::Ready(Some(Err(broken))),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = self.0.borrow();
        state.pieces.is_empty() && state.end == Some(Ok(()))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.0.borrow_mut();
        state.reader_gone = true;
        state.pieces.clear();
        state.share.force(0);
        wake(&mut state.writer);
    }
}

/// What a piece holds in memory: many tiny ones must not pass for little.
fn cost(piece: &Bytes) -> u64 {
    (piece.len() as u64).saturating_add(PIECE_OVERHEAD_BYTES)
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// The body of a response to a client.
#[derive(Debug)]
pub(super) enum ResponseBody {
    /// All of it, or nothing.
    Whole(Bytes),
    /// As it comes.
    Piped(Reader),
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Piped(reader) => Pin::new(reader).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Piped(reader) => reader.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Piped(reader) => reader.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;

    use http_body_util::BodyExt;

    use super::*;

    fn room(writer: &Writer) -> Poll<bool> {
        writer.poll_room(&mut Context::from_waker(Waker::noop()))
    }

    fn next(reader: &mut Reader) -> Option<Option<Result<usize, Broken>>> {
        let frame = pin!(reader.frame()).poll(&mut Context::from_waker(Waker::noop()));
        match frame {
            Poll::Pending => None,
            Poll::Ready(frame) => {
                Some(frame.map(|frame| frame.map(|frame| frame.into_data().unwrap().len())))
            }
        }
    }

    #[test]
    fn a_full_pipe_holds_the_worker_back_until_the_client_reads() {
        let (writer, mut reader) = pipe(&Budget::new(PIPE_BUDGET_BYTES));
        assert_eq!(room(&writer), Poll::Ready(true));
        let piece = usize::try_from(PIPE_BYTES).unwrap();
        writer.push(Bytes::from(vec![0; piece]));
        assert_eq!(room(&writer), Poll::Pending);
        assert_eq!(next(&mut reader), Some(Some(Ok(piece))));
        assert_eq!(room(&writer), Poll::Ready(true));
        assert_eq!(next(&mut reader), None);
        writer.finish();
        assert_eq!(next(&mut reader), Some(None));
    }

    #[test]
    fn buffers_shrink_when_all_together_hold_much() {
        let budget = Budget::new(100_000);
        let (one, _reader) = pipe(&budget);
        let (other, _other_reader) = pipe(&budget);
        one.push(Bytes::from(vec![0; 80_000]));
        other.push(Bytes::from(vec![0; 30_000]));
        assert_eq!((room(&one), room(&other)), (Poll::Pending, Poll::Ready(true)));
    }

    #[test]
    fn a_writer_that_vanishes_leaves_a_broken_answer() {
        let (writer, mut reader) = pipe(&Budget::new(1));
        writer.push(Bytes::from_static(b"half"));
        drop(writer);
        assert_eq!(next(&mut reader), Some(Some(Ok(4))));
        assert_eq!(next(&mut reader), Some(Some(Err(Broken))));
    }

    #[test]
    fn a_client_that_is_gone_wants_nothing() {
        let (writer, reader) = pipe(&Budget::new(1));
        drop(reader);
        writer.push(Bytes::from_static(b"x"));
        assert_eq!(room(&writer), Poll::Ready(false));
    }
}
