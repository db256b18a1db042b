//! A client's connection, of either family, and whether the client is still there.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::os::unix::net;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::{TcpStream, UnixStream};

/// A connection that the HTTP side reads and writes, while a waiting request looks whether its client is still there:
/// both in the same task.
#[derive(Clone, Debug)]
pub(super) struct Socket(Rc<Connection>);

#[derive(Debug)]
struct Connection {
    stream: RefCell<Stream>,
    /// Bytes that were read to look at them, and are still to be read.
    ahead: RefCell<Vec<u8>>,
}

#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    pub(super) fn new(stream: Stream) -> Self {
        Self(Rc::new(Connection { stream: RefCell::new(stream), ahead: RefCell::default() }))
    }

    /// A connection that came as a descriptor.
    ///
    /// # Errors
    /// Registering it.
    pub(super) fn of_line(line: OwnedFd) -> io::Result<Self> {
        let line = net::UnixStream::from(line);
        line.set_nonblocking(true)?;
        Ok(Self::new(Stream::Unix(UnixStream::from_std(line)?)))
    }

    /// Has these bytes read again, before all others.
    pub(super) fn unread(&self, bytes: &[u8]) {
        self.0.ahead.borrow_mut().splice(..0, bytes.iter().copied());
    }

    /// Whether the client has closed its side; wakes the task when it does, unless bytes lie there unread (a pipelined
    /// request). Costs no system call: the reactor has heard of it already.
    ///
    /// A client that only shut its sending side down looks the same. It gets its answer where a worker is free at
    /// once; where it would have to wait it counts as gone, as it nearly always is.
    pub(super) fn is_gone(&self, cx: &mut Context<'_>) -> bool {
        let stream = self.0.stream.borrow();
        let event = match &*stream {
            Stream::Tcp(socket) => socket.poll_read_ready(cx),
            Stream::Unix(socket) => socket.poll_read_ready(cx),
        };
        event.is_ready() && stream.read_closed()
    }

    /// The same without waking anybody.
    pub(super) fn is_gone_now(&self) -> bool {
        self.0.stream.borrow().read_closed()
    }
}

impl Stream {
    fn read_closed(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let state = match self {
            Self::Tcp(socket) => pin!(socket.ready(Interest::READABLE)).poll(&mut cx),
            Self::Unix(socket) => pin!(socket.ready(Interest::READABLE)).poll(&mut cx),
        };
        matches!(state, Poll::Ready(Ok(ready)) if Ready::is_read_closed(ready))
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut ahead = self.0.ahead.borrow_mut();
        if !ahead.is_empty() {
            let length = ahead.len().min(out.remaining());
            out.put_slice(ahead.get(..length).unwrap_or_default());
            ahead.drain(..length);
            return Poll::Ready(Ok(()));
        }
        match &mut *self.0.stream.borrow_mut() {
            Stream::Tcp(socket) => Pin::new(socket).poll_read(cx, out),
            Stream::Unix(socket) => Pin::new(socket).poll_read(cx, out),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self.0.stream.borrow_mut() {
            Stream::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Stream::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self.0.stream.borrow_mut() {
            Stream::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Stream::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Neither kind buffers.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.0.stream.borrow_mut() {
            Stream::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Stream::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}
