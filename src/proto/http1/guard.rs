//! The stream that hyper reads: every byte was accepted by the [`Reader`] first, and every wait has a limit.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Watch;
use super::deadline::Deadline;
use super::reader::Reader;
use crate::proto::limits::Limits;
use crate::proto::refusal::Refusal;

/// How much is read at once of a head that came in pieces, or of what is thrown away.
const READ_BYTES: usize = 8 * 1024;
/// What is written up to this length is copied together: a short answer costs the kernel less in one piece.
const TOGETHER_BYTES: usize = 1024;

/// A connection under hyper's server; wrap it in `hyper_util::rt::TokioIo`.
///
/// Refused bytes are the end of the stream for hyper, which finishes the answers to what came before and closes:
/// then the guard itself sends the refusal's answer. An incomplete body ends early, which hyper reports as an error
/// of the body; [`Watch::refusal`] says why.
#[derive(Debug)]
pub struct Guard<S> {
    io: S,
    reader: Reader,
    limits: Limits,
    watch: Watch,
    /// Bytes not yet given to hyper: those before `accepted` may be.
    held: Vec<u8>,
    given: usize,
    accepted: usize,
    read_deadline: Deadline,
    write_deadline: Deadline,
    ending: Ending,
    /// hyper has seen the end of the stream where a head would start, so all earlier answers are complete.
    end_seen: bool,
    /// The client may send more than we have read.
    may_be_unread: bool,
    /// hyper waits for the first byte of a head, and so has given away every answer ...
    waits: bool,
    /// ... though the last bytes may not be written yet.
    is_unflushed: bool,
}

#[derive(Debug)]
enum Ending {
    Open,
    /// The answer to a refused head, and how much of it was written.
    Answering(Vec<u8>, usize),
    ShuttingDown,
    /// Reading on, so that the client gets the answer and not a reset: bytes still allowed.
    Lingering(usize),
    Ended,
}

impl<S> Guard<S> {
    /// Guards a new connection.
    pub fn new(io: S, limits: Limits) -> Self {
        Self::after(io, limits, 0)
    }

    /// Guards a connection on which so many requests were answered before.
    pub fn after(io: S, limits: Limits, requests: u64) -> Self {
        Self {
            io,
            reader: Reader::after(limits, requests),
            limits,
            watch: Watch::default(),
            held: Vec::new(),
            given: 0,
            accepted: 0,
            read_deadline: Deadline::default(),
            write_deadline: Deadline::default(),
            ending: Ending::Open,
            end_seen: false,
            may_be_unread: false,
            waits: false,
            is_unflushed: false,
        }
    }

    /// What the service needs to know of the connection.
    #[must_use]
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// The connection itself, and how many requests came on it: for one that [`Watch::is_at_rest`].
    pub fn into_parts(self) -> (S, u64) {
        (self.io, self.reader.requests())
    }

    /// The connection itself, and what was read of it and given to nobody: for one that [`Watch::is_switched`].
    pub fn into_raw(mut self) -> (S, Vec<u8>) {
        (self.io, self.held.split_off(self.given))
    }

    fn publish(&self) {
        if let Some(refusal) = self.reader.refusal() {
            self.watch.refuse(refusal);
        }
    }

    fn set_waits(&mut self, waits: bool) {
        if self.waits != waits {
            self.waits = waits;
            self.publish_rest();
        }
    }

    fn publish_rest(&self) {
        self.watch.set_at_rest(self.waits && !self.is_unflushed);
    }

    /// Whether a head has begun and is incomplete; empty lines are none.
    fn is_in_head(&self) -> bool {
        self.held.iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
    }

    fn wait_limit(&self) -> Duration {
        if self.reader.is_in_chunks() {
            self.limits.chunk_idle.unwrap_or(self.limits.body_idle)
        } else if self.reader.is_in_body() {
            self.limits.body_idle
        } else if !self.held.is_empty() || self.reader.requests() == 0 {
            self.limits.head_time
        } else {
            self.limits.keep_alive_idle
        }
    }

    /// The client was silent for too long.
    fn time_out(&mut self) {
        self.set_waits(false);
        if self.reader.is_in_body() {
            self.reader.refuse(Refusal::new(408, "body not sent in time"));
        } else if self.is_in_head() {
            self.reader.refuse(Refusal::new(408, "head not sent in time"));
        } else {
            self.reader.end();
        }
        self.publish();
    }
}

