//! A bounded buffer between a worker and a slow client, in memory and then in a temporary file, so that the worker is
//! free before the client has it all.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::future::{Future, poll_fn};
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::task::{JoinHandle, spawn_blocking};

use super::gzip::Gzip;
use super::meter::Meter;
use super::socket::Socket;
use crate::proto::budget::{Budget, Share};

/// How much of one response waits for its client in memory.
pub(super) const PIPE_BYTES: u64 = 1024 * 1024;
/// The same while all responses together hold [`PIPE_BUDGET_BYTES`].
pub(super) const TIGHT_PIPE_BYTES: u64 = 64 * 1024;
/// From how much in all on every response gets the smaller buffer.
pub(super) const PIPE_BUDGET_BYTES: u64 = 128 * 1024 * 1024;

/// How much of one response goes to a temporary file beyond that, as nginx's `proxy_max_temp_file_size`; then its worker
/// waits for the client.
const FILE_LIMIT_BYTES: u64 = 1024 * 1024 * 1024;
/// The same of all responses together.
const FILE_BUDGET_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// How much is read from a temporary file at once.
const PIECE_BYTES: usize = 256 * 1024;

/// What a piece costs besides its bytes.
const PIECE_OVERHEAD_BYTES: u64 = 128;

/// The rest of the response does not come: the answer must look broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the worker broke off its answer")]
pub(super) struct Broken;

/// What all answers that wait for their clients share.
#[derive(Debug)]
pub(super) struct Buffers {
    memory: Budget,
    files: Budget,
    file_limit: u64,
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new(PIPE_BUDGET_BYTES, FILE_BUDGET_BYTES, FILE_LIMIT_BYTES)
    }
}

impl Buffers {
    fn new(memory: u64, files: u64, file_limit: u64) -> Self {
        Self { memory: Budget::new(memory), files: Budget::new(files), file_limit }
    }
}

/// The worker's end.
#[derive(Debug)]
pub(super) struct Writer(Rc<RefCell<State>>);

