//! A response body on its way from the application to hyper. A client that keeps up gets it piece by piece as it is made;
//! what waits for one that does not, is held for it, so that the application is free.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::task::{JoinHandle, spawn_blocking};

use super::spool::{Client, PIECE_BYTES, Part, Room, Spool};
use crate::proto::budget::Share;

/// How much of a response waits in memory, when the application makes it in pieces; what is more waits in a file.
const MEMORY_BYTES: u64 = 1024 * 1024;
/// How far an application that makes its response in pieces may be ahead of its client.
const LEAD_BYTES: u64 = 32 * 1024 * 1024;

/// The application's end of a body.
#[derive(Debug)]
pub(super) struct Feed(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    room: Arc<Room>,
    pieces: VecDeque<Piece>,
    /// How much waits in memory …
    memory: Share,
    /// … and in all.
    waiting: u64,
    spool: Option<Spool>,
    /// Nothing follows; whether the body is complete.
    end: Option<bool>,
    /// hyper has taken all pieces and asked for more, so the last one was written as far as there was room.
    is_hungry: bool,
    /// The client does not keep up.
    is_slow: bool,
    /// hyper dropped its end: the client is gone.
    is_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug)]
enum Piece {
    /// What is left of so many bytes, which are all held until the last are taken.
    Memory(Bytes, u64),
    File(Part),
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
pub(super) struct Taker {
    state: Arc<Mutex<State>>,
    /// A piece on its way from a file.
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    _client: Client,
}

/// The application failed in the middle of a body, or what waited for its client is lost: the connection must break.
#[derive(Debug, thiserror::Error)]
#[error("the response is not complete")]
pub(super) struct Incomplete;

impl Feed {
    /// Both ends.
    pub(super) fn new(room: &Arc<Room>) -> (Self, Taker) {
        let state = Arc::new(Mutex::new(State {
            room: Arc::clone(room),
            pieces: VecDeque::new(),
            memory: room.memory.share(),
            waiting: 0,
            spool: None,
            end: None,
            is_hungry: false,
            is_slow: false,
            is_gone: false,
            reader: None,
            writer: None,
        }));
        (Self(Arc::clone(&state)), Taker { state, reading: None, _client: room.enter() })
    }

    /// Hands over a piece: in memory, in a file when much waits there already, or not at all.
    pub(super) fn push(&self, bytes: &[u8]) -> bool {
        self.put(|state| state.hold(bytes, MEMORY_BYTES))
    }

    /// The same for a whole response: in memory, if there is room.
    pub(super) fn push_whole(&self, bytes: &[u8]) -> bool {
        self.put(|state| state.hold(bytes, u64::MAX))
    }

    /// The same, in memory, whatever waits there already.
    pub(super) fn force(&self, bytes: &[u8]) {
        self.put(|state| {
            state.memory.force(state.memory.amount().saturating_add(as_u64(bytes.len())));
            Some(Piece::memory(bytes))
        });
    }

    /// Hands over a part of a file.
    pub(super) fn push_file(&self, part: Part) {
        self.put(|_| Some(Piece::File(part)));
    }

    fn put(&self, make: impl FnOnce(&mut State) -> Option<Piece>) -> bool {
        let reader = {
            let mut state = lock(&self.0);
            if state.is_gone {
                return true;
            }
            let Some(piece) = make(&mut state) else { return false };
            state.waiting = state.waiting.saturating_add(piece.length());
            state.pieces.push_back(piece);
            state.is_slow &= !state.is_hungry;
            state.is_hungry = false;
            state.reader.take()
        };
        wake(reader);
        true
    }

    /// Waits until hyper has taken everything and asks for more.
    ///
    /// # Errors
    /// The client is gone.
    pub(super) async fn taken(&self) -> io::Result<()> {
        self.wait(|state| state.is_hungry).await
    }

    /// Waits until the application may go on.
    ///
    /// # Errors
    /// The client is gone.
    pub(super) async fn room(&self) -> io::Result<()> {
        self.wait(|state| state.waiting < LEAD_BYTES).await
    }