impl<S: AsyncRead + Unpin> Guard<S> {
    /// Reads straight into hyper's buffer: the usual case, in which whole messages come. A rest that is not accepted
    /// yet is held back.
    fn poll_read_through(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        let before = out.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, out))?;
        let new = out.filled().get(before..).unwrap_or_default();
        let length = new.len();
        let accepted = self.reader.accept(new);
        if accepted < length {
            self.publish();
            if !self.reader.is_over() {
                self.held.extend_from_slice(new.get(accepted..).unwrap_or_default());
            }
            out.set_filled(before + accepted);
        }
        Poll::Ready(Ok(length))
    }

    /// Reads more of a head that came in pieces.
    fn poll_read_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
        self.held.extend_from_slice(buffer.filled());
        self.accepted = self.reader.accept(&self.held);
        self.publish();
        if self.reader.is_over() {
            self.held.truncate(self.accepted);
        }
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Gives hyper what was accepted after having been held; whether there was anything.
    fn give(&mut self, out: &mut ReadBuf<'_>) -> bool {
        let ready = self.held.get(self.given..self.accepted).unwrap_or_default();
        if ready.is_empty() {
            return false;
        }
        let ready = ready.get(..out.remaining()).unwrap_or(ready);
        out.put_slice(ready);
        self.given += ready.len();
        if self.given == self.accepted {
            // A new one, small again: the connection may stay idle.
            self.held = self.held.split_off(self.given);
            self.given = 0;
            self.accepted = 0;
        }
        true
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.watch.is_switched() {
            // hyper does not ask for more than it can pass on.
            return Pin::new(&mut this.io).poll_read(cx, out);
        }
        loop {
            if out.remaining() == 0 || this.give(out) {
                return Poll::Ready(Ok(()));
            }
            if this.reader.is_over() {
                this.end_seen = true;
                return Poll::Ready(Ok(()));
            }
            let before = out.filled().len();
            let held_before = this.held.is_empty();
            let read = if held_before { this.poll_read_through(cx, out) } else { this.poll_read_more(cx) };
            this.set_waits(read.is_pending() && this.held.is_empty() && !this.reader.is_in_body());
            match read {
                Poll::Ready(Ok(0)) => {
                    // The client's own end. Of an incomplete head it is an answerable mistake as long as the client
                    // still reads; of a body hyper makes an error.
                    if this.is_in_head() {
                        this.reader.refuse(Refusal::bad("connection ends inside a head"));
                        this.publish();
                    } else if !this.reader.is_in_body() {
                        this.reader.end();
                    }
                    this.end_seen = true;
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(_)) => {
                    // A head has one limit in all, so its deadline stays while pieces of it come in.
                    if held_before || this.accepted > 0 {
                        this.read_deadline.clear();
                    }
                    if out.filled().len() > before {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    ready!(this.read_deadline.poll(cx, this.wait_limit()));
                    this.time_out();
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    /// Limits how long a write, or what TLS holds of earlier ones, waits for the client.
    fn poll_written<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_pending() {
            ready!(self.write_deadline.poll(cx, self.limits.write_stall));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")));
        }
        self.write_deadline.clear();
        written
    }

    /// Sends the answer to a refused head, closes our side, and reads on for a while where something may be unread.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.ending {
                Ending::Open => {
                    self.ending = match self.reader.refused_head().filter(|_| self.end_seen) {
                        Some(refusal) => Ending::Answering(refusal.response(), 0),
                        None => Ending::ShuttingDown,
                    };
                }
                Ending::Answering(answer, sent) => {
                    let rest = answer.get(*sent..).unwrap_or_default();
                    let written = Pin::new(&mut self.io).poll_write(cx, rest);
                    match ready!(self.poll_written(cx, written)) {
                        Ok(length) if length > 0 => {
                            if let Ending::Answering(answer, sent) = &mut self.ending {
                                *sent += length;
                                if *sent >= answer.len() {
                                    self.ending = Ending::ShuttingDown;
                                }
                            }
                        }
                        _ => self.ending = Ending::Ended,
                    }
                }
                Ending::ShuttingDown => {
                    let done = Pin::new(&mut self.io).poll_shutdown(cx);
                    let done = ready!(self.poll_written(cx, done));
                    self.read_deadline = Deadline::default();
                    self.may_be_unread = self.reader.is_in_body() || self.reader.refusal().is_some();
                    self.ending = if done.is_ok() {
                        Ending::Lingering(self.limits.linger_bytes)
                    } else {
                        Ending::Ended
                    };
                }
                Ending::Lingering(allowed) => {
                    let mut space = [0; READ_BYTES];
                    let mut buffer = ReadBuf::new(&mut space);
                    match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                        Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                            let length = buffer.filled().len();
                            self.may_be_unread = true;
                            if length >= *allowed {
                                self.ending = Ending::Ended;
                            } else {
                                *allowed -= length;
                            }
                        }
                        Poll::Ready(_) => self.ending = Ending::Ended,
                        Poll::Pending => {
                            if self.may_be_unread {
                                ready!(self.read_deadline.poll(cx, self.limits.linger_time));
                            }
                            self.ending = Ending::Ended;
                        }
                    }
                }
                Ending::Ended => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.is_unflushed = true;
        let written = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.poll_written(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.is_unflushed = true;
        let mut together = [0; TOGETHER_BYTES];
        let written = match gather(slices, &mut together) {
            Some(bytes) => Pin::new(&mut this.io).poll_write(cx, bytes),
            None => Pin::new(&mut this.io).poll_write_vectored(cx, slices),
        };
        this.poll_written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // hyper flushes when it has written everything, and only then.
        this.is_unflushed = false;
        if this.waits {
            this.publish_rest();
        }
        let flushed = Pin::new(&mut this.io).poll_flush(cx);
        this.poll_written(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_end(cx)
    }
}

/// All slices one behind the other; `None` where there is no room for them.
fn gather<'a>(slices: &[io::IoSlice<'_>], room: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut length = 0;
    for slice in slices {
        room.get_mut(length..length + slice.len())?.copy_from_slice(slice);
        length += slice.len();
    }
    room.get(..length)
}