/// The client's end.
#[derive(Debug)]
pub(super) struct Reader(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    memory: Budget,
    share: Share,
    files: Share,
    file_limit: u64,
    pieces: VecDeque<Bytes>,
    bytes: u64,
    /// What came after the pieces.
    overflow: Option<Overflow>,
    end: Option<Result<(), Broken>>,
    /// What came before the break is on its way.
    is_flushed: bool,
    reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// The part of an answer that is in a temporary file without a name. Threads of the blocking pool write and read it,
/// because a disk can make anybody wait, one piece at a time.
#[derive(Debug)]
struct Overflow {
    file: Arc<File>,
    written: u64,
    read: u64,
    is_writing: bool,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

/// A new buffer.
pub(super) fn pipe(buffers: &Buffers) -> (Writer, Reader) {
    let state = Rc::new(RefCell::new(State {
        memory: buffers.memory.clone(),
        share: buffers.memory.share(),
        files: buffers.files.share(),
        file_limit: buffers.file_limit,
        pieces: VecDeque::new(),
        bytes: 0,
        overflow: None,
        end: None,
        is_flushed: false,
        reader_gone: false,
        reader: None,
        writer: None,
    }));
    (Writer(Rc::clone(&state)), Reader(state))
}

impl Writer {
    /// Appends a piece, in memory or in the file, and waits where neither has room; `false`: the client is gone,
    /// nothing more is wanted.
    pub(super) async fn write(&self, piece: Bytes) -> bool {
        if !self.has_room() {
            match self.overflow(piece.clone()).await {
                Ok(true) => return true,
                Ok(false) => {}
                Err(error) => tracing::warn!("temporary file for an answer: {error}"),
            }
        }
        if !poll_fn(|cx| self.poll_room(cx)).await {
            return false;
        }
        self.push(piece);
        true
    }

    /// All of it came.
    pub(super) fn finish(self) {
        self.0.borrow_mut().end = Some(Ok(()));
    }

    fn has_room(&self) -> bool {
        let state = self.0.borrow();
        state.reader_gone || (state.overflow.is_none() && state.bytes < state.limit())
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let has_room = self.has_room();
        let mut state = self.0.borrow_mut();
        if state.reader_gone {
            return Poll::Ready(false);
        }
        if has_room {
            return Poll::Ready(true);
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn push(&self, piece: Bytes) {
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

    /// Appends a piece to the file; `false` if there is no room for it.
    async fn overflow(&self, piece: Bytes) -> io::Result<bool> {
        let length = piece.len() as u64;
        if !self.0.borrow_mut().reserve(length) {
            return Ok(false);
        }
        if self.0.borrow().overflow.is_none() {
            let file = spawn_blocking(tempfile::tempfile).await.map_err(io::Error::other)??;
            self.0.borrow_mut().overflow = Some(Overflow {
                file: Arc::new(file),
                written: 0,
                read: 0,
                is_writing: false,
                reading: None,
            });
        }
        let (file, at) = {
            let mut state = self.0.borrow_mut();
            let Some(overflow) = &mut state.overflow else { return Ok(false) };
            overflow.is_writing = true;
            (Arc::clone(&overflow.file), overflow.written)
        };
        let written =
            spawn_blocking(move || file.write_all_at(&piece, at)).await.map_err(io::Error::other)?;
        let mut state = self.0.borrow_mut();
        if let Some(overflow) = &mut state.overflow {
            overflow.is_writing = false;
            if written.is_ok() {
                overflow.written = at.saturating_add(length);
            }
        }
        wake(&mut state.reader);
        written.map(|()| true)
    }
}

impl State {
    fn limit(&self) -> u64 {
        if self.memory.is_spent() { TIGHT_PIPE_BYTES } else { PIPE_BYTES }
    }

    /// Takes so much more of what files may hold.
    fn reserve(&mut self, length: u64) -> bool {
        let total = self.overflow.as_ref().map_or(0, |overflow| overflow.written).saturating_add(length);
        total <= self.file_limit && self.files.resize(total)
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
        let state = &mut *self.0.borrow_mut();
        if let Some(piece) = state.pieces.pop_front() {
            let bytes = state.bytes.saturating_sub(cost(&piece));
            state.bytes = bytes;
            state.share.force(bytes);
            wake(&mut state.writer);
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if let Some(overflow) = &mut state.overflow {
            if overflow.read < overflow.written {
                let piece = ready!(overflow.poll_read(cx));
                return Poll::Ready(Some(piece.map(Frame::data)));
            }
            if !overflow.is_writing {
                state.overflow = None;
                state.files.force(0);
                wake(&mut state.writer);
            }
        }
        match state.end {
            Some(Ok(())) if state.overflow.is_none() => Poll::Ready(None),
            Some(Err(broken)) if state.is_flushed => Poll::Ready(Some(Err(broken))),
            // hyper throws away what it has not sent when a body breaks, and sends it when it has to wait.
            Some(Err(_)) => {
                state.is_flushed = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            _ => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = self.0.borrow();
        state.pieces.is_empty() && state.overflow.is_none() && state.end == Some(Ok(()))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Overflow {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Broken>> {
        let (at, left) = (self.read, self.written.saturating_sub(self.read));
        let file = &self.file;
        let reading = self.reading.get_or_insert_with(|| {
            let file = Arc::clone(file);
            spawn_blocking(move || {
                let mut piece = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES)];
                file.read_exact_at(&mut piece, at)?;
                Ok(Bytes::from(piece))
            })
        });
        let piece = ready!(Pin::new(reading).poll(cx)).map_err(io::Error::other).and_then(|piece| piece);
        self.reading = None;
        let piece = piece.map_err(|error| {
            tracing::warn!("temporary file for an answer: {error}");
            Broken
        });
        if let Ok(piece) = &piece {
            self.read = self.read.saturating_add(piece.len() as u64);
        }
        Poll::Ready(piece)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.0.borrow_mut();
        state.reader_gone = true;
        state.pieces.clear();
        state.overflow = None;
        state.share.force(0);
        state.files.force(0);
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
    /// As it comes, compressed.
    Gzipped(Box<Gzip>),
    /// Nothing: another protocol follows, whose bytes go to and come from here.
    Switched(Line),
}

/// The way of another protocol.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) socket: Socket,
    /// What is counted of it, if it leads to a server of `http-to`.
    pub(super) meter: Option<Rc<Meter>>,
}

impl ResponseBody {
    /// Where the bytes of the protocol go to and come from that follows.
    pub(super) fn take_line(&mut self) -> Option<Line> {
        match std::mem::replace(self, Self::Whole(Bytes::new())) {
            Self::Switched(line) => Some(line),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Piped(reader) => Pin::new(reader).poll_frame(cx),
            Self::Gzipped(gzip) => gzip.poll(cx),
            Self::Switched(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Piped(reader) => reader.is_end_stream(),
            Self::Gzipped(gzip) => gzip.is_end(),
            Self::Switched(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Piped(reader) => reader.size_hint(),
            Self::Gzipped(_) => SizeHint::default(),
            Self::Switched(_) => SizeHint::with_exact(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::task::yield_now;

    use super::*;

    /// What a client reads until it has to wait, in bytes, and how it ended.
    async fn read(reader: &mut Reader) -> (Vec<u8>, Option<Result<(), Broken>>) {
        let mut all = Vec::new();
        loop {
            match reader.frame().await {
                Some(Ok(frame)) => all.extend_from_slice(&frame.into_data().unwrap()),
                Some(Err(broken)) => return (all, Some(Err(broken))),
                None => return (all, Some(Ok(()))),
            }
        }
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test);
    }

    fn pieces() -> impl Iterator<Item = Bytes> {
        (0..40_u8).map(|n| Bytes::from(vec![n; 100_000]))
    }

    #[test]
    fn what_a_client_does_not_read_goes_to_a_file_and_comes_in_order() {
        run(async {
            let buffers = Buffers::default();
            let (writer, mut reader) = pipe(&buffers);
            for piece in pieces() {
                assert!(writer.write(piece).await);
            }
            assert!(writer.0.borrow().overflow.as_ref().unwrap().written > 2_000_000);
            // What comes while the file is read is behind it.
            let (mut expected, mut all) = (pieces().flatten().collect::<Vec<u8>>(), Vec::new());
            for _ in 0..20 {
                let frame = reader.frame().await.unwrap().unwrap().into_data().unwrap();
                all.extend_from_slice(&frame);
                expected.extend_from_slice(&frame);
                assert!(writer.write(frame).await);
            }
            writer.finish();
            let (rest, end) = read(&mut reader).await;
            all.extend_from_slice(&rest);
            assert!(all == expected && end == Some(Ok(())));
            assert!(reader.is_end_stream());
            assert_eq!((reader.0.borrow().files.amount(), reader.0.borrow().share.amount()), (0, 0));
        });
    }

    #[test]
    fn a_worker_waits_where_the_file_is_full() {
        run(async {
            let buffers = Buffers::new(PIPE_BUDGET_BYTES, 10_000_000, 500_000);
            let (writer, mut reader) = pipe(&buffers);
            let writing = async {
                for piece in pieces() {
                    assert!(writer.write(piece).await);
                }
                writer.finish();
            };
            let reading = async {
                yield_now().await;
                read(&mut reader).await
            };
            let ((), (all, end)) = tokio::join!(writing, reading);
            assert_eq!((all, end), (pieces().flatten().collect(), Some(Ok(()))));
        });
    }

    #[test]
    fn buffers_shrink_when_all_together_hold_much() {
        run(async {
            let buffers = Buffers::new(100_000, 0, 0);
            let (one, _reader) = pipe(&buffers);
            let (other, _other_reader) = pipe(&buffers);
            one.push(Bytes::from(vec![0; 80_000]));
            other.push(Bytes::from(vec![0; 30_000]));
            assert_eq!((one.has_room(), other.has_room()), (false, true));
        });
    }

    #[test]
    fn a_writer_that_vanishes_leaves_a_broken_answer() {
        run(async {
            for count in [1, 30] {
                let (writer, mut reader) = pipe(&Buffers::default());
                for piece in pieces().take(count) {
                    assert!(writer.write(piece).await);
                }
                drop(writer);
                let (all, end) = read(&mut reader).await;
                assert_eq!((all.len(), end), (count * 100_000, Some(Err(Broken))));
            }
        });
    }

    #[test]
    fn a_client_that_is_gone_wants_nothing() {
        run(async {
            let (writer, reader) = pipe(&Buffers::new(0, 0, 0));
            assert!(writer.write(Bytes::from(vec![0; 100_000])).await);
            let waiting = writer.write(Bytes::from_static(b"x"));
            let ((), wanted) = tokio::join!(async { drop(reader) }, waiting);
            assert!(!wanted);
        });
    }
}