    async fn wait(&self, is_so: impl Fn(&State) -> bool) -> io::Result<()> {
        poll_fn(|cx| {
            let mut state = lock(&self.0);
            if state.is_gone {
                Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
            } else if is_so(&state) {
                Poll::Ready(Ok(()))
            } else {
                state.writer = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// Whether the client was found to be slow, and has not caught up since.
    pub(super) fn is_slow(&self) -> bool {
        lock(&self.0).is_slow
    }

    /// The client does not keep up.
    pub(super) fn set_slow(&self) {
        lock(&self.0).is_slow = true;
    }

    /// Says that nothing follows; whoever waits for it is to be woken by the caller. An incomplete body breaks the
    /// connection.
    pub(super) fn end(&self, is_complete: bool) -> Option<Waker> {
        let mut state = lock(&self.0);
        state.end.get_or_insert(is_complete);
        state.reader.take()
    }
}

impl State {
    fn hold(&mut self, bytes: &[u8], most: u64) -> Option<Piece> {
        let memory = self.memory.amount().saturating_add(as_u64(bytes.len()));
        if memory <= most && self.memory.resize(memory) {
            return Some(Piece::memory(bytes));
        }
        if self.spool.is_none() {
            self.spool = warned(Spool::new(&self.room));
        }
        self.spool.as_mut().and_then(|spool| warned(spool.append(bytes))).map(Piece::File)
    }
}

/// What is there, or a line in the log.
fn warned<T>(result: io::Result<T>) -> Option<T> {
    result.inspect_err(|error| tracing::warn!("a response waits for its client: {error}")).ok()
}

impl Piece {
    fn memory(bytes: &[u8]) -> Self {
        Self::Memory(Bytes::copy_from_slice(bytes), as_u64(bytes.len()))
    }

    fn length(&self) -> u64 {
        match self {
            Self::Memory(bytes, _) => as_u64(bytes.len()),
            Self::File(part) => part.left(),
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        wake(self.end(false));
    }
}

impl Taker {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Incomplete>>> {
        loop {
            if let Some(reading) = &mut self.reading {
                let read = ready!(Pin::new(reading).poll(cx));
                self.reading = None;
                return Poll::Ready(Some(read.ok().and_then(warned).ok_or(Incomplete)));
            }
            let (next, writer) = {
                let mut state = lock(&self.state);
                let next = match state.pieces.pop_front() {
                    Some(Piece::Memory(mut bytes, length)) => {
                        let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
                        state.waiting = state.waiting.saturating_sub(as_u64(piece.len()));
                        if bytes.is_empty() {
                            let left = state.memory.amount().saturating_sub(length);
                            state.memory.force(left);
                        } else {
                            state.pieces.push_front(Piece::Memory(bytes, length));
                        }
                        Poll::Ready(Some(Ok(piece)))
                    }
                    Some(Piece::File(mut part)) => {
                        let piece = part.split();
                        state.waiting = state.waiting.saturating_sub(piece.left());
                        if part.left() > 0 {
                            state.pieces.push_front(Piece::File(part));
                        }
                        // A disk can make anybody wait.
                        self.reading = Some(spawn_blocking(move || piece.read()));
                        continue;
                    }
                    None => {
                        state.is_hungry = true;
                        match state.end {
                            Some(true) => Poll::Ready(None),
                            Some(false) => Poll::Ready(Some(Err(Incomplete))),
                            None => {
                                state.reader = Some(cx.waker().clone());
                                Poll::Pending
                            }
                        }
                    }
                };
                (next, state.writer.take())
            };
            wake(writer);
            return next;
        }
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        let writer = {
            let mut state = lock(&self.state);
            state.is_gone = true;
            state.pieces.clear();
            state.spool = None;
            state.memory.force(0);
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
            Self::Fed(taker) => taker.poll_next(cx).map_ok(Frame::data),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(as_u64(bytes.as_ref().map_or(0, Bytes::len))),
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

fn as_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(memory: u64, files: u64) -> Arc<Room> {
        Arc::new(Room::new(memory, files))
    }

    fn poll(body: &mut ReplyBody) -> Poll<Option<Result<Bytes, ()>>> {
        let frame = Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()));
        frame.map(|next| next.map(|result| result.map(|f| f.into_data().unwrap()).map_err(drop)))
    }

    #[test]
    fn what_was_taken_is_asked_about() {
        let (feed, taker) = Feed::new(&room(100, 0));
        let mut body = ReplyBody::Fed(taker);
        assert!(feed.push(b"a"));
        let mut taken = std::pin::pin!(feed.taken());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(taken.as_mut().poll(&mut cx).is_pending());
        assert_eq!(poll(&mut body), Poll::Ready(Some(Ok(Bytes::from_static(b"a")))));
        assert!(taken.as_mut().poll(&mut cx).is_pending());
        assert_eq!(poll(&mut body), Poll::Pending);
        assert!(matches!(taken.as_mut().poll(&mut cx), Poll::Ready(Ok(()))));
    }

    #[tokio::test]
    async fn what_does_not_fit_into_memory_waits_in_a_file_in_its_order() {
        let room = room(PIECE_BYTES as u64, 1_000_000);
        let (feed, taker) = Feed::new(&room);
        let mut body = ReplyBody::Fed(taker);
        let pieces: Vec<Vec<u8>> = [(1, 200_000), (2, 300_000), (3, 10)].map(|(n, l)| vec![n; l]).to_vec();
        for piece in &pieces {
            assert!(feed.push(piece));
        }
        // Neither the memory nor the files have room for this.
        assert!(!feed.push(&[4; 800_000]) && !feed.push_whole(&[4; 800_000]));
        assert!(feed.end(true).is_none());
        let mut read = Vec::new();
        while let Some(data) = http_body_util::BodyExt::frame(&mut body).await {
            let data = data.unwrap().into_data().unwrap();
            assert!(data.len() <= PIECE_BYTES);
            read.extend_from_slice(&data);
        }
        assert!(read == pieces.concat());
        drop((feed, body));
        assert!(room.memory.share().resize(PIECE_BYTES as u64) && room.files.share().resize(1_000_000));
    }

    #[test]
    fn a_lead_has_its_limit_and_who_catches_up_is_slow_no_longer() {
        let (feed, taker) = Feed::new(&room(LEAD_BYTES, 0));
        let mut body = ReplyBody::Fed(taker);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(feed.push_whole(&vec![0; usize::try_from(LEAD_BYTES).unwrap()]));
        feed.set_slow();
        assert!(std::pin::pin!(feed.room()).poll(&mut cx).is_pending());
        assert!(poll(&mut body).is_ready());
        assert!(std::pin::pin!(feed.room()).poll(&mut cx).is_ready());
        while poll(&mut body).is_ready() {}
        assert!(feed.is_slow() && feed.push(b"a") && !feed.is_slow());
    }

    #[test]
    fn a_body_ends_as_it_was_ended() {
        for (is_complete, end) in [(Some(true), None), (Some(false), Some(Err(()))), (None, Some(Err(())))] {
            let (feed, taker) = Feed::new(&room(0, 0));
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
        let (feed, taker) = Feed::new(&room(100, 0));
        assert!(feed.push(b"a"));
        drop(taker);
        let taken = std::pin::pin!(feed.taken()).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(taken, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe));
    }
}
